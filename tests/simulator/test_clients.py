"""The vendor's own SDK, unchanged, as a client of the simulator."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from segmind import InferenceFailed, InferenceTimeout, SegmindClient, SegmindError

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

SLUG = "claude-4-sonnet"
V1 = f"/v1/{SLUG}"
HELLO = {"messages": [{"role": "user", "content": "echo: hello"}]}


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
