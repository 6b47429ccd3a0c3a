"""Tab in `%%claude`, `%claude` and `%segmind`: stands between the shell's completer and `offering`.

One override of the completer's own method, on every version the same: matchers are given a token
instead of the text, can silence jedi only with an offer of their own, and not at all before
IPython 8.6. Outside of these magics the completer answers as ever.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from IPython.core.completer import Completion as IPythonCompletion
from IPython.core.completer import provisionalcompleter

from segmind_jupyter.notebook.names import sendable_names

if TYPE_CHECKING:
    from segmind_jupyter.notebook.offering import Offers

#: The most that is offered, as IPython's own bound.
_MAX_OFFERS: Final = 500

_log = logging.getLogger(__name__)


class Completion:
    """What a shell offers on Tab where the magics of this package are typed.

    Parameters
    ----------
    shell
        The shell whose completer is asked.
    """

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._overridden: Any = None

    def install(self) -> None:
        """Answer from now on, in these places alone."""
        completer = getattr(self._shell, "Completer", None)
        if completer is not None:
            self._overridden = vars(completer).get("completions")
            completer.completions = self.completions

    @staticmethod
    def remove(shell: Any) -> None:
        """Give the completer back; nothing happens where nothing was installed."""
        completer: Any = getattr(shell, "Completer", None)
        ours = getattr(getattr(completer, "completions", None), "__self__", None)
        if isinstance(ours, Completion):
            del completer.completions
            if ours._overridden is not None:
                completer.completions = ours._overridden

    def completions(self, text: str, offset: int) -> Iterator[IPythonCompletion]:
        """Stand in for `IPCompleter.completions`, which kernels and terminals ask.

        Parameters
        ----------
        text
            The whole cell.
        offset
            Where the cursor stands in it, in code points.
        """
        ours = self._offers(text, offset)
        yield from self._theirs(text, offset) if ours is None else _for_ipython(ours, offset)

    def _offers(self, text: str, offset: int) -> Offers | None:
        from segmind_jupyter.notebook.offering import Offers, offers

        try:
            return offers(text, offset, partial(sendable_names, self._shell))
        except Exception:  # noqa: BLE001 - a key that completes nothing must not show a traceback
            _log.debug("no completions", exc_info=True)
            return Offers()

    def _theirs(self, text: str, offset: int) -> Iterator[IPythonCompletion]:
        completer = self._shell.Completer
        theirs = self._overridden or partial(type(completer).completions, completer)
        found: Iterator[IPythonCompletion] = theirs(text, offset)
        return found


def _for_ipython(ours: Offers, offset: int) -> list[IPythonCompletion]:
    start = offset - len(ours.typed)
    with provisionalcompleter():  # or each of them would warn
        return [
            IPythonCompletion(start, offset, offer.text, type=offer.about)
            for offer in ours.all[:_MAX_OFFERS]
        ]
