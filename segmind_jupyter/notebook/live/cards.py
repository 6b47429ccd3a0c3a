"""How a `Batch` shows in a shell: a bar while it runs, and then what came of it."""

from __future__ import annotations

import abc
import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.states import Processing
from segmind_jupyter.batch.batch import Batch, named
from segmind_jupyter.errors import SegmindError
from segmind_jupyter.notebook.display.reply import SuppressedValues
from segmind_jupyter.notebook.display.styles import FRAME
from segmind_jupyter.notebook.display.text import format_duration, one_line, one_line_html
from segmind_jupyter.notebook.live.outputs import Bundle, LiveOutputs, Work
from segmind_jupyter.session import session

V = TypeVar("V")


class LiveDisplay(abc.ABC, Generic[V]):
    """The displays that a shell has for one type."""

    #: The type whose values are shown.
    kind: ClassVar[type]

    def __init__(
        self, shell: Any, live: LiveOutputs | None = None, hushed: SuppressedValues | None = None
    ) -> None:
        self._shell = shell
        self._live = live or LiveOutputs(shell)
        self._hushed = hushed or SuppressedValues(shell)

    @abc.abstractmethod
    def show(self, value: V) -> None:
        """Show it below the cell that runs; asked only where that `can_show`."""

    @abc.abstractmethod
    def text(self, value: V) -> str:
        """Say it where that cannot be."""

    @property
    def can_show(self) -> bool:
        """Whether there is a page on which it can be shown."""
        return can_show(self._shell)

    def hush(self, value: V) -> None:
        """Show nothing of this value while the cell that asked for it runs."""
        self._hushed.add(value)

    def install(self) -> None:
        """Add the displays."""
        formatter = self._shell.display_formatter
        formatter.formatters["text/plain"].for_type(self.kind, self._print)
        formatter.ipython_display_formatter.for_type(self.kind, self._show)

    def remove(self) -> None:
        """Take them back; what is live stays so."""
        formatter = self._shell.display_formatter
        formatter.formatters["text/plain"].pop(self.kind, None)
        formatter.ipython_display_formatter.pop(self.kind, None)

    def _show(self, value: V) -> None:
        if value in self._hushed:
            return
        if not self.can_show:
            raise NotImplementedError  # IPython then asks for the text
        self.show(value)

    def _print(self, value: V, printer: Any, cycle: bool) -> None:
        inside_another = len(printer.stack) > 1
        printer.text(repr(value) if inside_another else self.text(value))


W = TypeVar("W", bound=Work)

#: Its MIME type, and the version of the protocol that ipywidgets 7 and 8 share.
_VIEW = "application/vnd.jupyter.widget-view+json"
_VERSION = {"version_major": 2, "version_minor": 0}

#: As wide as a reply. The border's grey reads on white and on black, as in `palette`.
_LAYOUT = {
    "align_items": "center",
    "border": "1px solid rgba(128,128,128,.35)",
    "justify_content": "space-between",
    "margin": "2px 0",
    "max_width": "60em",
    "padding": "6px 8px 6px 12px",
}

_log = logging.getLogger(__name__)


def can_show(shell: Any) -> bool:
    """Return whether a card can be shown: in a kernel, with ipywidgets."""
    return in_kernel(shell) and _has_widgets()


def in_kernel(shell: Any) -> bool:
    """Return whether what a cell showed can be replaced later: in a kernel, with widgets or not."""
    return getattr(shell, "kernel", None) is not None


def _has_widgets() -> bool:
    return importlib.util.find_spec("ipywidgets") is not None


def view_of(widget: Any) -> Bundle:
    """Return what shows a widget on a page."""
    return {_VIEW: {**_VERSION, "model_id": str(widget.model_id)}}


class Card(abc.ABC, Generic[W]):
    """A view (`live.View`) of a job or a batch; what it says is its subclass' affair."""

    #: What the Stop button says about itself.
    stop_hint: str

    def __init__(self, work: W) -> None:
        self.work = work
        self._widgets: _Widgets | None = None

    @abc.abstractmethod
    def head(self) -> str:
        """Return what changes, as HTML."""

    @abc.abstractmethod
    def rows(self) -> Sequence[Any]:
        """Make the widgets below it."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Do what the button is for; at once, and in whichever thread."""

    @abc.abstractmethod
    def pending(self) -> Bundle:
        """Return what shows where widgets do not, while the work goes on."""

    @abc.abstractmethod
    def ended(self) -> dict[str, str]:
        """Return the HTML and the text that stay."""

    def begin(self) -> Bundle:
        """Make the widgets, and show them wherever they can be."""
        if not _has_widgets():
            return self.pending()
        button = _stop_button(self.stop, hint=self.stop_hint)
        self._widgets = _Widgets(line(self.head()), self.rows(), button)
        return {**view_of(self._widgets.box), **self.pending()}

    def redraw(self) -> Bundle | None:
        """Send what changed; without widgets, give what is to be shown instead."""
        if self._widgets is None:
            return self.pending()
        self._widgets.head.value = self.head()
        return None

    def end(self) -> Bundle:
        """Return what stays; the widgets hold it too, for a page that was reloaded."""
        bundle = self.ended()
        if self._widgets is not None:
            self._widgets.hold(bundle["text/html"])
        return bundle

    @property
    def close(self) -> Callable[[], None]:
        """What closes the widgets; it does not keep the work, which may hold large objects."""
        return self._widgets.close if self._widgets is not None else _nothing


class _Widgets:
    """The box of a card: first the line, the rows and the button, at the end the line alone."""

    def __init__(self, head: Any, rows: Sequence[Any], button: Any) -> None:
        from ipywidgets import HBox, Layout, VBox

        # Without `min_width` a long word would push the button out of the box.
        words = VBox([head, *rows], layout=Layout(flex="1 1 auto", min_width="0"))
        self.head = head
        self._card = HBox([words, button], layout=Layout(**_LAYOUT))
        self.box = VBox([self._card])

    def hold(self, page: str) -> None:
        """Show this instead of everything, and close what is not needed for it."""
        try:
            self.head.value = page
            self.box.children = (self.head,)
            close_all(self._card, but=[*_every(self.head)])
        except Exception:  # noqa: BLE001 - the output itself, which is replaced next, counts more
            _log.debug("a card could not be drawn", exc_info=True)
        self._card = None

    def close(self) -> None:
        close_all(self.box)


def line(page: str) -> Any:
    """Make a widget of finished HTML."""
    from ipywidgets import HTML, Layout

    return HTML(page, layout=Layout(margin="0", width="auto"))


def _stop_button(stop: Callable[[], None], *, hint: str) -> Any:
    from ipywidgets import Button, Layout

    layout = Layout(width="auto", margin="0 0 0 12px", flex="0 0 auto")
    button = Button(description="Stop", tooltip=hint, layout=layout)
    button.on_click(lambda _: stop())
    return button


def close_all(widget: Any, *, but: Sequence[Any] = ()) -> None:
    """Close a widget and all that is inside of it, or the kernel would keep them."""
    for each in [*_every(widget)]:
        if each not in but:
            each.close()


def _every(widget: Any) -> Iterator[Any]:
    """Walk a widget with all that was made for it: children, layouts, styles."""
    for child in getattr(widget, "children", ()):
        yield from _every(child)
    yield from filter(None, (getattr(widget, name, None) for name in ("layout", "style")))
    yield widget


def _nothing() -> None:
    """Close what was never opened."""


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
        """Return what a blocking cell would show."""
        return _ended(self.work)


def _ended(job: Job) -> dict[str, str]:
    if job.error is not None:
        from segmind_jupyter.notebook.display.reply import failure_bundle

        return failure_bundle(job.error)
    from segmind_jupyter.notebook.display.reply import reply_bundle

    reply = job.reply
    return reply_bundle(reply) if reply is not None else {}


def _pending_text(job: Job) -> str:
    facts = (f"Job {job.request_id}", job.model, _state(job))
    words = " · ".join(one_line(fact) for fact in facts if fact)
    return f"{words} · `_.wait()` or `%segmind wait` shows its reply."


def _pending_html(job: Job) -> str:
    """Show a job where nothing can change, as in a notebook that was closed meanwhile."""
    from segmind_jupyter.notebook.display.markdown import framed

    hint = f"When this was saved it had not ended: `%segmind resume {job.request_id}`"
    return framed(
        f"<div>{_mark(job)} <strong>{_state(job).capitalize()}</strong></div>"
        f"{_about_html(job)}"
        f'<div style="{FRAME["note"]}">{one_line_html(hint)}</div>'
    )


def _head_html(job: Job) -> str:
    time = f'<span style="{FRAME["quiet"]}">{format_duration(job.elapsed_s)}</span>'
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


#: Different errors that are shown; all of them are in `batch.errors`.
_MAX_ERRORS = 3


class BatchDisplay(LiveDisplay[Batch]):
    """The displays that a shell has for a `Batch`, on its own or as the value of a cell.

    Parameters as `LiveDisplay`.
    """

    kind = Batch

    @property
    def can_show(self) -> bool:
        """Whether there is a page; it need not have widgets."""
        return in_kernel(self._shell)

    def install(self) -> None:
        """Add the displays; in a terminal `Batch` writes its own line where it is waited for."""
        super().install()
        if self.can_show:
            session().batch_shows.append(self.show)

    def remove(self) -> None:
        """Take them back; the views that are live stay so."""
        super().remove()
        shows = session().batch_shows
        shows[:] = [show for show in shows if not _is_ours(show)]

    def show(self, value: Batch) -> None:
        """Show how far it has come, below the cell that runs, and there not twice."""
        self._live.show(BatchView(value))
        self.hush(value)

    def text(self, value: Batch) -> str:
        """Say how far it has come."""
        return str(value)


def _is_ours(show: object) -> bool:
    return isinstance(getattr(show, "__self__", None), BatchDisplay)


class BatchView(Card[Batch]):
    """The view of one batch: numbers, a bar, and Stop."""

    stop_hint = "Send nothing more. What is in flight may be billed, so its replies are kept."

    def __init__(self, work: Batch) -> None:
        super().__init__(work)
        self._bar: Any = None

    def head(self) -> str:
        """Say what is done, and what it took."""
        return _numbers_html(self.work)

    def rows(self) -> Sequence[Any]:
        """Draw the bar."""
        from ipywidgets import IntProgress, Layout

        layout = Layout(width="100%", height="14px", margin="2px 0")
        self._bar = IntProgress(_ended_items(self.work), max=len(self.work), layout=layout)
        return [self._bar]

    def redraw(self) -> Bundle | None:
        """Send the numbers and the bar, each if it changed."""
        if self._bar is not None:
            self._bar.value = _ended_items(self.work)
        return super().redraw()

    def stop(self) -> None:
        """Send nothing more."""
        self.work.cancel()

    def pending(self) -> Bundle:
        """Say how far it had come when this was shown."""
        from segmind_jupyter.notebook.display.markdown import framed

        hint = "If this stays as it is, the batch was cut short: run the cell again to go on."
        page = _numbers_html(self.work) + _note_html(hint)
        return {"text/html": framed(page), "text/plain": str(self.work)}

    def ended(self) -> dict[str, str]:
        """Sum it up, with the first errors."""
        from segmind_jupyter.notebook.display.markdown import framed

        return {"text/html": framed(_ended_html(self.work)), "text/plain": _ended_text(self.work)}


def _ended_items(batch: Batch) -> int:
    progress = batch.progress
    return progress.done + progress.failed


def _numbers_html(batch: Batch) -> str:
    counts, _, facts = str(batch.progress).partition(" · ")
    return (
        f'<div style="{FRAME["head"]}"><strong>{one_line_html(counts)}</strong></div>'
        f'<div style="{FRAME["about"]}">{one_line_html(facts) or "&nbsp;"}</div>'
    )


def _ended_html(batch: Batch) -> str:
    from segmind_jupyter.notebook.display.reply import boxed, failure_html

    errors = [
        boxed(error, f"{one_line_html(where)}: {failure_html(error)}")
        for where, error in _first_errors(batch)
    ]
    notes = [_note_html(note) for note in batch.notes]
    hint = f'<div style="{FRAME["footer"]}">{one_line_html(_hint(batch))}</div>'
    return "".join([_numbers_html(batch), *errors, *notes, hint])


def _ended_text(batch: Batch) -> str:
    from segmind_jupyter.notebook.display.reply import failure_text

    errors = [f"{one_line(where)}: {failure_text(error)}" for where, error in _first_errors(batch)]
    return "\n".join([str(batch), *errors, *map(one_line, batch.notes), _hint(batch)])


def _first_errors(batch: Batch) -> Iterator[tuple[str, SegmindError]]:
    """Return the first few different errors, each with the items that it is of."""
    items: dict[str, list[int]] = {}
    errors = batch.errors
    for position, error in errors.items():
        items.setdefault(f"{type(error).__name__} {error}", []).append(position)
    for positions in list(items.values())[:_MAX_ERRORS]:
        first, *others = positions
        more = f" and {len(others):,} more" if others else ""
        yield named(batch.key(first)) + more, errors[first]


def _hint(batch: Batch) -> str:
    errors = len(batch.errors)
    more = f", `batch.errors` all {errors:,} errors" if errors else ""
    return f"`batch.to_frame()` has the replies as a table{more}."


def _note_html(note: str) -> str:
    return f'<div style="{FRAME["note"]}">{one_line_html(note)}</div>'
