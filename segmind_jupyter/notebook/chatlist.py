"""`%segmind chat`: the conversations of this kernel that have a name, and what was said in them."""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from segmind_jupyter.asking import service
from segmind_jupyter.notebook.columns import aligned
from segmind_jupyter.notebook.wording import lasting, one_line

if TYPE_CHECKING:
    from segmind_jupyter.chat import Chat

_HEAD = ("name", "model", "turns", "tokens in", "tokens out", "credits", "last reply")

_NONE = 'No conversation has a name yet. `%%claude --chat NAME` or `Chat(name="NAME")` begins one.'


def chat(rest: Sequence[str]) -> str | dict[str, str]:
    """List the conversations, show one, or forget one."""
    if not rest:
        return _listed()
    name = " ".join(rest)
    if rest[-1] == "clear" and len(rest) > 1 and _unquoted(name) not in _names():
        return _cleared(" ".join(rest[:-1]))
    return _shown(_known(name))


def _names() -> tuple[str, ...]:
    return service().conversations.names


def _listed() -> str:
    from segmind_jupyter.chat import Chat

    chats = [Chat(name=name) for name in _names()]
    rows = [_row(chat) for chat in chats if chat.turns]
    return aligned([_HEAD, *rows], right=True) if rows else _NONE


def _row(chat: Chat) -> tuple[str, ...]:
    usage, answered = chat.usage, chat.conversation.turns
    return (
        one_line(chat.name),
        one_line(chat.model),
        f"{len(answered)}",
        f"{usage.input_tokens:,}",
        f"{usage.output_tokens:,}",
        "not told" if usage.cost is None else f"{usage.cost:.4f}",
        f"{lasting(time.time() - answered[-1].replied_at)} ago" if answered else "none",
    )


def _shown(chat: Chat) -> dict[str, str]:
    from segmind_jupyter.notebook import transcript

    return {"text/html": transcript.html(chat), "text/plain": transcript.text(chat)}


def _cleared(name: str) -> str:
    chat = _known(name)
    chat.clear()
    # The next one of this name begins with what holds for all.
    chat.conversation.model = chat.conversation.system = None
    return (
        f"What was said in `{one_line(chat.name)}` is forgotten; `%segmind usage` still counts it."
    )


def _known(name: str) -> Chat:
    """Give the conversation of that name, quoted or not.

    Raises
    ------
    UsageError
        There is none; the message names the nearest, or all.
    """
    from segmind_jupyter.chat import Chat
    from segmind_jupyter.chat.talk import spelled_alike

    name, names = spelled_alike(_unquoted(name)), _names()
    if name in names:
        return Chat(name=name)
    if not names:
        raise UsageError(_NONE)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(names)}"
    raise UsageError(f"No conversation has the name `{one_line(name)}`. {hint}")


def _unquoted(name: str) -> str:
    quoted = len(name) > 1 and name[0] == name[-1] and name[0] in "'\""
    return name[1:-1] if quoted else name
