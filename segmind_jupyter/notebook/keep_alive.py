"""`%config ClaudeMagics.keep_loop_alive`: the user's asyncio tasks run while a cell waits."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from segmind_jupyter.api.loop import Waiter, slices, wait_interruptibly
from segmind_jupyter.errors import SettingsError


def keep_alive(shell: Any) -> Waiter:
    """Patch the running loop now, and give a waiter that runs it while it waits.

    The patch cannot be undone before the kernel restarts. The waiter runs the loop only from the
    cell after this one on; wherever it cannot, it is `wait_interruptibly`.
    """
    loop = _patchable(_running_loop())
    import nest_asyncio2

    nest_asyncio2.apply(loop)
    return _Pump(loop, shell)


def _patchable(loop: asyncio.AbstractEventLoop | None) -> asyncio.BaseEventLoop:
    if loop is None:
        raise SettingsError(
            "No event loop runs here, as in a terminal, so there is none to keep alive: leave "
            "keep_loop_alive at False."
        )
    if threading.current_thread() is not threading.main_thread():
        raise SettingsError(
            "keep_loop_alive is for the kernel's main thread, and this cell runs on another one "
            "(a subshell): set it in a cell of the notebook."
        )
    if not isinstance(loop, asyncio.BaseEventLoop):
        kind = f"{type(loop).__module__}.{type(loop).__qualname__}"
        raise SettingsError(
            f"The kernel's event loop is a {kind}, which cannot be run from within a cell: start "
            "the kernel with asyncio's own loop, or use `%%claude --job`, which does not block."
        )
    if _has_old_patch(loop) or _has_old_patch(asyncio):
        raise SettingsError(
            "nest_asyncio has patched the event loop, and with it a waiting cell can hang: "
            "restart the kernel and set keep_loop_alive without it. It brings nest_asyncio2, "
            "which allows asyncio.run() in a cell too."
        )
    return loop


def _has_old_patch(patched: object) -> bool:
    """Tell nest_asyncio's mark from nest_asyncio2's, which leaves both."""
    return hasattr(patched, "_nest_patched") and not hasattr(patched, "_nest_asyncio2")


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Pump:
    """The waiter of `keep_alive`: runs the patched loop until a future is done."""

    def __init__(self, loop: asyncio.BaseEventLoop, shell: Any) -> None:
        self._loop, self._shell = loop, shell
        self._running = False
        # The turn of the loop that runs this cell began before the patch: it has counted its
        # callbacks, and fails if a turn inside it takes them (ipykernel 6 dies of that).
        self._patched_turn = False
        loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._patched_turn = True

    def __call__(
        self, future: concurrent.futures.Future[Any], timeout_s: float | None = None
    ) -> None:
        if not self._can_run():
            wait_interruptibly(future, timeout_s)
            return
        self._running = True
        try:
            self._run(future, timeout_s)
        finally:
            self._running = False

    def _can_run(self) -> bool:
        """Return whether the loop may be run here and now.

        Not inside itself: a task that asks while a cell waits is a blocking call in a coroutine,
        and many of them would nest without a bound. Not under `%gui`: its loop would run inside
        this one, and end with the next cell only.
        """
        return (
            self._patched_turn
            and not self._running
            and _running_loop() is self._loop
            and getattr(getattr(self._shell, "kernel", None), "eventloop", None) is None
        )

    def _run(self, future: concurrent.futures.Future[Any], timeout_s: float | None) -> None:
        over = asyncio.Event()

        def end(_: object = None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                self._loop.call_soon_threadsafe(over.set)

        future.add_done_callback(end)
        try:
            with _interrupt_calls(end):
                self._loop.run_until_complete(_wait(over, timeout_s))
        finally:
            over.set()  # after an error, the coroutine is still there


async def _wait(over: asyncio.Event, timeout_s: float | None) -> None:
    for slice_s in slices(timeout_s):
        if over.is_set():
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), slice_s)


@contextlib.contextmanager
def _interrupt_calls(end: Callable[[], None]) -> Iterator[None]:
    """Let the first Interrupt end the wait, and raise it only then.

    Raised at once, it would hit whichever task is running, or the kernel's own callbacks. A second
    one is raised at once, as a task may hold the loop. Where Interrupt is not Python's own (an
    idle kernel ignores it) it is left as it is.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    interrupted = False

    def interrupt(signum: int, frame: Any) -> None:
        nonlocal interrupted
        if interrupted:
            signal.default_int_handler(signum, frame)
        interrupted = True
        end()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted:
        raise KeyboardInterrupt
