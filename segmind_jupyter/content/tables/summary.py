"""Summaries of tables: whole if they fit the budget, else their ends; and those of pandas.

Says plainly what was left out. Asks the objects themselves: nothing is imported, the object is
not changed, and no display option of pandas matters.
"""

from __future__ import annotations

import datetime
import math
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol
from uuid import UUID

from segmind_jupyter.content.parts import (
    CHARS_PER_TOKEN,
    STANDARD,
    Limits,
    Text,
    format_error,
    is_kind,
    safe_str,
    type_name,
)
from segmind_jupyter.content.text import as_text, is_container, listing, one_line

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
        return safe_str(str, value).removesuffix(_MIDNIGHT)
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


#: Longer columns of Python objects and texts are looked at in so many places, evenly spaced:
#: hashing ten million strings takes seconds.
SAMPLED_ROWS = 100_000

#: How many of a column's commonest values are named, and how long each may be.
NAMED, _NAMED_CHARS = 3, 24

#: How many types of the values of one column are named.
_NAMED_TYPES = 4

#: Significant digits of a mean.
_MEAN_DIGITS = 5

#: Texts up to this length are whole in a row of a table.
_SHORT_CHARS = 40

#: Types whose values have a range; values of two of these are not compared with each other.
_ORDERED: tuple[type, ...] = (
    int, float, Decimal, Fraction, datetime.date, datetime.datetime, datetime.time,
    datetime.timedelta,
)  # fmt: skip


def column_line(name: str, dtype: str, facts: Iterable[str]) -> str:
    """Write what is known of a column on one line of a list."""
    said = "; ".join(filter(None, facts))
    return f"- {name} ({dtype})" + (f": {said}" if said else "")


def stride(n_rows: int, most: int) -> int:
    """Return the step at which at most `most` of `n_rows` rows are met."""
    return max(1, -(-n_rows // max(1, most)))


def sampled(facts: Iterable[str], step: int) -> list[str]:
    """Put before some facts in how many of the rows they were found, if not in all."""
    said = [fact for fact in facts if fact]
    if step > 1 and said:
        said[0] = f"in one of every {step:,} rows: {said[0]}"
    return said


def missing(count: int, n_rows: int) -> str:
    """Say how many values are missing, if any are."""
    return f"{'all ' * (count == n_rows > 0)}{count:,} missing" if count else ""


def ranged(low: Any, high: Any, mean: float | None = None) -> str:
    """Write a range, and the mean where it says more than the ends."""
    first, last = (cell(end, max_chars=NAME_CHARS) for end in (low, high))
    if first == last:
        return f"always {first}"
    return f"{first} to {last}" + ("" if mean is None else f", mean {_tally_rounded(mean)}")


def _tally_rounded(mean: float) -> str:
    return cell(float(f"{mean:.{_MEAN_DIGITS}g}"), max_chars=NAME_CHARS)


def types_of(values: Iterable[Any]) -> str:
    """Name the types of some values, the commonest first."""
    names = [name for name, _ in Counter(map(type_name, values)).most_common(_NAMED_TYPES + 1)]
    return ", ".join(names[:_NAMED_TYPES]) + (", …" if len(names) > _NAMED_TYPES else "")


def facts_of(values: Collection[Any]) -> Iterator[str]:
    """Say what is known of some values, none of them missing: a range, or counts and lengths."""
    kinds = set(map(type, values))
    if not values:
        return
    if len(kinds) == 1 and kinds <= set(_ORDERED):
        with suppress(Exception):  # times with and without a zone are not compared
            yield ranged(min(values), max(values))
            return
    with suppress(Exception):  # lists are not hashed, and foreign values may refuse
        counts = Counter(values)
        yield counted(counts.most_common(NAMED), len(counts))
    if kinds == {str}:
        yield _longest(values)


def _longest(texts: Iterable[str]) -> str:
    longest = max(map(len, texts))
    return f"up to {longest:,} characters" if longest > _SHORT_CHARS else ""


def counted(commonest: list[tuple[Any, int]], n_distinct: int) -> str:
    """Say how many distinct values there are, and name the commonest unless each occurs once."""
    distinct = f"{n_distinct:,} distinct"
    if not commonest or commonest[0][1] == 1:
        return distinct
    shown = commonest[:NAMED]
    named = ", ".join(f"{cell(value, max_chars=_NAMED_CHARS)} ×{count:,}" for value, count in shown)
    return f"{distinct}: {named}{', …' if n_distinct > len(shown) else ''}"


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
    """Describe a column in one line."""
    dtype, n_rows = _dtype(series.dtype), len(series)
    most = exact_rows if _is_quick(series.dtype) else min(exact_rows, _EXACT_OBJECTS)
    step = stride(n_rows, SAMPLED_ROWS) if n_rows > most else 1
    series = series.iloc[::step]
    facts = [_missing(series), *_present_facts(series)]
    return column_line(name, dtype, sampled(facts, step))


def is_numeric(series: Any) -> bool:
    """Return whether a column holds numbers, which read best flush right."""
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
    """Return whether a column is read at the speed of numbers: no Python objects, no texts."""
    return _has_few_values(dtype) or getattr(dtype, "kind", "O") in "iufcmM"


def _has_few_values(dtype: Any) -> bool:
    return is_kind(dtype, "pandas", "CategoricalDtype") or getattr(dtype, "kind", "O") == "b"


def _missing(series: Any) -> str:
    with suppress(Exception):  # a foreign extension array may refuse
        return missing(int(series.isna().sum()), len(series))
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
    return ranged(low, high, _mean(series))


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
    pairs = list(zip(counts.index[:NAMED], counts.iloc[:NAMED].tolist(), strict=True))
    return counted(pairs, len(counts)) if pairs else ""


def _sampled_facts(series: Any) -> list[str]:
    """Look at Python objects and texts one by one, in a bounded number of places."""
    step = stride(len(series), SAMPLED_ROWS)
    values = series.iloc[::step].dropna().tolist()
    return sampled([_object_types(series, values), *facts_of(values)], step)


def _object_types(series: Any, values: list[Any]) -> str:
    """Name the types that a column of objects holds, unless all of it is text."""
    types = types_of(values) if series.dtype == object else ""
    return "" if types in ("", "str") else f"holds {types}"


#: Longest header, and longest cell of a table that is not sent whole, in characters.
CELL_CHARS = 40

#: Wider cells stand out of their column, so that one long value does not pad all others.
_PAD_CHARS = 24

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Ends:
    """The first and the last rows of a table, as far as they are shown."""

    head: int
    tail: int
    total: int

    @classmethod
    def fitting(cls, total: int, most: int) -> Ends:
        """Take up to `most` rows from each end."""
        head = min(most, (total + 1) // 2)
        return cls(head, min(most, total - head), total)

    @property
    def count(self) -> int:
        """How many rows are shown."""
        return self.head + self.tail

    @property
    def hidden(self) -> str:
        """Say which rows are not shown, counted from one; empty if all are."""
        first, last = self.head + 1, self.total - self.tail
        return f"rows {first:,}-{last:,} of {self.total:,} not shown" if first <= last else ""

    def of(self, rows: Any) -> list[Any]:
        """Pick these rows of whatever can be sliced."""
        return [*rows[: self.head], *rows[self.total - self.tail : self.total]]


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it is written."""

    line: str
    cells: tuple[str, ...]
    flush_right: bool = False

    def cost(self, n_lines: int) -> int:
        """Bound the characters that the column takes in a list and in a grid of `n_lines`."""
        return len(self.line) + 1 + n_lines * (max(map(len, self.cells)) + len(_GAP))

    def padded(self) -> Iterator[str]:
        """Return the cells at one width."""
        width = min(max(map(len, self.cells)), _PAD_CHARS)
        return (text.rjust(width) if self.flush_right else text.ljust(width) for text in self.cells)


def grid(columns: Sequence[Column]) -> list[str]:
    """Write columns side by side: a line for the headers, then one for each row."""
    rows = zip(*(column.padded() for column in columns), strict=True)
    return [_GAP.join(row).rstrip() for row in rows]


class Sheet(Protocol):
    """A table of any library, read in place.

    Columns are found by position, since names may occur twice.
    """

    @property
    def n_rows(self) -> int:
        """How many rows there are."""

    @property
    def n_columns(self) -> int:
        """How many columns there are."""

    @property
    def column_levels(self) -> str:
        """Name the levels of the columns, if they have names: `` (metric, unit)``."""

    def names(self) -> Iterator[str]:
        """Return the names of all columns, as they are written, one by one."""

    def column(self, position: int, ends: Ends, max_chars: int) -> Column:
        """Read one column: its description, and its cells at both ends."""

    def row_labels(self, ends: Ends, max_chars: int) -> list[Column]:
        """Read the row labels at both ends, a column for each level of them; maybe none."""


#: Cells of a table that are read for what is said of its columns, before rows are sampled: a
#: second's work.
_EXACT_CELLS = 200_000_000


def exact_rows(sheet: Sheet) -> int:
    """Return the length up to which all rows of each column are read."""
    return min(EXACT_ROWS, _EXACT_CELLS // max(1, sheet.n_columns))


@dataclass(frozen=True, slots=True)
class PandasSheet:
    """A ``pandas.DataFrame`` of any kind as a `Sheet`."""

    frame: Any

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.frame.index)

    @property
    def n_columns(self) -> int:
        """How many columns there are."""
        return len(self.frame.columns)

    @property
    def column_levels(self) -> str:
        """Name the levels of the columns, if they have names."""
        names = [column_name(name) for name in self.frame.columns.names if name is not None]
        return f" ({', '.join(names)})" if names else ""

    def names(self) -> Iterator[str]:
        """Return the names of all columns, one by one."""
        return map(column_name, self.frame.columns)

    def column(self, position: int, ends: Ends, max_chars: int) -> Column:
        """Read one column."""
        series = self.frame.iloc[:, position]
        name = column_name(self.frame.columns[position])
        cells = (cell(value, max_chars=max_chars) for value in ends.of(series.iloc))
        header = one_line(name, max_chars=CELL_CHARS)
        line = described(series, name=name, exact_rows=exact_rows(self))
        return Column(line, (header, *cells), is_numeric(series))

    def row_labels(self, ends: Ends, max_chars: int) -> list[Column]:
        """Read the row labels, each level described if some rows are hidden."""
        index = self.frame.index
        rows = ends.of(index)
        levels = zip(*rows, strict=True) if is_kind(index, "pandas", "MultiIndex") else [rows]
        texts = ([cell(label, max_chars=max_chars) for label in level] for level in levels)
        lines = _index_lines(index) if ends.hidden else [""] * len(index.names)
        headers = (
            "" if n is None else one_line(column_name(n), max_chars=CELL_CHARS) for n in index.names
        )
        return [
            Column(line, (header, *column))
            for line, header, column in zip(lines, headers, texts, strict=False)
        ]


def _index_lines(index: Any) -> list[str]:
    """Describe each level of an index; a plain count of the rows needs no words."""
    if is_kind(index, "pandas", "RangeIndex"):
        return [""]
    names = ["(no name)" if name is None else column_name(name) for name in index.names]
    return [
        described(index.get_level_values(level).to_series(), name=name)
        for level, name in enumerate(names)
    ]


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
    head = heading(series, f"polars, {tables_counted(len(series), 'value')}", name)
    about = f"polars Series {len(series)} {_polars_tables_dtype(series.dtype)}"
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
        yield f"The plan does not work: {format_error(error)}"
        return
    yield f"{tables_counted(len(schema), 'column')}:"
    for label, dtype in schema.items():
        yield column_line(column_name(label), _polars_tables_dtype(dtype), ())
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
        """Return nothing: columns of polars have no levels."""
        return ""

    def names(self) -> Iterator[str]:
        """Return the names of all columns, one by one."""
        return map(column_name, self.frame.columns)

    def column(self, position: int, ends: Ends, max_chars: int) -> Column:
        """Read one column."""
        series = self.frame.to_series(position)
        name = column_name(series.name)
        cells = (cell(value, max_chars=max_chars) for value in _ends(series, ends))
        line = column_line(
            name, _polars_tables_dtype(series.dtype), _facts(series, exact_rows(self))
        )
        header = one_line(name, max_chars=CELL_CHARS)
        return Column(line, (header, *cells), bool(series.dtype.is_numeric()))

    def row_labels(self, ends: Ends, max_chars: int) -> list[Column]:
        """Count the rows from zero, as polars does."""
        return [Column("", ("", *map(str, ends.of(range(self.n_rows)))))]


def _ends(series: Any, ends: Ends) -> list[Any]:
    """Return the values of both ends as Python has them; of a long list, its beginning."""
    first, last = series.head(ends.head), series.tail(ends.tail)
    if _base(series) == "List":
        first, last = first.list.head(_LIST_ITEMS), last.list.head(_LIST_ITEMS)
    return [*first.to_list(), *last.to_list()]


def _base(series: Any) -> str:
    """Name the type of a series without its parameters: ``"List"``."""
    return str(series.dtype.base_type())


def _polars_tables_dtype(dtype: Any) -> str:
    return one_line(str(dtype), max_chars=NAME_CHARS)


def _facts(series: Any, exact: int) -> list[str]:
    step = stride(len(series), SAMPLED_ROWS) if len(series) > exact else 1
    series = series.gather_every(step) if step > 1 else series
    facts = [missing(series.null_count(), len(series)), *_nan(series), *_present(series)]
    return sampled(facts, step)


def _nan(series: Any) -> Iterator[str]:
    """Count NaN, which polars tells from a missing value."""
    if series.dtype.is_float() and (count := int(series.is_nan().sum())):
        yield f"{count:,} NaN"


def _present(series: Any) -> list[str]:
    with suppress(Exception):  # a type of a later release may refuse
        base = _base(series)
        if base in _RANGED:
            return [_polars_tables_ranged(series)]
        if base in _FEW_VALUES:
            return [_polars_tables_counted(series)]
        if base == "List":
            return [f"length {_polars_tables_ranged(series.list.len())}"]
        return [] if base in _NESTED else _polars_tables_sampled_facts(series)
    return []


def _polars_tables_sampled_facts(series: Any) -> list[str]:
    step = stride(len(series), SAMPLED_ROWS)
    values = series.gather_every(step).drop_nulls().to_list()
    types = f"holds {types_of(values)}" if _base(series) == "Object" else ""
    return sampled([types, *facts_of(values)], step)


def _polars_tables_ranged(series: Any) -> str:
    low, high = series.min(), series.max()
    if low is None or low != low:
        return ""
    return ranged(low, high, _polars_tables_mean(series))


def _polars_tables_mean(series: Any) -> float | None:
    """Average the numbers; NaN is left out, as it is of the ends."""
    if not series.dtype.is_numeric():
        return None
    mean = (series.drop_nans() if series.dtype.is_float() else series).mean()
    return float(mean) if mean is not None and math.isfinite(mean) else None


def _polars_tables_counted(series: Any) -> str:
    """Count values; polars leaves the order of equal counts to chance."""
    rows = series.drop_nulls().value_counts().rows()
    pairs = sorted(rows, key=lambda row: (-row[1], str(row[0])))
    return counted(pairs[:NAMED], len(pairs)) if pairs else ""


#: Rows shown at each end of a table that is too long to be sent whole.
_END_ROWS = 10

#: Lines of rows that must stay possible before one more column is shown: a header, two rows from
#: each end, and the gap between.
_MIN_LINES = 6

#: Longest cell of a table that is sent whole, in characters.
_LONG_CELL_CHARS = 200

#: The share of the room in which columns that do not fit are named: one part in so many.
_NAMES_SHARE = 4

#: Room kept for the note on what was left out, in characters.
_NOTE_CHARS = 160


def summarize_frame(frame: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a table: shape, columns with their types and ranges, and its rows or their ends."""
    rows, columns = frame.shape
    about = f"{type_name(frame)} {rows}×{columns}"
    sheet = PandasSheet(frame)
    return table_text(sheet, heading=heading(frame, size(sheet), name), about=about, limits=limits)


def summarize_series(series: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a ``pandas.Series`` as a table of one column; see `summarize_frame`."""
    sheet = PandasSheet(series.to_frame("values" if series.name is None else series.name))
    head = heading(series, tables_counted(len(series), "value"), name)
    about = f"{type_name(series)} {len(series)} {series.dtype}"
    return table_text(sheet, heading=head, about=about, limits=limits)


def summarize_index(index: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a ``pandas.Index`` of any kind: its length, its type and its first labels."""
    head = heading(index, f"{tables_counted(len(index), 'label')}, {index.dtype}", name)
    room = max(0, _max_chars(limits) - len(head) - _NOTE_CHARS)
    shown = list(index[: room // 3])  # a label takes three characters at least
    lines = [head, listing(shown, max_chars=room)]
    if len(shown) < len(index):
        lines.append(f"[labels {len(shown) + 1:,}-{len(index):,} of {len(index):,} not shown]")
    about = f"{type_name(index)} {len(index)}"
    return bounded("\n".join(lines), about=about, limits=limits)


def table_text(sheet: Sheet, *, heading: str, about: str, limits: Limits) -> Text:
    """Write a table below its heading: whole if it fits `limits.table_tokens`, else its ends."""
    room = _max_chars(limits) - len(heading) - 1
    text = f"{heading}\n{_whole(sheet, room) or _abridged(sheet, room)}".rstrip()
    return bounded(text, about=about, limits=limits)


def heading(obj: object, size: str, name: str | None) -> str:
    """Head a summary: ``df: DataFrame, 3 rows × 2 columns``."""
    return f"{f'{name}: ' if name else ''}{type_name(obj)}, {size}"


def size(sheet: Sheet) -> str:
    """Say how large a table is: ``3 rows × 2 columns``."""
    return f"{tables_counted(sheet.n_rows, 'row')} × {tables_counted(sheet.n_columns, 'column')}"


def tables_counted(count: int, noun: str) -> str:
    """Write a number of things."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def joined(names: Iterable[str], *, max_chars: int) -> str:
    """Write the first names that fit, with a comma between; an ellipsis stands for the others.

    No more names are looked at than fit.
    """
    fitting: list[str] = []
    for name in names:
        max_chars -= len(name) + 2
        if max_chars < 0:
            fitting.append("…")
            break
        fitting.append(name)
    return ", ".join(fitting)


def bounded(text: str, *, about: str, limits: Limits) -> Text:
    """Cut a summary to `limits.table_tokens`, and say what it was made from."""
    narrower = replace(limits, text_chars=_max_chars(limits))
    return as_text(text, limits=narrower, about=about, lines=True)


def _max_chars(limits: Limits) -> int:
    return limits.table_tokens * CHARS_PER_TOKEN


def _whole(sheet: Sheet, max_chars: int) -> str | None:
    """Write every row and column, or nothing if that is too long; only long cells are cut."""
    # A cell takes three characters at least, a line of the list of columns eight.
    if max(3 * sheet.n_rows, 8) * sheet.n_columns > max_chars or sheet.n_rows > max_chars:
        return None
    ends = Ends(sheet.n_rows, 0, sheet.n_rows)
    for cell_chars in (_LONG_CELL_CHARS, CELL_CHARS):
        columns = {n: sheet.column(n, ends, cell_chars) for n in range(sheet.n_columns)}
        text = _Excerpt(sheet, columns, sheet.row_labels(ends, cell_chars)).text(ends)
        if len(text) <= max_chars:
            return text
    return None


def _abridged(sheet: Sheet, max_chars: int) -> str:
    """Write the outer columns and, of those, as many rows from both ends as fit."""
    ends = Ends.fitting(sheet.n_rows, _END_ROWS)
    labels = sheet.row_labels(ends, CELL_CHARS)
    room = max_chars - _NOTE_CHARS - sum(label.cost(_MIN_LINES) for label in labels)
    excerpt = _Excerpt(sheet, _outer_columns(sheet, ends, room), labels, room // _NAMES_SHARE)
    texts = (excerpt.text(Ends.fitting(sheet.n_rows, most)) for most in range(_END_ROWS, 0, -1))
    return next(
        (text for text in texts if len(text) <= max_chars),
        excerpt.text(Ends(0, 0, sheet.n_rows)),
    )


def _outer_columns(sheet: Sheet, ends: Ends, room: int) -> dict[int, Column]:
    """Take columns from both ends while a few rows of them fit; at least one.

    Where some do not fit, as many more are given up as it takes to name all of them.
    """
    taken: dict[int, Column] = {}
    names_chars = room // _NAMES_SHARE
    for position in _outside_in(sheet.n_columns):
        column = sheet.column(position, ends, CELL_CHARS)
        if column.cost(_MIN_LINES) > room and taken:
            taken = _inner_dropped(taken, names_chars - room)
            break
        room -= column.cost(_MIN_LINES)
        taken[position] = column
    return dict(sorted(taken.items()))


def _inner_dropped(taken: dict[int, Column], chars: int) -> dict[int, Column]:
    """Drop what was taken last until so many characters are free; the first column stays."""
    kept = dict(taken)
    while chars > 0 and len(kept) > 1:
        _, column = kept.popitem()
        chars -= column.cost(_MIN_LINES)
    return kept


def _outside_in(count: int) -> Iterator[int]:
    """Count from both ends to the middle: 0, 4, 1, 3, 2."""
    for step in range((count + 1) // 2):
        yield from sorted({step, count - 1 - step})


@dataclass(frozen=True, slots=True)
class _Excerpt:
    """What was read of a table: some of its columns by position, and its row labels."""

    sheet: Sheet
    columns: dict[int, Column]
    labels: list[Column]
    names_chars: int = 0

    def text(self, shown: Ends) -> str:
        """Write the list of columns, the rows that are `shown`, and what was left out."""
        return "\n".join((*self._list(), *self._rows(shown), *self._notes(shown)))

    def _list(self) -> Iterator[str]:
        labels = [label.line for label in self.labels if label.line]
        yield from ("Row labels:", *labels) if labels else ()
        if self.columns:
            yield f"Columns{self.sheet.column_levels}:"
        for position, column in self.columns.items():
            if position > 0 and position - 1 not in self.columns:
                yield f"… {self._hidden_names()}".rstrip()
            yield column.line
        if self.columns and self.sheet.n_columns - 1 not in self.columns:
            yield f"… {self._hidden_names()}".rstrip()

    def _hidden_names(self) -> str:
        names = self.sheet.names()
        return joined(
            (name for n, name in enumerate(names) if n not in self.columns),
            max_chars=self.names_chars,
        )

    def _rows(self, shown: Ends) -> Iterator[str]:
        if not shown.count:
            return
        header, *lines = grid([*self.labels, *self.columns.values()])
        yield "Rows:"
        yield header
        yield from lines[: shown.head]
        if shown.hidden:
            yield "…"
        yield from lines[len(lines) - shown.tail :]

    def _notes(self, shown: Ends) -> Iterator[str]:
        facts = (shown.hidden, self._hidden_columns(), self._cut_cells() if shown.count else "")
        if any(facts):
            yield f"[{'; '.join(filter(None, facts))}]"

    def _hidden_columns(self) -> str:
        total, hidden = self.sheet.n_columns, self.sheet.n_columns - len(self.columns)
        if not hidden:
            return ""
        before = next(n for n in range(total) if n not in self.columns)  # they stand in one run
        span = f"{before + 1:,}-{before + hidden:,}"
        return f"{hidden:,} of {total:,} columns not shown ({span})"

    def _cut_cells(self) -> str:
        columns = (*self.labels, *self.columns.values())
        is_cut = any(text.endswith("…") for column in columns for text in column.cells)
        return "cells ending in … are cut" if is_cut else ""
