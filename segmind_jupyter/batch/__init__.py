"""One question about many things: `ask_each` and the `Batch` that it gives."""

from __future__ import annotations

from segmind_jupyter.batch.batch import Batch, BatchComparison, Outcome, Progress
from segmind_jupyter.batch.runner import ask_each

__all__ = ["Batch", "BatchComparison", "Outcome", "Progress", "ask_each"]
