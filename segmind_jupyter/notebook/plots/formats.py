"""What an output is to a person: a picture with pixels, one without, or none. Nothing runs here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

#: Where an output holds several of these, a page shows the first (the order of JupyterLab).
_WITH_PIXELS: Final = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")

#: So much of an output is looked at, in characters: an animation can hold a hundred megabytes.
_LOOKED_AT_CHARS: Final = 200_000

#: The beginning of an SVG in which the program that wrote it names itself, in characters.
_SVG_HEAD_CHARS: Final = 4_000

#: HTML with more words than this, in characters, is a table or a text with a picture in it.
_MAX_WORDS_CHARS: Final = 100

#: What this package writes into a page: the thumbnails of a reply are no plot of the user's.
_OURS: Final = "segmind-reply"


@dataclass(frozen=True, slots=True)
class Pixels:
    """A picture that can be sent."""

    data: bytes | str = field(repr=False)
    mime: str = "image/png"
    #: What the output says of it, such as its width on a dense screen.
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)
    #: Returns the figure that it was drawn of, while that is there.
    figure: Callable[[], Any] = field(default=lambda: None, repr=False)

    def _repr_claude_(self) -> Any:
        """Return it as it is sent; what cannot be is told in words."""
        from segmind_jupyter.content.parts import STANDARD, Image
        from segmind_jupyter.content.register import best_form
        from segmind_jupyter.errors import ContentError

        mime = self.mime if self.mime == "image/svg+xml" else "image/png"  # its bytes say which
        part = best_form({mime: self.data}, limits=STANDARD)
        if not isinstance(part, Image):
            raise ContentError(" ".join(part.notes if part else ()))
        return part.wire()


@dataclass(frozen=True, slots=True)
class VectorPlot:
    """A picture that has no pixels: what it is, and the step after which it has."""

    what: str
    step: str
    #: What gives it away: a MIME type, or what the HTML, the SVG or the text of a widget holds.
    marks: tuple[str, ...] = ()
    #: Whether it is a player, or a page of its own, and may hold no figure.
    is_page: bool = False


#: Anything that a person would call a plot.
Picture = Pixels | VectorPlot

_AS_PNG = 'run `%config InlineBackend.figure_formats = ["png"]`, run its cell again'

#: What a library or a program writes.
_KNOWN: Final = (
    VectorPlot(
        "an interactive plotly figure",
        '`pip install -U kaleido`, show it with `fig.show("png")`',
        (
            "application/vnd.plotly.",
            'class="plotly-graph-div"',
            'src="iframe_figures/figure_',
            'class="main-svg"',
            "FigureWidget({",
        ),
    ),
    VectorPlot(
        "an interactive Altair (Vega) chart",
        '`pip install vl-convert-python`, run `alt.renderers.enable("png")`, show it again',
        ("application/vnd.vega", "vegaEmbed(", 'class="marks"', "JupyterChart("),
    ),
    VectorPlot(
        "an interactive bokeh plot",
        "`pip install selenium`, show `bokeh.io.export.get_screenshot_as_png(plot)`",
        ("application/vnd.bokehjs_exec.",),
    ),
    VectorPlot("an SVG of matplotlib", _AS_PNG, ("<dc:title>Matplotlib",)),
    VectorPlot("a PDF", _AS_PNG, ("application/pdf",)),
)

_SVG: Final = VectorPlot(
    "an SVG",
    "`pip install cairosvg`, show `IPython.display.Image(cairosvg.svg2png(bytestring=svg))`",
)

#: The elements that HTML draws a picture with, the one that says most about it first.
_ELEMENTS: Final = ("video", "iframe", "canvas", "svg", "img")
_OPENING: Final = re.compile(rf"<({'|'.join(_ELEMENTS)})\b", re.IGNORECASE)

#: What is no word of a page. What is cut off at the end belongs to it too.
_NO_WORDS: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|svg|video|iframe|canvas)\b.*?(?:</\1\s*>|\Z)"
    r"|<[^>]*(?:>|\Z)",
    re.DOTALL | re.IGNORECASE,
)

#: An `<img>` that holds its file itself.
_EMBEDDED: Final = re.compile(
    r"""<img\b[^>]*?\ssrc\s*=\s*["']?data:image/(?:png|jpe?g|gif|webp|bmp);base64,"""
    r"""([A-Za-z0-9+/=\s]+)""",
    re.IGNORECASE,
)


def picture_in(
    bundle: Mapping[str, Any],
    metadata: Mapping[str, Any] = MappingProxyType({}),
    figure: Callable[[], Any] = lambda: None,
) -> Picture | None:
    """Find the picture that an output shows."""
    for mime in _WITH_PIXELS:
        data = bundle.get(mime)
        if isinstance(data, bytes | str) and data:
            return Pixels(data, mime, metadata, figure)
    texts = {mime: value for mime, value in bundle.items() if isinstance(value, str)}
    svg, html = texts.get("image/svg+xml", ""), texts.get("text/html", "")
    is_widget = "application/vnd.jupyter.widget-view+json" in bundle
    words = texts.get("text/plain", "") if is_widget else ""
    looked_at = [*bundle, svg[:_SVG_HEAD_CHARS], html, words]
    for known in _KNOWN:
        if any(mark in text for mark in known.marks for text in looked_at):
            return known
    if svg:
        return _SVG
    return None if is_widget else _in_html(html)


def _in_html(html: str) -> Picture | None:
    """Find the picture that some HTML is, not one that it has: icons are in tables and reprs."""
    head = html[:_LOOKED_AT_CHARS]
    found = {tag.lower() for tag in _OPENING.findall(head)}
    if not found or _OURS in head:
        return None
    if len(" ".join(_NO_WORDS.sub(" ", head).split())) > _MAX_WORDS_CHARS:
        return None
    element = next(tag for tag in _ELEMENTS if tag in found)
    if element == "img" and len(re.findall(r"<img\b", html, re.IGNORECASE)) == 1:
        embedded = _EMBEDDED.search(html)
        if embedded:
            return Pixels(embedded[1])
    step = "save the plot, or one frame of it, as a PNG, show that with `Image(path)`"
    return VectorPlot(f"HTML with <{element}>", step, is_page=element not in ("svg", "img"))
