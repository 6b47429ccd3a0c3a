"""A batch of a thousand images, on a clock that leaps."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage
from scripted import Gateway

from segmind_jupyter.api.client import SegmindClient
from segmind_jupyter.api.journal import Journal
from segmind_jupyter.api.messages import Call, Ledger
from segmind_jupyter.api.watch import JobManager
from segmind_jupyter.batch import Batch
from segmind_jupyter.batch.items import PromptTemplate
from segmind_jupyter.batch.runner import Plan, Run
from segmind_jupyter.content.convert import to_blocks
from segmind_jupyter.simulator.inprocess import SimulatorTransport
from segmind_jupyter.simulator.protocol import Behaviour, SimRequest

pytestmark = pytest.mark.benchmark

#: Pages of memory that the process has in use (proc(5)).
STATM = Path("/proc/self/statm")


@dataclass
class Desk:
    """What a batch is sent from."""

    manager: JobManager
    ledger: Ledger = field(default_factory=Ledger)

    def watch(self) -> JobManager:
        return self.manager


@pytest.fixture
def loop(leaping_loop: type) -> Iterator[Any]:
    loop = leaping_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.fixture
def send(loop: Any, tmp_path: Path) -> Callable[..., Batch]:
    """Send a batch through a gateway, to its end."""

    def send(gateway: Gateway, items: list[Any], *, watch: Any = None, **how: Any) -> Batch:
        journal = Journal(tmp_path / "jobs.sqlite3")
        where = {"base_url": "https://api.example", "transport": SimulatorTransport(gateway)}
        manager = JobManager(
            SegmindClient("k", clock=loop.time, **where), journal=journal, clock=loop.time
        )
        call = Call(model="claude-4-sonnet", messages=())
        plan = Plan(call=call, resumes=True, stops_at_error=False, **how)
        each = PromptTemplate("{item}", items)
        batch = Batch(each, plan, clock=loop.time)
        if watch is not None:
            batch.on_change(lambda batch: watch(batch.progress))
        loop.run(Run(each, batch, plan, Desk(manager))())
        journal.close()
        return batch

    return send


class Noise:
    """A picture that is drawn when it is asked for, and compresses badly."""

    random = np.random.default_rng(0)

    def _repr_claude_(self) -> Any:
        return PILImage.fromarray(self.random.integers(0, 255, (200, 200, 3), dtype=np.uint8))


class Blindfolded(Gateway):
    """Does not look at the images: reading so many takes its time."""

    def handle(self, request: SimRequest) -> Any:
        if request.method == "POST":
            content = [{"type": "text", "text": "echo: a short reply"}]
            body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
            request = dataclasses.replace(request, body=body)
        return super().handle(request)


@pytest.mark.skipif(not STATM.exists(), reason="tells the memory in use from Linux's /proc")
def test_1000_images_in_one_batch_take_no_more_room_than_those_in_flight(loop, send, tell):
    """Of an item that is done its reply alone is left; no more are encoded than are in flight."""
    items, in_flight, early, late = 1000, 16, 300, 900
    gateway = Blindfolded(Behaviour(credits=1e9, result_life_s=5.0), clock=loop.time)
    gateway.log = deque(maxlen=10)  # what the gateway remembers is not ours
    mb: dict[int, float] = {}
    calls: list[int] = []

    def watch(progress: Any) -> None:
        if progress.done % 100:
            return
        calls.append(sum(type(thing) is Call for thing in gc.get_objects()))
        if progress.done in (early, late) and progress.done not in mb:
            gc.collect()
            mb[progress.done] = int(STATM.read_text().split()[1]) * 4096 / 1e6

    all_mb = len(str(to_blocks(Noise()))) * (late - early) / 1e6
    batch = send(gateway, [Noise() for _ in range(items)], watch=watch, max_in_flight=in_flight)
    tell(
        in_use=f"{mb[early]:.0f} MB after {early} items, {mb[late]:.0f} MB after {late:,}",
        images_between=f"{all_mb:.0f} MB",
        calls_at_a_time=max(calls),
    )
    assert (batch.errors, batch.progress.done) == ({}, items)
    assert mb[late] - mb[early] < all_mb / 4
    assert 1 <= max(calls) <= in_flight + 1  # and that from which all others are made
