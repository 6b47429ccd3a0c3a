"""What must not leave the machine: secrets by their names, their forms and their values.

Values are looked at without running any code of their own: a repr can raise, hang, or be a
gigabyte, and a proxy may have to work out its class.
"""

from __future__ import annotations

import contextlib
import json
import re
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice, repeat
from typing import Any, Final
from urllib.parse import quote, quote_plus

from segmind_jupyter.content.text import one_line
from segmind_jupyter.errors import plain

#: What stands in the place of a secret.
HIDDEN: Final = "<hidden>"

# Looking at objects: `type` itself is asked, as a metaclass could answer in its place.


def kinds_of(value: object) -> tuple[type, ...]:
    """Return the type of a value and its bases."""
    found: tuple[type, ...] = type.__dict__["__mro__"].__get__(type(value))
    return found


def members(kind: type) -> Mapping[str, Any]:
    """Return what a class holds itself."""
    found: Mapping[str, Any] = type.__dict__["__dict__"].__get__(kind)
    return found


def class_name(value: object) -> str:
    """Return the bare name of the type of a value."""
    return str(type.__dict__["__name__"].__get__(type(value)))


def attributes_of(value: object) -> dict[str, Any]:
    """Return what an object keeps in its own dict, unless a property stands there instead."""
    slots = (members(kind).get("__dict__") for kind in kinds_of(value))
    slot: Any = next((slot for slot in slots if slot is not None), None)
    if type(slot) not in (types.GetSetDescriptorType, types.MemberDescriptorType):
        return {}
    found = slot.__get__(value)
    return dict(list(dict.items(found))) if issubclass(type(found), dict) else {}


def is_exactly(value: object, package: str, *names: str) -> bool:
    """Return whether a value is of a library's own class; nobody's subclass has changed it."""
    return _module(value).partition(".")[0] == package and class_name(value) in names


def _module(value: object) -> str:
    return str(type.__dict__["__module__"].__get__(type(value)))


# Names

#: The words of a name: ``API_KEY``, ``apiKey`` and ``api-key`` have two.
_WORDS: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")

#: Words that make a secret of whatever has them in its name.
_SURE: Final = frozenset({
    "password", "passwords", "passwd", "passphrase", "passcode", "pwd", "pw", "secret",
    "secrets", "token", "auth", "authorization", "credential", "credentials", "cred", "creds",
    "bearer", "apikey", "jwt", "cookie", "cookies", "dsn", "mnemonic",
    "passwort", "kennwort", "motdepasse", "senha", "пароль", "密码", "密碼", "비밀번호",
})  # fmt: skip

#: The same, run together with others: ``dbpassword``.
_SURE_INSIDE: Final = re.compile(
    "password|passwd|passphrase|secret|apikey|accesskey|privatekey|credential|authtoken|accesstoken"
)

#: Words that say of a token or a key that it is a part of a text, of a table or of a dict.
_HARMLESS: Final = frozenset({
    "n", "num", "number", "max", "min", "count", "len", "length", "total", "limit", "type",
    "index", "idx", "per", "rate", "mean", "sum", "next", "prev", "primary", "foreign",
    "sort", "group", "dict", "map", "join", "partition", "row", "column", "col", "first",
    "last", "new", "old", "current", "sub", "lookup", "missing", "left", "right", "other",
    "parent", "child", "default", "unknown", "json", "field", "item", "entry", "data", "word",
    "name", "label", "vocab", "start", "end", "special", "pad", "mask", "eos", "bos", "sep",
    "cls", "unk",
})  # fmt: skip

#: Names that hold secrets now and then: hidden where the value looks like one.
_MAYBE: Final = _SURE | {
    "key", "keys", "tokens", "api", "session", "sig", "signature", "salt", "nonce", "hash",
    "pin", "license", "pat", "otp", "sas", "hmac",
}  # fmt: skip


def hides(name: str, value: object = None) -> bool:
    """Return whether what has this name is a secret."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if _SURE_INSIDE.search("".join(words)) or words[-1:] == ["pass"]:
        return True
    # Of `row.token` the second part says what it is, of `next_token` both words.
    if _HARMLESS.isdisjoint(word.lower() for word in _WORDS.findall(name.rpartition(".")[2])):
        is_compound_key = len(words) > 1 and words[-1] == "key"
        if is_compound_key or not _SURE.isdisjoint(words):
            return True
    return not _MAYBE.isdisjoint(words) and _looks_random(value)


def _looks_random(value: object) -> bool:
    """Tell a machine's text from a person's: long, in one piece, letters and digits mixed."""
    head = value[:400] if type(value) is str else ""
    has_both = any(map(str.isdigit, head)) and any(map(str.isalpha, head))
    return len(head) >= 12 and has_both and not any(map(str.isspace, head))


def is_secret(name: str, value: object) -> bool:
    """Return whether a value is a secret; that there is none is no secret."""
    text = str.__str__(value) if issubclass(type(value), str) else None
    tells_nothing = value is None or type(value) is bool or text == ""
    return not tells_nothing and hides(name, text)


# Forms

#: What well-known services give as keys, wherever they stand.
_FORMS: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"
    r"|(?<![A-Za-z0-9])(?:"
    r"sk-[\w-]{8,}|[srp]k_(?:live|test)_\w{8,}|SG[_.][\w.-]{8,}"
    r"|gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|npm_\w{16,}|hf_\w{16,}"
    r"|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{30,}|xox[abeoprs]-[\w-]{8,}|dapi[0-9a-f]{32}"
    r"|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?|ya29\.[\w-]{16,}|whsec_\w{16,}|pypi-[\w-]{16,}"
    r"|\d{8,10}:[\w-]{35}"  # a Telegram bot
    r")",
    re.DOTALL,
)

#: What stands before a secret: the scheme of a header, the address of a webhook, a line of
#: ``.netrc``, the option of a command.
_HEADS: Final = re.compile(
    r"(?P<head>(?i:\b(?:bearer|basic(?=\s+\S{0,400}[\d=])|token(?=\s+\S{0,400}\d))\s+(?=[\w.~+/=-]{8}))"
    r"|hooks\.slack\.com/\w+/|discord(?:app)?\.com/api/(?:v\d+/)?webhooks/"
    r"|\bwebhook\.office\.com/|\bapi\.telegram\.org/(?:file/)?bot(?=\d)"
    r"|\blogin\s+\S+\s+password\s+"
    r"|\b(?:mysql|mariadb)\w*\b[^\n]{0,200}?[\s'\"]-p(?=[^\s'\"])"
    r"|\b(?:sshpass\b|docker\b[\s'\",]+login\b[^\n]{0,200}?[\s'\"])[\s'\",]*-p[\s'\",]*"
    r"|\bredis-cli\b[^\n]{0,200}?[\s'\"]-a[\s'\",]+"
    r"|\bcurl\b(?:\\\n|[^\n]){0,400}?[\s'\"](?:-u|-U|--user|--proxy-user)[\s'\",=]{0,4}"
    r"[^\s:'\"]{1,100}:)"
    r"(?!<hidden>)[^\s'\",<>]+"
)

#: ``https://user:password@host``; a name is not always there, and a password may hold an ``@``. Or
#: ``https://token@host``.
_USER_INFO: Final = re.compile(
    r"(?<=://)(?:[^\s/@:'\"]{0,400}:[^\s/'\"]{1,400}|(?=[\w.~-]{0,400}\d)[\w.~-]{12,400})(?=@)"
)

_QUOTED: Final = (
    r"[rbfuRBFU]{0,2}(?:\"\"\".*?(?:\"\"\"|\Z)|'''.*?(?:'''|\Z)"
    r"|\"(?:\\.|[^\"\\\n])*(?:\"|$)|'(?:\\.|[^'\\\n])*(?:'|$))"
)

#: What names the value behind it. A name begins where no other goes on, so that a long word is
#: read once.
_NAMED: Final = re.compile(
    r"(?:\([\"']|[\"'](?=-))(?P<item>[\w.-]+)[\"'],[ \t]*(?=[\"'])"  # ("api-key", "…")
    r"|(?<![\w.-])(?:"
    r"[\"']?(?i:key|name)[\"']?[ \t]*[:=][ \t]*[\"']?(?P<entry>[\w.-]+)[\"']?,?\s+"
    r"[\"']?(?i:value)[\"']?[ \t]*[:=][ \t]*"  # <add key="password" value="…">
    r"|-{0,2}(?P<name>[^\W\d][\w.-]*)[\"']?\]?[ \t]*(?:=>|:=|[=!]=|[=:])[ \t]*"
    r")"
    r"|<(?P<element>[\w.-]+)>(?=[^\s<])"
    r"|(?<!\S)(?P<option>--?[A-Za-z][\w-]*)[ \t]+(?=[^\s-])"  # --password x
    r"|\b(?i:identified[ \t]+by|(?P<sql>password))[ \t]+(?=')"
    # "the password is x", "ENV TOKEN x": where it looks like one
    r"|(?<![\w-])(?P<word>[A-Za-z_][\w-]{0,60})[ \t]+(?:(?:is|was)[ \t]+)?"
    r"(?=[\w.~+/=-]{8})(?=[\w.~+/=-]{0,40}\d)(?=[\w.~+/=-]{0,40}[A-Za-z])"
)
_VALUE: Final = re.compile(rf"{_QUOTED}|[^\s<]{{0,4000}}[^\s<,;)\]}}\"']", re.DOTALL | re.MULTILINE)

#: Of code, literals alone: ``password: str = "x"``, ``token = given or "x"``, long numbers.
_LITERAL: Final = re.compile(
    rf"(?:[\w.|\[\], ]{{1,60}}=[ \t]*|[\w.]{{1,60}}[ ]or[ ])?(?:\(\s*)?[+-]?"
    rf"(?P<value>{_QUOTED}|\d[\d_.]{{3,}})",
    re.DOTALL | re.MULTILINE,
)

#: What is prose inside code: texts, comments, and lines that IPython reads and Python does not.
_PROSE: Final = re.compile(rf"{_QUOTED}|#[^\n]*|^[ \t]*[%!][^\n]*", re.DOTALL | re.MULTILINE)

#: Values that tell nothing.
_EMPTY: Final = frozenset({"None", "True", "False", "null", "true", "false", '""', "''", HIDDEN})


def scrubbed(text: str) -> str:
    """Blank out what is a secret by its form, or by the name that it is given."""
    return _without_values(_VALUE, _without_forms(text))


def scrubbed_source(source: str) -> str:
    """Blank out the literals of code that are secrets, and those of its texts; lines stay lines."""
    code = _without_values(_LITERAL, _without_forms(source))
    return _PROSE.sub(lambda piece: scrubbed(piece[0]), code)


def _without_forms(text: str) -> str:
    text = _FORMS.sub(lambda form: HIDDEN + "\n" * form[0].count("\n"), text)
    return _HEADS.sub(rf"\g<head>{HIDDEN}", _USER_INFO.sub(HIDDEN, text))


def secrets_of_source(source: str) -> set[str]:
    """Return the literals of code that are secrets, without those that may be any word."""
    found = (source[start:end].strip("rbfuRBFU'\"") for start, end in _values(_LITERAL, source))
    return {value for value in found if len(value) >= _MIN_ITEM_CHARS}


def _without_values(values: re.Pattern[str], text: str) -> str:
    pieces, last = [], 0
    for start, end in _values(values, text):
        pieces += [text[last:start], HIDDEN, "\n" * text.count("\n", start, end)]
        last = end
    return "".join([*pieces, text[last:]])


def _values(values: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Yield where the values behind the names of secrets stand."""
    end = 0
    for match in _NAMED.finditer(text):
        name = match[match.lastgroup] if match.lastgroup else "password"
        if match.end() < end or not hides(name, _EXAMPLE):
            continue
        value = values.match(text, match.end())
        if value is None:
            continue
        group = value.re.groups  # the literal inside, or all of it
        found = value[group]
        is_told = found not in _EMPTY and not found.startswith(HIDDEN)
        if is_told and hides(name, found.strip("'\"")):
            end = value.end(group)
            yield value.start(group), end


#: What any name that could hide a value hides.
_EXAMPLE: Final = "0123456789abcdef"

# Values

#: How many entries are looked at in all, and of one container, and how deep: configurations are
#: small, and a recursion has thousands of frames.
_MAX_ENTRIES, _MAX_INSIDE, _MAX_DEPTH = 50_000, 1_000, 4

#: Shorter items of a container with a secret's name may be any word, such as ``"user"``, or the
#: number of any, as in ``token_ids``; shorter parts of a secret may be any word too.
_MIN_ITEM_CHARS, _MIN_PART_CHARS = 8, 6

#: Shorter secrets are not looked for: blanking every "abc" would garble the text. Those below the
#: second bound only where they stand as a word.
_MIN_CHARS, _MIN_INSIDE_CHARS = 4, 8

#: What the first line of a key says, which may stand in a list line by line.
_PEM: Final = re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----\s*\Z")

_COLLECTIONS: Final = (list, tuple, set, frozenset)

#: What holds nothing that could be looked into.
_CLOSED: Final = (str, bytes, bytearray, int, float, complex, type(None), types.ModuleType)

_Entry = tuple[str, Any]


def secrets_in(*scopes: Mapping[str, Any]) -> set[str]:
    """Return as texts what has a secret's name, also inside containers, objects and classes."""
    found: set[str] = set()
    ahead = deque((name, value, 0) for scope in scopes for name, value in list(scope.items()))
    seen: set[int] = set()
    for _ in range(_MAX_ENTRIES):
        if not ahead:
            break
        name, value, depth = ahead.popleft()
        name = name if type(name) is str else _as_name(name)
        if hides(name, _EXAMPLE):
            found |= {text for text in spellings(value) if text and hides(name, text)}
        if depth < _MAX_DEPTH and id(value) not in seen and len(ahead) < _MAX_ENTRIES:
            seen.add(id(value))
            ahead += [(own, inner, depth + 1) for own, inner in _inside(name, value)]
    return found


def spellings(value: Any) -> list[str]:
    """Give a text, bytes or a number as written, without running code of its own."""
    kind: type = type(value)
    if issubclass(kind, str):
        return [str.__str__(value)]
    if issubclass(kind, bytes | bytearray):
        data = b"".join([value])
        return [data.decode("utf-8", "replace"), repr(data)[2:-1]]
    number = ""
    if issubclass(kind, int) and int.bit_length(value) <= 8_192:  # others take their time
        number = int.__repr__(value)
    elif issubclass(kind, float):
        number = float.__repr__(value)
    return [number.lstrip("-")] if sum(map(str.isdigit, number)) >= _MIN_CHARS else []


def _inside(name: str, value: Any) -> Iterable[_Entry]:
    """Return what a value holds; what has no name of its own there has that of the container."""
    kind = type(value)
    if issubclass(kind, _CLOSED):
        return []
    if issubclass(kind, type):
        return list(members(value).items())
    if issubclass(kind, dict):
        # Taken in one step: another thread may be changing it.
        entries = list(islice(dict.items(value), _MAX_INSIDE))
        held = [(_as_name(key), item) for key, item in entries]
        named = dict(held)
        held += [(_as_name(named.get("name")), named.get("value"))]
    elif issubclass(kind, _COLLECTIONS):
        base = next(each for each in _COLLECTIONS if issubclass(kind, each))
        items = list(islice(base.__iter__(value), _MAX_INSIDE))
        held = list(zip(item_names(value), items, strict=False))
        name = "private_key" if any(map(_is_pem, items)) else name
    else:
        classes = (("", each) for each in kinds_of(value)[:-1])
        return [*attributes_of(value).items(), *_slots(value), *classes]
    if not hides(name):
        return [(own or name, item) for own, item in held]
    # In one with the name of a secret, such as ``passwords``, all are secrets.
    texts = ((item, spellings(item)) for _, item in held)
    return [(name, item) for item, t in texts if not t or max(map(len, t)) >= _MIN_ITEM_CHARS]


def _is_pem(item: object) -> bool:
    return type(item) is str and bool(_PEM.match(item))


def _as_name(key: object) -> str:
    is_text = issubclass(type(key), str | bytes | bytearray)
    return spellings(key)[0] if is_text else ""


def item_names(collection: object) -> Iterator[str]:
    """Return the names of the items of a collection, and empty ones without an end."""
    kind = type(collection)
    fields: Any = ()
    if kind is tuple and len(collection) == 2:  # type: ignore[arg-type]
        fields = ("", collection[0])  # type: ignore[index]
    elif issubclass(kind, tuple):
        known = (members(kind).get("_fields") for kind in kinds_of(collection))
        fields = next((names for names in known if type(names) is tuple), ())
    yield from map(_as_name, fields)
    yield from repeat("")


def _slots(value: object) -> Iterator[_Entry]:
    """Return the attributes that an object keeps in slots."""
    for kind in kinds_of(value):
        for name, slot in members(kind).items():
            if type(slot) is types.MemberDescriptorType and not name.startswith("__"):
                with contextlib.suppress(AttributeError):  # nothing is in it
                    yield name, slot.__get__(value)


class Blanker:
    """Blanks out given secrets in the ways in which a text may hold them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        chosen = {secret for secret in secrets if len(secret) >= _MIN_CHARS}
        forms = {form for secret in chosen for form in _written(secret)}
        # The longest first: a shorter one may be a part of it.
        self._forms = sorted(forms, key=lambda form: (-len(form), form))
        # Of thousands, as many as can be searched for each word of a message.
        self._joined = "\n".join(["", *self._forms[::-1], ""]).lower()[:100_000]

    def __call__(self, text: str, *, parts: bool = False) -> str:
        """Blank out secrets, long ones in any case; with `parts`, slices of them too."""
        lower = text.lower()
        for form in self._forms:
            is_long = len(form) >= _MIN_INSIDE_CHARS
            if form.lower() in lower if is_long else form in text:
                text = re.sub(_pattern(form), HIDDEN, text, flags=re.IGNORECASE * is_long)
                lower = text.lower()
        return _PARTS.sub(self._part, text) if parts else text

    def _part(self, word: re.Match[str]) -> str:
        part = word[0].lower()
        at_end = f"\n{part}" in self._joined or f"{part}\n" in self._joined
        is_part = at_end or (any(map(str.isdigit, part)) and part in self._joined)
        return HIDDEN if is_part else word[0]


#: What may be a slice of a secret.
_PARTS: Final = re.compile(rf"[^\s'\"`=:,;()<>{{}}\[\]\\]{{{_MIN_PART_CHARS},}}")


def _written(secret: str) -> set[str]:
    """Return the ways in which a text may hold a secret."""
    data = secret.encode("utf-8", "surrogatepass")
    written = {secret, plain(secret), repr(data)[2:-1]}
    quoted = {form for each in written for form in (repr(each)[1:-1], json.dumps(each)[1:-1])}
    return written | quoted | {quote(data), quote(data, safe=""), quote_plus(data)}


def _pattern(form: str) -> str:
    """Return what finds one form of a secret; a number is none inside a longer one."""
    is_number = re.fullmatch(r"[\d.]+", form, re.ASCII)
    if len(form) >= _MIN_INSIDE_CHARS and not is_number:
        return re.escape(form)
    beside = r"\d" if is_number else r"\w"
    return rf"(?<!{beside}){re.escape(form)}(?!{beside})"


# A value in one short line, by its type: enough to see what went wrong, never its whole content.

#: Longest written form of a value inside another, of a text, and what is searched of one.
_INNER_CHARS, _TEXT_CHARS, _SEARCHED_CHARS = 60, 120, 4_000

#: Entries that are shown with their values, names that are shown without, and how deep.
_ENTRIES, _NAMES, _DEPTH = 6, 40, 2

#: Tables and arrays, which say by attributes of their own what they are.
_SHAPED: Final = {
    "numpy": ("ndarray",), "pandas": ("DataFrame", "Series", "Index"), "torch": ("Tensor",),
    "jaxlib": ("ArrayImpl",), "polars": ("DataFrame", "Series"), "xarray": ("DataArray",),
}  # fmt: skip


def glimpse(
    value: object, *, name: str = "", clean: Callable[[str], str] = scrubbed, max_chars: int = 400
) -> str:
    """Describe a value on one line."""
    if is_secret(name, value):
        return f"{HIDDEN} ({class_name(value)})"
    # Once more as a whole: an item may say what the next one is, as in ["--password", "x"].
    return one_line(clean(_described(value, clean, _DEPTH)), max_chars=max_chars)


def _described(value: Any, clean: Callable[[str], str], depth: int) -> str:
    kind, name = type(value), class_name(value)
    if value is None or kind in (bool, float, complex):
        return clean(repr(value))
    if issubclass(kind, int):  # a long one takes its time
        bits = int.bit_length(value)
        return clean(int.__repr__(value)) if bits <= 256 else f"an integer of {bits:,} bits"
    if issubclass(kind, str):
        text = str.__str__(value)
        shown = clean(text[:_SEARCHED_CHARS])
        whole = len(text) <= _TEXT_CHARS
        return repr(shown) if whole else f"{shown[:_TEXT_CHARS]!r}… ({len(text):,} characters)"
    if issubclass(kind, bytes | bytearray):
        return f"{name} of {len(b''.join([value])):,}"
    if issubclass(kind, dict | list | tuple | set | frozenset):
        return _contained(value, clean, depth)
    if kind is types.ModuleType:
        return f"module {attributes_of(value).get('__name__')}"
    if issubclass(kind, type):
        return f"class {type.__dict__['__name__'].__get__(value)}"
    if kind in (types.FunctionType, types.BuiltinFunctionType, types.MethodType):
        return f"function {value.__name__}"
    with contextlib.suppress(Exception):  # a half-made table; its type is told at least
        if any(is_exactly(value, package, *names) for package, names in _SHAPED.items()):
            shape = "×".join(f"{side:,}" for side in value.shape)
            if name != "DataFrame":
                return f"{name} {shape or 'scalar'} {_dtype(value.dtype)}"
            names = [_inner(column, clean, 0) for column in islice(value.columns, _NAMES)]
            typed = [f"{n} {_dtype(d)}" for n, d in zip(names, value.dtypes, strict=False)]
            listed = ", ".join(typed if len(", ".join(typed)) <= 300 else names)
            return f"{name} {shape}: {listed}{', …' * (value.shape[1] > _NAMES)}"
    # Of any other object its type, and the attributes that it keeps itself.
    qualified = type.__dict__["__qualname__"].__get__(kind)
    names = [own for own in attributes_of(value) if type(own) is str and own[:1] != "_"]
    listed = f" with {', '.join(names[:_NAMES])}" if names else ""
    return f"<{f'{_module(value)}.{qualified}'.removeprefix('__main__.')}{listed}>"


def _inner(item: object, clean: Callable[[str], str], depth: int) -> str:
    return one_line(_described(item, clean, depth), max_chars=_INNER_CHARS)


def _contained(value: Any, clean: Callable[[str], str], depth: int) -> str:
    """Describe a container: its size, its first entries, and the names of the others."""

    def entry(own: object, item: object) -> str:
        return HIDDEN if is_secret(_as_name(own), item) else _inner(item, clean, depth - 1)

    name = class_name(value)
    base: Any = next(each for each in (dict, *_COLLECTIONS) if issubclass(type(value), each))
    size = base.__len__(value)
    if not depth or (not size and base is not dict):
        return f"{name} of {size:,}"
    if base is not dict:
        first = list(islice(base.__iter__(value), _ENTRIES))
        shown = ", ".join(map(entry, item_names(value), first))
        shown = HIDDEN if any(map(_is_pem, first)) else shown
        return f"{name} of {size:,}: {shown}{', …' * (size > _ENTRIES)}"
    # The keys of more: the missing one is often beside them.
    pairs = list(islice(dict.items(value), _NAMES))
    parts = [f"{_inner(k, clean, 0)}: {entry(k, v)}" for k, v in pairs[:_ENTRIES]]
    others = ", ".join(_inner(k, clean, 0) for k, _ in pairs[_ENTRIES:])
    parts += [f"and {others}"] if others else []
    inside = f"{{{', '.join(parts)}{', …' * (size > _NAMES)}}}"
    return inside if size <= _ENTRIES else f"{name} of {size:,}: {inside}"


def _dtype(dtype: object) -> str:
    name = str(dtype)
    is_polars = _module(dtype).startswith("polars")  # may list the values of a column
    return one_line(name.partition("(")[0] if is_polars else name, max_chars=_INNER_CHARS)
