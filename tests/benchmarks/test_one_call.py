"""What one blocking call costs beside a bare request of the HTTP library, in one run."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from segmind_jupyter import ask
from segmind_jupyter.session import _only_session, session

pytestmark = pytest.mark.benchmark

ANSWER = json.dumps(
    {"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer in one packet

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


@pytest.fixture
def url() -> Iterator[str]:
    """A server in a process of its own: in ours it would hold up the two by different amounts."""
    command = [sys.executable, __file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        yield server.stdout.readline().strip()
        server.kill()


def test_a_blocking_call_costs_little_over_a_bare_request(url, monkeypatch, tell, tmp_path):
    """Turn by turn over kept connections, and noted in the journal: about a millisecond."""
    monkeypatch.setenv("SEGMIND_API_KEY", "k" * 20)
    monkeypatch.setenv("SEGMIND_BASE_URL", url)
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path))

    def took_ms(call: Callable[[], object]) -> float:
        begun_s = time.perf_counter()
        call()
        return (time.perf_counter() - begun_s) * 1000

    body = {"messages": [{"role": "user", "content": "Hello"}]}
    with httpx.Client() as client:
        bare = lambda: client.post(f"{url}/v1/claude-4-sonnet", json=body).json()  # noqa: E731
        ours = lambda: ask("Hello")  # noqa: E731
        try:
            times_ms = [(took_ms(bare), took_ms(ours)) for _ in range(400)][100:]
        finally:
            session().close()
            _only_session.cache_clear()
    bare_ms, ours_ms = (statistics.median(each) for each in zip(*times_ms, strict=True))
    tell(bare=f"{bare_ms:.2f} ms", ours=f"{ours_ms:.2f} ms", over=f"{ours_ms - bare_ms:.2f} ms")
    assert ours_ms < 6 * bare_ms


if __name__ == "__main__":
    serve()
