"""Which error a server's answer is, in words that say what to do next.

The classes stand in `segmind_jupyter.errors`, under all rooms; they are named here too, since
this is the room that raises most of them.
"""

from __future__ import annotations

import json
import re
from typing import Any

from segmind_jupyter.api.models import nearest_model
from segmind_jupyter.errors import (
    APIConnectionError,
    APIError,
    AuthenticationError,
    BadRequestError,
    ContentError,
    InsufficientCreditsError,
    MaybeBilledError,
    MissingKeyError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ReplyError,
    SegmindError,
    ServerError,
    SettingsError,
    plain,
    shortened,
)

__all__ = [
    "APIConnectionError",
    "APIError",
    "AuthenticationError",
    "BadRequestError",
    "ContentError",
    "InsufficientCreditsError",
    "MaybeBilledError",
    "MissingKeyError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitError",
    "ReplyError",
    "SegmindError",
    "ServerError",
    "SettingsError",
    "detail_of",
    "error_for",
    "maybe_billed",
]

#: Keys under which the gateway has been seen to put its words, in order of preference.
_DETAIL_KEYS = ("error", "message", "detail", "html-message")

_BY_STATUS: dict[int, tuple[type[APIError], str]] = {
    400: (BadRequestError, "Mend the request and run it again; it was not billed."),
    401: (AuthenticationError, "Run `%segmind key` to type in a key that works."),
    403: (PermissionDeniedError, "Choose another model with `-m`, or ask your team's owner."),
    404: (NotFoundError, "See `%segmind models`."),
    406: (
        InsufficientCreditsError,
        "See `%segmind credits`, and the server's words for a limit or a refused parameter.",
    ),
    410: (APIError, "The model is retired: choose another with `-m` (`%segmind models`)."),
    422: (BadRequestError, "Mend the request and run it again."),
    429: (RateLimitError, "Wait a minute, then run it again; it was not billed."),
}

_SERVER = (ServerError, "Try again in a minute.")
_REDIRECT = (
    APIError,
    "Redirects are not followed, as they could carry the key elsewhere; check SEGMIND_BASE_URL.",
)
_OTHER = (APIError, "Check the request and SEGMIND_BASE_URL.")


def error_for(
    status: int, body: str, *, what: str, model: str | None = None, request_id: str | None = None
) -> APIError:
    """Name the error that an HTTP answer stands for.

    Parameters
    ----------
    status
        The HTTP status code.
    body
        The answer's body, in whatever form it came.
    what
        The request, for the message: ``"POST /v1/claude-4-sonnet"``.
    model
        The slug that was asked for; a 404 then suggests the nearest known one.
    request_id
        The server's id of the request.
    """
    kind, advice = _kind(status)
    detail = detail_of(body)
    if status == 404 and model and (near := nearest_model(model)):
        advice = f"Did you mean `-m {near}`? {advice}"
    said = f": {shortened(detail)}" if detail else ""
    message = f"{what} was answered {status}{_full_stop(said)} {advice}"
    return kind(message, status=status, detail=detail, request_id=request_id)


def _kind(status: int) -> tuple[type[APIError], str]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return _SERVER
    return _REDIRECT if 300 <= status < 400 else _OTHER


def maybe_billed(
    happened: str, *, status: int | None = None, body: str = "", request_id: str | None = None
) -> MaybeBilledError:
    """Describe a POST whose outcome nobody here can know.

    Parameters
    ----------
    happened
        What happened to which request, as the first half of a sentence.
    status, body, request_id
        What came back, if anything did.
    """
    detail = detail_of(body)
    said = f": {shortened(detail)}" if detail else ""
    message = (
        f"{happened}{_full_stop(said)} It may have been billed, so it was not sent again. "
        "`%segmind credits` tells whether your credits went down; run the cell again to retry."
    )
    return MaybeBilledError(message, status=status, detail=detail, request_id=request_id)


def _full_stop(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def detail_of(body: str) -> str | None:
    """Find the server's own words in an error body of any form that was seen, or `None`.

    An envelope (``{"error": ...}``, ``{"error": {"message": ...}}``, ``{"detail": ...}`` and
    the like), an HTML page, a list, plain text or nothing.
    """
    try:
        return _words(json.loads(body))
    except (ValueError, RecursionError):
        return _page_words(body)


def _words(value: Any, *, depth: int = 4) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, dict) and depth:
        found = (_words(value[key], depth=depth - 1) for key in _DETAIL_KEYS if key in value)
        return next(filter(None, found), None) or _compact(value)
    return _compact(value) if value else None


def _compact(value: Any) -> str | None:
    return json.dumps(value, ensure_ascii=False, default=str)[:2_000] if value else None


def _page_words(body: str) -> str | None:
    page = re.search(r"<title[^>]*>(.*?)</title", body, re.DOTALL | re.IGNORECASE)
    text = page[1] if page else re.sub(r"<[^<>]*>", " ", body[:20_000])
    return " ".join(plain(text).split())[:2_000] or None
