"""What an object shows in a notebook by IPython's display methods, as a piece of a prompt."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from segmind_jupyter.content.images import image_from_bytes
from segmind_jupyter.content.kinds import hook, spelled, type_name
from segmind_jupyter.content.parts import Limits, Part
from segmind_jupyter.content.text import as_text
from segmind_jupyter.errors import ContentError, SegmindError

#: The display methods that are asked, in this order; all but the bundle give one form each.
_METHODS = {
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_mimebundle_": "",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
}

#: The forms that are taken from a bundle, the best first.
_BUNDLED = ("image/png", "image/jpeg", "text/markdown", "image/svg+xml", "text/plain")

#: The forms that are pictures to a model. An SVG is sent as its source, which it reads as text.
_PICTURES = ("image/png", "image/jpeg")


def has_display(obj: object) -> bool:
    """Tell whether the type of `obj` defines one of the display methods that are read here."""
    return any(hook(obj, name) for name in _METHODS)


def displayed_part(obj: Any, *, limits: Limits) -> Part | None:
    """Make a piece of the best form that an object displays, or nothing if it displays none.

    Raises
    ------
    ContentError
        A display method raised, or gave an image that cannot be read.
    """
    for mime, data in _forms(obj):
        if mime in _PICTURES:
            return image_from_bytes(as_bytes(data), limits=limits, about=type_name(obj))
        return as_text(str(data), limits=limits, noun=type_name(obj), lines="\n" in str(data))
    return None


def _forms(obj: Any) -> Iterator[tuple[str, Any]]:
    for name, mime in _METHODS.items():
        options = {} if mime else {"include": None, "exclude": None}
        value = shown(obj, name, **options)
        data = value[0] if isinstance(value, tuple) and value else value  # (data, metadata)
        if mime and data:
            yield mime, data
        elif isinstance(data, Mapping):
            yield from ((known, data[known]) for known in _BUNDLED if data.get(known))


def shown(obj: Any, name: str, **options: Any) -> Any:
    """Call a display method; `None` where there is none or it declines, as IPython has it.

    Raises
    ------
    ContentError
        It raised anything but `NotImplementedError`.
    """
    method = hook(obj, name)
    try:
        return None if method is None else called(method, f"{type_name(obj)}.{name}()", **options)
    except NotImplementedError:
        return None


def called(function: Callable[..., Any], title: str, *args: Any, **options: Any) -> Any:
    """Call a user's function, and name it by `title` if it raises.

    Raises
    ------
    ContentError
        It raised anything but an error of this package or `NotImplementedError`.
    """
    try:
        return function(*args, **options)
    except (SegmindError, NotImplementedError):
        raise
    except Exception as error:
        raise ContentError(f"{title} raised {spelled(error)}. Correct it there.") from error


def as_bytes(data: Any) -> bytes:
    """Give the bytes of an image that is bytes or base64 text.

    Raises
    ------
    ContentError
        It is neither.
    """
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    try:
        return base64.b64decode(data)
    except (binascii.Error, ValueError, TypeError) as error:
        raise ContentError(f"An image is given as bytes or base64 text ({error}).") from error
