"""Puts the code of a reply into the next cell, where the user reads it before running it."""

from __future__ import annotations

import ast
import re
import textwrap
from typing import Any, Final

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.notebook.plaintext import to_text

#: What models call Python behind a fence: also ``python3.11``, ``py3`` and ``python-repl``.
_PYTHON: Final = re.compile(r"(?:i?python|py)(?:3(?:\.\d+)*)?(?:-repl)?|pycon|jupyter(?:-python)?")

#: Lines of a session: what was typed after ``>>>``, and what went on from there.
_PROMPT: Final = re.compile(r"(?:>>>|\.\.\.)(?: |$)")


def put_code(shell: Any, reply: Reply) -> str | None:
    """Put the reply's first Python block, alone, into the next cell. Nothing is run.

    A single block without a language counts too, where it reads as Python. The cell itself must
    call this: front ends take the next input from the answer to its execution, and insert a cell
    for it each time; the only one that they would replace is the running cell, with the prompt in
    it. So code that was run in this session already is not put once more.

    Parameters
    ----------
    shell
        The shell. A terminal shows the code at its next prompt.
    reply
        What the model answered.

    Returns
    -------
    str or None
        What the user should know, where nothing was put.
    """
    code = _first_python(reply, shell)
    if code is None:
        return (
            "No cell was added: the reply has no Python block. Ask for the code in one fenced "
            "Python block."
        )
    if code in (cell.strip() for cell in shell.history_manager.input_hist_raw):
        return "No cell was added: this code was run in this session before."
    shell.set_next_input(code)
    return None


def _first_python(reply: Reply, shell: Any) -> str | None:
    blocks = reply.code_blocks
    named = [block.code for block in blocks if _PYTHON.fullmatch(block.language.strip("{.}"))]
    unnamed = [block.code for block in blocks if not block.language]
    if not named and len(unnamed) == 1:
        named = [code for code in unnamed if _is_python(_typed(code), shell)]
    return next(filter(None, map(_typed, named)), None)


def _typed(code: str) -> str:
    """Give what a person would type: no prompts or results of a session, no hidden characters."""
    lines = to_text(code).split("\n")
    if any(line.startswith(">>>") for line in lines):
        lines = [_PROMPT.sub("", line, count=1) for line in lines if _PROMPT.match(line)]
    return textwrap.dedent("\n".join(lines)).strip()


def _is_python(code: str, shell: Any) -> bool:
    """Tell whether it could run in a cell, with magics and shell commands."""
    try:
        ast.parse(shell.transform_cell(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return bool(code)
