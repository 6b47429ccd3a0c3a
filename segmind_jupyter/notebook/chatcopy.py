"""Text of a reply that is to be copied: one click selects all of it.

Plain widgets cannot reach a clipboard, and a cell can be filled only by the call that runs it.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from segmind_jupyter.notebook.palette import FRAME
from segmind_jupyter.notebook.plaintext import to_text
from segmind_jupyter.notebook.transcript import about_html

if TYPE_CHECKING:
    from segmind_jupyter.api.messages import Reply

#: How CommonMark begins a block of code between fences; others are indented, and rarely meant.
_FENCES = ("```", "~~~")


def copy_html(text: str) -> str:
    """Show untrusted text as it was written, to be selected by a click."""
    from segmind_jupyter.notebook.markdown import framed

    hint = about_html("Click the text to select all of it; then press Ctrl+C (⌘C on a Mac).")
    return framed(f'{hint}<pre style="{FRAME["copied"]}">{html.escape(to_text(text))}</pre>')


def has_code(text: str) -> bool:
    """Tell whether a reply seems to hold code, without reading it all."""
    return any(fence in text for fence in _FENCES)


def first_code(reply: Reply) -> str:
    """Give the first block of code in a reply; empty where there is none."""
    return next((block.code for block in reply.code_blocks), "")
