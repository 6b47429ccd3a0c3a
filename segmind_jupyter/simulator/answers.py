"""What the simulated model says, and what it costs: the same for the same request.

The reply says what really arrived. Three ways to get something else, for demonstrations and
tests: a prompt that begins with ``echo:`` is answered with the rest of it, a prompt that begins
with ``fail:`` fails with the rest as the reason, and ``response_format`` is answered with JSON that
conforms to its schema.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from segmind_jupyter.simulator.protocol import Refusal
from segmind_jupyter.simulator.requests import ChatRequest

#: A schema is a client's input: these bound what it can ask for.
_MAX_VALUES = 2_000
_MAX_DEPTH = 40
_MAX_CHARS = 10_000

#: Arrays get one item, for the reader's sake, down to this depth; deeper ones as few as allowed,
#: so that a tree ends.
_ITEM_DEPTH = 6

_STRINGS = {
    "date": "2025-01-31",
    "date-time": "2025-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "simulated@example.com",
    "uri": "https://example.com/simulated",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_FILLER = "(simulated)"


def fill(schema: object) -> object:
    """Return a value that conforms to `schema`: the same one each time."""
    return _Filling(schema).value(schema, depth=0)


class _Filling:
    """One value in the making: the whole schema, for references, and what may still be made."""

    def __init__(self, root: object) -> None:
        self._root = root
        self._left = _MAX_VALUES

    def value(self, schema: object, *, depth: int) -> object:
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise _refusal("asks for too many values, or for endless ones")
        rules = _rules(schema)
        if "const" in rules:
            return rules["const"]
        if options := _list(rules, "enum"):
            return options[0]
        nested = self._nested(rules)
        if nested is not None:
            return self.value(nested, depth=depth + 1)
        return self._made(rules, depth=depth)

    def _nested(self, rules: dict[str, Any]) -> object:
        """Take one step through a reference or a combination; `None` where there is none."""
        if "$ref" in rules:
            return self._referred(rules["$ref"])
        rest = dict(rules)
        for key in ("anyOf", "oneOf"):
            if options := _list(rest, key):
                del rest[key]
                return _merged(rest, self._resolved(options[0]))
        if parts := _list(rest, "allOf"):
            del rest["allOf"]
            for part in parts:
                rest = _merged(rest, self._resolved(part))
            return rest
        return None

    def _resolved(self, schema: object) -> dict[str, Any]:
        rules = _rules(schema)
        return _rules(self._referred(rules["$ref"])) if "$ref" in rules else rules

    def _referred(self, reference: object) -> object:
        """Follow a reference into the schema itself: ``#/$defs/Point``."""
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise _refusal("refers to something outside itself")
        place = self._root
        for step in unquote(reference[1:]).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(place, dict) or name not in place:
                raise _refusal(f"refers to {reference[:80]}, which it does not hold")
            place = place[name]
        return place

    def _made(self, rules: dict[str, Any], *, depth: int) -> object:
        match _kind(rules):
            case "object":
                return self._object(rules, depth=depth)
            case "array":
                return self._array(rules, depth=depth)
            case "integer":
                return int(_number(rules, whole=True))
            case "number":
                return _number(rules, whole=False)
            case "boolean":
                return True
            case "null":
                return None
            case "string":
                return _string(rules)
        raise _refusal("names an unknown type")

    def _object(self, rules: dict[str, Any], *, depth: int) -> dict[str, object]:
        properties = rules.get("properties")
        known = properties if isinstance(properties, dict) else {}
        names = [name for name in _list(rules, "required") if isinstance(name, str)]
        return {name: self.value(known.get(name, {}), depth=depth + 1) for name in names}

    def _array(self, rules: dict[str, Any], *, depth: int) -> list[object]:
        fewest = int(_bound(rules, "minItems", 0))
        wanted = max(fewest, 1 if "items" in rules and depth < _ITEM_DEPTH else 0)
        count = min(wanted, max(fewest, int(_bound(rules, "maxItems", wanted))))
        return [self.value(rules.get("items", {}), depth=depth + 1) for _ in range(count)]


def _refusal(trouble: str) -> Refusal:
    return Refusal(400, f"response_format: the schema {trouble}")


def _rules(schema: object) -> dict[str, Any]:
    if schema is True:
        return {}
    if not isinstance(schema, dict):
        raise _refusal("holds a part that is no schema, or that nothing can satisfy")
    return schema


def _merged(rules: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Join two sets of rules: properties and required names of both, the rest from `more`."""
    merged = {**rules, **more}
    for key in ("properties", "required"):
        ours, theirs = rules.get(key), more.get(key)
        if isinstance(ours, dict) and isinstance(theirs, dict):
            merged[key] = {**ours, **theirs}
        elif isinstance(ours, list) and isinstance(theirs, list):
            merged[key] = [*ours, *(item for item in theirs if item not in ours)]
    return merged


def _list(rules: dict[str, Any], key: str) -> list[Any]:
    value = rules.get(key)
    return value if isinstance(value, list) else []


def _kind(rules: dict[str, Any]) -> object:
    kind = rules.get("type")
    if isinstance(kind, list) and kind:
        return kind[0]
    if kind is not None:
        return kind
    if "properties" in rules or "required" in rules:
        return "object"
    return "array" if "items" in rules else "string"


def _bound(rules: dict[str, Any], key: str, default: float) -> float:
    value = rules.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return value if abs(value) < 1e15 else default


def _string(rules: dict[str, Any]) -> str:
    fewest = int(_bound(rules, "minLength", 0))
    most = int(_bound(rules, "maxLength", _MAX_CHARS))
    if not fewest <= most or fewest > _MAX_CHARS:
        raise _refusal(f"asks for a string of {fewest} to {most} characters")
    text = _STRINGS.get(str(rules.get("format")), _FILLER)
    return text.ljust(fewest, ".")[: max(most, 0)]


def _number(rules: dict[str, Any], *, whole: bool) -> float:
    """Try the plainest candidates first; bounds beyond 1e15 count as none."""
    low = max(_bound(rules, "minimum", -math.inf), _bound(rules, "exclusiveMinimum", -math.inf))
    high = min(_bound(rules, "maximum", math.inf), _bound(rules, "exclusiveMaximum", math.inf))
    step = _step(rules) or (1 if whole else 0)
    candidates: list[float] = [1, 0]
    if math.isfinite(low):
        candidates += [low, low + 1, *_steps_from(low, step)]
    if math.isfinite(high):
        candidates += [high, high - 1, *_steps_from(high, -step)]
    if math.isfinite(low) and math.isfinite(high):
        candidates.append((low + high) / 2)
    candidates.append(step)
    for number in candidates:
        if _allowed(number, rules, whole=whole):
            return int(number) if whole or number == int(number) else number
    raise _refusal("has bounds that no simple number satisfies")


def _step(rules: dict[str, Any]) -> float:
    """Return ``multipleOf``; 0 where there is none, or one too fine for floating-point numbers."""
    step = _bound(rules, "multipleOf", 0)
    return step if step > 1e-9 else 0


def _steps_from(edge: float, step: float) -> list[float]:
    """Return the first two multiples of `step` at or beyond `edge`, in the step's direction."""
    if not step:
        return []
    first = math.ceil(edge / step) * step
    return [first, first + step]


def _allowed(number: float, rules: dict[str, Any], *, whole: bool) -> bool:
    step = _step(rules)
    return (
        number >= _bound(rules, "minimum", -math.inf)
        and number > _bound(rules, "exclusiveMinimum", -math.inf)
        and number <= _bound(rules, "maximum", math.inf)
        and number < _bound(rules, "exclusiveMaximum", math.inf)
        and (not whole or number == int(number))
        and (not step or math.isclose(number / step, round(number / step), abs_tol=1e-9))
    )


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
    """Return the reason for which this request fails; `None` where it does not."""
    if not chat.prompt.startswith(FAIL):
        return None
    return chat.prompt.removeprefix(FAIL).strip() or "the request was blocked"


def compose(chat: ChatRequest, *, slug: str, message_id: str) -> dict[str, Any]:
    """Make the v1 answer's body, in the shape of the model pages."""
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
    """Return the dollars that `answer` costs, from its ``usage``."""
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
