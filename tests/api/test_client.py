"""What the client sends, what it makes of the answer, and what it never does."""

from __future__ import annotations

import gzip
import itertools
import json
import logging
import math
import pickle
import socket
import ssl
import traceback
import tracemalloc

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import segmind_jupyter
from segmind_jupyter.api.client import SegmindClient
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.settings import Secret
from segmind_jupyter.errors import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ContentError,
    InsufficientCreditsError,
    JobFailed,
    MaybeBilledError,
    MissingKeyError,
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
PAGE = "<html><head><title>405 Not Allowed</title></head><body><h1>nginx</h1></body></html>"


def chat_at(base_url: str | None, **how: object) -> Reply:
    """Chat by a client without a bench."""

    async def chat() -> Reply:
        async with SegmindClient(KEY, base_url=base_url, **how) as client:
            return await client.chat(SLUG, HELLO)

    return anyio.run(chat)


async def no_wait(delay_s: float) -> None:
    """Stand in for sleeping."""


def test_a_chat_is_one_post_of_the_documented_body(bench):
    """The body is the vendor's page: instruction, messages, parameters."""
    made = bench("reply")
    made.chat("claude-3.5-sonnet", instruction="Be brief.", max_tokens=5, top_p=0.5)
    (request,) = made.server.requests
    assert str(request.url) == "https://api.segmind.com/v1/claude-3.5-sonnet"
    assert request.method == "POST"
    assert request.headers["x-api-key"] == KEY
    assert "authorization" not in request.headers
    assert request.headers["user-agent"] == f"segmind-jupyter/{segmind_jupyter.__version__}"
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {
        "instruction": "Be brief.",
        "messages": HELLO,
        "max_tokens": 5,
        "top_p": 0.5,
    }


def test_a_reply_holds_text_usage_time_and_the_headers_figures(bench):
    """Cost and credits come from the headers, the rest from the body; waits are a part of it."""
    body = {"content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 3}}
    headers = {"x-cost": "0.0021", "x-remaining-credits": "4.2", "x-request-id": "r-1"}
    made = bench(httpx.Response(429), httpx.Response(202, json=body, headers=headers))
    reply = made.chat("claude-99-not-yet-known")
    assert (reply.text, reply.usage.input_tokens, reply.usage.output_tokens) == ("Hi", 3, None)
    assert (reply.cost, reply.remaining_credits, reply.request_id) == (0.0021, 4.2, "r-1")
    assert (reply.model, reply.raw) == ("claude-99-not-yet-known", body)
    assert reply.elapsed_s == sum(made.server.waits_s) > 0


def test_what_cannot_be_sent_is_refused_before_anything_is(bench, monkeypatch):
    """A slug that would lead elsewhere, the key itself, what is too much, no JSON or no time."""
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)

    def said(text: str) -> list[dict[str, object]]:
        return [{"role": "user", "content": [{"type": "text", "text": text}]}]

    slugs = ("", "../v1/x", "a/b", "Claude", "a b", "a?b", "a#b", "-a", "é", None)
    refused = [
        *(((slug, HELLO), {}, SettingsError, "model") for slug in slugs),
        ((SLUG, said(f"mine is {KEY}")), {}, ContentError, "API key"),
        ((SLUG, said("x" * 32_000_001)), {}, ContentError, "32 MB"),
        ((SLUG, []), {}, ContentError, "no messages"),
        ((SLUG, HELLO), {"stream": True}, SettingsError, "does not stream"),
        *(((SLUG, HELLO), {"top_p": v}, SettingsError, "top_p") for v in (math.nan, object(), {1})),
        *(((SLUG, HELLO), {"timeout_s": t}, SettingsError, "time-out") for t in (0, -1, "soon")),
    ]
    for args, params, kind, words in refused:
        for method in ("chat", "submit_chat"):
            made = bench("reply")
            with pytest.raises(kind, match=words):
                made.run(getattr(made.client, method), *args, **params)
            assert made.server.requests == []
    made = bench("reply", api_key=None)
    with pytest.raises(MissingKeyError, match="%segmind key"):
        made.chat()
    assert made.server.requests == []


ERRORS = [
    (400, BadRequestError, 1),
    (401, AuthenticationError, 2),
    (403, PermissionDeniedError, 1),
    (404, NotFoundError, 1),
    (405, APIError, 1),
    (406, InsufficientCreditsError, 1),
    (410, APIError, 1),
    (422, BadRequestError, 1),
    (429, RateLimitError, None),  # until its time is over
    (500, MaybeBilledError, 1),
    (501, ServerError, 1),
    (502, MaybeBilledError, 1),
    (503, ServerError, 5),
    (504, MaybeBilledError, 1),
    (505, ServerError, 1),
    (524, MaybeBilledError, 1),
    (408, MaybeBilledError, 1),
    (301, APIError, 1),
    (307, APIError, 1),
]
BODIES = [
    (json.dumps({"error": "the words"}), "the words"),
    (json.dumps({"error": {"message": "the words", "code": 7}}), "the words"),
    (json.dumps({"message": "the words"}), "the words"),
    (json.dumps({"detail": "the words"}), "the words"),
    (json.dumps({"detail": [{"msg": "the words"}]}), "the words"),
    (json.dumps({"html-message": "<b>the words</b>"}), "the words"),
    (json.dumps({"odd": "the words"}), "the words"),
    (json.dumps(["the words"]), "the words"),
    ('"the words"', "the words"),
    ("the words", "the words"),
    (PAGE, "405 Not Allowed"),
    ("", None),
    ("null", None),
    ("{}", None),
    ("[" * 100_000, "["),
    ("\ufffd\x1b[31mthe words\x1b[0m", "the words"),
]


def test_every_status_is_the_named_error_and_posts_as_the_table_says(bench):
    """The class follows the status, the message the rules for messages; the key is nowhere.

    Each status meets some of the bodies, and each body some statuses.
    """
    for n, (status, kind, posts) in enumerate(ERRORS):
        for body, words in (BODIES[(n + step) % len(BODIES)] for step in (0, 5)):
            made = bench(httpx.Response(status, text=body, headers={"x-request-id": "r-9"}))
            with pytest.raises(APIError) as caught:
                made.chat()
            error, told = caught.value, str(caught.value)
            assert type(error) is kind
            assert (error.status, error.request_id) == (status, "r-9")
            assert made.server.posts == (posts or made.server.posts)
            # First what happened and what to do, then the status and the server's words.
            assert told.endswith(")")
            happened, _, last = told.rpartition("(POST /v1/claude-4-sonnet was answered ")
            assert happened.rstrip().endswith(".")
            assert last.startswith(str(status))
            assert words is None or words in last
            assert "\x1b" not in told
            assert KEY not in "".join(traceback.format_exception(error))


def test_an_unknown_model_suggests_the_nearest_known_one(bench):
    """A typing error in the slug is answered with the slug that was meant."""
    with pytest.raises(NotFoundError, match="did you mean `claude-4-sonnet`"):
        bench(httpx.Response(404, json={"error": "Model not found"})).chat("claude-4-sonet")


def test_a_post_that_may_have_been_billed_is_sent_once(bench):
    """Nobody knows what became of it, so it is not sent again, and the error says so."""
    for trouble in [
        httpx.ReadTimeout(""),
        httpx.ReadError("reset by peer"),
        httpx.WriteError("broken pipe"),
        httpx.WriteTimeout(""),
        httpx.RemoteProtocolError("Server disconnected"),
        TimeoutError(),
    ]:
        for refused in (0, 1):  # each attempt is judged by itself
            made = bench(*[httpx.Response(429)] * refused, trouble, "reply")
            with pytest.raises(MaybeBilledError, match="not sent again") as caught:
                made.chat()
            assert made.server.posts == 1 + refused
            assert caught.value.status is None


def test_a_post_whose_connection_never_opened_is_sent_again(bench):
    """Nothing was sent, so nothing can have been billed; after a few tries the error says so."""
    for trouble in (httpx.ConnectError("refused"), httpx.ConnectTimeout(""), httpx.PoolTimeout("")):
        made = bench(trouble, trouble, "reply")
        assert made.chat().text == "A sunset."
        assert made.server.posts == 3
    made = bench(httpx.ConnectError("Name or service not known"))
    with pytest.raises(APIConnectionError, match="nothing was sent"):
        made.chat()
    assert made.server.posts == 5


def test_a_free_connection_is_waited_for_as_long_as_the_call_may_take(bench):
    """Others may be slow, while a server that does not open one at all is given up sooner."""
    limits_s: list[dict[str, float]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        limits_s.append(request.extensions["timeout"])
        return httpx.Response(200, json={"content": [{"type": "text", "text": "A sunset."}]})

    bench(answer).chat(timeout_s=600.0)  # longer than what holds for calls that say nothing
    assert limits_s == [{"connect": 10.0, "read": 600.0, "write": 600.0, "pool": 600.0}]


def test_a_401_is_tried_once_as_bearer_and_remembered(bench):
    """The form that worked goes first from then on."""

    def bearer_only(request: httpx.Request) -> httpx.Response:
        ok = request.headers.get("authorization") == f"Bearer {KEY}"
        return httpx.Response(200, json={"content": "Hi"}) if ok else httpx.Response(401)

    made = bench(bearer_only)

    async def twice():
        await made.client.chat("claude-4-sonnet", HELLO)
        await made.client.chat("claude-4-sonnet", HELLO)

    made.run(twice)
    forms = ["x-api-key" in request.headers for request in made.server.requests]
    assert forms == [True, False, False]
    assert all(
        ("authorization" in r.headers) != ("x-api-key" in r.headers) for r in made.server.requests
    )


def test_a_chosen_form_is_the_only_one_that_is_sent(bench):
    """`auth` other than auto: no second attempt."""
    for form, header in (("bearer", "authorization"), ("x-api-key", "x-api-key")):
        made = bench(httpx.Response(401), auth=form)
        with pytest.raises(AuthenticationError):
            made.chat()
        (request,) = made.server.requests
        assert header in request.headers


def test_redirects_are_refused(bench):
    """The library would carry `x-api-key` to whichever host is named."""
    for status in (301, 302, 303, 307, 308):
        for method, args in [("chat", (SLUG, HELLO)), ("status", ("r",)), ("result", ("r",))]:
            made = bench(httpx.Response(status, headers={"location": "https://elsewhere.example/"}))
            with pytest.raises(APIError, match="Redirects are not followed"):
                made.run(getattr(made.client, method), *args)
            assert [r.url.host for r in made.server.requests] == ["api.segmind.com"]


def test_an_answer_2xx_without_a_reply_says_that_it_may_have_been_billed(bench):
    """It is not sent again, and all of it is kept: somebody paid for it."""
    bodies = ("", "null", "[]", "{}", "7", PAGE, '{"error": "x"}', '{"content": 5}')
    for status, body in [
        *((200, b) for b in bodies),
        (204, ""),
        (200, f'{{"r": "{"x" * 50_000}"}}'),
    ]:
        made = bench(httpx.Response(status, text=body), "reply")
        with pytest.raises(MaybeBilledError) as caught:
            made.chat()
        assert made.server.posts == 1
        assert (caught.value.status, caught.value.body) == (status, body)
        assert len(str(caught.value)) < 1_500


def test_a_paid_reply_is_read_in_any_encoding_and_with_any_number(bench):
    """A byte order mark, or digits that Python refuses to convert, are no reason to lose it."""
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        body = json.dumps({"content": "Grüße", "usage": {"input_tokens": 10**50}}).encode(encoding)
        assert bench(httpx.Response(200, content=body)).chat().text == "Grüße"
        body = '{"status": "COMPLETED", "output": "Grüße"}'.encode(encoding)
        made = bench(httpx.Response(200, content=body))
        assert made.run(made.client.result, "r-1").text == "Grüße"
    body = '{"content": "Hi", "usage": {"input_tokens": ' + "9" * 5_000 + "}}"
    reply = bench(httpx.Response(200, text=body)).chat()
    assert (reply.text, reply.usage.input_tokens) == ("Hi", None)


def test_a_hostile_error_page_is_read_in_one_pass(bench):
    """No pattern looks ahead for an end that never comes."""
    for page in ("<title>" * 60_000, "<" * 400_000, "<title" * 60_000 + ">"):
        with pytest.raises(BadRequestError) as caught:
            bench(httpx.Response(400, text=page)).chat()
        assert len(str(caught.value)) < 1_000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode), st.integers(200, 599))
@example(b"", 429)
def test_whatever_a_server_answers_the_result_is_a_reply_or_a_named_error(bench, body, status):
    """No body of any status makes the client raise anything else, or send a paid POST twice."""
    made = bench(httpx.Response(status, content=body))
    try:
        made.chat()
    except SegmindError as error:
        assert KEY not in repr(error) + str(error)  # noqa: PT017  either outcome is right
    assert status == 429 or made.server.posts == {401: 2, 503: 5}.get(status, 1)


ESCAPED = "".join(f"\\u{ord(c):04x}" for c in KEY)
QUOTING = [
    json.dumps({"error": f"bad key {KEY}"}).encode(),
    f'{{"error": "bad key {ESCAPED}"}}'.encode(),
    f'{{"{ESCAPED}": 1}}'.encode(),
    json.dumps({"error": f"bad key {KEY}"}).encode("utf-16"),
    f"<title>{KEY}</title>".encode(),
    f"bad \x1b[0m{KEY[:5]}\x00{KEY[5:]}".encode(),
    *(json.dumps({"error": odd.join(KEY)}).encode() for odd in ("\u202e", "\b", "\x1b[0m")),
    json.dumps(
        {"content": [{"type": "text", "text": KEY[:9]}, {"type": "text", "text": KEY[9:]}]}
    ).encode(),
]


def locals_of_ours(error: BaseException) -> str:
    """What `%xmode Verbose` prints of an error: the local names of every frame."""
    frames = traceback.StackSummary.extract(
        traceback.walk_tb(error.__traceback__), capture_locals=True
    )
    ours = [frame for frame in frames if "segmind_jupyter/" in frame.filename]
    shown = "".join(str(frame.locals) for frame in ours if "tests" not in frame.filename)
    assert shown
    return shown


def test_a_quoted_key_is_nowhere_in_whatever_form_it_comes(bench, caplog):
    """Not in a field, a repr, a traceback, a local name, a pickle or the log of any library.

    Escaped, in another encoding, as a name, in a header, broken by control characters.
    """
    caplog.set_level(logging.DEBUG)
    for body, status in itertools.product(QUOTING, (200, 400, 401, 403, 500)):
        made = bench(httpx.Response(status, content=body, headers={"x-request-id": KEY}))
        try:
            reply = made.chat()
        except APIError as error:
            trace = "".join(traceback.format_exception(error))
            seen = [str(error), error.detail, error.request_id, trace, locals_of_ours(error)]
            seen += [repr(error), repr(pickle.dumps(error))]
        else:
            seen = [reply.text, repr(reply), reply.request_id]
        seen += [repr(made.client), str(made.client.settings), caplog.text]
        assert not [text for text in seen if text and KEY in text]


def test_network_settings_that_cannot_work_are_named_unquoted(monkeypatch):
    """The address of a proxy may hold a password."""
    for name, scheme in (("ALL_PROXY", "gopher"), ("HTTPS_PROXY", "nonsense")):
        with monkeypatch.context() as patch:
            patch.setenv(name, f"{scheme}://user:hunter2@127.0.0.1:1")
            with pytest.raises(SettingsError, match="HTTPS_PROXY") as caught:
                chat_at("https://127.0.0.1:9")
            assert "hunter2" not in str(caught.value)


def test_a_proxy_never_sees_plain_http(recorder, monkeypatch):
    """Loopback is not sent through it: the key would go there unencrypted."""
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)

    assert chat_at(recorder.url).text == "A sunset."
    assert recorder.posts[0].path == "/v1/claude-4-sonnet"


def test_certificates_are_loaded_and_checked_where_there_are_any():
    """Plain http has none; to load what checks them takes a part of the first call's time."""
    for base_url, mode in [
        ("http://127.0.0.1:9", ssl.CERT_NONE),
        ("https://api.segmind.com", ssl.CERT_REQUIRED),
    ]:
        connections = SegmindClient(KEY, base_url=base_url)._transport._open()
        context = connections._pool._ssl_context
        assert context.verify_mode == mode
        assert bool(context.get_ca_certs()) == context.check_hostname == (mode != ssl.CERT_NONE)


def test_no_frame_of_ours_holds_the_key_or_the_environment(monkeypatch):
    """`%xmode Verbose` prints the local names of every frame, those of an earlier error too."""
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("ANOTHER_SECRET", "hunter2-hunter2")
    monkeypatch.setenv("SEGMIND_BASE_URL", "ftp://nowhere")
    ways = [
        lambda: SegmindClient(),
        lambda: SegmindClient(f"{KEY} {KEY}"),
        lambda: SegmindClient(KEY, base_url="http://far.example"),
        lambda: SegmindClient(KEY.encode()),
        lambda: SegmindClient(KEY, auth="basic"),
        lambda: SegmindClient(KEY, timeout_s=-1),
        lambda: Secret(f"{KEY}\n{KEY}"),
    ]
    for way in ways:
        with pytest.raises(SettingsError) as caught:
            way()
        shown = locals_of_ours(caught.value)
        assert KEY not in shown
        assert "hunter2" not in shown


def test_a_key_in_a_header_is_not_in_the_debug_log_of_the_http_library(recorder, caplog):
    """A gateway that echoes it, over a real connection; the filter goes with the client."""
    caplog.set_level(logging.DEBUG)
    before = list(logging.getLogger("httpcore.http11").filters)
    recorder.will_answer(302, {}, location=f"https://elsewhere.example/?key={KEY}")

    with pytest.raises(APIError, match="Redirects are not followed"):
        chat_at(recorder.url)
    assert "elsewhere.example" in caplog.text  # it was logged
    assert KEY not in caplog.text
    assert logging.getLogger("httpcore.http11").filters == before


def test_a_reason_is_scrubbed_before_it_is_shortened(bench):
    """The cut would leave a half of a key, and characters that reorder would hide it."""
    for words in ("x" * 380 + KEY, "x" * 390 + KEY, "\u202e".join(KEY), "\x1b[0m".join(KEY)):
        with pytest.raises(MaybeBilledError) as caught:
            bench(httpx.RemoteProtocolError(words)).chat()
        assert KEY[:12] not in str(caught.value)
        for field in ("error", "odd"):
            with pytest.raises(BadRequestError) as caught:
                bench(httpx.Response(400, json={field: words})).chat()
            assert KEY[:12] not in str(caught.value)
        state = httpx.Response(422, json={"status": "FAILED", "error": words})
        made = bench(state)
        with pytest.raises(JobFailed) as caught:
            made.run(made.client.result, "r-1")
        assert KEY[:12] not in str(caught.value)


@pytest.mark.parametrize("status", [200, 401, 500])
def test_no_answer_takes_more_room_than_its_bound(recorder, status):
    """Unpacked as it streams, one coding at most, whatever its status; both forms of the key."""
    for coding in ("gzip", "gzip, gzip", "br", "zstd", "deflate, gzip"):
        recorder.answers.clear()
        data = gzip.compress(bytes(64_000_000) if coding == "gzip" else gzip.compress(b"{}"))
        recorder.will_answer(status, data, content_encoding=coding)
        tracemalloc.start()
        with pytest.raises(MaybeBilledError, match=r"32,000,000 bytes|packed as"):
            chat_at(recorder.url)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200_000_000
    assert len(recorder.posts) == 5
    assert {request.headers["accept-encoding"] for request in recorder.posts} == {"gzip"}


def test_a_packed_reply_is_read_and_a_damaged_one_is_said_to_be(recorder):
    """As gateways send it."""
    packed = gzip.compress(b'{"content": "Hi"}')
    recorder.will_answer(200, packed, content_encoding="gzip")
    assert chat_at(recorder.url).text == "Hi"
    recorder.answers.clear()
    recorder.will_answer(200, b"no gzip at all", content_encoding="gzip")
    with pytest.raises(MaybeBilledError, match="decompress"):
        chat_at(recorder.url)


def test_no_cookie_is_kept(bench):
    """The gateway's would tie calls together, and lead to one of its servers."""
    made = bench(httpx.Response(200, json={"content": "Hi"}, headers={"set-cookie": "a=b; Path=/"}))

    async def twice() -> None:
        await made.client.chat("claude-4-sonnet", HELLO)
        await made.client.chat("claude-4-sonnet", HELLO)

    made.run(twice)
    assert len(made.server.requests) == 2
    assert not [request for request in made.server.requests if "cookie" in request.headers]


def test_nothing_is_sent_once_the_client_is_closed():
    """Nor by a call that waits for its next attempt: its log would be watched by nobody."""
    posts = []

    def answer(request: httpx.Request) -> httpx.Response:
        posts.append(request)
        return httpx.Response(503)

    async def sleep(delay_s: float) -> None:
        await client.aclose()

    client = SegmindClient(KEY, transport=httpx.MockTransport(answer), sleep=sleep)
    with pytest.raises(APIConnectionError, match="closed meanwhile, so it was not sent"):
        anyio.run(client.chat, "claude-4-sonnet", HELLO)
    assert len(posts) == 1


def test_the_two_kinds_of_401_are_told_apart(bench):
    """A key that never came is not mended by a new key."""
    for words, advice in [
        ("API key is invalid", "%segmind key"),
        ("Missing Authorization or x-api-key in header", "a new key will not help"),
    ]:
        with pytest.raises(AuthenticationError) as caught:
            bench(httpx.Response(401, json={"error": words})).chat()
        assert advice in str(caught.value)
        assert words in str(caught.value)


def test_a_certificate_that_is_not_trusted_is_tried_once_and_names_the_setting(bench):
    """As behind a company's proxy; other trouble at opening is tried again."""
    cause = ssl.SSLCertVerificationError("certificate verify failed: self-signed certificate")
    trouble = httpx.ConnectError(f"[SSL] {cause}")
    trouble.__cause__ = OSError("connect")
    trouble.__cause__.__context__ = cause
    for raised in (trouble, cause):  # the latter by older releases of the library
        made = bench(raised)
        with pytest.raises(APIConnectionError, match="SSL_CERT_FILE") as caught:
            made.chat()
        assert "api.segmind.com" in str(caught.value)
        assert made.server.posts == 1
        assert made.server.waits_s == []


def test_a_name_that_is_not_known_says_so(bench):
    """Offline, without the VPN, or a typing error."""
    trouble = httpx.ConnectError("All connection attempts failed")
    trouble.__cause__ = socket.gaierror(-2, "Name or service not known")
    with pytest.raises(APIConnectionError, match=r"The name api\.segmind\.com is not known"):
        bench(trouble).chat()


def test_a_proxy_that_cannot_be_reached_is_named(monkeypatch):
    """With the setting that goes without it; its address may hold a password."""
    for name in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@127.0.0.1:9")

    with pytest.raises(APIConnectionError, match="NO_PROXY=localhost") as caught:
        chat_at("https://localhost:9", sleep=no_wait)
    assert "hunter2" not in str(caught.value)


#: What a server may answer that is no whole reply, and the words that must be said of it.
NOT_WHOLE = [
    ({"content": [], "stop_reason": "refusal"}, "declined"),
    ({"content": None, "stop_reason": "refusal"}, "declined"),
    ({"content": [{"type": "text", "text": "I would"}], "stop_reason": "refusal"}, "declined"),
    ({"content": [], "stop_reason": "end_turn"}, "without a word"),
    ({"content": [{"type": "text", "text": " \n"}], "stop_reason": "end_turn"}, "without a word"),
    ({"content": [{"type": "thinking", "thinking": "Hm"}]}, "without a word"),
    ({"content": [], "stop_reason": "model_context_window_exceeded"}, "window is full"),
    (
        {
            "content": [{"type": "text", "text": "So far"}],
            "stop_reason": "model_context_window_exceeded",
        },
        "window is full",
    ),
    ({"content": [], "stop_reason": "max_tokens"}, "max_tokens"),
    ({"content": [], "stop_reason": "pause_turn"}, "pause_turn"),
]


def test_an_empty_or_cut_reply_never_looks_whole(bench):
    """By both ways: its notice, its print and what reading it as JSON raises say what is wrong.

    One that only `max_tokens` cut prints as its text, for whoever works on with it.
    """
    assert bench("reply").chat().notice is None
    cut = bench(httpx.Response(200, json={"content": "So far", "stop_reason": "max_tokens"})).chat()
    assert (str(cut), cut.cut, cut.refused, "--max-tokens" in cut.notice) == ("So far", 1, 0, 1)
    paused = {"content": "So far", "stop_reason": "pause_turn"}
    assert "'pause_turn'" in bench(httpx.Response(200, json=paused)).chat().notice
    for body, words in NOT_WHOLE:
        reply = bench(httpx.Response(200, json=body)).chat()
        queued = httpx.Response(200, json={"status": "COMPLETED", "output": json.dumps(body)})
        made = bench(queued)
        for told in (reply, made.run(made.client.result, "r-1")):
            assert words in told.notice
            assert words in str(told)
            assert told.stop_reason == body.get("stop_reason")
            assert told.refused is (body.get("stop_reason") == "refusal")
            with pytest.raises(ReplyError, match=words):
                told.json()
