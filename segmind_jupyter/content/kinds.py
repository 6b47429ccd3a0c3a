"""Recognises foreign objects by the names in their type's ancestry, so that nothing is imported.

Everything is looked up on the type, never on the object: a mock or a proxy answers any attribute.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from segmind_jupyter.errors import shortened

#: Where CPython's default reprs say the address, which differs from run to run.
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+(?=[>;,])")


def is_kind(obj: object, package: str, *names: str) -> bool:
    """Tell whether `obj` is an instance of one of `package`'s classes, or of a subclass of one.

    Parameters
    ----------
    obj
        Anything.
    package
        The top-level package that defines the class, such as ``"pandas"``.
    *names
        The bare names of the classes, such as ``"DataFrame"``.
    """
    return any(
        kind.__name__ in names and str(kind.__module__).partition(".")[0] == package
        for kind in type(obj).__mro__
    )


def hook(obj: object, name: str) -> Callable[..., Any] | None:
    """Give the special method `name` that the type of `obj` defines, bound to `obj`, or `None`.

    What is no function counts as no method: `None`, by which a class says so, and the stand-ins
    that a `MagicMock` keeps under every special name.
    """
    owner = next((kind for kind in type(obj).__mro__ if name in vars(kind)), None)
    method = None if owner is None else vars(owner)[name]
    if not callable(method):
        return None
    bound: Callable[..., Any] = method
    return bound.__get__(obj, type(obj)) if hasattr(bound, "__get__") else bound


def type_name(obj: object) -> str:
    """Give the bare name of the type of `obj`."""
    return type(obj).__name__


def safe_repr(obj: object) -> str:
    """Give ``repr(obj)`` without addresses, or a note where the repr raises."""
    return without_addresses(attempted(repr, obj))


def without_addresses(text: str) -> str:
    """Leave out where objects lie in memory: the same notebook is to send the same words."""
    return _ADDRESS.sub("", text)


def attempted(spell: Callable[[Any], str], obj: object) -> str:
    """Give ``spell(obj)``, or a note that names the type and the error where that raises."""
    try:
        return spell(obj)
    except Exception as error:  # noqa: BLE001 - a foreign __repr__ or __str__ may raise anything
        return f"<{type_name(obj)}, whose {spell.__name__} raised {type(error).__name__}>"


def spelled(error: BaseException) -> str:
    """Write a foreign error as Python does, on one line."""
    return shortened(f"{type_name(error)}: {attempted(str, error)}")
