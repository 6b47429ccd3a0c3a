"""`--plot`: the pictures that cells displayed last, whoever drew them.

The bytes are taken as they go to the page, so nothing is drawn again, and a figure that the inline
backend has closed is there as well. What `%%capture` keeps from the page is not seen here, nor what
is a widget's own state (`ipywidgets.Image`). Loading imports no image or plotting library.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.core.displaypub import CapturingDisplayPublisher

from segmind_jupyter.errors import ContentError
from segmind_jupyter.notebook.plotkinds import NoPixels, picture_in
from segmind_jupyter.notebook.plotorigin import Origins
from segmind_jupyter.notebook.plotshelf import MAX_PLOTS, Shelf, Shown
from segmind_jupyter.notebook.plottap import Tap

if TYPE_CHECKING:
    from segmind_jupyter.content.parts import Image, Limits
    from segmind_jupyter.content.sent import SentItem


class LastPlots:
    """The pictures on the page of one shell, as far as they were displayed since `install`.

    The newest picture may be one without pixels: HTML of plotly, an SVG. It counts, and is an
    error when it is asked for: an older one sent in its place would be another plot than the one
    before the user's eyes.

    Parameters
    ----------
    shell
        The shell whose displays are followed.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._shelf = Shelf()
        self._origins = Origins(shell)
        self._taps: list[Tap] = []
        self._cells_thread = threading.get_ident()

    def install(self) -> None:
        """Follow what is displayed from now on."""
        self._shell.events.register("pre_run_cell", self._begin_cell)
        self._tap(self._shell.displayhook, write_format_data=self._resulted)
        self._tap_publisher()

    @classmethod
    def remove(cls, shell: Any) -> None:
        """Take back what `install` did to a shell; nothing happens where nothing was."""
        installed = cls.of(shell)
        if installed is not None:
            shell.events.unregister("pre_run_cell", installed._begin_cell)
            installed._close()

    @classmethod
    def of(cls, shell: Any) -> LastPlots | None:
        """Give the one that is installed in a shell, or `None`."""
        owners = (
            getattr(callback, "__self__", None)
            for callback in shell.events.callbacks["pre_run_cell"]
        )
        return next((owner for owner in owners if isinstance(owner, cls)), None)

    @property
    def is_empty(self) -> bool:
        """Whether no picture is there, not even one without pixels."""
        return not self._shelf.last(1)

    def sent(self, count: int = 1, *, limits: Limits) -> list[SentItem]:
        """Make what is sent of the pictures that cells displayed last.

        Parameters
        ----------
        count
            How many: 1 to 8.
        limits
            How large the images may become.

        Returns
        -------
        list of SentItem
            The newest last, named by their cells: ``"plot of [3]"``.

        Raises
        ------
        ContentError
            There are not so many, one of them has no pixels or cannot be decoded, or a figure of
            the running cell is not shown yet.
        """
        from segmind_jupyter.content.sent import SentItem

        if not 1 <= count <= MAX_PLOTS:
            raise ContentError(
                f"--plot {count}: the last {MAX_PLOTS} plots are kept, so give 1 to {MAX_PLOTS}. "
                "Name others in braces: {fig}."
            )
        self._check_nothing_waits()
        shown = self._shelf.last(count)
        _check_enough(shown, count)
        return [SentItem(each.origin.name, (_image(each, limits),)) for each in shown]

    def _tap(self, owner: Any, **hearers: Any) -> None:
        self._taps += [Tap(owner, name, hear) for name, hear in hearers.items()]

    def _tap_publisher(self) -> None:
        """Follow the shell's publisher: not one that captures, and none twice."""
        publisher = self._shell.display_pub
        is_known = any(tap.owner is publisher for tap in self._taps)
        if not (is_known or isinstance(publisher, CapturingDisplayPublisher)):
            self._tap(publisher, publish=self._published, clear_output=self._cleared)

    def _close(self) -> None:
        while self._taps:
            self._taps.pop().close()

    def _begin_cell(self, info: Any = None) -> None:
        self._cells_thread = threading.get_ident()
        cell_id = getattr(info, "cell_id", None)
        self._origins.begin(cell_id)
        if cell_id is not None:
            self._shelf.begin(cell_id)
        self._tap_publisher()  # it captured, maybe, in the cell that loaded the extension

    def _published(
        self,
        publisher: Any,
        data: Mapping[str, Any],
        *_: Any,
        transient: Mapping[str, Any] | None = None,
        update: bool = False,
        **__: Any,
    ) -> None:
        picture = picture_in(data)
        if picture is None and self.is_empty:
            return  # as for nearly all outputs
        origin, display_id = self._origins.of(publisher), (transient or {}).get("display_id")
        if update and display_id is not None:
            self._shelf.update(picture, origin, display_id)
        else:
            self._shelf.show(picture, origin, display_id)

    def _resulted(self, hook: Any, data: Mapping[str, Any], *_: Any, **__: Any) -> None:
        self._published(hook, data)

    def _cleared(self, publisher: Any, wait: bool = False) -> None:
        self._shelf.clear(self._origins.of(publisher).area, wait=wait)

    def _check_nothing_waits(self) -> None:
        """Refuse if the cell that asks has drawn a figure that shows only at its end."""
        if threading.get_ident() == self._cells_thread and _figure_waits():
            raise ContentError(
                "This cell has drawn a figure that shows only when the cell has ended. Call "
                "plt.show() before you ask, ask in the next cell, or name the figure in braces."
            )


def _figure_waits() -> bool:
    """Tell whether the inline backend has a figure to show at the end of the cell."""
    inline = sys.modules.get("matplotlib_inline.backend_inline")
    if inline is None:
        return False
    waiting = getattr(inline.show, "_to_draw", ())
    is_open = [manager.canvas.figure for manager in inline.Gcf.get_all_fig_managers()]
    return any(figure in is_open for figure in waiting)


def _check_enough(shown: list[Shown], count: int) -> None:
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


def _image(shown: Shown, limits: Limits) -> Image:
    from segmind_jupyter.content.display import as_bytes
    from segmind_jupyter.content.shown import shown_image

    name, picture = shown.origin.name, shown.picture
    if isinstance(picture, NoPixels):
        raise ContentError(
            f"The {name} is {picture.what}, which has no pixels to send. Do this: "
            f"{picture.step}; then ask again."
        )
    try:
        return shown_image(as_bytes(picture.data), limits=limits)
    except ContentError as error:
        raise ContentError(f"The {name} cannot be sent: {error}") from error
