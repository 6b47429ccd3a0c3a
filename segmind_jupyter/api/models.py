"""The slugs that are known, and what counts as one. Lists go stale, so none is ever refused."""

from __future__ import annotations

import difflib
import re
from typing import Final

from segmind_jupyter.errors import SettingsError

DEFAULT_MODEL: Final = "claude-4-sonnet"

#: Claude models seen on Segmind, newest families first; for completion and suggestions only.
KNOWN_MODELS: Final = (
    "claude-4-sonnet",
    "claude-4.5-sonnet",
    "claude-opus-4.7",
    "claude-3.7-sonnet",
    "claude-3.5-sonnet",
    "claude-3-opus",
    "claude-3-haiku",
)

_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]*")


def checked_slug(model: str) -> str:
    """Return `model` if it has the form of a slug; it becomes part of a URL's path.

    Raises
    ------
    SettingsError
        It holds anything but lower-case letters, digits, dots and hyphens.
    """
    if not isinstance(model, str) or not _SLUG.fullmatch(model):
        raise SettingsError(
            f"{model!r} is no model name: lower-case letters, digits, dots and hyphens, such as "
            f"{DEFAULT_MODEL}. `%segmind models` lists those that are known."
        )
    return model


def nearest_model(model: str) -> str | None:
    """Give the known slug that `model` was probably meant to be, or `None`."""
    matches = difflib.get_close_matches(model, KNOWN_MODELS, n=1)
    return matches[0] if matches and matches[0] != model else None
