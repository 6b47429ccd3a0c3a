"""The conversations of a process, as its cells and chats go on with them. Nothing is sent here.

Which one `-c` continues, which has what name, and what is under way in each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from segmind_jupyter.api.jobs import Pending
from segmind_jupyter.api.messages import Block, Message, Reply, user_message
from segmind_jupyter.api.usage import Ledger, Totals, total
from segmind_jupyter.errors import ContentError, SettingsError, shortened

if TYPE_CHECKING:
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.content.prompt import Prompt


_LAST: Final = re.compile(r"(?:last )?(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """A bound on what one request holds, kept by leaving the oldest images out.

    `KEEP_ALL`, `FIT` and `keep_last` make the usual ones; ``str(policy)`` is the word by which
    `ImagePolicy.of` finds it again.
    """

    word: str
    reason: str = ""
    max_images: int | None = None
    max_bytes: int | None = None
    lowered_to: float = 1.0

    @classmethod
    def of(cls, value: ImagePolicy | str | int) -> ImagePolicy:
        """Read what a person may write: ``"fit"``, ``"all"``, ``3``, ``"3"`` or ``"last 3"``."""
        if isinstance(value, cls):
            return value
        word = " ".join(str(value).lower().split())
        if word in _BY_WORD:
            return _BY_WORD[word]
        if match := _LAST.fullmatch(word):
            return keep_last(int(match[1]))
        raise SettingsError(
            f"{shortened(repr(value))} does not say which images are sent again. Write 'fit', "
            "'all', or how many of the newest, such as 3."
        )

    def __str__(self) -> str:
        return self.word

    def surplus(self, old: Sequence[int], *, own_images: int = 0, other_bytes: int = 0) -> int:
        """Count the old images that have to be left out of a request."""
        n_bytes = other_bytes + sum(old)
        if self._holds(own_images + len(old), n_bytes):
            return 0
        for count, image_bytes in enumerate(old):
            if self._holds(own_images + len(old) - count, n_bytes, share=self.lowered_to):
                return count
            n_bytes -= image_bytes
        return len(old)

    def _holds(self, images: int, n_bytes: int, *, share: float = 1.0) -> bool:
        return (self.max_images is None or images <= self.max_images * share) and (
            self.max_bytes is None or n_bytes <= self.max_bytes * share
        )


def keep_last(count: int) -> ImagePolicy:
    """Send the newest `count` images alone, those of the new message included; 0 for no old one."""
    if count < 0:
        raise SettingsError(f"{count} images cannot be kept. Give 0 or more.")
    kept = "one is" if count == 1 else f"{count} are"
    reason = f"only the last {kept} kept" if count else "each image is sent once"
    return ImagePolicy(f"last {count}", reason, max_images=count)


#: Send every image every time. Segmind's gateway takes 32 MB, the models take 100 images.
KEEP_ALL: Final = ImagePolicy("all")

#: Stay within 20 images, above which Anthropic bounds their sides to 2000 px (Anthropic's vision
#: page), and within 20 MB: far enough from the 32 MB that a request takes to hold the system
#: prompt and the parameters too.
FIT: Final = ImagePolicy(
    "fit",
    "a request is kept within 20 images and 20 MB",
    max_images=20,
    max_bytes=20_000_000,
    lowered_to=0.75,
)

_BY_WORD: Final = {policy.word: policy for policy in (KEEP_ALL, FIT)}


#: Stands in for a reply without a visible character: Anthropic models refuse such a text block.
_NO_TEXT = "(no text)"

#: Bytes of an image's block besides its data, and of a message besides its blocks; rounded up.
_AROUND_AN_IMAGE, _AROUND_A_MESSAGE = 100, 50


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a message."""

    label: str
    n_bytes: int
    stand_in: Block


@dataclass(frozen=True, slots=True)
class Remembered:
    """One message, ready to be sent again and again."""

    role: Literal["user", "assistant"]
    blocks: tuple[Block, ...]
    pictures: tuple[Picture, ...]
    other_bytes: int
    whole: Message

    def message(self, *, without: int = 0) -> Message:
        """Return the message, with a text in place of each of its first `without` images.

        Not to be changed: every request of a conversation holds all of its messages, so those
        that are whole are one object, or long conversations would take memory by the square.
        """
        if not (without and self.pictures):
            return self.whole
        stand_ins = (picture.stand_in for picture in self.pictures[:without])
        content = [next(stand_ins, block) if _is_image(block) else block for block in self.blocks]
        return {"role": self.role, "content": content}


def asked(blocks: Iterable[Block], *, labels: Sequence[str] = ()) -> Remembered:
    """Remember what the user says; blank texts are left out, as Anthropic models refuse them."""
    kept = tuple(block for block in blocks if not _is_blank(block))
    if not kept:
        raise ContentError(
            "The message is empty. Write what you want to know, or attach something."
        )
    images = filter(_is_image, kept)
    pictures = tuple(
        _picture(block, label)
        for block, label in zip(images, chain(labels, repeat("")), strict=False)
    )
    return _measured("user", kept, pictures)


def replied(text: str) -> Remembered:
    """Remember a reply: as text alone, whatever it holds.

    Half a surrogate pair becomes a question mark: a server may refuse it, and would from then on
    refuse the whole conversation.
    """
    sendable = text.encode("utf-8", "replace").decode("utf-8")
    block = {"type": "text", "text": sendable if sendable.strip() else _NO_TEXT}
    return _measured("assistant", (block,), ())


def _measured(
    role: Literal["user", "assistant"], blocks: tuple[Block, ...], pictures: tuple[Picture, ...]
) -> Remembered:
    others = [block for block in blocks if not _is_image(block)]
    written = [*others, *(picture.stand_in for picture in pictures)]
    other_bytes = sum(map(_json_bytes, written), _AROUND_A_MESSAGE)
    return Remembered(role, blocks, pictures, other_bytes, {"role": role, "content": list(blocks)})


def _picture(block: Block, label: str) -> Picture:
    label = shortened(label)
    name = f": {label}," if label else ""
    text = f"[An image that was sent here before{name} is no longer attached.]"
    return Picture(label, _image_bytes(block), {"type": "text", "text": text})


def _image_bytes(block: Block) -> int:
    """Tell how long an image's block is in JSON; base64 needs no escapes."""
    source: Any = block.get("source")
    data = source.get("data") if isinstance(source, dict) else None
    return len(data) + _AROUND_AN_IMAGE if isinstance(data, str) else _json_bytes(block)


def _json_bytes(block: Block) -> int:
    """Tell how long a block is in JSON with every character outside ASCII escaped."""
    return len(json.dumps(block, default=str)) + len(",")


def _is_image(block: Block) -> bool:
    return block.get("type") == "image"


def _is_blank(block: Block) -> bool:
    return block.get("type") == "text" and not str(block.get("text", "")).strip()


#: Most images that a note names; the others are counted.
_MAX_NAMED = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class Exchange:
    """A question and its reply; equal to itself alone."""

    blocks: tuple[Block, ...] = field(repr=False)
    reply: Reply
    replied_at: float
    request: Any = field(default=None, repr=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class Draft:
    """A request that is to continue a conversation; equal to itself alone."""

    messages: tuple[Message, ...] = field(repr=False)
    notes: tuple[str, ...]
    model: str | None
    system: str | None
    blocks: tuple[Block, ...] = field(repr=False)
    request: Any = field(default=None, repr=False)
    _asked: Remembered = field(repr=False)
    _past: _Past = field(repr=False)
    _dropped: int = field(repr=False)
    _replacing: Exchange | None = field(default=None, repr=False)


class Conversation:
    """Turns between a user and a model. Threads may share it."""

    def __init__(
        self,
        *,
        model: str | None = None,
        system: str | None = None,
        name: str = "",
        images: ImagePolicy | str | int = FIT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.model = model
        self.system = system
        self.name = name
        self.ledger = Ledger()
        self._clock = clock
        # Immutable, and replaced under the lock: whoever reads it once has read one moment.
        self._past = _Past(policy=ImagePolicy.of(images))
        self._committed: weakref.WeakKeyDictionary[Draft, Exchange] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    @property
    def turns(self) -> tuple[Exchange, ...]:
        """What was asked and answered, oldest first."""
        return tuple(turn.exchange for turn in self._past.turns)

    @property
    def messages(self) -> list[Message]:
        """What was asked and answered as it would be sent now, without the images left out.

        The messages are made anew at every look; their blocks are those of the conversation.
        """
        past = self._past
        dropped = past.dropped_after(past.surplus(past.turns))
        messages = _messages(past.turns, dropped=dropped)
        return [{**message, "content": [*message["content"]]} for message in messages]

    @property
    def usage(self) -> Totals:
        """Tokens and cost of all that was paid for.

        It never goes down: an exchange counts also after `drop`, `drop_last`, `clear`, or a commit
        that came too late, and so does what was added to `ledger`.
        """
        return total(self.ledger.calls)

    @property
    def images(self) -> ImagePolicy:
        """Which images of earlier messages are sent again.

        Another policy begins anew: it may bring back images that the former left out.
        """
        return self._past.policy

    @images.setter
    def images(self, images: ImagePolicy | str | int) -> None:
        policy = ImagePolicy.of(images)
        with self._lock:
            if policy != self._past.policy:
                self._past = dataclasses.replace(self._past, policy=policy, dropped=0)

    def draft(
        self,
        blocks: Iterable[Block],
        *,
        request: object = None,
        labels: Sequence[str] = (),
        replacing: Exchange | None = None,
    ) -> Draft:
        """Make a request that continues the conversation, which it leaves as it is.

        Drafts that are never committed cost nothing: drop them. The blocks are sent as the
        objects that they are, in this request and in all later ones, so an image is encoded
        once. Where the policy leaves old images out, a line of text says so in their place; what
        a committed draft left out stays out, so that the beginning of what is sent stays equal.
        """
        message = asked(blocks, labels=labels)
        past = self._past
        turns = past.turns_without(replacing)
        surplus = past.surplus(turns, message)
        dropped = past.dropped_after(surplus)
        return Draft(
            messages=(*_messages(turns, dropped=dropped), message.message()),
            notes=tuple(_notes(past.policy, [picture.label for _, picture in surplus])),
            model=self.model,
            system=self.system,
            blocks=message.blocks,
            request=request,
            _asked=message,
            _past=past,
            _dropped=dropped,
            _replacing=replacing,
        )

    def commit(self, draft: Draft, reply: Reply) -> Exchange:
        """Take a draft and its reply into the conversation, behind all that is there by now.

        A draft that was made before `clear` was called is cleared too: its reply is paid for and
        counts in `usage`, but does not become part of the conversation (``exchange in
        conversation.turns`` tells). One that was made before `drop_last` does. A second commit of
        one draft changes nothing and gives the exchange of the first.
        """
        answer = replied(reply.text)
        with self._lock:
            known = self._committed.get(draft)
            if known is not None:
                return known
            exchange = self._committed[draft] = Exchange(
                blocks=draft.blocks,
                reply=reply,
                replied_at=self._clock(),
                request=draft.request,
            )
            if reply.cached_at is None:
                self.ledger.add(reply, model=draft.model or reply.model or "unknown")
            self._past = self._past.after(draft, exchange, answer)
        return exchange

    def drop_last(self) -> Exchange | None:
        """Take the last exchange out and return it; `None` where there is none.

        To ask it again without losing it if that fails, draft with `replacing` instead.
        """
        with self._lock:
            if not self._past.turns:
                return None
            *turns, last = self._past.turns
            self._past = dataclasses.replace(self._past, turns=tuple(turns))
        return last.exchange

    def drop(self, exchange: Exchange) -> bool:
        """Take an exchange out, wherever it stands; `False` where it is no longer there."""
        with self._lock:
            turns = self._past.turns_without(exchange)
            was_there = len(turns) < len(self._past.turns)
            self._past = dataclasses.replace(self._past, turns=turns)
        return was_there

    def clear(self) -> None:
        """Forget all exchanges, also those of drafts that wait for their reply; usage stays."""
        with self._lock:
            self._past = _Past(policy=self._past.policy)


@dataclass(frozen=True, slots=True)
class _Turn:
    """An exchange, ready to be sent again.

    The images of a conversation are numbered in the order in which they were committed, and no
    number is given twice: "all before number 7" means the same whatever is dropped meanwhile.
    """

    exchange: Exchange
    asked: Remembered
    answer: Remembered
    first_image: int

    @property
    def pictures(self) -> Iterable[tuple[int, Picture]]:
        return enumerate(self.asked.pictures, self.first_image)


#: Images and their numbers, oldest first.
_Numbered = Sequence[tuple[int, Picture]]


@dataclass(frozen=True, slots=True)
class _Past:
    """A conversation at one moment."""

    policy: ImagePolicy
    turns: tuple[_Turn, ...] = ()
    dropped: int = 0
    next_image: int = 0
    era: object = field(default_factory=object)

    def turns_without(self, exchange: Exchange | None) -> tuple[_Turn, ...]:
        return tuple(turn for turn in self.turns if turn.exchange is not exchange)

    def surplus(self, turns: Sequence[_Turn], message: Remembered | None = None) -> _Numbered:
        """Return the images of `turns` that are to be left out from now on, with a new message."""
        new = [message] if message else []
        own = [picture.n_bytes for each in new for picture in each.pictures]
        said = [*new, *(each for turn in turns for each in (turn.asked, turn.answer))]
        old = [each for turn in turns for each in turn.pictures if each[0] >= self.dropped]
        count = self.policy.surplus(
            [picture.n_bytes for _, picture in old],
            own_images=len(own),
            other_bytes=sum(own) + sum(each.other_bytes for each in said),
        )
        return old[:count]

    def dropped_after(self, surplus: _Numbered) -> int:
        return surplus[-1][0] + 1 if surplus else self.dropped

    def after(self, draft: Draft, exchange: Exchange, answer: Remembered) -> _Past:
        """Append what was drafted, unless the conversation was cleared since then."""
        if draft._past.era is not self.era:
            return self
        turn = _Turn(exchange, draft._asked, answer, self.next_image)
        same_policy = draft._past.policy == self.policy
        return dataclasses.replace(
            self,
            turns=(*self.turns_without(draft._replacing), turn),
            dropped=max(self.dropped, draft._dropped) if same_policy else self.dropped,
            next_image=self.next_image + len(draft._asked.pictures),
        )


def _messages(turns: Iterable[_Turn], *, dropped: int) -> Iterator[Message]:
    for turn in turns:
        yield turn.asked.message(without=max(0, dropped - turn.first_image))
        yield turn.answer.message()


def _notes(policy: ImagePolicy, labels: Sequence[str]) -> Iterator[str]:
    """Say which images are left out, and what to do about it."""
    if not labels:
        return
    count = len(labels)
    what = "1 older image is" if count == 1 else f"{count} older images are"
    named = [label for label in labels if label][:_MAX_NAMED]
    unnamed = [f"{count - len(named)} more"] if named and count > len(named) else []
    listed = ": " + "; ".join([*named, *unnamed]) if named else ""
    yield (
        f"{what} no longer sent ({policy.reason}){listed}. Attach again what you want to ask about."
    )


class Step(Protocol):
    """A cell, a job or a turn: what goes on in a conversation until it ends."""

    def done(self) -> bool:
        """Return whether it has ended."""

    def on_done(self, callback: Callable[[Any], object]) -> None:
        """Have something called at its end."""

    async def settled(self) -> None:
        """Wait for its end on a loop, whatever that is."""

    def cancel(self) -> object:
        """Return it up."""


@dataclass(frozen=True, kw_only=True)
class PendingMessage:
    """A prompt on its way: alone, or as the next message of a conversation."""

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
    """Draft what continues a conversation with a prompt, under the labels of its objects."""
    draft = conversation.draft(
        prompt.blocks() if blocks is None else blocks,
        request=prompt,
        labels=[item.label for item in prompt.sent for _ in item.images],
        replacing=replacing,
    )
    return dataclasses.replace(draft, model=model, system=system)


class ConversationRegistry:
    """Those that cells and chats have, by name or as the last one. Threads may share it."""

    def __init__(self) -> None:
        self._named: dict[str, Conversation] = {}
        #: Of the cells that were taken: the last one answered, and what came after it.
        self._of_cells: list[Conversation] = []
        # By process: in a forked child, what the parent has under way never ends.
        self._under_way: dict[tuple[int, Conversation], list[_UnderWay]] = {}
        self._lock = threading.Lock()

    def named(self, name: str, make: Callable[[], Conversation]) -> Conversation:
        """Return the conversation of that name; `make` makes it at its first use."""
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
        """Return the conversation of the last cell that was answered, or is still to be."""
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
        """Return what is under way in a conversation, if anything is."""
        with self._lock:
            under_way = list(self._under_way.get((os.getpid(), conversation), ()))
        return next((each.step for each in under_way if not each.over()), None)

    def begin(
        self,
        conversation: Conversation,
        step: Step,
        take_in: Callable[[], object] = lambda: None,
    ) -> list[Step]:
        """Note what goes on in a conversation from now on."""
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
        """Return up everything that is under way in a conversation, the newest first."""
        with self._lock:
            here = [steps for (pid, _), steps in self._under_way.items() if pid == os.getpid()]
        for under_way in reversed([each for steps in here for each in steps]):
            under_way.step.cancel()

    def say(
        self, prompt: Prompt, conversation: Conversation | None, *, model: str, system: str | None
    ) -> PendingMessage:
        """Put together what a cell sends."""
        if conversation is None:
            return PendingMessage(prompt=prompt, messages=[user_message(prompt.blocks())])
        step = self.step(conversation)
        if step is not None:
            raise ContentError(_too_early(step))
        draft = drafted(conversation, prompt, model=model, system=system)
        noted = dataclasses.replace(prompt, notes=(*prompt.notes, *draft.notes))
        return PendingMessage(
            prompt=noted, messages=draft.messages, conversation=conversation, draft=draft
        )

    @contextlib.contextmanager
    def asking(self, saying: PendingMessage) -> Iterator[None]:
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

    def answered(self, saying: PendingMessage, reply: Reply) -> None:
        """Take what a cell said, and its reply, into the conversation."""
        if saying.conversation is not None and saying.draft is not None:
            self._accept(saying.conversation, saying.draft)
            self._take_in(saying.conversation, saying.draft, reply)

    def queued(self, saying: PendingMessage, job: Job) -> None:
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


class _Asking(Pending[bool, str]):
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
        """Return whether it has ended; if so, its reply is in the conversation.

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
