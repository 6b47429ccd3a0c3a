"""How a `Chat` shows in a shell: as its widget where widgets can be shown, else as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmind_jupyter.chat import Chat
from segmind_jupyter.notebook import transcript
from segmind_jupyter.notebook.card import can_show
from segmind_jupyter.notebook.live import Live

if TYPE_CHECKING:
    from segmind_jupyter.notebook.chatpanel import ChatPanel


class ChatDisplay:
    """The displays that a shell has for a `Chat`.

    Parameters
    ----------
    shell
        The shell that they are added to.
    live
        What keeps the widgets up to date.
    """

    def __init__(self, shell: Any, live: Live | None = None) -> None:
        self._shell = shell
        self._live = live or Live(shell)
        self._panels: dict[Chat, ChatPanel] = {}

    def install(self) -> None:
        """Add the displays."""
        formatter = self._shell.display_formatter
        formatter.formatters["text/plain"].for_type(Chat, _plain)
        formatter.ipython_display_formatter.for_type(Chat, self._show)

    def remove(self) -> None:
        """Take them back; the chats that are on a page stay there, and live."""
        formatter = self._shell.display_formatter
        formatter.formatters["text/plain"].pop(Chat, None)
        formatter.ipython_display_formatter.pop(Chat, None)

    def _show(self, chat: Chat) -> None:
        if not can_show(self._shell):
            raise NotImplementedError  # IPython then asks for the text
        self._panel(chat).show()

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


def _plain(chat: Chat, printer: Any, cycle: bool) -> None:
    inside_another = len(printer.stack) > 1
    printer.text(repr(chat) if inside_another else transcript.text(chat))
