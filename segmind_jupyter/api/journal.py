"""The journal: one SQLite file with the ids of jobs, fetched and cached replies, and claims.

An id is in it before the first poll, a reply as soon as it was fetched, a claim before its POST
goes out. A key of the API is never written, and a prompt only
in a chat that is to be kept: all else has keyed hashes of prompts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import platform
import secrets
import sqlite3
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from segmind_jupyter.api.database import (
    CachedReply,
    CacheSize,
    CallRecord,
    Claim,
    JobRecord,
    NotOurs,
    age_of,
    best_of,
    connect,
    is_amount,
    is_lock,
    is_read_only,
    is_time,
    joined,
    migrate,
    open_database,
    read_job,
    transaction,
)
from segmind_jupyter.api.messages import Call, Reply, parse_reply
from segmind_jupyter.errors import NotCachedError, ReplyError

if TYPE_CHECKING:
    from segmind_jupyter.api.settings import Caching

T = TypeVar("T")

FILE_NAME: Final = "jobs.sqlite3"

#: The journal forgets what is older.
MAX_AGE_S: Final = 30 * 24 * 3600.0

#: Cached replies take no more; what was not used for the longest goes first. One takes a few kB.
MAX_REPLY_BYTES: Final = 256_000_000

#: Calls that are remembered: a year of a busy user.
MAX_CALLS: Final = 20_000

#: How long a call waits for another program's lock, and how long while one is known to be held.
BUSY_S: Final = 2.0
_STILL_BUSY_S: Final = 0.05

#: Whoever sends says so this often, and counts as dead when nothing was heard for this long: a
#: library may hold the GIL for seconds.
BEAT_S: Final = 5.0
LEASE_S: Final = 20.0

#: How precisely it is known when a cached reply was last used: most uses then only read the file.
_USE_S: Final = 24 * 3600.0

_log = logging.getLogger(__name__)


def default_path(environ: Mapping[str, str] | None = None) -> Path:
    """Return where the journal is kept."""
    folder = (os.environ if environ is None else environ).get("SEGMIND_JUPYTER_STATE", "").strip()
    if folder:
        return Path(os.path.expanduser(folder)) / FILE_NAME
    from platformdirs import user_state_path

    return user_state_path("segmind_jupyter", appauthor=False) / FILE_NAME


def why_unusable(path: Path, *, busy_s: float = BUSY_S) -> str | None:
    """Return why a file cannot be written as a journal, in one sentence; `None` where it can."""
    found: list[str] = []
    journal = Journal(path, warn=found.append, busy_s=busy_s)
    journal._write(lambda db: None)
    journal.close()
    return found[0] if found else None


def warn_user(message: str) -> None:
    """Warn without naming a line of code: on a background thread none is the user's."""
    try:
        warnings.warn_explicit(message, UserWarning, filename="segmind_jupyter", lineno=1)
    except Warning:  # an error, where nobody could catch it
        _log.warning(message)


#: Held while SQLite is at work, and while the process forks: a child that is forked in the midst
#: of it would have SQLite's own locks as they were, and wait for ever.
_at_work: Final = threading.RLock()
_journals: Final[weakref.WeakSet[Journal]] = weakref.WeakSet()


def _in_forked_child() -> None:
    for journal in _journals:
        journal.open_anew()
    _at_work.release()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_at_work.acquire,
        after_in_parent=_at_work.release,
        after_in_child=_in_forked_child,
    )


class Journal:
    """Jobs by id, replies by key, and claims. Threads, kernels and forked children share it.

    No method raises because the file is locked, damaged, full, forbidden or from a newer version:
    `warn` is called once, and what is new stays in memory, for as long as the file does not take
    it. Each write offers it again.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], None] = warn_user,
        busy_s: float = BUSY_S,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        #: The file, which need not be there yet; `None` where all is in memory.
        self.path = None if path is None else path.absolute()  # `%cd` must not move it
        self._clock, self._warn, self._busy_s = clock, warn, busy_s
        self._max_reply_bytes = max_reply_bytes
        self._file: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        #: What the file has yet to take, in tables of the same form.
        self._memory: sqlite3.Connection | None = None
        self._salt: bytes | None = None
        self._holder = f"{platform.node()}:{os.getpid()}:{secrets.token_hex(8)}"
        self._is_locked = self._is_pruned = False
        self._said: set[str] = set()
        self._to_say: list[str] = []
        _journals.add(self)

    # Jobs --------------------------------------------------------------------------------------

    def submitted(self, record: JobRecord) -> None:
        """Note a job, which ends the claim of its work. A known one gains what it lacks."""
        record = replace(record, noted_at=self._clock())

        def change(db: sqlite3.Connection) -> None:
            _save(db, [record])
            db.execute("DELETE FROM sends WHERE work = ?", (record.work,))

        self._write(change)

    def ended(
        self,
        request_id: str,
        *,
        state: str,
        raw: str | None = None,
        error: str | None = None,
        seconds: float | None = None,
    ) -> None:
        """Note how a job ended, also one that was never noted before."""
        now = self._clock()
        record = JobRecord(
            request_id=request_id, origin="", model=None, submitted_at=None, noted_at=now,
            state=state, raw=raw, error=error, seconds=seconds, ended_at=now,
        )  # fmt: skip
        self._write(lambda db: _save(db, [record]))

    def find(self, request_id: str) -> JobRecord | None:
        """Find a job, with its reply."""
        found = self._jobs("WHERE request_id = ?", _text(request_id), columns=_WHOLE)
        return found[0] if found else None

    def entries(self, *, limit: int = 50) -> list[JobRecord]:
        """List the newest jobs first, without their replies."""
        return self._jobs(_NEWEST_FIRST, limit)[:limit]

    def find_work(self, work: str) -> JobRecord | None:
        """Find a job that answers this work, or else one that is to."""
        found = self._jobs("WHERE work = ?", _text(work), columns=_WHOLE)
        return best_of(record for record in found if record.work == _text(work))

    def durations(self, origin: str, model: str, *, limit: int = 200) -> list[float]:
        """List how many seconds the jobs of a model took, newest first."""
        where = "WHERE origin = ? AND model = ? AND seconds IS NOT NULL " + _NEWEST_FIRST
        found = self._jobs(where, _text(origin), _text(model), limit)
        return [record.seconds for record in found if record.seconds is not None][:limit]

    def _jobs(self, where: str, *values: object, columns: str = "") -> list[JobRecord]:
        """List jobs, newest first: those of the file, joined to what it has yet to take."""

        def rows_of(where: str, *values: object) -> list[sqlite3.Row]:
            query = f"SELECT {columns or _LISTED} FROM jobs {where}"  # noqa: S608 - constants
            return self._read(lambda db: db.execute(query, values).fetchall())

        rows = rows_of(where, *values)
        if self.path is not None and self._memory is not None:
            # The file and what it has yet to take need not both say what was looked for.
            ids = {row["request_id"] for row in rows}
            rows = [row for known in ids for row in rows_of("WHERE request_id = ?", known)]
        found: dict[str, JobRecord] = {}
        with self._working():
            for row in rows:
                if (record := read_job(row)) is not None:
                    found[record.request_id] = joined(found.get(record.request_id), record)
                else:
                    self._say(
                        "damage", f"A row of the journal {self.path} is damaged; it is skipped."
                    )
        return sorted(found.values(), key=age_of, reverse=True)

    # What is being sent ------------------------------------------------------------------------

    def fingerprint(self, data: bytes) -> str:
        """Hash what was asked, with a key that all kernels share and that is in the file alone.

        A short prompt could be guessed from a plain hash. Where the file cannot be read at first,
        this journal's key is its own, and that of a file which it makes later.
        """
        if self._salt is None:
            found = self._read(lambda db: db.execute("SELECT value FROM salt").fetchall())
            salt = found[0][0] if found else secrets.token_bytes(32)
            if not (isinstance(salt, bytes) and 0 < len(salt) <= 64):  # all make the same of damage
                salt = hashlib.blake2b(repr(salt).encode()).digest()
            self._salt = salt
        return hashlib.blake2b(data, key=self._salt, digest_size=16).hexdigest()

    def claim(self, work: str, *, anew: bool = False) -> Claim:
        """Claim a work, in one step with looking whether it was sent; `anew` does not look.

        A claim is held until its job is `submitted`, it is released, or its holder dies: then it
        is "lost" to all who come, as it may have been billed, until somebody claims it `anew`.
        """
        if not anew and (known := self.find_work(work)):
            return Claim("known", known)
        now = self._clock()

        def change(db: sqlite3.Connection) -> Claim:
            if not anew:
                jobs = db.execute(f"SELECT {_WHOLE} FROM jobs WHERE work = ?", (work,))  # noqa: S608
                if known := best_of(filter(None, map(read_job, jobs))):
                    return Claim("known", known)
                sending = db.execute("SELECT * FROM sends WHERE work = ?", (work,)).fetchone()
                if sending is not None:
                    at = sending["at"] if is_time(sending["at"]) else now
                    return Claim("theirs" if _lives(sending, now) else "lost", at=at)
            row = (work, self._holder, now, now)
            db.execute("REPLACE INTO sends (work, holder, at, beat_at) VALUES (?, ?, ?, ?)", row)
            return Claim("ours")

        return self._write(change)

    def beat(self, work: str) -> None:
        """Say that what was claimed is still being sent."""
        change = "UPDATE sends SET beat_at = ? WHERE work = ? AND holder = ?"
        values = (self._clock(), work, self._holder)
        self._write(lambda db: db.execute(change, values))

    def release(self, work: str) -> None:
        """Give up a claim: what was to be sent was not, or its sender was told what came of it."""
        change, values = "DELETE FROM sends WHERE work = ? AND holder = ?", (work, self._holder)
        self._write(lambda db: db.execute(change, values))

    # Calls -------------------------------------------------------------------------------------

    def record_call(self, call: CallRecord, *, settles: str | None = None) -> None:
        """Remember what a call took, in place of what was set aside; the oldest are forgotten."""
        told = dataclasses.astuple(call)
        row = [_text(value) if isinstance(value, str) else value for value in told]

        def change(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            db.execute("DELETE FROM reserved WHERE id = ?", (settles,))
            oldest = "SELECT max(rowid) - ? FROM calls"
            db.execute(f"DELETE FROM calls WHERE rowid <= ({oldest})", (MAX_CALLS,))  # noqa: S608

        self._write(change)

    def calls(
        self, origin: str, *, model: str | None = None, since: float = 0.0, limit: int = MAX_CALLS
    ) -> list[CallRecord]:
        """List the newest calls that are remembered, oldest first."""
        query = (
            "SELECT * FROM calls WHERE origin = ? AND coalesce(model = ?, 1) AND at >= ? "
            "ORDER BY at DESC, rowid DESC LIMIT ?"
        )
        values = (origin, model, since, limit)
        rows = self._read(lambda db: db.execute(query, values).fetchall()[::-1])
        return [
            CallRecord(**dict(row))
            for row in rows
            if is_time(row["at"])
            and all(is_amount(row[name]) for name in ("input_tokens", "cost", "seconds"))
            and isinstance(row["model"], str)
            and isinstance(row["request_id"], str | None)
        ]

    def keep_verdict(self, key: str, *, best: str, models: Iterable[str]) -> None:
        """Keep which of several models the user found best; the last word on a comparison counts.

        Slugs hold no spaces.
        """
        row = (key, best, " ".join(models))
        self._write(lambda db: db.execute("REPLACE INTO verdicts VALUES (?, ?, ?)", row))

    def verdicts(self) -> list[tuple[str, list[str]]]:
        """List the best model of each comparison, and all that were compared."""
        query = "SELECT CAST(best AS TEXT), CAST(models AS TEXT) FROM verdicts"
        rows = self._read(lambda db: db.execute(query).fetchall())
        return [(best, models.split()) for best, models in rows]

    # What may be spent in a day ----------------------------------------------------------------

    def daily_budget(self) -> float | None:
        """Return how many credits all kernels together may spend in a day; `None` is no limit."""
        rows = self._read(lambda db: db.execute("SELECT amount FROM budget").fetchall())
        amount = rows[-1][0] if rows else None
        return amount if is_amount(amount) else None

    def set_daily_budget(self, amount: float | None) -> None:
        """Set that; `None` takes it away."""
        self._write(lambda db: db.execute("REPLACE INTO budget VALUES (1, ?)", (amount,)))

    def spent(self, origin: str, *, since: float) -> float:
        """Sum what the calls to an origin took since then, and what is set aside for others."""
        return sum(self._read(lambda db: [_spent(db, origin, since)]))

    def reserve(
        self, key: str, origin: str, *, cost: float, most: float, since: float
    ) -> tuple[float | None, float]:
        """Set `most` aside for a call of about `cost`, unless that would pass the daily budget.

        Gives that budget, and what was spent or set aside before.
        """
        limit, now = self.daily_budget(), self._clock()
        if limit is None:  # nobody looks: a call is not to wait for a write
            return None, 0.0

        def change(db: sqlite3.Connection) -> float:
            spent = _spent(db, origin, since)
            if spent + cost <= limit:
                db.execute("INSERT INTO reserved VALUES (?, ?, ?, ?)", (key, now, origin, most))
            return spent

        return limit, self._write(change)

    def lost(self, key: str, origin: str, amount: float) -> None:
        """Keep what was set aside for a call whose outcome nobody knows."""
        row = (key, self._clock(), origin, amount)
        self._write(
            lambda db: db.execute("INSERT OR IGNORE INTO reserved VALUES (?, ?, ?, ?)", row)
        )

    def unreserve(self, key: str) -> None:
        """Give back what was set aside."""
        self._write(lambda db: db.execute("DELETE FROM reserved WHERE id = ?", (key,)))

    # Cached replies ----------------------------------------------------------------------------

    def keep_reply(self, key: str, body: bytes) -> None:
        """Cache a reply; those that were not asked for the longest go where there are too many."""
        if len(body) > self._max_reply_bytes:
            return
        now = self._clock()
        self._write(
            lambda db: _cache(db, [(key, now, now, len(body), body)], self._max_reply_bytes)
        )
        with _at_work, contextlib.suppress(sqlite3.Error):
            if self._file is not None:
                # The file alone then has it, should somebody copy it without the log beside it.
                self._file.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def kept_reply(self, key: str, *, read_only: bool = False) -> CachedReply | None:
        """Find a cached reply."""
        # Whatever damage made of the body, bytes come out: whether they are a reply is seen later.
        query = (
            "SELECT key, CAST(body AS BLOB) AS body, kept_at, used_at FROM replies WHERE key = ?"
        )
        found = self._read(lambda db: db.execute(query, (key,)).fetchall())
        rows = [
            row
            for row in found
            if all(isinstance(row[n], int | float) for n in ("kept_at", "used_at"))
        ]
        if not rows:
            return None
        reply, now = CachedReply(**dict(rows[-1])), self._clock()
        is_due = now - reply.used_at >= _USE_S and not read_only
        if is_due and not (self.path and is_read_only(self.path)):
            use = "UPDATE replies SET used_at = ? WHERE key = ?"
            self._write(lambda db: db.execute(use, (now, key)))
        return reply

    def kept_replies(self) -> CacheSize:
        """Count the replies that are cached."""
        query = "SELECT kept_at, n_bytes FROM replies"
        found = self._read(lambda db: db.execute(query).fetchall())
        rows = [row for row in found if is_time(row[0]) and is_amount(row[1])]
        return CacheSize(
            len(rows), sum(row[1] for row in rows), min((r[0] for r in rows), default=None)
        )

    def clear_replies(self) -> int | None:
        """Forget all cached replies, but no job; `None` where the file cannot be changed."""
        with _at_work:
            cleared = self._write(lambda db: db.execute("DELETE FROM replies").rowcount)
            if self._file is None or self._memory is not None:
                return cleared if self.path is None else None
            with contextlib.suppress(sqlite3.Error):  # in use: what is freed is used again later
                # Until then the file still holds the words.
                self._file.execute("VACUUM")
                self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return cleared

    # Turns of chats ----------------------------------------------------------------------------

    def keep_turn(self, chat: str, key: str, body: bytes) -> None:
        """Keep a turn of a chat, behind its others."""
        row = (_text(chat), key, body)
        self._write(lambda db: db.execute("REPLACE INTO turns VALUES (?, ?, ?)", row))

    def kept_turns(self, chat: str) -> list[tuple[str, bytes]]:
        """Return the keys and the bodies of a chat's turns, oldest first."""
        query = "SELECT key, CAST(body AS BLOB) FROM turns WHERE chat = ? ORDER BY rowid"
        return [tuple(row) for row in self._read(lambda db: db.execute(query, (_text(chat),)))]

    def kept_chats(self) -> list[str]:
        """Return the names of the chats that have turns, in the order of their beginning."""
        query = "SELECT chat FROM turns GROUP BY chat ORDER BY min(rowid)"
        return list(dict.fromkeys(row[0] for row in self._read(lambda db: db.execute(query))))

    def forget_turn(self, chat: str, key: str) -> None:
        """Forget a turn of a chat, also in the log beside the file."""
        forget, row = "DELETE FROM turns WHERE chat = ? AND key = ?", (_text(chat), key)
        with _at_work, contextlib.suppress(sqlite3.Error):  # in use: it goes with its last user
            self._write(lambda db: db.execute(forget, row))
            if self._file is not None:
                self._file.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # The file, and the memory in its place -----------------------------------------------------

    def close(self) -> None:
        """Offer the file once more what it has not taken, and close it; the next use opens it."""
        with _at_work:
            if self.path is not None and self._memory is not None:
                self._is_locked = False  # the last chance, so with all patience
                self._write(lambda db: None)
            if self.path is None:
                self._close_memory()
            self._close_file()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # also of one that was never made
            self._close_memory()
            self._close_file()

    def open_anew(self) -> None:
        """Leave the connection to the process that this one was forked from."""
        import ctypes

        if self._file is not None:
            # A child must neither use its parent's connection nor close it: it is never let go.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._file))
            self._file = None
        self._holder = f"{platform.node()}:{os.getpid()}:{secrets.token_hex(8)}"

    def _read(self, query: Callable[[sqlite3.Connection], Iterable[T]]) -> list[T]:
        """Run a query on the file, and on what the file has yet to take."""
        found: list[T] = []
        with self._working():
            if self.path is not None:
                try:
                    found += query(self._opened(self.path))
                except (sqlite3.Error, OSError, NotOurs) as error:
                    self._fail(error)
            if self._memory is not None:
                found += query(self._memory)
        return found

    def _write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Make a change in one transaction, in the file or in its place; bring all that waits."""
        with self._working():
            if self.path is not None:
                try:
                    with transaction(self._opened(self.path)) as db:
                        self._settle(db)
                        result = change(db)
                except (sqlite3.Error, OSError, NotOurs) as error:
                    self._fail(error)
                else:
                    self._close_memory()
                    self._is_locked = False
                    return result
            if self._memory is None:
                self._memory = connect(":memory:", 0)
                migrate(self._memory, self._salt)
            with transaction(self._memory) as db:
                return change(db)

    def _settle(self, db: sqlite3.Connection) -> None:
        """Bring into the file what waits in memory, and forget what is old, once."""
        if not self._is_pruned:
            self._is_pruned, before = True, (self._clock() - MAX_AGE_S,)
            db.execute("DELETE FROM sends WHERE at < ?", before)
            db.execute("DELETE FROM reserved WHERE at < ?", before)
            last = "max(coalesce(submitted_at, 0), coalesce(ended_at, 0), noted_at)"
            db.execute(f"DELETE FROM jobs WHERE {last} < ?", before)  # noqa: S608
        if self._memory is None:
            return
        waiting = self._memory.execute
        _save(db, filter(None, map(read_job, waiting(f"SELECT {_WHOLE} FROM jobs"))))  # noqa: S608
        columns = "key, kept_at, used_at, n_bytes, body"
        replies = map(tuple, waiting(f"SELECT {columns} FROM replies"))  # noqa: S608
        _cache(db, replies, self._max_reply_bytes)
        db.executemany(
            "INSERT OR IGNORE INTO sends VALUES (?, ?, ?, ?)", waiting("SELECT * FROM sends")
        )
        db.executemany(
            "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?)", waiting("SELECT * FROM calls")
        )
        db.executemany(
            "INSERT OR IGNORE INTO reserved VALUES (?, ?, ?, ?)", waiting("SELECT * FROM reserved")
        )
        db.executemany("REPLACE INTO budget VALUES (?, ?)", waiting("SELECT * FROM budget"))
        verdicts = waiting("SELECT * FROM verdicts")
        db.executemany("REPLACE INTO verdicts VALUES (?, ?, ?)", verdicts)
        turns = waiting("SELECT * FROM turns ORDER BY rowid")
        db.executemany("INSERT OR IGNORE INTO turns VALUES (?, ?, ?)", turns)

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        """Keep others, and forks, away; what went wrong is said when they may come again."""
        try:
            with _at_work:
                yield
        finally:
            while self._to_say:
                self._warn(self._to_say.pop())

    def _fail(self, error: Exception) -> None:
        """Say once what is wrong with the file, and once of a lock, which will pass."""
        self._is_locked = is_lock(error)
        if not self._is_locked:
            self._close_file()
        if isinstance(error, OSError):
            reason = f"{error.strerror or error}: {error.filename or self.path}"
        else:
            reason = "another program has locked it" if self._is_locked else str(error)
        self._say(
            "a lock" if self._is_locked else "trouble",
            f"The journal of jobs {self.path} cannot be used ({reason}): jobs go on, and what is "
            "new is kept in this kernel's memory alone until it can; see to the file, or set "
            "SEGMIND_JUPYTER_STATE to another folder.",
        )

    def _say(self, kind: str, message: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._to_say.append(message)

    def _opened(self, path: Path) -> sqlite3.Connection:
        busy_s = _STILL_BUSY_S if self._is_locked else self._busy_s
        if self._file is not None and self._identity != _identity(path):
            self._close_file()  # somebody deleted it: what follows would go into a nameless one
        if self._file is None:
            self._file = open_database(path, busy_s=busy_s, salt=self._salt)
            self._identity = _identity(path)
        self._file.execute(f"PRAGMA busy_timeout = {round(busy_s * 1000)}")
        return self._file

    def _close_memory(self) -> None:
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.close()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(sqlite3.Error):
                file.close()


_FIELDS: Final = (
    "request_id, origin, model, submitted_at, noted_at, state, ended_at, seconds, error, work, "
    "place"
)
_LISTED: Final = f"{_FIELDS}, raw IS NOT NULL AS kept"
_WHOLE: Final = f"{_FIELDS}, raw"
_NEWEST_FIRST: Final = "ORDER BY coalesce(submitted_at, noted_at) DESC, request_id DESC LIMIT ?"


def _save(db: sqlite3.Connection, news: Iterable[JobRecord]) -> None:
    """Join news to what is known, in a transaction of the caller's."""
    query = f"SELECT {_WHOLE} FROM jobs WHERE request_id = ?"  # noqa: S608
    put = f"REPLACE INTO jobs ({_WHOLE}) VALUES ({', '.join('?' * 12)})"  # noqa: S608
    for record in news:
        row = db.execute(query, (_text(record.request_id),)).fetchone()
        told = dataclasses.asdict(joined(read_job(row) if row else None, record))
        values = [
            _text(v) if isinstance(v := told[name], str) else v for name in _FIELDS.split(", ")
        ]
        raw = told["raw"]
        db.execute(put, (*values, None if raw is None else raw.encode("utf-8", "surrogatepass")))


def _cache(db: sqlite3.Connection, rows: Iterable[tuple[Any, ...]], max_bytes: int) -> None:
    """Cache replies, and drop the least recently used beyond `max_bytes`; in a transaction."""
    columns = "key, kept_at, used_at, n_bytes, body"
    db.executemany(f"REPLACE INTO replies ({columns}) VALUES (?, ?, ?, ?, ?)", rows)  # noqa: S608
    db.execute(
        """
        DELETE FROM replies WHERE key IN (
            SELECT key FROM (
                SELECT key, n_bytes,
                    total(n_bytes) FILTER (WHERE n_bytes BETWEEN 0 AND ?1)
                        OVER (ORDER BY used_at DESC, key) AS with_all_newer
                FROM replies
            ) WHERE with_all_newer > ?1 OR n_bytes NOT BETWEEN 0 AND ?1
        )
        """,
        (max_bytes,),
    )


def _spent(db: sqlite3.Connection, origin: str, since: float) -> float:
    """Sum what was spent and set aside; a call of which nobody told counts as the mean of all."""
    # No damage makes an amount that gives credit back, or that no budget bears.
    mean = "(SELECT avg(cost) FROM calls WHERE cost BETWEEN 0 AND 1e15)"
    query = (
        f"SELECT total(CASE WHEN cost BETWEEN 0 AND 1e15 THEN cost ELSE {mean} END) "  # noqa: S608
        "FROM calls WHERE origin = ?1 AND at >= ?2 UNION ALL SELECT total(amount) FROM reserved "
        "WHERE origin = ?1 AND at >= ?2 AND amount BETWEEN 0 AND 1e15"
    )
    return sum(float(row[0]) for row in db.execute(query, (origin, since)))


def _lives(sending: sqlite3.Row, now: float) -> bool:
    """Whether whoever claimed something is still at it."""
    host, _, rest = str(sending["holder"]).rpartition(":")[0].rpartition(":")
    if os.name == "posix" and host == platform.node() and rest.isdecimal():
        try:
            os.kill(int(rest), 0)
        except ProcessLookupError:
            return False
        except (OSError, OverflowError, ValueError):
            pass
    beat_at = sending["beat_at"]
    return is_time(beat_at) and abs(now - beat_at) < LEASE_S


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell one file from another of the same name."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _text(text: str) -> str:
    """Replace lone surrogates: JSON can hold them, and SQLite's text cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


# Replies that are kept for a request that is made again -------------------------------------

#: What a reply has besides the model's own JSON: from the headers, the clock, or the request.
_BESIDES: Final = ("model", "cost", "remaining_credits", "elapsed_s", "request_id")


class ReplyCache:
    """The place of the reply to one request; without a journal nothing is ever kept.

    A kept reply needs neither a key of the API nor a network.
    """

    def __init__(
        self, journal: Journal | None = None, key: str = "", *, may_send: bool = True
    ) -> None:
        self._journal, self._key, self._may_send = journal, key, may_send

    @classmethod
    def of(cls, call: Call, *, cache: Caching, journal: Journal, origin: str) -> ReplyCache:
        """Find the place of the reply to a call."""
        if cache == "off":
            return cls()
        # So nothing of a request is written but what an equal one alone finds again.
        key = journal.fingerprint(b"reply to %s at %s" % (call.digest, origin.encode()))
        return cls(journal, key, may_send=cache == "on")

    def find(self) -> Reply | None:
        """Return the reply that is kept, since its `cached_at`; what damage left of one is none."""
        if self._journal is None:
            return None
        kept = self._journal.kept_reply(self._key, read_only=not self._may_send)
        if kept is not None:
            with contextlib.suppress(ReplyError):
                return replace(from_bytes(kept.body), cached_at=kept.kept_at)
        if self._may_send:
            return None
        where = self._journal.path or "this kernel's memory"
        raise NotCachedError(
            f"No reply to this request is kept in {where}, and "
            '`ClaudeMagics.cache = "only"` sends nothing. Run the cell once online with '
            '`%config ClaudeMagics.cache = "on"`; if it ran, the request differs from then: the '
            "model, an option, or something named in the prompt."
        )

    def keep(self, reply: Reply) -> None:
        """Keep a reply, if it came just now, says what was asked for, and reads again as it is."""
        if self._journal is None or reply.cached_at is not None:
            return
        if getattr(reply.request, "expected", None) is not None:
            try:
                _ = reply.parsed
            except Exception:  # noqa: BLE001 - the shape is the user's class; ask again for it
                return
        with contextlib.suppress(ReplyError):
            body = to_bytes(reply)
            if from_bytes(body) == reply:
                self._journal.keep_reply(self._key, body)


def to_bytes(reply: Reply) -> bytes:
    """Write a reply as JSON: the model's own, and what came besides it."""
    besides = {name: getattr(reply, name) for name in _BESIDES}
    try:
        return json.dumps({"raw": reply.raw, **besides}, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        raise ReplyError("The reply is no JSON.") from None


def from_bytes(body: bytes) -> Reply:
    """Read a reply again, as if it had just come."""
    try:
        fields = json.loads(body)
        besides, raw = {name: fields[name] for name in _BESIDES}, fields["raw"]
        # What was an `output` is not to be taken apart a second time.
        reply = parse_reply(raw if isinstance(raw, str) else {"output": raw})
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ReplyError("This is no kept reply.") from None
    return replace(reply, **besides)
