"""Sends the prompts of a batch, a bounded number at a time: its half on the background loop.

Notes what becomes of each item in `Results`, and knows nothing of those who wait for it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import anyio.to_thread

from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.messages import Call, Reply, Usage, user_message
from segmind_jupyter.api.settings import MAX_CONNECTIONS
from segmind_jupyter.api.watch import JobManager
from segmind_jupyter.batch.items import PromptTemplate
from segmind_jupyter.batch.results import Results, never_sent
from segmind_jupyter.content.parts import format_error
from segmind_jupyter.errors import (
    APIError,
    AuthenticationError,
    JobExpired,
    MaybeBilledError,
    NotCachedError,
    ReplyError,
    SegmindError,
    SettingsError,
    shortened,
)
from segmind_jupyter.session import Session

if TYPE_CHECKING:
    from segmind_jupyter.content.json_schema import Expected

#: Refusals of a submission that every other one would meet as well (WIRE.md, "Errors"): the key,
#: the model or the account is at fault, or a limit lasts longer than the time-out.
_FOR_EVERY_ITEM: Final = frozenset({401, 403, 404, 406, 410, 429})

#: Of the calls in flight, one in so many may be under preparation or on its way (all others are
#: worked on at Segmind); at least enough to keep a connection busy, and no more than leave
#: connections for the looks at the jobs in flight.
_IN_FLIGHT_PER_SENDER: Final = 8
_FEWEST_SENDERS, _MOST_SENDERS = 4, MAX_CONNECTIONS // 2

#: A reply that does not fit what it must be, and why.
Misfit: TypeAlias = tuple[Reply, str]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a batch is sent."""

    call: Call
    max_in_flight: int
    resumes: bool
    stops_at_error: bool
    timeout_s: float | None = None
    may_send: bool = True
    expected: Expected | None = None
    retry_misfits: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """What is kept of an item's request: what its reply must be. The rest would hold its images."""

    expected: Expected


class Run:
    """One batch on its way: a fixed number of workers take up one item after the other."""

    def __init__(self, each: PromptTemplate, results: Results, plan: Plan, desk: Session) -> None:
        self._each, self._results, self._plan, self._desk = each, results, plan, desk
        #: How many calls of each digest were met: equal items are told apart by their number.
        self._met: Counter[bytes] = Counter()

    async def __call__(self) -> None:
        """Send everything, and follow it to its end."""
        try:
            watch = self._desk.watch()
        except SegmindError as error:
            self._results.stop(error)
            return
        in_flight = min(self._plan.max_in_flight, len(self._each))
        senders = min(max(_FEWEST_SENDERS, in_flight // _IN_FLIGHT_PER_SENDER), _MOST_SENDERS)
        sending = anyio.Semaphore(senders)
        # One at a time: figures, and images that load at their first use, bear no two threads.
        converting = anyio.CapacityLimiter(1)

        async def work() -> None:
            while True:
                async with sending:
                    position = self._results.take()
                    if position is None:
                        return
                    job = await self._queued(position, watch, converting)
                misfits: list[Misfit] = []
                while job is not None:
                    if not (kept := job.done()):
                        await watch.follow(job)
                    misfit = self._misfit(job)
                    if misfit is None or len(misfits) == self._plan.retry_misfits:
                        self._note(position, job, misfits, kept=kept)
                        break
                    misfits.append(misfit)
                    async with sending:
                        job = await self._queued(position, watch, converting, misfits)

        async with anyio.create_task_group() as workers:
            for _ in range(in_flight):
                workers.start_soon(work)

    async def _queued(
        self,
        position: int,
        watch: JobManager,
        converting: anyio.CapacityLimiter,
        misfits: Sequence[Misfit] = (),
    ) -> Job | None:
        """Bring an item to Segmind, or find its job there; `None` if it failed.

        What is encoded is held no longer than this takes.
        """

        def make_call() -> Call:
            """Make the call beside the loop, as encoding an image takes a while."""
            self._results.check_goes_on()
            messages = [user_message(self._each.prompt(position).blocks())]
            for reply, why in misfits:
                answer = {"type": "text", "text": reply.text or "…"}
                again = f"{why}. Answer again with JSON that fits, and nothing else."
                messages.append({"role": "assistant", "content": [answer]})
                messages.append(user_message([{"type": "text", "text": again}]))
            call = dataclasses.replace(self._plan.call, messages=messages)
            _ = call.digest  # worked out here, for the same reason
            return call

        try:
            call = await anyio.to_thread.run_sync(make_call, limiter=converting)
            nth = self._met[call.digest]
            self._met[call.digest] += 1
            job = await watch.found(call, nth) if self._plan.resumes else None
            if not self._plan.may_send and (job is None or not job.done()):
                raise NotCachedError(
                    'The journal has no reply to this item, and `ClaudeMagics.cache = "only"` '
                    "sends nothing. Run the batch once online with another setting."
                )
            if job is None:  # claimed in the journal first: no batch of any kernel sends it again
                job = await watch.submit(
                    call,
                    nth=nth,
                    anew=not self._plan.resumes,
                    timeout_s=self._plan.timeout_s,
                    check=self._results.check_goes_on,
                )
        except SegmindError as error:
            is_everyones = isinstance(error, SettingsError) or (
                isinstance(error, APIError) and error.status in _FOR_EVERY_ITEM
            )
            self._fail(position, error, misfits, for_all=is_everyones)
        except Exception as error:  # noqa: BLE001  whatever is wrong with one, the others go on
            _log.exception("item %d of a batch cannot be sent", position)
            words = f"The item cannot be sent ({format_error(error)})."
            self._fail(position, SegmindError(words), misfits)
        else:
            return job
        return None

    def _misfit(self, job: Job) -> Misfit | None:
        """Return the reply of a job that has ended, and why it does not fit, if it does not."""
        if self._plan.retry_misfits and self._plan.expected and not job.error and job.reply:
            try:
                self._plan.expected.parse(job.reply.text)
            except ReplyError as error:
                return job.reply, str(error).partition(". ")[0]
        return None

    def _note(self, position: int, job: Job, misfits: Sequence[Misfit], *, kept: bool) -> None:
        """Note how the job of an item ended."""
        if job.error is None and job.reply is not None:
            self._keep(position, [*(reply for reply, _ in misfits), job.reply], kept=kept)
        elif isinstance(job.error, JobExpired):
            lost = JobExpired(
                f"The reply of job {job.request_id} is lost: it was sent before, and Segmind keeps "
                "a result for one hour. It may have been billed. Run the batch again to send the "
                "item anew.",
                request_id=job.request_id,
            )
            self._fail(position, lost, misfits)
        elif job.error is not None:
            # Other refusals of a look are its job's own.
            for_all = isinstance(job.error, AuthenticationError)
            self._fail(position, job.error, misfits, for_all=for_all)

    def _keep(self, position: int, replies: Sequence[Reply], *, kept: bool) -> None:
        """Note the last of an item's replies, with what all of them took."""

        def total(amounts: Iterable[Any]) -> Any:
            known = [amount for amount in amounts if amount is not None]
            return sum(known) if known else None

        reply = replies[-1]
        if len(replies) > 1:
            names = [count.name for count in dataclasses.fields(Usage)]
            usage = Usage(**{n: total(getattr(each.usage, n) for each in replies) for n in names})
            reply = dataclasses.replace(
                reply, usage=usage, cost=total(each.cost for each in replies)
            )
        if self._plan.expected is not None:
            reply = dataclasses.replace(reply, request=Asked(self._plan.expected))
        self._results.add_reply(position, reply, kept=kept)

    def _fail(
        self,
        position: int,
        error: SegmindError,
        misfits: Sequence[Misfit],
        *,
        for_all: bool = False,
    ) -> None:
        if isinstance(error, MaybeBilledError):
            self._desk.ledger.add_unknown()
        # The frames of an error, and of those behind it, would hold what was encoded.
        error.__cause__ = error.__context__ = None
        error = error.with_traceback(None)
        if misfits:  # what was paid for stays, though it was to be asked for once more
            self._keep(position, [reply for reply, _ in misfits], kept=False)
        else:
            self._results.add_error(position, error)
        if for_all and isinstance(error, APIError):
            words = f" ({shortened(error.detail)})" if error.detail else ""
            error = never_sent(f"another item was refused with {error.status}{words}")
        elif not for_all:
            error = never_sent("another item failed")
        if for_all or self._plan.stops_at_error:
            self._results.stop(error)
