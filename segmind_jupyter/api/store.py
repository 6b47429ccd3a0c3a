"""The journal of jobs: ids before the first poll, replies as soon as they are fetched.

So a paid reply outlives the server's hour and the kernel. Beside the jobs it keeps replies by a
key (`reply_cache`). Neither a key of the API nor a prompt is ever written: of what was asked there
is a keyed hash alone (`store_salt`). Knows nothing of HTTP, and leaves to `store_entry` what
becomes of two accounts of a job, to `store_desk` what to do without a file, to `store_schema` and
`store_replies` the tables and to `store_file` the file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from segmind_jupyter.api import store_schema
from segmind_jupyter.api.store_desk import Desk
from segmind_jupyter.api.store_entry import Entry, joined, newest_first
from segmind_jupyter.api.store_file import Unusable
from segmind_jupyter.api.store_replies import Holding, Kept

__all__ = ["Entry", "Holding", "Kept", "Store", "default_path"]

FILE_NAME: Final = "jobs.sqlite3"

#: The journal forgets what is older.
MAX_AGE_S: Final = 30 * 24 * 3600.0

#: Kept replies take no more; what was not used for the longest goes first. A reply takes a few kB.
MAX_REPLY_BYTES: Final = 256_000_000

_log = logging.getLogger(__name__)


def default_path(environ: Mapping[str, str] | None = None) -> Path:
    """Tell where the journal is kept.

    Parameters
    ----------
    environ
        Stands in for `os.environ`. ``SEGMIND_JUPYTER_STATE`` names the folder; without it, it is
        the one that the platform has for such things.
    """
    environ = os.environ if environ is None else environ
    folder = environ.get("SEGMIND_JUPYTER_STATE", "").strip()
    if folder:
        return Path(os.path.expanduser(folder)) / FILE_NAME
    from platformdirs import user_state_path

    return user_state_path("segmind_jupyter", appauthor=False) / FILE_NAME


def _warn(message: str) -> None:
    """Warn, and where warnings are errors log: it may happen on a thread where nobody catches.

    It names no line of code, which would be shown below it: on a thread of ours none is the user's.
    """
    try:
        warnings.warn_explicit(message, UserWarning, filename="segmind_jupyter", lineno=1)
    except Warning:
        _log.warning(message)


class Store:
    """Jobs by id, and replies by key.

    Any number of kernels, threads and forked children may use one file.

    No method raises because the file is locked, damaged, full, forbidden or from a newer version:
    then `warn` is called once, and what is new stays in memory until the file takes it. Each use
    tries again, and a thread does every few seconds while something waits.

    Parameters
    ----------
    path
        The SQLite file, which is opened at the first use; `None` keeps all in memory.
    clock
        Tells the Unix time.
    warn
        Is given one sentence that names the file, the trouble and the remedy.
    retry_s
        Seconds after which what the file did not take is offered to it again.
    max_reply_bytes
        The most that the kept replies may take together.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], None] = _warn,
        retry_s: float = 5.0,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        self._path = None if path is None else path.absolute()  # `%cd` must not move it
        self._clock, self._warn, self._retry_s = clock, warn, retry_s
        self._max_reply_bytes = max_reply_bytes
        self._warned: set[bool] = set()
        # By process: a forked child must not touch, or even close, its parent's connection.
        self._desks: dict[int, Desk] = {}

    @property
    def path(self) -> Path | None:
        """The file, which need not be there yet; `None` where all is in memory."""
        return self._path

    def submitted(self, entry: Entry) -> None:
        """Note a job. One that is known keeps what it has, and gains what it lacks."""
        self._note(entry)

    def ended(
        self,
        request_id: str,
        *,
        state: str,
        raw: str | None = None,
        error: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Note how a job ended, also one that was never noted before.

        Parameters
        ----------
        request_id, state, raw, error, seconds
            As in `Entry`. A reply that is kept stays, whatever is said of the job later.
        """
        self._note(
            Entry(
                request_id=request_id,
                origin="",
                model=None,
                submitted_at=None,
                state=state,
                ended_at=self._clock(),
                raw=raw,
                error=error,
                seconds=seconds,
            )
        )

    def find(self, request_id: str) -> Entry | None:
        """Find a job, with its reply."""
        with self._desk() as desk:
            saved = desk.read(lambda db: store_schema.load(db, request_id))
            return joined(saved, desk.unsaved.get(request_id))

    def entries(self, *, limit: int = 50) -> list[Entry]:
        """List the newest jobs first, without their replies (`Entry.kept` tells of them)."""
        with self._desk() as desk:
            known = desk.known(lambda db: store_schema.newest(db, limit))
        return [entry.light() for entry in newest_first(known)[:limit]]

    def find_work(self, work: str) -> Entry | None:
        """Find a job by the fingerprint of what was asked.

        Parameters
        ----------
        work
            From `fingerprint`.

        Returns
        -------
        Entry or None
            The newest that completed and whose reply is kept, else the newest that is pending.
        """
        with self._desk() as desk:
            known = desk.known(lambda db: store_schema.of_work(db, desk.settled(work)))
            equal = newest_first(entry for entry in known if desk.same(entry.work, work))
            answered = [entry for entry in equal if entry.answered]
            pending = [entry for entry in equal if entry.pending]
            best = next(iter(answered + pending), None)
            return None if best is None else self.find(best.request_id)

    def durations(self, origin: str, model: str, *, limit: int = 200) -> list[float]:
        """List how many seconds the jobs of a model took, newest first.

        Parameters
        ----------
        origin, model
            As in `Entry`.
        limit
            The most that are listed.
        """
        with self._desk() as desk:
            known = desk.known(lambda db: store_schema.timed(db, origin, model, limit))
        same = newest_first(e for e in known if (e.origin, e.model) == (origin, model))
        return [entry.seconds for entry in same if entry.seconds is not None][:limit]

    def fingerprint(self, data: bytes) -> str:
        """Hash what was asked, with a key that all kernels share and that is in the file alone.

        A short prompt could be guessed from a plain hash. Where the file cannot be read, the
        fingerprint is good for this store, and what it was given to is found again by all once
        the file has taken it.
        """
        with self._desk() as desk:
            return desk.fingerprint(data)

    def prune(self, *, max_age_s: float = MAX_AGE_S) -> int:
        """Forget the jobs to which nothing happened for `max_age_s` seconds; returns how many."""
        with self._desk() as desk:
            return desk.forget(before=self._clock() - max_age_s)

    def keep_reply(self, key: str, body: bytes) -> None:
        """Keep a reply.

        Parameters
        ----------
        key
            From `fingerprint`; a reply of the same key is replaced.
        body
            What `kept_reply` is to give.
        """
        now = self._clock()
        with self._desk() as desk:
            desk.keep(Kept(key=key, body=body, kept_at=now, used_at=now))

    def kept_reply(self, key: str, *, read_only: bool = False) -> Kept | None:
        """Find a kept reply.

        Parameters
        ----------
        key
            As for `keep_reply`.
        read_only
            Leave the file as it is: do not note that the reply is of use.
        """
        with self._desk() as desk:
            kept = desk.kept(key)
            if kept is not None and not read_only:
                desk.used(kept, now=self._clock())
            return kept

    def kept_replies(self) -> Holding:
        """Count the replies that are kept."""
        with self._desk() as desk:
            return desk.holding()

    def clear_replies(self) -> int | None:
        """Forget all kept replies, but no job.

        Returns
        -------
        int or None
            How many there were; `None` where the file cannot be changed now.
        """
        with self._desk() as desk:
            return desk.clear_kept()

    def close(self) -> None:
        """Offer the file once more what it has not taken, and close it.

        The next use opens it again, and what the file did not take is still there then; what was
        in memory alone by choice is gone.
        """
        desk = self._desks.get(os.getpid())
        if desk is not None:
            with desk.lock:
                desk.close()

    def _note(self, news: Entry) -> None:
        with self._desk() as desk:
            desk.note(replace(news, noted_at=self._clock()))

    @contextlib.contextmanager
    def _desk(self) -> Iterator[Desk]:
        """Hold this process's side of the journal."""
        # No lock is needed to make it: `setdefault` is one step, and a fork cannot get between.
        desk = self._desks.get(os.getpid()) or self._desks.setdefault(os.getpid(), self._new_desk())
        with desk.lock:
            if not desk.begun:
                desk.begin(before=self._clock() - MAX_AGE_S)
            yield desk

    def _new_desk(self) -> Desk:
        return Desk(
            self._path,
            max_reply_bytes=self._max_reply_bytes,
            report=self._report,
            retry_s=self._retry_s,
        )

    def _report(self, trouble: Unusable) -> None:
        """Warn once of a lock, which will pass, and once of anything else."""
        if trouble.locked not in self._warned:
            self._warned.add(trouble.locked)
            self._warn(str(trouble))
