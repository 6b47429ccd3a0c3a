"""The values of the names on one line of a frame, without running anybody's code."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any, Final

from segmind_jupyter.content.glimpse import glimpse
from segmind_jupyter.content.scrub.source import without_magics
from segmind_jupyter.content.scrub.values import attributes_of

#: Names that are shown; a line with more is a table of constants.
_MAX_NAMES: Final = 12

#: The parts of a compound statement that stand on lines of their own.
_BODIES: Final = ("body", "orelse", "finalbody", "handlers", "cases")


def values_on_line(
    frame: FrameType, source: str, line_number: int, *, clean: Callable[[str], str]
) -> list[str]:
    """Describe what the names of a statement stand for: ``"row = {'a': 1}"``, in their order.

    Parameters
    ----------
    frame
        Where they are looked up: first among its local names, then among the global ones.
    source
        Its source.
    line_number
        Any line of the statement, from 1.
    clean
        Blanks secrets out of a text.
    """
    described: dict[str, str] = {}
    for path in _paths_on_line(source, line_number):
        found, value = _looked_up(path, frame)
        if found and not isinstance(value, ModuleType) and len(described) < _MAX_NAMES:
            described[path] = f"{path} = {glimpse(value, name=path, clean=clean)}"
    return list(described.values())


def _paths_on_line(source: str, line_number: int) -> Iterator[str]:
    try:
        statement = _statement(ast.parse(without_magics(source)), line_number)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    if statement is not None:
        yield from _paths(statement)


def _statement(tree: ast.AST, line_number: int) -> ast.stmt | None:
    """Find the innermost statement around a line."""
    found = None
    for node in ast.walk(tree):  # from the outside in
        if isinstance(node, ast.stmt) and _spans(node, line_number):
            found = node
    return found


def _spans(node: ast.stmt, line_number: int) -> bool:
    return node.lineno <= line_number <= (node.end_lineno or node.lineno)


def _paths(node: ast.AST) -> Iterator[str]:
    """Give the names of a statement, and the attributes that are reached from them."""
    dotted = _dotted(node)
    if dotted:
        yield from (".".join(dotted[:count]) for count in range(1, len(dotted) + 1))
        return
    for name, child in ast.iter_fields(node):
        if not (isinstance(node, ast.stmt) and name in _BODIES):
            for part in child if isinstance(child, list) else [child]:
                if isinstance(part, ast.AST):
                    yield from _paths(part)


def _dotted(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return [*before, node.attr]
    return []


def _looked_up(path: str, frame: FrameType) -> tuple[bool, Any]:
    """Follow names through what objects keep themselves: a property could do anything."""
    root, *steps = path.split(".")
    names = next((n for n in (frame.f_locals, frame.f_globals) if root in n), None)
    if names is None:
        return False, None
    value: Any = names[root]
    for step in steps:
        attributes = attributes_of(value)
        if step not in attributes:
            return False, None
        value = attributes[step]
    return True, value
