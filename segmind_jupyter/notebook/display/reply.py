"""How a `Reply`, a `Request` and an error show in a shell: as safe HTML and as text, or hushed."""

from __future__ import annotations

import abc
import base64
import contextlib
import datetime
import hashlib
import html
import json
import re
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from IPython.lib.pretty import pretty

from segmind_jupyter.errors import JobCancelled, SegmindError
from segmind_jupyter.notebook.display.markdown import body_html
from segmind_jupyter.notebook.display.styles import FRAME, div, folded, framed, one_line_html
from segmind_jupyter.notebook.display.tables import object_html
from segmind_jupyter.notebook.display.terminal import is_terminal
from segmind_jupyter.session import session
from segmind_jupyter.words import format_credits, format_time, one_line, set_apart, to_text

if TYPE_CHECKING:
    from segmind_jupyter.api.messages import Reply
    from segmind_jupyter.content.parts import Image
    from segmind_jupyter.content.prompt import Attachment

#: More objects than this are folded away.
_MAX_OPEN_ITEMS = 6

#: Thumbnails that one reply shows; each costs some kilobytes of the saved notebook.
_MAX_THUMBNAILS = 12

#: Edge of a thumbnail's file: twice the 48 px at which it is shown, for sharp screens.
_THUMBNAIL_PX = 96

#: Longest value from a server or a user that a footer shows, in characters.
_MAX_VALUE_CHARS = 300

_SENTENCE_END = re.compile(r"[.!?…](?= )")

#: What stands last in a message that a server's answer caused: its status, its words.
_ANSWERED = re.compile(r" \(((?:POST|GET) .*)\)$")


def reply_bundle(reply: Reply, **about: Any) -> dict[str, str]:
    """Return both sides of a reply, as IPython's `display(..., raw=True)` takes them."""
    return {"text/html": reply_html(reply, **about), "text/plain": reply_text(reply, **about)}


def reply_html(reply: Reply, **about: Any) -> str:
    """Show a reply as HTML that runs and fetches nothing, whatever the reply holds."""
    return framed(reply_inside(reply, **about), is_news=True)


def reply_inside(reply: Reply, **about: Any) -> str:
    """Return the same HTML without its box, to be put into another."""
    notice = div("cut", one_line_html(_notice(reply)))
    return body_html(_text(reply)) + notice + footer_html(reply, **about)


def reply_text(reply: Reply, *, is_rich: bool = False, **about: Any) -> str:
    """Show a reply as text: its Markdown, set apart and maybe drawn, then the footer."""
    words = None
    if is_rich:
        from segmind_jupyter.notebook.display.terminal import to_rich_text

        words = to_rich_text(_text(reply))
    pieces = (words or set_apart(_text(reply)), _notice(reply), footer_text(reply, **about))
    return "\n\n".join(filter(None, pieces))


def _text(reply: Reply) -> str:
    """Return the words, also of a `Reply` that was made by hand from something else."""
    return str(reply.text or "")


def _notice(reply: Reply) -> str:
    """Say what is wrong with the answer: cut, declined, empty."""
    return (reply.notice or "") if isinstance(reply.text, str) else ""


def provenance(reply: Reply) -> dict[str, Any]:
    """Return what a notebook's file is to know of an output: where its words come from."""
    at = reply.answered_at if reply.cached_at is None else reply.cached_at
    date = None
    with contextlib.suppress(TypeError, ValueError, OverflowError, OSError):  # it may be any time
        date = f"{datetime.datetime.fromtimestamp(at, datetime.UTC):%FT%TZ}"  # type: ignore[arg-type]
    blocks = getattr(reply.request, "blocks", None)  # a reply that was made by hand has none
    asked = blocks and json.dumps(blocks(), sort_keys=True)
    return {
        "segmind": {
            # A message to a page holds no lone surrogates, which a server may send.
            "model": reply.model and _line(str(reply.model)),
            "request_id": reply.request_id and _line(str(reply.request_id)),
            "date": date,
            "cost": reply.cost,
            "tokens": {"input": reply.usage.input_tokens, "output": reply.usage.output_tokens},
            "prompt_sha256": asked and hashlib.sha256(asked.encode()).hexdigest(),
        }
    }


def object_bundle(value: Any, reply: Reply) -> dict[str, str]:
    """Return both sides of an object that `--json` gave, with what it took below it."""
    page = framed(object_html(value) + footer_html(reply), is_news=True)
    words = filter(None, (to_text(pretty(value)), footer_text(reply)))
    return {"text/html": page, "text/plain": "\n\n".join(words)}


def footer_html(reply: Reply, **about: Any) -> str:
    """Write the footer: what it took, what was sent, and the notes; by default the request's."""
    words, items, said = _footer(reply, **about)
    took = f"<div>{_escaped(words)}</div>" if words else ""
    below = "".join(div("note", one_line_html(note)) for note in said)
    return div("footer", took + sent_html(items) + below)


def footer_text(reply: Reply, **about: Any) -> str:
    """Write it for a terminal: a line of usage, then one for each object and note."""
    words, items, said = _footer(reply, **about)
    lines = [f"── {words}"] if words else []
    lines += [f"   {_line(' · '.join(_item_words(item)))}" for item in items]
    return "\n".join([*lines, *(f"   {note}" for note in said)])


def _footer(
    reply: Reply, *, sent: Sequence[Attachment] | None = None, notes: Sequence[str] | None = None
) -> tuple[str, Sequence[Attachment], list[str]]:
    """Return a footer's first line, the objects below it, and the notes; as long as is wanted."""
    how = session().footer
    # A reply that was made by hand has no prompt that knows of them.
    items = getattr(reply.request, "sent", ()) if sent is None else sent
    said = getattr(reply.request, "notes", ()) if notes is None else notes
    names = ", ".join(item.name for item in items) if how == "line" else ""
    words = "" if how == "off" else " · ".join(filter(None, (usage_line(reply), names)))
    return words, items if how == "full" else (), [_line(note) for note in said]


def _item_words(item: Attachment) -> list[str]:
    """Say what an object is, and what went out for it."""
    return [words for words in (item.label, item.summary) if words]


def usage_line(reply: Reply) -> str:
    """Say what a reply took, leaving out what the server did not tell.

    ``claude-4-sonnet · 435 tokens in, 31 out · 11.2 s · 0.0021 credits, 4.20 left``
    """
    came, went = reply.usage.input_tokens, reply.usage.output_tokens
    tokens = [f"{came:,} tokens in"] if came is not None else []
    if went is not None:
        tokens.append(f"{went:,} out" if tokens else f"{went:,} tokens out")
    # The model of a reply that was made by hand may be anything.
    facts = [str(reply.model or ""), ", ".join(tokens)]
    if reply.cached_at is not None:  # it took no time now, and its credits are those of then
        facts.append(f"from cache, {format_time(reply.cached_at)}")
    else:
        took_s, cost, left = reply.elapsed_s, reply.cost, reply.remaining_credits
        if took_s is not None:
            facts.append(f"{took_s:.1f} s" if took_s < 100 else f"{took_s:,.0f} s")
        money = [] if cost is None else [format_credits(cost)]
        if left is not None:
            money.append(f"{left:,.2f} left" if money else f"{left:,.2f} credits left")
        facts.append(", ".join(money))
    return _line(" · ".join(filter(None, (*facts, "simulated" if reply.simulated else ""))))


def sent_html(sent: Sequence[Attachment]) -> str:
    """Show what was sent: thumbnails with names and sizes; many are folded away."""
    room, items = _MAX_THUMBNAILS, []
    for item in sent:
        thumbnails = [thumbnail_html(image, item.label) for image in item.images[:room]]
        room -= len(thumbnails)
        words = "<br>".join(map(_escaped, _item_words(item)))
        items.append(div("item", "".join(thumbnails) + div("caption", words)))
    row = div("row", "".join(items))
    return row if len(sent) <= _MAX_OPEN_ITEMS else folded(f"{len(sent)} objects sent", row)


def thumbnail_html(
    image: Image, name: str, *, max_px: int = _THUMBNAIL_PX, style: str = "thumbnail"
) -> str:
    """Show a picture in small, with words for who does not see it; nothing where that fails."""
    alt = _escaped(f"{name or 'image'}, {image.width}×{image.height}")
    source = thumbnail_uri(image, max_px=max_px)
    return source and f'<img src="{source}" alt="{alt}" style="{FRAME[style]}">'


def thumbnail_uri(image: Image, *, max_px: int) -> str:
    """Return a picture in small as an address that holds it; empty where it cannot be drawn."""
    from segmind_jupyter.content.images.encode import thumbnail_png

    try:
        png = thumbnail_png(image, max_px=max_px)
    except Exception:  # noqa: BLE001 - a picture that cannot be made is no reason to lose a paid reply
        return ""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _escaped(text: str) -> str:
    return html.escape(_line(text))


def _line(text: str) -> str:
    return one_line(text, max_chars=_MAX_VALUE_CHARS)


def failure_bundle(error: BaseException) -> dict[str, str]:
    """Return both sides of an error, as IPython's `display(..., raw=True)` takes them."""
    return {
        "text/html": framed(boxed(error, failure_html(error)), is_news=True),
        "text/plain": failure_text(error),
    }


def failure_html(error: BaseException, where: str = "") -> str:
    """Show an error as HTML that runs and fetches nothing, without a box.

    What happened comes first, then what to do, and last and small what it is called.
    """
    name = type(error).__name__
    is_ours = isinstance(error, SegmindError)
    message = one_line(": ".join(filter(None, (where, "" if is_ours else name, str(error)))))
    answered = _ANSWERED.search(message)
    message = message.removesuffix(answered[0]) if answered else message
    end = _SENTENCE_END.search(message)
    cut = end.end() if end else len(message)
    words = f"<strong>{one_line_html(message[:cut])}</strong> {one_line_html(message[cut:])}"
    request_id = getattr(error, "request_id", None)
    facts = (name if is_ours else "", answered and answered[1], request_id)
    about = " · ".join(_escaped(str(f)) for f in facts if f and str(f) not in message)
    return f"<div>{words.strip()}</div>{div('about', about)}"


def failure_text(error: BaseException) -> str:
    """Show an error on one line, as IPython shows those of this package."""
    return f"{type(error).__name__}: {one_line(str(error))}"


def boxed(error: BaseException, page: str) -> str:
    """Put finished HTML into the box of an error; what the user stopped is no alarm."""
    return div("stopped" if isinstance(error, JobCancelled) else "failed", page)


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


V = TypeVar("V")


class Display(abc.ABC, Generic[V]):
    """The displays that a shell has for the values of one type."""

    #: The type, or its whole name: it is imported with its first value then, not to be shown.
    kind: ClassVar[type | str]
    #: Returns it as safe HTML; of a type whose values never change.
    html: Callable[[V], str] | None = None

    def __init__(
        self,
        shell: Any,
        hushed: SuppressedValues | None = None,
        show_in_place: Callable[[Callable[[], tuple[Any, Any]]], bool] = lambda _: False,
    ) -> None:
        self._shell = shell
        self._hushed = hushed or SuppressedValues(shell)
        self._show_in_place = show_in_place

    @abc.abstractmethod
    def text(self, value: V, /) -> str:
        """Return it as text."""

    def install(self) -> None:
        """Add the displays."""
        for formatter, printer in self._printers():
            formatter.for_type(self.kind, printer)

    def remove(self) -> None:
        """Take them back; what is live stays so."""
        for formatter, _ in self._printers():
            formatter.pop(self.kind, None)

    def hush(self, value: object) -> None:
        """Show nothing of this value, or of a job, while the cell that asked for it runs."""
        self._hushed.add(value)

    def _printers(self) -> Iterator[tuple[Any, Callable[..., Any]]]:
        formatter = self._shell.display_formatter
        yield formatter.formatters["text/plain"], self._print
        yield formatter.ipython_display_formatter, self._show
        if self.html is not None:
            yield formatter.formatters["text/html"], self.html

    def _print(self, value: V, printer: Any, cycle: bool) -> None:
        inside_another = len(printer.stack) > 1
        printer.text(repr(value) if inside_another else self.text(value))

    def _show(self, value: V) -> None:
        """Stand in for the other displays, if this value is hushed (IPython's own way)."""
        if value not in self._hushed:
            raise NotImplementedError  # IPython then asks the other formatters


class AnswerDisplay(Display[V]):
    """The displays of what a cell waits for: where it waited, with where its words come from."""

    @abc.abstractmethod
    def about(self, value: V) -> dict[str, Any]:
        """Return what the notebook's file is to know of it."""

    def _show(self, value: V) -> None:
        """Show it where the cell waited for it, or as any value."""

        def drawn() -> tuple[Any, Any]:
            page = self.html(value) if self.html is not None else ""
            return {"text/html": page, "text/plain": self.text(value)}, self.about(value)

        if value in self._hushed or not self._show_in_place(drawn):
            super()._show(value)

    def _printers(self) -> Iterator[tuple[Any, Callable[..., Any]]]:
        yield from super()._printers()
        # Nothing but metadata of the whole output: the others have the words.
        about = self._shell.display_formatter.mimebundle_formatter
        yield about, lambda value: ({}, self.about(value))


class ReplyDisplay(AnswerDisplay["Reply"]):
    """The displays that a shell has for a `Reply`, with what was sent for it."""

    kind = "segmind_jupyter.api.messages.Reply"
    html = staticmethod(reply_html)

    def text(self, value: Reply) -> str:
        """Return it as text."""
        return reply_text(value, is_rich=is_terminal(self._shell))

    def about(self, value: Reply) -> dict[str, Any]:
        """Return where its words come from."""
        return provenance(value)
