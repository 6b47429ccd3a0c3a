"""Charts of plotly, altair, bokeh and HoloViews: which objects are such, and who draws each.

Maps that are pages, such as folium's, are recognised too, so that they are refused with the way
to their pixels rather than sent as a bare name.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from segmind_jupyter.content.images.encode import encode_image, fitted_size, image_from_bytes
from segmind_jupyter.content.images.figures import encode_figure
from segmind_jupyter.content.parts import STANDARD, Image, Limits, format_error, is_kind, type_name
from segmind_jupyter.errors import ContentError, shortened

#: A chart is drawn at twice its size where that costs no more than so many tokens: labels of 10
#: pixels read better, and a plot of 700x500 stays at its 450 tokens.
_DOUBLED_TOKENS = 800


def renderer(module: str, *, what: str, install: str) -> ModuleType:
    """Import the package that draws for a plotting library."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ContentError(
            f"{what}: to draw it takes {module}, which cannot be imported ({format_error(error)}). "
            f"Run `%pip install {install}`, then this again."
        ) from error


@contextmanager
def naming_failures(what: str) -> Iterator[None]:
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


def drawing_scale(width_px: float, height_px: float, *, limits: Limits) -> float:
    """Return the scale at which a chart is drawn, so that nothing is resampled afterwards."""
    doubled = max(1, round(2 * width_px)), max(1, round(2 * height_px))
    if doubled == _fitted(doubled, limits, min(_DOUBLED_TOKENS, limits.image_tokens)):
        return 2.0
    own = max(1, round(width_px)), max(1, round(height_px))
    fitted = _fitted(own, limits, limits.image_tokens)
    # Renderers round or cut fractions of a pixel: aim below the last whole one.
    return 1.0 if fitted == own else (max(fitted) - 0.5) / max(own)


def _fitted(size: tuple[int, int], limits: Limits, budget_tokens: int) -> tuple[int, int]:
    return fitted_size(*size, edge_px=limits.image_edge_px, budget_tokens=budget_tokens)


#: The size of a figure that sets none, in pixels (plotly's documentation of ``write_image``).
_DEFAULT_PX = {"width": 700, "height": 500}

#: The traces for which plotly.js fetches outlines or tiles, also where the data is all there.
_MAP_TRACES = frozenset(
    {
        "choropleth",
        "choroplethmap",
        "choroplethmapbox",
        "densitymap",
        "densitymapbox",
        "scattergeo",
        "scattermap",
        "scattermapbox",
    }
)


def encode_plotly(figure: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Draw a plotly figure and encode the picture.

    A figure is drawn at the size that its layout sets, by default 700x500 pixels; a small one at
    twice that. LaTeX in its texts stays as it was typed.
    """
    spec = figure if isinstance(figure, Mapping) else figure.to_dict()
    about = about or _described(spec)
    _refuse_network(spec, about)
    kaleido = renderer("kaleido", what=about, install="-U kaleido")
    size = {side: _side_px(spec.get("layout") or {}, side) for side in _DEFAULT_PX}
    options = {
        "format": "png",
        **size,
        "scale": drawing_scale(size["width"], size["height"], limits=limits),
    }
    draw = _drawn_by_chrome if hasattr(kaleido, "calc_fig") else _drawn_by_bundle
    with naming_failures(about), _naming_chrome(about):
        data = draw(kaleido, spec, options)
        _check_drawn(data, options)
    return image_from_bytes(data, limits=limits, about=about)


def _described(spec: Mapping[str, Any]) -> str:
    count = len(spec.get("data") or ())
    return f"plotly figure, {count:,} trace{'' if count == 1 else 's'}"


def _side_px(layout: Mapping[str, Any], side: str) -> float:
    """Find a side of the figure where plotly does: in its layout, then in its template's."""
    template = (layout.get("template") or {}).get("layout") or {}
    return float(layout.get(side) or template.get(side) or _DEFAULT_PX[side])


def _refuse_network(spec: Mapping[str, Any], about: str) -> None:
    for remote in _remote(spec):
        raise ContentError(
            f"{about}: to draw it would fetch {remote} from the network, and nothing is fetched "
            'here. Run `fig.write_image("figure.png")` yourself, and name that file.'
        )


def _remote(spec: Mapping[str, Any]) -> Iterator[str]:
    for trace in spec.get("data") or ():
        if trace.get("type") in _MAP_TRACES:
            yield f"the map below its {trace['type']} trace"
        elif trace.get("type") == "image" and _is_link(trace.get("source")):
            yield trace["source"]
    for image in (spec.get("layout") or {}).get("images") or ():
        if _is_link(image.get("source")):
            yield image["source"]


def _is_link(source: Any) -> bool:
    return isinstance(source, str) and not source.startswith("data:")


def _drawn_by_chrome(kaleido: Any, spec: Any, options: dict[str, Any]) -> bytes:
    """Draw with kaleido 1, which starts Chrome: two seconds a figure.

    On a loop and a thread of its own, as the kernel's loop is running meanwhile. Without MathJax,
    which kaleido 1 loads from the network.
    """
    drawing = kaleido.calc_fig(spec, opts=options, kopts={"mathjax": False})
    apart = ThreadPoolExecutor(max_workers=1)
    try:
        data: bytes = apart.submit(asyncio.run, drawing).result()
        return data
    finally:
        apart.shutdown(wait=False)  # an interrupt does not wait for Chrome, which ends by itself


def _drawn_by_bundle(_kaleido: Any, spec: Any, options: dict[str, Any]) -> bytes:
    """Draw with kaleido 0.2, which brings its own browser and its own MathJax."""
    scopes = importlib.import_module("kaleido.scopes.plotly")
    library = Path(sys.modules["plotly"].__path__[0]) / "package_data" / "plotly.min.js"
    scope = scopes.PlotlyScope(plotlyjs=str(library))
    try:
        data: bytes = scope.transform(spec, **options)
        return data
    finally:
        scope._shutdown_kaleido()  # the process outlives the scope; 0.2.1 was the last of its line


def _check_drawn(data: bytes, options: Mapping[str, Any]) -> None:
    """Refuse what is no picture: the browser gives an empty one of what it cannot hold."""
    if not data.startswith(b"\x89PNG"):
        raise ValueError(f"no picture of {options['width']:g}×{options['height']:g} px came out")


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
_SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)" height="([\d.]+)"')

#: An image that is a link. Vega leaves those in the SVG, and the step to pixels would fetch them.
_LINKED_IMAGE = re.compile(r'<image [^>]*?href="(?!data:)([^"]*)"')

#: Where a chart keeps rows, which may hold any words.
_ROWS = frozenset({"datasets", "values"})


def encode_altair(chart: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Draw an altair chart and encode the picture.

    The chart may hold more rows than altair allows in a notebook, as none of them are sent. The
    theme that is enabled applies; a small chart is drawn at twice its size.
    """
    if is_kind(chart, "altair", "JupyterChart"):
        chart = chart.chart
    about = about or f"altair {type_name(chart)}"
    with naming_failures(about):
        spec = _inlined(chart)
        _refuse_link(next(_data_links(spec), None), about)
        vl_convert = renderer("vl_convert", what=about, install="-U vl-convert-python")
        svg = _svg(vl_convert, spec, about)
        _refuse_link(next(iter(_LINKED_IMAGE.findall(svg)), None), about)
        data = vl_convert.svg_to_png(svg, scale=_scale(svg, limits))
    return image_from_bytes(data, limits=limits, about=about)


def _inlined(chart: Any) -> dict[str, Any]:
    """Return the specification with its data inside, whatever transformer the user has enabled."""
    transformers = sys.modules["altair"].data_transformers
    with transformers.enable("default"), transformers.disable_max_rows():
        spec: dict[str, Any] = chart.to_dict()
    return spec


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


def _refuse_link(link: str | None, about: str) -> None:
    if link is not None:
        raise ContentError(
            f"{about}: to draw it would fetch {shortened(link)}, and nothing is fetched here. Load "
            "that first and make the chart of it, or save the chart as a PNG and name the file."
        )


def _svg(vl_convert: Any, spec: dict[str, Any], about: str) -> str:
    """Compile a chart with the Vega-Lite that this altair writes for."""
    major, minor = sys.modules["altair"].SCHEMA_VERSION.lstrip("v").split(".")[:2]
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
    return svg


def _scale(svg: str, limits: Limits) -> float:
    size = _SIZE.match(svg)
    return drawing_scale(float(size[1]), float(size[2]), limits=limits) if size else 1.0


#: The models for which the page fetches pictures, by the name of one of their classes.
_REMOTE = ("TileSource", "ImageURL")


def encode_bokeh(plot: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Let bokeh export a plot, and encode the picture.

    Bokeh keeps the browser that it starts for further plots, and ends it with the kernel.
    """
    about = about or f"bokeh {type_name(plot)}"
    _bokeh_plots_refuse_network(plot, about)
    renderer("selenium", what=about, install="selenium")
    try:
        picture = importlib.import_module("bokeh.io.export").get_screenshot_as_png(plot)
    except Exception as error:
        raise ContentError(
            f"{about} could not be drawn ({format_error(error)}). Bokeh draws with chromedriver "
            "and Chrome or with geckodriver and Firefox, all on the PATH (as root also "
            "`%env BOKEH_IN_DOCKER=1`); or save it with the disk in its toolbar, and name the file."
        ) from error
    return encode_image(picture, limits=limits, about=about)


def _bokeh_plots_refuse_network(plot: Any, about: str) -> None:
    remote = sorted(
        {type_name(model) for model in plot.references() if is_kind(model, "bokeh", *_REMOTE)}
    )
    if remote:
        raise ContentError(
            f"{about}: to draw it would fetch {remote[0]} pictures from the network, and nothing "
            "is fetched here. Save it with the disk in its toolbar, and name the file."
        )


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


def _encode_holoviews(obj: Any, *, limits: Limits) -> Image:
    """Let HoloViews make the figure of the backend that it shows, and draw that."""
    about = f"HoloViews {type_name(obj)}"
    with naming_failures(about):
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
_ENCODERS: dict[tuple[str, str], _Encode] = {
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
