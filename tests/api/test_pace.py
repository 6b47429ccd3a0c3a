"""When to poll: against the vendor's loop, on a clock of its own, and for whatever history."""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segmind_jupyter.api.retry import MAX_DELAY_S, MAX_SAMPLES, MIN_DELAY_S, History, next_poll

Poll = Callable[[float, Sequence[float]], float]


@dataclass
class Tally:
    """Of each job: seconds from its end to the poll that noticed, and polls up to that one."""

    delays_s: list[float] = field(default_factory=list)
    polls: list[int] = field(default_factory=list)

    @property
    def delay_s(self) -> float:
        return mean(self.delays_s)

    @property
    def polls_a_job(self) -> float:
        return mean(self.polls)


def watch(
    works_s: Iterable[float],
    *,
    poll: Poll = next_poll,
    history: Iterable[float] = (),
    learn: bool = True,
    at_once: int = 20,
) -> Tally:
    """Run jobs that take so long, some at a time, in virtual time.

    What is learned of a job is what can be known: the middle between the last poll that found
    it at work and the one that did not.
    """
    tally, known, queue = Tally(), History(lambda model: history), iter(works_s)
    ordinal = itertools.count()
    due: list[tuple[float, int, float, float, int, float]] = []

    def submit(now_s: float) -> None:
        for work_s in itertools.islice(queue, 1):
            first_s = now_s + poll(0.0, known.of("m"))
            heapq.heappush(due, (first_s, next(ordinal), now_s, work_s, 1, now_s))

    for _ in range(at_once):
        submit(0.0)
    while due:
        now_s, job, begun_s, work_s, polls, before_s = heapq.heappop(due)
        if now_s - begun_s >= work_s:
            tally.delays_s.append(now_s - begun_s - work_s)
            tally.polls.append(polls)
            if learn:
                known.add("m", (now_s + before_s) / 2 - begun_s)
            submit(now_s)
        else:
            next_s = now_s + poll(now_s - begun_s, known.of("m"))
            heapq.heappush(due, (next_s, job, begun_s, work_s, polls + 1, now_s))
    return tally


def vendor(works_s: Iterable[float]) -> Tally:
    """What the vendor's SDK makes of it: `AsyncJob.wait` polls after 0, 1, 2, ... seconds."""
    works_s = list(works_s)
    return Tally(
        [math.ceil(work_s) - work_s for work_s in works_s],
        [math.ceil(work_s) + 1 for work_s in works_s],
    )


def uniform(least_s: float, most_s: float, count: int, *, seed: int) -> list[float]:
    chance = random.Random(seed)
    return [chance.uniform(least_s, most_s) for _ in range(count)]


def runs(least_s: float, most_s: float, count: int, **kwargs: object) -> tuple[Tally, Tally]:
    """Ours and the vendor's on the same jobs, five times from the start."""
    ours, theirs = Tally(), Tally()
    for seed in range(5):
        works_s = uniform(least_s, most_s, count, seed=seed)
        for total, run in ((ours, watch(works_s, **kwargs)), (theirs, vendor(works_s))):  # type: ignore[arg-type]
            total.delays_s += run.delays_s
            total.polls += run.polls
    return ours, theirs


@pytest.mark.heavy
def test_claude_calls_from_a_cold_start_are_noticed_twice_as_fast_with_no_more_polls():
    """200 jobs of 11 to 24 s, 20 at a time, of which nothing was known before."""
    ours, theirs = runs(11, 24, 200)
    assert ours.delay_s <= theirs.delay_s / 2
    assert ours.polls_a_job <= theirs.polls_a_job


@pytest.mark.heavy
def test_known_claude_calls_are_noticed_twice_as_fast_with_fewer_polls():
    """Jobs of 11 to 24 s, after 200 of their like."""
    ours, theirs = runs(11, 24, 200, history=uniform(11, 24, 200, seed=99))
    assert ours.delay_s <= theirs.delay_s / 2
    assert ours.polls_a_job <= 0.9 * theirs.polls_a_job


@pytest.mark.heavy
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"learn": False}, id="nothing known"),
        pytest.param({}, id="learning"),
        pytest.param({"at_once": 1}, id="one after the other"),
        pytest.param({"history": uniform(0.5, 3.5, 200, seed=99)}, id="known"),
    ],
)
def test_short_jobs_are_noticed_three_times_as_fast_with_twice_the_polls(options):
    """Jobs of 0.5 to 3.5 s."""
    ours, theirs = runs(0.5, 3.5, 100, **options)
    assert ours.delay_s <= theirs.delay_s / 3
    assert ours.polls_a_job <= 2 * theirs.polls_a_job


def bimodal(count: int) -> Iterator[float]:
    chance = random.Random(1)
    for _ in range(count):
        yield chance.gauss(3, 0.3) if chance.random() < 0.5 else chance.gauss(20, 1)


def heavy_tailed(count: int) -> Iterator[float]:
    chance = random.Random(1)
    return (chance.lognormvariate(math.log(12), 1) for _ in range(count))


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("works_s", "history"),
    [
        pytest.param(list(bimodal(300)), (), id="bimodal"),
        pytest.param(list(heavy_tailed(300)), (), id="heavy-tailed"),
        pytest.param([15.0] * 200, (), id="constant"),
        pytest.param(uniform(580, 620, 40, seed=1), uniform(580, 620, 60, seed=2), id="10 min"),
        pytest.param(uniform(29, 31, 60, seed=1), uniform(2.5, 3.5, 200, seed=2), id="slower now"),
        pytest.param([0.0] * 50, (), id="at once"),
    ],
)
def test_other_jobs_are_watched_as_promptly_as_by_the_vendor_without_a_storm(works_s, history):
    """At most twice its polls and three for the start, at most its delay."""
    ours, theirs = watch(works_s, history=history), vendor(works_s)
    assert ours.delay_s <= max(theirs.delay_s, 0.5)
    assert ours.polls_a_job <= 2 * theirs.polls_a_job + 3


@pytest.mark.parametrize("before_s", [30.0, 600.0])
def test_jobs_that_became_faster_are_found_out(before_s):
    """After 200 slow ones a job of 3 s waits some seconds at first, and soon no longer."""
    slow_s = uniform(0.95 * before_s, 1.05 * before_s, 200, seed=1)
    tally = watch(uniform(2.5, 3.5, 60, seed=2), history=slow_s, at_once=1)
    assert max(tally.delays_s) < 12
    assert mean(tally.delays_s[-20:]) < 1.5


def test_nothing_known_means_a_first_poll_within_a_second_and_longer_waits_later():
    """The longer it has taken the longer it may still take."""
    assert next_poll(0.0) < 1
    waits_s = [next_poll(age_s) for age_s in (1, 10, 100, 1000, 10_000)]
    assert waits_s == sorted(waits_s)


def test_one_earlier_job_is_a_hint():
    """Near its time it is looked for closely, and before it less than without a hint."""
    hint = [20.0]
    assert next_poll(19.5, hint) < next_poll(19.5)
    assert next_poll(5.0, hint) > next_poll(5.0)


def test_a_job_slower_than_any_before_is_polled_as_one_of_which_nothing_is_known():
    """The history has no more to say."""
    late_s = 2.0**10
    assert next_poll(late_s, uniform(1, 9, 50, seed=1)) == pytest.approx(next_poll(late_s))


def test_a_bad_sample_changes_nothing():
    """No number, no duration: left out."""
    good = [11.0, 12.0, 14.0]
    bad = [math.nan, -1.0, math.inf, -math.inf, 0.0]
    assert next_poll(3.0, bad + good) == next_poll(3.0, good)
    assert next_poll(3.0, bad) == next_poll(3.0)


ELAPSED = st.floats(0, 1e5) | st.floats()
DURATIONS = st.lists(
    st.floats(0, 100) | st.sampled_from([0.0, 3.0, 15.0]) | st.floats(), max_size=40
)


@given(ELAPSED, DURATIONS)
@example(math.nan, [])
@example(math.inf, [5e-324])
@example(1e308, [1e308, 86_400.0])
@example(0.0, [5e-324, 1e-310])
@example(15.0, [15.0] * 200)
def test_the_wait_is_within_its_bounds_whatever_the_history(elapsed_s, history):
    """From a tenth of a second to a minute, for any floats."""
    assert MIN_DELAY_S <= next_poll(elapsed_s, history) <= MAX_DELAY_S


@given(ELAPSED, DURATIONS, st.randoms(use_true_random=False))
def test_the_order_of_the_history_does_not_matter(elapsed_s, history, chance):
    """Its quantiles are all that counts."""
    shuffled = list(history)
    chance.shuffle(shuffled)
    assert next_poll(elapsed_s, shuffled) == next_poll(elapsed_s, history)


@given(st.floats(0, 1e4), st.floats(0, 100), DURATIONS)
def test_the_moment_of_the_next_poll_never_moves_back(elapsed_s, later_s, history):
    """Asking again a little later, as after a pause, brings no poll that was due before."""
    now_s = elapsed_s + later_s
    first_s = elapsed_s + next_poll(elapsed_s, history)
    assert now_s + next_poll(now_s, history) >= first_s - 1e-6


def test_the_history_is_kept_by_model_and_forgets_the_oldest():
    """The newest 200 of each."""
    history = History()
    for seconds in range(MAX_SAMPLES + 5):
        history.add("claude-4-sonnet", seconds)
    assert list(history.of("claude-4-sonnet")) == list(range(5, MAX_SAMPLES + 5))
    assert list(history.of("claude-3-haiku")) == []


def test_the_history_is_seeded_once_a_model_with_what_is_known_from_earlier():
    """Whether the first use reads or adds."""
    asked = []

    def seed(model: str) -> Iterator[float]:
        asked.append(model)
        return iter([1.0, 2.0])

    history = History(seed)
    assert list(history.of("a")) == [1.0, 2.0]
    history.add("a", 3.0)
    history.add("b", 4.0)
    assert list(history.of("a")) == [1.0, 2.0, 3.0]
    assert list(history.of("b")) == [1.0, 2.0, 4.0]
    assert asked == ["a", "b"]


def test_what_the_history_gave_does_not_change_later():
    """It is a copy."""
    history = History(lambda model: [1.0])
    before = history.of("a")
    history.add("a", 2.0)
    assert list(before) == [1.0]
