"""What a reply is to be: the schema that asks for it, and the object that is read from it."""

from __future__ import annotations

import datetime
import inspect
import json
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, is_dataclass
from pathlib import PurePath
from typing import Any, Final, NoReturn, Protocol, get_args, get_origin

from segmind_jupyter.content.parts import format_error, type_name
from segmind_jupyter.errors import ContentError, ReplyError, shortened

_JSON_NAMES: Final = {
    dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number",
    float: "a number", type(None): "null",
}  # fmt: skip


class MisfitError(Exception):
    """A value that does not fit; the message says where, what was expected, and what is there."""


class Shape(Protocol):
    """One shape of JSON."""

    def schema(self) -> Schema:
        """Return its JSON schema."""

    def read(self, value: Any) -> Any:
        """Make what the user wants of a JSON value, or raise `MisfitError`."""


@dataclass(frozen=True)
class AnyObject:
    """Any JSON object."""

    def schema(self) -> Schema:
        """Return a schema that says no more than that."""
        return {"type": "object"}

    def read(self, value: Any) -> dict[str, Any]:
        """Return the object itself."""
        if not isinstance(value, dict):
            raise MisfitError(f"expected an object, got {json_name(value)}")
        return value


def json_name(value: object) -> str:
    """Name the kind of a JSON value, with its article."""
    return _JSON_NAMES.get(type(value), type_name(value))


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
    """Describe the form of the moments in the schema that msgspec makes of a type."""
    import msgspec

    _describe(schema, msgspec.inspect.type_info(kind), schema.get("$defs", {}), set())
    return schema


def with_moments(value: Any, kind: Any) -> Any:
    """Put moments for the texts of a value that are to be such, where Python can read them."""
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
    """Return what is inside a schema with its type; in a union, with each type that it may have."""
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


_SHAPES_FORMS = (
    "Give a dataclass, a TypedDict, a NamedTuple, an attrs class, a pydantic model, a type such "
    "as `list[Person]`, or a JSON schema as a dict."
)


def shape_of(shape: object, label: str) -> Shape:
    """Find what reads `shape`."""
    if isinstance(shape, Mapping):
        return dict_schema(shape, label)
    if not is_type(shape):
        raise ContentError(f"`{label}` is {_described(shape)}, and no schema. {_SHAPES_FORMS}")
    readers = (PydanticType,) if is_pydantic(shape) else (MsgspecType, PydanticType)
    reasons: list[str] = []
    for reader in readers:
        found = reader(shape)
        try:
            found.schema()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a user's type
            reasons.append(_last_line(error))
        else:
            return found
    if name := init_var(shape):
        raise ContentError(
            f"`{label}` has `{name}`, an InitVar, which msgspec cannot fill. Make it a field, or "
            "run `import pydantic` (2 or newer), which can."
        )
    raise ContentError(f"`{label}` cannot be made a schema ({reasons[0]}). {_SHAPES_FORMS}")


def is_type(shape: object) -> bool:
    """Tell a class or a type such as ``list[int]`` from a value."""
    alias = getattr(typing, "TypeAliasType", ())  # since Python 3.12: `type People = ...`
    is_generic = typing.get_origin(shape) is not None
    return inspect.isclass(shape) or is_generic or shape is Any or isinstance(shape, alias)


def _described(shape: object) -> str:
    """Say what a value is that should have been a type."""
    if is_dataclass(shape) or hasattr(shape, "__pydantic_core_schema__"):
        return f"an instance of `{type_name(shape)}`"
    return "None" if shape is None else f"a value of type `{type_name(shape)}`"


def _last_line(error: Exception) -> str:
    """Return what msgspec says of the type; advice for its own users stands before it."""
    return shortened((str(error).splitlines() or [type_name(error)])[-1])


@dataclass(frozen=True)
class MsgspecType:
    """A type that msgspec reads."""

    kind: Any

    def schema(self) -> Schema:
        """Return the schema of the type, with every field required."""
        import msgspec

        form = _with_names(self.kind)
        schema = with_forms(msgspec.json.schema(form, schema_hook=_path_schema), form)
        return completed(schema, but=_typed_dicts(self.kind))

    def read(self, value: Any) -> Any:
        """Make an instance; missing fields take their defaults."""
        import msgspec

        form = _with_names(self.kind)
        try:
            made = _made(value, form)
        except msgspec.ValidationError as error:
            raise MisfitError(_place_first(str(error))) from error
        except Exception as error:  # the user's `__post_init__` may raise anything
            raise MisfitError(format_error(error)) from error
        return made if form is self.kind else self.kind(**msgspec.structs.asdict(made))


@dataclass(frozen=True)
class PydanticType:
    """A type that the user's pydantic (2 or newer) reads."""

    kind: Any

    def schema(self) -> Schema:
        """Return the schema of the type, with every field required."""
        schema = self._adapter().json_schema()
        return completed(schema, but=_typed_dicts(self.kind))

    def read(self, value: Any) -> Any:
        """Make an instance, as pydantic does it from JSON."""
        adapter = self._adapter()
        try:
            return adapter.validate_json(json.dumps(value))
        except sys.modules["pydantic"].ValidationError as error:
            raise MisfitError(_first_trouble(error)) from error
        except Exception as error:  # the user's validators may raise anything
            raise MisfitError(format_error(error)) from error

    def _adapter(self) -> Any:
        pydantic = sys.modules.get("pydantic")
        if not hasattr(pydantic, "TypeAdapter"):
            raise TypeError("pydantic 2 is not imported")
        return pydantic.TypeAdapter(self.kind)  # type: ignore[union-attr]


def is_pydantic(shape: object) -> bool:
    """Return whether pydantic made a type, or one of those that it is made of."""
    if hasattr(shape, "__pydantic_core_schema__"):
        return True
    return any(is_pydantic(part) for part in get_args(shape))


def init_var(shape: object) -> str:
    """Name the first ``InitVar`` of a dataclass, or of one that it speaks of; else nothing."""
    try:
        parts = [part for part in _parts(shape, set()) if is_dataclass(part)]
        hints = [hint for part in parts for hint in typing.get_type_hints(part).items()]
    except Exception:  # noqa: BLE001 - a forward reference that leads nowhere, or worse
        return ""
    return next((name for name, hint in hints if isinstance(hint, InitVar)), "")


def _made(value: Any, form: Any) -> Any:
    """Let msgspec read a value; what it does not take for a date or a time, Python may."""
    import msgspec

    try:
        return msgspec.convert(value, form, str_keys=True, dec_hook=_path)
    except msgspec.ValidationError:
        read = with_moments(value, form)
        return msgspec.convert(read, form, str_keys=True, dec_hook=_path)


def _path_schema(kind: type) -> Schema:
    """Say of a path that it is a text; msgspec refuses what this has no schema for."""
    if issubclass(kind, PurePath):
        return {"type": "string", "format": "path"}
    raise NotImplementedError


def _path(kind: type, value: Any) -> Any:
    if not (issubclass(kind, PurePath) and isinstance(value, str)):
        raise ValueError(f"Expected `str`, got {json_name(value)}")
    return kind(value)


def _with_names(kind: Any) -> Any:
    """Stand in for a named tuple, which msgspec would read from an array: models name fields."""
    import msgspec

    if not (inspect.isclass(kind) and issubclass(kind, tuple) and hasattr(kind, "_fields")):
        return kind
    named: Any = kind
    hints, defaults = typing.get_type_hints(named, include_extras=True), named._field_defaults
    fields: list[Any] = [
        (name, hints.get(name, Any), *((defaults[name],) if name in defaults else ()))
        for name in named._fields
    ]
    return msgspec.defstruct(named.__name__, fields, kw_only=True)


def _typed_dicts(kind: Any) -> frozenset[str]:
    """Return the names of the typed dicts in a type: they say of each key if it is required."""
    return frozenset(part.__name__ for part in _parts(kind, set()) if typing.is_typeddict(part))


def _parts(kind: Any, seen: set[int]) -> Iterator[Any]:
    """Return a type, and all that its fields and parameters speak of."""
    if id(kind) in seen:
        return
    seen.add(id(kind))
    yield kind
    has_fields = is_dataclass(kind) or hasattr(kind, "__annotations__")
    hints = typing.get_type_hints(kind) if inspect.isclass(kind) and has_fields else {}
    for part in (*get_args(kind), *hints.values()):
        yield from _parts(part, seen)


def _place_first(message: str) -> str:
    """Turn msgspec's words around: the place, then what is wrong there."""
    trouble, _, place = message.rpartition(" - at ")
    return f"at {place}, {trouble[:1].lower()}{trouble[1:]}" if trouble else message


def _first_trouble(error: Any) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    return f"at `${''.join(steps)}`, {first['msg']}, got {json_name(first['input'])}"


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
    """Return an equivalent of `schema`, or a looser one, in the form that servers take."""
    root = _rooted(schema)
    for change in (_in_words, _as_any_of, _as_list, _closed, _apart):
        root = changed(root, change)
    return root


def is_object(schema: Schema) -> bool:
    """Return whether only an object fits, as a root must be."""
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
    """Return whether a sendable schema leaves nothing open: strict servers refuse what does."""
    if _is_recursive(schema) or any(map(_is_place, _all_references(schema))):
        return False
    return all(_KINDS & node.keys() and _is_closed(node) for node in _nodes(schema))


def completed(schema: Schema, *, but: frozenset[str]) -> Schema:
    """Require every property: a model cannot leave one out by oversight then."""

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
    """Return a schema and all that are inside it."""
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
    """Return whether a definition leads back to itself."""
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
    """Return whether a reference leads to a place of the schema that is none of its definitions."""
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


#: One of these makes a dict a schema; examples of data rarely have any.
_KEYWORDS = frozenset(
    {"type", "properties", "items", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}
)

#: What OpenAI's documentation writes around a schema, which is what people paste.
_AROUND = frozenset({"type", "name", "description", "strict", "schema"})


@dataclass(frozen=True)
class DictSchema:
    """A JSON schema of the user's."""

    rules: Schema

    def schema(self) -> Schema:
        """Return it as it is."""
        return self.rules

    def read(self, value: Any) -> Any:
        """Return the value itself, if it fits."""
        from jsonschema.exceptions import best_match

        try:
            error = best_match(_validator(self.rules).iter_errors(value))
        except Exception as trouble:  # a pattern that is no regular expression, endless nesting
            raise MisfitError(format_error(trouble)) from trouble
        if error is None:
            return value
        raise MisfitError(f"at `{error.json_path}`, {shortened(error.message)}")


def dict_schema(rules: Mapping[Any, Any], label: str) -> DictSchema:
    """Take a dict for a schema, if it is one, or the request's parameter around one."""
    rules = _unwrapped(rules)
    if any(isinstance(value, type) or get_origin(value) for value in rules.values()):
        raise ContentError(
            f"`{label}` holds types, and is no schema. Make it one: "
            f'`{label} = TypedDict("{label}", {{...}})`, with `from typing import TypedDict`.'
        )
    if not _KEYWORDS & rules.keys():
        raise ContentError(
            f"`{label}` reads like an example, not like a JSON schema, which has a `type` or "
            "`properties`. Give a schema, or a dataclass with these fields; an example belongs "
            "into the prompt."
        )
    schema = dict(rules)
    _check_schema(schema, label)
    return DictSchema(schema)


def _unwrapped(rules: Mapping[Any, Any]) -> Mapping[Any, Any]:
    """Take the schema out of what OpenAI's documentation puts around it.

    That is ``{"name": ..., "schema": {...}}``, alone, with ``"type": "json_schema"`` beside them
    (its Responses API), or under ``json_schema`` (its chat completions).
    """
    inner = rules.get("json_schema")
    if rules.get("type") == "json_schema" and isinstance(inner, Mapping):
        return _unwrapped(inner)
    schema = rules.get("schema")
    is_around = rules.keys() <= _AROUND and rules.get("type", "json_schema") == "json_schema"
    return schema if is_around and isinstance(schema, Mapping) else rules


def _check_schema(schema: Schema, label: str) -> None:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for
    from referencing.exceptions import Unresolvable

    try:
        validator_for(schema, default=_latest()).check_schema(schema)
        _follow(schema)
    except SchemaError as error:
        place = error.json_path.replace("$", label, 1)
        raise ContentError(
            f"`{label}` is no JSON schema: at `{place}`, {shortened(error.message)}. If it is an "
            "example, put it into the prompt and give a dataclass with its fields."
        ) from None
    except Unresolvable as error:
        raise ContentError(
            f"`{label}` refers to `{shortened(str(error.ref))}`, which it does not hold; nothing "
            "is fetched. Put that under its `$defs`."
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ContentError(
            f"`{label}` is no JSON schema ({format_error(error)}). Give a dataclass."
        ) from None


def _follow(schema: Schema) -> None:
    """Look up each reference of a schema, so that none leads nowhere when the reply is there."""
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT202012

    resource = Resource.from_contents(schema, default_specification=DRAFT202012)
    resolver = Registry().resolver_with_root(resource)
    for reference in _references(schema):
        resolver.lookup(reference)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for inner in inside:
        yield from _references(inner)


def _validator(schema: Schema) -> Any:
    """Make what checks values; it fetches nothing, whatever the schema refers to."""
    from jsonschema.validators import validator_for
    from referencing import Registry

    return validator_for(schema, default=_latest())(schema, registry=Registry())


def _latest() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator


#: Where a JSON value that is worth looking for begins.
_OPENING = re.compile(r"[{\[]")

#: How many beginnings that lead nowhere are tried: a text of opening brackets has as many as
#: characters, and each try may read it all.
_MAX_FALSE_STARTS = 300


def json_values(text: str) -> Iterator[Any]:
    """Return each JSON value of a text, the likeliest first.

    The whole text; each fenced block as a whole, the last one first, since a model that shows a
    form or a draft in a block gives its answer in a later one; then, in their order, the objects
    and arrays that stand anywhere: in prose a footnote such as ``[1]`` may come last. What is
    inside one of those is not given on its own, nor what was read of
    one that breaks off or is malformed: a part would pass for the whole.
    """
    yield from _whole(text)
    for block in reversed(_fenced(text)):
        yield from _whole(block)
    yield from _embedded(text)


def _whole(text: str) -> Iterator[Any]:
    try:
        yield _DECODER.decode(text.strip())
    except (ValueError, RecursionError):
        return


def _fenced(text: str) -> list[str]:
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").parse(text)
    return [token.content for token in tokens if token.type == "fence"]


def _embedded(text: str) -> Iterator[Any]:
    position, false_starts = 0, 0
    while false_starts < _MAX_FALSE_STARTS and (match := _OPENING.search(text, position)):
        try:
            value, position = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError) as error:
            # Further on than where it was read to, as far as that is known.
            position, false_starts = getattr(error, "pos", match.end()), false_starts + 1
            if text.startswith('"', position):  # within a string, or where a comma is missing
                return
        else:
            yield value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


#: Without NaN and Infinity, which `json` would take by itself.
_DECODER = json.JSONDecoder(parse_constant=_refuse)


#: What a schema's name may hold, and how long it may be (OpenAI's reference of `json_schema`).
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_NAME_CHARS = 64

#: Under which key a value travels that is no object; a schema's root must be one.
_KEY = "value"


@dataclass(frozen=True)
class Expected:
    """The JSON that a reply is to hold; it can be pickled if the user's own type can."""

    name: str
    shape: Shape

    @property
    def response_format(self) -> dict[str, Any]:
        """The request's parameter of that name.

        In the form of the vendor's SDK (its examples, "Structured Output"), which is OpenAI's.
        ``strict`` is said only of schemas that strict servers take; the others would be refused.
        """
        schema = sendable(self._root())
        strict = {"strict": True} if is_strict(schema) else {}
        return {
            "type": "json_schema",
            "json_schema": {"name": self.name, **strict, "schema": schema},
        }

    def read(self, text: str) -> Any:
        """Read the first JSON of `json_values` that fits: of several fenced ones the last."""
        misfits: list[tuple[int, MisfitError]] = []
        for value in json_values(text):
            for candidate in self._unwrapped(value):
                try:
                    return self.shape.read(candidate)
                except MisfitError as error:
                    misfits.append((len(json.dumps(value)), error))
        raise ReplyError(f"{self._trouble(text, misfits)} The reply itself is in `error.reply`.")

    def _root(self) -> dict[str, Any]:
        schema = self.shape.schema()
        return schema if is_object(schema) else wrapped(schema, key=_KEY)

    def _unwrapped(self, value: Any) -> Iterator[Any]:
        """Return what may be meant: models also leave out a key that only wraps the value."""
        if (
            isinstance(value, dict)
            and value.keys() == {_KEY}
            and not is_object(self.shape.schema())
        ):
            yield value[_KEY]
        yield value

    def _trouble(self, text: str, misfits: Sequence[tuple[int, MisfitError]]) -> str:
        if misfits:
            _, misfit = max(misfits, key=lambda pair: pair[0])
            if isinstance(self.shape, AnyObject):
                return (
                    f"The reply is JSON, and no object: {misfit}. Ask for an object, or name what "
                    "else it may be: `--json list`."
                )
            return (
                f"The reply does not fit `{self.name}`: {shortened(str(misfit))}. Run it again, "
                "or let the schema allow it."
            )
        return (
            f"The reply holds no complete JSON: {shortened(text)!r}. Ask for JSON in the prompt; "
            "where it breaks off, give it more room with --max-tokens."
        )


def expected(shape: object | None, name: str | None) -> Expected:
    """Say what a reply is to be."""
    if shape is None and name is None:
        return Expected("object", AnyObject())
    label = name or getattr(shape, "__name__", None) or "reply"
    found = shape_of(shape, label)
    _check(found, label)
    return Expected(_sent_name(label), found)


def _check(shape: Shape, label: str) -> None:
    """Make the schema once, so that what cannot be asked for fails before anything is sent."""
    try:
        sendable(shape.schema())
    except RecursionError:
        raise ContentError(
            f"`{label}` is nested too deeply to be sent as a schema. Give a flatter type."
        ) from None


def _sent_name(label: str) -> str:
    return _NOT_IN_NAMES.sub("_", label)[:_NAME_CHARS].strip("_") or "reply"
