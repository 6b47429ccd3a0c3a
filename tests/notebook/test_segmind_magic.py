"""`%segmind`: status, key, credits, models, simulator. Of `usage` see `test_usage`."""

from __future__ import annotations

import html
import re

import pytest

from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import demo_behaviour

KEY = "sk-live-0123456789abcdef"


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path):
    """Keep the journal out of the user's own folder."""
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def problems(shown):
    return [line for line in shown.splitlines() if line.startswith("problem: ")]


def test_status_says_what_is_set_and_from_where(text, online, state):
    """What holds, a line each; the key is not in it, and no journal is made for it."""
    shown = text("%segmind status")
    assert shown == text("%segmind")
    assert problems(shown) == []
    for name in ("service", "key", "model", "journal", "jobs", "cache", "front end", "versions"):
        assert any(line.startswith(f"{name}  ") for line in shown.splitlines()), name
    assert f"{online.url} (SEGMIND_BASE_URL)" in shown
    assert "set, from SEGMIND_API_KEY" in shown
    assert KEY not in shown
    assert "no file yet" in shown
    assert not state.exists()


def test_a_missing_key_is_a_problem_unless_nothing_is_sent(run, text, online, monkeypatch):
    """Under the simulator, or where kept replies alone are used."""
    monkeypatch.delenv("SEGMIND_API_KEY")
    (problem,) = problems(text("%segmind"))
    assert "`%segmind key`" in problem
    run("%config ClaudeMagics.cache = 'only'")
    assert problems(text("%segmind")) == []
    assert "only (" in text("%segmind")
    run("%config ClaudeMagics.cache = 'off'")
    run("%segmind simulator")
    assert problems(text("%segmind")) == []


def test_what_cannot_work_is_a_problem_with_the_line_that_sets_it_right(
    run, text, online, state, monkeypatch
):
    """A key, a base URL, a journal, a model; none of them is shown that is a secret."""
    monkeypatch.setenv("SEGMIND_API_KEY", f'"{KEY}"')  # the marks are no part of it
    assert problems(text("%segmind")) == []
    for wrong in ("sk-lïve-0123456789", "two words"):
        monkeypatch.setenv("SEGMIND_API_KEY", wrong)
        (problem,) = problems(text("%segmind"))
        assert "`%segmind key`" in problem
        assert wrong not in problem
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("SEGMIND_BASE_URL", "http://elsewhere.example")
    (problem,) = problems(text("%segmind"))
    assert "unencrypted" in problem
    assert "`%env SEGMIND_BASE_URL=https://api.segmind.com`" in text("%segmind")
    monkeypatch.setenv("SEGMIND_BASE_URL", online.url)
    state.mkdir()
    (state / "jobs.sqlite3").write_bytes(b"no database, and long enough to be none" * 50)
    (problem,) = problems(text("%segmind"))
    assert "not a database" in problem
    assert "`%config ClaudeMagics.journal = False`" in problem
    run("%config ClaudeMagics.journal = False")
    assert "in memory alone" in text("%segmind")
    run("%config ClaudeMagics.model = 'Claude 4'")
    (problem,) = problems(text("%segmind"))
    assert "`%config ClaudeMagics.model = 'claude-4-sonnet'`" in problem
    run("%config ClaudeMagics.model = 'claude-4-sonet'")
    assert problems(text("%segmind")) == []  # unknown slugs are not refused: lists go stale
    assert "did you mean `claude-4-sonnet`?" in text("%segmind")


def test_models_are_listed_with_the_default_marked(run):
    """Known slugs, and that others work."""
    run("%config ClaudeMagics.model = 'claude-9'")
    shown = run("%segmind models").shown
    assert re.search(r"claude-9 +1568 px +\(used when -m is not given\)", shown)
    assert re.search(r"claude-opus-4.7 +0.0691 +18 +2576 px +high resolution", shown)
    assert "may be retired" in shown
    assert "Any other slug" in shown


def test_the_simulator_needs_neither_key_nor_network(run, monkeypatch):
    """The main job works offline; off again, the service is back, unless a variable chose it."""
    monkeypatch.delenv("SEGMIND_API_KEY", raising=False)
    monkeypatch.delenv("SEGMIND_BASE_URL", raising=False)
    assert "no key" in run("%segmind simulator").shown
    reply = run("%%claude\nTwo words").result
    assert reply.text.startswith("(simulated)")
    assert reply.simulated
    assert "credits left" in run("%segmind credits").shown
    monkeypatch.setattr("getpass.getpass", lambda prompt: KEY)
    assert "still come from the simulator; `%segmind simulator off`" in run("%segmind key").shown
    assert "https://api.segmind.com" in run("%segmind simulator off").shown
    monkeypatch.setenv("SEGMIND_BASE_URL", "simulator")
    assert run("%%claude\nHi").result.simulated
    for command in ("%segmind", "%segmind simulator off"):
        assert "SEGMIND_BASE_URL says so" in run(command).shown


def test_the_simulator_can_be_made_to_fail_to_slow_down_and_to_limit(run, monkeypatch):
    """Each is met by the next calls; what cannot be done is refused with what can."""
    gateway = Gateway()
    monkeypatch.setattr("segmind_jupyter.simulator.shared", lambda: gateway)
    assert "the next call will meet 406" in run("%segmind simulator fail 406").shown
    assert "Not enough credits" in run("%%claude\nHi").shown
    run("%segmind simulator fail refusal 2")
    assert [run("%%claude\nHi").result.stop_reason for _ in range(3)] == [
        "refusal", "refusal", "end_turn",
    ]  # fmt: skip
    run("%segmind simulator fail 504")
    billed = gateway.billed
    assert type(run("%%claude\nHi").error).__name__ == "MaybeBilledError"
    assert gateway.billed == billed + 1
    assert "429" in run("%segmind simulator fail 429 2").shown
    run("%segmind simulator fail off")
    assert "a call takes 0.25 s" in run("%segmind simulator slow 0.25").shown
    assert run("%%claude\nHi").error is None
    assert (gateway.behaviour.latency_s, gateway.behaviour.work_s) == (0.25, 0.25)
    assert "5 calls a minute" in run("%segmind simulator limit 5/min").shown
    assert gateway.behaviour.rate_limit == 5
    run("%segmind simulator limit off")
    run("%segmind simulator slow off")
    assert gateway.behaviour.rate_limit is None
    assert gateway.behaviour.work_s == demo_behaviour().work_s
    for words, hint in (
        ("fail", "fail 429|406|504|refusal [TIMES]"), ("fail 429 0", "no number of times"),
        ("slow soon", "no number of seconds"), ("limit 5", "limit N/min"),
    ):  # fmt: skip
        done = run(f"%segmind simulator {words}")
        assert type(done.error).__name__ == "UsageError"
        assert hint in done.shown


def test_a_mistyped_command_is_asked_about(run):
    """With all that there are, as one that is near may not be the one; one line, no traceback."""
    for line, hint in (
        ("%segmind usge", "did you mean `usage`?"),
        ("%segmind credits now", "takes nothing more"),
        ("%segmind simulator maybe", "simulator off"),
        ("%segmind resume abc", "is no job id"),
    ):
        done = run(line)
        assert type(done.error).__name__ == "UsageError"
        assert hint in done.shown


def test_a_job_is_taken_up_by_the_beginning_of_its_id(run):
    """Where one id alone begins so."""
    run("%segmind simulator")
    job = run("%claude -j Hi").result
    assert run(f"%segmind resume {job.request_id[:5]}").result.request_id == job.request_id
    assert run("%segmind wait").error is None


def test_the_status_as_html_runs_nothing(run, online, monkeypatch, tmp_path):
    """Whatever stands in the environment is data."""
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path / "<script>alert(1)</script>"))
    (output,) = run("%segmind").displayed
    assert "<script" not in output.data["text/html"]
    assert html.escape("<script>alert(1)") in output.data["text/html"]
