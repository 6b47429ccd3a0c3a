"""The replies of a batch as a frame of pandas or polars: a column a field, with a real dtype.

Displayed, such a frame is kept from the page's MathJax: its words are a model's.
"""

from __future__ import annotations

import datetime
import enum
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.content.parts import is_kind, safe_repr, special_method, without_addresses
from segmind_jupyter.errors import ReplyError, shortened
from segmind_jupyter.words import to_text

if TYPE_CHECKING:
    from segmind_jupyter.batch.batch import Batch
    from segmind_jupyter.batch.items import Rows
    from segmind_jupyter.content.json_schema import Expected

#: What MathJax leaves alone: the first class is version 3's, the second version 2's.
_CLASS: Final = 'class="mathjax_ignore tex2jax_ignore"'

#: Dtypes of pandas by what a column holds, whose names in polars begin with a capital; what is
#: not here is an object.
_DTYPES: Final = {"string": "string", "boolean": "boolean", "integer": "Int64", "number": "float64"}


@dataclass(slots=True)
class Column:
    """A column before any library has made it; `None` is what is missing."""

    name: str
    kind: str
    values: list[Any]
    categories: tuple[Any, ...] = ()
    #: Makes columns of what its lists hold, where they are lists.
    inside: Callable[[list[Any]], list[Column]] | None = None


def reply_frame(batch: Batch, *, explode: bool, joins: bool) -> Any:
    """Make the frame: a row an item, or several of them, beside the table's own where it joins."""
    items, outcomes, expected = batch._each.items, batch.outcomes, batch._plan.expected
    replies = [each.reply for each in outcomes]
    words = [None if each.error is None else str(each.error) for each in outcomes]
    if expected is None:
        found = [Column("reply", "string", [reply and reply.text for reply in replies])]
    else:
        parsed: list[Any] = [None] * len(replies)
        for position, reply in enumerate(replies):
            try:
                parsed[position] = reply and reply.parsed
            except ReplyError as error:  # the reply itself is kept
                words[position] = str(error).replace("`error.reply`", "`batch.replies`")
        found = _fields(expected, parsed, nested=explode)
    # Declined, empty or cut: what was billed is not to look whole.
    notices = [reply.notice if reply else None for reply in replies]
    words = [said or notice for said, notice in zip(words, notices, strict=True)]
    positions = list(range(len(replies)))
    if explode:
        found, positions = _exploded(found)
    # What an item took stands in the first of its rows, so that sums are right.
    is_first = [n == 0 or positions[n - 1] != at for n, at in enumerate(positions)]
    took = [replies[at] if first else None for at, first in zip(positions, is_first, strict=True)]
    if items.is_plain:
        found.insert(0, Column("item", "any", [short_name(items.take(n)) for n in positions]))
    columns = [
        *found,
        Column("error", "string", [words[n] for n in positions]),
        Column("tokens", "integer", [reply and reply.usage.total_tokens for reply in took]),
        Column("cost", "number", [reply and reply.cost for reply in took]),
        Column("seconds", "number", [reply and reply.elapsed_s for reply in took]),
    ]
    joins = joins and items.table is not None
    taken = set(map(str, items.labels)) if joins else set()
    for column in columns:
        while column.name in taken:
            column.name = f"reply_{column.name}"
        taken.add(column.name)
    make = _polars_frame if is_kind(items.table, "polars", "DataFrame") else _pandas_frame
    return make(columns, positions, items, joins=joins)


def short_name(item: Any) -> Any:
    """Return an item as a cell: words and numbers as they are, anything else by its name."""
    if isinstance(item, str | int | float | datetime.date | Mapping):
        return item
    if special_method(item, "__fspath__"):
        return os.fsdecode(item)
    file = getattr(item, "filename", None) if is_kind(item, "PIL", "Image") else None
    return os.fsdecode(file) if file else shortened(without_addresses(safe_repr(item)))


def _fields(expected: Expected, parsed: list[Any], *, nested: bool) -> list[Column]:
    """Split what was read into columns, by the schema that went with the request."""
    schema = expected.response_format["json_schema"]["schema"]
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    # What is no object travels under one key, and is read from there.
    if schema.get("properties", {}).keys() == {"value"} and not expected.fields:
        schema = schema["properties"]["value"]

    def resolved(node: Any) -> dict[str, Any]:
        """Follow references, and leave out that a value may be null."""
        for _ in range(100):  # a reference may lead to itself
            if not isinstance(node, dict):
                break
            options = [n for n in node.get("anyOf", ()) if n != {"type": "null"}]
            if "$ref" in node:
                node = definitions.get(str(node["$ref"]).rpartition("/")[2])
            elif len(options) == 1:
                node = options[0]
            elif isinstance(node.get("type"), list):
                kinds = [kind for kind in node["type"] if kind != "null"]
                node = {**node, "type": kinds[0] if len(kinds) == 1 else None}
            else:
                return node
        return {}

    def part(value: Any, name: str) -> Any:
        """Read a field of whatever was made of the JSON, by the name that it has there."""
        if isinstance(value, Mapping):
            return value.get(name)
        for own, field in getattr(type(value), "model_fields", {}).items():  # pydantic's aliases
            if field.alias == name:
                return getattr(value, own)
        return getattr(value, name, None)

    def columns(name: str, node: Any, values: list[Any]) -> list[Column]:
        node = resolved(node)
        parts = node.get("properties")
        if not parts and node.get("type") == "object" and not name:  # any object
            parts = dict.fromkeys(key for value in values if value for key in value)
        if parts and (nested or not name):
            return [
                column
                for key, inner in parts.items()
                for column in columns(
                    f"{name}.{key}" if name else key, inner, [part(v, key) for v in values]
                )
            ]
        values = [value.value if isinstance(value, enum.Enum) else value for value in values]
        there = [value for value in values if value is not None]
        column = Column(name or "value", str(node.get("type")), values)
        allowed = [node["const"]] if "const" in node else node.get("enum")
        if allowed:
            column.kind = "category"
            column.categories = tuple(value for value in allowed if value is not None)
        elif node.get("format") in ("date-time", "date") or (
            there and all(isinstance(value, datetime.date) for value in there)
        ):
            column.kind = "moment"
        elif column.kind == "string" and not all(isinstance(value, str) for value in there):
            column.kind = "object"  # times, paths, ...
        elif column.kind == "array":
            column.inside = lambda each: columns(name, node.get("items", {}), each)
        return [column]

    return columns("", schema, parsed)


def _exploded(columns: list[Column]) -> tuple[list[Column], list[int]]:
    """Give each element of the only column of lists a row of its own."""
    lists = [column for column in columns if column.inside is not None]
    if len(lists) != 1 or lists[0].inside is None:
        return columns, list(range(len(columns[0].values)))
    rows = [(n, each) for n, value in enumerate(lists[0].values) for each in value or [None]]
    spread: list[Column] = []
    for column in columns:
        if column is lists[0]:
            spread += lists[0].inside([each for _, each in rows])
        else:
            spread.append(replace(column, values=[column.values[n] for n, _ in rows]))
    return spread, [n for n, _ in rows]


def _pandas_frame(columns: list[Column], positions: list[int], items: Rows, *, joins: bool) -> Any:
    import pandas

    index: Any = items.keys
    if not isinstance(index, pandas.Index):
        kind = None if isinstance(index, range) else object  # None and 3 would be floats
        index = pandas.Index(index, dtype=kind, tupleize_cols=False)

    def cells(column: Column) -> Any:
        values: Any = column.values
        if column.kind == "category":
            return pandas.Categorical(values, categories=list(column.categories))
        try:
            if column.kind == "moment":
                aware = any(getattr(value, "tzinfo", None) for value in values)
                values = pandas.to_datetime(values, utc=aware)
            dtype = _DTYPES.get(column.kind)
            if dtype or column.kind in ("moment", "any"):
                return pandas.Series(values, dtype=dtype).array
        except (TypeError, ValueError, OverflowError):  # such as an integer that is too large
            pass
        return pandas.Series(column.values, dtype=object).array

    frame = pandas.DataFrame({c.name: cells(c) for c in columns}, index=index.take(positions))
    if joins:
        frame = pandas.concat([_own(items).iloc[positions], frame], axis=1)
    return sys.modules[__name__].ReplyFrame(frame)


def _own(items: Rows) -> Any:
    """Return the table that was asked about, in pandas' form."""
    return items.table if hasattr(items.table, "iloc") else items.table.to_pandas()


def _polars_frame(columns: list[Column], positions: list[int], items: Rows, *, joins: bool) -> Any:
    import polars

    def series(column: Column) -> Any:
        dtype: Any = getattr(polars, _DTYPES.get(column.kind, "").capitalize(), None)
        if column.kind == "category" and all(isinstance(c, str) for c in column.categories):
            dtype = polars.Enum(list(column.categories))
        try:
            return polars.Series(column.name, column.values, dtype=dtype, strict=False)
        except (TypeError, ValueError, OverflowError, polars.exceptions.PolarsError):
            return polars.Series(column.name, column.values, dtype=polars.Object)

    made = [series(column) for column in columns]
    own = items.table[positions].get_columns() if joins else []
    return sys.modules[__name__].ReplyPolarsFrame([*own, *made])


def side_by_side(batches: Mapping[str, Batch], *, joins: bool) -> Any:
    """Put what several models made of the same items beside one another."""
    frames = {model: batch.to_frame() for model, batch in batches.items()}
    items = next(iter(batches.values()))._each.items
    if is_kind(items.table, "polars", "DataFrame"):
        columns = items.table.get_columns() if joins else []
        for model, frame in frames.items():
            columns += [column.alias(f"{model}.{column.name}") for column in frame.get_columns()]
        return sys.modules[__name__].ReplyPolarsFrame(columns)
    import pandas

    own = _own(items) if joins and items.table is not None else None
    if items.is_plain:
        own = next(iter(frames.values()))[["item"]]
        frames = {model: frame.drop(columns="item") for model, frame in frames.items()}
    joined = pandas.concat(frames, axis=1)
    if own is not None:
        own = own.set_axis(pandas.MultiIndex.from_tuples([(c, "") for c in own.columns]), axis=1)
        joined = pandas.concat([own, joined], axis=1)
    return sys.modules[__name__].ReplyFrame(joined)


class _Shielded:
    """Has nothing on a page typeset the words of a frame, and no word of it move a cursor."""

    def __repr__(self) -> str:
        return to_text(super().__repr__())

    def _repr_html_(self, **how: Any) -> Any:
        show: Any = getattr(super(), "_repr_html_", None)  # a series has none
        return shielded(show(**how)) if show else None


def __getattr__(name: str) -> Any:
    """Make the classes of frames at their first use, under names by which they can be pickled."""
    made: tuple[type, ...]
    if name in ("ReplyFrame", "ReplySeries"):
        import pandas

        class ReplySeries(_Shielded, pandas.Series):
            """A column of a `ReplyFrame`."""

            _constructor = property(lambda self: ReplySeries)
            _constructor_expanddim = property(lambda self: ReplyFrame)

        class ReplyFrame(_Shielded, pandas.DataFrame):
            """The replies of a batch; so are its slices and joins."""

            _constructor = property(lambda self: ReplyFrame)
            _constructor_sliced = property(lambda self: ReplySeries)
            style = property(lambda self: super().style.set_table_attributes(_CLASS))

        made = ReplyFrame, ReplySeries
    elif name == "ReplyPolarsFrame":
        import polars

        class ReplyPolarsFrame(_Shielded, polars.DataFrame):
            """The replies of a batch."""

        made = (ReplyPolarsFrame,)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for each in made:
        each.__qualname__ = each.__name__
        globals()[each.__name__] = each
    return globals()[name]


def shielded(html: str | None) -> str | None:
    """Keep HTML from MathJax."""
    return html and f"<div {_CLASS}>{html}</div>"
