"""The cards of jobs and batches: in a terminal lines, in a kernel widgets that become the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from segmind_jupyter.notebook.live.cards import BatchView

CORPUS_FILE = Path(__file__).with_name("hostile.json")
KEY = "sk-live-0123456789abcdef"

VIEW = "application/vnd.jupyter.widget-view+json"

#: Jobs and batches that cells move by hand, and what waits until no card is live.
BEGIN = """\
import threading, time
from segmind_jupyter import Batch, Reply, Usage
from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.messages import Call
from segmind_jupyter.api.responses import expired, failed
from segmind_jupyter.api.responses import Completed, Expired, Failed, Processing
from segmind_jupyter.batch.items import PromptTemplate
from segmind_jupyter.batch.runner import Plan
from segmind_jupyter.session import session

def new(name="2c7f-1", **fields):
    return Job(name, model="claude-4-sonnet", submitted_at=time.time(), **fields)

def reply(job, text="A **rising** line."):
    job.finish(Completed(), reply=Reply(text=text, model="claude-4-sonnet"))

def by_hand(total):
    each = PromptTemplate("{item}", {f"<b>{n}": n for n in range(total)})
    call = Call(model="claude-4-sonnet")
    batch = Batch(each, Plan(call=call, max_in_flight=1, resumes=True, stops_at_error=False))
    for _ in range(total // 2):
        batch._take()
    return batch

def answer(batch, *positions):
    for position in positions:
        reply = Reply(text=f"**x{position}**", usage=Usage(100, 10), cost=0.5)
        batch._add_reply(position, reply)

def begun(batch):
    for show in session().batch_shows:
        show(batch)
    return batch

def until_static():
    for thread in threading.enumerate():
        if thread.name == "segmind-jupyter-live":
            thread.join(60)
"""


@pytest.fixture
def kernel(shared_kernel: Any) -> Any:
    """One kernel serves all tests of this module."""
    return shared_kernel


@pytest.fixture
def page(kernel: Any) -> Callable[[str], Any]:
    """Run a cell in a kernel with the names above, and give what its page was sent."""
    kernel.run(BEGIN)
    return kernel.page


def states(messages: Any) -> list[dict[str, Any]]:
    """Every state of a widget that went to the page."""
    contents = messages.of("comm_open", "comm_msg")
    return [content["data"].get("state", {}) for content in contents]


def pages(messages: Any) -> list[str]:
    """Every piece of HTML that went to the page, in whichever way."""
    data = [c["data"] for c in messages.of("display_data", "update_display_data")]
    values = [state["value"] for state in states(messages) if isinstance(state.get("value"), str)]
    return [bundle["text/html"] for bundle in data if "text/html" in bundle] + values


# In a shell without a kernel.


def test_a_job_on_a_terminal_is_a_line_its_reply_or_its_error(run):
    """In a list it is short; it holds no thread, as a terminal has no live outputs."""
    run(BEGIN)
    cell = run("new('2c7f-1')")
    assert cell.stdout.strip().endswith(
        "Job 2c7f-1 · claude-4-sonnet · queued · `_.wait()` or `%segmind wait` shows its reply."
    )
    assert cell.result.request_id == "2c7f-1"
    assert "[<Job 2c7f-1 claude-4-sonnet QUEUED>]" in run("[new()]").stdout
    assert "A **rising** line." in run("job = new(); reply(job)\njob").stdout
    end = "job.finish(Failed(), error=failed('2c7f-1', 'no \\x1b[31mimage'))"
    assert "JobFailed: Job 2c7f-1 failed: no image." in run(f"job = new(); {end}\njob").stdout
    assert "segmind-jupyter-live" not in {thread.name for thread in threading.enumerate()}


def test_a_batch_says_how_far_it_is_and_then_what_came_of_it(run):
    """Beside each reply its item: a picture in small, or its words; errors are boxes."""
    run("%segmind simulator\nfrom PIL import Image\nfrom segmind_jupyter import ask_each")
    items = "[{'q': 'fail: <i>'}, {'q': 'Three'}, {'q': Image.new('RGB', (60, 30))}]"
    schema = "{'type': 'object', 'properties': {'n': {'type': 'integer'}}, 'required': ['n']}"
    batch = run(f"ask_each('{{q}}', {items}, json={schema}, progress=False).wait()").result
    view = BatchView(batch, {"_": batch, "mine": batch})
    for bundle in (view.pending(), view.ended()[0]):
        assert "2 of 3 done, 1 failed" in bundle["text/plain"]
        for words in ("width:66.7%", ">n</td>", 'alt="', "q: Three"):
            assert words in bundle["text/html"], words
    assert "Item 0: JobFailed:" in bundle["text/plain"]
    assert "`mine.to_frame()` has the replies as a table" in bundle["text/plain"]
    assert "to_frame" not in BatchView(batch, {"_": batch}).ended()[0]["text/plain"]
    assert "<i>" not in bundle["text/html"]


# In a kernel.


@pytest.mark.kernel
def test_the_card_becomes_the_reply_while_a_later_cell_keeps_the_kernel_busy(page):
    """First the widgets hold it, for a page that was reloaded; then the output is replaced."""
    begun = page("job = new()\njob")
    (shown,) = begun.of("display_data")
    assert set(shown["data"]) == {VIEW, "text/html", "text/plain"}
    assert "%segmind resume 2c7f-1" in shown["data"]["text/html"]
    assert begun.of("execute_result") == []
    messages = page(
        "threading.Thread(target=reply, args=(job,)).start(); until_static(); print('free again')"
    )
    kinds = [message["msg_type"] for message in messages]
    assert kinds.index("update_display_data") < kinds.index("stream")
    assert kinds.index("comm_msg") < kinds.index("update_display_data")
    (update,) = messages.of("update_display_data")
    assert update["transient"] == shown["transient"]
    assert set(update["data"]) == {"text/html", "text/plain"}
    assert "<strong>rising</strong>" in update["data"]["text/html"]
    assert update["metadata"]["segmind"]["model"] == "claude-4-sonnet"
    assert update["data"]["text/html"] in [state.get("value") for state in states(messages)]


ENDS = {
    "JobFailed": "job.finish(Failed(), error=failed('2c7f-1', 'image too large'))",
    "JobExpired": "job.finish(Expired(), error=expired('2c7f-1'))",
    "JobCancelled": "job.cancel()",
}


@pytest.mark.kernel
def test_a_job_without_a_reply_shows_its_error_in_the_place_of_the_card(page):
    """With the words of the error, as it would be raised."""
    for name, finish in ENDS.items():
        (update,) = page(f"job = new()\ndisplay(job)\n{finish}").of("update_display_data")
        assert update["data"]["text/plain"].startswith(f"{name}: Job 2c7f-1 ")
        assert "<strong>Job 2c7f-1 " in update["data"]["text/html"]
        assert f">{name}<" in update["data"]["text/html"]
        assert update["metadata"] == {}


@pytest.mark.kernel
def test_a_cell_that_captures_its_output_does_not_swallow_the_reply_of_another(page):
    """The end of a job goes to the page that its card is on."""
    page("job = new()\njob")
    captured = page("%%capture\nreply(job); until_static()")
    assert len(captured.of("update_display_data")) == 1


HOSTILE = """\
import json, pathlib
from segmind_jupyter.errors import JobFailed
corpus = [case["text"] for case in json.loads(pathlib.Path({path!r}).read_text("utf-8"))]
texts = [text for text in corpus if len(text) < 2000][::6]

def shown(text):
    for ending in ("reply", "error"):
        job = Job(text[:300], model=text[:300])
        display(job)
        if ending == "reply":
            job.finish(Completed(), reply=Reply(text=text, model=text))
        else:
            job.finish(Failed(text), error=JobFailed(text))

print(len(texts))
"""


@pytest.mark.kernel
def test_no_hostile_word_is_live_on_the_page(page, walk):
    """Replies, errors, ids and models of the corpus: in cards, in widgets, and at the end."""
    printed = page(HOSTILE.format(path=str(CORPUS_FILE))).printed()
    count = int(printed)
    assert count >= 40
    # A few in each cell: a kernel drops messages that its client is too slow to take.
    for first in range(0, count, 10):
        messages = page(f"for text in texts[{first}:{first + 10}]: shown(text)\nuntil_static()")
        ended = messages.of("update_display_data")
        assert len(ended) == 2 * min(10, count - first)
        for html in pages(messages):
            walk(html)


@pytest.mark.kernel
def test_a_batch_that_is_the_value_of_its_cell_shows_once(page):
    """How many are done, and how long the model takes; again in a later cell that asks for it."""
    (shown,) = page("batch = begun(by_hand(8))\nbatch").of("display_data")
    assert set(shown["data"]) == {VIEW, "text/html", "text/plain"}
    for words in ("0 of 8 done, 4 in flight", "claude-4-sonnet", "about 11 s for this model"):
        assert words in shown["data"]["text/html"]
    assert len(page("batch").of("display_data")) == 1
    messages = page("batch = by_hand(2); batch._take(); answer(batch, 0, 1)\nbatch")
    (shown,) = messages.of("display_data")  # one that has ended is its summary at once
    assert "2 of 2 done" in shown["data"]["text/plain"]
    assert messages.of("comm_open", "update_display_data") == []


@pytest.mark.kernel
def test_numbers_bar_and_replies_follow_the_batch(page):
    """What it took and is likely to take, time left, and each reply."""
    messages = page("batch = begun(by_hand(8))\nanswer(batch, 0, 1)")
    said = str(messages.of("comm_msg"))
    for words in (
        "2 of 8 done, 2 in flight", "200 tokens in, 20 out", "1 credits", "left", "25.0%",
        "about 4 credits in all", "&lt;b&gt;1", "<strong>x1</strong>", ">0.5<",
    ):  # fmt: skip
        assert words in said, words


@pytest.mark.kernel
def test_a_long_batch_shows_its_first_replies_and_folds_the_next(page):
    """Its own variable is named."""
    messages = page(
        "captions = begun(by_hand(600)); answer(captions, *range(300)); captions.cancel()"
    )
    (update,) = messages.of("update_display_data")
    opened, folded = update["data"]["text/html"].split("<details>")
    assert ("x19<" in opened, "x20<" in opened, "x20<" in folded) == (True, False, True)
    assert "200 more replies" in folded
    assert ("x219<" in folded, "x220<" in folded) == (True, False)
    assert "and 80 more replies" in folded
    assert "captions.to_frame()</code> has the replies" in folded


@pytest.mark.kernel
def test_the_view_ends_as_a_summary_with_the_first_errors(page):
    """Escaped, by item, the same ones once; as HTML and as text, with the way to the rest."""
    messages = page(
        "batch = begun(by_hand(8))\n"
        "answer(batch, 0, 1)\n"
        "batch._add_error(2, failed('2c7f-3', '<img src=x onerror=alert(1)>'))\n"
        "batch._add_error(3, failed('2c7f-4', '\\x1b[31mred'))\n"
        "batch.cancel()"
    )
    (update,) = messages.of("update_display_data")
    page_, text = update["data"]["text/html"], update["data"]["text/plain"]
    assert set(update["data"]) == {"text/html", "text/plain"}
    assert "2 of 8 done, 2 failed, 4 not sent" in page_
    assert "<strong>Item &#x27;&lt;b&gt;2&#x27;: Job 2c7f-3 failed: &lt;img src=x" in page_
    assert "<img" not in page_ + str(messages.of("comm_open", "comm_msg"))
    assert "Item '<b>3': JobFailed: Job 2c7f-4 failed: red." in text
    assert "Item '<b>4' and 3 more: JobCancelled: Not sent" in text
    assert "`batch.to_frame()` has the replies" in text
    assert "`batch.errors` all 6 errors" in text


@pytest.mark.kernel
def test_stop_cancels_the_batch(page, kernel):
    """A click on the button, as a front end sends it."""
    opened = page("batch = begun(by_hand(8))").of("comm_open")
    (button,) = [c["comm_id"] for c in opened if c["data"]["state"].get("description") == "Stop"]
    kernel.click(button)
    messages = page("answer(batch, 0, 1, 2, 3); until_static()")
    assert "4 of 8 done, 4 not sent" in str(messages.of("update_display_data"))
