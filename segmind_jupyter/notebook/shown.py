"""How a `Reply` and a `Request` show in a shell: as safe HTML and as text, or hushed."""

from __future__ import annotations

import dataclasses
from typing import Any

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.notebook.hush import Hush
from segmind_jupyter.request import Request


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


class RequestDisplay:
    """The displays that a shell has for a `Request`.

    Parameters
    ----------
    shell
        The shell that they are added to.
    """

    def __init__(self, shell: Any) -> None:
        self._formatters = shell.display_formatter.formatters

    def install(self) -> None:
        """Add the displays."""
        self._formatters["text/html"].for_type(Request, _request_html)
        self._formatters["text/plain"].for_type(Request, _request_plain)

    def remove(self) -> None:
        """Take them back."""
        self._formatters["text/html"].pop(Request, None)
        self._formatters["text/plain"].pop(Request, None)


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


def _request_html(request: Request) -> str:
    from segmind_jupyter.notebook.preview import request_html

    return request_html(request)


def _request_plain(request: Request, printer: Any, cycle: bool) -> None:
    from segmind_jupyter.notebook.preview import request_text

    inside_another = len(printer.stack) > 1
    printer.text(repr(request) if inside_another else request_text(request))
