"""The transcript that a notebook keeps of a chat: plain outputs, hidden while its widget lives.

An output is sent whole or not at all, and none can be added to a cell that has ended. So a chat is
shown with a row of outputs, most of them empty at first, and each takes up a portion of the
transcript, which is not sent again once it is full.
"""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from segmind_jupyter.notebook import transcript

if TYPE_CHECKING:
    from segmind_jupyter.notebook.live import Bundle, Live, Place

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
    """The kept transcript of one chat, in every cell that shows the chat.

    Parameters
    ----------
    live
        What puts outputs on the page, and replaces them.

    Attributes
    ----------
    marker
        Class of the elements that hold it, for `hiding`.
    shown_by
        Class that the widget is to have which shows the same.
    """

    def __init__(self, live: Live) -> None:
        self._live = live
        name = uuid.uuid4().hex[:8]
        self.marker, self.shown_by = f"segmind-kept-{name}", f"segmind-chat-{name}"
        self._cells: deque[tuple[Place, ...]] = deque(maxlen=_MAX_CELLS)
        self._portions = _portions([])
        self.update([])

    @property
    def hiding(self) -> str:
        """Give the HTML that hides the transcript on a page where the widget lives.

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
        nothing = Page(transcript.about_html(transcript.EMPTY), transcript.EMPTY)
        before, self._portions = self._portions, _portions(pages or [nothing])
        for number, portion in enumerate(self._portions):
            if portion != before[number]:
                bundle = self._bundle(number)
                for places in self._cells:
                    self._live.replace(places[number], bundle)

    def _bundle(self, number: int) -> Bundle:
        from segmind_jupyter.notebook.markdown import framed

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
