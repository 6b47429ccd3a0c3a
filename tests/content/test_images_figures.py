"""Matplotlib figures as images: which objects, at which size, and left as they were."""

from __future__ import annotations

import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
from matplotlib.animation import FuncAnimation
from matplotlib.artist import Artist
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from segmind_jupyter.content.images.figures import encode_figure, is_figure
from segmind_jupyter.content.parts import Image, Limits
from segmind_jupyter.errors import ContentError


@pytest.fixture(autouse=True)
def agg():
    """Draw without a window, and leave no figure and no setting behind."""
    with mpl.rc_context():
        mpl.use("Agg")
        yield
        plt.close("all")


def line(**options: object) -> Figure:
    """A blue line on axes, in a figure that pyplot does not know."""
    figure = Figure(**{"figsize": (8, 4), **options})
    figure.add_subplot().plot([1, 3, 2], color="blue", linewidth=4)
    return figure


def decoded(image: Image) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(image.data)) as picture:
        assert picture.size == (image.width, image.height)
        return np.asarray(picture.convert("RGB"))


def share_of(pixels: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((pixels == colour).all(axis=-1).mean())


def size(image: Image) -> tuple[int, int]:
    return image.width, image.height


def test_figure_keeps_its_shape_and_resolution():
    """Not a pixel differs from savefig at its own dpi; a dense screen does not double it."""
    figure = line()
    figure.canvas._set_device_pixel_ratio(2)
    image = encode_figure(figure)
    assert (size(image), image.media_type) == ((800, 400), "image/png")
    assert image.about == "Figure 8×4 in"
    pixels = decoded(image)
    assert share_of(pixels, (255, 255, 255)) > 0.9
    assert 0.002 < share_of(pixels, (0, 0, 255)) < 0.05
    file = io.BytesIO()
    line().savefig(file, dpi=100)
    assert np.array_equal(pixels, np.asarray(PIL.Image.open(file).convert("RGB")))


@pytest.mark.parametrize(
    ("inches", "dpi", "expected"),
    [
        ((8, 4), 300, (1568, 784)), ((8, 4), 8_750, (1568, 784)),
        ((1920, 1080), 100, (1456, 819)), ((40, 30), 100, (1270, 952)),
    ],
)  # fmt: skip
def test_large_figure_is_drawn_within_the_limits(inches, dpi, expected):
    """Too many pixels, even 70,000 a side, are lowered by the dpi and never drawn."""
    image = encode_figure(line(figsize=inches, dpi=dpi))
    assert size(image) == expected
    assert (decoded(image)[:, -1] == 255).all()


def test_savefig_settings_do_not_apply():
    """What the user set for files changes nothing of what is sent."""
    expected = encode_figure(line()).data
    own = {"dpi": 30, "bbox": "tight", "transparent": True, "facecolor": "red", "format": "svg"}
    mpl.rcParams.update({f"savefig.{name}": value for name, value in own.items()})
    settings = dict(mpl.rcParams)
    assert encode_figure(line()).data == expected
    assert dict(mpl.rcParams) == settings


class TestBeyondTheFigure:
    def test_what_reaches_beyond_is_in_the_picture(self):
        """A legend at the side and a title above, as on the page; and all of the figure."""
        figure = line()
        whole = decoded(encode_figure(figure))
        figure.axes[0].legend(
            ["blue"], bbox_to_anchor=(1.05, 1), facecolor="red", framealpha=1, loc="upper left"
        )
        figure.suptitle("T", y=1.1, backgroundcolor="lime")
        image = encode_figure(figure)
        pixels = decoded(image)
        assert image.width > 800
        assert image.height > 400
        assert image.about == "Figure 8×4 in"
        red, lime = (pixels == (255, 0, 0)).all(axis=-1), (pixels == (0, 255, 0)).all(axis=-1)
        assert red[:, 800:].sum() > 300
        assert lime[: image.height - 400].sum() > 100
        assert np.array_equal(pixels[-400:, :790][200:], whole[200:, :790])

    def test_a_legend_beside_the_axes_is_drawn_once(self, monkeypatch):
        """How large the picture is to be is known before it is drawn; a hidden one adds nothing."""
        figure = line()
        axes, drawn = figure.axes[0], []
        legend = axes.legend(["blue"], bbox_to_anchor=(1.05, 1), loc="upper left")
        curve, draw = axes.lines[0], axes.lines[0].draw
        monkeypatch.setattr(curve, "draw", lambda renderer: (drawn.append(curve), draw(renderer)))
        assert encode_figure(figure).width > 800
        assert drawn == [curve]
        legend.set_visible(False)
        assert size(encode_figure(figure)) == (800, 400)

    def test_a_legend_beside_is_measured_where_it_will_be(self):
        """Axes that keep an aspect move when they are drawn; a hidden part adds nothing."""
        figure = Figure(figsize=(6, 6))
        axes = figure.add_subplot(projection="3d")
        axes.scatter([1, 2], [1, 2], [1, 2], label="points of a line")
        axes.legend(bbox_to_anchor=(1.15, 1), loc="upper right")
        first = encode_figure(figure)
        FigureCanvasAgg(figure).draw()
        assert encode_figure(figure) == first
        figure = Figure(figsize=(8, 4))
        for part in figure.subfigures(1, 2):
            part.add_subplot().plot([1, 2], label="line")
        part.axes[0].legend(bbox_to_anchor=(1.05, 1), loc="upper left")
        assert encode_figure(figure).width > 800
        part.set_visible(False)
        assert size(encode_figure(figure)) == (800, 400)

    def test_an_artist_of_ones_own_may_draw_text_as_the_renderer_takes_it(self):
        """With what says that it is TeX by its place."""

        class Words(Artist):
            def draw(self, renderer):
                properties = FontProperties(size=10)
                renderer.draw_text(renderer.new_gc(), 50, 20, "words", properties, 0, False)

        figure = line()
        figure.add_artist(Words())
        assert encode_figure(figure).data != encode_figure(line()).data

    def test_a_figure_within_itself_keeps_its_size(self):
        """Also where a text lies near the edge, or outside by a hair."""
        for layout in (None, "constrained"):
            figure = Figure(figsize=(8, 4), layout=layout)
            axes = figure.add_subplot(xlabel="x", ylabel="y", title="title")
            axes.plot([1, 3, 2], label="line")
            axes.legend(loc="upper right")
            assert size(encode_figure(figure)) == (800, 400)

    def test_an_empty_figure_is_refused_and_the_way_is_named(self):
        """`plt.gcf()` after a cell has shown its figure makes a new one, all white."""
        for figure in (plt.subplots(2, 2)[0], plt.figure(), Figure(), plt.subplots()[0]):
            with pytest.raises(ContentError, match=r"is empty.*`--plot` sends the plot"):
                encode_figure(figure)
        figure.text(0.5, 0.5, "words")
        assert encode_figure(figure)
        (labelled := plt.figure()).add_subplot(xlabel="year")
        assert encode_figure(labelled)


class TestOrigin:
    def test_canvas_of_another_backend(self):
        """A figure made for PDF is drawn as pixels, and keeps its canvas."""
        figure = line()
        own = FigureCanvasPdf(figure)
        assert encode_figure(figure).data == encode_figure(line()).data
        assert figure.canvas is own


class SavesItself:
    def savefig(self, file, format=None):
        PIL.Image.new("RGB", (60, 40), "lime").save(file, format)


class TestObjects:
    def test_what_has_a_figure_gives_it(self):
        """Axes, artists and seaborn's grids, of which older ones have `fig` alone."""
        figure = line()
        axes = figure.axes[0]
        grids = SimpleNamespace(figure=figure), SimpleNamespace(fig=figure, figure=None)
        for part in (axes, axes.lines[0], axes.xaxis, axes.title, *grids):
            assert is_figure(part)
            assert encode_figure(part) == encode_figure(figure)

    def test_pyplot_gives_the_current_figure(self):
        """`plt` is the current figure while there is one, and opens none."""
        assert not is_figure(plt)
        with pytest.raises(ContentError, match="no figure to draw"):
            encode_figure(plt)
        assert plt.get_fignums() == []
        figure, axes = plt.subplots(figsize=(3, 2))
        axes.plot([1, 2])
        assert is_figure(plt)
        assert encode_figure(plt) == encode_figure(figure)

    def test_what_saves_itself_is_asked_for_a_png(self):
        """An object of another library with `savefig` is sent as it draws itself."""
        image = encode_figure(SavesItself())
        assert is_figure(SavesItself())
        assert (size(image), image.about) == ((60, 40), "SavesItself")
        assert tuple(decoded(image)[5, 5]) == (0, 255, 0)

    def test_hostile_attributes_are_no_figures(self):
        """An object that answers to every name is no figure."""

        class Anything:
            def __getattr__(self, name):
                return self

            def __call__(self, *args, **kwargs):
                return self

        assert not is_figure(Anything())


def test_what_cannot_be_drawn_is_named():
    """Bad mathtext with the formula; what saves something else than an image is not sent."""
    figure = line()
    figure.text(0.5, 0.5, r"$\frobnicate{$")
    with pytest.raises(ContentError, match=r"Figure 8×4 in .*frobnicate"):
        encode_figure(figure)

    class Text:
        def savefig(self, file, format=None):
            file.write(b"hello")

    with pytest.raises(ContentError, match="Text is not an image"):
        encode_figure(Text())


def test_animation_is_not_started():
    """Drawing a figure whose animation waits for the first drawing does not set it off."""
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    started: list[int] = []
    animation = FuncAnimation(figure, started.append, frames=3, cache_frame_data=False)
    encode_figure(figure)
    assert started == []
    animation._draw_was_started = True  # or it warns that it was never drawn


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


def tight() -> Figure:
    figure, axes = plt.subplots(2, 3, layout="tight")
    axes[0, 0].set_visible(False)  # stays stale when the rest is drawn
    figure.suptitle("title")
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


FIGURES = [plain, constrained, tight, three_dimensions, subfigures]


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


@pytest.mark.parametrize("how", ["new", "drawn", "failing"])
@pytest.mark.parametrize("make", FIGURES)
def test_figure_is_left_as_it_was(make: Callable[[], Figure], how: str):
    """Size, dpi, canvas, flags, callbacks, layout and limits, also where an artist raises."""
    figure = make()
    if how == "drawn":
        figure.canvas.draw()
    elif how == "failing":
        figure.axes[-1].set_title(r"$\frobnicate{$")
    state_of(figure)  # asking for the limits settles them
    before = state_of(figure)
    limits = Limits() if how == "new" else Limits(image_edge_px=112)
    if how == "failing":
        with pytest.raises(ContentError, match="frobnicate"):
            encode_figure(figure, limits=limits)
    else:
        encode_figure(figure, limits=limits)
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
