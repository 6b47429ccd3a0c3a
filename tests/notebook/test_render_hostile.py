"""Hostile replies: whatever a reply holds, nothing in its HTML is live."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from segmind_jupyter.api.messages import Reply, Usage, user_message
from segmind_jupyter.content.prompt import Prompt
from segmind_jupyter.errors import JobFailed
from segmind_jupyter.notebook.display.markdown import body_html
from segmind_jupyter.notebook.display.reply import (
    failure_bundle,
    reply_html,
    reply_text,
)
from segmind_jupyter.notebook.display.request import request_html
from segmind_jupyter.notebook.display.styles import framed
from segmind_jupyter.session import Request
from segmind_jupyter.words import to_text

Walk = Callable[[str], str]
CORPUS = json.loads(Path(__file__).with_name("hostile.json").read_text("utf-8"))
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)


def test_a_hostile_reply_holds_nothing_live(walk: Walk) -> None:
    """The HTML of each reply of the corpus passes the walker, with its footer, and is not empty."""
    assert len({case["name"] for case in CORPUS}) == len(CORPUS) >= 300
    for case in CORPUS:
        text = case["text"]
        assert walk(reply_html(Reply(text=text, model=text), notes=[text])).strip(), case["name"]


def test_a_hostile_reply_is_quiet_in_a_terminal() -> None:
    """As text, also drawn, each reply holds no control, hidden or reordering character."""
    for case in CORPUS:
        reply = Reply(text=case["text"], model=case["text"])
        drawn = reply_text(reply, is_rich=True, notes=[case["text"]])
        drawn = re.sub(r"\x1b\[[\d;]*m", "", drawn)  # colours, which are rich's
        for text in (reply_text(reply, notes=[case["text"]]), drawn):
            assert not UNSEEN.search(text.replace("\n", "").replace("\t", "")), case["name"]


def test_raw_html_stays_readable(walk: Walk) -> None:
    """What a reply typed as HTML is shown as typed: a paid word is not dropped."""
    for case in CORPUS:
        if case["text"].startswith("<"):
            typed = re.findall(r"\w+", html.unescape(to_text(case["text"])))
            shown = walk(framed(body_html(case["text"])))
            assert [word for word in typed if word not in shown] == [], case["name"]


FRAGMENTS = [
    *(case["text"] for case in CORPUS if len(case["text"]) < 200),
    *"<>[]()!`*_~$\\{}|#&;:/\"'=",
    *("\n", "\n\n", "    ", "> ", "- ", "1. ", "```", "$$", r"\(", r"\)", r"\[", r"\]"),
    *("<a href=", "</math>", "</code></pre>", "javascript:", "https://x.example", "&#x6A;"),
    *("|---|", "~~", "![", "](", "[a]: ", r"\frac", r"\text{", r"\begin{align}", "&lt;"),
    *("\x1b", "\x00", "\u202e", "\ud800", "\u200d"),
]
anything = st.text(st.characters(exclude_categories=()))
pieces = st.tuples(st.sampled_from(FRAGMENTS), st.integers(0, 60), st.integers(1, 60))
mixtures = st.lists(
    st.one_of(st.sampled_from(FRAGMENTS), pieces.map(lambda p: p[0][p[1] :][: p[2]])), max_size=30
).map("".join)


@settings(max_examples=300)
@given(st.one_of(anything, mixtures))
def test_no_text_gets_live_html_through(walk: Walk, text: str) -> None:
    """Arbitrary text and shuffled hostile pieces never raise and never pass the walker's lists."""
    walk(framed(body_html(text)))


def test_the_sanitizer_alone_holds_too(walk: Walk) -> None:
    """Had the parser a hole and let raw HTML through, the allow-list would still stop it."""
    from segmind_jupyter.notebook.display.sanitize import clean

    for case in CORPUS:
        walk(f"<div>{clean(to_text(html.unescape(case['text'])))}</div>")


def test_a_breaking_renderer_loses_no_reply(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails while rendering, the reply is shown as typed, escaped."""
    from segmind_jupyter.notebook.display import markdown

    monkeypatch.setattr(markdown, "clean", _failing)

    page = reply_html(Reply(text="**paid** <b>", usage=Usage(1, 2)))

    assert "**paid** &lt;b&gt;" in page
    assert "1 tokens in, 2 out" in walk(page)


def _failing(page: str) -> str:
    raise RuntimeError(page)


# In a notebook that is converted to Markdown, the HTML of outputs stays HTML, to its end.

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
    prompt = Prompt((text,))
    messages = [user_message(prompt.blocks())]
    request = Request(prompt=prompt, model="claude-4-sonnet", messages=messages, instruction=text)
    return [
        reply_html(Reply(text=text)),
        request_html(request),
        failure_bundle(JobFailed(text, request_id="2c7f"))["text/html"],
    ]


@pytest.mark.heavy
def test_no_hostile_text_gets_out():
    """In code, in maths, in a prompt that stands as it was typed; and none of the corpus."""
    texts = [place.format(LIVE) for place in PLACES]
    texts += [text for case in CORPUS for text in (case["text"], f"```\n\n{case['text']}\n\n```")]
    for text in texts:
        assert all(map(is_one_block, pages(text))), text


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
