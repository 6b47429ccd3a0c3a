"""Outputs in a notebook that is converted to Markdown: their HTML stays HTML, to its end."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.content.prompt import Prompt
from segmind_jupyter.errors import JobFailed
from segmind_jupyter.notebook.display.reply import failure_bundle, reply_html
from segmind_jupyter.notebook.display.request import request_html
from segmind_jupyter.session import Request

pytestmark = pytest.mark.heavy

CORPUS = json.loads(Path(__file__).with_name("hostile.json").read_text("utf-8"))

#: Where a blank line can stand that is no end of a paragraph.
PLACES = (
    "```\na\n\n{}\n```",
    "    a\n\n    {}",
    "`a\n\n{}",
    "| a |\n|-|\n| b |\n\n{}",
    "$$a\n\n{}$$",
)

#: What would be fetched, or run, as Markdown.
LIVE = "![x](http://evil.example/leak.png)\n \n<script>alert(1)</script>\n\t\n# Heading"


def is_one_block(page: str) -> bool:
    """Tell whether a reader of CommonMark takes it for one block of HTML."""
    tokens = MarkdownIt("commonmark", {"html": True}).parse(f"\n\n{page}\n\n")
    return [token.type for token in tokens] == ["html_block"]


def pages(text: str) -> list[str]:
    """What is shown of a reply, of a prompt and of a server's words that are this text."""
    request = Request(prompt=Prompt((text,)), model="claude-4-sonnet", system=text)
    return [
        reply_html(Reply(text=text)),
        request_html(request),
        failure_bundle(JobFailed(text, request_id="2c7f"))["text/html"],
    ]


@pytest.mark.parametrize("place", PLACES)
def test_a_blank_line_does_not_end_the_html(place):
    """In code, in maths, in a prompt that stands as it was typed."""
    assert all(map(is_one_block, pages(place.format(LIVE))))


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["name"])
def test_no_hostile_text_gets_out(case):
    """None of the corpus, alone or behind a blank line in code."""
    for text in (case["text"], f"```\n\n{case['text']}\n\n```"):
        assert all(map(is_one_block, pages(text)))


@given(st.text(alphabet="`\n \t\r\x0b\x0c\u2028<>*_#a", max_size=60) | st.text(max_size=60))
def test_no_text_gets_out(text):
    """Whatever it holds."""
    assert all(map(is_one_block, pages(text)))


@pytest.mark.kernel
def test_a_converted_notebook_has_nothing_live_in_it(start, recorder):
    """The whole way, for a cell and for a chat: executed, converted, and read as Markdown."""
    from nbconvert import MarkdownExporter

    cells = [
        "%load_ext segmind_jupyter",
        "%%claude\nHi",
        "from segmind_jupyter import Chat\nchat = Chat(mode='v1')\nchat.send('a\\n\\n# b').wait();",
        "chat",
    ]
    notebook = nbformat.v4.new_notebook()
    kernel = start()
    recorder.will_say(f"```\na\n\n{LIVE}\n```")
    recorder.will_say(f"```\na\n\n{LIVE}\n```")
    for source in cells:
        outputs = kernel.run(source).data
        notebook.cells.append(
            nbformat.v4.new_code_cell(
                source,
                outputs=[nbformat.v4.new_output("display_data", data=data) for data in outputs],
            )
        )
    text, _ = MarkdownExporter().from_notebook_node(notebook)
    assert text.count("evil.example") == 2
    assert not _live_elements(text)


def _live_elements(markdown: str) -> list[str]:
    """Give what a reader of Markdown makes of it that would be fetched or run."""
    page = MarkdownIt("commonmark", {"html": True}).render(markdown)
    return re.findall(r"<script|<h1|<img(?![^>]*src=.data:)", page, re.IGNORECASE)
