"""Content blocks become the pieces again that they were made of: the way back from `Part.wire`."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from typing import Any

from segmind_jupyter.content.parts import Image, Part, Text


def part_of(block: Mapping[str, Any]) -> Part:
    """Read a text or an image block as `Part.wire` writes it.

    Parameters
    ----------
    block
        A block of this package's own making.

    Returns
    -------
    Text or Image
        An image with its size in pixels, of which no pixel is decoded.
    """
    if block["type"] == "text":
        return Text(block["text"])
    import PIL.Image

    source = block["source"]
    data = base64.b64decode(source["data"])
    with PIL.Image.open(io.BytesIO(data)) as picture:
        width, height = picture.size
    return Image(data, source["media_type"], width, height)
