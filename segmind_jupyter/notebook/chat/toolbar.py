"""Tells when a page was reloaded: from then on it does not hear what is replaced in its outputs.

A page that was opened anew asks the kernel for the state of every widget (seen in JupyterLab), so
these live on; but it has lost the names of the outputs, and saves them as they were.
"""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ipywidgets import HTML, Button, Combobox, HBox, Layout, VBox

from segmind_jupyter.api.settings import KNOWN_MODELS
from segmind_jupyter.api.usage import Totals
from segmind_jupyter.errors import ContentError
from segmind_jupyter.notebook.chat.transcript import about_html
from segmind_jupyter.notebook.display.markdown import framed
from segmind_jupyter.notebook.display.styles import FRAME
from segmind_jupyter.notebook.display.text import one_line_html, to_text
from segmind_jupyter.notebook.live.cards import close_all

if TYPE_CHECKING:
    from segmind_jupyter.api.messages import Reply
    from segmind_jupyter.chat import Turn


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
    """Buttons by name, the model box, and a line of what the chat took."""

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
        """Show how things stand."""
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


class Drawer:
    """A place for one widget, that the button which opened it closes."""

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
        """Show a text from a reply, or close it where it shows that."""
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


_ABOUT: Final = (
    "All that was said is forgotten, also in the saved notebook. Files that Save wrote stay, and "
    "the usage goes on to count."
)


class ClearPanel:
    """A line that says what is lost, and the button that does it."""

    def __init__(self, forget: Callable[..., None]) -> None:
        self._button = Button(
            icon="trash",
            button_style="danger",
            tooltip="There is no way back",
            layout=Layout(width="auto", margin="2px 4px 2px 2px", align_self="flex-start"),
        )
        self._button.on_click(forget)
        about = HTML(about_html(_ABOUT), layout=Layout(margin="0 2px", width="auto"))
        self.box = VBox([about, self._button], layout=Layout(overflow="visible"))

    def refresh(self, count: int) -> None:
        """Say how many turns it is about."""
        self._button.description = f"Forget {count:,} turn{'s' * (count != 1)}"


#: How CommonMark begins a block of code between fences; others are indented, and rarely meant.
_FENCES = ("```", "~~~")


def copy_html(text: str) -> str:
    """Show untrusted text as it was written, to be selected by a click."""
    from segmind_jupyter.notebook.display.markdown import framed

    hint = about_html("Click the text to select all of it; then press Ctrl+C (⌘C on a Mac).")
    return framed(f'{hint}<pre style="{FRAME["copied"]}">{html.escape(to_text(text))}</pre>')


def has_code(text: str) -> bool:
    """Return whether a reply seems to hold code, without reading it all."""
    return any(fence in text for fence in _FENCES)


def first_code(reply: Reply) -> str:
    """Return the first block of code in a reply; empty where there is none."""
    return next((block.code for block in reply.code_blocks), "")


#: The name of the button for files. The page writes how many it holds behind it, which is always
#: none: they are taken out at once. So the page's words have no size, and these stand for them.
FILES: Final = "File…"

#: Replies and bubbles are as wide as the box that they are in, so that they end where it ends.
_RULES: Final = (
    (" .segmind-reply", "max-width:none!important"),
    (" .widget-upload", "font-size:0"),
    (" .widget-upload i", "font-size:var(--jp-widgets-font-size,13px)"),
    (
        " .widget-upload::after",
        f'content:"{FILES}";font-size:var(--jp-widgets-font-size,13px)',
    ),
)


def look_of(css_class: str) -> str:
    """Return the style sheet, as HTML, for a widget of this class."""
    rules = "".join(f".{css_class}{place}{{{style}}}" for place, style in _RULES)
    return f"<style>{rules}</style>"


def keep_in_order(boxes: Sequence[Any], button: Any) -> None:
    """Have changes of these boxes handled before the click on the button that follows them."""

    def speak(_: Any) -> None:
        for widget in (*boxes, button):
            widget.send_state("disabled")  # it has not changed, so the page does nothing

    for box in boxes:
        box.observe(speak, "value")


_NOTICE: Final = (
    "This page was reloaded: new turns do not reach the saved notebook. Run `chat` in a cell again "
    "before you save, or press Save."
)


class ReloadNotice(HTML):
    """Says that the page was reloaded, until it is told that the chat is shown anew."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        super().__init__(layout=Layout(margin="0", width="auto"))

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> Any:
        """Return what a page is told. All of it at once goes to a page that knew nothing."""
        is_open = self.comm is not None
        if key is None and is_open and self._is_asked_by_a_page and not _is_voila():
            self.value = framed(f'<div style="{FRAME["cut"]}">{one_line_html(_NOTICE)}</div>')
        return super().get_state(key=key, drop_defaults=drop_defaults)

    def take_back(self) -> None:
        """Say nothing: the page has an output that hears again."""
        self.value = ""

    @property
    def _is_asked_by_a_page(self) -> bool:
        """Return whether it is no cell of the user's that asks, such as one that embeds widgets."""
        parent = getattr(self._shell, "parent_header", None) or {}
        return bool(parent.get("header", {}).get("msg_type") == "comm_msg")


def _is_voila() -> bool:
    """Return whether Voila shows the page: it asks for all state at once, and saves no notebook."""
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
