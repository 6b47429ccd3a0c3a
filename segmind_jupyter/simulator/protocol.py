"""The words of the simulated gateway: a request, an answer, a refusal, and its settings."""

from __future__ import annotations

import json
import math
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

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.answer = json_answer({"error": message}, status=status, headers=headers)


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One gateway's settings. The defaults answer at once."""

    #: Seconds a v1 call takes.
    latency_s: float = 0.0
    #: Seconds a v2 job is QUEUED, PROCESSING, and can be read after its end (the page: an hour).
    queue_s: float = 0.0
    work_s: float = 0.0
    result_life_s: float = 3600.0
    #: Most model calls (v1 and v2 POSTs) in any minute; `None`: no limit.
    rate_limit: int | None = None
    #: Dollars on the account at the start. At zero, model calls get 406.
    credits: float = 10.0
    #: Whether replies go on as a model's would, behind the line that says what arrived.
    talks: bool = False


#: Slow enough that a wait and a job's card are seen, quick enough not to bore.
_DEMO = Behaviour(latency_s=2.0, queue_s=0.5, work_s=2.0, talks=True)


def demo_behaviour() -> Behaviour:
    """Return a demonstration's, at the pace of ``SEGMIND_SIMULATOR_SPEED``: a factor, `instant`."""
    speed = os.environ.get("SEGMIND_SIMULATOR_SPEED", "").strip().lower()
    try:
        factor = math.inf if speed == "instant" else float(speed)
    except ValueError:
        factor = 1.0
    paces = {name: getattr(_DEMO, name) for name in ("latency_s", "queue_s", "work_s")}
    return replace(_DEMO, **{n: pace / factor for n, pace in paces.items()} if factor > 0 else {})
