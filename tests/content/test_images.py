"""PIL images of every mode: the pixels that arrive, and what does not travel with them."""

from __future__ import annotations

import io
import math
import struct

import PIL.Image
import pytest
from PIL import ImageCms, PngImagePlugin

from segmind_jupyter.content.images.encode import encode_image, image_from_bytes
from segmind_jupyter.content.parts import Image, Limits
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
    code = {"F": "f", "I": "i", "I;16": "<H", "I;16L": "<H", "I;16B": ">H", "I;16N": "=H"}[mode]
    order, code = (code[0], code[1]) if len(code) == 2 else ("=", code)
    return PIL.Image.frombytes(mode, size, struct.pack(f"{order}{len(values)}{code}", *values))


class TestModes:
    @pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "RGBa", "P", "PA", "CMYK", "YCbCr"])
    def test_colours_arrive_in_every_colour_mode(self, mode: str):
        """Red, blue, green and white are themselves, whatever mode they are kept in."""
        through = {"PA": "P", "RGBa": "RGBA"}.get(mode)
        picture = quarters().convert(through).convert(mode) if through else quarters().convert(mode)
        for found, expected in zip(
            corners(decoded(encode_image(picture))), (RED, BLUE, GREEN, WHITE), strict=True
        ):
            assert_close(found, expected)

    def test_hue_arrives(self):
        """HSV is turned into colours before neighbours are averaged, so red stays red."""
        picture = quarters().convert("HSV").resize((3000, 1500), PIL.Image.Resampling.NEAREST)
        sent = decoded(encode_image(picture))
        assert_close(corners(sent)[0], RED)
        assert_close(corners(sent)[1], BLUE)

    def test_lab_arrives(self):
        """Lab is turned into sRGB."""
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(quarters(), srgb, lab, outputMode="LAB")
        for found, expected in zip(
            corners(decoded(encode_image(picture))), (RED, BLUE, GREEN, WHITE), strict=True
        ):
            assert_close(found, expected, tolerance=24)  # 8-bit Lab is coarse where it is blue

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "La"])
    def test_greys_arrive(self, mode: str):
        """Black and white are themselves in the modes without colour."""
        grey = PIL.Image.new("L", (40, 20), 255)
        grey.paste(0, (0, 0, 20, 20))
        picture = grey.convert("LA").convert("La") if mode == "La" else grey.convert(mode)
        sent = decoded(encode_image(picture))
        assert corners(sent) == [BLACK, WHITE, BLACK, WHITE]

    def test_every_mode_of_this_pillow_is_encoded(self):
        """No mode that Pillow knows is refused."""
        for mode in PIL.Image.MODES:
            assert encode_image(PIL.Image.new(mode, (30, 20))).width == 30, mode


class TestNumbers:
    @pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I;16N", "I", "F"])
    @pytest.mark.parametrize("white", [65_535, 4_095])
    def test_gradient_is_scaled_not_clipped(self, mode: str, white: int):
        """16-bit and 12-bit ramps run evenly from black to white."""
        ramp = [column * white / 255 for column in range(256)]
        rows = ramp if mode == "F" else [round(value) for value in ramp]
        sent = decoded(encode_image(numbers(mode, (256, 4), rows * 4)))
        assert_close([sent.getpixel((x, 2))[0] for x in range(256)], range(256), tolerance=1)

    @pytest.mark.parametrize("white", [1.0, 255.0])
    def test_floats_on_a_known_scale_keep_their_shade(self, white: float):
        """A quarter and three quarters of 1 or of 255 are not stretched to black and white."""
        picture = numbers("F", (2, 2), [0.25 * white, 0.75 * white] * 2)
        sent = decoded(encode_image(picture))
        assert_close([sent.getpixel((x, 0))[0] for x in (0, 1)], [64, 191], tolerance=1)

    @pytest.mark.parametrize(
        ("mode", "values"),
        [
            ("F", [-3e38, 3e38]),
            ("F", [1e-40, 3e-40]),
            ("F", [0.0, 0.001]),
            ("I", [-(2**31), 2**31 - 1]),
            ("I", [2_000_000_000, 2_000_000_001]),
            ("I;16", [29_000, 31_000]),
        ],
    )
    def test_other_ranges_are_stretched_to_black_and_white(self, mode: str, values: list[float]):
        """What is on no known scale, or would be flat on it, uses all greys."""
        sent = decoded(encode_image(numbers(mode, (2, 1), values)))
        assert [sent.getpixel((x, 0))[0] for x in (0, 1)] == [0, 255]

    @pytest.mark.parametrize(
        ("mode", "value", "grey"),
        [
            ("F", 0.0, 0),
            ("F", 0.5, 128),
            ("F", -7.0, 128),
            ("F", 3e38, 128),
            ("F", math.nan, 255),
            ("F", math.inf, 255),
            ("F", -math.inf, 0),
            ("I", 100, 100),
            ("I;16", 65_535, 255),
        ],
    )
    def test_constant_picture_has_a_shade(self, mode: str, value: float, grey: int):
        """A picture of one value divides by nothing, and keeps its shade on a known scale."""
        sent = decoded(encode_image(numbers(mode, (3, 3), [value] * 9)))
        assert_close(sent.getpixel((1, 1)), (grey,) * 3, tolerance=1)

    def test_nan_is_white_and_infinities_are_the_ends(self):
        """What was not measured shows the paper; the rest keeps the scale of the finite values."""
        values = [0.9, 0.9, math.nan, math.inf, -math.inf, 0.3]
        sent = decoded(encode_image(numbers("F", (6, 1), values)))
        greys = [sent.getpixel((x, 0))[0] for x in range(6)]
        assert_close(greys, [230, 230, 255, 255, 0, 77], tolerance=1)


class TestTransparency:
    @pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La"])
    def test_transparent_black_is_white(self, mode: str):
        """Nothing drawn is paper, not ink."""
        assert decoded(encode_image(PIL.Image.new(mode, (9, 9), 0))).getpixel((4, 4)) == WHITE

    def test_half_transparent_is_mixed_with_white(self):
        """Half a black is a middle grey, also at the edge that the resize makes."""
        picture = PIL.Image.new("RGBA", (3000, 3000), (0, 0, 0, 128))
        assert_close(decoded(encode_image(picture)).getpixel((500, 500)), (127,) * 3, tolerance=1)

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

    def test_palette_alpha_is_mixed(self):
        """Alpha of each palette entry, as PNG keeps it, is laid on white."""
        picture = PIL.Image.new("P", (8, 8), 0)
        picture.putpalette([*BLACK, *RED])
        picture.info["transparency"] = bytes([128, 255])
        assert_close(decoded(encode_image(picture)).getpixel((4, 4)), (127,) * 3)

    def test_transparent_grey_of_16_bits_is_encoded(self):
        """The colour key of a 16-bit PNG neither fails nor warns."""
        picture = numbers("I;16", (2, 1), [0, 65_535])
        picture.info["transparency"] = 7
        sent = decoded(encode_image(picture))
        assert [sent.getpixel((x, 0)) for x in (0, 1)] == [BLACK, WHITE]


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

    def test_turned_photo_is_reduced_to_the_same_size(self):
        """A photo of 4000x3000 that was held upright leaves as 952x1270."""
        exif = PIL.Image.Exif()
        exif[0x0112] = 6
        file = io.BytesIO()
        quarters().resize((4000, 3000)).save(file, "JPEG", exif=exif)
        image = image_from_bytes(file.getvalue())
        assert (image.width, image.height) == (952, 1270)

    @pytest.mark.parametrize("exif", [b"", b"Exif\0\0rubbish", b"Exif\0\0MM\0*\0\0\0\xff\xff\xff"])
    def test_broken_exif_is_ignored(self, exif: bytes):
        """EXIF that cannot be read leaves the picture as it lies."""
        picture = quarters()
        picture.info["exif"] = exif
        assert corners(decoded(encode_image(picture)))[0] == RED


class TestMetadata:
    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
    def test_nothing_but_pixels_is_sent(self, file_format: str):
        """GPS, EXIF, XMP, comments, text and profiles of the original stay at home."""
        file = io.BytesIO()
        quarters().save(file, file_format, **secrets(file_format))
        assert b"secret" in file.getvalue()
        image = image_from_bytes(file.getvalue())
        assert b"secret" not in image.data
        assert parts_of(image) <= {"IHDR", "IDAT", "IEND", "APP0", "DQT", "SOF", "DHT", "SOS"}

    def test_photo_carries_no_metadata(self):
        """The same holds for what leaves as JPEG."""
        file = io.BytesIO()
        noise().save(file, "JPEG", **secrets("JPEG"))
        image = image_from_bytes(file.getvalue())
        assert image.media_type == "image/jpeg"
        assert b"secret" not in image.data
        assert parts_of(image) == {"APP0", "DQT", "SOF", "DHT", "SOS"}


def noise() -> PIL.Image.Image:
    return PIL.Image.effect_noise((200, 100), 90).convert("RGB")


def secrets(file_format: str) -> dict[str, object]:
    exif = PIL.Image.Exif()
    exif[0x010E] = "secret description"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.0)})
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "secret author")
    extra = {"JPEG": {"comment": b"secret comment"}, "PNG": {"pnginfo": text}}
    return {"exif": exif, "icc_profile": profile, **extra.get(file_format, {})}


def parts_of(image: Image) -> set[str]:
    """Names of a PNG's chunks, or of a JPEG's segments up to the pixels."""
    return set(_chunks(image.data) if image.media_type == "image/png" else _segments(image.data))


def _chunks(data: bytes):
    position = 8
    while position < len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        yield name.decode()
        position += 12 + length


def _segments(data: bytes):
    names = {0xE0: "APP0", 0xDB: "DQT", 0xC0: "SOF", 0xC4: "DHT", 0xDA: "SOS"}
    position, marker = 2, 0
    while marker != 0xDA:
        marker, length = struct.unpack_from(">xBH", data, position)
        yield names.get(marker, hex(marker))
        position += 2 + length


class TestColourProfile:
    def test_profile_is_converted_to_srgb(self):
        """A profile that swaps red and blue is undone; the profile itself is not sent."""
        picture = PIL.Image.new("RGB", (30, 30), (200, 60, 30))
        picture.info["icc_profile"] = swapped_profile()
        assert_close(decoded(encode_image(picture)).getpixel((9, 9)), (30, 60, 200), tolerance=3)

    def test_profile_applies_below_transparency(self):
        """The colours of a transparent picture are converted too."""
        picture = PIL.Image.new("RGBA", (30, 30), (200, 60, 30, 255))
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

    def test_small_picture_is_not_shared(self):
        """A picture that needs no change keeps its info, though none of it is sent."""
        picture = noise()
        picture.info["comment"] = "mine"
        encode_image(picture)
        assert picture.info["comment"] == "mine"

    def test_file_stays_usable(self, tmp_path):
        """A picture opened from a file, with its frame chosen, is neither closed nor rewound."""
        frames = [PIL.Image.new("RGB", (20, 20), colour) for colour in (RED, GREEN, BLUE)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        with PIL.Image.open(tmp_path / "a.gif") as picture:
            picture.seek(1)
            assert_close(decoded(encode_image(picture)).getpixel((5, 5)), GREEN)
            assert picture.tell() == 1
            picture.seek(2)

    def test_closed_picture_is_refused(self, tmp_path):
        """A picture whose file is closed says so, as an error of this package."""
        quarters().save(tmp_path / "a.png")
        with PIL.Image.open(tmp_path / "a.png") as picture:
            pass
        with pytest.raises(ContentError, match="PIL RGB 40×20 could not be decoded"):
            encode_image(picture)

    def test_picture_without_pixels_is_refused(self):
        """An empty picture is an error that names its size."""
        with pytest.raises(ContentError, match="0×5 has no pixels"):
            encode_image(PIL.Image.new("RGB", (0, 5)))


class TestTheSentImage:
    def test_twelve_megapixels_leave_as_the_rule_says(self):
        """4000x3000 leaves as 1270x952, and the footer knows what it was."""
        image = encode_image(PIL.Image.new("RGB", (4000, 3000)))
        assert (image.width, image.height) == (1270, 952)
        assert image.about == "PIL RGB 4000×3000"

    def test_same_pixels_give_the_same_bytes(self):
        """What was sent before can be found again, whatever metadata it carried."""
        first = noise()
        second = first.copy()
        second.info["comment"] = "other"
        assert encode_image(first).data == encode_image(second).data

    def test_limits_and_about_are_followed(self):
        """A smaller edge gives a smaller image, and the caller's words are kept."""
        image = encode_image(quarters().resize((800, 400)), limits=Limits(280), about="mine")
        assert (image.width, image.height, image.about) == (280, 140, "mine")

    @pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1)])
    def test_thin_pictures_are_encoded(self, size: tuple[int, int]):
        """One pixel of height is enough."""
        image = encode_image(PIL.Image.new("RGB", size, RED))
        assert max(image.width, image.height) == min(max(size), 1568)
