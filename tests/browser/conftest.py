"""A real JupyterLab on loopback in headless Chromium, and a notebook driven through its page."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import pytest

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Without it Lab asks which kernel to start.
METADATA = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "name": "python3"}}

#: How the page shows that the kernel has nothing to do.
IDLE = ".jp-NotebookPanel .jp-Notebook-ExecutionIndicator[data-status='idle']"

#: Lab itself must not look for news, or the request log would hold its requests too; and it
#: is to draw every output, also those below the window.
OVERRIDES = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
}


def unavailable(reason: str) -> None:
    """Skip with the reason; under CI a browser test that cannot run fails."""
    if os.environ.get("CI"):
        pytest.fail(f"browser tests cannot run: {reason}")
    pytest.skip(reason)


@dataclass
class Lab:
    """A running server."""

    url: str
    token: str
    folder: Path

    def end_kernels(self, paths: set[str]) -> None:
        """Shut down what these notebooks have left running."""
        for session in json.loads(self._answer("GET", "/api/sessions")):
            if session["path"] in paths:
                self._answer("DELETE", f"/api/sessions/{session['id']}")

    def _answer(self, method: str, path: str) -> bytes:
        headers = {"authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            body: bytes = answer.read()
        return body


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start JupyterLab with settings, state and notebooks of its own."""
    if importlib.util.find_spec("jupyterlab") is None:
        unavailable("jupyterlab is not installed")
    with running_lab(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("notebooks")) as lab:
        yield lab


@contextmanager
def running_lab(home: Path, folder: Path) -> Iterator[Lab]:
    """Run JupyterLab on loopback while something is done with it."""
    settings = home / "app-settings"
    settings.mkdir()
    (settings / "overrides.json").write_text(json.dumps(OVERRIDES))
    port = free_port()
    token = secrets.token_hex(8)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SEGMIND")},
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "SEGMIND_JUPYTER_STATE": str(home / "state"),
        "SEGMIND_SIMULATOR_SPEED": "6",
    }
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1",
        f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}",
        f"--ServerApp.root_dir={folder}", "--expose-app-in-browser",
        f"--LabApp.app_settings_dir={settings}",
    ]  # fmt: skip
    # From the sources, however this package was installed.
    extension = home / "data" / "labextensions" / "segmind-jupyter"
    shutil.copytree(Path(__file__).parents[2] / "segmind_jupyter/notebook/labextension", extension)
    log = home / "lab.log"
    with log.open("wb") as sink:
        server = subprocess.Popen(command, env=environment, stdout=sink, stderr=sink)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(f"{url}/api/status?token={token}", server, log)
        yield Lab(url, token, folder)
    finally:
        server.terminate()
        server.wait(30)


def free_port() -> int:
    """Find a port below those that the system hands out: a kernel may be given one of these."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def wait_until_up(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            break
        with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=1):
            return
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()}")


# Not for the whole session: Playwright keeps a loop running in this thread, beside which no
# other test could start one.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Start one browser for a module's tests."""
    with running_chromium() as browser:
        yield browser


@contextmanager
def running_chromium() -> Iterator[Any]:
    """Run a browser without a window."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser")
    if executable is None:
        unavailable("there is no chromium on the PATH")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("playwright is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


#: What of a reply could run or fetch something.
LIVE_ELEMENTS = """() => [...document.querySelectorAll('.segmind-reply *')].filter(element =>
    ['SCRIPT', 'IFRAME', 'OBJECT', 'EMBED', 'FORM', 'INPUT', 'STYLE', 'LINK', 'BASE',
     'META', 'VIDEO', 'AUDIO', 'SOURCE'].includes(element.tagName.toUpperCase())
    || element.tagName.toLowerCase() === 'mjx-container'
    || [...element.attributes].some(a => a.name.startsWith('on'))
    || (element.getAttribute('src') ?? 'data:image/png').slice(0, 14) !== 'data:image/png'
    || !/^(https?:|mailto:|$)/.test(element.getAttribute('href') ?? '')
).map(element => element.outerHTML.slice(0, 200))"""


@dataclass
class Notebook:
    """An open notebook, with everything that its page asked for."""

    page: Any
    path: Path
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def run_all(self, *, timeout_s: float = 60) -> None:
        """Run every cell, and wait until the kernel has answered the last one."""
        self.page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
        self.page.wait_for_function(
            """() => {
                const cells = [...document.querySelectorAll('.jp-Notebook .jp-CodeCell')];
                return cells.length && cells.every(cell =>
                    /\\[\\d+\\]/.test(cell.querySelector('.jp-InputPrompt').textContent));
            }""",
            timeout=timeout_s * 1000,
        )
        self.page.wait_for_selector(IDLE, timeout=timeout_s * 1000)

    def run_last(self, source: str) -> None:
        """Type a cell below all others, and run it."""
        self.page.evaluate(
            """async source => {
                const {commands, shell} = window.jupyterapp;
                const content = shell.currentWidget.content;
                content.activeCellIndex = content.widgets.length - 1;
                await commands.execute('notebook:insert-cell-below');
                content.activeCell.model.sharedModel.setSource(source);
                void commands.execute('notebook:run-cell');
            }""",
            source,
        )

    def cell(self, number: int) -> Any:
        return self.page.locator(".jp-Notebook .jp-Cell").nth(number)

    def shoot(self, path: Path) -> None:
        """Take a picture in both themes."""
        for theme in ("JupyterLab Light", "JupyterLab Dark"):
            self.theme(theme)
            self.page.screenshot(path=path.with_name(f"{path.name} {theme}.png"))

    def theme(self, name: str) -> None:
        self.page.evaluate(
            f"void window.jupyterapp.commands.execute('apputils:change-theme', {{theme: {name!r}}})"
        )
        light = "true" if "Light" in name else "false"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def save(self) -> Any:
        self.page.evaluate(
            "async () => { await window.jupyterapp.commands.execute('docmanager:save'); }"
        )
        self.page.wait_for_function(
            "() => !document.querySelector('.jp-mod-dirty')", timeout=30_000
        )
        return nbformat.read(self.path, as_version=4)

    def foreign_requests(self, own: str) -> list[str]:
        """What was asked of any other host than the server's own."""
        host = urlsplit(own).netloc
        remote = (url for url in self.requests if urlsplit(url).scheme in {"http", "https", "ws"})
        return [url for url in remote if urlsplit(url).netloc != host]

    def assert_inert(self, own: str) -> None:
        """Check that nothing in a reply is live, and that no other host was asked."""
        # MathJax, lazy images and timers get a chance to do their work: a round trip of the idle
        # queue.
        self.page.evaluate(
            "() => new Promise(done => requestIdleCallback(() => setTimeout(done, 500)))"
        )
        assert self.dialogs == []
        assert self.foreign_requests(own) == []
        live = self.page.evaluate(LIVE_ELEMENTS)
        assert live == []


@pytest.fixture(scope="module")
def contexts(chromium: Any) -> Callable[[int], Any]:
    """Give a browser profile for each scale; what Lab consists of is loaded into it once."""
    return cache(lambda scale: chromium.new_context(device_scale_factor=scale))


@contextmanager
def opening(contexts: Callable[[int], Any], lab: Lab) -> Iterator[Callable[..., Notebook]]:
    """Open notebooks made of these cells (or a saved one), on a page and with a kernel each."""
    all_opened: list[Notebook] = []

    def open_it(*sources: str, saved: Any = None, height: int = 1000, scale: int = 1) -> Notebook:
        # The tag lets Run All go on after an error.
        tag = {"tags": ["raises-exception"]}
        cells = [nbformat.v4.new_code_cell(source, metadata=tag) for source in sources]
        notebook = saved or nbformat.v4.new_notebook(cells=cells, metadata=METADATA)
        path = lab.folder / f"n{secrets.token_hex(4)}.ipynb"
        nbformat.write(notebook, path)
        page = contexts(scale).new_page()
        page.set_viewport_size({"width": 1100, "height": height})
        opened = Notebook(page, path)
        all_opened.append(opened)
        page.on("request", lambda request: opened.requests.append(request.url))
        page.on("dialog", lambda dialog: (opened.dialogs.append(dialog.message), dialog.dismiss()))
        page.goto(f"{lab.url}/lab/workspaces/{path.stem}/tree/{path.name}?token={lab.token}")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
        # The indicator alone says "idle" before there is a kernel; the status bar knows its name.
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        return opened

    yield open_it
    for opened in all_opened:
        opened.page.close()
    lab.end_kernels({opened.path.name for opened in all_opened})


@pytest.fixture
def open_notebook(contexts: Callable[[int], Any], lab: Lab) -> Iterator[Callable[..., Notebook]]:
    """Open notebooks for one test."""
    with opening(contexts, lab) as open_it:
        yield open_it


@pytest.fixture(scope="module")
def open_for_module(contexts: Callable[[int], Any], lab: Lab) -> Iterator[Callable[..., Notebook]]:
    """Open notebooks that the tests of a module share, each with cells of its own."""
    with opening(contexts, lab) as open_it:
        yield open_it


@pytest.fixture(scope="session")
def artifacts() -> Path:
    """Give the folder for screenshots, which git ignores."""
    folder = Path(__file__).parents[2] / "test-artifacts"
    folder.mkdir(exist_ok=True)
    return folder
