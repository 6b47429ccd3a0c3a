"""Untrusted Markdown becomes HTML that is safe to show and fetches nothing.

Two walls: what the reply says only ever enters the HTML escaped (raw HTML is text, images are
text, links are http, https or mailto), and the result passes an allow-list (`allowlist`).
"""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator, MutableMapping, Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from segmind_jupyter.notebook.display.math import add_math, to_mathml
from segmind_jupyter.notebook.display.sanitize import clean, is_address
from segmind_jupyter.notebook.display.styles import CODE, ELEMENTS, FRAME
from segmind_jupyter.notebook.display.text import to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_core import StateCore
    from markdown_it.token import Token
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
    """Colour `code`."""
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


#: What is longer is shown as plain text from here on; hostile input of this size takes seconds
#: at worst, and 100,000 characters are some 25,000 tokens.
MAX_MARKDOWN_CHARS = 100_000

#: Largest page that is shown: thousands of empty table cells can be typed in few characters.
MAX_HTML_CHARS = 2_000_000

#: Classes of the box. The first keeps MathJax 3 and 4 away (JupyterLab), the second MathJax 2
#: (pages that nbconvert writes); both names are MathJax's own.
_BOX = "mathjax_ignore tex2jax_ignore segmind-reply"

_BEFORE_BLANK_LINE = re.compile(r"\n(?=[^\S\n]*\n)")

#: Deepest nesting, in containers; a list inside a list takes two. markdown-it drops what is deeper.
_MAX_NESTING = 20

#: How much of one reply is set as math and coloured as code, in characters; the rest is plain.
_BUDGET = {"math": 40_000, "code": 100_000}


def to_html(text: str) -> str:
    """Turn untrusted Markdown into safe HTML."""
    return framed(body_html(text))


def framed(inside: str) -> str:
    """Put finished HTML into the reply's box.

    No blank line is left in it: in a notebook that is converted to Markdown it would end the HTML
    (CommonMark 0.31, "HTML blocks"), and what follows would be Markdown, with images that are
    fetched.
    """
    unbroken = _BEFORE_BLANK_LINE.sub("&#10;", inside)
    return f'<div class="{_BOX}" style="{FRAME["reply"]}">{unbroken}</div>'


def body_html(text: str) -> str:
    """Turn untrusted Markdown into safe HTML, without the box."""
    readable = to_text(text)
    try:
        return _rendered(readable)
    except Exception:  # noqa: BLE001 - the reply is paid for: shown as typed, whatever broke
        return _verbatim(readable)


class _UnfitError(Exception):
    """A reply that is better shown as typed."""


def _rendered(text: str) -> str:
    head, rest = _split(text)
    page = clean(_parser().render(head, dict(_BUDGET)))
    if len(page) > MAX_HTML_CHARS:
        raise _UnfitError("the page would bloat the notebook")
    return page + (_verbatim(rest) if rest else "")


def _split(text: str) -> tuple[str, str]:
    """Cut at a line's end, if there is one near the limit."""
    if len(text) <= MAX_MARKDOWN_CHARS:
        return text, ""
    cut = text.rfind("\n", MAX_MARKDOWN_CHARS - 2_000, MAX_MARKDOWN_CHARS) + 1
    cut = cut or MAX_MARKDOWN_CHARS
    return text[:cut], text[cut:]


def _verbatim(text: str) -> str:
    return f'<pre style="{ELEMENTS["pre:wrapped"]}">{_escaped(text)}</pre>'


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    md = MarkdownIt("commonmark", {"html": False, "maxNesting": _MAX_NESTING})
    md.enable(["table", "strikethrough"]).disable(["html_block", "html_inline"])
    md.validateLink = is_address  # type: ignore[method-assign] # the documented hook
    add_math(md)
    keep_every_cell(md)
    md.core.ruler.push("dress", _dress)
    for name, rule in _RULES.items():
        md.add_render_rule(name, rule)
    return md


_CONTAINERS = frozenset({"blockquote_open", "list_item_open"})


def _dress(state: StateCore) -> None:
    """Return every element its style, every link its marks, and every word harmless characters."""
    for token in _every(state.tokens):
        if token.type in _CONTAINERS and token.level >= _MAX_NESTING - 1:
            raise _UnfitError("what is inside was dropped")
        if token.type in {"text", "code_inline"}:
            token.content = to_text(token.content)  # entities (`&#x202E;`) are decoded only now
        if token.type == "link_open":
            token.attrs = _link(str(token.attrs["href"]))
        elif token.nesting >= 0 and (style := _markdown_style_of(token)):
            token.attrs["style"] = style


def _link(href: str) -> dict[str, str | int | float]:
    """Show the real address on hover, as the words of a link may name another."""
    if not is_address(href):
        return {}  # `[words]()`, the one form that markdown-it does not ask `validateLink` about
    return {"href": href, "title": href, "target": "_blank", "style": ELEMENTS["a"]}


def _every(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _every(token.children or ())


def _markdown_style_of(token: Token) -> str | None:
    if token.tag in {"td", "th"}:
        # markdown-it writes a column's alignment as a style of its own: "text-align:right".
        align = str(token.attrs.get("style", "")).removeprefix("text-align:")
        return ELEMENTS[f"{token.tag} {align}".strip()]
    return ELEMENTS.get(token.tag)


# Render rules, with the signature that markdown-it-py gives them.
_Env = MutableMapping[str, Any]


def _image(_: object, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    """Show an image as words: fetching it would tell its server that, and what, was read."""
    token = tokens[index]
    alt = "".join(child.content for child in _every(token.children or ())).strip()
    return _escaped(f"[image: {alt} ({token.attrs['src']})]")


def _fence(_: object, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    token = tokens[index]
    language = (token.info.split() or [""])[0]
    coloured = (
        to_coloured(token.content, language=language) if _afford(env, "code", token) else None
    )
    return _code_block(_escaped(token.content) if coloured is None else coloured)


def _code_block(inside: str) -> str:
    code = f'<code style="{ELEMENTS["pre code"]}">{inside}</code>'
    return f'<pre style="{ELEMENTS["pre"]}">{code}</pre>\n'


def _math_inline(_: object, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    token = tokens[index]
    source = f'<code style="{ELEMENTS["code"]}">{_escaped(token.content)}</code>'
    return _math(token, env) or source


def _math_block(_: object, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    token = tokens[index]
    math = _math(token, env)
    if math is None:
        return _code_block(_escaped(token.content))
    return f'<div style="{ELEMENTS["scroll"]}">{math}</div>\n'


def _math(token: Token, env: _Env) -> str | None:
    if not _afford(env, "math", token):
        return None
    return to_mathml(token.content, display=token.meta["display"])


def _afford(env: _Env, kind: str, token: Token) -> bool:
    env[kind] -= len(token.content)
    return bool(env[kind] >= 0)


def _table_open(_: object, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    return f'<div style="{ELEMENTS["scroll"]}"><table style="{ELEMENTS["table"]}">\n'


def _table_close(_: object, tokens: Sequence[Token], index: int, options: Any, env: _Env) -> str:
    return "</table></div>\n"


_RULES = {
    "image": _image,
    "fence": _fence,
    "code_block": _fence,
    "math_inline": _math_inline,
    "math_block": _math_block,
    "table_open": _table_open,
    "table_close": _table_close,
}
