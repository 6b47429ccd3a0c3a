"""Outputs that change after their cell has ended: drawn once a second, replaced at their end.

It knows when to draw and what a kernel's messages need; what is drawn, the views know.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from segmind_jupyter.notebook.display.styles import FRAME, one_line_html
from segmind_jupyter.session import session
from segmind_jupyter.words import format_duration, one_line

if TYPE_CHECKING:
    from segmind_jupyter.notebook.live.cards import Card

#: What an output holds, by MIME type.
Bundle = Mapping[str, Any]

#: How often what is live is drawn anew.
TICK_S: Final = 1.0

#: Most views that are drawn anew in one tick. Where more are live they take turns: a server
#: allows a kernel a thousand messages a second (`iopub_msg_rate_limit`), and a page far fewer.
_REDRAWS_PER_TICK: Final = 20

#: So many ended views keep their widgets. A page that was reloaded while they were live does not
#: get the update that replaces them: only their widgets' state reaches it. Each costs some ten
#: widgets of the kernel's memory, so the oldest are closed; their replies are in the journal.
_KEPT_OPEN: Final = 50

#: Most endings that are sent once more; each may hold a long reply.
_MAX_UNHEARD: Final = 200

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
        """Return it for a terminal."""
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


class Redrawable(Protocol):
    """What shows something that has no end of its own, such as a chat."""

    def draw(self) -> bool:
        """Show how it stands now; tell whether time alone will change that."""


@dataclass(eq=False)
class OutputHandle:
    """An output of a cell that can be replaced later.

    The publisher is the one that showed it: a later cell may capture what is published then.
    """

    publish: Callable[..., object]
    name: dict[str, str] = field(
        default_factory=lambda: {"display_id": f"segmind-{uuid.uuid4().hex}"}
    )
    #: What it shows by now, which may be nothing; `None` for what it showed first.
    holds: Bundle | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def put(self, bundle: Bundle) -> None:
        """Show it for the first time, below the cell that runs."""
        self.publish(data=bundle, metadata={}, transient=self.name)

    def replace(self) -> None:
        """Have the page show what it holds by now."""
        if self.holds is not None:
            self.publish(data=self.holds, metadata=self.metadata, transient=self.name, update=True)


class LiveOutputs:
    """The live outputs of one shell.

    One thread serves them all, and ends when nothing is live. It is not the background loop's:
    to render a reply, or to flush the kernel's streams, takes longer than other jobs should wait.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        #: Gives the place where the cell waited, if what is shown now can stand there.
        self.take: Callable[[], OutputHandle | None] = lambda: None
        self._shown: deque[tuple[Card[Any], OutputHandle]] = deque()
        self._open: deque[Callable[[], None]] = deque()
        self._unheard: deque[OutputHandle] = deque(maxlen=_MAX_UNHEARD)
        # What is to be drawn now, and once more at the next tick; dicts, as these keep the order.
        self._due: dict[Redrawable, None] = {}
        self._ticking: dict[Redrawable, None] = {}
        self._in_cell = False
        self._context = contextvars.copy_context()
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        # Held while one output is drawn, so that two threads never draw the same one.
        self._drawing = threading.RLock()
        # Held for a moment, also by threads that must not wait for a drawing.
        self._lock = threading.Lock()

    def install(self) -> None:
        """Follow the shell's cells; after whatever else waits for work at their end."""
        self._shell.events.register("pre_run_cell", self._begin_cell)
        self._shell.events.register("post_run_cell", self._end_cell)

    @staticmethod
    def remove(shell: Any) -> None:
        """Take back what any `LiveOutputs` installed; what is live there goes on to its end."""
        for event in ("pre_run_cell", "post_run_cell"):
            for callback in list(shell.events.callbacks[event]):
                if isinstance(getattr(callback, "__self__", None), LiveOutputs):
                    shell.events.unregister(event, callback)

    def show(self, view: Card[Any]) -> None:
        """Show a view below the running cell: live if its work goes on, else as it has ended."""
        if view.work.done():
            bundle, metadata, place = view.end(), view.metadata(), self.take()
            if place is None:
                self._shell.display_pub.publish(data=bundle, metadata=metadata)
            else:
                self.replace(place, bundle, metadata)
            return
        with self._drawing:
            self._shown.append((view, self.put(view.begin())))
            self._go_on()
        view.work.on_done(lambda _: self._wake.set())

    def put(self, bundle: Bundle) -> OutputHandle:
        """Show something below the running cell, which `replace` changes later."""
        place = OutputHandle(self._shell.display_pub.publish)
        with self._drawing:
            place.put(bundle)
            self._context = contextvars.copy_context()
        return place

    def replace(
        self, place: OutputHandle, bundle: Bundle | None, metadata: dict[str, Any] | None = None
    ) -> None:
        """Show something else in its place, and again in the next cell if nobody listens now."""
        with self._drawing:
            place.holds, place.metadata = bundle, metadata or {}
            heard = attempt(place.replace)
            if not (heard and self._in_cell) and place not in self._unheard:
                self._unheard.append(place)

    def draw_soon(self, drawing: Redrawable) -> None:
        """Have something drawn at once, then each second for as long as it changes with time.

        It is drawn on the thread of this, or where a cell ends; any thread may ask for it.
        """
        with self._lock:
            self._due[drawing] = None
        self._go_on()
        self._wake.set()

    def drawn(self, drawing: Redrawable) -> None:
        """Draw something here and now, on the calling thread."""
        with self._drawing:
            try:
                changes = drawing.draw()
            except Exception:  # noqa: BLE001 - one that cannot be drawn must not end the others
                _log.exception("%r could not be drawn", drawing)
                changes = False
            with self._lock:
                self._ticking.pop(drawing, None)
                if changes:
                    self._ticking[drawing] = None
            if changes:
                self._go_on()

    @property
    def paused(self) -> AbstractContextManager[object]:
        """A context in which no other thread draws anything."""
        return self._drawing

    def settle(self) -> None:
        """Have the page show all that happened until now."""
        self._draw_all()
        self._send_unheard()

    def _go_on(self) -> None:
        """Have a thread that draws."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="segmind-jupyter-live", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        """Draw until nothing is live."""
        next_tick = time.monotonic() + TICK_S
        while True:
            with self._lock:
                if not (self._shown or self._due or self._ticking):
                    self._thread = None
                    return
            self._wake.wait(max(0.0, next_tick - time.monotonic()))
            self._wake.clear()
            # A message names its cell, which ipykernel 7 takes from the context (7.0 fails without
            # one). It must be the latest cell, as nbclient drops what names another.
            self._context.run(self._draw_all)
            if time.monotonic() >= next_tick:
                self._context.run(self._tick)
                next_tick = time.monotonic() + TICK_S

    def _draw_all(self) -> None:
        """End what has ended, and draw all that waits for it.

        One at a time: who settles must not find something taken and not yet drawn, and other
        threads get their turn between two.
        """
        while self._end_one():
            pass
        while self._draw_next():
            pass

    def _end_one(self) -> bool:
        """End one view whose work has ended; `False` if there is none."""
        with self._drawing:
            ended = next((shown for shown in self._shown if shown[0].work.done()), None)
            if ended is None:
                return False
            self._shown.remove(ended)
            view, place = ended
            bundle: Bundle | None
            try:
                bundle, metadata = view.end(), view.metadata()
            except Exception:  # noqa: BLE001 - one view that cannot be drawn must not end the others
                _log.exception("the end of a live output could not be drawn")
                bundle, metadata = None, {}  # what shows already stays
            self.replace(place, bundle, metadata)
            self._open.append(view.close)
            while len(self._open) > _KEPT_OPEN:
                attempt(self._open.popleft())
        return True

    def _draw_next(self) -> bool:
        """Draw what waits longest; `False` if nothing does."""
        with self._drawing:
            with self._lock:
                drawing = next(iter(self._due), None)
                if drawing is None:
                    return False
                del self._due[drawing]
            self.drawn(drawing)
        return True

    def _tick(self) -> None:
        """Draw anew what changes with time."""
        for _ in range(min(len(self._shown), _REDRAWS_PER_TICK)):
            with self._drawing:
                if not self._shown:
                    break
                view, place = self._shown[0]
                self._shown.rotate(-1)
                attempt(partial(_redraw, view, place))
        for drawing in list(self._ticking):
            self.drawn(drawing)

    def _begin_cell(self, *_: object) -> None:
        with self._drawing:
            self._in_cell = True
            self._context = contextvars.copy_context()
            self._send_unheard()

    def _end_cell(self, *_: object) -> None:
        """Let the cell end with all that ended during it: a saved notebook may hear no more."""
        with self._drawing:
            self.settle()
            self._in_cell = False

    def _send_unheard(self) -> None:
        """Send again what ended between two cells, when nbclient listens to none."""
        with self._drawing:
            while self._unheard:
                attempt(self._unheard.popleft().replace)


def _redraw(view: Card[Any], place: OutputHandle) -> None:
    bundle = view.redraw()
    if bundle is not None:
        place.holds = bundle
        place.replace()


def attempt(draw: Callable[[], object]) -> bool:
    """Draw, and tell whether the page could be reached from this thread."""
    try:
        draw()
    except Exception:  # noqa: BLE001 - the end of a job must show, also after a failed redraw
        _log.debug("a live output could not be drawn", exc_info=True)
        return False
    return True
