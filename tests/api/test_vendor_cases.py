"""The vendor's own tests of chats, v2 jobs and errors (segmind 1.3.0), held up to our client.

Named after the vendor's functions in `test_v2.py`, `test_chat.py` and `test_exceptions.py`. What
differs on purpose says so in its docstring; what has no case of its own stands at the end.
"""

from __future__ import annotations

import base64
import io
import json
import pickle

import anyio
import httpx
import pytest
import segmind
from PIL import Image

import segmind_jupyter
from segmind_jupyter.api.journal import Journal
from segmind_jupyter.api.messages import Reply, parse_reply
from segmind_jupyter.api.states import Failed
from segmind_jupyter.api.watch import Call, JobManager
from segmind_jupyter.errors import (
    APIError,
    AuthenticationError,
    ContentError,
    JobError,
    JobFailed,
    JobTimeout,
    MaybeBilledError,
    ReplyError,
    SegmindError,
    SettingsError,
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
def test_raw_is_always_preserved(raw):
    """Whatever is not read stays within reach."""
    assert parse_reply(raw).raw is raw


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


def test_json_parses_json_mode_output_or_raises():
    """The same; a fenced block is read too."""
    assert Reply(text='{"a": 1, "b": [2, 3]}').json() == {"a": 1, "b": [2, 3]}
    with pytest.raises(SegmindError):
        Reply(text="Hello from OpenAI").json()


@pytest.mark.parametrize("raw", [OPENAI, ANTHROPIC])
def test_chat_sync_posts_v1_and_normalizes(bench, raw):
    """One POST to v1; parameters are forwarded as they are, `timeout` included."""
    made = bench(httpx.Response(200, json=raw))
    assert made.chat("gpt-5.5", temperature=0.5, timeout=3).text == "Hi"
    (request,) = made.server.requests
    assert str(request.url) == "https://api.segmind.com/v1/gpt-5.5"
    sent = json.loads(request.content)
    assert (sent["temperature"], sent["timeout"]) == (0.5, 3)


def test_chat_sync_accepts_messages(bench):
    """They are sent as they are, also with a plain string for content."""
    made = bench("reply")
    messages = [{"role": "user", "content": "hi"}]
    assert made.run(made.client.chat, "gpt-5.5", messages).text == "A sunset."
    assert json.loads(made.server.requests[0].content) == {"messages": messages}


def test_chat_requires_messages_or_prompt(bench):
    """Differs: there is no `prompt` shorthand, as Claude's pages know only messages."""
    made = bench("reply")
    with pytest.raises(ContentError):
        made.run(made.client.chat, "claude-4-sonnet", [])
    assert made.server.requests == []


@pytest.mark.parametrize("method", ["chat", "submit_chat"])
def test_chat_stream_kwarg_raises_not_implemented(bench, method):
    """Differs: the error is one of ours, with the next step; nothing is sent either way."""
    made = bench("reply")
    with pytest.raises(SettingsError, match="does not stream"):
        made.run(getattr(made.client, method), "gpt-5.5", HELLO, stream=True)
    assert made.server.requests == []


def test_tool_calls_empty_by_default_but_structural():
    """Differs: there is no `tool_calls`, as Segmind forwards no tools; `raw` would hold them.

    A message without text is then an error, in place of an empty text.
    """
    raw = {"choices": [{"message": {"content": None, "tool_calls": [{"id": "call_1"}]}}]}
    assert segmind.ChatResponse(raw=raw).tool_calls == [{"id": "call_1"}]
    with pytest.raises(ReplyError):
        parse_reply(raw)
    assert parse_reply(OPENAI).raw == OPENAI


def test_image_url_passes_through_http_url():
    """Differs: an address is words like any other. Nothing here makes a server fetch an image."""
    blocks = segmind_jupyter.to_blocks("https://example.com/cat.png")
    assert blocks == [{"type": "text", "text": "https://example.com/cat.png"}]


def test_image_url_base64_encodes_local_file(tmp_path):
    """Differs: the block is Claude's, made of a `Path`, and what is sent is a picture."""
    path = tmp_path / "pixel.png"
    Image.new("RGB", (3, 2), "red").save(path)
    (source,) = (b["source"] for b in segmind_jupyter.to_blocks(path) if b["type"] == "image")
    assert (source["type"], source["media_type"]) == ("base64", "image/png")
    with Image.open(io.BytesIO(base64.b64decode(source["data"]))) as picture:
        assert (picture.size, picture.convert("RGB").getpixel((0, 0))) == ((3, 2), (255, 0, 0))


def test_image_url_rejects_unknown_target(tmp_path):
    """An error of ours before anything is sent."""
    with pytest.raises(ContentError):
        segmind_jupyter.to_blocks(tmp_path / "no-such-file.png")


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


def test_run_sync_hits_v1_returns_response(bench):
    """Differs: `chat` is the blocking v1 call, and gives a `Reply`; v2 is not touched."""
    made = bench("reply")
    made.chat(SLUG)
    assert sent_by(made) == [f"POST /v1/{SLUG}"]


def test_v2_url_derives_from_staging_base(follow):
    """v2 stands beside the v1 that is configured; every URL is on that origin."""
    staging = "https://api-latest.segmind.com"
    answers = (queued(staging), answered(status="COMPLETED"), result())
    made, _ = follow(*answers, base_url=f"{staging}/v1")
    assert {request.url.host for request in made.server.requests} == {"api-latest.segmind.com"}
    assert sent_by(made) == [SUBMIT, STATUS, RESULT]


def test_chat_async_default_decodes_stringified_output(follow):
    """`output` is the model's JSON in a string. Differs: `ask` is v1 by default, `submit` v2."""
    _, job = follow(queued(), answered(status="COMPLETED"), result(json.dumps(OPENAI)))
    reply = job.wait()
    assert (reply.text, reply.stop_reason, reply.raw) == ("Hi", "stop", OPENAI)


def test_submit_chat_returns_handle(follow):
    """Differs: `status` is what was last heard of, and looking at it sends nothing."""
    made, job = follow(queued(), answered(status="COMPLETED"), result(json.dumps(OPENAI)))
    before = len(made.server.requests)
    assert (job.request_id, job.status) == (REQUEST_ID, "COMPLETED")
    assert job.wait(timeout=5).text == "Hi"
    assert len(made.server.requests) == before


def test_chat_async_handles_plain_string_output(follow):
    """A text that is no JSON is the reply."""
    _, job = follow(queued(), answered(status="COMPLETED"), result("just text"))
    assert job.wait().text == "just text"


def test_module_exports_v2_symbols():
    """Differs: the names are `submit`, `resume` and `ask_each`, the handle is `Job`."""
    ours = {"submit", "resume", "Job", "JobFailed", "JobTimeout", "SegmindClient"}
    assert ours <= set(segmind_jupyter.__all__)
    assert all(hasattr(segmind_jupyter, name) for name in ours)


def test_module_exports_chat_surface():
    """Differs: `ask` is the chat; an image needs no helper, as `to_blocks` takes any object."""
    ours = {"ask", "Reply", "Usage", "to_blocks"}
    assert ours <= set(segmind_jupyter.__all__)
    assert all(hasattr(segmind_jupyter, name) for name in ours)


def test_segmind_error_exported_at_top_level():
    """One class catches all that a job can raise."""
    assert "SegmindError" in segmind_jupyter.__all__
    assert issubclass(segmind_jupyter.JobFailed, segmind_jupyter.SegmindError)
    assert issubclass(segmind_jupyter.JobTimeout, segmind_jupyter.SegmindError)


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


@pytest.mark.parametrize("status", [300, 301, 302, 304, 307, 308])
def test_raise_for_status_success_codes(bench, status):
    """Differs: the vendor's client takes a 3xx for a success; here it is refused."""
    with pytest.raises(APIError):
        bench(httpx.Response(status)).chat()


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


@pytest.mark.parametrize("text", ["Internal Server Error", "", "{broken json", "<html>oops</html>"])
def test_raise_for_status_with_text_response(bench, text):
    """No body makes it raise anything but the named error."""
    with pytest.raises(MaybeBilledError):
        bench(httpx.Response(500, text=text)).chat()


def test_segmind_error_with_very_long_detail(bench):
    """Differs: the message is cut to a readable length; `body` has it all."""
    with pytest.raises(APIError) as caught:
        bench(httpx.Response(400, json={"error": "x" * 10_000})).chat()
    assert len(str(caught.value)) < 600
    assert "x" * 10_000 in caught.value.body


def test_segmind_error_inheritance():
    """One class catches them all."""
    assert issubclass(APIError, SegmindError)
    assert issubclass(SegmindError, Exception)


def test_segmind_error_creation():
    """Differs: a message for a person comes first; there is no `title`."""
    error = APIError("It was refused. Correct it.", status=400, detail="Bad Request")
    assert (str(error), error.status, error.detail) == (
        "It was refused. Correct it.",
        400,
        "Bad Request",
    )


def test_segmind_error_creation_with_none_values():
    """What is not known is `None`."""
    error = APIError("Odd.")
    assert (error.status, error.detail, error.request_id, error.body) == (None, None, None, None)


def test_segmind_error_string_representation(bench):
    """Differs: a sentence with status, words and the next step, in place of a list of fields."""
    with pytest.raises(APIError) as caught:
        bench(answered(403, error="Forbidden")).chat()
    assert "Choose another model" in str(caught.value)
    assert str(caught.value).endswith("(POST /v1/claude-4-sonnet was answered 403: Forbidden)")


def test_segmind_error_equality():
    """Equal fields; the errors themselves are compared by identity, as exceptions are."""
    one, two, other = (APIError("m", status=status, detail="d") for status in (400, 400, 404))
    assert vars(one) == vars(two)
    assert vars(one) != vars(other)


def test_segmind_error_repr():
    """Class and message."""
    assert repr(APIError("It was answered 422.", status=422)) == "APIError('It was answered 422.')"


def test_segmind_error_to_dict():
    """Differs: there is no `to_dict`; the fields are attributes, and survive a pickle."""
    twin = pickle.loads(pickle.dumps(APIError("m", status=403, detail="Forbidden")))
    assert vars(twin) == {"status": 403, "detail": "Forbidden", "request_id": None, "body": None}


@pytest.mark.parametrize("status", [200, 201, 202])
def test_raise_for_status_success(bench, status):
    """A 2xx with a reply is a reply."""
    assert bench(answered(status, **ANTHROPIC)).chat().text == "Hi"


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


#: The functions of the vendor's three files, in their order.
VENDORS = {
    "test_v2": """
        submit_async_returns_job_with_urls submit_async_propagates_4xx_as_segmind_error
        submit_raises_when_response_is_missing_request_id wait_returns_result_on_completed
        wait_polls_until_completed wait_raises_inference_failed_on_failed
        wait_raises_inference_failed_on_4xx_terminal_body wait_propagates_genuine_transport_error
        wait_raises_inference_timeout run_one_shot run_forwards_reserved_named_params_to_body
        run_sync_hits_v1_returns_response run_async_removed v2_url_derives_from_staging_base
        module_level_run_uses_default_client module_exports_v2_symbols
        segmind_error_exported_at_top_level user_agent_tracks_package_version
    """,
    "test_chat": """
        text_normalizes_all_three_provider_shapes raw_is_always_preserved
        text_raises_helpful_error_when_no_text_found usage_finish_reason_per_provider
        tool_calls_empty_by_default_but_structural json_parses_json_mode_output_or_raises
        image_url_passes_through_http_url image_url_base64_encodes_local_file
        image_url_rejects_unknown_target chat_sync_posts_v1_and_normalizes
        chat_sync_accepts_messages chat_requires_messages_or_prompt
        chat_async_default_decodes_stringified_output submit_chat_returns_handle
        chat_async_handles_plain_string_output chat_stream_kwarg_raises_not_implemented
        module_exports_chat_surface
    """,
    "test_exceptions": """
        segmind_error_creation segmind_error_creation_with_none_values
        segmind_error_string_representation segmind_error_to_dict
        segmind_error_from_response_with_json segmind_error_from_response_without_json
        segmind_error_inheritance raise_for_status_success raise_for_status_400_bad_request
        raise_for_status_401_unauthorized raise_for_status_500_internal_server_error
        raise_for_status_with_all_4xx_codes raise_for_status_with_all_5xx_codes
        raise_for_status_success_codes raise_for_status_with_json_error_details
        raise_for_status_with_text_response raise_for_status_with_empty_response
        raise_for_status_with_malformed_json segmind_error_with_all_parameters
        segmind_error_string_representation_with_title
        segmind_error_string_representation_minimal segmind_error_to_dict_with_all_fields
        segmind_error_to_dict_with_none_values segmind_error_from_response_with_complex_json
        segmind_error_from_response_with_nested_error
        segmind_error_from_response_with_message_field
        segmind_error_from_response_with_detail_field
        segmind_error_from_response_with_empty_json
        segmind_error_from_response_with_non_dict_json segmind_error_equality segmind_error_repr
        segmind_error_with_unicode_characters segmind_error_with_very_long_detail
        error_propagation_chain custom_error_handling_patterns
        error_handling_with_different_response_formats error_handling_by_content_type
        concurrent_error_handling
    """,
}

#: The vendor's functions that ask what another one asks, and the function here that answers both.
HELD_BY = {
    "run_one_shot": "wait_returns_result_on_completed",
    "segmind_error_from_response_with_json": "segmind_error_from_response_with_different_bodies",
    "segmind_error_from_response_without_json": "raise_for_status_with_text_response",
    "raise_for_status_400_bad_request": "raise_for_status_with_all_4xx_codes",
    "raise_for_status_401_unauthorized": "raise_for_status_with_all_4xx_codes",
    "raise_for_status_500_internal_server_error": "raise_for_status_with_all_5xx_codes",
    "raise_for_status_with_json_error_details": "segmind_error_from_response_with_different_bodies",
    "raise_for_status_with_empty_response": "raise_for_status_with_text_response",
    "raise_for_status_with_malformed_json": "raise_for_status_with_text_response",
    "segmind_error_with_all_parameters": "segmind_error_creation",
    "segmind_error_string_representation_with_title": "segmind_error_string_representation",
    "segmind_error_string_representation_minimal": "segmind_error_string_representation",
    "segmind_error_to_dict_with_all_fields": "segmind_error_to_dict",
    "segmind_error_to_dict_with_none_values": "segmind_error_to_dict",
    **dict.fromkeys(
        (
            "segmind_error_from_response_with_complex_json",
            "segmind_error_from_response_with_nested_error",
            "segmind_error_from_response_with_message_field",
            "segmind_error_from_response_with_detail_field",
            "segmind_error_from_response_with_empty_json",
            "segmind_error_from_response_with_non_dict_json",
            "segmind_error_with_unicode_characters",
            "error_handling_with_different_response_formats",
        ),
        "segmind_error_from_response_with_different_bodies",
    ),
}

NOT_APPLICABLE = {
    "run_async_removed": "not applicable: no name of ours was ever removed",
    "module_level_run_uses_default_client": (
        "not applicable: the default client lives in a process of its own, in test_calling.py"
    ),
    "error_propagation_chain": "not applicable: it tests how Python passes exceptions on",
    "custom_error_handling_patterns": "not applicable: it tests how Python raises again",
}


def test_every_function_of_the_vendors_has_its_place():
    """In this table, beside an equal one, or among those that do not apply; in one of them."""
    theirs = [name for names in VENDORS.values() for name in names.split()]
    ours = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    places = [*(ours & set(theirs)), *HELD_BY, *NOT_APPLICABLE]
    assert sorted(places) == sorted(theirs)
    assert set(HELD_BY.values()) <= ours
    assert [len(names.split()) for names in VENDORS.values()] == [18, 17, 38]
