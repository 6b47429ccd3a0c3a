"""What `--json NAME` names: a variable, or a type that is written out, such as ``list[Person]``.

A type is read by its parts, each looked up by its name; nothing is evaluated.
"""

from __future__ import annotations

import ast
import difflib
import re
import typing
from collections.abc import Mapping
from typing import Any, Final

from IPython.core.error import UsageError

from segmind_jupyter.content.kinds import spelled, type_name
from segmind_jupyter.notebook import peeking

#: Types that need no import, under the names by which Python and `typing` know them.
_BUILT_IN: Final = {
    kind.__name__: kind for kind in (dict, list, str, int, float, bool, tuple, set, frozenset)
}
_OF_TYPING: Final = {
    name: getattr(typing, name)
    for name in ("Any", "Optional", "Union", "Literal", "List", "Dict", "Tuple", "Set")
}
_KNOWN: Final = {**_BUILT_IN, **_OF_TYPING}

#: Of these, the words with which a question may begin: "list five colours".
_VERBS: Final = frozenset({"list", "set", "float"})

#: How what is no name begins that can only be meant for a type.
_WRITTEN_OUT: Final = re.compile(r"[^\W\d][\w.]*[\[|]")

#: How much like a name (of 1) a word must be to be taken for it, mistyped.
_ALIKE: Final = 0.8


def is_shape(word: str, rest: str, names: Mapping[str, Any]) -> bool:
    """Tell whether the word behind `--json` names a shape, or begins the question.

    Parameters
    ----------
    word
        The first word behind the option.
    rest
        What is left of the line.
    names
        The user's variables.

    Raises
    ------
    UsageError
        It is no name, but so much like one that it must be a typing error.
    """
    from segmind_jupyter.content.prompt import WHOLE_PATH

    if _WRITTEN_OUT.match(word):
        return True
    if not WHOLE_PATH.fullmatch(word):
        return False
    is_named = word.partition(".")[0] in names or word in _KNOWN.keys() - _VERBS
    if is_named and rest.startswith("|"):
        raise _unreadable(f"{word} |", "it breaks off.")
    if is_named or not rest or rest.startswith("-"):
        return True
    if near := difflib.get_close_matches(word, _shapes_of(names), n=1, cutoff=_ALIKE):
        raise UsageError(
            f"No variable has the name `{word}`. Did you mean `--json {near[0]}`? If the question "
            f"begins with it, write `--json -- {word}`."
        )
    return False


def _shapes_of(names: Mapping[str, Any]) -> list[str]:
    """List the variables that can be a shape."""
    return [
        name
        for name, value in names.items()
        if peeking.is_shape(value) or typing.get_origin(value) is not None
    ]


def shape_at(text: str, names: Mapping[str, Any]) -> Any:
    """Give what `--json` names.

    Parameters
    ----------
    text
        A variable, an attribute or an item of one, or a type made of such and of Python's own:
        ``list[Person]``, ``dict[str,Person]``, ``Person|None``, ``int``.
    names
        The user's variables.

    Raises
    ------
    UsageError
        It is written as a type, and cannot be read as one.
    ContentError
        It is a name, and there is nothing of that name.
    """
    from segmind_jupyter.content.prompt import WHOLE_PATH, value_at

    if WHOLE_PATH.fullmatch(text) and (text not in _KNOWN or text in names):
        return value_at(text, names, option="--json")
    try:
        return _read(ast.parse(text, mode="eval").body, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _unreadable(text, "it is no type, or it breaks off.") from None
    except _NoTypeError as error:
        raise _unreadable(text, str(error)) from None


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
            return _named(name, names)
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


def _named(name: str, names: Mapping[str, Any]) -> Any:
    if name in names:
        return names[name]
    if name in _KNOWN:
        return _KNOWN[name]
    near = difflib.get_close_matches(name, [*_shapes_of(names), *_KNOWN], n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    raise _NoTypeError(f"no variable has the name `{name}`.{hint}")


def _either(left: Any, right: Any) -> Any:
    from segmind_jupyter.content.expected.shapes import is_type

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
        raise _NoTypeError(f"{spelled(error)}.") from error
