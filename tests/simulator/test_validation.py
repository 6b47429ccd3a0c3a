"""What the service refuses: bodies, parameters, blocks and images."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from segmind_jupyter.simulator.protocol import SimRequest

USER = {"role": "user", "content": "a"}
REPLY = {"role": "assistant", "content": "b"}


def user(*blocks: object) -> list[object]:
    return [{"role": "user", "content": list(blocks)}]


def image(**source: object) -> dict[str, object]:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", **source}}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"\xff\xff", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'{"messages": NaN}', "JSON"),
        (b'{"temperature": 1e999}', "JSON"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'"text"', "object"),
    ],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_body_that_is_no_json_object_is_400(caller, version, body, word):
    """Anything but a JSON object is refused, on both versions."""
    answer = caller.post_body(body, path=f"/{version}/claude-4-sonnet")
    assert answer.status == 400
    assert word in json.loads(answer.body)["error"]


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {"role": "user"}}, "messages"),
        ({"messages": ["hello"]}, "messages.0"),
        ({"messages": [REPLY]}, "messages.0"),
        ({"messages": [{**USER, "role": "system"}]}, "messages.0.role"),
        ({"messages": [{**USER, "role": ["user"]}]}, "messages.0.role"),
        ({"messages": [USER, {"role": "user"}]}, "messages.1.content"),
        ({"messages": [USER, {"role": "user", "content": []}]}, "messages.1.content"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": ""}]}, "non-whitespace"),
        ({"messages": user({"type": "text", "text": " \n\t"})}, "non-whitespace"),
        ({"messages": user({"type": "text"})}, "content.0.text"),
        ({"messages": user({"type": "text", "text": 3})}, "content.0.text"),
        ({"messages": user("bare")}, "content.0"),
        ({"messages": user({"type": "image_url", "image_url": {"url": "x"}})}, "content.0"),
        ({"messages": user({"type": ["text"]})}, "content.0"),
        ({"messages": user({"type": "image"})}, "source"),
        ({"messages": user({"type": "image", "source": {"type": "url", "url": "u"}})}, "source"),
        ({"messages": user(image(media_type="image/tiff", data="aa"))}, "media_type"),
        ({"messages": user(image(media_type=[], data="aa"))}, "media_type"),
        ({"messages": user(image())}, "data"),
        ({"messages": user(image(data=""))}, "data"),
        ({"messages": user(image(data="äöü"))}, "base64"),
        ({"messages": user(image(data="abc"))}, "base64"),
        ({"messages": user(image(data="iVBORw0KGgoAAAANSUhEUgA..."))}, "base64"),
        ({"messages": user(image(data="aGVsbG8="))}, "image"),
        ({"messages": user(image(data="A" * 5_000_004))}, "5000004"),
        ({"messages": user(*[image(data="aa")] * 101)}, "101 images"),
        ({"messages": [USER], "instruction": 5}, "instruction"),
        ({"messages": [USER], "max_tokens": 0}, "max_tokens"),
        ({"messages": [USER], "max_tokens": -1}, "max_tokens"),
        ({"messages": [USER], "max_tokens": 1.5}, "max_tokens"),
        ({"messages": [USER], "max_tokens": True}, "max_tokens"),
        ({"messages": [USER], "max_tokens": "9"}, "max_tokens"),
        ({"messages": [USER], "temperature": 1.01}, "temperature"),
        ({"messages": [USER], "temperature": -0.1}, "temperature"),
        ({"messages": [USER], "temperature": "0"}, "temperature"),
        ({"messages": [USER], "temperature": False}, "temperature"),
        ({"messages": [USER], "response_format": {"type": "json_object"}}, "json_schema"),
        ({"messages": [USER], "response_format": "json"}, "json_schema"),
        ({"messages": [USER], "response_format": {"type": "json_schema"}}, "schema"),
    ],
)
def test_a_malformed_request_is_400_and_says_where(caller, fields, place):
    """Each mistake is refused with the error envelope, naming the place; nothing is charged."""
    answer = caller.post_body(json.dumps(fields).encode())
    assert answer.status == 400
    assert place in json.loads(answer.body)["error"]
    assert caller.gateway.billed == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [USER]},
        {"messages": [USER, USER]},
        {"messages": [USER, REPLY, USER]},
        {"messages": [USER, REPLY]},
        {"messages": user({"type": "text", "text": "a"}, {"type": "text", "text": "b"})},
        {"messages": [USER], "instruction": ""},
        {"messages": [USER], "instruction": None, "max_tokens": None, "temperature": None},
        {"messages": [USER], "temperature": 0, "max_tokens": 1},
        {"messages": [USER], "temperature": 1, "top_p": 0.5, "unknown": {}},
    ],
)
def test_what_the_service_accepts_is_accepted(caller, fields):
    """Same roles in a row, a last assistant turn and unknown parameters are no mistakes."""
    assert caller.post_body(json.dumps(fields).encode()).status == 200


@pytest.mark.parametrize(
    ("format", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("GIF", "image/gif"), ("WEBP", "image/webp")],
)
def test_the_four_formats_are_decoded(caller, image_block, format, media_type):
    """Each of the four formats is read, and the reply names it."""
    block = image_block(Image.new("RGB", (40, 20), "red"), media_type=media_type, format=format)
    assert caller.text([block]) == f"(simulated) 1 image: 40x20 {format}, all red"


def test_an_image_of_another_format_than_it_says_is_400(caller, image_block):
    """A JPEG that is called a PNG is refused, as is a format outside the four."""
    picture = Image.new("RGB", (4, 4))
    mislabelled = caller.post([image_block(picture, media_type="image/png", format="JPEG")])
    assert mislabelled.status == 400
    assert "JPEG" in json.loads(mislabelled.body)["error"]
    assert caller.post([image_block(picture, media_type="image/png", format="BMP")]).status == 400


def test_base64_is_read_strictly(caller, image_block):
    """A line break or another stray character inside the data is refused, not skipped."""
    for stray in ("\n", " ", "!"):
        block = image_block(Image.new("RGB", (4, 4)))
        block["source"]["data"] = stray + block["source"]["data"]
        assert "base64" in json.loads(caller.post([block]).body)["error"]


def test_a_phones_jpeg_with_a_second_picture_inside_is_a_jpeg(caller, image_block):
    """Multi-picture files are JPEGs to everyone but Pillow."""
    first, second = Image.new("RGB", (40, 20), "red"), Image.new("RGB", (40, 20), "blue")
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second])
    block = image_block(file.getvalue(), media_type="image/jpeg")
    assert caller.text([block]) == "(simulated) 1 image: 40x20 JPEG, all red"


def test_a_truncated_image_is_400(caller, image_block):
    """A file whose header is whole and whose pixels are not is refused."""
    noise = Image.effect_noise((200, 200), 90)
    whole = image_block(noise)
    data = whole["source"]["data"]
    whole["source"]["data"] = data[: len(data) // 8 * 4]
    answer = caller.post([whole])
    assert answer.status == 400
    assert "damaged" in json.loads(answer.body)["error"]


def test_the_longest_side_is_8000_pixels(caller, image_block):
    """8000 pixels pass, 8001 do not."""
    assert caller.post([image_block(Image.new("1", (8000, 2)))]).status == 200
    answer = caller.post([image_block(Image.new("1", (2, 8001)))])
    assert answer.status == 400
    assert "2x8001" in json.loads(answer.body)["error"]


def test_among_many_images_the_longest_side_is_2000_pixels(caller, image_block):
    """More than 20 images in all messages together bring the limit down."""
    wide, small = image_block(Image.new("1", (2001, 1))), image_block(Image.new("1", (1, 1)))
    assert caller.post([wide, *[small] * 19]).status == 200
    assert caller.post([wide, *[small] * 20]).status == 400


def test_an_image_that_unpacks_to_too_many_pixels_is_refused_unread(caller, image_block):
    """A file of a few kilobytes that holds 100 megapixels is refused by its header."""
    block = image_block(Image.new("1", (10_000, 10_000)))
    assert len(block["source"]["data"]) < 50_000
    assert caller.post([block]).status == 400


def test_a_request_over_32_megabytes_is_413(caller):
    """The size of the whole body counts, whatever is in it."""
    assert caller.post_body(b" " * 32_000_001).status == 413
    assert caller.post_body(b" " * 32_000_000).status == 400


@pytest.mark.parametrize("content_type", ["", "text/plain", "multipart/form-data; boundary=x"])
def test_a_wrong_content_type_is_406(caller, content_type):
    """The service answers 406, not 415, to a body that is not called JSON."""
    assert caller.post("a", headers={"content-type": content_type}).status == 406


def test_the_content_type_may_have_parameters(caller):
    """Case and charset make no difference."""
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert caller.post("a", headers=headers).status == 200


def test_a_refused_key_is_told_before_a_bad_body(caller):
    """A caller without a key learns nothing about the body."""
    sent = SimRequest("POST", "/v1/claude-4-sonnet", {"content-type": "application/json"}, b"{")
    assert caller.gateway.handle(sent).status == 401
