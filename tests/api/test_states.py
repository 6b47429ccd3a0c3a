"""The states of a job as types, and how every form of an answer about one is read."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.states import (
    Cancelled,
    Completed,
    Expired,
    Failed,
    Processing,
    Queued,
    State,
    checked_id,
    is_result,
    is_terminal,
    no_reply,
    read_result,
    read_state,
    read_submit,
)
from segmind_jupyter.errors import JobError, JobFailed, JobTimeout, ReplyError, SettingsError

ID = "2c7f0e5a-0d6b-4a3f-9c55-1f0a7f3f2b11"
BASE = "https://api.segmind.com"

STATES = [Queued(), Processing(), Completed(), Failed("no"), Expired(), Cancelled()]
WORDS = ["QUEUED", "PROCESSING", "COMPLETED", "FAILED", "EXPIRED", "CANCELLED"]

ANSWER = {
    "content": [{"type": "text", "text": "A sunset."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 56, "output_tokens": 31},
}


def completed(output: Any, **fields: Any) -> dict[str, Any]:
    """The documented body of a result."""
    return {"status": "COMPLETED", "error": None, "metrics": {}, "output": output, **fields}


class TestState:
    @pytest.mark.parametrize(("state", "word"), list(zip(STATES, WORDS, strict=True)))
    def test_it_is_the_gateways_word(self, state, word):
        """It equals it, hashes, prints and formats as it, and goes into JSON as it."""
        assert state == word
        assert hash(state) == hash(word)
        assert (str(state), repr(state), f"{state}") == (word, repr(word), word)
        assert type(str(state)) is str
        assert json.dumps(state) == f'"{word}"'
        assert {word: 1}[state] == 1

    @pytest.mark.parametrize("state", STATES, ids=str)
    def test_it_is_a_type_to_match(self, state):
        """`match` tells states apart by class, and a failure's words with it."""
        match state:
            case Queued() | Processing() | Completed() | Expired() | Cancelled():
                assert not isinstance(state, Failed)
            case Failed(detail=words):
                assert words == "no"

    @pytest.mark.parametrize("state", STATES, ids=str)
    def test_it_can_be_matched_as_a_word(self, state):
        """The vendor's habit, `if status == "COMPLETED"`, works in `match` too."""
        match state:
            case "QUEUED" | "PROCESSING":
                assert not state.ended
            case "COMPLETED" | "FAILED" | "EXPIRED" | "CANCELLED":
                assert state.ended
            case _:
                pytest.fail(f"{state!r} matches no word")

    @pytest.mark.parametrize("state", STATES, ids=str)
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_survives_a_pickle(self, state, protocol):
        """In every protocol, with its type and what it says."""
        twin = pickle.loads(pickle.dumps(state, protocol))
        assert type(twin) is type(state)
        assert twin == state
        assert getattr(twin, "detail", None) == getattr(state, "detail", None)

    @pytest.mark.parametrize("state", STATES, ids=str)
    @pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy])
    def test_it_can_be_copied(self, state, duplicate):
        """A copy is of the same type, and equal."""
        assert type(duplicate(state)) is type(state)
        assert duplicate(state) == state

    def test_failures_are_equal_whatever_they_say(self):
        """The state is the same one; the words are beside it."""
        assert Failed("a") == Failed("b") == Failed() == "FAILED"
        assert Failed().detail is None

    def test_it_cannot_be_changed_into_another(self):
        """A state has no room for attributes."""
        with pytest.raises(AttributeError):
            Queued().note = "x"


class TestCheckedId:
    @pytest.mark.parametrize("request_id", [ID, "a", "7", "A" * 200, "a.b_c~d-e", "a..", "0-"])
    def test_ids_of_any_service_pass(self, request_id):
        """UUIDs, hex, counters, and what a URL's path takes unescaped."""
        assert checked_id(request_id) == request_id

    @pytest.mark.parametrize(
        "request_id",
        [
            "../../v1/x",
            "..",
            ".",
            "",
            "/",
            "a/b",
            "a\\b",
            "a%2f..",
            "%2e%2e",
            "a?b",
            "a#b",
            "a;b",
            "a b",
            "a:b",
            "a@b",
            "é",
            "\uff21",
            "a\u0660",
            "a\n",
            "\na",
            "a\x00",
            "a\u2028",
            "-a",
            "_a",
            "~",
            "A" * 201,
            None,
            7,
            b"a",
            ["a"],
        ],
        ids=repr,
    )
    def test_what_could_lead_elsewhere_is_refused(self, request_id):
        """The message shows it, and says where ids are listed."""
        with pytest.raises(SettingsError, match=r"no job id.*%segmind jobs"):
            checked_id(request_id)

    def test_a_refused_id_is_quoted_in_one_short_line(self):
        """What somebody pasted by mistake does not flood the page."""
        with pytest.raises(SettingsError) as caught:
            checked_id("x\n\x1b[31m" * 10_000)
        assert len(str(caught.value)) < 600
        assert not {"\n", "\x1b"} & set(str(caught.value))

    @given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9._~%/\\?#;:@\n-]{1,20}"))
    @example("a\n")
    @example("a%2F..")
    def test_no_id_that_passes_leads_out_of_its_folder(self, request_id):
        """Whatever passes is one segment of the URL that is made of it, unchanged."""
        try:
            checked_id(request_id)
        except SettingsError:
            return
        url = httpx.URL(f"{BASE}/v2/requests/{request_id}/status")
        assert url.raw_path == b"/v2/requests/" + request_id.encode() + b"/status"
        assert url.path.split("/") == ["", "v2", "requests", request_id, "status"]
        assert (url.host, url.query, url.fragment) == ("api.segmind.com", b"", "")

    @given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,199}", fullmatch=True))
    def test_every_id_of_unreserved_characters_passes(self, request_id):
        """RFC 3986: these need no escaping in a path."""
        assert checked_id(request_id) == request_id


class TestReadSubmit:
    def test_the_id_is_read(self):
        """Of the documented answer."""
        assert read_submit({"request_id": ID, "status": "QUEUED", "poll_url": "x"}) == ID

    def test_a_number_is_an_id_too(self):
        """A queue may count its jobs."""
        assert read_submit({"request_id": 17}) == "17"

    @pytest.mark.parametrize(
        ("body", "held"),
        [
            ({}, "keys: none"),
            ({"status": "QUEUED"}, "keys: status"),
            ({"status": "QUEUED", "id": ID}, "keys: id, status"),
            ({"request_id": ""}, "keys: request_id"),
            ({"request_id": None}, "keys: request_id"),
            ({"request_id": "../x"}, "keys: request_id"),
            ({"request_id": True}, "keys: request_id"),
            ({"request_id": 1.5}, "keys: request_id"),
            ({"request_id": {"a": 1}}, "keys: request_id"),
            ({"request_id": ["a"]}, "keys: request_id"),
            ([ID], "a JSON list"),
            (ID, "a JSON str"),
            (None, "a JSON NoneType"),
        ],
        ids=repr,
    )
    def test_an_answer_without_an_id_says_what_it_holds(self, body, held):
        """By keys, as the values may be long."""
        with pytest.raises(ReplyError, match="no usable request_id") as caught:
            read_submit(body)
        assert held in str(caught.value)

    def test_many_keys_are_cut(self):
        """The message stays readable."""
        with pytest.raises(ReplyError) as caught:
            read_submit({f"key{n}": n for n in range(10_000)})
        assert len(str(caught.value)) < 500


class TestReadState:
    @pytest.mark.parametrize(
        ("word", "kind"),
        [("QUEUED", Queued), ("PROCESSING", Processing), ("COMPLETED", Completed)],
    )
    @pytest.mark.parametrize("spelt", [str.upper, str.lower, str.title])
    def test_the_gateways_words_are_types(self, word, kind, spelt):
        """In whichever case they come."""
        assert type(read_state({"status": spelt(word)}, request_id=ID)) is kind

    @pytest.mark.parametrize(
        ("error", "detail"),
        [
            ("Validation error", "Validation error"),
            ({"message": "blocked"}, "blocked"),
            ({"detail": [{"msg": "bad"}]}, '[{"msg": "bad"}]'),
            (["a", "b"], '["a", "b"]'),
            (5, "5"),
            ("\x1b[31mred\x1b[0m", "red"),
            ("", None),
            (None, None),
            ({}, None),
        ],
        ids=repr,
    )
    def test_a_failure_keeps_the_servers_words(self, error, detail):
        """Of any form, without control characters."""
        state = read_state({"status": "FAILED", "error": error}, request_id=ID)
        assert type(state) is Failed
        assert state.detail == detail

    @pytest.mark.parametrize("status", ["PAUSED", "CANCELLED", "EXPIRED", "", "DONE", " QUEUED"])
    def test_an_unknown_state_is_an_error_and_no_reason_to_wait(self, status):
        """Cancelled and Expired are our words, never the gateway's."""
        with pytest.raises(JobError, match=f"%segmind resume {ID}") as caught:
            read_state({"status": status}, request_id=ID)
        assert caught.value.request_id == ID
        assert repr(status) in str(caught.value)

    @pytest.mark.parametrize(
        "body", [{}, {"status": None}, {"status": 3}, {"status": ["QUEUED"]}, [], "QUEUED", None, 7]
    )
    def test_a_body_that_names_no_state_is_told_from_an_unknown_one(self, body):
        """It is no answer about a job at all."""
        with pytest.raises(ReplyError, match="names no state"):
            read_state(body, request_id=ID)


class TestIsTerminal:
    @pytest.mark.parametrize("word", ["FAILED", "COMPLETED"])
    def test_an_ended_jobs_body_is_told(self, word):
        """Whatever else it holds, a number of thousands of digits included."""
        assert is_terminal(json.dumps({"status": word, "error": "x"}))
        digits = "9" * 5_000
        assert is_terminal(f'{{"status": "{word}", "metrics": {{"n": {digits}}}}}')

    @pytest.mark.parametrize(
        "body",
        [
            None,
            "",
            "<html>",
            "[]",
            "null",
            "[" * 100_000,
            '"FAILED"',
            '{"error": "FAILED"}',
            '{"status": 422}',
            '{"status": ["FAILED"]}',
            '{"status": {"a": 1}}',
            '{"status": null}',
            '{"status": "QUEUED"}',
            '{"status": "failed", "message": "token expired"}',
        ],
        ids=lambda body: repr(body)[:40],
    )
    def test_any_other_error_is_no_answer_about_a_job(self, body):
        """Also a proxy's own "failed", and a state of an odd type."""
        assert not is_terminal(body)

    @given(
        st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)
    )
    def test_no_body_makes_it_raise(self, body):
        """It decides on what a server sent."""
        assert is_terminal(body) is False


class TestReadResult:
    @pytest.mark.parametrize(
        "body",
        [
            completed(json.dumps(ANSWER)),
            completed(ANSWER),
            completed("A sunset."),
            {"status": "COMPLETED", **ANSWER},
            {"status": "completed", "output": json.dumps(ANSWER)},
            {"output": json.dumps(ANSWER)},
            {"status": None, "output": ANSWER},
            {"status": 200, "output": ANSWER},
            ANSWER,
            "A sunset.",
            completed(json.dumps({"choices": [{"message": {"content": "A sunset."}}]})),
            completed(ANSWER, partial=False, reasoning="...", timings={"a": 1}),
        ],
        ids=[
            "JSON in a string",
            "an object",
            "plain text",
            "no output: the body is it",
            "a state in lower case",
            "no state",
            "state null",
            "a number for a state",
            "the answer alone",
            "a string alone",
            "another provider's",
            "more fields",
        ],
    )
    def test_every_form_of_output_is_a_reply(self, body):
        """They carry the job's id, and the text that the model wrote."""
        reply = read_result(body, request_id=ID)
        assert isinstance(reply, Reply)
        assert (reply.text, reply.request_id) == ("A sunset.", ID)

    def test_usage_metrics_and_the_models_own_json_are_kept(self):
        """Cost and credits are the gateway's, usage is the model's."""
        metrics = {"inference_time": 13.06, "cost": 0.02, "remaining_credits": 4.2}
        reply = read_result(completed(json.dumps(ANSWER), metrics=metrics), request_id=ID)
        assert (reply.cost, reply.remaining_credits, reply.elapsed_s) == (0.02, 4.2, 13.06)
        assert (reply.usage.input_tokens, reply.usage.output_tokens) == (56, 31)
        assert reply.raw == ANSWER

    def test_a_measured_time_goes_before_the_gateways(self):
        """Also one of no seconds."""
        body = completed("Hi", metrics={"inference_time": 13.0})
        assert read_result(body, request_id=ID, elapsed_s=20.5).elapsed_s == 20.5
        assert read_result(body, request_id=ID, elapsed_s=0.0).elapsed_s == 0.0

    @pytest.mark.parametrize(
        "seconds",
        [None, "13", True, -1, float("nan"), float("inf"), 10**400, 1e300, [13], {"a": 1}],
        ids=lambda seconds: repr(seconds)[:20],
    )
    def test_an_odd_time_is_no_time(self, seconds):
        """And no reason to lose the reply."""
        reply = read_result(completed("Hi", metrics={"inference_time": seconds}), request_id=ID)
        assert (reply.text, reply.elapsed_s) == ("Hi", None)

    @pytest.mark.parametrize("metrics", [None, [], "x", 7])
    def test_odd_metrics_are_none(self, metrics):
        """The reply is there all the same."""
        reply = read_result(completed("Hi", metrics=metrics), request_id=ID)
        assert (reply.text, reply.elapsed_s, reply.cost) == ("Hi", None, None)

    @pytest.mark.parametrize(
        "output", ["7", "null", "true", "[1, 2]", '"quoted"', "", "{broken", json.dumps("x" * 9)]
    )
    def test_a_string_that_is_no_answers_json_is_the_text_itself(self, output):
        """A model may reply `7`, or JSON of its own."""
        assert read_result(completed(output), request_id=ID).text == output

    def test_an_answer_that_was_encoded_twice_is_not_lost(self):
        """It is the text, as it came; nothing guesses how often to decode."""
        twice = json.dumps(json.dumps(ANSWER))
        assert "A sunset." in read_result(completed(twice), request_id=ID).text

    @pytest.mark.parametrize("output", [7, None, True, [], [ANSWER], {}, {"url": "x"}], ids=repr)
    def test_an_output_without_text_is_an_error_that_says_what_is_there(self, output):
        """It was paid for, so the message must help."""
        with pytest.raises(ReplyError, match="no reply text"):
            read_result(completed(output), request_id=ID)

    @pytest.mark.parametrize("state", ["QUEUED", "PROCESSING", "FAILED"])
    def test_a_job_that_has_not_completed_gives_its_state(self, state):
        """No reply is read, though an output be there."""
        body = {"status": state, "error": "no", "output": json.dumps(ANSWER)}
        read = read_result(body, request_id=ID)
        assert isinstance(read, State)
        assert read == state

    def test_an_unknown_state_raises_though_there_is_an_output(self):
        """Nobody knows what it would stand for."""
        with pytest.raises(JobError, match="PAUSED"):
            read_result(completed("Hi", status="PAUSED"), request_id=ID)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "status",
                            "output",
                            "content",
                            "metrics",
                            "inference_time",
                            "error",
                            "usage",
                        ]
                    )
                    | st.text(max_size=3),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ),
        st.sampled_from([None, "COMPLETED", "FAILED", "QUEUED"]),
    )
    def test_no_body_makes_it_raise_anything_but_a_named_error(self, body, state):
        """Whatever JSON comes, it is a reply, a state or a named error."""
        if isinstance(body, dict) and state is not None:
            body = {**body, "status": state}
        try:
            read = read_result(body, request_id=ID)
        except (ReplyError, JobError):
            return
        assert isinstance(read, Reply | State)
        assert not isinstance(read, Reply) or read.request_id == ID


class TestIsResult:
    @pytest.mark.parametrize(
        "body", [completed(None), {"status": "FAILED"}, {"output": 7}, ANSWER, "text"], ids=repr
    )
    def test_what_the_gateway_says_of_a_job_is_one(self, body):
        """Also one that holds no reply: asking again would not change it."""
        assert is_result(body, ID)

    @pytest.mark.parametrize("body", [None, [], {}, 7, True, {"message": "log in"}, ["x"]])
    def test_what_came_in_its_place_is_none(self, body):
        """A proxy's JSON, say."""
        assert not is_result(body, ID)


class TestNoReply:
    def test_a_failure_says_why_and_what_to_do(self):
        """With the id and the server's words as fields."""
        error = no_reply(Failed("Validation error"), ID)
        assert type(error) is JobFailed
        assert (error.request_id, error.detail) == (ID, "Validation error")
        assert f"Job {ID} failed: Validation error. It is not sent again" in str(error)

    @pytest.mark.parametrize("state", [Queued(), Processing()], ids=str)
    def test_a_job_that_goes_on_is_a_time_out(self, state):
        """It can be looked at again."""
        error = no_reply(state, ID)
        assert type(error) is JobTimeout
        assert str(state) in str(error)
        assert error.request_id == ID
