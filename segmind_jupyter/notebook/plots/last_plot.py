"""`--plot`: the pictures that cells displayed last, whoever drew them.

The bytes are taken as they go to the page, so nothing is drawn again, and a figure that the inline
backend has closed is there as well. What `%%capture` keeps from the page is not seen here, nor what
is a widget's own state (`ipywidgets.Image`). Loading imports no image or plotting library.
"""

from __future__ import annotations

import logging
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from IPython.core.displaypub import CapturingDisplayPublisher

from segmind_jupyter.errors import ContentError

if TYPE_CHECKING:
    from segmind_jupyter.content.parts import Limits
    from segmind_jupyter.content.prompt import Attachment
    from segmind_jupyter.notebook.plots.formats import Picture

#: So many pictures are kept.
MAX_PLOTS: Final = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture on the page, and where it stands: an area is what is cleared as a whole."""

    picture: Picture
    name: str
    area: str
    cell_id: str | None = None
    display_id: str | None = None


class LastPlots:
    """The pictures on the page of one shell, as far as they were displayed since `install`.

    The newest picture may be one without pixels: HTML of plotly, an SVG. It counts, and is an
    error when it is asked for: an older one sent in its place would be another plot than the one
    before the user's eyes. Threads may share it.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._shown: list[Shown] = []
        #: The areas that their next output clears.
        self._to_clear: set[str] = set()
        self._lock = threading.Lock()
        #: What puts each method back, and whose it is.
        self._taps: list[tuple[Any, Callable[[], None]]] = []
        #: Returns the object that was made ready for the page last, while that is there.
        self.formatted: Callable[[], Any] = lambda: None
        self._note_cell(None)

    def install(self) -> None:
        """Follow what is displayed from now on."""
        self._shell.events.register("pre_run_cell", self._begin_cell)
        self._tap(self._shell.displayhook, "write_format_data", self._published)
        self._tap(self._shell.display_formatter, "format", self._format)
        self._tap_publisher()

    def remove(self) -> None:
        """Take back what `install` did to the shell."""
        self._shell.events.unregister("pre_run_cell", self._begin_cell)
        while self._taps:
            _, put_back = self._taps.pop()
            put_back()

    @classmethod
    def of(cls, shell: Any) -> LastPlots | None:
        """Return the one that is installed in a shell, or `None`."""
        callbacks = shell.events.callbacks["pre_run_cell"]
        owners = (getattr(callback, "__self__", None) for callback in callbacks)
        return next((owner for owner in owners if isinstance(owner, cls)), None)

    @property
    def is_empty(self) -> bool:
        """Whether no picture is there, not even one without pixels."""
        return not self._shown

    def sent(self, count: int = 1, *, limits: Limits) -> list[Attachment]:
        """Make what is sent of the pictures that cells displayed last."""
        from segmind_jupyter.content.images.encode import shown_image
        from segmind_jupyter.content.prompt import Attachment
        from segmind_jupyter.content.register import as_bytes
        from segmind_jupyter.notebook.plots.formats import VectorPlot

        sent = []
        for shown in self.last(count):
            if isinstance(picture := shown.picture, VectorPlot):
                raise ContentError(
                    f"The {shown.name} is {picture.what}, which has no pixels to send. Do this: "
                    f"{picture.step}; then ask again."
                )
            try:
                image = shown_image(as_bytes(picture.data), limits=limits)
            except ContentError as error:
                raise ContentError(f"The {shown.name} cannot be sent: {error}") from error
            sent.append(Attachment(shown.name, (image,)))
        return sent

    def last(self, count: int = 1) -> list[Shown]:
        """Return the pictures that cells displayed last, or say what is to be done."""
        shown = self._shown
        if threading.get_ident() == self._cells_thread and _figure_waits():
            raise ContentError(
                "This cell has drawn a figure that shows only when the cell has ended. Call "
                "plt.show() before you ask, ask in the next cell, or name the figure in braces."
            )
        if not shown:
            raise ContentError(
                "No plot is there to send: no cell has displayed one since segmind_jupyter was "
                "loaded, or it was cleared. Run the plotting cell again, or name the figure in "
                "braces: {fig}."
            )
        if not 1 <= count <= len(shown):
            raise ContentError(
                f"--plot {count}: give 1 to {MAX_PLOTS}, of which only {len(shown)} are there now. "
                "Run the other plotting cells again, or name figures in braces: {fig}."
            )
        return shown[-count:]

    def _tap(self, owner: Any, name: str, hear: Callable[..., object]) -> None:
        self._taps.append((owner, observed(owner, name, hear)))

    def _tap_publisher(self) -> None:
        """Follow the shell's publisher: not one that captures, and none twice."""
        publisher = self._shell.display_pub
        is_known = any(owner is publisher for owner, _ in self._taps)
        if not (is_known or isinstance(publisher, CapturingDisplayPublisher)):
            self._tap(publisher, "publish", self._published)
            self._tap(publisher, "clear_output", self._cleared)

    def _begin_cell(self, info: Any = None) -> None:
        cell_id = getattr(info, "cell_id", None)
        self._note_cell(cell_id)
        if cell_id is not None:  # it runs again: its outputs leave the page
            with self._lock:
                self._drop(lambda shown: shown.cell_id == cell_id)
        self._tap_publisher()  # it captured, maybe, in the cell that loaded the extension

    def _note_cell(self, cell_id: str | None) -> None:
        # Asked as the cell begins, since figures show at its end, when some IPythons have counted
        # on. The shell's own counter is one ahead in the newest ones; the hook tells the cell's.
        self._cell = self._shell.displayhook.prompt_count, cell_id
        self._cells_thread = threading.get_ident()

    def _published(
        self,
        publisher: Any,
        data: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        *_: Any,
        transient: Mapping[str, Any] | None = None,
        update: bool = False,
        **__: Any,
    ) -> None:
        from segmind_jupyter.notebook.plots.formats import picture_in

        picture = picture_in(data, metadata or {}, self.formatted)
        if picture is not None:
            self.formatted = lambda: None  # what is published raw next is another object's
        name, area, cell_id = self._place(publisher)
        display_id = (transient or {}).get("display_id")
        with self._lock:
            if update and display_id is not None:
                # It counts as the newest, and as of the place in which it was first shown.
                for shown in self._shown:
                    if shown.display_id == display_id:
                        name, area, cell_id = shown.name, shown.area, shown.cell_id
                self._drop(lambda shown: shown.display_id == display_id)
            elif area in self._to_clear:
                self._to_clear.discard(area)
                self._drop(lambda shown: shown.area == area)
            if picture is not None:
                new = Shown(picture, name, area, cell_id, display_id)
                self._shown = [*self._shown, new][-MAX_PLOTS:]

    def _format(self, formatter: Any, value: Any, *_: Any, **__: Any) -> None:
        self.formatted = lambda: None
        self.formatted = weakref.ref(value)  # what bears none is no figure: this raises, unheard

    def _cleared(self, publisher: Any, wait: bool = False) -> None:
        area = self._place(publisher)[1]
        with self._lock:
            if wait:
                self._to_clear.add(area)
            else:
                self._drop(lambda shown: shown.area == area)

    def _drop(self, gone: Callable[[Shown], bool]) -> None:
        self._shown = [shown for shown in self._shown if not gone(shown)]

    def _place(self, publisher: Any) -> tuple[str, str, str | None]:
        """Name that which a publisher (or display hook) shows now, its area and its cell."""
        header = getattr(publisher, "parent_header", None) or {}  # none outside of a kernel
        if header.get("msg_type") == "comm_msg":
            return "plot of a widget", "widgets", None
        number, cell_id = self._cell
        return f"plot of [{number}]", header.get("msg_id", f"cell {number}"), cell_id


def _figure_waits() -> bool:
    """Return whether the inline backend has a figure to show at the end of the cell."""
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    if inline is None:
        return False
    waiting = getattr(inline.show, "_to_draw", ())
    is_open = [manager.canvas.figure for manager in inline.Gcf.get_all_fig_managers()]
    return any(figure in is_open for figure in waiting)


def replaced(owner: Any, name: str, stand_in: Callable[..., Any]) -> Callable[[], None]:
    """Have a method called by another one, which is given it; returns what puts it back."""
    before, method = vars(owner).get(name), getattr(owner, name)
    is_over = False

    def ours(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs) if is_over else stand_in(method, *args, **kwargs)

    def put_back() -> None:
        nonlocal is_over
        is_over = True
        if vars(owner).get(name) is not ours:
            return  # somebody wrapped it since; it hands on
        if before is None:
            delattr(owner, name)
        else:
            setattr(owner, name, before)

    setattr(owner, name, ours)
    return put_back


def observed(owner: Any, name: str, hear: Callable[..., object]) -> Callable[[], None]:
    """Call `hear(owner, ...)` after each call of a method that did not fail; `replaced` otherwise.

    What fails in hearing is logged, and the caller never learns of it.
    """

    def call(method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        try:
            hear(owner, *args, **kwargs)
        except Exception:  # noqa: BLE001 - an output must show, whatever we make of it
            _log.debug("an output could not be looked at", exc_info=True)
        return result

    return replaced(owner, name, call)
