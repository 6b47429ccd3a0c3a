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
from typing import Any, Final, Protocol

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


class Work(Protocol):
    """What a view shows: a job or a batch."""

    def done(self) -> bool:
        """Return whether it has ended."""

    def on_done(self, callback: Callable[[Any], object]) -> None:
        """Have something called at its end."""


class View(Protocol):
    """How some work shows while it goes on, and once it has ended."""

    @property
    def work(self) -> Work:
        """What is shown."""

    def begin(self) -> Bundle:
        """Return what the page shows first."""

    def redraw(self) -> Bundle | None:
        """Let the page show how the work stands now; or give what it is to show in this place."""

    def end(self) -> Bundle:
        """Return what stays, and let a page that was reloaded show it too."""

    @property
    def close(self) -> Callable[[], None]:
        """What lets go of all that only a page needs that was reloaded."""


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
    holds: Bundle = field(default_factory=dict)

    def put(self, bundle: Bundle) -> None:
        """Show it for the first time, below the cell that runs."""
        self.publish(data=bundle, metadata={}, transient=self.name)

    def replace(self) -> None:
        """Have the page show what it holds by now."""
        if self.holds:
            self.publish(data=self.holds, metadata={}, transient=self.name, update=True)


class LiveOutputs:
    """The live outputs of one shell.

    One thread serves them all, and ends when nothing is live. It is not the background loop's:
    to render a reply, or to flush the kernel's streams, takes longer than other jobs should wait.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._shown: deque[_Shown] = deque()
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

    def show(self, view: View) -> None:
        """Show a view below the running cell: live if its work goes on, else as it has ended."""
        publish = self._shell.display_pub.publish
        if view.work.done():
            publish(data=view.end(), metadata={})
            return
        with self._drawing:
            shown = _Shown(view, self.put(view.begin()))
            self._shown.append(shown)
            self._go_on()
        view.work.on_done(lambda _: self._wake.set())

    def put(self, bundle: Bundle) -> OutputHandle:
        """Show something below the running cell, which `replace` changes later."""
        place = OutputHandle(self._shell.display_pub.publish)
        with self._drawing:
            place.put(bundle)
            self._context = contextvars.copy_context()
        return place

    def replace(self, place: OutputHandle, bundle: Bundle) -> None:
        """Show something else in its place, and again in the next cell if nobody listens now."""
        with self._drawing:
            place.holds = bundle
            heard = _attempt(place.replace)
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

    @property
    def paused(self) -> AbstractContextManager[object]:
        """A context in which no other thread draws anything."""
        return self._drawing

    def drawn(self, drawing: Redrawable) -> None:
        """Draw something here and now, on the calling thread."""
        with self._drawing:
            self._draw(drawing)

    def settle(self) -> None:
        """Have the page show all that happened until now."""
        self._end_all()
        self._draw_due()
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
        while self._goes_on():
            self._wake.wait(max(0.0, next_tick - time.monotonic()))
            self._wake.clear()
            # A message names its cell, which ipykernel 7 takes from the context (7.0 fails without
            # one). It must be the latest cell, as nbclient drops what names another.
            self._context.run(self._end_all)
            self._context.run(self._draw_due)
            if time.monotonic() >= next_tick:
                self._context.run(self._tick)
                next_tick = time.monotonic() + TICK_S

    def _goes_on(self) -> bool:
        with self._lock:
            goes_on = bool(self._shown or self._due or self._ticking)
            if not goes_on:
                self._thread = None
            return goes_on

    def _tick(self) -> None:
        self._redraw_some()
        for drawing in list(self._ticking):
            with self._drawing:
                self._draw(drawing)

    def _draw_due(self) -> None:
        """Draw all that waits for it."""
        while self._draw_next():
            pass

    def _draw_next(self) -> bool:
        """Draw what waits longest; `False` if nothing does."""
        # Taken only to be drawn at once: who settles must not find it taken and not yet drawn.
        with self._drawing:
            drawing = self._next_due()
            if drawing is not None:
                self._draw(drawing)
            return drawing is not None

    def _next_due(self) -> Redrawable | None:
        with self._lock:
            drawing = next(iter(self._due), None)
            if drawing is not None:
                del self._due[drawing]
            return drawing

    def _draw(self, drawing: Redrawable) -> None:
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

    def _end_all(self) -> None:
        while self._end_one():
            pass

    def _redraw_some(self) -> None:
        for _ in range(min(len(self._shown), _REDRAWS_PER_TICK)):
            with self._drawing:
                if not self._shown:
                    return
                shown = self._shown[0]
                self._shown.rotate(-1)
                _attempt(shown.redraw)

    def _end_one(self) -> bool:
        """End one view whose work has ended; `False` if there is none."""
        with self._drawing:
            shown = next((shown for shown in self._shown if shown.view.work.done()), None)
            if shown is None:
                return False
            self._shown.remove(shown)
            self.replace(shown.place, shown.ending())
            self._keep_open(shown.view.close)
        return True

    def _keep_open(self, close: Callable[[], None]) -> None:
        self._open.append(close)
        while len(self._open) > _KEPT_OPEN:
            _attempt(self._open.popleft())

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
                _attempt(self._unheard.popleft().replace)


@dataclass
class _Shown:
    """A view in its place."""

    view: View
    place: OutputHandle

    def redraw(self) -> None:
        """Show how it stands now."""
        bundle = self.view.redraw()
        if bundle is not None:
            self.place.holds = bundle
            self.place.replace()

    def ending(self) -> Bundle:
        """Return what stays; what shows already, if that cannot be drawn."""
        try:
            return self.view.end()
        except Exception:  # noqa: BLE001 - one view that cannot be drawn must not end the others
            _log.exception("the end of a live output could not be drawn")
            return {}


def _attempt(draw: Callable[[], object]) -> bool:
    """Draw, and tell whether the page could be reached from this thread."""
    try:
        draw()
    except Exception:  # noqa: BLE001 - the end of a job must show, also after a failed redraw
        _log.debug("a live output could not be drawn", exc_info=True)
        return False
    return True
