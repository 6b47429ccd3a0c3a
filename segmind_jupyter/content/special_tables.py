"""Special tables as text: GeoPandas, sparse matrices, xarray, networks."""

from __future__ import annotations

import heapq
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from segmind_jupyter.content.images.arrays import about_array, statistics, summarize_array
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, Limits, Text, is_kind, type_name
from segmind_jupyter.content.tables import (
    CELL_CHARS,
    bounded,
    cell,
    column_name,
    heading,
    plural,
    ranged,
    sides,
    summarize_frame,
    titled,
)
from segmind_jupyter.content.text import one_line

#: Longest attribute and name of a CRS, in characters.
_ATTRIBUTE_CHARS, _CRS_CHARS = 120, 80


def summarize_geo(table: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Summarize a GeoDataFrame or a GeoSeries; outlines as types, bounds and CRS."""
    frame, size = table, plural(len(table), "value")
    if table.ndim == 1:
        frame = table.to_frame("geometry" if table.name is None else table.name)
    else:
        size = sides(table)
    lines, kept, left_out = [heading(table, size, name)], [], ""
    for n, dtype in enumerate(frame.dtypes):
        column, is_outline = frame.iloc[:, n], str(dtype) == "geometry"
        if is_outline:
            facts = "; ".join(filter(None, _geometry_facts(column)))
            lines.append(f"Geometry {column_name(frame.columns[n])}: {facts}")
        # Points are short: they stay in the rows.
        if not is_outline or set(column.geom_type.dropna().unique()) <= {"Point"}:
            kept.append(n)
    if kept:
        used = sum(len(line) + 1 for line in lines) // CHARS_PER_TOKEN + 1
        narrower = replace(limits, table_tokens=max(0, limits.table_tokens - used))
        rest = summarize_frame(frame.iloc[:, kept], limits=narrower)
        lines.append(rest.text.partition("\n")[2])  # its heading counts other columns
        left_out = rest.left_out
    about = f"{type_name(table)} {'×'.join(map(str, table.shape))}"
    return bounded("\n".join(lines), about=about, limits=limits, left_out=left_out)


def _geometry_facts(column: Any) -> Iterator[str]:
    kinds = column.geom_type.value_counts().sort_index()
    yield ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "no geometries"
    for is_so, what in ((column.isna(), "missing"), (column.is_empty, "empty")):
        yield f"{is_so.sum():,} {what}" if is_so.any() else ""
    left, bottom, right, top = (float(side) for side in column.total_bounds)
    if not math.isnan(left):
        yield f"x {ranged(left, right)}, y {ranged(bottom, top)}"
    crs = column.crs
    if crs is None:
        yield "no CRS"
        return
    name, source = (one_line(str(said), max_chars=_CRS_CHARS) for said in (crs.name, crs.srs))
    units = sorted({str(axis.unit_name) for axis in crs.axis_info})
    yield f"CRS {name} ({source}){f', in {units[0]}s' if units else ''}"


#: Smaller matrices are written as arrays; of others so many entries are, as they are kept.
_DENSE_ELEMENTS, _ENTRIES = 1_000, 20


def summarize_sparse(matrix: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Summarize a sparse matrix or array of any format."""
    shape = tuple(int(side) for side in matrix.shape)  # Python's integers do not overflow
    stored, size = int(matrix.nnz), math.prod(shape)
    share = f" ({stored / size:.3g} of all)" if size else ""
    title = (
        f"{type_name(matrix)}, shape {shape}, {matrix.dtype}; {plural(stored, 'value')} "
        f"stored{share}, the others are zero"
    )
    about = about_array(matrix)
    if size <= _DENSE_ELEMENTS:
        return summarize_array(matrix.toarray(), limits=limits, name=name, title=title, about=about)
    entries = matrix.tocoo()
    lines = [titled(title, name), *statistics(entries.data)]
    places = getattr(entries, "coords", None) or (entries.row, entries.col)  # old SciPy
    for n, value in enumerate(entries.data[:_ENTRIES]):
        at = ", ".join(str(int(axis[n])) for axis in places)
        lines.append(f"({at}): {cell(value, max_chars=CELL_CHARS)}")
    left_out = f"{_ENTRIES} of {stored:,} entries" if stored > _ENTRIES else ""
    if left_out:
        lines.append(f"[{stored - _ENTRIES:,} of {stored:,} entries not shown]")
    return bounded("\n".join(lines), about=about, limits=limits, left_out=left_out)


_NOT_READ: Final = (
    "[its values are not in memory, and so not read: run its .load(), or .compute(), and name what "
    "that gives]"
)


def data_array_part(array: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Describe a ``xarray.DataArray``: its coordinates, its range, and values at its corners."""
    own = f" {column_name(array.name)}" if array.name is not None else ""
    size = " × ".join(f"{column_name(dim)} {n:,}" for dim, n in array.sizes.items())
    title = f"{type_name(array)}{own}, {size or 'a single value'}, {array.dtype}"
    head = [titled(title, name), *_variables("Coordinates", array.coords, _span)]
    head += _attributes(array.attrs)
    about, values = about_array(array), _in_memory(array.variable)
    if values is None:
        return bounded("\n".join([*head, _NOT_READ]), about=about, limits=limits)
    return summarize_array(values, limits=limits, title="\n".join(head), about=about)


def dataset_part(dataset: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Describe a ``xarray.Dataset``: its coordinates, and its variables with their ranges."""
    sizes = ", ".join(f"{column_name(dim)} {length:,}" for dim, length in dataset.sizes.items())

    def spread(values: Any) -> str:
        is_number = values.size > 1 and values.dtype.kind in "biuf"
        return "; ".join(statistics(values)) if is_number else _span(values)

    lines = [
        titled(f"Dataset, {sizes or 'no dimensions'}", name),
        *_variables("Coordinates", dataset.coords, _span),
        *_variables("Variables", dataset.data_vars, spread),
        *_attributes(dataset.attrs),
    ]
    about = f"Dataset of {plural(len(dataset.data_vars), 'variable')}"
    return bounded("\n".join(lines), about=about, limits=limits)


def _variables(title: str, named: Mapping[Any, Any], known: Callable[[Any], str]) -> Iterator[str]:
    """List variables: dimensions, type, what is `known` of the values in memory, meaning, unit."""
    if named:
        yield f"{title}:"
    for label, array in named.items():
        values = _in_memory(array.variable)
        facts = ["not in memory" if values is None else known(values) if values.size else "empty"]
        for key in ("long_name", "units"):  # of the CF conventions
            if key in array.attrs:
                facts.append(one_line(str(array.attrs[key]), max_chars=CELL_CHARS))
        dims = ", ".join(map(column_name, array.dims))
        said = "; ".join(filter(None, facts))
        yield f"- {column_name(label)} ({dims}) {array.dtype}{f': {said}' if said else ''}"


def _attributes(attrs: Mapping[Any, Any]) -> Iterator[str]:
    if attrs:
        yield "Attributes:"
    for key, value in attrs.items():
        yield f"- {column_name(key)}: {cell(value, max_chars=_ATTRIBUTE_CHARS)}"


def _span(values: Any) -> str:
    """Write the first and the last value: coordinates run from one to the other."""
    flat = values.reshape(-1)
    first, last = (cell(value, max_chars=CELL_CHARS) for value in (flat[0], flat[-1]))
    return first if values.size == 1 else f"{first} to {last}"


def _in_memory(variable: Any) -> Any:
    """Return the values as a NumPy array; `None` if they would have to be read or computed."""
    # xarray wraps what it holds, and each wrapper calls the next one its `array`.
    held = variable._data
    while held is not None:
        if is_kind(held, "numpy", "ndarray", "generic") or is_kind(held, "pandas", "Index"):
            return sys.modules["numpy"].asarray(variable.values)
        held = getattr(held, "array", None)
    return None


#: Longest written node, and how many of the highest degree are named.
_NODE_CHARS, _NAMED_NODES = 40, 5

#: Nodes take no more than one part in so many of the room; room for the notes, in characters.
_NODES_SHARE, _NOTES_CHARS = 3, 160


def summarize_network(graph: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Summarize a graph of networkx: how connected, and as many nodes and edges as fit."""
    n_nodes, n_edges = graph.number_of_nodes(), graph.number_of_edges()
    size = f"networkx {type_name(graph)}, {plural(n_nodes, 'node')}, {plural(n_edges, 'edge')}"
    way, arrow = ("directed", "->") if graph.is_directed() else ("undirected", "--")

    def node(label: Any) -> str:
        return cell(label, max_chars=_NODE_CHARS)

    def entry(text: str, held: Any) -> str:
        return f"{text} {cell(held, max_chars=_ATTRIBUTE_CHARS)}" if held else text

    lines = [titled(f"{size}, {way}", name)]
    if graph.graph:
        lines.append(entry("Attributes:", graph.graph))
    if n_nodes:
        degrees = dict(graph.degree())
        highest = heapq.nlargest(_NAMED_NODES, degrees.items(), key=lambda pair: pair[1])
        named = ", ".join(f"{node(label)} ({degree:,})" for label, degree in highest)
        span = f"{min(degrees.values()):,} to {max(degrees.values()):,}"
        mean = sum(degrees.values()) / n_nodes
        lines.append(f"Degree: {span}, mean {mean:.3g}; highest: {named}")
    room = limits.table_tokens * CHARS_PER_TOKEN - sum(len(line) + 1 for line in lines)
    room -= _NOTES_CHARS
    nodes = (entry(node(label), held) for label, held in graph.nodes(data=True))
    edges = (entry(f"{node(a)} {arrow} {node(b)}", x) for a, b, x in graph.edges(data=True))
    shown_nodes = _fitting(nodes, room // _NODES_SHARE)
    shown_edges = _fitting(edges, room - sum(len(text) + 2 for text in shown_nodes))
    lines += [f"Nodes: {', '.join(shown_nodes)}"] if shown_nodes else []
    lines += ["Edges:", *shown_edges] if shown_edges else []
    left_out = []
    for noun, shown, total in (("nodes", shown_nodes, n_nodes), ("edges", shown_edges, n_edges)):
        if len(shown) < total:
            lines.append(f"[{noun} {len(shown) + 1:,}-{total:,} of {total:,} not shown]")
            left_out.append(f"{len(shown):,} of {total:,} {noun}")
    return bounded("\n".join(lines), about=size, limits=limits, left_out=", ".join(left_out))


def _fitting(texts: Iterable[str], room: int) -> list[str]:
    """Take texts until the room is used up; no more of them are made."""
    fitting: list[str] = []
    for text in texts:
        room -= len(text) + 2
        if room < 0:
            break
        fitting.append(text)
    return fitting
