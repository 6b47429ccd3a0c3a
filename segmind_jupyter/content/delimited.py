"""Delimited text becomes a DataFrame: also below comments, and where rows outrun the header.

pandas would fail on the former, and of the latter take the first column for an index. Knows
nothing of files; pandas is handed in.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from segmind_jupyter.content.kinds import spelled

#: What may stand between the cells, the likeliest first.
_DELIMITERS: Final = ",;\t|"

#: So much of a header tells the delimiter.
_HEADER_CHARS: Final = 10_000

#: The lines above a table: blank ones, and those that begin with ``#``.
_ABOVE: Final = re.compile(r"(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n))*")

_NUMBER: Final = re.compile(r"\s*[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)?\s*")


class NoTableError(Exception):
    """A text that is no table; the message says why, and is empty where there is nothing to say."""


@dataclass(frozen=True)
class DelimitedTable:
    """What was read.

    Parameters
    ----------
    frame
        The ``pandas.DataFrame``.
    n_named
        How many of its columns the header names; the last ones, which it does not, are called
        ``Unnamed: 2`` and so on, as pandas has it.
    comments
        The lines above the header that begin with ``#``.
    """

    frame: Any
    n_named: int
    comments: tuple[str, ...]


def read_delimited(pandas: Any, text: str, *, delimiter: str, max_rows: int) -> DelimitedTable:
    """Read a table that has a header.

    A delimiter at the end of each row makes no column: what the header does not name and holds
    nothing is left out.

    Parameters
    ----------
    pandas
        The library.
    text
        The table, and what stands above it.
    delimiter
        What stands between the cells; empty where the header tells.
    max_rows
        Of a longer one, the first rows are read.

    Raises
    ------
    NoTableError
        pandas reads no table in it.
    """
    comments, table = _without_comments(text, delimiter)
    delimiter = delimiter or _delimiter(table)
    table, n_named = _with_room(table, delimiter)
    try:
        frame = pandas.read_csv(
            io.StringIO(table),
            sep=delimiter,
            nrows=max_rows,
            low_memory=False,  # else a column's type depends on the chunks in which it is read
        )
    except pandas.errors.ParserError as error:
        raise NoTableError(spelled(error)) from error
    except ValueError as error:  # it is empty
        raise NoTableError from error
    if not isinstance(frame.index, pandas.RangeIndex):
        raise NoTableError("its rows are longer than its header")
    surplus = frame.iloc[:, n_named:]
    empty = surplus.columns[surplus.isna().all()]
    return DelimitedTable(frame.drop(columns=empty), min(n_named, frame.shape[1]), comments)


def _without_comments(text: str, delimiter: str) -> tuple[tuple[str, ...], str]:
    """Take comments off the top, and leave blank lines, so that errors count the lines right."""
    above = _ABOVE.match(text)
    end = above.end() if above else 0
    lines = text[:end].splitlines()
    table = text[end:]
    comments = [line.strip() for line in lines if line.strip()]
    if comments and _is_header(comments[-1], table, delimiter or _delimiter(table)):
        header = comments.pop()
        table = f"{header}\n{table}"
        lines.pop()
    return tuple(comments), "\n" * len(lines) + table


def _is_header(comment: str, table: str, delimiter: str) -> bool:
    """Tell whether the last comment is the header, as `numpy.savetxt` writes it.

    It is if it has as many cells as the row below, and that row does not read as a header itself:
    words, with a number below them.
    """
    rows = _rows(io.StringIO(table, newline=""), delimiter)
    first, second = next(rows, []), next(rows, [])
    is_as_wide = len(next(_rows([comment], delimiter), [])) == len(first)
    return is_as_wide and (_has_number(first) or not _has_number(second))


def _has_number(cells: list[str]) -> bool:
    return any(map(_NUMBER.fullmatch, cells))


def _with_room(table: str, delimiter: str) -> tuple[str, int]:
    """Make the header as long as the first row, and tell how many cells it had."""
    stream = io.StringIO(table, newline="")
    rows = _rows(stream, delimiter)
    names = next(rows, [])
    end = stream.tell()
    surplus = len(next(rows, [])) - len(names)
    if surplus <= 0:
        return table, len(names)
    header = table[:end].rstrip("\r\n")
    return f"{header}{delimiter * surplus}{table[len(header) :]}", len(names)


def _rows(lines: Iterator[str] | list[str] | io.StringIO, delimiter: str) -> Iterator[list[str]]:
    """Give the cells of each row that is not blank, as far as they can be told."""
    try:
        for cells in csv.reader(lines, delimiter=delimiter):
            if len(cells) > 1 or "".join(cells).strip():
                yield cells
    except csv.Error:  # a cell of 131,072 characters, say
        return


def _delimiter(table: str) -> str:
    """Tell by the header what stands between the cells: many a CSV file has semicolons."""
    header = table.lstrip()[:_HEADER_CHARS].partition("\n")[0]
    return max(_DELIMITERS, key=header.count)  # the first of equals: a comma
