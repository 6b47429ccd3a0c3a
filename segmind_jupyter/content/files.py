"""Bytes and files: images by their signature, tables as what they say, documents, and texts."""

from __future__ import annotations

import codecs
import io
import os
import re
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

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
from segmind_jupyter.content.text import as_text, one_line
from segmind_jupyter.errors import ContentError, shortened

#: How files of the formats that are decoded begin: PNG, JPEG, GIF, WebP, BMP, TIFF, AVIF, JPEG 2000
#: and PPM; enough bytes of a file to see it.
_IMAGE: Final = re.compile(
    rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF.{4}WEBP|BM.{4}\0{4}|II\*\0|MM\0\*"
    rb"|.{4}ftypavi[fs]|\0{3}\x0cjP  |P[4-6]\s+\d+\s+\d+\s",
    re.DOTALL,
)
_SIGNATURE_BYTES: Final = 64

#: Larger texts, tables of text and notebooks are not read.
_MAX_BYTES: Final = 100_000_000

#: What files of images are called, those that cannot be decoded too; SVG is text.
_IMAGE_SUFFIXES: Final = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif",
    ".jp2", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif",
)  # fmt: skip

#: Suffixes of delimited text, and what stands between the cells; empty where the file tells.
_DELIMITED: Final = {".csv": "", ".tsv": "\t", ".tab": "\t"}

_PARQUET: Final = (".parquet", ".pq")

#: Names of files that nobody names to ask about the name.
_TELLING_SUFFIXES: Final = (*_IMAGE_SUFFIXES, *_DELIMITED, *_PARQUET, ".pdf", ".xlsx")

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
        begin = _beginning(file)
        if is_image_bytes(begin):
            return image_from_bytes(file.read_bytes(), limits=limits, about=f"file {file.name}")
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
        if file.stat().st_size > _MAX_BYTES:
            raise ContentError(
                f"{file} is larger than 100 MB. Name a part of it, such as what "
                "`pd.read_csv(path, nrows=10_000)` gives; of a notebook, clear the outputs."
            )
        data = file.read_bytes()
    except (OSError, RuntimeError) as error:  # as for a name too long, or a ~user who is not known
        name = one_line(safe_str(str, path), max_chars=_NAME_CHARS)
        reason = getattr(error, "strerror", None) or error
        raise ContentError(
            f"{name} cannot be read ({reason}). Check its name, and who may read it."
        ) from error
    if suffix == ".ipynb" and (cells := notebook_parts(data, name=file.name, limits=limits)):
        return cells
    decoded = _decoded(data)
    if decoded is None:
        raise ContentError(
            f"{file} is neither an image that can be read nor text. Open it with a library that "
            "reads it, such as `pandas.read_excel(path)` or `numpy.load(path)`, and name what that "
            "gives; if it is text in an old encoding, name what path.read_text(encoding=...) gives."
        )
    text, guess = decoded
    if suffix == ".svg":
        return svg_part(text, limits=limits, about=f"SVG file {file.name}")
    notes: tuple[str, ...] = ()
    if suffix in _DELIMITED and text.strip():
        try:
            return _delimited_part(file, text, guess, limits=limits)
        except (ValueError, ImportError) as error:
            notes = (
                f"{file.name} went as text, not as a table ({format_error(error)}); `pd.read_csv` "
                "has options for what stands around one.",
            )
    said = guess if text else "empty"
    text = f"[{file.name} is {said}]\n{text}" if said else text
    about = f"file {file.name}, {len(data):,} bytes"
    return replace(as_text(text, limits=limits, about=about, lines=True), notes=notes)


def _beginning(file: Path) -> bytes:
    if not file.is_file():
        raise OSError(None, "it is a device or a pipe, or it is gone")  # reading might never end
    with file.open("rb") as stream:
        return stream.read(_SIGNATURE_BYTES)


def bytes_part(data: bytes | bytearray | memoryview, *, limits: Limits) -> Part | list[Part]:
    """Make the image, the pages or the text that some bytes are."""
    data = bytes(data)
    if is_image_bytes(data):
        return image_from_bytes(data, limits=limits)
    if data.startswith(b"%PDF-"):
        return pdf_parts(data, name="PDF", limits=limits)
    text, guess = _decoded(data) or ("", "no text")
    if guess:
        raise ContentError(
            f"The {len(data):,} bytes are neither an image nor UTF-8 text. "
            "Decode them first, and name what comes out."
        )
    return as_text(text, limits=limits, lines="\n" in text)


def is_image_bytes(data: bytes | bytearray | memoryview) -> bool:
    """Return whether some bytes begin as an image does."""
    return bool(_IMAGE.match(bytes(data[:_SIGNATURE_BYTES])))


def is_image_path(path: os.PathLike[Any]) -> bool:
    """Return whether a path leads to a file that begins as an image does."""
    try:
        return is_image_bytes(_beginning(Path(os.fsdecode(path)).expanduser()))
    except Exception:  # noqa: BLE001 - no such file, no such user, or a foreign __fspath__
        return False


def is_named_as_image(path: os.PathLike[Any]) -> bool:
    """Return whether a path ends as those of images do, whatever is there."""
    return os.fsdecode(path).lower().endswith(_IMAGE_SUFFIXES)


def is_file_name(text: object) -> bool:
    """Return whether a text is the name of a file that is there, of a picture or a table."""
    if not isinstance(text, str) or len(text) > _MAX_PATH_CHARS or "\n" in text:
        return False
    try:
        return text.lower().endswith(_TELLING_SUFFIXES) and Path(text).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):  # a name too long, a null, a ~user who is not known
        return False


def refuse_file_names(texts: list[Any], way: str) -> None:
    """Refuse names where the files were meant: nobody pays for a caption of ``'a.png'``."""
    if texts and all(map(is_file_name, texts)):
        raise ContentError(
            f"It is the name of a file ({shortened(repr(texts[0]))}), not its content. `{way}` "
            "sends what such a file holds; to send names as words, join them to one text."
        )


#: Controls that no text has: all but tab, line ends, form feed and escape.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


def _decoded(data: bytes) -> tuple[str, str] | None:
    """Read text, and say where its encoding was guessed; nothing if the bytes are none."""
    is_marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    with suppress(UnicodeDecodeError):
        text = data.decode("utf-16" if is_marked else "utf-8-sig")
        return None if "\0" in text else (text, "")
    with suppress(UnicodeDecodeError):  # the 8-bit encoding of Western Windows
        text = data.decode("cp1252")
        accented = len(data.translate(None, bytes(range(128))))
        # A text in Greek, Cyrillic or Japanese has more accented letters than a Western one.
        if accented <= 0.15 * len(data) and not (is_marked or _CONTROLS.search(text)):
            return text, "not UTF-8; it is read as Windows-1252"
    return None


#: Of a table in a file so many cells and rows are read: a second's work. Wider ones are not.
_MAX_COLUMNS, _MAX_CELLS, _MAX_ROWS = 5_000, 2_000_000, 100_000

#: What may stand between the cells, the likeliest first; so much of a header tells it.
_DELIMITERS, _HEADER_CHARS = ",;\t|", 10_000

#: A number that a float holds as it is written: no sign or zero in front, no more digits than it
#: has. ``12E4`` is a name.
_EXPONENT: Final = r"[eE][-+]?\d+"
_NUMBER: Final = (
    rf"-?(?:(?:0|[1-9]\d{{0,14}})(?:\.\d*(?:{_EXPONENT})?|[eE][-+]\d+)?"
    rf"|\.\d+(?:{_EXPONENT})?|inf)"
)


def _delimited_part(file: Path, text: str, guess: str, *, limits: Limits) -> Text:
    """Summarize a CSV or TSV file as what it says; a `ValueError` says why it is no table."""
    import pandas

    hint = re.match(r"sep=([,;\t|])\r?\n", text)  # by this line Excel is told the delimiter
    text = text[hint.end() :] if hint else text
    header = text[:_HEADER_CHARS].partition("\n")[0]
    delimiter = _DELIMITED[file.suffix.lower()] or max(_DELIMITERS, key=header.count)
    delimiter = hint[1] if hint else delimiter
    width = pandas.read_csv(io.StringIO(text), sep=delimiter, nrows=0).shape[1]
    most = _most_rows(file, width)
    frame = pandas.read_csv(
        io.StringIO(text), sep=delimiter, nrows=most + 1, dtype=str, na_filter=False
    )
    if not isinstance(frame.index, pandas.RangeIndex):
        raise ValueError("its rows have more cells than its header")
    total, frame = None if len(frame) > most else len(frame), frame.head(most)
    typed = pandas.DataFrame({n: _typed(frame.iloc[:, n]) for n in range(width)})
    typed.columns = frame.columns
    return _file_table(typed, file, total, limits, remark=guess)


def _most_rows(file: Path, width: int) -> int:
    """Say how many rows are read of a table with so many columns."""
    if width > _MAX_COLUMNS:
        raise ContentError(
            f"{file.name} has {width:,} columns; {_MAX_COLUMNS:,} are read of a file. Name a part "
            "of it, such as what `pd.read_csv(path, usecols=range(1_000))` gives, or "
            "`pd.read_parquet(path, columns=[...])`."
        )
    return min(_MAX_ROWS, _MAX_CELLS // max(1, width))


def _typed(column: Any) -> Any:
    """Return numbers where a column has nothing else, else its texts; an empty cell is missing."""
    import pandas

    column = column.where(column != "", None)
    present = column.dropna().str.strip(" ")
    if not present.str.fullmatch(_NUMBER).all():
        return column
    decimals = present.str.extract(r"\.(\d+)$", expand=False).dropna()
    if decimals.str.fullmatch(r"\d+0").any() and decimals.str.len().nunique() > 1:
        return column  # versions: 1.9 is older than 1.10
    return pandas.to_numeric(column.astype(object))


def _file_table(
    frame: Any, file: Path, total: int | None, limits: Limits, *, remark: str = ""
) -> Text:
    """Summarize what was read of a file with so many rows, if that is known."""
    n_rows, width = frame.shape
    rows, left_out = plural(n_rows, "row"), ""
    if n_rows != total:
        rows = f"the first {n_rows:,} of {'more' if total is None else f'{total:,}'} rows"
        left_out, rows = f"{rows} read", f"{rows} (the others are not read)"
    columns = plural(width, "column") + (f" ({remark})" if remark else "")
    heading = f"{file.name}: table, {rows} × {columns}"
    about = f"file {file.name}, {n_rows}×{width}"
    part = table_text(frame, heading=heading, about=about, limits=limits)
    return replace(part, left_out=left_out) if left_out else part


def _parquet_part(file: Path, *, limits: Limits) -> Text:
    """Summarize a Parquet file, of a long one the first rows."""
    try:
        import pyarrow.parquet
    except ImportError:
        raise ContentError(
            f"{file.name} is a Parquet file, and pyarrow, which reads it here, is not installed. "
            "Run `pip install pyarrow` and try again, or name a DataFrame that you read from it."
        ) from None
    advice = "Write it again, or name a DataFrame that you read from it."
    failing = naming_failures(f"{file} cannot be read as Parquet", advice)
    with failing, pyarrow.parquet.ParquetFile(file) as content:
        schema, total = content.schema_arrow, content.metadata.num_rows
        first = islice(content.iter_batches(_most_rows(file, len(schema))), 1)
        frame = pyarrow.Table.from_batches(first, schema)
    return _file_table(frame, file, total, limits)
