"""One SQLite file that several kernels share: made private, migrated, left alone if not ours."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

#: Makes a schema of the one before. It may only add: a kernel with the code of before may have the
#: file open. ``user_version`` counts those taken.
Migration: TypeAlias = Callable[[sqlite3.Connection], object]

#: What SQLite puts beside a database, with the mode of the database.
_COMPANIONS: Final = ("-wal", "-shm", "-journal")


class NotOurs(Exception):
    """A file that must be left alone."""


def open_database(
    path: Path, *, application_id: int, migrations: Sequence[Migration], busy_s: float
) -> sqlite3.Connection:
    """Open the file, or make it: private from its first moment. An `application_id` marks it."""
    files = [path, *(path.with_name(path.name + suffix) for suffix in _COMPANIONS)]
    for file in files:
        if file.is_symlink():
            raise NotOurs(f"{file.name} is a symbolic link")
    if is_read_only(path):
        # SQLite must be told that nobody writes it: it otherwise wants to make what WAL shares.
        how = "mode=ro" if files[1].exists() else "immutable=1"
        with _closed_on_error(connect(f"{path.as_uri()}?{how}", busy_s)) as db:
            _refuse_strangers(db, application_id, len(migrations))
        return db
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with _closed_on_error(connect(path, busy_s)) as db:
        _refuse_strangers(db, application_id, len(migrations))
        for file in files:
            with contextlib.suppress(OSError):  # Windows, another owner, no such file
                mode = file.stat().st_mode
                if stat.S_ISREG(mode) and mode & 0o077:
                    file.chmod(stat.S_IMODE(mode) & ~0o077)
        migrate(db, application_id, migrations)
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
    with _closed_on_error(connect(path, busy_s)) as db:
        # One that has the file to itself needs no index.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA locking_mode = NORMAL")
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


def migrate(db: sqlite3.Connection, application_id: int, migrations: Sequence[Migration]) -> None:
    """Take the migrations that the database lacks."""
    if _pragma(db, "user_version") == len(migrations):
        return
    with transaction(db):
        # Asked again: another kernel may have migrated while this one waited for the lock.
        for step in migrations[_pragma(db, "user_version") :]:
            step(db)
        db.execute(f"PRAGMA application_id = {application_id}")
        db.execute(f"PRAGMA user_version = {len(migrations)}")


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


def _refuse_strangers(db: sqlite3.Connection, application_id: int, newest: int) -> None:
    """Raise if the file is another program's, or newer than this code."""
    # At one moment: another kernel may be making the file, or be migrating it.
    with transaction(db, "DEFERRED"):
        marked, version = _pragma(db, "application_id"), _pragma(db, "user_version")
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if marked != application_id and (marked or version or tables):
        raise NotOurs("it belongs to another program")
    if version > newest:
        raise NotOurs("a newer segmind-jupyter wrote it")


def _pragma(db: sqlite3.Connection, name: str) -> Any:
    return db.execute(f"PRAGMA {name}").fetchone()[0]
