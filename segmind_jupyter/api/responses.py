"""What the server sent: bounded, decoded, and with the key blanked out should it be quoted."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.api.retry import parse_retry_after
from segmind_jupyter.api.settings import nearest_model
from segmind_jupyter.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    InsufficientCreditsError,
    JobExpired,
    JobFailed,
    MaybeBilledError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    plain,
    shortened,
)

if TYPE_CHECKING:
    import httpx

#: How much of a page is searched for words, and how many of them are kept.
_MAX_PAGE_CHARS, _MAX_DETAIL_CHARS = 20_000, 2_000

#: Keys under which the gateway has been seen to put its words, in order of preference.
_DETAIL_KEYS = ("error", "message", "detail", "html-message")

_BY_STATUS: dict[int, tuple[type[APIError], str]] = {
    400: (BadRequestError, "Correct it and run it again; it was not billed."),
    401: (AuthenticationError, "Run `%segmind key` to type in a key that works."),
    403: (PermissionDeniedError, "Choose another model with `-m`, or ask your team's owner."),
    404: (NotFoundError, "See `%segmind models`."),
    406: (
        InsufficientCreditsError,
        "See `%segmind credits`, and the server's words for a limit or a refused parameter.",
    ),
    410: (APIError, "The model is retired: choose another with `-m` (`%segmind models`)."),
    422: (BadRequestError, "Correct it and run it again."),
    429: (RateLimitError, "Wait a minute, then run it again; it was not billed."),
}

_SERVER = (ServerError, "Try again in a minute.")
_REDIRECT = (
    APIError,
    "Redirects are not followed, as they could carry the key elsewhere; check SEGMIND_BASE_URL.",
)
_OTHER = (APIError, "Check the request and SEGMIND_BASE_URL.")

#: A look-up is free, and nothing of it can be corrected: what helps where a POST was refused, such
#: as another model, helps it not.
_LOOK_ADVICE = {401: _BY_STATUS[401][1], 429: "Wait a minute, then look again."}
_LOOK_LATER = "Look again in a minute."
_LOOK_BETWEEN = (
    "Nothing is lost: look again later, and check SEGMIND_BASE_URL and the network's proxy if it "
    "stays so."
)


def error_for(
    answer: Response, *, what: str, model: str | None = None, look: bool = False
) -> APIError:
    """Name the error that an HTTP answer stands for."""
    kind, advice = _kind(answer.status)
    if look:
        advice = _look_advice(answer.status, advice)
    if answer.status == 404 and model and (near := nearest_model(model)):
        advice = f"Did you mean `-m {near}`? {advice}"
    happened = _sentence(f"{what} was answered {answer.status}", answer.detail)
    return kind(f"{happened} {advice}", **_fields(answer))


def _kind(status: int) -> tuple[type[APIError], str]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return _SERVER
    return _REDIRECT if 300 <= status < 400 else _OTHER


def _look_advice(status: int, advice: str) -> str:
    if status in _LOOK_ADVICE:
        return _LOOK_ADVICE[status]
    if status >= 500:
        return _LOOK_LATER
    return advice if 300 <= status < 400 else _LOOK_BETWEEN


def maybe_billed(happened: str, answer: Response | None = None) -> MaybeBilledError:
    """Describe a POST whose outcome nobody here can know."""
    message = (
        f"{_sentence(happened, answer.detail if answer else None)} It may have been billed, so it "
        "was not sent again. `%segmind credits` shows whether your credits went down; run "
        "the cell again to retry."
    )
    return MaybeBilledError(message, **(_fields(answer) if answer else {}))


def senseless(what: str, answer: Response, why: str) -> APIError:
    """Describe a free look-up whose answer makes no sense."""
    message = f"{what} was answered {answer.status}, but {why}. Nothing is lost: look again later."
    return APIError(message, **_fields(answer))


def expired(request_id: str, detail: str | None = None) -> JobExpired:
    """Describe a job that the server does not know."""
    return JobExpired(
        f"Job {request_id} is not known at Segmind, or no longer: a result is kept for one hour, "
        "and the id must be of this account. Its reply is lost and may have been billed; run it "
        "anew if you need it.",
        request_id=request_id,
        detail=detail,
    )


def failed(request_id: str, detail: str | None) -> JobFailed:
    """Describe a job that ended as FAILED."""
    return JobFailed(
        f"{_sentence(f'Job {request_id} failed', detail)} It is not sent again by itself: correct "
        "what the server says, and run it anew.",
        request_id=request_id,
        detail=detail,
    )


def _fields(answer: Response) -> dict[str, Any]:
    return {
        "status": answer.status,
        "detail": answer.detail,
        "request_id": answer.request_id,
        "body": answer.text,
    }


def _sentence(happened: str, detail: str | None) -> str:
    text = f"{happened}: {shortened(detail)}" if detail else happened
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def detail_of(body: str) -> str | None:
    """Find the server's own words in an error body of any form that was seen, or `None`.

    An envelope (``{"error": ...}``, ``{"error": {"message": ...}}``, ``{"detail": ...}`` and
    the like), an HTML page, a list, plain text or nothing; at most 2,000 characters.
    """
    try:
        words = _words(json.loads(body))
    except (ValueError, RecursionError):
        words = _page_words(body[:_MAX_PAGE_CHARS])
    return plain(words)[:_MAX_DETAIL_CHARS] if words else None


def is_envelope(body: str | None) -> bool:
    """Give whether an error's body is of the gateway's form, and no page of somebody in between."""
    try:
        fields = json.loads(body or "", parse_int=float)  # of any number of digits
    except (ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and any(key in fields for key in _DETAIL_KEYS)


def _words(value: Any, *, depth: int = 4) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, dict) and depth:
        found = (_words(value[key], depth=depth - 1) for key in _DETAIL_KEYS if key in value)
        return next(filter(None, found), None) or _compact(value)
    return _compact(value) if value else None


def _compact(value: Any) -> str | None:
    return json.dumps(value, ensure_ascii=False, default=str) if value else None


def _page_words(page: str) -> str | None:
    """Read the title of an HTML page, or else its text. No pattern here looks ahead for its end."""
    lower = page.lower()
    start = lower.find(">", lower.find("<title")) + 1 if "<title" in lower else 0
    end = lower.find("</title", start) if start else -1
    text = page[start:end] if end >= 0 else re.sub(r"<[^<>]*>", " ", page)
    return " ".join(text.split()) or None


#: More than any answer has; what comes after it is not read.
MAX_ANSWER_BYTES: Final = 32_000_000

#: Blanks the key out of a text.
Scrub = Callable[[str], str]


class OversizedError(Exception):
    """An answer that goes on for ever, or a small one that unpacks to gigabytes."""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    text: str = field(repr=False)
    scrub: Scrub = field(repr=False)

    @property
    def request_id(self) -> str | None:
        """The gateway's id of the request."""
        return shortened(self.headers.get("x-request-id", "")) or None

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which the server wants to be asked again, where it says so."""
        return parse_retry_after(self.headers.get("retry-after"))

    @property
    def detail(self) -> str | None:
        """The server's own words about an error."""
        detail = detail_of(self.text)
        return self.scrub(detail) if detail else None

    def json(self) -> Any:
        """Parse the body."""
        try:
            return self._scrubbed(json.loads(self.text, parse_int=_whole_number))
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def _scrubbed(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, list):
            return [self._scrubbed(item) for item in value]
        if isinstance(value, dict):
            return {self.scrub(name): self._scrubbed(item) for name, item in value.items()}
        return value


def _whole_number(digits: str) -> int | float:
    """Read a JSON integer; Python refuses to convert one of thousands of digits."""
    return int(digits) if len(digits) < 100 else math.inf


async def read(response: httpx.Response, *, scrub: Scrub) -> Response:
    """Read a streamed response to its end, and close it."""
    data = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > MAX_ANSWER_BYTES:
                raise OversizedError(f"the answer is over {MAX_ANSWER_BYTES:,} bytes")
    finally:
        await response.aclose()
    headers = {name: scrub(value) for name, value in response.headers.items()}
    text = data.decode(json.detect_encoding(bytes(data)), errors="replace")
    return Response(response.status_code, headers, scrub(text), scrub)
