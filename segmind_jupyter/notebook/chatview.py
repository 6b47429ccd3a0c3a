"""How a `Chat` shows in a shell: as its widget where widgets can be shown, else as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.chat import Chat
from segmind_jupyter.notebook import transcript
from segmind_jupyter.notebook.display import LiveDisplay
from segmind_jupyter.notebook.hush import Hush
from segmind_jupyter.notebook.live import Live

if TYPE_CHECKING:
    from segmind_jupyter.notebook.chatpanel import ChatPanel


#: Most widgets of one conversation. A cell that is run again makes one more and does not say that
#: the former is gone; each of them is sent every turn.
_MAX_ALIKE: Final = 8


class ChatDisplay(LiveDisplay[Chat]):
    """The displays that a shell has for a `Chat`. Parameters as `LiveDisplay`."""

    kind = Chat

    def __init__(self, shell: Any, live: Live | None = None, hushed: Hush | None = None) -> None:
        super().__init__(shell, live, hushed)
        self._panels: dict[Chat, ChatPanel] = {}

    def show(self, value: Chat) -> None:
        """Show its widget; a chat has one, however often it is shown."""
        self._panel(value).show()

    def text(self, value: Chat) -> str:
        """Give the transcript."""
        return transcript.text(value)

    def _panel(self, chat: Chat) -> ChatPanel:
        """Give the widget of a chat, made when it is first shown."""
        from segmind_jupyter.notebook.chatpanel import ChatPanel

        if chat not in self._panels:
            self._make_room(chat)
            panel = self._panels[chat] = ChatPanel(chat, shell=self._shell, live=self._live)
            chat.on_close(lambda _: self._close(chat, panel))
        return self._panels[chat]

    def _make_room(self, chat: Chat) -> None:
        """Leave the transcript in the place of the oldest widgets of many of one conversation."""
        alike = [each for each in self._panels if each.conversation is chat.conversation]
        for each in alike[: max(0, len(alike) + 1 - _MAX_ALIKE)]:
            self._close(each, self._panels[each])

    def _close(self, chat: Chat, panel: ChatPanel) -> None:
        if self._panels.get(chat) is panel:
            del self._panels[chat]
            panel.close()
