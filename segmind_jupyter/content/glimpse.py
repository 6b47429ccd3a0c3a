"""A value in one short line, by its type: enough to see what went wrong, never its whole content.

No code of the value's own type is run: a repr can raise, hang, or be a gigabyte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from segmind_jupyter.content.kinds import is_kind, type_name
from segmind_jupyter.content.scrub import HIDDEN, hides, scrubbed
from segmind_jupyter.content.scrub.values import attributes_of, item_names
from segmind_jupyter.content.text import one_line

#: Longest written form of a value inside another, and of a text, in characters.
_INNER_CHARS: Final = 60
_TEXT_CHARS: Final = 120

#: Of a text, no more than this is searched for secrets.
_SEARCHED_CHARS: Final = 4_000

#: Entries that are shown with their values, and names that are shown without.
_ENTRIES: Final = 6
_NAMES: Final = 40

#: How many containers deep values are shown.
_DEPTH: Final = 2

#: Longest line on a table that tells the type of each column beside its name, in characters.
_TYPED_CHARS: Final = 400

#: Integers of more bits are described, as writing them out takes its time.
_WRITTEN_BITS: Final = 256

_COLLECTIONS: Final = (list, tuple, set, frozenset)

#: Tables and arrays, which say by attributes of their own what they are.
_TABLES: Final = {"pandas": ("DataFrame",), "polars": ("DataFrame",)}
_ARRAYS: Final = {
    "numpy": ("ndarray",), "pandas": ("Series", "Index"), "torch": ("Tensor",),
    "jaxlib": ("Array", "ArrayImpl"), "polars": ("Series",), "xarray": ("DataArray",),
}  # fmt: skip


def glimpse(
    value: object, *, name: str = "", clean: Callable[[str], str] = scrubbed, max_chars: int = 400
) -> str:
    """Describe a value on one line.

    Parameters
    ----------
    value
        Anything.
    name
        What it is called; of a secret only the type is told.
    clean
        Blanks secrets out of a text, before it is cut.
    max_chars
        Longest line, in characters.
    """
    if is_secret(name, value):
        return f"{HIDDEN} ({type_name(value)})"
    return one_line(_Glimpse(clean).of(value, depth=_DEPTH), max_chars=max_chars)


def is_secret(name: str, value: object) -> bool:
    """Tell whether a value is a secret; that there is none is no secret."""
    tells_nothing = value is None or type(value) is bool or value in ("",) * (type(value) is str)
    return not tells_nothing and hides(name, _text(value))


def _text(value: object) -> str | None:
    return str.__str__(value) if issubclass(type(value), str) else None


@dataclass(frozen=True)
class _Glimpse:
    """Describes values down to a depth; `clean` blanks secrets out of their texts."""

    clean: Callable[[str], str]

    def of(self, value: Any, *, depth: int) -> str:
        kind = type(value)
        if value is None or kind in (bool, float, complex):
            return self.clean(repr(value))
        if issubclass(kind, int):
            return self.clean(_whole_number(value))
        if issubclass(kind, str):
            return self._words(str.__str__(value))
        if issubclass(kind, bytes | bytearray):
            return f"{kind.__name__} of {len(value):,}"
        if issubclass(kind, dict):
            return self._mapping(value, depth=depth)
        if issubclass(kind, list | tuple | set | frozenset):
            return self._collection(value, depth=depth)
        return _named(value) or self._table(value, depth=depth) or _array(value) or _object(value)

    def _words(self, text: str) -> str:
        shown = self.clean(text[:_SEARCHED_CHARS])
        if len(text) <= _TEXT_CHARS:
            return repr(shown)
        return f"{shown[:_TEXT_CHARS]!r}… ({len(text):,} characters)"

    def _mapping(self, value: dict[Any, Any], *, depth: int) -> str:
        """Show the first entries, and the keys of more: the missing one is often beside them."""
        size, kind = dict.__len__(value), type_name(value)
        if not depth:
            return f"{kind} of {size:,}"
        first = list(islice(dict.items(value), _NAMES))
        shown = [f"{self._key(k)}: {self._entry(k, v, depth)}" for k, v in first[:_ENTRIES]]
        more = f", and {', '.join(self._key(k) for k, _ in first[_ENTRIES:])}"
        inside = f"{{{', '.join(shown)}{more * (size > _ENTRIES)}{', …' * (size > _NAMES)}}}"
        return inside if size <= _ENTRIES else f"{kind} of {size:,}: {inside}"

    def _key(self, key: object) -> str:
        return one_line(self.of(key, depth=0), max_chars=_INNER_CHARS)

    def _entry(self, key: object, value: object, depth: int) -> str:
        if is_secret(_text(key) or "", value):
            return HIDDEN
        return one_line(self.of(value, depth=depth - 1), max_chars=_INNER_CHARS)

    def _collection(self, value: Any, *, depth: int) -> str:
        base = next(kind for kind in _COLLECTIONS if issubclass(type(value), kind))
        size = base.__len__(value)
        if not depth or not size:
            return f"{type_name(value)} of {size:,}"
        first = zip(item_names(value), islice(base.__iter__(value), _ENTRIES), strict=False)
        shown = ", ".join(self._entry(name, item, depth) for name, item in first)
        return f"{type_name(value)} of {size:,}: {shown}{', …' * (size > _ENTRIES)}"

    def _table(self, value: Any, *, depth: int) -> str | None:
        """Tell the size and the columns; their types too, if that leaves room for all names."""
        if not _is_any(value, _TABLES):
            return None
        try:
            rows, columns = value.shape
            names = [self._key(name) for name in islice(value.columns, _NAMES)]
            dtypes = map(_dtype, islice(value.dtypes, _NAMES))
            typed = [f"{name} {dtype}" for name, dtype in zip(names, dtypes, strict=True)]
        except Exception:  # noqa: BLE001 - a half-made table; its type is told at least
            return None
        head, more = f"{type_name(value)} {rows:,}×{columns:,}: ", ", …" * (columns > _NAMES)
        line = f"{head}{', '.join(typed)}{more}"
        is_short = depth == _DEPTH and len(line) <= _TYPED_CHARS
        return line if is_short else f"{head}{', '.join(names)}{more}"


def _whole_number(value: int) -> str:
    bits = int.bit_length(value)
    return int.__repr__(value) if bits <= _WRITTEN_BITS else f"an integer of {bits:,} bits"


def _named(value: Any) -> str | None:
    """Name what has a name of its own: modules, classes, functions."""
    kind = type(value)
    if issubclass(kind, ModuleType):
        return f"module {value.__name__}"
    if issubclass(kind, type):
        return f"class {type.__getattribute__(value, '__name__')}"
    if kind is FunctionType:
        return _function(value)
    return f"function {value.__name__}" if kind in (BuiltinFunctionType, MethodType) else None


def _function(function: FunctionType) -> str:
    """Name its parameters; their defaults may be secrets."""
    code = function.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    return f"function {function.__name__}({', '.join(code.co_varnames[:count])})"


def _array(value: Any) -> str | None:
    if not _is_any(value, _ARRAYS):
        return None
    try:
        shape, dtype = tuple(value.shape), _dtype(value.dtype)
    except Exception:  # noqa: BLE001 - as above
        return None
    return f"{type_name(value)} {'×'.join(map(str, shape)) or 'scalar'} {dtype}"


def _dtype(dtype: object) -> str:
    """Name a type; those of polars may list the values of a column behind their name."""
    name = str(dtype)
    is_polars = type(dtype).__module__.partition(".")[0] == "polars"
    return one_line(name.partition("(")[0] if is_polars else name, max_chars=_INNER_CHARS)


def _is_any(value: object, kinds: Mapping[str, tuple[str, ...]]) -> bool:
    return any(is_kind(value, package, *names) for package, names in kinds.items())


def _object(value: object) -> str:
    """Name the type, and the attributes that the object itself keeps."""
    kind = type(value)
    qualified = f"{kind.__module__}.{kind.__qualname__}".removeprefix("__main__.")
    names = [name for name in attributes_of(value) if isinstance(name, str) and name[:1] != "_"]
    listed = f" with {', '.join(names[:_NAMES])}" if names else ""
    return f"<{qualified}{listed}>"
