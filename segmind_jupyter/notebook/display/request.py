"""What a request holds, block by block, as `--dry-run` and `reply.request` show it.

Every word of it is data (a prompt, a name, an earlier reply) and is escaped.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from segmind_jupyter.content.parts import Part, Text, part_of
from segmind_jupyter.content.prompt import counted, described, estimated_tokens, readable_bytes
from segmind_jupyter.notebook.display.reply import Display, thumbnail_html
from segmind_jupyter.notebook.display.styles import div, folded, framed, one_line_html
from segmind_jupyter.session import Request
from segmind_jupyter.words import format_time, one_line, to_text

if TYPE_CHECKING:
    from segmind_jupyter.batch.preview import BatchPreview
    from segmind_jupyter.content.prompt import Attachment

#: Edge of a picture's file: a little more than the 320 px at which it is shown.
_PICTURE_PX: Final = 480

#: Most characters of one block that a terminal shows; the page has all of them.
_MAX_CHARS: Final = 800


def request_html(request: Request) -> str:
    """Show a request as HTML: where it goes, its settings, and all of it as the model reads it."""
    pieces = [_head_html(_head(request))]
    if request.earlier:
        earlier = ""
        for message in request.earlier:
            earlier += div("block", f"<strong>{_escaped(message['role'])}</strong>")
            earlier += _read_html(_titled(map(part_of, message["content"])))
        pieces.append(folded(_escaped(_earlier(request)), earlier))
    pieces.append(_read_html(_titled(request.prompt.parts(), request.sent)))
    pieces += [div("note", one_line_html(note)) for note in request.notes]
    return framed("".join(pieces))


def _head_html(lines: Iterable[str]) -> str:
    headline, *about = map(_escaped, lines)
    return div("head", f"<strong>{headline}</strong>") + "".join(div("about", a) for a in about)


def _read_html(parts: Iterable[tuple[str, Part]]) -> str:
    """Show words and pictures in one box, as they are read, each picture with its sizes."""
    inside = ""
    for title, part in parts:
        if isinstance(part, Text):
            inside += html.escape(to_text(part.text))
        else:
            picture = thumbnail_html(part, title, max_px=_PICTURE_PX, style="picture")
            inside += picture + div("about", _escaped(title))
    return div("verbatim", inside)


def request_text(request: Request) -> str:
    """Show the same in a terminal, where long texts are cut."""
    lines = [*_head(request), *([_earlier(request)] if request.earlier else [])]
    for title, part in _titled(request.prompt.parts(), request.sent):
        lines += ["", title]
        if isinstance(part, Text):
            text = to_text(part.text)
            lines += [f"    {line}" for line in text[:_MAX_CHARS].splitlines()]
            if (more := len(text) - _MAX_CHARS) > 0:
                lines.append(f"    … and {more:,} characters more: `_.blocks()` has them all")
    return "\n".join([*lines, *(f"\n{one_line(note)}" for note in request.notes)])


def preview_html(preview: BatchPreview) -> str:
    """Show what a batch would send: its sums, and its first requests in full."""
    head = framed(_head_html(str(preview).splitlines()))
    return head + "".join(map(request_html, preview.first))


def preview_text(preview: BatchPreview) -> str:
    lines = map(one_line, str(preview).splitlines())
    return "\n\n".join(["\n".join(lines), *map(request_text, preview.first)])


def _head(request: Request) -> Iterator[str]:
    """Say where it goes, how large it is (tokens by a rule of thumb), and its settings."""
    where = f"POST {request.path}"
    if not request.dry:
        yield f"This was sent: {where}"
    elif request.is_withheld:
        yield f"Nothing was sent, nor would be, as kept replies alone are used; none to {where}"
    elif request.kept_at is not None:
        when = format_time(request.kept_at)
        yield f"Nothing was sent, nor would be, as the reply of {when} is kept: {where}"
    else:
        yield f"Nothing was sent. This would be: {where}"
    blocks = counted(len(request.prompt.parts()), "block")
    size = readable_bytes(request.n_bytes)
    yield f"{blocks} · {estimated_tokens(request.tokens)} · request of {size}"
    if request.estimate is not None and request.kept_at is None and not request.is_withheld:
        yield str(request.estimate)
    if request.instruction:
        yield f"system: {one_line(request.instruction)}"
    for name, value in request.params.items():
        yield one_line(f"{name}: {json.dumps(value, ensure_ascii=False)}")


def _titled(parts: Iterable[Part], sent: Iterable[Attachment] = ()) -> Iterator[tuple[str, Part]]:
    """Return every block with its number, what it is, and its sizes."""
    labels = {id(image): item.label for item in sent for image in item.images}
    for number, part in enumerate(parts, start=1):
        facts = (str(number), one_line(labels.get(id(part), "")), described(part))
        yield " · ".join(filter(None, facts)), part


def _earlier(request: Request) -> str:
    """Sum up the conversation so far: ``"before it: 4 messages, ≈800 tokens"``."""
    parts = (part_of(block) for message in request.earlier for block in message["content"])
    tokens = estimated_tokens(sum(part.tokens for part in parts))
    return f"before it: {counted(len(request.earlier), 'message')}, {tokens}"


def _escaped(text: str) -> str:
    return html.escape(one_line(text))


class RequestDisplay(Display):
    html, text = staticmethod(request_html), staticmethod(request_text)


class PreviewDisplay(Display):
    html, text = staticmethod(preview_html), staticmethod(preview_text)
