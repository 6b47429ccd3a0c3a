"""What the simulated model says, and what it costs: the same for the same request.

The reply says what really arrived. Three ways to get something else, for demonstrations and
tests: a prompt that begins with ``echo:`` is answered with the rest of it, a prompt that begins
with ``fail:`` fails with the rest as the reason, and ``response_format`` is answered with JSON that
conforms to its schema.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from segmind_jupyter.simulator.chat_request import ChatRequest
from segmind_jupyter.simulator.schema import fill
from segmind_jupyter.simulator.wire import Refusal

#: How a simulated reply begins, so that nobody takes it for a model's.
MARK = "(simulated)"

ECHO = "echo:"
FAIL = "fail:"

#: A rule of thumb for English: characters a token.
_CHARS_PER_TOKEN = 4

#: One token for each square of this side that an image begins (Anthropic's vision page).
_PATCH_PX = 28

#: Tokens of the frame around a request, and around each message.
_FRAME_TOKENS = 3

#: Dollars a million tokens: Anthropic's list price for the Sonnet models.
_INPUT_PRICE, _OUTPUT_PRICE = 3.0, 15.0


def failure(chat: ChatRequest) -> str | None:
    """Give the reason for which this request fails; `None` where it does not."""
    if not chat.prompt.startswith(FAIL):
        return None
    return chat.prompt.removeprefix(FAIL).strip() or "the request was blocked"


def compose(chat: ChatRequest, *, slug: str, message_id: str) -> dict[str, Any]:
    """Make the v1 answer's body, in the shape of the model pages.

    Parameters
    ----------
    chat
        What was asked.
    slug
        The model, as the URL named it.
    message_id
        The ``id`` of the answer.

    Raises
    ------
    Refusal
        400 if a JSON schema was asked for and nothing can conform to it.
    """
    text, stop_reason = _cut(_text(chat), max_tokens=chat.max_tokens)
    return {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "model": slug,
        "stop_reason": stop_reason,
        "usage": {"input_tokens": _input_tokens(chat), "output_tokens": max(1, _tokens(text))},
        "simulated": True,
    }


def cost(answer: dict[str, Any]) -> float:
    """Give the dollars that `answer` costs, from its ``usage``."""
    usage = answer["usage"]
    dollars = usage["input_tokens"] * _INPUT_PRICE + usage["output_tokens"] * _OUTPUT_PRICE
    return float(dollars / 1_000_000)


def _text(chat: ChatRequest) -> str:
    if chat.prompt.startswith(ECHO):
        return _echoed(chat.prompt.removeprefix(ECHO))
    if chat.schema is not None:
        return _conforming(chat.schema)
    return f"{MARK} {_arrived(chat)}"


def _echoed(rest: str) -> str:
    """Drop the one space or line break that sets the words off from ``echo:``."""
    return rest[1:] if rest[:1] in (" ", "\n") else rest


def _conforming(schema: object) -> str:
    try:
        return json.dumps(fill(schema))
    except RecursionError as error:
        raise Refusal(400, "response_format: the schema is nested too deeply") from error


def _arrived(chat: ChatRequest) -> str:
    """Say what arrived: "1 image: 800x400 PNG, all red; text of 12 words; 3 turns"."""
    words = sum(len(text.split()) for text in chat.asked.texts)
    instruction = len(chat.instruction.split())
    said = [
        _listed(chat.asked.pictures),
        words and f"text of {_counted(words, 'word')}",
        instruction and f"instruction of {_counted(instruction, 'word')}",
        len(chat.turns) > 1 and f"{len(chat.turns)} turns",
    ]
    return "; ".join(str(part) for part in said if part)


def _listed(pictures: Sequence[object]) -> str:
    described = "; ".join(str(picture) for picture in pictures)
    return described and f"{_counted(len(pictures), 'image')}: {described}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _cut(text: str, *, max_tokens: int) -> tuple[str, str]:
    if _tokens(text) <= max_tokens:
        return text, "end_turn"
    return text[: max_tokens * _CHARS_PER_TOKEN], "max_tokens"


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)


def _input_tokens(chat: ChatRequest) -> int:
    texts = [chat.instruction, *(text for turn in chat.turns for text in turn.texts)]
    pictures = [picture for turn in chat.turns for picture in turn.pictures]
    patches = sum(-(-p.width // _PATCH_PX) * -(-p.height // _PATCH_PX) for p in pictures)
    frames = _FRAME_TOKENS * (1 + len(chat.turns))
    return sum(_tokens(text) for text in texts) + patches + frames
