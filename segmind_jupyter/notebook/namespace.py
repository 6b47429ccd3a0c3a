"""What stands around a magic: the line that it is on, and the names that it sees."""

from __future__ import annotations

import dis
import enum
import re
import sys
from collections.abc import Mapping
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, Final


class Use(enum.Enum):
    """What becomes of the value of a magic."""

    SHOWN = "IPython shows it as the value of the cell"
    DROPPED = "it stands alone, and nobody shows it: in a loop, before another statement, a script"
    TAKEN = "it is assigned, or passed on"


def calling_frame() -> FrameType | None:
    """Return the frame whose line the running magic stands on."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name not in ("run_line_magic", "run_cell_magic"):
        frame = frame.f_back
    while frame is not None and _OURS.match(frame.f_globals.get("__name__") or ""):
        frame = frame.f_back
    return frame


#: Modules that hand a magic on: IPython's own, and this package.
_OURS: Final = re.compile(r"(IPython|segmind_jupyter)\.")

#: Steps of the bytecode that do nothing to a value.
_NO_STEPS: Final = ("CACHE", "NOP", "EXTENDED_ARG")


def use_of_value(frame: FrameType | None) -> Use:
    """Tell what a frame is about to do with the value of the call that it waits for.

    Its next step says so: Python prints the value of an expression that is shown, and pops that of
    one that is not.
    """
    if frame is None:
        return Use.TAKEN
    steps = dis.get_instructions(frame.f_code)
    ahead = (step for step in steps if step.offset > frame.f_lasti)
    step = next((step for step in ahead if step.opname not in _NO_STEPS), None)
    if step is None:
        return Use.TAKEN
    # Python 3.12 and newer: INTRINSIC_PRINT.
    if step.opname == "PRINT_EXPR" or (step.opname, step.arg) == ("CALL_INTRINSIC_1", 1):
        return Use.SHOWN
    return Use.DROPPED if step.opname == "POP_TOP" else Use.TAKEN


def names_at(shell: Any, frame: FrameType | None) -> Mapping[str, Any]:
    """Return the names that a magic sees: the user's, ``In`` and ``Out``, and a function's own."""
    names = {name: shell.user_ns[name] for name in ("In", "Out") if name in shell.user_ns}
    names.update(sendable_names(shell))
    scopes = () if frame is None else (frame.f_globals, frame.f_locals)
    for scope in scopes:
        if scope is not shell.user_ns:  # of a function, or as `exec` may have it
            names.update({n: value for n, value in scope.items() if not n.startswith("_")})
    return names


def sendable_names(shell: Any) -> Mapping[str, Any]:
    """Return the user's own variables, as `%who` sees them, and the values that cells gave.

    Of what IPython puts there (`In`, `exit`), the values alone are among them: ``_`` and ``_3``.
    Other names with a leading underscore are not, as no prompt reads them.
    """
    hidden, missing = shell.user_ns_hidden, object()
    names = shell.user_ns.copy()  # a cell may add to them meanwhile: buttons have threads too
    # Before the first value that a cell gave, IPython's names of them are empty.
    given = names.get("_oh") or {}
    outputs = [*("_", "__", "___")[: len(given)], *(f"_{number}" for number in given)]
    own = {
        name: value
        for name, value in names.items()
        if not name.startswith("_") and hidden.get(name, missing) is not value
    }
    return {**{name: names[name] for name in outputs if name in names}, **own}


#: What a notebook has by the dozen, and nobody asks about.
_TOOLS: Final = (ModuleType, FunctionType, MethodType, BuiltinFunctionType, type)

#: What a dict holds that is a JSON schema, and hardly any other dict.
_SCHEMA_WORDS: Final = ("type", "properties", "enum", "anyOf", "oneOf", "allOf", "$ref")

#: Marks of classes that describe data: dataclasses, pydantic's, typed dicts, named tuples.
_SHAPE_MARKS: Final = frozenset(
    {"__dataclass_fields__", "__pydantic_fields__", "__pydantic_decorators__", "_fields",
     "__required_keys__"}
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
    # `type` itself is asked, as a metaclass could answer in its place.
    members = type.__dict__["__dict__"].__get__
    kinds = type.__dict__["__mro__"].__get__(value)
    return any(not _SHAPE_MARKS.isdisjoint(members(kind)) for kind in kinds)
