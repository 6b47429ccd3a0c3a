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
_WORD: Final = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""", re.DOTALL)

#: ``KEY=`` before what may be a list or an object of JSON, with spaces of its own.
_JSON: Final = re.compile(r"[^\s=]+=(?=[\[{])")

#: What a word processor makes of quotation marks and of hyphens.
_CURLY: Final = "“”„«»‘’‚"
_DASHED: Final = re.compile(r"(?:^|\s)(?P<typed>[‐‑‒–—―−]{1,2}(?P<name>[A-Za-z][\w-]*))")

#: What can be an option behind the words.
_BEHIND: Final = re.compile(r"(?<=\s)--?[A-Za-z][\w-]*(?=[=\s]|$)")


def parse(
    parser: MagicArgumentParser,
    line: str,
    *,
    names: Mapping[str, Any] = MappingProxyType({}),
    cell: bool = False,
) -> tuple[argparse.Namespace, str]:
    """Split a line into its options, before or behind the words, and the words as they were typed.

    Where nobody could tell whether something is an option, nothing is sent: it is asked about. In
    a `cell`, a comment behind the options is none of the words. `names` are those that a type
    behind ``--json`` may have.
    """
    parser.allow_abbrev = False
    reader = _Reader(parser._option_string_actions, names)
    argv, words, ended = reader.options(line)
    if cell and re.match(r"#(\s|$)", words):
        words = ""
    if words and not ended:
        words, more = reader.behind(words)
        argv += more
    try:
        return parser.parse_args(argv), words
    except (UsageError, SettingsError) as error:
        flags = [word.partition("=")[0] for word in argv if word.startswith("-")]
        unknown = [f"--{f.lstrip('-')}" for f in flags if f not in reader.actions and len(f) > 2]
        # With one hyphen too few it is near to what has two.
        near = "".join(did_you_mean(flag, reader.actions) for flag in unknown)
        raise UsageError(f"{error}{near} (%%claude? lists the options)") from None


class _Reader:
    """Reads a line by the options that there are."""

    def __init__(self, actions: Mapping[str, Any], names: Mapping[str, Any]) -> None:
        self.actions, self._names = actions, names

    def options(self, line: str) -> tuple[list[str], str, bool]:
        """Split off the options at the beginning; tells also whether ``--`` ended them."""
        argv: list[str] = []
        at = 0
        while True:
            at = _behind_spaces(line, at)
            if not re.match(r"-\S", line[at:]):
                return argv, line[at:].strip(), False
            flag = re.split(r"\s", line[at:], maxsplit=1)[0]
            if flag.startswith("--"):
                flag = flag.partition("=")[0]
            action = self.actions.get(flag)
            behind = at + len(flag)
            has_equals = line.startswith("=", behind)
            if action is None and not has_equals:  # as in `-ma` or `-p3`
                word, at = _word(line, at)
                if word == "--":
                    return argv, line[at:].strip(), True
                argv.append(word)
                continue
            argv.append(flag)
            at = behind
            if has_equals or self._takes_value(action, line[at:].strip()):
                begins = at + 1 if has_equals else _behind_spaces(line, at)
                value, at = _value(action, line, begins)
                if has_equals:
                    argv[-1] += f"={value}"
                else:
                    argv.append(value)
                if getattr(action, "dest", "") == "system":
                    _check_whole(flag, line[begins:at], line[at:].strip())

    def behind(self, words: str) -> tuple[str, list[str]]:
        """Split off the options at the end."""
        for dashed in _DASHED.finditer(words):
            name = dashed["name"]
            meant = next((f for f in (f"--{name}", f"-{name}") if f in self.actions), None)
            ends_it = len(words[dashed.end("name") :].split()) < 2
            if meant and (dashed.start() == 0 or ends_it):
                raise UsageError(
                    f"`{dashed['typed']}` begins with a dash, as word processors make one. Did you "
                    f"mean `{meant}`?"
                )
        for match in _BEHIND.finditer(words):
            if match[0] not in self.actions:
                continue
            try:
                argv, rest, _ = self.options(words[match.start() :])
            except UsageError:
                continue
            is_long = match[0].startswith("--")
            if rest and not is_long:
                continue
            before = words[: match.start()].rstrip()
            # A short one may be what the question is about: "What does it do with -c?"
            sure = is_long or before[-1] in ".?!:;)]}\"'`"
            if not rest and (sure or re.match(r"claude|\d", argv[1] if len(argv) > 1 else "")):
                return before, argv
            raise UsageError(
                f"Is `{match[0] if rest else words[match.start() :]}` an option, or a part of the "
                "question? Write options before the words; `--` before the words sends all of them."
            )
        return words, []

    def _takes_value(self, action: Any, rest: str) -> bool:
        """Return whether the next word is the value of an option, which may also stand alone."""
        if not rest or action.nargs is None:
            return bool(rest)
        if action.dest not in ("plot", "code", "json"):
            return False
        try:
            word, end = _word(rest, 0, raw=_is_path(action))
        except UsageError:  # the apostrophe of a question
            return False
        if action.dest == "json":
            return is_type_name(word, rest[end:].strip(), self._names)
        return word.isdigit()


def _behind_spaces(line: str, at: int) -> int:
    return len(line) - len(line[at:].lstrip())


def _value(action: Any, line: str, at: int) -> tuple[str, int]:
    if getattr(action, "dest", "") == "param" and (key := _JSON.match(line, at)):
        try:
            _, end = json.JSONDecoder().raw_decode(line, key.end())
        except ValueError:
            end = at
        if end > at and not line[end : end + 1].strip():
            return line[at:end], end
    return _word(line, at, raw=_is_path(action))


def _word(line: str, at: int, *, raw: bool = False) -> tuple[str, int]:
    """Read one word, without its quotation marks; `raw`, with those inside it."""
    if line[at : at + 1] and line[at] in _CURLY:
        raise UsageError(
            f"`{line[at:].split()[0]}` begins with a quotation mark of a word processor. Write "
            'straight ones, as in `-s "be brief"`'
        )
    word = _WORD.match(line, at)
    end = at if word is None else word.end()
    if line[end : end + 1].strip():
        raise UsageError(f"No closing quotation in `{line.strip()}`: close the quotation mark.")
    text = line[at:end]
    if raw and text[:1] not in ("'", '"'):
        return text, end
    return "".join(shlex.split(text)), end


def _is_path(action: Any) -> bool:
    """Return whether an option's value is a path such as ``df["a"]``, or a type."""
    return getattr(action, "dest", "") in ("include", "each", "json")


def _check_whole(flag: str, typed: str, rest: str) -> None:
    """Ask about a system prompt of one word without quotes, behind which more words stand."""
    is_whole = typed[:1] in ("'", '"') or re.fullmatch(r"\{.+\}", typed)
    if rest and not rest.startswith("-") and not is_whole:
        more = rest.split()[0]
        raise UsageError(
            f"`{flag} {typed}` takes one word, and `{more}` follows. Write more in quotes: "
            f'`{flag} "{typed} {more} ..."`, or `{flag} "{typed}"` where the question begins '
            "behind it"
        )


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
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, RecursionError, MemoryError):
        raise _unreadable(text, "it is no type, or it breaks off.") from None
    try:
        return _read(tree.body, names)
    except SyntaxError as error:
        raise _unreadable(text, f"{error}.") from None
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
        case ast.Name(id=name):
            if name in names or name in _KNOWN:
                return names[name] if name in names else _KNOWN[name]
            hint = did_you_mean(name, [*_types_in(names), *_KNOWN])
            raise SyntaxError(f"no variable has the name `{name}`{hint}")
        case ast.Attribute(value=inner, attr=name) if not name.startswith("_"):
            return getattr(_read(inner, names), name)
        case ast.Subscript(value=inner, slice=key):
            return _read(inner, names)[_read(key, names)]
        case ast.Tuple(elts=parts) if parts:
            return tuple(_read(part, names) for part in parts)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _read(left, names) | _read(right, names)
        case ast.Constant(value=None | str() | int() as value):
            return value
    raise SyntaxError(f"`{ast.unparse(node)}` is no type")
