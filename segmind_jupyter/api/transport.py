"""One request on its way: its turn, the key, the retry table, bounded answers.

Knows HTTP, and nothing of what is asked.
"""

from __future__ import annotations

import functools
import itertools
import logging
import math
import pkgutil
import socket
import ssl
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx

from segmind_jupyter import errors
from segmind_jupyter._version import __version__
from segmind_jupyter.api import retry
from segmind_jupyter.api.responses import Response, error_for, limit_reached, maybe_billed, read
from segmind_jupyter.api.settings import AuthForm, Secret, Settings, checked_seconds
from segmind_jupyter.errors import shortened

#: Bound late and by name, so that this room imports no room above it.
_SIMULATOR_TRANSPORT: Final = "segmind_jupyter.simulator.inprocess:SimulatorTransport"

_CONNECT_S: Final = 10.0

#: Errors that say that not one byte of the request was sent.
_NEVER_OPENED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    ssl.SSLCertVerificationError,  # as it is in older releases
)

#: What logs the headers of answers (at DEBUG), which may quote the key; filters are not inherited.
_LOGGERS: Final = tuple(
    f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")
)

#: What every request says besides its key. `responses.read` unpacks gzip, bounded.
_HEADERS: Final = {
    "accept": "*/*",
    "accept-encoding": "gzip",
    "connection": "keep-alive",
    "user-agent": f"segmind-jupyter/{__version__}",
}


#: Most requests go where the last one went, and reading an address takes as long as the rest.
_url = functools.lru_cache(maxsize=16)(httpx.URL)


class Transport:
    """Carries requests to one service. Parameters as `SegmindClient`'s."""

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None,
        limiter: retry.RateLimiter,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.limiter = limiter
        self._transport = transport
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._carrier: httpx.AsyncBaseTransport | None = None
        # The vendor's SDK sends `x-api-key`, its older pages show the bearer form. What worked
        # goes first from then on.
        self._forms: tuple[AuthForm, ...] = ("x-api-key", "bearer")
        if settings.auth != "auto":
            self._forms = (settings.auth,)

    async def aclose(self) -> None:
        """Close the connections; this may be used again afterwards."""
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            await carrier.aclose()
            for name in _LOGGERS:
                logging.getLogger(name).removeFilter(self._blank_key)

    def scrubbed(self, text: str) -> str:
        """Blank the key out of a text."""
        return self.settings.api_key.scrub(text) if self.settings.api_key else text

    async def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        timeout_s: float | None = None,
        model: str | None = None,
        urgent: bool = False,
        repeat: bool = True,
    ) -> Response:
        """Send a request as often as the retry table allows, until it is answered 2xx.

        A pause of the server's is waited for within the time-out; queueing for a place after it
        is on the time of a caller who set one alone: on a small plan a hundred jobs take long.
        Without `repeat` there is one attempt that was not refused as one too many.
        """
        what = f"{method} {path}"
        limit_s = self.settings.timeout_s if timeout_s is None else checked_seconds(timeout_s)
        # A POST is waited for as long as the caller says; a look can be sent again.
        attempt_s = limit_s if method == "POST" else min(limit_s, self.settings.timeout_s)
        carrier = self._open()
        deadline = self._clock() + limit_s if repeat else math.inf
        failed: errors.SegmindError | None = None
        for attempt in itertools.count(1):
            try:
                queued_s = await self.limiter.acquire(
                    method, patience_s=deadline - self._clock(), urgent=urgent
                )
            except retry.LimitReached:
                raise failed or limit_reached(what, until=self.limiter.paused_until) from None
            deadline += queued_s if timeout_s is None else 0.0
            sent_s = self._clock()
            if sent_s >= deadline:
                raise failed or limit_reached(what, until=None)
            if carrier is not self._carrier:  # nor would its log be watched any more
                told = "The connections were closed meanwhile, so it was not sent. Run it again."
                raise errors.APIConnectionError(told) from failed
            answer = await self._attempt(carrier, what, body, min(deadline - sent_s, attempt_s))
            if isinstance(answer, Response):
                status = answer.status
                self.limiter.record(method, status, sent_s=sent_s, wait_s=answer.wait_s)
                if 200 <= status < 300:
                    return answer
                until = self.limiter.paused_until
                failed = error_for(answer, what=what, model=model, until=until)
                if status == 429:
                    continue  # the limiter knows when
                again = retry.may_repeat(method, status)
            else:
                status, failed = 0, answer
                again = isinstance(answer, errors.APIConnectionError) and answer.may_pass
            delay_s = retry.backoff_s(attempt, luck=self._jitter())
            # Nobody sits in front of a job while the server is busy.
            endless = method == "GET" or (status == 503 and not urgent)
            if not (
                repeat
                and again
                and (endless or attempt < retry.POST_ATTEMPTS)
                and self._clock() + delay_s < deadline
            ):
                raise failed
            await self._sleep(delay_s)
        raise AssertionError("unreachable: itertools.count has no end")

    async def _attempt(
        self, carrier: httpx.AsyncBaseTransport, what: str, body: bytes | None, limit_s: float
    ) -> Response | errors.APIConnectionError | errors.MaybeBilledError:
        """Send a request once; in its other form too where the key is refused, which is free.

        An error is returned, as in a traceback this frame would show the request with the key.
        """
        method, path = what.split(" ", 1)
        connect_s = min(_CONNECT_S, limit_s)
        try:
            request = httpx.Request(
                method,
                _url(f"{self._base_url}{path}"),
                content=body,
                headers=_HEADERS | ({"content-type": "application/json"} if body else {}),
                # A free connection is waited for as long as the call may take: others may be slow.
                extensions={"timeout": httpx.Timeout(limit_s, connect=connect_s).as_dict()},
            )
        except (httpx.InvalidURL, ValueError):
            # Unquoted: a key may have been pasted in its place.
            raise errors.SettingsError(
                "The base URL is no address. Set SEGMIND_BASE_URL to the service's, or unset it."
            ) from None
        secret = self.settings.api_key
        if secret is None or self.settings.simulated:
            secret = Secret("simulator")
        try:
            # httpx bounds each read; the scope bounds an answer that drips in for ever.
            with anyio.fail_after(limit_s + 0.25):
                for form in self._forms:
                    name = "authorization" if form == "bearer" else form
                    before = "Bearer " if form == "bearer" else ""
                    # The one place where the key is unwrapped.
                    request.headers[name] = before + secret.reveal()
                    response = await carrier.handle_async_request(request)
                    answer = await read(response, scrub=self.scrubbed)
                    if answer.status != 401:
                        self._forms = (form, *(f for f in self._forms if f != form))
                        break
                    del request.headers[name]
        except _NEVER_OPENED as error:
            return self._unreached(error, connect_s)
        except (httpx.HTTPError, OSError) as error:
            reason = self._reason(error, limit_s)
            return maybe_billed(what, reason) if method == "POST" else self._no_way(reason)
        return answer

    def _open(self) -> httpx.AsyncBaseTransport:
        """Return the open connections.

        An `httpx.AsyncClient` around them would cost a third more, and do what must not be done:
        keep cookies, and carry the key to where a redirect leads.
        """
        if self._carrier is not None:
            return self._carrier
        if self.settings.api_key is None and not self.settings.simulated:
            raise errors.MissingKeyError(self.settings.trouble)
        # Plain http stays on this machine (`settings.origin`): a proxy would see the key, and
        # there is no certificate to check, while loading what checks one takes its time.
        encrypted, proxy = self._base_url.startswith("https:"), proxy_for(self._base_url)
        try:
            carrier = self._transport
            if self.settings.simulated and carrier is None:
                carrier = pkgutil.resolve_name(_SIMULATOR_TRANSPORT)()
            carrier = carrier or httpx.AsyncHTTPTransport(
                verify=encrypted,
                trust_env=encrypted,
                proxy=httpx.Proxy(proxy) if encrypted and proxy else None,
            )
        except (ImportError, ValueError, OSError, httpx.InvalidURL):
            # Unquoted: the address of a proxy may hold a password.
            raise errors.SettingsError(
                "The network settings of the environment cannot be used. Check HTTPS_PROXY, "
                "ALL_PROXY (a SOCKS proxy needs `pip install 'httpx[socks]'`) and "
                "SSL_CERT_FILE, or unset them."
            ) from None
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(self._blank_key)
        self._carrier = carrier
        return carrier

    def _blank_key(self, record: logging.LogRecord) -> bool:
        """Blank the key out of what the HTTP library logs."""
        text = record.getMessage()
        clean = self.scrubbed(text)
        if clean != text:
            record.msg, record.args = clean, None
        return True

    @property
    def _base_url(self) -> str:
        return "http://simulator" if self.settings.simulated else self.settings.base_url

    def _unreached(self, error: Exception, limit_s: float) -> errors.APIConnectionError:
        """Name what kept a connection from opening, and what mends it."""
        reason, host = self._reason(error, limit_s), urlsplit(self._base_url).hostname
        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
            causes.append(cause)
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            advice = (
                f"The certificate that {host} shows is not trusted here, as behind a company's "
                "proxy: set SSL_CERT_FILE to the company's certificates (a .pem file; your IT "
                "has it) before the kernel starts."
            )
            return self._no_way(reason, advice, may_pass=False)
        if self._transport is None and proxy_for(self._base_url):
            advice = (
                "The way leads through the proxy that HTTPS_PROXY or ALL_PROXY names: check that, "
                f"or set NO_PROXY={host} to go without."
            )
        elif any(isinstance(cause, socket.gaierror) for cause in causes):
            advice = f"The name {host} is not known: check the network, a VPN and SEGMIND_BASE_URL."
        else:
            advice = "Check the network and SEGMIND_BASE_URL, then run it again."
        return self._no_way(reason, advice)

    def _no_way(self, reason: str, advice: str = "", **fields: Any) -> errors.APIConnectionError:
        told = f"{self._base_url} was not reached ({reason}), so nothing was sent. {advice}"
        return errors.APIConnectionError(told.rstrip(), **fields)

    def _reason(self, error: Exception, limit_s: float) -> str:
        """Say why a request failed; httpx's time-outs come with an empty message."""
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            return f"timed out after {limit_s:.3g} s"
        return shortened(str(error), scrub=self.scrubbed) or type(error).__name__


#: What says how the network is reached; read when the first connection opens.
NETWORK_NAMES: Final = (
    "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip


def proxy_for(base_url: str) -> str | None:
    """Return the address of the proxy that the environment names for https, unless NO_PROXY does.

    httpx's own reading fails at `[::1]`.
    """
    proxies = urllib.request.getproxies()
    proxy, host = proxies.get("https") or proxies.get("all"), urlsplit(base_url).hostname or ""
    if not proxy or urllib.request.proxy_bypass(host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
