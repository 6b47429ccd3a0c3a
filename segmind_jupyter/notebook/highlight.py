"""Code becomes coloured HTML, by Pygments, for a closed list of languages and in bounded time.

Pygments has some five hundred lexers, each a set of regular expressions, and many take time in
the square of what they read: 20,000 empty lines of C take 16 s. Hence the list and the bounds.
"""

from __future__ import annotations

import html
import time
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from segmind_jupyter.notebook.palette import CODE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pygments.lexer import Lexer
    from pygments.token import _TokenType

    _Token = tuple[_TokenType, str]

#: Longest block that is coloured, in characters: some 500 lines.
MAX_CODE_CHARS = 20_000

#: Shapes that no code has and slow lexers have in common: very long lines, and pages of nothing.
#: A deadline alone is not enough, as it is only looked at between two matches of a lexer.
_MAX_LINE_CHARS, _MAX_BLANK_LINES = 500, 40

#: Seconds after which a block stays plain; 500 lines of Python take a tenth of it.
MAX_SECONDS = 0.5

#: Pygments' name of a lexer, and the words behind a fence that ask for it.
_LANGUAGES = {
    "bash": "bash sh shell zsh console",
    "c": "c h",
    "cpp": "cpp c++ cc hpp",
    "csharp": "csharp c# cs",
    "css": "css",
    "diff": "diff patch",
    "docker": "docker dockerfile",
    "fortran": "fortran f90",
    "go": "go golang",
    "haskell": "haskell hs",
    "html": "html",
    "ini": "ini cfg",
    "java": "java",
    "javascript": "javascript js jsx",
    "json": "json jsonc ipynb",
    "julia": "julia jl",
    "kotlin": "kotlin kt",
    "latex": "latex tex",
    "lua": "lua",
    "makefile": "makefile make",
    "matlab": "matlab octave",
    "php": "php",
    "powershell": "powershell ps1",
    "pycon": "pycon",
    "python": "python py python3 ipython ipython3",
    "r": "r",
    "ruby": "ruby rb",
    "rust": "rust rs",
    "scala": "scala",
    "sql": "sql mysql postgresql sqlite",
    "swift": "swift",
    "toml": "toml",
    "typescript": "typescript ts tsx",
    "xml": "xml svg",
    "yaml": "yaml yml",
}
_LEXER_OF = {word: lexer for lexer, words in _LANGUAGES.items() for word in words.split()}


def to_coloured(
    code: str, *, language: str, clock: Callable[[], float] = time.monotonic
) -> str | None:
    """Colour `code`.

    Parameters
    ----------
    code
        Source text; untrusted.
    language
        The word behind the fence, in any case; untrusted.
    clock
        Seconds from any start.

    Returns
    -------
    str or None
        Escaped text in ``<span>`` elements with styles of the palette, or `None` where it should
        stay plain: an unknown language, more than `MAX_CODE_CHARS`, a shape that no code has,
        or work for more than `MAX_SECONDS`.
    """
    lexer_name = _LEXER_OF.get(language.lower())
    if lexer_name is None or _is_odd(code):
        return None
    lexer = _lexer(lexer_name)
    try:
        return "".join(_spans(_in_time(lexer.get_tokens(code), clock)))
    except TimeoutError:
        return None


def _is_odd(code: str) -> bool:
    dense = code.translate({ord(" "): None, ord("\t"): None})
    longest = max(map(len, code.split("\n")))
    blank = "\n" * _MAX_BLANK_LINES in dense
    return len(code) > MAX_CODE_CHARS or longest > _MAX_LINE_CHARS or blank


def _lexer(name: str) -> Lexer:
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(name, stripnl=False)


def _in_time(tokens: Iterator[_Token], clock: Callable[[], float]) -> Iterator[_Token]:
    deadline = clock() + MAX_SECONDS
    for token in tokens:
        if clock() > deadline:
            raise TimeoutError
        yield token


def _spans(tokens: Iterator[_Token]) -> Iterator[str]:
    styled = ((_style_of(tuple(kind)), text) for kind, text in tokens)
    for style, pieces in groupby(styled, key=itemgetter(0)):
        escaped = html.escape("".join(text for _, text in pieces), quote=False)
        yield f'<span style="{style}">{escaped}</span>' if style else escaped


def _style_of(kind: tuple[str, ...]) -> str | None:
    """Find the style of the nearest kind above, as ``Keyword.Constant`` is a ``Keyword``."""
    while kind:
        if style := CODE.get(".".join(kind)):
            return style
        kind = kind[:-1]
    return None
