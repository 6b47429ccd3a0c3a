"""`Pending`: what somebody waits for; `Job`: one queued call.

Threads may share them: the background loop moves a job on, any thread or loop waits for it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
import logging
import threading
import time
from collections.abc import Callable, Generator
from typing import Any, Final, Generic, Self, TypeVar

from segmind_jupyter.api.loop import Waiter, checked_patience, wait_interruptibly
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.responses import Cancelled, Queued, State
from segmind_jupyter.errors import Interrupted, JobCancelled, JobTimeout, SegmindError

R = TypeVar("R")
S = TypeVar("S", bound=str)

#: As the vendor's SDK waits.
WAIT_S: Final = 600.0

_log = logging.getLogger(__name__)


class Pending(Generic[R, S]):
    """Something that ends once, with an outcome or an error, and has a state until then."""

    #: The id of its job, once it is one.
    request_id: str | None = None

    def __init__(self, state: S, *, wait: Waiter = wait_interruptibly) -> None:
        self._state = state
        self._wait = wait
        self._outcome: R | None = None
        self._error: SegmindError | None = None
        self._raised = False
        self._ended_at: float | None = None
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
        """Return whether it has ended, in whichever way."""
        return self._end.done()

    def awaits(self, future: concurrent.futures.Future[Any]) -> bool:
        """Return whether the future is its end."""
        return future is self._end

    def __await__(self) -> Generator[Any, None, R]:
        """Wait on any asyncio loop; cancelling the wait leaves what is awaited alone."""
        yield from self.settled().__await__()
        return self._result()

    async def settled(self) -> None:
        """Wait on any asyncio loop for its end, whatever that is."""
        await asyncio.wrap_future(self._end)

    def on_done(self, callback: Callable[[Self], object]) -> None:
        """Call `callback(self)` once it has ended, at once if it has.

        On the thread that ends it, mostly the background one: it must be quick, and cannot wait
        for an answer (`ask`, `submit`; `chat.send` waits for nothing). What it raises is logged.
        """
        self._end.add_done_callback(lambda end: tell(callback, self))

    def on_change(self, callback: Callable[[Self], object]) -> None:
        """Call `callback(self)` at every change but the last, as `on_done` does."""
        with self._lock:
            self._watchers.append(callback)

    def wait(self, timeout: float | None = WAIT_S) -> R:
        """Wait for the reply for `timeout` seconds, `None` for ever; it goes on either way.

        Raises
        ------
        JobTimeout
            The time is up; it also is a `TimeoutError`.
        JobFailed, JobExpired, JobCancelled, SegmindError
            It ended without a reply, or the service could not be asked.
        Interrupted
            The user interrupted the wait.
        """
        timeout = checked_patience(timeout)
        name = f"Job {self.request_id}" if self.request_id else "The turn"
        try:
            has_ended = self._wait_for_end(timeout)
        except KeyboardInterrupt:
            words = f"Stopped waiting. {name} goes on; `%segmind wait` waits again."
            raise Interrupted(words) from None
        if not has_ended:
            later = f", or look later with `%segmind resume {self.request_id}`"
            raise JobTimeout(
                f"{name} was still {self._state} after {timeout:g} s. It goes on: wait again"
                f"{later if self.request_id else ''}.",
                request_id=self.request_id,
            )
        return self._result()

    def _wait_for_end(self, timeout_s: float | None) -> bool:
        """Wait, and return whether it has ended."""
        if not self.done():  # a callback may ask where it must not wait
            self._wait(self._end, timeout_s)
        return self.done()

    def move(self, state: S) -> None:
        """Note a state before the end; for whoever brings it there."""
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


def tell(callback: Callable[[Any], object], what: object) -> None:
    """Call it, and let nothing out: on the background loop even an exit would end every job."""
    try:
        callback(what)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and (
            threading.current_thread() is threading.main_thread()
        ):
            raise  # it is meant for the cell
        _log.exception("a callback of %r failed", what)


class Job(Pending[Reply, State]):
    """One call that Segmind works on, and its reply once that is there.

    Made by `submit` and `resume`. The reply is fetched in the background, whether anybody waits
    or not, and kept in the journal. A pickled job comes back by `resume`, with its id.

    Parameters
    ----------
    request_id
        The id under which Segmind keeps it; `resume` takes it, in any kernel.
    model, origin, submitted_at, request
        The slug, where it was sent (a base URL, or ``"simulator"``), when (Unix time), and what was
        asked, as far as that is known here.
    wait
        What waits, so that Interrupt works.

    Examples
    --------
    >>> job = submit("Summarise", df)  # doctest: +SKIP
    >>> job.wait(timeout=600).text  # doctest: +SKIP
    >>> reply = await job  # doctest: +SKIP
    """

    def __init__(
        self,
        request_id: str,
        *,
        model: str | None = None,
        origin: str = "",
        submitted_at: float | None = None,
        request: Any = None,
        wait: Waiter = wait_interruptibly,
    ) -> None:
        super().__init__(Queued(), wait=wait)
        self.request_id: str = request_id
        self.model, self.origin = model, origin
        self.submitted_at, self.request = submitted_at, request
        self._since = time.time() if submitted_at is None else submitted_at

    def __repr__(self) -> str:
        return f"<Job {self.request_id} {self.model or '?'} {self.status}>"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the id alone: what was asked stays here, and the reply is in the journal."""
        return (_resume, (self.request_id, self.model))

    @property
    def status(self) -> State:
        """Where it stands, as last heard of; it equals the gateway's word (``"COMPLETED"``)."""
        return self._state

    @property
    def reply(self) -> Reply | None:
        """The reply, or `None` until it is there; raises `JobError` if it ended without one."""
        return self._result() if self.done() else None

    @property
    def elapsed_s(self) -> float:
        """Seconds from its submission to its end; its reply's own figure once it is there."""
        if self._outcome is not None and self._outcome.elapsed_s is not None:
            return self._outcome.elapsed_s
        return max(0.0, (self._ended_at or time.time()) - self._since)

    def cancel(self) -> bool:
        """Stop watching it; `False` if it had ended.

        Segmind has no way to stop a job: it may still run, and be billed. `resume` takes it up
        again.
        """
        return self.finish(
            Cancelled(),
            error=JobCancelled(
                f"Job {self.request_id} is no longer watched. Segmind cannot stop it, so it may "
                f"still be billed; `%segmind resume {self.request_id}` takes it up again.",
                request_id=self.request_id,
            ),
        )

    def finish(
        self, state: State, *, reply: Reply | None = None, error: SegmindError | None = None
    ) -> bool:
        """Note the end, with a reply or an error; for whoever brings it there."""
        return self._finish(state, reply, error)


def _resume(request_id: str, model: str | None) -> Job:
    """Take up a job that was pickled; by name, as this is the floor of the house."""
    job: Job = importlib.import_module("segmind_jupyter").resume(request_id)
    job.model = job.model or model
    return job
