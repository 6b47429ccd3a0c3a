"""The transcript of a chat: one plain output below its view, for the file; HTML, text, Markdown.

It holds the newest turns whole, older ones folded, and a line for what there was no room for. The
view hides it (`chat.css`); it shows where no view lives.
"""

from __future__ import annotations

import html as escaping
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from segmind_jupyter.content.prompt import Attachment
from segmind_jupyter.notebook.display.markdown import framed
from segmind_jupyter.notebook.display.reply import sent_html, usage_line
from segmind_jupyter.notebook.display.styles import FRAME
from segmind_jupyter.notebook.display.text import format_duration, one_line, one_line_html, to_text

if TYPE_CHECKING:
    from segmind_jupyter.chat import Chat, Turn
    from segmind_jupyter.notebook.live.outputs import Bundle, LiveOutputs, OutputHandle


#: What stands in the place of a transcript without turns.
EMPTY: Final = "Nothing was said yet."


def html(chat: Chat) -> str:
    """Show a whole chat as HTML that runs and fetches nothing."""
    from segmind_jupyter.notebook.display.markdown import framed

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
    from segmind_jupyter.notebook.chat.export import escaped

    title = f"# {escaped(chat.name)}" if chat.name else ""
    turns = [_turn_markdown(turn) for turn in chat.turns] or [EMPTY]
    return "\n\n".join(filter(None, [title, *turns])) + "\n"


def said_html(turn: Turn) -> str:
    """Show what the user said, with thumbnails and sizes of what went with it."""
    words = escaping.escape(to_text(spoken(turn)))
    body = _box("words", words) + _box("objects", sent_html(turn.prompt.sent))
    return _box("mine", _box("said", body))


def kept_html(turn: Turn) -> str:
    """Show the same where nothing will change any more: of a turn on its way, how to go on."""
    return _ended_html(turn) if turn.done() else _box("theirs", about_html(_unfinished(turn)))


def kept_text(turn: Turn) -> str:
    """Return that as text."""
    return _turn_text(turn, _answer_text(turn) if turn.done() else one_line(_unfinished(turn)))


def about_html(words: str) -> str:
    """Show a quiet line."""
    return _box("about", one_line_html(words))


def standing(turn: Turn) -> str:
    """Say how a turn stands that has not ended: ``processing, 12 s``."""
    return f"{turn.stage}, {format_duration(turn.elapsed_s)}"


def spoken(turn: Turn) -> str:
    """Return the user's words, with the names of objects where they stood among them."""
    # What stands before all words was attached to them, and is shown apart.
    among = itertools.dropwhile(lambda p: isinstance(p, Attachment), turn.prompt.pieces)
    return "".join(p if isinstance(p, str) else _named(p) for p in among).strip()


def _named(item: Attachment) -> str:
    return f"{{{item.name}}}" if item.name else ""


def _ended_html(turn: Turn) -> str:
    if turn.reply is not None:
        from segmind_jupyter.notebook.display.reply import reply_inside

        return _box("theirs", reply_inside(turn.reply, sent=(), notes=turn.notes))
    from segmind_jupyter.notebook.display.reply import boxed, failure_html

    assert turn.error is not None, "it has not ended"  # noqa: S101
    return _box("theirs", boxed(turn.error, failure_html(turn.error)))


def _unfinished(turn: Turn) -> str:
    resume = f": `%segmind resume {turn.job.request_id}`" if turn.job is not None else "."
    return f"When this was saved, there was no reply yet{resume}"


def _turn_text(turn: Turn, answer: str) -> str:
    return f"You: {_indented(to_text(_said(turn)))}\n\n{answer}"


def _answer_text(turn: Turn) -> str:
    if turn.reply is not None:
        from segmind_jupyter.notebook.display.reply import reply_text

        return reply_text(turn.reply, sent=(), notes=turn.notes)
    if turn.error is not None:
        from segmind_jupyter.notebook.display.reply import failure_text

        return failure_text(turn.error)
    return standing(turn)


def _turn_markdown(turn: Turn) -> str:
    from segmind_jupyter.notebook.chat.export import escaped, inert

    asked = inert(spoken(turn), quoted=True) if spoken(turn) else ""
    objects = "\n".join(f"- {escaped(line)}" for line in _objects(turn))
    said = "\n\n".join(filter(None, ("## You", asked, objects)))
    if turn.reply is None:
        state = str(turn.error) if turn.error is not None else standing(turn)
        return f"{said}\n\n*{escaped(state)}*"
    took = usage_line(turn.reply)
    reply = (inert(turn.reply.text), f"*{escaped(took)}*" if took else "")
    return "\n\n".join(filter(None, (said, "## Claude", *reply)))


def _said(turn: Turn) -> str:
    """Return the words, and a line for each object."""
    return "\n".join([spoken(turn), *(f"[{line}]" for line in _objects(turn))]).strip()


def _objects(turn: Turn) -> Iterator[str]:
    for item in turn.prompt.sent:
        yield " · ".join(filter(None, (item.label, item.summary)))


def _indented(words: str) -> str:
    return words.replace("\n", "\n     ")


def _box(style: str, inside: str) -> str:
    return f'<div style="{FRAME[style]}">{inside}</div>' if inside else ""


#: Bytes that a transcript holds: of turns that are whole, and of older ones that are folded. It is
#: sent whole with each turn that ends, so this bounds what a turn costs however long the talk is.
_WHOLE_BYTES: Final = 96_000
_FOLDED_BYTES: Final = 64_000

#: Cells that are kept up to date. One that was run again does not say that its output is gone.
_MAX_CELLS: Final = 8

#: Hides what JupyterLab shows in the place of a view that a reopened notebook does not have.
_HIDES_DEAD_VIEW: Final = (
    "<style>.jp-OutputArea-child:not(:has(.segmind-chat)):has(+ .jp-OutputArea-child .segmind-kept)"
    "{display:none}</style>"
)


class Transcript:
    """The kept transcript of one chat, in every cell that shows the chat."""

    def __init__(self, live: LiveOutputs) -> None:
        self._live = live
        self._cells: deque[OutputHandle] = deque(maxlen=_MAX_CELLS)
        #: What was drawn of each turn, and whether it had ended then.
        self._pages: dict[Turn, tuple[bool, str, str]] = {}
        self._bundle: Bundle = bundle([])

    def put(self) -> None:
        """Show it below the running cell, right behind the view."""
        self._cells.append(self._live.put(self._bundle))

    def update(self, turns: Sequence[Turn]) -> None:
        """Have every cell that shows it hold these turns; nothing is sent where none has ended."""
        pages: dict[Turn, tuple[bool, str, str]] = {}
        for turn in turns:
            done, known = turn.done(), self._pages.get(turn)
            if known is not None and known[0] == done:
                pages[turn] = known
            else:
                pages[turn] = (done, said_html(turn) + kept_html(turn), kept_text(turn))
        if list(pages.items()) == list(self._pages.items()):
            return
        self._pages = pages
        self._bundle = bundle([page[1:] for page in pages.values()])
        for handle in self._cells:
            self._live.replace(handle, self._bundle)


def bundle(pages: Sequence[tuple[str, str]]) -> Bundle:
    """Return the output of a talk, from the HTML and the text of each turn; oldest first."""
    if not pages:
        return _bundle(about_html(EMPTY), EMPTY)
    whole = _newest(pages, _WHOLE_BYTES)
    folded = _newest(pages[: len(pages) - whole], _FOLDED_BYTES) if whole < len(pages) else 0
    left_out = len(pages) - whole - folded
    rest = ""
    if left_out:
        rest = f"{_turns(left_out)} before this: `chat.to_markdown()` and Save have the whole talk."
    older = pages[left_out : len(pages) - whole]
    inside = about_html(rest) if rest else ""
    if older:
        summary = f'<summary style="{FRAME["summary"]}">{_turns(len(older))} before</summary>'
        inside += f"<details>{summary}{''.join(page for page, _ in older)}</details>"
    inside += "".join(page for page, _ in pages[len(pages) - whole :])
    return _bundle(inside, "\n\n".join(filter(None, [rest, *(t for _, t in pages[left_out:])])))


def _newest(pages: Sequence[tuple[str, str]], max_bytes: int) -> int:
    """Return how many of the newest turns fit, at least one."""
    count = room = 0
    for page, text in reversed(pages):
        room += len(page) + len(text)
        if count and room > max_bytes:
            break
        count += 1
    return count


def _turns(count: int) -> str:
    return f"{count:,} turn{'s' * (count != 1)}"


def _bundle(inside: str, text: str) -> Bundle:
    page = f'<div class="segmind-kept"></div>{_HIDES_DEAD_VIEW}{framed(inside)}'
    return {"text/html": page, "text/plain": text}
