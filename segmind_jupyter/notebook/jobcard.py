"""How a `Job` shows in a shell: a live card while it runs, and then as its reply or its error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.states import Processing
from segmind_jupyter.notebook.card import Card, line
from segmind_jupyter.notebook.display import LiveDisplay
from segmind_jupyter.notebook.live import Bundle
from segmind_jupyter.notebook.palette import FRAME
from segmind_jupyter.notebook.wording import lasting, one_line, one_line_html


class JobDisplay(LiveDisplay[Job]):
    """The displays that a shell has for a `Job`. Parameters as `LiveDisplay`."""

    kind = Job

    def show(self, value: Job) -> None:
        """Show its card, or what it has become."""
        self._live.show(JobCard(value))

    def text(self, value: Job) -> str:
        """Say how it stands, or what came of it."""
        return _text(value)


def _text(job: Job) -> str:
    return _ended(job)["text/plain"] if job.done() else _pending_text(job)


class JobCard(Card[Job]):
    """The card of one job: state, time, model, id, and Stop."""

    stop_hint = "Stop watching. Segmind cannot stop a job: it may still run, and be billed."

    def head(self) -> str:
        """Say how it stands, and for how long."""
        return _head_html(self.work)

    def rows(self) -> Sequence[Any]:
        """Show what never changes, apart: whoever selects the id keeps it selected."""
        return [line(_about_html(self.work))]

    def stop(self) -> None:
        """Stop watching."""
        self.work.cancel()

    def pending(self) -> Bundle:
        """Say that it goes on, and how to come back to it."""
        return {"text/html": _pending_html(self.work), "text/plain": _pending_text(self.work)}

    def ended(self) -> dict[str, str]:
        """Give what a blocking cell would show."""
        return _ended(self.work)


def _ended(job: Job) -> dict[str, str]:
    if job.error is not None:
        from segmind_jupyter.notebook.failure import failure_bundle

        return failure_bundle(job.error)
    from segmind_jupyter.notebook.shown import reply_bundle

    reply = job.reply
    return reply_bundle(reply) if reply is not None else {}


def _pending_text(job: Job) -> str:
    facts = (f"Job {job.request_id}", job.model, _state(job))
    words = " · ".join(one_line(fact) for fact in facts if fact)
    return f"{words} · `_.wait()` or `%segmind wait` shows its reply."


def _pending_html(job: Job) -> str:
    """Show a job where nothing can change, as in a notebook that was closed meanwhile."""
    from segmind_jupyter.notebook.markdown import framed

    hint = f"When this was saved it had not ended: `%segmind resume {job.request_id}`"
    return framed(
        f"<div>{_mark(job)} <strong>{_state(job).capitalize()}</strong></div>"
        f"{_about_html(job)}"
        f'<div style="{FRAME["note"]}">{one_line_html(hint)}</div>'
    )


def _head_html(job: Job) -> str:
    time = f'<span style="{FRAME["quiet"]}">{lasting(job.elapsed_s)}</span>'
    state = f"<strong>{_state(job).capitalize()}</strong>"
    return f'<div style="{FRAME["head"]}">{_mark(job)} {state} &nbsp;{time}</div>'


def _about_html(job: Job) -> str:
    model = one_line_html(job.model) + " · " if job.model else ""
    request_id = one_line_html(job.request_id)
    return (
        f'<div style="{FRAME["about"]}">{model}job '
        f'<span style="{FRAME["id"]}">{request_id}</span></div>'
    )


def _mark(job: Job) -> str:
    works = isinstance(job.status, Processing)
    return f'<span style="{FRAME["works" if works else "waits"]}">{"●" if works else "○"}</span>'


def _state(job: Job) -> str:
    return str(job.status).lower()
