"""Matplotlib figures as images: which objects, at which size, with which pixels."""

from __future__ import annotations

import io
import threading

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import pytest
from matplotlib.animation import FuncAnimation
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

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


class TestSize:
    def test_figure_keeps_its_shape_and_resolution(self):
        """8x4 inches at 100 dpi are 800x400 pixels: mostly white, with a blue line, as PNG."""
        image = encode_figure(line())
        assert (size(image), image.media_type) == ((800, 400), "image/png")
        assert image.about == "Figure 8×4 in"
        pixels = decoded(image)
        assert share_of(pixels, (255, 255, 255)) > 0.9
        assert 0.002 < share_of(pixels, (0, 0, 255)) < 0.05

    @pytest.mark.parametrize(
        ("inches", "dpi", "expected"),
        [
            ((8, 4), 300, (1568, 784)),
            ((8, 4), 8_750, (1568, 784)),
            ((700, 350), 100, (1568, 784)),
            ((1920, 1080), 100, (1456, 819)),
            ((70_000, 3), 1, (1568, 1)),
            ((40, 30), 100, (1270, 952)),
        ],
    )
    def test_large_figure_is_drawn_within_the_limits(self, inches, dpi, expected):
        """Too many pixels, even 70,000 a side, are lowered by the dpi and never drawn."""
        image = encode_figure(line(figsize=inches, dpi=dpi))
        assert size(image) == expected
        assert (decoded(image)[:, -1] == 255).all()

    def test_limits_are_followed(self):
        """A smaller edge gives a smaller drawing."""
        assert size(encode_figure(line(), limits=Limits(image_edge_px=280))) == (280, 140)

    def test_dense_screen_does_not_double_it(self):
        """A canvas of two device pixels for each pixel sends the figure's own resolution."""
        figure = line()
        figure.canvas._set_device_pixel_ratio(2)
        assert size(encode_figure(figure)) == (800, 400)
        assert (figure.dpi, figure.canvas.device_pixel_ratio) == (200, 2)

    def test_same_figure_gives_the_same_bytes(self):
        """What was asked before can be found again."""
        assert encode_figure(line()).data == encode_figure(line()).data


class TestPixels:
    def test_picture_is_what_matplotlib_saves(self):
        """Not a pixel differs from savefig at the figure's own dpi."""
        figure = line()
        file = io.BytesIO()
        sent = decoded(encode_figure(figure))
        figure.savefig(file, dpi=100)
        assert np.array_equal(sent, np.asarray(PIL.Image.open(file).convert("RGB")))

    @pytest.mark.parametrize("colour", ["black", "#204060"])
    def test_face_colour_is_kept(self, colour: str):
        """A dark figure is sent dark."""
        pixels = decoded(encode_figure(line(facecolor=colour)))
        expected = PIL.Image.new("RGB", (1, 1), colour).getpixel((0, 0))
        assert tuple(pixels[0, 0]) == expected

    def test_transparent_figure_is_on_white(self):
        """Where nothing is drawn the paper shows."""
        pixels = decoded(encode_figure(line(facecolor="none")))
        assert tuple(pixels[0, 0]) == (255, 255, 255)

    def test_savefig_settings_do_not_apply(self):
        """What the user set for files changes nothing of what is sent."""
        expected = encode_figure(line()).data
        mpl.rcParams.update(
            {
                "savefig.dpi": 30,
                "savefig.bbox": "tight",
                "savefig.transparent": True,
                "savefig.facecolor": "red",
                "savefig.format": "svg",
            }
        )
        settings = dict(mpl.rcParams)
        assert encode_figure(line()).data == expected
        assert dict(mpl.rcParams) == settings

    def test_animated_artists_are_drawn(self):
        """A line that is animated, which a plain drawing leaves out, is in the picture."""
        figure = line()
        figure.axes[0].lines[0].set_animated(True)
        assert encode_figure(figure).data == encode_figure(line()).data


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

    @pytest.mark.parametrize("layout", [None, "constrained"])
    def test_a_figure_within_itself_keeps_its_size(self, layout):
        """Also where a text lies near the edge, or outside by a hair."""
        figure = Figure(figsize=(8, 4), layout=layout)
        axes = figure.add_subplot(xlabel="x", ylabel="y", title="title")
        axes.plot([1, 3, 2], label="line")
        axes.legend(loc="upper right")
        assert size(encode_figure(figure)) == (800, 400)

    @pytest.mark.parametrize("words", ["one line", "two\nlines"])
    def test_long_labels_below_the_axes_are_not_cut(self, words):
        """Turned ones need more room than a figure leaves them."""
        figure = Figure(figsize=(8, 4))
        figure.add_subplot().bar([words * 3, "b"], [1, 2])
        figure.axes[0].tick_params(axis="x", rotation=90)
        image = encode_figure(figure)
        assert image.height > 400
        assert (decoded(image)[-4:] == 255).all()

    def test_it_stays_within_the_limits_and_within_reason(self):
        """The picture grows, not beyond what the server keeps; a text far away is not chased."""
        figure = line(figsize=(15, 15))
        figure.suptitle("T", y=1.3)
        image = encode_figure(figure)
        assert image.tokens <= Limits().image_tokens
        assert image.height > image.width
        figure.text(50, 50, "lost")
        assert max(size(encode_figure(figure))) <= 1568

    def test_an_empty_figure_is_refused_and_the_way_is_named(self):
        """`plt.gcf()` after a cell has shown its figure makes a new one, all white."""
        for figure in (plt.figure(), Figure()):
            with pytest.raises(ContentError, match=r"is empty.*`--plot` sends the plot"):
                encode_figure(figure)
        figure.text(0.5, 0.5, "words")
        assert encode_figure(figure)


@pytest.mark.parametrize("kind", ["line", "image", "dark"])
def test_no_file_is_larger_than_what_matplotlib_saves(kind):
    """A low level of compression is made up for by three channels in place of four."""
    figure = line(facecolor="#203040" if kind == "dark" else "white")
    if kind == "image":
        values = np.random.default_rng(0).normal(size=(200, 200)).cumsum(axis=0)
        figure = Figure(figsize=(8, 6))
        figure.subplots().imshow(values)
    file = io.BytesIO()
    figure.savefig(file, dpi=100)
    assert len(encode_figure(figure).data) <= len(file.getvalue())


class TestOrigin:
    @pytest.mark.parametrize("canvas", [FigureCanvasPdf, FigureCanvasSVG])
    def test_canvas_of_another_backend(self, canvas):
        """A figure made for PDF or SVG is drawn as pixels, and keeps its canvas."""
        figure = line()
        own = canvas(figure)
        assert encode_figure(figure).data == encode_figure(line()).data
        assert figure.canvas is own

    def test_closed_figure(self):
        """A figure that was closed, as the inline backend does after each cell, is drawn."""
        figure = plt.figure(figsize=(8, 4))
        figure.add_subplot().plot([1, 3, 2], color="blue", linewidth=4)
        plt.close(figure)
        assert encode_figure(figure).data == encode_figure(line()).data
        assert plt.get_fignums() == []

    def test_another_thread(self):
        """It is drawn the same outside the main thread."""
        drawn: list[Image] = []
        thread = threading.Thread(target=lambda: drawn.append(encode_figure(line())))
        thread.start()
        thread.join()
        assert drawn == [encode_figure(line())]

    def test_pyplot_is_left_alone(self):
        """The current figure and the open figures stay what they were."""
        current = plt.figure()
        encode_figure(line())
        other, _ = plt.subplots()
        plt.figure(current)
        encode_figure(other)
        assert plt.gcf() is current
        assert plt.get_fignums() == [current.number, other.number]


class SeabornGrid:
    """What seaborn's grids look like from outside; older ones have `fig` alone."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


class SavesItself:
    def savefig(self, file, format=None):
        PIL.Image.new("RGB", (60, 40), "lime").save(file, format)


class TestObjects:
    @pytest.mark.parametrize(
        "part_of",
        [
            lambda figure: figure.axes[0],
            lambda figure: figure.axes[0].lines[0],
            lambda figure: figure.axes[0].xaxis,
            lambda figure: figure.axes[0].title,
            lambda figure: SeabornGrid(figure=figure),
            lambda figure: SeabornGrid(fig=figure, figure=None),
        ],
        ids=["axes", "line", "axis", "text", "grid", "old grid"],
    )
    def test_what_has_a_figure_gives_it(self, part_of):
        """Axes, artists and seaborn's grids stand for the figure that they are on."""
        figure = line()
        assert is_figure(part_of(figure))
        assert encode_figure(part_of(figure)) == encode_figure(figure)

    @pytest.mark.parametrize("container", ["bar", "errorbar", "stem"])
    def test_container_of_artists_gives_its_figure(self, container: str):
        """What `bar` and its kin return is a tuple that stands for its figure."""
        figure = line()
        made = getattr(figure.axes[0], container)([1, 2], [2, 3])
        assert is_figure(made)
        assert encode_figure(made) == encode_figure(figure)

    def test_subfigure_gives_its_part(self):
        """A subfigure, and axes in it, are the part of the picture where they are drawn."""
        figure = Figure(figsize=(10, 6), facecolor="white")
        left, right = figure.subfigures(1, 2, width_ratios=[1, 4])
        left.set_facecolor("red")
        lower = right.subfigures(2, 1)[1]
        lower.set_facecolor("blue")
        axes = lower.add_subplot()
        whole = decoded(encode_figure(figure))
        assert np.array_equal(decoded(encode_figure(left)), whole[:, :200])
        assert np.array_equal(decoded(encode_figure(lower)), whole[300:, 200:])
        assert encode_figure(axes) == encode_figure(lower)
        assert encode_figure(left).about == "Part of Figure 10×6 in"

    def test_pyplot_gives_the_current_figure(self):
        """`plt` is the current figure while there is one, and opens none."""
        assert not is_figure(plt)
        with pytest.raises(ContentError, match="no figure to draw"):
            encode_figure(plt)
        assert plt.get_fignums() == []
        figure, _ = plt.subplots(figsize=(3, 2))
        assert is_figure(plt)
        assert encode_figure(plt) == encode_figure(figure)

    def test_what_saves_itself_is_asked_for_a_png(self):
        """An object of another library with `savefig` is sent as it draws itself."""
        image = encode_figure(SavesItself())
        assert is_figure(SavesItself())
        assert (size(image), image.about) == ((60, 40), "SavesItself")
        assert tuple(decoded(image)[5, 5]) == (0, 255, 0)

    @pytest.mark.parametrize(
        "thing", [None, "fig", 3, [1], {"figure": 1}, Figure, SavesItself, np, object()]
    )
    def test_other_things_are_no_figures(self, thing):
        """Values, classes and modules are not figures, and say so."""
        assert not is_figure(thing)
        with pytest.raises(ContentError, match="has no figure to draw"):
            encode_figure(thing)

    def test_hostile_attributes_are_no_figures(self):
        """A property that raises, and one that answers to every name, are no figures."""

        class Raises:
            @property
            def figure(self):
                raise RuntimeError

        class Anything:
            def __getattr__(self, name):
                return self

            def __call__(self, *args, **kwargs):
                return self

        assert not is_figure(Raises())
        assert not is_figure(Anything())

    def test_removed_artist_has_no_figure(self):
        """An artist that was taken off its figure stands for nothing."""
        figure = line()
        artist = figure.axes[0].lines[0]
        artist.remove()
        assert is_figure(artist) is (artist.figure is not None)  # some versions forget it, some not


class TestFailures:
    def test_drawing_that_fails_names_the_cause(self):
        """Bad mathtext is an error of this package that shows the formula."""
        figure = line()
        figure.text(0.5, 0.5, r"$\frobnicate{$")
        with pytest.raises(ContentError, match=r"Figure 8×4 in .*frobnicate"):
            encode_figure(figure)

    def test_saving_that_fails_names_the_cause(self):
        """The same holds for objects that save themselves."""

        class Broken:
            def savefig(self, file, format=None):
                raise OSError("out of ink")

        with pytest.raises(ContentError, match=r"Broken could not be drawn .*out of ink"):
            encode_figure(Broken())

    def test_saving_something_else_is_refused(self):
        """What is not an image is not sent, whatever was asked for."""

        class Text:
            def savefig(self, file, format=None):
                file.write(b"hello")

        with pytest.raises(ContentError, match="Text is not an image"):
            encode_figure(Text())


def test_animation_is_not_started():
    """Drawing a figure whose animation waits for the first drawing does not set it off."""
    figure, _ = plt.subplots()
    started: list[int] = []
    animation = FuncAnimation(figure, started.append, frames=3, cache_frame_data=False)
    encode_figure(figure)
    assert started == []
    animation._draw_was_started = True  # or it warns that it was never drawn


class Secretive:
    """Raises whatever it is asked, its class included."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError(name)


class Impostor:
    """Says that it is a figure."""

    __class__ = property(lambda _: Figure)


@pytest.mark.parametrize("kind", [Secretive, Impostor])
def test_what_only_says_that_it_is_a_figure_is_none(kind):
    """The type decides: asking the object may raise, or be answered with a lie."""
    assert not is_figure(kind())
