"""Replies that are kept for a request that is made again: their keys, and their form on disk.

Knows nothing of HTTP: a kept reply needs neither a key of the API nor a network. The file is
`store`'s affair.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from typing import TYPE_CHECKING, Any, Final, Literal

from segmind_jupyter.api.messages import Call, Reply, parse_reply
from segmind_jupyter.errors import NotCachedError, ReplyError

if TYPE_CHECKING:
    from segmind_jupyter.api.journal import Journal


#: What becomes of kept replies: never looked for; used, and kept where there is none; used, or
#: else an error, so that nothing is ever sent.
Caching = Literal["off", "on", "only"]

#: What a reply has besides the model's own JSON: from the headers, the clock, or the request.
_BESIDES: Final = ("model", "cost", "remaining_credits", "elapsed_s", "request_id")


class ReplyCache:
    """The place of the reply to one request; in this one nothing is ever kept."""

    def find(self) -> Reply | None:
        """Return the reply that is kept, with the time at which it was as its `cached_at`."""
        return None

    def keep(self, reply: Reply) -> None:
        """Keep a reply, if it can be read again as it is."""


class KeyedSlot(ReplyCache):
    """The place of a reply in a journal."""

    def __init__(self, journal: Journal, key: str, *, may_send: bool) -> None:
        self._journal, self._key, self._may_send = journal, key, may_send

    def find(self) -> Reply | None:
        """Return the reply that is kept; what damage left of one is none."""
        kept = self._journal.kept_reply(self._key, read_only=not self._may_send)
        if kept is not None:
            with contextlib.suppress(ReplyError):
                return dataclasses.replace(from_bytes(kept.body), cached_at=kept.kept_at)
        if not self._may_send:
            raise NotCachedError(_not_kept(self._journal))
        return None

    def keep(self, reply: Reply) -> None:
        """Keep a reply, if it came just now and says what was asked for."""
        if reply.cached_at is not None or not _fits(reply):
            return
        with contextlib.suppress(ReplyError):
            body = to_bytes(reply)
            if from_bytes(body) == reply:
                self._journal.keep_reply(self._key, body)


def slot_of(call: Call, *, cache: Caching, journal: Journal, origin: str) -> ReplyCache:
    """Find the place of the reply to a call."""
    if cache == "off":
        return ReplyCache()
    # So nothing of a request is written but what an equal one alone finds again.
    key = journal.fingerprint(b"reply to %s at %s" % (call.digest, origin.encode()))
    return KeyedSlot(journal, key, may_send=cache == "on")


def to_bytes(reply: Reply) -> bytes:
    """Write a reply as JSON: the model's own, and what came besides it."""
    besides = {name: getattr(reply, name) for name in _BESIDES}
    try:
        return json.dumps({"raw": reply.raw, **besides}, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError):
        raise ReplyError("The reply is no JSON.") from None


def from_bytes(body: bytes) -> Reply:
    """Read a reply again, as if it had just come."""
    try:
        fields = json.loads(body)
        besides = {name: fields[name] for name in _BESIDES}
        reply = parse_reply(_as_answer(fields["raw"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ReplyError("This is no kept reply.") from None
    return dataclasses.replace(reply, **besides)


def _as_answer(raw: Any) -> Any:
    """Stop `parse_reply` from taking apart a second time what it took apart before."""
    return raw if isinstance(raw, str) else {"output": raw}


def _fits(reply: Reply) -> bool:
    """Return whether a reply is of the shape that was asked for: another one is worth asking again.

    The shape is a class of the user's, which may raise anything.
    """
    if getattr(reply.request, "expected", None) is None:
        return True
    try:
        _ = reply.parsed
    except Exception:  # noqa: BLE001 - see above
        return False
    return True


def _not_kept(journal: Journal) -> str:
    where = journal.path or "this kernel's memory"
    return (
        f'No reply to this request is kept in {where}, and `ClaudeMagics.cache = "only"` sends '
        'nothing. Run the cell once online with `%config ClaudeMagics.cache = "on"`; if it ran, '
        "the request differs from then: the model, an option, or something named in the prompt."
    )
