"""Every error that this package raises: the floor under the rooms, which all of them may import.

::

    SegmindError
    ├── SettingsError               a setting that cannot work (base URL, auth mode, key form)
    │   └── MissingKeyError         no API key anywhere
    ├── ContentError                an object or a prompt that cannot be sent
    ├── ReplyError                  a reply that does not hold what was asked of it
    ├── NotCachedError              a reply that is not kept, where nothing may be sent
    ├── BudgetError                 a call that would pass what may be spent
    ├── APIError                    the server answered, and it was no reply
    │   ├── BadRequestError         400
    │   ├── AuthenticationError     401
    │   ├── PermissionDeniedError   403
    │   ├── NotFoundError           404
    │   ├── InsufficientCreditsError  406
    │   ├── RateLimitError          429
    │   ├── ServerError             5xx
    │   └── MaybeBilledError        a POST whose outcome is unknown
    ├── APIConnectionError          the server was never reached
    └── JobError                    a queued job that gives no reply
        ├── JobFailed               the model or the gateway gave it up
        ├── JobTimeout              the caller's patience ended (a TimeoutError too)
        ├── JobExpired              the server does not know it, or no longer
        └── JobCancelled            nobody watches it any more
    Interrupted (a KeyboardInterrupt)  the user did not want to wait

Each message says what happened, to which value, and what to do next. In a notebook an error
shows as that message alone (`_render_traceback_`), and the cell still fails.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import Any

#: Colours a notebook and a terminal both understand (SGR 31 is red, 0 resets).
_RED, _RESET = "\x1b[31m", "\x1b[0m"

#: JupyterLab breaks longer lines of a traceback within words (84 columns at a width of 1100 px).
_MAX_COLUMNS = 80
_WORDS_STAY_WHOLE: Any = {"break_long_words": False, "break_on_hyphens": False}

#: The longest piece of a server's words that goes into a message.
_MAX_DETAIL_CHARS = 400

#: Terminal control sequences (CSI, OSC) and other C0/C1 controls: a server's words are data.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)

#: Directional embeddings, overrides and isolates ("Trojan source", CVE-2021-42574). The plain
#: marks LRM, RLM and ALM stay: Hebrew and Arabic need them, and they reorder nothing.
REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Drop terminal control sequences from `text`; newlines and tabs stay."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


class _Short:
    """Shows in IPython as one message in colour, by its hook for such errors."""

    def _render_traceback_(self) -> list[str]:
        """Return it as one piece, in lines that are not so long that a page breaks their words."""
        name = type(self).__name__
        lines = textwrap.wrap(f"{name}: {plain(str(self))}", _MAX_COLUMNS, **_WORDS_STAY_WHOLE)
        # IPython joins pieces with or without a line's end, by its mode.
        return ["\n".join([f"{_RED}{name}{_RESET}{lines[0].removeprefix(name)}", *lines[1:]])]


class SegmindError(_Short, Exception):
    """Anything that went wrong between a notebook and Segmind; fields as its class names them."""

    def __init__(self, message: str = "", **fields: Any) -> None:
        super().__init__(message)
        vars(self).update(fields)


class Interrupted(_Short, KeyboardInterrupt):
    """The user interrupted a wait. No `SegmindError`, so that ``except Exception`` lets it pass."""


class SettingsError(SegmindError):
    """A setting that cannot work: the base URL, the form of the key, the auth mode."""


class MissingKeyError(SettingsError):
    """No API key was found."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(
            message
            or "No API key. Run `%segmind key` to type one in (`%segmind key --save` keeps it), or "
            "set SEGMIND_API_KEY before the kernel starts; one in a `.env` file is read by "
            "`%load_ext dotenv` and `%dotenv` (python-dotenv). `%segmind simulator` works without "
            "a key."
        )


class ContentError(SegmindError):
    """An object or a prompt that cannot be sent."""


class ReplyError(SegmindError):
    """A reply that does not hold what was asked of it, such as JSON."""

    #: The reply, where there is one: it was paid for.
    reply: Any = None


class NotCachedError(SegmindError):
    """A reply that is not kept, where kept replies alone are used (``cache="only"``)."""


class BudgetError(SegmindError):
    """A call that would pass what may be spent, so that nothing was sent.

    In Segmind credits: the limit, what was spent, what is set aside for calls that are under way,
    and what this one would take.
    """

    limit: float = 0.0
    spent: float = 0.0
    reserved: float = 0.0
    cost: float = 0.0


class APIConnectionError(SegmindError):
    """The server was never reached, so nothing was sent and nothing was billed."""

    #: Whether another try may reach it.
    may_pass: bool = True


class APIError(SegmindError):
    """The server answered, and what it answered is no reply.

    `str(error)` says what happened and what to do next.
    """

    #: The HTTP status code, or `None` where no answer came.
    status: int | None = None
    #: The server's own words, its id of the request, and all that it sent; or `None`.
    detail: str | None = None
    request_id: str | None = None
    body: str | None = None


class BadRequestError(APIError):
    """400: a malformed message or parameter."""


class AuthenticationError(APIError):
    """401: the key is missing or refused."""


class PermissionDeniedError(APIError):
    """403: the model is not permitted for this key."""


class NotFoundError(APIError):
    """404: unknown model, endpoint or request id."""


class InsufficientCreditsError(APIError):
    """406: not enough credits; also a refused parameter value or a team's spend limit."""


class RateLimitError(APIError):
    """429: too many requests."""


class ServerError(APIError):
    """5xx: the server or its gateway failed."""


class MaybeBilledError(APIError):
    """A POST whose outcome is unknown: it may have been billed, so it was not sent again."""


class JobError(SegmindError):
    """A queued job that gives no reply; the subclass says why."""

    #: The job's id, or `None` where it never had one; and the server's own words.
    request_id: str | None = None
    detail: str | None = None


class JobFailed(JobError):
    """The job ended as FAILED; it is never sent again by itself."""


class JobTimeout(JobError, TimeoutError):
    """The job takes longer than the caller wanted to wait; it goes on."""


class JobExpired(JobError):
    """The server does not know the job: it never did, or the hour of its result is over."""


class JobCancelled(JobError):
    """The job is no longer watched, or was never sent; Segmind cannot stop one that runs."""


def shortened(detail: str, *, scrub: Callable[[str], str] = str) -> str:
    """One line of a server's words, short enough for a message, and in the order it is read.

    What `scrub` blanks out is blanked before the cut, which could leave half of a key.
    """
    line = scrub(" ".join(REORDERING.sub("", plain(detail)).split()))
    if len(line) <= _MAX_DETAIL_CHARS:
        return line
    return line[: _MAX_DETAIL_CHARS - 1] + "…"
