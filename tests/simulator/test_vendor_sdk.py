"""The vendor's own SDK works against the server, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from PIL import Image
from segmind import InferenceFailed, InferenceTimeout, SegmindClient, SegmindError

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

SLUG = "claude-4-sonnet"
POLL_S = 0.02


def messages(*content: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(content)}]


def text(words: str) -> dict[str, str]:
    return {"type": "text", "text": words}


@pytest.fixture
def connect() -> Iterator[Callable[..., SegmindClient]]:
    """Start a server for a gateway, and give the SDK's client for it."""
    with ExitStack() as stack:

        def connected(gateway: Gateway | None = None, *, api_key: str = "k") -> SegmindClient:
            url = stack.enter_context(serve(gateway))
            client = SegmindClient(api_key=api_key, base_url=f"{url}/v1")
            stack.callback(client._client.close)
            return client

        yield connected


def test_chat_sync_reads_the_reply(connect, image_block):
    """A blocking v1 chat with an image: the reply tells what arrived."""
    image = image_block(Image.new("RGB", (60, 40), "blue"))
    client = connect()
    reply = client.chat_sync(SLUG, messages=messages(image, text("What is this?")))
    assert reply.text == "(simulated) 1 image: 60x40 PNG, all blue; text of 3 words"
    assert reply.finish_reason == "end_turn"
    assert reply.usage["input_tokens"] > 6


def test_submit_and_wait_reads_the_reply(connect, clock, image_block):
    """A queued chat goes through its states to the same kind of reply."""
    image = image_block(Image.new("RGB", (60, 40), "red"), media_type="image/jpeg", format="JPEG")
    gateway = Gateway(Behaviour(queue_s=5, work_s=5), clock=clock)
    job = connect(gateway).submit_chat(SLUG, messages=messages(image, text("What?")))
    assert job.status()["status"] == "QUEUED"
    clock.advance(5)
    assert job.status()["status"] == "PROCESSING"
    clock.advance(5)
    reply = job.wait(timeout=30, interval=POLL_S)
    assert reply.text == "(simulated) 1 image: 60x40 JPEG, all red; text of 1 word"
    assert gateway.billed == 1


def test_waiting_polls_until_the_job_is_done(connect):
    """The SDK's own polling sees the job end."""
    gateway = Gateway(Behaviour(queue_s=0.05, work_s=0.05))
    job = connect(gateway).submit_chat(SLUG, messages=messages(text("echo: done")))
    assert job.wait(timeout=30, interval=POLL_S).text == "done"


def test_a_failed_job_raises_the_sdks_error(connect):
    """FAILED, served as 422, is InferenceFailed with the reason."""
    job = connect().submit_chat(SLUG, messages=messages(text("fail: content was blocked")))
    with pytest.raises(InferenceFailed) as failed:
        job.wait(timeout=30, interval=POLL_S)
    assert failed.value.detail == "content was blocked"
    assert failed.value.status_body["request_id"] == job.request_id


def test_a_job_that_outlasts_the_patience_raises_the_sdks_timeout(connect):
    """A job that stays in the queue ends the SDK's wait, not the job."""
    job = connect(Gateway(Behaviour(queue_s=3600))).submit_chat(SLUG, messages=messages(text("a")))
    with pytest.raises(InferenceTimeout):
        job.wait(timeout=0, interval=POLL_S)


@pytest.mark.parametrize(
    ("behaviour", "slug", "status"),
    [
        (Behaviour(keys=frozenset({"another"})), SLUG, 401),
        (Behaviour(auth=frozenset({"bearer"})), SLUG, 401),
        (Behaviour(), "gpt-5.5", 404),
        (Behaviour(credits=0), SLUG, 406),
        (Behaviour(rate_limit=0), SLUG, 429),
    ],
)
def test_refusals_reach_the_sdk_with_status_and_detail(connect, behaviour, slug, status):
    """v1 and v2 refuse alike, in the envelope that the SDK reads."""
    client = connect(Gateway(behaviour))
    for call in (client.chat_sync, client.submit_chat):
        with pytest.raises(SegmindError) as refused:
            call(slug, messages=messages(text("a")))
        assert refused.value.status == status
        assert refused.value.detail


def test_an_expired_job_is_404_in_the_sdk(connect, clock):
    """After its hour a job is unknown."""
    client = connect(Gateway(clock=clock))
    job = client.submit_chat(SLUG, messages=messages(text("a")))
    clock.advance(3601)
    with pytest.raises(SegmindError) as expired:
        job.result()
    assert expired.value.status == 404


def test_json_replies_parse_in_the_sdk(connect):
    """A schema's reply is what the SDK's json() expects."""
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    reply = connect().chat_sync(
        SLUG,
        messages=messages(text("a")),
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
    )
    assert reply.json() == {"ok": True}
