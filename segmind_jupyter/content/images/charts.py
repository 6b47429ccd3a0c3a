"""Charts of plotly, altair, bokeh and HoloViews: which objects are such, and who draws each.

Maps that are pages, such as folium's, are recognised too, so that they are refused with the way
to their pixels rather than sent as a bare name. Nothing is fetched to draw one.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from segmind_jupyter.content.images.encode import encode_image, fitted_size, image_from_bytes
from segmind_jupyter.content.images.figures import encode_figure
from segmind_jupyter.content.parts import (
    STANDARD,
    Image,
    Limits,
    Text,
    format_error,
    is_kind,
    type_name,
)
from segmind_jupyter.content.text import as_text
from segmind_jupyter.errors import ContentError, shortened

#: A chart is drawn at twice its size where that costs no more than so many tokens: labels of 10
#: pixels read better, and a plot of 700x500 stays at its 450 tokens.
_DOUBLED_TOKENS: Final = 800

_Encode = Callable[..., Image]


def is_chart(obj: object) -> bool:
    """Return whether `obj` is a chart of one of the libraries that are known here."""
    return _encoder(obj) is not None


def encode_chart(chart: Any, *, limits: Limits = STANDARD) -> Image:
    """Draw a chart with its own library's renderer, and encode the picture."""
    encode = _encoder(chart)
    if encode is None:
        raise ContentError(f"A {type_name(chart)} is no chart. Name the chart itself.")
    return encode(chart, limits=limits)


def _encoder(obj: object) -> _Encode | None:
    """Find who draws an object, by the classes in its ancestry."""
    names = ((str(kind.__module__).partition(".")[0], kind.__name__) for kind in type(obj).__mro__)
    return next((_ENCODERS[name] for name in names if name in _ENCODERS), None)


def drawing_scale(width_px: float, height_px: float, *, limits: Limits) -> float:
    """Return the scale at which a chart is drawn, so that nothing is resampled afterwards."""

    def fitted(scale: float, budget_tokens: int) -> tuple[tuple[int, int], tuple[int, int]]:
        size = max(1, round(scale * width_px)), max(1, round(scale * height_px))
        edge_px = limits.image_edge_px
        return size, fitted_size(*size, edge_px=edge_px, budget_tokens=budget_tokens)

    doubled, within = fitted(2, min(_DOUBLED_TOKENS, limits.image_tokens))
    if doubled == within:
        return 2.0
    own, within = fitted(1, limits.image_tokens)
    # Renderers round or cut fractions of a pixel: aim below the last whole one.
    return 1.0 if within == own else (max(within) - 0.5) / max(own)


def _renderer(module: str, *, what: str, install: str) -> ModuleType:
    """Import the package that draws for a plotting library."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ContentError(
            f"{what}: to draw it takes {module}, which cannot be imported ({format_error(error)}). "
            f"Run `%pip install {install}`, then this again."
        ) from error


@contextmanager
def _naming_failures(what: str) -> Iterator[None]:
    """Say which chart it was when its own library cannot draw it."""
    try:
        yield
    except ContentError:
        raise
    except Exception as error:
        raise ContentError(
            f"{what} could not be drawn ({format_error(error)}). Correct the chart if that names a "
            "fault of it, or save it as a PNG yourself and name the file."
        ) from error


#: The size of a figure that sets none, in pixels (plotly's documentation of ``write_image``).
_DEFAULT_PX: Final = {"width": 700, "height": 500}

#: The traces for which plotly.js fetches outlines or tiles, also where the data is all there.
_MAP_TRACES: Final = frozenset(
    {
        "choropleth", "choroplethmap", "choroplethmapbox", "densitymap", "densitymapbox",
        "scattergeo", "scattermap", "scattermapbox",
    }
)  # fmt: skip

#: Where a figure keeps words of its author's own, which are drawn as text or not at all.
_OWN_WORDS: Final = frozenset({"customdata", "meta", "text", "hovertext", "ids"})


def encode_plotly(figure: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Draw a plotly figure and encode the picture.

    A figure is drawn at the size that its layout sets, by default 700x500 pixels; a small one at
    twice that. LaTeX in its texts stays as it was typed.
    """
    spec = figure if isinstance(figure, Mapping) else figure.to_dict()
    traces = spec.get("data") or ()
    about = about or f"plotly figure, {len(traces):,} trace{'' if len(traces) == 1 else 's'}"
    maps = (trace["type"] for trace in traces if trace.get("type") in _MAP_TRACES)
    remote = next((f"the map below its {kind} trace" for kind in maps), None)
    if remote := remote or next(_linked_sources(spec), None):
        raise ContentError(
            f"{about}: to draw it would fetch {shortened(remote)} from the network, and nothing is "
            'fetched here. Run `fig.write_image("figure.png")` yourself, and name that file.'
        )
    kaleido = _renderer("kaleido", what=about, install="-U kaleido")
    # plotly finds a side of the figure in its layout, then in its template's.
    layout = spec.get("layout") or {}
    template = layout.get("template") or {}
    outer = (template.get("layout") or {}) if isinstance(template, Mapping) else {}
    size = {
        side: float(layout.get(side) or outer.get(side) or px) for side, px in _DEFAULT_PX.items()
    }
    options = {"format": "png", **size, "scale": drawing_scale(*size.values(), limits=limits)}
    with _naming_failures(about), _naming_chrome(about):
        if hasattr(kaleido, "calc_fig"):
            # kaleido 1 starts Chrome: two seconds a figure. Without MathJax, which it would load
            # from the network.
            drawing = kaleido.calc_fig(spec, opts=options, kopts={"mathjax": False})
            data = _run_apart(drawing)
        else:
            data = _drawn_by_bundle(spec, options)
        if not data.startswith(b"\x89PNG"):  # the browser gives an empty one of what it cannot hold
            raise ValueError(f"no picture of {size['width']:g}×{size['height']:g} px came out")
    return image_from_bytes(data, limits=limits, about=about)


def _linked_sources(part: Any) -> Iterator[str]:
    """Find the images that are links, anywhere in a figure: traces, layout, template, frames."""
    if isinstance(part, Mapping):
        source = part.get("source")
        if isinstance(source, str) and not source.startswith("data:"):
            yield source
        parts = [inner for key, inner in part.items() if key not in _OWN_WORDS]
    else:
        parts = list(part) if isinstance(part, list | tuple) else []
    for inner in parts:
        if isinstance(inner, Mapping | list | tuple):
            yield from _linked_sources(inner)


def _run_apart(drawing: Coroutine[Any, Any, bytes]) -> bytes:
    """Run a coroutine on a loop and a thread of its own, as the kernel's loop runs meanwhile.

    Waited for in slices: an interrupt that comes as a wait without end begins would be heard only
    after it. What draws then ends by itself.
    """
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


def _drawn_by_bundle(spec: Any, options: dict[str, Any]) -> bytes:
    """Draw with kaleido 0.2, which brings its own browser and its own MathJax."""
    scopes = importlib.import_module("kaleido.scopes.plotly")
    library = Path(sys.modules["plotly"].__path__[0]) / "package_data" / "plotly.min.js"
    scope = scopes.PlotlyScope(plotlyjs=str(library))
    try:
        data: bytes = scope.transform(spec, **options)
        return data
    finally:
        scope._shutdown_kaleido()  # the process outlives the scope; 0.2.1 was the last of its line


@contextmanager
def _naming_chrome(about: str) -> Iterator[None]:
    """Tell a missing or broken Chrome from a figure that cannot be drawn."""
    try:
        yield
    except Exception as error:
        if is_kind(error, "choreographer", "ChromeNotFoundError"):
            happened = "kaleido draws with Chrome, and finds none"
        elif is_kind(error, "choreographer", "BrowserFailedError", "BrowserClosedError"):
            happened = "the Chrome with which kaleido draws does not run (see `!choreo_diagnose`)"
        else:
            raise
        raise ContentError(
            f"{about}: {happened}. Run `!kaleido_get_chrome`, or name a Chrome with "
            '`%env BROWSER_PATH=…`, or `%pip install "kaleido<1"`, which brings its own, and '
            "restart the kernel."
        ) from error


#: The size of the drawing, in the first tag of the SVG that vl-convert writes.
_SIZE: Final = re.compile(r'<svg [^>]*?width="([\d.]+)" height="([\d.]+)"')

#: An image that is a link. Vega leaves those in the SVG, and the step to pixels would fetch them.
_LINKED_IMAGE: Final = re.compile(r'<image [^>]*?href="(?!data:)([^"]*)"')

#: Where a chart keeps rows, which may hold any words.
_ROWS: Final = frozenset({"datasets", "values"})


def encode_altair(chart: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Draw an altair chart and encode the picture.

    The chart may hold more rows than altair allows in a notebook, as none of them are sent. The
    theme that is enabled applies; a small chart is drawn at twice its size.
    """
    if is_kind(chart, "altair", "JupyterChart"):
        chart = chart.chart
    about = about or f"altair {type_name(chart)}"
    altair = sys.modules["altair"]
    with _naming_failures(about):
        # With its data inside, whatever transformer the user has enabled.
        transformers = altair.data_transformers
        with transformers.enable("default"), transformers.disable_max_rows():
            spec: dict[str, Any] = chart.to_dict()
        _refuse_links(_data_links(spec), about)
        vl_convert = _renderer("vl_convert", what=about, install="-U vl-convert-python")
        major, minor = altair.SCHEMA_VERSION.lstrip("v").split(".")[:2]
        try:
            svg: str = vl_convert.vegalite_to_svg(
                spec, vl_version=f"v{major}_{minor}", allowed_base_urls=[]
            )
        except (RuntimeError, TypeError) as error:  # what is wrong with a chart is a ValueError
            reason = shortened(str(error).partition("\n")[0])  # a stack trace follows
            raise ContentError(
                f"{about}: vl-convert does not draw with Vega-Lite {major}.{minor} ({reason}). "
                "Run `%pip install -U vl-convert-python` and restart the kernel."
            ) from error
        _refuse_links(iter(_LINKED_IMAGE.findall(svg)), about)
        size = _SIZE.match(svg)
        scale = drawing_scale(float(size[1]), float(size[2]), limits=limits) if size else 1.0
        data = vl_convert.svg_to_png(svg, scale=scale)
    return image_from_bytes(data, limits=limits, about=about)


def _data_links(spec: Any) -> Iterator[str]:
    """Find where any part of a chart names its data by a link."""
    if isinstance(spec, list):
        for part in spec:
            yield from _data_links(part)
    elif isinstance(spec, Mapping):
        data = spec.get("data")
        if isinstance(data, Mapping) and isinstance(data.get("url"), str):
            yield data["url"]
        for key, part in spec.items():
            if key not in _ROWS:
                yield from _data_links(part)


def _refuse_links(links: Iterator[str], about: str) -> None:
    for link in links:
        raise ContentError(
            f"{about}: to draw it would fetch {shortened(link)}, and nothing is fetched here. Load "
            "that first and make the chart of it, or save the chart as a PNG and name the file."
        )


#: What draws an SVG, the best first: vl-convert and resvg-py hold resvg, which needs no other
#: program. Each is given the source and a scale.
_SVG_RENDERERS: Final[dict[str, Callable[[Any, str, float], Any]]] = {
    "resvg_py": lambda module, svg, scale: module.svg_to_bytes(svg_string=svg, zoom=scale),
    "vl_convert": lambda module, svg, scale: module.svg_to_png(svg, scale=scale),
    "cairosvg": lambda module, svg, scale: module.svg2png(bytestring=svg.encode(), scale=scale),
}

#: What an SVG has a renderer fetch: images and styles behind links, but none within itself.
_FETCHED: Final = re.compile(
    r"""href\s*=\s*["'](?!\#|data:)(?=[^"'>]*["'][^>]*>)|@import|url\(\s*["']?(?!\#|data:)""",
    re.IGNORECASE,
)
_ANCHOR: Final = re.compile(r"<a\b[^>]*>", re.IGNORECASE)


def svg_part(svg: str, *, limits: Limits = STANDARD, about: str = "SVG") -> Image | Text:
    """Draw an SVG with what is installed for it, or send its source, and say so."""
    why = "nothing that draws it is installed; `%pip install resvg-py` (or cairosvg) draws it"
    tag = re.search(r"<svg\b[^>]*>", svg)
    sides = (
        [re.search(rf"""\b{side}\s*=\s*["']([\d.]+)""", tag[0]) for side in _DEFAULT_PX]
        if tag
        else []
    )
    if _FETCHED.search(_ANCHOR.sub("", svg)):
        why = "to draw it something would be fetched, and nothing is"
    else:
        for name, draw in _SVG_RENDERERS.items():
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            try:
                size = [float(side[1]) for side in sides if side]
                scale = drawing_scale(*size, limits=limits) if len(size) == 2 else 1.0
                data = bytes(draw(module, svg, scale))
                return image_from_bytes(data, limits=limits, about=about)
            except Exception as error:  # noqa: BLE001 - a mistake in the SVG, of many kinds
                reason = shortened(format_error(error).partition(" Stack backtrace")[0])
                why = f"{name} does not draw it ({reason})"
                break
    part = as_text(svg, limits=limits, noun=about, lines=True)
    return replace(part, notes=(f"{about} went as its source: {why}.",))


#: The models for which the page fetches pictures, by the name of one of their classes.
_REMOTE: Final = ("TileSource", "ImageURL")


def encode_bokeh(plot: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Let bokeh export a plot, and encode the picture.

    Bokeh keeps the browser that it starts for further plots, and ends it with the kernel.
    """
    about = about or f"bokeh {type_name(plot)}"
    remote = sorted(
        type_name(model) for model in plot.references() if is_kind(model, "bokeh", *_REMOTE)
    )
    if remote:
        raise ContentError(
            f"{about}: to draw it would fetch {remote[0]} pictures from the network, and nothing "
            "is fetched here. Save it with the disk in its toolbar, and name the file."
        )
    _renderer("selenium", what=about, install="selenium")
    try:
        picture = importlib.import_module("bokeh.io.export").get_screenshot_as_png(plot)
    except Exception as error:
        raise ContentError(
            f"{about} could not be drawn ({format_error(error)}). Bokeh draws with chromedriver "
            "and Chrome or with geckodriver and Firefox, all on the PATH (as root also "
            "`%env BOKEH_IN_DOCKER=1`); or save it with the disk in its toolbar, and name the file."
        ) from error
    return encode_image(picture, limits=limits, about=about)


def _encode_holoviews(obj: Any, *, limits: Limits) -> Image:
    """Let HoloViews make the figure of the backend that it shows, and draw that."""
    about = f"HoloViews {type_name(obj)}"
    with _naming_failures(about):
        figure = sys.modules["holoviews"].render(obj)
    encode = encode_plotly if isinstance(figure, dict) else _encoder(figure) or encode_figure
    return encode(figure, limits=limits, about=about)


def _refuse_page(obj: Any, *, limits: Limits) -> Image:
    package = type(obj).__module__.partition(".")[0]
    raise ContentError(
        f"{package} {type_name(obj)}: it is a page, for which a browser fetches map tiles, and "
        "nothing is fetched here. Take a screenshot and name the file, or name the data itself."
    )


#: Who draws a chart, by the package and the name of a class in its ancestry.
_ENCODERS: Final[dict[tuple[str, str], _Encode]] = {
    ("plotly", "BaseFigure"): encode_plotly,
    ("altair", "TopLevelMixin"): encode_altair,
    ("altair", "JupyterChart"): encode_altair,
    ("bokeh", "UIElement"): encode_bokeh,
    ("bokeh", "LayoutDOM"): encode_bokeh,  # in bokeh 2
    ("holoviews", "Dimensioned"): _encode_holoviews,
    ("folium", "Map"): _refuse_page,
    ("ipyleaflet", "Map"): _refuse_page,
    ("pydeck", "Deck"): _refuse_page,
}
