"""The loopback server over real sockets, and `python -m segmind_jupyter.simulator`."""

from __future__ import annotations

import json
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from segmind_jupyter.simulator.__main__ import main
from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

V1 = "/v1/claude-4-sonnet"
V2 = "/v2/claude-4-sonnet"
CREDITS = "/v1/get-user-credits"
KEY = {"x-api-key": "k"}
HELLO = {"messages": [{"role": "user", "content": "echo: hello"}]}


def connected(url: str, **options: object) -> httpx.Client:
    return httpx.Client(base_url=url, headers=KEY, trust_env=False, **options)


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


def received(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def test_concurrent_clients_never_get_anothers_reply(base_url, gateway):
    """Sixteen threads, v1 and v2 over the URLs that it names: each reads its own words."""

    def exchange(number: int) -> tuple[str, str]:
        body = {"messages": [{"role": "user", "content": f"echo:{number}"}]}
        with connected(base_url) as client:
            direct = client.post(V1, json=body).json()
            job = client.post(V2, json=body).json()
            assert job["response_url"].startswith(f"{base_url}/v2/requests/")
            queued = json.loads(client.get(job["response_url"]).json()["output"])
        return direct["content"][0]["text"], queued["content"][0]["text"]

    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(exchange, range(32)))
    assert replies == [(str(number), str(number)) for number in range(32)]
    assert (gateway.billed, len(gateway.log)) == (64, 96)
    assert urlsplit(base_url).hostname == "127.0.0.1"


def test_leaving_the_block_ends_waiting_and_idle_connections_and_frees_the_port():
    """A client's read time-out is its own; none keeps a thread or the port."""
    before = set(threading.enumerate())
    gateway = Gateway(Behaviour(latency_s=3600))
    with serve(gateway) as url, connected(url, timeout=0.2) as client:
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


def test_lost_connections_are_transport_errors(client, gateway):
    """Closed without an answer, or reset as where a proxy dies; the next call succeeds."""
    for drop, error, billed in (
        ("before_work", httpx.TransportError, 0), ("after_work", httpx.ReadError, 2),
    ):  # fmt: skip
        gateway.script(drop=drop)
        with pytest.raises(error):
            client.post(V1, json=HELLO)
        assert gateway.billed == billed
        assert client.post(V1, json=HELLO).json()["content"][0]["text"] == "hello"


def test_forced_answers_arrive_as_scripted(client, gateway, capfd):
    """Unchanged; an exception in a script's own function is not swallowed."""
    gateway.script(status=502, body="<h1>Bad Gateway</h1>", headers={"Retry-After": "2"})
    answer = client.post(V1, json=HELLO)
    assert (answer.status_code, answer.text) == (502, "<h1>Bad Gateway</h1>")
    assert answer.headers["retry-after"] == "2"
    gateway.script(change=lambda body: body["no such key"])
    with pytest.raises(httpx.TransportError):
        client.post(V1, json=HELLO)
    assert "no such key" in capfd.readouterr().err


def test_an_oversized_body_is_answered_413(client, gateway):
    """The server reads on, so that the client hears it; beyond 40 MB the core sees nothing."""
    headers = {"content-type": "application/json"}
    assert client.post(V1, content=b" " * 40_000_001, headers=headers).status_code == 413
    assert not gateway.log
    assert client.post(V1, content=b" " * 32_000_001, headers=headers).status_code == 413


def test_a_body_of_unknown_length_is_refused_and_the_connection_closed(base_url, gateway):
    """Answered once; a client that leaves within its body is no request, and is let go."""
    post = b"POST /v1/claude-4-sonnet HTTP/1.1\r\n"
    for head, status in (
        (post + b"\r\n", b"411"),
        (post + b"Transfer-Encoding: chunked\r\n\r\n", b"411"),
        (post + b"Content-Length: -1\r\n\r\n", b"400"),
        (post + b"Content-Length: x\r\n\r\n", b"400"),
        (post + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"BREW /v1/claude-4-sonnet HTTP/1.1\r\n\r\n", b"501"),
        (b"nonsense\r\n\r\n", b"400"),
        (post + b"Content-Length: 100\r\n\r\n{", None),
        (post + b"Content-Length: 999999999999\r\n\r\n{", b"413"),
    ):
        with wire(base_url) as connection:
            connection.sendall(head)
            if head.endswith(b"{"):
                connection.shutdown(socket.SHUT_WR)
            answer = received(connection)
        assert (status in answer.partition(b"\r\n")[0]) if status else answer == b"", head
        assert answer.count(b"HTTP/1.1 ") <= 1
    assert not gateway.log


def test_a_client_that_leaves_before_the_answer_leaves_no_traceback(base_url, client, capfd):
    """Clients that reset their connection are everyday life, not an error to print."""
    for _ in range(5):
        with wire(base_url) as gone:
            no_time = struct.pack("ii", 1, 0)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_time)
            gone.sendall(b"GET /v1/get-user-credits HTTP/1.1\r\nx-api-key: k\r\n\r\n" * 50)
    assert client.get("/nowhere").status_code == 404
    assert capfd.readouterr().err == ""


# The command line

COMMAND = [sys.executable, "-W", "error", "-m", "segmind_jupyter.simulator"]


@contextmanager
def started(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command, and give the process and the base URL that it printed."""
    with subprocess.Popen(
        [*COMMAND, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process, re.search(r"http://\S+", process.stdout.readline())[0]
        finally:
            process.kill()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_ends_cleanly(stop):
    """It prints how to use it, shows requests where asked (and no key), and ends in silence."""
    verbose = ["--verbose"] if stop == signal.SIGINT else []
    with started("--latency", "0", *verbose) as (process, url), connected(url) as client:
        answer = client.post(V1, json=HELLO, headers={"x-api-key": "sesame"})
        assert answer.json()["content"][0]["text"] == "hello"
        process.send_signal(stop)
        assert process.wait(timeout=30) == 0
        usage, errors = process.stdout.read(), process.stderr.read()
    assert f"SEGMIND_BASE_URL={url}" in usage
    assert (f'"POST {V1} HTTP/1.1" 200' in errors) if verbose else errors == ""
    assert "sesame" not in errors


def test_its_options_reach_the_gateway():
    """Keys, header form, credits, paces and the rate limit of the command line hold."""
    options = "--key good --auth bearer --credits 2.5 --rate-limit 2 --limit-reads --work 0"
    with started(*options.split(), "--queue", "0") as (_, url), connected(url) as client:
        assert client.get(CREDITS, headers={"x-api-key": "good"}).status_code == 401
        client.headers["authorization"] = "Bearer good"
        job = client.post(V2, json=HELLO).json()
        assert client.get(job["status_url"]).json()["status"] == "COMPLETED"
        assert client.get(CREDITS).status_code == 429
    with started("--credits", "2.5") as (_, url), connected(url) as client:
        assert client.get(CREDITS).json()["credits"] == 2.5


def test_a_port_in_use_is_told_in_one_line(base_url):
    """The second on a port says so and fails."""
    port = str(urlsplit(base_url).port)
    ran = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert re.fullmatch(rf"Cannot listen on 127\.0\.0\.1:{port}: .+\n", ran.stderr)


def test_an_option_out_of_range_is_refused_in_a_line(capsys):
    """Before anything is started, naming the value."""
    for option in (
        "--latency=-1", "--work=nan", "--credits=inf", "--queue=soon", "--port=99999", "--port=-1",
        "--rate-limit=0", "--rate-limit=1.5",
    ):  # fmt: skip
        with pytest.raises(SystemExit) as stopped:
            main([option])
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        assert f"{option.partition('=')[2]!r} is not a " in said
