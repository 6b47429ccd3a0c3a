"""A chat as it is read: bubbles of safe HTML, plain text, and Markdown to keep.

Everything that the model, the server or the user's objects say is data here, as in `render`.
"""

from __future__ import annotations

import html as escaping
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from segmind_jupyter.content.sent import SentItem
from segmind_jupyter.notebook.footer import sent_html, usage_line
from segmind_jupyter.notebook.palette import FRAME
from segmind_jupyter.notebook.plaintext import to_text
from segmind_jupyter.notebook.wording import lasting, one_line, one_line_html

if TYPE_CHECKING:
    from segmind_jupyter.chat import Chat, Turn

#: What stands in the place of a transcript without turns.
EMPTY: Final = "Nothing was said yet."

#: The stages of a turn at which an earlier one has not ended, and the model itself is at work.
_IN_LINE: Final = "waiting"
_AT_WORK: Final = "processing"


def html(chat: Chat) -> str:
    """Show a whole chat as HTML that runs and fetches nothing."""
    from segmind_jupyter.notebook.markdown import framed

    bubbles = "".join(said_html(turn) + kept_html(turn) for turn in chat.turns)
    return framed(bubbles or about_html(EMPTY))


def text(chat: Chat) -> str:
    """Show a whole chat in a terminal."""
    return "\n\n".join(_turn_text(turn, _answer_text(turn)) for turn in chat.turns) or EMPTY


def markdown(chat: Chat) -> str:
    """Write a whole chat as Markdown, in which nothing that was said is live.

    What the model says stays Markdown, what the user says is quoted; each turn has two headings of
    its own, and no other has their level.
    """
    from segmind_jupyter.notebook.inert import escaped, is_live

    title = f"# {escaped(chat.name)}" if chat.name else ""
    for define in (True, False):  # an address that one turn defines holds for all of them
        turns = [_turn_markdown(turn, define=define) for turn in chat.turns]
        page = "\n\n".join(filter(None, [title, *(turns or [EMPTY])])) + "\n"
        if not is_live(page):
            break
    return page


def said_html(turn: Turn) -> str:
    """Show what the user said, with thumbnails and sizes of what went with it."""
    words = escaping.escape(to_text(spoken(turn)))
    body = _box("words", words) + _box("objects", sent_html(turn.prompt.sent))
    return _box("mine", _box("said", body))


def answer_html(turn: Turn) -> str:
    """Show what came of it: the reply, why there is none, or how it stands just now."""
    if turn.done():
        return _ended_html(turn)
    mark = FRAME["works" if turn.stage == _AT_WORK else "waits"]
    stage = f"<strong>{escaping.escape(turn.stage.capitalize())}</strong>"
    # Of those that wait nothing changes, so that a hundred of them cost no message a second.
    passed = "" if turn.stage == _IN_LINE else lasting(turn.elapsed_s)
    time = f'&nbsp;<span style="{FRAME["quiet"]}">{passed}</span>' if passed else ""
    return _box("theirs", f'<span style="{mark}">●</span> {stage} {time}')


def kept_html(turn: Turn) -> str:
    """Show the same where nothing will change any more: of a turn on its way, how to go on."""
    return _ended_html(turn) if turn.done() else _box("theirs", about_html(_unfinished(turn)))


def kept_text(turn: Turn) -> str:
    """Give that as text."""
    return _turn_text(turn, _answer_text(turn) if turn.done() else one_line(_unfinished(turn)))


def about_html(words: str) -> str:
    """Show a quiet line."""
    return _box("about", one_line_html(words))


def standing(turn: Turn) -> str:
    """Say how a turn stands that has not ended: ``processing, 12 s``."""
    return f"{turn.stage}, {lasting(turn.elapsed_s)}"


def spoken(turn: Turn) -> str:
    """Give the user's words, with the names of objects where they stood among them."""
    # What stands before all words was attached to them, and is shown apart.
    among = itertools.dropwhile(lambda p: isinstance(p, SentItem), turn.prompt.pieces)
    return "".join(p if isinstance(p, str) else _named(p) for p in among).strip()


def _named(item: SentItem) -> str:
    return f"{{{item.name}}}" if item.name else ""


def _ended_html(turn: Turn) -> str:
    if turn.reply is not None:
        from segmind_jupyter.notebook.render import reply_inside

        return _box("theirs", reply_inside(turn.reply, notes=turn.notes))
    from segmind_jupyter.notebook.failure import boxed, failure_html

    assert turn.error is not None, "it has not ended"  # noqa: S101
    return _box("theirs", boxed(turn.error, failure_html(turn.error)))


def _unfinished(turn: Turn) -> str:
    resume = f": `%segmind resume {turn.job.request_id}`" if turn.job is not None else "."
    return f"When this was saved, there was no reply yet{resume}"


def _turn_text(turn: Turn, answer: str) -> str:
    return f"You: {_indented(to_text(_said(turn)))}\n\n{answer}"


def _answer_text(turn: Turn) -> str:
    if turn.reply is not None:
        from segmind_jupyter.notebook.render import reply_text

        return reply_text(turn.reply, notes=turn.notes)
    if turn.error is not None:
        from segmind_jupyter.notebook.failure import failure_text

        return failure_text(turn.error)
    return standing(turn)


def _turn_markdown(turn: Turn, *, define: bool) -> str:
    from segmind_jupyter.notebook.inert import escaped, inert

    asked = inert(spoken(turn), quoted=True, define=define) if spoken(turn) else ""
    objects = "\n".join(f"- {escaped(line)}" for line in _objects(turn))
    said = "\n\n".join(filter(None, ("## You", asked, objects)))
    if turn.reply is None:
        state = str(turn.error) if turn.error is not None else standing(turn)
        return f"{said}\n\n*{escaped(state)}*"
    took = usage_line(turn.reply)
    reply = (inert(turn.reply.text, define=define), f"*{escaped(took)}*" if took else "")
    return "\n\n".join(filter(None, (said, "## Claude", *reply)))


def _said(turn: Turn) -> str:
    """Give the words, and a line for each object."""
    return "\n".join([spoken(turn), *(f"[{line}]" for line in _objects(turn))]).strip()


def _objects(turn: Turn) -> Iterator[str]:
    for item in turn.prompt.sent:
        yield " · ".join(filter(None, (item.label, item.summary)))


def _indented(words: str) -> str:
    return words.replace("\n", "\n     ")


def _box(style: str, inside: str) -> str:
    return f'<div style="{FRAME[style]}">{inside}</div>' if inside else ""
