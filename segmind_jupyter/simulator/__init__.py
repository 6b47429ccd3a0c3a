"""The gateway's protocol, offline: one pure core behind a transport and a loopback server."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import (
    DEMO,
    Behaviour,
    SimAnswer,
    SimRequest,
    demo_behaviour,
)
from segmind_jupyter.simulator.server import serve

if TYPE_CHECKING:
    from segmind_jupyter.simulator.inprocess import SimulatorTransport

__all__ = [
    "DEMO",
    "Behaviour",
    "Gateway",
    "SimAnswer",
    "SimRequest",
    "control",
    "serve",
    "shared",
    "transport",
]


def transport(gateway: Gateway | None = None) -> SimulatorTransport:
    """Return an httpx transport for `gateway`; for that of this process if left out.

    This is what a client uses whose base URL is ``simulator``.
    """
    # Here, because it brings httpx, which the server does without.
    from segmind_jupyter.simulator.inprocess import SimulatorTransport

    return SimulatorTransport(gateway or shared())


@functools.cache
def shared() -> Gateway:
    """Return the embedded gateway, one for all clients, so that a job outlives its client."""
    return Gateway(demo_behaviour())


#: What `control` takes: three outcomes of the next calls, a pace, and a limit.
ORDERS = "fail 429|406|504|refusal [TIMES], slow SECONDS, limit N/min; each takes off"


def control(order: str, *words: str) -> str:
    """Set the embedded gateway up as `ORDERS` says, for a demonstration, and say what it does now.

    Raises ValueError for any other words.
    """
    gateway, plain = shared(), demo_behaviour()
    match (order, *words):
        case ("fail", "off"):
            gateway.clear_script()
            gateway.declining = 0
            return "calls are answered again"
        case ("fail", "429" | "406" | "504" | "refusal" as outcome, *times):
            count = int(times[0][:4]) if times and times[0].isdecimal() else 1
            if times not in ([], [str(count)]) or not 0 < count <= 1_000:
                raise ValueError(f"`{' '.join(times)}` is no number of times from 1 to 1000")
            if outcome == "refusal":
                gateway.declining = count
            else:
                # After the work: a 504 leaves open what was billed, and the history tells.
                body = {"error": "Insufficient credits"} if outcome == "406" else None
                gateway.script(
                    "POST", times=count, status=int(outcome), body=body, after_work=outcome == "504"
                )
            return f"the next {'call' if count == 1 else f'{count} calls'} will meet {outcome}"
        case ("slow", pace):
            try:
                seconds = plain.latency_s if pace == "off" else float(pace)
            except ValueError:
                seconds = math.nan
            if not 0 <= seconds < math.inf:
                raise ValueError(f"`{pace}` is no number of seconds")
            work_s = plain.work_s if pace == "off" else seconds
            gateway.behaviour = replace(gateway.behaviour, latency_s=seconds, work_s=work_s)
            return f"a call takes {seconds:g} s"
        case ("limit", "off"):
            gateway.behaviour = replace(gateway.behaviour, rate_limit=None)
            return "calls are not limited"
        case ("limit", limit) if found := re.fullmatch(r"([1-9]\d{0,5})/min", limit):
            gateway.behaviour = replace(gateway.behaviour, rate_limit=int(found[1]))
            return f"{found[1]} calls a minute are taken, and 429 answers more"
    raise ValueError(f"`{' '.join((order, *words))}` is none of {ORDERS}")
