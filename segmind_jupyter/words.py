"""Words that every room shares: durations, credits, near misses, and text that is safe to print.

What a model, a server or a user wrote passes `to_text` before a terminal or a page shows it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence

from segmind_jupyter.errors import REORDERING, plain

_MINUTE_S, _HOUR_S = 60, 3600

#: Longest value of a line, in characters; messages are bounded where they are written.
_MAX_CHARS = 2_000

#: The smallest part of a credit that is shown: one call costs a fraction of one.
_LEAST_CREDITS = 0.0001

#: Every spelling of a line's end, including Unicode's line and paragraph separators.
_LINE_END = re.compile("\r\n?|[\u2028\u2029]")

#: Characters without a glyph that can split a word or carry hidden text: soft hyphen, joiners
#: other than ZWJ/ZWNJ (emoji and Persian need those), fillers, deprecated format characters,
#: byte order mark, annotation marks, and the tag block that smuggles whole sentences.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def to_text(text: str) -> str:
    """Return text that is safe for a terminal: its Markdown, newlines and tabs stay as they are.

    Control sequences, other control characters and invisible ones are dropped; what reorders text
    shows as its code point (``⟨U+202E⟩``); what cannot be encoded becomes U+FFFD.
    """
    lines = _LINE_END.sub("\n", encodable(text)).split("\n")
    # Line by line, so that an unterminated sequence takes no more than its own line with it.
    safe = "\n".join(plain(line) for line in lines)
    return REORDERING.sub(lambda m: f"⟨U+{ord(m[0]):04X}⟩", _INVISIBLE.sub("", safe))


def encodable(text: str) -> str:
    """Join surrogate pairs and replace lone ones, as JSON may hold either."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def one_line(words: str, *, max_chars: int = _MAX_CHARS) -> str:
    """Make one harmless line of words that somebody else chose."""
    line = " ".join(to_text(words).split())
    return line if len(line) <= max_chars else line[: max_chars - 1] + "…"


def set_apart(words: str) -> str:
    """Indent a model's words, so that no line of them passes for one of this package."""
    return "\n".join(f"  {line}".rstrip() for line in to_text(words).rstrip().split("\n"))


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


def format_duration(seconds: float) -> str:
    """Say a time in its two largest units: ``12 s``, ``3 min 05 s``, ``1 h 02 min``."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02} min"


def format_time(unix_s: float) -> str:
    """Say a moment in the time of this place: ``20 Nov 2026 14:03``."""
    try:
        at = datetime.datetime.fromtimestamp(unix_s)
    except (ValueError, OverflowError, OSError):  # a damaged file tells any time
        return "an unknown time"
    return f"{at.day} {at:%b %Y %H:%M}"


def format_credits(amount: float) -> str:
    """Say an amount with four decimals at most: ``0.0021 credits``."""
    if 0 < amount < _LEAST_CREDITS:
        return f"<{_LEAST_CREDITS} credits"
    return f"{amount:,.4f}".rstrip("0").rstrip(".") + " credits"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Ask about the known word nearest to a mistyped one: ``" (did you mean `usage`?)"``."""
    import difflib

    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean `{near[0]}`?)" if near else ""
