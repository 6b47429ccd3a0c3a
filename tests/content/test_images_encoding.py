"""PNG or JPEG, the limit of bytes, and thumbnails."""

from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image
import pytest
from PIL import ImageDraw, ImageFont

from segmind_jupyter.content.images.encode import encode_image, thumbnail_png
from segmind_jupyter.content.parts import Limits
from segmind_jupyter.errors import ContentError

WIDTH, HEIGHT = 1200, 800


def drawing() -> PIL.Image.Image:
    picture = PIL.Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((100, 100, 700, 600), fill="orange", outline="blue", width=5)
    draw.line((0, 800, 1200, 0), fill="red", width=3)
    return picture


def screenshot() -> PIL.Image.Image:
    """Dense text on black, larger than what is sent, so that it is resized."""
    picture = PIL.Image.new("RGB", (1920, 1080), "#1e1e1e")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    for line in range(90):
        words = f"for i in range({line}): print(words[i], end='')  # and a comment on it " * 3
        draw.text(
            (10, 12 * line), words, fill=["#d4d4d4", "#569cd6", "#ce9178"][line % 3], font=font
        )
    return picture


def gradient() -> PIL.Image.Image:
    return PIL.Image.linear_gradient("L").resize((WIDTH, HEIGHT))


def stripes() -> PIL.Image.Image:
    columns = np.arange(WIDTH) % 2 * 255
    return PIL.Image.fromarray(np.tile(columns.astype("uint8"), (HEIGHT, 1)))


def photo(grain: float = 4.0) -> PIL.Image.Image:
    """Soft shapes in many colours with a sensor's grain."""
    random = np.random.default_rng(1)
    shapes = PIL.Image.fromarray(random.integers(0, 256, (30, 45, 3), dtype="uint8"))
    soft = np.asarray(shapes.resize((2400, 1600), PIL.Image.Resampling.BICUBIC))
    grainy = soft + random.normal(0, grain, soft.shape)
    return PIL.Image.fromarray(grainy.clip(0, 255).astype("uint8"))


def noise() -> PIL.Image.Image:
    random = np.random.default_rng(2)
    return PIL.Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype="uint8"))


@pytest.mark.parametrize("picture", [drawing, screenshot, gradient, stripes])
def test_drawing_is_sent_as_png(picture):
    """What has flat areas stays sharp: every pixel arrives."""
    assert encode_image(picture()).media_type == "image/png"


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("picture", [photo, noise, lambda: photo(grain=0)])
def test_photo_is_sent_as_jpeg(picture, mode):
    """What has grain or shading is sent as JPEG, whatever the mode: the content decides."""
    assert encode_image(picture().convert(mode)).media_type == "image/jpeg"


def test_small_drawing_arrives_exactly():
    """A drawing that needs no resize is sent pixel for pixel."""
    sent = PIL.Image.open(io.BytesIO(encode_image(drawing()).data))
    assert sent.tobytes() == drawing().tobytes()


def test_photo_arrives_nearly():
    """What JPEG changes in a photo is not seen."""
    picture = photo().resize((1200, 800))
    sent = PIL.Image.open(io.BytesIO(encode_image(picture).data))
    difference = np.asarray(sent, "int16") - np.asarray(picture, "int16")
    assert np.abs(difference).mean() < 4


@pytest.mark.parametrize("max_bytes", [2_000_000, 200_000, 50_000, 5_000, 1_000])
@pytest.mark.parametrize("picture", [noise, screenshot])
def test_limit_of_base64_is_kept(picture, max_bytes: int):
    """Quality, then pixels are given up until the base64 fits; the shape is kept."""
    image = encode_image(picture(), limits=Limits(image_base64_bytes=max_bytes))
    assert len(base64.b64encode(image.data)) <= max_bytes
    given_aspect = picture().width / picture().height
    assert image.width / image.height == pytest.approx(given_aspect, rel=0.25)
    assert PIL.Image.open(io.BytesIO(image.data)).size == (image.width, image.height)


def test_drawing_over_the_limit_keeps_its_pixels_as_jpeg():
    """A drawing whose PNG is too large is first tried as JPEG at full size."""
    full = encode_image(screenshot())
    image = encode_image(screenshot(), limits=Limits(image_base64_bytes=len(full.data)))
    assert image.media_type == "image/jpeg"
    assert (image.width, image.height) == (full.width, full.height)


def test_quality_is_given_up_before_pixels():
    """A photo that is a little over the limit keeps its size and is compressed harder."""
    full = encode_image(noise())
    image = encode_image(noise(), limits=Limits(image_base64_bytes=len(full.data)))
    assert (image.width, image.height) == (full.width, full.height)
    assert len(image.data) < len(full.data)


def test_limit_that_nothing_fits_is_an_error():
    """The search ends, and says what to allow."""
    with pytest.raises(ContentError, match="100 bytes of base64: allow at least 1000"):
        encode_image(noise(), limits=Limits(image_base64_bytes=100))


@pytest.mark.parametrize("picture", [drawing, photo])
def test_thumbnail_is_a_small_png_of_the_same_shape(picture):
    """The footer shows what was sent, in 96 pixels."""
    thumbnail = PIL.Image.open(io.BytesIO(thumbnail_png(encode_image(picture()))))
    assert (thumbnail.format, thumbnail.size) == ("PNG", (96, 64))
    expected = picture().resize((96, 64)).convert("RGB")
    difference = np.asarray(thumbnail.convert("RGB"), "int16") - np.asarray(expected, "int16")
    assert np.abs(difference).mean() < 8


def test_thumbnail_of_a_small_image_keeps_its_size():
    """Nothing is enlarged, and a thin picture keeps its pixel."""
    small = encode_image(PIL.Image.new("L", (20, 10)))
    thin = encode_image(PIL.Image.new("L", (1, 1500)))
    assert PIL.Image.open(io.BytesIO(thumbnail_png(small))).size == (20, 10)
    assert PIL.Image.open(io.BytesIO(thumbnail_png(thin, max_px=32))).size == (1, 32)
