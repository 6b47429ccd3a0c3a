"""A loopback server that does as it is told, a clock that leaps, and a journal for the tests."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import selectors
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from hypothesis import HealthCheck, settings
from scripted import Gateway

from segmind_jupyter.session import _only_session, session
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

# How long an example takes is the machine's affair; no test asserts a time. CI repeats the same
# examples, so that a change is judged by itself.
settings.register_profile(
    "untimed",
    deadline=None,
    max_examples=150,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
# Chosen by --hypothesis-profile where another interpreter has tried them all.
settings.register_profile("brief", settings.get_profile("untimed"), max_examples=20)
settings.load_profile("untimed")

KEY = "sk-live-0123456789abcdef"


def pytest_sessionstart() -> None:
    """Let interrupts in, which are tested: a shell ignores them for what it runs behind (`&`)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays anyway: `%reset` before each test collects all."""
    gc.collect()
    gc.freeze()


def reply_body(text: str = "A sunset.", **fields: Any) -> dict[str, Any]:
    """The vendor's documented v1 answer."""
    return {
        "id": "msg_abc123",
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "model": "claude-4-sonnet",
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 56, "output_tokens": 31},
        **fields,
    }


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def blocks(self) -> list[dict[str, Any]]:
        """The content blocks of the last message."""
        content: list[dict[str, Any]] = self.json["messages"][-1]["content"]
        return content


@dataclass
class Recorder:
    """What the server was sent, and what it is to answer: `(status, headers, body)`."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    answers: list[Callable[[Request], tuple[int, dict[str, str], bytes]]] = field(
        default_factory=list
    )
    #: Set once a request is waiting for `release`.
    asked: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]

    def will_say(self, text: str, **fields: Any) -> None:
        self.will_answer(200, reply_body(text, **fields))

    def will_answer(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append(lambda request: (status, named, data))

    def will_hang(self) -> None:
        """Answer only once `release` is set."""

        def hang(request: Request) -> tuple[int, dict[str, str], bytes]:
            self.asked.set()
            self.release.wait(60)
            return 200, {}, json.dumps(reply_body()).encode()

        self.answers.append(hang)

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(request)
        if self.answers:
            return self.answers.pop(0)(request)
        return 200, {}, json.dumps(reply_body()).encode()


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop whose seconds pass at once as soon as nothing can run.

    Threads take no time of it: while one is at work, its time stands still.
    """

    def __init__(self) -> None:
        self._leaping = LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now_s

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        """Run a story to its end."""

        async def told() -> Any:
            threads = self._leaping.threads = anyio.to_thread.current_default_thread_limiter()
            threads.total_tokens = 1  # so that they end in the order in which they began
            return await story

        return self.run_until_complete(told())

    def end(self) -> None:
        """Cancel what still runs, and close the loop."""
        self.run(self.abandon())
        self.run_until_complete(self.shutdown_asyncgens())
        self.close()

    async def abandon(self) -> None:
        """Cancel all other tasks, as if what ran them had ended."""
        tasks = asyncio.all_tasks(self) - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class LeapingSelector(selectors.DefaultSelector):
    """Leaps over every wait for a time; waits in earnest for threads alone."""

    now_s = 1000.0
    threads: anyio.CapacityLimiter | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self.threads is not None and self.threads.borrowed_tokens:
            return super().select(None)
        if timeout is None:  # a thread under another limiter may still go on
            ready = super().select(60.0)
            assert ready, "everything waits, and nothing is left that could wake it"
            return ready
        self.now_s += timeout
        return []


@pytest.fixture
def leaping_loop() -> type[LeapingLoop]:
    """The kind of event loop whose seconds pass at once."""
    return LeapingLoop


@pytest.fixture(scope="session", autouse=True)
def state_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the tests' jobs and replies out of the journal of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path_factory.mktemp("state")))
        # Nor is the keyring of whoever runs them asked.
        patch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
        # A model's pace is for those who look on.
        patch.setenv("SEGMIND_SIMULATOR_SPEED", "6")
        yield


@pytest.fixture
def restart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A key, a journal of its own, and a process that has sent nothing yet; again when called."""
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path / "state"))

    def restart() -> None:
        session().close()
        _only_session.cache_clear()

    restart()
    yield restart
    restart()


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway on loopback whose jobs end at once, to which calls go."""
    gateway = Gateway(Behaviour(credits=1e6))
    with serve(gateway) as url:
        monkeypatch.setenv("SEGMIND_BASE_URL", url)
        monkeypatch.setattr("segmind_jupyter.api.watch.next_poll", lambda *_: 0.02)
        yield gateway


@pytest.fixture
def gateway(loopback: Gateway, restart: Callable[[], None]) -> Gateway:
    """The same, with a process that has sent nothing yet, and that ends before the gateway."""
    return loopback


@pytest.fixture
def program() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start programs of their own, with warnings as errors."""
    with contextlib.ExitStack() as programs:

        def start(code: str, **pipes: Any) -> subprocess.Popen[str]:
            pipes = {**dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE), **pipes}
            command = [sys.executable, "-u", "-W", "error", "-c", textwrap.dedent(code)]
            program = programs.enter_context(subprocess.Popen(command, text=True, **pipes))
            programs.callback(program.kill)
            return program

        yield start


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    """A server on a free loopback port; `SEGMIND_BASE_URL` is not set here."""
    recorder = Recorder()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = int(self.headers.get("content-length", 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(length)
            if len(body) < length:  # the client gave up while it sent: nothing was asked
                self.close_connection = True
                return
            request = Request(self.command, self.path, headers, body)
            status, extra, data = recorder.answer(request)
            try:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                for name, value in extra.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                self.close_connection = True  # the client went away, as it may

        do_GET = do_POST = _handle  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    recorder.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield recorder
    recorder.release.set()
    server.shutdown()
    thread.join()
    server.server_close()
