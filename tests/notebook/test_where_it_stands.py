"""Where a magic stands decides what becomes of its reply, and which names it sees."""

from __future__ import annotations

import os
import re
import subprocess
import sys

LAST_WORDS = "assert _.text.startswith('A sunset'), _"

#: A cell, and how many replies it shows.
PLACES = {
    "%claude one\n%claude two": 2,
    "for i in range(3):\n    %claude q {i}": 3,
    "%claude one\nx = 1": 1,
    "if True:\n    %claude one": 1,
    "try:\n    %claude one\nfinally:\n    pass": 1,
    "import contextlib\nwith contextlib.nullcontext():\n    %claude one\n    y = 2": 1,
    "def f():\n    %claude one\nf()": 1,
    "%claude one": 1,
    "%claude one?": 1,
    "%claude one\n%claude two;": 1,
    "while True:\n    %claude -q one\n    break": 0,
    "r = %claude one": 0,
    "r = %claude one?\nr.text": 0,
    "r = get_ipython().run_cell_magic('claude', '', 'one')": 0,
    "import asyncio\nawait asyncio.sleep(0)\n%claude one\nx = 1": 1,
    "class A:\n    %claude one": 1,
}


def test_an_unassigned_line_shows_its_reply_once_wherever_it_stands(run, online):
    """And `_` holds it; what is assigned shows nothing."""
    for cell, count in PLACES.items():
        done = run(cell)
        assert done.error is None, cell
        assert done.shown.count("── claude") == count, cell
        if "r = " not in cell:
            assert run(LAST_WORDS).error is None, cell


def test_a_script_that_ipython_runs_prints_its_replies(tmp_path):
    """There nothing is shown by itself."""
    script = tmp_path / "s.ipy"
    script.write_text(
        "%load_ext segmind_jupyter\nx = 'the sea'\n%claude echo: what is {x}?\n"
        "r = %claude echo: never\nprint('end')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", str(script)],
        env={**os.environ, "SEGMIND_BASE_URL": "simulator", "IPYTHONDIR": str(tmp_path)},
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "what is the sea?" in done.stdout
    assert "never" not in done.stdout
    assert done.stdout.rstrip().endswith("end")


def words(online):
    return "".join(block["text"] for block in online.posts[-1].blocks)


def test_a_magic_in_a_function_sees_its_names(run, online):
    """Its own, and the notebook's."""
    run("n, word = 1, 'notebook'")
    run("def f(n):\n    r = %claude {n} {word}\n    return r\nf(2)")
    assert words(online) == "2 notebook"
    run("def f(word):\n    get_ipython().run_cell_magic('claude', '-q', '{word}')\nf('own')")
    assert words(online) == "own"
    run("%claude {word}")
    assert words(online) == "notebook"


def test_the_object_of_json_stands_above_what_it_took(run, shell, online):
    """Everywhere; assigned, it shows nothing."""
    for cell in (
        "%claude --json how?",
        "if True:\n    %claude --json how?",
        "%%claude --json\nhow?",
    ):
        online.will_say('{"n": 1}')
        done = run(cell)
        (output,) = done.displayed
        assert output.data["text/plain"].startswith("{'n': 1}\n\n── claude"), cell
        assert ">n</td>" in output.data["text/html"]
        assert output.metadata["segmind"]["model"] == "claude-4-sonnet"
        assert run("_").result == {"n": 1}
    online.will_say('{"n": 1}', stop_reason="max_tokens")
    shown = run("%claude --json how?").displayed[0].data
    assert all("`max_tokens` was reached" in re.sub("<.?code.*?>", "`", s) for s in shown.values())
    online.will_say('{"n": 1}')
    assert run("r = %claude --json how?").shown == ""
    assert shell.user_ns["r"] == {"n": 1}


def test_cells_and_their_values_are_read(run, shell, online):
    """By their numbers, as `Out` and `In` hold them, and by their names."""
    run("'first value'")
    run("'second'")
    n = shell.execution_count - 2
    run(f"%claude {{Out[{n}]}} came of {{In[{n}]}}, then {{_}}, {{__}} and {{_{n}}}")
    assert words(online) == (
        "first value came of 'first value', then second, first value and first value"
    )
    run("\u00b5 = 'micro'\n\u03d5 = 'phi'")  # other letters to Python than Tab types
    run("%claude {\u00b5} {\u03d5}")
    assert words(online) == "micro phi"
    run("%claude -i \u00b5 -o \u03d5 what?")
    assert words(online).startswith("micro")
    assert run("\u03d5.text").result == "A sunset."
