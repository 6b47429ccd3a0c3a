"""What a reply is to be: the schema that asks for it, and the object that is read from it.

pydantic reads types; jsonschema, which Jupyter itself needs, checks schemas that come as a dict.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import operator
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Final

from segmind_jupyter.content.parts import format_error, type_name
from segmind_jupyter.errors import ContentError, ReplyError, shortened

if typing.TYPE_CHECKING:
    from pydantic import TypeAdapter

Schema = dict[str, Any]

#: Under which key a value travels that is no object; a schema's root must be one.
_KEY: Final = "value"

_ANY_OBJECT: Final[Schema] = {"type": "object"}

_JSON_TYPES: Final = {
    "object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": float,
}  # fmt: skip

_ADVICE: Final = (
    "Give a dataclass, a TypedDict, a pydantic model, a type such as `list[Person]`, or a JSON "
    "schema as a dict."
)


class MisfitError(Exception):
    """A value that does not fit; the message says where, what was expected, and what is there."""


@dataclass(frozen=True)
class Expected:
    """The JSON that a reply is to hold: a type, or a JSON schema as a dict."""

    name: str
    kind: Any

    @property
    def response_format(self) -> dict[str, Any]:
        """The request's parameter of that name, in the form of the vendor's SDK (and OpenAI's)."""
        asked = {"name": self.name, "schema": _rooted(self._schema)}
        return {"type": "json_schema", "json_schema": asked}

    @property
    def fields(self) -> dict[str, Any]:
        """The names of an object's fields with their types; none of what has no such names."""
        kind = self.kind
        if isinstance(kind, dict) and "properties" in kind:
            rules = {n: r if isinstance(r, dict) else {} for n, r in kind["properties"].items()}
            return {n: _JSON_TYPES.get(str(r.get("type")), object) for n, r in rules.items()}
        if hasattr(kind, "model_fields"):
            return {name: field.annotation for name, field in kind.model_fields.items()}
        is_named = typing.is_typeddict(kind) or hasattr(kind, "_fields")
        hints = typing.get_type_hints(kind) if is_named or is_dataclass(kind) else {}
        own = [field.name for field in fields(kind)] if is_dataclass(kind) else [*hints]
        return {name: hint for name, hint in hints.items() if name in own}

    def parse(self, text: str) -> Any:
        """Read the first JSON of `extract_json` that fits, or raise what did not fit."""
        misfits: list[tuple[int, str]] = []
        for value in extract_json(text):
            candidates = [value]
            if isinstance(value, dict) and value.keys() == {_KEY} and not _is_object(self._schema):
                candidates.insert(0, value[_KEY])  # models may also leave out this key
            for candidate in candidates:
                try:
                    return self._read(candidate)
                except MisfitError as error:
                    misfits.append((len(json.dumps(value)), str(error)))
        _, misfit = max(misfits, key=operator.itemgetter(0), default=(0, ""))  # not a footnote's
        trouble = (
            f"The reply does not fit `{self.name}`: {shortened(misfit)}. Run it again, or "
            f"{'`--json list`' if self.kind == _ANY_OBJECT else 'let the schema allow it'}."
        )
        if not misfit:
            trouble = (
                f"The reply holds no complete JSON: {shortened(text)!r}. Ask for JSON in the "
                "prompt; where it breaks off, give it more room with --max-tokens."
            )
        raise ReplyError(f"{trouble} The reply itself is in `error.reply`.")

    def _read(self, value: Any) -> Any:
        """Make what the user wants of a JSON value, or raise a `MisfitError` that says where."""
        if self.kind == _ANY_OBJECT:
            if not isinstance(value, dict):
                raise MisfitError(f"expected an object, got {_json_name(value)}")
            return value
        try:
            if not isinstance(self.kind, dict):
                return self._adapter.validate_json(json.dumps(value))
            from jsonschema.exceptions import best_match

            if error := best_match(_validator(self.kind).iter_errors(value)):
                raise error
        except Exception as trouble:  # the user's validators may raise anything
            raise MisfitError(_misfit(trouble)) from trouble
        return value

    @functools.cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        from pydantic import TypeAdapter

        return TypeAdapter(_for_pydantic(self.kind))

    @functools.cached_property
    def _schema(self) -> Schema:
        if isinstance(self.kind, dict):
            return self.kind
        return self._adapter.json_schema(schema_generator=_generator())

    def __reduce__(self) -> tuple[Any, ...]:
        return Expected, (self.name, self.kind)  # what pydantic made of it is made again


def expected(shape: object | None, name: str | None) -> Expected:
    """Say what a reply is to be: any object, or what a type or a JSON schema of the user's says."""
    if shape is None and name is None:
        return Expected("object", _ANY_OBJECT)
    label = name or getattr(shape, "__name__", None) or "reply"
    # Letters, digits, hyphens and underscores, 64 at most (OpenAI's reference of `json_schema`).
    sent_name = re.sub(r"[^A-Za-z0-9_-]+", "_", label)[:64].strip("_") or "reply"
    try:
        if isinstance(shape, Mapping):
            shape = _checked_schema(shape, label)
        elif not is_type(shape):
            what = "None" if shape is None else f"a value of type `{type_name(shape)}`"
            raise ContentError(f"`{label}` is {what}, and no schema. {_ADVICE}")
        found = Expected(sent_name, shape)
        _ = found.response_format
    except ContentError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a user's type
        reason = shortened((str(error).splitlines() or [type_name(error)])[0].rstrip("."))
        raise ContentError(f"`{label}` cannot be made a schema ({reason}). {_ADVICE}") from None
    return found


def is_type(shape: object) -> bool:
    """Tell a class or a type such as ``list[int]`` from a value."""
    alias = getattr(typing, "TypeAliasType", ())  # since Python 3.12: `type People = ...`
    is_generic = typing.get_origin(shape) is not None
    return inspect.isclass(shape) or is_generic or shape is Any or isinstance(shape, alias)


def _misfit(error: Any) -> str:
    """Say where a value does not fit, in the words of the library that found it."""
    if hasattr(error, "json_path"):
        return f"at `{error.json_path}`, {shortened(error.message)}"
    if hasattr(error, "ref"):
        return f"{error.ref!r} leads to nothing within it, and nothing is fetched"
    if not hasattr(error, "errors"):
        return format_error(error)
    first = error.errors(include_url=False, include_context=False)[0]
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    got = "" if first["type"] == "missing" else f", got {_json_name(first['input'])}"
    return f"at `${''.join(steps)}`, {first['msg']}{got}"


def _json_name(value: object) -> str:
    """Name a JSON value, or its kind where it has parts."""
    if isinstance(value, dict):
        return "an object"
    return "an array" if isinstance(value, list) else shortened(json.dumps(value, default=repr))


@functools.cache
def _generator() -> Any:
    """Return what makes the schema of a type; models forget no field that is required."""
    from pydantic.json_schema import GenerateJsonSchema

    class Generator(GenerateJsonSchema):
        ignored_warning_kinds: Any = frozenset({"skipped-choice", "non-serializable-default"})

        def field_is_required(self, field: Any, total: bool) -> bool:
            is_typed_dict = field["type"] == "typed-dict-field"  # says it of each key
            return super().field_is_required(field, total) if is_typed_dict else True

        def field_title_should_be_set(self, schema: Any) -> bool:
            return False

        # JSON schema's own "date-time" has a time zone, which a model would make up.
        def datetime_schema(self, schema: Any) -> Schema:
            return {"type": "string", "description": "ISO 8601, such as 2025-01-31T09:30:00"}

        def time_schema(self, schema: Any) -> Schema:
            return {"type": "string", "description": "ISO 8601, such as 09:30:00"}

    return Generator


def _for_pydantic(kind: Any) -> Any:
    """Return a type that pydantic takes: before Python 3.12, no ``typing.TypedDict`` is one."""
    if sys.version_info >= (3, 12):
        return kind
    if typing.is_typeddict(kind) and type(kind).__module__ == "typing":
        from typing_extensions import TypedDict

        hints = typing.get_type_hints(kind, include_extras=True)
        for name, hint in hints.items():
            is_marked = typing.get_origin(hint) in (typing.NotRequired, typing.Required)
            is_required = name in kind.__required_keys__
            taken = _for_pydantic(hint)
            hints[name] = taken if is_marked or is_required else typing.NotRequired[taken]
        return TypedDict(kind.__name__, hints)  # type: ignore[operator]
    parts = tuple(_for_pydantic(part) for part in typing.get_args(kind))
    if parts == typing.get_args(kind):
        return kind
    origin: Any = typing.get_origin(kind)
    origin = typing.Union if origin is types.UnionType else origin
    return origin[parts if len(parts) > 1 else parts[0]]


#: What a JSON schema has at its root; examples of data rarely have any of it.
_KEYWORDS: Final = frozenset(
    {"type", "enum", "const", "anyOf", "allOf", "oneOf", "$ref", "properties", "items"}
)


def _checked_schema(rules: Mapping[Any, Any], label: str) -> Schema:
    """Return a dict that is a schema."""
    schema = dict(rules)
    trouble = ""
    if not _KEYWORDS & schema.keys():
        trouble = "it reads like an example, with neither a `type` nor `properties`"
    else:
        try:
            _validator(schema).check_schema(schema)
            json.dumps(schema)
            for reference in _references(schema):
                _target(reference, schema)
                if not (_is_object(schema) or reference.startswith(("#/$defs/", "#/definitions/"))):
                    raise ValueError(f"{reference} is moved on the way: put it into `$defs`")
        except Exception as error:  # noqa: BLE001 - what is wrong is in the words of a library
            trouble = _misfit(error)
    if trouble:
        raise ContentError(
            f"`{label}` is no JSON schema: {shortened(trouble)}. Give a dataclass or a TypedDict "
            "with these fields; an example belongs into the prompt."
        )
    return schema


def _validator(schema: Schema) -> Any:
    """Return what checks values; it fetches nothing, whatever the schema refers to."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry

    return validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())


def _references(node: Any) -> Iterator[str]:
    """Find what a schema refers to, at any depth."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):  # else it is the name of a field
            yield node["$ref"]
        node = list(node.values())
    for inner in node if isinstance(node, list) else ():
        yield from _references(inner)


def _target(reference: str, root: Schema) -> Any:
    """Return what a reference leads to within a schema; of any other, referencing raises."""
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT202012

    resource = Resource.from_contents(root, default_specification=DRAFT202012)
    return Registry().resolver_with_root(resource).lookup(reference).contents


def _rooted(schema: Schema) -> Schema:
    """Return a schema whose root says that it is an object: any other travels under a key."""
    root = dict(schema)
    if "$ref" in root:
        root = {**_target(root.pop("$ref"), schema), **root}
    if _is_object(root):
        return root
    shared: Schema = {key: root.pop(key) for key in ("$defs", "definitions") if key in root}
    return {"type": "object", "properties": {_KEY: root}, "required": [_KEY], **shared}


def _is_object(schema: Schema) -> bool:
    """Return whether only an object fits, as a root must be."""
    schema = _target(schema["$ref"], schema) if "$ref" in schema else schema
    return bool(schema.get("type", "object" if "properties" in schema else "") == "object")


#: Where a JSON value that is worth looking for begins.
_OPENING: Final = re.compile(r"[{\[]")


#: What stands in a fence.
_FENCED: Final = re.compile(r"^ {0,3}```[^\n`]*\n(.*?)^ {0,3}```", re.MULTILINE | re.DOTALL)

#: Without NaN and Infinity, which `json` would take by itself, and `int` refuses.
_DECODER: Final = json.JSONDecoder(parse_constant=int)


def extract_json(text: str) -> Iterator[Any]:
    """Yield each JSON value of a text, the likeliest first."""
    with contextlib.suppress(ValueError, RecursionError):
        yield _DECODER.decode(text.strip())
    for block in reversed(_FENCED.findall(text)):
        with contextlib.suppress(ValueError, RecursionError):
            yield _DECODER.decode(block.strip())
    position, false_starts = 0, 0
    # A text of opening brackets has as many beginnings, and each try may read it all.
    while false_starts < 300 and (match := _OPENING.search(text, position)):
        try:
            value, position = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError) as error:
            # Further on than where it was read to, as far as that is known.
            position, false_starts = getattr(error, "pos", match.end()), false_starts + 1
            if text.startswith('"', position):  # within a string, or where a comma is missing
                return
        else:
            yield value
