"""The in-process transport, through a real `httpx.AsyncClient`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest

from segmind_jupyter.simulator import transport
from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.inprocess import SimulatorTransport
from segmind_jupyter.simulator.protocol import Behaviour, demo_behaviour

pytestmark = pytest.mark.anyio

V1 = "/v1/claude-4-sonnet"
HELLO = {"messages": [{"role": "user", "content": "echo: hello"}]}


class Sleeper:
    """Notes how long it was asked to sleep, and moves the clock instead of waiting."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.slept_s: list[float] = []
        self._clock = clock

    async def __call__(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self._clock.advance(seconds)


@pytest.fixture
def sleeper(clock) -> Sleeper:
    return Sleeper(clock)


@asynccontextmanager
async def client_of(
    transport: httpx.AsyncBaseTransport, *, timeout: httpx.Timeout | float = 30
) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=transport,
        base_url="http://simulator",
        headers={"x-api-key": "simulator"},
        timeout=timeout,
    ) as client:
        yield client


async def test_a_client_reaches_v1(clock, sleeper):
    """The reply comes after the model's time, with the simulated headers."""
    gateway = Gateway(Behaviour(latency_s=11), clock=clock)
    async with client_of(SimulatorTransport(gateway, sleep=sleeper)) as client:
        answer = await client.post(V1, json=HELLO)
    assert answer.status_code == 200
    assert answer.json()["content"][0]["text"] == "hello"
    assert answer.headers["x-simulated"] == "1"
    assert sleeper.slept_s == [11]


async def test_a_client_follows_a_job_to_its_result(clock, sleeper):
    """Submit, poll and read over the URLs that the answer names."""
    gateway = Gateway(Behaviour(queue_s=1, work_s=1), clock=clock)
    states = []
    async with client_of(SimulatorTransport(gateway, sleep=sleeper)) as client:
        job = (await client.post("/v2/claude-4-sonnet", json=HELLO)).json()
        assert job["status_url"].startswith("http://simulator/v2/requests/")
        for _ in range(3):
            states.append((await client.get(job["status_url"])).json()["status"])
            clock.advance(1)
        result = (await client.get(job["response_url"])).json()
    assert states == ["QUEUED", "PROCESSING", "COMPLETED"]
    assert json.loads(result["output"])["content"][0]["text"] == "hello"


async def test_a_read_timeout_ends_the_wait_and_the_work_is_done(clock, sleeper):
    """A model slower than the client's patience: ReadTimeout at that time, and billed."""
    gateway = Gateway(Behaviour(latency_s=300), clock=clock)
    carrier = SimulatorTransport(gateway, sleep=sleeper)
    async with client_of(carrier, timeout=httpx.Timeout(10, read=7)) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(V1, json=HELLO)
    assert sleeper.slept_s == [7]
    assert gateway.billed == 1


async def test_without_a_timeout_the_client_waits(clock, sleeper):
    """A client that sets no time-out gets its answer, however late."""
    gateway = Gateway(Behaviour(latency_s=3000), clock=clock)
    carrier = SimulatorTransport(gateway, sleep=sleeper)
    async with client_of(carrier, timeout=httpx.Timeout(None)) as client:
        assert (await client.post(V1, json=HELLO)).status_code == 200


@pytest.mark.parametrize(
    ("drop", "error", "billed"),
    [("before_work", httpx.ConnectError, 0), ("after_work", httpx.ReadError, 1)],
)
async def test_lost_connections_show_as_httpx_errors(drop, error, billed):
    """What the client sees tells whether the work may have been done."""
    gateway = Gateway()
    gateway.script(drop=drop)
    async with client_of(transport(gateway)) as client:
        with pytest.raises(error) as lost:
            await client.post(V1, json=HELLO)
        assert lost.value.request.url.path == V1
        assert (await client.post(V1, json=HELLO)).status_code == 200
    assert gateway.billed == billed + 1


async def test_fifty_clients_at_once_get_their_own_replies():
    """Each request is answered with its own words, and each is charged once."""
    gateway, replies = Gateway(Behaviour(latency_s=0.01)), {}

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        body = {"messages": [{"role": "user", "content": f"echo:{number}"}]}
        answer = await client.post(V1, json=body)
        replies[number] = answer.json()["content"][0]["text"]

    async with client_of(transport(gateway)) as client, anyio.create_task_group() as tasks:
        for number in range(50):
            tasks.start_soon(ask, client, number)
    assert replies == {number: str(number) for number in range(50)}
    assert gateway.billed == 50


async def test_a_cancelled_call_ends_at_once():
    """A client that gives up does not wait for the model's time."""
    gateway = Gateway(Behaviour(latency_s=3600))
    async with client_of(transport(gateway), timeout=httpx.Timeout(None)) as client:
        with anyio.move_on_after(0.01) as scope:
            await client.post(V1, json=HELLO)
    assert scope.cancelled_caught


async def test_the_default_transport_is_paced_for_demonstrations():
    """Left to itself, it has the gateway of the process, so that a job outlives its client."""
    first, second = transport(), transport()
    assert first.gateway.behaviour == demo_behaviour()
    assert first.gateway is second.gateway


async def test_importing_the_simulator_brings_no_heavy_package():
    """The room loads without httpx, Pillow or anyio; they come with the first use."""
    code = (
        "import sys, segmind_jupyter.simulator\n"
        "print(sorted({'httpx', 'PIL', 'anyio', 'numpy'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
