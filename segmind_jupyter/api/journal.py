"""The journal: one SQLite file with the ids of jobs, fetched and cached replies, and claims.

An id is in it before the first poll, a reply as soon as it was fetched, a claim before its POST
goes out. No key of the API is written, and a prompt only in a chat that is to be kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import sqlite3
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from segmind_jupyter.api import database
from segmind_jupyter.api.messages import Call, Reply, parse_reply
from segmind_jupyter.errors import NotCachedError, ReplyError, SettingsError

if TYPE_CHECKING:
    from segmind_jupyter.api.settings import Caching

T = TypeVar("T")

FILE_NAME: Final = "jobs.sqlite3"

#: The first write of a kernel forgets what is older; what calls took, after a year.
MAX_AGE_S: Final = 30 * 24 * 3600.0
_FORGET: Final = (
    "DELETE FROM sends WHERE at < ?",
    "DELETE FROM reserved WHERE at < ?",
    "DELETE FROM jobs WHERE max(coalesce(submitted_at, 0), coalesce(ended_at, 0), noted_at) < ?",
    f"DELETE FROM calls WHERE at < ? - {336 * 24 * 3600}",  # noqa: S608 - a constant
)

#: Cached replies take no more; the oldest go first. One takes a few kB.
MAX_REPLY_BYTES: Final = 256_000_000

#: How long a call waits for another program's lock; an interrupt is seen between slices.
BUSY_S: Final = 10.0
_SLICE_S: Final = 0.5

#: Whoever sends says so this often, and counts as dead when nothing was heard for this long: a
#: library may hold the GIL for seconds.
BEAT_S: Final = 5.0
LEASE_S: Final = 20.0

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
    journal._run(lambda db: None)
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

if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_at_work.acquire, after_in_parent=_at_work.release, after_in_child=_at_work.release
    )


class Journal:
    """Jobs by id, replies by key, and claims. Threads and kernels share it.

    Where the file fails, `warn` is called once and memory takes its place, with what could be read,
    until this is closed. Nothing raises for that but `claim`.
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
        self._db: sqlite3.Connection | None = None
        self._salt: bytes | None = None
        self._holder = secrets.token_hex(8)
        self._is_lost = self._is_pruned = False

    # Jobs --------------------------------------------------------------------------------------

    def submitted(self, record: database.JobRecord) -> None:
        """Note a job, which ends the claim of its work. A known one gains what it lacks."""
        row = (
            record.request_id, record.origin, record.model, record.submitted_at, self._clock(),
            record.state, record.work, _text(record.place),
        )  # fmt: skip

        def change(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO jobs (request_id, origin, model, submitted_at, noted_at, state, work, "
                "place) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (request_id) DO UPDATE SET "
                "origin = coalesce(nullif(origin, ''), excluded.origin), "
                "model = coalesce(model, excluded.model), work = coalesce(work, excluded.work), "
                "submitted_at = coalesce(submitted_at, excluded.submitted_at), "
                "place = coalesce(nullif(place, ''), excluded.place)",
                row,
            )
            db.execute("DELETE FROM sends WHERE work = ?", (record.work,))

        self._run(change)

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

        A reply in hand outlives whatever is said later, and the server's words about a failure its
        forgetting the job.
        """
        now, error = self._clock(), error and _text(error)
        body = None if raw is None else raw.encode("utf-8", "surrogatepass")

        def change(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT OR IGNORE INTO jobs (request_id, origin, noted_at, state, place) "
                "VALUES (?, '', ?, 'QUEUED', '')",
                (request_id, now),
            )
            db.execute(
                "UPDATE jobs SET state = ?, ended_at = ?, seconds = ?, error = ?, raw = ? "
                "WHERE request_id = ? AND raw IS NULL AND NOT (state = 'FAILED' AND ? = 'EXPIRED')",
                (state, now, seconds, error, body, request_id, state),
            )

        self._run(change)

    def find(self, request_id: str) -> database.JobRecord | None:
        """Find a job, with its reply."""
        rows = self._rows(f"SELECT {_WHOLE} FROM jobs WHERE request_id = ?", request_id)  # noqa: S608
        return _record(rows[0]) if rows else None

    def entries(self, *, limit: int = 50) -> list[database.JobRecord]:
        """List the newest jobs first, without their replies."""
        rows = self._rows(f"SELECT {_LISTED} FROM jobs {_NEWEST_FIRST} LIMIT ?", limit)  # noqa: S608
        return [_record(row) for row in rows]

    def find_work(self, work: str) -> database.JobRecord | None:
        """Find a job that answers this work, or else one that is to."""
        return self._run(lambda db: _job_of(db, work), is_write=False)

    def durations(self, origin: str, model: str, *, limit: int = 20) -> list[float]:
        """List how many seconds the jobs of a model took, newest first."""
        query = (
            "SELECT seconds FROM jobs "  # noqa: S608 - a constant
            "WHERE origin = ? AND model = ? AND seconds IS NOT NULL "
            f"{_NEWEST_FIRST} LIMIT ?"
        )
        return [row[0] for row in self._rows(query, origin, model, limit)]

    # What is being sent ------------------------------------------------------------------------

    def fingerprint(self, data: bytes) -> str:
        """Hash what was asked, with the key of the file: of a plain hash one could guess it."""
        if self._salt is None:
            self._salt = self._rows("SELECT value FROM meta WHERE name = 'salt'")[0][0]
        return hashlib.blake2b(data, key=self._salt, digest_size=16).hexdigest()

    def claim(self, work: str, *, anew: bool = False) -> database.Claim:
        """Claim a work, in one step with looking whether it was sent; `anew` does not look.

        Where its holder died it is "lost" to all, as it may have been billed, but to who is `anew`.
        """
        now = self._clock()

        def change(db: sqlite3.Connection) -> database.Claim:
            if not anew:
                if known := _job_of(db, work):
                    return database.Claim("known", known)
                sending = db.execute("SELECT * FROM sends WHERE work = ?", (work,)).fetchone()
                if sending is not None:
                    lives = abs(now - sending["beat_at"]) < LEASE_S
                    return database.Claim("theirs" if lives else "lost", at=sending["at"])
            if self._is_lost:
                raise SettingsError(
                    f"The journal of jobs {self.path} cannot be written, so this was not sent: "
                    "another kernel might send it too, and both would pay. See to the file and "
                    "restart the kernel; `%config ClaudeMagics.journal = False` does without it."
                )
            row = (work, self._holder, now, now)
            db.execute("REPLACE INTO sends (work, holder, at, beat_at) VALUES (?, ?, ?, ?)", row)
            return database.Claim("ours")

        return self._run(change)

    def beat(self, work: str) -> None:
        """Say that what was claimed is still being sent."""
        beat = "UPDATE sends SET beat_at = ? WHERE work = ? AND holder = ?"
        self._do(beat, self._clock(), work, self._holder)

    def lose(self, work: str) -> None:
        """Leave a claim as if its holder had died: nobody knows what came of it."""
        self._do("UPDATE sends SET beat_at = 0 WHERE work = ? AND holder = ?", work, self._holder)

    def release(self, work: str) -> None:
        """Give up a claim: what was to be sent was not, or was answered with an error."""
        self._do("DELETE FROM sends WHERE work = ? AND holder = ?", work, self._holder)

    # Calls -------------------------------------------------------------------------------------

    def record_call(self, call: database.CallRecord, *, settles: str | None = None) -> None:
        """Remember what a call took, in place of what was set aside."""
        request_id = call.request_id and _text(call.request_id)
        row = (call.at, call.origin, call.model, call.input_tokens, call.cost, call.seconds)

        def change(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?)", (*row, request_id))
            db.execute("DELETE FROM reserved WHERE id = ?", (settles,))

        self._run(change)

    def calls(
        self, origin: str, *, model: str | None = None, since: float = 0.0, limit: int = 20_000
    ) -> list[database.CallRecord]:
        """List the newest calls that are remembered, oldest first."""
        query = (
            "SELECT * FROM calls WHERE origin = ? AND coalesce(model = ?, 1) AND at >= ? "
            "ORDER BY at DESC, rowid DESC LIMIT ?"
        )
        rows = self._rows(query, origin, model, since, limit)
        return [database.CallRecord(**dict(row)) for row in reversed(rows)]

    def keep_verdict(self, key: str, *, best: str, models: Iterable[str]) -> None:
        """Keep which of several models the user found best; the last word on it counts."""
        self._do("REPLACE INTO verdicts VALUES (?, ?, ?)", key, best, " ".join(models))

    def verdicts(self) -> list[tuple[str, list[str]]]:
        """List the best model of each comparison, and all that were compared."""
        rows = self._rows("SELECT best, models FROM verdicts")
        return [(best, models.split()) for best, models in rows]

    # What may be spent in a day ----------------------------------------------------------------

    def daily_budget(self) -> float | None:
        """Return how many credits all kernels together may spend in a day; `None` is no limit."""
        rows = self._rows("SELECT value FROM meta WHERE name = 'daily budget'")
        return rows[0][0] if rows else None

    def set_daily_budget(self, amount: float | None) -> None:
        """Set that; `None` takes it away."""
        self._do("REPLACE INTO meta VALUES ('daily budget', ?)", amount)

    def spent(self, origin: str, *, since: float) -> float:
        """Sum what the calls to an origin took since then, and what is set aside for others."""
        return self._run(lambda db: _spent(db, origin, since), is_write=False)

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

        return limit, self._run(change)

    def lost(self, key: str, origin: str, amount: float) -> None:
        """Keep what was set aside for a call whose outcome nobody knows."""
        keep = "INSERT OR IGNORE INTO reserved VALUES (?, ?, ?, ?)"
        self._do(keep, key, self._clock(), origin, amount)

    def unreserve(self, key: str) -> None:
        """Give back what was set aside."""
        self._do("DELETE FROM reserved WHERE id = ?", key)

    # Cached replies ----------------------------------------------------------------------------

    def keep_reply(self, key: str, body: bytes) -> None:
        """Cache a reply; the oldest go where there are too many."""
        row, most = (key, self._clock(), len(body), body), self._max_reply_bytes

        def change(db: sqlite3.Connection) -> None:
            db.execute("REPLACE INTO replies VALUES (?, ?, ?, ?)", row)
            db.execute(
                "DELETE FROM replies WHERE key IN (SELECT key FROM (SELECT key, sum(n_bytes) "
                "OVER (ORDER BY kept_at DESC, key) AS with_all_newer FROM replies) "
                "WHERE with_all_newer > ?)",
                (most,),
            )

        self._run(change)
        # The file alone then has it, should somebody copy it without the log beside it.
        self._tidy("PRAGMA wal_checkpoint(PASSIVE)")

    def kept_reply(self, key: str) -> tuple[bytes, float] | None:
        """Find a cached reply, and when it was kept."""
        rows = self._rows("SELECT body, kept_at FROM replies WHERE key = ?", key)
        return (rows[0][0], rows[0][1]) if rows else None

    def kept_replies(self) -> tuple[int, int, float | None]:
        """Return how many replies are cached, their bytes, and since when the oldest is."""
        (row,) = self._rows("SELECT count(*), coalesce(sum(n_bytes), 0), min(kept_at) FROM replies")
        return row[0], row[1], row[2]

    def clear_replies(self) -> int | None:
        """Forget all cached replies, but no job; `None` where the file cannot be changed."""
        cleared = self._do("DELETE FROM replies")
        self._tidy("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)")
        return None if self._is_lost else cleared

    # Turns of chats ----------------------------------------------------------------------------

    def keep_turn(self, chat: str, key: str, body: bytes) -> None:
        """Keep a turn of a chat, behind its others."""
        self._do("REPLACE INTO turns VALUES (?, ?, ?)", _text(chat), key, body)

    def kept_turns(self, chat: str) -> list[tuple[str, bytes]]:
        """Return the keys and the bodies of a chat's turns, oldest first."""
        query = "SELECT key, body FROM turns WHERE chat = ? ORDER BY rowid"
        return [(row[0], row[1]) for row in self._rows(query, _text(chat))]

    def kept_chats(self) -> list[str]:
        """Return the names of the chats that have turns, in the order of their beginning."""
        rows = self._rows("SELECT chat FROM turns GROUP BY chat ORDER BY min(rowid)")
        return [row[0] for row in rows]

    def forget_turn(self, chat: str, key: str) -> None:
        """Forget a turn of a chat, also in the log beside the file."""
        self._do("DELETE FROM turns WHERE chat = ? AND key = ?", _text(chat), key)
        self._tidy("PRAGMA wal_checkpoint(TRUNCATE)")

    # The file, or the memory in its place ------------------------------------------------------

    def close(self) -> None:
        """Close the file, and forget what is in memory alone; the next use opens it again."""
        with _at_work:
            db, self._db, self._is_lost = self._db, None, False
            if db is not None:
                with contextlib.suppress(sqlite3.Error):
                    db.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # also of one that was never made
            self.close()

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        return self._run(lambda db: db.execute(query, values).fetchall(), is_write=False)

    def _do(self, change: str, *values: object) -> int:
        return self._run(lambda db: db.execute(change, values).rowcount)

    def _tidy(self, *statements: str) -> None:
        """Run them beside any transaction; where the file is in use, it is done another time."""
        with _at_work, contextlib.suppress(sqlite3.Error, OSError, database.NotOurs):
            for statement in statements:
                self._opened().execute(statement)

    def _run(self, work: Callable[[sqlite3.Connection], T], *, is_write: bool = True) -> T:
        """Do it, changes in one transaction, in the file or in its place."""
        with _at_work:
            until_s = time.monotonic() + self._busy_s
            while True:
                try:
                    if not is_write:
                        return work(self._opened())
                    with database.transaction(self._opened()) as db:
                        if not self._is_pruned:
                            self._is_pruned, now = True, self._clock()
                            for forget in _FORGET:
                                db.execute(forget, (now - MAX_AGE_S,))
                        return work(db)
                except (sqlite3.Error, OSError, database.NotOurs) as error:
                    if self.path is None or self._is_lost:
                        raise
                    if not database.is_lock(error) or time.monotonic() >= until_s:
                        self._fall_back(self.path, error)

    def _opened(self) -> sqlite3.Connection:
        if self.path is None:
            self._db = self._db or database.in_memory()
        elif not self._is_lost and (self._db is None or not self.path.exists()):
            self.close()  # somebody deleted it: what follows would go into a nameless one
            self._db = database.open_database(self.path, busy_s=min(self._busy_s, _SLICE_S))
        assert self._db is not None  # noqa: S101
        return self._db

    def _fall_back(self, path: Path, error: Exception) -> None:
        """Let memory take the place of the file, and say so."""
        memory = database.in_memory(self._db)
        self.close()
        self._db, self._is_lost = memory, True
        if isinstance(error, OSError):
            reason = f"{error.strerror or error}: {error.filename or path}"
        else:
            reason = "another program has locked it" if database.is_lock(error) else str(error)
        self._warn(
            f"The journal of jobs {path} cannot be used ({reason}): jobs go on, but what is new, "
            "a day's budget too, is in this kernel's memory alone, and what other kernels send is "
            "not seen; see to the file and restart the kernel, or set SEGMIND_JUPYTER_STATE to "
            "another folder."
        )


_LISTED: Final = (
    "request_id, origin, model, submitted_at, noted_at, state, seconds, error, work, place, "
    "raw IS NOT NULL AS kept"
)
_WHOLE: Final = f"{_LISTED}, raw"
_NEWEST_FIRST: Final = "ORDER BY coalesce(submitted_at, noted_at) DESC, request_id DESC"


def _record(row: sqlite3.Row) -> database.JobRecord:
    fields: dict[str, Any] = dict(row)
    raw = fields.pop("raw", None)
    fields["kept"] = bool(fields["kept"])
    return database.JobRecord(raw=raw and raw.decode("utf-8", "surrogatepass"), **fields)


def _job_of(db: sqlite3.Connection, work: str) -> database.JobRecord | None:
    """Find the job that answers a work, or else is to."""
    row = db.execute(
        f"SELECT {_WHOLE} FROM jobs WHERE work = ? AND (state = 'QUEUED' OR "  # noqa: S608
        "state = 'COMPLETED' AND raw IS NOT NULL) ORDER BY state = 'QUEUED', "
        "coalesce(submitted_at, noted_at) DESC, request_id DESC LIMIT 1",
        (work,),
    ).fetchone()
    return row and _record(row)


def _spent(db: sqlite3.Connection, origin: str, since: float) -> float:
    """Sum what was spent and set aside; a call of which nobody told counts as the mean of all."""
    query = (
        "SELECT total(coalesce(cost, (SELECT avg(cost) FROM calls))) FROM calls "
        "WHERE origin = ? AND at >= ? UNION ALL "
        "SELECT total(amount) FROM reserved WHERE origin = ? AND at >= ?"
    )
    return sum(float(row[0]) for row in db.execute(query, 2 * (origin, since)))


def _text(text: str) -> str:
    """Replace lone surrogates: JSON can hold them, and SQLite's text cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")


# Replies that are kept for a request that is made again -------------------------------------

#: What a reply has besides the model's own JSON: from the headers, the clock, or the request.
_BESIDES: Final = ("model", "cost", "remaining_credits", "elapsed_s", "request_id")

#: What writing or reading one raises that JSON cannot hold, or that is damaged.
_NO_REPLY: Final = (ReplyError, ValueError, TypeError, KeyError, RecursionError)


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
        if kept := self._journal.kept_reply(self._key):
            with contextlib.suppress(*_NO_REPLY):
                return replace(from_bytes(kept[0]), cached_at=kept[1])
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
        with contextlib.suppress(*_NO_REPLY):
            besides = {name: getattr(reply, name) for name in _BESIDES}
            body = json.dumps({"raw": reply.raw, **besides}, separators=(",", ":")).encode("ascii")
            if from_bytes(body) == reply:
                self._journal.keep_reply(self._key, body)


def from_bytes(body: bytes) -> Reply:
    """Read a reply again, as if it had just come; what is none raises one of `_NO_REPLY`."""
    fields = json.loads(body)
    besides, raw = {name: fields[name] for name in _BESIDES}, fields["raw"]
    # What was an `output` is not to be taken apart a second time.
    return replace(parse_reply(raw if isinstance(raw, str) else {"output": raw}), **besides)
