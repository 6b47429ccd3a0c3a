"""A gateway whose jobs each take their own time, a clock that leaps, and what is counted."""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from segmind_jupyter.api.client import SegmindClient
from segmind_jupyter.api.journal import Journal
from segmind_jupyter.api.watch import Call, JobManager
from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.inprocess import SimulatorTransport
from segmind_jupyter.simulator.protocol import Behaviour, SimAnswer, SimRequest

MODEL = "claude-4-sonnet"


class Varied(Gateway):
    """Gives each job the next time of a list, and remembers when each one ends."""

    def __init__(
        self,
        durations_s: Sequence[float],
        behaviour: Behaviour | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(behaviour or Behaviour(credits=1e6), clock=clock)
        self.ends_s: dict[str, float] = {}
        self._durations_s = durations_s
        self._submitting = threading.Lock()

    def handle(self, request: SimRequest) -> SimAnswer:
        if request.method != "POST":
            return super().handle(request)
        with self._submitting:
            work_s = self._durations_s[len(self.ends_s) % len(self._durations_s)]
            self.behaviour = dataclasses.replace(self.behaviour, work_s=work_s)
            ends_s = self._clock() + self.behaviour.queue_s + work_s
            answer = super().handle(request)
            if answer.status == 200:
                self.ends_s[json.loads(answer.body)["request_id"]] = ends_s
            return answer

    @property
    def polls(self) -> int:
        """How often the state of a job was asked for."""
        return sum(entry.path.endswith("/status") for entry in self.log)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a job came to, in the mean: seconds from its end to its reply, and polls."""

    delay_s: float
    polls: float

    @classmethod
    def of(cls, gateway: Varied, replied_s: dict[str, float]) -> Figures:
        delays_s = [replied_s[name] - end_s for name, end_s in gateway.ends_s.items()]
        assert min(delays_s) > -0.01, "a reply before its end: the clocks do not agree"
        polls = gateway.polls / len(gateway.ends_s)
        return cls(delay_s=statistics.mean(delays_s), polls=polls)

    def __str__(self) -> str:
        return f"{self.delay_s:.3f} s in {self.polls:.1f} polls"


@pytest.fixture
def loop(leaping_loop: type) -> Iterator[Any]:
    loop = leaping_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def call_of(prompt: str) -> Call:
    return Call(model=MODEL, messages=[{"role": "user", "content": prompt}])


class Round:
    """Sends many calls through one watch, so many at a time, and keeps the order.

    Parameters
    ----------
    gateway
        What answers.
    loop
        Whose clock holds.
    path
        Where the journal is.
    """

    def __init__(self, gateway: Varied, loop: Any, path: Path) -> None:
        self.gateway, self.loop = gateway, loop
        self.journal = Journal(path)
        client = SegmindClient(
            "k",
            base_url="https://api.example",
            transport=SimulatorTransport(gateway),
            clock=loop.time,
        )
        self.watch = JobManager(client, journal=self.journal, clock=loop.time)
        self.replied_s: dict[str, float] = {}

    def run(self, prompts: Sequence[str], *, in_flight: int) -> list[str]:
        """Give the texts of the replies, in the order of the prompts."""
        texts = [""] * len(prompts)
        self.each(prompts, lambda place, text: texts.__setitem__(place, text), in_flight=in_flight)
        return texts

    def each(
        self, prompts: Sequence[str], take: Callable[[int, str], object], *, in_flight: int
    ) -> None:
        """Hand the place and the text of each reply over as it comes."""
        self.loop.run(self._all(iter(enumerate(prompts)), take, in_flight))
        self.journal.close()

    async def _all(
        self, places: Iterator[tuple[int, str]], take: Callable[[int, str], object], workers: int
    ) -> None:
        async with anyio.create_task_group() as group:
            for _ in range(workers):
                group.start_soon(self._work, places, take)

    async def _work(
        self, places: Iterator[tuple[int, str]], take: Callable[[int, str], object]
    ) -> None:
        for place, prompt in places:
            job = await self.watch.submit(call_of(prompt))
            await self.watch.follow(job)
            self.replied_s[job.request_id] = self.loop.time()
            take(place, job.wait(timeout=0).text)


@pytest.fixture(scope="session")
def varied() -> type[Varied]:
    return Varied


@pytest.fixture(scope="session")
def figures() -> type[Figures]:
    return Figures


@pytest.fixture
def make_call() -> Callable[[str], Call]:
    """Make the call of a prompt."""
    return call_of


@pytest.fixture
def make_round(loop: Any, tmp_path: Path) -> Callable[[Varied], Round]:
    """Make a round on the leaping clock for a gateway that has that clock."""
    return lambda gateway: Round(gateway, loop, tmp_path / "jobs.sqlite3")


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Print the figures (`pytest -s`) and put them into a report (`--junit-xml`)."""

    def tell(**told: object) -> None:
        sys.stdout.write("\n")
        for name, value in told.items():
            sys.stdout.write(f"  {name.replace('_', ' ')}: {value}\n")
            record_property(name, str(value))

    return tell
