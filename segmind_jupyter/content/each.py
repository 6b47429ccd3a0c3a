"""A prompt and many items become one prompt an item, each made only when it is asked for.

Sends nothing.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from segmind_jupyter.content.braces import unescaped
from segmind_jupyter.content.file_names import file_notes
from segmind_jupyter.content.items import ITEM, listed
from segmind_jupyter.content.kinds import type_name
from segmind_jupyter.content.parts import STANDARD, Limits
from segmind_jupyter.content.prompt import Prompt, compose, gather
from segmind_jupyter.errors import ContentError


class Each:
    """One prompt for each of many items.

    Parameters
    ----------
    template
        The prompt, read as that of a cell is. ``{item}`` stands for the item, and with a table
        ``{column}`` for a cell of the row. If it names neither, the item goes behind it.
    items
        What is asked about; see `listed`.
    limits
        How large the objects of one prompt may become.

    Attributes
    ----------
    items
        The items, as they were found.
    notes
        What the user should know about how the template, and the first item, was read.

    Raises
    ------
    ContentError
        The template is no text or an empty one, it names a column that the table does not have,
        or the items are none.
    """

    def __init__(self, template: str, items: Any, *, limits: Limits = STANDARD) -> None:
        _check_template(template)
        self.items = listed(items)
        stand_ins = dict.fromkeys((ITEM, *self.items.columns), _StandIn())
        form = compose(template, stand_ins)
        if self.items.labels:
            read = {sent.name for sent in form.sent}
            template = unescaped(template, (ITEM, *self.items.labels), read=read)
            # What it still sends as typed was escaped, and is no news.
            form = dataclasses.replace(compose(template, stand_ins), notes=())
        self.notes = (*form.notes, *self._first_notes())
        self._template = template
        self._limits = limits
        self._paths = {sent.name for sent in form.sent}
        #: Without the escapes, where there is nothing but words.
        self._words = "".join(piece for piece in form.pieces if isinstance(piece, str))

    def __len__(self) -> int:
        return len(self.items)

    def _first_notes(self) -> tuple[str, ...]:
        """Point out the name of a file: the others will be such too."""
        first = self.items.take(0) if len(self.items) else None
        return file_notes(first) if isinstance(first, str) else ()

    def prompt(self, position: int) -> Prompt:
        """Make the prompt for the item at `position`, its images encoded.

        Raises
        ------
        ContentError
            The item cannot be sent, or it has no such part as the template names.
        """
        if not self._paths:
            return gather((self._words, self.items.take(position)), limits=self._limits)
        names = self.items.names(position)
        prompt = compose(self._template, names, limits=self._limits)
        self._check_read(prompt, names[ITEM])
        return prompt

    def _check_read(self, prompt: Prompt, item: object) -> None:
        """Refuse what a cell sends as typed: nobody pays for a name in braces many times over."""
        unread = self._paths - {sent.name for sent in prompt.sent}
        if unread:
            raise ContentError(
                f"There is no `{{{min(unread)}}}`: this item ({type_name(item)}) has no such part. "
                "Correct the prompt, or leave the item out."
            )


class _StandIn:
    """Stands for any item while the template is read: it has every attribute and every key."""

    def __getattr__(self, name: str) -> _StandIn:
        return self

    def __getitem__(self, key: object) -> _StandIn:
        return self

    def _repr_claude_(self) -> str:
        return ITEM


def _check_template(template: object) -> None:
    if not isinstance(template, str):
        raise ContentError(
            f"The prompt is no text but a {type_name(template)}. It comes before the items: "
            'ask_each("Caption this", images).'
        )
    if not template.strip():
        raise ContentError(
            "The prompt is empty. Write what you want to know of each item, or '{item}' where "
            "the items are whole prompts."
        )
