"""One conversation in many hands: threads that speak, stop and clear, and a server with faults.

What is sent, what is held and what is counted is compared with what each turn says of itself.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from scripted import Gateway

from segmind_jupyter import Chat
from segmind_jupyter.chat import Turn
from segmind_jupyter.content.prompt import gather
from segmind_jupyter.errors import SegmindError
from segmind_jupyter.session import session
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

#: How many hands there are, and how often each of them acts.
HANDS, ACTS = 6, 30


class Hands:
    """Two chats of one name, and cells that continue it."""

    def __init__(self, gateway: Gateway, mode: Any) -> None:
        self.gateway, self._lock, self._numbers = gateway, threading.Lock(), itertools.count(1)
        self.chats = [Chat(name="shared", mode=mode) for _ in range(2)]
        #: Every turn that was begun from a chat, and how often words were said, by whomever.
        self.turns: list[Turn] = []
        self.asked: Counter[str] = Counter()
        #: The words of cells: none of these turns tells whether they were answered.
        self.of_cells: set[str] = set()

    def words(self) -> str:
        """Give words that nobody said before; the simulator answers with the last of them."""
        words = f"echo: word{next(self._numbers)}"
        with self._lock:
            self.asked[words] += 1
        return words

    def send(self, chat: Chat) -> Turn:
        self.turns.append(turn := chat.send(self.words()))
        return turn

    def again(self, chat: Chat) -> None:
        self.turns.append(turn := chat.regenerate())
        with self._lock:
            self.asked[turn.text] += 1

    def cell(self, chat: Chat, ask: Any) -> None:
        self.of_cells.add(words := self.words())
        ask(session().request(gather([words]), conversation=chat.conversation))

    def meddle(self, seed: int) -> None:
        """Be one of the hands."""
        dice = random.Random(seed)
        acts = [
            *[self.send, self.again, self.again, lambda chat: self.send(chat).stop()],
            lambda chat: self.send(chat).on_done(lambda _: self.send(chat)),
            lambda chat: self.cell(chat, session().ask),
            lambda chat: self.cell(chat, session().submit),
            *[lambda chat: self.send(chat).wait(60), lambda chat: chat.turns[-1].wait(60)] * 2,
            lambda chat: chat.turns[-1].stop(),
            lambda chat: dice.random() < 0.3 and chat.stop(),
            lambda chat: dice.random() < 0.3 and chat.clear(),
            lambda chat: chat.take_back(dice.choice(chat.turns)),
            lambda chat: self.gateway.script("POST", status=400, body={"error": "malformed"}),
            lambda chat: self.gateway.script("POST", drop="after_work"),
            lambda chat: repr(chat) + chat.to_markdown(),
        ]
        for act in dice.choices(acts, k=ACTS):
            with contextlib.suppress(SegmindError, IndexError):
                act(self.chats[seed % 2])


@pytest.mark.heavy
@pytest.mark.parametrize("mode", ["v1", "v2"])
@pytest.mark.parametrize("seed", range(3))
def test_one_conversation_in_many_hands(restart, monkeypatch, mode: str, seed: int):
    """Whatever they do: each request is one, and holds only what was answered, each once."""
    gateway = Gateway(Behaviour(credits=1e6))
    with serve(gateway) as url:
        monkeypatch.setenv("SEGMIND_BASE_URL", url)
        hands = Hands(gateway, mode)
        with ThreadPoolExecutor(HANDS) as pool:
            list(pool.map(hands.meddle, range(seed * HANDS, (seed + 1) * HANDS)))
        gateway.clear_script()
        while pending := session().pending:
            for work in pending:
                with contextlib.suppress(SegmindError):
                    work.wait(60)
        chat, other = hands.chats
        for turn in hands.turns:
            assert turn.done()
            assert (turn.reply is not None) == (turn.error is None) == (turn.stage == "answered")
        assert chat.conversation.under_way() == []
        check_requests(hands)
        # What was answered is counted, once, whatever became of it.
        assert chat.usage == session().ledger.total()
        answered = sum(turn.stage == "answered" for turn in hands.turns)
        assert answered <= chat.usage.calls <= gateway.billed
        # What is shown is what is held, and what is sent next.
        assert tuple(turn for turn in chat.turns if turn.reply) == chat.conversation.turns
        assert other.turns == chat.turns
        messages = chat.messages
        chat.send("echo: the end").wait(60)
        assert gateway.bodies[-1]["messages"][:-1] == messages
        restart()


def check_requests(hands: Hands) -> None:
    """Roles alternate, each answer is behind its question, and nothing is sent twice."""
    asked: Counter[str] = Counter()
    answered = {turn.text for turn in hands.turns if turn.reply is not None}
    failed = {turn.text for turn in hands.turns} - answered - hands.of_cells
    for body in hands.gateway.bodies:
        said = [(message["role"], message["content"][0]["text"]) for message in body["messages"]]
        *earlier, (role, words) = said
        assert role == "user"
        asked[words] += 1
        questions = [words for _, words in earlier[::2]]
        assert earlier[1::2] == [("assistant", words.removeprefix("echo: ")) for words in questions]
        assert len({words, *questions}) == len(questions) + 1, "said twice"
        assert failed.isdisjoint(questions), "a trace of what failed"
    assert asked <= hands.asked, "sent twice"
