"""How the simulated gateway is set up, and the answers a test or a demo forces out of it.

Knows neither the protocol nor time: `core` reads this and does the rest.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.client import responses
from typing import Any, Literal

#: Where a connection is lost: before any work was done, or after all of it.
Drop = Literal["before_work", "after_work"]


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


def error_answer(refusal: Refusal) -> SimAnswer:
    """Answer with the gateway's envelope, ``{"error": "message"}``."""
    return json_answer({"error": refusal.message}, status=refusal.status, headers=refusal.headers)


#: The two headers that may carry the key: ``x-api-key: KEY`` or ``Authorization: Bearer KEY``.
AuthForm = Literal["x-api-key", "bearer"]


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
    sends_retry_after
        Whether a 429 says when to come back. The vendor documents no such header.
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
    """

    latency_s: float = 0.0
    queue_s: float = 0.0
    work_s: float = 0.0
    result_life_s: float = 3600.0
    rate_limit: int | None = None
    rate_window_s: float = 60.0
    rate_limits_reads: bool = False
    sends_retry_after: bool = False
    auth: frozenset[AuthForm] = frozenset({"x-api-key", "bearer"})
    keys: frozenset[str] | None = field(default=None, repr=False)
    credits: float = 10.0
    refused_slugs: Mapping[str, int] = field(default_factory=dict)
    poll_host: str | None = None


#: Slow enough that a demonstration looks like the service, quick enough not to bore.
DEMO = Behaviour(latency_s=0.3, queue_s=0.2, work_s=0.8)

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
        """Give the forced answer; `serve` does the real work, and is called only if it is done."""
        if self.drop == "before_work":
            return SimAnswer(0, delay_s=self.delay_s, drop=self.drop)
        answer = self._answer(serve)
        if self.change is not None:
            changed = json_answer(self.change(json.loads(answer.body)))
            answer = replace(answer, body=changed.body)
        headers = {**answer.headers, **{name.lower(): v for name, v in self.headers.items()}}
        delay_s = answer.delay_s + self.delay_s
        return replace(answer, headers=headers, delay_s=delay_s, drop=self.drop)

    def _answer(self, serve: Callable[[], SimAnswer]) -> SimAnswer:
        if self.status is None:
            return serve()
        if self.after_work or self.drop == "after_work":
            serve()
        return _made_up(self.status, self.body)


def _made_up(status: int, body: object) -> SimAnswer:
    if body is None:
        body = {"error": responses.get(status, "Error")}
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, bytes):
        return SimAnswer(status, {"content-type": "text/html; charset=utf-8"}, body)
    return json_answer(body, status=status)


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
        """Remove and give the first fault that matches `target`, if there is one."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if target.startswith(fault.match):
                    return self._faults.pop(index)
        return None
