"""What a person sees of a chat on a page, and does by keyboard; what the page never does."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from scripted import Gateway

from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve
from tests.browser.conftest import METADATA

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


@dataclass
class Service:
    """A gateway whose jobs go on when the test says so."""

    now_s: float = 0.0
    url: str = ""
    gateway: Gateway = field(init=False)

    def __post_init__(self) -> None:
        self.gateway = Gateway(Behaviour(queue_s=1, work_s=1), clock=lambda: self.now_s)

    def will_say(self, text: str) -> None:
        """Have the next replies say this."""

        def change(body: Any) -> Any:
            if "output" not in body:
                return body
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
        self.page = getattr(notebook, "page", notebook)
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

    def go(self, target: Any, key: str = "Tab") -> None:
        """Move the focus there, step by step."""
        for _ in range(80):
            if target.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press(key)
        raise AssertionError(f"{key} does not lead to {target}")

    def reads(self, words: str) -> Any:
        """Wait for the answer to a message, or with these words."""
        found = self.turns.filter(has_text=words).last
        found.locator(".segmind-theirs").wait_for(timeout=60_000)
        return found

    def count(self, turns: int) -> None:
        self.page.wait_for_function(
            "([root, n]) => root.querySelectorAll('.segmind-turn').length === n",
            arg=[self.root.element_handle(), turns],
        )

    def holds(self, words: str) -> None:
        """Wait until these words, and no others, are in the box."""
        self.page.wait_for_function(
            "([box, words]) => box.value === words", arg=[self.box.element_handle(), words]
        )

    def says(self, words: str, state: str = "visible") -> None:
        notice = self.root.locator(".segmind-notice", has_text=words)
        notice.wait_for(timeout=30_000, state=state)


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


#: Puts a picture where a screenshot goes.
SCREENSHOT = """async () => {
    const canvas = new OffscreenCanvas(60, 40), pen = canvas.getContext('2d');
    pen.fillStyle = 'green';
    pen.fillRect(0, 0, 60, 40);
    const blob = await canvas.convertToBlob({type: 'image/png'});
    await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);
}"""


def test_the_whole_way_by_keyboard_alone(open_notebook, lab, quick, artifacts):
    """Write, attach, send, copy, paste, stop, edit, an error and on, two chats, and a reload."""
    notebook = open_chat(open_notebook, quick, "Chat(name='other')")
    view, other = View(notebook), View(notebook, nth=1)
    page, gateway = notebook.page, quick.gateway
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    assert view.root.locator(".segmind-prompt").count() >= 3
    quick.will_say(RICH)
    view.type("@Escape")
    view.go(view.box)
    # Letters that are shortcuts of the notebook stay in the box, and the cell keeps its type.
    view.type("m y dd Does {fi", "@Tab", " and {df} show ", "@Shift+Enter", "a rise?")
    view.holds("m y dd Does {fig} and {df} show \na rise?")
    assert set(cell_types(notebook)) == {"code"}
    view.type("@Enter")
    turn = view.reads("0.18 a year")
    assert turn.locator(".segmind-words").inner_text().endswith("show \na rise?")
    assert turn.locator(".segmind-thumb").count() == 1
    view.holds("")
    for theme in THEMES:
        notebook.theme(theme)
        page.screenshot(path=artifacts / f"chat {theme}.png")
    notebook.theme(THEMES[0])
    view.go(turn.locator(".segmind-code .segmind-tool"), "Shift+Tab")
    view.type("@Enter")
    turn.locator(".segmind-code", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith("slope, start = np.polyfit")
    page.evaluate(SCREENSHOT)
    view.go(view.box)
    gateway.clear_script()
    view.type("@Control+v")
    view.root.locator(".segmind-chip", has_text="60×40").wait_for()
    view.type("And this?", "@Enter")
    view.reads("1 image: 60x40 PNG, all green")
    # One that takes too long is stopped; the box may be empty for that.
    gateway.behaviour = Behaviour(queue_s=3600)
    view.type("Too long", "@Enter")
    view.root.locator(".segmind-pending", has_text="Queued").wait_for()
    view.go(view.root.get_by_role("button", name="Stop"))
    view.type("@Enter")
    view.reads("was stopped")
    gateway.behaviour = Behaviour()
    view.holds("Too long")
    # An older message is edited: what that drops is said before, and Escape leaves all.
    view.go(view.turns.nth(1).get_by_role("button", name="Edit"), "Shift+Tab")
    view.type("@Enter")
    view.holds("And this?")
    view.says("replaces this message and its reply, and drops the turn after it")
    page.screenshot(path=artifacts / "chat editing.png")
    view.type("@Escape")
    view.holds("Too long")
    assert view.turns.count() == 3
    view.type("@Control+a", "@Delete", "@ArrowUp")
    view.holds("Too long")
    view.type(" and shorter", "@Enter")
    view.reads("and shorter")
    view.count(3)
    view.go(view.turns.nth(1).get_by_role("button", name="Edit"), "Shift+Tab")
    view.type("@Enter")
    view.holds("And this?")
    view.type(" Only this.", "@Enter")
    view.reads("Only this.")
    view.count(2)
    # An error says what to do, the words are back, and the next message is sent as ever.
    gateway.script("POST /v2/", status=406, body={"error": "Insufficient credits"})
    view.type("Costly", "@Enter")
    view.reads("credits")
    view.holds("Costly")
    view.type(", again", "@Enter")
    view.reads("Costly, again")
    other.go(other.box)
    other.type("Elsewhere", "@Enter")
    other.reads("Elsewhere")
    assert (view.turns.count(), other.turns.count()) == (4, 1)
    saved = notebook.save()
    assert [len(cell.outputs) for cell in saved.cells[2:]] == [2, 2]
    assert "0.18 a year" in saved.cells[2].outputs[1].data["text/plain"]
    assert "sk-live" not in json.dumps([cell.get("outputs") for cell in saved.cells])
    # A reloaded page shows the same; what of it does not reach the file is said until it does.
    page.reload()
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    view = View(notebook)
    view.reads("Costly, again")
    view.go(view.box)
    view.type("After the reload", "@Enter")
    view.reads("After the reload")
    view.says("Run `chat` in a cell again")
    notebook.run_last("chat")
    view.says("Run `chat` in a cell again", "detached")
    assert "After the reload" in notebook.save().cells[-1].outputs[1].data["text/plain"]
    assert notebook.foreign_requests(lab.url) == []


def test_a_turn_is_pending_and_the_next_one_waits(open_notebook, slow, artifacts):
    """The stage and the seconds show, and nothing moves for whom that disturbs; Stop stops both."""
    notebook = open_chat(open_notebook, slow)
    notebook.page.emulate_media(reduced_motion="reduce")
    view = View(notebook)
    view.box.focus()
    view.type("One", "@Enter")
    view.root.locator(".segmind-pending", has_text="Queued").wait_for()
    view.type("Two", "@Enter")
    view.root.locator(".segmind-pending", has_text="Waits for the turn before it").wait_for()
    slow.now_s += 1.5
    view.root.locator(".segmind-pending", has_text="Processing").wait_for()
    moving = "root => root.getAnimations({subtree: true}).length"
    assert view.root.evaluate(moving) == 0
    notebook.page.emulate_media(reduced_motion="no-preference")
    notebook.page.wait_for_function(
        "root => root.getAnimations({subtree: true}).length && "
        "/Processing [1-9]\\d* s/.test(root.textContent)",
        arg=view.root.element_handle(),
    )
    notebook.page.screenshot(path=artifacts / "chat pending.png")
    view.root.get_by_role("button", name="Stop").click()
    view.root.locator(".segmind-turn", has_text="stopped").first.wait_for()
    view.root.locator(".segmind-pending").first.wait_for(state="detached")


def test_a_reply_comes_while_a_cell_sleeps_and_seconds_later_all_is_well(open_notebook, quick):
    """The reply shows while the cell goes on; what is sent meanwhile is not lost."""
    notebook = open_chat(open_notebook, quick)
    view = View(notebook)
    quick.will_say("While it slept.")
    kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    notebook.page.evaluate(
        f"""() => {{ void {kernel}
            .requestExecute({{code: 'chat.send("From code"); time.sleep(8)'}}).done; }}"""
    )
    view.reads("While it slept.")
    assert notebook.page.evaluate(f"{kernel}.status") == "busy"
    view.box.focus()
    view.type("Sent while busy", "@Enter")
    view.root.locator(".segmind-pending", has_text="which may be busy").wait_for()
    view.reads("Sent while busy")
    assert view.turns.count() == 2


def test_a_long_reply_opens_at_its_beginning_and_all_of_it_fits(open_notebook, quick, artifacts):
    """Who scrolled away is left there, and can jump; at 400 px, and at 200 % of 1100 px."""
    notebook = open_chat(open_notebook, quick)
    page, view = notebook.page, View(notebook)
    quick.will_say("\n\n".join(f"Paragraph {n}." for n in range(60)) + "\n\n" + RICH)
    view.box.focus()
    for words in ("First question", "Second question"):
        view.type(words, "@Enter")
        view.reads(words)
    log = view.root.locator(".segmind-log")
    offset = """([log, turn]) =>
        turn.getBoundingClientRect().top - log.getBoundingClientRect().top"""
    arg = [log.element_handle(), view.turns.last.element_handle()]
    assert abs(page.evaluate(offset, arg)) < 30
    page.screenshot(path=artifacts / "chat long.png")
    view.go(log, "Shift+Tab")
    view.type("@Home")
    view.root.locator(".segmind-jump").wait_for()
    unseen(notebook, "chat.send('From code').wait()")
    view.reads("From code")
    assert log.evaluate("log => log.scrollTop") == 0
    view.go(view.root.locator(".segmind-jump"), "Shift+Tab")
    view.type("@Enter")
    assert log.evaluate("log => log.scrollTop + log.clientHeight >= log.scrollHeight - 2")
    view.type("{", "@Escape", "@Shift+Enter", "two lines")
    for width, height in ((400, 900), (550, 650)):
        page.set_viewport_size({"width": width, "height": height})
        view.go(view.root.locator(".segmind-send"))
        page.screenshot(path=artifacts / f"chat {width}px.png")
        assert view.root.evaluate("root => root.scrollWidth <= root.clientWidth + 1")
        view.go(view.box, "Shift+Tab")


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What looks for barriers in a page, where npm can fetch it."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("npm")
    if npm is None:
        pytest.skip("npm is not on the PATH")
    fetch = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "axe-core@4"]
    ran = subprocess.run(fetch, cwd=folder, capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"npm cannot fetch axe-core: {ran.stderr[-200:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text("utf-8")


def test_axe_finds_no_barrier(open_notebook, quick, axe):
    """Nor words of little contrast: empty, answered in both themes, edited, with an open menu."""
    notebook = open_chat(open_notebook, quick)
    page, view = notebook.page, View(notebook)
    page.evaluate(axe)

    def check(what: str) -> None:
        # Code has the theme's colours, which are not ours.
        found = view.root.evaluate(
            """async root => (await axe.run({include: [root], exclude: ['pre']}))
                .violations.map(v => [v.id, v.help, ...v.nodes.map(n => n.html.slice(0, 200))])"""
        )
        assert found == [], what

    check("empty")
    quick.will_say(RICH)
    view.box.focus()
    view.type("Does {fig} rise?", "@Enter")
    view.reads("0.18 a year")
    for theme in THEMES:
        notebook.theme(theme)
        check(theme)
    view.box.focus()
    view.type("@ArrowUp")
    view.says("Sending replaces this message")
    view.type(" {")
    view.root.locator(".segmind-options").wait_for()
    check("editing, with names to choose from")
    view.type("@Escape")
    view.root.locator("summary", has_text="Attach").click()
    check("a menu")


def test_hostile_replies_run_nothing_and_fetch_nothing(open_notebook, lab, quick):
    """In two live views of one chat, in the reloaded one and in the transcript; words too."""
    notebook = open_chat(open_notebook, quick, "chat")
    view = View(notebook)
    texts = [case["text"] for case in CORPUS if len(case["text"]) < 2_000][::2]
    quick.will_say("\n\n".join(texts))
    view.box.focus()
    view.box.fill("<img src=x onerror=alert(1)> {x} **b**")
    view.type("@Enter")
    for nth in range(2):
        View(notebook, nth=nth).reads("<img src=x onerror=alert(1)>")
    notebook.assert_inert(lab.url)
    assert view.root.locator(".segmind-words").inner_text().startswith("<img src=x")
    notebook.save()
    notebook.page.reload()
    View(notebook).reads("<img src=x onerror=alert(1)>")
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


@pytest.mark.parametrize(("front", "way"), [("Notebook 7", "notebooks"), ("Voila", "voila/render")])
def test_it_is_the_same_chat_elsewhere(contexts, lab, quick, artifacts, front, way):
    """Enter sends, Shift+Enter breaks the line, no shortcut fires, and the reply shows."""
    pytest.importorskip("notebook" if front == "Notebook 7" else "voila")
    source = LOAD.format(url=quick.url) + "\nChat()"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source)], metadata=METADATA
    )
    name = f"{front.split()[0]}.ipynb"
    nbformat.write(notebook, lab.folder / name)
    quick.will_say("The **reply**.")
    page = contexts(1).new_page()
    page.set_default_timeout(90_000)
    try:
        page.goto(f"{lab.url}/{way}/{name}?token={lab.token}")
        if front == "Notebook 7":
            page.locator(".jp-Notebook .jp-CodeCell").click()
            page.locator("[title*='Python 3'], [data-status=idle]").first.wait_for()
            page.keyboard.press("Control+Enter")
        view = View(page)
        view.box.focus()
        view.type("m y dd", "@Shift+Enter", "x")
        view.holds("m y dd\nx")
        view.type("@Enter")
        view.reads("reply")
        view.holds("")
        page.screenshot(path=artifacts / f"chat {front}.png")
        assert page.locator(".jp-MarkdownCell, .jp-RawCell").count() == 0
        assert page.locator(".jp-CodeCell").count() <= 1
    finally:
        page.close()
        lab.end_kernels({name})
