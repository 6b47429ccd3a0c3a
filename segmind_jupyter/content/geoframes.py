"""A GeoDataFrame or GeoSeries as a table in which outlines stand as types, bounds and a CRS.

An outline of one country takes more text than the rest of the table; points stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from segmind_jupyter.content.cells import column_name
from segmind_jupyter.content.kinds import type_name
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, STANDARD, Limits, Text
from segmind_jupyter.content.tables import bounded, counted, heading, summarize_frame
from segmind_jupyter.content.text import as_text, one_line

#: Longest name of a coordinate reference system; some are given as a page of WKT.
_CRS_CHARS = 80

#: A shorter geometry, such as a point, reads as a word of a sentence.
_INLINE_CHARS = 80

#: The sides of the bounds that geopandas gives, by axis.
_AXES = {"x": (0, 2), "y": (1, 3)}


def summarize_geo_frame(frame: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a ``geopandas.GeoDataFrame``.

    Parameters
    ----------
    frame
        The table; it is read in place and not changed.
    limits
        `limits.table_tokens` bounds the summary.
    name
        What the user calls it.

    Returns
    -------
    Text
        For each geometry column its types, what is missing, its bounds and its CRS; then the
        other columns, and those of points, as `summarize_frame` has them.
    """
    rows, columns = frame.shape
    head = heading(frame, f"{counted(rows, 'row')} × {counted(columns, 'column')}", name)
    return bounded(
        _summary(frame, head, limits), about=f"{type_name(frame)} {rows}×{columns}", limits=limits
    )


def summarize_geo_series(
    series: Any, *, limits: Limits = STANDARD, name: str | None = None
) -> Text:
    """Summarize a ``geopandas.GeoSeries``; see `summarize_geo_frame`."""
    head = heading(series, counted(len(series), "value"), name)
    frame = series.to_frame("geometry" if series.name is None else series.name)
    about = f"{type_name(series)} {len(series)}"
    return bounded(_summary(frame, head, limits), about=about, limits=limits)


def describe_geometry(geometry: Any, *, limits: Limits = STANDARD) -> Text:
    """Write a single geometry of shapely as WKT, which says more than the SVG that it displays."""
    text = str(geometry)
    return as_text(text, limits=limits, noun=type_name(geometry), lines=len(text) > _INLINE_CHARS)


def _summary(frame: Any, head: str, limits: Limits) -> str:
    n_columns = frame.shape[1]
    geometries = {n: frame.iloc[:, n] for n in range(n_columns) if _is_geometry(frame, n)}
    described = (_described(col, column_name(frame.columns[n])) for n, col in geometries.items())
    lines = [head, *described]
    kept = [n for n in range(n_columns) if n not in geometries or _is_points(geometries[n])]
    if kept:
        lines.append(_rest(frame.iloc[:, kept], lines, limits))
    return "\n".join(lines)


def _is_geometry(frame: Any, position: int) -> bool:
    return str(frame.dtypes.iloc[position]) == "geometry"


def _is_points(column: Any) -> bool:
    return set(column.geom_type.dropna().unique()) <= {"Point"}


def _rest(columns: Any, lines: list[str], limits: Limits) -> str:
    """Summarize the other columns in what room there is."""
    used = sum(len(line) + 1 for line in lines) // CHARS_PER_TOKEN + 1
    narrower = replace(limits, table_tokens=max(0, limits.table_tokens - used))
    # The heading again would count other columns than the table has.
    return summarize_frame(columns, limits=narrower).text.partition("\n")[2]


def _described(column: Any, name: str) -> str:
    facts = (*_types(column), *_bounds(column), *_crs(column))
    return f"Geometry {name}: {'; '.join(facts)}"


def _types(column: Any) -> Iterator[str]:
    counts = column.geom_type.value_counts().sort_index()
    yield ", ".join(f"{count:,} {kind}" for kind, count in counts.items()) or "no geometries"
    if missing := int(column.isna().sum()):
        yield f"{missing:,} missing"
    if empty := int(column.is_empty.sum()):
        yield f"{empty:,} empty"


def _bounds(column: Any) -> Iterator[str]:
    bounds = [float(side) for side in column.total_bounds]
    if all(side == side for side in bounds):  # NaN where there is no geometry
        yield ", ".join(
            f"{axis} {bounds[low]:.7g} to {bounds[high]:.7g}" for axis, (low, high) in _AXES.items()
        )


def _crs(column: Any) -> Iterator[str]:
    crs = column.crs
    if crs is None:
        yield "no CRS"
        return
    source = one_line(str(crs.srs), max_chars=_CRS_CHARS)
    unit = ""
    with suppress(Exception):  # a local system may have no axes
        unit = f", in {crs.axis_info[0].unit_name}s"
    yield f"CRS {one_line(str(crs.name), max_chars=_CRS_CHARS)} ({source}){unit}"
