"""A model call's body, read and refused as the service does it."""

from __future__ import annotations

import base64
import io
import json
import math
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

#: How much of a body an outline keeps: characters of a text, and levels.
_OUTLINED_CHARS, _OUTLINED_DEPTH = 500, 20


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


def read_chat(body: bytes) -> ChatRequest:
    """Read the body of a v1 or v2 model call."""
    try:
        fields = json.loads(body, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is not valid JSON") from error
    if not isinstance(fields, dict):
        _refuse("the body must be a JSON object")
    temperature = fields.get("temperature")
    if isinstance(temperature, bool) or not isinstance(temperature, int | float | None):
        _refuse("temperature: must be a number")
    if not 0 <= (temperature or 0) <= 1:
        _refuse("temperature: must be between 0 and 1")
    instruction = fields.get("instruction")
    if not isinstance(instruction, str | None):
        _refuse("instruction: must be a string")
    max_tokens = fields.get("max_tokens")
    if max_tokens is None:
        max_tokens = DEFAULT_MAX_TOKENS
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
        _refuse("max_tokens: must be a whole number of at least 1")
    turns, schema = _turns(fields.get("messages")), None
    if (form := fields.get("response_format")) is not None:
        if not isinstance(form, dict) or form.get("type") != "json_schema":
            _refuse("response_format: Claude models accept the type json_schema only")
        # Both forms are in use: the schema under ``json_schema.schema``, or right there.
        inner = form.get("json_schema")
        schema = (inner if isinstance(inner, dict) else form).get("schema")
        if not isinstance(schema, dict):
            _refuse("response_format: holds no schema")
    return ChatRequest(turns, instruction or "", max_tokens, schema, _outline(fields))


def _refuse(message: str) -> NoReturn:
    raise Refusal(400, message)


def _finite(literal: str) -> float:
    """Read a number; `json` would let NaN, Infinity and 1e999 through."""
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal} is no JSON number")
    return number


def _outline(value: Any, depth: int = 0) -> Any:
    """Return a part of a request with the size in place of image data and of a text's rest."""
    if isinstance(value, str) and len(value) > _OUTLINED_CHARS:
        return f"{value[:_OUTLINED_CHARS]}… ({len(value)} characters)"
    if not isinstance(value, list | dict):
        return value
    if depth > _OUTLINED_DEPTH:
        return "…"
    if isinstance(value, list):
        return [_outline(item, depth + 1) for item in value]
    parts = {name: _outline(part, depth + 1) for name, part in value.items()}
    if isinstance(data := value.get("data"), str):
        parts["data"] = f"({len(data)} characters)"
    return parts


def _turns(messages: object) -> tuple[Turn, ...]:
    """Read and decode the messages, refusing what is wrong with the first that is."""
    if not isinstance(messages, list) or not messages:
        _refuse("messages: must be a list of at least one message")
    spoken: list[tuple[str, list[Any]]] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if not isinstance(message, dict):
            _refuse(f"{where}: must be an object")
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant"):
            _refuse(f"{where}.role: must be user or assistant")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, list) or not content:
            _refuse(f"{where}.content: must be a string or a list of at least one block")
        spoken.append((role, content))
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
                case {"type": "text", **rest}:
                    text = rest.get("text")
                    if not isinstance(text, str):
                        _refuse(f"{place}.text: must be a string")
                    if not text.strip():
                        _refuse(f"{place}: text content blocks must contain non-whitespace text")
                    texts.append(text)
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
