"""What a person sees while a cell waits: one line, and the reply in its place."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.browser

LOAD = "%load_ext segmind_jupyter\n%segmind simulator"

FIGURE = """\
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(6, 3))
ax.plot([1, 4, 2, 5])
plt.close()"""

WAIT = "%%claude\nWhat trend does {fig} show?"

#: The displays, first and later ones, that the page hears of from now on.
LISTEN = """() => {
    window.heard = [];
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    kernel.iopubMessage.connect((_, message) => {
        if (message.header.msg_type.includes('display_data'))
            window.heard.push([Date.now(), message.content]);
    });
}"""

#: The right edges of what has a width of its own, and words that are broken over two lines.
EDGES = """() => [...document.querySelectorAll('.jp-OutputArea-output > .segmind-reply')]
    .map(element => Math.round(element.getBoundingClientRect().right))"""
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


def test_a_cell_says_that_it_waits_and_the_reply_takes_that_place(open_notebook, artifacts):
    """Model, seconds, thumbnail; at most two messages a second, and one output in the file."""
    slow = "import os\nos.environ['SEGMIND_SIMULATOR_SPEED'] = '0.6'\n" + LOAD
    notebook = open_notebook(slow, FIGURE, WAIT, "%%claude -q\nA quiet one.", height=900)
    page = notebook.page
    page.evaluate(LISTEN)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    line = page.locator(".segmind-reply", has_text="Asking").first
    line.get_by_text("2 s").wait_for(timeout=60_000)
    shown = line.inner_text()
    for words in ("claude-4-sonnet", "fig", "tokens", "for this model", "Interrupt gives up"):
        assert words in shown
    assert line.locator("img[alt^='fig']").count() == 1
    edge, broken = page.evaluate(EDGES)[0], page.evaluate(BROKEN)
    page.screenshot(path=artifacts / "wait light.png")
    page.locator(".jp-InputPrompt", has_text="[4]").wait_for(timeout=60_000)
    assert page.evaluate(BROKEN) == broken == []
    assert {*page.evaluate(EDGES)} == {edge}
    heard = page.evaluate("window.heard")
    seconds = (heard[-1][0] - heard[0][0]) / 1000
    assert 3 <= len(heard) <= 2 * (seconds + 1)
    cells = notebook.save().cells
    (output,) = cells[2].outputs
    assert "segmind" in output.metadata
    assert "Asking" not in json.dumps(output)
    assert cells[3].outputs == []
    notebook.theme("JupyterLab Dark")
    page.screenshot(path=artifacts / "wait ended dark.png")
