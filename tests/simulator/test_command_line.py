"""`python -m segmind_jupyter.simulator`, as a process of its own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from segmind_jupyter.simulator.__main__ import main

COMMAND = [sys.executable, "-W", "error", "-m", "segmind_jupyter.simulator"]
HELLO = {"messages": [{"role": "user", "content": "echo: hello"}]}


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
            first = process.stdout.readline()
            yield process, re.search(r"http://\S+", first)[0]
        finally:
            process.kill()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_and_ends_cleanly(stop):
    """It prints how to use it, answers, and ends on the signal without a traceback."""
    with started("--latency", "0") as (process, url):
        answer = httpx.post(
            f"{url}/v1/claude-4-sonnet", json=HELLO, headers={"x-api-key": "k"}, trust_env=False
        )
        assert answer.json()["content"][0]["text"] == "hello"
        process.send_signal(stop)
        assert process.wait(timeout=30) == 0
        usage, errors = process.stdout.read(), process.stderr.read()
    assert f"SEGMIND_BASE_URL={url}" in usage
    assert errors == ""


def test_its_options_reach_the_gateway():
    """Keys, header form, credits and the rate limit of the command line hold."""
    options = ["--key", "good", "--auth", "bearer", "--credits", "2.5", "--rate-limit", "1"]
    with (
        started(*options, "--latency", "0", "--queue", "0", "--work", "0") as (_, url),
        httpx.Client(base_url=url, trust_env=False) as client,
    ):
        good = {"authorization": "Bearer good"}
        credits = client.get("/v1/get-user-credits", headers=good).json()["credits"]
        assert credits == 2.5
        assert client.get("/v1/get-user-credits", headers={"x-api-key": "good"}).status_code == 401
        job = client.post("/v2/claude-4-sonnet", json=HELLO, headers=good).json()
        assert client.get(job["status_url"], headers=good).json()["status"] == "COMPLETED"
        again = client.post("/v1/claude-4-sonnet", json=HELLO, headers=good)
        assert again.status_code == 429


def test_its_rate_limit_can_count_reads():
    """With that option a read after the last call of the window is refused."""
    with (
        started("--rate-limit", "1", "--limit-reads", "--latency", "0") as (_, url),
        httpx.Client(base_url=url, headers={"x-api-key": "k"}, trust_env=False) as client,
    ):
        assert client.post("/v1/claude-4-sonnet", json=HELLO).status_code == 200
        assert client.get("/v1/get-user-credits").status_code == 429


def test_verbose_shows_each_request_and_no_key():
    """With that option the requests are written to standard error, without headers."""
    with started("--verbose") as (process, url):
        httpx.get(f"{url}/v1/get-user-credits", headers={"x-api-key": "sesame"}, trust_env=False)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        errors = process.stderr.read()
    assert '"GET /v1/get-user-credits HTTP/1.1" 200' in errors
    assert "sesame" not in errors


def test_a_port_in_use_is_told_in_one_line():
    """The second on a port says so and fails."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = subprocess.run(
            [*COMMAND, "--port", str(port)], capture_output=True, text=True, check=False
        )
    assert ran.returncode == 1
    assert re.fullmatch(rf"Cannot listen on 127\.0\.0\.1:{port}: .+\n", ran.stderr)


@pytest.mark.parametrize("option", ["--latency=-1", "--work=nan", "--credits=inf", "--queue=soon"])
def test_amounts_must_be_numbers_of_at_least_zero(option, capsys):
    """A value that cannot work is refused by name before anything is started."""
    with pytest.raises(SystemExit) as stopped:
        main([option])
    assert stopped.value.code == 2
    assert "is not a number of at least 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--port", "99999"],
        ["--port", "-1"],
        ["--rate-limit", "0"],
        ["--rate-limit", "-1"],
        ["--latency", "nan"],
    ],
)
def test_an_option_out_of_range_is_refused_in_a_line(options, capsys):
    """No traceback; the message names the value."""
    with pytest.raises(SystemExit) as caught:
        main(options)
    assert caught.value.code == 2
    assert options[1] in capsys.readouterr().err
