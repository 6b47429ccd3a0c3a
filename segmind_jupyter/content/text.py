"""The source code of functions and classes, also of those that were typed into a notebook cell."""

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
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from itertools import count
from types import EllipsisType, MappingProxyType, NoneType, NotImplementedType
from typing import Any, NamedTuple
from uuid import UUID

from segmind_jupyter.content.parts import Limits, Text, is_kind, safe_repr, safe_str

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
    """Return whether `obj` reads as a word or a number: text, numbers, dates, enums, `None`."""
    return issubclass(type(obj), _PLAIN) or is_kind(obj, "numpy", "generic")


def plain_text(obj: object) -> str:
    """Return a plain value as text: a string as it is, anything else as ``str`` has it."""
    if issubclass(type(obj), str) and not issubclass(type(obj), Enum):
        return str.__str__(obj)
    return _number(obj) if issubclass(type(obj), int) else safe_str(str, obj)


def _number(value: Any) -> str:
    try:
        return str(value)
    except ValueError:  # more digits than sys.get_int_max_str_digits() allows; hex has no bound
        return hex(value)


def literal(obj: object) -> str:
    """Return a value as it reads inside a listing: quoted if it is a string, else its repr."""
    if is_kind(obj, "numpy", "generic") and hasattr(obj, "item"):
        return safe_repr(obj.item())  # 3.0 rather than NumPy 2's np.float64(3.0)
    return _number(obj) if type(obj) is int else safe_repr(obj)


def as_text(
    text: str, *, limits: Limits, about: str = "", noun: str = "text", lines: bool = False
) -> Text:
    """Make a piece of text that fits `limits` and that every encoder takes."""
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


#: Read by their entries, whatever their repr says.
_CONTAINERS: tuple[type, ...] = (
    dict, list, tuple, set, frozenset, deque, UserDict, UserList, MappingProxyType, ChainMap,
    type({}.keys()), type({}.values()), type({}.items()),
)  # fmt: skip

#: How the built-in containers open and close; all others are written ``Name([...])``.
_BRACKETS: dict[type, tuple[str, str]] = {
    dict: ("{", "}"),
    set: ("{", "}"),
    list: ("[", "]"),
    tuple: ("(", ")"),
}

#: Nesting below this depth is not opened: nobody reads it, and cycles through copies end.
MAX_DEPTH = 12

#: A longer listing than this is broken into lines, and so is what stands inside it.
_LINE_CHARS = 88

#: Longest written form of a key.
_KEY_CHARS = 80

#: So much of a key, or of a value of a set, is written to put it in order.
_FLAT_CHARS = 400

#: A leaf up to this length is never cut.
_WHOLE_LEAF_CHARS = 40

#: Room kept for the notes on what was left out, in characters.
_NOTES_CHARS = 120


def is_container(obj: object) -> bool:
    """Return whether `obj` is read by its entries.

    Built-in containers are, and their subclasses, but for one of SciPy's matrices; and dataclasses
    with the repr that was made for them, in which a set has no order. Other mappings and sequences
    (an HDF5 file, an xarray dataset) are only if they have no repr of their own, which tells more.
    """
    kind = type(obj)
    if issubclass(kind, _CONTAINERS):
        return not is_kind(obj, "scipy", "_spbase", "spmatrix")  # a dok matrix is a dict too
    if kind.__repr__ is object.__repr__:
        return issubclass(kind, Mapping | Sequence | Set)
    return _is_record(kind)


def _is_record(kind: type) -> bool:
    """Return whether a class is a dataclass whose repr `dataclasses` wrote, from a string."""
    written = getattr(getattr(kind.__repr__, "__wrapped__", None), "__code__", None)
    return dataclasses.is_dataclass(kind) and getattr(written, "co_filename", "") == "<string>"


def n_entries(obj: Any) -> int:
    """Count the entries of a container."""
    return len(_fields(obj)) if _is_record(type(obj)) else len(obj)


def entries(obj: Any) -> Iterator[tuple[str, Any]]:
    """Return each entry of a container as a pair: how it is reached, and its value.

    The first is what stands behind the container's name in Python, such as ``['key']``, ``[0]``
    or ``.field``.
    """
    step = _style(obj).step
    return ((step.format(key), value) for key, value in _keyed(obj))


def values(obj: Any) -> Iterable[Any]:
    """Return the values of a container, in the order of `entries`."""
    return obj.values() if issubclass(type(obj), Mapping) else _ordered(obj)


def _keyed(obj: Any) -> Iterable[tuple[object, Any]]:
    if issubclass(type(obj), Mapping):
        return ((one_line(_flat(key), max_chars=_KEY_CHARS), v) for key, v in obj.items())
    return zip(_fields(obj) or count(), _ordered(obj), strict=False)


def _fields(obj: Any) -> tuple[str, ...]:
    """Return the field names of a named tuple or of a dataclass, or nothing."""
    kind = type(obj)
    if _is_record(kind):
        return tuple(field.name for field in dataclasses.fields(obj) if field.repr)
    return getattr(kind, "_fields", ()) if issubclass(kind, tuple) else ()


def _ordered(obj: Any) -> Iterable[Any]:
    """Sort a set, whose own order differs from one kernel to the next; others keep theirs."""
    if _is_record(type(obj)):
        return (getattr(obj, name) for name in _fields(obj))
    if not issubclass(type(obj), set | frozenset):
        return obj  # type: ignore[no-any-return]
    try:
        if not any(issubclass(type(value), Set) for value in obj):  # these compare as subsets
            return sorted(obj)
    except Exception:  # noqa: BLE001, S110 - mixed types, or a foreign comparison that raises
        pass
    return sorted(obj, key=_flat)


def _flat(value: Any) -> str:
    """Write a key, or a value of a set, on one line; a set in it has an order there too."""
    return _outline(value, _Room(_FLAT_CHARS), ()).flat()


class _Style(NamedTuple):
    """How a container is written, with templates of a key behind a name and before a value."""

    opening: str
    closing: str
    step: str = "[{}]"
    prefix: str = ""


def _style(obj: Any) -> _Style:
    kind = type(obj)
    if _fields(obj):
        return _Style(f"{kind.__name__}(", ")", step=".{}", prefix="{}=")
    opening, closing = _brackets(obj)
    return _Style(opening, closing, prefix="{}: " if issubclass(kind, Mapping) else "")


def _brackets(obj: Any) -> tuple[str, str]:
    """Return what Python writes around the entries; an empty container is ``Name()``."""
    kind: type = type(obj)
    if kind in _BRACKETS and (len(obj) or kind is not set):
        return _BRACKETS[kind]
    if not n_entries(obj):
        return f"{kind.__name__}(", ")"
    opening, closing = _BRACKETS[dict if issubclass(kind, Mapping | set | frozenset) else list]
    return f"{kind.__name__}({opening}", f"{closing})"


def listing(obj: object, *, max_chars: int) -> str:
    """Write a value as Python would, in at most `max_chars` characters.

    Entries that do not fit are left out, with a note that says how many of how many are shown;
    they are not even looked at, so the length of a container does not matter.
    """
    room = _Room(max(0, max_chars - _NOTES_CHARS) if is_container(obj) else max_chars)
    return cut("\n".join(_lines(_outline(obj, room, ()), "")), max_chars=max_chars)


@dataclass(slots=True)
class _Room:
    """How many characters may still be written."""

    chars: int

    def take(self, text: str, *, extra: int = 0) -> str:
        self.chars -= len(text) + extra
        return text


@dataclass(slots=True)
class _Node:
    """One value of a listing: a leaf if it has no items."""

    opening: str
    items: list[_Node] = field(default_factory=list)
    closing: str = ""
    apart: bool = False  # whether each item wants a line of its own, once they are broken

    def flat(self) -> str:
        return f"{self.opening}{', '.join(item.flat() for item in self.items)}{self.closing}"


def _outline(obj: Any, room: _Room, around: tuple[int, ...]) -> _Node:
    """Write `obj` and what is inside, as far as there is room; `around` holds the ids outside."""
    if not is_container(obj):
        max_chars = room.chars // 2 if around else room.chars  # a half is for what follows
        return _Node(room.take(_leaf(obj, max_chars), extra=len(around) + 2))
    style = _style(obj)
    node = _Node(room.take(style.opening), closing=room.take(style.closing, extra=len(around) + 2))
    node.apart = issubclass(type(obj), Mapping)
    if id(obj) in around or len(around) >= MAX_DEPTH:
        node.items.append(_Node("…"))
        return node
    for key, value in _keyed(obj):
        if room.chars <= 0:
            break
        prefix = room.take(style.prefix.format(key))
        item = _outline(value, room, (*around, id(obj)))
        item.opening = prefix + item.opening
        node.items.append(item)
    return _closed(node, obj)


def _closed(node: _Node, obj: Any) -> _Node:
    total = n_entries(obj)
    if len(node.items) < total:
        node.items.append(_Node(f"… {len(node.items):,} of {total:,} items shown"))
    elif type(obj) is tuple and len(obj) == 1:
        node.closing = ",)"
    return node


def _leaf(obj: object, max_chars: int) -> str:
    text = literal(obj)
    kept = max(max_chars, _WHOLE_LEAF_CHARS)
    if len(text) <= kept:
        return text
    return f"{text[:kept]}… ({len(text) - kept:,} characters more)"


def _lines(node: _Node, indent: str) -> list[str]:
    """Lay out a node: on one line if it fits, else its leaves packed and its containers apart."""
    flat = node.flat()
    if not node.items or len(indent) + len(flat) <= _LINE_CHARS:
        return [indent + flat]
    return [indent + node.opening, *_body(node, indent + " "), indent + node.closing]


def _body(node: _Node, indent: str) -> Iterator[str]:
    packed = ""
    for number, item in enumerate(node.items):
        comma = "," if number < len(node.items) - 1 else ""
        *before, last = _lines(item, indent)
        if before or node.apart or len(packed) + len(last) > _LINE_CHARS:
            if packed:
                yield packed
            packed = ""
        yield from before
        packed = f"{packed} {last.lstrip()}{comma}" if packed else last + comma
    yield packed


def source_code(obj: Callable[..., Any]) -> str | None:
    """Return the source of a function, a method or a class, or `None` where there is none."""
    try:
        return inspect.getsource(obj)
    except (OSError, TypeError):
        return _from_cell(obj) if inspect.isclass(obj) else None


def _from_cell(kind: type) -> str | None:
    """Find a class whose module has no file, as in a notebook, by the file of one of its methods.

    `inspect` looks for a class in the file of its module alone; IPython keeps each cell in
    `linecache`, under the name that the cell's functions carry.
    """
    for method in filter(inspect.isfunction, vars(kind).values()):
        lines = linecache.getlines(method.__code__.co_filename)
        for node in _classes("".join(lines)):
            span = _span(node)
            if node.name == kind.__name__ and method.__code__.co_firstlineno in span:
                return textwrap.dedent("".join(lines[span.start - 1 : span.stop - 1]))
    return None


def _classes(cell: str) -> list[ast.ClassDef]:
    try:
        return [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.ClassDef)]
    except SyntaxError:  # not Python: the method was compiled from something else
        return []


def _span(node: ast.ClassDef) -> range:
    """Return the lines of a class, its decorators included."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return range(first, (node.end_lineno or first) + 1)
