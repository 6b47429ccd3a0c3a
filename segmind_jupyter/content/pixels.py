"""NumPy arrays, and what turns into one, become pictures, a band of rows at a time.

NumPy itself is never imported: whoever holds an array has done so already.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from segmind_jupyter.content.sizing import fitted_size
from segmind_jupyter.content.tones import full_scale, tone_range
from segmind_jupyter.errors import ContentError, shortened

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from segmind_jupyter.content.parts import Limits

#: Numbers that are converted to floats at once, however large the array: 2 MB of them, which
#: stay in the processor's cache.
_BAND_VALUES = 250_000

#: Of more numbers than these (a memory map of a disk, say) evenly spaced rows and columns are
#: read: two seconds' work, and still more pixels than are ever sent.
_READ_VALUES = 50_000_000

#: Pixels that are kept for each one sent, along each side, before the final resize: the
#: margin that Pillow's own `Image.thumbnail` takes.
_KEPT_PER_SENT = 2

#: A 2-D array of less is a matrix to be read, not a picture.
_LEAST_SIDE_PX = 16

#: The same where the type (uint8) or the shape (three or four channels) already says picture.
_LEAST_SIDE_LIKELY_PX = 8

#: A 2-D array that is longer than this many times its width is a table of columns.
_MOST_ELONGATED = 16

#: Names of the element types that a picture can have.
_PIXEL_TYPE = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64|96|128)")

#: Pillow's mode for what follows height and width in the shape.
_MODES = {(): "L", (3,): "RGB", (4,): "RGBA"}


def is_image_array(array: Any) -> bool:
    """Tell whether an array looks like a picture rather than a table of numbers.

    ========================  =============================================================
    shape                     a picture when
    ========================  =============================================================
    height x width            both sides are at least 16 (8 for uint8), and the longer is
                              at most 16 times the shorter
    height x width x 3 or 4   uint8; any other number when both sides are at least 8
    height x width x 1        both sides are at least 16 (8 for uint8)
    anything else             never
    ========================  =============================================================

    Three channels are taken for red, green and blue, as scikit-image, imageio, Pillow and
    matplotlib order them; an array does not say. OpenCV reads blue first: name
    ``image[..., ::-1]``.

    Parameters
    ----------
    array
        Anything; only what has `shape`, `dtype` and NumPy's array protocol can be a picture.
    """
    if not (hasattr(array, "__array__") or hasattr(array, "__array_interface__")):
        return False
    shape: tuple[int, ...] = tuple(getattr(array, "shape", ()))
    channels, kind = _channels(shape), _type_name(array)
    if channels is None or not _PIXEL_TYPE.fullmatch(kind) or 0 in shape:
        return False
    short_px, long_px = sorted(shape[:2])
    if len(shape) == 2 and long_px > short_px * _MOST_ELONGATED:
        return False
    return short_px >= _least_side_px(kind, channels)


def _channels(shape: tuple[int, ...]) -> int | None:
    """Count the channels of a picture of this shape; None if it is not a picture's."""
    if len(shape) == 2:
        return 1
    return shape[2] if len(shape) == 3 and shape[2] in (1, 3, 4) else None


def _type_name(array: Any) -> str:
    """Name the type of the elements: NumPy's dtypes have a name, torch's only a text."""
    dtype = getattr(array, "dtype", "")
    return str(getattr(dtype, "name", dtype)).rpartition(".")[2]


def _least_side_px(kind: str, channels: int) -> int:
    is_colour, is_8_bit = channels > 1, kind == "uint8"
    if is_colour and is_8_bit:
        return 1
    return _LEAST_SIDE_LIKELY_PX if is_colour or is_8_bit else _LEAST_SIDE_PX


def picture_from_array(array: Any, *, limits: Limits) -> tuple[Picture, tuple[int, int]]:
    """Draw an array as a picture of mode L, RGB or RGBA.

    8-bit numbers are kept; others are scaled by the rule of `tones.tone_range`, over all
    channels but the alpha at once. NaN and masked elements are drawn white. An array that is
    far larger than what is sent is averaged over blocks on the way; of more than 50 million
    values, evenly spaced rows and columns are read.

    Parameters
    ----------
    array
        Shape height x width, optionally x 1, 3 (RGB) or 4 (RGBA); bool, integers or floats. It
        may be read-only, strided or reversed, and is not changed.
    limits
        How large the sent picture may become.

    Returns
    -------
    picture
        At least as large as what is to be sent.
    tuple of int
        Width and height to send, in pixels.

    Raises
    ------
    ContentError
        The array is empty, or its shape or its type is not a picture's.
    """
    import PIL.Image

    given = _checked(array)
    size = fitted_size(
        given.shape[1],
        given.shape[0],
        edge_px=limits.image_edge_px,
        budget_tokens=limits.image_tokens,
    )
    pixels = _thinned(given)
    height, width = pixels.shape[:2]
    factor = max(1, min(width // size[0], height // size[1]) // _KEPT_PER_SENT)
    reduced_size = (-(-width // factor), -(-height // factor))
    picture = PIL.Image.new(_MODES[pixels.shape[2:]], reduced_size)
    tones = _tones(pixels)
    for top, band in _bands(pixels, multiple=factor):
        drawn = PIL.Image.fromarray(_drawn(band, tones))
        picture.paste(drawn.reduce(factor), (0, top // factor))
    return picture, size


def grey_ends(array: Any) -> tuple[float, float]:
    """Give the values that `picture_from_array` draws as black and as white."""
    return (_tones(_thinned(_checked(array))) or (0.0, 255.0, 1.0))[:2]


def _checked(array: Any) -> Any:
    """Make it a NumPy array, of height x width or height x width x 3 or 4."""
    pixels = _as_numpy(array)
    if pixels.dtype.kind not in "buif":
        made = "abs(array)" if pixels.dtype.kind == "c" else "array.astype(float)"
        raise ContentError(f"An array of {pixels.dtype} is no picture. Name {made} instead.")
    if 0 in pixels.shape:
        raise ContentError(f"An array of shape {pixels.shape} is empty: there is nothing to send.")
    if _channels(pixels.shape) is None:
        raise ContentError(_shape_advice(pixels.shape))
    return pixels[:, :, 0] if pixels.shape[2:] == (1,) else pixels


def _thinned(pixels: Any) -> Any:
    step = math.ceil(math.sqrt(pixels.size / _READ_VALUES))
    return pixels[::step, ::step] if step > 1 else pixels


def _as_numpy(array: Any) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None:
        raise ContentError(
            f"A {type(array).__name__} is read through NumPy, which is not loaded: "
            "run `import numpy` and try again."
        )
    try:
        return numpy.asanyarray(array)  # a masked array stays masked
    except Exception as error:
        raise ContentError(
            f"A {type(array).__name__} did not turn into an array ({shortened(str(error))}). "
            "Name a NumPy array made from it."
        ) from error


def _shape_advice(shape: tuple[int, ...]) -> str:
    said = f"An array of shape {shape} is no picture: height x width, or x 1, 3 or 4 channels, is."
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return f"{said} Move the channels last: array.transpose(1, 2, 0)."
    return f"{said} Name one picture of it, such as array[0]."


def _bands(pixels: Any, *, multiple: int = 1) -> Iterator[tuple[int, Any]]:
    """Cut into bands of a bounded number of values, each a `multiple` of rows but the last."""
    rows = multiple * max(1, _BAND_VALUES // (pixels[0].size * multiple))
    for top in range(0, pixels.shape[0], rows):
        yield top, pixels[top : top + rows]


#: Black and white of the colours, and white of the alpha; None where 8 bits are kept.
_Tones = tuple[float, float, float] | None


def _tones(pixels: Any) -> _Tones:
    if pixels.dtype == "uint8" and not hasattr(pixels, "filled"):
        return None
    if not _has_alpha(pixels):
        return *tone_range(*_bounds(pixels)), 1
    _, most_opaque = _bounds(pixels[..., 3])
    return *tone_range(*_bounds(pixels[..., :3])), full_scale(most_opaque)


def _has_alpha(pixels: Any) -> bool:
    return bool(pixels.shape[2:] == (4,))


def _bounds(pixels: Any) -> tuple[float, float]:
    """Find the lowest and the highest finite value; zeros if there is none."""
    bounds = [pair for _, band in _bands(pixels) for pair in _band_bounds(_floats(band))]
    return min(bounds, default=0.0), max(bounds, default=0.0)


def _band_bounds(values: Any) -> tuple[float, ...]:
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        values = values[sys.modules["numpy"].isfinite(values)]
        if not values.size:
            return ()
        low, high = float(values.min()), float(values.max())
    return low, high


def _floats(band: Any) -> Any:
    """Give 64-bit floats, NaN where an element is masked."""
    numpy = sys.modules["numpy"]
    with numpy.errstate(over="ignore"):  # beyond 64 bits is infinite, and drawn as the end
        floats = band.astype("float64")
    return floats.filled(numpy.nan) if hasattr(floats, "filled") else numpy.asarray(floats)


def _drawn(band: Any, tones: _Tones) -> Any:
    """Scale a band to 8 bits a channel, contiguous."""
    numpy = sys.modules["numpy"]
    if tones is None:
        return numpy.ascontiguousarray(band)
    black, white, opaque = tones
    values = _floats(band)
    if not _has_alpha(band):
        return _eight_bit(values, black, white)
    colours = _eight_bit(values[..., :3], black, white)
    return numpy.dstack([colours, _eight_bit(values[..., 3], 0, opaque)])


def _eight_bit(values: Any, black: float, white: float) -> Any:
    numpy = sys.modules["numpy"]
    with numpy.errstate(over="ignore", invalid="ignore"):
        shares = (values - black) / (white - black)
    numpy.fmin(shares, 1, out=shares)  # of a number and NaN, fmin takes the number: white
    numpy.maximum(shares, 0, out=shares)
    return (shares * 255 + 0.5).astype("uint8")
