"""The retry table, to the letter, and the waits between attempts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.api.retry import Policy, Trouble, may_be_billed, may_repeat, parse_retry_after

STATUSES = [*range(300, 310), *range(400, 430), 451, *range(500, 512), 599]


@pytest.mark.parametrize("status", STATUSES)
def test_a_post_is_repeated_only_after_429_and_503(status):
    """Both are refused before work began."""
    assert may_repeat("POST", status) is (status in {429, 503})


@pytest.mark.parametrize("status", STATUSES)
def test_a_get_is_repeated_after_408_429_and_5xx(status):
    """It costs nothing."""
    assert may_repeat("GET", status) is (status in {408, 429} or status >= 500)


def test_trouble_without_an_answer():
    """A POST may be repeated only if its connection never opened; a GET always."""
    assert may_repeat("POST", Trouble.NEVER_OPENED)
    assert not may_repeat("POST", Trouble.NO_ANSWER)
    assert may_repeat("GET", Trouble.NEVER_OPENED)
    assert may_repeat("GET", Trouble.NO_ANSWER)


FAILURES = st.sampled_from([*Trouble, *STATUSES])


@given(FAILURES)
def test_what_may_have_been_billed_is_never_repeated(failure):
    """The two answers exclude each other, for every failure of a POST."""
    assert not (may_repeat("POST", failure) and may_be_billed("POST", failure))


@given(FAILURES)
def test_a_get_is_never_billed(failure):
    """Only a POST starts work."""
    assert not may_be_billed("GET", failure)


@given(
    attempt=st.integers(1, 10_000),
    luck=st.floats(0, 1),
    remaining_s=st.floats(0, 1e6),
    retry_after_s=st.none() | st.floats(0, 1e9),
)
def test_a_wait_is_bounded_and_ends_before_the_deadline(attempt, luck, remaining_s, retry_after_s):
    """At least a quarter of a second, at most a minute, never past the caller's deadline."""
    delay_s = Policy().delay_s(
        "GET",
        503,
        attempt=attempt,
        remaining_s=remaining_s,
        retry_after_s=retry_after_s,
        jitter=lambda: luck,
    )
    assert delay_s is None or 0.25 <= delay_s <= 60
    assert delay_s is None or delay_s < remaining_s


def test_waits_double_up_to_the_cap():
    """Without chance: 0.5, 1, 2, 4, 8, 8 seconds."""
    waits = [
        Policy().delay_s("GET", 500, attempt=n, remaining_s=1e9, jitter=lambda: 0.0)
        for n in range(1, 7)
    ]
    assert waits == [0.5, 1, 2, 4, 8, 8]


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("5", 5.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("Thu, 01 Jan 2026 00:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 00:00:30 -0000", 30.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("Fri, 31 Dec 99999999999 23:59:59 GMT", None),
        ("Thu, 99 Jan 2026 00:00:30 GMT", None),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(header, seconds):
    """RFC 9110 allows both; nonsense counts as absent."""
    assert parse_retry_after(header, now=NOW) == seconds


@given(st.text(max_size=40))
def test_no_retry_after_header_breaks_the_client(header):
    """The header is the server's word, so anything may stand in it."""
    seconds = parse_retry_after(header)
    assert seconds is None or seconds >= 0
