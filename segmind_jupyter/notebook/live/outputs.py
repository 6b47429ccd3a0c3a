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

#: Most that is drawn anew in one tick. Where more is live it takes turns: a server allows a kernel
#: a thousand messages a second (`iopub_msg_rate_limit`), and a page far fewer.
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
    """What shows something that changes, such as a chat or a job's card."""

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
        self.publish(data=bundle, metadata={}, transient=self.name)

    def replace(self) -> None:
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
        self._open: deque[Callable[[], None]] = deque()
        self._unheard: deque[OutputHandle] = deque(maxlen=_MAX_UNHEARD)
        # What is to be drawn now, and what changes with time; dicts, as these keep the order.
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

    def show(self, card: Card[Any]) -> None:
        """Show a card below the running cell: live if its work goes on, else as it has ended."""
        if card.work.done():
            (bundle, metadata), place = card.end(), self.take()
            if place is None:
                self._shell.display_pub.publish(data=bundle, metadata=metadata)
            else:
                self.replace(place, bundle, metadata)
            return
        with self._drawing:
            shown = _LiveCard(self, card, self.put(card.begin()))
            with self._lock:
                self._ticking[shown] = None
            self._go_on()
        card.work.on_done(lambda _: self.draw_soon(shown))

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

    def keep_open(self, close: Callable[[], None]) -> None:
        """Close the widgets of what has ended, once enough others have ended after it."""
        self._open.append(close)
        while len(self._open) > _KEPT_OPEN:
            attempt(self._open.popleft())

    def draw_soon(self, drawing: Redrawable) -> None:
        """Have something drawn at once, then each second for as long as it changes with time.

        It is drawn on the thread of this, or where a cell ends; any thread may ask for it.
        """
        with self._lock:
            self._due[drawing] = None
        self._go_on()
        self._wake.set()

    def drawn(self, drawing: Redrawable) -> None:
        with self._drawing:
            try:
                changes = drawing.draw()
            except Exception:  # noqa: BLE001 - one that cannot be drawn must not end the others
                _log.exception("%r could not be drawn", drawing)
                changes = False
            with self._lock:
                self._ticking.pop(drawing, None)
                if changes:
                    self._ticking[drawing] = None  # behind the others
            if changes:
                self._go_on()

    @property
    def paused(self) -> AbstractContextManager[object]:
        """A context in which no other thread draws anything."""
        return self._drawing

    def _go_on(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="segmind-jupyter-live", daemon=True
                )
                self._thread.start()

    def _run(self) -> None:
        next_tick = time.monotonic() + TICK_S
        while True:
            with self._lock:
                if not (self._due or self._ticking):
                    self._thread = None
                    return
            self._wake.wait(max(0.0, next_tick - time.monotonic()))
            self._wake.clear()
            # A message names its cell, which ipykernel 7 takes from the context (7.0 fails without
            # one). It must be the latest cell, as nbclient drops what names another.
            self._context.run(self._draw_due)
            if time.monotonic() >= next_tick:
                for drawing in [*self._ticking][:_REDRAWS_PER_TICK]:
                    self._context.run(self.drawn, drawing)
                next_tick = time.monotonic() + TICK_S

    def _draw_due(self) -> None:
        """Draw all that waits for it.

        One at a time: who looks at the end of a cell must not find something taken and not yet
        drawn, and other threads get their turn between two.
        """
        while True:
            with self._drawing:
                with self._lock:
                    drawing = next(iter(self._due), None)
                    if drawing is None:
                        return
                    del self._due[drawing]
                self.drawn(drawing)

    def _begin_cell(self, *_: object) -> None:
        self._in_cell = True
        self._context = contextvars.copy_context()
        self._send_unheard()

    def _end_cell(self, *_: object) -> None:
        """Let the cell end with all that ended during it: a saved notebook may hear no more."""
        with self._drawing:
            self.settle()
            self._in_cell = False

    def settle(self) -> None:
        with self._lock:  # whoever waited for a job may go on before its callbacks are called
            for drawing in self._ticking:
                if isinstance(drawing, _LiveCard) and drawing.card.work.done():
                    self._due[drawing] = None
        self._draw_due()
        self._send_unheard()

    def _send_unheard(self) -> None:
        """Send again what ended between two cells, when nbclient listens to none."""
        with self._drawing:
            while self._unheard:
                attempt(self._unheard.popleft().replace)


@dataclass(eq=False)
class _LiveCard:
    """A card where it is shown, until what came of its work stands there."""

    live: LiveOutputs
    card: Card[Any]
    place: OutputHandle
    is_over: bool = False

    def draw(self) -> bool:
        if self.is_over:
            return False
        if not self.card.work.done():
            attempt(self._redraw)
            return True
        self.is_over = True
        self.live.replace(self.place, *self.card.end())
        self.live.keep_open(self.card.close)
        return False

    def _redraw(self) -> None:
        bundle = self.card.redraw()
        if bundle is not None:
            self.place.holds = bundle
            self.place.replace()


def attempt(draw: Callable[[], object]) -> bool:
    """Draw, and tell whether the page could be reached from this thread."""
    try:
        draw()
    except Exception:  # noqa: BLE001 - the end of a job must show, also after a failed redraw
        _log.debug("a live output could not be drawn", exc_info=True)
        return False
    return True
