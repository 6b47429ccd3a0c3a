"""Waiting in slices: what comes back, when, and what an interrupt does."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import Future
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.api.loop import SLICE_S, slices, wait_interruptibly


def test_it_returns_once_the_future_is_done_by_another_thread():
    """With no bound it returns for no other reason."""
    future: Future[int] = Future()
    thread = threading.Thread(target=future.set_result, args=(1,))
    thread.start()
    wait_interruptibly(future)
    assert future.result(timeout=0) == 1
    thread.join()


def test_the_error_of_the_future_stays_there():
    """Whoever asks for the result gets it, not whoever waits."""
    future: Future[int] = Future()
    future.set_exception(ValueError("mine"))
    wait_interruptibly(future)
    assert isinstance(future.exception(timeout=0), ValueError)


@pytest.mark.parametrize("timeout_s", [0, -1, 0.01, 1.5 * SLICE_S])
def test_it_returns_when_the_time_is_up(timeout_s):
    """Nothing is raised, and the future may still be done later."""
    future: Future[int] = Future()
    wait_interruptibly(future, timeout_s)
    assert not future.done()
    assert future.set_running_or_notify_cancel()


def test_an_interrupt_ends_the_wait():
    """Though nothing else would."""
    timer = threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the interrupt may come before the wait
        timer.start()
        wait_interruptibly(Future())
    timer.join()


@given(st.floats(max_value=0.005, allow_nan=False))
def test_slices_are_short_and_come_to_an_end(timeout_s):
    """None is longer than a slice or than what is left."""
    assert all(0 < slice_s <= min(SLICE_S, timeout_s) for slice_s in slices(timeout_s))


def test_without_a_bound_slices_go_on():
    """Each at its full length."""
    assert set(islice(slices(None), 1000)) == {SLICE_S}
