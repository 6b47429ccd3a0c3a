"""The gateway's protocol, offline: one pure core behind a transport and a loopback server."""

from __future__ import annotations

import functools
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
