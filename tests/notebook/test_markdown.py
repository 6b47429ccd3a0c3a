"""Markdown that a reply should show well: its elements, code, tables, maths, and slow input."""

from __future__ import annotations

import re

import pytest
from bs4 import BeautifulSoup, Tag
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.notebook.display.markdown import (
    LANGUAGES,
    MAX_CODE_CHARS,
    MAX_HTML_CHARS,
    MAX_MARKDOWN_CHARS,
    body_html,
    to_coloured,
)
from segmind_jupyter.notebook.display.math import MAX_TEX_CHARS, to_mathml
from segmind_jupyter.notebook.display.sanitize import is_math_value
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


def test_what_is_no_link_and_images_and_html_are_words():
    """Bad and relative addresses; an image is never fetched, what it would be is said."""
    for text in ("[x](javascript:alert(1))", "see [x](/api)", "file:///x ftp://x.a", "http://¡"):
        assert words(text) == text
        assert page(text).a is None
    assert page("`https://x.example`").a is None
    assert len(page("[https://x.example](https://y.example)").find_all("a")) == 1
    assert "href" not in page("[x]()").a.attrs
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
        assert styles["<b>"] == CODE["Literal.String"]


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
    assert (shown.table, shown.pre.get_text(), shown.em.get_text()) == (None, UNION, "all")
    for text in ("> |a|\n> |---|\n> |b|c|\n> > d", "- x\n\n  |a|\n  |---|\n  |b|c|\n- y"):
        assert page(text).pre.get_text() == "|a|\n|---|\n|b|c|\n"
    for text in ("a |\n--|\nb | c\n", "| a |\n|---|\n| b | <i> |\n"):
        assert page(text).pre.get_text() == text
    rows = ("| 1 | 2 |", "| 1 |", "1 | 2", "| 1 | 2 | |", "| `1 \\| 2` | 3 |", "| \\\\a | \\a |")
    for row in (*rows, "| | |"):
        assert page(f"| a | b |\n|---|---|\n{row}").table is not None


# Maths.


def drawn(math: Tag) -> str:
    """What of a formula a browser draws: all but its source, which it hides."""
    pieces = (piece for piece in math.strings if piece.parent.name != "annotation")
    return "".join(pieces).strip()


NO_MATH = (
    "$5 and $10", "costs $5", "$7 and $9", "from $5-$10 each", "5$ and 6$", "costs 5$, or 6$",
    "$ x $", "a $x", "$", "$$", "US$5, A$6", "it is $3.50 (was $4)", "Add $HOME/bin:$PATH to it",
    "cp $SRC/$DST", "edit $HOME/.config/$user now", "cp $a/${b}", "$line=$_;", "US$5M to A$6M",
)  # fmt: skip


def test_money_and_shell_stay_as_typed():
    """Dollars that are no math are left alone: of amounts, and before the names of variables."""
    for text in NO_MATH:
        assert page(text).math is None, text
        assert words(text) == text
    assert words(r"\$x\$") == "$x$"


def test_math_may_touch_what_follows():
    """A formula may have an ending of one or two letters, punctuation or Markdown behind it."""
    for text, behind in (
        ("$n$th", "th"), ("$k$s", "s"), ("$k$-means", "-means"), ("$n$, $m$", ", m"),
        ("**$x$**", ""), ("$x$é", "é"),
    ):  # fmt: skip
        assert words(text) == drawn(page(text).math) + behind, text
    assert drawn(page("$$x$$.").math) == "x."


FORMS = {
    "inline": ("$x$ is 3", "so $x$.", r"so \(x\) holds", "| a |\n|---|\n| $x$ |"),
    "block": (
        "$$x$$", "so $$x$$ holds", r"\[x\]", r"so \[x\] holds", "text\n$$\nx\n$$\nmore",
        "text\n\\[\nx\n\\]\nmore", "> $$\n> x\n> $$", "- a\n\n  $$\n  x\n  $$",
        "1. a\n   \\[\n   x\n   \\]", "\\begin{align}\nx\n\\end{align}",
        "\\begin{equation*}x\\end{equation*}",
    ),
}  # fmt: skip


def test_math_is_found_in_every_form():
    """All delimiters that Claude uses make one formula, inline or on its own."""
    for display, texts in FORMS.items():
        for text in texts:
            (math,) = page(text).find_all("math")
            assert (drawn(math), math["display"]) == ("x", display), text
    assert drawn(page("so\n\\[\na\n- b\n= c\n\\]").math) == "a−b=c"  # no list, no heading


def test_code_escaped_links_and_unclosed_formulas_are_no_math():
    """Nothing is set inside code, and a formula without an end swallows nothing."""
    for text in ("`$x$`", "```\n$x$\n```", "    $x$", r"\\[x\\]"):
        assert page(text).math is None
    for text in ("$$\nx\n\nnever closed", "\\[ x\n\nand on", r"\( x"):
        assert page(text).math is None
        assert text.split()[-1] in page(text).get_text()
    assert words(r"\[text\](https://x.example)") == "[text](https://x.example)"


def test_aligned_equations_are_a_table():
    """Environments that line up at `&` become two columns, right and left."""
    for name in ("align", "aligned", "align*", "split", "eqnarray"):
        math = page(rf"$$\begin{{{name}}} a &= b \\ c &= d \end{{{name}}}$$").math
        sides = [cell["style"].split(";")[0] for cell in math.find_all("mtd")]
        assert sides == ["text-align:right", "text-align:left"] * 2
        assert all("padding-left:0" in cell["style"] for cell in math.find_all("mtd"))
    cases = page(r"$$\begin{cases} a & b \\ c & d \end{cases}$$").math
    assert "padding" not in str(cases.mtable)


def test_common_latex_is_set():
    """What Claude writes and the converter lacks, or escapes twice, comes out as it should."""
    for tex, text in (
        (r"\arg\max_x f", "argmaxxf"),
        (r"\begin{equation}\label{eq:1} x \end{equation}", "x"),
        (r"\begin{gather} x \\ y \end{gather}", "xy"),
        (r"\text{a < b}", "a\xa0<\xa0b"),
        (r"a < b \& c", "a<b&c"),
        (r"x = \$5", "x=$5"),
        (r"\mathbb{R}", "ℝ"),
    ):
        assert drawn(page(f"$${tex}$$").math) == text
    boxed = page(r"$\boxed{y}$")  # by a style, as `menclose` left MathML Core
    assert (boxed.menclose, "border" in boxed.find("mrow", style=True)["style"]) == (None, True)


REFUSED = (
    r"\href{https://x.example}{x}", r"\unicode[x;background:url(https://x.example)]{65}",
    r"\unicode{x41}", r"\mmlToken{mi}{x}", r"\def\x{\x\x}\x", r"\newcommand{\x}{y}\x",
    r"\require{html}x", r"\class{a}{x}", r"\style{color:red}{x}", r"\cssId{a}{x}",
    r"\url{https://x.example}", r"\includegraphics{x.png}", r"\htmlClass{a}{x}",
    r"\hr\label{a}ef{https://x.example}{x}", r"\unknowncommand{x}", r"\frac{a", r"x^2^3",
    r"\left( x", r"\begin{matrix} x", "{" * 2_000, r"\sqrt{" * 500 + "x" + "}" * 500,
    r"\cancel{x}", r"\sqrt" * 700 + "x", "x" * (MAX_TEX_CHARS + 1),
    r"\label{\unicode[x;background:url(https://x.example)]}x",
)  # fmt: skip


def test_a_refused_formula_shows_its_source():
    """What links, styles, defines, is unknown, broken, deep or long is inert code."""
    assert to_mathml("", display=False) is None
    for tex in REFUSED:
        assert to_mathml(tex, display=False) is None, tex
        shown = page(f"${tex}$")
        assert shown.math is None
        assert shown.code.get_text() == tex


def test_no_attribute_of_a_formula_is_large_or_coloured():
    """Long lengths and colours are left out, so that nothing hides or blanks the page."""
    tex = r"\hspace{9999em}\color{white}{x}\raise{999em}{y}\rule{99em}{99em}\Huge{z}"
    values = [v for tag in page(f"${tex}$").math.find_all(True) for v in tag.attrs.values()]
    assert not [value for value in values if "99" in value or "white" in value or "black" in value]
    kept, dropped = page(r"$\rule{9em}{10em}\rule{99em}{11em}$").find_all("mspace")
    assert kept.attrs == {"width": "9em", "height": "10em"}
    assert dropped.attrs == {}
    for length in ("10em", "0.5em", ".25em", "-.2em", "20ex", "160px", "120pt"):
        assert is_math_value(length)
    long = ("10.5em", "-99em", "21ex", "161px", "121pt", "1000em", "11", "1e9em", "٩em", "9cm")
    assert not any(map(is_math_value, long))


def test_a_formula_without_its_tags_keeps_its_meaning():
    """Where MathML is dropped and its words stay, the source says what the letters do not."""
    for tex, words_alone in (
        ("10^{-3}", "10−3 [10^{-3}]"),
        (r"\frac12", r"12 [\frac12]"),
        (r"\text{a < b & c}", r"a < b & c [\text{a < b & c}]"),
        ("x", "x"),
        ("a + b < 2", "a+b<2"),
    ):
        assert words(f"so ${tex}$.") == f"so {words_alone}."


def test_a_source_cannot_close_its_annotation():
    """What looks like a tag in a formula is text in its source too."""
    for inside in (
        "</annotation><img src=x onerror=alert(1)>",
        "</annotation></semantics></math><script>alert(1)</script>",
        "<!--</annotation>--><svg onload=alert(1)>",
        "<annotation-xml encoding='text/html'><img src=x onerror=alert(1)>",
        "]]></mtext><style><!--</style><img src=x onerror=alert(1)>",
        "&lt;/annotation&gt;&lt;img src=x onerror=alert(1)&gt;",
    ):
        shown = page(rf"$\text{{{inside}}}$")
        assert shown.find(["img", "script", "svg", "style", "annotation-xml"]) is None
        assert shown.annotation.get_text() == rf" [\text{{{inside}}}]"


@given(st.text(st.sampled_from(r"\{}[]()^_&$%'<>abfrcsqtx12 "), max_size=60))
def test_any_tex_is_set_or_refused(tex):
    """The converter's own errors never come through, and its output is one element."""
    math = to_mathml(tex, display=True)
    assert math is None or (math.startswith("<math") and math.count("<math") == 1)


# Input made to be slow: each case ends (a blow-up would hang the suite) and loses no text.

PATHOLOGICAL = {
    "images": "![" * 15_000,
    "emphasis": "*a _b **c " * 8_000,
    "quotes": ">" * 99_000,
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
