"""How a magic's line is read: options as a shell would split them, and words as they were typed.

`parse_argstring` of IPython keeps the quotes of ``-s "two words"`` and stumbles over the
apostrophe of ``%claude What's this?``; here only the options are split, the rest is prose.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import re
import shlex
import tokenize
import typing
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from IPython.core.error import UsageError
from IPython.core.inputtransformer2 import TokenTransformBase

from segmind_jupyter.content.parts import format_error
from segmind_jupyter.errors import SettingsError
from segmind_jupyter.notebook.namespace import is_shape
from segmind_jupyter.words import did_you_mean

if TYPE_CHECKING:
    from IPython.core.magic_arguments import MagicArgumentParser

#: A word as a shell reads it: what stands in quotation marks may hold spaces.
_WORD: Final = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")*""", re.DOTALL)

#: ``KEY=`` before what may be a list or an object of JSON, with spaces of its own.
_JSON: Final = re.compile(r"[^\s=]+=(?=[\[{])")

#: What a word processor makes of quotation marks and of hyphens.
_CURLY: Final = "“”„«»‘’‚"
_DASHED: Final = re.compile(r"(?:^|\s)(?P<typed>[‐‑‒–—―−]{1,2}(?P<name>[A-Za-z][\w-]*))")


def parse(
    parser: MagicArgumentParser, line: str, *, names: Mapping[str, Any] = MappingProxyType({})
) -> tuple[argparse.Namespace, str]:
    """Split a line into the options that it begins with, and the words as they were typed.

    Where words may be meant for an option, nothing is sent: it is asked about. A comment behind
    the options is none of the words. `names` are those that a type behind ``--json`` may have.
    """
    parser.allow_abbrev = False
    actions = parser._option_string_actions
    argv, words, ended = _options(line.strip(), actions, names)
    if not ended:
        words = "" if re.match(r"#(\s|$)", words) else words
        _check_words(words, actions)
    try:
        return parser.parse_args(argv), words
    except (UsageError, SettingsError) as error:
        flags = [word.partition("=")[0] for word in argv if word.startswith("-")]
        unknown = [f"--{f.lstrip('-')}" for f in flags if f not in actions and len(f) > 2]
        # With one hyphen too few it is near to what has two.
        near = "".join(did_you_mean(flag, actions) for flag in unknown)
        raise UsageError(f"{error}{near} (%%claude? lists the options)") from None


def _options(
    rest: str, actions: Mapping[str, Any], names: Mapping[str, Any]
) -> tuple[list[str], str, bool]:
    """Split off the options at the beginning; tells also whether ``--`` ended them."""
    argv: list[str] = []
    while match := re.match(r"--[^\s=]*|-\S+", rest):
        flag, behind = match[0], rest[match.end() :]
        action = actions.get(flag)
        if behind.startswith("="):
            value, rest = _value(action, behind[1:])
            argv.append(f"{flag}={value}")
        elif flag == "--":
            return argv, behind.strip(), True
        elif action is None:  # as in `-ma` or `-p3`
            word, rest = _word(rest)
            argv.append(word)
        elif _takes_value(action, behind.strip(), names):
            value, rest = _value(action, behind.strip())
            argv += [flag, value]
        else:
            argv.append(flag)
            rest = behind
        rest = rest.lstrip()
    return argv, rest, False


def _check_words(words: str, actions: Mapping[str, Any]) -> None:
    """Ask about what may be an option among the words."""
    for dashed in _DASHED.finditer(words):
        name = dashed["name"]
        meant = next((f for f in (f"--{name}", f"-{name}") if f in actions), None)
        ends_it = len(words[dashed.end("name") :].split()) < 2
        if meant and (dashed.start() == 0 or ends_it):
            raise UsageError(
                f"`{dashed['typed']}` begins with a dash, as word processors make one. Did you "
                f"mean `{meant}`?"
            )
    for match in re.finditer(r"(?<=\s)--?[A-Za-z][\w-]*(?=[=\s]|$)", words):
        # A short one may be what the question is about: "What does -m do in git commit?"
        is_sure = match[0].startswith("--") or len(words[match.end() :].split()) < 2
        if match[0] in actions and is_sure:
            raise UsageError(
                f"Is `{match[0]}` an option, or a part of the question? Write options before the "
                "words; `--` before the words sends all of them."
            )


def _takes_value(action: Any, rest: str, names: Mapping[str, Any]) -> bool:
    """Return whether the next word is the value of an option, which may also stand alone."""
    if not rest or action.nargs == 0:
        return False
    if action.nargs is None:
        return True
    try:
        word, behind = _word(rest, raw=True)
    except UsageError:  # the apostrophe of a question
        if rest[0] in _CURLY:
            raise
        return False
    if action.dest == "json":
        return is_type_name(word, behind.strip(), names)
    return word.isdigit()


def _value(action: Any, text: str) -> tuple[str, str]:
    """Split off the value of an option."""
    dest = getattr(action, "dest", "")
    if dest == "param" and (key := _JSON.match(text)):
        try:
            _, end = json.JSONDecoder().raw_decode(text, key.end())
        except ValueError:
            end = 0
        if end and not text[end : end + 1].strip():
            return text[:end], text[end:]
    value, rest = _word(text, raw=dest in ("include", "each", "json"))
    is_whole = text[:1] in ("'", '"') or re.fullmatch(r"\{.+\}", value)
    if dest == "system" and rest.strip() and not rest.lstrip().startswith("-") and not is_whole:
        more = rest.split()[0]
        raise UsageError(
            f"`-s {value}` takes one word, and `{more}` follows. Write more in quotes: "
            f'`-s "{value} {more} ..."`, or `-s "{value}"` where the question begins behind it'
        )
    return value, rest


def _word(text: str, *, raw: bool = False) -> tuple[str, str]:
    """Split off a word, without its quotation marks; `raw` leaves those inside it."""
    if text and text[0] in _CURLY:
        raise UsageError(
            f"`{text.split()[0]}` begins with a quotation mark of a word processor. Write "
            'straight ones, as in `-s "be brief"`'
        )
    match = _WORD.match(text)
    word = match[0] if match else ""
    rest = text[len(word) :]
    if rest[:1].strip():
        raise UsageError(f"No closing quotation in `{text.strip()}`: close the quotation mark.")
    return word if raw and word[:1] not in ("'", '"') else "".join(shlex.split(word)), rest


_LINE: Final = re.compile(r"(?P<before>.*?)%claude[ \t]+(?P<rest>\S.*\?)[ \t]*\n?", re.DOTALL)
_INDENTS: Final = frozenset({tokenize.INDENT, tokenize.DEDENT, tokenize.NEWLINE, tokenize.NL})


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
                    # Transformers go in the order of the columns at which statements begin.
                    first = next(token for token in tokens if token.type not in _INDENTS)
                    return cls((percent.start[0], first.start[1]))
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


def as_claude_cell(lines: list[str]) -> list[str]:
    """Let comments stand above `%%claude`, and a cell without a body be the line that it is.

    Below `%%claude --alt` stands code, which runs as any cell does.
    """
    first = next((n for n, line in enumerate(lines) if not re.match(r"\s*(#|$)", line)), None)
    if first is None or not re.match(r"[ \t]*%%claude([ \t]|\n|$)", lines[first]):
        return lines
    cell = [lines[first].lstrip(), *lines[first + 1 :]]
    rest = cell[0].strip().removeprefix("%%claude")
    if "--alt" in rest.split() and "".join(cell[1:]).strip():
        magics = "get_ipython().magics_manager.registry['ClaudeMagics']"
        call = f"{magics}.begin_alt({rest.strip()!r})\n"
        return [*lines[:first], call, *lines[first + 1 :]]
    return cell if "".join(cell[1:]) else [cell[0].removeprefix("%")]


# The type behind `--json`

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
    from segmind_jupyter.content.prompt import WHOLE_PATH

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
    from segmind_jupyter.content.prompt import WHOLE_PATH, value_at

    if WHOLE_PATH.fullmatch(text) and (text not in _KNOWN or text in names):
        return value_at(text, names, option="--json")
    try:
        return _read(ast.parse(text, mode="eval").body, names)
    except Exception as error:  # a type of the user's may raise anything when it is put together
        raise _unreadable(text, f"{format_error(error)}.") from error


def _types_in(names: Mapping[str, Any]) -> list[str]:
    """List the variables that can be a type."""
    return [
        name
        for name, value in names.items()
        if is_shape(value) or typing.get_origin(value) is not None
    ]


def _unreadable(text: str, why: str) -> UsageError:
    return UsageError(
        f"`--json {text}`: {why} Write a type without spaces, such as `list[Person]` or "
        "`dict[str,int]`, or assign it to a variable and name that; `--json --` begins the "
        "question."
    )


def _read(node: ast.expr, names: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(id=name) if name in names or name in _KNOWN:
            return names[name] if name in names else _KNOWN[name]
        case ast.Name(id=name):
            hint = did_you_mean(name, [*_types_in(names), *_KNOWN])
            raise TypeError(f"no variable has the name `{name}`{hint}")
        case ast.Subscript(value=inner, slice=key):
            return _read(inner, names)[_read(key, names)]
        case ast.Tuple(elts=parts) if parts:
            return tuple(_read(part, names) for part in parts)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _read(left, names) | _read(right, names)
        case ast.Constant(value=None | str() | int() as value):
            return value
    raise TypeError(f"`{ast.unparse(node)}` is no type")
