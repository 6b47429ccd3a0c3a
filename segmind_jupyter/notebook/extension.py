"""What `%load_ext` adds to a shell, and `%unload_ext` takes back."""

from __future__ import annotations

import warnings
from typing import Any

from traitlets import TraitError

from segmind_jupyter.notebook.account import SegmindMagics
from segmind_jupyter.notebook.magics import ClaudeMagics
from segmind_jupyter.notebook.question import ClaudeQuestion
from segmind_jupyter.notebook.shown import ReplyDisplay


def load(shell: Any) -> None:
    """Add the magics, claim `%claude …?`, and show a `Reply` as safe HTML and plain text."""
    unload(shell)
    displays = ReplyDisplay(shell)
    shell.register_magics(_configured(shell, displays), SegmindMagics(shell))
    shell.input_transformer_manager.token_transformers.insert(0, ClaudeQuestion)
    displays.install()


def _configured(shell: Any, displays: ReplyDisplay) -> ClaudeMagics:
    """Make the magics; a configuration that they refuse must not cost the user the magics."""
    try:
        return ClaudeMagics(shell, displays=displays)
    except TraitError as error:
        shell.config.pop(ClaudeMagics.__name__, None)
        warnings.warn(f"{error}. The defaults of ClaudeMagics are used instead.", stacklevel=4)
        return ClaudeMagics(shell, displays=displays)


def unload(shell: Any) -> None:
    """Take back what `load` added; nothing happens where nothing was."""
    for kind in (ClaudeMagics, SegmindMagics):
        _unregister(shell, kind)
    transformers = shell.input_transformer_manager.token_transformers
    if ClaudeQuestion in transformers:
        transformers.remove(ClaudeQuestion)
    ReplyDisplay(shell).remove()


def _unregister(shell: Any, kind: type[Any]) -> None:
    # By type, as IPython also lists an instance whose making failed.
    shell.configurables[:] = [c for c in shell.configurables if not isinstance(c, kind)]
    instance = shell.magics_manager.registry.pop(kind.__name__, None)
    if instance is None:
        return
    for where, names in instance.magics.items():
        for name in names:
            shell.magics_manager.magics[where].pop(name, None)
