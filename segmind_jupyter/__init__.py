"""Ask the Claude models that Segmind hosts about what is in your notebook.

``%load_ext segmind_jupyter`` gives `%%claude` cells; `ask` does the same from Python. The names
below are loaded when they are first used: importing this package, or loading the extension,
imports neither httpx nor Pillow nor any other library that takes its time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from segmind_jupyter._version import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from segmind_jupyter.api.client import SegmindClient
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.messages import Reply, Usage
    from segmind_jupyter.asking import ask, resume, submit
    from segmind_jupyter.batch import Batch, ask_each
    from segmind_jupyter.chat import Chat
    from segmind_jupyter.content.convert import to_blocks
    from segmind_jupyter.content.register import register
    from segmind_jupyter.described import Description, describe
    from segmind_jupyter.errors import (
        APIConnectionError,
        APIError,
        AuthenticationError,
        BadRequestError,
        BudgetError,
        ContentError,
        InsufficientCreditsError,
        JobCancelled,
        JobError,
        JobExpired,
        JobFailed,
        JobTimeout,
        MaybeBilledError,
        MissingKeyError,
        NotCachedError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        ReplyError,
        SegmindError,
        ServerError,
        SettingsError,
    )

__all__ = [
    "APIConnectionError", "APIError", "AuthenticationError", "BadRequestError", "Batch",
    "BudgetError", "Chat", "ContentError", "Description", "InsufficientCreditsError", "Job",
    "JobCancelled", "JobError", "JobExpired", "JobFailed", "JobTimeout", "MaybeBilledError",
    "MissingKeyError", "NotCachedError",
    "NotFoundError", "PermissionDeniedError", "RateLimitError", "Reply", "ReplyError",
    "SegmindClient", "SegmindError", "ServerError", "SettingsError", "Usage", "__version__", "ask",
    "ask_each", "describe", "load_ipython_extension", "register", "resume", "submit", "to_blocks",
    "unload_ipython_extension",
]  # fmt: skip

#: Where each public name is at home.
_HOMES = {
    "Batch": "batch",
    "Chat": "chat",
    "Description": "described",
    "Job": "api.jobs",
    "Reply": "api.messages",
    "SegmindClient": "api.client",
    "Usage": "api.messages",
    "ask": "asking",
    "ask_each": "batch",
    "describe": "described",
    "register": "content.register",
    "resume": "asking",
    "submit": "asking",
    "to_blocks": "content.convert",
    **{name: "errors" for name in __all__ if name.endswith("Error")},
    **dict.fromkeys(("JobCancelled", "JobExpired", "JobFailed", "JobTimeout"), "errors"),
}


def __getattr__(name: str) -> Any:
    """Load a public name from the room where it is at home (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add `%%claude`, `%claude` and `%segmind` to a shell (`%load_ext segmind_jupyter`)."""
    from segmind_jupyter.notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take everything back that loading added (`%unload_ext segmind_jupyter`)."""
    from segmind_jupyter.notebook.extension import unload

    unload(shell)
