"""What stands in braces in a prompt over a table: a column, or the user's own braces, doubled.

A cell sends as typed what it cannot read. Over a table that would be paid for once a row, so that
here it is refused. Knows nothing of the table but the names that can be read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from segmind_jupyter.content.prompt import WHOLE_PATH
from segmind_jupyter.errors import ContentError, shortened

_PAIR: Final = re.compile(r"\{\{(?P<escaped>[^{}\n]+)\}\}|\{(?P<inside>[^{}\n]+)\}")
_NAME: Final = re.compile(r"[^\W\d]\w*")

#: How much like a name (of 1) something must be to be taken for it, mistyped.
_ALIKE: Final = 0.8


def unescaped(template: str, labels: Sequence[Any], *, read: Collection[str]) -> str:
    """Take away the second braces around what would be refused in single ones.

    Those around what can be read are left to `compose`.

    Parameters
    ----------
    template
        The prompt.
    labels
        What can be read in it: names, and texts and whole numbers that are keys of the item.
    read
        What is in single braces and was read.

    Raises
    ------
    ContentError
        Something in single braces was not read, and is a name, or is or is like one of `labels`.
    """
    names = {str(label): label for label in labels if isinstance(label, str | int)}

    def piece(match: re.Match[str]) -> str:
        inside, escaped = match["inside"], match["escaped"]
        if inside is not None and inside not in read and _is_meant(inside, names):
            raise ContentError(_advice(inside, names))
        if escaped is not None and _is_meant(escaped, names):
            is_read = WHOLE_PATH.fullmatch(escaped) and _root(escaped) in names
            return match[0] if is_read else f"{{{escaped}}}"
        return match[0]

    return _PAIR.sub(piece, template)


def _is_meant(inside: str, names: Collection[str]) -> bool:
    """Tell whether a name was meant: one stands there, or something that is like a known one."""
    text = inside.strip()
    if text in names:  # a column may be called 0, or "# of rooms"
        return True
    if not _root(text):  # JSON, numbers, ...
        return False
    return bool(WHOLE_PATH.fullmatch(text) or _nearest(text, names, cutoff=_ALIKE))


def _root(text: str) -> str:
    name = _NAME.match(text)
    return name[0] if name else ""


def _nearest(text: str, names: Collection[str], *, cutoff: float) -> str | None:
    """Find the name that `text`, or what it begins with, is most like; else one that it holds."""
    for word in (text, _root(text)):
        if near := difflib.get_close_matches(word, names, n=1, cutoff=cutoff):
            return near[0]
    return next((word for word in _NAME.findall(text) if word in names), None)


def _advice(inside: str, names: Mapping[str, str | int]) -> str:
    near = _nearest(inside.strip(), names, cutoff=0.6)
    meant = f" Did you mean `{_spelled(names[near])}`?" if near else ""
    known = shortened(", ".join(f"`{_spelled(label)}`" for label in names.values()))
    return (
        f"`{{{inside}}}` names nothing; the names are {known}.{meant} To send braces of your own, "
        f"double them: `{{{{{inside}}}}}`."
    )


def _spelled(label: str | int) -> str:
    """Spell what reads a label: `compose` reads no spaces and no leading underscores."""
    is_name = isinstance(label, str) and _NAME.fullmatch(label) and not label.startswith("_")
    return f"{{{label}}}" if is_name else f"{{item[{label!r}]}}"
