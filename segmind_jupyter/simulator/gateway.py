"""The gateway's protocol as a state machine: requests in, answers out, time from a clock.

No I/O and no waiting: whatever carries it (`inprocess`, `server`) sleeps.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from segmind_jupyter.simulator.answers import compose, cost, failure
from segmind_jupyter.simulator.protocol import (
    Behaviour,
    Refusal,
    SimAnswer,
    SimRequest,
    json_answer,
)
from segmind_jupyter.simulator.requests import read_chat

#: Most bytes of one request (Anthropic's published 32 MB).
MAX_REQUEST_BYTES = 32_000_000

#: How many requests the history remembers, and how many it lists.
_HISTORY_LENGTH, _LISTED = 1_000, 100

#: In any such time so many calls are taken as the limit says.
_WINDOW_S = 60.0

_SLUG = re.compile(r"(?=.*claude)[a-z0-9][a-z0-9.-]*")

_HTML_405 = b"<!doctype html>\n<title>405</title>\n<h1>Method Not Allowed</h1>\n"

#: What a call can be made to meet: a refusal, a time-out after the work, a model that declines.
Trouble = Literal["429", "406", "504", "refusal"]


@dataclass(frozen=True, slots=True)
class SimJob:
    """One queued request. Its end is known when it is queued, and shown when it is due."""

    queued_until_s: float
    done_at_s: float
    expires_at_s: float
    end: dict[str, Any]


class Gateway:
    """Segmind's v1 and v2 chat protocol, simulated. Safe to use from several threads."""

    def __init__(
        self, behaviour: Behaviour | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        #: Dollars left on the account, never below zero.
        self.credits = self.behaviour.credits
        #: How many calls were charged. A job is charged when it is queued, unless it fails.
        self.billed = 0
        #: What the next calls are to meet.
        self.troubles: deque[Trouble] = deque()
        self.clock = clock
        self._history: deque[dict[str, Any]] = deque(maxlen=_HISTORY_LENGTH)
        self._lock = threading.Lock()
        self._admitted_at_s: deque[float] = deque()
        self._jobs: dict[str, SimJob] = {}

    def handle(self, request: SimRequest) -> SimAnswer:
        """Answer one request. Never raises for anything that a client can send."""
        try:
            answer = self._answer(request)
        except Refusal as refusal:
            answer = refusal.answer
        except RecursionError:
            answer = Refusal(400, "the body is nested too deeply").answer
        marks = {"x-simulated": "1", "x-request-id": uuid.uuid4().hex}
        return replace(answer, headers={**marks, **answer.headers})

    def _answer(self, request: SimRequest) -> SimAnswer:
        method, serve = "GET", None
        match request.path.partition("?")[0].strip("/").split("/"):
            case ["v1", "get-user-credits"]:
                serve = partial(json_answer, {"credits": self.credits, "free-credits": 0.0})
            case ["v2", "requests", request_id]:
                serve = partial(self._show, request_id, result=True)
            case ["v2", "requests", request_id, "status"]:
                serve = partial(self._show, request_id, result=False)
            case ["inference-request", "request-history", *one] if len(one) < 2:
                serve = partial(self._show_history, *one)
            case ["v1" | "v2" as version, slug] if slug:
                method, serve = "POST", partial(self._call, request, slug, queued=version == "v2")
        if serve is None:
            raise Refusal(404, "Endpoint not found")
        if request.method != method:
            headers = {"content-type": "text/html; charset=utf-8", "allow": method}
            return SimAnswer(405, headers, _HTML_405)
        scheme, _, key = request.header("authorization").partition(" ")
        if not request.header("x-api-key") and not (scheme.lower() == "bearer" and key.strip()):
            raise Refusal(401, "Missing Authorization or x-api-key in header")
        return serve()

    def _call(self, request: SimRequest, slug: str, *, queued: bool) -> SimAnswer:
        """Serve a model call: v1's whole answer after the model's time, or v2's id of a job."""
        self._check_rate()
        with self._lock:
            trouble = self.troubles.popleft() if self.troubles else None
        if trouble == "429":
            raise Refusal(429, "Too Many Requests")
        if not _SLUG.fullmatch(slug):
            raise Refusal(404, "Model not found")
        if len(request.body) > MAX_REQUEST_BYTES:
            raise Refusal(413, f"Request too large: at most {MAX_REQUEST_BYTES} bytes")
        if trouble == "406" or self.credits <= 0:
            raise Refusal(406, "Insufficient credits")
        chat = read_chat(request.body)
        request_id, behaviour = uuid.uuid4().hex, self.behaviour
        answer: dict[str, Any] = {}
        price, reason = 0.0, failure(chat)
        if reason is None:
            declines = trouble == "refusal"
            answer = compose(chat, slug=slug, talks=behaviour.talks, declines=declines)
            price = cost(answer)
        with self._lock:
            left = self.credits = max(0.0, self.credits - price)
            self.billed += reason is None
            self._history.append(
                {  # of the fields that the vendor's SDK reads
                    "request_id": request_id,
                    "model_name": slug,
                    "model_status": "COMPLETED" if reason is None else "FAILED",
                    "credits_deduction": price,
                    "model_created": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            )
        if trouble == "504":  # what came of it is open, and the history tells
            raise Refusal(504, "Gateway Timeout")
        if queued:
            metrics = {"inference_time": behaviour.work_s, "queue_time": behaviour.queue_s}
            end: dict[str, Any] = {"status": "FAILED", "error": reason, "metrics": metrics}
            if reason is None:
                metrics |= {"cost": price, "remaining_credits": left}
                end |= {"status": "COMPLETED", "output": json.dumps(answer)}
            return self._queue(request, request_id, end)
        if reason is not None:
            raise Refusal(400, reason)
        headers = {
            "x-request-id": request_id,
            "x-cost": f"{price:.6f}",
            "x-remaining-credits": f"{left:.6f}",
        }
        return replace(json_answer(answer, headers=headers), delay_s=behaviour.latency_s)

    def _queue(self, request: SimRequest, request_id: str, end: dict[str, Any]) -> SimAnswer:
        now_s, paces = self.clock(), self.behaviour
        queued_until_s = now_s + paces.queue_s
        done_at_s = queued_until_s + paces.work_s
        job = SimJob(queued_until_s, done_at_s, done_at_s + paces.result_life_s, end)
        with self._lock:
            while self._jobs and next(iter(self._jobs.values())).expires_at_s <= now_s:
                del self._jobs[next(iter(self._jobs))]
            self._jobs[request_id] = job
        host = request.header("host") or "localhost"
        read = f"{request.scheme}://{host}/v2/requests/{request_id}"
        urls = {"poll_url": read, "status_url": f"{read}/status", "response_url": read}
        content = {"request_id": request_id, "status": "QUEUED", **urls}
        return json_answer(content, headers={"x-request-id": request_id})

    def _check_rate(self) -> None:
        """Let one call into the sliding window, or refuse it until there is room again."""
        limit = self.behaviour.rate_limit
        if limit is None:
            return
        with self._lock:
            now_s, times_s = self.clock(), self._admitted_at_s
            while times_s and times_s[0] <= now_s - _WINDOW_S:
                times_s.popleft()
            if len(times_s) < limit:
                times_s.append(now_s)
                return
            wait_s = (times_s[0] if times_s else now_s) + _WINDOW_S - now_s
        reset = (datetime.now(UTC) + timedelta(seconds=wait_s)).isoformat(timespec="milliseconds")
        headers = {"x-rate-limit-reset-at-utc": reset}
        raise Refusal(429, "Rate limit exceeded: too many requests", headers)

    def _show(self, request_id: str, *, result: bool) -> SimAnswer:
        """Serve a status or a result; before the end and after a failure these are the same."""
        now_s, job = self.clock(), self._jobs.get(request_id)
        if job is None or job.expires_at_s <= now_s:
            raise Refusal(404, "Request not found or expired")
        if now_s < job.done_at_s:
            state = "QUEUED" if now_s < job.queued_until_s else "PROCESSING"
            return json_answer({"status": state, "request_id": request_id, "metrics": {}})
        if job.end["status"] == "FAILED":
            return json_answer({**job.end, "request_id": request_id}, status=422)
        if result:  # without its id, as on the vendor's page
            return json_answer(job.end)
        seen = {"status": "COMPLETED", "request_id": request_id, "metrics": job.end["metrics"]}
        return json_answer(seen)

    def _show_history(self, request_id: str | None = None) -> SimAnswer:
        newest_first = list(self._history)[::-1]
        if request_id is None:
            return json_answer({"data": newest_first[:_LISTED], "total": len(newest_first)})
        for entry in newest_first:
            if entry["request_id"] == request_id:
                return json_answer(entry)
        raise Refusal(404, "Request not found")
