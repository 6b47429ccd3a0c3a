"""SciPy's sparse matrices and arrays: what they are and a few entries; never made dense if large.

SciPy is not imported.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

from segmind_jupyter.content.array_summary import statistics, summarize_array
from segmind_jupyter.content.cells import cell
from segmind_jupyter.content.kinds import is_kind, type_name
from segmind_jupyter.content.parts import STANDARD, Limits, Text
from segmind_jupyter.content.sheet import Ends
from segmind_jupyter.content.tables import bounded, counted

#: Smaller matrices are written as arrays.
_DENSE_ELEMENTS = 1_000

#: With more stored values than this they are not put in order: half a second's work.
_LISTED_ENTRIES = 2_000_000

#: Entries that are written from each end, in the order of their rows.
_END_ENTRIES = 10

_CELL_CHARS = 40


def summarize_sparse(matrix: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a sparse matrix or array of any format.

    Parameters
    ----------
    matrix
        Any of ``scipy.sparse``: coo, csr, csc, bsr, dia, dok or lil, array or matrix, of one or
        more axes.
    limits
        `limits.table_tokens` bounds the summary.
    name
        What the user calls it.

    Returns
    -------
    Text
        About, for instance, ``"csr_array 1000×1000 float64"``.
    """
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
    return f"{counted(stored, 'value')} stored{share}, the others are zero"


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
