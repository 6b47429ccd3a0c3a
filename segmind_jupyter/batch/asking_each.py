"""`ask_each`: one question about many things, as a batch of jobs. Knows nothing of notebooks."""

from __future__ import annotations

import concurrent.futures
import functools
import logging
import warnings
from typing import TYPE_CHECKING, Any, Final, Literal

from segmind_jupyter.asking import Service, call_of, service
from segmind_jupyter.batch.handle import Batch
from segmind_jupyter.batch.results import Results
from segmind_jupyter.calling import ShortTracebacks
from segmind_jupyter.errors import Interrupted, JobCancelled, SettingsError

if TYPE_CHECKING:
    from segmind_jupyter.batch.run import Plan
    from segmind_jupyter.content.each import Each

#: The arguments that `ask` has not: one that is mistyped would go to the model.
_OWN: Final = ("items", "max_in_flight", "on_error", "progress", "prompt", "resume")

_log = logging.getLogger(__name__)


def ask_each(
    prompt: str,
    items: Any,
    *,
    model: str | None = None,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    timeout: float | None = None,
    max_in_flight: int = 32,
    progress: bool = True,
    on_error: Literal["keep", "raise"] = "keep",
    resume: bool = True,
    **params: Any,
) -> Batch:
    """Ask a Claude model the same about each of many things, as queued jobs, and go on at once.

    Parameters
    ----------
    prompt
        Read as a `%%claude` cell is. ``{item}`` stands for the item, whatever that is, and
        ``{item.attr}`` or ``{item['key']}`` for a part of it; with a DataFrame, ``{column}``
        stands for a cell of the row (``{item[0]}``, where the column is called by a number), and
        ``{{word}}`` for a word in braces. If it names none of them, the item goes behind it.
    items
        A list of texts, images, figures, paths, ... or any other iterable; a Series or a
        mapping, whose keys are kept; a DataFrame of pandas or polars or a pyarrow Table, for its
        rows; a folder (a `Path`, or the name of one that exists), for the image files in it, in
        the order of their names. A string in a list is text; for the file of that name, give a
        `Path`. Of thousands of images, give the paths: each is then read when its turn comes,
        and dropped. Which items there are is settled at the call, cells of a table included;
        what an item holds (a file, a figure, a dict) is read when its turn comes, so change none
        of them before the batch has ended.
    model, system, max_tokens, temperature, **params
        As for `ask`.
    timeout
        Seconds that one submission may take, as for `submit`; the model has all the time it
        needs.
    max_in_flight
        Most jobs at a time.
    progress
        Whether to show how far it has come: in a notebook where it is called, on a terminal
        while it is waited for.
    on_error
        ``"keep"``: an error is its item's alone (`batch.errors`), and the others go on, unless
        it would meet them all (a refused key, an unknown model). ``"raise"``: nothing is sent
        after the first error, and whoever waits or iterates gets it; `batch.outcomes` has what
        is done.
    resume
        Whether an item that was answered before, in this kernel or an earlier one, takes its
        reply from the journal, and one that is still worked on its job: nothing is sent twice.

    Returns
    -------
    Batch
        `batch.wait()`, `batch.replies`, `batch.to_frame()`, ``for outcome in batch``,
        `batch.outcomes`, ...

    Raises
    ------
    ContentError
        The prompt is none, it has a word in braces that is no column of the table, or the items
        are not many things. An item that cannot be sent is an error of that item.
    SettingsError
        An argument cannot work, or is mistyped.
    Interrupted
        The user interrupted it: nothing more is sent.

    Warns
    -----
    UserWarning
        Something in the prompt looks like a name and is none; it is sent as typed.

    Examples
    --------
    >>> batch = ask_each("Caption this", Path("photos"))  # doctest: +SKIP
    >>> reviews.join(ask_each("Good or bad? {review}", reviews).to_frame())  # doctest: +SKIP
    """
    from segmind_jupyter.batch.run import Plan
    from segmind_jupyter.content.each import Each

    _check(max_in_flight=max_in_flight, on_error=on_error)
    _check_switches(progress=progress, resume=resume)
    desk = service()
    with ShortTracebacks():
        options = desk.options.but(
            model=model,
            system=system,
            max_tokens=max_tokens,
            temperature=temperature,
            timeout_s=timeout,
        )
        call = call_of((), options, params, own=_OWN)
        each = Each(prompt, items, limits=options.limits)
    for note in each.notes:  # at once: what is mistyped is about to be paid for many times
        warnings.warn(note, stacklevel=2)
    plan = Plan(
        call=call,
        max_in_flight=max_in_flight,
        resumes=resume,
        stops_at_error=on_error == "raise",
        timeout_s=options.timeout_s,
        may_send=options.cache != "only",
    )
    return _begun(each, plan, desk, shows=progress)


def _check(*, max_in_flight: int, on_error: str) -> None:
    is_whole = isinstance(max_in_flight, int) and not isinstance(max_in_flight, bool)
    if not is_whole or max_in_flight < 1:
        raise SettingsError(f"max_in_flight={max_in_flight!r}: give a whole number from 1 on.")
    if on_error not in ("keep", "raise"):
        raise SettingsError(f'on_error={on_error!r}: give "keep" or "raise".')


def _check_switches(**switches: object) -> None:
    for name, on in switches.items():
        if not isinstance(on, bool):
            raise SettingsError(f"{name}={on!r}: give True or False.")


def _begun(each: Each, plan: Plan, desk: Service, *, shows: bool) -> Batch:
    from segmind_jupyter.batch.run import Run

    results = Results(len(each))
    batch = Batch(each, results, plan, wait=desk.waiter, writes=shows and not desk.batch_shows)
    try:
        run = desk.start(Run(each, results, plan, desk))
        run.add_done_callback(functools.partial(_ended, results))
        desk.track(batch)
        if shows:
            _show(batch, desk)
    except KeyboardInterrupt:
        batch.cancel()
        raise Interrupted(
            "Stopped: nothing more is sent. Run it again to go on where it stopped."
        ) from None
    return batch


def _show(batch: Batch, desk: Service) -> None:
    """Show it, if that can be done: it is under way, whatever becomes of its view."""
    for show in tuple(desk.batch_shows):
        try:
            show(batch)
        except Exception:  # noqa: BLE001  whatever a view raises
            _log.exception("a batch cannot be shown")


def _ended(results: Results, run: concurrent.futures.Future[None]) -> None:
    """End what the run left over: its loop was closed, or it failed in a way of its own."""
    if results.end.done():
        return
    error = None if run.cancelled() else run.exception()
    if error is not None:
        _log.error("a batch failed", exc_info=error)
    results.abandon(
        JobCancelled(
            "The batch was closed before this item had its reply. Run it again to go on where it "
            "stopped."
        )
    )
