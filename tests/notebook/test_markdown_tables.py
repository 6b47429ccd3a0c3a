"""Tables in replies that a parser would cut: what is typed is shown."""

from __future__ import annotations

import pytest
from bs4 import BeautifulSoup
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.notebook.display.markdown import to_html

UNION = "| op | meaning |\n|---|---|\n| `a | b` | union |\n| `a - b` | difference |\n"


def page(text: str) -> BeautifulSoup:
    return BeautifulSoup(to_html(text), "html.parser")


def test_a_table_with_a_surplus_cell_is_shown_as_typed() -> None:
    """A bar in code makes a cell too many, which GFM drops: such a table is a code block."""
    shown = page(f"before\n\n{UNION}\nafter *all*")

    assert shown.table is None
    assert shown.pre.get_text() == UNION
    assert shown.em.get_text() == "all"


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("> | a |\n> |---|\n> | b | c |\n> > d", "| a |\n|---|\n| b | c |\n"),
        ("- x\n\n  | a |\n  |---|\n  | b | c |\n- y", "| a |\n|---|\n| b | c |\n"),
        ("a |\n--|\nb | c\n", "a |\n--|\nb | c\n"),
        ("| a |\n|---|\n| b | <i> |\n", "| a |\n|---|\n| b | <i> |\n"),
    ],
)
def test_a_table_is_shown_as_typed_wherever_it_stands(text: str, typed: str) -> None:
    """In a quote or a list the block holds the table's lines alone, escaped."""
    shown = page(text)

    assert shown.table is None
    assert shown.pre.get_text() == typed


@pytest.mark.parametrize(
    "row",
    [
        "| 1 | 2 |",
        "| 1 |",
        "1 | 2",
        "| 1 | 2 | |",
        r"| `1 \| 2` | 3 |",
        r"| \\alpha | \a |",
        "| | |",
    ],
)
def test_a_table_that_loses_nothing_stays_a_table(row: str) -> None:
    """Missing and empty cells, escaped bars and backslashes are no reason to give a table up."""
    assert page(f"| a | b |\n|---|---|\n{row}").table is not None


rows = st.lists(st.sampled_from(["x1", "y2", "z3", "`", "|", "|", " ", "\\|"]), max_size=12)


@given(st.lists(rows.map("".join), min_size=1, max_size=4))
def test_no_cell_is_lost(lines: list[str]) -> None:
    """Whatever the rows are, every word of them is on the page as often as it was typed."""
    text = "| a | b |\n|---|---|\n" + "\n".join(f"w|{line}" for line in lines)
    shown = page(text).get_text()

    for word in ("x1", "y2", "z3"):
        assert shown.count(word) == text.count(word)
