"""Pictures as files, as bytes and in memory: the pixels that arrive, and what stays at home."""

from __future__ import annotations

import io
import math
import struct
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from PIL import ImageCms, ImageDraw, PngImagePlugin

from segmind_jupyter.content.images.encode import (
    encode_drawing,
    encode_image,
    fitted_size,
    image_from_bytes,
    is_bare,
    shown_image,
    thumbnail_png,
)
from segmind_jupyter.content.parts import STANDARD, Image, Limits
from segmind_jupyter.errors import ContentError

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3, (0,) * 3


def decoded(image: Image) -> PIL.Image.Image:
    """Decode what is sent, and check that its description is true."""
    picture = PIL.Image.open(io.BytesIO(image.data))
    assert PIL.Image.MIME[picture.format] == image.media_type
    assert picture.size == (image.width, image.height)
    return picture.convert("RGB")


def quarters() -> PIL.Image.Image:
    """A drawing of 40x20 pixels that looks different from every side."""
    picture = PIL.Image.new("RGB", (40, 20), WHITE)
    picture.paste(RED, (0, 0, 20, 10))
    picture.paste(BLUE, (20, 0, 40, 10))
    picture.paste(GREEN, (0, 10, 20, 20))
    return picture


def corners(picture: PIL.Image.Image) -> list[tuple[int, ...]]:
    """Top left, top right, bottom left, bottom right."""
    right, bottom = picture.width - 3, picture.height - 3
    return [picture.getpixel(at) for at in ((2, 2), (right, 2), (2, bottom), (right, bottom))]


def assert_close(found, expected, tolerance: int = 2):
    __tracebackhide__ = True
    far = [(a, b) for a, b in zip(found, expected, strict=True) if abs(a - b) > tolerance]
    assert not far, f"{found} is not {expected}"


def numbers(mode: str, size: tuple[int, int], values: list[float]) -> PIL.Image.Image:
    code = {"F": "f", "I": "i", "I;16": "<H", "I;16L": "<H", "I;16B": ">H"}[mode]
    order, code = (code[0], code[1]) if len(code) == 2 else ("=", code)
    return PIL.Image.frombytes(mode, size, struct.pack(f"{order}{len(values)}{code}", *values))


class TestModes:
    @pytest.mark.parametrize(
        "mode", ["RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr", "LAB"]
    )
    def test_colours_arrive_in_every_colour_mode(self, mode: str):
        """Red, blue, green and white are themselves, whatever mode they are kept in."""
        through = {"PA": "P", "RGBa": "RGBA"}.get(mode)
        picture = quarters().convert(through) if through else quarters()
        if mode == "LAB":
            profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
            picture = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
        found = corners(decoded(encode_image(picture.convert(mode))))
        for one, expected in zip(found, (RED, BLUE, GREEN, WHITE), strict=True):
            assert_close(one, expected, tolerance=24 if mode == "LAB" else 2)  # 8 bits are coarse

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "La"])
    def test_greys_arrive(self, mode: str):
        """Black and white are themselves in the modes without colour."""
        grey = PIL.Image.new("L", (40, 20), 255)
        grey.paste(0, (0, 0, 20, 20))
        picture = grey.convert("LA").convert("La") if mode == "La" else grey.convert(mode)
        assert corners(decoded(encode_image(picture))) == [BLACK, WHITE, BLACK, WHITE]


class TestNumbers:
    @pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I", "F"])
    @pytest.mark.parametrize("white", [65_535, 4_095])
    def test_gradient_is_scaled_not_clipped(self, mode: str, white: int):
        """16-bit and 12-bit ramps run evenly from black to white."""
        ramp = [column * white / 255 for column in range(256)]
        rows = ramp if mode == "F" else [round(value) for value in ramp]
        sent = decoded(encode_image(numbers(mode, (256, 4), rows * 4)))
        assert_close([sent.getpixel((x, 2))[0] for x in range(256)], range(256), tolerance=1)

    def test_nan_is_white_and_infinities_are_the_ends(self):
        """What was not measured shows the paper; the rest keeps the scale of the finite values."""
        values = [0.9, 0.9, math.nan, math.inf, -math.inf, 0.3]
        sent = decoded(encode_image(numbers("F", (6, 1), values)))
        greys = [sent.getpixel((x, 0))[0] for x in range(6)]
        assert_close(greys, [230, 230, 255, 255, 0, 77], tolerance=1)


class TestTransparency:
    def test_hidden_colour_does_not_bleed_in_the_resize(self):
        """The colour of transparent pixels does not show at the edge of what is opaque."""
        picture = PIL.Image.new("RGBA", (3000, 3000), (255, 0, 0, 0))
        picture.paste((255, 255, 255, 255), (1500, 0, 3000, 3000))
        extremes = decoded(encode_image(picture)).getextrema()
        assert extremes == ((255, 255),) * 3

    @pytest.mark.parametrize("mode", ["P", "L", "RGB", "1"])
    def test_transparent_colour_key_is_white(self, mode: str):
        """A colour or a palette entry that the file calls transparent shows the paper."""
        picture = PIL.Image.new(mode, (40, 20), 0)
        if mode == "P":
            picture.putpalette([*BLACK, *RED])
        picture.paste(RED if mode == "RGB" else 1, (20, 0, 40, 20))
        picture.info["transparency"] = BLACK if mode == "RGB" else 0
        assert decoded(encode_image(picture)).getpixel((3, 3)) == WHITE


#: How a viewer sees the quarters, for each value of the EXIF tag.
SEEN_BY_ORIENTATION = {
    1: (RED, BLUE, GREEN, WHITE),
    2: (BLUE, RED, WHITE, GREEN),
    3: (WHITE, GREEN, BLUE, RED),
    4: (GREEN, WHITE, RED, BLUE),
    5: (RED, GREEN, BLUE, WHITE),
    6: (GREEN, RED, WHITE, BLUE),
    7: (WHITE, BLUE, GREEN, RED),
    8: (BLUE, WHITE, RED, GREEN),
}


class TestOrientation:
    @pytest.mark.parametrize("file_format", ["PNG", "TIFF", "JPEG"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_picture_is_turned_upright(self, orientation: int, file_format: str):
        """All eight ways of holding the camera are undone."""
        picture = quarters().resize((400, 200), PIL.Image.Resampling.NEAREST)
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        picture.save(file, file_format, exif=exif)
        sent = decoded(encode_image(PIL.Image.open(file)))
        assert sent.size == ((200, 400) if orientation >= 5 else (400, 200))
        for found, expected in zip(corners(sent), SEEN_BY_ORIENTATION[orientation], strict=True):
            assert_close(found, expected, tolerance=8)


class TestColourProfile:
    def test_profile_is_converted_to_srgb(self):
        """A profile that swaps red and blue is undone; the profile itself is not sent."""
        picture = PIL.Image.new("RGB", (30, 30), (200, 60, 30))
        picture.info["icc_profile"] = swapped_profile()
        assert_close(decoded(encode_image(picture)).getpixel((9, 9)), (30, 60, 200), tolerance=3)

    @pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "RGBA", "P"])
    @pytest.mark.parametrize("profile", [b"rubbish", b"", "text", None, "swapped"])
    def test_profile_that_is_broken_or_of_other_channels_is_ignored(self, mode: str, profile):
        """A grey or CMYK picture with a profile for RGB, or any with rubbish, is still sent."""
        picture = PIL.Image.new("RGB", (30, 30), WHITE).convert(mode)
        picture.info["icc_profile"] = swapped_profile() if profile == "swapped" else profile
        assert_close(decoded(encode_image(picture)).getpixel((9, 9)), WHITE)


def swapped_profile() -> bytes:
    """sRGB's profile with the primaries of red and of blue swapped."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entries = struct.unpack_from(">I", profile, 128)[0]
    tags = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * entries, 12)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


class TestTheGivenImage:
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "I;16", "F", "CMYK"])
    def test_it_is_not_changed(self, mode: str):
        """Pixels, mode, size and info are the same afterwards, and it can be used on."""
        picture = PIL.Image.new(mode, (2000, 1500))
        picture.info.update(icc_profile=b"rubbish", comment="mine")
        before = (picture.mode, picture.size, dict(picture.info), picture.tobytes())
        encode_image(picture)
        assert (picture.mode, picture.size, dict(picture.info), picture.tobytes()) == before

    def test_file_stays_usable(self, tmp_path):
        """A picture opened from a file, with its frame chosen, is neither closed nor rewound."""
        frames = [PIL.Image.new("RGB", (20, 20), colour) for colour in (RED, GREEN, BLUE)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        with PIL.Image.open(tmp_path / "a.gif") as picture:
            picture.seek(1)
            assert_close(decoded(encode_image(picture)).getpixel((5, 5)), GREEN)
            assert picture.tell() == 1
            picture.seek(2)

    def test_without_pixels_it_is_refused(self, tmp_path):
        """An empty picture, and one whose file is closed."""
        quarters().save(tmp_path / "a.png")
        with PIL.Image.open(tmp_path / "a.png") as picture:
            pass
        with pytest.raises(ContentError, match="PIL RGB 40×20 could not be decoded"):
            encode_image(picture)
        with pytest.raises(ContentError, match="0×5 has no pixels"):
            encode_image(PIL.Image.new("RGB", (0, 5)))


WIDTH, HEIGHT = 1200, 800


def sketch() -> PIL.Image.Image:
    picture = PIL.Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((100, 100, 700, 600), fill="orange", outline="blue", width=5)
    draw.line((0, 800, 1200, 0), fill="red", width=3)
    return picture


def photo(grain: float = 4.0) -> PIL.Image.Image:
    """Soft shapes in many colours with a sensor's grain."""
    random = np.random.default_rng(1)
    shapes = PIL.Image.fromarray(random.integers(0, 256, (30, 45, 3), dtype="uint8"))
    soft = np.asarray(shapes.resize((2400, 1600), PIL.Image.Resampling.BICUBIC))
    grainy = soft + random.normal(0, grain, soft.shape)
    return PIL.Image.fromarray(grainy.clip(0, 255).astype("uint8"))


def grain() -> PIL.Image.Image:
    random = np.random.default_rng(2)
    return PIL.Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype="uint8"))


def test_the_content_decides_between_png_and_jpeg():
    """What has flat areas stays sharp; what has grain or shading is a JPEG, whatever the mode."""
    for picture in (sketch, lambda: sketch().convert("P")):
        assert encode_image(picture()).media_type == "image/png"
    in_other_modes = (grain().convert(mode) for mode in ("RGB", "L", "RGBA"))
    for picture in (photo(), photo(grain=0), *in_other_modes):
        assert encode_image(picture).media_type == "image/jpeg"


@pytest.mark.parametrize("numpy_is_there", [True, False])
def test_a_png_holds_the_very_pixels(monkeypatch, numpy_is_there):
    """Of few colours by a palette, which takes NumPy, of many by differences or as they are."""
    if not numpy_is_there:
        monkeypatch.setitem(sys.modules, "numpy", None)
    random = np.random.default_rng(4)
    few = random.integers(0, 256, (256, 3), dtype="uint8")
    slope = np.add.outer(np.arange(300), np.arange(400))
    for pixels, mode in (
        (few[:1][None], "P"),
        (few[random.integers(0, 256, (60, 90))].repeat(4, axis=1), "P"),
        (few[random.integers(0, 256, (300, 400)) * (slope % 9 == 0)], "P"),
        (np.dstack([slope // 4, slope // 5, slope // 6]).astype("uint8"), "RGB"),
        (random.integers(0, 256, (300, 400, 3), dtype="uint8") * (slope > 500)[..., None], "RGB"),
        (random.integers(0, 256, (1, 400, 3), dtype="uint8").repeat(3, axis=1), "RGB"),
        (random.integers(0, 256, (400, 1, 3), dtype="uint8").repeat(3, axis=0), "RGB"),
    ):
        image = encode_image(PIL.Image.fromarray(pixels))
        with PIL.Image.open(io.BytesIO(image.data)) as sent:
            assert sent.mode == (mode if numpy_is_there else "RGB")
            assert np.array_equal(np.asarray(sent.convert("RGB")), pixels)
        assert is_bare(image.data)


def test_a_byte_that_no_pixel_has_changes_nothing():
    """Equal pixels are equal bytes, by which replies are kept, whatever stands between them."""
    random, pixels = np.random.default_rng(6), np.full((80, 90, 4), 250, "uint8")
    pixels[:40] = 9
    found = set()
    for free in (255, random.integers(0, 256, (80, 90))):
        pixels[..., 3] = free
        found.add(encode_image(PILImage.frombytes("RGB", (90, 80), pixels, "raw", "RGBX")).data)
    assert len(found) == 1


def test_what_a_renderer_drew_goes_as_any_picture():
    """As it is, or on white where it is clear, smaller where it is large, a photo as a JPEG."""
    plain, noisy = (np.array(picture.convert("RGBA")) for picture in (sketch(), grain()))
    clear, large = plain.copy(), Limits(image_edge_px=4_000, image_tokens=20_000)
    clear[:90, :, 3] = 90
    heavy = np.tile(noisy, (4, 1, 1))
    heavy[::2] = heavy[0, 0]
    for pixels, limits, kind in (
        (plain, STANDARD, "png"),
        (clear, STANDARD, "png"),
        (plain, Limits(image_edge_px=500), "png"),
        (plain[:, :1].copy(), STANDARD, "png"),
        (noisy, STANDARD, "jpeg"),
        (heavy, large, "jpeg"),
    ):
        drawn = encode_drawing(pixels, limits=limits, about="it")
        assert drawn.media_type == f"image/{kind}"
        assert drawn == encode_image(PIL.Image.fromarray(pixels), limits=limits, about="it")


def test_thumbnail_is_a_small_png_of_the_same_shape():
    """The footer shows what was sent, in 96 pixels."""
    thumbnail = PIL.Image.open(io.BytesIO(thumbnail_png(encode_image(sketch()))))
    assert (thumbnail.format, thumbnail.size) == ("PNG", (96, 64))
    assert thumbnail.getpixel((90, 60)) == WHITE


FORMATS = ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000"]


def png_header(width: int, height: int, *, colours: int = 2) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 10)),
        (b"IEND", b""),
    ]
    packed = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


class TestBytes:
    @pytest.mark.parametrize(
        "data", [b"", b"x", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF", bytes(1000)]
    )
    def test_what_is_no_image_is_refused(self, data: bytes):
        """The message says which formats are read; formats that run programs are not among them."""
        with pytest.raises(ContentError, match=r"The image is not an image .* PNG, JPEG"):
            image_from_bytes(data)

    @pytest.mark.parametrize("file_format", FORMATS)
    @pytest.mark.parametrize("share", [0.3, 0.9])
    def test_truncated_file_is_refused(self, file_format: str, share: float):
        """A file that is cut short is not sent half grey."""
        noisy = PIL.Image.effect_noise((200, 100), 90).convert("RGB")
        file = io.BytesIO()
        noisy.save(file, file_format)
        data = file.getvalue()
        with pytest.raises(ContentError, match="mine could not be decoded"):
            image_from_bytes(data[: int(len(data) * share)], about="mine")


class TestBombs:
    def test_bomb_is_refused_from_its_header(self):
        """A file of a hundred bytes that claims so many megapixels is never decoded."""
        for side_px, colours, said in [
            (20_000, 0, r"20000×20000 pixels \(400 megapixels\); at most 179"),
            (13_300, 2, r"13300×13300 pixels \(177 megapixels\); at most 105"),
            (13_300, 6, r"13300×13300 pixels \(177 megapixels\); at most 105"),
            (13_300, 0, "could not be decoded"),  # allowed, but nothing is in it
        ]:
            with pytest.raises(ContentError, match=said):
                image_from_bytes(png_header(side_px, side_px, colours=colours))


def saved(picture: PILImage.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def with_chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    """Put a chunk behind a PNG's header, which is 33 bytes long."""
    return png[:33] + chunk(name, body) + png[33:]


def plot_png(**options: Any) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 3))
    figure.subplots().plot([1, 3, 2])
    file = io.BytesIO()
    figure.savefig(file, **options)
    return file.getvalue()


def gradient(mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> PILImage.Image:
    return PILImage.linear_gradient("L").resize(size).convert(mode)


def test_what_holds_nothing_but_its_pixels_goes_as_it_is():
    """A plot with its alpha channel and its `Software` line, and opaque PNGs."""
    data = plot_png()
    assert PILImage.open(io.BytesIO(data)).mode == "RGBA"
    assert shown_image(data) == Image(data, "image/png", 400, 300, "as shown")
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA"):
        assert shown_image(saved(gradient(mode))).data == saved(gradient(mode))


def exif() -> PILImage.Exif:
    exif = PILImage.Exif()
    exif[0x010E] = "SECRET words"
    return exif


def text_of(kind: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    add = info.add_itxt if kind == "iTXt" else info.add_text
    add("Author", "SECRET name", **{"zip": True} if kind == "zTXt" else {})
    return info


TELLING: dict[str, Callable[[], bytes]] = {
    "tEXt": lambda: saved(gradient(), pnginfo=text_of("tEXt")),
    "iTXt": lambda: saved(gradient(), pnginfo=text_of("iTXt")),
    "another Software": lambda: plot_png(metadata={"Software": "SECRET name"}),
    "EXIF in a PNG": lambda: saved(gradient(), exif=exif()),
    "a private chunk": lambda: with_chunk(saved(gradient()), b"prVt", b"SECRET"),
    "a second picture (APNG)": lambda: saved(
        gradient(), save_all=True, append_images=[gradient().rotate(180)]
    ),
    "behind a PNG": lambda: saved(gradient()) + b"SECRET",
    "EXIF in a JPEG": lambda: saved(gradient(), "JPEG", exif=exif()),
    "a colour profile": lambda: saved(gradient(), "JPEG", icc_profile=b"SECRET"),
}


@pytest.mark.parametrize("case", TELLING)
def test_what_may_tell_of_somebody_is_not_sent(case):
    """Words, positions, profiles, other pictures: the pixels alone go out."""
    data = TELLING[case]()
    assert not is_bare(data)
    sent = shown_image(data)
    assert b"SECRET" not in sent.data
    assert sent.media_type == "image/jpeg" or is_bare(sent.data)


SIDES = st.one_of(st.integers(1, 3_000), st.integers(1, 1_000_000))


def within_bounds(width: int, height: int, edge_px: int, budget_tokens: int) -> bool:
    across, down = -(-width // 28), -(-height // 28)
    return max(across, down) * 28 <= edge_px and across * down <= budget_tokens


def test_published_examples_are_reproduced():
    """The sizes that the server would scale down to are the ones that are sent."""
    examples = {
        (1920, 1080): (1456, 819),
        (2000, 1500): (1270, 952),
        (3840, 2160): (1456, 819),
        (4000, 3000): (1270, 952),
        (3000, 4000): (952, 1270),
        (1, 100_000): (1, 1568),
        (100_000, 1): (1568, 1),
    }
    assert {given_size: fitted_size(*given_size) for given_size in examples} == examples
    high = Limits(image_edge_px=2576, image_tokens=4784)
    assert fitted_size(1920, 1080, high) == (1920, 1080)


@given(width=SIDES, height=SIDES, edge_px=st.integers(28, 3_000), budget=st.integers(1, 5_000))
def test_the_size_is_the_largest_of_its_shape_within_bounds(width, height, edge_px, budget):
    """It fits, has pixels and its shape, is never larger, and a pixel more would not fit."""
    bounds = Limits(image_edge_px=edge_px, image_tokens=budget)
    size = fitted_size(width, height, bounds)
    assert 1 <= size[0] <= width
    assert 1 <= size[1] <= height
    assert within_bounds(*size, edge_px, budget)
    shape = min(width, height) / max(width, height)
    assert abs(min(size) - max(size) * shape) < 1
    if size != (width, height):
        longer = max(size) + 1
        assert not within_bounds(longer, max(1, round(longer * shape)), edge_px, budget)
    assert fitted_size(*size, bounds) == size
    assert fitted_size(height, width, bounds) == size[::-1]
