"""One column of a table in words: its type, what is missing, its range or its commonest values.

Asks the pandas objects themselves, so nothing is imported and no display option matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from segmind_jupyter.content.containers import listing
from segmind_jupyter.content.kinds import is_kind
from segmind_jupyter.content.text import literal, one_line

#: Values of a longer column are not counted: hashing ten million strings takes seconds.
_COUNTED_ROWS = 100_000

#: Dtype kinds (NumPy's letters) whose smallest and largest value are quick to find and say much:
#: signed, unsigned, floating, timedelta, datetime.
_RANGED_KINDS = frozenset("iufmM")

#: How many of a column's commonest values are named, and how long each may be.
_NAMED_VALUES, _NAMED_CHARS = 3, 24

#: Longest column name and dtype, in characters.
_NAME_CHARS = 60

_MIDNIGHT = " 00:00:00"


def described(series: Any, *, name: str) -> str:
    """Describe a column in one line.

    Parameters
    ----------
    series
        A ``pandas.Series`` of any dtype.
    name
        How the column is called in the line.
    """
    dtype = one_line(str(series.dtype), max_chars=_NAME_CHARS)
    facts = [fact for fact in (_missing(series), _ranged(series) or _counted(series)) if fact]
    return f"- {name} ({dtype})" + (f": {'; '.join(facts)}" if facts else "")


def column_name(label: object) -> str:
    """Write a column's label: a string as it is, anything else as Python writes it."""
    return one_line(label if type(label) is str else literal(label), max_chars=_NAME_CHARS)


def cell(value: Any, *, max_chars: int) -> str:
    """Write one value on one line of at most `max_chars` characters.

    Floats are rounded: to 7 significant digits, or to 12 from a million on.
    """
    if is_kind(value, "numpy", "floating"):
        value = float(value)
    elif is_kind(value, "numpy", "integer", "bool", "bool_"):
        value = value.item()
    if isinstance(value, str):
        return one_line(value, max_chars=max_chars) or "''"
    if type(value) is float:
        return "NaN" if value != value else f"{value:.{12 if abs(value) >= 1e6 else 7}g}"
    if is_kind(value, "pandas", "Timestamp", "Timedelta", "Period", "Interval"):
        return one_line(str(value).removesuffix(_MIDNIGHT), max_chars=max_chars)
    flat = " ".join(listing(value, max_chars=10 * max_chars).split())
    return one_line(flat, max_chars=max_chars)


def is_numeric(series: Any) -> bool:
    """Tell whether a column holds numbers, which read best flush right."""
    return getattr(series.dtype, "kind", "O") in "iufc"


def _missing(series: Any) -> str:
    with suppress(Exception):  # a foreign extension array may refuse
        missing = int(series.isna().sum())
        everything = missing == len(series) > 0
        return f"{'all ' * everything}{missing:,} missing" if missing else ""
    return ""


def _ranged(series: Any) -> str:
    if getattr(series.dtype, "kind", "O") not in _RANGED_KINDS or not len(series):
        return ""
    with suppress(Exception):  # as above
        low, high = (cell(end, max_chars=_NAME_CHARS) for end in (series.min(), series.max()))
        return f"always {low}" if low == high else f"{low} to {high}"
    return ""


def _counted(series: Any) -> str:
    """Say how many distinct values there are, and which are the commonest."""
    if len(series) > _COUNTED_ROWS and not _counts_fast(series.dtype):
        return ""
    with suppress(Exception):  # values may refuse to be hashed or compared
        counts = series.value_counts()
        counts = counts[counts > 0]  # a category that never occurs is counted too
        if len(counts):
            return f"{len(counts):,} distinct{_commonest(counts)}"
    return ""


def _counts_fast(dtype: Any) -> bool:
    return is_kind(dtype, "pandas", "CategoricalDtype") or getattr(dtype, "kind", "O") == "b"


def _commonest(counts: Any) -> str:
    """Name the commonest values, unless every value occurs once."""
    tallies = counts.iloc[:_NAMED_VALUES].tolist()
    if tallies[0] == 1:
        return ""
    pairs: Iterable[tuple[Any, int]] = zip(counts.index[:_NAMED_VALUES], tallies, strict=True)
    named = ", ".join(f"{cell(value, max_chars=_NAMED_CHARS)} ×{n:,}" for value, n in pairs)
    return f": {named}{', …' if len(counts) > _NAMED_VALUES else ''}"
