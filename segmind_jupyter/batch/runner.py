"""`ask_each`: one question about many things, sent as a batch of jobs on the background loop."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import inspect
import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, overload

import anyio
import anyio.to_thread

from segmind_jupyter import errors
from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.messages import Call, Message, Reply, Usage, user_message
from segmind_jupyter.asking import ShortTracebacks, expected_of
from segmind_jupyter.batch.batch import Batch, BatchComparison, never_sent
from segmind_jupyter.batch.items import PromptTemplate
from segmind_jupyter.content.images.encode import thumbnail_png
from segmind_jupyter.content.parts import format_error
from segmind_jupyter.options import call_of, smallest
from segmind_jupyter.session import Session, session

if TYPE_CHECKING:
    from segmind_jupyter.batch.partitions import PartitionedReplies
    from segmind_jupyter.batch.preview import BatchPreview
    from segmind_jupyter.content.json_schema import Expected

#: Refusals of a submission that every other one would meet as well (WIRE.md, "Errors"): the key,
#: the model or the account is at fault, or a limit lasts longer than the time-out.
_FOR_EVERY_ITEM: Final = frozenset({401, 403, 404, 406, 410, 429})

#: How many items may be under preparation or on their way at a time (all others are worked on at
#: Segmind): as many as a plan takes a second, and few enough to leave connections for looks.
_SENDERS: Final = 4

#: How many of the first items have a picture in small.
_PICTURED: Final = 20

#: How often it is looked whether a budget has room again.
_BUDGET_LOOK_S: Final = 0.2

_log = logging.getLogger(__name__)


@overload
def ask_each(prompt: str, items: Any, *, dry_run: Literal[True], **how: Any) -> BatchPreview: ...
@overload
def ask_each(
    prompt: str, items: Any, *, to: str | os.PathLike[str], **how: Any
) -> PartitionedReplies: ...
@overload
def ask_each(prompt: str, items: Any, *, model: list[str], **how: Any) -> BatchComparison: ...
@overload
def ask_each(prompt: str, items: Any, *, model: str | None = None, **how: Any) -> Batch: ...
def ask_each(
    prompt: str,
    items: Any,
    *,
    model: str | list[str] | None = None,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    timeout: float | None = None,
    max_in_flight: int = 32,
    progress: bool = True,
    on_error: Literal["keep", "raise"] = "keep",
    resume: bool = True,
    json: Any = None,
    retry_misfits: int = 0,
    dry_run: bool = False,
    to: str | os.PathLike[str] | None = None,
    **params: Any,
) -> Batch | BatchComparison | BatchPreview | PartitionedReplies:
    """Ask a Claude model the same about each of many things, as queued jobs, and go on at once.

    Parameters
    ----------
    prompt
        Read as a `%%claude` cell is. ``{item}`` stands for the item, ``{item.attr}`` or
        ``{item['key']}`` for a part of it; with a DataFrame, ``{column}`` for a cell of the row
        (``{item[0]}``, where the column is called by a number), with dicts ``{key}`` for a value,
        and ``{{word}}`` for a word in braces. If it names none of them, the item goes behind it.
    items
        Any iterable of texts, images, figures, paths, ...; a Series or a mapping, whose keys are
        kept; a DataFrame of pandas or polars or a pyarrow Table, for its rows; a folder (a `Path`,
        or the name of one that exists), for the image files in it, in the order of their names. A
        string in a list is text; for the file of that name, give a `Path`. Of thousands of images,
        give the paths: each is read when its turn comes, and dropped. Which items there are is
        settled at the call, cells of a table included; what an item holds (a file, a figure, a
        dict) is read when its turn comes.
    model, system, max_tokens, temperature, **params
        As for `ask`; several models in a list share `max_in_flight`.
    timeout
        Seconds that one submission may take, as for `submit`.
    max_in_flight
        Most jobs at a time.
    progress
        Whether to show how far it has come.
    on_error
        ``"keep"``: an error is its item's alone (`batch.errors`), and the others go on, unless
        it would meet them all (a refused key, an unknown model). ``"raise"``: nothing is sent
        after the first error, and whoever waits gets it.
    resume
        Whether an item that was answered before, in this kernel or an earlier one, takes its
        reply from the journal, and one that is still worked on its job: nothing is sent twice.
    json
        What each reply must be, as for `ask`. `batch.to_frame()` then has a column a field, and
        ``reply.parsed`` the object. A reply that does not fit is kept.
    retry_misfits
        How often an item whose reply does not fit is asked again, with what was wrong; its figures
        are then those of all its replies.
    dry_run
        Whether to send nothing, and return what would be: how many requests, tokens, credits and
        minutes, and the first three requests in full.
    to
        A folder, for frames that come in parts: a frame of Dask (or its partitions, delayed or
        not), a dataset of pyarrow, a lazy frame of polars, or any iterable of frames. It waits:
        one part after the other is asked about, and written there as a file of a Parquet dataset,
        with the columns of `join`. A part whose file is there is skipped, also in another kernel.

    Returns
    -------
    Batch
        `batch.wait()`, `batch.replies`, `batch.to_frame()`, `batch.join()`,
        ``for outcome in batch``, `batch.outcomes`, ... Of several models a `BatchComparison`;
        with `to` a `PartitionedReplies`, once all is written.

    Raises
    ------
    ContentError
        The prompt is none or has a word in braces that nothing here has; the items are not many
        things, or names of image or table files.
    SettingsError
        An argument cannot work, or is mistyped.
    Interrupted
        The user interrupted it: nothing more is sent.

    Examples
    --------
    >>> batch = ask_each("Caption this", Path("photos"))  # doctest: +SKIP
    >>> ask_each("Good or bad? {review}", reviews).join()  # doctest: +SKIP
    >>> ask_each("{review}", reviews, json=Complaint).to_frame()  # doctest: +SKIP
    """
    if type(max_in_flight) is not int or max_in_flight < 1:
        raise errors.SettingsError(f"max_in_flight={max_in_flight!r}: give a whole number above 0.")
    if retry_misfits not in range(10):
        raise errors.SettingsError(f"retry_misfits={retry_misfits!r}: give a number from 0 to 9.")
    if on_error not in ("keep", "raise"):
        raise errors.SettingsError(f'on_error={on_error!r}: give "keep" or "raise".')
    for name, on in (("progress", progress), ("resume", resume), ("dry_run", dry_run)):
        if not isinstance(on, bool):
            raise errors.SettingsError(f"{name}={on!r}: give True or False.")
    desk = session()
    with ShortTracebacks():
        options = desk.options.replace(
            system=system, max_tokens=max_tokens, temperature=temperature, timeout_s=timeout
        )
        models = options.each(model)
        expected = expected_of(json, params)
        plans = [
            Plan(
                # With its names, as one that is mistyped would go to the model.
                call=call_of((), one, params, own=[*inspect.signature(ask_each).parameters]),
                max_in_flight=max(max_in_flight // len(models), 1),
                resumes=resume,
                stops_at_error=on_error == "raise",
                timeout_s=options.timeout_s,
                may_send=options.cache != "only",
                expected=expected,
                retry_misfits=retry_misfits,
            )
            for one in models
        ]

        is_one, limits = not isinstance(model, list | tuple), smallest(models)
        if to is not None:
            if dry_run or not is_one:
                raise errors.SettingsError(
                    "`to` takes one model, and no `dry_run`: look at one of the parts without it."
                )
            from segmind_jupyter.batch.partitions import ask_parts

            (plan,) = plans
            return ask_parts(
                items,
                to,
                asked=[prompt, plan.call.model, plan.call.instruction, plan.call.params],
                begin=lambda part: _begun(
                    PromptTemplate(prompt, part, limits=limits), plan, desk, shows=False
                ),
            )
        each = PromptTemplate(prompt, items, limits=limits)
    if dry_run:
        from segmind_jupyter.batch.preview import preview

        return preview(each, plans, desk)
    batches: list[Batch] = []
    try:
        for plan in plans:
            batches.append(_begun(each, plan, desk, shows=progress))
    except errors.Interrupted:  # of all of them nothing more is sent
        for batch in batches:
            batch.cancel()
        raise
    return batches[0] if is_one else BatchComparison({b.model: b for b in batches})


def _begun(each: PromptTemplate, plan: Plan, desk: Session, *, shows: bool) -> Batch:
    """Start a batch on the background loop, and show it, if that can be done."""
    batch = Batch(each, plan, desk.waiter)

    def ended(run: concurrent.futures.Future[None]) -> None:
        """End what the run left over: its loop was closed, or it failed in a way of its own."""
        if not run.cancelled() and (error := run.exception()) is not None:
            _log.error("a batch failed", exc_info=error)
        words = "The batch was closed before this item had its reply."
        batch._abandon(errors.JobCancelled(f"{words} Run it again to go on where it stopped."))

    try:
        desk.start(Run(each, batch, plan, desk)).add_done_callback(ended)
        desk.track(batch)
        for show in tuple(desk.batch_shows) if shows else ():
            try:
                show(batch)
            except Exception:  # noqa: BLE001  it is under way, whatever becomes of its view
                _log.exception("a batch cannot be shown")
    except KeyboardInterrupt:
        batch.cancel()
        raise errors.Interrupted(
            "Stopped: nothing more is sent. Run it again to go on where it stopped."
        ) from None
    return batch


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


class Run:
    """One batch on its way: a fixed number of workers take up one item after the other."""

    def __init__(self, each: PromptTemplate, batch: Batch, plan: Plan, desk: Session) -> None:
        self._each, self._batch, self._plan, self._desk = each, batch, plan, desk
        #: How many calls of each digest were met: equal items are told apart by their number.
        self._met: Counter[bytes] = Counter()

    async def __call__(self) -> None:
        """Send everything, and follow it to its end."""
        try:
            self._watch = self._desk.watch()
        except errors.SegmindError as error:
            self._batch._stop(error)
            return
        self._sending = anyio.Semaphore(_SENDERS)

        async def work() -> None:
            while (position := self._batch._take()) is not None:
                await self._ask(position)

        async with anyio.create_task_group() as workers:
            for _ in range(min(self._plan.max_in_flight, len(self._each))):
                workers.start_soon(work)

    async def _ask(self, position: int) -> None:
        """Ask about an item, again where its reply does not fit, and note what came of it."""
        replies: list[Reply] = []
        misfits: list[Message] = []
        error: errors.SegmindError | None = None
        job: Job | None = None
        is_kept = False
        try:
            while True:
                async with self._sending:
                    job = await self._queued(position, misfits)
                is_kept = job.done()
                if not is_kept:
                    await self._watch.follow(job)
                replies.append(job.wait(0))
                if self._plan.expected is None or len(replies) > self._plan.retry_misfits:
                    break
                try:
                    self._plan.expected.parse(replies[-1].text)
                    break
                except errors.ReplyError as misfit:
                    why = str(misfit).partition(". ")[0]
                job = None
                again = f"{why}. Answer again with JSON that fits, and nothing else."
                answer = {"type": "text", "text": replies[-1].text or "…"}
                misfits.append({"role": "assistant", "content": [answer]})
                misfits.append(user_message([{"type": "text", "text": again}]))
        except errors.SegmindError as trouble:
            error = trouble
        except Exception as trouble:  # noqa: BLE001  whatever is wrong with one, the others go on
            _log.exception("item %d of a batch cannot be sent", position)
            error = errors.SegmindError(f"The item cannot be sent ({format_error(trouble)}).")
        if replies:  # what was paid for stays, though it was to be asked for once more
            self._keep(position, replies, is_kept=is_kept and error is None)
        if error is not None:
            self._fail(position, error, was_sent=job is not None, is_noted=bool(replies))

    async def _queued(self, position: int, misfits: Sequence[Message]) -> Job:
        """Bring an item to Segmind, or find its job there; what is encoded is held no longer."""

        def make_call() -> Call:
            """Make the call beside the loop, as encoding an image takes a while."""
            self._batch._check_goes_on()
            prompt = self._each.prompt(position)
            if position < _PICTURED:
                images = [image for item in prompt.sent for image in item.images]
                with contextlib.suppress(
                    Exception
                ):  # one that cannot be drawn is sent all the same
                    small = dataclasses.replace(images[0], data=thumbnail_png(images[0]))
                    self._batch.pictures[position] = small
            messages = [user_message(prompt.blocks()), *misfits]
            call = dataclasses.replace(self._plan.call, messages=messages)
            _ = call.digest  # worked out here, for the same reason
            return call

        call = await anyio.to_thread.run_sync(make_call)
        nth = self._met[call.digest]
        self._met[call.digest] += 1
        job = await self._watch.found(call, nth) if self._plan.resumes else None
        if not self._plan.may_send and (job is None or not job.done()):
            raise errors.NotCachedError(
                'The journal has no reply to this item, and `ClaudeMagics.cache = "only"` sends '
                "nothing. Run the batch once online with another setting."
            )
        while job is None:
            try:
                job = await self._watch.submit(
                    call,
                    nth=nth,
                    anew=not self._plan.resumes,
                    timeout_s=self._plan.timeout_s,
                    check=self._batch._check_goes_on,
                )
            except errors.BudgetError as error:
                if not error.reserved:  # else what is under way may give some back
                    raise
                await anyio.sleep(_BUDGET_LOOK_S)
        return job

    def _keep(self, position: int, replies: Sequence[Reply], *, is_kept: bool) -> None:
        """Note the last of an item's replies, with what all of them took."""

        def total(amounts: Iterable[Any]) -> Any:
            known = [amount for amount in amounts if amount is not None]
            return sum(known) if known else None

        names = [count.name for count in dataclasses.fields(Usage)]
        reply = dataclasses.replace(
            replies[-1],
            usage=Usage(**{n: total(getattr(each.usage, n) for each in replies) for n in names}),
            cost=total(each.cost for each in replies),
            # With what the reply must be; the request itself would hold its images.
            request=self._plan.expected and self._plan,
        )
        self._batch._add_reply(position, reply, kept=is_kept)

    def _fail(
        self, position: int, error: errors.SegmindError, *, was_sent: bool, is_noted: bool
    ) -> None:
        """Note an item's error, and stop where every other one would meet it as well."""
        if isinstance(error, errors.MaybeBilledError):
            self._desk.ledger.add_unknown()
        # The frames of an error, and of those behind it, would hold what was encoded.
        error.__cause__ = error.__context__ = None
        error = error.with_traceback(None)
        if not is_noted:
            self._batch._add_error(position, error)
        status = error.status if isinstance(error, errors.APIError) else None
        is_everyones = isinstance(error, errors.AuthenticationError)
        if not was_sent:  # other refusals of a look are its job's own
            is_everyones |= isinstance(error, errors.SettingsError | errors.BudgetError)
            is_everyones |= status in _FOR_EVERY_ITEM
        if is_everyones and isinstance(error, errors.APIError):
            words = f" ({errors.shortened(error.detail)})" if error.detail else ""
            error = never_sent(f"another item was refused with {status}{words}")
        elif not is_everyones:
            error = never_sent("another item failed")
        if is_everyones or self._plan.stops_at_error:
            self._batch._stop(error)
