"""Tables of pandas, polars and pyarrow as text: whole if they fit the budget, else their ends.

Columns are read through narwhals, in place; what was left out is said. Nothing of the user's is
changed, and no display option matters.
"""

from __future__ import annotations

import datetime
import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple
from uuid import UUID

from segmind_jupyter.content.parts import (
    CHARS_PER_TOKEN,
    Limits,
    Text,
    is_kind,
    safe_str,
    type_name,
)
from segmind_jupyter.content.text import as_text, listing, literal, one_line

#: Longest column name, dtype and end of a range, in characters.
NAME_CHARS: Final = 60

CELL_CHARS: Final = 40

#: Rows shown at each end of a table that is too long to be sent whole.
_END_ROWS: Final = 10

#: Lines for which one more column must leave room: a header, two rows from each end, a gap.
_MIN_LINES: Final = 6

#: So many columns are named without room being kept for it.
_FEW_COLUMNS: Final = 8

#: Room kept for the note on what was left out, in characters.
_NOTE_CHARS: Final = 160

_GAP: Final = "  "


def summarize_table(table: Any, *, limits: Limits, name: str | None = None) -> Text:
    """Summarize a frame, a series or an index: its size, its columns, its rows or their ends."""
    library, size, frame = _library(table), plural(len(table), "value"), table
    if is_kind(table, "pandas", "Index"):
        frame = table.to_frame(index=False)
    elif len(table.shape) == 1:
        frame = table.to_frame("values" if table.name in (None, "") else table.name)
    else:
        size = sides(table)
    head = titled(", ".join(filter(None, (type_name(table), library, size))), name)
    about = f"{library} {type_name(table)} {'×'.join(map(str, table.shape))}".lstrip()
    return table_text(frame, heading=head, about=about, limits=limits)


def table_text(frame: Any, *, heading: str, about: str, limits: Limits) -> Text:
    """Write a table below its heading: whole if it fits `limits.table_tokens`, else its ends."""
    table = _Table(frame)
    room = _max_chars(limits) - len(heading) - 1
    text, left_out = table.whole(room) or table.abridged(room)
    text = f"{heading}\n{text}".rstrip()
    return bounded(text, about=about, limits=limits, left_out=left_out)


def titled(text: str, name: str | None) -> str:
    """Put before a text what the user calls the object."""
    return f"{name}: {text}" if name else text


def sides(frame: Any) -> str:
    """Say how large a table is: ``"3 rows × 2 columns"``."""
    rows, columns = frame.shape
    return f"{plural(rows, 'row')} × {plural(columns, 'column')}"


def plural(count: int, noun: str) -> str:
    """Write a number of things: ``"1 row"``, ``"1,200 rows"``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def bounded(text: str, *, about: str, limits: Limits, left_out: str = "") -> Text:
    """Cut a summary to `limits.table_tokens`; say what it was made from, and how much of that."""
    narrower = replace(limits, text_chars=_max_chars(limits))
    part = as_text(text, limits=narrower, about=about, lines=True)
    return replace(part, left_out=left_out) if left_out else part


def _max_chars(limits: Limits) -> int:
    return limits.table_tokens * CHARS_PER_TOKEN


def _library(obj: Any) -> str:
    """Name the library of a table; pandas' own, and its subclasses, go without saying."""
    is_pandas = is_kind(obj, "pandas", "DataFrame", "Series", "Index")
    return "" if is_pandas else type(obj).__module__.partition(".")[0]


#: A cell is written from at most so many elements of what it holds.
_MOST_ELEMENTS: Final = 100


class _Column(NamedTuple):
    """A column as it is written: what is known of it, then its header and its cells."""

    line: str
    cells: tuple[str, ...]
    flush_right: bool = False

    @property
    def cost(self) -> int:
        """Bound the characters that the column takes in the list and in a grid of few lines."""
        return len(self.line) + 1 + _MIN_LINES * (max(map(len, self.cells)) + len(_GAP))

    def padded(self) -> Iterator[str]:
        """Return the cells at one width."""
        # One long value must not pad all others.
        width = min(max(map(len, self.cells)), 24)
        return (text.rjust(width) if self.flush_right else text.ljust(width) for text in self.cells)


class _Table:
    """A table of any library, read in place; columns go by position, as names may occur twice."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self._n_rows, self._n_columns = frame.shape
        self._names = frame.column_names if hasattr(frame, "column_names") else frame.columns

    def whole(self, max_chars: int) -> tuple[str, str] | None:
        """Write every row and column, or nothing if that is too long; only long cells are cut."""
        # A cell takes three characters at least, a line of the list of columns eight.
        least = max(3 * self._n_rows, 8) * self._n_columns
        for cell_chars in (200, CELL_CHARS) if max(least, self._n_rows) <= max_chars else ():
            columns = {n: self._column(n, self._n_rows, cell_chars) for n in range(self._n_columns)}
            labels = self._row_labels(self._n_rows, cell_chars)
            written = self._written(columns, labels, self._n_rows)
            if len(written[0]) <= max_chars:
                return written
        return None

    def abridged(self, max_chars: int) -> tuple[str, str]:
        """Write the outer columns and, of those, as many rows from both ends as fit."""
        labels = self._row_labels(_END_ROWS, CELL_CHARS)
        room = max_chars - _NOTE_CHARS - sum(label.cost for label in labels)
        # Of the room, a quarter at most is for the names of columns that do not fit.
        names_chars = max(0, min(room // 4, NAME_CHARS * self._n_columns))
        room -= names_chars if self._n_columns > _FEW_COLUMNS else 0
        taken: dict[int, _Column] = {}
        last = self._n_columns - 1
        for position in (n for k in range(last // 2 + 1) for n in sorted({k, last - k})):
            column = self._column(position, _END_ROWS, CELL_CHARS)
            room -= column.cost
            if room < 0 and taken:
                break
            taken[position] = column
        columns = dict(sorted(taken.items()))
        for most in range(_END_ROWS, -1, -1):
            written = self._written(columns, labels, most, names_chars)
            if len(written[0]) <= max_chars:
                break
        return written

    def _written(
        self, columns: dict[int, _Column], labels: list[_Column], most: int, names_chars: int = 0
    ) -> tuple[str, str]:
        """Write columns, up to `most` rows from each end, and what was left out, also apart."""
        head, tail = self._ends(most)
        n_rows, n_columns = self._n_rows, self._n_columns
        lines, notes, said = [], [], []
        if head + tail < n_rows:
            notes.append(f"rows {head + 1:,}-{n_rows - tail:,} of {n_rows:,} not shown")
            said.append(f"{head + tail:,} of {n_rows:,} rows")
        described = [column.line for column in columns.values()]
        hidden = [n for n in range(n_columns) if n not in columns]
        if hidden and columns:  # they stand in one run
            names = ", ".join(column_name(self._names[n]) for n in hidden[: names_chars + 1])
            described.insert(hidden[0], f"… {one_line(names, max_chars=names_chars)}")
            span = f"{hidden[0] + 1:,}-{hidden[-1] + 1:,}"
            notes.append(f"{len(hidden):,} of {n_columns:,} columns not shown ({span})")
            said.append(f"{len(columns):,} of {n_columns:,} columns")
        lines += ["Columns:", *described] if columns else []
        if head:
            written = [*labels, *columns.values()]
            cells = zip(*(column.padded() for column in written), strict=True)
            header, *rows = (_GAP.join(row).rstrip() for row in cells)
            gap = ["…"] if head + tail < n_rows else []
            lines += ["Rows:", header, *rows[:head], *gap, *rows[len(rows) - tail :]]
            if any(text.endswith("…") for column in written for text in column.cells):
                notes.append("cells ending in … are cut")
        lines += [f"[{'; '.join(notes)}]"] if notes else []
        return "\n".join(lines), ", ".join(said)

    def _ends(self, most: int) -> tuple[int, int]:
        """Return how many rows are shown at the head and at the tail."""
        head = min(most, (self._n_rows + 1) // 2)
        return head, min(most, self._n_rows - head)

    def _column(self, position: int, most: int, max_chars: int) -> _Column:
        """Read one column: its description, and its cells at both ends."""
        import narwhals.stable.v1 as nw

        frame, (head, tail) = self._frame, self._ends(most)
        if hasattr(frame, "iloc"):
            native = frame.iloc[:, position]
        else:
            native = frame.column(position) if _library(frame) == "pyarrow" else frame[:, position]
        name = column_name(self._names[position])
        line = described(native, name=name)
        series = nw.from_native(native, series_only=True)
        dtype = series.dtype
        if dtype == nw.List and series.implementation.is_polars():  # of a long list, its beginning
            series = nw.from_native(native.list.head(_MOST_ELEMENTS), series_only=True)
        values = [*series.head(head).to_list(), *series.tail(tail).to_list()]
        cells = (cell(value, max_chars=max_chars) for value in values)
        header = one_line(name, max_chars=CELL_CHARS)
        return _Column(line, (header, *cells), dtype.is_numeric())

    def _row_labels(self, most: int, max_chars: int) -> list[_Column]:
        """Read the labels at both ends, a column for each level."""
        index, (head, tail) = getattr(self._frame, "index", range(self._n_rows)), self._ends(most)
        rows = [*index[:head], *index[self._n_rows - tail : self._n_rows]]
        if isinstance(index, range):  # counted from zero, as polars does
            return [_Column("", ("", *map(str, rows)))]
        levels = zip(*rows, strict=True) if is_kind(index, "pandas", "MultiIndex") else [rows]
        columns = []
        for label, level in zip(index.names, levels, strict=False):
            header = "" if label is None else one_line(column_name(label), max_chars=CELL_CHARS)
            columns.append(_Column("", (header, *(cell(v, max_chars=max_chars) for v in level))))
        return columns


#: Longer columns of texts and objects are looked at in so many places, evenly spaced: hashing ten
#: million strings takes seconds. Of numbers that many take 50 ms.
_SAMPLED_ROWS: Final = 100_000


def described(series: Any, *, name: str) -> str:
    """Describe a column in one line: type, what is missing, a range or the commonest values."""
    import narwhals.stable.v1 as nw

    column = nw.from_native(series, series_only=True)
    kind = column.dtype
    is_ranged = kind.is_numeric() or kind.is_temporal()
    facts: list[str] = []
    with suppress(Exception):  # a foreign extension array may refuse, and its values to be compared
        n_missing = int(column.null_count())
        if n_missing:
            facts.append(f"{'all ' * (n_missing == len(column))}{n_missing:,} missing")
        if is_ranged and n_missing < len(column):
            if kind.is_float() and not column.implementation.is_pandas_like():
                is_nan = column.is_nan()  # polars and Arrow tell it from what is missing
                if n_nan := int(is_nan.sum() or 0):
                    facts.append(f"{n_nan:,} NaN")
                    column = column.filter(~is_nan)
            facts.append(_range_of(column, has_mean=kind.is_numeric()))
        elif kind == nw.List:
            facts.append(f"length {_range_of(column.list.len(), has_mean=True)}")
        elif not kind.is_nested() and not is_ranged:
            has_few = isinstance(kind, nw.Boolean | nw.Categorical | nw.Enum)  # and hashes fast
            step = 1 if has_few else max(1, -(-len(column) // _SAMPLED_ROWS))
            values = column.gather_every(step).drop_nulls().to_list()
            types = [name for name, _ in Counter(map(type_name, values)).most_common()]
            types[_NAMED_TYPES:] = ["…"] * (len(types) > _NAMED_TYPES)
            is_mixed = _dtype(series).lower() == "object" and types not in ([], ["str"])
            found = [f"holds {', '.join(types)}" if is_mixed else "", *_facts_of(values)]
            said = "; ".join(filter(None, found))
            facts.append(f"in one of every {step:,} rows: {said}" if step > 1 and said else said)
    known = "; ".join(filter(None, facts))
    return f"- {name} ({_dtype(series)}){f': {known}' if known else ''}"


def _dtype(series: Any) -> str:
    """Write the type of a column as its library calls it."""
    dtype = series.type if is_kind(series, "pyarrow", "ChunkedArray") else series.dtype
    return one_line(str(dtype), max_chars=NAME_CHARS)


def _range_of(column: Any, *, has_mean: bool) -> str:
    low, high = column.min(), column.max()
    if low is None or low != low:  # nothing is left
        return ""
    mean, numpy = None, sys.modules.get("numpy")
    if has_mean:
        # Infinities have no mean, and half-precision floats may overflow: no fault of anybody's.
        with suppress(Exception), numpy.errstate(all="ignore") if numpy else nullcontext():
            mean = float(column.mean())
    return ranged(low, high, mean)


#: How many of a column's commonest values are named, how long each may be, and how many types.
_NAMED, _NAMED_CHARS, _NAMED_TYPES = 3, 24, 4

#: Significant digits of a mean, and those of the distance between two ends; the distance, as a
#: part of the ends, from which on these are too few.
_MEAN_DIGITS, _SPREAD_DIGITS, _CLOSE = 5, 3, 1e-3

#: Types whose values have a range; values of two of these are not compared with each other.
_ORDERED: tuple[type, ...] = (
    int, float, Decimal, Fraction, datetime.date, datetime.datetime, datetime.time,
    datetime.timedelta,
)  # fmt: skip


def ranged(low: Any, high: Any, mean: float | None = None) -> str:
    """Write a range, and the mean where it says more than the ends; "always" means equal."""
    first, last = (cell(end, max_chars=NAME_CHARS) for end in (low, high))
    if low == high:
        return f"always {first}"
    digits = _MEAN_DIGITS
    if mean is not None or type(low) is float:  # close values take the digits that tell them apart
        spread = float(high - low) / max(abs(float(low)), abs(float(high)))
        if 0 < spread < _CLOSE:
            digits = min(17, _SPREAD_DIGITS - math.floor(math.log10(spread)))
    if first == last or digits > _MEAN_DIGITS:
        first, last = (one_line(literal(end), max_chars=NAME_CHARS) for end in (low, high))
    if mean is None or not math.isfinite(mean):
        return f"{first} to {last}"
    rounded = repr(float(f"{mean:.{digits}g}")).removesuffix(".0")
    return f"{first} to {last}, mean {rounded}"


def _facts_of(values: Sequence[Any]) -> Iterator[str]:
    """Say what is known of some values, none of them missing: a range, or counts and lengths."""
    kinds = set(map(type, values))
    if not values:
        return
    if len(kinds) == 1 and (kinds <= set(_ORDERED) or is_kind(values[0], "pandas", "Period")):
        with suppress(Exception):  # times with and without a zone are not compared
            yield ranged(min(values), max(values))
            return
    with suppress(Exception):  # lists are not hashed, and foreign values may refuse
        counts = Counter(values)
        said, commonest = f"{len(counts):,} distinct", counts.most_common(_NAMED)
        if commonest[0][1] > 1:
            named = (f"{cell(v, max_chars=_NAMED_CHARS)} ×{count:,}" for v, count in commonest)
            said += f": {', '.join(named)}{', …' if len(counts) > _NAMED else ''}"
        yield said
    if kinds == {str} and (longest := max(map(len, values))) > CELL_CHARS:
        yield f"up to {longest:,} characters"


#: Values that read better as ``str`` has them than as a call of their constructor.
_STANDARD: Final = (datetime.date, datetime.time, datetime.timedelta, Decimal, Fraction, UUID)


def column_name(label: object) -> str:
    """Write a column's label: a string as it is, anything else as Python writes it."""
    text = label if type(label) is str else listing(label, max_chars=10 * NAME_CHARS)
    return one_line(text, max_chars=NAME_CHARS)


def cell(value: Any, *, max_chars: int) -> str:
    """Write one value on one line of at most `max_chars` characters."""
    if is_kind(value, "numpy", "floating"):  # of any width
        value = float(value)
    elif is_kind(value, "numpy", "number", "bool", "bool_"):
        value = value if is_kind(value, "numpy", "timedelta64") else value.item()
    kind = type(value)
    if isinstance(value, str):
        return one_line(value, max_chars=max_chars) or "''"
    if kind is float:
        text = _float(value)
    elif is_kind(value, "numpy", "datetime64", "timedelta64"):
        day, _, time = str(value).partition("T")
        time = time.rstrip("0").rstrip(".") if "." in time else time
        text = day if time in ("00:00:00", "00:00") else f"{day} {time}"
    elif issubclass(kind, _STANDARD) or is_kind(value, "pandas", "Period", "Interval"):
        text = safe_str(str, value).removesuffix(" 00:00:00")
    elif is_kind(value, "numpy", "ndarray") and value.ndim == 1 and len(value) <= _MOST_ELEMENTS:
        text = f"array({listing(value.tolist(), max_chars=10 * max_chars)})"
    elif hasattr(kind, "shape"):  # an array, a table or a tensor; its repr may be of any length
        text = f"<{type_name(value)} {'×'.join(map(str, value.shape))}>"
    else:
        text = listing(value, max_chars=10 * max_chars)
    return one_line(" ".join(text.split()), max_chars=max_chars)


def _float(value: float) -> str:
    """Write a float with the digits that pandas shows: 7 significant ones, 6 behind the point."""
    if value != value:
        return "NaN"
    if abs(value) < 1:
        return f"{value:.7g}"
    exact = repr(value).removesuffix(".0")
    fixed = f"{value:.6f}".rstrip("0").rstrip(".") if abs(value) < 1e15 else exact
    return min(fixed, exact, key=len)
