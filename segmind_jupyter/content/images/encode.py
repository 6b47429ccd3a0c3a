"""Pictures from PIL, arrays, bytes and files become images that are ready to send.

These are the doors; `pictures`, `pixels` and `encoding` do the work. Pillow is imported when the
first picture arrives.
"""

from __future__ import annotations

import array
import io
import math
import os
import re
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from segmind_jupyter.content.parts import PATCH_PX, STANDARD, Image, Limits, format_error
from segmind_jupyter.errors import ContentError, shortened

if TYPE_CHECKING:
    from os import PathLike

    from PIL.Image import Image as Picture
    from PIL.ImageFile import ImageFile


#: The scales that pictures are kept in: fractions, 8 bits and 16 bits. Zero is black.
_FULL_SCALES = (1, 255, 65_535)

#: Values that cover less than this share of their scale (64 of 256 greys) are stretched to all
#: of it: 12-bit counts in 16 bits, or a thermal frame of 29000 to 31000, would go out black or
#: flat, and plotting libraries stretch them too.
_LEAST_SHARE = 0.25

#: Ends of a range that is wider than the largest float; what lies beyond is clipped.
_FAR = 2.0**1022


def tone_range(low: float, high: float) -> tuple[float, float]:
    """Choose the values that are shown as black and as white.

    =============================================  ==========================
    values                                         black and white
    =============================================  ==========================
    0 to 1, 0 to 255 or 0 to 65535, and covering   0 and 1, 255 or 65535
    at least a quarter of that scale
    anything else                                  the lowest and the highest
    all the same, and on none of those scales      half-way between the two
    =============================================  ==========================
    """
    white = full_scale(high)
    on_scale = low >= 0 and high <= white
    if on_scale and (low == high or high - low >= white * _LEAST_SHARE):
        return 0, white
    if low == high:
        low, high = low - abs(low), high + abs(high)
    if math.isinf(high - low):
        return max(low, -_FAR), min(high, _FAR)
    return low, high


def full_scale(high: float) -> float:
    """Give the white of the smallest scale (1, 255 or 65535) that holds `high`, or the largest."""
    return next((white for white in _FULL_SCALES if high <= white), _FULL_SCALES[-1])


def is_numeric(picture: Picture) -> bool:
    """Give whether the pixels are numbers of more than 8 bits: modes I, F and I;16 of any kind."""
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def toned(picture: Picture) -> Picture:
    """Scale a picture of numbers to 8-bit grey (mode L), by the rule of `tone_range`.

    Infinities are drawn as the nearest end, NaN as white: nothing was measured there, so the
    paper shows.
    """
    numbers = picture if picture.mode in ("I", "F") else _ordered(picture).convert("I")
    if numbers.mode == "F" and not _is_finite(numbers):
        black, white = tone_range(*_finite_bounds(_values(numbers)))
        numbers = _filled(numbers, black, white)
    else:
        low, high = numbers.getextrema()
        black, white = tone_range(float(low), float(high))  # type: ignore[arg-type]
    scale = 255 / (white - black)
    return numbers.point(lambda value: value * scale + (0.5 - black * scale)).convert("L")


def _ordered(picture: Picture) -> Picture:
    """Name the byte order of I;16N ("native"), which older versions of Pillow clip to 8 bits."""
    import PIL.Image

    if picture.mode != "I;16N":
        return picture
    mode = "I;16" if sys.byteorder == "little" else "I;16B"
    return PIL.Image.frombytes(mode, picture.size, picture.tobytes())


def _is_finite(picture: Picture) -> bool:
    """Average all pixels in C: one NaN or infinity makes the mean one too."""
    import PIL.Image

    mean = picture.resize((1, 1), PIL.Image.Resampling.BOX).getpixel((0, 0))
    return math.isfinite(mean)  # type: ignore[arg-type]


def _values(picture: Picture) -> array.array[float]:
    return array.array("f", picture.tobytes())


def _finite_bounds(values: Iterable[float]) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for value in filter(math.isfinite, values):
        low, high = min(low, value), max(high, value)
    return (low, high) if low <= high else (0.0, 0.0)


def _filled(picture: Picture, black: float, white: float) -> Picture:
    """Replace NaN and infinities in a picture of mode F by the values that show as intended."""
    import PIL.Image

    shown = array.array("f", (_shown(value, black, white) for value in _values(picture)))
    return PIL.Image.frombytes("F", picture.size, shown.tobytes())


def _shown(value: float, black: float, white: float) -> float:
    return white if math.isnan(value) else min(max(value, black), white)


def fitted_size(
    width: int,
    height: int,
    *,
    edge_px: int = STANDARD.image_edge_px,
    budget_tokens: int = STANDARD.image_tokens,
) -> tuple[int, int]:
    """Return the largest size of the same shape that the server would not scale down.

    A size is within bounds when both sides, padded to whole 28-pixel patches, are at most
    `edge_px`, and its patches are at most `budget_tokens` (Anthropic's vision page). A picture
    that is within bounds keeps its size: nothing is ever enlarged.
    """
    if width < 1 or height < 1:
        raise ContentError(f"A picture of {width}×{height} has no pixels, so nothing can be sent.")
    if edge_px < PATCH_PX or budget_tokens < 1:
        raise ContentError(
            f"No picture fits an edge of {edge_px} px and {budget_tokens} tokens: "
            f"allow at least {PATCH_PX} px and 1 token."
        )
    long_px = _longest(max(width, height), min(width, height), edge_px, budget_tokens)
    short_px = _short_side(long_px, max(width, height), min(width, height))
    return (long_px, short_px) if width >= height else (short_px, long_px)


def _longest(long_px: int, short_px: int, edge_px: int, budget_tokens: int) -> int:
    """Find the longest long side within bounds, by bisection: tokens only grow with it."""
    fits, too_long = 1, min(long_px, edge_px // PATCH_PX * PATCH_PX) + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _tokens(middle, _short_side(middle, long_px, short_px)) <= budget_tokens:
            fits = middle
        else:
            too_long = middle
    return fits


def _short_side(new_long_px: int, long_px: int, short_px: int) -> int:
    return max(1, round(new_long_px * short_px / long_px))


def _tokens(width: int, height: int) -> int:
    return -(-width // PATCH_PX) * -(-height // PATCH_PX)


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
    """
    if not is_bare(data) or -(-len(data) // 3) * 4 > limits.image_base64_bytes:
        return image_from_bytes(data, limits=limits)
    return _as_it_is(data, limits) or image_from_bytes(data, limits=limits)


def is_bare(data: bytes) -> bool:
    """Return whether an image file is a PNG or a baseline JPEG that holds pixels and nothing else.

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
    """
    about = about or f"PIL {image.mode} {image.width}×{image.height}"
    with _decoding(about), _in_its_place(image) as picture:
        picture.load()  # may turn a TIFF upright, and so change its size
        return fitted_image(picture, size=_fitted(picture, limits), limits=limits, about=about)


def _in_its_place(image: Picture) -> AbstractContextManager[Picture]:
    """Return a picture to load in the place of this one."""
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
            f"{what} could not be decoded ({format_error(error)}). It may be cut short or damaged: "
            "open it in an image viewer, or save it again."
        ) from error


def _fitted(picture: Picture, limits: Limits) -> tuple[int, int]:
    return fitted_size(
        *picture.size, edge_px=limits.image_edge_px, budget_tokens=limits.image_tokens
    )


def fitted_image(picture: Picture, *, size: tuple[int, int], limits: Limits, about: str) -> Image:
    """Scale a picture down to `size`, and encode it."""
    flat = flattened(picture, size=size)
    return encoded(flat, max_base64_bytes=limits.image_base64_bytes, about=about)


def image_from_bytes(data: bytes, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Encode the content of an image file anew, without its metadata."""
    what = about or "The image"
    with _decoding(what), _images_opened(bytes(data), what=what) as picture:
        about = about or f"{picture.format} {picture.width}×{picture.height}"
        return _reduced_while_read(picture, limits=limits, about=about)


def _reduced_while_read(picture: ImageFile, *, limits: Limits, about: str) -> Image:
    """Let a JPEG be decoded at a half, a quarter or an eighth where that is still enough."""
    size = _fitted(picture, limits)
    if picture.draft(None, size) is None:  # no JPEG
        picture.load()
        size = _fitted(picture, limits)
    return fitted_image(picture, size=size, limits=limits, about=about)


def _images_opened(data: bytes, *, what: str) -> ImageFile:
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
    """Encode an image file anew, without its metadata."""
    file, data = _content(path)
    with _decoding(str(file)), _images_opened(data, what=str(file)) as picture:
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


def thumbnail_png(image: Image, *, max_px: int = 96) -> bytes:
    """Make a small PNG of an image that was encoded here."""
    with _images_opened(image.data, what="The image") as picture:
        picture.thumbnail((max_px, max_px))
        file = io.BytesIO()
        picture.save(file, "PNG")
    return file.getvalue()
