"""A reply's characters made harmless: nothing that drives a terminal, hides, or reorders text.

Knows nothing of Markdown or HTML; everything that is shown of a reply passes through here first.
"""

from __future__ import annotations

import re

from segmind_jupyter.errors import plain

#: Every spelling of a line's end, including Unicode's line and paragraph separators.
_LINE_END = re.compile("\r\n?|[\u2028\u2029]")

#: Directional embeddings, overrides and isolates ("Trojan source", CVE-2021-42574). The plain
#: marks LRM, RLM and ALM stay: Hebrew and Arabic need them, and they reorder nothing.
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")

#: Characters without a glyph that can split a word or carry hidden text: soft hyphen, joiners
#: other than ZWJ/ZWNJ (emoji and Persian need those), fillers, deprecated format characters,
#: byte order mark, annotation marks, and the tag block that smuggles whole sentences.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u2060-\u2065\u206a-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def to_text(text: str) -> str:
    """Give the plain-text side of a reply: its Markdown as it is, safe for a terminal.

    Terminal control sequences, other control characters and invisible characters are dropped;
    characters that reorder text are shown by their code point (``⟨U+202E⟩``); what cannot be
    encoded (lone surrogates) becomes U+FFFD. Newlines and tabs stay.
    """
    lines = _LINE_END.sub("\n", _encodable(text)).split("\n")
    # Line by line, so that an unterminated sequence takes no more than its own line with it.
    safe = "\n".join(plain(line) for line in lines)
    return _BIDI.sub(_code_point, _INVISIBLE.sub("", safe))


def _encodable(text: str) -> str:
    """Join surrogate pairs and replace what is left of them, as JSON may hold either."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _code_point(match: re.Match[str]) -> str:
    return f"⟨U+{ord(match[0]):04X}⟩"
