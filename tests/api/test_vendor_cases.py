"""The vendor's own tests of chats, v2 jobs and errors (segmind 1.3.0), held up to our client.

Named after the vendor's functions in `test_v2.py`, `test_chat.py` and `test_exceptions.py`; those
that ask what another test here asks are left out. What differs on purpose says so.
"""

from __future__ import annotations

import json

import httpx
import pytest
import segmind

from segmind_jupyter.api.journal import Journal
from segmind_jupyter.api.messages import parse_reply
from segmind_jupyter.api.responses import Failed
from segmind_jupyter.api.watch import Call, JobManager
from segmind_jupyter.errors import (
    JobFailed,
    ReplyError,
)

SLUG = "mock-inference"
REQUEST_ID = "11111111-2222-3333-4444-555555555555"
HELLO = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]

OPENAI = {
    "choices": [{"message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
}
ANTHROPIC = {
    "content": [{"type": "text", "text": "Hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 5, "output_tokens": 3},
}
GEMINI = {
    "candidates": [{"content": {"parts": [{"text": "H"}, {"text": "i"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 3},
}


def test_text_usage_and_finish_reason_per_provider():
    """As the vendor's client finds them. Differs: tokens have one name here for all providers."""
    for raw in (OPENAI, ANTHROPIC, GEMINI):
        reply, theirs = parse_reply(raw), segmind.ChatResponse(raw=raw)
        assert (reply.text, reply.stop_reason) == (theirs.text, theirs.finish_reason)
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (5, 3)


def test_text_raises_helpful_error_when_no_text_found():
    """Differs: it is raised when the answer comes, not when `.text` is read."""
    for raw in ({"unexpected": "shape"}, {"choices": []}, {"candidates": []}, {}):
        with pytest.raises(ReplyError, match="no reply text"):
            parse_reply(raw)
        with pytest.raises(segmind.SegmindError):
            segmind.ChatResponse(raw=raw).text  # noqa: B018


def test_chat_sync_posts_v1_and_normalizes(bench):
    """Differs: it is our own name, and no `x-initiator` claims to be the vendor's SDK."""
    made = bench(httpx.Response(200, json=OPENAI))
    assert made.chat("gpt-5.5", temperature=0.5).text == "Hi"
    (request,) = made.server.requests
    assert str(request.url) == "https://api.segmind.com/v1/gpt-5.5"
    assert json.loads(request.content)["temperature"] == 0.5
    assert "x-initiator" not in request.headers


def answered(code: int = 200, /, **body: object) -> httpx.Response:
    return httpx.Response(code, json=body)


def queued(host: str = "https://api.segmind.com") -> httpx.Response:
    """The vendor's answer to a submission, with URLs on `host`."""
    return answered(
        request_id=REQUEST_ID,
        status="QUEUED",
        poll_url=f"{host}/v1/requests/{REQUEST_ID}",
        response_url=f"{host}/v2/requests/{REQUEST_ID}",
        status_url=f"{host}/v2/requests/{REQUEST_ID}/status",
    )


def result(output: object = "ok") -> httpx.Response:
    """The vendor's result."""
    metrics = {"inference_time": 0.5}
    return answered(status="COMPLETED", error=None, metrics=metrics, output=output)


def sent_by(made) -> list[str]:
    return [f"{request.method} {request.url.path}" for request in made.server.requests]


SUBMIT = f"POST /v2/{SLUG}"
STATUS = f"GET /v2/requests/{REQUEST_ID}/status"
RESULT = f"GET /v2/requests/{REQUEST_ID}"


@pytest.fixture
def journal():
    """One in memory alone."""
    store = Journal(None)
    yield store
    store.close()


@pytest.fixture
def follow(bench, journal):
    """Submit a job to a server that answers so, follow it to its end; gives bench and job."""

    def run(*answers, base_url=None, **params):
        made = bench(*answers, base_url=base_url)
        watch = JobManager(
            made.client,
            journal=journal,
            clock=lambda: made.server.now_s,
            sleep=made.server.sleep,
            jitter=lambda: 0.0,
        )

        async def whole():
            job = await watch.submit(Call(model=SLUG, messages=HELLO, params=params))
            await watch.follow(job)
            return job

        return made, made.run(whole)

    return run


def test_wait_polls_until_completed(follow):
    """QUEUED, PROCESSING, COMPLETED, and then the result, each asked for once."""
    states = [answered(status=word) for word in ("QUEUED", "PROCESSING", "COMPLETED")]
    made, job = follow(queued(), *states, result())
    assert job.wait(timeout=5).text == "ok"
    assert sent_by(made) == [SUBMIT, STATUS, STATUS, STATUS, RESULT]


def test_wait_raises_inference_failed_on_4xx_terminal_body(follow):
    """FAILED comes under 422, and is the job's end all the same."""
    words = "Validation error in MockInferenceProcessor: sleep must be …"
    body = {"status": "FAILED", "error": words, "metrics": {"inference_time": 0.008}}
    _, job = follow(queued(), answered(422, **body, request_id=REQUEST_ID))
    with pytest.raises(JobFailed, match="Validation error"):
        job.wait(timeout=5)
    assert isinstance(job.status, Failed)
    assert job.status.detail == words


def test_run_forwards_reserved_named_params_to_body(follow):
    """A model parameter may be called `interval` or `timeout`."""
    answers = (queued(), answered(status="COMPLETED"), result())
    made, _ = follow(*answers, interval=4, timeout=7)
    sent = json.loads(made.server.requests[0].content)
    assert sent == {"messages": HELLO, "interval": 4, "timeout": 7}


def test_v2_url_derives_from_staging_base(follow):
    """v2 stands beside the v1 that is configured; every URL is on that origin."""
    staging = "https://api-latest.segmind.com"
    answers = (queued(staging), answered(status="COMPLETED"), result())
    made, _ = follow(*answers, base_url=f"{staging}/v1")
    assert {request.url.host for request in made.server.requests} == {"api-latest.segmind.com"}
    assert sent_by(made) == [SUBMIT, STATUS, RESULT]
