"""One question about many things: `ask_each` and the `Batch` that it gives.

`asking_each` begins a batch, `run` sends it on the background loop, `results` keeps what became of
each item, and `handle` is what the caller has of it.
"""

from __future__ import annotations

from segmind_jupyter.batch.batch import Batch, Outcome, ask_each
from segmind_jupyter.batch.results import Progress

__all__ = ["Batch", "Outcome", "Progress", "ask_each"]
