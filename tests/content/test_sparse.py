"""SciPy's sparse arrays: what they hold, and that they stay sparse."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Limits

sp = pytest.importorskip("scipy.sparse")

FORMATS = ("coo", "csr", "csc", "bsr", "dia", "dok", "lil")


def summary(matrix, **limits):
    """The text of a matrix that the user calls m."""
    (part,) = to_parts(matrix, name="m", limits=Limits(**limits))
    return part.text


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_is_described_alike(file_format, kind):
    """Shape, type, density, range, and entries by row and column."""
    dense = np.zeros((200, 100))
    dense[3, 7], dense[150, 2], dense[3, 2] = 1.5, -2, 4
    text = summary(getattr(sp, f"{file_format}_{kind}")(dense))
    assert text.startswith(f"m: {file_format}_{kind}, shape (200, 100), float64; ")
    assert text.endswith("Entries, by row:\n(3, 2): 4\n(3, 7): 1.5\n(150, 2): -2")


def test_a_small_one_is_written_as_an_array():
    """Nothing is gained by coordinates there."""
    text = summary(sp.csr_array(np.eye(2)))
    assert text == (
        "m: csr_array, shape (2, 2), float64; 2 values stored (0.5 of all), the others are zero\n"
        "min 0, max 1, mean 0.5\n[[1. 0.]\n [0. 1.]]"
    )


def test_many_entries_show_their_ends():
    """Ten from each end, and how many are between."""
    text = summary(sp.coo_array(np.ones((100, 30))))
    assert "(0, 9): 1\n… 2,980 more\n(99, 20): 1" in text
    assert text.endswith("(99, 29): 1")


def test_a_large_one_is_never_dense():
    """A million by a million takes the memory of what it holds."""
    matrix = sp.coo_array(([1.0, 2.0], ([0, 999_999], [5, 999_999])), shape=(10**6, 10**6)).tocsr()
    tracemalloc.start()
    try:
        text = summary(matrix)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "2 values stored (2e-12 of all)" in text
    assert "(999999, 999999): 2" in text
    assert peak_bytes < 20_000_000


def test_too_many_values_are_described_and_not_put_in_order():
    """The range of three million values is quick, their order is not."""
    n_values = 3_000_000
    columns = np.arange(n_values, dtype="int32")
    matrix = sp.csr_array((np.ones(n_values), columns, [0, n_values]), shape=(1, n_values))
    text = summary(matrix)
    assert "Of the stored values: min 1, max 1, mean 1" in text
    assert text.endswith("[too many values are stored to list some]")


@given(
    shape=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    file_format=st.sampled_from(["coo", "csr", "csc", "dok", "lil"]),
    dtype=st.sampled_from(["bool", "int8", "uint64", "float32", "float64", "complex128"]),
    tokens=st.integers(60, 500),
    seed=st.integers(0, 9),
)
def test_any_shape_and_type_stays_inside_the_budget(shape, file_format, dtype, tokens, seed):
    """Never an error or a warning, never more than the budget."""
    values = np.random.default_rng(seed).integers(0, 2, shape).astype(dtype)
    text = summary(sp.coo_array(values).asformat(file_format), table_tokens=tokens)
    assert len(text) <= 4 * tokens


def test_an_empty_one_lists_no_entries():
    """There is nothing below the heading."""
    assert summary(sp.csr_array((1_000, 1_000))).endswith("the others are zero")
