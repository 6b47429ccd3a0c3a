"""`Job`: the handle of one queued call, and `Followed`: which handles are those that live.

A job knows how to wait; `watch` tells it what happens.

Threads may share it: the background loop moves it on, any thread or loop waits for it.
"""

from __future__ import annotations

import os
import time
import weakref
from typing import Any, Final

from segmind_jupyter.api.ending import Ending
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.states import Cancelled, Queued, State
from segmind_jupyter.api.waiting import Waiter, checked_patience, in_slices
from segmind_jupyter.errors import Interrupted, JobCancelled, JobError, JobTimeout, SegmindError

#: As the vendor's SDK waits.
WAIT_S: Final = 600.0


class Job(Ending[Reply, State]):
    """One call that Segmind works on, and its reply once that is there.

    Made by `submit` and `resume`. The reply is fetched in the background, whether anybody waits
    or not, and kept in the journal.

    Parameters
    ----------
    request_id
        The id under which Segmind keeps it; `resume` takes it, in any kernel.
    model
        Slug of the model; `None` where it is not known.
    origin
        Where it was sent: a base URL, or ``"simulator"``.
    submitted_at
        Unix time; `None` for an id from elsewhere, whose age is unknown.
    request
        What was asked; opaque here.
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
        wait: Waiter = in_slices,
    ) -> None:
        super().__init__(Queued(), wait=wait)
        self.request_id = request_id
        self.model = model
        self.origin = origin
        self.submitted_at = submitted_at
        self.request = request
        self._since = time.time() if submitted_at is None else submitted_at

    def __repr__(self) -> str:
        return f"<Job {self.request_id} {self.model or '?'} {self.status}>"

    @property
    def status(self) -> State:
        """Where it stands: `Queued`, `Processing`, `Completed`, `Failed`, `Expired`, `Cancelled`.

        As last heard of; looking sends nothing. It equals the gateway's word (``"COMPLETED"``).
        """
        return self._state

    @property
    def reply(self) -> Reply | None:
        """The reply, or `None` until it is there.

        Raises
        ------
        JobError
            The job ended without one.
        """
        return self._result() if self.done() else None

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was submitted, until its end; its reply's own figure once it is there.

        The end of a job that is taken up again may lie long before it was heard of here.
        """
        if self._outcome is not None and self._outcome.elapsed_s is not None:
            return self._outcome.elapsed_s
        return max(0.0, (self._ended_at or time.time()) - self._since)

    def wait(self, timeout: float | None = WAIT_S) -> Reply:
        """Wait for the reply.

        Parameters
        ----------
        timeout
            Seconds to wait; `None` waits for ever. The job goes on either way.

        Raises
        ------
        JobTimeout
            The time is up; it also is a `TimeoutError`.
        JobFailed, JobExpired, JobCancelled
            The job ended without a reply.
        SegmindError
            The service could not be asked: a refused key, an answer that makes no sense.
        JobError
            This process was forked from the one that submitted it.
        SettingsError
            `timeout` is no time that can be waited.
        Interrupted
            The user interrupted the wait; the job goes on.
        """
        timeout = checked_patience(timeout)
        try:
            ended = self._wait_for_end(timeout)
        except KeyboardInterrupt:
            raise Interrupted(
                f"Stopped waiting for job {self.request_id}; it goes on. `%segmind wait` waits "
                "again."
            ) from None
        if not ended:
            raise JobTimeout(
                f"Job {self.request_id} was still {self.status} after {timeout:g} s. It goes on: "
                f"wait again, or look later with `%segmind resume {self.request_id}`.",
                request_id=self.request_id,
            )
        return self._result()

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

    def move(self, state: State) -> None:
        """Note a state before the end. For `watch` alone."""
        self._move(state)

    def finish(
        self, state: State, *, reply: Reply | None = None, error: SegmindError | None = None
    ) -> bool:
        """Note the end, with a reply or an error; only the first one counts. For `watch` alone."""
        return self._finish(state, reply, error)

    def _stranded(self) -> JobError:
        return JobError(
            f"Job {self.request_id} is followed by the process that this one was forked from, not "
            f'here: `resume("{self.request_id}")` takes it up in this one.',
            request_id=self.request_id,
        )


class Followed:
    """Which handle of each job is the one that is followed, in this process.

    Entered on the background loop alone; any thread may look a job up.
    """

    def __init__(self) -> None:
        # Weak, so that it holds no reply; by process, as nothing follows a parent's jobs in its
        # forked child.
        self._jobs: weakref.WeakValueDictionary[tuple[int, str], Job]
        self._jobs = weakref.WeakValueDictionary()

    def job(self, request_id: str) -> Job | None:
        """Find the handle that is followed at present."""
        job = self._jobs.get((os.getpid(), request_id))
        return None if job is None or job.done() else job

    def claim(self, job: Job) -> Job | None:
        """Make this handle the one that is followed.

        Returns
        -------
        Job or None
            The handle that is followed already, or gave a reply; `None` where there was none.
        """
        key = os.getpid(), job.request_id
        known = self._jobs.get(key)
        if known is not None and known.error is None and known.origin == job.origin:
            return known
        self._jobs[key] = job
        return None
