"""The simulated gateway behind an `httpx` transport, in the same process and without a socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.to_thread
import httpx

from segmind_jupyter import simulator
from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import SimRequest


class SimulatorTransport(httpx.AsyncBaseTransport):
    """Carries requests to a `Gateway`, to that of this process if none is given.

    This is what a client uses whose base URL is ``simulator``. Any host will do: the path alone
    decides. An answer that would come after the request's read time-out shows as
    `httpx.ReadTimeout`, with the work done all the same.
    """

    def __init__(
        self,
        gateway: Gateway | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self.gateway = gateway or simulator.shared()
        self._sleep = sleep

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request of the client's."""
        asked = SimRequest(
            method=request.method,
            path=request.url.raw_path.decode("ascii"),
            headers=request.headers,
            body=await request.aread(),
            scheme=request.url.scheme,
        )
        # Decoding images takes long enough to hold up the loop that every job shares.
        answer = await anyio.to_thread.run_sync(self.gateway.handle, asked)
        read_s = request.extensions.get("timeout", {}).get("read")
        if read_s is not None and answer.delay_s > read_s:
            await self._sleep(read_s)
            raise httpx.ReadTimeout("(simulated) no answer in time", request=request)
        if answer.delay_s > 0:
            await self._sleep(answer.delay_s)
        return httpx.Response(
            answer.status, headers=dict(answer.headers), content=answer.body, request=request
        )
