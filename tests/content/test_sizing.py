"""The size that is sent, against the published rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.images.encode import fitted_size
from segmind_jupyter.errors import ContentError

SIDES = st.one_of(st.integers(1, 3_000), st.integers(1, 1_000_000))
EDGES = st.integers(28, 3_000)
BUDGETS = st.integers(1, 5_000)


def patches(px: int) -> int:
    return (px + 27) // 28


def within_bounds(width: int, height: int, edge_px: int, budget_tokens: int) -> bool:
    longest = max(patches(width), patches(height)) * 28
    return longest <= edge_px and patches(width) * patches(height) <= budget_tokens


@pytest.mark.parametrize(
    ("given_size", "sent"),
    [
        ((1920, 1080), (1456, 819)),
        ((2000, 1500), (1270, 952)),
        ((3840, 2160), (1456, 819)),
        ((4000, 3000), (1270, 952)),
        ((3000, 4000), (952, 1270)),
        ((1, 100_000), (1, 1568)),
        ((100_000, 1), (1568, 1)),
    ],
)
def test_published_examples_are_reproduced(given_size: tuple[int, int], sent: tuple[int, int]):
    """The sizes that the server would scale down to are the ones that are sent."""
    assert fitted_size(*given_size) == sent


def test_high_resolution_limits_keep_more_pixels():
    """The edge and the budget of the newest models let a full HD picture through."""
    assert fitted_size(1920, 1080, edge_px=2576, budget_tokens=4784) == (1920, 1080)


@given(width=SIDES, height=SIDES, edge_px=EDGES, budget_tokens=BUDGETS)
def test_size_is_within_bounds_and_never_larger(width, height, edge_px, budget_tokens):
    """Whatever the shape, the result fits, has pixels, and nothing was enlarged."""
    new_width, new_height = fitted_size(width, height, edge_px=edge_px, budget_tokens=budget_tokens)
    assert 1 <= new_width <= width
    assert 1 <= new_height <= height
    assert within_bounds(new_width, new_height, edge_px, budget_tokens)


@given(width=SIDES, height=SIDES, edge_px=EDGES, budget_tokens=BUDGETS)
def test_aspect_is_kept_to_a_pixel(width, height, edge_px, budget_tokens):
    """The short side is what the long side asks for, to within a pixel."""
    new_width, new_height = fitted_size(width, height, edge_px=edge_px, budget_tokens=budget_tokens)
    new_long, new_short = max(new_width, new_height), min(new_width, new_height)
    exact_short = new_long * min(width, height) / max(width, height)
    assert abs(new_short - exact_short) < 1


@given(width=SIDES, height=SIDES, edge_px=EDGES, budget_tokens=BUDGETS)
def test_one_pixel_more_on_the_long_side_breaks_a_bound(width, height, edge_px, budget_tokens):
    """A picture that was scaled down is as large as the bounds allow."""
    size = fitted_size(width, height, edge_px=edge_px, budget_tokens=budget_tokens)
    if size == (width, height):
        return
    longer = max(size) + 1
    short = max(1, round(longer * min(width, height) / max(width, height)))
    assert not within_bounds(longer, short, edge_px, budget_tokens)


@given(width=SIDES, height=SIDES, edge_px=EDGES, budget_tokens=BUDGETS)
def test_fitting_twice_changes_nothing(width, height, edge_px, budget_tokens):
    """A size that fits is kept, and a picture on its side gets the same size on its side."""
    bounds = {"edge_px": edge_px, "budget_tokens": budget_tokens}
    size = fitted_size(width, height, **bounds)
    assert fitted_size(*size, **bounds) == size
    assert fitted_size(height, width, **bounds) == size[::-1]


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (0, 0)])
def test_picture_without_pixels_is_refused(size: tuple[int, int]):
    """No pixels, no size: the message says which size it was."""
    with pytest.raises(ContentError, match=f"{size[0]}×{size[1]} has no pixels"):
        fitted_size(*size)


@pytest.mark.parametrize("bounds", [{"edge_px": 27}, {"budget_tokens": 0}])
def test_bounds_with_room_for_nothing_are_refused(bounds: dict[str, int]):
    """Bounds below one patch say what the least is."""
    with pytest.raises(ContentError, match="at least 28 px and 1 token"):
        fitted_size(100, 100, **bounds)
