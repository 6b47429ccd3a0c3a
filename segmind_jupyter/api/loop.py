"""One background event loop, on a daemon thread, that every blocking caller shares.

The core never runs on the kernel's own loop: it goes on while a cell is busy, and works the same
under any kernel, and with or without a patched loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from segmind_jupyter.api.settings import checked_seconds
from segmind_jupyter.errors import SegmindError

T = TypeVar("T")

#: Waits until a future is done or so many seconds are over (`None`: no bound), and returns in
#: either case; the future keeps its result and its error for whoever asks.
Waiter: TypeAlias = Callable[[concurrent.futures.Future[Any], float | None], None]

#: How long one wait lasts before it looks up. Windows delivers an interrupt only between waits.
SLICE_S: Final = 0.1

#: A wait shows once it has taken so long, and is drawn anew that often: two messages a second.
SHOWN_AFTER_S, DRAWN_EACH_S = 0.5, 1.0

_log = logging.getLogger(__name__)


def checked_patience(timeout_s: float | None) -> float | None:
    """Return how long to wait: seconds, none of them for a look alone, or `None` for ever."""
    if timeout_s is None or timeout_s == math.inf:
        return None
    is_over = isinstance(timeout_s, int | float) and timeout_s <= 0
    return timeout_s if is_over else checked_seconds(timeout_s)


def wait_interruptibly(
    future: concurrent.futures.Future[Any], timeout_s: float | None = None
) -> None:
    """Wait in short slices, so that an interrupt is seen within one of them."""
    for slice_s in slices(timeout_s):
        with contextlib.suppress(TimeoutError, concurrent.futures.CancelledError):
            future.exception(slice_s)
        if future.done():
            return


class WaitView(Protocol):
    """What a front end shows of a wait."""

    def draw(self, seconds: float) -> object:
        """Show it for the first time, or anew, after so many seconds."""

    def end(self, *, answered: bool) -> object:
        """Leave its place to what comes of it, or to nothing."""


def wait_in_sight(
    wait: Waiter,
    future: concurrent.futures.Future[Any],
    timeout_s: float | None,
    begin: Callable[[], WaitView | None],
) -> None:
    """Wait as `wait` does, and let whoever looks on see what takes long."""
    begun_s = time.monotonic()
    ends_s = begun_s + (math.inf if timeout_s is None else timeout_s)
    wait(future, min(SHOWN_AFTER_S, ends_s - begun_s))
    if future.done() or time.monotonic() >= ends_s:
        return
    view = begin()
    if view is None:
        wait(future, None if timeout_s is None else ends_s - time.monotonic())
        return
    answered = False
    try:
        while not future.done() and (left_s := ends_s - time.monotonic()) > 0:
            view.draw(time.monotonic() - begun_s)
            wait(future, min(DRAWN_EACH_S, left_s))
        answered = future.done() and not future.cancelled() and future.exception() is None
    finally:
        view.end(answered=answered)


def slices(timeout_s: float | None) -> Iterator[float]:
    """Return the length of each next slice, in seconds, until `timeout_s` is over."""
    while timeout_s is None:
        yield SLICE_S
    ends_s = time.monotonic() + timeout_s
    while (left_s := ends_s - time.monotonic()) > 0:
        yield min(SLICE_S, left_s)


class BackgroundLoop:
    """Run coroutines on a background loop, and wait for them so that Interrupt works.

    The thread starts at the first call, and anew where it has ended.
    """

    def __init__(self) -> None:
        self.wait: Waiter = wait_interruptibly
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._lock = threading.Lock()
        #: The loop itself holds its tasks weakly, and each of these holds one.
        self._running: set[concurrent.futures.Future[Any]] = set()

    def start(
        self, function: Callable[..., Awaitable[T]], *args: Any
    ) -> concurrent.futures.Future[T]:
        """Start `function(*args)` on the loop; cancelling the future cancels it there.

        Both can be done on any thread, the loop's own among them, as in a job's callback.
        """

        async def run() -> T:
            return await function(*args)

        with self._lock:
            future = asyncio.run_coroutine_threadsafe(run(), self._opened())
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def call(
        self, function: Callable[..., Awaitable[T]], *args: Any, wait: Waiter | None = None
    ) -> T:
        """Run `function(*args)` on the loop and wait for it."""
        self.check_may_wait()
        # An interrupt may come before `start` has returned what could be cancelled.
        task: asyncio.Task[Any] | None = None
        is_over = False

        async def run() -> T:
            nonlocal task
            task = asyncio.current_task()
            if is_over:
                raise asyncio.CancelledError
            return await function(*args)

        try:
            future = self.start(run)
            (wait or self.wait)(future, None)
        except BaseException:
            is_over = True
            if task is not None and not task.get_loop().is_closed():
                task.get_loop().call_soon_threadsafe(task.cancel)
            raise
        error = future.exception()
        if error is None:
            return future.result()
        if not isinstance(error, SegmindError):  # those say all there is to say
            _log.debug("raised on the background loop", exc_info=error)
        error.__context__ = None
        raise error.with_traceback(None)

    def check_may_wait(self) -> None:
        """Check that this thread may wait for the loop."""
        if self._thread is threading.current_thread():
            raise SegmindError(
                "This code runs on the loop that fetches the answers, as a job's callback does, "
                "so it cannot wait for one: start a `threading.Thread` for it."
            )

    def stop(self) -> None:
        """Cancel what runs and end the thread; the next call starts it again."""
        with self._lock:
            thread, self._thread = self._thread, None
            if self._loop is None or thread is None or not thread.is_alive():
                return
            self._loop.call_soon_threadsafe(self._stopping.set)
        thread.join()

    def _opened(self) -> asyncio.AbstractEventLoop:
        """Return a loop that a thread keeps open until it is stopped."""
        if self._loop is None or self._thread is None or not self._thread.is_alive():
            runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
            self._loop, self._stopping = runner.get_loop(), asyncio.Event()
            stopping = self._stopping.wait()

            def run() -> None:
                with runner:
                    runner.run(stopping)

            self._thread = threading.Thread(target=run, name="segmind-jupyter", daemon=True)
            self._thread.start()
        return self._loop
