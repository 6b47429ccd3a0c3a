"""A container becomes one listing if it holds plain values, else its entries in order.

Figures, images and tables get lines of their own, under the label by which the user would reach
them; axes that share a figure become that figure, once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from segmind_jupyter.content.containers import (
    MAX_DEPTH,
    entries,
    is_container,
    listing,
    n_entries,
    values,
)
from segmind_jupyter.content.display import has_display
from segmind_jupyter.content.figures import encode_figure, is_figure
from segmind_jupyter.content.kinds import is_kind, type_name
from segmind_jupyter.content.known import known_kind
from segmind_jupyter.content.own_form import has_own_form
from segmind_jupyter.content.parts import MAX_IMAGES, Image, Limits, Part, Text
from segmind_jupyter.content.scope import Convert, Scope
from segmind_jupyter.content.text import as_text, encodable
from segmind_jupyter.errors import ContentError

#: Any entry may take this many characters, however many there are.
_MIN_ENTRY_CHARS = 200

#: Fewest characters of a value in a listing, its comma and space included: what comes after so
#: many values is not shown, so it is not looked at.
_VALUE_CHARS = 3

#: Larger arrays of Python objects stay closed: a list of so many alone takes a tenth of a second.
_OPENED_ELEMENTS = 1_000_000


def opened_parts(obj: Any, scope: Scope, convert: Convert) -> list[Part] | None:
    """Make the pieces of a container; nothing if `obj` is none.

    Raises
    ------
    ContentError
        It holds more than 100 images.
    """
    container = _opened(obj)
    if container is None:
        return None
    leaves = _first_leaves(container, scope.limits)
    figure = _shared_figure(leaves)
    if figure is not None:
        return [encode_figure(figure, limits=scope.limits)]
    if any(map(_is_rich, leaves)):
        return _entry_parts(container, scope.inside(obj), convert)
    return None if container is not obj else [_listed(obj, scope.limits)]


def _opened(obj: Any) -> Any:
    """Give what is read entry by entry: a container, or the lists that an array of objects holds.

    The bars of a plot are a tuple, and a user's own list may have a form: these stay closed.
    """
    if is_kind(obj, "numpy", "ndarray"):
        is_open = obj.dtype.kind == "O" and obj.ndim and obj.size <= _OPENED_ELEMENTS
        return obj.tolist() if is_open else None
    return obj if is_container(obj) and not _shows_itself(obj) else None


def _shows_itself(obj: Any) -> bool:
    return has_own_form(obj) or is_figure(obj) or has_display(obj)


def _listed(obj: Any, limits: Limits) -> Text:
    text = listing(obj, max_chars=limits.text_chars)
    noun = f"{type_name(obj)} of {n_entries(obj):,} items,"
    return as_text(text, limits=limits, noun=noun, lines="\n" in text)


def _first_leaves(obj: Any, limits: Limits) -> list[Any]:
    met = islice(_met(obj, ()), limits.text_chars // _VALUE_CHARS)
    return [value for value, is_leaf in met if is_leaf]


def _met(obj: Any, around: tuple[int, ...]) -> Iterator[tuple[Any, bool]]:
    """Give the values in a container and in those inside it, and whether each is a leaf.

    Containers count too: a million empty ones hold no leaf. Each is entered once on its way.
    """
    container = _opened(obj)
    yield obj, container is None
    if container is not None and id(obj) not in around and len(around) < MAX_DEPTH:
        for value in values(container):
            yield from _met(value, (*around, id(obj)))


def _shared_figure(leaves: list[Any]) -> Any:
    """Give the figure that all the axes belong to, or `None`; ``plt.subplots`` returns such."""
    if not leaves or not all(is_figure(leaf) and not has_own_form(leaf) for leaf in leaves):
        return None
    roots = {id(root): root for root in map(_root_figure, leaves)}
    return roots.popitem()[1] if len(roots) == 1 else None


def _root_figure(obj: Any) -> Any:
    """Follow ``.figure`` from axes to their figure, and from a part of a figure to the whole."""
    for _ in range(MAX_DEPTH):
        obj = getattr(obj, "figure", obj)
    return obj


def _is_rich(leaf: Any) -> bool:
    """Tell whether a value is more than a word of a listing."""
    if has_own_form(leaf):
        return True
    kind = known_kind(leaf)
    return has_display(leaf) if kind is None else kind.is_rich(leaf)


def _entry_parts(container: Any, scope: Scope, convert: Convert) -> list[Part]:
    """Make the pieces of each entry. What text an entry leaves over, the later ones may use."""
    parts: list[Part] = []
    left = scope.limits.text_chars
    for number, (step, value) in enumerate(entries(container)):
        if left <= 0:
            shown = f"[{number:,} of {n_entries(container):,} items shown]"
            return [*parts, Text(shown, inline=False)]
        share = max(left // max(1, n_entries(container) - number), _MIN_ENTRY_CHARS)
        entry = _entry(value, scope.inside(container, step, text_chars=share), convert)
        left -= sum(len(part.text) for part in entry if isinstance(part, Text))
        parts += entry
        _check_images(parts)
    return parts


def _entry(value: Any, scope: Scope, convert: Convert) -> list[Part]:
    leaves = _first_leaves(value, scope.limits)
    is_open = id(value) in scope.around or len(scope.around) >= MAX_DEPTH
    if is_open or not any(map(_is_rich, leaves)):
        line = f"{scope.label}: {listing(value, max_chars=scope.limits.text_chars)}"
        return [Text(encodable(line), inline=False)]
    parts = convert(value, scope)
    has_labels = _opened(value) is not None and isinstance(parts[0], Text)
    return parts if has_labels else [Text(f"{scope.label}:", inline=False), *parts]


def _check_images(parts: list[Part]) -> None:
    if sum(isinstance(part, Image) for part in parts) > MAX_IMAGES:
        raise ContentError(
            f"It holds more than {MAX_IMAGES} images, and a request takes no more. "
            "Send fewer of them at a time."
        )
