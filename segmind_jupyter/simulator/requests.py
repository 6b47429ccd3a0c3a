"""A model call's body, read and refused as the service does it, and what its pictures show."""

from __future__ import annotations

import base64
import colorsys
import io
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: who speaks, its texts, its images, each in the order sent."""

    role: str
    texts: tuple[str, ...]
    pictures: tuple[Picture, ...]


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A body that the service would accept."""

    turns: tuple[Turn, ...]
    instruction: str
    max_tokens: int
    schema: dict[str, Any] | None

    @property
    def asked(self) -> Turn:
        """The user's last message."""
        return next(turn for turn in reversed(self.turns) if turn.role == "user")

    @property
    def prompt(self) -> str:
        """The user's last words, in one piece."""
        return "".join(self.asked.texts).lstrip()


#: Parameters that are checked: what fits, and what to say else.
_PARAMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "temperature": (lambda v: type(v) in (int, float) and 0 <= v <= 1, "a number from 0 to 1"),
    "instruction": (lambda v: isinstance(v, str), "a string"),
    "max_tokens": (lambda v: type(v) is int and v > 0, "a whole number of at least 1"),
}


def read_chat(body: bytes) -> ChatRequest:
    """Read the body of a v1 or v2 model call."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is not valid JSON") from error
    if not isinstance(fields, dict):
        _refuse("the body must be a JSON object")
    for name, (fits, must) in _PARAMS.items():
        if fields.get(name) is not None and not fits(fields[name]):
            _refuse(f"{name}: must be {must}")
    turns, schema = _turns(fields.get("messages")), None
    if (form := fields.get("response_format")) is not None:
        if not isinstance(form, dict) or form.get("type") != "json_schema":
            _refuse("response_format: Claude models accept the type json_schema only")
        # Both forms are in use: the schema under ``json_schema.schema``, or right there.
        inner = form.get("json_schema")
        schema = (inner if isinstance(inner, dict) else form).get("schema")
        if not isinstance(schema, dict):
            _refuse("response_format: holds no schema")
    max_tokens = fields.get("max_tokens") or DEFAULT_MAX_TOKENS
    return ChatRequest(turns, fields.get("instruction") or "", max_tokens, schema)


def _refuse(message: str) -> NoReturn:
    raise Refusal(400, message)


def _turns(messages: object) -> tuple[Turn, ...]:
    """Read and decode the messages, refusing what is wrong with the first that is."""
    if not isinstance(messages, list) or not messages:
        _refuse("messages: must be a list of at least one message")
    contents = [m.get("content") for m in messages if isinstance(m, dict)]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    images = sum(isinstance(block, dict) and block.get("type") == "image" for block in blocks)
    if images > MAX_IMAGES:
        _refuse(f"messages: {images} images, at most {MAX_IMAGES} in one request")
    side_px = MAX_SIDE_OF_MANY_PX if images > MANY_IMAGES else MAX_SIDE_PX
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        where = f"messages.{index}"
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            _refuse(f"{where}.role: must be user or assistant")
        if not turns and message["role"] != "user":
            _refuse(f"{where}: the first message must be the user's")
        content = message.get("content")
        if isinstance(content, str):
            content = [{"type": "text", "text": content}]
        if not isinstance(content, list) or not content:
            _refuse(f"{where}.content: must be a string or a list of at least one block")
        texts, pictures = [], []
        for number, block in enumerate(content):
            place = f"{where}.content.{number}"
            match block:
                case {"type": "text", "text": str(text)} if text.strip():
                    texts.append(text)
                case {"type": "text"}:
                    _refuse(f"{place}: text content blocks must contain non-whitespace text")
                case {"type": "image", **rest}:
                    pictures.append(_picture(rest.get("source"), side_px, f"{place}.image"))
                case _:
                    _refuse(f"{place}: must be a text or an image block")
        turns.append(Turn(message["role"], tuple(texts), tuple(pictures)))
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
    try:
        return look(image, name)
    except Exception as error:
        raise Refusal(400, f"{where}: is damaged or incomplete") from error


# What a picture shows, from its decoded pixels: its colours, and where its lines rise

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
    the course of each line; a photo ``"mostly green, many colours"``; blocks ``"red and blue"``.
    """
    names, shades, width = _named(image)
    shares = {name: count / len(names) for name, count in Counter(names).most_common()}
    main, *others = shares
    # What stands on the main colour, less the smoothed edges of stronger lines.
    coloured = {name: shares[name] for name in others if name not in _ACHROMATIC}
    least = max(_TRACE, _BESIDE_STRONGEST * max(coloured.values(), default=0.0))
    hues = sorted(name for name, share in coloured.items() if share >= least)
    notable = [name for name, share in shares.items() if share >= _NOTABLE]
    lines: tuple[tuple[str, str], ...] = ()
    if shares[main] >= _ALL:
        words = f"all {main}"
    elif shades >= _PHOTO_SHADES and len(notable) > 3:
        words = f"mostly {main}, many colours"
    elif shares[main] < 0.5:
        words = _joined(notable or [main])
    elif not hues:  # but for axes and words
        words = f"mostly {main}"
    elif sum(coloured.values()) >= _AREA:
        words = f"mostly {main} with {_joined(hues)} areas"
    else:
        lines = _courses(names, width, hues)
        article = "an" if hues[0][0] in "aeiou" else "a"
        one = f"{article} {hues[0]} line"
        words = f"mostly {main} with {one if len(hues) == 1 else f'{_joined(hues)} lines'}"
    return Picture(image.width, image.height, format_name, words, lines)


def _named(image: Image.Image) -> tuple[list[str], int, int]:
    """Return the name of each pixel's colour, how many shades there are, and the row's length."""
    from PIL import Image

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
    """Name one colour, three channels of 0..255, by its hue: a line's smoothed edges share it."""
    high, low = max(rgb), min(rgb)
    if high - low < 36:
        return "white" if high > 225 else "black" if high < 50 else "grey"
    hue = colorsys.rgb_to_hsv(*rgb)[0] * 360
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
        if len(heights) < width / 8:
            continue
        third = max(1, len(heights) // 3)
        thirds = heights[:third], heights[third:-third] or heights, heights[-third:]
        first, middle, last = (sum(part) / len(part) for part in thirds)
        if middle > max(first, last) + 0.05:
            course = "rises, then falls"
        elif middle < min(first, last) - 0.05:
            course = "falls, then rises"
        elif abs(last - first) < 0.05:
            course = "stays level"
        else:
            course = f"{'rises' if last > first else 'falls'} from left to right"
        courses.append((hue, course))
    return tuple(courses)
