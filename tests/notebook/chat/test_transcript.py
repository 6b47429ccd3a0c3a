"""A chat as it is read: as HTML that runs nothing, as text, and as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.messages import Reply, Usage
from segmind_jupyter.chat import Chat, Turn
from segmind_jupyter.content.prompt import compose, gather
from segmind_jupyter.errors import InsufficientCreditsError
from segmind_jupyter.notebook.chat import transcript
from segmind_jupyter.notebook.chat.export import inert

CORPUS = json.loads((Path(__file__).parents[1] / "hostile.json").read_text("utf-8"))
HOSTILE = [case["text"] for case in CORPUS if len(case["text"]) < 2_000]


class Told(Chat):
    """A chat whose turns were made by hand."""

    def __init__(self, *turns: Turn, name: str = "") -> None:
        self._told, self._called = turns, name

    turns = property(lambda self: self._told)
    name = property(lambda self: self._called)


def asked(*contents: Any) -> Turn:
    return Turn(gather(contents))


def answered(*contents: Any, text: str = "A **rising** line.", **fields: Any) -> Turn:
    turn = asked(*contents)
    turn.answer(Reply(text=text, model="claude-4-sonnet", usage=Usage(435, 31), **fields))
    return turn


def failed(*contents: Any, detail: str = "add some") -> Turn:
    turn = asked(*contents)
    turn.fail(InsufficientCreditsError(detail, status=406))
    return turn


def test_a_chat_without_turns_says_so():
    """In each form that is shown."""
    assert transcript.EMPTY in transcript.html(Told())
    assert transcript.text(Told()) == transcript.EMPTY
    assert transcript.markdown(Told()) == f"{transcript.EMPTY}\n"
    assert transcript.markdown(Told(name="sales")) == f"# sales\n\n{transcript.EMPTY}\n"


def test_a_turn_shows_what_was_said_and_what_came_of_it(walk):
    """Words, a thumbnail and the size of what went with them, the reply, and what it took."""
    page = transcript.html(Told(answered("What is this?", Image.new("RGB", (80, 40)))))
    words = walk(page)
    assert words.index("What is this?") < words.index("80×40 PNG") < words.index("rising")
    assert "435 tokens in, 31 out" in words
    assert "<strong>rising</strong>" in page
    assert page.count("data:image/png") == 1


def test_an_error_shows_in_the_place_of_the_reply(walk):
    """With its name and its words, in each form."""
    chat = Told(failed("Hi", detail="Not enough credits."))
    assert "InsufficientCreditsError" in walk(transcript.html(chat))
    assert "InsufficientCreditsError: Not enough credits." in transcript.text(chat)
    assert "*Not enough credits.*" in transcript.markdown(chat)


def test_a_turn_on_its_way_tells_how_to_go_on():
    """By its job, where there is one; whether it is queued still, a file cannot know."""
    turn = asked("Hi")
    assert transcript.text(Told(turn)).endswith("There was no reply yet.")
    turn.queued_as(Job("2c7f-1", model="claude-4-sonnet"))
    for kept in transcript.page_of(turn):
        assert "%segmind resume 2c7f-1" in kept
        assert "queued" not in kept.lower()


def test_names_stand_among_the_words_where_they_were_typed():
    """And what was attached before all words stands apart."""
    names = {"df": [1, 2], "n": 3}
    turn = Turn(compose("Is {n} in {df}?", names, include=["df"]))
    assert turn.text == "Is {n} in {df}?"
    assert "\n     [df" in transcript.text(Told(turn))


def test_a_turn_of_objects_alone_shows_them(walk):
    """No words, no empty bubble."""
    page = transcript.page_of(answered(Image.new("RGB", (8, 4))))[0]
    assert "8×4 PNG" in walk(page)


def test_markdown_names_the_speakers_and_the_chat():
    """The reply as it came, and what was said as a quotation."""
    page = transcript.markdown(Told(answered("Hi"), failed("And?"), name="sales"))
    assert page.startswith("# sales\n\n## You\n\n> Hi\n\n## Claude\n\nA **rising** line.")
    assert page.count("\n## You\n") == 2
    assert page.endswith("\n")


def test_no_hostile_word_is_live(walk):
    """As the reply, the words, the error, the model's name and an object's name."""
    for text in HOSTILE:
        turns = [
            answered(text, text=text),
            failed(text, detail=text),
            Turn(compose(f"{{x}} {text}", {"x": text}, include=["x"])),
        ]
        for turn in turns:
            walk(transcript.page_of(turn)[0])
        walk(transcript.html(Told(*turns)))


def test_text_drives_no_terminal():
    """Neither what was said nor what was answered."""
    shown = transcript.text(Told(answered("a\x1b[31mb", text="c\x1b]0;x\x07d")))
    assert "\x1b" not in shown
    assert "\x07" not in shown


def pages(count: int, size: int = 0) -> list[tuple[str, str]]:
    return [(f"<p>{n}{'x' * size}</p>", f"turn {n}") for n in range(count)]


def test_a_short_talk_is_kept_whole_and_a_long_one_within_a_bound():
    """The newest open, older ones folded, a line for the rest; the same talk, the same bytes."""
    short = transcript.bundle(pages(5))
    assert "<details" not in short["text/html"]
    assert short == transcript.bundle(pages(5))
    long = transcript.bundle(pages(1_000, 2_000))
    assert len(long["text/html"]) < 200_000
    html = long["text/html"]
    assert "<details" in html
    assert ">999x" in html
    assert "turn 999" in long["text/plain"]
    assert "turns before this" in html
    assert "to_markdown()" in html
    whole = html[html.index("</details>") :]
    assert 10 < whole.count("<p>") < 100
    huge = transcript.bundle(pages(1, 10**6))
    assert "xxx" in huge["text/html"]  # the newest is whole, however long


def test_a_definition_without_an_address_takes_no_fence_with_it():
    """Some parsers read the fence below as its address, and what the fence holds as HTML."""
    page = inert("[a]:\n```\n<img src=x onerror=1>\n```")
    assert page.startswith("&#91;a]:\n```")
    assert inert("[a]: https://d.test\n\n[b][a] `[c]:`") == "[a]: https://d.test\n\n[b][a] `[c]:`"
