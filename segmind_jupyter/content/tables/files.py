"""Tables in files: CSV and TSV as what they say, and Parquet; of large ones a part, and said so."""

from __future__ import annotations

import csv
import importlib
import io
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from segmind_jupyter.content.parts import Limits, Text, format_error
from segmind_jupyter.content.tables.summary import plural, ranged, table_text
from segmind_jupyter.content.text import one_line
from segmind_jupyter.errors import ContentError

#: Suffixes of delimited text, and what stands between the cells; empty where the file tells.
DELIMITED: Final = {".csv": "", ".tsv": "\t", ".tab": "\t"}

PARQUET: Final = (".parquet", ".pq")

#: Of a delimited file so many columns, cells and rows are read: a second's work.
_MAX_COLUMNS, _MAX_CELLS, _MAX_ROWS = 5_000, 1_000_000, 100_000

#: Cells of Parquet are read faster.
_MAX_PARQUET_CELLS: Final = 10_000_000

#: What may stand between the cells, the likeliest first; so much of a header tells it.
_DELIMITERS, _HEADER_CHARS = ",;\t|", 10_000

#: The lines above a table: blank ones, and those that begin with ``#``; most that are told of them.
_ABOVE, _ABOVE_CHARS = re.compile(r"(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n))*+"), 300

#: The line by which Excel is told the delimiter.
_SEPARATOR: Final = re.compile(r"sep=([,;\t|])\r?\n")

#: Columns of numbers that a type of number holds as they are written: no sign or zero in front, no
#: more digits than it has. ``12E4`` is a name.
_INTEGERS: Final = re.compile(r"(?: *-?(?:0|[1-9]\d{0,17}) *\n)++")
_EXPONENT: Final = r"[eE][-+]?\d+"
_FLOATS: Final = re.compile(
    r"(?: *-?(?:(?:0|[1-9]\d{0,14})"
    rf"(?:\.\d*(?:{_EXPONENT})?|[eE][-+]\d+)?|\.\d+(?:{_EXPONENT})?|inf) *\n)++"
)

#: Decimals that end in a zero, and all decimals: where they differ in length (``1.9``, ``1.10``),
#: they are no numbers that a program wrote.
_ZERO_AT_END, _DECIMALS = (
    re.compile(r"\.\d+0 *$", re.MULTILINE),
    re.compile(r"\.(\d+) *$", re.MULTILINE),
)

#: What stands for a missing number; it is no empty cell, so the column stays text.
_MARKERS: Final = frozenset({"NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "-", "."})


class NoTableError(Exception):
    """A text that is no table; the message says why, and is empty where there is nothing to say."""


def delimited_part(
    file: Path, text: str, *, is_whole: bool, remark: str, limits: Limits
) -> Text | None:
    """Summarize a CSV or TSV file as what it says; nothing if pandas is not installed.

    Empty cells alone are missing. Numbers that would change on the way (``01234``, ``+49``, long
    ones beside empty cells) stay text. A delimiter at the end of each row makes no column.
    """
    pandas = _imported("pandas")
    if pandas is None:
        return None
    begin = _ABOVE.match(text).end()  # type: ignore[union-attr]
    above = [line.strip() for line in text[:begin].splitlines() if line.strip()]
    table = text[begin : None if is_whole else text.rfind("\n") + 1]
    delimiter = DELIMITED[file.suffix.lower()]
    if hint := _SEPARATOR.match(table):
        delimiter, begin, table = hint[1], begin + hint.end(), table[hint.end() :]
    if not delimiter:
        first = table[:_HEADER_CHARS].partition("\n")[0]
        delimiter = max(_DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(table, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        header = next(reader, [])
        if above and _FLOATS.fullmatch("\n".join(header) + "\n"):  # as NumPy writes it
            named = next(csv.reader(above[-1:], delimiter=delimiter), [])
            if len(named) == len(header):
                rows, header = [header], named
                above.pop()
        width = min(len(header), _MAX_COLUMNS)
        most = min(_MAX_ROWS, _MAX_CELLS // max(1, width))
        for row in reader:
            if not row or (len(row) == 1 and row[0].isspace()):
                continue
            if len(row) > len(header) and any(row[len(header) :]):
                line = text[:begin].count("\n") + reader.line_num
                raise NoTableError(
                    f"line {line:,} has {len(row):,} cells, the header {len(header):,}; if the "
                    "header leaves out the first column, name `pd.read_csv(path, index_col=0)`"
                )
            if len(rows) == most:
                is_whole = False
                break
            rows.append(row[:width] + [""] * (width - len(row)))
    except csv.Error as error:
        raise NoTableError(format_error(error)) from error
    if not header or not (rows or is_whole):  # empty, or one row that is longer than what is read
        raise NoTableError
    facts: dict[int, str] = {}
    columns: dict[int, list[Any]] = {}
    for n, cells in enumerate(zip(*rows, strict=True) if rows else [()] * width):
        columns[n], facts[n] = _typed(cells)
    frame = pandas.DataFrame(columns)
    frame.columns = [name or f"Unnamed: {n}" for n, name in enumerate(header[:width])]
    said = f"above it: {one_line('; '.join(above), max_chars=_ABOVE_CHARS)}" if above else ""
    remarks = "; ".join(filter(None, (remark, said)))
    total = len(frame) if is_whole else None
    return _file_table(frame, file, total, len(header), limits, facts=facts, remarks=remarks)


def _typed(cells: tuple[str, ...]) -> tuple[list[Any], str]:
    """Return numbers where a column has nothing else, else its texts; and what else is known.

    Of a column that holds numbers and what stands for missing ones, that is the numbers' range.
    """
    present = [cell for cell in cells if cell]
    lines = "\n".join(present) + "\n"
    try:
        if len(present) == len(cells) and _INTEGERS.fullmatch(lines):
            return list(map(int, cells)), ""
        is_mixed = _ZERO_AT_END.search(lines) and len(set(map(len, _DECIMALS.findall(lines)))) > 1
        if not present or (_FLOATS.fullmatch(lines) and not is_mixed):
            return [float(cell or "nan") for cell in cells], ""
        fact, numbers = "", [cell for cell in present if cell not in _MARKERS]
        if numbers and _FLOATS.fullmatch("\n".join(numbers) + "\n"):
            floats = list(map(float, numbers))
            span = ranged(min(floats), max(floats), sum(floats) / len(floats))
            fact = f"{plural(len(numbers), 'number')}, {span}"
    except ValueError:  # a cell of several lines, each of them a number
        fact = ""
    return [cell or None for cell in cells], fact


def _file_table(
    frame: Any,
    file: Path,
    total: int | None,
    n_columns: int,
    limits: Limits,
    *,
    facts: Mapping[int, str] | None = None,
    remarks: str = "",
) -> Text:
    """Summarize what was read of a file with so many columns, and so many rows if that is known."""
    (n_rows, width), left_out = frame.shape, []
    rows, columns = plural(n_rows, "row"), plural(width, "column")
    if n_rows != total:
        rows = f"the first {n_rows:,} of {'more' if total is None else f'{total:,}'} rows"
        left_out.append(f"{rows} read")
        rows += " (the others are not read)"
    if width < n_columns:
        columns = f"the first {width:,} of {n_columns:,} columns"
        left_out.append(f"{columns} read")
    heading = f"{file.name}: table, {rows} × {columns}{f' ({remarks})' if remarks else ''}"
    about = f"file {file.name}, {n_rows}×{width}"
    part = table_text(frame, heading=heading, about=about, limits=limits, facts=facts)
    return replace(part, left_out=", ".join(left_out)) if left_out else part


def parquet_part(file: Path, *, limits: Limits) -> Text:
    """Summarize a Parquet file, of a long one the first rows.

    pandas and pyarrow read it if both are installed, else polars.
    """
    pandas, arrow = _imported("pandas"), _imported("pyarrow.parquet")
    polars = None if pandas and arrow else _imported("polars")
    if not polars and not (pandas and arrow):
        missing = "pandas" if arrow else "pyarrow" if pandas else "pandas pyarrow"
        raise ContentError(
            f"{file.name} is a Parquet file, and nothing that reads it is installed. Run "
            f"`pip install {missing}` (or `pip install polars`) and try again."
        )
    try:
        if polars:
            scan = polars.scan_parquet(file, glob=False)
            names = scan.collect_schema().names()
            total = scan.select(polars.len()).collect().item()
            frame = scan.select(names[:_MAX_COLUMNS]).head(_parquet_rows(names)).collect()
        else:
            with arrow.ParquetFile(file) as content:
                total, names = content.metadata.num_rows, content.schema_arrow.names
                chosen = names[:_MAX_COLUMNS] if len(names) > _MAX_COLUMNS else None
                batches = content.iter_batches(batch_size=_parquet_rows(names), columns=chosen)
                frame = next(batches, content.schema_arrow.empty_table()).to_pandas()
    except Exception as error:
        raise ContentError(
            f"{file} cannot be read as Parquet ({format_error(error)}). Write it again, or name a "
            "DataFrame that you read from it."
        ) from error
    n_columns = len(names) if len(names) > _MAX_COLUMNS else frame.shape[1]  # pandas' index is one
    return _file_table(frame, file, total, n_columns, limits)


def _parquet_rows(names: list[str]) -> int:
    width = max(1, min(len(names), _MAX_COLUMNS))
    return min(_MAX_ROWS, _MAX_PARQUET_CELLS // width)


def _imported(module: str) -> Any:
    """Import a library, or give `None` where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
