"""Where a message of a chat is written: the box, what is attached, Send and Stop.

Imported with the first chat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ipywidgets import Button, ButtonStyle, HBox, Layout, Textarea, VBox

from segmind_jupyter.notebook.chattyped import Attachment, Typed

_PLACEHOLDER: Final = (
    "Ask about your notebook; {name} stands for a variable. Send with the button, or from the "
    "keyboard: Tab, then Enter."
)


class ChatInput:
    """The box in which people write.

    To send from the keyboard, go on to the button (Tab) and press it (Enter or Space): the page
    hands over what was typed as the box is left, so nothing is missing from it, also where the
    kernel is busy. If it were sent key by key, the button would overtake the last keys.

    Parameters
    ----------
    send, stop
        Callbacks of the buttons.
    guarded
        Makes a callback of a widget that shows what goes wrong.

    Attributes
    ----------
    box
        All of it, as one widget.
    text, send
        The box for the words, and the button.
    """

    def __init__(
        self,
        *,
        send: Callable[..., None],
        stop: Callable[..., None],
        guarded: Callable[[Callable[..., None]], Callable[..., None]],
    ) -> None:
        self._guarded = guarded
        self._attachments: tuple[Attachment, ...] = ()
        self.text = Textarea(
            placeholder=_PLACEHOLDER,
            continuous_update=False,
            layout=Layout(flex="1 1 auto", width="auto", height="72px", margin="0"),
        )
        self.send = _button("Send", icon="paper-plane", style="primary", press=guarded(send))
        self._stop = _button("Stop", icon="stop", press=guarded(stop))
        self._stop.tooltip = "Give up what is under way; the model may still be billed"
        self._look = {"layout": Layout(width="auto", height="26px"), "style": ButtonStyle()}
        self._chips = HBox(layout=Layout(flex_flow="row wrap", overflow="visible"))
        side = VBox([self.send, self._stop], layout=Layout(flex="0 0 auto", overflow="visible"))
        row = HBox([self.text, side], layout=Layout(overflow="visible"))
        self.box = VBox([self._chips, row], layout=Layout(overflow="visible"))

    @property
    def typed(self) -> Typed:
        """What is in the box."""
        return Typed(self.text.value, self._attachments)

    @typed.setter
    def typed(self, typed: Typed) -> None:
        self.text.value = typed.text
        self._show(typed.attachments)

    def attach(self, attachment: Attachment) -> None:
        """Put something with the words."""
        self._show(tuple(dict.fromkeys((*self._attachments, attachment))))

    def let_stop(self, pending: bool) -> None:
        """Let Stop be pressed while there is something to stop."""
        self._stop.disabled = not pending

    def close(self) -> None:
        """Close what no widget on the page holds."""
        for part in self._look.values():
            part.close()

    def _show(self, attachments: tuple[Attachment, ...]) -> None:
        self._attachments = attachments
        before = self._chips.children
        self._chips.children = [self._chip(attachment) for attachment in attachments]
        for chip in before:
            chip.close()

    def _chip(self, attachment: Attachment) -> Any:
        chip = Button(
            description=f"{attachment.label}  ✕",
            tooltip=f"Send it without {attachment.label}",
            **self._look,
        )
        chip.on_click(self._guarded(lambda _: self._remove(attachment)))
        return chip

    def _remove(self, attachment: Attachment) -> None:
        self._show(tuple(a for a in self._attachments if a != attachment))


def _button(words: str, *, icon: str, press: Callable[..., None], style: str = "") -> Any:
    layout = Layout(width="92px", height="32px", margin="0 0 8px 8px")
    button = Button(description=words, icon=icon, button_style=style, layout=layout)
    button.on_click(press)
    return button
