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
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import responses
from typing import Any
from urllib.parse import parse_qs, urlsplit

from segmind_jupyter.simulator.answers import compose, cost, failure
from segmind_jupyter.simulator.protocol import (
    AuthForm,
    Behaviour,
    Fault,
    FaultScript,
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

    request_id: str
    queued_until_s: float
    done_at_s: float
    expires_at_s: float
    output: str = field(default="", repr=False)
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)

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
        self._history: deque[dict[str, Any]] = deque(maxlen=_LOG_LENGTH)
        self._clock = clock
        self._lock = threading.Lock()
        self._credits = self.behaviour.credits
        self._billed = 0
        self._admitted_at_s: deque[float] = deque()
        self._jobs: dict[str, SimJob] = {}
        self._faults = FaultScript()

    @property
    def billed(self) -> int:
        """How many calls were charged. A job is charged when it is queued, unless it fails."""
        return self._billed

    @property
    def credits(self) -> float:
        """Dollars left on the account, never below zero."""
        return self._credits

    def script(self, match: str = "", **outcome: Any) -> None:
        """Force the outcome of the next requests that match; see `Fault` for each parameter."""
        self._faults.add(Fault(match=match, **outcome))

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
        status = None if answer.drop else answer.status
        auth = "+".join(_presented(request)) or "none"
        self.log.append(LogEntry(request.method, request.path, status, auth, self._clock()))
        return replace(answer, body=b"") if request.method == "HEAD" else answer

    def _served(self, request: SimRequest) -> SimAnswer:
        try:
            method, serve = self._endpoint(request)
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
            return refusal.answer()

    def _endpoint(self, request: SimRequest) -> tuple[str, Callable[[], SimAnswer]]:
        """Find the one method that a path takes, and what serves it."""
        match request.segments:
            case ["v1", "get-user-credits"]:
                return "GET", lambda: json_answer({"credits": self._credits, "free-credits": 0.0})
            case ["v2", "requests", request_id, "status"]:
                return "GET", partial(self._show, request_id, result=False)
            case ["v2", "requests", request_id]:
                return "GET", partial(self._show, request_id, result=True)
            case ["v1", slug] if slug:
                return "POST", partial(self._chat, request, slug)
            case ["v2", slug] if slug:
                return "POST", partial(self._queue, request, slug)
            case ["inference-request", "request-history", *rest]:
                return "GET", partial(self._show_history, request, rest)
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

    def _charge(self, price: float) -> float:
        """Spend `price` dollars, or the rest where less is left, and return what remains."""
        with self._lock:
            self._credits = max(0.0, self._credits - price)
            self._billed += 1
            return self._credits

    def _chat(self, request: SimRequest, slug: str) -> SimAnswer:
        """Serve a v1 call: the whole answer, after the model's time."""
        chat = self._admit(request, slug)
        latency_s = self.behaviour.latency_s
        if (reason := failure(chat)) is not None:
            self._note(uuid.uuid4().hex, slug, request, latency_s, error=reason)
            raise Refusal(400, reason)
        request_id = uuid.uuid4().hex
        answer = compose(chat, slug=slug, talks=self.behaviour.talks)
        price = cost(answer)
        self._note(request_id, slug, request, latency_s, price=price)
        headers = {
            "x-request-id": request_id,
            "x-cost": f"{price:.6f}",
            "x-remaining-credits": f"{self._charge(price):.6f}",
            "x-generation-time": f"{latency_s:.2f}",
        }
        return json_answer(answer, headers=headers, delay_s=latency_s)

    def _queue(self, request: SimRequest, slug: str) -> SimAnswer:
        """Serve a v2 call: the job's id now, the rest when it is asked for."""
        chat = self._admit(request, slug)
        request_id, now_s, behaviour = uuid.uuid4().hex, self._clock(), self.behaviour
        done_at_s = now_s + behaviour.queue_s + behaviour.work_s
        metrics = {"inference_time": behaviour.work_s, "queue_time": behaviour.queue_s}
        output, reason = "", failure(chat)
        if reason is None:
            answer = compose(chat, slug=slug, talks=behaviour.talks)
            price = cost(answer)
            metrics |= {"cost": price, "remaining_credits": self._charge(price)}
            output = json.dumps(answer)
        self._note(
            request_id, slug, request, behaviour.work_s, price=metrics.get("cost"), error=reason
        )
        job = SimJob(
            request_id=request_id,
            queued_until_s=now_s + behaviour.queue_s,
            done_at_s=done_at_s,
            expires_at_s=done_at_s + behaviour.result_life_s,
            output=output,
            error=reason,
            metrics=metrics,
        )
        with self._lock:
            kept = {key: job for key, job in self._jobs.items() if job.expires_at_s > now_s}
            self._jobs = {**kept, request_id: job}
        host = behaviour.poll_host or request.header("host") or "localhost"
        read = f"{request.scheme}://{host}/v2/requests/{request_id}"
        urls = {"poll_url": read, "status_url": f"{read}/status", "response_url": read}
        content = {"request_id": request_id, "status": "QUEUED", **urls}
        return json_answer(content, headers={"x-request-id": request_id})

    def _show(self, request_id: str, *, result: bool) -> SimAnswer:
        """Serve a status or a result; before the end and after a failure these are the same."""
        now_s = self._clock()
        job = self._jobs.get(request_id)
        if job is None or job.expires_at_s <= now_s:
            raise Refusal(404, "Request not found or expired")
        state = job.state(now_s)
        ended = state in ("COMPLETED", "FAILED")
        content: dict[str, object] = {
            "status": state,
            "request_id": request_id,
            "metrics": dict(job.metrics) if ended else {},
        }
        if state == "FAILED":
            return json_answer({**content, "error": job.error}, status=422)
        if result and ended:
            del content["request_id"]  # as on the vendor's page
            content |= {"error": None, "output": job.output}
        return json_answer(content)

    def _note(
        self,
        request_id: str,
        slug: str,
        request: SimRequest,
        seconds: float,
        *,
        price: float | None = None,
        error: str | None = None,
    ) -> None:
        """Keep a call for the request history, with the fields that the vendor's SDK reads."""
        entry = {
            "request_id": request_id,
            "model_name": slug,
            "model_status": "COMPLETED" if error is None else "FAILED",
            "credits_deduction": price or 0.0,
            "request_body": json.loads(request.body),
            "latency_ms": round(seconds * 1000),
            "error": error,
            "model_created": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._history.append(entry)

    def _show_history(self, request: SimRequest, rest: list[str]) -> SimAnswer:
        if rest:
            found = [entry for entry in self._history if entry["request_id"] == rest[0]]
            if not found or len(rest) > 1:
                raise Refusal(404, "Request not found")
            return json_answer(found[0])
        wanted = {
            name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()
        }
        rows = [
            entry
            for entry in reversed(self._history)
            if wanted.get("model_name", "") in entry["model_name"]
            and wanted.get("status") in (None, entry["model_status"])
            and wanted.get("from_date", "") <= entry["model_created"]
            and entry["model_created"][:10] <= wanted.get("to_date", "9999")
        ]
        per_page, page = _whole(wanted.get("per_page"), 20), _whole(wanted.get("page"), 1)
        shown = rows[(page - 1) * per_page : page * per_page]
        return json_answer({"data": shown, "total": len(rows), "page": page, "per_page": per_page})

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
        if self._credits <= 0:
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


def _catalogue() -> SimAnswer:
    return json_answer([{"slug": slug, "is_depreciated": False} for slug in _CATALOGUE])


def _whole(text: str | None, default: int) -> int:
    return min(max(1, int(text)), 100) if text and text.isdecimal() else default


def _presented(request: SimRequest) -> dict[AuthForm, str]:
    """Find the keys that came, by the header form that carried them."""
    scheme, _, bearer = request.header("authorization").partition(" ")
    keys: dict[AuthForm, str] = {
        "x-api-key": request.header("x-api-key"),
        "bearer": bearer.strip() if scheme.lower() == "bearer" else "",
    }
    return {form: key for form, key in keys.items() if key}
