"""The vendor's own client (segmind 1.3.0) beside ours, where both read or send the same.

What its tests ask of jobs, errors and addresses is asked in the other files here.
"""

from __future__ import annotations

import json

import httpx
import pytest
import segmind

from segmind_jupyter.api.messages import parse_reply
from segmind_jupyter.errors import APIError, MaybeBilledError, ReplyError

HELLO = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
ID = "11111111-2222-3333-4444-555555555555"

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


def test_run_forwards_reserved_named_params_to_body_on_the_staging_base(bench):
    """A parameter may be called `interval` or `timeout`; v2 stands beside the v1 of the setting."""
    queued = httpx.Response(200, json={"request_id": ID, "status": "QUEUED"})
    made = bench(queued, base_url="https://api-latest.segmind.com/v1")
    ticket = made.run(made.client.submit_chat, "mock-inference", HELLO, interval=4, timeout=7)
    (request,) = made.server.requests
    assert ticket.request_id == ID
    assert str(request.url) == "https://api-latest.segmind.com/v2/mock-inference"
    assert json.loads(request.content) == {"messages": HELLO, "interval": 4, "timeout": 7}
    assert "x-initiator" not in request.headers  # differs: nothing claims to be the vendor's SDK


def test_raise_for_status_with_all_codes(bench):
    """Differs: where the outcome of a POST is unknown, the error says that it may be billed."""
    codes = [400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422, 429, 451]
    for status in [*codes, 500, 501, 502, 503, 504, 505, 511]:
        with pytest.raises(APIError) as caught:
            bench(httpx.Response(status, json={"error": f"Error {status}"})).chat()
        assert (caught.value.status, caught.value.detail) == (status, f"Error {status}")
        assert isinstance(caught.value, MaybeBilledError) is (status in {500, 502, 504, 511})
