"""A flat picture becomes a file: PNG for a drawing, JPEG for a photo, within a number of bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from segmind_jupyter.content.parts import Image
from segmind_jupyter.errors import ContentError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_JPEG_QUALITY = 85

#: Tried in turn where the ordinary file is over the limit, before pixels are given up.
_LOWER_QUALITIES = (70, 50)

#: A picture of so few pixels is always a PNG: that is small anyway, and exact.
_EXACT_PX = 32 * 32

#: Share of neighbouring pixels of one grey above which a picture is a drawing. Measured, at the
#: size that is sent: plots 0.55 to 0.96, a screenshot full of text 0.63, photos 0.06 to 0.17.
_FLAT_IN_DRAWINGS = 0.4


def encoded(picture: Picture, *, max_base64_bytes: int, about: str) -> Image:
    """Encode a picture, once in the ordinary case.

    A file that is over the limit is tried as JPEG, then at lower quality, then at half the
    size, and so on.

    Parameters
    ----------
    picture
        Of mode L or RGB, without metadata.
    max_base64_bytes
        Most bytes of the file in base64.
    about
        What it was made from.

    Raises
    ------
    ContentError
        Not even one pixel fits.
    """
    for image in _attempts(picture, about):
        if _base64_bytes(image.data) <= max_base64_bytes:
            return image
    raise ContentError(
        f"No image fits into {max_base64_bytes} bytes of base64: allow at least 1000."
    )


def _attempts(picture: Picture, about: str) -> Iterator[Image]:
    if is_drawing(picture):
        yield _png(picture, about)
    for quality in (_JPEG_QUALITY, *_LOWER_QUALITIES):
        yield _jpeg(picture, quality, about)
    while max(picture.size) > 1:
        picture = picture.resize((-(-picture.width // 2), -(-picture.height // 2)))
        yield _jpeg(picture, _LOWER_QUALITIES[-1], about)


def _png(picture: Picture, about: str) -> Image:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Image(file.getvalue(), "image/png", *picture.size, about)


def _jpeg(picture: Picture, quality: int, about: str) -> Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image(file.getvalue(), "image/jpeg", *picture.size, about)


def _base64_bytes(data: bytes) -> int:
    return -(-len(data) // 3) * 4


def is_drawing(picture: Picture) -> bool:
    """Tell a plot, a mask or a screenshot from a photo by how often neighbours are equal."""
    if picture.width * picture.height <= _EXACT_PX:
        return True
    grey = picture.convert("L")
    flat = max(_flat_share(grey, right=1, down=0), _flat_share(grey, right=0, down=1))
    return flat >= _FLAT_IN_DRAWINGS


def _flat_share(grey: Picture, *, right: int, down: int) -> float:
    """Share of pixels that equal their neighbour; those at the edge meet the opposite one."""
    from PIL import ImageChops

    steps = ImageChops.difference(grey, ImageChops.offset(grey, right, down))
    return steps.histogram()[0] / (grey.width * grey.height)
