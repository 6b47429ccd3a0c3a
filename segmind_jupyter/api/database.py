"""One SQLite file that several kernels share, and what its rows say: none of it is trusted.

The file is made private, migrated, and left alone if it is not ours.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import secrets
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

#: Marks the file as ours (SQLite's ``application_id``): the letters "sgmj".
_APPLICATION_ID: Final = 0x73676D6A

#: What makes each schema of the one before; ``user_version`` counts those taken. They may only add:
#: a kernel with the code of before may have the file open. What is long stands last in its table: a
#: listing then never reads the pages that it spills into, and the indices have all that pruning
#: reads.
_SCHEMAS: Final = (
    (
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
        "CREATE TABLE salt (value BLOB NOT NULL)",
    ),
    (
        """
        CREATE TABLE replies (
            key TEXT PRIMARY KEY, kept_at REAL NOT NULL, used_at REAL NOT NULL,
            n_bytes INTEGER NOT NULL, body BLOB NOT NULL
        )
        """,
        "CREATE INDEX replies_by_use ON replies (used_at, key, n_bytes)",
    ),
    (
        "CREATE TABLE sends (work TEXT PRIMARY KEY, holder TEXT NOT NULL, at REAL NOT NULL, "
        "beat_at REAL NOT NULL)",
    ),
    (
        "CREATE TABLE calls (at REAL NOT NULL, origin TEXT NOT NULL, model TEXT NOT NULL, "
        "input_tokens INTEGER, cost REAL, seconds REAL, request_id TEXT)",
        "CREATE TABLE budget (id INTEGER PRIMARY KEY, amount REAL)",
        "CREATE TABLE reserved (id TEXT PRIMARY KEY, at REAL NOT NULL, origin TEXT NOT NULL, "
        "amount REAL NOT NULL)",
    ),
    (
        "CREATE TABLE turns (chat TEXT NOT NULL, key TEXT PRIMARY KEY, body BLOB NOT NULL)",
        "CREATE INDEX turns_by_chat ON turns (chat)",
    ),
    ("CREATE TABLE verdicts (id TEXT PRIMARY KEY, best TEXT NOT NULL, models TEXT NOT NULL)",),
)

#: What SQLite puts beside a database, with the mode of the database.
_COMPANIONS: Final = ("-wal", "-shm", "-journal")


class NotOurs(Exception):
    """A file that must be left alone."""


def open_database(path: Path, *, busy_s: float, salt: bytes | None) -> sqlite3.Connection:
    """Open the file, or make it: private from its first moment, with the key used so far."""
    files = [path, *(path.with_name(path.name + suffix) for suffix in _COMPANIONS)]
    for file in files:
        if file.is_symlink():
            raise NotOurs(f"{file.name} is a symbolic link")
        if file.is_fifo():  # it would be waited for without end
            raise NotOurs(f"{file.name} is a pipe")
    if is_read_only(path):
        # SQLite must be told that nobody writes it: it otherwise wants to make what WAL shares.
        how = "mode=ro" if files[1].exists() else "immutable=1"
        with _closed_on_error(connect(f"{path.as_uri()}?{how}", busy_s)) as db:
            _refuse_strangers(db)
        return db
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with _closed_on_error(connect(path, busy_s)) as db:
        _refuse_strangers(db)
        for file in files:
            with contextlib.suppress(OSError):  # Windows, another owner, no such file
                mode = file.stat().st_mode
                if stat.S_ISREG(mode) and mode & 0o077:
                    file.chmod(stat.S_IMODE(mode) & ~0o077)
        migrate(db, salt)
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA secure_delete = ON")  # what is forgotten is not left in a freed page
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
    with _closed_on_error(connect(path, busy_s)) as db:
        # One that has the file to itself needs no index.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA locking_mode = NORMAL")
        db.execute("PRAGMA secure_delete = ON")
        _pragma(db, "user_version")  # the lock is let go at the next access
    return db


def connect(path: Path | str, busy_s: float) -> sqlite3.Connection:
    """Connect to a path, an address (``"file:..."``) or ``":memory:"``."""
    db = sqlite3.connect(
        path,
        uri=str(path).startswith("file:"),  # else a path: no address names a Windows share
        timeout=busy_s,
        isolation_level=None,  # transactions are begun by hand, as IMMEDIATE
        check_same_thread=False,  # whoever has it holds a lock
    )
    db.row_factory = sqlite3.Row
    db.text_factory = lambda text: text.decode("utf-8", "replace")
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


def migrate(db: sqlite3.Connection, salt: bytes | None = None) -> None:
    """Take the schemas that the database lacks."""
    if _pragma(db, "user_version") == len(_SCHEMAS):
        return
    with transaction(db):
        # Asked again: another kernel may have migrated while this one waited for the lock.
        version = _pragma(db, "user_version")
        for statement in itertools.chain.from_iterable(_SCHEMAS[version:]):
            db.execute(statement)
        if not version:
            db.execute("INSERT INTO salt VALUES (?)", (salt or secrets.token_bytes(32),))
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {len(_SCHEMAS)}")


def is_lock(error: Exception) -> bool:
    """Whether somebody else is writing, or the locks of WAL were contended: it will pass."""
    # The finer half of the code does not matter (sqlite.org/rescode.html).
    code = int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF
    return code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


def is_read_only(path: Path) -> bool:
    """Whether the file is there and cannot be written, as in a read-only checkout."""
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


@contextlib.contextmanager
def _closed_on_error(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield db
    except BaseException:
        db.close()
        raise


def _refuse_strangers(db: sqlite3.Connection) -> None:
    """Raise if the file is another program's, or newer than this code."""
    # At one moment: another kernel may be making the file, or be migrating it.
    with transaction(db, "DEFERRED"):
        marked, version = _pragma(db, "application_id"), _pragma(db, "user_version")
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if marked != _APPLICATION_ID and (marked or version or tables):
        raise NotOurs("it belongs to another program")
    if version > len(_SCHEMAS):
        raise NotOurs("a newer segmind-jupyter wrote it")


def _pragma(db: sqlite3.Connection, name: str) -> Any:
    return db.execute(f"PRAGMA {name}").fetchone()[0]


# Rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """One job, as the journal knows it; a listed one has no `raw`, and tells whether it is kept."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedReply:
    """A reply that is kept for the next request that is equal."""

    key: str
    body: bytes
    kept_at: float
    used_at: float


@dataclass(frozen=True, slots=True)
class CacheSize:
    """How many replies are cached, how long they are together, since when the oldest is."""

    count: int = 0
    n_bytes: int = 0
    oldest_at: float | None = None


def joined(known: JobRecord | None, news: JobRecord) -> JobRecord:
    """Put two accounts of one job together."""
    if known is None:
        return news
    end = news if _finality(news) > _finality(known) else known
    return replace(
        end,
        origin=known.origin or news.origin,
        model=known.model or news.model,
        submitted_at=news.submitted_at if known.submitted_at is None else known.submitted_at,
        work=known.work or news.work,
        place=known.place or news.place,
        noted_at=news.noted_at if known.noted_at is None else known.noted_at,
    )


def _finality(record: JobRecord) -> int:
    """Weigh how final a state is: a reply in hand is worth more than anything said later.

    A job that completed but whose reply was never fetched comes to nothing if the server then
    forgets it, or calls it failed; and the server's words about a failure outlive its memory.
    """
    if record.state == "COMPLETED":
        return 4 if record.kept else 1
    return {"QUEUED": 0, "EXPIRED": 2}.get(record.state, 3)


def best_of(records: Iterable[JobRecord]) -> JobRecord | None:
    """Find what answers a work, or else what is to."""
    records = list(records)
    best = [record for record in records if record.answered] or [r for r in records if r.pending]
    return best[0] if best else None


def age_of(record: JobRecord) -> tuple[float, str]:
    """Return when it was submitted, or else noted; the ids settle a tie."""
    at = record.noted_at if record.submitted_at is None else record.submitted_at
    return at or 0.0, record.request_id


def read_job(row: sqlite3.Row) -> JobRecord | None:
    """Read a row of jobs; `None` where a value has a wrong type."""
    fields: dict[str, Any] = dict(row)
    raw = fields.pop("raw", None)
    texts = {name: fields[name] for name in ("request_id", "origin", "state", "place")}
    times = [fields[name] for name in ("submitted_at", "noted_at", "ended_at", "seconds")]
    if (
        not all(isinstance(text, str) for text in texts.values())
        or not all(isinstance(fields[n], str | None) for n in ("model", "error", "work"))
        or not all(time is None or is_time(time) for time in times)
        or not isinstance(raw, bytes | None)
    ):
        return None
    fields["kept"] = bool(fields.get("kept"))
    try:
        return JobRecord(raw=raw if raw is None else raw.decode("utf-8", "surrogatepass"), **fields)
    except UnicodeDecodeError:
        return None


def is_time(value: object) -> bool:
    """Whether it can be seconds since 1970, or of a job: what is beyond breaks whoever shows it."""
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e11


def is_amount(value: object) -> bool:
    """Whether it can be a number of tokens, bytes, seconds or credits, or is unknown."""
    return value is None or (isinstance(value, int | float) and 0 <= value < 2**53)
