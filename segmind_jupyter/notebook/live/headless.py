"""Where nobody looks on, a cell that begins jobs ends with their replies.

nbconvert and papermill keep what cells showed while they ran, and stop the kernel after the last
one: a reply that comes later is in no file.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.errors import JobTimeout
from segmind_jupyter.session import session

if TYPE_CHECKING:
    from segmind_jupyter.session import Trackable

#: So long the service keeps a result, in seconds: what has brought nothing by then brings nothing.
RESULTS_LIVE_S: Final = 3600.0


class WaitAtCellEnd:
    """Waits at the end of each cell, if it is to."""

    def __init__(self, shell: Any, policy: Callable[[], str]) -> None:
        self._shell, self._policy = shell, policy
        self._given_up: weakref.WeakSet[Any] = weakref.WeakSet()

    def install(self) -> None:
        """Be called at the end of each cell from now on."""
        session().unattended = lambda: is_headless(self._shell)
        self._shell.events.register("post_run_cell", self.wait)

    @staticmethod
    def remove(shell: Any) -> None:
        """Have nothing of this kind called at the end of a cell any more."""
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
                if work in self._given_up:
                    continue
                try:
                    wait_until_done(work)
                except JobTimeout as error:  # raised here, it would be a callback's failure
                    self._given_up.add(work)
                    print(f"JobTimeout: {error}")  # noqa: T201
                else:
                    show_ended(self._shell, work)
        except KeyboardInterrupt:
            print("Stopped waiting; the jobs go on. `%segmind wait` waits again.")  # noqa: T201


def wait_until_done(work: Trackable) -> None:
    """Wait until it has ended, and leave it alone if the wait is interrupted.

    What brings nothing for as long as a result lives raises `JobTimeout`.
    """
    import concurrent.futures

    end: concurrent.futures.Future[None] = concurrent.futures.Future()
    work.on_done(lambda _: end.set_result(None))
    ended = _ended_items(work)
    # A job's time began when it was sent; a batch brings something again and again.
    patience_s = RESULTS_LIVE_S - (getattr(work, "elapsed_s", 0.0) if ended is None else 0.0)
    while True:
        session().waiter(end, patience_s, of=work)
        if end.done():
            return
        before, ended, patience_s = ended, _ended_items(work), RESULTS_LIVE_S
        if before == ended:
            what = f"Job {work.request_id}" if hasattr(work, "request_id") else str(work)
            raise JobTimeout(
                f"{what} brought nothing for an hour, as long as results are kept, so it is no "
                "longer waited for. `%segmind jobs` lists what is known of it.",
                request_id=getattr(work, "request_id", None),
            )


def _ended_items(work: Trackable) -> int | None:
    """Return how many items of a batch have ended; `None` of a job."""
    progress = getattr(work, "progress", None)
    return None if progress is None else progress.done + progress.failed


def show_ended(shell: Any, work: Trackable) -> None:
    """Show what came of it where no view has turned into that: of a job, without widgets."""
    from IPython.display import display

    from segmind_jupyter.batch.batch import Batch
    from segmind_jupyter.notebook.live.cards import BatchDisplay, JobDisplay

    kind = BatchDisplay if isinstance(work, Batch) else JobDisplay
    if not kind(shell).can_show:
        display(work)


def is_headless(shell: Any) -> bool:
    """Return whether the cell that runs was sent by a program: one that answers no `input()`.

    A front end with a person before it says with each cell that it can ask (the messaging
    protocol's `allow_stdin`); nbclient, and with it nbconvert and papermill, says that it cannot.
    """
    kernel = getattr(shell, "kernel", None)
    return kernel is not None and getattr(kernel, "_allow_stdin", True) is False
