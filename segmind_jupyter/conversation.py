"""What was said and answered, which old images go again, and which conversation a cell continues.

Nothing is sent here. Threads may share all of it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from segmind_jupyter.api.jobs import Pending
from segmind_jupyter.api.messages import Block, Ledger, Message, Reply, Totals, Usage, user_message
from segmind_jupyter.errors import ContentError, SettingsError, shortened

if TYPE_CHECKING:
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.content.prompt import Prompt

#: A cell, a job or a turn of a chat, until it ends.
Work: TypeAlias = "Pending[Any, Any]"

#: Stands in for a reply without a visible character: Anthropic models refuse such a text block.
_NO_TEXT: Final = "(no text)"

#: Bytes of a message besides its blocks; rounded up.
_AROUND_A_MESSAGE = 50

#: Most images that a note names; the others are counted.
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class ImagePolicy:
    """A bound on what one request holds, kept by leaving the oldest images out."""

    word: str
    reason: str = ""
    max_images: float = math.inf
    max_bytes: float = math.inf

    @classmethod
    def of(cls, value: ImagePolicy | str | int) -> ImagePolicy:
        """Read what a person may write: ``"fit"``, ``"all"``, ``3``, ``"3"`` or ``"last 3"``."""
        if isinstance(value, cls):
            return value
        word = " ".join(str(value).lower().split())
        count = word.removeprefix("last ")
        if count.isascii() and count.isdecimal():
            return keep_last(int(count[:9]))
        if word in (KEEP_ALL.word, FIT.word):
            return KEEP_ALL if word == KEEP_ALL.word else FIT
        raise SettingsError(
            f"{shortened(repr(value))} does not say which images are sent again. Write 'fit', "
            "'all', or how many of the newest, such as 3."
        )

    def __str__(self) -> str:
        return self.word

    def surplus(self, old: Sequence[int], *, own_images: int = 0, other_bytes: int = 0) -> int:
        """Count the oldest of some images, given by their bytes, that have to be left out."""
        n_bytes = other_bytes + sum(old)
        for count, image_bytes in enumerate(old):
            n_images = own_images + len(old) - count
            if n_images <= self.max_images and n_bytes <= self.max_bytes:
                return count
            n_bytes -= image_bytes
        return len(old)


def keep_last(count: int) -> ImagePolicy:
    """Send the newest `count` images alone, those of the new message included; 0 for no old one."""
    kept = "one is" if count == 1 else f"{count} are"
    reason = f"only the last {kept} kept" if count else "each image is sent once"
    return ImagePolicy(f"last {count}", reason, max_images=count)


KEEP_ALL: Final = ImagePolicy("all")

#: Within 20 images, above which Anthropic bounds their sides to 2000 px (Anthropic's vision page),
#: and 20 MB: of the 32 MB that a request may hold, the rest is for the prompt and the parameters.
FIT: Final = ImagePolicy(
    "fit", "a request is kept within 20 images and 20 MB", max_images=20, max_bytes=20_000_000
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Exchange:
    """A question and its reply; equal to itself alone."""

    blocks: tuple[Block, ...] = field(repr=False)
    reply: Reply
    replied_at: float
    request: Any = field(default=None, repr=False)
    _asked: _Question = field(repr=False)
    _answer: Message = field(repr=False)
    #: Of both in a request, but for the images.
    _n_bytes: int = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Tell it as JSON can hold it, with its images; `Conversation.restore` reads it."""
        from segmind_jupyter.content.parts import Image, part_of
        from segmind_jupyter.content.prompt import Attachment, Prompt

        def fields_of(value: Any) -> dict[str, Any]:
            told = dataclasses.asdict(value)
            return (
                {**told, "data": base64.b64encode(value.data).decode()} if "data" in told else told
            )

        if isinstance(self.request, Prompt):
            pieces, notes = self.request.pieces, self.request.notes
        else:  # it was added by hand
            parts = map(part_of, self.blocks)
            pieces = tuple(
                Attachment("", (part,)) if isinstance(part, Image) else part.text for part in parts
            )
            notes = ()
        reply = dataclasses.replace(self.reply, raw=None, request=None)
        return {
            "pieces": [
                each
                if isinstance(each, str)
                else {"name": each.name, "parts": [fields_of(part) for part in each.parts]}
                for each in pieces
            ],
            "notes": notes,
            "replied_at": self.replied_at,
            "reply": dataclasses.asdict(reply),
        }


@dataclass(eq=False, kw_only=True)
class Draft:
    """A request that is to continue a conversation; equal to itself alone."""

    conversation: Conversation = field(repr=False)
    messages: tuple[Message, ...] = field(repr=False)
    notes: tuple[str, ...]
    model: str | None
    system: str | None
    blocks: tuple[Block, ...] = field(repr=False)
    request: Any = field(default=None, repr=False)
    _asked: _Question = field(repr=False)
    _era: object = field(repr=False)
    _replacing: Exchange | None = field(default=None, repr=False)
    #: What it became.
    _exchange: Exchange | None = field(default=None, repr=False)


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
        self.model, self.system, self.name = model, system, name
        self.ledger = Ledger()
        self._images = ImagePolicy.of(images)
        self._clock = clock
        #: What was asked and answered, oldest first; replaced under the lock, never changed.
        self.turns: tuple[Exchange, ...] = ()
        #: Another one after each `clear`.
        self._era = object()
        self._lock = threading.Lock()

    @property
    def messages(self) -> list[Message]:
        """What was asked and answered as it would be sent now, without the images left out."""
        turns = self.turns
        sent = _messages(turns, without=_surplus(self._images, turns))
        return [{**message, "content": [*message["content"]]} for message in sent]

    @property
    def usage(self) -> Totals:
        """Tokens and cost of all that was paid for, whatever became of it since."""
        return self.ledger.total()

    @property
    def images(self) -> ImagePolicy:
        """Which images of earlier messages are sent again."""
        return self._images

    @images.setter
    def images(self, images: ImagePolicy | str | int) -> None:
        self._images = ImagePolicy.of(images)

    def draft(
        self,
        blocks: Iterable[Block],
        *,
        request: object = None,
        labels: Sequence[str] = (),
        replacing: Exchange | None = None,
        model: str | None = None,
        system: str | None = None,
    ) -> Draft:
        """Make a request that continues the conversation, which it leaves as it is.

        The blocks are sent as the objects that they are, in this request and in all later ones, so
        an image is encoded once. Where the policy leaves old images out, a line of text says so in
        their place, and a note names those that this request is the first to leave out.
        """
        asked = _Question(blocks, labels)
        with self._lock:
            era, turns, policy = self._era, _without(self.turns, replacing), self._images
        surplus = _surplus(policy, turns, asked)
        before = _surplus(policy, turns[:-1], turns[-1]._asked) if turns else 0
        old_labels = [label for turn in turns for label in turn._asked.labels]
        return Draft(
            conversation=self,
            messages=(*_messages(turns, without=surplus), asked.message()),
            notes=_note(policy, old_labels[before:surplus]),
            model=self.model if model is None else model,
            system=self.system if system is None else system,
            blocks=asked.blocks,
            request=request,
            _asked=asked,
            _era=era,
            _replacing=replacing,
        )

    def draft_prompt(
        self, prompt: Prompt, *, blocks: Sequence[Block] | None = None, **how: Any
    ) -> Draft:
        """Draft what continues the conversation with a prompt, under the labels of its objects."""
        labels = [item.label for item in prompt.sent for _ in item.images]
        blocks = prompt.blocks() if blocks is None else blocks
        return self.draft(blocks, request=prompt, labels=labels, **how)

    def restore(self, told: Mapping[str, Any]) -> Exchange:
        """Take in what `to_dict` told of an exchange; what it took was paid for elsewhere."""
        from segmind_jupyter.content.parts import Image, Text
        from segmind_jupyter.content.prompt import Attachment, Prompt

        def part(of: dict[str, Any]) -> Text | Image:
            kind = Image if "data" in of else Text
            data = {"data": base64.b64decode(of["data"])} if "data" in of else {}
            return kind(**{**of, **data, "notes": tuple(of["notes"])})

        pieces = [
            each
            if isinstance(each, str)
            else Attachment(each["name"], tuple(map(part, each["parts"])))
            for each in told["pieces"]
        ]
        draft = self.draft_prompt(Prompt(tuple(pieces), tuple(told["notes"])))
        reply = Reply(**{**told["reply"], "usage": Usage(**told["reply"]["usage"])})
        return Conversation.commit(self, draft, reply, replied_at=float(told["replied_at"]))

    def commit(self, draft: Draft, reply: Reply, *, replied_at: float | None = None) -> Exchange:
        """Take a draft and its reply into the conversation, behind all that is there by now.

        One from before `clear` is cleared too: paid for, and in `usage` alone. A second commit of
        one draft changes nothing and gives the exchange of the first. One that was replied to
        elsewhere, before, counts nowhere.
        """
        # A reply goes back as text alone, whatever it holds. Half a surrogate pair becomes a
        # question mark: a server may refuse it, and with it the whole conversation from then on.
        text = reply.text.encode("utf-8", "replace").decode("utf-8")
        answer = {"type": "text", "text": text if text.strip() else _NO_TEXT}
        with self._lock:
            if draft._exchange is not None:
                return draft._exchange
            exchange = draft._exchange = Exchange(
                blocks=draft.blocks,
                reply=reply,
                replied_at=self._clock() if replied_at is None else replied_at,
                request=draft.request,
                _asked=draft._asked,
                _answer={"role": "assistant", "content": [answer]},
                _n_bytes=draft._asked.n_bytes + _AROUND_A_MESSAGE + _json_bytes(answer),
            )
            if reply.cached_at is None and replied_at is None:
                self.ledger.add(reply, model=draft.model or reply.model or "unknown")
            if draft._era is self._era:
                self.turns = (*_without(self.turns, draft._replacing), exchange)
        return exchange

    def drop(self, exchange: Exchange) -> bool:
        """Take an exchange out, wherever it stands; `False` where it is no longer there."""
        with self._lock:
            was_there = exchange in self.turns
            self.turns = _without(self.turns, exchange)
        return was_there

    def clear(self) -> tuple[Any, ...]:
        """Forget all turns, also those that wait for their reply, and return them; usage stays."""
        with self._lock:
            turns, self.turns, self._era = self.turns, (), object()
        return turns


class _Question:
    """What the user said once, ready to be sent again and again; with its images' labels."""

    def __init__(self, blocks: Iterable[Block], labels: Sequence[str]) -> None:
        #: Without blank texts, as Anthropic models refuse them.
        self.blocks = tuple(
            block for block in blocks if block.get("type") != "text" or str(block["text"]).strip()
        )
        if not self.blocks:
            raise ContentError(
                "The message is empty. Write what you want to know, or attach something."
            )
        images = [block for block in self.blocks if block.get("type") == "image"]
        others = [block for block in self.blocks if block.get("type") != "image"]
        said = [*map(shortened, labels), *[""] * len(images)]
        self.labels = tuple(said[: len(images)])
        self.image_bytes = tuple(map(_json_bytes, images))
        #: Of all but the images.
        self.n_bytes = sum(
            map(_json_bytes, [*others, *map(_stand_in, self.labels)]), _AROUND_A_MESSAGE
        )
        #: By the number of images left out: every request of a conversation holds all its messages,
        #: so those are made once, or long conversations would take memory by the square.
        self._made: dict[int, Message] = {}

    def message(self, *, without: int = 0) -> Message:
        """Return the message with a text in place of its first images; not to be changed."""
        without = min(without, len(self.labels))
        if without not in self._made:
            stand_ins = map(_stand_in, self.labels[:without])
            content = [
                next(stand_ins, block) if block.get("type") == "image" else block
                for block in self.blocks
            ]
            self._made[without] = {"role": "user", "content": content}
        return self._made[without]


def _stand_in(label: str) -> Block:
    name = f": {label}," if label else ""
    text = f"[An image that was sent here before{name} is no longer attached.]"
    return {"type": "text", "text": text}


def _json_bytes(block: Block) -> int:
    """Tell how long a block is in JSON with every character outside ASCII escaped."""
    return len(json.dumps(block, default=str)) + len(",")


def _without(turns: tuple[Exchange, ...], exchange: Exchange | None) -> tuple[Exchange, ...]:
    return tuple(turn for turn in turns if turn is not exchange)


def _surplus(policy: ImagePolicy, turns: Sequence[Exchange], asked: _Question | None = None) -> int:
    """Count the oldest images of `turns` that are left out of a request with a new message."""
    own = asked.image_bytes if asked else ()
    said = sum(own) + asked.n_bytes if asked else 0
    return policy.surplus(
        [n_bytes for turn in turns for n_bytes in turn._asked.image_bytes],
        own_images=len(own),
        other_bytes=said + sum(turn._n_bytes for turn in turns),
    )


def _messages(turns: Sequence[Exchange], *, without: int) -> Iterator[Message]:
    for turn in turns:
        yield turn._asked.message(without=without)
        yield turn._answer
        without = max(0, without - len(turn._asked.labels))


def _note(policy: ImagePolicy, labels: Sequence[str]) -> tuple[str, ...]:
    """Say which images are left out from now on, and what to do about it."""
    if not labels:
        return ()
    count = len(labels)
    what = "1 older image is" if count == 1 else f"{count} older images are"
    named = [label for label in labels if label][:_MAX_NAMED]
    if named and count > len(named):
        named.append(f"{count - len(named)} more")
    listed = f": {'; '.join(named)}" if named else ""
    return (
        f"{what} no longer sent ({policy.reason}){listed}. Attach again what you want to ask "
        "about.",
    )


class ConversationRegistry:
    """Those that cells and chats have, by name or as the last one, and what goes on in each."""

    def __init__(self) -> None:
        self._named: dict[str, Conversation] = {}
        #: Of the cells that were taken: the last one answered, and what came after it.
        self._of_cells: list[Conversation] = []
        #: With what takes the reply in once it is there.
        self._under_way: dict[Conversation, dict[Work, Callable[[], object]]] = {}
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
            # First what is under way, as that takes in what has ended.
            if self.under_way(conversation) or conversation.turns:
                return conversation
        raise ContentError(
            "There is nothing to continue: no `%%claude` of this kernel has a reply yet. Leave "
            "`-c` out to begin."
        )

    def under_way(self, conversation: Conversation) -> list[Work]:
        """Return what goes on in a conversation, oldest first, once it has all other replies.

        Whoever waited for an end may be here before the thread that brought it has done so.
        """
        with self._lock:
            works = dict(self._under_way.get(conversation, {}))
        for work, take_in in works.items():
            if work.done():
                take_in()
        return [work for work in works if not work.done()]

    def begin(
        self, conversation: Conversation, work: Work, take_in: Callable[[], object] = lambda: None
    ) -> list[Work]:
        """Note what goes on in a conversation from now on; return what went on before."""
        with self._lock:
            works = self._under_way.setdefault(conversation, {})
            before = list(works)
            works[work] = take_in

        def end(_: object) -> None:
            try:
                take_in()
            finally:
                with self._lock:
                    del works[work]
                    if not works and self._under_way.get(conversation) is works:
                        del self._under_way[conversation]

        work.on_done(end)
        return before

    def give_up(self) -> None:
        """Cancel everything that is under way in a conversation, the newest first."""
        with self._lock:
            works = [work for works in self._under_way.values() for work in works]
        for work in reversed(works):
            work.cancel()  # type: ignore[attr-defined]

    def say(
        self, prompt: Prompt, conversation: Conversation | None, *, model: str, system: str | None
    ) -> tuple[Prompt, Sequence[Message], Draft | None]:
        """Put together what a cell sends, and what of it continues a conversation."""
        if conversation is None:
            return prompt, [user_message(prompt.blocks())], None
        if going_on := self.under_way(conversation):
            other = "another cell" if isinstance(going_on[0], _Asking) else "a turn of its chat"
            if request_id := getattr(going_on[0], "request_id", None):
                other = f"job {request_id}"
            raise ContentError(
                f"This conversation still waits for {other}. Wait until the reply is there "
                "(`%segmind wait`), or press Stop, and run this cell again."
            )
        draft = conversation.draft_prompt(prompt, model=model, system=system)
        noted = dataclasses.replace(prompt, notes=(*prompt.notes, *draft.notes))
        return noted, draft.messages, draft

    @contextlib.contextmanager
    def asking(self, draft: Draft | None) -> Iterator[None]:
        """Let what begins in the conversation meanwhile wait for the reply to a cell."""
        work = _Asking("asking")
        try:
            if draft is not None:
                self.begin(draft.conversation, work)
            yield
        finally:
            work.cancel()

    def answered(self, draft: Draft | None, reply: Reply) -> None:
        """Take what a cell said, and its reply, into the conversation."""
        if draft is not None:
            self._accept(draft)
            self._take_in(draft, reply)

    def queued(self, draft: Draft | None, job: Job) -> None:
        """Do the same with a cell's job, once its reply has come; a failed one leaves no trace."""
        if draft is None:
            return

        def take_in() -> None:
            if job.error is None and job.reply is not None:
                self._take_in(draft, job.reply)

        self.begin(draft.conversation, job, take_in)
        self._accept(draft)

    def _accept(self, draft: Draft) -> None:
        """Let `-c` continue it, with what it was sent with, unless it comes to nothing."""
        conversation = draft.conversation
        conversation.model, conversation.system = draft.model, draft.system
        with self._lock:
            others = [known for known in self._of_cells if known is not conversation]
            self._of_cells = [*others, conversation]

    def _take_in(self, draft: Draft, reply: Reply) -> None:
        draft.conversation.commit(draft, reply)
        with self._lock:  # nothing from before it can be the last one again
            if draft.conversation in self._of_cells:
                self._of_cells = self._of_cells[self._of_cells.index(draft.conversation) :]


class _Asking(Pending[bool, str]):
    """A cell that waits for its reply: it ends with the cell, however that goes."""

    def cancel(self) -> bool:
        """Let nobody wait for it any longer."""
        return self._finish("over", True, None)
