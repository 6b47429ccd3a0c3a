"""How replies, cards, tables, errors and waits look in JupyterLab: measured, in both themes."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.browser

LOAD = "%load_ext segmind_jupyter\n%segmind simulator"

RICH = """\
%%claude --raw
echo:## A heading

Words with `code`, a [link](https://x.example) and $\\frac{a}{b}$ from $5 to $10.

> quoted
> > twice

| a |
|---|
| x<br>y<sub>2</sub> |

```python
def area(radius): # good
    return "x" + 2
```"""

JOB = """\
import time
from segmind_jupyter.api.jobs import Job
Job("2c7f-1", model="claude-4-sonnet", submitted_at=time.time())"""

BATCH = """\
from PIL import Image
from segmind_jupyter import ask_each
photos = {f"photo{n}.png": Image.new("RGB", (90, 60), "navy") for n in range(22)}
captions = ask_each("Caption this.", photos)
captions.wait();"""

ERROR = """\
from segmind_jupyter import BadRequestError
raise BadRequestError("The model cannot work with a request of this kind and length. " * 3)"""

CELLS = (
    LOAD, RICH, JOB, BATCH, "%%claude -j -o failing\nfail: no such image", "failing.wait()", ERROR,
    "%%claude --dry-run -i photos['photo1.png']\nWhat is this?", "%%claude --json\nThree colours",
    "%segmind jobs", "%segmind", "%segmind models", "%segmind usage",
)  # fmt: skip

#: The right edges of what has a width of its own, in pixels.
EDGES = """() => [...document.querySelectorAll(
    '.jp-OutputArea-output > .segmind-reply, .jp-OutputArea-output .widget-hbox:has(button)'
)].map(element => Math.round(element.getBoundingClientRect().right))"""

#: The size of words, by what they are.
SIZES = """() => Object.fromEntries(
    [['p', 'p'], ['code', 'p code'], ['block', 'pre code'], ['cell', 'td'], ['math', 'math']]
    .map(([name, css]) => [name, getComputedStyle(
        document.querySelector('.segmind-reply ' + css)).fontSize]))"""

#: Words whose contrast with what is behind them is below 4.5 (WCAG 2), with that contrast.
FAINT = """() => {
    const context = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = colour => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (top, below) =>
        top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
    const light = colour => colour.map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = element => {
        const colour = rgba(getComputedStyle(element).backgroundColor);
        if (colour[3] === 1 || !element.parentElement) return colour.slice(0, 3);
        return over(colour, behind(element.parentElement));
    };
    return [...document.querySelectorAll('.segmind-reply *')].filter(element =>
        [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())
        && !element.closest('annotation')
    ).map(element => {
        const below = behind(element);
        const [a, b] = [light(over(rgba(getComputedStyle(element).color), below)), light(below)];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        return [element.textContent.slice(0, 40), getComputedStyle(element).color, contrast];
    }).filter(([, , contrast]) => contrast < 4.5);
}"""

#: Words that are broken over two lines.
BROKEN = """() => {
    const words = [];
    for (const box of document.querySelectorAll('.segmind-reply')) {
        const walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
        for (let node; (node = walker.nextNode());)
            for (const match of node.data.matchAll(/[A-Za-z0-9]{2,}/g)) {
                const range = document.createRange();
                range.setStart(node, match.index);
                range.setEnd(node, match.index + match[0].length);
                if (new Set([...range.getClientRects()].map(r => Math.round(r.top))).size > 1)
                    words.push(match[0]);
            }
    }
    return words;
}"""

COLOURS = "spans => new Set(spans.map(span => getComputedStyle(span).color)).size"

#: Pictures without words for who does not see them.
NAMELESS = "images => images.filter(image => !image.alt.trim()).length"


def test_what_is_shown_is_of_one_piece(open_notebook, artifacts):
    """One right edge, 14 px for what is read, contrast, whole words, no heading of Lab's."""
    notebook = open_notebook(*CELLS, height=4000)
    notebook.run_all()
    page = notebook.page
    page.locator(".segmind-reply", has_text="JobFailed").wait_for()
    assert page.locator(".segmind-reply").locator("h1, h2, h3").count() == 0
    reply = notebook.cell(1).locator(".segmind-reply")
    assert "from $5 to $10" in reply.inner_text()
    assert (reply.locator("mfrac").count(), page.locator("mjx-container").count()) == (1, 0)
    assert page.locator(".segmind-reply [role=heading][aria-level='2']").count() == 1
    assert reply.get_attribute("aria-live") == "polite"
    assert notebook.cell(3).get_by_text("2 more replies").is_visible()
    assert page.locator(".segmind-reply img").count() >= 21
    assert page.locator(".segmind-reply img").evaluate_all(NAMELESS) == 0
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        notebook.theme(theme)
        page.screenshot(path=artifacts / f"look {theme}.png")
        edges = page.evaluate(EDGES)
        assert len(edges) >= 10
        assert len(set(edges)) == 1, edges
        sizes = page.evaluate(SIZES)
        assert float(sizes.pop("math").removesuffix("px")) == pytest.approx(14 * 1.15, abs=0.1)
        assert set(sizes.values()) == {"14px"}, sizes
        assert page.evaluate(FAINT) == []
        assert reply.locator("pre span").evaluate_all(COLOURS) >= 3
        assert page.evaluate(BROKEN) == []
    lines = notebook.cell(6).locator(".jp-RenderedText[data-mime-type*=stderr] pre").inner_text()
    assert max(map(len, lines.strip().splitlines())) <= 80
    assert {"cannot", "request", "length."} <= set(lines.split())


FIGURE = """\
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(6, 3))
ax.plot([1, 4, 2, 5])
plt.close()"""


def test_a_cell_says_that_it_waits_and_the_reply_takes_that_place(open_notebook, artifacts):
    """Model, seconds, thumbnail; as wide as the reply, which is the one output in the file."""
    slow = "import os\nos.environ['SEGMIND_SIMULATOR_SPEED'] = '0.6'\n" + LOAD
    notebook = open_notebook(slow, FIGURE, "%%claude\nWhat trend does {fig} show?", height=900)
    page = notebook.page
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    line = page.locator(".segmind-reply", has_text="Asking").first
    line.get_by_text("2 s").wait_for(timeout=60_000)
    shown = line.inner_text()
    for words in ("claude-4-sonnet", "fig", "tokens", "for this model", "Interrupt gives up"):
        assert words in shown
    assert line.locator("img[alt^='fig']").count() == 1
    (edge, *_), broken = page.evaluate(EDGES), page.evaluate(BROKEN)
    page.screenshot(path=artifacts / "wait light.png")
    page.locator(".jp-InputPrompt", has_text="[3]").wait_for(timeout=60_000)
    assert page.evaluate(BROKEN) == broken == []
    assert {*page.evaluate(EDGES)} == {edge}
    (output,) = notebook.save().cells[2].outputs
    assert "segmind" in output.metadata
    assert "Asking" not in json.dumps(output)
