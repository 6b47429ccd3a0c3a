"""The background loop: blocking waits, interrupts, threads, and waiting in slices."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import anyio
import anyio.to_thread
import pytest

from segmind_jupyter.api.loop import BackgroundLoop
from segmind_jupyter.errors import SegmindError, ServerError


@pytest.fixture
def portal() -> Iterator[BackgroundLoop]:
    portal = BackgroundLoop()
    yield portal
    portal.stop()


async def double(n: int) -> int:
    await anyio.sleep(0)
    return 2 * n


def test_a_call_runs_on_another_thread_and_comes_back(portal):
    """The caller's own loop, if any, is not touched."""

    async def where() -> int:
        return threading.get_ident()

    async def cell() -> int:  # a notebook cell runs inside the kernel's loop
        return portal.call(double, 21)

    assert asyncio.run(cell()) == 42
    assert portal.call(where) != threading.get_ident()


def test_an_error_comes_without_the_frames_of_the_loop(portal):
    """Those hold request headers, which `%xmode Verbose` would print."""

    async def fail() -> None:
        try:
            raise ExceptionGroup("inner", [ValueError("x")])
        except ExceptionGroup as group:
            raise ServerError("broken") from group

    with pytest.raises(ServerError) as caught:
        portal.call(fail)
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert "fail" not in names
    assert caught.value.__context__ is None


def test_an_interrupt_cancels_the_coroutine(portal):
    """The request does not go on unseen on the other thread."""
    started, cancelled = threading.Event(), threading.Event()

    async def endless() -> None:
        started.set()
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    def interrupt() -> None:
        started.wait(10)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        portal.call(endless)
    assert cancelled.wait(10)
    thread.join()


@pytest.mark.parametrize("has_begun", [True, False])
def test_an_interrupt_while_the_call_is_handed_over_cancels_too(portal, monkeypatch, has_begun):
    """It may come before anybody waits; nothing must go on unseen."""
    begun, over, start = threading.Event(), threading.Event(), portal.start

    async def slow() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            over.set()

    async def later(run: Callable[[], Any]) -> None:
        await anyio.to_thread.run_sync(go_on.wait)
        await run()

    go_on = threading.Event()

    def interrupted(run: Callable[[], Any]) -> None:
        if has_begun:
            start(run)
            begun.wait(10)
        else:
            left.append(start(later, run))
        raise KeyboardInterrupt

    left: list[Future[Any]] = []
    monkeypatch.setattr(portal, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        portal.call(slow)
    go_on.set()
    if has_begun:
        assert over.wait(10)
    else:
        assert concurrent.futures.wait(left, timeout=10).done == set(left)
        assert not begun.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_one_whose_loop_died_starts_anew(portal):
    """An exit on the loop ends it; a later call does not fail for that."""
    threads: list[threading.Thread] = []

    async def die() -> None:
        threads.append(threading.current_thread())
        raise SystemExit

    with pytest.raises(SystemExit):
        portal.call(die)
    threads[0].join()
    assert portal.call(double, 2) == 4


def test_a_call_from_its_own_loop_is_refused_and_not_hung(portal):
    """A job's callback that asks would wait for itself; the portal goes on."""

    async def callback() -> int:
        return portal.call(double, 1)

    with pytest.raises(SegmindError, match="cannot wait"):
        portal.call(callback)
    assert portal.call(double, 2) == 4
