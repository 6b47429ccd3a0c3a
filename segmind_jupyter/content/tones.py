"""Numbers become shades of grey: which value is black and which is white.

Pixels of 16 bits and more and floats carry no such convention, so it is read from the values.
"""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

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

    Parameters
    ----------
    low, high
        Lowest and highest finite value of the picture.

    Returns
    -------
    tuple of float
        The values of black and of white; never the same.
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
    """Tell whether the pixels are numbers of more than 8 bits: modes I, F and I;16 of any kind."""
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
