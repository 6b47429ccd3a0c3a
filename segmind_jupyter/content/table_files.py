"""Files of tables: CSV, TSV and Parquet, summarized as the DataFrame that they hold.

Imports pandas, pyarrow or polars if one of them is installed; reads a bounded part of a file.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from segmind_jupyter.content.delimited import DelimitedTable, NoTableError, read_delimited
from segmind_jupyter.content.kinds import spelled
from segmind_jupyter.content.parts import Limits, Text
from segmind_jupyter.content.polars_tables import PolarsSheet
from segmind_jupyter.content.sheet import PandasSheet, Sheet
from segmind_jupyter.content.tables import counted, table_text
from segmind_jupyter.content.text import one_line
from segmind_jupyter.content.text_files import Encoding
from segmind_jupyter.errors import ContentError

#: Suffixes of delimited text, and what stands between the cells; empty where the file tells.
_DELIMITED = {".csv": "", ".tsv": "\t", ".tab": "\t"}

_PARQUET = (".parquet", ".pq")

#: Rows of a file that are read: a quarter of a second's work for a table of ten columns.
_MAX_ROWS = 100_000

#: Bytes of a delimited file that are read.
_MAX_BYTES = 32_000_000

#: Most characters of the comments above a table that are told.
_COMMENTS_CHARS = 300


def is_delimited(file: Path) -> bool:
    """Tell by its name whether a file is a table in text."""
    return file.suffix.lower() in _DELIMITED


def is_parquet(file: Path) -> bool:
    """Tell by its name whether a file is a table in Parquet's format."""
    return file.suffix.lower() in _PARQUET


def delimited_part(file: Path, encoding: Encoding, *, limits: Limits) -> Text | None:
    """Summarize a CSV or TSV file; nothing if pandas is not installed.

    Types are those that ``pandas.read_csv`` finds. Of a long file the first rows are read, and the
    summary says so.

    Raises
    ------
    NoTableError
        pandas reads no table in it.
    """
    pandas = _pandas()
    if pandas is None:
        return None
    with file.open("rb") as stream:
        data = stream.read(_MAX_BYTES)
        is_whole = not stream.read(1)
    table = _read(pandas, _text(data, encoding, is_whole=is_whole), file)
    if table.frame.empty and not is_whole:  # one row longer than all that is read
        raise NoTableError
    sheet = PandasSheet(table.frame.iloc[:_MAX_ROWS])
    is_whole = is_whole and len(table.frame) <= _MAX_ROWS
    part = _summary(sheet, file, is_whole=is_whole, limits=limits, note=_remarks(table, encoding))
    return replace(part, notes=tuple(_advice(table, file)))


def _text(data: bytes, encoding: Encoding, *, is_whole: bool) -> str:
    """Decode the lines that were read whole."""
    try:
        text = encoding.decoded(data, is_whole=is_whole)
    except ValueError as error:  # further on it is no text
        raise NoTableError from error
    return text if is_whole else text[: text.rfind("\n") + 1]


def _read(pandas: Any, text: str, file: Path) -> DelimitedTable:
    delimiter = _DELIMITED[file.suffix.lower()]
    return read_delimited(pandas, text, delimiter=delimiter, max_rows=_MAX_ROWS + 1)


def _remarks(table: DelimitedTable, encoding: Encoding) -> str:
    """Say what the model should know about how the file was read."""
    n_columns = table.frame.shape[1]
    above = one_line("; ".join(table.comments), max_chars=_COMMENTS_CHARS)
    remarks = (
        encoding.guess,
        f"above it: {above}" if above else "",
        f"the header names {table.n_named} of them" if table.n_named < n_columns else "",
    )
    return "; ".join(filter(None, remarks))


def _advice(table: DelimitedTable, file: Path) -> Iterator[str]:
    if table.n_named < table.frame.shape[1]:
        yield (
            f"{file.name}: its rows have more cells than its header, and the last columns went "
            "without a name. If it is the first that has none, name "
            "`pd.read_csv(path, index_col=0)`."
        )


def parquet_part(file: Path, *, limits: Limits) -> Text:
    """Summarize a Parquet file, of a long one the first rows.

    pandas and pyarrow read it if both are installed, else polars.

    Raises
    ------
    ContentError
        Neither is there, or the file is damaged.
    """
    try:
        sheet, total = _parquet_sheet(file)
    except ContentError:
        raise
    except Exception as error:
        raise ContentError(
            f"{file} cannot be read as Parquet ({spelled(error)}). Write it again, or name a "
            "DataFrame that you read from it."
        ) from error
    return _summary(sheet, file, is_whole=sheet.n_rows == total, limits=limits, total=total)


def _parquet_sheet(file: Path) -> tuple[Sheet, int]:
    """Give the first rows, and how many rows there are."""
    pandas, arrow = _pandas(), _imported("pyarrow.parquet")
    if pandas and arrow:
        return _arrow_sheet(arrow, file)
    polars = _imported("polars")
    if polars:
        return _polars_sheet(polars, file)
    missing = "pandas" if arrow else "pyarrow" if pandas else "pandas pyarrow"
    raise ContentError(
        f"{file.name} is a Parquet file, and nothing that reads it is installed. Run "
        f"`pip install {missing}` (or `pip install polars`) and try again."
    )


def _arrow_sheet(arrow: Any, file: Path) -> tuple[Sheet, int]:
    with arrow.ParquetFile(file) as content:
        table = next(content.iter_batches(batch_size=_MAX_ROWS), None)
        frame = content.schema_arrow.empty_table() if table is None else table
        return PandasSheet(frame.to_pandas()), content.metadata.num_rows


def _polars_sheet(polars: Any, file: Path) -> tuple[Sheet, int]:
    scan = polars.scan_parquet(file, glob=False)
    total = scan.select(polars.len()).collect().item()
    return PolarsSheet(scan.head(_MAX_ROWS).collect()), total


def _pandas() -> Any:
    """Import pandas, or give `None` where it is not installed."""
    try:
        import pandas
    except ImportError:
        return None
    return pandas


def _imported(module: str) -> Any:
    """Import a library that the package knows nothing else of, or give `None`."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def _summary(
    sheet: Sheet,
    file: Path,
    *,
    is_whole: bool,
    limits: Limits,
    total: int | None = None,
    note: str = "",
) -> Text:
    rows = counted(sheet.n_rows, "row")
    if not is_whole:
        of = "more" if total is None else f"{total:,}"
        rows = f"the first {sheet.n_rows:,} of {of} rows (the others are not read)"
    size = f"{rows} × {counted(sheet.n_columns, 'column')}"
    heading = f"{file.name}: table, {size}{f' ({note})' if note else ''}"
    about = f"file {file.name}, {sheet.n_rows}×{sheet.n_columns}"
    return table_text(sheet, heading=heading, about=about, limits=limits)
