"""What opens below the tools of a chat, one thing at a time: the panel, a copy, a question.

Imported with the first chat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ipywidgets import HTML, Layout, VBox

from segmind_jupyter.errors import ContentError
from segmind_jupyter.notebook.card import close_all
from segmind_jupyter.notebook.chatclear import ClearPanel
from segmind_jupyter.notebook.chatcopy import copy_html

if TYPE_CHECKING:
    from segmind_jupyter.api.messages import Reply
    from segmind_jupyter.chat import Turn


class Drawer:
    """A place for one widget, that the button which opened it closes.

    Parameters
    ----------
    forget
        Called when the user wants all forgotten that was said.

    Attributes
    ----------
    box
        All of it, as one widget.
    """

    def __init__(self, forget: Callable[..., None]) -> None:
        self._copied = HTML(layout=Layout(margin="4px 2px", width="auto"))
        self._copied_from: Reply | None = None
        self._clear = ClearPanel(forget)
        self.box = VBox(layout=Layout(overflow="visible"))

    def toggle(self, content: Any) -> None:
        """Open it with this, or close it where it shows that."""
        self.box.children = () if self.box.children == (content,) else (content,)

    def shut(self) -> None:
        """Close it, whatever it shows."""
        self.box.children = ()

    def show_to_copy(self, reply: Reply, text: str) -> None:
        """Show a text from a reply, or close it where it shows that.

        Raises
        ------
        ContentError
            The text is empty.
        """
        if not text:
            raise ContentError("There is no such text in the last reply.")
        self._copied_from = reply
        page = copy_html(text)
        if page != self._copied.value:
            self.shut()
            self._copied.value = page
        self.toggle(self._copied)

    def ask_to_clear(self, count: int) -> None:
        """Ask whether so many turns are to be forgotten, or take the question back."""
        self._clear.refresh(count)
        self.toggle(self._clear.box)

    def fold_away(self, turns: Sequence[Turn]) -> None:
        """Close it if what it is about is gone: taken back, cleared, or asked again."""
        is_there = {
            self._copied: any(turn.reply is self._copied_from for turn in turns),
            self._clear.box: bool(turns),
        }
        if not all(is_there.get(content, True) for content in self.box.children):
            self.shut()

    def close(self) -> None:
        """Close what no widget on the page holds."""
        for widget in (self._copied, self._clear.box):
            close_all(widget)
