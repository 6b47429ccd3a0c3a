"""Bytes and files: images by their signature, and otherwise the text that they hold."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from segmind_jupyter.content.delimited import NoTableError
from segmind_jupyter.content.images import image_from_bytes, image_from_path
from segmind_jupyter.content.kinds import attempted
from segmind_jupyter.content.parts import Limits, Part, Text
from segmind_jupyter.content.table_files import (
    delimited_part,
    is_delimited,
    is_parquet,
    parquet_part,
)
from segmind_jupyter.content.text import as_text, one_line
from segmind_jupyter.content.text_files import BYTES_PER_CHAR, Encoding, encoding_of, text_of
from segmind_jupyter.errors import ContentError

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
    """Tell whether some bytes begin as an image does."""
    return bool(image_format(bytes(data[:_SIGNATURE_BYTES])))


def is_image_path(path: os.PathLike[Any]) -> bool:
    """Tell whether a path leads to a file that begins as an image does."""
    try:
        return bool(image_format(_beginning(_expanded(path), _SIGNATURE_BYTES)))
    except Exception:  # noqa: BLE001 - no such file, no such user, or a foreign __fspath__
        return False


def is_named_as_image(path: os.PathLike[Any]) -> bool:
    """Tell whether a path ends as those of images do, whatever is there."""
    return bool(_IMAGE_SUFFIX.fullmatch(Path(os.fsdecode(path)).suffix))


def bytes_part(data: bytes | bytearray | memoryview, *, limits: Limits) -> Part:
    """Make the image or the text that some bytes are.

    Raises
    ------
    ContentError
        They are neither.
    """
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

    Raises
    ------
    ContentError
        There is no such file, it cannot be read, or it is neither; or it is named as an image,
        and is none.
    """
    try:
        file = _expanded(path)
        begin = _read(file, limits.text_chars * BYTES_PER_CHAR)
    except (OSError, RuntimeError) as error:  # as for a name too long, or a ~user who is not known
        name = one_line(attempted(str, path), max_chars=_NAME_CHARS)
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
    """Give the table that a delimited file holds, or a note on why it holds none."""
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


def _read(file: Path, max_bytes: int) -> bytes:
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
