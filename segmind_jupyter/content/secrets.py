"""A value in one short line, by its type: enough to see what went wrong, never its whole content.

No code of the value's own type is run: a repr can raise, hang, or be a gigabyte.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import io
import json
import re
import sys
import tokenize
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain, islice, repeat
from types import BuiltinFunctionType, FunctionType, MemberDescriptorType, MethodType, ModuleType
from typing import Any, Final
from urllib.parse import quote, quote_plus
from uuid import UUID

from segmind_jupyter.content.parts import is_kind, type_name
from segmind_jupyter.content.text import one_line
from segmind_jupyter.errors import plain

#: What stands in the place of a secret.
HIDDEN: Final = "<hidden>"

#: The words of a name: ``API_KEY``, ``apiKey`` and ``api-key`` have two.
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")

#: Words that make a secret of whatever has them in its name.
_SURE: Final = frozenset({
    "password", "passwords", "passwd", "passphrase", "passcode", "pwd", "pw", "secret",
    "secrets", "token", "auth", "authorization", "credential", "credentials", "cred", "creds",
    "bearer", "apikey", "jwt", "cookie", "cookies", "dsn", "mnemonic",
    "passwort", "kennwort", "motdepasse", "senha", "пароль", "密码", "密碼", "비밀번호",
})  # fmt: skip

#: The same, run together with others: ``dbpassword``.
_SURE_INSIDE: Final = (
    "password", "passwd", "passphrase", "secret", "apikey", "accesskey", "privatekey", "credential",
    "authtoken", "accesstoken",
)  # fmt: skip

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
_MAYBE: Final = frozenset({
    "key", "keys", "tokens", "api", "session", "sig", "signature", "salt", "nonce", "hash",
    "pin", "license", "pat", "otp", "sas", "hmac",
})  # fmt: skip

#: Together with those that are secrets unless a harmless word stands beside them.
_DOUBTFUL: Final = _MAYBE | _SURE

#: The least length of a value that is taken for a secret by its looks, and how much is looked at.
_RANDOM_CHARS, _LOOKED_AT_CHARS = 12, 400


def hides(name: str, value: object = None) -> bool:
    """Return whether what has this name is a secret.

    ``password``, ``api_key`` and the like always are. ``key`` alone is the name of every second
    dict key, whose value is what explains a `KeyError`: it is a secret if its value looks like
    one, as is ``sort_key`` or ``n_tokens``.
    """
    words = _words(name)
    return _is_sure(words) or (_is_maybe(words) and _looks_random(value))


def may_hide(name: str) -> bool:
    """Return whether there is any value that `hides` would take for a secret under this name."""
    words = _words(name)
    return _is_sure(words) or _is_maybe(words)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORDS.findall(name)]


def _is_maybe(words: list[str]) -> bool:
    return not _DOUBTFUL.isdisjoint(words)


def _is_sure(words: list[str]) -> bool:
    joined = "".join(words)
    if any(inside in joined for inside in _SURE_INSIDE) or words[-1:] == ["pass"]:
        return True
    if not _HARMLESS.isdisjoint(words):
        return False
    is_compound_key = len(words) > 1 and words[-1] == "key"
    return is_compound_key or not _SURE.isdisjoint(words)


def _looks_random(value: object) -> bool:
    """Tell a machine's text from a person's: long, in one piece, letters and digits mixed."""
    if not isinstance(value, str) or len(value) < _RANDOM_CHARS:
        return False
    head = value[:_LOOKED_AT_CHARS]
    is_one_piece = not any(map(str.isspace, head))
    return is_one_piece and any(map(str.isdigit, head)) and any(map(str.isalpha, head))


#: Numbers of fewer digits are counts and versions more often than secrets.
_MIN_DIGITS: Final = 4

#: Integers of more bits are not written out, as that takes its time; a key of RSA has 4096.
_MAX_BITS: Final = 8_192

#: Base64 writes three bytes as four characters of six bits.
_BASE64_BYTES, _BITS_PER_CHARACTER = 3, 6

_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")


def spellings(value: object) -> Iterator[str]:
    """Give a value as its type writes it, without running code of its own; most types give none."""
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
    """Return the ways in which a text may hold a secret."""
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
    """Return the other usual ways to write a whole number or a UUID."""
    if secret.isascii() and secret.isdigit() and len(secret) <= _MAX_BITS // 4:
        number = int(secret)
        yield from (f"{number:,}", f"{number:_}", hex(number))
    if _UUID.fullmatch(secret.lower()):
        unique = UUID(secret)
        yield from (str(unique), unique.hex, str(unique).upper(), unique.hex.upper())
        yield str(unique.int)


def _within_base64(secret: bytes) -> Iterator[str]:
    """Return what base64 makes of a secret, alone or behind anything, as in ``user:password``.

    It depends on the place modulo three. The characters at the two ends, which hold bits of what
    stands beside the secret, are left out.
    """
    for before in range(_BASE64_BYTES):
        padded = b"\0" * before + secret
        first = -(-8 * before // _BITS_PER_CHARACTER)
        core = base64.b64encode(padded)[first : 8 * len(padded) // _BITS_PER_CHARACTER].decode()
        yield from (core, core.replace("+", "-").replace("/", "_"))


#: How many entries are looked at in all, and of one container, and how deep: configurations are
#: small, and a recursion has thousands of frames.
_MAX_ENTRIES, _MAX_INSIDE, _MAX_DEPTH = 50_000, 1_000, 4

#: Shorter items of a container with a secret's name may be any word, such as ``"user"``, or the
#: number of any, as in ``token_ids``.
_MIN_ITEM_CHARS: Final = 8

_COLLECTIONS: Final = (list, tuple, set, frozenset)

#: What holds nothing that could be looked into.
_CLOSED: Final = (str, bytes, bytearray, int, float, complex, type(None), ModuleType)

#: A name, and what it stands for.
_Entry = tuple[str, Any]


def secrets_in(*scopes: Mapping[str, Any]) -> set[str]:
    """Return what has the name of a secret, also inside containers, objects and classes, as texts.

    Numbers and UUIDs are given as `spellings` writes them.
    """
    return {
        text
        for name, value in islice(_entries(scopes), _MAX_ENTRIES)
        if issubclass(type(name), str) and may_hide(name)
        for text in spellings(value)
        if text and hides(name, text)
    }


def item_names(collection: object) -> Iterator[str]:
    """Return the names of the items of a collection, and empty ones without an end.

    The items of a named tuple have those of its fields; the second of a pair has the first.
    """
    kind = type(collection)
    fields: Any = ()
    if kind is tuple and len(collection) == 2:  # type: ignore[arg-type]
        fields = ("", collection[0])  # type: ignore[index]
    elif issubclass(kind, tuple):
        fields = next((vars(k)["_fields"] for k in kind.__mro__ if "_fields" in vars(k)), ())
    names = fields if type(fields) is tuple else ()
    return chain((_text(name) or "" for name in names), repeat(""))


def attributes_of(value: object) -> dict[str, Any]:
    """Return the attributes that an object keeps in its own dict; nothing is computed."""
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return {}
    return attributes if type(attributes) is dict else {}


def _entries(scopes: Iterable[Mapping[str, Any]]) -> Iterator[_Entry]:
    """Return names and values, those of the outermost first: a large object must not hide them."""
    ahead = deque((list(scope.items()), 0) for scope in scopes)
    seen: set[int] = set()
    while ahead:
        entries, depth = ahead.popleft()
        for name, value in entries:
            yield name, value
            if depth < _MAX_DEPTH and id(value) not in seen:
                seen.add(id(value))
                ahead.append((_inside(name, value), depth + 1))


def _inside(name: str, value: Any) -> list[_Entry]:
    """Return what a value holds; what has no name of its own there has that of the container.

    In one with the name of a secret, such as ``passwords``, all are secrets.
    """
    kind = type(value)
    if issubclass(kind, _CLOSED):
        return []
    if issubclass(kind, type):
        return list(type.__dict__["__dict__"].__get__(value).items())
    if not issubclass(kind, (dict, *_COLLECTIONS)):
        classes = (("", each) for each in kind.__mro__[:-1])
        return [*attributes_of(value).items(), *_slots(value), *_columns(value), *classes]
    if hides(name):
        return [(name, item) for _, item in _held(value) if not _is_short(item)]
    return [(own or name, item) for own, item in _held(value)]


def _held(value: Any) -> Iterator[_Entry]:
    """Return the first entries of a dict, or the first items of a collection."""
    # Taken in one step: another thread may be changing it.
    if issubclass(type(value), dict):
        entries = list(islice(dict.items(value), _MAX_INSIDE))
        return ((_text(key) or "", item) for key, item in entries)
    base = next(kind for kind in _COLLECTIONS if issubclass(type(value), kind))
    items = list(islice(base.__iter__(value), _MAX_INSIDE))
    return zip(item_names(value), items, strict=False)


def _is_short(item: object) -> bool:
    texts = list(spellings(item))
    return bool(texts) and max(map(len, texts)) < _MIN_ITEM_CHARS


def _slots(value: object) -> Iterator[_Entry]:
    """Return the attributes that an object keeps in slots."""
    for kind in type(value).__mro__:
        for name, slot in vars(kind).items():
            if type(slot) is MemberDescriptorType and not name.startswith("__"):
                with contextlib.suppress(AttributeError):  # nothing is in it
                    yield name, slot.__get__(value)


def _columns(value: Any) -> Iterator[_Entry]:
    """Return the cells of those columns of a pandas frame that have the name of a secret."""
    pandas = sys.modules.get("pandas")
    if not any(type(value) is getattr(pandas, name, None) for name in ("DataFrame", "Series")):
        return
    with contextlib.suppress(Exception):  # a half-made frame
        frame = value.head(_MAX_INSIDE) if value.ndim > 1 else value.head(_MAX_INSIDE).to_frame()
        for name, cells in frame.items():
            if issubclass(type(name), str) and hides(name):
                yield name, cells.tolist()


def _text(value: object) -> str | None:
    return (
        next(spellings(value), None) if issubclass(type(value), str | bytes | bytearray) else None
    )


#: Lines that IPython reads and Python does not: magics, shell commands, help.
_MAGIC: Final = re.compile(r"^([ \t]*)(?:[%!?].*|.*\?)$", re.MULTILINE)

#: Calls whose first argument says what is looked up, or what a person is asked.
_LOOK_UPS: Final = frozenset({"get", "getenv", "pop", "input", "getpass"})

#: Shorter literals are not looked for elsewhere: they may be any word.
_MIN_CHARS: Final = 8

#: Texts of a program, by the names of their tokens; those of f-strings are Python 3.12's.
_TEXTS: Final = frozenset({"COMMENT", "STRING", "FSTRING_MIDDLE"})


def scrubbed_source(source: str) -> str:
    """Blank out the literals that are secrets; what is no Python is scrubbed as prose.

    The text keeps its lines: a literal of three leaves two empty ones behind.
    """
    python = without_magics(source)
    try:
        edits = list(_edits(python))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return scrubbed(source)
    lines = source.split("\n")
    for number, line in enumerate(python.split("\n")):
        if line != lines[number]:
            lines[number] = scrubbed(lines[number])
    return "\n".join(_edited(lines, edits))


def secrets_of_source(source: str) -> set[str]:
    """Return the literals that `scrubbed_source` blanks out, of those that are no common words.

    What the program makes of them may be anywhere.
    """
    try:
        literals = _secret_literals(without_magics(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    values = (node.value for node in literals if isinstance(node, ast.Constant))
    texts = (text for value in values for text in spellings(value))
    return {text for text in texts if len(text) >= _MIN_CHARS}


def without_magics(source: str) -> str:
    """Put a statement that does nothing in the place of each line that Python does not read."""
    return _MAGIC.sub(r"\1pass", source)


@dataclass(frozen=True, order=True)
class _Edit:
    """A piece of the source, and what takes its place; lines from 0, columns in characters."""

    start: tuple[int, int]
    end: tuple[int, int]
    text: str


def _edits(python: str) -> Iterator[_Edit]:
    lines = python.split("\n")
    hidden = [_hiding(node, lines) for node in _secret_literals(python)]
    yield from hidden
    spans = [(edit.start, edit.end) for edit in hidden]
    for token in tokenize.generate_tokens(io.StringIO(python).readline):
        if tokenize.tok_name[token.type] in _TEXTS:
            edit = _of_text(token)
            if edit.text != token.string and not _overlaps(edit, spans):
                yield edit


def _secret_literals(python: str) -> list[ast.Constant | ast.JoinedStr]:
    found = _Finder()
    found.visit(ast.parse(python))
    return found.literals


def _hiding(node: ast.expr, lines: list[str]) -> _Edit:
    start = _place(lines, node.lineno, node.col_offset)
    end = _place(lines, node.end_lineno or node.lineno, node.end_col_offset or 0)
    return _Edit(start, end, HIDDEN + "\n" * (end[0] - start[0]))


def _place(lines: list[str], line_number: int, column_bytes: int) -> tuple[int, int]:
    """Turn the place of a node into characters: `ast` counts the bytes of UTF-8."""
    before = lines[line_number - 1].encode()[:column_bytes]
    return line_number - 1, len(before.decode("utf-8", "replace"))


def _of_text(token: tokenize.TokenInfo) -> _Edit:
    (line, column), (end_line, end_column) = token.start, token.end
    return _Edit((line - 1, column), (end_line - 1, end_column), scrubbed(token.string))


def _overlaps(edit: _Edit, spans: list[tuple[tuple[int, int], tuple[int, int]]]) -> bool:
    return any(edit.start < end and start < edit.end for start, end in spans)


def _edited(lines: list[str], edits: list[_Edit]) -> list[str]:
    done: tuple[int, int] | None = None
    for edit in sorted(edits, reverse=True):
        if done is not None and edit.end > done:
            continue  # inside one that was made already
        (first, column), (last, end_column) = edit.start, edit.end
        text = lines[first][:column] + edit.text + lines[last][end_column:]
        pieces = text.split("\n")
        lines[first : last + 1] = pieces + [""] * (last - first + 1 - len(pieces))
        done = edit.start
    return lines


class _Finder(ast.NodeVisitor):
    """Collects the literals that stand where a secret's name says what they are."""

    def __init__(self) -> None:
        self.literals: list[ast.Constant | ast.JoinedStr] = []

    def visit(self, node: ast.AST) -> None:
        """Ask the rules about a node, then look inside."""
        for name, value in _given(node):
            self.literals += [found for found in _literals(value) if _is_secret(name, found)]
        self.generic_visit(node)


def _given(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Return the names and the expressions that they are given by one node of a program."""
    match node:
        case ast.Assign(targets=targets, value=value):
            yield from ((name, value) for target in targets for name in _names(target))
        case (
            ast.AnnAssign(target=target, value=ast.expr() as value)
            | ast.AugAssign(target=target, value=value)
            | ast.NamedExpr(target=target, value=value)
        ):
            yield from ((name, value) for name in _names(target))
        case ast.For(target=target, iter=value) | ast.comprehension(target=target, iter=value):
            yield from ((name, value) for name in _names(target))
        case ast.Dict(keys=keys, values=values):
            yield from _pairs(keys, values)
        case ast.Tuple(elts=[first, second]):
            yield from _pairs([first], [second])
        case ast.Call(args=args, keywords=keywords):
            yield from ((word.arg, word.value) for word in keywords if word.arg)
            yield from _pairs(args, args[1:])
        case ast.Compare(left=left, comparators=others):
            yield from _neighbours([left, *others])
        case ast.BoolOp(values=values):
            yield from _neighbours(values)
        case ast.arguments():
            yield from _defaults(node)


def _pairs(keys: list[Any], values: list[ast.expr]) -> Iterator[tuple[str, ast.expr]]:
    """Pair the texts among `keys` with the values beside them."""
    for key, value in zip(keys, values, strict=False):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, value


def _neighbours(sides: list[ast.expr]) -> Iterator[tuple[str, ast.expr]]:
    """Pair each side of a comparison with all others."""
    for side in sides:
        for name in _names(side):
            yield from ((name, other) for other in sides if other is not side)


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    plain = [*arguments.posonlyargs, *arguments.args]
    by_place = zip(reversed(plain), reversed(arguments.defaults), strict=False)
    by_name = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    for argument, default in [*by_place, *by_name]:
        if default is not None:
            yield argument.arg, default


def _names(target: ast.expr) -> Iterator[str]:
    """Return what an expression is called: by a variable, an attribute or a text as the key."""
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            yield name
        case ast.Subscript(slice=ast.Constant(value=str(name))):
            yield name
        case ast.Call(args=[ast.Constant(value=str(name)), *_]):
            yield name
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            for part in parts:
                yield from _names(part)
        case ast.Starred(value=part):
            yield from _names(part)


def _literals(value: ast.AST, *, alone: bool = True) -> Iterator[ast.Constant | ast.JoinedStr]:
    """Return the texts of an expression, and its number if it is one; keys of look-ups are none.

    Within a list or a call a number counts if it is long: ``token_ids = [101, 2054]``.
    """
    match value:
        case ast.JoinedStr():
            yield value
        case ast.Constant(value=str() | bytes() as text) if text:
            yield value
        case ast.Constant(value=bool()):
            return
        case ast.Constant(value=int() | float() as number) if alone or _is_long(number):
            yield value
        case ast.UnaryOp(operand=operand):
            yield from _literals(operand, alone=alone)
        case ast.Subscript(value=inner):
            yield from _literals(inner, alone=False)
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            skipped = 1 if name in _LOOK_UPS else 0
            for inner in (*value.args[skipped:], *(word.value for word in value.keywords)):
                yield from _literals(inner, alone=False)
        case _:
            for child in ast.iter_child_nodes(value):
                yield from _literals(child, alone=False)


def _is_long(number: float) -> bool:
    return any(len(text) >= _MIN_CHARS for text in spellings(number))


def _is_secret(name: str, literal: ast.Constant | ast.JoinedStr) -> bool:
    if isinstance(literal, ast.JoinedStr):
        return hides(name, ast.unparse(literal))
    return hides(name, _plain(literal.value))


def _plain(value: object) -> object:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


#: Forms that well-known services give to their keys, wherever they stand.
_FORMS: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"
    r"|(?<![A-Za-z0-9])(?:"
    r"sk-[\w-]{8,}|[srp]k_(?:live|test)_\w{8,}|SG[_.][\w.-]{8,}"
    r"|gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|npm_\w{16,}|hf_\w{16,}"
    r"|A[KS]IA[0-9A-Z]{16}|AIza[\w-]{30,}|xox[abeoprs]-[\w-]{8,}|dapi[0-9a-f]{32}"
    r"|eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?|ya29\.[\w-]{16,}|whsec_\w{16,}|pypi-[\w-]{16,}"
    r")",
    re.DOTALL,
)

#: ``Authorization: Bearer …`` in all its spellings; the scheme is no secret.
_SCHEMES: Final = re.compile(
    r"(?i)\b(bearer|basic(?=\s+\S{0,400}[\d=])|token(?=\s+\S{0,400}\d))\s+(?!<hidden>)[\w.~+/=-]{8,}"
)

#: ``https://user:password@host``; a name is not always there, and a password may hold an ``@``.
_USER_INFO: Final = re.compile(r"(?<=://)[^\s/@:'\"]{0,400}:[^\s/'\"]{1,400}(?=@)")

_QUOTED: Final = (
    r"[rbfuRBFU]{0,2}(?:\"\"\".*?(?:\"\"\"|\Z)|'''.*?(?:'''|\Z)"
    r"|\"(?:\\.|[^\"\\\n])*(?:\"|$)|'(?:\\.|[^'\\\n])*(?:'|$))"
)

#: ``password=``, ``"token": ``, ``--token=``, ``('x-api-key', ``. A name begins where no other goes
#: on, so that a long word is read once.
_NAME: Final = re.compile(
    r"(?<![\w.-])(?:\([\"'](?P<first>[\w.-]+)[\"'],[ \t]*(?=[\"'])"
    r"|-{0,2}(?P<name>[^\W\d][\w.-]*)[\"']?\]?[ \t]*(?:=>|:=|[=!]=|[=:])[ \t]*)"
)
_VALUE: Final = re.compile(rf"{_QUOTED}|\S*[^\s,;)\]}}\"']", re.DOTALL | re.MULTILINE)

#: ``--password x``, and how databases are told: ``IDENTIFIED BY 'x'``, ``PASSWORD 'x'``.
_OPTION: Final = re.compile(
    r"(?<!\S)(?P<name>--?[A-Za-z][\w-]*)[ \t]+(?=[^\s-])"
    r"|\b(?i:identified[ \t]+by|(?P<first>password))[ \t]+(?=')"
)

#: A line of curl, also one that goes on below, and the password in it: ``-u user:password``.
_CURL: Final = re.compile(r"\bcurl\b(?:\\\n|[^\n])*")
_CURL_USER: Final = re.compile(
    r"(?P<head>(?<![^\s'\"])(?:-u|-U|--user|--proxy-user)[\s'\",=]{0,4}?(?P<quote>['\"])?"
    r"[^\s:'\"]{1,100}:)(?!<hidden>)(?(quote)[^'\"\n]+|[^\s'\"]+)"
)

#: Values that tell nothing.
_EMPTY: Final = frozenset({"None", "True", "False", "null", "true", "false", '""', "''", HIDDEN})

#: Shorter secrets are not looked for: blanking every "abc" would garble the text. Those below the
#: second bound only where they stand as a word.
_TEXT_MIN_CHARS, _MIN_INSIDE_CHARS = 4, 8

_NUMBER: Final = re.compile(r"[\d.,]+", re.ASCII)


def scrubbed(text: str) -> str:
    """Blank out what is a secret by its form, or by the name that it is given."""
    text = _SCHEMES.sub(rf"\1 {HIDDEN}", _USER_INFO.sub(HIDDEN, _FORMS.sub(HIDDEN, text)))
    text = _CURL.sub(lambda line: _CURL_USER.sub(rf"\g<head>{HIDDEN}", line[0]), text)
    return _without_values(_OPTION, _without_values(_NAME, text))


def _without_values(names: re.Pattern[str], text: str) -> str:
    """Blank out the values behind the names of secrets; what is no secret may hold further ones.

    A value is read only behind such a name: a text may be one long row of ``a=1&b=2``.
    """
    pieces, end = [], 0
    for match in names.finditer(text):
        name = match["name"] or match["first"] or "password"
        if match.end() < end or not may_hide(name):
            continue
        value = _VALUE.match(text, match.end())
        if value and _text_is_secret(name, value[0]):
            pieces += [text[end : value.start()], HIDDEN, "\n" * value[0].count("\n")]
            end = value.end()
    return "".join([*pieces, text[end:]])


def _text_is_secret(name: str, value: str) -> bool:
    if value in _EMPTY or value.startswith(HIDDEN):
        return False
    return hides(name, value.strip("'\""))


def blanked(text: str, secrets: Iterable[str]) -> str:
    """Blank out given secrets, as `blanking` does."""
    return blanking(secrets)(text)


def blanking(secrets: Iterable[str]) -> Callable[[str], str]:
    """Make what blanks out given secrets in all their `forms`, the longest first."""
    written = {form for secret in secrets for form in forms(secret) if len(form) >= _TEXT_MIN_CHARS}
    longest_first = sorted(written, key=lambda form: (-len(form), form))

    def blank(text: str) -> str:
        for form in longest_first:
            if form in text:
                text = _without(form, text)
        return text

    return blank


def _without(form: str, text: str) -> str:
    """Blank out one form of a secret; a number is none inside a longer one."""
    if len(form) >= _MIN_INSIDE_CHARS and not _NUMBER.fullmatch(form):
        return text.replace(form, HIDDEN)
    beside = r"\d" if _NUMBER.fullmatch(form) else r"\w"
    return re.sub(rf"(?<!{beside}){re.escape(form)}(?!{beside})", HIDDEN, text)


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


#: Tables and arrays, which say by attributes of their own what they are.
_TABLES: Final = {"pandas": ("DataFrame",), "polars": ("DataFrame",)}
_ARRAYS: Final = {
    "numpy": ("ndarray",), "pandas": ("Series", "Index"), "torch": ("Tensor",),
    "jaxlib": ("Array", "ArrayImpl"), "polars": ("Series",), "xarray": ("DataArray",),
}  # fmt: skip


def glimpse(
    value: object, *, name: str = "", clean: Callable[[str], str] = scrubbed, max_chars: int = 400
) -> str:
    """Describe a value on one line."""
    if is_secret(name, value):
        return f"{HIDDEN} ({type_name(value)})"
    return one_line(_Glimpse(clean).of(value, depth=_DEPTH), max_chars=max_chars)


def is_secret(name: str, value: object) -> bool:
    """Return whether a value is a secret; that there is none is no secret."""
    tells_nothing = value is None or type(value) is bool or value in ("",) * (type(value) is str)
    return not tells_nothing and hides(name, _glimpse_text(value))


def _glimpse_text(value: object) -> str | None:
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
        if is_secret(_glimpse_text(key) or "", value):
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
