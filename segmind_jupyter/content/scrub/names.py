"""Which names are those of secrets, judged by their words."""

from __future__ import annotations

import re
from typing import Final

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
    """Tell whether what has this name is a secret.

    ``password``, ``api_key`` and the like always are. ``key`` alone is the name of every second
    dict key, whose value is what explains a `KeyError`: it is a secret if its value looks like
    one, as is ``sort_key`` or ``n_tokens``.

    Parameters
    ----------
    name
        A variable, an attribute, a dict key, an option.
    value
        What it stands for.
    """
    words = _words(name)
    return _is_sure(words) or (_is_maybe(words) and _looks_random(value))


def may_hide(name: str) -> bool:
    """Tell whether there is any value that `hides` would take for a secret under this name."""
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
