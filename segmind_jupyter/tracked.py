"""What a service has under way, and where it is kept: jobs, batches, and their journal."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from segmind_jupyter.errors import JobCancelled, SegmindError

if TYPE_CHECKING:
    from segmind_jupyter.api.store import Store


class Trackable(Protocol):
    """A job, a batch or a turn: something that ends, and that can be waited for."""

    @property
    def unraised(self) -> SegmindError | None:
        """The error that whoever waits for it gets, once it has ended; `None` if somebody did."""

    def wait(self) -> object:
        """Wait for the end, and raise that error."""

    def done(self) -> bool:
        """Tell whether it has ended."""

    def on_done(self, callback: Callable[[Any], object]) -> None:
        """Have something called at its end."""


#: By process and identity, oldest first.
_Works: TypeAlias = dict[tuple[int, int], Trackable]


class Tracked:
    """The jobs and batches that have not ended, or that failed unseen. Threads may share it."""

    def __init__(self) -> None:
        # By process, as nothing follows a parent's jobs in its forked child, and by identity; in
        # the order in which they began. No lock is needed: each step is one of a dict's own.
        self._pending: _Works = {}
        self._unattended: _Works = {}

    def add(self, work: Trackable, *, unattended: bool = False) -> None:
        """Remember it until it ends; what fails unattended, until its error was raised."""
        self._pending[_key(work)] = work
        if unattended:
            self._unattended[_key(work)] = work
        work.on_done(self._drop)

    @property
    def pending(self) -> tuple[Trackable, ...]:
        """All of them, oldest first."""
        return _here(self._pending)

    @property
    def failed(self) -> tuple[Trackable, ...]:
        """What failed unattended, and raised its error nowhere; oldest first."""
        return tuple(work for work in _here(self._unattended) if work.done() and _is_owed(work))

    def _drop(self, work: Trackable) -> None:
        self._pending.pop(_key(work), None)
        if not _is_owed(work):
            self._unattended.pop(_key(work), None)


def _key(work: Trackable) -> tuple[int, int]:
    return os.getpid(), id(work)


def _here(works: _Works) -> tuple[Trackable, ...]:
    here = os.getpid()
    return tuple(work for (pid, _), work in works.copy().items() if pid == here)


def _is_owed(work: Trackable) -> bool:
    """Tell whether it failed and told nobody; what was cancelled is as somebody wanted it."""
    return not isinstance(work.unraised, JobCancelled | None)


class Journalling:
    """Where ids and replies of jobs are kept: in the user's file, or in memory alone."""

    def __init__(self) -> None:
        self._on = True
        self._store: Store | None = None
        #: Those of before: jobs that began there end there.
        self._left: list[Store] = []
        self._lock = threading.Lock()

    @property
    def store(self) -> Store:
        """The store that holds now; it opens its file at the first use."""
        from segmind_jupyter.api.store import Store, default_path

        with self._lock:
            if self._store is None:
                self._store = Store(default_path() if self._on else None)
            return self._store

    def use_file(self, on: bool) -> None:
        """Keep them in the file, or not; what is under way goes on where it began."""
        with self._lock:
            if on == self._on:
                return
            if self._store is not None:
                self._left.append(self._store)
            self._on, self._store = on, None

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            stores = [*self._left, *filter(None, [self._store])]
            self._left, self._store = [], None
        for store in stores:
            store.close()
