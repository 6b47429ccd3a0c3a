"""What a person sees of a chat in JupyterLab, does by keyboard; what the page never does."""

from __future__ import annotations

import base64
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

pytestmark = pytest.mark.browser

CORPUS = json.loads(
    (Path(__file__).parents[1] / "notebook" / "hostile.json").read_text(encoding="utf-8")
)
THEMES = ("JupyterLab Light", "JupyterLab Dark")

LOAD = """\
import os
os.environ["SEGMIND_BASE_URL"], os.environ["SEGMIND_API_KEY"] = {url!r}, "sk-live-0123456789abcdef"
%load_ext segmind_jupyter
import time
from segmind_jupyter import Chat"""

DATA = """\
import matplotlib.pyplot as plt, numpy as np, pandas as pd
df = pd.DataFrame({"year": range(1990, 2024), "sales": np.linspace(3, 9, 34).round(2)})
fig, ax = plt.subplots(figsize=(8, 4))
ax.plot(df.year, df.sales);
plt.close(fig)"""

RICH = """\
Sales rise by about **0.18 a year**, and `df` supports it. To check it yourself:

```python
slope, start = np.polyfit(df.year, df.sales, 1)
print(f"{slope:.2f} a year")  # 0.18
```"""

#: The least contrast of the words in a chat, by WCAG 2.1, over whatever lies behind them.
CONTRAST = """root => {
    const parse = c => {  // color-mix gives color(srgb r g b / a), in parts of one
        const numbers = (c.match(/[\\d.]+/g) || []).map(Number);
        return c.startsWith('color(') ? numbers.map((v, i) => i < 3 ? 255 * v : v) : numbers;
    };
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
    let least = [21, ''];
    const walk = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const element = walk.currentNode.parentElement, words = walk.currentNode.data.trim();
        const style = getComputedStyle(element);
        if (!words || !element.offsetParent) continue;
        if (element.closest('[hidden], button:disabled, pre')) continue;  // code: the theme's
        let behind = [255, 255, 255, 1], layers = [];
        for (let e = element; e; e = e.parentElement) {
            const c = parse(getComputedStyle(e).backgroundColor);
            if (c.length && (c[3] ?? 1) > 0) layers.push(c);
            if (c.length && (c[3] ?? 1) === 1) break;
        }
        for (const [r, g, b, a = 1] of layers.reverse())
            behind = [r, g, b].map((v, i) => v * a + behind[i] * (1 - a));
        const ink = parse(style.color), a = ink[3] ?? 1;
        const shown = ink.slice(0, 3).map((v, i) => v * a + behind[i] * (1 - a));
        const [x, y] = [light(shown), light(behind)].sort((p, q) => q - p);
        const ratio = (x + .05) / (y + .05);
        if (ratio < least[0]) least = [ratio, words.slice(0, 40)];
    }
    return least;
}"""


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


@pytest.fixture
def slow() -> Iterator[Service]:
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


class View:
    """A chat on a page, as a person at the keyboard meets it."""

    def __init__(self, notebook: Any, *, nth: int = 0) -> None:
        self.page = notebook.page
        self.root = self.page.locator(".segmind-chat").nth(nth)
        self.root.wait_for(timeout=60_000)
        self.box = self.root.locator(".segmind-box")
        self.turns = self.root.locator(".segmind-turn")

    def type(self, *keys: str) -> None:
        """Type words; what begins with an at sign is a key."""
        for key in keys:
            if key.startswith("@"):
                self.page.keyboard.press(key[1:])
            else:
                self.page.keyboard.type(key)

    def reads(self, words: str) -> Any:
        found = self.turns.filter(has_text=words).last
        found.wait_for(timeout=60_000)
        return found

    def holds(self, words: str) -> None:
        """Wait until these words, and no others, are in the box."""
        self.page.wait_for_function(
            "([box, words]) => box.value === words", arg=[self.box.element_handle(), words]
        )

    def says(self, words: str) -> None:
        self.root.locator(".segmind-notice", has_text=words).wait_for(timeout=30_000)


def open_chat(open_notebook: Any, service: Service, *more: str, **options: Any) -> Any:
    cells = [LOAD.format(url=service.url), DATA, "chat = Chat()\nchat", *more]
    notebook = open_notebook(*cells, **{"height": 1300, **options})
    notebook.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    notebook.run_all()
    return notebook


def unseen(notebook: Any, source: str) -> None:
    """Run something that no cell shows."""
    notebook.page.evaluate(
        """source => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
            .requestExecute({code: source, store_history: false}).done""",
        source,
    )


def cell_types(notebook: Any) -> list[str]:
    return notebook.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.map(c => c.model.type)"
    )


def test_a_conversation_by_keyboard_alone(open_notebook, lab, slow, quick, artifacts):
    """Two lines, a figure by its name, a pasted picture, copy, stop, edit, an error, and on."""
    notebook = open_chat(open_notebook, quick)
    view = View(notebook)
    assert view.root.locator(".segmind-prompt").count() >= 3
    context = notebook.page.context
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    quick.will_say(RICH)
    view.box.focus()
    # Letters that are shortcuts of the notebook stay in the box, and the cell keeps its type.
    view.type("m y dd Does {fi", "@Tab", " and {df} show ", "@Shift+Enter", "a rise?")
    view.holds("m y dd Does {fig} and {df} show \na rise?")
    assert set(cell_types(notebook)) == {"code"}
    view.type("@Enter")
    turn = view.reads("0.18 a year")
    assert (
        turn.locator(".segmind-words").inner_text() == "m y dd Does {fig} and {df} show \na rise?"
    )
    assert turn.locator(".segmind-thumb").count() == 1
    assert view.box.evaluate("box => box === document.activeElement && box.value === ''")
    for theme in THEMES:
        notebook.theme(theme)
        ratio, words = view.root.evaluate(CONTRAST)
        assert ratio >= 4.5, (theme, ratio, words)
        notebook.page.screenshot(path=artifacts / f"chat {theme}.png")
    # The code is copied from the keyboard: the first button behind the reply's own text.
    turn.locator(".segmind-code .segmind-tool").focus()
    view.type("@Enter")
    turn.locator(".segmind-code", has_text="Copied").wait_for()
    copied = notebook.page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("slope, start = np.polyfit")
    # A picture from the clipboard becomes a chip with a thumbnail, and goes with the words.
    file = io.BytesIO()
    Image.new("RGB", (60, 40), "green").save(file, "PNG")
    view.box.evaluate(
        """(box, data) => {
            const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0));
            const items = new DataTransfer();
            items.items.add(new File([bytes], 'image.png', {type: 'image/png'}));
            box.focus();
            box.dispatchEvent(new ClipboardEvent('paste', {clipboardData: items, bubbles: true}));
        }""",
        base64.b64encode(file.getvalue()).decode(),
    )
    view.root.locator(".segmind-chip", has_text="60×40").wait_for()
    quick.gateway.clear_script()
    view.type("And this?", "@Enter")
    view.reads("1 image: 60x40 PNG, all green")
    # An error says what to do, the words are back, and the next message is sent as ever.
    quick.gateway.script("POST /v2/", status=406, body={"error": "Insufficient credits"})
    view.type("Costly", "@Enter")
    view.reads("credits")
    view.holds("Costly")
    view.type(", again", "@Enter")
    view.reads("Costly, again")
    # Up, in the empty box, takes the last message back.
    count = view.turns.count()
    view.reads("(simulated) text of 2 words")
    view.type("@ArrowUp")
    view.holds("Costly, again")
    notebook.page.wait_for_function(
        "([root, n]) => root.querySelectorAll('.segmind-turn').length === n",
        arg=[view.root.element_handle(), count - 1],
    )
    assert notebook.foreign_requests(lab.url) == []
    saved = notebook.save()
    outputs = saved.cells[2].outputs
    assert len(outputs) == 2
    assert "0.18 a year" in outputs[1].data["text/plain"]
    assert "sk-live" not in json.dumps([cell.get("outputs") for cell in saved.cells])


def test_a_turn_is_pending_is_stopped_and_the_next_one_waits(open_notebook, slow, artifacts):
    """The stage and the seconds show; Send is Stop while the box is empty; the queue is kept."""
    notebook = open_chat(open_notebook, slow)
    view = View(notebook)
    view.box.focus()
    view.type("One", "@Enter")
    view.root.locator(".segmind-pending", has_text="Queued").wait_for()
    view.type("Two", "@Enter")
    view.root.locator(".segmind-pending", has_text="Waits for the turn before it").wait_for()
    slow.now_s += 1.5
    view.root.locator(".segmind-pending", has_text="Processing").wait_for()
    notebook.page.wait_for_function(
        "root => /Processing [1-9]\\d* s/.test(root.textContent)", arg=view.root.element_handle()
    )
    notebook.page.screenshot(path=artifacts / "chat pending.png")
    view.root.get_by_role("button", name="Stop").click()
    view.root.locator(".segmind-turn", has_text="stopped").first.wait_for()
    view.root.locator(".segmind-pending").first.wait_for(state="detached")


def test_a_reply_comes_while_a_cell_sleeps_and_seconds_later_all_is_well(open_notebook, quick):
    """The page has a reply within a second of its coming; what is sent meanwhile is not lost."""
    notebook = open_chat(open_notebook, quick)
    view = View(notebook)
    unseen(notebook, "turn = None")
    quick.will_say("While it slept.")
    notebook.page.evaluate(
        """() => { void window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
            .requestExecute({code: 'turn = chat.send("From code"); time.sleep(6)'}).done; }"""
    )
    view.reads("While it slept.")
    delay_s = time.monotonic() - quick.answered_s[-1]
    kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    assert notebook.page.evaluate(f"{kernel}.status") == "busy"
    assert delay_s < 3  # a loaded machine's second: the cell would sleep twice as long
    view.box.focus()
    view.type("Sent while busy", "@Enter")
    view.root.locator(".segmind-pending", has_text="which may be busy").wait_for()
    view.reads("Sent while busy").locator(".segmind-theirs").wait_for(timeout=60_000)
    assert view.turns.count() == 2


def test_two_views_and_a_reloaded_page_show_the_same(open_notebook, quick, artifacts):
    """Views of one chat share it; a reloaded page says what to do about the saved file."""
    notebook = open_chat(open_notebook, quick, "talk = chat\nchat", "Chat(name='other')")
    first, second, other = (View(notebook, nth=n) for n in range(3))
    quick.will_say(RICH)
    second.box.focus()
    second.type("Here", "@Enter")
    first.reads("0.18 a year")
    second.reads("0.18 a year")
    assert other.turns.count() == 0
    notebook.save()
    notebook.page.reload()
    notebook.page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    again = View(notebook)
    again.reads("0.18 a year")
    again.says("Run `chat` in a cell again")
    again.box.focus()
    again.type("After the reload", "@Enter")
    again.reads("After the reload")


def test_a_reply_opens_at_its_beginning_and_one_can_read_on(open_notebook, quick, artifacts):
    """The question stands above a long reply; who scrolled away is left there, and can jump."""
    notebook = open_chat(open_notebook, quick)
    view = View(notebook)
    long = "\n\n".join(f"Paragraph {number}." for number in range(60))
    quick.will_say(long)
    view.box.focus()
    for words in ("First question", "Second question"):
        view.type(words, "@Enter")
        view.reads(words).locator(".segmind-theirs").wait_for()
    log = view.root.locator(".segmind-log")
    offset = """([log, turn]) =>
        turn.getBoundingClientRect().top - log.getBoundingClientRect().top"""
    arg = [log.element_handle(), view.turns.last.element_handle()]
    assert abs(notebook.page.evaluate(offset, arg)) < 30
    notebook.page.screenshot(path=artifacts / "chat long.png")
    log.evaluate("log => { log.scrollTop = 0; }")
    view.root.locator(".segmind-jump").wait_for()
    unseen(notebook, "chat.send('From code').wait()")
    view.reads("From code")
    assert log.evaluate("log => log.scrollTop") == 0
    view.root.locator(".segmind-jump").click()
    assert log.evaluate("log => log.scrollTop + log.clientHeight >= log.scrollHeight - 2")
    notebook.page.set_viewport_size({"width": 400, "height": 900})
    notebook.page.screenshot(path=artifacts / "chat 400px.png")
    assert view.root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")


def test_hostile_replies_run_nothing_and_fetch_nothing(open_notebook, lab, quick):
    """In the live view, in the reloaded one and in the transcript; names and words too."""
    notebook = open_chat(open_notebook, quick)
    view = View(notebook)
    texts = [case["text"] for case in CORPUS if len(case["text"]) < 2_000][::2]
    quick.will_say("\n\n".join(texts))
    view.box.focus()
    view.box.fill("<img src=x onerror=alert(1)> {x} **b**")
    view.type("@Enter")
    view.turns.locator(".segmind-theirs").wait_for(timeout=60_000)
    notebook.assert_inert(lab.url)
    assert view.root.locator(".segmind-words").inner_text().startswith("<img src=x")
    notebook.save()
    notebook.page.reload()
    View(notebook).turns.locator(".segmind-theirs").wait_for(timeout=60_000)
    notebook.assert_inert(lab.url)


def test_the_file_shows_the_talk_where_no_view_lives(open_notebook, quick, artifacts):
    """Hidden beside the view; shown in a reopened notebook, and once the chat is closed."""
    notebook = open_chat(open_notebook, quick)
    view = View(notebook)
    quick.will_say(RICH)
    view.box.focus()
    view.type("Keep this", "@Enter")
    view.reads("0.18 a year")
    kept = notebook.page.locator(".segmind-kept").first
    kept.wait_for(state="attached")
    transcript = notebook.page.locator(".jp-OutputArea-child", has=kept)
    transcript.filter(has_text="Keep this").wait_for(state="hidden")
    saved = notebook.save()
    unseen(notebook, "chat.close()")
    transcript.filter(has_text="Keep this").wait_for(state="visible")
    again = open_notebook(saved=saved)
    shown = again.page.locator(".jp-OutputArea-child", has_text="Keep this")
    shown.wait_for(state="visible")
    assert "0.18 a year" in shown.inner_text()
    again.page.screenshot(path=artifacts / "chat reopened.png")
