"""What a page and the kernel say to each other about a chat; the page here is a fake one."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.utils.capture import capture_output
from PIL import Image

from segmind_jupyter import Chat, Reply
from segmind_jupyter.content.prompt import gather
from segmind_jupyter.conversation import Turn
from segmind_jupyter.notebook.chat.panel import ChatPanel, attachables
from segmind_jupyter.notebook.live.outputs import LiveOutputs

# What ipywidgets 7 and 8.0 use of a later ipykernel and traitlets is not this package's affair.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The `ipykernel.comm.Comm` class:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Deprecated in traitlets 4.1:DeprecationWarning"),
]

LONG_S = 60
HERE = Path(__file__).parents[1]


def png(size: tuple[int, int] = (40, 20), colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


class Page:
    """What `chat.js` does with the messages, less the drawing."""

    def __init__(self, chat: Chat, shell: Any) -> None:
        self.chat, self.live = chat, LiveOutputs(shell)
        self.panel = ChatPanel(chat, shell=shell, live=self.live)
        self.messages: list[dict[str, Any]] = []
        self.panel.widget.send = self._hear
        with capture_output() as self.captured:
            self.panel.show()
        # A page still loads the script when the first messages come, and then asks for the state.
        self.messages.clear()
        self.say("state")
        self.state = self.messages.pop()
        self._refs = 0

    def _hear(self, message: dict[str, Any], buffers: Any = None) -> None:
        json.dumps(message)  # nothing but JSON goes to a page
        self.messages.append(message)

    def say(self, kind: str, *buffers: bytes, **fields: Any) -> None:
        self.panel._heard(None, {"kind": kind, **fields}, list(map(memoryview, buffers)))

    def send(self, text: str, *attached: str, **more: str) -> str:
        self._refs += 1
        ref = f"r{self._refs}"
        self.say("send", ref=ref, text=text, attached=list(attached), **more)
        return ref

    def attach_file(self, name: str, content: bytes, *, chunk: int = 1 << 20) -> dict[str, Any]:
        key = f"file-{len(self.messages)}"
        cuts = range(0, max(1, len(content)), chunk)
        for part, begin in enumerate(cuts):
            piece = content[begin : begin + chunk]
            self.say("file", piece, id=key, name=name, part=part, parts=len(cuts))
        return self.last("file")

    def settle(self) -> None:
        """Wait until no turn is under way and all is drawn."""
        for turn in self.chat.turns:
            ended = threading.Event()
            turn.on_done(lambda _, ended=ended: ended.set())
            assert ended.wait(LONG_S)
        self.live.drawn(self.panel.draw)  # whoever is told of the end may not be told yet
        self.live._end_cell()

    def ask(self, text: str, *attached: str, **more: str) -> dict[str, Any]:
        ref = self.send(text, *attached, **more)
        self.settle()
        return next(turn for turn in self.turns if turn.get("ref") == ref)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["kind"] == kind]

    def last(self, kind: str) -> dict[str, Any]:
        return self.of(kind)[-1]

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The turns as the page has them after all messages, by the rule of `reduce`."""
        turns: list[dict[str, Any]] = list(self.state["turns"])
        for message in self.messages:
            if message["kind"] == "gone":
                turns = [turn for turn in turns if turn["id"] not in message["ids"]]
            if message["kind"] == "turn":
                new = message["turn"]
                turns = [turn for turn in turns if turn["id"] != new["id"]]
                turns.insert(new["at"], new)
        return turns


@pytest.fixture
def open_page(shell: Any, online: Any) -> Iterator[Callable[..., Page]]:
    """Open pages of chats by v1, over a loopback server."""
    chats: list[Chat] = []

    def open_it(chat: Chat | None = None) -> Page:
        chats.append(chat or Chat(mode="v1"))
        return Page(chats[-1], shell)

    yield open_it
    for chat in chats:
        chat.close()


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page()


@pytest.fixture
def names(shell: Any) -> dict[str, Any]:
    """The user's variables."""
    space: dict[str, Any] = shell.user_ns
    return space


def words_of(turn: dict[str, Any]) -> str:
    return re.sub("<[^>]*>", " ", turn["html"])


def test_a_message_is_one_message_and_its_turn_begins_and_ends(page, online):
    """The page's own name for it comes back, so that what waits there becomes this turn."""
    online.will_say("A **rising** line.")
    turn = page.ask("What is this?\nPlease.")
    assert online.posts[0].blocks == [{"type": "text", "text": "What is this?\nPlease."}]
    stages = [m["turn"]["stage"] for m in page.of("turn") if m["turn"]["id"] == turn["id"]]
    assert stages[-1] == "answered"
    assert (turn["ended"], turn["reply"], turn["text"]) == (
        True, "A **rising** line.", "What is this?\nPlease.",
    )  # fmt: skip
    assert "<strong>rising</strong>" in turn["html"]
    assert "56 tokens in, 31 out" in words_of(turn)
    assert page.last("head")["usage"].startswith("1 reply · 56 tokens in, 31 out")


def test_names_variables_files_and_the_last_plot_go_with_the_words(page, online, names, run):
    """Variables where they were named, what was attached before the words; nothing is refused."""
    names["n"], names["picture"] = 42, Image.new("RGB", (8, 4))
    run("from PIL import Image; Image.new('L', (6, 6))")
    file = page.attach_file("photo.png", png(), chunk=50)
    assert file["about"].startswith("40×20")
    page.say("names")
    assert ["picture", "Image 8×4"] in page.last("names")["names"]
    turn = page.ask("Is {n} right? {picture}", file["id"], "plot")
    kinds = [block["type"] for block in online.posts[0].blocks]
    assert kinds == ["image", "image", "text", "image"]
    assert "42" in str(online.posts[0].blocks)
    assert turn["text"] == "Is {n} right? {picture}"
    thumbs = [item["thumb"][:22] for item in turn["sent"]]
    assert thumbs == [*["data:image/png;base64,"] * 2, "", "data:image/png;base64,"]
    ref = page.send("  ")
    assert page.last("refused")["ref"] == ref
    assert "nothing to ask" in page.last("refused")["notice"].lower()
    assert len(online.posts) == 1


def test_files_that_cannot_be_sent_are_told_and_others_are_not_lost(page, online):
    """By name, as data: a hostile name stays text."""
    hostile = "<img src=x onerror=alert(1)>.txt"
    assert "is empty" in page.attach_file(hostile, b"")["error"]
    good = page.attach_file("notes.txt", "Grüße".encode())
    assert "error" not in good
    broken = page.attach_file("x.png", png()[:40])
    assert "x.png" in broken["error"]
    page.ask("Read it.", good["id"])
    assert "notes.txt:\nGrüße" in str(online.posts[0].blocks[0]["text"])


def test_an_error_ends_the_turn_and_says_that_the_words_go_back(page, online):
    """As sanitized HTML in its place; nothing of it is sent with the next."""
    online.will_answer(406, {"error": "Insufficient <b>credits</b>"})
    turn = page.ask("Hi")
    assert (turn["stage"], turn["failed"]) == ("failed", True)
    assert "InsufficientCredits" in turn["html"] or "credits" in turn["html"].lower()
    assert "<b>" not in turn["html"]
    page.ask("Again")
    assert len(online.posts[1].json["messages"]) == 1


def test_again_asks_once_more_and_a_second_click_nothing(page, online):
    """The old answer stays until the new one is there; then it is gone."""
    online.will_say("One.")
    page.ask("Hi")
    online.will_hang()
    page.say("again", ref="a")
    page.say("again", ref="b")
    online.release.set()
    page.settle()
    assert len(online.posts) == 2
    assert len(page.turns) == 1


def test_an_edited_message_takes_its_place_and_drops_what_came_after_it(page, online, names):
    """Words and attachments are told to the view that asked; all stays until that sends."""
    names["n"] = [1, 2, 3]
    first = page.ask("Sum of {n}?")
    second = page.chat.send("From code", Image.new("RGB", (8, 4)))
    second.wait()
    page.ask("Sure?")
    page.say("edit", ref="e1", id=page.turns[1]["id"])
    draft = page.last("draft")
    assert (draft["to"], draft["id"], draft["text"]) == ("e1", page.turns[1]["id"], "From code")
    page.say("edit", ref="e2", id=first["id"])
    assert (page.last("draft")["text"], page.last("draft")["attached"]) == ("Sum of {n}?", [])
    page.send(" ", instead=first["id"])
    assert len(page.turns) == 3
    changed = page.ask("Changed", *[chip["id"] for chip in draft["attached"]], instead=draft["id"])
    assert [turn["id"] for turn in page.turns] == [first["id"], changed["id"]]
    assert [block["type"] for block in online.posts[-1].blocks] == ["image", "text"]
    assert len(online.posts[-1].json["messages"]) == 3
    ref = page.send("Again", instead=draft["id"])
    assert page.last("refused")["ref"] == ref
    assert "not part of the conversation" in page.last("refused")["notice"]


def test_what_is_no_text_is_not_sent(page, online):
    """A page, or what passes for one, may say anything."""
    for text in (None, 5, ["Hi"], {"a": 1}):
        page.say("send", ref="r", text=text)
        assert page.last("refused")["ref"] == "r"
    assert (page.chat.turns, online.posts) == ((), [])


def test_the_model_and_the_system_prompt_are_set_from_the_page(page, online):
    """Models are offered with cost and time; what is no model's name is refused in words."""
    page.say("model", model="claude-3.5-sonnet")
    page.say("system", text="Be brief.")
    page.ask("Hi")
    assert online.posts[0].path.endswith("claude-3.5-sonnet")
    assert online.posts[0].json["instruction"] == "Be brief."
    models = dict(page.panel.snapshot()["models"])
    assert models["claude-4-sonnet"] == "about $0.0214 and 11 s a call"
    assert models["claude-opus-4.7"].endswith("takes no temperature")
    page.send("Hi", model="no model!")
    assert page.last("refused")["alarm"]
    assert len(online.posts) == 1
    page.chat.model = "claude-4-sonnet"
    page.live._end_cell()
    assert page.last("head")["model"] == "claude-4-sonnet"


def test_save_and_clear(page, online, tmp_path, monkeypatch):
    """A file that is never written over; then nothing is left but the usage."""
    monkeypatch.chdir(tmp_path)
    page.ask("Hi")
    page.say("save")
    page.say("save")
    assert len(list(tmp_path.glob("chat-*.md"))) == 2
    assert str(tmp_path) in page.last("notice")["notice"]
    page.say("clear")
    page.live._end_cell()
    assert page.turns == []
    assert page.last("head")["usage"].startswith("1 reply")


def test_turns_from_code_show_where_they_belong_and_all_that_a_chat_has(open_page, online, names):
    """Also those that began while the page loaded its script: it asks for all once it can hear."""
    names["talk"] = chat = Chat(mode="v1")
    chat.send("One").wait()
    page = open_page(chat)
    for state in (page.state, page.panel.widget.snapshot):
        assert [turn["text"] for turn in state["turns"]] == ["One"]
        assert f"segmind-kept-{state['kept']}" in page.panel._kept["text/html"]
    page.ask("Two")
    chat.send("Three").wait()
    page.settle()
    assert [turn["text"] for turn in page.turns] == ["One", "Two", "Three"]
    assert page.last("head")["variable"] == "talk"
    assert f"segmind-kept-{page.last('head')['kept']}" in page.panel._kept["text/html"]


def test_a_turn_costs_the_same_late_as_early(page):
    """Bytes of its messages, over two hundred turns; an ended turn is never sent again."""
    costs = []
    for number in range(200):
        before = len(page.messages)
        turn, talk = Turn(gather([f"Message {number:03}"])), page.chat.conversation
        talk.begin(turn)
        page.live._end_cell()
        talk.take(turn, Reply(text="A sunset."))
        page.live._end_cell()
        costs.append(len(json.dumps(page.messages[before:])))
    assert sum(costs[-50:]) < 1.2 * sum(costs[50:100])
    ended = [m["turn"]["id"] for m in page.of("turn") if m["turn"]["ended"]]
    assert len(ended) == len(set(ended)) == 200


def test_what_is_suggested_comes_from_the_notebook(open_page, names, run, online):
    """The last error, sent as by `--error`, a plot, a table; or what the chat was given."""
    import pandas as pd

    names["df"] = pd.DataFrame({"a": [1]})
    run("from PIL import Image; Image.new('L', (6, 6))")
    run("1 / 0")
    page = open_page()
    error, plot, table, *others = page.panel.snapshot()["prompts"]
    assert error == {"text": "Explain the last error.", "error": True}
    assert plot == {"text": "Describe the last plot.", "plot": True}
    assert table["text"] == "What is in {df}?"
    assert len(others) == 1
    page.ask(error["text"], "error")
    assert "ZeroDivisionError" in str(online.posts[0].json)
    given = open_page(Chat(mode="v1", prompts=["What is new?"])).panel.snapshot()["prompts"]
    assert given == [{"text": "What is new?"}]


def test_an_error_of_the_user_s_objects_shows_in_words(page, online, names):
    """A kernel's log is read by nobody."""

    class Faulty:
        def _repr_claude_(self) -> str:
            raise RuntimeError("broken")

    names["faulty"] = Faulty()
    page.send("{faulty}")
    assert "broken" in page.last("refused")["notice"]
    assert online.posts == []
    page.say("no such kind")
    page.panel._heard(None, "not even a dict", [])


JS = (Path(__file__).parents[3] / "segmind_jupyter/notebook/chat/chat.js").read_text("utf-8")


def test_the_javascript_has_one_door_for_html():
    """`innerHTML` is set once, from `turn.html`; no other way into the page's HTML is there."""
    assert re.findall(r"\.innerHTML\s*=\s*(.*);", JS) == ['turn.html ?? ""']
    for door in (
        "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "new Function",
        "srcdoc", "createContextualFragment", "setHTMLUnsafe", "import(", "fetch(",
        "XMLHttpRequest", "http://", "https://",
    ):  # fmt: skip
        assert door not in JS, door
    # A picture is the kernel's own thumbnail, or a file of this page's.
    assert re.findall(r"src: (\w+)", JS) == ["source"]


def test_the_page_s_half_of_the_protocol():
    """`node --test` runs what needs no page; under CI it must be there."""
    node = shutil.which("node")
    if node is None:
        if os.environ.get("CI"):
            pytest.fail("node is not on the PATH")
        pytest.skip("node is not on the PATH")
    ran = subprocess.run(
        [node, "--test", str(Path(__file__).with_name("chat.test.mjs"))],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "# fail 0" in ran.stdout


# What can be attached.


def test_pictures_and_tables_come_first_and_tools_are_left_out():
    """The newest first; modules, functions and classes are no data."""
    import pandas as pd
    from matplotlib.figure import Figure

    kind = type("DataFrame", (), {"__module__": "pandas", "shape": property(lambda self: 1 / 0)})
    values = {
        "text": "abc", "fig": Figure((8, 4)), "json": json, "len_": len, "Image": Image,
        "_hidden": 1, "numbers": [1, 2, 3], "nothing": (), "one": {"a": 1},
        "df": pd.DataFrame({"a": range(120), "b": 1}), "only_by_name": kind(), "chat": Chat(),
    }  # fmt: skip
    assert attachables(values) == [
        ("df", "DataFrame 120×2"),
        ("fig", "Figure 8×4 in"),
        ("only_by_name", "DataFrame"),
        ("one", "dict"),
        ("nothing", "tuple"),
        ("numbers", "list"),
        ("text", "str"),
    ]
