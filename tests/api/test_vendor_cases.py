"""The vendor's own tests of v1 chats and errors (segmind 1.3.0), held up to our client.

Named after the vendor's functions in `test_chat.py` and `test_exceptions.py`. What differs on
purpose says so in its docstring; the cases of v2 jobs belong to the tests of jobs.
"""

from __future__ import annotations

import json

import httpx
import pytest
import segmind

from segmind_jupyter.api.messages import Reply, parse_reply
from segmind_jupyter.errors import (
    APIError,
    ContentError,
    MaybeBilledError,
    ReplyError,
    SegmindError,
    SettingsError,
)

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


def test_chat_requires_messages_or_prompt(bench):
    """Differs: there is no `prompt` shorthand, as Claude's pages know only messages."""
    made = bench("reply")
    with pytest.raises(ContentError):
        made.run(made.client.chat, "claude-4-sonnet", [])
    assert made.server.requests == []


def test_chat_stream_kwarg_raises_not_implemented(bench):
    """Differs: the error is one of ours, with the next step; nothing is sent either way."""
    made = bench("reply")
    with pytest.raises(SettingsError, match="does not stream"):
        made.chat(stream=True)
    assert made.server.requests == []


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
        ({}, None),
        (["a", "list"], '["a", "list"]'),
        ({"error": "Ошибка 错误 🚨"}, "Ошибка 错误 🚨"),
    ],
)
def test_segmind_error_from_response_with_different_bodies(bench, body, detail):
    """Differs: words are found where the vendor's client has `None` (message, detail, lists)."""
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
