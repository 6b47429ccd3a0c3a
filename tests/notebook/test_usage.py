"""`%segmind usage`: sums by model, a chart of tokens by call, and the calls as a table."""

from __future__ import annotations

import re
import sys

from segmind_jupyter.api.messages import Ledger, Reply, Usage
from segmind_jupyter.notebook.segmind_magic import table, usage_bundle

MIDNIGHT = 1_767_225_600.0


def ledger(*usages: Usage, model: str = "claude-4-sonnet") -> Ledger:
    """A ledger of such calls, a second apart."""
    ticks = iter(range(len(usages)))
    made = Ledger(clock=lambda: MIDNIGHT + next(ticks))
    for each in usages:
        made.add(Reply(text="", usage=each, cost=0.25, elapsed_s=1.5), model=model)
    return made


def bars(bundle: dict[str, str]) -> list[str]:
    """The bars of each series, which both sides have."""
    series = re.findall(r"(?m)^tokens (?:in|out) +(\S+) +at most", bundle["text/plain"])
    assert all(f">{each}<" in bundle["text/html"] for each in series)
    return series


def test_usage_sums_by_model(run, text, online):
    """Tokens, cost and calls of this kernel."""
    assert "No answered calls yet" in text("%segmind usage")
    online.will_answer(
        200, {"content": "x", "usage": {"input_tokens": 1000, "output_tokens": 5}}, x_cost="0.5"
    )
    run("%%claude -m claude-3-haiku\nHi")
    run("%%claude\nHi")
    rows = [line.split() for line in text("%segmind usage").splitlines()]
    assert rows[:4] == [
        ["model", "calls", "tokens", "in", "tokens", "out", "credits"],
        ["claude-3-haiku", "1", "1,000", "5", "0.5000"],
        ["claude-4-sonnet", "1", "56", "31", "not", "told"],
        ["all", "2", "1,056", "36", "0.5000"],
    ]
    assert rows[4] == ["tokens", "in", "█▁", "at", "most", "1,000"]
    assert rows[5] == ["tokens", "out", "▂█", "at", "most", "31"]


def test_the_line_gives_a_frame_and_shows_the_chart_alone(run, online):
    """No second table stands below the chart; a `;` silences; a later cell shows the frame."""
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


def test_bars_are_as_high_as_their_numbers(online):
    """On a scale of their own each; what the server did not say has none."""
    told = usage_bundle(ledger(Usage(100, 1), Usage(50, 4), Usage(None, None), Usage(0, 2)))
    assert bars(told) == ["█▄·▁", "▂█·▄"]
    # One call, or rows of nothing, cannot be compared.
    for usages in ([Usage(56, 31)], [Usage(None, 0), Usage(None, None)]):
        assert bars(usage_bundle(ledger(*usages))) == []


def test_names_of_models_are_data(online):
    """A server chose them, or a user."""
    bundle = usage_bundle(
        ledger(Usage(1, 1), Usage(2, 2), model="<img src=x onerror=alert(1)>\x1b[31m")
    )
    assert "<img" not in bundle["text/html"]
    assert "\x1b" not in bundle["text/plain"]


def test_without_pandas_the_calls_are_a_list(monkeypatch):
    """pandas is no dependency."""
    monkeypatch.setitem(sys.modules, "pandas", None)  # Python's way to say: it is not there
    ((call,), none) = table(ledger(Usage(56, 31)).calls), table(())
    assert (call["model"], call["tokens_in"], none) == ("claude-4-sonnet", 56, [])
