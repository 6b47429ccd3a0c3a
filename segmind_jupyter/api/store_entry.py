"""What the journal knows of one job, and how two accounts of a job become one.

Pure: knows neither files nor clocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One job, as the journal knows it.

    Parameters
    ----------
    request_id
        The server's id of the job.
    origin
        Base URL that the job was sent to, or ``"simulator"``; empty where nobody said.
    model
        Slug of the model, or `None` where nobody said.
    submitted_at
        Unix time of the submission; `None` for an id from elsewhere, whose age is unknown.
    state
        ``"QUEUED"`` while it is pending, then ``"COMPLETED"``, ``"FAILED"`` or ``"EXPIRED"``.
    ended_at
        Unix time at which the end was seen.
    seconds
        From the submission to the end, only where the job was watched throughout.
    raw
        The body of the result exactly as it was fetched, without the key.
    error
        The server's words about a job that failed.
    work
        Fingerprint of what was asked.
    place
        Where it was sent from: the name of a notebook, or a process.
    noted_at
        Unix time at which the journal first heard of it; the journal fills it in.
    kept
        Whether the journal has `raw`, which a listing leaves out.
    """

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

    def light(self) -> Entry:
        """Leave the reply out."""
        return replace(self, raw=None)


def joined(known: Entry | None, news: Entry | None) -> Entry | None:
    """Put two accounts of one job together; either may be missing.

    Parameters
    ----------
    known, news
        What was known before, and what is told now. What is known stays, and gains what it
        lacks; of two ends the weightier one holds. So it makes no difference how often, and in
        which groups, news arrive.
    """
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


def newest_first(entries: Iterable[Entry]) -> list[Entry]:
    """Sort by submission, or by when the journal first heard of them; the ids settle a tie."""

    def key(entry: Entry) -> tuple[float, str]:
        return (_first(entry.submitted_at, entry.noted_at) or 0.0, entry.request_id)

    return sorted(entries, key=key, reverse=True)


def _weight(entry: Entry) -> int:
    """Weigh how final a state is: a reply in hand is worth more than anything said later.

    A job that completed but whose reply was never fetched comes to nothing if the server then
    forgets it, or calls it failed; and the server's words about a failure outlive its memory.
    """
    if entry.state == "COMPLETED":
        return 4 if entry.kept else 1
    return {"QUEUED": 0, "EXPIRED": 2}.get(entry.state, 3)


def _first(known: T | None, news: T | None) -> T | None:
    return news if known is None else known
