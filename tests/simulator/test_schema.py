"""Replies to a request for JSON conform to its schema."""

from __future__ import annotations

import json

import jsonschema
import pytest

from segmind_jupyter.simulator.answers import fill
from segmind_jupyter.simulator.protocol import Refusal

SCHEMAS = {
    "object": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {}},
        "required": ["a", "b"],
        "additionalProperties": False,
    },
    "every type": {
        "type": "object",
        "properties": {
            kind: {"type": kind} for kind in ["string", "number", "integer", "boolean", "null"]
        },
        "required": ["string", "number", "integer", "boolean", "null"],
    },
    "enum": {"enum": ["low", "high"]},
    "const": {"const": {"x": [1, None]}},
    "nullable": {"type": ["null", "string"]},
    "array": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 4},
    "no items": {"type": "array", "items": {"type": "string"}, "maxItems": 0},
    "reference": {
        "$defs": {"Point": {"type": "object", "properties": {"x": {}}, "required": ["x"]}},
        "type": "array",
        "items": {"$ref": "#/$defs/Point"},
        "minItems": 1,
    },
    "tree": {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
        "required": ["children"],
    },
    "any of": {"anyOf": [{"type": "integer", "minimum": 4}, {"type": "string"}]},
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]},
            {"properties": {"b": {"const": 2}}, "required": ["b"]},
        ]
    },
    "escaped reference": {
        "$defs": {"a/b": {"const": 7}},
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/a~1b"}},
        "required": ["x"],
    },
    "bounds": {"type": "number", "exclusiveMinimum": 2.5, "exclusiveMaximum": 2.75},
    "negative": {"type": "integer", "maximum": -3},
    "steps": {"type": "integer", "minimum": 101, "multipleOf": 7},
    "last step": {"type": "integer", "maximum": -101, "multipleOf": 7},
    "long text": {"type": "string", "minLength": 50, "maxLength": 60},
    "short text": {"type": "string", "maxLength": 3},
    "implied object": {"properties": {"a": {"type": "boolean"}}, "required": ["a"]},
    "anything": {},
    "true": {"type": "object", "properties": {"a": True}, "required": ["a"]},
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS.keys())
def test_the_value_conforms(schema):
    """An independent validator accepts what was filled in."""
    jsonschema.validate(fill(schema), schema)


def test_required_names_only_and_enums_first():
    """Optional properties are left out; of the choices the first is taken."""
    schema = {
        "type": "object",
        "properties": {"mood": {"enum": ["calm", "wild"]}, "note": {"type": "string"}},
        "required": ["mood"],
    }
    assert fill(schema) == {"mood": "calm"}


ENDLESS = {"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]}
WIDE = {"type": "array", "minItems": 40, "items": {"type": "array", "minItems": 100}}


@pytest.mark.parametrize(
    "schema",
    [
        ENDLESS,
        {"$ref": "#"},
        WIDE,
        {"type": "array", "minItems": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "string", "minLength": 5, "maxLength": 4},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "fraction"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/missing"},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"anyOf": ["no schema"]},
    ],
)
def test_a_schema_that_cannot_be_filled_is_refused(schema):
    """Endless, oversized, contradictory and malformed schemas are a 400, not a crash."""
    with pytest.raises(Refusal, match="response_format") as refused:
        fill(schema)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMAS["object"]}},
        {"type": "json_schema", "schema": SCHEMAS["object"]},
    ],
)
def test_a_reply_holds_the_json_alone(caller, response_format):
    """Both places of the schema are understood, and the reply's text is JSON and nothing else."""
    text = caller.text("give me JSON", response_format=response_format)
    jsonschema.validate(json.loads(text), SCHEMAS["object"])


def test_a_request_with_an_endless_schema_is_400_and_free(caller):
    """Nothing is charged for a schema that cannot be filled."""
    response_format = {"type": "json_schema", "schema": ENDLESS}
    assert caller.post("a", response_format=response_format).status == 400
    assert caller.gateway.billed == 0


def test_echo_wins_over_a_schema(caller):
    """A test can make a reply that does not conform."""
    response_format = {"type": "json_schema", "schema": SCHEMAS["object"]}
    assert caller.text("echo: not JSON", response_format=response_format) == "not JSON"
