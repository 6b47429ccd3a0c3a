"""Every block of the documentation runs, on the simulator."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.pylabtools import select_figure_formats

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```ipython\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["tutorial.md", "how-to.md"])
def test_every_block_of_a_page_runs(page, monkeypatch, tmp_path):
    """In order, in one shell; `%%claude` cells show a reply."""
    monkeypatch.setenv("SEGMIND_SIMULATOR_SPEED", "instant")
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    from segmind_jupyter.session import _only_session, session

    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    select_figure_formats(shell, {"png"})  # as a kernel does by itself
    blocks = BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))
    assert len(blocks) > 5
    try:
        for block in blocks:
            with contextlib.redirect_stdout(io.StringIO()) as shown:
                done = shell.run_cell(block)
            assert done.success, (block, shown.getvalue())
            if block.startswith("%%claude") and "--dry-run" not in block:
                assert "simulated" in shown.getvalue() + str(done.result), block
    finally:
        shell.run_line_magic("unload_ext", "segmind_jupyter")
        session().close()
        _only_session.cache_clear()
        InteractiveShell.clear_instance()


def test_links_between_pages_lead_somewhere():
    """To a page, an example or a picture of the repository."""
    root = DOCS.parent
    for page in [*DOCS.glob("*.md"), root / "README.md", root / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), (page, target)
