"""What `%load_ext` adds to a shell, and `%unload_ext` takes back."""

from __future__ import annotations

import warnings
from typing import Any, Final

from traitlets import TraitError
from traitlets.config.loader import DeferredConfig

from segmind_jupyter.notebook.chat.panel import ChatDisplay
from segmind_jupyter.notebook.completion import Completion
from segmind_jupyter.notebook.display.reply import ReplyDisplay, RequestDisplay, SuppressedValues
from segmind_jupyter.notebook.last_error import LastError
from segmind_jupyter.notebook.line import QuestionMarkTransformer
from segmind_jupyter.notebook.live.cards import BatchDisplay, JobDisplay
from segmind_jupyter.notebook.live.headless import WaitAtCellEnd
from segmind_jupyter.notebook.live.outputs import LiveOutputs
from segmind_jupyter.notebook.magics import ClaudeMagics
from segmind_jupyter.notebook.plots.last_plot import LastPlots
from segmind_jupyter.notebook.segmind_magic import SegmindMagics

#: What holds where a setting is refused that keeps something from being sent or written.
_STRICTEST: Final = {"cache": "only", "journal": False}


def load(shell: Any) -> None:
    """Add the magics, claim `%claude …?`, and show replies, jobs, batches and chats."""
    unload(shell)
    live, hushed = LiveOutputs(shell), SuppressedValues(shell)
    displays = ReplyDisplay(shell, hushed)
    magics = _configured(shell, displays)
    shell.register_magics(magics, SegmindMagics(shell))
    shell.input_transformer_manager.token_transformers.insert(0, QuestionMarkTransformer)
    for display in (
        displays,
        JobDisplay(shell, live, hushed),
        BatchDisplay(shell, live, hushed),
        ChatDisplay(shell, live, hushed),
        RequestDisplay(shell, hushed),
    ):
        display.install()
    # In this order: the wait comes first, and what it brought is drawn before the cell ends.
    WaitAtCellEnd(shell, lambda: magics.wait_for_jobs).install()
    live.install()
    LastPlots(shell).install()
    LastError(shell).install()
    Completion(shell).install()


def _configured(shell: Any, displays: ReplyDisplay) -> ClaudeMagics:
    """Make the magics; a setting that they refuse costs the user neither them nor the others."""
    try:
        return ClaudeMagics(shell, displays=displays)
    except TraitError:
        _unregister(shell, ClaudeMagics)
        wanted = shell.config.pop(ClaudeMagics.__name__)
    magics = ClaudeMagics(shell, displays=displays)
    for name, value in wanted.items():
        if magics.has_trait(name):
            _set(magics, name, value)
    return magics


def _set(magics: ClaudeMagics, name: str, value: Any) -> None:
    """Set one of their traits as a configuration says; a refused one is told."""
    if isinstance(value, DeferredConfig):  # from a command line
        value = value.get_value(magics.traits()[name])
    try:
        setattr(magics, name, value)
    except TraitError as error:
        if name in _STRICTEST:
            setattr(magics, name, _STRICTEST[name])
        kept = getattr(magics, name)
        warnings.warn(f"{error}. So ClaudeMagics.{name} is {kept!r}.", stacklevel=5)


def unload(shell: Any) -> None:
    """Take back what `load` added; nothing happens where nothing was."""
    for magics in (ClaudeMagics, SegmindMagics):
        _unregister(shell, magics)
    transformers = shell.input_transformer_manager.token_transformers
    if QuestionMarkTransformer in transformers:
        transformers.remove(QuestionMarkTransformer)
    for kind in (ReplyDisplay, JobDisplay, BatchDisplay, ChatDisplay, RequestDisplay):
        kind(shell).remove()
    WaitAtCellEnd.remove(shell)
    LiveOutputs.remove(shell)
    LastPlots.remove(shell)
    LastError.remove(shell)
    Completion.remove(shell)


def _unregister(shell: Any, kind: type[Any]) -> None:
    # By type, as IPython also lists an instance whose making failed.
    shell.configurables[:] = [c for c in shell.configurables if not isinstance(c, kind)]
    instance = shell.magics_manager.registry.pop(kind.__name__, None)
    if instance is None:
        return
    for where, names in instance.magics.items():
        for name in names:
            shell.magics_manager.magics[where].pop(name, None)
