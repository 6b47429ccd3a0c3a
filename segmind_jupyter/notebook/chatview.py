"""How a `Chat` shows in a shell: as its widget where widgets can be shown, else as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmind_jupyter.chat import Chat
from segmind_jupyter.notebook import transcript
from segmind_jupyter.notebook.display import LiveDisplay
from segmind_jupyter.notebook.hush import Hush
from segmind_jupyter.notebook.live import Live

if TYPE_CHECKING:
    from segmind_jupyter.notebook.chatpanel import ChatPanel


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
            panel = self._panels[chat] = ChatPanel(chat, shell=self._shell, live=self._live)
            chat.on_close(lambda _: self._close(chat, panel))
        return self._panels[chat]

    def _close(self, chat: Chat, panel: ChatPanel) -> None:
        self._panels.pop(chat, None)
        panel.close()
