"""What pictures cost, each against something else in the same run."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import ImageDraw, ImageFont

from segmind_jupyter.content.images.encode import encode_image, flattened
from segmind_jupyter.content.images.figures import encode_figure

pytestmark = pytest.mark.benchmark


def seconds(work: Callable[[], object], times: int) -> float:
    """The fastest of several runs: the others waited for something else."""
    found = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        found.append(time.perf_counter() - begin)
    return min(found)


def photo(width: int = 4000, height: int = 3000) -> PIL.Image.Image:
    random = np.random.default_rng(1)
    shapes = PIL.Image.fromarray(random.integers(0, 256, (height // 20, width // 20, 3), "uint8"))
    soft = np.asarray(shapes.resize((width, height), PIL.Image.Resampling.BICUBIC))
    grain = random.normal(0, 4, soft.shape).astype("float32")
    return PIL.Image.fromarray((soft + grain).clip(0, 255).astype("uint8"))


def page(width: int = 4000, height: int = 3000) -> PIL.Image.Image:
    picture = PIL.Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=40)
    for top in range(0, height, 50):
        draw.text((10, top), f"{top} the quick brown fox and the dog " * 6, fill="black", font=font)
    return picture


def similarity(one: PIL.Image.Image, other: PIL.Image.Image) -> float:
    """The structural similarity (SSIM) of two pictures, over windows of 7x7 pixels."""

    def mean(values: np.ndarray) -> np.ndarray:
        summed = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        return (summed[7:, 7:] - summed[:-7, 7:] - summed[7:, :-7] + summed[:-7, :-7]) / 49

    a, b = (np.asarray(picture.convert("L"), float) for picture in (one, other))
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    light = (2 * mean_a * mean_b + 6.5) / (mean_a**2 + mean_b**2 + 6.5)
    return float((light * (2 * covariance + 58.5) / (var_a + var_b + 58.5)).mean())


@pytest.mark.parametrize("make", [photo, page])
def test_a_large_picture_is_as_legible_as_by_the_whole_filter(make):
    """Neighbours are averaged first, and what the filter then sees tells the same."""
    picture = make()
    size = (1270, 952)
    expected = picture.resize(size, PIL.Image.Resampling.LANCZOS)
    assert similarity(flattened(picture, size=size), expected) > 0.99


def test_a_photo_of_twelve_megapixels_costs_little_of_its_png():
    """A thirtieth on a machine at rest; a fifteenth here, where others may be at work."""
    picture = photo()
    whole = seconds(lambda: picture.save(io.BytesIO(), "PNG"), 1)
    assert seconds(lambda: encode_image(picture), 5) < whole / 15


def test_a_figure_costs_little_more_than_its_drawing():
    """And no more than saving it does."""
    figure = Figure(figsize=(10, 8))
    for axes in figure.subplots(2, 2).flat:
        axes.scatter(*np.random.default_rng(0).normal(size=(2, 500)))
    own = figure.canvas

    def draw() -> None:
        FigureCanvasAgg(figure).draw()
        figure.set_canvas(own)

    drawn = seconds(draw, 7)
    encoded = seconds(lambda: encode_figure(figure), 7)
    saved = seconds(lambda: figure.savefig(io.BytesIO(), dpi=100), 7)
    assert encoded < drawn * 1.7
    assert encoded < saved * 1.2
