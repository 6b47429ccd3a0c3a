"""One column of a pandas table in words: its type, what is missing, its range or commonest values.

Asks the pandas objects themselves, so nothing is imported and no display option matters.
"""

from __future__ import annotations

import math
import sys
from contextlib import suppress
from typing import Any

from segmind_jupyter.content import tally
from segmind_jupyter.content.cells import NAME_CHARS, cell
from segmind_jupyter.content.kinds import is_kind
from segmind_jupyter.content.text import one_line

#: Dtype kinds (NumPy's letters) whose smallest and largest value are quick to find and say much:
#: signed, unsigned, floating, timedelta, datetime.
_RANGED_KINDS = frozenset("iufmM")

#: Those of them whose mean says something too.
_MEAN_KINDS = frozenset("iuf")

#: Types of Arrow that have a range, though pandas calls them objects.
_RANGED_ARROW = ("date", "time", "decimal", "duration")

#: Counting what is missing takes 20 ms a million objects, so longer columns of them are sampled.
_EXACT_OBJECTS = 2_000_000

#: Numbers are read to this length: 50 ms for ten million.
EXACT_ROWS = 50_000_000

#: How many levels of an ordered category are listed, and how long each may be.
_NAMED_LEVELS, _LEVEL_CHARS = 8, 24


def described(series: Any, *, name: str, exact_rows: int = EXACT_ROWS) -> str:
    """Describe a column in one line.

    Parameters
    ----------
    series
        A ``pandas.Series`` of any dtype.
    name
        How the column is called in the line.
    exact_rows
        A longer column is described by so many of its values, evenly spaced, and the line says so.
    """
    dtype, n_rows = _dtype(series.dtype), len(series)
    most = exact_rows if _is_quick(series.dtype) else min(exact_rows, _EXACT_OBJECTS)
    step = tally.stride(n_rows, tally.SAMPLED_ROWS) if n_rows > most else 1
    series = series.iloc[::step]
    facts = [_missing(series), *_present_facts(series)]
    return tally.column_line(name, dtype, tally.sampled(facts, step))


def is_numeric(series: Any) -> bool:
    """Tell whether a column holds numbers, which read best flush right."""
    return getattr(series.dtype, "kind", "O") in "iufc"


def _dtype(dtype: Any) -> str:
    ordered = ""
    if is_kind(dtype, "pandas", "CategoricalDtype") and dtype.ordered:
        ordered = f", ordered {_levels(dtype.categories)}"
    return one_line(str(dtype), max_chars=NAME_CHARS) + ordered


def _levels(categories: Any) -> str:
    shown = [cell(level, max_chars=_LEVEL_CHARS) for level in categories[:_NAMED_LEVELS]]
    return " < ".join(shown) + (" < …" if len(categories) > _NAMED_LEVELS else "")


def _is_quick(dtype: Any) -> bool:
    """Tell whether a column is read at the speed of numbers: no Python objects, no texts."""
    return _has_few_values(dtype) or getattr(dtype, "kind", "O") in "iufcmM"


def _has_few_values(dtype: Any) -> bool:
    return is_kind(dtype, "pandas", "CategoricalDtype") or getattr(dtype, "kind", "O") == "b"


def _missing(series: Any) -> str:
    with suppress(Exception):  # a foreign extension array may refuse
        return tally.missing(int(series.isna().sum()), len(series))
    return ""


def _present_facts(series: Any) -> list[str]:
    """Say what is known of the values that are not missing, if there are any."""
    with suppress(Exception):  # as above; and values may refuse to be hashed or compared
        if _has_range(series.dtype):
            return [_ranged(series)]
        if _has_few_values(series.dtype):
            return [_counted(series)]
        return _sampled_facts(series)
    return []


def _has_range(dtype: Any) -> bool:
    if is_kind(dtype, "pandas", "PeriodDtype"):
        return True
    arrow = str(getattr(dtype, "pyarrow_dtype", ""))
    return getattr(dtype, "kind", "O") in _RANGED_KINDS or arrow.startswith(_RANGED_ARROW)


def _ranged(series: Any) -> str:
    low, high = series.min(), series.max()
    if low is None or low != low or is_kind(low, "pandas", "NAType", "NaTType"):  # none is present
        return ""
    return tally.ranged(low, high, _mean(series))


def _mean(series: Any) -> float | None:
    """Average numbers; infinities have no mean, and half-precision floats may overflow."""
    if getattr(series.dtype, "kind", "O") not in _MEAN_KINDS:
        return None
    with suppress(Exception), sys.modules["numpy"].errstate(all="ignore"):
        mean = float(series.mean())
        return mean if math.isfinite(mean) else None
    return None


def _counted(series: Any) -> str:
    counts = series.value_counts()
    counts = counts[counts > 0]  # a category that never occurs is counted too
    pairs = list(zip(counts.index[: tally.NAMED], counts.iloc[: tally.NAMED].tolist(), strict=True))
    return tally.counted(pairs, len(counts)) if pairs else ""


def _sampled_facts(series: Any) -> list[str]:
    """Look at Python objects and texts one by one, in a bounded number of places."""
    step = tally.stride(len(series), tally.SAMPLED_ROWS)
    values = series.iloc[::step].dropna().tolist()
    return tally.sampled([_object_types(series, values), *tally.facts_of(values)], step)


def _object_types(series: Any, values: list[Any]) -> str:
    """Name the types that a column of objects holds, unless all of it is text."""
    types = tally.types_of(values) if series.dtype == object else ""
    return "" if types in ("", "str") else f"holds {types}"
