"""A real IPython shell, and real kernels, with the extension loaded and a loopback server."""

from __future__ import annotations

import atexit
import base64
import gc
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from segmind_jupyter.notebook.display.styles import ADMITTED, FRAME
from segmind_jupyter.session import _only_session, session

KEY = "sk-live-0123456789abcdef"


@dataclass
class Cell:
    """What one cell gave."""

    result: Any
    error: BaseException | None
    stdout: str
    stderr: str
    displayed: list[Any]

    @property
    def shown(self) -> str:
        """Everything that the cell put on the page, as text."""
        data = "\n".join(text for output in self.displayed for text in output.data.values())
        return self.stdout + self.stderr + data


@pytest.fixture(scope="module")
def bare_shell() -> Iterator[InteractiveShell]:
    """One real shell for a module's tests, as starting one takes its time."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.colors = "nocolor"
    gc.freeze()  # what the tests before have imported, see `pytest_collection_finish`
    yield shell
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(bare_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    """The shell with the extension loaded and an empty namespace."""
    bare_shell.run_line_magic("reset", "-f")
    bare_shell.run_line_magic("load_ext", "segmind_jupyter")
    yield bare_shell
    bare_shell.run_line_magic("unload_ext", "segmind_jupyter")
    bare_shell.config.pop("ClaudeMagics", None)
    session().close()
    _only_session.cache_clear()


@pytest.fixture
def run(shell: InteractiveShell) -> Callable[[str], Cell]:
    """Run a cell as a person would, and collect all that comes of it."""

    def run_cell(code: str) -> Cell:
        with capture_output() as captured:
            done = shell.run_cell(code, store_history=True)
        error = done.error_before_exec or done.error_in_exec
        return Cell(done.result, error, captured.stdout, captured.stderr, captured.outputs)

    return run_cell


@pytest.fixture
def text(run: Callable[[str], Cell]) -> Callable[[str], str]:
    """Run a command, and give the text that it shows."""

    def show(line: str) -> str:
        (output,) = run(line).displayed
        return str(output.data["text/plain"])

    return show


@pytest.fixture
def online(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A key and a base URL in the environment, and the server behind it."""
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    return recorder


@pytest.fixture
def gateway(loopback: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A gateway on loopback whose jobs end at once, and a journal of its own."""
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path / "state"))
    return loopback


@dataclass
class Output:
    status: str
    text: str = ""
    html: str = ""
    data: list[dict[str, Any]] = field(default_factory=list)


class Messages(list[dict[str, Any]]):
    """What a page was sent, in its order."""

    def of(self, *kinds: str) -> list[Any]:
        """Give the contents of the messages of these kinds."""
        return [message["content"] for message in self if message["msg_type"] in kinds]

    def printed(self) -> str:
        """Return what was printed, which may have come in pieces."""
        return "".join(content["text"] for content in self.of("stream"))


@dataclass
class Kernel:
    """A started kernel, and a client that runs cells in it."""

    manager: Any
    client: Any

    def send(self, code: str) -> str:
        return str(self.client.execute(code))

    def collect(self, message_id: str, timeout_s: float = 60) -> Output:
        shown: list[tuple[str | None, dict[str, Any]]] = []
        while True:
            message = self.client.get_iopub_msg(timeout=timeout_s)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            kind, content = message["msg_type"], message["content"]
            name = content.get("transient", {}).get("display_id")
            if kind == "stream":
                shown.append((None, {"stream": content["text"]}))
            elif kind == "error":
                shown.append((None, {"stream": "\n".join(content["traceback"])}))
            elif kind in {"execute_result", "display_data"}:
                shown.append((name, content["data"]))
            elif kind == "update_display_data":  # what a cell showed while it waited
                shown = [(n, content["data"] if n == name else data) for n, data in shown]
            elif kind == "clear_output" and not content["wait"]:
                shown = []
            elif kind == "status" and content["execution_state"] == "idle":
                break
        data = [data for _, data in shown]
        return Output(
            self.reply(message_id, timeout_s)["status"],
            "".join(each.get("stream", each.get("text/plain", "")) for each in data),
            "".join(each.get("text/html", "") for each in data),
            [each for each in data if each and "stream" not in each],
        )

    def reply(self, message_id: str, timeout_s: float) -> dict[str, Any]:
        while True:
            message = self.client.get_shell_msg(timeout=timeout_s)
            if message["parent_header"].get("msg_id") == message_id:
                content: dict[str, Any] = message["content"]
                return content

    def run(self, code: str) -> Output:
        return self.collect(self.send(code))

    def settle(self) -> None:
        """Let a failed cell pass: ipykernel 6.29 aborts what comes before its loop's next turn."""
        while self.run("pass").status == "aborted":
            pass

    def page(self, code: str) -> Messages:
        """Run a cell, and give all that the page was sent until its end, by whichever cell."""
        message_id = self.send(code)
        messages = Messages()
        while True:
            messages.append(self.client.get_iopub_msg(timeout=60))
            idle = messages[-1]["content"].get("execution_state") == "idle"
            if idle and messages[-1]["parent_header"].get("msg_id") == message_id:
                break
        assert self.reply(message_id, 60)["status"] == "ok", messages
        return messages

    def click(self, button: str) -> None:
        """Click a button widget, as a front end does."""
        data = {"method": "custom", "content": {"event": "click"}}
        message = self.client.session.msg("comm_msg", {"comm_id": button, "data": data})
        self.client.shell_channel.send(message)


def started(*arguments: str) -> Kernel:
    """Start a kernel, in the environment that there is now."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", extra_arguments=[*arguments])
    return Kernel(manager, client)


def ended(kernel: Kernel) -> None:
    kernel.client.stop_channels()
    kernel.manager.shutdown_kernel(now=True)
    kernel.manager.cleanup_resources()


@pytest.fixture
def environment(recorder: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Let kernels speak to the loopback server, with a journal of the test's own."""
    environment = {
        "SEGMIND_API_KEY": KEY,
        "SEGMIND_BASE_URL": recorder.url,
        "SEGMIND_JUPYTER_STATE": str(tmp_path / "state"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONWARNINGS", raising=False)
    return environment


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., Kernel]]:
    """Start kernels of the test's own."""
    kernels: list[Kernel] = []

    def start_kernel(*arguments: str) -> Kernel:
        kernels.append(started(*arguments))
        return kernels[-1]

    yield start_kernel
    for kernel in kernels:
        ended(kernel)


@pytest.fixture(scope="module")
def kernels() -> Iterator[list[Kernel]]:
    """The kernel that the tests of a module share, once one of them has started it."""
    shared: list[Kernel] = []
    yield shared
    for kernel in shared:
        ended(kernel)


#: Leaves a kernel as if it had just started, as far as this package and the tests of it notice.
RESET = """\
import os, sys
for callback in list(get_ipython().events.callbacks["post_run_cell"]):
    live = getattr(callback, "__self__", None)
    if type(live).__name__ == "LiveOutputs":
        with live.paused:
            live._times.clear()
%unload_ext segmind_jupyter
%xmode Context
if "logging" in sys.modules:
    sys.modules["logging"].getLogger().setLevel("WARNING")
if "segmind_jupyter.session" in sys.modules:
    from segmind_jupyter.session import _only_session, session
    session().close()
    _only_session.cache_clear()
if "matplotlib" in sys.modules:
    import matplotlib.pyplot as plt
    plt.close("all")
    %config InlineBackend.figure_formats = ['png']
get_ipython().config.pop("ClaudeMagics", None)
%reset -f
import os
os.environ.update({environ!r})
del os
%load_ext segmind_jupyter
"""


@pytest.fixture
def kernel(start: Callable[[], Kernel]) -> Kernel:
    """Start a kernel with the extension loaded."""
    kernel = start()
    assert kernel.run("%load_ext segmind_jupyter").status == "ok"
    return kernel


@pytest.fixture
def shared_kernel(kernels: list[Kernel], environment: dict[str, str]) -> Kernel:
    """The module's kernel with the extension loaded, and nothing of the tests before."""
    if not kernels:
        kernels.append(started())
    (kernel,) = kernels
    kernel.settle()
    cell = kernel.run(RESET.format(environ=environment))
    assert cell.status == "ok", cell.text
    return kernel


BLOCKS = {"div", "p", "ul", "ol", "li", "blockquote", "hr", "pre", "details", "summary"}
TABLES = {"table", "thead", "tbody", "tr", "th", "td"}
INLINE = {"a", "br", "code", "em", "img", "s", "span", "strong", "sub", "sup"}
ELEMENTS = BLOCKS | TABLES | INLINE
SYMBOLS = {"mi", "mo", "mn", "ms", "mtext", "mspace"}
SCRIPTS = {"msup", "msub", "msubsup", "mover", "munder", "munderover"}
LAYOUT = {"math", "mrow", "mfrac", "msqrt", "mroot", "mstyle", "mpadded", "mphantom"}
SOURCE = {"semantics", "annotation"}
MATHML = SYMBOLS | SCRIPTS | LAYOUT | SOURCE | {"mtable", "mtr", "mtd"}
LENGTHS = {"depth", "height", "linethickness", "lspace", "maxsize", "minsize", "rspace", "width"}
KINDS = {"accent", "accentunder", "display", "displaystyle", "fence", "form", "largeop"}
OTHERS = {"mathvariant", "movablelimits", "scriptlevel", "stretchy", "voffset", "style"}
MATHML_ATTRIBUTES = LENGTHS | KINDS | OTHERS
VOID = {"br", "hr", "img"}
ATTRIBUTES = {"a": {"href", "title", "target", "rel", "style"}, "img": {"src", "alt", "style"}}
STYLES = ADMITTED | set(FRAME.values())
LIVE_CSS = re.compile(r"url|expression|import|position|javascript|@|\\", re.IGNORECASE)
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)


class Walker(HTMLParser):
    """Visits every node of what is shown, and objects to what it does not know.

    Its lists are written down a second time, so that a slip in the package's own ones shows.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS | MATHML, tag
        assert "annotation" not in self.open, "a source is text"
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), names
        for name, value in attrs:
            self.check_attribute(tag, name, value or "")
        if "href" in names:
            assert "rel" in names
        if tag not in VOID:
            self.open.append(tag)

    def check_attribute(self, tag: str, name: str, value: str) -> None:
        if tag == "div" and name in ("class", "aria-live"):
            assert len(self.open) == 0
            assert value in ("mathjax_ignore tex2jax_ignore segmind-reply", "polite")
            return
        if tag == "annotation":
            assert (name, value) == ("encoding", "application/x-tex")
            return
        own = {"ol": {"start"}, "div": {"role", "aria-level"}}.get(tag, set())
        allowed = ATTRIBUTES.get(tag, {"style"} | own)
        assert name in (MATHML_ATTRIBUTES if tag in MATHML else allowed), (tag, name)
        getattr(self, f"check_{name}", self.check_plain)(value)

    def check_style(self, value: str) -> None:
        assert value in STYLES
        assert not LIVE_CSS.search(value)

    def check_href(self, value: str) -> None:
        assert re.match(r"(https?://|mailto:)[!-~]", value, re.IGNORECASE), value

    def check_src(self, value: str) -> None:
        kind, _, data = value.partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data, validate=True).startswith(b"\x89PNG\r\n")

    def check_alt(self, value: str) -> None:
        assert not UNSEEN.search(value)

    def check_role(self, value: str) -> None:
        assert value == "heading"

    def check_rel(self, value: str) -> None:
        assert set(value.split()) == {"noopener", "noreferrer", "nofollow"}

    def check_target(self, value: str) -> None:
        assert value == "_blank"

    def check_title(self, value: str) -> None:
        self.check_href(value)

    def check_plain(self, value: str) -> None:
        assert re.fullmatch(r"[a-z-]{0,24}|[+-]?[0-9]{0,9}(\.[0-9]{1,3})?[a-z]{0,2}", value), value

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        assert self.open, "text outside of the box"
        assert not UNSEEN.search(data), ascii(data)
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    handle_decl = handle_pi = unknown_decl = handle_comment


@pytest.fixture(scope="session")
def walk() -> Callable[[str], str]:
    """Check HTML that holds words of a reply, and give its text."""

    def walk_page(page: str) -> str:
        walker = Walker()
        walker.feed(page)
        walker.close()
        assert walker.open == []
        page.encode("utf-8")
        return walker.text

    return walk_page
