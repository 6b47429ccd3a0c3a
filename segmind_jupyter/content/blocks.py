"""Any Python object becomes pieces of a prompt, and those become content blocks.

Asked in turn: what the user wants for the type, the entries of a container, the kinds that are
known by name, and IPython's display methods. What none of them knows goes as its text.
"""

from __future__ import annotations

from typing import Any

from segmind_jupyter.content.display import displayed_part
from segmind_jupyter.content.kinds import (
    attempted,
    safe_repr,
    spelled,
    type_name,
    without_addresses,
)
from segmind_jupyter.content.known import known_kind
from segmind_jupyter.content.opening import opened_parts
from segmind_jupyter.content.own_form import own_parts, register
from segmind_jupyter.content.parts import STANDARD, Limits, Part, Text, merged
from segmind_jupyter.content.scope import Scope
from segmind_jupyter.content.text import as_text
from segmind_jupyter.errors import ContentError, SegmindError

__all__ = ["register", "to_blocks", "to_parts"]


def to_blocks(
    obj: Any, *, name: str | None = None, limits: Limits = STANDARD
) -> list[dict[str, Any]]:
    """Turn any object into the content blocks of a message.

    Parameters
    ----------
    obj
        A figure, an image, an array, a DataFrame, text, a number, bytes, a path, a container of
        such, or anything else. A plain string is text, never a path.
    name
        What the user calls it; it labels tables and the entries of containers.
    limits
        How large images and texts may become.

    Returns
    -------
    list of dict
        Text and image blocks in the form that Segmind's page for Claude models shows, neighbouring
        texts joined, blank ones left out (Anthropic refuses them). Empty if nothing is left.

    Raises
    ------
    ContentError
        The object cannot be sent. The message says which part of it, and what to do.

    Examples
    --------
    >>> to_blocks({"a": 1})
    [{'type': 'text', 'text': "{'a': 1}"}]
    """
    return [part.wire() for part in merged(to_parts(obj, name=name, limits=limits))]


def to_parts(obj: Any, *, name: str | None = None, limits: Limits = STANDARD) -> list[Part]:
    """Turn any object into pieces of a prompt; the parameters and errors are those of `to_blocks`.

    Returns
    -------
    list of Text or Image
        In the order in which they are sent; texts may be blank.
    """
    try:
        return _parts(obj, Scope(name or "", limits))
    except _UnsendableError as failure:
        where = f"`{failure.label}`: " if failure.label else ""
        raise ContentError(f"{where}{failure.reason}") from failure.__cause__


class _UnsendableError(Exception):
    """What failed, and at which label: made a `ContentError` at the door."""

    def __init__(self, label: str, reason: str) -> None:
        super().__init__(label, reason)
        self.label = label
        self.reason = reason


def _parts(obj: Any, scope: Scope) -> list[Part]:
    """Ask each source in turn; the innermost object that fails is the one that is named."""
    try:
        return _first_answer(obj, scope)
    except _UnsendableError:
        raise
    except ContentError as error:
        raise _UnsendableError(scope.label, str(error)) from error
    except SegmindError:
        raise
    except Exception as error:
        reason = (
            f"This {type_name(obj)} could not be read ({spelled(error)}). Name a part of it, or "
            "its text; or register() a form for its type."
        )
        raise _UnsendableError(scope.label, reason) from error


def _first_answer(obj: Any, scope: Scope) -> list[Part]:
    for source in (own_parts, opened_parts):
        parts = source(obj, scope, _parts)
        if parts is not None:
            return parts
    kind = known_kind(obj)
    if kind is not None:
        found = kind.convert(obj, limits=scope.limits, name=scope.title)
        return found if isinstance(found, list) else [found]
    return [displayed_part(obj, limits=scope.limits) or _own_text(obj, scope.limits)]


def _own_text(obj: object, limits: Limits) -> Text:
    """Give the repr, or the ``str`` where only that says more than the type's name."""
    kind = type(obj)
    says_more = kind.__repr__ is object.__repr__ and kind.__str__ is not object.__str__
    text = without_addresses(attempted(str, obj)) if says_more else safe_repr(obj)
    return as_text(text, limits=limits, noun=type_name(obj), lines="\n" in text)
