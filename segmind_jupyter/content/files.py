"""Bytes and files: images by their signature, tables as what they say, documents, and texts."""

from __future__ import annotations

import codecs
import csv
import importlib
import io
import os
import re
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from segmind_jupyter.content.documents import notebook_parts, pdf_parts
from segmind_jupyter.content.images.encode import image_from_bytes
from segmind_jupyter.content.images.figures import svg_part
from segmind_jupyter.content.parts import (
    Limits,
    Part,
    Text,
    format_error,
    naming_failures,
    safe_str,
)
from segmind_jupyter.content.tables import plural, table_text
from segmind_jupyter.content.text import TAIL_SHARE, as_text, one_line
from segmind_jupyter.errors import ContentError, shortened

#: How files of the formats that are decoded begin.
_SIGNATURES: Final = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF.{4}WEBP",
    "BMP": rb"BM.{4}\0{4}",
    "TIFF": rb"II\*\0|MM\0\*",
    "AVIF": rb".{4}ftypavi[fs]",
    "JPEG 2000": rb"\0{3}\x0cjP  ",
    "PPM": rb"P[4-6]\s+\d+\s+\d+\s",
}

#: Enough bytes of a file for every signature.
_SIGNATURE_BYTES: Final = 64

#: Bytes of a text that are read; the most bytes of a character; room for a note on a cut.
_MAX_BYTES, _BYTES_PER_CHAR, _CUT_CHARS = 32_000_000, 4, 80

#: What files of images are called, those that cannot be decoded too; SVG is text.
_IMAGE_SUFFIXES: Final = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif",
    ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif",
)  # fmt: skip

#: Suffixes of delimited text, and what stands between the cells; empty where the file tells.
_DELIMITED: Final = {".csv": "", ".tsv": "\t", ".tab": "\t"}

_PARQUET: Final = (".parquet", ".pq")

#: Names of files that nobody names to ask about the name: pictures and tables; and others that a
#: `Path` sends as a document or a text.
_TELLING_SUFFIXES: Final = (*_IMAGE_SUFFIXES, *_DELIMITED, *_PARQUET, ".pdf", ".xlsx")
_SUFFIXES: Final = (*_TELLING_SUFFIXES, ".ipynb", ".txt", ".md", ".json", ".log")

#: What opens files that are often named by mistake.
_READERS: Final = {
    (".xlsx", ".xls"): "pandas.read_excel(path)",
    (".csv.gz", ".csv.zip", ".tsv.gz"): "pandas.read_csv(path)",
    (".feather",): "pandas.read_feather(path)",
    (".npy", ".npz"): "numpy.load(path)",
    (".nc",): "xarray.open_dataset(path)",
}

#: No path is longer (Linux's PATH_MAX); longest path in an error.
_MAX_PATH_CHARS, _NAME_CHARS = 4096, 200


def path_part(path: os.PathLike[Any], *, limits: Limits) -> Part | list[Part]:
    """Make the image, the table, the pages, the cells or the text that a file holds."""
    try:
        file = Path(os.fsdecode(path)).expanduser()
        if file.is_dir():
            raise ContentError(f"{file} is a folder. Name a file in it, or a list of its names.")
        if not file.exists():
            raise ContentError(
                f"There is no file {file}. Check its name; this folder is {Path.cwd()}."
            )
        begin = _beginning(file, _SIGNATURE_BYTES)
        if kind := image_format(begin):
            about = f"{kind} file {file.name}"
            return image_from_bytes(file.read_bytes(), limits=limits, about=about)
        if is_named_as_image(file):  # broken: the model would be asked about something else
            said = "holds no image that can be read, whatever its name says"
            raise ContentError(
                f"{file} {said if begin else 'is empty'}. Save it anew as PNG or JPEG, or open it "
                "with a library that reads it, and name what that gives."
            )
        if begin.startswith(b"%PDF-"):
            return pdf_parts(file, name=file.name, limits=limits)
        suffix = file.suffix.lower()
        if suffix in _PARQUET:
            return _parquet_part(file, limits=limits)
        if suffix == ".ipynb" and (cells := notebook_parts(file, limits=limits)):
            return cells
        data, n_bytes = _beginning(file, _MAX_BYTES), file.stat().st_size
    except (OSError, RuntimeError) as error:  # as for a name too long, or a ~user who is not known
        name = one_line(safe_str(str, path), max_chars=_NAME_CHARS)
        reason = getattr(error, "strerror", None) or error
        raise ContentError(
            f"{name} cannot be read ({reason}). Check its name, and who may read it."
        ) from error
    content = _decoded(data, is_whole=len(data) >= n_bytes)
    if content is None:
        readers = (how for ends, how in _READERS.items() if file.name.lower().endswith(ends))
        raise ContentError(
            f"{file} is neither an image that can be read nor text. Open it with "
            f"{next(readers, 'a library that reads it')}, and name what that gives; if it is text "
            "in an old encoding, name what path.read_text(encoding=...) gives."
        )
    if suffix == ".svg" and content.is_whole:
        return svg_part(content.text, limits=limits, about=f"SVG file {file.name}")
    notes: tuple[str, ...] = ()
    if suffix in _DELIMITED:
        try:
            if table := _delimited_part(file, content, limits=limits):
                return table
        except _NoTableError as error:
            if str(error):
                notes = (f"{file.name} went as text: it is no table ({error}).",)
    return replace(_text_part(file, content, n_bytes, limits=limits), notes=notes)


def _beginning(file: Path, max_bytes: int) -> bytes:
    if not file.is_file():
        raise OSError(None, "it is a device or a pipe, or it is gone")  # reading might never end
    with file.open("rb") as stream:
        return stream.read(max_bytes)


def bytes_part(data: bytes | bytearray | memoryview, *, limits: Limits) -> Part | list[Part]:
    """Make the image, the pages or the text that some bytes are."""
    data = bytes(data)
    if image_format(data):
        return image_from_bytes(data, limits=limits)
    if data.startswith(b"%PDF-"):
        return pdf_parts(data, name="PDF", limits=limits)
    content = _decoded(data, is_whole=True)
    if content is None or content.guess:
        raise ContentError(
            f"The {len(data):,} bytes are neither an image nor UTF-8 text. "
            "Decode them first, and name what comes out."
        )
    return as_text(content.text, limits=limits, lines="\n" in content.text)


def image_format(data: bytes) -> str:
    """Name the image format of which `data` is the beginning; empty if it is none."""
    found = (name for name, begin in _SIGNATURES.items() if re.match(begin, data, re.DOTALL))
    return next(found, "")


def is_image_bytes(data: bytes | bytearray | memoryview) -> bool:
    """Return whether some bytes begin as an image does."""
    return bool(image_format(bytes(data[:_SIGNATURE_BYTES])))


def is_image_path(path: os.PathLike[Any]) -> bool:
    """Return whether a path leads to a file that begins as an image does."""
    try:
        file = Path(os.fsdecode(path)).expanduser()
        return bool(image_format(_beginning(file, _SIGNATURE_BYTES)))
    except Exception:  # noqa: BLE001 - no such file, no such user, or a foreign __fspath__
        return False


def is_named_as_image(path: os.PathLike[Any]) -> bool:
    """Return whether a path ends as those of images do, whatever is there."""
    return os.fsdecode(path).lower().endswith(_IMAGE_SUFFIXES)


def is_file_name(text: object, suffixes: tuple[str, ...] = _TELLING_SUFFIXES) -> bool:
    """Return whether a text is the name of a file that is there, of a picture or a table say."""
    if not isinstance(text, str) or len(text) > _MAX_PATH_CHARS or "\n" in text:
        return False
    try:
        return text.lower().endswith(suffixes) and Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # a name too long, a null, a ~user who is not known
        return False


def refuse_file_names(texts: list[Any], name: str = "", *, are_listed: bool = False) -> None:
    """Refuse names where the files were meant: nobody pays for a caption of ``'a.png'``."""
    if not texts or not all(map(is_file_name, texts)):
        return
    quoted = shortened(repr(texts[0]))
    if not are_listed:
        raise ContentError(
            f"It is the name of a file ({quoted}), not its content. `Path({name or quoted})` sends "
            "the file of that name."
        )
    raise ContentError(
        f"It holds the names of files ({quoted}, …), not their content. "
        f"`list(map(Path, {name or 'names'}))` sends the files; to send the names as words, join "
        "them to one text."
    )


def file_notes(text: str, name: str = "") -> tuple[str, ...]:
    """Say what to write where the file was meant; nothing if `text` names none that is there."""
    if not is_file_name(text, _SUFFIXES):
        return ()
    quoted = shortened(repr(text))
    said, path = (f"`{name}` ({quoted})", name) if name else (f"`{quoted}`", quoted)
    return (f"{said} is sent as words; `Path({path})` sends the file of that name.",)


def held_file_notes(text: str, name: str) -> tuple[str, ...]:
    """Say the same of a listing or a table in which the name of a picture or a table stands."""
    words = (word.strip("[](){},:'\"") for word in text.split())
    held = next(filter(is_file_name, words), None)
    if held is None:
        return ()
    said = f"`{name}` holds" if name else "What is sent holds"
    path = f"`Path({shortened(repr(held))})`"
    return (f"{said} the name of a file, sent as words; {path} sends the file of that name.",)


#: Byte-order marks, and what follows them.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

#: The old 8-bit encoding of Western Windows; a superset of what Latin-1 files use.
_WINDOWS: Final = "cp1252"

#: Controls that no text has: all but tab, line ends, form feed and escape.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


class _Content(NamedTuple):
    """What was read of a text file; bytes do not tell an 8-bit encoding, which is guessed."""

    text: str
    codec: str
    is_whole: bool
    guess: str


def _decoded(data: bytes, *, is_whole: bool) -> _Content | None:
    """Read text, or nothing if the file that begins with `data` is none."""
    marked = [(codec, len(mark)) for mark, codec in _MARKS if data.startswith(mark)]
    for codec, begin in marked or [("utf-8", 0), (_WINDOWS, 0)]:
        try:  # the last character of what was read may be incomplete
            text = codecs.getincrementaldecoder(codec)().decode(data[begin:], final=is_whole)
        except UnicodeDecodeError:
            continue
        if codec == _WINDOWS:
            accented = len(data.translate(None, bytes(range(128))))
            # A text in Greek, Cyrillic or Japanese has more accented letters than a Western one.
            is_text = accented <= 0.15 * len(data) and not _CONTROLS.search(text)
        else:
            is_text = "\0" not in text
        if is_text:
            guess = "not UTF-8; it is read as Windows-1252" if codec == _WINDOWS else ""
            return _Content(text, codec, is_whole, guess)
    return None


def _text_part(file: Path, content: _Content, n_bytes: int, *, limits: Limits) -> Text:
    """Return the text of a file: all of it if it fits, else its beginning and its end."""
    text, about = content.text, f"file {file.name}, {n_bytes:,} bytes"
    said = content.guess if text else "empty"
    text = f"[{file.name} is {said}]\n{text}" if said else text
    if content.is_whole:
        return as_text(text, limits=limits, about=about, lines=True)
    n_tail = int(limits.text_chars * TAIL_SHARE)  # of a longer file than is read, what stands last
    with file.open("rb") as stream:
        stream.seek((n_bytes - n_tail * _BYTES_PER_CHAR) // 2 * 2)
        tail = stream.read().decode(content.codec, "ignore")[-n_tail:]
    head = text[: max(0, limits.text_chars - n_tail - _CUT_CHARS)]
    shown = f"{len(head) + len(tail):,} characters of {n_bytes:,} bytes"
    text = f"{head}\n[cut: {shown} are shown]\n{tail}"
    return replace(as_text(text, limits=limits, about=about, lines=True), left_out=shown)


#: Of a table in a file so many columns, cells and rows are read: a second's work.
_MAX_COLUMNS, _MAX_CELLS, _MAX_ROWS = 5_000, 1_000_000, 100_000

#: What may stand between the cells, the likeliest first; so much of a header tells it.
_DELIMITERS, _HEADER_CHARS = ",;\t|", 10_000

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


class _NoTableError(Exception):
    """A text that is no table; the message says why, and is empty where there is nothing to say."""


def _delimited_part(file: Path, content: _Content, *, limits: Limits) -> Text | None:
    """Summarize a CSV or TSV file as what it says; nothing if pandas is not installed."""
    pandas = _imported("pandas")
    if pandas is None:
        return None
    is_whole, delimiter = content.is_whole, _DELIMITED[file.suffix.lower()]
    table = content.text[: None if is_whole else content.text.rfind("\n") + 1]
    hint = _SEPARATOR.match(table)
    if hint:
        delimiter, table = hint[1], table[hint.end() :]
    elif not delimiter:
        delimiter = max(_DELIMITERS, key=table[:_HEADER_CHARS].partition("\n")[0].count)
    reader = csv.reader(io.StringIO(table, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    try:
        header = next(reader, [])
        width = min(len(header), _MAX_COLUMNS)
        most = min(_MAX_ROWS, _MAX_CELLS // max(1, width))
        for row in reader:
            if not row or (len(row) == 1 and row[0].isspace()):
                continue
            if any(row[len(header) :]):
                raise _NoTableError(
                    f"line {reader.line_num + bool(hint):,} has {len(row):,} cells, the header "
                    f"{len(header):,}; `pd.read_csv` has options for what stands above a header, "
                    "and for one that leaves out the first column"
                )
            if len(rows) == most:
                is_whole = False
                break
            rows.append(row[:width] + [""] * (width - len(row)))
    except csv.Error as error:
        raise _NoTableError(format_error(error)) from error
    if not header or not (rows or is_whole):  # empty, or one row that is longer than what is read
        raise _NoTableError
    cells = zip(*rows, strict=True) if rows else [()] * width
    frame = pandas.DataFrame({n: _typed(column) for n, column in enumerate(cells)})
    frame.columns = [name or f"Unnamed: {n}" for n, name in enumerate(header[:width])]
    total = len(frame) if is_whole else None
    return _file_table(frame, file, total, len(header), limits, remark=content.guess)


def _typed(cells: tuple[str, ...]) -> list[Any]:
    """Return numbers where a column has nothing else, else its texts."""
    present = [cell for cell in cells if cell]
    lines = "\n".join(present) + "\n"
    try:
        if len(present) == len(cells) and _INTEGERS.fullmatch(lines):
            return list(map(int, cells))
        is_mixed = _ZERO_AT_END.search(lines) and len(set(map(len, _DECIMALS.findall(lines)))) > 1
        if not present or (_FLOATS.fullmatch(lines) and not is_mixed):
            return [float(cell or "nan") for cell in cells]
    except ValueError:  # a cell of several lines, each of them a number
        pass
    return [cell or None for cell in cells]


def _file_table(
    frame: Any, file: Path, total: int | None, n_columns: int, limits: Limits, *, remark: str = ""
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
    heading = f"{file.name}: table, {rows} × {columns}{f' ({remark})' if remark else ''}"
    about = f"file {file.name}, {n_rows}×{width}"
    part = table_text(frame, heading=heading, about=about, limits=limits)
    return replace(part, left_out=", ".join(left_out)) if left_out else part


def _parquet_part(file: Path, *, limits: Limits) -> Text:
    """Summarize a Parquet file, of a long one the first rows."""
    arrow = _imported("pyarrow.parquet")
    polars: Any = None if arrow else _imported("polars")
    if not (arrow or polars):
        raise ContentError(
            f"{file.name} is a Parquet file, and nothing that reads it is installed. Run "
            "`pip install pyarrow` (or `pip install polars`) and try again."
        )
    advice = "Write it again, or name a DataFrame that you read from it."
    with naming_failures(f"{file} cannot be read as Parquet", advice):
        if arrow:
            with arrow.ParquetFile(file) as content:
                total, names = content.metadata.num_rows, content.schema_arrow.names
                chosen, n_rows = names[:_MAX_COLUMNS], _parquet_rows(names)
                read = content.iter_batches(batch_size=n_rows, columns=chosen)
                first = list(islice(read, 1))
                table = sys.modules["pyarrow"].Table
                frame = table.from_batches(first) if first else content.read(columns=chosen)
        else:
            scan = polars.scan_parquet(file, glob=False)
            names = scan.collect_schema().names()
            total = scan.select(polars.len()).collect().item()
            frame = scan.select(names[:_MAX_COLUMNS]).head(_parquet_rows(names)).collect()
    return _file_table(frame, file, total, len(names), limits)


def _parquet_rows(names: list[str]) -> int:
    width = max(1, min(len(names), _MAX_COLUMNS))
    return min(_MAX_ROWS, 10_000_000 // width)  # they are read faster


def _imported(module: str) -> Any:
    """Import a library, or give `None` where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
