"""What the server sent, read within bounds and with the key blanked out, and the errors it means.

A message begins with what happened and what to do next; status, path and the server's words, which
are data, come last.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.api.retry import parse_wait
from segmind_jupyter.api.settings import model_info, nearest_model
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

#: More than any answer has; what comes after it is not read.
MAX_ANSWER_BYTES: Final = 32_000_000

#: Blanks the key out of a text.
Scrub = Callable[[str], str]


class UnusableAnswer(Exception):
    """An answer that goes on for ever, unpacks to gigabytes, or is packed in an unknown way."""


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
        return shortened(self.headers.get("x-request-id", ""), scrub=self.scrub) or None

    @property
    def wait_s(self) -> float | None:
        """Seconds until the server takes requests again, where it refused one and says so."""
        if self.status not in {429, 503}:
            return None
        now = datetime.now(UTC)
        told = self.headers.get("x-rate-limit-reset-at-utc")
        if told and (date := self.headers.get("date")):
            with contextlib.suppress(ValueError, TypeError, OverflowError):
                now = parsedate_to_datetime(date).astimezone(UTC)  # by the server's own clock
        return parse_wait(told, now=now) or parse_wait(self.headers.get("retry-after"), now=now)

    @property
    def detail(self) -> str | None:
        """The server's own words about an error."""
        words = detail_of(self.text)
        return self.scrub(words)[:_MAX_DETAIL_CHARS] if words else None

    def json(self) -> Any:
        """Parse the body."""
        try:
            # Python refuses to convert integers of thousands of digits.
            body = json.loads(self.text, parse_int=lambda n: int(n) if len(n) < 100 else math.inf)
        except RecursionError:
            raise ValueError("nested too deeply") from None
        return self._scrubbed(body)

    def _scrubbed(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, list):
            return [self._scrubbed(item) for item in value]
        if isinstance(value, dict):
            return {self.scrub(name): self._scrubbed(item) for name, item in value.items()}
        return value


async def read(response: httpx.Response, *, scrub: Scrub) -> Response:
    """Read a streamed response to its end, and close it."""
    data = bytearray()
    try:
        # Not `aiter_bytes`: that unpacks each chunk whole, and codings that are stacked.
        unpack = _unpacker(response.headers.get("content-encoding", ""))
        async for chunk in response.stream:  # type: ignore[union-attr]  # an async client's
            data += unpack(chunk, MAX_ANSWER_BYTES + 1 - len(data))
            if len(data) > MAX_ANSWER_BYTES:
                raise UnusableAnswer(f"the answer is over {MAX_ANSWER_BYTES:,} bytes")
    finally:
        await response.aclose()
    headers = {name: scrub(value) for name, value in response.headers.items()}
    text = data.decode(json.detect_encoding(bytes(data)), errors="replace")
    return Response(response.status_code, headers, scrub(text), scrub)


def _unpacker(coding: str) -> Callable[[bytes, int], bytes]:
    """Return what unpacks the next chunk of a body, to so many bytes at most."""
    coding = coding.strip().lower()
    if coding in {"", "identity"}:
        return lambda chunk, most: chunk
    if coding not in {"gzip", "x-gzip"}:
        raise UnusableAnswer(f"the answer is packed as {coding[:40]!r}, which was not asked for")
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS + 16)  # of gzip alone

    def unpack(chunk: bytes, most: int) -> bytes:
        try:
            return unzip.decompress(chunk, most)
        except zlib.error:
            raise UnusableAnswer("the answer is damaged: it cannot be unpacked") from None

    return unpack


#: How much of a page is searched for words, and how many of them are kept.
_MAX_PAGE_CHARS, _MAX_DETAIL_CHARS = 20_000, 2_000

#: Keys under which the gateway has been seen to put its words, in order of preference.
_DETAIL_KEYS: Final = ("error", "message", "detail", "html-message")


def detail_of(body: str) -> str | None:
    """Find the server's own words in an error body of any form that was seen, or `None`.

    An envelope (``{"error": ...}``, ``{"error": {"message": ...}}``, ``{"detail": ...}`` and
    the like), an HTML page, a list, plain text or nothing.
    """
    try:
        words = _words(json.loads(body))
    except (ValueError, RecursionError):
        # The title of a page, or else its text. No pattern here looks ahead for its end.
        page = body[:_MAX_PAGE_CHARS]
        lower = page.lower()
        start = lower.find(">", lower.find("<title")) + 1 if "<title" in lower else 0
        end = lower.find("</title", start) if start else -1
        words = page[start:end] if end >= 0 else re.sub(r"<[^<>]*>", " ", page)
        words = " ".join(words.split())
    return plain(words) or None if words else None


def _words(value: Any, *, depth: int = 4) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, dict) and depth:
        for found in (_words(value[key], depth=depth - 1) for key in _DETAIL_KEYS if key in value):
            if found:
                return found
    return json.dumps(value, ensure_ascii=False, default=str) if value else None


def is_envelope(body: str | None) -> bool:
    """Return whether an error's body is of the gateway's form, and no page of somebody between."""
    try:
        fields = json.loads(body or "", parse_int=float)  # of any number of digits
    except (ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and any(key in fields for key in _DETAIL_KEYS)


#: What a status means for a call (WIRE.md, "Errors"), and what to do then.
_BY_STATUS: Final[dict[int, tuple[type[APIError], str]]] = {
    400: (
        BadRequestError,
        "Segmind refused the request. Correct what it names below, and run it again; it was not "
        "billed.",
    ),
    401: (
        AuthenticationError,
        "Segmind does not accept this API key. Run `%segmind key` to type in one that works.",
    ),
    403: (
        PermissionDeniedError,
        "This key may not use the model. Choose another model with `-m`, or ask your team's owner.",
    ),
    404: (NotFoundError, "Segmind knows no such model or address. See `%segmind models`."),
    406: (
        InsufficientCreditsError,
        "Not enough credits, or a spend limit or a value that Segmind does not accept (see its "
        "words). `%segmind credits` shows what is left; it was not billed.",
    ),
    410: (
        APIError,
        "The model is retired: choose another with `-m` (`%segmind models` lists them).",
    ),
    422: (BadRequestError, "Segmind cannot work with the request. Correct it and run it again."),
}

#: By the server's words alone a key that never came is told from one that is refused.
_NO_KEY_CAME: Final = (
    "The key did not reach Segmind: something on the way, such as a proxy, took it out, and a new "
    "key will not help. Check HTTPS_PROXY and NO_PROXY, or try the other header with "
    '`%config ClaudeMagics.auth = "bearer"`.'
)
_REDIRECTED: Final = (
    "Somebody on the way answered in Segmind's place. Redirects are not followed, as they could "
    "carry the key elsewhere: log in to the network, or check SEGMIND_BASE_URL."
)


def error_for(
    answer: Response, *, what: str, model: str | None = None, look: bool = False
) -> APIError:
    """Name the error that an HTTP answer stands for."""
    status = answer.status
    kind, happened = _BY_STATUS.get(status, (APIError, ""))
    if status == 401 and "header" in (answer.detail or "").lower():
        happened = _NO_KEY_CAME
    elif 300 <= status < 400:
        happened = _REDIRECTED
    elif status >= 500:
        kind = ServerError
        happened = "Segmind has trouble at the moment. Try again in a minute; it was not billed."
    if look and status != 401 and not 300 <= status < 400:
        # A look-up is free, and nothing of it can be corrected.
        happened = (
            "Segmind did not say. Nothing is lost: look again later, and check "
            "SEGMIND_BASE_URL and the network's proxy if it stays so."
        )
    elif status in {404, 410} and model:
        near = nearest_model(model) if status == 404 else None
        retired = f"The model {model} is gone" if status == 410 else f"Segmind has no model {model}"
        hint = f" Did you mean `-m {near}`?" if near else ""
        note = model_info(model).note
        happened = f"{retired}{f' ({note})' if note else ''}.{hint} See `%segmind models`."
    refused = "Segmind refused the request" if status >= 400 else "The answer makes no sense"
    happened = happened or f"{refused}. Check the request and SEGMIND_BASE_URL."
    return kind(f"{happened} {_answered(what, answer)}", **_fields(answer))


def limit_reached(
    what: str, *, until: float | None, answer: Response | None = None
) -> RateLimitError:
    """Say until when Segmind takes no more requests, as far as it is known."""
    moment = "later"
    if until is not None:
        moment = f"at {time.strftime('%H:%M:%S', time.localtime(until))}"
    happened = (
        f"The limit of requests is reached: Segmind takes the next one {moment}. Run it again "
        "then, or let it wait with a longer `--timeout`; nothing was billed."
    )
    if answer is None:
        return RateLimitError(f"{happened} ({what} was not sent.)", status=429)
    return RateLimitError(f"{happened} {_answered(what, answer)}", **_fields(answer))


def maybe_billed(what: str, why: str, answer: Response | None = None) -> MaybeBilledError:
    """Describe a POST whose outcome nobody here can know."""
    told = (
        ""
        if answer is None or answer.status < 500
        else (" Segmind says that it does not charge what it answers with an error.")
    )
    detail = answer.detail if answer else None
    words = f": {shortened(detail)}" if detail else ""
    return MaybeBilledError(
        f"Nobody knows whether the request was carried out. It may have been billed, so it was "
        f"not sent again.{told} `%segmind credits` shows whether your credits went down; run the "
        f"cell again to retry. ({what} {why}{words})",
        **(_fields(answer) if answer else {}),
    )


def senseless(what: str, answer: Response, why: str) -> APIError:
    """Describe a free look-up whose answer makes no sense."""
    return APIError(
        f"The answer makes no sense: {why}. Nothing is lost: look again later. "
        f"{_answered(what, answer)}",
        **_fields(answer),
    )


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
    happened = f"Job {request_id} failed"
    if detail:
        happened += f": {shortened(detail)}"
    if not happened.endswith((".", "!", "?", "…")):
        happened += "."
    return JobFailed(
        f"{happened} It is not sent again by itself: correct what the server says, and run it "
        "anew.",
        request_id=request_id,
        detail=detail,
    )


def _answered(what: str, answer: Response) -> str:
    """Return the last part of a message: path, status, and the server's words."""
    words = f": {shortened(answer.detail, scrub=answer.scrub)}" if answer.detail else ""
    return f"({what} was answered {answer.status}{words})"


def _fields(answer: Response) -> dict[str, Any]:
    return {
        "status": answer.status,
        "detail": answer.detail,
        "request_id": answer.request_id,
        "body": answer.text,
    }
