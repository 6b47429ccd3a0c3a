"""Stylers, groupings, GeoPandas, sparse matrices, xarray and networks in words."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Limits


def part_of(obj, name=None, **limits):
    """The one part of an object."""
    (part,) = to_parts(obj, name=name, limits=Limits(**limits))
    return part


def text_of(obj, name=None, **limits):
    """The text of an object."""
    return part_of(obj, name, **limits).text


class TestGeo:
    """Outlines as types, bounds and a CRS; everything else as in any table."""

    @pytest.fixture
    def towns(self):
        """Three towns with outlines, one of them unknown and one nowhere."""
        geopandas, shapely = pytest.importorskip("geopandas"), pytest.importorskip("shapely")
        outlines = [shapely.box(7, 50, 7.5, 50.5), None, shapely.Polygon()]
        columns = {"name": ["Bonn", "Ur", "Nil"], "people": [330, 60, 0]}
        return geopandas.GeoDataFrame(columns, geometry=outlines, crs=4326)

    def test_outlines_are_summed_up_and_not_dumped(self, towns):
        """Types, what is missing or empty, bounds and CRS; the other columns as ever."""
        before = towns.copy()
        part = part_of(towns, "towns")
        first, geometry, *rest = part.text.splitlines()
        assert first == "towns: GeoDataFrame, 3 rows × 3 columns"
        assert geometry == (
            "Geometry geometry: 2 Polygon; 1 missing; 1 empty; x 7 to 7.5, y 50 to 50.5; "
            "CRS WGS 84 (EPSG:4326), in degrees"
        )
        assert part.about == "GeoDataFrame 3×3"
        assert rest == text_of(pd.DataFrame(towns[["name", "people"]])).splitlines()[1:]
        assert towns.equals(before)
        outlines = part_of(towns.geometry, "outlines")
        assert outlines.about == "GeoSeries 3"
        assert outlines.text.startswith("outlines: GeoSeries, 3 values\nGeometry geometry: 2 Pol")
        assert outlines.text.count("\n") == 1

    def test_each_geometry_column_is_described_and_points_stay(self, towns):
        """Points are short, and where something is may be the question."""
        geopandas = pytest.importorskip("geopandas")
        points = geopandas.points_from_xy([1, 2, 3], [1, 2, 3])
        towns["centre"] = geopandas.GeoSeries(points, crs="EPSG:3857")
        text = text_of(towns)
        assert "\nGeometry centre: 3 Point; x 1 to 3, y 1 to 3; CRS WGS 84 / Pseudo-Merc" in text
        assert "metres" in text
        assert "POINT (1 1)" in text
        assert "- n (int64)" in text_of(geopandas.GeoDataFrame({"n": [1]}))
        empty = geopandas.GeoDataFrame({"n": []}, geometry=[])
        assert "Geometry geometry: no geometries; no CRS" in text_of(empty)


class TestSparse:
    """SciPy's sparse arrays: what they hold, and that they stay sparse."""

    @pytest.fixture(autouse=True)
    def scipy_is_here(self):
        """Skip where it is not."""
        pytest.importorskip("scipy.sparse")

    def test_every_format_is_described_alike(self):
        """Shape, type, density, range, and entries by row and column."""
        import scipy.sparse as sp

        dense = np.zeros((200, 100))
        dense[3, 7], dense[150, 2], dense[3, 2] = 1.5, -2, 4
        for form in ("coo", "csr", "csc", "bsr", "dia", "dok", "lil"):
            for kind in ("array", "matrix"):
                text = text_of(getattr(sp, f"{form}_{kind}")(dense), "m")
                assert text.startswith(f"m: {form}_{kind}, shape (200, 100), float64; ")
                assert "\nmin -2, max 4" in text
                assert all(e in text for e in ("\n(3, 2): 4", "\n(3, 7): 1.5", "\n(150, 2): -2"))
        assert text_of(sp.csr_array(np.eye(2)), "m") == (
            "m: csr_array, shape (2, 2), float64; 2 values stored (0.5 of all), the others are "
            "zero\nmin 0, max 1, mean 0.5\n[[1. 0.]\n [0. 1.]]"
        )
        assert text_of(sp.csr_array((1_000, 1_000))).endswith("the others are zero")

    def test_large_ones_show_their_ends_and_are_never_dense(self):
        """A million by a million takes the memory of what it holds."""
        import scipy.sparse as sp

        part = part_of(sp.coo_array(np.ones((100, 30))))
        assert part.text.endswith("[2,980 of 3,000 entries not shown]")
        assert part.left_out == "20 of 3,000 entries"
        places = ([0, 999_999], [5, 999_999])
        matrix = sp.coo_array(([1.0, 2.0], places), shape=(10**6, 10**6)).tocsr()
        tracemalloc.start()
        try:
            text = text_of(matrix)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert "2 values stored (2e-12 of all)" in text
        assert "(999999, 999999): 2" in text
        assert peak_bytes < 20_000_000


class TestXarray:
    """What is said of arrays and datasets, what is drawn, and what is never loaded."""

    @pytest.fixture
    def air(self):
        """Ten days of 20 x 30, rising from 0 in the north-west corner to 599."""
        xr = pytest.importorskip("xarray")
        field = np.arange(600.0).reshape(20, 30)
        days = np.arange("2024-01-01", "2024-01-11", dtype="datetime64[D]")
        return xr.DataArray(
            np.stack([field + day for day in range(10)]),
            dims=("time", "lat", "lon"),
            coords={
                "time": days.astype("datetime64[ns]"),
                "lat": np.linspace(90, -5, 20),
                "lon": np.arange(30.0),
            },
            name="air",
            attrs={"units": "K", "long_name": "temperature"},
        )

    def test_a_field_is_told_by_its_axes_and_its_range(self, air):
        """With the values at its corners; its `.values` may go as a picture."""
        text = text_of(air[0], "t")
        assert text.startswith("t: DataArray air, lat 20 × lon 30, float64\nCoordinates:\n")
        assert "- time () datetime64[ns]: 2024-01-01\n" in text
        assert "- lat (lat) float64: 90 to -5\n" in text
        assert "Attributes:\n- units: K\n- long_name: temperature\n" in text
        assert "min 0, max 599, mean 299.5" in text
        assert "6 of 600 NaN" in text_of(air[0].where(air[0] > 5.5))

    def test_a_dataset_lists_coordinates_variables_and_attributes(self, air):
        """Each variable with its dimensions, range, meaning and unit; names of any kind."""
        xr = pytest.importorskip("xarray")
        dataset = air.to_dataset().assign(n=("lat", np.arange(20))).assign_attrs(title="x" * 500)
        part = part_of(dataset, "ds")
        assert part.text.startswith("ds: Dataset, time 10, lat 20, lon 30\nCoordinates:\n")
        variable = "- air (time, lat, lon) float64: min 0, max 608, mean 304; temperature; K\n"
        assert f"Variables:\n{variable}- n (lat) int64: min 0, max 19, mean 9.5\n" in part.text
        assert "- title: xxx" in part.text
        assert len(part.text) < 1_000
        assert part.about == "Dataset of 2 variables"
        stacked = text_of(air.stack(place=("lat", "lon")).to_dataset())
        assert "- place (place) object: (90.0, 0.0) to (-5.0, 29.0)" in stacked
        odd = text_of(xr.Dataset({1: ((2,), [3])}))
        assert odd == "Dataset, 2 1\nVariables:\n- 1 (2) int64: 3"

    def test_neither_a_graph_nor_a_file_is_read(self, air, tmp_path):
        """What is not in memory stays where it is."""
        xr = pytest.importorskip("xarray")
        dask_array = pytest.importorskip("dask.array")

        def fail(block):
            raise AssertionError("computed")

        lazy = air.copy(data=dask_array.map_blocks(fail, dask_array.zeros(air.shape), dtype=float))
        assert "- air (time, lat, lon) float64: not in memory" in text_of(lazy.to_dataset())
        assert text_of(lazy[0]).endswith(
            "run its .load(), or .compute(), and name what that gives]"
        )
        pytest.importorskip("scipy")
        air.to_netcdf(tmp_path / "air.nc", engine="scipy")
        with xr.open_dataset(tmp_path / "air.nc", engine="scipy") as dataset:
            assert "not in memory" in text_of(dataset)
            assert "not in memory" in text_of(dataset.air[0])
            assert not dataset.air.variable._in_memory


class TestNetworks:
    """Networks as text: what is said of them, how far they are listed, and DOT sources."""

    def test_all_graphs_of_networkx_are_written(self):
        """Size, kind, degrees, attributes, nodes and edges."""
        networkx = pytest.importorskip("networkx")
        graph = networkx.DiGraph(name="demo")
        graph.add_edge("a", "b", weight=2)
        graph.add_edge("b", "c")
        graph.add_node("alone", club="x")
        part = part_of(graph, "g")
        assert part.text.splitlines() == [
            "g: networkx DiGraph, 4 nodes, 2 edges, directed",
            "Attributes: {'name': 'demo'}",
            "Degree: 0 to 2, mean 1; highest: b (2), a (1), c (1), alone (0)",
            "Nodes: a, b, c, alone {'club': 'x'}",
            "Edges:",
            "a -> b {'weight': 2}",
            "b -> c",
        ]
        assert part.about == "networkx DiGraph, 4 nodes, 2 edges"
        for kind in ("Graph", "MultiGraph", "MultiDiGraph"):
            graph = getattr(networkx, kind)()
            graph.add_edge(1, 2, w=3)
            arrow = "->" if graph.is_directed() else "--"
            assert text_of(graph).endswith(f"Edges:\n1 {arrow} 2 {{'w': 3}}")
        assert text_of(networkx.Graph()) == "networkx Graph, 0 nodes, 0 edges, undirected"
        assert "2 nodes, 1 edge" in text_of(networkx.path_graph(5).subgraph([0, 1]))

    def test_a_large_network_is_listed_as_far_as_it_fits(self):
        """Edges keep most of the room, the rest is counted, and it is read no further."""
        networkx = pytest.importorskip("networkx")
        size = 20_000
        part = part_of(networkx.cycle_graph(size))
        assert len(part.text) <= 6_000
        shown = part.text.count(" -- ")
        assert 200 < shown < 1_000
        assert part.text.endswith(f"[edges {shown + 1:,}-{size:,} of {size:,} not shown]")
        assert part.left_out.endswith(f", {shown:,} of {size:,} edges")
        graph = networkx.Graph([(f"{n}" * 90, "x", {"note": "y" * 500}) for n in range(50)])
        for tokens in (20, 60, 300):
            assert len(text_of(graph, table_tokens=tokens)) <= 4 * tokens
