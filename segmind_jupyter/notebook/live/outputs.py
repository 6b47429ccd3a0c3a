"""Outputs that change after their cell has ended: drawn once a second, replaced at their end.

It knows when to draw and what a kernel's messages need; what is drawn, the views know.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from segmind_jupyter.notebook.display.styles import FRAME, one_line_html
from segmind_jupyter.session import session
from segmind_jupyter.words import format_duration, one_line

#: What an output holds, by MIME type.
Bundle = Mapping[str, Any]

#: Shows how something stands that changes, such as a chat or a job's card; tells whether time
#: alone will change that.
Drawing = Callable[[], bool]

#: How often what is live is drawn anew.
TICK_S: Final = 1.0

_log = logging.getLogger(__name__)

Mark = Literal["waits", "works", "ended"]

#: What stands before a state.
DOTS: Final = {"waits": "○", "works": "●", "ended": "✓"}


@dataclass(frozen=True)
class StatusLine:
    """The head line of whatever goes on: ``● Processing · claude-4-sonnet · 12 s``."""

    state: str
    model: str | None = None
    seconds: float | None = None
    mark: Mark = "waits"
    expected_s: float | None = None

    def html(self) -> str:
        """Return it for a page: the dot is full while the model itself is at work."""
        dot = f'<span style="{FRAME[self.mark]}">{DOTS[self.mark]}</span>'
        state, *others = map(one_line_html, self._facts())
        rest = f' <span style="{FRAME["quiet"]}">· {" · ".join(others)}</span>' if others else ""
        return f'<div style="{FRAME["head"]}">{dot} <strong>{state}</strong>{rest}</div>'

    def text(self) -> str:
        return f"{DOTS[self.mark]} {' · '.join(map(one_line, self._facts()))}"

    def _facts(self) -> list[str]:
        passed = None if self.seconds is None else format_duration(self.seconds)
        facts = [self.state[:1].upper() + self.state[1:], self.model, passed]
        until_s = session().paused_until if self.mark != "ended" else None
        if until_s is not None and until_s > time.time():
            facts.append(f"limit reached, goes on at {datetime.fromtimestamp(until_s):%H:%M:%S}")
        elif self.expected_s is not None:
            facts.append(f"about {format_duration(self.expected_s)} for this model")
        return [fact for fact in facts if fact]


@dataclass(eq=False)
class OutputHandle:
    """An output of a cell that can be replaced later."""

    #: Of the cell that showed it: a later one may capture what is published then.
    publish: Callable[..., object]
    holds: Bundle
    metadata: Mapping[str, Any]
    name: str = field(default_factory=lambda: f"segmind-{uuid.uuid4().hex}")

    def show(self, *, update: bool = True) -> None:
        name = {"display_id": self.name}
        self.publish(data=self.holds, metadata=self.metadata, transient=name, update=update)


class LiveOutputs:
    """The live outputs of one shell.

    One thread serves them all, and ends when nothing is live. It is not the background loop's:
    to render a reply, or to flush the kernel's streams, takes longer than other jobs should wait.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        #: Gives the place where the cell waited, if what is shown now can stand there.
        self.take: Callable[[], OutputHandle | None] = lambda: None
        #: Held while one output is drawn, so that two threads never draw the same one.
        self.paused = threading.RLock()
        #: When each is to be drawn next, on the monotonic clock; 0 is at once.
        self._times: dict[Drawing, float] = {}
        #: What was replaced since the last cell ended: nbclient listens while a cell runs.
        self._late: dict[OutputHandle, None] = {}
        self._context = contextvars.copy_context()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        # Held for a moment, also by threads that must not wait for a drawing.
        self._lock = threading.Lock()

    def install(self) -> None:
        """Follow the shell's cells; after whatever else waits for work at their end."""
        self._shell.events.register("pre_run_cell", self._begin_cell)
        self._shell.events.register("post_run_cell", self._end_cell)

    def remove(self) -> None:
        """Follow no more cells; what is live goes on to its end."""
        self._shell.events.unregister("pre_run_cell", self._begin_cell)
        self._shell.events.unregister("post_run_cell", self._end_cell)

    def put(self, bundle: Bundle, metadata: Any = None) -> OutputHandle:
        """Show something below the running cell, which `replace` changes later."""
        place = OutputHandle(self._shell.display_pub.publish, bundle, metadata or {})
        with self.paused:
            place.show(update=False)
            self._context = contextvars.copy_context()
        return place

    def put_where_waited(self, bundle: Bundle, metadata: dict[str, Any]) -> None:
        """Show something where the cell waited, if it has shown nothing since; else below."""
        place = self.take()
        if place is None:
            self.put(bundle, metadata)
        else:
            self.replace(place, bundle, metadata)

    def replace(self, place: OutputHandle, bundle: Bundle, metadata: Any = None) -> None:
        """Show something else in its place, and again in the next cell where none runs."""
        with self.paused:
            place.holds, place.metadata = bundle, metadata or {}
            with attempted():
                place.show()
            self._late[place] = None

    def draw_soon(self, drawing: Drawing, *, at_s: float = 0.0) -> None:
        """Have it drawn, on the thread of this, then each second for as long as it changes."""
        with self._lock:
            self._times[drawing] = min(at_s, self._times.get(drawing, at_s))
            if self._thread is None:
                name = "segmind-jupyter-live"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
        self._wake.set()

    def drawn(self, drawing: Drawing) -> None:
        """Draw it here and now."""
        with self.paused:
            with self._lock:
                self._times.pop(drawing, None)
            try:
                changes = drawing()
            except Exception:  # noqa: BLE001 - one that cannot be drawn must not end the others
                _log.exception("%r could not be drawn", drawing)
                changes = False
            if changes:
                self.draw_soon(drawing, at_s=time.monotonic() + TICK_S)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._times:
                    self._thread = None
                    return
                next_s = min(self._times.values())
            self._wake.wait(max(0.0, next_s - time.monotonic()))
            self._wake.clear()
            # A message names its cell, which ipykernel 7 takes from the context (7.0 fails without
            # one). It must be the latest cell, as nbclient drops what names another.
            self._context.run(self._draw_until, time.monotonic())

    def _draw_until(self, moment_s: float) -> None:
        """Draw all that is due by then, one at a time: other threads get their turn between two."""
        while True:
            with self.paused:
                with self._lock:
                    due = next((each for each, s in self._times.items() if s <= moment_s), None)
                if due is None:
                    return
                self.drawn(due)

    def _begin_cell(self, *_: object) -> None:
        self._context = contextvars.copy_context()
        with self.paused:
            for place in self._late:
                with attempted():
                    place.show()

    def _end_cell(self, *_: object) -> None:
        """Draw all that is live: a saved notebook may hear no more of what ended in the cell."""
        with self.paused:
            with self._lock:
                self._times = dict.fromkeys(self._times, 0.0)
            self._draw_until(0.0)
            self._late.clear()


@contextlib.contextmanager
def attempted() -> Iterator[None]:
    """Draw, if the page can be reached from this thread: what comes next must show in any case."""
    try:
        yield
    except Exception:  # noqa: BLE001 - as where a kernel takes nothing from a thread
        _log.debug("a live output could not be drawn", exc_info=True)
