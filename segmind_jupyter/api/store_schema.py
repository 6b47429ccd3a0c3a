"""The schema of the journal's file, step by step, and every query on the table of jobs.

Knows nothing of how the file is opened, and no rule about jobs: those are `store_entry`'s. The
table of kept replies is `store_replies`' affair.
"""

from __future__ import annotations

import dataclasses
import secrets
import sqlite3
from collections.abc import Iterable
from typing import Any, Final

from segmind_jupyter.api import store_replies
from segmind_jupyter.api.store_entry import Entry, joined

_LISTING: Final = """
    SELECT request_id, origin, model, submitted_at, noted_at, state, ended_at, seconds, error,
           work, place, raw IS NOT NULL AS kept
    FROM jobs
"""
_NEWEST_FIRST: Final = " ORDER BY coalesce(submitted_at, noted_at) DESC, request_id DESC LIMIT ?"


def load(connection: sqlite3.Connection, request_id: str) -> Entry | None:
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


def newest(connection: sqlite3.Connection, limit: int) -> list[Entry]:
    """List the newest jobs, without their replies."""
    return _listed(connection, _LISTING + _NEWEST_FIRST, limit)


def of_work(connection: sqlite3.Connection, work: str) -> list[Entry]:
    """List the jobs of a fingerprint, without their replies."""
    return _listed(connection, _LISTING + " WHERE work = ?", _text(work))


def timed(connection: sqlite3.Connection, origin: str, model: str, limit: int) -> list[Entry]:
    """List the newest jobs of a model that were watched throughout, without their replies."""
    where = " WHERE origin = ? AND model = ? AND seconds IS NOT NULL"
    sql = _LISTING + where + _NEWEST_FIRST
    return _listed(connection, sql, _text(origin), _text(model), limit)


def save(connection: sqlite3.Connection, news: Iterable[Entry]) -> None:
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


def _put(connection: sqlite3.Connection, entry: Entry) -> None:
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


def _listed(connection: sqlite3.Connection, sql: str, *values: object) -> list[Entry]:
    return [_entry(row) for row in connection.execute(sql, values)]


def _entry(row: sqlite3.Row) -> Entry:
    fields: dict[str, Any] = dict(row)
    raw = fields.pop("raw", None)
    fields["kept"] = bool(fields.get("kept"))
    return Entry(raw=None if raw is None else raw.decode("utf-8", "surrogatepass"), **fields)


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
STEPS: Final = (_first_schema, store_replies.add_table)
