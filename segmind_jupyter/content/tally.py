"""What the values of a column have in common, in words: their types, range, lengths and counts.

Plain Python over plain values: `columns` and `polars_tables` bring them here.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from decimal import Decimal
from fractions import Fraction
from typing import Any

from segmind_jupyter.content.cells import NAME_CHARS, cell
from segmind_jupyter.content.kinds import type_name

#: Longer columns of Python objects and texts are looked at in so many places, evenly spaced:
#: hashing ten million strings takes seconds.
SAMPLED_ROWS = 100_000

#: How many of a column's commonest values are named, and how long each may be.
NAMED, _NAMED_CHARS = 3, 24

#: How many types of the values of one column are named.
_NAMED_TYPES = 4

#: Significant digits of a mean.
_MEAN_DIGITS = 5

#: Texts up to this length are whole in a row of a table.
_SHORT_CHARS = 40

#: Types whose values have a range; values of two of these are not compared with each other.
_ORDERED: tuple[type, ...] = (
    int, float, Decimal, Fraction, datetime.date, datetime.datetime, datetime.time,
    datetime.timedelta,
)  # fmt: skip


def column_line(name: str, dtype: str, facts: Iterable[str]) -> str:
    """Write what is known of a column on one line of a list."""
    said = "; ".join(filter(None, facts))
    return f"- {name} ({dtype})" + (f": {said}" if said else "")


def stride(n_rows: int, most: int) -> int:
    """Give the step at which at most `most` of `n_rows` rows are met."""
    return max(1, -(-n_rows // max(1, most)))


def sampled(facts: Iterable[str], step: int) -> list[str]:
    """Put before some facts in how many of the rows they were found, if not in all."""
    said = [fact for fact in facts if fact]
    if step > 1 and said:
        said[0] = f"in one of every {step:,} rows: {said[0]}"
    return said


def missing(count: int, n_rows: int) -> str:
    """Say how many values are missing, if any are."""
    return f"{'all ' * (count == n_rows > 0)}{count:,} missing" if count else ""


def ranged(low: Any, high: Any, mean: float | None = None) -> str:
    """Write a range, and the mean where it says more than the ends."""
    first, last = (cell(end, max_chars=NAME_CHARS) for end in (low, high))
    if first == last:
        return f"always {first}"
    return f"{first} to {last}" + ("" if mean is None else f", mean {_rounded(mean)}")


def _rounded(mean: float) -> str:
    return cell(float(f"{mean:.{_MEAN_DIGITS}g}"), max_chars=NAME_CHARS)


def types_of(values: Iterable[Any]) -> str:
    """Name the types of some values, the commonest first."""
    names = [name for name, _ in Counter(map(type_name, values)).most_common(_NAMED_TYPES + 1)]
    return ", ".join(names[:_NAMED_TYPES]) + (", …" if len(names) > _NAMED_TYPES else "")


def facts_of(values: Collection[Any]) -> Iterator[str]:
    """Say what is known of some values, none of them missing: a range, or counts and lengths."""
    kinds = set(map(type, values))
    if not values:
        return
    if len(kinds) == 1 and kinds <= set(_ORDERED):
        with suppress(Exception):  # times with and without a zone are not compared
            yield ranged(min(values), max(values))
            return
    with suppress(Exception):  # lists are not hashed, and foreign values may refuse
        counts = Counter(values)
        yield counted(counts.most_common(NAMED), len(counts))
    if kinds == {str}:
        yield _longest(values)


def _longest(texts: Iterable[str]) -> str:
    longest = max(map(len, texts))
    return f"up to {longest:,} characters" if longest > _SHORT_CHARS else ""


def counted(commonest: list[tuple[Any, int]], n_distinct: int) -> str:
    """Say how many distinct values there are, and name the commonest unless each occurs once.

    Parameters
    ----------
    commonest
        Values and how often they occur, in the order in which they are named.
    n_distinct
        How many different values there are.
    """
    distinct = f"{n_distinct:,} distinct"
    if not commonest or commonest[0][1] == 1:
        return distinct
    shown = commonest[:NAMED]
    named = ", ".join(f"{cell(value, max_chars=_NAMED_CHARS)} ×{count:,}" for value, count in shown)
    return f"{distinct}: {named}{', …' if n_distinct > len(shown) else ''}"
