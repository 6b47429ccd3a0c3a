"""Claims lines such as ``%claude what is x?`` before IPython takes them as a request for help."""

from __future__ import annotations

import re
import tokenize
from typing import Any

from IPython.core.inputtransformer2 import TokenTransformBase

_LINE = re.compile(r"(?P<before>.*?)%claude[ \t]+(?P<rest>\S.*\?)[ \t]*\n?", re.DOTALL)


class ClaudeQuestion(TokenTransformBase):
    """Turn a `%claude` line that ends in a question mark into a call of the magic.

    It works on tokens, as IPython's own transformers do, so that the same characters inside a
    string literal are left alone. ``%claude?`` still asks for help.
    """

    #: Before `HelpEnd` and `MagicAssign` (5), which would take the line otherwise.
    priority = 4

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> ClaudeQuestion | None:
        """Find the first such line, at its beginning or behind ``name =``."""
        for tokens in tokens_by_line:
            for before, percent, name in zip([None, *tokens], tokens, tokens[1:], strict=False):
                if not (percent.string == "%" and name.string == "claude"):
                    continue
                starts = before is None or before.string == "=" or before.type in _INDENTS
                if starts and _LINE.fullmatch(percent.line, percent.start[1]):
                    return cls((percent.start[0], _statement_column(tokens)))
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Rewrite that line."""
        match = _LINE.fullmatch(lines[self.start_line])
        if match is None:
            raise SyntaxError("not a %claude line")  # IPython then tries the next transformer
        call = f"get_ipython().run_line_magic('claude', {match['rest']!r})"
        lines = lines.copy()
        lines[self.start_line] = f"{match['before']}{call}\n"
        return lines


_INDENTS = frozenset({tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL})


def _statement_column(tokens: list[Any]) -> int:
    """Column at which the statement begins; transformers go in order of their columns."""
    column: int = next(token.start[1] for token in tokens if token.type not in _INDENTS)
    return column
