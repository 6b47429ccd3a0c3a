"""Finds the secrets among the variables of frames, without running anybody's code."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice, repeat
from types import MemberDescriptorType, ModuleType
from typing import Any, Final

from segmind_jupyter.content.scrub.forms import spellings
from segmind_jupyter.content.scrub.names import hides, may_hide

#: How many entries are looked at in all, and of one container, and how deep: configurations are
#: small, and a recursion has thousands of frames.
_MAX_ENTRIES, _MAX_INSIDE, _MAX_DEPTH = 50_000, 1_000, 4

#: Shorter items of a container with a secret's name may be any word, such as ``"user"``, or the
#: number of any, as in ``token_ids``.
_MIN_ITEM_CHARS: Final = 8

_COLLECTIONS: Final = (list, tuple, set, frozenset)

#: What holds nothing that could be looked into.
_CLOSED: Final = (str, bytes, bytearray, int, float, complex, type(None), ModuleType)

#: A name, and what it stands for.
_Entry = tuple[str, Any]


def secrets_in(*scopes: Mapping[str, Any]) -> set[str]:
    """Give what has the name of a secret, also inside containers, objects and classes, as texts.

    Numbers and UUIDs are given as `spellings` writes them.

    Parameters
    ----------
    *scopes
        Names and their values. What several of them hold is looked into once.
    """
    return {
        text
        for name, value in islice(_entries(scopes), _MAX_ENTRIES)
        if issubclass(type(name), str) and may_hide(name)
        for text in spellings(value)
        if text and hides(name, text)
    }


def item_names(collection: object) -> Iterator[str]:
    """Give the names of the items of a collection, and empty ones without an end.

    The items of a named tuple have those of its fields; the second of a pair has the first.
    """
    kind = type(collection)
    fields: Any = ()
    if kind is tuple and len(collection) == 2:  # type: ignore[arg-type]
        fields = ("", collection[0])  # type: ignore[index]
    elif issubclass(kind, tuple):
        fields = next((vars(k)["_fields"] for k in kind.__mro__ if "_fields" in vars(k)), ())
    names = fields if type(fields) is tuple else ()
    return chain((_text(name) or "" for name in names), repeat(""))


def attributes_of(value: object) -> dict[str, Any]:
    """Give the attributes that an object keeps in its own dict; nothing is computed."""
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return attributes if type(attributes) is dict else {}


def _entries(scopes: Iterable[Mapping[str, Any]]) -> Iterator[_Entry]:
    """Give names and values, those of the outermost first: a large object must not hide them."""
    ahead = deque((list(scope.items()), 0) for scope in scopes)
    seen: set[int] = set()
    while ahead:
        entries, depth = ahead.popleft()
        for name, value in entries:
            yield name, value
            if depth < _MAX_DEPTH and id(value) not in seen:
                seen.add(id(value))
                ahead.append((_inside(name, value), depth + 1))


def _inside(name: str, value: Any) -> list[_Entry]:
    """Give what a value holds; what has no name of its own there has that of the container.

    In one with the name of a secret, such as ``passwords``, all are secrets.
    """
    kind = type(value)
    if issubclass(kind, _CLOSED):
        return []
    if issubclass(kind, type):
        return list(type.__dict__["__dict__"].__get__(value).items())
    if not issubclass(kind, (dict, *_COLLECTIONS)):
        classes = (("", each) for each in kind.__mro__[:-1])
        return [*attributes_of(value).items(), *_slots(value), *_columns(value), *classes]
    if hides(name):
        return [(name, item) for _, item in _held(value) if not _is_short(item)]
    return [(own or name, item) for own, item in _held(value)]


def _held(value: Any) -> Iterator[_Entry]:
    """Give the first entries of a dict, or the first items of a collection."""
    # Taken in one step: another thread may be changing it.
    if issubclass(type(value), dict):
        entries = list(islice(dict.items(value), _MAX_INSIDE))
        return ((_text(key) or "", item) for key, item in entries)
    base = next(kind for kind in _COLLECTIONS if issubclass(type(value), kind))
    items = list(islice(base.__iter__(value), _MAX_INSIDE))
    return zip(item_names(value), items, strict=False)


def _is_short(item: object) -> bool:
    texts = list(spellings(item))
    return bool(texts) and max(map(len, texts)) < _MIN_ITEM_CHARS


def _slots(value: object) -> Iterator[_Entry]:
    """Give the attributes that an object keeps in slots."""
    for kind in type(value).__mro__:
        for name, slot in vars(kind).items():
            if type(slot) is MemberDescriptorType and not name.startswith("__"):
                with contextlib.suppress(AttributeError):  # nothing is in it
                    yield name, slot.__get__(value)


def _columns(value: Any) -> Iterator[_Entry]:
    """Give the cells of those columns of a pandas frame that have the name of a secret."""
    pandas = sys.modules.get("pandas")
    if not any(type(value) is getattr(pandas, name, None) for name in ("DataFrame", "Series")):
        return
    with contextlib.suppress(Exception):  # a half-made frame
        frame = value.head(_MAX_INSIDE) if value.ndim > 1 else value.head(_MAX_INSIDE).to_frame()
        for name, cells in frame.items():
            if issubclass(type(name), str) and hides(name):
                yield name, cells.tolist()


def _text(value: object) -> str | None:
    return (
        next(spellings(value), None) if issubclass(type(value), str | bytes | bytearray) else None
    )
