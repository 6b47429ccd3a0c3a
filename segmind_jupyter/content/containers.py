"""Mappings, sequences and dataclasses: what is inside, how each entry is called, a plain listing.

Knows nothing of what the entries are; `opening` decides which of them are more than text.
"""

from __future__ import annotations

import dataclasses
from collections import ChainMap, UserDict, UserList, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import Any, NamedTuple

from segmind_jupyter.content.kinds import is_kind
from segmind_jupyter.content.text import cut, literal, one_line

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
    """Tell whether `obj` is read by its entries.

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
    """Tell whether a class is a dataclass whose repr `dataclasses` wrote, from a string."""
    written = getattr(getattr(kind.__repr__, "__wrapped__", None), "__code__", None)
    return dataclasses.is_dataclass(kind) and getattr(written, "co_filename", "") == "<string>"


def n_entries(obj: Any) -> int:
    """Count the entries of a container."""
    return len(_fields(obj)) if _is_record(type(obj)) else len(obj)


def entries(obj: Any) -> Iterator[tuple[str, Any]]:
    """Give each entry of a container as a pair: how it is reached, and its value.

    The first is what stands behind the container's name in Python, such as ``['key']``, ``[0]``
    or ``.field``.
    """
    step = _style(obj).step
    return ((step.format(key), value) for key, value in _keyed(obj))


def values(obj: Any) -> Iterable[Any]:
    """Give the values of a container, in the order of `entries`."""
    return obj.values() if issubclass(type(obj), Mapping) else _ordered(obj)


def _keyed(obj: Any) -> Iterable[tuple[object, Any]]:
    if issubclass(type(obj), Mapping):
        return ((one_line(_flat(key), max_chars=_KEY_CHARS), v) for key, v in obj.items())
    return zip(_fields(obj) or count(), _ordered(obj), strict=False)


def _fields(obj: Any) -> tuple[str, ...]:
    """Give the field names of a named tuple or of a dataclass, or nothing."""
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
    """Give what Python writes around the entries; an empty container is ``Name()``."""
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
