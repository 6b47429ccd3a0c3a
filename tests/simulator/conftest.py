"""What the simulator's tests share: a clock they move, pictures, and calls to the core."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour, SimAnswer, SimRequest

V1 = "/v1/claude-4-sonnet"


class Clock:
    """Seconds that pass only when a test says so."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class Caller:
    """Speaks to one gateway as a client would, without a connection."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    def post(
        self, content: object, path: str = V1, headers: Any = None, **fields: Any
    ) -> SimAnswer:
        """Send one user message; `content` is a string or a list of blocks."""
        body = {"messages": [{"role": "user", "content": content}], **fields}
        return self.post_body(json.dumps(body).encode(), path, headers)

    def post_body(self, body: bytes, path: str = V1, headers: Any = None) -> SimAnswer:
        sent = {"x-api-key": "k", "content-type": "application/json", **(headers or {})}
        return self.gateway.handle(SimRequest("POST", path, sent, body))

    def get(self, path: str, *, key: str = "k") -> SimAnswer:
        return self.gateway.handle(SimRequest("GET", path, {"x-api-key": key}))

    def text(self, content: object, **fields: object) -> str:
        """Give the text of a v1 reply."""
        return str(json.loads(self.post(content, **fields).body)["content"][0]["text"])

    def queue(self, content: object, **fields: object) -> str:
        """Submit a v2 job and give its id."""
        answer = self.post(content, path="/v2/claude-4-sonnet", **fields)
        assert answer.status == 200, answer.body
        return str(json.loads(answer.body)["request_id"])


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def caller(clock: Clock) -> Caller:
    return Caller(Gateway(clock=clock))


@pytest.fixture
def calling(clock: Clock) -> Callable[..., Caller]:
    """Make a caller for a gateway of these settings."""
    return lambda **settings: Caller(Gateway(Behaviour(**settings), clock=clock))


@pytest.fixture
def image_block() -> Callable[..., dict[str, Any]]:
    """Make an image block from a picture, or from bytes that may be no picture."""

    def block(
        picture: Image.Image | bytes, *, media_type: str = "image/png", format: str = "PNG"
    ) -> dict[str, Any]:
        if isinstance(picture, Image.Image):
            file = io.BytesIO()
            picture.save(file, format)
            picture = file.getvalue()
        data = base64.b64encode(picture).decode()
        source = {"type": "base64", "media_type": media_type, "data": data}
        return {"type": "image", "source": source}

    return block


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
