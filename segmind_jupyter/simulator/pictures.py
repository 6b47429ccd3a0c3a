"""The images of a request: checked as the service checks them, decoded, and described.

Pillow is imported when the first image comes. Knows nothing of messages around the images.
"""

from __future__ import annotations

import base64
import binascii
import io
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segmind_jupyter.simulator.colours import describe_colours
from segmind_jupyter.simulator.wire import Refusal

if TYPE_CHECKING:
    from PIL import Image

#: Most bytes of one image in base64 (Anthropic's vision page says 5 MB; this is its safe reading).
MAX_BASE64_BYTES = 5_000_000

#: Media types that Claude models take, and what Pillow calls them.
_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP"}

#: What Pillow's four decoders raise for bytes that are not, or not wholly, what they claim.
#: Warnings are here because a program may turn them into errors.
_UNREADABLE = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One image that arrived and was decoded.

    Parameters
    ----------
    width, height
        In pixels.
    format
        ``"PNG"``, ``"JPEG"``, ``"GIF"`` or ``"WEBP"``.
    colours
        As `colours.describe_colours` says it.
    """

    width: int
    height: int
    format: str
    colours: str

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {self.format}, {self.colours}"


def read_picture(source: object, *, max_side_px: int, where: str) -> Picture:
    """Decode the ``source`` of an image block.

    Parameters
    ----------
    source
        ``{"type": "base64", "media_type": "image/png", "data": "..."}``.
    max_side_px
        Longest side that is accepted, in pixels.
    where
        Path of the block, for messages: ``"messages.0.content.1"``.

    Raises
    ------
    Refusal
        400, for every way in which it is not such a source, or too large.
    """
    media_type, data = _checked_source(source, where=where)
    image = _opened(_decoded(data, where=where), media_type=media_type, where=where)
    if max(image.size) > max_side_px:
        raise Refusal(
            400,
            f"{where}.image: {image.width}x{image.height} pixels, at most {max_side_px} a side",
        )
    return Picture(image.width, image.height, _FORMATS[media_type], _looks(image, where=where))


def _checked_source(source: object, *, where: str) -> tuple[str, str]:
    if not isinstance(source, dict) or source.get("type") != "base64":
        raise Refusal(400, f"{where}.image.source: must be an object of type base64")
    media_type, data = source.get("media_type"), source.get("data")
    if not isinstance(media_type, str) or media_type not in _FORMATS:
        raise Refusal(400, f"{where}.image.source.media_type: must be one of {', '.join(_FORMATS)}")
    if not isinstance(data, str) or not data:
        raise Refusal(400, f"{where}.image.source.data: must be a non-empty string")
    if len(data) > MAX_BASE64_BYTES:
        raise Refusal(
            400, f"{where}.image: {len(data)} bytes of base64, at most {MAX_BASE64_BYTES}"
        )
    return media_type, data


def _decoded(data: str, *, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f"{where}.image.source.data: not valid base64") from error


def _opened(data: bytes, *, media_type: str, where: str) -> Image.Image:
    """Read the header alone: a small file can hold more pixels than there is memory for."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data), formats=list(_FORMATS.values()))
    except (*_UNREADABLE, Image.DecompressionBombError) as error:
        raise Refusal(400, f"{where}.image: could not be read as an image") from error
    if _format(image) != _FORMATS[media_type]:
        raise Refusal(400, f"{where}.image: said to be {media_type}, but is {_format(image)}")
    return image


def _format(image: Image.Image) -> str:
    """Name the file's format; phones write JPEGs with a second picture inside, named MPO."""
    return "JPEG" if image.format == "MPO" else str(image.format)


def _looks(image: Image.Image, *, where: str) -> str:
    try:
        return describe_colours(_on_white(image))
    except _UNREADABLE as error:
        raise Refusal(400, f"{where}.image: is damaged or incomplete") from error


def _on_white(image: Image.Image) -> Image.Image:
    """Give the first frame as RGB, what is transparent showing white."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit grey: convert() would clip where it should scale
        image = _eight_bit(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    def scaled(value: Any) -> Any:
        return value * (1 / 257) + 0.0

    return image.convert("I").point(scaled).convert("L")
