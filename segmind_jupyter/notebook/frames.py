"""The frames of a traceback as a person reads them: their own lines in full, libraries in brief.

What is a secret in them, and the values of their names, are no concern of this module.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from types import CodeType, FrameType, TracebackType
from typing import Final

from segmind_jupyter.notebook.cells import Cells, is_library
from segmind_jupyter.notebook.timed import TimedCell

#: Longer files are shown by the failing line alone.
_MAX_FILE_CHARS: Final = 500_000

#: Longest line that is shown, in characters.
_LINE_CHARS: Final = 300

#: Lines before and after the failing one, of the innermost frame and of the others.
_INNERMOST, _OTHERS = (12, 3), (1, 0)

#: Frames that are listed, from the outside and from the inside.
_OUTER, _INNER = 5, 15

#: A run of library frames that is not longer is listed whole.
_BRIEF: Final = 3


@dataclass(frozen=True)
class Place:
    """One frame of a traceback.

    Parameters
    ----------
    frame
        The frame itself.
    failing
        The line of its code that failed, from 1, and the instruction.
    is_users
        Whether the code is the user's, and no library's.
    timed
        The cell that it is in, where a magic runs the code under another name.
    label
        Where it is: ``"the cell"``, ``"model.py"``.
    """

    frame: FrameType = field(repr=False)
    failing: tuple[int, int]
    is_users: bool
    timed: TimedCell | None = field(default=None, repr=False)
    label: str = ""

    @property
    def filename(self) -> str:
        """The name of its file, or by which `Cells` knows its cell."""
        return self.timed.filename if self.timed else self.frame.f_code.co_filename

    @property
    def line_number(self) -> int:
        """The line of its file or cell that failed, from 1."""
        line_number = self.failing[0]
        return self.timed.line_number(self.frame, line_number) if self.timed else line_number

    @property
    def source(self) -> str:
        """The text of its file or cell; nothing where there is none, or an endless one."""
        return self.timed.source if self.timed else _source_of(self.filename)

    @property
    def spot(self) -> tuple[CodeType, int]:
        """The code and its line: the same for each frame of a recursion."""
        return self.frame.f_code, self.line_number

    @property
    def heading(self) -> str:
        """Where it is, in words."""
        code = self.frame.f_code
        name = self.timed.function(self.frame) if self.timed else code.co_name
        # IPython 7 names a cell's own code after its first line.
        where = "<module>" if name.startswith("<cell line") else name
        return f"{self.label}, line {self.line_number}, in {where}"

    @property
    def may_have_changed(self) -> bool:
        """Whether its names may stand for something else by now.

        Those of a notebook may, and those of a frame that went on when it had caught the error.
        """
        frame = self.frame
        return frame.f_lasti != self.failing[1] or frame.f_locals is frame.f_globals


def places(error: BaseException, cells: Cells) -> list[Place]:
    """Give the frames of an error, outermost first, from the user's first one on.

    Of a cell that is timed, from the frame of its body on: what leads there is IPython's.
    """
    found: list[Place] = []
    timed: TimedCell | None = None
    for frame, failing in _walked(error.__traceback__):
        timed = TimedCell.run_by(frame, cells) or timed
        own = timed if timed is not None and timed.holds(frame) else None
        if own and not any(place.timed for place in found):
            found.clear()
        is_users = own is not None or not is_library(frame.f_code.co_filename)
        if is_users or found:
            found.append(Place(frame, failing, is_users, own))
    return found


def _walked(trace: TracebackType | None) -> Iterator[tuple[FrameType, tuple[int, int]]]:
    while trace is not None:
        yield trace.tb_frame, (trace.tb_lineno, trace.tb_lasti)
        trace = trace.tb_next


def innermost(found: Iterable[Place]) -> Place | None:
    """Give the last frame that is the user's own."""
    return next((place for place in reversed(list(found)) if place.is_users), None)


def listed(found: list[Place], *, clean: Callable[[str], str]) -> str:
    """Write frames: the user's with their lines, runs of library frames by their ends.

    Parameters
    ----------
    found
        The frames, outermost first.
    clean
        Blanks secrets out of source; it is asked before a line is cut.
    """
    lines_of = cache(lambda source: clean(source).split("\n") if source else [])
    last = innermost(found)
    entries: list[str] = []
    for is_users, run in groupby(_shortened(found), key=lambda step: step.place.is_users):
        steps = list(run)
        if is_users:
            entries += [
                _in_full(s, lines_of(s.place.source.rstrip()), s.place == last) for s in steps
            ]
        else:
            entries += _in_brief(steps, clean)
    return "\n".join(entries)


@dataclass(frozen=True)
class _Step:
    """A frame, how often it stands there in a row, and how many are left out before it."""

    place: Place
    times: int = 1
    left_out: int = 0


def _shortened(found: list[Place]) -> list[_Step]:
    """Count frames that repeat themselves, and leave out the middle of what is still too long."""
    runs = (list(run) for _, run in groupby(found, key=lambda place: place.spot))
    steps = [_Step(run[-1], times=len(run)) for run in runs]
    if len(steps) <= _OUTER + _INNER:
        return steps
    left_out = len(steps) - _OUTER - _INNER
    first, *rest = steps[-_INNER:]
    return [*steps[:_OUTER], replace(first, left_out=left_out), *rest]


def _in_full(step: _Step, lines: list[str], is_last: bool) -> str:
    place = step.place
    before = [f"… {step.left_out:,} frames are left out here …"] if step.left_out else []
    shown = _numbered(lines, place.line_number, around=_INNERMOST if is_last else _OTHERS)
    after = [f"… and so {step.times - 1:,} times more"] if step.times > 1 else []
    return "\n".join([*before, place.heading, *shown, *after])


def _numbered(lines: list[str], failing: int, *, around: tuple[int, int]) -> list[str]:
    """Give the lines around the failing one with their numbers, and an arrow at that."""
    before, after = around
    first = max(0, failing - 1 - before)
    return [
        f"{'-->' if number == failing else '   '} {number:>4} {line[:_LINE_CHARS]}"
        for number, line in enumerate(lines[first : failing + after], start=first + 1)
    ]


def _in_brief(steps: list[_Step], clean: Callable[[str], str]) -> list[str]:
    """Name the way into a library and the way out."""
    headings = [f"{step.place.heading}: {_line(step.place, clean)}" for step in steps]
    shown = [heading[:_LINE_CHARS] for heading in headings]
    if len(shown) <= _BRIEF:
        return shown
    return [shown[0], f"… {len(shown) - 2:,} more frames of libraries …", shown[-1]]


def _line(place: Place, clean: Callable[[str], str]) -> str:
    return clean(linecache.getline(place.filename, place.line_number).strip())


def _source_of(filename: str) -> str:
    source = "".join(linecache.getlines(filename))
    return source if len(source) <= _MAX_FILE_CHARS else ""
