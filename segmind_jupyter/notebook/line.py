"""How a magic's line is read: options as a shell would split them, and words as they were typed.

`parse_argstring` of IPython keeps the quotes of ``-s "two words"`` and stumbles over the
apostrophe of ``%claude What's this?``; here only the options are split, the rest is prose.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import tokenize
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from IPython.core.error import UsageError
from IPython.core.inputtransformer2 import TokenTransformBase

if TYPE_CHECKING:
    from IPython.core.magic_arguments import MagicArgumentParser

#: Tells whether a word is the value of an option that may also stand alone, from the word and
#: from what is left of the line behind it.
IsValue = Callable[[str, str], bool]

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
    values: Mapping[str, IsValue] = MappingProxyType({}),
    cell: bool = False,
) -> tuple[argparse.Namespace, str]:
    """Split a line into its options, before or behind the words, and the words as they were typed.

    Where nobody could tell whether something is an option, nothing is sent: it is asked about. In
    a `cell`, a comment behind the options is none of the words.
    """
    parser.allow_abbrev = False
    reader = _Reader(parser._option_string_actions, values)
    argv, words, ended = reader.options(line)
    if cell and re.match(r"#(\s|$)", words):
        words = ""
    if words and not ended:
        words, more = reader.behind(words)
        argv += more
    try:
        return parser.parse_args(argv), words
    except UsageError as error:
        raise UsageError(f"{error}{reader.near(argv)} (%%claude? lists the options)") from None


class _Reader:
    """Reads a line by the options that there are."""

    def __init__(self, actions: Mapping[str, Any], values: Mapping[str, IsValue]) -> None:
        self._actions, self._values = actions, values

    def options(self, line: str) -> tuple[list[str], str, bool]:
        """Split off the options at the beginning; tells also whether ``--`` ended them."""
        argv: list[str] = []
        at = 0
        while True:
            at += len(line[at:]) - len(line[at:].lstrip())
            if not re.match(r"-\S", line[at:]):
                return argv, line[at:].strip(), False
            flag = re.split(r"\s", line[at:], maxsplit=1)[0]
            if flag.startswith("--"):
                flag = flag.partition("=")[0]
            action = self._actions.get(flag)
            behind = at + len(flag)
            if action is None and not line.startswith("=", behind):  # as in `-ma` or `-p3`
                word, end = self._word(line, at)
                argv.append(word)
                at = end
                if word == "--":
                    return argv[:-1], line[at:].strip(), True
                continue
            argv.append(flag)
            at = behind
            if line.startswith("=", at):
                begins = at + 1
                value, at = self._value(action, line, begins)
                argv[-1] += f"={value}"
                self._check_whole(action, flag, line[begins:at], line[at:].strip())
            elif action is not None and self._takes_value(action, line[at:].strip()):
                begins = at + len(line[at:]) - len(line[at:].lstrip())
                value, at = self._value(action, line, begins)
                argv.append(value)
                self._check_whole(action, flag, line[begins:at], line[at:].strip())

    def behind(self, words: str) -> tuple[str, list[str]]:
        """Split off the options at the end."""
        for dashed in _DASHED.finditer(words):
            name = dashed["name"]
            meant = next((f for f in (f"--{name}", f"-{name}") if f in self._actions), None)
            if meant and (dashed.start() == 0 or self._ends_it(words[dashed.end("name") :])):
                raise UsageError(
                    f"`{dashed['typed']}` begins with a dash, as word processors make one. Did you "
                    f"mean `{meant}`?"
                )
        for match in _BEHIND.finditer(words):
            if match[0] not in self._actions:
                continue
            try:
                argv, rest, _ = self.options(words[match.start() :])
            except UsageError:
                continue
            if rest and match[0].startswith("--"):
                raise UsageError(self._in_doubt(match[0]))
            if rest:
                continue
            before = words[: match.start()].rstrip()
            # A short one may be what the question is about: "What does it do with -c?"
            sure = match[0].startswith("--") or before[-1] in ".?!:;)]}\"'`"
            if not (sure or re.match(r"claude|\d", argv[1] if len(argv) > 1 else "")):
                raise UsageError(self._in_doubt(words[match.start() :]))
            return before, argv
        return words, []

    def _in_doubt(self, typed: str) -> str:
        return (
            f"Is `{typed}` an option, or a part of the question? Write options before the words; "
            "`--` before the words sends all of them."
        )

    def near(self, argv: list[str]) -> str:
        """Ask about the options that mistyped ones are near to."""
        from segmind_jupyter.words import did_you_mean

        flags = [word.partition("=")[0] for word in argv if word.startswith("-")]
        unknown = [flag for flag in flags if flag not in self._actions and len(flag) > 2]
        # With one hyphen too few it is near to what has two.
        return "".join(did_you_mean(f"--{flag.lstrip('-')}", self._actions) for flag in unknown)

    def _ends_it(self, rest: str) -> bool:
        return not rest.strip() or len(rest.split()) == 1

    def _takes_value(self, action: Any, rest: str) -> bool:
        if action.nargs == 0 or not rest:
            return False
        is_value = self._values.get(action.dest)
        if action.nargs is None or is_value is None:
            return action.nargs is None
        try:
            word, end = self._word(rest, 0, raw=_is_path(action))
        except UsageError:  # the apostrophe of a question
            return False
        return is_value(word, rest[end:].strip())

    def _value(self, action: Any, line: str, at: int) -> tuple[str, int]:
        if getattr(action, "dest", "") == "param" and (key := _JSON.match(line, at)):
            try:
                _, end = json.JSONDecoder().raw_decode(line, key.end())
            except ValueError:
                end = at
            if end > at and not line[end : end + 1].strip():
                return line[at:end], end
        return self._word(line, at, raw=_is_path(action))

    def _word(self, line: str, at: int, *, raw: bool = False) -> tuple[str, int]:
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
        text = "" if word is None else word[0]
        if raw and text[:1] not in ("'", '"'):
            return text, end
        return "".join(shlex.split(text)), end

    def _check_whole(self, action: Any, flag: str, typed: str, rest: str) -> None:
        """Ask about a system prompt of one word without quotes, behind which more words stand."""
        if getattr(action, "dest", "") != "system" or not rest or rest.startswith("-"):
            return
        if typed[:1] in ("'", '"') or re.fullmatch(r"\{.+\}", typed):
            return
        raise UsageError(
            f"`{flag} {typed}` takes one word, and `{rest.split()[0]}` follows. Write more in "
            f'quotes: `{flag} "{typed} {rest.split()[0]} ..."`, or `{flag} "{typed}"` where the '
            "question begins behind it"
        )


def _is_path(action: Any) -> bool:
    """Return whether an option's value is a path such as ``df["a"]``, or a type."""
    return getattr(action, "dest", "") in ("include", "json")


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
    """Let comments stand above `%%claude`, and a cell without a body be the line that it is."""
    first = next((n for n, line in enumerate(lines) if not re.match(r"\s*(#|$)", line)), None)
    if first is None or not re.match(r"[ \t]*%%claude([ \t]|\n|$)", lines[first]):
        return lines
    cell = [lines[first].lstrip(), *lines[first + 1 :]]
    return cell if "".join(cell[1:]) else [cell[0].removeprefix("%")]
