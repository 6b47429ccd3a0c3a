"""A message of a chat before it is sent: the words in the box, and what is attached to them.

Variables are read when the message is sent; files are read when they are given. Knows no widget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.content.blocks import to_parts
from segmind_jupyter.content.parts import Limits, Part, Text
from segmind_jupyter.content.prompt import Prompt, compose
from segmind_jupyter.content.sent import SentItem
from segmind_jupyter.errors import ContentError
from segmind_jupyter.notebook.wording import one_line

if TYPE_CHECKING:
    from segmind_jupyter.chat import Turn

#: Largest file that is taken. Jupyter Server closes a connection over which more than 10 MiB come
#: in one message (`websocket_max_message_size` of Tornado), so little more would arrive anyway.
MAX_FILE_BYTES: Final = 8_000_000

#: Longest name of a file that is shown, in characters.
_MAX_NAME_CHARS: Final = 60


@dataclass(frozen=True, slots=True)
class Attachment:
    """Something that goes with the words.

    Parameters
    ----------
    label
        What it is called.
    name
        The variable that holds it.
    item
        What is sent for it, where it is no variable.
    """

    label: str
    name: str = ""
    item: SentItem | None = None

    @classmethod
    def of(cls, item: SentItem) -> Attachment:
        """Attach again what was sent before, as it was."""
        return cls(item.label or item.summary, item=item)

    @classmethod
    def of_file(cls, name: str, content: bytes, *, limits: Limits) -> Attachment:
        """Attach a file.

        Raises
        ------
        ContentError
            It is empty, too large, or neither an image nor text.
        """
        label = one_line(name)[:_MAX_NAME_CHARS] or "file"
        if len(content) > MAX_FILE_BYTES:
            raise ContentError(
                f"{label} has {len(content) / 1e6:.1f} MB; a chat takes files up to "
                f"{MAX_FILE_BYTES / 1e6:.0f} MB. Put it beside the notebook, and attach a variable "
                "such as path = pathlib.Path('...')."
            )
        try:
            parts = tuple(_titled(part, label) for part in to_parts(content, limits=limits))
        except ContentError as error:
            raise ContentError(f"{label}: {error}") from error
        if not any(part.tokens for part in parts):
            raise ContentError(f"{label} is empty. There is nothing in it to send.")
        return cls(label, item=SentItem(label, parts))


def _titled(part: Part, title: str) -> Part:
    """Tell the model which file a text is from; a picture stands for itself."""
    if not isinstance(part, Text) or not part.text.strip():
        return part
    return Text(f"{title}:\n{part.text}", about=part.about, inline=False)


@dataclass(frozen=True, slots=True)
class Typed:
    """What will be sent, or was.

    Parameters
    ----------
    text
        The words; ``{name}`` in them stands for a variable.
    attachments
        What goes before them.
    """

    text: str = ""
    attachments: tuple[Attachment, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text.strip() or self.attachments)

    @classmethod
    def of(cls, turn: Turn) -> Typed:
        """Take up what was said from code, where objects may have no name."""
        return cls(turn.text, tuple(map(Attachment.of, turn.prompt.sent)))

    def above(self, other: Typed) -> Typed:
        """Put it above another one; nothing appears twice."""
        if not other:
            return self
        text = other.text
        if self.text not in text:
            text = "\n\n".join(filter(None, (self.text, text)))
        return Typed(text, tuple(dict.fromkeys((*self.attachments, *other.attachments))))

    def prompt(self, names: Mapping[str, Any], *, limits: Limits) -> Prompt:
        """Make what is sent of it.

        Parameters
        ----------
        names
            The user's variables.
        limits
            How large the objects may become.

        Raises
        ------
        ContentError
            A variable is gone, or cannot be sent.
        """
        ready = tuple(a.item for a in self.attachments if a.item is not None)
        wanted = [a.name for a in self.attachments if a.item is None]
        if gone := [name for name in wanted if name not in names]:
            raise ContentError(
                f"There is no variable `{gone[0]}` any more. Remove it from the message, or "
                "define it again."
            )
        if not (wanted or self.text.strip()):
            return Prompt(ready)
        rest = compose(self.text.strip(), names, include=wanted, limits=limits)
        return Prompt((*ready, *rest.pieces), rest.notes)


def uploaded(value: Any) -> Iterator[tuple[str, bytes]]:
    """Read the value of a `FileUpload`: names and contents, both data of a browser.

    ipywidgets 8 gives a tuple of dicts with a name, version 7 a dict by name.
    """
    files = value.values() if isinstance(value, Mapping) else value
    for file in files:
        name = file.get("name") or file.get("metadata", {}).get("name")
        yield str(name or ""), bytes(file["content"])
