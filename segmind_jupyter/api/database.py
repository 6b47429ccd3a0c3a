"""One SQLite file that several kernels share, and the records in it.

It is made private, and left alone where it is not ours.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

#: Marks the file as ours (SQLite's ``application_id``): the letters "sgmj".
_APPLICATION_ID: Final = 0x73676D6A

#: ``user_version``: a file of another one is left alone.
_VERSION: Final = 6

#: What is long stands last in its table: a listing then never reads the pages that it spills into.
_SCHEMA: Final = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value)",
    """
    CREATE TABLE jobs (
        request_id TEXT PRIMARY KEY, origin TEXT NOT NULL, model TEXT, submitted_at REAL,
        noted_at REAL NOT NULL, state TEXT NOT NULL, ended_at REAL, seconds REAL, error TEXT,
        work TEXT, place TEXT NOT NULL, raw BLOB
    )
    """,
    "CREATE INDEX jobs_by_age ON jobs (coalesce(submitted_at, noted_at))",
    "CREATE INDEX jobs_by_work ON jobs (work) WHERE work IS NOT NULL",
    "CREATE INDEX jobs_by_model ON jobs (origin, model, coalesce(submitted_at, noted_at)) "
    "WHERE seconds IS NOT NULL",
    "CREATE TABLE sends (work TEXT PRIMARY KEY, holder TEXT NOT NULL, at REAL NOT NULL, "
    "beat_at REAL NOT NULL)",
    "CREATE TABLE calls (at REAL NOT NULL, origin TEXT NOT NULL, model TEXT NOT NULL, "
    "input_tokens INTEGER, cost REAL, seconds REAL, request_id TEXT)",
    "CREATE TABLE reserved (id TEXT PRIMARY KEY, at REAL NOT NULL, origin TEXT NOT NULL, "
    "amount REAL NOT NULL)",
    "CREATE TABLE replies (key TEXT PRIMARY KEY, kept_at REAL NOT NULL, n_bytes INTEGER NOT NULL, "
    "body BLOB NOT NULL)",
    "CREATE INDEX replies_by_age ON replies (kept_at, key, n_bytes)",
    "CREATE TABLE turns (chat TEXT NOT NULL, key TEXT PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE INDEX turns_by_chat ON turns (chat)",
    "CREATE TABLE verdicts (id TEXT PRIMARY KEY, best TEXT NOT NULL, models TEXT NOT NULL)",
)


class NotOurs(Exception):
    """A file that must be left alone."""


def open_database(path: Path, *, busy_s: float) -> sqlite3.Connection:
    """Open the file, or make it, private from its first moment."""
    # SQLite gives what it puts beside a database the mode of the database.
    files = [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")]
    for file in files:
        if file.is_symlink():
            raise NotOurs(f"{file.name} is a symbolic link")
    is_fixed = path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))
    if is_fixed:
        # Where nobody has it open, SQLite must be told so: it otherwise wants to make what WAL
        # shares. Somebody else may write it meanwhile.
        how = "mode=ro" if files[1].exists() else "immutable=1"
        db = _connect(f"{path.as_uri()}?{how}", busy_s)
    else:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        db = _connect(path, busy_s)
    try:
        with transaction(db, "DEFERRED"):  # at one moment: another kernel may be making the file
            marked, version = _pragma(db, "application_id"), _pragma(db, "user_version")
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if marked != _APPLICATION_ID and (marked or version or tables):
            raise NotOurs("it belongs to another program")
        if version not in {0, _VERSION}:
            raise NotOurs("another version of segmind-jupyter wrote it")
        if is_fixed:
            return db
        for file in files:
            with contextlib.suppress(OSError):  # Windows, another owner, no such file
                if stat.S_ISREG(file.stat().st_mode):
                    file.chmod(0o600)
        _make(db)
        db.execute("PRAGMA synchronous = NORMAL")
        try:
            # Readers and a writer then work at a time. Some network file systems take it and then
            # fail, as they cannot map the index that WAL shares: hence the attempt to write.
            db.execute("PRAGMA journal_mode = WAL")
            with transaction(db):
                return db
        except sqlite3.OperationalError as error:
            if is_lock(error):  # another kernel is opening the file
                return db
        db.close()
        db = _connect(path, busy_s)
        # One that has the file to itself needs no index.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA locking_mode = NORMAL")
        _pragma(db, "user_version")  # the lock is let go at the next access
        return db
    except BaseException:
        db.close()
        raise


def in_memory(source: sqlite3.Connection | None = None) -> sqlite3.Connection:
    """Make a database in memory, with all of another one as far as that can be read."""

    def give_up(status: int, remaining: int, total: int) -> None:
        if status != sqlite3.SQLITE_DONE:  # else a lock would be waited for without end
            raise sqlite3.OperationalError

    db = _connect(":memory:", 0)
    with contextlib.suppress(sqlite3.Error):
        if source is not None:
            source.execute("PRAGMA busy_timeout = 0")
            source.backup(db, progress=give_up)
        if db.execute("PRAGMA quick_check").fetchone()[0] == "ok":
            _make(db)
            return db
    db.close()
    return in_memory()


def _connect(path: Path | str, busy_s: float) -> sqlite3.Connection:
    db = sqlite3.connect(
        path,
        uri=str(path).startswith("file:"),  # else a path: no address names a Windows share
        timeout=busy_s,
        isolation_level=None,  # transactions are begun by hand, as IMMEDIATE
        check_same_thread=False,  # whoever has it holds a lock
    )
    db.row_factory = sqlite3.Row
    db.text_factory = lambda text: text.decode("utf-8", "replace")
    db.execute("PRAGMA secure_delete = ON")  # what is forgotten is not left in a freed page
    return db


@contextlib.contextmanager
def transaction(
    db: sqlite3.Connection, kind: Literal["DEFERRED", "IMMEDIATE"] = "IMMEDIATE"
) -> Iterator[sqlite3.Connection]:
    """Make all changes or none, also where an interrupt comes between."""
    try:
        db.execute(f"BEGIN {kind}")
        yield db
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise


def is_lock(error: Exception) -> bool:
    """Whether somebody else is writing, or the locks of WAL were contended."""
    # The finer half of the code does not matter (sqlite.org/rescode.html).
    code = int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF
    return code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


def _make(db: sqlite3.Connection) -> None:
    """Make the tables, with the key of the fingerprints, unless they are there."""
    if _pragma(db, "user_version"):
        return
    with transaction(db):
        if _pragma(db, "user_version"):  # another kernel made them while this one waited
            return
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute("INSERT INTO meta VALUES ('salt', ?)", (secrets.token_bytes(32),))
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {_VERSION}")


def _pragma(db: sqlite3.Connection, name: str) -> Any:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


# Records -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job, as the journal knows it; a listed one has no `raw`, and tells whether it is kept."""

    request_id: str
    origin: str
    model: str | None
    submitted_at: float | None
    state: str
    seconds: float | None = None
    raw: str | None = None
    error: str | None = None
    work: str | None = None
    place: str = ""
    noted_at: float | None = None
    kept: bool = False

    @property
    def answered(self) -> bool:
        """Whether it completed and its reply is kept."""
        return self.state == "COMPLETED" and self.kept

    @property
    def pending(self) -> bool:
        """Whether no end of it is known."""
        return self.state == "QUEUED"


@dataclass(frozen=True, slots=True)
class Claim:
    """What came of claiming something to send.

    It is ours to send, or somebody else is sending it, or was when their kernel died (`at`), or it
    was sent before (`job`).
    """

    state: Literal["ours", "theirs", "lost", "known"]
    job: JobRecord | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """What one answered call took; `None` is what the server did not say."""

    at: float
    origin: str
    model: str
    input_tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None
    request_id: str | None = None
