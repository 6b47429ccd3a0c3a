"""The vendor's own tests of chats, v2 jobs and errors (segmind 1.3.0), held up to our client.

Named after the vendor's functions in `test_v2.py`, `test_chat.py` and `test_exceptions.py`; those
that ask what another test here asks are left out. What differs on purpose says so.
"""

from __future__ import annotations

import base64
import io
import json

import anyio
import httpx
import pytest
import segmind
from PIL import Image

import segmind_jupyter
from segmind_jupyter.api.journal import Journal
from segmind_jupyter.api.messages import parse_reply
from segmind_jupyter.api.responses import Failed
from segmind_jupyter.api.watch import Call, JobManager
from segmind_jupyter.errors import (
    APIError,
    AuthenticationError,
    JobError,
    JobFailed,
    JobTimeout,
    MaybeBilledError,
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
SHAPES = pytest.mark.parametrize(
    "raw", [OPENAI, ANTHROPIC, GEMINI], ids=["openai", "claude", "gemini"]
)


@SHAPES
def test_text_normalizes_all_three_provider_shapes(raw):
    """The same text as the vendor's client finds."""
    assert parse_reply(raw).text == segmind.ChatResponse(raw=raw).text == "Hi"


@SHAPES
def test_usage_finish_reason_per_provider(raw):
    """Differs: tokens have one name here for all providers; the stop reason is the provider's."""
    reply = parse_reply(raw)
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (5, 3)
    assert reply.stop_reason == segmind.ChatResponse(raw=raw).finish_reason


@pytest.mark.parametrize("raw", [{"unexpected": "shape"}, {"choices": []}, {"candidates": []}, {}])
def test_text_raises_helpful_error_when_no_text_found(raw):
    """Differs: it is raised when the answer comes, not when `.text` is read."""
    with pytest.raises(ReplyError, match="no reply text"):
        parse_reply(raw)
    with pytest.raises(segmind.SegmindError):
        segmind.ChatResponse(raw=raw).text  # noqa: B018


@pytest.mark.parametrize("raw", [OPENAI, ANTHROPIC])
def test_chat_sync_posts_v1_and_normalizes(bench, raw):
    """One POST to v1; parameters are forwarded as they are, `timeout` included."""
    made = bench(httpx.Response(200, json=raw))
    assert made.chat("gpt-5.5", temperature=0.5, timeout=3).text == "Hi"
    (request,) = made.server.requests
    assert str(request.url) == "https://api.segmind.com/v1/gpt-5.5"
    sent = json.loads(request.content)
    assert (sent["temperature"], sent["timeout"]) == (0.5, 3)


def test_image_url_base64_encodes_local_file(tmp_path):
    """Differs: the block is Claude's, made of a `Path`, and what is sent is a picture."""
    path = tmp_path / "pixel.png"
    Image.new("RGB", (3, 2), "red").save(path)
    (source,) = (b["source"] for b in segmind_jupyter.to_blocks(path) if b["type"] == "image")
    assert (source["type"], source["media_type"]) == ("base64", "image/png")
    with Image.open(io.BytesIO(base64.b64decode(source["data"]))) as picture:
        assert (picture.size, picture.convert("RGB").getpixel((0, 0))) == ((3, 2), (255, 0, 0))


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


def test_submit_async_returns_job_with_urls(follow):
    """Differs: a job has its id and its state; URLs are made of the id when they are needed."""
    made, job = follow(queued(), answered(status="COMPLETED"), result())
    assert job.request_id == REQUEST_ID
    assert sent_by(made) == [SUBMIT, STATUS, RESULT]


def test_submit_async_propagates_4xx_as_segmind_error(follow):
    """An error of ours, by status; a refused key is tried in both forms of the header."""
    with pytest.raises(AuthenticationError) as caught:
        follow(answered(401, error="Invalid API key"))
    assert (caught.value.status, caught.value.detail) == (401, "Invalid API key")


def test_submit_raises_when_response_is_missing_request_id(follow):
    """Differs: it also says that the call may have been billed, as it was accepted."""
    with pytest.raises(MaybeBilledError, match=r"no usable request_id \(keys: status\)"):
        follow(answered(status="QUEUED"))


def test_wait_returns_result_on_completed(follow):
    """Differs: what comes is a `Reply`; the vendor's body is what the journal keeps."""
    _, job = follow(queued(), answered(status="COMPLETED"), result())
    reply = job.wait(timeout=5)
    assert (reply.text, reply.request_id, job.status) == ("ok", REQUEST_ID, "COMPLETED")


def test_wait_polls_until_completed(follow):
    """QUEUED, PROCESSING, COMPLETED, and then the result, each asked for once."""
    states = [answered(status=word) for word in ("QUEUED", "PROCESSING", "COMPLETED")]
    made, job = follow(queued(), *states, result())
    assert job.wait(timeout=5).text == "ok"
    assert sent_by(made) == [SUBMIT, STATUS, STATUS, STATUS, RESULT]


def test_wait_raises_inference_failed_on_failed(follow):
    """With the server's words; the result is not asked for, and nothing is sent again."""
    made, job = follow(queued(), answered(status="FAILED", error="boom"))
    with pytest.raises(JobFailed) as caught:
        job.wait(timeout=5)
    assert (caught.value.detail, caught.value.request_id) == ("boom", REQUEST_ID)
    assert sent_by(made) == [SUBMIT, STATUS]


def test_wait_raises_inference_failed_on_4xx_terminal_body(follow):
    """FAILED comes under 422, and is the job's end all the same."""
    words = "Validation error in MockInferenceProcessor: sleep must be …"
    body = {"status": "FAILED", "error": words, "metrics": {"inference_time": 0.008}}
    _, job = follow(queued(), answered(422, **body, request_id=REQUEST_ID))
    with pytest.raises(JobFailed, match="Validation error"):
        job.wait(timeout=5)
    assert isinstance(job.status, Failed)
    assert job.status.detail == words


def test_wait_propagates_genuine_transport_error(follow):
    """A refused key is no failed job. Differs: what may pass (5xx, resets) is sat out."""
    _, job = follow(queued(), answered(401, error="Invalid API key"))
    with pytest.raises(AuthenticationError) as caught:
        job.wait(timeout=5)
    assert caught.value.status == 401
    assert not isinstance(caught.value, JobError)
    _, job = follow(queued(), answered(502), answered(status="COMPLETED"), result())
    assert job.wait(timeout=5).text == "ok"


def test_wait_raises_inference_timeout(bench, journal):
    """With the id. Differs: it is a `TimeoutError` too, and the job goes on by itself."""
    made = bench(queued(), answered(status="PROCESSING"))
    watch = JobManager(made.client, journal=journal)
    job = made.run(watch.submit, Call(model=SLUG, messages=HELLO))
    with pytest.raises(TimeoutError) as caught:
        job.wait(timeout=0.01)
    assert isinstance(caught.value, JobTimeout)
    assert caught.value.request_id == REQUEST_ID
    assert not job.done()


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


def test_chat_async_handles_plain_string_output(follow):
    """A text that is no JSON is the reply."""
    _, job = follow(queued(), answered(status="COMPLETED"), result("just text"))
    assert job.wait().text == "just text"


def test_module_exports_v2_symbols():
    """Differs: the names are `submit`, `resume` and `ask_each`, the handle is `Job`."""
    ours = {"submit", "resume", "Job", "JobFailed", "JobTimeout", "SegmindClient"}
    assert ours <= set(segmind_jupyter.__all__)
    assert all(hasattr(segmind_jupyter, name) for name in ours)


def test_user_agent_tracks_package_version(bench):
    """Differs: it is our own name, and no `x-initiator` claims to be the vendor's SDK."""
    made = bench("reply")
    made.chat()
    headers = made.server.requests[0].headers
    assert headers["user-agent"] == f"segmind-jupyter/{segmind_jupyter.__version__}"
    assert "x-initiator" not in headers


@pytest.mark.parametrize(
    "status", [400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422, 429, 451]
)
def test_raise_for_status_with_all_4xx_codes(bench, status):
    """An error of ours for each, with its status."""
    with pytest.raises(APIError) as caught:
        bench(httpx.Response(status, json={"error": f"Error {status}"})).chat()
    assert (caught.value.status, caught.value.detail) == (status, f"Error {status}")


@pytest.mark.parametrize("status", [500, 501, 502, 503, 504, 505, 511])
def test_raise_for_status_with_all_5xx_codes(bench, status):
    """Differs: where the outcome of a POST is unknown, the error says that it may be billed."""
    with pytest.raises(APIError) as caught:
        bench(httpx.Response(status, json={"error": f"Error {status}"})).chat()
    assert caught.value.status == status
    assert isinstance(caught.value, MaybeBilledError) is (status in {500, 502, 504, 511})


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"error": "Bad", "code": "X", "details": {"field": "f"}}, "Bad"),
        ({"error": {"message": "Nested", "type": "t"}}, "Nested"),
        ({"message": "From message"}, "From message"),
        ({"detail": "From detail"}, "From detail"),
        ({"error": "From error", "detail": "Unread"}, "From error"),
        ({"data": {"error": "Deep"}}, '{"data": {"error": "Deep"}}'),
        ({"errors": [{"field": "f"}]}, '{"errors": [{"field": "f"}]}'),
        ({"error": "Rate limited", "retry_after": 60}, "Rate limited"),
        ({}, None),
        (["a", "list"], '["a", "list"]'),
        ({"error": "Ошибка 错误 🚨"}, "Ошибка 错误 🚨"),
    ],
)
def test_segmind_error_from_response_with_different_bodies(bench, body, detail):
    """Differs: words are found where the vendor's client has `None` (message, detail, lists).

    What is of no known form is shown as it came.
    """
    with pytest.raises(APIError) as caught:
        bench(httpx.Response(400, json=body)).chat()
    assert caught.value.detail == detail


def test_segmind_error_with_very_long_detail(bench):
    """Differs: the message is cut to a readable length; `body` has it all."""
    with pytest.raises(APIError) as caught:
        bench(httpx.Response(400, json={"error": "x" * 10_000})).chat()
    assert len(str(caught.value)) < 600
    assert "x" * 10_000 in caught.value.body


@pytest.mark.parametrize(
    "content_type",
    ["application/json; charset=utf-8", "text/plain", "text/html", "application/xml", ""],
)
def test_error_handling_by_content_type(bench, content_type):
    """What a body holds decides, and not what its header says that it holds."""
    answer = httpx.Response(
        400, content=b'{"error": "Test error"}', headers={"content-type": content_type}
    )
    with pytest.raises(APIError) as caught:
        bench(answer).chat()
    assert caught.value.detail == "Test error"


def test_concurrent_error_handling(bench):
    """Calls that fail side by side fail each by itself."""
    made = bench(answered(400, error="Concurrent error"))
    caught = []

    async def one():
        try:
            await made.client.chat("claude-4-sonnet", HELLO)
        except APIError as error:
            caught.append(error)

    async def five():
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(one)

    made.run(five)
    assert [error.detail for error in caught] == ["Concurrent error"] * 5
    assert len({id(error) for error in caught}) == 5
