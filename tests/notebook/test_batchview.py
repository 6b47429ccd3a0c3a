"""The view of a batch: one bar for all of it, and then what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

VIEW = "application/vnd.jupyter.widget-view+json"

#: A batch whose items a cell ends by hand, and what waits until no view is live.
BEGIN = """\
import threading
from segmind_jupyter import Batch, Reply, Usage
from segmind_jupyter.api.messages import Call
from segmind_jupyter.api.responses import failed
from segmind_jupyter.batch.items import PromptTemplate
from segmind_jupyter.batch.runner import Plan
from segmind_jupyter.session import session

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


@pytest.mark.kernel
def test_a_batch_shows_where_it_is_begun(page):
    """Also if it is only assigned: how many are done, how long the model takes, and Stop."""
    messages = page("batch = begun(by_hand(8))")
    (shown,) = messages.of("display_data")
    assert set(shown["data"]) == {VIEW, "text/html", "text/plain"}
    for words in ("0 of 8 done, 4 in flight", "claude-4-sonnet", "about 11 s for this model"):
        assert words in shown["data"]["text/html"]


@pytest.mark.kernel
def test_a_batch_that_is_the_value_of_its_cell_shows_once(page):
    """And again in any later cell that asks for it."""
    assert len(page("batch = begun(by_hand(8))\nbatch").of("display_data")) == 1
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
def test_pictures_and_typed_fields_are_shown_in_small(page, kernel):
    """What was asked about beside what came of it."""
    kernel.run("%segmind simulator")
    asked = "ask_each('Caption', [Image.new('RGB', (80, 60), 'red')], json={schema}).wait()"
    schema = {"type": "object", "properties": {"colour": {"type": "string"}}}
    messages = page(
        "from PIL import Image\nfrom segmind_jupyter import ask_each\n"
        + asked.format(schema={**schema, "required": ["colour"]})
    )
    *_, update = messages.of("update_display_data")
    html = update["data"]["text/html"].split("<table", 1)[1]
    assert 'src="data:image/png;base64,' in html
    assert "80×60" in html
    assert ">colour</th>" in html


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


@pytest.mark.kernel
def test_ask_each_shows_its_view(page, kernel):
    """From the first item to the summary, with a real batch."""
    kernel.run("%segmind simulator")
    messages = page(
        "from segmind_jupyter.batch import ask_each\n"
        "batch = ask_each('Say {item}', ['one', 'two', 'three'])\n"
        "batch.wait(60)"
    )
    assert len(messages.of("display_data")) == 1
    (update,) = messages.of("update_display_data")
    assert "3 of 3 done" in update["data"]["text/plain"]


@pytest.mark.kernel
def test_unloading_takes_the_view_back(kernel):
    """And loading again adds it once."""
    count = "from segmind_jupyter.session import session; len(session().batch_shows)"
    assert kernel.run(count).text == "1"
    kernel.run("%reload_ext segmind_jupyter")
    assert kernel.run(count).text == "1"
    kernel.run("%unload_ext segmind_jupyter")
    assert kernel.run(count).text == "0"
