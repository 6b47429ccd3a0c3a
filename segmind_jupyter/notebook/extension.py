"""What `%load_ext` adds to a shell, and `%unload_ext` takes back.

Loading is quick: what shows a reply, completes a line or reads an error is imported when it is
first needed.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from traitlets import TraitError

from segmind_jupyter.errors import SettingsError
from segmind_jupyter.notebook.key import say_if_missing
from segmind_jupyter.notebook.last_error import LastError
from segmind_jupyter.notebook.line import QuestionMarkTransformer, as_claude_cell
from segmind_jupyter.notebook.live.outputs import LiveOutputs
from segmind_jupyter.notebook.live.wait import WaitDisplay
from segmind_jupyter.notebook.magics import ClaudeMagics
from segmind_jupyter.notebook.plots.last_plot import LastPlots
from segmind_jupyter.notebook.segmind_magic import SegmindMagics
from segmind_jupyter.session import session

#: The types that a shell learns to show, and where what shows them is at home.
_DISPLAYS: Final = {
    "segmind_jupyter.api.messages.Reply": "display.reply.ReplyDisplay",
    "segmind_jupyter.comparison.Comparison": "display.reply.ComparisonDisplay",
    "segmind_jupyter.session.Request": "display.reply.RequestDisplay",
    "segmind_jupyter.batch.preview.BatchPreview": "display.reply.PreviewDisplay",
    "segmind_jupyter.described.Description": "alt_text.DescriptionDisplay",
    "segmind_jupyter.api.jobs.Job": "live.cards.JobDisplay",
    "segmind_jupyter.batch.batch.Batch": "live.cards.BatchDisplay",
    "segmind_jupyter.chat.Chat": "chat.panel.ChatDisplay",
}


def load(shell: Any) -> None:
    """Add the magics, claim `%claude …?`, and show replies, jobs, batches and chats."""
    unload(shell)
    try:
        magics = ClaudeMagics(shell)
    except TraitError as error:
        unload(shell)  # IPython lists an instance whose making failed
        raise SettingsError(
            f"{error} That stands in a configuration file or on the kernel's command line: mend it "
            "there, or take it out, and start the kernel again."
        ) from None
    shell.register_magics(magics, SegmindMagics(shell))
    shell.input_transformer_manager.token_transformers.insert(0, QuestionMarkTransformer)
    shell.input_transformer_manager.cleanup_transforms.append(as_claude_cell)
    live = LiveOutputs(shell)
    waits = WaitDisplay(shell, live, lambda: magics.trait_values()["wait_for_jobs"])
    magics.hooks = [
        waits,  # first, as what it brings at the end of a cell is drawn before that ends
        live,
        LastPlots(shell),
        Displays(shell, live, waits),
        FrameShields(shell),
        LastError(shell),
        Tab(shell),
    ]
    for hook in magics.hooks:
        hook.install()
    say_if_missing(shell)


def unload(shell: Any) -> None:
    """Take back what `load` added; nothing happens where nothing was."""
    loaded = shell.magics_manager.registry.get(ClaudeMagics.__name__)
    for hook in getattr(loaded, "hooks", ()):
        hook.remove()
    ours = (ClaudeMagics, SegmindMagics)
    shell.configurables[:] = [each for each in shell.configurables if not isinstance(each, ours)]
    for kind in ours:
        shell.magics_manager.registry.pop(kind.__name__, None)
    for where, names in (("line", ("claude", "segmind")), ("cell", ("claude",))):
        for name in names:
            shell.magics_manager.magics[where].pop(name, None)
    manager = shell.input_transformer_manager
    if QuestionMarkTransformer in manager.token_transformers:
        manager.token_transformers.remove(QuestionMarkTransformer)
    if as_claude_cell in manager.cleanup_transforms:
        manager.cleanup_transforms.remove(as_claude_cell)


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
            for formatter, _ in self._printers:
                formatter.pop(kind, None)
        for shows in (session().batch_shows, session().description_shows):
            if self._show_itself in shows:
                shows.remove(self._show_itself)

    def _of(self, value: Any) -> Any:
        kinds = (f"{kind.__module__}.{kind.__qualname__}" for kind in type(value).__mro__)
        home = next(_DISPLAYS[kind] for kind in kinds if kind in _DISPLAYS)
        if home not in self._made:
            place, _, name = home.rpartition(".")
            module = importlib.import_module(f"segmind_jupyter.notebook.{place}")
            self._made[home] = getattr(module, name)(*self._shared)
        return self._made[home]

    def _show_itself(self, value: Any) -> None:
        self._of(value).show_itself(value)

    def _print(self, value: Any, printer: Any, cycle: bool) -> None:
        self._of(value).print_to(printer, value)


class Tab:
    """Completes our magics, by what the first Tab in one imports; all others IPython completes."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell

    def install(self) -> None:
        """Stand before the shell's completer."""
        self._shell.Completer.completions = self._completions

    def remove(self) -> None:
        """Let the completer be as its class says."""
        vars(self._shell.Completer).pop("completions", None)

    def _completions(self, text: str, offset: int) -> Iterator[Any]:
        found = None
        if "%claude" in text or "%segmind" in text:
            from segmind_jupyter.notebook.completion import completions

            found = completions(self._shell, text, offset)
        completer = self._shell.Completer
        yield from type(completer).completions(completer, text, offset) if found is None else found


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
