"""A table that would lose a cell stays as it was typed.

GFM drops the cells of a row that stand beyond the header's last column, and a bar in code makes
one too many (``| `a | b` | union |``). Knows how markdown-it makes tokens, and draws nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.token import Token

#: What no cell keeps of its line: the bars, and the backslashes that escape one.
_SYNTAX = str.maketrans("", "", "|\\")


def keep_every_cell(md: MarkdownIt) -> None:
    """Teach a parser to make a `code_block` token of a table whose cells hold not all its text."""
    md.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    from markdown_it.rules_block import table

    first = len(state.tokens)
    if not table(state, start, end, silent):
        return False
    if not silent and _loses_text(state, start, state.tokens[first:]):
        del state.tokens[first:]
        token = state.push("code_block", "code", 0)
        token.content = state.getLines(start, state.line, state.blkIndent, True)
        token.map = [start, state.line]
    return True


def _loses_text(state: StateBlock, start: int, tokens: Sequence[Token]) -> bool:
    rows = (start, *range(start + 2, state.line))  # between them stands the line of dashes
    typed = (state.src[state.bMarks[row] + state.tShift[row] : state.eMarks[row]] for row in rows)
    cells = (token.content for token in tokens if token.type == "inline")
    return _letters(typed) != _letters(cells)


def _letters(pieces: Iterable[str]) -> str:
    return "".join("".join(pieces).translate(_SYNTAX).split())
