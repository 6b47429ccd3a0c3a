"""How soon a reply comes after its job's end, and for how many polls, beside the vendor's SDK."""

from __future__ import annotations

import random
from typing import Any

import httpx
import pytest
import segmind
import segmind.v2

from segmind_jupyter.simulator.protocol import Behaviour, SimRequest

pytestmark = pytest.mark.benchmark

MODEL = "claude-4-sonnet"
MESSAGES = [{"role": "user", "content": "echo: done"}]


def spread(low_s: float, high_s: float, count: int) -> list[float]:
    """Give times that fill the range evenly, in an order that is always the same."""
    step_s = (high_s - low_s) / count
    times_s = [low_s + step_s * (place + 0.5) for place in range(count)]
    random.Random(1).shuffle(times_s)
    return times_s


def test_at_a_models_pace_the_delay_is_about_half_of_the_sdks_in_no_more_polls(
    varied, figures, loop, make_round, monkeypatch, tell
):
    """200 jobs of 11 to 24 s (the vendor's means of a call), 20 at a time, from a cold start."""
    times_s = spread(11, 24, 200)
    clock = LeapingTime()
    monkeypatch.setattr(segmind.v2, "time", clock)
    theirs = varied(times_s, Behaviour(credits=1e6), clock=clock.monotonic)
    sdk = figures.of(theirs, replies_of_the_sdk(theirs, clock, count=200))
    gateway = varied(times_s, Behaviour(credits=1e6), clock=loop.time)
    round_ = make_round(gateway)
    assert set(round_.run(["echo: done"] * 200, in_flight=20)) == {"done"}
    ours = figures.of(gateway, round_.replied_s)
    tell(SDK=sdk, ours=ours, delay=f"{ours.delay_s / sdk.delay_s:.2f} of the SDK's")
    assert ours.delay_s <= 0.55 * sdk.delay_s
    assert ours.polls <= sdk.polls


class LeapingTime:
    """Stands in for the `time` module where the SDK waits: its sleeps take no time."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def replies_of_the_sdk(gateway: Any, clock: LeapingTime, *, count: int) -> dict[str, float]:
    """Have the SDK submit and wait, job after job: none of them makes another's wait longer."""

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        told = gateway.handle(SimRequest(request.method, path, request.headers, request.content))
        return httpx.Response(told.status, headers=told.headers, content=told.body)

    client = segmind.SegmindClient(api_key="k", base_url="https://api.example/v1")
    headers = client._client.headers
    client._client.close()
    transport = httpx.MockTransport(answer)
    replied_s = {}
    with httpx.Client(transport=transport, headers=headers, base_url=client.base_url) as http:
        client._client = http
        for _ in range(count):
            job = client.submit_chat(MODEL, messages=MESSAGES)
            assert job.wait().text == "done"
            replied_s[job.request_id] = clock.now_s
    return replied_s
