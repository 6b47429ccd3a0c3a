"""What is sent of an error: its message, the traceback with the user's lines, values, the cell."""

from __future__ import annotations

import linecache
import os
import re
import site
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import groupby, islice
from string import ascii_uppercase
from types import FrameType, ModuleType
from typing import Any, Final
from unicodedata import normalize

from segmind_jupyter.content.parts import Limits, Text, safe_str, without_addresses
from segmind_jupyter.content.prompt import counted
from segmind_jupyter.content.secrets import (
    HIDDEN,
    Blanker,
    attributes_of,
    class_name,
    glimpse,
    hides,
    is_secret,
    scrubbed,
    scrubbed_source,
    secrets_in,
    secrets_of_source,
)
from segmind_jupyter.content.text import as_text, cut, fenced
from segmind_jupyter.errors import SettingsError, plain
from segmind_jupyter.session import session

#: The shares of the room that each section may take; the traceback has what they leave.
_MESSAGE, _VALUES, _SOURCE = 0.25, 0.2, 0.2

#: Room that is kept for headings and fences, and less than is worth two ends, in characters.
_HEADINGS_CHARS, _TWO_ENDS_CHARS = 100, 200

#: Longest part of a message that is searched for secrets, and what is dropped where it ends there.
_MESSAGE_CHARS, _EDGE_CHARS = 20_000, 400

#: Longest line of a message below its traceback, of an error without one, and of a source.
_WORDS_CHARS, _ALONE_CHARS, _LINE_CHARS = 80, 400, 300

#: Errors of a chain and of a group that are shown, and names of a line.
_MAX_CHAIN, _MAX_LEAVES, _MAX_NAMES = 4, 4, 12

#: Frames that are listed, from the outside and from the inside; a run of library frames that is
#: not longer than the last is listed whole.
_OUTER, _INNER, _BRIEF = 5, 15, 3

#: Longer files are shown by the failing line alone.
_MAX_FILE_CHARS: Final = 500_000

#: Environment variables that sound like secrets and are folders.
_FOLDERS: Final = frozenset({"PWD", "OLDPWD"})


def report(error: BaseException, shell: Any, *, limits: Limits) -> Text:
    """Describe an error of a shell's cells."""
    cells = Cells(shell)
    written = _Report(error, cells)
    # For the person who sees the numbers of the cells.
    where = cells.label(written.file) if written.file else "the notebook"
    about = f"{class_name(error)} in {where}"
    text = written.text(max_chars=limits.text_chars)
    return as_text(text, limits=limits, about=about, lines=True)


class _Report:
    """The sections of the text about one error."""

    def __init__(self, error: BaseException, cells: Cells) -> None:
        self._error, self._cells = error, cells
        chain = list(_chain(error))[::-1]
        leaves = [leaf for each in chain for leaf in _leaves(each)]
        self._left_out = max(0, len(leaves) - _MAX_LEAVES)
        self._shown = [*leaves[:_MAX_LEAVES], *chain]
        # What is inside a group tells more than the line that waited for it.
        self._telling = leaves[:_MAX_LEAVES] or chain[::-1]
        self._frames = {id(each): frames_of(each, cells) for each in self._shown}
        users = {key: [f for f in frames if f.is_users] for key, frames in self._frames.items()}
        # Cells are named in the order in which they come up, the last error first.
        files = [frame.filename for frame in users[id(error)]] + _unread(error)
        self.file = files[0] if files else None
        for each in reversed(self._shown):
            files += [*(frame.filename for frame in users[id(each)]), *_unread(each)]
        self._names = cells.names(files)
        self._blank = _blanker(self._shown, [f for frames in users.values() for f in frames])

    def text(self, *, max_chars: int) -> str:
        """Put the sections together in at most about `max_chars` characters."""
        where = self._names[self.file] if self.file else "the notebook"
        head = _ends(self._message(self._error), max_chars=int(max_chars * _MESSAGE))
        head += f"\n\nThis is the last error of the notebook, in {where}."
        failing = next(filter(None, (_innermost(self._frames[id(e)]) for e in self._telling)), None)
        values = "" if failing is None else _values(failing, self._names, self._clean)
        below = [_head(values, max_chars=int(max_chars * _VALUES))]
        if self.file and self._cells.is_cell(self.file):
            source = self._clean_source(self._cells.typed(self.file))
            shown = _ends(source, max_chars=int(max_chars * _SOURCE))
            below.append(f"Source of {where}:\n\n{fenced(shown, language='python')}")
        room = max_chars - len(head) - sum(map(len, below)) - _HEADINGS_CHARS
        traceback = self._traceback()
        if len(traceback) > max(0, room):  # the end is kept: there is the failing frame
            _, _, kept = traceback[len(traceback) - max(0, room - 40) :].partition("\n")
            traceback = f"Traceback, its last lines:\n…\n{kept}" if kept else ""
        return "\n\n".join(filter(None, [head, traceback, *below]))

    def _traceback(self) -> str:
        """List the frames, the oldest error first, as Python does."""
        blocks = []
        for each in self._shown:
            if frames := self._frames[id(each)]:
                first_line = self._message(each).partition("\n")[0]
                listed = _listed(frames, self._names, self._clean_source)
                blocks.append(f"{listed}\n{_head(first_line, max_chars=_WORDS_CHARS)}")
            elif each is not self._error:
                words = _head(self._message(each), max_chars=_ALONE_CHARS)
                blocks.append(f"Without a traceback of its own:\n{words}")
        if self._left_out:
            blocks.insert(_MAX_LEAVES, f"… {counted(self._left_out, 'more error')} of the group …")
        return "\n\n".join(["Traceback, innermost frame last:", *blocks]) if blocks else ""

    def _message(self, error: BaseException) -> str:
        """Write an error as Python does, with its notes, and the line of an error of syntax."""
        kind, said = type(error), safe_str(str, error)
        if isinstance(error, SyntaxError) and (unread := _unread(error)):  # the cell, not its code
            said = f"{error.msg} ({self._names[unread[0]]}, line {error.lineno})"
        is_plain = kind.__module__ in ("builtins", "__main__")
        name = kind.__qualname__ if is_plain else f"{kind.__module__}.{kind.__qualname__}"
        lines = [f"{name}: {said}" if said else name]
        notes = getattr(error, "__notes__", None)  # anybody may have put anything in their place
        lines += [note for note in notes if isinstance(note, str)] if type(notes) is list else []
        if isinstance(error, SyntaxError) and isinstance(error.text, str):
            line = error.text.rstrip("\n")
            indent = min(error.offset or 1, len(line) + 1) - 1
            lines += [self._clean_source(line), f"{' ' * indent}^"]
        text = "\n".join(lines)
        words = plain(text[:_MESSAGE_CHARS])
        frame = _innermost(self._frames[id(error)])
        if frame and any(is_secret(path, value) for path, value in frame.named()):
            # What it quotes may be made of the secret: a slice, an encoding.
            code = self._clean_source(frame.source)
            words = _QUOTED.sub(lambda q: q[0] if q[1] in code else f"'{HIDDEN}'", words)
        words = self._clean(words)
        # Half a secret, where the rest was not read, is not found.
        return words if len(text) <= _MESSAGE_CHARS else f"{words[:-_EDGE_CHARS]} …"

    def _clean(self, text: str) -> str:
        return self._blank(scrubbed(without_addresses(text)), parts=True)

    def _clean_source(self, source: str) -> str:
        return self._blank(scrubbed_source(without_addresses(source)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that led to it, as far as Python shows them."""
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen and len(seen) < _MAX_CHAIN:
        seen.add(id(step))
        yield step
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner) if isinstance(inner, BaseExceptionGroup) else [inner]


def _unread(error: BaseException) -> list[str]:
    """Return the name of what Python could not read."""
    name = error.filename if isinstance(error, SyntaxError) else None
    return [name] if name and isinstance(name, str) else []


#: A value in the words of an error.
_QUOTED: Final = re.compile(r"'([^'\n]+)'")


def _blanker(errors: list[BaseException], users: list[Frame]) -> Callable[..., str]:
    """Return what blanks out the key in use, the environment's secrets and those of the code."""
    scopes = [scope for f in users[::-1] for scope in (f.frame.f_locals, f.frame.f_globals)]
    scopes += [{"secret": value} for frame in users for value in frame.made_of_secrets()]
    scopes += [{"": BaseException.args.__get__(error)} for error in errors]  # type: ignore[attr-defined]
    found = secrets_in(*{id(scope): scope for scope in scopes}.values())
    found = found.union(*(secrets_of_source(source) for source in {f.source for f in users}))
    variables = [name for name in os.environ.keys() - _FOLDERS if hides(name, os.environ[name])]
    blank = Blanker(found.union(map(os.environ.__getitem__, variables)))
    try:
        key = session().settings().api_key
    except SettingsError:  # settings that cannot work are no matter of this cell's
        key = None

    def clean(text: str, *, parts: bool = False) -> str:
        return blank(text if key is None else key.scrub(text), parts=parts)

    return clean


# Frames


@dataclass(frozen=True)
class Frame:
    """One frame of a traceback, with its place in a file or in a cell as it was typed."""

    frame: FrameType = field(repr=False)
    filename: str
    function: str
    lines: tuple[int, int]
    is_users: bool
    source: str = field(repr=False)

    def heading(self, names: dict[str, str]) -> str:
        """Say where it is, in words."""
        label = names.get(self.filename) or short_path(self.filename)
        return f"{label}, line {self.lines[0]}, in {self.function}"

    def named(self) -> Iterator[tuple[str, Any]]:
        """Yield the names of the failing lines with what they stand for, as objects keep it."""
        first, last = self.lines
        code = _TEXTS.sub(_names_in, "\n".join(self.source.split("\n")[first - 1 : last]))
        scope = {**self.frame.f_globals, **self.frame.f_locals}
        for path in dict.fromkeys(_PATH.findall(normalize("NFKC", code))):  # as Python reads names
            held, steps = scope, path.split(".")
            for count, step in enumerate(steps, start=1):
                if step not in held:
                    break
                yield ".".join(steps[:count]), held[step]
                held = attributes_of(held[step])

    def made_of_secrets(self) -> Iterator[Any]:
        """Yield what is made of a secret by a slice or by a method of texts: `head = token[:4]`."""
        scope = {**self.frame.f_globals, **self.frame.f_locals}
        for name, made in _ASSIGNED.findall(self.source):
            if name in scope and any(map(hides, _MADE.findall(made))):
                yield scope[name]


_ASSIGNED: Final = re.compile(r"^[ \t]*([^\W\d]\w*)[ \t]*=(?!=)(.*)$", re.MULTILINE)
_MADE: Final = re.compile(
    r"([^\W\d][\w.]*?)(?:\[[^\]\n]*:|\.(?:upper|lower|title|swapcase|strip|replace|encode)\()"
)

#: Texts and comments of a line, and names with what is reached from them.
_TEXTS: Final = re.compile(
    r"(?P<prefix>\b[rbfuRBFU]{1,2})?(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')|#.*"
)
_PATH: Final = re.compile(r"(?<![\w.])[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def _names_in(text: re.Match[str]) -> str:
    """Return what is code in a text: the braces of an f-string."""
    is_f_string = "f" in (text["prefix"] or "").lower()
    return " ".join(re.findall(r"\{([^{}]*)", text[0])) if is_f_string else " "


def frames_of(error: BaseException, cells: Cells) -> list[Frame]:
    """Return the frames of an error, outermost first, from the user's first one on.

    Of a cell that `%%time` runs, from that of its body on: what leads there is IPython's.
    """
    found: list[Frame] = []
    cell, timed = "", False
    trace = error.__traceback__
    while trace is not None:
        frame, code, line_number = trace.tb_frame, trace.tb_frame.f_code, trace.tb_lineno
        filename, function, source = code.co_filename, code.co_name, ""
        # IPython 7 names a cell's own code after its first line.
        function = "<module>" if function.startswith("<cell line") else function
        first, last = next(islice(code.co_positions(), trace.tb_lasti // 2, None), (0, 0))[:2]
        last_line = max(line_number, last or 0) if first == line_number else line_number
        if cells.is_cell(filename):
            cell = filename
        elif (body := cells.timed_body(cell, frame)) is not None:
            cell, source, above = body
            filename, line_number, last_line = cell, line_number + above, last_line + above
            if not timed:
                timed = True
                found.clear()
        is_users = filename == cell or not is_library(filename)
        if is_users or found:
            source = source or "".join(linecache.getlines(filename))
            source = source if len(source) <= _MAX_FILE_CHARS else ""
            lines = (line_number, last_line)
            found.append(Frame(frame, filename, function, lines, is_users, source))
        trace = trace.tb_next
    return found


def _innermost(found: Iterable[Frame]) -> Frame | None:
    """Return the last frame that is the user's own."""
    return next((frame for frame in reversed(list(found)) if frame.is_users), None)


def _listed(found: list[Frame], names: dict[str, str], clean: Callable[[str], str]) -> str:
    """Write frames: the user's with their lines, runs of library frames by their ends."""
    lines_of = cache(lambda source: clean(source).split("\n") if source else [])
    last = _innermost(found)
    # Frames that repeat themselves are counted, and the middle of many is left out.
    repeated = groupby(found, key=lambda frame: (frame.frame.f_code, frame.lines[0]))
    steps = [(run[-1], len(run)) for run in (list(frames) for _, frames in repeated)]
    left_out = len(steps) - _OUTER - _INNER
    entries: list[str] = []
    for part in [steps] if left_out <= 0 else [steps[:_OUTER], steps[-_INNER:]]:
        if entries:
            entries.append(f"… {left_out:,} frames are left out here …")
        for is_users, run in groupby(part, key=lambda step: step[0].is_users):
            brief = []
            for frame, times in run:
                failing, heading = frame.lines[0], frame.heading(names)
                if not is_users:
                    line = clean(linecache.getline(frame.filename, failing).strip())
                    brief.append(f"{heading}: {line}"[:_LINE_CHARS])
                    continue
                before, after = (13, 3) if frame == last else (2, 0)
                first = max(0, failing - before)
                shown = lines_of(frame.source.rstrip())[first : failing + after]
                entries.append(heading)
                entries += [
                    f"{'-->' if number == failing else '   '} {number:>4} {line[:_LINE_CHARS]}"
                    for number, line in enumerate(shown, start=first + 1)
                ]
                entries += [f"… and so {times - 1:,} times more"] if times > 1 else []
            if len(brief) > _BRIEF:
                brief[1:-1] = [f"… {len(brief) - 2:,} more frames of libraries …"]
            entries += brief
    return "\n".join(entries)


def _values(frame: Frame, names: dict[str, str], clean: Callable[[str], str]) -> str:
    """Describe what the names of the failing lines stand for: ``row = {'a': 1}``."""
    described = {
        path: f"{path} = {glimpse(value, name=path, clean=clean)}"
        for path, value in frame.named()
        if not issubclass(type(value), ModuleType)
    }
    label = names.get(frame.filename) or short_path(frame.filename)
    heading = f"Values on line {frame.lines[0]} of {label}, as they are now:"
    return "\n".join([heading, *islice(described.values(), _MAX_NAMES)]) if described else ""


# Cells and files

#: The magic at the head of a cell, and the empty lines below it, which IPython drops.
_TIMED: Final = re.compile(r"\s*%%time\b[^\n]*\n(?:[ \t]*\n)*")


class Cells:
    """The cells that a shell has run, by the names of their code."""

    def __init__(self, shell: Any) -> None:
        history = shell.history_manager
        self._parsed: list[str] = list(history.input_hist_parsed)
        self._raw: list[str] = list(history.input_hist_raw)
        self._numbers: dict[str, int | None] = {}

    def number(self, filename: str) -> int | None:
        """Return the number of the cell whose code has this name: that of its last run."""
        if filename not in self._numbers:
            # By its source: the older IPythons keep no list of the names.
            source = "".join(linecache.getlines(filename)).rstrip("\n")
            runs = range(len(self._parsed) - 1, 0, -1)
            found = (n for n in runs if source and self._parsed[n] == source)
            self._numbers[filename] = next(found, None)
        return self._numbers[filename]

    def is_cell(self, filename: str) -> bool:
        """Tell a cell from a file, also one that is in no history."""
        known = filename.startswith("<ipython-input-") or f"{os.sep}ipykernel_" in filename
        return known or self.number(filename) is not None

    def typed(self, filename: str) -> str:
        """Return a cell's source as it was typed, with its magics."""
        number = self.number(filename)
        if number is None or number >= len(self._raw):
            return "".join(linecache.getlines(filename))
        return self._raw[number]

    def timed_body(self, filename: str, frame: FrameType) -> tuple[str, str, int] | None:
        """Return a `%%time` cell's name and source, and the lines above what a frame runs."""
        code = frame.f_code
        if code.co_filename not in ("<timed exec>", "<timed eval>"):
            return None
        if not filename:  # IPython 7 shows the error from inside the magic
            runs = range(len(self._raw) - 1, 0, -1)
            number = next((n for n in runs if _TIMED.match(self._raw[n])), None)
            filename = f"<cell {number}>"
            self._numbers[filename] = number
        typed = self.typed(filename)
        head = _TIMED.match(typed)
        return (filename, typed, head[0].count("\n")) if head else None

    def names(self, filenames: Iterable[str]) -> dict[str, str]:
        """Name cells and files for a request, which is to be the same whenever they are run."""
        every = list(dict.fromkeys(filenames))
        cells = {name: self.number(name) or name for name in every if self.is_cell(name)}
        order = list(dict.fromkeys(cells.values()))
        letters = [*ascii_uppercase, *range(27, len(order) + 27)]
        spelled = [f"cell {letter}" for letter in letters] if len(order) > 1 else ["the cell"]
        named = dict(zip(order, spelled, strict=False))
        return {name: named[cells[name]] if name in cells else short_path(name) for name in every}

    def label(self, filename: str) -> str:
        """Name a cell for the person who sees its number beside it, or a file."""
        number = self.number(filename)
        if number is not None:
            return f"cell [{number}]"
        return "a cell" if self.is_cell(filename) else short_path(filename)


#: Names in angle brackets that are somebody's generated code; cells have such names too.
_GENERATED: Final = ("<frozen ", "<string>", "<attrs ", "<__array", "<decorator-", "<unknown>")


def is_library(filename: str) -> bool:
    """Tell code of Python, of what is installed, or of this package from the user's."""
    if filename.startswith("<"):
        return filename.startswith(_GENERATED)
    is_installed = {"site-packages", "dist-packages"} & set(filename.split(os.sep))
    return bool(is_installed) or filename.startswith(_library_folders())


def short_path(filename: str) -> str:
    """Return a path from its package or from here on: the folders above are nobody's business."""
    for folder in (*_library_folders(), os.path.join(os.getcwd(), "")):
        if filename.startswith(folder):
            return filename.removeprefix(folder)
    return os.path.join(*filename.split(os.sep)[-2:])


@cache
def _library_folders() -> tuple[str, ...]:
    """Return the folders of the standard library, of what is installed, and of this package."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {site.getusersitepackages(), os.path.dirname(os.path.dirname(__file__))}
    # The longest first, as one may stand inside another.
    return tuple(sorted((os.path.join(folder, "") for folder in folders), key=len, reverse=True))


# Room


def _head(text: str, *, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[: max(0, max_chars - 2)]} …"


def _ends(text: str, *, max_chars: int) -> str:
    """Keep the beginning and the end."""
    short = max_chars < _TWO_ENDS_CHARS
    return (_head if short else cut)(text, max_chars=max_chars)
