"""One question about many things: `ask_each` and the `Batch` that it gives."""

from __future__ import annotations

from segmind_jupyter.batch.batch import Batch, BatchComparison, Outcome, ask_each
from segmind_jupyter.batch.runner import Progress

__all__ = ["Batch", "BatchComparison", "Outcome", "Progress", "ask_each"]
