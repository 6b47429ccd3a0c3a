"""Turns any JSON schema into one that servers with structured outputs take. Pure functions.

Their rules: the root is an object; an object says ``additionalProperties: false``; ``oneOf`` and
bounds of numbers, texts and arrays are unknown (Anthropic's page "Structured outputs", which has
its own SDKs move such bounds into the descriptions; OpenAI's guide of the same name, which wants
every property required besides). What is left out here is checked when the reply is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

Schema = dict[str, Any]

#: Where a schema holds further ones: by name, in a list, or right there.
_BY_NAME: Final = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_IN_LISTS: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_RIGHT_THERE: Final = (
    "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
)  # fmt: skip

#: Where a root keeps what is referred to by its name.
_DEFINITIONS: Final = ("$defs", "definitions")

#: Rules that those servers refuse, and the model can still read in words.
_BOUNDS: Final = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength",
    "maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties",
    "contentEncoding", "default",
)  # fmt: skip

#: The formats that they know.
_FORMATS: Final = frozenset(
    {"date-time", "date", "time", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
)

#: What names the values that a schema allows; a strict one always has some of these.
_KINDS: Final = frozenset({"type", "anyOf", "allOf", "enum", "const", "$ref"})


def sendable(schema: Schema) -> Schema:
    """Give an equivalent of `schema`, or a looser one, in the form that servers take.

    Raises
    ------
    RecursionError
        It is nested too deeply.
    """
    root = _rooted(schema)
    for change in (_in_words, _as_any_of, _as_list, _closed, _apart):
        root = changed(root, change)
    return root


def is_object(schema: Schema) -> bool:
    """Tell whether only an object fits, as a root must be."""
    root = _rooted(schema)
    return root.get("type", "object" if "properties" in root else None) == "object"


def wrapped(schema: Schema, *, key: str) -> Schema:
    """Put a schema that is no object under a key of one; definitions stay at the root.

    What refers to another place of the schema is led there.
    """

    def lead(node: Schema) -> Schema:
        reference = node.get("$ref")
        if not isinstance(reference, str) or not _is_place(reference):
            return node
        return {**node, "$ref": f"#/properties/{key}{reference.removeprefix('#')}"}

    inner = changed(schema, lead)
    shared: Schema = {name: inner.pop(name) for name in _DEFINITIONS if name in inner}
    for own in ("$schema", "$id"):
        inner.pop(own, None)
    return {"type": "object", "properties": {key: inner}, "required": [key], **shared}


def is_strict(schema: Schema) -> bool:
    """Tell whether a sendable schema leaves nothing open: strict servers refuse what does."""
    if _is_recursive(schema) or any(map(_is_place, _all_references(schema))):
        return False
    return all(_KINDS & node.keys() and _is_closed(node) for node in _nodes(schema))


def completed(schema: Schema, *, but: frozenset[str]) -> Schema:
    """Require every property: a model cannot leave one out by oversight then.

    Parameters
    ----------
    schema
        Of a user's type, whose fields with a default are not required.
    but
        Titles of the types whose keys may truly be absent where they are not required.
    """

    def require(node: Schema) -> Schema:
        if "properties" not in node or node.get("title") in but:
            return node
        return {**node, "required": list(node["properties"])}

    return changed(schema, require)


def changed(schema: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """Apply `change` to a schema and to all that are inside it, the innermost first."""

    def inside(inner: Any) -> Any:  # True and False are schemas too
        return changed(inner, change) if isinstance(inner, dict) else inner

    found = dict(schema)
    for key in _BY_NAME:
        if isinstance(found.get(key), dict):
            found[key] = {name: inside(inner) for name, inner in found[key].items()}
    for key in _IN_LISTS:
        if isinstance(found.get(key), list):
            found[key] = [inside(inner) for inner in found[key]]
    for key in _RIGHT_THERE:
        if key in found:
            found[key] = inside(found[key])
    return change(found)


def _nodes(schema: Schema) -> Iterator[Schema]:
    """Give a schema and all that are inside it."""
    nodes: list[Schema] = []

    def keep(node: Schema) -> Schema:
        nodes.append(node)
        return node

    changed(schema, keep)
    return iter(nodes)


def _rooted(schema: Schema) -> Schema:
    """Put what the root refers to in its place: a root must say itself that it is an object."""
    reference = schema.get("$ref")
    if not isinstance(reference, str):
        return schema
    holder, _, name = reference.removeprefix("#/").partition("/")
    target = schema.get(holder, {}).get(name) if holder in _DEFINITIONS else None
    if not isinstance(target, dict):
        return schema
    rest = {key: value for key, value in schema.items() if key != "$ref"}
    if not any(node.get("$ref") == reference for node in _nodes(rest)):
        others = {key: value for key, value in rest[holder].items() if key != name}
        rest = {**rest, holder: others} if others else _without(rest, holder)
    return {**target, **rest}


def _without(schema: Schema, key: str) -> Schema:
    return {name: value for name, value in schema.items() if name != key}


def _in_words(node: Schema) -> Schema:
    """Move what servers refuse into the description."""
    moved: Schema = {
        key: node[key] for key in _BOUNDS if key in node and not _is_known(key, node[key])
    }
    if node.get("format", "date") not in _FORMATS:
        moved["format"] = node["format"]
    if not moved:
        return node
    if "$ref" in node:
        return {key: value for key, value in node.items() if key not in moved}
    words = ", ".join(f"{key}: {json.dumps(value, default=str)}" for key, value in moved.items())
    kept = {key: value for key, value in node.items() if key not in moved}
    return {**kept, "description": " ".join(filter(None, (node.get("description"), f"({words})")))}


def _is_known(key: str, value: Any) -> bool:
    return key == "minItems" and value in (0, 1)


def _as_any_of(node: Schema) -> Schema:
    if "oneOf" not in node:
        return node
    kept = {key: value for key, value in node.items() if key not in ("oneOf", "discriminator")}
    return {**kept, "anyOf": node["oneOf"]}


def _as_list(node: Schema) -> Schema:
    """Say of a tuple what each of its items may be."""
    kinds = node.get("prefixItems")
    if not isinstance(kinds, list) or not kinds:
        return node
    different = [kind for number, kind in enumerate(kinds) if kind not in kinds[:number]]
    kept = {key: value for key, value in node.items() if key != "prefixItems"}
    return {**kept, "items": different[0] if len(different) == 1 else {"anyOf": different}}


def _closed(node: Schema) -> Schema:
    if "properties" not in node or "additionalProperties" in node:
        return node
    return {**node, "additionalProperties": False}


def _apart(node: Schema) -> Schema:
    """Put a reference apart from what is said beside it; OpenAI takes none with neighbours."""
    beside = {key: value for key, value in node.items() if key not in ("$ref", "title")}
    if "$ref" not in node or not beside:
        return node
    return {**beside, "anyOf": [{"$ref": node["$ref"]}]}


def _is_closed(node: Schema) -> bool:
    if node.get("type") != "object" and "properties" not in node:
        return True
    names = node.get("properties", {}).keys()
    return node.get("additionalProperties") is False and names == set(node.get("required", ()))


def _is_recursive(schema: Schema) -> bool:
    """Tell whether a definition leads back to itself."""
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    leads = {name: _referred(inner) for name, inner in definitions.items()}
    return any(name in _reached(name, leads) for name in leads)


def _referred(schema: Any) -> set[str]:
    if not isinstance(schema, dict):
        return set()
    return {reference.rpartition("/")[2] for reference in _all_references(schema)}


def _all_references(schema: Schema) -> Iterator[str]:
    return (str(node["$ref"]) for node in _nodes(schema) if "$ref" in node)


def _is_place(reference: str) -> bool:
    """Tell whether a reference leads to a place of the schema that is none of its definitions."""
    holders = tuple(f"#/{holder}/" for holder in _DEFINITIONS)
    return reference == "#" or (reference.startswith("#/") and not reference.startswith(holders))


def _reached(name: str, leads: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = set(leads[name])
    while ahead:
        step = ahead.pop()
        if step not in reached:
            reached.add(step)
            ahead |= leads.get(step, set())
    return reached
