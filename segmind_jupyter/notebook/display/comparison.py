"""How a `Comparison` shows: a column a model, below one another where a page is narrow."""

from __future__ import annotations

from typing import Any

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.comparison import Column, Comparison
from segmind_jupyter.notebook.display.markdown import body_html
from segmind_jupyter.notebook.display.reply import (
    AnswerDisplay,
    boxed,
    failure_html,
    failure_text,
    provenance,
    reply_inside,
    reply_text,
    sent_html,
    usage_line,
)
from segmind_jupyter.notebook.display.styles import div, framed, one_line_html
from segmind_jupyter.session import session
from segmind_jupyter.words import format_credits, one_line, set_apart

_HIDDEN = "`%claude --reveal` tells which model said what, and what it took; `--best A` keeps that "


class ComparisonDisplay(AnswerDisplay[Comparison]):
    """The displays that a shell has for a `Comparison`."""

    def html(self, value: Comparison) -> str:
        """Return it as safe HTML."""
        columns = "".join(
            div("column", f"{div('head', f'<strong>{label}</strong>')}{_inside(column)}")
            for column in value.columns
            for label in [one_line_html(column.label)]
        )
        items = next(iter(value.values())).request.sent if session().footer == "full" else ()
        notes = "".join(div("note", one_line_html(note)) for note in _notes(value))
        below = f"<div>{one_line_html(_together(value))}</div>{sent_html(items)}{notes}"
        return framed(div("columns", columns) + div("footer", below))

    def text(self, value: Comparison) -> str:
        """Return it as text, one below the other."""
        columns = [f"[{one_line(each.label)}]\n\n{_text(each)}" for each in value.columns]
        notes = [f"   {one_line(note)}" for note in _notes(value)]
        return "\n\n".join([*columns, "\n".join([f"── {one_line(_together(value))}", *notes])])

    def about(self, value: Comparison) -> dict[str, Any]:
        """Return where its words come from, unless that is hidden."""
        told = [] if value.blind else [provenance(reply)["segmind"] for reply in value.values()]
        return {"segmind": told}


def revealed_bundle(comparison: Comparison) -> dict[str, str]:
    """Say which model said what, and what it took, without their words."""
    lines = []
    for column in comparison.columns:
        answer = column.answer
        took = usage_line(answer) if isinstance(answer, Reply) else failure_text(answer)
        best = " · the best, as you found" if column.model == comparison.best else ""
        letter, _, name = column.label.partition(": ")
        took = took.removeprefix(f"{name or letter} · ")
        lines.append(f"{one_line(column.label)} · {took}{best}")
    page = framed("".join(div("about", one_line_html(line)) for line in lines))
    return {"text/html": page, "text/plain": "\n".join(lines)}


def _inside(column: Column) -> str:
    answer = column.answer
    if not isinstance(answer, Reply):
        withheld = div("about", one_line_html(str(column)))
        return boxed(answer, withheld if column.is_blind else failure_html(answer))
    if column.is_blind:
        return body_html(str(answer.text)) + div("cut", one_line_html(answer.notice or ""))
    return reply_inside(answer, sent=(), notes=())


def _text(column: Column) -> str:
    answer = column.answer
    if not isinstance(answer, Reply):
        return str(column) if column.is_blind else failure_text(answer)
    return set_apart(str(answer)) if column.is_blind else reply_text(answer, sent=(), notes=())


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
    return " · ".join(words)
