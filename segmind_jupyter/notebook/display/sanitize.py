"""What a reply's HTML may hold: explicit lists of tags, attributes and addresses, kept by nh3.

The HTML that comes here was built from escaped pieces and should pass unchanged; this is the
second wall, for the day when a parser or a converter has a hole.
"""

from __future__ import annotations

import re
from typing import Final

from segmind_jupyter.notebook.display.styles import ADMITTED

_TAGS: Final = {
    "a", "blockquote", "br", "code", "div", "em", "hr", "li", "ol", "p", "pre", "s", "span",
    "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip

#: Presentation MathML that only draws: no `maction`, no `annotation-xml`, no links.
MATH_TAGS: Final = {
    "math", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded", "mphantom", "mroot",
    "mrow", "ms", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd", "mtext",
    "mtr", "munder", "munderover",
}  # fmt: skip
MATH_ATTRIBUTES: Final = {
    "accent", "accentunder", "depth", "display", "displaystyle", "fence", "form", "height",
    "largeop", "linethickness", "lspace", "mathvariant", "maxsize", "minsize", "movablelimits",
    "rspace", "scriptlevel", "stretchy", "voffset", "width",
}  # fmt: skip

_ATTRIBUTES: Final = {
    "a": {"href", "target", "title"}, "annotation": {"encoding"}, "div": {"role", "aria-level"},
    "ol": {"start"}, "*": {"style"}, **dict.fromkeys(MATH_TAGS, MATH_ATTRIBUTES),
}  # fmt: skip

#: What the source of a formula is, as text beside it.
SOURCE_ENCODING: Final = "application/x-tex"

_ONLY_VALUES: Final = {"target": "_blank", "encoding": SOURCE_ENCODING, "role": "heading"}

#: A word, or a number with or without a unit: no address, no function.
_MATH_WORD = re.compile(r"[a-z-]{1,24}")
_MATH_NUMBER = re.compile(r"[+-]?(\d{1,3}(?:\.\d{1,3})?|\.\d{1,3})(em|ex|px|pt)?", re.ASCII)

#: Longest length, by unit: some ten letters of ordinary size. One blank may then be as high as
#: a paragraph but not as a page; a reply that wants a page of blanks has to type them.
_MAX_LENGTH: Final = {"em": 10, "ex": 20, "px": 160, "pt": 120, None: 10}

#: The only schemes a link may have. Relative addresses would reach the notebook's own server.
_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x20]+", re.IGNORECASE)


def is_address(url: str) -> bool:
    """Whether a reply may link to `url`: absolute, and http, https or mailto."""
    return _ADDRESS.fullmatch(url) is not None


def is_math_value(value: str) -> bool:
    """Whether `value` may be the value of a MathML attribute: a word, or a length up to 10 em."""
    if number := _MATH_NUMBER.fullmatch(value):
        return float(number[1]) <= _MAX_LENGTH[number[2]]
    return _MATH_WORD.fullmatch(value) is not None


def clean(html: str) -> str:
    """Drop from `html` whatever is not on the lists; the text of dropped elements stays."""
    import nh3

    return nh3.clean(
        html,
        tags=_TAGS | MATH_TAGS | {"annotation", "semantics"},
        clean_content_tags={"script", "style"},
        attributes=_ATTRIBUTES,
        attribute_filter=_filtered,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )


def _filtered(tag: str, name: str, value: str) -> str | None:
    """Return the value of an attribute if it may stay."""
    match name:
        case "style":
            may_stay = value in ADMITTED
        case "href" | "title":
            may_stay = is_address(value)
        case "rel":
            may_stay = tag == "a"
        case "target" | "encoding" | "role":
            may_stay = value == _ONLY_VALUES[name]
        case "start" | "aria-level":
            may_stay = value.isascii() and value.isdigit()
        case _:
            may_stay = is_math_value(value)
    return value if may_stay else None
