"""Math in replies: where it is found, how it is set, and what is refused."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.notebook.formula import MAX_TEX_CHARS, to_mathml
from segmind_jupyter.notebook.markdown import to_html


def page(text: str) -> BeautifulSoup:
    return BeautifulSoup(to_html(text), "html.parser")


def words(text: str) -> str:
    return " ".join(page(text).get_text().split())


def test_a_fraction_is_mathml() -> None:
    r"""`$\frac{a}{b}$` is a real fraction."""
    fraction = page(r"$\frac{a}{b}$").math.mfrac

    assert [part.get_text() for part in fraction.find_all(recursive=False)] == ["a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $10",
        "costs $5",
        "$7 and $9",
        "from $5-$10 each",
        "5$ and 6$",
        "costs 5$, or 6$",
        "$ x $",
        "a $x",
        "$",
        "$$",
        "US$5, A$6",
        "it is $3.50 (was $4)",
    ],
)
def test_money_stays_as_typed(text: str) -> None:
    """Dollars that are no math are left alone."""
    shown = page(text)

    assert shown.math is None
    assert words(text) == text


def test_escaped_dollars_are_dollars() -> None:
    """A backslash makes a dollar a dollar, outside of math and inside."""
    assert words(r"\$x\$") == "$x$"
    assert page(r"$x = \$5$").math.get_text() == "x=$5"


@pytest.mark.parametrize(
    ("text", "display"),
    [
        ("$x$ is 3", "inline"),
        ("so $x$.", "inline"),
        (r"so \(x\) holds", "inline"),
        ("$$x$$", "block"),
        ("so $$x$$ holds", "block"),
        (r"\[x\]", "block"),
        (r"so \[x\] holds", "block"),
        ("text\n$$\nx\n$$\nmore", "block"),
        ("text\n\\[\nx\n\\]\nmore", "block"),
        ("> $$\n> x\n> $$", "block"),
        ("- a\n\n  $$\n  x\n  $$", "block"),
        ("1. a\n   \\[\n   x\n   \\]", "block"),
        ("\\begin{align}\nx\n\\end{align}", "block"),
        ("\\begin{equation*}x\\end{equation*}", "block"),
        ("| a |\n|---|\n| $x$ |", "inline"),
    ],
)
def test_math_is_found_in_every_form(text: str, display: str) -> None:
    """All delimiters that Claude uses make one formula, inline or on its own."""
    (math,) = page(text).find_all("math")

    assert math.get_text().strip() == "x"
    assert math["display"] == display


def test_a_full_stop_behind_a_formula_stays() -> None:
    """`$$x$$.` keeps its full stop."""
    assert words("$$x$$.") == "x."


def test_lines_of_math_are_no_markdown() -> None:
    """A line of a formula that starts with a minus or an equals sign starts no list or heading."""
    shown = page("so\n\\[\na\n- b\n= c\n\\]")

    assert shown.ul is None
    assert shown.h1 is None
    assert shown.math.get_text() == "a−b=c"


@pytest.mark.parametrize("text", ["`$x$`", "```\n$x$\n```", "    $x$", r"\\[x\\]"])
def test_math_in_code_is_code(text: str) -> None:
    """Nothing is set inside code."""
    assert page(text).math is None


@pytest.mark.parametrize("text", ["$$\nx\n\nnever closed", "\\[ x\n\nand on", r"\( x"])
def test_unclosed_math_swallows_nothing(text: str) -> None:
    """A formula without an end stays text, and so does what follows."""
    shown = page(text)

    assert shown.math is None
    assert text.split()[-1] in shown.get_text()


def test_an_escaped_link_is_no_math() -> None:
    r"""`\[text\](address)` is an escaped link, and stays one."""
    assert words(r"\[text\](https://x.example)") == "[text](https://x.example)"


@pytest.mark.parametrize("name", ["align", "aligned", "align*", "split", "eqnarray"])
def test_aligned_equations_are_a_table(name: str) -> None:
    """Environments that line up at `&` become two columns, right and left."""
    math = page(rf"$$\begin{{{name}}} a &= b \\ c &= d \end{{{name}}}$$").math

    sides = [cell["style"] for cell in math.find_all("mtd")]
    assert sides == ["text-align:right", "text-align:left"] * 2


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"\arg\max_x f", "argmaxxf"),
        (r"\begin{equation}\label{eq:1} x \end{equation}", "x"),
        (r"\begin{gather} x \\ y \end{gather}", "xy"),
        (r"\text{a < b}", "a\xa0<\xa0b"),
        (r"a < b \& c", "a<b&c"),
        (r"\mathbb{R}", "ℝ"),
    ],
)
def test_common_latex_is_set(tex: str, text: str) -> None:
    """What Claude writes and the converter lacks, or escapes twice, comes out as it should."""
    assert page(f"$${tex}$$").math.get_text() == text


def test_what_browsers_do_not_draw_is_drawn_by_style() -> None:
    """A cancelled term looks cancelled, and a boxed one boxed (`menclose` left MathML Core)."""
    shown = page(r"$\cancel{x}\boxed{y}$")

    assert shown.menclose is None
    assert "linear-gradient" in shown.find("mrow", style=True)["style"]


@pytest.mark.parametrize(
    "tex",
    [
        r"\href{https://x.example}{x}",
        r"\unicode[x;background:url(https://x.example)]{65}",
        r"\unicode{x41}",
        r"\mmlToken{mi}{x}",
        r"\def\x{\x\x}\x",
        r"\newcommand{\x}{y}\x",
        r"\require{html}x",
        r"\class{a}{x}",
        r"\style{color:red}{x}",
        r"\cssId{a}{x}",
        r"\url{https://x.example}",
        r"\includegraphics{x.png}",
        r"\htmlClass{a}{x}",
        r"\hr\label{a}ef{https://x.example}{x}",
        r"\unknowncommand{x}",
        r"\frac{a",
        r"x^2^3",
        r"\left( x",
        r"\begin{matrix} x",
        "",
        "{" * 2_000,
        r"\sqrt{" * 500 + "x" + "}" * 500,
        r"\sqrt" * 700 + "x",
        "x" * (MAX_TEX_CHARS + 1),
    ],
)
def test_a_refused_formula_shows_its_source(tex: str) -> None:
    """What links, styles, defines, is unknown, broken, deep or long is inert code."""
    assert to_mathml(tex, display=False) is None
    if tex:
        shown = page(f"${tex}$")
        assert shown.math is None
        assert shown.code.get_text() == tex


def test_no_attribute_of_a_formula_is_large_or_coloured() -> None:
    """Lengths have two digits at most, and colours are left out, so nothing hides the page."""
    tex = r"\hspace{9999em}\color{white}{x}\raise{999em}{y}\rule{99em}{99em}\Huge{z}"
    values = [v for tag in page(f"${tex}$").math.find_all(True) for v in tag.attrs.values()]

    assert not [value for value in values if "999" in value or "white" in value or "black" in value]


@given(st.text(st.sampled_from(r"\{}[]()^_&$%'<>abfrcsqtx12 "), max_size=60))
def test_any_tex_is_set_or_refused(tex: str) -> None:
    """The converter's own errors never come through, and its output is one element."""
    math = to_mathml(tex, display=True)

    assert math is None or (math.startswith("<math") and math.count("<math") == 1)
