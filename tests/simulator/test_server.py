"""The loopback server, over real sockets."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

V1 = "/v1/claude-4-sonnet"
V2 = "/v2/claude-4-sonnet"
KEY = {"x-api-key": "k"}
HELLO = {"messages": [{"role": "user", "content": "echo: hello"}]}


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def base_url(gateway) -> Iterator[str]:
    with serve(gateway) as url:
        yield url


@pytest.fixture
def client(base_url) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base_url, headers=KEY, trust_env=False) as client:
        yield client


@pytest.fixture
def wire(base_url) -> Iterator[socket.socket]:
    """Give a bare connection, for requests that no client library would send."""
    parts = urlsplit(base_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        yield connection


def received(connection: socket.socket) -> bytes:
    """Read until the server closes."""
    chunks = []
    while chunk := connection.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)


def test_it_listens_on_the_loopback_interface_alone(base_url):
    """The default address is reachable from this machine only."""
    assert urlsplit(base_url).hostname == "127.0.0.1"


def test_v1_over_http(client):
    """A call and its headers arrive over a socket as they come from the core."""
    answer = client.post(V1, json=HELLO)
    assert answer.status_code == 200
    assert answer.json()["content"][0]["text"] == "hello"
    assert answer.headers["x-simulated"] == "1"
    assert float(answer.headers["x-cost"]) > 0


def test_a_job_is_read_over_the_urls_that_it_names(client, base_url):
    """The URLs of a submit answer lead back to the very server that gave them."""
    job = client.post(V2, json=HELLO).json()
    assert job["response_url"].startswith(f"{base_url}/v2/requests/")
    assert client.get(job["status_url"]).json()["status"] == "COMPLETED"
    assert "hello" in client.get(job["response_url"]).json()["output"]


def test_many_requests_go_over_one_connection(base_url):
    """The connection is kept alive over answers, refusals and HEAD."""
    parts = urlsplit(base_url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.connect()
        first = connection.sock
        for method, path, status in [
            ("GET", "/v1/get-user-credits", 200),
            ("HEAD", "/v1/get-user-credits", 200),
            ("GET", V1, 405),
            ("OPTIONS", V1, 200),
            ("GET", "/v1/get-user-credits?x=1", 200),
        ]:
            connection.request(method, path, headers=KEY)
            answer = connection.getresponse()
            answer.read()
            assert (method, answer.status) == (method, status)
        assert connection.sock is first
    finally:
        connection.close()


def test_concurrent_clients_never_get_anothers_reply(base_url, gateway):
    """Sixteen threads with thirty-two clients, v1 and v2: each reads its own words."""

    def exchange(number: int) -> tuple[str, str]:
        body = {"messages": [{"role": "user", "content": f"echo:{number}"}]}
        with httpx.Client(base_url=base_url, headers=KEY, trust_env=False) as client:
            direct = client.post(V1, json=body).json()
            job = client.post(V2, json=body).json()
            queued = json.loads(client.get(job["response_url"]).json()["output"])
        return direct["content"][0]["text"], queued["content"][0]["text"]

    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(exchange, range(32)))
    assert replies == [(str(number), str(number)) for number in range(32)]
    assert gateway.billed == 64
    assert len(gateway.log) == 96


def test_a_slow_answer_times_out_in_the_client_and_does_not_hold_the_server():
    """The client's read time-out is its own; leaving the block ends the waiting thread."""
    gateway = Gateway(Behaviour(latency_s=3600))
    before = set(threading.enumerate())
    with (
        serve(gateway) as url,
        httpx.Client(base_url=url, headers=KEY, timeout=0.2, trust_env=False) as client,
        pytest.raises(httpx.ReadTimeout),
    ):
        client.post(V1, json=HELLO)
    assert gateway.billed == 1
    assert not set(threading.enumerate()) - before


def test_leaving_the_block_ends_idle_connections_and_frees_the_port():
    """A client that stays connected keeps neither a thread nor the port."""
    before = set(threading.enumerate())
    with serve() as url:
        client = httpx.Client(base_url=url, headers=KEY, trust_env=False)
        assert client.get("/v1/get-user-credits").status_code == 200
    assert not set(threading.enumerate()) - before
    with pytest.raises(httpx.TransportError):
        client.get("/v1/get-user-credits")
    client.close()
    with serve(port=urlsplit(url).port) as again:
        assert again == url


def test_a_port_in_use_is_an_error(base_url):
    """Two servers on one port: the second is told."""
    with pytest.raises(OSError, match="in use"), serve(port=urlsplit(base_url).port):
        pass


@pytest.mark.parametrize(("drop", "billed"), [("before_work", 0), ("after_work", 1)])
def test_lost_connections_are_transport_errors(client, gateway, drop, billed):
    """The socket is closed without an answer; the next call has a new one and succeeds."""
    gateway.script(drop=drop)
    with pytest.raises(httpx.TransportError):
        client.post(V1, json=HELLO)
    assert gateway.billed == billed
    assert client.post(V1, json=HELLO).status_code == 200


def test_a_connection_lost_after_the_work_is_reset(client, gateway):
    """The reset reaches the client as a ReadError, as where a proxy dies."""
    gateway.script(drop="after_work")
    with pytest.raises(httpx.ReadError):
        client.post(V1, json=HELLO)


def test_forced_answers_arrive_as_scripted(client, gateway):
    """Status, headers and body of a script go over the wire unchanged."""
    gateway.script(status=502, body="<h1>Bad Gateway</h1>", headers={"Retry-After": "2"})
    answer = client.post(V1, json=HELLO)
    assert (answer.status_code, answer.text) == (502, "<h1>Bad Gateway</h1>")
    assert answer.headers["retry-after"] == "2"


def test_a_body_over_32_megabytes_is_answered_413(client):
    """The server reads on, so that the client hears the gateway's refusal."""
    headers = {"content-type": "application/json"}
    assert client.post(V1, content=b" " * 32_000_001, headers=headers).status_code == 413


def test_a_body_over_40_megabytes_is_answered_413_and_not_kept(client, gateway):
    """Beyond what is kept the server itself refuses, and the core never sees the request."""
    headers = {"content-type": "application/json"}
    answer = client.post(V1, content=b" " * 40_000_001, headers=headers)
    assert answer.status_code == 413
    assert "error" in answer.json()
    assert not gateway.log


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /v1/claude-4-sonnet HTTP/1.1\r\n\r\n", b"411"),
        (b"POST /v1/claude-4-sonnet HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST /v1/claude-4-sonnet HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"POST /v1/claude-4-sonnet HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (
            b"POST /v1/claude-4-sonnet HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"400",
        ),
        (b"BREW /v1/claude-4-sonnet HTTP/1.1\r\n\r\n", b"501"),
        (b"nonsense\r\n\r\n", b"400"),
    ],
)
def test_a_body_of_unknown_length_is_refused_and_the_connection_closed(wire, head, status):
    """What cannot be framed is answered once; nothing after it is taken for a request."""
    wire.sendall(head)
    answer = received(wire)
    assert status in answer.partition(b"\r\n")[0]
    assert answer.count(b"HTTP/1.1 ") <= 1


def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_request(wire, gateway, base_url):
    """Half a body is dropped without an answer, and the server goes on."""
    wire.sendall(b"POST /v1/claude-4-sonnet HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
    wire.shutdown(socket.SHUT_WR)
    assert received(wire) == b""
    assert not gateway.log
    assert httpx.get(f"{base_url}/nowhere", trust_env=False).status_code == 404


def test_a_client_that_leaves_in_the_middle_of_an_oversized_body_is_let_go(wire, gateway):
    """A body that is only announced ends with its client; the server does not wait for more."""
    wire.sendall(b"POST /v1/claude-4-sonnet HTTP/1.1\r\nContent-Length: 999999999999\r\n\r\n{")
    wire.shutdown(socket.SHUT_WR)
    assert b" 413 " in received(wire).partition(b"\r\n")[0]
    assert not gateway.log


def test_a_client_that_leaves_before_the_answer_leaves_no_traceback(capfd):
    """Clients that reset their connection are everyday life, not an error to print."""
    with serve() as url:
        parts = urlsplit(url)
        for _ in range(5):
            with socket.create_connection((parts.hostname, parts.port)) as gone:
                no_lingering = struct.pack("ii", 1, 0)
                gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, no_lingering)
                gone.sendall(b"GET /v1/get-user-credits HTTP/1.1\r\nx-api-key: k\r\n\r\n" * 50)
        assert httpx.get(f"{url}/nowhere", trust_env=False).status_code == 404
    assert capfd.readouterr().err == ""


def test_a_fault_of_the_gateway_itself_is_shown(client, gateway, capfd):
    """An exception in a script's own function is not swallowed."""
    gateway.script(change=lambda body: body["no such key"])
    with pytest.raises(httpx.TransportError):
        client.post(V1, json=HELLO)
    assert "no such key" in capfd.readouterr().err
