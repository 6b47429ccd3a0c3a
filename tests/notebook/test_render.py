"""A reply with its footer, as HTML and as text; whatever it holds, nothing of it is live."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import io
import json
import re
import sys
from pathlib import Path
from unittest.mock import Mock

import nbformat
import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image as PILImage

from segmind_jupyter.api.messages import Reply, Usage, user_message
from segmind_jupyter.chat import Turn
from segmind_jupyter.content.parts import Image, Text
from segmind_jupyter.content.prompt import Attachment, Prompt
from segmind_jupyter.errors import InsufficientCreditsError, JobFailed
from segmind_jupyter.notebook.chat import transcript
from segmind_jupyter.notebook.display import markdown
from segmind_jupyter.notebook.display.markdown import body_html
from segmind_jupyter.notebook.display.reply import (
    ReplyDisplay,
    failure_bundle,
    provenance,
    reply_bundle,
    reply_html,
    reply_text,
    request_html,
)
from segmind_jupyter.notebook.display.sanitize import clean
from segmind_jupyter.notebook.display.styles import framed
from segmind_jupyter.notebook.display.tables import object_html
from segmind_jupyter.session import Request, session
from segmind_jupyter.words import to_text

FULL = Reply(
    text="It **rises**.", usage=Usage(1435, 31), stop_reason="end_turn", model="claude-4-sonnet",
    cost=0.0021, remaining_credits=4.2, elapsed_s=11.24, raw={"simulated": True},
)  # fmt: skip


def picture() -> Image:
    file = io.BytesIO()
    PILImage.new("RGB", (800, 400), "red").save(file, "PNG")
    return Image(file.getvalue(), "image/png", 800, 400, about="Figure 8×4 in")


def page(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def test_the_text_side_reads_well():
    """The Markdown, a line of what the reply took, the objects with their sizes, and the notes."""
    assert reply_text(FULL) == (
        "  It **rises**.\n\n── claude-4-sonnet · 1,435 tokens in, 31 out · 11.2 s · "
        "0.0021 credits, 4.20 left · simulated"
    )
    frame = Attachment("df", (Text("x" * 40, about="DataFrame 2×3"),))
    sent = [Attachment("fig", (picture(),)), frame]
    lines = reply_text(FULL, sent=sent, notes=["`{figg}` is no name here."]).splitlines()
    assert re.fullmatch(r"   fig · Figure 8×4 in · 800×400 PNG, \d+ k?B, ≈435 tokens", lines[-3])
    assert lines[-2] == "   df · DataFrame 2×3 · text, ≈10 tokens"
    assert lines[-1] == "   `{figg}` is no name here."
    # Front ends prefer Markdown to HTML, and run the HTML inside: there is none.
    assert reply_bundle(FULL) == {"text/html": reply_html(FULL), "text/plain": reply_text(FULL)}
    assert page(reply_html(FULL)).div["aria-live"] == "polite"


KNOWN = {
    "": Reply(text="x", usage=Usage(None, 7)),
    "── 3": Reply(text="x", model=3),
    "── 0 tokens in, 0 out": Reply(text="x", usage=Usage(0, 0)),
    "── 125 s": Reply(text="x", elapsed_s=125.4),
    "── 0 credits": Reply(text="x", cost=0.0),
    "── 0.00 credits left": Reply(text="x", remaining_credits=0.0),
}


def test_what_is_not_known_is_not_shown():
    """The footer holds what the server told and nothing in place of what it did not."""
    for line, reply in KNOWN.items():
        assert reply_text(reply) == (f"  x\n\n{line}" if line else "  x")
        assert page(reply_html(reply)).get_text().strip() == (f"x\n{line[3:]}" if line else "x")
    line = reply_text(Reply(text="x", model="a\nb" + "c" * 5_000)).splitlines()[-1]
    assert line.startswith("── a bccc")
    assert len(line) < 400  # of what a server may send


def test_no_line_of_a_reply_passes_for_one_of_ours():
    """In a terminal its words are indented: neither the footer nor a turn can be imitated."""
    forged = "Fine.\n\n── claude · 5 tokens in\nYou: my key\u2028── a\r── b\x1b[G── c"
    lines = reply_text(Reply(text=forged, model="m")).split("\n")
    assert [line for line in lines if line and not line.startswith("  ")] == ["── m"]


def test_a_terminal_draws_the_markdown_where_rich_is_there(shell, monkeypatch):
    """Indented too; addresses are shown, and no sequence of a reply's own comes through."""
    pytest.importorskip("rich")
    words = "**bold** [a](https://x.example) <b> &#x1b;]8;;x \x1b]8;;https://y.example\x1b\\z"
    display = ReplyDisplay(shell)
    assert "**bold**" in display.text(Reply(text=words))
    monkeypatch.setattr(sys, "stdout", Mock(isatty=lambda: True))
    drawn = display.text(Reply(text=words, model="m"))
    assert "\x1b[1mbold\x1b[0m" in drawn
    assert "(\x1b[4;34mhttps://x.example\x1b[0m) <b>" in drawn
    assert "\x1b]" not in drawn
    assert drawn.startswith("  ")
    assert drawn.endswith("\n\n── m")


@dataclasses.dataclass
class Point:
    x: int
    tags: list[str]


def test_objects_are_small_tables():
    """An object a line a field, a list of them a line each; of all others their words."""
    cells = page(object_html(Point(1, ["<b>", "c"]))).find_all(["th", "td"])
    assert [cell.get_text() for cell in cells] == ["x", "1", "tags", "<b>, c"]
    rows = page(object_html([Point(n, []) for n in range(60)] + [{"y": None}])).find_all("tr")
    assert [cell.get_text() for cell in rows[0]] == ["x", "tags", "y"]
    assert [cell.get_text() for cell in rows[50]] == ["49", "", ""]
    assert len(rows) == 51
    for value, words in (("<b>", "&lt;b&gt;"), ([1, 2], "1, 2"), ([], ""), ([{}, 1], "[{}, 1]")):
        assert words in object_html(value)


def test_what_is_wrong_with_a_reply_is_said():
    """Declined, empty, cut: in the words of the reply itself, on both sides."""
    cut = Reply(text="half of", stop_reason="max_tokens", usage=Usage(5, 31))
    assert "--max-tokens" in cut.notice
    for reply in (cut, Reply(text="", stop_reason="refusal"), Reply(text=" "), Reply(text="")):
        assert reply.notice in reply_text(reply)
        assert reply.notice.split("`")[0] in page(reply_html(reply)).get_text()


def test_a_thumbnail_shows_what_was_sent():
    """A small PNG of itself, with words for who does not see it; a broken one is named alone."""
    sent = [Attachment('"><script>', (picture(),))]
    (img,) = page(reply_html(FULL, sent=sent)).find_all("img")
    assert img["alt"] == '"><script> · Figure 8×4 in, 800×400'
    data = base64.b64decode(img["src"].removeprefix("data:image/png;base64,"))
    with PILImage.open(io.BytesIO(data)) as thumbnail:
        assert thumbnail.size == (96, 48)
        assert thumbnail.convert("RGB").getpixel((48, 24)) == (255, 0, 0)
    broken = Attachment("fig", (Image(b"no image", "image/png", 10, 10),))
    shown = page(reply_html(FULL, sent=[broken]))
    assert shown.img is None
    assert "10×10 PNG, 8 B, ≈1 token" in shown.get_text()


class Asked:
    """What a reply answers, as far as its display looks at it."""

    sent = (Attachment("article", (Text("x" * 40, left_out="20,000 of 60,189 characters"),)),)
    notes = ("`{figg}` is no name here.",)

    def blocks(self) -> list[dict[str, str]]:
        return [{"type": "text", "text": "Hi"}]


ANSWERED = dataclasses.replace(FULL, request=Asked(), answered_at=1e9, request_id="2c7f")


def test_the_footer_is_as_long_as_the_user_wants(monkeypatch):
    """All of it, one quiet line, or nothing; notes on what was sent otherwise stay."""
    for how, n_lines in (("full", 3), ("line", 2), ("off", 1)):
        monkeypatch.setattr(session(), "footer", how)
        assert len(reply_text(ANSWERED).splitlines()[2:]) == n_lines
        for shown in (reply_text(ANSWERED), reply_html(ANSWERED)):
            assert ("20,000 of 60,189 characters" in shown) is (how == "full")
            assert ("11.2 s" in shown) is (how != "off")
            assert ("article" in shown) is (how != "off")
            assert "{figg}" in shown


def test_an_output_says_where_its_words_come_from():
    """For whoever reads the notebook's file; nothing of the prompt itself."""
    assert provenance(ANSWERED) == {
        "segmind": {
            "model": "claude-4-sonnet",
            "request_id": "2c7f",
            "date": "2001-09-09T01:46:40Z",
            "cost": 0.0021,
            "tokens": {"input": 1435, "output": 31},
            "prompt_sha256": hashlib.sha256(b'[{"text": "Hi", "type": "text"}]').hexdigest(),
        }
    }
    odd = Reply(text="x", model="\ud800", request_id="a\ud800")
    json.dumps(provenance(odd), ensure_ascii=False).encode()
    for at in (None, 1e300, float("nan")):
        assert provenance(Reply(text="x", answered_at=at))["segmind"]["date"] is None


def test_an_error_says_what_happened_first_and_its_name_last():
    """In HTML; as text its name comes first, as IPython has it."""
    answered = "(POST /v1/x was answered 406: (none) left)"
    error = InsufficientCreditsError(f"Not enough credits. Add some, or wait. {answered}")
    shown = page(failure_bundle(error)["text/html"])
    assert shown.strong.get_text() == "Not enough credits."
    about = "InsufficientCreditsError · POST /v1/x was answered 406: (none) left"
    assert shown.get_text() == f"Not enough credits. Add some, or wait.{about}"
    assert failure_bundle(error)["text/plain"].startswith("InsufficientCreditsError: Not enough")
    foreign = page(failure_bundle(ValueError("odd"))["text/html"])
    assert foreign.strong.get_text() == "ValueError: odd"


# Whatever a reply holds

CORPUS = json.loads(Path(__file__).with_name("hostile.json").read_text("utf-8"))
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff\U000e0000-\U000e007f"
    "\ud800-\udfff]"
)


def test_a_hostile_reply_holds_nothing_live(walk):
    """The HTML of each reply of the corpus passes the walker, with its footer, and is not empty."""
    assert len({case["name"] for case in CORPUS}) == len(CORPUS) >= 300
    for case in CORPUS:
        text = case["text"]
        assert walk(reply_html(Reply(text=text, model=text), notes=[text])).strip(), case["name"]


def test_a_hostile_reply_is_quiet_in_a_terminal():
    """As text, also drawn, each reply holds no control, hidden or reordering character."""
    for case in CORPUS:
        reply = Reply(text=case["text"], model=case["text"])
        drawn = reply_text(reply, is_rich=True, notes=[case["text"]])
        drawn = re.sub(r"\x1b\[[\d;]*m", "", drawn)  # colours, which are rich's
        for text in (reply_text(reply, notes=[case["text"]]), drawn):
            assert not UNSEEN.search(text.replace("\n", "").replace("\t", "")), case["name"]


def test_raw_html_stays_readable(walk):
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
def test_no_text_gets_live_html_through(walk, text):
    """Arbitrary text and shuffled hostile pieces never raise and never pass the walker's lists."""
    walk(framed(body_html(text)))


def test_the_sanitizer_alone_holds_too(walk):
    """Had the parser a hole and let raw HTML through, the allow-list would still stop it."""
    for case in CORPUS:
        walk(f"<div>{clean(to_text(html.unescape(case['text'])))}</div>")


def test_a_breaking_renderer_loses_no_reply(walk, monkeypatch):
    """Whatever fails while rendering, the reply is shown as typed, escaped."""
    monkeypatch.setattr(markdown, "clean", lambda page: 1 / 0)
    page = reply_html(Reply(text="**paid** <b>", usage=Usage(1, 2)))
    assert "**paid** &lt;b&gt;" in page
    assert "1 tokens in, 2 out" in walk(page)


# In a notebook that is converted to Markdown, the HTML of outputs stays HTML, to its end.

#: What would be fetched, or run, as Markdown.
LIVE = "![x](http://evil.example/leak.png)\n \n<script>alert(1)</script>\n\t\n# Heading"

#: Where a blank line can stand that is no end of a paragraph.
PLACES = "```\na\n\n{}\n```", "    a\n\n    {}", "`a\n\n{}", "|a|\n|-|\n|b|\n\n{}", "$$a\n\n{}$$"
PLACED = [place.format(LIVE) for place in PLACES]


def pages(text: str) -> list[str]:
    """What is shown of a reply, of a prompt, of a server's words, and of a turn of a chat."""
    prompt = Prompt((text,))
    messages = [user_message(prompt.blocks())]
    request = Request(prompt=prompt, model="claude-4-sonnet", messages=messages, instruction=text)
    turn = Turn(prompt)
    turn.answer(Reply(text=text))
    return [
        reply_html(Reply(text=text)),
        request_html(request),
        failure_bundle(JobFailed(text, request_id="2c7f"))["text/html"],
        transcript.bundle([transcript.page_of(turn)])["text/html"],
    ]


def test_no_hostile_text_gets_out():
    """A reader of CommonMark takes each for one block of HTML, whatever was typed."""
    reader = MarkdownIt("commonmark", {"html": True})
    for text in [*PLACED, *(case["text"] for case in CORPUS if case["text"].strip())]:
        for shown in (text, f"```\n\n{text}\n\n```"):
            for page in pages(shown):
                kinds = [token.type for token in reader.parse(f"\n\n{page}\n\n")]
                assert kinds == ["html_block"], text


def test_a_converted_notebook_has_nothing_live_in_it():
    """As nbconvert writes it, and a reader of Markdown reads it."""
    from nbconvert import MarkdownExporter

    shown = [page for text in PLACED for page in pages(text)]
    outputs = [nbformat.v4.new_output("display_data", {"text/html": page}) for page in shown]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs)])
    text, _ = MarkdownExporter().from_notebook_node(notebook)
    assert text.count("evil.example") >= len(shown)
    page = MarkdownIt("commonmark", {"html": True}).render(text)
    assert not re.findall(r"<script|<h1|<img(?![^>]*src=.data:)", page, re.IGNORECASE)
