"""What holds many items, and each of them: a table, a series, a mapping, a folder, a list.

Knows nothing of prompts.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from segmind_jupyter.content.files import file_notes, is_image_path, is_named_as_image
from segmind_jupyter.content.images.arrays import is_image_array
from segmind_jupyter.content.parts import STANDARD, Limits, is_kind, special_method, type_name
from segmind_jupyter.content.prompt import WHOLE_PATH, Prompt, compose, gather
from segmind_jupyter.errors import ContentError, shortened

_PAIR: Final = re.compile(r"\{\{(?P<escaped>[^{}\n]+)\}\}|\{(?P<inside>[^{}\n]+)\}")
_NAME: Final = re.compile(r"[^\W\d]\w*")

#: How much like a name (of 1) something must be to be taken for it, mistyped.
_ALIKE: Final = 0.8


def unescaped(template: str, labels: Sequence[Any], *, read: Collection[str]) -> str:
    """Take away the second braces around what would be refused in single ones.

    Those around what can be read are left to `compose`.
    """
    names = {str(label): label for label in labels if isinstance(label, str | int)}

    def piece(match: re.Match[str]) -> str:
        inside, escaped = match["inside"], match["escaped"]
        if inside is not None and inside not in read and _is_meant(inside, names):
            raise ContentError(_advice(inside, names))
        if escaped is not None and _is_meant(escaped, names):
            is_read = WHOLE_PATH.fullmatch(escaped) and _root(escaped) in names
            return match[0] if is_read else f"{{{escaped}}}"
        return match[0]

    return _PAIR.sub(piece, template)


def _is_meant(inside: str, names: Collection[str]) -> bool:
    """Return whether a name was meant: one stands there, or something that is like a known one."""
    text = inside.strip()
    if text in names:  # a column may be called 0, or "# of rooms"
        return True
    if not _root(text):  # JSON, numbers, ...
        return False
    return bool(WHOLE_PATH.fullmatch(text) or _nearest(text, names, cutoff=_ALIKE))


def _root(text: str) -> str:
    name = _NAME.match(text)
    return name[0] if name else ""


def _nearest(text: str, names: Collection[str], *, cutoff: float) -> str | None:
    """Find the name that `text`, or what it begins with, is most like; else one that it holds."""
    for word in (text, _root(text)):
        if near := difflib.get_close_matches(word, names, n=1, cutoff=cutoff):
            return near[0]
    return next((word for word in _NAME.findall(text) if word in names), None)


def _advice(inside: str, names: Mapping[str, str | int]) -> str:
    near = _nearest(inside.strip(), names, cutoff=0.6)
    meant = f" Did you mean `{_spelled(names[near])}`?" if near else ""
    known = shortened(", ".join(f"`{_spelled(label)}`" for label in names.values()))
    return (
        f"`{{{inside}}}` names nothing; the names are {known}.{meant} To send braces of your own, "
        f"double them: `{{{{{inside}}}}}`."
    )


def _spelled(label: str | int) -> str:
    """Spell what reads a label: `compose` reads no spaces and no leading underscores."""
    is_name = isinstance(label, str) and _NAME.fullmatch(label) and not label.startswith("_")
    return f"{{{label}}}" if is_name else f"{{item[{label!r}]}}"


class PromptTemplate:
    """One prompt for each of many items."""

    def __init__(self, template: str, items: Any, *, limits: Limits = STANDARD) -> None:
        _check_template(template)
        self.items = listed(items)
        stand_ins = dict.fromkeys((ITEM, *self.items.columns), _StandIn())
        form = compose(template, stand_ins)
        if self.items.labels:
            read = {sent.name for sent in form.sent}
            template = unescaped(template, (ITEM, *self.items.labels), read=read)
            # What it still sends as typed was escaped, and is no news.
            form = dataclasses.replace(compose(template, stand_ins), notes=())
        self.notes = (*form.notes, *self._first_notes())
        self._template = template
        self._limits = limits
        self._paths = {sent.name for sent in form.sent}
        #: Without the escapes, where there is nothing but words.
        self._words = "".join(piece for piece in form.pieces if isinstance(piece, str))

    def __len__(self) -> int:
        return len(self.items)

    def _first_notes(self) -> tuple[str, ...]:
        """Point out the name of a file: the others will be such too."""
        first = self.items.take(0) if len(self.items) else None
        return file_notes(first) if isinstance(first, str) else ()

    def prompt(self, position: int) -> Prompt:
        """Make the prompt for the item at `position`, its images encoded."""
        if not self._paths:
            return gather((self._words, self.items.take(position)), limits=self._limits)
        names = self.items.names(position)
        prompt = compose(self._template, names, limits=self._limits)
        self._check_read(prompt, names[ITEM])
        return prompt

    def _check_read(self, prompt: Prompt, item: object) -> None:
        """Refuse what a cell sends as typed: nobody pays for a name in braces many times over."""
        unread = self._paths - {sent.name for sent in prompt.sent}
        if unread:
            raise ContentError(
                f"There is no `{{{min(unread)}}}`: this item ({type_name(item)}) has no such part. "
                "Correct the prompt, or leave the item out."
            )


class _StandIn:
    """Stands for any item while the template is read: it has every attribute and every key."""

    def __getattr__(self, name: str) -> _StandIn:
        return self

    def __getitem__(self, key: object) -> _StandIn:
        return self

    def _repr_claude_(self) -> str:
        return ITEM


def _check_template(template: object) -> None:
    if not isinstance(template, str):
        raise ContentError(
            f"The prompt is no text but a {type_name(template)}. It comes before the items: "
            'ask_each("Caption this", images).'
        )
    if not template.strip():
        raise ContentError(
            "The prompt is empty. Write what you want to know of each item, or '{item}' where "
            "the items are whole prompts."
        )


#: What a prompt calls the item itself.
ITEM: Final = "item"

#: What stands in a prompt for an item or a cell without a value (None, NaN, NaT, NA).
_MISSING: Final = "(missing)"

#: What makes a table that can be read of one that cannot: of a lazy one, of one elsewhere.
_TO_ROWS: Final = ("to_pandas", "toPandas", "collect", "compute", "df")

#: How tables of any library are handed over (the dataframe protocol, Arrow's capsules).
_EXCHANGES: Final = ("__dataframe__", "__arrow_c_stream__")

_NUMBER: Final = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class Rows:
    """What is asked about, in order."""

    keys: Sequence[Any]
    take: Callable[[int], Any]
    labels: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def columns(self) -> tuple[str, ...]:
        """The labels that can stand in a prompt as names do."""
        return tuple(label for label in self.labels if isinstance(label, str))

    def names(self, position: int) -> dict[str, Any]:
        """Return what the names of a prompt stand for; a column called `item` hides the row."""
        item = self.take(position)
        return {ITEM: item, **{column: item[column] for column in self.columns}}


def listed(items: Any) -> Rows:
    """Find the items in whatever holds them now.

    Later changes of a list, a mapping, a series or a table do not count; those of an item itself
    (a dict, a figure, a file) do until it is taken.
    """
    if (table := _table(items)) is not None:
        return table
    if is_kind(items, "pandas", "Series"):
        series = items.copy()
        return _valued(series.index, series.iat)
    if isinstance(items, str) or special_method(items, "__fspath__"):
        return _mapped({file.name: file for file in _images(items)})
    if isinstance(items, Mapping):
        return _mapped(items)
    # The scalars of pyarrow would be sent as `<pyarrow.StringScalar: 'a'>`.
    is_arrow = is_kind(items, "pyarrow", "Array", "ChunkedArray")
    values = items.to_pylist() if is_arrow else _values(items)
    return _valued(range(len(values)), values)


def _table(items: Any) -> Rows | None:
    """Find the rows of a table; `None` if it is none."""
    if is_kind(items, "pandas", "DataFrame"):
        return _rows_of_pandas(items.copy())
    if is_kind(items, "polars", "DataFrame"):
        frame = items.clone()  # it copies no cell
        return _rows(range(frame.height), frame.columns, lambda n: frame.row(n, named=True))
    if is_kind(items, "pyarrow", "Table", "RecordBatch"):
        n_rows, names = items.num_rows, items.column_names
        return _rows(range(n_rows), names, lambda n: items.slice(n, 1).to_pylist()[0])
    if (way_out := _way_out(items)) is not None:
        package = type(items).__module__.partition(".")[0]
        raise ContentError(
            f"This {type_name(items)} of {package} is not read row by row, and its columns are "
            f"not meant. Give {way_out}."
        )
    return None


def _way_out(items: Any) -> str | None:
    """Say what makes rows of a foreign table, told by what its type has; `None` if it is none.

    Iterated, these give their columns, which nobody means to ask about one by one.
    """
    kind = type(items)
    if not hasattr(kind, "columns"):
        return None
    method = next((name for name in _TO_ROWS if hasattr(kind, name)), None)
    if method is not None:
        return f"what its `.{method}()` returns"
    return "a pandas DataFrame" if any(hasattr(kind, name) for name in _EXCHANGES) else None


def _rows_of_pandas(frame: Any) -> Rows:
    labels = list(frame.columns)

    def row(position: int) -> dict[Any, Any]:
        return {label: frame.iat[position, n] for n, label in enumerate(labels)}

    return _rows(frame.index, labels, row)


def _rows(
    keys: Sequence[Any], labels: Sequence[Any], row: Callable[[int], Mapping[Any, Any]]
) -> Rows:
    _check_distinct(labels)

    def take(position: int) -> dict[Any, Any]:
        return {label: _cell(value) for label, value in row(position).items()}

    return Rows(keys, take, tuple(labels))


def _check_distinct(labels: Sequence[Any]) -> None:
    twice = [label for n, label in enumerate(labels) if label in labels[:n]]
    if twice:
        raise ContentError(
            f"Two columns are called {shortened(repr(twice[0]))}, and only one of them could be "
            "read. Rename one, or leave it out."
        )


def _valued(keys: Sequence[Any], values: Any) -> Rows:
    return Rows(keys, lambda position: _cell(values[position]))


def _cell(value: Any) -> Any:
    return _MISSING if _is_missing(value) else value


def _is_missing(value: Any) -> bool:
    if value is None or is_kind(value, "pandas", "NAType", "NaTType"):
        return True
    is_float = isinstance(value, float) or is_kind(value, "numpy", "floating")
    return bool(is_float and value != value)


def _mapped(items: Mapping[Any, Any]) -> Rows:
    return _valued(list(items), list(items.values()))


def _images(path: str | os.PathLike[Any]) -> list[Path]:
    """Find the image files of a folder by how they begin or end; hidden ones are left out.

    One that is an image by its name alone is broken, and so an error of its own, not left out.
    """
    folder = os.path.expanduser(os.fsdecode(path))
    if not os.path.isdir(folder):  # unlike Path.is_dir, it bears any text
        raise ContentError(_no_folder(path))
    try:
        files = [file for file in Path(folder).iterdir() if not file.name.startswith(".")]
    except OSError as error:
        raise ContentError(f"The folder {folder} cannot be read ({error.strerror}).") from error
    images = sorted(filter(_is_image, files), key=_natural)
    if not images:
        raise ContentError(
            f"The folder {folder} holds no image files. For files of another kind, or in folders "
            f'below it, give a list: list(Path({folder!r}).glob("**/*.txt")).'
        )
    return images


def _is_image(file: Path) -> bool:
    return is_image_path(file) or (is_named_as_image(file) and not file.is_dir())


def _no_folder(path: str | os.PathLike[Any]) -> str:
    if isinstance(path, str):
        return (
            f"{shortened(repr(path))} is one text, and there is no folder of that name. "
            "Put texts in a list; for images, check the folder's name."
        )
    return (
        f"There is no folder {os.fsdecode(path)}. Check its name; a single file goes in a list: "
        "[path]."
    )


def _natural(file: Path) -> tuple[list[str | int], str]:
    """Order ``img2`` before ``img10``: words and numbers take turns, beginning with a word."""
    words = _NUMBER.split(file.name.casefold())
    return [int(word) if n % 2 else word for n, word in enumerate(words)], file.name


def _values(items: Any) -> list[Any]:
    """Return the values of an iterable, unless it is one thing that merely can be iterated."""
    if items is None:
        raise ContentError("There is nothing to ask about: the items are None.")
    is_one = isinstance(items, bytes | bytearray | memoryview) or is_image_array(items)
    try:
        values = None if is_one else iter(items)
    except TypeError:
        values = None
    if values is None:
        raise ContentError(
            f"This {type_name(items)} is one item, not many. Put it in a list: [item]; list(item) "
            "gives its parts, if it has any."
        )
    return list(values)
