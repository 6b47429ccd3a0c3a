"""Text files: their encoding, and of long ones the beginning and the end.

Reads no more of a file than it sends, but to count its lines. Knows nothing of images and tables.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from pathlib import Path

from segmind_jupyter.content.parts import Limits, Text
from segmind_jupyter.content.text import TAIL_SHARE, as_text

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
    """How a file holds its text.

    Parameters
    ----------
    codec
        Python's name of the codec, which knows nothing of byte-order marks.
    mark_bytes
        Length of the byte-order mark that the file begins with.
    """

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
        """Decode the beginning of a file; the last character may be incomplete.

        Raises
        ------
        UnicodeDecodeError
            It is not so encoded.
        """
        decoder = codecs.getincrementaldecoder(self.codec)()
        return decoder.decode(begin[self.mark_bytes :], final=is_whole)


def encoding_of(data: bytes, *, is_whole: bool) -> Encoding | None:
    """Tell the encoding of the file that begins with `data`; `None` if it is no text.

    A byte-order mark decides; without one it is UTF-8, or else Windows-1252 if the bytes make a
    text of a Western language in it.

    Parameters
    ----------
    data
        The first bytes of a file.
    is_whole
        Whether these are all of it.
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
    """Give the text of a file: all of it if it fits, else its beginning and its end.

    Parameters
    ----------
    file
        The file, which exists and can be read.
    begin
        Its first bytes, `BYTES_PER_CHAR` for each of `limits.text_chars` if it has so many.
    encoding
        What `encoding_of` found.
    limits
        `limits.text_chars` bounds the text, the notes on what was left out included.
    """
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
