"""What `ask_each` asks about, in whatever holds it, and the prompt for each item."""

from __future__ import annotations

import difflib
import os
import re
import threading
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

from segmind_jupyter.content.files import is_image_path, is_named_as_image, refuse_file_names
from segmind_jupyter.content.images.arrays import is_image_array
from segmind_jupyter.content.parts import STANDARD, Limits, is_kind, special_method, type_name
from segmind_jupyter.content.prompt import WHOLE_PATH, Prompt, as_typed, compose, gather
from segmind_jupyter.errors import ContentError, shortened

#: What a prompt calls the item itself.
ITEM: Final = "item"

#: What stands in a prompt for an item or a cell without a value (None, NaN, NaT, NA).
_MISSING: Final = "(missing)"

#: How many items are looked at for names of files, each a question to the disk.
_LOOKED_AT: Final = 100

_NAME: Final = re.compile(r"[^\W\d]\w*")
_BRACES: Final = re.compile(r"\{\{(?P<escaped>[^{}\n]+)\}\}|\{(?P<inside>[^{}\n]+)\}")

#: How much like a name (of 1) something must be to be taken for it, mistyped.
_ALIKE: Final = 0.7

#: What tables of other libraries have beside columns; iterated, they give their columns' names.
_OF_OTHER_TABLES: Final = ("to_pandas", "toPandas", "collect", "compute", "df", "__dataframe__")


class PromptTemplate:
    """One prompt for each of many items."""

    def __init__(self, template: str, items: Any, *, limits: Limits = STANDARD) -> None:
        if not isinstance(template, str) or not template.strip():
            raise ContentError(
                f"The prompt {shortened(repr(template))} is no text. It comes before the items: "
                "ask_each('Caption this', images); '{item}' if the items are whole prompts."
            )
        self.items = listed(items)
        self._limits = limits
        #: Figures, and images that load at their first use, bear no two threads.
        self._lock = threading.Lock()
        placeholders = dict.fromkeys((ITEM, *self.items.columns), Placeholder())
        self._paths = {sent.name for sent in compose(template, placeholders, is_template=True).sent}
        self._template = _unescaped(template, (ITEM, *self.items.labels), read=self._paths)
        #: Without the escapes, where there is nothing but words.
        plain = compose(self._template, placeholders, is_template=True).pieces
        self._words = "".join(piece for piece in plain if isinstance(piece, str))
        columns = [path for path in self._paths if path in self.items.columns]
        if columns or not self.items.labels:
            for item in map(self.items.take, range(min(len(self), _LOOKED_AT))):
                for name in columns or [""]:
                    text = item.get(name) if name and isinstance(item, Mapping) else item
                    way = f"Path(row[{name!r}])" if name else "list(map(Path, names))"
                    refuse_file_names([text], way)

    def __len__(self) -> int:
        return len(self.items)

    def prompt(self, position: int) -> Prompt:
        """Make the prompt for the item at `position`, its images encoded, one at a time."""
        with self._lock:
            item = self.items.take(position)
            if item is _MISSING or (isinstance(item, str) and not item.strip()):
                raise ContentError(
                    "This item is missing (None, NaN, blank): there is nothing to ask about. Look "
                    "where it comes from; `cv2.imread` gives None for a path that is not there."
                )
            if not self._paths:
                return gather((self._words, item), limits=self._limits)
            # A column called `item` hides the row.
            names = {ITEM: item} | {name: item[name] for name in self.items.columns if name in item}
            prompt = compose(self._template, names, limits=self._limits, is_template=True)
            # What a cell sends as typed is refused: nobody pays for a name in braces many times.
            if unread := self._paths - {sent.name for sent in prompt.sent}:
                raise ContentError(
                    f"There is no `{{{min(unread)}}}`: this item ({type_name(item)}) has no such "
                    "part. Correct the prompt, or leave the item out."
                )
            return prompt


class Placeholder:
    """Stands for any item while the template is read: it has every attribute and every key."""

    def __getattr__(self, name: str) -> Placeholder:
        return self

    def __getitem__(self, key: object) -> Placeholder:
        return self

    def _repr_claude_(self) -> str:
        return ITEM


def _unescaped(template: str, labels: Sequence[Any], *, read: Collection[str]) -> str:
    """Refuse names in braces that nothing here has, but in code and TeX; unescape the others."""
    kept = [(start, stop) for start, stop, _ in as_typed(template)]
    names = {str(label): label for label in labels if isinstance(label, str | int)}

    def root(text: str) -> str:
        name = _NAME.match(text)
        return name[0] if name else ""

    def nearest(text: str) -> str | None:
        """Find the name that a text, or what it begins with, is most like; else one in it."""
        alike = (
            difflib.get_close_matches(t, names, n=1, cutoff=_ALIKE) for t in (text, root(text))
        )
        inside = (word for word in _NAME.findall(text) if word in names)
        return next(chain(*alike, inside), None)

    def is_meant(text: str) -> bool:
        """Return whether a name was meant: "# of rooms" may be a column; JSON, numbers are none."""
        is_like = root(text) and (WHOLE_PATH.fullmatch(text) or nearest(text))
        return text in names or bool(is_like)

    def spelled(label: str | int) -> str:
        """Spell what reads a label: `compose` reads no spaces and no leading underscores."""
        name = unicodedata.normalize("NFKC", str(label))  # as names are read
        is_name = label == name and _NAME.fullmatch(name) and not name.startswith("_")
        return f"{{{label}}}" if is_name else f"{{item[{label!r}]}}"

    def piece(match: re.Match[str]) -> str:
        inside, escaped = match["inside"], match["escaped"]
        is_kept = any(start <= match.start() < stop for start, stop in kept)
        if escaped:
            has_root = root(escaped) in names
            is_read = has_root and WHOLE_PATH.fullmatch(escaped)
            is_kept = is_kept and not (has_root or escaped in names)
            return (
                match[0] if is_read or is_kept or not is_meant(escaped.strip()) else match[0][1:-1]
            )
        if inside in read or is_kept or not is_meant(inside.strip()):
            return match[0]
        near = nearest(inside.strip())
        example = f'ask_each(f"... {{{inside}}} ... {{{{item}}}}", ...)'
        hint = f"If it is a variable of yours, let Python put it in: {example}."
        hint = f"Did you mean `{spelled(names[near])}`?" if near else hint
        known = ", ".join(f"`{spelled(label)}`" for label in names.values())
        raise ContentError(
            f"`{{{inside}}}` names nothing; the names are {shortened(known)}. {hint} "
            f"To send braces of your own, double them: `{{{{{inside}}}}}`."
        )

    return _BRACES.sub(piece, template)


@dataclass(frozen=True, slots=True)
class Rows:
    """What is asked about, in order: `take` reads one, `labels` are what all of them may hold."""

    keys: Sequence[Any]
    take: Callable[[int], Any]
    labels: tuple[Any, ...] = ()
    #: The table itself, as it was at the call.
    table: Any = None
    #: Whether they are a list or a series, whose keys do not name them.
    is_plain: bool = False

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def columns(self) -> tuple[str, ...]:
        """The labels that can stand in a prompt as names do."""
        return tuple(label for label in self.labels if isinstance(label, str))


def listed(items: Any) -> Rows:
    """Find the items in whatever holds them now; what one of them holds is read as it is taken."""
    if is_kind(items, "pandas", "DataFrame"):
        frame = items.copy()
        columns = [frame.iloc[:, n] for n in range(frame.shape[1])]
        return _table(frame, frame.index, [*frame.columns], lambda n: [c.iat[n] for c in columns])
    if is_kind(items, "polars", "DataFrame"):
        frame = items.clone()  # it copies no cell
        return _table(frame, range(frame.height), frame.columns, frame.row)
    if is_kind(items, "pyarrow", "Table", "RecordBatch"):
        rows, arrays = range(items.num_rows), items.columns
        return _table(items, rows, items.column_names, lambda n: [a[n].as_py() for a in arrays])
    has_columns = hasattr(type(items), "columns")
    if has_columns and any(hasattr(type(items), name) for name in _OF_OTHER_TABLES):
        package = type(items).__module__.partition(".")[0]
        raise ContentError(
            f"This {type_name(items)} of {package} is not read row by row: make it a DataFrame of "
            "pandas or polars first, or have its parts asked about one by one (`to=FOLDER`)."
        )
    if is_kind(items, "pandas", "Series"):
        series = items.copy()
        return _valued(series.index, series.iat, is_plain=True)
    if isinstance(items, str) or special_method(items, "__fspath__"):
        items = _images(items)
    if isinstance(items, Mapping):
        return _valued(list(items), list(items.values()), is_plain=False)
    if is_kind(items, "pyarrow", "Array", "ChunkedArray"):
        items = items.to_pylist()  # a scalar's text is about itself
    # What merely can be iterated is one thing.
    is_one = isinstance(items, bytes | bytearray | memoryview) or is_image_array(items)
    try:
        values = iter(() if is_one else items)
    except TypeError:
        is_one = True
    if items is None:
        raise ContentError("The items are None. Look where they come from: a `return` is missing?")
    if is_one:
        raise ContentError(
            f"This {type_name(items)} is one item, not many. Put it in a list: [item]; list(item) "
            "gives its parts, if it has any."
        )
    each = list(values)
    return _valued(range(len(each)), each, is_plain=True)


def _table(
    table: Any, keys: Sequence[Any], labels: Sequence[Any], cells: Callable[[int], Iterable[Any]]
) -> Rows:
    twice = [label for n, label in enumerate(labels) if label in labels[:n]]
    if twice:
        raise ContentError(
            f"Two columns are called {shortened(repr(twice[0]))}, and only one of them could be "
            "read. Rename one, or leave it out."
        )

    def take(position: int) -> dict[Any, Any]:
        return dict(zip(labels, map(_cell, cells(position)), strict=True))

    return Rows(keys, take, tuple(labels), table)


def _valued(keys: Sequence[Any], values: Any, *, is_plain: bool) -> Rows:
    """List plain values; if all of them are dicts, their keys can stand in a prompt too."""
    each = [values[n] for n in range(len(keys))]
    are_dicts = all(isinstance(value, Mapping) for value in each)
    labels = dict.fromkeys(key for value in each for key in value) if are_dicts else ()
    return Rows(keys, lambda n: _cell(values[n]), tuple(labels), is_plain=is_plain)


def _cell(value: Any) -> Any:
    is_float = isinstance(value, float) or is_kind(value, "numpy", "floating")
    is_missing = value is None or (is_float and value != value)
    return _MISSING if is_missing or is_kind(value, "pandas", "NAType", "NaTType") else value


def _images(path: str | os.PathLike[Any]) -> dict[str, Path]:
    """Find a folder's image files by how they begin, or by their names, as broken ones are."""
    folder = os.path.expanduser(os.fsdecode(path))
    if not os.path.isdir(folder):  # unlike Path.is_dir, it bears any text
        raise ContentError(
            f"There is no folder {shortened(repr(os.fsdecode(path)))}. Check its name; a text, or "
            "a single file, goes in a list: [text], [path]."
        )
    try:
        files = sorted(file for file in Path(folder).iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise ContentError(f"The folder {folder} cannot be read ({error.strerror}).") from error
    images = [f for f in files if is_image_path(f) or (is_named_as_image(f) and not f.is_dir())]
    if not images:
        raise ContentError(
            f"The folder {folder} holds no image files. For files of another kind, or in folders "
            f'below it, give a list: list(Path({folder!r}).glob("**/*.txt")).'
        )
    return {file.name: file for file in images}
