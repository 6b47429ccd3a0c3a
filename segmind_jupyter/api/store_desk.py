"""One process's side of the journal: its file, and the news that the file has yet to take.

Decides what happens while the file cannot be used; holds no rule about jobs.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from segmind_jupyter.api import store_replies, store_schema
from segmind_jupyter.api.store_entry import Entry, joined
from segmind_jupyter.api.store_file import JournalFile, Unusable
from segmind_jupyter.api.store_replies import Holding, Kept
from segmind_jupyter.api.store_salt import Fingerprints

T = TypeVar("T")

#: How long a call waits for another process's lock, and how long while one is known to be held.
_BUSY_S: Final = 2.0
_STILL_BUSY_S: Final = 0.05

#: How precisely it is known when a kept reply was last used: most uses then only read the file.
_USE_S: Final = 24 * 3600.0


class Desk:
    """What one process has of a journal. Its user holds `lock`.

    Parameters
    ----------
    path
        The file, or `None` for memory alone.
    max_reply_bytes
        The most that kept replies may take together.
    report
        Is told why the file cannot be used, each time.
    retry_s
        Seconds after which what the file did not take is offered to it again.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        max_reply_bytes: int,
        report: Callable[[Unusable], None],
        retry_s: float,
    ) -> None:
        self.lock = threading.RLock()
        self.begun = False
        self.unsaved: dict[str, Entry] = {}
        self._unkept: dict[str, Kept] = {}
        self._fingerprints = Fingerprints()
        self._max_reply_bytes = max_reply_bytes
        self._file = JournalFile(path)
        self._report, self._retry_s = report, retry_s
        self._retry: threading.Timer | None = None
        self._busy_s = _BUSY_S

    def begin(self, *, before: float) -> None:
        """Forget old jobs, unless the file can only be read: nobody has asked for it yet."""
        self.begun = True
        if self._file.writable:
            self.forget(before=before)

    def note(self, news: Entry) -> None:
        """Take news, and bring all that is unsaved into the file."""
        known = self.unsaved.get(news.request_id)
        self.unsaved[news.request_id] = joined(known, news) or news
        self._save()

    def fingerprint(self, data: bytes) -> str:
        """Hash what was asked; with the file's key, if it can be read."""
        return self._fingerprints.make(data, salt=self.read(store_schema.salt))

    def settled(self, fingerprint: str) -> str:
        """Give a fingerprint as it is in the file, also if it was made without the file."""
        return self._fingerprints.settled(fingerprint)

    def same(self, one: str | None, other: str) -> bool:
        """Tell whether two fingerprints are of one thing, with whichever key each was made."""
        return one is not None and self.settled(one) == self.settled(other)

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T | None:
        """Run a query on the file; `None` where it cannot be used."""

        def reading(db: sqlite3.Connection) -> T:
            self._know_salt(db)
            return query(db)

        try:
            return self._file.read(reading, busy_s=self._busy_s)
        except Unusable as trouble:
            self._cope(trouble)
            return None

    def known(self, query: Callable[[sqlite3.Connection], Iterable[Entry]]) -> Iterable[Entry]:
        """List what a query finds in the file, joined to all that is unsaved."""

        def both(db: sqlite3.Connection) -> list[Entry | None]:
            return [*query(db), *(store_schema.load(db, name) for name in self.unsaved)]

        known = {entry.request_id: entry for entry in self.read(both) or () if entry}
        for name, news in self.unsaved.items():
            known[name] = joined(known.get(name), news) or news
        return known.values()

    def forget(self, *, before: float) -> int:
        """Forget the jobs to which nothing happened since a Unix time; returns how many."""
        forgotten = self._save(lambda db: store_schema.forget(db, before=before)) or 0
        old = [name for name, entry in self.unsaved.items() if entry.touched_at < before]
        for name in old:
            del self.unsaved[name]
        return forgotten + len(old)

    def keep(self, kept: Kept) -> None:
        """Take a reply, and bring all that is unsaved into the file."""
        self._unkept[kept.key] = kept
        self._save()
        with contextlib.suppress(Unusable):
            # The file alone then has it, should somebody copy it without the log beside it.
            self._file.read(store_replies.settle, busy_s=0.0)

    def kept(self, key: str) -> Kept | None:
        """Find a reply, in the file or among those that it has yet to take."""
        for kept in reversed(self._unkept.values()):
            if self.same(kept.key, key):
                return kept
        return self.read(lambda db: store_replies.find(db, self.settled(key)))

    def used(self, kept: Kept, *, now: float) -> None:
        """Note that a reply is of use, unless that is known, or cannot be noted."""
        if now - kept.used_at < _USE_S or not self._file.writable:
            return
        with contextlib.suppress(Unusable):
            self._file.write(
                lambda db: store_replies.touch(db, self.settled(kept.key), used_at=now),
                busy_s=_STILL_BUSY_S,
            )

    def holding(self) -> Holding:
        """Count the replies that are kept."""
        saved = self.read(store_replies.holding) or Holding()
        return saved.with_more(self._unkept.values())

    def clear_kept(self) -> int | None:
        """Forget all replies, and give their room back; `None` where the file cannot be changed."""
        waiting = len(self._unkept)
        self._unkept.clear()
        cleared = self._save(store_replies.clear)
        if cleared is None:
            return None
        with contextlib.suppress(Unusable):  # in use: what is freed is used again later
            self._file.read(store_replies.compact, busy_s=self._busy_s)
        return cleared + waiting

    def close(self) -> None:
        """Save what is unsaved with all patience, and close the file."""
        self._busy_s = _BUSY_S
        if self._behind:
            self._save()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._file.close()

    def _save(self, change: Callable[[sqlite3.Connection], T] | None = None) -> T | None:
        """Bring all news into the file, and with them a change."""

        def saving(db: sqlite3.Connection) -> T | None:
            self._know_salt(db)
            store_schema.save(db, map(self._for_file, self.unsaved.values()))
            kept = [replace(kept, key=self.settled(kept.key)) for kept in self._unkept.values()]
            store_replies.save(db, kept, max_bytes=self._max_reply_bytes)
            return None if change is None else change(db)

        try:
            result = self._file.write(saving, busy_s=self._busy_s)
        except Unusable as trouble:
            self._cope(trouble)
            self._save_later()
            return None
        self.unsaved.clear()
        self._unkept.clear()
        self._busy_s = _BUSY_S
        return result

    def _know_salt(self, db: sqlite3.Connection) -> None:
        """Read the key, if there is anything that was hashed without it."""
        if self._fingerprints.blind:
            self._fingerprints.know(store_schema.salt(db))

    def _for_file(self, entry: Entry) -> Entry:
        return entry if entry.work is None else replace(entry, work=self.settled(entry.work))

    @property
    def _behind(self) -> bool:
        """Whether there is anything that the file has yet to take."""
        return bool(self.unsaved or self._unkept)

    def _cope(self, trouble: Unusable) -> None:
        if trouble.locked:
            self._busy_s = _STILL_BUSY_S  # somebody has waited; the next ones need not
        self._report(trouble)

    def _save_later(self) -> None:
        """Save by itself after a while: there may be no other call before the kernel ends."""
        if not self._behind or self._retry is not None:
            return
        retry = threading.Timer(self._retry_s, self._save_now)
        retry.name, retry.daemon = "segmind-jupyter-journal", True
        with contextlib.suppress(RuntimeError):  # the interpreter is ending
            retry.start()
            self._retry = retry

    def _save_now(self) -> None:
        with self.lock:
            self._retry = None
            if self._behind:
                self._save()
