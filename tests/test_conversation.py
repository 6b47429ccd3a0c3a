"""A conversation: what is committed, what is sent next, and which images go with it."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from segmind_jupyter.api.messages import Reply, Totals, Usage
from segmind_jupyter.conversation import (
    FIT,
    KEEP_ALL,
    Conversation,
    Draft,
    Exchange,
    ImagePolicy,
    keep_last,
)
from segmind_jupyter.errors import ContentError, SettingsError

Block = dict[str, Any]


def text(words: str) -> Block:
    return {"type": "text", "text": words}


def image(n_bytes: int = 8) -> Block:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * n_bytes}
    return {"type": "image", "source": source}


def say(conversation: Conversation, *blocks: Block, reply: str = "Yes.", **how: Any) -> Exchange:
    return conversation.commit(conversation.draft(blocks, **how), Reply(text=reply))


def fill(conversation: Conversation, count: int, *, n_bytes: int = 8) -> list[Block]:
    """Send images 0, 1, ... in turns of one."""
    pictures = [image(n_bytes) for _ in range(count)]
    for number, picture in enumerate(pictures):
        say(conversation, picture, labels=[f"fig{number}"])
    return pictures


def said(messages: Any) -> list[str]:
    """The texts of some messages, one after the other."""
    return [b["text"] for m in messages for b in m["content"] if b["type"] == "text"]


def images(messages: Any) -> list[int]:
    """The images of some messages, by which object they are."""
    return [id(b) for m in messages for b in m["content"] if b["type"] == "image"]


def check_form(messages: Any) -> None:
    """Roles alternate from user to user, and nothing is empty or blank."""
    roles = [message["role"] for message in messages]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    assert all(message["content"] for message in messages)
    assert all(words.strip() for words in said(messages))


class TestTurns:
    def test_an_exchange_keeps_what_was_asked_and_answered_and_when(self):
        """Whoever shows the conversation needs no more; its repr holds no base64."""
        conversation = Conversation(model="claude-4-sonnet", clock=lambda: 12.5)
        draft = conversation.draft([text("one"), image(10_000)], request="x" * 10_000)
        conversation.model, reply = "claude-3-opus", Reply(text="1")
        exchange = conversation.commit(draft, reply)
        assert conversation.turns == (exchange,)
        assert exchange.blocks == draft.blocks
        assert (exchange.reply, exchange.request) == (reply, draft.request)
        assert (exchange.replied_at, draft.model) == (12.5, "claude-4-sonnet")
        assert len(repr(draft)) + len(repr(exchange)) < 1_000

    def test_a_reply_goes_back_as_text_that_can_be_sent(self):
        """Never blank, without half a surrogate pair, whatever its JSON held."""
        for reply, sent in (("", "(no text)"), (" \n", "(no text)"), ("a\ud83d 😀", "a? 😀")):
            conversation = Conversation()
            raw = {"content": [{"type": "tool_use", "name": "rm"}]}
            draft = conversation.draft([text("one")])
            exchange = conversation.commit(draft, Reply(text=reply, raw=raw))
            assert said(conversation.messages) == ["one", sent]
            assert exchange.reply.text == reply

    def test_an_empty_message_is_refused_and_blank_texts_are_left_out(self):
        """Anthropic models refuse a text block without a visible character."""
        for blocks in ([], [text("")], [text(" \n"), text("\t")]):
            with pytest.raises(ContentError, match="empty"):
                Conversation().draft(blocks)
        only = image()
        draft = Conversation().draft(iter([text(" "), only, text("")]))
        assert draft.messages == ({"role": "user", "content": [only]},)

    def test_requests_share_their_messages_which_nobody_can_change(self):
        """Each reply keeps its request: long chats would take memory by the square otherwise."""
        conversation = Conversation(images=0)
        say(conversation, text("one"), image())
        conversation.messages[0]["content"].clear()
        first, second = (conversation.draft([text("and?")]).messages for _ in range(2))
        assert [a is b for a, b in zip(first, second, strict=True)] == [True, True, False]
        assert len(said(first)) == 4

    def test_usage_counts_what_was_paid_whatever_becomes_of_it(self):
        """Dropping and clearing give no money back; the model is that which was asked, or told."""
        conversation = Conversation(model="claude-4-sonnet")
        for reply in (Reply(text="1", usage=Usage(10, 2), cost=0.5), Reply(text="2", model="x")):
            conversation.commit(conversation.draft([text("one")]), reply)
            conversation.model = None
        conversation.ledger.add(Reply(text="", usage=Usage(1, 1), cost=0.25), model="x")
        assert conversation.drop(conversation.turns[-1])
        conversation.clear()
        assert conversation.usage == Totals(calls=3, input_tokens=11, output_tokens=3, cost=0.75)
        assert list(conversation.ledger.by_model()) == ["claude-4-sonnet", "x"]

    def test_one_draft_is_committed_once(self):
        """A job's callback and its waiter may both deliver the reply, at once."""
        conversation = Conversation(clock=lambda: time.sleep(0) or 0.0)
        draft = conversation.draft([text("one")])
        start = threading.Barrier(8)

        def commit(_: int) -> Exchange:
            start.wait()
            return conversation.commit(draft, Reply(text="1"))

        with ThreadPoolExecutor(8) as pool:
            exchanges = set(pool.map(commit, range(8)))
        assert exchanges == set(conversation.turns)
        assert len(exchanges) == conversation.usage.calls == 1

    def test_forgotten_drafts_leave_no_memory_behind(self):
        """A draft holds images; nothing here keeps it once it failed or was committed."""
        conversation = Conversation()
        drafts = [conversation.draft([image()]) for _ in range(2)]
        conversation.commit(drafts[0], Reply(text="Yes."))
        left = [weakref.ref(draft) for draft in drafts]
        drafts.clear()
        gc.collect()
        assert [ref() for ref in left] == [None, None]


class TestImages:
    def test_an_image_that_is_left_out_is_named_in_its_place(self):
        """The order stays, and no message becomes empty; the note says it once."""
        conversation = Conversation(images=keep_last(1))
        blocks = [text("this"), image(), text("or"), image(), image()]
        say(conversation, *blocks, labels=["fig, 800×400 px", "a\nb"])
        draft = conversation.draft([text("the third?")])
        assert draft.messages[0]["content"] == [
            text("this"),
            text("[An image that was sent here before: fig, 800×400 px, is no longer attached.]"),
            text("or"),
            text("[An image that was sent here before: a b, is no longer attached.]"),
            blocks[4],
        ]
        assert draft.notes == (
            "2 older images are no longer sent (only the last one is kept): fig, 800×400 px; a b. "
            "Attach again what you want to ask about.",
        )
        conversation.commit(draft, Reply(text="Yes."))
        last = conversation.draft([image()])
        assert last.notes[0].startswith("1 older image is no longer sent (only the last one")
        conversation.commit(last, Reply(text="Yes."))
        assert conversation.draft([text("and?")]).notes == ()

    def test_the_newest_that_fit_are_sent_as_the_objects_that_they_are(self):
        """Those of the message that is being written are the newest, and always go."""
        new = [image(), image()]
        for policy, kept in ((keep_last(3), 1), ("fit", 18), (KEEP_ALL, 120), (0, 0)):
            conversation = Conversation(images=policy)
            pictures = fill(conversation, 120)
            sent = images(conversation.draft(new).messages)
            assert sent == [*map(id, pictures[120 - kept :]), *map(id, new)]

    def test_fit_holds_twenty_megabytes(self):
        """What counts is the JSON that is sent, base64 and escapes included."""
        conversation = Conversation()
        fill(conversation, 6, n_bytes=3_000_000)
        words = "ü" * 150_000  # six bytes each in JSON that is ASCII
        say(conversation, text(words), reply=words)
        draft = conversation.draft([text("and?")])
        assert len(images(draft.messages)) == 6
        assert len(json.dumps(draft.messages)) == pytest.approx(19_800_000, rel=0.001)
        draft = conversation.draft([image(500_000)])
        assert len(images(draft.messages)) == 1 + 5
        assert len(json.dumps(draft.messages)) < 20_000_000

    def test_a_policy_is_read_from_what_a_person_writes(self):
        """Its string reads back as itself; what is none is refused with what may be written."""
        for written, policy in (
            ("fit", FIT), ("ALL ", KEEP_ALL), (3, keep_last(3)), ("last  3", keep_last(3)),
            ("0", keep_last(0)), (FIT, FIT),
        ):  # fmt: skip
            assert ImagePolicy.of(written) == policy == ImagePolicy.of(str(policy))
            assert Conversation(images=written).images == policy
        for wrong in ("", "none", -1, True, None, 2.5, "last", "last -1", "٣"):
            with pytest.raises(SettingsError, match="'fit', 'all', or how many"):
                Conversation(images=wrong)


#: Bounds that a few blocks reach.
SMALL = ImagePolicy("small", "it is small", max_images=6, max_bytes=4_000)

#: Images of one message, by their bytes; None is a blank text. Often few, seldom very many.
SIZES = st.lists(st.sampled_from([None, 9, 400, 1_500]), max_size=4) | st.just([9] * 23)


@dataclass(eq=False)
class Asked:
    """What the machine knows of one draft, and of what it became."""

    draft: Draft
    question: str
    images: list[int]
    clears: int
    replacing: Exchange | None
    answer: str = ""
    exchange: Exchange | None = None


class Story(RuleBasedStateMachine):
    """Drafts are made, answered, failed and overtaken in any order; each rule is one call."""

    drafts = Bundle("drafts")

    def __init__(self) -> None:
        super().__init__()
        self.conversation, self.policy = Conversation(), FIT
        self.turns: list[Asked] = []
        self.questions = self.commits = self.clears = 0
        # An image is known by its id here, so none may be freed.
        self.alive: list[Block] = []

    @rule(target=drafts, sizes=SIZES, again=st.booleans(), letters=st.sampled_from([0, 150]))
    def draft(self, sizes: list[int | None], again: bool, letters: int) -> Asked:
        """Ask something, or the last thing in another way, and look at what would be sent."""
        self.questions += 1
        question = f"q{self.questions} " + "ü" * letters
        blocks = [image(size) if size else text(" ") for size in sizes]
        own = images([{"content": blocks}])
        self.alive += blocks
        replacing = self.turns[-1].exchange if again and self.turns else None
        draft = self.conversation.draft([*blocks, text(question)], replacing=replacing)
        earlier = [turn for turn in self.turns if turn.exchange is not replacing]
        check_form(draft.messages)
        assert self.words(draft.messages) == [*self.expected(earlier), question]
        old = [known for turn in earlier for known in turn.images]
        sent = images(draft.messages)
        kept = len(sent) - len(own)
        assert sent == [*old[len(old) - kept :], *own], "not the newest, or out of order"
        if kept:
            assert len(sent) <= self.policy.max_images
            assert len(json.dumps(draft.messages)) <= self.policy.max_bytes
        assert self.policy is not KEEP_ALL or kept == len(old)
        return Asked(draft, question, own, self.clears, replacing)

    @rule(asked=consumes(drafts), answer=st.sampled_from(["", " \n", "yes"]))
    def commit(self, asked: Asked, answer: str) -> None:
        """The reply comes, maybe late; a draft that nobody commits has failed."""
        asked.exchange = self.conversation.commit(asked.draft, Reply(text=answer))
        asked.answer = answer.strip() or "(no text)"
        self.commits += 1
        if asked.clears == self.clears:
            self.turns = [t for t in self.turns if t.exchange is not asked.replacing] + [asked]

    @rule(place=st.integers(0, 5))
    def drop(self, place: int) -> None:
        """Take one out, and then once more."""
        if place < len(self.turns):
            exchange = self.turns.pop(place).exchange
            assert self.conversation.drop(exchange)
            assert not self.conversation.drop(exchange)

    @rule()
    def clear(self) -> None:
        """Begin anew."""
        self.conversation.clear()
        self.turns.clear()
        self.clears += 1

    @rule(policy=st.sampled_from([FIT, KEEP_ALL, SMALL, keep_last(0), keep_last(3)]))
    def change_policy(self, policy: ImagePolicy) -> None:
        """Let other images be sent again."""
        self.conversation.images = self.policy = policy

    @invariant()
    def holds_what_succeeded_and_nothing_else(self) -> None:
        """In the order of the replies, each behind its own question."""
        messages = self.conversation.messages
        check_form([*messages, {"role": "user", "content": [text("next")]}])
        assert self.words(messages) == self.expected(self.turns)
        assert list(self.conversation.turns) == [turn.exchange for turn in self.turns]
        assert self.conversation.usage.calls == self.commits

    @staticmethod
    def words(messages: Any) -> list[str]:
        """What was said, without what stands in for images."""
        return [words for words in said(messages) if not words.startswith("[An image")]

    @staticmethod
    def expected(turns: list[Asked]) -> list[str]:
        return [words for turn in turns for words in (turn.question, turn.answer)]


TestStory = Story.TestCase
TestStory.settings = settings(stateful_step_count=40)
