"""Grouped tables as their groups, and windows that nothing was computed of."""

from __future__ import annotations

import pytest

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, Limits
from segmind_jupyter.errors import ContentError

pd = pytest.importorskip("pandas")


@pytest.fixture
def frame():
    """Three days in two cities."""
    days = pd.date_range("2025-01-01", periods=3)
    return pd.DataFrame({"city": ["Oslo", "Rome", "Oslo"], "n": [1, 2, 1]}, index=days)


def only(obj, **options):
    """The one part of an object that the user calls g."""
    (part,) = to_parts(obj, name="g", **options)
    return part


@pytest.mark.parametrize(
    ("group", "text"),
    [
        (
            lambda frame: frame.groupby("city"),
            "g: DataFrameGroupBy by city: 2 groups, 1 to 2 rows each, of a DataFrame of 3 rows: "
            "city, n\nRows of each group: {'Oslo': 2, 'Rome': 1}",
        ),
        (
            lambda frame: frame.groupby("city")["n"],
            "g: SeriesGroupBy by city: 2 groups, 1 to 2 rows each, of a Series of 3 rows: n\n"
            "Rows of each group: {'Oslo': 2, 'Rome': 1}",
        ),
        (
            lambda frame: frame.groupby(["city", "n"], as_index=False),
            "g: DataFrameGroupBy by city, n: 2 groups, 1 to 2 rows each, of a DataFrame of 3 "
            "rows: city, n\nRows of each group: {('Oslo', 1): 2, ('Rome', 2): 1}",
        ),
        (
            lambda frame: frame.groupby(lambda day: day.year),
            "g: DataFrameGroupBy by unnamed: 1 group, 3 rows each, of a DataFrame of 3 rows: "
            "city, n\nRows of each group: {2025: 3}",
        ),
        (
            lambda frame: frame[:0].groupby("city"),
            "g: DataFrameGroupBy by city: 0 groups of a DataFrame of 0 rows: city, n\n"
            "Rows of each group: {}",
        ),
    ],
)
def test_a_grouped_table_is_its_keys_and_the_sizes_of_its_groups(frame, group, text):
    """Its repr is an address."""
    assert only(group(frame)).text == text


def test_many_groups_stay_within_the_budget():
    """The first are shown, and all are counted."""
    groups = pd.DataFrame({"k": range(5_000)}).groupby("k")
    part = only(groups, limits=Limits(table_tokens=200))
    assert "5,000 groups, 1 row each" in part.text
    assert part.about == "DataFrameGroupBy, 5,000 groups"
    assert len(part.text) <= 200 * CHARS_PER_TOKEN


@pytest.mark.parametrize(
    "window",
    [
        lambda frame: frame["n"].resample("D"),
        lambda frame: frame["n"].rolling(2),
        lambda frame: frame["n"].expanding(),
        lambda frame: frame["n"].ewm(1),
        lambda frame: frame.groupby("city").rolling(2),
        lambda frame: frame.groupby("city").resample("D"),
    ],
)
def test_a_window_is_refused_with_the_step_to_take(frame, window):
    """It holds nothing yet; alone, and in a container."""
    with pytest.raises(ContentError, match=r"`g`: A \w+ has no values .*`result = g\.mean\(\)`"):
        only(window(frame))
    with pytest.raises(ContentError, match=r"`g\['w'\]`: A \w+ has no values"):
        only({"w": window(frame)})


def test_what_polars_groups_is_refused_too(frame):
    """With its own step."""
    polars = pytest.importorskip("polars")
    table = polars.DataFrame({"city": ["Oslo"], "n": [1]})
    for grouped in (table.group_by("city"), table.lazy().group_by("city")):
        with pytest.raises(ContentError, match=r"`result = g\.agg\(\.\.\.\)`"):
            only(grouped)
