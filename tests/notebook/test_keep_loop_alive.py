"""`%config ClaudeMagics.keep_loop_alive`: the user's tasks run while a cell waits, on request."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from traitlets import TraitError

from segmind_jupyter.errors import SettingsError
from segmind_jupyter.notebook.config import keep_alive

ON = "%config ClaudeMagics.keep_loop_alive = True"
OFF = "%config ClaudeMagics.keep_loop_alive = False"
VALUE = "%config ClaudeMagics.keep_loop_alive"

#: A task as a user would start it, and how often it has come round.
TICKER = """
import asyncio
ticks = 0
async def tick():
    global ticks
    while True:
        await asyncio.sleep(0.01)
        ticks += 1
ticker = asyncio.create_task(tick())
"""

#: A task that lets the server answer, so that a wait ends only if the task runs meanwhile.
HELPER = """
import os, asyncio
from urllib.request import urlopen
async def help_out():
    await asyncio.sleep(0.05)
    await asyncio.to_thread(urlopen, os.environ["SEGMIND_BASE_URL"])
helper = asyncio.create_task(help_out())
"""

#: One cell, so that the task has no other occasion to run.
ASK_AND_COUNT = "before = ticks\nreply = %claude Hi\nprint(reply.text, ticks - before)"
ASK_WITH_HELP = HELPER + "reply = %claude Hi\nprint(reply.text)"


def will_answer_once_helped(recorder):
    """Answer the POST when a GET has come, or after a minute without one, and say which."""

    def answer(request):
        if request.method == "GET":
            recorder.release.set()
            return 200, {}, b"{}"
        text = "Helped." if recorder.release.wait(60) else "Not helped."
        return 200, {}, json.dumps({"content": [{"type": "text", "text": text}]}).encode()

    recorder.answers += [answer, answer]


def counted(output):
    """How often the ticker came round while `ASK_AND_COUNT` waited."""
    assert output.status == "ok", output.text
    return int(output.text.split()[-1])


@pytest.mark.kernel
@pytest.mark.parametrize("before", ["import nest_asyncio2; nest_asyncio2.apply()", ON])
def test_a_task_of_the_user_runs_while_a_cell_waits(kernel, recorder, before):
    """Also if the user had patched the loop by the same package, or had set it before."""
    kernel.run(before)
    assert kernel.run(ON).text == ""
    will_answer_once_helped(recorder)
    assert kernel.run(ASK_WITH_HELP).text == "Helped.\n"


@pytest.mark.kernel
def test_the_cell_that_sets_it_and_one_that_takes_it_back_wait_as_before(kernel, recorder):
    """The turn of the loop that runs it is not a patched one: ipykernel 6 would die of another."""
    kernel.run(TICKER)
    assert "False" in kernel.run(VALUE).text
    queued = [kernel.send(code) for code in (f"{ON}\n{ASK_AND_COUNT}", "1 + 1")]
    first, second = [kernel.collect(message_id) for message_id in queued]
    assert counted(first) == 0
    assert second.text == "2"
    will_answer_once_helped(recorder)
    assert kernel.run(ASK_WITH_HELP).text == "Helped.\n"
    kernel.run(OFF)
    assert counted(kernel.run(ASK_AND_COUNT)) == 0


@pytest.mark.kernel
def test_queued_cells_and_widget_messages_keep_their_order(kernel, recorder):
    """Run All: none is run inside the cell that waits, and none is lost."""
    kernel.run(ON)
    kernel.run(
        "order = []\n"
        "def opened(comm, message):\n"
        "    comm.on_msg(lambda message: order.append('message'))\n"
        "get_ipython().kernel.comm_manager.register_target('noted', opened)"
    )
    send_comm(kernel, "comm_open", target_name="noted", data={})
    recorder.will_hang()
    queued = [kernel.send("%%claude -o reply\nHi")]
    assert recorder.asked.wait(60)
    queued.append(kernel.send("order.append(reply.text)"))
    send_comm(kernel, "comm_msg", data={})
    queued += [kernel.send("%%claude -o reply\nAgain"), kernel.send("order.append(len(In) - 1)")]
    recorder.release.set()
    recorder.will_say("Second.")
    assert [kernel.collect(message_id).status for message_id in queued] == ["ok"] * 4
    assert kernel.run("order, len(In) - 1").text == "(['A sunset.', 'message', 7], 8)"


def send_comm(kernel, kind, **content):
    message = kernel.client.session.msg(kind, {"comm_id": "only", **content})
    kernel.client.shell_channel.send(message)


@pytest.mark.kernel
def test_interrupt_ends_the_wait_and_leaves_the_tasks(kernel, recorder):
    """In under a second, though a busy task holds the loop most of the time; it goes on too."""
    kernel.run(ON)
    kernel.run(TICKER)
    kernel.run(
        "import time\n"
        "async def work():\n"
        "    while True:\n"
        "        end = time.monotonic() + 0.02\n"
        "        while time.monotonic() < end: pass\n"
        "        await asyncio.sleep(0)\n"
        "worker = asyncio.create_task(work())"
    )
    recorder.will_hang()
    waiting, queued = kernel.send("%%claude\nHi"), kernel.send("print('not reached')")
    assert recorder.asked.wait(60)
    kernel.manager.interrupt_kernel()
    began = time.monotonic()
    output = kernel.collect(waiting)
    # The contract's own bound, and no benchmark: the server would hang for a minute.
    assert time.monotonic() - began < 1
    assert "may still be billed" in " ".join(output.text.split())
    assert "not reached" not in kernel.collect(queued).text
    kernel.settle()
    assert kernel.run("worker.done(), ticker.done()").text == "(False, False)"
    assert "A sunset." in kernel.run("%%claude\nAgain").text


def test_it_is_refused_where_no_loop_runs(shell, run, caplog):
    """A terminal has nothing to keep alive; `%config` says so in one line."""
    with caplog.at_level(logging.ERROR):
        run(ON)
    assert "none to keep alive" in caplog.text
    magics = shell.magics_manager.registry["ClaudeMagics"]
    assert magics.keep_loop_alive is False
    with pytest.raises(TraitError, match="keep alive"):
        magics.keep_loop_alive = True


class ForeignLoop(asyncio.AbstractEventLoop):
    """A loop that is none of asyncio's own, as uvloop's is, where that is not installed."""


def test_it_is_refused_where_it_cannot_work(shell):
    """On a foreign loop, in a subshell's thread, beside nest_asyncio; nothing was patched."""

    async def cell(how, said):
        how(asyncio.get_running_loop())
        with pytest.raises(SettingsError, match=said):
            keep_alive(shell)

    def on_a_foreign_loop(loop):
        asyncio._set_running_loop(ForeignLoop())

    def beside_nest_asyncio(loop):
        loop._nest_patched = True

    asyncio.run(cell(on_a_foreign_loop, "ForeignLoop cannot.*--job"))
    asyncio.run(cell(beside_nest_asyncio, "nest_asyncio has patched.*restart the kernel"))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, cell(type, "main thread")).result()
    assert not hasattr(asyncio, "_nest_patched")
