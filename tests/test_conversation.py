"""A conversation: what is taken in, what is sent next, and which images go with it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.content.parts import Image
from segmind_jupyter.content.prompt import Attachment, Prompt
from segmind_jupyter.conversation import Conversation, Turn
from segmind_jupyter.errors import ContentError, SegmindError


def image(label: str = "", n_bytes: int = 6) -> Attachment:
    return Attachment(label, (Image(b"A" * n_bytes, "image/png", 8, 8),))


def ask(*pieces: str | Attachment, **how: Any) -> Turn:
    return Turn(Prompt(pieces), **how)


def say(conversation: Conversation, *pieces: str | Attachment, reply: str = "Yes.") -> Turn:
    turn = ask(*pieces)
    conversation.begin(turn)
    conversation.take(turn, Reply(text=reply))
    return turn


def said(messages: Any) -> list[str]:
    """The texts of some messages, one after the other."""
    return [b["text"] for m in messages for b in m["content"] if b["type"] == "text"]


def images(messages: Any) -> list[int]:
    """The images of some messages, by which object they are."""
    return [id(b) for m in messages for b in m["content"] if b["type"] == "image"]


def images_of(*turns: Turn) -> list[int]:
    return [id(b) for turn in turns for b in turn.blocks if b["type"] == "image"]


class TestTurns:
    def test_a_reply_goes_back_as_text_that_can_be_sent(self):
        """Never blank, without half a surrogate pair, whatever its JSON held."""
        blank = dict.fromkeys(("", " \n", "\u200b\u2060"), "(no text)")
        for reply, sent in (*blank.items(), ("a\ud83d 😀", "a\ufffd 😀")):
            conversation = Conversation()
            turn = say(conversation, "one", reply=reply)
            assert said(conversation.messages) == ["one", sent]
            assert turn.reply.text == reply

    def test_requests_share_their_messages_which_nobody_can_change(self):
        """Each reply keeps its request: long chats would take memory by the square otherwise."""
        conversation = Conversation()
        say(conversation, "one", image())
        conversation.messages[0]["content"].clear()
        first, second = (conversation.request(ask("and?"))[0] for _ in range(2))
        assert [a is b for a, b in zip(first, second, strict=True)] == [True, True, False]
        assert said(first) == ["one", "Yes.", "and?"]

    def test_one_reply_is_taken_in_once(self):
        """A job's callback and its waiter may both deliver it, at once; it is there for both."""
        conversation, turn, start = Conversation(), ask("one"), threading.Barrier(8)
        conversation.begin(turn)

        def take(_: int) -> int:
            start.wait()
            conversation.take(turn, Reply(text="1"))
            return len(conversation.messages)

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(take, range(8))) == {2}
        assert conversation.ledger.total().calls == 1


class TestImages:
    def test_an_image_that_is_left_out_is_named_in_its_place(self):
        """The order stays, and no message becomes empty; a note says how many there are."""
        conversation = Conversation()
        conversation.max_images = 1
        say(conversation, "this", image("fig"), "or", image("a\nb"), image())
        third = conversation.said[0].blocks[-1]
        messages, notes = conversation.request(ask("the third?"))
        assert messages[0]["content"][-1] is third
        assert said(messages[:1]) == [
            "this",
            "[An image that was sent here before: fig, is no longer attached.]",
            "or",
            "[An image that was sent here before: a b, is no longer attached.]",
        ]
        assert notes == (
            "Older images no longer sent: 2 (the newest 1 go, within 20 MB). Attach again what "
            "you want to ask about.",
        )

    def test_they_go_within_twenty_megabytes(self):
        """In base64, as they are sent."""
        conversation = Conversation()
        for _ in range(7):
            say(conversation, image(n_bytes=2_250_000))
        messages, _ = conversation.request(ask("and?"))
        assert len(images(messages)) == 6
        messages, _ = conversation.request(ask(image(n_bytes=1_500_001)))
        assert len(images(messages)) == 1 + 5


#: Images of one message. Often few, seldom very many.
COUNTS = st.integers(0, 4) | st.just(23)


class Story(RuleBasedStateMachine):
    """Turns are begun, answered, stopped and taken back in any order; each rule is one call."""

    pending = Bundle("pending")

    def __init__(self) -> None:
        super().__init__()
        self.conversation = Conversation()
        #: What the conversation holds by our own account.
        self.turns: list[Turn] = []
        self.questions = self.paid = 0

    @rule(target=pending, count=COUNTS, again=st.booleans())
    def begin(self, count: int, again: bool) -> Turn:
        """Ask something, or the last thing in another way, and look at what would be sent."""
        self.questions += 1
        old = self.turns[-1] if again and self.turns and self.turns[-1].reply else None
        words = f"q{self.questions}"
        turn = ask(*[image() for _ in range(count)], words, replacing=old)
        messages, _ = self.conversation.request(turn)
        earlier = [each for each in self.turns if each.reply and each is not old]
        assert self.words(messages) == [*self.expected(earlier), words]
        sent, own = images(messages), images_of(turn)
        kept = len(sent) - len(own)
        assert sent == [*images_of(*earlier)[len(images_of(*earlier)) - kept :], *own]
        room = max(0, self.conversation.max_images - len(own))
        assert kept == min(room, len(images_of(*earlier)))
        self.conversation.begin(turn)
        self.turns.append(turn)
        return turn

    @rule(turn=consumes(pending), text=st.sampled_from(["", " \n", "yes"]))
    def answer(self, turn: Turn, text: str) -> None:
        """The reply comes, maybe late."""
        self.conversation.take(turn, Reply(text=text))
        self.paid += 1
        if turn in self.turns:
            self.turns = [each for each in self.turns if each is not turn.replacing]

    @rule(turn=consumes(pending), stops=st.booleans())
    def fail(self, turn: Turn, stops: bool) -> None:
        """It stays among what was said, and leaves no trace in what is sent."""
        if stops:
            turn.stop()
        else:
            turn.fail(SegmindError("no"))

    @rule(place=st.integers(0, 5))
    def take_back(self, place: int) -> None:
        """Take one out, with all that came after it."""
        if place >= len(self.turns):
            return
        turn = self.turns[place]
        if self.turns[-1].over:
            assert self.conversation.take_back(turn) is turn
            first = turn.replacing if turn.replacing in self.turns else turn
            self.turns = self.turns[: self.turns.index(first)]
        else:
            with pytest.raises(ContentError, match="has not ended"):
                self.conversation.take_back(turn)

    @rule()
    def clear(self) -> None:
        """Begin anew."""
        assert list(self.conversation.clear()) == self.turns
        self.turns.clear()

    @rule(max_images=st.sampled_from([0, 3, 20]))
    def change_bound(self, max_images: int) -> None:
        """Let other images be sent again."""
        self.conversation.max_images = max_images

    @invariant()
    def holds_what_succeeded_and_nothing_else(self) -> None:
        """In the order of the questions, each answer behind its own."""
        messages = self.conversation.messages
        roles = [message["role"] for message in messages]
        assert roles == ["user", "assistant"] * (len(roles) // 2)
        assert all(words.strip() for words in said(messages))
        assert self.words(messages) == self.expected([t for t in self.turns if t.reply])
        assert list(self.conversation.said) == self.turns
        assert self.conversation.ledger.total().calls == self.paid

    @staticmethod
    def words(messages: Any) -> list[str]:
        """What was said, without what stands in for images."""
        return [words for words in said(messages) if not words.startswith("[An image")]

    @staticmethod
    def expected(turns: list[Turn]) -> list[str]:
        return [
            words
            for turn in turns
            for words in (turn.text, (turn.reply.text.strip() if turn.reply else "") or "(no text)")
        ]


TestStory = Story.TestCase
TestStory.settings = settings(stateful_step_count=40)
