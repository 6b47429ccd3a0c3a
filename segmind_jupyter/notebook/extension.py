"""What `%load_ext` adds to a shell, and `%unload_ext` takes back.

Loading is quick: what shows a reply, completes a line or reads an error is imported when it is
first needed.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

from traitlets import TraitError
from traitlets.config.loader import DeferredConfig

from segmind_jupyter.notebook.display.frames import FrameShields
from segmind_jupyter.notebook.key import say_if_missing
from segmind_jupyter.notebook.last_error import LastError
from segmind_jupyter.notebook.line import QuestionMarkTransformer, as_claude_cell
from segmind_jupyter.notebook.live.headless import WaitAtCellEnd
from segmind_jupyter.notebook.live.outputs import LiveOutputs
from segmind_jupyter.notebook.live.wait import WaitDisplay
from segmind_jupyter.notebook.magics import ClaudeMagics
from segmind_jupyter.notebook.namespace import calling_frame
from segmind_jupyter.notebook.plots.last_plot import LastPlots
from segmind_jupyter.notebook.segmind_magic import SegmindMagics
from segmind_jupyter.session import session

#: What holds where a setting is refused that keeps something from being sent or written.
_STRICTEST: Final = {"cache": "only", "journal": False}

_DESCRIPTION: Final = "segmind_jupyter.described.Description"

#: The types that a shell learns to show, and where what shows them is at home.
_DISPLAYS: Final = {
    "segmind_jupyter.api.messages.Reply": "display.reply.ReplyDisplay",
    "segmind_jupyter.comparison.Comparison": "display.comparison.ComparisonDisplay",
    "segmind_jupyter.session.Request": "display.request.RequestDisplay",
    "segmind_jupyter.batch.preview.BatchPreview": "display.request.PreviewDisplay",
    _DESCRIPTION: "alt_text.DescriptionDisplay",
    "segmind_jupyter.api.jobs.Job": "live.cards.JobDisplay",
    "segmind_jupyter.batch.batch.Batch": "live.cards.BatchDisplay",
    "segmind_jupyter.chat.Chat": "chat.panel.ChatDisplay",
}


def load(shell: Any) -> None:
    """Add the magics, claim `%claude …?`, and show replies, jobs, batches and chats."""
    unload(shell)
    magics = _configured(shell)
    shell.register_magics(magics, SegmindMagics(shell))
    shell.input_transformer_manager.token_transformers.insert(0, QuestionMarkTransformer)
    shell.input_transformer_manager.cleanup_transforms.append(as_claude_cell)
    live = LiveOutputs(shell)
    waits = WaitDisplay(shell, live)
    others = Displays(shell, live, waits), FrameShields(shell), LastError(shell), Tab(shell)
    magics.hooks = [waits, *others]
    # In this order: the wait comes first, and what it brought is drawn before the cell ends.
    WaitAtCellEnd(shell, lambda: magics.trait_values()["wait_for_jobs"]).install()
    waits.install()
    live.install()
    LastPlots(shell).install()
    for hook in others:
        hook.install()
    _ask_what_was_read_before(shell)
    say_if_missing(shell)


def unload(shell: Any) -> None:
    """Take back what `load` added; nothing happens where nothing was."""
    loaded = shell.magics_manager.registry.get(ClaudeMagics.__name__)
    for hook in getattr(loaded, "hooks", ()):
        hook.remove()
    for magics in (ClaudeMagics, SegmindMagics):
        _unregister(shell, magics)
    manager = shell.input_transformer_manager
    if QuestionMarkTransformer in manager.token_transformers:
        manager.token_transformers.remove(QuestionMarkTransformer)
    if as_claude_cell in manager.cleanup_transforms:
        manager.cleanup_transforms.remove(as_claude_cell)
    WaitAtCellEnd.remove(shell)
    LiveOutputs.remove(shell)
    LastPlots.remove(shell)


def _configured(shell: Any) -> ClaudeMagics:
    """Make the magics; a setting that they refuse costs the user neither them nor the others."""
    try:
        return ClaudeMagics(shell)
    except TraitError:
        _unregister(shell, ClaudeMagics)
        wanted = shell.config.pop(ClaudeMagics.__name__)
    magics = ClaudeMagics(shell)
    for name, value in wanted.items():
        if not magics.has_trait(name):
            continue
        if isinstance(value, DeferredConfig):  # from a command line
            value = value.get_value(magics.traits()[name])
        try:
            setattr(magics, name, value)
        except TraitError as error:
            if name in _STRICTEST:
                setattr(magics, name, _STRICTEST[name])
            kept = getattr(magics, name)
            warnings.warn(f"{error}. So ClaudeMagics.{name} is {kept!r}.", stacklevel=4)
    return magics


def _unregister(shell: Any, kind: type[Any]) -> None:
    # By type, as IPython also lists an instance whose making failed.
    shell.configurables[:] = [c for c in shell.configurables if not isinstance(c, kind)]
    instance = shell.magics_manager.registry.pop(kind.__name__, None)
    if instance is None:
        return
    for where, names in instance.magics.items():
        for name in names:
            shell.magics_manager.magics[where].pop(name, None)


def _home(path: str) -> Any:
    """Import a class of this package's by where it is."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(f"segmind_jupyter.notebook.{module}"), name)


class Displays:
    """The displays of the types of this package, each made when the first of its kind is shown."""

    def __init__(self, shell: Any, live: LiveOutputs, waits: WaitDisplay) -> None:
        self._shell, self._live, self._waits = shell, live, waits
        self._hushed: Any = None
        self._made: dict[str, Any] = {}

    def install(self) -> None:
        """Have each made at its first value; a batch shows itself where a page can."""
        for kind, home in _DISPLAYS.items():
            for formatter in self._formatters:
                formatter.for_type(kind, self._first(formatter, home))
        if getattr(self._shell, "kernel", None) is not None:
            session().batch_shows.append(self._show_batch)
        session().description_shows.append(self._show_description)

    def remove(self) -> None:
        """Take them back; what is live stays so."""
        for display in self._made.values():
            display.remove()
        for kind in _DISPLAYS:
            for formatter in self._formatters:
                formatter.pop(kind, None)
        if self._show_batch in session().batch_shows:
            session().batch_shows.remove(self._show_batch)
        if self._show_description in session().description_shows:
            session().description_shows.remove(self._show_description)

    @property
    def _formatters(self) -> tuple[Any, ...]:
        formatter = self._shell.display_formatter
        kinds = ("text/plain", "text/html")
        return formatter.ipython_display_formatter, *(formatter.formatters[k] for k in kinds)

    def _first(self, formatter: Any, home: str) -> Callable[..., Any]:
        def show(value: Any, *args: Any) -> Any:
            self._make(home)
            return formatter.lookup(value)(value, *args)

        return show

    def _make(self, home: str) -> Any:
        if home not in self._made:
            if self._hushed is None:
                self._hushed = _home("display.reply.SuppressedValues")(self._shell)
                self._waits.shown = self._hushed
            of_reply = self._hushed, self._show_in_place
            shared = of_reply if home.startswith("display.") else (self._live, self._hushed)
            self._made[home] = _home(home)(self._shell, *shared)
            kind = next(kind for kind, at in _DISPLAYS.items() if at == home)
            for formatter in self._formatters:
                formatter.pop(kind, None)
            self._made[home].install()
        return self._made[home]

    def _show_in_place(self, drawn: Callable[[], tuple[Any, Any]]) -> bool:
        """Show what is drawn where a cell waited for it; `False` where none did."""
        if not self._waits.can_take:
            return False
        bundle, metadata = drawn()
        place = self._waits.take()
        if place is not None:
            self._live.replace(place, bundle, metadata)
        return place is not None

    def _show_batch(self, batch: Any) -> None:
        """Show a batch where it is begun."""
        self._make(_DISPLAYS["segmind_jupyter.batch.batch.Batch"]).show(batch)

    def _show_description(self, description: Any) -> None:
        self._make(_DISPLAYS[_DESCRIPTION]).show(description)


class Tab:
    """Completes our magics, by what the first Tab in one imports; all others IPython completes."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._overridden: Any = None

    def install(self) -> None:
        """Stand before the completer, where the shell has one."""
        completer = getattr(self._shell, "Completer", None)
        if completer is not None:
            self._overridden = vars(completer).get("completions")
            completer.completions = self._completions

    def remove(self) -> None:
        """Give the completer back; nothing happens where nothing was installed."""
        completer: Any = getattr(self._shell, "Completer", None)
        if getattr(completer, "completions", None) == self._completions:
            del completer.completions
            if self._overridden is not None:
                completer.completions = self._overridden

    def _completions(self, text: str, offset: int) -> Iterator[Any]:
        found = None
        if "%claude" in text or "%segmind" in text:
            from segmind_jupyter.notebook.completion import completions

            found = completions(self._shell, text, offset)
        if found is None:
            completer = self._shell.Completer
            theirs = self._overridden or type(completer).completions.__get__(completer)
            found = theirs(text, offset)
        yield from found


_QUESTION: Final = re.compile(r"(?m)^.*?%claude[ \t]+(?P<rest>\S.*\?)[ \t]*$")


def _ask_what_was_read_before(shell: Any) -> None:
    """Let `%claude …?` ask in the very cell that loads the extension.

    IPython has read that cell by now, and taken the line for a question about its last word.
    """
    history = getattr(shell, "history_manager", None)
    cell = history.input_hist_raw[-1] if history is not None and calling_frame() else ""
    asked = [match["rest"] for match in _QUESTION.finditer(cell)]
    if not asked:
        return
    pinfo = shell.magics_manager.magics["line"]["pinfo"]

    def ask_instead(line: str = "") -> Any:
        for rest in asked:
            if rest.rstrip("? ").endswith(line.strip("? ")):
                asked.remove(rest)
                return shell.run_line_magic("claude", rest)
        return pinfo(line)

    def give_back(result: Any = None) -> None:
        shell.events.unregister("post_run_cell", give_back)
        shell.magics_manager.magics["line"]["pinfo"] = pinfo

    shell.magics_manager.magics["line"]["pinfo"] = ask_instead
    shell.events.register("post_run_cell", give_back)
