"""Finds the secrets among the variables of a frame, without running anybody's code."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice
from types import ModuleType
from typing import Any

from segmind_jupyter.content.scrub.names import hides

#: How many entries are looked at, and how deep: configurations are small.
_MAX_ENTRIES, _MAX_DEPTH = 20_000, 3


def secrets_in(names: Mapping[str, Any]) -> set[str]:
    """Give the texts that have the name of a secret, also inside dicts and plain objects."""
    texts = ((name, _text(value)) for name, value in islice(_entries(names), _MAX_ENTRIES))
    return {text for name, text in texts if text and hides(name, text)}


def _entries(names: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Give names and values, those of the outermost first: a large object must not hide them."""
    ahead, seen = deque([(names, 0)]), {id(names)}
    while ahead:
        holder, depth = ahead.popleft()
        for name, value in list(holder.items()):
            if issubclass(type(name), str):
                yield str.__str__(name), value
            inside = _inside(value)
            if inside and depth < _MAX_DEPTH and id(inside) not in seen:
                seen.add(id(inside))
                ahead.append((inside, depth + 1))


def _inside(value: Any) -> Mapping[Any, Any] | None:
    """Give the entries of a dict, or the attributes that an object keeps by itself."""
    if type(value) is dict:
        return value
    return None if issubclass(type(value), type | ModuleType) else attributes_of(value)


def attributes_of(value: object) -> dict[str, Any]:
    """Give the attributes that an object keeps in its own dict; nothing is computed."""
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return attributes if type(attributes) is dict else {}


def _text(value: object) -> str | None:
    if issubclass(type(value), str):
        return str.__str__(value)
    if type(value) is bytes:
        return value.decode("utf-8", "replace")
    return None
