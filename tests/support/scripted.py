"""The simulated gateway with what tests want of it: forced outcomes, and a log of what came."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.client import responses
from typing import Any, Literal

import httpx

from segmind_jupyter.simulator import gateway
from segmind_jupyter.simulator.protocol import SimAnswer, SimRequest, json_answer


class Refused(httpx.ConnectError, ConnectionError):
    """The connection never opened: what the server of the simulator passes over, too."""


class Lost(httpx.ReadError, ConnectionError):
    """The connection was lost while the answer was awaited."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request that came."""

    method: str
    path: str
    status: int | None
    at_s: float


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One forced outcome, for the next requests whose method and path begin with `match`.

    With `status` the answer is made up; without it the real one is made, and then changed (its
    JSON handed to `change`), delayed or lost.
    """

    match: str = ""
    status: int | None = None
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    after_work: bool = False
    change: Callable[[Any], object] | None = None
    delay_s: float = 0.0
    drop: Literal["before_work", "after_work"] | None = None

    def applied(self, serve: Callable[[], SimAnswer]) -> SimAnswer:
        """Return the forced answer; `serve` does the real work, and is called only if it is."""
        if self.drop == "before_work":
            raise Refused("(simulated) the connection was refused")
        answer = SimAnswer(0)
        if self.status is None or self.after_work or self.drop:
            answer = serve()
        if self.drop:
            raise Lost("(simulated) the connection was lost")
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
        return replace(answer, headers=headers, delay_s=answer.delay_s + self.delay_s)


class Gateway(gateway.Gateway):
    """A simulated gateway that does as it is told, and remembers what it was asked."""

    def __init__(self, *settings: Any, **how: Any) -> None:
        super().__init__(*settings, **how)
        self.log: deque[LogEntry] = deque(maxlen=10_000)
        self._posted: deque[bytes] = deque(maxlen=100)
        #: A host for the URLs of a v2 answer: a lie, which a client must not follow.
        self.poll_host: str | None = None
        self._faults: list[Fault] = []

    @property
    def bodies(self) -> list[Any]:
        """The bodies of the last POSTs."""
        return [json.loads(body) for body in self._posted]

    def script(self, match: str = "", *, times: int = 1, **outcome: Any) -> None:
        """Force the outcome of the next requests that match; see `Fault` for each parameter."""
        self._faults += [Fault(match=match, **outcome)] * times

    def clear_script(self) -> None:
        """Forget the forced outcomes that nothing has matched yet."""
        self._faults.clear()

    def handle(self, request: SimRequest) -> SimAnswer:
        if request.method == "POST":
            self._posted.append(request.body)
        if self.poll_host is not None:
            request = replace(request, headers={**request.headers, "host": self.poll_host})
        target, faults = f"{request.method} {request.path.partition('?')[0]}", self._faults
        with self._lock:
            due = next((n for n, f in enumerate(faults) if target.startswith(f.match)), None)
            fault = Fault() if due is None else faults.pop(due)
        status = None
        try:
            answer = fault.applied(lambda: super(Gateway, self).handle(request))
            status = answer.status
        finally:
            self.log.append(LogEntry(request.method, request.path, status, self.clock()))
        return answer
