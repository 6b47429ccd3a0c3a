"""A NumPy array as text: its shape, its range, how much is missing, and some of its values.

Reaches NumPy through the array, since the package does not import it. Arrays that are pictures
are no concern of this module.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from segmind_jupyter.content.cells import cell
from segmind_jupyter.content.containers import listing
from segmind_jupyter.content.kinds import is_kind, type_name
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, STANDARD, Limits, Text
from segmind_jupyter.content.text import as_text

#: Larger arrays (a memory map of a disk, say) are not read for their range and mean.
_READ_ELEMENTS = 50_000_000

#: Never write more elements than this, whatever the budget.
_MAX_ELEMENTS = 2_000

#: How many elements are written of an array whose corners are too many.
_MAX_FIRST = 100

#: How many elements are written from each end of an axis: the first choice that fits. An array
#: with no longer axis than twice that is written whole.
_ENDS = (_MAX_ELEMENTS // 2, 10, 5, 3, 2, 1)

#: Longest written form of one statistic, in characters.
_VALUE_CHARS = 40

#: NumPy's own printing options, so that those of the user do not matter.
_PRINTING = {
    "precision": 6, "suppress": False, "linewidth": 100, "nanstr": "nan", "infstr": "inf",
    "formatter": None, "sign": "-", "floatmode": "maxprec", "legacy": False,
}  # fmt: skip


def summarize_array(
    array: Any,
    *,
    limits: Limits = STANDARD,
    name: str | None = None,
    title: str | None = None,
    about: str | None = None,
) -> Text:
    """Summarize an array that is no picture.

    Parameters
    ----------
    array
        A ``numpy.ndarray`` of any shape and dtype.
    limits
        `limits.table_tokens` bounds the summary.
    name
        What the user calls the array.
    title, about
        What to call its type and shape, at its head and in the footer, where the array stands for
        an object of another library.

    Returns
    -------
    Text
        About, for instance, ``"ndarray 64×64 float64"``.
    """
    max_chars = limits.table_tokens * CHARS_PER_TOKEN
    title = title or array_title(array)
    heading = f"{f'{name}: ' if name else ''}{title}"
    head = "\n".join(filter(None, (heading, "; ".join(statistics(array)))))
    values = _values(array, max_chars - len(head) - 1)
    narrower = replace(limits, text_chars=max_chars)
    about = about or about_array(array)
    return as_text(f"{head}\n{values}", limits=narrower, about=about, lines=True)


def array_title(array: Any) -> str:
    """Say what an array is, at its head: ``"ndarray, shape (64, 64), float64"``."""
    return f"{type_name(array)}, shape {array.shape}, {array.dtype}"


def about_array(array: Any) -> str:
    """Say what an array is, for the footer: ``"ndarray 64×64 float64"``."""
    shape = "×".join(map(str, array.shape)) or "scalar"
    return f"{type_name(array)} {shape} {array.dtype}"


def statistics(array: Any) -> Iterator[str]:
    """Give what is known of all values; NaN and masked ones are counted and left out."""
    numpy = sys.modules["numpy"]
    if not array.size or array.size > _READ_ELEMENTS or array.dtype.kind not in "biuf":
        return
    values = numpy.asarray(array)
    if is_kind(array, "numpy", "MaskedArray"):
        values = array.compressed()
        yield f"{array.size - values.size:,} of {array.size:,} masked"
    if values.dtype.kind == "b":
        yield f"{int(values.sum()):,} of {values.size:,} true"
    else:
        yield from _spread(values, numpy)


def _spread(values: Any, numpy: Any) -> Iterator[str]:
    present = ~numpy.isnan(values)
    if present.any():
        with numpy.errstate(all="ignore"):  # infinities have no mean, and that is no fault
            mean = values.mean(dtype="float64", where=present)
        low, high = numpy.fmin.reduce(values, axis=None), numpy.fmax.reduce(values, axis=None)
        yield f"min {_spelled(low)}, max {_spelled(high)}, mean {_spelled(mean)}"
    if missing := values.size - int(present.sum()):
        yield f"{missing:,} of {values.size:,} NaN"


def _spelled(value: Any) -> str:
    return cell(value, max_chars=_VALUE_CHARS)


def _values(array: Any, max_chars: int) -> str:
    """Write all values if they fit, else those at the corners, as many as fit."""
    if array.dtype.kind == "O":  # NumPy's printing stops at an element whose repr raises
        return _first(array, max_chars)
    for per_end in _ENDS:
        if _written_elements(array, per_end) <= _MAX_ELEMENTS:
            text = _printed(array, per_end)
            if len(text) <= max_chars:
                return text
    return _first(array, max_chars)  # the corners double with every axis


def _first(array: Any, max_chars: int) -> str:
    if array.size <= _MAX_FIRST:
        return listing(array.tolist(), max_chars=max_chars)
    values = listing(array.flat[:_MAX_FIRST].tolist(), max_chars=max_chars)
    return f"The first {_MAX_FIRST} of {array.size:,} values, in order:\n{values}"


def _written_elements(array: Any, per_end: int) -> int:
    return math.prod(min(length, 2 * per_end) for length in array.shape)


def _printed(array: Any, per_end: int) -> str:
    """Print an array as NumPy does, with `per_end` elements from each end of an axis."""
    numpy = sys.modules["numpy"]
    is_whole = all(length <= 2 * per_end for length in array.shape)
    with numpy.printoptions(
        threshold=sys.maxsize if is_whole else 0, edgeitems=per_end, **_PRINTING
    ):
        text = str(
            numpy.ma.asarray(array) if numpy.ma.isMaskedArray(array) else numpy.asarray(array)
        )
    left_out = array.size - _written_elements(array, per_end)
    return f"{text}\n[{left_out:,} of {array.size:,} values not shown]" if left_out else text
