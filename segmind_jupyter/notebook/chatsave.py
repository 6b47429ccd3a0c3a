"""Writes the transcript of a chat to a file, and never over another one."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from segmind_jupyter.errors import SegmindError

if TYPE_CHECKING:
    from segmind_jupyter.chat import Chat

#: What file systems agree on; the rest of a name becomes hyphens.
_NOT_PLAIN = re.compile(r"[^\w.]+", re.ASCII)

_MAX_NAME_CHARS = 60


def save(chat: Chat, folder: Path, *, now: time.struct_time | None = None) -> Path:
    """Write a transcript as Markdown into `folder`, and tell where.

    Parameters
    ----------
    chat
        The chat; its name becomes part of the file's.
    folder
        Where the file goes.
    now
        Stands in for the time.

    Raises
    ------
    SegmindError
        The folder cannot be written to.
    """
    name = _NOT_PLAIN.sub("-", chat.name).strip("-.")[:_MAX_NAME_CHARS] or "chat"
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S', now or time.localtime())}"
    text, number = chat.to_markdown(), 1
    while True:
        path = folder / (f"{stem}.md" if number == 1 else f"{stem}-{number}.md")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise SegmindError(
                f"The transcript could not be written to {path} ({error.strerror}). Change to "
                "another folder with `%cd`, or keep `chat.to_markdown()` yourself."
            ) from error
        else:
            return path
