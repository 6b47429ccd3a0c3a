"""Plain values as text: words and numbers, cut to a length, on one line or in a fence.

Knows nothing of containers, tables or images.
"""

from __future__ import annotations

import datetime
import re
from collections import UserString
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import EllipsisType, NoneType, NotImplementedType
from typing import Any
from uuid import UUID

from segmind_jupyter.content.kinds import attempted, is_kind, safe_repr
from segmind_jupyter.content.parts import Limits, Text

#: Types whose values read as a word or a number of the sentence that names them.
_PLAIN = (
    str, bool, int, float, complex, NoneType, Decimal, Fraction, Enum, UUID, UserString, range,
    datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo,
    EllipsisType, NotImplementedType,
)  # fmt: skip

#: A longer text than this is worth a word in the footer.
_WORTH_SAYING_CHARS = 200

#: Room that is kept for the note on what was cut, in characters.
_NOTE_CHARS = 80

#: Of the room for a long text, the part that its end takes: that of a log says how it ended.
TAIL_SHARE = 1 / 3

_BACKTICKS = re.compile(r"`{3,}")


def is_plain(obj: object) -> bool:
    """Tell whether `obj` reads as a word or a number: text, numbers, dates, enums, `None`."""
    return issubclass(type(obj), _PLAIN) or is_kind(obj, "numpy", "generic")


def plain_text(obj: object) -> str:
    """Give a plain value as text: a string as it is, anything else as ``str`` has it."""
    if issubclass(type(obj), str) and not issubclass(type(obj), Enum):
        return str.__str__(obj)
    return _number(obj) if issubclass(type(obj), int) else attempted(str, obj)


def _number(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than sys.get_int_max_str_digits() allows; hex has no bound
        return hex(value)


def literal(obj: object) -> str:
    """Give a value as it reads inside a listing: quoted if it is a string, else its repr."""
    if is_kind(obj, "numpy", "generic") and hasattr(obj, "item"):
        return safe_repr(obj.item())  # 3.0 rather than NumPy 2's np.float64(3.0)
    return _number(obj) if type(obj) is int else safe_repr(obj)


def as_text(
    text: str, *, limits: Limits, about: str = "", noun: str = "text", lines: bool = False
) -> Text:
    """Make a piece of text that fits `limits` and that every encoder takes.

    Parameters
    ----------
    text
        The text, of any length.
    limits
        Where to cut it: at `limits.text_chars`, the note on the cut included.
    about
        What it was made from. By default nothing if the text is short, else `noun` and its length.
    noun
        What kind of text it is.
    lines
        Whether it wants lines of its own.
    """
    if len(text) > _WORTH_SAYING_CHARS:
        about = about or f"{noun} {len(text):,} characters"
    shown = cut(encodable(text), max_chars=limits.text_chars)
    return Text(shown, about=about, inline=not lines)


def encodable(text: str) -> str:
    """Put U+FFFD for lone surrogates, which UTF-8 (and so a request's body) cannot hold."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def cut(text: str, *, max_chars: int) -> str:
    """Cut `text` in the middle to `max_chars` characters, a note on what was left out included."""
    total = len(text)
    if total <= max_chars:
        return text
    kept = max(0, max_chars - _NOTE_CHARS)
    tail = int(kept * TAIL_SHARE)
    head, end = kept - tail, total - tail
    note = f"[cut: characters {head + 1:,}-{end:,} of {total:,} not shown]"
    return f"{text[:head]}\n{note}\n{text[end:]}".rstrip("\n")


def one_line(text: str, *, max_chars: int) -> str:
    """Put `text` on one line of at most `max_chars` characters; a cut ends in an ellipsis."""
    line = text[: max_chars + 1].translate({9: "\\t", 10: "\\n", 13: "\\r"})
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def fenced(text: str, *, language: str = "") -> str:
    """Put `text` in a Markdown fence that is longer than any run of backticks inside it."""
    inner = max((len(run) for run in _BACKTICKS.findall(text)), default=2)
    fence = "`" * (inner + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
