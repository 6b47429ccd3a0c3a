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
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

from segmind_jupyter.api.settings import checked_seconds
from segmind_jupyter.errors import SegmindError

if TYPE_CHECKING:
    from anyio import CancelScope
    from anyio.abc import TaskGroup
    from anyio.from_thread import BlockingPortal


#: Waits until a future is done or so many seconds are over (`None`: no bound), and returns in
#: either case; the future keeps its result and its error for whoever asks.
Waiter: TypeAlias = Callable[[concurrent.futures.Future[Any], float | None], None]

#: How long one wait lasts before it looks up. Windows delivers an interrupt only between waits.
SLICE_S: Final = 0.1


def checked_patience(timeout_s: float | None) -> float | None:
    """Return how long to wait: seconds, none of them for a look alone, or `None` for ever."""
    if timeout_s is None or timeout_s == math.inf:
        return None
    try:
        over = bool(timeout_s <= 0)
    except (TypeError, ValueError):  # no number at all
        over = False
    return timeout_s if over else checked_seconds(timeout_s)


def wait_interruptibly(
    future: concurrent.futures.Future[Any], timeout_s: float | None = None
) -> None:
    """Wait in short slices, so that an interrupt is seen within one of them."""
    for slice_s in slices(timeout_s):
        if future.done():
            return
        concurrent.futures.wait([future], timeout=slice_s)


def slices(timeout_s: float | None) -> Iterator[float]:
    """Return the length of each next slice, in seconds, until `timeout_s` is over."""
    while timeout_s is None:
        yield SLICE_S
    ends_s = time.monotonic() + timeout_s
    while (left_s := ends_s - time.monotonic()) > 0:
        yield min(SLICE_S, left_s)


T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Running:
    portal: BlockingPortal
    tasks: TaskGroup
    thread: threading.Thread

    @property
    def is_here(self) -> bool:
        """Whether this code runs on its thread."""
        return self.thread is threading.current_thread()

    def spawn(self, function: Callable[..., Coroutine[Any, Any, None]], *args: Any) -> None:
        """Run `function(*args)` beside what runs; on its thread alone."""
        self.tasks.start_soon(function, *args)  # newer versions give what could be awaited


class BackgroundLoop:
    """Run coroutines on a background loop, and wait for them so that Interrupt works.

    The thread starts at the first call, and anew where it has ended: a forked child has the
    parent's objects but not its threads.
    """

    def __init__(self, wait: Waiter = wait_interruptibly) -> None:
        self.wait = wait
        # By process: dropping the parent's loop in a forked child would close its sockets there.
        self._running: dict[int, _Running] = {}
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def start(
        self, function: Callable[..., Awaitable[T]], *args: Any
    ) -> concurrent.futures.Future[T]:
        """Start `function(*args)` on the loop; cancelling the future cancels it there.

        Both can be done on any thread, the loop's own among them, as in a job's callback.
        """
        running = self._now()
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        if running.is_here:
            running.spawn(_fulfil, future, function, args)
        else:
            running.portal.call(running.spawn, _fulfil, future, function, args)
        return future

    def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run `function(*args)` on the loop and wait for it."""
        self.check_may_wait()
        running = _Call(function, args)
        try:
            future = self.start(running.run)
            self.wait(future, None)
        except BaseException:
            # Not `future.cancel()`: the interrupt may have come before there was a future.
            self.start(running.cancel)
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
        running = self._running.get(os.getpid())
        if running is not None and running.is_here:
            raise SegmindError(
                "This code runs on the loop that fetches the answers, as a job's callback does, "
                "so it cannot wait for one: start a `threading.Thread` for it."
            )

    def stop(self) -> None:
        """Cancel what runs and end the thread; the next call starts it again."""
        with self._lock:
            running = self._running.pop(os.getpid(), None)
        if running is None or not running.thread.is_alive():
            return
        running.portal.call(running.portal.stop, True)
        running.thread.join()

    def _now(self) -> _Running:
        with self._lock:
            running = self._running.get(os.getpid())
            if running is None or not running.thread.is_alive():
                running = self._running[os.getpid()] = _start()
            return running

    def _unlock(self) -> None:
        """Start with a free lock in a child: a thread may have held it during the fork."""
        self._lock = threading.Lock()


class _Call(Generic[T]):
    """One call on the loop, which can be cancelled from the moment it is made."""

    def __init__(self, function: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> None:
        self._function, self._args = function, args
        self._scope: CancelScope | None = None
        self._cancelled = False

    async def run(self) -> T:
        from anyio import CancelScope

        with CancelScope() as self._scope:
            if self._cancelled:
                self._scope.cancel()
            return await self._function(*self._args)
        raise concurrent.futures.CancelledError

    async def cancel(self) -> None:
        self._cancelled = True
        if self._scope is not None:
            self._scope.cancel()


async def _fulfil(
    future: concurrent.futures.Future[T], function: Callable[..., Awaitable[T]], args: Sequence[Any]
) -> None:
    """Run `function(*args)` for a future, and give it up where that is cancelled.

    A portal's own futures would do, but anyio 4.0 cancels nothing from the loop's thread.
    """
    from anyio import CancelScope

    loop = asyncio.get_running_loop()

    def give_up(future: concurrent.futures.Future[T]) -> None:
        if future.cancelled():
            with contextlib.suppress(RuntimeError):  # the loop is closed: nothing is left of it
                loop.call_soon_threadsafe(scope.cancel)

    try:
        with CancelScope() as scope:
            future.add_done_callback(give_up)
            result = await function(*args)
        if future.set_running_or_notify_cancel():
            future.set_result(result)
    except asyncio.CancelledError:  # the loop ends
        future.cancel()
        future.set_running_or_notify_cancel()
        raise
    except BaseException as error:
        if future.set_running_or_notify_cancel():
            future.set_exception(error)
        if not isinstance(error, Exception):
            raise


#: What the thread gives once its loop runs.
_Ready: TypeAlias = "concurrent.futures.Future[tuple[BlockingPortal, TaskGroup]]"


def _start() -> _Running:
    ready: _Ready = concurrent.futures.Future()
    thread = threading.Thread(target=_run, args=(ready,), name="segmind-jupyter", daemon=True)
    thread.start()
    return _Running(*ready.result(), thread)


def _run(ready: _Ready) -> None:
    """Keep a loop open until it is stopped.

    `anyio.from_thread.start_blocking_portal` would do, but it is a generator: dropping it in a
    forked child, or at exit, runs its clean-up against a thread that is gone, and hangs.
    """
    import anyio
    from anyio.from_thread import BlockingPortal

    async def keep_open() -> None:
        async with BlockingPortal() as portal, anyio.create_task_group() as tasks:
            ready.set_result((portal, tasks))
            await portal.sleep_until_stopped()

    try:
        anyio.run(keep_open)
    except Exception as error:
        if ready.done():
            raise
        ready.set_exception(error)
