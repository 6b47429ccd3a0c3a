"""Key, base URL, auth form and time-outs: what holds, and where each value came from."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, Literal, NoReturn, cast, get_args
from urllib.parse import urlsplit

from segmind_jupyter.errors import SettingsError

_SHOWN = "<hidden>"

#: Shorter keys are not looked for in texts: blanking out every "abc" would garble them.
_MIN_SCRUBBED_CHARS = 8

#: What JSON within JSON within JSON puts before an escape; a bound, as a server may send millions.
_BACKSLASHES = r"\\{1,15}"


#: What shows nowhere, and would hide a key until it is dropped: control sequences and characters,
#: those that reorder, and those without width; or any character that JSON escapes.
_INVISIBLE: Final = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
)
_SEQUENCE: Final = rf"(?:\x1b|{_BACKSLASHES}u001[bB])\[[0-?]{{0,20}}[@-~]"
_ESCAPED: Final = rf"{_BACKSLASHES}(?:u[0-9a-fA-F]{{4}}|[bf])"
_HIDING: Final = rf"(?:{_SEQUENCE}|[{_INVISIBLE}]|{_ESCAPED}){{0,8}}"
_HIDDEN: Final = re.compile(f"[{_INVISIBLE}]")


class Secret:
    """A secret text that shows itself nowhere.

    `%xmode Verbose` prints the value of every local name, so the key is never held as a plain
    `str` in a frame of ours; `reveal` is called where the request header is set, and to save it.
    """

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = ""
        kind: type = type(text)
        if not issubclass(kind, str):
            del text
            raise SettingsError(f"An API key is a string, not {kind.__name__}.")
        # As a `.env` file and `docker --env-file` hand it on, quotation marks and all.
        text = text.strip()
        text = text[1:-1].strip() if text[:1] + text[-1:] in {'""', "''", "“”", "‘’"} else text
        # An HTTP library that refuses such a header quotes it in its own error message.
        why = None
        if not text:
            why = "The API key is empty. Run `%segmind key` to type one in."
        elif text.lower().startswith("bearer "):
            why = "The API key begins with `Bearer`: give what comes behind that, alone."
        elif not (text.isascii() and text.isprintable()) or " " in text or text[0] in "\"'":
            why = (
                "The API key holds a character that no key has (a space, a quotation mark, a "
                "control character or a letter outside ASCII). Copy it again and run "
                "`%segmind key`."
            )
        if why is not None:
            del text
            raise SettingsError(why)
        self.__text = text

    def reveal(self) -> str:
        """Return the secret itself."""
        return self.__text

    def scrub(self, text: str) -> str:
        """Blank the secret out of `text`, for a server that quotes a refused key.

        Also where JSON escapes hide it, as in an answer that is kept as it came, or characters
        that are dropped before a text is shown.
        """
        if len(self.__text) < _MIN_SCRUBBED_CHARS:
            return text
        text = text.replace(self.__text, _SHOWN)
        if "\\" in text or _HIDDEN.search(text):
            return re.sub(_HIDING.join(map(_spelled, self.__text)), _SHOWN, text)
        return text

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


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is known of a model, as of WIRE.md; the defaults hold for one of which nothing is.

    `cost` (dollars) and `seconds` are means of one call in the vendor's directory of August 2026;
    the bounds are those within which Anthropic's models look at a picture.
    """

    slug: str
    cost: float | None = None
    seconds: float | None = None
    image_edge_px: int = 1568
    image_tokens: int = 1568
    #: Parameters that it answers with 400.
    refused_params: frozenset[str] = frozenset()
    #: What a list of models says beside it.
    note: str = ""


_LEFT: Final = "not in Segmind's directory any more, may be retired"

#: Claude models seen on Segmind, for completion, suggestions and estimates: lists go stale, so no
#: slug is refused for being in none.
_MODELS: Final = {
    info.slug: info
    for info in (
        ModelInfo(slug="claude-4-sonnet", cost=0.0214, seconds=11),
        ModelInfo(slug="claude-4.5-sonnet", cost=0.0455, seconds=24),
        ModelInfo(
            slug="claude-opus-4.7",
            cost=0.0691,
            seconds=18,
            image_edge_px=2576,
            image_tokens=4784,
            refused_params=frozenset({"temperature", "top_p", "top_k"}),
            note="high resolution; takes no temperature",
        ),
        ModelInfo(slug="claude-3.7-sonnet", note=_LEFT),
        ModelInfo(slug="claude-3.5-sonnet"),
        ModelInfo(slug="claude-3-opus", note=_LEFT),
        ModelInfo(slug="claude-3-haiku", note=_LEFT),
    )
}

#: Their slugs, newest families first.
KNOWN_MODELS: Final = tuple(_MODELS)


def model_info(slug: str) -> ModelInfo:
    """Return what is known of a model; of an unknown one, what holds for most."""
    return _MODELS.get(slug) or ModelInfo(slug=slug)


_SLUG = re.compile(r"[a-z0-9][a-z0-9.-]*")


def checked_slug(model: str) -> str:
    """Return `model` if it has the form of a slug; it becomes part of a URL's path."""
    if not isinstance(model, str) or not _SLUG.fullmatch(model):
        raise SettingsError(
            f"{model!r} is no model name: lower-case letters, digits, dots and hyphens, such as "
            f"{DEFAULT_MODEL}. `%segmind models` lists those that are known."
        )
    return model


DEFAULT_BASE_URL: Final = "https://api.segmind.com"

#: Where the vendor's SDK reads what was charged (WIRE.md).
_HISTORY_URL: Final = "https://api.spotprod.segmind.com"

KEY_NAME: Final = "SEGMIND_API_KEY"
_URL_NAME: Final = "SEGMIND_BASE_URL"

#: The base URL that means the simulator inside this process.
SIMULATOR: Final = "simulator"

#: A call takes 11 s to 24 s on average (the vendor's model pages), and a long one minutes.
READ_TIMEOUT_S: Final = 300.0

#: How the key travels; `auto` sends `x-api-key` and tries `Authorization: Bearer` after a 401.
AuthForm = Literal["auto", "x-api-key", "bearer"]

#: What becomes of kept replies: never looked for; used, and kept where there is none; used, or
#: else an error, so that nothing is ever sent.
Caching = Literal["off", "on", "only"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to reach Segmind."""

    api_key: Secret | None = None
    base_url: str = DEFAULT_BASE_URL
    auth: AuthForm = "auto"
    timeout_s: float = READ_TIMEOUT_S
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    #: Why a key that may be kept somewhere could not be read.
    trouble: str = field(default="", compare=False)

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
    """Put the settings together: an argument first, then the environment, then the default.

    A key is looked for in Colab's secrets and in the keyring too, unless `environ` is given. A
    local name holds neither the environment nor the key: tracebacks may show those.
    """
    sources = {
        name: "default" if value is None else "set here"
        for name, value in (("base_url", base_url), ("auth", auth), ("timeout_s", timeout_s))
    }
    sources["api_key"] = "default" if api_key is None else "set here"
    try:
        if not isinstance(api_key, Secret | None):
            api_key = Secret(api_key)
        elif api_key is None and _setting(KEY_NAME, environ):
            api_key, sources["api_key"] = Secret(_setting(KEY_NAME, environ)), KEY_NAME
    except SettingsError:
        del api_key  # refused, but perhaps a key all the same
        raise
    if base_url is None and _setting(_URL_NAME, environ):
        base_url, sources["base_url"] = _setting(_URL_NAME, environ), _URL_NAME
    base_url = DEFAULT_BASE_URL if base_url is None else origin(base_url)
    trouble = ""
    if api_key is None and environ is None and base_url != SIMULATOR:
        from segmind_jupyter.api.keys import stored_key

        try:
            api_key, sources["api_key"] = stored_key()
        except SettingsError as error:
            trouble = str(error)
    if auth not in (None, *get_args(AuthForm)):
        raise SettingsError(f"auth={auth!r} is none of {', '.join(get_args(AuthForm))}.")
    return Settings(
        api_key=api_key,
        base_url=base_url,
        auth=cast(AuthForm, auth or "auto"),
        timeout_s=READ_TIMEOUT_S if timeout_s is None else checked_seconds(timeout_s),
        sources=MappingProxyType(sources),
        trouble=trouble,
    )


def _setting(name: str, environ: Mapping[str, str] | None) -> str:
    return (os.environ if environ is None else environ).get(name, "").strip()


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
    if "/v1/" in path or "/v2/" in path or parts.hostname in {"segmind.com", "www.segmind.com"}:
        raise _bad_url(
            "it is the address of a model or of a page; give the service's alone, and the model "
            "with `-m`"
        )
    return f"{parts.scheme}://{parts.netloc}{path}"


def of_history(settings: Settings) -> Settings:
    """Return the settings with which the history of requests is read: at one other origin alone."""
    if settings.base_url == DEFAULT_BASE_URL:
        return replace(settings, base_url=_HISTORY_URL)
    if settings.simulated or urlsplit(settings.base_url).hostname in _LOOPBACK:
        return settings
    raise SettingsError(
        f"Segmind's history is at {_HISTORY_URL}, and requests go to {settings.base_url}, so the "
        "key is not sent there. Unset SEGMIND_BASE_URL to read it."
    )


def _bad_url(why: str) -> SettingsError:
    """Say what is wrong without quoting it: a key may have been pasted there by mistake."""
    return SettingsError(
        f"The base URL cannot be used: {why}. Set SEGMIND_BASE_URL to {DEFAULT_BASE_URL} or to "
        f"`{SIMULATOR}`."
    )


def checked_seconds(timeout_s: float) -> float:
    """Return `timeout_s` if it is a time that can be waited."""
    try:
        seconds = math.nan if isinstance(timeout_s, bool | str) else float(timeout_s)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise SettingsError(f"A time-out is a positive number of seconds, not {timeout_s!r}.")
    return seconds
