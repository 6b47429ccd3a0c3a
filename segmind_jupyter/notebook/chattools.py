"""The row of tools below a chat's box: attach, the model, and what can be done with a reply.

Imported with the first chat.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from ipywidgets import HTML, Button, Combobox, HBox, Layout, VBox

from segmind_jupyter.api.models import KNOWN_MODELS
from segmind_jupyter.api.usage import Totals
from segmind_jupyter.notebook.transcript import about_html

#: The buttons, from left to right: name, words, icon, what it does.
_BUTTONS: Final = (
    ("attach", "Attach", "paperclip", "Attach variables or files to the next message"),
    ("again", "Again", "refresh", "Ask the last message again"),
    ("edit", "Edit", "pencil", "Take the last message back into the box"),
    ("copy", "Copy", "copy", "Show the last reply as text, to be copied"),
    ("code", "Code", "code", "Show the first code of the last reply, to be copied"),
    ("save", "Save", "save", "Write the transcript to a file beside the notebook"),
    ("clear", "Clear", "trash", "Forget everything that was said, and begin anew"),
)


class Tools:
    """Buttons by name, the model box, and a line of what the chat took.

    Parameters
    ----------
    presses
        What each button does: a callback by its name.
    choose_model
        Called with the change when another model was chosen or typed.
    guarded
        Makes a callback of a widget that shows what goes wrong.

    Attributes
    ----------
    box
        All of it, as one widget.
    model
        The box for the model.
    """

    def __init__(
        self,
        presses: Mapping[str, Callable[..., None]],
        *,
        choose_model: Callable[..., None],
        guarded: Callable[[Callable[..., None]], Callable[..., None]],
    ) -> None:
        self._buttons = {}
        for name, words, icon, hint in _BUTTONS:
            button = Button(description=words, icon=icon, tooltip=hint, layout=_button_layout())
            button.on_click(guarded(presses[name]))
            self._buttons[name] = button
        self._shown_model = ""
        self.model = Combobox(
            options=KNOWN_MODELS,
            ensure_option=False,
            continuous_update=False,
            placeholder="model",
            layout=Layout(width="190px", margin="0 12px 0 4px"),
        )
        self.model.observe(guarded(choose_model), "value")
        self._about = HTML(layout=Layout(margin="0 2px", width="auto"))
        attach, again, edit, copy, code, store, clear = self._buttons.values()
        # Where a page is too narrow for all, a group begins a line.
        others = _wrapping(_wrapping(again, edit, copy, code), _wrapping(store, clear))
        row = _wrapping(_wrapping(attach, self.model), others)
        self.box = VBox([row, self._about], layout=Layout(overflow="visible"))

    @property
    def chosen_model(self) -> str | None:
        """What the user has put in the place of the model that is used, or `None`."""
        model = self.model.value.strip()
        return None if model == self._shown_model else str(model)

    def update(self, *, model: str, usage: Totals, usable: Collection[str]) -> None:
        """Show how things stand.

        Parameters
        ----------
        model
            The slug of the model.
        usage
            What the chat took so far.
        usable
            Names of the buttons that can be pressed.
        """
        # Only if it changed in the chat: a name that was just typed must not be put back.
        if model != self._shown_model:
            self._shown_model = model
            self.model.value = model
        self._about.value = about_html(_spent(usage))
        for name, button in self._buttons.items():
            button.disabled = name not in usable


def _wrapping(*widgets: Any) -> Any:
    layout = Layout(flex_flow="row wrap", align_items="center", overflow="visible")
    return HBox(widgets, layout=layout)


def _button_layout() -> Any:
    return Layout(width="auto", margin="2px 4px 2px 0")


def _spent(usage: Totals) -> str:
    """Say what a chat took: ``2 replies · 871 tokens in, 62 out · 0.0042 credits``."""
    if not usage.calls:
        return ""
    replies = "1 reply" if usage.calls == 1 else f"{usage.calls:,} replies"
    tokens = f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
    cost = "" if usage.cost is None else f"{usage.cost:,.4f} credits"
    return " · ".join(filter(None, (replies, tokens, cost)))
