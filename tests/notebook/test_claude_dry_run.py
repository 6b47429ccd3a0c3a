"""`%%claude --dry-run` and `reply.request`: what would be sent, and what was, block by block."""

from __future__ import annotations

import base64
import html
import io
import re

import pytest

from segmind_jupyter.errors import ContentError, SettingsError

FIGURE = """
from matplotlib.figure import Figure
fig = Figure(figsize=(8, 4)); fig.subplots().plot([1, 3, 2])
"""


@pytest.fixture
def shown(shell):
    """What a request shows as, as text and as HTML."""

    def both(request):
        data, _ = shell.display_formatter.format(request)
        return data["text/plain"], data["text/html"]

    return both


@pytest.fixture
def no_key(monkeypatch):
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    monkeypatch.delenv("SEGMIND_BASE_URL", raising=False)


def test_the_blocks_stand_in_order_with_their_sizes(run, shown, no_key):
    """Words, then the figure by its name, its pixels, its bytes and its tokens; then settings."""
    run(FIGURE)
    text, page = shown(run("%%claude --dry-run\nWhat does {fig} show?").result)
    assert text.startswith("Nothing was sent. This would be: POST /v1/claude-4-sonnet\n3 blocks")
    numbered = [line for line in text.splitlines() if re.match(r"\d · ", line)]
    assert numbered[0] == "1 · text, ≈3 tokens"
    assert re.fullmatch(r"2 · fig · Figure 8×4 in · 800×400 PNG, \d+ kB, ≈435 tokens", numbered[1])
    assert numbered[2] == "3 · text, ≈2 tokens"
    assert "    What does " in text
    # On a page, as it is read.
    assert re.search(r">What does <img [^>]*><div [^>]*>2 · fig · [^<]*</div> show\?</div>", page)
    options = "-j -m claude-3-haiku -s 'Be brief.' --max-tokens 9 --param a=[1]"
    text, _ = shown(run(f"%%claude --dry-run {options}\nHi").result)
    assert "POST /v2/claude-3-haiku" in text
    assert "system: Be brief.\nmax_tokens: 9\na: [1]" in text


def test_the_picture_is_the_one_that_would_go(run, shown, no_key):
    """In small, on the page; its only address is its own data."""
    from PIL import Image

    run("from PIL import Image; photo = Image.new('RGB', (60, 30), 'red')")
    _, page = shown(run("%%claude --dry-run\n{photo}").result)
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    picture = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
    assert picture.size == (60, 30)
    assert picture.getpixel((30, 15)) == (255, 0, 0)


def test_earlier_messages_are_counted_and_can_be_unfolded(run, online, shown):
    """Each with its role, its text and its picture."""
    run("from PIL import Image; photo = Image.new('RGB', (56, 28))")
    run("%%claude\nWhat is {photo}?")
    text, page = shown(run("%%claude -c --dry-run\nAnd now?").result)
    assert "before it: 2 messages, ≈8 tokens" in text
    assert "<strong>assistant</strong>" in page
    assert "A sunset." in page
    assert len(online.posts) == 1


def test_what_would_fail_fails(run, online):
    """With the same error as the cell that sends; of a key in the prompt, without the key."""
    for cell, error in (
        ("%%claude --dry-run\n \n", ContentError),
        ("%%claude --dry-run -i nothing\nHi", ContentError),
        ("%%claude --dry-run -m NO\nHi", SettingsError),
        ("%%claude --dry-run\nMy key is sk-live-0123456789abcdef", ContentError),
    ):
        done = run(cell)
        assert isinstance(done.error, error)
        assert "0123456789abcdef" not in done.shown


def test_words_are_data_whole_on_the_page_and_cut_in_a_terminal(run, shown, no_key):
    """No text of a prompt becomes markup; what is left out is counted."""
    hostile = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    text, page = shown(run(f"%%claude --dry-run -s '{hostile}'\n{hostile}").result)
    assert "<script" not in page
    assert "<img src=x" not in page
    assert page.count(html.escape(hostile)) == 2
    assert hostile in text
    run("words = 'x' * 5000")
    text, page = shown(run("%%claude --dry-run\n{words}").result)
    assert "x" * 5000 in page
    assert "… and 4,200 characters more" in text
