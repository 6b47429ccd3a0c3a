"""The pieces of a prompt (texts and images), their limits, and how foreign objects are asked."""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from segmind_jupyter.errors import ContentError, SegmindError, shortened

#: Pixels of one side of the square that costs one token (Anthropic's published vision rule).
PATCH_PX: Final = 28

#: Most images that one request takes (Anthropic's vision page).
MAX_IMAGES: Final = 100

#: A rule of thumb for English text and tables: characters a token.
CHARS_PER_TOKEN: Final = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """How large the pieces of one request may become."""

    image_edge_px: int = 1568
    image_tokens: int = 1568
    table_tokens: int = 1_500
    text_chars: int = 20_000


#: Limits that hold for every Claude model.
STANDARD: Final = Limits()


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str
    about: str = ""
    inline: bool = True
    notes: tuple[str, ...] = ()
    #: How much of it went, where that is not all: ``"20,000 of 60,189 characters"``.
    left_out: str = ""

    @property
    def tokens(self) -> int:
        """Estimated tokens, rounded up."""
        return -(-len(self.text) // CHARS_PER_TOKEN)

    def wire(self) -> dict[str, Any]:
        """Return the content block as Segmind's page for Claude models shows it."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, slots=True)
class Image:
    """An encoded image, ready to send."""

    data: bytes = field(repr=False)
    media_type: str
    width: int
    height: int
    about: str = ""
    notes: tuple[str, ...] = ()
    #: How much of it went, where that is not all: ``"frame 1 of 3"``.
    left_out: str = ""

    @property
    def tokens(self) -> int:
        """Estimated tokens: one for every 28x28 pixel patch begun (Anthropic's vision page)."""
        return -(-self.width // PATCH_PX) * -(-self.height // PATCH_PX)

    def wire(self) -> dict[str, Any]:
        """Return the content block as Segmind's page for Claude models shows it."""
        data = base64.b64encode(self.data).decode("ascii")
        source = {"type": "base64", "media_type": self.media_type, "data": data}
        return {"type": "image", "source": source}


#: A piece of a prompt.
Part = Text | Image


def part_of(block: Mapping[str, Any]) -> Part:
    """Read a text or an image block as `Part.wire` writes it."""
    if block["type"] == "text":
        return Text(block["text"])
    import PIL.Image

    source = block["source"]
    data = base64.b64decode(source["data"])
    with PIL.Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
    return Image(data, source["media_type"], width, height)


def merged(parts: Iterable[Part]) -> list[Part]:
    """Join neighbouring texts, and leave blank ones out: Anthropic models refuse those."""
    found: list[Part] = []
    for _, run in itertools.groupby(parts, key=type):
        joined, inline = "", True
        for part in run:
            if isinstance(part, Image):
                found.append(part)
            elif part.text:
                touching = joined and not joined.endswith("\n") and part.text[0] != "\n"
                gap = "" if inline and part.inline else "\n" if inline is part.inline else "\n\n"
                joined += gap * bool(touching) + part.text
                inline = part.inline
        if joined.strip():
            found.append(Text(joined))
    return found


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an object stands: under which label, in which room, inside of what."""

    label: str
    limits: Limits
    around: tuple[int, ...] = ()

    @property
    def title(self) -> str | None:
        """What a table is headed with; inside a container, the label is written before it."""
        return None if self.around else self.label or None

    def inside(self, obj: object, step: str = "", *, text_chars: int | None = None) -> Scope:
        """Return the scope of what `obj` holds at `step`, or of what stands for `obj`."""
        limits = self.limits
        if text_chars is not None:
            table_tokens = min(limits.table_tokens, text_chars // CHARS_PER_TOKEN)
            limits = replace(limits, text_chars=text_chars, table_tokens=table_tokens)
        return Scope(self.label + step, limits, (*self.around, id(obj)))


#: Converts an object that was found on the way.
Convert = Callable[[Any, Scope], list[Part]]


def is_kind(obj: object, package: str, *names: str) -> bool:
    """Tell by the names in its ancestry whether `obj` is of a package's class: none is imported."""
    return any(
        kind.__name__ in names and str(kind.__module__).partition(".")[0] == package
        for kind in type(obj).__mro__
    )


def special_method(obj: object, name: str) -> Callable[..., Any] | None:
    """Return the special method that the type of `obj` defines, bound, or `None`."""
    owner = next((kind for kind in type(obj).__mro__ if name in vars(kind)), None)
    method = None if owner is None else vars(owner)[name]
    if not callable(method):
        return None
    bound: Callable[..., Any] = method
    return bound.__get__(obj, type(obj)) if hasattr(bound, "__get__") else bound


def type_name(obj: object) -> str:
    """Return the bare name of the type of `obj`."""
    return type(obj).__name__


#: Where CPython's default reprs say the address, which differs from run to run.
_ADDRESS: Final = re.compile(r" at 0x[0-9A-Fa-f]+(?=[>;,])")


def without_addresses(text: str) -> str:
    """Leave out where objects lie in memory: the same notebook is to send the same words."""
    return _ADDRESS.sub("", text)


def safe_str(spell: Callable[[Any], str], obj: object) -> str:
    """Return ``spell(obj)``, or a note that names the type and the error where that raises."""
    try:
        return spell(obj)
    except Exception as error:  # noqa: BLE001 - a foreign __repr__ or __str__ may raise anything
        return f"<{type_name(obj)}, whose {spell.__name__} raised {type(error).__name__}>"


def safe_repr(obj: object) -> str:
    """Return ``repr(obj)`` without addresses, or a note where the repr raises."""
    return without_addresses(safe_str(repr, obj))


@contextmanager
def naming_failures(what: str, advice: str) -> Iterator[None]:
    """Say what it was where code that is not ours fails on it: that may raise anything."""
    try:
        yield
    except SegmindError:
        raise
    except Exception as error:
        raise ContentError(f"{what} ({format_error(error)}). {advice}") from error


def format_error(error: BaseException) -> str:
    """Write a foreign error as Python does, on one line."""
    return shortened(f"{type_name(error)}: {safe_str(str, error)}")
