"""Geographic tables: outlines as types, bounds and a CRS; everything else as in any table."""

from __future__ import annotations

import pandas as pd
import pytest

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Limits

geopandas = pytest.importorskip("geopandas")
shapely = pytest.importorskip("shapely")


def square(x: float, y: float, side: float) -> object:
    return shapely.box(x, y, x + side, y + side)


@pytest.fixture
def towns():
    """Three towns with outlines, one of them unknown and one nowhere."""
    outlines = [square(7, 50, 0.5), None, shapely.Polygon()]
    return geopandas.GeoDataFrame(
        {"name": ["Bonn", "Ur", "Nil"], "people": [330, 60, 0]}, geometry=outlines, crs=4326
    )


def text_of(obj: object, **options: object) -> str:
    (part,) = to_parts(obj, **options)
    return part.text


def test_outlines_are_summed_up_and_not_dumped(towns):
    """Types, what is missing or empty, bounds and CRS; the other columns as ever."""
    (part,) = to_parts(towns, name="towns")
    first, geometry, *rest = part.text.splitlines()
    assert first == "towns: GeoDataFrame, 3 rows × 3 columns"
    assert geometry == (
        "Geometry geometry: 2 Polygon; 1 missing; 1 empty; x 7 to 7.5, y 50 to 50.5; "
        "CRS WGS 84 (EPSG:4326), in degrees"
    )
    assert part.about == "GeoDataFrame 3×3"
    plain = text_of(pd.DataFrame(towns[["name", "people"]]))
    assert rest == plain.splitlines()[1:]
    assert "POLYGON" not in part.text


def test_points_stay_as_they_are():
    """They are short, and where something is may be the question."""
    points = geopandas.points_from_xy([1, 2], [3, 4])
    text = text_of(geopandas.GeoDataFrame({"n": [1, 2]}, geometry=points))
    assert "Geometry geometry: 2 Point; x 1 to 2, y 3 to 4; no CRS" in text
    assert "POINT (1 3)" in text


def test_each_geometry_column_is_described(towns):
    """Also one that is not the active one."""
    towns["centre"] = geopandas.GeoSeries(
        geopandas.points_from_xy([1, 2, 3], [1, 2, 3]), crs="EPSG:3857"
    )
    text = text_of(towns)
    assert "\nGeometry centre: 3 Point; x 1 to 3, y 1 to 3; CRS WGS 84 / Pseudo-Mercator" in text
    assert "metres" in text


def test_a_series_of_outlines_is_one_line(towns):
    """A GeoSeries has nothing else."""
    (part,) = to_parts(towns.geometry, name="outlines")
    assert part.about == "GeoSeries 3"
    assert part.text.startswith("outlines: GeoSeries, 3 values\nGeometry geometry: 2 Polygon;")
    assert part.text.count("\n") == 1


def test_a_table_without_geometry_or_rows_is_a_table():
    """Nothing is asked of a geometry that is not there."""
    assert "- n (int64)" in text_of(geopandas.GeoDataFrame({"n": [1]}))
    empty = geopandas.GeoDataFrame({"n": []}, geometry=[])
    assert "Geometry geometry: no geometries; no CRS" in text_of(empty)


@pytest.mark.parametrize("tokens", [40, 300, 1_500])
def test_the_budget_holds(tokens):
    """Outlines of a thousand corners cost nothing."""
    outlines = [shapely.Point(n, 0).buffer(1, quad_segs=250) for n in range(100)]
    columns = {f"c{n}": range(100) for n in range(30)}
    frame = geopandas.GeoDataFrame(columns, geometry=outlines, crs=3857)
    assert len(text_of(frame, limits=Limits(table_tokens=tokens))) <= 4 * tokens


def test_the_table_stays_as_it_was(towns):
    """Its columns, its active geometry and its CRS."""
    before = towns.copy()
    text_of(towns)
    assert towns.equals(before)
    assert (towns.crs, towns.geometry.name) == (before.crs, before.geometry.name)


def test_a_single_geometry_is_written_and_not_drawn():
    """shapely displays an SVG of it, in which the coordinates are lost among the styles."""
    assert text_of(shapely.Point(1, 2)) == "POINT (1 2)"
    long = shapely.LineString([(n, n) for n in range(100_000)])
    assert len(text_of(long)) <= Limits().text_chars
