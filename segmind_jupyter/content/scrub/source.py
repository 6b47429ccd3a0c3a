"""Blanks secrets out of Python source, line for line: literals that a secret's name is given."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from segmind_jupyter.content.scrub.forms import spellings
from segmind_jupyter.content.scrub.names import HIDDEN, hides
from segmind_jupyter.content.scrub.text import scrubbed

#: Lines that IPython reads and Python does not: magics, shell commands, help.
_MAGIC: Final = re.compile(r"^([ \t]*)(?:[%!?].*|.*\?)$", re.MULTILINE)

#: Calls whose first argument says what is looked up, or what a person is asked.
_LOOK_UPS: Final = frozenset({"get", "getenv", "pop", "input", "getpass"})

#: Shorter literals are not looked for elsewhere: they may be any word.
_MIN_CHARS: Final = 8

#: Texts of a program, by the names of their tokens; those of f-strings are Python 3.12's.
_TEXTS: Final = frozenset({"COMMENT", "STRING", "FSTRING_MIDDLE"})


def scrubbed_source(source: str) -> str:
    """Blank out the literals that are secrets; what is no Python is scrubbed as prose.

    The text keeps its lines: a literal of three leaves two empty ones behind.
    """
    python = without_magics(source)
    try:
        edits = list(_edits(python))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return scrubbed(source)
    lines = source.split("\n")
    for number, line in enumerate(python.split("\n")):
        if line != lines[number]:
            lines[number] = scrubbed(lines[number])
    return "\n".join(_edited(lines, edits))


def secrets_of_source(source: str) -> set[str]:
    """Give the literals that `scrubbed_source` blanks out, of those that are no common words.

    What the program makes of them may be anywhere.
    """
    try:
        literals = _secret_literals(without_magics(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    values = (node.value for node in literals if isinstance(node, ast.Constant))
    texts = (text for value in values for text in spellings(value))
    return {text for text in texts if len(text) >= _MIN_CHARS}


def without_magics(source: str) -> str:
    """Put a statement that does nothing in the place of each line that Python does not read."""
    return _MAGIC.sub(r"\1pass", source)


@dataclass(frozen=True, order=True)
class _Edit:
    """A piece of the source, and what takes its place; lines from 0, columns in characters."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


def _edits(python: str) -> Iterator[_Edit]:
    lines = python.split("\n")
    hidden = [_hiding(node, lines) for node in _secret_literals(python)]
    yield from hidden
    spans = [(edit.start, edit.end) for edit in hidden]
    for token in tokenize.generate_tokens(io.StringIO(python).readline):
        if tokenize.tok_name[token.type] in _TEXTS:
            edit = _of_text(token)
            if edit.text != token.string and not _overlaps(edit, spans):
                yield edit


def _secret_literals(python: str) -> list[ast.Constant | ast.JoinedStr]:
    found = _Finder()
    found.visit(ast.parse(python))
    return found.literals


def _hiding(node: ast.expr, lines: list[str]) -> _Edit:
    start = _place(lines, node.lineno, node.col_offset)
    end = _place(lines, node.end_lineno or node.lineno, node.end_col_offset or 0)
    return _Edit(start, end, HIDDEN + "\n" * (end[0] - start[0]))


def _place(lines: list[str], line_number: int, column_bytes: int) -> tuple[int, int]:
    """Turn the place of a node into characters: `ast` counts the bytes of UTF-8."""
    before = lines[line_number - 1].encode()[:column_bytes]
    return line_number - 1, len(before.decode("utf-8", "replace"))


def _of_text(token: tokenize.TokenInfo) -> _Edit:
    (line, column), (end_line, end_column) = token.start, token.end
    return _Edit((line - 1, column), (end_line - 1, end_column), scrubbed(token.string))


def _overlaps(edit: _Edit, spans: list[tuple[tuple[int, int], tuple[int, int]]]) -> bool:
    return any(edit.start < end and start < edit.end for start, end in spans)


def _edited(lines: list[str], edits: list[_Edit]) -> list[str]:
    done: tuple[int, int] | None = None
    for edit in sorted(edits, reverse=True):
        if done is not None and edit.end > done:
            continue  # inside one that was made already
        (first, column), (last, end_column) = edit.start, edit.end
        text = lines[first][:column] + edit.text + lines[last][end_column:]
        pieces = text.split("\n")
        lines[first : last + 1] = pieces + [""] * (last - first + 1 - len(pieces))
        done = edit.start
    return lines


class _Finder(ast.NodeVisitor):
    """Collects the literals that stand where a secret's name says what they are."""

    def __init__(self) -> None:
        self.literals: list[ast.Constant | ast.JoinedStr] = []

    def visit(self, node: ast.AST) -> None:
        """Ask the rules about a node, then look inside."""
        for name, value in _given(node):
            self.literals += [found for found in _literals(value) if _is_secret(name, found)]
        self.generic_visit(node)


def _given(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Give the names and the expressions that they are given by one node of a program."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((name, value) for target in targets for name in _names(target))
        case (
            ast.AnnAssign(target=target, value=ast.expr() as value)
            | ast.AugAssign(target=target, value=value)
            | ast.NamedExpr(target=target, value=value)
        ):
            yield from ((name, value) for name in _names(target))
        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
            yield from ((name, value) for name in _names(target))
        case ast.Dict(keys=keys, values=values):
            yield from _pairs(keys, values)
        case ast.Tuple(elts=[first, second]):
            yield from _pairs([first], [second])
        case ast.Call(args=args, keywords=keywords):
            yield from ((word.arg, word.value) for word in keywords if word.arg)
            yield from _pairs(args, args[1:])
        case ast.Compare(left=left, comparators=others):
            yield from _neighbours([left, *others])
        case ast.BoolOp(values=values):
            yield from _neighbours(values)
        case ast.arguments():
            yield from _defaults(node)


def _pairs(keys: list[Any], values: list[ast.expr]) -> Iterator[tuple[str, ast.expr]]:
    """Pair the texts among `keys` with the values beside them."""
    for key, value in zip(keys, values, strict=False):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, value


def _neighbours(sides: list[ast.expr]) -> Iterator[tuple[str, ast.expr]]:
    """Pair each side of a comparison with all others."""
    for side in sides:
        for name in _names(side):
            yield from ((name, other) for other in sides if other is not side)


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    plain = [*arguments.posonlyargs, *arguments.args]
    by_place = zip(reversed(plain), reversed(arguments.defaults), strict=False)
    by_name = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    for argument, default in [*by_place, *by_name]:
        if default is not None:
            yield argument.arg, default


def _names(target: ast.expr) -> Iterator[str]:
    """Give what an expression is called: by a variable, an attribute or a text as the key."""
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            yield name
        case ast.Call(args=[ast.Constant(value=str(name)), *_]):
            yield name
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from _names(part)
        case ast.Starred(value=part):
            yield from _names(part)


def _literals(value: ast.AST, *, alone: bool = True) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Give the texts of an expression, and its number if it is one; keys of look-ups are none.

    Within a list or a call a number counts if it is long: ``token_ids = [101, 2054]``.
    """
    match value:
        case ast.JoinedStr():
            yield value
        case ast.Constant(value=str() | bytes() as text) if text:
            yield value
        case ast.Constant(value=bool()):
            return
        case ast.Constant(value=int() | float() as number) if alone or _is_long(number):
            yield value
        case ast.UnaryOp(operand=operand):
            yield from _literals(operand, alone=alone)
        case ast.Subscript(value=inner):
            yield from _literals(inner, alone=False)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            skipped = 1 if name in _LOOK_UPS else 0
            for inner in (*value.args[skipped:], *(word.value for word in value.keywords)):
                yield from _literals(inner, alone=False)
        case _:
            for child in ast.iter_child_nodes(value):
                yield from _literals(child, alone=False)


def _is_long(number: float) -> bool:
    return any(len(text) >= _MIN_CHARS for text in spellings(number))


def _is_secret(name: str, literal: ast.Constant | ast.JoinedStr) -> bool:
    if isinstance(literal, ast.JoinedStr):
        return hides(name, ast.unparse(literal))
    return hides(name, _plain(literal.value))


def _plain(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
