"""What is seen in a picture."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from segmind_jupyter.simulator.requests import look

X = np.linspace(0, 10, 200)


def drawn(draw: Any) -> str:
    """Draw into axes, and give the words for the picture."""
    figure = Figure(figsize=(8, 4), dpi=100)
    draw(figure.subplots())
    file = io.BytesIO()
    figure.savefig(file)
    return look(Image.open(file), "PNG").colours


def test_lines_areas_and_axes_are_told_apart():
    """Each colour of the default cycle is one line, without its smoothed edges."""
    for colour, words in (
        ("C0", "a blue line"), ("C1", "an orange line"), ("C2", "a green line"),
        ("C3", "a red line"), ("C4", "a purple line"), ("C6", "a pink line"),
        ("C8", "a yellow line"), ("C9", "a cyan line"),
    ):  # fmt: skip
        seen = drawn(lambda axes, colour=colour: axes.plot(X, np.sin(X), color=colour))
        assert seen == f"mostly white with {words}"

    def lines(axes: Any) -> None:
        for phase in range(3):
            axes.plot(X, np.sin(X + phase), label=str(phase))
        axes.legend()
        axes.grid()

    assert drawn(lines) == "mostly white with blue, green and orange lines"
    assert drawn(lambda axes: axes.bar([1, 2, 3], [3, 2, 5])) == "mostly white with blue areas"
    assert drawn(lambda axes: None) == "mostly white"


def test_photos_blocks_and_unusual_modes():
    """Noise is a photo; what is large is named, what is tiny is not."""
    picture = np.full((480, 640, 3), (140.0, 90.0, 50.0))
    picture[:120], picture[400:] = (120, 170, 220), (60, 120, 40)
    picture[200:260, 100:400] = (240, 240, 240)
    pixels = picture + np.random.default_rng(7).normal(0, 18, picture.shape)
    photo = Image.fromarray(pixels.clip(0, 255).astype("uint8"))
    blocks = Image.new("RGB", (100, 10), "red")
    blocks.paste("blue", (45, 0, 80, 10))
    blocks.paste("yellow", (80, 0, 100, 10))
    stray = Image.new("RGB", (100, 100), "white")
    stray.paste("red", (0, 0, 2, 1))
    large = Image.new("RGB", (5000, 2000), "white")
    large.paste("red", (0, 990, 5000, 1004))
    for image, words in (
        (photo, "mostly orange, many colours"),
        (blocks, "red, blue and yellow"),
        (stray, "all white"),
        (large, "mostly white with a red line"),
        (Image.new("RGBA", (9, 9), (0, 0, 0, 0)), "all white"),
        (Image.new("LA", (9, 9), (0, 255)), "all black"),
    ):
        assert look(image, "PNG").colours == words
