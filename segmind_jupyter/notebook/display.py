"""How the values of one type show in a shell: live where widgets can be shown, else as text."""

from __future__ import annotations

import abc
from typing import Any, ClassVar, Generic, TypeVar

from segmind_jupyter.notebook.card import can_show
from segmind_jupyter.notebook.hush import Hush
from segmind_jupyter.notebook.live import Live

V = TypeVar("V")


class LiveDisplay(abc.ABC, Generic[V]):
    """The displays that a shell has for one type.

    Parameters
    ----------
    shell
        The shell that they are added to.
    live
        What keeps the views up to date.
    hushed
        What is not shown; other displays of the shell may share it.
    """

    #: The type whose values are shown.
    kind: ClassVar[type]

    def __init__(self, shell: Any, live: Live | None = None, hushed: Hush | None = None) -> None:
        self._shell = shell
        self._live = live or Live(shell)
        self._hushed = hushed or Hush(shell)

    @abc.abstractmethod
    def show(self, value: V) -> None:
        """Show it below the cell that runs; asked only where that `can_show`."""

    @abc.abstractmethod
    def text(self, value: V) -> str:
        """Say it where that cannot be."""

    @property
    def can_show(self) -> bool:
        """Whether there is a page on which it can be shown."""
        return can_show(self._shell)

    def hush(self, value: V) -> None:
        """Show nothing of this value while the cell that asked for it runs."""
        self._hushed.add(value)

    def install(self) -> None:
        """Add the displays."""
        formatter = self._shell.display_formatter
        formatter.formatters["text/plain"].for_type(self.kind, self._print)
        formatter.ipython_display_formatter.for_type(self.kind, self._show)

    def remove(self) -> None:
        """Take them back; what is live stays so."""
        formatter = self._shell.display_formatter
        formatter.formatters["text/plain"].pop(self.kind, None)
        formatter.ipython_display_formatter.pop(self.kind, None)

    def _show(self, value: V) -> None:
        if value in self._hushed:
            return
        if not self.can_show:
            raise NotImplementedError  # IPython then asks for the text
        self.show(value)

    def _print(self, value: V, printer: Any, cycle: bool) -> None:
        inside_another = len(printer.stack) > 1
        printer.text(repr(value) if inside_another else self.text(value))
