"""How a magic's line is read: options as a shell would split them, then words as they were typed.

`parse_argstring` of IPython keeps the quotes of ``-s "two words"`` and stumbles over the
apostrophe of ``%claude What's this?``; here only the options are split, the rest is prose.
"""

from __future__ import annotations

import argparse
import io
import json
import keyword
import math
import shlex
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser

from segmind_jupyter.notebook.wording import meant

#: Tells whether a word is the value of an option that may also stand alone, from the word and
#: from what is left of the line behind it.
IsValue = Callable[[str, str], bool]


def parse(
    parser: MagicArgumentParser,
    line: str,
    *,
    values: Mapping[str, IsValue] = MappingProxyType({}),
) -> tuple[argparse.Namespace, str]:
    """Split a line into the options before the first word, and the words as they were typed.

    Parameters
    ----------
    parser
        The table of options.
    line
        What stands behind the magic's name. ``--`` ends the options, for words that begin with a
        hyphen.
    values
        By destination: what may be the value of an option that may also stand alone.

    Raises
    ------
    UsageError
        An option is unknown, or its value is missing or malformed.
    """
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
    return meant(option.partition("=")[0], known)


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
