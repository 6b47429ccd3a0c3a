"""How a chat shows: as text on a terminal, as a widget on a page, as a transcript in a file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.connection import Listener
from typing import Any

import nbformat
import pytest

from segmind_jupyter import Chat
from segmind_jupyter.notebook.chat import transcript
from segmind_jupyter.notebook.chat.panel import ChatDisplay
from segmind_jupyter.notebook.chat.transcript import Kept, Page

VIEW = "application/vnd.jupyter.widget-view+json"
LONG_S = 60

# On a terminal.


def test_a_chat_that_was_closed_can_be_shown_again(run):
    """From its beginning, with all that was said."""
    run("from segmind_jupyter.chat import Chat; chat = Chat()")
    run("chat.close()")
    assert "Nothing was said yet." in run("chat").stdout


def test_a_chat_on_a_terminal_is_its_transcript(run, online):
    """Words, not widgets."""
    run("from segmind_jupyter.chat import Chat; chat = Chat(mode='v1')")
    assert "Nothing was said yet." in run("chat").stdout
    run("chat.send('Hi').wait();")
    shown = run("chat").stdout
    assert "You: Hi" in shown
    assert "A sunset." in shown
    assert "[<Chat with claude-4-sonnet, 1 turn>]" in run("[chat]").stdout


def test_the_displays_are_taken_back(bare_shell):
    """None is left after `%unload_ext`."""
    display = ChatDisplay(bare_shell)
    display.install()
    display.remove()
    formatter = bare_shell.display_formatter
    assert Chat not in formatter.formatters["text/plain"].type_printers
    assert Chat not in formatter.ipython_display_formatter.type_printers


class Outputs(dict[int, Any]):
    """The outputs of one cell."""

    def put(self, bundle: Any) -> int:
        self[len(self)] = bundle
        return len(self) - 1

    def replace(self, place: int, bundle: Any) -> None:
        self[place] = bundle


def test_a_long_transcript_is_whole_and_in_order():
    """In as many outputs as it began with, also where these had to be laid out anew."""
    outputs = Outputs()
    kept = Kept(outputs)
    kept.put()
    count, pages = len(outputs), []
    for number in range(1_000):
        pages.append(Page(f"<p>{number}</p>", str(number)))
        kept.update(pages)
        texts = "\n\n".join(filter(None, (output["text/plain"] for output in outputs.values())))
        assert texts == "\n\n".join(page.text for page in pages)
    html = "".join(output["text/html"] for output in outputs.values())
    assert re.findall(r"<p>(\d+)</p>", html) == [page.text for page in pages]
    assert len(outputs) == count
    kept.update([])
    assert transcript.EMPTY in outputs[0]["text/html"]
    assert not any(output["text/plain"] for place, output in outputs.items() if place)


# In a kernel.

BEGIN = """\
import os, threading, time
from segmind_jupyter import Chat
chat = Chat(mode='v1')"""


@pytest.fixture
def page(kernel: Any) -> Callable[[str], Any]:
    """Run a cell in a kernel that has a chat, and give what its page was sent."""
    assert kernel.run(BEGIN).status == "ok"
    return kernel.page


@pytest.mark.kernel
def test_a_chat_is_a_widget_and_a_transcript(page):
    """The view with nothing to read beside it; then, hidden by the widget, what stays."""
    messages = page("chat")
    view, *kept = messages.of("display_data")
    assert set(view["data"]) == {VIEW, "text/html", "text/plain"}
    assert view["data"]["text/html"] == view["data"]["text/plain"] == ""
    assert all(set(output["data"]) == {"text/html", "text/plain"} for output in kept)
    assert "Nothing was said yet" in kept[0]["data"]["text/html"]
    marker = re.search(r"segmind-kept-\w+", kept[-1]["data"]["text/html"])[0]
    values = [m["data"].get("state", {}).get("value") for m in messages.of("comm_open", "comm_msg")]
    (hiding,) = [value for value in values if marker in str(value)]
    assert re.search(rf"body:has\(\.segmind-chat-\w+:not\([^)]*\)\) \.{marker}\b", hiding)
    assert messages.of("execute_result") == []


@pytest.mark.kernel
def test_only_widgets_that_typeset_and_run_nothing_are_used(page):
    """No Label, no Output, no HTMLMath."""
    opened = page("chat\nchat.send('Hi').wait()\nchat").of("comm_open")
    models = {content["data"]["state"].get("_model_name") for content in opened}
    assert models <= {
        "VBoxModel", "HBoxModel", "HTMLModel", "ButtonModel", "LayoutModel", "ButtonStyleModel",
        "HTMLStyleModel", "DescriptionStyleModel", "TextareaModel", "ComboboxModel",
        "FileUploadModel", "TextStyleModel",
    }  # fmt: skip


@pytest.mark.kernel
def test_two_displays_are_views_of_one_model(page):
    """So a page that shows both, or was reloaded, shows the same state."""
    views = [
        output["data"][VIEW]["model_id"]
        for output in page("display(chat); display(chat)").of("display_data")
        if VIEW in output["data"]
    ]
    assert len(views) == 2
    assert len(set(views)) == 1


@pytest.mark.kernel
def test_a_reply_appears_while_a_cell_keeps_the_kernel_busy(page, kernel, recorder, tmp_path):
    """The cell ends only after the reply has reached the page."""
    page("chat")
    recorder.will_hang()
    page("turn = chat.send('Hi')")
    seen = tmp_path / "seen"
    busy = kernel.send(f"while not os.path.exists({str(seen)!r}): time.sleep(0.01)")
    assert recorder.asked.wait(LONG_S)
    recorder.release.set()
    while "A sunset." not in str(kernel.client.get_iopub_msg(timeout=LONG_S)["content"]):
        pass
    seen.touch()
    assert kernel.collect(busy).status == "ok"


def sizes(messages: Any, *kinds: str) -> list[int]:
    return [len(json.dumps(content)) for content in messages.of(*kinds)]


PICTURES = """
import numpy
rng = numpy.random.default_rng(0)
def picture(): return rng.integers(0, 255, (60, 80, 3), dtype="uint8")
chat"""


@pytest.mark.kernel
def test_bytes_to_the_page_do_not_grow_with_the_conversation(page):
    """200 turns with a picture each: a turn's bytes are flat, and so is the largest message.

    That holds for the widgets and for the kept transcript, of which an update holds 12 turns at
    most, and all updates of a turn 6 on average.
    """
    page(PICTURES)
    widgets, kept = [], []
    for number in range(200):
        messages = page(f"chat.send('Message {number:03}', picture()).wait();")
        widgets.append(sizes(messages, "comm_open", "comm_msg"))
        kept.append(sizes(messages, "update_display_data"))
    for sent in (widgets, kept):
        early, late = sent[24:96], sent[-72:]
        assert max(map(max, late)) < 1.1 * max(map(max, early))
        assert sum(map(sum, late)) < 1.1 * sum(map(sum, early))
    one = kept[0][-1]  # the update that brings the first reply
    assert max(map(max, widgets)) < 1.5 * one
    assert max(map(max, kept)) < 13 * one
    assert sum(map(sum, kept)) < 7 * one * len(kept)


@pytest.mark.kernel
def test_a_pending_turn_changes_at_most_once_a_second(page, kernel, recorder):
    """By the kernel's own clock, and nothing but its own bubble."""
    page("chat")
    recorder.will_hang()
    page("turn = chat.send('Hi')")
    updates: list[dict[str, Any]] = []
    while len(updates) < 4:
        message = kernel.client.get_iopub_msg(timeout=LONG_S)
        updates += [message] if message["msg_type"] == "comm_msg" else []
    recorder.release.set()
    ticks = updates[-3:]
    assert len({message["content"]["comm_id"] for message in ticks}) == 1
    sent_at = [message["header"]["date"].timestamp() for message in ticks]
    assert all(later - sooner >= 0.9 for sooner, later in pairwise(sent_at))


@pytest.mark.kernel
def test_clicks_reach_the_chat(page, kernel, recorder):
    """As a front end sends them: words first, then the button."""
    opened = page("chat").of("comm_open")
    states = {content["comm_id"]: content["data"]["state"] for content in opened}
    (words,) = [i for i, s in states.items() if s.get("_model_name") == "TextareaModel"]
    (send,) = [i for i, s in states.items() if s.get("description") == "Send"]
    recorder.will_hang()
    data = {"method": "update", "state": {"value": "Hi there"}, "buffer_paths": []}
    message = kernel.client.session.msg("comm_msg", {"comm_id": words, "data": data})
    kernel.client.shell_channel.send(message)
    kernel.click(send)
    assert recorder.asked.wait(LONG_S)
    assert recorder.posts[0].blocks == [{"type": "text", "text": "Hi there"}]
    recorder.release.set()
    page("chat.turns[-1].wait();")


def ask_for_state(kernel: Any, opened: Any) -> None:
    """Ask for all of these widgets, as a page that knows nothing does."""
    for content in opened:
        ask = {"comm_id": content["comm_id"], "data": {"method": "request_state"}}
        message = kernel.client.session.msg("comm_msg", ask)
        kernel.client.shell_channel.send(message)


@pytest.mark.kernel
def test_a_page_that_was_reloaded_is_told_until_the_chat_is_shown_again(page, kernel):
    """Its outputs hear no more of the transcript; a cell that reads all widgets is no page."""
    opened = page("import ipywidgets\nchat").of("comm_open")
    told = "page was reloaded"
    assert told not in str(page("print(ipywidgets.Widget.get_manager_state())"))
    page("os.environ['SERVER_SOFTWARE'] = 'voila/0.5.10'")  # whose pages ask as these are made
    ask_for_state(kernel, opened)
    assert told not in str(page("del os.environ['SERVER_SOFTWARE']"))
    ask_for_state(kernel, opened)
    assert told in str(page("pass"))
    assert told in str(page("print(ipywidgets.Widget.get_manager_state())"))
    page("chat")
    assert told not in str(page("print(ipywidgets.Widget.get_manager_state())"))


@pytest.mark.kernel
def test_closing_leaves_no_widget_in_the_kernel_nor_on_its_page(page):
    """Of a chat that was shown three times, with all that was opened in it."""
    count = "import ipywidgets; print('open:', len(ipywidgets.Widget.get_manager_state()['state']))"
    page(count)
    opened = page("display(chat); display(chat); chat")
    opened += page("chat.send('Hi').wait(); chat.send('And?').wait();")
    closed = page("chat.close()").of("comm_close")
    comms = [content["comm_id"] for content in opened.of("comm_open")]
    assert sorted(content["comm_id"] for content in closed) == sorted(comms)
    assert "open: 0" in str(page(count))


def executed(sources: list[str], **hooks: Any) -> Any:
    """Run a notebook as `nbconvert --execute` does."""
    from nbclient import NotebookClient

    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=LONG_S, store_widget_state=False, **hooks).execute()
    return notebook


@pytest.mark.kernel
def test_an_executed_and_a_converted_notebook_hold_the_whole_transcript(start):
    """Also of turns that came after the cell that shows the chat."""
    from nbconvert import HTMLExporter

    start()  # sets the environment
    sources = ["%load_ext segmind_jupyter", f"{BEGIN}\nchat"]
    sources += [f"chat.send('Message {number}').wait();" for number in range(11)]
    notebook = executed(sources)
    _, *kept = notebook.cells[1].outputs
    page, _ = HTMLExporter().from_notebook_node(notebook)
    text = "\n".join(output.data["text/plain"] for output in kept)
    for number in range(11):
        assert f"You: Message {number}\n" in text
        assert f">Message {number}</div>" in page
    assert text.count("A sunset.") == page.count("<p style") == 11


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
    """A program that runs a notebook hears nothing between cells, so the next one says it again."""
    start()  # sets the environment
    with Listener(("127.0.0.1", 0), authkey=b"test") as listener:

        def after(cell: Any, cell_index: int, **_: Any) -> None:
            if cell_index == 1:
                with listener.accept() as kernel:
                    kernel.send("go")
                    assert kernel.recv() == "done"

        shown = f"{BEGIN}\n{BETWEEN.format(address=listener.address)}"
        sources = ["%load_ext segmind_jupyter", shown, "'the next cell'"]
        notebook = executed(sources, on_cell_executed=after)
    _, kept, *_ = notebook.cells[1].outputs
    assert "Between two cells" in kept.data["text/html"]
    assert "A sunset." in kept.data["text/html"]
