"""The transcript of a chat as HTML, text and Markdown, and the output below its view that is kept.

That holds the newest turns whole, older ones folded, and a line for what there was no room for.
The view hides it (`chat.css`); it shows where no view lives.
"""

from __future__ import annotations

import html as escaping
import itertools
import zlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from segmind_jupyter.content.prompt import counted
from segmind_jupyter.notebook.chat.export import escaped, inert
from segmind_jupyter.notebook.display import reply
from segmind_jupyter.notebook.display.styles import div, folded, framed, one_line_html
from segmind_jupyter.words import one_line, to_text

if TYPE_CHECKING:
    from segmind_jupyter.chat import Chat
    from segmind_jupyter.conversation import Turn
    from segmind_jupyter.notebook.live.outputs import Bundle


#: What stands in the place of a transcript without turns.
EMPTY: Final = "Nothing was said yet."


def html(chat: Chat) -> str:
    """Show a whole chat as HTML that runs and fetches nothing."""
    bubbles = "".join(page_of(turn)[0] for turn in chat.turns)
    return framed(bubbles or div("about", EMPTY))


def text(chat: Chat) -> str:
    """Show a whole chat in a terminal."""
    return "\n\n".join(page_of(turn)[1] for turn in chat.turns) or EMPTY


def markdown(chat: Chat) -> str:
    """Write a whole chat as Markdown, in which nothing that was said is live.

    What the model says stays Markdown, what the user says is quoted; each turn has two headings of
    its own, and no other has their level.
    """
    pieces = [f"# {escaped(chat.name)}" if chat.name else ""]
    for turn in chat.turns:
        objects = "\n".join(f"- {escaped(line)}" for line in _objects(turn))
        pieces += ["## You", inert(turn.text, quoted=True) if turn.text else "", objects]
        if turn.reply is not None:
            took = reply.usage_line(turn.reply)
            pieces += ["## Claude", inert(turn.reply.text), f"*{escaped(took)}*" if took else ""]
        else:
            pieces.append(f"*{escaped(str(turn.error or _unfinished(turn)))}*")
    return "\n\n".join(filter(None, pieces if chat.turns else [*pieces, EMPTY])) + "\n"


def page_of(turn: Turn) -> tuple[str, str]:
    """Show what was said and what came of it, as HTML and as text; else how to go on."""
    words = div("words", escaping.escape(to_text(turn.text)))
    mine = div("mine", div("said", words + div("objects", reply.sent_html(turn.prompt.sent))))
    said = "\n".join([turn.text, *(f"[{line}]" for line in _objects(turn))]).strip()
    page, answer = outcome_of(turn)
    you = "You: " + to_text(said).replace("\n", "\n     ")
    return mine + div("theirs", page), f"{you}\n\n{answer}"


def outcome_of(turn: Turn) -> tuple[str, str]:
    """Show the reply, or why there is none, as HTML and as text."""
    if turn.reply is not None:
        page = reply.reply_inside(turn.reply, sent=(), notes=turn.notes)
        return page, reply.reply_text(turn.reply, sent=(), notes=turn.notes)
    if turn.error is not None:
        return reply.failure_html(turn.error), reply.failure_text(turn.error)
    return div("about", one_line_html(_unfinished(turn))), one_line(_unfinished(turn))


def _unfinished(turn: Turn) -> str:
    """Say it in words that hold also where nothing changes any more."""
    resume = f": `%segmind resume {turn.job.request_id}` fetches it." if turn.job else "."
    return f"There was no reply yet{resume}"


def _objects(turn: Turn) -> Iterator[str]:
    for item in turn.prompt.sent:
        yield " · ".join(filter(None, (item.label, item.summary)))


#: Bytes of turns that are whole, and of all: a turn costs no more, however long the talk is.
_WHOLE_BYTES: Final = 96_000
_MAX_BYTES: Final = 160_000

#: Hides what JupyterLab shows in the place of a view that a reopened notebook does not have.
_HIDES_DEAD_VIEW: Final = (
    "<style>.jp-OutputArea-child:not(:has(.segmind-chat)):has(+ .jp-OutputArea-child .segmind-kept)"
    "{display:none}</style>"
)


def bundle(pages: Sequence[tuple[str, str]]) -> Bundle:
    """Return the output of a talk, from the HTML and the text of each turn; oldest first."""
    sizes = [*itertools.accumulate(len(page) + len(text) for page, text in reversed(pages))]
    n_whole = max(sum(size <= _WHOLE_BYTES for size in sizes), 1)  # the last one in any case
    n_kept = max(sum(size <= _MAX_BYTES for size in sizes), n_whole)
    whole, older, left_out = pages[-n_whole:], pages[-n_kept:-n_whole], pages[:-n_kept]
    about = "" if pages else EMPTY
    if left_out:
        turns = counted(len(left_out), "turn")
        about = f"{turns} before this: `chat.to_markdown()` and Save have the whole talk."
    inside = div("about", one_line_html(about))
    if older:
        inside += folded(f"{counted(len(older), 'turn')} before", "".join(p for p, _ in older))
    inside += "".join(page for page, _ in whole)
    words = "\n\n".join(filter(None, [about, *(text for _, text in (*older, *whole))]))
    kept = {"text/html": "", "text/plain": words}
    mark = f'<div class="segmind-kept segmind-kept-{mark_of(kept)}"></div>'
    return {**kept, "text/html": f"{mark}{_HIDES_DEAD_VIEW}{framed(inside)}"}


def mark_of(kept: Bundle) -> str:
    """Tell one transcript from another; the same talk has the same mark."""
    return f"{zlib.crc32(kept['text/plain'].encode()):08x}"
