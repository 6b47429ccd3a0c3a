"""The gateway's protocol, driven with a clock that the test moves."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from PIL import Image

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour, SimRequest, demo_behaviour

V1 = "/v1/claude-4-sonnet"
V2 = "/v2/claude-3.5-sonnet"


def content(answer: Any) -> Any:
    return json.loads(answer.body)


def test_v1_answers_in_the_shape_of_the_model_page(caller):
    """A v1 call has the keys of the documented answer, and says that it is simulated."""
    answer = caller.post("two words")
    body = content(answer)
    assert answer.status == 200
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
    assert usage["input_tokens"] > 0
    assert usage["output_tokens"] > 0


def test_v1_headers_tell_cost_and_what_is_left(caller):
    """The headers of a v1 answer agree with the account and with the usage at 3 and 15 dollars."""
    answer = caller.post("hello there")
    usage = content(answer)["usage"]
    dollars = (usage["input_tokens"] * 3 + usage["output_tokens"] * 15) / 1e6
    assert float(answer.headers["x-cost"]) == pytest.approx(dollars, abs=1e-6)
    assert float(answer.headers["x-remaining-credits"]) == pytest.approx(10 - dollars, abs=1e-6)
    assert caller.gateway.credits == pytest.approx(10 - dollars)
    assert answer.headers["x-request-id"]
    assert "x-generation-time" in answer.headers


def test_every_answer_is_marked_as_simulated(caller):
    """Success, refusal and error page all carry the header that names them simulated."""
    answers = [caller.post("a"), caller.post(""), caller.get(V1), caller.get("/nowhere")]
    assert [answer.status for answer in answers] == [200, 400, 405, 404]
    assert all(answer.headers["x-simulated"] == "1" for answer in answers)


def test_v1_latency_is_left_to_the_carrier(calling):
    """The core never waits: the model's time is told as a delay."""
    caller = calling(Gateway(Behaviour(latency_s=12.5)))
    answer = caller.post("a")
    assert answer.delay_s == 12.5
    assert answer.headers["x-generation-time"] == "12.50"


def test_a_job_goes_through_its_states_by_the_clock(calling, clock):
    """A job is QUEUED, then PROCESSING, then COMPLETED, exactly when the settings say."""
    caller = calling(Gateway(Behaviour(queue_s=2, work_s=5), clock=clock))
    request_id = caller.queue("hello")
    seen = []
    for seconds in (0, 1.9, 0.1, 4.9, 0.1):
        clock.advance(seconds)
        seen.append(content(caller.get(f"/v2/requests/{request_id}/status"))["status"])
    assert seen == ["QUEUED", "QUEUED", "PROCESSING", "PROCESSING", "COMPLETED"]


def test_submitting_names_the_urls_on_the_origin_that_was_asked(caller):
    """The submit answer has the documented keys; its URLs use the request's Host and scheme."""
    headers = {"x-api-key": "k", "content-type": "application/json", "Host": "example.test:81"}
    body = b'{"messages": [{"role": "user", "content": "a"}]}'
    answer = caller.gateway.handle(SimRequest("POST", V2, headers, body, "https"))
    request_id = content(answer)["request_id"]
    base = f"https://example.test:81/v2/requests/{request_id}"
    assert content(answer) == {
        "request_id": request_id,
        "status": "QUEUED",
        "poll_url": base,
        "status_url": f"{base}/status",
        "response_url": base,
    }


def test_a_result_holds_the_v1_answer_as_a_json_string(caller):
    """The output of a COMPLETED job is the v1 answer once more encoded, with its metrics."""
    result = content(caller.get(f"/v2/requests/{caller.queue('three small words')}"))
    assert result["status"] == "COMPLETED"
    assert result["error"] is None
    assert set(result["metrics"]) == {
        "inference_time",
        "queue_time",
        "cost",
        "remaining_credits",
    }
    assert isinstance(result["output"], str)
    inner = json.loads(result["output"])
    assert inner["content"][0]["text"] == "(simulated) text of 3 words"
    assert inner["simulated"] is True


def test_a_result_asked_for_too_early_has_no_output(calling, clock):
    """Before its end, a job's result is its status."""
    caller = calling(Gateway(Behaviour(work_s=5), clock=clock))
    request_id = caller.queue("a")
    early = content(caller.get(f"/v2/requests/{request_id}"))
    assert early == {"status": "PROCESSING", "request_id": request_id, "metrics": {}}


@pytest.mark.parametrize("suffix", ["", "/status"])
def test_a_failed_job_is_served_as_422_with_its_reason(caller, suffix):
    """Status and result of a FAILED job are 422, carry the reason, and nothing is charged."""
    answer = caller.get(f"/v2/requests/{caller.queue('fail: content was blocked')}{suffix}")
    assert answer.status == 422
    assert content(answer)["status"] == "FAILED"
    assert content(answer)["error"] == "content was blocked"
    assert caller.gateway.billed == 0


def test_a_failing_prompt_is_a_400_on_v1(caller):
    """On v1, where there is no job, the same prompt is refused and not charged."""
    answer = caller.post("fail: content was blocked")
    assert (answer.status, content(answer)) == (400, {"error": "content was blocked"})
    assert caller.gateway.billed == 0


def test_a_result_lives_one_hour_after_its_end(calling, clock):
    """A job can be read until an hour after its end, and is 404 from then on."""
    caller = calling(Gateway(Behaviour(work_s=100), clock=clock))
    path = f"/v2/requests/{caller.queue('a')}"
    clock.advance(100 + 3599)
    assert caller.get(path).status == 200
    clock.advance(1)
    assert caller.get(path).status == 404
    assert caller.get(f"{path}/status").status == 404


def test_an_expired_job_is_forgotten(calling, clock):
    """Expired jobs do not pile up: an old id stays unknown though the clock were turned back."""
    caller = calling(Gateway(clock=clock))
    old = caller.queue("a")
    clock.advance(4000)
    caller.queue("b")
    clock.advance(-4000)
    assert caller.get(f"/v2/requests/{old}").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/v3/claude-4-sonnet",
        "/v2/requests/none",
        "/v2/requests/none/status",
        "/v2/requests/none/cancel",
        "/v1/claude-4-sonnet/stream",
    ],
)
def test_what_does_not_exist_is_404(caller, path):
    """Unknown endpoints and ids are 404 with the error envelope."""
    answer = caller.get(path)
    assert answer.status == 404
    assert content(answer)["error"]


@pytest.mark.parametrize("slug", ["gpt-5.5", "Claude-4", "claude_4", "-claude", "claude%20x"])
def test_an_unknown_model_is_404(caller, slug):
    """A slug that is malformed, or no Claude model, is 404."""
    answer = caller.post("a", path=f"/v1/{slug}")
    assert (answer.status, content(answer)) == (404, {"error": "Model not found"})


@pytest.mark.parametrize("status", [403, 404, 410])
def test_models_can_be_set_to_be_refused(calling, status):
    """A slug that the settings refuse gets that status; another does not."""
    caller = calling(Gateway(Behaviour(refused_slugs={"claude-3-opus": status})))
    assert caller.post("a", path="/v1/claude-3-opus").status == status
    assert caller.post("a", path="/v2/claude-3-opus").status == status
    assert caller.post("a").status == 200


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", V1, "POST"),
        ("DELETE", V2, "POST"),
        ("POST", "/v1/get-user-credits", "GET"),
        ("DELETE", "/v2/requests/x", "GET"),
    ],
)
def test_a_wrong_method_is_an_html_405(caller, method, path, allowed):
    """The wrong method gets a page, not JSON, and is told the right one."""
    answer = caller.gateway.handle(SimRequest(method, path, {"x-api-key": "k"}))
    assert answer.status == 405
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["allow"] == allowed


def test_head_and_options_need_no_body(caller):
    """HEAD is GET without its body, OPTIONS names the method."""
    handle = caller.gateway.handle
    head = handle(SimRequest("HEAD", "/v1/get-user-credits", {"x-api-key": "k"}))
    assert (head.status, head.body) == (200, b"")
    assert handle(SimRequest("OPTIONS", V1)).headers["allow"] == "POST, OPTIONS"


def test_credits_are_shown_as_documented(caller):
    """The credits endpoint has its two documented keys and follows what was spent."""
    before = content(caller.get("/v1/get-user-credits"))
    assert before == {"credits": 10.0, "free-credits": 0.0}
    caller.post("a")
    assert content(caller.get("/v1/get-user-credits"))["credits"] < 10.0


@pytest.mark.parametrize("path", [V1, V2])
def test_spent_credits_are_406(calling, path):
    """Once the account is empty, both versions refuse with 406 and charge nothing more."""
    caller = calling(Gateway(Behaviour(credits=1e-9)))
    assert caller.post("a", path=path).status == 200
    answer = caller.post("a", path=path)
    assert (answer.status, content(answer)) == (406, {"error": "Insufficient credits"})
    assert caller.gateway.billed == 1
    assert caller.gateway.credits == 0


BOTH = frozenset({"x-api-key", "bearer"})


@pytest.mark.parametrize(
    ("headers", "accepted", "status"),
    [
        ({"x-api-key": "good"}, BOTH, 200),
        ({"X-API-Key": "good"}, BOTH, 200),
        ({"Authorization": "Bearer good"}, BOTH, 200),
        ({"authorization": "bearer good"}, BOTH, 200),
        ({"x-api-key": "good"}, {"bearer"}, 401),
        ({"authorization": "Bearer good"}, {"x-api-key"}, 401),
        ({"x-api-key": "bad", "authorization": "Bearer good"}, BOTH, 200),
        ({"x-api-key": "bad"}, BOTH, 401),
        ({"x-api-key": ""}, BOTH, 401),
        ({"authorization": "Bearer "}, BOTH, 401),
        ({"authorization": "Basic good"}, BOTH, 401),
        ({}, BOTH, 401),
    ],
)
def test_the_key_is_checked_in_the_accepted_forms(headers, accepted, status):
    """A request passes if an accepted header form carries an accepted key."""
    gateway = Gateway(Behaviour(auth=frozenset(accepted), keys=frozenset({"good"})))
    answer = gateway.handle(SimRequest("GET", "/v1/get-user-credits", headers))
    assert answer.status == status


def test_jobs_and_results_need_the_key_too(caller):
    """Polling and reading without a key is 401, whether the id exists or not."""
    request_id = caller.queue("a")
    for path in (f"/v2/requests/{request_id}", f"/v2/requests/{request_id}/status"):
        assert caller.get(path, key="").status == 401


def test_too_many_calls_are_429_until_the_window_has_passed(calling, clock):
    """The limit counts model calls in a sliding window, and leaves polls alone."""
    caller = calling(Gateway(Behaviour(rate_limit=2, rate_window_s=60), clock=clock))
    assert caller.post("a").status == 200
    clock.advance(30)
    request_id = caller.queue("b")
    refused = caller.post("c")
    assert refused.status == 429
    assert "retry-after" not in refused.headers
    assert caller.get(f"/v2/requests/{request_id}").status == 200
    clock.advance(30)
    assert caller.post("c").status == 200
    assert caller.post("d").status == 429


def test_the_limit_can_count_reads_too(calling, clock):
    """With that setting a poll takes a place in the window, and is refused where there is none."""
    limited = Behaviour(rate_limit=2, rate_window_s=1, rate_limits_reads=True)
    caller = calling(Gateway(limited, clock=clock))
    request_id = caller.queue("a")
    assert caller.get(f"/v2/requests/{request_id}/status").status == 200
    assert caller.get(f"/v2/requests/{request_id}").status == 429
    assert caller.post("b").status == 429
    clock.advance(1)
    assert caller.get(f"/v2/requests/{request_id}").status == 200


def test_a_429_can_say_when_to_come_back(calling, clock):
    """With that setting, Retry-After is enough seconds, rounded up."""
    settings = Behaviour(rate_limit=1, rate_window_s=10, sends_retry_after=True)
    caller = calling(Gateway(settings, clock=clock))
    caller.post("a")
    clock.advance(2.5)
    refused = caller.post("b")
    assert refused.headers["retry-after"] == "8"
    clock.advance(8)
    assert caller.post("b").status == 200


def test_a_429_can_name_the_moment_at_which_to_come_back(calling, clock):
    """With that setting, the reset header is a UTC time that lies as far ahead as the window."""
    settings = Behaviour(rate_limit=1, rate_window_s=10, sends_reset=True)
    caller = calling(Gateway(settings, clock=clock))
    caller.post("a")
    reset = datetime.fromisoformat(caller.post("b").headers["x-rate-limit-reset-at-utc"])
    assert 5 < (reset - datetime.now(UTC)).total_seconds() <= 10


def test_the_history_tells_what_was_charged(caller):
    """Newest first, with the fields that the vendor's SDK names; by model, state, page and id."""
    caller.post("one")
    caller.queue("fail: blocked")
    caller.post("two", path="/v1/claude-opus-4.7")
    history = "/inference-request/request-history"
    body = content(caller.get(history))
    assert body["total"] == 3
    newest, failed, oldest = body["data"]
    assert (newest["model_name"], newest["model_status"]) == ("claude-opus-4.7", "COMPLETED")
    assert (failed["model_status"], failed["error"]) == ("FAILED", "blocked")
    assert failed["credits_deduction"] == 0 < oldest["credits_deduction"]
    assert oldest["request_body"]["messages"][0]["content"] == "one"
    assert content(caller.get(f"{history}/{oldest['request_id']}")) == oldest
    assert caller.get(f"{history}/unknown").status == 404
    for query, count in (
        ("?model_name=opus", 1), ("?status=FAILED", 1), ("?per_page=2&page=2", 1),
        ("?from_date=2000-01-01&to_date=2000-01-02", 0),
    ):  # fmt: skip
        assert len(content(caller.get(history + query))["data"]) == count, query
    assert caller.get(history, key="").status == 401


def test_the_history_keeps_sizes_and_no_images(caller, image_block):
    """A thousand entries at most, each of a few thousand characters, whatever was sent."""
    noise = image_block(Image.effect_noise((300, 300), 90))
    data = noise["source"]["data"]
    caller.post([noise, {"type": "text", "text": "x" * 9_000}], extra=[[[]]])
    (entry,) = content(caller.get("/inference-request/request-history"))["data"]
    image, text = entry["request_body"]["messages"][0]["content"]
    assert image["source"] == {**noise["source"], "data": f"({len(data)} characters)"}
    assert text["text"] == "x" * 500 + "… (9000 characters)"
    assert caller.gateway._history.maxlen == 1_000


def test_the_catalogue_needs_no_key(caller):
    """It lists slugs, and whether they are to go."""
    models = content(caller.get("/inference-model-information/list", key=""))
    assert {"slug": "claude-4-sonnet", "is_depreciated": False} in models


def test_a_model_can_decline(caller):
    """Claude's own way: no content, and a stop reason that says so; it is billed."""
    body = content(caller.post("refuse: this"))
    assert (body["content"], body["stop_reason"]) == ([], "refusal")
    assert caller.gateway.billed == 1


def test_the_pace_of_the_embedded_gateway_is_a_variable(monkeypatch):
    """A factor, or no wait at all; what is no factor leaves the pace."""
    seen = []
    for speed in ("", "4", "instant", "0", "quick"):
        monkeypatch.setenv("SEGMIND_SIMULATOR_SPEED", speed)
        seen.append(demo_behaviour().latency_s)
    assert seen == [2.0, 0.5, 0.0, 2.0, 2.0]


def test_a_limit_of_none_at_all_refuses_every_call(calling):
    """A rate limit of zero is a limit, not the lack of one."""
    assert calling(Gateway(Behaviour(rate_limit=0))).post("a").status == 429


def test_the_log_holds_what_tests_count_and_no_key(caller, clock):
    """Each request is noted with its status, its header form and the time, without its key."""
    caller.post("a", headers={"x-api-key": "", "authorization": "Bearer sesame"})
    clock.advance(3)
    caller.get("/v1/get-user-credits", key="sesame")
    caller.get("/nowhere?q=1", key="")
    seen = [(e.method, e.path, e.status, e.auth, e.at_s) for e in caller.gateway.log]
    assert seen == [
        ("POST", V1, 200, "bearer", 1000.0),
        ("GET", "/v1/get-user-credits", 200, "x-api-key", 1003.0),
        ("GET", "/nowhere?q=1", 404, "none", 1003.0),
    ]
    assert "sesame" not in repr(caller.gateway.log)


def test_requests_and_settings_do_not_show_keys():
    """The repr of a request or of the settings holds no key."""
    request = SimRequest("GET", "/", {"x-api-key": "sesame"}, b"sesame")
    assert "sesame" not in repr(request)
    assert "sesame" not in repr(Behaviour(keys=frozenset({"sesame"})))


def test_behaviour_can_change_while_the_gateway_runs(calling, clock):
    """New settings hold for the next request; queued jobs and credits stay."""
    caller = calling(Gateway(clock=clock))
    request_id = caller.queue("a")
    spent = caller.gateway.credits
    caller.gateway.behaviour = Behaviour(latency_s=7, credits=99)
    assert caller.get(f"/v2/requests/{request_id}").status == 200
    assert caller.post("a").delay_s == 7
    assert caller.gateway.credits < spent
