"""`--json list[Point]`: the type that a reply is to be of, as it is written on the line."""

from __future__ import annotations

import ast
import difflib
import re
import typing
from collections.abc import Mapping
from typing import Any, Final

from IPython.core.error import UsageError

from segmind_jupyter.content.parts import format_error, type_name
from segmind_jupyter.content.prompt import WHOLE_PATH, value_at
from segmind_jupyter.notebook import namespace

#: Types that need no import, under the names by which Python and `typing` know them.
_BUILT_IN: Final = (dict, list, str, int, float, bool, tuple, set, frozenset)
_OF_TYPING: Final = ("Any", "Optional", "Union", "Literal", "List", "Dict", "Tuple", "Set")
_KNOWN: Final[dict[str, Any]] = {
    **{kind.__name__: kind for kind in _BUILT_IN},
    **{name: getattr(typing, name) for name in _OF_TYPING},
}

#: Of these, the words with which a question may begin: "list five colours".
_VERBS: Final = frozenset({"list", "set", "float"})

#: How what is no name begins that can only be meant for a type.
_WRITTEN_OUT: Final = re.compile(r"[^\W\d][\w.]*[\[|]")

#: How much like a name (of 1) a word must be to be taken for it, mistyped.
_ALIKE: Final = 0.8


def is_type_name(word: str, rest: str, names: Mapping[str, Any]) -> bool:
    """Return whether the word behind `--json` names a type, or begins the question."""
    if _WRITTEN_OUT.match(word):
        return True
    if not WHOLE_PATH.fullmatch(word):
        return False
    is_named = word.partition(".")[0] in names or word in _KNOWN.keys() - _VERBS
    if is_named and rest.startswith("|"):
        raise _unreadable(f"{word} |", "it breaks off.")
    if is_named or not rest or rest.startswith("-"):
        return True
    if near := difflib.get_close_matches(word, _types_in(names), n=1, cutoff=_ALIKE):
        raise UsageError(
            f"No variable has the name `{word}`. Did you mean `--json {near[0]}`? If the question "
            f"begins with it, write `--json -- {word}`."
        )
    return False


def type_at(text: str, names: Mapping[str, Any]) -> Any:
    """Return what `--json` names; nothing is evaluated."""
    if WHOLE_PATH.fullmatch(text) and (text not in _KNOWN or text in names):
        return value_at(text, names, option="--json")
    try:
        return _read(ast.parse(text, mode="eval").body, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _unreadable(text, "it is no type, or it breaks off.") from None
    except _NoTypeError as error:
        raise _unreadable(text, str(error)) from None


def _types_in(names: Mapping[str, Any]) -> list[str]:
    """List the variables that can be a type."""
    return [
        name
        for name, value in names.items()
        if namespace.is_shape(value) or typing.get_origin(value) is not None
    ]


def _unreadable(text: str, why: str) -> UsageError:
    return UsageError(
        f"`--json {text}`: {why} Write a type without spaces, such as `list[Person]` or "
        "`dict[str,int]`, or assign it to a variable and name that; `--json --` begins the "
        "question."
    )


class _NoTypeError(Exception):
    """A part of what is written that is no type; the message says which."""


def _read(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(id=name):
            if name in names or name in _KNOWN:
                return names[name] if name in names else _KNOWN[name]
            near = difflib.get_close_matches(name, [*_types_in(names), *_KNOWN], n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise _NoTypeError(f"no variable has the name `{name}`.{hint}")
        case ast.Attribute(value=inner, attr=name) if not name.startswith("_"):
            return _made(getattr, _read(inner, names), name)
        case ast.Subscript(value=inner, slice=key):
            return _made(lambda of, at: of[at], _read(inner, names), _read(key, names))
        case ast.Tuple(elts=parts) if parts:
            return tuple(_read(part, names) for part in parts)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _made(_either, _read(left, names), _read(right, names))
        case ast.Constant(value=None | str() | int() as value):
            return value
    raise _NoTypeError(f"`{ast.unparse(node)}` is no type.")


def _either(left: Any, right: Any) -> Any:
    from segmind_jupyter.content.json_schema import is_type

    for side in (left, right):
        if side is not None and not is_type(side):
            raise _NoTypeError(f"a value of type `{type_name(side)}` is no type.")
    return left | right


def _made(make: Any, *parts: Any) -> Any:
    """Put parts together; what a type of the user's raises on the way is told."""
    try:
        return make(*parts)
    except _NoTypeError:
        raise
    except Exception as error:
        raise _NoTypeError(f"{format_error(error)}.") from error
