"""The extension in real Jupyter kernels: interrupts and patched loops."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.kernel

KEY = "sk-live-0123456789abcdef"


@pytest.fixture
def kernel(shared_kernel):
    """One for these tests: none of them is about its death."""
    return shared_kernel


def test_a_figure_that_the_inline_backend_closed_is_described_below_its_cell(kernel, recorder):
    """The main job: HTML and text, with what was sent."""
    recorder.will_say("A **rising** line.")
    kernel.run("%matplotlib inline\nimport matplotlib.pyplot as plt")
    kernel.run("fig = plt.figure(figsize=(8, 4)); plt.plot([1, 3, 2]); plt.show()")
    assert "[]" in kernel.run("plt.get_fignums()").text
    output = kernel.run("%%claude\nDescribe {fig}.")
    assert output.status == "ok"
    assert "<strong>rising</strong>" in output.html
    assert "A **rising** line." in output.text
    assert "fig · Figure" in output.html
    assert [block["type"] for block in recorder.posts[0].blocks] == ["text", "image", "text"]


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


def test_loading_and_asking_patches_nothing(kernel):
    """The event loop's functions are the same objects before and after; top-level await works."""
    probe = (
        "import asyncio\nloop = asyncio.get_event_loop()\n"
        "[id(f) for f in (asyncio.run, asyncio.get_event_loop, asyncio.Task, asyncio.Future,"
        " type(loop).run_until_complete, type(loop).run_forever)]"
    )
    kernel.run("%unload_ext segmind_jupyter")
    before = kernel.run(probe)
    assert before.status == "ok"
    kernel.run("%load_ext segmind_jupyter")
    assert kernel.run("%%claude\nHi").status == "ok"
    code = "from segmind_jupyter import ask\nawait asyncio.sleep(0)\nask('Hi').text"
    assert "A sunset." in kernel.run(code).text
    assert kernel.run(probe).text == before.text


def test_an_error_is_short_and_the_key_is_nowhere(kernel, recorder):
    """In no output of the kernel, with every debug log on."""
    kernel.run("%xmode Verbose")
    kernel.run("import logging; logging.basicConfig(level=logging.DEBUG, force=True)")
    recorder.will_answer(406, {"error": f"{KEY} has not enough credits"})
    output = kernel.run("%%claude\nHi")
    assert output.status == "error"
    assert "InsufficientCreditsError" in output.text
    errors = [line for line in output.text.splitlines() if not line.startswith("DEBUG")]
    assert len(errors) <= 12
    assert KEY not in output.text + output.html


def test_a_front_end_is_answered_with_offers_and_with_the_next_input(kernel, recorder):
    """Tab by code points of the whole cell; `--code` has a cell inserted, and runs nothing."""
    kernel.run("fig = 1")
    code = "%%claude -c\nWhät 🎉\n\ndoes {f} show?"
    content = kernel.reply(kernel.client.complete(code, code.index("}")), timeout_s=60)
    start, end = content["cursor_start"], content["cursor_end"]
    assert [code[:start] + match + code[end:] for match in content["matches"]] == [
        "%%claude -c\nWhät 🎉\n\ndoes {fig} show?"
    ]
    (offer,) = content["metadata"]["_jupyter_types_experimental"]
    assert (offer["text"], offer["type"]) == ("fig", "int")
    recorder.will_say("Try:\n\n```python\nran = True\n```")
    answer = kernel.reply(kernel.send("%%claude --code\nHow?"), 60)
    assert answer["payload"] == [
        {"source": "set_next_input", "text": "ran = True", "replace": False}
    ]
    assert kernel.run("'ran' in globals()").text == "False"
