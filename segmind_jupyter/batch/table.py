"""The replies of a batch as a pandas DataFrame. Waits for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.errors import SegmindError

if TYPE_CHECKING:
    import pandas

#: What it holds; each of these types has a place for what is missing.
_COLUMNS: Final = {
    "reply": "string",
    "tokens": "Int64",
    "cost": "float64",
    "seconds": "float64",
    "error": "string",
}


def check_pandas() -> None:
    """Raise what to do where pandas is not there.

    Raises
    ------
    SegmindError
        It is not.
    """
    try:
        import pandas  # noqa: F401
    except ModuleNotFoundError:
        raise SegmindError(
            "A table needs pandas: `%pip install pandas`. `batch.replies` does without."
        ) from None


def table(
    replies: Sequence[Reply | None], errors: Mapping[int, SegmindError], keys: Any
) -> pandas.DataFrame:
    """Make the table: a row an item, under its key."""
    import pandas

    rows = [_row(reply, errors.get(position)) for position, reply in enumerate(replies)]
    return pandas.DataFrame(rows, index=_index(keys), columns=list(_COLUMNS)).astype(_COLUMNS)


def _row(reply: Reply | None, error: SegmindError | None) -> tuple[Any, ...]:
    """Give the cells of `_COLUMNS`."""
    if reply is None:
        return None, None, None, None, str(error)
    return reply.text, reply.usage.total_tokens, reply.cost, reply.elapsed_s, None


def _index(keys: Any) -> Any:
    """Make the keys a pandas Index that holds them as they are."""
    import pandas

    if isinstance(keys, pandas.Index):
        return keys
    index = pandas.Index(keys, tupleize_cols=False)
    if list(index) == list(keys):
        return index
    return pandas.Index(keys, dtype=object, tupleize_cols=False)  # None and 3 would be floats
