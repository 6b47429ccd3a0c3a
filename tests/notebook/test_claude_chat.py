"""`%%claude -c`, `%%claude --chat NAME` and `%segmind chat` in a real shell, over real HTTP."""

from __future__ import annotations

import re
import threading
from typing import Any

from segmind_jupyter import Chat
from segmind_jupyter.errors import BadRequestError, ContentError
from segmind_jupyter.session import _only_session, session
from segmind_jupyter.simulator.protocol import Behaviour

#: Long enough that no test sees its end.
FOR_EVER_S = 3600.0


def said(body: Any) -> list[str]:
    """The texts of a request, in order."""
    blocks = [block for message in body["messages"] for block in message["content"]]
    return [block["text"] for block in blocks if block["type"] == "text"]


def words(line: str) -> str:
    """What is shown, without gaps and ends of lines."""
    return " ".join(line.split())


# Going on.


def test_it_continues_the_last_exchange(run, online):
    """The model sees what was asked and answered; what stands alone sends itself only."""
    run("%%claude\nZero")
    run("%%claude\nOne")
    assert said(online.posts[-1].json) == ["One"]
    assert run("%%claude -c\nTwo").result.text == "A sunset."
    run("from segmind_jupyter import ask; ask('Elsewhere');")
    run("%claude --continue And three?")
    messages = online.posts[-1].json["messages"]
    assert said(online.posts[-1].json) == ["One", "A sunset.", "Two", "A sunset.", "And three?"]
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2 + ["user"]


def test_what_failed_leaves_no_trace(run, online):
    """Neither a continuation nor a cell of its own; with nothing before it, `-c` says so."""

    def fails(cell: str) -> None:
        online.will_answer(400, {"error": "malformed"})
        assert type(run(cell).error) is BadRequestError

    fails("%%claude\nHi")
    done = run("%%claude -c\nHi")
    assert type(done.error) is ContentError
    assert "nothing to continue" in done.shown
    run("%%claude\nOne")
    fails("%%claude -c -m claude-3-haiku\nTwo")
    fails("%%claude\nThree")
    run("%%claude -c\nFour")
    assert said(online.posts[-1].json) == ["One", "A sunset.", "Four"]
    assert online.posts[-1].path == "/v1/claude-4-sonnet"


def test_model_and_system_prompt_hold_until_others_are_given(run, online):
    """Those of the conversation, and from then on those of the turn."""
    run('%%claude -m claude-3-haiku -s "Be brief."\nOne')
    run("%%claude -c\nTwo")
    run('%%claude -c -m claude-3-opus -s "Be long."\nThree')
    run("%%claude -c\nFour")
    run("%%claude\nFive")
    asked = [(request.path[4:], request.json.get("instruction")) for request in online.posts]
    assert asked == [
        ("claude-3-haiku", "Be brief."), ("claude-3-haiku", "Be brief."),
        ("claude-3-opus", "Be long."), ("claude-3-opus", "Be long."), ("claude-4-sonnet", None),
    ]  # fmt: skip


def test_a_job_is_continued_once_its_reply_has_come(run, gateway):
    """And continues itself, as a cell that waits does."""
    run("%%claude -j -o job\necho: red")
    assert run("job.wait().text").result == "red"
    run("%%claude -c -j -o job\nWhy?")
    run("job.wait()")
    run("%%claude -c\nSure?")
    assert said(gateway.bodies[1]) == ["echo: red", "red", "Why?"]
    assert said(gateway.bodies[2])[:3] == ["echo: red", "red", "Why?"]
    assert len(gateway.bodies[2]["messages"]) == 5


def test_a_pending_job_cannot_be_continued_yet(run, gateway):
    """The error names it and says what to do; nothing is sent."""
    gateway.behaviour = Behaviour(queue_s=FOR_EVER_S)
    for sent, (first, then) in enumerate(
        (("-j", "-c"), ("-j", "-c -j"), ("--chat x -j", "--chat x"), ("--chat y -j", "-c")), 1
    ):
        job = run(f"%%claude {first}\nOne").result
        done = run(f"%%claude {then}\nTwo")
        assert type(done.error) is ContentError
        assert f"still waits for job {job.request_id}. Wait until" in words(done.shown)
        assert "`%segmind wait`" in words(done.shown)
        assert len(gateway.bodies) == sent


def test_the_last_cell_is_the_last_exchange_if_it_has_a_reply(run, gateway):
    """Whenever the replies come; a job that gives none leaves no trace."""
    gateway.behaviour = Behaviour(queue_s=0.3)
    run("%%claude -j -o job\necho: late")
    run("%%claude\necho: red")
    assert run("job.wait().text").result == "late"
    gateway.behaviour = Behaviour(queue_s=FOR_EVER_S)
    run("%%claude -j -o job\nOne")
    run("job.cancel()")
    run("%%claude -c\nTwo")
    assert said(gateway.bodies[-1]) == ["echo: red", "red", "Two"]


# By name.


def test_a_name_is_a_conversation_and_the_chat_of_that_name(run, online):
    """Continued by it or by `-c`, whatever is asked in between; cells and `Chat` see each other."""
    run('%%claude --chat a -s "Be brief."\nOne')
    run("%%claude --chat b\nTwo")
    run("%%claude -c\nThree")
    run("%%claude\nFour")
    chat = Chat(name="a", mode="v1")
    chat.send("Five").wait()
    run("%claude --chat a Six")
    assert [said(request.json)[::2] for request in online.posts] == [
        ["One"], ["Two"], ["Two", "Three"], ["Four"], ["One", "Five"], ["One", "Five", "Six"],
    ]  # fmt: skip
    assert [turn.text for turn in chat.turns] == ["One", "Five", "Six"]
    instructions = [request.json.get("instruction") for request in online.posts]
    assert instructions == ["Be brief.", None, None, None, "Be brief.", "Be brief."]


def test_a_line_that_cannot_be_read_says_why(run, online):
    """As for the other options; an unknown name is met with those that are known."""
    run("%%claude --chat review\nOne")
    for line, hint in (
        ("%%claude -c --chat a\nHi", "-c or --chat NAME, not both"),
        ("%%claude --chat ''\nHi", "takes a name"),
        ("%%claude --chat\nHi", "expected one argument"),
        ("%segmind chat reviev", "No conversation has the name `reviev`. Did you mean `review`?"),
        ("%segmind chat zzz clear", "No conversation has the name `zzz`. Known: review"),
    ):
        done = run(line)
        assert type(done.error).__name__ == "UsageError"
        assert hint in words(done.shown)
    assert len(online.requests) == 1


# `%segmind chat`.


def test_a_turn_under_way_stands_among_the_jobs(run, gateway):
    """With its words."""
    gateway.behaviour = Behaviour(queue_s=FOR_EVER_S)
    queued, turn = threading.Event(), Chat().send("Which colour?")
    turn.on_change(lambda turn: turn.job and queued.set())
    assert turn.job or queued.wait(60)
    assert "Which colour?" in run("%segmind jobs").shown


def test_what_has_a_name_is_listed(run, online):
    """Model, turns, tokens, credits, and how long ago the last reply came."""
    assert "No conversation has a name yet" in run("%segmind chat").shown
    online.will_answer(
        200, {"content": "x", "usage": {"input_tokens": 1000, "output_tokens": 5}}, x_cost="0.5"
    )
    run("%%claude --chat 'my review' -m claude-3-haiku\nOne")
    run("%%claude --chat b\nOne")
    run("%%claude -c\nTwo")
    run("%%claude\nThree")
    shown = run("%segmind chat").displayed[0].data["text/plain"].splitlines()
    head, *rows = map(words, shown)
    assert head == "name model turns tokens in tokens out credits last reply"
    assert re.fullmatch(r"my review claude-3-haiku 1 1,000 5 0.5000 \d+ s ago", rows[0])
    assert re.fullmatch(r"b claude-4-sonnet 2 112 62 not told \d+ s ago", rows[1])
    assert len(rows) == 2


def test_one_is_shown_as_it_is_read(run, online):
    """As text and as HTML, in which a reply is data; the name is read as `--chat` reads it."""
    online.will_say("**Red** <script>alert(1)</script>")
    run('%%claude --chat "my revié"\nWhich colour?')
    for name in ("my revié", "'my revié'", '"my revié"', "my  revie\u0301"):
        (output,) = run(f"%segmind chat {name}").displayed
        assert "Which colour?" in output.data["text/plain"]
        assert "**Red**" in output.data["text/plain"]
        assert "<strong>Red</strong>" in output.data["text/html"]
        assert "<script" not in output.data["text/html"]


def test_one_is_forgotten(run, online):
    """What was said, and with which model; an open chat is empty, the bill is not.

    Also one that is kept, of which this kernel has not spoken.
    """
    run("%config ClaudeMagics.keep_chats = True")
    run("%%claude --chat review -m claude-3-haiku\nOne")
    session().close()
    _only_session.cache_clear()
    assert "review" in run("%segmind chat").shown
    assert "One" in run("%segmind chat review").shown
    chat = Chat(name="review")
    run("%%claude --chat review -m claude-3-haiku\nTwo")
    assert "forgotten" in run("%segmind chat review clear").shown
    assert (chat.turns, session().journal.kept_chats()) == ((), [])
    assert "No conversation" in run("%segmind chat").shown
    assert "Nothing was said yet" in run("%segmind chat review").shown
    assert "claude-3-haiku" in run("%segmind usage").shown
    assert "nothing to continue" in run("%%claude -c\nHi").shown
    run("%%claude --chat review\nThree")
    assert said(online.posts[-1].json) == ["Three"]
    assert online.posts[-1].path == "/v1/claude-4-sonnet"
