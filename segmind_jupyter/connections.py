"""The clients of a process, and what follows the jobs of each; on the background loop alone.

A client stays open when the settings change: a request may be on its way there.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segmind_jupyter.api.client import SegmindClient
    from segmind_jupyter.api.settings import Settings
    from segmind_jupyter.api.store import Store
    from segmind_jupyter.api.watch import Watch


class Connections:
    """The open clients and their watches. The loop's thread alone touches it: no lock is needed."""

    def __init__(self) -> None:
        # By process: a forked child must neither use nor drop the parent's connections. And by
        # loop: those of one that died are of no use to the next.
        self._clients: dict[tuple[int, asyncio.AbstractEventLoop, Settings], SegmindClient] = {}
        # By journal too: what began under another one ends there.
        self._watches: dict[tuple[SegmindClient, Store], Watch] = {}

    def client(self, settings: Settings) -> SegmindClient:
        """Give the client for these settings."""
        from segmind_jupyter.api.client import SegmindClient

        key = os.getpid(), asyncio.get_running_loop(), settings
        if key not in self._clients:
            self._clients[key] = SegmindClient(settings=settings)
        return self._clients[key]

    def watch(self, settings: Settings, journal: Store, **how: Any) -> Watch:
        """Give what submits and follows jobs under these settings.

        Parameters
        ----------
        settings
            Where they go.
        journal
            Where they are noted.
        **how
            As `Watch` takes it.

        Raises
        ------
        SettingsError
            The settings cannot work.
        """
        from segmind_jupyter.api.watch import Watch

        key = self.client(settings), journal
        if key not in self._watches:
            self._watches[key] = Watch(key[0], journal=journal, place=_place(), **how)
        return self._watches[key]

    @property
    def are_open(self) -> bool:
        """Whether this process has opened any; it can be asked on any thread."""
        return any(pid == os.getpid() for pid, _, _ in self._clients.copy())

    async def close(self) -> None:
        """Close those of this process; watches first, which let ids come in."""
        loop = asyncio.get_running_loop()
        mine = [key for key in self._clients if key[0] == os.getpid()]
        clients = {self._clients.pop(key): key[1] for key in mine}
        watches = [self._watches.pop(key) for key in list(self._watches) if key[0] in clients]
        live = [client for client, home in clients.items() if home is loop]
        await asyncio.gather(*(watch.close() for watch in watches if watch.client in live))
        for client in live:
            await client.aclose()


def _place() -> str:
    """Name where this process' jobs come from: the notebook, where the server tells it."""
    session = os.environ.get("JPY_SESSION_NAME", "")
    return os.path.basename(session) or f"process {os.getpid()}"
