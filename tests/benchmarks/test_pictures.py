"""What pictures cost, each against something else in the same run."""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import ImageDraw, ImageFont

from segmind_jupyter.content.images.encode import flattened
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


RANDOM = np.random.default_rng(0)


def figure(kind: str) -> Figure:
    """One of the figures that notebooks are full of."""
    figure = Figure(figsize=(10, 8) if kind == "panels" else (6.4, 4.8))
    rows, columns = (3, 2) if kind == "panels" else (1, 1)
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        if kind in ("lines", "panels", "legend"):
            axes.plot(RANDOM.normal(size=(200, 5)).cumsum(axis=0), label=list("abcde"))
            axes.set_title("five walks")
            beside = {"bbox_to_anchor": (1.02, 1), "loc": "upper left"}
            axes.legend(**(beside if kind == "legend" else {"loc": "upper left"}))
        elif kind == "scatter":
            axes.scatter(*RANDOM.normal(size=(2, 500)), c=RANDOM.normal(size=500))
        elif kind == "noise":
            axes.imshow(RANDOM.normal(size=(100, 100)))
        elif kind == "hist":
            axes.hist(RANDOM.normal(size=1_000), bins=40)
        else:
            axes.bar(list("abcdef"), [1, 3, 2, 5, 4, 6])
    return figure


KINDS = ("lines", "panels", "legend", "scatter", "noise", "hist", "bars")


def test_a_figure_costs_little_more_than_its_drawing(tell):
    """Less than saving it, in fewer bytes; one with a legend beside it is measured first."""
    costs: dict[str, tuple[float, float, float]] = {}
    for kind in KINDS:
        made = figure(kind)
        own, file = made.canvas, io.BytesIO()
        tight = {"bbox_inches": "tight"} if kind == "legend" else {}
        made.savefig(file, dpi=100, **tight)

        def draw(made: Figure = made, own: FigureCanvasBase = own) -> None:
            FigureCanvasAgg(made).draw()
            made.set_canvas(own)

        def save(made: Figure = made, tight: dict[str, str] = tight) -> None:
            made.savefig(io.BytesIO(), dpi=100, **tight)

        def encode(made: Figure = made) -> None:
            encode_figure(made)

        # In turns, as others may be at work now and then.
        rounds = [[seconds(work, 1) for work in (draw, encode, save)] for _ in range(9)]
        drawn, encoded, saved = map(min, zip(*rounds, strict=True))
        size = len(encode_figure(made).data) / len(file.getvalue())
        costs[kind] = encoded / drawn, encoded / saved, size
        tell(
            **{
                kind: "{:.2f} of its drawing, {:.2f} of savefig's, {:.2f} of its bytes".format(
                    *costs[kind]
                )
            }
        )
    assert max(size for *_, size in costs.values()) <= 1
    alone = [cost for kind, cost in costs.items() if kind != "legend"]
    assert statistics.median(of_saved for _, of_saved, _ in alone) < 1.2
    assert statistics.median(of_drawing for of_drawing, *_ in alone) < 1.35
