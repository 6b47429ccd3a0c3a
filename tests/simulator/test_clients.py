"""Real clients: `httpx.AsyncClient` in the same process, and the vendor's own SDK."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image
from segmind import InferenceFailed, InferenceTimeout, SegmindClient, SegmindError

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.inprocess import SimulatorTransport
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

SLUG = "claude-4-sonnet"
V1 = f"/v1/{SLUG}"
HELLO = {"messages": [{"role": "user", "content": "echo: hello"}]}


class Sleeper:
    """Notes how long it was asked to sleep, and moves the clock instead of waiting."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.slept_s: list[float] = []
        self._clock = clock

    async def __call__(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self._clock.advance(seconds)


def client_of(carrier: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    headers = {"x-api-key": "simulator"}
    return httpx.AsyncClient(transport=carrier, base_url="http://simulator", headers=headers)


@pytest.mark.anyio
async def test_replies_come_after_the_models_time_and_jobs_by_their_urls(clock):
    """A v1 call sleeps, at most the read time-out; a job is followed over the URLs it names."""
    sleeper, states = Sleeper(clock), []
    gateway = Gateway(Behaviour(latency_s=11, queue_s=1, work_s=1), clock=clock)
    async with client_of(SimulatorTransport(gateway, sleep=sleeper)) as client:
        answer = await client.post(V1, json=HELLO, timeout=30)
        assert answer.json()["content"][0]["text"] == "hello"
        assert answer.headers["x-simulated"] == "1"
        with pytest.raises(httpx.ReadTimeout):
            await client.post(V1, json=HELLO, timeout=7)
        assert (sleeper.slept_s, gateway.billed) == ([11, 7], 2)
        job = (await client.post(f"/v2/{SLUG}", json=HELLO)).json()
        read = f"http://simulator/v2/requests/{job['request_id']}"
        urls = job["poll_url"], job["status_url"], job["response_url"]
        assert urls == (read, f"{read}/status", read)
        for _ in range(3):
            states.append((await client.get(job["status_url"])).json()["status"])
            clock.advance(1)
        result = (await client.get(job["response_url"])).json()
    assert states == ["QUEUED", "PROCESSING", "COMPLETED"]
    assert json.loads(result["output"])["content"][0]["text"] == "hello"


# The vendor's SDK, unchanged


def messages(*content: object) -> list[dict[str, Any]]:
    blocks = [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]
    return [{"role": "user", "content": blocks}]


@pytest.fixture
def sdk(clock):
    """The SDK's client, for a server whose gateway it also gives."""
    gateway = Gateway(Behaviour(queue_s=5, work_s=5), clock=clock)
    with serve(gateway) as url:
        client = SegmindClient(api_key="k", base_url=f"{url}/v1")
        yield client, gateway
        client._client.close()


def test_chats_and_jobs_are_read_by_the_sdk(sdk, clock, image_block):
    """A blocking chat; a job through its states, its result, and 404 after its hour; JSON."""
    client, gateway = sdk
    image = image_block(Image.new("RGB", (60, 40), "blue"))
    reply = client.chat_sync(SLUG, messages=messages(image, "What is this?"))
    assert reply.text == "(simulated) 1 image: 60x40 PNG, all blue; text of 3 words"
    assert reply.finish_reason == "end_turn"
    assert reply.usage["input_tokens"] > 6
    job = client.submit_chat(SLUG, messages=messages(image, "What?"))
    with pytest.raises(InferenceTimeout):
        job.wait(timeout=0, interval=0.02)
    for state in ("QUEUED", "PROCESSING"):
        assert job.status()["status"] == state
        clock.advance(5)
    reply = job.wait(timeout=30, interval=0.02)
    assert reply.text == "(simulated) 1 image: 60x40 PNG, all blue; text of 1 word"
    assert gateway.billed == 2
    clock.advance(3601)
    with pytest.raises(SegmindError) as expired:
        job.result()
    assert expired.value.status == 404
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    reply = client.chat_sync(SLUG, messages=messages("a"), response_format=form)
    assert reply.json() == {"ok": True}


def test_failures_and_refusals_are_the_sdks_errors(sdk, clock):
    """FAILED, served as 422, with its reason; statuses in the envelope that the SDK reads."""
    client, gateway = sdk
    job = client.submit_chat(SLUG, messages=messages("fail: content was blocked"))
    clock.advance(10)
    with pytest.raises(InferenceFailed) as failed:
        job.wait(timeout=30, interval=0.02)
    assert failed.value.detail == "content was blocked"
    assert failed.value.status_body["request_id"] == job.request_id
    for behaviour, slug, status in (
        (Behaviour(), "gpt-5.5", 404),
        (Behaviour(rate_limit=0), SLUG, 429),
    ):
        gateway.behaviour = behaviour
        for call in (client.chat_sync, client.submit_chat):
            with pytest.raises(SegmindError) as refused:
                call(slug, messages=messages("a"))
            assert refused.value.status == status
            assert refused.value.detail
