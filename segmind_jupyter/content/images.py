"""Pictures from PIL, arrays, bytes and files become images that are ready to send.

These are the doors; `pictures`, `pixels` and `encoding` do the work. Pillow is imported when the
first picture arrives.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segmind_jupyter.content.encoding import encoded
from segmind_jupyter.content.kinds import spelled
from segmind_jupyter.content.parts import STANDARD, Image, Limits
from segmind_jupyter.content.pictures import flattened
from segmind_jupyter.content.pixels import is_image_array, picture_from_array
from segmind_jupyter.content.sizing import fitted_size
from segmind_jupyter.errors import ContentError, shortened

if TYPE_CHECKING:
    from os import PathLike

    from PIL.Image import Image as Picture
    from PIL.ImageFile import ImageFile

__all__ = [
    "encode_image",
    "image_from_array",
    "image_from_bytes",
    "image_from_path",
    "is_image_array",
    "thumbnail_png",
]

#: Most pixels that are decoded: where Pillow itself refuses unless told otherwise. 12 KB of PNG
#: can hold that many.
_MAX_PIXELS = 178_956_970

#: The formats that are decoded, in the order tried. None of them runs a program or reads a
#: second file, as EPS and some others do.
_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")


def encode_image(image: Picture, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Encode a PIL image of any mode, as it stands: the current frame of an animation.

    What is sent is upright, free of metadata, opaque on white, in sRGB and no larger than the
    server would keep it. It is a PNG if it looks like a drawing and a JPEG if it looks like a
    photo. The same pixels give the same bytes.

    Parameters
    ----------
    image
        The picture; it stays as it is. One that was opened and not loaded is read from its file,
        if that is still there, as it would hold its pixels from then on.
    limits
        How large the image may become.
    about
        What it was made from, for the footer; by default the mode and the size.

    Raises
    ------
    ContentError
        The picture has no pixels or cannot be decoded.
    """
    about = about or f"PIL {image.mode} {image.width}×{image.height}"
    with _decoding(about), _in_its_place(image) as picture:
        picture.load()  # may turn a TIFF upright, and so change its size
        return _sent(picture, size=_fitted(picture, limits), limits=limits, about=about)


def _in_its_place(image: Picture) -> AbstractContextManager[Picture]:
    """Give a picture to load in the place of this one."""
    again = _opened_again(image)
    if again is None:
        return nullcontext(image)
    if (again.size, again.mode) == (image.size, image.mode):
        return again
    again.close()  # the user had it decoded otherwise (`Image.draft`)
    return nullcontext(image)


def _opened_again(image: Picture) -> ImageFile | None:
    """Open the file of a picture that was not loaded, unless it is another file by now."""
    from PIL.ImageFile import ImageFile

    # Before Pillow 11 an attribute; since then, what is behind one that raises.
    is_loaded = getattr(image, "_im", vars(image).get("im")) is not None
    if is_loaded or not isinstance(image, ImageFile) or image.fp is None or image.tell():
        return None
    try:
        opened, now = os.fstat(image.fp.fileno()), os.stat(image.filename)
        return type(image)(image.filename) if os.path.samestat(opened, now) else None
    except (OSError, TypeError, ValueError, SyntaxError):  # no file of its own, or none any more
        return None


@contextmanager
def _decoding(what: str) -> Iterator[None]:
    """Name the picture when Pillow fails on it: decoders of damaged data raise anything."""
    try:
        yield
    except ContentError:
        raise
    except Exception as error:
        raise ContentError(
            f"{what} could not be decoded ({spelled(error)}). It may be cut short or damaged: "
            "open it in an image viewer, or save it again."
        ) from error


def _fitted(picture: Picture, limits: Limits) -> tuple[int, int]:
    return fitted_size(
        *picture.size, edge_px=limits.image_edge_px, budget_tokens=limits.image_tokens
    )


def _sent(picture: Picture, *, size: tuple[int, int], limits: Limits, about: str) -> Image:
    flat = flattened(picture, size=size)
    return encoded(flat, max_base64_bytes=limits.image_base64_bytes, about=about)


def image_from_bytes(data: bytes, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Encode the content of an image file anew, without its metadata.

    Parameters
    ----------
    data
        A PNG, JPEG, GIF, WebP, BMP, TIFF, PPM, AVIF or JPEG 2000 file; of an animation, the
        first frame.
    limits
        How large the image may become.
    about
        What it was made from, for the footer; by default the format and the size.

    Raises
    ------
    ContentError
        The data is no such file, is cut short or damaged, or holds more than 179 megapixels.
    """
    what = about or "The image"
    with _decoding(what), _opened(bytes(data), what=what) as picture:
        about = about or f"{picture.format} {picture.width}×{picture.height}"
        return _reduced_while_read(picture, limits=limits, about=about)


def _reduced_while_read(picture: ImageFile, *, limits: Limits, about: str) -> Image:
    """Let a JPEG be decoded at a half, a quarter or an eighth where that is still enough."""
    size = _fitted(picture, limits)
    if picture.draft(None, size) is None:  # no JPEG
        picture.load()
        size = _fitted(picture, limits)
    return _sent(picture, size=size, limits=limits, about=about)


def _opened(data: bytes, *, what: str) -> ImageFile:
    """Read the header alone, and refuse what would take too much memory to decode."""
    picture = _identified(data, what=what)
    pixels = picture.width * picture.height
    if pixels > _MAX_PIXELS:
        raise ContentError(
            f"{what} is {picture.width}×{picture.height} pixels ({pixels / 1e6:.0f} megapixels); "
            f"at most {_MAX_PIXELS / 1e6:.0f} are decoded. Crop it or scale it down first."
        )
    return picture


def _identified(data: bytes, *, what: str) -> ImageFile:
    """Find the plugin that reads the header.

    Not `Image.open`: whether that warns, raises or does neither on a large picture depends on
    the process's warning filters and on a global of Pillow, and both belong to the user.
    """
    import PIL.Image

    for register in (PIL.Image.preinit, PIL.Image.init):  # the common formats, then all
        register()
        for name in _FORMATS:
            factory, accepts = PIL.Image.OPEN.get(name, (None, None))
            if factory and accepts and accepts(data[:16]) is True:
                return factory(io.BytesIO(data), "")
    raise ContentError(
        f"{what} is not an image that can be read: it is none of {', '.join(_FORMATS)}. "
        "Save it as PNG or JPEG, or name an opened PIL image."
    )


def image_from_path(
    path: str | PathLike[str], *, limits: Limits = STANDARD, about: str = ""
) -> Image:
    """Encode an image file anew, without its metadata.

    Parameters
    ----------
    path
        The file; a leading ``~`` is the home folder.
    limits
        How large the image may become.
    about
        What it was made from, for the footer; by default the file's name and its size.

    Raises
    ------
    ContentError
        There is no such file, it cannot be read, or `image_from_bytes` refuses what it holds.
    """
    file, data = _content(path)
    with _decoding(str(file)), _opened(data, what=str(file)) as picture:
        about = about or f"{file.name} {picture.width}×{picture.height}"
        return _reduced_while_read(picture, limits=limits, about=about)


def _content(path: str | PathLike[str]) -> tuple[Path, bytes]:
    try:
        file = Path(path).expanduser()
        if file.is_dir():
            raise ContentError(f"{file} is a folder. Name an image file in it.")
        if file.exists() and not file.is_file():  # reading a pipe would wait for ever
            raise ContentError(f"{file} is a device or a pipe. Name an image file.")
        return file, file.read_bytes()
    except FileNotFoundError:
        raise ContentError(f"There is no file {file}. Check the name and the folder.") from None
    except (OSError, ValueError, RuntimeError) as error:
        raise ContentError(f"{path} cannot be read ({shortened(str(error))}).") from error


def image_from_array(array: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Encode a NumPy array, or what turns into one, as a picture.

    8-bit numbers are kept. Others in 0 to 1, 0 to 255 or 0 to 65535 are taken to be on that
    scale if they cover a quarter of it; everything else is scaled from its lowest to its highest
    value (see `tones.tone_range`). NaN and masked elements are white.

    Parameters
    ----------
    array
        Shape height x width, optionally x 1, 3 (RGB) or 4 (RGBA); bool, integers or floats.
    limits
        How large the image may become.
    about
        What it was made from, for the footer; by default the type and the shape.

    Raises
    ------
    ContentError
        The array is empty, or its shape or its type is not a picture's.
    """
    picture, size = picture_from_array(array, limits=limits)
    shape = "×".join(str(side) for side in array.shape)
    return _sent(picture, size=size, limits=limits, about=about or f"array {array.dtype} {shape}")


def thumbnail_png(image: Image, *, max_px: int = 96) -> bytes:
    """Make a small PNG of an image that was encoded here.

    Parameters
    ----------
    image
        An encoded image.
    max_px
        Longest side of the thumbnail, in pixels; a smaller image keeps its size.
    """
    with _opened(image.data, what="The image") as picture:
        picture.thumbnail((max_px, max_px))
        file = io.BytesIO()
        picture.save(file, "PNG")
    return file.getvalue()
