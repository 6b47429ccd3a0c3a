"""Where an object stands while it is converted: its label, its limits, and what is around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from segmind_jupyter.content.parts import CHARS_PER_TOKEN, Limits, Part


@dataclass(frozen=True, slots=True)
class Scope:
    """Where an object stands.

    Parameters
    ----------
    label
        How the user would reach it: ``scores['x']``; empty if it has no name.
    limits
        How large its pieces may become.
    around
        The ids of the objects that it was found in, and of those that it stands for.
    """

    label: str
    limits: Limits
    around: tuple[int, ...] = ()

    @property
    def title(self) -> str | None:
        """What a table is headed with; inside a container, the label is written before it."""
        return None if self.around else self.label or None

    def inside(self, obj: object, step: str = "", *, text_chars: int | None = None) -> Scope:
        """Give the scope of what `obj` holds at `step`, or of what stands for `obj`."""
        limits = self.limits if text_chars is None else _narrowed(self.limits, text_chars)
        return Scope(self.label + step, limits, (*self.around, id(obj)))


def _narrowed(limits: Limits, text_chars: int) -> Limits:
    table_tokens = min(limits.table_tokens, text_chars // CHARS_PER_TOKEN)
    return replace(limits, text_chars=text_chars, table_tokens=table_tokens)


#: Converts an object that was found on the way.
Convert = Callable[[Any, Scope], list[Part]]
