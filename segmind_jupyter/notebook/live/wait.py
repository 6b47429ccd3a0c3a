"""What a cell shows while it waits: one line, whose place the reply takes; when it ends."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import html
import shutil
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from IPython.display import display

from segmind_jupyter.notebook.display.styles import div, framed
from segmind_jupyter.notebook.live import outputs
from segmind_jupyter.notebook.plots.last_plot import observed
from segmind_jupyter.session import Request, session
from segmind_jupyter.words import one_line

if TYPE_CHECKING:
    from segmind_jupyter.api.loop import WaitView
    from segmind_jupyter.session import Work

#: Objects that the line shows in small; of more there are names.
_MAX_ITEMS: Final = 6


class WaitDisplay:
    """Shows that a cell waits, in one output of it.

    That output is the reply's if the reply is what the cell puts out next, at whatever depth it was
    asked for. Otherwise it is empty, and the next wait of the cell shows there.
    """

    def __init__(self, shell: Any, live: outputs.LiveOutputs, policy: Callable[[], str]) -> None:
        self._shell, self._live, self._policy = shell, live, policy
        live.take = self.take
        #: What has shown itself in the running cell, as a batch does.
        self._shown: list[Any] = []
        self._line: WaitLine
        self._place: outputs.OutputHandle | None = None
        self._observers: list[Callable[[], None]] = []
        #: Whether nothing stands below the line, and whether nothing does above it either.
        self._is_last = self._is_only = False
        self._is_over = False

    def install(self) -> None:
        session().wait_shows.append(self.begin)
        session().unattended = lambda: is_headless(self._shell)
        self._shell.events.register("pre_run_cell", self._begin_cell)
        self._shell.events.register("post_run_cell", self._end_cell)

    def remove(self) -> None:
        if self.begin in session().wait_shows:
            session().wait_shows.remove(self.begin)
        session().unattended = lambda: False
        self._shell.events.unregister("pre_run_cell", self._begin_cell)
        self._shell.events.unregister("post_run_cell", self._end_cell)
        self._leave()

    def begin(self, of: Any) -> WaitView | None:
        """Return what shows this wait; `None` where something does already, or nobody looks."""
        if any(each is of for each in self._shown):
            return None
        if getattr(self._shell, "kernel", None) is None:
            return _OnTerminal(WaitLine(of)) if sys.stderr.isatty() else None
        if getattr(self._shell.display_pub, "pub_socket", None) is None:  # it is captured
            return None
        self._line = WaitLine(of)
        return self

    def has_shown(self, value: Any) -> bool:
        """Return whether it has shown itself in this cell; from now on it has."""
        known = any(each is value for each in self._shown)
        self._shown.append(value)
        return known

    def draw(self, seconds: float) -> None:
        """Show the line, after so many seconds (`api.loop.WaitView`)."""
        with outputs.attempted(), self._live.paused:
            self._is_over = False
            bundle = self._line.bundle(seconds)
            if self._place is not None:
                self._live.replace(self._place, bundle)
                return
            self._close()
            self._place, self._is_last = self._live.put(bundle), True
            self._watch()

    def end(self, *, answered: bool) -> None:
        """Keep the place a moment for the reply; without one, leave nothing."""
        self._is_over = True
        if answered and self._is_last:
            self._live.draw_soon(self._settle, at_s=time.monotonic() + outputs.TICK_S)
        else:
            self._empty()

    def take(self) -> outputs.OutputHandle | None:
        """Give away the place where the cell waited, if what is shown now can stand there."""
        with self._live.paused:
            if self._place is None or not (self._is_last and self._is_over):
                return None
            place = self._place
            self._forget()
        return place

    def _settle(self) -> bool:
        """Leave nothing where the reply is not shown at once (`outputs.Drawing`)."""
        if self._is_over:
            self._empty()
        return False

    def _begin_cell(self, info: Any = None) -> None:
        """Learn whether the cell is ours alone, and hear of what else it puts out."""
        self._leave()
        self._shown.clear()
        first_line = (getattr(info, "raw_cell", None) or "").lstrip().partition("\n")[0]
        self._is_only = first_line.startswith("%%claude") and "--alt" not in first_line.split()
        if self._is_only and getattr(self._shell, "kernel", None) is not None:
            self._watch()

    def _end_cell(self, result: Any = None) -> None:
        """Where nobody looks on, end with the replies of the jobs: later they are in no file.

        What failed is raised by the next `%segmind wait`: here it would be no cell's failure.
        """
        policy = self._policy()
        if policy == "always" or (policy == "headless" and is_headless(self._shell)):
            try:
                for work in session().pending:
                    wait_until_done(work)
                    show_ended(self._shell, work)
            except KeyboardInterrupt:
                print("Stopped waiting; the jobs go on. `%segmind wait` waits again.")  # noqa: T201
        self._leave()

    def _leave(self) -> None:
        self._empty()
        self._forget()

    def _empty(self) -> None:
        """Take the line away: wholly, where the cell has put out nothing else."""
        with self._live.paused:
            if self._place is not None and self._is_only:
                with outputs.attempted():
                    self._shell.display_pub.clear_output()
                self._forget()
            elif self._place is not None and self._place.holds:
                self._live.replace(self._place, {})

    def _forget(self, *_: object, **__: object) -> None:
        self._place, self._is_last, self._is_only, self._is_over = None, False, False, False
        self._close()

    def _watch(self) -> None:
        """Hear of the next output of the cell that is not the line."""
        publisher = self._shell.display_pub
        for owner, method, hear in (
            (sys.stdout, "write", self._hear),
            (sys.stderr, "write", self._hear),
            (publisher, "publish", self._hear),
            (publisher, "clear_output", self._forget),
        ):
            with contextlib.suppress(Exception):  # a stream may be anything
                self._observers.append(observed(owner, method, hear))

    def _hear(self, *_: object, update: bool = False, **__: object) -> None:
        # No lock is taken: whoever writes may hold one.
        if not update:
            self._is_last = self._is_only = False
            self._close()
            self._live.draw_soon(self._settle)

    def _close(self) -> None:
        while self._observers:
            self._observers.pop()()


class WaitLine:
    """What a wait says of itself: how it stands, what was sent, and what Interrupt does."""

    def __init__(self, of: Any) -> None:
        from segmind_jupyter.content.prompt import estimated_tokens

        is_batch, is_call = hasattr(of, "progress"), isinstance(of, Request)
        request = of if is_call else getattr(of, "request", None)
        tokens = getattr(request, "tokens", None)
        self._of = of
        self._sent = getattr(request, "sent", ())
        self._model = getattr(of, "model", None)
        self._expected_s: float | None = None
        if self._model and not is_batch:
            self._expected_s = session().expected_s(self._model)
        self._names = ", ".join(one_line(item.name or item.label) for item in self._sent)
        self._facts = [] if tokens is None else [estimated_tokens(tokens)]
        gives_up = "gives up" if is_call else "gives up the wait; the job goes on"
        self._facts.append(f"Interrupt {'sends nothing more' if is_batch else gives_up}")

    def status(self, seconds: float) -> outputs.StatusLine:
        state = "asking" if isinstance(self._of, Request) else "waiting"
        state = str(getattr(self._of, "status", state)).lower()
        if hasattr(self._of, "progress"):
            state += f", {self._of.progress}"
        seconds = getattr(self._of, "elapsed_s", seconds)
        return outputs.StatusLine(state, self._model, seconds, "works", self._expected_s)

    def text(self, seconds: float) -> str:
        facts = [self.status(seconds).text(), self._names, *self._facts]
        return " · ".join(filter(None, facts))

    def bundle(self, seconds: float) -> outputs.Bundle:
        page = framed(self.status(seconds).html() + self._below)
        return {"text/html": page, "text/plain": self.text(seconds)}

    @functools.cached_property
    def _below(self) -> str:
        from segmind_jupyter.notebook.display.reply import sent_html

        row = sent_html(self._sent) if 0 < len(self._sent) <= _MAX_ITEMS else ""
        facts = filter(None, ["" if row else self._names, *self._facts])
        return div("about", row + html.escape(" · ".join(facts)))


class _OnTerminal:
    """The line on a terminal, written over and over, and wiped at the end."""

    def __init__(self, line: WaitLine) -> None:
        self._line, self._terminal = line, sys.stderr

    def draw(self, seconds: float) -> None:
        width = shutil.get_terminal_size().columns
        self._write(self._line.text(seconds)[: width - 1])

    def end(self, *, answered: bool) -> None:
        self._write("")

    def _write(self, words: str) -> None:
        # To the start of the line, which is cleared (ECMA-48's EL).
        with outputs.attempted():
            print(f"\r\x1b[K{words}", end="", file=self._terminal, flush=True)


def wait_until_done(work: Work) -> None:
    """Wait until it has ended, as all does, and leave it alone if the wait is interrupted."""
    end: concurrent.futures.Future[None] = concurrent.futures.Future()
    work.on_done(lambda _: end.set_result(None))
    session().waiter(end, of=work)


def show_ended(shell: Any, work: Work) -> None:
    """Show what came of it in a terminal, where nothing turns into that."""
    if getattr(shell, "kernel", None) is None:
        display(work)


def is_headless(shell: Any) -> bool:
    """Return whether a program sent the cell: it answers no `input()` (`allow_stdin`)."""
    kernel = getattr(shell, "kernel", None)
    return kernel is not None and getattr(kernel, "_allow_stdin", True) is False
