"""How many pixels of a picture are worth sending. Pure arithmetic; knows no image library."""

from __future__ import annotations

from segmind_jupyter.content.parts import PATCH_PX, STANDARD
from segmind_jupyter.errors import ContentError


def fitted_size(
    width: int,
    height: int,
    *,
    edge_px: int = STANDARD.image_edge_px,
    budget_tokens: int = STANDARD.image_tokens,
) -> tuple[int, int]:
    """Give the largest size of the same shape that the server would not scale down.

    A size is within bounds when both sides, padded to whole 28-pixel patches, are at most
    `edge_px`, and its patches are at most `budget_tokens` (Anthropic's vision page). A picture
    that is within bounds keeps its size: nothing is ever enlarged.

    Parameters
    ----------
    width, height
        Size of the picture, in pixels.
    edge_px
        Longest padded side, in pixels; at least one patch (28).
    budget_tokens
        Most patches; at least 1.

    Returns
    -------
    tuple of int
        Width and height in pixels, at least 1 each. The aspect is kept to within half a pixel of
        the short side.

    Raises
    ------
    ContentError
        The picture has no pixels, or the bounds leave room for none.
    """
    if width < 1 or height < 1:
        raise ContentError(f"A picture of {width}×{height} has no pixels, so nothing can be sent.")
    if edge_px < PATCH_PX or budget_tokens < 1:
        raise ContentError(
            f"No picture fits an edge of {edge_px} px and {budget_tokens} tokens: "
            f"allow at least {PATCH_PX} px and 1 token."
        )
    long_px = _longest(max(width, height), min(width, height), edge_px, budget_tokens)
    short_px = _short_side(long_px, max(width, height), min(width, height))
    return (long_px, short_px) if width >= height else (short_px, long_px)


def _longest(long_px: int, short_px: int, edge_px: int, budget_tokens: int) -> int:
    """Find the longest long side within bounds, by bisection: tokens only grow with it."""
    fits, too_long = 1, min(long_px, edge_px // PATCH_PX * PATCH_PX) + 1
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if _tokens(middle, _short_side(middle, long_px, short_px)) <= budget_tokens:
            fits = middle
        else:
            too_long = middle
    return fits


def _short_side(new_long_px: int, long_px: int, short_px: int) -> int:
    return max(1, round(new_long_px * short_px / long_px))


def _tokens(width: int, height: int) -> int:
    return -(-width // PATCH_PX) * -(-height // PATCH_PX)
