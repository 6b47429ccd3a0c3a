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
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import responses
from typing import Any
from urllib.parse import parse_qs

from segmind_jupyter.simulator.answers import compose, cost, failure
from segmind_jupyter.simulator.protocol import (
    AuthForm,
    Behaviour,
    Fault,
    Refusal,
    SimAnswer,
    SimRequest,
    json_answer,
)
from segmind_jupyter.simulator.requests import ChatRequest, read_chat

#: Most bytes of one request (Anthropic's published 32 MB).
MAX_REQUEST_BYTES = 32_000_000

#: How many requests the log and the history remember.
_LOG_LENGTH = 10_000
_HISTORY_LENGTH = 1_000

_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]*")

_HTML_405 = b"<!doctype html>\n<title>405</title>\n<h1>Method Not Allowed</h1>\n"

#: What the catalogue lists; a request for any other Claude slug is answered too.
_CATALOGUE = ("claude-4-sonnet", "claude-4.5-sonnet", "claude-opus-4.7", "claude-3.5-sonnet")


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request that came, for tests to count."""

    method: str
    path: str
    status: int | None
    auth: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SimJob:
    """One queued request. Its outcome is known when it is queued, and shown when it is due."""

    queued_until_s: float
    done_at_s: float
    expires_at_s: float
    output: str
    error: str | None
    metrics: dict[str, float]

    def state(self, now_s: float) -> str:
        """Return the state at `now_s`, as the model page names it."""
        if now_s < self.queued_until_s:
            return "QUEUED"
        if now_s < self.done_at_s:
            return "PROCESSING"
        return "COMPLETED" if self.error is None else "FAILED"


class Gateway:
    """Segmind's v1 and v2 chat protocol, simulated. Safe to use from several threads."""

    def __init__(
        self, behaviour: Behaviour | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.log: deque[LogEntry] = deque(maxlen=_LOG_LENGTH)
        #: Dollars left on the account, never below zero.
        self.credits = self.behaviour.credits
        #: How many calls were charged. A job is charged when it is queued, unless it fails.
        self.billed = 0
        #: How many of the next calls the model declines to answer.
        self.declining = 0
        self._history: deque[dict[str, Any]] = deque(maxlen=_HISTORY_LENGTH)
        self._clock = clock
        self._lock = threading.Lock()
        self._admitted_at_s: deque[float] = deque()
        self._jobs: dict[str, SimJob] = {}
        self._faults: list[Fault] = []

    def script(self, match: str = "", **outcome: Any) -> None:
        """Force the outcome of the next requests that match; see `Fault` for each parameter."""
        fault = Fault(match=match, **outcome)
        with self._lock:
            self._faults += [fault] * fault.times

    def clear_script(self) -> None:
        """Forget the forced outcomes that nothing has matched yet."""
        with self._lock:
            self._faults.clear()

    def handle(self, request: SimRequest) -> SimAnswer:
        """Answer one request. Never raises for anything that a client can send."""
        path, _, query = request.path.partition("?")
        serve = partial(self._served, request, path.strip("/").split("/"), query)
        with self._lock:
            target, faults = f"{request.method} {path}", self._faults
            due = next((n for n, f in enumerate(faults) if target.startswith(f.match)), None)
            fault = None if due is None else faults.pop(due)
        answer = serve() if fault is None else fault.applied(serve)
        marks = {"x-simulated": "1", "x-request-id": uuid.uuid4().hex}
        answer = replace(answer, headers={**marks, **answer.headers})
        status = None if answer.drop else answer.status
        auth = "+".join(_presented(request)) or "none"
        self.log.append(LogEntry(request.method, request.path, status, auth, self._clock()))
        return replace(answer, body=b"") if request.method == "HEAD" else answer

    def _served(self, request: SimRequest, segments: list[str], query: str) -> SimAnswer:
        try:
            method, serve = self._endpoint(request, segments, query)
            if request.method == "OPTIONS":
                return SimAnswer(200, {"allow": f"{method}, OPTIONS"})
            if request.method != method and (request.method, method) != ("HEAD", "GET"):
                headers = {"content-type": "text/html; charset=utf-8", "allow": method}
                return SimAnswer(405, headers, _HTML_405)
            if serve is not _catalogue:
                self._authorise(request)
            if method == "GET" and self.behaviour.rate_limits_reads:
                self._check_rate()
            return serve()
        except Refusal as refusal:
            return refusal.answer

    def _endpoint(
        self, request: SimRequest, segments: list[str], query: str
    ) -> tuple[str, Callable[[], SimAnswer]]:
        """Find the one method that a path takes, and what serves it."""
        match segments:
            case ["v1", "get-user-credits"]:
                return "GET", lambda: json_answer({"credits": self.credits, "free-credits": 0.0})
            case ["v2", "requests", request_id, "status"]:
                return "GET", partial(self._show, request_id, result=False)
            case ["v2", "requests", request_id]:
                return "GET", partial(self._show, request_id, result=True)
            case ["v1" | "v2" as version, slug] if slug:
                return "POST", partial(self._call, request, slug, queued=version == "v2")
            case ["inference-request", "request-history", *rest]:
                return "GET", partial(self._show_history, rest, query)
            case ["inference-model-information", "list"]:
                return "GET", _catalogue
        raise Refusal(404, "Endpoint not found")

    def _authorise(self, request: SimRequest) -> None:
        accepted = self.behaviour.keys
        presented = _presented(request)
        for form, key in presented.items():
            if form in self.behaviour.auth and (accepted is None or key in accepted):
                return
        if not presented:
            raise Refusal(401, "Missing Authorization or x-api-key in header")
        raise Refusal(401, "Unauthorized: API key is invalid")

    def _call(self, request: SimRequest, slug: str, *, queued: bool) -> SimAnswer:
        """Serve a model call: v1's whole answer after the model's time, or v2's id of a job."""
        chat = self._admit(request, slug)
        request_id, now_s, behaviour = uuid.uuid4().hex, self._clock(), self.behaviour
        seconds = behaviour.work_s if queued else behaviour.latency_s
        answer: dict[str, Any] = {}
        price, reason = 0.0, failure(chat)
        if reason is None:
            with self._lock:
                declines = self.declining > 0
                self.declining -= declines
            answer = compose(chat, slug=slug, talks=behaviour.talks, declines=declines)
            price = cost(answer)
        with self._lock:
            left = self.credits = max(0.0, self.credits - price)
            self.billed += reason is None
            self._history.append(
                {  # the fields that the vendor's SDK reads
                    "request_id": request_id,
                    "model_name": slug,
                    "model_status": "COMPLETED" if reason is None else "FAILED",
                    "credits_deduction": price,
                    "request_body": chat.outline,
                    "latency_ms": round(seconds * 1000),
                    "error": reason,
                    "model_created": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            )
        if not queued:
            if reason is not None:
                raise Refusal(400, reason)
            headers = {
                "x-request-id": request_id,
                "x-cost": f"{price:.6f}",
                "x-remaining-credits": f"{left:.6f}",
                "x-generation-time": f"{seconds:.2f}",
            }
            return replace(json_answer(answer, headers=headers), delay_s=seconds)
        metrics = {"inference_time": behaviour.work_s, "queue_time": behaviour.queue_s}
        if reason is None:
            metrics |= {"cost": price, "remaining_credits": left}
        done_at_s = now_s + behaviour.queue_s + behaviour.work_s
        job = SimJob(
            queued_until_s=now_s + behaviour.queue_s,
            done_at_s=done_at_s,
            expires_at_s=done_at_s + behaviour.result_life_s,
            output=json.dumps(answer),
            error=reason,
            metrics=metrics,
        )
        with self._lock:
            while self._jobs and next(iter(self._jobs.values())).expires_at_s <= now_s:
                del self._jobs[next(iter(self._jobs))]
            self._jobs[request_id] = job
        host = behaviour.poll_host or request.header("host") or "localhost"
        read = f"{request.scheme}://{host}/v2/requests/{request_id}"
        urls = {"poll_url": read, "status_url": f"{read}/status", "response_url": read}
        content = {"request_id": request_id, "status": "QUEUED", **urls}
        return json_answer(content, headers={"x-request-id": request_id})

    def _admit(self, request: SimRequest, slug: str) -> ChatRequest:
        """Read a model call, or refuse it: first for what costs nothing to check."""
        if not _SLUG.fullmatch(slug) or "claude" not in slug:
            raise Refusal(404, "Model not found")
        if (status := self.behaviour.refused_slugs.get(slug)) is not None:
            raise Refusal(status, f"{slug}: {responses.get(status, 'Refused')}")
        self._check_rate()
        content_type = request.header("content-type").partition(";")[0].strip().lower()
        if content_type != "application/json":
            raise Refusal(406, "Not acceptable: the content type must be application/json")
        if len(request.body) > MAX_REQUEST_BYTES:
            raise Refusal(413, f"Request too large: at most {MAX_REQUEST_BYTES} bytes")
        if self.credits <= 0:
            raise Refusal(406, "Insufficient credits")
        return read_chat(request.body)

    def _check_rate(self) -> None:
        """Let one call into the sliding window, or refuse it until there is room again."""
        limit, window_s = self.behaviour.rate_limit, self.behaviour.rate_window_s
        if limit is None:
            return
        with self._lock:
            now_s, times_s = self._clock(), self._admitted_at_s
            while times_s and times_s[0] <= now_s - window_s:
                times_s.popleft()
            if len(times_s) < limit:
                times_s.append(now_s)
                return
            wait_s = (times_s[0] if times_s else now_s) + window_s - now_s
        headers = {}
        if self.behaviour.sends_retry_after:
            headers["retry-after"] = str(math.ceil(wait_s))
        if self.behaviour.sends_reset:
            reset = datetime.now(UTC) + timedelta(seconds=wait_s)
            headers["x-rate-limit-reset-at-utc"] = reset.isoformat(timespec="milliseconds")
        raise Refusal(429, "Rate limit exceeded: too many requests", headers=headers)

    def _show(self, request_id: str, *, result: bool) -> SimAnswer:
        """Serve a status or a result; before the end and after a failure these are the same."""
        now_s, job = self._clock(), self._jobs.get(request_id)
        if job is None or job.expires_at_s <= now_s:
            raise Refusal(404, "Request not found or expired")
        state = job.state(now_s)
        ended = state in ("COMPLETED", "FAILED")
        content = {"status": state, "metrics": dict(job.metrics) if ended else {}}
        if state == "FAILED":
            failed = {**content, "request_id": request_id, "error": job.error}
            return json_answer(failed, status=422)
        if result and ended:  # without its id, as on the vendor's page
            return json_answer({**content, "error": None, "output": job.output})
        return json_answer({**content, "request_id": request_id})

    def _show_history(self, rest: list[str], query: str) -> SimAnswer:
        with self._lock:
            entries = list(self._history)
        if rest:
            found = [entry for entry in entries if [entry["request_id"]] == rest]
            if not found:
                raise Refusal(404, "Request not found")
            return json_answer(found[0])
        wanted = {name: values[0] for name, values in parse_qs(query).items()}
        rows = [
            entry
            for entry in reversed(entries)
            if wanted.get("model_name", "") in entry["model_name"]
            and wanted.get("status") in (None, entry["model_status"])
            and wanted.get("from_date", "") <= entry["model_created"]
            and entry["model_created"][:10] <= wanted.get("to_date", "9999")
        ]
        per_page, page = (
            min(max(1, int(wanted[name][:9])), 100) if wanted.get(name, "").isdecimal() else default
            for name, default in (("per_page", 20), ("page", 1))
        )
        shown = rows[(page - 1) * per_page : page * per_page]
        return json_answer({"data": shown, "total": len(rows), "page": page, "per_page": per_page})


def _catalogue() -> SimAnswer:
    return json_answer([{"slug": slug, "is_depreciated": False} for slug in _CATALOGUE])


def _presented(request: SimRequest) -> dict[AuthForm, str]:
    """Find the keys that came, by the header form that carried them."""
    scheme, _, bearer = request.header("authorization").partition(" ")
    keys: dict[AuthForm, str] = {
        "x-api-key": request.header("x-api-key"),
        "bearer": bearer.strip() if scheme.lower() == "bearer" else "",
    }
    return {form: key for form, key in keys.items() if key}
