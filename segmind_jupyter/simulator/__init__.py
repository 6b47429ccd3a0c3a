"""The gateway's protocol, offline: one pure core behind a transport and a loopback server."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import replace

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import demo_behaviour


@functools.cache
def shared() -> Gateway:
    """Return the embedded gateway, one for all clients, so that a job outlives its client."""
    return Gateway(demo_behaviour())


#: What `control` takes: four outcomes of the next calls, a pace, and a limit.
ORDERS = "fail 429|406|504|refusal [TIMES], slow SECONDS, limit N/min; each takes off"


def control(order: str, *words: str) -> str:
    """Set the embedded gateway up as `ORDERS` says, for a demonstration, and say what it does now.

    Raises ValueError for any other words.
    """
    gateway = shared()
    match (order, *words):
        case ("fail", "off"):
            gateway.troubles.clear()
            return "calls are answered again"
        case ("fail", "429" | "406" | "504" | "refusal" as outcome, *times) if len(times) < 2:
            if not re.fullmatch(r"[1-9]\d{0,2}", count := times[0] if times else "1"):
                raise ValueError(f"`{count}` is no number of times from 1 to 999")
            gateway.troubles.extend([outcome] * int(count))
            return f"the next {'call' if count == '1' else f'{count} calls'} will meet {outcome}"
        case ("slow", pace):
            try:
                seconds = demo_behaviour().latency_s if pace == "off" else float(pace)
            except ValueError:
                seconds = math.nan
            if not 0 <= seconds < math.inf:
                raise ValueError(f"`{pace}` is no number of seconds")
            gateway.behaviour = replace(gateway.behaviour, latency_s=seconds, work_s=seconds)
            return f"a call takes {seconds:g} s"
        case ("limit", "off"):
            gateway.behaviour = replace(gateway.behaviour, rate_limit=None)
            return "calls are not limited"
        case ("limit", limit) if found := re.fullmatch(r"([1-9]\d{0,5})/min", limit):
            gateway.behaviour = replace(gateway.behaviour, rate_limit=int(found[1]))
            return f"{found[1]} calls a minute are taken, and 429 answers more"
    raise ValueError(f"`{' '.join((order, *words))}` is none of {ORDERS}")
