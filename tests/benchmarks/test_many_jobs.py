"""Hundreds of jobs through a narrow and failing gateway, and thousands in one process."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour

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
