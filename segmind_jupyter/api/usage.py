"""What the calls of this process took, by model."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from segmind_jupyter.api.messages import Reply


@dataclass(frozen=True, slots=True)
class Call:
    """One answered call. Tokens and cost are `None` where the server did not say."""

    model: str
    input_tokens: int | None
    output_tokens: int | None
    cost: float | None


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over some calls; what the server did not say counts as nothing.

    `cost` is in Segmind credits, and `None` where no call came with one.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None


class Ledger:
    """The calls that were answered, oldest first. Threads may share it."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._unknown = 0
        self._lock = threading.Lock()

    def add(self, reply: Reply, *, model: str) -> None:
        """Note an answered call to `model`."""
        usage = reply.usage
        call = Call(model, usage.input_tokens, usage.output_tokens, reply.cost)
        with self._lock:
            self._calls.append(call)

    def add_unknown(self) -> None:
        """Note a call whose outcome is unknown: it may have been billed."""
        with self._lock:
            self._unknown += 1

    @property
    def unknown(self) -> int:
        """How many calls have an unknown outcome."""
        return self._unknown

    @property
    def calls(self) -> tuple[Call, ...]:
        """Every call so far."""
        with self._lock:
            return tuple(self._calls)

    def by_model(self) -> dict[str, Totals]:
        """Sum the calls of each model, in the order in which the models were first used."""
        calls = self.calls
        models = dict.fromkeys(call.model for call in calls)
        return {model: total(c for c in calls if c.model == model) for model in models}


def total(calls: Iterable[Call]) -> Totals:
    """Sum some calls."""
    calls = tuple(calls)
    costs = [call.cost for call in calls if call.cost is not None]
    return Totals(
        calls=len(calls),
        input_tokens=sum(call.input_tokens or 0 for call in calls),
        output_tokens=sum(call.output_tokens or 0 for call in calls),
        cost=sum(costs) if costs else None,
    )
