"""Frames, series and indexes in words: what is said, what is left out, and what is not touched."""

from __future__ import annotations

import datetime
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.parts import CHARS_PER_TOKEN, STANDARD, Limits
from segmind_jupyter.content.tables.summary import (
    summarize_frame,
    summarize_index,
    summarize_series,
)


@pytest.fixture
def sales():
    """A table of 1,200 days, with three missing scores."""
    frame = pd.DataFrame(
        {
            "day": pd.date_range("2024-01-01", periods=1_200),
            "city": ["Paris", "Rome", "Paris", "Oslo"] * 300,
            "score": np.arange(1_200) / 8,
            "sold": np.arange(1_200) * 10,
        }
    )
    frame.loc[3:5, "score"] = np.nan
    return frame


def objects(*values):
    """A column of Python objects."""
    return pd.Series(values, dtype=object)


def lines(text, start, count):
    """The line that equals `start`, and those after it."""
    rows = text.splitlines()
    return rows[rows.index(start) : rows.index(start) + count]


def test_a_small_frame_is_sent_whole():
    """Name, shape, columns and all rows, aligned, with nothing left out."""
    words = pd.Series(["a", None, "c"], dtype=object)
    frame = pd.DataFrame({"n": [1, 20, 3], "word": words, "x": [0.1 + 0.2, 2, 3]})
    part = summarize_frame(frame, name="df")
    assert part.text == (
        "df: DataFrame, 3 rows × 3 columns\n"
        "Columns:\n"
        "- n (int64): 1 to 20, mean 8\n"
        "- word (object): 1 missing; 2 distinct\n"
        "- x (float64): 0.3 to 3, mean 1.7667\n"
        "Rows:\n"
        "    n  word    x\n"
        "0   1  a     0.3\n"
        "1  20  None    2\n"
        "2   3  c       3"
    )
    assert part.about == "DataFrame 3×3"
    assert not part.inline


def test_a_long_frame_shows_its_ends_and_says_what_is_between(sales):
    """Ten rows from each end; the note counts the others from one."""
    text = summarize_frame(sales, name="sales").text
    assert text.startswith("sales: DataFrame, 1,200 rows × 4 columns\n")
    assert text.endswith("[rows 11-1,190 of 1,200 not shown]")
    first, *_ = (row for row in text.splitlines() if row.startswith("0 "))
    assert first.split() == ["0", "2024-01-01", "Paris", "0", "0"]
    assert text.splitlines()[-2].split() == ["1199", "2027-04-14", "Oslo", "149.875", "11990"]
    assert "…" in text.splitlines()
    assert not any(row.startswith(("10 ", "1189 ")) for row in text.splitlines())


def test_columns_are_described_by_type_missing_values_and_range(sales):
    """Numbers by range and mean, dates by their range, words by the commonest values."""
    text = summarize_frame(sales).text
    assert "- score (float64): 3 missing; 0 to 149.875, mean 75.124" in text
    assert "- sold (int64): 0 to 11990, mean 5995" in text
    assert ": 2024-01-01 to 2027-04-14" in text
    assert "): 3 distinct: Paris ×600, Rome ×300, Oslo ×300" in text


@pytest.mark.parametrize(
    ("series", "fact"),
    [
        (pd.Series([5, 5]), "int64): always 5"),
        (pd.Series([np.nan, np.nan]), "float64): all 2 missing"),
        (pd.Series([True, False, True]), "bool): 2 distinct: True ×2, False ×1"),
        (pd.Series([1, None], dtype="Int64"), "Int64): 1 missing; always 1"),
        (pd.Series([True, None], dtype="boolean"), "boolean): 1 missing; 1 distinct"),
        (pd.Series(["a", "b", "a"], dtype="category"), "category): 2 distinct: a ×2, b ×1"),
        (pd.Series(pd.Categorical(["a"], ["a", "z"])), "category): 1 distinct"),
        (pd.Series(["x"] * 9 + list("abcd")), "5 distinct: x ×9, a ×1, b ×1, …"),
        (
            pd.Series(pd.to_datetime(["2024-01-01 10:00"]).tz_localize("Europe/Oslo")),
            "Europe/Oslo]): always 2024-01-01 10:00:00+01:00",
        ),
        (pd.Series(pd.to_timedelta([1, 2], unit="D")), "]): 1 days to 2 days"),
        (
            pd.Series(pd.period_range("2024-01", periods=2, freq="M")),
            "period[M]): 2024-01 to 2024-02",
        ),
        (pd.Series([1e9 + 0.5, 12.3456789]), "float64): 12.34568 to 1000000000.5"),
        (pd.Series([np.inf, 1]), "float64): 1 to inf"),
        (pd.Series([1 + 1j]), "complex128): 1 distinct"),
        (pd.Series([0, 0, 1], dtype="Sparse[int64]"), "Sparse[int64, 0]): 0 to 1"),
        (pd.Series([60_000] * 9 + [0], dtype="float16"), "float16): 0 to 60000"),
        (pd.Series(pd.Categorical(["b"], ["b", "a"], ordered=True)), "category, ordered b < a)"),
        (objects(datetime.date(2024, 1, 1), None), "object): 1 missing; holds date; always 2024-"),
        (objects(Decimal("1.5"), Decimal(2)), "object): holds Decimal; 1.5 to 2"),
        (objects(1, "a", 2.5, "a", None), "1 missing; holds str, int, float; 3 distinct: a ×2"),
        (objects([1], [2]), "object): holds list\n"),
        (pd.Series(["x" * 50, "y"]), "2 distinct; up to 50 characters"),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pd.Series) else "",
)
def test_every_type_is_described_by_what_it_offers(series, fact):
    """Pandas' own methods give the facts; what a type does not offer is left out."""
    assert fact in summarize_series(series).text + "\n"


def test_a_wide_frame_shows_the_outer_columns():
    """A thousand columns do not fit: the first and the last stay, and the note says which not."""
    frame = pd.DataFrame(np.zeros((50, 1_000)))
    text = summarize_frame(frame).text
    assert len(text) <= STANDARD.table_tokens * CHARS_PER_TOKEN
    assert "- 0 (float64)" in text
    assert "- 999 (float64)" in text
    assert "- 500 (float64)" not in text
    hidden, _, rest = text.rpartition("; ")[2].partition(" of 1,000 columns not shown (")
    first, last = (int(n.replace(",", "")) for n in rest.rstrip(")]").split("-"))
    assert int(hidden.replace(",", "")) == last - first + 1
    assert f"- {first - 2} (float64)" in text
    assert f"- {first - 1} (float64)" not in text
    assert f"- {last} (float64)" in text


def test_long_cells_are_cut_and_said_to_be():
    """One long text does not push the rows out."""
    frame = pd.DataFrame({"review": ["long " * 100] * 40, "n": range(40)})
    text = summarize_frame(frame).text
    assert "long long long long long long long long…" in text
    assert text.endswith("cells ending in … are cut]")
    assert len(text.splitlines()) > 40


def test_newlines_and_tabs_in_cells_and_names_are_escaped():
    """A row stays on its line."""
    frame = pd.DataFrame({"a\nb": ["x\ny\tz\r", ""]})
    text = summarize_frame(frame).text
    assert "x\\ny\\tz\\r" in text
    assert "a\\nb" in text
    assert text.splitlines()[-1].split() == ["1", "''"]


def test_cells_that_cannot_be_written_are_named():
    """A raising repr, arrays, lists and huge values inside cells do no harm."""

    class Broken:
        def __repr__(self):
            raise ValueError

    cells = [Broken(), [1, 2], {"a": 1}, np.arange(3), b"x", None, pd.NaT, pd.NA, "y" * 10**6]
    cells += [pd.DataFrame({"a": [1, 2]}), np.zeros((2, 2)), b"z" * 10**7, list(range(10**6))]
    text = summarize_frame(pd.DataFrame({"cell": pd.Series(cells, dtype=object)})).text
    for written in ("<Broken, whose repr raised ValueError>", "[1, 2]", "{'a': 1}", "NaT", "<NA>"):
        assert written in text
    assert "array([0, 1, 2])" in text
    assert "<DataFrame 2×1>" in text
    assert "<array 2×2 float64>" in text
    assert "b'x'" in text


def test_values_that_refuse_to_be_hashed_or_compared_do_no_harm():
    """Whatever pandas makes of them, the table is described."""

    class Hostile:
        def __hash__(self):
            raise RuntimeError

        __eq__ = __hash__

    text = summarize_frame(pd.DataFrame({"x": [Hostile(), Hostile()]})).text
    assert "- x (object)" in text
    assert "1  <" in text


def test_a_wide_frame_names_the_columns_that_it_does_not_describe():
    """What is asked about may be one of them; as many are named as fit."""
    frame = pd.DataFrame(np.zeros((50, 120)), columns=[f"sensor_{n}" for n in range(120)])
    text = summarize_frame(frame).text
    for n in range(120):
        assert f"sensor_{n}" in text
    (named,) = (line for line in text.splitlines() if line.startswith("… sensor_"))
    assert named.count("sensor_") + text.count("\n- sensor_") == 120
    wider = pd.DataFrame(np.zeros((50, 2_000)), columns=[f"sensor_{n}" for n in range(2_000)])
    assert ", …\n- sensor_" in summarize_frame(wider).text


def test_row_labels_of_a_long_frame_are_described():
    """Its ends do not show the range of an index that is in no order."""
    days = pd.date_range("2024-01-01", periods=1_000, name="day")
    frame = pd.DataFrame({"x": range(1_000)}, index=days[500:].append(days[:500]))
    text = summarize_frame(frame).text
    assert "Row labels:\n- day (datetime64[" in text
    assert "]): 2024-01-01 to 2026-09-26\nColumns:" in text
    assert "Row labels:" not in summarize_frame(frame.head(3)).text


def test_long_columns_of_texts_are_counted_at_fixed_distances():
    """The line says in how many rows, and the same frame gives the same text."""
    frame = pd.DataFrame({"word": ["a", "b", "c"] * 100_000, "n": range(300_000)})
    text = summarize_frame(frame).text
    assert "): in one of every 3 rows: 1 distinct: a ×100,000\n" in text
    assert "- n (int64): 0 to 299999" in text
    assert summarize_frame(frame).text == text


def test_very_long_columns_are_sampled_for_what_is_missing():
    """Three million objects are not all looked at."""
    words = pd.Series(np.full(3_000_000, None, dtype=object))
    assert "in one of every 30 rows: all 100,000 missing" in summarize_series(words).text


@pytest.mark.parametrize(
    ("arrow", "values", "fact"),
    [
        ("int64", [1, None, 3], "int64[pyarrow]): 1 missing; 1 to 3, mean 2"),
        ("string", ["a", "a", None], "1 missing; 1 distinct: a ×2"),
        ("date32", [datetime.date(2024, 1, 1), datetime.date(2024, 2, 1)], "2024-01-01 to 2024-02"),
        ("bool_", [True, False, True], "2 distinct: True ×2, False ×1"),
    ],
)
def test_columns_of_arrow_are_described_as_others(arrow, values, fact):
    """pandas calls many of its types objects."""
    pa = pytest.importorskip("pyarrow")
    series = pd.Series(values, dtype=pd.ArrowDtype(getattr(pa, arrow)()))
    assert fact in summarize_series(series).text


def test_row_labels_of_several_levels_are_shown_as_columns():
    """Each level of a MultiIndex stands under its name."""
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["group", None])
    text = summarize_frame(pd.DataFrame({"x": range(4)}, index=index)).text
    rows = lines(text, "Rows:", 6)
    assert rows[1].split() == ["group", "x"]
    assert rows[4].split() == ["b", "1", "2"]


def test_columns_of_several_levels_are_named_as_python_reaches_them():
    """The tuple that selects a column is its name; named levels are told."""
    columns = pd.MultiIndex.from_tuples([("score", "mean"), ("score", 2)], names=["what", "how"])
    text = summarize_frame(pd.DataFrame([[1, 2]], columns=columns)).text
    assert "Columns (what, how):\n- ('score', 'mean') (int64)" in text
    assert "- ('score', 2) (int64): always 2" in text


def test_duplicate_and_odd_column_names_are_kept_apart():
    """Columns are read by position, so equal names do not matter."""
    frame = pd.DataFrame([[1, 2.5, "x", 4]], columns=["a", "a", None, 7])
    text = summarize_frame(frame).text
    assert "- a (int64): always 1\n- a (float64): always 2.5\n" in text
    assert "- 7 (int64): always 4" in text


@pytest.mark.parametrize(
    ("frame", "heading"),
    [
        (pd.DataFrame(), "DataFrame, 0 rows × 0 columns"),
        (pd.DataFrame(columns=["a"]), "DataFrame, 0 rows × 1 column\nColumns:\n- a (object)"),
        (pd.DataFrame(index=["r"]), "DataFrame, 1 row × 0 columns\nRows:\n\nr"),
        (
            pd.DataFrame(index=pd.MultiIndex.from_tuples([], names=["a", "b"])),
            "DataFrame, 0 rows × 0",
        ),
    ],
)
def test_an_empty_frame_says_that_it_is_empty(frame, heading):
    """No rows, no columns, or neither."""
    assert summarize_frame(frame).text.startswith(heading)


def test_a_series_is_a_table_of_one_column():
    """With its own name, or without one."""
    named = summarize_series(pd.Series([1, 2], name="price"), name="s")
    assert "s: Series, 2 values\nColumns:\n- price (int64): 1 to 2, mean 1.5\nRows:" in named.text
    assert named.about == "Series 2 int64"
    assert "- values (int64)" in summarize_series(pd.Series([1])).text


def test_an_index_lists_its_labels():
    """A short index is listed; of a long one the labels that fit."""
    part = summarize_index(pd.Index(["a", "b"]), name="i")
    assert part.text.splitlines()[1] == "['a', 'b']"
    assert part.about == "Index 2"
    long = summarize_index(pd.RangeIndex(10_000_000)).text
    assert long.startswith("RangeIndex, 10,000,000 labels, int64\n[\n 0, 1, 2,")
    assert long.endswith(" of 10,000,000 not shown]")
    levels = summarize_index(pd.MultiIndex.from_tuples([("a", 1)]))
    assert "[('a', 1)]" in levels.text


def test_the_users_display_options_do_not_matter(sales):
    """The summary is the same whatever `pd.set_option` says, and the options stay."""
    before = summarize_frame(sales)
    options = ("display.max_rows", 1, "display.max_columns", 1, "display.precision", 1)
    with pd.option_context(*options, "display.max_colwidth", 3, "display.min_rows", 1):
        assert summarize_frame(sales) == before
        assert pd.get_option("display.precision") == 1


def test_the_frame_is_not_changed(sales):
    """Reading leaves values, labels, types and attributes as they were."""
    copy = sales.copy(deep=True)
    summarize_frame(sales)
    pd.testing.assert_frame_equal(sales, copy)


def test_a_subclass_is_named_by_its_own_name():
    """A GeoDataFrame, say, is a frame with a name of its own."""

    class Cohort(pd.DataFrame):
        pass

    part = summarize_frame(Cohort({"a": [1]}))
    assert part.text.startswith("Cohort, 1 row")
    assert part.about == "Cohort 1×1"


def test_a_surrogate_in_a_cell_can_be_encoded():
    """Broken text from a broken file does not stop the request."""
    part = summarize_frame(pd.DataFrame({"a": pd.Series(["\ud800"], dtype=object)}))
    assert part.text.encode()


def test_millions_of_rows_are_read_in_place():
    """A long frame takes no memory but masks: no copy and no sort of all of it."""
    import tracemalloc

    n_rows = 2_000_000
    words = np.full(n_rows, "word", dtype=object)
    frame = pd.DataFrame({"x": np.arange(n_rows, dtype="f8"), "word": words}, copy=False)
    tracemalloc.start()
    try:
        text = summarize_frame(frame).text
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "rows 11-1,999,990 of 2,000,000 not shown" in text
    assert "- x (float64): 0 to 1999999" in text
    assert peak_bytes < 4 * n_rows  # a frame of such floats alone is 8 bytes a row


@pytest.mark.parametrize("tokens", [0, 1, 20, 50, 100, 400])
def test_any_budget_is_kept(sales, tokens):
    """A small budget leaves the heading and a note; the note itself is the only exception."""
    text = summarize_frame(sales, limits=Limits(table_tokens=tokens)).text
    assert len(text) <= max(tokens * CHARS_PER_TOKEN, 72)


cells = {
    "int64": st.integers(-(2**60), 2**60),
    "float64": st.floats(),
    "bool": st.booleans(),
    "datetime64[ns]": st.datetimes(
        min_value=pd.Timestamp("1700-01-01").to_pydatetime(),
        max_value=pd.Timestamp("2200-01-01").to_pydatetime(),
    ),
    "category": st.sampled_from(["a", "b"]),
    "Int64": st.integers(0, 9) | st.none(),
    "object": st.none() | st.text(max_size=300) | st.binary() | st.lists(st.integers()),
}


@st.composite
def frames(draw):
    """Frames of up to 60 rows and 30 columns of mixed types, with any names, some twice."""
    n_rows = draw(st.integers(0, 60))
    names = draw(st.lists(st.text(max_size=100) | st.integers() | st.none(), max_size=30))
    columns = []
    for _ in names:
        dtype = draw(st.sampled_from(sorted(cells)))
        few = draw(st.lists(cells[dtype], min_size=1, max_size=4))
        columns.append(pd.Series([few[n % len(few)] for n in range(n_rows)], dtype=dtype))
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(n_rows))
    frame.columns = pd.Index(names, dtype=object)
    return frame


@given(frame=frames(), tokens=st.integers(60, 2_000))
def test_a_frame_of_any_content_stays_inside_the_budget(frame, tokens):
    """Random types, names and values: never an error, never more than the budget."""
    part = summarize_frame(frame, limits=Limits(table_tokens=tokens), name="df")
    assert part.tokens <= tokens
    assert part.text.startswith(f"df: DataFrame, {len(frame)} row")
    assert part.text.encode()


def test_pandas_is_not_imported_by_the_module():
    """Who names a frame has imported pandas already; nobody else pays for it."""
    import subprocess

    code = "import sys, segmind_jupyter.content.tables.summary; print('pandas' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_a_million_columns_are_not_all_looked_at():
    """Only the names that fit are made."""
    looked_at = []

    class Label:
        def __repr__(self) -> str:
            looked_at.append(self)
            return "label"

    wide = pd.DataFrame(np.zeros((2, 20_000)), columns=[Label() for _ in range(20_000)])
    text = summarize_frame(wide).text
    assert "of 20,000 columns not shown" in text
    assert len(looked_at) < 20_000


def test_labels_of_several_levels_read_as_python_writes_them():
    """The numbers in them are no NumPy calls."""
    columns = pd.MultiIndex.from_product([["a"], [1, 2]])
    assert (
        "- ('a', 2) (int64): always 1"
        in summarize_frame(pd.DataFrame([[0, 1]], columns=columns)).text
    )


def test_infinities_of_both_signs_warn_of_nothing():
    """They have a range and no mean."""
    frame = pd.DataFrame({"x": [np.inf, -np.inf, np.nan]})
    assert "- x (float64): 1 missing; -inf to inf\n" in summarize_frame(frame).text
