"""Plotly figures become pictures, drawn by kaleido: its releases with and without a browser.

Kaleido is asked directly, not through plotly, since each release of plotly knows only some of
kaleido's. Nothing is fetched: MathJax stays off, and figures that need the network are refused.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from segmind_jupyter.content.images import image_from_bytes
from segmind_jupyter.content.kinds import is_kind
from segmind_jupyter.content.parts import STANDARD, Image, Limits
from segmind_jupyter.content.renderers import drawing_scale, naming_failures, renderer
from segmind_jupyter.errors import ContentError

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

    Parameters
    ----------
    figure
        A ``plotly.graph_objects.Figure`` or ``FigureWidget``, or the dict of one.
    limits
        How large the image may become.
    about
        What it was made from, for the footer; by default ``"plotly figure, 2 traces"``.

    Raises
    ------
    ContentError
        kaleido or its browser is missing, the figure cannot be drawn, or it would be drawn from
        what lies in the network.
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
