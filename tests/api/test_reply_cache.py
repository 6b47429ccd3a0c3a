"""Kept replies: which request finds which, what comes back, and what is never kept."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from segmind_jupyter.api.journal import Journal, ReplyCache
from segmind_jupyter.api.messages import Reply, parse_reply
from segmind_jupyter.api.responses import read_result
from segmind_jupyter.api.watch import Call
from segmind_jupyter.errors import NotCachedError

NOW = 1_700_000_000.0
ORIGIN = "https://api.segmind.com"
ANTHROPIC = {
    "id": "msg_1",
    "content": [{"type": "text", "text": "A sunset."}],
    "model": "claude-4-sonnet",
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 56, "output_tokens": 31},
}
HEADERS = {"x-cost": "0.0021", "x-remaining-credits": "4.2", "x-request-id": "req-1"}


def call(prompt: str = "Hello", **fields: Any) -> Call:
    content = [{"type": "text", "text": prompt}]
    known = {"model": "claude-4-sonnet", "messages": [{"role": "user", "content": content}]}
    return Call(**{**known, **fields})


def reply(body: Any = ANTHROPIC) -> Reply:
    return parse_reply(body, headers=HEADERS, model="claude-4-sonnet", elapsed_s=11.2)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    store = Journal(tmp_path / "jobs.sqlite3", clock=lambda: NOW)
    yield store
    store.close()


@pytest.fixture
def place(journal: Journal) -> Callable[..., ReplyCache]:
    """The place of a call's reply, online unless said otherwise."""

    def find(asked: Call | None = None, *, cache: Any = "on", origin: str = ORIGIN) -> ReplyCache:
        return ReplyCache.of(asked or call(), cache=cache, journal=journal, origin=origin)

    return find


#: Half characters and NUL are JSON too.
BODIES = [
    "just words",
    "\ud800 half \0",
    {"content": "a string", "more": [None, 1.5, {"a": "\ud800"}]},
    {**ANTHROPIC, "usage": {"input_tokens": -1, "output_tokens": "7"}},
    {"content": [{"text": "Hello "}, {"type": "text", "text": "there"}]},
]


def test_any_reply_reads_back_equal(place):
    """Text, usage, cost, ids, JSON; a job's came as a string within JSON, and is unpacked once."""
    for body in BODIES:
        for output in (body, json.dumps(body)):
            result = {"status": "COMPLETED", "output": output, "metrics": {"cost": 0.5}}
            for fresh in (reply(body), read_result(result, request_id="2c7f")):
                place().keep(fresh)
                assert place().find() == fresh


def test_a_kept_reply_tells_when_it_was_kept(place):
    """It is equal to the one that came, and still a reply of then."""
    assert place().find() is None
    place().keep(reply())
    found = place().find()
    assert found == reply()
    assert (found.cached_at, found.cost, found.request_id) == (NOW, 0.0021, "req-1")


def test_an_equal_request_finds_it_and_no_other(place):
    """Whatever the model would see is part of the key; the order of parameters is not."""
    asked = call(params={"top_p": 0.5, "top_k": 4})
    place(asked).keep(reply())
    for other in [
        call("Hello!", params=asked.params),
        call(model="claude-3.5-sonnet", params=asked.params),
        call(instruction="Be brief.", params=asked.params),
        call(),
        call(messages=[*asked.messages, *asked.messages], params=asked.params),
    ]:
        assert place(other).find() is None
    assert place(asked, origin="simulator").find() is None
    assert place(call(params={"top_k": 4, "top_p": 0.5})).find() is not None


def test_what_is_old_or_would_read_back_otherwise_is_not_kept(place):
    """A later run must not get another reply than this one."""
    for odd in [
        dataclasses.replace(reply(), cached_at=NOW - 60),
        dataclasses.replace(reply(), text="not what its JSON says"),
        dataclasses.replace(reply(), raw=object()),
        Reply(text="made by hand"),
    ]:
        place().keep(odd)
        assert place().find() is None


def test_a_damaged_reply_is_none(place, journal):
    """It is asked for again, and replaced; where nothing may be sent, it is not there."""
    for body in (b"", b"\xff", b"7", b"[" * 100_000, b"[]", b'{"raw": 7}', b'{"raw": null}'):
        place().keep(reply())
        journal.keep_reply(place()._key, body)
        assert place().find() is None
        with pytest.raises(NotCachedError):
            place(cache="only").find()
    place().keep(reply())
    assert place().find() == reply()
