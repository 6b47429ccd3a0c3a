"""What is sent of an error: its message, the traceback with the user's lines, values, the cell."""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import FrameType, ModuleType
from typing import Any, Final
from unicodedata import normalize

from segmind_jupyter.content import secrets
from segmind_jupyter.content.parts import Limits, Text, safe_str, without_addresses
from segmind_jupyter.content.text import as_text, cut, fenced
from segmind_jupyter.errors import SettingsError, plain
from segmind_jupyter.session import session

#: The shares of the room that each section may take; the traceback has what they leave, and
#: headings and fences some characters. A source has so many at least.
_MESSAGE, _VALUES, _SOURCE = 0.25, 0.2, 0.2
_HEADINGS_CHARS, _LEAST_CHARS = 100, 200

#: Longest part of a message that is searched for secrets, and what is dropped where it ends there.
_MESSAGE_CHARS, _EDGE_CHARS = 20_000, 400

#: Longest line of a message below its traceback, of an error without one, and of a source; longer
#: files are shown by the failing line alone.
_WORDS_CHARS, _ALONE_CHARS, _LINE_CHARS, _MAX_FILE_CHARS = 80, 400, 300, 500_000

#: Errors of a chain and of a group that are shown, names of a line, and frames from both ends.
_MAX_CHAIN, _MAX_LEAVES, _MAX_NAMES = 4, 4, 12
_OUTER, _INNER = 5, 15

#: Environment variables that sound like secrets and are folders.
_FOLDERS: Final = frozenset({"PWD", "OLDPWD"})


def report(error: BaseException, shell: Any, *, limits: Limits) -> Text:
    """Describe an error of a shell's cells."""
    cells = Cells(shell)
    written = _Report(error, cells)
    about = f"{secrets.class_name(error)} in {written.where}"
    text = written.text(max_chars=limits.text_chars)
    return as_text(text, limits=limits, about=about, lines=True)


class _Report:
    """The sections of the text about one error."""

    def __init__(self, error: BaseException, cells: Cells) -> None:
        self._error, self._cells = error, cells
        chain = _chain(error)
        groups = [each for each in chain if isinstance(each, BaseExceptionGroup)]
        leaves = [leaf for group in groups for leaf in group.exceptions][:_MAX_LEAVES]
        self._shown = [*leaves, *chain]
        # What is inside a group tells more than the line that waited for it.
        self._telling = leaves or chain[::-1]
        self._frames = {id(each): frames_of(each, cells) for each in self._shown}
        users = {key: [f for f in frames if f.is_users] for key, frames in self._frames.items()}
        files = [*(frame.filename for frame in users[id(error)]), *_unread(error)]
        self._file = files[0] if files else None
        self.where = cells.name(files[0]) if files else "the notebook"
        self._blank = _blanker(self._shown, [f for frames in users.values() for f in frames])

    def text(self, *, max_chars: int) -> str:
        """Put the sections together in at most about `max_chars` characters."""
        head = _head(self._message(self._error), max_chars=int(max_chars * _MESSAGE))
        head += f"\n\nThis is the last error of the notebook, in {self.where}."
        failing = next(filter(None, (_innermost(self._frames[id(e)]) for e in self._telling)), None)
        values = "" if failing is None else _values(failing, self._cells, self._clean)
        below = [_head(values, max_chars=int(max_chars * _VALUES))]
        if self._file and self._cells.is_cell(self._file):
            source = self._clean_source(self._cells.typed(self._file))
            shown = cut(source, max_chars=max(_LEAST_CHARS, int(max_chars * _SOURCE)))
            below.append(f"Source of {self.where}:\n\n{fenced(shown, language='python')}")
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
                listed = _listed(frames, self._cells, self._clean_source)
                blocks.append(f"{listed}\n{_head(first_line, max_chars=_WORDS_CHARS)}")
            elif each is not self._error:
                words = _head(self._message(each), max_chars=_ALONE_CHARS)
                blocks.append(f"Without a traceback of its own:\n{words}")
        return "\n\n".join(["Traceback, innermost frame last:", *blocks]) if blocks else ""

    def _message(self, error: BaseException) -> str:
        """Write an error as Python does, with its notes, and the line of an error of syntax."""
        kind, said = type(error), safe_str(str, error)
        if isinstance(error, SyntaxError) and (unread := _unread(error)):  # the cell, not its code
            said = f"{error.msg} ({self._cells.name(unread[0])}, line {error.lineno})"
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
        if frame and any(secrets.is_secret(path, value) for path, value in frame.named()):
            # What it quotes may be made of the secret: a slice, an encoding.
            code = self._clean_source(frame.source)
            words = _QUOTED.sub(lambda q: q[0] if q[1] in code else f"'{secrets.HIDDEN}'", words)
        words = self._clean(words)
        # Half a secret, where the rest was not read, is not found.
        return words if len(text) <= _MESSAGE_CHARS else f"{words[:-_EDGE_CHARS]} …"

    def _clean(self, text: str) -> str:
        return self._blank(secrets.scrubbed(without_addresses(text)), parts=True)

    def _clean_source(self, source: str) -> str:
        return self._blank(secrets.scrubbed_source(without_addresses(source)))


def _chain(error: BaseException) -> list[BaseException]:
    """Return an error and those that led to it, as far as Python shows them, the first one last."""
    chain: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and id(step) not in map(id, chain) and len(chain) < _MAX_CHAIN:
        chain.append(step)
        step = step.__cause__ or (None if step.__suppress_context__ else step.__context__)
    return chain[::-1]


def _unread(error: BaseException) -> list[str]:
    """Return the name of what Python could not read."""
    name = error.filename if isinstance(error, SyntaxError) else None
    return [name] if name and isinstance(name, str) else []


#: A value in the words of an error.
_QUOTED: Final = re.compile(r"'([^'\n]+)'")


def _blanker(errors: list[BaseException], users: list[Frame]) -> Callable[..., str]:
    """Return what blanks out the key in use, the environment's secrets and those of the code."""
    scopes = [scope for f in users[::-1] for scope in (f.frame.f_locals, f.frame.f_globals)]
    scopes += [{"": BaseException.args.__get__(error)} for error in errors]  # type: ignore[attr-defined]
    found = secrets.secrets_in(*{id(scope): scope for scope in scopes}.values())
    found = found.union(
        *(secrets.secrets_of_source(source) for source in {f.source for f in users})
    )
    variables = [
        name for name in os.environ.keys() - _FOLDERS if secrets.hides(name, os.environ[name])
    ]
    blank = secrets.Blanker(found.union(map(os.environ.__getitem__, variables)))
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
    line: int
    is_users: bool
    source: str = field(repr=False)

    def named(self) -> Iterator[tuple[str, Any]]:
        """Yield the names of the failing line with what they stand for, as objects keep it."""
        code = _TEXT.sub(" ", "".join(self.source.split("\n")[self.line - 1 :][:1]))
        scope = {**self.frame.f_globals, **self.frame.f_locals}
        for path in _PATH.findall(normalize("NFKC", code)):  # as Python reads names
            held, so_far = scope, ""
            for step in path.split("."):
                if step not in held:
                    break
                so_far += f".{step}" if so_far else step
                yield so_far, held[step]
                held = secrets.attributes_of(held[step])


#: Comments, and texts that are no f-strings; names, with what is reached from them.
_TEXT: Final = re.compile(r"(?<!\w)[rbuRBU]{0,2}(\"[^\"\n]*\"|'[^'\n]*')|#.*")
_PATH: Final = re.compile(r"(?<![\w.])[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def frames_of(error: BaseException, cells: Cells) -> list[Frame]:
    """Return the frames of an error, outermost first, from the user's first one on."""
    found: list[Frame] = []
    cell = ""
    trace = error.__traceback__
    while trace is not None:
        frame, code, line_number = trace.tb_frame, trace.tb_frame.f_code, trace.tb_lineno
        filename, function = code.co_filename, code.co_name
        # IPython 7 names a cell's own code after its first line.
        function = "<module>" if function.startswith("<cell line") else function
        source = "".join(linecache.getlines(filename))
        if cells.is_cell(filename):
            cell = filename
        elif filename.startswith("<timed "):
            # What leads from a cell to the body that `%%time` runs is IPython's.
            cell = filename = cell or cells.last_timed()
            source = cells.typed(cell)
            found = [frame for frame in found if frame.source == source]
            head = _TIMED.match(source)
            line_number += head[0].count("\n") if head else 0
        is_users = filename == cell or not is_library(filename)
        if is_users or found:
            source = source if len(source) <= _MAX_FILE_CHARS else ""
            found.append(Frame(frame, filename, function, line_number, is_users, source))
        trace = trace.tb_next
    return found


def _innermost(found: Iterable[Frame]) -> Frame | None:
    """Return the last frame that is the user's own."""
    return next((frame for frame in reversed(list(found)) if frame.is_users), None)


def _listed(found: list[Frame], cells: Cells, clean: Callable[[str], str]) -> str:
    """Write frames, the user's with their lines; the middle of many is left out."""
    lines_of = cache(lambda source: clean(source).split("\n") if source else [])
    last, left_out = _innermost(found), len(found) - _OUTER - _INNER
    entries: list[str] = []
    for n, frame in enumerate(found):
        if n >= _OUTER and n < len(found) - _INNER:
            entries += [f"… {left_out:,} frames are left out here …"] if n == _OUTER else []
            continue
        failing = frame.line
        heading = f"{cells.name(frame.filename)}, line {failing}, in {frame.function}"
        if not frame.is_users:
            line = clean(linecache.getline(frame.filename, failing).strip())
            entries.append(f"{heading}: {line}"[:_LINE_CHARS])
            continue
        before, after = (13, 3) if frame is last else (2, 0)
        first = max(0, failing - before)
        shown = lines_of(frame.source.rstrip())[first : failing + after]
        entries.append(heading)
        entries += [
            f"{'-->' if number == failing else '   '} {number:>4} {line[:_LINE_CHARS]}"
            for number, line in enumerate(shown, start=first + 1)
        ]
    return "\n".join(entries)


def _values(frame: Frame, cells: Cells, clean: Callable[[str], str]) -> str:
    """Describe what the names of the failing lines stand for: ``row = {'a': 1}``."""
    named = [item for item in frame.named() if not issubclass(type(item[1]), ModuleType)]
    told = [f"{path} = {secrets.glimpse(value, name=path, clean=clean)}" for path, value in named]
    label = cells.name(frame.filename)
    heading = f"Values on line {frame.line} of {label}, as they are now:"
    return "\n".join([heading, *list(dict.fromkeys(told))[:_MAX_NAMES]]) if told else ""


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

    def last_timed(self) -> str:
        """Name the last `%%time` cell: IPython 7 shows errors from inside the magic."""
        runs = range(len(self._raw) - 1, 0, -1)
        number = next((n for n in runs if _TIMED.match(self._raw[n])), None)
        self._numbers[f"<cell {number}>"] = number
        return f"<cell {number}>"

    def name(self, filename: str) -> str:
        """Name a cell by its number, as the user sees it, and a file by a short path."""
        if not self.is_cell(filename):
            return short_path(filename)
        number = self.number(filename)
        return "the cell" if number is None else f"cell [{number}]"


#: Where libraries lie: what is installed, Python's own, and this package.
_INSTALLED: Final = re.compile(r".*[\\/](?:site|dist)-packages[\\/]")
_LIBRARIES: Final = tuple(
    os.path.join(folder, "")
    for folder in (os.path.dirname(os.__file__), os.path.dirname(os.path.dirname(__file__)))
)


def is_library(filename: str) -> bool:
    """Tell code of Python, of packages, and what is generated from the user's files."""
    return bool(_INSTALLED.match(filename)) or filename.startswith(("<", *_LIBRARIES))


def short_path(filename: str) -> str:
    """Return a path from its package or from here on: the folders above are nobody's business."""
    installed = _INSTALLED.match(filename)
    folders = [installed[0]] if installed else [*_LIBRARIES, os.path.join(os.getcwd(), "")]
    folder = next((each for each in folders if filename.startswith(each)), None)
    within = os.path.join(*filename.split(os.sep)[-2:])
    return within if folder is None else filename.removeprefix(folder)


def _head(text: str, *, max_chars: int) -> str:
    return text if len(text) <= max_chars else f"{text[: max(0, max_chars - 2)]} …"
