"""Summaries of tables: whole if they fit the budget, else their ends; and those of pandas.

Says plainly what was left out. Asks the objects themselves: nothing is imported, the object is
not changed, and no display option of pandas matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from segmind_jupyter.content.containers import listing
from segmind_jupyter.content.kinds import type_name
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, STANDARD, Limits, Text
from segmind_jupyter.content.sheet import CELL_CHARS, Column, Ends, PandasSheet, Sheet, grid
from segmind_jupyter.content.text import as_text

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
    """Summarize a table: shape, columns with their types and ranges, and its rows or their ends.

    Parameters
    ----------
    frame
        A ``pandas.DataFrame`` of any size; it is read in place and not changed.
    limits
        `limits.table_tokens` bounds the summary.
    name
        What the user calls the table.

    Returns
    -------
    Text
        About, for instance, ``"DataFrame 120×4"``.
    """
    rows, columns = frame.shape
    about = f"{type_name(frame)} {rows}×{columns}"
    sheet = PandasSheet(frame)
    return table_text(sheet, heading=heading(frame, size(sheet), name), about=about, limits=limits)


def summarize_series(series: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a ``pandas.Series`` as a table of one column; see `summarize_frame`."""
    sheet = PandasSheet(series.to_frame("values" if series.name is None else series.name))
    head = heading(series, counted(len(series), "value"), name)
    about = f"{type_name(series)} {len(series)} {series.dtype}"
    return table_text(sheet, heading=head, about=about, limits=limits)


def summarize_index(index: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a ``pandas.Index`` of any kind: its length, its type and its first labels."""
    head = heading(index, f"{counted(len(index), 'label')}, {index.dtype}", name)
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
    return f"{counted(sheet.n_rows, 'row')} × {counted(sheet.n_columns, 'column')}"


def counted(count: int, noun: str) -> str:
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
