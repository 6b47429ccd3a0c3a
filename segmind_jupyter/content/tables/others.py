"""Networks as text: how large, how connected, and as many nodes and edges as fit.

Drawings in the DOT language (graphviz, pydot) go as their source, which says more than a picture.
"""

from __future__ import annotations

import heapq
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from segmind_jupyter.content.images.arrays import (
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
    format_error,
    is_kind,
    type_name,
)
from segmind_jupyter.content.tables.summary import (
    CELL_CHARS,
    Column,
    Ends,
    PandasSheet,
    bounded,
    cell,
    column_name,
    grid,
    heading,
    joined,
    summarize_frame,
    table_text,
    tables_counted,
)
from segmind_jupyter.content.text import as_text, cut, fenced, listing, one_line, plain_text
from segmind_jupyter.errors import ContentError

#: Smaller matrices are written as arrays.
_DENSE_ELEMENTS = 1_000

#: With more stored values than this they are not put in order: half a second's work.
_LISTED_ENTRIES = 2_000_000

#: Entries that are written from each end, in the order of their rows.
_END_ENTRIES = 10

_CELL_CHARS = 40


def summarize_sparse(matrix: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a sparse matrix or array of any format."""
    shape = "×".join(str(side) for side in matrix.shape)
    about = f"{type_name(matrix)} {shape} {matrix.dtype}"
    title = f"{type_name(matrix)}, shape {tuple(matrix.shape)}, {matrix.dtype}; {_filled(matrix)}"
    if _size(matrix) <= _DENSE_ELEMENTS:
        dense = matrix.toarray()
        return summarize_array(dense, limits=limits, name=name, title=title, about=about)
    lines = [f"{f'{name}: ' if name else ''}{title}", *_entries(matrix)]
    return bounded("\n".join(lines), about=about, limits=limits)


def _size(matrix: Any) -> int:
    return math.prod(int(side) for side in matrix.shape)  # Python's integers do not overflow


def _filled(matrix: Any) -> str:
    stored, size = int(matrix.nnz), _size(matrix)
    share = f" ({stored / size:.3g} of all)" if size else ""
    return f"{tables_counted(stored, 'value')} stored{share}, the others are zero"


def _entries(matrix: Any) -> Iterator[str]:
    """Describe what is stored, and write the first and the last entries by row."""
    is_listed = int(matrix.nnz) <= _LISTED_ENTRIES
    entries = matrix.tocoo() if is_listed else matrix
    if is_kind(entries.data, "numpy", "ndarray") and (facts := "; ".join(statistics(entries.data))):
        yield f"Of the stored values: {facts}"
    if not is_listed:
        yield "[too many values are stored to list some]"
    elif len(entries.data):
        yield from _listed(entries)


def _listed(entries: Any) -> Iterator[str]:
    numpy = sys.modules["numpy"]
    places = getattr(entries, "coords", None) or (entries.row, entries.col)  # before SciPy 1.13
    order = numpy.lexsort(places[::-1])
    ends = Ends.fitting(len(order), _END_ENTRIES)
    lines = [_entry(places, entries.data[n], n) for n in ends.of(order)]
    yield "Entries, by row:"
    yield from lines[: ends.head]
    if ends.hidden:
        yield f"… {len(order) - ends.count:,} more"
    yield from lines[ends.head :]


def _entry(places: Any, value: Any, n: int) -> str:
    place = ", ".join(str(int(axis[n])) for axis in places)
    return f"({place}): {cell(value, max_chars=_CELL_CHARS)}"


#: Of more groups, the first so many are looked at.
_MAX_GROUPS: Final = 1_000

#: Longest lists of keys and of columns, in characters.
_NAMES_CHARS: Final = 200


def is_window(obj: object) -> bool:
    """Return whether `obj` is rows that were put together, and holds nothing of its own to send."""
    return is_kind(obj, "pandas", "Resampler", "BaseWindow") or is_kind(
        obj, "polars", "GroupBy", "LazyGroupBy", "RollingGroupBy", "DynamicGroupBy"
    )


def refuse_window(window: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Say what to name in place of a resampler, a window or a grouping that is not computed yet."""
    called = name or "x"
    is_polars = is_kind(window, "polars", type_name(window))
    step = f"{called}.agg(...)" if is_polars else f"{called}.mean()"
    raise ContentError(
        f"A {type_name(window)} has no values before it is computed. Assign what you want to know "
        f"of it, such as `result = {step}`, and name that."
    )


def summarize_groups(groups: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a grouped DataFrame or Series: its keys, its groups, and how many rows each has."""
    keys, sizes = _sizes(groups)
    title = f"{f'{name}: ' if name else ''}{type_name(groups)} by {_named(keys)}"
    head = f"{title}: {tables_counted(len(sizes), 'group')}{_span(sizes)} of {_about(groups.obj)}"
    first = sizes.iloc[:_MAX_GROUPS]
    shown = dict(zip(first.index.tolist(), first.tolist(), strict=True))
    lines = [head, f"Rows of each group: {listing(shown, max_chars=_room(limits, head))}"]
    if len(shown) < len(sizes):
        lines.append(f"[groups {_MAX_GROUPS + 1:,}-{len(sizes):,} are not looked at]")
    about = f"{type_name(groups)}, {tables_counted(len(sizes), 'group')}"
    return bounded("\n".join(lines), about=about, limits=limits)


def _sizes(groups: Any) -> tuple[list[Any], Any]:
    """Return the names of the keys, and a Series of the sizes by key."""
    sizes = groups.size()
    if is_kind(sizes, "pandas", "DataFrame"):  # as_index=False
        keys = list(sizes.columns[:-1])
        sizes = sizes.set_index(keys).iloc[:, 0]
    return list(sizes.index.names), sizes


def _span(sizes: Any) -> str:
    if not len(sizes):
        return ""
    low, high = int(sizes.min()), int(sizes.max())
    return f", {f'{low:,} to ' if low < high else ''}{tables_counted(high, 'row')} each,"


def _about(obj: Any) -> str:
    """Say what was grouped: ``a DataFrame of 3 rows: city, n``."""
    columns = obj.columns if hasattr(obj, "columns") else [obj.name]
    return f"a {type_name(obj)} of {tables_counted(len(obj), 'row')}: {_named(columns)}"


def _named(names: Any) -> str:
    return joined(map(_word, names), max_chars=_NAMES_CHARS)


def _word(name: Any) -> str:
    return "unnamed" if name is None else plain_text(name)


def _room(limits: Limits, head: str) -> int:
    return max(0, limits.table_tokens * CHARS_PER_TOKEN - len(head) - _NAMES_CHARS)


#: Between the cells of a line, where no cell has it.
_SEPARATOR = "\x1f"

#: A Styler formats so many cells in about a tenth of a second, and no more are asked for.
_MOST_CELLS = 20_000

#: Before it prints any cell, a Styler copies all formats and computes all styles: two seconds for
#: so many cells. Larger ones are summarized as the tables that they are made of.
_MOST_STYLED_CELLS = 200_000

#: A line takes so many characters at least: a label, a gap, a cell and the line break.
_LEAST_LINE_CHARS = 5

#: Lines that must stay possible before one more column is shown.
_MIN_LINES = 6

#: Longest caption, and room kept for the note on what was left out, in characters.
_CAPTION_CHARS, _NOTE_CHARS = 400, 120


def summarize_styler(styler: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Write the table that a Styler displays."""
    n_rows = _displayed(styler.index, styler.hidden_rows)
    n_columns = _displayed(styler.columns, styler.hidden_columns)
    size = f"{tables_counted(n_rows, 'row')} × {tables_counted(n_columns, 'column')}"
    head = [f"{f'{name}: ' if name else ''}Styler, {size}", *_caption(styler)]
    about = f"Styler {n_rows}×{n_columns}"
    if styler.data.size > _MOST_STYLED_CELLS:
        head.append("[too large to be formatted here: what follows are its values]")
        sheet = PandasSheet(_values(styler))
        return table_text(sheet, heading="\n".join(head), about=about, limits=limits)
    room = limits.table_tokens * CHARS_PER_TOKEN - sum(len(line) + 1 for line in head)
    with _naming_failures(name):
        page = _read(styler, n_rows=n_rows, n_columns=n_columns, room=room)
    text = "\n".join((*head, *page.lines(room)))
    return bounded(text, about=about, limits=limits)


@contextmanager
def _naming_failures(name: str | None) -> Iterator[None]:
    """Say that it was a function of the user's: pandas calls those when it prints, not before."""
    try:
        yield
    except Exception as error:
        raise ContentError(
            f"The Styler cannot write its cells ({format_error(error)}). Correct the function that "
            f"formats or styles them, or name its table: {name or 'styler'}.data"
        ) from error


def _values(styler: Any) -> Any:
    """Return the table behind a Styler, without what is hidden."""
    rows = _positions(styler.index, styler.hidden_rows)
    frame = styler.data.iloc[rows, _positions(styler.columns, styler.hidden_columns)]
    return frame.reset_index(drop=True) if all(styler.hide_index_) else frame


def _positions(labels: Any, hidden: Iterable[int]) -> Any:
    left_out = set(hidden)
    return [n for n in range(len(labels)) if n not in left_out] if left_out else slice(None)


def _displayed(labels: Any, hidden: Iterable[int]) -> int:
    return len(labels) - len(set(hidden))


def _caption(styler: Any) -> Iterator[str]:
    caption = styler.caption
    text = caption[0] if isinstance(caption, tuple) else caption  # (caption, short caption)
    if text:
        yield f"Caption: {one_line(str(text), max_chars=_CAPTION_CHARS)}"


@dataclass(frozen=True, slots=True)
class _Page:
    """What a Styler displays, as far as it was read: lines of cells, all of one length."""

    header: list[list[str]]
    body: list[list[str]]
    foot: list[list[str]]
    n_rows: int
    n_columns: int

    def lines(self, room: int) -> Iterator[str]:
        """Write as many columns and rows as fit into `room` characters, and what does not."""
        columns = self._columns()
        n_taken = max(1, _fitting((column.cost(_MIN_LINES) for column in columns), room))
        written = grid(columns[:n_taken]) if columns else []
        begin, end = len(self.header), len(written) - len(self.foot)
        room -= _NOTE_CHARS + sum(len(line) + 1 for line in (*written[:begin], *written[end:]))
        n_shown = _fitting((len(line) + 1 for line in written[begin:end]), room)
        yield from written[: begin + n_shown]
        if n_shown < self.n_rows:
            yield "…"
        yield from written[end:]
        yield from self._notes(n_shown, len(columns) - n_taken)

    def _columns(self) -> list[Column]:
        rows = (*self.header, *self.body, *self.foot)
        if len(set(map(len, rows))) > 1:
            raise ContentError(
                f"A cell of the Styler holds the control character {_SEPARATOR!r}. Replace it."
            )
        texts = ([one_line(text, max_chars=CELL_CHARS) for text in row] for row in rows)
        return [Column("", cells) for cells in zip(*texts, strict=True)]

    def _notes(self, n_shown: int, n_hidden: int) -> Iterator[str]:
        facts = []
        if n_shown < self.n_rows:
            facts.append(f"rows {n_shown + 1:,}-{self.n_rows:,} of {self.n_rows:,} not shown")
        if n_hidden > 0:
            facts.append(f"the last {n_hidden:,} of {self.n_columns:,} columns not shown")
        if facts:
            yield f"[{'; '.join(facts)}]"


def _fitting(costs: Iterable[int], room: int) -> int:
    """Count how many come before the room is used up."""
    count = 0
    for cost in costs:
        room -= cost
        if room < 0:
            break
        count += 1
    return count


def _read(styler: Any, *, n_rows: int, n_columns: int, room: int) -> _Page:
    """Let the Styler print its first rows, no more than could fit, and every label in full."""
    could_fit = min(room // _LEAST_LINE_CHARS, _MOST_CELLS // max(1, n_columns))
    n_asked = min(n_rows, max(1, could_fit))
    printed = styler.to_string(
        delimiter=_SEPARATOR, max_rows=n_asked, sparse_index=False, sparse_columns=False
    )
    rows = _even(_split(printed))
    n_foot = sum(_displayed(other.index, other.hidden_rows) for other in styler.concatenated)
    is_cut = n_asked < n_rows  # then pandas puts a row of dots behind those
    n_header = max(0, len(rows) - n_asked - is_cut - n_foot)
    body = rows[n_header : n_header + n_asked]
    return _Page(rows[:n_header], body, rows[len(rows) - n_foot :], n_rows, n_columns)


def _split(printed: str) -> list[list[str]]:
    """Take lines apart, and put those together again that one cell of several lines broke."""
    lines = printed.splitlines()
    n_separators = max((line.count(_SEPARATOR) for line in lines), default=0)
    whole: list[str] = []
    for line in lines:
        is_rest = n_separators and whole and not line.count(_SEPARATOR)
        is_open = whole and whole[-1].count(_SEPARATOR) < n_separators
        if is_rest or is_open:
            whole[-1] += f"\n{line}"
        else:
            whole.append(line)
    return [line.split(_SEPARATOR) for line in whole]


def _even(rows: list[list[str]]) -> list[list[str]]:
    """Drop the empty column that a hidden last one leaves behind."""
    while rows and all(len(row) > 1 and not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]
    return rows


#: Longest name of a coordinate reference system; some are given as a page of WKT.
_CRS_CHARS = 80

#: A shorter geometry, such as a point, reads as a word of a sentence.
_INLINE_CHARS = 80

#: The sides of the bounds that geopandas gives, by axis.
_AXES = {"x": (0, 2), "y": (1, 3)}


def summarize_geo_frame(frame: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a ``geopandas.GeoDataFrame``."""
    rows, columns = frame.shape
    head = heading(
        frame, f"{tables_counted(rows, 'row')} × {tables_counted(columns, 'column')}", name
    )
    return bounded(
        _summary(frame, head, limits), about=f"{type_name(frame)} {rows}×{columns}", limits=limits
    )


def summarize_geo_series(
    series: Any, *, limits: Limits = STANDARD, name: str | None = None
) -> Text:
    """Summarize a ``geopandas.GeoSeries``; see `summarize_geo_frame`."""
    head = heading(series, tables_counted(len(series), "value"), name)
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


#: Longest attribute that is written whole, and how many of them are, of each object.
_ATTRIBUTE_CHARS, _MAX_ATTRIBUTES = 120, 20

#: How many coordinates or variables are described.
_MAX_VARIABLES = 60


#: Values of a dataset that are read for the ranges of its variables: a second's work.
_READ_VALUES = 100_000_000

#: xarray puts no more wrappers than this around the data that it holds.
_MAX_WRAPPERS = 8


def data_array_parts(
    array: Any, *, limits: Limits = STANDARD, name: str | None = None
) -> list[Part]:
    """Describe a ``xarray.DataArray``, and send its values: drawn if they look like a picture."""
    head = [_heading(array, _array_title(array), name), *_xarrays_described(array)]
    about = f"{type_name(array)} {'×'.join(map(str, array.shape)) or 'scalar'} {array.dtype}"
    values = _in_memory(array.variable)
    if values is None:
        return [bounded("\n".join([*head, _NOT_READ]), about=about, limits=limits)]
    if is_image_array(values):
        text = "\n".join([*head, *statistics(values), *_drawn(array, values)])
        picture = image_from_array(values, limits=limits, about=about)
        return [bounded(text, about="its coordinates", limits=limits), picture]
    return [summarize_array(values, limits=limits, title="\n".join(head), about=about)]


def dataset_part(dataset: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Describe a ``xarray.Dataset``: its coordinates, and its variables with their ranges.

    The parameters are those of `data_array_parts`.
    """
    sizes = ", ".join(f"{column_name(dim)} {length:,}" for dim, length in dataset.sizes.items())
    lines = [
        _heading(dataset, f"Dataset, {sizes or 'no dimensions'}", name),
        *_coordinates(dataset),
        *_section("Variables:", dataset.data_vars.items(), _range_within(len(dataset.data_vars))),
        *_attributes(dataset.attrs),
    ]
    about = f"Dataset of {len(dataset.data_vars)} variables"
    return bounded("\n".join(lines), about=about, limits=limits)


_NOT_READ = (
    "[its values are not in memory, and so not read: run its .load(), or .compute(), and name what "
    "that gives]"
)


def _heading(obj: Any, title: str, name: str | None) -> str:
    return f"{name}: {title}" if name else title


def _array_title(array: Any) -> str:
    own = f" {column_name(array.name)}" if array.name is not None else ""
    return f"{type_name(array)}{own}, {_dims(array)}, {array.dtype}"


def _dims(array: Any) -> str:
    sides = (f"{column_name(dim)} {length:,}" for dim, length in array.sizes.items())
    return " × ".join(sides) or "a single value"


def _xarrays_described(array: Any) -> Iterator[str]:
    yield from _coordinates(array)
    yield from _attributes(array.attrs)


def _coordinates(obj: Any) -> Iterator[str]:
    return _section("Coordinates:", obj.coords.items(), _ends)


def _section(
    title: str, variables: Iterable[tuple[Any, Any]], summary: Callable[[Any], str]
) -> Iterator[str]:
    """List variables, a line each, with a `summary` of the values that are in memory."""
    named = list(variables)
    if named:
        yield title
    for label, array in named[:_MAX_VARIABLES]:
        yield _line(label, array, summary)
    if len(named) > _MAX_VARIABLES:
        yield f"… {len(named) - _MAX_VARIABLES:,} more"


def _line(label: Any, array: Any, summary: Callable[[Any], str]) -> str:
    """Describe a variable: its dimensions, type and values, its meaning and unit."""
    values = _in_memory(array.variable)
    known = "not in memory" if values is None else summary(values) if values.size else "empty"
    said = "; ".join(filter(None, (known, *_meaning(array.attrs))))
    dims = ", ".join(map(column_name, array.dims))
    return f"- {column_name(label)} ({dims}) {array.dtype}" + (f": {said}" if said else "")


def _range_within(n_variables: int) -> Callable[[Any], str]:
    """Share what is read among the variables that are described."""
    most = _READ_VALUES // max(1, min(n_variables, _MAX_VARIABLES))

    def spread(values: Any) -> str:
        """Return the range and the mean of numbers, else the ends."""
        if values.size == 1 or not _is_plain(values):
            return _ends(values)
        return "; ".join(statistics(values)) if values.size <= most else "not read: it is large"

    return spread


def _is_plain(values: Any) -> bool:
    return bool(values.dtype.kind in "biuf")


def _ends(values: Any) -> str:
    """Write the first and the last value: coordinates run from one to the other."""
    flat = values.reshape(-1)
    first, last = (cell(flat[n], max_chars=_CELL_CHARS) for n in (0, -1))
    return first if len(flat) == 1 else f"{first} to {last}"


def _meaning(attrs: Mapping[Any, Any]) -> Iterator[str]:
    """Return what the CF conventions call a variable's long name and its units."""
    for key in ("long_name", "units"):
        if key in attrs:
            yield one_line(str(attrs[key]), max_chars=_CELL_CHARS)


def _attributes(attrs: Mapping[Any, Any]) -> Iterator[str]:
    if attrs:
        yield "Attributes:"
    for key in list(attrs)[:_MAX_ATTRIBUTES]:
        yield f"- {column_name(key)}: {cell(attrs[key], max_chars=_ATTRIBUTE_CHARS)}"
    if len(attrs) > _MAX_ATTRIBUTES:
        yield f"… {len(attrs) - _MAX_ATTRIBUTES:,} more"


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


def _drawn(array: Any, values: Any) -> Iterator[str]:
    """Say how to read the picture: its axes, and its shades if it has no colours."""
    rows, columns = array.dims[:2]
    (top, bottom), (left, right) = _edges(array, rows), _edges(array, columns)
    yield (
        f"Drawn below as a picture: rows are {column_name(rows)}, from {top} at the top to "
        f"{bottom}; columns are {column_name(columns)}, from {left} on the left to {right}."
    )
    if values.ndim == 2:
        black, white = (cell(float(end), max_chars=_CELL_CHARS) for end in grey_ends(values))
        yield f"Black is {black}, white is {white} or missing."


def _edges(array: Any, dim: Any) -> tuple[str, str]:
    """Return the first and the last coordinate along a dimension, or the positions."""
    if dim not in array.indexes:
        return "0", str(array.sizes[dim] - 1)
    index = array.indexes[dim]
    first, last = (cell(index[n], max_chars=_CELL_CHARS) for n in (0, -1))
    return first, last


@dataclass(frozen=True, slots=True)
class Network:
    """A network, whichever library it is of; nodes and edges are read as they are asked for."""

    is_directed: bool
    n_nodes: int
    n_edges: int
    attributes: Any
    nodes: Iterable[tuple[Any, Any]]
    edges: Iterable[tuple[Any, Any, Any]]
    degrees: Iterable[tuple[Any, int]]


def network_of(obj: Any) -> Network | None:
    """View an object as a network, or give `None` if it is none."""
    read = _reader(obj)
    return None if read is None else read(obj)


def is_network(obj: object) -> bool:
    """Return whether `obj` is a network of a library that is known here."""
    return _reader(obj) is not None


def _reader(obj: object) -> Callable[[Any], Network] | None:
    names = ((str(kind.__module__).partition(".")[0], kind.__name__) for kind in type(obj).__mro__)
    return next((_READERS[name] for name in names if name in _READERS), None)


def _of_networkx(graph: Any) -> Network:
    return Network(
        is_directed=graph.is_directed(),
        n_nodes=graph.number_of_nodes(),
        n_edges=graph.number_of_edges(),
        attributes=graph.graph,
        nodes=graph.nodes(data=True),
        edges=graph.edges(data=True),
        degrees=graph.degree(),
    )


def _of_igraph(graph: Any) -> Network:
    names = graph.vs["name"] if "name" in graph.vs.attributes() else range(graph.vcount())
    return Network(
        is_directed=graph.is_directed(),
        n_nodes=graph.vcount(),
        n_edges=graph.ecount(),
        attributes={key: graph[key] for key in graph.attributes()},
        nodes=((names[node.index], _besides_name(node.attributes())) for node in graph.vs),
        edges=((names[edge.source], names[edge.target], edge.attributes()) for edge in graph.es),
        degrees=zip(names, graph.degree(), strict=True) if graph.vcount() else (),
    )


def _besides_name(attributes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key != "name"}


def _of_rustworkx(graph: Any) -> Network:
    is_directed = is_kind(graph, "rustworkx", "PyDiGraph")
    degree = _both_degrees if is_directed else type(graph).degree
    return Network(
        is_directed=is_directed,
        n_nodes=graph.num_nodes(),
        n_edges=graph.num_edges(),
        attributes=graph.attrs,
        nodes=((index, graph[index]) for index in graph.node_indices()),
        edges=graph.weighted_edge_list(),
        degrees=((index, degree(graph, index)) for index in graph.node_indices()),
    )


def _both_degrees(graph: Any, index: int) -> int:
    return int(graph.in_degree(index) + graph.out_degree(index))


#: How to read a network, by the package and the name of a class in its ancestry.
_READERS: dict[tuple[str, str], Callable[[Any], Network]] = {
    ("networkx", "Graph"): _of_networkx,
    ("igraph", "Graph"): _of_igraph,
    ("rustworkx", "PyGraph"): _of_rustworkx,
    ("rustworkx", "PyDiGraph"): _of_rustworkx,
}


#: Longest written node, and longest written attributes, in characters.
_NODE_CHARS, _ATTRIBUTES_CHARS = 40, 120

#: The degrees of larger networks are not summed up: that takes seconds.
_MEASURED_NODES = 500_000

#: How many nodes of the highest degree are named.
_NAMED_NODES = 5

#: Nodes take no more than one part in so many of the room, so that edges keep the rest.
_NODES_SHARE = 3

#: Room kept for the notes on what was left out, and for a fence, in characters.
_NOTES_CHARS, _FENCE_CHARS = 160, 40

#: Between two nodes, or two edges, in characters.
_GAP_CHARS = 2

#: An edge is written so, by whether it has a direction.
_ARROWS = {True: "->", False: "--"}


def summarize_network(graph: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a network."""
    network = network_of(graph)
    if network is None:
        raise ContentError(f"A {type_name(graph)} is no network. Name the graph itself.")
    kind = f"{type(graph).__module__.partition('.')[0]} {type_name(graph)}"
    size = f"{tables_counted(network.n_nodes, 'node')}, {tables_counted(network.n_edges, 'edge')}"
    way = "directed" if network.is_directed else "undirected"
    head = [f"{f'{name}: ' if name else ''}{kind}, {size}, {way}", *_facts(network)]
    room = limits.table_tokens * CHARS_PER_TOKEN - sum(len(line) + 1 for line in head)
    text = "\n".join((*head, *_lists(network, room - _NOTES_CHARS)))
    return bounded(text, about=f"{kind}, {size}", limits=limits)


def is_dot(obj: object) -> bool:
    """Return whether `obj` is a drawing in the DOT language."""
    return is_kind(obj, "graphviz", "Graph", "Digraph", "Source") or is_kind(obj, "pydot", "Dot")


def summarize_dot(drawing: Any, *, limits: Limits = STANDARD) -> Text:
    """Return the source of a drawing of graphviz or pydot, in a fence."""
    source = drawing.to_string() if is_kind(drawing, "pydot", "Dot") else drawing.source
    about = f"{type_name(drawing)}, {len(source.splitlines()):,} lines of DOT"
    code = cut(source, max_chars=limits.text_chars - _FENCE_CHARS)
    return as_text(fenced(code, language="dot"), limits=limits, about=about, lines=True)


def _facts(network: Network) -> Iterator[str]:
    if network.attributes:
        yield f"Attributes: {_graphs_attributes(network.attributes)}"
    if 0 < network.n_nodes <= _MEASURED_NODES:
        yield _degrees(list(network.degrees))


def _degrees(degrees: list[tuple[Any, int]]) -> str:
    numbers = [degree for _, degree in degrees]
    mean = sum(numbers) / len(numbers)
    highest = heapq.nlargest(_NAMED_NODES, degrees, key=lambda pair: pair[1])
    named = ", ".join(f"{_node(node)} ({degree:,})" for node, degree in highest)
    return f"Degree: {min(numbers):,} to {max(numbers):,}, mean {mean:.3g}; highest: {named}"


def _lists(network: Network, room: int) -> Iterator[str]:
    """List nodes on one line, then edges on one each, as far as there is room."""
    nodes = (_with_attributes(_node(node), attributes) for node, attributes in network.nodes)
    shown = list(_graphs_fitting(nodes, room // _NODES_SHARE))
    if shown:
        yield f"Nodes: {', '.join(shown)}"
    yield from _left_out("nodes", len(shown), network.n_nodes)
    room -= sum(len(node) + _GAP_CHARS for node in shown)
    edges = list(_graphs_fitting(_graphs_edges(network), room))
    if edges:
        yield "Edges:"
    yield from edges
    yield from _left_out("edges", len(edges), network.n_edges)


def _left_out(noun: str, shown: int, total: int) -> Iterator[str]:
    if shown < total:
        yield f"[{noun} {shown + 1:,}-{total:,} of {total:,} not shown]"


def _graphs_fitting(texts: Iterable[str], room: int) -> Iterator[str]:
    """Take texts until the room is used up; no more of them are made."""
    for text in texts:
        room -= len(text) + _GAP_CHARS
        if room < 0:
            return
        yield text


def _graphs_edges(network: Network) -> Iterator[str]:
    arrow = _ARROWS[network.is_directed]
    for start, end, attributes in network.edges:
        yield _with_attributes(f"{_node(start)} {arrow} {_node(end)}", attributes)


def _with_attributes(text: str, attributes: Any) -> str:
    is_empty = attributes is None or (isinstance(attributes, dict) and not attributes)
    return text if is_empty else f"{text} {_graphs_attributes(attributes)}"


def _node(node: Any) -> str:
    return cell(node, max_chars=_NODE_CHARS)


def _graphs_attributes(attributes: Any) -> str:
    return cell(attributes, max_chars=_ATTRIBUTES_CHARS)
