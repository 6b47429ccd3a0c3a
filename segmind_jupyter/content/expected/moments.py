"""Dates and times in the user's types: their form is told to the model, and read as Python does.

msgspec says of a `datetime.datetime` without a time zone only that it is a string, and reads no
more than RFC 3339 of it.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any, Final

from segmind_jupyter.content.expected.strict import Schema

#: By msgspec's name of the type: what the model is told, and what reads it.
_FORMS: Final = {
    "DateTimeType": "ISO 8601, such as 2025-01-31T09:30:00",
    "TimeType": "ISO 8601, such as 09:30:00",
}
_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "DateTimeType": datetime.datetime.fromisoformat,
    "TimeType": datetime.time.fromisoformat,
    "DateType": datetime.date.fromisoformat,
}


def with_forms(schema: Schema, kind: Any) -> Schema:
    """Describe the form of the moments in the schema that msgspec makes of a type.

    Parameters
    ----------
    schema
        The schema, which is changed.
    kind
        The type.
    """
    import msgspec

    _describe(schema, msgspec.inspect.type_info(kind), schema.get("$defs", {}), set())
    return schema


def with_moments(value: Any, kind: Any) -> Any:
    """Put moments for the texts of a value that are to be such, where Python can read them.

    Parameters
    ----------
    value
        JSON.
    kind
        The type that it is to become.
    """
    import msgspec

    return _read(value, msgspec.inspect.type_info(kind))


def _describe(
    node: Any, info: Any, definitions: dict[str, Schema], seen: set[tuple[str, int]]
) -> None:
    """Walk through a schema and the type that it was made of, side by side."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if (name, id(info)) in seen or name not in definitions:
            return
        seen.add((name, id(info)))
        node = definitions[name]
    form = _FORMS.get(type(info).__name__)
    if form and node.get("type") == "string" and "format" not in node:
        said = node.get("description")
        node["description"] = f"{said} ({form})" if said else form
    for inner, part in _schema_parts(node, info):
        if isinstance(inner, dict):
            _describe(inner, part, definitions, seen)


def _schema_parts(node: Schema, info: Any) -> Iterator[tuple[Any, Any]]:
    """Give what is inside a schema with its type; in a union, with each type that it may have."""
    for kind in getattr(info, "types", ()):
        for option in node.get("anyOf", ()):
            yield option, kind
    for field in getattr(info, "fields", ()):
        if field.encode_name in node.get("properties", {}):
            yield node["properties"][field.encode_name], field.type
    if hasattr(info, "item_type"):
        yield node.get("items"), info.item_type
    if hasattr(info, "item_types"):
        yield from zip(node.get("prefixItems", ()), info.item_types, strict=False)
    if hasattr(info, "value_type"):
        yield node.get("additionalProperties"), info.value_type


def _read(value: Any, info: Any) -> Any:
    """Walk through a value and its type."""
    for kind in getattr(info, "types", ()):
        value = _read(value, kind)
    if isinstance(value, str):
        return _moment(value, _READERS.get(type(info).__name__))
    if isinstance(value, list):
        return _read_list(value, info)
    if isinstance(value, dict):
        kinds = {field.encode_name: field.type for field in getattr(info, "fields", ())}
        others = getattr(info, "value_type", None)
        return {key: _read(inner, kinds.get(key, others)) for key, inner in value.items()}
    return value


def _read_list(value: list[Any], info: Any) -> list[Any]:
    if hasattr(info, "item_types"):
        kinds = [*info.item_types, *[None] * len(value)]
        return [_read(item, kind) for item, kind in zip(value, kinds, strict=False)]
    return [_read(item, getattr(info, "item_type", None)) for item in value]


def _moment(text: str, reader: Callable[[str], Any] | None) -> Any:
    try:
        return text if reader is None else reader(text)
    except ValueError:
        return text
