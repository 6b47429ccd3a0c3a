"""A conversation whose drafts are made, answered, failed and overtaken in any order."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.conversation import (
    FIT,
    KEEP_ALL,
    Conversation,
    Draft,
    Exchange,
    ImagePolicy,
    keep_last,
)

Block = dict[str, Any]

#: Bounds that a few blocks reach.
SMALL = ImagePolicy("small", "it is small", max_images=6, max_bytes=4_000, lowered_to=0.75)

POLICIES = [FIT, KEEP_ALL, SMALL, keep_last(0), keep_last(3)]


@dataclass(eq=False)
class Asked:
    """What the machine knows of one draft."""

    draft: Draft
    question: str
    images: list[Block]
    left_out: set[int]
    policy: ImagePolicy
    clears: int
    replacing: Exchange | None


@dataclass(eq=False)
class Turn:
    """What the machine expects of one exchange."""

    exchange: Exchange
    asked: Asked
    answer: str


@dataclass
class Expected:
    """What the conversation is to hold."""

    policy: ImagePolicy = FIT
    turns: list[Turn] = field(default_factory=list)
    left_out: set[int] = field(default_factory=set)
    commits: int = 0
    clears: int = 0


#: Images of one message, by their bytes; None is a blank text. Often few, seldom very many.
SIZES = st.lists(st.sampled_from([None, 9, 400, 1_500]), max_size=4) | st.just([9] * 23)

ANSWERS = st.sampled_from(["", " \n", "yes"])


class Talk(RuleBasedStateMachine):
    """Each rule is one call, and each call is one step, from whichever thread it comes."""

    drafts = Bundle("drafts")

    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation()
        self.expected = Expected()
        self.questions = 0
        # An image is known by its id here, so none may be freed.
        self.alive: list[Block] = []

    @rule(target=drafts, sizes=SIZES, again=st.booleans(), letters=st.sampled_from([0, 150]))
    def draft(self, sizes: list[int | None], again: bool, letters: int) -> Asked:
        """Ask something, or the last thing in another way."""
        self.questions += 1
        question = f"q{self.questions} " + "ü" * letters
        blocks = [image(size) if size else {"type": "text", "text": " "} for size in sizes]
        images = [block for block in blocks if block["type"] == "image"]
        self.alive += images
        turns = self.expected.turns
        replacing = turns[-1].exchange if again and turns else None
        draft = self.conversation.draft(
            [*blocks, {"type": "text", "text": question}], replacing=replacing
        )
        earlier = [turn for turn in turns if turn.exchange is not replacing]
        left_out = self.check_request(draft, question, images, earlier)
        return Asked(
            draft,
            question,
            images,
            left_out,
            self.expected.policy,
            self.expected.clears,
            replacing,
        )

    def check_request(
        self, draft: Draft, question: str, images: list[Block], earlier: list[Turn]
    ) -> set[int]:
        """Look at what would be sent; give the old images that would not."""
        messages = list(draft.messages)
        check_form(messages)
        assert texts(messages) == [*expected_texts(earlier), question]
        old = [id(image) for turn in earlier for image in turn.asked.images]
        sent = [id(image) for image in all_images(messages)]
        own = list(map(id, images))
        assert sent[len(sent) - len(own) :] == own
        kept = sent[: len(sent) - len(own)]
        assert kept == old[len(old) - len(kept) :], "not the newest, or out of order"
        left_out = set(old) - set(kept)
        assert self.expected.left_out.isdisjoint(kept), "came back"
        assert bool(left_out - self.expected.left_out) == bool(draft.notes)
        assert not kept or within(self.expected.policy, messages)
        assert self.expected.policy is not KEEP_ALL or not left_out
        return left_out

    @rule(asked=consumes(drafts), answer=ANSWERS)
    def commit(self, asked: Asked, answer: str) -> None:
        """The reply comes, maybe late."""
        exchange = self.conversation.commit(asked.draft, Reply(text=answer))
        expected = self.expected
        expected.commits += 1
        if asked.clears != expected.clears:
            assert exchange not in self.conversation.turns
            return
        if asked.policy == expected.policy:
            expected.left_out |= asked.left_out
        expected.turns = [t for t in expected.turns if t.exchange is not asked.replacing]
        expected.turns.append(Turn(exchange, asked, answer.strip() or "(no text)"))

    @rule(turns=st.lists(st.tuples(SIZES, st.booleans(), ANSWERS), min_size=1, max_size=6))
    def talk(self, turns: list[Any]) -> None:
        """Ask and get the reply, with nothing in between."""
        for sizes, again, answer in turns:
            self.commit(self.draft(sizes, again, 0), answer)
            self.holds_what_succeeded_and_nothing_else()

    @rule(asked=consumes(drafts))
    def fail(self, asked: Asked) -> None:
        """The request fails or is stopped: nobody tells the conversation."""

    @rule()
    def drop_last(self) -> None:
        """Take the last exchange back."""
        expected = self.expected.turns.pop().exchange if self.expected.turns else None
        assert self.conversation.drop_last() is expected

    @rule(place=st.integers(0, 5))
    def drop(self, place: int) -> None:
        """Take one out of the middle, and then once more."""
        if place < len(self.expected.turns):
            exchange = self.expected.turns.pop(place).exchange
            assert self.conversation.drop(exchange)
            assert not self.conversation.drop(exchange)

    @rule()
    def clear(self) -> None:
        """Begin anew."""
        self.conversation.clear()
        self.expected.turns.clear()
        self.expected.left_out.clear()
        self.expected.clears += 1

    @rule(policy=st.sampled_from(POLICIES))
    def change_policy(self, policy: ImagePolicy) -> None:
        """Let other images be sent again."""
        self.conversation.images = policy
        if policy != self.expected.policy:
            self.expected.policy = policy
            self.expected.left_out.clear()

    @invariant()
    def holds_what_succeeded_and_nothing_else(self) -> None:
        """In the order of the replies, each behind its own question."""
        messages = self.conversation.messages
        check_form([*messages, {"role": "user", "content": ["next"]}])
        assert texts(messages) == expected_texts(self.expected.turns)
        exchanges = [turn.exchange for turn in self.expected.turns]
        assert list(self.conversation.turns) == exchanges
        assert self.conversation.usage.calls == self.expected.commits


def image(n_bytes: int) -> Block:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * n_bytes}
    return {"type": "image", "source": source}


def check_form(messages: list[Any]) -> None:
    """Roles alternate from user to user, and nothing is empty or blank."""
    assert [m["role"] for m in messages] == [
        ("user", "assistant")[i % 2] for i in range(len(messages))
    ]
    assert len(messages) % 2 == 1
    assert all(m["content"] for m in messages)
    assert all(t.strip() for t in texts(messages))


def texts(messages: list[Any]) -> list[str]:
    """What was said, without what stands in for images."""
    blocks = (b for m in messages for b in m["content"] if isinstance(b, dict))
    written = [b["text"] for b in blocks if b["type"] == "text"]
    return [text for text in written if not text.startswith("[An image")]


def all_images(messages: list[Any]) -> list[Block]:
    return [b for m in messages for b in m["content"] if b["type"] == "image"]


def expected_texts(turns: list[Turn]) -> list[str]:
    return [text for turn in turns for text in (turn.asked.question, turn.answer)]


def within(policy: ImagePolicy, messages: list[Any]) -> bool:
    """Count images and bytes as the server does."""
    few = policy.max_images is None or len(all_images(messages)) <= policy.max_images
    return few and (policy.max_bytes is None or len(json.dumps(messages)) <= policy.max_bytes)


TestTalk = Talk.TestCase
TestTalk.settings = settings(stateful_step_count=40)
