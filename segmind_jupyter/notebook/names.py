"""Which names of a shell a prompt may speak of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sendable_names(shell: Any) -> Mapping[str, Any]:
    """Give the user's own variables, as `%who` sees them, and the values that cells gave.

    Of what IPython puts there (`In`, `exit`), the values alone are among them: ``_`` and ``_3``.
    Other names with a leading underscore are not, as no prompt reads them.
    """
    hidden = shell.user_ns_hidden
    missing = object()
    names = shell.user_ns.copy()  # a cell may add to them meanwhile: buttons have threads too
    outputs = {name: names[name] for name in _of_outputs(names)}
    own = {
        name: value
        for name, value in names.items()
        if not name.startswith("_") and hidden.get(name, missing) is not value
    }
    return {**outputs, **own}


def _of_outputs(names: Mapping[str, Any]) -> list[str]:
    """List the names of values that cells gave; before the first one, IPython's are empty."""
    given = names.get("_oh") or {}
    numbered = [f"_{number}" for number in given]
    return [name for name in ("_", "__", "___")[: len(given)] + tuple(numbered) if name in names]
