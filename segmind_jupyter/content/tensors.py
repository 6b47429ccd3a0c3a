"""PyTorch tensors and JAX arrays, through NumPy: a picture if one looks like it, else a summary.

Neither library is imported. What cannot be read without a large copy, or not at all, is described
by its shape and type.
"""

from __future__ import annotations

import math
import sys
from typing import Any

from segmind_jupyter.content.arrays import array_part
from segmind_jupyter.content.kinds import spelled, type_name
from segmind_jupyter.content.parts import STANDARD, Limits, Part
from segmind_jupyter.content.tables import bounded
from segmind_jupyter.errors import ContentError

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
    """Tell whether a tensor is more than a word of a listing."""
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

    Raises
    ------
    ContentError
        NumPy is not installed.
    """
    title, about = _torch_title(tensor), _about(type_name(tensor), tensor, _dtype(tensor))
    if _is_sparse(tensor) and tensor.numel() > _CORNER_ELEMENTS:
        return _unread(title, "it is sparse: name its .to_dense()", about, limits, name)
    try:
        array, note = _torch_array(tensor)
    except Exception as error:  # noqa: BLE001 - no storage, or a subclass that refuses: many kinds
        _check_numpy("torch")
        return _unread(title, spelled(error), about, limits, name)
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

    Raises
    ------
    ContentError
        The array was deleted, or given away to a function that donates its argument.
    """
    if array.is_deleted():
        raise ContentError(
            "The JAX array was deleted, or donated to a function: its values are gone. "
            "Name one that has them."
        )
    title = f"jax.Array, shape {tuple(array.shape)}, {array.dtype}{_spread(array)}"
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
    """Give the values as a NumPy array, and a note if they are not all of them."""
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


def _spread(array: Any) -> str:
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
