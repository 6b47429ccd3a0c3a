"""What a picture shows, from its decoded pixels: its colours, and where its lines rise."""

from __future__ import annotations

import colorsys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

#: Pixels are sampled down to this side first. A nearest-pixel sample keeps every colour's share.
_SAMPLE_EDGE_PX = 480

#: Colours are told apart in 32 steps a channel: fine enough to name them, few enough to name once.
_STEP_MASK = 0xF8

#: Colours without a hue; in a plot these are paper, axes and words.
_ACHROMATIC = frozenset({"black", "grey", "white"})

#: Upper end of each hue in degrees, and its name.
_HUES = {15: "red", 45: "orange", 70: "yellow", 165: "green", 195: "cyan", 255: "blue"}
_HUES |= {290: "purple", 330: "pink", 360: "red"}

#: Shares of a picture.
_ALL = 0.999  # of one colour, but for a stray pixel
_MOSTLY = 0.5
_AREA = 0.08  # a stroke covers less of a picture than this, a filled shape more
_NOTABLE = 0.03
_TRACE = 0.0003  # a short thin line; below it lies the noise of smoothed edges
_BESIDE_STRONGEST = 0.15  # smoothed edges stay below this part of their line's own share
_PHOTO_SHADES = 256  # a drawing has fewer than this, a photo thousands


@dataclass(frozen=True, slots=True)
class Picture:
    """One image that arrived and was decoded."""

    width: int
    height: int
    format: str
    colours: str
    #: The course of each coloured line, by the name of its colour: "rises", "falls", ...
    lines: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {self.format}, {self.colours}"


def look(image: Image.Image, format_name: str) -> Picture:
    """Decode an image, and say what it shows: the same words for the same pixels.

    One colour gives ``"all red"``; a drawing ``"mostly white with blue and orange lines"``, with
    the course of each line; a photo ``"mostly brown, many colours"``; blocks ``"red and blue"``.
    """
    names, shades, width = _named(image)
    counts = Counter(names)
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    shares = {name: counts[name] / len(names) for name in ranked}
    main = ranked[0]
    # What stands on the main colour, less the smoothed edges of stronger lines.
    hues = [n for n in ranked[1:] if n not in _ACHROMATIC and shares[n] >= _TRACE]
    hues = sorted(n for n in hues if shares[n] >= shares[hues[0]] * _BESIDE_STRONGEST)
    notable = [name for name in ranked if shares[name] >= _NOTABLE]
    coloured = sum(shares[name] for name in ranked[1:] if name not in _ACHROMATIC)
    lines: tuple[tuple[str, str], ...] = ()
    if shares[main] >= _ALL:
        words = f"all {main}"
    elif shades >= _PHOTO_SHADES and len(notable) > 3:
        words = f"mostly {main}, many colours"
    elif shares[main] < _MOSTLY:
        words = _joined(notable or [main])
    elif hues:
        if is_drawn := coloured < _AREA:
            lines = _courses(names, width, hues)
        kind = ("line" if len(hues) == 1 else "lines") if is_drawn else "areas"
        article = ("an " if hues[0][0] in "aeiou" else "a ") if kind == "line" else ""
        words = f"mostly {main} with {article}{_joined(hues)} {kind}"
    elif shares[ranked[1]] >= _TRACE:  # without a hue: axes and words
        kind = "areas" if shares[ranked[1]] >= _AREA else "lines"
        words = f"mostly {main} with {ranked[1]} {kind}"
    else:
        words = f"mostly {main}"
    return Picture(image.width, image.height, format_name, words, lines)


def _named(image: Image.Image) -> tuple[list[str], int, int]:
    """Return the name of each pixel's colour, how many shades there are, and the row's length."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit grey: convert() would clip where it should scale
        image = image.convert("I").point(lambda value: value * (1 / 257) + 0.0).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    small = image.convert("RGB")
    small.thumbnail((_SAMPLE_EDGE_PX, _SAMPLE_EDGE_PX), Image.Resampling.NEAREST)
    data = small.point(lambda value: value & _STEP_MASK).tobytes()
    pixels = list(zip(data[::3], data[1::3], data[2::3], strict=True))
    return [colour_name(pixel) for pixel in pixels], len(set(pixels)), small.width


@cache
def colour_name(rgb: tuple[int, int, int]) -> str:
    """Name one colour, three channels of 0..255, with an everyday word."""
    high, low = max(rgb), min(rgb)
    if high - low < 36:
        return "white" if high > 225 else "black" if high < 50 else "grey"
    hue = colorsys.rgb_to_hsv(*rgb)[0] * 360
    saturation, value = (high - low) / high, high / 255
    # Mostly by hue, which a line's smoothed edges share; brown and olive are dark hues.
    if (hue < 8 or hue > 350) and value < 0.7 and saturation < 0.78:
        return "brown"
    if 8 <= hue < 45 and (value < 0.7 or (value < 0.85 and saturation < 0.6)):
        return "brown"
    if 45 <= hue < 70 and value < 0.9:
        return "olive"
    if 330 <= hue < 357 and saturation < 0.6 and value > 0.8:
        return "pink"
    return next(name for end, name in _HUES.items() if hue <= end)


def _joined(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _courses(names: list[str], width: int, hues: list[str]) -> tuple[tuple[str, str], ...]:
    """Say how each line runs, from left to right, by the mean height of its pixels in a column."""
    height = len(names) // width
    courses = []
    for hue in hues[:6]:
        columns = [[y for y in range(height) if names[y * width + x] == hue] for x in range(width)]
        heights = [1 - sum(found) / len(found) / height for found in columns if found]
        if len(heights) >= width / 8:
            courses.append((hue, _course(heights)))
    return tuple(courses)


def _course(heights: list[float]) -> str:
    """Describe a row of heights (0 at the bottom of the picture, 1 at its top)."""
    third = max(1, len(heights) // 3)
    first, middle, last = (
        sum(part) / len(part)
        for part in (heights[:third], heights[third:-third] or heights, heights[-third:])
    )
    if middle > max(first, last) + 0.05:
        return "rises, then falls"
    if middle < min(first, last) - 0.05:
        return "falls, then rises"
    if abs(last - first) < 0.05:
        return "stays level"
    return "rises from left to right" if last > first else "falls from left to right"
