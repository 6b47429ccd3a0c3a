"""A cell that waits says so, and the reply takes the place of that line."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from segmind_jupyter.notebook.live.outputs import StatusLine
from segmind_jupyter.session import session
from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve


@pytest.fixture(scope="module")
def slow_url() -> Iterator[str]:
    """A gateway that takes nearly two seconds for a call and for a job."""
    with serve(Gateway(Behaviour(latency_s=1.8, queue_s=0.5, work_s=1.3))) as url:
        yield url


@pytest.fixture
def cell(
    shared_kernel: Any, slow_url: str
) -> Callable[..., tuple[list[Any], list[dict[str, Any]]]]:
    """Run a cell, and give its outputs as a page has them at the end, and the messages of it."""
    shared = shared_kernel
    shared.run(
        f"import os\nos.environ['SEGMIND_BASE_URL'] = {slow_url!r}\n"
        "from segmind_jupyter import ask, ask_each, submit"
    )

    def run(code: str, *, interrupt: bool = False) -> tuple[list[Any], list[dict[str, Any]]]:
        message_id = shared.client.execute(code, allow_stdin=True, stop_on_error=False)
        messages: list[dict[str, Any]] = []
        outputs: list[Any] = []
        while True:
            message = shared.client.get_iopub_msg(timeout=60)
            kind, content = message["msg_type"], message["content"]
            name = content.get("transient", {}).get("display_id")
            if kind == "stream":  # what is printed may come in pieces, which a page joins
                joined = outputs.pop() if outputs and isinstance(outputs[-1], str) else ""
                outputs.append(joined + content["text"])
            elif kind == "error":
                outputs.append(content["ename"])
            elif kind in ("display_data", "execute_result"):
                outputs.append((name, content["data"]))
            elif kind == "update_display_data":
                if interrupt:  # by then its first message is out
                    shared.manager.interrupt_kernel()
                    interrupt = False
                outputs = [(name, content["data"]) if o[0] == name else o for o in outputs]
            elif kind == "clear_output":
                outputs = []
            if "display" in kind or kind == "clear_output":
                messages.append({"kind": kind, **content.get("data", {})})
            idle = content.get("execution_state") == "idle"
            if idle and message["parent_header"].get("msg_id") == message_id:
                break
        shared.reply(message_id, 60)
        words = [o if isinstance(o, str) else o[1].get("text/plain", "") for o in outputs]
        return words, messages

    return run


ENDED = "(simulated)"


def test_the_line_says_all_and_becomes_the_reply(cell):
    """Model, seconds, what is sent and how long that takes; then one output with its metadata."""
    cell("df = 'a text'")
    words, messages = cell("%%claude\nSum up {df}")
    first = messages[0]["text/plain"]
    for said in ("Asking", "claude-4-sonnet", "0 s", "for this model", "df", "tokens", "Interrupt"):
        assert said in first
    assert "1 s" in messages[1]["text/plain"]
    assert len(messages) == 3
    (reply,) = words
    assert ENDED in reply


#: Cells, and what they leave: a place of which nothing came is empty.
CELLS = {
    "print('a')\nask('x')": ["a", ENDED],
    "print('a')\nr = ask('x')\nr": ["a", ENDED],
    "def f(): return ask('x')\nf()": [ENDED],
    "r = ask('x')\nprint('b')\nr": ["", "b", ENDED],
    "for n in '12':\n    print(n, bool(ask('x').text))": ["", "1 True\n2 True"],
    "%claude one\n%claude two": [ENDED, ENDED],
    "r = %claude one": [""],
    "job = submit('x')\njob.wait()": [ENDED],
    "job = submit('x')\n%segmind wait": ["", "It has ended."],
    "%%claude -q\nx": [],
    "from IPython.display import clear_output\nr = ask('x')\nclear_output()\nr": [ENDED],
}


def test_outputs_stand_in_their_order(cell):
    """The reply takes the place if it comes next; where something else does, that stays empty."""
    for code, shown in CELLS.items():
        words, messages = cell(code)
        assert any("Interrupt" in message.get("text/plain", "") for message in messages), code
        assert [ENDED if "tokens in" in each else each.strip() for each in words] == shown, code


def test_nothing_stays_of_a_wait_that_failed(cell):
    """Nor of one that was interrupted."""
    assert cell("%%claude\nx", interrupt=True)[0] == ["Interrupted"]
    assert cell("%%claude --timeout 1\nx")[0][-1].endswith("Error")
    words, _ = cell("print('a')\nask('x', timeout=1)")
    assert (words[0], words[1]) == ("a\n", "")


def test_where_nobody_looks_on_no_line_is_shown(slow_url, monkeypatch, tmp_path):
    """As nbconvert and papermill run a notebook."""
    monkeypatch.setenv("SEGMIND_API_KEY", "sk-live-0123456789abcdef")
    monkeypatch.setenv("SEGMIND_BASE_URL", slow_url)
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path))
    cells = [nbformat.v4.new_code_cell(c) for c in ("%load_ext segmind_jupyter", "%%claude\nhi")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, kernel_name="python3", timeout=60).execute()
    (output,) = notebook.cells[1].outputs
    assert output.output_type == "execute_result"


def test_a_terminal_has_one_line_on_stderr_that_is_wiped(run, online, monkeypatch):
    """Only if it is a terminal; what is written to a file stays clean."""
    online.will_answer(*[200, {"content": [{"type": "text", "text": "late"}]}])
    original, online.answer = online.answer, lambda request: time.sleep(0.8) or original(request)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    show = session().wait_shows[-1]

    def on_terminal(of: Any) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", terminal)
            return show(of)

    session().wait_shows[-1:] = [on_terminal]
    cell = run("%%claude\nhi")
    assert cell.error is None
    assert "Asking · claude-4-sonnet · 0 s" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert "Asking" not in cell.shown


def test_the_line_names_the_moment_at_which_a_limit_ends(monkeypatch):
    """In place of how long the model takes."""
    line = StatusLine("asking", "claude-4-sonnet", 3, "works", 11)
    assert line.text() == "● Asking · claude-4-sonnet · 3 s · about 11 s for this model"
    until = time.mktime((2099, 1, 1, 12, 1, 0, 0, 0, 0))
    monkeypatch.setattr(type(session()), "paused_until", until)
    assert line.text().endswith("3 s · limit reached, goes on at 12:01:00")
