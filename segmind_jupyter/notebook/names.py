"""Which names of a shell a prompt may speak of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sendable_names(shell: Any) -> Mapping[str, Any]:
    """Give the user's own variables, as `%who` sees them: IPython's (`In`, `exit`) are left out."""
    hidden = shell.user_ns_hidden
    missing = object()
    names = shell.user_ns.copy()  # a cell may add to them meanwhile: buttons have threads too
    return {name: value for name, value in names.items() if hidden.get(name, missing) is not value}
