"""Matplotlib figures, and what belongs to one or saves itself like one, become images.

A figure is drawn straight at the size that is sent and left as it was. Matplotlib is found where
the user has loaded it; only its Agg backend is imported, once there is a figure, and pyplot never.
"""

from __future__ import annotations

import io
import itertools
import math
import struct
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

from segmind_jupyter.content.images.encode import (
    encode_image,
    fitted_size,
    image_from_bytes,
    is_drawing,
)
from segmind_jupyter.content.parts import STANDARD, Image, Limits, format_error, type_name
from segmind_jupyter.errors import ContentError

#: Below this, text would be under 3 pixels high, and FreeType fails on fonts of half a pixel: a
#: figure of 700 inches is drawn as if it had fewer, so that its text is larger.
_LEAST_DPI: Final = 20.0

#: Where artists and plotting libraries keep the figure that they draw on.
_FIGURE_ATTRIBUTES: Final = ("figure", "fig")

#: Room around what reaches beyond a figure, in inches: half of what `savefig` gives a tight one.
_PAD_IN: Final = 0.05

#: A text may be cut by so much, and the figure keeps its size: it can still be read.
_SLACK_PT: Final = 1.5

#: Below this, a figure holds no text, and every text would reach beyond it.
_LEAST_SIDE_PX: Final = 28

#: What lies further outside than the figure is large was put there by mistake, and is not shown.
_MOST_BEYOND: Final = 1.0


def is_figure(obj: Any) -> bool:
    """Return whether `encode_figure` can draw an object.

    That is a matplotlib figure or subfigure, whatever has one (axes, other artists, containers
    such as those of bars, seaborn's grids), pyplot itself while a figure is open, and an object
    of a class with a ``savefig`` method.
    """
    return _figure_of(obj) is not None or callable(getattr(type(obj), "savefig", None))


def encode_figure(obj: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Draw a figure and encode the picture.

    A matplotlib figure keeps its own resolution (inches times dpi) unless that is more than the
    limits allow; then it is drawn at a lower dpi, so that nothing is scaled afterwards. Texts and
    legends that reach beyond it are in the picture, as on the page. Its face colour is kept, and
    white shows where it is transparent. The ``savefig`` settings of the user do not apply. A
    subfigure, and what lies in one, gives the subfigure's part of the picture.

    The figure keeps its size, dpi, canvas, layout, limits and stale flags, and the callbacks
    that wait for a drawing are not called.
    """
    figure = _figure_of(obj)
    if figure is not None:
        return _drawn(figure, limits, about)
    about = about or type_name(obj)
    if not callable(getattr(type(obj), "savefig", None)):
        raise ContentError(f"A {type_name(obj)} has no figure to draw. Name the figure itself.")
    file = io.BytesIO()
    with _naming_failures(about):
        obj.savefig(file, format="png")
    return image_from_bytes(file.getvalue(), limits=limits, about=about)


def _figure_of(obj: Any) -> Any:
    """Find the nearest matplotlib figure or subfigure; None if there is none.

    The type is asked, never ``__class__``: a mock or a proxy may borrow that, and it may raise.
    """
    module = sys.modules.get("matplotlib.figure")
    if module is None:
        return None
    kind = type(obj)
    if issubclass(kind, module.FigureBase):
        return obj
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and obj is pyplot:
        return pyplot.gcf() if pyplot.get_fignums() else None  # gcf() alone would open one
    owners = [obj]
    containers = sys.modules.get("matplotlib.container")
    if containers is not None and issubclass(kind, containers.Container):
        owners += obj.get_children()[:1]  # the bars of one call, say: a tuple without a figure
    for owner, name in itertools.product(owners, _FIGURE_ATTRIBUTES):
        with suppress(Exception):  # a property that fails is no figure
            figure = getattr(owner, name, None)
            if issubclass(type(figure), module.FigureBase):
                return figure
    return None


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


def _drawn(figure: Any, limits: Limits, about: str) -> Image:
    """Draw with Agg, whatever the figure's own backend is, and encode what was drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    root = figure.canvas.figure
    width, height = (f"{round(float(side), 2):g}" for side in root.get_size_inches())
    about = about or f"{'' if figure is root else 'Part of '}Figure {width}×{height} in"
    if len(root.get_children()) <= 1 and not root.subfigs:  # its own background
        raise ContentError(
            f"The {about.lower()} is empty: a cell that shows a figure closes it, and "
            "`plt.gcf()` then makes a new one. `--plot` sends the plot that was shown; or name "
            "the figure that `plt.subplots()` gave."
        )
    with _naming_failures(about), kept_as_it_was(root):
        inches = tuple(float(side) for side in root.get_size_inches())
        dpi = float(root.dpi / root.canvas.device_pixel_ratio)  # a dense screen doubles it
        canvas: Any = FigureCanvasAgg(root)
        canvas.is_saving = lambda: True  # so that animated artists are drawn too
        root_inches, root.dpi = _fitted(inches, dpi, limits)
        root.set_size_inches(root_inches)
        outside = _outer_texts(canvas)
        canvas.draw()
        renderer = canvas.get_renderer()
        pixels = canvas.buffer_rgba()
        if figure is root and (box := _box_with_outside(root, renderer, outside)) is not None:
            _, dpi = _fitted((box.width, box.height), dpi, limits)
            canvas.print_figure(
                io.BytesIO(),
                format="raw",
                dpi=dpi,
                bbox_inches=box,
                pad_inches=0,
                facecolor=root.get_facecolor(),
                edgecolor=root.get_edgecolor(),
            )
            pixels = canvas.renderer.buffer_rgba()
        left, bottom, right, top = figure.bbox.extents
        pixels = sys.modules["numpy"].asarray(pixels)
        if figure is not root:
            rows = len(pixels) - math.ceil(top), len(pixels) - math.floor(bottom)
            pixels = pixels[max(0, rows[0]) : rows[1], math.floor(left) : math.ceil(right)]
        return _encoded(pixels, limits, about)


def _fitted(
    inches: tuple[float, ...], dpi: float, limits: Limits
) -> tuple[tuple[float, ...], float]:
    """Return inches and dpi as they are, or with the dpi lowered until it is within the limits."""
    own_size = tuple(max(1, int(side * dpi)) for side in inches)
    size = fitted_size(*own_size, edge_px=limits.image_edge_px, budget_tokens=limits.image_tokens)
    # Agg cuts off fractions of a pixel, so aim at the middle of the last one.
    sides = [px + 0.5 for px in size]
    if size != own_size:
        dpi = min(px / side for px, side in zip(sides, inches, strict=True))
    if dpi >= _LEAST_DPI:
        return inches, dpi
    return tuple(px / _LEAST_DPI for px in sides), _LEAST_DPI


def _outer_texts(canvas: Any) -> list[Any]:
    """Collect, while a canvas draws, the texts that may reach beyond it.

    Where a text begins and how long it could be is known for nothing; to measure all of them
    would cost half as much as the drawing.
    """
    renderer, found = canvas.get_renderer(), []
    draw_text, size = renderer.draw_text, (renderer.width, renderer.height)

    def watched(gc: Any, x: float, y: float, s: str, prop: Any, *args: Any, **how: Any) -> None:
        reach = renderer.points_to_pixels(prop.get_size_in_points()) * (len(s) + 1)
        if not all(reach <= at <= side - reach for at, side in zip((x, y), size, strict=True)):
            found.append(how.get("mtext"))
        draw_text(gc, x, y, s, prop, *args, **how)

    renderer.draw_text = watched
    return found


def _box_with_outside(figure: Any, renderer: Any, texts: list[Any]) -> Any:
    """Return the box of a figure and of what reaches beyond it, in inches; `None` if nothing does.

    Whatever has no text (a marker, a patch) has no part in telling, but is in the picture.
    """
    from matplotlib.transforms import Bbox

    own = figure.bbox.extents.copy()
    boxes = [text.get_window_extent(renderer).extents for text in texts if text is not None]
    if None in texts:  # of many lines, which come one by one
        boxes.append(figure.get_tightbbox(renderer).extents * figure.dpi)
    if min(figure.bbox.size) < _LEAST_SIDE_PX:  # no text fits into it
        return None
    slack = renderer.points_to_pixels(_SLACK_PT)
    own[:2], own[2:] = own[:2] - slack, own[2:] + slack
    if not any((box[:2] < own[:2]).any() or (box[2:] > own[2:]).any() for box in boxes):
        return None
    inner = figure.bbox_inches
    outer = Bbox.union([inner, figure.get_tightbbox(renderer).padded(_PAD_IN)])
    sides = inner.size * _MOST_BEYOND
    return Bbox.intersection(outer, Bbox([inner.min - sides, inner.max + sides]))


#: Drawings of no more colours than these are PNGs without being looked at; they pack best by
#: repetition in a row, others by the difference to the row above.
_FEW_COLOURS: Final = 2_000

#: A low level of zlib's: two thirds of the time of the usual one, for 5 % more bytes.
_LEVEL: Final = 4


def _encoded(pixels: Any, limits: Limits, about: str) -> Image:
    """Encode what Agg drew: as a PNG, without another copy of it, if that is right and fits."""
    import PIL.Image

    numpy = sys.modules["numpy"]
    height, width = pixels.shape[:2]
    picture = PIL.Image.fromarray(pixels)
    if pixels[..., 3].min() == 255:
        picture = picture.convert("RGB")
        few = picture.getcolors(_FEW_COLOURS) is not None
        fits = (width, height) == fitted_size(
            width, height, edge_px=limits.image_edge_px, budget_tokens=limits.image_tokens
        )
        if fits and (few or is_drawing(picture)):
            rows = numpy.empty((height, 1 + width * 3), "uint8")
            rows[:, 0] = 0 if few else 2  # the filter of each row: none, or the row above
            rows[:, 1:] = pixels[..., :3].reshape(height, -1)
            if not few:
                rows[1:, 1:] -= rows[:-1, 1:].copy()
            data = _png(rows, width, height)
            if -(-len(data) // 3) * 4 <= limits.image_base64_bytes:
                return Image(data, "image/png", width, height, about)
    return encode_image(picture, limits=limits, about=about)


def _png(rows: Any, width: int, height: int) -> bytes:
    """Write a PNG of filtered rows, one half of them on each of two cores."""

    def deflated(start: int, stop: int, is_last: bool) -> bytes:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -15, 9)
        packed = packer.compress(rows[start:stop])
        return packed + packer.flush(zlib.Z_FINISH if is_last else zlib.Z_FULL_FLUSH)

    middle = height // 2
    with ThreadPoolExecutor(1) as other:
        second = other.submit(deflated, middle, height, True)
        halves = deflated(0, middle, False), second.result()
    # zlib's header, the blocks, and the sum of all rows.
    stream = b"\x78\x5e" + b"".join(halves) + struct.pack(">I", zlib.adler32(rows))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", stream), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


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
        for was_stale in (True, False):
            for artist in itertools.compress(artists, (w is was_stale for w in were_stale)):
                artist.stale = was_stale
        figure.stale_callback = callback


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
