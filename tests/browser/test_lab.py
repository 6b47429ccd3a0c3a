"""What a person sees in JupyterLab, and what the page never does."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.browser

HERE = Path(__file__).parent
QUICKSTART = HERE.parents[1] / "examples" / "quickstart.ipynb"
CORPUS = json.loads((HERE.parent / "notebook" / "hostile.json").read_text(encoding="utf-8"))

LOAD = "%load_ext segmind_jupyter\n%segmind simulator"
PLOT = """\
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(8, 4))
ax.plot([1, 3, 2]);"""

KEY = "sk-live-0123456789abcdef"

CELLS = [
    "import os\nos.environ['SEGMIND_API_KEY'] = 'sk-live-' + '0123456789abcdef'",
    f"{LOAD}\n{PLOT}",
    "%%claude\nWhat's the trend of {fig}?",
    "%segmind",
]


@pytest.fixture(scope="module")
def notebook(open_for_module):
    """A reply about a plot, in a page that the tests only look at."""
    notebook = open_for_module(*CELLS, height=2400)
    notebook.run_all()
    return notebook


def test_a_saved_notebook_keeps_the_reply_and_not_the_key(notebook):
    """HTML for people, text for tools; no widget that would be gone."""
    saved = notebook.save()
    (output,) = saved.cells[2].outputs
    assert set(output.data) == {"text/html", "text/plain"}
    assert "(simulated)" in output.data["text/plain"]
    assert KEY not in nbformat.writes(saved)


TYPED = """() => {
    const {model} = window.jupyterapp.shell.currentWidget.content.widgets.at(-1);
    const was = model.sharedModel.getSource();
    return ['%%claude\\nHi', 'x = 1', '# Why?\\n%%claude', '%%claudette', was].map(source => {
        model.sharedModel.setSource(source);
        return model.mimeType;
    });
}"""


def test_claude_cells_are_coloured_as_markdown(notebook):
    """An apostrophe begins no string; a cell changes as one types, and back."""
    words = notebook.cell(2).locator(".cm-line").nth(1)
    assert words.inner_text() == "What's the trend of {fig}?"
    assert words.locator("span").count() == 0
    python, markdown = "text/x-ipython", "text/x-markdown"
    assert notebook.page.evaluate(TYPED) == [markdown, python, markdown, python, python]


ECHO = """\
from IPython.display import display
from segmind_jupyter import Reply
for text in {texts!r}:
    display(Reply(text=text))"""


def test_hostile_replies_run_nothing_and_fetch_nothing(open_notebook, lab):
    """The browser's own request log is the witness, for live and for reopened notebooks."""
    texts = [entry["text"] for entry in CORPUS if len(entry["text"]) < 20_000]
    assert len(texts) >= 60
    # Lab shows the first fifty outputs of a cell.
    cells = [ECHO.format(texts=texts[n : n + 40]) for n in range(0, len(texts), 40)]
    notebook = open_notebook(LOAD, *cells)
    notebook.run_all()
    for opened in (notebook, open_notebook(saved=notebook.save())):
        assert opened.page.locator(".segmind-reply").count() == len(texts)
        opened.assert_inert(lab.url)


def test_the_quickstart_runs_top_to_bottom(open_notebook, lab, artifacts):
    """As a newcomer runs it: open, Run All, read."""
    notebook = open_notebook(saved=nbformat.read(QUICKSTART, as_version=4), height=3200, scale=2)
    notebook.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    notebook.run_all()
    replies = notebook.page.locator(".segmind-reply")
    assert replies.count() == 5  # and the table of usage
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        notebook.theme(theme)
        notebook.page.screenshot(path=artifacts / f"quickstart {theme}.png")
    # The README's picture: the plot, the question and the answer.
    first, last = (notebook.page.locator(".jp-Cell").nth(n).bounding_box() for n in (3, 4))
    clip = {**first, "height": last["y"] + last["height"] - first["y"]}
    notebook.page.screenshot(path=artifacts / "readme.png", clip=clip)
    assert notebook.foreign_requests(lab.url) == []
