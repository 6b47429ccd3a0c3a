"""A JSON schema that the user gives as a dict: checked before it is sent, and read by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_origin

from segmind_jupyter.content.expected.shape import MisfitError
from segmind_jupyter.content.expected.strict import Schema
from segmind_jupyter.content.kinds import spelled
from segmind_jupyter.errors import ContentError, shortened

#: One of these makes a dict a schema; examples of data rarely have any.
_KEYWORDS = frozenset(
    {"type", "properties", "items", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"}
)

#: What OpenAI's documentation writes around a schema, which is what people paste.
_AROUND = frozenset({"type", "name", "description", "strict", "schema"})


@dataclass(frozen=True)
class DictSchema:
    """A JSON schema of the user's.

    Parameters
    ----------
    rules
        The schema.
    """

    rules: Schema

    def schema(self) -> Schema:
        """Give it as it is."""
        return self.rules

    def read(self, value: Any) -> Any:
        """Give the value itself, if it fits."""
        from jsonschema.exceptions import best_match

        try:
            error = best_match(_validator(self.rules).iter_errors(value))
        except Exception as trouble:  # a pattern that is no regular expression, endless nesting
            raise MisfitError(spelled(trouble)) from trouble
        if error is None:
            return value
        raise MisfitError(f"at `{error.json_path}`, {shortened(error.message)}")


def dict_schema(rules: Mapping[Any, Any], label: str) -> DictSchema:
    """Take a dict for a schema, if it is one, or the request's parameter around one.

    Raises
    ------
    ContentError
        It is none: an example, or a dict of types.
    """
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
            f"`{label}` is no JSON schema ({spelled(error)}). Give a dataclass."
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
