"""The frames of a traceback as a person reads them: their own lines in full, libraries in brief.

Knows which code is the user's, and in which cell it stands; what is a secret in it, and the
values of its names, are no concern of this module.
"""

from __future__ import annotations

import linecache
import os
import site
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from types import CodeType, FrameType
from typing import Any, Final

#: Names in angle brackets that are somebody's generated code; cells have such names too.
_GENERATED: Final = ("<frozen ", "<string>", "<attrs ", "<__array", "<decorator-", "<unknown>")

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
    line_number
        The line that failed, from 1.
    label
        Where it is: ``"cell [3]"``, ``"model.py"``.
    is_users
        Whether the code is the user's, and no library's.
    """

    frame: FrameType = field(repr=False)
    line_number: int
    label: str
    is_users: bool

    @property
    def filename(self) -> str:
        """Under which name `linecache` has the source."""
        return self.frame.f_code.co_filename

    @property
    def spot(self) -> tuple[CodeType, int]:
        """The code and its line: the same for each frame of a recursion."""
        return self.frame.f_code, self.line_number

    @property
    def heading(self) -> str:
        """Where it is, in words."""
        name = self.frame.f_code.co_name
        # IPython 7 names a cell's own code after its first line.
        where = "<module>" if name.startswith("<cell line") else name
        return f"{self.label}, line {self.line_number}, in {where}"


class Cells:
    """The cells that a shell has run, by the names of their code.

    Parameters
    ----------
    shell
        The shell.
    """

    def __init__(self, shell: Any) -> None:
        history = shell.history_manager
        self._parsed: list[str] = list(history.input_hist_parsed)
        self._raw: list[str] = list(history.input_hist_raw)
        self._numbers: dict[str, int | None] = {}

    def number(self, filename: str) -> int | None:
        """Give the number of the cell whose code has this name: that of its last run."""
        if filename not in self._numbers:
            self._numbers[filename] = self._found(filename)
        return self._numbers[filename]

    def typed(self, filename: str) -> str:
        """Give a cell's source as it was typed, with its magics."""
        number = self.number(filename)
        if number is None or number >= len(self._raw):
            return "".join(linecache.getlines(filename))
        return self._raw[number]

    def label(self, filename: str) -> str:
        """Name a cell, or a file."""
        number = self.number(filename)
        if number is not None:
            return f"cell [{number}]"
        return "a cell" if self.is_cell(filename) else _short_path(filename)

    def is_cell(self, filename: str) -> bool:
        """Tell a cell from a file, also one that is in no history."""
        known = filename.startswith("<ipython-input-") or f"{os.sep}ipykernel_" in filename
        return known or self.number(filename) is not None

    def _found(self, filename: str) -> int | None:
        """Compare sources: the older IPythons keep no list of the names."""
        source = "".join(linecache.getlines(filename)).rstrip("\n")
        runs = range(len(self._parsed) - 1, 0, -1)
        return next((n for n in runs if source and self._parsed[n] == source), None)


def places(error: BaseException, cells: Cells) -> list[Place]:
    """Give the frames of an error, outermost first, from the user's first one on."""
    found: list[Place] = []
    trace = error.__traceback__
    while trace is not None:
        filename = trace.tb_frame.f_code.co_filename
        is_users = not _is_library(filename)
        label = cells.label(filename) if is_users else _short_path(filename)
        if is_users or found:
            found.append(Place(trace.tb_frame, trace.tb_lineno, label, is_users))
        trace = trace.tb_next
    return found


def innermost(found: Iterable[Place]) -> Place | None:
    """Give the last frame that is the user's own."""
    return next((place for place in reversed(list(found)) if place.is_users), None)


def source_of(filename: str) -> str:
    """Give the source of a file or a cell; nothing where it has none, or an endless one."""
    source = "".join(linecache.getlines(filename))
    return source if len(source) <= _MAX_FILE_CHARS else ""


def listed(found: list[Place], *, clean: Callable[[str], str]) -> str:
    """Write frames: the user's with their lines, runs of library frames by their ends.

    Parameters
    ----------
    found
        The frames, outermost first.
    clean
        Blanks secrets out of source; it is asked before a line is cut.
    """
    lines_of = cache(lambda filename: _lines(filename, clean))
    last = innermost(found)
    entries: list[str] = []
    for is_users, run in groupby(_shortened(found), key=lambda step: step.place.is_users):
        steps = list(run)
        if is_users:
            entries += [_in_full(s, lines_of(s.place.filename), s.place == last) for s in steps]
        else:
            entries += _in_brief(steps, clean)
    return "\n".join(entries)


def _lines(filename: str, clean: Callable[[str], str]) -> list[str]:
    """Give the lines of a file or a cell; none where it has no source."""
    source = source_of(filename).rstrip()
    return clean(source).split("\n") if source else []


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


def _is_library(filename: str) -> bool:
    if filename.startswith("<"):
        return filename.startswith(_GENERATED)
    return any(filename.startswith(folder) for folder in _library_folders()) or any(
        part in {"site-packages", "dist-packages"} for part in filename.split(os.sep)
    )


@cache
def _library_folders() -> tuple[str, ...]:
    """Give the folders of the standard library, of what is installed, and of this package."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {site.getusersitepackages(), os.path.dirname(os.path.dirname(__file__))}
    # The longest first, as one may stand inside another.
    return tuple(sorted((os.path.join(folder, "") for folder in folders), key=len, reverse=True))


def _short_path(filename: str) -> str:
    """Give a path from its package or from here on: the folders above are nobody's business."""
    for folder in (*_library_folders(), os.path.join(os.getcwd(), "")):
        if filename.startswith(folder):
            return filename.removeprefix(folder)
    return os.path.join(*filename.split(os.sep)[-2:])
