"""What the HTML of an output is to a person: one picture, or a page with words. Nothing runs here.

Only HTML that shows hardly anything but a picture counts: icons are in tables and reprs as well.
"""

from __future__ import annotations

import re
from typing import Final

#: So much of an output is looked at, in characters: an animation can hold a hundred megabytes.
_LOOKED_AT_CHARS: Final = 200_000

#: HTML with more words than this, in characters, is a table or a text with a picture in it.
_MAX_WORDS_CHARS: Final = 100

#: The elements that draw, the one that says most about an output first.
_ELEMENTS: Final = ("video", "iframe", "canvas", "svg", "img")

#: What is no word of a page. What is cut off at the end belongs to it too.
_NO_WORDS: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|svg|video|iframe|canvas)\b.*?(?:</\1\s*>|\Z)"
    r"|<[^>]*(?:>|\Z)",
    re.DOTALL | re.IGNORECASE,
)

_OPENING: Final = re.compile(rf"<({'|'.join(_ELEMENTS)})\b", re.IGNORECASE)

#: An `<img>` that holds its file itself.
_EMBEDDED: Final = re.compile(
    r"""<img\b[^>]*?\ssrc\s*=\s*["']?data:image/(?:png|jpe?g|gif|webp|bmp);base64,"""
    r"""([A-Za-z0-9+/=\s]+)""",
    re.IGNORECASE,
)

#: What this package writes into a page: the thumbnails of a reply are no plot of the user's.
_OURS: Final = "segmind-reply"


def drawn_by(html: str) -> str | None:
    """Tell which element draws the picture that some HTML is; `None` where it is none.

    Parameters
    ----------
    html
        What was displayed.

    Returns
    -------
    str or None
        ``"video"``, ``"iframe"``, ``"canvas"``, ``"svg"`` or ``"img"``.
    """
    head = html[:_LOOKED_AT_CHARS]
    found = {tag.lower() for tag in _OPENING.findall(head)}
    if not found or _OURS in head:
        return None
    words = " ".join(_NO_WORDS.sub(" ", head).split())
    if len(words) > _MAX_WORDS_CHARS:
        return None
    return next(tag for tag in _ELEMENTS if tag in found)


def embedded_image(html: str) -> str | None:
    """Give the file, in base64, that the only `<img>` of some HTML holds; `None` without one."""
    if len(re.findall(r"<img\b", html, re.IGNORECASE)) != 1:
        return None
    match = _EMBEDDED.search(html)
    return match[1] if match else None
