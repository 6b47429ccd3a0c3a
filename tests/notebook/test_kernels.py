"""The extension in real Jupyter kernels: interrupts, patched loops, saved notebooks."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.kernel


@pytest.fixture
def kernel(shared_kernel):
    """One for all of these tests: none of them is about its death."""
    return shared_kernel


KEY = "sk-live-0123456789abcdef"


def test_a_plot_is_described_below_its_cell(kernel, recorder):
    """The main job: HTML and text, with what was sent."""
    recorder.will_say("A **rising** line.")
    kernel.run("import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\nax.plot([1, 2]);")
    output = kernel.run("%%claude\nDescribe {fig}.")
    assert output.status == "ok"
    assert "<strong>rising</strong>" in output.html
    assert "A **rising** line." in output.text
    assert "fig · Figure" in output.html
    assert [block["type"] for block in recorder.posts[0].blocks] == ["text", "image", "text"]


def test_a_figure_that_the_inline_backend_closed_is_sent_whole(kernel, recorder):
    """The backend closes figures at the end of each cell; a kept one still draws."""
    kernel.run("%matplotlib inline\nimport matplotlib.pyplot as plt")
    kernel.run("fig = plt.figure(figsize=(8, 4)); plt.plot([1, 3, 2]); plt.show()")
    assert kernel.run("%%claude\n{fig}").status == "ok"
    assert recorder.posts[0].blocks[0]["type"] == "image"
    assert "[]" in kernel.run("plt.get_fignums()").text


def test_interrupting_a_waiting_cell_answers_in_under_a_second(kernel, recorder):
    """The cell ends with one line, the request is cancelled, and the kernel goes on."""
    recorder.will_hang()
    waiting = kernel.send("%%claude\nHi")
    assert recorder.asked.wait(60)
    kernel.manager.interrupt_kernel()
    began = time.monotonic()
    output = kernel.collect(waiting)
    # The contract's own bound, and no benchmark: the server would hang for a minute.
    assert time.monotonic() - began < 1
    assert output.status == "error"
    assert "may still be billed" in " ".join(output.text.split())
    assert "Traceback" not in output.text
    recorder.release.set()
    kernel.settle()
    assert kernel.run("%%claude\nAgain").status == "ok"
    assert len(recorder.posts) == 2


@pytest.mark.parametrize("patch", ["nest_asyncio", "nest_asyncio2"])
def test_a_loop_that_the_user_patched_changes_nothing(start, recorder, patch):
    """Blocking cells work before and after, also with a second cell queued (Run All)."""
    kernel = start()
    kernel.run("%load_ext segmind_jupyter")
    assert kernel.run(f"import {patch}; {patch}.apply()").status == "ok"
    recorder.will_say("first")
    recorder.will_say("second")
    queued = [kernel.send("%%claude\nOne"), kernel.send("%%claude\nTwo")]
    outputs = [kernel.collect(message_id) for message_id in queued]
    assert [output.status for output in outputs] == ["ok", "ok"]
    assert "first" in outputs[0].text
    assert "second" in outputs[1].text


def test_loading_and_asking_patches_nothing(start):
    """The event loop's functions are the same objects before and after."""
    kernel = start()
    probe = (
        "import asyncio\nloop = asyncio.get_event_loop()\n"
        "[id(f) for f in (asyncio.run, asyncio.get_event_loop, asyncio.Task, asyncio.Future,"
        " type(loop).run_until_complete, type(loop).run_forever)]"
    )
    before = kernel.run(probe)
    assert before.status == "ok"
    kernel.run("%load_ext segmind_jupyter")
    assert kernel.run("%%claude\nHi").status == "ok"
    assert kernel.run(probe).text == before.text


def test_ask_works_in_a_cell_with_top_level_await(kernel):
    """The kernel's loop is running; the request runs on another."""
    code = "import asyncio\nfrom segmind_jupyter import ask\nawait asyncio.sleep(0)\nask('Hi').text"
    assert "A sunset." in kernel.run(code).text


@pytest.mark.parametrize("mode", ["Verbose", "Context"])
def test_an_error_is_short_and_the_key_is_nowhere(kernel, recorder, mode):
    """In no output of the kernel, with every debug log on."""
    kernel.run(f"%xmode {mode}")
    kernel.run("import logging; logging.basicConfig(level=logging.DEBUG, force=True)")
    recorder.will_answer(406, {"error": f"{KEY} has not enough credits"})
    output = kernel.run("%%claude\nHi")
    assert output.status == "error"
    assert "InsufficientCreditsError" in output.text
    errors = [line for line in output.text.splitlines() if not line.startswith("DEBUG")]
    assert len(errors) <= 12
    assert KEY not in output.text + output.html


def test_a_bad_option_fails_the_cell(kernel, recorder):
    """A usage error stops Run All, as any error does."""
    assert kernel.run("%%claude --nonsense\nHi").status == "error"
    assert recorder.requests == []


def test_two_kernels_do_not_share_what_was_set(start):
    """The simulator of one notebook is not the simulator of another."""
    first, second = start(), start()
    for kernel in (first, second):
        kernel.run("%load_ext segmind_jupyter")
    first.run("%segmind simulator")
    assert "simulator" in first.run("%segmind").text
    assert "http://127.0.0.1" in second.run("%segmind").text
