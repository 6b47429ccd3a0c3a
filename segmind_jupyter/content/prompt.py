"""A prompt with named objects in it becomes an ordered list of pieces; nothing is evaluated.

``{name}``, ``{name.attr}``, ``{name[0]}`` and ``{name['key']}`` stand for what they lead to; names
with a leading underscore, code and TeX stay as they were typed, and ``{{name}}`` is the escape.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from segmind_jupyter.content.files import refuse_file_names
from segmind_jupyter.content.parts import (
    MAX_IMAGES,
    STANDARD,
    Image,
    Limits,
    Part,
    Text,
    is_kind,
    merged,
)
from segmind_jupyter.errors import ContentError, shortened

#: Where a request has more than a few images, their sides are bounded (Anthropic's vision page).
_FEW_IMAGES, _MANY_EDGE_PX = 20, 2000

#: Most names that are pointed out; a prompt full of code has many.
_MAX_NOTES: Final = 5


@dataclass(frozen=True, slots=True)
class Attachment:
    """An object of the user's, and what it became."""

    name: str
    parts: tuple[Part, ...]

    @property
    def images(self) -> tuple[Image, ...]:
        """The images among the parts."""
        return tuple(part for part in self.parts if isinstance(part, Image))

    @property
    def left_out(self) -> tuple[str, ...]:
        """How much of it went, where that is not all: ``"20,000 of 60,189 characters"``."""
        return tuple(dict.fromkeys(part.left_out for part in self.parts if part.left_out))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how it was read, and which setting sends more of it."""
        notes = [note for part in self.parts for note in part.notes]
        called = f"`{self.name}`: " if self.name else ""
        if self.name and not any(part.tokens for part in self.parts):
            notes.append(f"{called}it is empty, so nothing of it went.")
        for words in self.left_out[:_MAX_NOTES]:
            if words.endswith((" characters", " items")):  # a table is summed up in any case
                notes.append(
                    f"{called}{words} went; `%config ClaudeMagics.text_chars` sets how many."
                )
        return tuple(notes)

    @property
    def label(self) -> str:
        """Its name, and what it is where it went as one part: ``"fig · Figure 8×4 in"``."""
        about = self.parts[0].about if len(self.parts) == 1 else ""
        return " · ".join(filter(None, (self.name, about)))

    @property
    def summary(self) -> str:
        """What went out for it: ``"800×400 PNG, 23 kB, ≈435 tokens"``, or the sum of many parts."""
        if len(self.parts) == 1:
            return described(self.parts[0])
        images, tokens = len(self.images), sum(part.tokens for part in self.parts)
        counts = [counted(images, "image"), counted(len(self.parts) - images, "text")]
        said = (*counts, *self.left_out[:_MAX_NOTES], estimated_tokens(tokens))
        return ", ".join(filter(None, said))


def described(part: Part) -> str:
    """Say what one part is: pixels, format and bytes, what was left out, and estimated tokens."""
    kind, size = "text", ""
    if isinstance(part, Image):
        kind = part.media_type.removeprefix("image/").upper()
        kind, size = f"{part.width}×{part.height} {kind}", readable_bytes(len(part.data))
    return ", ".join(filter(None, (kind, size, part.left_out, estimated_tokens(part.tokens))))


def readable_bytes(n_bytes: int) -> str:
    """Round to a decimal unit: 800 B, 23 kB, 1.2 MB."""
    if n_bytes < 1_000:
        return f"{n_bytes} B"
    if n_bytes < 999_500:
        return f"{n_bytes / 1_000:.0f} kB"
    return f"{n_bytes / 1_000_000:.1f} MB"


def estimated_tokens(tokens: int) -> str:
    """Say an estimate: ``"≈435 tokens"``."""
    return f"≈{tokens:,} token{'' if tokens == 1 else 's'}"


def counted(count: int, noun: str) -> str:
    """Say how many: ``"2 images"``; nothing of none."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}" if count else ""


@dataclass(frozen=True)
class Prompt:
    """What is asked, in order: words as they were typed, and objects where they were named."""

    pieces: tuple[str | Attachment, ...]
    notes: tuple[str, ...] = ()

    @property
    def sent(self) -> tuple[Attachment, ...]:
        """The objects alone."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Attachment))

    def blocks(self) -> list[dict[str, Any]]:
        """Return the content blocks: neighbouring texts joined, blank ones left out."""
        return [part.wire() for part in self.parts()]

    def parts(self) -> list[Part]:
        """Return what the blocks are made from, one for one."""
        pieces = (
            (Text(piece),) if isinstance(piece, str) else piece.parts for piece in self.pieces
        )
        return merged(part for parts in pieces for part in parts)


def compose(
    body: str,
    namespace: Mapping[str, Any],
    *,
    include: Iterable[str] = (),
    raw: bool = False,
    attached: Sequence[Attachment] = (),
    limits: Limits = STANDARD,
    is_template: bool = False,
) -> Prompt:
    """Read a prompt; in a template, the few names that there are are read in code and TeX too."""
    include = list(include)

    def make(limits: Limits) -> Prompt:
        values = {path: value_at(path, namespace, option="-i") for path in include}
        first = [_item(path, value, limits, is_inline=False) for path, value in values.items()]
        if raw:
            return _noted((*attached, *first, body))
        words, notes = _read(body, namespace, limits, is_template=is_template)
        return _noted((*attached, *first, *words), notes)

    return _within_bounds(make, limits, "the prompt, or what it names, is empty. Write words")


def gather(contents: Iterable[Any], *, limits: Limits = STANDARD) -> Prompt:
    """Make a prompt of values in the order given: strings are words, the rest are objects.

    A long string behind the first one is a document, and is cut as it would be in braces.
    """
    contents = list(contents)
    words = [content for content in contents if isinstance(content, str)]

    def make(limits: Limits) -> Prompt:
        pieces: list[str | Attachment] = []
        typed = 0
        for content in contents:
            is_words = isinstance(content, str) and (not typed or len(content) <= limits.text_chars)
            typed += is_words
            piece = content if is_words else _item("", content, limits)
            if pieces and _is_text(pieces[-1], -1) and _is_text(piece, 0):
                pieces.append("\n")  # nobody typed a space between two texts
            pieces.append(piece)
        return _noted(pieces, (note for text in words for note in _brace_notes(text)))

    for text in words:
        refuse_file_names([text], f"Path({shortened(repr(text))})")
    return _within_bounds(make, limits, 'pass words, as in `ask("What is this?", fig)`')


def _is_text(piece: str | Attachment, at: int) -> bool:
    """Return whether a piece begins (0) or ends (-1) with a text."""
    return isinstance(piece, str) or any(isinstance(part, Text) for part in piece.parts[at:][:1])


def _brace_notes(text: str) -> Iterator[str]:
    """Point out ``{df}`` in words from code, where whoever called has a `df`."""
    found = [match["path"] for match in _BRACED.finditer(text) if match["path"]]
    frame = sys._getframe() if found else None
    while frame and str(frame.f_globals.get("__name__")).startswith("segmind_jupyter"):
        frame = frame.f_back
    for path in found[:_MAX_NOTES]:
        root = _root(path)
        if frame and (root in frame.f_locals or root in frame.f_globals):
            yield (
                f"`{{{path}}}` was sent as typed: braces are read in cells alone. Pass the object "
                f'beside the words: `ask("What does it show?", {path})`.'
            )


def _noted(pieces: Iterable[str | Attachment], notes: Iterable[str] = ()) -> Prompt:
    """Make a prompt that also knows what there is to say of its objects, each thing once."""
    prompt = Prompt(tuple(pieces))
    of_items = (note for item in prompt.sent for note in item.notes)
    return dataclasses.replace(prompt, notes=tuple(dict.fromkeys((*notes, *of_items))))


def _within_bounds(make: Callable[[Limits], Prompt], limits: Limits, if_empty: str) -> Prompt:
    """Make a prompt that says something, with no more and no larger images than a request takes."""
    prompt = make(limits)
    if not prompt.blocks():
        raise ContentError(f"There is nothing to ask: {if_empty}.")
    images = sum(len(item.images) for item in prompt.sent)
    if images > MAX_IMAGES:
        raise ContentError(
            f"The prompt holds {images} images; a request takes {MAX_IMAGES}. Name fewer, or ask "
            "in several cells."
        )
    if images > _FEW_IMAGES and limits.image_edge_px > _MANY_EDGE_PX:
        return make(dataclasses.replace(limits, image_edge_px=_MANY_EDGE_PX))
    return prompt


def _is_empty(value: Any) -> bool:
    """Return whether a container, an array or a table holds nothing at all."""
    if type(value) in (list, tuple, set, frozenset, dict):  # others may have a form of their own
        return not value
    is_table = is_kind(value, "pandas", "DataFrame", "Series") or is_kind(value, "numpy", "ndarray")
    return (is_table or is_kind(value, "polars", "DataFrame", "Series")) and 0 in value.shape


def _item(
    name: str, value: Any, limits: Limits, *, is_template: bool = False, is_inline: bool = True
) -> Attachment:
    what = f"`{name}`" if name else "What is to be sent"
    if value is None:
        raise ContentError(
            f"{what} is None: there is nothing to send. Look where it comes from (`cv2.imread` "
            "gives None for a path that is not there), or say it in words."
        )
    # Here, as many a prompt names no object: what converts them is a fifth of a first cell's time.
    from segmind_jupyter.content.convert import to_parts

    parts = () if _is_empty(value) else tuple(to_parts(value, name=name or None, limits=limits))
    is_said = isinstance(value, str) or any(getattr(part, "text", " ") for part in parts)
    if not (is_said or is_template):  # an item may well be empty
        raise ContentError(
            f"{what} ({type(value).__name__}) is empty: there is nothing to send. Look where it "
            "comes from, or say it in words."
        )
    if not is_inline:  # no sentence names it: its texts stand apart from their neighbours
        parts = tuple(
            dataclasses.replace(part, inline=False) if isinstance(part, Text) else part
            for part in parts
        )
    said = "" if isinstance(value, str) else "".join(getattr(part, "text", " ") for part in parts)
    if _BARE.fullmatch(said):
        called = f"`{name}`: all" if name else "All"
        raise ContentError(
            f"{called} that it says of itself is {shortened(said)}. Name what it holds or "
            f"gives, such as `list({name or 'x'})`, a Styler's `{name or 'x'}.data`, a grouping's "
            f"`{name or 'x'}.mean()` or `{name or 'x'}.collect()`, or `register` a form for it."
        )
    return Attachment(name=name, parts=parts)


_STEP: Final = r"""\.[^\W\d]\w* | \[-?\d{1,9}\] | \['[^'\n]*'\] | \["[^"\n]*"\]"""
_PATH: Final = rf"[^\W\d]\w*(?:{_STEP})*"
_STEPS: Final = re.compile(_STEP, re.VERBOSE)

#: All that may stand in braces, alone, escaped and as a placeholder.
WHOLE_PATH: Final = re.compile(_PATH, re.VERBOSE)
_BRACED: Final = re.compile(
    rf"\{{\{{(?P<escaped>{_PATH})\}}\}}|\{{(?P<path>{_PATH})\}}", re.VERBOSE
)

#: What an object without a repr of its own says, a generator or a lock, say.
_BARE: Final = re.compile(r"<(?:\w+ )?[\w.<>]+ (?:object|generator)\b[^\n]*>|<[\w.]+>|<module .*>")

#: IPython's names for the values that cells gave: ``_``, ``__``, ``___`` and ``_3``.
_OUTPUT: Final = re.compile(r"_{1,3}|_\d+")

#: What begins like a name in braces and goes on like an expression.
_NEARLY: Final = re.compile(r"(?<!\{)\{(?P<inside> *[^\W\d_]\w*[^\w{}\n][^{}\n]*| +\w+)\}")
_NAME: Final = re.compile(r"[^\W\d_]\w*")

#: Code: a fence to its end (or that of the prompt), a span within a paragraph, a JS template.
_CODE: Final = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})(?P<language>[^\n`]*)\n(?P<block>(?:.*\n)*?)"
    r"(?:[ \t]*(?P=fence)[`~]*[ \t]*$|.*\Z)"
    r"|(?<!`)(?P<ticks>`+)(?!`)(?P<span>(?:[^\n]|\n(?!\s*\n))+?)(?<!`)(?P=ticks)(?!`)"
    r"|\$(?=\{)(?P<template>\{[^{}\n]*\})",
    re.MULTILINE,
)

#: TeX: the braces behind a command, which may have many, or behind a subscript or a superscript.
_GROUP: Final = functools.reduce(
    lambda inner, _: rf"\{{(?:[^{{}}]|{inner})*+\}}", range(7), r"\{[^{}]*+\}"
)
_TEX: Final = re.compile(
    rf"(?P<command>\\[A-Za-z]+\*?)(?:\[[^\[\]\n]{{0,200}}\]|{_GROUP})+|(?P<script>[_^]){_GROUP}"
)


def value_at(path: str, namespace: Mapping[str, Any], *, option: str) -> Any:
    """Return what an option names: a variable, or an attribute, index or key of one."""
    if not WHOLE_PATH.fullmatch(path):
        raise ContentError(
            f"`{option} {path}` is no name. Give the name of a variable, such as `{option} df`, "
            f"`{option} axes[0]` or `{option} result.frame`."
        )
    try:
        return _looked_up(path, namespace)
    except _UnreadableError as error:
        near = _near(_root(path), namespace)
        hint = f" Did you mean `{near}`?" if near else ""
        raise ContentError(f"`{option} {path}`: {error}{hint}") from None


class _UnreadableError(Exception):
    """A path that leads nowhere; the message says where it ends."""


def _read(
    body: str, namespace: Mapping[str, Any], limits: Limits, *, is_template: bool
) -> tuple[list[str | Attachment], list[str]]:
    """Return words and objects in the order in which they stand, and what looks like names too."""
    kept = [] if is_template else list(as_typed(body))
    items: dict[str, Attachment] = {}  # one object named twice is converted once
    in_code: dict[str, str] = {}
    unread: dict[str, str] = {}
    pieces: list[str | Attachment] = []
    end = 0
    for match in _BRACED.finditer(body):
        path = match["path"] or match["escaped"]
        is_known = _root(path) in namespace
        why = next((why for start, stop, why in kept if start <= match.start() < stop), "")
        piece: str | Attachment = f"{{{path}}}"
        if why or match["escaped"]:
            if why and match["path"] and is_known:
                in_code[path] = why
            if why or not is_known:
                continue
        else:
            try:
                if path not in items:
                    value = _looked_up(path, namespace)
                    items[path] = _item(path, value, limits, is_template=is_template)
                piece = items[path]
            except _UnreadableError as error:
                unread[path] = str(error)
                if not is_template:  # whoever made it checks its names
                    _check_miss(path, str(error), namespace)
                continue
        pieces += [body[end : match.start()], piece]
        end = match.end()
    pieces.append(body[end:])
    for match in _NEARLY.finditer(body):  # an f-string would work it out; nothing is evaluated
        inside = match["inside"]
        is_known = any(name in namespace for name in _NAME.findall(inside))
        in_words = not any(start <= match.start() < stop for start, stop, _ in kept)
        if is_known and in_words and not WHOLE_PATH.fullmatch(inside):
            unread[inside] = (
                "only names, attributes and keys are read, without spaces around. Assign it to a "
                "variable first."
            )
    notes = [
        f"`{{{path}}}` was sent as typed where {why}."
        if path in items
        else f"`{{{path}}}` was sent as typed: {why}. `-i {path}` puts it before the prompt."
        for path, why in in_code.items()
    ]
    notes += [f"`{{{path}}}` was sent as typed: {why}" for path, why in unread.items()]
    if (more := len(notes) - _MAX_NOTES) > 0:
        notes[_MAX_NOTES:] = [f"{more} more such names were sent as typed."]
    return pieces, notes


def _check_miss(path: str, why: str, namespace: Mapping[str, Any]) -> None:
    """Refuse what was meant as a name: nobody wants to pay for the braces."""
    root = _root(path)
    way_out = "Nothing was sent; `--raw` sends braces as they are."
    if root.startswith("_") or "underscore" in why:
        return
    if root in namespace:
        raise ContentError(f"`{{{path}}}`: {why} {way_out}")
    if near := _near(root, namespace):
        meant = near + path.removeprefix(root)
        raise ContentError(f"`{{{path}}}`: {why} Did you mean `{{{meant}}}`? {way_out}")


def as_typed(body: str) -> Iterator[tuple[int, int, str]]:
    """Find the code and the TeX in a prompt, in which braces are none of ours, and say which."""
    for match in _CODE.finditer(body):
        inside = (match["block"] or match["span"] or "").strip()
        braced = _BRACED.fullmatch(inside)
        if not (braced and braced["path"]):
            yield match.start(), match.end(), "it stands in code"
    for match in _TEX.finditer(body):
        begins = match["command"] or match["script"]
        yield match.start(), match.end(), f"it stands behind `{begins}`, as in TeX"


def _looked_up(path: str, namespace: Mapping[str, Any]) -> Any:
    """Follow a path of names, attributes and keys, none of which begins with an underscore."""
    root = _root(path)
    steps = _STEPS.findall(path, re.match(r"\w+", path).end())  # type: ignore[union-attr]
    names = (root * (not _OUTPUT.fullmatch(root)), *(s[1:] for s in steps if s[0] == "."))
    if any(name.startswith("_") for name in names):
        raise _UnreadableError("names with a leading underscore are not read.")
    if root not in namespace:
        what = "cell has given a value of" if _OUTPUT.fullmatch(root) else "variable has"
        raise _UnreadableError(f"no {what} the name `{root}`.")
    value, so_far = namespace[root], root
    for step in steps:
        try:
            if step[0] == ".":
                value = getattr(value, unicodedata.normalize("NFKC", step[1:]))
            else:
                key = step[1:-1]
                value = value[key[1:-1] if key[0] in "'\"" else int(key)]
        except Exception as error:  # noqa: BLE001  whatever the user's own object raises
            what = "attribute" if step[0] == "." else "item"
            raise _UnreadableError(
                f"`{so_far}` ({type(value).__name__}) has no {what} `{step.lstrip('.')}` "
                f"({type(error).__name__})."
            ) from None
        so_far += step
    return value


def _root(path: str) -> str:
    """Return the name that a path begins with, as Python spells it: the micro sign is a mu."""
    return unicodedata.normalize("NFKC", re.match(r"\w+", path)[0])  # type: ignore[index]


def _near(root: str, namespace: Mapping[str, Any]) -> str | None:
    """Find the name that was meant by an unknown one: in another case or order, or much alike."""
    if root in namespace or root.startswith("_") or len(root) < 2:
        return None
    public = [known for known in namespace if not known.startswith("_")]
    mixed = sorted if len(root) > 2 else list  # `ts` is no `st`
    same = [known for known in public if mixed(known.casefold()) == mixed(root.casefold())]
    cutoff = {2: 1.0, 3: 0.8}.get(len(root), 0.75)  # `id` is no `idx`
    return next(iter(same or difflib.get_close_matches(root, public, n=1, cutoff=cutoff)), None)
