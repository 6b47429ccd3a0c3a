"""The conversations of a process, as its cells and chats go on with them. Nothing is sent here.

Which one `-c` continues, which has what name, and what is under way in each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from segmind_jupyter.api.conversation import Conversation, Draft
from segmind_jupyter.api.ending import Ending
from segmind_jupyter.api.messages import Message, Reply, user_message
from segmind_jupyter.errors import ContentError

if TYPE_CHECKING:
    from segmind_jupyter.api.conversation import Exchange
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.messages import Block
    from segmind_jupyter.content.prompt import Prompt


class Step(Protocol):
    """A cell, a job or a turn: what goes on in a conversation until it ends."""

    def done(self) -> bool:
        """Tell whether it has ended."""

    def on_done(self, callback: Callable[[Any], object]) -> None:
        """Have something called at its end."""

    async def settled(self) -> None:
        """Wait for its end on a loop, whatever that is."""

    def cancel(self) -> object:
        """Give it up."""


@dataclass(frozen=True, kw_only=True)
class Saying:
    """A prompt on its way: alone, or as the next message of a conversation.

    Parameters
    ----------
    prompt
        What is said; its notes tell also which images are no longer sent.
    messages
        What goes out: the conversation so far, and this.
    conversation, draft
        What it continues; `None` where it stands alone.
    """

    prompt: Prompt
    messages: Sequence[Message] = field(repr=False)
    conversation: Conversation | None = None
    draft: Draft | None = None


def drafted(
    conversation: Conversation,
    prompt: Prompt,
    *,
    model: str,
    system: str | None,
    blocks: Sequence[Block] | None = None,
    replacing: Exchange | None = None,
) -> Draft:
    """Draft what continues a conversation with a prompt, under the labels of its objects.

    Parameters
    ----------
    conversation
        What is continued; it stays as it is.
    prompt
        What is said.
    model, system
        Those that it is sent with.
    blocks
        The prompt's own blocks, where they are at hand: images are not encoded again then.
    replacing
        As for `Conversation.draft`.

    Raises
    ------
    ContentError
        There is nothing to send.
    """
    draft = conversation.draft(
        prompt.blocks() if blocks is None else blocks,
        request=prompt,
        labels=[item.label for item in prompt.sent for _ in item.images],
        replacing=replacing,
    )
    return dataclasses.replace(draft, model=model, system=system)


class Conversations:
    """Those that cells and chats have, by name or as the last one. Threads may share it."""

    def __init__(self) -> None:
        self._named: dict[str, Conversation] = {}
        #: Of the cells that were taken: the last one answered, and what came after it.
        self._of_cells: list[Conversation] = []
        # By process: in a forked child, what the parent has under way never ends.
        self._under_way: dict[tuple[int, Conversation], list[_UnderWay]] = {}
        self._lock = threading.Lock()

    def named(self, name: str, make: Callable[[], Conversation]) -> Conversation:
        """Give the conversation of that name; `make` makes it at its first use."""
        with self._lock:
            if name not in self._named:
                self._named[name] = make()
            return self._named[name]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name in use, in the order of the first uses."""
        with self._lock:
            return tuple(self._named)

    def last(self) -> Conversation:
        """Give the conversation of the last cell that was answered, or is still to be.

        Raises
        ------
        ContentError
            There is none.
        """
        with self._lock:
            newest_first = self._of_cells[::-1]
        for conversation in newest_first:
            if conversation.turns or self.step(conversation) is not None:
                return conversation
        raise ContentError(
            "There is nothing to continue: no `%%claude` of this kernel has a reply yet. Leave "
            "`-c` out to begin."
        )

    def step(self, conversation: Conversation) -> Step | None:
        """Give what is under way in a conversation, if anything is."""
        with self._lock:
            under_way = list(self._under_way.get((os.getpid(), conversation), ()))
        return next((each.step for each in under_way if not each.over()), None)

    def begin(
        self,
        conversation: Conversation,
        step: Step,
        take_in: Callable[[], object] = lambda: None,
    ) -> list[Step]:
        """Note what goes on in a conversation from now on.

        Parameters
        ----------
        conversation
            Where it goes on.
        step
            What goes on.
        take_in
            Called at its end, maybe twice: it takes the reply into the conversation.

        Returns
        -------
        list of Step
            What was under way there before, and is to be waited for.
        """
        key, new = (os.getpid(), conversation), _UnderWay(step, take_in)
        with self._lock:
            before = self._under_way.get(key, [])
            self._under_way[key] = [*before, new]
        step.on_done(lambda _: self._end(key, new))
        return [each.step for each in before]

    def take_in(self, conversation: Conversation) -> None:
        """Take in the replies of what has ended in a conversation.

        Whoever waited for the end may be here before the thread that brought it has done so.
        """
        with self._lock:
            under_way = list(self._under_way.get((os.getpid(), conversation), ()))
        for each in under_way:
            each.over()

    def give_up(self) -> None:
        """Give up everything that is under way in a conversation, the newest first."""
        with self._lock:
            here = [steps for (pid, _), steps in self._under_way.items() if pid == os.getpid()]
        for under_way in reversed([each for steps in here for each in steps]):
            under_way.step.cancel()

    def say(
        self, prompt: Prompt, conversation: Conversation | None, *, model: str, system: str | None
    ) -> Saying:
        """Put together what a cell sends.

        Raises
        ------
        ContentError
            There is nothing to send, or the conversation's last message has no reply yet.
        """
        if conversation is None:
            return Saying(prompt=prompt, messages=[user_message(prompt.blocks())])
        step = self.step(conversation)
        if step is not None:
            raise ContentError(_too_early(step))
        draft = drafted(conversation, prompt, model=model, system=system)
        noted = dataclasses.replace(prompt, notes=(*prompt.notes, *draft.notes))
        return Saying(prompt=noted, messages=draft.messages, conversation=conversation, draft=draft)

    @contextlib.contextmanager
    def asking(self, saying: Saying) -> Iterator[None]:
        """Let what begins in the conversation meanwhile wait for the reply to a cell."""
        if saying.conversation is None:
            yield
            return
        step = _Asking()
        try:
            self.begin(saying.conversation, step)
            yield
        finally:
            step.cancel()

    def answered(self, saying: Saying, reply: Reply) -> None:
        """Take what a cell said, and its reply, into the conversation."""
        if saying.conversation is not None and saying.draft is not None:
            self._accept(saying.conversation, saying.draft)
            self._take_in(saying.conversation, saying.draft, reply)

    def queued(self, saying: Saying, job: Job) -> None:
        """Do the same with a cell's job, once its reply has come; a failed one leaves no trace."""
        conversation, draft = saying.conversation, saying.draft
        if conversation is None or draft is None:
            return

        def take_in() -> None:
            if job.error is None and job.reply is not None:
                self._take_in(conversation, draft, job.reply)

        self.begin(conversation, job, take_in)
        self._accept(conversation, draft)

    def _accept(self, conversation: Conversation, draft: Draft) -> None:
        """Let `-c` continue it, with what it was sent with, unless it comes to nothing."""
        conversation.model, conversation.system = draft.model, draft.system
        with self._lock:
            others = [known for known in self._of_cells if known is not conversation]
            self._of_cells = [*others, conversation]

    def _take_in(self, conversation: Conversation, draft: Draft, reply: Reply) -> None:
        conversation.commit(draft, reply)
        with self._lock:  # nothing from before it can be the last one again
            if conversation in self._of_cells:
                self._of_cells = self._of_cells[self._of_cells.index(conversation) :]

    def _end(self, key: tuple[int, Conversation], ended: _UnderWay) -> None:
        ended.over()
        with self._lock:
            self._under_way[key].remove(ended)
            if not self._under_way[key]:
                del self._under_way[key]


class _Asking(Ending[bool, str]):
    """A cell that waits for its reply: a step that ends with it, however that goes."""

    def __init__(self) -> None:
        super().__init__("asking")

    def cancel(self) -> bool:
        """Let nobody wait for it any longer."""
        return self._finish("over", True, None)


@dataclass(frozen=True, eq=False)
class _UnderWay:
    step: Step
    take_in: Callable[[], object]

    def over(self) -> bool:
        """Tell whether it has ended; if so, its reply is in the conversation.

        Whoever waited for it may come here before the thread that ended it has done so.
        """
        if not self.step.done():
            return False
        self.take_in()
        return True


def _too_early(step: Step) -> str:
    request_id = getattr(step, "request_id", None)
    other = "another cell" if isinstance(step, _Asking) else "a turn of its chat"
    what = f"job {request_id}" if request_id else other
    return (
        f"This conversation still waits for {what}. Wait until the reply is there (`%segmind "
        "wait`), or press Stop, and run this cell again."
    )
