"""The three requests of a job: what the client sends, what it makes of the answers."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import httpx
import pytest

from segmind_jupyter.api.client import Ticket
from segmind_jupyter.api.responses import Completed, Processing, Queued, expired, failed
from segmind_jupyter.api.retry import RateLimiter
from segmind_jupyter.errors import (
    APIConnectionError,
    APIError,
    JobCancelled,
    JobError,
    JobExpired,
    JobTimeout,
    MaybeBilledError,
    RateLimitError,
    ReplyError,
    SegmindError,
    ServerError,
)

KEY = "sk-live-0123456789abcdef"
HELLO = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]
SLUG = "claude-4-sonnet"
ID = "2c7f0e5a-0d6b-4a3f-9c55-1f0a7f3f2b11"
STATUS_URL = f"https://api.segmind.com/v2/requests/{ID}/status"
RESULT_URL = f"https://api.segmind.com/v2/requests/{ID}"

ANSWER = {
    "content": [{"type": "text", "text": "A sunset."}],
    "model": SLUG,
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 56, "output_tokens": 31},
}
FAILED = {"status": "FAILED", "error": "Validation error", "metrics": {}, "request_id": ID}
PAGE = "<html><head><title>Log in to the hotel's network</title></head></html>"
METHODS = ("status", "result", "fetch")

ESCAPED = "".join(f"\\u{ord(c):04x}" for c in KEY)


def ok(body):
    return httpx.Response(200, text=json.dumps(body))


def queued(**fields):
    return ok({"request_id": ID, "status": "QUEUED", **fields})


def completed(output=None, **fields):
    output = json.dumps(ANSWER) if output is None else output
    return ok({"status": "COMPLETED", "error": None, "metrics": {}, "output": output, **fields})


@pytest.fixture
def submit(bench):
    """Submit to a server that answers so; gives the bench, and what came of it."""

    def run(*answers, **kwargs):
        made = bench(*answers, limiter=kwargs.pop("limiter", None))
        try:
            return made, made.run(made.client.submit_chat, SLUG, HELLO, **kwargs)
        except SegmindError as error:
            return made, error

    return run


@pytest.fixture
def look(bench):
    """Ask for `status`, `result` or `fetch` of a server that answers so."""

    def run(method, *answers, request_id=ID, **kwargs):
        made = bench(*answers)
        try:
            return made, made.run(getattr(made.client, method), request_id, **kwargs)
        except SegmindError as error:
            return made, error

    return run


class TestSubmit:
    def test_it_is_one_post_of_the_documented_body_to_v2(self, submit):
        """The same body as a chat's, another path; whichever 2xx the gateway calls it."""
        for status in (200, 201, 202):
            answer = httpx.Response(status, json={"request_id": ID})
            made, ticket = submit(answer, instruction="Be brief.", max_tokens=5)
            assert ticket == Ticket(ID, SLUG)
            (request,) = made.server.requests
            assert (request.method, request.url.path) == ("POST", f"/v2/{SLUG}")
            body = {"instruction": "Be brief.", "messages": HELLO, "max_tokens": 5}
            assert json.loads(request.content) == body

    def test_an_answer_without_an_id_may_have_been_billed(self, submit):
        """The error names what is there, keeps it whole, and nothing is sent again."""
        evil = {"status": "QUEUED", "status_url": "https://evil.example/x"}
        for body in (evil, {"request_id": "../../v1/x"}, {"request_id": None}, {}, [ID], None):
            made, error = submit(ok(body), queued())
            assert type(error) is MaybeBilledError
            assert (made.server.posts, len(made.server.requests)) == (1, 1)
            assert error.status == 200
            assert json.loads(error.body) == body
            assert "no usable request_id" in str(error)
            assert all(name in str(error) for name in body or ())

    def test_a_refusal_before_work_is_sat_out_until_the_deadline(self, submit):
        """Longer than a chat's, as nobody waits for a job; nothing was billed."""
        for refusal, kind in ((429, RateLimitError), (503, ServerError)):
            made, ticket = submit(*[httpx.Response(refusal)] * 7, queued())
            assert ticket == Ticket(ID, SLUG)
            assert made.server.posts == 8
            made, error = submit(httpx.Response(refusal), timeout_s=200)
            assert type(error) is kind
            assert made.server.posts > 5
            assert made.server.now_s < 200

    def test_a_turn_that_comes_after_the_callers_deadline_is_not_taken(self, bench):
        """A POST without time for its answer would be of unknown outcome.

        Without a time of the caller's own, turns are waited for: a small plan takes long.
        """

        class Crowded(RateLimiter):
            async def acquire(self, method, **how):
                made.server.now_s += 150
                return 150.0

        for method in ("submit_chat", "chat"):
            made = bench(httpx.Response(429), limiter=Crowded())
            with pytest.raises(RateLimitError):
                made.run(getattr(made.client, method), SLUG, HELLO, timeout_s=140)
            assert made.server.posts == 0
        made = bench(*[httpx.Response(429)] * 20, queued(), limiter=Crowded())
        assert made.run(made.client.submit_chat, SLUG, HELLO) == Ticket(ID, SLUG)
        assert made.server.posts == 21


class TestLook:
    def test_a_hosts_name_in_an_answer_gets_no_request(self, bench):
        """URLs are rebuilt of the id, on the configured origin; a look has the key and no body."""
        names = ("poll_url", "status_url", "response_url")
        evil = dict.fromkeys(names, f"https://evil.example/v2/requests/{ID}")
        made = bench(queued(**evil), ok({"status": "COMPLETED", **evil}), completed(**evil))

        async def whole_job():
            ticket = await made.client.submit_chat(SLUG, HELLO)
            await made.client.status(ticket.request_id)
            await made.client.result(ticket.request_id)

        made.run(whole_job)
        looks = made.server.requests[1:]
        assert [str(look.url) for look in looks] == [STATUS_URL, RESULT_URL]
        for request in looks:
            assert (request.method, request.content) == ("GET", b"")
            assert request.headers["x-api-key"] == KEY
            assert "content-type" not in request.headers

    def test_a_poll_gives_a_state(self, look):
        """As a type, and as the word; one that is not known raises, or one might wait for ever."""
        for kind in (Queued, Processing, Completed):
            _, state = look("status", ok({"status": str(kind()), "request_id": ID}))
            assert type(state) is kind
            assert state == kind()
        for method in ("status", "result"):
            made, error = look(method, ok({"status": "PAUSED", "output": "Hi"}))
            assert type(error) is JobError
            assert "PAUSED" in str(error)
            assert len(made.server.requests) == 1

    def test_an_answer_about_another_job_is_refused(self, look):
        """Neither its state nor its reply is this job's."""
        for answer in (completed(request_id="other"), ok({**FAILED, "request_id": "other"})):
            for method in METHODS:
                made, error = look(method, answer)
                assert type(error) is APIError
                assert "Nothing is lost: look again later." in str(error)
                assert len(made.server.requests) == 1

    def test_a_result_is_the_reply_and_before_the_end_a_time_out(self, look):
        """With cost, credits and time of the gateway's metrics, and the job's id."""
        metrics = {"inference_time": 13.06, "cost": 0.02, "remaining_credits": 4.2}
        _, reply = look("result", completed(metrics=metrics))
        assert (reply.text, reply.request_id, reply.model) == ("A sunset.", ID, SLUG)
        assert (reply.cost, reply.remaining_credits, reply.elapsed_s) == (0.02, 4.2, 13.06)
        for word in ("QUEUED", "PROCESSING"):
            _, error = look("result", ok({"status": word}))
            assert type(error) is JobTimeout
            assert (error.request_id, word in str(error)) == (ID, True)

    def test_404_is_an_unknown_or_expired_job(self, look):
        """With the server's words as a field; nothing is asked again."""
        for body in ({"error": "Request not found"}, {}, FAILED):
            for method in METHODS:
                made, error = look(method, httpx.Response(404, json=body))
                assert type(error) is JobExpired
                assert (error.request_id, error.detail) == (ID, body.get("error"))
                assert len(made.server.requests) == 1

    def test_trouble_is_met_by_asking_again_until_the_deadline_or_not_at_all(self, look):
        """A look is free; who follows a job decides for itself when to ask again."""
        for trouble, kind in [
            *((httpx.Response(status), ServerError) for status in (500, 502, 503, 504)),
            (httpx.ConnectError("refused"), APIConnectionError),
            (httpx.ReadError("reset"), APIConnectionError),
            (httpx.ReadTimeout(""), APIConnectionError),
        ]:
            for method in METHODS:
                made, found = look(method, trouble, trouble, completed())
                assert not isinstance(found, Exception)
                assert len(made.server.requests) == 3
            made, error = look("fetch", trouble, completed(), repeat=False)
            assert type(error) is kind
            assert len(made.server.requests) == 1
        made, error = look("status", httpx.Response(502), timeout_s=30)
        assert type(error) is ServerError
        assert len(made.server.requests) > 3
        assert made.server.now_s <= 30

    def test_an_answer_that_makes_no_sense_is_said_to_make_none(self, look):
        """A page of another network, say: nobody may take it for the job's end or its reply."""
        for text in ("", PAGE, "{broken", "[]", "null", "{}", '{"message": "x"}', "[" * 100_000):
            for method in METHODS:
                made, error = look(method, httpx.Response(200, text=text), completed())
                assert type(error) is APIError
                assert (error.status, error.body) == (200, text)
                assert "Nothing is lost: look again later." in str(error)
                assert len(made.server.requests) == 1

    def test_a_result_without_a_text_is_an_error_that_names_the_keys(self, look):
        """What the journal kept is read in the same way."""
        _, error = look("result", completed({"url": "x"}))
        assert type(error) is APIError
        assert "the answer holds no reply text (keys: url)" in str(error)
        made, _ = look("status", queued())
        with pytest.raises(ReplyError, match="no JSON"):
            made.client.read("{broken", request_id=ID)


class TestTheKey:
    def test_it_is_blanked_out_of_a_reply(self, look):
        """Wherever the server put it."""
        parts = [{"type": "text", "text": part} for part in (KEY[:9], KEY[9:])]
        for output in [
            json.dumps(f"it is {KEY}"),
            f'"it is {ESCAPED}"',
            json.dumps(json.dumps({"content": f"it is {KEY}"})),
            json.dumps({"content": parts}),
            json.dumps({"content": "it", "id": KEY, "model": KEY, "stop_reason": KEY}),
        ]:
            answer = httpx.Response(200, text=f'{{"status": "COMPLETED", "output": {output}}}')
            _, reply = look("result", answer)
            assert reply.text
            assert KEY not in f"{reply!r} {reply} {reply.raw}"

    def test_it_is_in_no_error_of_a_look(self, look):
        """Not in its message, its fields, its pickle or its traceback."""
        for status in (200, 400, 401, 404, 500):
            headers = {"x-request-id": KEY}
            answer = httpx.Response(status, text=f'{{"detail": "{KEY}"}}', headers=headers)
            for method in METHODS:
                _, error = look(method, answer, timeout_s=1)
                assert isinstance(error, SegmindError)
                text = "".join(traceback.format_exception(error)) + repr(vars(error))
                assert KEY not in text
                assert KEY.encode() not in pickle.dumps(error)


def test_errors_of_jobs_are_of_one_class_survive_a_copy_and_show_as_one_message():
    """They cross process borders in parallel work."""
    for error in [
        expired(ID, "Request not found"),
        failed(ID, "Validation error"),
        failed(ID, None),
        JobTimeout("Still running. Wait again.", request_id=ID),
        JobCancelled("No longer watched. Resume it.", request_id=ID, detail="x"),
        JobError("Never sent. Send it."),
    ]:
        assert isinstance(error, JobError)
        assert isinstance(error, TimeoutError) is (type(error) is JobTimeout)
        for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
            fields = (type(twin), str(twin), twin.request_id, twin.detail)
            assert fields == (type(error), str(error), error.request_id, error.detail)
        (line,) = error._render_traceback_()
        assert line.startswith("\x1b[31m" + type(error).__name__)
        assert " ".join(line.split()).endswith(str(error))


def test_what_the_server_says_of_a_job_is_shown_as_data():
    """No control sequence, no second line, no more than fits."""
    detail = "\x1b[2J\x1b]8;;http://evil.example\x07" + "bad\n" * 5_000
    message = str(failed(ID, detail))
    assert not {"\x1b", "\n"} & set(message)
    assert len(message) < 700
