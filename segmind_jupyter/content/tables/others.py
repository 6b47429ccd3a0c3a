"""Special tables as text: Styler, groupings, GeoPandas, sparse matrices, xarray, networks."""

from __future__ import annotations

import heapq
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from segmind_jupyter.content.images.arrays import (
    FIELD_SIDE_PX,
    grey_ends,
    image_from_array,
    is_image_array,
    statistics,
    summarize_array,
)
from segmind_jupyter.content.parts import (
    CHARS_PER_TOKEN,
    STANDARD,
    Limits,
    Part,
    Text,
    is_kind,
    type_name,
)
from segmind_jupyter.content.tables.summary import (
    CELL_CHARS,
    Ends,
    bounded,
    cell,
    column_name,
    heading,
    joined,
    listed,
    plural,
    ranged,
    summarize_frame,
    table_text,
    titled,
)
from segmind_jupyter.content.text import as_text, cut, fenced, one_line, plain_text
from segmind_jupyter.errors import ContentError

#: Longest list of keys, caption, attribute and name of a CRS, in characters.
_NAMES_CHARS, _CAPTION_CHARS, _ATTRIBUTE_CHARS, _CRS_CHARS = 200, 400, 120, 80


def summarize_styler(styler: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize the values behind a Styler, without the rows and columns that it hides."""
    frame, hidden = styler.data, (set(styler.hidden_rows), set(styler.hidden_columns))
    for axis in (0, 1):
        if hidden[axis]:
            kept = [n for n in range(frame.shape[axis]) if n not in hidden[axis]]
            frame = frame.iloc[kept] if axis == 0 else frame.iloc[:, kept]
    if all(styler.hide_index_):
        frame = frame.reset_index(drop=True)
    rows, columns = frame.shape
    head = [
        heading(styler, f"{plural(rows, 'row')} × {plural(columns, 'column')}, unformatted", name)
    ]
    caption = styler.caption[0] if isinstance(styler.caption, tuple) else styler.caption
    if caption:
        head.append(f"Caption: {one_line(str(caption), max_chars=_CAPTION_CHARS)}")
    about = f"Styler {rows}×{columns}"
    return table_text(frame, heading="\n".join(head), about=about, limits=limits)


def is_window(obj: object) -> bool:
    """Return whether `obj` is rows that were put together, and holds nothing of its own to send."""
    return is_kind(obj, "pandas", "Resampler", "BaseWindow") or is_kind(
        obj, "polars", "GroupBy", "LazyGroupBy", "RollingGroupBy", "DynamicGroupBy"
    )


def refuse_window(window: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Say what to name in place of a resampler, a window or a grouping that is not computed yet."""
    step = "agg(...)" if is_kind(window, "polars", type_name(window)) else "mean()"
    raise ContentError(
        f"A {type_name(window)} has no values before it is computed. Assign what you want to know "
        f"of it, such as `result = {name or 'x'}.{step}`, and name that."
    )


#: Of more groups, the first so many are looked at.
_MAX_GROUPS: Final = 1_000


def summarize_groups(groups: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a grouped DataFrame or Series: its keys, its groups, and how many rows each has."""
    sizes, whole = groups.size(), groups.obj
    if is_kind(sizes, "pandas", "DataFrame"):  # as_index=False
        sizes = sizes.set_index(list(sizes.columns[:-1])).iloc[:, 0]
    keys, columns = (
        joined(("unnamed" if n is None else plain_text(n) for n in names), max_chars=_NAMES_CHARS)
        for names in (sizes.index.names, whole.columns if whole.ndim > 1 else [whole.name])
    )
    counted, span = plural(len(sizes), "group"), ""
    if len(sizes):
        low, high = int(sizes.min()), int(sizes.max())
        span = f", {f'{low:,} to ' if low < high else ''}{plural(high, 'row')} each,"
    head = titled(
        f"{type_name(groups)} by {keys}: {counted}{span} of a {type_name(whole)} of "
        f"{plural(len(whole), 'row')}: {columns}",
        name,
    )
    first = sizes.iloc[:_MAX_GROUPS]
    pairs = dict(zip(first.index.tolist(), first.tolist(), strict=True))
    room = max(0, limits.table_tokens * CHARS_PER_TOKEN - len(head) - _NAMES_CHARS)
    text, count = listed(pairs, max_chars=room)
    lines = [head, f"Rows of each group: {text}"]
    if len(pairs) < len(sizes):
        lines.append(f"[groups {_MAX_GROUPS + 1:,}-{len(sizes):,} are not looked at]")
    left_out = f"{count:,} of {len(sizes):,} groups" * (count < len(sizes))
    about = f"{type_name(groups)}, {counted}"
    return bounded("\n".join(lines), about=about, limits=limits, left_out=left_out)


def summarize_geo_frame(frame: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a ``geopandas.GeoDataFrame``; outlines as types, bounds and CRS."""
    rows, columns = frame.shape
    size = f"{plural(rows, 'row')} × {plural(columns, 'column')}"
    about = f"{type_name(frame)} {rows}×{columns}"
    return _geo_text(frame, heading(frame, size, name), about, limits)


def summarize_geo_series(
    series: Any, *, limits: Limits = STANDARD, name: str | None = None
) -> Text:
    """Summarize a ``geopandas.GeoSeries``; see `summarize_geo_frame`."""
    frame = series.to_frame("geometry" if series.name is None else series.name)
    head = heading(series, plural(len(series), "value"), name)
    return _geo_text(frame, head, f"{type_name(series)} {len(series)}", limits)


def _geo_text(frame: Any, head: str, about: str, limits: Limits) -> Text:
    lines, kept = [head], []
    for n, dtype in enumerate(frame.dtypes):
        if str(dtype) != "geometry":
            kept.append(n)
            continue
        column = frame.iloc[:, n]
        facts = "; ".join(filter(None, _geometry_facts(column)))
        lines.append(f"Geometry {column_name(frame.columns[n])}: {facts}")
        if set(column.geom_type.dropna().unique()) <= {"Point"}:  # short: they stay in the rows
            kept.append(n)
    left_out = ""
    if kept:
        used = sum(len(line) + 1 for line in lines) // CHARS_PER_TOKEN + 1
        narrower = replace(limits, table_tokens=max(0, limits.table_tokens - used))
        rest = summarize_frame(frame.iloc[:, kept], limits=narrower)
        lines.append(rest.text.partition("\n")[2])  # its heading counts other columns
        left_out = rest.left_out
    return bounded("\n".join(lines), about=about, limits=limits, left_out=left_out)


def _geometry_facts(column: Any) -> Iterator[str]:
    kinds = column.geom_type.value_counts().sort_index()
    yield ", ".join(f"{count:,} {kind}" for kind, count in kinds.items()) or "no geometries"
    for count, what in (
        (int(column.isna().sum()), "missing"),
        (int(column.is_empty.sum()), "empty"),
    ):
        yield f"{count:,} {what}" if count else ""
    left, bottom, right, top = (float(side) for side in column.total_bounds)
    if not math.isnan(left):
        yield f"x {ranged(left, right)}, y {ranged(bottom, top)}"
    crs = column.crs
    if crs is None:
        yield "no CRS"
        return
    unit, source = "", one_line(str(crs.srs), max_chars=_CRS_CHARS)  # some are a page of WKT
    with suppress(Exception):  # a local system may have no axes
        unit = f", in {crs.axis_info[0].unit_name}s"
    yield f"CRS {one_line(str(crs.name), max_chars=_CRS_CHARS)} ({source}){unit}"


def describe_geometry(geometry: Any, *, limits: Limits = STANDARD) -> Text:
    """Write a single geometry of shapely as WKT, which says more than the SVG that it displays."""
    text = str(geometry)
    return as_text(text, limits=limits, noun=type_name(geometry), lines=len(text) > _CRS_CHARS)


#: Smaller matrices are written as arrays; entries that are written from each end, in the order of
#: their rows; with more stored values they are not put in order: half a second's work.
_DENSE_ELEMENTS, _END_ENTRIES, _SORTED_ENTRIES = 1_000, 10, 2_000_000


def summarize_sparse(matrix: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a sparse matrix or array of any format."""
    sides = tuple(int(side) for side in matrix.shape)  # Python's integers do not overflow
    stored, size = int(matrix.nnz), math.prod(sides)
    share = f" ({stored / size:.3g} of all)" if size else ""
    title = (
        f"{type_name(matrix)}, shape {tuple(matrix.shape)}, {matrix.dtype}; "
        f"{plural(stored, 'value')} stored{share}, the others are zero"
    )
    about = f"{type_name(matrix)} {'×'.join(map(str, sides))} {matrix.dtype}"
    if size <= _DENSE_ELEMENTS:
        return summarize_array(matrix.toarray(), limits=limits, name=name, title=title, about=about)
    lines, left_out = [titled(title, name)], ""
    entries = matrix.tocoo() if stored <= _SORTED_ENTRIES else matrix
    is_array = is_kind(entries.data, "numpy", "ndarray")
    if is_array and (facts := "; ".join(statistics(entries.data))):
        lines.append(f"Of the stored values: {facts}")
    if stored > _SORTED_ENTRIES:
        lines.append("[too many values are stored to list some]")
        left_out = f"0 of {stored:,} entries"
    elif len(entries.data):
        places = getattr(entries, "coords", None) or (entries.row, entries.col)  # old SciPy
        order = sys.modules["numpy"].lexsort(places[::-1])
        ends = Ends.fitting(len(order), _END_ENTRIES)
        written = [
            f"({', '.join(str(int(axis[n])) for axis in places)}): "
            f"{cell(entries.data[n], max_chars=CELL_CHARS)}"
            for n in ends.of(order)
        ]
        if ends.hidden:
            written.insert(ends.head, f"… {len(order) - ends.count:,} more")
            left_out = f"{ends.count} of {len(order):,} entries"
        lines += ["Entries, by row:", *written]
    return bounded("\n".join(lines), about=about, limits=limits, left_out=left_out)


#: How many coordinates or variables are described, and how many attributes of each object.
_MAX_VARIABLES, _MAX_ATTRIBUTES = 60, 20

#: Values of a dataset that are read for the ranges of its variables: a second's work.
_READ_VALUES: Final = 100_000_000

#: xarray puts no more wrappers than this around the data that it holds.
_MAX_WRAPPERS: Final = 8

_NOT_READ: Final = (
    "[its values are not in memory, and so not read: run its .load(), or .compute(), and name what "
    "that gives]"
)


def data_array_parts(
    array: Any, *, limits: Limits = STANDARD, name: str | None = None
) -> list[Part]:
    """Describe a ``xarray.DataArray``, and send its values: drawn if they look like a picture."""
    own = f" {column_name(array.name)}" if array.name is not None else ""
    sides = " × ".join(f"{column_name(dim)} {n:,}" for dim, n in array.sizes.items())
    title = f"{type_name(array)}{own}, {sides or 'a single value'}, {array.dtype}"
    head = [
        titled(title, name),
        *_coordinates(array),
        *_attributes(array.attrs),
    ]
    about = f"{type_name(array)} {'×'.join(map(str, array.shape)) or 'scalar'} {array.dtype}"
    values = _in_memory(array.variable)
    if values is None:
        return [bounded("\n".join([*head, _NOT_READ]), about=about, limits=limits)]
    if not is_image_array(values, least_side_px=FIELD_SIDE_PX):
        return [summarize_array(values, limits=limits, title="\n".join(head), about=about)]
    rows, columns = array.dims[:2]
    (top, bottom), (left, right) = _edges(array, rows), _edges(array, columns)
    head += statistics(values)
    head.append(
        f"Drawn below as a picture: rows are {column_name(rows)}, from {top} at the top to "
        f"{bottom}; columns are {column_name(columns)}, from {left} on the left to {right}."
    )
    if values.ndim == 2:
        black, white = (cell(float(end), max_chars=CELL_CHARS) for end in grey_ends(values))
        head.append(f"Black is {black}, white is {white} or missing.")
    text = bounded("\n".join(head), about="its coordinates", limits=limits)
    return [text, image_from_array(values, limits=limits, about=about)]


def dataset_part(dataset: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Describe a ``xarray.Dataset``: its coordinates, and its variables with their ranges."""
    sizes = ", ".join(f"{column_name(dim)} {length:,}" for dim, length in dataset.sizes.items())
    n_variables = len(dataset.data_vars)
    most = _READ_VALUES // max(1, min(n_variables, _MAX_VARIABLES))

    def spread(values: Any) -> str:
        if values.size == 1 or values.dtype.kind not in "biuf":
            return _first_and_last(values)
        return "; ".join(statistics(values)) if values.size <= most else "not read: it is large"

    lines = [
        titled(f"Dataset, {sizes or 'no dimensions'}", name),
        *_coordinates(dataset),
        *_variables("Variables:", dataset.data_vars, spread),
        *_attributes(dataset.attrs),
    ]
    about = f"Dataset of {n_variables} variables"
    return bounded("\n".join(lines), about=about, limits=limits)


def _coordinates(obj: Any) -> Iterator[str]:
    return _variables("Coordinates:", obj.coords, _first_and_last)


def _variables(title: str, named: Mapping[Any, Any], known: Callable[[Any], str]) -> Iterator[str]:
    """List variables: dimensions, type, what is `known` of the values in memory, meaning, unit."""
    if named:
        yield title
    for label, array in list(named.items())[:_MAX_VARIABLES]:
        values = _in_memory(array.variable)
        facts = ["not in memory" if values is None else known(values) if values.size else "empty"]
        for key in ("long_name", "units"):  # of the CF conventions
            if key in array.attrs:
                facts.append(one_line(str(array.attrs[key]), max_chars=CELL_CHARS))
        dims = ", ".join(map(column_name, array.dims))
        said = "; ".join(filter(None, facts))
        yield f"- {column_name(label)} ({dims}) {array.dtype}{f': {said}' if said else ''}"
    if len(named) > _MAX_VARIABLES:
        yield f"… {len(named) - _MAX_VARIABLES:,} more"


def _attributes(attrs: Mapping[Any, Any]) -> Iterator[str]:
    if attrs:
        yield "Attributes:"
    for key in list(attrs)[:_MAX_ATTRIBUTES]:
        yield f"- {column_name(key)}: {cell(attrs[key], max_chars=_ATTRIBUTE_CHARS)}"
    if len(attrs) > _MAX_ATTRIBUTES:
        yield f"… {len(attrs) - _MAX_ATTRIBUTES:,} more"


def _first_and_last(values: Any) -> str:
    """Write the first and the last value: coordinates run from one to the other."""
    flat = values.reshape(-1)
    first, last = (cell(flat[n], max_chars=CELL_CHARS) for n in (0, -1))
    return first if len(flat) == 1 else f"{first} to {last}"


def _edges(array: Any, dim: Any) -> tuple[str, str]:
    """Return the first and the last coordinate along a dimension, or the positions."""
    if dim not in array.indexes:
        return "0", str(array.sizes[dim] - 1)
    index = array.indexes[dim]
    return cell(index[0], max_chars=CELL_CHARS), cell(index[-1], max_chars=CELL_CHARS)


def _in_memory(variable: Any) -> Any:
    """Return the values as a NumPy array if that is what is behind the variable, else `None`.

    xarray's own ``values`` would read a file, or compute a graph. It wraps what it holds, and
    each wrapper calls the next one its ``array``.
    """
    held = variable._data
    for _ in range(_MAX_WRAPPERS):
        if is_kind(held, "numpy", "ndarray", "generic") or is_kind(held, "pandas", "Index"):
            return sys.modules["numpy"].asarray(variable.values)
        held = getattr(held, "array", None)
    return None


#: Longest written node; the degrees of larger networks are not summed up (that takes seconds), and
#: so many nodes of the highest degree are named.
_NODE_CHARS, _MEASURED_NODES, _NAMED_NODES = 40, 500_000, 5

#: Nodes take no more than one part in so many of the room; room for the notes, in characters.
_NODES_SHARE, _NOTES_CHARS = 3, 160


def is_network(obj: object) -> bool:
    """Return whether `obj` is a network of a library that is known here."""
    return is_kind(obj, "networkx", "Graph") or is_kind(obj, "igraph", "Graph")


def summarize_network(graph: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a network: how large, how connected, and as many nodes and edges as fit."""
    nodes: Iterable[tuple[Any, Any]]
    edges: Iterable[tuple[Any, Any, Any]]
    if is_kind(graph, "networkx", "Graph"):
        library, n_nodes, n_edges = "networkx", graph.number_of_nodes(), graph.number_of_edges()
        nodes, edges = graph.nodes(data=True), graph.edges(data=True)
        attributes, degrees = graph.graph, graph.degree()
    else:
        library, n_nodes, n_edges = "igraph", graph.vcount(), graph.ecount()
        names = graph.vs["name"] if "name" in graph.vs.attributes() else range(n_nodes)
        nodes = (
            (names[v.index], {k: x for k, x in v.attributes().items() if k != "name"})
            for v in graph.vs
        )
        edges = ((names[e.source], names[e.target], e.attributes()) for e in graph.es)
        attributes = {key: graph[key] for key in graph.attributes()}
        degrees = zip(names, graph.degree() if n_nodes else (), strict=True)
    size = f"{library} {type_name(graph)}, {plural(n_nodes, 'node')}, {plural(n_edges, 'edge')}"
    way, arrow = ("directed", "->") if graph.is_directed() else ("undirected", "--")
    lines = [titled(f"{size}, {way}", name)]
    if attributes:
        lines.append(f"Attributes: {cell(attributes, max_chars=_ATTRIBUTE_CHARS)}")
    if 0 < n_nodes <= _MEASURED_NODES:
        measured = list(degrees)
        numbers = [degree for _, degree in measured]
        highest = heapq.nlargest(_NAMED_NODES, measured, key=lambda pair: pair[1])
        named = ", ".join(f"{_node(node)} ({degree:,})" for node, degree in highest)
        mean = f"mean {sum(numbers) / n_nodes:.3g}"
        lines.append(f"Degree: {min(numbers):,} to {max(numbers):,}, {mean}; highest: {named}")
    room = limits.table_tokens * CHARS_PER_TOKEN - sum(len(line) + 1 for line in lines)
    room -= _NOTES_CHARS
    written = (_with_attributes(_node(node), held) for node, held in nodes)
    shown_nodes = list(_fitting(written, room // _NODES_SHARE))
    room -= sum(len(node) + 2 for node in shown_nodes)
    written = (_with_attributes(f"{_node(a)} {arrow} {_node(b)}", held) for a, b, held in edges)
    shown_edges = list(_fitting(written, room))
    left_out = []
    if shown_nodes:
        lines.append(f"Nodes: {', '.join(shown_nodes)}")
    for noun, shown, total in (("nodes", shown_nodes, n_nodes), ("edges", shown_edges, n_edges)):
        if noun == "edges" and shown:
            lines += ["Edges:", *shown]
        if len(shown) < total:
            lines.append(f"[{noun} {len(shown) + 1:,}-{total:,} of {total:,} not shown]")
            left_out.append(f"{len(shown):,} of {total:,} {noun}")
    return bounded("\n".join(lines), about=size, limits=limits, left_out=", ".join(left_out))


def _node(node: Any) -> str:
    return cell(node, max_chars=_NODE_CHARS)


def _with_attributes(text: str, held: Any) -> str:
    return f"{text} {cell(held, max_chars=_ATTRIBUTE_CHARS)}" if held else text


def _fitting(texts: Iterable[str], room: int) -> Iterator[str]:
    """Take texts until the room is used up; no more of them are made."""
    for text in texts:
        room -= len(text) + 2
        if room < 0:
            return
        yield text


def is_dot(obj: object) -> bool:
    """Return whether `obj` is a drawing of graphviz, which has its source in the DOT language."""
    return is_kind(obj, "graphviz", "Graph", "Digraph", "Source")


def summarize_dot(drawing: Any, *, limits: Limits = STANDARD) -> Text:
    """Return the source of a drawing of graphviz in a fence; it says more than a picture."""
    about = f"{type_name(drawing)}, {len(drawing.source.splitlines()):,} lines of DOT"
    code = cut(drawing.source, max_chars=limits.text_chars - CELL_CHARS)  # room for the fence
    return as_text(fenced(code, language="dot"), limits=limits, about=about, lines=True)
