"""Hundreds of jobs through a narrow and failing gateway, and thousands in one process."""

from __future__ import annotations

import gc
import itertools
import sys
from collections import deque
from typing import Any

import pytest

from segmind_jupyter.batch.batch import ask_each
from segmind_jupyter.session import _only_session, session
from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

pytestmark = pytest.mark.benchmark


def narrow(limit_per_s: int) -> Behaviour:
    """Take so many requests a second, polls counted."""
    return Behaviour(
        queue_s=0.2,
        rate_limit=limit_per_s,
        rate_window_s=1.0,
        rate_limits_reads=True,
        credits=1e6,
    )


def fail_at_times(gateway: Gateway) -> None:
    """Let every eighth read meet a 502, or lose its answer."""
    for fault in itertools.islice(itertools.cycle([{"status": 502}, {"drop": "after_work"}]), 400):
        gateway.script("GET", times=7)  # these come through
        gateway.script("GET", **fault)


def refused(gateway: Gateway) -> float:
    """Give the part of the requests that was refused as too many."""
    return sum(entry.status == 429 for entry in gateway.log) / len(gateway.log)


def figures_of(gateway: Any) -> dict[str, object]:
    """Say what became of the requests."""
    failed = sum(entry.status in (502, None) for entry in gateway.log) / len(gateway.log)
    return {
        "requests": len(gateway.log),
        "polls_a_job": f"{gateway.polls / gateway.billed:.1f}",
        "refused": f"{refused(gateway):.1%}",
        "failed": f"{failed:.1%}",
    }


def test_300_jobs_come_through_a_narrow_and_failing_gateway(varied, loop, make_round, tell):
    """All replies come in order and each is billed once; next to no request is refused.

    It takes at most two and a half times as long as three requests a job need at that limit.
    """
    jobs, limit_per_s = 300, 40
    gateway = varied([0.5, 1.1, 0.8], narrow(limit_per_s), clock=loop.time)
    fail_at_times(gateway)
    begun_s = loop.time()
    texts = make_round(gateway).run([f"echo: {n}" for n in range(jobs)], in_flight=32)
    took_s, floor_s = loop.time() - begun_s, 3 * jobs / limit_per_s
    tell(**figures_of(gateway), time=f"{took_s:.1f} s, {took_s / floor_s:.2f} of the floor")
    assert texts == [str(n) for n in range(jobs)]
    assert gateway.billed == jobs
    assert refused(gateway) < 1 / 50
    assert took_s < 2.5 * floor_s


def test_a_batch_comes_through_the_same_gateway_on_loopback(varied, monkeypatch, tmp_path, tell):
    """`ask_each` over real connections: all replies in order, each billed once.

    It takes less than twice the time that three requests a job need at that limit, or that this
    machine needs where there is none.
    """
    monkeypatch.setenv("SEGMIND_API_KEY", "k")
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path))

    def run(gateway: Gateway, items: list[str]) -> tuple[list[str], float]:
        with serve(gateway) as url:
            monkeypatch.setenv("SEGMIND_BASE_URL", url)
            try:
                batch = ask_each("{item}", items, progress=False)
                return [reply.text for reply in batch.replies], batch.progress.elapsed_s
            finally:
                session().close()
                _only_session.cache_clear()

    jobs, limit_per_s = 100, 40
    durations_s, items = [0.5, 1.1, 0.8], [f"echo: {n}" for n in range(jobs)]
    _, free_s = run(varied(durations_s), items)
    gateway = varied(durations_s, narrow(limit_per_s))
    fail_at_times(gateway)
    texts, took_s = run(gateway, items)
    floor_s = max(3 * jobs / limit_per_s, free_s)
    tell(
        **figures_of(gateway),
        time=f"{took_s:.1f} s, {took_s / floor_s:.2f} of the floor; without a limit {free_s:.1f} s",
    )
    assert texts == [str(n) for n in range(jobs)]
    assert gateway.billed == jobs
    assert refused(gateway) < 1 / 4
    assert took_s < 2 * floor_s


def test_2000_jobs_leave_nothing_behind_in_memory(varied, loop, make_round, tell):
    """With as many in flight, there are as many objects after 1,900 jobs as after 500."""
    forgetful = Behaviour(credits=1e9, result_life_s=5.0)
    gateway = varied([0.3], forgetful, clock=loop.time)
    # What the gateway remembers is not ours.
    gateway.log, gateway._history = deque(maxlen=100), deque(maxlen=100)
    round_ = make_round(gateway)
    blocks: list[int] = []

    def take(place: int, text: str) -> None:
        """Keep nothing of what comes."""
        round_.replied_s.clear()
        gateway.ends_s.clear()
        if place in (500, 1900):
            gc.collect()
            blocks.append(sys.getallocatedblocks())

    round_.each([f"echo: {n}" for n in range(2000)], take, in_flight=32)
    left_per_job = (blocks[1] - blocks[0]) / 1400
    tell(
        blocks_of_memory=f"{blocks[0]:,} after 500 jobs, {blocks[1]:,} after 1,900",
        left_per_job=f"{left_per_job:.2f}",
    )
    assert left_per_job < 1
