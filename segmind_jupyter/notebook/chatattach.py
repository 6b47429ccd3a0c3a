"""The panel of a chat in which variables, the last plot and files are attached.

Imported with the first chat.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from ipywidgets import HTML, Button, ButtonStyle, FileUpload, HBox, Layout, VBox

from segmind_jupyter.notebook.attachable import attachables
from segmind_jupyter.notebook.card import close_all
from segmind_jupyter.notebook.chatlook import FILES
from segmind_jupyter.notebook.chattyped import MAX_FILE_BYTES, Attachment, uploaded
from segmind_jupyter.notebook.transcript import about_html

if TYPE_CHECKING:
    from segmind_jupyter.content.parts import Limits
    from segmind_jupyter.notebook.lastplot import LastPlots

#: Most variables that the panel offers; a button each.
_MAX_OFFERED: Final = 40

_FILES: Final = "image/*,text/*,.csv,.ipynb,.json,.log,.md,.py,.toml,.tsv,.yaml,.yml"

_FILES_HINT: Final = f"Files: images and text, up to {MAX_FILE_BYTES / 1e6:.0f} MB."

#: The server closes the connection over a message that is too large for it (`MAX_FILE_BYTES`), and
#: the kernel hears nothing of it.
_LARGER_FILES: Final = (
    'A larger one does not arrive, and nobody is told: run `path = Path("file")`, and write '
    "`{path}`."
)


class AttachPanel:
    """A button for each variable, one for the last plot and one for files.

    Parameters
    ----------
    names
        Gives the user's variables when the panel is opened.
    attach
        Called with what was chosen.
    take_files
        Called with the names and the contents of files.
    plots
        Gives what cells displayed; `None` where that is not followed.
    limits
        Gives how large images may become.
    guarded
        Makes a callback of a widget that shows what goes wrong.
    """

    def __init__(
        self,
        *,
        names: Callable[[], Mapping[str, Any]],
        attach: Callable[[Attachment], None],
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
        button.on_click(self._guarded(lambda _: self._attach(Attachment(name, name=name))))
        return button

    def _attach_plot(self, _: Any) -> None:
        """Attach the plot as it shows now; what a cell displays later is another one."""
        if (plots := self._plots()) is not None:
            (plot,) = plots.sent(limits=self._limits())
            self._attach(Attachment(plot.name, item=plot))

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
