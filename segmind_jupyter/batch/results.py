"""What has become of each item of a batch: where the half that sends meets those who wait.

Threads share it. It sends nothing and waits for nothing.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.errors import JobCancelled, SegmindError
from segmind_jupyter.words import format_credits, format_duration


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


class Results:
    """Replies and errors by position, and the order in which they came."""

    def __init__(self, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        #: Where the first error of what was sent is.
        self.failure: int | None = None
        self._clock, self._begun_s = clock, clock()
        self._ended_s: float | None = None
        self._lock = threading.Lock()
        self._progress = Progress(total=total)
        self._replies: list[Reply | None] = [None] * total
        self._errors: dict[int, SegmindError] = {}
        self._ended: list[int] = []
        self._taken = 0
        self._stopped: SegmindError | None = None
        self._awaited: dict[int, list[concurrent.futures.Future[None]]] = {}
        self._watchers: list[Callable[[], object]] = []
        self.end = self.after(total - 1)

    @property
    def replies(self) -> list[Reply | None]:
        """The replies so far, in the order of the items."""
        with self._lock:
            return list(self._replies)

    @property
    def errors(self) -> dict[int, SegmindError]:
        """The errors so far, by position."""
        with self._lock:
            return dict(sorted(self._errors.items()))

    @property
    def progress(self) -> Progress:
        """How far it has come."""
        with self._lock:
            until_s = self._clock() if self._ended_s is None else self._ended_s
            return dataclasses.replace(self._progress, elapsed_s=until_s - self._begun_s)

    def ended(self, nth: int) -> tuple[int, Reply | None, SegmindError | None]:
        """Return the position, the reply and the error of the `nth` item to end, from 0."""
        with self._lock:
            position = self._ended[nth]
            return position, self._replies[position], self._errors.get(position)

    def after(self, nth: int) -> concurrent.futures.Future[None]:
        """Return a future that is done once the `nth` item has ended, counted from 0."""
        future: concurrent.futures.Future[None] = concurrent.futures.Future()
        future.set_running_or_notify_cancel()  # nobody who waits for it can cancel it
        with self._lock:
            if nth >= len(self._ended):
                self._awaited.setdefault(nth, []).append(future)
                return future
        future.set_result(None)
        return future

    def on_change(self, callback: Callable[[], object]) -> None:
        """Have something called after every change, on the thread that brings it."""
        with self._lock:
            self._watchers.append(callback)

    def take(self) -> int | None:
        """Take up the next item; `None` if there is none, or if nothing more is to be sent."""
        with self._lock:
            if self._stopped or self._taken == len(self._replies):
                return None
            position = self._taken
            self._taken += 1
            self._count(in_flight=1)
        self._tell()
        return position

    def check_goes_on(self) -> None:
        """Raise what stopped it, if anything did."""
        if self._stopped:
            raise self._stopped.with_traceback(None)

    def add_reply(self, position: int, reply: Reply, *, kept: bool = False) -> None:
        """Note the reply of an item that was taken up; `kept` if the journal had it."""
        spent = {} if kept else {
            "input_tokens": reply.usage.input_tokens or 0,
            "output_tokens": reply.usage.output_tokens or 0,
            **({} if reply.cost is None else {"cost": reply.cost}),
        }  # fmt: skip
        with self._lock:
            self._replies[position] = reply
            self._count(in_flight=-1, done=1, kept=int(kept), **spent)
            awaited = self._end([position])
        self._tell(awaited)

    def add_error(self, position: int, error: SegmindError) -> None:
        """Note why an item that was taken up has no reply."""
        with self._lock:
            self._errors[position] = error
            was_sent = error is not self._stopped
            self._count(in_flight=-1, failed=int(was_sent))
            if was_sent and self.failure is None:
                self.failure = position
            awaited = self._end([position])
        self._tell(awaited)

    def stop(self, error: SegmindError) -> None:
        """Take up nothing more: what was not gets this error. Only the first call counts."""
        with self._lock:
            if self._stopped or len(self._ended) == len(self._replies):
                return
            self._stopped = error
            self._progress = dataclasses.replace(self._progress, stopped=True)
            unsent = range(self._taken, len(self._replies))
            self._errors.update(dict.fromkeys(unsent, error))
            awaited = self._end(unsent)
        self._tell(awaited)

    def abandon(self, error: SegmindError) -> None:
        """End everything that has not ended, since nobody is left to do it."""
        self.stop(error)
        with self._lock:
            left = set(range(len(self._replies))).difference(self._ended)
        for position in sorted(left):
            self.add_error(position, error)

    def _count(self, **changes: Any) -> None:
        sums = {name: (getattr(self._progress, name) or 0) + n for name, n in changes.items()}
        self._progress = dataclasses.replace(self._progress, **sums)

    def _end(self, positions: Iterable[int]) -> list[concurrent.futures.Future[None]]:
        """Note that items have ended, and find what is awaited of them."""
        before = len(self._ended)
        self._ended += positions
        if len(self._ended) == len(self._replies):
            self._ended_s = self._clock()
        reached = range(before, len(self._ended))
        return [future for nth in reached for future in self._awaited.pop(nth, ())]

    def _tell(self, awaited: Iterable[concurrent.futures.Future[None]] = ()) -> None:
        """Tell of a change, with no lock held: whoever is told may look at once."""
        try:
            for watcher in tuple(self._watchers):
                watcher()
        finally:  # an interrupt meanwhile must not leave anybody waiting for ever
            for future in awaited:
                future.set_result(None)


def never_sent(why: str) -> JobCancelled:
    """Describe the items of a batch that were not sent any more."""
    return JobCancelled(
        f"Not sent, as {why}; nothing was billed for it. Run the batch again to send it."
    )
