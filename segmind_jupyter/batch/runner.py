"""Sends the prompts of a batch on the background loop, and notes what becomes of each item.

`Results`, which threads share, is where it meets those who wait.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import anyio
import anyio.to_thread

from segmind_jupyter.api.jobs import Job, Pending, tell
from segmind_jupyter.api.loop import Waiter, wait_interruptibly
from segmind_jupyter.api.messages import Call, Reply, Usage, user_message
from segmind_jupyter.api.watch import JobManager
from segmind_jupyter.batch.items import PromptTemplate
from segmind_jupyter.content.parts import format_error
from segmind_jupyter.errors import (
    APIError,
    AuthenticationError,
    BudgetError,
    JobCancelled,
    JobExpired,
    MaybeBilledError,
    NotCachedError,
    ReplyError,
    SegmindError,
    SettingsError,
    shortened,
)
from segmind_jupyter.session import Session
from segmind_jupyter.words import format_credits, format_duration

if TYPE_CHECKING:
    from segmind_jupyter.content.json_schema import Expected
    from segmind_jupyter.content.parts import Image
    from segmind_jupyter.content.prompt import Prompt

#: Refusals of a submission that every other one would meet as well (WIRE.md, "Errors"): the key,
#: the model or the account is at fault, or a limit lasts longer than the time-out.
_FOR_EVERY_ITEM: Final = frozenset({401, 403, 404, 406, 410, 429})

#: How many items may be under preparation or on their way at a time (all others are worked on at
#: Segmind): as many as a plan takes a second, and few enough to leave connections for looks.
_SENDERS: Final = 4

#: A reply that does not fit what it must be, and why.
Misfit: TypeAlias = tuple[Reply, str]

#: How many of the first items have a picture in small.
_PICTURED: Final = 20

#: How often it is looked whether a budget has room again.
_BUDGET_LOOK_S: Final = 0.2

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
            self._results._stop(error)
            return
        in_flight = min(self._plan.max_in_flight, len(self._each))
        sending = anyio.Semaphore(_SENDERS)

        async def work() -> None:
            while True:
                async with sending:
                    position = self._results._take()
                    if position is None:
                        return
                    job = await self._queued(position, watch)
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
                        job = await self._queued(position, watch, misfits)

        async with anyio.create_task_group() as workers:
            for _ in range(in_flight):
                workers.start_soon(work)

    async def _queued(
        self,
        position: int,
        watch: JobManager,
        misfits: Sequence[Misfit] = (),
    ) -> Job | None:
        """Bring an item to Segmind, or find its job there; `None` if it failed.

        What is encoded is held no longer than this takes.
        """

        def make_call() -> Call:
            """Make the call beside the loop, as encoding an image takes a while."""
            self._results._check_goes_on()
            prompt = self._each.prompt(position)
            if position < _PICTURED:
                self._results._picture(position, prompt)
            messages = [user_message(prompt.blocks())]
            for reply, why in misfits:
                answer = {"type": "text", "text": reply.text or "…"}
                again = f"{why}. Answer again with JSON that fits, and nothing else."
                messages.append({"role": "assistant", "content": [answer]})
                messages.append(user_message([{"type": "text", "text": again}]))
            call = dataclasses.replace(self._plan.call, messages=messages)
            _ = call.digest  # worked out here, for the same reason
            return call

        try:
            call = await anyio.to_thread.run_sync(make_call)
            nth = self._met[call.digest]
            self._met[call.digest] += 1
            job = await watch.found(call, nth) if self._plan.resumes else None
            if not self._plan.may_send and (job is None or not job.done()):
                raise NotCachedError(
                    'The journal has no reply to this item, and `ClaudeMagics.cache = "only"` '
                    "sends nothing. Run the batch once online with another setting."
                )
            if job is None:
                job = await self._submitted(call, nth, watch)
        except SegmindError as error:
            is_everyones = isinstance(error, SettingsError | BudgetError) or (
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

    async def _submitted(self, call: Call, nth: int, watch: JobManager) -> Job:
        """Submit a call once the budget has room, as long as what is under way may give some back.

        It is claimed in the journal first: no batch of any kernel sends it again.
        """
        while True:
            try:
                return await watch.submit(
                    call,
                    nth=nth,
                    anew=not self._plan.resumes,
                    timeout_s=self._plan.timeout_s,
                    check=self._results._check_goes_on,
                )
            except BudgetError as error:
                if not error.reserved:
                    raise
            await anyio.sleep(_BUDGET_LOOK_S)

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
        self._results._add_reply(position, reply, kept=kept)

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
            self._results._add_error(position, error)
        if for_all and isinstance(error, APIError):
            words = f" ({shortened(error.detail)})" if error.detail else ""
            error = never_sent(f"another item was refused with {error.status}{words}")
        elif not for_all:
            error = never_sent("another item failed")
        if for_all or self._plan.stops_at_error:
            self._results._stop(error)


class Results(Pending["Results", str]):
    """What became of each item so far, and in which order: what a `Batch` is without its items."""

    def __init__(
        self,
        total: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Waiter = wait_interruptibly,
    ) -> None:
        super().__init__("", wait=wait)
        #: What a view shows of the first items, in small: here, as figures bear no two threads.
        self.pictures: dict[int, Image] = {}
        self._clock, self._begun_s = clock, clock()
        self._took_s: float | None = None
        self._progress = Progress(total=total)
        self._replies: list[Reply | None] = [None] * total
        self._errors: dict[int, SegmindError] = {}
        #: Positions in the order of their ends; where the first error of what was sent is.
        self._ended: list[int] = []
        self._first_failed: int | None = None
        self._taken = 0
        self._stopped: SegmindError | None = None
        self._awaited: dict[int, list[concurrent.futures.Future[None]]] = {}
        if not total:
            self._tell()

    def __len__(self) -> int:
        return len(self._replies)

    @property
    def errors(self) -> dict[int, SegmindError]:
        """The errors so far, by the positions of their items."""
        with self._lock:
            return dict(sorted(self._errors.items()))

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        with self._lock:
            took_s = self._clock() - self._begun_s if self._took_s is None else self._took_s
            return dataclasses.replace(self._progress, elapsed_s=took_s)

    @property
    def _failure(self) -> SegmindError | None:
        """What whoever waits for the end is to get, instead of it."""
        return None

    def _picture(self, position: int, prompt: Prompt) -> None:
        """Keep the first picture of an item in small."""
        from segmind_jupyter.content.images.encode import thumbnail_png

        images = [image for item in prompt.sent for image in item.images]
        with contextlib.suppress(Exception):  # one that cannot be drawn is sent all the same
            small = dataclasses.replace(images[0], data=thumbnail_png(images[0]))
            self.pictures[position] = small

    def _reached(self, nth: int) -> concurrent.futures.Future[None]:
        """Return a future that is done once the `nth` item has ended, counted from 0."""
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        future.set_running_or_notify_cancel()  # nobody who waits for it can cancel it
        with self._lock:
            if nth >= len(self._ended):
                self._awaited.setdefault(nth, []).append(future)
                return future
        future.set_result(None)
        return future

    def _take(self) -> int | None:
        """Take up the next item; `None` if there is none, or if nothing more is to be sent."""
        with self._lock:
            if self._stopped or self._taken == len(self):
                return None
            position = self._taken
            self._taken += 1
            self._count(in_flight=1)
        self._tell()
        return position

    def _check_goes_on(self) -> None:
        """Raise what stopped it, if anything did."""
        if self._stopped:
            raise self._stopped.with_traceback(None)

    def _add_reply(self, position: int, reply: Reply, *, kept: bool = False) -> None:
        """Note the reply of an item that was taken up; `kept` if the journal had it."""
        spent = {} if kept else {
            "input_tokens": reply.usage.input_tokens or 0,
            "output_tokens": reply.usage.output_tokens or 0,
            **({} if reply.cost is None else {"cost": reply.cost}),
        }  # fmt: skip
        with self._lock:
            self._replies[position] = reply
            self._count(in_flight=-1, done=1, kept=int(kept), **spent)
            awaited = self._end_of([position])
        self._tell(awaited)

    def _add_error(self, position: int, error: SegmindError) -> None:
        """Note why an item that was taken up has no reply."""
        with self._lock:
            self._errors[position] = error
            was_sent = error is not self._stopped
            self._count(in_flight=-1, failed=int(was_sent))
            if was_sent and self._first_failed is None:
                self._first_failed = position
            awaited = self._end_of([position])
        self._tell(awaited)

    def _stop(self, error: SegmindError) -> None:
        """Take up nothing more: what was not gets this error. Only the first call counts."""
        with self._lock:
            if self._stopped or len(self._ended) == len(self):
                return
            self._stopped = error
            self._progress = dataclasses.replace(self._progress, stopped=True)
            unsent = range(self._taken, len(self))
            self._errors.update(dict.fromkeys(unsent, error))
            awaited = self._end_of(unsent)
        self._tell(awaited)

    def _abandon(self, error: SegmindError) -> None:
        """End everything that has not ended, since nobody is left to do it."""
        self._stop(error)
        for position in sorted(set(range(len(self))).difference(self._ended)):
            self._add_error(position, error)

    def _count(self, **changes: Any) -> None:
        sums = {name: (getattr(self._progress, name) or 0) + n for name, n in changes.items()}
        self._progress = dataclasses.replace(self._progress, **sums)

    def _end_of(self, positions: Iterable[int]) -> list[concurrent.futures.Future[None]]:
        """Note that items have ended, and find what is awaited of them."""
        before = len(self._ended)
        self._ended += positions
        if len(self._ended) == len(self):
            self._took_s = self._clock() - self._begun_s
        reached = range(before, len(self._ended))
        return [future for nth in reached for future in self._awaited.pop(nth, ())]

    def _tell(self, awaited: Iterable[concurrent.futures.Future[None]] = ()) -> None:
        """Tell of a change, with no lock held: whoever is told may look at once."""
        try:
            for watcher in tuple(self._watchers):
                tell(watcher, self)
        finally:  # an interrupt meanwhile must not leave anybody waiting for ever
            for future in awaited:
                future.set_result(None)
            if len(self._ended) == len(self):
                self._finish("", self, self._failure)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a batch had come at one moment; shown as text, it is one line."""

    total: int
    done: int = 0
    failed: int = 0
    in_flight: int = 0
    kept: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    elapsed_s: float = 0.0
    stopped: bool = False

    @property
    def unsent(self) -> int:
        """How many have not been taken up; those of a stopped batch never will be."""
        return self.total - self.done - self.failed - self.in_flight

    @property
    def left_s(self) -> float | None:
        """Estimate of the seconds to the end, from the pace so far; `None` before there is one."""
        to_do = self.in_flight + (0 if self.stopped else self.unsent)
        ended = self.done - self.kept + self.failed
        if to_do and not (ended and self.elapsed_s):
            return None
        # What is in flight is half done on average; else the first reply of many would make the
        # whole batch look as slow as if its calls had gone one by one.
        half_done = self.in_flight / 2
        return (to_do - half_done) * self.elapsed_s / (ended + half_done) if to_do else 0.0

    def __str__(self) -> str:
        kept = f" ({self.kept:,} from the journal)" if self.kept else ""
        unsent = self.unsent if self.stopped else 0
        others = {"failed": self.failed, "in flight": self.in_flight, "not sent": unsent}
        counts = [f"{count:,} {what}" for what, count in others.items() if count]
        facts = [", ".join([f"{self.done:,} of {self.total:,} done{kept}", *counts])]
        if self.input_tokens or self.output_tokens:
            facts.append(f"{self.input_tokens:,} tokens in, {self.output_tokens:,} out")
        if self.cost is not None:
            facts.append(format_credits(self.cost))
        if self.left_s:
            facts.append(f"about {format_duration(self.left_s)} left")
        elif self.left_s is not None:
            facts.append(format_duration(self.elapsed_s))
        return " · ".join(facts)


def never_sent(why: str) -> JobCancelled:
    """Describe the items of a batch that were not sent any more."""
    return JobCancelled(
        f"Not sent, as {why}; nothing was billed for it. Run the batch again to send it."
    )
