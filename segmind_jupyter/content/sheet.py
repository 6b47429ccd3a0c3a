"""Reads a table by position: the cells of some columns at its first and last rows, as text.

Says what a table of any library offers, and reads pandas. Knows nothing of budgets; `tables`
decides how much is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from segmind_jupyter.content.cells import cell, column_name
from segmind_jupyter.content.columns import EXACT_ROWS, described, is_numeric
from segmind_jupyter.content.kinds import is_kind
from segmind_jupyter.content.text import one_line

#: Longest header, and longest cell of a table that is not sent whole, in characters.
CELL_CHARS = 40

#: Wider cells stand out of their column, so that one long value does not pad all others.
_PAD_CHARS = 24

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Ends:
    """The first and the last rows of a table, as far as they are shown.

    Parameters
    ----------
    head, tail
        How many rows from each end; no row belongs to both.
    total
        How many rows there are.
    """

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
    """A column as it is written.

    Parameters
    ----------
    line
        Its line in the list of columns; empty for row labels.
    cells
        Its header, and its values in the rows that were read.
    flush_right
        Whether it reads best flush right, as numbers do.
    """

    line: str
    cells: tuple[str, ...]
    flush_right: bool = False

    def cost(self, n_lines: int) -> int:
        """Bound the characters that the column takes in a list and in a grid of `n_lines`."""
        return len(self.line) + 1 + n_lines * (max(map(len, self.cells)) + len(_GAP))

    def padded(self) -> Iterator[str]:
        """Give the cells at one width."""
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
        """Give the names of all columns, as they are written, one by one."""

    def column(self, position: int, ends: Ends, max_chars: int) -> Column:
        """Read one column: its description, and its cells at both ends."""

    def row_labels(self, ends: Ends, max_chars: int) -> list[Column]:
        """Read the row labels at both ends, a column for each level of them; maybe none."""


#: Cells of a table that are read for what is said of its columns, before rows are sampled: a
#: second's work.
_EXACT_CELLS = 200_000_000


def exact_rows(sheet: Sheet) -> int:
    """Give the length up to which all rows of each column are read."""
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
        """Give the names of all columns, one by one."""
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
