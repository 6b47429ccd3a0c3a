"""Finds the JSON in a text: alone, in a fence, or with prose around it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

#: Where a JSON value that is worth looking for begins.
_OPENING = re.compile(r"[{\[]")

#: How many beginnings that lead nowhere are tried: a text of opening brackets has as many as
#: characters, and each try may read it all.
_MAX_FALSE_STARTS = 300


def json_values(text: str) -> Iterator[Any]:
    """Give each JSON value of a text, the likeliest first.

    The whole text; each fenced block as a whole, the last one first, since a model that shows a
    form or a draft in a block gives its answer in a later one; then, in their order, the objects
    and arrays that stand anywhere: in prose a footnote such as ``[1]`` may come last. What is
    inside one of those is not given on its own, nor what was read of
    one that breaks off or is malformed: a part would pass for the whole.
    """
    yield from _whole(text)
    for block in reversed(_fenced(text)):
        yield from _whole(block)
    yield from _embedded(text)


def _whole(text: str) -> Iterator[Any]:
    try:
        yield _DECODER.decode(text.strip())
    except (ValueError, RecursionError):
        return


def _fenced(text: str) -> list[str]:
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark").parse(text)
    return [token.content for token in tokens if token.type == "fence"]


def _embedded(text: str) -> Iterator[Any]:
    position, false_starts = 0, 0
    while false_starts < _MAX_FALSE_STARTS and (match := _OPENING.search(text, position)):
        try:
            value, position = _DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError) as error:
            # Further on than where it was read to, as far as that is known.
            position, false_starts = getattr(error, "pos", match.end()), false_starts + 1
            if text.startswith('"', position):  # within a string, or where a comma is missing
                return
        else:
            yield value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


#: Without NaN and Infinity, which `json` would take by itself.
_DECODER = json.JSONDecoder(parse_constant=_refuse)
