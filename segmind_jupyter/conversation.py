"""What was said and answered, which old images go again, and which conversation a cell continues.

Nothing is sent here. Threads may share all of it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import itertools
import json
import threading
import time
import unicodedata
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

from segmind_jupyter.api.jobs import Pending, tell
from segmind_jupyter.api.loop import Waiter, wait_interruptibly
from segmind_jupyter.api.messages import Block, Ledger, Message, Reply, Usage, user_message
from segmind_jupyter.errors import (
    ContentError,
    JobCancelled,
    SegmindError,
    SettingsError,
    shortened,
)
from segmind_jupyter.words import encodable, one_line, to_text

if TYPE_CHECKING:
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.journal import Journal
    from segmind_jupyter.content.json_schema import Expected
    from segmind_jupyter.content.prompt import Prompt

#: Longest name of a conversation, in characters.
_MAX_NAME_CHARS: Final = 80

#: Stands in for a reply without a visible character: Anthropic models refuse such a text block.
_NO_TEXT: Final = "(no text)"

#: So many images go again at most: above 20 Anthropic bounds their sides to 2000 px (Anthropic's
#: vision page).
MAX_IMAGES: Final = 20

#: Of the 32 MB that a request may hold, the rest is for words and parameters.
_MAX_IMAGE_BYTES: Final = 20_000_000


#: Cells whose conversations `-c` looks through for the last that has a reply.
_MAX_CELLS: Final = 20


class Stage(StrEnum):
    """How far a turn has come."""

    WAITING = "waiting"  # an earlier turn of the same conversation has not ended
    SENT = "sent"  # on its way, or with the model (v1 does not tell)
    QUEUED = "queued"  # Segmind has it in its queue (v2)
    PROCESSING = "processing"  # the model is at work (v2)
    ANSWERED = "answered"  # the reply is there, and part of the conversation
    FAILED = "failed"  # there is no reply; `Turn.error` says why
    STOPPED = "stopped"  # by the user


class Turn(Pending[Reply, Stage]):
    """What was said in a conversation, and what comes of it. Made by `Chat.send`, and by cells.

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
        replacing: Turn | None = None,
        expected: Expected | None = None,
        wait: Waiter = wait_interruptibly,
    ) -> None:
        super().__init__(Stage.WAITING, wait=wait)
        self.prompt = prompt
        #: As they go over the wire, now and in all later requests: an image is encoded once.
        self.blocks: tuple[Block, ...] = tuple(prompt.blocks())
        if not self.blocks:
            raise ContentError(
                "There is nothing to say. Write what you want to know, or attach something."
            )
        #: The turn that it takes the place of once it is answered (`Chat.regenerate`).
        self.replacing = replacing
        self.expected = expected
        self.notes: tuple[str, ...] = prompt.notes
        #: The job that it became, where it goes by v2.
        self.job: Job | None = None
        self._cancel: Callable[[], object] = lambda: None
        self._began = time.time()
        self._is_counted = False
        self.labels = [shortened(item.label) for item in prompt.sent for _ in item.images]
        self.image_bytes = [
            len(block["source"]["data"]) for block in self.blocks if block["type"] == "image"
        ]
        # Every request of a conversation holds all its messages, so those are made once, or long
        # conversations would take memory by the square.
        self._message = user_message(self.blocks)

    def __repr__(self) -> str:
        objects = ", ".join(item.label or item.summary for item in self.prompt.sent)
        why = f" ({type(self.error).__name__})" if self.stage is Stage.FAILED else ""
        return f"<Turn {self.stage}{why}: {one_line(self.text or objects, max_chars=60)!r}>"

    @property
    def text(self) -> str:
        """The words that were said, with the names of objects where they stood among them."""
        # What stands before all words was attached to them, and is shown apart.
        among = itertools.dropwhile(lambda piece: not isinstance(piece, str), self.prompt.pieces)
        words = (p if isinstance(p, str) else f"{{{p.name}}}" if p.name else "" for p in among)
        return "".join(words).strip()

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        return self._state

    @property
    def reply(self) -> Reply | None:
        """The reply, or `None` where there is none (yet); `error` says why."""
        return self._outcome

    @property
    def over(self) -> bool:
        """Whether it has ended; true a moment before those who wait for it go on."""
        return self._ended_at is not None

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was said, until its end."""
        return max(0.0, (self._ended_at or time.time()) - self._began)

    @property
    def replied_at(self) -> float:
        """Unix time of its end, or now."""
        return self._ended_at or time.time()

    def stop(self) -> bool:
        """Give it up; `False` if it had ended. A model that has begun may still be billed."""
        why = "The turn was stopped before it was sent."
        if self._state is not Stage.WAITING:
            why = "The turn was stopped. If the model had begun, it may still be billed."
        if self.request_id:
            why = f"{why[:-1]}; `%segmind resume {self.request_id}` fetches its reply."
        if not self._finish(Stage.STOPPED, None, JobCancelled(why, request_id=self.request_id)):
            return False
        self._cancel()
        return True

    # What follows is for those who bring it to its end.

    def answered_by(self, cancel: Callable[[], object]) -> None:
        """Know what to call when it is stopped."""
        self._cancel = cancel
        if self.over:  # stopped before this was known
            cancel()

    def queued_as(self, job: Job) -> None:
        """Note the job that it became, and move on with it."""
        self.job, self.request_id = job, job.request_id
        self.move(Stage.QUEUED)

        def follow(job: Job) -> None:
            if job.status == "PROCESSING":
                self.move(Stage.PROCESSING)

        job.on_change(follow)

    def answer(self, reply: Reply) -> bool:
        """End it with a reply; `False` if it had ended."""
        return self._finish(Stage.ANSWERED, reply, None)

    def fail(self, error: SegmindError) -> None:
        """Note why there is no reply; nothing happens if it has ended."""
        # Whoever stops the job, on its card or elsewhere, has stopped the turn.
        stage = Stage.STOPPED if isinstance(error, JobCancelled) else Stage.FAILED
        self._finish(stage, None, error)

    def message(self, *, without: int = 0) -> Message:
        """Return the question with a text in place of its first images; not to be changed."""
        if not (left_out := self.labels[:without]):
            return self._message
        stand_ins = map(_stand_in, left_out)
        return user_message(
            next(stand_ins, block) if block["type"] == "image" else block for block in self.blocks
        )

    @functools.cached_property
    def sent_back(self) -> Message:
        """The reply as it goes over the wire in all later requests: as text alone."""
        # A server may refuse half a surrogate pair, and with it the whole conversation from
        # then on.
        text = encodable(self.reply.text if self.reply else "")
        block = {"type": "text", "text": text if to_text(text).strip() else _NO_TEXT}
        return {"role": "assistant", "content": [block]}

    def to_dict(self, reply: Reply) -> dict[str, Any]:
        """Tell it, with its images, as `to_json` writes and `of_dict` reads it."""
        return {
            **dataclasses.asdict(self.prompt),
            "replied_at": self.replied_at,
            "reply": dataclasses.asdict(dataclasses.replace(reply, raw=None, request=None)),
        }

    @classmethod
    def of_dict(cls, told: Mapping[str, Any]) -> Self:
        """Make the turn that `to_dict` told of."""
        from segmind_jupyter.content.parts import Image, Text
        from segmind_jupyter.content.prompt import Attachment, Prompt

        def part(fields: dict[str, Any]) -> Text | Image:
            fields = {**fields, "notes": tuple(fields["notes"])}
            if "data" not in fields:
                return Text(**fields)
            return Image(**{**fields, "data": base64.b64decode(fields["data"])})

        pieces = tuple(
            each
            if isinstance(each, str)
            else Attachment(each["name"], tuple(map(part, each["parts"])))
            for each in told["pieces"]
        )
        reply = Reply(**{**told["reply"], "usage": Usage(**told["reply"]["usage"])})
        turn = cls(Prompt(pieces, tuple(told["notes"])))
        turn.answer(reply)
        turn._ended_at = float(told["replied_at"])
        turn._began = turn._ended_at - (reply.elapsed_s or 0.0)
        return turn


def _stand_in(label: str) -> Block:
    name = f": {label}," if label else ""
    text = f"[An image that was sent here before{name} is no longer attached.]"
    return {"type": "text", "text": text}


class CellTurn(Turn):
    """What a cell says; with its reply, the conversation goes on with its model and system."""

    def __init__(
        self, prompt: Prompt, conversation: Conversation, model: str | None, system: str | None
    ) -> None:
        super().__init__(prompt)
        self.conversation, self.model, self.system = conversation, model, system

    def settle(self) -> None:
        """Take in what its job has brought."""
        if self.job is None or not self.job.done():
            return
        if self.job.error is not None:
            self.fail(self.job.error)
        elif self.job.reply is not None:
            self.conversation.take(self, self.job.reply, model=self.model)


def to_json(told: object) -> str:
    """Write what `Turn.to_dict` tells, images in base64."""
    return json.dumps(told, default=lambda data: base64.b64encode(data).decode())


class Conversation:
    """Turns between a user and a model, in the order in which they were begun."""

    def __init__(self, *, name: str = "") -> None:
        self.name = name
        #: So many images go with a request, the newest.
        self.max_images = MAX_IMAGES
        self.model: str | None = None
        self.system: str | None = None
        #: Of all that was paid for, whatever became of it since.
        self.ledger = Ledger()
        self._turns: tuple[Turn, ...] = ()
        self._listeners: list[Callable[[Conversation], object]] = []
        #: Where turns are kept, if they are, and the keys of those that are there.
        self._journal: Callable[[], Journal] | None = None
        self._kept: dict[Turn, str] = {}
        #: Held while turns change, and never while anybody is called.
        self._lock = threading.RLock()

    @property
    def said(self) -> tuple[Turn, ...]:
        """Everything that was said and not cleared, oldest first, also what failed."""
        with self._lock:
            gone = {turn.replacing for turn in self._turns if turn.reply is not None}
            self._turns = tuple(turn for turn in self._turns if turn not in gone)
            return self._turns

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was asked and answered: what the next turn continues."""
        return tuple(turn for turn in self.said if turn.reply is not None)

    @property
    def messages(self) -> list[Message]:
        """What was asked and answered as it would be sent now, without the images left out."""
        sent, _ = self._sent_again(self.turns)
        return [{**message, "content": [*message["content"]]} for message in sent]

    def request(self, turn: Turn) -> tuple[list[Message], tuple[str, ...]]:
        """Return what is sent with a turn, and what to say of older images left out.

        A line of text stands in the place of each of them.
        """
        before = [each for each in self.turns if each is not turn.replacing]
        sent, n_left_out = self._sent_again(before, turn.image_bytes)
        note = (
            f"Older images no longer sent: {n_left_out} (the newest {self.max_images} go, within "
            f"{_MAX_IMAGE_BYTES // 1_000_000} MB). Attach again what you want to ask about."
        )
        return [*sent, turn.message()], (note,) if n_left_out else ()

    def _sent_again(
        self, turns: Sequence[Turn], own: Sequence[int] = ()
    ) -> tuple[list[Message], int]:
        """Return the messages of turns, and how many of their images a new one's leave no room."""
        sizes = [size for turn in turns for size in turn.image_bytes]
        totals = itertools.accumulate([*own, *reversed(sizes)])  # the newest go first
        n_fit = sum(total <= _MAX_IMAGE_BYTES for total in totals)
        n_kept = max(0, min(n_fit, self.max_images) - len(own))
        n_left_out = without = max(0, len(sizes) - n_kept)
        messages: list[Message] = []
        for turn in turns:
            messages += turn.message(without=without), turn.sent_back
            without = max(0, without - len(turn.labels))
        return messages, n_left_out

    def under_way(self) -> list[Turn]:
        """Return the turns that have not ended, once all replies that have come are in.

        Whoever waited for a cell's job may be here before the thread that takes its reply in.
        """
        for turn in self.said:
            if isinstance(turn, CellTurn):
                turn.settle()
        return [turn for turn in self.said if not turn.over]

    def begin(self, turn: Turn) -> list[Turn]:
        """Put a turn behind the others, and return those that have to end before it."""
        with self._lock:
            before = [each for each in self.said if not each.over]
            self._turns = (*self._turns, turn)
        turn.on_change(lambda _: self.changed())
        turn.on_done(lambda _: self.changed())
        self.changed()
        return before

    def begin_again(self, wait: Waiter) -> tuple[Turn, list[Turn]]:
        """Begin what says the same as the last turn; that one goes if it had failed."""
        with self._lock:
            last = self._last_ended()
            old = last.replacing if last.reply is None else last
            turn = Turn(last.prompt, replacing=old, expected=last.expected, wait=wait)
            if last.reply is None:  # there is no answer to keep until the new one is there
                self._turns = self._turns[:-1]
        return turn, self.begin(turn)

    def take(self, turn: Turn, reply: Reply, *, model: str | None = None) -> None:
        """Take in a reply, once; of a turn that was stopped or cleared it was paid for alone."""
        with self._lock:
            if not turn._is_counted and reply.cached_at is None:
                self.ledger.add(reply, model=model or reply.model or "unknown")
            turn._is_counted = True
            if not turn.over and turn in self._turns:
                self._keep(turn, reply)  # before those who wait for it go on
        turn.answer(reply)

    def take_back(self, turn: Turn | None = None) -> Turn:
        """Take out a turn, the last one if none is given, with all that was said after it."""
        with self._lock:
            turn = turn or self._last_ended()
            said = self.said
            if turn not in said:
                raise ContentError("That turn is not part of this conversation any more.")
            self._last_ended()
            # Asked again in vain, it stands behind its own answer: they are one message.
            first = turn.replacing if turn.replacing in said else turn
            self._turns = said[: said.index(first)]
        self.changed()
        return turn

    def _last_ended(self) -> Turn:
        if not (said := self.said):
            raise ContentError("Nothing was said yet. Say something first: chat.send('Hello').")
        if not said[-1].over:
            raise ContentError("The last turn has not ended. Wait for it, or stop it first.")
        return said[-1]

    def clear(self) -> tuple[Turn, ...]:
        """Forget everything that was said, and return it; usage stays."""
        with self._lock:
            turns, self._turns = self.said, ()
        self.changed()
        return turns

    def listen(self, callback: Callable[[Conversation], object]) -> Callable[[], None]:
        """Call `callback(conversation)` at every change, on the thread that brings it."""
        self._listeners.append(callback)
        return lambda: self._listeners.remove(callback) if callback in self._listeners else None

    def changed(self) -> None:
        """Bring the journal in line with what was said, and tell those who listen."""
        with self._lock:
            if self._journal is not None:
                there = self.said
                for turn in list(self._kept):
                    if turn not in there or (turn.over and turn.reply is None):
                        self._journal().forget_turn(self.name, self._kept.pop(turn))
                for turn in self.turns:
                    self._keep(turn, turn.reply)
            listeners = tuple(self._listeners)
        for listener in listeners:
            tell(listener, self)

    def restore(self, told: Mapping[str, Any]) -> Turn:
        """Take in what `Turn.to_dict` told; what it took was paid for elsewhere."""
        turn = Turn.of_dict(told)
        with self._lock:
            self._turns = (*self.said, turn)
        return turn

    def keep(self, journal: Callable[[], Journal]) -> None:
        """Go on where earlier kernels were, and keep what was said and what comes."""
        with self._lock:
            if self._journal is not None:
                return
            self._journal = journal
            here, self._turns = self._turns, ()
            for key, body in journal().kept_turns(self.name):
                with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                    told = json.loads(body)
                    self._kept[self.restore(told)] = key
                    self.model = self.model or told["model"]
                    self.system = told["system"] if self.system is None else self.system
            self._turns += here
        self.changed()

    def _keep(self, turn: Turn, reply: Reply | None) -> None:
        if self._journal is None or reply is None or turn in self._kept:
            return
        key = self._kept[turn] = uuid.uuid4().hex
        told = {**turn.to_dict(reply), "model": self.model, "system": self.system}
        self._journal().keep_turn(self.name, key, to_json(told).encode())


def spelled_alike(name: str) -> str:
    """Return the one spelling of a name: an accent may be typed as one character or as two."""
    return " ".join(unicodedata.normalize("NFC", name).split())


class ConversationRegistry:
    """The conversations that cells and chats have, by name or as the last one."""

    def __init__(self) -> None:
        self._named: dict[str, Conversation] = {}
        #: Those of the newest cells, the last one at the end; one whose job fails is passed over.
        self._of_cells: deque[Conversation] = deque(maxlen=_MAX_CELLS)
        self._lock = threading.Lock()

    def named(self, name: str) -> Conversation:
        """Return the one conversation of that name; a new one where the name is empty."""
        if not isinstance(name, str) or len(name) > _MAX_NAME_CHARS or not name.isprintable():
            raise SettingsError(
                f"A conversation cannot have the name {name!r:.100}: give up to {_MAX_NAME_CHARS} "
                "letters or other visible characters."
            )
        if not (name := spelled_alike(name)):
            return Conversation()
        with self._lock:
            return self._named.setdefault(name, Conversation(name=name))

    @property
    def names(self) -> tuple[str, ...]:
        """Every name in use, in the order of the first uses."""
        return tuple(self._named)

    def last(self) -> Conversation:
        """Return the conversation of the last cell that was answered, or is still to be."""
        for conversation in reversed(list(self._of_cells)):
            if conversation.under_way() or conversation.turns:
                return conversation
        raise ContentError(
            "There is nothing to continue: no `%%claude` of this kernel has a reply yet. Leave "
            "`-c` out to begin."
        )

    def say(
        self, prompt: Prompt, conversation: Conversation | None, *, model: str, system: str | None
    ) -> tuple[Prompt, Sequence[Message], CellTurn | None]:
        """Put together what a cell sends, and what of it continues a conversation."""
        if conversation is None:
            return prompt, [user_message(prompt.blocks())], None
        if going_on := conversation.under_way():
            job = going_on[0].job
            what = f"job {job.request_id}" if job else "a reply"
            raise ContentError(
                f"This conversation still waits for {what}. Wait until it is there (`%segmind "
                "wait`), or press Stop, and run this cell again."
            )
        turn = CellTurn(prompt, conversation, model, system)
        messages, notes = conversation.request(turn)
        turn.notes = (*prompt.notes, *notes)
        return dataclasses.replace(prompt, notes=turn.notes), messages, turn

    def take(self, turn: CellTurn | None, came: Reply | Job) -> None:
        """Take what a cell said into its conversation, with the reply, or once its job has one."""
        if turn is None:
            return
        conversation = turn.conversation
        if not isinstance(came, Reply):
            turn.queued_as(came)
        conversation.begin(turn)
        # `-c` continues it, with what it was sent with, unless it comes to nothing.
        conversation.model, conversation.system = turn.model, turn.system
        with self._lock:
            if conversation in self._of_cells:
                self._of_cells.remove(conversation)
            self._of_cells.append(conversation)
        if isinstance(came, Reply):
            conversation.take(turn, came, model=turn.model)
        else:
            turn.answered_by(came.cancel)
            came.on_done(lambda _: turn.settle())
