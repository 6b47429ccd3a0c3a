"""`%segmind usage`: sums by model, and the calls as a table."""

from __future__ import annotations

import sys

from segmind_jupyter.api.messages import Ledger, Reply, Usage
from segmind_jupyter.notebook.segmind_magic import table
from segmind_jupyter.session import session

MIDNIGHT = 1_767_225_600.0


def ledger(*usages: Usage, model: str = "claude-4-sonnet") -> Ledger:
    """A ledger of such calls, a second apart."""
    ticks = iter(range(len(usages)))
    made = Ledger(clock=lambda: MIDNIGHT + next(ticks))
    for each in usages:
        made.add(Reply(text="", usage=each, cost=0.25, elapsed_s=1.5), model=model)
    return made


def test_usage_sums_by_model(run, text, online):
    """Tokens, cost and calls of this kernel; names of models are data."""
    assert "No answered calls yet" in text("%segmind usage")
    online.will_answer(
        200, {"content": "x", "usage": {"input_tokens": 1000, "output_tokens": 5}}, x_cost="0.5"
    )
    run("%%claude -m claude-3-haiku\nHi")
    run("%%claude\nHi")
    session().ledger.add(Reply(text="", usage=Usage(1, 1)), model="<img src=x>\x1b[31m")
    shown = run("%segmind usage").displayed[0].data
    assert "<img" not in shown["text/html"]
    assert "\x1b" not in shown["text/plain"]
    rows = [line.split() for line in text("%segmind usage").splitlines()]
    assert rows[0] == ["model", "calls", "tokens", "in", "tokens", "out", "credits"]
    assert [*rows[1:3], rows[4]] == [
        ["claude-3-haiku", "1", "1,000", "5", "0.5000"],
        ["claude-4-sonnet", "1", "56", "31", "not", "told"],
        ["all", "3", "1,057", "37", "0.5000"],
    ]


def test_the_line_gives_a_frame_and_shows_the_sums_alone(run, online):
    """A `;` silences; a later cell shows the frame."""
    run("%%claude\nHi")
    done = run("%segmind usage")
    assert type(done.result).__name__ == "DataFrame"
    (output,) = done.displayed
    assert "tokens in" in output.data["text/plain"]
    assert "seconds" not in done.shown
    assert "seconds" in run("_").shown
    assert len(run("calls = %segmind usage").displayed) == 1
    assert run("calls = %segmind usage;").shown == ""
    assert run("%segmind usage;").displayed == []
    assert run("len(calls)").result == 1
    assert "seconds" in run("calls = %segmind usage\ncalls").shown


def test_the_frame_has_a_row_a_call(online):
    """Each column with a type that has a place for what the server did not say."""
    frame = table(ledger(Usage(56, 31), Usage(None, None)).calls)
    assert list(frame.columns) == [
        "when", "model", "tokens_in", "tokens_out", "cost", "seconds", "simulated",
    ]  # fmt: skip
    assert frame["tokens_in"].tolist()[0] == 56
    assert frame["tokens_in"].isna().tolist() == [False, True]
    assert frame["cost"].sum() == 0.5
    assert frame["seconds"].tolist() == [1.5, 1.5]
    assert not frame["simulated"].any()
    assert (frame["when"].diff().dropna().dt.total_seconds() == 1).all()


def test_without_pandas_the_calls_are_a_list(monkeypatch):
    """pandas is no dependency."""
    monkeypatch.setitem(sys.modules, "pandas", None)  # Python's way to say: it is not there
    ((call,), none) = table(ledger(Usage(56, 31)).calls), table(())
    assert (call["model"], call["tokens_in"], none) == ("claude-4-sonnet", 56, [])
