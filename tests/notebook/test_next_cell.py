"""`--code`: the reply's Python in the next cell, and nothing run."""

from __future__ import annotations

import pytest

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.notebook.magics import put_code


@pytest.fixture
def put(shell):
    """Put the code of a reply, and give what the next prompt of the shell holds, and the note."""

    def put_reply(text: str) -> tuple[str | None, str | None]:
        shell.rl_next_input = None
        note = put_code(shell, Reply(text=text))
        return shell.rl_next_input, note

    return put_reply


#: Replies, and the code that goes into the next cell.
CODES = (
    ("Try:\n```python\nx = 1\nprint(x)\n```\nDone.", "x = 1\nprint(x)"),
    ("```py\na\n```\n```python\nb\n```", "a"),
    ("```bash\nls\n```\n```python\nb = 1\n```", "b = 1"),
    ("```\nx = 1\n```", "x = 1"),
    ("```\nx = 1\n```\n```python\ny = 1\n```", "y = 1"),
    ("```{python}\nx = 1\n```", "x = 1"),
    ("```python3.11\nx = 1\n```", "x = 1"),
    ("```pytb\nTraceback\n```\n```python\nx = 1\n```", "x = 1"),
    ("~~~ipython\n%precision 3\n!pip install x\n~~~", "%precision 3\n!pip install x"),
    ("```python\n%%time\nx = 1\n```", "%%time\nx = 1"),
    ("- a step:\n  ```python\n  if x:\n      y()\n  ```", "if x:\n    y()"),
    ("```python\ndef broken(:\n```", "def broken(:"),
    ("```python\nx = '\x1b[31m\u202eabc\x00'\n```", "x = '⟨U+202E⟩abc'"),
)  # fmt: skip


def test_the_first_python_block_goes_alone_into_the_next_cell(put):
    """As a person would have typed it: no fence, nothing that hides."""
    for text, code in CODES:
        assert put(text) == (code, None), text


def test_without_a_python_block_the_next_cell_is_left_alone(put):
    """And the note says what to ask for; of several blocks without a language none is chosen."""
    for text in (
        "No code at all.",
        "```json\n{}\n```",
        "```\nx = 1\n```\n```\ny = 2\n```",
        "```python\n\n```",
        "    x = 1",
    ):
        code, note = put(text)
        assert code is None
        assert "no Python block" in note


def test_code_that_was_run_already_is_not_put_once_more(put, run):
    """Front ends insert a cell each time: running a cell again must not pile them up."""
    run("z = 41 + 1")
    code, note = put("```python\nz = 41 + 1\n```")
    assert code is None
    assert "run in this session" in note


def test_nothing_is_run(shell, run, online):
    """The code is the user's to read first."""
    online.will_say("Try:\n\n```python\nran = True\n```")
    cell = run("%%claude --code\nHow?")
    assert cell.error is None
    assert cell.result.text.startswith("Try:")
    assert shell.rl_next_input == "ran = True"
    assert "ran" not in shell.user_ns


def test_a_reply_without_code_is_shown_with_the_note(shell, run, online):
    """It was paid for."""
    shell.rl_next_input = None
    online.will_say("I would rather not.")
    cell = run("%%claude --code\nHow?")
    assert cell.error is None
    assert "I would rather not." in cell.shown
    assert "no Python block" in cell.shown
    assert shell.rl_next_input is None


CODE = "First:\n\n```python\na = 1\n```\n\nthen:\n\n```python\nb = 2\n```"


def test_the_code_of_the_last_reply_costs_nothing(shell, run, online):
    """`%claude --code` takes it from the reply that is there, `--code 2` its second block."""
    online.will_say(CODE)
    run("%%claude\nHow?")
    for line, code in (
        ("%claude --code", "a = 1"),
        ("%claude --code 2", "b = 2"),
        ("%%claude -c --code", "a = 1"),
        ("%%claude --code 2\n", "b = 2"),
    ):
        shell.rl_next_input = None
        cell = run(line)
        assert (cell.error, cell.shown, shell.rl_next_input) == (None, "", code), line
    assert "has 2 Python block" in run("%claude --code 3").shown
    assert run("r = %claude --code\nr.text == _.text").error is None
    assert len(online.posts) == 1


def test_without_a_reply_there_is_no_code(run, online):
    """And nothing is asked for it."""
    assert "nothing to continue" in str(run("%claude --code").error)
    assert "no reply yet" in str(run("%claude --chat new --code").error)
    assert online.requests == []
