"""How a `Job` and a `Batch` show in a shell: live while they go on, then as what came of them."""

from __future__ import annotations

import abc
import html
import time
from collections.abc import Callable, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.errors import ReplyError
from segmind_jupyter.notebook.display import styles
from segmind_jupyter.notebook.display.markdown import body_html, is_terminal
from segmind_jupyter.notebook.display.reply import (
    Display,
    failure_bundle,
    failure_html,
    failure_text,
    provenance,
    reply_bundle,
    reply_text,
    thumbnail_html,
)
from segmind_jupyter.notebook.display.styles import FRAME, div, framed, one_line_html
from segmind_jupyter.notebook.display.tables import Markup, object_html, table_html
from segmind_jupyter.notebook.live import outputs
from segmind_jupyter.session import session
from segmind_jupyter.words import format_credits, one_line

if TYPE_CHECKING:
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.batch.batch import Batch, Outcome
    from segmind_jupyter.errors import SegmindError

#: The MIME type of a widget, and the version of the protocol that ipywidgets 7 and 8 share.
_VIEW = "application/vnd.jupyter.widget-view+json"
_VERSION = {"version_major": 2, "version_minor": 0}

#: As wide as a reply. The border's grey reads on white and on black, as in `styles`.
_LAYOUT = {
    "align_items": "center",
    "border": "1px solid rgba(128,128,128,.35)",
    "justify_content": "space-between",
    "margin": "2px 20px 2px 0",  # what JupyterLab leaves beside HTML
    "max_width": styles.MAX_WIDTH,
    "padding": "6px 8px 6px 12px",
}

#: What a batch shows: different errors, replies, further ones that are folded away, and characters
#: of one. All of them are in `batch.errors` and `batch.outcomes`.
_MAX_ERRORS: Final = 3
_MAX_OPEN_ROWS: Final = 20
_MAX_FOLDED_ROWS: Final = 200
_MAX_REPLY_CHARS: Final = 1_500
_MAX_ITEM_CHARS: Final = 120


class LiveDisplay(Display):
    """How the values of a type show that change: in a kernel as widgets, elsewhere as text."""

    _live: outputs.LiveOutputs

    #: Shows it below the cell that runs.
    show: Callable[[Any], None]

    def show_itself(self, value: Any) -> None:
        if getattr(self._shell, "kernel", None) is None:
            raise NotImplementedError  # IPython then asks for the text
        self.show(value)


class JobDisplay(LiveDisplay):
    """How a `Job` shows: as a card, or as what it has become."""

    def show(self, value: Job) -> None:
        JobCard(value).show(self._live)

    def text(self, value: Job) -> str:
        if value.error is None and value.reply is not None:
            return reply_text(value.reply, is_rich=is_terminal(self._shell))
        return JobCard(value).now()[3] if value.error is None else failure_text(value.error)


class BatchDisplay(LiveDisplay):
    """How a `Batch` shows, where it is begun or as the value of a cell, and there not twice."""

    def show(self, value: Batch) -> None:
        if self._waits is None or not self._waits.has_shown(value):
            BatchView(value, self._shell.user_ns).show(self._live)


class Card(abc.ABC):
    """How a job or a batch shows while it goes on, and once it has ended."""

    #: What the Stop button says about itself.
    stop_hint: str

    def __init__(self, work: Any) -> None:
        self.work = work
        model = None if work.done() else work.model
        self._expected_s = session().expected_s(one_line(model)) if model else None
        self._place: outputs.OutputHandle | None = None

    @abc.abstractmethod
    def now(self) -> tuple[str, str, str, str]:
        """Return how it stands, and what below that seldom changes, so that it can be selected.

        Both are HTML; then what to know where nothing can change, and all of it as a line of text.
        """

    @abc.abstractmethod
    def ended(self) -> tuple[dict[str, str], dict[str, Any]]:
        """Return the HTML and the text that stay, and what the file is to know of them."""

    def show(self, live: outputs.LiveOutputs) -> None:
        """Show it below the running cell: live if its work goes on, else as it has ended."""
        self._live = live
        if self.work.done():
            live.put_where_waited(*self.ended())
            return
        from ipywidgets import HTML, Button, HBox, Layout, VBox

        flat = Layout(margin="0", width="auto")
        self._parts = [HTML(page, layout=flat) for page in self.now()[:2]]
        # Without `min_width` a long word would push the button out of the box.
        words = VBox(self._parts, layout=Layout(flex="1 1 auto", min_width="0"))
        place = Layout(width="auto", margin="0 0 0 12px", flex="0 0 auto")
        button = Button(description="Stop", tooltip=self.stop_hint, layout=place)
        button.on_click(lambda _: self.work.cancel())
        #: Of the widgets what stays at the end, for a page that was reloaded.
        self._end = HTML(layout=Layout(margin="0", width="auto"))
        self._box = VBox([HBox([words, button], layout=Layout(**_LAYOUT))])
        with live.paused:
            self._place = live.put({**view_of(self._box), **self.pending()})
            live.draw_soon(self.draw, at_s=time.monotonic() + outputs.TICK_S)
        self.work.on_done(lambda _: live.draw_soon(self.draw))

    def draw(self) -> bool:
        """Show how it stands now (`outputs.Drawing`)."""
        if not self.work.done():
            with outputs.attempted():
                for part, page in zip(self._parts, self.now()[:2], strict=True):
                    part.value = page
            return True
        place, self._place = self._place, None
        if place is not None:
            bundle, metadata = self.ended()
            with outputs.attempted():
                self._end.value = bundle["text/html"]
                (card,), self._box.children = self._box.children, (self._end,)
                close_all(card)
            self._live.replace(place, bundle, metadata)
        return False

    def pending(self) -> outputs.Bundle:
        """Return what shows where widgets do not, while the work goes on."""
        head, below, hint, text = self.now()
        page = framed(head + div("note", one_line_html(hint)) + below)
        return {"text/html": page, "text/plain": text}


def view_of(widget: Any) -> outputs.Bundle:
    return {_VIEW: {**_VERSION, "model_id": str(widget.model_id)}}


def close_all(widget: Any) -> None:
    """Close a widget and all that is inside of it, or the kernel would keep them."""
    for child in getattr(widget, "children", ()):
        close_all(child)
    for each in (getattr(widget, "layout", None), getattr(widget, "style", None), widget):
        if each is not None:
            each.close()


class JobCard(Card):
    """The card of one job: state, time, model, id, and Stop."""

    work: Job
    stop_hint = "Stop watching. Segmind cannot stop a job: it may still run, and be billed."

    def now(self) -> tuple[str, str, str, str]:
        job, state = self.work, str(self.work.status).lower()
        mark: outputs.Mark = "works" if state == "processing" else "waits"
        status = outputs.StatusLine(state, job.model, job.elapsed_s, mark, self._expected_s)
        name = f'<span style="{FRAME["id"]}">{one_line_html(job.request_id)}</span>'
        hint = f"When this was saved it had not ended: `%segmind resume {job.request_id}`"
        words = " · ".join(one_line(f) for f in (f"Job {job.request_id}", job.model, state) if f)
        text = f"{words} · `_.wait()` or `%segmind wait` shows its reply."
        return status.html(), div("about", f"job {name}"), hint, text

    def ended(self) -> tuple[dict[str, str], dict[str, Any]]:
        if self.work.error is not None:
            return failure_bundle(self.work.error), {}
        reply = self.work.reply
        return ({}, {}) if reply is None else (reply_bundle(reply), provenance(reply))


class BatchView(Card):
    """The view of one batch: numbers, a bar, the replies as they come, and Stop."""

    work: Batch
    stop_hint = "Send nothing more. What is in flight may be billed, so its replies are kept."

    def __init__(self, work: Batch, names: Mapping[str, Any]) -> None:
        super().__init__(work)
        self._names = names
        #: The rows of the replies that were drawn, by position.
        self._rows: dict[int, tuple[str, str, str]] = {}

    def now(self) -> tuple[str, str, str, str]:
        hint = "If this stays as it is, the batch was cut short: run the cell again to go on."
        return self._head(), framed(self._answers()), hint, str(self.work)

    def _head(self) -> str:
        """Say what is done, what it took, and what it is likely to take."""
        progress, is_over = self.work.progress, self.work.done()
        counts, _, facts = str(progress).partition(" · ")
        paid = progress.done - progress.kept
        to_do = progress.in_flight + (0 if progress.stopped else progress.unsent)
        if progress.cost is not None and paid and to_do:
            facts += f" · about {format_credits(progress.cost * (1 + to_do / paid))} in all"
        seconds, expected_s = (None, None) if is_over else (progress.elapsed_s, self._expected_s)
        mark: outputs.Mark = "ended" if is_over else "works"
        bar = "".join(
            f'<div style="{FRAME[part]};width:{100 * count / (progress.total or 1):.1f}%"></div>'
            for part, count in (("bar done", progress.done), ("bar failed", progress.failed))
        )
        status = outputs.StatusLine(counts, self.work.model, seconds, mark, expected_s).html()
        return status + div("about", one_line_html(facts) or "&nbsp;") + div("bar", bar or "&nbsp;")

    def _answers(self, *, folds: bool = False) -> str:
        """Show the first replies beside their items; with `folds`, the next ones behind them."""
        most = _MAX_OPEN_ROWS + (_MAX_FOLDED_ROWS if folds else 0)
        outcomes = islice((each for each in self.work.outcomes if each.reply is not None), most)
        rows = [self._row(outcome, outcome.reply) for outcome in outcomes]
        if not rows:
            return ""
        opened, others = rows[:_MAX_OPEN_ROWS], rows[_MAX_OPEN_ROWS:]
        page = table_html([("item", "reply", "credits"), *opened], left=(0, 1))
        if others:
            table = table_html([(), *others], left=(0, 1))
            page += styles.folded(f"{len(others):,} more replies", table)
        more = self.work.progress.done - len(rows)
        return page + (div("about", f"and {more:,} more replies") if more > 0 else "")

    def _row(self, outcome: Outcome, reply: Any) -> tuple[str, str, str]:
        """Draw a reply beside its item; once, as a thousand of them may come."""
        from segmind_jupyter.batch.frame import short_name

        at = outcome.index
        if at not in self._rows:
            name: Any = outcome.key if isinstance(outcome.key, str) else short_name(outcome.item)
            if isinstance(name, Mapping):  # a row
                name = ", ".join(f"{label}: {value}" for label, value in name.items())
            item = one_line(str(name), max_chars=_MAX_ITEM_CHARS)
            picture = self.work.pictures.get(at)
            thumbnail = thumbnail_html(picture, item) if picture is not None else ""
            caption = f"<div>{html.escape(item)}</div>"
            shown = thumbnail + (caption if isinstance(outcome.key, str) or not thumbnail else "")
            text = reply.text[:_MAX_REPLY_CHARS] + "…" * (len(reply.text) > _MAX_REPLY_CHARS)
            words = body_html(text).replace(styles.ELEMENTS["p"], styles.ELEMENTS["p close"])
            try:
                inside = object_html(reply.parsed) if reply.request else words
            except ReplyError as error:
                inside = words + div("note", one_line_html(str(error)))
            inside += div("cut", one_line_html(reply.notice or ""))
            cost = "" if reply.cost is None else format_credits(reply.cost).split()[0]
            self._rows[at] = Markup(shown), Markup(inside), cost
        return self._rows[at]

    def ended(self) -> tuple[dict[str, str], dict[str, Any]]:
        from segmind_jupyter.batch.batch import named

        batch, page, lines = self.work, self._head(), [str(self.work)]
        alike: dict[str, list[tuple[Any, SegmindError]]] = {}
        for each in batch.outcomes:
            if each.error is not None:
                alike.setdefault(failure_text(each.error), []).append((each.key, each.error))
        for words, ((key, error), *others) in islice(alike.items(), _MAX_ERRORS):
            where = named(key) + (f" and {len(others):,} more" if others else "")
            page += failure_html(error, where)
            lines.append(f"{one_line(where)}: {words}")
        page += self._answers(folds=True)
        names = [name for name, each in [*self._names.items()] if each is batch]
        if name := next((name for name in names if not name.startswith("_")), None):
            more = f", `{name}.errors` all {len(batch.errors):,} errors" if alike else ""
            lines.append(f"`{name}.to_frame()` has the replies as a table{more}.")
            page += div("footer", one_line_html(lines[-1]))
        return {"text/html": framed(page), "text/plain": "\n".join(lines)}, {}
