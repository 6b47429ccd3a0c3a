"""A model call's body, read and refused as the service does it."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from segmind_jupyter.simulator.pictures import Picture, look
from segmind_jupyter.simulator.protocol import Refusal

#: Anthropic's vision page: images in one request, the longest side of each in pixels, which
#: shrinks when there are many, and the most bytes of one in base64 ("5 MB", read on the safe side).
MAX_IMAGES, MANY_IMAGES = 100, 20
MAX_SIDE_PX, MAX_SIDE_OF_MANY_PX = 8000, 2000
MAX_BASE64_BYTES = 5_000_000

#: Tokens of a reply where the request does not say.
DEFAULT_MAX_TOKENS = 4096

#: Media types that Claude models take, and what Pillow calls them.
_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP"}

#: How much of a text an outline keeps.
_OUTLINED_CHARS = 500


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: who speaks, its texts, its images, each in the order sent."""

    role: str
    texts: tuple[str, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A body that the service would accept, and what the history keeps of it."""

    turns: tuple[Turn, ...]
    instruction: str
    max_tokens: int
    schema: dict[str, Any] | None
    outline: dict[str, Any] = field(repr=False)

    @property
    def asked(self) -> Turn:
        """The user's last message."""
        return next(turn for turn in reversed(self.turns) if turn.role == "user")

    @property
    def prompt(self) -> str:
        """The user's last words, in one piece."""
        return "".join(self.asked.texts).lstrip()


#: Parameters that are checked: what fits, and what to say else.
_PARAMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (lambda v: type(v) in (int, float) and 0 <= v <= 1, "a number from 0 to 1"),
    "instruction": (lambda v: isinstance(v, str), "a string"),
    "max_tokens": (lambda v: type(v) is int and v > 0, "a whole number of at least 1"),
}


def read_chat(body: bytes) -> ChatRequest:
    """Read the body of a v1 or v2 model call."""
    try:
        fields = json.loads(body)
        outline = json.loads(body, object_hook=_outlined)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is not valid JSON") from error
    if not isinstance(fields, dict):
        _refuse("the body must be a JSON object")
    for name, (fits, must) in _PARAMS.items():
        if fields.get(name) is not None and not fits(fields[name]):
            _refuse(f"{name}: must be {must}")
    turns, schema = _turns(fields.get("messages")), None
    if (form := fields.get("response_format")) is not None:
        if not isinstance(form, dict) or form.get("type") != "json_schema":
            _refuse("response_format: Claude models accept the type json_schema only")
        # Both forms are in use: the schema under ``json_schema.schema``, or right there.
        inner = form.get("json_schema")
        schema = (inner if isinstance(inner, dict) else form).get("schema")
        if not isinstance(schema, dict):
            _refuse("response_format: holds no schema")
    max_tokens = fields.get("max_tokens") or DEFAULT_MAX_TOKENS
    return ChatRequest(turns, fields.get("instruction") or "", max_tokens, schema, outline)


def _refuse(message: str) -> NoReturn:
    raise Refusal(400, message)


def _outlined(part: dict[str, Any]) -> dict[str, Any]:
    """Return an object of a request with the size in place of a long text's rest."""
    return {
        name: f"{value[:_OUTLINED_CHARS]}… ({len(value)} characters)"
        if isinstance(value, str) and len(value) > _OUTLINED_CHARS
        else value
        for name, value in part.items()
    }


def _turns(messages: object) -> tuple[Turn, ...]:
    """Read and decode the messages, refusing what is wrong with the first that is."""
    if not isinstance(messages, list) or not messages:
        _refuse("messages: must be a list of at least one message")
    spoken: list[tuple[str, list[Any]]] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            _refuse(f"{where}.role: must be user or assistant")
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, list) or not content:
            _refuse(f"{where}.content: must be a string or a list of at least one block")
        spoken.append((message["role"], content))
    if spoken[0][0] != "user":
        _refuse("messages.0: the first message must be the user's")
    blocks = [block for _, content in spoken for block in content]
    images = sum(isinstance(block, dict) and block.get("type") == "image" for block in blocks)
    if images > MAX_IMAGES:
        _refuse(f"messages: {images} images, at most {MAX_IMAGES} in one request")
    side_px = MAX_SIDE_OF_MANY_PX if images > MANY_IMAGES else MAX_SIDE_PX
    turns = []
    for index, (role, content) in enumerate(spoken):
        texts, pictures = [], []
        for number, block in enumerate(content):
            place = f"messages.{index}.content.{number}"
            match block:
                case {"type": "text", "text": str(text)} if text.strip():
                    texts.append(text)
                case {"type": "text"}:
                    _refuse(f"{place}: text content blocks must contain non-whitespace text")
                case {"type": "image", **rest}:
                    pictures.append(_picture(rest.get("source"), side_px, f"{place}.image"))
                case _:
                    _refuse(f"{place}: must be a text or an image block")
        turns.append(Turn(role, tuple(texts), tuple(pictures)))
    return tuple(turns)


def _picture(source: object, max_side_px: int, where: str) -> Picture:
    """Decode the ``source`` of an image block, and look at it."""
    from PIL import Image

    if not isinstance(source, dict) or source.get("type") != "base64":
        _refuse(f"{where}.source: must be an object of type base64")
    media_type, data = source.get("media_type"), source.get("data")
    if not isinstance(media_type, str) or media_type not in _FORMATS:
        _refuse(f"{where}.source.media_type: must be one of {', '.join(_FORMATS)}")
    if not isinstance(data, str) or not data:
        _refuse(f"{where}.source.data: must be a non-empty string")
    if len(data) > MAX_BASE64_BYTES:
        _refuse(f"{where}: {len(data)} bytes of base64, at most {MAX_BASE64_BYTES}")
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise Refusal(400, f"{where}.source.data: not valid base64") from error
    try:  # the header alone: a small file can hold more pixels than there is memory for
        image = Image.open(io.BytesIO(content), formats=list(_FORMATS.values()))
    except Exception as error:  # decoders raise many kinds for what is no image
        raise Refusal(400, f"{where}: could not be read as an image") from error
    # Phones write JPEGs with a second picture inside, which Pillow names MPO.
    name = "JPEG" if image.format == "MPO" else str(image.format)
    if name != _FORMATS[media_type]:
        _refuse(f"{where}: said to be {media_type}, but is {name}")
    if max(image.size) > max_side_px:
        size = f"{image.width}x{image.height}"
        _refuse(f"{where}: {size} pixels, at most {max_side_px} a side")
    try:
        return look(image, name)
    except Exception as error:
        raise Refusal(400, f"{where}: is damaged or incomplete") from error
