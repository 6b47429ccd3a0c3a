"""What pandas and polars group before they compute: groups by their sizes, windows with advice.

Neither library is imported.
"""

from __future__ import annotations

from typing import Any, Final

from segmind_jupyter.content.containers import listing
from segmind_jupyter.content.kinds import is_kind, type_name
from segmind_jupyter.content.parts import CHARS_PER_TOKEN, STANDARD, Limits, Text
from segmind_jupyter.content.tables import bounded, counted, joined
from segmind_jupyter.content.text import plain_text
from segmind_jupyter.errors import ContentError

#: Of more groups, the first so many are looked at.
_MAX_GROUPS: Final = 1_000

#: Longest lists of keys and of columns, in characters.
_NAMES_CHARS: Final = 200


def is_window(obj: object) -> bool:
    """Tell whether `obj` is rows that were put together, and holds nothing of its own to send."""
    return is_kind(obj, "pandas", "Resampler", "BaseWindow") or is_kind(
        obj, "polars", "GroupBy", "LazyGroupBy", "RollingGroupBy", "DynamicGroupBy"
    )


def refuse_window(window: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Say what to name in place of a resampler, a window or a grouping that is not computed yet.

    Raises
    ------
    ContentError
        Always.
    """
    called = name or "x"
    is_polars = is_kind(window, "polars", type_name(window))
    step = f"{called}.agg(...)" if is_polars else f"{called}.mean()"
    raise ContentError(
        f"A {type_name(window)} has no values before it is computed. Assign what you want to know "
        f"of it, such as `result = {step}`, and name that."
    )


def summarize_groups(groups: Any, *, limits: Limits = STANDARD, name: str | None = None) -> Text:
    """Summarize a grouped DataFrame or Series: its keys, its groups, and how many rows each has.

    Parameters
    ----------
    groups
        What ``groupby`` gave.
    limits
        `limits.table_tokens` bounds the summary.
    name
        What the user calls it.
    """
    keys, sizes = _sizes(groups)
    title = f"{f'{name}: ' if name else ''}{type_name(groups)} by {_named(keys)}"
    head = f"{title}: {counted(len(sizes), 'group')}{_span(sizes)} of {_about(groups.obj)}"
    first = sizes.iloc[:_MAX_GROUPS]
    shown = dict(zip(first.index.tolist(), first.tolist(), strict=True))
    lines = [head, f"Rows of each group: {listing(shown, max_chars=_room(limits, head))}"]
    if len(shown) < len(sizes):
        lines.append(f"[groups {_MAX_GROUPS + 1:,}-{len(sizes):,} are not looked at]")
    about = f"{type_name(groups)}, {counted(len(sizes), 'group')}"
    return bounded("\n".join(lines), about=about, limits=limits)


def _sizes(groups: Any) -> tuple[list[Any], Any]:
    """Give the names of the keys, and a Series of the sizes by key."""
    sizes = groups.size()
    if is_kind(sizes, "pandas", "DataFrame"):  # as_index=False
        keys = list(sizes.columns[:-1])
        sizes = sizes.set_index(keys).iloc[:, 0]
    return list(sizes.index.names), sizes


def _span(sizes: Any) -> str:
    if not len(sizes):
        return ""
    low, high = int(sizes.min()), int(sizes.max())
    return f", {f'{low:,} to ' if low < high else ''}{counted(high, 'row')} each,"


def _about(obj: Any) -> str:
    """Say what was grouped: ``a DataFrame of 3 rows: city, n``."""
    columns = obj.columns if hasattr(obj, "columns") else [obj.name]
    return f"a {type_name(obj)} of {counted(len(obj), 'row')}: {_named(columns)}"


def _named(names: Any) -> str:
    return joined(map(_word, names), max_chars=_NAMES_CHARS)


def _word(name: Any) -> str:
    return "unnamed" if name is None else plain_text(name)


def _room(limits: Limits, head: str) -> int:
    return max(0, limits.table_tokens * CHARS_PER_TOKEN - len(head) - _NAMES_CHARS)
