"""A client over a scripted server: real httpx, no network, no waiting."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx
import pytest

from segmind_jupyter.api.client import SegmindClient

KEY = "sk-live-0123456789abcdef"

REPLY = {
    "id": "msg_abc123",
    "type": "message",
    "role": "assistant",
    "content": [{"type": "text", "text": "A sunset."}],
    "model": "claude-4-sonnet",
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 56, "output_tokens": 31},
}

HELLO = [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]


@dataclass
class Server:
    """Answers from a list, the last entry for ever; keeps every request and every wait."""

    answers: list[Any]
    requests: list[httpx.Request] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    now_s: float = 0.0

    def handle(self, request: httpx.Request) -> httpx.Response:
        # A copy: the second attempt of an auth flow changes the headers of the first.
        seen = httpx.Request(
            request.method, request.url, headers=request.headers, content=request.content
        )
        self.requests.append(seen)
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)

    async def sleep(self, delay_s: float) -> None:
        self.waits_s.append(delay_s)
        self.now_s += delay_s

    @property
    def posts(self) -> int:
        return sum(request.method == "POST" for request in self.requests)


@dataclass
class Bench:
    """A client, its server, and a way to run a call to its end."""

    client: SegmindClient
    server: Server

    def run(self, function: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        async def call() -> Any:
            async with self.client:
                return await function(*args, **kwargs)

        return anyio.run(call)

    def chat(self, model: str = "claude-4-sonnet", **kwargs: Any) -> Any:
        return self.run(self.client.chat, model, HELLO, **kwargs)


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """Make a bench whose server gives these answers, one after the other."""

    def make(*answers: Any, api_key: str | None = KEY, **kwargs: Any) -> Bench:
        server = Server([httpx.Response(200, json=REPLY) if a == "reply" else a for a in answers])
        client = SegmindClient(
            api_key,
            transport=httpx.MockTransport(server.handle),
            sleep=server.sleep,
            clock=lambda: server.now_s,
            jitter=lambda: 0.0,
            **kwargs,
        )
        return Bench(client, server)

    return make
