"""The size that is sent, against the published rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.images.encode import fitted_size
from segmind_jupyter.errors import ContentError

SIDES = st.one_of(st.integers(1, 3_000), st.integers(1, 1_000_000))


def within_bounds(width: int, height: int, edge_px: int, budget_tokens: int) -> bool:
    across, down = -(-width // 28), -(-height // 28)
    return max(across, down) * 28 <= edge_px and across * down <= budget_tokens


def test_published_examples_are_reproduced():
    """The sizes that the server would scale down to are the ones that are sent."""
    examples = {
        (1920, 1080): (1456, 819),
        (2000, 1500): (1270, 952),
        (3840, 2160): (1456, 819),
        (4000, 3000): (1270, 952),
        (3000, 4000): (952, 1270),
        (1, 100_000): (1, 1568),
        (100_000, 1): (1568, 1),
    }
    assert {given_size: fitted_size(*given_size) for given_size in examples} == examples
    assert fitted_size(1920, 1080, edge_px=2576, budget_tokens=4784) == (1920, 1080)


@given(width=SIDES, height=SIDES, edge_px=st.integers(28, 3_000), budget=st.integers(1, 5_000))
def test_the_size_is_the_largest_of_its_shape_within_bounds(width, height, edge_px, budget):
    """It fits, has pixels and its shape, is never larger, and a pixel more would not fit."""
    bounds = {"edge_px": edge_px, "budget_tokens": budget}
    size = fitted_size(width, height, **bounds)
    assert 1 <= size[0] <= width
    assert 1 <= size[1] <= height
    assert within_bounds(*size, edge_px, budget)
    shape = min(width, height) / max(width, height)
    assert abs(min(size) - max(size) * shape) < 1
    if size != (width, height):
        longer = max(size) + 1
        assert not within_bounds(longer, max(1, round(longer * shape)), edge_px, budget)
    assert fitted_size(*size, **bounds) == size
    assert fitted_size(height, width, **bounds) == size[::-1]


def test_no_pixels_and_no_room_are_refused():
    """The message says which size it was, and what the least is."""
    for size in ((0, 10), (10, 0), (0, 0)):
        with pytest.raises(ContentError, match=f"{size[0]}×{size[1]} has no pixels"):
            fitted_size(*size)
    for bounds in ({"edge_px": 27}, {"budget_tokens": 0}):
        with pytest.raises(ContentError, match="at least 28 px and 1 token"):
            fitted_size(100, 100, **bounds)
