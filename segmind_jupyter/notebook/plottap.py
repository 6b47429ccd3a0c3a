"""Hears the calls of a method of one object without changing what they do."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

_log = logging.getLogger(__name__)


class Tap:
    """Has something called with the arguments of each call of a method, after that has ended.

    A call that fails is not heard. What fails in hearing is logged, and the caller never learns of
    it. Others may wrap the same method before and after.

    Parameters
    ----------
    owner
        The object; only its own calls are heard, not those of others of its class.
    name
        The method.
    hear
        Called with the object and the arguments, on the caller's thread.
    """

    def __init__(self, owner: Any, name: str, hear: Callable[..., object]) -> None:
        self.owner, self._name = owner, name
        self._hear: Callable[..., object] | None = hear
        self._before = vars(owner).get(name)
        self._tapped = self._wrapped(getattr(owner, name))
        setattr(owner, name, self._tapped)

    def close(self) -> None:
        """Hear no more; the method is as it was, unless somebody wrapped it since."""
        self._hear = None
        if vars(self.owner).get(self._name) is not self._tapped:
            return
        if self._before is None:
            delattr(self.owner, self._name)
        else:
            setattr(self.owner, self._name, self._before)

    def _wrapped(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            self._tell(args, kwargs)
            return result

        return call

    def _tell(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hear = self._hear
        if hear is None:
            return
        try:
            hear(self.owner, *args, **kwargs)
        except Exception:  # noqa: BLE001 - an output must show, whatever we make of it
            _log.debug("an output could not be looked at", exc_info=True)
