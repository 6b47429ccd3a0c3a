"""Request bodies, replies, and what they took: pure building and parsing, nothing is sent here."""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.errors import ContentError, ReplyError, SettingsError, shortened
from segmind_jupyter.words import to_text

if TYPE_CHECKING:
    from segmind_jupyter.api.settings import Secret


#: A content block or a message, as it goes over the wire.
Block = dict[str, Any]
Message = dict[str, Any]

#: Anthropic's bound for one request (its page on limits).
MAX_REQUEST_BYTES: Final = 32_000_000


def encoded(body: dict[str, Any], *, api_key: Secret | None) -> bytes:
    """Encode a request body, and refuse one that cannot or must not be sent."""
    text = json.dumps(body, ensure_ascii=True, separators=(",", ":"))
    if len(text) > MAX_REQUEST_BYTES:
        raise ContentError(
            f"The request has {len(text) / 1e6:.0f} MB; the model takes "
            f"{MAX_REQUEST_BYTES / 1e6:.0f} MB. Send fewer or smaller images."
        )
    if api_key is not None and api_key.is_in(text):
        raise ContentError(
            "The prompt holds your API key, so it was not sent. Take the key out of what you "
            "name in the prompt."
        )
    return text.encode("ascii")


def request_body(
    messages: Sequence[Message], *, instruction: str | None = None, **params: Any
) -> dict[str, Any]:
    """Build the body that v1 and v2 share (Segmind's pages of the Claude models)."""
    if not messages:
        raise ContentError("There are no messages to send. Give at least one of the user's.")
    body: dict[str, Any] = {**checked_json(params), "messages": list(messages)}
    if instruction:
        body["instruction"] = instruction
    return body


def checked_json(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return model parameters if they can be sent."""
    if params.get("stream"):
        raise SettingsError("Segmind does not stream replies. Leave `stream` out.")
    for name, value in params.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise SettingsError(
                f"The parameter {name}={shortened(repr(value))} is no JSON value."
            ) from None
    return params


def user_message(blocks: Iterable[Block]) -> Message:
    """Wrap content blocks as what the user says."""
    return {"role": "user", "content": list(blocks)}


@dataclass(frozen=True, kw_only=True)
class Call:
    """What one call sends, by v1 or v2."""

    model: str
    messages: Sequence[Message] = field(default=(), repr=False)
    instruction: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The whole body, as it goes over the wire."""
        return request_body(self.messages, instruction=self.instruction, **self.params)

    @cached_property
    def digest(self) -> bytes:
        """A hash of all that is sent; equal calls have equal ones."""
        import hashlib

        text = json.dumps([self.model, self.body], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).digest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call; `None` where the server did not say. `input_tokens` is without caches."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None

    @property
    def total_tokens(self) -> int | None:
        """All together, or `None` if nothing is known."""
        known = [n for n in asdict(self).values() if n is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A fenced block of a reply."""

    language: str
    code: str


_FENCE: Final = re.compile(r"([ \t]*)(`{3,}(?=[^`]*$)|~{3,})(.*)", re.DOTALL)

#: Why a model stops when its prompt and its reply together fill what it can look at.
_WINDOW_FULL: Final = "model_context_window_exceeded"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the model answered, with what it took.

    Parameters
    ----------
    text
        The answer, as Markdown. Untrusted: never display it as HTML or Markdown yourself.
    usage
        Tokens in and out.
    stop_reason
        Why the model stopped: ``"end_turn"``, ``"max_tokens"``, ...
    model, id, request_id
        The slug that answered, the server's id of the message, the gateway's of the request.
    cost, remaining_credits
        In Segmind credits, where the server told.
    elapsed_s
        Seconds from sending to the whole answer.
    cached_at
        Unix time at which it was kept, where it was asked for before: the other figures are those
        of then, and nothing was billed again. `None` where it was asked for now.
    answered_at
        Unix time at which it was read, or `None`.
    raw
        The server's JSON, untouched.
    request
        What was asked (`segmind_jupyter.request.Request`), attached by whoever asked.
    """

    text: str
    usage: Usage = Usage()
    stop_reason: str | None = None
    model: str | None = None
    id: str | None = None
    cost: float | None = None
    remaining_credits: float | None = None
    elapsed_s: float | None = None
    request_id: str | None = None
    cached_at: float | None = field(default=None, compare=False)
    answered_at: float | None = field(default=None, repr=False, compare=False)
    raw: Any = field(default=None, repr=False, hash=False)
    request: Any = field(default=None, repr=False, compare=False)

    @property
    def cut(self) -> bool:
        """Whether the answer ends early: at `max_tokens`, or where the model's window is full."""
        return self.stop_reason in {"max_tokens", _WINDOW_FULL}

    @property
    def refused(self) -> bool:
        """Whether the model declined to answer."""
        return self.stop_reason == "refusal"

    @property
    def notice(self) -> str | None:
        """What is wrong with the answer, in a sentence with the way out; `None` if it is whole."""
        blank = not to_text(self.text).strip()
        so_far = "before a word came" if blank else "and the answer ends there"
        if self.refused:
            came = "Nothing came." if blank else "What came before that may be incomplete."
            return f"The model declined to answer. {came} Ask in other words, or another model."
        if self.stop_reason == _WINDOW_FULL:
            return (
                f"The model's context window is full, {so_far}. Send less: a shorter conversation, "
                "fewer or smaller objects."
            )
        if self.cut:
            return f"`max_tokens` was reached, {so_far}. Raise it with `--max-tokens`."
        why = f" (it stopped with {shortened(self.stop_reason)!r})" if self.stop_reason else ""
        if blank:
            return f"The model answered without a word of text{why}. Ask again in other words."
        if self.stop_reason not in {None, "end_turn", "stop_sequence"}:
            return f"The answer may not be whole{why}. Ask again if something is missing."
        return None

    @property
    def simulated(self) -> bool:
        """Whether the simulator answered, and no model."""
        return isinstance(self.raw, dict) and self.raw.get("simulated") is True

    @property
    def code_blocks(self) -> list[CodeBlock]:
        """The fenced blocks of the answer, in order; an open fence runs to the end."""
        found, fence, indent, code = list[CodeBlock](), "", 0, list[str]()
        for line in [*self.text.splitlines(keepends=True), ""]:
            match = _FENCE.match(line)
            ends = match and match[2].startswith(fence) and not match[3].strip()
            if not fence and match:
                indent, fence, code = len(match[1]), match[2], []
                language = (match[3].split() or [""])[0].lower()
            elif fence and (ends or not line):
                found.append(CodeBlock(language, "".join(code)))
                fence = ""
            elif fence:
                code.append(line[min(indent, len(line) - len(line.lstrip(" \t"))) :])
        return found

    def json(self) -> Any:
        """Parse the answer as JSON: the whole text, or else its first fenced block that parses.

        `ReplyError` where neither does; the reply itself is untouched.
        """
        for candidate in (self.text, *(block.code for block in self.code_blocks)):
            try:
                return json.loads(candidate)
            except (ValueError, RecursionError):
                continue
        if self.notice:
            raise ReplyError(f"The reply is no JSON. {self.notice}")
        raise ReplyError(
            f"The reply is no JSON: {shortened(self.text)!r}. Ask for JSON alone; the text is "
            "in `reply.text`."
        )

    @property
    def parsed(self) -> Any:
        """The answer as what it was asked for by `--json` or `json=`, checked.

        `ReplyError`, with this reply, where it does not fit, or no shape was asked for.
        """
        expected = getattr(self.request, "expected", None)
        if expected is None:
            raise ReplyError(
                "No JSON of one shape was asked for. `%%claude --json NAME` does so; "
                "`reply.json()` reads any JSON."
            )
        try:
            return expected.parse(self.text)
        except ReplyError as error:
            error.reply = self
            if self.notice:
                error.args = (f"{self.notice} {error}",)
            raise

    def __str__(self) -> str:
        """Return the text as it is safe to print: nothing in it steers, hides or reorders.

        One that was declined, or that holds no word, says so in brackets.
        """
        text = to_text(self.text)
        if self.notice and (self.refused or not text.strip() or self.stop_reason == _WINDOW_FULL):
            return f"{text}\n\n[{to_text(self.notice)}]".lstrip()
        return text

    def _repr_claude_(self) -> str:
        """Stand in a later prompt (`{reply}`) as the text alone."""
        return self.text


def parse_reply(
    body: Any,
    *,
    headers: Mapping[str, str] | None = None,
    request_id: str | None = None,
    model: str | None = None,
    elapsed_s: float | None = None,
    scrub: Callable[[str], str] = str,
) -> Reply:
    """Read the model's JSON, by itself (v1) or in a result (v2).

    The text is blanked out once more by `scrub`, as its parts may hold the key together.
    """
    headers = headers or {}
    metrics: Any = {}
    if isinstance(body, dict) and "output" in body:  # a result of v2: the model's own JSON
        metrics, body = body.get("metrics"), body["output"]
        if isinstance(body, str):
            with contextlib.suppress(ValueError, RecursionError):
                decoded = json.loads(body)
                # `"7"` is a reply that reads 7, and `{"a": 1}` one that is JSON: no model's answer.
                if isinstance(decoded, dict) and find_text(decoded) is not None:
                    body = decoded
    metrics = metrics if isinstance(metrics, dict) else {}
    text = find_text(body)
    if text is None:
        raise ReplyError(f"the answer holds no reply text ({shape_of(body)})")
    answer = body if isinstance(body, dict) else {}
    counts = answer["usage"] if isinstance(answer.get("usage"), dict) else {}

    def count(name: str) -> int | None:
        number = _number(counts.get(name), _MAX_TOKENS)
        return int(number) if number is not None and number >= 0 else None

    return Reply(
        text=scrub(text),
        usage=Usage(**{each.name: count(each.name) for each in fields(Usage)}),
        stop_reason=_string(answer.get("stop_reason")),
        model=_string(answer.get("model")) or model,
        id=_string(answer.get("id")),
        # What is left may be below nothing, as a team overdraws its account.
        cost=_number(headers.get("x-cost", metrics.get("cost")), _MAX_CREDITS),
        remaining_credits=_number(
            headers.get("x-remaining-credits", metrics.get("remaining_credits")), _MAX_CREDITS
        ),
        elapsed_s=elapsed_s,
        request_id=request_id or shortened(headers.get("x-request-id", "")) or None,
        answered_at=time.time(),
        raw=body,
    )


def find_text(body: Any) -> str | None:
    """Find the assistant's text: a string, or the text parts of a message's content.

    `None` where there is none; an empty string is a text (a model may have nothing to say). Other
    kinds of part (thinking, tools) are no text.
    """
    if isinstance(body, str):
        return body
    if not isinstance(body, dict) or "content" not in body:
        return None
    content = body["content"]
    if content is None and _string(body.get("stop_reason")):
        return ""  # declined, or stopped before a word came
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    parts = (p for p in content if isinstance(p, dict) and p.get("type", "text") == "text")
    return "".join(text for p in parts if isinstance(text := p.get("text"), str))


#: More than any window holds, or account; beyond it is none (and breaks tables of 64-bit numbers).
_MAX_TOKENS, _MAX_CREDITS = 1_000_000_000, 1e9


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: Any, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) <= most else None


def shape_of(body: Any) -> str:
    """Say what a body holds in place of what was looked for; its values may be long."""
    if isinstance(body, dict):
        return "keys: " + (shortened(", ".join(sorted(map(str, body))[:12])) or "none")
    return f"a JSON {type(body).__name__}"


# What calls took ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """One answered call. Tokens and cost are `None` where the server did not say."""

    model: str
    usage: Usage
    cost: float | None
    answered_at: float
    seconds: float | None
    simulated: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over some calls; `cost` is in credits, and `None` where no call came with one."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0


class Ledger:
    """The calls of this process that were answered, oldest first. Threads may share it."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        #: Some megabytes at 20,000.
        self.calls: list[AnsweredCall] = []
        #: How many calls have an unknown outcome: they may have been billed.
        self.unknown = 0
        self._lock = threading.Lock()

    def add(self, reply: Reply, *, model: str) -> None:
        """Note an answered call to `model`."""
        now, seconds = self._clock(), reply.elapsed_s
        call = AnsweredCall(model, reply.usage, reply.cost, now, seconds, reply.simulated)
        self.calls.append(call)

    def add_unknown(self) -> None:
        """Note a call whose outcome is unknown."""
        with self._lock:
            self.unknown += 1

    def by_model(self) -> dict[str, Totals]:
        """Sum all calls of each model, in the order in which the models were first used."""
        models: dict[str, list[AnsweredCall]] = {}
        for call in tuple(self.calls):
            models.setdefault(call.model, []).append(call)
        return {model: _sums(calls) for model, calls in models.items()}

    def total(self) -> Totals:
        """Sum all calls."""
        return _sums(tuple(self.calls))


def _sums(calls: Sequence[AnsweredCall]) -> Totals:
    costs = [call.cost for call in calls if call.cost is not None]
    tokens = {
        each.name: sum(getattr(call.usage, each.name) or 0 for call in calls)
        for each in fields(Usage)
    }
    return Totals(len(calls), cost=sum(costs) if costs else None, **tokens)
