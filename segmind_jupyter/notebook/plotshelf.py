"""The pictures that are on the page, the newest few of them. Knows no shell and no image library.

What the page no longer shows is not kept: a picture that was cleared, replaced or updated, or
whose cell began anew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from segmind_jupyter.notebook.plotkinds import Picture, Pixels

#: So many pictures are kept, and so many bytes of them; one alone may be larger.
MAX_PLOTS: Final = 8
MAX_BYTES: Final = 64_000_000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an output stands.

    Parameters
    ----------
    name
        What a person calls it: ``"plot of [3]"``.
    area
        What is cleared together: the outputs of one run of a cell, or of one widget.
    cell_id
        The cell's name in its notebook, where the front end tells it.
    """

    name: str
    area: str
    cell_id: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture on the page.

    Parameters
    ----------
    picture
        What is shown.
    origin
        Where.
    display_id
        By which name it can be updated.
    """

    picture: Picture
    origin: Origin
    display_id: str | None = None

    @property
    def n_bytes(self) -> int:
        """What it takes to keep it."""
        return len(self.picture.data) if isinstance(self.picture, Pixels) else 0


class Shelf:
    """The newest pictures; threads may share it.

    Parameters
    ----------
    max_plots, max_bytes
        What is kept at most. Beyond it the oldest go.
    """

    def __init__(self, *, max_plots: int = MAX_PLOTS, max_bytes: int = MAX_BYTES) -> None:
        self._max_plots, self._max_bytes = max_plots, max_bytes
        self._held: list[Shown] = []
        self._to_clear: set[str] = set()
        self._lock = threading.Lock()

    def last(self, count: int = MAX_PLOTS) -> list[Shown]:
        """Give the newest pictures, the newest last; fewer if there are no more."""
        with self._lock:
            return self._held[-count:]

    def show(self, picture: Picture | None, origin: Origin, display_id: str | None = None) -> None:
        """Take note of an output; also of one without a picture, for which an area may clear."""
        with self._lock:
            if origin.area in self._to_clear:
                self._drop(lambda shown: shown.origin.area == origin.area)
            if picture is not None:
                self._add(Shown(picture, origin, display_id))

    def update(self, picture: Picture | None, origin: Origin, display_id: str) -> None:
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
        self._held.append(shown)
        while len(self._held) > 1 and self._is_over():
            del self._held[0]
        self._tidy()

    def _is_over(self) -> bool:
        n_bytes = sum(shown.n_bytes for shown in self._held)
        return len(self._held) > self._max_plots or n_bytes > self._max_bytes

    def _drop(self, gone: Callable[[Shown], bool]) -> None:
        self._held = [shown for shown in self._held if not gone(shown)]
        self._tidy()

    def _tidy(self) -> None:
        """Forget the areas that hold nothing any more."""
        self._to_clear &= {shown.origin.area for shown in self._held}
