"""What Tab offers in `%%claude`, `%claude` and `%segmind`: options, slugs, variables, chats, jobs.

Knows nothing of how a shell asks, or of how a front end shows it. Nothing of the user's is run
for an offer (`peeking`), and nothing is sent.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from segmind_jupyter.api.models import KNOWN_MODELS
from segmind_jupyter.asking import service
from segmind_jupyter.content.kinds import type_name
from segmind_jupyter.notebook import cursor, peeking
from segmind_jupyter.notebook.account import subcommands
from segmind_jupyter.notebook.cursor import Option, Path, Place, Step, Takes, Value, Words
from segmind_jupyter.notebook.magics import ClaudeMagics

#: How many of the newest jobs are offered.
_MAX_JOBS: Final = 30


@dataclass(frozen=True, slots=True)
class Offer:
    """One completion.

    Parameters
    ----------
    text
        What takes the place of what was typed.
    about
        What a front end shows beside it: ``"DataFrame"``, ``"option"``.
    """

    text: str
    about: str


@dataclass(frozen=True, slots=True)
class Offers:
    """What may stand in place of the last characters before the cursor.

    Parameters
    ----------
    typed
        Those characters.
    all
        The completions that begin with them.
    """

    typed: str = ""
    all: Sequence[Offer] = ()


def offers(text: str, offset: int, names: Callable[[], Mapping[str, Any]]) -> Offers | None:
    """Give what can be typed at a place in a cell; `None` where it is no place of ours.

    Parameters
    ----------
    text
        The whole cell.
    offset
        Where the cursor stands in it, in code points.
    names
        Gives the user's variables, oldest first.
    """
    place = cursor.place(text[:offset])
    if place is None:
        return None
    if place.magic == "segmind":
        return _of_segmind(place.line)
    behind = text[offset : offset + 2]
    if place.body is not None:
        return _in_words(place, place.body, names(), behind)
    return _of_line(place, names(), behind)


def _of_line(place: Place, names: Mapping[str, Any], behind: str) -> Offers:
    """Give what fits into the line of a `%claude`."""
    match cursor.typed_in(place.line, _takes):
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
    """Give what fits into an open brace; prose completes itself."""
    inside = cursor.open_brace(words)
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
    """Give what fits behind an option that takes a value."""
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
    slugs = dict.fromkeys([service().options.model, *KNOWN_MODELS])
    return [Offer(slug, "model") for slug in slugs]


def _shapes(names: Mapping[str, Any]) -> list[Offer]:
    shapes = [(name, value) for name, value in names.items() if peeking.is_shape(value)]
    return [Offer(name, type_name(value)) for name, value in _newest_first(shapes)]


def _chats_quoted(typed: str) -> Offers:
    """Give the conversations by name, quoted where a shell would need it."""
    quote = typed[:1] if typed[:1] in {"'", '"'} else ""
    begun = typed.removeprefix(quote)
    found = [name for name in service().conversations.names if name.startswith(begun)]
    return Offers(typed, [Offer(shlex.quote(name), "chat") for name in found])


# Variables, and what is in them.


def _of_path(typed: str, names: Mapping[str, Any], behind: str) -> Offers:
    """Give what continues a name, an attribute or a key.

    Parameters
    ----------
    typed
        The path so far.
    names
        The user's variables, oldest first.
    behind
        What stands behind the cursor: an editor may have closed a bracket by itself.
    """
    path = cursor.path(typed)
    if path is None:
        return Offers()
    if path.step is Step.ROOT:
        return _of_names(path.typed, names)
    try:
        value = peeking.at(path.base, names)
    except LookupError:
        return Offers()
    if path.step is Step.ATTRIBUTE:
        about = f"of {type_name(value)}"
        return _beginning(path.typed, [Offer(name, about) for name in peeking.attributes(value)])
    return _of_keys(path, value, behind)


def _of_names(typed: str, names: Mapping[str, Any]) -> Offers:
    """Give the variables, the newest first.

    Modules, functions and classes only on request, as the values of cells (``_``, ``_3``).
    """
    found = [
        (name, value)
        for name, value in _newest_first(names.items())
        if name.startswith(typed) and name.isidentifier() and (typed or not name.startswith("_"))
    ]
    data = [(name, value) for name, value in found if not peeking.is_tool(value)]
    chosen = data or (found if typed else [])
    return Offers(typed, [Offer(name, type_name(value)) for name, value in chosen])


def _of_keys(path: Path, value: object, behind: str) -> Offers:
    quote = path.quote or "'"
    known = [key for key in peeking.keys(value) if not {quote, "\n"} & set(key)]
    end = "" if behind.startswith(quote) else quote + "]" * (not behind.startswith("]"))
    begin = "" if path.quote else quote
    return Offers(
        path.typed,
        [Offer(begin + key + end, "key") for key in known if key.startswith(path.typed)],
    )


# `%segmind`


def _of_segmind(line: str) -> Offers:
    """Give what fits into the line of a `%segmind`."""
    command, space, rest = line.lstrip().partition(" ")
    if not space:
        return _beginning(command, [Offer(name, "command") for name in subcommands()])
    find = _OF_COMMAND.get(command)
    return Offers() if find is None else find(rest.lstrip())


def _ids(rest: str) -> Offers:
    *before, typed = rest.split(" ")
    entries = service().recorded(limit=_MAX_JOBS)
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
    names = service().conversations.names
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
