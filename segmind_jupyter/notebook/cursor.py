"""Where the cursor stands in a cell of ours, told from the text before it.

Pure: it knows neither the options nor the variables, only how a line, a brace and a path are typed.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from segmind_jupyter.content.prompt import WHOLE_PATH

#: Blank lines and an indentation may stand before a cell magic; IPython drops them.
_CELL: Final = re.compile(r"\s*%%claude(?P<line>[ \t][^\n]*)?(?:\n(?P<body>.*))?", re.DOTALL)

#: A line magic, alone or behind ``name =``; within a string or a comment it is none.
_LINE: Final = re.compile(
    r"[ \t]*+(?:[^=%#'\"\n]+=[ \t]*)?%(?P<magic>claude|segmind)[ \t](?P<line>.*)"
)

#: A word as a shell reads it; the quotation mark that was opened last may still be open.
_WORD: Final = re.compile(
    r"""(?:[^\s'"\\]|\\.|'[^']*(?:'|\Z)|"(?:[^"\\]|\\.)*(?:"|\Z))*""", re.DOTALL
)

_ROOT: Final = re.compile(r"(?:[^\W\d]\w*)?")
_ATTRIBUTE: Final = re.compile(r"(?P<base>.+)\.(?P<typed>\w*)")
_KEY: Final = re.compile(r"(?P<base>.+)\[(?:(?P<quote>['\"])(?P<typed>[^'\"]*))?")


@dataclass(frozen=True, slots=True)
class Place:
    """A cell or a line of ours, up to the cursor.

    Parameters
    ----------
    magic
        ``"claude"`` or ``"segmind"``.
    line
        What stands behind the magic's name.
    body
        What stands on the lines below, or `None` where the cursor is still on the first.
    """

    magic: str
    line: str
    body: str | None = None


def place(before: str) -> Place | None:
    """Tell in which magic of ours the text before the cursor ends; `None` where it is in none.

    Parameters
    ----------
    before
        The cell up to the cursor.
    """
    cell = _CELL.fullmatch(before)
    if cell and (cell["line"] or cell["body"] is not None):
        return Place("claude", cell["line"] or "", cell["body"])
    line = _LINE.fullmatch(before[before.rfind("\n") + 1 :])
    return Place(line["magic"], line["line"]) if line else None


class Takes(enum.Enum):
    """What an option does with the word behind it."""

    NOTHING = enum.auto()
    MAYBE = enum.auto()
    VALUE = enum.auto()


@dataclass(frozen=True, slots=True)
class Option:
    """An option is being typed, or could be."""

    typed: str


@dataclass(frozen=True, slots=True)
class Value:
    """The value of an option is being typed; it may lack its second quotation mark."""

    option: str
    typed: str


@dataclass(frozen=True, slots=True)
class Words:
    """The prompt has begun."""

    typed: str


def typed_in(line: str, takes: Callable[[str], Takes]) -> Option | Value | Words:
    """Tell what the line of a `%claude` ends in, by the rules of `line.parse`.

    Parameters
    ----------
    line
        What stands behind the magic's name, up to the cursor.
    takes
        Tells what an option does with the word behind it.
    """
    rest = line.lstrip()
    while rest.startswith("-"):
        option, rest = _first_word(rest)
        if not rest:
            name, equals, value = option.partition("=")
            return Value(name, value) if equals else Option(option)
        rest = rest.lstrip()
        if option in {"-", "--"}:
            return Words(rest)
        if _has_value(takes(option), rest):
            value, rest = _first_word(rest)
            if not rest:
                return Value(option, value)
            rest = rest.lstrip()
    return Words(rest) if rest else Option("")


def _first_word(text: str) -> tuple[str, str]:
    end = _WORD.match(text).end()  # type: ignore[union-attr]
    return text[:end], text[end:]


def _has_value(takes: Takes, rest: str) -> bool:
    if takes is Takes.MAYBE:
        # One word too many taken from a prompt does no harm here, unless a brace is in it.
        return not rest.startswith("-") and "{" not in _first_word(rest)[0]
    return takes is Takes.VALUE


def open_brace(words: str) -> str | None:
    """Give what was typed since the brace that is still open; `None` where none is.

    Parameters
    ----------
    words
        The prompt up to the cursor. A doubled brace opens nothing, nor does one of another line.
    """
    before, brace, inside = words.rpartition("{")
    if not brace or before.endswith("{") or "}" in inside or "\n" in inside:
        return None
    return inside


class Step(enum.Enum):
    """Which part of a path is being typed."""

    ROOT = enum.auto()
    ATTRIBUTE = enum.auto()
    KEY = enum.auto()


@dataclass(frozen=True, slots=True)
class Path:
    """A path that is being typed: ``df.co`` is the attribute ``co`` of the base ``df``.

    Parameters
    ----------
    step
        Which part is being typed.
    base
        What stands before that part; empty at the root.
    typed
        The part so far, without a quotation mark.
    quote
        The quotation mark in which a key is being typed; empty before one is.
    """

    step: Step
    base: str
    typed: str
    quote: str = ""


def path(text: str) -> Path | None:
    """Read a path as far as it is typed; `None` where it can become none (`content.prompt`)."""
    if _ROOT.fullmatch(text):
        return Path(Step.ROOT, "", text)
    for step, pattern in ((Step.ATTRIBUTE, _ATTRIBUTE), (Step.KEY, _KEY)):
        match = pattern.fullmatch(text)
        if match and WHOLE_PATH.fullmatch(match["base"]):
            quote = match["quote"] or "" if step is Step.KEY else ""
            return Path(step, match["base"], match["typed"] or "", quote)
    return None
