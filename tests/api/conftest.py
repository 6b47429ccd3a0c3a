"""A client over a scripted server, and a watch over the simulated gateway on time that leaps.

Real httpx, no network, no waiting.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from scripted import Gateway

from segmind_jupyter.api.client import SegmindClient
from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.journal import Journal
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.watch import Call, JobManager
from segmind_jupyter.simulator.inprocess import SimulatorTransport
from segmind_jupyter.simulator.protocol import Behaviour

KEY = "sk-live-0123456789abcdef"

REPLY = {
    "id": "msg_abc123",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "A sunset."}],
    "model": "claude-4-sonnet",
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 56, "output_tokens": 31},
}

HELLO = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]


@dataclass
class Server:
    """Answers from a list, the last entry for ever; keeps every request and every wait."""

    answers: list[Any]
    requests: list[httpx.Request] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    now_s: float = 0.0

    def handle(self, request: httpx.Request) -> httpx.Response:
        # A copy: the second attempt of an auth flow changes the headers of the first.
        seen = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.content
        )
        self.requests.append(seen)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    async def sleep(self, delay_s: float) -> None:
        self.waits_s.append(delay_s)
        self.now_s += delay_s

    @property
    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.requests)


@dataclass
class Bench:
    """A client, its server, and a way to run a call to its end."""

    client: SegmindClient
    server: Server

    def run(self, function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        async def call() -> Any:
            async with self.client:
                return await function(*args, **kwargs)

        return anyio.run(call)

    def chat(self, model: str = "claude-4-sonnet", **kwargs: Any) -> Any:
        return self.run(self.client.chat, model, HELLO, **kwargs)


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """Make a bench whose server gives these answers, one after the other."""

    def make(*answers: Any, api_key: str | None = KEY, **kwargs: Any) -> Bench:
        server = Server([httpx.Response(200, json=REPLY) if a == "reply" else a for a in answers])
        client = SegmindClient(
            api_key,
            transport=httpx.MockTransport(server.handle),
            sleep=server.sleep,
            clock=lambda: server.now_s,
            jitter=lambda: 0.0,
            **kwargs,
        )
        return Bench(client, server)

    return make


class Seen(httpx.AsyncBaseTransport):
    """Carries requests to the gateway, and tells of each before it goes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._carrier = SimulatorTransport(world.gateway)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._world.requests.append(request)
        self._world.on_request(request)
        response = await self._carrier.handle_async_request(request)
        self._world.on_response(request)
        return response


class World:
    """The simulated gateway, a journal on disk, and the watch of one kernel after the other.

    `on_request` and `on_response` are called with each request and when its answer is there;
    `delivered` has the ids and texts of the replies that were handed over.
    """

    ORIGIN = "https://api.example"

    def __init__(self, loop: Any, path: Path) -> None:
        self.loop = loop
        self.gateway = Gateway(Behaviour(queue_s=1.0, work_s=9.0, credits=1e6), clock=loop.time)
        self.path = path
        self.requests: list[httpx.Request] = []
        self.delivered: list[tuple[str, str]] = []
        self._journals: list[Any] = []
        self.on_request: Callable[[httpx.Request], object] = lambda request: None
        self.on_response: Callable[[httpx.Request], object] = lambda request: None
        self.start_kernel()

    def start_kernel(self, *, journal: Any = None, origin: str = ORIGIN) -> None:
        """Begin anew with nothing but the journal; what still runs of the old one is not ended."""
        luck = itertools.cycle([0.0, 0.5, 0.25, 0.75])  # no chance, but not all alike
        self.journal = journal or Journal(self.path)
        self._journals.append(self.journal)
        client = SegmindClient(
            KEY,
            base_url=origin,
            transport=Seen(self),
            clock=self.loop.time,
            jitter=lambda: next(luck),
        )
        self.watch = JobManager(
            client,
            journal=self.journal,
            delivered=self._deliver,
            clock=self.loop.time,
            jitter=lambda: next(luck),
        )

    def end(self) -> None:
        """End what runs, the loop and the journals."""
        self.loop.end()
        for journal in self._journals:
            journal.close()

    def _deliver(self, job: Job, reply: Reply) -> None:
        self.delivered.append((job.request_id, reply.text))

    def set(self, **behaviour: Any) -> None:
        """Change the gateway's behaviour."""
        self.gateway.behaviour = dataclasses.replace(self.gateway.behaviour, **behaviour)

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        """Run a story to its end on the leaping clock."""
        return self.loop.run(story)

    @staticmethod
    def call(prompt: str = "echo: hello") -> Call:
        content = [{"type": "text", "text": prompt}]
        return Call(model="claude-4-sonnet", messages=[{"role": "user", "content": content}])

    def submit(self, prompt: str = "echo: hello", **settings: Any) -> Job:
        return self.run(self.watch.submit(self.call(prompt), **settings))

    def resume(self, request_id: str) -> Job:
        return self.run(self.watch.resume(request_id))

    def follow(self, job: Job, *, at_most_s: float = 7200.0) -> Job:
        """Follow a job to its end; a test fails where that takes longer than `at_most_s`."""

        async def story() -> None:
            with anyio.fail_after(at_most_s):
                await self.watch.follow(job)

        self.run(story())
        assert job.done()
        return job

    def lasting(self, seconds: float, **fault: Any) -> None:
        """Script a fault for all GETs, until so many seconds from now."""
        self.gateway.script("GET", times=100_000, **fault)
        self.loop.call_later(seconds, self.gateway.clear_script)

    def sent(self, method: str) -> list[str]:
        """The paths of the requests of this method."""
        return [request.url.path for request in self.requests if request.method == method]


@pytest.fixture
def make_world(leaping_loop: type) -> Callable[[Path], World]:
    """Make worlds; whoever makes one ends it."""
    return lambda path: World(leaping_loop(), path)


@pytest.fixture
def world(make_world: Callable[[Path], World], tmp_path: Path) -> Iterator[World]:
    world = make_world(tmp_path / "jobs.sqlite3")
    yield world
    world.end()


@pytest.fixture
def virtual(leaping_loop: type) -> Callable[..., tuple[Any, float]]:
    """Run a coroutine function on a clock that leaps: its result, and the seconds."""

    def run(main: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> tuple[Any, float]:
        loop = leaping_loop()
        loop._leaping.now_s = 0.0
        try:
            return loop.run(main(*args)), loop.time()
        finally:
            loop.end()

    return run
