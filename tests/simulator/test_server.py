"""The loopback server over real sockets, and `python -m segmind_jupyter.simulator`."""

from __future__ import annotations

import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from scripted import Gateway

from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

V1 = "/v1/claude-4-sonnet"
V2 = "/v2/claude-4-sonnet"
CREDITS = "/v1/get-user-credits"
HELLO = {"messages": [{"role": "user", "content": "echo: hello"}]}


def connected(url: str, **options: object) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"x-api-key": "k"}, trust_env=False, **options)


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def base_url(gateway) -> Iterator[str]:
    with serve(gateway) as url:
        yield url


@pytest.fixture
def client(base_url) -> Iterator[httpx.Client]:
    with connected(base_url) as client:
        yield client


@contextmanager
def wire(base_url: str) -> Iterator[socket.socket]:
    """Give a bare connection, for requests that no client library would send."""
    parts = urlsplit(base_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        yield connection


def test_leaving_the_block_ends_waiting_and_idle_connections_and_frees_the_port():
    """A client's read time-out is its own; none keeps a thread or the port."""
    before = set(threading.enumerate())
    gateway = Gateway(Behaviour(latency_s=3600))
    with serve(gateway) as url, connected(url, timeout=httpx.Timeout(30, read=1)) as client:
        idle = connected(url)
        assert idle.get(CREDITS).status_code == 200
        with pytest.raises(httpx.ReadTimeout):
            client.post(V1, json=HELLO)
        with pytest.raises(OSError, match="in use"), serve(port=urlsplit(url).port):
            pass
    assert gateway.billed == 1
    assert not set(threading.enumerate()) - before
    with pytest.raises(httpx.TransportError):
        idle.get(CREDITS)
    idle.close()
    with serve(port=urlsplit(url).port) as again:
        assert again == url


def test_what_is_lost_is_a_transport_error(client, gateway, capfd):
    """Clients and servers that go away leave no traceback, a fault of ours does."""
    gateway.script(drop="after_work")
    with pytest.raises(httpx.TransportError):
        client.post(V1, json=HELLO)
    for _ in range(5):
        with wire(str(client.base_url)) as gone:
            no_time = struct.pack("ii", 1, 0)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
            gone.sendall(b"GET /v1/get-user-credits HTTP/1.1\r\nx-api-key: k\r\n\r\n" * 50)
    assert client.get("/nowhere").status_code == 404
    assert capfd.readouterr().err == ""
    gateway.script("POST", change=lambda body: body["no such key"])
    with pytest.raises(httpx.TransportError):
        client.post(V1, json=HELLO)
    assert "no such key" in capfd.readouterr().err


def test_a_body_that_is_too_long_or_breaks_off_is_refused(base_url, client, gateway):
    """Answered once; a client that leaves within its body is no request, and is let go."""
    headers = {"content-type": "application/json"}
    assert client.post(V1, content=b" " * 32_000_001, headers=headers).status_code == 413
    gateway.log.clear()
    post = b"POST /v1/claude-4-sonnet HTTP/1.1\r\n"
    for head, status in (
        (b"BREW /v1/claude-4-sonnet HTTP/1.1\r\n\r\n", b"501"),
        (b"nonsense\r\n\r\n", b"400"),
        (post + b"Content-Length: 100\r\n\r\n{", None),
    ):
        with wire(base_url) as connection:
            connection.sendall(head)
            if head.endswith(b"{"):
                connection.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda c=connection: c.recv(65536), b""))
        assert (status in answer.partition(b"\r\n")[0]) if status else answer == b"", head
    assert not gateway.log


# The command line

COMMAND = [sys.executable, "-W", "error", "-m", "segmind_jupyter.simulator"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_ends_in_silence(stop, monkeypatch):
    """It prints how to use it, and answers at the pace that the environment says."""
    monkeypatch.setenv("SEGMIND_SIMULATOR_SPEED", "instant")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*COMMAND, "--port", "0"], text=True, **pipes) as process:
        try:
            url = re.search(r"http://\S+", process.stdout.readline())[0]
            with connected(url) as client:
                job = client.post(V2, json=HELLO).json()
                assert client.get(job["status_url"]).json()["status"] == "COMPLETED"
            process.send_signal(stop)
            assert process.wait(timeout=30) == 0
            assert f"SEGMIND_BASE_URL={url}" in process.stdout.read()
            assert process.stderr.read() == ""
        finally:
            process.kill()
