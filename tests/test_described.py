"""`describe`: what is sent of a figure, what is read from the reply, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from segmind_jupyter import ContentError, MissingKeyError, ReplyError, SettingsError, describe
from segmind_jupyter.described import MAX_ALT_CHARS, background, facts_of

ROOT = Path(__file__).parents[1]
WORDS = {"alt": "A line.", "long": "It rises from 1 to 3."}


@pytest.fixture
def online(recorder, restart, monkeypatch):
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    return recorder


def figure():
    fig = Figure()
    ax = fig.subplots()
    ax.plot([2000, 2010, 2020], [1, 5, 3], label="rain")
    ax.set(xlabel="year", ylabel="mm", title="Rain")
    ax.legend()
    return fig


def test_a_figure_gets_its_words_and_keeps_what_matplotlib_knows(online):
    """The prompt holds the picture, the facts and what is wanted; JSON by schema."""
    online.will_say(json.dumps({"de": WORDS, "fr": {"alt": "Une ligne.", "long": ""}}))
    found = describe(figure(), language="de,fr", model="claude-3.5-sonnet", max_tokens=300)
    assert (found.alt, found.long, found.language) == ("A line.", WORDS["long"], "de")
    assert (found.others[0].alt, found.others[0].language) == ("Une ligne.", "fr")
    assert str(found) == "A line.\n\nIt rises from 1 to 3.\n\nUne ligne."
    (axes,) = found.data["axes"]
    assert axes["x"]["label"] == "year"
    assert axes["legend"] == ["rain"]
    (line,) = axes["shows"]
    assert (line["high"], line["last"]) == ((2010.0, 5.0), (2020.0, 3.0))
    (post,) = online.posts
    text, image = post.blocks
    assert json.dumps(line["high"]) in text["text"]
    assert "language of its key: de, fr." in text["text"]
    assert image["type"] == "image"
    assert post.json["max_tokens"] == 300
    schema = post.json["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["de", "fr"]


def test_words_of_ones_own_ask_nothing(online):
    """And the figure is known all the same."""
    found = describe(figure(), alt="Rain by year", long="More", language="en-GB")
    assert (found.alt, found.long, found.reply) == ("Rain by year", "More", None)
    assert found.data["axes"]
    assert online.requests == []


def test_a_text_that_is_too_long_is_cut_and_stands_whole_below(online):
    """It was paid for."""
    online.will_say(json.dumps({"en": {"alt": "word " * 100, "long": "Rest."}}))
    found = describe(figure())
    assert len(found.alt) <= MAX_ALT_CHARS
    assert found.alt.endswith("word…")
    assert found.long == ("word " * 100).strip() + "\n\nRest."


def test_what_cannot_work_is_refused_before_it_is_sent(online, monkeypatch):
    """With the value, or with what to give instead; a reply of another kind is kept."""
    for language in ("", "en,", "d<b>", [], ["deutsch!"]):
        with pytest.raises(SettingsError, match="names no language"):
            describe(figure(), language=language)
    with pytest.raises(ContentError, match="has no picture"):
        describe([1, 2])
    with pytest.raises(SettingsError, match="Did you mean `model`"):
        describe(figure(), modle="x")
    assert online.requests == []
    online.will_say("no JSON")
    with pytest.raises(ReplyError) as error:
        describe(figure())
    assert error.value.reply.text == "no JSON"
    monkeypatch.delenv("SEGMIND_API_KEY")
    with pytest.raises(MissingKeyError):
        describe(figure())


def test_secrets_of_the_source_stay(online):
    """Those with the form or the name of one, and the key in use."""
    source = "password = 'hunter22'\nplt.plot(x)\n# sk-live-0123456789abcdef"
    (text,) = background(source, {})
    assert "plt.plot(x)" in text
    assert "hunter22" not in text
    assert "0123456789abcdef" not in text


def bars():
    fig, ax = plt.subplots()
    ax.bar(["a", "b"], [3, 5])
    return fig


def lying_bars():
    return pd.Series([1, 2], ["a", "b"]).plot.barh()


def dates():
    return pd.Series([1.0, 2.0], pd.date_range("2024-01-01", periods=2)).plot()


def points():
    fig, ax = plt.subplots()
    ax.scatter([1, 9], [4, 2], label="stars")
    return fig


def field():
    fig, ax = plt.subplots()
    fig.colorbar(ax.imshow(np.arange(6).reshape(2, 3)), label="K")
    fig.suptitle("Heat")
    return fig


def broken():
    fig, ax = plt.subplots()
    ax.plot([1, np.nan, 3])
    ax.plot([])
    ax.lines[0].get_label = lambda: 1 / 0
    ax.set_xlabel("x")
    return fig


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (bars, ['"ends": [[0.0, 3.0], [1.0, 5.0]]', '"ticks": ["a", "b"]']),
        (lying_bars, ['"ends": [[1.0, 0.0], [2.0, 1.0]]']),
        (dates, ['"first": ["2024-01-01", 1.0]', '"limits": ["2024-01-01"']),
        (points, ['"points": "stars", "count": 2, "x": [1.0, 9.0], "y": [2.0, 4.0]']),
        (field, ['"colorbar": [{"label": "K", "limits": [0.0, 5.0]', "Heat"]),
        (broken, ['"label": "x"']),
        (lambda: "no figure", ["{}"]),
    ],
)
def test_matplotlib_tells_numbers(make, said):
    """Of lines, bars and points; an artist of another make costs only its own axes."""
    plt.switch_backend("agg")
    facts = json.dumps(facts_of(make()))
    plt.close("all")
    for words in said:
        assert words in facts, facts


def test_the_prompts_of_the_documentation_work(restart, monkeypatch):
    """Each is tried on the simulator; there are ten."""
    monkeypatch.setenv("SEGMIND_BASE_URL", "simulator")
    monkeypatch.setenv("SEGMIND_SIMULATOR_SPEED", "instant")
    page = (ROOT / "docs" / "how-to" / "alternative-texts.md").read_text(encoding="utf-8")
    prompts = re.findall(r'^\| [\w ]+ \| `"(.+)"` \|$', page, re.MULTILINE)
    assert len(prompts) == 10
    for prompt in prompts:
        assert describe(figure(), system=prompt).alt.startswith("(simulated) A picture")


def test_the_evaluation_runs(program, monkeypatch):
    """On the simulator, which names few of the facts."""
    monkeypatch.setenv("SEGMIND_BASE_URL", "simulator")
    monkeypatch.setenv("SEGMIND_SIMULATOR_SPEED", "instant")
    run = program((ROOT / "examples" / "alt_texts.py").read_text(encoding="utf-8"))
    said, trouble = run.communicate(timeout=200)
    assert (len(said.splitlines()), trouble) == (14, "")
    assert re.search(r"^all +\d+% +\d+%$", said, re.MULTILINE)
