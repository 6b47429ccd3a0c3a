"""The states of a job as types, and how every form of an answer about one is read."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.responses import (
    Cancelled,
    Completed,
    Expired,
    Failed,
    Processing,
    Queued,
    checked_id,
    read_result,
)
from segmind_jupyter.errors import SettingsError

ID = "2c7f0e5a-0d6b-4a3f-9c55-1f0a7f3f2b11"

STATES = {
    "QUEUED": Queued(),
    "PROCESSING": Processing(),
    "COMPLETED": Completed(),
    "FAILED": Failed("no"),
    "EXPIRED": Expired(),
    "CANCELLED": Cancelled(),
}

ANSWER = {
    "content": [{"type": "text", "text": "A sunset."}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 56, "output_tokens": 31},
}


def completed(output: Any, **fields: Any) -> dict[str, Any]:
    """The documented body of a result."""
    return {"status": "COMPLETED", "error": None, "metrics": {}, "output": output, **fields}


class TestState:
    def test_it_is_the_gateways_word_and_a_type(self):
        """It equals, hashes, prints and goes into JSON as the word; `match` tells types apart."""
        for word, state in STATES.items():
            assert state == word
            assert {word: 1}[state] == 1
            assert (str(state), repr(state), f"{state}") == (word, repr(word), word)
            assert type(str(state)) is str
            assert json.dumps(state) == f'"{word}"'
            match state:
                case Queued() | Processing():
                    assert not state.ended
                case Failed(detail=words):
                    assert words == "no"
                case Completed() | Expired() | Cancelled():
                    assert state.ended
                case _:
                    pytest.fail(f"{state!r} matches nothing")


class TestCheckedId:
    def test_what_could_lead_elsewhere_is_refused(self):
        """The message shows it in one short line, and says where ids are listed."""
        refused = [*("../../v1/x", "..", ".", "", "/", "a/b", "a\\b", "a%2f..", "%2e%2e", "a?b")]
        refused += ["a#b", "a;b", "a b", "a:b", "a@b", "é", "\uff21", "a\u0660", "a\n", "a\x00"]
        refused += ["-a", "_a", "~", "A" * 201, None, 7, b"a", ["a"], "x\n\x1b[31m" * 10_000]
        for request_id in refused:
            with pytest.raises(SettingsError, match=r"no job id.*%segmind jobs") as caught:
                checked_id(request_id)
            assert len(str(caught.value)) < 600
            assert not {"\n", "\x1b"} & set(str(caught.value))

    @given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9._~%/\\?#;:@\n-]{1,20}"))
    @example("a\n")
    @example("a%2F..")
    @example("a..")
    def test_no_id_that_passes_leads_out_of_its_folder(self, request_id):
        """Whatever passes is one segment of the URL that is made of it, unchanged."""
        try:
            checked_id(request_id)
        except SettingsError:
            return
        url = httpx.URL(f"https://api.segmind.com/v2/requests/{request_id}/status")
        assert url.raw_path == b"/v2/requests/" + request_id.encode() + b"/status"
        assert url.path.split("/") == ["", "v2", "requests", request_id, "status"]
        assert (url.host, url.query, url.fragment) == ("api.segmind.com", b"", "")


class TestReadResult:
    def test_every_form_of_output_is_a_reply(self):
        """They carry the job's id, and the text that the model wrote."""
        for body in [
            completed(json.dumps(ANSWER)),
            completed(ANSWER, partial=False, reasoning="...", timings={"a": 1}),
            completed("A sunset.", request_id=ID),
            {"status": "COMPLETED", **ANSWER},
            {"status": "completed", "output": json.dumps(ANSWER)},
            {"output": json.dumps(ANSWER)},
            {"status": None, "output": ANSWER},
            {"status": 200, "output": ANSWER},
            ANSWER,
        ]:
            reply = read_result(body, request_id=ID)
            assert isinstance(reply, Reply)
            assert (reply.text, reply.request_id) == ("A sunset.", ID)

    def test_odd_metrics_are_no_reason_to_lose_the_reply(self):
        """A time that makes no sense is none."""
        times = (None, "13", True, -1, float("nan"), float("inf"), 10**400, 1e300, [13], {"a": 1})
        for metrics in [None, [], "x", 7, *({"inference_time": seconds} for seconds in times)]:
            reply = read_result(completed("Hi", metrics=metrics), request_id=ID)
            assert (reply.text, reply.elapsed_s, reply.cost) == ("Hi", None, None)
