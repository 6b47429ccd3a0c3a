"""The transcript that a notebook keeps of a chat: plain outputs, hidden while its widget lives.

An output is sent whole or not at all, and none can be added to a cell that has ended. So a chat is
shown with a row of outputs, most of them empty at first, and each takes up a portion of the
transcript, which is not sent again once it is full.
"""

from __future__ import annotations

import html as escaping
import itertools
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ipywidgets import HTML, Layout, VBox

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

#: The stages of a turn at which an earlier one has not ended, and the model itself is at work.
_IN_LINE: Final = "waiting"
_AT_WORK: Final = "processing"


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


def answer_html(turn: Turn) -> str:
    """Show what came of it: the reply, why there is none, or how it stands just now."""
    if turn.done():
        return _ended_html(turn)
    mark = FRAME["works" if turn.stage == _AT_WORK else "waits"]
    stage = f"<strong>{escaping.escape(turn.stage.capitalize())}</strong>"
    # Of those that wait nothing changes, so that a hundred of them cost no message a second.
    passed = "" if turn.stage == _IN_LINE else format_duration(turn.elapsed_s)
    time = f'&nbsp;<span style="{FRAME["quiet"]}">{passed}</span>' if passed else ""
    return _box("theirs", f'<span style="{mark}">●</span> {stage} {time}')


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


#: Most turns in one box. The page is sent the names of all of a box's children whenever one is
#: added, so that many turns in one box would make each of them dearer than the one before.
_MAX_TOGETHER: Final = 16

_HINT: Final = f"{EMPTY} “Attach” adds variables, the last plot and files to your words."

#: So high it is from the beginning, that the box for the words stays about where it is.
_MIN_HEIGHT: Final = "240px"
_MAX_HEIGHT: Final = "460px"


class Bubbles:
    """The scrolling part of a chat; the newest turn is in sight unless the user scrolled away."""

    def __init__(self) -> None:
        self._bubbles: dict[Turn, _Bubble] = {}
        self._notice = HTML(layout=Layout(margin="0", width="auto"))
        # The widgets share one layout and one style, which are two thirds of what one takes.
        self._look = {"layout": self._notice.layout, "style": self._notice.style}
        self._hint = HTML(framed(about_html(_HINT)), **self._look)
        self._groups = VBox([self._hint], layout=_grown())
        # Reversed, as browsers keep such a box at its end while it grows; Python cannot scroll.
        self.box = VBox(
            [self._notice, self._groups],
            layout=Layout(
                flex_flow="column-reverse nowrap",
                min_height=_MIN_HEIGHT,
                max_height=_MAX_HEIGHT,
                overflow="auto",
                padding="0",
            ),
        )

    def show(self, turns: Sequence[Turn]) -> list[Page]:
        """Show these turns, and give them as they are kept."""
        before = self._bubbles
        self._bubbles = {turn: before.get(turn) or _Bubble(turn, self._look) for turn in turns}
        for bubble in self._bubbles.values():
            bubble.draw()
        self._arrange()
        for turn in before.keys() - self._bubbles.keys():
            before[turn].close()
        return [bubble.page for bubble in self._bubbles.values()]

    def tell(self, page: str) -> None:
        """Say something below the last turn, as finished HTML; nothing, if it is empty."""
        self._notice.value = framed(page) if page else ""

    def close(self) -> None:
        """Close what no widget on the page holds."""
        self._hint.close()

    def _arrange(self) -> None:
        """Put the bubbles into their boxes; a box that stays as it is sends nothing."""
        widgets = [bubble.widgets for bubble in self._bubbles.values()]
        starts = range(0, len(widgets), _MAX_TOGETHER)
        groups = [group for group in self._groups.children if group is not self._hint]
        surplus = groups[len(starts) :]
        groups[len(starts) :] = [VBox(layout=_grown()) for _ in starts[len(groups) :]]
        for group, start in zip(groups, starts, strict=True):
            _fill(group, chain.from_iterable(widgets[start : start + _MAX_TOGETHER]))
        _fill(self._groups, groups or [self._hint])
        for group in surplus:
            group.layout.close()
            group.close()


def _grown() -> Any:
    """Make the layout of a box that is as high as what it holds."""
    return Layout(flex="0 0 auto", overflow="visible")


def _fill(box: Any, widgets: Iterable[Any]) -> None:
    children = tuple(widgets)
    if children != box.children:
        box.children = children


class _Bubble:
    """A turn: what was said, and below it what came of it."""

    def __init__(self, turn: Turn, look: Mapping[str, Any]) -> None:
        self.turn = turn
        self._said = said_html(turn)
        self._is_final = False
        self.widgets = (HTML(framed(self._said), **look), HTML(**look))
        self.draw()

    def draw(self) -> None:
        """Show how it stands; what has ended is left alone."""
        if self._is_final:
            return
        self._is_final = self.turn.done()
        answer = answer_html(self.turn)
        self.widgets[1].value = framed(answer)
        kept = answer if self._is_final else kept_html(self.turn)
        self.page = Page(self._said + kept, kept_text(self.turn))

    def close(self) -> None:
        for widget in self.widgets:
            widget.close()


#: Outputs that a cell has for it. Each takes some lines of the saved file, also while it is empty.
_PLACES: Final = 20

#: Turns in a full portion, and in the last one at most. So an update holds at most 12 turns, and
#: with each turn 6.5 are sent on average: 2 as it begins, 2 as it ends, and 2.5 as the portion
#: before the last one grows by 3. What is longer than all places hold (228 turns) is laid out anew
#: in portions of twice that size.
_FULL: Final = 12
_STEP: Final = 3

#: What ipywidgets calls a widget on the page whose kernel is gone; Python cannot take it away.
_DEAD: Final = ".jupyter-widgets-disconnected"

#: What JupyterLab and nbconvert call the place of an output.
_CHILD: Final = ".jp-OutputArea-child"

#: Cells that are kept up to date. One that was run again does not say that its output is gone.
_MAX_CELLS: Final = 8


@dataclass(frozen=True, slots=True)
class Page:
    """A turn as it is kept."""

    html: str
    text: str


class Kept:
    """The kept transcript of one chat, in every cell that shows the chat."""

    def __init__(self, live: LiveOutputs) -> None:
        self._live = live
        name = uuid.uuid4().hex[:8]
        self.marker, self.shown_by = f"segmind-kept-{name}", f"segmind-chat-{name}"
        self._cells: deque[tuple[OutputHandle, ...]] = deque(maxlen=_MAX_CELLS)
        self._portions = _portions([])
        self.update([])

    @property
    def hiding(self) -> str:
        """Return the HTML that hides the transcript on a page where the widget lives.

        It belongs into the widget. That stays on the page when its kernel ends, and hides itself
        then; in a notebook that was reopened or converted nothing hides the transcript.
        """
        living = f"body:has({self._living})"
        return (
            f"<style>{living} .{self.marker},{living} {_CHILD}:has(> * > .{self.marker}),"
            f".{self.shown_by}{_DEAD}{{display:none}}</style>"
        )

    @property
    def _living(self) -> str:
        return f".{self.shown_by}:not({_DEAD})"

    def put(self) -> None:
        """Show it below the running cell, right behind the widget."""
        bundles = [self._bundle(number) for number in range(len(self._portions))]
        self._cells.append(tuple(map(self._live.put, bundles)))

    def update(self, pages: Sequence[Page]) -> None:
        """Have every cell that shows it hold these pages."""
        nothing = Page(about_html(EMPTY), EMPTY)
        before, self._portions = self._portions, _portions(pages or [nothing])
        for number, portion in enumerate(self._portions):
            if portion != before[number]:
                bundle = self._bundle(number)
                for places in self._cells:
                    self._live.replace(places[number], bundle)

    def _bundle(self, number: int) -> Bundle:
        from segmind_jupyter.notebook.display.markdown import framed

        pages = self._portions[number]
        page, text = "".join(p.html for p in pages), "\n\n".join(p.text for p in pages)
        first = self._first_of_all() if number == 0 else ""
        inside = framed(page) if page else ""
        return {
            "text/html": f'{first}<div class="{self.marker}">{inside}</div>',
            "text/plain": text,
        }

    def _first_of_all(self) -> str:
        """Hide outputs without content, and what JupyterLab shows in the place of a dead widget.

        That is "Error displaying widget" where a notebook was reopened. It stands in the output
        before this one. The element comes first: in a notebook that is converted to Markdown, HTML
        that begins with a style would end with the line on which the style ends.
        """
        mark = f"{self.marker}-0"
        return (
            f'<div class="{mark}"></div>'
            f"<style>{_CHILD}:not(:has({self._living})):has(+ {_CHILD} .{mark}),"
            f"{_CHILD}:has(> * > .{self.marker}:empty)"
            "{display:none}</style>"
        )


def _portions(pages: Sequence[Page]) -> tuple[tuple[Page, ...], ...]:
    """Cut a transcript into as many portions as there are places; the last ones may be empty.

    The newest turn, which is sent more often than any other, is in the shortest portion.
    """
    newest, full = max(0, len(pages) - 1), _FULL
    while newest // full > _PLACES - 2:
        full *= 2
    begins = sorted({*range(0, newest + 1, full), newest // _STEP * _STEP, len(pages)})
    portions = [tuple(pages[begin:end]) for begin, end in itertools.pairwise(begins)]
    return tuple(portions + [()] * (_PLACES - len(portions)))
