"""How replies, alone or side by side, errors and requests show: as safe HTML and as text."""

from __future__ import annotations

import base64
import contextlib
import datetime
import hashlib
import html
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from IPython.lib.pretty import pretty

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.content.parts import Part, Text, part_of
from segmind_jupyter.content.prompt import counted, described, estimated_tokens, readable_bytes
from segmind_jupyter.errors import JobCancelled, SegmindError
from segmind_jupyter.notebook.display.markdown import body_html, is_terminal, to_rich_text
from segmind_jupyter.notebook.display.styles import FRAME, div, folded, framed, one_line_html
from segmind_jupyter.notebook.display.tables import object_html
from segmind_jupyter.session import session
from segmind_jupyter.words import format_credits, format_time, one_line, set_apart, to_text

if TYPE_CHECKING:
    from segmind_jupyter.batch.preview import BatchPreview
    from segmind_jupyter.comparison import Column, Comparison
    from segmind_jupyter.content.parts import Image
    from segmind_jupyter.content.prompt import Attachment
    from segmind_jupyter.notebook.live.outputs import LiveOutputs
    from segmind_jupyter.notebook.live.wait import WaitDisplay
    from segmind_jupyter.session import Request

#: More objects than this are folded away; each thumbnail costs some kilobytes of the notebook.
_MAX_OPEN_ITEMS, _MAX_THUMBNAILS = 6, 12

#: Edge of a thumbnail's file: twice the 48 px at which it is shown, for sharp screens.
_THUMBNAIL_PX = 96

#: Longest value from a server or a user that a footer shows, in characters.
_MAX_VALUE_CHARS = 300

#: A message: what happened, what to do, and last what the server's answer was.
_MESSAGE = re.compile(r"(.*?(?:[.!?…](?= )|$))(.*?)(?: \(((?:POST|GET) .*)\))?")


def reply_bundle(reply: Reply, **about: Any) -> dict[str, str]:
    """Return both sides of a reply, as IPython's `display(..., raw=True)` takes them."""
    return {"text/html": reply_html(reply, **about), "text/plain": reply_text(reply, **about)}


def reply_html(reply: Reply, **about: Any) -> str:
    """Show a reply as HTML that runs and fetches nothing, whatever the reply holds."""
    return framed(reply_inside(reply, **about), is_news=True)


def reply_inside(reply: Reply, **about: Any) -> str:
    """Return the same HTML without its box, to be put into another."""
    notice = div("cut", one_line_html(reply.notice or ""))
    return body_html(reply.text) + notice + footer_html(reply, **about)


def reply_text(reply: Reply, *, is_rich: bool = False, **about: Any) -> str:
    """Show a reply as text: its Markdown, set apart and maybe drawn, then the footer."""
    words = to_rich_text(reply.text) if is_rich else None
    pieces = (words or set_apart(reply.text), reply.notice, footer_text(reply, **about))
    return "\n\n".join(filter(None, pieces))


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
    notice = div("cut", one_line_html(reply.notice or ""))
    page = framed(object_html(value) + notice + footer_html(reply), is_news=True)
    words = filter(None, (to_text(pretty(value)), reply.notice, footer_text(reply)))
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
    return [words for words in (item.label, item.summary) if words]


def usage_line(reply: Reply) -> str:
    """Say what a reply took, leaving out what the server did not tell.

    ``claude-4-sonnet · 435 tokens in, 31 out · 11.2 s · 0.0021 credits, 4.20 left``
    """
    came, went = reply.usage.input_tokens, reply.usage.output_tokens
    tokens = "" if came is None or went is None else f"{came:,} tokens in, {went:,} out"
    facts = [str(reply.model or ""), tokens]  # of a reply that was made by hand, any object
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
    return {
        "text/html": framed(failure_html(error), is_news=True),
        "text/plain": failure_text(error),
    }


def failure_html(error: BaseException, where: str = "") -> str:
    """Show an error as HTML that runs and fetches nothing; what the user stopped is no alarm.

    What happened comes first, then what to do, and last and small what it is called.
    """
    name, is_ours = type(error).__name__, isinstance(error, SegmindError)
    message = one_line(": ".join(filter(None, (where, "" if is_ours else name, str(error)))))
    match = _MESSAGE.fullmatch(message)
    happened, to_do, answered = match.groups("") if match else (message, "", "")
    words = f"<strong>{one_line_html(happened)}</strong> {one_line_html(to_do)}"
    request_id = str(getattr(error, "request_id", None) or "")
    facts = [name if is_ours else "", answered, "" if request_id in message else request_id]
    about = _escaped(" · ".join(filter(None, facts)))
    style = "stopped" if isinstance(error, JobCancelled) else "failed"
    return div(style, f"<div>{words.strip()}</div>{div('about', about)}")


def failure_text(error: BaseException) -> str:
    """Show an error on one line, as IPython shows those of this package."""
    return f"{type(error).__name__}: {one_line(str(error))}"


class Display:
    """How the values of one type show in a shell."""

    def __init__(
        self, shell: Any, live: LiveOutputs | None = None, waits: WaitDisplay | None = None
    ) -> None:
        self._shell, self._live, self._waits = shell, live, waits

    def text(self, value: Any, /) -> str:
        """Return it as text."""
        return str(value)

    def html(self, value: Any, /) -> str | None:
        """Return it as safe HTML; `None` of what is live."""
        return None

    def about(self, value: Any, /) -> dict[str, Any]:
        """Return what the notebook's file is to know of it."""
        return {}

    def print_to(self, printer: Any, value: Any) -> None:
        """Say it to IPython's printer; inside another value in short."""
        printer.text(repr(value) if len(printer.stack) > 1 else self.text(value))

    def show_itself(self, value: Any) -> None:
        """Show it in a way of its own, or raise `NotImplementedError`, as IPython wants it."""
        raise NotImplementedError


class AnswerDisplay(Display):
    """How what a cell waits for shows: where it waited, with where its words come from."""

    def show_itself(self, value: Any) -> None:
        place = None if self._live is None else self._live.take()
        if self._live is None or place is None:
            raise NotImplementedError
        bundle = {"text/html": self.html(value), "text/plain": self.text(value)}
        self._live.replace(place, bundle, self.about(value))


class ReplyDisplay(AnswerDisplay):
    html = staticmethod(reply_html)
    about = staticmethod(provenance)

    def text(self, value: Reply) -> str:
        return reply_text(value, is_rich=is_terminal(self._shell))


# Several models side by side: a column a model, below one another where a page is narrow

_HIDDEN = "`%claude --reveal` tells which model said what, and what it took; `--best A` keeps that "


class ComparisonDisplay(AnswerDisplay):
    """The displays that a shell has for a `Comparison`."""

    def html(self, value: Comparison) -> str:
        """Return it as safe HTML."""
        columns = ""
        for each in value.columns:
            head = div("head", f"<strong>{one_line_html(each.label)}</strong>")
            columns += div("column", head + _sides(each)[0])
        items = next(iter(value.values())).request.sent if session().footer == "full" else ()
        notes = "".join(div("note", one_line_html(note)) for note in _notes(value))
        below = f"<div>{one_line_html(_together(value))}</div>{sent_html(items)}{notes}"
        return framed(div("columns", columns) + div("footer", below), is_news=True)

    def text(self, value: Comparison) -> str:
        """Return it as text, one below the other."""
        columns = [f"[{one_line(each.label)}]\n\n{_sides(each)[1]}" for each in value.columns]
        notes = [f"   {one_line(note)}" for note in _notes(value)]
        return "\n\n".join([*columns, "\n".join([f"── {one_line(_together(value))}", *notes])])

    def about(self, value: Comparison) -> dict[str, Any]:
        """Return where its words come from, unless that is hidden."""
        told = [] if value.blind else [provenance(reply)["segmind"] for reply in value.values()]
        return {"segmind": told}


def _sides(column: Column) -> tuple[str, str]:
    """Show what one model made of the prompt, as HTML and as text; blind, its words alone."""
    answer = column.answer
    if not isinstance(answer, Reply):
        if column.is_blind:
            return div("failed", div("about", one_line_html(str(column)))), str(column)
        return failure_html(answer), failure_text(answer)
    if column.is_blind:
        notice = div("cut", one_line_html(answer.notice or ""))
        words = filter(None, (set_apart(answer.text), answer.notice))
        return body_html(str(answer.text)) + notice, "\n\n".join(words)
    return reply_inside(answer, sent=(), notes=()), reply_text(answer, sent=(), notes=())


def _notes(comparison: Comparison) -> list[str]:
    """Return what is to be said of the prompt, once."""
    requests = (reply.request for reply in comparison.values())
    return list(dict.fromkeys(note for request in requests for note in request.notes))


def _together(comparison: Comparison) -> str:
    """Say what all of them took together, and how to go on where the names are hidden."""
    costs = [reply.cost for reply in comparison.values() if reply.cost is not None]
    words = [f"together {format_credits(sum(costs))}"] if costs else []
    if comparison.blind:
        words.append(f"{_HIDDEN}{comparison.columns[0].label} was the best")
    if comparison.best:
        words.append(f"{comparison.best} was the best, as you found")
    return " · ".join(words)


# A request, block by block, as `--dry-run` and `reply.request` show it: all of it is data

#: Edge of a picture's file: a little more than the 320 px at which it is shown.
_PICTURE_PX = 480

#: Most characters of one block that a terminal shows; the page has all of them.
_MAX_BLOCK_CHARS = 800


def request_html(request: Request) -> str:
    """Show a request as HTML: where it goes, its settings, and all of it as the model reads it."""
    pieces = [_head_html(_head(request))]
    if request.earlier:
        earlier = ""
        for message in request.earlier:
            earlier += div("head", f"<strong>{_escaped(message['role'])}</strong>")
            earlier += _read_html(_titled(map(part_of, message["content"])))
        pieces.append(folded(_escaped(_earlier(request)), earlier))
    pieces.append(_read_html(_titled(request.prompt.parts(), request.sent)))
    pieces += [div("note", one_line_html(note)) for note in request.notes]
    return framed("".join(pieces))


def _head_html(lines: Iterable[str]) -> str:
    headline, *about = (html.escape(one_line(line)) for line in lines)
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
            lines += [f"    {line}" for line in text[:_MAX_BLOCK_CHARS].splitlines()]
            if (more := len(text) - _MAX_BLOCK_CHARS) > 0:
                lines.append(f"    … and {more:,} characters more: `_.blocks()` has them all")
    return "\n".join([*lines, *(f"\n{one_line(note)}" for note in request.notes)])


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
    size = readable_bytes(len(json.dumps(request.body, separators=(",", ":"))))
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


class RequestDisplay(Display):
    html, text = staticmethod(request_html), staticmethod(request_text)


class PreviewDisplay(Display):
    """How what a batch would send shows: its sums, and its first requests in full."""

    def html(self, preview: BatchPreview) -> str:
        head = framed(_head_html(str(preview).splitlines()))
        return head + "".join(map(request_html, preview.first))

    def text(self, preview: BatchPreview) -> str:
        lines = map(one_line, str(preview).splitlines())
        return "\n\n".join(["\n".join(lines), *map(request_text, preview.first)])
