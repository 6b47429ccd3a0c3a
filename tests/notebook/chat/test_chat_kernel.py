"""How a chat shows: as text on a terminal, as a widget on a page, as a transcript in a file."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from multiprocessing.connection import Listener
from typing import Any

import nbformat
import pytest

VIEW = "application/vnd.jupyter.widget-view+json"
LONG_S = 60

# On a terminal.


def test_a_chat_on_a_terminal_is_its_transcript(run, online):
    """Words, not widgets; also of one that was closed."""
    run("from segmind_jupyter.chat import Chat; chat = Chat(mode='v1')")
    assert "Nothing was said yet." in run("chat").stdout
    run("chat.send('Hi').wait();")
    shown = run("chat").stdout
    assert "You: Hi" in shown
    assert "A sunset." in shown
    assert "[<Chat with claude-4-sonnet, 1 turn>]" in run("[chat]").stdout
    assert "A sunset." in run("chat.close()\nchat").stdout


# In a kernel.

BEGIN = """\
import os, threading, time
from segmind_jupyter import Chat
chat = Chat(mode='v1')"""


@pytest.fixture
def kernel(shared_kernel: Any) -> Any:
    """One kernel serves all tests of this module."""
    return shared_kernel


@pytest.fixture
def page(kernel: Any) -> Callable[[str], Any]:
    """Run a cell in a kernel that has a chat, and give what its page was sent."""
    assert kernel.run(BEGIN).status == "ok"
    return kernel.page


@pytest.mark.kernel
def test_a_chat_is_a_view_and_a_transcript(page):
    """Two outputs: the view with nothing to read beside it, and behind it what stays."""
    messages = page("chat")
    view, kept = messages.of("display_data")
    again, _ = page("chat").of("display_data")  # a page that shows both shows one state
    assert again["data"][VIEW]["model_id"] == view["data"][VIEW]["model_id"]
    assert set(view["data"]) == {VIEW, "text/html", "text/plain"}
    assert view["data"]["text/html"] == view["data"]["text/plain"] == ""
    assert set(kept["data"]) == {"text/html", "text/plain"}
    assert "Nothing was said yet" in kept["data"]["text/html"]
    assert "segmind-kept" in kept["data"]["text/html"]
    opened = messages.of("comm_open")
    assert {content["data"]["state"].get("_model_name") for content in opened} <= {
        "AnyModel", "LayoutModel",
    }  # fmt: skip
    assert messages.of("execute_result") == []


@pytest.mark.kernel
def test_a_pending_turn_sends_nothing_while_nothing_changes(page, kernel, recorder):
    """The page counts the seconds; a message of its own reaches the chat, bytes and all."""
    opened = page("chat").of("comm_open")
    (view,) = [c["comm_id"] for c in opened if c["data"]["state"].get("_model_name") == "AnyModel"]
    recorder.will_hang()
    content = {"kind": "send", "ref": "r1", "text": "Hi there", "attached": [], "model": ""}
    message = {"comm_id": view, "data": {"method": "custom", "content": content}}
    kernel.client.shell_channel.send(kernel.client.session.msg("comm_msg", message))
    assert recorder.asked.wait(LONG_S)
    assert recorder.posts[0].blocks == [{"type": "text", "text": "Hi there"}]
    page("pass")  # whatever it took to begin is on the page
    assert page("time.sleep(2.2)").of("comm_msg") == []
    recorder.release.set()
    page("chat.turns[-1].wait();")


@pytest.mark.kernel
def test_a_front_end_that_comes_later_gets_the_whole_chat_and_no_address(page, kernel):
    """As VS Code asks for it; it finds the page's half of anywidget among the installed files."""
    (view, _) = page("chat").of("display_data")
    page("chat.send('Hi').wait();")
    comm = view["data"][VIEW]["model_id"]
    for data in ({"method": "request_state"}, {"method": "custom", "content": {"kind": "state"}}):
        message = {"comm_id": comm, "data": data}
        kernel.client.shell_channel.send(kernel.client.session.msg("comm_msg", message))
    answers = [content["data"] for content in page("pass").of("comm_msg")]
    state = next(data["state"] for data in answers if "_esm" in data.get("state", {}))
    (told,) = (
        data["content"] for data in answers if data.get("content", {}).get("kind") == "state"
    )
    assert [turn["text"] for turn in told["turns"]] == ["Hi"]
    assert "export default" in state["_esm"]
    assert "://" not in state["_esm"]
    installed = {str(file): file for file in importlib.metadata.files("anywidget") or ()}
    for name in ("extension.js", "index.js"):
        (path,) = (
            p for p in installed if p.endswith(f"share/jupyter/nbextensions/anywidget/{name}")
        )
        assert installed[path].locate().is_file()


COLAB = """\
import sys, types
output = types.ModuleType("google.colab.output")
def tell(message):
    for data in [message["content"].get("data", {})]:
        if "application/vnd.jupyter.widget-view+json" in data:
            message["content"]["metadata"]["told"] = True
    return message
def enable():
    get_ipython().display_pub.register_hook(tell)
output.enable_custom_widget_manager = enable
sys.modules["google.colab.output"] = output"""


@pytest.mark.kernel
def test_in_colab_the_view_is_shown_by_what_loads_other_peoples_widgets(page, kernel):
    """anywidget asks for it by itself; Colab then marks each view as it is published."""
    page(f"{COLAB}\nfrom anywidget._util import enable_custom_widget_manager_once as once")
    page("once.cache_clear()")
    try:
        (view, _) = page("chat").of("display_data")
        assert view["metadata"].get("told") is True
    finally:
        page("get_ipython().display_pub.unregister_hook(tell)")
        page("del sys.modules['google.colab.output']")


@pytest.mark.kernel
def test_closing_leaves_no_widget_in_the_kernel_nor_on_its_page(page):
    """Of a chat that was shown three times, with all that was opened in it."""
    count = "import ipywidgets; print('open:', len(ipywidgets.Widget.get_manager_state()['state']))"
    page(f"import ipywidgets; ipywidgets.Widget.close_all()\n{count}")
    opened = page("display(chat); display(chat); chat")
    opened += page("chat.send('Hi').wait(); chat.send('And?').wait();")
    closed = page("chat.close()").of("comm_close")
    comms = [content["comm_id"] for content in opened.of("comm_open")]
    assert sorted(content["comm_id"] for content in closed) == sorted(comms)
    assert page(count).printed() == "open: 0\n"


def executed(sources: list[str], **hooks: Any) -> Any:
    """Run a notebook as `nbconvert --execute` does."""
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=LONG_S, store_widget_state=False, **hooks).execute()
    return notebook


BETWEEN = """\
from multiprocessing.connection import Client
def speak():
    with Client({address!r}, authkey=b"test") as told:
        told.recv()
        chat.send("Between two cells").wait()
        for thread in threading.enumerate():
            if thread.name == "segmind-jupyter-live":
                thread.join(60)
        told.send("done")
threading.Thread(target=speak).start()
chat"""


@pytest.mark.kernel
def test_a_turn_that_ends_between_two_cells_is_in_the_executed_notebook(start):
    """A program that runs a notebook hears nothing between cells, so the next one says it again.

    The converted page has it too, and what came after the cell that shows the chat.
    """
    from nbconvert import HTMLExporter

    start()  # sets the environment
    with Listener(("127.0.0.1", 0), authkey=b"test") as listener:

        def after(cell: Any, cell_index: int, **_: Any) -> None:
            if cell_index == 1:
                with listener.accept() as kernel:
                    kernel.send("go")
                    assert kernel.recv() == "done"

        shown = f"{BEGIN}\n{BETWEEN.format(address=listener.address)}"
        sources = ["%load_ext segmind_jupyter", shown, "chat.send('Later').wait();"]
        notebook = executed(sources, on_cell_executed=after)
    _, kept = notebook.cells[1].outputs
    page, _ = HTMLExporter().from_notebook_node(notebook)
    for words in ("Between two cells", "Later"):
        assert f"You: {words}\n" in kept.data["text/plain"]
        assert f">{words}</div>" in page
    assert kept.data["text/plain"].count("A sunset.") == page.count("<p style") == 2
