"""`Batch`: many jobs with one question, and what became of each. Knows nothing of notebooks.

Threads may share it: the background loop notes how each item ends, any thread or loop waits.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import copy
import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from segmind_jupyter.api.jobs import Pending, tell
from segmind_jupyter.api.loop import Waiter, checked_patience, wait_interruptibly
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.errors import Interrupted, JobCancelled, JobTimeout, SegmindError, shortened
from segmind_jupyter.words import format_credits, format_duration

if TYPE_CHECKING:
    from segmind_jupyter.batch.items import PromptTemplate
    from segmind_jupyter.batch.runner import Plan
    from segmind_jupyter.content.parts import Image


class Batch(Pending["Batch", str]):
    """Many jobs with one question, and their replies. Made by `ask_each`.

    It goes on in the background; each reply is in the journal as soon as it was fetched.
    Interrupting whoever waits stops the sending, and keeps what is done.

    Examples
    --------
    >>> batch = ask_each("Caption this", images)  # doctest: +SKIP
    >>> for outcome in batch:  # doctest: +SKIP
    ...     print(outcome.key, outcome.error or outcome.text)
    """

    def __init__(self, each: PromptTemplate, plan: Plan, wait: Waiter = wait_interruptibly) -> None:
        super().__init__("", wait=wait)
        self._each, self._plan = each, plan
        #: What a view shows of the first items, in small: here, as figures bear no two threads.
        self.pictures: dict[int, Image] = {}
        self._begun_s = time.monotonic()
        self._took_s: float | None = None
        self._progress = Progress(total=len(each))
        #: What became of the items, in the order of their ends; how many were taken up.
        self._ended: list[Outcome] = []
        self._taken = 0
        self._stopped: SegmindError | None = None
        #: Done at the next end of an item, when another one takes its place.
        self._next: concurrent.futures.Future[None] = concurrent.futures.Future()
        if not len(each):
            self._tell()

    def __repr__(self) -> str:
        return str(self.progress)

    def __len__(self) -> int:
        return len(self._each)

    def __iter__(self) -> Iterator[Outcome]:
        """Return each item once, in the order in which they end; waits for the next one."""
        for nth in range(len(self)):
            # Read before the count: an end that comes between the two is this future's.
            while (following := self._next) and nth >= len(self._ended):
                with self._stopping():
                    self._wait(following, None)
            yield self._ended[nth]

    @property
    def model(self) -> str:
        """Slug of the model that is asked."""
        return self._plan.call.model

    @property
    def errors(self) -> dict[int, SegmindError]:
        """The errors so far, by the positions of their items."""
        return {each.index: each.error for each in self.outcomes if each.error is not None}

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        with self._lock:
            took_s = time.monotonic() - self._begun_s if self._took_s is None else self._took_s
            stopped = self._stopped is not None
            return dataclasses.replace(self._progress, elapsed_s=took_s, stopped=stopped)

    @property
    def replies(self) -> list[Reply | None]:
        """The replies in the order of the items, `None` where there is an error; waits."""
        return [each.reply for each in self.wait().outcomes]

    @property
    def outcomes(self) -> list[Outcome]:
        """What has ended so far, in the order of the items; neither waits nor raises."""
        return sorted(self._ended, key=lambda each: each.index)

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
            ``error`` (its message, or why the reply is not whole), ``tokens`` (in and out),
            ``cost`` (in Segmind credits), ``seconds``; missing where there is none. The index is
            that of the table or the series, the keys of the mapping, the names of the files, or
            counts from 0. Displayed, its words are text alone: nothing in a reply is typeset.
        """
        from segmind_jupyter.batch.frame import reply_frame

        return reply_frame(self.wait(), explode=explode, joins=False)

    def join(self, *, explode: bool = False) -> Any:
        """Return the table that was asked about, with the columns of `to_frame` beside its own.

        A column that has the name of one of the table's is called ``reply_...``. Of items that are
        no table it is the same as `to_frame`.
        """
        from segmind_jupyter.batch.frame import reply_frame

        return reply_frame(self.wait(), explode=explode, joins=True)

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

    def _so_far(self) -> str:
        progress = self.progress
        again = "it again" if self._plan.resumes else "it with `resume=True`"
        return (
            f"{progress.done:,} of {progress.total:,} done, and kept (`batch.outcomes`); run "
            f"{again} to go on where it stopped."
        )

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
        counts: dict[str, Any] = {"in_flight": -1, "done": 1, "kept": int(kept)}
        if not kept:
            counts |= {
                name: getattr(reply.usage, name) for name in ("input_tokens", "output_tokens")
            }
            counts["cost"] = reply.cost
        self._note([position], reply, **counts)

    def _add_error(self, position: int, error: SegmindError) -> None:
        """Note why an item that was taken up has no reply."""
        self._note([position], error, in_flight=-1, failed=int(error is not self._stopped))

    def _stop(self, error: SegmindError) -> None:
        """Take up nothing more: what was not gets this error. Only the first call counts."""
        self._note((), error, stops=True)

    def _abandon(self, error: SegmindError) -> None:
        """End everything that has not ended, since nobody is left to do it."""
        self._stop(error)
        for position in sorted({*range(len(self))}.difference(each.index for each in self._ended)):
            self._add_error(position, error)

    def _count(self, **changes: Any) -> None:
        known = {name: n for name, n in changes.items() if n is not None}
        sums = {name: (getattr(self._progress, name) or 0) + n for name, n in known.items()}
        self._progress = dataclasses.replace(self._progress, **sums)

    def _note(
        self,
        positions: Iterable[int],
        what: Reply | SegmindError,
        *,
        stops: bool = False,
        **counts: Any,
    ) -> None:
        """Note what became of items, or of all that were not taken up, and tell of it."""
        items = self._each.items
        reply, error = (what, None) if isinstance(what, Reply) else (None, what)
        with self._lock:
            if stops:
                if self._stopped or len(self._ended) == len(self):
                    return
                self._stopped, positions = error, range(self._taken, len(self))
            self._ended += [Outcome(n, items.keys[n], reply, error, items.take) for n in positions]
            self._count(**counts)
            if len(self._ended) == len(self):
                self._took_s = time.monotonic() - self._begun_s
            reached, self._next = self._next, concurrent.futures.Future()
        self._tell(reached)

    def _tell(self, reached: concurrent.futures.Future[None] | None = None) -> None:
        """Tell of a change, with no lock held: whoever is told may look at once."""
        try:
            for watcher in tuple(self._watchers):
                tell(watcher, self)
        finally:  # an interrupt meanwhile must not leave anybody waiting for ever
            if reached is not None:
                reached.set_result(None)
            if len(self._ended) == len(self):
                failed = [each for each in self._ended if each.error not in (None, self._stopped)]
                error = copy.copy(failed[0].error) if failed and self._plan.stops_at_error else None
                if error is not None:
                    error.args = (f"{named(failed[0].key)}: {error} {self._so_far()}",)
                self._finish("", self, error)


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


class BatchComparison(dict[str, Batch]):
    """The batches of several models about the same items, by the models' slugs.

    Examples
    --------
    >>> both = ask_each("{x}", df, model=["claude-4-sonnet", "claude-3.5-sonnet"])  # doctest: +SKIP
    >>> both.to_frame()["claude-4-sonnet"]  # doctest: +SKIP
    """

    @property
    def errors(self) -> dict[tuple[str, int], SegmindError]:
        """The errors so far, by model and position."""
        return {(model, n): e for model, batch in self.items() for n, e in batch.errors.items()}

    def wait(self, timeout: float | None = None) -> BatchComparison:
        """Wait for the end of each of them, as `Batch.wait` does, and return itself."""
        try:
            for batch in self.values():
                batch.wait(timeout)
        except Interrupted:
            for batch in self.values():
                batch.cancel()
            raise
        return self

    def to_frame(self) -> Any:
        """Return the replies as a table with a column level a model; waits as `wait` does.

        A column that is of no model has its name in the first level. Polars has no levels: there
        the columns are called ``claude-4-sonnet.reply``.
        """
        from segmind_jupyter.batch.frame import side_by_side

        return side_by_side(self.wait(), joins=False)

    def join(self) -> Any:
        """Return the table that was asked about, with the columns of `to_frame` beside its own."""
        from segmind_jupyter.batch.frame import side_by_side

        return side_by_side(self.wait(), joins=True)


def named(key: object) -> str:
    """Name an item in a message."""
    return f"Item {shortened(repr(key) if isinstance(key, str) else str(key))}"


def never_sent(why: str) -> JobCancelled:
    """Describe the items of a batch that were not sent any more."""
    return JobCancelled(
        f"Not sent, as {why}; nothing was billed for it. Run the batch again to send it."
    )
