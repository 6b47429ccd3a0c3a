"""The transcript that a notebook keeps of a chat: plain outputs, hidden while its widget lives.

An output is sent whole or not at all, so a long transcript is kept in several of them: what is new
goes into the last, which is short.
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

#: The transcript is cut behind the last multiple of each, in turns. So the last output holds at
#: most 7 turns, the one before it 56, and is sent once in 8 turns; the first one once in 64.
_CUTS: Final = (64, 8)

#: What ipywidgets calls a widget on the page whose kernel is gone; Python cannot take it away.
_DEAD: Final = ".jupyter-widgets-disconnected"

#: What JupyterLab and nbconvert call the place of an output.
_CHILD: Final = ".jp-OutputArea-child"

#: Cells that are kept up to date. One that was run again does not say that its output is gone.
_MAX_PLACES: Final = 8


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
        self._places: deque[tuple[Place, ...]] = deque(maxlen=_MAX_PLACES)
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
        self._places.append(tuple(map(self._live.put, bundles)))

    def update(self, pages: Sequence[Page]) -> None:
        """Have every cell that shows it hold these pages."""
        nothing = Page(transcript.about_html(transcript.EMPTY), transcript.EMPTY)
        before, self._portions = self._portions, _portions(pages or [nothing])
        for number, portion in enumerate(self._portions):
            if portion != before[number]:
                bundle = self._bundle(number)
                for places in self._places:
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
        """Hide what JupyterLab shows in the place of a dead widget.

        That is "Error displaying widget" where a notebook was reopened. It stands in the output
        before this one.
        """
        mark = f"{self.marker}-0"
        return (
            f"<style>{_CHILD}:not(:has({self._living})):has(+ {_CHILD} .{mark})"
            f'{{display:none}}</style><div class="{mark}"></div>'
        )


def _portions(pages: Sequence[Page]) -> tuple[tuple[Page, ...], ...]:
    ends = [0, *(len(pages) // cut * cut for cut in _CUTS), len(pages)]
    return tuple(tuple(pages[begin:end]) for begin, end in itertools.pairwise(ends))
