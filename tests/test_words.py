"""Words that every room says: what of a text is kept, dropped or named, and how amounts read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.words import (
    did_you_mean,
    format_credits,
    format_duration,
    format_time,
    one_line,
    to_text,
)

NEUTRALISED = {
    "\x1b[31mred\x1b[0m": "red",
    "\x1b]8;;https://x.example\x1b\\click\x1b]8;;\x1b\\": "click",
    "a\x00b\x7fc\x9bd": "abcd",
    "rm -rf /\recho hi": "rm -rf /\necho hi",
    "a\r\nb\tc": "a\nb\tc",
    "a\u2028b": "a\nb",
    "a\u202eb\u2066": "a⟨U+202E⟩b⟨U+2066⟩",
    "pay\u200bload\ufeff\u00ad": "payload",
    "hi\U000e0069\U000e0067": "hi",
    "\ud83d\ude00": "😀",
    "\ud83d alone": "\ufffd alone",
    "first \x1b]0;unterminated\nsecond": "first \nsecond",
}
ORDINARY = (
    "# Title\n\n- *a* <b> `c` $x$\n", "naïve 日本語",
    "👩‍💻 👍🏽 ❤️", "می‌خواهم", "שלום \u200f!", "x\u0301",
)  # fmt: skip


def test_what_steers_or_hides_is_neutralised_and_nothing_else():
    """Terminal sequences and hidden characters go, reordering ones are named; scripts stay."""
    for typed, shown in NEUTRALISED.items():
        assert to_text(typed) == shown
    for text in ORDINARY:
        assert to_text(text) == text


@given(st.text(st.characters(exclude_categories=())))
def test_text_is_safe_once_and_for_all(text):
    """The result can be encoded, holds no escape, and is not changed by a second pass."""
    safe = to_text(text)
    safe.encode("utf-8")
    assert "\x1b" not in safe
    assert to_text(safe) == safe


def test_a_reply_is_safe_to_print_and_to_inspect():
    """`print(reply)` shows no hidden or reordering character, nor does its repr."""
    reply = Reply(text="a\u202eb\U000e0069\U000e0067 \x1b[31mred")
    assert str(reply) == "a⟨U+202E⟩b red"
    assert repr(reply).isascii()
    assert "\x1b" not in repr(reply)


def test_a_line_is_one_line_and_bounded():
    """Whatever somebody chose as a name or a message."""
    assert one_line(" a\n\tb\u202e ") == "a b⟨U+202E⟩"
    assert one_line("c" * 5_000, max_chars=10) == "ccccccccc…"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (format_duration(12.9), "12 s"),
        (format_duration(185), "3 min 05 s"),
        (format_duration(3_725), "1 h 02 min"),
        (format_credits(0.0021), "0.0021 credits"),
        (format_credits(0.0), "0 credits"),
        (format_credits(0.00001), "<0.0001 credits"),
        (format_credits(1234.5), "1,234.5 credits"),
        (format_time(float("inf")), "an unknown time"),
        (did_you_mean("usag", ["usage", "jobs"]), " (did you mean `usage`?)"),
        (did_you_mean("xyz", ["usage", "jobs"]), ""),
    ],
)
def test_amounts_and_near_misses_read_the_same_everywhere(said, words):
    """In the two largest units, with four decimals, with the nearest word."""
    assert said == words
