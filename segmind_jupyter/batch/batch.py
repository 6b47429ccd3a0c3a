"""`ask_each`: one question about many things, as a batch of jobs. Knows nothing of notebooks."""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from segmind_jupyter.api.loop import Waiter, checked_patience
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.asking import ShortTracebacks, expected_of
from segmind_jupyter.batch.items import PromptTemplate
from segmind_jupyter.batch.runner import Plan, Results, Run, never_sent
from segmind_jupyter.errors import (
    Interrupted,
    JobCancelled,
    JobTimeout,
    SegmindError,
    SettingsError,
    shortened,
)
from segmind_jupyter.options import call_of, smallest
from segmind_jupyter.session import Session, session

if TYPE_CHECKING:
    from segmind_jupyter.batch.partitions import PartitionedReplies
    from segmind_jupyter.batch.preview import BatchPreview

#: The arguments that `ask` has not: one that is mistyped would go to the model.
_OWN: Final = (
    "dry_run", "items", "json", "max_in_flight", "on_error", "progress", "prompt", "resume",
    "retry_misfits", "to",
)  # fmt: skip

_log = logging.getLogger(__name__)


@overload
def ask_each(
    prompt: str,
    items: Any,
    *,
    model: str | None = None,
    dry_run: Literal[False] = False,
    **how: Any,
) -> Batch: ...
@overload
def ask_each(
    prompt: str, items: Any, *, model: list[str], dry_run: Literal[False] = False, **how: Any
) -> BatchComparison: ...
@overload
def ask_each(prompt: str, items: Any, *, dry_run: Literal[True], **how: Any) -> BatchPreview: ...
@overload
def ask_each(
    prompt: str, items: Any, *, to: str | os.PathLike[str], **how: Any
) -> PartitionedReplies: ...
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
        after the first error, and whoever waits or iterates gets it.
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
        things, or names of image or table files. (The name of a text file is a warning.)
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
        raise SettingsError(f"max_in_flight={max_in_flight!r}: give a whole number from 1 on.")
    if retry_misfits not in range(10):
        raise SettingsError(f"retry_misfits={retry_misfits!r}: give a whole number from 0 to 9.")
    if on_error not in ("keep", "raise"):
        raise SettingsError(f'on_error={on_error!r}: give "keep" or "raise".')
    for name, on in (("progress", progress), ("resume", resume), ("dry_run", dry_run)):
        if not isinstance(on, bool):
            raise SettingsError(f"{name}={on!r}: give True or False.")
    desk = session()
    with ShortTracebacks():
        options = desk.options.replace(
            system=system, max_tokens=max_tokens, temperature=temperature, timeout_s=timeout
        )
        models = options.each(model)
        expected = expected_of(json, params)
        plans = [
            Plan(
                call=call_of((), one, params, own=_OWN),
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

        def template(items: Any) -> PromptTemplate:
            each = PromptTemplate(prompt, items, limits=smallest(models))
            for note in each.notes:  # at once: what is mistyped is about to be paid for many times
                warnings.warn(note, stacklevel=3)
            return each

        is_one = not isinstance(model, list | tuple)
        if to is not None:
            if dry_run or not is_one:
                raise SettingsError(
                    "`to` takes one model, and no `dry_run`: look at one of the parts without it."
                )
            from segmind_jupyter.batch.partitions import ask_parts

            (plan,) = plans
            return ask_parts(
                items,
                to,
                asked=[prompt, plan.call.model, plan.call.instruction, plan.call.params],
                begin=lambda part: _begun(template(part), plan, desk, shows=False),
            )
        each = template(items)
    if dry_run:
        from segmind_jupyter.batch.preview import preview

        return preview(each, plans, desk)
    batches: list[Batch] = []
    try:
        for plan in plans:
            batches.append(_begun(each, plan, desk, shows=progress))
    except Interrupted:  # of all of them nothing more is sent
        BatchComparison(batches).cancel()
        raise
    return batches[0] if is_one else BatchComparison(batches)


def _begun(each: PromptTemplate, plan: Plan, desk: Session, *, shows: bool) -> Batch:
    """Start a batch on the background loop, and show it, if that can be done."""
    batch = Batch(each, plan, wait=desk.waiter)

    def ended(run: concurrent.futures.Future[None]) -> None:
        """End what the run left over: its loop was closed, or it failed in a way of its own."""
        if not batch.done():
            if not run.cancelled() and (error := run.exception()) is not None:
                _log.error("a batch failed", exc_info=error)
            words = "The batch was closed before this item had its reply."
            batch._abandon(JobCancelled(f"{words} Run it again to go on where it stopped."))

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
        raise Interrupted(
            "Stopped: nothing more is sent. Run it again to go on where it stopped."
        ) from None
    return batch


class Batch(Results):
    """Many jobs with one question, and their replies. Made by `ask_each`.

    It goes on in the background; each reply is in the journal as soon as it was fetched.
    Interrupting whoever waits stops the sending, and keeps what is done.

    Examples
    --------
    >>> batch = ask_each("Caption this", images)  # doctest: +SKIP
    >>> for outcome in batch:  # doctest: +SKIP
    ...     print(outcome.key, outcome.error or outcome.text)
    """

    def __init__(self, each: PromptTemplate, plan: Plan, *, wait: Waiter) -> None:
        self._each, self._plan = each, plan
        super().__init__(len(each), wait=wait)

    def __repr__(self) -> str:
        return str(self.progress)

    def __iter__(self) -> Iterator[Outcome]:
        """Return each item once, in the order in which they end; waits for the next one."""
        for nth in range(len(self)):
            reached = self._reached(nth)
            with self._stopping():
                if not reached.done():  # a callback may ask where it must not wait
                    self._wait(reached, None)
            position = self._ended[nth]
            if position in self._errors and (failure := self._failure) is not None:
                self._raised = True
                raise failure
            yield self._of(position)

    @property
    def model(self) -> str:
        """Slug of the model that is asked."""
        return self._plan.call.model

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know about how the prompt was read, such as a name that is no column."""
        return self._each.notes

    @property
    def replies(self) -> list[Reply | None]:
        """The replies in the order of the items, `None` where there is an error; waits."""
        self.wait()
        return list(self._replies)

    @property
    def outcomes(self) -> list[Outcome]:
        """What has ended so far, in the order of the items; neither waits nor raises."""
        with self._lock:
            return [self._of(position) for position in sorted(self._ended)]

    def key(self, position: int) -> Any:
        """Return how the item at a position is called (`Outcome.key`)."""
        return self._each.items.keys[position]

    def wait(self, timeout: float | None = None) -> Batch:
        """Wait for the end, and return itself.

        Parameters
        ----------
        timeout
            Seconds to wait; 0 is a look alone, `None` waits for ever. The batch goes on either way.

        Raises
        ------
        JobTimeout
            The time is up; it also is a `TimeoutError`.
        Interrupted
            The user interrupted it: nothing more is sent, and what is done is kept.
        SegmindError
            The first item's that failed, with ``on_error="raise"``.
        """
        timeout_s = checked_patience(timeout)
        with self._stopping():
            if not self._wait_for_end(timeout_s):
                raise JobTimeout(f"After {timeout_s:g} s: {self}. It goes on; wait again.")
        self._result()
        return self

    def to_frame(self, *, explode: bool = False) -> Any:
        """Return the replies as a table, in the order of the items; waits as `wait` does.

        Parameters
        ----------
        explode
            Whether nested objects become a column a field (``address.city``), and what the only
            column of lists holds a row each, the first of which has the figures.

        Returns
        -------
        pandas.DataFrame or polars.DataFrame
            Of polars where the items are a frame of polars. ``item`` where they are a list or a
            series; ``reply`` (its text) or, where `json=` said what it must be, a column a field;
            ``error`` (its message), ``tokens`` (in and out), ``cost`` (in Segmind credits),
            ``seconds``; missing where there is none. The index is that of the table or the series,
            the keys of the mapping, the names of the files, or counts from 0. Displayed, its words
            are text alone: nothing in a reply is typeset.
        """
        return self._frame(explode=explode, joins=False)

    def join(self, *, explode: bool = False) -> Any:
        """Return the table that was asked about, with the columns of `to_frame` beside its own.

        A column that has the name of one of the table's is called ``reply_...``. Of items that are
        no table it is the same as `to_frame`.
        """
        return self._frame(explode=explode, joins=True)

    def _frame(self, *, explode: bool, joins: bool) -> Any:
        from segmind_jupyter.batch.frame import check_library, reply_frame

        check_library(self._each.items)  # before anybody waits
        return reply_frame(
            self._each.items,
            self.replies,
            self.errors,
            self._plan.expected,
            explode=explode,
            joins=joins,
        )

    def cancel(self) -> None:
        """Send nothing more. What is in flight is billed anyway, so its replies are still kept."""
        self._stop(never_sent("the batch was stopped"))

    @contextlib.contextmanager
    def _stopping(self) -> Iterator[None]:
        """Send nothing more once whoever waits is interrupted."""
        try:
            yield
        except KeyboardInterrupt:
            self.cancel()
            raise Interrupted(
                f"Stopped: {self._so_far()} What is in flight is still fetched."
            ) from None

    @property
    def _failure(self) -> SegmindError | None:
        """The first error, with a word on what it means for the others, if it is to be raised."""
        position = self._first_failed
        if not self._plan.stops_at_error or position is None:
            return None
        error = copy.copy(self._errors[position])
        error.args = (f"{named(self.key(position))}: {error} {self._so_far()}",)
        return error

    def _of(self, position: int) -> Outcome:
        reply, error = self._replies[position], self._errors.get(position)
        return Outcome(position, self.key(position), reply, error, self._each.items.take)

    def _so_far(self) -> str:
        progress = self.progress
        again = "it again" if self._plan.resumes else "it with `resume=True`"
        return (
            f"{progress.done:,} of {progress.total:,} done, and kept (`batch.outcomes`); run "
            f"{again} to go on where it stopped."
        )


class BatchComparison(Mapping[str, Batch]):
    """The batches of several models about the same items, by the models' slugs.

    Examples
    --------
    >>> both = ask_each("{x}", df, model=["claude-4-sonnet", "claude-3.5-sonnet"])  # doctest: +SKIP
    >>> both.to_frame()["claude-4-sonnet"]  # doctest: +SKIP
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = {batch.model: batch for batch in batches}

    def __getitem__(self, model: str) -> Batch:
        return self._batches[model]

    def __iter__(self) -> Iterator[str]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def __repr__(self) -> str:
        return "\n".join(f"{model}: {batch}" for model, batch in self.items())

    @property
    def errors(self) -> dict[tuple[str, int], SegmindError]:
        """The errors so far, by model and position."""
        return {(model, n): e for model, batch in self.items() for n, e in batch.errors.items()}

    def done(self) -> bool:
        """Return whether every item of every model has ended."""
        return all(batch.done() for batch in self.values())

    def wait(self, timeout: float | None = None) -> BatchComparison:
        """Wait for the end of all of them, as `Batch.wait` does, and return itself."""
        timeout_s = checked_patience(timeout)
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            for batch in self.values():
                batch.wait(None if ends_s is None else max(ends_s - time.monotonic(), 0))
        except Interrupted:
            self.cancel()
            raise
        return self

    def cancel(self) -> None:
        """Send nothing more, as `Batch.cancel` does."""
        for batch in self.values():
            batch.cancel()

    def to_frame(self) -> Any:
        """Return the replies as a table with a column level a model; waits as `wait` does.

        A column that is of no model has its name in the first level. Polars has no levels: there
        the columns are called ``claude-4-sonnet.reply``.
        """
        return self._frame(joins=False)

    def join(self) -> Any:
        """Return the table that was asked about, with the columns of `to_frame` beside its own."""
        return self._frame(joins=True)

    def _frame(self, *, joins: bool) -> Any:
        from segmind_jupyter.batch.frame import side_by_side

        self.wait()
        frames = {model: batch.to_frame() for model, batch in self.items()}
        return side_by_side(frames, next(iter(self.values()))._each.items, joins=joins)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one item."""

    index: int
    key: Any
    reply: Reply | None
    error: SegmindError | None
    _take: Callable[[int], Any] = field(repr=False, compare=False)

    @property
    def item(self) -> Any:
        """The item, read anew at every look; a row of a table is a dict."""
        return self._take(self.index)

    @property
    def text(self) -> str:
        """The text of the reply; the error is raised where there is none."""
        if self.reply is None:
            raise (self.error or SegmindError("There is no reply.")).with_traceback(None) from None
        return self.reply.text


def named(key: object) -> str:
    """Name an item in a message."""
    return f"Item {shortened(repr(key) if isinstance(key, str) else str(key))}"
