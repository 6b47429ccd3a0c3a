"""A reply as it is shown: safe HTML and plain text, each with the footer.

There is no `text/markdown` side on purpose: a front end would prefer it, and run what it holds.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.content.sent import SentItem
from segmind_jupyter.notebook.footer import footer_html, footer_text
from segmind_jupyter.notebook.markdown import body_html, framed, to_html
from segmind_jupyter.notebook.palette import FRAME
from segmind_jupyter.notebook.plaintext import to_text

__all__ = ["mimebundle", "reply_html", "reply_inside", "reply_text", "to_html", "to_text"]


def mimebundle(
    reply: Reply, *, sent: Sequence[SentItem] = (), notes: Sequence[str] = ()
) -> dict[str, str]:
    """Give both sides of a reply, as IPython's `display(..., raw=True)` takes them."""
    return {
        "text/html": reply_html(reply, sent=sent, notes=notes),
        "text/plain": reply_text(reply, sent=sent, notes=notes),
    }


def reply_html(reply: Reply, *, sent: Sequence[SentItem] = (), notes: Sequence[str] = ()) -> str:
    """Show a reply as HTML that runs and fetches nothing, whatever the reply holds.

    Parameters
    ----------
    reply
        Untrusted in every field.
    sent
        What the prompt named, for the footer: name, kind, thumbnails, sizes.
    notes
        Sentences to point out under the reply, such as a name that was not found.
    """
    return framed(reply_inside(reply, sent=sent, notes=notes))


def reply_inside(reply: Reply, *, sent: Sequence[SentItem] = (), notes: Sequence[str] = ()) -> str:
    """Give the same HTML without its box, to be put into another. Parameters as `reply_html`."""
    pieces = (body_html(_text(reply)), _cut_html(reply), footer_html(reply, sent=sent, notes=notes))
    return "".join(pieces)


def reply_text(reply: Reply, *, sent: Sequence[SentItem] = (), notes: Sequence[str] = ()) -> str:
    """Show a reply in a terminal: its Markdown, then the footer. Parameters as `reply_html`."""
    footer = footer_text(reply, sent=sent, notes=notes)
    pieces = (to_text(_text(reply)).rstrip(), _cut_words(reply), footer)
    return "\n\n".join(filter(None, pieces))


def _text(reply: Reply) -> str:
    """Give the words, also of a `Reply` that was made by hand from something else."""
    return str(reply.text or "")


def _cut_html(reply: Reply) -> str:
    words = html.escape(_cut_words(reply))
    return f'<div style="{FRAME["cut"]}">{words}</div>' if words else ""


def _cut_words(reply: Reply) -> str:
    if not reply.cut:
        return ""
    tokens = reply.usage.output_tokens
    length = f" after {tokens:,} tokens" if tokens else ""
    return f"The reply was cut{length}. Ask again with a larger --max-tokens to have all of it."
