"""Programs of their own on one journal: what each pays for, and what is left of one that died."""

from __future__ import annotations

import contextlib
import os
import pickle
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest
from scripted import Gateway

from segmind_jupyter import Job, ask_each, resume, submit
from segmind_jupyter.api.journal import default_path
from segmind_jupyter.errors import MaybeBilledError
from segmind_jupyter.simulator.protocol import Behaviour, SimAnswer, SimRequest
from segmind_jupyter.simulator.server import serve


@pytest.fixture
def gateway(restart: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """A gateway on loopback."""
    gateway = Gateway(Behaviour(credits=1e6, work_s=0.2))
    with serve(gateway) as url:
        monkeypatch.setenv("SEGMIND_BASE_URL", url)
        yield gateway
        restart()


@pytest.fixture
def kernel(program: Any) -> Callable[[str], subprocess.Popen[str]]:
    """Start programs that do something once they are told to."""
    begin = "import sys; from segmind_jupyter import ask_each; sys.stdin.readline()\n"
    return lambda code: program(begin + code)


def go(*kernels: subprocess.Popen[str]) -> None:
    for kernel in kernels:
        kernel.stdin.write("go\n")
        kernel.stdin.flush()


def posts(gateway: Gateway) -> int:
    return sum(entry.method == "POST" for entry in tuple(gateway.log))


def test_two_kernels_with_one_batch_send_each_item_once(gateway, kernel):
    """Both have all replies, in order; the one waits for what the other is sending."""
    gateway.script("POST", times=10, delay_s=0.2)
    items = [str(n) for n in range(40)]
    code = f"print(*[reply.text for reply in ask_each('echo: {{item}}', {items}).replies])"
    kernels = [kernel(code) for _ in range(2)]
    go(*kernels)
    told = [each.communicate(timeout=100) for each in kernels]
    assert told == [(" ".join(items) + "\n", "")] * 2
    assert posts(gateway) == gateway.billed == 40


def test_what_a_killed_kernel_was_sending_may_have_been_billed(gateway, kernel):
    """The next run says so of that item alone and sends it no more, until it is asked to."""
    gateway.script("POST", delay_s=30.0, after_work=True)
    program = kernel("ask_each('echo: {item}', ['a', 'b', 'c'], max_in_flight=1).wait()")
    go(program)
    while not gateway.log and not gateway.billed:
        assert program.poll() is None
    program.kill()
    program.communicate(timeout=60)
    with contextlib.closing(sqlite3.connect(default_path())) as journal, journal:
        journal.execute("UPDATE sends SET beat_at = beat_at - 60")  # a minute later
    gateway.clear_script()
    gateway.log.clear()
    for _ in range(2):
        batch = ask_each("echo: {item}", ["a", "b", "c"]).wait()
        assert [reply and reply.text for reply in batch.replies] == [None, "b", "c"]
        (error,) = batch.errors.values()
        assert isinstance(error, MaybeBilledError)
        assert all(word in str(error) for word in ("%segmind history", "resume=False"))
    assert posts(gateway) == 2
    assert ask_each("echo: {item}", ["a"], resume=False).replies[0].text == "a"
    assert ask_each("echo: {item}", ["a", "b", "c"]).wait().progress.kept == 3
    assert posts(gateway) == 3


def test_a_job_is_pickled_as_its_id_and_comes_back_in_another_process(gateway, kernel, tmp_path):
    """With its reply from the journal, or followed; neither the key nor what was asked travels."""
    job = submit("echo: a secret prompt")
    data = pickle.dumps(job)
    assert os.environ["SEGMIND_API_KEY"].encode() not in data
    assert b"secret" not in data
    assert pickle.loads(data) is job
    (tmp_path / "job").write_bytes(data)
    other = kernel(
        f"import pickle; job = pickle.load(open({str(tmp_path / 'job')!r}, 'rb'))\n"
        "print(job.request_id, job.model, job.wait(timeout=60).text)"
    )
    go(other)
    told = f"{job.request_id} {job.model} a secret prompt\n"
    assert other.communicate(timeout=60)[0] == told
    job.wait(timeout=60)
    again = pickle.loads(data)
    assert isinstance(again, Job)
    assert again is not job
    assert again.reply.text == resume(job.request_id).reply.text == "a secret prompt"
    assert posts(gateway) == 1


class Billing(Gateway):
    """Counts how often each body was taken, whatever its sender heard of that."""

    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__(behaviour)
        self.taken: Counter[bytes] = Counter()

    def handle(self, request: SimRequest) -> SimAnswer:
        answer = super().handle(request)
        if request.method == "POST" and answer.status == 200:
            self.taken[request.body] += 1
        return answer


#: What both kernels of the next test run. One answer in twenty is no `Guess`.
THOUSAND = """
import json
from dataclasses import dataclass
from typing import Literal
import pandas as pd
from segmind_jupyter import ask_each

@dataclass
class Guess:
    label: Literal["even", "odd"]
    score: int

def answer(n):
    label = ("even", "odd")[n % 2]
    return f"no such thing as {n}" if n % 20 == 7 else json.dumps({"label": label, "score": n})

answers = [answer(n) for n in range(1000)]
rows = pd.DataFrame({"answer": answers}, index=[f"row {n}" for n in range(1000)])
batch = ask_each("echo: {answer}", rows, json=Guess, progress=False)
"""


@pytest.mark.heavy
def test_a_thousand_rows_through_misfits_502s_and_a_killed_kernel(kernel, restart, monkeypatch):
    """Every row is right or says why not, none is billed twice, dtypes are as asked for."""
    gateway = Billing(Behaviour(credits=1e6, work_s=0.05))
    for _ in range(40):
        gateway.script("POST", times=49)
        gateway.script("POST", status=502)
    with serve(gateway) as url:
        monkeypatch.setenv("SEGMIND_BASE_URL", url)
        killed = kernel(THOUSAND + "batch.wait()")
        go(killed)
        while gateway.billed < 500:
            assert killed.poll() is None
        killed.kill()
        killed.communicate(timeout=60)
        runs = []
        for _ in range(3):  # what was answered with a 502 is sent by the next run
            names: dict[str, Any] = {"__name__": __name__}
            exec(compile(THOUSAND, "cell", "exec", dont_inherit=True), names)
            runs.append(names["batch"].wait(200))
        frame = runs[-1].join()
        restart()
    assert (str(frame["label"].dtype), str(frame["score"].dtype)) == ("category", "Int64")
    lost = set(runs[-1].errors)
    assert all(isinstance(error, MaybeBilledError) for error in runs[-1].errors.values())
    assert len(lost) <= 4  # those on their way when the kernel died: no more are sent at a time
    for n, (label, score, error) in enumerate(
        zip(frame["label"], frame["score"], frame["error"], strict=True)
    ):
        if n in lost:
            assert "may have been billed" in error
        elif n % 20 == 7:
            assert f"'no such thing as {n}'" in error
        else:
            assert (label, score, pd.isna(error)) == (("even", "odd")[n % 2], n, True)
    assert set(gateway.taken.values()) == {1}
    assert 1000 - len(lost) <= gateway.billed == len(gateway.taken) <= 1000
