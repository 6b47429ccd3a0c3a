"""One value of a table, or the name of one column, on one line.

Knows of values alone: what a column says about all of its values stands in `columns`.
"""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

from segmind_jupyter.content.containers import is_container, listing
from segmind_jupyter.content.kinds import attempted, is_kind, type_name
from segmind_jupyter.content.text import one_line

#: Longest column name and dtype, in characters.
NAME_CHARS = 60

#: The line breaks that a listing has behind an opening and before a closing bracket.
_BREAK = re.compile(r"(?<=[\[({])\n\s*|\n\s*(?=[\])}])")

_MIDNIGHT = " 00:00:00"

#: Values that read better as ``str`` has them than as a call of their constructor.
_STANDARD = (datetime.date, datetime.time, datetime.timedelta, Decimal, Fraction, UUID)

#: A cell is written from at most so many elements or bytes of what it holds.
_MOST_ELEMENTS = 100


def column_name(label: object) -> str:
    """Write a column's label: a string as it is, anything else as Python writes it."""
    text = label if type(label) is str else _listed(label, NAME_CHARS)
    return one_line(text, max_chars=NAME_CHARS)


def cell(value: Any, *, max_chars: int) -> str:
    """Write one value on one line of at most `max_chars` characters.

    Floats are rounded: to 7 significant digits, or to 12 from a million on. Of lists, arrays and
    bytes no more is looked at than is written.
    """
    if is_kind(value, "numpy", "floating"):
        value = float(value)
    elif is_kind(value, "numpy", "complexfloating"):
        value = complex(value)
    elif is_kind(value, "numpy", "integer", "bool", "bool_"):
        value = value.item()
    if isinstance(value, str):
        return one_line(value, max_chars=max_chars) or "''"
    return one_line(_flat(_spelled(value, max_chars)), max_chars=max_chars)


def _flat(text: str) -> str:
    return " ".join(text.split())


def _spelled(value: Any, max_chars: int) -> str:
    if type(value) is float:
        return _rounded(value)
    if type(value) is complex:
        return f"{_rounded(value.real)}{value.imag:+.7g}j"
    if is_kind(value, "numpy", "datetime64", "timedelta64"):
        return instant(value)
    if _is_standard(value):
        return attempted(str, value).removesuffix(_MIDNIGHT)
    if isinstance(value, bytes | bytearray):
        return repr(bytes(value[:max_chars]))
    if is_kind(value, "numpy", "ndarray"):
        return _array(value, max_chars)
    if hasattr(type(value), "shape"):  # a table or a tensor; its repr may be of any length
        return _flat(f"<{type_name(value)} {'×'.join(map(str, value.shape))}>")
    return _listed(value, max_chars)


def _listed(value: Any, max_chars: int) -> str:
    """Write a container on one line; `listing` breaks a long one behind commas and brackets."""
    text = listing(value, max_chars=10 * max_chars)
    return _BREAK.sub("", text) if is_container(value) else text


def _rounded(value: float) -> str:
    return "NaN" if value != value else f"{value:.{12 if abs(value) >= 1e6 else 7}g}"


def _is_standard(value: Any) -> bool:
    is_pandas = is_kind(value, "pandas", "Timestamp", "Timedelta", "Period", "Interval")
    return is_pandas or issubclass(type(value), _STANDARD)


def instant(value: Any) -> str:
    """Write a ``numpy.datetime64`` or ``timedelta64`` without the digits that say nothing."""
    day, _, time = str(value).partition("T")
    time = time.rstrip("0").rstrip(".") if "." in time else time
    return day if time in ("", "00:00:00", "00:00") else f"{day} {time}"


def _array(array: Any, max_chars: int) -> str:
    """Write the elements of a short array; NumPy's own repr follows the user's options."""
    if array.ndim == 1 and array.size <= _MOST_ELEMENTS:
        return f"array({listing(array.tolist(), max_chars=10 * max_chars)})"
    return f"<array {'×'.join(map(str, array.shape)) or 'scalar'} {array.dtype}>"
