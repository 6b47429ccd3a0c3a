"""An array becomes a picture if it looks like one, in any order of its axes, and else a summary.

Those of other libraries come here as the NumPy arrays that they were read into.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.content.images.encode import (
    fitted_image,
    fitted_size,
    full_scale,
    tone_range,
)
from segmind_jupyter.content.parts import (
    CHARS_PER_TOKEN,
    STANDARD,
    Image,
    Limits,
    Part,
    Text,
    format_error,
    is_kind,
    type_name,
)
from segmind_jupyter.content.tables.summary import bounded, cell
from segmind_jupyter.content.text import as_text, listing, literal
from segmind_jupyter.errors import ContentError, shortened

if TYPE_CHECKING:
    from PIL.Image import Image as Picture


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
    """Return whether an array looks like a picture rather than a table of numbers.

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
    """Return the values that `picture_from_array` draws as black and as white."""
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
    """Return 64-bit floats, NaN where an element is masked."""
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


#: Larger arrays (a memory map of a disk, say) are not read for their range and mean.
_READ_ELEMENTS = 50_000_000

#: Never write more elements than this, whatever the budget.
_MAX_ELEMENTS = 2_000

#: How many elements are written of an array whose corners are too many.
_MAX_FIRST = 100

#: How many elements are written from each end of an axis: the first choice that fits. An array
#: with no longer axis than twice that is written whole.
_ENDS = (_MAX_ELEMENTS // 2, 10, 5, 3, 2, 1)

#: Longest written form of one statistic, in characters.
_VALUE_CHARS = 40

#: NumPy's own printing options, so that those of the user do not matter.
_PRINTING = {
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
    max_chars = limits.table_tokens * CHARS_PER_TOKEN
    title = title or array_title(array)
    heading = f"{f'{name}: ' if name else ''}{title}"
    head = "\n".join(filter(None, (heading, "; ".join(statistics(array)))))
    values = _values(array, max_chars - len(head) - 1)
    narrower = replace(limits, text_chars=max_chars)
    about = about or about_array(array)
    return as_text(f"{head}\n{values}", limits=narrower, about=about, lines=True)


def array_title(array: Any) -> str:
    """Say what an array is, at its head: ``"ndarray, shape (64, 64), float64"``."""
    return f"{type_name(array)}, shape {array.shape}, {array.dtype}"


def about_array(array: Any) -> str:
    """Say what an array is, for the footer: ``"ndarray 64×64 float64"``."""
    shape = "×".join(map(str, array.shape)) or "scalar"
    return f"{type_name(array)} {shape} {array.dtype}"


def statistics(array: Any) -> Iterator[str]:
    """Return what is known of all values; NaN and masked ones are counted and left out."""
    numpy = sys.modules["numpy"]
    if not array.size or array.size > _READ_ELEMENTS or array.dtype.kind not in "biuf":
        return
    values = numpy.asarray(array)
    if is_kind(array, "numpy", "MaskedArray"):
        values = array.compressed()
        yield f"{array.size - values.size:,} of {array.size:,} masked"
    if values.dtype.kind == "b":
        yield f"{int(values.sum()):,} of {values.size:,} true"
    else:
        yield from _spread(values, numpy)


def _spread(values: Any, numpy: Any) -> Iterator[str]:
    present = ~numpy.isnan(values)
    if present.any():
        with numpy.errstate(all="ignore"):  # infinities have no mean, and that is no fault
            mean = values.mean(dtype="float64", where=present)
        low, high = numpy.fmin.reduce(values, axis=None), numpy.fmax.reduce(values, axis=None)
        yield f"min {_spelled(low)}, max {_spelled(high)}, mean {_spelled(mean)}"
    if missing := values.size - int(present.sum()):
        yield f"{missing:,} of {values.size:,} NaN"


def _spelled(value: Any) -> str:
    return cell(value, max_chars=_VALUE_CHARS)


def _values(array: Any, max_chars: int) -> str:
    """Write all values if they fit, else those at the corners, as many as fit."""
    if array.dtype.kind == "O":  # NumPy's printing stops at an element whose repr raises
        return _first(array, max_chars)
    for per_end in _ENDS:
        if _written_elements(array, per_end) <= _MAX_ELEMENTS:
            text = _printed(array, per_end)
            if len(text) <= max_chars:
                return text
    return _first(array, max_chars)  # the corners double with every axis


def _first(array: Any, max_chars: int) -> str:
    if array.size <= _MAX_FIRST:
        return listing(array.tolist(), max_chars=max_chars)
    values = listing(array.flat[:_MAX_FIRST].tolist(), max_chars=max_chars)
    return f"The first {_MAX_FIRST} of {array.size:,} values, in order:\n{values}"


def _written_elements(array: Any, per_end: int) -> int:
    return math.prod(min(length, 2 * per_end) for length in array.shape)


def _printed(array: Any, per_end: int) -> str:
    """Print an array as NumPy does, with `per_end` elements from each end of an axis."""
    numpy = sys.modules["numpy"]
    is_whole = all(length <= 2 * per_end for length in array.shape)
    with numpy.printoptions(
        threshold=sys.maxsize if is_whole else 0, edgeitems=per_end, **_PRINTING
    ):
        text = str(
            numpy.ma.asarray(array) if numpy.ma.isMaskedArray(array) else numpy.asarray(array)
        )
    left_out = array.size - _written_elements(array, per_end)
    return f"{text}\n[{left_out:,} of {array.size:,} values not shown]" if left_out else text


#: Larger tensors are not copied from a device, converted or gathered: only a corner is.
_COPIED_ELEMENTS = 50_000_000

#: How many elements such a corner has, about.
_CORNER_ELEMENTS = 1_000

#: Longer tensors are more than a word where they stand in a container.
_SMALL_ELEMENTS = 10

#: Types of PyTorch that NumPy has too; any other is read as 32-bit floats.
_NUMPY_TYPES = frozenset(
    {"bool", "float16", "float32", "float64", "complex64", "complex128"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)


def is_large_tensor(tensor: Any) -> bool:
    """Return whether a tensor is more than a word of a listing."""
    try:
        shape = tuple(tensor.shape)
    except RuntimeError:  # a nested tensor has none
        return True
    return len(shape) > 1 or math.prod(shape) > _SMALL_ELEMENTS


def torch_part(tensor: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Part:
    """Make the picture or the summary of a ``torch.Tensor``.

    It is read through ``detach()`` and ``cpu()``, wherever it lies and whether or not it requires
    a gradient; bfloat16 and other types that NumPy lacks become 32-bit floats. The tensor stays as
    it is. A picture has its channels first, as torchvision has it, or last (`arrays.array_part`).

    Values are shown as those of an array are (`images.image_from_array`): a picture that was
    normalized for a network keeps its contrast, and not its colours.
    """
    title, about = _torch_title(tensor), _about(type_name(tensor), tensor, _dtype(tensor))
    if _is_sparse(tensor) and tensor.numel() > _CORNER_ELEMENTS:
        return _unread(title, "it is sparse: name its .to_dense()", about, limits, name)
    try:
        array, note = _torch_array(tensor)
    except Exception as error:  # noqa: BLE001 - no storage, or a subclass that refuses: many kinds
        _check_numpy("torch")
        return _unread(title, format_error(error), about, limits, name)
    return array_part(
        array, limits=limits, name=name, title=title + note, about=about, is_whole=not note
    )


def _unread(title: str, reason: str, about: str, limits: Limits, name: str | None) -> Part:
    text = f"{f'{name}: ' if name else ''}{title}\n[its values are not read: {reason}]"
    return bounded(text, about=about, limits=limits)


def jax_part(array: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Part:
    """Make the picture or the summary of a ``jax.Array``.

    bfloat16 and other types that NumPy lacks become 32-bit floats. An array that is spread over
    several devices is gathered if it is small; of one whose parts lie in other processes, only a
    part of this one is read. A picture has its channels last.
    """
    if array.is_deleted():
        raise ContentError(
            "The JAX array was deleted, or donated to a function: its values are gone. "
            "Name one that has them."
        )
    title = f"jax.Array, shape {tuple(array.shape)}, {array.dtype}{_tensors_spread(array)}"
    values, note = _jax_array(array)
    return array_part(
        values,
        limits=limits,
        name=name,
        title=title + note,
        about=_about("jax.Array", array, str(array.dtype)),
        is_whole=not note,
        channels_first=False,
    )


def _torch_title(tensor: Any) -> str:
    kind = type_name(tensor)
    if tensor.is_nested:
        return f"{kind}, nested, {_dtype(tensor)}"
    facts = [f"{kind}, shape {tuple(tensor.shape)}, {_dtype(tensor)}"]
    if tensor.device.type != "cpu":
        facts.append(f"on {tensor.device}")
    if tensor.requires_grad:
        facts.append("requires grad")
    if _is_sparse(tensor):
        facts.append(f"{_dtype_name(tensor.layout)}, {tensor._nnz():,} values stored")
    return ", ".join(facts)


def _dtype(tensor: Any) -> str:
    return _dtype_name(tensor.dtype)


def _dtype_name(name: Any) -> str:
    return str(name).removeprefix("torch.")


def _is_sparse(tensor: Any) -> bool:
    return "sparse" in str(tensor.layout)


def _torch_array(tensor: Any) -> tuple[Any, str]:
    """Return the values as a NumPy array, and a note if they are not all of them."""
    values, note = tensor.detach(), ""
    is_known = _dtype(values) in _NUMPY_TYPES
    if values.numel() > _COPIED_ELEMENTS and not (is_known and values.device.type == "cpu"):
        values, note = _corner(values)
    if _is_sparse(values):
        values = values.to_dense()
    if values.is_quantized:
        values = values.dequantize()
    elif not is_known:
        values = values.cfloat() if values.is_complex() else values.float()
    return values.cpu().resolve_conj().resolve_neg().numpy(), note


def _corner(values: Any) -> tuple[Any, str]:
    edge = max(1, round(_CORNER_ELEMENTS ** (1 / max(1, len(values.shape)))))
    corner = values[tuple(slice(0, edge) for _ in values.shape)]
    shape = "×".join(str(side) for side in corner.shape)
    return corner, f" (large: of its values, only the first {shape} are read)"


def _tensors_spread(array: Any) -> str:
    n_devices = len(array.sharding.device_set)
    if n_devices > 1:
        return f", over {n_devices} devices"
    (device,) = array.sharding.device_set
    return "" if device.platform == "cpu" else f", on {device}"


def _jax_array(array: Any) -> tuple[Any, str]:
    note = ""
    if not array.is_fully_addressable:
        array, _ = _corner(array.addressable_data(0))
        note = " (parts of it lie in other processes: only a corner of one here is read)"
    elif array.size > _COPIED_ELEMENTS:
        array, note = _corner(array)
    values = array.__array__()
    return (values.astype("float32") if values.dtype.kind == "V" else values), note


def _about(kind: str, tensor: Any, dtype: str) -> str:
    if getattr(tensor, "is_nested", False):  # it has no shape
        return f"{kind} {dtype}"
    return f"{kind} {'×'.join(str(side) for side in tensor.shape) or 'scalar'} {dtype}"


def _check_numpy(library: str) -> None:
    if "numpy" not in sys.modules:
        raise ContentError(
            f"A {library} tensor is read through NumPy, which is not installed: run "
            "`pip install numpy`, restart the kernel and try again."
        )


#: How many channels a picture has.
_CHANNELS: Final = (1, 3, 4)

#: Of more elements (a memory map of a disk, say) evenly spaced rows and columns tell the scale.
_ARRAYS_READ_ELEMENTS: Final = 50_000_000


def image_from_array(array: Any, *, limits: Limits = STANDARD, about: str = "") -> Image:
    """Encode a NumPy array, or what turns into one, as a picture.

    8-bit numbers are kept. Others in 0 to 1, 0 to 255 or 0 to 65535 are taken to be on that
    scale if they cover a quarter of it; everything else is scaled from its lowest to its highest
    value (see `tone_range`). NaN and masked elements are white.
    """
    picture, size = picture_from_array(array, limits=limits)
    shape = "×".join(str(side) for side in array.shape)
    return fitted_image(
        picture, size=size, limits=limits, about=about or f"array {array.dtype} {shape}"
    )


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
    step = math.ceil(math.sqrt(array.size / _ARRAYS_READ_ELEMENTS))
    values = array[:, ::step, ::step]
    if hasattr(values, "compressed"):  # the masked ones have no value
        values = values.compressed()
    if array.dtype.kind not in "buif" or not values.size:
        return False
    low, high = float(values.min()), float(values.max())
    return (low >= -1 and high <= 1) or (low >= 0 and high <= 255)


def _is_batch(array: Any) -> bool:
    return array.ndim == 4 and (array.shape[1] in _CHANNELS or array.shape[3] in _CHANNELS)
