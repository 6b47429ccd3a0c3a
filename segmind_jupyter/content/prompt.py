"""A prompt with named objects in it becomes an ordered list of pieces. Nothing is evaluated.

``{name}``, ``{name.attr}``, ``{name[0]}`` and ``{name['key']}`` stand for what the name holds,
unless a part of it begins with an underscore; ``{{name}}`` is the escape. ``{_}``, ``{__}`` and
``{_3}`` are what cells gave, as IPython names it. Everything else in braces (JSON, TeX, code, a
typing error) stays as it was typed.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from segmind_jupyter.content.files import file_notes
from segmind_jupyter.content.parts import MAX_IMAGES, STANDARD, Image, Limits, Part, Text, merged
from segmind_jupyter.errors import ContentError


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
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how it was read."""
        return tuple(note for part in self.parts if isinstance(part, Text) for note in part.notes)

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
        images = len(self.images)
        texts = len(self.parts) - images
        counts = [counted(images, "image"), counted(texts, "text")]
        tokens = sum(part.tokens for part in self.parts)
        return ", ".join([*filter(None, counts), estimated_tokens(tokens)])


def described(part: Part) -> str:
    """Say what one part is: pixels, format, bytes and estimated tokens, as far as it has them."""
    if not isinstance(part, Image):
        return f"text, {estimated_tokens(part.tokens)}"
    kind = part.media_type.removeprefix("image/").upper()
    size = readable_bytes(len(part.data))
    return f"{part.width}×{part.height} {kind}, {size}, {estimated_tokens(part.tokens)}"


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


_STEP = r"""\.[^\W\d]\w* | \[-?\d{1,9}\] | \['[^'\n]*'\] | \["[^"\n]*"\]"""
_PATH = rf"[^\W\d]\w*(?:{_STEP})*"

_BRACED: Final = re.compile(
    rf"\{{\{{(?P<escaped>{_PATH})\}}\}}|\{{(?P<path>{_PATH})\}}", re.VERBOSE
)
#: All that may stand in braces.
WHOLE_PATH: Final = re.compile(_PATH, re.VERBOSE)
_ROOT: Final = re.compile(r"\w+")

#: IPython's names for the values that cells gave: ``_``, ``__``, ``___`` and ``_3``.
_OUTPUT: Final = re.compile(r"_{1,3}|_\d+")
_STEPS: Final = re.compile(_STEP, re.VERBOSE)

#: What begins like a name in braces and goes on like an expression.
_NEARLY: Final = re.compile(r"(?<!\{)\{(?P<inside> *[^\W\d_]\w*[^\w{}\n][^{}\n]*| +\w+)\}")
_NAME: Final = re.compile(r"[^\W\d_]\w*")

#: Where a request has more than a few images, their sides are bounded (Anthropic's vision page).
_FEW_IMAGES, _MANY_EDGE_PX = 20, 2000

#: Most unknown names that are pointed out; a prompt full of code has many.
_MAX_NOTES = 5


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
        """Return the content blocks: neighbouring texts joined, blank ones left out.

        Anthropic models refuse a text block without a visible character.
        """
        return [part.wire() for part in self.parts()]

    def parts(self) -> list[Part]:
        """Return what the blocks are made from, one for one."""
        return merged(self._each_part())

    def _each_part(self) -> Iterator[Part]:
        for piece in self.pieces:
            if isinstance(piece, str):
                yield Text(piece)
            else:
                yield from piece.parts


def compose(
    body: str,
    namespace: Mapping[str, Any],
    *,
    include: Iterable[str] = (),
    raw: bool = False,
    attached: Sequence[Attachment] = (),
    limits: Limits = STANDARD,
) -> Prompt:
    """Read a prompt."""
    include = list(include)

    def make(limits: Limits) -> Prompt:
        first = [_included(path, namespace, limits) for path in include]
        reader = _Reader(namespace, limits)
        words = [body] if raw else list(reader.pieces(body))
        return _noted((*attached, *first, *words), reader.notes())

    prompt = _within_bounds(make, limits)
    if not prompt.blocks():
        raise ContentError(
            "There is nothing to ask: the prompt, or what it names, is empty. Write what you want "
            "to know."
        )
    return prompt


def gather(contents: Iterable[Any], *, limits: Limits = STANDARD) -> Prompt:
    """Make a prompt of values in the order given: strings are words, the rest are objects."""
    contents = list(contents)

    def make(limits: Limits) -> Prompt:
        pieces = [c if isinstance(c, str) else _item("", c, limits) for c in contents]
        of_words = (note for c in contents if isinstance(c, str) for note in file_notes(c))
        return _noted(_on_lines(pieces), of_words)

    prompt = _within_bounds(make, limits)
    if not prompt.blocks():
        raise ContentError('There is nothing to ask. Pass words, as in ("What is this?", fig).')
    return prompt


def _noted(pieces: Iterable[str | Attachment], notes: Iterable[str] = ()) -> Prompt:
    """Make a prompt that also knows what there is to say of its objects, each thing once."""
    prompt = Prompt(tuple(pieces))
    of_items = (note for item in prompt.sent for note in item.notes)
    return dataclasses.replace(prompt, notes=tuple(dict.fromkeys((*notes, *of_items))))


def _within_bounds(make: Callable[[Limits], Prompt], limits: Limits) -> Prompt:
    """Make a prompt that holds no more images, and no larger ones, than a request may."""
    prompt = make(limits)
    images = sum(len(item.images) for item in prompt.sent)
    if images > MAX_IMAGES:
        raise ContentError(
            f"The prompt holds {images} images; a request takes {MAX_IMAGES}. Name fewer, or ask "
            "in several cells."
        )
    if images > _FEW_IMAGES and limits.image_edge_px > _MANY_EDGE_PX:
        return make(dataclasses.replace(limits, image_edge_px=_MANY_EDGE_PX))
    return prompt


def _on_lines(pieces: Iterable[str | Attachment]) -> Iterator[str | Attachment]:
    """Put a line break between neighbours that are both text; nobody typed a space there."""
    after_text = False
    for piece in pieces:
        if after_text and (isinstance(piece, str) or isinstance(piece.parts[0], Text)):
            yield "\n"
        yield piece
        after_text = isinstance(piece, str) or isinstance(piece.parts[-1], Text)


def _item(name: str, value: Any, limits: Limits) -> Attachment:
    # Here, as many a prompt names no object: what converts them is a fifth of a first cell's time.
    from segmind_jupyter.content.convert import to_parts

    return Attachment(name=name, parts=tuple(to_parts(value, name=name or None, limits=limits)))


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
        raise ContentError(f"`{option} {path}`: {error}{_hint(path, namespace)}") from None


def _included(path: str, namespace: Mapping[str, Any], limits: Limits) -> Attachment:
    return _item(path, value_at(path, namespace, option="-i"), limits)


class _UnreadableError(Exception):
    """A path that leads nowhere; the message says where it ends."""


class _Reader:
    """Splits one body, and remembers what it could not read."""

    def __init__(self, namespace: Mapping[str, Any], limits: Limits) -> None:
        self._namespace = namespace
        self._limits = limits
        self._unread: dict[str, str] = {}
        self._items: dict[str, Attachment] = {}

    def pieces(self, body: str) -> Iterator[str | Attachment]:
        """Return words and objects in the order in which they stand."""
        end = 0
        for match in _BRACED.finditer(body):
            piece = self._piece(match)
            if piece is None:
                continue
            yield body[end : match.start()]
            yield piece
            end = match.end()
        yield body[end:]
        self._note_expressions(body)

    def notes(self) -> Iterator[str]:
        """Point out what looks like a name and is none."""
        for path, why in list(self._unread.items())[:_MAX_NOTES]:
            hint = _hint(path, self._namespace) if WHOLE_PATH.fullmatch(path) else ""
            yield f"`{{{path}}}` was sent as typed: {why}{hint}"
        if len(self._unread) > _MAX_NOTES:
            yield f"{len(self._unread) - _MAX_NOTES} more such names were sent as typed."

    def _note_expressions(self, body: str) -> None:
        """Remember what an f-string would have worked out: nothing is evaluated here."""
        for match in _NEARLY.finditer(body):
            inside = match["inside"]
            known = any(name in self._namespace for name in _NAME.findall(inside))
            if known and not WHOLE_PATH.fullmatch(inside):
                self._unread[inside] = _advice(inside)

    def _piece(self, match: re.Match[str]) -> str | Attachment | None:
        """Read one pair of braces; `None` leaves it as it was typed."""
        if escaped := match["escaped"]:
            known = _root(escaped) in self._namespace
            return f"{{{escaped}}}" if known else None
        path = match["path"]
        try:
            # One object named twice is converted once.
            if path not in self._items:
                value = _looked_up(path, self._namespace)
                self._items[path] = _item(path, value, self._limits)
            return self._items[path]
        except _UnreadableError as error:
            self._unread[path] = str(error)
            return None


def _looked_up(path: str, namespace: Mapping[str, Any]) -> Any:
    """Follow a path of names, attributes and keys, none of which begins with an underscore."""
    root = _root(path)
    steps = _STEPS.findall(path, _ROOT.match(path).end())  # type: ignore[union-attr]
    names = (root * (not _OUTPUT.fullmatch(root)), *(s[1:] for s in steps if s[0] == "."))
    if any(name.startswith("_") for name in names):
        raise _UnreadableError("names with a leading underscore are not read.")
    if root not in namespace:
        what = "cell has given a value of" if _OUTPUT.fullmatch(root) else "variable has"
        raise _UnreadableError(f"no {what} the name `{root}`.")
    value, so_far = namespace[root], root
    for step in steps:
        value = _stepped(value, step, so_far)
        so_far += step
    return value


def _root(path: str) -> str:
    """Return the name that a path begins with, as Python spells it: the micro sign is a mu."""
    return unicodedata.normalize("NFKC", _ROOT.match(path)[0])  # type: ignore[index]


def _stepped(value: Any, step: str, so_far: str) -> Any:
    try:
        return (
            getattr(value, unicodedata.normalize("NFKC", step[1:]))
            if step[0] == "."
            else value[_key(step[1:-1])]
        )
    except Exception as error:  # noqa: BLE001  whatever the user's own object raises
        what = "attribute" if step[0] == "." else "item"
        raise _UnreadableError(
            f"`{so_far}` ({type(value).__name__}) has no {what} `{step.lstrip('.')}` "
            f"({type(error).__name__})."
        ) from None


def _key(text: str) -> int | str:
    return text[1:-1] if text[0] in "'\"" else int(text)


def _advice(expression: str) -> str:
    if WHOLE_PATH.fullmatch(expression.strip()):
        return f"braces that name something hold no space. Write `{{{expression.strip()}}}`."
    return "only names, attributes and keys are read. Assign it to a variable first."


def _hint(path: str, namespace: Mapping[str, Any]) -> str:
    """Suggest the name that was probably meant by a path whose first name is unknown."""
    root = _root(path)
    if root in namespace or root.startswith("_"):
        return ""
    public = [known for known in namespace if not known.startswith("_")]
    near = difflib.get_close_matches(root, public, n=1)
    return f" Did you mean `{near[0]}`?" if near else ""
