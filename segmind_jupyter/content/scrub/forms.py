"""In which forms a secret may stand in a text: as its own type writes it, quoted, or encoded."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote, quote_plus
from uuid import UUID

from segmind_jupyter.content.kinds import is_kind
from segmind_jupyter.errors import plain

#: Numbers of fewer digits are counts and versions more often than secrets.
_MIN_DIGITS: Final = 4

#: Integers of more bits are not written out, as that takes its time; a key of RSA has 4096.
_MAX_BITS: Final = 8_192

#: Base64 writes three bytes as four characters of six bits.
_BASE64_BYTES, _BITS_PER_CHARACTER = 3, 6

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def spellings(value: object) -> Iterator[str]:
    """Give a value as its type writes it, without running code of its own; most types give none.

    Parameters
    ----------
    value
        A text, bytes, a number of at least four digits (without its sign), a UUID.
    """
    kind: type = type(value)
    if issubclass(kind, str):
        yield str.__str__(value)
    elif issubclass(kind, bytes | bytearray):
        yield from _of_bytes(b"".join([value]))  # type: ignore[list-item]
    elif kind is UUID:
        yield str(value)
    elif (number := _number(value)) and sum(map(str.isdigit, number)) >= _MIN_DIGITS:
        yield number


def forms(secret: str) -> set[str]:
    """Give the ways in which a text may hold a secret.

    Parameters
    ----------
    secret
        One of its `spellings`.
    """
    data = secret.encode("utf-8", "surrogatepass")
    written = {secret, plain(secret), _bytes_body(data), *_other_spellings(secret)}
    quoted = {form for each in written for form in (repr(each)[1:-1], json.dumps(each)[1:-1])}
    in_urls = {quote(data), quote(data, safe=""), quote_plus(data)}
    return written | quoted | in_urls | {data.hex(), *_within_base64(data)}


def _of_bytes(value: bytes) -> Iterator[str]:
    try:
        yield value.decode()
    except UnicodeDecodeError:  # none of these forms follows from the text
        yield from (value.decode("utf-8", "replace"), _bytes_body(value), value.hex())
        yield from _within_base64(value)


def _bytes_body(value: bytes) -> str:
    return repr(value)[2:-1]


def _number(value: Any) -> str | None:
    kind: type = type(value)
    if issubclass(kind, int) and kind is not bool:
        small = int.bit_length(value) <= _MAX_BITS
        return int.__repr__(value).lstrip("-") if small else None
    if issubclass(kind, float):
        return float.__repr__(value).lstrip("-")
    if issubclass(kind, Decimal):
        return Decimal.__str__(value).lstrip("-")
    if kind.__module__ == "numpy" and is_kind(value, "numpy", "integer", "floating"):
        return str(value.item()).lstrip("-")
    return None


def _other_spellings(secret: str) -> Iterator[str]:
    """Give the other usual ways to write a whole number or a UUID."""
    if secret.isascii() and secret.isdigit() and len(secret) <= _MAX_BITS // 4:
        number = int(secret)
        yield from (f"{number:,}", f"{number:_}", hex(number))
    if _UUID.fullmatch(secret.lower()):
        unique = UUID(secret)
        yield from (str(unique), unique.hex, str(unique).upper(), unique.hex.upper())
        yield str(unique.int)


def _within_base64(secret: bytes) -> Iterator[str]:
    """Give what base64 makes of a secret, alone or behind anything, as in ``user:password``.

    It depends on the place modulo three. The characters at the two ends, which hold bits of what
    stands beside the secret, are left out.
    """
    for before in range(_BASE64_BYTES):
        padded = b"\0" * before + secret
        first = -(-8 * before // _BITS_PER_CHARACTER)
        core = base64.b64encode(padded)[first : 8 * len(padded) // _BITS_PER_CHARACTER].decode()
        yield from (core, core.replace("+", "-").replace("/", "_"))
