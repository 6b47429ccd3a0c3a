"""What becomes of the bytes that a page showed: kept where they may be sent, else encoded anew."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as PILImage
from PIL import PngImagePlugin

from segmind_jupyter.content.images.encode import is_bare, shown_image
from segmind_jupyter.content.parts import STANDARD, Image, Limits
from segmind_jupyter.errors import ContentError


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
    """A plot with its alpha channel and its `Software` line, opaque PNGs and baseline JPEGs."""
    data = plot_png()
    assert PILImage.open(io.BytesIO(data)).mode == "RGBA"
    assert shown_image(data) == Image(data, "image/png", 400, 300, "as shown")
    for mode in ("1", "L", "P", "RGB", "RGBA", "LA"):
        assert shown_image(saved(gradient(mode))).data == saved(gradient(mode))
    for mode in ("L", "RGB"):
        data = saved(gradient(mode), "JPEG")
        assert shown_image(data) == Image(data, "image/jpeg", 60, 40, "as shown")


def test_what_is_larger_than_the_limits_is_scaled_or_packed_anew(picture_in):
    """To the pixels that the server keeps, and the bytes that it takes."""
    sent = shown_image(saved(gradient(size=(3000, 1500))))
    assert max(sent.width, sent.height) <= STANDARD.image_edge_px
    assert sent.about == "PNG 3000×1500"
    assert picture_in(sent).size == (sent.width, sent.height)
    noise = PILImage.effect_noise((300, 300), 80)
    assert len(shown_image(saved(noise), limits=Limits(image_base64_bytes=60_000)).data) <= 45_000


def test_transparent_pixels_are_laid_on_white(picture_in):
    """Those of an alpha channel, and a colour of a palette that is transparent."""
    clear = PILImage.new("RGBA", (20, 20), (0, 0, 0, 0))
    palette = PILImage.new("P", (20, 20), 0)
    palette.putpalette([200, 0, 0, 0, 0, 200])
    for data in (saved(clear), saved(palette, transparency=0)):
        assert picture_in(shown_image(data)).getpixel((5, 5)) == (255, 255, 255)


def test_other_formats_and_modes_are_encoded_anew(picture_in):
    """Not every reader takes 16 bits and CMYK."""
    for kind in ("GIF", "WEBP", "BMP"):
        sent = shown_image(saved(PILImage.new("RGB", (20, 20), "red"), kind))
        assert sent.media_type == "image/png"
        red, green, blue = picture_in(sent).getpixel((5, 5))
        assert (red > 240, max(green, blue) < 15) == (True, True)
    deep = saved(PILImage.new("I;16", (20, 20), 900))
    cmyk = saved(PILImage.new("CMYK", (20, 20)), "JPEG")
    assert shown_image(deep).data != deep
    assert shown_image(cmyk).data != cmyk


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
    "zTXt": lambda: saved(gradient(), pnginfo=text_of("zTXt")),
    "iTXt": lambda: saved(gradient(), pnginfo=text_of("iTXt")),
    "matplotlib's metadata": lambda: plot_png(metadata={"Author": "SECRET name"}),
    "another Software": lambda: plot_png(metadata={"Software": "SECRET name"}),
    "EXIF in a PNG": lambda: saved(gradient(), exif=exif()),
    "a private chunk": lambda: with_chunk(saved(gradient()), b"prVt", b"SECRET"),
    "a second picture (APNG)": lambda: saved(
        gradient(), save_all=True, append_images=[gradient().rotate(180)]
    ),
    "behind a PNG": lambda: saved(gradient()) + b"SECRET",
    "EXIF in a JPEG": lambda: saved(gradient(), "JPEG", exif=exif()),
    "a comment in a JPEG": lambda: saved(gradient(), "JPEG", comment="SECRET"),
    "behind a JPEG": lambda: saved(gradient(), "JPEG") + b"SECRET\xff\xd9",
    "a colour profile": lambda: saved(gradient(), "JPEG", icc_profile=b"SECRET"),
}


@pytest.mark.parametrize("case", TELLING)
def test_what_may_tell_of_somebody_is_not_sent(case):
    """Words, positions, profiles, other pictures: the pixels alone go out."""
    data = TELLING[case]()
    assert not is_bare(data)
    sent = shown_image(data)
    assert b"SECRET" not in sent.data
    assert is_bare(sent.data)


def test_a_progressive_jpeg_is_encoded_anew():
    """Between its scans anything may stand."""
    data = saved(gradient(), "JPEG", progressive=True)
    assert not is_bare(data)
    assert is_bare(shown_image(data).data)


def test_a_turned_photo_is_sent_upright():
    """Its orientation is metadata."""
    turned = PILImage.Exif()
    turned[0x0112] = 6
    sent = shown_image(saved(gradient(), "JPEG", exif=turned))
    assert (sent.width, sent.height) == (40, 60)


def test_a_damaged_image_is_told():
    """And never sent as it is."""
    for kind in ("PNG", "JPEG"):
        data = saved(PILImage.effect_noise((200, 200), 60), kind)
        with pytest.raises(ContentError, match=r"could not be decoded|not an image"):
            shown_image(data[: len(data) // 2])


def test_a_small_file_of_very_many_pixels_is_not_decoded():
    """Its header tells how many there are."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND", b""))
    with pytest.raises(ContentError, match="900 megapixels"):
        shown_image(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def test_the_same_bytes_give_the_same_image():
    """Also where they are encoded anew, so that a cached reply is found."""
    large = saved(gradient(size=(2400, 1800)))
    assert shown_image(large) == shown_image(large)
    assert shown_image(plot_png()) == shown_image(plot_png())


@given(st.sampled_from(["PNG", "JPEG"]), st.data())
def test_no_bytes_break_it(kind, data):
    """Damaged anywhere, it is an image to send or an error of ours; what is sent decodes."""
    good = bytearray(saved(gradient(size=(24, 16)), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        sent = shown_image(bytes(good[: data.draw(st.integers(0, len(good)))]))
    except ContentError:
        return
    PILImage.open(io.BytesIO(sent.data)).load()


@given(st.binary(max_size=60), st.sampled_from([b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b""]))
def test_reading_headers_ends_on_any_bytes(tail, begin):
    """Short ones too."""
    assert is_bare(begin + tail) in {True, False}
