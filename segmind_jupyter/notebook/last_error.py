"""The last error of a notebook that is the user's own, whichever cells failed after it."""

from __future__ import annotations

import ast
import linecache
import os
import site
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain, count, groupby
from string import ascii_uppercase
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import Any, Final

from IPython.core.error import UsageError

from segmind_jupyter.content.parts import (
    STANDARD,
    Limits,
    Text,
    safe_str,
    type_name,
    without_addresses,
)
from segmind_jupyter.content.prompt import Attachment, counted
from segmind_jupyter.content.secrets import (
    attributes_of,
    blanked,
    blanking,
    glimpse,
    hides,
    scrubbed,
    scrubbed_source,
    secrets_in,
    secrets_of_source,
    without_magics,
)
from segmind_jupyter.content.text import as_text, fenced
from segmind_jupyter.errors import ContentError, Interrupted, SegmindError, SettingsError, plain
from segmind_jupyter.session import session

#: Names that are shown; a line with more is a table of constants.
_MAX_NAMES: Final = 12

#: The parts of a compound statement that stand on lines of their own.
_BODIES: Final = ("body", "orelse", "finalbody", "handlers", "cases")


def values_on_line(
    frame: FrameType, source: str, line_number: int, *, clean: Callable[[str], str]
) -> list[str]:
    """Describe what the names of a statement stand for: ``"row = {'a': 1}"``, in their order."""
    described: dict[str, str] = {}
    for path in _paths_on_line(source, line_number):
        found, value = _looked_up(path, frame)
        if found and not isinstance(value, ModuleType) and len(described) < _MAX_NAMES:
            described[path] = f"{path} = {glimpse(value, name=path, clean=clean)}"
    return list(described.values())


def _paths_on_line(source: str, line_number: int) -> Iterator[str]:
    try:
        statement = _statement(ast.parse(without_magics(source)), line_number)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    if statement is not None:
        yield from _paths(statement)


def _statement(tree: ast.AST, line_number: int) -> ast.stmt | None:
    """Find the innermost statement around a line."""
    found = None
    for node in ast.walk(tree):  # from the outside in
        if isinstance(node, ast.stmt) and _spans(node, line_number):
            found = node
    return found


def _spans(node: ast.stmt, line_number: int) -> bool:
    return node.lineno <= line_number <= (node.end_lineno or node.lineno)


def _paths(node: ast.AST) -> Iterator[str]:
    """Return the names of a statement, and the attributes that are reached from them."""
    dotted = _dotted(node)
    if dotted:
        yield from (".".join(dotted[:count]) for count in range(1, len(dotted) + 1))
        return
    for name, child in ast.iter_fields(node):
        if not (isinstance(node, ast.stmt) and name in _BODIES):
            for part in child if isinstance(child, list) else [child]:
                if isinstance(part, ast.AST):
                    yield from _paths(part)


def _dotted(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [node.id]
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return [*before, node.attr]
    return []


def _looked_up(path: str, frame: FrameType) -> tuple[bool, Any]:
    """Follow names through what objects keep themselves: a property could do anything."""
    root, *steps = path.split(".")
    names = next((n for n in (frame.f_locals, frame.f_globals) if root in n), None)
    if names is None:
        return False, None
    value: Any = names[root]
    for step in steps:
        attributes = attributes_of(value)
        if step not in attributes:
            return False, None
        value = attributes[step]
    return True, value


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
    """A cell whose body is run by a magic."""

    filename: str
    head: str
    python: str
    codes: frozenset[CodeType]

    @classmethod
    def run_by(cls, frame: FrameType, cells: Cells) -> TimedCell | None:
        """Return the cell that a frame of IPython runs."""
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
        """Return whether a frame runs code of the body."""
        return frame.f_code.co_filename in _NAMES and frame.f_code in self.codes

    def line_number(self, frame: FrameType, line_number: int) -> int:
        """Return the line of the cell for that of a frame; the magic stands on the first."""
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
    """Return what stands above a body; IPython drops the body's own empty lines at its top."""
    head = typed.rstrip()[: -len(body.rstrip())]
    return head + "\n" * body[: -len(body.lstrip())].count("\n")


def _is_wrapper(frame: FrameType) -> bool:
    return frame.f_code.co_filename == "<magic-timeit>" and _WRAPPER in frame.f_locals


#: Names in angle brackets that are somebody's generated code; cells have such names too.
_GENERATED: Final = ("<frozen ", "<string>", "<attrs ", "<__array", "<decorator-", "<unknown>")


class Cells:
    """The cells that a shell has run, by the names of their code."""

    def __init__(self, shell: Any) -> None:
        self._transformed: Callable[[str], str] = shell.transform_cell
        history = shell.history_manager
        self._parsed: list[str] = list(history.input_hist_parsed)
        self._raw: list[str] = list(history.input_hist_raw)
        self._numbers: dict[str, int | None] = {}

    def number(self, filename: str) -> int | None:
        """Return the number of the cell whose code has this name: that of its last run."""
        if filename not in self._numbers:
            self._numbers[filename] = self._found(filename)
        return self._numbers[filename]

    def typed(self, filename: str) -> str:
        """Return a cell's source as it was typed, with its magics."""
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
        """Return source as Python reads it, with calls in the place of its magics."""
        return self._transformed(source)

    def names(self, filenames: Iterable[str]) -> dict[str, str]:
        """Name cells and files for a request, which is to be the same whenever they are run."""
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
    """Return the folders of the standard library, of what is installed, and of this package."""
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {site.getusersitepackages(), os.path.dirname(os.path.dirname(__file__))}
    # The longest first, as one may stand inside another.
    return tuple(sorted((os.path.join(folder, "") for folder in folders), key=len, reverse=True))


def short_path(filename: str) -> str:
    """Return a path from its package or from here on: the folders above are nobody's business."""
    for folder in (*_library_folders(), os.path.join(os.getcwd(), "")):
        if filename.startswith(folder):
            return filename.removeprefix(folder)
    return os.path.join(*filename.split(os.sep)[-2:])


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
    """One frame of a traceback."""

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
    """Return the frames of an error, outermost first, from the user's first one on.

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
    """Return the last frame that is the user's own."""
    return next((place for place in reversed(list(found)) if place.is_users), None)


def listed(found: list[Place], *, clean: Callable[[str], str]) -> str:
    """Write frames: the user's with their lines, runs of library frames by their ends."""
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
    """Return the lines around the failing one with their numbers, and an arrow at that."""
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


#: Errors of a chain, and of a group, that are shown.
_MAX_CHAIN, _MAX_LEAVES = 4, 4

#: The shares of the room that each section may take; the traceback has what they leave.
_MESSAGE, _VALUES, _SOURCE = 0.25, 0.2, 0.2

#: Room that is kept for headings and fences, in characters.
_HEADINGS_CHARS: Final = 100

#: Longest part of a message that is searched for secrets, what is dropped where it ends within
#: the message, and longest single line of one.
_MESSAGE_CHARS, _EDGE_CHARS, _ERRORREPORT_LINE_CHARS = 20_000, 400, 80

#: Longest message of an error that has no frames to explain it.
_ALONE_CHARS: Final = 400

#: Less room than this is for the beginning alone.
_WORTH_TWO_ENDS_CHARS: Final = 120

#: Environment variables that sound like secrets and are folders.
_FOLDERS: Final = frozenset({"PWD", "OLDPWD"})


def report(error: BaseException, shell: Any, *, limits: Limits) -> Text:
    """Describe an error of a shell's cells."""
    written = _Report(error, Cells(shell))
    about = f"{type_name(error)} in {written.label}"
    text = written.text(max_chars=limits.text_chars)
    return as_text(text, limits=limits, about=about, lines=True)


@dataclass(frozen=True)
class _Raised:
    """One error of those that are shown, with its frames."""

    error: BaseException
    found: list[Place]

    @property
    def filenames(self) -> list[str]:
        """The user's cells and files that it came through, and that which Python could not read."""
        return [place.filename for place in self.found if place.is_users] + _unread(self.error)

    def labelled(self, names: Mapping[str, str]) -> _Raised:
        """Return it with the names of its cells and files."""
        labels = ((p, names.get(p.filename) or short_path(p.filename)) for p in self.found)
        return replace(self, found=[replace(place, label=label) for place, label in labels])

    @property
    def failing(self) -> Place | None:
        return innermost(self.found)


class _Report:
    """The sections of the text about one error."""

    def __init__(self, error: BaseException, cells: Cells) -> None:
        self._cells = cells
        self._error = error
        chain = list(_chain(error))[::-1]
        leaves = [leaf for each in chain for leaf in _leaves(each)]
        inside = leaves[:_MAX_LEAVES]
        self._left_out = len(leaves) - len(inside)
        raised = [_Raised(each, places(each, cells)) for each in (*inside, *chain)]
        every = [name for each in reversed(raised) for name in each.filenames]
        self._filename = next(iter(raised[-1].filenames), None)
        self._names = cells.names(every)
        self._raised = [each.labelled(self._names) for each in raised]
        # What is inside a group tells more than the line that waited for it.
        telling = self._raised[: len(inside)] or reversed(self._raised)
        self._failing = next((each.failing for each in telling if each.failing), None)
        frames = [place for each in self._raised for place in each.found if place.is_users]
        self._clean = _cleaner(frames)

    @property
    def label(self) -> str:
        """Where it was raised, for the person who sees the numbers of the cells."""
        return self._cells.label(self._filename) if self._filename else "the notebook"

    @property
    def where(self) -> str:
        """The same in what is sent: the cell that was run, or that could not be read."""
        return self._names[self._filename] if self._filename else "the notebook"

    def text(self, *, max_chars: int) -> str:
        """Put the sections together in at most about `max_chars` characters."""
        message = _ends(self._message(self._error), max_chars=int(max_chars * _MESSAGE))
        head = f"{message}\n\nThis is the last error of the notebook, in {self.where}."
        below = [
            _head(self._values(), max_chars=int(max_chars * _VALUES)),
            self._source(max_chars=int(max_chars * _SOURCE)),
        ]
        room = max_chars - len(head) - sum(map(len, below)) - _HEADINGS_CHARS
        sections = [head, _tail(self._traceback(), max_chars=max(0, room)), *below]
        return "\n\n".join(filter(None, sections))

    def _traceback(self) -> str:
        """List the frames, the oldest error first, as Python does."""
        blocks = [self._block(raised) for raised in self._raised]
        if self._left_out:
            blocks.insert(_MAX_LEAVES, f"… {counted(self._left_out, 'more error')} of the group …")
        shown = list(filter(None, blocks))
        return "\n\n".join(["Traceback, innermost frame last:", *shown]) if shown else ""

    def _block(self, raised: _Raised) -> str:
        """Write one error with its frames; the first lines of the text are the last one's words."""
        if raised.found:
            return f"{listed(raised.found, clean=self._cleaned_source)}\n{self._line(raised.error)}"
        if raised.error is self._error:
            return ""
        words = _head(self._message(raised.error), max_chars=_ALONE_CHARS)
        return f"Without a traceback of its own:\n{words}"

    def _values(self) -> str:
        place = self._failing
        if place is None:
            return ""
        line_number, clean = place.line_number, self._cleaned
        values = values_on_line(place.frame, place.source, line_number, clean=clean)
        now = ", as they are now" if place.may_have_changed else ""
        heading = f"Values on line {line_number} of {place.label}{now}:"
        return "\n".join([heading, *values]) if values else ""

    def _source(self, *, max_chars: int) -> str:
        """Return the whole cell as it was typed; of a file, the traceback shows enough."""
        if not (self._filename and self._cells.is_cell(self._filename)):
            return ""
        source = self._cleaned_source(self._cells.typed(self._filename))
        shown = _ends(source, max_chars=max_chars)
        return f"Source of {self.where}:\n\n{fenced(shown, language='python')}"

    def _line(self, error: BaseException) -> str:
        return _head(self._message(error).partition("\n")[0], max_chars=_ERRORREPORT_LINE_CHARS)

    def _message(self, error: BaseException) -> str:
        """Write an error as Python does, with its notes, and the line of an error of syntax."""
        words = self._words(error)
        lines = [f"{_qualified(error)}: {words}" if words else _qualified(error), *_notes(error)]
        if isinstance(error, SyntaxError) and isinstance(error.text, str):
            code = error.text.rstrip("\n")
            lines += [scrubbed_source(code), f"{_indent(error, code)}^"]
        text = "\n".join(lines)
        shown = self._cleaned(plain(text[:_MESSAGE_CHARS]))
        # Half a secret, where the rest was not read, is not found.
        return shown if len(text) <= _MESSAGE_CHARS else f"{shown[:-_EDGE_CHARS]} …"

    def _words(self, error: BaseException) -> str:
        """Return what an error says; of syntax, with the cell rather than the name of its code."""
        if isinstance(error, SyntaxError) and (unread := _unread(error)):
            return f"{error.msg} ({self._names[unread[0]]}, line {error.lineno})"
        return safe_str(str, error)

    def _cleaned(self, text: str) -> str:
        return self._clean(scrubbed(without_addresses(text)))

    def _cleaned_source(self, source: str) -> str:
        return self._clean(scrubbed_source(without_addresses(source)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Return an error and those that led to it, as far as Python shows them."""
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen and len(seen) < _MAX_CHAIN:
        seen.add(id(step))
        yield step
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        return
    for inner in error.exceptions:
        yield from _leaves(inner) if isinstance(inner, BaseExceptionGroup) else [inner]


def _unread(error: BaseException) -> list[str]:
    """Return the name of what Python could not read."""
    name = error.filename if isinstance(error, SyntaxError) else None
    return [name] if name and isinstance(name, str) else []


def _indent(error: SyntaxError, code: str) -> str:
    return " " * (min(error.offset or 1, len(code) + 1) - 1)


def _notes(error: BaseException) -> list[str]:
    """Return what was added to an error; anybody may have put anything in its place."""
    notes = getattr(error, "__notes__", None)
    return [note for note in notes if isinstance(note, str)] if type(notes) is list else []


def _qualified(error: BaseException) -> str:
    kind = type(error)
    plainly = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if plainly else f"{kind.__module__}.{kind.__qualname__}"


def _cleaner(frames: Iterable[Place]) -> Callable[[str], str]:
    """Make what blanks out the key in use, the environment's secrets and those of the code."""
    innermost_first = list(frames)[::-1]
    scopes = {id(names): names for place in innermost_first for names in _scopes(place.frame)}
    sources = [place.source for place in {p.filename: p for p in innermost_first}.values()]
    found = secrets_in(*scopes.values()).union(*map(secrets_of_source, sources))
    blank = blanking(found)
    names = sorted(os.environ.keys() - _FOLDERS)
    variables = [name for name in names if hides(name, os.environ[name])]

    def clean(text: str) -> str:
        text = blank(_without_key(text))
        for name in variables:
            # The key of this package is among them: it gets no name of its own in a frame.
            text = blanked(text, [os.environ.get(name, "")])
        return text

    return clean


def _scopes(frame: FrameType) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    return frame.f_locals, frame.f_globals


def _without_key(text: str) -> str:
    try:
        key = session().settings().api_key
    except SettingsError:  # settings that cannot work are no matter of this cell's
        return text
    return text if key is None else key.scrub(text)


def _head(text: str, *, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[: max(0, max_chars - 2)]} …"


def _tail(text: str, *, max_chars: int) -> str:
    """Keep the end: there is the failing frame."""
    if len(text) <= max_chars:
        return text
    _, _, kept = text[len(text) - max(0, max_chars - 40) :].partition("\n")
    return f"Traceback, its last lines:\n…\n{kept}" if kept else ""


def _ends(text: str, *, max_chars: int) -> str:
    """Keep the beginning and the end."""
    if len(text) <= max_chars:
        return text
    if max_chars < _WORTH_TWO_ENDS_CHARS:
        return _head(text, max_chars=max_chars)
    half = (max_chars - 40) // 2
    left_out = f"… ({len(text) - 2 * half:,} characters left out) …"
    return f"{text[:half]}\n{left_out}\n{text[len(text) - half :]}"


#: What is asked where the prompt is empty.
DEFAULT_QUESTION: Final = (
    "What went wrong here, and how do I mend it? Name the cause in a sentence or two, then show "
    "the corrected code."
)

#: The magics whose wrong options are no error of the notebook's.
_LASTERROR_MAGICS: Final = frozenset({"claude", "segmind"})


def last_error(shell: Any, *, limits: Limits = STANDARD) -> Attachment:
    """Describe the last error of a shell.

    Its message, the traceback with the user's own lines, the values of the names on the failing
    line, and the source of the cell. What is a secret by its name or by its form is blanked out
    everywhere, and so is the key in use. Errors of this package say themselves what to do, and
    hide no error of the user's.
    """
    error = LastError.of(shell)
    if error is None:
        raise ContentError(
            "There is no error to ask about. Run the cell that fails, then `%claude --error`."
        )

    return Attachment("last error", (report(error, shell, limits=limits),))


class LastError:
    """Remembers the user's last error while cells of this package fail after it."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._error: BaseException | None = None

    @classmethod
    def of(cls, shell: Any) -> BaseException | None:
        """Return the last error that is the user's: the one at hand, or the one remembered."""
        at_hand = _at_hand()
        if at_hand is not None:
            return at_hand
        return next((memory._error for memory in cls._installed(shell)), None)

    def install(self) -> None:
        """Look at the end of each cell from now on."""
        self.remember()
        self._shell.events.register("post_run_cell", self.remember)

    @classmethod
    def remove(cls, shell: Any) -> None:
        """Have nothing remembered any more."""
        for memory in list(cls._installed(shell)):
            shell.events.unregister("post_run_cell", memory.remember)

    def remember(self, result: Any = None) -> None:
        """Keep the error at hand, if it is the user's."""
        self._error = _at_hand() or self._error

    @classmethod
    def _installed(cls, shell: Any) -> Iterator[LastError]:
        callbacks = list(shell.events.callbacks["post_run_cell"])
        owners = (getattr(callback, "__self__", None) for callback in callbacks)
        return (owner for owner in owners if isinstance(owner, LastError))


def _at_hand() -> BaseException | None:
    """Return the error that is being handled, or that IPython showed last, if it is the user's.

    Every IPython sets `sys.last_value`, for errors of syntax, of asyncio cells and of displays
    too; only Python 3.12 and newer have `sys.last_exc`.
    """
    for error in (sys.exc_info()[1], getattr(sys, "last_value", None)):
        if error is not None:
            return None if _is_ours(error) else error
    return None


def _is_ours(error: BaseException) -> bool:
    if isinstance(error, SegmindError | Interrupted):
        return True
    return type(error) is UsageError and _magic_of(error) in _LASTERROR_MAGICS


def _magic_of(error: BaseException) -> str | None:
    """Find which magic refused its line, in IPython's own frame."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name in ("run_line_magic", "run_cell_magic"):
            return str(trace.tb_frame.f_locals.get("magic_name"))
        trace = trace.tb_next
    return None
