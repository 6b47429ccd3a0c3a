"""Which variables of a notebook a chat offers to attach, and what it says about each.

Types are looked at, and the few attributes that are known to cost nothing: no object is converted,
spelled, opened or asked for anything that its author wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from segmind_jupyter.content.kinds import is_kind, type_name
from segmind_jupyter.content.sent import counted
from segmind_jupyter.notebook.peeking import is_tool
from segmind_jupyter.notebook.wording import one_line

#: Values of these very types tell their length without running anybody's code.
_SIZED: Final[Mapping[type, str]] = {
    str: "character", bytes: "byte",
    **dict.fromkeys((list, tuple, dict, set, frozenset), "item"),
}  # fmt: skip

#: Longest type name that is shown; anybody may define a class.
_MAX_TYPE_CHARS: Final = 30


@dataclass(frozen=True, slots=True)
class Attachable:
    """A variable that can be attached.

    Parameters
    ----------
    name
        Its name.
    about
        Its type and its size, as far as they are known: ``"DataFrame 120×4"``.
    """

    name: str
    about: str

    @property
    def label(self) -> str:
        """Both, for a button."""
        return f"{self.name} · {self.about}"


def attachables(names: Mapping[str, Any]) -> list[Attachable]:
    """List the variables that can be attached: pictures and tables first, the newest ones first.

    Parameters
    ----------
    names
        The user's variables, oldest first.
    """
    offered = [(name, value) for name, value in reversed(list(names.items())) if _is(name, value)]
    offered.sort(key=lambda pair: _size_of(pair[1]) is None)
    return [Attachable(name, _about(value)) for name, value in offered]


def _is(name: str, value: object) -> bool:
    """Tell whether a prompt could name it, and somebody might want that."""
    if not name.isidentifier() or name.startswith("_"):
        return False
    is_handle = str(type(value).__module__).startswith("segmind_jupyter.")
    return not (is_tool(value) or is_handle)


def _about(value: Any) -> str:
    words = [one_line(type_name(value))[:_MAX_TYPE_CHARS]]
    size_of = _size_of(value)
    with suppress(Exception):  # a class of the same name may hold anything
        if size_of is not None:
            words.append(size_of(value))
        elif type(value) in _SIZED:
            noun = _SIZED[type(value)]
            words.append(f"of {counted(len(value), noun) or f'no {noun}s'}")
    return " ".join(words)


def _size_of(value: object) -> Callable[[Any], str] | None:
    """Give what tells the size of a picture or a table; `None` for anything else."""
    return next((size for test, size in _SIZES if test(value)), None)


def _shape(value: Any) -> str:
    return "×".join(f"{int(side)}" for side in value.shape)


def _pixels(value: Any) -> str:
    width, height = value.size
    return f"{int(width)}×{int(height)}"


def _inches(value: Any) -> str:
    width, height = value.get_size_inches()
    return f"{width:g}×{height:g} in"


def _of(package: str, *names: str) -> Callable[[object], bool]:
    return lambda value: is_kind(value, package, *names)


_SIZES: Final = (
    (_of("matplotlib", "Figure"), _inches),
    (_of("PIL", "Image"), _pixels),
    (_of("pandas", "DataFrame", "Series"), _shape),
    (_of("polars", "DataFrame", "Series"), _shape),
    (_of("numpy", "ndarray"), _shape),
)
