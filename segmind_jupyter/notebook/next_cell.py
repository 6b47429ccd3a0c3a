"""`--code`: the Python of a reply, in the next cell."""

from __future__ import annotations

import ast
import re
import textwrap
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.words import to_text

if TYPE_CHECKING:
    from segmind_jupyter.api.messages import Reply

#: What models call Python behind a fence: also ``python3.11``, ``py3`` and ``python-repl``.
_PYTHON: Final = re.compile(r"(?:i?python|py)(?:3(?:\.\d+)*)?(?:-repl)?|pycon|jupyter(?:-python)?")

#: Lines of a session: what was typed after ``>>>``, and what went on from there.
_PROMPT: Final = re.compile(r"(?:>>>|\.\.\.)(?: |$)")


def put_code(shell: Any, reply: Reply, nth: int = 1) -> str | None:
    """Put the reply's first (or nth) Python block, alone, into the next cell. Nothing is run.

    A single block without a language counts too, where it reads as Python. The cell itself must
    call this: front ends take the next input from the answer to its execution, and insert a cell
    for it each time; the only one that they would replace is the running cell, with the prompt in
    it. So code that was run in this session already is not put once more.
    """
    blocks = _python_blocks(reply, shell)
    if not blocks:
        return (
            "No cell was added: the reply has no Python block. Ask for the code in one fenced "
            "Python block."
        )
    if nth > len(blocks):
        return f"No cell was added: the reply has {len(blocks)} Python block(s), so no {nth}th."
    code = blocks[nth - 1]
    if code in (cell.strip() for cell in shell.history_manager.input_hist_raw):
        return "No cell was added: this code was run in this session before."
    shell.set_next_input(code)
    return None


def _python_blocks(reply: Reply, shell: Any) -> list[str]:
    blocks = reply.code_blocks
    named = [block.code for block in blocks if _PYTHON.fullmatch(block.language.strip("{.}"))]
    unnamed = [block.code for block in blocks if not block.language]
    if not named and len(unnamed) == 1:
        named = [code for code in unnamed if _is_python(_typed(code), shell)]
    return [typed for typed in map(_typed, named) if typed]


def _typed(code: str) -> str:
    """Return what a person would type: no prompts or results of a session, no hidden characters."""
    lines = to_text(code).split("\n")
    if any(line.startswith(">>>") for line in lines):
        lines = [_PROMPT.sub("", line, count=1) for line in lines if _PROMPT.match(line)]
    return textwrap.dedent("\n".join(lines)).strip()


def _is_python(code: str, shell: Any) -> bool:
    """Return whether it could run in a cell, with magics and shell commands."""
    try:
        ast.parse(shell.transform_cell(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return bool(code)
