"""`%segmind`: status, key, credits, usage, models, simulator."""

from __future__ import annotations

import pytest

KEY = "sk-live-0123456789abcdef"


def test_status_says_what_is_set_and_from_where(run, online):
    """Alone, `%segmind` is the status; the key is not in it."""
    for command in ("%segmind", "%segmind status"):
        shown = run(command).shown
        assert f"{online.url} (SEGMIND_BASE_URL)" in shown
        assert "set, from SEGMIND_API_KEY" in shown
        assert "claude-4-sonnet" in shown
        assert KEY not in shown


def test_status_says_how_to_mend_what_is_wrong(run, monkeypatch):
    """A missing key and a base URL that cannot work are named with the way out."""
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    assert "%segmind key" in run("%segmind").shown
    monkeypatch.setenv("SEGMIND_BASE_URL", "http://elsewhere.example")
    assert "unencrypted" in run("%segmind").shown


def test_a_key_is_typed_in_and_shown_nowhere(run, recorder, monkeypatch):
    """It is sent, and neither in the output nor in the history nor in the namespace."""
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    monkeypatch.setattr("getpass.getpass", lambda prompt: f"{KEY}\n")
    assert KEY not in run("%segmind key").shown
    assert run("%%claude\nHi").error is None
    assert recorder.posts[0].headers["x-api-key"] == KEY
    assert KEY not in run("%segmind").shown
    assert KEY not in str(run("globals()").result)


def test_a_front_end_that_cannot_ask_is_told_of_the_environment(run, monkeypatch):
    """Under nbconvert there is nobody to type."""
    from IPython.core.error import StdinNotImplementedError

    def refuse(prompt):
        raise StdinNotImplementedError("no stdin")

    monkeypatch.setattr("getpass.getpass", refuse)
    done = run("%segmind key")
    assert "SEGMIND_API_KEY" in done.shown
    assert len(done.shown.strip().splitlines()) == 1


def test_an_interrupted_question_changes_nothing(run, monkeypatch):
    """Nothing was sent, so nothing is said about a bill that may come."""

    def interrupt(prompt):
        raise KeyboardInterrupt

    monkeypatch.setattr("getpass.getpass", interrupt)
    assert "Nothing was changed" in run("%segmind key").shown


def test_a_key_on_the_line_is_refused_and_not_repeated(run):
    """It would be saved in the notebook and in the history."""
    done = run(f"%segmind key {KEY}")
    assert type(done.error).__name__ == "UsageError"
    assert KEY not in done.shown
    assert "renew the key" in done.shown


def test_credits_are_asked_for(run, online):
    """Bought and free ones, and their sum."""
    online.will_answer(200, {"credits": 1.5, "free-credits": 0.25})
    assert "1.7500 credits left (1.5000 bought, 0.2500 free)" in run("%segmind credits").shown
    assert online.requests[0].path == "/v1/get-user-credits"


def test_usage_sums_by_model(run, online):
    """Tokens, cost and calls of this kernel."""
    assert "No answered calls yet" in run("%segmind usage").shown
    online.will_answer(
        200, {"content": "x", "usage": {"input_tokens": 1000, "output_tokens": 5}}, x_cost="0.5"
    )
    run("%%claude -m claude-3-haiku\nHi")
    run("%%claude\nHi")
    rows = [
        line.split()
        for line in run("%segmind usage").shown.splitlines()
        if "claude" in line or "all" in line
    ]
    assert rows == [
        ["model", "calls", "tokens", "in", "tokens", "out", "credits"],
        ["claude-3-haiku", "1", "1,000", "5", "0.5000"],
        ["claude-4-sonnet", "1", "56", "31", "not", "told"],
        ["all", "2", "1,056", "36", "0.5000"],
    ]


def test_usage_counts_what_may_have_been_billed(run, online):
    """A call without a known outcome is not forgotten."""
    online.will_answer(502, b"")
    run("%%claude\nHi")
    shown = run("%segmind usage").shown
    assert "1 call with an unknown outcome" in shown


def test_a_key_set_beside_the_simulator_says_so(run, monkeypatch):
    """Replies go on being made up, which is not what the user expects then."""
    monkeypatch.setattr("getpass.getpass", lambda prompt: KEY)
    run("%segmind simulator")
    assert "still come from the simulator; %segmind simulator off" in run("%segmind key").shown


def test_models_are_listed_with_the_default_marked(run):
    """Known slugs, and that others work."""
    run("%config ClaudeMagics.model = 'claude-3-haiku'")
    shown = run("%segmind models").shown
    assert "claude-3-haiku (used when -m is not given)" in shown
    assert "Any other slug" in shown


def test_the_simulator_needs_neither_key_nor_network(run, monkeypatch):
    """The main job works offline; off again, the service is back."""
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    monkeypatch.delenv("SEGMIND_BASE_URL", raising=False)
    assert "no key" in run("%segmind simulator").shown
    reply = run("%%claude\nTwo words").result
    assert reply.text.startswith("(simulated)")
    assert reply.simulated
    assert "simulator" in run("%segmind").shown
    assert "credits left" in run("%segmind credits").shown
    assert "https://api.segmind.com" in run("%segmind simulator off").shown
    assert run("%%claude\nHi").error is not None


def test_the_environment_chooses_the_simulator_too(run, monkeypatch):
    """`SEGMIND_BASE_URL=simulator`, as the README's command sets it."""
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    monkeypatch.setenv("SEGMIND_BASE_URL", "simulator")
    assert run("%%claude\nHi").result.simulated
    for command in ("%segmind", "%segmind simulator off"):
        assert "SEGMIND_BASE_URL says so" in run(command).shown


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("%segmind nonsense", "status, key, credits, usage, models, simulator"),
        ("%segmind credits now", "takes nothing more"),
        ("%segmind simulator maybe", "simulator off"),
    ],
)
def test_an_unknown_command_lists_the_known_ones(run, line, hint):
    """One line, and the cell fails."""
    done = run(line)
    assert type(done.error).__name__ == "UsageError"
    assert hint in done.shown


def test_the_manual_shows_every_command(run):
    """`%segmind?` has a line for each."""
    shown = run("%segmind?").shown
    for command in ("key", "credits", "usage", "models", "simulator off"):
        assert f"%segmind {command}" in shown
