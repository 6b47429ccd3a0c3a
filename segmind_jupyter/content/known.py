"""The kinds of objects that are known by name, and what a single one of each becomes.

A table, asked from the top. Knows nothing of containers and of the forms that objects give
themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from segmind_jupyter.content.arrays import array_part
from segmind_jupyter.content.charts import encode_chart, is_chart
from segmind_jupyter.content.display import as_bytes
from segmind_jupyter.content.figures import encode_figure, is_figure
from segmind_jupyter.content.file_names import file_notes
from segmind_jupyter.content.files import bytes_part, is_image_bytes, is_image_path, path_part
from segmind_jupyter.content.geoframes import (
    describe_geometry,
    summarize_geo_frame,
    summarize_geo_series,
)
from segmind_jupyter.content.graphs import is_dot, is_network, summarize_dot, summarize_network
from segmind_jupyter.content.groups import is_window, refuse_window, summarize_groups
from segmind_jupyter.content.images import (
    encode_image,
    image_from_bytes,
    image_from_path,
)
from segmind_jupyter.content.kinds import (
    attempted,
    hook,
    is_kind,
    safe_repr,
    type_name,
    without_addresses,
)
from segmind_jupyter.content.parts import Image, Limits, Part, Text
from segmind_jupyter.content.polars_tables import (
    describe_lazy_frame,
    summarize_polars_frame,
    summarize_polars_series,
)
from segmind_jupyter.content.source import source_code
from segmind_jupyter.content.sparse import summarize_sparse
from segmind_jupyter.content.styler import summarize_styler
from segmind_jupyter.content.tables import summarize_frame, summarize_index, summarize_series
from segmind_jupyter.content.tensors import is_large_tensor, jax_part, torch_part
from segmind_jupyter.content.text import as_text, cut, fenced, is_plain, plain_text
from segmind_jupyter.content.xarrays import data_array_parts, dataset_part
from segmind_jupyter.errors import ContentError

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
class Kind:
    """One kind of object.

    Parameters
    ----------
    matches
        Whether an object is of the kind.
    convert
        Makes the piece of an object, or several; takes `limits`, and `name`, what the user calls
        it.
    is_rich
        Whether such an object is more than a word: inside a container it gets its own lines.
    """

    matches: _Test
    convert: Callable[..., Part | list[Part]]
    is_rich: _Test = _always


def known_kind(obj: object) -> Kind | None:
    """Find the kind of an object, or `None`."""
    return next((kind for kind in _KINDS if kind.matches(obj)), None)


def _is(package: str, *names: str) -> _Test:
    return lambda obj: is_kind(obj, package, *names)


def _of_type(*kinds: type) -> _Test:
    """Test the type, never ``__class__``, which a mock may borrow."""
    return lambda obj: issubclass(type(obj), kinds)


def _is_path(obj: object) -> bool:
    return hook(obj, "__fspath__") is not None


def _unnamed(convert: Callable[..., Part]) -> Callable[..., Part]:
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
    message = without_addresses(attempted(str, error))
    return as_text(f"{type_name(error)}{': ' if message else ''}{message}", limits=limits)


#: Asked from the top: pandas before figures, since a column may be called "figure"; figures
#: before anything that is opened, since the bars of a plot are a tuple.
_KINDS = (
    Kind(is_plain, _plain, is_rich=_never),
    Kind(_is("geopandas", "GeoDataFrame"), summarize_geo_frame),
    Kind(_is("geopandas", "GeoSeries"), summarize_geo_series),
    Kind(_is("shapely", "BaseGeometry"), _unnamed(describe_geometry), is_rich=_never),
    Kind(_is("pandas", "DataFrame"), summarize_frame),
    Kind(_is("pandas", "Series"), summarize_series),
    Kind(_is("pandas", "Index"), summarize_index),
    Kind(_is("pandas", "Styler"), summarize_styler),
    Kind(_is("pandas", "GroupBy"), summarize_groups),
    Kind(is_window, refuse_window),
    Kind(_is("polars", "DataFrame"), summarize_polars_frame),
    Kind(_is("polars", "LazyFrame"), describe_lazy_frame),
    Kind(_is("polars", "Series"), summarize_polars_series),
    Kind(_is("xarray", "DataArray"), data_array_parts),
    Kind(_is("xarray", "Dataset"), dataset_part),
    Kind(_is("torch", "Tensor"), torch_part, is_rich=is_large_tensor),
    Kind(_is("jaxlib", "ArrayImpl"), jax_part, is_rich=is_large_tensor),
    Kind(_is("scipy", "_spbase", "spmatrix"), summarize_sparse),
    Kind(_is("PIL", "Image"), _unnamed(encode_image)),
    Kind(_is("numpy", "ndarray"), array_part, is_rich=_is_large),
    Kind(_is("IPython", "Image"), _unnamed(_notebook_image)),
    Kind(_is("IPython", "TextDisplayObject"), _unnamed(_notebook_text)),
    Kind(is_chart, _unnamed(encode_chart)),
    Kind(is_network, summarize_network),
    Kind(is_dot, _unnamed(summarize_dot)),
    Kind(is_figure, _unnamed(encode_figure)),
    Kind(_of_type(bytes, bytearray, memoryview), _unnamed(bytes_part), is_rich=is_image_bytes),
    Kind(_is_path, _unnamed(path_part), is_rich=is_image_path),
    Kind(_of_type(FunctionType, MethodType, BuiltinFunctionType, type), _unnamed(_code), _never),
    Kind(_of_type(BaseException), _unnamed(_exception), is_rich=_never),
)
