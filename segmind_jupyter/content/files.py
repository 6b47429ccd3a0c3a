"""Bytes and files: images by their signature, and otherwise the text that they hold."""

from __future__ import annotations

import codecs
import os
import re
from pathlib import Path
from typing import Any

from segmind_jupyter.content.images import image_from_bytes, image_from_path
from segmind_jupyter.content.parts import Limits, Part, Text
from segmind_jupyter.content.text import as_text
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

#: Enough bytes of a file for every signature.
_SIGNATURE_BYTES = 64

#: A character takes at most so many bytes, in UTF-8 and in UTF-16.
_BYTES_PER_CHAR = 4

#: The room that a note on what was cut takes, in characters.
_NOTE_CHARS = 90


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
    except (OSError, ValueError):
        return False


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
    text = _decoded(content, is_whole=True)
    if text is None:
        raise ContentError(
            f"The {len(content):,} bytes are neither an image nor UTF-8 text. "
            "Decode them first, and name what comes out."
        )
    return as_text(text, limits=limits, lines="\n" in text)


def path_part(path: os.PathLike[Any], *, limits: Limits) -> Part:
    """Make the image that a file holds, or its text: of a long file, the beginning.

    Raises
    ------
    ContentError
        There is no such file, it cannot be read, or it is neither.
    """
    file = _expanded(path)
    begin = _read(file, limits.text_chars * _BYTES_PER_CHAR)
    if kind := image_format(begin):
        return image_from_path(file, limits=limits, about=f"{kind} file {file.name}")
    n_bytes = file.stat().st_size
    text = _decoded(begin, is_whole=len(begin) >= n_bytes)
    if text is None:
        raise ContentError(
            f"{file} is neither an image that can be read nor UTF-8 text. "
            "Open it with a library that reads it, and name what you want to ask about."
        )
    return _file_text(text, file, n_bytes, is_whole=len(begin) >= n_bytes, limits=limits)


def _expanded(path: os.PathLike[Any]) -> Path:
    return Path(os.fsdecode(path)).expanduser()


def _read(file: Path, max_bytes: int) -> bytes:
    if file.is_dir():
        raise ContentError(f"{file} is a folder. Name a file in it, or a list of its names.")
    if not file.exists():
        raise ContentError(f"There is no file {file}. Check its name; this folder is {Path.cwd()}.")
    try:
        return _beginning(file, max_bytes)
    except OSError as error:
        raise ContentError(f"{file} cannot be read ({error.strerror}).") from error


def _beginning(file: Path, max_bytes: int) -> bytes:
    if not file.is_file():
        raise OSError(None, "it is a device or a pipe, or it is gone")  # reading might never end
    with file.open("rb") as stream:
        return stream.read(max(max_bytes, _SIGNATURE_BYTES))


def _decoded(data: bytes, *, is_whole: bool) -> str | None:
    """Decode UTF-8, or UTF-16 with a byte-order mark; `None` for anything else."""
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    decoder = codecs.getincrementaldecoder("utf-16" if is_utf_16 else "utf-8-sig")()
    try:
        text = decoder.decode(data, final=is_whole)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _file_text(text: str, file: Path, n_bytes: int, *, is_whole: bool, limits: Limits) -> Text:
    about = f"file {file.name}, {n_bytes:,} bytes"
    if not is_whole:
        kept = max(0, limits.text_chars - _NOTE_CHARS)
        note = f"[cut: the first {kept:,} characters of a file of {n_bytes:,} bytes are shown]"
        text = f"{text[:kept]}\n{note}"
    return as_text(text, limits=limits, about=about, lines=True)
