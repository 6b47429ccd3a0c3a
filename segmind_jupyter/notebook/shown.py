"""How a `Reply` and a `Request` show in a shell: as safe HTML and as text, or hushed."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar, Generic, TypeVar

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.notebook.hush import Hush
from segmind_jupyter.request import Request

V = TypeVar("V")


class _Display(abc.ABC, Generic[V]):
    """The displays that a shell has for the values of one type, which never change.

    Parameters
    ----------
    shell
        The shell that they are added to.
    hushed
        What is not shown; other displays of the shell may share it.
    """

    #: The type whose values are shown.
    kind: ClassVar[type]

    def __init__(self, shell: Any, hushed: Hush | None = None) -> None:
        self._formatter = shell.display_formatter
        self._hushed = hushed or Hush(shell)

    @abc.abstractmethod
    def html(self, value: V) -> str:
        """Give it as safe HTML."""

    @abc.abstractmethod
    def text(self, value: V) -> str:
        """Give it as text."""

    def install(self) -> None:
        """Add the displays."""
        self._formatter.formatters["text/html"].for_type(self.kind, self.html)
        self._formatter.formatters["text/plain"].for_type(self.kind, self._print)
        self._formatter.ipython_display_formatter.for_type(self.kind, self._show_nothing)

    def remove(self) -> None:
        """Take them back."""
        self._formatter.formatters["text/html"].pop(self.kind, None)
        self._formatter.formatters["text/plain"].pop(self.kind, None)
        self._formatter.ipython_display_formatter.pop(self.kind, None)

    def hush(self, value: object) -> None:
        """Show nothing of this value, or of a job, while the cell that asked for it runs."""
        self._hushed.add(value)

    def _print(self, value: V, printer: Any, cycle: bool) -> None:
        printer.text(self.text(value))

    def _show_nothing(self, value: V) -> None:
        """Stand in for the other displays, if this value is hushed (IPython's own way)."""
        if value not in self._hushed:
            raise NotImplementedError  # IPython then asks the other formatters


class ReplyDisplay(_Display[Reply]):
    """The displays that a shell has for a `Reply`. Parameters as `_Display`."""

    kind = Reply

    def html(self, value: Reply) -> str:
        """Show it as a page does, with what was sent for it."""
        from segmind_jupyter.notebook.render import reply_html

        return reply_html(value, sent=_of(value, "sent"), notes=_of(value, "notes"))

    def text(self, value: Reply) -> str:
        """Show the same in a terminal."""
        from segmind_jupyter.notebook.render import reply_text

        return reply_text(value, sent=_of(value, "sent"), notes=_of(value, "notes"))


class RequestDisplay(_Display[Request]):
    """The displays that a shell has for a `Request`. Parameters as `_Display`."""

    kind = Request

    def html(self, value: Request) -> str:
        """Show its blocks, with pictures."""
        from segmind_jupyter.notebook.preview import request_html

        return request_html(value)

    def text(self, value: Request) -> str:
        """Show the same in a terminal."""
        from segmind_jupyter.notebook.preview import request_text

        return request_text(value)

    def _print(self, value: Request, printer: Any, cycle: bool) -> None:
        inside_another = len(printer.stack) > 1
        printer.text(repr(value) if inside_another else self.text(value))


def reply_bundle(reply: Reply) -> dict[str, str]:
    """Give both sides of a reply, with the objects and notes that its prompt knows of."""
    from segmind_jupyter.notebook.render import mimebundle

    return mimebundle(reply, sent=_of(reply, "sent"), notes=_of(reply, "notes"))


def footer_bundle(reply: Reply) -> dict[str, str]:
    """Give both sides of what stands under a reply, without the reply."""
    from segmind_jupyter.notebook.footer import footer_html, footer_text
    from segmind_jupyter.notebook.markdown import framed

    known = {"sent": _of(reply, "sent"), "notes": _of(reply, "notes")}
    return {
        "text/html": framed(footer_html(reply, **known)),
        "text/plain": footer_text(reply, **known),
    }


def noting(reply: Reply, note: str | None) -> Reply:
    """Give the reply with one thing more to point out under it."""
    if note is None:
        return reply
    return dataclasses.replace(reply, request=reply.request.noting(note))


def _of(reply: Reply, field: str) -> tuple[Any, ...]:
    """Read what the reply's prompt knows; a reply made by hand has none."""
    value: tuple[Any, ...] = getattr(reply.request, field, ())
    return value
