"""How many requests may go to the service: one bucket of tokens, whose rate learns from answers.

It knows kinds of requests and how they were answered, not what they say.
"""

from __future__ import annotations

import enum
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import anyio

#: Requests a second to begin with. The largest plan is said to take 1000 a minute; a minute's
#: worth may come in bursts, such as the polls of two dozen short jobs.
START_PER_S: Final = 60.0

#: Never more than this, whatever a server would take: a minute at this rate is a few times the
#: largest plan. Each round of refusals halves the rate, so where a window of a minute is full it
#: falls towards the floor, and it takes a minute or more of answers to rise again.
CEILING_PER_S: Final = 60.0

#: Never less than this, so that the end of a refusal is found out. The smallest plan is said to
#: take five requests a minute.
FLOOR_PER_S: Final = 1 / 15

#: Longest `Retry-After` that is honoured (as for a single request, see `retry`).
MAX_PAUSE_S: Final = 60.0

#: A poll that waited this long goes before submits, though not before two in a row.
PATIENCE_S: Final = 5.0

#: A 429 leaves this part of the rate ...
_CUT: Final = 0.5

#: ... once in this time, in which the requests that were under way are answered: the 429s of one
#: burst are one signal.
_ROUND_S: Final = 0.5

#: A good answer adds this part of the rate, and this much: the first doubles a high rate within
#: seconds, the second lifts a low one off the floor.
_GROWTH: Final = 0.02
_GROWTH_PER_S: Final = 0.01

#: What an idle bucket saves up, in seconds of its rate: a few requests may go at once.
_BURST_S: Final = 0.35

#: Clocks and sleeps round: a sleep to the very moment might end before it, again and again.
_MARGIN_S: Final = 0.001


class Kind(enum.IntEnum):
    """What a request is for, in order of precedence."""

    CHAT = 0
    RESULT = 1
    SUBMIT = 2
    POLL = 3


class Budget:
    """Say when the next request may go, to all who send requests with one key.

    The rate follows the server: it grows with answers, and is cut by a 429. Other errors and
    broken connections leave it as it is: they do not say that there were too many requests, and
    each sender backs off by itself.

    Parameters
    ----------
    clock, sleep
        Stand in for the clock and for waiting.
    rate_per_s
        Requests a second to begin with.
    ceiling_per_s
        Most requests a second.

    Notes
    -----
    For one event loop, without a task of its own: one of those who wait sleeps until the next
    token is due, and hands it to whoever is first then; the others wait to be called.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        rate_per_s: float = START_PER_S,
        ceiling_per_s: float = CEILING_PER_S,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._bucket = _Bucket(min(rate_per_s, ceiling_per_s), now_s=clock())
        self._ceiling_per_s = ceiling_per_s
        self._lines = _Lines()
        self._timer: _Waiter | None = None
        self._nap: anyio.CancelScope | None = None
        self._paused_until_s = self._uncut_until_s = -math.inf

    @property
    def rate_per_s(self) -> float:
        """Requests a second that may go at present."""
        return self._bucket.rate_per_s

    async def turn(self, kind: Kind) -> None:
        """Return when one request of this kind may be sent.

        A chat never waits, as somebody sits in front of it; it is counted, so that others wait
        for it. The rest goes by kind, then by age; a poll that waited long goes before submits.

        Parameters
        ----------
        kind
            What the request is for.
        """
        if kind is Kind.CHAT or not (self._lines or self._wait_s() > 0):
            self._bucket.take(self._clock())
        else:
            await self._wait(kind)

    def answered(self, status: int | None, *, retry_after_s: float | None = None) -> None:
        """Note what came of a request.

        Parameters
        ----------
        status
            The HTTP status; `None` where there was no answer.
        retry_after_s
            Seconds for which the server asked to be left alone: nothing but chats is sent
            meanwhile, for a minute at most.
        """
        now_s = self._clock()
        if retry_after_s is not None and retry_after_s > 0:
            until_s = now_s + min(retry_after_s, MAX_PAUSE_S)
            self._paused_until_s = max(self._paused_until_s, until_s)
        if status == 429:
            self._cut(now_s)
        elif status is not None and status < 500:
            self._grow(now_s)

    def _cut(self, now_s: float) -> None:
        if now_s >= self._uncut_until_s:
            self._uncut_until_s = now_s + _ROUND_S
            self._bucket.set_rate(max(FLOOR_PER_S, self.rate_per_s * _CUT), now_s)
            self._bucket.drain()

    def _grow(self, now_s: float) -> None:
        """Raise the rate if it is what holds requests back: an idle one would prove nothing."""
        if self._lines or self._bucket.due_in_s(now_s) > 0:
            rate_per_s = self.rate_per_s * (1 + _GROWTH) + _GROWTH_PER_S
            self._bucket.set_rate(min(self._ceiling_per_s, rate_per_s), now_s)

    def _wait_s(self) -> float:
        now_s = self._clock()
        return max(self._bucket.due_in_s(now_s), self._paused_until_s - now_s)

    async def _wait(self, kind: Kind) -> None:
        waiter = _Waiter(kind, since_s=self._clock())
        self._lines.join(waiter)
        try:
            if self._timer is None:
                self._timer = waiter
            else:
                await waiter.called.wait()
            while not waiter.served:
                await self._doze(self._wait_s())
                self._serve()
        except BaseException:
            self._leave(waiter)
            raise
        finally:
            if self._timer is waiter:
                self._hand_over()

    async def _doze(self, delay_s: float) -> None:
        """Sleep until a token is due, or was given back."""
        with anyio.CancelScope() as self._nap:
            await self._sleep(max(0.0, delay_s) + _MARGIN_S)

    def _serve(self) -> None:
        """Give what tokens there are to those who are first."""
        while self._lines and self._wait_s() <= 0:
            now_s = self._clock()
            self._bucket.take(now_s)
            self._lines.pop(now_s).serve()

    def _leave(self, waiter: _Waiter) -> None:
        """Step out of the line; a token that was given and not used goes to the next."""
        if not waiter.served:
            self._lines.leave(waiter)
            return
        self._bucket.give_back()
        if self._nap is not None:
            self._nap.cancel()

    def _hand_over(self) -> None:
        """Have another of those who wait look at the clock."""
        self._timer = self._lines.last()
        if self._timer is not None:
            self._timer.called.set()


class _Bucket:
    """Tokens, each worth one request, that come in at a rate and are saved up to a small burst."""

    def __init__(self, rate_per_s: float, *, now_s: float) -> None:
        self.rate_per_s = rate_per_s
        self._tokens = self._burst
        self._at_s = now_s

    @property
    def _burst(self) -> float:
        return max(1.0, self.rate_per_s * _BURST_S)

    def due_in_s(self, now_s: float) -> float:
        """Seconds until there is a whole token; 0 if there is one."""
        self._fill(now_s)
        return max(0.0, (1.0 - self._tokens) / self.rate_per_s)

    def take(self, now_s: float) -> None:
        """Take a token, if need be on credit: at most one burst, lest chats starve the jobs."""
        self._fill(now_s)
        self._tokens = max(-self._burst, self._tokens - 1.0)

    def give_back(self) -> None:
        self._tokens += 1.0

    def drain(self) -> None:
        """Forget what was saved up."""
        self._tokens = min(self._tokens, 0.0)

    def set_rate(self, rate_per_s: float, now_s: float) -> None:
        self._fill(now_s)
        self.rate_per_s = rate_per_s

    def _fill(self, now_s: float) -> None:
        gained = (now_s - self._at_s) * self.rate_per_s
        self._tokens = min(self._burst, self._tokens + gained)
        self._at_s = now_s


class _Waiter:
    """Somebody who waits for a turn."""

    def __init__(self, kind: Kind, *, since_s: float) -> None:
        self.kind, self.since_s = kind, since_s
        self.served = False
        #: Set when it is served, or when it is its part to look at the clock.
        self.called = anyio.Event()

    def serve(self) -> None:
        self.served = True
        self.called.set()


class _Lines:
    """Those who wait, a line for each kind."""

    def __init__(self) -> None:
        self._lines: dict[Kind, deque[_Waiter]] = {kind: deque() for kind in Kind}
        self._poll_was_first = False

    def __bool__(self) -> bool:
        return any(self._lines.values())

    def join(self, waiter: _Waiter) -> None:
        self._lines[waiter.kind].append(waiter)

    def leave(self, waiter: _Waiter) -> None:
        self._lines[waiter.kind].remove(waiter)

    def last(self) -> _Waiter | None:
        """Return the one who will be here longest."""
        return next((line[-1] for line in reversed(self._lines.values()) if line), None)

    def pop(self, now_s: float) -> _Waiter:
        """Take out the first: by kind, then by age, but for polls that waited long."""
        submits, polls = self._lines[Kind.SUBMIT], self._lines[Kind.POLL]
        if not self._lines[Kind.RESULT] and submits and polls:
            overdue = now_s - polls[0].since_s > PATIENCE_S
            # Turn about: where every poll is overdue, submits must not starve in their stead.
            self._poll_was_first = overdue and not self._poll_was_first
            return (polls if self._poll_was_first else submits).popleft()
        return next(line for line in self._lines.values() if line).popleft()
