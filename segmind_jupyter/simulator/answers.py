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
from urllib.parse import unquote

from segmind_jupyter.simulator.protocol import Refusal
from segmind_jupyter.simulator.requests import ChatRequest

#: How a simulated reply begins, so that nobody takes it for a model's.
MARK = "(simulated)"

#: A rule of thumb for English: characters a token.
_CHARS_PER_TOKEN = 4

#: One token for each square of this side that an image begins (Anthropic's vision page).
_PATCH_PX = 28

#: Tokens of the frame around a request, and around each message.
_FRAME_TOKENS = 3

#: Dollars a million tokens, in and out: Anthropic's list prices, Sonnet's where a slug is unknown.
_PRICES = {"opus-4.7": (5.0, 25.0), "opus": (15.0, 75.0), "haiku": (0.25, 1.25)}
_SONNET_PRICE = (3.0, 15.0)


def failure(chat: ChatRequest) -> str | None:
    """Return the reason for which this request fails; `None` where it does not."""
    if not chat.prompt.startswith("fail:"):
        return None
    return chat.prompt.removeprefix("fail:").strip() or "the request was blocked"


def compose(chat: ChatRequest, *, slug: str, talks: bool = False) -> dict[str, Any]:
    """Make the v1 answer's body, in the shape of the model pages."""
    text, stop_reason = _text(chat, talks=talks), "end_turn"
    if chat.prompt.startswith("refuse:"):
        text, stop_reason = "", "refusal"
    elif _tokens(text) > chat.max_tokens:
        text, stop_reason = text[: chat.max_tokens * _CHARS_PER_TOKEN], "max_tokens"
    declined = stop_reason == "refusal"
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "content": [] if declined else [{"type": "text", "text": text}],
        "model": slug,
        "stop_reason": stop_reason,
        "usage": {"input_tokens": _input_tokens(chat), "output_tokens": max(1, _tokens(text))},
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


def _input_tokens(chat: ChatRequest) -> int:
    texts = [chat.instruction, *(text for turn in chat.turns for text in turn.texts)]
    pictures = [picture for turn in chat.turns for picture in turn.pictures]
    patches = sum(-(-p.width // _PATCH_PX) * -(-p.height // _PATCH_PX) for p in pictures)
    frames = _FRAME_TOKENS * (1 + len(chat.turns))
    return sum(_tokens(text) for text in texts) + patches + frames


def _text(chat: ChatRequest, *, talks: bool) -> str:
    if chat.prompt.startswith("echo:"):
        rest = chat.prompt.removeprefix("echo:")
        # The one space or line break that sets the words off is none of them.
        return rest[1:] if rest[:1] in (" ", "\n") else rest
    if chat.schema is not None:
        try:
            return json.dumps(fill(chat.schema, about=_alt_text(chat)))
        except RecursionError as error:
            raise Refusal(400, "response_format: the schema is nested too deeply") from error
    return "\n\n".join([f"{MARK} {_arrived(chat)}", *(_talk(chat) if talks else ())])


def _arrived(chat: ChatRequest) -> str:
    """Say what arrived: "1 image: 800x400 PNG, all red; text of 12 words; 3 turns"."""
    words = sum(len(text.split()) for text in chat.asked.texts)
    instruction = len(chat.instruction.split())
    pictures = "; ".join(str(picture) for picture in chat.asked.pictures)
    said = [
        pictures and f"{_counted(len(chat.asked.pictures), 'image')}: {pictures}",
        words and f"text of {_counted(words, 'word')}",
        instruction and f"instruction of {_counted(instruction, 'word')}",
        len(chat.turns) > 1 and f"{len(chat.turns)} turns",
    ]
    return "; ".join(str(part) for part in said if part)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _talk(chat: ChatRequest) -> list[str]:
    """Go on as a model would: about the pictures, an error, code, maths, an alternative text."""
    words = chat.prompt.lower()
    said: list[str] = []
    if chat.asked.pictures:
        said.append(_of_pictures(chat))
    if re.search(r"\balt(ernative)?[ -]texts?\b|colou?r-?blind|screen reader", words):
        said.append(f"**Alternative text:** {_alt_text(chat)}")
    if failed := re.findall(r"^-+> ?\d+ (.+)$", chat.prompt, re.MULTILINE):
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


def _of_pictures(chat: ChatRequest) -> str:
    rows = ["| image | size | colours | lines |", "| --- | --- | --- | --- |"]
    for number, picture in enumerate(chat.asked.pictures, 1):
        lines = "; ".join(f"{name} {course}" for name, course in picture.lines) or "none followed"
        rows.append(
            f"| {number} | {picture.width} × {picture.height} | {picture.colours} | {lines} |"
        )
    courses = [f"the {n} line **{c}**" for p in chat.asked.pictures for n, c in p.lines]
    lead = f"From left to right, {', and '.join(courses[:3])}." if courses else "What can be seen:"
    return f"{lead}\n\n" + "\n".join(rows)


def _alt_text(chat: ChatRequest) -> str:
    """Describe the pictures in a sentence, as an alternative text would."""
    if not chat.asked.pictures:
        return MARK
    picture = chat.asked.pictures[0]
    courses = "; ".join(f"the {name} line {course}" for name, course in picture.lines)
    size = f"{picture.width} by {picture.height} pixels"
    return f"{MARK} A picture of {size}, {picture.colours}{f': {courses}' if courses else ''}."


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


def fill(schema: object, *, about: str = MARK) -> object:
    """Return a value that conforms to `schema`: the same one each time; strings say `about`."""
    return _Filling(schema, about).value(schema, depth=0)


class _Filling:
    """One value in the making: the whole schema, for references, and what may still be made."""

    def __init__(self, root: object, about: str) -> None:
        self._root, self._about = root, about
        self._left = _MAX_VALUES

    def value(self, schema: object, *, depth: int) -> object:
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            raise _refusal("asks for too many values, or for endless ones")
        rules = self._flat(_rules(schema), depth)
        if "const" in rules:
            return rules["const"]
        if options := _list(rules, "enum"):
            return options[0]
        kind = rules.get("type")
        if isinstance(kind, list) and kind:
            kind = kind[0]
        if kind is None:
            is_object = "properties" in rules or "required" in rules
            kind = "object" if is_object else "array" if "items" in rules else "string"
        match kind:
            case "object":
                known = rules.get("properties")
                known = known if isinstance(known, dict) else {}
                names = [name for name in _list(rules, "required") if isinstance(name, str)]
                return {name: self.value(known.get(name, {}), depth=depth + 1) for name in names}
            case "array":
                fewest = int(_bound(rules, "minItems", 0))
                wanted = max(fewest, 1 if "items" in rules and depth < _ITEM_DEPTH else 0)
                count = min(wanted, max(fewest, int(_bound(rules, "maxItems", wanted))))
                return [self.value(rules.get("items", {}), depth=depth + 1) for _ in range(count)]
            case "integer" | "number":
                return _number(rules, whole=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
            case "string":
                return self._string(rules)
        raise _refusal("names an unknown type")

    def _flat(self, rules: dict[str, Any], depth: int) -> dict[str, Any]:
        """Follow references, and join combinations, until plain rules are left."""
        for _ in range(_MAX_DEPTH - depth + 1):
            if "$ref" in rules:
                rules = _rules(self._referred(rules["$ref"]))
                continue
            key = next((key for key in ("anyOf", "oneOf", "allOf") if _list(rules, key)), None)
            if key is None:
                return rules
            options = _list(rules, key)
            rules = {name: rule for name, rule in rules.items() if name != key}
            for option in options if key == "allOf" else options[:1]:
                more = _rules(option)
                rules = _merged(
                    rules, _rules(self._referred(more["$ref"])) if "$ref" in more else more
                )
        raise _refusal("asks for too many values, or for endless ones")

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

    def _string(self, rules: dict[str, Any]) -> str:
        fewest = int(_bound(rules, "minLength", 0))
        most = int(_bound(rules, "maxLength", _MAX_CHARS))
        if not fewest <= most or fewest > _MAX_CHARS:
            raise _refusal(f"asks for a string of {fewest} to {most} characters")
        text = _STRINGS.get(str(rules.get("format")), self._about)
        return text.ljust(fewest, ".")[: max(most, 0)]


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


def _bound(rules: dict[str, Any], key: str, default: float) -> float:
    """Return a bound of a schema; one beyond 1e15 counts as none."""
    value = rules.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return default
    return value if abs(value) < 1e15 else default


def _number(rules: dict[str, Any], *, whole: bool) -> float:
    """Return the plainest number within the bounds that a schema sets."""
    low, high = _bound(rules, "minimum", -math.inf), _bound(rules, "maximum", math.inf)
    above = _bound(rules, "exclusiveMinimum", -math.inf)
    below = _bound(rules, "exclusiveMaximum", math.inf)
    step = _bound(rules, "multipleOf", 0)
    step = step if step > 1e-9 else 0  # one too fine for floating-point numbers counts as none
    stride = step or 1
    candidates: list[float] = [1, 0, stride]
    for edge, way in ((max(low, above), 1), (min(high, below), -1)):
        if math.isfinite(edge):
            first = way * math.ceil(way * edge / stride) * stride
            candidates += [edge, edge + way, first, first + way * stride]
    if math.isfinite(max(low, above) + min(high, below)):
        candidates.append((max(low, above) + min(high, below)) / 2)
    for number in candidates:
        fits = low <= number <= high and above < number < below
        fits &= not whole or number == int(number)
        if fits and (not step or math.isclose(number / step, round(number / step), abs_tol=1e-9)):
            return int(number) if number == int(number) else number
    raise _refusal("has bounds that no simple number satisfies")
