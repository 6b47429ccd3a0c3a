"""The words of the simulated gateway: a request, an answer, a refusal, settings, forced faults."""

from __future__ import annotations

import json
import os
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
        found = (value for key, value in self.headers.items() if key.lower() == name)
        return next(found, "").strip()


@dataclass(frozen=True, slots=True)
class SimAnswer:
    """One HTTP answer, and how it travels."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    drop: Drop | None = None


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
        self.status = status
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
    #: Whether a 429 says when the window opens again, in ``x-rate-limit-reset-at-utc`` (as the
    #: vendor's does) or in ``Retry-After``.
    sends_reset: bool = False
    sends_retry_after: bool = False
    #: Header forms, and keys, that are accepted; `None`: any key that is not empty.
    auth: frozenset[AuthForm] = frozenset({"x-api-key", "bearer"})
    keys: frozenset[str] | None = field(default=None, repr=False)
    #: Dollars on the account at the start. At zero, model calls get 406.
    credits: float = 10.0
    #: Status to answer for some models: 403 not permitted, 404 unknown, 410 retired.
    refused_slugs: Mapping[str, int] = field(default_factory=dict)
    #: A host for the URLs of a v2 answer: a lie, which a client must not follow.
    poll_host: str | None = None
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


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One forced outcome, for the next requests whose method and path begin with `match`.

    With `status` the answer is made up; without it the real one is made, and then changed (its
    JSON handed to `change`), delayed or lost.
    """

    match: str = ""
    times: int = 1
    status: int | None = None
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after_work: bool = False
    change: Callable[[Any], object] | None = None
    delay_s: float = 0.0
    drop: Drop | None = None

    def applied(self, serve: Callable[[], SimAnswer]) -> SimAnswer:
        """Return the forced answer; `serve` does the real work, and is called only if it is."""
        if self.drop == "before_work":
            return SimAnswer(0, delay_s=self.delay_s, drop=self.drop)
        done = self.status is None or self.after_work or self.drop == "after_work"
        answer = serve() if done else SimAnswer(0)
        if self.status is not None:
            body = self.body.encode() if isinstance(self.body, str) else self.body
            if isinstance(body, bytes):
                answer = SimAnswer(self.status, {"content-type": "text/html; charset=utf-8"}, body)
            else:
                told = {"error": responses.get(self.status, "Error")} if body is None else body
                answer = json_answer(told, status=self.status)
        if self.change is not None:
            answer = replace(answer, body=json_answer(self.change(json.loads(answer.body))).body)
        headers = {**answer.headers, **{name.lower(): v for name, v in self.headers.items()}}
        delay_s = answer.delay_s + self.delay_s
        return replace(answer, headers=headers, delay_s=delay_s, drop=self.drop)
