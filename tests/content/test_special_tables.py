"""GeoPandas, sparse matrices, xarray and networks in words."""

from __future__ import annotations

import re

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
        "Geometry centre: x 1 to 3, y 1 to 3; CRS WGS 84 / Pseudo-Mercator (EPSG:3857), in metres",
        "Geometry geometry: x 7 to 7.5, y 50 to 50.5; CRS WGS 84 (EPSG:4326), in degrees",
    ]
    assert part.about == "GeoDataFrame 3×3"
    assert "): 1 missing; 1 distinct: Polygon ×2\n" in part.text
    assert "POINT (1 1)" in part.text
    assert "POLYGON" not in part.text
    assert towns.equals(before)
    assert str(towns.dtypes["geometry"]) == "geometry"
    text = text_of(towns.geometry, "outlines")
    assert text.startswith("outlines: GeoSeries, 3 values\nGeometry geometry: x 7 to")
    empty = geopandas.GeoDataFrame({"n": []}, geometry=[])
    assert "Geometry geometry: no CRS" in text_of(empty)


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
            assert part.left_out.startswith("none of 2 values; `.toarray()`")
    assert text_of(sp.csr_array((1_000, 1_000))).endswith("the others are zero")


class TestXarray:
    """What is said of arrays and datasets, and what is never loaded."""

    @pytest.fixture
    def air(self):
        """Ten days of 20 x 30, rising from 0 in the north-west corner to 599."""
        xr = pytest.importorskip("xarray")
        field = np.arange(600.0).reshape(20, 30)
        return xr.DataArray(
            np.stack([field + day for day in range(10)]),
            dims=("time", "lat", "lon"),
            coords={
                "time": pd.date_range("2024-01-01", periods=10),
                "lat": np.linspace(90, -5, 20),
            },
            name="air",
            attrs={"units": "K", "long_name": "temperature"},
        )

    def test_an_array_is_told_by_its_axes_and_its_range_a_dataset_by_its_variables(self, air):
        """As xarray writes coordinates and variables."""
        text = text_of(air[0], "t")
        assert text.startswith("t: DataArray air, lat 20 × lon 30, float64\nCoordinates:\n")
        assert "2024-01-01\nAttributes: {'units': 'K', 'long_name': 'temperature'}\n" in text
        assert "\nmin 0, max 599, mean 299.5\n" in text
        assert "6 of 600 NaN" in text_of(air[0].where(air[0] > 5.5))
        part = part_of(air.to_dataset(), "ds")
        assert part.text.startswith("ds: <xarray.Dataset>")
        assert "    air      (time, lat, lon) float64 " in part.text
        assert part.about == "Dataset of 1 variable"

    def test_neither_a_graph_nor_a_file_is_read(self, air, tmp_path):
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


class TestNetworks:
    """Networks of networkx as text: what is said of them, and how far they are listed."""

    def test_all_graphs_of_networkx_are_written(self):
        """Size, kind, degrees, attributes, nodes and edges."""
        networkx = pytest.importorskip("networkx")
        graph = networkx.DiGraph(name="demo")
        graph.add_edge("a", "b", weight=2)
        graph.add_edge("b", "c")
        graph.add_node("alone")
        part = part_of(graph, "g")
        assert part.text.splitlines() == [
            "g: networkx DiGraph, 4 nodes, 2 edges, directed",
            "Attributes: {'name': 'demo'}",
            "Degree: 0 to 2, mean 1; highest: b (2), a (1), c (1), alone (0)",
            "Nodes: ['a', 'b', 'c', 'alone']",
            "Edges: [('a', 'b', {'weight': 2}), ('b', 'c', {})]",
        ]
        assert part.about == "networkx DiGraph, 4 nodes, 2 edges"
        graph = networkx.MultiGraph([(1, 2)])
        graph.add_node(1, club="x")
        assert text_of(graph).endswith("Nodes: [(1, {'club': 'x'}), (2, {})]\nEdges: [(1, 2)]")
        assert text_of(networkx.Graph()) == "networkx Graph, 0 nodes, 0 edges, undirected"

    def test_a_large_network_is_listed_as_far_as_it_fits(self):
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
