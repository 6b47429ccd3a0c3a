"""How replies, cards and errors look in JupyterLab: measured, in both themes."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

LOAD = "%load_ext segmind_jupyter\n%segmind simulator"

RICH = """\
%%claude --raw
echo:## A heading

Words with `code`, a [link](https://x.example) and $\\frac{a}{b}$.

> quoted
> > twice

| a |
|---|
| x<br>y<sub>2</sub> |

```python
def area(radius): # good
    return "x"
```"""

CARDS = """\
import time
from segmind_jupyter.api.jobs import Job
Job("2c7f-1", model="claude-4-sonnet", submitted_at=time.time())"""

BATCH = """\
from segmind_jupyter import ask_each
batch = ask_each("echo: {item}", ["one", "two"])
batch.wait()"""

ERROR = """\
from segmind_jupyter import BadRequestError
raise BadRequestError("The model cannot work with a request of this kind and length. " * 3)"""

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


def test_replies_cards_and_errors_are_of_one_piece(open_notebook, artifacts):
    """One right edge, 14 px for what is read, a contrast of 4.5 or more, no heading of Lab's."""
    failing = "%%claude -j -o failing\nfail: unreadable image"
    cells = (LOAD, RICH, CARDS, BATCH, failing, "failing.wait()", ERROR)
    notebook = open_notebook(*cells, height=1800)
    notebook.run_all()
    page = notebook.page
    page.locator(".segmind-reply", has_text="JobFailed").wait_for()
    assert page.locator(".segmind-reply").locator("h1, h2, h3").count() == 0
    assert page.locator(".segmind-reply [role=heading][aria-level='2']").count() == 1
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        notebook.theme(theme)
        edges = page.evaluate(EDGES)
        assert len(edges) >= 4
        assert len(set(edges)) == 1, edges
        sizes = page.evaluate(SIZES)
        assert float(sizes.pop("math").removesuffix("px")) == pytest.approx(14 * 1.15, abs=0.1)
        assert set(sizes.values()) == {"14px"}, sizes
        page.screenshot(path=artifacts / f"look {theme}.png")
        assert page.evaluate(FAINT) == []
    lines = page.locator(".jp-RenderedText[data-mime-type*=stderr] pre").last.inner_text()
    assert max(map(len, lines.strip().splitlines())) <= 80
    assert {"cannot", "request", "length."} <= set(lines.split())
