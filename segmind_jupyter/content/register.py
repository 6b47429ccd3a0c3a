"""Forms that users give their types (`register`, ``_repr_claude_()``), and IPython's displays."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from functools import singledispatch
from typing import Any, Final, TypeVar

from segmind_jupyter.content import parts
from segmind_jupyter.content.images.encode import image_from_bytes
from segmind_jupyter.content.images.figures import svg_part
from segmind_jupyter.content.parts import Limits, Part
from segmind_jupyter.content.text import MAX_DEPTH, as_text
from segmind_jupyter.errors import ContentError

_T = TypeVar("_T")

_METHOD: Final = "_repr_claude_"

_ADVICE: Final = "Correct it there."


def register(kind: type[_T]) -> Callable[[Callable[[_T], Any]], Callable[[_T], Any]]:
    """Say how objects of a type, and of its subclasses, are shown to Claude.

    Parameters
    ----------
    kind
        The type. A later registration of the same type replaces the earlier one.

    Returns
    -------
    callable
        A decorator for a function that is given the object and returns text, an image, a figure,
        a table, a content block, or a list of such.

    Raises
    ------
    TypeError
        `kind` is no class, or it is `object` itself.

    Examples
    --------
    >>> class Molecule:
    ...     smiles = "CCO"
    >>> @register(Molecule)
    ... def _(molecule):
    ...     return f"a molecule, {molecule.smiles}"
    """
    if not isinstance(kind, type) or kind is object:
        raise TypeError(f"register() takes a class other than object, not {kind!r}.")

    def decorator(function: Callable[[_T], Any]) -> Callable[[_T], Any]:
        _registry.register(kind, function)
        return function

    return decorator


@singledispatch
def _registry(obj: object) -> Any:
    """Hold the registered functions by type; this default stands for none."""


def _registered(obj: object) -> Callable[[Any], Any] | None:
    """Find the function for the type of `obj`, not for its ``__class__``: mocks borrow that."""
    function = _registry.dispatch(type(obj))
    return None if function is _registry.dispatch(object) else function


def has_own_form(obj: object) -> bool:
    """Return whether a function is registered for `obj`, or its type has ``_repr_claude_``."""
    return bool(_registered(obj) or parts.special_method(obj, _METHOD))


def own_parts(obj: Any, scope: parts.Scope, convert: parts.Convert) -> list[Part] | None:
    """Make the pieces that the user wants for `obj`, or nothing if that was left to us."""
    if not has_own_form(obj):
        return None
    function = _registered(obj)
    name = parts.type_name(obj)
    title = f"The function registered for {name}" if function else f"{name}.{_METHOD}()"
    if id(obj) in scope.around or len(scope.around) >= MAX_DEPTH:
        raise ContentError(f"{title} leads back to such an object. Return text or an image.")
    with parts.naming_failures(f"{title} failed", _ADVICE):
        value = function(obj) if function else _displayed(obj, _METHOD)
    if value is None and function is None:
        return None
    return _accepted(value, scope.inside(obj), convert, title)


def _accepted(value: Any, scope: parts.Scope, convert: parts.Convert, title: str) -> list[Part]:
    """Read a form: text, a content block, any object, or a list of such."""
    if type(value) in (list, tuple):
        return [part for item in value for part in _accepted(item, scope, convert, title)]
    match value:
        case str(text) | {"type": "text", "text": str(text)}:
            return [as_text(text, limits=scope.limits, lines="\n" in text)]
        case {"type": "image", "source": {"type": "base64", "data": str(data)}}:
            return [image_from_bytes(as_bytes(data), limits=scope.limits)]  # so that it fits
    if value is None or isinstance(value, Mapping | Generator | Coroutine | AsyncGenerator):
        if isinstance(value, Generator | Coroutine):
            value.close()  # else Python warns that a coroutine was never awaited
        raise ContentError(
            f"{title} returned a {parts.type_name(value)}, which is no form. Return text, an "
            'image, a content block ({"type": "text", "text": ...}), or a list of such.'
        )
    return convert(value, scope)


#: The display methods that are asked, in this order; all but the bundle give one form each.
_DISPLAYS: Final = {
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_mimebundle_": "",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
}

#: The forms that are taken from a bundle, the best first.
_BUNDLED: Final = ("image/png", "image/jpeg", "text/markdown", "image/svg+xml", "text/plain")


def has_display(obj: object) -> bool:
    """Return whether the type of `obj` defines one of the display methods that are read here."""
    return any(parts.special_method(obj, name) for name in _DISPLAYS)


def displayed_part(obj: Any, *, limits: Limits) -> Part | None:
    """Make a piece of the best form that an object displays, or nothing if it displays none."""
    for name, mime in _DISPLAYS.items():
        value = _displayed(obj, name, **({} if mime else {"include": None, "exclude": None}))
        data = value[0] if isinstance(value, tuple) and value else value  # (data, metadata)
        if mime and data:
            data = {mime: data}
        if isinstance(data, Mapping) and (part := best_form(data, limits=limits, of=obj)):
            return part
    return None


def best_form(bundle: Mapping[str, Any], *, limits: Limits, of: Any = None) -> Part | None:
    """Make a piece of the best form in a bundle of MIME types, or nothing if it has none."""
    mime = next((known for known in _BUNDLED if bundle.get(known)), None)
    if mime is None:
        return None
    data, about = bundle[mime], parts.type_name(of) if of is not None else ""
    if mime in ("image/png", "image/jpeg"):
        return image_from_bytes(as_bytes(data), limits=limits, about=about)
    text = "".join(data) if isinstance(data, list) else str(data)
    if mime == "image/svg+xml":
        return svg_part(text, limits=limits, about=about or "SVG")
    return as_text(text, limits=limits, noun=about or "text", lines="\n" in text)


def _displayed(obj: Any, name: str, **options: Any) -> Any:
    """Call a display method; `None` where there is none or it declines, as IPython has it."""
    method = parts.special_method(obj, name)
    with parts.naming_failures(f"{parts.type_name(obj)}.{name}() failed", _ADVICE):
        try:
            return None if method is None else method(**options)
        except NotImplementedError:
            return None


def as_bytes(data: Any) -> bytes:
    """Return the bytes of an image that is bytes or base64 text."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    try:
        return base64.b64decode(data)
    except (ValueError, TypeError) as error:  # binascii's is a ValueError
        raise ContentError(f"An image is given as bytes or base64 text ({error}).") from error
