"""Matplotlib figures, and what belongs to one or saves itself like one, become images.

A figure is drawn straight at the size that is sent and left as it was. Matplotlib is found where
the user has loaded it; only its Agg backend is imported, once there is a figure, and pyplot never.
"""

from __future__ import annotations

import io
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from segmind_jupyter.content.images.encode import encode_image, fitted_size, image_from_bytes
from segmind_jupyter.content.parts import STANDARD, Image, Limits, format_error
from segmind_jupyter.errors import ContentError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


@contextmanager
def kept_as_it_was(figure: Any) -> Iterator[None]:
    """Put back what drawing a figure on another canvas changes, also if the drawing fails.

    That is its canvas, size, dpi, stale flags and margins, and the places of axes, subfigures and
    titles, which layout engines and fixed aspects move. Until then, nobody who waits for the
    figure to be drawn or to change is called.
    """
    with _quiet(figure), ExitStack() as undo:
        _remember_layout(figure, undo)
        if hasattr(figure, "_original_dpi"):  # a new canvas overwrites it in older versions
            undo.callback(setattr, figure, "_original_dpi", figure._original_dpi)
        undo.callback(figure.set_canvas, figure.canvas)
        # Before the canvas: with the user's own in place, a new size or dpi resizes its window.
        undo.callback(figure.set_size_inches, figure.get_size_inches())
        undo.callback(setattr, figure, "dpi", figure.dpi)
        yield


@contextmanager
def _quiet(figure: Any) -> Iterator[None]:
    artists = [figure, *_subfigures(figure), *_axes(figure)]
    were_stale = [artist.stale for artist in artists]
    callback, figure.stale_callback = figure.stale_callback, None
    try:
        with figure.canvas.callbacks.blocked(signal="draw_event"):
            yield
    finally:
        # A stale artist makes the figure around it stale: flag these before clearing those.
        for artist, was_stale in sorted(zip(artists, were_stale, strict=True), key=_fresh_last):
            artist.stale = was_stale
        figure.stale_callback = callback


def _fresh_last(flagged: tuple[Any, bool]) -> bool:
    return not flagged[1]


def _remember_layout(figure: Any, undo: ExitStack) -> None:
    """Note every box, margin and title that a layout engine or an aspect may move."""
    for axes in _axes(figure):
        # Not `get_position`, which applies the aspect, nor `set_position`, which takes the axes
        # out of the layout.
        for box in (axes._position, axes._originalPosition, axes.viewLim):
            undo.callback(box.set, box.frozen())
    for part in (figure, *_subfigures(figure)):
        undo.callback(vars(part.subplotpars).update, dict(vars(part.subplotpars)))
        for text in part.texts:
            place, alignment = text.get_position(), text.get_verticalalignment()
            undo.callback(text.set, position=place, verticalalignment=alignment)
    for part in _subfigures(figure):
        undo.callback(part.bbox_relative.set, part.bbox_relative.frozen())


def _subfigures(figure: Any) -> list[Any]:
    return [inner for part in figure.subfigs for inner in (part, *_subfigures(part))]


def _axes(figure: Any) -> list[Any]:
    """List all axes, those inside others too: insets and secondary axes."""
    found = list(figure.axes)
    for axes in found:  # grows while it is walked
        found.extend(axes.child_axes)
    return found


#: Below this, text would be under 3 pixels high, and FreeType fails on fonts of half a pixel: a
#: figure of 700 inches is drawn as if it had fewer, so that its text is larger.
_LEAST_DPI = 20.0

#: Where artists and plotting libraries keep the figure that they draw on.
_FIGURE_ATTRIBUTES = ("figure", "fig")


def is_figure(obj: Any) -> bool:
    """Return whether `encode_figure` can draw an object.

    That is a matplotlib figure or subfigure, whatever has one (axes, other artists, containers
    such as those of bars, seaborn's grids), pyplot itself while a figure is open, and an object
    of a class with a ``savefig`` method.
    """
    return _figure_of(obj) is not None or _saves_itself(obj)


def encode_figure(obj: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Draw a figure and encode the picture.

    A matplotlib figure keeps its own resolution (inches times dpi) unless that is more than the
    limits allow; then it is drawn at a lower dpi, so that nothing is scaled afterwards. Its face
    colour is kept, and white shows where it is transparent. The ``savefig`` settings of the user
    do not apply. A subfigure, and what lies in one, gives the subfigure's part of the picture.

    The figure keeps its size, dpi, canvas, layout, limits and stale flags, and the callbacks
    that wait for a drawing are not called.
    """
    figure = _figure_of(obj)
    if figure is not None:
        picture, drawn_about = _drawn(figure, limits)
        return encode_image(picture, limits=limits, about=about or drawn_about)
    if _saves_itself(obj):
        about = about or type(obj).__name__
        return image_from_bytes(_saved(obj, about), limits=limits, about=about)
    raise ContentError(f"A {type(obj).__name__} has no figure to draw. Name the figure itself.")


def _figure_of(obj: Any) -> Any:
    """Find the nearest matplotlib figure or subfigure; None if there is none."""
    module = sys.modules.get("matplotlib.figure")
    if module is None:
        return None
    if _is_a(obj, module.FigureBase):
        return obj
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and obj is pyplot:
        return pyplot.gcf() if pyplot.get_fignums() else None  # gcf() alone would open one
    for owner in (obj, *_first_artist(obj)):
        for name in _FIGURE_ATTRIBUTES:
            figure = _attribute(owner, name)
            if _is_a(figure, module.FigureBase):
                return figure
    return None


def _is_a(obj: object, kind: type) -> bool:
    """Ask the type, never ``__class__``: a mock or a proxy may borrow that, and it may raise."""
    return issubclass(type(obj), kind)


def _first_artist(obj: Any) -> list[Any]:
    """Look into a container (the bars of one call, say), which is a tuple without a figure."""
    module = sys.modules.get("matplotlib.container")
    is_container = module is not None and _is_a(obj, module.Container)
    return obj.get_children()[:1] if is_container else []


def _attribute(obj: Any, name: str) -> Any:
    """Read an attribute of an unknown object; a property that fails is no figure."""
    with suppress(Exception):
        return getattr(obj, name, None)
    return None


def _saves_itself(obj: Any) -> bool:
    return callable(getattr(type(obj), "savefig", None))


def _saved(obj: Any, about: str) -> bytes:
    file = io.BytesIO()
    with _naming_failures(about):
        obj.savefig(file, format="png")
    return file.getvalue()


@contextmanager
def _naming_failures(what: str) -> Iterator[None]:
    """Say which figure it was: what draws it is the user's code, and may raise anything."""
    try:
        yield
    except Exception as error:
        raise ContentError(
            f"{what} could not be drawn ({format_error(error)}). Saving it with savefig shows "
            "where; correct it there first."
        ) from error


def _drawn(figure: Any, limits: Limits) -> tuple[Picture, str]:
    """Draw with Agg, whatever the figure's own backend is, and say what was drawn."""
    import PIL.Image

    root = figure.canvas.figure
    about = _described(root) if figure is root else f"Part of {_described(root)}"
    with _naming_failures(about), kept_as_it_was(root):
        canvas = _agg_canvas(root, *_inches_and_dpi(root, limits))
        size = canvas.get_width_height()
        picture = PIL.Image.frombytes("RGBA", size, canvas.buffer_rgba())
        return picture if figure is root else picture.crop(_box(figure, picture.height)), about


def _described(figure: Any) -> str:
    width, height = (f"{round(float(side), 2):g}" for side in figure.get_size_inches())
    return f"Figure {width}×{height} in"


def _inches_and_dpi(figure: Any, limits: Limits) -> tuple[tuple[float, ...], float]:
    """Keep the figure's own size and dpi, or lower the dpi until it is within the limits."""
    inches = tuple(float(side) for side in figure.get_size_inches())
    dpi = float(figure.dpi / figure.canvas.device_pixel_ratio)  # a dense screen doubles it
    own_size = tuple(max(1, int(side * dpi)) for side in inches)
    size = fitted_size(*own_size, edge_px=limits.image_edge_px, budget_tokens=limits.image_tokens)
    # Agg cuts off fractions of a pixel, so aim at the middle of the last one.
    sides = [px + 0.5 for px in size]
    if size != own_size:
        dpi = min(px / side for px, side in zip(sides, inches, strict=True))
    if dpi >= _LEAST_DPI:
        return inches, dpi
    return tuple(px / _LEAST_DPI for px in sides), _LEAST_DPI


def _agg_canvas(figure: Any, inches: tuple[float, ...], dpi: float) -> Any:
    """Lend a canvas to the figure and draw on it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.is_saving = lambda: True  # so that animated artists are drawn too
    figure.dpi = dpi
    figure.set_size_inches(inches)
    canvas.draw()
    return canvas


def _box(figure: Any, height: int) -> tuple[int, int, int, int]:
    """Where a subfigure lies in the picture: left, top, right, bottom, in pixels."""
    left, bottom, right, top = figure.bbox.extents
    return (
        math.floor(left),
        height - math.ceil(top),
        math.ceil(right),
        height - math.floor(bottom),
    )
