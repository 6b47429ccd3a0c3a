"""Cells whose body a timing magic runs, under a name that has no source: `%%time`, `%%timeit`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Final

from segmind_jupyter.notebook.cells import Cells

#: IPython's functions that compile and run a body, and the names that its code gets.
_MAGICS: Final = frozenset({"time", "timeit"})
_NAMES: Final = frozenset({"<timed exec>", "<timed eval>", "<magic-timeit>"})

#: The variables of these functions that hold code which they made of a body.
_CODES: Final = ("code", "code_2")

#: A variable of the function that `%%timeit` puts a body into, and one that it sets before it
#: runs the body, but after the statement beside the magic.
_WRAPPER, _AFTER_SETUP = "_it", "_t0"


@dataclass(frozen=True)
class TimedCell:
    """A cell whose body is run by a magic.

    Parameters
    ----------
    filename
        The name by which `Cells` knows the cell.
    head
        What stands above the first line that is run.
    python
        The body as Python reads it.
    codes
        All code that was made of the body.
    """

    filename: str
    head: str
    python: str
    codes: frozenset[CodeType]

    @classmethod
    def run_by(cls, frame: FrameType, cells: Cells) -> TimedCell | None:
        """Give the cell that a frame of IPython runs."""
        magic = frame.f_code.co_name
        if magic not in _MAGICS or "IPython" not in frame.f_code.co_filename:
            return None
        names = frame.f_locals
        body = names.get("cell") or ""
        filename = cells.with_body(magic, body) if body.strip() else None
        if filename is None:
            return None
        made = (names.get(name) for name in _CODES)
        codes = frozenset(code for each in made if each is not None for code in _within(each))
        head = _above(body, cells.typed(filename))
        return cls(filename, head, cells.python(body), codes)

    @property
    def source(self) -> str:
        """The cell with the lines that Python read, each in its place."""
        return self.head + self.python

    def holds(self, frame: FrameType) -> bool:
        """Tell whether a frame runs code of the body."""
        return frame.f_code.co_filename in _NAMES and frame.f_code in self.codes

    def line_number(self, frame: FrameType, line_number: int) -> int:
        """Give the line of the cell for that of a frame; the magic stands on the first."""
        if _is_wrapper(frame) and _AFTER_SETUP not in frame.f_locals:
            return 1
        return self.head.count("\n") + line_number

    def function(self, frame: FrameType) -> str:
        """Name the function of a frame as the user did."""
        return "<module>" if _is_wrapper(frame) else frame.f_code.co_name


def _within(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _within(constant)


def _above(body: str, typed: str) -> str:
    """Give what stands above a body; IPython drops the body's own empty lines at its top."""
    head = typed.rstrip()[: -len(body.rstrip())]
    return head + "\n" * body[: -len(body.lstrip())].count("\n")


def _is_wrapper(frame: FrameType) -> bool:
    return frame.f_code.co_filename == "<magic-timeit>" and _WRAPPER in frame.f_locals
