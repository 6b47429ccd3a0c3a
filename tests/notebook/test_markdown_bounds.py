"""Input made to be slow: each case ends (a blow-up would hang the suite) and loses no text."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup

from segmind_jupyter.notebook.display.markdown import MAX_HTML_CHARS, to_html

pytestmark = pytest.mark.heavy

PATHOLOGICAL = {
    "brackets": "[" * 40_000,
    "images": "![" * 15_000,
    "stars": "*" * 50_000,
    "emphasis": "*a _b **c " * 8_000,
    "backticks": "".join("`" * n + "a" for n in range(1, 400)),
    "angles": "<" * 100_000,
    "quotes": ">" * 100_000,
    "deep list": "- " * 40_000,
    "lazy quote": "> " * 20 + "a\n" * 20_000,
    "link openers": "[a](" * 25_000,
    "definitions": "[a]: <x>\n" * 10_000,
    "wide table": "|" + "a|" * 25_000 + "\n|" + "-|" * 24_000,
    "surplus cells": "|a|\n|-|\n" + "|b|c|\n" * 12_000,
    "tables": "|a|\n|-|\n|b|c|\n\n" * 5_000,
    "nested tables": "> " * 18 + "|a|\n" + ("> " * 18 + "|-|\n") + ("> " * 18 + "|b|c|\n") * 2_000,
    "one wide row": "|a|\n|-|\n" + "|b" * 45_000,
    "dollars": "$a " * 30_000,
    "shell": "$HOME/bin:$PATH" * 6_000,
    "display openers": "\\[\n" * 30_000,
    "parentheses": r"\(" * 50_000,
    "environments": "\\begin{align}\n" * 7_000,
    "formulas": r"$\frac{a}{b}$ " * 7_000,
    "primes": ("$" + "x'" * 1_900 + "$ ") * 20,
    "braces": ("$" + "{" * 1_900 + "x" + "}" * 1_900 + "$ ") * 20,
    "fences": "```python\nimport x\n```\n" * 4_000,
    "empty lines of C": "```c\n" + "\n" * 20_000 + "```",
    "C comment": "```c\n" + "//" * 9_000 + "\n```",
    "csharp": "```csharp\n" + "a\n" * 9_000 + "```",
    "overrides": "\u202e" * 50_000,
    "escapes": "\x1b[" * 50_000,
    "combining": "x" + "\u0301" * 100_000,
    "long": "word " * 100_000,
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_slow_input_ends_and_stays_readable(name: str) -> None:
    """Each pattern becomes a page of bounded size that still holds the last word."""
    page = to_html(PATHOLOGICAL[name] + "\n\n```\nthe last word")

    assert "the last word" in page
    assert len(page) < MAX_HTML_CHARS + 2_000_000


@pytest.mark.parametrize(
    "text",
    [
        "> " * 19 + "deep",
        "> " * 20 + "deep",
        "> " * 200 + "deep",
        "- " * 10 + "deep",
        "- " * 200 + "deep",
        "> - " * 50 + "deep",
        "**" * 3 + "[*_" * 100 + "deep",
        "[" * 200 + "deep" + "](https://x.example)" * 200,
    ],
)
def test_deep_nesting_drops_nothing(text: str) -> None:
    """What is nested too deeply for the parser is shown as typed, and not left out."""
    assert "deep" in to_html(text)


def test_a_page_that_would_bloat_the_notebook_is_shown_as_typed() -> None:
    """Few characters can ask for tens of thousands of table cells."""
    text = "|" + "a|" * 300 + "\n|" + "-|" * 300 + "\n" + "a\n" * 3_000

    assert len(to_html(text)) < 2 * len(text)


def test_math_beyond_the_budget_shows_its_source() -> None:
    """A reply of thousands of formulas sets the first ones and shows the others as code."""
    shown = BeautifulSoup(to_html(r"$\frac{a}{b}$ " * 5_000), "html.parser")

    assert len(shown.find_all("math")) > 1_000
    assert len(shown.find_all("code")) > 1_000
    assert len(shown.find_all("math")) + len(shown.find_all("code")) == 5_000
