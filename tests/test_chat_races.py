"""One conversation in many hands: threads that speak, stop and clear, and a server with faults.

What is sent, what is held and what is counted is compared with what each turn says of itself.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
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


@pytest.fixture
def gateway(restart: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The simulated gateway, and a session with a journal of its own."""
    gateway = Gateway(Behaviour(credits=1e6))
    with serve(gateway) as url:
        monkeypatch.setenv("SEGMIND_BASE_URL", url)
        yield gateway
        restart()


class Table:
    """Where all hands meet: two chats of one name, and cells that continue it."""

    def __init__(self, gateway: Any, mode: Any) -> None:
        self.gateway = gateway
        self.chats = [Chat(name="shared", mode=mode) for _ in range(2)]
        #: Every turn that was begun from a chat, and how often words were said, by whomever.
        self.turns: list[Turn] = []
        self.asked: Counter[str] = Counter()
        #: The words of cells: no turn here tells whether those were answered.
        self.of_cells: set[str] = set()
        self._numbers = itertools.count(1)
        self._coming: list[threading.Event] = []
        self._lock = threading.Lock()

    def words(self) -> str:
        """Give words that nobody said before; the simulator answers with the last of them."""
        words = f"echo: word{next(self._numbers)}"
        with self._lock:
            self.asked[words] += 1
        return words

    def send(self, chat: Chat) -> Turn:
        turn = chat.send(self.words())
        self.turns.append(turn)
        return turn

    def again(self, chat: Chat) -> None:
        turn = chat.regenerate()
        with self._lock:
            self.asked[turn.text] += 1
        self.turns.append(turn)

    def cell(self, chat: Chat, way: str = "ask") -> None:
        self.of_cells.add(words := self.words())
        request = session().request(gather([words]), conversation=chat.conversation)
        getattr(session(), way)(request)

    def follow_up(self, chat: Chat) -> None:
        """Speak on the background loop."""
        over = threading.Event()
        self._coming.append(over)

        def speak(turn: Turn) -> None:
            try:
                self.send(chat)
            finally:
                over.set()

        self.send(chat).on_done(speak)

    def acts(self, dice: random.Random) -> list[Callable[[Chat], object]]:
        faults = self.gateway.script

        def seldom() -> bool:
            return dice.random() < 0.3

        return [
            *[self.send, self.follow_up, self.again, self.again, self.cell],
            lambda chat: self.cell(chat, "submit"),
            *[lambda chat: self.send(chat).wait(60), lambda chat: chat.turns[-1].wait(60)] * 2,
            lambda chat: self.send(chat).stop(),
            lambda chat: chat.turns[-1].stop(),
            lambda chat: seldom() and chat.stop(),
            lambda chat: seldom() and chat.clear(),
            Chat.take_back,
            lambda chat: chat.take_back(dice.choice(chat.turns)),
            lambda chat: faults("POST", status=400, body={"error": "malformed"}),
            lambda chat: faults("POST", drop="after_work"),
            lambda chat: faults("POST", delay_s=0.05),
            lambda chat: seldom() and faults("GET", status=500),
            lambda chat: repr(chat) + chat.to_markdown(),
        ]

    def meddle(self, seed: int) -> None:
        """Be one of the hands."""
        dice = random.Random(seed)
        for act in dice.choices(self.acts(dice), k=ACTS):
            with contextlib.suppress(SegmindError, IndexError):
                act(self.chats[seed % 2])

    def settle(self) -> None:
        """Wait until all has ended; what went wrong was its own turn's."""
        self.gateway.clear_script()
        for over in self._coming:
            assert over.wait(60)
        for work in [*self.turns, *session().pending]:
            with contextlib.suppress(SegmindError):
                work.wait(60)


@pytest.mark.heavy
@pytest.mark.parametrize("mode", ["v1", "v2"])
@pytest.mark.parametrize("seed", range(3))
def test_one_conversation_in_many_hands(gateway: Any, mode: str, seed: int):
    """Whatever they do: each request is one, and holds only what was answered, each once."""
    table = Table(gateway, mode)
    with ThreadPoolExecutor(HANDS) as pool:
        list(pool.map(table.meddle, range(seed * HANDS, (seed + 1) * HANDS)))
    table.settle()
    chat, other = table.chats
    for turn in table.turns:
        assert turn.done()
        assert (turn.reply is None) == (turn.error is not None)
        assert (turn.reply is not None) == (turn.stage == "answered")
    assert chat.conversation.under_way() == []
    check_requests(table)
    # What was answered is counted, once, whatever became of it.
    assert chat.usage == session().ledger.total()
    answered = sum(turn.stage == "answered" for turn in table.turns)
    assert answered <= chat.usage.calls <= gateway.billed
    # What is shown is what is held, and what is sent next.
    assert tuple(turn for turn in chat.turns if turn.reply) == chat.conversation.turns
    assert other.turns == chat.turns
    messages = chat.messages
    chat.send("echo: the end").wait(60)
    assert gateway.bodies[-1]["messages"][:-1] == messages


def check_requests(table: Table) -> None:
    """Roles alternate, each answer is behind its question, and nothing is sent twice."""
    asked: Counter[str] = Counter()
    answered = {turn.text for turn in table.turns if turn.reply is not None}
    failed = {turn.text for turn in table.turns} - answered - table.of_cells
    for body in table.gateway.bodies:
        said = [(message["role"], message["content"][0]["text"]) for message in body["messages"]]
        *earlier, (role, words) = said
        assert role == "user"
        asked[words] += 1
        questions = earlier[::2]
        answers = [("assistant", words.removeprefix("echo: ")) for _, words in questions]
        assert earlier[1::2] == answers
        assert len({words for _, words in questions}) == len(questions), "said twice"
        assert words not in {words for _, words in questions}
        assert failed.isdisjoint(words for _, words in questions), "a trace of what failed"
    assert asked <= table.asked, "sent twice"
