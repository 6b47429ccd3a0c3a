"""What a request holds, block by block, as `--dry-run` and `reply.request` show it.

Every word of it is data (a prompt, a name, an earlier reply) and is escaped.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from segmind_jupyter.content.parts import Image, Part, Text, part_of
from segmind_jupyter.content.prompt import counted, described, estimated_tokens, readable_bytes
from segmind_jupyter.notebook.display.markdown import framed
from segmind_jupyter.notebook.display.reply import thumbnail_html
from segmind_jupyter.notebook.display.styles import FRAME
from segmind_jupyter.notebook.display.text import format_time, one_line, one_line_html, to_text
from segmind_jupyter.session import Request

#: Edge of a picture's file: a little more than the 320 px at which it is shown.
_PICTURE_PX: Final = 480

#: Most characters of one block that a terminal shows; the page has all of them.
_MAX_CHARS: Final = 800


def request_html(request: Request) -> str:
    """Show a request as HTML: where it goes, its settings, its blocks in order, with pictures."""
    pieces = [
        _div("head", f"<strong>{_escaped(_headline(request))}</strong>"),
        _div("about", _escaped(_sizes(request))),
        *(_div("about", _escaped(line)) for line in _settings(request)),
        _earlier_html(request),
        *(_block_html(title, part) for title, part in _titled(request)),
        *(_div("note", one_line_html(note)) for note in request.notes),
    ]
    return framed("".join(pieces))


def request_text(request: Request) -> str:
    """Show the same in a terminal, where long texts are cut."""
    lines = [_headline(request), _sizes(request), *_settings(request)]
    if request.earlier:
        lines.append(_earlier(request))
    for title, part in _titled(request):
        lines += ["", title, *_verbatim_lines(part)]
    return "\n".join([*lines, *(f"\n{one_line(note)}" for note in request.notes)])


def _headline(request: Request) -> str:
    where = f"POST {request.path}"
    if not request.dry:
        return f"This was sent: {where}"
    if request.is_withheld:
        return f"Nothing was sent, nor would be, as kept replies alone are used; none to {where}"
    if request.kept_at is not None:
        when = format_time(request.kept_at)
        return f"Nothing was sent, nor would be, as the reply of {when} is kept: {where}"
    return f"Nothing was sent. This would be: {where}"


def _sizes(request: Request) -> str:
    """Sum it up: ``"3 blocks · ≈1,230 tokens · 45 kB"``; tokens are a rule of thumb."""
    blocks = counted(len(request.prompt.parts()), "block")
    size = readable_bytes(request.n_bytes)
    return f"{blocks} · {estimated_tokens(request.tokens)} · request of {size}"


def _settings(request: Request) -> Iterator[str]:
    if request.system:
        yield f"system: {one_line(request.system)}"
    for name, value in request.params.items():
        yield one_line(f"{name}: {json.dumps(value, ensure_ascii=False)}")


def _titled(request: Request) -> Iterator[tuple[str, Part]]:
    """Return every block of the prompt with its number, what it is, and its sizes."""
    labels = {id(image): item.label for item in request.sent for image in item.images}
    for number, part in enumerate(request.prompt.parts(), start=1):
        label = one_line(labels.get(id(part), ""))
        yield f"{number} · " + " · ".join(filter(None, (label, _described(part)))), part


def _described(part: Part) -> str:
    if isinstance(part, Image):
        return described(part)
    return f"text, {counted(len(part.text), 'character')}, {estimated_tokens(part.tokens)}"


def _earlier(request: Request) -> str:
    """Sum up the conversation so far: ``"before it: 4 messages, 2 images, ≈800 tokens"``."""
    parts = list(_parts_of(request.earlier))
    images = sum(isinstance(part, Image) for part in parts)
    tokens = estimated_tokens(sum(part.tokens for part in parts))
    facts = (counted(len(request.earlier), "message"), counted(images, "image"), tokens)
    return f"before it: {', '.join(filter(None, facts))}"


def _parts_of(messages: Iterable[dict[str, Any]]) -> Iterator[Part]:
    for message in messages:
        yield from map(part_of, message["content"])


def _earlier_html(request: Request) -> str:
    """Fold the earlier messages away, each with its role and its blocks."""
    if not request.earlier:
        return ""
    messages = (
        _div("block", f"<strong>{_escaped(message['role'])}</strong>")
        + "".join(_block_html(_described(part), part) for part in _parts_of([message]))
        for message in request.earlier
    )
    title = f'<summary style="{FRAME["summary"]}">{_escaped(_earlier(request))}</summary>'
    return f"<details>{title}{''.join(messages)}</details>"


def _block_html(title: str, part: Part) -> str:
    if isinstance(part, Text):
        inside = _div("verbatim", html.escape(to_text(part.text)))
    else:
        inside = thumbnail_html(part, max_px=_PICTURE_PX, style="picture")
    return _div("block", _div("about", _escaped(title)) + inside)


def _verbatim_lines(part: Part) -> Iterator[str]:
    if not isinstance(part, Text):
        return
    text = to_text(part.text)
    yield from (f"    {line}" for line in text[:_MAX_CHARS].splitlines())
    if len(text) > _MAX_CHARS:
        yield f"    … and {len(text) - _MAX_CHARS:,} characters more: `_.blocks()` has them all"


def _div(style: str, inside: str) -> str:
    return f'<div style="{FRAME[style]}">{inside}</div>'


def _escaped(text: str) -> str:
    return html.escape(one_line(text))
