"""Every inline style that a shown reply may carry: a closed set of constants.

Inline styles are used because they survive in a saved notebook wherever it is opened, and a
closed set because the sanitizer then admits these values and no other: untrusted input styles
nothing. JupyterLab's CSS variables come first; the fallbacks are mid-tones and translucent greys
that read on white and on black (VS Code, Colab, nbconvert).
"""

from __future__ import annotations

import html
import re
from typing import Final

from segmind_jupyter.words import one_line

#: Widest that a reply, a card, a batch or an error is: one right edge for all of them.
MAX_WIDTH = "880px"

#: Two sizes of words: what is read, and what stands beside it.
_READ = "font-size:var(--jp-content-font-size1,14px)"
_BESIDE = "font-size:12px"

_LINE = "rgba(128,128,128,.35)"
_TINT = "rgba(128,128,128,.1)"
_QUIET = "var(--jp-ui-font-color2,#757575)"
_MONO = "font-family:var(--jp-code-font-family,ui-monospace,Menlo,Consolas,monospace)"
_BLOCK = (
    "padding:.5em .8em;border:1px solid var(--jp-cell-editor-border-color,transparent);"
    f"border-radius:3px;background:var(--jp-cell-editor-background,{_TINT});color:inherit;"
    f"{_READ};line-height:1.4"
)
_ALIGNED = ("left", "center", "right")
_WRAPPED = "white-space:pre-wrap;overflow-wrap:anywhere"
_CELL = f"padding:.3em .8em;border:0;border-bottom:1px solid {_LINE};vertical-align:top"
_HEADING = "line-height:1.3;font-weight:600;margin:1em 0 .4em;text-align:left"

#: Of elements: an HTML tag, or a tag and its variant. Margins collapse, so that one is right at
#: any depth: lists stand evenly, whatever they are in.
ELEMENTS: Final = {
    "h1": f"font-size:1.4em;{_HEADING}",
    "h2": f"font-size:1.25em;{_HEADING}",
    "h3": f"font-size:1.12em;{_HEADING}",
    **dict.fromkeys(("h4", "h5", "h6"), f"font-size:1em;{_HEADING}"),
    "p": "margin:.5em 0;text-align:left",
    "p close": "margin:.2em 0;text-align:left",
    **dict.fromkeys(("ul", "ol"), "margin:.15em 0;padding-left:1.8em"),
    "li": "margin:.15em 0",
    "li task": "margin:.15em 0;list-style:none",
    "blockquote": f"margin:.5em 0;padding:0 0 0 .9em;border-left:3px solid {_LINE};color:inherit",
    "hr": f"border:0;border-top:1px solid {_LINE};margin:1em 0",
    "a": "color:var(--jp-content-link-color,#1f7ae0);text-decoration:underline",
    "code": f"{_MONO};font-size:1em;padding:.1em .35em;border-radius:3px;"
    "color:var(--jp-content-font-color1,inherit);"
    "background:var(--jp-layout-color2,rgba(128,128,128,.18))",
    "pre": f"margin:.7em 0;{_BLOCK};overflow-x:auto;white-space:pre",
    "pre:wrapped": f"margin:.7em 0;{_WRAPPED};{_MONO};{_READ}",
    "pre code": f"{_MONO};font-size:1em;padding:0;background:none;color:inherit",
    **dict.fromkeys(("sub", "sup"), "font-size:.75em;line-height:0"),
    "table": f"display:block;overflow-x:auto;margin:.5em 0;border-collapse:collapse;border:0;"
    f"{_READ}",
    "tr": "background:none",
    **{f"th {at}": f"text-align:{at};font-weight:600;{_CELL}" for at in _ALIGNED},
    **{f"td {at}": f"text-align:{at};{_CELL}" for at in _ALIGNED},
    "scroll": "overflow-x:auto;margin:.7em 0",
}

#: Of MathML, for what browsers no longer draw from attributes (MathML Core).
MATH: Final = {
    # Fonts that have a table of mathematical sizes: without one, brackets do not stretch and
    # hats float. None is fetched; some of them is on most systems.
    "math": "font-family:STIX Two Math,Cambria Math,Latin Modern Math,Asana Math,"
    "DejaVu Math TeX Gyre,DejaVu Serif,math;font-size:1.15em",
    "left": "text-align:left",
    "right": "text-align:right",
    # The columns of aligned equations touch.
    "aligned left": "text-align:left;padding-left:0;padding-right:0",
    "aligned right": "text-align:right;padding-left:0;padding-right:0",
    "box": "border:1px solid;padding:.15em .3em",
}


def _ink(variable: str, fallback: str, percent: int = 85) -> str:
    """Return the theme's colour, with some of the text's: alone it is faint on a tinted ground."""
    theme = f"var(--jp-mirror-editor-{variable}-color,{fallback})"
    return f"color:color-mix(in srgb,{theme} {percent}%,currentColor)"


#: Of code, by the name of a Pygments token type; a type without an entry takes its parent's.
CODE: Final = {
    "Comment": _ink("comment", "#5d8080", percent=75) + ";font-style:italic",
    **dict.fromkeys(("Keyword", "Operator.Word"), _ink("keyword", "#338a36") + ";font-weight:600"),
    "Literal.String": _ink("string", "#d04a4a"),
    "Literal.Number": _ink("number", "#2b8a57"),
    **dict.fromkeys(("Name.Function", "Name.Class", "Generic.Heading"), _ink("def", "#2f7be0")),
    **dict.fromkeys(("Name.Builtin", "Name.Exception", "Name.Tag"), _ink("builtin", "#338a36")),
    **dict.fromkeys(("Name.Decorator", "Generic.Prompt"), _ink("meta", "#a855f7")),
    "Name.Attribute": _ink("attribute", "#4b78d8"),
    "Generic.Deleted": "color:#d64545",
    "Generic.Inserted": "color:#2b8a57",
}

_AMBER = "#c98a1b"
_BAR = "margin:.2em 0 .5em;padding:.3em .8em;border-left:3px solid"
_PICTURE = f"border:1px solid {_LINE};border-radius:3px;background:#fff"

#: Of the frame: the reply's own box and the footer. Only this package's templates use them.
FRAME: Final = {
    # The box clips what it holds, so that no formula can paint over the rest of the page.
    "reply": f"font-family:var(--jp-content-font-family,inherit);{_READ};line-height:1.6;"
    f"max-width:{MAX_WIDTH};box-sizing:border-box;padding:2px 0;overflow-x:auto;"
    "overflow-y:hidden;overflow-wrap:break-word",
    "cut": f"{_BAR} {_AMBER};background:rgba(201,138,27,.12)",
    "footer": f"margin-top:.8em;padding-top:.45em;border-top:1px solid {_LINE};"
    f"{_BESIDE};line-height:1.45;color:{_QUIET}",
    # As many as there is room for side by side; a single one takes all of it.
    "columns": "display:grid;grid-template-columns:"
    "repeat(auto-fit,minmax(min(100%,20em),1fr));gap:1em 2em",
    "column": "min-width:0;overflow-x:auto;overflow-y:hidden",
    "row": "display:flex;flex-wrap:wrap;gap:.5em 1.6em;margin:.5em 0 .1em",
    # All of one width, so that what is said of them begins in columns.
    "item": "display:flex;align-items:center;gap:.6em;flex:0 1 26em;min-width:0",
    "thumbnail": f"display:block;margin:0;width:80px;height:48px;object-fit:contain;flex:none;"
    f"{_PICTURE}",
    "picture": f"display:block;margin:.3em 0 0;max-width:320px;max-height:200px;{_PICTURE}",
    "long": f"{_READ};line-height:1.6;max-width:{MAX_WIDTH};overflow-wrap:anywhere",
    "verbatim": f"margin:.3em 0 0;{_BLOCK};{_MONO};{_WRAPPED};max-height:40em;overflow-y:auto",
    "caption": "min-width:0;overflow-wrap:anywhere",
    "summary": "cursor:pointer;margin-top:.4em",
    "note": f"margin:.5em 0 0;padding-left:.7em;border-left:2px solid {_AMBER}",
    "failed": f"{_BAR} #d64545;background:rgba(214,69,69,.06)",
    "stopped": f"{_BAR} {_LINE};background:{_TINT}",
    "head": f"{_READ};line-height:1.5;overflow-wrap:anywhere",
    "about": f"{_BESIDE};line-height:1.5;color:{_QUIET};overflow-wrap:anywhere",
    "quiet": f"color:{_QUIET}",
    # Of a batch: how much of it is done, and what failed.
    "bar": f"display:flex;height:6px;margin:.3em 0 .5em;border-radius:3px;overflow:hidden;"
    f"background:{_LINE}",
    "bar done": "background:var(--jp-brand-color1,#1f7ae0)",
    "bar failed": "background:#d64545",
    # One click selects the whole id, to be copied.
    "id": f"{_MONO};user-select:all;cursor:copy",
    "waits": f"color:{_QUIET}",
    "works": "color:var(--jp-brand-color1,#1f7ae0)",
    "ended": "color:inherit",
    # Of a chat: the user's words to the right in a bubble, the model's over the whole width.
    "mine": "display:flex;justify-content:flex-end;margin:.9em 0 .5em",
    "said": "max-width:85%;padding:.45em .9em;border-radius:1em 1em .2em 1em;"
    "background:rgba(31,122,224,.16)",
    "objects": f"{_BESIDE};line-height:1.45",
    "words": _WRAPPED,
    "theirs": "margin:.2em 0 .9em",
}

#: The styles that the sanitizer admits in a reply's own part.
ADMITTED = frozenset({*ELEMENTS.values(), *MATH.values(), *CODE.values()})

#: What a message sets in backquotes, as commands are.
_QUOTED = re.compile("`([^`\n]{1,300})`")

#: Classes of the box. The first keeps MathJax 3 and 4 away (JupyterLab), the second MathJax 2
#: (pages that nbconvert writes); both names are MathJax's own.
_BOX = "mathjax_ignore tex2jax_ignore segmind-reply"

_BEFORE_BLANK_LINE = re.compile(r"\n(?=[^\S\n]*\n)")


def framed(inside: str, *, is_news: bool = False) -> str:
    """Put finished HTML into the box of a reply; what `is_news` is read out where it appears.

    No blank line is left in it: in a notebook that is converted to Markdown it would end the HTML
    (CommonMark 0.31, "HTML blocks"), and what follows would be Markdown, with images that are
    fetched.
    """
    unbroken = _BEFORE_BLANK_LINE.sub("&#10;", inside)
    live = ' aria-live="polite"' if is_news else ""
    return f'<div class="{_BOX}"{live} style="{FRAME["reply"]}">{unbroken}</div>'


def div(style: str, inside: str) -> str:
    """Return an element of the frame around finished HTML; nothing around nothing."""
    return f'<div style="{FRAME[style]}">{inside}</div>' if inside else ""


def folded(title: str, inside: str) -> str:
    """Return finished HTML folded away behind its title."""
    return f'<details><summary style="{FRAME["summary"]}">{title}</summary>{inside}</details>'


def one_line_html(words: str) -> str:
    """Return the words as one line of HTML; what stands in backquotes becomes code."""
    return _QUOTED.sub(rf'<code style="{ELEMENTS["code"]}">\1</code>', html.escape(one_line(words)))
