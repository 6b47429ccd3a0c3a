"""Tables of every library in words: what is said, what is left out, and what is not touched."""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import STANDARD, Limits
from segmind_jupyter.content.tables import cell, ranged

try:
    import polars as pl
except ImportError:
    pl = None

needs_polars = pytest.mark.skipif(pl is None, reason="polars is not installed")


def part_of(obj, name=None, **limits):
    """The one part of an object."""
    (part,) = to_parts(obj, name=name, limits=Limits(**limits))
    return part


def text_of(obj, name=None, **limits):
    """The text of an object."""
    return part_of(obj, name, **limits).text


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


def test_a_small_frame_is_sent_whole():
    """Name, shape, columns and all rows, aligned, with nothing left out."""
    frame = pd.DataFrame({"n": [1, 20, 3], "word": objects("a", None, "c"), "x": [0.1 + 0.2, 2, 3]})
    part = part_of(frame, "df")
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
    assert (part.about, part.inline, part.left_out) == ("DataFrame 3×3", False, "")


def test_a_table_of_arrow_is_read_in_place():
    """Its types are Arrow's."""
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"n": [1, None, 3], "x": [1.5, float("nan"), None], "l": [[1], [2, 3], None]})
    text = text_of(table, "t")
    assert text.startswith("t: Table, pyarrow, 3 rows × 3 columns\nColumns:\n")
    assert "- n (int64): 1 missing; 1 to 3, mean 2\n" in text
    assert "- x (double): 1 missing; 1 NaN; always 1.5\n" in text
    assert text.splitlines()[-1].split() == ["2", "3", "None", "None"]
    column = pd.Series([datetime.date(2024, 1, 1), None], dtype=pd.ArrowDtype(pa.date32()))
    assert "1 missing; always 2024-01-01" in text_of(column)


def test_a_long_frame_shows_its_ends_and_says_what_is_between(sales):
    """Ten rows from each end; columns by type, missing values, range or commonest values."""
    part = part_of(sales, "sales")
    rows = part.text.splitlines()
    assert rows[0] == "sales: DataFrame, 1,200 rows × 4 columns"
    assert rows[-1] == "[rows 11-1,190 of 1,200 not shown]"
    assert part.left_out == "20 of 1,200 rows"
    labels = [row.split()[0] for row in rows[rows.index("Rows:") + 2 : -1]]
    assert labels == [*map(str, range(10)), "…", *map(str, range(1_190, 1_200))]
    assert rows[-2].split() == ["1199", "2027-04-14", "Oslo", "149.875", "11990"]
    assert "- score (float64): 3 missing; 0 to 149.875, mean 75.124" in part.text
    assert "- sold (int64): 0 to 11990, mean 5995" in part.text
    assert ": 2024-01-01 to 2027-04-14" in part.text
    assert "): 3 distinct: Paris ×600, Rome ×300, Oslo ×300" in part.text


def test_every_type_of_pandas_is_described_by_what_it_offers():
    """What a type does not offer is left out."""
    oslo = pd.to_datetime(["2024-01-01 10:00"]).tz_localize("Europe/Oslo")
    for series, fact in [
        (pd.Series([np.nan, np.nan]), "float64): all 2 missing"),
        (pd.Series([True, False, True]), "bool): 2 distinct: True ×2, False ×1"),
        (pd.Series([1, None], dtype="Int64"), "Int64): 1 missing; always 1"),
        (pd.Series(["a", "b", "a"], dtype="category"), "category): 2 distinct: a ×2, b ×1"),
        (pd.Series(["x"] * 9 + list("abcd")), "5 distinct: x ×9, a ×1, b ×1, …"),
        (pd.Series(oslo), "Europe/Oslo]): always 2024-01-01 10:00:00+01:00"),
        (pd.Series(pd.to_timedelta([1, 2], unit="D")), "]): 1 days to 2 days"),
        (pd.Series(pd.period_range("2024-01", periods=2, freq="M")), "[M]): 2024-01 to 2024-02"),
        (pd.Series([np.inf, -np.inf, np.nan]), "float64): 1 missing; -inf to inf\n"),
        (pd.Series([60_000] * 9 + [0], dtype="float16"), "float16): 0 to 60000"),
        (objects(datetime.date(2024, 1, 1), None), "object): 1 missing; holds date; always 2024-"),
        (objects(Decimal("1.5"), Decimal(2)), "object): holds Decimal; 1.5 to 2"),
        (objects(1, "a", 2.5, "a", None), "1 missing; holds str, int, float; 3 distinct: a ×2"),
        (objects(1, "a", 2.5, b"", (), "a"), "holds str, int, float, bytes, …"),
        (objects([1], [2]), "object): holds list\n"),
        (pd.Series(["x" * 50, "y"]), "2 distinct; up to 50 characters"),
    ]:
        assert fact in text_of(series) + "\n"


@needs_polars
def test_every_type_of_polars_is_described_by_what_it_offers():
    """Missing values, NaN apart from them, ranges, lengths and counts."""
    for values, dtype, fact in [
        ([1.5, float("nan"), None], None, "- s (Float64): 1 missing; 1 NaN; always 1.5"),
        ([None, None], None, "(Null): all 2 missing"),
        ([True, None, True], None, "(Boolean): 1 missing; 1 distinct: True ×2"),
        (["b", "a", "b"], "Categorical", "(Categorical): 2 distinct: b ×2, a ×1"),
        ([datetime.date(2024, 1, 1), datetime.date(2024, 3, 1)], None, "2024-01-01 to 2024-03-01"),
        ([Decimal("1.50"), Decimal(2)], None, "1.50 to 2.00, mean 1.75"),
        ([[1, 2], [3]], None, "(List(Int64)): length 1 to 2, mean 1.5"),
        ([{"a": 1}], None, "(Struct({'a': Int64}))\n"),
        ([object, 1], "Object", "(Object): holds type, int"),
    ]:
        series = pl.Series("s", values, dtype=dtype and getattr(pl, dtype))
        assert fact in text_of(series), fact


@pytest.mark.parametrize("library", [pd, pytest.param(pl, marks=needs_polars)])
def test_always_means_equal_and_close_numbers_keep_their_digits(library):
    """Places on a street differ in the eighth digit; the mean lies between the ends."""
    text = text_of(library.DataFrame({"lon": [-122.41941550, -122.41941612]}))
    assert ": -122.41941612 to -122.4194155, mean -122.41941581\n" in text
    assert "-122.419416" in text.splitlines()[-1]
    assert ": always -122.419415\n" in text_of(library.DataFrame({"x": [-122.4194155] * 2}))
    assert "always" not in ranged(0.1 + 0.2, 0.3)
    assert ranged(20_240_101, 20_240_102, 20_240_101.5).endswith("mean 20240101.5")
    assert ranged(Decimal("1." + "0" * 70 + "1"), Decimal("1." + "0" * 70 + "2")).count(" to ") == 1


def test_floats_have_the_digits_that_pandas_shows():
    """Seven significant ones or six behind the point; none of a large one is lost."""
    for value, text in [
        (122.41941612, "122.419416"), (0.1234567891, "0.1234568"), (1e9 + 0.5, "1000000000.5"),
        (12345678901234567.0, "1.2345678901234568e+16"), (-0.0, "-0"), (1.1, "1.1"), (3.0, "3"),
        (1e-9, "1e-09"), (float("inf"), "inf"), (123456.0625, "123456.0625"),
    ]:  # fmt: skip
        assert cell(value, max_chars=40) == text


def test_a_wide_frame_shows_the_outer_columns_and_names_the_others():
    """What is asked about may be one of them; the note says which are not described."""
    frame = pd.DataFrame(np.zeros((50, 120)), columns=[f"sensor_{n}" for n in range(120)])
    part = part_of(frame)
    assert part.tokens <= STANDARD.table_tokens
    described = [int(n) for n in re.findall(r"^- sensor_(\d+) ", part.text, re.MULTILINE)]
    (named,) = (line for line in part.text.splitlines() if line.startswith("… sensor_"))
    hidden = [int(n) for n in re.findall(r"sensor_(\d+)", named)]
    assert sorted(described + hidden) == list(range(120))
    span = f"({hidden[0] + 1}-{hidden[-1] + 1})"
    assert f"; {len(hidden)} of 120 columns not shown {span}" in part.text
    assert part.left_out.endswith(f" of 50 rows, {len(described)} of 120 columns")
    wider = pd.DataFrame(np.zeros((50, 2_000)), columns=[f"sensor_{n}" for n in range(2_000)])
    assert "…\n- sensor_" in text_of(wider)


def test_long_cells_are_cut_and_said_to_be():
    """One long text does not push the rows out."""
    text = text_of(pd.DataFrame({"review": ["long " * 100] * 40, "n": range(40)}))
    assert text.count("long long long long long long long long…") == 40
    assert text.endswith("cells ending in … are cut]")
    if pl:  # a million numbers in a cell: its row stays on its line
        text = text_of(pl.DataFrame({"l": [list(range(1_000_000))]}))
        assert "[0, 1, 2, 3, " in text
        assert len(text) < 1_000
        assert text.endswith("cells ending in … are cut]")


def test_newlines_and_tabs_in_cells_and_names_are_escaped():
    """A row stays on its line; a lone surrogate can be encoded."""
    text = text_of(pd.DataFrame({"a\nb": pd.Series(["x\ny\tz\r", "\ud800", ""], dtype=object)}))
    assert "x\\ny\\tz\\r" in text
    assert "a\\nb" in text
    assert text.splitlines()[-1].split() == ["2", "''"]
    assert text.encode()


def test_cells_that_cannot_be_written_are_named():
    """A raising repr, values that refuse, arrays, lists and huge values in cells do no harm."""

    class Broken:
        def __repr__(self):
            raise ValueError

    class Hostile:
        def __hash__(self):
            raise RuntimeError

        __eq__ = __hash__

    values = [Broken(), [1, 2], {"a": 1}, np.arange(3), b"x", None, pd.NaT, pd.NA, "y" * 10**6]
    values += [pd.DataFrame({"a": [1, 2]}), np.zeros((2, 2)), b"z" * 10**7, list(range(10**6))]
    text = text_of(pd.DataFrame({"cell": pd.Series(values, dtype=object)}))
    for written in (
        "<Broken, whose repr raised ValueError>", "[1, 2]", "{'a': 1}", "NaT", "<NA>",
        "array([0, 1, 2])", "<DataFrame 2×1>", "<ndarray 2×2>", "b'x'",
    ):  # fmt: skip
        assert written in text
    text = text_of(pd.DataFrame({"x": [Hostile(), Hostile()]}))
    assert "- x (object)" in text
    assert "1  <" in text


def test_labels_of_several_levels_stand_under_their_names():
    """Levels of rows are columns; the tuple that selects a column is its name."""
    index = pd.MultiIndex.from_product([["a", "b"], [1, 2]], names=["group", None])
    rows = text_of(pd.DataFrame({"x": range(4)}, index=index)).splitlines()[-5:]
    assert rows[0].split() == ["group", "x"]
    assert rows[3].split() == ["b", "1", "2"]
    columns = pd.MultiIndex.from_tuples([("score", "mean"), ("score", 2)], names=["what", "how"])
    text = text_of(pd.DataFrame([[1, 2]], columns=columns))
    assert "Columns:\n- ('score', 'mean') (int64): always 1\n- ('score', 2) (int64)" in text


def test_a_series_and_an_index_are_tables_of_one_column():
    """With their own names, or without one; a subclass of a frame has its own too."""
    named = part_of(pd.Series([1, 2], name="price"), "s")
    assert "s: Series, 2 values\nColumns:\n- price (int64): 1 to 2, mean 1.5\nRows:" in named.text
    assert named.about == "Series 2"
    if pl:
        text = text_of(pl.Series([1]), "s")
        assert text.startswith("s: Series, polars, 1 value\nColumns:\n- values (Int64): always 1")
    part = part_of(pd.Index(["a", "b"], name="k"), "i")
    assert part.text.startswith("i: Index, 2 values\nColumns:\n")
    assert part.text.endswith("Rows:\n   k\n0  a\n1  b")
    assert part_of(pd.RangeIndex(10**6)).left_out == "20 of 1,000,000 rows"
    assert text_of(pd.MultiIndex.from_tuples([("a", 1)])).endswith("\n0  a  1")
    part = part_of(type("Cohort", (pd.DataFrame,), {})({"a": [1]}))
    assert part.text.startswith("Cohort, 1 row")


def test_neither_options_nor_the_frame_matter(sales):
    """The summary is the same whatever `pd.set_option` says; nothing of the user's is changed."""
    before, copy = text_of(sales), sales.copy(deep=True)
    with pd.option_context("display.max_rows", 1, "display.precision", 1, "display.min_rows", 1):
        assert text_of(sales) == before
    pd.testing.assert_frame_equal(sales, copy)


def test_long_columns_are_looked_at_in_fixed_places():
    """Texts in so many rows, and the line says in how many; others in all of them."""
    for library in filter(None, (pd, pl)):
        text = text_of(library.DataFrame({"word": ["a", "b", "c"] * 100_000}))
        assert "): in one of every 3 rows: 1 distinct: a ×100,000\n" in text
    assert "(bool): 1 distinct: True ×300,000\n" in text_of(pd.Series([True] * 300_000))
    assert "(int64): 0 to 299999" in text_of(pd.Series(range(300_000)))


@needs_polars
def test_neither_pandas_nor_pyarrow_nor_numpy_is_needed():
    """A notebook with polars alone can ask about its frames."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pandas', 'pyarrow', 'numpy']))\n"
        "import polars as pl\n"
        "from segmind_jupyter.content.convert import to_blocks\n"
        "frame = pl.DataFrame({'n': [1, 2], 'w': ['a', None], 'l': [[1], [2, 3]]})\n"
        "assert '1 to 2, mean 1.5' in to_blocks(frame)[0]['text']\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_outlines_are_summed_up_and_not_dumped():
    """As their types, with bounds and CRS; points are short, and stay; the frame does too."""
    geopandas, shapely = pytest.importorskip("geopandas"), pytest.importorskip("shapely")
    outlines = [shapely.box(7, 50, 7.5, 50.5), None, shapely.Polygon()]
    points = geopandas.points_from_xy([1, 2, 3], [1, 2, 3])
    columns = {"name": ["Bonn", "Ur", "Nil"], "centre": geopandas.GeoSeries(points, crs=3857)}
    towns = geopandas.GeoDataFrame(columns, geometry=outlines, crs=4326)
    before = towns.copy()
    part = part_of(towns, "towns")
    assert part.text.splitlines()[:3] == [
        "towns: GeoDataFrame, 3 rows × 3 columns",
        "Geometry centre: x 1 to 3, y 1 to 3, CRS EPSG:3857",
        "Geometry geometry: x 7 to 7.5, y 50 to 50.5, CRS EPSG:4326",
    ]
    assert "): 1 missing; 1 distinct: Polygon ×2\n" in part.text
    assert ("POINT (1 1)" in part.text, "POLYGON" in part.text) == (True, False)
    assert towns.equals(before)
    text = text_of(towns.geometry, "outlines")
    assert text.startswith("outlines: GeoSeries, 3 values\nGeometry geometry: x 7 to")
    empty = geopandas.GeoDataFrame({"n": []}, geometry=[])
    assert "Geometry geometry: CRS unknown" in text_of(empty)


def test_sparse_arrays_of_every_format_are_described_alike():
    """Shape, type, density and range; a million by a million stays sparse."""
    sp = pytest.importorskip("scipy.sparse")
    places = ([0, 999_999], [5, 999_999])
    for form in ("coo", "csr", "dok"):
        for kind in ("array", "matrix"):
            made = getattr(sp, f"coo_{kind}")(([4.0, -2.0], places), shape=(10**6, 10**6))
            part = part_of(made.asformat(form), "m")
            assert part.text.startswith(f"m: {form}_{kind}, shape (1000000, 1000000), float64; ")
            assert "; 2 values stored (2e-12 of all)" in part.text
            assert "\nmin -2, max 4" in part.text
            assert part.left_out.startswith("none of 2 values (a slice's")
    assert text_of(sp.csr_array((1_000, 1_000))).endswith("the others are zero")


@pytest.fixture
def air():
    """Two days of 20 x 30, rising from 0 in the north-west corner."""
    xr = pytest.importorskip("xarray")
    coords = {"time": pd.date_range("2024-01-01", periods=2), "lat": np.linspace(90, -5, 20)}
    field, dims = np.arange(1_200.0).reshape(2, 20, 30), ("time", "lat", "lon")
    return xr.DataArray(field, coords, dims, name="air", attrs={"units": "K"})


def test_an_array_is_told_by_its_axes_and_its_range_a_dataset_by_its_variables(air):
    """As xarray writes coordinates and variables."""
    text = text_of(air[0], "t")
    assert text.startswith("t: DataArray air, lat 20 × lon 30, float64\nCoordinates:\n")
    assert "2024-01-01\nAttributes: {'units': 'K'}\n" in text
    assert "\nmin 0, max 599, mean 299.5\n" in text
    assert "6 of 600 NaN" in text_of(air[0].where(air[0] > 5.5))
    part = part_of(air.to_dataset(), "ds")
    assert part.text.startswith("ds: <xarray.Dataset>")
    assert "    air      (time, lat, lon) float64 " in part.text
    assert part.about == "Dataset of 1 variable"
    many = air.to_dataset().assign({f"copy{n}": air for n in range(40)})
    assert "    copy20   (time, lat, lon) float64 " in text_of(many)


def test_neither_a_graph_nor_a_file_is_read(air, tmp_path):
    """What is not in memory stays where it is."""
    xr = pytest.importorskip("xarray")
    dask_array = pytest.importorskip("dask.array")

    def fail(block):
        raise AssertionError("computed")

    lazy = air.copy(data=dask_array.map_blocks(fail, dask_array.zeros(air.shape), dtype=float))
    assert "dask.array<" in text_of(lazy.to_dataset())
    assert text_of(lazy[0]).endswith("name what its .compute() gives]")
    pytest.importorskip("scipy")
    air.to_netcdf(tmp_path / "air.nc", engine="scipy")
    with xr.open_dataset(tmp_path / "air.nc", engine="scipy") as dataset:
        assert "air      (time, lat, lon) float64 " in text_of(dataset)
        assert "not in memory" in text_of(dataset.air[0])
        assert not dataset.air.variable._in_memory


def test_all_graphs_of_networkx_are_written():
    """Size, kind, degrees, attributes, nodes and edges."""
    networkx = pytest.importorskip("networkx")
    graph = networkx.DiGraph([("a", "b", {"weight": 2}), ("b", "c")], name="demo")
    graph.add_node("alone")
    part = part_of(graph, "g")
    assert part.text.splitlines() == [
        "g: networkx DiGraph, 4 nodes, 2 edges, directed",
        "Attributes: {'name': 'demo'}",
        "Degree: 0 to 2, mean 1; highest: b (2), a (1), c (1), alone (0)",
        "Nodes: ['a', 'b', 'c', 'alone']",
        "Edges: [('a', 'b', {'weight': 2}), ('b', 'c', {})]",
    ]
    graph = networkx.MultiGraph([(1, 2)])
    graph.add_node(1, club="x")
    assert text_of(graph).endswith("Nodes: [(1, {'club': 'x'}), (2, {})]\nEdges: [(1, 2)]")
    assert text_of(networkx.Graph()) == "networkx Graph, 0 nodes, 0 edges, undirected"


def test_a_large_network_is_listed_as_far_as_it_fits():
    """Edges keep most of the room, and the rest is counted."""
    networkx = pytest.importorskip("networkx")
    part = part_of(networkx.cycle_graph(20_000))
    assert 4_000 < len(part.text) <= 6_000
    nodes, edges = re.findall(r"(\d+) of 20,000 \w+", part.left_out)
    assert min(int(nodes), int(edges)) > 200
    assert part.text.endswith(f"{edges} of 20,000 items shown]")
    graph = networkx.Graph([(f"{n}" * 90, "x", {"note": "y" * 500}) for n in range(50)])
    for tokens in (20, 60, 300):
        assert len(text_of(graph, table_tokens=tokens)) <= 4 * tokens


PANDAS_CELLS = {
    "int64": st.integers(-(2**60), 2**60),
    "float64": st.floats(),
    "bool": st.booleans(),
    "datetime64[ns]": st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)),
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
        dtype = draw(st.sampled_from(sorted(PANDAS_CELLS)))
        few = draw(st.lists(PANDAS_CELLS[dtype], min_size=1, max_size=4))
        columns.append(pd.Series([few[n % len(few)] for n in range(n_rows)], dtype=dtype))
    frame = pd.concat(columns, axis=1) if columns else pd.DataFrame(index=range(n_rows))
    frame.columns = pd.Index(names, dtype=object)
    return frame


@given(frame=frames(), tokens=st.integers(60, 2_000))
def test_a_frame_of_any_content_stays_inside_the_budget(frame, tokens):
    """Random types, names and values: never an error or a warning, never more than the budget."""
    part = part_of(frame, "df", table_tokens=tokens)
    assert part.tokens <= tokens
    assert part.text.startswith("df: DataFrame, ")
    assert part.text.encode()
