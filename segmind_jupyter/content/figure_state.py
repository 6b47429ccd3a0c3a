"""A matplotlib figure can be drawn elsewhere and be left as it was.

Knows what drawing changes in a figure, and nothing of why it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


@contextmanager
def kept_as_it_was(figure: Any) -> Iterator[None]:
    """Put back what drawing a figure on another canvas changes, also if the drawing fails.

    That is its canvas, size, dpi, stale flags and margins, and the places of axes, subfigures and
    titles, which layout engines and fixed aspects move. Until then, nobody who waits for the
    figure to be drawn or to change is called.

    Parameters
    ----------
    figure
        A root `matplotlib.figure.Figure`, of matplotlib 3.7 or later.
    """
    with _quiet(figure), ExitStack() as undo:
        _remember_layout(figure, undo)
        if hasattr(figure, "_original_dpi"):  # a new canvas overwrites it in older versions
            undo.callback(setattr, figure, "_original_dpi", figure._original_dpi)
        undo.callback(figure.set_canvas, figure.canvas)
        # Before the canvas: with the user's own in place, a new size or dpi resizes its window.
        undo.callback(figure.set_size_inches, figure.get_size_inches())
        undo.callback(setattr, figure, "dpi", figure.dpi)
        yield


@contextmanager
def _quiet(figure: Any) -> Iterator[None]:
    artists = [figure, *_subfigures(figure), *_axes(figure)]
    were_stale = [artist.stale for artist in artists]
    callback, figure.stale_callback = figure.stale_callback, None
    try:
        with figure.canvas.callbacks.blocked(signal="draw_event"):
            yield
    finally:
        # A stale artist makes the figure around it stale: flag these before clearing those.
        for artist, was_stale in sorted(zip(artists, were_stale, strict=True), key=_fresh_last):
            artist.stale = was_stale
        figure.stale_callback = callback


def _fresh_last(flagged: tuple[Any, bool]) -> bool:
    return not flagged[1]


def _remember_layout(figure: Any, undo: ExitStack) -> None:
    """Note every box, margin and title that a layout engine or an aspect may move."""
    for axes in _axes(figure):
        # Not `get_position`, which applies the aspect, nor `set_position`, which takes the axes
        # out of the layout.
        for box in (axes._position, axes._originalPosition, axes.viewLim):
            undo.callback(box.set, box.frozen())
    for part in (figure, *_subfigures(figure)):
        undo.callback(vars(part.subplotpars).update, dict(vars(part.subplotpars)))
        for text in part.texts:
            place, alignment = text.get_position(), text.get_verticalalignment()
            undo.callback(text.set, position=place, verticalalignment=alignment)
    for part in _subfigures(figure):
        undo.callback(part.bbox_relative.set, part.bbox_relative.frozen())


def _subfigures(figure: Any) -> list[Any]:
    return [inner for part in figure.subfigs for inner in (part, *_subfigures(part))]


def _axes(figure: Any) -> list[Any]:
    """List all axes, those inside others too: insets and secondary axes."""
    found = list(figure.axes)
    for axes in found:  # grows while it is walked
        found.extend(axes.child_axes)
    return found
