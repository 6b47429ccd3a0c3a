"""The journal of jobs: ids before the first poll, replies as soon as they are fetched.

So a paid reply outlives the server's hour and the kernel. Beside the jobs it keeps replies by a
key (`reply_cache`). Neither a key of the API nor a prompt is ever written: of what was asked there
is a keyed hash alone (`store_salt`). Knows nothing of HTTP, and leaves to `store_entry` what
becomes of two accounts of a job, to `store_desk` what to do without a file, to `store_schema` and
`store_replies` the tables and to `store_file` the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import logging
import os
import secrets
import sqlite3
import stat
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar


class Fingerprints:
    """What one process knows of the key, and what it hashed while it could not read it.

    Until the file can be read, the process has a key of its own, so that its fingerprints still
    agree. What was hashed with that one is hashed anew with the file's before it goes there: no
    other kernel could find it again. What was asked stays in memory until then, never the file.
    """

    def __init__(self) -> None:
        self._salt = secrets.token_bytes(32)
        self._blind: dict[str, bytes] = {}

    @property
    def blind(self) -> bool:
        """Whether any were made that hold in this process alone."""
        return bool(self._blind)

    def know(self, salt: bytes) -> None:
        """Take the key that the file has now: a file that was deleted comes back with another."""
        self._salt = salt

    def make(self, data: bytes, *, salt: bytes | None) -> str:
        """Hash what was asked."""
        if salt is not None:
            self.know(salt)
        made = _hashed(data, self._salt)
        if salt is None:
            self._blind[made] = data
        return made

    def settled(self, fingerprint: str) -> str:
        """Return the fingerprint as it is in the file, as far as its key is known."""
        data = self._blind.get(fingerprint)
        return fingerprint if data is None else _hashed(data, self._salt)


def _hashed(data: bytes, salt: bytes) -> str:
    return hashlib.blake2b(data, key=salt, digest_size=16).hexdigest()


T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job, as the journal knows it."""

    request_id: str
    origin: str
    model: str | None
    submitted_at: float | None
    state: str
    ended_at: float | None = None
    seconds: float | None = None
    raw: str | None = None
    error: str | None = None
    work: str | None = None
    place: str = ""
    noted_at: float | None = None
    kept: bool = False

    def __post_init__(self) -> None:
        if self.raw is not None:
            object.__setattr__(self, "kept", True)

    @property
    def answered(self) -> bool:
        """Whether it completed and its reply is kept."""
        return self.state == "COMPLETED" and self.kept

    @property
    def pending(self) -> bool:
        """Whether no end of it is known."""
        return self.state == "QUEUED"

    @property
    def touched_at(self) -> float:
        """Unix time at which something last happened to it."""
        return max(self.submitted_at or 0.0, self.ended_at or 0.0, self.noted_at or 0.0)

    def light(self) -> JobRecord:
        """Leave the reply out."""
        return replace(self, raw=None)


def joined(known: JobRecord | None, news: JobRecord | None) -> JobRecord | None:
    """Put two accounts of one job together; either may be missing."""
    if known is None or news is None:
        return news if known is None else known
    end = news if _weight(news) > _weight(known) else known
    return replace(
        end,
        origin=known.origin or news.origin,
        model=known.model or news.model,
        submitted_at=_first(known.submitted_at, news.submitted_at),
        work=known.work or news.work,
        place=known.place or news.place,
        noted_at=_first(known.noted_at, news.noted_at),
    )


def newest_first(entries: Iterable[JobRecord]) -> list[JobRecord]:
    """Sort by submission, or by when the journal first heard of them; the ids settle a tie."""

    def key(entry: JobRecord) -> tuple[float, str]:
        return (_first(entry.submitted_at, entry.noted_at) or 0.0, entry.request_id)

    return sorted(entries, key=key, reverse=True)


def _weight(entry: JobRecord) -> int:
    """Weigh how final a state is: a reply in hand is worth more than anything said later.

    A job that completed but whose reply was never fetched comes to nothing if the server then
    forgets it, or calls it failed; and the server's words about a failure outlive its memory.
    """
    if entry.state == "COMPLETED":
        return 4 if entry.kept else 1
    return {"QUEUED": 0, "EXPIRED": 2}.get(entry.state, 3)


def _first(known: T | None, news: T | None) -> T | None:
    return news if known is None else known


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A reply that is kept for the next request that is equal."""

    key: str
    body: bytes
    kept_at: float
    used_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How many replies are kept, how long they are together, and since when the oldest is."""

    count: int = 0
    n_bytes: int = 0
    oldest_at: float | None = None

    def with_more(self, news: Iterable[Kept]) -> Holding:
        """Count some more."""
        news = tuple(news)
        times = [self.oldest_at, *(kept.kept_at for kept in news)]
        return Holding(
            count=self.count + len(news),
            n_bytes=self.n_bytes + sum(len(kept.body) for kept in news),
            oldest_at=min((at for at in times if at is not None), default=None),
        )


def find(connection: sqlite3.Connection, key: str) -> Kept | None:
    """Read a reply."""
    # Whatever damage made of the body, bytes come out: whether they are a reply is seen later.
    found = connection.execute(
        "SELECT key, CAST(body AS BLOB) AS body, kept_at, used_at FROM replies WHERE key = ?",
        (key,),
    ).fetchone()
    return None if found is None else Kept(**found)


def save(connection: sqlite3.Connection, news: Iterable[Kept], *, max_bytes: int) -> None:
    """Keep replies, and forget those that were not asked for the longest beyond `max_bytes`.

    Its caller holds a transaction. Of two replies to one request the later one is kept.
    """
    rows = [(kept.key, kept.kept_at, kept.used_at, len(kept.body), kept.body) for kept in news]
    if not rows:
        return
    connection.executemany(
        "INSERT OR REPLACE INTO replies (key, kept_at, used_at, n_bytes, body) "
        "VALUES (?, ?, ?, ?, ?)",
        rows,
    )
    connection.execute(
        """
        DELETE FROM replies WHERE key IN (
            SELECT key FROM (
                SELECT key, sum(n_bytes) OVER (ORDER BY used_at DESC, key) AS with_all_newer
                FROM replies
            ) WHERE with_all_newer > ?
        )
        """,
        (max_bytes,),
    )


def touch(connection: sqlite3.Connection, key: str, *, used_at: float) -> None:
    """Note when a reply was asked for."""
    connection.execute("UPDATE replies SET used_at = ? WHERE key = ?", (used_at, key))


def holding(connection: sqlite3.Connection) -> Holding:
    """Count what is kept."""
    return Holding(
        **connection.execute(
            "SELECT count(*) AS count, coalesce(sum(n_bytes), 0) AS n_bytes, "
            "min(kept_at) AS oldest_at FROM replies"
        ).fetchone()
    )


def clear(connection: sqlite3.Connection) -> int:
    """Forget all; returns how many there were."""
    return connection.execute("DELETE FROM replies").rowcount


def settle(connection: sqlite3.Connection) -> None:
    """Bring what is in the log beside the file into the file, as far as nobody else is in the way.

    Outside a transaction, as `compact`.
    """
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def compact(connection: sqlite3.Connection) -> None:
    """Return back the room of what was forgotten: until then the file still holds its words."""
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def add_table(connection: sqlite3.Connection) -> None:
    """Make the table; a step of the schema."""
    # `body` is last, and the index has all that pruning reads: it never loads a reply.
    connection.execute(
        """
        CREATE TABLE replies (
            key TEXT PRIMARY KEY, kept_at REAL NOT NULL, used_at REAL NOT NULL,
            n_bytes INTEGER NOT NULL, body BLOB NOT NULL
        )
        """
    )
    connection.execute("CREATE INDEX replies_by_use ON replies (used_at, key, n_bytes)")


_LISTING: Final = """
    SELECT request_id, origin, model, submitted_at, noted_at, state, ended_at, seconds, error,
           work, place, raw IS NOT NULL AS kept
    FROM jobs
"""
_NEWEST_FIRST: Final = " ORDER BY coalesce(submitted_at, noted_at) DESC, request_id DESC LIMIT ?"


def load(connection: sqlite3.Connection, request_id: str) -> JobRecord | None:
    """Read a job with its reply."""
    found = connection.execute(
        """
        SELECT request_id, origin, model, submitted_at, noted_at, state, ended_at, seconds, error,
               work, place, raw
        FROM jobs WHERE request_id = ?
        """,
        (_text(request_id),),
    ).fetchone()
    return None if found is None else _entry(found)


def newest(connection: sqlite3.Connection, limit: int) -> list[JobRecord]:
    """List the newest jobs, without their replies."""
    return _listed(connection, _LISTING + _NEWEST_FIRST, limit)


def of_work(connection: sqlite3.Connection, work: str) -> list[JobRecord]:
    """List the jobs of a fingerprint, without their replies."""
    return _listed(connection, _LISTING + " WHERE work = ?", _text(work))


def timed(connection: sqlite3.Connection, origin: str, model: str, limit: int) -> list[JobRecord]:
    """List the newest jobs of a model that were watched throughout, without their replies."""
    where = " WHERE origin = ? AND model = ? AND seconds IS NOT NULL"
    sql = _LISTING + where + _NEWEST_FIRST
    return _listed(connection, sql, _text(origin), _text(model), limit)


def store_schema_save(connection: sqlite3.Connection, news: Iterable[JobRecord]) -> None:
    """Join news to what the file knows. Its caller holds a transaction."""
    for entry in news:
        known = load(connection, entry.request_id)
        told = joined(known, entry)
        if told is not None and told != known:
            _put(connection, told)


def forget(connection: sqlite3.Connection, *, before: float) -> int:
    """Delete the jobs to which nothing happened since a Unix time; returns how many."""
    last = "max(coalesce(submitted_at, 0), coalesce(ended_at, 0), noted_at)"
    return connection.execute(f"DELETE FROM jobs WHERE {last} < ?", (before,)).rowcount  # noqa: S608


def salt(connection: sqlite3.Connection) -> bytes:
    """Read the key of the fingerprints: 32 random bytes, made with the file."""
    return bytes(connection.execute("SELECT value FROM salt").fetchone()[0])


def _put(connection: sqlite3.Connection, entry: JobRecord) -> None:
    values = {
        name: _text(value) if isinstance(value, str) else value
        for name, value in dataclasses.asdict(entry).items()
    }
    if entry.raw is not None:
        values["raw"] = entry.raw.encode("utf-8", "surrogatepass")
    connection.execute(
        """
        INSERT INTO jobs (request_id, origin, model, submitted_at, noted_at, state, ended_at,
                          seconds, error, work, place, raw)
        VALUES (:request_id, :origin, :model, :submitted_at, :noted_at, :state, :ended_at,
                :seconds, :error, :work, :place, :raw)
        ON CONFLICT (request_id) DO UPDATE SET
            origin = excluded.origin, model = excluded.model, submitted_at = excluded.submitted_at,
            noted_at = excluded.noted_at, state = excluded.state, ended_at = excluded.ended_at,
            seconds = excluded.seconds, error = excluded.error, work = excluded.work,
            place = excluded.place, raw = excluded.raw
        """,
        values,
    )


def _listed(connection: sqlite3.Connection, sql: str, *values: object) -> list[JobRecord]:
    return [_entry(row) for row in connection.execute(sql, values)]


def _entry(row: sqlite3.Row) -> JobRecord:
    fields: dict[str, Any] = dict(row)
    raw = fields.pop("raw", None)
    fields["kept"] = bool(fields.get("kept"))
    return JobRecord(raw=None if raw is None else raw.decode("utf-8", "surrogatepass"), **fields)


def _text(text: str) -> str:
    """Replace lone surrogates: JSON can hold them, and SQLite's text cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _first_schema(connection: sqlite3.Connection) -> None:
    # `raw` is last: a listing then never reads the pages that long replies spill into.
    connection.execute(
        """
        CREATE TABLE jobs (
            request_id TEXT PRIMARY KEY, origin TEXT NOT NULL, model TEXT, submitted_at REAL,
            noted_at REAL NOT NULL, state TEXT NOT NULL, ended_at REAL, seconds REAL, error TEXT,
            work TEXT, place TEXT NOT NULL, raw BLOB
        )
        """
    )
    connection.execute("CREATE INDEX jobs_by_age ON jobs (coalesce(submitted_at, noted_at))")
    connection.execute("CREATE INDEX jobs_by_work ON jobs (work) WHERE work IS NOT NULL")
    connection.execute(
        "CREATE INDEX jobs_by_model ON jobs (origin, model, coalesce(submitted_at, noted_at)) "
        "WHERE seconds IS NOT NULL"
    )
    connection.execute("CREATE TABLE salt (value BLOB NOT NULL)")
    connection.execute("INSERT INTO salt VALUES (?)", (secrets.token_bytes(32),))


#: What makes each schema of the one before; ``user_version`` counts those taken. A step may only
#: add: a kernel with the code of before may have the file open.
STEPS: Final = (_first_schema, add_table)


#: Marks the file as ours (SQLite's ``application_id``): the letters "sgmj".
_APPLICATION_ID: Final = 0x73676D6A

#: Bits of a file's mode that let others in.
_OTHERS: Final = 0o077

#: What SQLite puts beside a database. It gives them the mode of the database when it makes them.
_COMPANIONS: Final = ("-wal", "-shm", "-journal")

#: The part of SQLite's result codes that names the kind of trouble (sqlite.org/rescode.html).
_PRIMARY: Final = 0xFF

#: Passing trouble: somebody else is writing, or the locks of WAL were contended.
_LOCKED: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL})

_WRITABLE: Final = "make it and its folder writable"
_FREE_SPACE: Final = "free some space"

#: No space, or none left of the user's share (Windows knows no quota).
_NO_SPACE: Final = frozenset({errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)})

#: Why a file cannot be used, and the remedy.
_REMEDIES: Final = {
    **dict.fromkeys(_LOCKED, ("another program has locked it", "close that program")),
    sqlite3.SQLITE_FULL: ("the disk is full", _FREE_SPACE),
    sqlite3.SQLITE_IOERR: ("its disk cannot be written or read", "look after the disk"),
    sqlite3.SQLITE_CORRUPT: ("it is damaged", "delete it"),
    sqlite3.SQLITE_NOTADB: ("it is no SQLite file", "delete it"),
    sqlite3.SQLITE_READONLY: ("it is read-only", _WRITABLE),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", _WRITABLE),
}


#: Held while SQLite is at work, and while the process forks: a child that is forked in the midst
#: of it has SQLite's own locks as they were, and would wait for ever.
_in_sqlite: Final = threading.RLock()


@functools.cache
def _mind_forks() -> None:
    """Let no process fork while SQLite is at work in a thread of it."""
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(
            before=_in_sqlite.acquire,
            after_in_parent=_in_sqlite.release,
            after_in_child=_in_sqlite.release,
        )


class Unusable(Exception):
    """The file cannot be used now; the message names the file, the reason and the remedy."""

    def __init__(
        self, path: Path | None, reason: str, remedy: str, *, locked: bool = False
    ) -> None:
        super().__init__(
            f"The journal of jobs {path} cannot be used ({reason}): jobs go on, and what is new is "
            f"kept in this kernel's memory alone until it can; {remedy}, or set "
            f"SEGMIND_JUPYTER_STATE to another folder."
        )
        self.locked = locked


class JournalFile:
    """One process's connection to the file. Not for two threads at a time.

    Opens it at the first use, and again after trouble, or where somebody deleted it meanwhile.
    """

    def __init__(self, path: Path | None) -> None:
        _mind_forks()
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def read(self, query: Callable[[sqlite3.Connection], T], *, busy_s: float) -> T:
        """Run a query."""
        with _in_sqlite:
            try:
                return query(self._opened(busy_s))
            except (sqlite3.Error, OSError, _NotOurs) as error:
                trouble = self._trouble(error)
                if not trouble.locked:
                    self.close()
                raise trouble from error

    def write(self, change: Callable[[sqlite3.Connection], T], *, busy_s: float) -> T:
        """Run a change in one transaction, as `read` does a query."""
        return self.read(lambda connection: _in_transaction(connection, change), busy_s=busy_s)

    @property
    def writable(self) -> bool:
        """Whether the file system lets it be written, or made."""
        return self._path is None or not _is_read_only(self._path)

    def close(self) -> None:
        """Close it; the next use opens it again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with _in_sqlite, contextlib.suppress(sqlite3.Error):
                connection.close()

    def _opened(self, busy_s: float) -> sqlite3.Connection:
        if self._connection is not None and self._identity != _identity(self._path):
            self.close()
        if self._connection is None:
            self._identity = _made_private(self._path)
            self._connection = _open(self._path, busy_s=busy_s)
        self._connection.execute(f"PRAGMA busy_timeout = {round(busy_s * 1000)}")
        return self._connection

    def _trouble(self, error: Exception) -> Unusable:
        if isinstance(error, _NotOurs):
            return Unusable(self._path, error.reason, error.remedy)
        if isinstance(error, OSError):
            remedy = _FREE_SPACE if error.errno in _NO_SPACE else _WRITABLE
            return Unusable(self._path, _words(error), remedy)
        code = _code(error)
        reason, remedy = _REMEDIES.get(code, (str(error), "delete it"))
        return Unusable(self._path, reason, remedy, locked=code in _LOCKED)


class _NotOurs(Exception):
    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.reason, self.remedy = reason, remedy


def _open(path: Path | None, *, busy_s: float) -> sqlite3.Connection:
    unchanging = path is not None and _is_unchanging(path)
    connection = _connected(path, busy_s=busy_s, unchanging=unchanging)
    try:
        _refuse_strangers(connection)
        _migrate(connection)
        if path is None or unchanging or _takes_wal(connection):
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    return _without_wal(path, busy_s=busy_s)


def _connected(path: Path | None, *, busy_s: float, unchanging: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.as_uri()}?immutable=1" if path and unchanging else path or ":memory:",
        uri=unchanging,  # else a path: SQLite knows no address of a Windows share
        timeout=busy_s,
        isolation_level=None,  # transactions are begun by hand, as IMMEDIATE
        check_same_thread=False,  # `store` holds a lock
    )
    connection.row_factory = sqlite3.Row
    return connection


def _is_unchanging(path: Path) -> bool:
    """Return whether nobody writes the file, nor anything beside it, as in a read-only checkout.

    SQLite must be told so: it otherwise wants to make the index that WAL shares, and fails.
    """
    return _is_read_only(path) and not path.with_name(path.name + _COMPANIONS[0]).exists()


def _is_read_only(path: Path) -> bool:
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def _made_private(path: Path | None) -> tuple[int, int] | None:
    """Make the file before SQLite would, with a mode of its own, or tighten it; tell which it is.

    A file that exists is never opened here: closing it would drop the locks that this process
    holds on it (sqlite.org/howtocorrupt.html, 2.2).
    """
    if path is None:
        return None
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    for file in (path, *(path.with_name(path.name + suffix) for suffix in _COMPANIONS)):
        with contextlib.suppress(OSError):  # best effort: Windows, another owner, no such file
            mode = file.stat().st_mode
            if stat.S_ISREG(mode) and mode & _OTHERS:
                file.chmod(stat.S_IMODE(mode) & ~_OTHERS)
    return _identity(path)


def _refuse_strangers(connection: sqlite3.Connection) -> None:
    """Raise if the file is another program's, or newer than this code."""
    # At one moment: another kernel may be making the file, or be migrating it.
    application_id, version, tables = _in_transaction(connection, _nature, kind="DEFERRED")
    if application_id != _APPLICATION_ID and (application_id or version or tables):
        raise _NotOurs("it belongs to another program", "move it away")
    if version > len(STEPS):
        raise _NotOurs("a newer segmind-jupyter wrote it", "upgrade segmind-jupyter")


def _nature(connection: sqlite3.Connection) -> tuple[int, int, int]:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return _pragma(connection, "application_id"), _version(connection), tables


def _migrate(connection: sqlite3.Connection) -> None:
    if _version(connection) < len(STEPS):
        _in_transaction(connection, _take_steps)


def _take_steps(connection: sqlite3.Connection) -> None:
    # Asked again: another kernel may have taken them while this one waited for the lock.
    for step in STEPS[_version(connection) :]:
        step(connection)
    connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(STEPS)}")


def _takes_wal(connection: sqlite3.Connection) -> bool:
    """Let readers and a writer work at a time (WAL), and tell whether the file can be used.

    Where it is refused (another kernel is opening the file, a file system without WAL), the
    rollback journal does as well. Some network file systems take it and then fail, as they
    cannot map the index that WAL shares: hence the attempt to write.
    """
    connection.execute("PRAGMA synchronous = NORMAL")
    if _pragma(connection, "journal_mode") == "wal":
        return True
    try:
        connection.execute("PRAGMA busy_timeout = 0")
        connection.execute("PRAGMA journal_mode = WAL")
        _in_transaction(connection, lambda _: None)
    except sqlite3.OperationalError as error:
        return _code(error) in _LOCKED
    return True


def _without_wal(path: Path, *, busy_s: float) -> sqlite3.Connection:
    """Go back to the rollback journal: a connection that has the file to itself needs no index."""
    connection = _connected(path, busy_s=busy_s)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA locking_mode = NORMAL")
        _version(connection)  # the lock is let go at the next access
    except BaseException:
        connection.close()
        raise
    return connection


def _in_transaction(
    connection: sqlite3.Connection,
    change: Callable[[sqlite3.Connection], T],
    *,
    kind: Literal["DEFERRED", "IMMEDIATE"] = "IMMEDIATE",
) -> T:
    try:
        connection.execute(f"BEGIN {kind}")
        result = change(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise
    return result


def _identity(path: Path | None) -> tuple[int, int] | None:
    """Tell one file from another of the same name; `None` where there is none."""
    if path is None:
        return None
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _code(error: Exception) -> int:
    """Tell the kind of trouble; Python's own complaints about a connection have no code."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & _PRIMARY


def _words(error: OSError) -> str:
    words = error.strerror or str(error)
    return words if error.filename is None else f"{words}: {error.filename}"


def _version(connection: sqlite3.Connection) -> int:
    return int(_pragma(connection, "user_version"))


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


#: How long a call waits for another process's lock, and how long while one is known to be held.
_BUSY_S: Final = 2.0
_STILL_BUSY_S: Final = 0.05

#: How precisely it is known when a kept reply was last used: most uses then only read the file.
_USE_S: Final = 24 * 3600.0


class JournalConnection:
    """What one process has of a journal. Its user holds `lock`."""

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
        self.unsaved: dict[str, JobRecord] = {}
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

    def note(self, news: JobRecord) -> None:
        """Take news, and bring all that is unsaved into the file."""
        known = self.unsaved.get(news.request_id)
        self.unsaved[news.request_id] = joined(known, news) or news
        self._save()

    def fingerprint(self, data: bytes) -> str:
        """Hash what was asked; with the file's key, if it can be read."""
        return self._fingerprints.make(data, salt=self.read(salt))

    def settled(self, fingerprint: str) -> str:
        """Return a fingerprint as it is in the file, also if it was made without the file."""
        return self._fingerprints.settled(fingerprint)

    def same(self, one: str | None, other: str) -> bool:
        """Return whether two fingerprints are of one thing, with whichever key each was made."""
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

    def known(
        self, query: Callable[[sqlite3.Connection], Iterable[JobRecord]]
    ) -> Iterable[JobRecord]:
        """List what a query finds in the file, joined to all that is unsaved."""

        def both(db: sqlite3.Connection) -> list[JobRecord | None]:
            return [*query(db), *(load(db, name) for name in self.unsaved)]

        known = {entry.request_id: entry for entry in self.read(both) or () if entry}
        for name, news in self.unsaved.items():
            known[name] = joined(known.get(name), news) or news
        return known.values()

    def forget(self, *, before: float) -> int:
        """Forget the jobs to which nothing happened since a Unix time; returns how many."""
        forgotten = self._save(lambda db: forget(db, before=before)) or 0
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
            self._file.read(settle, busy_s=0.0)

    def kept(self, key: str) -> Kept | None:
        """Find a reply, in the file or among those that it has yet to take."""
        for kept in reversed(self._unkept.values()):
            if self.same(kept.key, key):
                return kept
        return self.read(lambda db: find(db, self.settled(key)))

    def used(self, kept: Kept, *, now: float) -> None:
        """Note that a reply is of use, unless that is known, or cannot be noted."""
        if now - kept.used_at < _USE_S or not self._file.writable:
            return
        with contextlib.suppress(Unusable):
            self._file.write(
                lambda db: touch(db, self.settled(kept.key), used_at=now),
                busy_s=_STILL_BUSY_S,
            )

    def holding(self) -> Holding:
        """Count the replies that are kept."""
        saved = self.read(holding) or Holding()
        return saved.with_more(self._unkept.values())

    def clear_kept(self) -> int | None:
        """Forget all replies, and give their room back; `None` where the file cannot be changed."""
        waiting = len(self._unkept)
        self._unkept.clear()
        cleared = self._save(clear)
        if cleared is None:
            return None
        with contextlib.suppress(Unusable):  # in use: what is freed is used again later
            self._file.read(compact, busy_s=self._busy_s)
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
            store_schema_save(db, map(self._for_file, self.unsaved.values()))
            kept = [replace(kept, key=self.settled(kept.key)) for kept in self._unkept.values()]
            save(db, kept, max_bytes=self._max_reply_bytes)
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
            self._fingerprints.know(salt(db))

    def _for_file(self, entry: JobRecord) -> JobRecord:
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


FILE_NAME: Final = "jobs.sqlite3"

#: The journal forgets what is older.
MAX_AGE_S: Final = 30 * 24 * 3600.0

#: Kept replies take no more; what was not used for the longest goes first. A reply takes a few kB.
MAX_REPLY_BYTES: Final = 256_000_000

_log = logging.getLogger(__name__)


def default_path(environ: Mapping[str, str] | None = None) -> Path:
    """Tell where the journal is kept."""
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


class Journal:
    """Jobs by id, and replies by key.

    Any number of kernels, threads and forked children may use one file.

    No method raises because the file is locked, damaged, full, forbidden or from a newer version:
    then `warn` is called once, and what is new stays in memory until the file takes it. Each use
    tries again, and a thread does every few seconds while something waits.
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
        self._desks: dict[int, JournalConnection] = {}

    @property
    def path(self) -> Path | None:
        """The file, which need not be there yet; `None` where all is in memory."""
        return self._path

    def submitted(self, entry: JobRecord) -> None:
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
        """Note how a job ended, also one that was never noted before."""
        self._note(
            JobRecord(
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

    def find(self, request_id: str) -> JobRecord | None:
        """Find a job, with its reply."""
        with self._desk() as desk:
            saved = desk.read(lambda db: load(db, request_id))
            return joined(saved, desk.unsaved.get(request_id))

    def entries(self, *, limit: int = 50) -> list[JobRecord]:
        """List the newest jobs first, without their replies (`JobRecord.kept` tells of them)."""
        with self._desk() as desk:
            known = desk.known(lambda db: newest(db, limit))
        return [entry.light() for entry in newest_first(known)[:limit]]

    def find_work(self, work: str) -> JobRecord | None:
        """Find a job by the fingerprint of what was asked."""
        with self._desk() as desk:
            known = desk.known(lambda db: of_work(db, desk.settled(work)))
            equal = newest_first(entry for entry in known if desk.same(entry.work, work))
            answered = [entry for entry in equal if entry.answered]
            pending = [entry for entry in equal if entry.pending]
            best = next(iter(answered + pending), None)
            return None if best is None else self.find(best.request_id)

    def durations(self, origin: str, model: str, *, limit: int = 200) -> list[float]:
        """List how many seconds the jobs of a model took, newest first."""
        with self._desk() as desk:
            known = desk.known(lambda db: timed(db, origin, model, limit))
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
        """Keep a reply."""
        now = self._clock()
        with self._desk() as desk:
            desk.keep(Kept(key=key, body=body, kept_at=now, used_at=now))

    def kept_reply(self, key: str, *, read_only: bool = False) -> Kept | None:
        """Find a kept reply."""
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
        """Forget all kept replies, but no job."""
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

    def _note(self, news: JobRecord) -> None:
        with self._desk() as desk:
            desk.note(replace(news, noted_at=self._clock()))

    @contextlib.contextmanager
    def _desk(self) -> Iterator[JournalConnection]:
        """Hold this process's side of the journal."""
        # No lock is needed to make it: `setdefault` is one step, and a fork cannot get between.
        desk = self._desks.get(os.getpid()) or self._desks.setdefault(os.getpid(), self._new_desk())
        with desk.lock:
            if not desk.begun:
                desk.begin(before=self._clock() - MAX_AGE_S)
            yield desk

    def _new_desk(self) -> JournalConnection:
        return JournalConnection(
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
