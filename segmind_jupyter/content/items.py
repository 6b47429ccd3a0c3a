"""What holds many items, and each of them: a table, a series, a mapping, a folder, a list.

Knows nothing of prompts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from segmind_jupyter.content.files import is_image_path, is_named_as_image
from segmind_jupyter.content.images import is_image_array
from segmind_jupyter.content.kinds import hook, is_kind, type_name
from segmind_jupyter.errors import ContentError, shortened

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
class Items:
    """What is asked about, in order.

    Parameters
    ----------
    keys
        How each is called: by the index of a table or a series, the key of a mapping, the name
        of a file, or its position.
    take
        Gives the item at a position; a row of a table is a dict.
    labels
        What the parts of each item are called, as the columns of a table are; mostly texts.
    """

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
        """Give what the names of a prompt stand for; a column called `item` hides the row."""
        item = self.take(position)
        return {ITEM: item, **{column: item[column] for column in self.columns}}


def listed(items: Any) -> Items:
    """Find the items in whatever holds them now.

    Later changes of a list, a mapping, a series or a table do not count; those of an item itself
    (a dict, a figure, a file) do until it is taken.

    Parameters
    ----------
    items
        A DataFrame of pandas or polars or a table of pyarrow (its rows), a Series, a mapping, a
        folder (a `Path`, or the name of one that exists: its image files, in the order of their
        names, numbers by their value), or any other iterable.

    Raises
    ------
    ContentError
        It is one thing rather than many, or a table whose rows cannot be read; the message says
        what to do.
    """
    if (table := _table(items)) is not None:
        return table
    if is_kind(items, "pandas", "Series"):
        series = items.copy()
        return _valued(series.index, series.iat)
    if isinstance(items, str) or hook(items, "__fspath__"):
        return _mapped({file.name: file for file in _images(items)})
    if isinstance(items, Mapping):
        return _mapped(items)
    # The scalars of pyarrow would be sent as `<pyarrow.StringScalar: 'a'>`.
    is_arrow = is_kind(items, "pyarrow", "Array", "ChunkedArray")
    values = items.to_pylist() if is_arrow else _values(items)
    return _valued(range(len(values)), values)


def _table(items: Any) -> Items | None:
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


def _rows_of_pandas(frame: Any) -> Items:
    labels = list(frame.columns)

    def row(position: int) -> dict[Any, Any]:
        return {label: frame.iat[position, n] for n, label in enumerate(labels)}

    return _rows(frame.index, labels, row)


def _rows(
    keys: Sequence[Any], labels: Sequence[Any], row: Callable[[int], Mapping[Any, Any]]
) -> Items:
    _check_distinct(labels)

    def take(position: int) -> dict[Any, Any]:
        return {label: _cell(value) for label, value in row(position).items()}

    return Items(keys, take, tuple(labels))


def _check_distinct(labels: Sequence[Any]) -> None:
    twice = [label for n, label in enumerate(labels) if label in labels[:n]]
    if twice:
        raise ContentError(
            f"Two columns are called {shortened(repr(twice[0]))}, and only one of them could be "
            "read. Rename one, or leave it out."
        )


def _valued(keys: Sequence[Any], values: Any) -> Items:
    return Items(keys, lambda position: _cell(values[position]))


def _cell(value: Any) -> Any:
    return _MISSING if _is_missing(value) else value


def _is_missing(value: Any) -> bool:
    if value is None or is_kind(value, "pandas", "NAType", "NaTType"):
        return True
    is_float = isinstance(value, float) or is_kind(value, "numpy", "floating")
    return bool(is_float and value != value)


def _mapped(items: Mapping[Any, Any]) -> Items:
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
    """Give the values of an iterable, unless it is one thing that merely can be iterated."""
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
