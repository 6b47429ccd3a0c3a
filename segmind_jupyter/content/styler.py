"""A pandas Styler as the table that it displays: its formats, its caption, and nothing it hides.

Colours and other styles are no part of it: text has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from segmind_jupyter.content.kinds import spelled
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, STANDARD, Limits, Text
from segmind_jupyter.content.sheet import CELL_CHARS, Column, PandasSheet, grid
from segmind_jupyter.content.tables import bounded, counted, table_text
from segmind_jupyter.content.text import one_line
from segmind_jupyter.errors import ContentError

#: Between the cells of a line, where no cell has it.
_SEPARATOR = "\x1f"

#: A Styler formats so many cells in about a tenth of a second, and no more are asked for.
_MOST_CELLS = 20_000

#: Before it prints any cell, a Styler copies all formats and computes all styles: two seconds for
#: so many cells. Larger ones are summarized as the tables that they are made of.
_MOST_STYLED_CELLS = 200_000

#: A line takes so many characters at least: a label, a gap, a cell and the line break.
_LEAST_LINE_CHARS = 5

#: Lines that must stay possible before one more column is shown.
_MIN_LINES = 6

#: Longest caption, and room kept for the note on what was left out, in characters.
_CAPTION_CHARS, _NOTE_CHARS = 400, 120


def summarize_styler(styler: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Write the table that a Styler displays.

    Parameters
    ----------
    styler
        A ``pandas.io.formats.style.Styler``.
    limits
        `limits.table_tokens` bounds the text: columns at the right and rows at the end are left
        out, and it says so. Rows that were appended by ``Styler.concat`` stay. Of a Styler of more
        than 200,000 cells the values are summarized, without formats.
    name
        What the user calls it.

    Returns
    -------
    Text
        About, for instance, ``"Styler 120×4"``: the rows and columns that are displayed.

    Raises
    ------
    ContentError
        One of the functions that format or style the cells fails, or a cell holds a control
        character that cannot be told from what stands between cells.
    """
    n_rows = _displayed(styler.index, styler.hidden_rows)
    n_columns = _displayed(styler.columns, styler.hidden_columns)
    size = f"{counted(n_rows, 'row')} × {counted(n_columns, 'column')}"
    head = [f"{f'{name}: ' if name else ''}Styler, {size}", *_caption(styler)]
    about = f"Styler {n_rows}×{n_columns}"
    if styler.data.size > _MOST_STYLED_CELLS:
        head.append("[too large to be formatted here: what follows are its values]")
        sheet = PandasSheet(_values(styler))
        return table_text(sheet, heading="\n".join(head), about=about, limits=limits)
    room = limits.table_tokens * CHARS_PER_TOKEN - sum(len(line) + 1 for line in head)
    with _naming_failures(name):
        page = _read(styler, n_rows=n_rows, n_columns=n_columns, room=room)
    text = "\n".join((*head, *page.lines(room)))
    return bounded(text, about=about, limits=limits)


@contextmanager
def _naming_failures(name: str | None) -> Iterator[None]:
    """Say that it was a function of the user's: pandas calls those when it prints, not before."""
    try:
        yield
    except Exception as error:
        raise ContentError(
            f"The Styler cannot write its cells ({spelled(error)}). Correct the function that "
            f"formats or styles them, or name its table: {name or 'styler'}.data"
        ) from error


def _values(styler: Any) -> Any:
    """Give the table behind a Styler, without what is hidden."""
    rows = _positions(styler.index, styler.hidden_rows)
    frame = styler.data.iloc[rows, _positions(styler.columns, styler.hidden_columns)]
    return frame.reset_index(drop=True) if all(styler.hide_index_) else frame


def _positions(labels: Any, hidden: Iterable[int]) -> Any:
    left_out = set(hidden)
    return [n for n in range(len(labels)) if n not in left_out] if left_out else slice(None)


def _displayed(labels: Any, hidden: Iterable[int]) -> int:
    return len(labels) - len(set(hidden))


def _caption(styler: Any) -> Iterator[str]:
    caption = styler.caption
    text = caption[0] if isinstance(caption, tuple) else caption  # (caption, short caption)
    if text:
        yield f"Caption: {one_line(str(text), max_chars=_CAPTION_CHARS)}"


@dataclass(frozen=True, slots=True)
class _Page:
    """What a Styler displays, as far as it was read: lines of cells, all of one length.

    Parameters
    ----------
    header, body, foot
        The column labels; the first rows; and the rows of what was concatenated.
    n_rows, n_columns
        How many rows the body has in all, and how many columns besides the row labels.
    """

    header: list[list[str]]
    body: list[list[str]]
    foot: list[list[str]]
    n_rows: int
    n_columns: int

    def lines(self, room: int) -> Iterator[str]:
        """Write as many columns and rows as fit into `room` characters, and what does not."""
        columns = self._columns()
        n_taken = max(1, _fitting((column.cost(_MIN_LINES) for column in columns), room))
        written = grid(columns[:n_taken]) if columns else []
        begin, end = len(self.header), len(written) - len(self.foot)
        room -= _NOTE_CHARS + sum(len(line) + 1 for line in (*written[:begin], *written[end:]))
        n_shown = _fitting((len(line) + 1 for line in written[begin:end]), room)
        yield from written[: begin + n_shown]
        if n_shown < self.n_rows:
            yield "…"
        yield from written[end:]
        yield from self._notes(n_shown, len(columns) - n_taken)

    def _columns(self) -> list[Column]:
        rows = (*self.header, *self.body, *self.foot)
        if len(set(map(len, rows))) > 1:
            raise ContentError(
                f"A cell of the Styler holds the control character {_SEPARATOR!r}. Replace it."
            )
        texts = ([one_line(text, max_chars=CELL_CHARS) for text in row] for row in rows)
        return [Column("", cells) for cells in zip(*texts, strict=True)]

    def _notes(self, n_shown: int, n_hidden: int) -> Iterator[str]:
        facts = []
        if n_shown < self.n_rows:
            facts.append(f"rows {n_shown + 1:,}-{self.n_rows:,} of {self.n_rows:,} not shown")
        if n_hidden > 0:
            facts.append(f"the last {n_hidden:,} of {self.n_columns:,} columns not shown")
        if facts:
            yield f"[{'; '.join(facts)}]"


def _fitting(costs: Iterable[int], room: int) -> int:
    """Count how many come before the room is used up."""
    count = 0
    for cost in costs:
        room -= cost
        if room < 0:
            break
        count += 1
    return count


def _read(styler: Any, *, n_rows: int, n_columns: int, room: int) -> _Page:
    """Let the Styler print its first rows, no more than could fit, and every label in full."""
    could_fit = min(room // _LEAST_LINE_CHARS, _MOST_CELLS // max(1, n_columns))
    n_asked = min(n_rows, max(1, could_fit))
    printed = styler.to_string(
        delimiter=_SEPARATOR, max_rows=n_asked, sparse_index=False, sparse_columns=False
    )
    rows = _even(_split(printed))
    n_foot = sum(_displayed(other.index, other.hidden_rows) for other in styler.concatenated)
    is_cut = n_asked < n_rows  # then pandas puts a row of dots behind those
    n_header = max(0, len(rows) - n_asked - is_cut - n_foot)
    body = rows[n_header : n_header + n_asked]
    return _Page(rows[:n_header], body, rows[len(rows) - n_foot :], n_rows, n_columns)


def _split(printed: str) -> list[list[str]]:
    """Take lines apart, and put those together again that one cell of several lines broke."""
    lines = printed.splitlines()
    n_separators = max((line.count(_SEPARATOR) for line in lines), default=0)
    whole: list[str] = []
    for line in lines:
        is_rest = n_separators and whole and not line.count(_SEPARATOR)
        is_open = whole and whole[-1].count(_SEPARATOR) < n_separators
        if is_rest or is_open:
            whole[-1] += f"\n{line}"
        else:
            whole.append(line)
    return [line.split(_SEPARATOR) for line in whole]


def _even(rows: list[list[str]]) -> list[list[str]]:
    """Drop the empty column that a hidden last one leaves behind."""
    while rows and all(len(row) > 1 and not row[-1] for row in rows):
        rows = [row[:-1] for row in rows]
    return rows
