"""Any Python object becomes pieces of a prompt, and those become content blocks.

Asked in turn: what the user wants for the type, the entries of a container, the converters of
known types, and IPython's display methods. What none of them knows goes as its text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final

from segmind_jupyter.content import files, register, special_tables, tables, text
from segmind_jupyter.content.documents import notebook_parts, pdf_page, pdf_parts
from segmind_jupyter.content.images import figures
from segmind_jupyter.content.images.arrays import array_part, is_large_array, jax_part, torch_part
from segmind_jupyter.content.images.encode import encode_image, image_from_bytes
from segmind_jupyter.content.images.figures import encode_figure, is_figure
from segmind_jupyter.content.parts import (
    MAX_IMAGES,
    STANDARD,
    Image,
    Limits,
    Part,
    Scope,
    Text,
    is_kind,
    merged,
    naming_failures,
    safe_repr,
    safe_str,
    special_method,
    type_name,
    without_addresses,
)
from segmind_jupyter.errors import ContentError
from segmind_jupyter.words import encodable

#: A longer listing stands on lines of its own.
_LINE_CHARS: Final = 88


def to_blocks(
    obj: Any,
    *,
    name: str | None = None,
    limits: Limits = STANDARD,
    pages: Iterable[int] | None = None,
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
    pages
        Numbers of the pages that go of a PDF, counted from one; without them the first ten go.

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
    if pages is None:
        parts = to_parts(obj, name=name, limits=limits)
    else:
        parts = pdf_parts(obj, name=name, limits=limits, pages=pages)
    return [part.wire() for part in merged(parts)]


def to_parts(obj: Any, *, name: str | None = None, limits: Limits = STANDARD) -> list[Part]:
    """Turn any object into pieces of a prompt, as `to_blocks` does."""
    return _parts(obj, Scope(name or "", limits))


def _parts(obj: Any, scope: Scope) -> list[Part]:
    """Ask each source in turn; the innermost object that fails is the one that is named."""
    what = f"This {type_name(obj)} could not be read"
    advice = "Name a part of it, or its text; or register() a form for its type."
    try:
        with naming_failures(what, advice):
            own = register.own_parts(obj, scope, _parts)
            parts = _expanded(obj, scope) if own is None else own
            return _converted(obj, scope) if parts is None else parts
    except ContentError as error:
        if not scope.label or isinstance(error.__cause__, ContentError):  # it has the label
            raise
        raise ContentError(f"`{scope.label}`: {error}") from error


def _converted(obj: Any, scope: Scope) -> list[Part]:
    """Make the pieces of an object by its type, else by what it displays or says of itself."""
    converter = known_converter(obj)
    if converter is None:
        if displayed := register.displayed_part(obj, limits=scope.limits):
            return [displayed]
        # Its repr, or its `str` where only that says more than the type's name.
        kind: Any = type(obj)
        says_more = kind.__repr__ is object.__repr__ and kind.__str__ is not object.__str__
        said = without_addresses(safe_str(str, obj)) if says_more else safe_repr(obj)
        return [text.as_text(said, limits=scope.limits, noun=type_name(obj), lines="\n" in said)]
    found = converter.convert(obj, limits=scope.limits, name=scope.title)
    return found if isinstance(found, list) else [found]


def _expanded(obj: Any, scope: Scope) -> list[Part] | None:
    """Make the pieces of a container; nothing if `obj` is none."""
    container = _opened(obj)
    if container is None:
        return None
    leaves = _first_leaves(container, scope.limits)
    if leaves and all(is_figure(leaf) and not register.has_own_form(leaf) for leaf in leaves):
        roots = {id(root): root for root in map(_root_figure, leaves)}
        if len(roots) == 1:
            return [encode_figure(roots.popitem()[1], limits=scope.limits)]
    are_files = bool(leaves) and all(map(_is_path, leaves))
    if are_files or any(map(_is_rich, leaves)):
        return _entry_parts(container, scope.inside(obj), are_files=are_files)
    if container is not obj:
        return None
    if isinstance(obj, list | tuple | set | frozenset):  # a mapping's are settings
        names = scope.label or "names"
        files.refuse_file_names(leaves, f"list(map(Path, {names}))")
    said, left_out = text.listed(obj, max_chars=scope.limits.text_chars)
    noun = f"{type_name(obj)} of {text.n_entries(obj):,} items,"
    is_long = len(said) > _LINE_CHARS
    whole = text.as_text(said, limits=scope.limits, noun=noun, lines=is_long or "\n" in said)
    return [replace(whole, left_out=left_out)]


def _opened(obj: Any) -> Any:
    """Return what is read entry by entry: a container, or the lists of an array of objects."""
    if is_kind(obj, "numpy", "ndarray"):
        is_open = obj.dtype.kind == "O" and obj.ndim and obj.size <= 1_000_000
        return obj.tolist() if is_open else None
    # The bars of a plot are a tuple, and a user's own list may have a form.
    has_form = register.has_own_form(obj) or is_figure(obj) or register.has_display(obj)
    return obj if text.is_container(obj) and not has_form else None


def _first_leaves(obj: Any, limits: Limits) -> list[Any]:
    """Return the first values that are not opened, among as many as a listing could show."""

    def walk(obj: Any, around: tuple[int, ...]) -> Iterator[tuple[Any, bool]]:
        container = _opened(obj)
        yield obj, container is None
        if container is not None and id(obj) not in around and len(around) < text.MAX_DEPTH:
            for _, value in text.entries(container):
                yield from walk(value, (*around, id(obj)))

    # A value takes three characters at least: what comes after so many is not shown.
    met = islice(walk(obj, ()), limits.text_chars // 3)
    return [value for value, is_leaf in met if is_leaf]


def _root_figure(obj: Any) -> Any:
    """Follow ``.figure`` from axes to their figure, and from a part of a figure to the whole."""
    for _ in range(text.MAX_DEPTH):
        obj = getattr(obj, "figure", obj)
    return obj


def _is_rich(leaf: Any) -> bool:
    """Return whether a value is more than a word of a listing."""
    if register.has_own_form(leaf):
        return True
    converter = known_converter(leaf)
    return register.has_display(leaf) if converter is None else converter.is_rich(leaf)


def _entry_parts(container: Any, scope: Scope, *, are_files: bool) -> list[Part]:
    """Make the pieces of each entry. What text an entry leaves over, the later ones may use."""
    parts: list[Part] = []
    left, total = scope.limits.text_chars, text.n_entries(container)
    for number, (step, value) in enumerate(text.entries(container)):
        if value is None and isinstance(container, list):  # one that was not found, or not read
            raise ContentError(f"{scope.label or 'It'}{step} is None. Leave it out, or mend it.")
        if left <= 0:
            shown = f"{number:,} of {total:,} items"
            return [*parts, Text(f"[{shown} shown]", inline=False, left_out=shown)]
        share = max(left // max(1, total - number), 200)  # however many there are
        inner = scope.inside(container, step, text_chars=share)
        is_open = id(value) in inner.around or len(inner.around) >= text.MAX_DEPTH
        if is_open or not (are_files or any(map(_is_rich, _first_leaves(value, inner.limits)))):
            line = f"{inner.label}: {text.listing(value, max_chars=share)}"
            entry: list[Part] = [Text(encodable(line), inline=False)]
        else:
            entry = _parts(value, inner)
            if _opened(value) is None or not isinstance(entry[0], Text):  # else it has labels
                entry = [Text(f"{inner.label}:", inline=False), *entry]
        left -= sum(len(part.text) for part in entry if isinstance(part, Text))
        parts += entry
        if sum(isinstance(part, Image) for part in parts) > MAX_IMAGES:
            raise ContentError(
                f"It holds more than {MAX_IMAGES} images, and a request takes no more. "
                "Send fewer of them at a time."
            )
    return parts


@dataclass(frozen=True, slots=True)
class Converter:
    """What is done with objects of a type, told by the names in its ancestry or by a test."""

    package: str
    classes: tuple[str, ...]
    convert: Callable[..., Part | list[Part]]
    #: Its size in a few characters (``"3×4"``); of objects of these classes alone.
    describe: Callable[[Any], str] | None = None
    #: Whether it is more than a word where it stands in a container.
    is_rich: Callable[[Any], bool] = lambda _: True
    matches: Callable[[Any], bool] | None = None


def known_converter(obj: object) -> Converter | None:
    """Find the converter for an object, or `None`."""
    rows = (row for row in _CONVERTERS if not row.matches or row.matches(obj))
    return next((r for r in rows if r.matches or is_kind(obj, r.package, *r.classes)), None)


def size_of(obj: Any) -> str:
    """Say how large a picture or a table is; nothing of what is neither."""
    for row in _CONVERTERS:
        if row.describe and is_kind(obj, row.package, *row.classes):
            with suppress(Exception):  # a half-made object, or a namesake of the class
                return row.describe(obj)
    return ""


def _shape(obj: Any) -> str:
    return "×".join(f"{int(side)}" for side in obj.shape)


def _unnamed(convert: Callable[..., Part | list[Part]]) -> Callable[..., Part | list[Part]]:
    """Adapt a function that has no use for the object's name."""
    return lambda obj, *, limits, name: convert(obj, limits=limits)


def _never(_obj: object) -> bool:
    return False


def _plain(obj: object, *, limits: Limits, name: str | None) -> Text:
    said = text.plain_text(obj)
    if name and issubclass(type(obj), str):
        files.refuse_file_names([said], f"Path({name})")
    return text.as_text(said, limits=limits)


def _is_path(obj: object) -> bool:
    return special_method(obj, "__fspath__") is not None


def _file_part(file: Any, *, limits: Limits) -> Part | list[Part]:
    """Read an open file, or bytes in memory, from the beginning; its position stays."""
    raw = getattr(file, "buffer", file)  # of a text; bytes in memory may have a name too
    if is_kind(getattr(raw, "raw", raw), "_io", "FileIO") and isinstance(file.name, str):
        return files.path_part(Path(file.name), limits=limits)
    if not file.seekable():
        raise ContentError("What it holds can be read once. Name what its .read() gives.")
    position = file.tell()
    file.seek(0)
    held = file.read()
    file.seek(position)
    if isinstance(held, str):
        return text.as_text(held, limits=limits, lines="\n" in held)
    return files.bytes_part(held, limits=limits)


def _notebook(notebook: Any, *, limits: Limits, name: str | None) -> list[Part]:
    return notebook_parts(json.dumps(notebook).encode(), name=name or "it", limits=limits)


def _notebook_image(image: Any, *, limits: Limits) -> Part | list[Part]:
    if image.data:
        return image_from_bytes(register.as_bytes(image.data), limits=limits)
    if image.filename:
        return files.path_part(Path(image.filename), limits=limits)
    raise ContentError(
        f"The image is only a link ({image.url}), and nothing is fetched. "
        "Download it first, and name the file or its bytes."
    )


def _notebook_text(shown: Any, *, limits: Limits) -> Text:
    said = text.plain_text(shown.data)
    return text.as_text(said, limits=limits, noun=type_name(shown), lines=True)


def _widget_output(widget: Any, *, limits: Limits) -> list[Part]:
    """Send what an `ipywidgets.Output` shows."""
    parts: list[Part] = []
    for output in widget.outputs:
        if "data" in output:
            part = register.best_form(output["data"], limits=limits)
        else:  # a stream, or an error
            said = output.get("text") or f"{output.get('ename')}: {output.get('evalue')}"
            part = text.as_text(str(said), limits=limits, lines=True)
        parts += [part] if part else []
    if not parts:
        raise ContentError("The Output shows nothing. Name it when something is in it.")
    return parts


def _widget(widget: Any, *, limits: Limits, name: str | None) -> list[Part]:
    """Send what is in a box, the files of an upload, or what a label or a picture shows."""
    held = widget.children if is_kind(widget, "ipywidgets", "Box") else widget.value
    if is_kind(widget, "ipywidgets", "FileUpload"):
        held = {file["name"]: bytes(file["content"]) for file in held}
    return to_parts(held, name=name, limits=limits)


def _code(obj: Any, *, limits: Limits) -> Text:
    source = text.source_code(obj)
    if source is None:
        return text.as_text(safe_repr(obj), limits=limits)
    about = f"source of {obj.__name__}, {len(source.splitlines()):,} lines"
    code = text.cut(encodable(source), max_chars=limits.text_chars - 40)  # room for the fence
    left_out = text.of_all(len(code), len(source), "character") if len(code) < len(source) else ""
    fence = text.fenced(code, language="python")
    return Text(fence, about=about, inline=False, left_out=left_out)


_CODE: Final = ("function", "method", "builtin_function_or_method", "type")
_BYTES: Final = ("bytes", "bytearray", "memoryview")
_Row = Converter

#: Asked from the top: pandas before figures, since a column may be called "figure"; figures
#: before anything that is opened, since the bars of a plot are a tuple.
_CONVERTERS: Final = (
    _Row("", (), _plain, is_rich=_never, matches=text.is_plain),
    _Row("geopandas", ("GeoDataFrame", "GeoSeries"), special_tables.summarize_geo, _shape),
    _Row("pandas", ("DataFrame", "Series", "Index"), tables.summarize_table, _shape),
    _Row("polars", ("DataFrame", "Series"), tables.summarize_table, _shape),
    _Row("pyarrow", ("Table",), tables.summarize_table, _shape),
    _Row("xarray", ("DataArray",), special_tables.summarize_data_array, _shape),
    _Row("xarray", ("Dataset",), special_tables.summarize_dataset),
    _Row("torch", ("Tensor",), torch_part, _shape, is_rich=is_large_array),
    _Row("jaxlib", ("ArrayImpl",), jax_part, _shape, is_rich=is_large_array),
    _Row("scipy", ("_spbase", "spmatrix"), special_tables.summarize_sparse, _shape),
    _Row("PIL", ("Image",), _unnamed(encode_image), lambda image: "{}×{}".format(*image.size)),
    _Row("pypdfium2", ("PdfDocument",), pdf_parts),
    _Row("pypdfium2", ("PdfPage",), _unnamed(pdf_page)),
    _Row("numpy", ("ndarray",), array_part, _shape, is_rich=is_large_array),
    _Row("", (), _notebook, matches=text.is_notebook),
    _Row("IPython", ("Image",), _unnamed(_notebook_image)),
    _Row("IPython", ("TextDisplayObject",), _unnamed(_notebook_text)),
    _Row("ipywidgets", ("Output",), _unnamed(_widget_output)),
    # Of the others their own text: it has options and names, and no password.
    _Row("ipywidgets", ("Box", "FileUpload", "Label", "Image", "Audio", "Video"), _widget),
    _Row("plotly", ("BaseFigure",), _unnamed(figures.encode_plotly)),
    _Row("altair", ("TopLevelMixin", "JupyterChart"), _unnamed(figures.encode_altair)),
    _Row("bokeh", ("UIElement", "LayoutDOM"), _unnamed(figures.encode_bokeh)),
    _Row("networkx", ("Graph",), special_tables.summarize_network),
    _Row(
        "matplotlib",
        ("Figure",),
        _unnamed(encode_figure),
        lambda figure: "{:g}×{:g} in".format(*figure.get_size_inches()),
        matches=is_figure,
    ),
    _Row("builtins", _BYTES, _unnamed(files.bytes_part), is_rich=files.is_image_bytes),
    _Row("", (), _unnamed(files.path_part), is_rich=files.is_image_path, matches=_is_path),
    _Row("_io", ("_IOBase",), _unnamed(_file_part)),
    _Row("builtins", _CODE, _unnamed(_code), is_rich=_never),
)
