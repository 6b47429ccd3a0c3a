"""Key, base URL, auth form and time-outs: what holds, and where each value came from."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, NoReturn, cast, get_args
from urllib.parse import urlsplit

from segmind_jupyter.errors import SettingsError

_SHOWN = "<hidden>"

#: Shorter keys are not looked for in texts: blanking out every "abc" would garble them.
_MIN_SCRUBBED_CHARS = 8

#: What JSON within JSON within JSON puts before an escape; a bound, as a server may send millions.
_BACKSLASHES = r"\\{1,15}"


class Secret:
    """A secret text that shows itself nowhere.

    `%xmode Verbose` prints the value of every local name, so the key is never held as a plain
    `str` in a frame of ours; `reveal` is called in one place, where the request header is set.
    """

    __slots__ = ("__escaped", "__text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise SettingsError(f"An API key is a string, not {type(text).__name__}.")
        text = text.strip()
        if not text:
            raise SettingsError("The API key is empty. Run `%segmind key` to type one in.")
        # An HTTP library that refuses such a header quotes it in its own error message.
        if not (text.isascii() and text.isprintable()) or " " in text:
            raise SettingsError(
                "The API key holds a character that no key has (a space, a control character or "
                "a letter outside ASCII). Copy it again and run `%segmind key`."
            )
        self.__text = text
        self.__escaped = re.compile("".join(map(_spelled, text)))

    def reveal(self) -> str:
        """Return the secret itself."""
        return self.__text

    def scrub(self, text: str) -> str:
        """Blank the secret out of `text`, for a server that quotes a refused key.

        Also where JSON escapes hide it, as in an answer that is kept as it came.
        """
        if len(self.__text) < _MIN_SCRUBBED_CHARS:
            return text
        text = text.replace(self.__text, _SHOWN)
        return self.__escaped.sub(_SHOWN, text) if "\\" in text else text

    def is_in(self, text: str) -> bool:
        """Return whether `text` holds the secret."""
        return len(self.__text) >= _MIN_SCRUBBED_CHARS and self.__text in text

    def __repr__(self) -> str:
        return _SHOWN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(_SHOWN, spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.__text == self.__text

    def __hash__(self) -> int:
        return hash(self.__text)

    def __reduce__(self) -> NoReturn:
        raise TypeError("An API key is not pickled: set SEGMIND_API_KEY where it is needed.")

    def __getstate__(self) -> NoReturn:
        self.__reduce__()


def _spelled(letter: str) -> str:
    """Write the pattern of a letter, as it is or as JSON may escape it."""
    plain = re.escape(letter)
    if letter in '"/\\':
        plain = f"(?:{_BACKSLASHES})?{plain}"
    digits = "".join(f"[{d}{d.upper()}]" if d.isalpha() else d for d in f"{ord(letter):02x}")
    return f"(?:{plain}|{_BACKSLASHES}u00{digits})"


DEFAULT_MODEL: Final = "claude-4-sonnet"

#: Claude models seen on Segmind, newest families first; for completion and suggestions only.
KNOWN_MODELS: Final = (
    "claude-4-sonnet",
    "claude-4.5-sonnet",
    "claude-opus-4.7",
    "claude-3.7-sonnet",
    "claude-3.5-sonnet",
    "claude-3-opus",
    "claude-3-haiku",
)

_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]*")


def checked_slug(model: str) -> str:
    """Return `model` if it has the form of a slug; it becomes part of a URL's path."""
    if not isinstance(model, str) or not _SLUG.fullmatch(model):
        raise SettingsError(
            f"{model!r} is no model name: lower-case letters, digits, dots and hyphens, such as "
            f"{DEFAULT_MODEL}. `%segmind models` lists those that are known."
        )
    return model


def nearest_model(model: str) -> str | None:
    """Return the known slug that `model` was probably meant to be, or `None`."""
    matches = difflib.get_close_matches(model, KNOWN_MODELS, n=1)
    return matches[0] if matches and matches[0] != model else None


DEFAULT_BASE_URL: Final = "https://api.segmind.com"

_KEY_NAME: Final = "SEGMIND_API_KEY"
_URL_NAME: Final = "SEGMIND_BASE_URL"

#: The base URL that means the simulator inside this process.
SIMULATOR: Final = "simulator"

#: A call takes 11 s to 24 s on average (the vendor's model pages), and a long one minutes.
READ_TIMEOUT_S: Final = 300.0
CONNECT_TIMEOUT_S: Final = 10.0

#: Most requests of a client that can be under way at a time; others wait for a free connection.
MAX_CONNECTIONS: Final = 100

#: How the key travels; `auto` sends `x-api-key` and tries `Authorization: Bearer` after a 401.
AuthForm = Literal["auto", "x-api-key", "bearer"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach Segmind."""

    api_key: Secret | None = None
    base_url: str = DEFAULT_BASE_URL
    auth: AuthForm = "auto"
    timeout_s: float = READ_TIMEOUT_S
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    @property
    def simulated(self) -> bool:
        """Whether the embedded simulator answers."""
        return self.base_url == SIMULATOR


def resolve(
    *,
    api_key: str | Secret | None = None,
    base_url: str | None = None,
    auth: str | None = None,
    timeout_s: float | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Put the settings together: an argument first, then the environment, then the default."""
    environ = os.environ if environ is None else environ
    key, key_source = _key(api_key, environ)
    url, url_source = _url(base_url, environ)
    sources = {
        "api_key": key_source,
        "base_url": url_source,
        "auth": "default" if auth is None else "set here",
        "timeout_s": "default" if timeout_s is None else "set here",
    }
    return Settings(
        api_key=key,
        base_url=url,
        auth=_auth_form(auth),
        timeout_s=READ_TIMEOUT_S if timeout_s is None else checked_seconds(timeout_s),
        sources=MappingProxyType(sources),
    )


def _key(chosen: str | Secret | None, environ: Mapping[str, str]) -> tuple[Secret | None, str]:
    """Wrap the key at once: no frame but this one sees it as a plain string."""
    if isinstance(chosen, Secret):
        return chosen, "set here"
    if chosen is not None:
        return Secret(chosen), "set here"
    if environ.get(_KEY_NAME, "").strip():
        return Secret(environ[_KEY_NAME]), _KEY_NAME
    return None, "default"


def _url(chosen: str | None, environ: Mapping[str, str]) -> tuple[str, str]:
    if chosen is not None:
        return origin(chosen), "set here"
    if environ.get(_URL_NAME, "").strip():
        return origin(environ[_URL_NAME].strip()), _URL_NAME
    return DEFAULT_BASE_URL, "default"


def origin(base_url: str) -> str:
    """Reduce a base URL to the origin and prefix that `/v1/…` and `/v2/…` are put behind.

    A trailing ``/v1`` or ``/v2`` is accepted, as the vendor's SDK is configured with one.
    """
    if base_url == SIMULATOR:
        return SIMULATOR
    try:
        parts = urlsplit(base_url)
        _ = parts.port  # a malformed port raises here
    except (ValueError, AttributeError, TypeError):
        raise _bad_url("it is no address") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _bad_url("it does not begin with https:// and a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _bad_url("it holds a user name, a query or a fragment")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise _bad_url(f"http://{parts.hostname} would carry the key unencrypted; use https")
    path = parts.path.rstrip("/").removesuffix("/v1").removesuffix("/v2").rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path}"


def _bad_url(why: str) -> SettingsError:
    """Say what is wrong without quoting it: a key may have been pasted there by mistake."""
    return SettingsError(
        f"The base URL cannot be used: {why}. Set SEGMIND_BASE_URL to {DEFAULT_BASE_URL} or to "
        f"`{SIMULATOR}`."
    )


def _auth_form(auth: str | None) -> AuthForm:
    if auth is None:
        return "auto"
    if auth not in get_args(AuthForm):
        raise SettingsError(f"auth={auth!r} is none of {', '.join(get_args(AuthForm))}.")
    return cast(AuthForm, auth)


def checked_seconds(timeout_s: float) -> float:
    """Return `timeout_s` if it is a time that can be waited."""
    try:
        seconds = math.nan if isinstance(timeout_s, bool | str) else float(timeout_s)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise SettingsError(f"A time-out is a positive number of seconds, not {timeout_s!r}.")
    return seconds
