"""A model call's body, read and refused as the service does it, and what its pictures show."""

from __future__ import annotations

import base64
import colorsys
import io
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from segmind_jupyter.simulator.protocol import Refusal

if TYPE_CHECKING:
    from PIL import Image

#: Anthropic's vision page: images in one request, the longest side of each in pixels, which
#: shrinks when there are many, and the most bytes of one in base64 ("5 MB", read on the safe side).
MAX_IMAGES, MANY_IMAGES = 100, 20
MAX_SIDE_PX, MAX_SIDE_OF_MANY_PX = 8000, 2000
MAX_BASE64_BYTES = 5_000_000

#: Tokens of a reply where the request does not say.
DEFAULT_MAX_TOKENS = 4096

#: Media types that Claude models take, and what Pillow calls them.
_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP"}

#: How much of a body an outline keeps: characters of a text, and levels.
_OUTLINED_CHARS, _OUTLINED_DEPTH = 500, 20


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


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: who speaks, its texts, its images, each in the order sent."""

    role: str
    texts: tuple[str, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A body that the service would accept, and what the history keeps of it."""

    turns: tuple[Turn, ...]
    instruction: str
    max_tokens: int
    schema: dict[str, Any] | None
    outline: dict[str, Any] = field(repr=False)

    @property
    def asked(self) -> Turn:
        """The user's last message."""
        return next(turn for turn in reversed(self.turns) if turn.role == "user")

    @property
    def prompt(self) -> str:
        """The user's last words, in one piece."""
        return "".join(self.asked.texts).lstrip()


def read_chat(body: bytes) -> ChatRequest:
    """Read the body of a v1 or v2 model call."""
    try:
        fields = json.loads(body, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is not valid JSON") from error
    if not isinstance(fields, dict):
        _refuse("the body must be a JSON object")
    temperature = fields.get("temperature")
    if isinstance(temperature, bool) or not isinstance(temperature, int | float | None):
        _refuse("temperature: must be a number")
    if not 0 <= (temperature or 0) <= 1:
        _refuse("temperature: must be between 0 and 1")
    instruction = fields.get("instruction")
    if not isinstance(instruction, str | None):
        _refuse("instruction: must be a string")
    max_tokens = fields.get("max_tokens")
    if max_tokens is None:
        max_tokens = DEFAULT_MAX_TOKENS
    if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or max_tokens < 1:
        _refuse("max_tokens: must be a whole number of at least 1")
    turns, schema = _turns(fields.get("messages")), None
    if (form := fields.get("response_format")) is not None:
        if not isinstance(form, dict) or form.get("type") != "json_schema":
            _refuse("response_format: Claude models accept the type json_schema only")
        # Both forms are in use: the schema under ``json_schema.schema``, or right there.
        inner = form.get("json_schema")
        schema = (inner if isinstance(inner, dict) else form).get("schema")
        if not isinstance(schema, dict):
            _refuse("response_format: holds no schema")
    return ChatRequest(turns, instruction or "", max_tokens, schema, _outline(fields))


def _refuse(message: str) -> NoReturn:
    raise Refusal(400, message)


def _finite(literal: str) -> float:
    """Read a number; `json` would let NaN, Infinity and 1e999 through."""
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal} is no JSON number")
    return number


def _outline(value: Any, depth: int = 0) -> Any:
    """Return a part of a request with the size in place of image data and of a text's rest."""
    if isinstance(value, str) and len(value) > _OUTLINED_CHARS:
        return f"{value[:_OUTLINED_CHARS]}… ({len(value)} characters)"
    if not isinstance(value, list | dict):
        return value
    if depth > _OUTLINED_DEPTH:
        return "…"
    if isinstance(value, list):
        return [_outline(item, depth + 1) for item in value]
    parts = {name: _outline(part, depth + 1) for name, part in value.items()}
    if isinstance(data := value.get("data"), str):
        parts["data"] = f"({len(data)} characters)"
    return parts


def _turns(messages: object) -> tuple[Turn, ...]:
    """Read and decode the messages, refusing what is wrong with the first that is."""
    if not isinstance(messages, list) or not messages:
        _refuse("messages: must be a list of at least one message")
    spoken: list[tuple[str, list[Any]]] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if not isinstance(message, dict):
            _refuse(f"{where}: must be an object")
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant"):
            _refuse(f"{where}.role: must be user or assistant")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, list) or not content:
            _refuse(f"{where}.content: must be a string or a list of at least one block")
        spoken.append((role, content))
    if spoken[0][0] != "user":
        _refuse("messages.0: the first message must be the user's")
    blocks = [block for _, content in spoken for block in content]
    images = sum(isinstance(block, dict) and block.get("type") == "image" for block in blocks)
    if images > MAX_IMAGES:
        _refuse(f"messages: {images} images, at most {MAX_IMAGES} in one request")
    side_px = MAX_SIDE_OF_MANY_PX if images > MANY_IMAGES else MAX_SIDE_PX
    turns = []
    for index, (role, content) in enumerate(spoken):
        texts, pictures = [], []
        for number, block in enumerate(content):
            place = f"messages.{index}.content.{number}"
            match block:
                case {"type": "text", **rest}:
                    text = rest.get("text")
                    if not isinstance(text, str):
                        _refuse(f"{place}.text: must be a string")
                    if not text.strip():
                        _refuse(f"{place}: text content blocks must contain non-whitespace text")
                    texts.append(text)
                case {"type": "image", **rest}:
                    pictures.append(_picture(rest.get("source"), side_px, f"{place}.image"))
                case _:
                    _refuse(f"{place}: must be a text or an image block")
        turns.append(Turn(role, tuple(texts), tuple(pictures)))
    return tuple(turns)


def _picture(source: object, max_side_px: int, where: str) -> Picture:
    """Decode the ``source`` of an image block, and look at it."""
    from PIL import Image

    if not isinstance(source, dict) or source.get("type") != "base64":
        _refuse(f"{where}.source: must be an object of type base64")
    media_type, data = source.get("media_type"), source.get("data")
    if not isinstance(media_type, str) or media_type not in _FORMATS:
        _refuse(f"{where}.source.media_type: must be one of {', '.join(_FORMATS)}")
    if not isinstance(data, str) or not data:
        _refuse(f"{where}.source.data: must be a non-empty string")
    if len(data) > MAX_BASE64_BYTES:
        _refuse(f"{where}: {len(data)} bytes of base64, at most {MAX_BASE64_BYTES}")
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise Refusal(400, f"{where}.source.data: not valid base64") from error
    try:  # the header alone: a small file can hold more pixels than there is memory for
        image = Image.open(io.BytesIO(content), formats=list(_FORMATS.values()))
    except Exception as error:  # decoders raise many kinds for what is no image
        raise Refusal(400, f"{where}: could not be read as an image") from error
    # Phones write JPEGs with a second picture inside, which Pillow names MPO.
    name = "JPEG" if image.format == "MPO" else str(image.format)
    if name != _FORMATS[media_type]:
        _refuse(f"{where}: said to be {media_type}, but is {name}")
    if max(image.size) > max_side_px:
        size = f"{image.width}x{image.height}"
        _refuse(f"{where}: {size} pixels, at most {max_side_px} a side")
    seen: Image.Image = image
    try:
        if seen.mode.startswith("I"):  # 16-bit grey: convert() would clip where it should scale
            seen = seen.convert("I").point(lambda value: value * (1 / 257) + 0.0).convert("L")
        if seen.has_transparency_data:
            seen = seen.convert("RGBA")
            seen = Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen)
        seen = seen.convert("RGB")
    except Exception as error:
        raise Refusal(400, f"{where}: is damaged or incomplete") from error
    return Picture(image.width, image.height, name, describe_colours(seen), _courses(seen))


#: Colours are counted in 32 steps a channel: fine enough to name them, few enough to loop over.
_STEP_MASK = 0xF8
_MOST_COLOURS = 32**3

#: Pixels are sampled down to this side first. A nearest-pixel sample keeps every colour's share.
_SAMPLE_EDGE_PX = 1024

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


def describe_colours(image: Image.Image) -> str:
    """Say what colours an RGB image has, the same words for the same pixels.

    One colour gives ``"all red"``; a drawing ``"mostly white with blue and orange lines"``;
    a photo ``"mostly brown, many colours"``; blocks ``"red, green and blue"``.
    """
    shares, shades = _shares(image)
    main, share = next(iter(shares.items()))
    if share >= _ALL:
        return f"all {main}"
    notable = [name for name, part in shares.items() if part >= _NOTABLE]
    if shades >= _PHOTO_SHADES and len(notable) > 3:
        return f"mostly {main}, many colours"
    if share < _MOSTLY:
        return _joined(notable or [main])
    if names := _hues(shares):
        if sum(shares[name] for name in shares if name not in {*_ACHROMATIC, main}) >= _AREA:
            return f"mostly {main} with {_joined(names)} areas"
        if len(names) > 1:
            return f"mostly {main} with {_joined(names)} lines"
        return f"mostly {main} with {'an' if names[0][0] in 'aeiou' else 'a'} {names[0]} line"
    # Without a hue, the strongest of the rest: axes and words.
    other, part = next(((n, p) for n, p in shares.items() if n != main), ("", 0.0))
    if part < _TRACE:
        return f"mostly {main}"
    return f"mostly {main} with {other} {'areas' if part >= _AREA else 'lines'}"


def _coarse(image: Image.Image, edge_px: int) -> Image.Image:
    """Sample an image down and round its colours, without making up a colour."""
    from PIL.Image import Resampling

    small = image.copy()
    small.thumbnail((edge_px, edge_px), Resampling.NEAREST)
    return small.point(lambda value: value & _STEP_MASK)


def _shares(image: Image.Image) -> tuple[dict[str, float], int]:
    """Return the part of the picture that each colour has, the largest first; how many shades."""
    counts: Any = _coarse(image, _SAMPLE_EDGE_PX).getcolors(_MOST_COLOURS)
    total = sum(count for count, _ in counts)
    pixels: Counter[str] = Counter()
    for count, rgb in counts:
        pixels[colour_name(rgb)] += count
    ranked = sorted(pixels.items(), key=lambda item: (-item[1], item[0]))
    return {name: count / total for name, count in ranked}, len(counts)


def _hues(shares: dict[str, float]) -> list[str]:
    """Return the colours that stand on the main one, less the smoothed edges of stronger ones."""
    main = next(iter(shares))
    hues = {
        name: part
        for name, part in shares.items()
        if part >= _TRACE and name not in {*_ACHROMATIC, main}
    }
    least = max(hues.values(), default=0) * _BESIDE_STRONGEST
    return sorted(name for name, part in hues.items() if part >= least)


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
    if 290 <= hue < 320 and saturation > 0.75:
        return "magenta"
    if 330 <= hue < 357 and saturation < 0.6 and value > 0.8:
        return "pink"
    return next(name for end, name in _HUES.items() if hue <= end)


def _joined(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _courses(image: Image.Image) -> tuple[tuple[str, str], ...]:
    """Say how each coloured line of a drawing runs, from left to right; nothing of a photo.

    A line is followed by the mean height of its pixels in each column.
    """
    shares, shades = _shares(image)
    names = _hues(shares)[:6]
    covered = sum(shares[name] for name in names)
    if shades >= _PHOTO_SHADES * 8 or next(iter(shares.values())) < _MOSTLY or covered >= _AREA:
        return ()
    small = _coarse(image, 480)
    width, height = small.size
    pixels: Any = small.load()
    heights: dict[str, list[float]] = {name: [] for name in names}
    for x in range(width):
        column = [colour_name(pixels[x, y]) for y in range(height)]
        for name in names:
            if found := [y for y, seen in enumerate(column) if seen == name]:
                heights[name].append(1 - sum(found) / len(found) / height)
    return tuple((name, _course(row)) for name, row in heights.items() if len(row) >= width / 8)


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
