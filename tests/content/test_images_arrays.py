"""Arrays and tensors: which are pictures, what their numbers look like, and their words."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.images.arrays import image_from_array, is_image_array, summarize_array
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, Limits
from segmind_jupyter.errors import ContentError

COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]])


def decoded_array(array: object) -> np.ndarray:
    """Decode what is sent of an array, as height x width x 3."""
    image = image_from_array(array)
    with PIL.Image.open(io.BytesIO(image.data)) as picture:
        assert picture.size == (image.width, image.height)
        return np.asarray(picture.convert("RGB")).astype(int)


def greys(array: object) -> list[int]:
    """The shades of the first row."""
    return decoded_array(array)[0, :, 0].tolist()


def assert_near(found, expected, tolerance: int = 1):
    assert np.abs(np.asarray(found) - np.asarray(expected)).max() <= tolerance


def ramp(white: float, dtype: str) -> np.ndarray:
    """256 columns from 0 to white."""
    return np.tile(np.linspace(0, white, 256), (4, 1)).astype(dtype)


class TestScale:
    @pytest.mark.parametrize(
        ("white", "dtype"),
        [(255, dtype) for dtype in ("uint8", "int16", "int32", "int64", "uint16", "uint64")]
        + [(255, dtype) for dtype in ("float16", "float32", "float64", "longdouble", ">f4")]
        + [(1, dtype) for dtype in ("float16", "float32", "float64")]
        + [(65_535, dtype) for dtype in ("uint16", ">u2", "int32", "float32")]
        + [(4_095, "uint16"), (1e-6, "float32"), (1e300, "float64"), (5e-324 * 255, "float64")],
    )
    def test_ramp_runs_from_black_to_white(self, white: float, dtype: str):
        """Every type and range that starts at zero uses all shades, evenly, and clips none."""
        assert_near(greys(ramp(white, dtype)), range(256))

    def test_numbers_on_a_known_scale_keep_their_shade(self):
        """8 bits, fractions of 1, bytes in another type; any other range uses all shades."""
        for values, shades in [
            (np.array([[0, 64, 128]], "uint8"), [0, 64, 128]),
            (np.array([[0, 1, 2]], "uint8"), [0, 1, 2]),
            (np.array([[0.25, 0.75]]), [64, 191]),
            (np.array([[50.0, 150.0]]), [50, 150]),
            (np.array([[False, True]]), [0, 255]),
            (np.array([[True, True]]), [255, 255]),
        ]:
            assert_near(greys(values), shades)
        for ends in (
            (0, 1), (-5.0, 5.0), (-1, 0), (0.0, 0.001), (29_000, 31_000), (-1e308, 1e308),
            (1.6e308, 1.7e308), (1e16, 1e16 + 2), (0, 3),
        ):  # fmt: skip
            assert greys(np.array([ends])) == [0, 255]

    def test_nan_is_white_and_infinities_are_the_ends(self):
        """What is missing shows the paper, and changes nothing about the rest."""
        values = np.array([[0.9, np.nan, np.inf, -np.inf, 0.2]])
        assert_near(greys(values), [230, 255, 255, 0, 51])


class TestChannels:
    @pytest.mark.parametrize(
        ("dtype", "white"),
        [("uint8", 255), ("float32", 1), ("float64", 255), ("uint16", 65_535), ("int64", 255)],
    )
    def test_colours_arrive(self, dtype: str, white: float):
        """Three channels are red, green and blue, on every scale."""
        assert_near(decoded_array((COLOURS / 255 * white).astype(dtype)), COLOURS)

    @pytest.mark.parametrize(
        ("dtype", "white"), [("uint8", 255), ("float32", 1), ("uint16", 65_535), ("float64", 255)]
    )
    def test_alpha_is_laid_on_white(self, dtype: str, white: float):
        """The fourth channel is opacity on its own scale: transparent black is white."""
        pixels = np.zeros((2, 3, 4))
        pixels[0, 0] = white, 0, 0, white
        pixels[0, 1] = 0, 0, 0, white / 2
        assert_near(decoded_array(pixels.astype(dtype))[0], [[255, 0, 0], [128] * 3, [255] * 3])


def test_memory_is_bounded():
    """400 megapixels of floats take less than they would as 8-bit pixels."""
    huge = np.broadcast_to(np.linspace(-1, 1, 20_000), (20_000, 20_000))
    tracemalloc.start()
    try:
        image_from_array(huge)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 300_000_000


def smooth(*shape: int) -> np.ndarray:
    """A field of hills, as a photograph or a scan is, between 0 and 1."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    hills = (np.sin(rows / 9) * np.cos(columns / 7) + 1) / 2
    return hills if len(shape) == 2 else hills[..., None].repeat(shape[2], axis=2)


RANDOM = np.random.default_rng(0)

PICTURES = {
    "colours in bytes": np.zeros((2, 2, 3), "uint8"),
    "one pixel with alpha": np.zeros((1, 1, 4), "uint8"),
    "a mask": np.zeros((16, 16), "bool"),
    "a photo in fractions": smooth(64, 64),
    "a scan around zero": smooth(100, 80) * 9 - 4,
    "counts": (smooth(480, 640) * 4_000).astype("uint16"),
    "colours in fractions": smooth(64, 96, 3),
    "small colours in fractions": smooth(32, 32, 3),
    "a noisy scan": smooth(200, 200) + RANDOM.normal(0, 0.1, (200, 200)),
    "with a hole": np.where(smooth(90, 90) > 0.9, np.nan, smooth(90, 90)),
}

NUMBERS = {
    "a confusion matrix": RANDOM.integers(0, 50, (20, 20)),
    "correlations": np.corrcoef(RANDOM.normal(size=(20, 100))),
    "many correlations": np.corrcoef(RANDOM.normal(size=(100, 300))),
    "many features": RANDOM.normal(size=(300, 80)) * RANDOM.uniform(1, 99, 80),
    "windows": RANDOM.normal(size=(40, 100, 3)),
    "series side by side": RANDOM.normal(size=(80, 200)).cumsum(axis=1),
    "words in documents": (RANDOM.uniform(size=(500, 500)) < 0.01).astype(int),
    "a small smooth field": smooth(30, 40),
    "digits": smooth(28, 28),
    "the identity": np.eye(100),
    "nothing known": np.full((100, 100), np.nan),
    "a table of bytes": np.zeros((1_000, 30), "uint8"),
    "channels first": np.zeros((3, 100, 100), "uint8"),
    "a batch": np.zeros((9, 100, 100, 3), "uint8"),
    "complex": smooth(100, 100) + 0j,
    "words": np.full((100, 100), "x"),
}


def test_what_looks_like_a_picture_is_one():
    """Bytes and masks; and of other numbers, what is large and alike from pixel to pixel."""
    assert [case for case, array in PICTURES.items() if is_image_array(array) is not True] == []
    assert [case for case, array in NUMBERS.items() if is_image_array(array) is not False] == []


def test_a_note_says_how_an_array_went_and_how_to_have_the_other():
    """Of what could be meant as either; following the note gives the other."""
    (text,) = to_parts(PICTURES["counts"], name="x")
    assert text.notes == ("`x` went as a picture; `pd.DataFrame(x)` would send its numbers.",)
    for case in ("digits", "windows"):
        x = NUMBERS[case]
        (text,) = to_parts(x, name="x")
        (note,) = text.notes
        way = note.split("`")[3]
        (picture,) = to_parts(eval(way, {"PIL": PIL, "np": np, "x": x}))
        assert note.startswith("`x` went as numbers")
        assert (picture.width, picture.height) == x.shape[1::-1]
    (picture,) = to_parts(PICTURES["colours in fractions"], name="x")
    assert "`pd.DataFrame(x.reshape(len(x), -1))`" in picture.notes[0]
    assert to_parts(PICTURES["colours in bytes"], name="x")[0].notes == ()
    assert to_parts(np.eye(3), name="x")[0].notes == ()


def test_a_large_picture_keeps_the_pixels_that_are_sent(picture_in):
    """What is fine and sharp in an array is as in the same picture of bytes."""
    pixels = np.kron(RANDOM.integers(0, 2, (680, 1_000, 1)), np.ones((2, 2, 3))).astype("uint8")
    exact, drawn = (
        np.asarray(picture_in(image_from_array(array)), float)
        for array in (pixels * 255, pixels.astype("float32"))
    )
    assert abs(exact - drawn).mean() < 1


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


def test_a_picture_is_drawn_in_any_order_of_its_axes(picture, picture_in):
    """As a tensor is: channels first or last, alone or as a batch of one."""
    for array, shape in (
        (picture, "20×30×3 float32"),
        (picture.transpose(2, 0, 1), "3×20×30 float32"),
        (picture[None], "1×20×30×3 float32"),
        ((picture.transpose(2, 0, 1)[None] * 255).astype("uint8"), "1×3×20×30 uint8"),
    ):
        part = only(array)
        drawn = picture_in(part)
        assert (drawn.size, part.about) == ((30, 20), f"ndarray {shape}")
        assert drawn.getpixel((2, 10)) == (255, 0, 0)
        assert drawn.getpixel((27, 10)) == (0, 0, 255)


def test_an_array_is_described_and_written():
    """Shape, type, range, what is missing, and the values."""
    for array, text in [
        (np.arange(3), "ndarray, shape (3,), int64\nmin 0, max 2, mean 1\n[0 1 2]"),
        (np.array(3.5), "ndarray, shape (), float64\nmin 3.5, max 3.5, mean 3.5\n3.5"),
        (np.zeros((0, 3)), "ndarray, shape (0, 3), float64\n[]"),
        (np.array([True, False]), "ndarray, shape (2,), bool\n1 of 2 true\n[ True False]"),
        (np.array(["b"]), "ndarray, shape (1,), <U1\n['b']"),
        (
            np.array([1, np.nan, np.inf]),
            "ndarray, shape (3,), float64\nmin 1, max inf, mean inf; 1 of 3 NaN\n[ 1. nan inf]",
        ),
        (np.full(2, np.nan), "ndarray, shape (2,), float64\n2 of 2 NaN\n[nan nan]"),
        (
            np.ma.masked_array([1, 900, 3], [0, 1, 0]),
            "MaskedArray, shape (3,), int64\n1 of 3 masked; min 1, max 3, mean 2\n[1 -- 3]",
        ),
    ]:
        assert summarize_array(array, name="a").text == f"a: {text}"


def test_a_long_array_shows_its_ends_and_counts_the_rest():
    """Ten values from each end, and how many are between."""
    part = summarize_array(np.arange(1_000_000))
    assert part.text.endswith("[999,980 of 1,000,000 values not shown]")
    assert "[0 1 2 3 4 5 6 7 8 9 " in part.text.replace("     ", "")
    assert "999999]" in part.text
    assert part.about == "ndarray 1000000 int64"


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


@pytest.fixture
def torch():
    """PyTorch, where it is installed."""
    return pytest.importorskip("torch")


@pytest.fixture
def jax():
    """JAX, where it is installed."""
    return pytest.importorskip("jax")


class TestTorch:
    @pytest.fixture
    def picture(self, torch):
        """Channels first, 20 x 30: red on the left, blue on the right, fractions."""
        pixels = torch.zeros(3, 20, 30)
        pixels[0, :, :15], pixels[2, :, 15:] = 1, 1
        return pixels

    def test_a_picture_is_drawn_with_its_channels_first_or_last(self, picture, picture_in):
        """Whatever its type, as a batch of one, and on its way through a network."""
        for tensor in (
            picture,
            picture.bfloat16(),
            (picture * 255).byte(),
            picture.clone().requires_grad_(),
            picture[None],
            picture.permute(1, 2, 0),
        ):
            drawn = picture_in(only(tensor))
            assert drawn.size == (30, 20)
            assert drawn.getpixel((2, 10)) == (255, 0, 0)
            assert drawn.getpixel((27, 10)) == (0, 0, 255)

    def test_any_tensor_is_described(self, torch):
        """Shape, type, device, gradient, and the values that there are; a number is a word."""
        t = torch
        for tensor, heading in [
            (t.ones(2, 3), "(2, 3), float32\nmin 1, max 1"),
            (t.ones(2, requires_grad=True), "(2,), float32, requires grad"),
            (t.ones(2, dtype=t.bfloat16), "(2,), bfloat16\nmin 1, max 1"),
            (t.ones(2, dtype=t.bool), "(2,), bool\n2 of 2 true"),
            (t.ones(2, dtype=t.complex64).conj(), "(2,), complex64\n[1.-0.j 1.-0.j]"),
            (t.zeros(0), "(0,), float32\n[]"),
            (t.tensor(0.25, requires_grad=True), "0.25"),
        ]:
            assert heading in only(tensor).text

    def test_what_has_no_values_here_is_refused(self, torch):
        """A sparse tensor might be vast; one on `meta` has none."""
        for tensor, said in (
            (torch.eye(9).to_sparse(), r"`x`: It is sparse. Name `x\.to_dense\(\)`"),
            (torch.ones(2, device="meta"), "`x`: This Tensor could not be read"),
        ):
            with pytest.raises(ContentError, match=said):
                only(tensor)


def test_any_array_of_jax_is_described(jax):
    """Shape, type and values."""
    n = jax.numpy
    for array, heading in [
        (n.ones((2, 3)), "jax.Array, shape (2, 3), float32\nmin 1, max 1"),
        (n.ones(2, n.bfloat16), "jax.Array, shape (2,), bfloat16\nmin 1, max 1"),
    ]:
        assert heading in only(array).text
