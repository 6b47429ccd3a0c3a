"""Arrays and tensors: a picture where one looks like it, in any order of its axes, else numbers.

Those of other libraries are read into NumPy's.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from segmind_jupyter.content import parts
from segmind_jupyter.content.images.encode import eight_bit, fitted_image, fitted_size
from segmind_jupyter.content.parts import STANDARD, Image, Limits, Part, Text
from segmind_jupyter.content.tables import cell
from segmind_jupyter.content.text import as_text, listed, listing, literal, of_all
from segmind_jupyter.errors import ContentError

#: Names of the element types that a picture can have.
_PIXEL_TYPE: Final = re.compile(r"bool|u?int(8|16|32|64)|float(16|32|64|96|128)")

#: How many channels a picture has.
_CHANNELS: Final = frozenset({1, 3, 4})

#: Numbers that are no bytes make a picture from this side on: smaller ones are matrices to read.
_LEAST_SIDE_PX: Final = 64

#: The same where type or values already say picture: masks and colours, and bytes.
_LEAST_SIDE_LIKELY_PX, _LEAST_SIDE_BYTES_PX = 16, 8

#: Neighbours of a picture are alike: photos have a correlation above 0.9, noisy scans above 0.6;
#: features, counts and correlation matrices are near 0 in one direction at least.
_LEAST_SMOOTHNESS: Final = 0.5

#: Larger arrays (a memory map of a disk, say) are not read for their range and mean.
_READ_ELEMENTS: Final = 50_000_000

#: Of more numbers than these evenly spaced rows and columns are drawn; bytes are not converted.
_DRAWN_VALUES, _DRAWN_BYTES = 8_000_000, 200_000_000


def array_part(
    array: Any,
    *,
    limits: Limits = STANDARD,
    name: str | None = None,
    title: str | None = None,
    about: str | None = None,
) -> Part:
    """Make the picture or the summary of a NumPy array, with a note on how to have the other."""
    if not array.ndim:
        return as_text(literal(array[()]), limits=limits)
    one = array[0] if array.ndim == 4 and array.shape[0] == 1 else array
    is_first = one.ndim == 3 and one.shape[0] in _CHANNELS and one.shape[2] not in _CHANNELS
    picture = one.transpose(1, 2, 0) if is_first else one
    called = name or "x"
    if is_image_array(picture):
        image = image_from_array(picture, limits=limits, about=about or about_array(array))
        if picture.dtype == "uint8":
            return image
        flat = called if array.ndim == 2 else f"{called}.reshape(len({called}), -1)"
        note = f"`{called}` went as a picture; `pd.DataFrame({flat})` would send its numbers."
        return replace(image, notes=(note,))
    is_batch = array.ndim == 4 and not _CHANNELS.isdisjoint(array.shape[1::2])
    advice = f"; a batch of pictures? name one: {called}[0]" if is_batch else ""
    title = (title or array_title(array)) + advice
    text = summarize_array(array, limits=limits, name=name, title=title, about=about)
    if _channels(picture) is None or min(picture.shape[:2]) < _LEAST_SIDE_LIKELY_PX:
        return text
    made = f'{called}.astype("float32")'
    if picture.ndim == 3:
        made = f'(255 * ({called} - {called}.min()) / np.ptp({called})).astype("uint8")'
    note = f"`{called}` went as numbers; `PIL.Image.fromarray({made})` would send a picture."
    return replace(text, notes=(*text.notes, note))


def is_image_array(array: Any) -> bool:
    """Return whether an array looks like a picture rather than a table of numbers.

    Bytes with 3 or 4 channels do, masks, and other numbers that are alike from pixel to pixel.
    Three channels are taken for red, green and blue: an array does not say that they are OpenCV's.
    """
    if not (hasattr(array, "__array__") or hasattr(array, "__array_interface__")):
        return False
    dtype = getattr(array, "dtype", "")  # NumPy's have a name, torch's only a text
    kind = str(getattr(dtype, "name", dtype)).rpartition(".")[2]
    channels = _channels(array)
    if channels is None or not _PIXEL_TYPE.fullmatch(kind):
        return False
    short_px, long_px = sorted(array.shape[:2])
    is_colour = channels > 1
    if not is_colour and long_px > short_px * 16:  # a table of columns
        return False
    if kind == "uint8":
        return is_colour or short_px >= _LEAST_SIDE_BYTES_PX
    if kind == "bool" or short_px < _LEAST_SIDE_LIKELY_PX:
        return kind == "bool" and short_px >= _LEAST_SIDE_LIKELY_PX
    is_small = short_px < _LEAST_SIDE_PX
    return (is_colour or not is_small) and _looks_smooth(array, is_small=is_small)


def _channels(array: Any) -> int | None:
    """Return how many channels a picture of this shape has; `None` if it is not a picture's."""
    shape: tuple[int, ...] = tuple(getattr(array, "shape", ()))
    if 0 in shape or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in _CHANNELS):
        return None
    return shape[2] if len(shape) == 3 else 1


def _looks_smooth(array: Any, *, is_small: bool) -> bool:
    """Return whether neighbours are alike down and across; small ones must lie in 0 to 1 too."""
    numpy = sys.modules.get("numpy")
    try:
        pixels = numpy.asanyarray(array)  # type: ignore[union-attr]
    except Exception:  # noqa: BLE001 - on a device, say: its shape is that of a picture
        return True
    step = max(1, math.isqrt(pixels.size // 250_000))
    for axis in (0, 1):
        across = pixels.swapaxes(0, axis)
        pairs = [_floats(part[::step, ::step]).ravel() for part in (across[:-1], across[1:])]
        # Not far from zero, or squares would overflow; what is missing is no neighbour.
        known = numpy.isfinite(pairs[0]) & numpy.isfinite(pairs[1])  # type: ignore[union-attr]
        one, other = (part[known] for part in pairs)
        if not one.size or (is_small and (one.min() < 0 or one.max() > 1)):
            return False
        far = max(abs(one).max(), abs(other).max()) or 1.0
        one, other = one / far, other / far
        variance = (one.var() + other.var()) / 2
        if not variance or 1 - ((one - other) ** 2).mean() / 2 / variance < _LEAST_SMOOTHNESS:
            return False
    return True


def image_from_array(array: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Encode a NumPy array as a picture; what is not of 8 bits by the rule of `tone_range`."""
    import PIL.Image

    pixels = array[:, :, 0] if array.shape[2:] == (1,) else array
    height, width = pixels.shape[:2]
    size = fitted_size(width, height, limits)
    is_bytes = pixels.dtype == "uint8" and not hasattr(pixels, "filled")
    step = math.ceil(math.sqrt(pixels.size / (_DRAWN_BYTES if is_bytes else _DRAWN_VALUES)))
    step = min(step, max(1, width // size[0]))  # what is sent has its own pixels
    drawn = pixels[::step, ::step]
    drawn = sys.modules["numpy"].ascontiguousarray(drawn) if is_bytes else eight_bit(drawn)
    picture = PIL.Image.fromarray(drawn)
    return fitted_image(picture, size=size, about=about or about_array(array))


def _floats(band: Any) -> Any:
    """Return 64-bit floats, NaN where an element is masked."""
    numpy = sys.modules["numpy"]
    with numpy.errstate(over="ignore"):  # beyond 64 bits is infinite, and drawn as the end
        floats = band.astype("float64")
    return floats.filled(numpy.nan) if hasattr(floats, "filled") else numpy.asarray(floats)


#: Never write more elements than this, whatever the budget.
_MAX_ELEMENTS: Final = 2_000

#: How many elements are written of an array whose corners are too many.
_MAX_FIRST: Final = 100

#: How many elements are written from each end of an axis: the first choice that fits. An array
#: with no longer axis than twice that is written whole.
_ENDS: Final = (_MAX_ELEMENTS // 2, 10, 5, 3, 2, 1)

#: NumPy's own printing options, so that those of the user do not matter.
_PRINTING: Final = {
    "precision": 6, "suppress": False, "linewidth": 100, "nanstr": "nan", "infstr": "inf",
    "formatter": None, "sign": "-", "floatmode": "maxprec", "legacy": False,
}  # fmt: skip


def summarize_array(
    array: Any,
    *,
    limits: Limits = STANDARD,
    name: str | None = None,
    title: str | None = None,
    about: str | None = None,
) -> Text:
    """Summarize an array that is no picture."""
    max_chars = limits.table_tokens * parts.CHARS_PER_TOKEN
    heading = f"{f'{name}: ' if name else ''}{title or array_title(array)}"
    head = "\n".join(filter(None, (heading, "; ".join(statistics(array)))))
    values, left_out = _written(array, max_chars - len(head) - 1)
    narrower = replace(limits, text_chars=max_chars)
    about = about or about_array(array)
    part = as_text(f"{head}\n{values}", limits=narrower, about=about, lines=True)
    return replace(part, left_out=part.left_out or left_out)


def array_title(array: Any) -> str:
    """Say what an array is, at its head: ``"ndarray, shape (64, 64), float64"``."""
    return f"{parts.type_name(array)}, shape {array.shape}, {array.dtype}"


def about_array(array: Any, kind: str = "", dtype: str = "") -> str:
    """Say what an array is, for the footer: ``"ndarray 64×64 float64"``."""
    shape = "×".join(map(str, array.shape)) or "scalar"
    return f"{kind or parts.type_name(array)} {shape} {dtype or array.dtype}"


def statistics(array: Any) -> Iterator[str]:
    """Return what is known of all values; NaN and masked ones are counted and left out."""
    numpy = sys.modules["numpy"]
    if not array.size or array.size > _READ_ELEMENTS or array.dtype.kind not in "biuf":
        return
    values = numpy.asarray(array)
    if parts.is_kind(array, "numpy", "MaskedArray"):
        values = array.compressed()
        yield f"{array.size - values.size:,} of {array.size:,} masked"
    if values.dtype.kind == "b":
        yield f"{int(values.sum()):,} of {values.size:,} true"
        return
    present = ~numpy.isnan(values)
    if present.any():
        with numpy.errstate(all="ignore"):  # infinities have no mean, and that is no fault
            mean = values.mean(dtype="float64", where=present)
        ends = numpy.fmin.reduce(values, axis=None), numpy.fmax.reduce(values, axis=None)
        low, high, mean = (cell(value, max_chars=40) for value in (*ends, mean))
        yield f"min {low}, max {high}, mean {mean}"
    if missing := values.size - int(present.sum()):
        yield f"{missing:,} of {values.size:,} NaN"


def _written(array: Any, max_chars: int) -> tuple[str, str]:
    """Write all values if they fit, else those at the corners, and how many those are."""
    numpy = sys.modules["numpy"]
    for per_end in _ENDS if array.dtype.kind != "O" else ():  # a repr that raises stops NumPy
        written = math.prod(min(length, 2 * per_end) for length in array.shape)
        if written > _MAX_ELEMENTS:
            continue
        threshold = sys.maxsize if written == array.size else 0
        with numpy.printoptions(threshold=threshold, edgeitems=per_end, **_PRINTING):
            masked = numpy.ma.isMaskedArray(array)
            text = str((numpy.ma.asarray if masked else numpy.asarray)(array))
        if left_out := array.size - written:
            text += f"\n[{left_out:,} of {array.size:,} values not shown]"
        if len(text) <= max_chars:
            return text, of_all(written, array.size, "value") if left_out else ""
    if array.size <= _MAX_FIRST:
        return listed(array.tolist(), max_chars=max_chars)
    values = listing(array.flat[:_MAX_FIRST].tolist(), max_chars=max_chars)  # corners are too many
    heading = f"The first {_MAX_FIRST} of {array.size:,} values, in order:"
    return f"{heading}\n{values}", of_all(_MAX_FIRST, array.size, "value")


def is_large_array(array: Any) -> bool:
    """Return whether an array or a tensor is more than a word of a listing."""
    is_open = getattr(getattr(array, "dtype", None), "kind", "") == "O"
    return len(array.shape) > 1 or math.prod(array.shape) > 10 or is_open


def torch_part(tensor: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Part:
    """Make the picture or the summary of a ``torch.Tensor``."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    if "sparse" in str(tensor.layout):
        raise ContentError(f"It is sparse. Name `{name or 'x'}.to_dense()`, or a part of that.")
    values = tensor.detach().cpu().resolve_conj().resolve_neg()
    try:
        array = values.numpy()
    except TypeError:  # of a type that NumPy does not have: bfloat16, say
        array = values.float().numpy()
    title = f"{parts.type_name(tensor)}, shape {tuple(tensor.shape)}, {dtype}"
    title += f", on {tensor.device}" if tensor.device.type != "cpu" else ""
    title += ", requires grad" if tensor.requires_grad else ""
    about = about_array(tensor, dtype=dtype)
    return array_part(array, limits=limits, name=name, title=title, about=about)


def jax_part(array: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Part:
    """Make the picture or the summary of a ``jax.Array``."""
    values = sys.modules["numpy"].asarray(array)
    if values.dtype.kind == "V":  # bfloat16
        values = values.astype("float32")
    title = f"jax.Array, shape {tuple(array.shape)}, {array.dtype}"
    about = about_array(array, kind="jax.Array")
    return array_part(values, limits=limits, name=name, title=title, about=about)
