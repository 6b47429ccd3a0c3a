"""A request as a whole: the prompt, and everything that goes out with it. Nothing is sent here."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from segmind_jupyter.api.messages import Block, Message, request_body, user_message
from segmind_jupyter.api.wire import n_bytes
from segmind_jupyter.content.parts import Text
from segmind_jupyter.content.unwired import part_of

if TYPE_CHECKING:
    from segmind_jupyter.api.watch import Call
    from segmind_jupyter.content.expected import Expected
    from segmind_jupyter.content.prompt import Prompt
    from segmind_jupyter.content.sent import SentItem


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one call sends; in a notebook it shows its blocks, sizes and estimated tokens.

    Parameters
    ----------
    prompt
        What is asked.
    model
        Slug of the model.
    system
        System prompt.
    params
        Model parameters.
    earlier
        The messages that are sent before the prompt, oldest first.
    expected
        What the reply is to be read as, where JSON of one shape was asked for.
    queued
        Whether it goes as a job (v2), or waits for the reply (v1).
    dry
        Whether it was only looked at (``--dry-run``).
    kept_at
        When the reply was kept that answers it, so that it need not be sent; in Unix seconds.
    is_withheld
        Whether it may not be sent, as kept replies alone are to be used and there is none.
    """

    prompt: Prompt
    model: str
    system: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    earlier: Sequence[Message] = field(default=(), repr=False)
    expected: Expected | None = None
    queued: bool = False
    dry: bool = False
    kept_at: float | None = None
    is_withheld: bool = False

    @classmethod
    def of(cls, prompt: Prompt, call: Call, **how: Any) -> Request:
        """Describe a call whose last message is the prompt."""
        return cls(
            prompt=prompt,
            model=call.model,
            system=call.instruction,
            params=call.params,
            earlier=tuple(call.messages[:-1]),
            **how,
        )

    @property
    def path(self) -> str:
        """Where it goes, on the service: ``"/v1/claude-4-sonnet"``."""
        return f"/{'v2' if self.queued else 'v1'}/{self.model}"

    @property
    def sent(self) -> tuple[SentItem, ...]:
        """The objects that the prompt names, and what became of each."""
        return self.prompt.sent

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the prompt was read."""
        return self.prompt.notes

    def blocks(self) -> list[Block]:
        """Give the content blocks of the prompt, in order, as they go over the wire."""
        return self.prompt.blocks()

    @property
    def body(self) -> dict[str, Any]:
        """The whole body, made anew at every look: images are large in base64."""
        messages = [*self.earlier, user_message(self.blocks())]
        return request_body(messages, instruction=self.system, **self.params)

    @property
    def n_bytes(self) -> int:
        """Size of the body, in bytes."""
        return n_bytes(self.body)

    @property
    def tokens(self) -> int:
        """Estimated tokens of all that the model reads: a rule of thumb, not the bill."""
        earlier = (part_of(block) for message in self.earlier for block in message["content"])
        parts = [Text(self.system or ""), *earlier, *self.prompt.parts()]
        return sum(part.tokens for part in parts)

    def noting(self, note: str) -> Request:
        """Give a copy that points out one thing more."""
        prompt = dataclasses.replace(self.prompt, notes=(*self.notes, note))
        return dataclasses.replace(self, prompt=prompt)
