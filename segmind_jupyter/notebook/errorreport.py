"""An error as a model needs it to say what went wrong: message, traceback, values, source.

What is a secret by its name, by its form, or as the key in use is blanked out of each section
before it is cut; the other half of a key would not be found any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any, Final

from segmind_jupyter.asking import service
from segmind_jupyter.content.kinds import attempted, type_name, without_addresses
from segmind_jupyter.content.parts import Limits, Text
from segmind_jupyter.content.scrub import (
    blanked,
    blanking,
    hides,
    scrubbed,
    scrubbed_source,
    secrets_in,
    secrets_of_source,
)
from segmind_jupyter.content.sent import counted
from segmind_jupyter.content.text import as_text, fenced
from segmind_jupyter.errors import SettingsError, plain
from segmind_jupyter.notebook.cells import Cells, short_path
from segmind_jupyter.notebook.frames import Place, innermost, listed, places
from segmind_jupyter.notebook.statement import values_on_line

#: Errors of a chain, and of a group, that are shown.
_MAX_CHAIN, _MAX_LEAVES = 4, 4

#: The shares of the room that each section may take; the traceback has what they leave.
_MESSAGE, _VALUES, _SOURCE = 0.25, 0.2, 0.2

#: Room that is kept for headings and fences, in characters.
_HEADINGS_CHARS: Final = 100

#: Longest part of a message that is searched for secrets, what is dropped where it ends within
#: the message, and longest single line of one.
_MESSAGE_CHARS, _EDGE_CHARS, _LINE_CHARS = 20_000, 400, 80

#: Longest message of an error that has no frames to explain it.
_ALONE_CHARS: Final = 400

#: Less room than this is for the beginning alone.
_WORTH_TWO_ENDS_CHARS: Final = 120

#: Environment variables that sound like secrets and are folders.
_FOLDERS: Final = frozenset({"PWD", "OLDPWD"})


def report(error: BaseException, shell: Any, *, limits: Limits) -> Text:
    """Describe an error of a shell's cells.

    Parameters
    ----------
    error
        The error, with its traceback.
    shell
        The shell, for its history of cells.
    limits
        `limits.text_chars` bounds the text; the message and the failing frame outlast a cut.
    """
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
        """Give it with the names of its cells and files."""
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
        """Give the whole cell as it was typed; of a file, the traceback shows enough."""
        if not (self._filename and self._cells.is_cell(self._filename)):
            return ""
        source = self._cleaned_source(self._cells.typed(self._filename))
        shown = _ends(source, max_chars=max_chars)
        return f"Source of {self.where}:\n\n{fenced(shown, language='python')}"

    def _line(self, error: BaseException) -> str:
        return _head(self._message(error).partition("\n")[0], max_chars=_LINE_CHARS)

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
        """Give what an error says; of syntax, with the cell rather than the name of its code."""
        if isinstance(error, SyntaxError) and (unread := _unread(error)):
            return f"{error.msg} ({self._names[unread[0]]}, line {error.lineno})"
        return attempted(str, error)

    def _cleaned(self, text: str) -> str:
        return self._clean(scrubbed(without_addresses(text)))

    def _cleaned_source(self, source: str) -> str:
        return self._clean(scrubbed_source(without_addresses(source)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Give an error and those that led to it, as far as Python shows them."""
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
    """Give the name of what Python could not read."""
    name = error.filename if isinstance(error, SyntaxError) else None
    return [name] if name and isinstance(name, str) else []


def _indent(error: SyntaxError, code: str) -> str:
    return " " * (min(error.offset or 1, len(code) + 1) - 1)


def _notes(error: BaseException) -> list[str]:
    """Give what was added to an error; anybody may have put anything in its place."""
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
        key = service().settings().api_key
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
