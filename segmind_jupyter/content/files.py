"""Bytes and files: images by their signature, and otherwise the text that they hold."""

from __future__ import annotations

import codecs
import csv
import importlib
import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from segmind_jupyter.content.images.encode import image_from_bytes, image_from_path
from segmind_jupyter.content.parts import Limits, Part, Text, format_error, safe_str
from segmind_jupyter.content.tables.summary import (
    PandasSheet,
    PolarsSheet,
    Sheet,
    table_text,
    tables_counted,
)
from segmind_jupyter.content.text import TAIL_SHARE, as_text, one_line
from segmind_jupyter.errors import ContentError, shortened

#: The suffixes of files that a `Path` sends as a table, an image or a text.
_SUFFIXES: Final = (
    ".csv", ".tsv", ".tab", ".parquet", ".pq",
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm",
    ".txt", ".md", ".json", ".log",
)  # fmt: skip

#: No path is longer (Linux's PATH_MAX).
_MAX_CHARS: Final = 4096


def file_notes(text: str, name: str = "") -> tuple[str, ...]:
    """Say what to write where the file was meant; nothing if `text` names none that is there."""
    if not _names_file(text):
        return ()
    quoted = shortened(repr(text))
    said, path = (f"`{name}` ({quoted})", name) if name else (f"`{quoted}`", quoted)
    return (f"{said} is sent as words; `Path({path})` sends the file of that name.",)


def _names_file(text: str) -> bool:
    if len(text) > _MAX_CHARS or not text.lower().endswith(_SUFFIXES) or "\n" in text:
        return False
    try:
        return Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # a name too long, a null, a ~user who is not known
        return False


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
    """What was read."""

    frame: Any
    n_named: int
    comments: tuple[str, ...]


def read_delimited(pandas: Any, text: str, *, delimiter: str, max_rows: int) -> DelimitedTable:
    """Read a table that has a header.

    A delimiter at the end of each row makes no column: what the header does not name and holds
    nothing is left out.
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
        raise NoTableError(format_error(error)) from error
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
    """Return whether the last comment is the header, as `numpy.savetxt` writes it.

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
    """Return the cells of each row that is not blank, as far as they can be told."""
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
    """
    try:
        sheet, total = _parquet_sheet(file)
    except ContentError:
        raise
    except Exception as error:
        raise ContentError(
            f"{file} cannot be read as Parquet ({format_error(error)}). Write it again, or name a "
            "DataFrame that you read from it."
        ) from error
    return _summary(sheet, file, is_whole=sheet.n_rows == total, limits=limits, total=total)


def _parquet_sheet(file: Path) -> tuple[Sheet, int]:
    """Return the first rows, and how many rows there are."""
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
    rows = tables_counted(sheet.n_rows, "row")
    if not is_whole:
        of = "more" if total is None else f"{total:,}"
        rows = f"the first {sheet.n_rows:,} of {of} rows (the others are not read)"
    size = f"{rows} × {tables_counted(sheet.n_columns, 'column')}"
    heading = f"{file.name}: table, {size}{f' ({note})' if note else ''}"
    about = f"file {file.name}, {sheet.n_rows}×{sheet.n_columns}"
    return table_text(sheet, heading=heading, about=about, limits=limits)


#: A character takes at most so many bytes, in every encoding that is read.
BYTES_PER_CHAR = 4

#: Byte-order marks, and what follows them; that of UTF-32 begins as that of UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

#: The old 8-bit encoding of Western Windows; a superset of what Latin-1 files use.
_WINDOWS = "cp1252"

#: A text in a Western language has fewer accented letters than this; one in Greek, Cyrillic or
#: Japanese has more.
_MOST_ACCENTED = 0.15

_ASCII = bytes(range(128))

#: Controls that no text has: all but tab, line ends, form feed and escape.
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")

#: Documents that begin as text does and go on in binary.
_DOCUMENTS = (b"%PDF-", b"%!PS-Adobe")

#: Room for the notes on what was cut and how the file was read, in characters.
_NOTES_CHARS = 200

#: The lines of larger files are not counted: 0.1 s.
_COUNTED_BYTES = 200_000_000

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file holds its text."""

    codec: str
    mark_bytes: int = 0

    @property
    def is_certain(self) -> bool:
        """Whether the bytes say so: an 8-bit encoding is a guess."""
        return self.codec != _WINDOWS

    @property
    def guess(self) -> str:
        """Say what was guessed, if anything was."""
        return "" if self.is_certain else "not UTF-8; it is read as Windows-1252"

    @property
    def unit_bytes(self) -> int:
        """How many bytes are read together: a file may be cut between two such."""
        return {"utf-16": 2, "utf-32": 4}.get(self.codec[:6], 1)

    def decoded(self, begin: bytes, *, is_whole: bool) -> str:
        """Decode the beginning of a file; the last character may be incomplete."""
        decoder = codecs.getincrementaldecoder(self.codec)()
        return decoder.decode(begin[self.mark_bytes :], final=is_whole)


def encoding_of(data: bytes, *, is_whole: bool) -> Encoding | None:
    """Tell the encoding of the file that begins with `data`; `None` if it is no text.

    A byte-order mark decides; without one it is UTF-8, or else Windows-1252 if the bytes make a
    text of a Western language in it.
    """
    marked = [Encoding(codec, len(mark)) for mark, codec in _MARKS if data.startswith(mark)]
    candidates = marked[:1] or [Encoding("utf-8"), Encoding(_WINDOWS)]
    return next((known for known in candidates if _is_text(data, known, is_whole=is_whole)), None)


def _is_text(data: bytes, encoding: Encoding, *, is_whole: bool) -> bool:
    try:
        text = encoding.decoded(data, is_whole=is_whole)
    except UnicodeDecodeError:
        return False
    if encoding.is_certain:
        return "\0" not in text
    accented = len(data.translate(None, _ASCII))
    is_western = accented <= _MOST_ACCENTED * len(data) and not data.startswith(_DOCUMENTS)
    return is_western and not _CONTROLS.search(text)


def text_of(file: Path, begin: bytes, encoding: Encoding, *, limits: Limits) -> Text:
    """Return the text of a file: all of it if it fits, else its beginning and its end."""
    n_bytes = max(file.stat().st_size, len(begin))
    is_whole = len(begin) >= n_bytes
    text = encoding.decoded(begin, is_whole=is_whole)
    said = encoding.guess if text else "empty"
    notes = f"[{file.name} is {said}]\n" if said else ""
    if not is_whole or len(notes) + len(text) > limits.text_chars:
        room = limits.text_chars - len(notes) - _NOTES_CHARS
        text = _abridged(file, text, n_bytes, encoding, max_chars=max(0, room))
    about = f"file {file.name}, {n_bytes:,} bytes"
    return as_text(notes + text, limits=limits, about=about, lines=True)


def _abridged(file: Path, text: str, n_bytes: int, encoding: Encoding, *, max_chars: int) -> str:
    n_tail = int(max_chars * TAIL_SHARE)
    head = _whole_lines_at_start(text[: max_chars - n_tail])
    tail = _whole_lines_at_end(_end(file, n_bytes, encoding, n_chars=n_tail))
    n_shown = len((head + tail).encode(encoding.codec, "replace")) + encoding.mark_bytes
    hidden = f"{max(0, n_bytes - n_shown):,} of {n_bytes:,} bytes"
    lines = _hidden_lines(file, n_bytes, encoding, head=head, tail=tail)
    return f"{head.rstrip()}\n[cut: {lines or hidden} not shown]\n{tail}"


def _whole_lines_at_start(text: str) -> str:
    """Drop the last line, which is cut, unless it is most of the text."""
    end = text.rfind("\n") + 1
    return text[:end] if end > len(text) // 2 else text


def _whole_lines_at_end(text: str) -> str:
    begin = text.find("\n") + 1
    return text[begin:] if begin < len(text) // 2 else text


def _end(file: Path, n_bytes: int, encoding: Encoding, *, n_chars: int) -> str:
    """Read the last characters of a file; one more in bytes, as the first may be incomplete."""
    begin = max(encoding.mark_bytes, n_bytes - (n_chars + 1) * BYTES_PER_CHAR)
    with file.open("rb") as stream:
        stream.seek(begin - begin % encoding.unit_bytes)
        data = stream.read(n_bytes - begin + encoding.unit_bytes)
    text = data.decode(encoding.codec, "replace")
    return text[-n_chars:] if n_chars else ""


def _hidden_lines(file: Path, n_bytes: int, encoding: Encoding, *, head: str, tail: str) -> str:
    """Say which lines are not shown, where whole lines are cut and counting them is cheap."""
    is_countable = encoding.codec in ("utf-8", _WINDOWS) and n_bytes <= _COUNTED_BYTES
    if not (is_countable and head.endswith("\n") and "\n" in tail):
        return ""
    total = _count_lines(file)
    first, last = head.count("\n") + 1, total - len(tail.split("\n")) + tail.endswith("\n")
    return f"lines {first:,}-{last:,} of {total:,}" if first <= last else ""


def _count_lines(file: Path) -> int:
    n_lines, last = 0, b"\n"
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            n_lines, last = n_lines + chunk.count(b"\n"), chunk[-1:]
    return n_lines + (last != b"\n")


#: How files of the formats that are decoded begin.
_SIGNATURES = {
    name: re.compile(signature, re.DOTALL)
    for name, signature in (
        ("PNG", rb"\x89PNG\r\n\x1a\n"),
        ("JPEG", rb"\xff\xd8\xff"),
        ("GIF", rb"GIF8[79]a"),
        ("WebP", rb"RIFF.{4}WEBP"),
        ("BMP", rb"BM.{4}\0{4}"),
        ("TIFF", rb"II\*\0|MM\0\*"),
        ("AVIF", rb".{4}ftypavi[fs]"),
        ("JPEG 2000", rb"\0{3}\x0cjP  "),
        ("PPM", rb"P[4-6]\s+\d+\s+\d+\s"),
    )
}

#: What files of images are called, those that cannot be decoded too; SVG is text.
_IMAGE_SUFFIX = re.compile(
    r"\.(avif|bmp|gif|heic|heif|jfif|jp2|jpe|jpe?g|pbm|pgm|png|pnm|ppm|tiff?|webp)", re.IGNORECASE
)

#: Enough bytes of a file for every signature.
_SIGNATURE_BYTES = 64

#: Longest path in an error.
_NAME_CHARS = 200

#: What opens files that are often named by mistake.
_READERS = {
    ".xlsx": "pandas.read_excel(path)",
    ".xls": "pandas.read_excel(path)",
    ".feather": "pandas.read_feather(path)",
    ".npy": "numpy.load(path)",
    ".npz": "numpy.load(path)",
    ".nc": "xarray.open_dataset(path)",
    ".gz": "pandas.read_csv(path)",
    ".zip": "pandas.read_csv(path)",
}


def image_format(data: bytes) -> str:
    """Name the image format of which `data` is the beginning; empty if it is none."""
    return next((name for name, begin in _SIGNATURES.items() if begin.match(data)), "")


def is_image_bytes(data: bytes | bytearray | memoryview) -> bool:
    """Return whether some bytes begin as an image does."""
    return bool(image_format(bytes(data[:_SIGNATURE_BYTES])))


def is_image_path(path: os.PathLike[Any]) -> bool:
    """Return whether a path leads to a file that begins as an image does."""
    try:
        return bool(image_format(_beginning(_expanded(path), _SIGNATURE_BYTES)))
    except Exception:  # noqa: BLE001 - no such file, no such user, or a foreign __fspath__
        return False


def is_named_as_image(path: os.PathLike[Any]) -> bool:
    """Return whether a path ends as those of images do, whatever is there."""
    return bool(_IMAGE_SUFFIX.fullmatch(Path(os.fsdecode(path)).suffix))


def bytes_part(data: bytes | bytearray | memoryview, *, limits: Limits) -> Part:
    """Make the image or the text that some bytes are."""
    content = bytes(data)
    if image_format(content):
        return image_from_bytes(content, limits=limits)
    encoding = encoding_of(content, is_whole=True)
    if encoding is None or not encoding.is_certain:
        raise ContentError(
            f"The {len(content):,} bytes are neither an image nor UTF-8 text. "
            "Decode them first, and name what comes out."
        )
    text = encoding.decoded(content, is_whole=True)
    return as_text(text, limits=limits, lines="\n" in text)


def path_part(path: os.PathLike[Any], *, limits: Limits) -> Part:
    """Make the image, the table or the text that a file holds.

    A table (CSV, TSV, Parquet, told by the suffix) is summarized as its DataFrame; a delimited one
    is sent as text where pandas is not installed. Of a long text, the beginning and the end are
    sent.
    """
    try:
        file = _expanded(path)
        begin = _files_read(file, limits.text_chars * BYTES_PER_CHAR)
    except (OSError, RuntimeError) as error:  # as for a name too long, or a ~user who is not known
        name = one_line(safe_str(str, path), max_chars=_NAME_CHARS)
        reason = getattr(error, "strerror", None) or error
        raise ContentError(
            f"{name} cannot be read ({reason}). Check its name, and who may read it."
        ) from error
    if kind := image_format(begin):
        return image_from_path(file, limits=limits, about=f"{kind} file {file.name}")
    if is_named_as_image(file):  # a broken one: the model would be asked about something else
        raise ContentError(_image_advice(file, is_empty=not begin))
    if is_parquet(file):
        return parquet_part(file, limits=limits)
    encoding = encoding_of(begin, is_whole=len(begin) >= file.stat().st_size)
    if encoding is None:
        raise ContentError(_binary_advice(file))
    table, notes = _table(file, encoding, limits) if is_delimited(file) else (None, ())
    return table or replace(text_of(file, begin, encoding, limits=limits), notes=notes)


def _table(file: Path, encoding: Encoding, limits: Limits) -> tuple[Text | None, tuple[str, ...]]:
    """Return the table that a delimited file holds, or a note on why it holds none."""
    try:
        return delimited_part(file, encoding, limits=limits), ()
    except NoTableError as error:
        return None, (_text_advice(file, error),) if str(error) else ()


def _text_advice(file: Path, reason: NoTableError) -> str:
    return (
        f"{file.name} went as text: pandas reads no table in it ({reason}). Correct the file, or "
        'name `pd.read_csv(path, on_bad_lines="skip")`.'
    )


def _image_advice(file: Path, *, is_empty: bool) -> str:
    said = "is empty" if is_empty else "holds no image that can be read, whatever its name says"
    return (
        f"{file} {said}. Save it anew as PNG or JPEG, or open it with a library that reads it, and "
        "name what that gives."
    )


def _binary_advice(file: Path) -> str:
    said = f"{file} is neither an image that can be read nor text."
    if reader := _READERS.get(file.suffix.lower()):
        return f"{said} Open it with {reader}, and name what that gives."
    return (
        f"{said} Open it with a library that reads it, and name what you want to ask about; if it "
        "is text in an old encoding, name what path.read_text(encoding=...) gives."
    )


def _expanded(path: os.PathLike[Any]) -> Path:
    return Path(os.fsdecode(path)).expanduser()


def _files_read(file: Path, max_bytes: int) -> bytes:
    if file.is_dir():
        raise ContentError(f"{file} is a folder. Name a file in it, or a list of its names.")
    if not file.exists():
        raise ContentError(f"There is no file {file}. Check its name; this folder is {Path.cwd()}.")
    return _beginning(file, max_bytes)


def _beginning(file: Path, max_bytes: int) -> bytes:
    if not file.is_file():
        raise OSError(None, "it is a device or a pipe, or it is gone")  # reading might never end
    with file.open("rb") as stream:
        return stream.read(max(max_bytes, _SIGNATURE_BYTES))
