"""The source code of functions and classes, also of those that were typed into a notebook cell."""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable
from typing import Any


def source_code(obj: Callable[..., Any]) -> str | None:
    """Give the source of a function, a method or a class, or `None` where there is none."""
    try:
        return inspect.getsource(obj)
    except (OSError, TypeError):
        return _from_cell(obj) if inspect.isclass(obj) else None


def _from_cell(kind: type) -> str | None:
    """Find a class whose module has no file, as in a notebook, by the file of one of its methods.

    `inspect` looks for a class in the file of its module alone; IPython keeps each cell in
    `linecache`, under the name that the cell's functions carry.
    """
    for method in filter(inspect.isfunction, vars(kind).values()):
        lines = linecache.getlines(method.__code__.co_filename)
        for node in _classes("".join(lines)):
            span = _span(node)
            if node.name == kind.__name__ and method.__code__.co_firstlineno in span:
                return textwrap.dedent("".join(lines[span.start - 1 : span.stop - 1]))
    return None


def _classes(cell: str) -> list[ast.ClassDef]:
    try:
        return [node for node in ast.walk(ast.parse(cell)) if isinstance(node, ast.ClassDef)]
    except SyntaxError:  # not Python: the method was compiled from something else
        return []


def _span(node: ast.ClassDef) -> range:
    """Give the lines of a class, its decorators included."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return range(first, (node.end_lineno or first) + 1)
