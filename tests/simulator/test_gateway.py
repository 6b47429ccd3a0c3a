"""The gateway's protocol, driven with a clock that the test moves."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import SimRequest, demo_behaviour

V1 = "/v1/claude-4-sonnet"
CREDITS = "/v1/get-user-credits"
HISTORY = "/inference-request/request-history"


def content(answer: Any) -> Any:
    return json.loads(answer.body)


def test_failing_and_declining_prompts(caller):
    """FAILED is 422 on status and result, 400 on v1, and free; a refusal is billed."""
    request_id = caller.queue("fail: content was blocked")
    for suffix in ("", "/status"):
        answer = caller.get(f"/v2/requests/{request_id}{suffix}")
        body = content(answer)
        assert (answer.status, body["status"]) == (422, "FAILED")
        assert body["error"] == "content was blocked"
    answer = caller.post("fail: content was blocked")
    assert (answer.status, content(answer)) == (400, {"error": "content was blocked"})
    assert caller.gateway.billed == 0
    body = content(caller.post("refuse: this"))
    assert (body["content"], body["stop_reason"]) == ([], "refusal")
    assert caller.gateway.billed == 1


def test_what_does_not_exist_is_404_and_a_wrong_method_405(caller):
    """Unknown endpoints, ids and models, with the error envelope; an HTML page, and no work."""
    for path in (
        "/", "/v1", "/v1/", "/v3/claude-4-sonnet", "/v2/requests/none", "/v2/requests/none/status",
        "/v2/requests/none/cancel", "/v1/claude-4-sonnet/stream", f"{HISTORY}/a", f"{HISTORY}/a/b",
    ):  # fmt: skip
        answer = caller.get(path)
        assert answer.status == 404, path
        assert content(answer)["error"], path
    for slug in ("gpt-5.5", "Claude-4", "claude_4", "-claude", "claude%20x"):
        answer = caller.post("a", path=f"/v1/{slug}")
        assert (answer.status, content(answer)) == (404, {"error": "Model not found"}), slug
    for method, path, allowed in (("GET", V1, "POST"), ("POST", CREDITS, "GET")):
        answer = caller.gateway.handle(SimRequest(method, path, {"x-api-key": "k"}))
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        assert answer.headers["content-type"].startswith("text/html")


def test_a_key_is_needed_in_either_form(caller):
    """Any will do, of polls too; it shows nowhere."""
    for headers, status in (
        ({"x-api-key": "k"}, 200), ({"authorization": "bearer k"}, 200),
        ({"authorization": "Bearer "}, 401), ({}, 401),
    ):  # fmt: skip
        request = SimRequest("GET", CREDITS, headers)
        assert caller.gateway.handle(request).status == status, headers
    for path in ("/v2/requests/x", "/v2/requests/x/status", HISTORY):
        assert caller.get(path, key="").status == 401
    assert "sesame" not in str(SimRequest("GET", "/", {"x-api-key": "sesame"}, b"sesame"))


def test_too_many_calls_are_429_until_the_window_has_passed(calling, clock):
    """Model calls in a sliding window, with the moment at which it opens; polls are free."""
    caller = calling(rate_limit=2)
    assert caller.post("a").status == 200
    clock.advance(30)
    request_id = caller.queue("b")
    refused = caller.post("c")
    assert refused.status == 429
    reset = datetime.fromisoformat(refused.headers["x-rate-limit-reset-at-utc"])
    assert 0 < (reset - datetime.now(UTC)).total_seconds() <= 30
    assert caller.get(f"/v2/requests/{request_id}").status == 200
    clock.advance(30)
    assert [caller.post("c").status for _ in range(2)] == [200, 429]
    assert calling(rate_limit=0).post("a").status == 429


def test_the_pace_of_the_embedded_gateway_is_a_variable(monkeypatch):
    """A factor, or no wait at all; what is no factor leaves the pace."""
    seen = []
    for speed in ("", "4", "instant", "0", "quick"):
        monkeypatch.setenv("SEGMIND_SIMULATOR_SPEED", speed)
        seen.append(demo_behaviour().latency_s)
    assert seen == [2.0, 0.5, 0.0, 2.0, 2.0]


@given(
    st.sampled_from(["GET", "POST", "HEAD", "BREW"]),
    st.text(max_size=30),
    st.dictionaries(st.sampled_from(["host", "authorization", "x-api-key"]), st.text()),
)
def test_any_path_and_headers_get_an_answer(method, path, headers):
    """No method, path or header makes the gateway raise."""
    assert Gateway().handle(SimRequest(method, path, headers)).status in (200, 401, 404, 405)
