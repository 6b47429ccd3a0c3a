"""How a `Reply` shows in a shell: as safe HTML and as text, or, where it is hushed, not at all."""

from __future__ import annotations

from typing import Any

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.notebook.hush import Hush


class ReplyDisplay:
    """The displays that a shell has for a `Reply`.

    Parameters
    ----------
    shell
        The shell that they are added to.
    hushed
        What is not shown; other displays of the shell may share it.
    """

    def __init__(self, shell: Any, hushed: Hush | None = None) -> None:
        self._shell = shell
        self._hushed = hushed or Hush(shell)

    def install(self) -> None:
        """Add the displays."""
        formatter = self._shell.display_formatter
        formatter.formatters["text/html"].for_type(Reply, _html)
        formatter.formatters["text/plain"].for_type(Reply, _plain)
        formatter.ipython_display_formatter.for_type(Reply, self._show_nothing)

    def remove(self) -> None:
        """Take them back."""
        formatter = self._shell.display_formatter
        formatter.formatters["text/html"].pop(Reply, None)
        formatter.formatters["text/plain"].pop(Reply, None)
        formatter.ipython_display_formatter.pop(Reply, None)

    def hush(self, value: object) -> None:
        """Show nothing of this reply (or job) while the cell that asked for it runs."""
        self._hushed.add(value)

    def _show_nothing(self, reply: Reply) -> None:
        """Stand in for the other displays, if this reply is hushed (IPython's own way)."""
        if reply not in self._hushed:
            raise NotImplementedError  # IPython then asks the other formatters


def reply_bundle(reply: Reply) -> dict[str, str]:
    """Give both sides of a reply, with the objects and notes that its prompt knows of."""
    from segmind_jupyter.notebook.render import mimebundle

    return mimebundle(reply, sent=_of(reply, "sent"), notes=_of(reply, "notes"))


def _html(reply: Reply) -> str:
    from segmind_jupyter.notebook.render import reply_html

    return reply_html(reply, sent=_of(reply, "sent"), notes=_of(reply, "notes"))


def _plain(reply: Reply, printer: Any, cycle: bool) -> None:
    from segmind_jupyter.notebook.render import reply_text

    printer.text(reply_text(reply, sent=_of(reply, "sent"), notes=_of(reply, "notes")))


def _of(reply: Reply, field: str) -> tuple[Any, ...]:
    """Read what the reply's prompt knows; a reply made by hand has none."""
    value: tuple[Any, ...] = getattr(reply.request, field, ())
    return value
