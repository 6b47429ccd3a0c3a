"""`%segmind cache`: how many replies are kept, and where; `%segmind cache clear` forgets them."""

from __future__ import annotations

from collections.abc import Sequence

from IPython.core.error import UsageError

from segmind_jupyter.asking import service
from segmind_jupyter.content.sent import readable_bytes
from segmind_jupyter.errors import SettingsError
from segmind_jupyter.notebook.columns import aligned
from segmind_jupyter.notebook.wording import moment

#: What each value of `ClaudeMagics.cache` does.
_MODES = {
    "off": 'off (`--cache` in a cell, `%config ClaudeMagics.cache = "on"`)',
    "on": "on: what is kept is not sent again; `--no-cache` sends it",
    "only": "only: nothing is sent; what is not kept is an error",
}


def cache(rest: Sequence[str]) -> str:
    """Say what is kept, or forget it."""
    if list(rest) == ["clear"]:
        return _cleared()
    if rest:
        raise UsageError("It is `%segmind cache` or `%segmind cache clear`")
    return aligned([("replies", _kept()), ("file", _file()), ("mode", _mode())])


def _kept() -> str:
    held = service().journal.kept_replies()
    if held.oldest_at is None:
        return "none"
    return (
        f"{held.count:,} ({readable_bytes(held.n_bytes)}), the oldest of {moment(held.oldest_at)}"
    )


def _file() -> str:
    return str(service().journal.path or "none: they end with this kernel (ClaudeMagics.journal)")


def _mode() -> str:
    return _MODES[service().options.cache]


def _cleared() -> str:
    journal = service().journal
    count = journal.clear_replies()
    if count is None:
        raise SettingsError(
            f"Nothing was forgotten: {journal.path} cannot be changed now. Make it "
            "writable, or close what has locked it, and try again."
        )
    return f"{'1 reply is' if count == 1 else f'{count:,} replies are'} forgotten; jobs stay."
