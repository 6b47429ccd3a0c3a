"""Whatever JSON or bytes a client sends, the gateway answers, and never raises."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import SimRequest

HEADERS = {"x-api-key": "k", "content-type": "application/json"}

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


def usually(*values: Any) -> st.SearchStrategy[Any]:
    """Mostly what belongs there, sometimes anything."""
    return st.sampled_from(values) | anything


def some_keys(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=values) | anything


def png() -> bytes:
    file = io.BytesIO()
    Image.new("P", (9, 5), 3).save(file, "PNG")
    return file.getvalue()


def mangled(data: bytes) -> st.SearchStrategy[str]:
    """Make base64 of a real image with some bytes overwritten or missing."""

    def mangle(places: dict[int, int], length: int) -> str:
        kept = bytearray(data)
        for place, value in places.items():
            kept[place] = value
        return base64.b64encode(bytes(kept[:length])).decode()

    places = st.dictionaries(st.integers(0, len(data) - 1), st.integers(0, 255), max_size=4)
    return st.builds(mangle, places, st.integers(0, len(data)))


sources = some_keys(
    type=usually("base64"),
    media_type=usually("image/png", "image/gif"),
    data=mangled(png()) | anything,
)
blocks = some_keys(
    type=usually("text", "image"), text=usually("a", "echo: b", "fail: c"), source=sources
)
messages = some_keys(
    role=usually("user", "assistant"), content=st.lists(blocks, max_size=3) | anything
)

kinds = st.sampled_from(
    ["object", "array", "string", "number", "integer", "boolean", "null", ["string", "null"], "?"]
)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
schemas = st.recursive(
    some_keys(type=kinds, minimum=numbers, exclusiveMaximum=numbers, multipleOf=numbers),
    lambda inner: some_keys(
        type=kinds,
        properties=st.dictionaries(st.sampled_from("ab"), inner),
        required=st.lists(st.sampled_from("abc")) | anything,
        items=inner,
        minItems=numbers,
        maxLength=numbers,
        anyOf=st.lists(inner, max_size=2),
        allOf=st.lists(inner, max_size=2),
        **{"$ref": usually("#", "#/properties/a", "#/items")},
    ),
    max_leaves=6,
)
bodies = some_keys(
    messages=st.lists(messages, max_size=3)
    | st.just([{"role": "user", "content": "a"}])
    | anything,
    instruction=usually("be brief"),
    max_tokens=usually(1, 100),
    temperature=usually(0.5),
    response_format=some_keys(type=usually("json_schema"), schema=schemas),
)


def answered(body: bytes, version: str) -> Any:
    """Post `body`, and check what holds for every answer."""
    gateway = Gateway()
    path = f"/{version}/claude-4-sonnet"
    answer = gateway.handle(SimRequest("POST", path, HEADERS, body))
    content = json.loads(answer.body)
    assert answer.status in (200, 400)
    if answer.status == 400:
        assert list(content) == ["error"]
        assert gateway.billed == 0
    return content


@given(bodies, st.sampled_from(["v1", "v2"]))
def test_any_json_gets_a_json_answer(body, version):
    """Bodies that are nearly right, and some that are nothing like it, get 200 or 400."""
    answered(json.dumps(body).encode(), version)


@given(st.binary())
def test_any_bytes_get_a_json_answer(body):
    """Bytes at random are refused with the envelope."""
    assert "error" in answered(body, "v1")


@given(schemas)
def test_any_schema_gets_a_json_answer(schema):
    """Schemas that are endless, contradictory or no schemas at all are refused or answered."""
    body = {
        "messages": [{"role": "user", "content": "a"}],
        "response_format": {"type": "json_schema", "json_schema": {"schema": schema}},
    }
    content = answered(json.dumps(body).encode(), "v1")
    if content.get("stop_reason") == "end_turn":  # a long array may be cut
        json.loads(content["content"][0]["text"])


def test_any_depth_gets_a_json_answer():
    """Nesting around the depth that Python can follow is answered or refused, at every level."""
    steps = {
        f"step{n}": {"required": ["a"], "properties": {"a": {"$ref": f"#/$defs/step{n + 1}"}}}
        for n in range(15)
    }
    schema = {"$ref": "#/$defs/step0", "$defs": {**steps, "step15": {"const": "deep"}}}
    body = {
        "messages": [{"role": "user", "content": "a"}],
        "response_format": {"type": "json_schema", "schema": schema},
    }
    for depth in (*range(700, 1010), 5_000, 50_000):
        deep = json.dumps(body).replace('"deep"', "[" * depth + "]" * depth)
        answered(deep.encode(), "v1")


@given(
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "BREW"]),
    st.text(max_size=30),
    st.dictionaries(st.sampled_from(["host", "authorization", "x-api-key"]), st.text()),
)
def test_any_path_and_headers_get_an_answer(method, path, headers):
    """No method, path or header makes the gateway raise."""
    assert Gateway().handle(SimRequest(method, path, headers)).status in (200, 401, 404, 405)
