"""How a turn of a chat gets its reply: from what is kept, by v1, or as a job. On the loop alone.

It knows nothing of the conversation that the reply becomes a part of.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from segmind_jupyter.api.states import Processing
from segmind_jupyter.asking import service
from segmind_jupyter.chat.turn import Stage

if TYPE_CHECKING:
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.messages import Reply
    from segmind_jupyter.api.reply_cache import Slot
    from segmind_jupyter.api.watch import Call
    from segmind_jupyter.asking import Options
    from segmind_jupyter.chat.turn import Turn


async def fetch(
    turn: Turn, call: Call, options: Options, *, queued: bool, unknown: Callable[[], object]
) -> Reply:
    """Get the reply to a turn; nothing is sent where `options` let a kept one do.

    Parameters
    ----------
    turn
        Is told how far it has come.
    call
        What is sent for it.
    options
        Time-out, and what becomes of kept replies.
    queued
        Whether it goes as a job (v2).
    unknown
        Called if the request is given up on its way, when it may have been billed.

    Raises
    ------
    NotCachedError
        Kept replies alone are to be used, and there is none.
    SegmindError
        Why there is no reply.
    """
    by = _by_v2 if queued else _by_v1
    if options.cache == "off":
        return await by(turn, call, options.timeout_s, unknown)

    from anyio.to_thread import run_sync  # the disk holds up no other job

    slot = await run_sync(service().slot, call, options)
    # Whoever asks again wants another answer, as long as anything may be sent.
    wants_another = turn.replacing is not None and options.cache != "only"
    kept = None if wants_another else await run_sync(slot.find)
    if kept is not None:
        return kept
    reply = await by(turn, call, options.timeout_s, unknown)
    await _keep(slot, reply)
    return reply


async def _by_v1(
    turn: Turn, call: Call, timeout_s: float | None, unknown: Callable[[], object]
) -> Reply:
    desk = service()
    with _told_if_stopped(unknown):
        reply = await desk.chat(call, timeout_s)
    desk.ledger.add(reply, model=call.model)
    return reply


async def _by_v2(
    turn: Turn, call: Call, timeout_s: float | None, unknown: Callable[[], object]
) -> Reply:
    watch = service().watch()
    with _told_if_stopped(unknown):
        job = await watch.submit(call, request=turn.prompt, timeout_s=timeout_s)
    turn.job = job
    turn.move(Stage.QUEUED)
    job.on_change(lambda job: _follow(job, turn))
    await watch.follow(job)
    return job.wait(0)  # it has ended: gives the reply, or raises why there is none


async def _keep(slot: Slot, reply: Reply) -> None:
    """Keep what was paid for, whoever stops the turn meanwhile."""
    import anyio.to_thread

    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(slot.keep, reply)


@contextlib.contextmanager
def _told_if_stopped(unknown: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    except asyncio.CancelledError:
        unknown()
        raise


def _follow(job: Job, turn: Turn) -> None:
    if isinstance(job.status, Processing):
        turn.move(Stage.PROCESSING)
