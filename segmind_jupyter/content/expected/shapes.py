"""Finds what reads the shape that a user names: a dict, a class, a type."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from segmind_jupyter.content.expected.given import dict_schema
from segmind_jupyter.content.expected.shape import Shape
from segmind_jupyter.content.expected.typed import (
    MsgspecType,
    PydanticType,
    init_var,
    is_pydantic,
)
from segmind_jupyter.content.kinds import type_name
from segmind_jupyter.errors import ContentError, shortened

_FORMS = (
    "Give a dataclass, a TypedDict, a NamedTuple, an attrs class, a pydantic model, a type such "
    "as `list[Person]`, or a JSON schema as a dict."
)


def shape_of(shape: object, label: str) -> Shape:
    """Find what reads `shape`.

    Raises
    ------
    ContentError
        Nothing does; the message names it by `label`.
    """
    if isinstance(shape, Mapping):
        return dict_schema(shape, label)
    if not is_type(shape):
        raise ContentError(f"`{label}` is {_described(shape)}, and no schema. {_FORMS}")
    readers = (PydanticType,) if is_pydantic(shape) else (MsgspecType, PydanticType)
    reasons: list[str] = []
    for reader in readers:
        found = reader(shape)
        try:
            found.schema()
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a user's type
            reasons.append(_last_line(error))
        else:
            return found
    if name := init_var(shape):
        raise ContentError(
            f"`{label}` has `{name}`, an InitVar, which msgspec cannot fill. Make it a field, or "
            "run `import pydantic` (2 or newer), which can."
        )
    raise ContentError(f"`{label}` cannot be made a schema ({reasons[0]}). {_FORMS}")


def is_type(shape: object) -> bool:
    """Tell a class or a type such as ``list[int]`` from a value."""
    alias = getattr(typing, "TypeAliasType", ())  # since Python 3.12: `type People = ...`
    is_generic = typing.get_origin(shape) is not None
    return inspect.isclass(shape) or is_generic or shape is Any or isinstance(shape, alias)


def _described(shape: object) -> str:
    """Say what a value is that should have been a type."""
    if is_dataclass(shape) or hasattr(shape, "__pydantic_core_schema__"):
        return f"an instance of `{type_name(shape)}`"
    return "None" if shape is None else f"a value of type `{type_name(shape)}`"


def _last_line(error: Exception) -> str:
    """Give what msgspec says of the type; advice for its own users stands before it."""
    return shortened((str(error).splitlines() or [type_name(error)])[-1])
