"""What a call will take, and what may be spent: estimates, and the budgets of a kernel and a day.

A call reserves the most that it is likely to take before it is sent, and settles with what it took.
What is reserved for others counts in full, so that calls that run side by side pass a budget by no
more than what the last of them took beyond its own estimate.
"""

from __future__ import annotations

import datetime
import math
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from segmind_jupyter.api.database import CallRecord
from segmind_jupyter.api.journal import Journal, warn_user
from segmind_jupyter.api.messages import Call, Reply
from segmind_jupyter.api.settings import DEFAULT_MODEL, KNOWN_MODELS, model_info
from segmind_jupyter.content.parts import Text, part_of
from segmind_jupyter.errors import BudgetError, MaybeBilledError, SegmindError, SettingsError
from segmind_jupyter.words import format_credits

#: Calls of one model that estimates look back at, and the fewest of a size that tell more than a
#: directory's mean.
_LOOKED_BACK: Final = 300
_FEWEST: Final = 5

#: Beyond so many tokens a prompt alone costs more than the mean call of the directory does
#: ($0.0214, at the $3 a million that Anthropic takes for Sonnet).
_TOKENS_OF_A_MEAN_CALL: Final = 7_000

#: What a call may take at most, as answers differ in length: so many times the mean, where that is
#: all that is known, or the dearest of those that were seen.
_TIMES_THE_MEAN: Final = 3.0
_TIMES_THE_DEAREST: Final = 2.0

#: The part of a budget whose use is pointed out.
_WARNED_AT: Final = 0.8

_VARIABLE: Final = "SEGMIND_BUDGET"

_KERNEL: Final = "this kernel"
_DAY: Final = "a day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What one call takes: in half of the cases no more than `cost`, in 9 of 10 `high` credits."""

    cost: float | None
    high: float | None
    #: What is set aside for it, also where nothing is known.
    most: float
    seconds: float | None
    basis: str

    def __str__(self) -> str:
        if self.cost is None:
            return f"credits not known ({self.basis})"
        high = "" if self.high is None else f", {format_credits(self.high)} in 9 of 10"
        return f"≈{format_credits(self.cost)}{high} ({self.basis})"


def estimate(model: str, tokens: int, past: Iterable[CallRecord]) -> Estimate:
    """Estimate what a call of so many tokens takes, from calls of the past or the directory."""
    alike = [
        call
        for call in past
        if call.cost is not None and tokens / 2 <= (call.input_tokens or 0) <= 2 * max(tokens, 1)
    ]
    if len(alike) >= _FEWEST:
        costs = sorted(call.cost for call in alike if call.cost is not None)
        return Estimate(
            cost=quantile(costs, 0.5),
            high=quantile(costs, 0.9),
            most=_TIMES_THE_DEAREST * costs[-1],
            seconds=quantile(sorted(c.seconds for c in alike if c.seconds is not None), 0.5),
            basis=f"your last {len(alike)} calls of {model} of this size",
        )
    info = model_info(model)
    dearest = max(model_info(slug).cost or 0.0 for slug in KNOWN_MODELS)
    times = max(1.0, tokens / _TOKENS_OF_A_MEAN_CALL)
    basis = "the mean of this model in Segmind's directory of August 2026"
    if info.cost is None:
        basis = f"Segmind's directory has no price of {model}, and your calls of this size are few"
    return Estimate(
        cost=None if info.cost is None else info.cost * times,
        high=None,
        most=_TIMES_THE_MEAN * (dearest if info.cost is None else info.cost) * times,
        seconds=info.seconds or model_info(DEFAULT_MODEL).seconds,
        basis=basis,
    )


def quantile(values: Sequence[float], part: float) -> float | None:
    """Return the smallest of sorted values that so many of them do not pass; `None` of none."""
    return values[max(math.ceil(part * len(values)) - 1, 0)] if values else None


def tokens_of(call: Call) -> int:
    """Return the estimated tokens of all that the model reads."""
    blocks = (block for message in call.messages for block in message["content"])
    return Text(call.instruction or "").tokens + sum(part_of(block).tokens for block in blocks)


def check_fits(
    cost: float, *, limit: float | None, spent: float, reserved: float, whose: str
) -> None:
    """Raise `BudgetError` where a call would pass a limit."""
    if limit is None or spent + reserved + cost <= limit:
        return
    aside = f", {format_credits(reserved)} set aside for what is under way" if reserved else ""
    option = "--day " if whose == _DAY else ""
    raise BudgetError(
        f"This would pass the budget of {format_credits(limit)} for {whose}, so it was not sent: "
        f"{format_credits(spent)} spent{aside}, and it takes about {format_credits(cost)}. "
        f"`%segmind budget {option}AMOUNT` raises it, `%segmind usage` shows what was spent.",
        limit=limit,
        spent=spent,
        reserved=reserved,
        cost=cost,
    )


class Reservation:
    """What is set aside for one call, until it is settled."""

    def __init__(self, budget: Budget, call: Call, found: Estimate, *, origin: str):
        self.model, self.origin = call.model, origin
        self.cost, self.most = found.most if found.cost is None else found.cost, found.most
        self.key = secrets.token_hex(8)
        self.state: Literal["open", "lost", "settled"] = "open"
        self._budget = budget

    def settle(self, outcome: Reply | BaseException | None) -> None:
        """Count what the call took: nothing where an error says so, the most if nobody knows."""
        self._budget.settle(self, outcome)


class Budget:
    """What this process may spend, has spent and has set aside, by origin. Threads may share it."""

    def __init__(
        self,
        journal: Callable[[], Journal],
        *,
        clock: Callable[[], float] = time.time,
        warn: Callable[[str], object] = warn_user,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        #: What `%segmind budget` set: `inf` where it was taken away.
        self.own_limit: float | None = None
        self._journal, self._clock, self._warn, self._environ = journal, clock, warn, environ
        self._lock = threading.RLock()
        self._spent: dict[str, float] = {}
        self._open: dict[str, Reservation] = {}
        self._past: dict[tuple[str, str], deque[CallRecord]] = {}
        self._warned: set[tuple[str, float]] = set()

    @property
    def limit(self) -> float | None:
        """What this kernel may spend, in credits; `None` is no limit."""
        text = self._environ.get(_VARIABLE, "").strip()
        limit = self.own_limit
        if limit is None and text:
            limit = amount_of(text, name=_VARIABLE)
        return None if limit is None or limit == math.inf else limit

    def spent(self, origin: str) -> float:
        """Return what this kernel has spent there."""
        return self._spent.get(origin, 0.0)

    def reserved(self, origin: str) -> float:
        """Return what is set aside for what is under way there."""
        with self._lock:
            return sum(hold.most for hold in self._open.values() if hold.origin == origin)

    def spent_today(self, origin: str) -> float:
        """Return what all kernels have spent or set aside there since midnight."""
        return self._journal().spent(origin, since=self._midnight)

    @property
    def _midnight(self) -> float:
        now = datetime.datetime.fromtimestamp(self._clock())
        return now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp()

    def estimate(self, model: str, tokens: int, *, origin: str) -> Estimate:
        """Estimate what a call takes from those of the past, also in other kernels."""
        with self._lock:
            return estimate(model, tokens, self._calls(origin, model))

    def _calls(self, origin: str, model: str) -> deque[CallRecord]:
        key = origin, model
        if key not in self._past:
            known = self._journal().calls(origin, model=model, limit=_LOOKED_BACK)
            self._past[key] = deque(known, maxlen=_LOOKED_BACK)
        return self._past[key]

    def reserve(self, call: Call, origin: str) -> Reservation:
        """Set aside the most that a call is likely to take, or raise `BudgetError`."""
        found = self.estimate(call.model, tokens_of(call), origin=origin)
        hold = Reservation(self, call, found, origin=origin)
        with self._lock:
            limit, spent, reserved = self.limit, self.spent(origin), self.reserved(origin)
            check_fits(hold.cost, limit=limit, spent=spent, reserved=reserved, whose=_KERNEL)
            self._open[hold.key] = hold
        try:
            limit_today, spent_today = self._journal().reserve(
                hold.key, origin, cost=hold.cost, most=hold.most, since=self._midnight
            )
            check_fits(
                hold.cost,
                limit=limit_today,
                spent=max(spent_today - reserved, 0.0),
                reserved=min(reserved, spent_today),
                whose=_DAY,
            )
            self._point_out(_KERNEL, limit, spent + reserved + hold.cost)
            self._point_out(_DAY, limit_today, spent_today + hold.cost)
        except BaseException:
            self.settle(hold, BudgetError())  # nothing was sent
            raise
        return hold

    def _point_out(self, whose: str, limit: float | None, used: float) -> None:
        if limit and used >= _WARNED_AT * limit and (whose, limit) not in self._warned:
            self._warned.add((whose, limit))
            self._warn(
                f"{used / limit:.0%} of the budget of {format_credits(limit)} for {whose} is spent "
                "or set aside. `%segmind usage` shows it."
            )

    def settle(self, hold: Reservation, outcome: Reply | BaseException | None) -> None:
        """As `Reservation.settle`; a reply counts also after its call was given up."""
        state: Literal["lost", "settled"] = "lost"
        cost, record = hold.most, None
        if isinstance(outcome, Reply):
            tokens, told, seconds = (  # a server may say anything
                value if isinstance(value, int | float) and 0 <= value < 2**53 else None
                for value in (outcome.usage.input_tokens, outcome.cost, outcome.elapsed_s)
            )
            state, cost = "settled", hold.cost if told is None else told
            record = CallRecord(
                at=self._clock(),
                origin=hold.origin,
                model=hold.model,
                input_tokens=None if tokens is None else int(tokens),
                cost=told,
                seconds=seconds,
                request_id=outcome.request_id,
            )
        elif isinstance(outcome, SegmindError) and not isinstance(outcome, MaybeBilledError):
            state, cost = "settled", 0.0
        with self._lock:
            if hold.state == "settled" or (hold.state == "lost" and record is None):
                return
            counted = hold.most if hold.state == "lost" else 0.0
            self._spent[hold.origin] = self.spent(hold.origin) + cost - counted
            self._open.pop(hold.key, None)
            hold.state = state
            if record is not None:
                self._calls(hold.origin, hold.model).append(record)
        if record is not None:
            self._journal().record_call(record, settles=hold.key)
        elif state == "lost":
            self._journal().lost(hold.key, hold.origin, hold.most)
        else:
            self._journal().unreserve(hold.key)


def amount_of(text: str, *, name: str) -> float:
    """Read an amount of credits."""
    try:
        amount = float(text.removeprefix("$"))
    except ValueError:
        amount = math.nan
    if not 0 <= amount < math.inf:
        raise SettingsError(f"{name}={text!r:.40}: give an amount of credits, such as 2.00.")
    return amount
