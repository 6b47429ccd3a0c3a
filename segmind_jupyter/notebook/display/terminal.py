"""A reply's Markdown as the rich text of a terminal, where rich is installed.

Nothing that a reply holds reaches the terminal as a control sequence: colours are rich's own.
"""

from __future__ import annotations

import io
import re
import shutil
import sys
from typing import Any

from segmind_jupyter.notebook.display.markdown import MAX_MARKDOWN_CHARS, lexer_of
from segmind_jupyter.words import to_text

#: What sets colours and weights (ECMA-48's SGR), and nothing else.
_COLOURS = re.compile(r"(\x1b\[[0-9;]*m)")

_INDENT = "  "


def is_terminal(shell: Any) -> bool:
    """Return whether what the shell prints is read on a terminal."""
    return getattr(shell, "kernel", None) is None and bool(sys.stdout and sys.stdout.isatty())


def to_rich_text(text: str) -> str | None:
    """Draw Markdown, indented as all words of a reply are; `None` where that cannot be done."""
    try:
        from markdown_it import MarkdownIt
        from rich.console import Console
        from rich.markdown import Markdown
    except ModuleNotFoundError:
        return None
    if len(text) > MAX_MARKDOWN_CHARS:
        return None
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
    width = max(shutil.get_terminal_size().columns - len(_INDENT), 20)
    drawn = io.StringIO()
    try:
        Console(file=drawn, force_terminal=True, width=width).print(page)
    except Exception:  # noqa: BLE001 - the reply is paid for: shown as typed, whatever broke
        return None
    pieces = _COLOURS.split(drawn.getvalue())
    safe = "".join(piece if n % 2 else to_text(piece) for n, piece in enumerate(pieces))
    return "\n".join(f"{_INDENT}{line}".rstrip() for line in safe.strip("\n").split("\n"))
