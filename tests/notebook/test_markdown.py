"""Markdown that a reply should show well: what the elements become."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from bs4 import BeautifulSoup

from segmind_jupyter.notebook.display.markdown import MAX_MARKDOWN_CHARS, to_html


def page(text: str) -> BeautifulSoup:
    return BeautifulSoup(to_html(text), "html.parser")


def words(text: str) -> str:
    return " ".join(page(text).get_text().split())


@pytest.mark.parametrize("level", range(1, 7))
def test_headings_keep_their_level(level: int) -> None:
    """Each depth of heading is its own element, sized to sit in a cell's output."""
    heading = page(f"{'#' * level} Title").find(f"h{level}")

    assert heading.get_text() == "Title"
    assert float(re.search(r"font-size:([\d.]+)em", heading["style"])[1]) <= 1.5


def test_lists_nest_and_keep_their_start() -> None:
    """Bullets may stand inside numbers, and a list that starts at 5 starts at 5."""
    outer = page("5. five\n   - inner\n     - innermost\n6. six").find("ol")

    assert outer["start"] == "5"
    assert outer.li.ul.li.ul.li.get_text().strip() == "innermost"


def test_a_table_keeps_its_alignment() -> None:
    """Columns are aligned as the second row of the table says."""
    table = page("| a | b | c |\n|:--|--:|:-:|\n| 1 | 2 | 3 |").table

    aligned = [re.match("text-align:([a-z]+)", cell["style"])[1] for cell in table.find_all("td")]
    assert aligned == ["left", "right", "center"]


def test_inline_marks_become_elements() -> None:
    """Strong, emphasis, strikethrough and code are shown as such; code keeps its angle brackets."""
    shown = page("**a** *b* ~~c~~ `x < y & <b>`")

    assert [shown.strong.text, shown.em.text, shown.s.text] == ["a", "b", "c"]
    assert shown.code.text == "x < y & <b>"


def test_a_quote_and_a_rule() -> None:
    """Block quotes and rules are elements of their own."""
    shown = page("> quoted\n\n---\n")

    assert shown.blockquote.get_text().strip() == "quoted"
    assert shown.hr is not None


@pytest.mark.parametrize(
    ("text", "href"),
    [
        ("[a](https://x.example/y?z=1&w=2)", "https://x.example/y?z=1&w=2"),
        ("[a][r]\n\n[r]: http://x.example", "http://x.example"),
        ("<https://x.example>", "https://x.example"),
        ("<me@x.example>", "mailto:me@x.example"),
    ],
)
def test_a_link_opens_elsewhere_and_tells_nobody(text: str, href: str) -> None:
    """Web and mail links open in a new tab, without opener or referrer; the address shows."""
    link = page(text).a

    assert link["href"] == link["title"] == href
    assert link["target"] == "_blank"
    assert set(link["rel"]) == {"noopener", "noreferrer", "nofollow"}


def test_a_refused_link_stays_as_typed() -> None:
    """A link that may not be followed can still be read."""
    assert words("[x](javascript:alert(1))") == "[x](javascript:alert(1))"
    assert words("see [x](/api/kernels)") == "see [x](/api/kernels)"


def test_a_link_without_an_address_is_no_link() -> None:
    """`[x]()` keeps its words and goes nowhere."""
    assert "href" not in page("[x]()").a.attrs


def test_a_bare_address_is_left_alone() -> None:
    """Addresses in running text are not made into links."""
    assert page("see https://x.example").a is None


def test_an_image_shows_its_words_and_its_address() -> None:
    """An image is never fetched; what it would be is said."""
    assert words("![a *red* line](https://x.example/p.png)") == (
        "[image: a red line (https://x.example/p.png)]"
    )


def test_html_is_shown_as_typed() -> None:
    """Tags in a reply are text."""
    assert words('<b onclick="x">bold</b> &amp; &lt;') == '<b onclick="x">bold</b> & <'


def test_the_box_keeps_mathjax_away() -> None:
    """The box has the classes that MathJax ignores: JupyterLab's (3, 4) and nbconvert's (2.7)."""
    (box,) = page("x").find_all(recursive=False)

    assert box["class"] == ["mathjax_ignore", "tex2jax_ignore", "segmind-reply"]


def test_every_word_of_a_plain_text_is_shown() -> None:
    """Nothing of an ordinary reply is lost on the way."""
    text = "First paragraph, of two lines:\nsecond line.\n\nSecond paragraph (with brackets)."

    assert words(text) == " ".join(text.split())


def test_what_is_too_long_goes_on_as_plain_text() -> None:
    """Behind the limit a reply is shown as typed, and no character is dropped."""
    line = "some **words** here\n"
    text = line * (MAX_MARKDOWN_CHARS // len(line) + 100)
    shown = page(text)

    rest = shown.find_all("pre")[-1].get_text()
    assert rest.startswith("some **words** here")
    assert shown.get_text().count("words") == text.count("words")


@pytest.mark.parametrize("text", ["", " ", "\n\n\n", "\x00"])
def test_an_empty_reply_is_an_empty_box(text: str) -> None:
    """A reply of nothing shows nothing, and fails not."""
    assert words(text) == ""


def test_importing_the_renderer_imports_no_heavy_library() -> None:
    """Parsers, colours and the sanitizer are imported with the first reply."""
    heavy = "{'nh3', 'markdown_it', 'pygments', 'latex2mathml', 'mdit_py_plugins', 'PIL'}"
    script = (
        f"import sys, segmind_jupyter.notebook.display.reply; print({heavy} & set(sys.modules))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
