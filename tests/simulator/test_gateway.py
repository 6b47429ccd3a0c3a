"""The gateway's protocol, driven with a clock that the test moves; and its forced outcomes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour, SimRequest, demo_behaviour

V1 = "/v1/claude-4-sonnet"
V2 = "/v2/claude-4-sonnet"
CREDITS = "/v1/get-user-credits"
HISTORY = "/inference-request/request-history"


def content(answer: Any) -> Any:
    return json.loads(answer.body)


def test_v1_answers_in_the_shape_of_the_model_page(caller):
    """The documented keys, and headers that agree with the usage and with the account."""
    answer = caller.post("two words")
    body = content(answer)
    assert body.pop("id").startswith("msg_")
    usage = body.pop("usage")
    assert body == {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": "(simulated) text of 2 words"}],
        "model": "claude-4-sonnet",
        "stop_reason": "end_turn",
        "simulated": True,
    }
    dollars = (usage["input_tokens"] * 3 + usage["output_tokens"] * 15) / 1e6
    assert float(answer.headers["x-cost"]) == pytest.approx(dollars, abs=1e-6)
    assert float(answer.headers["x-remaining-credits"]) == pytest.approx(10 - dollars, abs=1e-6)
    left = content(caller.get(CREDITS))
    assert left == {"credits": pytest.approx(10 - dollars), "free-credits": 0.0}
    assert answer.headers["x-request-id"]


def test_a_job_goes_through_its_states_by_the_clock(calling, clock):
    """QUEUED, PROCESSING (a result is its status till then), COMPLETED, unknown after an hour."""
    caller = calling(queue_s=2, work_s=5)
    request_id = caller.queue("three small words")
    path, seen = f"/v2/requests/{request_id}", []
    for seconds in (0, 1.9, 0.1, 4.9):
        clock.advance(seconds)
        early = content(caller.get(path))
        assert early == content(caller.get(f"{path}/status"))
        seen.append(early["status"])
    assert seen == ["QUEUED", "QUEUED", "PROCESSING", "PROCESSING"]
    assert early == {"status": "PROCESSING", "request_id": request_id, "metrics": {}}
    clock.advance(0.1)
    assert content(caller.get(f"{path}/status"))["status"] == "COMPLETED"
    result = content(caller.get(path))
    assert (result["status"], result["error"]) == ("COMPLETED", None)
    assert set(result["metrics"]) == {"inference_time", "queue_time", "cost", "remaining_credits"}
    inner = json.loads(result["output"])  # v1's answer, once more encoded
    assert inner["content"][0]["text"] == "(simulated) text of 3 words"
    clock.advance(3599)
    assert caller.get(path).status == 200
    clock.advance(1)
    assert {caller.get(path).status, caller.get(f"{path}/status").status} == {404}
    caller.queue("another")
    clock.advance(-3600)
    assert caller.get(path).status == 404  # it does not pile up


def test_submitting_names_the_urls_on_the_origin_that_was_asked(caller, calling):
    """By the request's Host and scheme; or on another host, as a lie."""
    headers = {"x-api-key": "k", "content-type": "application/json", "Host": "example.test:81"}
    body = b'{"messages": [{"role": "user", "content": "a"}]}'
    answer = content(caller.gateway.handle(SimRequest("POST", V2, headers, body, "https")))
    base = f"https://example.test:81/v2/requests/{answer['request_id']}"
    assert answer == {
        "request_id": answer["request_id"],
        "status": "QUEUED",
        "poll_url": base,
        "status_url": f"{base}/status",
        "response_url": base,
    }
    lie = content(calling(poll_host="elsewhere.example").post("a", path=V2, headers=headers))
    assert lie["poll_url"].startswith("http://elsewhere.example/v2/requests/")


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


def test_what_does_not_exist_is_404_and_what_is_set_to_be_refused_is(caller, calling):
    """Unknown endpoints, ids and models, with the error envelope."""
    for path in (
        "/", "/v1", "/v1/", "/v3/claude-4-sonnet", "/v2/requests/none", "/v2/requests/none/status",
        "/v2/requests/none/cancel", "/v1/claude-4-sonnet/stream", f"{HISTORY}/a/b",
    ):  # fmt: skip
        answer = caller.get(path)
        assert answer.status == 404, path
        assert content(answer)["error"], path
    for slug in ("gpt-5.5", "Claude-4", "claude_4", "-claude", "claude%20x"):
        answer = caller.post("a", path=f"/v1/{slug}")
        assert (answer.status, content(answer)) == (404, {"error": "Model not found"}), slug
    retired = calling(refused_slugs={"claude-3-opus": 410})
    assert retired.post("a", path="/v2/claude-3-opus").status == 410
    assert retired.post("a").status == 200


def test_methods(caller):
    """A wrong one gets an HTML page with the right one; HEAD is GET without its body."""
    handle, key = caller.gateway.handle, {"x-api-key": "k"}
    for method, path, allowed in (
        ("GET", V1, "POST"), ("DELETE", V2, "POST"), ("POST", CREDITS, "GET"),
        ("DELETE", "/v2/requests/x", "GET"),
    ):  # fmt: skip
        answer = handle(SimRequest(method, path, key))
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        assert answer.headers["content-type"].startswith("text/html")
    head = handle(SimRequest("HEAD", CREDITS, key))
    assert (head.status, head.body) == (200, b"")
    assert handle(SimRequest("OPTIONS", V1)).headers["allow"] == "POST, OPTIONS"


def test_spent_credits_are_406(calling):
    """Once the account is empty, both versions refuse and charge nothing more."""
    caller = calling(credits=1e-9)
    assert caller.post("a").status == 200
    for path in (V1, V2):
        answer = caller.post("a", path=path)
        assert (answer.status, content(answer)) == (406, {"error": "Insufficient credits"})
    assert (caller.gateway.billed, caller.gateway.credits) == (1, 0)


def test_the_key_is_checked_in_the_accepted_forms(calling):
    """A request passes if an accepted header form carries an accepted key; polls need one too."""
    both = {"x-api-key", "bearer"}
    for headers, accepted, status in (
        ({"x-api-key": "good"}, both, 200),
        ({"Authorization": "Bearer good"}, both, 200),
        ({"authorization": "bearer good"}, both, 200),
        ({"x-api-key": "good"}, {"bearer"}, 401),
        ({"authorization": "Bearer good"}, {"x-api-key"}, 401),
        ({"x-api-key": "bad", "authorization": "Bearer good"}, both, 200),
        ({"x-api-key": "bad"}, both, 401),
        ({"authorization": "Bearer "}, both, 401),
        ({}, both, 401),
    ):
        caller = calling(auth=frozenset(accepted), keys=frozenset({"good"}))
        request = SimRequest("GET", CREDITS, headers)
        assert caller.gateway.handle(request).status == status, headers
        for path in ("/v2/requests/x", "/v2/requests/x/status", HISTORY):
            assert caller.get(path, key="").status == 401
        assert caller.post_body(b"{", headers={"x-api-key": ""}).status == 401


def test_too_many_calls_are_429_until_the_window_has_passed(calling, clock):
    """The limit counts model calls in a sliding window, and leaves polls alone."""
    caller = calling(rate_limit=2, rate_window_s=60)
    assert caller.post("a").status == 200
    clock.advance(30)
    request_id = caller.queue("b")
    refused = caller.post("c")
    assert refused.status == 429
    assert not {"retry-after", "x-rate-limit-reset-at-utc"} & set(refused.headers)
    assert caller.get(f"/v2/requests/{request_id}").status == 200
    clock.advance(30)
    assert [caller.post("c").status for _ in range(2)] == [200, 429]
    assert calling(rate_limit=0).post("a").status == 429


def test_the_limit_can_count_reads_and_say_when_to_come_back(calling, clock):
    """By seconds, rounded up, and by the moment."""
    told = {"rate_limits_reads": True, "sends_retry_after": True, "sends_reset": True}
    caller = calling(rate_limit=2, rate_window_s=10, **told)
    request_id = caller.queue("a")
    assert caller.get(f"/v2/requests/{request_id}/status").status == 200
    clock.advance(2.5)
    refused = caller.get(f"/v2/requests/{request_id}")
    assert refused.status == 429
    assert refused.headers["retry-after"] == "8"
    reset = datetime.fromisoformat(refused.headers["x-rate-limit-reset-at-utc"])
    assert 2 < (reset - datetime.now(UTC)).total_seconds() <= 7.5
    assert caller.post("b").status == 429
    clock.advance(8)
    assert caller.post("b").status == 200


def test_the_history_tells_what_was_charged(caller):
    """Newest first, with the fields that the vendor's SDK names; by model, state, page and id."""
    caller.post("one")
    caller.queue("fail: blocked")
    caller.post("two", path="/v1/claude-opus-4.7")
    body = content(caller.get(HISTORY))
    assert body["total"] == 3
    newest, failed, oldest = body["data"]
    assert (newest["model_name"], newest["model_status"]) == ("claude-opus-4.7", "COMPLETED")
    assert (failed["model_status"], failed["error"]) == ("FAILED", "blocked")
    assert failed["credits_deduction"] == 0 < oldest["credits_deduction"]
    assert oldest["request_body"]["messages"][0]["content"] == "one"
    assert content(caller.get(f"{HISTORY}/{oldest['request_id']}")) == oldest
    assert caller.get(f"{HISTORY}/unknown").status == 404
    for query, count in (
        ("?model_name=opus", 1), ("?status=FAILED", 1), ("?per_page=2&page=2", 1),
        ("?from_date=2000-01-01&to_date=2000-01-02", 0), (f"?page={'9' * 5000}", 0),
    ):  # fmt: skip
        assert len(content(caller.get(HISTORY + query))["data"]) == count, query


def test_the_history_keeps_sizes_and_no_images(caller, image_block):
    """A thousand entries at most, each of a few thousand characters, whatever was sent."""
    noise = image_block(Image.effect_noise((300, 300), 90))
    data = noise["source"]["data"]
    deep = json.loads("[" * 100 + "]" * 100)
    caller.post([noise, {"type": "text", "text": "x" * 9_000}], extra=deep)
    (entry,) = content(caller.get(HISTORY))["data"]
    image, text = entry["request_body"]["messages"][0]["content"]
    assert image["source"] == {**noise["source"], "data": f"({len(data)} characters)"}
    assert text["text"] == "x" * 500 + "… (9000 characters)"
    assert len(json.dumps(entry)) < 2_000
    assert caller.gateway._history.maxlen == 1_000


def test_the_catalogue_needs_no_key(caller):
    """It lists slugs, and whether they are to go."""
    models = content(caller.get("/inference-model-information/list", key=""))
    assert {"slug": "claude-4-sonnet", "is_depreciated": False} in models


def test_the_pace_of_the_embedded_gateway_is_a_variable(monkeypatch):
    """A factor, or no wait at all; what is no factor leaves the pace."""
    seen = []
    for speed in ("", "4", "instant", "0", "quick"):
        monkeypatch.setenv("SEGMIND_SIMULATOR_SPEED", speed)
        seen.append(demo_behaviour().latency_s)
    assert seen == [2.0, 0.5, 0.0, 2.0, 2.0]


def test_the_log_holds_what_tests_count_and_no_key(caller, clock):
    """Each request with its status, its header form and the time; no repr holds a key."""
    caller.post("a", headers={"x-api-key": "", "authorization": "Bearer sesame"})
    clock.advance(3)
    caller.get(CREDITS, key="sesame")
    caller.get("/nowhere?q=1", key="")
    seen = [(e.method, e.path, e.status, e.auth, e.at_s) for e in caller.gateway.log]
    assert seen == [
        ("POST", V1, 200, "bearer", 1000.0),
        ("GET", CREDITS, 200, "x-api-key", 1003.0),
        ("GET", "/nowhere?q=1", 404, "none", 1003.0),
    ]
    request = SimRequest("GET", "/", {"x-api-key": "sesame"}, b"sesame")
    assert "sesame" not in f"{caller.gateway.log}{request}{Behaviour(keys=frozenset({'sesame'}))}"


@given(
    st.sampled_from(["GET", "POST", "HEAD", "PUT", "BREW"]),
    st.text(max_size=30),
    st.dictionaries(st.sampled_from(["host", "authorization", "x-api-key"]), st.text()),
)
def test_any_path_and_headers_get_an_answer(method, path, headers):
    """No method, path or header makes the gateway raise."""
    assert Gateway().handle(SimRequest(method, path, headers)).status in (200, 401, 404, 405)


# Forced outcomes


def test_forced_answers_come_in_order_and_as_often_as_asked(caller):
    """For the requests that they match; they do no work, and can be forgotten."""
    script = caller.gateway.script
    script(status=500, times=2)
    script("GET /v2/", status=502)
    script("POST /v2/", status=503)
    script(status=404)
    answers = [caller.post("a") for _ in range(4)]
    assert [answer.status for answer in answers] == [500, 500, 404, 200]
    assert content(answers[0]) == {"error": "Internal Server Error"}
    assert caller.gateway.billed == 1
    assert caller.post("a", path=V2).status == 503
    request_id = caller.queue("a")
    path = f"/v2/requests/{request_id}"
    assert [caller.get(path).status for _ in range(2)] == [502, 200]
    script(status=500, times=100)
    caller.gateway.clear_script()
    assert caller.post("a").status == 200


def test_a_real_answer_can_be_hidden_changed_and_delayed(calling):
    """The work is done and charged all the same."""
    caller = calling(latency_s=2)
    caller.gateway.script(status=504, after_work=True)
    assert caller.post("a").status == 504
    assert caller.gateway.billed == 1
    caller.gateway.script("GET /v2/", change=lambda body: {**body, "status": "PAUSED"})
    path = f"/v2/requests/{caller.queue('a')}/status"
    assert [content(caller.get(path))["status"] for _ in range(2)] == ["PAUSED", "COMPLETED"]
    caller.gateway.script(delay_s=3)
    assert [caller.post("a").delay_s for _ in range(2)] == [5, 2]


def test_a_connection_is_dropped_before_or_after_the_work(caller):
    """Before it costs nothing; after it the job is there, though the client never learns its id."""
    caller.gateway.script(drop="before_work")
    assert caller.post("a").drop == "before_work"
    assert (caller.gateway.billed, caller.gateway.log[-1].status) == (0, None)
    caller.gateway.script(drop="after_work")
    answer = caller.post("a", path=V2)
    assert (answer.drop, caller.gateway.billed) == ("after_work", 1)
    assert caller.get(f"/v2/requests/{content(answer)['request_id']}").status == 200
