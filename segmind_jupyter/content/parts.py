"""What a prompt is made of: pieces of text and encoded images, each knowing its wire form.

Nothing here looks at the objects that the pieces came from; `blocks`, `images`, `figures` and
`tables` do that.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

#: Pixels of one side of the square that costs one token (Anthropic's published vision rule).
PATCH_PX = 28

#: Most images that one request takes (Anthropic's vision page).
MAX_IMAGES = 100

#: A rule of thumb for English text and tables: characters a token.
CHARS_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """How large the pieces of one request may become.

    Parameters
    ----------
    image_edge_px
        Longest padded side of a sent image, in pixels. 1568 for standard Claude models, 2576
        for the high-resolution ones (Anthropic's vision page): above it the server scales down.
    image_tokens
        Most tokens of one image: 1568 for standard models, 4784 for high-resolution ones.
    image_base64_bytes
        Most bytes of one image in base64; 5 MB is the bound that every Claude model accepts.
    table_tokens
        Budget for the summary of one table, in estimated tokens.
    text_chars
        Longest text of one object; what is longer is cut, and says so.
    """

    image_edge_px: int = 1568
    image_tokens: int = 1568
    image_base64_bytes: int = 5_000_000
    table_tokens: int = 1_500
    text_chars: int = 20_000


#: Limits that hold for every Claude model.
STANDARD = Limits()


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text.

    Parameters
    ----------
    text
        What is sent.
    about
        What it was made from, for the footer: ``"DataFrame 120×4"``; empty for the prompt's own
        words and for plain values.
    inline
        Whether it reads as part of a sentence (a word, a number) or wants lines of its own (a
        table, a listing).
    notes
        What the user should know about how it was made.
    """

    text: str
    about: str = ""
    inline: bool = True
    notes: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        """Estimated tokens, rounded up."""
        return -(-len(self.text) // CHARS_PER_TOKEN)

    def wire(self) -> dict[str, Any]:
        """Give the content block as Segmind's page for Claude models shows it."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, slots=True)
class Image:
    """An encoded image, ready to send.

    Parameters
    ----------
    data
        The encoded file, without metadata.
    media_type
        ``"image/png"`` or ``"image/jpeg"``.
    width, height
        Size of the encoded picture, in pixels.
    about
        What it was made from, for the footer: ``"Figure 8×4 in"``, ``"PIL RGB 4000×3000"``.
    """

    data: bytes = field(repr=False)
    media_type: str
    width: int
    height: int
    about: str = ""

    @property
    def tokens(self) -> int:
        """Estimated tokens: one for every 28x28 pixel patch begun (Anthropic's vision page)."""
        return -(-self.width // PATCH_PX) * -(-self.height // PATCH_PX)

    def wire(self) -> dict[str, Any]:
        """Give the content block as Segmind's page for Claude models shows it."""
        data = base64.b64encode(self.data).decode("ascii")
        source = {"type": "base64", "media_type": self.media_type, "data": data}
        return {"type": "image", "source": source}


#: A piece of a prompt.
Part = Text | Image


def merged(parts: Iterable[Part]) -> list[Part]:
    """Join neighbouring texts, and leave blank ones out: Anthropic models refuse those."""
    found: list[Part] = []
    for _, run in itertools.groupby(parts, key=type):
        neighbours = list(run)
        texts = [part for part in neighbours if isinstance(part, Text)]
        found += [Text(joined)] if (joined := _join(texts)).strip() else []
        found += [part for part in neighbours if isinstance(part, Image)]
    return found


def _join(texts: Iterable[Text]) -> str:
    """Run words on in the line; give a table or a listing lines of its own."""
    joined, inline = "", True
    for part in texts:
        if not part.text:
            continue
        touching = joined and not joined.endswith("\n") and not part.text.startswith("\n")
        joined += _GAPS[inline, part.inline] * bool(touching) + part.text
        inline = part.inline
    return joined


#: Line breaks between two texts, by whether each of them runs on in the line.
_GAPS = {(True, True): "", (True, False): "\n\n", (False, True): "\n\n", (False, False): "\n"}
