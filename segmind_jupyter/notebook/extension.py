"""What `%load_ext` adds to a shell, and `%unload_ext` takes back."""

from __future__ import annotations

from typing import Any

from traitlets import TraitError

from segmind_jupyter.errors import SettingsError
from segmind_jupyter.notebook.account import SegmindMagics
from segmind_jupyter.notebook.magics import ClaudeMagics
from segmind_jupyter.notebook.question import ClaudeQuestion
from segmind_jupyter.notebook.shown import ReplyDisplay

_MAGICS = (ClaudeMagics, SegmindMagics)


def load(shell: Any) -> None:
    """Add the magics, claim `%claude …?`, and show a `Reply` as safe HTML and plain text.

    Raises
    ------
    SettingsError
        The shell's configuration holds a value that `ClaudeMagics` refuses; what was loaded
        before stays loaded.
    """
    displays = ReplyDisplay(shell)
    try:
        magics = (ClaudeMagics(shell, displays=displays), SegmindMagics(shell))
    except TraitError as error:
        raise SettingsError(f"{error} Set it anew with %config, then load again.") from None
    unload(shell)
    shell.register_magics(*magics)
    shell.input_transformer_manager.token_transformers.insert(0, ClaudeQuestion)
    displays.install()


def unload(shell: Any) -> None:
    """Take back what `load` added; nothing happens where nothing was."""
    for kind in _MAGICS:
        _unregister(shell, kind)
    transformers = shell.input_transformer_manager.token_transformers
    if ClaudeQuestion in transformers:
        transformers.remove(ClaudeQuestion)
    ReplyDisplay(shell).remove()


def _unregister(shell: Any, kind: type[Any]) -> None:
    instance = shell.magics_manager.registry.pop(kind.__name__, None)
    if instance is None:
        return
    shell.configurables[:] = [c for c in shell.configurables if c is not instance]
    for where, names in instance.magics.items():
        for name in names:
            shell.magics_manager.magics[where].pop(name, None)
