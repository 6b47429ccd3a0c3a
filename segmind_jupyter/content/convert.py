"""Any Python object becomes pieces of a prompt, and those become content blocks.

Asked in turn: what the user wants for the type, the entries of a container, the kinds that are
known by name, and IPython's display methods. What none of them knows goes as its text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from segmind_jupyter.content.documents import pdf_page, pdf_parts
from segmind_jupyter.content.files import (
    bytes_part,
    file_notes,
    is_image_bytes,
    is_image_path,
    path_part,
)
from segmind_jupyter.content.images.arrays import array_part, is_large_tensor, jax_part, torch_part
from segmind_jupyter.content.images.charts import encode_chart, is_chart
from segmind_jupyter.content.images.encode import encode_image, image_from_bytes, image_from_path
from segmind_jupyter.content.images.figures import encode_figure, is_figure
from segmind_jupyter.content.parts import (
    MAX_IMAGES,
    STANDARD,
    Convert,
    Image,
    Limits,
    Part,
    Scope,
    Text,
    format_error,
    is_kind,
    merged,
    safe_repr,
    safe_str,
    special_method,
    type_name,
    without_addresses,
)
from segmind_jupyter.content.register import (
    as_bytes,
    displayed_part,
    has_display,
    has_own_form,
    own_parts,
)
from segmind_jupyter.content.tables.others import (
    data_array_parts,
    dataset_part,
    describe_geometry,
    is_dot,
    is_network,
    is_window,
    refuse_window,
    summarize_dot,
    summarize_geo_frame,
    summarize_geo_series,
    summarize_groups,
    summarize_network,
    summarize_sparse,
    summarize_styler,
)
from segmind_jupyter.content.tables.summary import (
    describe_lazy_frame,
    summarize_frame,
    summarize_index,
    summarize_series,
)
from segmind_jupyter.content.text import (
    MAX_DEPTH,
    as_text,
    cut,
    encodable,
    entries,
    fenced,
    is_container,
    is_plain,
    listing,
    n_entries,
    plain_text,
    source_code,
    values,
)
from segmind_jupyter.errors import ContentError, SegmindError

#: Any entry may take this many characters, however many there are.
_MIN_ENTRY_CHARS = 200

#: Fewest characters of a value in a listing, its comma and space included: what comes after so
#: many values is not shown, so it is not looked at.
_VALUE_CHARS = 3

#: Larger arrays of Python objects stay closed: a list of so many alone takes a tenth of a second.
_OPENED_ELEMENTS = 1_000_000


def expand_container(obj: Any, scope: Scope, convert: Convert) -> list[Part] | None:
    """Make the pieces of a container; nothing if `obj` is none."""
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
    """Return what is read entry by entry: a container, or the lists that an array of objects holds.

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
    """Return the values in a container and in those inside it, and whether each is a leaf.

    Containers count too: a million empty ones hold no leaf. Each is entered once on its way.
    """
    container = _opened(obj)
    yield obj, container is None
    if container is not None and id(obj) not in around and len(around) < MAX_DEPTH:
        for value in values(container):
            yield from _met(value, (*around, id(obj)))


def _shared_figure(leaves: list[Any]) -> Any:
    """Return the figure that all the axes belong to, or `None`; ``plt.subplots`` returns such."""
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
    """Return whether a value is more than a word of a listing."""
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


_Test = Callable[[Any], bool]

#: Arrays up to this size read like a list of numbers where they stand in a container.
_SMALL_ELEMENTS = 10

#: Room for a fence around code, in characters.
_FENCE_CHARS = 40


def _always(_obj: object) -> bool:
    return True


def _never(_obj: object) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Converter:
    """One kind of object."""

    matches: _Test
    convert: Callable[..., Part | list[Part]]
    is_rich: _Test = _always


def known_kind(obj: object) -> Converter | None:
    """Find the kind of an object, or `None`."""
    return next((kind for kind in _KINDS if kind.matches(obj)), None)


def _is(package: str, *names: str) -> _Test:
    return lambda obj: is_kind(obj, package, *names)


def _of_type(*kinds: type) -> _Test:
    """Test the type, never ``__class__``, which a mock may borrow."""
    return lambda obj: issubclass(type(obj), kinds)


def _is_path(obj: object) -> bool:
    return special_method(obj, "__fspath__") is not None


def _unnamed(convert: Callable[..., Part | list[Part]]) -> Callable[..., Part | list[Part]]:
    """Adapt a function that has no use for the object's name."""
    return lambda obj, *, limits, name: convert(obj, limits=limits)


def _plain(obj: object, *, limits: Limits, name: str | None) -> Text:
    text = plain_text(obj)
    notes = file_notes(text, name) if name and issubclass(type(obj), str) else ()
    return replace(as_text(text, limits=limits), notes=notes)


def _is_large(array: Any) -> bool:
    return bool(array.ndim > 1 or array.size > _SMALL_ELEMENTS or array.dtype.kind == "O")


def _notebook_image(image: Any, *, limits: Limits) -> Image:
    if image.data:
        return image_from_bytes(as_bytes(image.data), limits=limits)
    if image.filename:
        return image_from_path(image.filename, limits=limits)
    raise ContentError(
        f"The image is only a link ({image.url}), and nothing is fetched. "
        "Download it first, and name the file or its bytes."
    )


def _notebook_text(shown: Any, *, limits: Limits) -> Text:
    return as_text(plain_text(shown.data), limits=limits, noun=type_name(shown), lines=True)


def _code(obj: Any, *, limits: Limits) -> Text:
    source = source_code(obj)
    if source is None:
        return as_text(safe_repr(obj), limits=limits)
    code = cut(source, max_chars=limits.text_chars - _FENCE_CHARS)
    about = f"source of {obj.__name__}, {len(source.splitlines()):,} lines"
    return as_text(fenced(code, language="python"), limits=limits, about=about, lines=True)


def _exception(error: BaseException, *, limits: Limits) -> Text:
    message = without_addresses(safe_str(str, error))
    return as_text(f"{type_name(error)}{': ' if message else ''}{message}", limits=limits)


#: Asked from the top: pandas before figures, since a column may be called "figure"; figures
#: before anything that is opened, since the bars of a plot are a tuple.
_KINDS = (
    Converter(is_plain, _plain, is_rich=_never),
    Converter(_is("geopandas", "GeoDataFrame"), summarize_geo_frame),
    Converter(_is("geopandas", "GeoSeries"), summarize_geo_series),
    Converter(_is("shapely", "BaseGeometry"), _unnamed(describe_geometry), is_rich=_never),
    Converter(_is("pandas", "DataFrame"), summarize_frame),
    Converter(_is("pandas", "Series"), summarize_series),
    Converter(_is("pandas", "Index"), summarize_index),
    Converter(_is("pandas", "Styler"), summarize_styler),
    Converter(_is("pandas", "GroupBy"), summarize_groups),
    Converter(is_window, refuse_window),
    Converter(_is("polars", "DataFrame"), summarize_frame),
    Converter(_is("pyarrow", "Table"), summarize_frame),
    Converter(_is("polars", "LazyFrame"), describe_lazy_frame),
    Converter(_is("polars", "Series"), summarize_series),
    Converter(_is("xarray", "DataArray"), data_array_parts),
    Converter(_is("xarray", "Dataset"), dataset_part),
    Converter(_is("torch", "Tensor"), torch_part, is_rich=is_large_tensor),
    Converter(_is("jaxlib", "ArrayImpl"), jax_part, is_rich=is_large_tensor),
    Converter(_is("scipy", "_spbase", "spmatrix"), summarize_sparse),
    Converter(_is("PIL", "Image"), _unnamed(encode_image)),
    Converter(_is("pypdfium2", "PdfDocument"), pdf_parts),
    Converter(_is("pypdfium2", "PdfPage"), _unnamed(pdf_page)),
    Converter(_is("numpy", "ndarray"), array_part, is_rich=_is_large),
    Converter(_is("IPython", "Image"), _unnamed(_notebook_image)),
    Converter(_is("IPython", "TextDisplayObject"), _unnamed(_notebook_text)),
    Converter(is_chart, _unnamed(encode_chart)),
    Converter(is_network, summarize_network),
    Converter(is_dot, _unnamed(summarize_dot)),
    Converter(is_figure, _unnamed(encode_figure)),
    Converter(_of_type(bytes, bytearray, memoryview), _unnamed(bytes_part), is_rich=is_image_bytes),
    Converter(_is_path, _unnamed(path_part), is_rich=is_image_path),
    Converter(
        _of_type(FunctionType, MethodType, BuiltinFunctionType, type), _unnamed(_code), _never
    ),
    Converter(_of_type(BaseException), _unnamed(_exception), is_rich=_never),
)


def to_blocks(
    obj: Any, *, name: str | None = None, limits: Limits = STANDARD
) -> list[dict[str, Any]]:
    """Turn any object into the content blocks of a message.

    Parameters
    ----------
    obj
        A figure, an image, an array, a DataFrame, text, a number, bytes, a path, a container of
        such, or anything else. A plain string is text, never a path.
    name
        What the user calls it; it labels tables and the entries of containers.
    limits
        How large images and texts may become.

    Returns
    -------
    list of dict
        Text and image blocks in the form that Segmind's page for Claude models shows, neighbouring
        texts joined, blank ones left out (Anthropic refuses them). Empty if nothing is left.

    Raises
    ------
    ContentError
        The object cannot be sent. The message says which part of it, and what to do.

    Examples
    --------
    >>> to_blocks({"a": 1})
    [{'type': 'text', 'text': "{'a': 1}"}]
    """
    return [part.wire() for part in merged(to_parts(obj, name=name, limits=limits))]


def to_parts(obj: Any, *, name: str | None = None, limits: Limits = STANDARD) -> list[Part]:
    """Turn any object into pieces of a prompt, as `to_blocks` does."""
    try:
        return _parts(obj, Scope(name or "", limits))
    except _UnsendableError as failure:
        where = f"`{failure.label}`: " if failure.label else ""
        raise ContentError(f"{where}{failure.reason}") from failure.__cause__


class _UnsendableError(Exception):
    """What failed, and at which label: made a `ContentError` at the door."""

    def __init__(self, label: str, reason: str) -> None:
        super().__init__(label, reason)
        self.label = label
        self.reason = reason


def _parts(obj: Any, scope: Scope) -> list[Part]:
    """Ask each source in turn; the innermost object that fails is the one that is named."""
    try:
        return _first_answer(obj, scope)
    except _UnsendableError:
        raise
    except ContentError as error:
        raise _UnsendableError(scope.label, str(error)) from error
    except SegmindError:
        raise
    except Exception as error:
        reason = (
            f"This {type_name(obj)} could not be read ({format_error(error)}). Name a part of it, "
            "or its text; or register() a form for its type."
        )
        raise _UnsendableError(scope.label, reason) from error


def _first_answer(obj: Any, scope: Scope) -> list[Part]:
    for source in (own_parts, expand_container):
        parts = source(obj, scope, _parts)
        if parts is not None:
            return parts
    kind = known_kind(obj)
    if kind is not None:
        found = kind.convert(obj, limits=scope.limits, name=scope.title)
        return found if isinstance(found, list) else [found]
    return [displayed_part(obj, limits=scope.limits) or _own_text(obj, scope.limits)]


def _own_text(obj: object, limits: Limits) -> Text:
    """Return the repr, or the ``str`` where only that says more than the type's name."""
    kind = type(obj)
    says_more = kind.__repr__ is object.__repr__ and kind.__str__ is not object.__str__
    text = without_addresses(safe_str(str, obj)) if says_more else safe_repr(obj)
    return as_text(text, limits=limits, noun=type_name(obj), lines="\n" in text)
