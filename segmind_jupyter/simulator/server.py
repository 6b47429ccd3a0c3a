"""The simulated gateway as an HTTP server on the loopback interface, for any client.

Knows sockets and HTTP/1.1, and leaves every decision to the gateway.
"""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from segmind_jupyter.simulator.gateway import MAX_REQUEST_BYTES, Gateway
from segmind_jupyter.simulator.protocol import Refusal, SimAnswer, SimRequest


@contextmanager
def serve(
    gateway: Gateway | None = None, *, host: str = "127.0.0.1", port: int = 0
) -> Iterator[str]:
    """Serve `gateway` for the length of a ``with`` block, and yield the base URL.

    Only this machine can reach the default host; port 0 takes a free one. On leaving, open
    connections are closed, answers that still wait are dropped, and every thread has ended.
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
        server.close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """One thread a connection, all of them ended by `close`."""

    daemon_threads = False  # threads are joined on closing, and so leave no open socket
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], gateway: Gateway) -> None:
        self.gateway = gateway
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without looking up the host's full name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def close(self) -> None:
        """Take no more connections, end those there are, and wait for their threads."""
        self.closing.set()
        self.shutdown()
        for connection in list(self._open):
            with suppress(OSError):  # its own thread was quicker
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        self._open.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over clients that went away; anything else is a fault of ours and is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Turns bytes into a `SimRequest`, and a `SimAnswer` into bytes."""

    protocol_version = "HTTP/1.1"
    server_version = "segmind-simulator"
    timeout = 60  # seconds without a byte, after which an idle connection is closed
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body leave in one packet
    server: _Server

    def _exchange(self) -> None:
        told = self.headers.get("content-length", "0")
        if self.headers.get("transfer-encoding") or not (told.isascii() and told.isdigit()):
            self.close_connection = True
            self._send(Refusal(411, "Length required: send one Content-Length header").answer)
            return
        # Of what is too long so much is read that the gateway refuses it.
        length = min(int(told), MAX_REQUEST_BYTES + 1)
        body = self.rfile.read(length)
        self.close_connection |= length < int(told)
        if len(body) < length:  # the client left before its end
            self.close_connection = True
            return
        request = SimRequest(self.command, self.path, dict(self.headers.items()), body)
        answer = self.server.gateway.handle(request)
        if self.server.closing.wait(answer.delay_s):
            self.close_connection = True
        else:
            self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = _exchange  # noqa: N815 - looked up by these names

    def _send(self, answer: SimAnswer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
