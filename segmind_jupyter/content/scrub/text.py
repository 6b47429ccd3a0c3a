"""Blanks secrets out of prose: error messages, shell lines, text in strings and comments."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

from segmind_jupyter.content.scrub.forms import forms
from segmind_jupyter.content.scrub.names import HIDDEN, hides, may_hide

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
_MIN_CHARS, _MIN_INSIDE_CHARS = 4, 8

_NUMBER: Final = re.compile(r"[\d.,]+", re.ASCII)


def scrubbed(text: str) -> str:
    """Blank out what is a secret by its form, or by the name that it is given.

    Parameters
    ----------
    text
        Prose, a shell line, the inside of a string. Python goes to `scrubbed_source`.
    """
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
        if value and _is_secret(name, value[0]):
            pieces += [text[end : value.start()], HIDDEN, "\n" * value[0].count("\n")]
            end = value.end()
    return "".join([*pieces, text[end:]])


def _is_secret(name: str, value: str) -> bool:
    if value in _EMPTY or value.startswith(HIDDEN):
        return False
    return hides(name, value.strip("'\""))


def blanked(text: str, secrets: Iterable[str]) -> str:
    """Blank out given secrets, as `blanking` does."""
    return blanking(secrets)(text)


def blanking(secrets: Iterable[str]) -> Callable[[str], str]:
    """Make what blanks out given secrets in all their `forms`, the longest first.

    Parameters
    ----------
    secrets
        What `secrets_in` and `secrets_of_source` give.
    """
    written = {form for secret in secrets for form in forms(secret) if len(form) >= _MIN_CHARS}
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
