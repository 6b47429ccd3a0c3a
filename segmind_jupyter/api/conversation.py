"""A conversation: what was asked and answered, and what the next request sends of it.

Pure and in memory: it sends nothing and knows no loop, no widget and no notebook. Any thread may
use it. What was asked becomes a part of it only together with its reply, so that a request that
failed or was stopped leaves nothing behind, and the roles of what is sent alternate always.
"""

from __future__ import annotations

import dataclasses
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from segmind_jupyter.api.image_policy import FIT, ImagePolicy
from segmind_jupyter.api.messages import Block, Message, Reply
from segmind_jupyter.api.remembered import Picture, Remembered, asked, replied
from segmind_jupyter.api.usage import Ledger, Totals, total

#: Most images that a note names; the others are counted.
_MAX_NAMED = 5


@dataclass(frozen=True, eq=False, kw_only=True)
class Exchange:
    """A question and its reply; equal to itself alone.

    Parameters
    ----------
    blocks
        What was asked, as content blocks; those of an image are large. Not to be changed.
    reply
        What the model said. Untrusted.
    replied_at
        Unix time at which the reply was committed, in seconds.
    request
        What the blocks were made from, as it was given to `Conversation.draft`.
    """

    blocks: tuple[Block, ...] = field(repr=False)
    reply: Reply
    replied_at: float
    request: Any = field(default=None, repr=False)


@dataclass(frozen=True, eq=False, kw_only=True)
class Draft:
    """A request that is to continue a conversation; equal to itself alone.

    Parameters
    ----------
    messages
        All that is to be sent: the conversation and the new message. Not to be changed, as
        other drafts hold the same.
    notes
        Sentences for the user: which images this request is the first to leave out.
    model, system
        Those of the conversation when the draft was made.
    blocks
        The new message alone, as content blocks.
    request
        What the blocks were made from; opaque here.
    """

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
    """Turns between a user and a model. Threads may share it.

    Parameters
    ----------
    model
        Slug of the model; whoever sends has a default for `None`.
    system
        System prompt.
    name
        What the user calls the conversation.
    images
        Which images of earlier messages are sent again: an `ImagePolicy`, or ``"fit"``,
        ``"all"`` or a number of the newest, as `ImagePolicy.of` reads them.
    clock
        Stands in for the clock: Unix time in seconds.

    Attributes
    ----------
    model, system, name
        As above; they may be set at any time, and a draft keeps those that it was made with.
    ledger
        The calls that were paid for. `commit` adds to it; add here what was billed and is no
        part of the conversation: the reply of a turn that was stopped and came all the same, or,
        with `Ledger.add_unknown`, a call whose outcome is unknown.

    Raises
    ------
    SettingsError
        `images` is no policy.

    Examples
    --------
    >>> conversation = Conversation(system="Be brief.")
    >>> draft = conversation.draft([{"type": "text", "text": "What is a violin plot?"}])
    >>> exchange = conversation.commit(draft, Reply(text="A density, mirrored."))
    >>> [message["role"] for message in conversation.messages]
    ['user', 'assistant']
    """

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

        Parameters
        ----------
        blocks
            What the user says; blank texts are left out. Not to be changed afterwards.
        request
            What the blocks were made from; it comes back with the exchange.
        labels
            What to call the images among the blocks, in order: ``"fig, 800×400 px"``. It is told
            to the model once an image is left out.
        replacing
            An exchange to ask again: it is not sent, and once this draft is committed it is no
            longer part of the conversation. If this draft fails, it still is.

        Raises
        ------
        ContentError
            There is nothing to send.
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
    """A conversation at one moment.

    Parameters
    ----------
    policy
        Which old images are sent again.
    turns
        What was committed, oldest first.
    dropped
        Images with a lower number are no longer sent.
    next_image
        The number of the image that is committed next.
    era
        The same object until the conversation is cleared.
    """

    policy: ImagePolicy
    turns: tuple[_Turn, ...] = ()
    dropped: int = 0
    next_image: int = 0
    era: object = field(default_factory=object)

    def turns_without(self, exchange: Exchange | None) -> tuple[_Turn, ...]:
        return tuple(turn for turn in self.turns if turn.exchange is not exchange)

    def surplus(self, turns: Sequence[_Turn], message: Remembered | None = None) -> _Numbered:
        """Give the images of `turns` that are to be left out from now on, with a new message."""
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
