"""Which cell, or which `Output` widget, an output belongs to.

A cell may show something long after it has ended, from a task or a thread, and a widget's callback
shows into no cell at all: the message that a kernel answers (its parent header) tells them apart.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from segmind_jupyter.notebook.plotshelf import Origin

#: So many cells are remembered; what shows something later still counts as of the newest.
_MAX_CELLS: Final = 64


@dataclass(frozen=True, slots=True)
class _Cell:
    number: int
    message_id: str = ""
    cell_id: str | None = None


class Origins:
    """Follows the cells of a shell.

    Parameters
    ----------
    shell
        The shell. A cell that runs already counts as one.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._cells = deque([self._running(None)], maxlen=_MAX_CELLS)

    def begin(self, cell_id: str | None) -> None:
        """Take note that a cell begins."""
        self._cells.append(self._running(cell_id))

    def of(self, publisher: Any) -> Origin:
        """Tell where that goes which a publisher (or display hook) shows now, on this thread."""
        header = _header(publisher)
        cell = self._cell(header.get("msg_id", ""))
        by_widget = header.get("msg_type") == "comm_msg"
        return Origin(
            "plot of a widget" if by_widget else f"plot of [{cell.number}]",
            area=_output_widget() or header.get("msg_id") or f"cell {cell.number}",
            cell_id=None if by_widget else cell.cell_id,
        )

    def _running(self, cell_id: str | None) -> _Cell:
        message_id = _header(self._shell.display_pub).get("msg_id", "")
        # Asked as the cell begins, since figures show at its end, when some IPythons have counted
        # on. The shell's own counter is one ahead in the newest ones; the hook tells the cell's.
        return _Cell(self._shell.displayhook.prompt_count, message_id, cell_id)

    def _cell(self, message_id: str) -> _Cell:
        cells = list(self._cells)  # a thread may show something while a cell begins
        return next((c for c in reversed(cells) if c.message_id == message_id), cells[-1])


def _header(publisher: Any) -> Mapping[str, Any]:
    """Give the header of the message that is being answered; empty outside of a kernel."""
    return getattr(publisher, "parent_header", None) or {}


def _output_widget() -> str:
    """Name the `ipywidgets.Output` that takes what is shown now; empty if none does.

    Such a widget takes all that answers one message, for as long as it names that (`msg_id`).
    """
    module = sys.modules.get("ipywidgets.widgets.widget_output")
    if module is None:
        return ""
    for widget in _open_widgets():
        if isinstance(widget, module.Output) and widget.msg_id:
            return str(widget.model_id)
    return ""


def _open_widgets() -> Iterable[Any]:
    module = sys.modules["ipywidgets.widgets.widget"]
    known = getattr(module, "_instances", None)  # ipywidgets 8
    return list((module.Widget.widgets if known is None else known).values())
