"""What a reply's HTML may hold: explicit lists of tags, attributes and addresses, kept by nh3.

The HTML that comes here was built from escaped pieces and should pass unchanged; this is the
second wall, for the day when a parser or a converter has a hole.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial

from segmind_jupyter.notebook.display.styles import ADMITTED

_BLOCKS = {"blockquote", "div", "hr", "li", "ol", "p", "pre", "ul"}
_TABLE = {"table", "tbody", "td", "th", "thead", "tr"}
_INLINE = {"a", "br", "code", "em", "s", "span", "strong", "sub", "sup"}
HTML_TAGS = frozenset(_BLOCKS | _TABLE | _INLINE)

# Presentation MathML that only draws: no `maction`, no `annotation-xml`, no links.
_SYMBOLS = {"mi", "mn", "mo", "ms", "mspace", "mtext"}
_SCRIPTS = {"mmultiscripts", "mover", "msub", "msubsup", "msup", "munder", "munderover"}
_LAYOUT = {"math", "mfrac", "mpadded", "mphantom", "mroot", "mrow", "msqrt", "mstyle"}
_MATRIX = {"mtable", "mtd", "mtr"}
MATH_TAGS = frozenset(_SYMBOLS | _SCRIPTS | _LAYOUT | _MATRIX)

# A formula's source beside it, as text.
_SOURCE = {"annotation", "semantics"}
SOURCE_ENCODING = "application/x-tex"

_SIZES = {"depth", "height", "linethickness", "lspace", "maxsize", "minsize", "rspace", "width"}
_KINDS = {"accent", "accentunder", "fence", "form", "largeop", "mathvariant", "stretchy"}
_PLACES = {"display", "displaystyle", "movablelimits", "scriptlevel", "voffset"}
MATH_ATTRIBUTES = frozenset(_SIZES | _KINDS | _PLACES)

#: A word, or a number with or without a unit: no address, no function.
_MATH_WORD = re.compile(r"[a-z-]{1,24}")
_MATH_NUMBER = re.compile(r"[+-]?(\d{1,3}(?:\.\d{1,3})?|\.\d{1,3})(em|ex|px|pt)?", re.ASCII)

#: Longest length, by unit: some ten letters of ordinary size. One blank may then be as high as
#: a paragraph but not as a page; a reply that wants a page of blanks has to type them.
_MAX_LENGTH = {"em": 10, "ex": 20, "px": 160, "pt": 120, None: 10}

#: The only schemes a link may have. Relative addresses would reach the notebook's own server.
_ADDRESS = re.compile(r"(?:https?://|mailto:)[^\s\x00-\x20]+", re.IGNORECASE)

_SCHEMES = frozenset({"http", "https", "mailto"})


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
    return _cleaner()(html)


@cache
def _cleaner() -> Callable[[str], str]:
    import nh3

    attributes = {tag: set(MATH_ATTRIBUTES) for tag in MATH_TAGS}
    attributes |= {"a": {"href", "target", "title"}, "ol": {"start"}, "*": {"style"}}
    attributes |= {"annotation": {"encoding"}, "div": {"role", "aria-level"}}
    return partial(
        nh3.clean,
        tags=set(HTML_TAGS | MATH_TAGS | _SOURCE),
        clean_content_tags={"script", "style"},
        attributes=attributes,
        attribute_filter=lambda *attribute: attribute[2] if _may_stay(*attribute) else None,
        url_schemes=set(_SCHEMES),
        link_rel="noopener noreferrer nofollow",
    )


def _may_stay(tag: str, name: str, value: str) -> bool:
    match name:
        case "style":
            return value in ADMITTED
        case "href":
            return is_address(value)
        case "target":
            return value == "_blank"
        case "encoding":
            return value == SOURCE_ENCODING
        case "role":
            return value == "heading"
        case "start" | "aria-level":
            return value.isascii() and value.isdigit()
        case "title" | "rel":
            return tag == "a"
        case _:
            return is_math_value(value)
