"""`--plot`: the pictures that cells displayed last, whoever drew them.

The bytes are taken as they go to the page, so nothing is drawn again, and a figure that the inline
backend has closed is there as well. What `%%capture` keeps from the page is not seen here, nor what
is a widget's own state (`ipywidgets.Image`). Loading imports no image or plotting library.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from IPython.core.displaypub import CapturingDisplayPublisher

from segmind_jupyter.errors import ContentError

if TYPE_CHECKING:
    from segmind_jupyter.content.parts import Image, Limits
    from segmind_jupyter.content.prompt import Attachment
    from segmind_jupyter.notebook.plots.formats import Picture

#: So many pictures are kept, and so many bytes of them; one alone may be larger.
MAX_PLOTS: Final = 8
MAX_BYTES: Final = 64_000_000

#: So many cells are remembered; what shows something later still counts as of the newest.
_MAX_CELLS: Final = 64

_log = logging.getLogger(__name__)


class LastPlots:
    """The pictures on the page of one shell, as far as they were displayed since `install`.

    The newest picture may be one without pixels: HTML of plotly, an SVG. It counts, and is an
    error when it is asked for: an older one sent in its place would be another plot than the one
    before the user's eyes.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._recent = RecentPlots()
        #: Of each cell its number, the message that it answers, and its name in the notebook.
        self._cells = deque([self._running(None)], maxlen=_MAX_CELLS)
        self._taps: list[MethodObserver] = []
        #: Returns the object that was made ready for the page last, while that is there.
        self.formatted: Callable[[], Any] = lambda: None
        self._cells_thread = threading.get_ident()

    def install(self) -> None:
        """Follow what is displayed from now on."""
        self._shell.events.register("pre_run_cell", self._begin_cell)
        hook = self._shell.displayhook
        self._taps.append(MethodObserver(hook, "write_format_data", self._published))
        self._taps.append(MethodObserver(self._shell.display_formatter, "format", self._format))
        self._tap_publisher()

    @classmethod
    def remove(cls, shell: Any) -> None:
        """Take back what `install` did to a shell; nothing happens where nothing was."""
        installed = cls.of(shell)
        if installed is not None:
            shell.events.unregister("pre_run_cell", installed._begin_cell)
            while installed._taps:
                installed._taps.pop().close()

    @classmethod
    def of(cls, shell: Any) -> LastPlots | None:
        """Return the one that is installed in a shell, or `None`."""
        callbacks = shell.events.callbacks["pre_run_cell"]
        owners = (getattr(callback, "__self__", None) for callback in callbacks)
        return next((owner for owner in owners if isinstance(owner, cls)), None)

    @property
    def is_empty(self) -> bool:
        """Whether no picture is there, not even one without pixels."""
        return not self._recent.last(1)

    def sent(self, count: int = 1, *, limits: Limits) -> list[Attachment]:
        """Make what is sent of the pictures that cells displayed last."""
        from segmind_jupyter.content.prompt import Attachment

        return [Attachment(s.origin.name, (_image(s, limits),)) for s in self.shown(count)]

    def shown(self, count: int = 1) -> list[Shown]:
        """Return the pictures that cells displayed last, or say what is to be done."""
        shown = self._recent.last(count)
        if not 1 <= count <= MAX_PLOTS:
            raise ContentError(
                f"--plot {count}: the last {MAX_PLOTS} plots are kept, so give 1 to {MAX_PLOTS}. "
                "Name others in braces: {fig}."
            )
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
        if len(shown) < count:
            raise ContentError(
                f"--plot {count}: only {len(shown)} of the plots that cells displayed "
                f"{'is' if len(shown) == 1 else 'are'} there. Ask for fewer, or run the other "
                "plotting cells again."
            )
        return shown

    def _tap_publisher(self) -> None:
        """Follow the shell's publisher: not one that captures, and none twice."""
        publisher = self._shell.display_pub
        is_known = any(tap.owner is publisher for tap in self._taps)
        if not (is_known or isinstance(publisher, CapturingDisplayPublisher)):
            self._taps.append(MethodObserver(publisher, "publish", self._published))
            self._taps.append(MethodObserver(publisher, "clear_output", self._cleared))

    def _begin_cell(self, info: Any = None) -> None:
        self._cells_thread = threading.get_ident()
        cell_id = getattr(info, "cell_id", None)
        self._cells.append(self._running(cell_id))
        if cell_id is not None:
            self._recent.begin(cell_id)
        self._tap_publisher()  # it captured, maybe, in the cell that loaded the extension

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
        if picture is None and self.is_empty:
            return  # as for nearly all outputs
        origin, display_id = self._origin(publisher), (transient or {}).get("display_id")
        if update and display_id is not None:
            self._recent.update(picture, origin, display_id)
        else:
            self._recent.show(picture, origin, display_id)

    def _format(self, formatter: Any, value: Any, *_: Any, **__: Any) -> None:
        self.formatted = lambda: None
        self.formatted = weakref.ref(value)  # what bears none is no figure: this raises, unheard

    def _cleared(self, publisher: Any, wait: bool = False) -> None:
        self._recent.clear(self._origin(publisher).area, wait=wait)

    def _running(self, cell_id: str | None) -> tuple[int, str, str | None]:
        # Asked as the cell begins, since figures show at its end, when some IPythons have counted
        # on. The shell's own counter is one ahead in the newest ones; the hook tells the cell's.
        message_id = _header(self._shell.display_pub).get("msg_id", "")
        return self._shell.displayhook.prompt_count, message_id, cell_id

    def _origin(self, publisher: Any) -> CellOrigin:
        """Tell where that goes which a publisher (or display hook) shows now, on this thread."""
        header = _header(publisher)
        cells, message_id = list(self._cells), header.get("msg_id", "")  # threads may show, too
        cell = next((cell for cell in reversed(cells) if cell[1] == message_id), cells[-1])
        number, _, cell_id = cell
        area = _output_widget() or message_id or f"cell {number}"
        if header.get("msg_type") == "comm_msg":
            return CellOrigin("plot of a widget", area)
        return CellOrigin(f"plot of [{number}]", area, cell_id)


def _figure_waits() -> bool:
    """Return whether the inline backend has a figure to show at the end of the cell."""
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    if inline is None:
        return False
    waiting = getattr(inline.show, "_to_draw", ())
    is_open = [manager.canvas.figure for manager in inline.Gcf.get_all_fig_managers()]
    return any(figure in is_open for figure in waiting)


def _image(shown: Shown, limits: Limits) -> Image:
    from segmind_jupyter.content.images.encode import shown_image
    from segmind_jupyter.content.register import as_bytes
    from segmind_jupyter.notebook.plots.formats import VectorPlot

    name, picture = shown.origin.name, shown.picture
    if isinstance(picture, VectorPlot):
        raise ContentError(
            f"The {name} is {picture.what}, which has no pixels to send. Do this: "
            f"{picture.step}; then ask again."
        )
    try:
        return shown_image(as_bytes(picture.data), limits=limits)
    except ContentError as error:
        raise ContentError(f"The {name} cannot be sent: {error}") from error


@dataclass(frozen=True, slots=True)
class CellOrigin:
    """Where an output stands."""

    name: str
    area: str
    cell_id: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture on the page."""

    picture: Picture
    origin: CellOrigin
    display_id: str | None = None


class RecentPlots:
    """The newest pictures; threads may share it."""

    def __init__(self, *, max_plots: int = MAX_PLOTS, max_bytes: int = MAX_BYTES) -> None:
        self._max_plots, self._max_bytes = max_plots, max_bytes
        self._held: list[Shown] = []
        self._to_clear: set[str] = set()
        self._lock = threading.Lock()

    def last(self, count: int = MAX_PLOTS) -> list[Shown]:
        """Return the newest pictures, the newest last; fewer if there are no more."""
        with self._lock:
            return self._held[-count:]

    def show(
        self, picture: Picture | None, origin: CellOrigin, display_id: str | None = None
    ) -> None:
        """Take note of an output; also of one without a picture, for which an area may clear."""
        with self._lock:
            if origin.area in self._to_clear:
                self._drop(lambda shown: shown.origin.area == origin.area)
            if picture is not None:
                self._add(Shown(picture, origin, display_id))

    def update(self, picture: Picture | None, origin: CellOrigin, display_id: str) -> None:
        """Take note that outputs of this name now show something else.

        It counts as the newest, and as of the place in which it was first shown. One that was no
        picture before is not known here, and counts as of `origin`.
        """
        with self._lock:
            before = [shown for shown in self._held if shown.display_id == display_id]
            self._drop(lambda shown: shown.display_id == display_id)
            if picture is not None:
                new = before[-1] if before else Shown(picture, origin, display_id)
                self._add(replace(new, picture=picture))

    def clear(self, area: str, *, wait: bool) -> None:
        """Take note that an area was cleared, or will be by its next output."""
        with self._lock:
            if not wait:
                self._drop(lambda shown: shown.origin.area == area)
            elif any(shown.origin.area == area for shown in self._held):
                self._to_clear.add(area)

    def begin(self, cell_id: str) -> None:
        """Take note that a cell runs again: its outputs leave the page."""
        with self._lock:
            self._drop(lambda shown: shown.origin.cell_id == cell_id)

    def _add(self, shown: Shown) -> None:
        from segmind_jupyter.notebook.plots.formats import Pixels

        held = [*self._held, shown][-self._max_plots :]
        sizes = [len(s.picture.data) if isinstance(s.picture, Pixels) else 0 for s in held]
        while len(sizes) > 1 and sum(sizes) > self._max_bytes:
            del sizes[0]
        self._held = held[-len(sizes) :]
        self._drop(lambda _: False)

    def _drop(self, gone: Callable[[Shown], bool]) -> None:
        """Drop some, and forget the areas to be cleared that hold nothing any more."""
        self._held = [shown for shown in self._held if not gone(shown)]
        self._to_clear &= {shown.origin.area for shown in self._held}


def _header(publisher: Any) -> Mapping[str, Any]:
    """Return the header of the message that is being answered; empty outside of a kernel."""
    return getattr(publisher, "parent_header", None) or {}


def _output_widget() -> str:
    """Name the `ipywidgets.Output` that takes what is shown now; empty if none does.

    Such a widget takes all that answers one message, for as long as it names that (`msg_id`).
    """
    module = sys.modules.get("ipywidgets.widgets.widget_output")
    if module is None:
        return ""
    widgets = sys.modules["ipywidgets.widgets.widget"]
    known = getattr(widgets, "_instances", None)  # ipywidgets 8
    for widget in list((widgets.Widget.widgets if known is None else known).values()):
        if isinstance(widget, module.Output) and widget.msg_id:
            return str(widget.model_id)
    return ""


class MethodObserver:
    """Has something called with the arguments of each call of a method, after that has ended.

    A call that fails is not heard. What fails in hearing is logged, and the caller never learns of
    it. Others may wrap the same method before and after.
    """

    def __init__(self, owner: Any, name: str, hear: Callable[..., object]) -> None:
        self.owner, self._name = owner, name
        self._hear: Callable[..., object] | None = hear
        self._before = vars(owner).get(name)
        method = getattr(owner, name)

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            if self._hear is not None:
                try:
                    self._hear(owner, *args, **kwargs)
                except Exception:  # noqa: BLE001 - an output must show, whatever we make of it
                    _log.debug("an output could not be looked at", exc_info=True)
            return result

        self._tapped = call
        setattr(owner, name, call)

    def close(self) -> None:
        """Hear no more; the method is as it was, unless somebody wrapped it since."""
        self._hear = None
        if vars(self.owner).get(self._name) is not self._tapped:
            return
        if self._before is None:
            delattr(self.owner, self._name)
        else:
            setattr(self.owner, self._name, self._before)
