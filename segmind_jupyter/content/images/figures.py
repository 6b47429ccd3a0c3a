"""Figures and charts of plotting libraries become images, and stay as they were.

Matplotlib is found where the user has loaded it, and draws at the size that is sent; the other
libraries draw by their own renderers. Nothing is fetched to draw one.
"""

from __future__ import annotations

import asyncio
import importlib
import io
import itertools
import math
import re
import sys
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Any, Final
from xml.etree.ElementTree import XMLPullParser

from segmind_jupyter.content import parts
from segmind_jupyter.content.images import encode
from segmind_jupyter.content.parts import STANDARD, Image, Limits, Text
from segmind_jupyter.content.text import as_text
from segmind_jupyter.errors import ContentError, shortened


def is_figure(obj: Any) -> bool:
    """Return whether `obj` is a figure, belongs to one as axes and bars do, or saves itself."""
    return figure_of(obj) is not None or callable(getattr(type(obj), "savefig", None))


def encode_figure(obj: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Draw a figure, with what reaches beyond it, at its own resolution or as the limits allow."""
    figure = figure_of(obj)
    if figure is not None:
        return _drawn(figure, limits, about)
    about = about or parts.type_name(obj)
    if not callable(getattr(type(obj), "savefig", None)):
        raise ContentError(
            f"A {parts.type_name(obj)} has no figure to draw. Name the figure itself."
        )
    file = io.BytesIO()
    with _naming_failures(about):
        obj.savefig(file, format="png")
    return encode.image_from_bytes(file.getvalue(), limits=limits, about=about)


def figure_of(obj: Any) -> Any:
    """Find the nearest matplotlib figure or subfigure by the type of `obj`: mocks borrow others."""
    module = sys.modules.get("matplotlib.figure")
    if module is None:
        return None
    if issubclass(type(obj), module.FigureBase):
        return obj
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None and obj is pyplot:
        return pyplot.gcf() if pyplot.get_fignums() else None  # gcf() alone would open one
    owners = [obj]
    containers = sys.modules.get("matplotlib.container")
    if containers is not None and issubclass(type(obj), containers.Container):
        owners += obj.get_children()[:1]  # the bars of one call, say: a tuple without a figure
    for owner, name in itertools.product(owners, ("figure", "fig")):
        with suppress(Exception):  # a property that fails is no figure
            figure = getattr(owner, name, None)
            if issubclass(type(figure), module.FigureBase):
                return figure
    return None


def _naming_failures(what: str) -> AbstractContextManager[None]:
    advice = "Correct it if that names a fault of it, or save it as a PNG and name the file."
    return parts.naming_failures(f"{what} could not be drawn", advice)


def _drawn(figure: Any, limits: Limits, about: str) -> Image:
    """Draw with Agg, whatever the figure's own backend is, and encode what was drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    root = figure.canvas.figure
    width, height = (f"{round(float(side), 2):g}" for side in root.get_size_inches())
    about = about or f"Figure {width}×{height} in"
    if _is_empty(root):
        raise ContentError(
            f"The {about.lower()} is empty: a cell that shows a figure closes it, and "
            "`plt.gcf()` then makes a new one. `--plot` sends the plot that was shown; or name "
            "the figure that `plt.subplots()` gave."
        )
    with _naming_failures(about), _kept_as_it_was(root):
        inches = tuple(float(side) for side in root.get_size_inches())
        dpi = float(root.dpi / root.canvas.device_pixel_ratio)  # a dense screen doubles it
        canvas: Any = FigureCanvasAgg(root)
        canvas.is_saving = lambda: True  # so that animated artists are drawn too
        root.dpi = _fitted_dpi(inches, dpi, limits)
        renderer = canvas.get_renderer()
        box = _box_with_outside(root, renderer, _placed_legends(root))
        if box is None:
            outside = _outer_texts(renderer)
            canvas.draw()
            box = _box_with_outside(root, renderer, outside)
        if box is not None:
            dpi = _fitted_dpi((box.width, box.height), dpi, limits)
            canvas.print_figure(
                io.BytesIO(),
                format="raw",
                dpi=dpi,
                bbox_inches=box,
                pad_inches=0,
                facecolor=root.get_facecolor(),
                edgecolor=root.get_edgecolor(),
            )
        pixels = sys.modules["numpy"].asarray(canvas.renderer.buffer_rgba())
        return encode.encode_drawing(pixels, limits=limits, about=about)


def _is_empty(figure: Any) -> bool:
    """Return whether nothing is in it but its own background, or axes without anything."""
    axes = figure.axes
    is_bare = len(figure.get_children()) == 1 + len(axes)
    words = (each.get_title() + each.get_xlabel() + each.get_ylabel() for each in axes)
    drawn = (each._children or each.child_axes or each.get_legend() for each in axes)
    return is_bare and not any((*drawn, *words))


def _fitted_dpi(inches: tuple[float, ...], dpi: float, limits: Limits) -> float:
    """Return the dpi as it is, or lowered until a figure of that size is within the limits."""
    width, height = (max(1, int(side * dpi)) for side in inches)
    size = encode.fitted_size(width, height, limits)
    if size == (width, height):
        return dpi
    # Agg cuts off fractions of a pixel, so aim at the middle of the last one.
    return min((px + 0.5) / side for px, side in zip(size, inches, strict=True))


def _placed_legends(figure: Any) -> list[Any]:
    """Find the legends that may stand beside their axes, and that no layout is going to move."""
    if figure.get_layout_engine() is not None or figure.subfigs:
        return []
    found = (*figure.legends, *(each.get_legend() for each in figure.axes if each.get_visible()))
    shown = (each for each in found if each is not None and each.get_visible())
    placed = [each for each in shown if each.get_bbox_to_anchor() is not each.parent.bbox]
    for axes in figure.axes if placed else ():  # as drawing begins, too
        locator = axes.get_axes_locator()
        axes.apply_aspect(locator(axes, None) if locator else None)
    return placed


def _outer_texts(renderer: Any) -> list[Any]:
    """Collect, while a renderer draws, the texts that may reach beyond its picture."""
    found, draw_text = [], renderer.draw_text

    def watched(
        gc: Any, x: float, y: float, s: str, prop: Any, angle: float,
        ismath: Any = False, mtext: Any = None,
    ) -> None:  # fmt: skip
        em = renderer.points_to_pixels(prop.get_size_in_points())
        long = em * (len(s) + 1)
        # A level line without TeX goes to the right; its height is known.
        around = (long, long, long) if angle or ismath else (em / 2, 1.5 * em, em / 2)
        left, above, below = around
        if not (left <= x <= renderer.width - long and above <= y <= renderer.height - below):
            found.append(mtext)
        draw_text(gc, x, y, s, prop, angle, ismath=ismath, mtext=mtext)

    renderer.draw_text = watched
    return found


def _box_with_outside(figure: Any, renderer: Any, texts: list[Any]) -> Any:
    """Return the box of a figure with all that reaches beyond it if `texts` do, in inches."""
    from matplotlib.transforms import Bbox

    own = figure.bbox.extents.copy()
    boxes = [text.get_window_extent(renderer).extents for text in texts if text is not None]
    if None in texts:  # of many lines, which come one by one
        boxes.append(figure.get_tightbbox(renderer).extents * figure.dpi)
    if min(figure.bbox.size) < 28:  # no text fits into it
        return None
    # A text that is cut by so little can still be read.
    slack = renderer.points_to_pixels(1.5)
    own[:2], own[2:] = own[:2] - slack, own[2:] + slack
    if not any((box[:2] < own[:2]).any() or (box[2:] > own[2:]).any() for box in boxes):
        return None
    inner = figure.bbox_inches
    # Half of the room that `savefig` gives a tight figure.
    outer = Bbox.union([inner, figure.get_tightbbox(renderer).padded(0.05)])
    # What lies further outside was put there by mistake.
    sides = inner.size * 1.0
    return Bbox.intersection(outer, Bbox([inner.min - sides, inner.max + sides]))


@contextmanager
def _kept_as_it_was(figure: Any) -> Iterator[None]:
    """Put back what drawing on another canvas changes, and let nobody hear of it until then."""
    subfigures, axes = _subfigures(figure), list(figure.axes)
    for each in axes:  # those inside others too, insets and secondary axes: it grows as it is read
        axes.extend(each.child_axes)
    artists = [figure, *subfigures, *axes]
    were_stale = [artist.stale for artist in artists]
    callback, figure.stale_callback = figure.stale_callback, None
    try:
        with figure.canvas.callbacks.blocked(signal="draw_event"), ExitStack() as undo:
            for each in axes:
                # Not `get_position`, which applies the aspect, nor `set_position`, which takes the
                # axes out of the layout.
                for box in (each._position, each._originalPosition, each.viewLim):
                    undo.callback(box.set, box.frozen())
            for part in (figure, *subfigures):
                undo.callback(vars(part.subplotpars).update, dict(vars(part.subplotpars)))
                for text in part.texts:
                    place, alignment = text.get_position(), text.get_verticalalignment()
                    undo.callback(text.set, position=place, verticalalignment=alignment)
            for part in subfigures:
                undo.callback(part.bbox_relative.set, part.bbox_relative.frozen())
            if hasattr(figure, "_original_dpi"):  # a new canvas overwrites it in older versions
                undo.callback(setattr, figure, "_original_dpi", figure._original_dpi)
            undo.callback(figure.set_canvas, figure.canvas)
            # Before the canvas: with the user's own in place, a new dpi resizes its window.
            undo.callback(setattr, figure, "dpi", figure.dpi)
            yield
    finally:
        # A stale artist makes the figure around it stale: flag these before clearing those.
        for was_stale in (True, False):
            for artist in itertools.compress(artists, (w is was_stale for w in were_stale)):
                artist.stale = was_stale
        figure.stale_callback = callback


def _subfigures(figure: Any) -> list[Any]:
    return [inner for part in figure.subfigs for inner in (part, *_subfigures(part))]


#: A chart is drawn at twice its size where that costs no more; one of 700x500 stays at 450 tokens.
_DOUBLED_TOKENS: Final = 800


def drawing_scale(width_px: float, height_px: float, *, limits: Limits) -> float:
    """Return 2 where that costs few tokens, as small labels read better then, else 1."""
    size = max(1, round(2 * width_px)), max(1, round(2 * height_px))
    few = replace(limits, image_tokens=min(_DOUBLED_TOKENS, limits.image_tokens))
    return 2.0 if encode.fitted_size(*size, few) == size else 1.0


def _renderer(module: str, *, what: str, install: str, calls: str = "") -> Any:
    """Import the package that draws for a plotting library, or a function of it."""
    try:
        found = importlib.import_module(module)
        if calls and not hasattr(found, calls):
            raise ImportError(f"it is too old and has no {calls}")
    except ImportError as error:
        raise ContentError(
            f"{what}: to draw it takes {module}, which cannot be imported "
            f"({parts.format_error(error)}). Run `%pip install {install}`, then this again."
        ) from error
    return getattr(found, calls) if calls else found


def _refuse_fetching(about: str, links: Iterable[str], advice: str) -> None:
    for link in links:
        raise ContentError(
            f"{about}: to draw it would fetch {shortened(link)}, and nothing is fetched here. "
            f"{advice}"
        )


def _mappings(part: Any, spared: Collection[str]) -> Iterator[Mapping[str, Any]]:
    """Find the mappings at any depth of a chart, but not under the keys that are `spared`."""
    if isinstance(part, Mapping):
        yield part
        part = [inner for key, inner in part.items() if key not in spared]
    for inner in part if isinstance(part, list | tuple) else ():
        yield from _mappings(inner, spared)


#: The size of a figure that sets none, in pixels (plotly's documentation of ``write_image``).
_DEFAULT_PX: Final = {"width": 700, "height": 500}

#: The traces for which plotly.js fetches outlines or tiles, also where the data is all there.
_MAP_TRACES: Final = (
    "choropleth", "choroplethmap", "choroplethmapbox", "densitymap", "densitymapbox",
    "scattergeo", "scattermap", "scattermapbox",
)  # fmt: skip

#: Where a figure keeps words of its author's own, which are drawn as text or not at all.
_OWN_WORDS: Final = frozenset({"customdata", "meta", "text", "hovertext", "ids"})


def encode_plotly(figure: Any, *, limits: Limits = STANDARD) -> Image:
    """Draw a plotly figure at the size that its layout sets, and a small one at twice that."""
    spec = figure.to_dict()
    traces = spec.get("data") or ()
    about = f"plotly figure, {len(traces):,} trace{'' if len(traces) == 1 else 's'}"
    maps = (trace["type"] for trace in traces if trace.get("type") in _MAP_TRACES)
    sources = (part.get("source") for part in _mappings(spec, _OWN_WORDS))
    links = (link for link in sources if isinstance(link, str) and not link.startswith("data:"))
    _refuse_fetching(
        about,
        itertools.chain((f"the map below its {kind} trace" for kind in maps), links),
        'Run `fig.write_image("figure.png")` yourself, and name that file.',
    )
    calc_fig = _renderer("kaleido", calls="calc_fig", what=about, install="-U kaleido")
    layout = spec.get("layout") or {}
    size = {side: float(layout.get(side) or px) for side, px in _DEFAULT_PX.items()}
    options = {"format": "png", **size, "scale": drawing_scale(*size.values(), limits=limits)}
    with _naming_failures(about):
        try:  # without MathJax, which it would load
            data = _run_apart(calc_fig(spec, opts=options, kopts={"mathjax": False}))
        except Exception as error:
            if not parts.is_kind(
                error, "choreographer", "ChromeNotFoundError", "BrowserFailedError",
                "BrowserClosedError",
            ):  # fmt: skip
                raise
            raise ContentError(
                f"{about}: kaleido draws with Chrome, and finds none that runs. Run "
                "`!kaleido_get_chrome`, or name a Chrome with `%env BROWSER_PATH=…`, and restart "
                "the kernel (`!choreo_diagnose` says more)."
            ) from error
        if not data.startswith(b"\x89PNG"):  # the browser gives an empty one of what it cannot hold
            raise ValueError(f"no picture of {size['width']:g}×{size['height']:g} px came out")
    return encode.image_from_bytes(data, limits=limits, about=about)


def _run_apart(drawing: Coroutine[Any, Any, bytes]) -> bytes:
    """Run a coroutine on a loop and a thread of its own, as the kernel's loop runs meanwhile."""
    done: Future[bytes] = Future()

    def run() -> None:
        try:
            done.set_result(asyncio.run(drawing))
        except BaseException as error:  # noqa: BLE001 - handed to whoever waits
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    while not done.done():
        wait([done], timeout=0.1)
    return done.result()


#: The size of the drawing, in the first tag of the SVG that vl-convert writes.
_SIZE: Final = re.compile(r'<svg [^>]*?width="([\d.]+)" height="([\d.]+)"')

#: An image that is a link. Vega leaves those in the SVG, and the step to pixels would fetch them.
_LINKED_IMAGE: Final = re.compile(r'<image [^>]*?href="(?!data:)([^"]*)"')

#: Where a chart keeps rows, which may hold any words.
_ROWS: Final = frozenset({"datasets", "values"})


def encode_altair(chart: Any, *, limits: Limits = STANDARD) -> Image:
    """Draw an altair chart with the theme that is enabled, of however many rows it has."""
    if parts.is_kind(chart, "altair", "JupyterChart"):
        chart = chart.chart
    about = f"altair {parts.type_name(chart)}"
    altair = sys.modules["altair"]
    advice = (
        "Load that first and make the chart of it, or save the chart as a PNG and name the file."
    )
    with _naming_failures(about):
        # With its data inside, whatever transformer the user has enabled.
        transformers = altair.data_transformers
        with transformers.enable("default"), transformers.disable_max_rows():
            spec: dict[str, Any] = chart.to_dict()
        data = (part.get("data") for part in _mappings(spec, _ROWS))
        links = (each.get("url") for each in data if isinstance(each, Mapping))
        _refuse_fetching(about, (link for link in links if isinstance(link, str)), advice)
        vl_convert = _renderer("vl_convert", what=about, install="-U vl-convert-python")
        version = "_".join(altair.SCHEMA_VERSION.split(".")[:2])
        svg = vl_convert.vegalite_to_svg(spec, vl_version=version, allowed_base_urls=[])
        _refuse_fetching(about, _LINKED_IMAGE.findall(svg), advice)
        size = _SIZE.match(svg)
        scale = drawing_scale(float(size[1]), float(size[2]), limits=limits) if size else 1.0
        png = vl_convert.svg_to_png(svg, scale=scale)
    return encode.image_from_bytes(png, limits=limits, about=about)


#: What draws an SVG, the best first: vl-convert and resvg-py hold resvg, which needs no other
#: program. Each is given the source and a scale.
_SVG_RENDERERS: Final[dict[str, Callable[[Any, str, float], Any]]] = {
    "resvg_py": lambda module, svg, scale: module.svg_to_bytes(svg_string=svg, zoom=scale),
    "vl_convert": lambda module, svg, scale: module.svg_to_png(svg, scale=scale),
    "cairosvg": lambda module, svg, scale: module.svg2png(bytestring=svg.encode(), scale=scale),
}

#: Most pixels of an SVG: a renderer that gets no memory for them ends the kernel.
_MAX_SVG_PX: Final = 50_000_000
_PX_OF_UNIT: Final = {
    "": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0,
}  # fmt: skip

#: What an SVG has a renderer fetch: images and styles behind links, but none within itself.
_FETCHED: Final = re.compile(
    r"""href\s*=\s*["'](?!\#|data:)(?=[^"'>]*["'][^>]*>)|@import|url\(\s*["']?(?!\#|data:)""",
    re.IGNORECASE,
)
_ANCHOR: Final = re.compile(r"<a\b[^>]*>", re.IGNORECASE)


def _svg_size(svg: str) -> list[float]:
    """Return the pixels of an SVG, as its first element says them; of a font's size none does."""
    parser: Any = XMLPullParser(("start",))
    parser.feed(svg)
    _, root = next(iter(parser.read_events()))
    box = [float(side) for side in re.split(r"[\s,]+", root.get("viewBox", "").strip())[2:4]]
    size: list[float] = []
    for n, side in enumerate(_DEFAULT_PX):
        told = re.fullmatch(r"\s*([-+.\deE]+?)([a-z]*|%)\s*", root.get(side, "100%"))
        if told is None or (told[2] not in _PX_OF_UNIT and not (box and told[2] == "%")):
            raise ValueError("it says no size in pixels")
        size.append(float(told[1]) * (_PX_OF_UNIT.get(told[2]) or box[n] / 100))
    if box and root.get("height") is None:  # it keeps its shape
        size[1] = max(size[1], size[0] * box[1] / box[0])
    if box and root.get("width") is None:
        size[0] = max(size[0], size[1] * box[0] / box[1])
    return size


def svg_part(svg: str, *, limits: Limits = STANDARD, about: str = "SVG") -> Image | Text:
    """Draw an SVG with what is installed for it, or send its source, and say so."""
    why = "nothing that draws it is installed; `%pip install resvg-py` (or cairosvg) draws it"
    if _FETCHED.search(_ANCHOR.sub("", svg)):
        why = "to draw it something would be fetched, and nothing is"
    else:
        for name, draw in _SVG_RENDERERS.items():
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            try:
                size = _svg_size(svg)
                if math.prod(size) > _MAX_SVG_PX:
                    raise ValueError("it has {:,.0f} by {:,.0f} pixels".format(*size))
                scale = drawing_scale(*size, limits=limits)
                data = bytes(draw(module, svg, scale))
                return encode.image_from_bytes(data, limits=limits, about=about)
            except Exception as error:  # noqa: BLE001 - a mistake in the SVG, of many kinds
                reason = shortened(parts.format_error(error).partition(" Stack backtrace")[0])
                why = f"{name} does not draw it ({reason})"
                break
    part = as_text(svg, limits=limits, noun=about, lines=True)
    return replace(part, notes=(f"{about} went as its source: {why}.",))


_BOKEH_FETCHED: Final = ("TileSource", "ImageURL")


def encode_bokeh(plot: Any, *, limits: Limits = STANDARD) -> Image:
    """Let bokeh export a plot; it keeps the browser that it starts until the kernel ends."""
    about = f"bokeh {parts.type_name(plot)}"
    models = (each for each in plot.references() if parts.is_kind(each, "bokeh", *_BOKEH_FETCHED))
    remote = sorted({f"{parts.type_name(each)} pictures" for each in models})
    advice = "Save it with the disk in its toolbar, and name the file."
    _refuse_fetching(about, remote, advice)
    _renderer("selenium", what=about, install="selenium")
    how = (
        "Bokeh draws with chromedriver and Chrome or with geckodriver and Firefox, all on the PATH "
        "(as root also `%env BOKEH_IN_DOCKER=1`); or save it with the disk in its toolbar, and "
        "name the file."
    )
    with parts.naming_failures(f"{about} could not be drawn", how):
        picture = importlib.import_module("bokeh.io.export").get_screenshot_as_png(plot)
    return encode.encode_image(picture, limits=limits, about=about)
