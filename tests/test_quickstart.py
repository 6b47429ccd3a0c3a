"""The example notebook, the README and the workshop around them tell the same story."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nbformat
import pytest

from segmind_jupyter.__main__ import main as demo

ROOT = Path(__file__).parents[1]
QUICKSTART = ROOT / "examples" / "quickstart.ipynb"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_demo_writes_the_quickstart_beside_the_user(tmp_path, monkeypatch, capsys):
    """Once, never over what is there, and with the command that opens it."""
    monkeypatch.chdir(tmp_path)
    assert demo(["demo"]) == 0
    written = tmp_path / "quickstart.ipynb"
    assert written.read_bytes() == QUICKSTART.read_bytes()
    assert capsys.readouterr().out.endswith("Open it with:\n  jupyter lab quickstart.ipynb\n")
    written.write_text("mine")
    monkeypatch.setattr("segmind_jupyter.__main__.find_spec", lambda name: None)
    assert demo(["demo"]) == 0
    said = capsys.readouterr().out
    assert "left as it is" in said
    assert "pip install 'segmind-jupyter[lab]' && jupyter lab quickstart.ipynb" in said
    assert written.read_text() == "mine"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {
        "examples/quickstart.ipynb": "segmind_jupyter/quickstart.ipynb"
    }


@pytest.mark.kernel
def test_the_quickstart_runs_top_to_bottom_without_a_key(tmp_path, monkeypatch):
    """A plot, a photo and a frame are answered by the simulator, which decoded what it got."""
    from nbclient import NotebookClient

    for name in ("SEGMIND_API_KEY", "SEGMIND_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    notebook = nbformat.read(QUICKSTART, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    replies = [
        output.data["text/plain"].strip()
        for cell in notebook.cells
        if cell.source.startswith("%%claude")
        for output in cell.outputs
    ]
    plot, photo, frame, above = replies
    assert plot.startswith("(simulated) 1 image: 800x400 PNG, mostly white with a blue line")
    assert photo.startswith("(simulated) 1 image: 512x600 JPEG")
    assert frame.startswith("(simulated) text of ")
    assert above.startswith("(simulated) 1 image: ")
    assert "plot of [" in above
    assert not [o for c in notebook.cells for o in c.get("outputs", ()) if o.output_type == "error"]


def test_the_readmes_two_commands_are_the_ones_that_ci_runs():
    """The promise of the README is kept by every run of the CI."""
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("pip install")]
    scripts = ("run", "common.sh")
    ci = "".join((ROOT / ".ci" / name).read_text(encoding="utf-8") for name in scripts)
    assert len(commands) == 2
    for command in commands:
        assert command in ci
