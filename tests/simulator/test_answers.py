"""What a simulated reply says, what it costs, and JSON that conforms to a schema."""

from __future__ import annotations

import io
import json

import jsonschema
import pytest
from matplotlib.figure import Figure
from PIL import Image

from segmind_jupyter.simulator.answers import fill
from segmind_jupyter.simulator.protocol import Refusal


def plot(*lines: tuple[list[int], str]) -> bytes:
    figure = Figure(figsize=(8, 4), dpi=100)
    axes = figure.subplots()
    for values, colour in lines:
        axes.plot(values, color=colour)
    file = io.BytesIO()
    figure.savefig(file)
    return file.getvalue()


def test_a_reply_tells_what_arrived(caller, image_block):
    """Images in order, by size, format and look; words of text and instruction; turns."""
    words = {"type": "text", "text": "What trend does this show, and is it the one we expected?"}
    assert caller.text([image_block(plot(([1, 2, 3, 4], "C0"))), words]) == (
        "(simulated) 1 image: 800x400 PNG, mostly white with a blue line; text of 12 words"
    )
    red = image_block(Image.new("RGB", (30, 20), "red"))
    green = image_block(Image.new("RGB", (10, 20), "green"), media_type="image/jpeg", format="JPEG")
    assert caller.text([red, {"type": "text", "text": "or"}, green]) == (
        "(simulated) 2 images: 30x20 PNG, all red; 10x20 JPEG, all green; text of 1 word"
    )
    roles = ("user", "assistant", "user")
    turns = [{"role": role, "content": "and the third"} for role in roles]
    body = {"messages": turns, "instruction": "Be brief."}
    answer = json.loads(caller.post_body(json.dumps(body).encode()).body)
    assert answer["content"][0]["text"] == (
        "(simulated) text of 3 words; instruction of 2 words; 3 turns"
    )


def test_a_reply_is_cut_at_max_tokens_and_says_so(caller):
    """Text, stop reason and usage agree; one that ends on the limit is whole."""
    body = json.loads(caller.post("echo: " + "x" * 100, max_tokens=5).body)
    assert body["content"][0]["text"] == "x" * 20
    assert (body["stop_reason"], body["usage"]["output_tokens"]) == ("max_tokens", 5)
    body = json.loads(caller.post("echo: " + "x" * 20, max_tokens=5).body)
    assert body["stop_reason"] == "end_turn"


def test_a_talking_gateway_describes_figures(calling, image_block):
    """With the course of each line, from decoded pixels; a photo has none to follow."""
    talking = calling(talks=True)
    rising = talking.text([image_block(plot(([1, 2, 3, 4], "C0")))])
    assert "\n\nThe blue line **rises from left to right**.\n\n" in rising
    assert "| 1 | 800 × 400 | mostly white with a blue line |" in rising
    lines = plot(([4, 3, 2, 1], "C3"), ([1, 4, 4, 1], "C2"), ([4, 1, 1, 4], "C0"), ([2, 2], "C1"))
    text = talking.text([image_block(lines)])
    for course in (
        "red falls from left to right", "green rises, then falls", "blue falls, then rises",
        "orange stays level",
    ):  # fmt: skip
        assert course in text
    noise = image_block(Image.effect_noise((200, 200), 90).convert("RGB"))
    assert "none followed" in talking.text([noise])


def test_a_talking_gateway_gives_what_is_asked_for(calling):
    """Each in the form in which a model would give it, and nothing where nothing was asked."""
    talking = calling(talks=True)
    traceback = "What went wrong?\n----> 3 total = price * n\nTypeError: can't multiply"
    for asked, part in (
        ("Write a Python function.", "```python\n"),
        ("Derive the formula.", "$$\\hat{b}"),
        ("Write an alt text.", "**Alternative text:**"),
        (traceback, "`total = price * n`"),
        (traceback, "**TypeError**: can't multiply"),
    ):
        assert part in talking.text(asked)
    assert talking.text("hello there") == "(simulated) text of 2 words"


POINT = {"type": "object", "properties": {"x": {}}, "required": ["x"]}
KINDS = ["string", "number", "integer", "boolean", "null"]
SCHEMAS = [
    {"type": "object", "properties": {k: {"type": k} for k in KINDS}, "required": KINDS},
    {"enum": ["low", "high"]},
    {"const": {"x": [1, None]}},
    {"type": ["null", "string"]},
    {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 4},
    {"type": "array", "items": {"type": "string"}, "maxItems": 0},
    {"$defs": {"P": POINT}, "type": "array", "items": {"$ref": "#/$defs/P"}, "minItems": 1},
    {"type": "object", "properties": {"c": {"items": {"$ref": "#"}}}, "required": ["c"]},
    {"anyOf": [{"type": "integer", "minimum": 4}, {"type": "string"}]},
    {"allOf": [{"$ref": "#/$defs/P"}], "$defs": {"P": POINT}},
    {"type": "number", "exclusiveMinimum": 2.5, "exclusiveMaximum": 2.75},
    {"type": "integer", "maximum": -3},
    {"type": "integer", "exclusiveMinimum": 2.5},
    {"type": "integer", "exclusiveMaximum": -3},
    {"type": "string", "minLength": 50, "maxLength": 60},
    {"type": "string", "maxLength": 3},
    {"type": "object", "properties": {"a": True}, "required": ["a"]},
    {"type": "array", "items": {"type": "object", "additionalProperties": True}},
    {"properties": {"a": {}}},
    {},
]  # fmt: skip


def test_what_is_filled_in_conforms(caller):
    """An independent validator says so, of a reply that holds the JSON alone, in both forms."""
    for schema in SCHEMAS:
        jsonschema.validate(fill(schema), schema)
        for form in ({"json_schema": {"name": "n", "schema": schema}}, {"schema": schema}):
            text = caller.text("JSON, please", response_format={"type": "json_schema", **form})
            jsonschema.validate(json.loads(text), schema)
    moods = {"mood": {"enum": ["calm", "wild"]}, "note": {}}
    assert fill({"properties": moods, "required": ["mood"]}) == {"mood": "calm"}


def test_a_schema_that_cannot_be_filled_is_refused(caller):
    """Endless, oversized, contradictory and malformed schemas are a 400, not a crash, and free."""
    endless = {"type": "object", "properties": {"me": {"$ref": "#"}}, "required": ["me"]}
    for schema in (
        endless,
        {"$ref": "#"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"type": "array", "minItems": 10**9},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "fraction"},
        {"$ref": "https://example.com/schema"},
        {"$ref": ["#"]},
        {"$ref": "#/$defs/missing"},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"anyOf": ["no schema"]},
    ):
        with pytest.raises(Refusal, match="response_format") as refused:
            fill(schema)
        assert refused.value.answer.status == 400
    form = {"type": "json_schema", "schema": endless}
    assert caller.post("a", response_format=form).status == 400
    assert caller.gateway.billed == 0
