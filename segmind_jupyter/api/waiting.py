"""How a blocking call waits for what runs on another thread, so that Interrupt works meanwhile.

It knows futures and time, and nothing of what is awaited.
"""

from __future__ import annotations

import concurrent.futures
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from segmind_jupyter.api.settings import checked_seconds

#: Waits until a future is done or so many seconds are over (`None`: no bound), and returns in
#: either case; the future keeps its result and its error for whoever asks.
Waiter: TypeAlias = Callable[[concurrent.futures.Future[Any], float | None], None]

#: How long one wait lasts before it looks up. Windows delivers an interrupt only between waits.
SLICE_S: Final = 0.1


def checked_patience(timeout_s: float | None) -> float | None:
    """Return how long to wait: seconds, none of them for a look alone, or `None` for ever.

    Raises
    ------
    SettingsError
        It is none of these.
    """
    if timeout_s is None or timeout_s == math.inf:
        return None
    try:
        over = bool(timeout_s <= 0)
    except (TypeError, ValueError):  # no number at all
        over = False
    return timeout_s if over else checked_seconds(timeout_s)


def in_slices(future: concurrent.futures.Future[Any], timeout_s: float | None = None) -> None:
    """Wait in short slices, so that an interrupt is seen within one of them.

    Parameters
    ----------
    future
        What to wait for; its error is not raised here.
    timeout_s
        Seconds after which to return though it is not done; no bound if `None`.
    """
    for slice_s in slices(timeout_s):
        if future.done():
            return
        concurrent.futures.wait([future], timeout=slice_s)


def slices(timeout_s: float | None) -> Iterator[float]:
    """Give the length of each next slice, in seconds, until `timeout_s` is over."""
    while timeout_s is None:
        yield SLICE_S
    ends_s = time.monotonic() + timeout_s
    while (left_s := ends_s - time.monotonic()) > 0:
        yield min(SLICE_S, left_s)
