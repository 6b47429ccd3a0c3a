"""Pictures and figures to convert, and a way to look at the pixels that come out."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image as PILImage


@pytest.fixture
def red() -> PILImage.Image:
    """A red picture, 60 x 40 px."""
    return PILImage.new("RGB", (60, 40), (255, 0, 0))


@pytest.fixture
def red_png(red: PILImage.Image) -> bytes:
    """The red picture as a PNG file."""
    file = io.BytesIO()
    red.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def figure() -> Any:
    """A matplotlib figure of 4 x 2 inches at 100 dpi, all blue."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 2), dpi=100, facecolor=(0, 0, 1))
    figure.text(0.5, 0.5, " ")  # an empty figure is refused
    return figure


@pytest.fixture
def picture_in() -> Callable[[Any], PILImage.Image]:
    """Decode the image of a part or of a wire block."""

    def decode(holder: Any) -> PILImage.Image:
        is_block = isinstance(holder, dict)
        data = base64.b64decode(holder["source"]["data"]) if is_block else holder.data
        return PILImage.open(io.BytesIO(data)).convert("RGB")

    return decode
