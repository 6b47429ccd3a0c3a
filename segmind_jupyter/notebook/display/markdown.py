"""Untrusted Markdown becomes HTML that is safe to show and fetches nothing.

Two walls: what the reply says only ever enters the HTML escaped (raw HTML is text, images are
text, links are http, https or mailto), and the result passes an allow-list (`sanitize`).
"""

from __future__ import annotations

import contextlib
import html
import io
import re
import shutil
import sys
import time
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from segmind_jupyter.notebook.display.math import add_math, to_mathml
from segmind_jupyter.notebook.display.sanitize import clean, is_address
from segmind_jupyter.notebook.display.styles import CODE, ELEMENTS
from segmind_jupyter.words import to_text

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_core import StateCore
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

#: A longer reply, or page, is shown as typed: hostile input of this size takes seconds, and in a
#: few characters thousands of empty cells of a table can be typed.
MAX_MARKDOWN_CHARS, MAX_HTML_CHARS = 100_000, 2_000_000
#: Deepest nesting, in containers; a list inside a list takes two. markdown-it drops what is deeper.
_MAX_NESTING = 20

#: Letters and punctuation of Chinese, Japanese and Korean.
_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef"
    "\U00020000-\U0003ffff]"
)

#: An address among words ends before the punctuation of its sentence, of Chinese too.
_BARE_ADDRESS = re.compile(
    r"(?<![A-Za-z0-9])(https?://(?=[!-~])"
    r"(?:[^\s<>\"'`|()\u3000-\u303f\uff00-\uffef]|\([^\s<>\"'`()]*\))+)(?<![.,;:!?*_~\]])"
)

_SMALL_HTML = re.compile(r"<br\s{0,3}/?>|<(su[bp])>([^<>\n]{1,200})</\1>", re.IGNORECASE)

#: What a list's item begins with that is a task, done or not.
_TASK = re.compile(r"\[([ xX])\] ")


def body_html(text: str) -> str:
    """Turn untrusted Markdown into safe HTML, without the box."""
    text = to_text(text)
    if len(text) <= MAX_MARKDOWN_CHARS:
        with contextlib.suppress(Exception):  # the reply is paid for: as typed, whatever breaks
            page = clean(_parser().render(text))
            if len(page) <= MAX_HTML_CHARS and (page or not text.strip()):
                return page
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
    md.block.ruler.at("table", _whole_table, {"alt": ["paragraph", "reference"]})
    md.inline.ruler.at("emphasis", _emphasis)
    md.inline.ruler.before("autolink", "small_html", _small_html)
    md.core.ruler.push("dress", _dress)
    return md


def _emphasis(state: StateInline, silent: bool) -> bool:
    """Find `*` and `_` as markdown-it does, but for `*` between Chinese, Japanese or Korean.

    CommonMark takes `**「a」**は` for no emphasis, as a letter follows the punctuation.
    """
    from markdown_it.rules_inline.emphasis import tokenize

    start, known = state.pos, len(state.delimiters)
    if not tokenize(state, silent):
        return False
    before, after = state.src[start - 1 : start], state.src[state.pos : state.pos + 1]
    if state.src[start] == "*" and (_CJK.match(before) or _CJK.match(after)):
        for delimiter in state.delimiters[known:]:
            delimiter.open = delimiter.open or bool(after.strip())
            delimiter.close = delimiter.close or bool(before.strip())
    return True


def _small_html(state: StateInline, silent: bool) -> bool:
    """Read the HTML that models write in tables: `<br>`, and words in `<sub>` or `<sup>`."""
    match = _SMALL_HTML.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    if not silent:
        tag, words = (match[1] or "br").lower(), to_text(html.unescape(match[2] or ""))
        page = f'<{tag} style="{ELEMENTS[tag]}">{_escaped(words)}</{tag}>' if match[1] else "<br>"
        state.push("html_inline", "", 0).content = page
    state.pos = match.end()
    return True


def _dress(state: StateCore) -> None:
    """Return every element its style, every link its marks, and every word harmless characters."""
    for n, token in enumerate(state.tokens):
        if token.type in {"blockquote_open", "list_item_open"} and token.level >= _MAX_NESTING - 1:
            raise ValueError("what is inside was dropped")
        if token.type == "inline" and token.children:
            item, first = state.tokens[n - 2], token.children[0]
            task = _TASK.match(first.content) if first.type == "text" else None
            _dress_line(token.children)
            if task and item.type == "list_item_open":
                first.content = f"{'☐' if task[1] == ' ' else '☑'} {first.content[4:]}"
                item.attrs["style"] = ELEMENTS["li task"]
        elif token.type in {"heading_open", "heading_close"}:
            # A heading of a reply is none of the notebook's: tables of contents collect `<h2>`.
            level, token.tag = token.tag, "div"
            if token.nesting > 0:
                token.attrs = {"role": "heading", "aria-level": level[1:], "style": ELEMENTS[level]}
        elif token.type in {"fence", "code_block"}:
            token.type, token.content = "html_block", _code(token.content, token.info)
        elif token.type == "math_block":
            math = to_mathml(token.content, display=True)
            set_math = f'<div style="{ELEMENTS["scroll"]}">{math}</div>\n' if math else ""
            token.type, token.content = "html_block", set_math or _code(token.content)
        elif token.tag in {"th", "td"} and token.nesting > 0:
            # markdown-it writes a column's alignment as a style of its own: "text-align:right".
            align = str(token.attrs.get("style", "text-align:left")).removeprefix("text-align:")
            token.attrs["style"] = ELEMENTS[f"{token.tag} {align}"]
        elif token.nesting >= 0 and token.tag in ELEMENTS:
            token.attrs["style"] = ELEMENTS[token.tag]


def _dress_line(tokens: Iterable[Token]) -> None:
    """Dress what is in a line; a bare address among its words becomes a link."""
    in_link = False
    for token in tokens:
        in_link = token.nesting > 0 if token.tag == "a" else in_link
        if token.type in {"text", "code_inline"}:
            token.content = to_text(token.content)  # entities (`&#x202E;`) are decoded only now
        if token.type == "image":
            # As words: fetching it would tell its server that, and what, was read.
            alt = "".join(child.content for child in token.children or ()).strip()
            words = to_text(f"[image: {alt} ({token.attrs['src']})]")
            token.type, token.content = "html_inline", _escaped(words)
        elif token.type == "math_inline":
            math = to_mathml(token.content, display=token.meta["display"])
            source = f'<code style="{ELEMENTS["code"]}">{_escaped(token.content)}</code>'
            token.type, token.content = "html_inline", math or source
        elif token.type == "link_open":
            token.attrs = _link_attributes(str(token.attrs["href"]))
        elif token.type == "text" and not in_link:
            pieces = enumerate(_BARE_ADDRESS.split(token.content))
            token.content = "".join(_link(p) if n % 2 else _escaped(p) for n, p in pieces)
            token.type = "html_inline"
        elif token.nesting >= 0 and token.tag in ELEMENTS:
            token.attrs["style"] = ELEMENTS[token.tag]


def _link(address: str) -> str:
    marks = _link_attributes(address).items()
    attributes = "".join(f' {name}="{html.escape(str(value))}"' for name, value in marks)
    return f"<a{attributes}>{_escaped(address)}</a>"


def _link_attributes(href: str) -> dict[str, str | int | float]:
    """Show the real address on hover, as the words of a link may name another."""
    # `[words]()` is the one form that markdown-it does not ask `validateLink` about.
    if not is_address(href):
        return {}
    return {"href": href, "title": href, "target": "_blank", "style": ELEMENTS["a"]}


def _whole_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Make a `code_block` of a table that loses text: GFM drops a cell that a bar in code makes."""
    from markdown_it.rules_block.table import escapedSplit, table

    first = len(state.tokens)
    if not table(state, start, end, silent):
        return False
    if silent:
        return True
    columns = sum(token.type == "th_open" for token in state.tokens[first:])
    typed = state.getLines(start, state.line, state.blkIndent, True)
    rows = (escapedSplit(row.strip().removeprefix("|")) for row in typed.splitlines())
    if any(cell.strip() for row in rows for cell in row[columns:]):
        del state.tokens[first:]
        token = state.push("code_block", "code", 0)
        token.content = typed
        token.map = [start, state.line]
    return True


def _code(code: str, info: str = "") -> str:
    inside = to_coloured(code, language=info) or _escaped(code)
    pre, style = ELEMENTS["pre"], ELEMENTS["pre code"]
    return f'<pre style="{pre}"><code style="{style}">{inside}</code></pre>\n'


#: Longest block that is coloured, in characters: some 500 lines.
MAX_CODE_CHARS = 20_000
#: Shapes that no code has and slow lexers have in common: very long lines, and pages of nothing.
#: A deadline alone is not enough, as it is only looked at between two matches of a lexer.
_MAX_LINE_CHARS, _MAX_BLANK_LINES = 500, 40

#: What may stand behind a fence: Pygments' names, and words for them that it does not know.
_NAMES = """
    bash sh shell zsh console c cpp c++ csharp c# css diff docker dockerfile fortran f90 go golang
    haskell hs html ini cfg java javascript js json julia jl kotlin latex tex lua make makefile
    matlab octave php powershell ps1 pycon python py python3 r ruby rb rust rs scala sql mysql
    postgresql swift toml typescript ts xml yaml
"""
LANGUAGES = {name: name for name in _NAMES.split()}
LANGUAGES |= {"ipython": "python", "ipython3": "python", "jsx": "js", "tsx": "ts", "yml": "yaml"}


def lexer_of(code: str, info: str) -> str | None:
    """Return Pygments' name for what stands behind a fence; `None` where it is to stay plain."""
    language = LANGUAGES.get((info.lower().split() or [""])[0])
    if language is None or len(code) > MAX_CODE_CHARS:
        return None
    without_blanks = code.translate({ord(" "): None, ord("\t"): None})
    is_odd = max(map(len, code.split("\n"))) > _MAX_LINE_CHARS
    return None if is_odd or "\n" * _MAX_BLANK_LINES in without_blanks else language


def to_coloured(code: str, *, language: str, max_seconds: float = 0.5) -> str | None:
    """Colour code as HTML; `None` where the language is unknown, the shape odd, or time is up.

    500 lines of Python take a tenth of that.
    """
    lexer_name = lexer_of(code, language)
    if lexer_name is None:
        return None
    from pygments.lexers import get_lexer_by_name

    deadline, pieces = time.monotonic() + max_seconds, []
    for kind, text in get_lexer_by_name(lexer_name, stripnl=False).get_tokens(code):
        if time.monotonic() > deadline:
            return None
        # The nearest kind above has the style, as ``Keyword.Constant`` is a ``Keyword``.
        above = (".".join(kind[:depth]) for depth in range(len(kind), 0, -1))
        style = next((CODE[name] for name in above if name in CODE), None)
        words = _escaped(text)
        pieces.append(f'<span style="{style}">{words}</span>' if style else words)
    return "".join(pieces)


#: What sets colours and weights on a terminal (ECMA-48's SGR), and nothing else.
_COLOURS = re.compile(r"(\x1b\[[0-9;]*m)")


def is_terminal(shell: Any) -> bool:
    """Return whether what the shell prints is read on a terminal."""
    return getattr(shell, "kernel", None) is None and bool(sys.stdout and sys.stdout.isatty())


def to_rich_text(text: str) -> str | None:
    """Draw Markdown for a terminal, indented as all words of a reply are; `None` without rich.

    Colours are rich's own, and nothing that a reply holds gets there as a control sequence.
    """
    if len(text) > MAX_MARKDOWN_CHARS:
        return None
    drawn, columns = io.StringIO(), shutil.get_terminal_size().columns
    try:
        from markdown_it import MarkdownIt
        from rich.console import Console
        from rich.markdown import Markdown

        parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
        parser.disable(["html_block", "html_inline", "image"])  # rich would drop them
        # An address is shown: behind a link of a terminal anything may be.
        page = Markdown("", code_theme="ansi_dark", hyperlinks=False)
        page.parsed = parser.parse(to_text(text))
        for token in [each for top in page.parsed for each in (top, *(top.children or ()))]:
            token.content = to_text(token.content)  # entities (`&#x1b;`) are decoded only now
            token.attrs = {name: to_text(str(value)) for name, value in token.attrs.items()}
            if token.type == "fence":
                token.info = lexer_of(token.content, token.info) or "text"
        Console(file=drawn, force_terminal=True, width=max(columns - 2, 20)).print(page)
    except Exception:  # noqa: BLE001 - the reply is paid for: shown as typed, whatever is missing or broke
        return None
    pieces = _COLOURS.split(drawn.getvalue())
    safe = "".join(piece if n % 2 else to_text(piece) for n, piece in enumerate(pieces))
    return "\n".join(f"  {line}".rstrip() for line in safe.strip("\n").split("\n"))
