"""An array becomes a picture if it looks like one, in any order of its axes, and else a summary.

Those of other libraries come here as the NumPy arrays that they were read into.
"""

from __future__ import annotations

import math
from typing import Any, Final

from segmind_jupyter.content.array_summary import about_array, array_title, summarize_array
from segmind_jupyter.content.images import image_from_array, is_image_array
from segmind_jupyter.content.parts import STANDARD, Limits, Part
from segmind_jupyter.content.text import as_text, literal

#: How many channels a picture has.
_CHANNELS: Final = (1, 3, 4)

#: Of more elements (a memory map of a disk, say) evenly spaced rows and columns tell the scale.
_READ_ELEMENTS: Final = 50_000_000


def array_part(
    array: Any,
    *,
    limits: Limits = STANDARD,
    name: str | None = None,
    title: str | None = None,
    about: str | None = None,
    is_whole: bool = True,
    channels_first: bool = True,
) -> Part:
    """Make the picture or the summary of a NumPy array.

    ============================  ========================================================
    shape                         a picture when
    ============================  ========================================================
    3 x height x width            both sides are at least 8
    1 or 4 x height x width       besides, the values are bytes or lie in -1 to 1 or 0 to
                                  255: sequences in a batch have this shape too
    1 x channels x height x       the same holds of its only element
    width
    anything else                 `pixels.is_image_array` says so
    ============================  ========================================================

    A batch of more pictures is summarized, with the advice to name one.

    Parameters
    ----------
    array
        A ``numpy.ndarray`` of any shape and dtype.
    limits
        How large the picture or the summary may become.
    name
        What the user calls the array.
    title, about
        What to call its type and shape, where it stands for an object of another library.
    is_whole
        Whether it is all of that object: a part of it is no picture.
    channels_first
        Whether the channels may stand first.
    """
    if not array.ndim:
        return as_text(literal(array[()]), limits=limits)
    if is_whole:
        picture = _channels_last(_only(array)) if channels_first else _only(array)
        if is_image_array(picture):
            return image_from_array(picture, limits=limits, about=about or about_array(array))
    advice = f"; a batch of pictures? name one: {name or 'x'}[0]" if _is_batch(array) else ""
    title = (title or array_title(array)) + advice
    return summarize_array(array, limits=limits, name=name, title=title, about=about)


def _only(array: Any) -> Any:
    """Take the picture out of a batch of one."""
    return array[0] if array.ndim == 4 and array.shape[0] == 1 else array


def _channels_last(array: Any) -> Any:
    """Move the channels of a picture last, if they stand first."""
    if array.ndim != 3 or array.shape[0] not in _CHANNELS or array.shape[2] in _CHANNELS:
        return array
    is_picture = array.shape[0] == 3 or _is_on_a_scale(array)
    return array.transpose(1, 2, 0) if is_picture else array


def _is_on_a_scale(array: Any) -> bool:
    if array.dtype == "uint8" or not array.size:
        return True
    step = math.ceil(math.sqrt(array.size / _READ_ELEMENTS))
    values = array[:, ::step, ::step]
    if hasattr(values, "compressed"):  # the masked ones have no value
        values = values.compressed()
    if array.dtype.kind not in "buif" or not values.size:
        return False
    low, high = float(values.min()), float(values.max())
    return (low >= -1 and high <= 1) or (low >= 0 and high <= 255)


def _is_batch(array: Any) -> bool:
    return array.ndim == 4 and (array.shape[1] in _CHANNELS or array.shape[3] in _CHANNELS)
