"""`Chat` from code: what it sends, and what stays of it, over real HTTP on loopback."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Queue
from typing import Any

import pytest
from PIL import Image
from scripted import Gateway

from segmind_jupyter import Chat
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

SLUG = "claude-4-sonnet"

#: Long enough that no test sees its end.
FOR_EVER_S = 3600.0


@pytest.fixture(autouse=True)
def account(restart: Callable[[], None]) -> None:
    """A key, a journal of its own, and nothing of another test's."""


@pytest.fixture
def online(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server that keeps what it is sent; it speaks v1 alone."""
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    return recorder


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


# Talking.


def test_turns_are_answered_one_after_the_other(online, chat):
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


def test_it_goes_by_jobs_unless_told_otherwise(gateway):
    """So that a long answer outlives a connection; how it comes on is heard of."""
    chat, stages = Chat(), []
    chat.on_change(lambda chat: stages.append(chat.turns[-1].stage))
    turn = chat.send("echo: done")
    assert turn.wait().text == turn.job.reply.text == "done"
    assert posts(gateway) == [f"/v2/{SLUG}"]
    assert list(dict.fromkeys(stages))[:3] == ["waiting", "sent", "queued"]


def test_a_typed_turn_is_read_and_a_misfit_keeps_its_reply(online, chat):
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


def test_parameters_of_the_chat_go_with_every_turn(online):
    """As `ask` takes them; a model set later is that of the next turn."""
    chat = Chat(mode="v1", model="claude-3-haiku", max_tokens=7, temperature=0.5, top_p=0.9)
    chat.send("Hi").wait()
    chat.model = "claude-3-opus"
    chat.send("Hi").wait()
    assert [request.path for request in online.posts] == ["/v1/claude-3-haiku", "/v1/claude-3-opus"]
    for request in online.posts:
        body = request.json
        assert (body["max_tokens"], body["temperature"], body["top_p"]) == (7, 0.5, 0.9)


def test_what_cannot_work_is_refused_at_once(online, chat):
    """It becomes no turn, and nothing is sent; a chat is not even made."""
    for nothing in ((), ("",), (" \n", "")):
        with pytest.raises(ContentError, match=r"nothing to (say|ask)"):
            chat.send(*nothing)
        with pytest.raises(ContentError, match="nothing to say"):
            chat.say(Prompt(nothing))
    for settings, said in (
        ({"mode": "v3"}, "mode='v3'"), ({"model": "No Slug"}, "No Slug"),
        ({"images": "some"}, "how many of the newest"), ({"messages": 1}, "set by the prompt"),
        ({"name": 3}, "cannot have the name 3"), ({"name": "a\nb"}, "cannot have the name"),
        ({"name": "n" * 81}, "up to 80"), ({"keep": True}, "Give one"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=said):
            Chat(**settings)
    with pytest.raises(SettingsError, match="Not one"):
        chat.model = "Not one"
    chat.mode = "v3"
    with pytest.raises(SettingsError, match="mode='v3'"):
        chat.send("Hi")
    assert (chat.turns, online.requests) == ((), [])


# Trouble.


def test_a_refused_turn_leaves_no_trace_in_what_is_sent(online, chat):
    """After a 400 the next request alternates roles, and holds only what succeeded."""
    chat.send("One").wait()
    online.will_answer(400, {"error": "malformed"})
    with pytest.raises(BadRequestError, match="malformed"):
        chat.send("Two").wait()
    online.will_answer(502, b"")
    with pytest.raises(MaybeBilledError):
        chat.send("Two").wait()
    chat.send("Three").wait()
    assert sent(online.posts[-1]) == [user("One"), model(), user("Three")]
    assert [turn.stage for turn in chat.turns] == ["answered", "failed", "failed", "answered"]
    assert chat.usage.calls == 2
    assert session().ledger.unknown == 1


def test_what_nobody_foresaw_ends_the_turn(online, caplog):
    """It is the turn's error, and the next turn does not wait for ever."""

    class Broken(Chat):
        async def _ask(self, turn: Turn) -> None:
            raise ZeroDivisionError("division by zero")

    chat = Broken(mode="v1")
    for turn in [chat.send("Hi"), chat.send("Ho")]:
        with pytest.raises(SegmindError, match="ZeroDivisionError: division by zero"):
            turn.wait()
    assert "cannot be answered" in caplog.text


def test_a_follow_up_is_sent_from_a_callback(online, chat, caplog):
    """On the background loop, as `send` waits for nothing; what one raises is logged."""
    turns: Queue[Turn] = Queue()
    chat.on_change(lambda chat: 1 / 0)
    first = chat.send("One")
    first.on_done(lambda turn: turns.put(chat.send("Two", Image.new("RGB", (40, 30)))))
    second = turns.get(timeout=60)
    assert second.wait().text == "A sunset."
    assert chat.turns == (first, second)
    assert [message["role"] for message in sent(online.posts[-1])] == ["user", "assistant", "user"]
    assert "ZeroDivisionError" in caplog.text


# Stopping.


def test_a_stopped_job_can_be_resumed_by_its_id(gateway):
    """The error names the command; nobody watches the job any more."""
    gateway.behaviour = Behaviour(queue_s=FOR_EVER_S)
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
    gateway.behaviour = Behaviour()
    assert chat.send("echo: next").wait().text == "next"
    assert len(chat.conversation.turns) == 1


def test_a_job_that_is_stopped_on_its_card_stops_the_turn(gateway):
    """Whichever button it was; that a model is at work is heard of before."""
    gateway.behaviour = Behaviour(work_s=FOR_EVER_S)
    turn = Chat().send("Hi")
    assert reaches(turn, Stage.PROCESSING).wait(60)
    turn.job.cancel()
    with pytest.raises(JobCancelled):
        turn.wait()
    assert turn.stage is Stage.STOPPED


def test_a_stopped_turn_leaves_no_trace_and_those_that_wait_are_never_sent(online, chat):
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
    assert session().ledger.unknown == 1


# anyio 4.0 forgets the socket of a connection that is cancelled while it opens.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stop_at_the_last_moment_is_all_or_nothing(online, chat):
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
        assert (turn in chat.conversation.turns) is (turn.stage is Stage.ANSWERED) is not stopped
        stages.add(turn.stage)
        chat.clear()
    assert Stage.STOPPED in stages


def test_closing_the_service_ends_every_turn(online, chat):
    """Also those that wait for another; the next turn begins anew."""
    online.will_hang()
    turns = [chat.send("One"), chat.send("Two")]
    assert online.asked.wait(60)
    session().close()
    for turn in turns:
        with pytest.raises(JobCancelled):
            turn.wait(timeout=60)
    assert session().pending == ()
    chat.send("Three").wait()
    assert sent(online.posts[-1]) == [user("Three")]


# Once more.


def test_what_was_asked_again_in_vain_keeps_its_answer_and_is_taken_back_with_it(online, chat):
    """It is one message: said in other words, it is not asked a second time behind itself."""

    def fail() -> None:
        online.will_answer(400, {"error": "malformed"})
        with pytest.raises(BadRequestError):
            chat.regenerate().wait()

    chat.send("One").wait()
    chat.send("Tow").wait()
    fail()
    fail()
    assert chat.messages[2:] == [user("Tow"), model()]
    online.will_say("New.")
    chat.regenerate().wait()
    assert chat.messages[2:] == [user("Tow"), model("New.")]
    fail()
    assert chat.take_back().text == "Tow"
    assert [turn.text for turn in chat.turns] == ["One"]
    chat.send("Two").wait()
    assert sent(online.posts[-1]) == [user("One"), model(), user("Two")]


def test_an_older_turn_is_taken_back_with_all_that_came_after_it(online, chat):
    """What is said next continues what was before it; one that is gone cannot be taken."""
    for again in (chat.regenerate, chat.take_back):
        with pytest.raises(ContentError, match="Nothing was said yet"):
            again()
    _, second, third = (chat.send(words) for words in ("One", "Two", "Three"))
    third.wait()
    assert chat.take_back(second) is second
    with pytest.raises(ContentError, match="not part of this conversation"):
        chat.take_back(third)
    online.will_hang()
    chat.send("Tow")
    assert online.asked.wait(60)
    assert sent(online.posts[-1]) == [user("One"), model(), user("Tow")]
    with pytest.raises(ContentError, match="has not ended"):
        chat.regenerate()


def test_a_kept_reply_costs_nothing_and_asking_again_wants_another(gateway):
    """`ClaudeMagics.cache` holds for chats as it does for cells, by v1 and v2."""
    for sends, mode in enumerate(("v1", "v2"), 1):
        session().options = Options(cache="on")
        first, second = Chat(mode=mode), Chat(mode=mode)
        asked, kept = first.send(f"Hi {mode}").wait(), second.send(f"Hi {mode}").wait()
        assert (kept.text, asked.cached_at, kept.cached_at is None) == (asked.text, None, False)
        assert second.messages == first.messages
        assert (first.usage.calls, second.usage.calls) == (1, 0)
        second.regenerate().wait()
        assert second.turns[-1].reply.cached_at is None
        assert len(posts(gateway)) == 2 * sends
        session().options = Options(cache="only")
        with pytest.raises(NotCachedError):
            Chat(mode=mode).send("Something else").wait()
        assert second.regenerate().wait().cached_at is not None
        assert len(posts(gateway)) == 2 * sends


# Names, and the next kernel.


def test_chats_of_one_name_are_one_conversation(online):
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
    Chat(name=first.name, model="claude-3-haiku")
    assert first.model == "claude-3-haiku"
    assert Chat(name="other").turns == Chat().turns == ()


def test_a_cell_refuses_to_go_on_where_a_turn_is_under_way(online, chat):
    """What it says is a turn once it is answered; what failed leaves none."""
    online.will_hang()
    turn = chat.send("One")
    assert online.asked.wait(60)

    def ask_in_a_cell(words: str) -> None:
        session().ask(session().request(gather([words]), conversation=chat.conversation))

    with pytest.raises(ContentError, match="waits for a reply"):
        ask_in_a_cell("Two")
    online.release.set()
    turn.wait()
    ask_in_a_cell("Three")
    assert sent(online.posts[-1]) == [user("One"), model(), user("Three")]
    online.will_answer(400, {"error": "malformed"})
    with pytest.raises(BadRequestError):
        ask_in_a_cell("Four")
    assert [turn.text for turn in chat.turns] == ["One", "Three"]


def test_a_kept_chat_goes_on_in_the_next_kernel(online, restart):
    """With its pictures, model and system prompt; what is forgotten is not left in the file."""
    chat = Chat(name="review", mode="v1", keep=True, model="claude-3-haiku", system="Brief.")
    chat.send("Which", Image.new("RGB", (40, 30), "red")).wait()
    chat.send("Wrong").wait()
    chat.take_back()
    before = chat.messages
    restart()
    assert Chat(name="review").turns == ()
    chat = Chat(name="review", mode="v1", keep=True)
    assert (chat.messages, chat.model, chat.system) == (before, "claude-3-haiku", "Brief.")
    assert chat.usage.calls == 0
    chat.send("And?").wait()
    assert sent(online.posts[-1])[:-1] == before
    folder = session().journal.path.parent
    assert any(b"Which" in path.read_bytes() for path in folder.iterdir())
    chat.clear()
    assert not any(b"Which" in path.read_bytes() for path in folder.iterdir())
    restart()
    assert Chat(name="review", keep=True).turns == ()


def test_what_is_said_is_kept_only_where_that_is_wanted(online):
    """By the chat, or by the setting, which a name then suffices for."""
    Chat(name="a", mode="v1").send("One").wait()
    session().keeps_chats = True
    Chat(name="b", mode="v1").send("One").wait()
    Chat(name="c", mode="v1", keep=False).send("One").wait()
    Chat(mode="v1").send("One").wait()
    assert session().journal.kept_chats() == ["b"]


def test_a_chat_is_read_again_from_its_json(online, chat):
    """What is none is refused in words."""
    chat.send("Which", Image.new("RGB", (40, 30), "red"), [1, 2]).wait()
    again = Chat.from_json(chat.to_json(), mode="v1")
    assert (again.messages, again.to_json()) == (chat.messages, chat.to_json())
    first, same = chat.turns[0].reply, again.turns[0].reply
    assert (same.text, same.usage, same.id) == (first.text, first.usage, first.id)
    for text in ("", "[]", "{}", '{"model": null, "system": null, "turns": [1]}'):
        with pytest.raises(ContentError, match="not what"):
            Chat.from_json(text)


# Scripts.


def test_a_script_chats_without_any_front_end(program, gateway):
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
def test_a_forked_child_goes_on_by_itself(program, online):
    """It stops what only its parent hears of, without harm there."""
    online.will_say("First.")
    online.will_hang()
    running = program(
        """
        import os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking beside threads
        from segmind_jupyter import Chat
        chat = Chat(mode="v1")
        chat.send("Hi").wait()
        pending = chat.send("One")
        input()
        if (child := os.fork()) == 0:
            print(pending.stop(), chat.send("Two").wait(50), flush=True)
            os._exit(0)
        print(os.waitpid(child, 0)[1], pending.stage)
        """
    )
    assert online.asked.wait(50)  # or the child's words might be what is not answered
    assert running.communicate("\n", timeout=60) == ("True A sunset.\n0 sent\n", "")
    assert [user("Hi"), model("First."), user("Two")] in map(sent, online.posts)
