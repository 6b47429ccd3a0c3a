"""Texts that name a file: they are sent as words, and whoever meant the file should know."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from segmind_jupyter.errors import shortened

#: The suffixes of files that a `Path` sends as a table, an image or a text.
_SUFFIXES: Final = (
    ".csv", ".tsv", ".tab", ".parquet", ".pq",
    ".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".jp2", ".ppm",
    ".txt", ".md", ".json", ".log",
)  # fmt: skip

#: No path is longer (Linux's PATH_MAX).
_MAX_CHARS: Final = 4096


def file_notes(text: str, name: str = "") -> tuple[str, ...]:
    """Say what to write where the file was meant; nothing if `text` names none that is there.

    Parameters
    ----------
    text
        What is sent as words.
    name
        How the user calls it; empty if the text itself was given.
    """
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
