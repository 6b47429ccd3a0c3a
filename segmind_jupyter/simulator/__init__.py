"""The gateway's protocol, offline: one pure core behind a transport and a loopback server."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import DEMO, Behaviour, SimAnswer, SimRequest
from segmind_jupyter.simulator.server import serve

if TYPE_CHECKING:
    from segmind_jupyter.simulator.server import SimulatorTransport

__all__ = ["DEMO", "Behaviour", "Gateway", "SimAnswer", "SimRequest", "serve", "transport"]


def transport(gateway: Gateway | None = None) -> SimulatorTransport:
    """Return an httpx transport for `gateway`; that of this process if left out.

    This is what a client uses whose base URL is ``simulator``. All such clients of a process
    share one gateway at a demonstration's pace, so that a job outlives the client that sent it.
    """
    # Here, because it brings httpx, which the server does without.
    from segmind_jupyter.simulator.server import SimulatorTransport

    return SimulatorTransport(gateway or _shared())


@functools.cache
def _shared() -> Gateway:
    return Gateway(DEMO)
