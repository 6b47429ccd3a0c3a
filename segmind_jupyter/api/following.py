"""One job on its way: polls until it has completed, then fetches its result.

When to look is `pace`'s affair; what is kept of it, and who hears of it, is the watch's.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from segmind_jupyter.api.errors import failed, is_envelope, senseless
from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.pace import next_poll
from segmind_jupyter.api.retry import Policy, may_repeat
from segmind_jupyter.api.states import Completed, Failed, Processing, Queued, State
from segmind_jupyter.errors import APIConnectionError, APIError, JobExpired, ReplyError

if TYPE_CHECKING:
    from segmind_jupyter.api.watch import Watch

#: How long a 404 may mean "not there yet": a job's id can be known before its record is.
_YOUNG_S: Final = 10.0

#: How long 404 must be the only answer to be believed: one of the gateway's servers may lag.
_GONE_S: Final = 3.0

#: How long a result is kept (the vendor's page on v2); from then on a 404 is no surprise.
_LIFE_S: Final = 3600.0

#: Answers in a row that make no sense (the page of a hotel's network, say) before it is given up.
_MAX_SENSELESS: Final = 12

#: Waits after trouble: shorter than a request's, as most trouble with a read passes at once, and
#: longer in the end, as a network may be away for minutes.
_PATIENT: Final = Policy(base_s=0.25, cap_s=30.0)

_log = logging.getLogger(__name__)


class Following:
    """One job on its way: polls until it has completed, then fetches its result."""

    def __init__(self, watch: Watch, job: Job) -> None:
        self._watch, self._job = watch, job
        self._begun = watch.clock()
        age_s = math.nan if job.submitted_at is None else time.time() - job.submitted_at
        #: Whether every moment since the submission was watched, so that its time is known. One
        #: that lies ahead was told by another machine's clock.
        self._throughout = 0.0 <= age_s < 1.0
        self._age_s = age_s if age_s > 0 else 0.0
        #: Ages at which it was last seen not to have ended, and first seen to have completed.
        self._pending_s, self._completed_s = 0.0, 0.0
        #: Whether trouble kept anybody from looking since then, so that the two are far apart.
        self._blind = False
        #: The age at which 404 began to be the only answer.
        self._missing_s: float | None = None
        self._looked = self._completed = False
        self._troubles = self._senseless = 0

    async def run(self) -> None:
        """Look again and again, at the right moments, until the job has ended."""
        # Once a model this reads the journal; from then on it is at hand.
        await anyio.to_thread.run_sync(self._watch.history.of, self._job.model or "")
        while not self._job.done():
            await self._watch.sleep(self._delay_s())
            if self._job.done():  # cancelled meanwhile
                return
            try:
                await self._look()
                self._troubles = self._senseless = 0
                self._missing_s = None
            except (APIError, APIConnectionError, JobExpired) as error:
                self._bear(error)

    @property
    def _elapsed_s(self) -> float:
        return self._age_s + self._watch.clock() - self._begun

    def _delay_s(self) -> float:
        pause_s = 0.0
        if self._troubles:
            pause_s = _PATIENT.backoff_s(self._troubles, luck=self._watch.jitter())
        if self._completed or not (self._throughout or self._looked):
            return pause_s  # the result is there; or the job may have ended long ago
        history = self._watch.history.of(self._job.model or "")
        return max(pause_s, next_poll(self._elapsed_s, history))

    async def _look(self) -> None:
        """Ask once, for the state or, if that is known to be COMPLETED, for the result."""
        if not self._completed:
            await self._poll()
        if self._completed:
            await self._fetch()

    async def _poll(self) -> None:
        asked_s = self._elapsed_s
        state = await self._watch.client.status(self._job.request_id, repeat=False)
        if isinstance(state, Failed):
            await self._watch.keep(self._job, state)
            hand_over(self._job, state)
        elif isinstance(state, Completed):
            self._completed, self._completed_s = True, self._elapsed_s
        else:
            self._job.move(state)
            self._still_pending(asked_s)

    def _still_pending(self, age_s: float) -> None:
        self._looked, self._completed, self._blind = True, False, False
        self._pending_s = age_s

    async def _fetch(self) -> None:
        job, asked_s = self._job, self._elapsed_s
        answer = await self._watch.client.fetch(job.request_id, repeat=False)
        read = self._watch.read(job, answer.text, None)
        if isinstance(read, Queued | Processing):  # after all: the poll said otherwise
            self._still_pending(asked_s)
            return
        if not _is_whole(answer.json(), read):
            raise senseless(f"The result of job {job.request_id}", answer, "it has no output")
        seconds = self._seconds(read)
        state = read if isinstance(read, State) else Completed()
        await self._watch.keep(job, state, raw=answer.text, seconds=seconds)
        if isinstance(read, Reply):
            if seconds is not None:
                self._watch.history.add(job.model or "", seconds)
            if self._throughout:
                read = dataclasses.replace(read, elapsed_s=job.elapsed_s)
            if not job.done():  # if it was cancelled, whoever resumes it finds the reply kept
                await self._deliver(read)
        hand_over(job, read)

    async def _deliver(self, reply: Reply) -> None:
        try:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._watch.delivered, self._job, reply)
        except Exception:  # noqa: BLE001 - the reply is paid for, whatever became of it there
            _log.exception("job %s was not counted", self._job.request_id)

    def _seconds(self, read: object) -> float | None:
        """Estimate when it ended: between the last two polls, or when the gateway says."""
        if not self._throughout or not isinstance(read, Reply):
            return None
        told_s = read.elapsed_s
        if told_s is not None and self._pending_s <= told_s <= self._completed_s:
            return told_s
        return None if self._blind else (self._pending_s + self._completed_s) / 2

    def _bear(self, error: APIError | APIConnectionError | JobExpired) -> None:
        """Go on after trouble that may pass; raise what will not."""
        self._troubles += 1
        # Trouble after COMPLETED does not make its moment less certain.
        self._blind |= not self._completed
        if isinstance(error, JobExpired):
            if self._is_gone():
                raise error
        elif isinstance(error, APIError) and not may_repeat("GET", error.status or 0):
            self._senseless += 1
            if not _is_from_between(error) or self._senseless > _MAX_SENSELESS:
                raise error

    def _is_gone(self) -> bool:
        """Tell whether a 404 is to be believed: it may come too early, or from a lagging server."""
        age_s = self._elapsed_s
        if self._missing_s is None:
            self._missing_s = age_s
        young = self._job.submitted_at is not None and age_s <= _YOUNG_S
        return age_s > _LIFE_S or not (young or age_s - self._missing_s <= _GONE_S)


def hand_over(job: Job, read: Reply | State | ReplyError) -> None:
    """End a job with what its result says; a state before the end changes nothing."""
    if isinstance(read, Reply):
        job.finish(Completed(), reply=read)
    elif isinstance(read, ReplyError):
        job.finish(Completed(), error=_unreadable(job, read))
    elif isinstance(read, Failed):
        job.finish(read, error=failed(job.request_id, read.detail))


def _is_from_between(error: APIError) -> bool:
    """Tell an answer of somebody on the way (a hotel's network, a proxy) from the gateway's own.

    It comes as if it were the answer, by a redirect, or as a refusal in a form of its own.
    """
    if error.status is None:
        return False
    return 200 <= error.status < 400 or not is_envelope(error.body)


def _unreadable(job: Job, error: ReplyError) -> ReplyError:
    return ReplyError(
        f"Job {job.request_id} has completed, and may have been billed, but its result holds no "
        f"reply: {error}"
    )


def _is_whole(body: object, read: Reply | State | ReplyError) -> bool:
    """Tell a result, even one that holds no text, from what a lagging server or a proxy sends."""
    if not isinstance(body, dict):
        return False
    return not isinstance(read, ReplyError) or body.get("output") is not None
