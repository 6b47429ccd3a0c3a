"""Encoding leaves the live figure exactly as it was, also when drawing fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from segmind_jupyter.content.images.figures import encode_figure
from segmind_jupyter.content.parts import Limits
from segmind_jupyter.errors import ContentError


@pytest.fixture(autouse=True)
def agg():
    """Draw without a window, and leave no figure and no setting behind."""
    with mpl.rc_context():
        mpl.use("Agg")
        yield
        plt.close("all")


def plain() -> Figure:
    figure = plt.figure(figsize=(8, 4))
    figure.add_subplot(xlabel="x", title="t").plot([1, 3, 2])
    return figure


def constrained() -> Figure:
    figure, axes = plt.subplots(2, 2, layout="constrained")
    figure.suptitle("title")
    figure.supxlabel("x")
    figure.supylabel("y")
    mesh = axes[0, 0].pcolormesh(np.arange(12).reshape(3, 4))
    figure.colorbar(mesh, ax=axes[:, 1])
    return figure


def compressed() -> Figure:
    figure, axes = plt.subplots(2, 2, layout="compressed")
    figure.suptitle("title")
    axes[0, 0].imshow(np.eye(3))
    return figure


def tight() -> Figure:
    figure, axes = plt.subplots(2, 3, layout="tight")
    axes[0, 0].set_visible(False)  # stays stale when the rest is drawn
    figure.suptitle("title")
    return figure


def aspects() -> Figure:
    figure, (left, right, polar) = plt.subplots(1, 3, subplot_kw={})
    left.imshow(np.eye(5))
    right.plot([0, 10], [0, 1])
    right.set_aspect("equal", adjustable="datalim")
    polar.twinx().set_ylabel("twin")
    inset = polar.inset_axes([0.1, 0.1, 0.4, 0.4])
    inset.set_aspect("equal")
    polar.secondary_xaxis("top")
    return figure


def three_dimensions() -> Figure:
    figure = plt.figure()
    figure.add_subplot(projection="3d").plot([1, 2], [3, 4], [5, 6])
    figure.add_axes([0.1, 0.1, 0.2, 0.2], projection="polar")
    return figure


def subfigures() -> Figure:
    figure = plt.figure(layout="constrained")
    left, right = figure.subfigures(1, 2)
    left.suptitle("left")
    left.subplots(2).tolist()
    right.subfigures(2)[0].subplots().set_ylabel("inner")
    return figure


FIGURES = [plain, constrained, compressed, tight, aspects, three_dimensions, subfigures]


def all_axes(figure: Figure) -> list[Any]:
    return [*figure.axes, *(child for axes in figure.axes for child in axes.child_axes)]


def state_of(figure: Figure) -> dict[str, Any]:
    """What a user could notice of a figure without drawing it."""
    parts = [figure, *figure.subfigs]
    return {
        "canvas": figure.canvas,
        "manager": figure.canvas.manager,
        "toolbar": figure.canvas.toolbar,
        "dpi": figure.dpi,
        "original dpi": vars(figure).get("_original_dpi"),
        "size": figure.get_size_inches().tolist(),
        "box": figure.bbox.bounds,
        "engine": figure.get_layout_engine(),
        "stale": [artist.stale for artist in (*parts, *all_axes(figure))],
        "stale callback": figure.stale_callback,
        "callbacks": {name: len(ids) for name, ids in figure.canvas.callbacks.callbacks.items()},
        "margins": [dict(vars(part.subplotpars)) for part in parts],
        "texts": [(text.get_position(), text.get_va()) for part in parts for text in part.texts],
        "subfigures": [part.bbox_relative.bounds for part in figure.subfigs],
        "axes": [
            (
                axes._position.bounds,
                axes._originalPosition.bounds,
                axes.get_in_layout(),
                axes.get_xlim(),
                axes.get_ylim(),
            )
            for axes in all_axes(figure)
        ],
        "settings": dict(mpl.rcParams),
        "open": plt.get_fignums(),
    }


def drawn(figure: Figure) -> bytes:
    figure.canvas.draw()
    return bytes(figure.canvas.buffer_rgba())


@pytest.mark.parametrize(
    ("limits", "was_drawn"), [(Limits(), False), (Limits(image_edge_px=112), True)]
)
@pytest.mark.parametrize("make", FIGURES)
def test_figure_is_left_as_it_was(make: Callable[[], Figure], limits: Limits, was_drawn: bool):
    """Size, dpi, canvas, flags, callbacks, layout and limits are the same afterwards."""
    figure = make()
    if was_drawn:
        figure.canvas.draw()
    state_of(figure)  # asking for the limits settles them
    before = state_of(figure)
    encode_figure(figure, limits=limits)
    assert state_of(figure) == before


@pytest.mark.parametrize("make", FIGURES)
def test_figure_draws_the_same_afterwards(make: Callable[[], Figure]):
    """A figure that was sent looks no different from one that was not."""
    sent = make()
    encode_figure(sent, limits=Limits(image_edge_px=112))
    assert drawn(sent) == drawn(make())


@pytest.mark.parametrize("make", FIGURES)
def test_figure_is_restored_when_drawing_fails(make: Callable[[], Figure]):
    """The same holds when an artist raises half-way."""
    figure = make()
    figure.axes[-1].set_title(r"$\frobnicate{$")
    state_of(figure)
    before = state_of(figure)
    with pytest.raises(ContentError, match="frobnicate"):
        encode_figure(figure, limits=Limits(image_edge_px=112))
    assert state_of(figure) == before


def test_nobody_is_told_of_the_drawing():
    """Callbacks for drawing and for changes are not called, and still are afterwards."""
    figure = plain()
    figure.canvas.draw()
    told: list[str] = []
    figure.canvas.mpl_connect("draw_event", lambda event: told.append("drawn"))
    figure.canvas.mpl_connect("resize_event", lambda event: told.append("resized"))
    figure.stale_callback = lambda figure, value: told.append("changed")
    encode_figure(figure, limits=Limits(image_edge_px=112))
    assert told == []
    figure.axes[0].set_xlabel("new")
    figure.canvas.draw()
    assert {"changed", "drawn"} <= set(told)


def test_window_is_not_resized():
    """A figure in a window is drawn at another dpi without the window's manager hearing of it."""
    figure = plain()
    resized: list[tuple[float, ...]] = []
    figure.canvas.manager.resize = lambda *size: resized.append(size)
    encode_figure(figure, limits=Limits(image_edge_px=112))
    assert resized == []
