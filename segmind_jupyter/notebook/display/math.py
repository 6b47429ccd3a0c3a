"""LaTeX becomes MathML, or nothing at all: hostile, unknown and oversized input is refused.

latex2mathml builds a tree; the markup is written here, from an allow-list, so that no byte of the
formula reaches the page unescaped.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from segmind_jupyter.notebook.display.sanitize import (
    MATH_ATTRIBUTES,
    MATH_TAGS,
    SOURCE_ENCODING,
    is_math_value,
)
from segmind_jupyter.notebook.display.styles import MATH
from segmind_jupyter.words import to_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

    from markdown_it import MarkdownIt
    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline

#: Longest displayed formula, in lines; bounds the search for the end of one.
_MAX_LINES = 200

#: Formulas among words. Each form is linear: an opening delimiter never looks past the next one
#: of its kind. A single dollar follows Pandoc's rule for money (no space inside, no digit behind),
#: has no digit in front ("costs 5$, or 6$"), and does not close before what starts a shell's
#: variable (`$HOME/bin:$PATH`, `$a/${b}`), but for small letters: "the $n$th".
_INLINE = re.compile(
    r"""
    \$\$ ((?:[^$\\]++ | \\. | \$(?!\$))++) \$\$
    | \\\[ ((?:[^\\]++ | \\[^\[\]])++) \\\] (?!\()  # `\[text\](address)` is an escaped link
    | \\\( ((?:[^\\]++ | \\[^()])++) \\\)
    | (?<!\d)\$(?![\s$]) ((?:[^$\\]++ | \\.)++) (?<!\s)\$(?![\dA-Z_{]|[a-z]{3})
    """,
    re.DOTALL | re.VERBOSE,
)

#: A formula on lines of its own; the full stop behind it is its own, too.
_BLOCK = re.compile(
    r"""
    (?: \$\$ ((?:(?!\$\$).)+) \$\$
      | \\\[ ((?:(?!\\[\[\]]).)+) \\\]
      | (\\begin\{((?:align|equation|gather|multline|eqnarray)\*?)\}
        (?:(?!\\(?:begin|end)\{\4\}).)+ \\end\{\4\})
    ) ([ \t.,;:]*)$
    """,
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)


def add_math(md: MarkdownIt) -> None:
    """Teach a parser `math_inline` and `math_block`: LaTeX as `content`, and `meta["display"]`."""
    md.inline.ruler.before("escape", "math_inline", _inline)
    ended = ["paragraph", "reference", "blockquote", "list"]  # as by a fence
    md.block.ruler.before("fence", "math_block", _block, {"alt": ended})


def _inline(state: StateInline, silent: bool) -> bool:
    match = _INLINE.match(state.src, state.pos, state.posMax)
    if match is None:
        return False
    if not silent:
        token = state.push("math_inline", "math", 0)
        token.content = (match[1] or match[2] or match[3] or match[4]).strip()
        token.meta = {"display": bool(match[1] or match[2])}
    state.pos = match.end()
    return True


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    first = state.src[state.bMarks[start] + state.tShift[start] : state.eMarks[start]]
    if state.is_code_block(start) or not first.startswith(("$$", r"\[", r"\begin{")):
        return False
    # It must end in this block, before a blank line.
    ends = (n for n in range(start, end) if state.isEmpty(n) or state.sCount[n] < state.blkIndent)
    stop = min(next(ends, end), start + _MAX_LINES)
    match = _BLOCK.match(state.getLines(start, stop, state.sCount[start], False))
    if match is None:
        return False
    if not silent:
        state.line = start + match[0].count("\n") + 1
        token = state.push("math_block", "math", 0)
        token.block, token.map = True, [start, state.line]
        token.content = (match[1] or match[2] or match[3]).strip() + match[5].strip()
    return True


#: Longest formula that is set, in characters; the time of latex2mathml is linear in it.
MAX_TEX_CHARS = 4_000
#: Deepest nesting of the tree; browsers flatten theirs at 512, and each level costs a stack frame.
_MAX_DEPTH = 60
#: Elements that browsers draw wrongly unless they have just so many children.
_ARITY = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2}
_ARITY |= {"msubsup": 3, "munderover": 3}

#: Commands that link, load, style, name, or define others (loops and "billion laughs").
_HOSTILE = re.compile(
    r"\\(?:href|url|unicode|mmlToken|require|class|style|cssId|data|html\w*|includegraphics|"
    r"input|include|verb|[egx]?def|let|(?:re)?newcommand|providecommand|(?:re)?newenvironment|"
    r"DeclareMathOperator|csname|catcode|bbox|toggle|mathtip|texttip)(?![a-zA-Z])"
)

#: Environments that latex2mathml has under another name; numbers of equations are left out.
_ENVIRONMENTS = {
    "dcases": "cases",
    **dict.fromkeys(("align", "aligned", "eqnarray", "eqnarray*", "split"), "align*"),
    **dict.fromkeys(("gather", "gather*", "gathered", "multline", "multline*"), "displaylines"),
}
_ENVIRONMENT = re.compile(r"\\(begin|end)\{([a-z]+\*?)\}")

#: Names of equations and their wrappers: nothing to draw.
_UNDRAWN = re.compile(r"\\label\{[^{}]*\}|\\(?:begin|end)\{equation\*?\}|\\(?:nonumber|notag)\b")


def to_mathml(tex: str, *, display: bool) -> str | None:
    r"""Set a formula as MathML; `None` where it is refused, and its source is to be shown."""
    if len(tex) > MAX_TEX_CHARS:
        return None
    # A space in its place, so that the pieces around it cannot join to another command.
    prepared = re.sub(r"\\arg(?![a-zA-Z])", r"\\operatorname{arg}", _UNDRAWN.sub(" ", tex))
    prepared = _ENVIRONMENT.sub(lambda m: rf"\{m[1]}{{{_ENVIRONMENTS.get(m[2], m[2])}}}", prepared)
    if not prepared or _HOSTILE.search(prepared) or _HOSTILE.search(tex):
        return None
    kind = "block" if display else "inline"
    try:
        from latex2mathml.converter import convert_to_element

        (row,) = convert_to_element(prepared, display=kind)
        drawn = "".join(_markup(row, depth=1))
    except Exception:  # noqa: BLE001 - the converter raises all kinds (StopIteration, KeyError, RecursionError); the source is shown then
        return None
    source = _escaped(tex)
    if "".join(source.split()) != re.sub("<[^>]*>", "", drawn):
        # Browsers hide an annotation. Where the tags of MathML are dropped and the words stay
        # (GitHub, an untrusted notebook in JupyterLab), it is what tells 10^{-3} from 10-3.
        note = f'<annotation encoding="{SOURCE_ENCODING}"> [{source}]</annotation>'
        drawn = f"<semantics>{drawn}{note}</semantics>"
    return f'<math display="{kind}" style="{MATH["math"]}">{drawn}</math>'


def _markup(element: Element, *, depth: int, within: str = "") -> Iterator[str]:
    """Write an element and what is in it, or refuse what is on no list."""
    tag, style = element.tag, None
    if tag == "menclose":
        # Not in MathML Core: a boxed term is drawn by a style, and no other kind is.
        tag, style = "mrow", MATH[element.get("notation", "")]
    elif tag == "mtd":
        style = MATH.get(f"{within} {element.get('columnalign', '')}".strip())
    if tag not in MATH_TAGS or depth > _MAX_DEPTH or len(element) != _ARITY.get(tag, len(element)):
        raise ValueError(f"<{tag}> is not set")
    kept = {k: v for k, v in element.items() if k in MATH_ATTRIBUTES and is_math_value(v)}
    kept |= {"style": style} if style else {}
    attributes = "".join(f' {name}="{value}"' for name, value in kept.items())
    yield f"<{tag}{attributes}>"
    yield _text(element.text)
    # Equations that line up at `&` have a right column first, as nothing else has.
    is_aligned = tag == "mtr" and len(element) and element[0].get("columnalign") == "right"
    for child in element:
        yield from _markup(child, depth=depth + 1, within="aligned" if is_aligned else "")
        yield _text(child.tail)
    yield f"</{tag}>"


def _text(text: str | None) -> str:
    r"""Escape a piece of the tree, in which the converter mixes references (``&#x2211;``)."""
    if text and len(text) > 1 and text.startswith("\\"):
        raise ValueError(text)  # an unknown command, which would be shown as a variable
    return _escaped(html.unescape(text or ""))


def _escaped(text: str) -> str:
    return html.escape(to_text(text), quote=False)
