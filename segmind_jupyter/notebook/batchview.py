"""How a `Batch` shows in a shell: a bar while it runs, and then what came of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from segmind_jupyter.asking import service
from segmind_jupyter.batch import Batch
from segmind_jupyter.batch.handle import named
from segmind_jupyter.errors import SegmindError
from segmind_jupyter.notebook.card import Card, in_kernel
from segmind_jupyter.notebook.display import LiveDisplay
from segmind_jupyter.notebook.live import Bundle
from segmind_jupyter.notebook.palette import FRAME
from segmind_jupyter.notebook.wording import one_line, one_line_html

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
            service().batch_shows.append(self.show)

    def remove(self) -> None:
        """Take them back; the views that are live stay so."""
        super().remove()
        shows = service().batch_shows
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
        from segmind_jupyter.notebook.markdown import framed

        hint = "If this stays as it is, the batch was cut short: run the cell again to go on."
        page = _numbers_html(self.work) + _note_html(hint)
        return {"text/html": framed(page), "text/plain": str(self.work)}

    def ended(self) -> dict[str, str]:
        """Sum it up, with the first errors."""
        from segmind_jupyter.notebook.markdown import framed

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
    from segmind_jupyter.notebook.failure import boxed, failure_html

    errors = [
        boxed(error, f"{one_line_html(where)}: {failure_html(error)}")
        for where, error in _first_errors(batch)
    ]
    notes = [_note_html(note) for note in batch.notes]
    hint = f'<div style="{FRAME["footer"]}">{one_line_html(_hint(batch))}</div>'
    return "".join([_numbers_html(batch), *errors, *notes, hint])


def _ended_text(batch: Batch) -> str:
    from segmind_jupyter.notebook.failure import failure_text

    errors = [f"{one_line(where)}: {failure_text(error)}" for where, error in _first_errors(batch)]
    return "\n".join([str(batch), *errors, *map(one_line, batch.notes), _hint(batch)])


def _first_errors(batch: Batch) -> Iterator[tuple[str, SegmindError]]:
    """Give the first few different errors, each with the items that it is of."""
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
