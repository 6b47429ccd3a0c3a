"""Math in replies: where it is found, how it is set, and what is refused."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup, Tag
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.notebook.display.markdown import to_html
from segmind_jupyter.notebook.display.math import MAX_TEX_CHARS, to_mathml
from segmind_jupyter.notebook.display.sanitize import is_math_value


def page(text: str) -> BeautifulSoup:
    return BeautifulSoup(to_html(text), "html.parser")


def words(text: str) -> str:
    return " ".join(page(text).get_text().split())


def drawn(math: Tag) -> str:
    """What of a formula a browser draws: all but its source, which it hides."""
    pieces = (piece for piece in math.strings if piece.parent.name != "annotation")
    return "".join(pieces).strip()


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
        "Add $HOME/bin:$PATH to it",
        "cp $SRC/$DST",
        "edit $HOME/.config/$user now",
        "cp $a/${b}",
        "$line=$_;",
        "US$5M to A$6M",
    ],
)
def test_money_and_shell_stay_as_typed(text: str) -> None:
    """Dollars that are no math are left alone: of amounts, and before the names of variables."""
    shown = page(text)

    assert shown.math is None
    assert words(text) == text


@pytest.mark.parametrize(
    ("text", "behind"),
    [
        ("$n$th", "th"),
        ("$k$s", "s"),
        ("$k$-means", "-means"),
        ("$n$, $m$", ", $m$"),
        ("**$x$**", ""),
        ("$x$é", "é"),
    ],
)
def test_math_may_touch_what_follows(text: str, behind: str) -> None:
    """A formula may have an ending of one or two letters, punctuation or Markdown behind it."""
    math = page(text).math

    assert math.get_text() in {"n", "k", "x"}
    assert words(text).startswith(math.get_text() + behind.replace("$", ""))


def test_escaped_dollars_are_dollars() -> None:
    """A backslash makes a dollar a dollar, outside of math and inside."""
    assert words(r"\$x\$") == "$x$"
    assert drawn(page(r"$x = \$5$").math) == "x=$5"


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

    assert drawn(math) == "x"
    assert math["display"] == display


def test_a_full_stop_behind_a_formula_stays() -> None:
    """`$$x$$.` keeps its full stop."""
    assert drawn(page("$$x$$.").math) == "x."


def test_lines_of_math_are_no_markdown() -> None:
    """A line of a formula that starts with a minus or an equals sign starts no list or heading."""
    shown = page("so\n\\[\na\n- b\n= c\n\\]")

    assert shown.ul is None
    assert shown.h1 is None
    assert drawn(shown.math) == "a−b=c"


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
    assert drawn(page(f"$${tex}$$").math) == text


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
    """Long lengths and colours are left out, so that nothing hides the page."""
    tex = r"\hspace{9999em}\color{white}{x}\raise{999em}{y}\rule{99em}{99em}\Huge{z}"
    values = [v for tag in page(f"${tex}$").math.find_all(True) for v in tag.attrs.values()]

    assert not [value for value in values if "99" in value or "white" in value or "black" in value]


@pytest.mark.parametrize("length", ["10em", "0.5em", ".25em", "-.2em", "20ex", "160px", "120pt"])
def test_a_length_of_up_to_ten_em_stays(length: str) -> None:
    """Space as formulas use it is kept, in every unit."""
    assert is_math_value(length)


@pytest.mark.parametrize(
    "length", ["10.5em", "-99em", "21ex", "161px", "121pt", "1000em", "11", "1e9em", "٩em", "9cm"]
)
def test_a_longer_length_is_left_out(length: str) -> None:
    """More than that, and what is no plain length, is not kept."""
    assert not is_math_value(length)


def test_a_formula_cannot_blank_the_page() -> None:
    """A space of ten em is set, and of a larger one neither width nor height is left."""
    kept, dropped = page(r"$\rule{9em}{10em}\rule{99em}{11em}$").find_all("mspace")

    assert kept.attrs == {"width": "9em", "height": "10em"}
    assert dropped.attrs == {}


@pytest.mark.parametrize(
    ("tex", "words_alone"),
    [
        ("10^{-3}", "10−3 [10^{-3}]"),
        (r"\frac12", r"12 [\frac12]"),
        (r"\text{a < b & c}", r"a < b & c [\text{a < b & c}]"),
        ("x", "x"),
        ("a + b < 2", "a+b<2"),
    ],
)
def test_a_formula_without_its_tags_keeps_its_meaning(tex: str, words_alone: str) -> None:
    """Where MathML is dropped and its words stay, the source says what the letters do not."""
    assert words(f"so ${tex}$.") == f"so {words_alone}."


@pytest.mark.parametrize("display", [True, False])
def test_a_source_is_text_beside_the_formula(display: bool) -> None:
    """The annotation is the last child of `semantics`, which browsers hide, and holds text."""
    math = BeautifulSoup(to_mathml(r"\frac{a}{b}", display=display), "html.parser").math
    row, source = math.semantics.find_all(recursive=False)

    assert (row.name, row.get_text()) == ("mrow", "ab")
    assert source.attrs == {"encoding": "application/x-tex"}
    assert source.get_text() == r" [\frac{a}{b}]"
    assert source.find(True) is None


@pytest.mark.parametrize(
    "inside",
    [
        "</annotation><img src=x onerror=alert(1)>",
        "</annotation></semantics></math><script>alert(1)</script>",
        "<!--</annotation>--><svg onload=alert(1)>",
        "<annotation-xml encoding='text/html'><img src=x onerror=alert(1)>",
        "]]></mtext><style><!--</style><img src=x onerror=alert(1)>",
        "&lt;/annotation&gt;&lt;img src=x onerror=alert(1)&gt;",
    ],
)
def test_a_source_cannot_close_its_annotation(inside: str) -> None:
    """What looks like a tag in a formula is text in its source too."""
    shown = page(rf"$\text{{{inside}}}$")

    assert shown.find(["img", "script", "svg", "style", "annotation-xml"]) is None
    assert shown.annotation.get_text() == rf" [\text{{{inside}}}]"


def test_a_refused_command_is_in_no_annotation() -> None:
    """A hostile command in a part that is not drawn refuses the formula all the same."""
    shown = page(r"$\label{\unicode[x;background:url(https://x.example)]}x$")

    assert shown.math is None
    assert shown.code is not None


@given(st.text(st.sampled_from(r"\{}[]()^_&$%'<>abfrcsqtx12 "), max_size=60))
def test_any_tex_is_set_or_refused(tex: str) -> None:
    """The converter's own errors never come through, and its output is one element."""
    math = to_mathml(tex, display=True)

    assert math is None or (math.startswith("<math") and math.count("<math") == 1)
