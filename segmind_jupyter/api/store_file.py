"""The journal's SQLite file: private, shared by kernels, and why it cannot be used if it cannot.

Knows neither jobs nor tables, which are `store_schema`'s affair, nor what to do without a file.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from segmind_jupyter.api.store_schema import STEPS

T = TypeVar("T")

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
    """The file cannot be used now; the message names the file, the reason and the remedy.

    Parameters
    ----------
    path
        The file.
    reason, remedy
        Why, and what the user can do about it.
    locked
        Whether it is only in use by somebody else.
    """

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

    Parameters
    ----------
    path
        The file; it and its folder are made where they are missing. `None` stands for a database
        in memory, which ends when it is closed.
    """

    def __init__(self, path: Path | None) -> None:
        _mind_forks()
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

    def read(self, query: Callable[[sqlite3.Connection], T], *, busy_s: float) -> T:
        """Run a query.

        Parameters
        ----------
        query
            Is given the connection.
        busy_s
            Seconds to wait for somebody else's lock.

        Raises
        ------
        Unusable
            The file cannot be used, for whatever reason.
        """
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
    """Tell whether nobody writes the file, nor anything beside it, as in a read-only checkout.

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
