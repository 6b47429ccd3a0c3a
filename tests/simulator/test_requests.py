"""What the service refuses in a body."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import SimRequest

USER = {"role": "user", "content": "a"}
REPLY = {"role": "assistant", "content": "b"}


def user(*blocks: object) -> list[object]:
    return [{"role": "user", "content": list(blocks)}]


def image(**source: object) -> dict[str, object]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", **source}}


def error(answer: Any) -> str:
    assert answer.status == 400
    return str(json.loads(answer.body)["error"])


MISTAKES = [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": ["hello"]}, "messages.0"),
    ({"messages": [REPLY]}, "messages.0"),
    ({"messages": [{**USER, "role": "system"}]}, "messages.0.role"),
    ({"messages": [USER, {"role": "user"}]}, "messages.1.content"),
    ({"messages": [USER, {"role": "user", "content": []}]}, "messages.1.content"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": ""}]}, "non-whitespace"),
    ({"messages": user({"type": "text", "text": 3})}, "content.0"),
    ({"messages": user("bare")}, "content.0"),
    ({"messages": user({"type": "image_url", "image_url": {"url": "x"}})}, "content.0"),
    ({"messages": user({"type": "image"})}, "source"),
    ({"messages": user({"type": "image", "source": {"type": "url", "url": "u"}})}, "source"),
    ({"messages": user(image(media_type="image/tiff", data="aa"))}, "media_type"),
    ({"messages": user(image(data=""))}, "data"),
    ({"messages": user(image(data="äöü"))}, "base64"),
    ({"messages": user(image(data="\niVBORw0KGgo"))}, "base64"),
    ({"messages": user(image(data="aGVsbG8="))}, "image"),
    ({"messages": user(image(data="A" * 5_000_004))}, "5000004"),
    ({"messages": user(*[image(data="aa")] * 101)}, "101 images"),
    ({"messages": [USER], "instruction": 5}, "instruction"),
    ({"messages": [USER], "max_tokens": 0}, "max_tokens"),
    ({"messages": [USER], "max_tokens": True}, "max_tokens"),
    ({"messages": [USER], "temperature": 1.01}, "temperature"),
    ({"messages": [USER], "temperature": "0"}, "temperature"),
    ({"messages": [USER], "response_format": {"type": "json_object"}}, "json_schema"),
    ({"messages": [USER], "response_format": {"type": "json_schema"}}, "schema"),
    ([], "object"),
    (None, "object"),
]


def test_a_malformed_request_is_400_and_says_where(caller):
    """Each mistake is refused with the error envelope, naming the place; nothing is charged."""
    for fields, place in MISTAKES:
        assert place in error(caller.post_body(json.dumps(fields).encode()))
    for body in (b"", b"{", b"\xff\xff", b"[" * 100_000):
        assert "JSON" in error(caller.post_body(body)), body[:20]
    assert caller.gateway.billed == 0


def test_what_the_service_accepts_is_accepted(caller):
    """Same roles in a row, a last assistant turn and unknown parameters are no mistakes."""
    for fields in (
        {"messages": [USER, USER]},
        {"messages": [USER, REPLY]},
        {"messages": user({"type": "text", "text": "a"}, {"type": "text", "text": "b"})},
        {"messages": [USER], "instruction": None, "max_tokens": None, "temperature": None},
        {"messages": [USER], "temperature": 1, "top_p": 0.5, "unknown": {}},
    ):
        assert caller.post_body(json.dumps(fields).encode()).status == 200, fields


def test_images_are_of_one_of_four_formats_and_of_the_one_they_say(caller, image_block):
    """Each is read to its end; a phone's JPEG with a second picture is a JPEG."""
    picture = Image.new("RGB", (40, 20), "red")
    for name in ("PNG", "JPEG", "GIF", "WEBP"):
        block = image_block(picture, media_type=f"image/{name.lower()}", format=name)
        assert caller.text([block]) == f"(simulated) 1 image: 40x20 {name}, all red"
    file = io.BytesIO()
    picture.save(file, "MPO", save_all=True, append_images=[Image.new("RGB", (40, 20))])
    block = image_block(file.getvalue(), media_type="image/jpeg")
    assert caller.text([block]) == "(simulated) 1 image: 40x20 JPEG, all red"
    assert "JPEG" in error(caller.post([image_block(picture, format="JPEG")]))
    assert error(caller.post([image_block(picture, format="BMP")]))
    block = image_block(Image.effect_noise((200, 200), 90))
    block["source"]["data"] = block["source"]["data"][:4000]
    assert "damaged" in error(caller.post([block]))


def test_sides_and_bodies_are_bounded_before_pixels_are_read(caller, image_block):
    """8000 pixels, and 2000 among more than 20 images, of all messages together; 32 MB of JSON."""
    assert caller.post([image_block(Image.new("1", (8000, 2)))]).status == 200
    assert "2x8001" in error(caller.post([image_block(Image.new("1", (2, 8001)))]))
    wide, small = image_block(Image.new("1", (2001, 1))), image_block(Image.new("1", (1, 1)))
    assert caller.post([wide, *[small] * 19]).status == 200
    assert caller.post([wide, *[small] * 20]).status == 400
    assert caller.post_body(b" " * 32_000_001).status == 413


# Whatever JSON or bytes a client sends, the gateway answers, and never raises

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
words = "type text image source data role user content object array string integer number $ref #"
names = st.sampled_from([*words.split(), "properties", "required", "items", "anyOf", "minimum"])
anything = st.recursive(
    leaves | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner),
    max_leaves=12,
)
blocks = st.fixed_dictionaries({}, optional={"type": names, "text": names, "source": anything})
bodies = st.fixed_dictionaries(
    {"messages": st.just([USER]) | st.lists(blocks, max_size=2).map(lambda b: user(*b)) | anything},
    optional={
        "max_tokens": st.just(5) | anything,
        "temperature": anything,
        "response_format": st.fixed_dictionaries({"type": st.just("json_schema")}, optional={
            "schema": st.dictionaries(names, anything) | anything,
        }) | anything,
    },
)  # fmt: skip


def answered(body: bytes, version: str = "v1") -> Any:
    """Post `body`, and check what holds for every answer."""
    gateway, headers = Gateway(), {"x-api-key": "k", "content-type": "application/json"}
    answer = gateway.handle(SimRequest("POST", f"/{version}/claude-4-sonnet", headers, body))
    content = json.loads(answer.body)
    assert answer.status in (200, 400)
    if answer.status == 400:
        assert list(content) == ["error"]
        assert gateway.billed == 0
    return content


@given(bodies, st.sampled_from(["v1", "v2"]), st.binary())
def test_any_json_and_any_bytes_get_a_json_answer(body, version, garbage):
    """Bodies that are nearly right, and some that are nothing like it, get 200 or 400."""
    answered(json.dumps(body).encode(), version)
    assert "error" in answered(garbage)
