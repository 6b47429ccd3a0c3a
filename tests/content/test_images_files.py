"""Image files as bytes and as paths: what is read, and what is refused."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import PIL.Image
import PIL.ImageFile
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageChops, ImageStat

from segmind_jupyter.content.images.encode import image_from_bytes, image_from_path
from segmind_jupyter.errors import ContentError

FORMATS = ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000"]


def file_of(file_format: str, *, size: tuple[int, int] = (40, 20), **options: object) -> bytes:
    """A red picture that is blue on the right."""
    picture = PIL.Image.new("RGB", size, "red")
    picture.paste("blue", (size[0] // 2, 0, *size))
    file = io.BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def pixel(data: bytes, at: tuple[int, int]) -> tuple[int, ...]:
    return PIL.Image.open(io.BytesIO(data)).convert("RGB").getpixel(at)


def is_about(found: tuple[int, ...], expected: tuple[int, int, int]) -> bool:
    return all(abs(a - b) <= 6 for a, b in zip(found, expected, strict=True))


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
    @pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP"])
    def test_first_frame_of_an_animation_is_sent(self, file_format: str):
        """GIF, APNG and WebP give the frame that a viewer shows first."""
        later = PIL.Image.new("RGB", (40, 20), "lime")
        data = file_of(file_format, save_all=True, append_images=[later, later.rotate(90)])
        assert is_about(pixel(image_from_bytes(data).data, (5, 5)), (255, 0, 0))

    def test_large_jpeg_has_the_size_of_the_rule(self):
        """Reading a JPEG at half its size changes neither the size that is sent nor the picture."""
        image = image_from_bytes(file_of("JPEG", size=(4001, 3001)))
        assert (image.width, image.height, image.about) == (1269, 952, "JPEG 4001×3001")
        assert is_about(pixel(image.data, (620, 500)), (255, 0, 0))
        assert is_about(pixel(image.data, (650, 500)), (0, 0, 255))

    def test_large_jpeg_keeps_its_detail(self):
        """Reading at half the size loses nothing that the sent size could show."""
        fine = PIL.Image.effect_noise((700, 500), 90).resize((2800, 2000))
        file = io.BytesIO()
        fine.save(file, "JPEG", quality=95)
        sent = PIL.Image.open(io.BytesIO(image_from_bytes(file.getvalue()).data))
        expected = fine.resize(sent.size, PIL.Image.Resampling.LANCZOS)
        assert ImageStat.Stat(ImageChops.difference(sent, expected)).mean[0] < 6

    @pytest.mark.parametrize("buffer", [bytes, bytearray, memoryview])
    def test_any_buffer_is_read(self, buffer):
        """Bytes may come as bytearray or memoryview too."""
        assert image_from_bytes(buffer(file_of("PNG"))).width == 40

    @pytest.mark.parametrize(
        "data", [b"", b"x", b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF", bytes(1000)]
    )
    def test_what_is_no_image_is_refused(self, data: bytes):
        """The message says which formats are read; formats that run programs are not among them."""
        with pytest.raises(ContentError, match=r"The image is not an image .* PNG, JPEG"):
            image_from_bytes(data)

    @pytest.mark.parametrize("file_format", FORMATS)
    @pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
    def test_truncated_file_is_refused(self, file_format: str, share: float):
        """A file that is cut short is not sent half grey."""
        noisy = PIL.Image.effect_noise((200, 100), 90).convert("RGB")
        file = io.BytesIO()
        noisy.save(file, file_format)
        data = file.getvalue()
        with pytest.raises(ContentError, match="mine could not be decoded"):
            image_from_bytes(data[: int(len(data) * share)], about="mine")

    @settings(max_examples=200)
    @given(
        file_format=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP"]),
        damage=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1),
    )
    def test_damaged_file_is_refused_or_sent(self, file_format, damage):
        """Whatever a damaged file makes the decoder do, it is this package's error or an image."""
        data = bytearray(file_of(file_format))
        for position, value in damage:
            data[position % len(data)] = value
        with suppress(ContentError):
            assert image_from_bytes(bytes(data)).width > 0


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

    @pytest.mark.parametrize("action", ["error", "ignore", "always"])
    @pytest.mark.parametrize("pillow_limit", [None, 10, 10**10])
    def test_the_limit_is_our_own(self, monkeypatch, action: str, pillow_limit: int | None):
        """Pillow's global limit and the warning filters change nothing, and are not changed."""
        monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", pillow_limit)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter(action)
            filters = list(warnings.filters)
            image_from_bytes(file_of("PNG"))
            with pytest.raises(ContentError, match="could not be decoded"):
                image_from_bytes(png_header(10_000, 10_000))  # allowed, but nothing is in it
            with pytest.raises(ContentError, match="megapixels"):
                image_from_bytes(png_header(20_000, 20_000))
            assert warnings.filters == filters
        assert caught == []
        assert pillow_limit == PIL.Image.MAX_IMAGE_PIXELS
        assert PIL.ImageFile.LOAD_TRUNCATED_IMAGES is False


class TestPaths:
    def test_file_is_read(self, tmp_path: Path):
        """A path may be a string or a Path; the footer has the file's name."""
        path = tmp_path / "a picture.png"
        path.write_bytes(file_of("PNG"))
        image = image_from_path(path)
        assert image.about == "a picture.png 40×20"
        assert image_from_path(str(path)) == image
        assert is_about(pixel(image.data, (5, 5)), (255, 0, 0))

    @pytest.mark.parametrize("path", ["\0", "x" * 5000, "~no-such-user-here/x.png"])
    def test_impossible_path_is_refused(self, path: str):
        """A path that the system rejects is an error of this package too."""
        with pytest.raises(ContentError, match="cannot be read"):
            image_from_path(path)

    @pytest.mark.skipif(os.name == "nt", reason="named pipes of this kind are POSIX's")
    def test_pipe_is_refused(self, tmp_path: Path):
        """A pipe would be waited for without end, so it is not opened."""
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ContentError, match="is a device or a pipe"):
            image_from_path(tmp_path / "pipe")

    @pytest.mark.parametrize("data", [b"", b"not an image", file_of("PNG")[:60]])
    def test_bad_content_names_the_path(self, tmp_path: Path, data: bytes):
        """What is wrong with the content is said of the file."""
        path = tmp_path / "bad.png"
        path.write_bytes(data)
        with pytest.raises(
            ContentError, match=r"bad\.png .*(is not an image|could not be decoded)"
        ):
            image_from_path(path)
