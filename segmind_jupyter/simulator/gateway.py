"""The gateway's protocol as a state machine: requests in, answers out, time from a clock.

No I/O and no waiting: whatever carries it (`inprocess`, `server`) sleeps and loses connections.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from http.client import responses
from typing import Literal

from segmind_jupyter.simulator.answers import compose, cost, failure
from segmind_jupyter.simulator.protocol import (
    AuthForm,
    Behaviour,
    Change,
    Drop,
    Fault,
    FaultScript,
    Refusal,
    SimAnswer,
    SimRequest,
    error_answer,
    json_answer,
)
from segmind_jupyter.simulator.requests import ChatRequest, read_chat


class Account:
    """Credits in dollars, really spent. Safe to use from several threads."""

    def __init__(self, credits: float) -> None:
        self._lock = threading.Lock()
        self._credits = credits
        self._billed = 0

    @property
    def credits(self) -> float:
        """Dollars left, never below zero."""
        return self._credits

    @property
    def billed(self) -> int:
        """How many calls were charged."""
        return self._billed

    def charge(self, cost: float) -> float:
        """Spend `cost` dollars, or the rest where less is left, and give what remains."""
        with self._lock:
            self._credits = max(0.0, self._credits - cost)
            self._billed += 1
            return self._credits


class RateWindow:
    """A sliding window over the times of the calls let through. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times_s: deque[float] = deque()

    def admit(self, now_s: float, *, limit: int, window_s: float) -> float:
        """Let one call through and give 0, or give the seconds until one would be let through."""
        with self._lock:
            while self._times_s and self._times_s[0] <= now_s - window_s:
                self._times_s.popleft()
            if len(self._times_s) >= limit:
                oldest_s = self._times_s[0] if self._times_s else now_s
                return oldest_s + window_s - now_s
            self._times_s.append(now_s)
            return 0.0


#: The states of the model page; a content block arrives as FAILED.
JobState = Literal["QUEUED", "PROCESSING", "COMPLETED", "FAILED"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimJob:
    """One queued request. Its outcome is known when it is queued, and shown when it is due."""

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
        """Return the job of that id; `None` if it never was, or has expired."""
        with self._lock:
            job = self._jobs.get(request_id)
        return job if job is not None and job.expires_at_s > now_s else None


#: Most bytes of one request (Anthropic's published 32 MB).
MAX_REQUEST_BYTES = 32_000_000

#: How many requests the log remembers.
_LOG_LENGTH = 10_000

_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]*")

_HTML_405 = b"<!doctype html>\n<title>405</title>\n<h1>Method Not Allowed</h1>\n"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request that came, for tests to count."""

    method: str
    path: str
    status: int | None
    auth: str
    at_s: float


class Gateway:
    """Segmind's v1 and v2 chat protocol, simulated. Safe to use from several threads."""

    def __init__(
        self, behaviour: Behaviour | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.log: deque[LogEntry] = deque(maxlen=_LOG_LENGTH)
        self._clock = clock
        self._account = Account(self.behaviour.credits)
        self._rate = RateWindow()
        self._jobs = JobBook()
        self._faults = FaultScript()

    @property
    def billed(self) -> int:
        """How many calls were charged. A job is charged when it is queued, unless it fails."""
        return self._account.billed

    @property
    def credits(self) -> float:
        """Dollars left on the account."""
        return self._account.credits

    def script(
        self,
        match: str = "",
        *,
        times: int = 1,
        status: int | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        after_work: bool = False,
        change: Change | None = None,
        delay_s: float = 0.0,
        drop: Drop | None = None,
    ) -> None:
        """Force the outcome of the next requests that match; see `Fault` for each parameter."""
        fault = Fault(
            match=match,
            times=times,
            status=status,
            body=body,
            headers=headers or {},
            after_work=after_work,
            change=change,
            delay_s=delay_s,
            drop=drop,
        )
        self._faults.add(fault)

    def clear_script(self) -> None:
        """Forget the forced outcomes that nothing has matched yet."""
        self._faults.clear()

    def handle(self, request: SimRequest) -> SimAnswer:
        """Answer one request. Never raises for anything that a client can send."""
        serve = partial(self._served, request)
        fault = self._faults.take(request.target)
        answer = serve() if fault is None else fault.applied(serve)
        marks = {"x-simulated": "1", "x-request-id": uuid.uuid4().hex}
        answer = replace(answer, headers={**marks, **answer.headers})
        self._note(request, answer)
        return replace(answer, body=b"") if request.method == "HEAD" else answer

    def _note(self, request: SimRequest, answer: SimAnswer) -> None:
        status = None if answer.drop else answer.status
        auth = "+".join(_presented(request)) or "none"
        self.log.append(LogEntry(request.method, request.path, status, auth, self._clock()))

    def _served(self, request: SimRequest) -> SimAnswer:
        try:
            method, serve = self._endpoint(request)
            if request.method == "OPTIONS":
                return SimAnswer(200, {"allow": f"{method}, OPTIONS"})
            if request.method != method and (request.method, method) != ("HEAD", "GET"):
                headers = {"content-type": "text/html; charset=utf-8", "allow": method}
                return SimAnswer(405, headers, _HTML_405)
            self._authorise(request)
            if method == "GET" and self.behaviour.rate_limits_reads:
                self._check_rate()
            return serve()
        except Refusal as refusal:
            return error_answer(refusal)

    def _endpoint(self, request: SimRequest) -> tuple[str, Callable[[], SimAnswer]]:
        """Find the one method that a path takes, and what serves it."""
        match request.segments:
            case ["v1", "get-user-credits"]:
                return "GET", self._show_credits
            case ["v2", "requests", request_id, "status"]:
                return "GET", partial(self._show_status, request_id)
            case ["v2", "requests", request_id]:
                return "GET", partial(self._show_result, request_id)
            case ["v1", slug] if slug:
                return "POST", partial(self._chat, request, slug)
            case ["v2", slug] if slug:
                return "POST", partial(self._queue, request, slug)
        raise Refusal(404, "Endpoint not found")

    def _authorise(self, request: SimRequest) -> None:
        accepted = self.behaviour.keys
        for form, key in _presented(request).items():
            if form in self.behaviour.auth and (accepted is None or key in accepted):
                return
        raise Refusal(401, "Unauthorized: missing or invalid API key")

    def _show_credits(self) -> SimAnswer:
        return json_answer({"credits": self._account.credits, "free-credits": 0.0})

    def _chat(self, request: SimRequest, slug: str) -> SimAnswer:
        """Serve a v1 call: the whole answer, after the model's time."""
        chat = self._admitted(request, slug)
        if (reason := failure(chat)) is not None:
            raise Refusal(400, reason)
        answer = compose(chat, slug=slug, message_id=f"msg_{uuid.uuid4().hex}")
        price = cost(answer)
        latency_s = self.behaviour.latency_s
        headers = {
            "x-cost": f"{price:.6f}",
            "x-remaining-credits": f"{self._account.charge(price):.6f}",
            "x-generation-time": f"{latency_s:.2f}",
        }
        return json_answer(answer, headers=headers, delay_s=latency_s)

    def _queue(self, request: SimRequest, slug: str) -> SimAnswer:
        """Serve a v2 call: the job's id now, the rest when it is asked for."""
        job = self._new_job(self._admitted(request, slug), slug)
        self._jobs.add(job, now_s=self._clock())
        host = self.behaviour.poll_host or request.header("host") or "localhost"
        read = f"{request.scheme}://{host}/v2/requests/{job.request_id}"
        urls = {"poll_url": read, "status_url": f"{read}/status", "response_url": read}
        content = {"request_id": job.request_id, "status": "QUEUED", **urls}
        return json_answer(content, headers={"x-request-id": job.request_id})

    def _new_job(self, chat: ChatRequest, slug: str) -> SimJob:
        queued_until_s = self._clock() + self.behaviour.queue_s
        done_at_s = queued_until_s + self.behaviour.work_s
        timed = partial(
            SimJob,
            request_id=uuid.uuid4().hex,
            queued_until_s=queued_until_s,
            done_at_s=done_at_s,
            expires_at_s=done_at_s + self.behaviour.result_life_s,
        )
        metrics = {"inference_time": self.behaviour.work_s}
        if (reason := failure(chat)) is not None:
            return timed(error=reason, metrics=metrics)
        answer = compose(chat, slug=slug, message_id=f"msg_{uuid.uuid4().hex}")
        price = cost(answer)
        metrics |= {"cost": price, "remaining_credits": self._account.charge(price)}
        return timed(output=json.dumps(answer), metrics=metrics)

    def _show_status(self, request_id: str) -> SimAnswer:
        job, state = self._found(request_id)
        return _status_answer(job, state)

    def _show_result(self, request_id: str) -> SimAnswer:
        """Serve a result; before the end and after a failure it is what a poll would give."""
        job, state = self._found(request_id)
        if state != "COMPLETED":
            return _status_answer(job, state)
        metrics = dict(job.metrics)
        return json_answer(
            {"status": state, "error": None, "metrics": metrics, "output": job.output}
        )

    def _found(self, request_id: str) -> tuple[SimJob, JobState]:
        now_s = self._clock()
        job = self._jobs.find(request_id, now_s=now_s)
        if job is None:
            raise Refusal(404, "Request not found or expired")
        return job, job.state(now_s)

    def _admitted(self, request: SimRequest, slug: str) -> ChatRequest:
        """Read a model call, or refuse it: first for what costs nothing to check."""
        self._check_slug(slug)
        self._check_rate()
        content_type = request.header("content-type").partition(";")[0].strip().lower()
        if content_type != "application/json":
            raise Refusal(406, "Not acceptable: the content type must be application/json")
        if len(request.body) > MAX_REQUEST_BYTES:
            raise Refusal(413, f"Request too large: at most {MAX_REQUEST_BYTES} bytes")
        if self._account.credits <= 0:
            raise Refusal(406, "Insufficient credits")
        return read_chat(request.body)

    def _check_slug(self, slug: str) -> None:
        if not _SLUG.fullmatch(slug) or "claude" not in slug:
            raise Refusal(404, "Model not found")
        status = self.behaviour.refused_slugs.get(slug)
        if status is not None:
            raise Refusal(status, f"{slug}: {responses.get(status, 'Refused')}")

    def _check_rate(self) -> None:
        behaviour = self.behaviour
        if behaviour.rate_limit is None:
            return
        window_s = behaviour.rate_window_s
        wait_s = self._rate.admit(self._clock(), limit=behaviour.rate_limit, window_s=window_s)
        if wait_s > 0:
            soon = {"retry-after": str(math.ceil(wait_s))} if behaviour.sends_retry_after else {}
            raise Refusal(429, "Rate limit exceeded: too many requests", headers=soon)


def _status_answer(job: SimJob, state: JobState) -> SimAnswer:
    """Answer a poll; a FAILED job comes as 422 with its error in the body."""
    content: dict[str, object] = {"status": state, "request_id": job.request_id, "metrics": {}}
    if state in ("COMPLETED", "FAILED"):
        content["metrics"] = dict(job.metrics)
    if state != "FAILED":
        return json_answer(content)
    return json_answer({**content, "error": job.error}, status=422)


def _presented(request: SimRequest) -> dict[AuthForm, str]:
    """Find the keys that came, by the header form that carried them."""
    scheme, _, bearer = request.header("authorization").partition(" ")
    keys: dict[AuthForm, str] = {
        "x-api-key": request.header("x-api-key"),
        "bearer": bearer.strip() if scheme.lower() == "bearer" else "",
    }
    return {form: key for form, key in keys.items() if key}
