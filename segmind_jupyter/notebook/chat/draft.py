"""What of a notebook, and of files, can go with the words of a chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from segmind_jupyter.content.convert import has_size, size_of, to_parts
from segmind_jupyter.content.parts import Limits, Text, is_kind, type_name
from segmind_jupyter.content.prompt import Attachment
from segmind_jupyter.errors import ContentError
from segmind_jupyter.notebook.namespace import is_tool
from segmind_jupyter.words import one_line

#: Largest file that a chat takes: a request holds 32 MB (Anthropic), of base64.
MAX_FILE_BYTES: Final = 24_000_000

#: Longest name of a file and of a type that is shown, in characters.
_MAX_NAME_CHARS: Final = 60
_MAX_TYPE_CHARS: Final = 30


def of_file(name: str, content: bytes, *, limits: Limits) -> Attachment:
    """Make what is sent of a file."""
    label = one_line(name)[:_MAX_NAME_CHARS] or "file"
    try:
        parts = [*to_parts(content, limits=limits)]
    except ContentError as error:
        raise ContentError(f"{label}: {error}") from error
    if not any(part.tokens for part in parts):
        raise ContentError(f"{label} is empty. There is nothing in it to send.")
    for number, part in enumerate(parts):
        if isinstance(part, Text) and part.text.strip():  # a picture stands for itself
            parts[number] = Text(f"{label}:\n{part.text}", about=part.about, inline=False)
    return Attachment(label, tuple(parts))


def attachables(names: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the variables that can be attached, and what each is: pictures and tables first.

    Within each group the newest come first.
    """
    offered = []
    for name, value in reversed(list(names.items())):
        is_ours = str(type(value).__module__).startswith("segmind_jupyter.")
        if name.isidentifier() and name[0] != "_" and not (is_tool(value) or is_ours):
            # Anybody may define a class with a long name.
            about = f"{one_line(type_name(value))[:_MAX_TYPE_CHARS]} {size_of(value)}".rstrip()
            offered.append((not has_size(value), name, about))
    return [(name, about) for _, name, about in sorted(offered, key=lambda offer: offer[0])]


def is_table(value: object) -> bool:
    """Return whether a value is a table that one would ask about."""
    return is_kind(value, "pandas", "DataFrame") or is_kind(value, "polars", "DataFrame")
