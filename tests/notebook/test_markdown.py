"""Markdown that a reply should show well: what the elements become, code, tables, slow input."""

from __future__ import annotations

import re

import pytest
from bs4 import BeautifulSoup

from segmind_jupyter.notebook.display.markdown import (
    LANGUAGES,
    MAX_CODE_CHARS,
    MAX_HTML_CHARS,
    MAX_MARKDOWN_CHARS,
    body_html,
    to_coloured,
)
from segmind_jupyter.notebook.display.styles import CODE, framed


def page(text: str) -> BeautifulSoup:
    return BeautifulSoup(framed(body_html(text)), "html.parser")


def words(text: str) -> str:
    return " ".join(page(text).get_text().split())


def test_headings_keep_their_level_and_stay_out_of_the_notebooks_contents():
    """A screen reader is told the level; a table of contents collects `<h2>`, and finds none."""
    for level in range(1, 7):
        heading = page(f"{'#' * level} Title").find(role="heading")
        assert (heading.name, heading["aria-level"]) == ("div", str(level))
        assert heading.get_text() == "Title"
        assert float(re.search(r"font-size:([\d.]+)em", heading["style"])[1]) <= 1.5


def test_lists_marks_quotes_rules_and_tables_become_elements():
    """Bullets may stand inside numbers; a column is aligned as its second row says."""
    outer = page("5. five\n   - inner\n     - innermost\n6. six").find("ol")
    assert outer["start"] == "5"
    assert outer.li.ul.li.ul.li.get_text().strip() == "innermost"
    shown = page("**a** *b* ~~c~~ `x < y & <b>`\n\n> quoted\n\n---\n")
    assert [shown.strong.text, shown.em.text, shown.s.text] == ["a", "b", "c"]
    assert shown.code.text == "x < y & <b>"
    assert shown.blockquote.get_text().strip() == "quoted"
    assert shown.hr is not None
    table = page("| a | b | c |\n|:--|--:|:-:|\n| 1 | 2 | 3 |").table
    aligned = [re.match("text-align:([a-z]+)", cell["style"])[1] for cell in table.find_all("td")]
    assert aligned == ["left", "right", "center"]


def test_tasks_have_boxes_and_small_html_is_read():
    """In any list; `<br>`, `<sub>` and `<sup>` of words alone. What looks like them is text."""
    shown = page("- [ ] a\n- [x] *b*\n  1. [X] c\n- [y] d\n- e [ ] f")
    texts = [" ".join(item.get_text().split()) for item in shown.find_all("li")]
    assert texts == ["☐ a", "☑ b ☑ c", "☑ c", "[y] d", "e [ ] f"]
    cell = page("| a |\n|---|\n| x<br>y<BR/>H<sub>2</sub>O m<sup>&lt;2</sup> |").td
    assert [tag.name for tag in cell.find_all(True)] == ["br", "br", "sub", "sup"]
    assert cell.sup.get_text() == "<2"
    for text in ("<sub>x", "<sub><img src=x></sub>", "<br onclick=x>", "<sup>x</sub>", "a<br"):
        assert words(text) == text


LINKS = {
    "[a](https://x.example/y?z=1&w=2)": "https://x.example/y?z=1&w=2",
    "[a][r]\n\n[r]: http://x.example": "http://x.example",
    "<https://x.example>": "https://x.example",
    "<me@x.example>": "mailto:me@x.example",
    "see https://x.example/a_(b)?c=1&d=2.": "https://x.example/a_(b)?c=1&d=2",
    "**(https://x.example/e)**": "https://x.example/e",
    "参见https://x.example/f。": "https://x.example/f",
}


def test_a_link_opens_elsewhere_and_tells_nobody():
    """Web and mail links open in a new tab, without opener or referrer; the address shows."""
    for text, href in LINKS.items():
        link = page(text).a
        assert link["href"] == link["title"] == href
        assert link["target"] == "_blank"
        assert set(link["rel"]) == {"noopener", "noreferrer", "nofollow"}


def test_what_is_no_link_stays_as_typed():
    """Bad and relative addresses; `[x]()` keeps its words and goes nowhere."""
    for text in ("[x](javascript:alert(1))", "see [x](/api/kernels)", "file:///x ftp://x.example"):
        assert words(text) == text
        assert page(text).a is None
    assert page("`https://x.example`").a is None
    assert len(page("[https://x.example](https://y.example)").find_all("a")) == 1
    assert "href" not in page("[x]()").a.attrs


def test_images_and_html_are_words():
    """An image is never fetched, what it would be is said; tags in a reply are text."""
    assert words("![a *red* line](https://x.example/p.png)") == (
        "[image: a red line (https://x.example/p.png)]"
    )
    assert words('<b onclick="x">bold</b> &amp; &lt;') == '<b onclick="x">bold</b> & <'


def test_stars_beside_chinese_and_japanese_punctuation_are_emphasis():
    """CommonMark takes them for no delimiters; what is no such text stays as it was."""
    assert page("**「強調」**は").strong.get_text() == "「強調」"
    assert page("这是**重要：**文本").strong.get_text() == "重要："
    for text in ("2 * 3 * 4", "a** b**", "漢 * 字 * 漢"):
        assert page(text).find(["em", "strong"]) is None


def test_no_word_is_lost_and_none_is_made():
    """Of an ordinary reply, of one that is too long to be Markdown to its end, and of nothing."""
    text = "First paragraph, of two lines:\nsecond line.\n\nSecond paragraph (with brackets)."
    assert words(text) == " ".join(text.split())
    line = "some **words** here\n"
    text = line * (MAX_MARKDOWN_CHARS // len(line) + 100)
    shown = page(text)
    assert shown.find_all("pre")[-1].get_text().startswith("some **words** here")
    assert shown.get_text().count("words") == text.count("words")
    for text in ("", " ", "\n\n\n", "\x00"):
        assert words(text) == ""


def test_characters_behind_an_entity_or_in_code_are_neutralised_too():
    """An entity is decoded by the parser, after the text was made safe; code hides nothing."""
    texts = ("a&#x202e;b", "[a&#x202e;b](https://x.example)", "$\\text{&#x202e;}$")
    for text in (*texts, "```python\nif x: \u202e return # safe\n```"):
        html = framed(body_html(text))
        assert "\u202e" not in html
        assert "⟨U+202E⟩" in BeautifulSoup(html, "html.parser").get_text()


# Code.

PYTHON = 'import os  # why\n\ndef f(x: int) -> str:\n    return f"{x}" + "<b>"\n'


def test_python_is_coloured():
    """Keywords, comments and strings of a fenced block have a colour of the palette."""
    for info in ("python", "Python", "py", "python title=x", "ipython3"):
        spans = page(f"```{info}\n{PYTHON}```").pre.find_all("span")
        styles = {span.get_text(): span["style"] for span in spans}
        assert styles["import"] == CODE["Keyword"]
        assert styles["# why"] == CODE["Comment"]
        assert styles['"<b>"'] == CODE["Literal.String"]


def test_an_unknown_language_stays_plain():
    """A language that is not on the list is shown without colour, and whole."""
    for language in ("", "klingon", "javascript+php", "../x", "text", "brainfuck"):
        shown = page(f"```{language}\nimport <x>\n```").pre
        assert shown.span is None
        assert shown.get_text() == "import <x>\n"
    assert page("    x < 1").pre.get_text() == "x < 1\n"
    assert page("```python\nx < 1").pre.get_text().strip() == "x < 1"


def test_code_of_an_odd_shape_and_a_slow_lexer_stay_plain():
    """Shapes on which lexers take time in the square of their size; and a deadline."""
    for code in ("x = 1\n" * MAX_CODE_CHARS, "x" * 2_000, "\n" * 100, " \n\t\n" * 100 + "x"):
        assert to_coloured(code, language="c") is None
    assert to_coloured(PYTHON, language="python", max_seconds=-1) is None


def test_each_language_has_a_lexer_and_keeps_every_character():
    """Every name on the list is one that Pygments knows, and colouring loses nothing."""
    code = 'if (x < 1) { return "a & b"; } # é\n\n\tkey: [1, 2.5]\n'
    for language in set(LANGUAGES.values()):
        coloured = to_coloured(code, language=language, max_seconds=60)
        assert coloured is not None, language
        assert BeautifulSoup(f"<pre>{coloured}</pre>", "html.parser").get_text() == code


# Tables.

UNION = "| op | meaning |\n|---|---|\n| `a | b` | union |\n| `a - b` | difference |\n"


def test_a_table_that_would_be_cut_is_shown_as_typed():
    """A bar in code makes a cell too many, which GFM drops: such a table is a code block."""
    shown = page(f"before\n\n{UNION}\nafter *all*")
    assert shown.table is None
    assert shown.pre.get_text() == UNION
    assert shown.em.get_text() == "all"
    for text, typed in (
        ("> | a |\n> |---|\n> | b | c |\n> > d", "| a |\n|---|\n| b | c |\n"),
        ("- x\n\n  | a |\n  |---|\n  | b | c |\n- y", "| a |\n|---|\n| b | c |\n"),
        ("a |\n--|\nb | c\n", "a |\n--|\nb | c\n"),
        ("| a |\n|---|\n| b | <i> |\n", "| a |\n|---|\n| b | <i> |\n"),
    ):
        assert page(text).pre.get_text() == typed


def test_a_table_that_loses_nothing_stays_a_table():
    """Missing and empty cells, escaped bars and backslashes are no reason to give a table up."""
    rows = ("| 1 | 2 |", "| 1 |", "1 | 2", "| 1 | 2 | |", "| `1 \\| 2` | 3 |", "| \\\\a | \\a |")
    for row in (*rows, "| | |"):
        assert page(f"| a | b |\n|---|---|\n{row}").table is not None


# Input made to be slow: each case ends (a blow-up would hang the suite) and loses no text.

PATHOLOGICAL = {
    "images": "![" * 15_000,
    "emphasis": "*a _b **c " * 8_000,
    "quotes": ">" * 100_000,
    "lazy quote": "> " * 20 + "a\n" * 20_000,
    "definitions": "[a]: <x>\n" * 10_000,
    "surplus cells": "|a|\n|-|\n" + "|b|c|\n" * 12_000,
    "one wide row": "|a|\n|-|\n" + "|b" * 45_000,
    "dollars": "$a " * 30_000,
    "shell": "$HOME/bin:$PATH" * 6_000,
    "formulas": r"$\frac{a}{b}$ " * 7_000,
    "braces": ("$" + "{" * 1_900 + "x" + "}" * 1_900 + "$ ") * 20,
    "fences": "```python\nimport x\n```\n" * 4_000,
    "empty lines of C": "```c\n" + "\n" * 20_000 + "```",
    "escapes": "\x1b[" * 50_000,
    "combining": "x" + "\u0301" * 100_000,
}


@pytest.mark.heavy
def test_slow_input_ends_and_stays_readable():
    """Each pattern becomes a page of bounded size that still holds the last word."""
    for name, text in PATHOLOGICAL.items():
        shown = framed(body_html(text + "\n\n```\nthe last word"))
        assert "the last word" in shown, name
        assert len(shown) < MAX_HTML_CHARS + 2_000_000, name
