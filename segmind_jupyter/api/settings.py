"""Key, base URL, auth form and time-outs: what holds, and where each value came from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, cast, get_args
from urllib.parse import urlsplit

from segmind_jupyter.api.secret import Secret
from segmind_jupyter.errors import SettingsError

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
    """How to reach Segmind.

    Parameters
    ----------
    api_key
        The key, or `None` where none was found.
    base_url
        Origin of the service without a version (``https://api.segmind.com``), or
        ``"simulator"``.
    auth
        Form in which the key is sent.
    timeout_s
        Seconds that one request may take in all.
    sources
        Where each value came from, by field name, for `%segmind status`.
    """

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
    """Put the settings together: an argument first, then the environment, then the default.

    Parameters
    ----------
    api_key, base_url, auth, timeout_s
        What the caller chose; `None` means "not chosen".
    environ
        Stands in for `os.environ`. Read at each call, so that a key set in a running notebook
        (`%env`, `os.environ`) counts.

    Raises
    ------
    SettingsError
        A value cannot work; the message says which and why.
    """
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

    Raises
    ------
    SettingsError
        It is no http(s) URL, holds a password, or would send the key unencrypted to another
        machine.
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
    """Return `timeout_s` if it is a time that can be waited.

    Raises
    ------
    SettingsError
        It is no number, or not a positive and finite one.
    """
    try:
        seconds = math.nan if isinstance(timeout_s, bool | str) else float(timeout_s)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise SettingsError(f"A time-out is a positive number of seconds, not {timeout_s!r}.")
    return seconds
