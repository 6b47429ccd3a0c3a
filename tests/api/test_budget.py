"""The one budget of requests: who goes first, how fast, and what gateways make of it."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segmind_jupyter.api.retry import History, next_poll
from segmind_jupyter.api.transport import (
    CEILING_PER_S,
    FLOOR_PER_S,
    MAX_PAUSE_S,
    PATIENCE_S,
    START_PER_S,
    Kind,
    RateLimiter,
)

Virtual = Callable[..., tuple[Any, float]]


@dataclass
class Turns:
    """A budget on the loop's clock, who had a turn, and when."""

    budget: RateLimiter
    had: list[tuple[str, float]] = field(default_factory=list)

    async def take(self, kind: Kind, name: str = "") -> None:
        await self.budget.turn(kind)
        self.had.append((name or kind.name, anyio.current_time()))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.had]

    @property
    def times_s(self) -> list[float]:
        return [time_s for _, time_s in self.had]


async def one_a_second() -> Turns:
    """Turns of one a second, of which the one that is saved up is gone."""
    turns = Turns(RateLimiter(clock=anyio.current_time, rate_per_s=1.0, ceiling_per_s=1.0))
    await turns.budget.turn(Kind.SUBMIT)
    return turns


def test_turns_come_at_the_rate_after_a_small_burst(virtual: Virtual):
    """Sixty a second to begin with, a third of a second's worth of them at once."""

    async def main() -> Turns:
        turns = Turns(RateLimiter(clock=anyio.current_time))
        async with anyio.create_task_group() as tasks:
            for _ in range(90):
                tasks.start_soon(turns.take, Kind.SUBMIT)
        return turns

    turns, elapsed_s = virtual(main)
    assert elapsed_s == pytest.approx(69 / 60, rel=0.01)
    assert turns.times_s.count(0.0) == 21
    assert max(b - a for a, b in pairwise(turns.times_s)) == pytest.approx(1 / 60, rel=0.1)


def test_results_go_before_submits_before_polls_and_each_in_order(virtual: Virtual):
    """By kind, then by age, whoever asked first."""

    async def main() -> list[str]:
        turns = await one_a_second()
        async with anyio.create_task_group() as tasks:
            for name in ("POLL 1", "SUBMIT 1", "RESULT 1", "POLL 2", "RESULT 2", "SUBMIT 2"):
                tasks.start_soon(turns.take, Kind[name.split()[0]], name)
                await anyio.sleep(0)
        return turns.names

    names, _ = virtual(main)
    assert names[:4] == ["RESULT 1", "RESULT 2", "SUBMIT 1", "SUBMIT 2"]
    assert names[4:] == ["POLL 1", "POLL 2"]


def test_a_chat_never_waits_and_the_others_wait_for_it(virtual: Virtual):
    """Not behind a line, not in a pause; each is counted, up to a second's worth here."""

    async def main() -> list[tuple[str, float]]:
        turns = await one_a_second()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turns.take, Kind.RESULT)
            await anyio.sleep(0)
            for _ in range(10):
                await turns.take(Kind.CHAT)
        turns.budget.answered(429, retry_after_s=30)
        await turns.take(Kind.CHAT)
        return turns.had

    had, _ = virtual(main)
    assert had[:10] == [("CHAT", 0.0)] * 10
    assert had[10][0] == "RESULT"
    assert had[10][1] == pytest.approx(2.0, abs=0.01)
    assert had[11] == ("CHAT", had[10][1])


def test_neither_polls_nor_submits_starve(virtual: Virtual):
    """A poll that waited for long goes before submits, but not before two in a row."""

    async def main() -> Turns:
        turns = await one_a_second()

        async def for_ever(kind: Kind) -> None:
            while True:
                await turns.take(kind)

        with anyio.move_on_after(60):
            async with anyio.create_task_group() as tasks:
                for kind in (Kind.SUBMIT, Kind.POLL):
                    for _ in range(30):
                        tasks.start_soon(for_ever, kind)
        return turns

    turns, _ = virtual(main)
    early = [name for name, time_s in turns.had if time_s < PATIENCE_S]
    late = [name for name, time_s in turns.had if time_s > PATIENCE_S + 1]
    assert set(early) == {"SUBMIT"}
    assert all(one != other for one, other in pairwise(late))


def test_nobody_jumps_the_line_where_sleeps_are_late(virtual: Virtual):
    """A token that is there already is for those who wait."""

    async def main() -> list[str]:
        async def late(delay_s: float) -> None:
            await anyio.sleep(delay_s + 0.5)

        turns = Turns(RateLimiter(clock=anyio.current_time, sleep=late, rate_per_s=1.0))
        await turns.budget.turn(Kind.POLL)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turns.take, Kind.POLL, "first")
            await anyio.sleep(1.25)
            tasks.start_soon(turns.take, Kind.POLL, "second")
        return turns.names

    assert virtual(main)[0] == ["first", "second"]


@pytest.mark.parametrize("leaver", ["first", "second"])
def test_who_leaves_the_line_costs_nobody_a_turn(virtual: Virtual, leaver: str):
    """Neither the one who watches the clock for all nor another."""

    async def main() -> Turns:
        turns = await one_a_second()
        async with anyio.create_task_group() as tasks:
            scopes = {name: anyio.CancelScope() for name in ("first", "second", "third")}

            async def waiting(name: str) -> None:
                with scopes[name]:
                    await turns.take(Kind.POLL, name)

            for name in scopes:
                tasks.start_soon(waiting, name)
                await anyio.sleep(0)
            await anyio.sleep(0.5)
            scopes[leaver].cancel()
        return turns

    turns, _ = virtual(main)
    assert turns.names == [name for name in ("first", "second", "third") if name != leaver]
    assert turns.times_s == pytest.approx([1.0, 2.0], abs=0.01)


def test_a_turn_that_came_too_late_goes_to_the_next(virtual: Virtual):
    """Cancelled between being called and hearing it: the token is not lost."""

    async def main() -> Turns:
        async def sleep(delay_s: float) -> None:
            """Wake the one who watches the clock, and cancel the result that it calls then."""
            await anyio.sleep(delay_s)
            asyncio.get_running_loop().call_soon(result.cancel)

        turns = Turns(RateLimiter(clock=anyio.current_time, sleep=sleep, rate_per_s=1.0))
        await turns.budget.turn(Kind.POLL)
        poll = asyncio.create_task(turns.take(Kind.POLL))
        result = asyncio.create_task(turns.take(Kind.RESULT))
        with pytest.raises(asyncio.CancelledError):
            await result
        await poll
        return turns

    turns, _ = virtual(main)
    assert turns.names == ["POLL"]
    assert turns.times_s == pytest.approx([1.0], abs=0.01)


PLANS = st.lists(
    st.tuples(
        st.sampled_from([Kind.RESULT, Kind.SUBMIT, Kind.POLL]),
        st.integers(0, 30),  # tenths of a second until it asks
        st.none() | st.integers(0, 30),  # and until it is cancelled
    ),
    min_size=1,
    max_size=30,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PLANS)
def test_everybody_gets_a_turn_at_the_rate_whoever_leaves(virtual: Virtual, plans):
    """No token is lost, none is made up, nobody is forgotten."""

    async def main() -> Turns:
        turns = Turns(RateLimiter(clock=anyio.current_time, rate_per_s=2.0, ceiling_per_s=2.0))

        async def waiting(kind: Kind, asks: int, leaves: int | None, name: str) -> None:
            await anyio.sleep(asks / 10)
            with anyio.move_on_after(float("inf") if leaves is None else leaves / 10):
                await turns.take(kind, name)

        async with anyio.create_task_group() as tasks:
            for number, plan in enumerate(plans):
                tasks.start_soon(waiting, *plan, str(number))
        return turns

    turns, _ = virtual(main)
    stayed = {str(number) for number, (_, _, leaves) in enumerate(plans) if leaves is None}
    assert stayed <= set(turns.names)
    assert all(b - a > 0.499 for a, b in pairwise(turns.times_s))
    assert turns.times_s[-1:] <= [3.0 + 0.502 * len(plans)]


def test_thousands_who_wait_cost_one_sleep_at_a_time(virtual: Virtual):
    """All but one wait to be called; who watches the clock sleeps once for each token."""
    asleep, sleeps, most = 0, 0, 0

    async def sleep(delay_s: float) -> None:
        nonlocal asleep, sleeps, most
        asleep, sleeps = asleep + 1, sleeps + 1
        most = max(most, asleep)
        await anyio.sleep(delay_s)
        asleep -= 1

    async def main() -> None:
        budget = RateLimiter(clock=anyio.current_time, sleep=sleep)
        async with anyio.create_task_group() as tasks:
            for number in range(3000):
                tasks.start_soon(budget.turn, Kind.POLL if number % 2 else Kind.SUBMIT)

    _, elapsed_s = virtual(main)
    assert most == 1
    assert sleeps <= 3010
    assert elapsed_s == pytest.approx(3000 / 60, rel=0.02)


@dataclass
class Frozen:
    """A clock that a test sets."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def frozen() -> Frozen:
    return Frozen()


def test_many_refusals_of_one_burst_halve_the_rate_once(frozen: Frozen):
    """Only those of a later round count again."""
    budget = RateLimiter(clock=frozen, rate_per_s=20.0)
    for _ in range(10):
        budget.answered(429)
    assert budget.rate_per_s == 10.0
    frozen.now_s = 1.0
    budget.answered(429)
    assert budget.rate_per_s == 5.0


def test_the_rate_never_falls_below_four_a_minute(frozen: Frozen):
    """So that the end of a refusal is found out."""
    budget = RateLimiter(clock=frozen)
    for _ in range(50):
        frozen.now_s += 100.0
        budget.answered(429)
    assert budget.rate_per_s == FLOOR_PER_S == 4 / 60


async def use(budget: RateLimiter, clock: Frozen, *, seconds: float, gap: float) -> None:
    """Send chats, as they need no waiting, at so many times the interval that the rate allows."""
    until_s = clock.now_s + seconds
    while clock.now_s < until_s:
        clock.now_s += gap / budget.rate_per_s
        await budget.turn(Kind.CHAT)
        budget.answered(200)


def test_good_answers_raise_the_rate_up_to_the_ceiling(frozen: Frozen):
    """From the floor to the ceiling within minutes, if so much is asked for."""
    budget = RateLimiter(clock=frozen, rate_per_s=FLOOR_PER_S)
    asyncio.run(use(budget, frozen, seconds=300, gap=0.5))
    assert budget.rate_per_s == CEILING_PER_S


def test_a_budget_that_is_not_used_up_does_not_rise(frozen: Frozen):
    """Few requests prove nothing about many."""
    budget = RateLimiter(clock=frozen, rate_per_s=10.0)
    asyncio.run(use(budget, frozen, seconds=300, gap=1.5))
    assert budget.rate_per_s == 10.0


@pytest.mark.parametrize("status", [500, 502, 503, 504, None])
def test_other_trouble_leaves_the_rate(frozen: Frozen, status: int | None):
    """It does not say that there were too many; nor that there may be more."""
    budget = RateLimiter(clock=frozen)
    for _ in range(100):
        budget.answered(status)
    assert budget.rate_per_s == START_PER_S


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("asked_s", "paused_s"), [(7.0, 7.0), (3600.0, MAX_PAUSE_S)])
def test_retry_after_pauses_everybody(
    virtual: Virtual, status: int, asked_s: float, paused_s: float
):
    """Those who wait already too, and for a minute at most."""

    async def main() -> Turns:
        turns = await one_a_second()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(turns.take, Kind.POLL)
            await anyio.sleep(0.1)
            turns.budget.answered(status, retry_after_s=asked_s)
            tasks.start_soon(turns.take, Kind.RESULT)
        return turns

    turns, _ = virtual(main)
    assert turns.names == ["RESULT", "POLL"]
    assert turns.times_s[0] == pytest.approx(0.1 + paused_s, abs=0.01)


@pytest.mark.parametrize("seconds", [0.0, -5.0, float("nan")])
def test_a_retry_after_that_asks_for_nothing_pauses_nobody(virtual: Virtual, seconds: float):
    """It is the server's word, so it may be nonsense."""

    async def main() -> None:
        budget = RateLimiter(clock=anyio.current_time)
        budget.answered(200, retry_after_s=seconds)
        await budget.turn(Kind.POLL)

    assert virtual(main)[1] == 0.0


@dataclass
class Gateway:
    """Takes so many requests in any window of time, and refuses the others."""

    limit: int
    window_s: float
    says_when: bool = False
    answer_s: float = 0.08
    taken_s: deque[float] = field(default_factory=deque)
    asked: int = 0
    refused: int = 0

    async def ask(self) -> tuple[int, float | None]:
        """Send a request: its status and `Retry-After`."""
        await anyio.sleep(self.answer_s / 2)
        now_s = anyio.current_time()
        while self.taken_s and self.taken_s[0] <= now_s - self.window_s:
            self.taken_s.popleft()
        self.asked += 1
        full = len(self.taken_s) >= self.limit
        if full:
            self.refused += 1
        else:
            self.taken_s.append(now_s)
        await anyio.sleep(self.answer_s / 2)
        if not full:
            return 200, None
        return 429, self.taken_s[0] + self.window_s - now_s if self.says_when else None

    @property
    def refused_part(self) -> float:
        return self.refused / self.asked


@pytest.mark.heavy
@pytest.mark.parametrize("says_when", [False, True], ids=["silent", "Retry-After"])
@pytest.mark.parametrize(
    ("limit", "window_s", "seconds", "refused_part", "used_part"),
    [
        pytest.param(40, 1, 60, 0.15, 0.75, id="40 a second"),
        pytest.param(10, 1, 120, 0.1, 0.65, id="10 a second"),
        pytest.param(1000, 60, 600, 0.1, 0.5, id="1000 a minute"),
        pytest.param(60, 60, 600, 0.15, 0.6, id="60 a minute"),
        pytest.param(5, 60, 3600, 0.3, 0.7, id="5 a minute"),
    ],
)
def test_the_rate_finds_the_limit_of_a_gateway(
    virtual: Virtual,
    says_when: bool,
    limit: int,
    window_s: float,
    seconds: float,
    refused_part: float,
    used_part: float,
):
    """With few refusals and without leaving much unused, whether or not it says when."""
    gateway = Gateway(limit, window_s, says_when)

    async def main() -> None:
        budget = RateLimiter(clock=anyio.current_time)

        async def for_ever() -> None:
            while True:
                await budget.turn(Kind.SUBMIT)
                status, retry_after_s = await gateway.ask()
                budget.answered(status, retry_after_s=retry_after_s)

        with anyio.move_on_after(seconds):
            async with anyio.create_task_group() as tasks:
                for _ in range(64):
                    tasks.start_soon(for_ever)

    virtual(main)
    assert gateway.refused_part <= refused_part
    assert gateway.asked - gateway.refused >= used_part * limit / window_s * seconds


@dataclass
class Batch:
    """Jobs through a gateway that fails a tenth of the polls, without HTTP."""

    gateway: Gateway
    chance: random.Random
    history: History = field(default_factory=History)
    ended: int = 0

    async def run(self, works_s: list[float], *, at_once: int) -> None:
        self.budget = RateLimiter(clock=anyio.current_time)
        self.room = anyio.Semaphore(at_once)
        async with anyio.create_task_group() as tasks:
            for work_s in works_s:
                tasks.start_soon(self._job, work_s)

    async def _job(self, work_s: float) -> None:
        async with self.room:
            await self._sent(Kind.SUBMIT)
            begun_s, working_s, now_s = anyio.current_time(), 0.0, 0.0
            while now_s < work_s:
                working_s = now_s
                await anyio.sleep(next_poll(now_s, self.history.of("m")))
                if await self._polled():
                    now_s = anyio.current_time() - begun_s
            self.history.add("m", (working_s + now_s) / 2)
            await self._sent(Kind.RESULT)
            self.ended += 1

    async def _sent(self, kind: Kind) -> None:
        while await self._answer(kind) == 429:
            await anyio.sleep(self.chance.uniform(0.25, 0.5))

    async def _polled(self) -> bool:
        return await self._answer(Kind.POLL, fails=self.chance.random() < 0.1) == 200

    async def _answer(self, kind: Kind, *, fails: bool = False) -> int:
        await self.budget.turn(kind)
        status, retry_after_s = await self.gateway.ask()
        status = 502 if fails and status == 200 else status
        self.budget.answered(status, retry_after_s=retry_after_s)
        return status


@pytest.mark.parametrize("seed", range(3))
def test_300_jobs_pass_a_narrow_gateway_in_under_twice_the_least_time(virtual: Virtual, seed: int):
    """Three requests a job are the least; forty a second are taken, and all are counted."""
    batch = Batch(Gateway(limit=40, window_s=1), random.Random(seed))

    async def main() -> None:
        await batch.run([1.0, 3.0] * 150, at_once=32)

    _, elapsed_s = virtual(main)
    assert batch.ended == 300
    assert elapsed_s < 2 * 3 * 300 / 40
    assert batch.gateway.refused_part < 0.25
