"""What the server sent, read within bounds and with the key blanked out: states, replies, errors.

An error begins with what happened and what to do next; status, path and the server's words, which
are data, come last. Nothing is sent here.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from segmind_jupyter import errors
from segmind_jupyter.api.messages import Reply, parse_reply, shape_of
from segmind_jupyter.api.retry import may_be_billed, parse_wait
from segmind_jupyter.api.settings import KNOWN_MODELS, model_info
from segmind_jupyter.errors import plain, shortened
from segmind_jupyter.words import did_you_mean

if TYPE_CHECKING:
    import httpx

#: More than any answer has; what comes after it is not read.
MAX_ANSWER_BYTES: Final = 32_000_000

#: Blanks the key out of a text.
Scrub = Callable[[str], str]

E = TypeVar("E", bound=errors.APIError)


class UnusableAnswer(OSError):
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
        """Parse the body; `ReplyError` where it is no JSON."""
        try:
            # Python refuses to convert integers of thousands of digits.
            return json.loads(self.text, parse_int=lambda n: int(n) if len(n) < 100 else math.inf)
        except (ValueError, RecursionError):
            raise errors.ReplyError("it is no JSON") from None


async def read(response: httpx.Response, *, scrub: Scrub) -> Response:
    """Read a streamed response to its end, and close it."""
    data = bytearray()
    try:
        # One coding at most: of codings that are stacked, kilobytes unpack to gigabytes.
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in {"", "identity", "gzip"}:
            raise UnusableAnswer(
                f"the answer is packed as {coding[:40]!r}, which was not asked for"
            )
        async for chunk in response.aiter_bytes():
            if len(data) + len(chunk) > MAX_ANSWER_BYTES:
                raise UnusableAnswer(f"the answer is over {MAX_ANSWER_BYTES:,} bytes")
            data += chunk
    finally:
        await response.aclose()
    headers = {name: scrub(value) for name, value in response.headers.items()}
    text = data.decode(json.detect_encoding(bytes(data)), errors="replace")
    return Response(response.status_code, headers, scrub(text), scrub)


#: How much of a page is searched for words, and how many of them are kept.
_MAX_PAGE_CHARS, _MAX_DETAIL_CHARS = 20_000, 2_000

#: Keys under which the gateway has been seen to put its words, in order of preference.
_DETAIL_KEYS: Final = ("error", "message", "detail", "html-message")


def detail_of(body: str) -> str | None:
    """Find the server's own words in an error body, or `None`.

    An envelope (``{"error": ...}``, ``{"error": {"message": ...}}``, ``{"detail": ...}`` and
    the like), an HTML page, a list, plain text or nothing.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        words = re.sub(r"<[^<>]*>", " ", body[:_MAX_PAGE_CHARS])  # it may be a page
        return plain(" ".join(words.split())) or None
    while isinstance(value, dict):
        known = [value[key] for key in _DETAIL_KEYS if value.get(key)]
        if not known:
            break
        value = known[0]
    if not value:
        return None
    words = value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return plain(words) or None


def fields_of(body: str | None) -> dict[str, Any]:
    """Return what an error's body holds, nothing if it is no JSON object."""
    try:
        fields = json.loads(body or "", parse_int=float)  # of any number of digits
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def is_envelope(body: str | None) -> bool:
    """Return whether an error's body is of the gateway's form, and no page of somebody between."""
    return not fields_of(body).keys().isdisjoint(_DETAIL_KEYS)


#: What a status means for a call (WIRE.md, "Errors"), and what to do then.
_BY_STATUS: Final[dict[int, tuple[type[errors.APIError], str]]] = {
    400: (
        errors.BadRequestError,
        "Segmind refused the request. Correct what it names below, and run it again; it was not "
        "billed.",
    ),
    401: (
        errors.AuthenticationError,
        "Segmind does not accept this API key. Run `%segmind key` to type in one that works.",
    ),
    403: (
        errors.PermissionDeniedError,
        "This key may not use the model. Choose another model with `-m`, or ask your team's owner.",
    ),
    404: (errors.NotFoundError, ""),
    406: (
        errors.InsufficientCreditsError,
        "Not enough credits, or a spend limit or a value that Segmind does not accept (see its "
        "words). `%segmind credits` shows what is left; it was not billed.",
    ),
    422: (errors.BadRequestError, ""),
    429: (errors.RateLimitError, ""),
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


_LOOK_AGAIN: Final = (
    "Segmind did not say. Nothing is lost: look again later, and check SEGMIND_BASE_URL and the "
    "network's proxy if it stays so."
)
_TROUBLE: Final = "Segmind has trouble at the moment. Try again in a minute; it was not billed."


def error_for(
    answer: Response, *, what: str, model: str | None = None, until: float | None = None
) -> errors.APIError:
    """Name the error that an HTTP answer stands for; without a model it was a free look-up.

    `until` is when the server takes requests again, where that is known.
    """
    status = answer.status
    if model and may_be_billed(status):
        return maybe_billed(what, answer=answer)
    other = errors.ServerError if status >= 500 else errors.APIError
    kind, happened = _BY_STATUS.get(status, (other, ""))
    if status == 401:
        if "header" in (answer.detail or "").lower():
            happened = _NO_KEY_CAME
    elif 300 <= status < 400:
        happened = _REDIRECTED
    elif status == 429:
        happened = _until(until)
    elif model is None:
        happened = _LOOK_AGAIN
    elif status in {404, 410}:
        note = model_info(model).note
        happened = f"The model {model} is gone"
        if status == 404:
            known = [slug for slug in KNOWN_MODELS if slug != model]
            happened = f"Segmind has no model {model}{did_you_mean(model, known)}"
        happened += f"{f' ({note})' if note else ''}. See `%segmind models`."
    elif status >= 500:
        happened = _TROUBLE
    happened = happened or "Segmind refused the request. Check the request and SEGMIND_BASE_URL."
    return _answered(kind, happened, what, answer)


def _answered(kind: type[E], happened: str, what: str, answer: Response, why: str = "") -> E:
    """Make the error of an answer: path, status and the server's words come last."""
    detail = answer.detail
    words = f": {shortened(detail, scrub=answer.scrub)}" if detail else ""
    return kind(
        f"{happened} ({what} was answered {answer.status}{why}{words})",
        status=answer.status,
        detail=detail,
        request_id=answer.request_id,
        body=answer.text,
    )


def _until(moment: float | None) -> str:
    when = "later" if moment is None else time.strftime("at %H:%M:%S", time.localtime(moment))
    return (
        f"The limit of requests is reached: Segmind takes the next one {when}. Run it again then, "
        "or let it wait with a longer `--timeout`; nothing was billed."
    )


def limit_reached(what: str, *, until: float | None) -> errors.RateLimitError:
    """Say until when Segmind takes no more requests, where one was not sent for it."""
    return errors.RateLimitError(f"{_until(until)} ({what} was not sent.)", status=429)


def maybe_billed(
    what: str, why: str = "", answer: Response | None = None
) -> errors.MaybeBilledError:
    """Describe a POST whose outcome nobody here can know."""
    told = ""
    if answer is not None and answer.status >= 500:
        told = " Segmind says that it does not charge what it answers with an error."
    happened = (
        "Nobody knows whether the request was carried out. It may have been billed, so it was not "
        f"sent again.{told} `%segmind history` shows whether it was charged; run the cell again to "
        "retry."
    )
    if answer is None:
        return errors.MaybeBilledError(f"{happened} ({what} got no answer: {why})")
    return _answered(errors.MaybeBilledError, happened, what, answer, why)


def senseless(what: str, answer: Response, why: str) -> errors.APIError:
    """Describe a free look-up whose answer makes no sense."""
    happened = f"The answer makes no sense: {why}. Nothing is lost: look again later."
    return _answered(errors.APIError, happened, what, answer)


def expired(request_id: str, detail: str | None = None) -> errors.JobExpired:
    """Describe a job that the server does not know."""
    return errors.JobExpired(
        f"Job {request_id} is not known at Segmind, or no longer: a result is kept for one hour, "
        "and the id must be of this account. Its reply is lost and may have been billed; run it "
        "anew if you need it.",
        request_id=request_id,
        detail=detail,
    )


def failed(request_id: str, detail: str | None) -> errors.JobFailed:
    """Describe a job that ended as FAILED."""
    words = f": {shortened(detail)}" if detail else ""
    return errors.JobFailed(
        f"Job {request_id} failed{words.rstrip('.')}. It is not sent again by itself: correct what "
        "the server says, and run it anew.",
        request_id=request_id,
        detail=detail,
    )


# Jobs ---------------------------------------------------------------------------------------

#: What an id may be made of: it becomes part of a URL's path (RFC 3986's unreserved characters).
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,199}")

#: Longer than any call takes (ten days); a figure beyond it is none.
_MAX_INFERENCE_S: Final = 864_000.0


class State(str):
    """Where a job stands: equal to the gateway's word for it, and a type for `match`."""

    detail: str | None

    def __new__(cls, detail: str | None = None) -> Self:
        """Keep the server's words; two states are equal whatever they say."""
        state = super().__new__(cls, cls.__name__.upper())
        state.detail = detail
        return state

    @property
    def ended(self) -> bool:
        """Whether nothing more comes after it."""
        return not isinstance(self, Queued | Processing)


class Queued(State):
    """Waits for a worker."""


class Processing(State):
    """The model is at work."""


class Completed(State):
    """The reply is there, and billed."""


class Failed(State):
    """The gateway or the model gave it up."""


class Expired(State):
    """The server does not know the job, or no longer. Never the gateway's own word."""


class Cancelled(State):
    """Nobody watches it any more. Never the gateway's own word: it cannot stop a job."""


#: The states that the gateway knows (the vendor's model pages).
_KNOWN: Final[dict[str, type[State]]] = {
    str(kind()): kind for kind in (Queued, Processing, Completed, Failed)
}


def checked_id(request_id: str) -> str:
    """Return `request_id` if it can be part of a URL's path and of nothing else."""
    if not isinstance(request_id, str) or not _REQUEST_ID.fullmatch(request_id):
        raise errors.SettingsError(
            f"{shortened(repr(request_id))} is no job id. `%segmind jobs` lists the ids that are "
            "known here."
        )
    return request_id


def read_submit(body: Any) -> str:
    """Find the id in the answer to a submit."""
    request_id = body.get("request_id") if isinstance(body, dict) else None
    try:
        return checked_id(request_id or "")
    except errors.SettingsError:
        raise errors.ReplyError(f"it holds no usable request_id ({shape_of(body)})") from None


def read_state(body: Any, *, request_id: str) -> State:
    """Read where a job stands from the body of a poll or of a result."""
    body = _of(request_id, body)
    if not isinstance(word := body.get("status"), str):
        raise errors.ReplyError("the answer names no state")
    kind = _KNOWN.get(word.upper())
    if kind is None:
        raise errors.JobError(
            f"Job {request_id} has a state that is not known here: {shortened(repr(word))}. "
            f"Look again later with `%segmind resume {request_id}`.",
            request_id=request_id,
        )
    if kind is not Failed:
        return kind()
    error = body.get("error")  # of another form than text it is shown as its JSON
    return Failed(detail_of(json.dumps({"error": error})) if error else None)


def _of(request_id: str, body: Any) -> dict[str, Any]:
    """Return a body that is this job's, or does not say whose it is."""
    if not isinstance(body, dict):
        raise errors.ReplyError("it is no JSON object")
    if str(body.get("request_id") or request_id) != request_id:
        raise errors.ReplyError("it is another job's")
    return body


def read_result(
    body: Any,
    *,
    request_id: str,
    model: str | None = None,
    elapsed_s: float | None = None,
    scrub: Scrub = str,
) -> Reply | State:
    """Read the body of a result."""
    body = _of(request_id, body)
    if isinstance(body.get("status"), str):
        state = read_state(body, request_id=request_id)
        if not isinstance(state, Completed):
            return state
    if elapsed_s is None and isinstance(body.get("metrics"), dict):
        told = body["metrics"].get("inference_time")
        is_number = isinstance(told, int | float) and not isinstance(told, bool)
        elapsed_s = float(told) if is_number and 0 <= told <= _MAX_INFERENCE_S else None
    return parse_reply(body, request_id=request_id, model=model, elapsed_s=elapsed_s, scrub=scrub)
