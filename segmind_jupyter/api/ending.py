"""Something that ends once, with a result or an error: threads wait for it, loops await it.

Jobs and the turns of a chat are such. It knows nothing of what they do until then.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, Generic, Protocol, Self, TypeVar

from segmind_jupyter.api.waiting import Waiter, in_slices
from segmind_jupyter.errors import JobError, SegmindError

R = TypeVar("R")
S = TypeVar("S", bound=str)

_log = logging.getLogger(__name__)


class Settling(Protocol):
    """What `ended` waits for."""

    async def settled(self) -> None:
        """Wait for its end, whatever that is."""


class Ending(Generic[R, S]):
    """The part that all such things share. Threads may share it.

    Parameters
    ----------
    state
        Where it stands at first.
    wait
        What waits, so that Interrupt works.
    """

    def __init__(self, state: S, *, wait: Waiter = in_slices) -> None:
        self._state = state
        self._wait = wait
        self._outcome: R | None = None
        self._error: SegmindError | None = None
        self._raised = False
        self._ended_at: float | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._watchers: list[Callable[[Self], object]] = []
        self._end: concurrent.futures.Future[None] = concurrent.futures.Future()
        # From here on nobody who waits for the future can cancel it.
        self._end.set_running_or_notify_cancel()

    @property
    def error(self) -> SegmindError | None:
        """Why it ended without a reply, or `None`."""
        return self._error

    @property
    def unraised(self) -> SegmindError | None:
        """The error, as long as it was raised nowhere; `None` where there is none."""
        return None if self._raised else self._error

    def done(self) -> bool:
        """Tell whether it has ended, in whichever way."""
        return self._end.done()

    def __await__(self) -> Generator[Any, None, R]:
        """Wait on any asyncio loop; cancelling the wait leaves what is awaited alone."""
        yield from self.settled().__await__()
        return self._result()

    async def settled(self) -> None:
        """Wait on any asyncio loop for its end, whatever that is."""
        self._check_can_end()
        await asyncio.wrap_future(self._end)

    def on_done(self, callback: Callable[[Self], object]) -> None:
        """Call `callback(self)` once it has ended, at once if it has.

        It is called on the thread that ends it, mostly the background one: it must be quick, and
        cannot wait for an answer (`ask`, `submit`); `chat.send` waits for nothing. What it raises
        is logged.
        """
        self._end.add_done_callback(lambda end: tell(callback, self))

    def on_change(self, callback: Callable[[Self], object]) -> None:
        """Call `callback(self)` at every change but the last, as `on_done` does."""
        with self._lock:
            self._watchers.append(callback)

    def _wait_for_end(self, timeout_s: float | None) -> bool:
        """Wait, and tell whether it has ended."""
        self._check_can_end()
        if not self.done():  # a callback may ask where it must not wait
            self._wait(self._end, timeout_s)
        return self.done()

    def _check_can_end(self) -> None:
        """Refuse to wait for ever in a forked child, which has the parent's objects alone."""
        if not self.done() and os.getpid() != self._pid:
            raise self._stranded()

    def _stranded(self) -> JobError:
        return JobError(
            f"{self!r} goes on in the process that it was begun in; this one was forked from it, "
            "and cannot wait for it."
        )

    def _move(self, state: S) -> None:
        """Note a state before the end."""
        with self._lock:
            if self._ended_at is not None or state == self._state:
                return
            self._state = state
            watchers = tuple(self._watchers)
        for watcher in watchers:
            tell(watcher, self)

    def _finish(self, state: S, outcome: R | None, error: SegmindError | None) -> bool:
        """End it; only the first end counts."""
        with self._lock:
            if self._ended_at is not None:
                return False
            self._state, self._outcome, self._error = state, outcome, error
            self._ended_at = time.time()
            self._watchers.clear()
        self._end.set_result(None)  # outside the lock, as this calls back
        return True

    def _result(self) -> R:
        if self._error is not None:
            self._raised = True
            # One error may be raised in many places; the frames of an earlier one are no news.
            raise self._error.with_traceback(None) from None
        assert self._outcome is not None, "read before its end"  # noqa: S101
        return self._outcome


async def ended(work: Settling) -> None:
    """Wait on the loop for the end of something, however it ends; nobody is told of its error."""
    with contextlib.suppress(SegmindError):  # it goes on in another process
        await work.settled()


def tell(callback: Callable[[Any], object], what: object) -> None:
    """Call it, and let nothing out: on the background loop even an exit would end every job."""
    try:
        callback(what)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and _on_main_thread():
            raise  # the user's own
        _log.exception("a callback of %r failed", what)


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
