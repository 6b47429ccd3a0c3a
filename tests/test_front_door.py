"""Public names, and how little importing and loading costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import segmind_jupyter

HEAVY = (
    "httpx", "PIL", "numpy", "pandas", "matplotlib", "ipywidgets", "nh3", "markdown_it", "anyio",
    "latex2mathml", "pygments.lexers.python", "nest_asyncio2", "platformdirs",
)  # fmt: skip

#: What a cell, a batch or Tab needs, and loading does not: mostly the room `content`.
NEEDED_LATER = (
    "segmind_jupyter.content.prompt", "segmind_jupyter.content.convert",
    "segmind_jupyter.batch.items", "segmind_jupyter.content.json_schema",
    "segmind_jupyter.content.secrets", "segmind_jupyter.notebook.completion",
    "segmind_jupyter.notebook.error_report", "segmind_jupyter.notebook.display.reply",
    "segmind_jupyter.notebook.plots.formats", "segmind_jupyter.notebook.live.cards",
    "segmind_jupyter.api.client",
    "segmind_jupyter.api.journal", "importlib.metadata", "sqlite3", "zipfile", "decimal", "csv",
)  # fmt: skip

HEAVIER = (*HEAVY, "IPython")

NAMES = {
    "APIConnectionError", "APIError", "AuthenticationError", "BadRequestError", "Batch",
    "BudgetError", "Chat", "ContentError", "Description", "InsufficientCreditsError", "Job",
    "JobCancelled", "JobError", "JobExpired", "JobFailed", "JobTimeout", "MaybeBilledError",
    "MissingKeyError", "NotCachedError",
    "NotFoundError", "PermissionDeniedError", "RateLimitError", "Reply", "ReplyError",
    "SegmindClient", "SegmindError", "ServerError", "SettingsError", "Usage", "__version__", "ask",
    "ask_each", "describe", "load_ipython_extension", "register", "resume", "submit", "to_blocks",
    "unload_ipython_extension",
}  # fmt: skip


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_public_names_are_these():
    """A name that comes or goes is a decision, not an accident; each is found and documented."""
    assert set(segmind_jupyter.__all__) == NAMES
    assert set(dir(segmind_jupyter)) >= NAMES
    assert all(getattr(segmind_jupyter, name).__doc__ for name in NAMES)


def test_an_unknown_name_is_an_attribute_error():
    """As for any module."""
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        segmind_jupyter.nonsense  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    """`import segmind_jupyter` is a matter of milliseconds."""
    code = f"import segmind_jupyter, sys; print([m for m in {HEAVIER!r} if m in sys.modules])"
    assert run(code) == "[]"


def test_loading_the_extension_imports_nothing_heavy_and_starts_no_thread():
    """What a cell needs is imported by the first cell that needs it."""
    code = f"""
import sys, threading
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules), threading.active_count()
shell.run_line_magic("load_ext", "segmind_jupyter")
new = set(sys.modules) - before[0]
print([m for m in {HEAVY + NEEDED_LATER!r} if m in new], threading.active_count() - before[1])
"""
    assert run(code).splitlines()[-1] == "[] 0"


CELL = r"""
import os, sys, threading
from IPython.core.interactiveshell import InteractiveShell
ran = set()
def note(frame, event, argument):
    ran.add(frame.f_code.co_filename)
threading.setprofile(note)  # the background loop's too
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "segmind_jupyter")
shell.run_cell("%segmind simulator")
shell.run_cell("import matplotlib\nmatplotlib.use('agg')\nfrom matplotlib.figure import Figure")
shell.run_cell("fig = Figure()\nfig.subplots().plot([1, 2])")
shell.run_cell("%%claude\nwarm up {fig}")
ran.clear()
sys.setprofile(note)
shell.run_cell("%%claude\nHi" + sys.argv[1])
sys.setprofile(None)
ours = (name.rpartition("segmind_jupyter" + os.sep)[2] for name in ran if "segmind_jup" in name)
print(*sorted(part for part in ours if not part.startswith("simulator")))
"""


@pytest.mark.parametrize(("named", "most"), [("", 40), (" {fig}", 50)])
def test_a_cell_runs_through_few_files(named, most):
    """Of this package's, with its display; the simulator is not counted."""
    done = subprocess.run(
        [sys.executable, "-c", CELL, named], capture_output=True, text=True, check=True, timeout=120
    )
    files = done.stdout.splitlines()[-1].split()
    assert 10 < len(files) <= most, files
