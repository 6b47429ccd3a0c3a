"""Plain English for the colours of a picture: "mostly white with a blue line".

Knows pixels, and nothing of files or messages.
"""

from __future__ import annotations

import colorsys
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

#: Colours are counted in 32 steps a channel: fine enough to name them, few enough to loop over.
_STEP_MASK = 0xF8
_MOST_COLOURS = 32**3

#: Pixels are sampled down to this side first. A nearest-pixel sample keeps every colour's share.
_SAMPLE_EDGE_PX = 1024

#: Colours without a hue; in a plot these are paper, axes and words.
_ACHROMATIC = frozenset({"black", "grey", "white"})

#: Upper end of each hue in degrees, and its name.
_HUES = (
    (15, "red"),
    (45, "orange"),
    (70, "yellow"),
    (165, "green"),
    (195, "cyan"),
    (255, "blue"),
    (290, "purple"),
    (330, "pink"),
    (360, "red"),
)

_ALL = 0.999  # the share of a picture that is one colour, but for a stray pixel
_MOSTLY = 0.5
_AREA = 0.08  # a stroke covers less of a picture than this, a filled shape more
_NOTABLE = 0.03
_TRACE = 0.0003  # a short thin line; below it lies the noise of smoothed edges
_BESIDE_STRONGEST = 0.15  # smoothed edges stay below this part of their line's own share
_PHOTO_SHADES = 256  # a drawing has fewer than this, a photo thousands


def describe_colours(image: Image.Image) -> str:
    """Say what colours an RGB image has, the same words for the same pixels.

    One colour gives ``"all red"``; a drawing ``"mostly white with blue and orange lines"``;
    a photo ``"mostly brown, many colours"``; blocks ``"red, green and blue"``.

    Parameters
    ----------
    image
        In mode RGB, of any size.
    """
    counts = _counted(image)
    shares = _shares_by_name(counts)
    main, share = next(iter(shares.items()))
    if share >= _ALL:
        return f"all {main}"
    notable = [name for name, part in shares.items() if part >= _NOTABLE]
    if len(counts) >= _PHOTO_SHADES and len(notable) > 3:
        return f"mostly {main}, many colours"
    if share < _MOSTLY:
        return _joined(notable or [main])
    return f"mostly {main}{_foreground(shares, main)}"


def _counted(image: Image.Image) -> list[tuple[int, tuple[int, int, int]]]:
    longest_px = max(image.size)
    if longest_px > _SAMPLE_EDGE_PX:
        scale = _SAMPLE_EDGE_PX / longest_px
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, resample=0)  # 0 is nearest: no colour is made up
    coarse = image.point(lambda value: value & _STEP_MASK)
    return coarse.getcolors(_MOST_COLOURS)  # type: ignore[return-value]  # RGB: always triples


def _shares_by_name(counts: list[tuple[int, tuple[int, int, int]]]) -> dict[str, float]:
    """Part of the picture that each colour has, the largest first."""
    total = sum(count for count, _ in counts)
    pixels: dict[str, int] = {}
    for count, rgb in counts:
        name = colour_name(rgb)
        pixels[name] = pixels.get(name, 0) + count
    ranked = sorted(pixels.items(), key=lambda item: (-item[1], item[0]))
    return {name: count / total for name, count in ranked}


@cache
def colour_name(rgb: tuple[int, int, int]) -> str:
    """Name one colour, three channels of 0..255, with an everyday word."""
    hue, _, _ = colorsys.rgb_to_hsv(*rgb)
    high, low = max(rgb), min(rgb)
    if high - low < 36:
        return "white" if high > 225 else "black" if high < 50 else "grey"
    return _hue_name(hue * 360, saturation=(high - low) / high, value=high / 255)


def _hue_name(hue: float, *, saturation: float, value: float) -> str:
    """Name mostly by hue, which a line's smoothed edges share; brown and olive are dark hues."""
    if (hue < 8 or hue > 350) and value < 0.7 and saturation < 0.78:
        return "brown"
    if 8 <= hue < 45 and (value < 0.7 or (value < 0.85 and saturation < 0.6)):
        return "brown"
    if 45 <= hue < 70 and value < 0.9:
        return "olive"
    if 290 <= hue < 320 and saturation > 0.75:
        return "magenta"
    if 330 <= hue < 357 and saturation < 0.6 and value > 0.8:
        return "pink"
    return next(name for end, name in _HUES if hue <= end)


def _foreground(shares: dict[str, float], main: str) -> str:
    """Say what stands on the main colour: " with a blue line", " with red areas", or nothing."""
    others = {name: part for name, part in shares.items() if name != main and part >= _TRACE}
    hues = {name: part for name, part in others.items() if name not in _ACHROMATIC}
    if hues:
        least = max(hues.values()) * _BESIDE_STRONGEST
        names = sorted(name for name, part in hues.items() if part >= least)
        return f" with {_shape(names, covered=sum(hues.values()))}"
    if others:  # in the order of their shares
        name, part = next(iter(others.items()))
        return f" with {name} {'areas' if part >= _AREA else 'lines'}"
    return ""


def _shape(names: list[str], *, covered: float) -> str:
    if covered >= _AREA:
        return f"{_joined(names)} areas"
    if len(names) > 1:
        return f"{_joined(names)} lines"
    article = "an" if names[0][0] in "aeiou" else "a"
    return f"{article} {names[0]} line"


def _joined(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
