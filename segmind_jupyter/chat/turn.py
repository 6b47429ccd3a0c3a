"""`Turn`: one message of a chat on its way, and its reply once that is there."""

from __future__ import annotations

import concurrent.futures
import os
import time
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from segmind_jupyter.api.ending import Ending
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.waiting import Waiter, checked_patience, in_slices
from segmind_jupyter.errors import Interrupted, JobCancelled, JobTimeout, SegmindError, shortened

if TYPE_CHECKING:
    from segmind_jupyter.api.conversation import Exchange
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.messages import Block
    from segmind_jupyter.content.prompt import Prompt
    from segmind_jupyter.content.sent import SentItem

#: As `Job.wait`.
WAIT_S: Final = 600.0

#: Longest piece of what was said in a repr, in characters.
_MAX_REPR_CHARS: Final = 60


class Stage(StrEnum):
    """How far a turn has come."""

    #: An earlier turn of the same chat has not ended.
    WAITING = "waiting"
    #: It is on its way, or with the model (v1 does not tell).
    SENT = "sent"
    #: Segmind has it in its queue (v2).
    QUEUED = "queued"
    #: The model is at work (v2).
    PROCESSING = "processing"
    #: The reply is there, and part of the conversation.
    ANSWERED = "answered"
    #: There is no reply; `Turn.error` says why.
    FAILED = "failed"
    #: The user stopped it.
    STOPPED = "stopped"


class Turn(Ending[Reply, Stage]):
    """What was said in a chat, and what comes of it. Made by `Chat.send`.

    Parameters
    ----------
    prompt
        What was said, with the objects that go with it.
    blocks
        The same as content blocks, where they are at hand; images are encoded here otherwise.
    replacing
        The exchange that it takes the place of once it is answered (`Chat.regenerate`).
    wait
        What waits, so that Interrupt works.

    Attributes
    ----------
    prompt, blocks, replacing
        As above.
    job
        The job that it became, where it goes by v2; `None` before that, and for v1.
    notes
        What to know about what was sent: images that are no longer sent, names not found.
    exchange
        What the conversation holds of it; `None` where there is no reply (yet).

    Examples
    --------
    >>> turn = chat.send("What does it show?", fig)  # doctest: +SKIP
    >>> turn.wait().text  # doctest: +SKIP
    >>> reply = await turn  # doctest: +SKIP
    """

    def __init__(
        self,
        prompt: Prompt,
        *,
        blocks: Sequence[Block] | None = None,
        replacing: Exchange | None = None,
        wait: Waiter = in_slices,
    ) -> None:
        super().__init__(Stage.WAITING, wait=wait)
        self.prompt = prompt
        self.blocks = prompt.blocks() if blocks is None else blocks
        self.replacing = replacing
        self.job: Job | None = None
        self.notes: tuple[str, ...] = prompt.notes
        self.exchange: Exchange | None = None
        self._began = time.time()
        self._claimed = False
        self._answering: concurrent.futures.Future[None] | None = None
        self._process = os.getpid()

    @classmethod
    def of(cls, exchange: Exchange) -> Self:
        """Make the turn of an exchange that came about elsewhere, as in a cell."""
        turn = cls(_prompt_of(exchange), blocks=exchange.blocks)
        turn.notes = getattr(exchange.reply.request, "notes", turn.notes)
        turn.exchange = exchange
        turn.answer(exchange.reply)
        return turn

    def __repr__(self) -> str:
        why = f" ({type(self.error).__name__})" if self.stage is Stage.FAILED else ""
        objects = ", ".join(map(_called, self.prompt.sent))
        said = [repr(_brief(self.text))] if self.text or not objects else []
        return f"<Turn {self.stage}{why}: {' with '.join([*said, *filter(None, [objects])])}>"

    @property
    def text(self) -> str:
        """The words that were said, without the objects."""
        return "".join(piece for piece in self.prompt.pieces if isinstance(piece, str)).strip()

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        return self._state

    @property
    def reply(self) -> Reply | None:
        """The reply, or `None` where there is none (yet); `error` says why."""
        return self._outcome

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was said, until its end; of a cell's turn, what its reply took."""
        if self._answering is None and self._outcome is not None:
            return self._outcome.elapsed_s or 0.0
        return max(0.0, (self._ended_at or time.time()) - self._began)

    def wait(self, timeout: float | None = WAIT_S) -> Reply:
        """Wait for the reply.

        Parameters
        ----------
        timeout
            Seconds to wait; `None` waits for ever. The turn goes on either way.

        Raises
        ------
        JobTimeout
            The time is up.
        SegmindError
            Why there is no reply.
        SettingsError
            `timeout` is no time that can be waited.
        Interrupted
            The user interrupted the wait; the turn goes on.
        """
        timeout = checked_patience(timeout)
        try:
            ended = self._wait_for_end(timeout)
        except KeyboardInterrupt:
            raise Interrupted(
                "Stopped waiting; the turn goes on. `turn.stop()` gives it up."
            ) from None
        if not ended:
            request_id = self.job.request_id if self.job else None
            raise JobTimeout(
                f"The turn was still {self.stage} after {timeout:g} s. It goes on: wait again.",
                request_id=request_id,
            )
        return self._result()

    def stop(self) -> bool:
        """Give it up; `False` if it had ended. What was said is no part of the conversation.

        Segmind cannot stop a model that has begun: it may still be billed.
        """
        if not self.settle():
            return False
        stopped = self._finish(Stage.STOPPED, None, self._why_stopped())
        # In a forked child the loop that it runs on is the parent's.
        if stopped and self._answering is not None and self._process == os.getpid():
            self._answering.cancel()
        return stopped

    def cancel(self) -> bool:
        """Do the same, by the name that jobs and batches have for it."""
        return self.stop()

    def answered_by(self, answering: concurrent.futures.Future[None]) -> None:
        """Know what to cancel. For `Chat` alone."""
        self._answering = answering
        if self.done():  # stopped before this was known
            answering.cancel()

    def move(self, stage: Stage) -> bool:
        """Note a stage before the end; `False` if somebody has stopped it. For `Chat` alone."""
        self._move(stage)
        return not self._claimed

    def settle(self) -> bool:
        """Let nobody else end it with a reply or a stop; `False` if somebody was faster."""
        with self._lock:
            first, self._claimed = not self._claimed, True
            return first

    def answer(self, reply: Reply) -> None:
        """Note the reply, once it is settled that there is one. For `Chat` alone."""
        self._finish(Stage.ANSWERED, reply, None)

    def fail(self, error: SegmindError) -> None:
        """Note why there is no reply; nothing happens if it has ended. For `Chat` alone."""
        # Whoever stops the job, on its card or elsewhere, has stopped the turn.
        stage = Stage.STOPPED if isinstance(error, JobCancelled) else Stage.FAILED
        self._finish(stage, None, error)

    def _why_stopped(self) -> JobCancelled:
        if self._state is Stage.WAITING:
            return JobCancelled("The turn was stopped before it was sent.")
        request_id = self.job.request_id if self.job else None
        again = f"; `%segmind resume {request_id}` fetches its reply" if request_id else ""
        return JobCancelled(
            f"The turn was stopped. If the model had begun, it may still be billed{again}.",
            request_id=request_id,
        )


def _prompt_of(exchange: Exchange) -> Prompt:
    """Give what was asked: of an exchange that was committed by hand, its words."""
    from segmind_jupyter.content.prompt import Prompt

    if isinstance(exchange.request, Prompt):
        return exchange.request
    return Prompt(tuple(block["text"] for block in exchange.blocks if block["type"] == "text"))


def _called(item: SentItem) -> str:
    """Call an object by its label, or by what it reads as: `None` and ``[]`` have no other."""
    text = "" if item.images else "".join(part.wire()["text"] for part in item.parts)
    return item.label or _brief(text) or item.summary


def _brief(words: str) -> str:
    line = shortened(words)
    return line if len(line) <= _MAX_REPR_CHARS else line[: _MAX_REPR_CHARS - 1] + "…"
