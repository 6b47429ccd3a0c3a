"""One question about many things: `ask_each` and the `Batch` that it gives.

`asking_each` begins a batch, `run` sends it on the background loop, `results` keeps what became of
each item, and `handle` is what the caller has of it.
"""

from __future__ import annotations

from segmind_jupyter.batch.asking_each import ask_each
from segmind_jupyter.batch.handle import Batch, Outcome
from segmind_jupyter.batch.progress import Progress

__all__ = ["Batch", "Outcome", "Progress", "ask_each"]
