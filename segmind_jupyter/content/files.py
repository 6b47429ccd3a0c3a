"""Bytes and files: images by their signature, tables, documents, and otherwise their text."""

from __future__ import annotations

import codecs
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from segmind_jupyter.content.documents import is_pdf, notebook_parts, pdf_parts
from segmind_jupyter.content.images.charts import svg_part
from segmind_jupyter.content.images.encode import image_from_bytes, image_from_path
from segmind_jupyter.content.parts import Limits, Part, Text, safe_str
from segmind_jupyter.content.tables.files import (
    DELIMITED,
    PARQUET,
    NoTableError,
    delimited_part,
    parquet_part,
)
from segmind_jupyter.content.text import TAIL_SHARE, as_text, one_line
from segmind_jupyter.errors import ContentError, shortened

#: How files of the formats that are decoded begin.
_SIGNATURES: Final = {
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

#: Enough bytes of a file for every signature.
_SIGNATURE_BYTES: Final = 64

#: Bytes of a text that are read; the most bytes of a character; room for a note on a cut.
_MAX_BYTES, _BYTES_PER_CHAR, _CUT_CHARS = 32_000_000, 4, 80

#: What files of images are called, those that cannot be decoded too; SVG is text.
_IMAGE_SUFFIX: Final = re.compile(
    r"\.(avif|bmp|gif|heic|heif|jfif|jp2|jpe|jpe?g|pbm|pgm|png|pnm|ppm|tiff?|webp)", re.IGNORECASE
)

#: The suffixes of files that a `Path` sends as a table, an image, a document or a text.
_SUFFIXES: Final = (
    *DELIMITED, *PARQUET, ".pdf", ".ipynb",
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm",
    ".txt", ".md", ".json", ".log",
)  # fmt: skip

#: What opens files that are often named by mistake.
_READERS: Final = {
    ".xlsx": "pandas.read_excel(path)",
    ".xls": "pandas.read_excel(path)",
    ".feather": "pandas.read_feather(path)",
    ".npy": "numpy.load(path)",
    ".npz": "numpy.load(path)",
    ".nc": "xarray.open_dataset(path)",
    ".gz": "pandas.read_csv(path)",
    ".zip": "pandas.read_csv(path)",
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
            return image_from_path(file, limits=limits, about=f"{kind} file {file.name}")
        if is_named_as_image(file):  # broken: the model would be asked about something else
            said = "holds no image that can be read, whatever its name says"
            raise ContentError(
                f"{file} {said if begin else 'is empty'}. Save it anew as PNG or JPEG, or open it "
                "with a library that reads it, and name what that gives."
            )
        if is_pdf(begin):
            return pdf_parts(file, name=file.name, limits=limits)
        suffix = file.suffix.lower()
        if suffix in PARQUET:
            return parquet_part(file, limits=limits)
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
        said = f"{file} is neither an image that can be read nor text."
        if reader := _READERS.get(suffix):
            raise ContentError(f"{said} Open it with {reader}, and name what that gives.")
        raise ContentError(
            f"{said} Open it with a library that reads it, and name what you want to ask about; if "
            "it is text in an old encoding, name what path.read_text(encoding=...) gives."
        )
    if suffix == ".svg" and content.is_whole:
        return svg_part(content.text, limits=limits, about=f"SVG file {file.name}")
    notes: tuple[str, ...] = ()
    if suffix in DELIMITED:
        try:
            table = delimited_part(
                file,
                content.text,
                is_whole=content.is_whole,
                remark=content.guess,
                limits=limits,
            )
            if table:
                return table
        except NoTableError as error:
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
    if is_pdf(data):
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
    return next((name for name, begin in _SIGNATURES.items() if begin.match(data)), "")


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
    return bool(_IMAGE_SUFFIX.fullmatch(Path(os.fsdecode(path)).suffix))


def file_notes(text: str, name: str = "") -> tuple[str, ...]:
    """Say what to write where the file was meant; nothing if `text` names none that is there."""
    if len(text) > _MAX_PATH_CHARS or not text.lower().endswith(_SUFFIXES) or "\n" in text:
        return ()
    try:
        if not Path(text).expanduser().is_file():
            return ()
    except (OSError, ValueError, RuntimeError):  # a name too long, a null, a ~user who is not known
        return ()
    quoted = shortened(repr(text))
    said, path = (f"`{name}` ({quoted})", name) if name else (f"`{quoted}`", quoted)
    return (f"{said} is sent as words; `Path({path})` sends the file of that name.",)


#: Byte-order marks, and what follows them.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

#: The old 8-bit encoding of Western Windows; a superset of what Latin-1 files use.
_WINDOWS: Final = "cp1252"

#: A text in a Western language has fewer accented letters than this; one in Greek, Cyrillic or
#: Japanese has more.
_MOST_ACCENTED: Final = 0.15

#: Controls that no text has: all but tab, line ends, form feed and escape.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class _Content:
    """What was read of a text file."""

    text: str
    codec: str
    is_whole: bool

    @property
    def guess(self) -> str:
        """Say what was guessed, if anything was: the bytes do not tell an 8-bit encoding."""
        is_guess = self.codec == _WINDOWS
        return "not UTF-8; it is read as Windows-1252" if is_guess else ""


def _decoded(data: bytes, *, is_whole: bool) -> _Content | None:
    """Read text, or nothing if the file that begins with `data` is none.

    A byte-order mark decides; without one it is UTF-8, or else Windows-1252 if the bytes make a
    text of a Western language in it.
    """
    marked = [(codec, len(mark)) for mark, codec in _MARKS if data.startswith(mark)]
    for codec, begin in marked or [("utf-8", 0), (_WINDOWS, 0)]:
        try:  # the last character of what was read may be incomplete
            text = codecs.getincrementaldecoder(codec)().decode(data[begin:], final=is_whole)
        except UnicodeDecodeError:
            continue
        if codec == _WINDOWS:
            accented = len(data.translate(None, bytes(range(128))))
            is_text = accented <= _MOST_ACCENTED * len(data) and not _CONTROLS.search(text)
        else:
            is_text = "\0" not in text
        if is_text:
            return _Content(text, codec, is_whole)
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
