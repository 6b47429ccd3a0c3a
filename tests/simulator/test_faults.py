"""Forced outcomes: made-up answers, changed ones, late ones, lost ones."""

from __future__ import annotations

import json

import pytest

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour

V2 = "/v2/claude-4-sonnet"


def test_a_forced_status_comes_as_often_as_asked_and_does_no_work(caller):
    """Forced answers come first, in number; they charge nothing."""
    caller.gateway.script(status=500, times=2)
    answers = [caller.post("a") for _ in range(3)]
    assert [answer.status for answer in answers] == [500, 500, 200]
    assert json.loads(answers[0].body) == {"error": "Internal Server Error"}
    assert caller.gateway.billed == 1


def test_faults_wait_for_the_request_that_they_match(caller):
    """Each fault is for the requests whose method and path begin as it says."""
    caller.gateway.script("GET /v2/", status=502)
    caller.gateway.script("POST /v2/", status=503)
    assert caller.post("a").status == 200
    assert caller.post("a", path=V2).status == 503
    request_id = caller.queue("a")
    assert caller.get(f"/v2/requests/{request_id}").status == 502
    assert caller.get(f"/v2/requests/{request_id}").status == 200


def test_faults_that_match_alike_come_in_the_order_asked(caller):
    """A script plays in its order."""
    for status in (429, 500, 404):
        caller.gateway.script(status=status)
    assert [caller.post("a").status for _ in range(4)] == [429, 500, 404, 200]


def test_faults_that_nothing_matched_can_be_forgotten(caller):
    """After clearing, the gateway answers as set up."""
    caller.gateway.script(status=500, times=100)
    caller.gateway.clear_script()
    assert caller.post("a").status == 200


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ("<h1>no</h1>", b"<h1>no</h1>"),
        (b"\xff\xfe", b"\xff\xfe"),
        ("", b""),
        ([1, 2], b"[1, 2]"),
        ({"detail": "x"}, b'{"detail": "x"}'),
    ],
)
def test_a_forced_body_is_sent_as_given(caller, body, sent):
    """Text and bytes go as they are, other values as JSON, under any status."""
    caller.gateway.script(status=299, body=body, headers={"Retry-After": "3"})
    answer = caller.post("a")
    assert (answer.status, answer.body) == (299, sent)
    assert answer.headers["retry-after"] == "3"
    assert answer.headers["x-simulated"] == "1"


def test_a_forced_answer_can_hide_work_that_was_done(caller):
    """A gateway time-out after the work: the client sees 504, the account was charged."""
    caller.gateway.script(status=504, after_work=True)
    assert caller.post("a").status == 504
    assert caller.gateway.billed == 1


def test_a_real_answer_can_be_changed_on_its_way(caller):
    """A change gets the parsed JSON of the real answer and gives what is sent."""
    caller.gateway.script("GET /v2/", change=lambda body: {**body, "status": "PAUSED"})
    request_id = caller.queue("a")
    path = f"/v2/requests/{request_id}/status"
    assert json.loads(caller.get(path).body)["status"] == "PAUSED"
    assert json.loads(caller.get(path).body)["status"] == "COMPLETED"


def test_a_delay_is_added_to_the_gateways_own(calling):
    """A late answer is late on top of the model's time."""
    caller = calling(Gateway(Behaviour(latency_s=2)))
    caller.gateway.script(delay_s=3)
    assert caller.post("a").delay_s == 5
    assert caller.post("a").delay_s == 2


def test_a_connection_dropped_before_the_work_costs_nothing(caller):
    """The answer is marked as lost, nothing was done, and the log has no status."""
    caller.gateway.script(drop="before_work")
    assert caller.post("a").drop == "before_work"
    assert caller.gateway.billed == 0
    assert caller.gateway.log[-1].status is None


def test_a_connection_dropped_after_the_work_is_billed(caller):
    """The job is queued and charged though the client never learns its id."""
    caller.gateway.script(drop="after_work")
    answer = caller.post("a", path=V2)
    assert answer.drop == "after_work"
    assert caller.gateway.billed == 1
    request_id = json.loads(answer.body)["request_id"]
    assert caller.get(f"/v2/requests/{request_id}").status == 200


def test_the_urls_of_a_job_can_lie(calling):
    """With a poll host set, every URL of the submit answer names that host."""
    caller = calling(Gateway(Behaviour(poll_host="elsewhere.example")))
    body = json.loads(caller.post("a", path=V2, headers={"host": "here"}).body)
    urls = [value for key, value in body.items() if key.endswith("_url")]
    assert len(urls) == 3
    assert all(url.startswith("http://elsewhere.example/v2/requests/") for url in urls)
