"""What Tab offers in `%%claude`, `%claude` and `%segmind`; nobody's code is run for it.

IPython's matchers are given a token instead of the text, and silence jedi only by offers of their
own; its guarded evaluation asks metaclasses.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias
from unicodedata import normalize

from IPython.core.completer import Completion, provisionalcompleter

from segmind_jupyter.api.settings import KNOWN_MODELS
from segmind_jupyter.content.secrets import attributes_of, class_name, is_exactly, kinds_of, members
from segmind_jupyter.notebook.magics import ClaudeMagics
from segmind_jupyter.notebook.namespace import is_shape, is_tool, sendable_names
from segmind_jupyter.notebook.segmind_magic import subcommands
from segmind_jupyter.session import session

#: The most that is offered, as IPython's own bound.
_MAX_OFFERS: Final = 500


class Offer(NamedTuple):
    """One completion; its kind is one word, as front ends have a narrow column for it."""

    text: str
    kind: str
    about: str = ""


#: What may stand in place of the characters that are typed before the cursor.
Offers: TypeAlias = tuple[str, Sequence[Offer]]


def completions(shell: Any, text: str, offset: int) -> list[Completion] | None:
    """Stand in for `IPCompleter.completions` in our magics; elsewhere, `None` leaves it to that."""
    try:
        ours = offers(text, offset, partial(sendable_names, shell))
    except Exception:  # noqa: BLE001 - a key that completes nothing must not show a traceback
        return []
    if ours is None:
        return None
    typed, found = ours
    start = offset - len(typed)
    with provisionalcompleter():  # or each of them would warn
        return [
            Completion(start, offset, offer.text, type=offer.kind, signature=offer.about)
            for offer in found[:_MAX_OFFERS]
        ]


#: Comments, blank lines and an indentation may stand before a cell magic; IPython drops them.
_CELL: Final = re.compile(
    r"(?:[ \t]*(?:#[^\n]*)?\n)*\s*%%claude(?P<line>[ \t][^\n]*)?(?:\n(?P<body>.*))?", re.DOTALL
)

#: A line magic, alone or behind ``name =``; within a string or a comment it is none.
_LINE: Final = re.compile(
    r"[ \t]*+(?:[^=%#'\"\n]+=[ \t]*)?%(?P<magic>claude|segmind)[ \t](?P<line>.*)"
)


def offers(text: str, offset: int, names: Callable[[], Mapping[str, Any]]) -> Offers | None:
    """Return what can be typed at a place in a cell; `None` where it is no place of ours."""
    before, behind = text[:offset], text[offset : offset + 2]
    cell = _CELL.fullmatch(before)
    if cell and cell["body"] is not None:
        line = cell["line"] or ""
        return None if "--alt" in line.split() else _in_words(line, cell["body"], names(), behind)
    if cell and cell["line"]:
        return _in_line(cell["line"], names(), behind)
    magic = _LINE.fullmatch(before[before.rfind("\n") + 1 :])
    if magic is None:
        return None
    if magic["magic"] == "segmind":
        command = magic["line"].lstrip()
        return _beginning(command, (Offer(name, "command") for name in subcommands()))
    return _in_line(magic["line"], names(), behind)


def _in_line(line: str, names: Mapping[str, Any], behind: str) -> Offers:
    """Return what fits into the line of a `%claude`."""
    # The options are read from the magic's own parser, so that none can be missing here.
    actions = ClaudeMagics.claude.parser._option_string_actions
    known = [
        Offer(flag, "option", (action.help or "").replace("%%", "%"))
        for flag, action in actions.items()
    ]
    option, typed = typed_in(line, {flag: action.nargs for flag, action in actions.items()})
    if option is None:
        return _in_words(line, typed, names, behind)
    if not option:
        return _beginning(typed, known)
    action = actions.get(option)
    offered: Iterable[Offer] = ()
    match getattr(action, "dest", None):
        case "include" | "each":
            return _of_path(typed, names, behind)
        case "json":
            shapes = reversed([(n, v) for n, v in names.items() if is_shape(v)])
            offered = (Offer(name, class_name(value)) for name, value in shapes)
        case "chat":  # quoted where a shell would need it
            offered = (Offer(shlex.quote(n), "chat") for n in session().conversations.names)
        case "model":
            slugs = dict.fromkeys([session().options.model, *KNOWN_MODELS])
            offered = (Offer(slug, "model") for slug in slugs)
    # Where the value may be left out, another option can follow.
    is_optional = action is not None and action.nargs is not None and not typed
    return _beginning(typed, [*offered, *(known if is_optional else ())])


#: A word as a shell reads it; the quotation mark that was opened last may still be open.
_WORD: Final = re.compile(
    r"""(?:[^\s'"\\]|\\.|'[^']*(?:'|\Z)|"(?:[^"\\]|\\.)*(?:"|\Z))*""", re.DOTALL
)


def typed_in(line: str, values: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the option whose value a line of `%claude` ends in, and what is typed of that.

    The option is empty where one is being typed, and `None` where the words have begun. `values`
    has for each option how many values it takes, as argparse says it.
    """
    rest, option, word = line.lstrip(), "", ""
    while rest.startswith("-"):
        option, rest = _first_word(rest)
        if not rest:
            name, equals, value = option.partition("=")
            return (name, value) if equals else ("", option)
        rest = rest.lstrip()
        if option in {"-", "--"}:
            return None, rest
        takes = values.get(option, 0)
        word, after = _first_word(rest)
        # One word too many taken from a prompt does no harm, unless a brace is in it.
        is_value = takes is None or (takes == "?" and rest[:1] != "-" and "{" not in word)
        if is_value:
            if not after:
                return option, word
            rest = after.lstrip()
    return ("", "") if not rest else (None, rest)


def _first_word(text: str) -> tuple[str, str]:
    end = _WORD.match(text).end()  # type: ignore[union-attr]
    return text[:end], text[end:]


#: A name, and what of it is being typed: an attribute or a key.
_PATH: Final = re.compile(
    r"(?P<name>(?:[^\W\d]\w*)?)(?:\.(?P<attribute>\w*)|\[(?:(?P<quote>['\"])(?P<key>[^'\"]*))?)?"
)


def _in_words(line: str, words: str, names: Mapping[str, Any], behind: str) -> Offers:
    """Return what fits into an open brace; prose completes itself."""
    before, brace, inside = words.rpartition("{")
    is_open = brace and not before.endswith("{") and "}" not in inside and "\n" not in inside
    if not is_open or "--raw" in line.split():
        return "", ()
    return _of_path(inside, names, behind)


def _of_path(typed: str, names: Mapping[str, Any], behind: str) -> Offers:
    """Return what continues a name, an attribute or a key.

    Of the variables, the newest first; modules, functions and classes come only on request, as the
    values of cells (``_``, ``_3``) do.
    """
    path = _PATH.fullmatch(typed)
    if path is None:
        return "", ()
    begun = normalize("NFKC", path["name"])  # as Python reads names
    if path["name"] == typed:
        found = [
            (name, value)
            for name, value in reversed([*names.items()])
            if name.startswith(begun) and name.isidentifier() and (typed or name[0] != "_")
        ]
        chosen = [item for item in found if not is_tool(item[1])] or (found if typed else [])
        return typed, [Offer(name, class_name(value)) for name, value in chosen]
    if begun not in names:
        return "", ()
    value = names[begun]
    is_frame = any(is_exactly(value, library, "DataFrame") for library in ("pandas", "polars"))
    columns = [name for name in value.columns if type(name) is str] if is_frame else []
    if path["attribute"] is not None:
        known = {k: v for kind in reversed(kinds_of(value)) for k, v in members(kind).items()}
        data = {**known, **attributes_of(value)}.items()
        held = sorted(k for k, v in data if _is_public(k) and not _is_method(v))
        kinds = {**dict.fromkeys(held, "attribute"), **dict.fromkeys(columns, "column")}
        first = filter(_is_public, dict.fromkeys([*columns, *held]))
        return _beginning(path["attribute"], (Offer(name, kinds[name]) for name in first))
    quote, begun = path["quote"] or "'", path["key"] or ""
    # What closes it, unless the editor has put that there.
    end = "" if behind.startswith(quote) else quote + "]" * (not behind.startswith("]"))
    begin = "" if path["quote"] else quote
    kind, keys = ("key", [*value]) if type(value) is dict else ("column", columns)
    own = (key for key in keys if type(key) is str and key.startswith(begun))
    fitting = (key for key in own if not {quote, "\n"} & {*key})
    return begun, [Offer(begin + key + end, kind) for key in fitting]


def _is_method(value: object) -> bool:
    """Tell what a class holds of its methods from properties, which cannot be written over."""
    own = {name for kind in kinds_of(value) for name in members(kind)}
    return is_tool(value) or ("__get__" in own and "__set__" not in own)


def _is_public(name: object) -> bool:
    return type(name) is str and name.isidentifier() and not name.startswith("_")


def _beginning(typed: str, offers: Iterable[Offer]) -> Offers:
    return typed, [offer for offer in offers if offer.text.startswith(typed)]
