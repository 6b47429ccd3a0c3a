"""What `%load_ext` adds to a shell, and `%unload_ext` takes back."""

from __future__ import annotations

from typing import Any

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.notebook.account import SegmindMagics
from segmind_jupyter.notebook.magics import ClaudeMagics
from segmind_jupyter.notebook.question import ClaudeQuestion

_MAGICS = (ClaudeMagics, SegmindMagics)


def load(shell: Any) -> None:
    """Add the magics, claim `%claude …?`, and show a `Reply` as safe HTML and plain text."""
    unload(shell)
    for magics in _MAGICS:
        shell.register_magics(magics)
    shell.input_transformer_manager.token_transformers.insert(0, ClaudeQuestion)
    formatters = shell.display_formatter.formatters
    formatters["text/html"].for_type(Reply, _html)
    formatters["text/plain"].for_type(Reply, _plain)


def unload(shell: Any) -> None:
    """Take back what `load` added; nothing happens where nothing was."""
    for magics in _MAGICS:
        _unregister(shell, magics)
    transformers = shell.input_transformer_manager.token_transformers
    if ClaudeQuestion in transformers:
        transformers.remove(ClaudeQuestion)
    for kind in ("text/html", "text/plain"):
        shell.display_formatter.formatters[kind].pop(Reply, None)


def _unregister(shell: Any, kind: type[Any]) -> None:
    instance = shell.magics_manager.registry.pop(kind.__name__, None)
    if instance is None:
        return
    shell.configurables[:] = [c for c in shell.configurables if c is not instance]
    for where, names in instance.magics.items():
        for name in names:
            shell.magics_manager.magics[where].pop(name, None)


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
