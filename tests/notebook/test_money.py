"""Money in cells: before (`--dry-run`), a budget, after (`%segmind history`), and `--each`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from segmind_jupyter import BudgetError
from segmind_jupyter.api.database import CallRecord
from segmind_jupyter.api.settings import Settings, of_history
from segmind_jupyter.errors import MaybeBilledError, SettingsError
from segmind_jupyter.notebook.display.reply import PreviewDisplay
from segmind_jupyter.session import session

FRAME = """
import pandas as pd
from dataclasses import dataclass
df = pd.DataFrame({"id": [1, 2, 3], "word": ["one", "two", "three"]}, index=["a", "b", "c"])
@dataclass
class Guess:
    label: str
    score: float
"""


def test_the_dry_run_of_a_cell_tells_what_it_takes(gateway, run):
    """By the vendor's mean, and by the user's own calls once there are five of its size."""
    line = "%%claude --dry-run\nWhat is a violin plot?"
    assert "≈0.0214 credits (the mean of this model" in run(line).shown
    origin = session().settings().base_url
    for n in range(5):
        call = CallRecord(
            at=1e9 + n, origin=origin, model="claude-4-sonnet", input_tokens=8,
            cost=0.001 * (n + 1),
        )  # fmt: skip
        session().journal.record_call(call)
    session().budget._past.clear()  # as in the next kernel
    assert "≈0.003 credits, 0.005 credits in 9 of 10 (your last 5 calls" in run(line).shown
    assert "credits not known" in run("%%claude --dry-run -m claude-9-x\nHi").shown
    assert gateway.billed == 0


def test_the_dry_run_of_a_batch_tells_what_it_takes(gateway, run):
    """Rows, requests, tokens, credits, minutes, and the first three requests in full."""
    run(FRAME)
    shown = run("%%claude --each df --json Guess --dry-run\nSay {word}.").shown
    for words in (
        "3 rows, 3 requests, ≈", "≈0.0642 credits", "at 60 requests a minute", "Say one.",
        "Say three.", "response_format",
    ):  # fmt: skip
        assert words in shown
    assert gateway.billed == 0
    run("%%claude --each df --json Guess -o out\nSay {word}.")
    assert gateway.billed == 3
    again = run("%%claude --each df --json Guess --dry-run\nSay {word}.").shown
    assert "3 rows, 0 requests, 3 answered before" in again
    run("preview = %claude --each df --dry-run <b>{word}</b>")
    assert "&lt;b&gt;one" in PreviewDisplay(None).html(run("preview").result)
    assert "3 rows" in run("print(preview)").stdout


def test_a_long_batch_is_looked_at_in_part_and_errors_are_told(gateway, run):
    """Sums are for all; what cannot be sent is named by its position."""
    run("from segmind_jupyter import ask_each")
    run("found = ask_each('echo: {item}', list(range(2500)), dry_run=True)")
    found = run("found").result
    assert (found.rows, found.looked_at, found.requests) == (2500, 834, 2500)
    assert found.cost == pytest.approx(2500 * 0.0214)
    assert found.seconds == pytest.approx(2500 * 60 / 60)
    assert len(found.first) == 3
    assert "from 834 of the rows" in str(found)
    found = run("ask_each('{x}', [{'x': 1}, {'y': 1}], dry_run=True)").result
    assert list(found.errors) == [1]
    assert "1 cannot be sent" in str(found)
    assert gateway.billed == 0


def test_each_in_a_cell_gives_the_frame_with_the_replies(gateway, run):
    """A column a field beside its own, with its index; with `-j` the batch, at once."""
    run(FRAME)
    run("%%claude --each df --json Guess -o out\nGuess about {word}.")
    out = run("out").result
    assert list(out.columns[:4]) == ["id", "word", "label", "score"]
    assert list(out.index) == ["a", "b", "c"]
    assert out["score"].dtype.kind == "f"
    assert gateway.billed == 3
    run("%%claude --each df -j -o batch\nGuess about {word}, in words.")
    assert type(run("batch").result).__name__ == "Batch"
    assert len(run("batch.wait(30).to_frame()").result) == 3
    words = run("%claude --each df['word'] echo: {item}").result
    assert words["reply"].tolist() == ["one", "two", "three"]
    before = gateway.billed
    for line, why in (
        ("%%claude --each df -c\nHi {word}", "--each takes no --continue"),
        ("%%claude --each df --cache\nHi {word}", "--each takes no"),
        ("%%claude --each dff\nHi {word}", "Did you mean `df`"),
        ("%%claude --each df\nHi {wrd}", "Did you mean `{word}`"),
    ):
        assert why in str(run(line).error)
    assert gateway.billed == before


def test_a_budget_stops_a_cell_and_is_shown(gateway, run, text):
    """Of this kernel and of a day; raised or taken away, the cell runs."""
    assert "No budget is set" in text("%segmind budget")
    assert "this kernel  0.0010" in text("%segmind budget 0.001")
    error = run("%%claude\nHi").error
    assert isinstance(error, BudgetError)
    assert gateway.billed == 0
    text("%segmind budget 2")
    run("%%claude\nHi")
    assert gateway.billed == 1
    text("%segmind budget off")
    shown = text("%segmind budget --day 0.002")
    assert "a day" in shown
    assert "this kernel" not in shown
    assert isinstance(run("%%claude --job\nHi").error, BudgetError)
    with pytest.warns(UserWarning, match="2 rows were not asked. This would pass the budget"):
        run("few = [1, 2]\n_ = get_ipython().run_cell_magic('claude', '--each few', 'Hi {item}')")
    usage = text("%segmind usage")
    assert "day, all kernels" in usage
    assert "░" in usage
    text("%segmind budget --day off")
    for wrong in ("much", "-1", "1 2", "--day"):
        assert run(f"%segmind budget {wrong}").error is not None


def test_history_tells_what_was_charged_and_which_of_it_is_known(gateway, run, text):
    """Cells and jobs by their ids; a lost answer is what is charged and not known."""
    assert "empty" in text("%segmind history")
    run("%%claude -o reply\nHi")
    run("from segmind_jupyter import submit")
    run("submit('Hi').wait(30)")
    gateway.script("POST", drop="after_work")
    error = run("%%claude\nsecret words").error
    assert isinstance(error, MaybeBilledError)
    assert "`%segmind history`" in str(error)
    shown = text("%segmind history")
    rows = [line.split() for line in shown.splitlines() if "claude-4-sonnet" in line]
    assert [row[-2:] == ["not", "known"] for row in rows] == [True, False, False]
    assert "1 charged without a reply" in shown
    assert "secret words" not in shown
    request_id = run("reply.request_id").result
    assert request_id in text(f"%segmind history {request_id}")


def test_the_key_goes_to_the_history_s_origin_alone(recorder, run, monkeypatch):
    """Which is the vendor's, this machine, or none; and a redirect is not followed."""
    settings = Settings(base_url="https://api.segmind.com")
    assert of_history(settings).base_url == "https://api.spotprod.segmind.com"
    with pytest.raises(SettingsError, match="key is not sent there"):
        of_history(Settings(base_url="https://proxy.example"))
    monkeypatch.setenv("SEGMIND_API_KEY", "sk-live-0123456789abcdef")
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    recorder.will_answer(302, b"", location="http://127.0.0.1:9/elsewhere")
    assert run("%segmind history").error is not None
    assert [request.path.partition("?")[0] for request in recorder.requests] == [
        "/inference-request/request-history"
    ]


@pytest.mark.parametrize(
    "body", [b"<html>", [], {}, {"data": None}, {"data": [1]}, [{"request_id": 1}], 17, "x"]
)
def test_a_history_of_any_form_is_read_or_refused(recorder, run, monkeypatch, body):
    """Another machine's words are data."""
    monkeypatch.setenv("SEGMIND_API_KEY", "sk-live-0123456789abcdef")
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    recorder.will_answer(200, body if isinstance(body, bytes) else json.dumps(body).encode())
    error: Any = run("%segmind history").error
    assert error is None or type(error).__name__ == "APIError"
