"""The quiet lines under a reply: what it took, what was sent for it, and what to point out.

Every value here is data (a server's model name, a user's variable) and is escaped.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Sequence

from segmind_jupyter.api.messages import Reply, Usage
from segmind_jupyter.content.parts import Image
from segmind_jupyter.content.sent import SentItem
from segmind_jupyter.notebook.palette import FRAME
from segmind_jupyter.notebook.plaintext import to_text
from segmind_jupyter.notebook.wording import moment, one_line_html

#: More objects than this are folded away.
_MAX_OPEN_ITEMS = 6

#: Thumbnails that one reply shows; each costs some kilobytes of the saved notebook.
_MAX_THUMBNAILS = 12

#: Edge of a thumbnail's file: twice the 48 px at which it is shown, for sharp screens.
_THUMBNAIL_PX = 96

#: Longest value from a server or a user that a footer shows, in characters.
_MAX_VALUE_CHARS = 300


def footer_html(reply: Reply, *, sent: Sequence[SentItem], notes: Sequence[str]) -> str:
    """Write the footer as HTML; its only address is the data of its own thumbnails."""
    pieces = [
        _cell(None, _escaped(usage_line(reply))),
        sent_html(sent),
        *(_cell("note", one_line_html(_line(note))) for note in notes),
    ]
    return _cell("footer", "".join(pieces))


def footer_text(reply: Reply, *, sent: Sequence[SentItem], notes: Sequence[str]) -> str:
    """Write the footer for a terminal: a line of usage, then one for each object and note."""
    first = f"── {usage_line(reply)}" if usage_line(reply) else ""
    items = (" · ".join(filter(None, (item.label, item.summary))) for item in sent)
    below = (f"   {_line(words)}" for words in (*items, *notes))
    return "\n".join(filter(None, (first, *below)))


def usage_line(reply: Reply) -> str:
    """Say what a reply took, leaving out what the server did not tell.

    ``claude-4-sonnet · 435 tokens in, 31 out · 11.2 s · 0.0021 credits, 4.20 left``
    """
    facts = (
        str(reply.model or ""),  # made by hand, it may be anything
        _tokens(reply.usage),
        *_spent(reply),
        "simulated" if reply.simulated else None,
    )
    return _line(" · ".join(filter(None, facts)))


def _spent(reply: Reply) -> tuple[str, ...]:
    """Say what it took now: a kept reply took no time, and its credits are those of then."""
    if reply.cached_at is not None:
        return (f"from cache, {moment(reply.cached_at)}",)
    return _seconds(reply.elapsed_s), _credits(reply.cost, reply.remaining_credits)


def _tokens(usage: Usage) -> str:
    came, went = usage.input_tokens, usage.output_tokens
    if came is None:
        return "" if went is None else f"{went:,} tokens out"
    return f"{came:,} tokens in" + ("" if went is None else f", {went:,} out")


def _seconds(elapsed_s: float | None) -> str:
    if elapsed_s is None:
        return ""
    return f"{elapsed_s:.1f} s" if elapsed_s < 100 else f"{elapsed_s:,.0f} s"


def _credits(cost: float | None, left: float | None) -> str:
    if cost is None:
        return "" if left is None else f"{left:,.2f} credits left"
    return f"{_amount(cost)} credits" + ("" if left is None else f", {left:,.2f} left")


def _amount(credits_: float) -> str:
    """Round to four decimals, as one call costs a fraction of a credit."""
    if 0 < credits_ < 0.0001:
        return "<0.0001"
    return f"{credits_:,.4f}".rstrip("0").rstrip(".")


def sent_html(sent: Sequence[SentItem]) -> str:
    """Show what was sent: thumbnails with names and sizes; many are folded away."""
    if not sent:
        return ""
    room = iter(range(_MAX_THUMBNAILS))
    row = _cell("row", "".join(_item_html(item, room) for item in sent))
    if len(sent) <= _MAX_OPEN_ITEMS:
        return row
    title = f'<summary style="{FRAME["summary"]}">{len(sent)} objects sent</summary>'
    return f"<details>{title}{row}</details>"


def _item_html(item: SentItem, room: Iterator[int]) -> str:
    thumbnails = "".join(thumbnail_html(image) for image, _ in zip(item.images, room, strict=False))
    words = "<br>".join(_escaped(line) for line in (item.label, item.summary) if line)
    return _cell("item", thumbnails + _cell("caption", words))


def thumbnail_html(image: Image, *, max_px: int = _THUMBNAIL_PX, style: str = "thumbnail") -> str:
    """Show a picture in small; nothing where that cannot be made.

    Parameters
    ----------
    image
        What was sent.
    max_px
        Longest side of the thumbnail's file, in pixels.
    style
        Its style in `palette.FRAME`, which says how large it shows.
    """
    png = _thumbnail(image, max_px)
    if png is None:
        return ""
    source = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return f'<img src="{source}" alt="" style="{FRAME[style]}">'


def _thumbnail(image: Image, max_px: int) -> bytes | None:
    from segmind_jupyter.content.images import thumbnail_png

    try:
        return thumbnail_png(image, max_px=max_px)
    except Exception:  # noqa: BLE001 - a picture that cannot be made is no reason to lose a paid reply
        return None


def _cell(style: str | None, inside: str) -> str:
    if not inside:
        return ""
    return f'<div style="{FRAME[style]}">{inside}</div>' if style else f"<div>{inside}</div>"


def _escaped(text: str) -> str:
    return html.escape(_line(text))


def _line(text: str) -> str:
    """Make one harmless line of a value, which a server or a user chose."""
    line = " ".join(to_text(text).split())
    return line if len(line) <= _MAX_VALUE_CHARS else line[: _MAX_VALUE_CHARS - 1] + "…"
