"""A pandas Styler as the table that it displays."""

from __future__ import annotations

import pandas as pd
import pytest

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Limits, Text
from segmind_jupyter.errors import ContentError

pytest.importorskip("jinja2")


@pytest.fixture
def frame() -> pd.DataFrame:
    """Two rows with a price, and a column that nobody should see."""
    prices = {"price": [1.239, None], "secret": ["xyzzy", "plugh"], "unit": ["kg", "l"]}
    return pd.DataFrame(prices, index=["tea", "milk"])


def text_of(styler: object, **options: object) -> str:
    (part,) = to_parts(styler, **options)
    assert isinstance(part, Text)
    return part.text


def test_cells_read_as_they_are_displayed(frame):
    """Formats, the sign for what is missing and the caption are those of the page."""
    styler = frame[["price", "unit"]].style.format(precision=1, na_rep="n/a")
    (part,) = to_parts(styler.set_caption("Prices\nof today"), name="pretty")
    assert part.text.splitlines() == [
        "pretty: Styler, 2 rows × 2 columns",
        r"Caption: Prices\nof today",
        "      price  unit",
        "tea   1.2    kg",
        "milk  n/a    l",
    ]
    assert part.about == "Styler 2×2"


def test_the_short_caption_of_a_pair_is_left_out(frame):
    """LaTeX takes two captions; the page shows the first."""
    assert "Caption: long\n" in text_of(frame.style.set_caption(("long", "short")))


def test_what_is_hidden_is_not_sent(frame):
    """Columns, rows and labels that the page hides stay in the notebook."""
    styler = frame.style.hide(axis="columns", subset=["secret"]).hide(axis="index", subset=["milk"])
    text = text_of(styler)
    assert "Styler, 1 row × 2 columns" in text
    assert not any(word in text for word in ("secret", "xyzzy", "plugh", "milk"))
    bare = text_of(frame[["unit"]].style.hide(axis="index").hide(axis="columns"))
    assert bare.splitlines()[1:] == ["kg", "l"]


def test_a_hidden_last_column_leaves_no_trace(frame):
    """pandas prints a separator for it."""
    styler = frame.style.hide(axis="columns", subset=["secret", "unit"]).format(precision=1)
    assert text_of(styler).splitlines()[1:] == ["      price", "tea   1.2", "milk  nan"]


def test_every_label_of_several_levels_is_written():
    """A page leaves repeated labels out; in text each row says where it belongs."""
    columns = pd.MultiIndex.from_product([["A", "B"], ["x", "y"]])
    index = pd.MultiIndex.from_tuples([("p", 1), ("p", 2)], names=["k", "n"])
    text = text_of(pd.DataFrame([[1, 2, 3, 4], [5, 6, 7, 8]], columns=columns, index=index).style)
    rows = [line.split() for line in text.splitlines()[1:]]
    assert rows[0] == ["A", "A", "B", "B"]
    assert rows[-2:] == [["p", "1", "1", "2", "3", "4"], ["p", "2", "5", "6", "7", "8"]]


@pytest.mark.parametrize("position", ["first", "last"])
def test_a_cell_of_several_lines_stays_one_cell(position):
    """Line breaks are written out, and no cell moves to another row."""
    cells = ["one\ntwo", "plain"]
    columns = {"a": cells, "b": [1, 2]} if position == "first" else {"b": [1, 2], "a": cells}
    lines = text_of(pd.DataFrame(columns).style).splitlines()
    assert len(lines) == 4
    assert r"one\ntwo" in lines[2]
    assert "plain" in lines[3]


def test_a_long_table_keeps_its_first_rows_and_what_was_appended():
    """Totals of `concat` stay; what is left out is counted."""
    frame = pd.DataFrame({"n": range(50_000)})
    text = text_of(frame.style.format("{:,}").concat(frame.agg(["sum"]).style))
    lines = text.splitlines()
    assert lines[0] == "Styler, 50,000 rows × 1 column"
    assert [line.split() for line in lines[1:4]] == [["n"], ["0", "0"], ["1", "1"]]
    shown = lines.index("…") - 2
    assert lines[-2].split() == ["sum", "1249975000"]
    assert lines[-1] == f"[rows {shown + 1:,}-50,000 of 50,000 not shown]"
    assert len(text) <= 6_000


def test_a_wide_table_keeps_its_first_columns():
    """A few rows of as many columns as fit; the others are counted."""
    frame = pd.DataFrame([range(3_000)] * 4)
    text = text_of(frame.style)
    *_, row, note = text.splitlines()
    shown = int(row.split()[-1]) + 1
    assert 20 < shown < 3_000
    assert note == f"[the last {3_000 - shown:,} of 3,000 columns not shown]"
    assert len(text) <= 6_000


@pytest.mark.parametrize("tokens", [30, 100, 400])
def test_the_budget_holds(tokens):
    """However little it is."""
    frame = pd.DataFrame([[f"cell {row} {n}" for n in range(40)] for row in range(40)])
    text = text_of(frame.style.set_caption("c" * 90), limits=Limits(table_tokens=tokens))
    assert len(text) <= 4 * tokens


def test_an_empty_table_is_its_labels(frame):
    """No rows, or no columns, are no fault."""
    assert text_of(frame.iloc[:0].style).splitlines()[1:] == ["  price  secret  unit"]
    assert text_of(pd.DataFrame().style).startswith("Styler, 0 rows × 0 columns")


def test_a_format_that_fails_is_the_users_to_mend(frame):
    """The error names the object and the cause."""

    def formatted(value):
        raise KeyError(value)

    with pytest.raises(ContentError, match=r"`pretty`: .*KeyError.*name its table: pretty.data"):
        to_parts(frame.style.format(formatted), name="pretty")


def test_the_styler_and_its_frame_stay_as_they_were(frame):
    """It displays the same afterwards."""
    styler = frame.style.format(precision=1).set_uuid("same")
    before, copy = styler.to_html(), frame.copy()
    text_of(styler)
    assert styler.to_html() == before
    pd.testing.assert_frame_equal(frame, copy)


def test_of_a_very_large_one_the_values_are_summarized(frame):
    """pandas would copy every format and compute every style before it printed the first cell."""
    calls = []
    large = pd.DataFrame({"seen": range(300_000), "secret": "xyzzy"}, index=[7] * 300_000)
    styler = large.style.map(lambda value: calls.append(value) or "").set_caption("Many")
    text = text_of(styler.hide(["secret"], axis="columns").hide(axis="index"), name="pretty")
    assert text.startswith("pretty: Styler, 300,000 rows × 1 column\nCaption: Many\n[too large")
    assert "- seen (int64): 0 to 299999, mean 150000" in text
    assert text.splitlines()[-2].split() == ["299999", "299999"]  # numbered anew
    assert "xyzzy" not in text
    assert not calls


def test_a_cell_with_the_separator_of_cells_is_refused():
    """What it displays could not be told apart."""
    with pytest.raises(ContentError, match="control character"):
        text_of(pd.DataFrame({"a": ["\x1f", "b"]}).style)
