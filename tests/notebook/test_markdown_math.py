"""Math in replies: where it is found, how it is set, and what is refused."""

from __future__ import annotations

from bs4 import BeautifulSoup, Tag
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.notebook.display.markdown import body_html
from segmind_jupyter.notebook.display.math import MAX_TEX_CHARS, to_mathml
from segmind_jupyter.notebook.display.sanitize import is_math_value
from segmind_jupyter.notebook.display.styles import framed


def page(text: str) -> BeautifulSoup:
    return BeautifulSoup(framed(body_html(text)), "html.parser")


def words(text: str) -> str:
    return " ".join(page(text).get_text().split())


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


def test_lines_of_math_are_no_markdown():
    """A line of a formula with a minus or an equals sign before it is no list or heading."""
    shown = page("so\n\\[\na\n- b\n= c\n\\]")
    assert shown.ul is None
    assert drawn(shown.math) == "a−b=c"


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


def test_what_browsers_do_not_draw_is_drawn_by_style():
    """A cancelled term looks cancelled, and a boxed one boxed (`menclose` left MathML Core)."""
    shown = page(r"$\cancel{x}\boxed{y}$")
    assert shown.menclose is None
    assert "linear-gradient" in shown.find("mrow", style=True)["style"]


REFUSED = (
    r"\href{https://x.example}{x}", r"\unicode[x;background:url(https://x.example)]{65}",
    r"\unicode{x41}", r"\mmlToken{mi}{x}", r"\def\x{\x\x}\x", r"\newcommand{\x}{y}\x",
    r"\require{html}x", r"\class{a}{x}", r"\style{color:red}{x}", r"\cssId{a}{x}",
    r"\url{https://x.example}", r"\includegraphics{x.png}", r"\htmlClass{a}{x}",
    r"\hr\label{a}ef{https://x.example}{x}", r"\unknowncommand{x}", r"\frac{a", r"x^2^3",
    r"\left( x", r"\begin{matrix} x", "{" * 2_000, r"\sqrt{" * 500 + "x" + "}" * 500,
    r"\sqrt" * 700 + "x", "x" * (MAX_TEX_CHARS + 1),
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
