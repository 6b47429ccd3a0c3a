"""What may be sent again, when servers say to come back, and when a job is looked at."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.api.retry import (
    MAX_DELAY_S,
    MIN_DELAY_S,
    History,
    may_be_billed,
    may_repeat,
    next_poll,
    parse_wait,
)

STATUSES = [*range(300, 310), *range(400, 430), 451, *range(500, 512), 599]


def test_the_table_of_what_is_sent_again():
    """A POST only where it was refused before work; a GET, which is free, after any trouble."""
    for status in STATUSES:
        assert may_repeat("POST", status) is (status in {429, 503})
        assert may_repeat("GET", status) is (status in {408, 429} or status >= 500)


def test_what_may_have_been_billed_is_never_repeated():
    """The two answers exclude each other, for every refusal of a POST."""
    for failure in STATUSES:
        assert not (may_repeat("POST", failure) and may_be_billed(failure))
    unknown = {failure for failure in STATUSES if may_be_billed(failure)}
    assert unknown == {408, *range(500, 512), 599} - {501, 503, 505}


NOW = datetime(2026, 11, 27, 11, 59, 30, 250_000, tzinfo=UTC)
THEN = datetime(2026, 11, 27, 12, 1, tzinfo=UTC)


def test_a_moment_to_go_on_is_read_in_every_plausible_form():
    """ISO 8601, RFC 9110, a Unix time, seconds."""
    unix = THEN.timestamp()
    for told in [
        *(" 89.75 ", str(int(unix)), f"{unix:.1f}", "2026-11-27T12:01:00Z", "2026-11-27T12:01:00"),
        *("2026-11-27 12:01:00.000000", "2026-11-27T14:01:00+02:00"),
        *("2026-11-27 12:01:00 UTC", str(int(unix * 1000))),
        *("Fri, 27 Nov 2026 12:01:00 GMT", "Fri, 27 Nov 2026 12:01:00 -0000"),
    ]:
        for now in (NOW, NOW.astimezone(timezone(timedelta(hours=5)))):
            assert parse_wait(told, now=now) == pytest.approx(89.75)


def test_nonsense_and_what_is_over_names_no_moment():
    """Nor does what is more than a day away."""
    for told in [
        *(None, "", "0", "-3", "nan", "inf", "soon", "1e400", "99:99", "UTC"),
        *("2026-11-27T11:00:00Z", "2099-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59"),
        *("Fri, 31 Dec 99999999999 23:59:59 GMT", "Thu, 99 Jan 2026 00:00:30 GMT"),
    ]:
        assert parse_wait(told, now=NOW) is None


@given(st.text(max_size=40) | st.from_regex(r"[0-9TZ:+., -]{0,30}"))
def test_no_header_breaks_the_client(told):
    """It is the server's word, so anything may stand in it."""
    seconds = parse_wait(told, now=NOW)
    assert seconds is None or 0 < seconds <= 86_400


def watched(work_s: float, history: History) -> tuple[float, int]:
    """Run a job that takes so long: how late its end was noticed, and by which poll."""
    now_s = 0.0
    for polls in itertools.count(1):
        now_s += next_poll(now_s, history.soonest_s("m"))
        if now_s >= work_s:
            history.add("m", now_s)
            return now_s - work_s, polls
    raise AssertionError


def test_jobs_that_became_faster_are_found_out_and_then_known():
    """After slow ones a job of 3 s waits some seconds at first, and soon no longer."""
    history = History(lambda model: [600.0] * 50)
    late_s = [watched(3.0, history)[0] for _ in range(5)]
    assert late_s[0] < 10
    assert late_s[-1] < 1.0


@given(st.floats(0, 1e5), st.floats(0, 1e5))
def test_the_wait_is_within_its_bounds(elapsed_s, soonest_s):
    """From half a second to a minute."""
    assert MIN_DELAY_S <= next_poll(elapsed_s, soonest_s) <= MAX_DELAY_S
