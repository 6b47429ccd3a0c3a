"""Takes the pictures of the README, in JupyterLab on the simulator: `python docs/stills.py`."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import sync_playwright

STILLS = Path(__file__).parent / "stills"
LOAD = "%load_ext segmind_jupyter\n%segmind simulator"

PLOT = (
    LOAD,
    """import matplotlib.pyplot as plt

# Annual mean CO2 at Mauna Loa, in parts per million (NOAA Global Monitoring Laboratory).
year = [1960, 1970, 1980, 1990, 2000, 2010, 2020]
co2 = [316.91, 325.68, 338.76, 354.45, 369.71, 390.10, 414.21]

fig, ax = plt.subplots(figsize=(7, 2.8))
ax.plot(year, co2)
ax.set(xlabel="year", ylabel="CO₂ (ppm)");""",
    "%%claude\nWhat trend does {fig} show? Write an alternative text.",
)
CHAT = (
    f"{LOAD}\nfrom segmind_jupyter import Chat\nimport pandas as pd\n"
    'df = pd.DataFrame({"year": [1960, 1990, 2020], "co2": [316.9, 354.4, 414.2]})\n'
    'fig = df.plot("year", "co2", figsize=(6, 3)).figure',
    "chat = Chat()\n"
    'chat.send("What does it show, and does the table support it?", fig, df).wait();',
    "chat",
)
COLUMNS = (
    f"{LOAD}\nimport pandas as pd\nfrom dataclasses import dataclass\nfrom typing import Literal\n"
    'words = ["Overpriced.", "Two weeks late!", "The lid does not close.", "Just what I wanted."]\n'
    'comments = pd.DataFrame({"comment": words})',
    """@dataclass
class Feedback:
    is_complaint: bool
    topic: Literal["price", "delivery", "quality", "other"]""",
    "%%claude --each comments --json Feedback -o out\n"
    "Classify the comment of a customer: {comment}",
)

#: Name, cells, and the first of them that is in the picture.
PICTURES = (("plot", PLOT, 1), ("chat", CHAT, 2), ("columns", COLUMNS, 1))

#: Lab looks for no news, and draws what is below the window too.
SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
    "@jupyterlab/apputils-extension:notification": {
        "fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True,
    },
}  # fmt: skip


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """Run a server over a folder, with settings and a state of its own; give its address."""
    home, token = folder / "home", secrets.token_hex(8)
    (home / "settings").mkdir(parents=True)
    (home / "settings" / "overrides.json").write_text(json.dumps(SETTINGS))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "SEGMIND_JUPYTER_STATE"}
    environment = {**os.environ, **{name: str(home / name) for name in own}}
    environment |= {"SEGMIND_BASE_URL": "simulator"}
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}",
         f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}",
         f"--LabApp.app_settings_dir={home / 'settings'}", "--expose-app-in-browser"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(f"{url}/api/status?token={token}", timeout=1).close()
                break
            time.sleep(0.1)
        yield f"{url}/lab/workspaces/NAME/tree/NAME.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(30)


def take(page: Any, address: str, name: str, cells: tuple[str, ...], first: int) -> None:
    """Run a notebook in the page, and keep its cells from the `first` on as a picture."""
    page.goto(address.replace("NAME", name))
    page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.wait_for_function(
        """count => [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')]
            .filter(prompt => /\\[\\d+\\]/.test(prompt.textContent)).length === count""",
        arg=len(cells),
        timeout=60_000,
    )
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']", state="attached")
    if name == "chat":
        page.locator(".segmind-chat .segmind-turn").wait_for()
    page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex = 0")
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)
    from_, to = (page.locator(".jp-Cell").nth(n).bounding_box() for n in (first, len(cells) - 1))
    height = to["y"] + to["height"] - from_["y"]
    page.screenshot(path=STILLS / f"{name}.png", clip={**from_, "height": height})


if __name__ == "__main__":
    metadata = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "name": "python3"}}
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        for name, sources, _ in PICTURES:
            cells = [nbformat.v4.new_code_cell(source) for source in sources]
            notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
            nbformat.write(notebook, Path(scratch) / f"{name}.ipynb")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        view = {"viewport": {"width": 900, "height": 1600}, "device_scale_factor": 1.5}
        with jupyterlab(Path(scratch)) as address:
            for picture in PICTURES:
                page = browser.new_page(**view)
                take(page, address, *picture)
                page.close()
        browser.close()
