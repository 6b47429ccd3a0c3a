"""A PIL image of any mode becomes what is sent: upright, opaque, sRGB, 8 bits, the right size."""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING

from segmind_jupyter.content.tones import is_numeric, toned

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

#: EXIF's tag for how the camera was held.
_ORIENTATION = 0x0112

#: What Pillow raises on EXIF that it cannot read; a warning where the user made these errors.
_BROKEN_EXIF = (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error, Warning)

#: Shrinks by whole factors first where more than twice the pixels remain for the Lanczos filter:
#: the margin of Pillow's `Image.thumbnail`, at which no difference is seen.
_REDUCING_GAP = 2.0


def flattened(picture: Picture, *, size: tuple[int, int]) -> Picture:
    """Make a picture that carries pixels and nothing else.

    Alpha, a transparent palette entry and a colour key are laid on white; an embedded colour
    profile is converted to sRGB, or ignored if it is broken; pixels of more than 8 bits and
    floats are scaled (see `tones`); the EXIF orientation is applied. The picture that was given
    stays as it is.

    Parameters
    ----------
    picture
        A PIL image of any mode.
    size
        Width and height in pixels before it is turned upright: at most those of the picture.

    Returns
    -------
    PIL.Image.Image
        A new picture of mode L or RGB without metadata.
    """
    import PIL.Image

    picture.load()
    eight_bit = _eight_bit(picture)
    resized = eight_bit.resize(size, PIL.Image.Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)
    coloured = _in_srgb(_on_white(resized), picture.info.get("icc_profile"))
    upright = _upright(coloured, _orientation(picture))
    upright.info = {}
    return upright


def _eight_bit(picture: Picture) -> Picture:
    """Convert to L, RGB, RGBA or CMYK, the modes in which averaging neighbours is right."""
    if is_numeric(picture):
        return toned(picture)
    if picture.mode == "La":  # converts to nothing but LA
        return picture.convert("LA").convert("RGBA")
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    if picture.mode == "1":
        return picture.convert("L")
    return picture if picture.mode in ("L", "RGB", "CMYK") else picture.convert("RGB")


def _on_white(picture: Picture) -> Picture:
    import PIL.Image

    if picture.mode != "RGBA":
        return picture
    paper = PIL.Image.new("RGB", picture.size, "white")
    paper.paste(picture, mask=picture.getchannel("A"))
    return paper


def _in_srgb(picture: Picture, profile: bytes | None) -> Picture:
    converted = _converted(picture, profile) if profile else None
    if converted is not None:
        return converted
    return picture.convert("RGB") if picture.mode == "CMYK" else picture


def _converted(picture: Picture, profile: bytes) -> Picture | None:
    """Convert from a colour profile; None if it is broken or meant for other channels."""
    from PIL import ImageCms

    try:
        srgb = ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, io.BytesIO(profile), srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, TypeError, ValueError, OSError):
        return None
    except ImportError:  # Pillow was built without LittleCMS
        return None


def _orientation(picture: Picture) -> int:
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except _BROKEN_EXIF:
        return 1


def _upright(picture: Picture, orientation: int) -> Picture:
    """Undo how the camera was held; the numbers are EXIF's."""
    from PIL.Image import Transpose

    turn = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(orientation)
    return picture if turn is None else picture.transpose(turn)
