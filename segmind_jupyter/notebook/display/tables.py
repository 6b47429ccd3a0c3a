"""Tables on a page: what `%segmind` lists, and objects that `--json` gave."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any, Final

from segmind_jupyter.notebook.display.styles import ELEMENTS, div, framed, one_line_html
from segmind_jupyter.words import aligned, one_line

#: Most rows of a list of objects, and most characters of one value, that are shown.
_MAX_ROWS: Final = 50
_MAX_CHARS: Final = 400


class Markup(str):
    """A cell that is finished HTML."""

    __slots__ = ()


def table_html(rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """Make a table whose first row is its head; all columns but those of `left` end at the right.

    A head without a word is left out.
    """
    lines = []
    for tag, cells in zip(("th", *["td"] * len(rows)), rows, strict=False):
        if tag == "td" or any(cells):
            line = ""
            for n, cell in enumerate(cells):
                style = ELEMENTS[f"{tag} left"]
                if n not in left:  # a number and its unit stay on one line
                    style = f"{ELEMENTS[f'{tag} right']};white-space:nowrap"
                inside = cell if isinstance(cell, Markup) else html.escape(one_line(cell))
                line += f'<{tag} style="{style}">{inside}</{tag}>'
            lines.append(f'<tr style="{ELEMENTS["tr"]}">{line}</tr>')
    return f'<table style="{ELEMENTS["table"]}">{"".join(lines)}</table>'


def table_bundle(
    rows: Sequence[Sequence[str]], *notes: str, left: Sequence[int] = (0,), right: bool = False
) -> dict[str, str]:
    """Return both sides of a table, with notes below it."""
    page = table_html(rows, left=left) + "".join(div("about", one_line_html(n)) for n in notes)
    return {
        "text/html": framed(page),
        "text/plain": "\n".join([aligned(rows, right=right), *notes]),
    }


def facts_html(facts: Sequence[tuple[str, str]]) -> str:
    """Make a table of names and what they are; what stands in backquotes becomes code."""
    rows = [(name, Markup(one_line_html(what))) for name, what in facts]
    return table_html([("", ""), *rows], left=(0, 1))


def facts_bundle(facts: Sequence[tuple[str, str]]) -> dict[str, str]:
    text = aligned([(name, one_line(what)) for name, what in facts])
    return {"text/html": framed(facts_html(facts)), "text/plain": text}


def object_html(value: Any) -> str:
    """Show an object by its fields, or a list of such as a table; anything else as its words."""
    from pydantic_core import to_jsonable_python

    plain: Any = to_jsonable_python(value, by_alias=False, bytes_mode="base64", fallback=repr)
    if isinstance(plain, dict):
        return facts_html([(one_line(name), _words(each)) for name, each in plain.items()])
    if isinstance(plain, list) and plain and all(isinstance(each, dict) for each in plain):
        names = list(dict.fromkeys(name for row in plain for name in row))
        cells = [[_words(row.get(name)) for name in names] for row in plain[:_MAX_ROWS]]
        more = f"and {len(plain) - _MAX_ROWS:,} more" if len(plain) > _MAX_ROWS else ""
        return table_html([names, *cells], left=range(len(names))) + div("about", more)
    return div("verbatim", html.escape(_words(plain)))


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple) and all(isinstance(each, str | int) for each in value):
        value = ", ".join(map(str, value))
    return one_line(value if isinstance(value, str) else repr(value), max_chars=_MAX_CHARS)
