"""Which failure may be sent again, and after how long. Pure: no clock, no I/O.

The rules are those of Segmind's wire: a GET is free and may be repeated; a POST that may have
been billed is never sent twice. The 401 that is answered with the other header form is the
business of `auth`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


class Trouble(enum.Enum):
    """A request that got no HTTP answer."""

    NEVER_OPENED = "the connection never opened"
    NO_ANSWER = "the connection broke or timed out after the request may have been sent"


#: What can go wrong with one attempt: no answer, or an answer with this status.
Failure = Trouble | int

#: Refused before any work was done, so sending again costs nothing.
_POST_AGAIN = frozenset({429, 503})

#: Refused for what it is, so no work can have been done: not implemented, HTTP version.
_POST_REFUSED = frozenset({501, 505})


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How patiently requests are repeated.

    Parameters
    ----------
    post_attempts, refused_attempts, get_attempts
        Most times that a request is sent, where it may be sent again at all: a POST, a POST that
        is refused before work (429, 503), a GET. `None`: until its deadline.
    base_s, cap_s
        The n-th wait is `base_s` doubled n times, at most `cap_s` seconds, of which a random
        half is taken off so that many kernels do not return at the same moment.
    retry_after_cap_s
        Longest `Retry-After` that is honoured, in seconds.
    """

    post_attempts: int | None = 5
    refused_attempts: int | None = 5
    get_attempts: int | None = None
    base_s: float = 0.5
    cap_s: float = 8.0
    retry_after_cap_s: float = 60.0

    def delay_s(
        self,
        method: str,
        failure: Failure,
        *,
        attempt: int,
        remaining_s: float,
        retry_after_s: float | None = None,
        jitter: Callable[[], float],
    ) -> float | None:
        """Seconds to wait before the request is sent again, or `None` where it must not be.

        Parameters
        ----------
        method
            ``"GET"`` or ``"POST"``.
        failure
            What went wrong with the last attempt.
        attempt
            How many times it was sent already, from 1.
        remaining_s
            Seconds left until the caller's deadline; a wait that would pass it is not begun.
        retry_after_s
            What the server asked for.
        jitter
            A random number from 0 to 1.
        """
        most = self._most_attempts(method, failure)
        if not may_repeat(method, failure) or (most is not None and attempt >= most):
            return None
        delay_s = self.backoff_s(attempt, luck=jitter())
        if retry_after_s is not None:
            delay_s = max(delay_s, min(retry_after_s, self.retry_after_cap_s))
        return delay_s if delay_s < remaining_s else None

    def _most_attempts(self, method: str, failure: Failure) -> int | None:
        if method == "GET":
            return self.get_attempts
        return self.refused_attempts if failure in _POST_AGAIN else self.post_attempts

    def backoff_s(self, attempt: int, *, luck: float) -> float:
        """Seconds to wait after the n-th failure in a row; `luck` from 0 to 1 shortens it."""
        full_s = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 32))
        return full_s * (1 - luck / 2)


def may_repeat(method: str, failure: Failure) -> bool:
    """Tell whether a failed request may be sent again at all.

    Parameters
    ----------
    method
        ``"GET"`` or ``"POST"``.
    failure
        What went wrong.
    """
    if method == "GET":
        return isinstance(failure, Trouble) or failure in {408, 429} or failure >= 500
    return failure is Trouble.NEVER_OPENED or failure in _POST_AGAIN


def may_be_billed(method: str, failure: Failure) -> bool:
    """Tell whether a failed request may have been carried out, and billed, all the same.

    Parameters
    ----------
    method
        ``"GET"`` or ``"POST"``; only a POST starts work.
    failure
        What went wrong.
    """
    if method == "GET":
        return False
    if isinstance(failure, Trouble):
        return failure is Trouble.NO_ANSWER
    # Segmind documents 500, 502 and 504; a gateway in between has more (408, 520 to 529).
    unknown = failure >= 500 and failure not in _POST_AGAIN | _POST_REFUSED
    return unknown or failure == 408


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Read a `Retry-After` header as seconds from now.

    Parameters
    ----------
    value
        The header: seconds, or an HTTP date (RFC 9110).
    now
        The time now; the clock's if left out.

    Returns
    -------
    float or None
        Never negative; `None` where there is no header or it makes no sense.
    """
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until(value, now=now or datetime.now(UTC))
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(date: str, *, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(date)
    except (TypeError, ValueError, OverflowError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - now).total_seconds())
