"""What the journal keeps of jobs, calls and replies, and how its rows are read: none is trusted."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal


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
    kind: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None


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
