"""What the HTML of an output is to a person: one picture, or a page with words. Nothing runs here.

Only HTML that shows hardly anything but a picture counts: icons are in tables and reprs as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Where an output holds several of these, a page shows the first (the order of JupyterLab).
_WITH_PIXELS: Final = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")

#: The beginning of an SVG in which the program that wrote it names itself, in characters.
_SVG_HEAD_CHARS: Final = 4_000


@dataclass(frozen=True, slots=True)
class Pixels:
    """A picture that can be sent."""

    data: bytes | str = field(repr=False)


@dataclass(frozen=True, slots=True)
class VectorPlot:
    """A picture that has no pixels."""

    what: str
    step: str


#: Anything that a person would call a plot.
Picture = Pixels | VectorPlot

_PLOTLY: Final = VectorPlot(
    "an interactive plotly figure", '`pip install -U kaleido`, show it with `fig.show("png")`'
)
_ALTAIR: Final = VectorPlot(
    "an interactive Altair (Vega) chart",
    '`pip install vl-convert-python`, run `alt.renderers.enable("png")`, show it again',
)
_BOKEH: Final = VectorPlot(
    "an interactive bokeh plot",
    "`pip install selenium`, show `bokeh.io.export.get_screenshot_as_png(plot)`",
)
_FOLIUM: Final = VectorPlot(
    "a folium map", "`pip install selenium`, show `IPython.display.Image(map._to_png())`"
)
_MATPLOTLIB: Final = VectorPlot(
    "an SVG of matplotlib",
    'run `%config InlineBackend.figure_formats = ["png"]`, run its cell again',
)
_PDF: Final = VectorPlot(
    "a PDF", 'run `%config InlineBackend.figure_formats = ["png"]`, run its cell again'
)
_GRAPHVIZ: Final = VectorPlot(
    "an SVG of Graphviz", 'run `graphviz.set_jupyter_format("png")`, show it again'
)
_OTHER_SVG: Final = VectorPlot(
    "an SVG",
    "`pip install cairosvg`, show `IPython.display.Image(cairosvg.svg2png(bytestring=svg))`",
)

_ANIMATION: Final = VectorPlot(
    "an animation of matplotlib", "show one frame of it as a figure: `display(fig)`"
)

#: HTML that is a picture, by the element that draws it.
_BY_ELEMENT: Final = {
    "video": VectorPlot("a video", "show one frame of it: `IPython.display.Image(frame)`"),
    "iframe": VectorPlot("a page in a frame", "save the plot as a PNG, show it with `Image(path)`"),
    "canvas": VectorPlot("drawn by the page", "save the plot as a PNG, show it with `Image(path)`"),
    "svg": _OTHER_SVG,
    "img": VectorPlot(
        "an image that the page fetches",
        "show the file itself: `IPython.display.Image(path)`, or `Image(url, embed=True)`",
    ),
}

#: How the MIME types begin that only one kind of display has.
_BY_MIME: Final = {
    "application/vnd.plotly.": _PLOTLY,
    "application/vnd.vega": _ALTAIR,
    "application/vnd.bokehjs_exec.": _BOKEH,
    "application/pdf": _PDF,
}

#: What only the HTML of one library holds, and what begins the text that stands for its widget.
_BY_HTML: Final = {
    'class="plotly-graph-div"': _PLOTLY,
    'src="iframe_figures/figure_': _PLOTLY,
    "vegaEmbed(": _ALTAIR,
    "folium-map": _FOLIUM,
    'class="animation"': _ANIMATION,
}
_BY_TEXT: Final = {"FigureWidget({": _PLOTLY, "JupyterChart(": _ALTAIR}

#: Who writes such an SVG.
_BY_SVG: Final = {
    "matplotlib.org": _MATPLOTLIB,
    "by graphviz": _GRAPHVIZ,
    'class="main-svg"': _PLOTLY,
    'class="marks"': _ALTAIR,
}


def picture_in(bundle: Mapping[str, Any]) -> Picture | None:
    """Find the picture that an output shows."""
    for mime in _WITH_PIXELS:
        data = bundle.get(mime)
        if isinstance(data, bytes | str) and data:
            return Pixels(data)
    known = next(_without_pixels(bundle), None)
    return known or _in_html(_text(bundle, "text/html"))


def _without_pixels(bundle: Mapping[str, Any]) -> Iterator[VectorPlot]:
    for mime in bundle:
        yield from (found for begin, found in _BY_MIME.items() if mime.startswith(begin))
    if svg := _text(bundle, "image/svg+xml"):
        head = svg[:_SVG_HEAD_CHARS]
        yield next((found for mark, found in _BY_SVG.items() if mark in head), _OTHER_SVG)
    if html := _text(bundle, "text/html"):
        yield from (found for mark, found in _BY_HTML.items() if mark in html)
    if "application/vnd.jupyter.widget-view+json" in bundle:
        words = _text(bundle, "text/plain")
        yield from (found for begin, found in _BY_TEXT.items() if words.startswith(begin))


def _in_html(html: str) -> Picture | None:
    element = drawn_by(html)
    if element is None:
        return None
    data = embedded_image(html) if element == "img" else None
    return Pixels(data) if data else _BY_ELEMENT[element]


def _text(bundle: Mapping[str, Any], mime: str) -> str:
    value = bundle.get(mime)
    return value if isinstance(value, str) else ""


#: So much of an output is looked at, in characters: an animation can hold a hundred megabytes.
_LOOKED_AT_CHARS: Final = 200_000

#: HTML with more words than this, in characters, is a table or a text with a picture in it.
_MAX_WORDS_CHARS: Final = 100

#: The elements that draw, the one that says most about an output first.
_ELEMENTS: Final = ("video", "iframe", "canvas", "svg", "img")

#: What is no word of a page. What is cut off at the end belongs to it too.
_NO_WORDS: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|svg|video|iframe|canvas)\b.*?(?:</\1\s*>|\Z)"
    r"|<[^>]*(?:>|\Z)",
    re.DOTALL | re.IGNORECASE,
)

_OPENING: Final = re.compile(rf"<({'|'.join(_ELEMENTS)})\b", re.IGNORECASE)

#: An `<img>` that holds its file itself.
_EMBEDDED: Final = re.compile(
    r"""<img\b[^>]*?\ssrc\s*=\s*["']?data:image/(?:png|jpe?g|gif|webp|bmp);base64,"""
    r"""([A-Za-z0-9+/=\s]+)""",
    re.IGNORECASE,
)

#: What this package writes into a page: the thumbnails of a reply are no plot of the user's.
_OURS: Final = "segmind-reply"


def drawn_by(html: str) -> str | None:
    """Tell which element draws the picture that some HTML is; `None` where it is none."""
    head = html[:_LOOKED_AT_CHARS]
    found = {tag.lower() for tag in _OPENING.findall(head)}
    if not found or _OURS in head:
        return None
    words = " ".join(_NO_WORDS.sub(" ", head).split())
    if len(words) > _MAX_WORDS_CHARS:
        return None
    return next(tag for tag in _ELEMENTS if tag in found)


def embedded_image(html: str) -> str | None:
    """Return the file, in base64, that the only `<img>` of some HTML holds; `None` without one."""
    if len(re.findall(r"<img\b", html, re.IGNORECASE)) != 1:
        return None
    match = _EMBEDDED.search(html)
    return match[1] if match else None
