"""What the simulated model says, and what it costs: the same for the same request.

The reply begins with what really arrived. Ways to get something else, for demonstrations and
tests: a prompt that begins with ``echo:`` is answered with the rest of it, one that begins with
``fail:`` fails with the rest as the reason, ``refuse:`` declines as Claude does, and
``response_format`` is answered with JSON that conforms to its schema.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from typing import Any
from zlib import crc32

from segmind_jupyter.simulator.protocol import Refusal
from segmind_jupyter.simulator.requests import ChatRequest

#: How a simulated reply begins, so that nobody takes it for a model's.
MARK = "(simulated)"

#: Characters a token (a rule of thumb for English); the square of an image that is one token
#: (Anthropic's vision page); tokens of the frame around a request, and around each message.
_CHARS_PER_TOKEN = 4
_PATCH_PX = 28
_FRAME_TOKENS = 3

#: Dollars a million tokens, in and out: Anthropic's list prices, Sonnet's where a slug is unknown.
_PRICES = {"opus-4.7": (5.0, 25.0), "opus": (15.0, 75.0), "haiku": (0.25, 1.25)}
_SONNET_PRICE = (3.0, 15.0)


def failure(chat: ChatRequest) -> str | None:
    """Return the reason for which this request fails; `None` where it does not."""
    if not chat.prompt.startswith("fail:"):
        return None
    return chat.prompt.removeprefix("fail:").strip() or "the request was blocked"


def compose(
    chat: ChatRequest, *, slug: str, talks: bool = False, declines: bool = False
) -> dict[str, Any]:
    """Make the v1 answer's body, in the shape of the model pages."""
    text, stop_reason = _text(chat, talks=talks), "end_turn"
    if declines or chat.prompt.startswith("refuse:"):
        text, stop_reason = "", "refusal"
    elif _tokens(text) > chat.max_tokens:
        text, stop_reason = text[: chat.max_tokens * _CHARS_PER_TOKEN], "max_tokens"
    sent = [_FRAME_TOKENS + _tokens(chat.instruction)]
    for turn in chat.turns:
        patches = (-(-p.width // _PATCH_PX) * -(-p.height // _PATCH_PX) for p in turn.pictures)
        sent.append(_FRAME_TOKENS + sum(map(_tokens, turn.texts)) + sum(patches))
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "content": [] if stop_reason == "refusal" else [{"type": "text", "text": text}],
        "model": slug,
        "stop_reason": stop_reason,
        "usage": {"input_tokens": sum(sent), "output_tokens": max(1, _tokens(text))},
        "simulated": True,
    }


def cost(answer: dict[str, Any]) -> float:
    """Return the dollars that `answer` costs, from its model and its ``usage``."""
    slug, usage = answer["model"], answer["usage"]
    price_in, price_out = next((p for part, p in _PRICES.items() if part in slug), _SONNET_PRICE)
    dollars = usage["input_tokens"] * price_in + usage["output_tokens"] * price_out
    return float(dollars / 1_000_000)


def _tokens(text: str) -> int:
    return -(-len(text) // _CHARS_PER_TOKEN)


def _text(chat: ChatRequest, *, talks: bool) -> str:
    """Say what arrived: "1 image: 800x400 PNG, all red; text of 12 words; 3 turns", and more."""
    if chat.prompt.startswith("echo:"):
        rest = chat.prompt.removeprefix("echo:")
        # The one space or line break that sets the words off is none of them.
        return rest[1:] if rest[:1] in (" ", "\n") else rest
    if chat.schema is not None:
        turn = crc32(chat.prompt.encode()) if talks else 0
        return json.dumps(fill(chat.schema, about=_alt_text(chat), turn=turn))
    pictures = chat.asked.pictures
    said = []
    if pictures:
        said.append(f"{_counted(len(pictures), 'image')}: {'; '.join(map(str, pictures))}")
    if words := sum(len(text.split()) for text in chat.asked.texts):
        said.append(f"text of {_counted(words, 'word')}")
    if instruction := len(chat.instruction.split()):
        said.append(f"instruction of {_counted(instruction, 'word')}")
    if len(chat.turns) > 1:
        said.append(f"{len(chat.turns)} turns")
    return "\n\n".join([f"{MARK} {'; '.join(said)}", *(_talk(chat) if talks else ())])


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _talk(chat: ChatRequest) -> list[str]:
    """Go on as a model would: about the pictures, an error, code, maths, an alternative text."""
    words = chat.prompt.lower()
    said: list[str] = []
    if chat.asked.pictures:
        courses: list[str] = []
        rows = ["| image | size | colours | lines |", "| --- | --- | --- | --- |"]
        for number, p in enumerate(chat.asked.pictures, 1):
            courses += [f"the {name} line **{course}**" for name, course in p.lines]
            lines = "; ".join(f"{name} {course}" for name, course in p.lines) or "none followed"
            rows.append(f"| {number} | {p.width} × {p.height} | {p.colours} | {lines} |")
        followed = f"{', and '.join(courses[:3])}." if courses else "what can be seen:"
        said += [followed[0].upper() + followed[1:], "\n".join(rows)]
    if re.search(r"\balt(ernative)?[ -]texts?\b|colou?r-?blind|screen reader", words):
        said.append(f"**Alternative text:** {_alt_text(chat)}")
    if failed := re.findall(r"^-+> *\d+ (.+)$", chat.prompt, re.MULTILINE):
        error = re.findall(r"^(\w*(?:Error|Exception)): (.+)$", chat.prompt, re.MULTILINE)
        name, reason = error[-1] if error else ("The error", "see the traceback")
        said.append(
            f"The line that failed is `{failed[-1].strip()}`.\\\n**{name}**: {reason}\n\n"
            "Look at the values on that line first: one of them is not what the line expects."
        )
    if re.search(r"\b(code|function|script|snippet|python)\b", words):
        said.append(
            "```python\nimport pandas as pd\n\n\n"
            "def rolling_mean(values: pd.Series, window: int = 12) -> pd.Series:\n"
            '    """Smooth a series; the first values use what there is."""\n'
            "    return values.rolling(window, min_periods=1).mean()\n```"
        )
    if re.search(r"\b(equations?|formulas?|maths?|derive|integral)\b", words):
        said.append(
            "The slope of a straight line through the points is\n\n"
            "$$\\hat{b} = \\frac{\\sum_i (x_i - \\bar{x})(y_i - \\bar{y})}"
            "{\\sum_i (x_i - \\bar{x})^2}$$"
        )
    return said


def _alt_text(chat: ChatRequest) -> str:
    """Describe the pictures in a sentence, as an alternative text would."""
    if not chat.asked.pictures:
        return MARK
    picture = chat.asked.pictures[0]
    courses = "; ".join(f"the {name} line {course}" for name, course in picture.lines)
    size = f"{picture.width} by {picture.height} pixels"
    return f"{MARK} A picture of {size}, {picture.colours}{f': {courses}' if courses else ''}."


#: A schema is a client's input: these bound what it can ask for.
_MAX_ITEMS, _MAX_DEPTH, _MAX_CHARS = 100, 40, 10_000

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


def fill(schema: object, *, about: str = MARK, turn: int = 0) -> object:
    """Return a value that conforms to `schema`: strings say `about`, `turn` makes the choices."""
    try:
        return _value(schema, schema, about, turn, 0)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        raise Refusal(
            400, "response_format: no value conforms to the schema, or none of a sensible size"
        ) from None


def _value(schema: Any, root: Any, about: str, turn: int, depth: int) -> object:
    rules = _rules(schema, root, depth)
    if "const" in rules:
        return rules["const"]
    if "enum" in rules:
        return rules["enum"][turn % len(rules["enum"])]
    is_object = "properties" in rules or "required" in rules
    implied = "object" if is_object else "array" if "items" in rules else "string"
    kind = rules.get("type", implied)
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            known, names = rules.get("properties", {}), rules.get("required", ())
            return {n: _value(known.get(n, True), root, about, turn, depth + 1) for n in names}
        case "array":
            wanted = 1 if "items" in rules and depth < _ITEM_DEPTH else 0
            count = int(min(max(wanted, rules.get("minItems", 0)), rules.get("maxItems", math.inf)))
            if count > _MAX_ITEMS:
                raise ValueError("too many items")
            item = _value(rules.get("items", True), root, about, turn, depth + 1) if count else None
            return [item] * count
        case "string":
            text = _STRINGS.get(str(rules.get("format")), about)
            padded = text.ljust(min(rules.get("minLength", 0), _MAX_CHARS), ".")
            return padded[: rules.get("maxLength")]
        case "integer" | "number" as name:
            return _number(rules, whole=name == "integer")
        case "boolean":
            return (turn >> 4) % 2 == 0
        case "null":
            return None
    raise ValueError(kind)


def _rules(schema: Any, root: Any, depth: int) -> dict[str, Any]:
    """Follow references, and join combinations, until plain rules are left."""
    if depth > _MAX_DEPTH:
        raise ValueError("endless")
    if schema is True:
        return {}
    if "$ref" in schema:  # into the schema itself: ``#/$defs/Point``
        place, (first, *steps) = root, schema["$ref"].split("/")
        if first != "#":
            raise LookupError(schema["$ref"])
        for step in steps:
            place = place[step]
        return _rules(place, root, depth + 1)
    rules = dict(schema)
    several = (*schema.get("anyOf", [])[:1], *schema.get("oneOf", [])[:1])
    for option in (*several, *schema.get("allOf", [])):
        rules |= _rules(option, root, depth + 1)
    return rules


def _number(rules: dict[str, Any], *, whole: bool) -> float:
    """Return the plainest number within the bounds that a schema sets."""
    low, high = rules.get("minimum", -math.inf), rules.get("maximum", math.inf)
    above = rules.get("exclusiveMinimum", -math.inf)
    below = rules.get("exclusiveMaximum", math.inf)
    least, most = max(low, above), min(high, below)
    for number in (1, 0, least, least // 1 + 1, most, most // 1, most // 1 - 1, (least + most) / 2):
        if low <= number <= high and above < number < below and math.isfinite(number):
            if number == int(number):
                return int(number)
            if not whole:
                return float(number)
    raise ValueError("bounds that no simple number satisfies")
