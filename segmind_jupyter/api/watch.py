"""Submits jobs, takes them up, and polls each until its reply is in the journal and handed over.

Lives on the background loop. How many requests may go is `transport`'s affair, what an answer
means `states`'.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import math
import random
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
import anyio.to_thread

from segmind_jupyter import errors
from segmind_jupyter.api import responses
from segmind_jupyter.api.database import Claim, JobRecord
from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.journal import BEAT_S, Journal
from segmind_jupyter.api.loop import Waiter, wait_interruptibly
from segmind_jupyter.api.messages import Call, Reply
from segmind_jupyter.api.responses import Completed, Failed, State, failed
from segmind_jupyter.api.retry import History, backoff_s, may_repeat, next_poll

if TYPE_CHECKING:
    from segmind_jupyter.api.client import SegmindClient

T = TypeVar("T")

#: Of a job that is younger, or was seen, a 404 must be the only answer for so long to be believed:
#: an id can be known before its record is, and a server may lag.
_YOUNG_S = _GONE_S = 10.0

#: How long a result is kept (the vendor's page on v2): a 404 is no surprise then, and a job that
#: was watched for that long has no end that anybody could fetch.
LIFE_S: Final = 3600.0

#: A look that hangs is given up and made again; a result may be long.
_POLL_TIMEOUT_S, _RESULT_TIMEOUT_S = 8.0, 20.0

#: Answers in a row that make no sense (the page of a hotel's network, say) before that is believed.
_MAX_SENSELESS: Final = 12

#: How long a submission goes on that nobody waits for any more: longer than gateways let one take.
_UNATTENDED_S: Final = 60.0

#: How long closing waits for ids that are on their way; how often another's claim is looked at.
_CLOSING_S, _CLAIM_LOOK_S = 2.0, 0.5

_log = logging.getLogger(__name__)


class JobManager:
    """The jobs of one client, with one handle of each that has not ended."""

    def __init__(
        self,
        client: SegmindClient,
        *,
        journal: Journal,
        place: str = "",
        wait: Waiter = wait_interruptibly,
        delivered: Callable[[Job, Reply], object] = lambda job, reply: None,
        reserve: Callable[[Call, str], Any] | None = None,  # `Budget.reserve`
        give_up_s: float = LIFE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.client = client
        self.origin = client.settings.base_url
        self.journal = journal
        self.history = History(seed=lambda model: journal.durations(self.origin, model))
        self.delivered = delivered
        self.give_up_s = give_up_s
        self._reserve = reserve
        #: What is set aside for jobs whose reply has not come, by their ids.
        self.holds: dict[str, Any] = {}
        self.clock, self.sleep, self.jitter = clock, sleep, jitter
        self._place, self._wait = place, wait
        self._jobs: weakref.WeakValueDictionary[str, Job] = weakref.WeakValueDictionary()
        #: Those that somebody polls, for all who wait.
        self._led: weakref.WeakSet[Job] = weakref.WeakSet()
        # The loop itself holds its tasks weakly.
        self._submissions: set[asyncio.Task[Any]] = set()
        self._others: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def submit(
        self,
        call: Call,
        *,
        request: Any = None,
        nth: int | None = None,
        anew: bool = False,
        timeout_s: float | None = None,
        check: Callable[[], object] = lambda: None,
    ) -> Job:
        """Queue a call, and note its id in the journal before anything else happens.

        With `nth` (which of equal calls it is) it is sent once, whichever kernels ask for it; not
        where it is `anew`. `check` may raise before it is sent. Whoever is cancelled here waits no
        longer; the submission goes on for a while, as its id is to be in the journal.
        """
        if self._closed:
            await anyio.sleep_forever()  # until the loop ends; it would not be answered in time
        work = (
            None if nth is None else await _threaded(work_of, self.journal, call, nth, self.origin)
        )
        while True:
            check()
            submitting = _spawn(
                self._submit(call, request, work, anew, timeout_s), self._submissions
            )
            try:
                await asyncio.wait([submitting])
            except asyncio.CancelledError:
                asyncio.get_running_loop().call_later(_UNATTENDED_S, submitting.cancel)
                submitting.add_done_callback(self._follow_sent)
                raise
            sent = submitting.result()
            if isinstance(sent, Job):
                return sent
            if sent.state == "lost":
                at = time.strftime("%Y-%m-%d %H:%M", time.localtime(sent.at))
                raise errors.MaybeBilledError(
                    f"This was to be sent at {at}, and no answer with an id came: the connection "
                    "broke, say, or its kernel died. It may have been billed, so it was not sent "
                    "again. `%segmind history` shows whether it was; `ask_each` of it alone with "
                    "`resume=False` asks again."
                )
            if sent.job is None:
                await self.sleep(_CLAIM_LOOK_S)
            elif (job := self._known(sent.job)) is not None:
                return job
            else:
                anew = True  # what was kept is of no use

    def _follow_sent(self, sent: asyncio.Task[Job | Claim]) -> None:
        """Follow a job although nobody waits for its id any more: its reply is paid for."""
        if not (sent.cancelled() or sent.exception()) and isinstance(job := sent.result(), Job):
            self.start(job)

    async def _submit(
        self, call: Call, request: Any, work: str | None, anew: bool, timeout_s: float | None
    ) -> Job | Claim:
        """Claim a work, and send it; or return whose it is."""
        beating: asyncio.Task[None] | None = None
        hold: Any = None

        async def beat(work: str) -> None:
            while True:
                await self.sleep(BEAT_S)
                await _noted(self.journal.beat, work)

        if work is not None:
            claim = await _threaded(self.journal.claim, work, anew=anew)
            if claim.state != "ours":
                return claim
            beating = _spawn(beat(work), self._others)
        try:
            if self._reserve is not None:
                hold = await _threaded(self._reserve, call, self.origin)
            ticket = await self.client.submit_chat(
                call.model,
                call.messages,
                instruction=call.instruction,
                timeout_s=timeout_s,
                **call.params,
            )
        except BaseException as error:  # also where it may be billed: whoever asked is told
            if hold is not None:
                hold.settle(error)
            if isinstance(error, errors.SegmindError) and beating is not None:
                # What a server answered with an error is not charged; where no answer came, or
                # one without an id, no later run may send it again by itself.
                is_unknown = (
                    isinstance(error, errors.MaybeBilledError) and (error.status or 0) < 400
                )
                await _noted(self.journal.lose if is_unknown else self.journal.release, work)
            raise
        finally:
            if beating is not None:
                beating.cancel()
        job = self._job(ticket.request_id, call.model, submitted_at=time.time(), request=request)
        if hold is not None:
            self.holds[job.request_id] = hold
        # It may be billed by now: nothing may come between the id and the journal.
        await self._note(job, work=work)
        return self._enter(job)

    async def close(self) -> None:
        """Submit nothing more, and wait a moment for the ids of what is on its way."""
        self._closed = True
        if self._submissions:
            await asyncio.wait(self._submissions, timeout=_CLOSING_S)

    async def found(self, call: Call, nth: int) -> Job | None:
        """Find the job of an equal call in the journal: with its reply, or still to be followed."""
        work = await _threaded(work_of, self.journal, call, nth, self.origin)
        record = await _threaded(self.journal.find_work, work)
        return None if record is None else self._known(record)

    async def resume(self, request_id: str) -> Job:
        """Take a job up again by its id, without sending it."""
        record = await _threaded(self.journal.find, responses.checked_id(request_id))
        if record is None:
            job = self._job(request_id, None)
            await self._note(job)
        else:
            job = self._kept(record)
            if not job.done() and record.origin != self.origin:
                raise errors.JobError(
                    f"Job {request_id} was sent to {record.origin}, and calls now go to "
                    f"{self.origin}. Go back there (`%segmind status`) to fetch its reply.",
                    request_id=request_id,
                )
        # Somebody else may have taken it up meanwhile.
        return job if job.done() else self._enter(job)

    def followed(self, request_id: str) -> Job | None:
        """Find the handle of a job that has not ended; any thread may look."""
        job = self._jobs.get(request_id)
        return None if job is None or job.done() else job

    def _enter(self, job: Job) -> Job:
        """Enter a handle, unless the job has one; returns that one."""
        known = self.followed(job.request_id)
        if known is None:
            self._jobs[job.request_id] = job
        return known or job

    def start(self, job: Job) -> None:
        """Have a job followed from now on, as `follow` does, whether anybody waits or not."""
        if job not in self._led:
            self._led.add(job)
            # The loop may end before it has begun.
            _spawn(self._lead(job), self._others).add_done_callback(lambda _: job.cancel())

    async def follow(self, job: Job) -> None:
        """Poll until it has ended, keep its reply, and hand it over; trouble is the job's error.

        Where somebody polls already, wait for that.
        """
        if job in self._led:
            await job.settled()
        else:
            self._led.add(job)
            await self._lead(job)

    async def _lead(self, job: Job) -> None:
        again = f"`%segmind resume {job.request_id}` takes it up again."
        try:
            await JobPoller(self, job).run()
        except errors.JobExpired as error:
            await _noted(self.journal.ended, job.request_id, state=str(responses.Expired()))
            job.finish(responses.Expired(), error=error)
        except errors.SegmindError as error:
            if isinstance(error, errors.APIError):
                error.args = (f"{error} The job itself goes on: {again}",)
            job.finish(responses.Cancelled(), error=error)
        except Exception as error:  # noqa: BLE001 - a job must end, whatever happens
            _log.exception("job %s cannot be followed", job.request_id)
            why = f"Job {job.request_id} cannot be watched ({type(error).__name__}). {again}"
            job.finish(responses.Cancelled(), error=errors.JobError(why, request_id=job.request_id))
        finally:
            # Nobody watches it from here on; nothing happens if it has ended.
            job.cancel()
            self.settle(job, None)

    async def end(
        self,
        job: Job,
        read: Reply | Failed,
        *,
        raw: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """End a job, whatever else is cancelled meanwhile: note it, count it, hand it over."""
        state, error = (Completed(), None) if isinstance(read, Reply) else (read, read.detail)
        end = {"state": str(state), "raw": raw, "seconds": seconds, "error": error}
        await _noted(self.journal.ended, job.request_id, **end)
        if job.done():  # if it was cancelled, whoever resumes it finds the reply kept
            return
        await _noted(self.settle, job, read)
        if isinstance(read, Reply):
            await _noted(self.delivered, job, read)
        hand_over(job, read)

    def settle(self, job: Job, read: Reply | State | None) -> None:
        """Settle what is set aside for a job; `None`: it goes on, whatever it takes."""
        hold = self.holds.get(job.request_id)
        if hold is not None:
            hold.settle(failed(job.request_id, read.detail) if isinstance(read, Failed) else read)
            if read is not None:
                del self.holds[job.request_id]

    def _job(self, request_id: str, model: str | None, **known: Any) -> Job:
        return Job(request_id, model=model, origin=self.origin, wait=self._wait, **known)

    async def _note(self, job: Job, *, work: str | None = None) -> None:
        record = JobRecord(
            request_id=job.request_id, origin=self.origin, model=job.model,
            submitted_at=job.submitted_at, state=str(responses.Queued()), work=work,
            place=self._place,
        )  # fmt: skip
        await _noted(self.journal.submitted, record)

    def _known(self, record: JobRecord) -> Job | None:
        """Make the handle of what was sent before, unless that came to nothing."""
        job = self._kept(record)
        if job.done():
            return None if job.error else job
        return None if record.raw is not None else self._enter(job)

    def _kept(self, record: JobRecord) -> Job:
        """Make the handle of a job that the journal knows; a result without a reply is no end."""
        job = self._job(record.request_id, record.model, submitted_at=record.submitted_at)
        if record.raw is not None:
            with contextlib.suppress(errors.ReplyError, errors.JobError):
                hand_over(job, self.read(job, record.raw, record.seconds))
        elif record.state == Failed():
            hand_over(job, Failed(record.error))
        return job

    def read(self, job: Job, raw: str, seconds: float | None = None) -> Reply | State:
        """Read a result."""
        read = self.client.read(raw, request_id=job.request_id, model=job.model, elapsed_s=seconds)
        return dataclasses.replace(read, request=job.request) if isinstance(read, Reply) else read


def work_of(journal: Journal, call: Call, nth: int, origin: str) -> str:
    """Name a work in the journal; images take a while to hash."""
    return journal.fingerprint(b"%s %d %s" % (call.digest, nth, origin.encode()))


def hand_over(job: Job, read: Reply | State) -> None:
    """End a job with what its result says; a state before the end changes nothing."""
    if isinstance(read, Reply):
        job.finish(Completed(), reply=read)
    elif isinstance(read, Failed):
        job.finish(read, error=failed(job.request_id, read.detail))


class JobPoller:
    """One job on its way: polls until it has completed, then fetches its result."""

    def __init__(self, manager: JobManager, job: Job) -> None:
        self._manager, self._job = manager, job
        self._begun = manager.clock()
        age_s = math.nan if job.submitted_at is None else time.time() - job.submitted_at
        #: Whether it was watched since its submission, so that its time is known. One that lies
        #: ahead was told by another machine's clock.
        self._is_young = 0.0 <= age_s < _YOUNG_S
        self._age_s = age_s if age_s > 0 else 0.0
        #: The age at which it was first seen to have completed.
        self._completed_s: float | None = None
        #: The age at which 404 began to be the only answer.
        self._missing_s: float | None = None
        self._was_seen = False
        self._troubles = self._senseless = 0

    async def run(self) -> None:
        """Look again and again, at the right moments, until the job has ended."""
        manager, job = self._manager, self._job
        # Once a model this reads the journal; from then on it is at hand.
        await _threaded(manager.history.soonest_s, job.model or "")
        while not job.done():
            delay_s = 0.0
            if self._troubles:
                # Most trouble with a read passes at once; a network may be away for minutes.
                luck = manager.jitter()
                delay_s = backoff_s(self._troubles, luck=luck, base_s=0.25, cap_s=30.0)
            # Else the result is there; or the job is gone, or may have ended long ago.
            is_followed = self._is_young or self._was_seen
            if is_followed and self._completed_s is None and self._missing_s is None:
                soonest_s = manager.history.soonest_s(job.model or "")
                delay_s = max(delay_s, next_poll(self._elapsed_s, soonest_s))
            await manager.sleep(delay_s)
            if job.done():  # cancelled meanwhile
                return
            try:
                await self._look()
                self._troubles, self._senseless, self._missing_s = 0, 0, None
            except (errors.APIError, errors.APIConnectionError, errors.JobExpired) as error:
                self._bear(error)
            if not job.done() and manager.clock() - self._begun >= manager.give_up_s:
                raise errors.JobTimeout(
                    f"Job {job.request_id} was still {job.status} when it had been watched for "
                    f"{manager.give_up_s / 60:.0f} min, and is watched no longer. "
                    f"`%segmind resume {job.request_id}` takes it up again.",
                    request_id=job.request_id,
                )

    @property
    def _elapsed_s(self) -> float:
        return self._age_s + self._manager.clock() - self._begun

    async def _look(self) -> None:
        """Ask once, for the state or, if that is known to be COMPLETED, for the result."""
        manager, job = self._manager, self._job
        if self._completed_s is None:
            state = await manager.client.status(
                job.request_id, timeout_s=_POLL_TIMEOUT_S, repeat=False
            )
            self._was_seen = True
            if isinstance(state, Failed):
                await manager.end(job, state)
            elif isinstance(state, Completed):
                self._completed_s = self._elapsed_s
                job.move(responses.Processing())  # until its result has been read
            else:
                job.move(state)
        if self._completed_s is not None:
            await self._fetch(self._completed_s)

    async def _fetch(self, completed_s: float) -> None:
        manager, job = self._manager, self._job
        known = await _threaded(manager.journal.find, job.request_id)
        if known is not None and known.answered:  # another kernel was here, and has counted it
            kept = manager.read(job, known.raw or "", known.seconds)
            await _noted(manager.settle, job, kept)
            hand_over(job, kept)
            return
        raw, read = await manager.client.fetch(
            job.request_id, model=job.model, timeout_s=_RESULT_TIMEOUT_S, repeat=False
        )
        if isinstance(read, Reply):
            read, seconds = dataclasses.replace(read, request=job.request), None
            if self._is_young:
                seconds = completed_s
                manager.history.add(job.model or "", seconds)
                read = dataclasses.replace(read, elapsed_s=job.elapsed_s)
            await manager.end(job, read, raw=raw, seconds=seconds)
        elif isinstance(read, Failed):
            await manager.end(job, read)
        else:  # after all: the poll said otherwise
            self._completed_s = None

    def _bear(self, error: errors.APIError | errors.APIConnectionError | errors.JobExpired) -> None:
        """Go on after trouble that may pass; raise what will not."""
        self._troubles += 1
        if isinstance(error, errors.JobExpired):
            age_s = self._elapsed_s
            self._missing_s = age_s if self._missing_s is None else self._missing_s
            may_pass = self._is_young or self._was_seen
            if age_s > LIFE_S or not may_pass or age_s - self._missing_s > _GONE_S:
                raise error
        elif isinstance(error, errors.APIError) and not may_repeat("GET", error.status or 0):
            # It may be of somebody on the way (a hotel's network, a proxy): it comes as if it were
            # the answer, by a redirect, or as a refusal in a form of its own.
            self._senseless += 1
            is_from_between = (error.status or 0) < 400 or not responses.is_envelope(error.body)
            if not is_from_between or self._senseless > _MAX_SENSELESS:
                raise error


def _spawn(work: Coroutine[Any, Any, T], tasks: set[asyncio.Task[Any]]) -> asyncio.Task[T]:
    """Run it on the loop whether anybody waits or not, until the loop ends."""
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)

    def end(task: asyncio.Task[T]) -> None:
        tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:  # else asyncio complains
            _log.debug("a task ended with %s", type(task.exception()).__name__)

    task.add_done_callback(end)
    return task


async def _threaded(function: Callable[..., T], *args: Any, **fields: Any) -> T:
    """Run what touches the disk beside the loop, so that it holds nothing up."""
    return await anyio.to_thread.run_sync(lambda: function(*args, **fields))


async def _noted(write: Callable[..., object], *args: Any, **fields: Any) -> None:
    """Write something down, whatever else is cancelled meanwhile.

    Nothing of that raises. Should it do so all the same, a paid job must not be lost with it.
    """
    with anyio.CancelScope(shield=True):
        try:
            await _threaded(write, *args, **fields)
        except Exception:  # noqa: BLE001 - see above
            _log.exception("a job was not noted")
