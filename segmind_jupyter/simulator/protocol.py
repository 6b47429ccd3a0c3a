"""The words of the simulated gateway: a request, an answer, a refusal, and its settings."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class SimRequest:
    """One HTTP request, as the gateway sees it."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    scheme: str = "http"

    def header(self, name: str) -> str:
        """Return the value of one header, stripped; ``""`` where it was not sent."""
        found = (value for key, value in self.headers.items() if key.lower() == name)
        return next(found, "").strip()


@dataclass(frozen=True, slots=True)
class SimAnswer:
    """One HTTP answer, and the seconds after which it is there."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0


def json_answer(
    content: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> SimAnswer:
    """Answer with `content` as JSON (ASCII only, so that any text a client sent can go back)."""
    headers = {"content-type": "application/json", **(headers or {})}
    return SimAnswer(status, headers, json.dumps(content).encode("ascii"))


class Refusal(Exception):
    """The gateway says no: an answer in its envelope, ``{"error": "message"}``."""

    def __init__(
        self, status: int, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.answer = json_answer({"error": message}, status=status, headers=headers)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One gateway's settings. The defaults answer at once and accept any key."""

    #: Seconds a v1 call takes.
    latency_s: float = 0.0
    #: Seconds a v2 job is QUEUED, PROCESSING, and can be read after its end (the page: an hour).
    queue_s: float = 0.0
    work_s: float = 0.0
    result_life_s: float = 3600.0
    #: Most model calls (v1 and v2 POSTs) in any such window of seconds; `None`: no limit.
    rate_limit: int | None = None
    rate_window_s: float = 60.0
    #: Whether GETs count there too: the vendor's pages leave open what its limits count.
    rate_limits_reads: bool = False
    #: Whether a 429 says when the window opens again, as the vendor's does.
    sends_reset: bool = False
    #: Keys that are accepted; `None`: any that is not empty.
    keys: frozenset[str] | None = field(default=None, repr=False)
    #: Dollars on the account at the start. At zero, model calls get 406.
    credits: float = 10.0
    #: Whether replies go on as a model's would, behind the line that says what arrived.
    talks: bool = False


#: Slow enough that a wait and a job's card are seen, quick enough not to bore.
DEMO = Behaviour(latency_s=2.0, queue_s=0.5, work_s=2.0, sends_reset=True, talks=True)


def demo_behaviour() -> Behaviour:
    """Return `DEMO` at the pace of ``SEGMIND_SIMULATOR_SPEED``: a factor, or ``instant``."""
    speed = os.environ.get("SEGMIND_SIMULATOR_SPEED", "").strip().lower()
    try:
        factor = float("inf") if speed == "instant" else float(speed or 1)
    except ValueError:
        factor = 1.0
    if not factor > 0:
        return DEMO
    paces = {name: getattr(DEMO, name) / factor for name in ("latency_s", "queue_s", "work_s")}
    return replace(DEMO, **paces)
