"""Characters of a reply: what is kept, dropped and shown by its code point."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.notebook.display.markdown import to_html
from segmind_jupyter.notebook.display.text import to_text


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]8;;https://x.example\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("a\x00b\x7fc\x9bd", "abcd"),
        ("rm -rf /\recho hi", "rm -rf /\necho hi"),
        ("a\r\nb\tc", "a\nb\tc"),
        ("a\u2028b", "a\nb"),
        ("a\u202eb\u2066", "a⟨U+202E⟩b⟨U+2066⟩"),
        ("pay\u200bload\ufeff\u00ad", "payload"),
        ("hi\U000e0069\U000e0067", "hi"),
        ("\ud83d\ude00", "😀"),
        ("\ud83d alone", "\ufffd alone"),
        ("first \x1b]0;unterminated\nsecond", "first \nsecond"),
    ],
)
def test_what_steers_or_hides_is_neutralised(typed: str, shown: str) -> None:
    """Terminal sequences go, hidden characters go, reordering ones are named."""
    assert to_text(typed) == shown


@pytest.mark.parametrize(
    "text",
    [
        "# Title\n\n- *a* <b> `c` $x$\n",
        "naïve 日本語 ‮"[:-1],
        "👩‍💻 👍🏽 ❤️",
        "می‌خواهم",
        "שלום \u200f!",
        "x\u0301",
    ],
)
def test_ordinary_text_is_untouched(text: str) -> None:
    """Markdown, scripts of the world and joined emoji come through as they are."""
    assert to_text(text) == text


@given(st.text(st.characters(exclude_categories=())))
def test_text_is_safe_once_and_for_all(text: str) -> None:
    """The result can be encoded, holds no escape, and is not changed by a second pass."""
    safe = to_text(text)

    safe.encode("utf-8")
    assert "\x1b" not in safe
    assert to_text(safe) == safe


@pytest.mark.parametrize(
    "text", ["a&#x202e;b", "[a&#x202e;b](https://x.example)", "$\\text{&#x202e;}$"]
)
def test_characters_behind_an_entity_are_neutralised_too(text: str) -> None:
    """An entity is decoded by the parser, after the text was made safe, and is looked at again."""
    html = to_html(text)

    assert "\u202e" not in html
    assert "⟨U+202E⟩" in html


def test_bidi_in_code_is_visible() -> None:
    """A comment that hides code by reordering ("Trojan source") shows its trick."""
    html = to_html("```python\nif x: \u202e return # safe\n```")

    assert "⟨U+202E⟩" in BeautifulSoup(html, "html.parser").get_text()
