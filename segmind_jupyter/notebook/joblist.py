"""`%segmind jobs`, `%segmind resume` and `%segmind wait`: what is under way, and what was kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython
from IPython.display import display

from segmind_jupyter.asking import service
from segmind_jupyter.errors import Interrupted
from segmind_jupyter.notebook.columns import aligned
from segmind_jupyter.notebook.headless import outlast, show_ended

if TYPE_CHECKING:
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.store import Entry
    from segmind_jupyter.tracked import Trackable

#: How many of the newest jobs are listed.
_LISTED = 30

_HEAD = ("id", "model", "state", "age", "where")


def jobs(rest: Sequence[str]) -> str:
    """List the jobs that the journal knows, newest first, with what this kernel knows of them."""
    if rest:
        raise UsageError("It is `%segmind jobs`; `%segmind resume ID` takes one up")
    entries = service().recorded(limit=_LISTED + 1)
    if not entries:
        return "No jobs are known. `%%claude --job` and `submit` begin one."
    rows = [_row(entry, service().followed(entry.request_id)) for entry in entries[:_LISTED]]
    more = f"\nOlder ones are not listed ({_LISTED} are)." if len(entries) > _LISTED else ""
    return aligned([_HEAD, *rows]) + more


def resume(rest: Sequence[str]) -> Job:
    """Take up a job by its id; its card is the value of the cell."""
    if len(rest) != 1:
        raise UsageError("It is `%segmind resume ID`; `%segmind jobs` lists the ids")
    return service().resume(rest[0])


def wait(rest: Sequence[str]) -> str:
    """Wait for the jobs of these ids, and show them; or for all that is under way in this kernel.

    Raises
    ------
    SegmindError
        Why the first of them has no reply, once all have ended; without ids, also of what failed
        before this, where nobody looked on. Each of those is raised once.
    """
    named = [service().resume(request_id) for request_id in rest]
    work: Sequence[Trackable] = named or service().pending
    failed = () if named else service().failed
    if not (work or failed):
        return "Nothing is under way in this kernel."
    try:
        for each in work:
            outlast(each)
    except KeyboardInterrupt:
        raise Interrupted("Stopped waiting; what is under way goes on.") from None
    for each in work:
        display(each) if named else show_ended(get_ipython(), each)
    for each in (*failed, *work):
        if named or each.unraised is not None:
            each.wait()
    return "It has ended." if len(work) == 1 else f"All {len(work)} have ended."


def _row(entry: Entry, under_way: Job | None) -> tuple[str, ...]:
    state = str(under_way.status if under_way is not None else entry.state).lower()
    if under_way is None and state == "queued":
        state = "not watched"
    elif entry.kept:
        state += ", reply kept"
    place = "this kernel" if under_way is not None else entry.place
    where = f"{place} → {entry.origin.removeprefix('https://')}" if place else entry.origin
    return (entry.request_id, entry.model or "?", state, _age(entry.submitted_at), where)


def _age(submitted_at: float | None) -> str:
    """Say how long ago a job was submitted, in the largest unit that fits."""
    if submitted_at is None:
        return "?"
    seconds = max(0.0, time.time() - submitted_at)
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"
