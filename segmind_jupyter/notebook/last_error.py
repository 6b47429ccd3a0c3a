"""The last error of a notebook that is the user's own, whichever cells failed after it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from IPython.core.error import UsageError

from segmind_jupyter.errors import ContentError, Interrupted, SegmindError

if TYPE_CHECKING:
    from segmind_jupyter.content.parts import Limits
    from segmind_jupyter.content.prompt import Attachment

#: What is asked where the prompt is empty.
DEFAULT_QUESTION: Final = (
    "What went wrong here, and how do I mend it? Name the cause in a sentence or two, then show "
    "the corrected code."
)

#: The magics whose wrong options are no error of the notebook's.
_MAGICS: Final = frozenset({"claude", "segmind"})


def last_error(shell: Any, *, limits: Limits | None = None) -> Attachment:
    """Describe the last error of a shell: its message, traceback, values, and the cell's source.

    What is a secret by its name or by its form is blanked out everywhere, and so is the key in
    use. Errors of this package say themselves what to do, and hide no error of the user's.
    """
    from segmind_jupyter.content.parts import STANDARD
    from segmind_jupyter.content.prompt import Attachment
    from segmind_jupyter.notebook.error_report import report

    error = LastError.of(shell)
    if error is None:
        raise ContentError(
            "There is no error to ask about. Run the cell that fails, then `%claude --error`."
        )
    return Attachment("last error", (report(error, shell, limits=limits or STANDARD),))


class LastError:
    """Remembers the user's last error while cells of this package fail after it."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._error: BaseException | None = None

    @classmethod
    def of(cls, shell: Any) -> BaseException | None:
        """Return the last error that is the user's: the one at hand, or the one remembered."""
        hooks = (getattr(h, "__self__", None) for h in shell.events.callbacks["post_run_cell"])
        return _at_hand() or next((h._error for h in hooks if isinstance(h, LastError)), None)

    def install(self) -> None:
        """Look now, and at the end of each cell from now on."""
        self._remember()
        self._shell.events.register("post_run_cell", self._remember)

    def remove(self) -> None:
        """Have nothing remembered any more."""
        self._shell.events.unregister("post_run_cell", self._remember)

    def _remember(self, result: Any = None) -> None:
        self._error = _at_hand() or self._error


def _at_hand() -> BaseException | None:
    """Return the error that is being handled, or that IPython showed last, if it is the user's.

    Every IPython sets `sys.last_value`, for errors of syntax, of asyncio cells and of displays
    too; only Python 3.12 and newer have `sys.last_exc`.
    """
    error = sys.exc_info()[1] or getattr(sys, "last_value", None)
    if error is None or isinstance(error, SegmindError | Interrupted):
        return None
    trace = error.__traceback__ if type(error) is UsageError else None
    while trace is not None:  # which magic refused its line is told by IPython's own frame
        frame = trace.tb_frame
        is_magic = frame.f_code.co_name in ("run_line_magic", "run_cell_magic")
        if is_magic and str(frame.f_locals.get("magic_name")) in _MAGICS:
            return None
        trace = trace.tb_next
    return error
