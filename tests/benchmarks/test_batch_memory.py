"""A thousand images through one batch: what it holds does not grow with how many there are."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PILImage

from segmind_jupyter.api.messages import Call, Ledger
from segmind_jupyter.api.watch import JobManager
from segmind_jupyter.batch.items import PromptTemplate
from segmind_jupyter.batch.results import Results
from segmind_jupyter.batch.runner import Plan, Run
from segmind_jupyter.content.convert import to_blocks
from segmind_jupyter.simulator.protocol import Behaviour, SimRequest

pytestmark = pytest.mark.benchmark

ITEMS, EARLY, LATE, IN_FLIGHT = 1000, 300, 900, 16

#: Pages of memory that the process has in use (proc(5)).
STATM = Path("/proc/self/statm")


class Noise:
    """A picture that is drawn when it is asked for, and compresses badly."""

    random = np.random.default_rng(0)

    def _repr_claude_(self) -> Any:
        pixels = self.random.integers(0, 255, (200, 200, 3), dtype=np.uint8)
        return PILImage.fromarray(pixels)


@dataclass
class Desk:
    """What a batch is sent from, on a watch whose clock leaps."""

    only_watch: JobManager
    ledger: Ledger

    def watch(self) -> JobManager:
        return self.only_watch


class Held:
    """What was held when `EARLY` and when `LATE` items were done, and most calls at a time."""

    def __init__(self, results: Results) -> None:
        self.mb: dict[int, float] = {}
        self.most_calls = 0
        self._results = results
        results.on_change(self._look)

    def _look(self) -> None:
        done, in_flight = self._results.progress.done, self._results.progress.in_flight
        if done % 100 or in_flight < IN_FLIGHT:
            return
        calls = sum(type(thing) is Call for thing in gc.get_objects())
        self.most_calls = max(self.most_calls, calls)
        if done in (EARLY, LATE) and done not in self.mb:
            gc.collect()
            self.mb[done] = int(STATM.read_text().split()[1]) * 4096 / 1e6


def blindfolded(gateway: type) -> type:
    """Make a gateway that does not look at the images: reading so many takes its time."""
    content = [{"type": "text", "text": "echo: a short reply"}]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()

    class Blindfolded(gateway):
        def handle(self, request: SimRequest) -> Any:
            if request.method == "POST":
                request = dataclasses.replace(request, body=body)
            return super().handle(request)

    return Blindfolded


@pytest.mark.skipif(not STATM.exists(), reason="tells the memory in use from Linux's /proc")
def test_1000_images_in_one_batch_take_no_more_room_than_those_in_flight(
    varied, loop, make_round, tell
):
    """Of an item that is done its reply alone is left; no more are encoded than are in flight."""
    forgetful = Behaviour(credits=1e9, result_life_s=5.0)
    gateway = blindfolded(varied)([0.0], forgetful, clock=loop.time)
    gateway.log = deque(maxlen=10)  # what the gateway remembers is not ours
    image_bytes = len(str(to_blocks(Noise())))
    each = PromptTemplate("{item}", [Noise() for _ in range(ITEMS)])
    plan = Plan(
        call=Call(model="claude-4-sonnet", messages=()),
        max_in_flight=IN_FLIGHT,
        resumes=True,
        stops_at_error=False,
    )
    results, round_ = Results(len(each)), make_round(gateway)
    held = Held(results)
    loop.run(Run(each, results, plan, Desk(round_.watch, Ledger()))())
    round_.journal.close()
    early_mb, late_mb = held.mb[EARLY], held.mb[LATE]
    all_mb = image_bytes * (LATE - EARLY) / 1e6
    tell(
        in_use=f"{early_mb:.0f} MB after {EARLY} items, {late_mb:.0f} MB after {LATE:,}",
        images_between=f"{all_mb:.0f} MB",
        calls_at_a_time=held.most_calls,
    )
    assert results.errors == {}
    assert results.progress.done == ITEMS
    assert late_mb - early_mb < all_mb / 4
    assert 1 <= held.most_calls <= IN_FLIGHT
