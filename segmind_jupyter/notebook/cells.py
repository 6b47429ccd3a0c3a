"""Which code is the user's: a cell, as it was typed and with its number, or a file of their own."""

from __future__ import annotations

import linecache
import os
import site
import sysconfig
from collections.abc import Callable, Iterable
from functools import cache
from itertools import chain, count
from string import ascii_uppercase
from typing import Any, Final

#: Names in angle brackets that are somebody's generated code; cells have such names too.
_GENERATED: Final = ("<frozen ", "<string>", "<attrs ", "<__array", "<decorator-", "<unknown>")


class Cells:
    """The cells that a shell has run, by the names of their code.

    Parameters
    ----------
    shell
        The shell.
    """

    def __init__(self, shell: Any) -> None:
        self._transformed: Callable[[str], str] = shell.transform_cell
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

    def with_body(self, magic: str, body: str) -> str | None:
        """Find the last cell that gave this body to a magic; gives a name of its own."""
        runs = range(len(self._raw) - 1, 0, -1)
        number = next((n for n in runs if _gives(self._raw[n], magic, body)), None)
        if number is None:
            return None
        filename = f"<cell {number}>"
        self._numbers[filename] = number
        return filename

    def python(self, source: str) -> str:
        """Give source as Python reads it, with calls in the place of its magics."""
        return self._transformed(source)

    def names(self, filenames: Iterable[str]) -> dict[str, str]:
        """Name cells and files for a request, which is to be the same whenever they are run.

        Parameters
        ----------
        filenames
            All that take part. A single cell is "the cell"; several have letters, in this order.
        """
        every = list(dict.fromkeys(filenames))
        cells = {name: self.number(name) or name for name in every if self.is_cell(name)}
        order = list(dict.fromkeys(cells.values()))
        spelled = map("cell {}".format, chain(ascii_uppercase, count(len(ascii_uppercase) + 1)))
        named = dict(zip(order, spelled if len(order) > 1 else ["the cell"], strict=False))
        return {name: named[cells[name]] if name in cells else short_path(name) for name in every}

    def label(self, filename: str) -> str:
        """Name a cell for the person who sees its number beside it, or a file."""
        number = self.number(filename)
        if number is not None:
            return f"cell [{number}]"
        return "a cell" if self.is_cell(filename) else short_path(filename)

    def is_cell(self, filename: str) -> bool:
        """Tell a cell from a file, also one that is in no history."""
        known = filename.startswith("<ipython-input-") or f"{os.sep}ipykernel_" in filename
        return known or self.number(filename) is not None

    def _found(self, filename: str) -> int | None:
        """Compare sources: the older IPythons keep no list of the names."""
        source = "".join(linecache.getlines(filename)).rstrip("\n")
        runs = range(len(self._parsed) - 1, 0, -1)
        return next((n for n in runs if source and self._parsed[n] == source), None)


def _gives(typed: str, magic: str, body: str) -> bool:
    first, _, rest = typed.lstrip().partition("\n")
    return first.split()[:1] == [f"%%{magic}"] and rest.strip() == body.strip()


def is_library(filename: str) -> bool:
    """Tell code of Python, of what is installed, or of this package from the user's."""
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


def short_path(filename: str) -> str:
    """Give a path from its package or from here on: the folders above are nobody's business."""
    for folder in (*_library_folders(), os.path.join(os.getcwd(), "")):
        if filename.startswith(folder):
            return filename.removeprefix(folder)
    return os.path.join(*filename.split(os.sep)[-2:])
