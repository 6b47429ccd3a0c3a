"""The simulated gateway as an HTTP server on the loopback interface, for any client.

Knows sockets and HTTP, and leaves every decision to the gateway.
"""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from segmind_jupyter.simulator.gateway import MAX_REQUEST_BYTES, Gateway
from segmind_jupyter.simulator.protocol import SimAnswer, SimRequest


@contextmanager
def serve(
    gateway: Gateway | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> Iterator[str]:
    """Serve `gateway` for the length of a ``with`` block, and yield the base URL.

    Only this machine can reach the default host; port 0 takes a free one. On leaving, answers that
    still wait are dropped, and every thread has ended.
    """
    server = _Server((host, port), gateway or Gateway())
    often_s = 0.05  # seconds between the server's looks at whether it should stop
    thread = threading.Thread(
        target=server.serve_forever, args=(often_s,), name="segmind-simulator", daemon=True
    )
    thread.start()
    try:
        bound_host, bound_port = server.server_address[:2]
        yield f"http://{bound_host!s}:{bound_port}"
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """One thread a connection, which carries one request, as HTTP/1.0 has it."""

    daemon_threads = False  # threads are joined on closing, and so leave no open socket
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], gateway: Gateway) -> None:
        self.gateway = gateway
        self.closing = threading.Event()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without looking up the host's full name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that went away; anything else is a fault of ours and is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Turns bytes into a `SimRequest`, and a `SimAnswer` into bytes."""

    server_version = "segmind-simulator"
    timeout = 5  # seconds without a byte, after which a connection is closed
    wbufsize = -1  # head and body leave in one packet
    server: _Server

    def _exchange(self) -> None:
        told = self.headers.get("content-length", "0")
        # Of what is too long so much is read that the gateway refuses it.
        length = min(int(told) if told.isdecimal() else 0, MAX_REQUEST_BYTES + 1)
        body = self.rfile.read(length)
        if len(body) < length:  # the client left before its end
            return
        request = SimRequest(self.command, self.path, dict(self.headers.items()), body)
        answer = self.server.gateway.handle(request)
        if not self.server.closing.wait(answer.delay_s):
            self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _exchange  # noqa: N815 - looked up by these names

    def _send(self, answer: SimAnswer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
