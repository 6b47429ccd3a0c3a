"""A model call's body, read and refused as the service does it.

Knows the rules of the two model pages and of Anthropic's messages; decides nothing about the
answer.
"""

from __future__ import annotations

import base64
import binascii
import colorsys
import io
import json
import math
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

from segmind_jupyter.simulator.protocol import Refusal

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


#: Most bytes of one image in base64 (Anthropic's vision page says 5 MB; this is its safe reading).
MAX_BASE64_BYTES = 5_000_000

#: Media types that Claude models take, and what Pillow calls them.
_FORMATS = {"image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF", "image/webp": "WEBP"}

#: What Pillow's four decoders raise for bytes that are not, or not wholly, what they claim.
#: Warnings are here because a program may turn them into errors.
_UNREADABLE = (
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    zlib.error,
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One image that arrived and was decoded."""

    width: int
    height: int
    format: str
    colours: str

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {self.format}, {self.colours}"


def read_picture(source: object, *, max_side_px: int, where: str) -> Picture:
    """Decode the ``source`` of an image block."""
    media_type, data = _checked_source(source, where=where)
    image = _opened(_decoded(data, where=where), media_type=media_type, where=where)
    if max(image.size) > max_side_px:
        raise Refusal(
            400,
            f"{where}.image: {image.width}x{image.height} pixels, at most {max_side_px} a side",
        )
    return Picture(image.width, image.height, _FORMATS[media_type], _looks(image, where=where))


def _checked_source(source: object, *, where: str) -> tuple[str, str]:
    if not isinstance(source, dict) or source.get("type") != "base64":
        raise Refusal(400, f"{where}.image.source: must be an object of type base64")
    media_type, data = source.get("media_type"), source.get("data")
    if not isinstance(media_type, str) or media_type not in _FORMATS:
        raise Refusal(400, f"{where}.image.source.media_type: must be one of {', '.join(_FORMATS)}")
    if not isinstance(data, str) or not data:
        raise Refusal(400, f"{where}.image.source.data: must be a non-empty string")
    if len(data) > MAX_BASE64_BYTES:
        raise Refusal(
            400, f"{where}.image: {len(data)} bytes of base64, at most {MAX_BASE64_BYTES}"
        )
    return media_type, data


def _decoded(data: str, *, where: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, f"{where}.image.source.data: not valid base64") from error


def _opened(data: bytes, *, media_type: str, where: str) -> Image.Image:
    """Read the header alone: a small file can hold more pixels than there is memory for."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data), formats=list(_FORMATS.values()))
    except (*_UNREADABLE, Image.DecompressionBombError) as error:
        raise Refusal(400, f"{where}.image: could not be read as an image") from error
    if _format(image) != _FORMATS[media_type]:
        raise Refusal(400, f"{where}.image: said to be {media_type}, but is {_format(image)}")
    return image


def _format(image: Image.Image) -> str:
    """Name the file's format; phones write JPEGs with a second picture inside, named MPO."""
    return "JPEG" if image.format == "MPO" else str(image.format)


def _looks(image: Image.Image, *, where: str) -> str:
    try:
        return describe_colours(_on_white(image))
    except _UNREADABLE as error:
        raise Refusal(400, f"{where}.image: is damaged or incomplete") from error


def _on_white(image: Image.Image) -> Image.Image:
    """Return the first frame as RGB, what is transparent showing white."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16-bit grey: convert() would clip where it should scale
        image = _eight_bit(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    seen = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    def scaled(value: Any) -> Any:
        return value * (1 / 257) + 0.0

    return image.convert("I").point(scaled).convert("L")


#: Anthropic's vision page: images in one request, and the longest side of each in pixels,
#: which shrinks when there are many.
MAX_IMAGES = 100
MANY_IMAGES = 20
MAX_SIDE_PX = 8000
MAX_SIDE_OF_MANY_PX = 2000

#: Tokens of a reply where the request does not say.
DEFAULT_MAX_TOKENS = 4096


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
    instruction: str = ""
    max_tokens: int = DEFAULT_MAX_TOKENS
    schema: object = None

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
    fields = _fields(body)
    _check_sampling(fields)
    return ChatRequest(
        turns=_turns(fields.get("messages")),
        instruction=_instruction(fields.get("instruction")),
        max_tokens=_max_tokens(fields.get("max_tokens")),
        schema=_schema(fields.get("response_format")),
    )


def _refuse(message: str) -> NoReturn:
    raise Refusal(400, message)


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the body is not valid JSON") from error
    return fields if isinstance(fields, dict) else _refuse("the body must be a JSON object")


def _finite(literal: str) -> float:
    """Read a number; `json` would let NaN, Infinity and 1e999 through."""
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal} is no JSON number")
    return number


def _check_sampling(fields: dict[str, Any]) -> None:
    temperature = fields.get("temperature")
    if temperature is None:
        return
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        _refuse("temperature: must be a number")
    if not 0 <= temperature <= 1:
        _refuse("temperature: must be between 0 and 1")


def _instruction(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _refuse("instruction: must be a string")


def _max_tokens(value: object) -> int:
    if value is None:
        return DEFAULT_MAX_TOKENS
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _refuse("max_tokens: must be a whole number of at least 1")
    return value


def _schema(value: object) -> object:
    """Find the schema in both forms in use: under ``json_schema.schema``, or right there."""
    if value is None:
        return None
    if not isinstance(value, dict) or value.get("type") != "json_schema":
        _refuse("response_format: Claude models accept the type json_schema only")
    holder = value["json_schema"] if isinstance(value.get("json_schema"), dict) else value
    schema = holder.get("schema")
    return schema if isinstance(schema, dict) else _refuse("response_format: holds no schema")


def _turns(messages: object) -> tuple[Turn, ...]:
    if not isinstance(messages, list) or not messages:
        _refuse("messages: must be a list of at least one message")
    spoken = [_spoken(message, f"messages.{index}") for index, message in enumerate(messages)]
    if spoken[0][0] != "user":
        _refuse("messages.0: the first message must be the user's")
    max_side_px = _max_side_px([block for _, blocks in spoken for block in blocks])
    return tuple(
        _turn(role, blocks, where=f"messages.{index}", max_side_px=max_side_px)
        for index, (role, blocks) in enumerate(spoken)
    )


def _spoken(message: object, where: str) -> tuple[str, list[Any]]:
    if not isinstance(message, dict):
        _refuse(f"{where}: must be an object")
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant"):
        _refuse(f"{where}.role: must be user or assistant")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        _refuse(f"{where}.content: must be a string or a list of at least one block")
    return role, content


def _max_side_px(blocks: list[Any]) -> int:
    images = sum(isinstance(block, dict) and block.get("type") == "image" for block in blocks)
    if images > MAX_IMAGES:
        _refuse(f"messages: {images} images, at most {MAX_IMAGES} in one request")
    return MAX_SIDE_OF_MANY_PX if images > MANY_IMAGES else MAX_SIDE_PX


def _turn(role: str, blocks: list[Any], *, where: str, max_side_px: int) -> Turn:
    texts, pictures = [], []
    for index, block in enumerate(blocks):
        place = f"{where}.content.{index}"
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == "text":
            texts.append(_text(block, where=place))
        elif kind == "image":
            picture = read_picture(block.get("source"), max_side_px=max_side_px, where=place)
            pictures.append(picture)
        else:
            _refuse(f"{place}: must be a text or an image block")
    return Turn(role, tuple(texts), tuple(pictures))


def _text(block: dict[str, Any], *, where: str) -> str:
    text = block.get("text")
    if not isinstance(text, str):
        _refuse(f"{where}.text: must be a string")
    if not text.strip():
        _refuse(f"{where}: text content blocks must contain non-whitespace text")
    return text
