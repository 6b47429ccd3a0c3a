"""Looks into objects without running anybody's code: no property, no `__getattr__`, no `__dir__`.

What would take a call of the author's own stays unknown.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, Final


def sendable_names(shell: Any) -> Mapping[str, Any]:
    """Return the user's own variables, as `%who` sees them, and the values that cells gave.

    Of what IPython puts there (`In`, `exit`), the values alone are among them: ``_`` and ``_3``.
    Other names with a leading underscore are not, as no prompt reads them.
    """
    hidden = shell.user_ns_hidden
    missing = object()
    names = shell.user_ns.copy()  # a cell may add to them meanwhile: buttons have threads too
    outputs = {name: names[name] for name in _of_outputs(names)}
    own = {
        name: value
        for name, value in names.items()
        if not name.startswith("_") and hidden.get(name, missing) is not value
    }
    return {**outputs, **own}


def _of_outputs(names: Mapping[str, Any]) -> list[str]:
    """List the names of values that cells gave; before the first one, IPython's are empty."""
    given = names.get("_oh") or {}
    numbered = [f"_{number}" for number in given]
    return [name for name in ("_", "__", "___")[: len(given)] + tuple(numbered) if name in names]


#: What a notebook has by the dozen, and nobody asks about.
_TOOLS: Final = (ModuleType, FunctionType, MethodType, BuiltinFunctionType, type)

#: What a class holds of its methods.
_METHODS: Final = (
    *_TOOLS, MethodDescriptorType, WrapperDescriptorType, ClassMethodDescriptorType,
    classmethod, staticmethod,
)  # fmt: skip

#: What Python itself makes of the ``__dict__`` of a class.
_SLOTS: Final = (GetSetDescriptorType, MemberDescriptorType)

#: Libraries whose frames tell their columns without computing anything.
_FRAMES: Final = ("pandas", "polars")

_STEP: Final = re.compile(
    r"\.(?P<attribute>\w+)|\[(?P<index>-?\d+)\]|\[(?P<quote>['\"])(?P<key>.*?)(?P=quote)\]"
)

#: What a dict holds that is a JSON schema, and hardly any other dict.
_SCHEMA_WORDS: Final = ("type", "properties", "enum", "anyOf", "oneOf", "allOf", "$ref")

#: Marks of classes that describe data: dataclasses, attrs, msgspec, pydantic, named tuples.
_SHAPE_MARKS: Final = frozenset(
    {"__dataclass_fields__", "__attrs_attrs__", "__struct_fields__", "__pydantic_fields__",
     "__pydantic_decorators__", "_fields", "__required_keys__"}
)  # fmt: skip


def is_tool(value: object) -> bool:
    """Tell modules, functions and classes from data.

    The type is looked at, never ``__class__``, which a proxy borrows and may have to work out.
    """
    return issubclass(type(value), _TOOLS)


def is_shape(value: object) -> bool:
    """Return whether `value` can say what a reply is to look like: a JSON schema, a data class."""
    if type(value) is dict:
        return any(word in value for word in _SCHEMA_WORDS)
    if not issubclass(type(value), type):
        return False
    kinds: tuple[type, ...] = value.__mro__  # type: ignore[attr-defined]
    return any(not _SHAPE_MARKS.isdisjoint(vars(kind)) for kind in kinds)


def at(base: str, names: Mapping[str, object]) -> object:
    """Follow a path through what objects hold."""
    root = re.match(r"\w+", base)
    value = names[root[0] if root else ""]
    for step in _STEP.finditer(base, root.end() if root else 0):
        value = _stepped(value, step)
    return value


def _stepped(value: Any, step: re.Match[str]) -> object:
    found: object
    if step["attribute"] is not None:
        found = held(value)[step["attribute"]]
    elif step["index"] is not None and type(value) in {list, tuple}:
        found = value[int(step["index"])]
    elif step["key"] is not None and type(value) is dict:
        found = value[step["key"]]
    else:
        raise LookupError(step[0])
    return found


def held(value: object) -> Mapping[str, object]:
    """Give what an object holds under names of its own: its ``__dict__``, as long as it is one."""
    for kind in type(value).__mro__:
        if "__dict__" in vars(kind):
            slot = vars(kind)["__dict__"]
            # Anything else is a property of the author's.
            return slot.__get__(value) if type(slot) in _SLOTS else {}
    return {}


def attributes(value: object) -> list[str]:
    """List the public attributes that hold data: of a frame its columns first, then by name."""
    of_type = {
        name: found for kind in reversed(type(value).__mro__) for name, found in vars(kind).items()
    }
    known = {**of_type, **held(value)}
    data = [name for name, found in known.items() if not issubclass(type(found), _METHODS)]
    first = columns(value) if _is_of("pandas", value) else []
    return list(dict.fromkeys([*filter(_is_public, first), *sorted(filter(_is_public, data))]))


def keys(value: object) -> list[str]:
    """List the keys of a dict, or the columns of a frame, that are plain strings."""
    known: Iterable[object] = (*value,) if type(value) is dict else columns(value)
    return [key for key in known if type(key) is str]


def columns(value: object) -> list[str]:
    """List the columns of a frame of pandas or polars by name; nothing for anything else."""
    if not any(_is_of(package, value) for package in _FRAMES):
        return []
    found: Any = value.columns  # type: ignore[attr-defined]
    return [name for name in found if type(name) is str]


def _is_of(package: str, value: object) -> bool:
    """Tell a frame of the library's very own class, which nobody's subclass has changed."""
    return type(value) is getattr(sys.modules.get(package), "DataFrame", None)


def _is_public(name: object) -> bool:
    return type(name) is str and name.isidentifier() and not name.startswith("_")
