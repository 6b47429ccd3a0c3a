"""Special tables as text: GeoPandas, sparse matrices, xarray, networks."""

from __future__ import annotations

import math
import operator
import sys
from typing import Any

from segmind_jupyter.content.images.arrays import about_array, statistics, summarize_array
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, Limits, Text, type_name
from segmind_jupyter.content.tables import (
    CELL_CHARS,
    bounded,
    cell,
    column_name,
    plural,
    ranged,
    sides,
    table_text,
    titled,
)
from segmind_jupyter.content.text import listed, one_line

#: Longest attribute and name of a CRS, in characters.
_ATTRIBUTE_CHARS, _CRS_CHARS = 120, 80


def summarize_geo(table: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Summarize a GeoDataFrame or a GeoSeries: outlines as their types, with bounds and CRS."""
    frame, size = table, plural(len(table), "value")
    if table.ndim == 1:
        frame = table.to_frame("geometry" if table.name is None else table.name)
    else:
        size = sides(table)
    lines = [titled(f"{type_name(table)}, {size}", name)]
    plain = sys.modules["pandas"].DataFrame(frame).copy(deep=False)
    for n, dtype in enumerate(frame.dtypes):
        if str(dtype) == "geometry":
            column = frame.iloc[:, n]
            left, bottom, right, top = (float(side) for side in column.total_bounds)
            span = f"x {ranged(left, right)}, y {ranged(bottom, top)}, " if left == left else ""
            crs = one_line(str(column.crs or "unknown"), max_chars=_CRS_CHARS)
            lines.append(f"Geometry {column_name(frame.columns[n])}: {span}CRS {crs}")
            if not set(column.geom_type.dropna().unique()) <= {"Point"}:  # points are short
                plain.isetitem(n, column.geom_type)
    about = f"{type_name(table)} {'×'.join(map(str, table.shape))}"
    return table_text(plain, heading="\n".join(lines), about=about, limits=limits)


def summarize_sparse(matrix: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Summarize a sparse matrix or array of any format: how much it holds, and its range."""
    shape = tuple(int(side) for side in matrix.shape)  # Python's integers do not overflow
    stored, size = int(matrix.nnz), math.prod(shape)
    share = f" ({stored / size:.3g} of all)" if size else ""
    values = plural(stored, "value")
    title = (
        f"{type_name(matrix)}, shape {shape}, {matrix.dtype}; {values} stored{share}, the others "
        "are zero"
    )
    lines = [titled(title, name), *statistics(matrix.tocoo().data)]
    lines += [f"[the {values} are not shown]"] if stored else []
    left_out = f"none of {values} (a slice's `.toarray()` gives them)" if stored else ""
    return bounded("\n".join(lines), about=about_array(matrix), limits=limits, left_out=left_out)


def summarize_dataset(dataset: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Write a ``xarray.Dataset`` as it writes itself, which reads no file and computes nothing."""
    about = f"Dataset of {plural(len(dataset.data_vars), 'variable')}"
    with sys.modules["xarray"].set_options(display_max_rows=10_000):  # the bound here says so
        said = repr(dataset)
    return bounded(titled(said, name), about=about, limits=limits)


def summarize_data_array(array: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Describe a ``xarray.DataArray``: its coordinates, its range, and values at its corners."""
    own = f" {column_name(array.name)}" if array.name is not None else ""
    size = " × ".join(f"{column_name(dim)} {n:,}" for dim, n in array.sizes.items())
    title = titled(f"{type_name(array)}{own}, {size or 'a single value'}, {array.dtype}", name)
    title += f"\n{array.coords!r}" if array.coords else ""
    title += f"\nAttributes: {cell(array.attrs, max_chars=_ATTRIBUTE_CHARS)}" if array.attrs else ""
    about = about_array(array)
    if array.variable._in_memory:
        return summarize_array(array.values, limits=limits, title=title, about=about)
    title += "\n[its values are not in memory, and so not read: name what its .compute() gives]"
    return bounded(title, about=about, limits=limits)


#: How many nodes of the highest degree are named; nodes take one part in so many of the room.
_NAMED_NODES, _NODES_SHARE = 5, 3


def summarize_network(graph: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Summarize a graph of networkx: how connected, and as many nodes and edges as fit."""
    n_nodes, n_edges = graph.number_of_nodes(), graph.number_of_edges()
    size = f"networkx {type_name(graph)}, {plural(n_nodes, 'node')}, {plural(n_edges, 'edge')}"
    way = "directed" if graph.is_directed() else "undirected"
    lines = [titled(f"{size}, {way}", name)]
    if graph.graph:
        lines.append(f"Attributes: {cell(graph.graph, max_chars=_ATTRIBUTE_CHARS)}")
    if n_nodes:
        degrees = sorted(graph.degree(), key=operator.itemgetter(1), reverse=True)
        highest = (f"{cell(n, max_chars=CELL_CHARS)} ({d:,})" for n, d in degrees[:_NAMED_NODES])
        mean = sum(degree for _, degree in degrees) / n_nodes
        span = f"{degrees[-1][1]:,} to {degrees[0][1]:,}, mean {mean:.3g}"
        lines.append(f"Degree: {span}; highest: {', '.join(highest)}")
    left_out = []
    room = limits.table_tokens * CHARS_PER_TOKEN - sum(len(line) + 1 for line in lines)
    for noun, held, share in (("nodes", graph.nodes, _NODES_SHARE), ("edges", graph.edges, 1)):
        data = any(attributes for *_, attributes in held(data=True))
        text, cut = listed(
            list(held(data=data)), max_chars=max(0, room // share - len("Nodes: \n"))
        )
        lines += [f"{noun.capitalize()}: {text}"] if held else []
        left_out += [cut.replace("items", noun)] if cut else []
        room -= len(lines[-1]) + 1
    return bounded("\n".join(lines), about=size, limits=limits, left_out=", ".join(left_out))
