"""How values read on a page: times, and words that a server or a user chose."""

from __future__ import annotations

import datetime
import difflib
import html
import re
from collections.abc import Iterable

from segmind_jupyter.notebook.palette import ELEMENTS
from segmind_jupyter.notebook.plaintext import to_text

_MINUTE_S, _HOUR_S = 60, 3600

#: Longest value of a line, in characters; messages are bounded where they are written.
_MAX_CHARS = 2_000

#: What a message sets in backquotes, as commands are.
_QUOTED = re.compile("`([^`\n]{1,300})`")


def lasting(seconds: float) -> str:
    """Say a time in its two largest units: ``12 s``, ``3 min 05 s``, ``1 h 02 min``."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02} min"


def moment(unix_s: float) -> str:
    """Say a moment in the time of this place: ``20 Nov 2026 14:03``."""
    try:
        at = datetime.datetime.fromtimestamp(unix_s)
    except (ValueError, OverflowError, OSError):  # a damaged file tells any time
        return "an unknown time"
    return f"{at.day} {at:%b %Y %H:%M}"


def one_line(words: str) -> str:
    """Make one harmless line of words that somebody else chose."""
    line = " ".join(to_text(words).split())
    return line if len(line) <= _MAX_CHARS else line[: _MAX_CHARS - 1] + "…"


def one_line_html(words: str) -> str:
    """Do the same as HTML, where what is in backquotes shows as code."""
    code = f'<code style="{ELEMENTS["code"]}">\\1</code>'
    return _QUOTED.sub(code, html.escape(one_line(words)))


def meant(word: str, known: Iterable[str]) -> str:
    """Ask about the known word that is nearest to a mistyped one: ``" (did you mean `usage`?)"``.

    Returns
    -------
    str
        To be put behind the mistyped word; empty where none is near.
    """
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean `{near[0]}`?)" if near else ""
