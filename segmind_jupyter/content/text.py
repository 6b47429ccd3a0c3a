"""Words: plain values, long texts that are cut, listings of containers, and source code."""

from __future__ import annotations

import ast
import dataclasses
import datetime
import inspect
import linecache
import re
import textwrap
from collections import ChainMap, UserDict, UserList, UserString, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from types import EllipsisType, MappingProxyType, NoneType, NotImplementedType
from typing import Any, Final, NamedTuple
from uuid import UUID

from segmind_jupyter.content.parts import Limits, Text, is_kind, safe_repr, safe_str
from segmind_jupyter.words import encodable

#: Types whose values read as a word or a number of the sentence that names them.
_PLAIN: Final = (
    str, bool, int, float, complex, NoneType, Decimal, Fraction, Enum, UUID, UserString, range,
    datetime.date, datetime.time, datetime.timedelta, datetime.tzinfo,
    EllipsisType, NotImplementedType,
)  # fmt: skip


def is_plain(obj: object) -> bool:
    """Return whether `obj` reads as a word or a number: text, numbers, dates, enums, `None`."""
    return issubclass(type(obj), _PLAIN) or is_kind(obj, "numpy", "generic")


def plain_text(obj: object) -> str:
    """Return a plain value as text: a string as it is, anything else as ``str`` has it."""
    if issubclass(type(obj), str) and not issubclass(type(obj), Enum):
        return str.__str__(obj)
    return _number(obj) if issubclass(type(obj), int) else safe_str(str, obj)


def literal(obj: object) -> str:
    """Return a value as it reads inside a listing: quoted if it is a string, else its repr."""
    if is_kind(obj, "numpy", "generic") and hasattr(obj, "item"):
        return safe_repr(obj.item())  # 3.0 rather than NumPy 2's np.float64(3.0)
    return _number(obj) if type(obj) is int else safe_repr(obj)


def _number(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than sys.get_int_max_str_digits() allows; hex has no bound
        return hex(value)


def as_text(
    text: str, *, limits: Limits, about: str = "", noun: str = "text", lines: bool = False
) -> Text:
    """Make a piece of text that fits `limits`, that every encoder takes, and says what was cut."""
    shown = cut(encodable(text), max_chars=limits.text_chars)
    left_out = "" if len(text) <= limits.text_chars else of_all(len(shown), len(text), "character")
    if not about and len(text) > 200:
        counted = noun if noun != "text" else ""
        about = counted if left_out else f"{noun} {len(text):,} characters"
    return Text(shown, about=about, inline=not lines, left_out=left_out)


def of_all(shown: int, total: int, noun: str) -> str:
    """Say how much of something went: ``"20,000 of 60,189 characters"``."""
    return f"{shown:,} of {total:,} {noun}s"


def cut(text: str, *, max_chars: int) -> str:
    """Cut `text` to `max_chars` characters, a note included; of a log, the end says how it went."""
    if len(text) <= max_chars:
        return text
    note = f"\n[cut: the middle of {len(text):,} characters is not shown]\n"
    kept = max(0, max_chars - len(note))
    return f"{text[: kept - kept // 3]}{note}{text[len(text) - kept // 3 :]}".rstrip("\n")


def one_line(text: str, *, max_chars: int) -> str:
    """Put `text` on one line of at most `max_chars` characters; a cut ends in an ellipsis."""
    line = text[: max_chars + 1].translate({9: "\\t", 10: "\\n", 13: "\\r"})
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def fenced(text: str, *, language: str = "") -> str:
    """Put `text` in a Markdown fence that is longer than any run of backticks inside it."""
    fence = "`" * max((len(run) + 1 for run in re.findall("`{3,}", text)), default=3)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


#: Read by their entries, whatever their repr says.
_CONTAINERS: Final[tuple[type, ...]] = (
    dict, list, tuple, set, frozenset, deque, UserDict, UserList, MappingProxyType, ChainMap,
    type({}.keys()), type({}.values()), type({}.items()),
)  # fmt: skip

#: Nesting below this depth is not opened: nobody reads it, and cycles through copies end.
MAX_DEPTH: Final = 12

#: Longest written form of a key, or of a value of a set where it is put in order.
_KEY_CHARS: Final = 200

#: Room kept for the notes on what was left out, in characters.
_NOTES_CHARS: Final = 120


def is_notebook(obj: Any) -> bool:
    """Return whether `obj` is what `nbformat.read` or `json.load` gives of a notebook."""
    return issubclass(type(obj), dict) and "cells" in obj and "nbformat" in obj


def is_container(obj: object) -> bool:
    """Return whether `obj` is read by its entries."""
    kind = type(obj)
    if issubclass(kind, _CONTAINERS):
        # A dok matrix is a dict too, and so is a notebook that was read.
        is_known = is_kind(obj, "scipy", "_spbase", "spmatrix") or is_notebook(obj)
        return not is_known
    if kind.__repr__ is object.__repr__:
        return issubclass(kind, Mapping | Sequence | Set)
    return _is_record(kind)


def _is_record(kind: type) -> bool:
    """Return whether a class is a dataclass whose repr `dataclasses` wrote, from a string."""
    written = getattr(getattr(kind.__repr__, "__wrapped__", None), "__code__", None)
    return dataclasses.is_dataclass(kind) and getattr(written, "co_filename", "") == "<string>"


class _Open(NamedTuple):
    """A container, opened: its entries by key, how many, and what is written around them."""

    entries: Iterable[tuple[object, Any]]
    total: int
    opening: str
    closing: str
    step: str = "[{}]"
    prefix: str = ""


def _open(obj: Any) -> _Open:
    kind: type = type(obj)
    name = kind.__name__
    if _is_record(kind):
        fields = [each.name for each in dataclasses.fields(obj) if each.repr]
        held = ((field, getattr(obj, field)) for field in fields)
        return _Open(held, len(fields), f"{name}(", ")", ".{}", "{}=")
    if issubclass(kind, tuple) and (fields := getattr(kind, "_fields", [])):
        return _Open(zip(fields, obj, strict=False), len(obj), f"{name}(", ")", ".{}", "{}=")
    braces = "{}" if issubclass(kind, Mapping | set | frozenset) else "[]"
    if kind in (dict, list) or (kind is set and obj):
        opening, closing = braces[0], braces[1]
    elif kind is tuple:
        opening, closing = "(", ",)" if len(obj) == 1 else ")"
    else:  # any other is written Name([...]), an empty one Name()
        opening, closing = f"{name}({braces[: bool(len(obj))]}", f"{braces[1:] * bool(len(obj))})"
    if issubclass(kind, Mapping):
        keyed = ((_short(key), value) for key, value in obj.items())
        return _Open(keyed, len(obj), opening, closing, prefix="{}: ")
    return _Open(enumerate(_in_order(obj)), len(obj), opening, closing)


def _in_order(obj: Any) -> Iterable[Any]:
    """Sort a set, whose own order differs from one kernel to the next; others keep theirs."""
    if not issubclass(type(obj), set | frozenset):
        return obj  # type: ignore[no-any-return]
    has_sets = any(issubclass(type(value), Set) for value in obj)  # these compare as subsets
    try:
        return sorted(obj, key=_short if has_sets else None)
    except Exception:  # noqa: BLE001 - mixed types, or a foreign comparison that raises
        return sorted(obj, key=_short)


def _short(value: Any) -> str:
    """Write a key, or a value of a set; a set in it has an order there too."""
    return one_line(_Listing(_KEY_CHARS).written(value), max_chars=_KEY_CHARS)


def n_entries(obj: Any) -> int:
    """Count the entries of a container."""
    return _open(obj).total


def entries(obj: Any) -> Iterator[tuple[str, Any]]:
    """Return each entry of a container: how Python reaches it (``['key']``, ``[0]``), its value."""
    opened = _open(obj)
    return ((opened.step.format(key), value) for key, value in opened.entries)


def listing(obj: object, *, max_chars: int) -> str:
    """Write a value as Python would, in at most `max_chars` characters."""
    return listed(obj, max_chars=max_chars)[0]


def listed(obj: object, *, max_chars: int) -> tuple[str, str]:
    """Write a value as `listing` does, and say what was left out of it."""
    is_open = is_container(obj)
    listing = _Listing(max(0, max_chars - _NOTES_CHARS) if is_open else max_chars)
    text = cut(listing.written(obj), max_chars=max_chars)
    if is_open and listing.shown < (total := n_entries(obj)):
        return text, of_all(listing.shown, total, "item")
    return text, "long entries abridged" if listing.has_cut else ""


class _Listing:
    """Writes a value, and what is inside, as far as there is room for so many characters."""

    def __init__(self, max_chars: int) -> None:
        self._room = max_chars
        self.has_cut = False
        #: How many entries of the outermost value were written.
        self.shown = 0

    def written(self, obj: Any, around: tuple[int, ...] = ()) -> str:
        """Write a value that stands inside of so many others."""
        if not is_container(obj):
            text = literal(obj)
            # Of the room that is left, a half is for what follows.
            kept = max(self._room // 2 if around else self._room, 40)
            if len(text) > kept:
                self.has_cut = True
                text = f"{text[:kept]}… ({len(text) - kept:,} characters more)"
            self._room -= len(text)
            return text
        opened, texts = _open(obj), []
        self._room -= len(opened.opening) + len(opened.closing)
        shown = 0
        if id(obj) in around or len(around) >= MAX_DEPTH:
            texts, shown = ["…"], opened.total
        else:
            for key, value in opened.entries:
                if self._room <= 0:
                    break
                prefix = opened.prefix.format(key)
                self._room -= len(prefix) + len(", ")
                texts.append(prefix + self.written(value, (*around, id(obj))))
                shown += 1
        self.shown = shown  # last, that of the outermost
        if shown < opened.total:
            self.has_cut = True
            texts.append(f"… {shown:,} of {opened.total:,} items shown")
        return f"{opened.opening}{', '.join(texts)}{opened.closing}"


def source_code(obj: Callable[..., Any]) -> str | None:
    """Return the source of a function, a method or a class, or `None` where there is none."""
    try:
        return inspect.getsource(obj)
    except (OSError, TypeError):
        return _class_in_cell(obj) if inspect.isclass(obj) else None


def _class_in_cell(kind: type) -> str | None:
    """Find a class of a notebook, whose module has no file, by the cell of one of its methods."""
    for method in filter(inspect.isfunction, vars(kind).values()):
        lines = linecache.getlines(method.__code__.co_filename)
        with suppress(SyntaxError):  # not Python: the method was compiled from something else
            for node in ast.walk(ast.parse("".join(lines))):
                if isinstance(node, ast.ClassDef) and node.name == kind.__name__:
                    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                    if first <= method.__code__.co_firstlineno <= (node.end_lineno or first):
                        return textwrap.dedent("".join(lines[first - 1 : node.end_lineno]))
    return None
