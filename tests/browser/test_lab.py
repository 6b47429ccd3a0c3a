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


def test_a_plot_is_described_inline(open_notebook, lab, artifacts):
    """The reply, its footer and a thumbnail of what was sent, light and dark."""
    notebook = open_notebook(LOAD, PLOT, "%%claude\nWhat trend does {fig} show?")
    notebook.run_all()
    reply = notebook.page.locator(".segmind-reply")
    assert "(simulated) 1 image: 800x400 PNG, mostly white with a blue line" in reply.inner_text()
    assert "claude-4-sonnet" in reply.inner_text()
    thumbnail = reply.locator("img").first
    width, height = thumbnail.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert width == 2 * height
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        notebook.theme(theme)
        assert contrast(reply) > 4.5
        notebook.page.screenshot(path=artifacts / f"plot {theme}.png")
    assert notebook.foreign_requests(lab.url) == []


def contrast(reply) -> float:
    """Contrast of the reply's text against the page behind it (WCAG 2: at least 4.5)."""
    colour, background = reply.evaluate(
        """element => {
            const text = element.querySelector('p') ?? element;
            const page = element.closest('.jp-NotebookPanel');
            return [getComputedStyle(text).color, getComputedStyle(page).backgroundColor];
        }"""
    )
    first, second = (luminance(value) for value in (colour, background))
    return (max(first, second) + 0.05) / (min(first, second) + 0.05)


def luminance(css: str) -> float:
    parts = [float(part) for part in css[css.index("(") + 1 : -1].split(",")[:3]]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (p / 255 for p in parts)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


ECHO = """\
from IPython.display import display
from segmind_jupyter import Reply
for text in {texts!r}:
    display(Reply(text=text))"""


def test_hostile_replies_run_nothing_and_fetch_nothing(open_notebook, lab, artifacts):
    """The browser's own request log is the witness, for live and for reopened notebooks."""
    texts = [entry["text"] for entry in CORPUS if len(entry["text"]) < 20_000]
    assert len(texts) >= 60
    # Lab shows the first fifty outputs of a cell.
    cells = [ECHO.format(texts=texts[n : n + 40]) for n in range(0, len(texts), 40)]
    notebook = open_notebook(LOAD, *cells)
    notebook.run_all()
    assert_inert(notebook, lab, len(texts))
    saved = notebook.save()
    reopened = open_notebook(saved=saved)
    assert_inert(reopened, lab, len(texts))


def assert_inert(notebook, lab, replies):
    assert notebook.page.locator(".segmind-reply").count() == replies
    notebook.assert_inert(lab.url)


RICH = """\
echo:## A heading

Prices are $5 and $10, and $\\frac{a}{b}$ is a fraction:

$$\\int_0^1 x^2\\,dx = \\frac13$$

| planet | moons |
|:--|--:|
| Earth | 1 |
| Mars | 2 |

```python
def area(radius: float) -> float:
    \"\"\"Area of a circle.\"\"\"
    return 3.14159 * radius**2  # good enough
```

> A quote with `code`, **bold**, *italics* and a [link](https://example.com).

1. first
2. second
   - nested"""


def test_markdown_maths_and_code_look_right(open_notebook, lab, artifacts):
    """Dollars stay dollars, maths is MathML, code is coloured; nothing waits for MathJax."""
    notebook = open_notebook(LOAD, f"%%claude --raw\n{RICH}")
    notebook.run_all()
    reply = notebook.page.locator(".segmind-reply")
    assert "Prices are $5 and $10" in reply.inner_text()
    assert reply.locator("mfrac").count() == 2
    assert reply.locator("mjx-container").count() == 0
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        notebook.theme(theme)
        colours = reply.locator("pre span").evaluate_all(
            "spans => new Set(spans.map(span => getComputedStyle(span).color)).size"
        )
        assert colours >= 3
        notebook.page.screenshot(path=artifacts / f"rich {theme}.png")
    assert notebook.foreign_requests(lab.url) == []


def test_a_saved_notebook_keeps_the_reply_and_not_the_key(open_notebook, monkeypatch):
    """HTML for people, text for tools; no widget that would be gone."""
    key = "sk-live-0123456789abcdef"
    notebook = open_notebook(
        f"import os\nos.environ['SEGMIND_API_KEY'] = 'sk-live-' + '0123456789abcdef'\n{LOAD}",
        "%%claude\nHi",
        "%segmind",
    )
    notebook.run_all()
    saved = notebook.save()
    (output,) = saved.cells[1].outputs
    assert set(output.data) == {"text/html", "text/plain"}
    assert "(simulated)" in output.data["text/plain"]
    assert key not in nbformat.writes(saved)


def test_the_quickstart_runs_top_to_bottom(open_notebook, lab, artifacts):
    """As a newcomer runs it: open, Run All, read."""
    notebook = open_notebook(saved=nbformat.read(QUICKSTART, as_version=4), height=3200, scale=2)
    notebook.page.evaluate("window.jupyterapp.commands.execute('application:toggle-left-area')")
    notebook.run_all()
    replies = notebook.page.locator(".segmind-reply")
    assert replies.count() == 4
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        notebook.theme(theme)
        notebook.page.screenshot(path=artifacts / f"quickstart {theme}.png")
    # The README's picture: the plot, the question and the answer.
    first, last = (notebook.page.locator(".jp-Cell").nth(n).bounding_box() for n in (3, 4))
    clip = {**first, "height": last["y"] + last["height"] - first["y"]}
    notebook.page.screenshot(path=artifacts / "readme.png", clip=clip)
    assert notebook.foreign_requests(lab.url) == []


def test_errors_and_notes_are_short_and_readable(open_notebook, artifacts):
    """A few lines where the eye is, in colour; a typing error is pointed out before sending."""
    notebook = open_notebook(
        LOAD,
        PLOT,
        "%%claude\nCompare {figg} with {fig}, {n} and {{n}}",
        "%%claude --nonsense\nHi",
        "%%claude -m gpt-5 -t 7\nHi",
        "%segmind simulator off",
        "import os; os.environ.pop('SEGMIND_API_KEY', None)",
        "%%claude\nHi",
    )
    notebook.run_all()
    page = notebook.page
    errors = page.locator("[data-mime-type='application/vnd.jupyter.stderr'], .jp-mod-error")
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        notebook.theme(theme)
        page.screenshot(path=artifacts / f"errors {theme}.png")
    shown = page.locator(".jp-OutputArea-output").all_inner_texts()
    failures = [text for text in shown if "Error" in text]
    assert len(failures) == 4
    assert "Did you mean `{fig}`?" in failures[0]
    assert all(len(text.strip().splitlines()) <= 4 for text in failures)
    assert errors.count() >= 4
