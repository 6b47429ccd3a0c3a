"""What `%load_ext segmind_jupyter` costs beside an extension of IPython's own, in one run."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.benchmark

#: A kernel has imported asyncio by then, and IPython what a cell needs.
LOAD = """
import asyncio, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("1")
begun_s = time.process_time()
shell.run_line_magic("load_ext", sys.argv[1])
print((time.process_time() - begun_s) * 1000)
"""


def load_ms(extension: str) -> float:
    """Return the least time of the processor that loading takes in a process of its own."""
    command = [sys.executable, "-c", LOAD, extension]
    runs = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(7))
    return min(float(run.stdout.splitlines()[-1]) for run in runs)


def test_loading_takes_little_beside_autoreload(tell, monkeypatch):
    """40 ms on a machine on which nothing else runs: a few times what autoreload takes."""
    monkeypatch.setenv("SEGMIND_API_KEY", "k" * 20)
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    load_ms("segmind_jupyter")  # writes the bytecode
    ours_ms, autoreload_ms = load_ms("segmind_jupyter"), load_ms("autoreload")
    tell(ours=f"{ours_ms:.0f} ms", autoreload=f"{autoreload_ms:.0f} ms")
    assert ours_ms < 6 * autoreload_ms
