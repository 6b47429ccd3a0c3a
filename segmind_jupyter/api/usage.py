"""What the calls of this process took: one by one as far back as is kept, and in all by model."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Final

from segmind_jupyter.api.messages import Reply

#: Calls that a ledger can tell one by one: some megabytes, and more than anybody looks at.
MAX_CALLS: Final = 20_000


@dataclass(frozen=True, slots=True)
class Call:
    """One answered call. Tokens and cost are `None` where the server did not say."""

    model: str
    input_tokens: int | None
    output_tokens: int | None
    cost: float | None
    answered_at: float = 0.0
    seconds: float | None = None
    simulated: bool = False
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over some calls; what the server did not say counts as nothing.

    `cost` is in Segmind credits, and `None` where no call came with one.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0

    def __add__(self, other: Totals) -> Totals:
        costs = [cost for cost in (self.cost, other.cost) if cost is not None]
        return Totals(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost=sum(costs) if costs else None,
            cache_read_input_tokens=self.cache_read_input_tokens + other.cache_read_input_tokens,
            cache_creation_input_tokens=self.cache_creation_input_tokens
            + other.cache_creation_input_tokens,
        )


class Ledger:
    """The calls that were answered, oldest first. Threads may share it."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._calls: deque[Call] = deque(maxlen=MAX_CALLS)
        # Kept beside the calls, as it counts those that are no longer told one by one.
        self._models: dict[str, Totals] = {}
        self._unknown = 0
        self._lock = threading.Lock()

    def add(self, reply: Reply, *, model: str) -> None:
        """Note an answered call to `model`."""
        call = Call(
            model,
            reply.usage.input_tokens,
            reply.usage.output_tokens,
            reply.cost,
            answered_at=self._clock(),
            seconds=reply.elapsed_s,
            simulated=reply.simulated,
            cache_read_input_tokens=reply.usage.cache_read_input_tokens,
            cache_creation_input_tokens=reply.usage.cache_creation_input_tokens,
        )
        with self._lock:
            self._calls.append(call)
            self._models[model] = self._models.get(model, Totals()) + total([call])

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
        """The newest calls, `MAX_CALLS` at most."""
        with self._lock:
            return tuple(self._calls)

    def by_model(self) -> dict[str, Totals]:
        """Sum all calls of each model, in the order in which the models were first used."""
        with self._lock:
            return dict(self._models)

    def total(self) -> Totals:
        """Sum all calls."""
        return reduce(Totals.__add__, self.by_model().values(), Totals())


def total(calls: Iterable[Call]) -> Totals:
    """Sum some calls."""
    each = (
        Totals(
            1,
            call.input_tokens or 0,
            call.output_tokens or 0,
            call.cost,
            call.cache_read_input_tokens or 0,
            call.cache_creation_input_tokens or 0,
        )
        for call in calls
    )
    return reduce(Totals.__add__, each, Totals())
