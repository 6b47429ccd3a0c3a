"""What the server sent: bounded, decoded, and with the key blanked out should it be quoted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from segmind_jupyter.api.errors import detail_of
from segmind_jupyter.api.retry import parse_retry_after
from segmind_jupyter.errors import shortened

#: More than any answer has; what comes after it is not read.
MAX_ANSWER_BYTES: Final = 32_000_000

#: Blanks the key out of a text.
Scrub = Callable[[str], str]


class OversizedError(Exception):
    """An answer that goes on for ever, or a small one that unpacks to gigabytes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read to its end.

    Parameters
    ----------
    status
        The HTTP status code.
    headers
        By name in lower case, scrubbed.
    text
        The body, scrubbed.
    scrub
        What blanks the key out; once more after decoding, as escapes hide it on the wire.
    """

    status: int
    headers: Mapping[str, str]
    text: str = field(repr=False)
    scrub: Scrub = field(repr=False)

    @property
    def request_id(self) -> str | None:
        """The gateway's id of the request."""
        return shortened(self.headers.get("x-request-id", "")) or None

    @property
    def retry_after_s(self) -> float | None:
        """Seconds after which the server wants to be asked again, where it says so."""
        return parse_retry_after(self.headers.get("retry-after"))

    @property
    def detail(self) -> str | None:
        """The server's own words about an error."""
        detail = detail_of(self.text)
        return self.scrub(detail) if detail else None

    def json(self) -> Any:
        """Parse the body.

        Raises
        ------
        ValueError
            It is no JSON, or nested too deeply.
        """
        try:
            return self._scrubbed(json.loads(self.text, parse_int=_whole_number))
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def _scrubbed(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.scrub(value)
        if isinstance(value, list):
            return [self._scrubbed(item) for item in value]
        if isinstance(value, dict):
            return {self.scrub(name): self._scrubbed(item) for name, item in value.items()}
        return value


def _whole_number(digits: str) -> int | float:
    """Read a JSON integer; Python refuses to convert one of thousands of digits."""
    return int(digits) if len(digits) < 100 else math.inf


async def read(response: httpx.Response, *, scrub: Scrub) -> Answer:
    """Read a streamed response to its end, and close it.

    Raises
    ------
    OversizedError
        It is longer than `MAX_ANSWER_BYTES`, unpacked.
    httpx.HTTPError
        The connection broke, or the body does not decode.
    """
    data = bytearray()
    try:
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) > MAX_ANSWER_BYTES:
                raise OversizedError(f"the answer is over {MAX_ANSWER_BYTES:,} bytes")
    finally:
        await response.aclose()
    headers = {name: scrub(value) for name, value in response.headers.items()}
    text = data.decode(json.detect_encoding(bytes(data)), errors="replace")
    return Answer(response.status_code, headers, scrub(text), scrub)
