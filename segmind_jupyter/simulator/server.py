"""The simulated gateway as an HTTP server on the loopback interface, for any client.

Knows sockets and HTTP/1.1, and leaves every decision to the gateway.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Refusal, SimAnswer, SimRequest

#: Bodies up to this size are kept, so that the gateway itself can refuse what is over its 32 MB.
MAX_KEPT_BYTES = 40_000_000

_log = logging.getLogger(__name__)


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
        self.resetting: set[socket.socket] = set()
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

    def shutdown_request(self, request: Any) -> None:
        """Close a connection politely (FIN first), unless it is to end in a reset."""
        if request in self.resetting:
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def close_request(self, request: Any) -> None:
        self._open.discard(request)
        self.resetting.discard(request)
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
        try:
            body = self._body()
        except Refusal as refusal:
            self.close_connection = True
            self._send(refusal.answer)
            return
        if body is None:
            self.close_connection = True
            return
        server = self.server
        request = SimRequest(self.command, self.path, dict(self.headers.items()), body)
        answer = server.gateway.handle(request)
        server.closing.wait(answer.delay_s)
        if server.closing.is_set() or answer.drop == "before_work":
            self.close_connection = True
        elif answer.drop == "after_work":
            self.close_connection = True
            server.resetting.add(self.connection)
            # Lingering for no time at all makes closing send a reset (RST).
            no_time = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
        else:
            self._send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = (  # noqa: N815
        _exchange  # the base class looks methods up by these names
    )

    def _body(self) -> bytes | None:
        """Read the body; `None` if the client left before its end."""
        if self.headers.get("transfer-encoding"):
            raise Refusal(411, "Length required: chunked bodies are not accepted")
        lengths = set(self.headers.get_all("content-length", []))
        if not lengths and self.command in ("POST", "PUT", "PATCH"):
            raise Refusal(411, "Length required: send a Content-Length header")
        told = lengths.pop() if lengths else "0"
        if lengths or not (told.isascii() and told.isdigit()):
            raise Refusal(400, "Content-Length: must be one whole number")
        length = int(told)
        if length > MAX_KEPT_BYTES:
            # A client that is still sending does not read an answer.
            while length > 0 and (chunk := self.rfile.read(min(length, 65_536))):
                length -= len(chunk)
            raise Refusal(413, f"Request too large: at most {MAX_KEPT_BYTES} bytes")
        body = self.rfile.read(length)
        return body if len(body) == length else None

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
        """Hand the line to `logging` in place of standard error."""
        _log.info(format, *args)
