"""What a shell is not to show by itself while the cell that asked for it runs."""

from __future__ import annotations

import ast
import contextlib
import linecache
import sys
import weakref
from typing import Any


class Hush:
    """The values that are silenced in one cell (`-q`, `;`, or as they are shown already).

    Parameters
    ----------
    shell
        The shell whose cells are counted.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._cell = 0
        # Weak, as a batch can be large, and its user may drop it before another one is hushed.
        self._values: list[weakref.ref[Any]] = []

    def add(self, value: object) -> None:
        """Show nothing of this very value until the cell has ended.

        A value without displays of its own (a dict that `--json` gave) is shown all the same.
        """
        if self._cell != self._shell.execution_count:
            self._cell, self._values = self._shell.execution_count, []
        with contextlib.suppress(TypeError):
            self._values.append(weakref.ref(value))

    def __contains__(self, value: object) -> bool:
        if self._cell != self._shell.execution_count:
            return False
        return any(known() is value for known in self._values)


def is_whole_statement(shell: Any) -> bool:
    """Tell whether the line magic that runs is a statement of its own, so that its value shows.

    It is not where its value is assigned: whoever names the variable later in the cell wants to
    see it.

    Parameters
    ----------
    shell
        The shell that runs it.
    """
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_globals is not shell.user_ns:
        frame = frame.f_back
    source = "".join(linecache.getlines(frame.f_code.co_filename))
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    return any(
        isinstance(each, ast.Expr)
        and each.lineno <= frame.f_lineno <= (each.end_lineno or each.lineno)
        for each in statements
    )
