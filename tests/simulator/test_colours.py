"""The words for a picture's colours."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from segmind_jupyter.simulator.requests import describe_colours

X = np.linspace(0, 10, 200)


def drawn(draw: Callable[[Axes], object], **figure_options: object) -> Image.Image:
    figure = Figure(figsize=(8, 4), dpi=100, **figure_options)
    draw(figure.subplots())
    file = io.BytesIO()
    figure.savefig(file)
    return Image.open(file).convert("RGB")


@pytest.mark.parametrize(
    "name", ["red", "green", "blue", "white", "black", "grey", "orange", "yellow", "brown", "pink"]
)
def test_a_flat_picture_is_all_of_its_colour(name):
    """One colour from edge to edge is named alone."""
    assert describe_colours(Image.new("RGB", (64, 48), name)) == f"all {name}"


@pytest.mark.parametrize(
    ("colour", "words"),
    [
        ("C0", "a blue line"),
        ("C1", "an orange line"),
        ("C2", "a green line"),
        ("C3", "a red line"),
        ("C4", "a purple line"),
        ("C5", "a brown line"),
        ("C6", "a pink line"),
        ("C8", "an olive line"),
        ("C9", "a cyan line"),
        ("black", "black lines"),
    ],
)
def test_a_plotted_line_is_named_by_its_colour(colour, words):
    """Every colour of the default cycle is one line: its smoothed edges are no second one."""
    picture = drawn(lambda axes: axes.plot(X, np.sin(X), color=colour))
    assert describe_colours(picture) == f"mostly white with {words}"


def test_several_lines_are_named_together():
    """Lines of three colours, their legend and a grid are three colours."""

    def draw(axes: Axes) -> None:
        for phase in range(3):
            axes.plot(X, np.sin(X + phase), label=str(phase))
        axes.legend()
        axes.grid()

    assert describe_colours(drawn(draw)) == "mostly white with blue, green and orange lines"


def test_filled_shapes_are_areas():
    """Bars cover more than strokes do."""
    picture = drawn(lambda axes: axes.bar([1, 2, 3], [3, 2, 5]))
    assert describe_colours(picture) == "mostly white with blue areas"


def test_axes_without_data_are_black_lines():
    """Where nothing has a hue, the strongest of the rest is named."""
    assert describe_colours(drawn(lambda axes: axes)) == "mostly white with black lines"


def test_a_photo_has_many_colours():
    """Noise around four regions of colour is told as a photo, by its largest part."""
    noise = np.random.default_rng(7).normal(0, 18, (480, 640, 3))
    picture = np.full((480, 640, 3), (140.0, 90.0, 50.0))
    picture[:120], picture[400:], picture[200:260, 100:400] = (
        (120, 170, 220),
        (60, 120, 40),
        (240, 240, 240),
    )
    pixels = (picture + noise).clip(0, 255).astype("uint8")
    assert describe_colours(Image.fromarray(pixels)) == "mostly brown, many colours"


def test_blocks_of_colour_are_listed_by_size():
    """Where no colour has half of the picture, the notable ones are named, largest first."""
    picture = Image.new("RGB", (100, 10), "red")
    picture.paste("blue", (45, 0, 80, 10))
    picture.paste("yellow", (80, 0, 100, 10))
    assert describe_colours(picture) == "red, blue and yellow"


def test_stray_pixels_are_not_worth_a_word():
    """A few pixels of a few colours leave the main colour alone."""
    picture = Image.new("RGB", (100, 100), "white")
    for place, name in enumerate(["red", "green", "blue", "yellow", "magenta", "cyan"]):
        picture.paste(name, (place * 10, 0, place * 10 + 2, 1))
    assert describe_colours(picture) == "mostly white"


def test_a_large_picture_is_named_as_its_small_copy():
    """Sampling keeps a thin line visible in a picture of ten megapixels."""
    picture = Image.new("RGB", (5000, 2000), "white")
    picture.paste("red", (0, 990, 5000, 1004))
    assert describe_colours(picture) == "mostly white with a red line"
