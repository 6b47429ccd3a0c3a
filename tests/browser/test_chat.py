"""What a person sees of a chat in JupyterLab, clicks and types; what the page never does."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

pytestmark = pytest.mark.browser

CORPUS = json.loads(
    (Path(__file__).parents[1] / "notebook" / "hostile.json").read_text(encoding="utf-8")
)
THEMES = ("JupyterLab Light", "JupyterLab Dark")

ASK_IT = """\
import os
os.environ["SEGMIND_BASE_URL"], os.environ["SEGMIND_API_KEY"] = {url!r}, "sk-live-0123456789abcdef"
"""

LOAD = f"""\
{ASK_IT}
%load_ext segmind_jupyter
import time
from segmind_jupyter import Chat"""

DATA = """\
import matplotlib.pyplot as plt, numpy as np, pandas as pd
df = pd.DataFrame({"year": range(1990, 2024), "sales": np.linspace(3, 9, 34).round(2)})
fig, ax = plt.subplots(figsize=(8, 4))
ax.plot(df.year, df.sales);"""

RICH = """\
Sales rise by about **0.18 a year**, and `df` supports it. To check it yourself:

```python
slope, start = np.polyfit(df.year, df.sales, 1)
print(f"{slope:.2f} a year")  # 0.18
```"""


@dataclass
class Service:
    """A gateway whose jobs go on when the test says so."""

    now_s: float = 0.0
    url: str = ""
    gateway: Gateway = field(init=False)
    #: When it gave each reply, by the clock of the test.
    answered_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gateway = Gateway(Behaviour(queue_s=1, work_s=1), clock=lambda: self.now_s)

    def will_say(self, text: str) -> None:
        """Have the next replies say this."""

        def change(body: Any) -> Any:
            if "output" not in body:
                return body
            self.answered_s.append(time.monotonic())
            output = {**json.loads(body["output"]), "content": [{"type": "text", "text": text}]}
            return {**body, "output": json.dumps(output)}

        self.gateway.clear_script()
        self.gateway.script("GET /v2/requests/", times=50, change=change)

    def let_work(self) -> None:
        self.now_s += 1.5

    def let_answer(self) -> None:
        self.now_s += 10


@pytest.fixture
def session() -> Iterator[Service]:
    """The service that notebooks ask, in this process."""
    service = Service()
    with serve(service.gateway) as service.url:
        yield service


@pytest.fixture
def quick() -> Iterator[Service]:
    """One that answers at once."""
    service = Service()
    service.gateway.behaviour = Behaviour()
    with serve(service.gateway) as service.url:
        yield service


class Widget:
    """A chat on a page."""

    def __init__(self, notebook: Any, *, nth: int = 0) -> None:
        self.page = notebook.page
        #: The box around all of it, which has a class of its own.
        self.root = self.page.locator("[class*=segmind-chat-]").nth(nth)
        self.words = self.root.locator("textarea")
        self.model = self.root.locator("input[list]")
        self.turns = self.root.locator(".widget-html .segmind-reply")

    def button(self, name: str) -> Any:
        return self.root.locator("button", has_text=name)

    def press(self, name: str) -> None:
        self.button(name).click()

    def send(self, words: str) -> None:
        self.words.fill(words)
        self.press("Send")

    def holds(self, words: str) -> None:
        """Wait until these words, and no others, are in the box."""
        self.page.wait_for_function(
            "([box, words]) => box.value === words", arg=[self.words.element_handle(), words]
        )

    def reads(self, words: str) -> Any:
        """Wait until these words are among the turns."""
        found = self.turns.filter(has_text=words).last
        found.wait_for(timeout=60_000)
        return found

    def keeps(self, words: str) -> None:
        """Wait until these words are in what the notebook keeps of a chat, hidden as it is."""
        kept = self.page.locator("[class*=segmind-kept-]", has_text=words)
        kept.first.wait_for(state="attached", timeout=60_000)


def open_chat(open_notebook: Any, service: Service, *more: str, **options: Any) -> Any:
    data = f"{DATA}\nplt.close(fig)"
    cells = [LOAD.format(url=service.url), data, "chat = Chat()\nchat", *more]
    notebook = open_notebook(*cells, **{"height": 1300, **options})
    notebook.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    return notebook


def run_below(notebook: Any, source: str) -> None:
    """Type a cell below the one that is selected, and run it."""
    notebook.page.evaluate(
        """async source => {
            const {commands, shell} = window.jupyterapp;
            await commands.execute('notebook:insert-cell-below');
            shell.currentWidget.content.activeCell.model.sharedModel.setSource(source);
            void commands.execute('notebook:run-cell');
        }""",
        source,
    )


def unseen(notebook: Any, source: str) -> None:
    """Run something that no cell shows."""
    notebook.page.evaluate(
        """source => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
            .requestExecute({code: source, store_history: false}).done""",
        source,
    )


def shoot(notebook: Any, artifacts: Path, name: str) -> None:
    for theme in THEMES:
        notebook.theme(theme)
        notebook.page.screenshot(path=artifacts / f"{name} {theme}.png")


def test_a_figure_is_attached_by_name_and_asked_about(open_notebook, lab, service, artifacts):
    """Open the list, click, type, send; see how the turn stands; read the reply."""
    notebook = open_chat(open_notebook, service)
    notebook.run_all()
    chat = Widget(notebook)
    chat.press("Attach")
    chat.press("fig · Figure 8×4 in")
    chat.button("fig  ✕").wait_for()
    shoot(notebook, artifacts, "chat attach")
    chat.send("What trend does it show, and does {df} support it?")
    chat.reads("Queued")
    service.let_work()
    chat.reads("Processing")
    assert chat.button("Stop").is_enabled()
    shoot(notebook, artifacts, "chat pending")
    service.let_answer()
    reply = chat.reads("1 image: 800x400 PNG, mostly white with a blue line")
    assert "tokens in" in reply.inner_text()
    said = chat.turns.filter(has_text="What trend").last
    assert "df · DataFrame 34×2" in said.inner_text()
    assert said.locator("img").evaluate("image => image.naturalWidth") > 0
    chat.holds("")
    assert chat.button("Stop").is_disabled()
    assert notebook.foreign_requests(lab.url) == []


def test_the_last_plot_is_attached_by_one_click(open_notebook, lab, service, artifacts):
    """Whoever drew it: the figure has no name, and the inline backend has closed it."""
    plot = "plt.plot([3, 1, 2], color='red'); plt.show()"
    notebook = open_chat(open_notebook, service, plot)
    notebook.run_all()
    chat = Widget(notebook)
    chat.press("Attach")
    chat.press("Last plot")
    chat.button("plot of [4]  ✕").wait_for()
    shoot(notebook, artifacts, "chat last plot")
    chat.send("What does it show?")
    chat.reads("Queued")
    service.let_answer()
    chat.reads("1 image")
    assert chat.reads("mostly white with a red line")
    said = chat.turns.filter(has_text="plot of [4] · as shown").last
    assert said.locator("img").evaluate("image => image.naturalWidth") > 0
    assert notebook.foreign_requests(lab.url) == []


def test_clicks_that_come_twice_do_nothing_twice(open_notebook, service):
    """Enter and then a click on Send; double clicks on Again and Edit."""
    notebook = open_chat(open_notebook, service)
    notebook.run_all()
    chat = Widget(notebook)
    chat.words.fill("First")
    chat.page.keyboard.press("Tab")
    chat.page.keyboard.press("Enter")
    chat.press("Send")
    chat.reads("Queued")
    service.let_answer()
    chat.reads("text of 1 word")
    chat.send("Second")
    chat.reads("Queued")
    service.let_answer()
    chat.reads("3 turns")
    chat.button("Again").dblclick()
    chat.reads("Queued")
    service.let_answer()
    chat.reads("3 turns")
    chat.button("Edit").dblclick()
    chat.reads("in the box already")
    chat.holds("Second")
    assert chat.turns.filter(has_text="First").count() == 1
    posts = [entry for entry in service.gateway.log if entry.method == "POST"]
    assert len(posts) == 3


def test_a_stop_an_error_and_a_reply_follow_each_other(open_notebook, service, artifacts):
    """What was given up comes back into the box; an error shows in its bubble; then it goes on."""
    notebook = open_chat(open_notebook, service)
    notebook.run_all()
    chat = Widget(notebook)
    chat.send("Take your time")
    chat.reads("Queued")
    chat.press("Stop")
    assert "may still be billed" in chat.reads("JobCancelled").inner_text()
    chat.holds("Take your time")
    service.gateway.script("POST /v2/", status=406, body={"error": "Insufficient credits"})
    chat.send("Does it rise?")
    error = chat.reads("InsufficientCreditsError").inner_text()
    assert "Insufficient credits" in error
    chat.reads("Your words are back in the box")
    chat.holds("Does it rise?")
    chat.send("How fast does it rise?")
    chat.reads("Queued")
    service.will_say(RICH)
    service.let_answer()
    chat.reads("To check it yourself")
    shoot(notebook, artifacts, "chat error")


def test_a_conversation_looks_as_in_the_readme(open_notebook, quick, artifacts):
    """The README's picture: the plot, and below it the talk about it."""
    cells = ["%load_ext segmind_jupyter\nfrom segmind_jupyter import Chat", DATA, "Chat()"]
    notebook = open_notebook(*cells, height=1500, scale=2)
    notebook.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    unseen(notebook, ASK_IT.format(url=quick.url))
    notebook.run_all()
    chat = Widget(notebook)
    chat.press("Attach")
    chat.press("fig · Figure 8×4 in")
    quick.will_say(RICH)
    chat.send("What trend does this show, and does {df} support it?")
    chat.reads("0.18 a year")
    quick.will_say("At that pace, around **2029**: 9.0 + 0.18 × 6 ≈ 10.1.")
    chat.send("When will sales pass 10?")
    chat.reads("2029")
    shoot(notebook, artifacts, "chat")


@pytest.mark.parametrize("key", ["Enter", " "])
def test_messages_are_sent_from_the_keyboard(open_notebook, quick, key):
    """Tab and a key, many times: each message arrives whole, though typed in no time."""
    notebook = open_chat(open_notebook, quick)
    notebook.run_all()
    chat = Widget(notebook)
    chat.words.click()
    said = [f"message number {number}" for number in range(25)]
    for words in said:
        chat.page.keyboard.type(words)
        chat.page.keyboard.press("Tab")
        chat.page.keyboard.press(key)
        chat.holds("")
        chat.page.keyboard.press("Shift+Tab")
    for words in said:
        chat.reads(words)
    assert chat.turns.filter(has_text="message number").count() == len(said)


def test_words_that_are_being_typed_stay_while_replies_arrive(open_notebook, service):
    """The page tells the kernel of them only when the box is left."""
    notebook = open_chat(open_notebook, service)
    notebook.run_all()
    chat = Widget(notebook)
    chat.send("First")
    chat.reads("Queued")
    chat.words.click()
    chat.page.keyboard.type("Then I thought ")
    service.let_answer()
    chat.reads("(simulated)")
    chat.page.keyboard.type("of this")
    assert chat.words.input_value() == "Then I thought of this"


def test_a_reply_appears_while_a_cell_sleeps(open_notebook, service):
    """It is on the page long before the cell could have let it through."""
    notebook = open_chat(open_notebook, service)
    notebook.run_all()
    chat = Widget(notebook)
    chat.send("First")
    chat.reads("Queued")
    sleep_s = 8
    run_below(notebook, f"time.sleep({sleep_s})")
    busy = notebook.page.locator(".jp-InputPrompt", has_text="[*]")
    busy.wait_for()
    service.will_say("A rising line.")
    service.let_answer()
    chat.reads("A rising line.")
    shown_s = time.monotonic()
    assert busy.count() == 1
    (answered_s,) = service.answered_s
    assert shown_s - answered_s < sleep_s / 3


def test_a_chat_goes_on_while_a_cell_sleeps(open_notebook, service):
    """Where kernel and page have subshells (ipykernel 7.1, JupyterLab 4.4), Send and Stop work."""
    notebook = open_chat(open_notebook, service)
    notebook.run_all()
    chat = Widget(notebook)
    chat.send("First")
    chat.reads("Queued")
    service.let_answer()
    chat.reads("(simulated)")
    run_below(notebook, "time.sleep(8)")
    busy = notebook.page.locator(".jp-InputPrompt", has_text="[*]")
    busy.wait_for()
    chat.send("Second")
    chat.reads("Queued")
    chat.press("Stop")
    chat.reads("JobCancelled")
    chat.holds("Second")
    assert busy.count() == 1


def test_a_chat_that_is_shown_twice_or_reloaded_is_the_same(open_notebook, quick):
    """Its state is the kernel's."""
    notebook = open_chat(open_notebook, quick, "chat")
    notebook.run_all()
    first, second = Widget(notebook), Widget(notebook, nth=1)
    first.send("Hello there")
    second.reads("(simulated)")
    second.words.fill("half a th")
    second.model.click()  # leaves the box
    first.holds("half a th")
    notebook.save()
    notice = first.root.get_by_text("This page was reloaded")
    assert notice.count() == 0
    notebook.page.reload()
    reloaded = Widget(notebook)
    reloaded.root.wait_for(timeout=90_000)
    reloaded.reads("Hello there")
    assert reloaded.words.input_value() == "half a th"
    reloaded.send("Still there?")
    reloaded.reads("3 turns")
    notice.wait_for()
    run_below(notebook, "chat")
    notice.wait_for(state="detached")
    reloaded.keeps("Still there?")
    assert "Still there?" in json.dumps(notebook.save())


def test_the_newest_turn_is_in_sight_unless_one_reads_an_older_one(open_notebook, quick):
    """The transcript has a height, and keeps its end in view."""
    notebook = open_chat(open_notebook, quick)
    notebook.run_all()
    chat = Widget(notebook)
    for number in range(8):
        chat.send(f"Message {number}")
        chat.reads(f"{2 * number + 1} turn" if number else "(simulated)")
    area = chat.turns.first.evaluate_handle(
        """element => { while (getComputedStyle(element).flexDirection !== 'column-reverse')
            element = element.parentElement; return element; }"""
    )
    assert area.evaluate("area => area.scrollHeight > area.clientHeight + 100")
    seen = "(a, b) => b.getBoundingClientRect().bottom <= a.getBoundingClientRect().bottom + 1"
    last = chat.turns.filter(has_text="15 turns").element_handle()
    assert notebook.page.evaluate(f"([a, b]) => ({seen})(a, b)", [area, last])
    area.evaluate("area => { area.scrollTop = -area.scrollHeight; }")
    top = area.evaluate("area => area.scrollTop")
    chat.send("Message 8")
    chat.turns.filter(has_text="17 turns").wait_for(state="attached")
    first = chat.turns.filter(has_text="Message 0").bounding_box()
    box = area.as_element().bounding_box()
    assert top < 0
    assert box["y"] - 1 <= first["y"] < box["y"] + box["height"]


def test_files_are_uploaded_and_a_reply_is_copied(open_notebook, quick, artifacts):
    """A name is data; one click selects the whole text."""
    notebook = open_chat(open_notebook, quick)
    notebook.run_all()
    chat = Widget(notebook)
    chat.press("Attach")
    with notebook.page.expect_file_chooser() as chooser:
        chat.press("File…")
    hostile = "<img src=x onerror=alert(1)>.txt"
    chooser.value.set_files([{"name": hostile, "mimeType": "text/plain", "buffer": b"rain"}])
    chat.button(hostile).wait_for()
    quick.will_say(RICH)
    chat.send("What does it say?")
    chat.reads("0.18 a year")
    assert hostile in chat.turns.first.inner_text()
    chat.press("Code")
    chat.root.locator("pre[style*='user-select']").click()
    selected = notebook.page.evaluate("String(getSelection())")
    assert selected.splitlines() == RICH.splitlines()[3:5]
    shoot(notebook, artifacts, "chat code")
    assert notebook.dialogs == []


def test_a_reopened_or_converted_notebook_shows_the_transcript(open_notebook, quick, artifacts):
    """No widget is there, and nothing complains of that; on the live page nothing shows twice."""
    from nbconvert import HTMLExporter

    notebook = open_chat(open_notebook, quick)
    notebook.run_all()
    chat = Widget(notebook)
    chat.press("Attach")
    chat.press("fig · Figure 8×4 in")
    for number in range(10):
        chat.send(f"Message {number}")
        chat.reads(f"{2 * number + 1} turns" if number else "1 image")
    chat.keeps("Message 9")
    assert notebook.page.locator("[class*=segmind-kept-]:visible").count() == 0
    saved = notebook.save()
    reopened = open_notebook(saved=saved, height=1800)
    kept = reopened.page.locator("[class*=segmind-kept-] .segmind-reply:visible")
    kept.first.wait_for()
    shown = " ".join(kept.all_inner_texts())
    converted, _ = HTMLExporter().from_notebook_node(saved)
    for number in range(10):
        assert f"Message {number}" in shown
        assert f">Message {number}</div>" in converted
    assert "1 image: 800x400 PNG" in shown
    # By when each view has tried to find its widget.
    reopened.page.locator("text=Error displaying widget").wait_for(state="attached")
    assert not reopened.page.locator("text=Error displaying widget").is_visible()
    reopened.page.screenshot(path=artifacts / "chat reopened.png")
    page = notebook.page.context.new_page()
    page.set_content(converted)
    assert page.get_by_text("Message 9", exact=True).is_visible()


HOSTILE = """\
chat = Chat(mode="v1")
turns = [chat.send("echo:" + text) for text in {texts!r}]
for turn in turns: turn.wait()
chat"""

HOSTILE_NAMES = """\
class Strange: pass
Strange.__name__ = "<img src=x onerror=alert(1)>"
thing = Strange()
chat = Chat(model="claude-4-sonnet")
chat"""


def test_hostile_replies_run_nothing_and_fetch_nothing(open_notebook, lab, quick):
    """Through the widget and through what is kept; the browser's request log is the witness."""
    texts = [entry["text"] for entry in CORPUS if len(entry["text"]) < 4_000]
    assert len(texts) >= 60
    cell = HOSTILE.format(texts=texts)
    notebook = open_notebook(LOAD.format(url=quick.url), cell, HOSTILE_NAMES, height=1300)
    notebook.run_all(timeout_s=240)
    chat = Widget(notebook)
    chat.turns.nth(2 * len(texts) - 1).wait_for(state="attached")
    Widget(notebook, nth=1).press("Attach")
    Widget(notebook, nth=1).button("thing · <img").wait_for()
    notebook.assert_inert(lab.url)
    reopened = open_notebook(saved=notebook.save())
    reopened.page.locator("[class*=segmind-kept-] .segmind-reply:visible").first.wait_for()
    reopened.assert_inert(lab.url)


def test_closing_leaves_the_transcript_on_the_page(open_notebook, quick):
    """In the place of the widget, wherever that was shown."""
    notebook = open_chat(open_notebook, quick, "chat", "chat")
    notebook.run_all()
    chat = Widget(notebook)
    chat.send("Hello there")
    chat.reads("(simulated)")
    run_below(notebook, "chat.close()")
    kept = notebook.page.locator("[class*=segmind-kept-] .segmind-reply:visible")
    kept.filter(has_text="Hello there").nth(2).wait_for()
    chat.root.wait_for(state="detached")
    assert notebook.page.locator(".jupyter-widgets").count() == 0


def test_things_stand_where_one_expects_them(open_notebook, service, artifacts):
    """What is said ends where Send does, words on pictures begin in columns, little moves."""
    notebook = open_chat(
        open_notebook, service, "tall = plt.figure(figsize=(2, 8)); plt.close(tall)"
    )
    notebook.run_all()
    chat = Widget(notebook)
    chat.press("Attach")
    files = chat.button("File…")
    assert files.evaluate("button => getComputedStyle(button).fontSize") == "0px"  # of "File… (0)"
    chat.press("fig · Figure 8×4 in")
    chat.press("tall · Figure")
    chat.button("tall  ✕").wait_for()
    chat.press("Attach")
    files.wait_for(state="detached")
    before = chat.words.bounding_box()["y"]
    chat.send("Look")
    chat.reads("Queued")
    after = chat.words.bounding_box()["y"]
    assert abs(after - before) < 60
    notebook.page.set_viewport_size({"width": 760, "height": 1300})
    images = chat.turns.locator("img")
    widths = {round(image.bounding_box()["width"]) for image in images.all()}
    assert len(widths) == 1
    bubble = chat.turns.filter(has_text="Look").locator("div > div").first.bounding_box()
    send = chat.button("Send").bounding_box()
    assert abs(bubble["x"] + bubble["width"] - send["x"] - send["width"]) < 3
    tops = {chat.button(name).bounding_box()["y"] for name in ("Again", "Code", "Save", "Clear")}
    assert len(tops) == 1
    shoot(notebook, artifacts, "chat narrow")


def test_a_restarted_kernel_leaves_the_transcript_on_the_page(open_notebook, quick, artifacts):
    """Without a reload: the dead widget is gone from sight, and what was said is in its place."""
    notebook = open_chat(open_notebook, quick, "chat")
    notebook.run_all()
    chat = Widget(notebook)
    for number in range(4):
        chat.send(f"Message {number}")
        chat.reads(f"{2 * number + 1} turns" if number else "(simulated)")
    notebook.page.evaluate(
        "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    kept = notebook.page.locator("[class*=segmind-kept-] .segmind-reply:visible")
    kept.first.wait_for()
    shown = " ".join(kept.all_inner_texts())
    assert [shown.count(f"Message {number}\n") for number in range(4)] == 4 * [2]
    assert chat.root.count() == 1
    assert not chat.root.is_visible()
    assert notebook.page.locator(".jupyter-widgets-disconnected:visible").count() == 0
    outputs = notebook.page.locator(".jp-OutputArea").last.bounding_box()
    last = kept.last.bounding_box()
    assert (
        outputs["y"] + outputs["height"] < last["y"] + last["height"] + 20
    )  # no gap of empty ones
    notebook.page.screenshot(path=artifacts / "chat restarted.png")
