"""NumPy arrays as pictures, in the orders of axes that those have, and in words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.images.arrays import summarize_array
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, Image, Limits


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


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.arange(3), "a: ndarray, shape (3,), int64\nmin 0, max 2, mean 1\n[0 1 2]"),
        (np.array(3.5), "a: ndarray, shape (), float64\nmin 3.5, max 3.5, mean 3.5\n3.5"),
        (np.zeros((0, 3)), "a: ndarray, shape (0, 3), float64\n[]"),
        (np.array([True, False]), "a: ndarray, shape (2,), bool\n1 of 2 true\n[ True False]"),
        (np.array(["b"]), "a: ndarray, shape (1,), <U1\n['b']"),
        (
            np.array([1, np.nan, np.inf]),
            "a: ndarray, shape (3,), float64\nmin 1, max inf, mean inf; 1 of 3 NaN\n[ 1. nan inf]",
        ),
        (np.full(2, np.nan), "a: ndarray, shape (2,), float64\n2 of 2 NaN\n[nan nan]"),
        (
            np.ma.masked_array([1, 900, 3], [0, 1, 0]),
            "a: MaskedArray, shape (3,), int64\n1 of 3 masked; min 1, max 3, mean 2\n[1 -- 3]",
        ),
        (
            np.array([[0, np.inf], [-np.inf, 1]]),
            "a: ndarray, shape (2, 2), float64\nmin -inf, max inf, mean NaN\n"
            "[[  0.  inf]\n [-inf   1.]]",
        ),
    ],
)
def test_an_array_is_described_and_written(array, text):
    """Shape, type, range, what is missing, and the values."""
    assert summarize_array(array, name="a").text == text


def test_the_mean_of_small_floats_does_not_overflow():
    """Four times sixty thousand is more than a 16-bit float holds."""
    text = summarize_array(np.full(4, 60_000, np.float16)).text
    assert "min 60000, max 60000, mean 60000" in text


def test_a_long_array_shows_its_ends_and_counts_the_rest():
    """Ten values from each end, and how many are between."""
    part = summarize_array(np.arange(1_000_000))
    assert part.text.endswith("[999,980 of 1,000,000 values not shown]")
    assert "[0 1 2 3 4 5 6 7 8 9 " in part.text.replace("     ", "")
    assert "999999]" in part.text
    assert part.about == "ndarray 1000000 int64"


def test_many_axes_show_the_first_values():
    """Corners double with every axis, so sixteen axes are shown in order instead."""
    text = summarize_array(np.zeros((3,) * 16, np.uint8)).text
    assert "The first 100 of 43,046,721 values, in order:" in text


def test_an_element_whose_repr_raises_does_no_harm():
    """NumPy's printing would stop there."""

    class Broken:
        def __repr__(self):
            raise ValueError

    text = summarize_array(np.array([Broken(), 1], dtype=object)).text
    assert text.endswith("[<Broken, whose repr raised ValueError>, 1]")


def test_the_users_printing_options_do_not_matter():
    """The summary is the same whatever `np.set_printoptions` says, and the options stay."""
    array = np.arange(50) / 7
    before = summarize_array(array)
    with np.printoptions(precision=1, threshold=2, edgeitems=1, linewidth=20, nanstr="?"):
        assert summarize_array(array) == before
        assert np.get_printoptions()["precision"] == 1


def test_a_short_array_becomes_text_through_the_front_door():
    """One axis is no picture."""
    (part,) = to_parts(np.arange(4), name="a")
    assert part.text.startswith("a: ndarray, shape (4,)")


@given(
    array=hnp.arrays(
        dtype=hnp.scalar_dtypes() | hnp.array_dtypes(max_size=2),
        shape=hnp.array_shapes(min_dims=0, max_dims=6, min_side=0, max_side=7),
        fill=st.nothing(),
    )
    | hnp.arrays(object, hnp.array_shapes(max_dims=2, max_side=20), elements=st.text()),
    tokens=st.integers(60, 1_000),
)
def test_an_array_of_any_type_stays_inside_the_budget(array, tokens):
    """Random types, shapes and values: never an error or a warning, never more than the budget."""
    text = summarize_array(array, limits=Limits(table_tokens=tokens)).text
    assert len(text) <= tokens * CHARS_PER_TOKEN
    assert text.encode()
