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
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, Limits, Part, Text, is_kind, type_name
from segmind_jupyter.content.tables import (
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
    sides,
    summarize_frame,
    table_text,
    titled,
)
from segmind_jupyter.content.text import as_text, cut, fenced, one_line, plain_text
from segmind_jupyter.errors import ContentError

#: Longest list of keys, caption, attribute and name of a CRS, in characters.
_NAMES_CHARS, _CAPTION_CHARS, _ATTRIBUTE_CHARS, _CRS_CHARS = 200, 400, 120, 80


def summarize_styler(styler: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Summarize the values behind a Styler, without the rows and columns that it hides."""
    frame = styler.data
    for axis, hidden in enumerate((set(styler.hidden_rows), set(styler.hidden_columns))):
        if hidden:
            frame = frame.take([n for n in range(frame.shape[axis]) if n not in hidden], axis=axis)
    if all(styler.hide_index_):
        frame = frame.reset_index(drop=True)
    head = heading(styler, f"{sides(frame)}, unformatted", name)
    if caption := styler.caption[0] if isinstance(styler.caption, tuple) else styler.caption:
        head += f"\nCaption: {one_line(str(caption), max_chars=_CAPTION_CHARS)}"
    return table_text(frame, heading=head, about="Styler {}×{}".format(*frame.shape), limits=limits)


def is_window(obj: object) -> bool:
    """Return whether `obj` is rows that were put together, and holds nothing of its own to send."""
    return is_kind(obj, "pandas", "Resampler", "BaseWindow") or is_kind(
        obj, "polars", "GroupBy", "LazyGroupBy", "RollingGroupBy", "DynamicGroupBy"
    )


def refuse_window(window: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Say what to name in place of a resampler, a window or a grouping that is not computed yet."""
    step = "agg(...)" if is_kind(window, "polars", type_name(window)) else "mean()"
    raise ContentError(
        f"A {type_name(window)} has no values before it is computed. Assign what you want to know "
        f"of it, such as `result = {name or 'x'}.{step}`, and name that."
    )


#: Of more groups, the first so many are looked at.
_MAX_GROUPS: Final = 1_000


def summarize_groups(groups: Any, *, limits: Limits, name: str | None = None) -> Text:
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
    whole_size = f"{type_name(whole)} of {plural(len(whole), 'row')}"
    head = titled(
        f"{type_name(groups)} by {keys}: {counted}{span} of a {whole_size}: {columns}", name
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


def summarize_geo_frame(frame: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Summarize a ``geopandas.GeoDataFrame``; outlines as types, bounds and CRS."""
    about = "{} {}×{}".format(type_name(frame), *frame.shape)
    return _geo_text(frame, heading(frame, sides(frame), name), about, limits)


def summarize_geo_series(series: Any, *, limits: Limits, name: str | None = None) -> Text:
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
    for is_so, what in ((column.isna(), "missing"), (column.is_empty, "empty")):
        yield f"{is_so.sum():,} {what}" if is_so.any() else ""
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


def describe_geometry(geometry: Any, *, limits: Limits) -> Text:
    """Write a single geometry of shapely as WKT, which says more than the SVG that it displays."""
    text = str(geometry)
    return as_text(text, limits=limits, noun=type_name(geometry), lines=len(text) > _CRS_CHARS)


#: Smaller matrices are written as arrays; entries that are written from each end, in the order of
#: their rows; with more stored values they are not put in order: half a second's work.
_DENSE_ELEMENTS, _END_ENTRIES, _SORTED_ENTRIES = 1_000, 10, 2_000_000


def summarize_sparse(matrix: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Summarize a sparse matrix or array of any format."""
    shape = tuple(int(side) for side in matrix.shape)  # Python's integers do not overflow
    stored, size = int(matrix.nnz), math.prod(shape)
    share = f" ({stored / size:.3g} of all)" if size else ""
    title = (
        f"{type_name(matrix)}, shape {shape}, {matrix.dtype}; {plural(stored, 'value')} "
        f"stored{share}, the others are zero"
    )
    about = f"{type_name(matrix)} {'×'.join(map(str, shape))} {matrix.dtype}"
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
        lines.append("Entries, by row:")
        for place, n in enumerate(ends.of(order)):
            if ends.hidden and place == ends.head:
                lines.append(f"… {len(order) - ends.count:,} more")
                left_out = f"{ends.count} of {len(order):,} entries"
            at = ", ".join(str(int(axis[n])) for axis in places)
            lines.append(f"({at}): {cell(entries.data[n], max_chars=CELL_CHARS)}")
    return bounded("\n".join(lines), about=about, limits=limits, left_out=left_out)


#: How many coordinates or variables are described, and how many attributes of each object.
_MAX_VARIABLES, _MAX_ATTRIBUTES = 60, 20

_NOT_READ: Final = (
    "[its values are not in memory, and so not read: run its .load(), or .compute(), and name what "
    "that gives]"
)


def data_array_parts(array: Any, *, limits: Limits, name: str | None = None) -> list[Part]:
    """Describe a ``xarray.DataArray``, and send its values: drawn if they look like a picture."""
    own = f" {column_name(array.name)}" if array.name is not None else ""
    size = " × ".join(f"{column_name(dim)} {n:,}" for dim, n in array.sizes.items())
    title = f"{type_name(array)}{own}, {size or 'a single value'}, {array.dtype}"
    head = [titled(title, name), *_coordinates(array), *_attributes(array.attrs)]
    about = f"{type_name(array)} {'×'.join(map(str, array.shape)) or 'scalar'} {array.dtype}"
    values = _in_memory(array.variable)
    if values is None:
        return [bounded("\n".join([*head, _NOT_READ]), about=about, limits=limits)]
    if not is_image_array(values, least_side_px=FIELD_SIDE_PX):
        return [summarize_array(values, limits=limits, title="\n".join(head), about=about)]
    rows, columns = array.dims[:2]
    (top, bottom), (left, right) = (
        _first_and_last(array.indexes[dim])
        if dim in array.indexes
        else ("0", str(array.sizes[dim] - 1))
        for dim in (rows, columns)
    )
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


def dataset_part(dataset: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Describe a ``xarray.Dataset``: its coordinates, and its variables with their ranges."""
    sizes = ", ".join(f"{column_name(dim)} {length:,}" for dim, length in dataset.sizes.items())
    n_variables = len(dataset.data_vars)
    # So many values are read: a second's work.
    most = 100_000_000 // max(1, min(n_variables, _MAX_VARIABLES))

    def spread(values: Any) -> str:
        if values.size == 1 or values.dtype.kind not in "biuf":
            return _span(values)
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
    return _variables("Coordinates:", obj.coords, _span)


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


def _span(values: Any) -> str:
    """Write the first and the last value: coordinates run from one to the other."""
    first, last = _first_and_last(values.reshape(-1))
    return first if values.size == 1 else f"{first} to {last}"


def _first_and_last(values: Any) -> tuple[str, str]:
    return cell(values[0], max_chars=CELL_CHARS), cell(values[-1], max_chars=CELL_CHARS)


def _in_memory(variable: Any) -> Any:
    """Return the values as a NumPy array; `None` if they would have to be read or computed."""
    # xarray wraps what it holds, and each wrapper calls the next one its `array`.
    held = variable._data
    while held is not None:
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


def summarize_network(graph: Any, *, limits: Limits, name: str | None = None) -> Text:
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
        held = ({k: x for k, x in v.attributes().items() if k != "name"} for v in graph.vs)
        nodes = zip(names, held, strict=True)
        edges = ((names[e.source], names[e.target], e.attributes()) for e in graph.es)
        attributes = {key: graph[key] for key in graph.attributes()}
        degrees = zip(names, graph.degree() if n_nodes else (), strict=True)

    def node(label: Any) -> str:
        return cell(label, max_chars=_NODE_CHARS)

    def entry(text: str, held: Any) -> str:
        return f"{text} {cell(held, max_chars=_ATTRIBUTE_CHARS)}" if held else text

    size = f"{library} {type_name(graph)}, {plural(n_nodes, 'node')}, {plural(n_edges, 'edge')}"
    way, arrow = ("directed", "->") if graph.is_directed() else ("undirected", "--")
    lines = [titled(f"{size}, {way}", name)]
    if attributes:
        lines.append(entry("Attributes:", attributes))
    if 0 < n_nodes <= _MEASURED_NODES:
        measured = list(degrees)
        numbers = [degree for _, degree in measured]
        highest = heapq.nlargest(_NAMED_NODES, measured, key=lambda pair: pair[1])
        named = ", ".join(f"{node(label)} ({degree:,})" for label, degree in highest)
        mean = f"mean {sum(numbers) / n_nodes:.3g}"
        lines.append(f"Degree: {min(numbers):,} to {max(numbers):,}, {mean}; highest: {named}")
    room = limits.table_tokens * CHARS_PER_TOKEN - sum(len(line) + 1 for line in lines)
    room -= _NOTES_CHARS
    shown_nodes = _fitting(
        (entry(node(label), held) for label, held in nodes), room // _NODES_SHARE
    )
    room -= sum(len(text) + 2 for text in shown_nodes)
    written = (entry(f"{node(a)} {arrow} {node(b)}", held) for a, b, held in edges)
    shown_edges, left_out = _fitting(written, room), []
    if shown_nodes:
        lines.append(f"Nodes: {', '.join(shown_nodes)}")
    for noun, shown, total in (("nodes", shown_nodes, n_nodes), ("edges", shown_edges, n_edges)):
        if noun == "edges" and shown:
            lines += ["Edges:", *shown]
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


def is_dot(obj: object) -> bool:
    """Return whether `obj` is a drawing of graphviz, which has its source in the DOT language."""
    return is_kind(obj, "graphviz", "Graph", "Digraph", "Source")


def summarize_dot(drawing: Any, *, limits: Limits) -> Text:
    """Return the source of a drawing of graphviz in a fence; it says more than a picture."""
    about = f"{type_name(drawing)}, {len(drawing.source.splitlines()):,} lines of DOT"
    code = cut(drawing.source, max_chars=limits.text_chars - CELL_CHARS)  # room for the fence
    return as_text(fenced(code, language="dot"), limits=limits, about=about, lines=True)
