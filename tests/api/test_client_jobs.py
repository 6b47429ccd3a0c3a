"""The three requests of a job: what the client sends, what it makes of the answers."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import segmind_jupyter
from segmind_jupyter.api.client import SegmindClient, Ticket
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.responses import (
    Completed,
    Failed,
    Processing,
    Queued,
    State,
    expired,
    failed,
)
from segmind_jupyter.api.retry import RateLimiter
from segmind_jupyter.errors import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ContentError,
    InsufficientCreditsError,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobTimeout,
    MaybeBilledError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ReplyError,
    SegmindError,
    ServerError,
    SettingsError,
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

    def run(*answers, model=SLUG, **kwargs):
        made = bench(*answers)
        try:
            return made, made.run(made.client.submit_chat, model, HELLO, **kwargs)
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


LOOKS = pytest.mark.parametrize("method", ["status", "result", "fetch"])


class TestSubmit:
    def test_it_is_one_post_of_the_documented_body_to_v2(self, bench):
        """The same body as a chat's, the same headers, another path."""
        made = bench(queued())
        made.run(made.client.submit_chat, SLUG, HELLO, instruction="Be brief.", max_tokens=5)
        (request,) = made.server.requests
        assert request.method == "POST"
        assert str(request.url) == f"https://api.segmind.com/v2/{SLUG}"
        assert request.headers["x-api-key"] == KEY
        assert "authorization" not in request.headers
        assert request.headers["user-agent"] == f"segmind-jupyter/{segmind_jupyter.__version__}"
        assert request.headers["content-type"] == "application/json"
        assert json.loads(request.content) == {
            "instruction": "Be brief.",
            "messages": HELLO,
            "max_tokens": 5,
        }

    @pytest.mark.parametrize("status", [200, 201, 202])
    def test_it_gives_the_id_and_the_model(self, submit, status):
        """Whichever 2xx the gateway calls it."""
        _, ticket = submit(httpx.Response(status, json={"request_id": ID}))
        assert ticket == Ticket(ID, SLUG)

    @pytest.mark.parametrize(
        "body",
        [
            {"status": "QUEUED", "status_url": "https://evil.example/x"},
            {"request_id": "../../v1/x"},
            {"request_id": None},
            {},
            [ID],
            None,
        ],
        ids=repr,
    )
    def test_an_answer_without_an_id_may_have_been_billed(self, submit, body):
        """The error names what is there, keeps it whole, and nothing is sent again."""
        made, error = submit(ok(body), queued())
        assert type(error) is MaybeBilledError
        assert (made.server.posts, len(made.server.requests)) == (1, 1)
        assert error.status == 200
        assert json.loads(error.body) == body
        assert "no usable request_id" in str(error)
        assert all(name in str(error) for name in body or ())

    @pytest.mark.parametrize("refusal", [429, 503])
    def test_a_refusal_before_work_is_sat_out(self, submit, refusal):
        """Longer than a chat's, as nobody waits for a job."""
        made, ticket = submit(*[httpx.Response(refusal)] * 7, queued())
        assert ticket == Ticket(ID, SLUG)
        assert made.server.posts == 8

    @pytest.mark.parametrize(("refusal", "kind"), [(429, RateLimitError), (503, ServerError)])
    def test_a_refusal_is_sat_out_until_the_deadline_and_no_longer(self, bench, refusal, kind):
        """Then it is the named error; nothing was billed."""
        sent_s = []

        def refuse(request):
            sent_s.append(made.server.now_s)
            return httpx.Response(refusal)

        made = bench(refuse)
        with pytest.raises(kind):
            made.run(made.client.submit_chat, SLUG, HELLO, timeout_s=200)
        assert len(sent_s) > 5
        assert sent_s[-1] < 200

    @pytest.mark.parametrize("method", ["submit_chat", "chat"])
    def test_a_turn_that_comes_after_the_deadline_is_not_taken(self, bench, method):
        """The caller said how long; a POST without time for its answer would be of unknown
        outcome.
        """

        class Crowded(RateLimiter):
            async def acquire(self, method, **how):
                made.server.now_s += 150
                return 150.0

        made = bench(httpx.Response(429), limiter=Crowded())
        with pytest.raises(RateLimitError):
            made.run(getattr(made.client, method), SLUG, HELLO, timeout_s=140)
        assert made.server.posts == 0

    def test_without_a_time_of_the_callers_own_turns_are_waited_for(self, bench):
        """On a small plan the turns of a hundred jobs take long, and nothing is wrong."""

        class Crowded(RateLimiter):
            async def acquire(self, method, **how):
                made.server.now_s += 150
                return 150.0

        made = bench(*[httpx.Response(429)] * 20, queued(), limiter=Crowded())
        assert made.run(made.client.submit_chat, SLUG, HELLO) == Ticket(ID, SLUG)
        assert made.server.posts == 21

    @pytest.mark.parametrize(
        "trouble",
        [
            httpx.ReadTimeout(""),
            httpx.ReadError("reset by peer"),
            httpx.WriteError("broken pipe"),
            httpx.RemoteProtocolError("Server disconnected"),
            TimeoutError(),
            httpx.Response(500),
            httpx.Response(502),
            httpx.Response(504),
            httpx.Response(524),
            httpx.Response(408),
        ],
        ids=lambda t: getattr(t, "status_code", type(t).__name__),
    )
    def test_an_unknown_outcome_is_never_sent_again(self, submit, trouble):
        """The job may be queued, and billed."""
        made, error = submit(trouble, queued())
        assert type(error) is MaybeBilledError
        assert made.server.posts == 1
        assert "It may have been billed, so it was not sent again." in str(error)

    def test_an_unknown_outcome_after_a_refusal_is_not_sent_again_either(self, submit):
        """Every attempt is judged by itself."""
        made, error = submit(httpx.Response(429), httpx.ReadError("reset"), queued())
        assert type(error) is MaybeBilledError
        assert made.server.posts == 2

    @pytest.mark.parametrize(
        ("status", "kind", "posts"),
        [
            (400, BadRequestError, 1),
            (401, AuthenticationError, 2),
            (403, PermissionDeniedError, 1),
            (404, NotFoundError, 1),
            (405, APIError, 1),
            (406, InsufficientCreditsError, 1),
            (410, APIError, 1),
            (422, BadRequestError, 1),
            (501, ServerError, 1),
            (302, APIError, 1),
            (307, APIError, 1),
        ],
    )
    def test_a_refusal_is_the_named_error(self, submit, status, kind, posts):
        """With the server's words; a redirect is not followed."""
        answer = httpx.Response(
            status, json={"error": "the words"}, headers={"location": "https://evil.example/"}
        )
        made, error = submit(answer, model="claude-4-sonet")
        assert type(error) is kind
        assert "the words" in str(error)
        assert made.server.posts == len(made.server.requests) == posts
        assert {request.url.host for request in made.server.requests} == {"api.segmind.com"}
        assert ("Did you mean `-m claude-4-sonnet`" in str(error)) is (status == 404)

    @pytest.mark.parametrize(
        ("kwargs", "kind"),
        [
            ({"model": "../v1/x"}, SettingsError),
            ({"stream": True}, SettingsError),
            ({"timeout_s": 0}, SettingsError),
            ({"top_p": object()}, SettingsError),
            ({"instruction": f"my key is {KEY}"}, ContentError),
        ],
        ids=["slug", "streaming", "time-out", "no JSON", "the key"],
    )
    def test_what_cannot_be_sent_is_refused_before(self, submit, kwargs, kind):
        """As for a chat."""
        made, error = submit(queued(), **kwargs)
        assert type(error) is kind
        assert made.server.requests == []


class TestLook:
    def test_a_hosts_name_in_an_answer_gets_no_request(self, bench):
        """URLs are rebuilt of the id, on the configured origin, whatever an answer names."""
        names = ("poll_url", "status_url", "response_url")
        evil = dict.fromkeys(names, f"https://evil.example/v2/requests/{ID}")
        made = bench(
            queued(**evil),
            ok({"status": "COMPLETED", **evil}),
            completed(**evil),
        )

        async def whole_job():
            ticket = await made.client.submit_chat(SLUG, HELLO)
            await made.client.status(ticket.request_id)
            await made.client.result(ticket.request_id)

        made.run(whole_job)
        sent = [(request.method, str(request.url)) for request in made.server.requests]
        assert sent[1:] == [("GET", STATUS_URL), ("GET", RESULT_URL)]

    @LOOKS
    def test_it_is_one_get_with_the_key_and_no_body(self, look, method):
        """Nothing else goes over the wire."""
        made, _ = look(method, completed())
        (request,) = made.server.requests
        assert request.method == "GET"
        assert str(request.url) == (STATUS_URL if method == "status" else RESULT_URL)
        assert request.headers["x-api-key"] == KEY
        assert request.content == b""
        assert "content-type" not in request.headers

    @LOOKS
    @pytest.mark.parametrize("request_id", ["../../v1/x", "..", "a%2f..", "a\n", "", None, "é"])
    def test_what_is_no_id_sends_nothing(self, look, method, request_id):
        """It would lead elsewhere, with the key."""
        made, error = look(method, completed(), request_id=request_id)
        assert type(error) is SettingsError
        assert made.server.requests == []

    @pytest.mark.parametrize(
        ("word", "kind"),
        [("QUEUED", Queued), ("PROCESSING", Processing), ("COMPLETED", Completed)],
    )
    def test_a_poll_gives_a_state(self, look, word, kind):
        """As a type, and as the word."""
        _, state = look("status", ok({"status": word, "request_id": ID, "metrics": {}}))
        assert type(state) is kind
        assert state == word

    @pytest.mark.parametrize("status", [200, 400, 409, 422, 500])
    def test_a_failure_is_a_failure_under_any_code(self, look, status):
        """The documented code is 422, on both URLs; accept it under 200 too."""
        answer = httpx.Response(status, json=FAILED)
        _, state = look("status", answer, repeat=False)
        assert (type(state), state.detail) == (Failed, "Validation error")
        _, error = look("result", answer, timeout_s=1)
        assert type(error) is JobFailed
        assert (error.request_id, error.detail) == (ID, "Validation error")
        assert "Validation error" in str(error)

    @LOOKS
    @pytest.mark.parametrize(
        "answer", [completed(request_id="other"), ok({**FAILED, "request_id": "other"})]
    )
    def test_an_answer_about_another_job_is_refused(self, look, method, answer):
        """Neither its state nor its reply is this job's; a number for an id is one too."""
        made, error = look(method, answer)
        assert type(error) is APIError
        assert "Nothing is lost: look again later." in str(error)
        assert len(made.server.requests) == 1

    def test_a_result_is_the_reply(self, look):
        """With cost, credits and time of the gateway's metrics, and the job's id."""
        metrics = {"inference_time": 13.06, "cost": 0.02, "remaining_credits": 4.2}
        _, reply = look("result", completed(metrics=metrics))
        assert (reply.text, reply.request_id, reply.model) == ("A sunset.", ID, SLUG)
        assert (reply.cost, reply.remaining_credits, reply.elapsed_s) == (0.02, 4.2, 13.06)

    @pytest.mark.parametrize("word", ["QUEUED", "PROCESSING"])
    def test_a_result_before_the_end_is_a_time_out(self, look, word):
        """The job goes on."""
        _, error = look("result", ok({"status": word}))
        assert type(error) is JobTimeout
        assert isinstance(error, TimeoutError)
        assert (error.request_id, word in str(error)) == (ID, True)

    @LOOKS
    @pytest.mark.parametrize("body", [{"error": "Request not found"}, {}, FAILED], ids=repr)
    def test_404_is_an_unknown_or_expired_job(self, look, method, body):
        """With the server's words as a field; nothing is asked again."""
        made, error = look(method, httpx.Response(404, json=body))
        assert type(error) is JobExpired
        assert error.request_id == ID
        assert error.detail == body.get("error")
        assert len(made.server.requests) == 1

    @LOOKS
    @pytest.mark.parametrize(
        ("status", "kind"), [(400, BadRequestError), (403, PermissionDeniedError), (405, APIError)]
    )
    def test_a_refusal_is_the_named_error(self, look, method, status, kind):
        """It says nothing about the job."""
        made, error = look(method, httpx.Response(status, json={"error": "the words"}))
        assert type(error) is kind
        assert "the words" in str(error)
        assert len(made.server.requests) == 1

    @LOOKS
    def test_a_refused_key_is_no_failed_job(self, look, method):
        """It is tried once in the other form, and then said."""
        made, error = look(method, httpx.Response(401, json={"error": "Invalid API key"}))
        assert type(error) is AuthenticationError
        assert len(made.server.requests) == 2

    @LOOKS
    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_redirects_are_refused(self, look, method, status):
        """The key would go along."""
        answer = httpx.Response(status, headers={"location": "https://evil.example/"})
        made, error = look(method, answer, completed())
        assert isinstance(error, APIError)
        assert "Redirects are not followed" in str(error)
        assert len(made.server.requests) == 1

    @LOOKS
    @pytest.mark.parametrize(
        "trouble",
        [
            httpx.Response(408),
            httpx.Response(429),
            httpx.Response(500),
            httpx.Response(502, text=PAGE),
            httpx.Response(503),
            httpx.Response(504),
            httpx.ConnectError("refused"),
            httpx.ReadError("reset"),
            httpx.ReadTimeout(""),
            httpx.RemoteProtocolError("Server disconnected"),
        ],
        ids=lambda t: getattr(t, "status_code", type(t).__name__),
    )
    def test_trouble_is_met_by_asking_again(self, look, method, trouble):
        """A look is free."""
        made, found = look(method, trouble, trouble, completed())
        assert not isinstance(found, Exception)
        assert len(made.server.requests) == 3

    @pytest.mark.parametrize("method", ["status", "fetch"])
    @pytest.mark.parametrize(
        ("trouble", "kind"),
        [
            (httpx.Response(502), ServerError),
            (httpx.ConnectError("refused"), APIConnectionError),
            (httpx.ReadError("reset"), APIConnectionError),
        ],
        ids=["502", "refused", "reset"],
    )
    def test_one_that_is_not_to_be_repeated_is_sent_once(self, look, method, trouble, kind):
        """Who follows a job decides for itself when to ask again."""
        made, error = look(method, trouble, completed(), repeat=False)
        assert type(error) is kind
        assert len(made.server.requests) == 1

    @LOOKS
    def test_asking_again_ends_at_the_deadline(self, look, method):
        """It does not go on for ever."""
        made, error = look(method, httpx.Response(502), timeout_s=30)
        assert type(error) is ServerError
        assert len(made.server.requests) > 3
        assert made.server.now_s <= 30

    @pytest.mark.parametrize(
        "text", ["", PAGE, "{broken", "[]", "null", "{}", '{"message": "log in"}', "[" * 100_000]
    )
    @LOOKS
    def test_an_answer_that_makes_no_sense_is_said_to_make_none(self, look, method, text):
        """A page of another network, say: nobody may take it for the job's end or its reply."""
        made, error = look(method, httpx.Response(200, text=text), completed())
        assert type(error) is APIError
        assert (error.status, error.body) == (200, text)
        assert "Nothing is lost: look again later." in str(error)
        assert len(made.server.requests) == 1

    def test_a_result_without_a_text_is_an_error_that_names_the_keys(self, look):
        """It is the gateway's answer, so it can be fetched and kept all the same."""
        _, error = look("result", completed({"url": "x"}))
        assert type(error) is APIError
        assert "it holds" in str(error) or "the answer holds no reply text (keys: url)" in str(
            error
        )
        made, answer = look("fetch", completed({"url": "x"}))
        with pytest.raises(ReplyError, match="keys: url"):
            made.client.read(answer.text, request_id=ID)

    @pytest.mark.parametrize("method", ["status", "result"])
    def test_an_unknown_state_raises(self, look, method):
        """Waiting on would be waiting for ever."""
        made, error = look(method, ok({"status": "PAUSED", "output": "Hi"}))
        assert type(error) is JobError
        assert "PAUSED" in str(error)
        assert len(made.server.requests) == 1

    def test_a_number_of_thousands_of_digits_is_no_reason_to_lose_a_reply(self, look):
        """Python refuses to convert it; the figure is then unknown."""
        digits = "9" * 5_000
        text = f'{{"status": "COMPLETED", "metrics": {{"cost": {digits}}}, "output": "Hi"}}'
        _, reply = look("result", httpx.Response(200, text=text))
        assert (reply.text, reply.cost) == ("Hi", None)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
    def test_a_result_in_any_encoding_of_unicode_is_read(self, look, encoding):
        """A byte order mark is no reason to lose a paid reply."""
        body = json.dumps({"status": "COMPLETED", "output": "Grüße"}, ensure_ascii=False)
        _, reply = look("result", httpx.Response(200, content=body.encode(encoding)))
        assert reply.text == "Grüße"

    def test_a_kept_body_that_is_no_json_is_said_to_be_none(self, bench):
        """A damaged journal, say."""
        with pytest.raises(ReplyError, match="no JSON"):
            bench(queued()).client.read("{broken", request_id=ID)


@given(
    st.binary(max_size=120)
    | st.fixed_dictionaries(
        {"status": st.sampled_from(["QUEUED", "COMPLETED", "FAILED", "PAUSED", 7, None])},
        optional={
            "output": st.none() | st.text() | st.lists(st.integers()) | st.just(ANSWER),
            "error": st.none() | st.text() | st.integers(),
            "metrics": st.none() | st.dictionaries(st.just("inference_time"), st.floats()),
        },
    ).map(lambda body: json.dumps(body).encode()),
    st.sampled_from([200, 202, 204, 301, 400, 401, 404, 422, 429, 500, 503]),
)
def test_whatever_a_server_answers_to_a_look_it_is_a_state_a_reply_or_a_named_error(body, status):
    """No body of any status makes it raise anything else, quote the key, or send a POST."""
    import anyio

    sent = []

    def handle(request):
        sent.append(request.method)
        return httpx.Response(status, content=body)

    async def no_wait(delay_s):
        return None

    async def look(method, kind):
        transport = httpx.MockTransport(handle)
        async with SegmindClient(KEY, transport=transport, sleep=no_wait) as client:
            try:
                assert isinstance(await getattr(client, method)(ID, timeout_s=0.01), kind)
            except SegmindError as error:
                assert str(error)  # noqa: PT017  either outcome is right

    anyio.run(look, "status", State)
    anyio.run(look, "result", Reply)
    assert set(sent) == {"GET"}


class TestTheKey:
    @pytest.mark.parametrize("quoted", [KEY, ESCAPED], ids=["plain", "escaped"])
    @pytest.mark.parametrize("status", [200, 400, 422, 502])
    def test_it_is_blanked_out_of_a_failures_words(self, look, quoted, status):
        """Also where escapes hid it on the wire."""
        text = f'{{"status": "FAILED", "error": "bad key {quoted}"}}'
        answer = httpx.Response(status, text=text)
        made, state = look("status", answer, repeat=False)
        _, error = look("result", answer, timeout_s=1)
        read = made.client.read(text, request_id=ID)
        seen = [state.detail, read.detail, error.detail, str(error), repr(error)]
        assert all("bad key" in text for text in seen)
        assert not [text for text in seen if KEY in text]

    @pytest.mark.parametrize(
        "output",
        [
            json.dumps(f"it is {KEY}"),
            f'"it is {ESCAPED}"',
            json.dumps(json.dumps({"content": f"it is {KEY}"})),
            json.dumps(
                {"content": [{"type": "text", "text": part} for part in (KEY[:9], KEY[9:])]}
            ),
            json.dumps({"content": "it", "id": KEY, "model": KEY, "stop_reason": KEY}),
        ],
        ids=["plain", "escaped", "in JSON", "in two parts", "in other fields"],
    )
    def test_it_is_blanked_out_of_a_reply(self, look, output):
        """Wherever the server put it."""
        answer = httpx.Response(200, text=f'{{"status": "COMPLETED", "output": {output}}}')
        _, reply = look("result", answer)
        assert reply.text
        assert KEY not in f"{reply!r} {reply} {reply.raw}"

    @pytest.mark.parametrize("method", ["status", "result", "fetch"])
    @pytest.mark.parametrize("status", [200, 400, 401, 404, 500])
    def test_it_is_in_no_error_of_a_look(self, look, method, status):
        """Not in its message, its fields, its pickle or its traceback."""
        answer = httpx.Response(
            status, text=f'{{"detail": "{KEY}"}}', headers={"x-request-id": KEY}
        )
        _, error = look(method, answer, timeout_s=1)
        assert isinstance(error, SegmindError)
        text = "".join(traceback.format_exception(error)) + repr(vars(error))
        assert KEY not in text
        assert KEY.encode() not in pickle.dumps(error)


JOB_ERRORS = [
    expired(ID, "Request not found"),
    failed(ID, "Validation error"),
    failed(ID, None),
    JobTimeout("Still running. Wait again.", request_id=ID),
    JobCancelled("No longer watched. Resume it.", request_id=ID, detail="x"),
    JobError("Never sent. Send it."),
]


def test_errors_of_jobs_are_of_one_class_survive_a_copy_and_show_as_one_message():
    """They cross process borders in parallel work."""
    for error in JOB_ERRORS:
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
    assert "\x1b" not in message
    assert "\n" not in message
    assert len(message) < 700
