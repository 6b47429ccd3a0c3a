"""What a person sees of a job: while they go on, at their end, after a reload."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

#: Jobs that later cells move by hand.
BEGIN = """\
%load_ext segmind_jupyter
import os, threading, time
from segmind_jupyter import Reply, Usage
from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.responses import Completed, Failed, Processing

def begun(n):
    job = Job(f"2c7f8a10-5b1e-4d0e-{n}", model="claude-4-sonnet", submitted_at=time.time() - 74)
    job.move(Processing())
    return job

jobs = [begun(n) for n in range(2)]

def answer(n):
    usage = Usage(435, 31)
    reply = Reply(text="A **rising** line.", model="claude-4-sonnet", usage=usage, cost=0.0021)
    jobs[n].finish(Completed(), reply=reply)"""

STATIC = {"text/html", "text/plain"}


@pytest.fixture(scope="module")
def notebook(open_for_module):
    """Two jobs, each in a cell and for a test of its own."""
    notebook = open_for_module(f"{BEGIN}\njobs[0]", "jobs[1]", height=1300)
    notebook.run_all()
    return notebook


def replied(cell):
    """Wait until a job's card is its reply."""
    cell.locator(".segmind-reply strong", has_text="rising").wait_for(timeout=60_000)
    cell.get_by_role("button", name="Stop").wait_for(state="detached")


def test_a_job_is_a_card_and_then_its_reply(notebook, lab, artifacts):
    """State, time, model, id and Stop; then the reply alone, also in the file."""
    card, page = notebook.cell(0), notebook.page
    for words in ("Processing", "1 min", "claude-4-sonnet", "2c7f8a10-5b1e-4d0e-0"):
        card.locator(".jp-OutputArea-output").get_by_text(words).wait_for()
    assert card.get_by_role("button", name="Stop").is_visible()
    # One click selects the id, and it stays selected while the line above it changes.
    card.get_by_text("2c7f8a10-5b1e-4d0e-0", exact=True).click()
    before = card.get_by_text("1 min").inner_text()
    page.wait_for_function(
        "before => !document.querySelector('.jp-OutputArea-output').innerText.includes(before)",
        arg=before.split()[-2] + " s",
    )
    assert page.evaluate("String(getSelection())").strip() == "2c7f8a10-5b1e-4d0e-0"
    notebook.shoot(artifacts / "job pending")
    notebook.run_last("answer(0)")
    replied(card)
    notebook.shoot(artifacts / "job ended")
    *_, output = notebook.save().cells[0].outputs
    assert set(output.data) == STATIC
    assert notebook.foreign_requests(lab.url) == []


def test_a_page_that_was_reloaded_sees_the_reply(notebook, artifacts):
    """The update does not reach it; its widget's state does."""
    notebook.save()
    notebook.page.reload()
    card = notebook.cell(1)
    card.get_by_role("button", name="Stop").wait_for(timeout=90_000)
    notebook.run_last("answer(1)")
    replied(card)
    notebook.page.screenshot(path=artifacts / "job reloaded.png")
