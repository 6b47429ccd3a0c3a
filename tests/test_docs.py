"""What README, pages and examples name is there; their cells run where Sphinx builds them."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

import segmind_jupyter.errors

ROOT = Path(__file__).parents[1]
DOCS, EXAMPLES = ROOT / "docs", ROOT / "examples"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
FENCE = re.compile(r"^```(\S*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, *kinds: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [body for kind, body in found if kind in kinds]


def test_the_blocks_of_the_readme_run(monkeypatch, tmp_path):
    """In order, in one shell; the cell shows a reply."""
    monkeypatch.setenv("SEGMIND_SIMULATOR_SPEED", "instant")
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    from segmind_jupyter.session import _only_session, session
    from segmind_jupyter.simulator import shared

    shared.cache_clear()
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    found = blocks(ROOT / "README.md", "ipython")
    assert len(found) == 3
    try:
        for block in found:
            with contextlib.redirect_stdout(io.StringIO()) as shown:
                done = shell.run_cell(block)
            assert done.success, (block, shown.getvalue())
        assert "(simulated)" in shell.user_ns["answer"].text
    finally:
        shell.run_line_magic("unload_ext", "segmind_jupyter")
        session().close()
        _only_session.cache_clear()
        shared.cache_clear()
        InteractiveShell.clear_instance()


def test_code_in_the_pages_is_what_is_run():
    """A cell is run by the build, a configuration by a test; nothing else looks like Python."""
    kinds = {"{code-cell}", "{toctree}", "{eval-rst}", "bash", "text", "dockerfile", "python"}
    for page in PAGES:
        found = FENCE.findall(page.read_text(encoding="utf-8"))
        assert {kind for kind, _ in found} <= kinds, page
        assert all("c." in body[:3] for kind, body in found if kind == "python"), page


def test_every_public_name_is_in_the_reference():
    """By its docstring; errors come all together."""
    page = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    described = set(re.findall(r"auto(?:function|class):: (\w+)", page))
    errors = {name for name in segmind_jupyter.__all__ if hasattr(segmind_jupyter.errors, name)}
    loaders = {"__version__", "load_ipython_extension", "unload_ipython_extension"}
    assert described | errors | loaders == set(segmind_jupyter.__all__)


@pytest.mark.kernel
@pytest.mark.parametrize("page", ["load-by-itself.md", "jupyterhub.md"])
def test_it_is_loaded_by_itself(page, monkeypatch, tmp_path):
    """By each configuration on the page, in a kernel; the lazy one loads with the first use."""
    from nbclient import NotebookClient

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("SEGMIND_BASE_URL", "simulator")
    monkeypatch.setenv("SEGMIND_SIMULATOR_SPEED", "instant")
    for config in blocks(DOCS / "how-to" / page, "python"):
        (tmp_path / "profile_default").mkdir(exist_ok=True)
        (tmp_path / "profile_default" / "ipython_config.py").write_text(config)
        sources = ("import sys; print('segmind_jupyter' in sys.modules)", "%%claude\nHi")
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        notebook = nbformat.v4.new_notebook(cells=cells)
        NotebookClient(notebook, timeout=120).execute()
        loaded, reply = (json.dumps(cell.outputs) for cell in notebook.cells)
        assert str("lazy" not in config) in loaded, config
        assert "(simulated) text of 1 word" in reply, config


def anchors(page: Path) -> set[str]:
    """Return the names by which GitHub and MyST know the headings of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_links_lead_somewhere():
    """To a page and a heading of it, a notebook or a picture of the repository, or by https."""
    texts = {page: page.read_text(encoding="utf-8") for page in [*PAGES, *ROOT.glob("*.md")]}
    texts[EXAMPLES / "README.md"] = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts[path] = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    for page, text in texts.items():
        for target in re.findall(r'(?:\]\(|src=")([^)\s"]+)', FENCE.sub("", text)):
            place, _, anchor = target.partition("#")
            if "://" in target:
                parts = urlsplit(target)
                assert parts.scheme == "https", (page, target)
                assert "." in parts.netloc, (page, target)
                continue
            leads_to = page.parent / place if place else page
            assert leads_to.exists(), (page, target)
            assert not anchor or anchor in anchors(leads_to), (page, target)


def test_troubleshooting_quotes_what_the_package_says():
    """Word by word, so that whoever searches for a message finds it."""
    said: set[str] = set()
    for path in (ROOT / "segmind_jupyter").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.add(node.value)
    for page in (DOCS / "troubleshooting.md", DOCS / "how-to" / "proxy.md"):
        quoted = re.findall(r'^\| "(.+?)"(?: \(\d+\))? \|', page.read_text(encoding="utf-8"), re.M)
        for words in quoted:
            assert any(words in each for each in said), words


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_an_example_is_stored_as_it_is_to_be_read(path):
    """Its outputs are there without a kernel: no state of widgets, nothing live, no long file."""
    notebook = nbformat.read(path, as_version=4)
    assert "widgets" not in notebook.metadata
    assert path.stat().st_size < 300_000
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    if path.stem == "quickstart":  # what a newcomer sees is what their own run made
        assert outputs == []
        return
    assert len(notebook.cells) <= 16
    for output in outputs:
        assert not any("widget" in mime for mime in output.get("data", {})), path
        assert "<script" not in json.dumps(output), path
    assert "simulator" in json.dumps(outputs)
