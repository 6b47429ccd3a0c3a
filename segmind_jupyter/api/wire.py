"""The bytes of a request, and what must not or cannot be among them. Nothing is sent here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.errors import ContentError

if TYPE_CHECKING:
    from segmind_jupyter.api.secret import Secret

#: Anthropic's bound for one request (its page on limits).
MAX_REQUEST_BYTES: Final = 32_000_000


def encoded(body: dict[str, Any], *, api_key: Secret | None) -> bytes:
    """Encode a request body.

    Parameters
    ----------
    body
        What `request_body` built.
    api_key
        The key that must not be in it.

    Raises
    ------
    ContentError
        It is larger than the model takes, or holds the key.
    """
    text = _spelled(body)
    if len(text) > MAX_REQUEST_BYTES:
        raise ContentError(
            f"The request has {len(text) / 1e6:.0f} MB; the model takes "
            f"{MAX_REQUEST_BYTES / 1e6:.0f} MB. Send fewer or smaller images."
        )
    if api_key is not None and api_key.is_in(text):
        raise ContentError(
            "The prompt holds your API key, so it was not sent. Take the key out of what you "
            "name in the prompt."
        )
    return text.encode("ascii")


def n_bytes(body: dict[str, Any]) -> int:
    """Give the size of a request body, in bytes."""
    return len(_spelled(body))


def _spelled(body: dict[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=True, separators=(",", ":"))
