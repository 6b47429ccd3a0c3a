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


class Round:
    """Sends many calls through one watch, so many at a time, and keeps the order."""

    def __init__(self, gateway: Varied, loop: Any, path: Path) -> None:
        self.loop, self.journal = loop, Journal(path)
        transport = SimulatorTransport(gateway)
        client = SegmindClient(
            "k", base_url="https://api.example", transport=transport, clock=loop.time
        )
        self.watch = JobManager(client, journal=self.journal, clock=loop.time)
        self.replied_s: dict[str, float] = {}

    def run(self, prompts: Sequence[str], *, in_flight: int) -> list[str]:
        """Give the texts of the replies, in the order of the prompts."""
        texts, places = [""] * len(prompts), iter(enumerate(prompts))

        async def work() -> None:
            for place, prompt in places:
                message = {"role": "user", "content": prompt}
                job = await self.watch.submit(Call(model=MODEL, messages=[message]))
                await self.watch.follow(job)
                self.replied_s[job.request_id] = self.loop.time()
                texts[place] = job.wait(timeout=0).text

        async def all_of_them() -> None:
            async with anyio.create_task_group() as group:
                for _ in range(in_flight):
                    group.start_soon(work)

        self.loop.run(all_of_them())
        self.journal.close()
        return texts


@pytest.fixture(scope="session")
def varied() -> type[Varied]:
    return Varied


@pytest.fixture(scope="session")
def figures() -> type[Figures]:
    return Figures


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
