"""What was sent, in words."""

from __future__ import annotations

import pytest

from segmind_jupyter.content.parts import Image, Text
from segmind_jupyter.content.prompt import Attachment, described


def image(n_bytes: int = 23_000) -> Image:
    return Image(b"x" * n_bytes, "image/jpeg", 800, 400, about="PIL RGB 800×400")


@pytest.mark.parametrize(
    ("n_bytes", "size"),
    [
        (800, "800 B"),
        (23_456, "23 kB"),
        (999_499, "999 kB"),
        (999_999, "1.0 MB"),
        (1_234_567, "1.2 MB"),
    ],
)
def test_an_image_is_described_by_pixels_bytes_and_tokens(n_bytes: int, size: str) -> None:
    """Bytes are rounded to a decimal unit; tokens are the estimate of the part."""
    assert described(image(n_bytes)) == f"800×400 JPEG, {size}, ≈435 tokens"


def test_text_is_described_by_tokens() -> None:
    """Text has no size that a person would look for but its tokens."""
    assert described(Text("x" * 4_800)) == "text, ≈1,200 tokens"
    assert described(Text("x")) == "text, ≈1 token"


def test_a_label_is_the_name_and_the_kind() -> None:
    """What went as one part says what it was made from; a value may have no name."""
    assert Attachment("fig", (image(),)).label == "fig · PIL RGB 800×400"
    assert Attachment("figs", (image(), image())).label == "figs"
    assert Attachment("n", (Text("3"),)).label == "n"
    assert Attachment("", (image(),)).label == "PIL RGB 800×400"


def test_many_parts_are_summed() -> None:
    """An object of several parts counts them and adds up their tokens."""
    item = Attachment("items", (image(), image(), Text("x" * 40)))

    assert item.summary == "2 images, 1 text, ≈880 tokens"
    assert len(item.images) == 2


def test_an_object_of_nothing_has_a_summary() -> None:
    """An empty list sends nothing, and says so."""
    assert Attachment("empty", ()).summary == "≈0 tokens"
