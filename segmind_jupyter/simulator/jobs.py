"""The v2 queue: jobs whose state follows from the clock alone, kept for an hour after their end.

Takes the time from its caller, and knows nothing of HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: The states of the model page; a content block arrives as FAILED.
JobState = Literal["QUEUED", "PROCESSING", "COMPLETED", "FAILED"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimJob:
    """One queued request. Its outcome is known when it is queued, and shown when it is due.

    Parameters
    ----------
    request_id
        The id under which it is read.
    queued_until_s, done_at_s, expires_at_s
        Readings of the gateway's clock at which it starts, ends, and can no longer be read.
    output
        The v1 answer as a JSON string; empty for a job that fails.
    error
        Why it fails; `None` for a job that completes.
    metrics
        Shown once it has ended: ``inference_time`` in seconds, ``cost`` and
        ``remaining_credits`` in dollars.
    """

    request_id: str
    queued_until_s: float
    done_at_s: float
    expires_at_s: float
    output: str = field(default="", repr=False)
    error: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    def state(self, now_s: float) -> JobState:
        """Tell the state at `now_s`."""
        if now_s < self.queued_until_s:
            return "QUEUED"
        if now_s < self.done_at_s:
            return "PROCESSING"
        return "COMPLETED" if self.error is None else "FAILED"


class JobBook:
    """The jobs that can still be read. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, SimJob] = {}

    def add(self, job: SimJob, *, now_s: float) -> None:
        """Keep `job`, and forget those that have expired."""
        with self._lock:
            self._jobs = {
                key: kept for key, kept in self._jobs.items() if kept.expires_at_s > now_s
            }
            self._jobs[job.request_id] = job

    def find(self, request_id: str, *, now_s: float) -> SimJob | None:
        """Give the job of that id; `None` if it never was, or has expired."""
        with self._lock:
            job = self._jobs.get(request_id)
        return job if job is not None and job.expires_at_s > now_s else None
