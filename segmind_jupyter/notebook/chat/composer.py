"""Where a message of a chat is written: the box, what is attached, Send and Stop.

Imported with the first chat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipywidgets import HTML, Button, ButtonStyle, FileUpload, HBox, Layout, Textarea, VBox

from segmind_jupyter.content.convert import has_size, size_of, to_parts
from segmind_jupyter.content.parts import Limits, Part, Text, type_name
from segmind_jupyter.content.prompt import Attachment, Prompt, compose
from segmind_jupyter.errors import ContentError
from segmind_jupyter.notebook.chat.toolbar import FILES
from segmind_jupyter.notebook.chat.transcript import about_html
from segmind_jupyter.notebook.display.text import one_line
from segmind_jupyter.notebook.live.cards import close_all
from segmind_jupyter.notebook.namespace import is_tool

if TYPE_CHECKING:
    from segmind_jupyter.chat import Turn
    from segmind_jupyter.notebook.plots.last_plot import LastPlots


#: Longest type name that is shown; anybody may define a class.
_MAX_TYPE_CHARS: Final = 30


@dataclass(frozen=True, slots=True)
class Attachable:
    """A variable that can be attached."""

    name: str
    about: str

    @property
    def label(self) -> str:
        """Both, for a button."""
        return f"{self.name} · {self.about}"


def attachables(names: Mapping[str, Any]) -> list[Attachable]:
    """List the variables that can be attached: pictures and tables first, the newest ones first."""
    offered = [(name, value) for name, value in reversed(list(names.items())) if _is(name, value)]
    offered.sort(key=lambda pair: not has_size(pair[1]))
    return [Attachable(name, _about(value)) for name, value in offered]


def _is(name: str, value: object) -> bool:
    """Return whether a prompt could name it, and somebody might want that."""
    if not name.isidentifier() or name.startswith("_"):
        return False
    is_handle = str(type(value).__module__).startswith("segmind_jupyter.")
    return not (is_tool(value) or is_handle)


def _about(value: Any) -> str:
    """Say what a value is; anybody may define a class with a long name."""
    return f"{one_line(type_name(value))[:_MAX_TYPE_CHARS]} {size_of(value)}".rstrip()


#: Most variables that the panel offers; a button each.
_MAX_OFFERED: Final = 40

_FILES: Final = "image/*,text/*,.csv,.ipynb,.json,.log,.md,.py,.toml,.tsv,.yaml,.yml"

#: Largest file that is taken. Jupyter Server closes a connection over which more than 10 MiB come
#: in one message (`websocket_max_message_size` of Tornado), so little more would arrive anyway.
MAX_FILE_BYTES: Final = 8_000_000

_FILES_HINT: Final = f"Files: images and text, up to {MAX_FILE_BYTES / 1e6:.0f} MB."

#: The server closes the connection over a message that is too large for it (`MAX_FILE_BYTES`), and
#: the kernel hears nothing of it.
_LARGER_FILES: Final = (
    'A larger one does not arrive, and nobody is told: run `path = Path("file")`, and write '
    "`{path}`."
)


class AttachPanel:
    """A button for each variable, one for the last plot and one for files."""

    def __init__(
        self,
        *,
        names: Callable[[], Mapping[str, Any]],
        attach: Callable[[DraftAttachment], None],
        take_files: Callable[[Sequence[tuple[str, bytes]]], None],
        plots: Callable[[], LastPlots | None],
        limits: Callable[[], Limits],
        guarded: Callable[[Callable[..., None]], Callable[..., None]],
    ) -> None:
        self._names, self._attach, self._take_files = names, attach, take_files
        self._plots, self._limits, self._guarded = plots, limits, guarded
        self._look = {"layout": Layout(width="auto", max_width="100%"), "style": ButtonStyle()}
        self._about = HTML(layout=Layout(margin="0 2px"))
        self._offered = HBox(layout=Layout(flex_flow="row wrap", overflow="visible"))
        self._files = FileUpload(
            accept=_FILES,
            multiple=True,
            description=FILES,
            layout=Layout(width="auto", align_self="flex-start"),
        )
        if self._files.has_trait("tooltip"):  # ipywidgets 7 has none here
            self._files.tooltip = f"{_FILES_HINT} {_LARGER_FILES}"
        self._files.observe(guarded(self._uploaded), "value")
        self._last_plot = Button(
            description="Last plot",
            icon="image",
            tooltip="Attach the plot that a cell displayed last",
            **self._look,
        )
        self._last_plot.on_click(guarded(self._attach_plot))
        others = HBox([self._last_plot, self._files], layout=Layout(overflow="visible"))
        self.box = VBox(
            [self._about, self._offered, others],
            layout=Layout(max_height="220px", overflow="auto", margin="2px 0 0 0"),
        )

    def refresh(self) -> None:
        """List the variables that there are now, and see whether there is a plot."""
        plots = self._plots()
        self._last_plot.disabled = plots is None or plots.is_empty
        offered = attachables(self._names())
        shown = offered[:_MAX_OFFERED]
        before = self._offered.children
        self._offered.children = [self._button(a.label, a.name) for a in shown]
        for button in before:
            button.close()
        self._about.value = about_html(_said_of(len(offered)))

    def close(self) -> None:
        """Close what no widget on the page holds."""
        close_all(self.box)
        for part in self._look.values():
            part.close()

    def _button(self, label: str, name: str) -> Any:
        button = Button(
            description=label,
            tooltip=f"Attach {name}",
            **self._look,
        )
        button.on_click(self._guarded(lambda _: self._attach(DraftAttachment(name, name=name))))
        return button

    def _attach_plot(self, _: Any) -> None:
        """Attach the plot as it shows now; what a cell displays later is another one."""
        if (plots := self._plots()) is not None:
            (plot,) = plots.sent(limits=self._limits())
            self._attach(DraftAttachment(plot.name, item=plot))

    def _uploaded(self, change: Any) -> None:
        """Take what was uploaded, and let go of the copy that the widget keeps."""
        files = list(uploaded(change["new"]))
        if not files:
            return
        if isinstance(change["new"], Mapping):  # ipywidgets 7
            self._files.data, self._files.metadata = [], []
            self._files.set_trait("value", {})
        else:
            self._files.value = ()
        self._take_files(files)


def _said_of(count: int) -> str:
    files = f"{_FILES_HINT} {_LARGER_FILES}"
    if not count:
        return f"There is no variable to attach yet. {files}"
    more = f" ({count - _MAX_OFFERED} older ones are not listed)" if count > _MAX_OFFERED else ""
    return f"Click a variable to attach it{more}, or name it in your words as `{{name}}`. {files}"


#: Longest name of a file that is shown, in characters.
_MAX_NAME_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class DraftAttachment:
    """Something that goes with the words."""

    label: str
    name: str = ""
    item: Attachment | None = None

    @classmethod
    def of(cls, item: Attachment) -> DraftAttachment:
        """Attach again what was sent before, as it was."""
        return cls(item.label or item.summary, item=item)

    @classmethod
    def of_file(cls, name: str, content: bytes, *, limits: Limits) -> DraftAttachment:
        """Attach a file."""
        label = one_line(name)[:_MAX_NAME_CHARS] or "file"
        if len(content) > MAX_FILE_BYTES:
            raise ContentError(
                f"{label} has {len(content) / 1e6:.1f} MB; a chat takes files up to "
                f"{MAX_FILE_BYTES / 1e6:.0f} MB. Put it beside the notebook, and attach a variable "
                "such as path = pathlib.Path('...')."
            )
        try:
            parts = tuple(_titled(part, label) for part in to_parts(content, limits=limits))
        except ContentError as error:
            raise ContentError(f"{label}: {error}") from error
        if not any(part.tokens for part in parts):
            raise ContentError(f"{label} is empty. There is nothing in it to send.")
        return cls(label, item=Attachment(label, parts))


def _titled(part: Part, title: str) -> Part:
    """Tell the model which file a text is from; a picture stands for itself."""
    if not isinstance(part, Text) or not part.text.strip():
        return part
    return Text(f"{title}:\n{part.text}", about=part.about, inline=False)


@dataclass(frozen=True, slots=True)
class DraftMessage:
    """What will be sent, or was."""

    text: str = ""
    attachments: tuple[DraftAttachment, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text.strip() or self.attachments)

    @classmethod
    def of(cls, turn: Turn) -> DraftMessage:
        """Take up what was said from code, where objects may have no name."""
        return cls(turn.text, tuple(map(DraftAttachment.of, turn.prompt.sent)))

    def above(self, other: DraftMessage) -> DraftMessage:
        """Put it above another one; nothing appears twice."""
        if not other:
            return self
        text = other.text
        if self.text not in text:
            text = "\n\n".join(filter(None, (self.text, text)))
        return DraftMessage(text, tuple(dict.fromkeys((*self.attachments, *other.attachments))))

    def prompt(self, names: Mapping[str, Any], *, limits: Limits) -> Prompt:
        """Make what is sent of it."""
        ready = tuple(a.item for a in self.attachments if a.item is not None)
        wanted = [a.name for a in self.attachments if a.item is None]
        if gone := [name for name in wanted if name not in names]:
            raise ContentError(
                f"There is no variable `{gone[0]}` any more. Remove it from the message, or "
                "define it again."
            )
        if not (wanted or self.text.strip()):
            return Prompt(ready)
        rest = compose(self.text.strip(), names, include=wanted, limits=limits)
        return Prompt((*ready, *rest.pieces), rest.notes)


def uploaded(value: Any) -> Iterator[tuple[str, bytes]]:
    """Read the value of a `FileUpload`: names and contents, both data of a browser.

    ipywidgets 8 gives a tuple of dicts with a name, version 7 a dict by name.
    """
    files = value.values() if isinstance(value, Mapping) else value
    for file in files:
        name = file.get("name") or file.get("metadata", {}).get("name")
        yield str(name or ""), bytes(file["content"])


_PLACEHOLDER: Final = (
    "Ask about your notebook; {name} stands for a variable. Send with the button, or from the "
    "keyboard: Tab, then Enter."
)


class ChatInput:
    """The box in which people write.

    To send from the keyboard, go on to the button (Tab) and press it (Enter or Space): the page
    hands over what was typed as the box is left, so nothing is missing from it, also where the
    kernel is busy. If it were sent key by key, the button would overtake the last keys.
    """

    def __init__(
        self,
        *,
        send: Callable[..., None],
        stop: Callable[..., None],
        guarded: Callable[[Callable[..., None]], Callable[..., None]],
    ) -> None:
        self._guarded = guarded
        self._attachments: tuple[DraftAttachment, ...] = ()
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
    def typed(self) -> DraftMessage:
        """What is in the box."""
        return DraftMessage(self.text.value, self._attachments)

    @typed.setter
    def typed(self, typed: DraftMessage) -> None:
        self.text.value = typed.text
        self._show(typed.attachments)

    def attach(self, attachment: DraftAttachment) -> None:
        """Put something with the words."""
        self._show(tuple(dict.fromkeys((*self._attachments, attachment))))

    def let_stop(self, pending: bool) -> None:
        """Let Stop be pressed while there is something to stop."""
        self._stop.disabled = not pending

    def close(self) -> None:
        """Close what no widget on the page holds."""
        for part in self._look.values():
            part.close()

    def _show(self, attachments: tuple[DraftAttachment, ...]) -> None:
        self._attachments = attachments
        before = self._chips.children
        self._chips.children = [self._chip(attachment) for attachment in attachments]
        for chip in before:
            chip.close()

    def _chip(self, attachment: DraftAttachment) -> Any:
        chip = Button(
            description=f"{attachment.label}  ✕",
            tooltip=f"Send it without {attachment.label}",
            **self._look,
        )
        chip.on_click(self._guarded(lambda _: self._remove(attachment)))
        return chip

    def _remove(self, attachment: DraftAttachment) -> None:
        self._show(tuple(a for a in self._attachments if a != attachment))


def _button(words: str, *, icon: str, press: Callable[..., None], style: str = "") -> Any:
    layout = Layout(width="92px", height="32px", margin="0 0 8px 8px")
    button = Button(description=words, icon=icon, button_style=style, layout=layout)
    button.on_click(press)
    return button
