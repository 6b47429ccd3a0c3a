"""polars' frames and series in words, and LazyFrames that are never run."""

from __future__ import annotations

import datetime
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Limits

pl = pytest.importorskip("polars")


def summary(obj, **limits):
    """The text of an object that the user calls df."""
    (part,) = to_parts(obj, name="df", limits=Limits(**limits))
    return part.text


def test_a_small_frame_is_sent_whole():
    """Name, shape, columns and all rows, numbered from zero."""
    frame = pl.DataFrame({"n": [1, 20, None], "word": ["a", "b", "a"]})
    assert summary(frame) == (
        "df: DataFrame, polars, 3 rows × 2 columns\n"
        "Columns:\n"
        "- n (Int64): 1 missing; 1 to 20, mean 10.5\n"
        "- word (String): 2 distinct: a ×2, b ×1\n"
        "Rows:\n"
        "      n  word\n"
        "0     1  a\n"
        "1    20  b\n"
        "2  None  a"
    )
    assert to_parts(frame)[0].about == "polars DataFrame 3×2"


@pytest.mark.parametrize(
    ("values", "dtype", "fact"),
    [
        ([1.5, float("nan"), None], None, "(Float64): 1 missing; 1 NaN; always 1.5"),
        ([float("nan")], None, "(Float64): 1 NaN"),
        ([None, None], None, "(Null): all 2 missing"),
        ([True, None, True], None, "(Boolean): 1 missing; 1 distinct: True ×2"),
        (["b", "a", "a", "b"], "Categorical", "(Categorical): 2 distinct: a ×2, b ×2"),
        ([datetime.date(2024, 1, 1), datetime.date(2024, 3, 1)], None, "2024-01-01 to 2024-03-01"),
        ([datetime.datetime(2024, 1, 1, 10)], None, "always 2024-01-01 10:00:00"),
        ([datetime.timedelta(hours=1)], None, "always 1:00:00"),
        ([Decimal("1.50"), Decimal(2)], None, "1.50 to 2.00, mean 1.75"),
        ([[1, 2], [3]], None, "(List(Int64)): length 1 to 2, mean 1.5"),
        ([{"a": 1}], None, "(Struct({'a': Int64}))"),
        ([object, 1], "Object", "(Object): holds type, int"),
        (["x" * 50], None, "1 distinct; up to 50 characters"),
        ([float("inf"), 1.0], None, "(Float64): 1 to inf"),
    ],
    ids=str,
)
def test_every_type_is_described_by_what_it_offers(values, dtype, fact):
    """Missing values, NaN apart from them, ranges, lengths and counts."""
    series = pl.Series("s", values, dtype=dtype and getattr(pl, dtype))
    assert f"- s {fact}" in summary(series) or fact in summary(series)


def test_a_long_frame_shows_its_ends_and_counts_a_sample():
    """Texts are counted at fixed distances, numbers in all rows, and the line says which."""
    n_rows = 300_000
    frame = pl.DataFrame({"n": range(n_rows), "word": ["a", "b", "c"] * (n_rows // 3)})
    text = summary(frame)
    assert "- n (Int64): 0 to 299999" in text
    assert "- word (String): in one of every 3 rows: 1 distinct: a ×100,000" in text
    assert text.endswith("[rows 11-299,990 of 300,000 not shown]")
    assert text.splitlines()[-2].split() == ["299999", "299999", "c"]


def test_the_same_frame_gives_the_same_text():
    """polars counts in threads, and leaves equal counts in any order."""
    frame = pl.DataFrame(
        {"c": pl.Series([f"v{n % 50}" for n in range(5_000)], dtype=pl.Categorical)}
    )
    assert len({summary(frame) for _ in range(20)}) == 1


def test_a_series_is_a_table_of_one_column():
    """With its own name, or without one."""
    assert "- price (Int64): 1 to 2, mean 1.5" in summary(pl.Series("price", [1, 2]))
    assert summary(pl.Series([1])).startswith("df: Series, polars, 1 value\nColumns:\n- values")


@pytest.mark.parametrize("frame", [pl.DataFrame(), pl.DataFrame({"a": []})])
def test_an_empty_frame_says_that_it_is_empty(frame):
    """No rows, and perhaps no columns."""
    assert summary(frame).startswith("df: DataFrame, polars, 0 rows × ")


def test_a_lazy_frame_is_described_and_not_run():
    """Its columns and its plan; a function in the plan is not called."""
    calls = []
    lazy = pl.LazyFrame({"n": [1, 2], "word": ["a", "b"]}).filter(pl.col("n") > 1)
    lazy = lazy.map_batches(lambda frame: calls.append(frame) or frame)
    text = summary(lazy)
    assert text.startswith("df: LazyFrame, polars, not collected: no rows are read\n2 columns:\n")
    assert "- n (Int64)\n- word (String)\nPlan, not optimized:\n" in text
    assert 'FILTER col("n") > 1' in text.replace("[(", "").replace(")]", "").replace("(1)", "1")
    assert calls == []


def test_a_lazy_frame_that_cannot_work_tells_why():
    """The question may well be what is wrong with it."""
    text = summary(pl.LazyFrame({"n": [1]}).select("m"))
    assert "The plan does not work: ColumnNotFoundError: unable to find column" in text


def test_a_scan_reads_no_rows(tmp_path):
    """Only the header of a file is looked at: a damaged row does no harm."""
    (tmp_path / "data.csv").write_text("a,b\n1,2\n" * 1)
    lazy = pl.scan_csv(tmp_path / "data.csv", schema={"a": pl.Int64, "b": pl.Int64})
    (tmp_path / "data.csv").write_text("a,b\nno,number\n")
    assert "- a (Int64)\n- b (Int64)" in summary(lazy)


def test_neither_pandas_nor_pyarrow_nor_numpy_is_needed():
    """A notebook with polars alone can ask about its frames."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pandas', 'pyarrow', 'numpy']))\n"
        "import polars as pl\n"
        "from segmind_jupyter.content.convert import to_blocks\n"
        "frame = pl.DataFrame({'n': [1, 2], 'w': ['a', None], 'l': [[1], [2, 3]]})\n"
        "for obj in (frame, frame['w'], frame.lazy()): to_blocks(obj)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_long_lists_in_cells_are_cut():
    """A cell holds a million numbers; the row stays on its line."""
    text = summary(pl.DataFrame({"l": [list(range(1_000_000))]}))
    assert "[0, 1, 2, 3, " in text
    assert len(text) < 1_000
    assert text.endswith("cells ending in … are cut]")


cells = {
    pl.Int64: st.integers(-(2**62), 2**62),
    pl.UInt8: st.integers(0, 255),
    pl.Float64: st.floats(),
    pl.Float32: st.floats(width=32),
    pl.String: st.text(max_size=300),
    pl.Boolean: st.booleans(),
    pl.Date: st.dates(),
    pl.Time: st.times(),
    pl.Datetime("us"): st.datetimes(),
    pl.Duration("us"): st.timedeltas(datetime.timedelta(-9_999), datetime.timedelta(9_999)),
    pl.Binary: st.binary(max_size=100),
    pl.Categorical: st.sampled_from(["a", "b"]),
    pl.List(pl.Int64): st.lists(st.integers(0, 9)),
    pl.Array(pl.Int8, 2): st.lists(st.integers(0, 9), min_size=2, max_size=2),
    pl.Struct({"a": pl.Int64}): st.fixed_dictionaries({"a": st.integers(0, 9)}),
}


@st.composite
def frames(draw):
    """Frames of up to 60 rows and 20 columns of mixed types, with any names."""
    n_rows = draw(st.integers(0, 60))
    names = draw(st.lists(st.text(max_size=80), max_size=20, unique=True))
    columns = []
    for name in names:
        dtype = draw(st.sampled_from(list(cells)))
        few = draw(st.lists(cells[dtype] | st.none(), min_size=1, max_size=4))
        columns.append(pl.Series(name, [few[n % len(few)] for n in range(n_rows)], dtype=dtype))
    return pl.DataFrame(columns)


@given(frame=frames(), tokens=st.integers(60, 2_000))
def test_a_frame_of_any_content_stays_inside_the_budget(frame, tokens):
    """Random types, names and values: never an error, never more than the budget."""
    text = summary(frame, table_tokens=tokens)
    assert len(text) <= 4 * tokens
    assert text.startswith(f"df: DataFrame, polars, {frame.height} row")
    assert text.encode()
