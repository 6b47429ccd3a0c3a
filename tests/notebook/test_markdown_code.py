"""Code in replies: coloured where the language is known, plain where not, bounded in any case."""

from __future__ import annotations

import itertools

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.notebook.display.markdown import MAX_CODE_CHARS, to_coloured, to_html
from segmind_jupyter.notebook.display.styles import CODE

PYTHON = 'import os  # why\n\ndef f(x: int) -> str:\n    return f"{x}" + "<b>"\n'


COMPILED = ["c", "cpp", "csharp", "fortran", "go", "haskell", "java", "kotlin", "rust", "scala"]
SCRIPTED = ["bash", "julia", "lua", "matlab", "php", "powershell", "pycon", "python", "r", "ruby"]
WEB = ["css", "html", "javascript", "json", "sql", "swift", "toml", "typescript", "xml", "yaml"]
LANGUAGES = [*COMPILED, *SCRIPTED, *WEB, "diff", "docker", "ini", "latex", "makefile"]


def page(text: str) -> BeautifulSoup:
    return BeautifulSoup(to_html(text), "html.parser")


def test_python_is_coloured() -> None:
    """Keywords, comments and strings of a fenced block have a colour of the palette."""
    spans = page(f"```python\n{PYTHON}```").pre.find_all("span")

    styles = {span.get_text(): span["style"] for span in spans}
    assert styles["import"] == CODE["Keyword"]
    assert styles["# why"] == CODE["Comment"]
    assert styles['"<b>"'] == CODE["Literal.String"]


@pytest.mark.parametrize("info", ["python", "Python", "py", "python title=x", "ipython3"])
def test_the_first_word_behind_the_fence_is_the_language(info: str) -> None:
    """The language may be written in any case, and more may follow."""
    assert page(f"```{info}\nimport x\n```").pre.span is not None


@pytest.mark.parametrize("language", ["", "klingon", "javascript+php", "../x", "text", "brainfuck"])
def test_an_unknown_language_stays_plain(language: str) -> None:
    """A language that is not on the list is shown without colour, and whole."""
    shown = page(f"```{language}\nimport <x>\n```").pre

    assert shown.span is None
    assert shown.get_text() == "import <x>\n"


@pytest.mark.parametrize(
    "code",
    [
        "x = 1\n" * MAX_CODE_CHARS,
        "x" * 2_000,
        "\n" * 100,
        " \n\t\n" * 100 + "x",
    ],
    ids=["long", "one long line", "empty lines", "blank lines"],
)
def test_code_of_an_odd_shape_stays_plain(code: str) -> None:
    """Shapes on which lexers take time in the square of their size are not coloured."""
    assert to_coloured(code, language="c") is None


def test_a_slow_lexer_is_stopped() -> None:
    """Behind the deadline the block stays plain."""
    seconds = itertools.count()

    assert to_coloured(PYTHON, language="python", clock=lambda: float(next(seconds))) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_a_lexer_and_keeps_every_character(language: str) -> None:
    """Every name on the list is one that Pygments knows, and colouring loses nothing."""
    code = 'if (x < 1) { return "a & b"; } # é\n\n\tkey: [1, 2.5]\n'
    coloured = to_coloured(code, language=language, clock=lambda: 0.0)

    assert coloured is not None
    assert BeautifulSoup(f"<pre>{coloured}</pre>", "html.parser").get_text() == code


@given(st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), max_size=200))
def test_colouring_changes_no_text(code: str) -> None:
    """Without its tags, coloured code is the code, with a newline at its end."""
    coloured = to_coloured(code, language="python", clock=lambda: 0.0)

    if coloured is not None:
        text = BeautifulSoup(f"<pre>{coloured}</pre>", "html.parser").get_text()
        assert text == code + ("" if code.endswith("\n") else "\n")


def test_indented_and_unclosed_blocks_are_code() -> None:
    """Code without a fence, or with half of one, is shown as code."""
    assert page("    x < 1").pre.get_text() == "x < 1\n"
    assert page("```python\nx < 1").pre.get_text().strip() == "x < 1"
