"""When the next poll of a job is due, and how long earlier jobs took. Pure: no clock, no I/O.

It does not know what a poll is made of, nor how many may go at once: that is `budget`'s.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final


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
    """How patiently requests are repeated."""

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
        """Seconds to wait before the request is sent again, or `None` where it must not be."""
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
    """Return whether a failed request may be sent again at all."""
    if method == "GET":
        return isinstance(failure, Trouble) or failure in {408, 429} or failure >= 500
    return failure is Trouble.NEVER_OPENED or failure in _POST_AGAIN


def may_be_billed(method: str, failure: Failure) -> bool:
    """Return whether a failed request may have been carried out, and billed, all the same."""
    if method == "GET":
        return False
    if isinstance(failure, Trouble):
        return failure is Trouble.NO_ANSWER
    # Segmind documents 500, 502 and 504; a gateway in between has more (408, 520 to 529).
    unknown = failure >= 500 and failure not in _POST_AGAIN | _POST_REFUSED
    return unknown or failure == 408


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Read a `Retry-After` header as seconds from now."""
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


#: A poll's round trip takes some tens of milliseconds, so a closer one would learn nothing new;
#: and ten requests a second for one job is as much as can be called polite.
MIN_DELAY_S: Final = 0.1

#: Results live one hour (Segmind's v2 page): a minute off it is harmless, and few requests.
MAX_DELAY_S: Final = 60.0

#: Newest durations that are kept of a model: enough for its quantiles, few enough to forget.
MAX_SAMPLES: Final = 200

#: Seconds of waiting that one poll is worth, in a job one second old ...
_PRICE_S: Final = 0.0205

#: ... falling as the job grows old, by this power of its age: the measure of what is polite is
#: the vendor's own loop, one poll a second, which leaves long jobs more polls than short ones.
_CHEAPER: Final = 0.1

#: No model answers sooner than this, so the first polls are saved for later.
_SOONEST_S: Final = 0.5

#: Where nothing is known a job that is t seconds old has the hazard
#: ``_PRIOR_ENDS_PER_S / (1 + (t / _PRIOR_BEND_S) ** _PRIOR_FALL)``: much the same in the first
#: seconds, in which many jobs end, and then the lower the longer it has taken.
_PRIOR_ENDS_PER_S: Final = 0.82
_PRIOR_BEND_S: Final = 3.5
_PRIOR_FALL: Final = 1.85

#: Beside a history that counts as this many jobs: next to none against many samples, but enough
#: that jobs which became faster are found out ...
_PRIOR_JOBS: Final = 0.17

#: ... and as this many before the first sample, divided among the samples as they come: a few of
#: them say little about when others end.
_PRIOR_JOBS_AT_FIRST: Final = 8.0

#: Every duration stands for three, this part of it apart, so that equal ones have a density too:
#: no job is timed better than to some hundredths ...
_BLUR: Final = 0.03

#: ... and a lone one says no more than about where, as the error of a mean, which falls with the
#: root of the number of samples.
_BLUR_OF_ONE: Final = 0.35

#: A longer duration is that of a laptop that slept; a job that old is polled like this one.
_DAY_S: Final = 86_400.0


def next_poll(elapsed_s: float, history: Sequence[float] = ()) -> float:
    """Tell when to poll a job that is not known to have ended.

    With r polls a second an end is noticed 1 / 2r seconds late in the mean, and a job that has
    hazard h (ends a second, given that it still runs) costs r polls a second. Delay plus price
    times polls is least where ``r = sqrt(h / (2 * price))``. That rate is summed up from now on,
    and the next poll is due where the sum reaches one.
    """
    # In this order `max` makes a 0 of what is not a number.
    now_s = min(max(0.0, elapsed_s), _DAY_S)
    owed = 1.0
    for stretch in _stretches(now_s, history):
        start_s = max(stretch.start_s, now_s)
        rate_per_s = stretch.polls_per_s
        polls = rate_per_s * (stretch.end_s - start_s)
        if polls >= owed:
            return _bounded(start_s + owed / rate_per_s - now_s)
        if stretch.end_s - now_s > MAX_DELAY_S:
            break
        owed -= polls
    return MAX_DELAY_S


class History:
    """How long jobs took, by model. For one event loop."""

    def __init__(self, seed: Callable[[str], Iterable[float]] | None = None) -> None:
        self._seed = seed
        self._durations_s: dict[str, deque[float]] = {}

    def add(self, model: str, seconds: float) -> None:
        """Note that a job of `model` took `seconds` from submission to end."""
        self._of(model).append(seconds)

    def of(self, model: str) -> Sequence[float]:
        """Return the newest durations of `model`, in seconds, oldest first."""
        return tuple(self._of(model))

    def _of(self, model: str) -> deque[float]:
        durations_s = self._durations_s.get(model)
        if durations_s is None:
            known = deque(self._seed(model) if self._seed else (), maxlen=MAX_SAMPLES)
            durations_s = self._durations_s.setdefault(model, known)
        return durations_s


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A time of a job's life with one hazard throughout.

    `ends_per_s` counts the earlier jobs that ended in it, `left` those that lived to its start;
    `prior_jobs` is what the hazard of the unknown counts beside them.
    """

    start_s: float
    end_s: float
    prior_jobs: float
    ends_per_s: float = 0.0
    left: float = 0.0

    @property
    def polls_per_s(self) -> float:
        age_s = (self.start_s + self.end_s) / 2
        prior = _prior_hazard(age_s) if self.start_s >= _SOONEST_S else 0.0
        hazard = (self.ends_per_s + self.prior_jobs * prior) / (self.left + self.prior_jobs)
        return math.sqrt(hazard * math.pow(age_s, _CHEAPER) / (2 * _PRICE_S))


def _prior_hazard(age_s: float) -> float:
    return _PRIOR_ENDS_PER_S / (1 + math.pow(age_s / _PRIOR_BEND_S, _PRIOR_FALL))


def _stretches(now_s: float, history: Sequence[float]) -> Iterator[_Stretch]:
    """Cut the time from now on, so that neither the history nor the age changes much in a piece.

    The cuts do not depend on `now_s`; only the first piece may begin before it.
    """
    for stretch in _spacings(now_s, [s for s in history if 0 < s <= _DAY_S]):
        start_s = stretch.start_s
        while start_s < stretch.end_s:
            end_s = min(stretch.end_s, _doubling(start_s))
            if end_s > now_s:
                yield replace(stretch, start_s=start_s, end_s=end_s)
            start_s = end_s


def _spacings(now_s: float, durations_s: Sequence[float]) -> Iterator[_Stretch]:
    """Cut at the durations: each end is spread over the time since the end before it."""
    prior_jobs = max(_PRIOR_JOBS, _PRIOR_JOBS_AT_FIRST / (1 + len(durations_s)))
    ends_s = _blurred(durations_s)
    done = bisect_right(ends_s, now_s)
    start_s = ends_s[done - 1] if done else 0.0
    while done < len(ends_s):
        end_s = ends_s[done]
        until = bisect_right(ends_s, end_s, done)
        ended, left = (until - done) / 3, (len(ends_s) - done) / 3
        yield _Stretch(start_s, end_s, prior_jobs, ended / (end_s - start_s), left)
        start_s, done = end_s, until
    yield _Stretch(start_s, math.inf, prior_jobs)


def _blurred(durations_s: Sequence[float]) -> list[float]:
    """Make three of each duration, the further apart the fewer there are; sorted."""
    blur = max(_BLUR, _BLUR_OF_ONE / math.sqrt(max(1, len(durations_s))))
    return sorted(s * factor for s in durations_s for factor in (1 - blur, 1.0, 1 + blur))


def _doubling(age_s: float) -> float:
    """Return the next of 0.5, 1, 2, 4, ... seconds after `age_s`."""
    if age_s < _SOONEST_S:
        return _SOONEST_S
    return math.ldexp(_SOONEST_S, math.frexp(age_s / _SOONEST_S)[1])


def _bounded(delay_s: float) -> float:
    return min(MAX_DELAY_S, max(MIN_DELAY_S, delay_s))
