"""What may be sent again, when servers say to come back, and when a job is looked at."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from statistics import mean

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segmind_jupyter.api.retry import (
    MAX_DELAY_S,
    MIN_DELAY_S,
    History,
    Pace,
    Policy,
    Trouble,
    learned,
    may_be_billed,
    may_repeat,
    next_poll,
    parse_wait,
)

STATUSES = [*range(300, 310), *range(400, 430), 451, *range(500, 512), 599]


def test_the_table_of_what_is_sent_again():
    """A POST only where it was refused before work or never left; a GET, which is free, always."""
    for status in STATUSES:
        assert may_repeat("POST", status) is (status in {429, 503})
        assert may_repeat("GET", status) is (status in {408, 429} or status >= 500)
    assert may_repeat("POST", Trouble.NEVER_OPENED)
    assert not may_repeat("POST", Trouble.NO_ANSWER)
    assert may_repeat("GET", Trouble.NEVER_OPENED)
    assert may_repeat("GET", Trouble.NO_ANSWER)
    assert not may_repeat("GET", Trouble.UNTRUSTED)


def test_what_may_have_been_billed_is_never_repeated():
    """The two answers exclude each other, for every failure of a POST; a GET starts no work."""
    for failure in [*Trouble, *STATUSES]:
        assert not (may_repeat("POST", failure) and may_be_billed("POST", failure))
        assert not may_be_billed("GET", failure)
    unknown = {failure for failure in STATUSES if may_be_billed("POST", failure)}
    assert unknown == {408, *range(500, 512), 599} - {501, 503, 505}


def test_waits_double_up_to_the_cap():
    """Without chance: 0.5, 1, 2, 4, 8, 8 seconds; chance halves them at most."""
    waits = [Policy().backoff_s(n, luck=0.0) for n in range(1, 7)]
    assert waits == [0.5, 1, 2, 4, 8, 8]
    assert Policy().backoff_s(10_000, luck=1.0) == 4.0


NOW = datetime(2026, 11, 27, 11, 59, 30, 250_000, tzinfo=UTC)
THEN = datetime(2026, 11, 27, 12, 1, tzinfo=UTC)


def test_a_moment_to_go_on_is_read_in_every_plausible_form():
    """ISO 8601, RFC 9110, a time of day, a Unix time in seconds or milliseconds, seconds."""
    unix = THEN.timestamp()
    for told in [
        *(" 89.75 ", str(int(unix)), f"{unix:.1f}", str(int(unix * 1000))),
        *("2026-11-27T12:01:00Z", "2026-11-27T12:01:00", "2026-11-27 12:01:00 UTC"),
        *("2026-11-27 12:01:00.000000", "2026-11-27T14:01:00+02:00"),
        *("Fri, 27 Nov 2026 12:01:00 GMT", "Fri, 27 Nov 2026 12:01:00 -0000"),
        *("12:01:00", "12:01:00Z", "12:01"),
    ]:
        for now in (NOW, NOW.astimezone(timezone(timedelta(hours=5)))):
            assert parse_wait(told, now=now) == pytest.approx(89.75)
    late = NOW.replace(hour=23, minute=59, second=50, microsecond=0)
    assert parse_wait("00:00:05", now=late) == 15.0  # tomorrow


def test_nonsense_and_what_is_over_names_no_moment():
    """Nor does what is more than a day away."""
    for told in [
        *(None, "", "0", "-3", "nan", "inf", "soon", "1e400", "99:99", "UTC"),
        *("2026-11-27T11:00:00Z", "2099-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59"),
        *("Fri, 31 Dec 99999999999 23:59:59 GMT", "Thu, 99 Jan 2026 00:00:30 GMT"),
    ]:
        assert parse_wait(told, now=NOW) is None


@given(st.text(max_size=40) | st.from_regex(r"[0-9TZ:+., -]{0,30}"))
def test_no_header_breaks_the_client(told):
    """It is the server's word, so anything may stand in it."""
    seconds = parse_wait(told, now=NOW)
    assert seconds is None or 0 < seconds <= 86_400


def watch(
    works_s: Iterable[float],
    *,
    history: Iterable[float] = (),
    at_once: int = 20,
) -> tuple[list[float], float]:
    """Run jobs that take so long, in virtual time: how late each end was noticed, polls a job.

    What is learned of a job is what can be known: the middle between the last poll that found
    it at work and the one that did not.
    """
    known, queue, ordinal = History(lambda model: history), iter(works_s), itertools.count()
    due: list[tuple[float, int, float, float, int, float]] = []
    delays_s, polls_a_job = [], []

    def submit(now_s: float) -> None:
        for work_s in itertools.islice(queue, 1):
            first_s = now_s + next_poll(0.0, known.of("m"))
            heapq.heappush(due, (first_s, next(ordinal), now_s, work_s, 1, now_s))

    for _ in range(at_once):
        submit(0.0)
    while due:
        now_s, job, begun_s, work_s, polls, before_s = heapq.heappop(due)
        if now_s - begun_s >= work_s:
            delays_s.append(now_s - begun_s - work_s)
            polls_a_job.append(polls)
            known.add("m", (now_s + before_s) / 2 - begun_s)
            submit(now_s)
        else:
            next_s = now_s + next_poll(now_s - begun_s, known.of("m"))
            heapq.heappush(due, (next_s, job, begun_s, work_s, polls + 1, now_s))
    return delays_s, mean(polls_a_job)


def uniform(least_s: float, most_s: float, count: int, *, seed: int) -> list[float]:
    chance = random.Random(seed)
    return [chance.uniform(least_s, most_s) for _ in range(count)]


def bimodal(count: int) -> Iterator[float]:
    chance = random.Random(1)
    for _ in range(count):
        yield chance.gauss(3, 0.3) if chance.random() < 0.5 else chance.gauss(20, 1)


@pytest.mark.parametrize(
    ("works_s", "known_s", "delay", "polls"),
    [
        pytest.param(uniform(11, 24, 400, seed=1), [], 0.55, 1.05, id="Claude, cold"),
        pytest.param(
            uniform(11, 24, 400, seed=1), uniform(11, 24, 50, seed=9), 0.55, 1.0, id="Claude, known"
        ),
        pytest.param(uniform(0.5, 3.5, 200, seed=1), [], 0.33, 2.2, id="short, learning"),
        pytest.param(list(bimodal(300)), [], 0.8, 1.7, id="bimodal"),
        pytest.param(
            uniform(580, 620, 40, seed=1), uniform(580, 620, 60, seed=2), 1.0, 0.15, id="minutes"
        ),
        pytest.param(
            uniform(29, 31, 60, seed=1), uniform(2.5, 3.5, 60, seed=2), 0.7, 1.0, id="slower now"
        ),
    ],
)
def test_ends_are_noticed_sooner_than_by_the_vendors_loop_without_a_storm(
    works_s, known_s, delay, polls
):
    """Parts of what the vendor's SDK needs, which polls after 0, 1, 2, ... seconds."""
    vendors_s = mean(math.ceil(work_s) - work_s for work_s in works_s)
    vendors_polls = mean(math.ceil(work_s) + 1 for work_s in works_s)
    delays_s, polls_a_job = watch(works_s, history=known_s)
    assert mean(delays_s) <= delay * vendors_s
    assert polls_a_job <= polls * vendors_polls


@pytest.mark.parametrize("before_s", [30.0, 600.0])
def test_jobs_that_became_faster_are_found_out(before_s):
    """After slow ones a job of 3 s waits some seconds at first, and soon no longer."""
    slow_s = uniform(0.95 * before_s, 1.05 * before_s, 60, seed=1)
    delays_s, _ = watch(uniform(2.5, 3.5, 60, seed=2), history=slow_s, at_once=1)
    assert max(delays_s) < 12
    assert mean(delays_s[-20:]) < 1.5


def test_nothing_known_means_a_first_poll_within_a_second_and_longer_waits_later():
    """The longer it has taken the longer it may still take; slower than any is as unknown."""
    assert next_poll(0.0) < 1
    waits_s = [next_poll(age_s) for age_s in (1, 10, 100, 1000, 10_000)]
    assert waits_s == sorted(waits_s)
    assert next_poll(1000.0, Pace(5.0, 1.0)) == next_poll(1000.0)


ELAPSED = st.floats(0, 1e5) | st.floats()
PACES = st.none() | st.builds(Pace, st.floats(1e-3, 86_400), st.floats(0, 86_400))


@given(ELAPSED, PACES)
@example(math.nan, None)
@example(math.inf, Pace(5e-324, 0.0))
@example(15.0, Pace(15.0, 0.0))
def test_the_wait_is_within_its_bounds_whatever_the_pace(elapsed_s, pace):
    """From a tenth of a second to a minute, for any floats."""
    assert MIN_DELAY_S <= next_poll(elapsed_s, pace) <= MAX_DELAY_S


@given(st.lists(st.floats(0.1, 1000) | st.floats(), max_size=40))
def test_a_pace_is_learned_of_durations_alone(durations_s):
    """It lies among them; what is no duration changes nothing."""
    pace = None
    for seconds in durations_s:
        pace = learned(pace, seconds)
    good = [s for s in durations_s if 0 < s <= 86_400]
    assert (pace is None) is (not good)
    if pace is not None:
        assert min(good) * 0.999 <= pace.mean_s <= max(good) * 1.001
        assert 0 <= pace.spread_s <= max(good)


def test_the_history_is_seeded_once_a_model_and_goes_on_from_there():
    """Whether the first use reads or adds."""
    asked = []

    def seed(model: str) -> Iterator[float]:
        asked.append(model)
        return iter([10.0, 12.0])

    history = History(seed)
    before = history.of("a")
    history.add("a", 20.0)
    history.add("b", 20.0)
    assert before.mean_s < history.of("a").mean_s == history.of("b").mean_s < 20
    assert asked == ["a", "b"]
    assert History().of("a") is None
