"""What passes between a client and the simulated gateway, whatever carries it.

Knows no rule of the gateway, and does no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

#: Where a connection is lost: before any work was done, or after all of it.
Drop = Literal["before_work", "after_work"]


@dataclass(frozen=True, slots=True)
class SimRequest:
    """One HTTP request, as the gateway sees it.

    Parameters
    ----------
    method
        In upper case: ``"POST"``.
    path
        The target as sent, with its query if it has one: ``"/v1/claude-4-sonnet"``.
    headers
        Names in any case. Kept out of the ``repr``, because they hold the key.
    body
        The whole body.
    scheme
        ``"http"`` or ``"https"``; the URLs of a v2 answer begin with it.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    scheme: str = "http"

    def header(self, name: str) -> str:
        """Give the value of one header, stripped; ``""`` where it was not sent."""
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
    """One HTTP answer, and how it travels.

    Parameters
    ----------
    status
        The HTTP status.
    headers
        Names in lower case; the carrier adds the length.
    body
        The whole body.
    delay_s
        Seconds that the carrier waits before it hands the answer over.
    drop
        Where the connection is lost, if it is; the client then never sees the answer.
    """

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
