"""The states of a v2 job as types, and how an answer about a job is read. Pure: nothing is sent.

A state is a string too, the gateway's own word for it, so that it compares and prints as such.
"""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any, ClassVar, Final, Self

from segmind_jupyter.api.messages import Reply, find_text, parse_reply
from segmind_jupyter.api.responses import detail_of, failed
from segmind_jupyter.errors import JobError, JobTimeout, ReplyError, SettingsError, shortened

#: What an id may be made of: it becomes part of a URL's path (RFC 3986's unreserved characters).
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,199}")

#: Longer than any call takes (ten days); a figure beyond it is none.
_MAX_INFERENCE_S: Final = 864_000.0


class State(str):
    """Where a job stands: equal to the gateway's word for it, and a type for `match`."""

    __slots__ = ()
    word: ClassVar[str] = ""

    def __new__(cls) -> Self:
        """Make the one value that the type has."""
        return super().__new__(cls, cls.word)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as what makes it: a string's own way would hand the word to `__new__`."""
        return (type(self), ())

    @property
    def ended(self) -> bool:
        """Whether nothing more comes after it."""
        return not isinstance(self, Queued | Processing)


class Queued(State):
    """Waits for a worker."""

    __slots__ = ()
    word = "QUEUED"


class Processing(State):
    """The model is at work."""

    __slots__ = ()
    word = "PROCESSING"


class Completed(State):
    """The reply is there, and billed."""

    __slots__ = ()
    word = "COMPLETED"


class Failed(State):
    """The gateway or the model gave it up."""

    __slots__ = ("detail",)
    word = "FAILED"
    detail: str | None

    def __new__(cls, detail: str | None = None) -> Self:
        """Keep the words; two failures are equal whatever they say."""
        state = super().__new__(cls)
        state.detail = detail
        return state

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.detail,))


class Expired(State):
    """The server does not know the job, or no longer. Never the gateway's own word."""

    __slots__ = ()
    word = "EXPIRED"


class Cancelled(State):
    """Nobody watches it any more. Never the gateway's own word: it cannot stop a job."""

    __slots__ = ()
    word = "CANCELLED"


#: The states that the gateway knows (the vendor's model pages).
_KNOWN: Final[dict[str, type[State]]] = {
    kind.word: kind for kind in (Queued, Processing, Completed, Failed)
}


def checked_id(request_id: str) -> str:
    """Return `request_id` if it can be part of a URL's path and of nothing else."""
    if not isinstance(request_id, str) or not _REQUEST_ID.fullmatch(request_id):
        raise SettingsError(
            f"{shortened(repr(request_id))} is no job id. `%segmind jobs` lists the ids that are "
            "known here."
        )
    return request_id


def read_submit(body: Any) -> str:
    """Find the id in the answer to a submit."""
    request_id = body.get("request_id") if isinstance(body, dict) else None
    if type(request_id) is int:
        request_id = str(request_id)
    try:
        return checked_id(request_id or "")
    except SettingsError:
        raise ReplyError(f"it holds no usable request_id ({_held(body)})") from None


def read_state(body: Any, *, request_id: str) -> State:
    """Read where a job stands from the body of a poll or of a result."""
    if not is_of(request_id, body):
        raise ReplyError("it is another job's")
    word = body.get("status") if isinstance(body, dict) else None
    if not isinstance(word, str):
        raise ReplyError("the answer names no state")
    kind = _KNOWN.get(word.upper())
    if kind is None:
        raise JobError(
            f"Job {request_id} has a state that is not known here: {shortened(repr(word))}. "
            f"Look again later with `%segmind resume {request_id}`.",
            request_id=request_id,
        )
    return Failed(_failure(body)) if kind is Failed else kind()


def is_terminal(body: str | None) -> bool:
    """Return whether an error's body is an ended job's: FAILED comes with a 422, on both URLs.

    Only the gateway's own word counts here: "failed" may be any proxy's.
    """
    try:
        fields = json.loads(body or "", parse_int=float)  # of any number of digits
    except (ValueError, RecursionError):
        return False
    word = fields.get("status") if isinstance(fields, dict) else None
    return isinstance(word, str) and word in {Completed.word, Failed.word}


def is_of(request_id: str, body: Any) -> bool:
    """Return whether a body is this job's, or does not say whose it is."""
    named = body.get("request_id") if isinstance(body, dict) else None
    return named is None or str(named) == request_id


def is_result(body: Any, request_id: str) -> bool:
    """Return whether a body can be a job's result, and not something that came in its place."""
    if not is_of(request_id, body):
        return False
    if isinstance(body, dict) and ("status" in body or "output" in body):
        return True
    return find_text(body) is not None


def read_result(
    body: Any, *, request_id: str, model: str | None = None, elapsed_s: float | None = None
) -> Reply | State:
    """Read the body of a result."""
    if not is_of(request_id, body):
        raise ReplyError("it is another job's")
    if isinstance(body, dict) and isinstance(body.get("status"), str):
        state = read_state(body, request_id=request_id)
        if not isinstance(state, Completed):
            return state
    if elapsed_s is None:
        elapsed_s = _inference_s(body)
    reply = parse_reply(body, model=model, elapsed_s=elapsed_s)
    return dataclasses.replace(reply, request_id=request_id)


def no_reply(state: State, request_id: str) -> JobError:
    """Say why a job in this state has no reply to give."""
    if isinstance(state, Failed):
        return failed(request_id, state.detail)
    return JobTimeout(
        f"Job {request_id} is still {state}. Look again later.", request_id=request_id
    )


def _inference_s(body: Any) -> float | None:
    metrics = body.get("metrics") if isinstance(body, dict) else None
    seconds = metrics.get("inference_time") if isinstance(metrics, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return float(seconds) if 0 <= seconds <= _MAX_INFERENCE_S else None


def _held(body: Any) -> str:
    if not isinstance(body, dict):
        return f"a JSON {type(body).__name__}"
    return f"keys: {shortened(', '.join(sorted(body))) or 'none'}"


def _failure(body: dict[str, Any]) -> str | None:
    """Find the words of a failure; an error of another form is shown as its JSON."""
    error = body.get("error")
    return detail_of(json.dumps({"error": error})) if error else None
