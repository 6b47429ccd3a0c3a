"""What may be sent again and after how long, when a job is looked at, and whose turn it is.

Only the limiter has a clock; the rest is pure.
"""

from __future__ import annotations

import contextlib
import enum
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import reduce
from typing import Final

import anyio


class Trouble(enum.Enum):
    """A request that got no HTTP answer."""

    NEVER_OPENED = "the connection never opened"
    UNTRUSTED = "the server's certificate is not trusted, so nothing was sent"
    NO_ANSWER = "the connection broke or timed out after the request may have been sent"


#: What can go wrong with one attempt: no answer, or an answer with this status.
Failure = Trouble | int

#: Refused before any work was done, so sending again costs nothing.
_POST_AGAIN: Final = frozenset({429, 503})

#: Refused for what it is, so no work can have been done: not implemented, HTTP version.
_POST_REFUSED: Final = frozenset({501, 505})


def may_repeat(method: str, failure: Failure) -> bool:
    """Return whether a failed request may be sent again at all."""
    if isinstance(failure, Trouble):
        again = failure is Trouble.NO_ANSWER and method == "GET"
        return again or failure is Trouble.NEVER_OPENED
    if method == "GET":
        return failure in {408, 429} or failure >= 500
    return failure in _POST_AGAIN


def may_be_billed(method: str, failure: Failure) -> bool:
    """Return whether a failed request may have been carried out, and billed, all the same."""
    if method == "GET":
        return False
    if isinstance(failure, Trouble):
        return failure is Trouble.NO_ANSWER
    # Segmind documents 500, 502 and 504; a gateway in between has more (408, 520 to 529).
    unknown = failure >= 500 and failure not in _POST_AGAIN | _POST_REFUSED
    return unknown or failure == 408


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How patiently requests are repeated."""

    #: Of a POST whose connection never opened, or that was refused with 503.
    post_attempts: int = 5
    base_s: float = 0.5
    cap_s: float = 8.0

    def backoff_s(self, attempt: int, *, luck: float) -> float:
        """Return the wait after the n-th failure in a row; `luck` from 0 to 1 shortens it."""
        full_s = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 32))
        return full_s * (1 - luck / 2)


#: A number from here on is a Unix time, and from there on one in milliseconds.
_UNIX_S, _UNIX_MS = 1e9, 1e11

#: No server means a moment further away than this; a date beyond it is nonsense.
_DAY_S: Final = 86_400.0


def parse_wait(value: str | None, *, now: datetime) -> float | None:
    """Read when a server takes requests again (a date, a Unix time, seconds) as seconds from now.

    `None` where it says nothing usable; the form of `x-rate-limit-reset-at-utc` is not documented.
    """
    text = (value or "").strip()
    try:
        number = float(text)
    except ValueError:
        then = _parse_date(text, now=now)
        seconds = math.nan if then is None else (then - now).total_seconds()
    else:
        unix_s = number / 1000 if number >= _UNIX_MS else number
        seconds = unix_s - now.timestamp() if unix_s >= _UNIX_S else number
    return seconds if 0 < seconds <= _DAY_S else None


def _parse_date(text: str, *, now: datetime) -> datetime | None:
    """Read a date of ISO 8601 or RFC 9110, or a time of day; without a zone it is in UTC."""
    text = text.removesuffix("UTC").removesuffix("GMT").strip()
    parsers: tuple[Callable[[str], datetime], ...] = (
        datetime.fromisoformat,
        parsedate_to_datetime,
        lambda clock: datetime.fromisoformat(f"{now.astimezone(UTC):%Y-%m-%d}T{clock}"),
    )
    for parse in parsers:
        try:
            then = parse(text)
        except (ValueError, TypeError, OverflowError, IndexError):
            continue
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        is_time_alone = parse is parsers[-1]
        return then + timedelta(days=1) if is_time_alone and then < now else then
    return None


# When a job is looked at --------------------------------------------------------------------

#: A poll's round trip takes some tens of milliseconds, so a closer one would learn nothing new;
#: and ten requests a second for one job is as much as can be called polite.
MIN_DELAY_S: Final = 0.1

#: Results live one hour (Segmind's v2 page): a minute off it is harmless, and few requests.
MAX_DELAY_S: Final = 60.0

#: Seconds of waiting that one poll is worth, in a job one second old, and the power of its age by
#: which that falls: what is polite is the vendor's own loop, one poll a second, which leaves long
#: jobs more polls than short ones.
_PRICE_S, _CHEAPER = 0.022, 0.05

#: No model answers sooner than this, so the first polls are saved for later.
_SOONEST_S: Final = 0.5

#: What a new duration counts beside all earlier ones.
_NEWEST: Final = 0.15

#: A lone duration says no more than about where others end; none is better known than this part.
_SPREAD_AT_FIRST, _SPREAD_AT_LEAST = 0.3, 0.04


@dataclass(frozen=True, slots=True)
class Pace:
    """How long a model's jobs take: mean and spread (one standard deviation), in seconds."""

    mean_s: float
    spread_s: float


def learned(pace: Pace | None, seconds: float) -> Pace | None:
    """Return the pace after one more duration; what is no duration changes nothing."""
    if not 0 < seconds <= _DAY_S:
        return pace
    if pace is None:
        return Pace(seconds, _SPREAD_AT_FIRST * seconds)
    off_s = seconds - pace.mean_s
    variance = (1 - _NEWEST) * (pace.spread_s**2 + _NEWEST * off_s**2)
    return Pace(pace.mean_s + _NEWEST * off_s, math.sqrt(variance))


class History:
    """The pace of each model, seeded with earlier durations, oldest first. For one event loop."""

    def __init__(self, seed: Callable[[str], Iterable[float]] = lambda model: ()) -> None:
        self._seed = seed
        self._paces: dict[str, Pace | None] = {}

    def of(self, model: str) -> Pace | None:
        """Return how long jobs of `model` take, as far as it is known."""
        if model not in self._paces:
            self._paces[model] = reduce(learned, self._seed(model), None)
        return self._paces[model]

    def add(self, model: str, seconds: float) -> None:
        """Note that a job of `model` took `seconds` from submission to end."""
        self._paces[model] = learned(self.of(model), seconds)


def next_poll(elapsed_s: float, pace: Pace | None = None) -> float:
    """Return in how many seconds to poll a job that is not known to have ended.

    With r polls a second an end is noticed 1 / 2r seconds late in the mean, and a job that has
    hazard h (ends a second, given that it still runs) costs r polls a second. Delay plus price
    times polls is least where ``r = sqrt(h / (2 * price))``. That rate is summed up from now on,
    and the next poll is due where the sum reaches one.
    """
    # In this order `max` makes a 0 of what is not a number.
    now_s = min(max(0.0, elapsed_s), _DAY_S)
    age_s, owed = max(now_s, _SOONEST_S), 1.0
    while age_s < now_s + MAX_DELAY_S:
        step_s = max(0.02, 0.01 * age_s)
        middle_s = age_s + step_s / 2
        price_s = _PRICE_S / math.pow(middle_s, _CHEAPER)
        rate_per_s = math.sqrt(_hazard(middle_s, pace) / (2 * price_s))
        if rate_per_s * step_s >= owed:
            return min(MAX_DELAY_S, max(MIN_DELAY_S, age_s + owed / rate_per_s - now_s))
        owed -= rate_per_s * step_s
        age_s += step_s
    return MAX_DELAY_S


def _hazard(age_s: float, pace: Pace | None) -> float:
    """Return how many of the jobs that still run at this age end in a second of it."""
    # Where nothing is known: much the same in the first seconds, in which many jobs end, and then
    # the lower the longer it has taken.
    unknown = 0.82 / (1 + math.pow(age_s / 3.5, 1.85))
    if pace is None:
        return unknown
    # Logistic, as its hazard can be written down; its scale is its deviation by pi / sqrt(3).
    scale_s = max(pace.spread_s, _SPREAD_AT_LEAST * pace.mean_s, 1e-3) * math.sqrt(3) / math.pi
    late = (age_s - pace.mean_s) / scale_s
    if late > 6:  # slower than any before: they have no more to say
        return unknown
    # A part of the unknown stays, so that jobs which became faster are found out.
    return 1 / (scale_s * (1 + math.exp(-max(late, -500)))) + 0.004 * unknown


# Whose turn it is ---------------------------------------------------------------------------

#: The published limits are so many requests a minute (WIRE.md).
_WINDOW_S: Final = 60.0

#: The longest pause that is believed; results live as long, and no limit is known to last longer.
MAX_PAUSE_S: Final = 3600.0

#: A little less than the smallest published plan, five a minute, and six times the largest.
_FLOOR_PER_S, _CEILING_PER_S = 4.5 / _WINDOW_S, 6000 / _WINDOW_S

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

    @property
    def posts_per_min(self) -> float | None:
        """How many POSTs a minute the server took before it refused one; `None` if it never did."""
        rate_per_s = self._posts.rate_per_s or self._all.rate_per_s
        return rate_per_s and 60 * rate_per_s

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
