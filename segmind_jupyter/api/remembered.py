"""A message as a conversation remembers it: blocks, sizes, and what stands in for its images.

Every block is measured once and kept as the object that it is; nothing is encoded or decoded here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, Literal

from segmind_jupyter.api.messages import Block, Message
from segmind_jupyter.errors import ContentError, shortened

#: Stands in for a reply without a visible character: Anthropic models refuse such a text block.
_NO_TEXT = "(no text)"

#: Bytes of an image's block besides its data, and of a message besides its blocks; rounded up.
_AROUND_AN_IMAGE, _AROUND_A_MESSAGE = 100, 50


@dataclass(frozen=True, slots=True)
class Picture:
    """An image of a message.

    Parameters
    ----------
    label
        What a person calls it; may be empty.
    n_bytes
        Its size in a request.
    stand_in
        The text block that is sent in its place once it is left out.
    """

    label: str
    n_bytes: int
    stand_in: Block


@dataclass(frozen=True, slots=True)
class Remembered:
    """One message, ready to be sent again and again.

    Parameters
    ----------
    role
        Who said it.
    blocks
        Its content blocks, never empty.
    pictures
        Its images, in order.
    other_bytes
        Its size in a request without the images, with all that may stand in for them.
    whole
        The message, with all its images.
    """

    role: Literal["user", "assistant"]
    blocks: tuple[Block, ...]
    pictures: tuple[Picture, ...]
    other_bytes: int
    whole: Message

    def message(self, *, without: int = 0) -> Message:
        """Give the message, with a text in place of each of its first `without` images.

        Not to be changed: every request of a conversation holds all of its messages, so those
        that are whole are one object, or long conversations would take memory by the square.
        """
        if not (without and self.pictures):
            return self.whole
        stand_ins = (picture.stand_in for picture in self.pictures[:without])
        content = [next(stand_ins, block) if _is_image(block) else block for block in self.blocks]
        return {"role": self.role, "content": content}


def asked(blocks: Iterable[Block], *, labels: Sequence[str] = ()) -> Remembered:
    """Remember what the user says; blank texts are left out, as Anthropic models refuse them.

    Parameters
    ----------
    blocks
        Content blocks.
    labels
        What to call the images, in order; those without a label have no name.

    Raises
    ------
    ContentError
        Nothing is left to send.
    """
    kept = tuple(block for block in blocks if not _is_blank(block))
    if not kept:
        raise ContentError(
            "The message is empty. Write what you want to know, or attach something."
        )
    images = filter(_is_image, kept)
    pictures = tuple(
        _picture(block, label)
        for block, label in zip(images, chain(labels, repeat("")), strict=False)
    )
    return _measured("user", kept, pictures)


def replied(text: str) -> Remembered:
    """Remember a reply: as text alone, whatever it holds.

    Half a surrogate pair becomes a question mark: a server may refuse it, and would from then on
    refuse the whole conversation.
    """
    sendable = text.encode("utf-8", "replace").decode("utf-8")
    block = {"type": "text", "text": sendable if sendable.strip() else _NO_TEXT}
    return _measured("assistant", (block,), ())


def _measured(
    role: Literal["user", "assistant"], blocks: tuple[Block, ...], pictures: tuple[Picture, ...]
) -> Remembered:
    others = [block for block in blocks if not _is_image(block)]
    written = [*others, *(picture.stand_in for picture in pictures)]
    other_bytes = sum(map(_json_bytes, written), _AROUND_A_MESSAGE)
    return Remembered(role, blocks, pictures, other_bytes, {"role": role, "content": list(blocks)})


def _picture(block: Block, label: str) -> Picture:
    label = shortened(label)
    name = f": {label}," if label else ""
    text = f"[An image that was sent here before{name} is no longer attached.]"
    return Picture(label, _image_bytes(block), {"type": "text", "text": text})


def _image_bytes(block: Block) -> int:
    """Tell how long an image's block is in JSON; base64 needs no escapes."""
    source: Any = block.get("source")
    data = source.get("data") if isinstance(source, dict) else None
    return len(data) + _AROUND_AN_IMAGE if isinstance(data, str) else _json_bytes(block)


def _json_bytes(block: Block) -> int:
    """Tell how long a block is in JSON with every character outside ASCII escaped."""
    return len(json.dumps(block, default=str)) + len(",")


def _is_image(block: Block) -> bool:
    return block.get("type") == "image"


def _is_blank(block: Block) -> bool:
    return block.get("type") == "text" and not str(block.get("text", "")).strip()
