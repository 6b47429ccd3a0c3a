"""Conversations with a memory: `Chat` and its turns. Knows nothing of widgets."""

from __future__ import annotations

from segmind_jupyter.chat.chat import Chat
from segmind_jupyter.chat.turn import Turn

__all__ = ["Chat", "Turn"]
