"""`--cache`: what is asked once and kept, in a real shell over HTTP, and in kernels without any."""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from segmind_jupyter.errors import NotCachedError, SettingsError
from segmind_jupyter.session import session

ON = '%config ClaudeMagics.cache = "on"'
BODY = {"content": [{"type": "text", "text": "A sunset."}], "model": "claude-4-sonnet"}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own."""
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


def test_a_cell_that_is_run_again_costs_nothing(run, online):
    """No request is made, the reply is the same, and the footer says so with the date."""
    online.will_answer(200, BODY, x_cost="0.25", x_remaining_credits="4.2")
    first = run("%%claude --cache\nWhat is this?")
    again = run("%%claude --cache\nWhat is this?")
    assert len(online.requests) == 1
    assert again.result == first.result
    assert (first.result.cached_at, again.result.cost) == (None, 0.25)
    kept_on = datetime.datetime.fromtimestamp(again.result.cached_at)
    assert f"from cache, {kept_on.day} {kept_on:%b %Y %H:%M}" in again.shown
    assert "from cache" not in first.shown
    assert "0.25 credits, 4.20 left" in first.shown
    assert "credits" not in again.shown
    assert len(session().ledger.calls) == 1


def test_a_dry_run_says_that_the_reply_is_kept(run, online):
    """Nothing would be sent, so it does not say what would be."""
    assert "This would be: POST" in run("%%claude --cache --dry-run\nHi").shown
    kept = run("%%claude --cache\nHi").result.request
    cell = run("%%claude --cache --dry-run\nHi")
    assert re.search(r"nor would be, as the reply of \d+ \w+ \d{4} [\d:]+ is kept", cell.shown)
    assert cell.result.body == kept.body
    assert len(online.posts) == 1


def test_what_came_to_nothing_is_asked_again(run, online):
    """An error, or an answer without a reply, is never kept."""
    for status, body in ((500, {"error": "down"}), (200, {"no": "text"})):
        online.will_answer(status, body)
        assert run("%%claude --cache\nHi").error is not None
    assert run("%%claude --cache\nHi").error is None
    assert len(online.posts) == 3


def test_a_reply_that_breaks_the_schema_is_asked_for_again(run, online):
    """Else a cell could never get another."""
    pytest.importorskip("jsonschema")
    run('schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}')
    online.will_say("no JSON at all")
    online.will_say('{"n": 7}')
    assert run("%%claude --cache --json schema\nCount").error is not None
    for _ in range(2):
        assert run("%%claude --cache --json schema\nCount").result == {"n": 7}
    assert len(online.posts) == 2


def test_only_refuses_what_is_not_kept_and_sends_nothing(run, online):
    """The error says what to do."""
    run('%config ClaudeMagics.cache = "only"')
    for cell in ("%%claude\nHi", "%%claude --cache\nHi", "%%claude -j\nHi"):
        error = run(cell).error
        assert isinstance(error, NotCachedError)
        assert "Run the cell once online" in str(error)
    assert online.requests == []


def test_a_simulated_reply_does_not_pose_as_a_models(run, online):
    """The place that was asked is part of the key."""
    run("%segmind simulator")
    assert run("%%claude --cache\nHi").result.simulated
    run("%segmind simulator off")
    assert not run("%%claude --cache\nHi").result.simulated
    assert len(online.posts) == 1


def test_a_job_is_queued_once(run, gateway):
    """Its reply is kept before anybody can see it, also for a cell that waits."""
    run("%%claude -j --cache -o job\nHi")
    reply = run("job.wait()").result
    again = run("%%claude -j --cache -o job\nHi").result
    assert again.done()
    assert again.status == "COMPLETED"
    assert again.reply == reply
    assert again.request_id == reply.request_id
    assert run("%%claude --cache\nHi").result == reply
    assert gateway.billed == 1


def test_ask_and_submit_follow_the_setting_and_take_their_own(run, online):
    """The same three words."""
    run("from segmind_jupyter import ask, submit")
    run("ask('Hi', cache='on')")
    assert run("submit('Hi', cache='only').wait().text").result == "A sunset."
    run(ON)
    assert run("ask('Hi')").result.cached_at is not None
    assert run("ask('Hi', cache='off')").result.cached_at is None
    assert isinstance(run("ask('Hi', cache='yes')").error, SettingsError)
    assert len(online.posts) == 2


def test_the_command_says_what_is_kept_and_where_and_forgets(run, online, state):
    """How many, how large, since when, in which file, and what is set; in memory too."""
    assert re.search(r"replies +none", run("%segmind cache").shown)
    run("%%claude --cache\nHi")
    shown = run("%segmind cache").shown
    assert re.search(r"replies +1 \(\d+ B\), the oldest of \d+ \w+ 20\d\d", shown)
    assert str(state / "jobs.sqlite3") in shown
    run(ON)
    assert "--no-cache" in run("%segmind cache").shown
    assert "1 reply is forgotten" in run("%segmind cache clear").shown
    run("%config ClaudeMagics.journal = False")
    for _ in range(2):
        run("%%claude\nHi")
    assert len(online.posts) == 2
    assert "end with this kernel" in run("%segmind cache").shown
    assert run("%segmind cache empty").error is not None


@pytest.mark.kernel
def test_a_copied_notebook_is_run_offline_without_an_edit(run, online, state, tmp_path):
    """`jupyter nbconvert --execute` takes the setting from its line; the file alone is copied."""
    run("%%claude --cache\nHi")
    (tmp_path / "repository").mkdir()
    shutil.copy(state / "jobs.sqlite3", tmp_path / "repository")
    environ = {name: value for name, value in os.environ.items() if name != "SEGMIND_API_KEY"}
    environ |= {"SEGMIND_JUPYTER_STATE": str(tmp_path / "repository")}
    argument = json.dumps(["--ClaudeMagics.cache=only"])
    command = [
        sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--stdout",
        f"--ExecutePreprocessor.extra_arguments={argument}", str(tmp_path / "notebook.ipynb"),
    ]  # fmt: skip
    for cell, is_kept in (("%%claude\nHi", True), ("%%claude\nHi!", False)):
        checks = "import sys\nassert 'httpx' not in sys.modules"
        cells = [nbformat.v4.new_code_cell(c) for c in ("%load_ext segmind_jupyter", cell, checks)]
        nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "notebook.ipynb")
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, check=False, timeout=180
        )
        assert (done.returncode == 0) is is_kept, done.stderr
        assert ("from cache" in done.stdout) is is_kept
        assert ("NotCachedError" in done.stderr) is not is_kept
    assert len(online.requests) == 1


def test_the_setting_holds_for_all_cells_and_one_can_do_without(run, online):
    """`--no-cache` neither reads nor replaces what is kept; a conversation is kept by turns."""
    run(ON)
    for word in ("first", "second", "third"):
        online.will_say(word)
    asked = [run(cell).result.text for cell in ("%%claude\nHi", "%%claude --no-cache\nHi")]
    assert asked == ["first", "second"]
    for _ in range(2):
        assert run("%%claude\nHi").result.text == "first"
        assert run("%%claude -c\nAnd then?").result.text == "third"
    assert len(session().conversations.last().turns) == 2
    assert len(online.posts) == 3
