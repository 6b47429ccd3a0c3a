"""What a person sees of a job and of a batch: while they go on, at their end, after a reload."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.browser

#: A job and a batch that later cells move by hand.
BEGIN = """\
%load_ext segmind_jupyter
import os, threading, time
from segmind_jupyter import Reply, Usage
from segmind_jupyter.api.responses import failed
from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.responses import Completed, Failed, Processing
from segmind_jupyter.batch import Batch
from segmind_jupyter.batch.runner import Results

job = Job("2c7f8a10-5b1e-4d0e-9f6e", model="claude-4-sonnet", submitted_at=time.time() - 74)
job.move(Processing())

def answer():
    usage = Usage(435, 31)
    reply = Reply(text="A **rising** line.", model="claude-4-sonnet", usage=usage, cost=0.0021)
    job.finish(Completed(), reply=reply)

class ByHand(Batch):
    notes = ()
    progress = property(lambda self: self.results.progress)
    errors = property(lambda self: self.results.errors)

    def __init__(self, total):
        self.results = Results(total)
        for position in range(total):
            self.results.take()
        for position in range(total // 2):
            self.answer(position)

    def __len__(self):
        return self.progress.total

    def key(self, position):
        return position

    def answer(self, position):
        self.results.add_reply(position, Reply(text="x", usage=Usage(435, 31), cost=0.0021))

    def done(self):
        return self.results.end.done()

    def on_done(self, callback):
        self.results.end.add_done_callback(lambda end: callback(self))

batch = ByHand(12)"""

END_OF_BATCH = """\
error = failed("2c7f", "image <b>too</b> large")
for position in range(6, 12):
    batch.answer(position) if position % 2 else batch.results.add_error(position, error)"""

STATIC = {"text/html", "text/plain"}
THEMES = ("JupyterLab Light", "JupyterLab Dark")


def shoot(notebook, artifacts, name):
    for theme in THEMES:
        notebook.theme(theme)
        notebook.page.screenshot(path=artifacts / f"{name} {theme}.png")


def run_below(notebook, source):
    """Type a cell below the one that is selected, and run it."""
    notebook.page.evaluate(
        """async source => {
            const {commands, shell} = window.jupyterapp;
            await commands.execute('notebook:insert-cell-below');
            shell.currentWidget.content.activeCell.model.sharedModel.setSource(source);
            void commands.execute('notebook:run-cell');
        }""",
        source,
    )


def test_a_job_is_a_card_and_then_its_reply(open_notebook, lab, artifacts):
    """State, time, model, id and Stop; at the end the saved notebook holds the reply alone."""
    notebook = open_notebook(BEGIN, "job", height=1300)
    notebook.run_all()
    page = notebook.page
    for words in ("Processing", "1 min", "claude-4-sonnet", "2c7f8a10-5b1e-4d0e-9f6e"):
        page.locator(".jp-OutputArea-output").get_by_text(words).wait_for()
    assert page.get_by_role("button", name="Stop").is_visible()
    shoot(notebook, artifacts, "job pending")
    run_below(notebook, "answer()")
    page.locator(".segmind-reply strong", has_text="rising").wait_for()
    page.get_by_role("button", name="Stop").wait_for(state="detached")
    shoot(notebook, artifacts, "job ended")
    (output,) = notebook.save().cells[1].outputs
    assert set(output.data) == STATIC
    assert notebook.foreign_requests(lab.url) == []


def test_one_click_selects_the_id_and_it_stays_selected(open_notebook):
    """To be copied, while the line above it changes every second."""
    notebook = open_notebook(BEGIN, "job", height=1300)
    notebook.run_all()
    page = notebook.page
    page.get_by_text("2c7f8a10-5b1e-4d0e-9f6e", exact=True).click()
    before = page.get_by_text("1 min").inner_text()
    page.wait_for_function(
        "before => !document.querySelector('.jp-OutputArea-output').innerText.includes(before)",
        arg=before.split()[-2] + " s",
    )
    assert page.evaluate("String(getSelection())").strip() == "2c7f8a10-5b1e-4d0e-9f6e"


def test_the_card_becomes_the_reply_while_the_kernel_is_busy(open_notebook, tmp_path):
    """The cell that keeps it busy ends only after the page has changed."""
    seen = tmp_path / "seen"
    busy = (
        "threading.Thread(target=answer).start()\n"
        f"while not os.path.exists({str(seen)!r}): time.sleep(0.01)"
    )
    notebook = open_notebook(BEGIN, "job", busy)
    page = notebook.page
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    page.locator(".segmind-reply strong", has_text="rising").wait_for(timeout=60_000)
    assert page.locator(".jp-InputPrompt", has_text="[*]").count() == 1
    seen.touch()
    page.locator(".jp-InputPrompt", has_text="[3]").wait_for()


def test_a_page_that_was_reloaded_sees_the_reply(open_notebook, artifacts):
    """The update does not reach it; its widget's state does."""
    notebook = open_notebook(BEGIN, "job", height=1300)
    notebook.run_all()
    notebook.save()
    page = notebook.page
    page.reload()
    page.get_by_role("button", name="Stop").wait_for(timeout=90_000)
    run_below(notebook, "answer()")
    page.locator(".segmind-reply strong", has_text="rising").wait_for()
    page.get_by_role("button", name="Stop").wait_for(state="detached")
    page.screenshot(path=artifacts / "job reloaded.png")


def test_stop_says_what_stopping_means(open_notebook, artifacts):
    """One click; the error takes the place of the card."""
    notebook = open_notebook(BEGIN, "job", height=1300)
    notebook.run_all()
    page = notebook.page
    page.get_by_role("button", name="Stop").click()
    page.locator(".segmind-reply", has_text="JobCancelled").wait_for()
    shown = page.locator(".segmind-reply").inner_text()
    assert "may still be billed" in shown
    assert "%segmind resume 2c7f8a10-5b1e-4d0e-9f6e" in shown
    shoot(notebook, artifacts, "job stopped")
    (output,) = notebook.save().cells[1].outputs
    assert set(output.data) == STATIC


def test_a_batch_is_a_bar_and_then_a_summary(open_notebook, lab, artifacts):
    """Numbers, a bar half full and Stop; then the errors, as text."""
    notebook = open_notebook(BEGIN, "batch", height=1300)
    notebook.run_all()
    page = notebook.page
    page.get_by_text("6 of 12 done, 6 in flight").wait_for()
    bar = page.locator(".progress-bar")
    full = bar.evaluate("bar => bar.offsetWidth / bar.parentElement.offsetWidth")
    assert full == pytest.approx(0.5, abs=0.02)
    assert bar.bounding_box()["height"] >= 4
    shoot(notebook, artifacts, "batch pending")
    run_below(notebook, END_OF_BATCH)
    summary = page.locator(".segmind-reply", has_text="9 of 12 done, 3 failed")
    summary.wait_for()
    assert "image <b>too</b> large" in summary.inner_text()
    assert "Item 6 and 2 more" in summary.inner_text()
    shoot(notebook, artifacts, "batch ended")
    (output,) = notebook.save().cells[1].outputs
    assert set(output.data) == STATIC
    assert notebook.foreign_requests(lab.url) == []


def test_a_notebook_saved_before_the_end_tells_how_to_go_on(open_notebook):
    """In the file, for whatever shows no widgets; JupyterLab itself prefers the widget."""
    notebook = open_notebook(BEGIN, "job", height=1300)
    notebook.run_all()
    (output,) = notebook.save().cells[1].outputs
    assert "%segmind resume 2c7f8a10-5b1e-4d0e-9f6e" in output.data["text/html"]
    assert "2c7f8a10-5b1e-4d0e-9f6e" in output.data["text/plain"]
    assert "processing" in json.dumps(output.data).lower()
