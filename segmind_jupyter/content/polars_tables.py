"""Summaries of polars' frames and series, and of what a LazyFrame would do: it is never run.

Asks the polars objects themselves: nothing is imported, and neither pandas nor pyarrow is needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from segmind_jupyter.content import tally
from segmind_jupyter.content.cells import NAME_CHARS, cell, column_name
from segmind_jupyter.content.kinds import spelled
from segmind_jupyter.content.parts import STANDARD, Limits, Text
from segmind_jupyter.content.sheet import CELL_CHARS, Column, Ends, exact_rows
from segmind_jupyter.content.tables import bounded, counted, heading, size, table_text
from segmind_jupyter.content.text import one_line

#: Types of polars, by the name before any parameter, whose range is quick to find.
_RANGED = frozenset(
    {"Decimal", "Date", "Datetime", "Duration", "Time", "Float16", "Float32", "Float64"}
    | {f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64, 128)}
)

#: Types with few values, so that all rows are counted.
_FEW_VALUES = frozenset({"Boolean", "Categorical", "Enum"})

#: Types whose values are tables of their own: neither ordered nor counted.
_NESTED = frozenset({"Array", "Struct"})

#: A cell is written from at most so many items of its list.
_LIST_ITEMS = 100


def summarize_polars_frame(
    frame: Any, *, limits: Limits = STANDARD, name: str | None = None
) -> Text:
    """Summarize a ``polars.DataFrame`` of any size, as `tables.summarize_frame` does for pandas."""
    sheet = PolarsSheet(frame)
    about = f"polars DataFrame {sheet.n_rows}×{sheet.n_columns}"
    head = heading(frame, f"polars, {size(sheet)}", name)
    return table_text(sheet, heading=head, about=about, limits=limits)


def summarize_polars_series(
    series: Any, *, limits: Limits = STANDARD, name: str | None = None
) -> Text:
    """Summarize a ``polars.Series`` as a table of one column."""
    frame = series.to_frame(series.name or "values")
    head = heading(series, f"polars, {counted(len(series), 'value')}", name)
    about = f"polars Series {len(series)} {_dtype(series.dtype)}"
    return table_text(PolarsSheet(frame), heading=head, about=about, limits=limits)


def describe_lazy_frame(frame: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Describe a ``polars.LazyFrame`` by its columns and its plan, and do not collect it.

    polars may look at the header of a file that the plan scans, to know its columns; no rows are
    read. A plan that cannot work is described by polars' own error.
    """
    head = heading(frame, "polars, not collected: no rows are read", name)
    text = "\n".join((head, *_outline(frame)))
    return bounded(text, about="polars LazyFrame", limits=limits)


def _outline(frame: Any) -> Iterator[str]:
    try:
        schema, plan = frame.collect_schema(), frame.explain(optimized=False)
    except Exception as error:  # noqa: BLE001 - polars raises many kinds, for any faulty step
        yield f"The plan does not work: {spelled(error)}"
        return
    yield f"{counted(len(schema), 'column')}:"
    for label, dtype in schema.items():
        yield tally.column_line(column_name(label), _dtype(dtype), ())
    yield f"Plan, not optimized:\n{plan.rstrip()}"


@dataclass(frozen=True, slots=True)
class PolarsSheet:
    """A ``polars.DataFrame`` as a `sheet.Sheet`."""

    frame: Any

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return int(self.frame.height)

    @property
    def n_columns(self) -> int:
        """How many columns there are."""
        return int(self.frame.width)

    @property
    def column_levels(self) -> str:
        """Give nothing: columns of polars have no levels."""
        return ""

    def names(self) -> Iterator[str]:
        """Give the names of all columns, one by one."""
        return map(column_name, self.frame.columns)

    def column(self, position: int, ends: Ends, max_chars: int) -> Column:
        """Read one column."""
        series = self.frame.to_series(position)
        name = column_name(series.name)
        cells = (cell(value, max_chars=max_chars) for value in _ends(series, ends))
        line = tally.column_line(name, _dtype(series.dtype), _facts(series, exact_rows(self)))
        header = one_line(name, max_chars=CELL_CHARS)
        return Column(line, (header, *cells), bool(series.dtype.is_numeric()))

    def row_labels(self, ends: Ends, max_chars: int) -> list[Column]:
        """Count the rows from zero, as polars does."""
        return [Column("", ("", *map(str, ends.of(range(self.n_rows)))))]


def _ends(series: Any, ends: Ends) -> list[Any]:
    """Give the values of both ends as Python has them; of a long list, its beginning."""
    first, last = series.head(ends.head), series.tail(ends.tail)
    if _base(series) == "List":
        first, last = first.list.head(_LIST_ITEMS), last.list.head(_LIST_ITEMS)
    return [*first.to_list(), *last.to_list()]


def _base(series: Any) -> str:
    """Name the type of a series without its parameters: ``"List"``."""
    return str(series.dtype.base_type())


def _dtype(dtype: Any) -> str:
    return one_line(str(dtype), max_chars=NAME_CHARS)


def _facts(series: Any, exact: int) -> list[str]:
    step = tally.stride(len(series), tally.SAMPLED_ROWS) if len(series) > exact else 1
    series = series.gather_every(step) if step > 1 else series
    facts = [tally.missing(series.null_count(), len(series)), *_nan(series), *_present(series)]
    return tally.sampled(facts, step)


def _nan(series: Any) -> Iterator[str]:
    """Count NaN, which polars tells from a missing value."""
    if series.dtype.is_float() and (count := int(series.is_nan().sum())):
        yield f"{count:,} NaN"


def _present(series: Any) -> list[str]:
    with suppress(Exception):  # a type of a later release may refuse
        base = _base(series)
        if base in _RANGED:
            return [_ranged(series)]
        if base in _FEW_VALUES:
            return [_counted(series)]
        if base == "List":
            return [f"length {_ranged(series.list.len())}"]
        return [] if base in _NESTED else _sampled_facts(series)
    return []


def _sampled_facts(series: Any) -> list[str]:
    step = tally.stride(len(series), tally.SAMPLED_ROWS)
    values = series.gather_every(step).drop_nulls().to_list()
    types = f"holds {tally.types_of(values)}" if _base(series) == "Object" else ""
    return tally.sampled([types, *tally.facts_of(values)], step)


def _ranged(series: Any) -> str:
    low, high = series.min(), series.max()
    if low is None or low != low:
        return ""
    return tally.ranged(low, high, _mean(series))


def _mean(series: Any) -> float | None:
    """Average the numbers; NaN is left out, as it is of the ends."""
    if not series.dtype.is_numeric():
        return None
    mean = (series.drop_nans() if series.dtype.is_float() else series).mean()
    return float(mean) if mean is not None and math.isfinite(mean) else None


def _counted(series: Any) -> str:
    """Count values; polars leaves the order of equal counts to chance."""
    rows = series.drop_nulls().value_counts().rows()
    pairs = sorted(rows, key=lambda row: (-row[1], str(row[0])))
    return tally.counted(pairs[: tally.NAMED], len(pairs)) if pairs else ""
