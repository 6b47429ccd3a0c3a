"""Says when the next request may go, to all who send requests with one key.

The limit is the server's: this learns it from refusals, and makes everybody share their pauses.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

#: The published limits are so many requests a minute (WIRE.md).
_WINDOW_S: Final = 60.0

#: The longest pause that is believed; results live as long, and no limit is known to last longer.
MAX_PAUSE_S: Final = 3600.0

#: A little less than the smallest published plan takes, five requests a minute.
_FLOOR_PER_S: Final = 4.5 / _WINDOW_S

#: Six times the largest published plan.
_CEILING_PER_S: Final = 6000 / _WINDOW_S

#: What is used of a limit: clocks and ways differ by a little, and a refusal costs a pause.
_USED: Final = 0.98


class LimitReached(Exception):
    """The server takes no request for longer than somebody wants to wait."""


class RateLimiter:
    """Say when the next request may go, to all who send requests with one key.

    The limit is the server's. Until it refuses a request, each goes at once. Then all pause until
    the moment that it names (or try one by one after 1/4, 1/2, 1, ... s), and from there on
    requests are spaced as they were taken before. Should the server take more by now, that is
    found out by doubling the rate at times. Whether it counts looks too is not documented, so
    POSTs are spaced by themselves, and looks and POSTs together where a look was refused.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._posts, self._all = _Spacing(), _Spacing()
        self._paused_until_s = -math.inf
        #: How often the present refusal was met, whose it is, and when that request was sent.
        self._refusals, self._refused, self._wall_s = 0, self._all, 0.0

    @property
    def pause_s(self) -> float:
        """Seconds until the server takes requests again, 0 if it does."""
        return max(0.0, self._paused_until_s - self._clock())

    @property
    def paused_until(self) -> float | None:
        """Unix time at which the server takes requests again; `None` if it does. For any thread."""
        return time.time() + self.pause_s if self.pause_s else None

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
            asked_s = self._clock()
            for spacing in self._spacings(method):
                async with contextlib.nullcontext() if urgent else spacing.queue:
                    while not (urgent or self.pause_s):
                        wait_s = spacing.next_s - self._clock()
                        if wait_s <= 0:
                            break
                        await self._sleep(wait_s)
                    trying = self._refusals > 0 and spacing is self._refused
                    spacing.take(self._clock(), one_by_one=trying)
            queued_s += self._clock() - asked_s
            if not self.pause_s:
                return queued_s

    def record(
        self, method: str, status: int | None, *, sent_s: float, wait_s: float | None = None
    ) -> None:
        """Note what came of a request, and when the server said that it takes the next."""
        now_s, spacings = self._clock(), self._spacings(method)
        if status == 429 or (status == 503 and wait_s):
            if not self.pause_s:  # else it was on its way when the pause began
                self._wall_s = self._wall_s if self._refusals else sent_s
                if not self._refusals or method == "GET":
                    self._refused = spacings[-1]
                self._refusals += 1
                first_s = 0.5 / rate_per_s if (rate_per_s := self._refused.rate_per_s) else 0.25
                wait_s = wait_s or min(_WINDOW_S, first_s * 2.0 ** (self._refusals - 1))
            if wait_s:
                until_s = now_s + min(wait_s, MAX_PAUSE_S)
                self._paused_until_s = max(self._paused_until_s, until_s)
        elif status is not None and status != 503:
            for spacing in spacings:
                spacing.taken_s.append(sent_s)
            if self._refusals and sent_s >= self._paused_until_s and self._refused in spacings:
                self._refusals = 0
                self._refused.learn(wall_s=self._wall_s, open_s=sent_s)

    def _spacings(self, method: str) -> tuple[_Spacing, ...]:
        return (self._all, self._posts) if method == "POST" else (self._all,)


class _Spacing:
    """How far requests of a kind are apart."""

    def __init__(self) -> None:
        #: Requests a second, once the server showed how many it takes.
        self.rate_per_s: float | None = None
        self.next_s = -math.inf
        self.queue = anyio.Lock()
        #: When requests were sent that were taken: as many as the largest plan has in a minute.
        self.taken_s: deque[float] = deque(maxlen=1000)
        #: When the rate is doubled, after which time without a refusal, and whether it was.
        self._raise_at_s, self._steady_s, self._raised = math.inf, _WINDOW_S, False

    def take(self, now_s: float, *, one_by_one: bool) -> None:
        """Take the next place; one by one it is found out whether a refusal is over."""
        if self.rate_per_s and now_s >= self._raise_at_s and not one_by_one:
            self.rate_per_s, self._raise_at_s = 2 * self.rate_per_s, now_s + _WINDOW_S
            self._steady_s = _WINDOW_S if self._raised else self._steady_s  # it was survived
            self._raised = True
            if self.rate_per_s > _CEILING_PER_S:
                self.rate_per_s = None  # there is no limit
        gap_s = 1 / self.rate_per_s if self.rate_per_s else 0.0
        self.next_s = max(now_s, self.next_s) + (max(gap_s, 1.0) if one_by_one else gap_s)

    def learn(self, *, wall_s: float, open_s: float) -> None:
        """Take the limit to be what was taken before a refusal, in the time until it ended."""
        before_s = [s for s in self.taken_s if wall_s - _WINDOW_S < s <= wall_s]
        if not before_s:  # another process used it up
            return
        span_s = min(_WINDOW_S, max(open_s - min(before_s), 1e-3))
        self.rate_per_s = max(_FLOOR_PER_S, _USED * len(before_s) / span_s)
        # It is doubled the more rarely the more often that was too much.
        if self._raised:
            self._steady_s = min(2 * self._steady_s, 3600.0)
        self._raise_at_s, self._raised = open_s + self._steady_s, False
        # What was sent too early is made up for, or the next one meets the same wall.
        self.next_s = open_s + 2 / self.rate_per_s
