"""Frames that come in parts: each part's answers become a file of a Parquet dataset, once.

One part is in memory at a time, and which parts are done is told by the files alone.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.content.parts import is_kind, type_name
from segmind_jupyter.errors import ContentError, JobCancelled, SegmindError, SettingsError

if TYPE_CHECKING:
    from segmind_jupyter.batch.batch import Batch

#: Under this name a file's metadata say what was asked, and how many of its rows failed.
_ABOUT: Final = b"segmind_jupyter"

#: How lazy frames give their parts: those of Dask, a dataset or table of pyarrow, polars.
_GIVING: Final = ("to_delayed", "to_batches", "collect_batches")


@dataclass(slots=True, kw_only=True)
class PartitionedReplies:
    """What `ask_each(..., to=FOLDER)` wrote: ``pandas.read_parquet(folder)`` reads it."""

    folder: Path
    parts: int = 0
    #: How many of the parts were there before.
    kept: int = 0
    rows: int = 0
    failed: int = 0

    def __str__(self) -> str:
        kept = f" ({self.kept:,} from before)" if self.kept else ""
        failed = f", {self.failed:,} failed: run it again for those" if self.failed else ""
        return f"{self.parts:,} parts{kept} in {self.folder} · {self.rows:,} rows{failed}"

    __repr__ = __str__


def ask_parts(
    source: Any, folder: str | os.PathLike[str], *, asked: Any, begin: Callable[[Any], Batch]
) -> PartitionedReplies:
    """Ask about one part after the other, and write what came of each beside its own columns."""
    try:
        pyarrow = import_module("pyarrow")
        parquet = import_module("pyarrow.parquet")
    except ModuleNotFoundError:
        raise SegmindError("`to=` writes Parquet by pyarrow: `%pip install pyarrow`.") from None
    question = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    done = PartitionedReplies(folder=Path(folder).expanduser())
    done.folder.mkdir(parents=True, exist_ok=True)
    schema: Any = None
    for nth, part in enumerate(_parts(source)):
        file = done.folder / f"part-{nth:06}.parquet"
        rows = _fingerprint(pyarrow, part)
        if file.exists():
            found = parquet.read_metadata(file)
            about = json.loads((found.metadata or {}).get(_ABOUT, b"{}"))
            if about.get("question") != question or (rows and about["rows"] not in (None, rows)):
                raise SettingsError(
                    f"{file} holds the answers to something else: the prompt, the model, `json`, a "
                    f"parameter or the rows of part {nth} differ. Give another folder, or delete "
                    "that one."
                )
            schema = schema or found.schema.to_arrow_schema()
            if not about["failed"]:
                done.parts, done.kept = done.parts + 1, done.kept + 1
                done.rows += found.num_rows
                continue
        batch = begin(part.compute() if hasattr(part, "compute") else part).wait()
        if batch.progress.stopped:
            # What stopped it, before those that were not sent.
            error = copy.copy(min(batch.errors.values(), key=lambda e: isinstance(e, JobCancelled)))
            error.args = (f"{error} Done: {done}. Run it again to go on.",)
            raise error
        table = _table(pyarrow, batch.join())
        about = {"question": question, "rows": rows, "failed": len(batch.errors)}
        own = {**(table.schema.metadata or {}), _ABOUT: json.dumps(about).encode()}
        # A column of which nothing came in this part has no type of its own.
        with contextlib.suppress(pyarrow.ArrowException, ValueError):
            table = table.cast(schema or table.schema)
        schema = schema or table.schema
        unfinished = file.with_name(f".{os.getpid()}-{file.name}")  # another kernel has its own
        parquet.write_table(table.replace_schema_metadata(own), unfinished)
        unfinished.replace(file)
        done.parts, done.rows = done.parts + 1, done.rows + table.num_rows
        done.failed += len(batch.errors)
        del part, batch, table  # before the next part is made
    return done


def _parts(source: Any) -> Iterator[Any]:
    if is_kind(source, "pandas", "DataFrame") or is_kind(source, "polars", "DataFrame"):
        return iter([source])
    for name in _GIVING:
        if callable(give := getattr(source, name, None)):
            return iter(give())
    try:
        return iter(source)
    except TypeError:
        raise ContentError(
            f"`to=` takes frames that come in parts (of Dask, pyarrow, polars, or a list of them), "
            f"not a {type_name(source)}."
        ) from None


def _fingerprint(pyarrow: Any, part: Any) -> str | None:
    """Return a hash of a part's rows; `None` of one that would be computed for it."""
    if hasattr(part, "compute"):
        return None
    table = part if isinstance(part, pyarrow.Table | pyarrow.RecordBatch) else _table(pyarrow, part)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as stream:
        stream.write(table)
    return hashlib.sha256(sink.getvalue()).hexdigest()


def _table(pyarrow: Any, frame: Any) -> Any:
    """Make an Arrow table; objects that have no type there become JSON."""
    if is_kind(frame, "polars", "DataFrame"):
        return frame.to_arrow()
    try:
        return pyarrow.Table.from_pandas(frame)
    except pyarrow.ArrowException:
        frame = frame.copy()
        for name in [name for name, dtype in frame.dtypes.items() if str(dtype) == "object"]:
            frame[name] = [v if v is None else json.dumps(v, default=str) for v in frame[name]]
        return pyarrow.Table.from_pandas(frame)
