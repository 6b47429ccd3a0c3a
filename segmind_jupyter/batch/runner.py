"""Sends the prompts of a batch, a bounded number at a time: its half on the background loop.

Notes what becomes of each item in `Results`, and knows nothing of those who wait for it.
"""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread

from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.messages import Call, user_message
from segmind_jupyter.api.settings import MAX_CONNECTIONS
from segmind_jupyter.api.watch import JobManager
from segmind_jupyter.batch.items import PromptTemplate
from segmind_jupyter.batch.results import Results, lost, never_sent
from segmind_jupyter.content.parts import format_error
from segmind_jupyter.errors import (
    APIError,
    AuthenticationError,
    JobExpired,
    MaybeBilledError,
    NotCachedError,
    SegmindError,
    SettingsError,
    shortened,
)
from segmind_jupyter.session import Session

if TYPE_CHECKING:
    from segmind_jupyter.content.json_schema import Expected

#: Refusals of a submission that every other one would meet as well (WIRE.md, "Errors"): the key,
#: the model or the account is at fault.
_FOR_EVERY_ITEM: Final = frozenset({401, 403, 404, 406, 410})

#: Of the calls in flight, one in so many may be under preparation or on its way; all others are
#: worked on at Segmind, and only their ids are held here.
_IN_FLIGHT_PER_SENDER: Final = 8

#: Enough to keep a connection busy, however few may be in flight.
_FEWEST_SENDERS: Final = 4

#: The looks at the jobs in flight need connections too.
_MOST_SENDERS: Final = MAX_CONNECTIONS // 2

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


@dataclass(frozen=True, slots=True)
class Asked:
    """What is kept of an item's request: what its reply must be. The rest would hold its images."""

    expected: Expected


class Run:
    """One batch on its way.

    A fixed number of workers take up one item after the other, so that ten thousand items need
    no more room than as many as are in flight.
    """

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
                if job is not None:
                    await watch.follow(job)
                    self._note(position, job)

        async with anyio.create_task_group() as workers:
            for _ in range(in_flight):
                workers.start_soon(work)

    async def _queued(
        self, position: int, watch: JobManager, converting: anyio.CapacityLimiter
    ) -> Job | None:
        """Bring an item to Segmind; `None` if it has ended here already.

        What is encoded is held no longer than this takes.
        """

        def make_call() -> Call:
            """Make the call beside the loop, as encoding an image takes a while."""
            self._results.check_goes_on()
            messages = [user_message(self._each.prompt(position).blocks())]
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
            self._fail(position, error, for_all=is_everyones)
            return None
        except Exception as error:  # noqa: BLE001  whatever is wrong with one, the others go on
            _log.exception("item %d of a batch cannot be sent", position)
            self._fail(position, SegmindError(f"The item cannot be sent ({format_error(error)})."))
            return None
        if job.done():
            self._note(position, job, kept=True)
            return None
        return job

    def _note(self, position: int, job: Job, *, kept: bool = False) -> None:
        if isinstance(job.error, JobExpired):
            self._fail(position, lost(job.request_id))
        elif job.error is not None:
            # Other refusals of a look are its job's own.
            for_all = isinstance(job.error, AuthenticationError)
            self._fail(position, job.error, for_all=for_all)
        elif job.reply is not None:
            reply = job.reply
            if self._plan.expected is not None:
                reply = dataclasses.replace(reply, request=Asked(self._plan.expected))
            self._results.add_reply(position, reply, kept=kept)

    def _fail(self, position: int, error: SegmindError, *, for_all: bool = False) -> None:
        if isinstance(error, MaybeBilledError):
            self._desk.ledger.add_unknown()
        # The frames of an error, and of those behind it, would hold what was encoded.
        error.__cause__ = error.__context__ = None
        self._results.add_error(position, error.with_traceback(None))
        if for_all and isinstance(error, APIError):
            words = f" ({shortened(error.detail)})" if error.detail else ""
            error = never_sent(f"another item was refused with {error.status}{words}")
        elif not for_all:
            error = never_sent("another item failed")
        if for_all or self._plan.stops_at_error:
            self._results.stop(error)
