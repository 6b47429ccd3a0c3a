"""What a batch would send, and what that may take: `ask_each(..., dry_run=True)`."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from segmind_jupyter.api.messages import encoded, user_message
from segmind_jupyter.api.watch import work_of
from segmind_jupyter.batch.items import PromptTemplate
from segmind_jupyter.batch.runner import Plan
from segmind_jupyter.budget import Estimate
from segmind_jupyter.content.parts import format_error
from segmind_jupyter.errors import SegmindError
from segmind_jupyter.session import Request, Session
from segmind_jupyter.words import format_credits, format_duration

#: How many requests are shown in full, and of how many items at most prompts are made.
_SHOWN, _MOST = 3, 1_000

#: Requests a minute of the smallest plan that is paid for (WIRE.md), until a limit is met.
_PACE = 60.0


@dataclass(frozen=True, kw_only=True)
class BatchPreview:
    """What several requests would be; in a notebook it shows the first of them in full."""

    #: The rows of a batch; `None` of a cell that asks several models.
    rows: int | None = None
    #: How many were looked at; the sums are for all.
    looked_at: int | None = None
    requests: int
    kept: int = 0
    #: Why items cannot be sent, by position.
    errors: dict[int, SegmindError] = field(default_factory=dict)
    tokens: int
    #: In Segmind credits: half of the calls at their median, 9 of 10; `None` where it is not known.
    cost: float | None
    high: float | None
    basis: str
    seconds: float
    pace: float
    first: tuple[Request, ...]

    def __str__(self) -> str:
        about = "" if self.looked_at == self.rows else f" (from {self.looked_at:,} of the rows)"
        counts = [] if self.rows is None else [f"{self.rows:,} row{'' if self.rows == 1 else 's'}"]
        counts += [f"{self.requests:,} request{'' if self.requests == 1 else 's'}{about}"]
        counts += [f"{self.kept:,} answered before"] if self.kept else []
        counts += [f"{len(self.errors):,} cannot be sent"] if self.errors else []
        money = "not known" if self.cost is None else f"≈{format_credits(self.cost)}"
        if self.high is not None:
            money += f", {format_credits(self.high)} if each is as dear as 1 in 10"
        lines = [
            f"Nothing was sent. {', '.join(counts)}, ≈{self.tokens:,} tokens",
            f"{money} ({self.basis})",
            f"about {format_duration(self.seconds)} at {self.pace:g} requests a minute",
        ]
        lines += [f"item {n}: {error}" for n, error in list(self.errors.items())[:_SHOWN]]
        return "\n".join(lines)

    __repr__ = __str__


def preview(each: PromptTemplate, plans: Sequence[Plan], desk: Session) -> BatchPreview:
    """Make the prompts of a batch, or of some of its items evenly spread, and send nothing."""
    settings, rows = desk.settings(), len(each)
    positions = range(0, rows, max(1, -(-rows // _MOST)))
    scale = rows / max(len(positions), 1)
    errors: dict[int, SegmindError] = {}
    met: Counter[bytes] = Counter()

    def requests() -> Iterator[Request | None]:
        for position, plan in product(positions, plans):
            try:
                prompt = each.prompt(position)
                call = dataclasses.replace(plan.call, messages=[user_message(prompt.blocks())])
                encoded(call.body, api_key=settings.api_key)
            except Exception as error:  # noqa: BLE001  whatever is wrong with one, others go on
                words = f"The item cannot be sent ({format_error(error)})."
                errors[position] = error if isinstance(error, SegmindError) else SegmindError(words)
                continue
            work = work_of(desk.journal, call, met[call.digest], settings.base_url)
            met[call.digest] += 1
            if plan.resumes and desk.journal.find_work(work) is not None:
                yield None
                continue
            request = Request.of(prompt, call, expected=plan.expected, queued=True, dry=True)
            yield desk.estimated(request)

    in_flight = sum(plan.max_in_flight for plan in plans)
    found = summed(requests(), desk, in_flight=in_flight, scale=scale)
    return dataclasses.replace(found, rows=rows, looked_at=len(positions), errors=errors)


def summed(
    requests: Iterable[Request | None], desk: Session, *, in_flight: int, scale: float = 1.0
) -> BatchPreview:
    """Sum what requests take, each `scale` times; `None` is one that was answered before."""
    first: list[Request] = []
    estimates: list[Estimate] = []
    tokens = kept = 0
    for request in requests:
        if request is None:
            kept += 1
            continue
        assert request.estimate is not None  # noqa: S101
        estimates.append(request.estimate)
        tokens += request.tokens
        if len(first) < _SHOWN:
            first.append(request)
    count = round(len(estimates) * scale)
    costs = [estimate.cost for estimate in estimates if estimate.cost is not None]
    highs = [estimate.high for estimate in estimates if estimate.high is not None]
    work_s = scale * sum(estimate.seconds or 0.0 for estimate in estimates)
    pace = desk.pace or _PACE
    return BatchPreview(
        requests=count,
        kept=round(kept * scale),
        tokens=round(tokens * scale),
        cost=sum(costs) * scale if len(costs) == len(estimates) else None,
        high=sum(highs) * scale if highs and len(highs) == len(estimates) else None,
        basis="; ".join(dict.fromkeys(e.basis for e in estimates)) or "nothing is sent",
        seconds=max(work_s / max(min(in_flight, count), 1), count / pace * 60),
        pace=pace,
        first=tuple(first),
    )
