"""How a magic's line is read: options as a shell would split them, then words as they were typed.

`parse_argstring` of IPython keeps the quotes of ``-s "two words"`` and stumbles over the
apostrophe of ``%claude What's this?``; here only the options are split, the rest is prose.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import io
import json
import keyword
import math
import re
import shlex
import tokenize
import typing
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from IPython.core.error import UsageError
from IPython.core.inputtransformer2 import TokenTransformBase
from IPython.core.magic_arguments import MagicArgumentParser

from segmind_jupyter.content.parts import format_error, type_name
from segmind_jupyter.notebook import namespace
from segmind_jupyter.notebook.display.text import did_you_mean

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
    """Return whether the word behind `--json` names a shape, or begins the question."""
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
        if namespace.is_shape(value) or typing.get_origin(value) is not None
    ]


def shape_at(text: str, names: Mapping[str, Any]) -> Any:
    """Return what `--json` names."""
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


_LINE = re.compile(r"(?P<before>.*?)%claude[ \t]+(?P<rest>\S.*\?)[ \t]*\n?", re.DOTALL)


class QuestionMarkTransformer(TokenTransformBase):
    """Turn a `%claude` line that ends in a question mark into a call of the magic.

    It works on tokens, as IPython's own transformers do, so that the same characters inside a
    string literal are left alone. ``%claude?`` still asks for help.
    """

    #: Before `HelpEnd` and `MagicAssign` (5), which would take the line otherwise.
    priority = 4

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> QuestionMarkTransformer | None:
        """Find the first such line, at its beginning or behind ``name =``."""
        for tokens in tokens_by_line:
            for before, percent, name in zip([None, *tokens], tokens, tokens[1:], strict=False):
                if not (percent.string == "%" and name.string == "claude"):
                    continue
                starts = before is None or before.string == "=" or before.type in _INDENTS
                if starts and _LINE.fullmatch(percent.line, percent.start[1]):
                    return cls((percent.start[0], _statement_column(tokens)))
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Rewrite that line."""
        match = _LINE.fullmatch(lines[self.start_line])
        if match is None:
            raise SyntaxError("not a %claude line")  # IPython then tries the next transformer
        call = f"get_ipython().run_line_magic('claude', {match['rest']!r})"
        lines = lines.copy()
        lines[self.start_line] = f"{match['before']}{call}\n"
        return lines


_INDENTS = frozenset({tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL})


def _statement_column(tokens: list[Any]) -> int:
    """Column at which the statement begins; transformers go in order of their columns."""
    column: int = next(token.start[1] for token in tokens if token.type not in _INDENTS)
    return column


#: Tells whether a word is the value of an option that may also stand alone, from the word and
#: from what is left of the line behind it.
IsValue = Callable[[str, str], bool]


def parse(
    parser: MagicArgumentParser,
    line: str,
    *,
    values: Mapping[str, IsValue] = MappingProxyType({}),
) -> tuple[argparse.Namespace, str]:
    """Split a line into the options before the first word, and the words as they were typed."""
    parser.allow_abbrev = False

    def takes_value(option: str, rest: str) -> bool:
        action = parser._option_string_actions.get(option)
        if action is None or action.nargs == 0 or not rest:
            return False
        return action.nargs is None or _begins_with(rest, values.get(action.dest, _never))

    argv, words = _split(line, takes_value=takes_value)
    try:
        return parser.parse_args(argv), words
    except UsageError as error:
        near = "".join(_meant(option, parser) for option in argv)
        raise UsageError(f"{error}{near} (%%claude? lists the options)") from None


def _meant(option: str, parser: MagicArgumentParser) -> str:
    """Ask about the option that a mistyped one is near to."""
    known = parser._option_string_actions
    if not option.startswith("--") or option.partition("=")[0] in known:
        return ""
    return did_you_mean(option.partition("=")[0], known)


def _never(word: str, rest: str) -> bool:
    return False


def _begins_with(rest: str, is_value: IsValue) -> bool:
    """Ask of the first word, without the quotation marks that a value with spaces has."""
    stream, lexer = _lexer(rest)
    try:
        return is_value(lexer.get_token() or "", rest[stream.tell() :].strip())
    except ValueError:  # the apostrophe of a question
        return False


def _split(line: str, *, takes_value: Callable[[str, str], bool]) -> tuple[list[str], str]:
    stream, lexer = _lexer(line)
    argv: list[str] = []
    while _is_option(line[stream.tell() :]):
        option = _next(lexer, line)
        if option == "--":
            break
        argv.append(option)
        if takes_value(option, line[stream.tell() :].strip()):
            argv.append(_next(lexer, line))
    return argv, line[stream.tell() :].strip()


def _lexer(line: str) -> tuple[io.StringIO, shlex.shlex]:
    """Split as a shell would; the stream tells how far it is."""
    stream = io.StringIO(line)
    lexer = shlex.shlex(stream, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    return stream, lexer


def _is_option(rest: str) -> bool:
    first = rest.split(maxsplit=1)[:1]
    return bool(first) and len(first[0]) > 1 and first[0].startswith("-")


def _next(lexer: shlex.shlex, line: str) -> str:
    try:
        return lexer.get_token() or ""
    except ValueError as error:
        raise UsageError(f"{error} in `{line.strip()}`: close the quotation mark.") from None


def positive_int(text: str) -> int:
    """Read a whole number above zero, or tell argparse that it is none."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


def positive_seconds(text: str) -> float:
    """Read a number of seconds above zero, or tell argparse that it is none."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, not {text!r}")
    return value


def share(text: str) -> float:
    """Read a number from 0 to 1, or tell argparse that it is none."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 1, not {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def variable(text: str) -> str:
    """Read the name of a variable to assign to, or tell argparse that it is none."""
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be the name of a variable")
    return text


def parameter(text: str) -> tuple[str, Any]:
    """Read ``KEY=VALUE``; the value is JSON where it parses as such, and else a string."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
