"""`Chat` from code: what it sends, and what stays of it, over real HTTP on loopback."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from queue import Queue
from typing import Any

import pytest
from PIL import Image
from scripted import Gateway

from segmind_jupyter import Chat, ask, register, submit
from segmind_jupyter.chat import Stage, Turn
from segmind_jupyter.content.prompt import Prompt, gather
from segmind_jupyter.errors import (
    BadRequestError,
    ContentError,
    JobCancelled,
    JobTimeout,
    MaybeBilledError,
    NotCachedError,
    ReplyError,
    SegmindError,
    SettingsError,
)
from segmind_jupyter.options import Options
from segmind_jupyter.session import session
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

SLUG = "claude-4-sonnet"

#: Long enough that no test sees its end.
FOR_EVER_S = 3600.0

QUICK = Behaviour(queue_s=0.02, work_s=0.02)
SLOW = Behaviour(queue_s=FOR_EVER_S)


@pytest.fixture(autouse=True)
def account(restart: Callable[[], None]) -> None:
    """A key, a journal of its own, and nothing of another test's."""


@pytest.fixture
def online(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server that keeps what it is sent; it speaks v1 alone."""
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    return recorder


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    """The simulated gateway, which has jobs."""
    gateway = Gateway(QUICK)
    with serve(gateway) as url:
        monkeypatch.setenv("SEGMIND_BASE_URL", url)
        yield gateway


@pytest.fixture
def chat() -> Chat:
    return Chat(mode="v1")


def user(*texts: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "text", "text": text} for text in texts]}


def model(text: str = "A sunset.") -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "text", "text": text}]}


def sent(request: Any) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = request.json["messages"]
    return messages


def images(request: Any) -> list[str]:
    """The base64 of every image in a request."""
    blocks = itertools.chain.from_iterable(message["content"] for message in sent(request))
    return [block["source"]["data"] for block in blocks if block["type"] == "image"]


def posts(gateway: Gateway) -> list[str]:
    return [entry.path for entry in gateway.log if entry.method == "POST"]


def reaches(turn: Turn, stage: Stage) -> threading.Event:
    """Give an event that is set once a turn has come so far."""
    there = threading.Event()

    def look(turn: Turn) -> None:
        if turn.stage is stage or turn.done():
            there.set()

    turn.on_change(look)
    look(turn)
    turn.on_done(look)
    return there


class TestTalking:
    def test_turns_are_answered_one_after_the_other(self, online, chat):
        """What is sent before an answer is there waits for it, so that it can continue it."""
        chat.system = "Be brief."
        online.will_hang()
        first, second, third = chat.send("One"), chat.send("Two"), chat.send("Three")
        assert online.asked.wait(60)
        with pytest.raises(JobTimeout, match=r"still .* It goes on"):
            first.wait(timeout=0.01)
        assert (first.done(), first.reply, first.error) == (False, None, None)
        assert (second.stage, third.stage) == (Stage.WAITING, Stage.WAITING)
        online.release.set()
        assert third.wait() is third.reply
        assert [len(sent(request)) for request in online.posts] == [1, 3, 5]
        assert sent(online.posts[1]) == [user("One"), model(), user("Two")]
        assert {request.json["instruction"] for request in online.posts} == {"Be brief."}
        assert chat.turns == (first, second, third)

    def test_it_goes_by_jobs_unless_told_otherwise(self, gateway):
        """So that a long answer outlives a connection; how it comes on is heard of."""
        chat, stages = Chat(), []
        chat.on_change(lambda chat: stages.append(chat.turns[-1].stage))
        turn = chat.send("echo: done")
        assert turn.wait().text == "done"
        assert turn.job.reply.text == "done"
        assert posts(gateway) == [f"/v2/{SLUG}"]
        assert list(dict.fromkeys(stages))[:3] == ["waiting", "sent", "queued"]

    def test_a_typed_turn_is_read_and_a_misfit_keeps_its_reply(self, online, chat):
        """What it must be goes with that turn alone, and with the same turn asked again."""
        for text in ('{"a": 1}', "none", "words", '{"a": 2}'):
            online.will_say(text)
        reply = chat.send("Which?", json={"type": "object", "required": ["a"]}).wait()
        assert reply.parsed == {"a": 1}
        assert chat.send("Why?").wait().text == "none"
        misfit = chat.send("And?", json=dict).wait()
        with pytest.raises(ReplyError):
            _ = misfit.parsed
        assert chat.regenerate().wait().parsed == {"a": 2}
        formats = ["response_format" in request.json for request in online.posts]
        assert formats == [True, False, True, True]
        with pytest.raises(SettingsError, match="response_format"):
            Chat(response_format={}).send("Hi", json=dict)

    def test_parameters_of_the_chat_go_with_every_turn(self, online):
        """As `ask` takes them; a model set later is that of the next turn."""
        chat = Chat(mode="v1", model="claude-3-haiku", max_tokens=7, temperature=0.5, top_p=0.9)
        chat.send("Hi").wait()
        chat.model = "claude-3-opus"
        chat.send("Hi").wait()
        first, second = online.posts
        assert (first.path, second.path) == ("/v1/claude-3-haiku", "/v1/claude-3-opus")
        for request in online.posts:
            body = request.json
            assert (body["max_tokens"], body["temperature"], body["top_p"]) == (7, 0.5, 0.9)

    def test_what_cannot_work_is_refused_at_once(self, online, chat):
        """It becomes no turn, and nothing is sent; a chat is not even made."""
        for nothing in ((), ("",), (" \n", "")):
            with pytest.raises(ContentError, match=r"nothing to (say|ask)"):
                chat.send(*nothing)
            with pytest.raises(ContentError, match="nothing to say"):
                chat.say(Prompt(nothing))
        for settings, said in (
            ({"mode": "v3"}, "mode='v3'"), ({"model": "No Slug"}, "No Slug"),
            ({"images": "some"}, "some"), ({"messages": 1}, "set by the prompt"),
            ({"name": 3}, "cannot have the name 3"), ({"name": "a\nb"}, "cannot have the name"),
            ({"name": "n" * 81}, "up to 80"),
        ):  # fmt: skip
            with pytest.raises(SettingsError, match=said):
                Chat(**settings)
        for name in ("mode", "model"):
            with pytest.raises(SettingsError, match="Not one"):
                setattr(chat, name, "Not one")
        assert (chat.mode, chat.turns, online.requests) == ("v1", (), [])


class TestTrouble:
    def test_a_refused_turn_leaves_no_trace_in_what_is_sent(self, online, chat):
        """After a 400 the next request alternates roles, and holds only what succeeded."""
        chat.send("One").wait()
        online.will_answer(400, {"error": "malformed"})
        failed = chat.send("Two")
        with pytest.raises(BadRequestError, match="malformed"):
            failed.wait()
        chat.send("Three").wait()
        assert sent(online.posts[-1]) == [user("One"), model(), user("Three")]
        assert [turn.stage for turn in chat.turns] == ["answered", "failed", "answered"]
        assert failed.text == "Two"
        assert chat.usage.calls == 2

    def test_an_unknown_outcome_is_counted(self, online, chat):
        """It may have been billed: the chat says so, and so does `%segmind usage`."""
        online.will_answer(502, b"")
        with pytest.raises(MaybeBilledError):
            chat.send("Hi").wait()
        assert chat.conversation.ledger.unknown == session().ledger.unknown == 1
        assert chat.usage.calls == 0

    def test_what_nobody_foresaw_ends_the_turn(self, online, caplog):
        """It is the turn's error, and the next turn does not wait for ever."""

        class Broken(Chat):
            async def _ask(self, turn: Turn) -> None:
                raise ZeroDivisionError("division by zero")

        chat = Broken(mode="v1")
        turn, behind = chat.send("Hi"), chat.send("Ho")
        with pytest.raises(SegmindError, match="ZeroDivisionError: division by zero"):
            turn.wait()
        with pytest.raises(SegmindError):
            behind.wait()
        assert "cannot be answered" in caplog.text


class TestCallbacks:
    def test_a_follow_up_is_sent_from_a_callback(self, online, chat):
        """On the background loop, as `send` waits for nothing; it continues what was answered."""
        turns: Queue[Turn] = Queue()
        first = chat.send("One")
        first.on_done(lambda turn: turns.put(chat.send("Two", Image.new("RGB", (40, 30)))))
        second = turns.get(timeout=60)
        assert second.wait().text == "A sunset."
        assert chat.turns == (first, second)
        assert len(sent(online.posts[-1])) == 3
        assert len(images(online.posts[-1])) == 1

    def test_what_has_to_wait_is_refused_in_a_callback(self, online, chat, caplog):
        """It says what to do instead, and nothing is sent; what a callback raises is logged."""
        errors: Queue[Exception] = Queue()

        def call(turn: Turn) -> None:
            for asks in (ask, submit):
                try:
                    asks("Two")
                except SegmindError as error:
                    errors.put(error)
            raise ZeroDivisionError

        chat.on_change(lambda chat: 1 / 0)
        chat.send("One").on_done(call)
        for _ in range(2):
            assert "threading.Thread" in str(errors.get(timeout=60))
        assert len(online.posts) == 1
        assert "ZeroDivisionError" in caplog.text


class TestStopping:
    def test_a_stopped_job_can_be_resumed_by_its_id(self, gateway):
        """The error names the command; nobody watches the job any more."""
        gateway.behaviour = SLOW
        chat = Chat()
        turn = chat.send("Hi")
        assert reaches(turn, Stage.QUEUED).wait(60)
        ended = threading.Event()
        turn.job.on_done(lambda job: ended.set())
        assert turn.stop()
        with pytest.raises(JobCancelled, match=f"%segmind resume {turn.job.request_id}"):
            turn.wait()
        assert ended.wait(60)
        assert turn.job.status == "CANCELLED"
        gateway.behaviour = QUICK
        assert chat.send("echo: next").wait().text == "next"
        assert len(chat.conversation.turns) == 1

    def test_a_job_that_is_stopped_on_its_card_stops_the_turn(self, gateway):
        """Whichever button it was; that a model is at work is heard of before."""
        gateway.behaviour = Behaviour(work_s=FOR_EVER_S)
        turn = Chat().send("Hi")
        assert reaches(turn, Stage.PROCESSING).wait(60)
        assert turn.stage is Stage.PROCESSING
        turn.job.cancel()
        with pytest.raises(JobCancelled):
            turn.wait()
        assert turn.stage is Stage.STOPPED

    def test_a_stopped_turn_leaves_no_trace_and_those_that_wait_are_never_sent(self, online, chat):
        """Its request is cancelled and counted as unknown; of the others there is no bill."""
        online.will_hang()
        first, *others, last = (chat.send(f"Turn {n}") for n in range(20))
        assert online.asked.wait(60)
        assert (last.stop(), last.stop()) == (True, False)
        assert str(last.error) == "The turn was stopped before it was sent."
        assert chat.stop()
        assert {turn.stage for turn in (first, *others)} == {Stage.STOPPED}
        with pytest.raises(JobCancelled, match="may still be billed"):
            first.wait()
        chat.send("Hi").wait()
        assert [sent(request) for request in online.posts] == [[user("Turn 0")], [user("Hi")]]
        assert chat.conversation.ledger.unknown == session().ledger.unknown == 1

    # anyio 4.0 forgets the socket of a connection that is cancelled while it opens.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    def test_a_stop_at_the_last_moment_is_all_or_nothing(self, online, chat):
        """Whoever is faster, what is shown as answered is what the conversation holds."""
        stages = set()
        for n in range(150):
            turn = chat.send("Hi")
            if n % 3:
                reaches(turn, Stage.SENT).wait(60)
            for _ in range(n % 50 * 40):
                pass
            stopped = turn.stop()
            assert reaches(turn, Stage.ANSWERED).wait(60)
            held = turn in chat.conversation.turns
            assert held is (turn.stage is Stage.ANSWERED) is not stopped
            stages.add(turn.stage)
            chat.clear()
        assert Stage.STOPPED in stages

    def test_closing_the_service_ends_every_turn(self, online, chat):
        """Also those that wait for another; the next turn begins anew."""
        online.will_hang()
        turns = [chat.send("One"), chat.send("Two")]
        assert online.asked.wait(60)
        session().close()
        for turn in turns:
            with pytest.raises(JobCancelled):
                turn.wait(timeout=60)
        assert session().pending == ()
        assert chat.send("Three").wait()
        assert sent(online.posts[-1]) == [user("Three")]


class TestAgain:
    def test_a_regenerated_answer_replaces_the_old_one(self, online, chat):
        """The same request goes out; until the new answer is there, the old one holds."""
        chat.send("One").wait()
        old = chat.send("Two")
        old.wait()
        online.will_hang()
        new = chat.regenerate()
        assert online.asked.wait(60)
        assert chat.turns[-2:] == (old, new)
        online.release.set()
        new.wait()
        assert online.posts[1].body == online.posts[2].body
        assert chat.turns[1:] == (new,) == chat.conversation.turns[1:]

    def test_what_was_asked_again_in_vain_keeps_its_answer_and_is_taken_back_with_it(
        self, online, chat
    ):
        """It is one message: said in other words, it is not asked a second time behind itself."""
        chat.send("One").wait()
        chat.send("Tow").wait()
        for _ in range(2):
            online.will_answer(400, {"error": "malformed"})
            with pytest.raises(BadRequestError):
                chat.regenerate().wait()
        assert chat.messages[2:] == [user("Tow"), model()]
        online.will_say("New.")
        chat.regenerate().wait()
        assert chat.messages[2:] == [user("Tow"), model("New.")]
        online.will_answer(400, {"error": "malformed"})
        with pytest.raises(BadRequestError):
            chat.regenerate().wait()
        assert chat.take_back().text == "Tow"
        assert [turn.text for turn in chat.turns] == ["One"]
        chat.send("Two").wait()
        assert sent(online.posts[-1]) == [user("One"), model(), user("Two")]

    def test_an_older_turn_is_taken_back_with_all_that_came_after_it(self, online, chat):
        """What is said next continues what was before it; one that is gone cannot be taken."""
        first, second, third = (chat.send(words) for words in ("One", "Two", "Three"))
        third.wait()
        assert chat.take_back(second) is second
        assert chat.turns == (first,)
        with pytest.raises(ContentError, match="not part of this conversation"):
            chat.take_back(third)
        chat.send("Tow").wait()
        assert sent(online.posts[-1]) == [user("One"), model(), user("Tow")]
        online.will_hang()
        pending = chat.send("Four")
        with pytest.raises(ContentError, match="has not ended"):
            chat.take_back(first)
        assert chat.turns[-1] is pending

    def test_there_must_be_an_end_to_begin_again_from(self, online, chat):
        """Nothing said, or no answer yet: the error says what to do."""
        for again in (chat.regenerate, chat.take_back):
            with pytest.raises(ContentError, match="Nothing was said yet"):
                again()
        online.will_hang()
        chat.send("Hi")
        for again in (chat.regenerate, chat.take_back):
            with pytest.raises(ContentError, match="has not ended"):
                again()
        assert len(chat.turns) == 1


class TestKeptReplies:
    """`ClaudeMagics.cache` holds for chats as it does for cells."""

    def test_an_equal_chat_asks_nothing(self, gateway):
        """The reply says from when it is, is continued like any other, and costs nothing."""
        session().options = Options(cache="on")
        for sends, mode in enumerate(("v1", "v2"), 1):
            first, second = Chat(mode=mode), Chat(mode=mode)
            asked = first.send(f"Hi {mode}").wait()
            kept = second.send(f"Hi {mode}").wait()
            assert (kept.text, asked.cached_at) == (asked.text, None)
            assert kept.cached_at is not None
            assert len(posts(gateway)) == sends
            assert second.messages == first.messages
            assert (first.usage.calls, second.usage.calls) == (1, 0)

    def test_where_nothing_may_be_sent_what_is_not_kept_is_an_error(self, gateway, chat):
        """Of that turn; and asking again gives the kept reply."""
        session().options = Options(cache="on")
        Chat(mode="v1").send("Hi").wait()
        session().options = Options(cache="only")
        with pytest.raises(NotCachedError):
            chat.send("Something else").wait()
        assert chat.send("Hi").wait().cached_at is not None
        assert chat.regenerate().wait().cached_at is not None
        assert len(posts(gateway)) == 1

    def test_whoever_asks_again_wants_another_reply(self, online, chat):
        """It is kept in the place of the old one."""
        session().options = Options(cache="on")
        online.will_say("Old.")
        online.will_say("New.")
        chat.send("Hi").wait()
        assert chat.regenerate().wait().text == "New."
        assert Chat(mode="v1").send("Hi").wait().text == "New."
        assert len(online.posts) == 2


class TestImages:
    def test_an_object_is_converted_and_encoded_once(self, online, chat):
        """Every later request holds the same picture, which nobody makes again."""
        made = []

        class Plot:
            pass

        @register(Plot)
        def _(plot: Plot) -> Image.Image:
            made.append(plot)
            return Image.effect_noise((40, 30), 50)

        chat.send("What is", Plot()).wait()
        chat.send("And now?").wait()
        chat.send("Sure?").wait()
        chat.regenerate().wait()
        assert len(made) == 1
        (picture,) = images(online.posts[0])
        assert [images(request) for request in online.posts] == [[picture]] * 4
        assert chat.messages[0]["content"][-1] is chat.turns[0].blocks[-1]


class TestNames:
    def test_chats_of_one_name_are_one_conversation(self, online):
        """A new one shows what was said, also what goes on, with the settings that hold."""
        online.will_hang()
        first = Chat(name="caf\N{LATIN SMALL LETTER E WITH ACUTE}", mode="v1", system="Be brief.")
        pending = first.send("One")
        assert online.asked.wait(60)
        second = Chat(name=" cafe\u0301 ", mode="v1")
        assert (second.turns, second.system) == ((pending,), "Be brief.")
        behind = second.send("Two")
        online.release.set()
        behind.wait()
        assert sent(online.posts[-1]) == [user("One"), model(), user("Two")]
        assert first.turns == second.turns
        assert online.posts[-1].json["instruction"] == "Be brief."
        Chat(name=first.name, model="claude-3-haiku")
        assert first.model == "claude-3-haiku"
        assert Chat(name="other").turns == Chat().turns == ()

    def test_what_a_cell_adds_becomes_a_turn(self, online):
        """In its place, with its reply and notes, and who watches the chat is called."""
        chat = Chat(name="review", mode="v1")
        chat.send("One").wait()
        heard: list[int] = []
        chat.on_change(lambda chat: heard.append(len(chat.turns)))
        prompt = gather(["Two"])
        reply = session().ask(session().request(prompt, None, {}, chat.conversation))
        # At its beginning and its end; the end of the first turn may be told after its `wait`.
        assert [count for count in heard if count != 1] == [2, 2]
        turn = chat.turns[-1]
        assert (turn.text, turn.reply, turn.stage) == ("Two", reply, Stage.ANSWERED)
        assert (turn.wait(), turn.stop()) == (reply, False)
        assert chat.turns[-1] is turn
        chat.regenerate().wait()
        assert online.posts[1].body == online.posts[2].body
        assert [t.text for t in chat.turns] == ["One", "Two"]

    def test_a_turn_waits_for_a_cell_that_asks(self, online):
        """A cell may run while Send is pressed, and refuses to wait itself."""
        online.will_hang()
        chat = Chat(name="review", mode="v1")
        where = {"conversation": chat.conversation}
        cell = threading.Thread(
            target=lambda: session().ask(session().request(gather(["One"]), **where))
        )
        cell.start()
        assert online.asked.wait(60)
        turn = chat.send("Two")
        with pytest.raises(ContentError, match="waits for a reply"):
            session().ask(session().request(gather(["Three"]), **where))
        assert not turn.done()
        online.release.set()
        turn.wait()
        cell.join()
        assert sent(online.posts[-1]) == [user("One"), model(), user("Two")]
        assert [turn.text for turn in chat.turns] == ["One", "Two"]

    def test_a_closed_chat_hears_no_more(self, online, chat):
        """What goes on in it is stopped."""
        heard: list[int] = []
        chat.on_change(lambda chat: heard.append(len(chat.turns)))
        online.will_hang()
        turn = chat.send("Hi")
        assert online.asked.wait(60)
        chat.close()
        assert turn.stage is Stage.STOPPED
        count = len(heard)
        chat.send("Hi").wait()
        assert len(heard) == count


class TestKeeping:
    def test_a_kept_chat_goes_on_in_the_next_kernel(self, online, restart):
        """With its pictures, model and system prompt; what was paid for before is not counted."""
        chat = Chat(name="review", mode="v1", keep=True, model="claude-3-haiku", system="Brief.")
        chat.send("Which", Image.new("RGB", (40, 30), "red")).wait()
        chat.send("Why?").wait()
        chat.send("Wrong").wait()
        chat.take_back()
        before = chat.messages
        restart()
        assert Chat(name="review").turns == ()
        chat = Chat(name="review", mode="v1", keep=True)
        assert (chat.messages, chat.model, chat.system) == (before, "claude-3-haiku", "Brief.")
        assert repr(chat.turns[0]) == "<Turn answered: 'Which' with PIL RGB 40×30>"
        assert chat.usage.calls == 0
        chat.send("And?").wait()
        assert sent(online.posts[-1])[:-1] == before
        folder = session().journal.path.parent
        assert any(b"Which" in path.read_bytes() for path in folder.iterdir())
        chat.clear()
        assert not any(b"Which" in path.read_bytes() for path in folder.iterdir())
        restart()
        assert Chat(name="review", keep=True).turns == ()
        with pytest.raises(SettingsError, match="Give one"):
            Chat(keep=True)

    def test_what_is_said_is_kept_only_where_that_is_wanted(self, online):
        """By the chat, or by the setting, which a name then suffices for."""
        Chat(name="a", mode="v1").send("One").wait()
        session().keeps_chats = True
        Chat(name="b", mode="v1").send("One").wait()
        Chat(name="c", mode="v1", keep=False).send("One").wait()
        Chat(mode="v1").send("One").wait()
        assert session().journal.kept_chats() == ["b"]

    def test_a_chat_is_read_again_from_its_json(self, online, chat):
        """What is none is refused in words."""
        chat.send("Which", Image.new("RGB", (40, 30), "red"), [1, 2]).wait()
        again = Chat.from_json(chat.to_json(), mode="v1")
        assert again.messages == chat.messages
        assert again.to_json() == chat.to_json()
        first, same = chat.turns[0].reply, again.turns[0].reply
        assert (same.text, same.usage, same.id) == (first.text, first.usage, first.id)
        for text in ("", "[]", "{}", '{"model": null, "system": null, "turns": [1]}'):
            with pytest.raises(ContentError, match="not what"):
                Chat.from_json(text)


class TestReading:
    def test_a_turn_and_a_chat_read_well(self, online):
        """What was said, and how it stands."""
        chat = Chat(name="x", mode="v1")
        assert repr(chat) == f"<Chat 'x' with {SLUG}, 0 turns>"
        picture = Image.new("RGB", (40, 30))
        turn = chat.send("Which", picture)
        turn.wait()
        assert repr(turn) == "<Turn answered: 'Which' with PIL RGB 40×30>"
        assert repr(chat) == f"<Chat 'x' with {SLUG}, 1 turn>"
        online.will_answer(400, {"error": "malformed"})
        failed = chat.send("long " * 40)
        with pytest.raises(BadRequestError):
            failed.wait()
        assert repr(failed).startswith("<Turn failed (BadRequestError): 'long long")
        assert len(repr(failed)) < 110
        assert repr(Turn(gather([picture, 0.5]))) == "<Turn waiting: PIL RGB 40×30, text, ≈1 token>"


class TestScripts:
    def test_a_script_chats_without_any_front_end(self, program, gateway):
        """Blocking and on a loop of its own; IPython and widgets are not even imported."""
        code = """
        import asyncio, sys
        from segmind_jupyter import Chat
        chat = Chat()
        print(chat.send('echo: one').wait())
        async def main(): print(await chat.send('echo: two'))
        asyncio.run(main())
        print(chat, {'IPython', 'ipywidgets'} & set(sys.modules))
        """
        told = f"one\ntwo\n<Chat with {SLUG}, 2 turns> set()\n"
        assert program(code).communicate(timeout=60) == (told, "")

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_forked_child_goes_on_by_itself(self, program, online):
        """It waits for nothing that only its parent hears of, and can stop it without harm."""
        online.will_say("First.")

        def answer(request: Any) -> tuple[int, dict[str, str], bytes]:
            if "One" in str(request.blocks):  # whichever comes first
                online.release.wait(60)
            return 200, {}, b'{"content": "A sunset."}'

        online.answers += 2 * [answer]
        running = program(
            """
            import os, threading, warnings
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking beside threads
            from segmind_jupyter import Chat
            chat = Chat(mode="v1")
            chat.send("Hi").wait()
            sent = threading.Event()
            chat.on_change(lambda chat: chat.turns[-1].stage == "sent" and sent.set())
            pending = chat.send("One")
            sent.wait(50)
            if (child := os.fork()) == 0:
                print(chat.send("Two").wait(50), pending.stop(), flush=True)
                os._exit(0)
            print(os.waitpid(child, 0)[1], pending.stage)
            """
        )
        assert running.communicate(timeout=60) == ("A sunset. True\n0 sent\n", "")
        assert [user("Hi"), model("First."), user("Two")] in map(sent, online.posts)
