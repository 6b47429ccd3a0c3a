"""What `%load_ext` adds to a shell, and `%unload_ext` takes back.

Loading is quick: what shows a reply, completes a line or reads an error is imported when it is
first needed.
"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

from traitlets import TraitError
from traitlets.config.loader import DeferredConfig

from segmind_jupyter.notebook.key import say_if_missing
from segmind_jupyter.notebook.last_error import LastError
from segmind_jupyter.notebook.line import QuestionMarkTransformer, as_claude_cell
from segmind_jupyter.notebook.live.outputs import LiveOutputs
from segmind_jupyter.notebook.live.wait import WaitAtCellEnd, WaitDisplay
from segmind_jupyter.notebook.magics import ClaudeMagics
from segmind_jupyter.notebook.namespace import calling_frame
from segmind_jupyter.notebook.plots.last_plot import LastPlots
from segmind_jupyter.notebook.segmind_magic import SegmindMagics
from segmind_jupyter.session import session

#: What holds where a setting is refused that keeps something from being sent or written.
_STRICTEST: Final = {"cache": "only", "journal": False}


#: The types that a shell learns to show, and where what shows them is at home.
_DISPLAYS: Final = {
    "segmind_jupyter.api.messages.Reply": "display.reply.ReplyDisplay",
    "segmind_jupyter.comparison.Comparison": "display.reply.ComparisonDisplay",
    "segmind_jupyter.session.Request": "display.request.RequestDisplay",
    "segmind_jupyter.batch.preview.BatchPreview": "display.request.PreviewDisplay",
    "segmind_jupyter.described.Description": "alt_text.DescriptionDisplay",
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
    WaitAtCellEnd(shell, lambda: magics.wait_for_jobs).install()
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
    """How the types of this package show; each display is made when the first of its kind is."""

    def __init__(self, shell: Any, live: LiveOutputs, waits: WaitDisplay) -> None:
        self._shared = shell, live, waits
        self._made: dict[str, Any] = {}
        formatter = shell.display_formatter
        self._printers: tuple[tuple[Any, Callable[..., Any]], ...] = (
            (formatter.ipython_display_formatter, self._show_itself),
            (formatter.formatters["text/plain"], self._print),
            (formatter.formatters["text/html"], lambda value: self._of(value).html(value)),
            # Nothing but metadata of the whole output: the others have the words.
            (formatter.mimebundle_formatter, lambda value: ({}, self._of(value).about(value))),
        )

    def install(self) -> None:
        """Show them from now on; a batch shows itself where a page can."""
        for kind in _DISPLAYS:
            for formatter, printer in self._printers:
                formatter.for_type(kind, printer)
        if getattr(self._shared[0], "kernel", None) is not None:
            session().batch_shows.append(self._show_itself)
        session().description_shows.append(self._show_itself)

    def remove(self) -> None:
        """Let them show as any value; what is live stays so."""
        for kind in _DISPLAYS:
            home, _, name = kind.rpartition(".")
            met = getattr(sys.modules.get(home), name, None)  # IPython then knows it as a type
            for formatter, _ in self._printers:
                formatter.pop(kind, None)
                formatter.pop(met, None)
        if self._show_itself in session().batch_shows:
            session().batch_shows.remove(self._show_itself)
        if self._show_itself in session().description_shows:
            session().description_shows.remove(self._show_itself)

    def _of(self, value: Any) -> Any:
        kinds = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(value).__mro__)
        home = next(_DISPLAYS[kind] for kind in kinds if kind in _DISPLAYS)
        if home not in self._made:
            self._made[home] = _home(home)(*self._shared)
        return self._made[home]

    def _show_itself(self, value: Any) -> None:
        self._of(value).show_itself(value)

    def _print(self, value: Any, printer: Any, cycle: bool) -> None:
        self._of(value).print_to(printer, value)


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


# Frames

#: The frames by where they are at home; pandas 3 has another place than those before it.
_FRAMES: Final = (
    "pandas.DataFrame",
    "pandas.core.frame.DataFrame",
    "pandas.io.formats.style.Styler",
    "polars.dataframe.frame.DataFrame",
    "polars.series.series.Series",
    "polars.lazyframe.frame.LazyFrame",
    "polars.expr.expr.Expr",
)

#: What of MathJax's TeX makes an element with a style, an address, a class or a name, or loads
#: more of it; `\newcommand` and `\let` still name these.
_REACHES_OUT: Final = re.compile(
    r"\\(?:unicode|style|href|class|cssId|data|bbox|fcolorbox|enclose|mmlToken|require|texttip|mathtip|toggle"
    r"|includegraphics)(?![A-Za-z])"
)


class FrameShields:
    """Shows frames as they show themselves, and keeps from MathJax those whose TeX reaches out.

    They may hold words of a reply, wherever they were put together, and front ends typeset their
    HTML: TeX can style what it shows, with addresses that a page fetches.
    """

    def __init__(self, shell: Any) -> None:
        self._formatter = shell.display_formatter.formatters["text/html"]

    def install(self) -> None:
        """Take over what nobody else has taken over."""
        for kind in _FRAMES:
            if kind not in self._formatter:
                self._formatter.for_type_by_name(*kind.rsplit(".", 1), _shown)

    def remove(self) -> None:
        """Let them show themselves again."""
        for kind in _FRAMES:
            shows = self._formatter.pop(kind, None)
            if shows not in (None, _shown):  # somebody else's by now
                self._formatter.for_type_by_name(*kind.rsplit(".", 1), shows)


def _shown(frame: Any) -> str | None:
    from segmind_jupyter.batch.frame import shielded

    html: str | None = frame._repr_html_()
    return shielded(html) if html and _REACHES_OUT.search(html) else html
