"""A model call's body, read and refused as the service does it.

Knows the rules of the two model pages and of Anthropic's messages; decides nothing about the
answer.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, NoReturn

from segmind_jupyter.simulator.pictures import Picture, read_picture
from segmind_jupyter.simulator.wire import Refusal

#: Anthropic's vision page: images in one request, and the longest side of each in pixels,
#: which shrinks when there are many.
MAX_IMAGES = 100
MANY_IMAGES = 20
MAX_SIDE_PX = 8000
MAX_SIDE_OF_MANY_PX = 2000

#: Tokens of a reply where the request does not say.
DEFAULT_MAX_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: who speaks, its texts, its images, each in the order sent."""

    role: str
    texts: tuple[str, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A body that the service would accept.

    Parameters
    ----------
    turns
        The messages; the first is the user's.
    instruction
        The system prompt; ``""`` where there is none.
    max_tokens
        Where the reply is cut.
    schema
        The JSON schema asked for by ``response_format``; `None` where there is none.
    """

    turns: tuple[Turn, ...]
    instruction: str = ""
    max_tokens: int = DEFAULT_MAX_TOKENS
    schema: object = None

    @property
    def asked(self) -> Turn:
        """The user's last message."""
        return next(turn for turn in reversed(self.turns) if turn.role == "user")

    @property
    def prompt(self) -> str:
        """The user's last words, in one piece."""
        return "".join(self.asked.texts).lstrip()


def read_chat(body: bytes) -> ChatRequest:
    """Read the body of a v1 or v2 model call.

    Raises
    ------
    Refusal
        400, saying where in the body the trouble is.
    """
    fields = _fields(body)
    _check_sampling(fields)
    return ChatRequest(
        turns=_turns(fields.get("messages")),
        instruction=_instruction(fields.get("instruction")),
        max_tokens=_max_tokens(fields.get("max_tokens")),
        schema=_schema(fields.get("response_format")),
    )


def _refuse(message: str) -> NoReturn:
    raise Refusal(400, message)


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is not valid JSON") from error
    return fields if isinstance(fields, dict) else _refuse("the body must be a JSON object")


def _finite(literal: str) -> float:
    """Read a number; `json` would let NaN, Infinity and 1e999 through."""
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal} is no JSON number")
    return number


def _check_sampling(fields: dict[str, Any]) -> None:
    temperature = fields.get("temperature")
    if temperature is None:
        return
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        _refuse("temperature: must be a number")
    if not 0 <= temperature <= 1:
        _refuse("temperature: must be between 0 and 1")


def _instruction(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _refuse("instruction: must be a string")


def _max_tokens(value: object) -> int:
    if value is None:
        return DEFAULT_MAX_TOKENS
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _refuse("max_tokens: must be a whole number of at least 1")
    return value


def _schema(value: object) -> object:
    """Find the schema in both forms in use: under ``json_schema.schema``, or right there."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("type") != "json_schema":
        _refuse("response_format: Claude models accept the type json_schema only")
    holder = value["json_schema"] if isinstance(value.get("json_schema"), dict) else value
    schema = holder.get("schema")
    return schema if isinstance(schema, dict) else _refuse("response_format: holds no schema")


def _turns(messages: object) -> tuple[Turn, ...]:
    if not isinstance(messages, list) or not messages:
        _refuse("messages: must be a list of at least one message")
    spoken = [_spoken(message, f"messages.{index}") for index, message in enumerate(messages)]
    if spoken[0][0] != "user":
        _refuse("messages.0: the first message must be the user's")
    max_side_px = _max_side_px([block for _, blocks in spoken for block in blocks])
    return tuple(
        _turn(role, blocks, where=f"messages.{index}", max_side_px=max_side_px)
        for index, (role, blocks) in enumerate(spoken)
    )


def _spoken(message: object, where: str) -> tuple[str, list[Any]]:
    if not isinstance(message, dict):
        _refuse(f"{where}: must be an object")
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant"):
        _refuse(f"{where}.role: must be user or assistant")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        _refuse(f"{where}.content: must be a string or a list of at least one block")
    return role, content


def _max_side_px(blocks: list[Any]) -> int:
    images = sum(isinstance(block, dict) and block.get("type") == "image" for block in blocks)
    if images > MAX_IMAGES:
        _refuse(f"messages: {images} images, at most {MAX_IMAGES} in one request")
    return MAX_SIDE_OF_MANY_PX if images > MANY_IMAGES else MAX_SIDE_PX


def _turn(role: str, blocks: list[Any], *, where: str, max_side_px: int) -> Turn:
    texts, pictures = [], []
    for index, block in enumerate(blocks):
        place = f"{where}.content.{index}"
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            texts.append(_text(block, where=place))
        elif kind == "image":
            picture = read_picture(block.get("source"), max_side_px=max_side_px, where=place)
            pictures.append(picture)
        else:
            _refuse(f"{place}: must be a text or an image block")
    return Turn(role, tuple(texts), tuple(pictures))


def _text(block: dict[str, Any], *, where: str) -> str:
    text = block.get("text")
    if not isinstance(text, str):
        _refuse(f"{where}.text: must be a string")
    if not text.strip():
        _refuse(f"{where}: text content blocks must contain non-whitespace text")
    return text
