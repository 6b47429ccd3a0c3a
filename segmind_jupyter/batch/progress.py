"""How far a batch has come: the numbers, their one line of text, and that line on a terminal.

Knows nothing of how a batch is sent.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Final, TextIO

#: Moves to the start of the line and clears it (ECMA-48's EL).
_REWIND: Final = "\r\x1b[K"

#: From so many of a smaller unit on, the larger one is used: 90 s, but 2 min.
_MOST_OF_A_UNIT: Final = 100

#: The smallest part of a credit that is shown: one call costs a fraction of one.
_LEAST_CREDITS: Final = 0.0001


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a batch had come at one moment; shown as text, it is one line.

    Parameters
    ----------
    total
        How many items there are: `done + failed + in_flight + unsent`.
    done
        How many have their reply.
    failed
        How many ended without one.
    in_flight
        How many are being prepared, sent or worked on.
    kept
        How many of `done` came from the journal, so that nothing was sent for them.
    input_tokens, output_tokens
        Sums over the replies that were fetched now; those from the journal are not counted.
    cost
        The same, in Segmind credits; `None` where no reply came with a cost.
    elapsed_s
        Seconds since the batch began, until its end.
    stopped
        Whether what is unsent will stay so.
    """

    total: int
    done: int = 0
    failed: int = 0
    in_flight: int = 0
    kept: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    elapsed_s: float = 0.0
    stopped: bool = False

    @property
    def unsent(self) -> int:
        """How many have not been taken up; those of a stopped batch never will be."""
        return self.total - self.done - self.failed - self.in_flight

    @property
    def left_s(self) -> float | None:
        """Estimate of the seconds to the end, from the pace so far; `None` before there is one."""
        to_do = self.in_flight + (0 if self.stopped else self.unsent)
        if not to_do:
            return 0.0
        ended = self.done - self.kept + self.failed
        if not ended or not self.elapsed_s:
            return None
        # What is in flight is half done on average; else the first reply of many would make the
        # whole batch look as slow as if its calls had gone one by one.
        half_done = self.in_flight / 2
        return (to_do - half_done) * self.elapsed_s / (ended + half_done)

    def __str__(self) -> str:
        facts = (self._counts(), self._tokens(), self._credits(), self._time())
        return " · ".join(filter(None, facts))

    def _counts(self) -> str:
        kept = f" ({self.kept:,} from the journal)" if self.kept else ""
        counts = [f"{self.done:,} of {self.total:,} done{kept}"]
        if self.failed:
            counts.append(f"{self.failed:,} failed")
        if self.in_flight:
            counts.append(f"{self.in_flight:,} in flight")
        if self.stopped and self.unsent:
            counts.append(f"{self.unsent:,} not sent")
        return ", ".join(counts)

    def _tokens(self) -> str:
        if not (self.input_tokens or self.output_tokens):
            return ""
        return f"{self.input_tokens:,} tokens in, {self.output_tokens:,} out"

    def _credits(self) -> str:
        if self.cost is None:
            return ""
        if 0 < self.cost < _LEAST_CREDITS:
            return f"<{_LEAST_CREDITS} credits"
        return f"{self.cost:,.4f}".rstrip("0").rstrip(".") + " credits"

    def _time(self) -> str:
        left_s = self.left_s
        if left_s is None:
            return ""
        return f"about {_duration(left_s)} left" if left_s else _duration(self.elapsed_s)


def _duration(seconds: float) -> str:
    if seconds < _MOST_OF_A_UNIT:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < _MOST_OF_A_UNIT else f"{minutes / 60:.1f} h"


class TextLine:
    """A line on a terminal that is written over again and again, and left there at the end.

    Parameters
    ----------
    terminal
        Where it is written.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal

    def show(self, text: str) -> None:
        """Put `text` in the place of what is there, cut to the width of the terminal."""
        width = shutil.get_terminal_size().columns
        self._terminal.write(_REWIND + text[: width - 1])
        self._terminal.flush()

    def end(self, text: str) -> None:
        """Leave `text` there, and go to the next line."""
        self.show(text)
        self._terminal.write("\n")
        self._terminal.flush()
