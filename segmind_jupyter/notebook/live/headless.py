"""Where nobody looks on, a cell that begins jobs ends with their replies.

nbconvert and papermill keep what cells showed while they ran, and stop the kernel after the last
one: a reply that comes later is in no file.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from IPython.display import display

from segmind_jupyter.session import session

if TYPE_CHECKING:
    from segmind_jupyter.session import Trackable


class WaitAtCellEnd:
    def __init__(self, shell: Any, policy: Callable[[], str]) -> None:
        self._shell, self._policy = shell, policy

    def install(self) -> None:
        session().unattended = lambda: is_headless(self._shell)
        self._shell.events.register("post_run_cell", self.wait)

    @staticmethod
    def remove(shell: Any) -> None:
        for callback in list(shell.events.callbacks["post_run_cell"]):
            if isinstance(getattr(callback, "__self__", None), WaitAtCellEnd):
                shell.events.unregister("post_run_cell", callback)
                session().unattended = lambda: False

    def wait(self, result: Any = None) -> None:
        """Wait for what is under way; each job shows by itself what came of it.

        What failed is raised by the next `%segmind wait`: here it would be no cell's failure.
        """
        policy = self._policy()
        if policy == "never" or (policy == "headless" and not is_headless(self._shell)):
            return
        try:
            for work in session().pending:
                wait_until_done(work)
                show_ended(self._shell, work)
        except KeyboardInterrupt:
            print("Stopped waiting; the jobs go on. `%segmind wait` waits again.")  # noqa: T201


def wait_until_done(work: Trackable) -> None:
    """Wait until it has ended, and leave it alone if the wait is interrupted.

    All does: a job that brings nothing for as long as a result lives is given up by its watch.
    """
    end: concurrent.futures.Future[None] = concurrent.futures.Future()
    work.on_done(lambda _: end.set_result(None))
    session().waiter(end, of=work)


def show_ended(shell: Any, work: Trackable) -> None:
    """Show what came of it in a terminal, where nothing turns into that."""
    if getattr(shell, "kernel", None) is None:
        display(work)


def is_headless(shell: Any) -> bool:
    """Return whether the cell that runs was sent by a program: one that answers no `input()`.

    A front end with a person before it says with each cell that it can ask (the messaging
    protocol's `allow_stdin`); nbclient, and with it nbconvert and papermill, says that it cannot.
    """
    kernel = getattr(shell, "kernel", None)
    return kernel is not None and getattr(kernel, "_allow_stdin", True) is False
