"""Tab in `%%claude`, `%claude` and `%segmind`: stands between the shell's completer and `offering`.

One override of the completer's own method, on every version the same: matchers are given a token
instead of the text, can silence jedi only with an offer of their own, and not at all before
IPython 8.6. Outside of these magics the completer answers as ever.
"""

from __future__ import annotations

import enum
import logging
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from IPython.core.completer import Completion as IPythonCompletion
from IPython.core.completer import provisionalcompleter

from segmind_jupyter.api.settings import KNOWN_MODELS
from segmind_jupyter.content.parts import type_name
from segmind_jupyter.content.prompt import WHOLE_PATH
from segmind_jupyter.notebook import namespace
from segmind_jupyter.notebook.magics import ClaudeMagics
from segmind_jupyter.notebook.namespace import sendable_names
from segmind_jupyter.notebook.segmind_magic import subcommands
from segmind_jupyter.session import session

#: Blank lines and an indentation may stand before a cell magic; IPython drops them.
_CELL: Final = re.compile(r"\s*%%claude(?P<line>[ \t][^\n]*)?(?:\n(?P<body>.*))?", re.DOTALL)

#: A line magic, alone or behind ``name =``; within a string or a comment it is none.
_LINE: Final = re.compile(
    r"[ \t]*+(?:[^=%#'\"\n]+=[ \t]*)?%(?P<magic>claude|segmind)[ \t](?P<line>.*)"
)

#: A word as a shell reads it; the quotation mark that was opened last may still be open.
_WORD: Final = re.compile(
    r"""(?:[^\s'"\\]|\\.|'[^']*(?:'|\Z)|"(?:[^"\\]|\\.)*(?:"|\Z))*""", re.DOTALL
)

_ROOT: Final = re.compile(r"(?:[^\W\d]\w*)?")
_ATTRIBUTE: Final = re.compile(r"(?P<base>.+)\.(?P<typed>\w*)")
_KEY: Final = re.compile(r"(?P<base>.+)\[(?:(?P<quote>['\"])(?P<typed>[^'\"]*))?")


@dataclass(frozen=True, slots=True)
class Place:
    """A cell or a line of ours, up to the cursor."""

    magic: str
    line: str
    body: str | None = None


def place(before: str) -> Place | None:
    """Tell in which magic of ours the text before the cursor ends; `None` where it is in none."""
    cell = _CELL.fullmatch(before)
    if cell and (cell["line"] or cell["body"] is not None):
        return Place("claude", cell["line"] or "", cell["body"])
    line = _LINE.fullmatch(before[before.rfind("\n") + 1 :])
    return Place(line["magic"], line["line"]) if line else None


class Takes(enum.Enum):
    """What an option does with the word behind it."""

    NOTHING = enum.auto()
    MAYBE = enum.auto()
    VALUE = enum.auto()


@dataclass(frozen=True, slots=True)
class Option:
    """An option is being typed, or could be."""

    typed: str


@dataclass(frozen=True, slots=True)
class Value:
    """The value of an option is being typed; it may lack its second quotation mark."""

    option: str
    typed: str


@dataclass(frozen=True, slots=True)
class Words:
    """The prompt has begun."""

    typed: str


def typed_in(line: str, takes: Callable[[str], Takes]) -> Option | Value | Words:
    """Tell what the line of a `%claude` ends in, by the rules of `line.parse`."""
    rest = line.lstrip()
    while rest.startswith("-"):
        option, rest = _first_word(rest)
        if not rest:
            name, equals, value = option.partition("=")
            return Value(name, value) if equals else Option(option)
        rest = rest.lstrip()
        if option in {"-", "--"}:
            return Words(rest)
        if _has_value(takes(option), rest):
            value, rest = _first_word(rest)
            if not rest:
                return Value(option, value)
            rest = rest.lstrip()
    return Words(rest) if rest else Option("")


def _first_word(text: str) -> tuple[str, str]:
    end = _WORD.match(text).end()  # type: ignore[union-attr]
    return text[:end], text[end:]


def _has_value(takes: Takes, rest: str) -> bool:
    if takes is Takes.MAYBE:
        # One word too many taken from a prompt does no harm here, unless a brace is in it.
        return not rest.startswith("-") and "{" not in _first_word(rest)[0]
    return takes is Takes.VALUE


def open_brace(words: str) -> str | None:
    """Return what was typed since the brace that is still open; `None` where none is."""
    before, brace, inside = words.rpartition("{")
    if not brace or before.endswith("{") or "}" in inside or "\n" in inside:
        return None
    return inside


class Step(enum.Enum):
    """Which part of a path is being typed."""

    ROOT = enum.auto()
    ATTRIBUTE = enum.auto()
    KEY = enum.auto()


@dataclass(frozen=True, slots=True)
class Path:
    """A path that is being typed: ``df.co`` is the attribute ``co`` of the base ``df``."""

    step: Step
    base: str
    typed: str
    quote: str = ""


def path(text: str) -> Path | None:
    """Read a path as far as it is typed; `None` where it can become none (`content.prompt`)."""
    if _ROOT.fullmatch(text):
        return Path(Step.ROOT, "", text)
    for step, pattern in ((Step.ATTRIBUTE, _ATTRIBUTE), (Step.KEY, _KEY)):
        match = pattern.fullmatch(text)
        if match and WHOLE_PATH.fullmatch(match["base"]):
            quote = match["quote"] or "" if step is Step.KEY else ""
            return Path(step, match["base"], match["typed"] or "", quote)
    return None


#: How many of the newest jobs are offered.
_MAX_JOBS: Final = 30


@dataclass(frozen=True, slots=True)
class Offer:
    """One completion."""

    text: str
    about: str


@dataclass(frozen=True, slots=True)
class Offers:
    """What may stand in place of the last characters before the cursor."""

    typed: str = ""
    all: Sequence[Offer] = ()


def offers(text: str, offset: int, names: Callable[[], Mapping[str, Any]]) -> Offers | None:
    """Return what can be typed at a place in a cell; `None` where it is no place of ours."""
    at = place(text[:offset])
    if at is None:
        return None
    if at.magic == "segmind":
        return _of_segmind(at.line)
    behind = text[offset : offset + 2]
    if at.body is not None:
        return _in_words(at, at.body, names(), behind)
    return _of_line(at, names(), behind)


def _of_line(place: Place, names: Mapping[str, Any], behind: str) -> Offers:
    """Return what fits into the line of a `%claude`."""
    match typed_in(place.line, _takes):
        case Words(typed):
            return _in_words(place, typed, names, behind)
        case Option(typed):
            return _beginning(typed, _options())
        case Value(option, typed):
            offers = _of_value(option, typed, names, behind)
            if typed or _takes(option) is Takes.VALUE:
                return offers
            return Offers("", [*offers.all, *_options()])


def _in_words(place: Place, words: str, names: Mapping[str, Any], behind: str) -> Offers:
    """Return what fits into an open brace; prose completes itself."""
    inside = open_brace(words)
    if inside is None or "--raw" in place.line.split():
        return Offers()
    return _of_path(inside, names, behind)


# The options are read from the magic's own table, so that none can be missing here.


def _options() -> list[Offer]:
    actions = ClaudeMagics.claude.parser._actions
    return [Offer(name, "option") for action in actions for name in action.option_strings]


def _takes(option: str) -> Takes:
    action = ClaudeMagics.claude.parser._option_string_actions.get(option)
    if action is None or action.nargs == 0:
        return Takes.NOTHING
    return Takes.VALUE if action.nargs is None else Takes.MAYBE


def _of_value(option: str, typed: str, names: Mapping[str, Any], behind: str) -> Offers:
    """Return what fits behind an option that takes a value."""
    action = ClaudeMagics.claude.parser._option_string_actions.get(option)
    if action is None:
        return Offers()
    if action.dest == "include":
        return _of_path(typed, names, behind)
    if action.dest == "json":
        return _beginning(typed, _shapes(names))
    if action.dest == "chat":
        return _chats_quoted(typed)
    if action.dest == "model":
        return _beginning(typed, _models())
    return _beginning(typed, [Offer(str(choice), "value") for choice in action.choices or ()])


def _models() -> list[Offer]:
    slugs = dict.fromkeys([session().options.model, *KNOWN_MODELS])
    return [Offer(slug, "model") for slug in slugs]


def _shapes(names: Mapping[str, Any]) -> list[Offer]:
    shapes = [(name, value) for name, value in names.items() if namespace.is_shape(value)]
    return [Offer(name, type_name(value)) for name, value in _newest_first(shapes)]


def _chats_quoted(typed: str) -> Offers:
    """Return the conversations by name, quoted where a shell would need it."""
    quote = typed[:1] if typed[:1] in {"'", '"'} else ""
    begun = typed.removeprefix(quote)
    found = [name for name in session().conversations.names if name.startswith(begun)]
    return Offers(typed, [Offer(shlex.quote(name), "chat") for name in found])


# Variables, and what is in them.


def _of_path(typed: str, names: Mapping[str, Any], behind: str) -> Offers:
    """Return what continues a name, an attribute or a key."""
    steps = path(typed)
    if steps is None:
        return Offers()
    if steps.step is Step.ROOT:
        return _of_names(steps.typed, names)
    try:
        value = namespace.at(steps.base, names)
    except LookupError:
        return Offers()
    if steps.step is Step.ATTRIBUTE:
        about = f"of {type_name(value)}"
        return _beginning(steps.typed, [Offer(name, about) for name in namespace.attributes(value)])
    return _of_keys(steps, value, behind)


def _of_names(typed: str, names: Mapping[str, Any]) -> Offers:
    """Return the variables, the newest first.

    Modules, functions and classes only on request, as the values of cells (``_``, ``_3``).
    """
    found = [
        (name, value)
        for name, value in _newest_first(names.items())
        if name.startswith(typed) and name.isidentifier() and (typed or not name.startswith("_"))
    ]
    data = [(name, value) for name, value in found if not namespace.is_tool(value)]
    chosen = data or (found if typed else [])
    return Offers(typed, [Offer(name, type_name(value)) for name, value in chosen])


def _of_keys(path: Path, value: object, behind: str) -> Offers:
    quote = path.quote or "'"
    known = [key for key in namespace.keys(value) if not {quote, "\n"} & set(key)]
    end = "" if behind.startswith(quote) else quote + "]" * (not behind.startswith("]"))
    begin = "" if path.quote else quote
    return Offers(
        path.typed,
        [Offer(begin + key + end, "key") for key in known if key.startswith(path.typed)],
    )


# `%segmind`


def _of_segmind(line: str) -> Offers:
    """Return what fits into the line of a `%segmind`."""
    command, space, rest = line.lstrip().partition(" ")
    if not space:
        return _beginning(command, [Offer(name, "command") for name in subcommands()])
    find = _OF_COMMAND.get(command)
    return Offers() if find is None else find(rest.lstrip())


def _ids(rest: str) -> Offers:
    *before, typed = rest.split(" ")
    entries = session().recorded(limit=_MAX_JOBS)
    known = [
        Offer(entry.request_id, f"job, {entry.state.lower()}")
        for entry in entries
        if entry.request_id not in before
    ]
    return _beginning(typed, known)


def _first_id(rest: str) -> Offers:
    return Offers() if " " in rest else _ids(rest)


def _chats(rest: str) -> Offers:
    """Give the names, which stand here without quotation marks, and what may follow a whole one."""
    names = session().conversations.names
    found = [Offer(name, "chat") for name in names if name.startswith(rest)]
    name, space, typed = rest.rpartition(" ")
    if space and name.strip() in names and not found:
        return _beginning(typed, [Offer("clear", "command")])
    return Offers(rest, found)


def _switch(rest: str) -> Offers:
    return _beginning(rest, [Offer("on", "command"), Offer("off", "command")])


_OF_COMMAND: Final[Mapping[str, Callable[[str], Offers]]] = {
    "resume": _first_id,
    "wait": _ids,
    "chat": _chats,
    "simulator": _switch,
}


def _beginning(typed: str, offers: Iterable[Offer]) -> Offers:
    return Offers(typed, [offer for offer in offers if offer.text.startswith(typed)])


def _newest_first(named: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [*named][::-1]


#: The most that is offered, as IPython's own bound.
_MAX_OFFERS: Final = 500

_log = logging.getLogger(__name__)


class Completion:
    """What a shell offers on Tab where the magics of this package are typed."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._overridden: Any = None

    def install(self) -> None:
        """Answer from now on, in these places alone."""
        completer = getattr(self._shell, "Completer", None)
        if completer is not None:
            self._overridden = vars(completer).get("completions")
            completer.completions = self.completions

    @staticmethod
    def remove(shell: Any) -> None:
        """Return the completer back; nothing happens where nothing was installed."""
        completer: Any = getattr(shell, "Completer", None)
        ours = getattr(getattr(completer, "completions", None), "__self__", None)
        if isinstance(ours, Completion):
            del completer.completions
            if ours._overridden is not None:
                completer.completions = ours._overridden

    def completions(self, text: str, offset: int) -> Iterator[IPythonCompletion]:
        """Stand in for `IPCompleter.completions`, which kernels and terminals ask."""
        ours = self._offers(text, offset)
        yield from self._theirs(text, offset) if ours is None else _for_ipython(ours, offset)

    def _offers(self, text: str, offset: int) -> Offers | None:

        try:
            return offers(text, offset, partial(sendable_names, self._shell))
        except Exception:  # noqa: BLE001 - a key that completes nothing must not show a traceback
            _log.debug("no completions", exc_info=True)
            return Offers()

    def _theirs(self, text: str, offset: int) -> Iterator[IPythonCompletion]:
        completer = self._shell.Completer
        theirs = self._overridden or partial(type(completer).completions, completer)
        found: Iterator[IPythonCompletion] = theirs(text, offset)
        return found


def _for_ipython(ours: Offers, offset: int) -> list[IPythonCompletion]:
    start = offset - len(ours.typed)
    with provisionalcompleter():  # or each of them would warn
        return [
            IPythonCompletion(start, offset, offer.text, type=offer.about)
            for offer in ours.all[:_MAX_OFFERS]
        ]
