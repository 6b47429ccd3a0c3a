"""NumPy arrays in the orders of axes that pictures have, and what only looks like one."""

from __future__ import annotations

import numpy as np
import pytest

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Image


def only(obj):
    """The one part of an object that the user calls x."""
    (part,) = to_parts(obj, name="x")
    return part


@pytest.fixture
def picture():
    """Channels last, 20 x 30: red on the left, blue on the right, fractions."""
    pixels = np.zeros((20, 30, 3), np.float32)
    pixels[:, :15, 0], pixels[:, 15:, 2] = 1, 1
    return pixels


@pytest.mark.parametrize("order", ["last", "first", "one_of_last", "one_of_first"])
@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_a_picture_is_drawn_in_any_order_of_its_axes(picture, order, kind, picture_in):
    """As a tensor is: channels first or last, alone or as a batch of one."""
    pixels = (picture * 255).astype(kind) if kind == "uint8" else picture
    array = pixels.transpose(2, 0, 1) if order.endswith("first") else pixels
    part = only(array[None] if order.startswith("one") else array)
    drawn = picture_in(part)
    assert drawn.size == (30, 20)
    assert drawn.getpixel((2, 10)) == (255, 0, 0)
    assert drawn.getpixel((27, 10)) == (0, 0, 255)
    shape = {"last": "20×30×3", "first": "3×20×30"}[order.rpartition("_")[2]]
    assert part.about == f"ndarray {'1×' * order.startswith('one')}{shape} {kind}"


def test_grey_has_one_channel_first(picture_in):
    """One channel of fractions is a picture; masked values do not matter."""
    ramp = np.linspace(0, 1, 64)[None, None].repeat(64, axis=1)
    drawn = picture_in(only(np.ma.masked_greater(ramp, 0.99)))
    assert drawn.getpixel((0, 0)) == (0, 0, 0)


@pytest.mark.parametrize("shape", [(8, 64, 64, 3), (2, 3, 16, 16), (16, 28, 28, 1)])
def test_a_batch_of_pictures_says_how_to_name_one(shape):
    """Their numbers would be a table that nobody reads."""
    heading = only(np.zeros(shape, np.uint8)).text.splitlines()[0]
    assert heading.endswith("; a batch of pictures? name one: x[0]")


@pytest.mark.parametrize(
    "array",
    [
        np.random.default_rng(0).normal(size=(1, 128, 64)),
        np.full((1, 32, 32), np.nan),
        np.ma.masked_all((1, 32, 32)),
        np.zeros((4, 32, 32), complex),
        np.zeros((1, 32, 32), "U2"),
        np.zeros((1, 32, 32), "datetime64[s]"),
        np.zeros((3, 4, 5)),
        np.zeros((5, 32, 32)),
    ],
    ids=lambda array: f"{array.shape} {array.dtype}",
)
def test_what_has_another_scale_type_or_shape_is_numbers(array):
    """Activations of one sequence have the shape of a grey picture."""
    part = only(array)
    assert not isinstance(part, Image)
    assert part.text.startswith(f"x: {type(array).__name__}, shape {array.shape}, {array.dtype}")


def test_a_single_number_is_a_word():
    """A loss stands in the sentence that names it."""
    part = only(np.array(0.25))
    assert (part.text, part.inline) == ("0.25", True)


def test_the_array_is_left_as_it_was(picture):
    """Its axes too."""
    array = picture.transpose(2, 0, 1)
    only(array)
    assert array.shape == (3, 20, 30)
