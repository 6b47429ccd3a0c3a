"""Kept replies in the journal's file: their table, and every query on it.

Knows neither what a reply looks like nor what its key is made of: both are `reply_cache`'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A reply that is kept for the next request that is equal.

    Parameters
    ----------
    key
        Fingerprint of the request.
    body
        What `reply_cache` made of the reply.
    kept_at, used_at
        Unix times at which it was kept, and (about) last asked for.
    """

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
    """Give back the room of what was forgotten: until then the file still holds its words."""
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
