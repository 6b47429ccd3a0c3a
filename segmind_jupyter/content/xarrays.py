"""xarray's DataArrays and Datasets: dimensions, coordinates, attributes, and the values in memory.

xarray is not imported. Data that is computed when it is read (dask), or that still lies in a file,
is never asked for: it is described by its shape and type.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from segmind_jupyter.content.array_summary import statistics, summarize_array
from segmind_jupyter.content.cells import cell, column_name
from segmind_jupyter.content.images import image_from_array, is_image_array
from segmind_jupyter.content.kinds import is_kind, type_name
from segmind_jupyter.content.parts import STANDARD, Limits, Part, Text
from segmind_jupyter.content.pixels import grey_ends
from segmind_jupyter.content.tables import bounded
from segmind_jupyter.content.text import one_line

#: Longest attribute that is written whole, and how many of them are, of each object.
_ATTRIBUTE_CHARS, _MAX_ATTRIBUTES = 120, 20

#: How many coordinates or variables are described.
_MAX_VARIABLES = 60

_CELL_CHARS = 40

#: Values of a dataset that are read for the ranges of its variables: a second's work.
_READ_VALUES = 100_000_000

#: xarray puts no more wrappers than this around the data that it holds.
_MAX_WRAPPERS = 8


def data_array_parts(
    array: Any, *, limits: Limits = STANDARD, name: str | None = None
) -> list[Part]:
    """Describe a ``xarray.DataArray``, and send its values: drawn if they look like a picture.

    Parameters
    ----------
    array
        Any DataArray; it is neither loaded nor computed.
    limits
        How large the text and the picture may become.
    name
        What the user calls it.

    Returns
    -------
    list of Text or Image
        The description, and for two dimensions of at least 16 each (`pixels.is_image_array`) the
        picture: its first row stands at the top, whichever way the coordinate runs, and the text
        says so. Other values follow in the text, as those of an array.
    """
    head = [_heading(array, _array_title(array), name), *_described(array)]
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


def _described(array: Any) -> Iterator[str]:
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
        """Give the range and the mean of numbers, else the ends."""
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
    """Give what the CF conventions call a variable's long name and its units."""
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
    """Give the values as a NumPy array if that is what is behind the variable, else `None`.

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
    """Give the first and the last coordinate along a dimension, or the positions."""
    if dim not in array.indexes:
        return "0", str(array.sizes[dim] - 1)
    index = array.indexes[dim]
    first, last = (cell(index[n], max_chars=_CELL_CHARS) for n in (0, -1))
    return first, last
