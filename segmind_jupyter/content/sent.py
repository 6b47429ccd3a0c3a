"""What was sent for each object that a prompt named, in words for a person."""

from __future__ import annotations

from dataclasses import dataclass

from segmind_jupyter.content.parts import Image, Part, Text


@dataclass(frozen=True, slots=True)
class SentItem:
    """An object of the user's, and what it became.

    Parameters
    ----------
    name
        How the user named it: ``"fig"``, ``"df['price']"``.
    parts
        What was sent for it, in order.
    """

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
