"""How a `Reply` and a `Request` show in a shell: as safe HTML and as text, or hushed."""

from __future__ import annotations

import abc
import ast
import base64
import contextlib
import dataclasses
import html
import linecache
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from segmind_jupyter.api.messages import Reply, Usage
from segmind_jupyter.content.parts import Image
from segmind_jupyter.content.prompt import Attachment
from segmind_jupyter.errors import JobCancelled
from segmind_jupyter.notebook.display.markdown import body_html, framed
from segmind_jupyter.notebook.display.styles import FRAME
from segmind_jupyter.notebook.display.text import format_time, one_line, one_line_html, to_text
from segmind_jupyter.session import Request


class SuppressedValues:
    """The values that are silenced in one cell (`-q`, `;`, or as they are shown already)."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._cell = 0
        # Weak, as a batch can be large, and its user may drop it before another one is hushed.
        self._values: list[weakref.ref[Any]] = []

    def add(self, value: object) -> None:
        """Show nothing of this very value until the cell has ended.

        A value without displays of its own (a dict that `--json` gave) is shown all the same.
        """
        if self._cell != self._shell.execution_count:
            self._cell, self._values = self._shell.execution_count, []
        with contextlib.suppress(TypeError):
            self._values.append(weakref.ref(value))

    def __contains__(self, value: object) -> bool:
        if self._cell != self._shell.execution_count:
            return False
        return any(known() is value for known in self._values)


def is_whole_statement(shell: Any) -> bool:
    """Return whether the line magic that runs is a statement of its own, so that its value shows.

    It is not where its value is assigned: whoever names the variable later in the cell wants to
    see it.
    """
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_globals is not shell.user_ns:
        frame = frame.f_back
    source = "".join(linecache.getlines(frame.f_code.co_filename))
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    return any(
        isinstance(each, ast.Expr)
        and each.lineno <= frame.f_lineno <= (each.end_lineno or each.lineno)
        for each in statements
    )


def failure_bundle(error: BaseException) -> dict[str, str]:
    """Return both sides of an error, as IPython's `display(..., raw=True)` takes them."""
    return {
        "text/html": framed(boxed(error, failure_html(error))),
        "text/plain": failure_text(error),
    }


def failure_html(error: BaseException) -> str:
    """Show an error as HTML that runs and fetches nothing, without a box."""
    return f"<strong>{one_line_html(type(error).__name__)}</strong>: {one_line_html(str(error))}"


def failure_text(error: BaseException) -> str:
    """Show an error on one line, as IPython shows those of this package."""
    return f"{type(error).__name__}: {one_line(str(error))}"


def boxed(error: BaseException, page: str) -> str:
    """Put finished HTML into the box of an error; what the user stopped is no alarm."""
    kind = "stopped" if isinstance(error, JobCancelled) else "failed"
    return f'<div style="{FRAME[kind]}">{page}</div>'


#: More objects than this are folded away.
_MAX_OPEN_ITEMS = 6

#: Thumbnails that one reply shows; each costs some kilobytes of the saved notebook.
_MAX_THUMBNAILS = 12

#: Edge of a thumbnail's file: twice the 48 px at which it is shown, for sharp screens.
_THUMBNAIL_PX = 96

#: Longest value from a server or a user that a footer shows, in characters.
_MAX_VALUE_CHARS = 300


def footer_html(reply: Reply, *, sent: Sequence[Attachment], notes: Sequence[str]) -> str:
    """Write the footer as HTML; its only address is the data of its own thumbnails."""
    pieces = [
        _cell(None, _escaped(usage_line(reply))),
        sent_html(sent),
        *(_cell("note", one_line_html(_line(note))) for note in notes),
    ]
    return _cell("footer", "".join(pieces))


def footer_text(reply: Reply, *, sent: Sequence[Attachment], notes: Sequence[str]) -> str:
    """Write the footer for a terminal: a line of usage, then one for each object and note."""
    first = f"── {usage_line(reply)}" if usage_line(reply) else ""
    items = (" · ".join(filter(None, (item.label, item.summary))) for item in sent)
    below = (f"   {_line(words)}" for words in (*items, *notes))
    return "\n".join(filter(None, (first, *below)))


def usage_line(reply: Reply) -> str:
    """Say what a reply took, leaving out what the server did not tell.

    ``claude-4-sonnet · 435 tokens in, 31 out · 11.2 s · 0.0021 credits, 4.20 left``
    """
    facts = (
        str(reply.model or ""),  # made by hand, it may be anything
        _tokens(reply.usage),
        *_spent(reply),
        "simulated" if reply.simulated else None,
    )
    return _line(" · ".join(filter(None, facts)))


def _spent(reply: Reply) -> tuple[str, ...]:
    """Say what it took now: a kept reply took no time, and its credits are those of then."""
    if reply.cached_at is not None:
        return (f"from cache, {format_time(reply.cached_at)}",)
    return _seconds(reply.elapsed_s), _credits(reply.cost, reply.remaining_credits)


def _tokens(usage: Usage) -> str:
    came, went = usage.input_tokens, usage.output_tokens
    if came is None:
        return "" if went is None else f"{went:,} tokens out"
    return f"{came:,} tokens in" + ("" if went is None else f", {went:,} out")


def _seconds(elapsed_s: float | None) -> str:
    if elapsed_s is None:
        return ""
    return f"{elapsed_s:.1f} s" if elapsed_s < 100 else f"{elapsed_s:,.0f} s"


def _credits(cost: float | None, left: float | None) -> str:
    if cost is None:
        return "" if left is None else f"{left:,.2f} credits left"
    return f"{_amount(cost)} credits" + ("" if left is None else f", {left:,.2f} left")


def _amount(credits_: float) -> str:
    """Round to four decimals, as one call costs a fraction of a credit."""
    if 0 < credits_ < 0.0001:
        return "<0.0001"
    return f"{credits_:,.4f}".rstrip("0").rstrip(".")


def sent_html(sent: Sequence[Attachment]) -> str:
    """Show what was sent: thumbnails with names and sizes; many are folded away."""
    if not sent:
        return ""
    room = iter(range(_MAX_THUMBNAILS))
    row = _cell("row", "".join(_item_html(item, room) for item in sent))
    if len(sent) <= _MAX_OPEN_ITEMS:
        return row
    title = f'<summary style="{FRAME["summary"]}">{len(sent)} objects sent</summary>'
    return f"<details>{title}{row}</details>"


def _item_html(item: Attachment, room: Iterator[int]) -> str:
    thumbnails = "".join(thumbnail_html(image) for image, _ in zip(item.images, room, strict=False))
    words = "<br>".join(_escaped(line) for line in (item.label, item.summary) if line)
    return _cell("item", thumbnails + _cell("caption", words))


def thumbnail_html(image: Image, *, max_px: int = _THUMBNAIL_PX, style: str = "thumbnail") -> str:
    """Show a picture in small; nothing where that cannot be made."""
    png = _thumbnail(image, max_px)
    if png is None:
        return ""
    source = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return f'<img src="{source}" alt="" style="{FRAME[style]}">'


def _thumbnail(image: Image, max_px: int) -> bytes | None:
    from segmind_jupyter.content.images.encode import thumbnail_png

    try:
        return thumbnail_png(image, max_px=max_px)
    except Exception:  # noqa: BLE001 - a picture that cannot be made is no reason to lose a paid reply
        return None


def _cell(style: str | None, inside: str) -> str:
    if not inside:
        return ""
    return f'<div style="{FRAME[style]}">{inside}</div>' if style else f"<div>{inside}</div>"


def _escaped(text: str) -> str:
    return html.escape(_line(text))


def _line(text: str) -> str:
    """Make one harmless line of a value, which a server or a user chose."""
    line = " ".join(to_text(text).split())
    return line if len(line) <= _MAX_VALUE_CHARS else line[: _MAX_VALUE_CHARS - 1] + "…"


def mimebundle(
    reply: Reply, *, sent: Sequence[Attachment] = (), notes: Sequence[str] = ()
) -> dict[str, str]:
    """Return both sides of a reply, as IPython's `display(..., raw=True)` takes them."""
    return {
        "text/html": reply_html(reply, sent=sent, notes=notes),
        "text/plain": reply_text(reply, sent=sent, notes=notes),
    }


def reply_html(reply: Reply, *, sent: Sequence[Attachment] = (), notes: Sequence[str] = ()) -> str:
    """Show a reply as HTML that runs and fetches nothing, whatever the reply holds."""
    return framed(reply_inside(reply, sent=sent, notes=notes))


def reply_inside(
    reply: Reply, *, sent: Sequence[Attachment] = (), notes: Sequence[str] = ()
) -> str:
    """Return the same HTML without its box, to be put into another. Parameters as `reply_html`."""
    pieces = (body_html(_text(reply)), _cut_html(reply), footer_html(reply, sent=sent, notes=notes))
    return "".join(pieces)


def reply_text(reply: Reply, *, sent: Sequence[Attachment] = (), notes: Sequence[str] = ()) -> str:
    """Show a reply in a terminal: its Markdown, then the footer. Parameters as `reply_html`."""
    footer = footer_text(reply, sent=sent, notes=notes)
    pieces = (to_text(_text(reply)).rstrip(), _cut_words(reply), footer)
    return "\n\n".join(filter(None, pieces))


def _text(reply: Reply) -> str:
    """Return the words, also of a `Reply` that was made by hand from something else."""
    return str(reply.text or "")


def _cut_html(reply: Reply) -> str:
    words = html.escape(_cut_words(reply))
    return f'<div style="{FRAME["cut"]}">{words}</div>' if words else ""


def _cut_words(reply: Reply) -> str:
    if not reply.cut:
        return ""
    tokens = reply.usage.output_tokens
    length = f" after {tokens:,} tokens" if tokens else ""
    return f"The reply was cut{length}. Ask again with a larger --max-tokens to have all of it."


V = TypeVar("V")


class _Display(abc.ABC, Generic[V]):
    """The displays that a shell has for the values of one type, which never change."""

    #: The type whose values are shown.
    kind: ClassVar[type]

    def __init__(self, shell: Any, hushed: SuppressedValues | None = None) -> None:
        self._formatter = shell.display_formatter
        self._hushed = hushed or SuppressedValues(shell)

    @abc.abstractmethod
    def html(self, value: V) -> str:
        """Return it as safe HTML."""

    @abc.abstractmethod
    def text(self, value: V) -> str:
        """Return it as text."""

    def install(self) -> None:
        """Add the displays."""
        self._formatter.formatters["text/html"].for_type(self.kind, self.html)
        self._formatter.formatters["text/plain"].for_type(self.kind, self._print)
        self._formatter.ipython_display_formatter.for_type(self.kind, self._show_nothing)

    def remove(self) -> None:
        """Take them back."""
        self._formatter.formatters["text/html"].pop(self.kind, None)
        self._formatter.formatters["text/plain"].pop(self.kind, None)
        self._formatter.ipython_display_formatter.pop(self.kind, None)

    def hush(self, value: object) -> None:
        """Show nothing of this value, or of a job, while the cell that asked for it runs."""
        self._hushed.add(value)

    def _print(self, value: V, printer: Any, cycle: bool) -> None:
        printer.text(self.text(value))

    def _show_nothing(self, value: V) -> None:
        """Stand in for the other displays, if this value is hushed (IPython's own way)."""
        if value not in self._hushed:
            raise NotImplementedError  # IPython then asks the other formatters


class ReplyDisplay(_Display[Reply]):
    """The displays that a shell has for a `Reply`. Parameters as `_Display`."""

    kind = Reply

    def html(self, value: Reply) -> str:
        """Show it as a page does, with what was sent for it."""
        return reply_html(value, sent=_of(value, "sent"), notes=_of(value, "notes"))

    def text(self, value: Reply) -> str:
        """Show the same in a terminal."""
        return reply_text(value, sent=_of(value, "sent"), notes=_of(value, "notes"))


class RequestDisplay(_Display[Request]):
    """The displays that a shell has for a `Request`. Parameters as `_Display`."""

    kind = Request

    def html(self, value: Request) -> str:
        """Show its blocks, with pictures."""
        from segmind_jupyter.notebook.display.request import request_html

        return request_html(value)

    def text(self, value: Request) -> str:
        """Show the same in a terminal."""
        from segmind_jupyter.notebook.display.request import request_text

        return request_text(value)

    def _print(self, value: Request, printer: Any, cycle: bool) -> None:
        inside_another = len(printer.stack) > 1
        printer.text(repr(value) if inside_another else self.text(value))


def reply_bundle(reply: Reply) -> dict[str, str]:
    """Return both sides of a reply, with the objects and notes that its prompt knows of."""
    return mimebundle(reply, sent=_of(reply, "sent"), notes=_of(reply, "notes"))


def footer_bundle(reply: Reply) -> dict[str, str]:
    """Return both sides of what stands under a reply, without the reply."""
    from segmind_jupyter.notebook.display.markdown import framed

    known = {"sent": _of(reply, "sent"), "notes": _of(reply, "notes")}
    return {
        "text/html": framed(footer_html(reply, **known)),
        "text/plain": footer_text(reply, **known),
    }


def noting(reply: Reply, note: str | None) -> Reply:
    """Return the reply with one thing more to point out under it."""
    if note is None:
        return reply
    return dataclasses.replace(reply, request=reply.request.noting(note))


def _of(reply: Reply, field: str) -> tuple[Any, ...]:
    """Read what the reply's prompt knows; a reply made by hand has none."""
    value: tuple[Any, ...] = getattr(reply.request, field, ())
    return value
