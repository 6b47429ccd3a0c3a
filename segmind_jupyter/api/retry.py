"""What may be sent again and after how long, when a job is looked at, and whose turn it is.

Only the limiter has a clock; the rest is pure.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import anyio

#: Refused before any work was done, so sending again costs nothing.
_POST_AGAIN: Final = frozenset({429, 503})

#: Refused for what it is, so no work can have been done: not implemented, HTTP version.
_POST_REFUSED: Final = frozenset({501, 505})


def may_repeat(method: str, status: int) -> bool:
    """Return whether a request that was refused with `status` may be sent again at all."""
    if method == "GET":
        return status in {408, 429} or status >= 500
    return status in _POST_AGAIN


def may_be_billed(status: int) -> bool:
    """Return whether a refused POST may have been carried out, and billed, all the same."""
    # Segmind documents 500, 502 and 504; a gateway in between has more (408, 520 to 529).
    return status == 408 or (status >= 500 and status not in _POST_AGAIN | _POST_REFUSED)


#: Times a POST is sent whose connection never opened, or that was refused with 503.
POST_ATTEMPTS: Final = 5


def backoff_s(attempt: int, *, luck: float, base_s: float = 0.5, cap_s: float = 8.0) -> float:
    """Return the wait after the n-th failure in a row; `luck` from 0 to 1 shortens it."""
    return min(cap_s, base_s * 2.0 ** min(attempt - 1, 32)) * (1 - luck / 2)


#: A number from here on is a Unix time.
_UNIX_S: Final = 1e9

#: No server means a moment further away than this; a date beyond it is nonsense.
_DAY_S: Final = 86_400.0


def parse_wait(value: str | None, *, now: datetime) -> float | None:
    """Read when a server takes requests again (a date, a Unix time, seconds) as seconds from now.

    `None` where it says nothing usable; the form of `x-rate-limit-reset-at-utc` is not documented.
    """
    text = (value or "").strip()
    seconds = math.nan
    try:
        number = float(text)
        number = number / 1000 if number >= 1000 * _UNIX_S else number  # milliseconds
        seconds = number - now.timestamp() if number >= _UNIX_S else number
    except ValueError:
        for parse in (datetime.fromisoformat, parsedate_to_datetime):  # ISO 8601, RFC 9110
            try:
                then = parse(text.removesuffix("UTC").strip())
                then = then if then.tzinfo else then.replace(tzinfo=UTC)
                seconds = (then - now).total_seconds()
                break
            except (ValueError, TypeError, OverflowError, IndexError):
                continue
    return seconds if 0 < seconds <= _DAY_S else None


# When a job is looked at --------------------------------------------------------------------

#: Bounds of the wait: no model answers sooner; results live one hour, so a minute is harmless.
MIN_DELAY_S, MAX_DELAY_S = 0.5, 60.0

#: How much of a job's age is waited once it may end at any time, and how long at most before that,
#: as jobs may have become faster.
_SHARE, _DOUBT_S = 0.1, 10.0

#: How many durations of a model are looked back at.
_LOOKED_BACK: Final = 20


class History:
    """How long each model's jobs took, seeded with the newest durations. For one event loop."""

    def __init__(self, seed: Callable[[str], Iterable[float]] = lambda model: ()) -> None:
        self._seed = seed
        self._durations: dict[str, deque[float]] = {}

    def soonest_s(self, model: str) -> float:
        """Return after how many seconds a job of `model` may end; 0 where nothing is known."""
        return 0.95 * min(self._of(model), default=0.0)

    def add(self, model: str, seconds: float) -> None:
        """Note that a job of `model` took `seconds` from submission to end."""
        self._of(model).append(seconds)

    def _of(self, model: str) -> deque[float]:
        if model not in self._durations:
            newest_first = list(self._seed(model))[:_LOOKED_BACK]
            self._durations[model] = deque(reversed(newest_first), maxlen=_LOOKED_BACK)
        return self._durations[model]


def next_poll(elapsed_s: float, soonest_s: float = 0.0) -> float:
    """Return in how many seconds to poll a job that is not known to have ended.

    Until it may end, half of the time that is left; then the longer the longer it has taken.
    """
    if elapsed_s < soonest_s:
        wait_s = min(_DOUBT_S, (soonest_s - elapsed_s) / 2)
    else:
        wait_s = _SHARE * elapsed_s
    return min(MAX_DELAY_S, max(MIN_DELAY_S, wait_s))


# Whose turn it is ---------------------------------------------------------------------------

#: The published limits are so many requests a minute (WIRE.md).
_WINDOW_S: Final = 60.0

#: The longest pause that is believed; results live as long, and no limit is known to last longer.
MAX_PAUSE_S: Final = 3600.0

#: A little less than the smallest published plan, five a minute; and what is tried where nothing is
#: known.
_FLOOR_PER_S, _GUESS_PER_S = 4.5 / _WINDOW_S, 1.0

#: What is used of a limit: clocks and ways differ by a little, and a refusal costs a pause.
_USED: Final = 0.98

#: After so long without a refusal the rate is doubled, as the server may take more by now.
_STEADY_S: Final = 300.0


class LimitReached(Exception):
    """The server takes no request for longer than somebody wants to wait."""


class RateLimiter:
    """Say when the next request may go, to all who send requests with one key.

    The limit is the server's. Until it refuses a request, each goes at once; then all pause until
    the moment that it names (or 1/4, 1/2, 1, ... s), and are spaced as they were taken before.
    Whether it counts looks is not documented: they are spaced too once one was refused.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._queue = anyio.Lock()
        self._paused_until_s = self._next_s = -math.inf
        #: How often in a row a request was refused.
        self._refusals = 0
        #: What was sent and taken, and when: about what the largest plan has in a minute.
        self._taken: deque[tuple[str, float]] = deque(maxlen=3000)
        self._counted = {"POST"}
        #: Requests a second, once the server showed how many it takes; and when to try more.
        self._rate_per_s: float | None = None
        self._raised_at_s = math.inf

    @property
    def pause_s(self) -> float:
        """Seconds until the server takes requests again, 0 if it does."""
        return max(0.0, self._paused_until_s - self._clock())

    @property
    def paused_until(self) -> float | None:
        """Unix time at which the server takes requests again; `None` if it does. For any thread."""
        return time.time() + self.pause_s if self.pause_s else None

    @property
    def posts_per_min(self) -> float | None:
        """How many a minute the server took before it refused one; `None` if it never did."""
        return self._rate_per_s and 60 * self._rate_per_s

    async def acquire(
        self, method: str, *, patience_s: float = math.inf, urgent: bool = False
    ) -> float:
        """Wait until a request may go, and return the seconds that were spent in the queue.

        Raises `LimitReached` where a pause outlasts the patience. What is urgent queues behind
        nobody, as somebody sits in front of it.
        """
        give_up_s = self._clock() + patience_s
        queued_s = 0.0
        while True:
            while self.pause_s:
                if self._paused_until_s > give_up_s:
                    raise LimitReached
                await self._sleep(self.pause_s)
            if method not in self._counted:
                return queued_s
            asked_s = self._clock()
            async with contextlib.nullcontext() if urgent else self._queue:
                while not (urgent or self.pause_s):
                    wait_s = self._next_s - self._clock()
                    if wait_s <= 0:
                        break
                    await self._sleep(wait_s)
                queued_s += self._clock() - asked_s
                if self.pause_s:
                    continue
                if self._rate_per_s is not None:
                    now_s = self._clock()
                    if now_s >= self._raised_at_s:
                        self._rate_per_s *= 2
                        self._raised_at_s = now_s + _WINDOW_S
                    self._next_s = max(now_s, self._next_s) + 1 / self._rate_per_s
                return queued_s

    def record(
        self, method: str, status: int | None, *, sent_s: float, wait_s: float | None = None
    ) -> None:
        """Note what came of a request, and when the server said that it takes the next."""
        now_s = self._clock()
        if status == 429 or (status == 503 and wait_s):
            if not self.pause_s:  # else it was on its way when the pause began
                self._refusals += 1
                self._counted.add(method)
                if self._refusals == 1:
                    self._learn(sent_s, now_s + min(wait_s or _WINDOW_S, MAX_PAUSE_S))
                wait_s = wait_s or min(_WINDOW_S, 0.25 * 2.0 ** (self._refusals - 1))
                self._next_s = now_s + wait_s
            until_s = now_s + min(wait_s or 0.0, MAX_PAUSE_S)
            self._paused_until_s = max(self._paused_until_s, until_s)
        elif status is not None and status != 503:
            self._taken.append((method, sent_s))
            if sent_s >= self._paused_until_s:
                self._refusals = 0

    def _learn(self, refused_s: float, open_s: float) -> None:
        """Take the limit to be what was taken before a refusal, in the time until it ends."""
        taken_s = (sent_s for method, sent_s in self._taken if method in self._counted)
        before_s = [sent_s for sent_s in taken_s if refused_s - _WINDOW_S < sent_s <= refused_s]
        if before_s:
            span_s = min(_WINDOW_S, max(open_s - min(before_s), 1.0))
            self._rate_per_s = max(_FLOOR_PER_S, _USED * len(before_s) / span_s)
        else:  # another process used it up
            self._rate_per_s = _GUESS_PER_S
        self._raised_at_s = open_s + _STEADY_S
