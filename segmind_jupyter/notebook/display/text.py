"""What a terminal shows: columns, a reply's words set apart, and one line of a text as HTML."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from segmind_jupyter.notebook.display.styles import ELEMENTS
from segmind_jupyter.words import (
    did_you_mean,
    format_credits,
    format_duration,
    format_time,
    one_line,
    to_text,
)

__all__ = [
    "aligned",
    "did_you_mean",
    "format_credits",
    "format_duration",
    "format_time",
    "one_line",
    "one_line_html",
    "set_apart",
    "to_text",
]

#: What a message sets in backquotes, as commands are.
_QUOTED = re.compile("`([^`\n]{1,300})`")


def aligned(rows: Sequence[Sequence[str]], *, right: bool = False) -> str:
    """Set rows in columns; with `right`, all but the first column end at the same place."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if right and n else cell.ljust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def set_apart(words: str) -> str:
    """Indent a model's words, so that no line of them passes for one of this package."""
    return "\n".join(f"  {line}".rstrip() for line in to_text(words).rstrip().split("\n"))


def one_line_html(words: str) -> str:
    """Return the same line as HTML; what stands in backquotes becomes code."""
    return _QUOTED.sub(rf'<code style="{ELEMENTS["code"]}">\1</code>', html.escape(one_line(words)))
