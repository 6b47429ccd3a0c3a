"""A live view made of plain ipywidgets: a line of HTML, what goes below it, and a Stop button.

Without ipywidgets it is what would be saved, replaced from time to time.

All HTML comes finished and escaped from the views. No `Label` is used (it typesets TeX) and no
`Output` (it runs what it shows). ipywidgets is imported when the first card is made.
"""

from __future__ import annotations

import abc
import importlib.util
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from segmind_jupyter.notebook.live import Bundle, Work

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
    """Tell whether a card can be shown: in a kernel, with ipywidgets."""
    return in_kernel(shell) and _has_widgets()


def in_kernel(shell: Any) -> bool:
    """Tell whether what a cell showed can be replaced later: in a kernel, with widgets or not."""
    return getattr(shell, "kernel", None) is not None


def _has_widgets() -> bool:
    return importlib.util.find_spec("ipywidgets") is not None


def view_of(widget: Any) -> Bundle:
    """Give what shows a widget on a page."""
    return {_VIEW: {**_VERSION, "model_id": str(widget.model_id)}}


class Card(abc.ABC, Generic[W]):
    """A view (`live.View`) of a job or a batch; what it says is its subclass' affair.

    Parameters
    ----------
    work
        The job or the batch.
    """

    #: What the Stop button says about itself.
    stop_hint: str

    def __init__(self, work: W) -> None:
        self.work = work
        self._widgets: _Widgets | None = None

    @abc.abstractmethod
    def head(self) -> str:
        """Give what changes, as HTML."""

    @abc.abstractmethod
    def rows(self) -> Sequence[Any]:
        """Make the widgets below it."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Do what the button is for; at once, and in whichever thread."""

    @abc.abstractmethod
    def pending(self) -> Bundle:
        """Give what shows where widgets do not, while the work goes on."""

    @abc.abstractmethod
    def ended(self) -> dict[str, str]:
        """Give the HTML and the text that stay."""

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
        """Give what stays; the widgets hold it too, for a page that was reloaded."""
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
