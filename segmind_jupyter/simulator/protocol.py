"""The words of the simulated gateway: a request, an answer, a refusal, settings, forced faults."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.client import responses
from typing import Any, Literal

#: Where a connection is lost: before any work was done, or after all of it.
Drop = Literal["before_work", "after_work"]

#: The two headers that may carry the key: ``x-api-key: KEY`` or ``Authorization: Bearer KEY``.
AuthForm = Literal["x-api-key", "bearer"]


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
        wanted = name.lower()
        found = (value for key, value in self.headers.items() if key.lower() == wanted)
        return next(found, "").strip()

    @property
    def target(self) -> str:
        """Method and path without the query: ``"POST /v1/claude-4-sonnet"``."""
        return f"{self.method} {self.path.partition('?')[0]}"

    @property
    def segments(self) -> list[str]:
        """The path cut at its slashes: ``["v1", "claude-4-sonnet"]``."""
        return self.path.partition("?")[0].strip("/").split("/")


@dataclass(frozen=True, slots=True)
class SimAnswer:
    """One HTTP answer, and how it travels."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    drop: Drop | None = None


class Refusal(Exception):
    """The gateway says no: an HTTP status, a sentence for the ``error`` key, extra headers."""

    def __init__(
        self, status: int, message: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})

    def answer(self) -> SimAnswer:
        """Return it in the gateway's envelope, ``{"error": "message"}``."""
        return json_answer({"error": self.message}, status=self.status, headers=self.headers)


def json_answer(
    content: object,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    delay_s: float = 0.0,
) -> SimAnswer:
    """Answer with `content` as JSON (ASCII only, so that any text a client sent can go back)."""
    body = json.dumps(content).encode("ascii")
    return SimAnswer(
        status, {"content-type": "application/json", **(headers or {})}, body, delay_s=delay_s
    )


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """One gateway's settings. The defaults answer at once and accept any key.

    Parameters
    ----------
    latency_s
        Seconds a v1 call takes.
    queue_s, work_s
        Seconds a v2 job is QUEUED, then PROCESSING.
    result_life_s
        Seconds after its end that a job can be read (the model page: one hour).
    rate_limit, rate_window_s
        Most model calls (v1 and v2 POSTs) in any such window of seconds; `None`: no limit.
    rate_limits_reads
        Whether GETs count in that window too, and are refused like calls. The vendor's pages
        leave open which requests its limits count.
    sends_reset
        Whether a 429 says when the window opens again (``x-rate-limit-reset-at-utc``), as the
        vendor's is said to.
    sends_retry_after
        Whether a 429 says it in ``Retry-After``. The vendor documents no such header.
    auth
        Header forms that are accepted.
    keys
        Keys that are accepted; `None`: any that is not empty.
    credits
        Dollars on the account at the start. At zero, model calls get 406.
    refused_slugs
        Status to answer for some models: 403 not permitted, 404 unknown, 410 retired.
    poll_host
        A host to name in the URLs of a v2 answer in place of the one that was asked: a lie,
        which a client must not follow.
    talks
        Whether replies go on, behind the line that says what arrived, as a model's would: a
        table of a figure, code where it is asked for, an alternative text.
    """

    latency_s: float = 0.0
    queue_s: float = 0.0
    work_s: float = 0.0
    result_life_s: float = 3600.0
    rate_limit: int | None = None
    rate_window_s: float = 60.0
    rate_limits_reads: bool = False
    sends_reset: bool = False
    sends_retry_after: bool = False
    auth: frozenset[AuthForm] = frozenset({"x-api-key", "bearer"})
    keys: frozenset[str] | None = field(default=None, repr=False)
    credits: float = 10.0
    refused_slugs: Mapping[str, int] = field(default_factory=dict)
    poll_host: str | None = None
    talks: bool = False

    def faster(self, factor: float) -> Behaviour:
        """Return the same gateway, so many times as fast; `math.inf` answers at once."""
        return replace(
            self,
            latency_s=self.latency_s / factor,
            queue_s=self.queue_s / factor,
            work_s=self.work_s / factor,
        )


#: Slow enough that a wait and a job's card are seen, quick enough not to bore.
DEMO = Behaviour(latency_s=2.0, queue_s=0.5, work_s=2.0, sends_reset=True, talks=True)


def demo_behaviour() -> Behaviour:
    """Return `DEMO` at the pace of ``SEGMIND_SIMULATOR_SPEED``: a factor, or ``instant``."""
    speed = os.environ.get("SEGMIND_SIMULATOR_SPEED", "").strip().lower()
    try:
        factor = float("inf") if speed == "instant" else float(speed or 1)
    except ValueError:
        factor = 1.0
    return DEMO.faster(factor) if factor > 0 else DEMO


#: Turns the parsed JSON of a real answer into the JSON that is sent in its place.
Change = Callable[[Any], object]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One forced outcome, for the next requests that it matches.

    With `status` the answer is made up; without it the real one is made, and then changed,
    delayed or lost.
    """

    match: str = ""
    times: int = 1
    status: int | None = None
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after_work: bool = False
    change: Change | None = None
    delay_s: float = 0.0
    drop: Drop | None = None

    def applied(self, serve: Callable[[], SimAnswer]) -> SimAnswer:
        """Return the forced answer; `serve` does the real work, and is called only if it is."""
        if self.drop == "before_work":
            return SimAnswer(0, delay_s=self.delay_s, drop=self.drop)
        done = self.status is None or self.after_work or self.drop == "after_work"
        answer = serve() if done else SimAnswer(0)
        if self.status is not None:
            body = (
                {"error": responses.get(self.status, "Error")} if self.body is None else self.body
            )
            if isinstance(body, str | bytes):
                page = body.encode() if isinstance(body, str) else body
                answer = SimAnswer(self.status, {"content-type": "text/html; charset=utf-8"}, page)
            else:
                answer = json_answer(body, status=self.status)
        if self.change is not None:
            answer = replace(answer, body=json_answer(self.change(json.loads(answer.body))).body)
        headers = {**answer.headers, **{name.lower(): v for name, v in self.headers.items()}}
        delay_s = answer.delay_s + self.delay_s
        return replace(answer, headers=headers, delay_s=delay_s, drop=self.drop)


class FaultScript:
    """The forced outcomes still to come, in the order in which they were asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Put `fault` behind those that wait."""
        with self._lock:
            self._faults += [fault] * fault.times

    def clear(self) -> None:
        """Forget all that wait."""
        with self._lock:
            self._faults.clear()

    def take(self, target: str) -> Fault | None:
        """Remove and return the first fault that matches `target`, if there is one."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if target.startswith(fault.match):
                    return self._faults.pop(index)
        return None
