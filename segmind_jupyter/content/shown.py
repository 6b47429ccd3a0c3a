"""An image that a page has shown becomes an image to send: where possible, the very same bytes.

What is on the page is then what the model sees, and nothing is encoded twice.
"""

from __future__ import annotations

import io
import re
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from segmind_jupyter.content.images import image_from_bytes
from segmind_jupyter.content.parts import STANDARD, Image, Limits
from segmind_jupyter.content.sizing import fitted_size

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

_PNG_BEGINS: Final = b"\x89PNG\r\n\x1a\n"

#: Chunks that hold pixels, or their size and shape, and nothing else (PNG specification).
_PNG_CHUNKS: Final = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"pHYs", b"sRGB")

#: What matplotlib writes into each PNG: its own version, which tells of nobody.
_MATPLOTLIB: Final = re.compile(rb"Software\0Matplotlib version\S{1,40}, https?://matplotlib\.org/")

_JPEG_BEGINS: Final = b"\xff\xd8"
_JPEG_ENDS: Final = b"\xff\xd9"
_JPEG_SCAN: Final = 0xDA

#: Segments of a JPEG that hold tables and the size (ITU T.81). Those of a progressive one are left
#: out: between its scans there may be more segments.
_JPEG_TABLES: Final = (0xC0, 0xC1, 0xC4, 0xDB, 0xDD)

#: The segments in which programs write that hold nothing of theirs: resolution without a
#: thumbnail, and how Adobe's colours are meant. EXIF, comments and colour profiles are in others.
_JPEG_HARMLESS: Final = {
    0xE0: re.compile(rb"JFIF\0.{7}\0\0", re.DOTALL),
    0xEE: re.compile(rb"Adobe.{7}", re.DOTALL),
}

#: A marker that ends a scan: within it, FF is followed by 00 or is a restart marker.
_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xd0-\xd7]")


def shown_image(data: bytes, *, limits: Limits = STANDARD) -> Image:
    """Make an image to send of the bytes that a page showed.

    A PNG or a baseline JPEG goes as it is if it is within the limits, opaque, of 8 bits, and
    holds nothing but its pixels. Anything else is encoded anew, as `image_from_bytes` does. The
    same bytes give the same image.

    Parameters
    ----------
    data
        An image file in any format that `image_from_bytes` takes.
    limits
        How large the image may become.

    Raises
    ------
    ContentError
        `image_from_bytes` refuses the data.
    """
    if not is_bare(data) or -(-len(data) // 3) * 4 > limits.image_base64_bytes:
        return image_from_bytes(data, limits=limits)
    return _as_it_is(data, limits) or image_from_bytes(data, limits=limits)


def is_bare(data: bytes) -> bool:
    """Tell whether an image file is a PNG or a baseline JPEG that holds pixels and nothing else.

    It is not decoded, so it may still be damaged.
    """
    if data.startswith(_PNG_BEGINS):
        return _is_bare_png(data)
    return data.startswith(_JPEG_BEGINS) and _is_bare_jpeg(data)


def _as_it_is(data: bytes, limits: Limits) -> Image | None:
    """Send the file itself; `None` if it is too large, transparent, or cannot be decoded."""
    with suppress(Exception), _opened(data) as picture:  # a decoder of damaged data raises anything
        if _fits(picture, limits) and _is_opaque(picture):
            media_type = f"image/{str(picture.format).lower()}"
            return Image(data, media_type, *picture.size, "as shown")
    return None


def _opened(data: bytes) -> ImageFile:
    """Read the header alone, by the one class for the format: see `images._identified`."""
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    kind = PngImageFile if data.startswith(_PNG_BEGINS) else JpegImageFile
    return kind(io.BytesIO(data))


def _fits(picture: ImageFile, limits: Limits) -> bool:
    size = fitted_size(
        *picture.size, edge_px=limits.image_edge_px, budget_tokens=limits.image_tokens
    )
    return size == picture.size


def _is_opaque(picture: ImageFile) -> bool:
    """Decode it, and tell whether it has 8-bit colours of which none is transparent."""
    picture.load()
    if picture.mode in ("LA", "RGBA"):
        return bool(picture.getchannel("A").getextrema() == (255, 255))
    return picture.mode in ("1", "L", "P", "RGB")


def _is_bare_png(data: bytes) -> bool:
    at = len(_PNG_BEGINS)
    while at + 12 <= len(data):  # its length, its name and its checksum: 4 bytes each
        length, name = struct.unpack_from(">I4s", data, at)
        end: int = at + 12 + length
        if name == b"IEND":
            return end == len(data)
        software = name == b"tEXt" and _MATPLOTLIB.fullmatch(data, at + 8, end - 4)
        if not (name in _PNG_CHUNKS or software):
            return False
        at = end
    return False


def _is_bare_jpeg(data: bytes) -> bool:
    at = len(_JPEG_BEGINS)
    while at + 4 <= len(data):
        mark, kind, length = struct.unpack_from(">BBH", data, at)
        body = data[at + 4 : at + 2 + length]
        at += 2 + length
        if mark == 0xFF and kind == _JPEG_SCAN:
            after = _AFTER_SCAN.search(data, at)
            return after is not None and data[after.start() :] == _JPEG_ENDS
        if mark != 0xFF or not _is_bare_segment(kind, body):
            return False
    return False


def _is_bare_segment(kind: int, body: bytes) -> bool:
    harmless = _JPEG_HARMLESS.get(kind)
    return kind in _JPEG_TABLES if harmless is None else harmless.fullmatch(body) is not None
