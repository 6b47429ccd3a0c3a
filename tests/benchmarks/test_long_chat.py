"""What a turn of a long chat costs: bytes to the page, bytes of the kernel's memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

pytestmark = pytest.mark.benchmark

BEGIN = """
%load_ext segmind_jupyter
import gc, tracemalloc, numpy
from segmind_jupyter import Chat
rng = numpy.random.default_rng(0)
def picture(): return rng.integers(0, 255, (60, 80, 3), dtype="uint8")
def taken(): gc.collect(); print("taken:", tracemalloc.get_traced_memory()[0])
tracemalloc.start()
chat = Chat(mode="v1")
chat"""


@pytest.fixture
def gateway_url() -> Iterator[str]:
    """A gateway outside the kernel: what it remembers is not ours."""
    with serve(Gateway(Behaviour(credits=1e6))) as url:
        yield url


@pytest.fixture
def page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gateway_url: str
) -> Iterator[Callable[[str], Any]]:
    """Run a cell in a kernel, and give all that its page was sent."""
    from jupyter_client.manager import start_new_kernel

    monkeypatch.setenv("SEGMIND_API_KEY", "k")
    monkeypatch.setenv("SEGMIND_BASE_URL", gateway_url)
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path))
    manager, client = start_new_kernel(kernel_name="python3")

    def run(code: str) -> list[Any]:
        message_id, messages = client.execute(code), []
        while True:
            message = client.get_iopub_msg(timeout=60)
            messages.append(message)
            idle = message["content"].get("execution_state") == "idle"
            if idle and message["parent_header"].get("msg_id") == message_id:
                return messages

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.cleanup_resources()


def sizes(messages: Any, *kinds: str) -> list[int]:
    return [len(json.dumps(m["content"])) for m in messages if m["msg_type"] in kinds]


def taken(page: Callable[[str], Any]) -> int:
    """Give the memory that the kernel's Python objects take, in bytes."""
    streams = (m["content"]["text"] for m in page("taken()") if m["msg_type"] == "stream")
    return int("".join(streams).removeprefix("taken:"))


def test_a_late_turn_costs_what_an_early_one_does(page, tell):
    """200 turns with a picture each: the 150th to the 200th, beside the 50th to the 100th."""
    page(BEGIN)
    widgets: list[list[int]] = []
    kept: list[list[int]] = []
    memory: dict[int, int] = {}
    for number in range(201):
        if number in (50, 100, 150, 200):
            memory[number] = taken(page)
        messages = page(f"chat.send('Message {number:03}', picture()).wait();")
        widgets.append(sizes(messages, "comm_open", "comm_msg"))
        kept.append(sizes(messages, "update_display_data"))
    early, late = slice(52, 100), slice(152, 200)  # both of 4 full portions

    def mean(sent: list[list[int]], turns: slice) -> float:
        return sum(map(sum, sent[turns])) / len(sent[turns])

    early_memory, late_memory = ((memory[n + 50] - memory[n]) / 50 for n in (50, 150))
    tell(
        bytes_to_widgets_a_turn=f"{mean(widgets, early):,.0f}, then {mean(widgets, late):,.0f}",
        bytes_of_transcript_a_turn=f"{mean(kept, early):,.0f}, then {mean(kept, late):,.0f}",
        largest_update=f"{max(map(max, kept)):,} bytes",
        memory_a_turn=f"{early_memory:,.0f} bytes, then {late_memory:,.0f}",
    )
    assert mean(widgets, late) < 1.1 * mean(widgets, early)
    assert mean(kept, late) < 1.1 * mean(kept, early)
    assert late_memory < 1.2 * early_memory
