"""One background event loop, on a daemon thread, that every blocking caller shares.

The core never runs on the kernel's own loop: it goes on while a cell is busy, and works the same
under any kernel, and with or without a patched loop.
"""

from __future__ import annotations

import concurrent.futures
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from segmind_jupyter.api.waiting import Waiter, in_slices
from segmind_jupyter.errors import SegmindError

if TYPE_CHECKING:
    from anyio import CancelScope
    from anyio.from_thread import BlockingPortal

T = TypeVar("T")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Running:
    portal: BlockingPortal
    thread: threading.Thread


class Portal:
    """Run coroutines on a background loop, and wait for them so that Interrupt works.

    The thread starts at the first call, and anew where it has ended: a forked child has the
    parent's objects but not its threads.

    Parameters
    ----------
    wait
        How a call waits.

    Attributes
    ----------
    wait
        The same; it may be replaced at any time, and holds from the next call on.
    """

    def __init__(self, wait: Waiter = in_slices) -> None:
        self.wait = wait
        # By process: dropping the parent's loop in a forked child would close its sockets there.
        self._running: dict[int, _Running] = {}
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._unlock)

    def start(
        self, function: Callable[..., Awaitable[T]], *args: Any
    ) -> concurrent.futures.Future[T]:
        """Start `function(*args)` on the loop; cancelling the future cancels it there."""
        return self._portal().start_task_soon(function, *args)

    def call(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run `function(*args)` on the loop and wait for it.

        Raises
        ------
        SegmindError
            As `check_may_wait` does.
        KeyboardInterrupt
            The wait was interrupted; the coroutine was cancelled, and with it its request.
        Exception
            Whatever the coroutine raised, without the frames of the loop's thread: they hold
            request headers, which `%xmode Verbose` would print.
        """
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
        """Check that this thread may wait for the loop.

        Raises
        ------
        SegmindError
            It is the loop's own, which would wait for itself.
        """
        running = self._running.get(os.getpid())
        if running is not None and running.thread is threading.current_thread():
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

    def _portal(self) -> BlockingPortal:
        with self._lock:
            running = self._running.get(os.getpid())
            if running is None or not running.thread.is_alive():
                running = self._running[os.getpid()] = _start()
            return running.portal

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


def _start() -> _Running:
    ready: concurrent.futures.Future[BlockingPortal] = concurrent.futures.Future()
    thread = threading.Thread(target=_run, args=(ready,), name="segmind-jupyter", daemon=True)
    thread.start()
    return _Running(ready.result(), thread)


def _run(ready: concurrent.futures.Future[BlockingPortal]) -> None:
    """Keep a loop open until it is stopped.

    `anyio.from_thread.start_blocking_portal` would do, but it is a generator: dropping it in a
    forked child, or at exit, runs its clean-up against a thread that is gone, and hangs.
    """
    import anyio
    from anyio.from_thread import BlockingPortal

    async def keep_open() -> None:
        async with BlockingPortal() as portal:
            ready.set_result(portal)
            await portal.sleep_until_stopped()

    try:
        anyio.run(keep_open)
    except Exception as error:
        if ready.done():
            raise
        ready.set_exception(error)
