"""Pictures from PIL, bytes and files become images that are ready to send.

They leave upright, opaque on white, in sRGB, without metadata, and no larger than the server
keeps them. Pillow is imported when the first picture arrives.
"""

from __future__ import annotations

import io
import math
import os
import re
import struct
import zlib
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.content.parts import PATCH_PX, STANDARD, Image, Limits, naming_failures
from segmind_jupyter.errors import ContentError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageFile import ImageFile

#: Most pixels that are decoded: where Pillow itself refuses unless told otherwise, of grey and of a
#: JPEG, which is made smaller as it is read; of colours so many as the largest cameras have: a
#: second's work and a gigabyte. 12 KB of PNG can hold that many.
_MAX_PIXELS, _MAX_COLOUR_PIXELS = 178_956_970, 105_000_000

#: Largest encoded image: of its base64, 5 MB are sure to be taken (Anthropic's vision page).
_MAX_BYTES: Final = 3_750_000

#: The formats that are decoded, in the order tried. None of them runs a program or reads a
#: second file, as EPS and some others do.
_FORMATS: Final = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000")


def encode_image(image: Picture, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Encode a PIL image of any mode, as it stands: the current frame of an animation."""
    about = about or f"PIL {image.mode} {image.width}×{image.height}"
    again = _opened_again(image)
    with _decoding(about), again or nullcontext():
        picture, frame = image, ""
        if again is not None:
            frame = _frame_of(again, image.tell())  # counting moves to the last one
            # One that is not loaded stays so: a list of thousands would hold the pixels of all. But
            # the user may have had it decoded otherwise (`Image.draft`).
            is_unloaded = getattr(image, "_im", vars(image).get("im")) is None
            same = not image.tell() and (again.size, again.mode) == (image.size, image.mode)
            picture = again if is_unloaded and same else image
        picture.load()  # may turn a TIFF upright, and so change its size
        encoded = fitted_image(picture, size=fitted_size(*picture.size, limits), about=about)
        return _of_frames(encoded, frame)


def encode_drawing(pixels: Any, *, limits: Limits, about: str) -> Image:
    """Encode the RGBA pixels that a renderer drew, with no detour where they go as they are."""
    import numpy
    import PIL.Image

    (height, width), codes = pixels.shape[:2], pixels.view("<u4")[..., 0]
    if fitted_size(width, height, limits) == (width, height) and codes.min() >= 0xFF << 24:
        alike = numpy.count_nonzero(codes[:, 1:] == codes[:, :-1])
        data = _png_of(pixels) if alike >= _FLAT_IN_DRAWINGS * codes.size else b""
        if 0 < len(data) <= _MAX_BYTES:
            return Image(data, "image/png", width, height, about)
    return encode_image(PIL.Image.fromarray(pixels), limits=limits, about=about)


def image_from_bytes(data: bytes, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Encode the content of an image file anew, without its metadata."""
    what = about or "The image"
    with _decoding(what), _opened(bytes(data), what=what) as picture:
        about = about or f"{picture.format} {picture.width}×{picture.height}"
        frame = _frame_of(picture, 0)
        size = fitted_size(*picture.size, limits)
        # A JPEG is decoded at a half, a quarter or an eighth where that is still enough.
        if picture.draft(None, size) is None:
            picture.load()
            size = fitted_size(*picture.size, limits)
        return _of_frames(fitted_image(picture, size=size, about=about), frame)


def thumbnail_png(image: Image, *, max_px: int = 96) -> bytes:
    """Make a small PNG of an image that was encoded here."""
    with _opened(image.data, what="The image") as picture:
        small = _averageable(picture)  # a palette cannot be averaged
        small.thumbnail((max_px, max_px))
        return _saved(small, "PNG")


def shown_image(data: bytes, *, limits: Limits = STANDARD) -> Image:
    """Make an image to send of the bytes that a page showed; a PNG goes as it is if it may."""
    if len(data) <= _MAX_BYTES and is_bare(data):
        with suppress(Exception), _opened(data, what="It") as picture:  # damaged: below, in words
            picture.load()
            is_opaque = picture.mode in ("1", "L", "P", "RGB") or (
                picture.mode in ("LA", "RGBA")
                and picture.getchannel("A").getextrema() == (255, 255)
            )
            if is_opaque and fitted_size(*picture.size, limits) == picture.size:
                return Image(data, "image/png", *picture.size, "as shown")
    return image_from_bytes(data, limits=limits)


#: Chunks that hold pixels, or their size and shape, and nothing else (PNG specification).
_PNG_CHUNKS: Final = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"pHYs", b"sRGB")

#: What matplotlib writes into each PNG: its own version, which tells of nobody.
_MATPLOTLIB: Final = re.compile(rb"Software\0Matplotlib version\S{1,40}, https?://matplotlib\.org/")


def is_bare(data: bytes) -> bool:
    """Return whether these are a PNG that holds pixels and nothing else; it is not decoded."""
    at, name = 8, b""
    while data.startswith(b"\x89PNG\r\n\x1a\n") and name != b"IEND" and at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        software = name == b"tEXt" and _MATPLOTLIB.fullmatch(data, at + 8, at + 8 + length)
        if not (name in _PNG_CHUNKS or software):
            return False
        at += 12 + length  # length, name and checksum take four bytes each
    return name == b"IEND" and at == len(data)


def fitted_size(width: int, height: int, limits: Limits = STANDARD) -> tuple[int, int]:
    """Return the largest size of the same shape that the server would not scale down."""
    if width < 1 or height < 1:
        raise ContentError(f"A picture of {width}×{height} has no pixels, so nothing can be sent.")
    long_px, short_px = max(width, height), min(width, height)

    def short_of(new_long_px: int) -> int:
        return max(1, round(new_long_px * short_px / long_px))

    # The longest long side within bounds, by bisection: tokens only grow with it.
    fits, too_long = 1, min(long_px, limits.image_edge_px // PATCH_PX * PATCH_PX) + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        tokens = -(-middle // PATCH_PX) * -(-short_of(middle) // PATCH_PX)
        fits, too_long = (middle, too_long) if tokens <= limits.image_tokens else (fits, middle)
    return (fits, short_of(fits)) if width >= height else (short_of(fits), fits)


def fitted_image(picture: Picture, *, size: tuple[int, int], about: str) -> Image:
    """Scale a picture down to `size`, and encode it so that it is within the bound."""
    picture = flattened(picture, size=size)
    kind, data = "png", _png(picture) if is_drawing(picture) else b""
    for quality in (85, 70, 50):
        if 0 < len(data) <= _MAX_BYTES:
            break
        kind, data = "jpeg", _saved(picture, "JPEG", quality=quality)
    return Image(data, f"image/{kind}", *picture.size, about)


def _saved(picture: Picture, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _png(picture: Picture) -> bytes:
    """Write a PNG; one in colours by ourselves where there is NumPy."""
    if picture.mode == "RGB":
        with suppress(ImportError):
            import numpy

            pixels = numpy.frombuffer(picture.tobytes("raw", "RGBX"), "uint8")
            return _png_of(pixels.reshape(picture.height, picture.width, 4))
    return _saved(picture, "PNG", compress_level=4)


def _png_of(pixels: Any) -> bytes:
    """Write a PNG of an array of colours; the fourth byte of each is left out.

    Pillow tries five filters on every row. A palette where it is enough, or else one filter for all
    rows, takes half of its time, and is smaller than `savefig`'s file in 9 of 10 kinds of plots.
    """
    from PIL.PngImagePlugin import putchunk

    height, width = pixels.shape[:2]
    rows, palette = _indexed(pixels)
    by, level = (2, 3) if palette else _best_filter(rows)
    rows[:, 0] = by
    if by:
        rows[1:, 1:] -= rows[:-1, 1:].copy()
    file = io.BytesIO()
    file.write(b"\x89PNG\r\n\x1a\n")
    putchunk(file, b"IHDR", struct.pack(">2I5B", width, height, 8, 3 if palette else 2, 0, 0, 0))
    if palette:
        putchunk(file, b"PLTE", palette)
    putchunk(file, b"IDAT", zlib.compress(rows, level))
    putchunk(file, b"IEND")
    return file.getvalue()


def _indexed(pixels: Any) -> tuple[Any, bytes]:
    """Return the rows of a PNG, behind a byte that is free, and the palette if 256 colours do."""
    import numpy
    import PIL.Image

    height, width = pixels.shape[:2]
    if PIL.Image.fromarray(pixels[::8, :, :3]).getcolors(256):  # some rows tell, nearly always
        codes = pixels.view("<u4").ravel() & 0xFFFFFF
        ends = numpy.append(numpy.flatnonzero(codes[1:] != codes[:-1]), codes.size - 1)
        colours, numbers = numpy.unique(codes[ends], return_inverse=True)
        if colours.size <= 256:
            numbers = numbers.astype("uint8").repeat(numpy.diff(ends, prepend=-1))
            rows = numpy.pad(numbers.reshape(height, width), ((0, 0), (1, 0)))
            return rows, colours.view("uint8").reshape(-1, 4)[:, :3].tobytes()
    rows = numpy.empty((height, 1 + 3 * width), "uint8")
    for channel in range(3):  # twice as fast as all at once
        rows[:, 1 + channel :: 3] = pixels[..., channel]
    return rows, b""


def _best_filter(rows: Any) -> tuple[int, int]:
    """Choose a filter, and a level for zlib, by a few bands: none where that is nearly as small."""
    import numpy

    height, width = rows.shape
    tops = range(height // 8, height, 200)
    bands = [rows[top : top + 17, width // 4 : -(width // 4)] for top in tops]
    plain = zlib.compress(numpy.concatenate([band[1:] for band in bands]).data, 3)
    # Each row without the one above it.
    steps = zlib.compress(numpy.concatenate([band[1:] - band[:-1] for band in bands]).data, 5)
    return (2, 5) if len(plain) > 1.05 * len(steps) else (0, 3)


#: Share of neighbouring pixels of one grey above which a picture is a drawing. Measured, at the
#: size that is sent: plots 0.55 to 0.96, a screenshot full of text 0.63, photos 0.06 to 0.17.
_FLAT_IN_DRAWINGS: Final = 0.4


def is_drawing(picture: Picture) -> bool:
    """Tell a plot, a mask or a screenshot from a photo by how often neighbours are equal."""
    from PIL import ImageChops

    width, height = picture.size
    if width * height <= 32 * 32:  # small anyway, and exact as a PNG
        return True
    # A quarter of the rows tell, or of the columns. The pixels at the edge meet the opposite ones.
    for size, by in (((width, -(-height // 4)), (1, 0)), ((-(-width // 4), height), (0, 1))):
        grey = picture.resize(size, 0).convert("L")
        step = ImageChops.difference(grey, ImageChops.offset(grey, *by))
        if step.histogram()[0] >= _FLAT_IN_DRAWINGS * grey.width * grey.height:
            return True
    return False


#: The EXIF tag that says how the camera was held.
_ORIENTATION: Final = 0x0112


def flattened(picture: Picture, *, size: tuple[int, int]) -> Picture:
    """Make a picture of `size` that carries pixels and nothing else."""
    import PIL.Image
    from PIL import ImageChops, ImageOps

    picture.load()
    flat = _averageable(picture)
    if flat.mode == "RGBA" and ImageChops.invert(flat.getchannel("A")).getbbox() is None:
        flat = flat.convert("RGB")
    if flat is picture or flat.size != size:
        # Whole factors are averaged away first: half the time, at an SSIM of 0.997.
        flat = flat.resize(size, PIL.Image.Resampling.LANCZOS, reducing_gap=1.5)
    if flat.mode == "RGBA":
        paper = PIL.Image.new("RGB", flat.size, "white")
        paper.paste(flat, mask=flat.getchannel("A"))
        flat = paper
    flat = _in_srgb(flat, picture.info.get("icc_profile"))
    flat.info = {}
    # What Pillow raises on EXIF that it cannot read; a warning where the user made these errors.
    with suppress(OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error, Warning):
        flat.getexif()[_ORIENTATION] = picture.getexif()[_ORIENTATION]
    ImageOps.exif_transpose(flat, in_place=True)
    flat.info = {}
    return flat


def _averageable(picture: Picture) -> Picture:
    """Convert to L, RGB, RGBA or CMYK, the modes in which averaging neighbours is right."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return _toned(picture)
    if picture.mode == "La":  # converts to nothing but LA
        return picture.convert("LA").convert("RGBA")
    if picture.has_transparency_data and picture.mode != "RGBA":
        return picture.convert("RGBA")
    if picture.mode == "1":
        return picture.convert("L")
    return picture if picture.mode in ("L", "RGB", "RGBA", "CMYK") else picture.convert("RGB")


def _in_srgb(picture: Picture, profile: bytes | None) -> Picture:
    """Convert from a colour profile; one that is broken or meant for other channels is ignored."""
    if profile:
        with suppress(Exception):  # Pillow may lack LittleCMS, whose errors are of many kinds
            from PIL import ImageCms

            own, srgb = io.BytesIO(profile), ImageCms.createProfile("sRGB")
            if made := ImageCms.profileToProfile(picture, own, srgb, outputMode="RGB"):
                return made
    return picture.convert("RGB") if picture.mode == "CMYK" else picture


#: The scales that pictures are kept in: fractions, 8 bits and 16 bits. Zero is black.
_FULL_SCALES: Final = (1, 255, 65_535)

#: Values that cover a smaller share of their scale are stretched to all of it, as by plotting tools
#: too: 12-bit counts in 16 bits, or a thermal frame of 29000 to 31000, would go out black or flat.
_LEAST_SHARE: Final = 0.25

#: Ends of a range that is wider than the largest float; what lies beyond is clipped.
_FAR: Final = 2.0**1022


def tone_range(low: float, high: float) -> tuple[float, float]:
    """Choose what is shown as black and as white: the ends of a known scale, or of the values.

    A scale (0 to 1, 255 or 65535) is known where at least a quarter of it is covered; values that
    are all the same, and on none, are half-way between the two.
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
    """Return the white of the smallest scale (1, 255, 65535) that holds `high`, or the largest."""
    return next((white for white in _FULL_SCALES if high <= white), _FULL_SCALES[-1])


def eight_bit(pixels: Any) -> Any:
    """Scale a NumPy array to 8 bits a channel by `tone_range`; what is missing is white."""
    import numpy

    with numpy.errstate(over="ignore", invalid="ignore"):  # beyond 64 bits is infinite
        values = pixels.astype("float64")
        values = values.filled(numpy.nan) if hasattr(values, "filled") else numpy.asarray(values)
        alpha = values[..., 3:] if values.shape[2:] == (4,) else None
        colours = values if alpha is None else values[..., :3]
        black, white = tone_range(*_ends(colours))
        shares = (colours - numpy.float64(black)) / (numpy.float64(white) - black)
        if alpha is not None:  # on its own scale
            shares = numpy.concatenate((shares, alpha / full_scale(_ends(alpha)[1])), axis=2)
    shares = numpy.fmin(shares, 1)  # of a number and NaN, fmin takes the number
    return (numpy.maximum(shares, 0) * 255 + 0.5).astype("uint8")


def _ends(values: Any) -> tuple[float, float]:
    """Find the lowest and the highest finite value; zeros if there is none."""
    import numpy

    finite = values[numpy.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _toned(picture: Picture) -> Picture:
    """Scale a picture of numbers to 8-bit grey (mode L)."""
    import PIL.Image

    try:
        import numpy
    except ImportError:
        raise ContentError(
            f"A picture of mode {picture.mode} takes NumPy to be scaled: run `%pip install numpy`, "
            "or save it with 8 bits a channel."
        ) from None
    return PIL.Image.fromarray(eight_bit(numpy.asarray(picture)))


def _decoding(what: str) -> AbstractContextManager[None]:
    """Name the picture when Pillow fails on it."""
    advice = "It may be cut short or damaged: open it in an image viewer, or save it again."
    return naming_failures(f"{what} could not be decoded", advice)


def _opened(data: bytes, *, what: str) -> ImageFile:
    """Read the header alone, and refuse what would take too much memory to decode."""
    import PIL.Image

    for register in (PIL.Image.preinit, PIL.Image.init):  # the common formats, then all
        register()
        for name in _FORMATS:
            factory, accepts = PIL.Image.OPEN.get(name, (None, None))
            if not (factory and accepts and accepts(data[:16]) is True):
                continue
            picture = factory(io.BytesIO(data), "")
            pixels = picture.width * picture.height
            is_light = picture.mode in ("1", "L") or name == "JPEG"
            most = _MAX_PIXELS if is_light else _MAX_COLOUR_PIXELS
            if pixels > most:
                raise ContentError(
                    f"{what} is {picture.width}×{picture.height} pixels ({pixels / 1e6:.0f} "
                    f"megapixels); at most {most / 1e6:.0f} are decoded. Crop it or scale it down "
                    "first."
                )
            return picture
    raise ContentError(
        f"{what} is not an image that can be read: it is none of {', '.join(_FORMATS)}. "
        "Save it as PNG or JPEG, or name an opened PIL image."
    )


def _opened_again(image: Picture) -> ImageFile | None:
    """Open the file of a picture a second time, unless it is another file by now."""
    from PIL.ImageFile import ImageFile

    if not isinstance(image, ImageFile) or getattr(image, "fp", None) is None:
        return None
    try:
        if isinstance(image.fp, io.BytesIO):
            return type(image)(io.BytesIO(image.fp.getvalue()))
        file: Any = image.fp
        opened, now = os.fstat(file.fileno()), os.stat(image.filename)
        return type(image)(image.filename) if os.path.samestat(opened, now) else None
    except (OSError, TypeError, ValueError, SyntaxError):  # no file of its own, or none any more
        return None


def _frame_of(picture: Picture, position: int) -> str:
    """Say which frame goes where there are more: ``"page 1 of 3"``; nothing of a single one."""
    count = int(getattr(picture, "n_frames", 1))
    noun = "page" if getattr(picture, "format", "") == "TIFF" else "frame"
    return f"{noun} {position + 1:,} of {count:,}" if count > 1 else ""


def _of_frames(image: Image, frame: str) -> Image:
    """Return the image with a word on the frames that did not go, and how to send them."""
    if not frame:
        return image
    note = (
        f"Of the image, {frame} went. To send all: `from PIL import Image, ImageSequence`, then "
        "`frames = [f.copy() for f in ImageSequence.Iterator(Image.open(path))]` and `{frames}`."
    )
    return replace(image, left_out=frame, notes=(*image.notes, note))
