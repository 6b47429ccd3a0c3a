"""The caller's account: what is left to spend, and how many calls a window of time allows.

Takes the time from its caller, and knows nothing of requests.
"""

from __future__ import annotations

import threading
from collections import deque


class Account:
    """Credits in dollars, really spent. Safe to use from several threads.

    Parameters
    ----------
    credits
        Dollars at the start.
    """

    def __init__(self, credits: float) -> None:
        self._lock = threading.Lock()
        self._credits = credits
        self._billed = 0

    @property
    def credits(self) -> float:
        """Dollars left, never below zero."""
        return self._credits

    @property
    def billed(self) -> int:
        """How many calls were charged."""
        return self._billed

    def charge(self, cost: float) -> float:
        """Spend `cost` dollars, or the rest where less is left, and give what remains."""
        with self._lock:
            self._credits = max(0.0, self._credits - cost)
            self._billed += 1
            return self._credits


class RateWindow:
    """A sliding window over the times of the calls let through. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times_s: deque[float] = deque()

    def admit(self, now_s: float, *, limit: int, window_s: float) -> float:
        """Let one call through and give 0, or give the seconds until one would be let through."""
        with self._lock:
            while self._times_s and self._times_s[0] <= now_s - window_s:
                self._times_s.popleft()
            if len(self._times_s) >= limit:
                oldest_s = self._times_s[0] if self._times_s else now_s
                return oldest_s + window_s - now_s
            self._times_s.append(now_s)
            return 0.0
