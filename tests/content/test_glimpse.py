"""Values in one short line, whatever they are, and without their own code."""

from __future__ import annotations

import collections
import enum
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.secrets import glimpse


class Rude:
    """Fails whoever asks it anything."""

    def __init__(self) -> None:
        self.host = "h"
        self.password = "hunter2"

    def _fail(self, *args: object) -> None:
        raise AssertionError("no code of the value's own may run")

    __repr__ = __str__ = __len__ = __iter__ = __eq__ = __hash__ = __bool__ = _fail  # type: ignore[assignment]
    __getattribute__ = _fail  # type: ignore[assignment]


class RudeDict(dict[str, int]):
    def _fail(self, *args: object) -> None:
        raise AssertionError("no code of the value's own may run")

    __repr__ = __len__ = __iter__ = items = __getitem__ = _fail  # type: ignore[assignment]


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "None"),
        (1.5, "1.5"),
        (Level.LOW, "1"),
        ("a\nb", r"'a\nb'"),
        ("x" * 500, f"{'x' * 120!r}… (500 characters)"),
        (b"abc", "bytes of 3"),
        ([], "list of 0"),
        ([1, [2, [3]]], "list of 2: 1, list of 2: 2, list of 1"),
        ((1, 2, 3, 4, 5, 6, 7), "tuple of 7: 1, 2, 3, 4, 5, 6, …"),
        ({"a": 1, "token": "t"}, "{'a': 1, 'token': <hidden>}"),
        ({"token": None, "password": ""}, "{'token': None, 'password': ''}"),
        (collections.Counter("aab"), "{'a': 2, 'b': 1}"),
        (Rude, "class Rude"),
        (types, "module types"),
        (len, "function len"),
        (lambda a, password="hunter2": a, "function <lambda>(a, password)"),
        (10**400, "an integer of 1,329 bits"),
        (np.zeros((3, 4)), "ndarray 3×4 float64"),
        (pd.DataFrame({"a": [1], "b": [[2]]}), "DataFrame 1×2: 'a' int64, 'b' object"),
        (pd.DataFrame({"c": pd.Categorical(["x"])}), "DataFrame 1×1: 'c' category"),
        ([pd.DataFrame({"a": [1]})], "list of 1: DataFrame 1×1: 'a'"),
        (pd.Series([1.0, 2.0]), "Series 2 float64"),
    ],
)
def test_a_value_is_described_by_its_type(value, line):
    """Numbers and short texts as they are, everything else by what it is and how much."""
    assert glimpse(value) == line


def test_no_code_of_a_values_own_is_run():
    """A repr can raise, hang, or print a gigabyte; so can a length, or an attribute."""
    assert glimpse(RudeDict(a=1)) == "{'a': 1}"
    assert glimpse(Rude()).endswith(".Rude with host, password>")
    assert glimpse([Rude()]).startswith("list of 1: <")


def test_of_many_entries_further_keys_are_told():
    """The key that is missing is often misspelled beside them."""
    shown = glimpse({f"k{number}": number for number in range(60)})
    assert shown.startswith("dict of 60: {'k0': 0, ")
    assert "and 'k6', 'k7'" in shown
    assert shown.endswith("'k39', …}")


def test_of_a_wide_table_the_names_come_before_the_types():
    """A misspelled column is found among the names."""
    wide = pd.DataFrame({f"column {number}": [1.5] for number in range(30)})
    assert glimpse(wide).startswith("DataFrame 1×30: 'column 0', 'column 1', ")
    assert "'column 25'" in glimpse(wide)


def test_the_types_of_polars_tell_no_cells():
    """Some list all values that a column may have."""
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"n": [1], "kind": ["hunter2"], "when": ["x"]}).with_columns(
        pl.col("kind").cast(pl.Enum(["hunter2"]))
    )
    assert glimpse(frame) == "DataFrame 1×3: 'n' Int64, 'kind' Enum, 'when' String"
    assert glimpse(frame["kind"]) == "Series 1 Enum"


def test_a_secret_is_told_by_its_type_alone():
    """By its name, or by its form."""
    assert glimpse("hunter2", name="password") == "<hidden> (str)"
    assert glimpse(1234, name="self.pin_token") == "<hidden> (int)"
    assert glimpse(None, name="password") == "None"
    assert glimpse("sk-live-0123456789abcdef", name="x") == "'<hidden>'"


def test_a_text_is_cleaned_before_it_is_cut():
    """Half of a secret would not be found any more."""
    secret = "s3cret" * 60
    shown = glimpse(f"id {secret}", clean=lambda text: text.replace(secret, "-"))
    assert "s3cret" not in shown


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@given(anything, st.integers(10, 400))
def test_a_glimpse_is_one_line_of_bounded_length(value, max_chars):
    """Whatever the value."""
    shown = glimpse(value, max_chars=max_chars)
    assert "\n" not in shown
    assert len(shown) <= max(max_chars, 5)
