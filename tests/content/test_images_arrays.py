"""Arrays as pictures: which are, and what their numbers look like."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.images.arrays import image_from_array, is_image_array
from segmind_jupyter.errors import ContentError

COLOURS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]])


def decoded(array: object) -> np.ndarray:
    """Decode what is sent of an array, as height x width x 3."""
    image = image_from_array(array)
    with PIL.Image.open(io.BytesIO(image.data)) as picture:
        assert picture.size == (image.width, image.height)
        return np.asarray(picture.convert("RGB")).astype(int)


def greys(array: object) -> list[int]:
    """The shades of the first row."""
    return decoded(array)[0, :, 0].tolist()


def assert_close(found, expected, tolerance: int = 1):
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
        assert_close(greys(ramp(white, dtype)), range(256))

    @pytest.mark.parametrize(
        ("values", "shades"),
        [
            (np.array([[0, 64, 128]], "uint8"), [0, 64, 128]),
            (np.array([[0, 1, 2]], "uint8"), [0, 1, 2]),
            (np.array([[0.25, 0.75]]), [64, 191]),
            (np.array([[50.0, 150.0]]), [50, 150]),
            (np.array([[0, 1]]), [0, 255]),
            (np.array([[False, True]]), [0, 255]),
            (np.array([[True, True]]), [255, 255]),
        ],
    )
    def test_numbers_on_a_known_scale_keep_their_shade(self, values, shades):
        """8 bits are kept, fractions are of 1, and bytes in another type are still bytes."""
        assert_close(greys(values), shades)

    @pytest.mark.parametrize(
        "values",
        [
            [[-5.0, 5.0]],
            [[-1, 0]],
            [[0.0, 0.001]],
            [[29_000, 31_000]],
            [[-1e308, 1e308]],
            [[1.6e308, 1.7e308]],
            [[1e16, 1e16 + 2]],
            [[0, 3]],
        ],
    )
    def test_other_ranges_are_stretched(self, values):
        """What is on no known scale, or flat on it, runs from black to white."""
        assert greys(np.array(values)) == [0, 255]

    def test_middle_of_the_widest_range_is_grey(self):
        """A range whose width is no float is still scaled."""
        assert_close(greys(np.array([[-1.7e308, 0, 1.7e308]])), [0, 128, 255])

    @pytest.mark.parametrize(
        ("value", "shade"),
        [(0, 0), (0.5, 128), (200, 200), (-3, 128), (1e9, 128), (np.nan, 255), (np.inf, 255)],
    )
    def test_constant_array_has_a_shade(self, value: float, shade: int):
        """An array of one value divides by nothing."""
        assert_close(decoded(np.full((3, 3), value)), shade)

    def test_nan_is_white_and_infinities_are_the_ends(self):
        """What is missing shows the paper, and changes nothing about the rest."""
        values = np.array([[0.9, np.nan, np.inf, -np.inf, 0.2]])
        assert_close(greys(values), [230, 255, 255, 0, 51])

    @pytest.mark.parametrize("dtype", ["uint8", "float64"])
    def test_masked_is_white(self, dtype: str):
        """Masked elements are missing too."""
        values = np.ma.masked_array(np.array([[0, 100, 200]], dtype), mask=[[False, True, False]])
        assert_close(greys(values), [0, 255, 200])

    @given(
        st.lists(st.floats(width=64), min_size=1, max_size=12),
        st.sampled_from(["float64", "float32", "float16"]),
    )
    def test_order_of_finite_values_is_kept(self, values, dtype):
        """Whatever the floats, what is larger is not darker, and nothing warns or fails."""
        with np.errstate(over="ignore"):
            row = np.array([values]).astype(dtype)
        finite = np.isfinite(row[0])
        shades = np.array(greys(row))[finite]
        assert (np.diff(shades[np.argsort(row[0][finite], kind="stable")]) >= 0).all()


class TestChannels:
    @pytest.mark.parametrize(
        ("dtype", "white"),
        [("uint8", 255), ("float32", 1), ("float64", 255), ("uint16", 65_535), ("int64", 255)],
    )
    def test_colours_arrive(self, dtype: str, white: float):
        """Three channels are red, green and blue, on every scale."""
        assert_close(decoded((COLOURS / 255 * white).astype(dtype)), COLOURS)

    @pytest.mark.parametrize(
        ("dtype", "white"), [("uint8", 255), ("float32", 1), ("uint16", 65_535), ("float64", 255)]
    )
    def test_alpha_is_laid_on_white(self, dtype: str, white: float):
        """The fourth channel is opacity on its own scale: transparent black is white."""
        pixels = np.zeros((2, 3, 4))
        pixels[0, 0] = white, 0, 0, white
        pixels[0, 1] = 0, 0, 0, white / 2
        assert_close(decoded(pixels.astype(dtype))[0], [[255, 0, 0], [128] * 3, [255] * 3])

    def test_one_channel_is_grey(self):
        """A last axis of 1 is dropped."""
        assert greys(np.array([[[0], [200]]], "uint8")) == [0, 200]

    def test_colours_are_stretched_together(self):
        """A range of its own is shared by the channels, so that grey stays grey."""
        pixels = np.array([[[-2.0, -2, -2], [2, 2, 2], [0, 0, 0], [2, -2, -2]]])
        assert_close(decoded(pixels)[0], [[0] * 3, [255] * 3, [128] * 3, [255, 0, 0]])


class TestLayout:
    @pytest.mark.parametrize("dtype", ["uint8", "float32"])
    @pytest.mark.parametrize(
        "arranged",
        [
            np.asfortranarray,
            lambda pixels: np.repeat(np.repeat(pixels, 3, 0), 2, 1)[::3, ::2],
            lambda pixels: pixels[::-1, ::-1].copy()[::-1, ::-1],
            lambda pixels: pixels[..., ::-1].copy()[..., ::-1],
            lambda pixels: np.frombuffer(pixels.tobytes(), pixels.dtype).reshape(pixels.shape),
        ],
        ids=["fortran", "strided", "reversed", "bgr", "read-only"],
    )
    def test_memory_layout_does_not_matter(self, arranged, dtype: str):
        """Fortran order, strides, negative strides and read-only memory show the same picture."""
        pixels = arranged(COLOURS.astype(dtype))
        before = pixels.copy()
        assert_close(decoded(pixels), COLOURS)
        assert np.array_equal(pixels, before)

    def test_what_turns_into_an_array_is_drawn(self):
        """NumPy's array protocol is enough, and so is being a subclass."""

        class Tensor:
            shape, dtype = (1, 2), "toy.uint8"

            def __array__(self, dtype=None, copy=None):
                return np.array([[0, 200]], "uint8")

        assert greys(Tensor()) == [0, 200]
        with pytest.warns(PendingDeprecationWarning):
            matrix = np.matrix([[0, 200]], "uint8")
        assert greys(matrix) == [0, 200]

    def test_failing_conversion_is_named(self):
        """An object that refuses to become an array is an error with its reason."""

        class OnGpu:
            def __array__(self, dtype=None, copy=None):
                raise TypeError("call .cpu() first")

        with pytest.raises(ContentError, match=r"OnGpu .* \(call \.cpu\(\) first\)"):
            image_from_array(OnGpu())


class TestSize:
    @pytest.mark.parametrize("dtype", ["uint8", "float32"])
    def test_large_array_has_the_size_of_the_rule(self, dtype: str):
        """An array is reduced on the way, in bands, and arrives whole."""
        pixels = np.zeros((3001, 4001), dtype)
        pixels[1500:, 2000:] = 255
        image = image_from_array(pixels)
        assert (image.width, image.height) == (1269, 952)
        assert image.about == f"array {dtype} 3001×4001"
        shades = decoded(pixels)[[5, 5, -5, -5], [5, -5, 5, -5], 0]
        assert shades.tolist() == [0, 0, 0, 255]

    def test_bands_join_without_a_seam(self):
        """Every row of a large array arrives where it belongs."""
        blocks = np.random.default_rng(3).integers(0, 256, 700).astype("uint8")
        pixels = np.tile(np.repeat(blocks, 9)[:, None], (1, 3001))
        sent = decoded(pixels / 255)
        size = (sent.shape[1], sent.shape[0])
        expected = PIL.Image.fromarray(pixels).resize(size, PIL.Image.Resampling.LANCZOS)
        assert np.abs(sent[:, :, 0] - np.asarray(expected)).mean() < 2

    def test_memory_is_bounded(self):
        """400 megapixels of floats take a small part of what they would as 8-bit pixels."""
        huge = np.broadcast_to(np.linspace(-1, 1, 20_000), (20_000, 20_000))
        tracemalloc.start()
        try:
            image_from_array(huge)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak_bytes < 40_000_000


class TestRefusals:
    @pytest.mark.parametrize(
        ("array", "said"),
        [
            (np.zeros((0, 5)), r"\(0, 5\) is empty"),
            (np.zeros((5, 5, 0)), r"\(5, 5, 0\) is empty"),
            (np.zeros(5), r"\(5,\) is no picture"),
            (np.float64(3), r"\(\) is no picture"),
            (np.zeros((3, 20, 30)), r"array\.transpose\(1, 2, 0\)"),
            (np.zeros((7, 20, 30, 3)), r"such as array\[0\]"),
            (np.zeros((20, 30, 2)), "is no picture"),
            (np.zeros((20, 30), complex), r"complex128 is no picture. Name abs\(array\)"),
            (np.full((20, 30), None), r"object is no picture"),
            (np.full((20, 30), "x"), "is no picture"),
            (np.zeros((20, 30), "datetime64[s]"), "is no picture"),
            (np.zeros((20, 30), [("a", "u1")]), "is no picture"),
        ],
    )
    def test_what_is_no_picture_says_why(self, array, said: str):
        """Empty, complex, object and oddly shaped arrays are refused with what to do."""
        with pytest.raises(ContentError, match=said):
            image_from_array(array)


def smooth(*shape: int) -> np.ndarray:
    """A field of hills, as a photograph or a scan is, between 0 and 1."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    hills = (np.sin(rows / 9) * np.cos(columns / 7) + 1) / 2
    return hills if len(shape) == 2 else hills[..., None].repeat(shape[2], axis=2)


RANDOM = np.random.default_rng(0)

PICTURES = {
    "grey bytes": np.zeros((8, 8), "uint8"),
    "colours in bytes": np.zeros((2, 2, 3), "uint8"),
    "one pixel with alpha": np.zeros((1, 1, 4), "uint8"),
    "a mask": np.zeros((16, 16), "bool"),
    "a photo in fractions": smooth(64, 64),
    "a scan around zero": smooth(100, 80) * 9 - 4,
    "counts": (smooth(480, 640) * 4_000).astype("uint16"),
    "one channel": smooth(480, 640, 1).astype("float16"),
    "colours in fractions": smooth(64, 96, 3),
    "small colours in fractions": smooth(32, 32, 3),
    "a long double": smooth(70, 70).astype("longdouble"),
    "big-endian": smooth(480, 640, 4).astype(">f4"),
    "a noisy scan": smooth(200, 200) + RANDOM.normal(0, 0.1, (200, 200)),
    "with a hole": np.where(smooth(90, 90) > 0.9, np.nan, smooth(90, 90)),
}

NUMBERS = {
    "a confusion matrix": RANDOM.integers(0, 50, (20, 20)),
    "correlations": np.corrcoef(RANDOM.normal(size=(20, 100))),
    "many correlations": np.corrcoef(RANDOM.normal(size=(100, 300))),
    "samples and features": RANDOM.normal(size=(300, 20)),
    "many features": RANDOM.normal(size=(300, 80)) * RANDOM.uniform(1, 99, 80),
    "windows": RANDOM.normal(size=(40, 100, 3)),
    "series side by side": RANDOM.normal(size=(80, 200)).cumsum(axis=1),
    "words in documents": (RANDOM.uniform(size=(500, 500)) < 0.01).astype(int),
    "a small smooth field": smooth(30, 40),
    "digits": smooth(28, 28),
    "the identity": np.eye(100),
    "one value": np.full((100, 100), 3.0),
    "nothing known": np.full((100, 100), np.nan),
    "few bytes": np.zeros((7, 7), "uint8"),
    "a table of bytes": np.zeros((1_000, 30), "uint8"),
    "a vector": np.zeros(100, "uint8"),
    "empty": np.zeros((0, 100), "uint8"),
    "two channels": np.zeros((100, 100, 2), "uint8"),
    "channels first": np.zeros((3, 100, 100), "uint8"),
    "a batch": np.zeros((9, 100, 100, 3), "uint8"),
    "complex": smooth(100, 100) + 0j,
    "words": np.full((100, 100), "x"),
    "days": np.zeros((100, 100), "datetime64[s]"),
    "records": np.zeros((100, 100), [("uint8", "u1")]),
}


@pytest.mark.parametrize("case", PICTURES)
def test_what_looks_like_a_picture_is_one(case):
    """Bytes and masks; and of other numbers, what is large and alike from pixel to pixel."""
    assert is_image_array(PICTURES[case]) is True


@pytest.mark.parametrize("case", NUMBERS)
def test_what_is_to_be_read_is_none(case):
    """Matrices, features and series are read by their numbers, however large."""
    assert is_image_array(NUMBERS[case]) is False


@pytest.mark.parametrize("thing", [None, "text", [[1, 2]], PIL.Image.new("L", (99, 99)), np])
def test_what_is_no_array_is_no_picture(thing):
    """A PIL image, a list or a module is no array, and no error."""
    assert is_image_array(thing) is False


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


def test_a_vast_array_is_read_in_part():
    """Rows and columns far apart tell what a picture of ten thousand million values shows."""
    ramp_of_many = np.broadcast_to(np.linspace(0, 1, 100_000, dtype="f4"), (100_000, 100_000))
    found = greys(ramp_of_many)
    assert found[0] < 3
    assert found[-1] > 252
    assert_close(found, np.linspace(0, 255, len(found)), tolerance=3)


def test_a_vast_narrow_array_keeps_its_shape():
    """The size that is sent is that of the whole array."""
    image = image_from_array(np.broadcast_to(np.uint8(7), (3_000_000, 30)))
    assert (image.width, image.height) == (1, 1_568)
