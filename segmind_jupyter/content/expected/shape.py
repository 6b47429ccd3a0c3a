"""What every shape of JSON can do, and the plainest one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

from segmind_jupyter.content.expected.strict import Schema
from segmind_jupyter.content.kinds import type_name

_JSON_NAMES: Final = {
    dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number",
    float: "a number", type(None): "null",
}  # fmt: skip


class MisfitError(Exception):
    """A value that does not fit; the message says where, what was expected, and what is there."""


class Shape(Protocol):
    """One shape of JSON."""

    def schema(self) -> Schema:
        """Give its JSON schema."""

    def read(self, value: Any) -> Any:
        """Make what the user wants of a JSON value, or raise `MisfitError`."""


@dataclass(frozen=True)
class AnyObject:
    """Any JSON object."""

    def schema(self) -> Schema:
        """Give a schema that says no more than that."""
        return {"type": "object"}

    def read(self, value: Any) -> dict[str, Any]:
        """Give the object itself."""
        if not isinstance(value, dict):
            raise MisfitError(f"expected an object, got {json_name(value)}")
        return value


def json_name(value: object) -> str:
    """Name the kind of a JSON value, with its article."""
    return _JSON_NAMES.get(type(value), type_name(value))
