"""The user's own types, read by libraries that know them.

Those of the standard library and of attrs are msgspec's affair; models of pydantic, and what
only pydantic knows, that of the pydantic which the user has imported.
"""

from __future__ import annotations

import inspect
import json
import sys
import typing
from collections.abc import Iterator
from dataclasses import InitVar, dataclass, is_dataclass
from pathlib import PurePath
from typing import Any, get_args

from segmind_jupyter.content.expected.moments import with_forms, with_moments
from segmind_jupyter.content.expected.shape import MisfitError, json_name
from segmind_jupyter.content.expected.strict import Schema, completed
from segmind_jupyter.content.kinds import spelled


@dataclass(frozen=True)
class MsgspecType:
    """A type that msgspec reads.

    Parameters
    ----------
    kind
        The user's type.
    """

    kind: Any

    def schema(self) -> Schema:
        """Give the schema of the type, with every field required."""
        import msgspec

        form = _with_names(self.kind)
        schema = with_forms(msgspec.json.schema(form, schema_hook=_path_schema), form)
        return completed(schema, but=_typed_dicts(self.kind))

    def read(self, value: Any) -> Any:
        """Make an instance; missing fields take their defaults."""
        import msgspec

        form = _with_names(self.kind)
        try:
            made = _made(value, form)
        except msgspec.ValidationError as error:
            raise MisfitError(_place_first(str(error))) from error
        except Exception as error:  # the user's `__post_init__` may raise anything
            raise MisfitError(spelled(error)) from error
        return made if form is self.kind else self.kind(**msgspec.structs.asdict(made))


@dataclass(frozen=True)
class PydanticType:
    """A type that the user's pydantic (2 or newer) reads.

    Parameters
    ----------
    kind
        The user's type.
    """

    kind: Any

    def schema(self) -> Schema:
        """Give the schema of the type, with every field required."""
        schema = self._adapter().json_schema()
        return completed(schema, but=_typed_dicts(self.kind))

    def read(self, value: Any) -> Any:
        """Make an instance, as pydantic does it from JSON."""
        adapter = self._adapter()
        try:
            return adapter.validate_json(json.dumps(value))
        except sys.modules["pydantic"].ValidationError as error:
            raise MisfitError(_first_trouble(error)) from error
        except Exception as error:  # the user's validators may raise anything
            raise MisfitError(spelled(error)) from error

    def _adapter(self) -> Any:
        pydantic = sys.modules.get("pydantic")
        if not hasattr(pydantic, "TypeAdapter"):
            raise TypeError("pydantic 2 is not imported")
        return pydantic.TypeAdapter(self.kind)  # type: ignore[union-attr]


def is_pydantic(shape: object) -> bool:
    """Tell whether pydantic made a type, or one of those that it is made of."""
    if hasattr(shape, "__pydantic_core_schema__"):
        return True
    return any(is_pydantic(part) for part in get_args(shape))


def init_var(shape: object) -> str:
    """Name the first ``InitVar`` of a dataclass, or of one that it speaks of; else nothing."""
    try:
        parts = [part for part in _parts(shape, set()) if is_dataclass(part)]
        hints = [hint for part in parts for hint in typing.get_type_hints(part).items()]
    except Exception:  # noqa: BLE001 - a forward reference that leads nowhere, or worse
        return ""
    return next((name for name, hint in hints if isinstance(hint, InitVar)), "")


def _made(value: Any, form: Any) -> Any:
    """Let msgspec read a value; what it does not take for a date or a time, Python may."""
    import msgspec

    try:
        return msgspec.convert(value, form, str_keys=True, dec_hook=_path)
    except msgspec.ValidationError:
        read = with_moments(value, form)
        return msgspec.convert(read, form, str_keys=True, dec_hook=_path)


def _path_schema(kind: type) -> Schema:
    """Say of a path that it is a text; msgspec refuses what this has no schema for."""
    if issubclass(kind, PurePath):
        return {"type": "string", "format": "path"}
    raise NotImplementedError


def _path(kind: type, value: Any) -> Any:
    if not (issubclass(kind, PurePath) and isinstance(value, str)):
        raise ValueError(f"Expected `str`, got {json_name(value)}")
    return kind(value)


def _with_names(kind: Any) -> Any:
    """Stand in for a named tuple, which msgspec would read from an array: models name fields."""
    import msgspec

    if not (inspect.isclass(kind) and issubclass(kind, tuple) and hasattr(kind, "_fields")):
        return kind
    named: Any = kind
    hints, defaults = typing.get_type_hints(named, include_extras=True), named._field_defaults
    fields: list[Any] = [
        (name, hints.get(name, Any), *((defaults[name],) if name in defaults else ()))
        for name in named._fields
    ]
    return msgspec.defstruct(named.__name__, fields, kw_only=True)


def _typed_dicts(kind: Any) -> frozenset[str]:
    """Give the names of the typed dicts in a type: they say of each key if it is required."""
    return frozenset(part.__name__ for part in _parts(kind, set()) if typing.is_typeddict(part))


def _parts(kind: Any, seen: set[int]) -> Iterator[Any]:
    """Give a type, and all that its fields and parameters speak of."""
    if id(kind) in seen:
        return
    seen.add(id(kind))
    yield kind
    has_fields = is_dataclass(kind) or hasattr(kind, "__annotations__")
    hints = typing.get_type_hints(kind) if inspect.isclass(kind) and has_fields else {}
    for part in (*get_args(kind), *hints.values()):
        yield from _parts(part, seen)


def _place_first(message: str) -> str:
    """Turn msgspec's words around: the place, then what is wrong there."""
    trouble, _, place = message.rpartition(" - at ")
    return f"at {place}, {trouble[:1].lower()}{trouble[1:]}" if trouble else message


def _first_trouble(error: Any) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in first["loc"])
    return f"at `${''.join(steps)}`, {first['msg']}, got {json_name(first['input'])}"
