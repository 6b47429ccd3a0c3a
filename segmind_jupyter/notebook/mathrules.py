r"""Where math stands in Markdown: ``$..$``, ``$$..$$``, ``\(..\)``, ``\[..\]``, ``\begin{align}``.

Rules for markdown-it-py that make tokens and draw nothing. (mdit-py-plugins' dollarmath was tried:
it misses ``$x$ is 3``, because it takes the text's last character for the one before the dollar.)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.ruler import RuleOptionsType
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

#: Longest displayed formula, in lines; bounds the search for the end of one.
_MAX_LINES = 200

#: Block rules that a displayed formula may end, as a fence may.
_INTERRUPTED: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}

#: Inline forms, by opening delimiter. Each is linear: an opening delimiter never looks past the
#: next one of its kind. A single dollar follows Pandoc's rule for money: no space inside, no
#: digit behind; and no digit in front ("costs 5$, or 6$"). Nor does it close before what starts
#: a shell's variable (`$HOME/bin:$PATH`, `$a/${b}`, `$_`, `$dir/$user`), but for one or two small
#: letters: "the $n$th of $k$s".
_INLINE = (
    ("$$", re.compile(r"\$\$((?:[^$\\]++|\\.|\$(?!\$))++)\$\$", re.DOTALL)),
    (
        "$",
        re.compile(
            r"(?<!\d)\$(?![\s$])((?:[^$\\]++|\\.)++)(?<!\s)\$(?![\dA-Z_{]|[a-z]{3})", re.DOTALL
        ),
    ),
    (r"\(", re.compile(r"\\\(((?:[^\\]++|\\[^()])++)\\\)", re.DOTALL)),
    # Not before "(": `\[text\](address)` is an escaped link.
    (r"\[", re.compile(r"\\\[((?:[^\\]++|\\[^\[\]])++)\\\](?!\()", re.DOTALL)),
)
_DISPLAYED = frozenset({"$$", r"\["})

_OPENING = re.compile(r"\$\$|\\\[|\\begin\{(?:align|equation|gather|multline|eqnarray)\*?\}")
_PUNCTUATION = " \t.,;:"


def add_math(md: MarkdownIt) -> None:
    """Teach a parser to make `math_inline` and `math_block` tokens.

    A token's `content` is the LaTeX without ``$`` and brackets, its `meta["display"]` whether it
    is displayed.
    """
    md.inline.ruler.before("escape", "math_inline", _inline)
    md.block.ruler.before("fence", "math_block", _block, _INTERRUPTED)


def _inline(state: StateInline, silent: bool) -> bool:
    for opening, form in _INLINE:
        if match := form.match(state.src, state.pos, state.posMax):
            if not silent:
                token = state.push("math_inline", "math", 0)
                token.content = match[1].strip()
                token.meta = {"display": opening in _DISPLAYED}
            state.pos = match.end()
            return True
    return False


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    if state.is_code_block(start) or not (match := _OPENING.match(_line(state, start))):
        return False
    opening = match[0]
    last = _last_line(state, start, end, opening)
    if last is None:
        return False
    if not silent:
        token = state.push("math_block", "math", 0)
        token.block = True
        token.map = [start, last + 1]
        lines = state.getLines(start, last + 1, state.sCount[start], False)
        token.content = _without_delimiters(lines.strip(), opening)
        token.meta = {"display": True}
        state.line = last + 1
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]]


def _last_line(state: StateBlock, start: int, end: int, opening: str) -> int | None:
    """Find the line that the formula ends; it must end there, in this block, before a blank."""
    closing = _closing(opening)
    text = _line(state, start)[len(opening) :]
    for line in range(start, min(end, start + _MAX_LINES)):
        if line > start:
            text = _line(state, line)
            if state.isEmpty(line) or state.sCount[line] < state.blkIndent:
                return None
        if closing in text:
            ends = text.index(closing) + len(closing) == len(text.rstrip(_PUNCTUATION))
            return line if ends else None
        if opening in text:
            return None
    return None


def _closing(opening: str) -> str:
    return {"$$": "$$", r"\[": r"\]"}.get(opening) or opening.replace("begin", "end")


def _without_delimiters(text: str, opening: str) -> str:
    """Take off dollars and brackets, but no environment; a full stop behind moves inside."""
    if opening.startswith(r"\begin"):
        return text
    body = text.rstrip(_PUNCTUATION)
    inside = body[len(opening) : -len(_closing(opening))].strip()
    return inside + text[len(body) :].strip()
