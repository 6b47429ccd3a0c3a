"""The transcript of a chat as widgets: what is on the page stays, and new turns are added to it.

Imported with the first chat.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ipywidgets import HTML, Layout, VBox

from segmind_jupyter.notebook import transcript
from segmind_jupyter.notebook.chatkept import Page
from segmind_jupyter.notebook.markdown import framed

if TYPE_CHECKING:
    from segmind_jupyter.chat import Turn

#: Most turns in one box. The page is sent the names of all of a box's children whenever one is
#: added, so that many turns in one box would make each of them dearer than the one before.
_MAX_TOGETHER: Final = 16

_HINT: Final = f"{transcript.EMPTY} “Attach” adds variables, the last plot and files to your words."

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
        self._hint = HTML(framed(transcript.about_html(_HINT)), **self._look)
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
        self._said = transcript.said_html(turn)
        self._is_final = False
        self.widgets = (HTML(framed(self._said), **look), HTML(**look))
        self.draw()

    def draw(self) -> None:
        """Show how it stands; what has ended is left alone."""
        if self._is_final:
            return
        self._is_final = self.turn.done()
        answer = transcript.answer_html(self.turn)
        self.widgets[1].value = framed(answer)
        kept = answer if self._is_final else transcript.kept_html(self.turn)
        self.page = Page(self._said + kept, transcript.kept_text(self.turn))

    def close(self) -> None:
        for widget in self.widgets:
            widget.close()
