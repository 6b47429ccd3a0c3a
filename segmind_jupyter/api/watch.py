"""Submits jobs, takes them up and has them followed: the one place that keeps the journal.

Lives on the background loop. How one job is followed is `following`'s affair, how many requests
may go `budget`'s, what an answer means `states`'.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.to_thread

from segmind_jupyter.api.jobs import Followed, Job, ended
from segmind_jupyter.api.journal import JobRecord, Journal
from segmind_jupyter.api.loop import Waiter, wait_interruptibly
from segmind_jupyter.api.messages import Call, Reply
from segmind_jupyter.api.responses import failed, is_envelope, senseless
from segmind_jupyter.api.retry import History, Policy, may_repeat, next_poll
from segmind_jupyter.api.states import (
    Cancelled,
    Completed,
    Expired,
    Failed,
    Processing,
    Queued,
    State,
    checked_id,
)
from segmind_jupyter.errors import (
    APIConnectionError,
    APIError,
    JobError,
    JobExpired,
    ReplyError,
    SegmindError,
)

if TYPE_CHECKING:
    from segmind_jupyter.api.client import SegmindClient


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


class JobPoller:
    """One job on its way: polls until it has completed, then fetches its result."""

    def __init__(self, watch: JobManager, job: Job) -> None:
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
        """Give whether a 404 is to be believed: it may come too early, or from a lagging server."""
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


T = TypeVar("T")

#: How long a submission goes on that nobody waits for any more: longer than gateways let one take,
#: and short enough that nothing is sent when nobody thinks of it any longer.
_UNATTENDED_S: Final = 60.0

#: How long closing waits for the answers of submissions that are on their way.
_CLOSING_S: Final = 2.0


class JobManager:
    """The jobs of one client."""

    def __init__(
        self,
        client: SegmindClient,
        *,
        journal: Journal,
        place: str = "",
        wait: Waiter = wait_interruptibly,
        delivered: Callable[[Job, Reply], object] = lambda job, reply: None,
        followed: Followed | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.client = client
        self.origin = client.settings.base_url
        self.journal = journal
        # The journal lists the newest first.
        self.history = History(seed=lambda model: journal.durations(self.origin, model)[::-1])
        self.delivered = delivered
        self.followed = followed or Followed()
        self.clock, self.sleep, self.jitter = clock, sleep, jitter
        self._place = place
        self._wait = wait
        self._submissions, self._followings = _Tasks(), _Tasks()
        self._closed = False

    async def submit(
        self,
        call: Call,
        *,
        request: Any = None,
        nth: int | None = None,
        timeout_s: float | None = None,
    ) -> Job:
        """Queue a call, and note its id in the journal before anything else happens.

        Whoever is cancelled here waits no longer, while the submission goes on, for a minute at
        most: it may be paid for by then, and its id is to be in the journal.
        """
        if self._closed:
            await anyio.sleep_forever()  # until the loop ends; it would not be answered in time
        submitting = self._submissions.start(self._submit(call, request, nth, timeout_s))
        try:
            await asyncio.wait([submitting])
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(_UNATTENDED_S, submitting.cancel)
            raise
        return submitting.result()

    async def close(self) -> None:
        """Submit nothing more, and wait a moment for the ids of what is on its way."""
        self._closed = True
        await self._submissions.settle(_CLOSING_S)

    async def found(self, call: Call, nth: int) -> Job | None:
        """Find the job of an equal call in the journal: with its reply, or still to be followed."""
        entry = await _threaded(self.journal.find_work, await self._work(call, nth))
        if entry is None or entry.origin != self.origin:
            return None
        job = self._kept(entry)
        return None if job.error else job

    async def resume(self, request_id: str) -> Job:
        """Take a job up again by its id, without sending it."""
        entry = await _threaded(self.journal.find, checked_id(request_id))
        if entry is None:
            job = self._job(request_id, None)
            await _noted(self.journal.submitted, self._entry(job))
        else:
            job = self._taken_up(entry)
        # Somebody else may have taken it up meanwhile.
        return self.followed.job(request_id) or job

    def start(self, job: Job) -> None:
        """Have a job followed from now on, as `follow` does, whether anybody waits or not."""
        following = self._followings.start(self._follow(job, self.followed.claim(job)))
        # The loop may end before it has begun.
        following.add_done_callback(lambda _: job.cancel())

    async def follow(self, job: Job) -> None:
        """Poll until the job has ended, fetch its reply, keep it, and hand it over.

        Raises nothing: what goes wrong is the job's error. Ends early if somebody cancels the
        job. Each job is polled for one handle at a time; others end as that one does.
        """
        await self._follow(job, self.followed.claim(job))

    async def _follow(self, job: Job, first: Job | None) -> None:
        if first is None:
            await self._lead(job)
        elif first is job:
            await ended(job)
        else:
            await _end_alike(job, first)

    async def _lead(self, job: Job) -> None:
        """Follow a job for all its handles."""
        try:
            await JobPoller(self, job).run()
        except JobExpired as error:
            await self.keep(job, Expired())
            job.finish(Expired(), error=error)
        except SegmindError as error:
            job.finish(Cancelled(), error=_with_way_back(job, error))
        except Exception as error:  # noqa: BLE001 - a job must end, whatever happens
            _log.exception("job %s cannot be followed", job.request_id)
            job.finish(Cancelled(), error=_unforeseen(job, error))
        finally:
            job.cancel()  # nobody watches it from here on; nothing happens if it has ended

    async def keep(
        self, job: Job, state: State, *, raw: str | None = None, seconds: float | None = None
    ) -> None:
        """Note a job's end in the journal, whatever else is cancelled meanwhile."""
        error = state.detail if isinstance(state, Failed) else None
        await _noted(
            self.journal.ended,
            job.request_id,
            state=str(state),
            raw=raw,
            seconds=seconds,
            error=error,
        )

    async def _submit(
        self, call: Call, request: Any, nth: int | None, timeout_s: float | None
    ) -> Job:
        begun = self.clock()
        work = None if nth is None else await self._work(call, nth)
        ticket = await self.client.submit_chat(
            call.model,
            call.messages,
            instruction=call.instruction,
            timeout_s=timeout_s,
            **call.params,
        )
        job = self._job(ticket.request_id, call.model, submitted_at=time.time(), request=request)
        # It may be billed by now: nothing may come between the id and the journal.
        await _noted(self.journal.submitted, self._entry(job, work=work))
        _log.debug("job %s was queued in %.2f s", job.request_id, self.clock() - begun)
        return job

    async def _work(self, call: Call, nth: int) -> str:
        def fingerprint() -> str:
            return self.journal.fingerprint(b"%s %d %s" % (call.digest, nth, self.origin.encode()))

        return await _threaded(fingerprint)  # images take a while to hash

    def _job(self, request_id: str, model: str | None, **known: Any) -> Job:
        return Job(request_id, model=model, origin=self.origin, wait=self._wait, **known)

    def _entry(self, job: Job, *, work: str | None = None) -> JobRecord:
        return JobRecord(
            request_id=job.request_id,
            origin=self.origin,
            model=job.model,
            submitted_at=job.submitted_at,
            state=str(Queued()),
            work=work,
            place=self._place,
        )

    def _taken_up(self, entry: JobRecord) -> Job:
        job = self._kept(entry)
        if not job.done() and entry.origin != self.origin:
            raise JobError(
                f"Job {entry.request_id} was sent to {entry.origin}, and calls now go to "
                f"{self.origin}. Go back there (`%segmind status`) to fetch its reply.",
                request_id=entry.request_id,
            )
        return job

    def _kept(self, entry: JobRecord) -> Job:
        """Make the handle of a job that the journal knows."""
        job = self._job(entry.request_id, entry.model, submitted_at=entry.submitted_at)
        if entry.raw is not None:
            with contextlib.suppress(JobError):  # a state that was not known when it was kept
                hand_over(job, self.read(job, entry.raw, entry.seconds))
        elif entry.state == Failed.word:
            hand_over(job, Failed(entry.error))
        return job

    def read(self, job: Job, raw: str, seconds: float | None) -> Reply | State | ReplyError:
        """Read a result; one that holds no reply is an error of the job's, not of the way."""
        try:
            read = self.client.read(
                raw, request_id=job.request_id, model=job.model, elapsed_s=seconds
            )
        except ReplyError as error:
            return error
        return dataclasses.replace(read, request=job.request) if isinstance(read, Reply) else read


class _Tasks:
    """What runs on the loop whether anybody waits for it or not, until the loop ends."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()  # the loop itself holds its tasks weakly

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    async def settle(self, timeout_s: float) -> None:
        """Wait until all have ended, but not for long."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:  # else asyncio complains
            _log.debug("a task ended with %s", type(task.exception()).__name__)


async def _end_alike(job: Job, first: Job) -> None:
    """Do as the handle does that is followed."""
    if not first.done():
        job.move(first.status)
    first.on_change(lambda first: job.move(first.status))
    try:
        await ended(first)
        reply = None if first.error else first.reply
        if reply is not None:
            reply = dataclasses.replace(reply, request=job.request)
        job.finish(first.status, reply=reply, error=first.error)
    finally:
        job.cancel()  # as `_lead` does


def _with_way_back(job: Job, error: SegmindError) -> SegmindError:
    """Say how to go on with a job whose polls were refused, as by a key that is no longer valid."""
    if isinstance(error, APIError):
        again = f"The job itself goes on: `%segmind resume {job.request_id}` takes it up again."
        error.args = (f"{error} {again}",)
    return error


def _unforeseen(job: Job, error: Exception) -> JobError:
    return JobError(
        f"Job {job.request_id} cannot be watched ({type(error).__name__}). "
        f"`%segmind resume {job.request_id}` takes it up again.",
        request_id=job.request_id,
    )


async def _threaded(function: Callable[..., T], *args: Any, **fields: Any) -> T:
    """Run what touches the disk beside the loop, so that it holds nothing up."""

    def call() -> T:
        return function(*args, **fields)

    return await anyio.to_thread.run_sync(call)


async def _noted(write: Callable[..., object], *args: Any, **fields: Any) -> None:
    """Write to the journal, whatever else is cancelled meanwhile.

    A store does not raise. Should one do so all the same, a paid job must not be lost with it.
    """
    with anyio.CancelScope(shield=True):
        try:
            await _threaded(write, *args, **fields)
        except Exception:  # noqa: BLE001 - see above
            _log.exception("the journal failed")
