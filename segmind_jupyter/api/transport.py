"""One request on its way: its turn, the key, the retry table, bounded answers.

Knows HTTP, and nothing of what is asked.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import logging
import math
import pkgutil
import socket
import ssl
import time
import urllib.request
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx

from segmind_jupyter._version import __version__
from segmind_jupyter.api.messages import encoded
from segmind_jupyter.api.responses import (
    Response,
    UnusableAnswer,
    error_for,
    limit_reached,
    maybe_billed,
    read,
)
from segmind_jupyter.api.retry import Failure, Policy, Trouble, may_be_billed, may_repeat
from segmind_jupyter.api.settings import (
    CONNECT_TIMEOUT_S,
    MAX_CONNECTIONS,
    AuthForm,
    Secret,
    Settings,
    checked_seconds,
)
from segmind_jupyter.errors import (
    APIConnectionError,
    APIError,
    MissingKeyError,
    SettingsError,
    shortened,
)

#: The published limits are so many requests a minute (WIRE.md).
_WINDOW_S: Final = 60.0

#: The longest pause that is believed; results live as long, and no limit is known to last longer.
MAX_PAUSE_S: Final = 3600.0

#: A little less than the smallest published plan takes, five requests a minute.
_FLOOR_PER_S: Final = 4.5 / _WINDOW_S

#: Six times the largest published plan.
_CEILING_PER_S: Final = 6000 / _WINDOW_S

#: What is used of a limit: clocks and ways differ by a little, and a refusal costs a pause.
_USED: Final = 0.98


class LimitReached(Exception):
    """The server takes no request for longer than somebody wants to wait."""


class RateLimiter:
    """Say when the next request may go, to all who send requests with one key.

    The limit is the server's. Until it refuses a request, each goes at once. Then all pause until
    the moment that it names (or try one by one after 1/4, 1/2, 1, ... s), and from there on
    requests are spaced as they were taken before. Should the server take more by now, that is
    found out by doubling the rate at times. Whether it counts looks too is not documented, so
    POSTs are spaced by themselves, and looks and POSTs together where a look was refused.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._posts, self._all = _Spacing(), _Spacing()
        self._paused_until_s = -math.inf
        #: How often the present refusal was met, whose it is, and when that request was sent.
        self._refusals, self._refused, self._wall_s = 0, self._all, 0.0

    @property
    def pause_s(self) -> float:
        """Seconds until the server takes requests again, 0 if it does."""
        return max(0.0, self._paused_until_s - self._clock())

    @property
    def paused_until(self) -> float | None:
        """Unix time at which the server takes requests again; `None` if it does. For any thread."""
        return time.time() + self.pause_s if self.pause_s else None

    async def acquire(
        self, method: str, *, patience_s: float = math.inf, urgent: bool = False
    ) -> float:
        """Wait until a request may go, and return the seconds that were spent in the queue.

        Raises `LimitReached` where a pause outlasts the patience. What is urgent queues behind
        nobody, as somebody sits in front of it.
        """
        give_up_s = self._clock() + patience_s
        queued_s = 0.0
        while True:
            while self.pause_s:
                if self._paused_until_s > give_up_s:
                    raise LimitReached
                await self._sleep(self.pause_s)
            asked_s = self._clock()
            for spacing in self._spacings(method):
                if not urgent:
                    await spacing.queue.acquire()
                try:
                    while not urgent and (wait_s := spacing.next_s - self._clock()) > 0:
                        if self.pause_s:
                            break
                        await self._sleep(wait_s)
                    trying = self._refusals > 0 and spacing is self._refused
                    spacing.take(self._clock(), one_by_one=trying)
                finally:
                    if not urgent:
                        spacing.queue.release()
            queued_s += self._clock() - asked_s
            if not self.pause_s:
                return queued_s

    def record(
        self, method: str, status: int | None, *, sent_s: float, wait_s: float | None = None
    ) -> None:
        """Note what came of a request, and when the server said that it takes the next."""
        now_s, spacings = self._clock(), self._spacings(method)
        if status == 429 or (status == 503 and wait_s):
            if not self.pause_s:  # else it was on its way when the pause began
                self._wall_s = self._wall_s if self._refusals else sent_s
                if not self._refusals or method == "GET":
                    self._refused = spacings[-1]
                self._refusals += 1
                first_s = 0.5 / rate_per_s if (rate_per_s := self._refused.rate_per_s) else 0.25
                wait_s = wait_s or min(_WINDOW_S, first_s * 2.0 ** (self._refusals - 1))
            if wait_s:
                until_s = now_s + min(wait_s, MAX_PAUSE_S)
                self._paused_until_s = max(self._paused_until_s, until_s)
        elif status is not None and status != 503:
            for spacing in spacings:
                spacing.taken_s.append(sent_s)
            if self._refusals and sent_s >= self._paused_until_s and self._refused in spacings:
                self._refusals = 0
                self._refused.learn(wall_s=self._wall_s, open_s=sent_s)

    def _spacings(self, method: str) -> tuple[_Spacing, ...]:
        return (self._all, self._posts) if method == "POST" else (self._all,)


class _Spacing:
    """How far requests of a kind are apart."""

    def __init__(self) -> None:
        #: Requests a second, once the server showed how many it takes.
        self.rate_per_s: float | None = None
        self.next_s = -math.inf
        self.queue = anyio.Lock()
        #: When requests were sent that were taken: as many as the largest plan has in a minute.
        self.taken_s: deque[float] = deque(maxlen=1000)
        #: When the rate is doubled, after which time without a refusal, and whether it was.
        self._raise_at_s, self._steady_s, self._raised = math.inf, _WINDOW_S, False

    def take(self, now_s: float, *, one_by_one: bool) -> None:
        """Take the next place; one by one it is found out whether a refusal is over."""
        if self.rate_per_s and now_s >= self._raise_at_s and not one_by_one:
            self.rate_per_s, self._raise_at_s = 2 * self.rate_per_s, now_s + _WINDOW_S
            self._steady_s = _WINDOW_S if self._raised else self._steady_s  # it was survived
            self._raised = True
            if self.rate_per_s > _CEILING_PER_S:
                self.rate_per_s = None  # there is no limit
        gap_s = 1 / self.rate_per_s if self.rate_per_s else 0.0
        self.next_s = max(now_s, self.next_s) + (max(gap_s, 1.0) if one_by_one else gap_s)

    def learn(self, *, wall_s: float, open_s: float) -> None:
        """Take the limit to be what was taken before a refusal, in the time until it ended."""
        before_s = [s for s in self.taken_s if wall_s - _WINDOW_S < s <= wall_s]
        if not before_s:  # another process used it up
            return
        span_s = min(_WINDOW_S, max(open_s - min(before_s), 1e-3))
        self.rate_per_s = max(_FLOOR_PER_S, _USED * len(before_s) / span_s)
        # It is doubled the more rarely the more often that was too much.
        if self._raised:
            self._steady_s = min(2 * self._steady_s, 3600.0)
        self._raise_at_s, self._raised = open_s + self._steady_s, False
        # What was sent too early is made up for, or the next one meets the same wall.
        self.next_s = open_s + 2 / self.rate_per_s


#: Bound late and by name, so that this room imports no room above it.
_SIMULATOR_TRANSPORT: Final = "segmind_jupyter.simulator:transport"

#: httpx's errors that say that not one byte of the request was sent.
_NEVER_OPENED = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)

#: As httpx has it: how many connections stay open for the next request.
_MAX_IDLE: Final = 20

#: What logs the headers of answers (at DEBUG), which may quote the key; filters are not inherited.
_LOGGERS: Final = (
    "httpx",
    *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks")),
)


@dataclass(frozen=True, slots=True)
class _Failed:
    """One attempt that gave no usable answer."""

    failure: Failure
    reason: str = ""
    advice: str = ""
    answer: Response | None = None


class Transport:
    """Carries requests to one service. Parameters as `SegmindClient`'s."""

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None,
        policy: Policy,
        limiter: RateLimiter,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.limiter = limiter
        self._transport = transport
        self._policy = policy
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._http: httpx.AsyncClient | None = None
        # The vendor's SDK sends `x-api-key`, its older pages show the bearer form. What worked
        # goes first from then on.
        self._forms: tuple[AuthForm, ...] = ("x-api-key", "bearer")
        if settings.auth != "auto":
            self._forms = (settings.auth,)
        self._sending = 0
        self._filtered: set[logging.Logger] = set()
        self._log_filter = _KeyFilter(self.scrubbed)

    async def aclose(self) -> None:
        """Close the connections; this may be used again afterwards."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    def scrubbed(self, text: str) -> str:
        """Blank the key out of a text."""
        return self.settings.api_key.scrub(text) if self.settings.api_key else text

    def encoded(self, body: dict[str, Any]) -> bytes:
        """Encode a request body, and refuse what must not or cannot be sent."""
        return encoded(body, api_key=self.settings.api_key)

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
        before_sending: Callable[[], Awaitable[object]] | None = None,
    ) -> Response:
        """Send a request as often as the retry table allows, until it is answered 2xx.

        Whoever wants to know when it goes out, its waiting over, says so with `before_sending`.

        A pause of the server's is waited for within the time-out. Queueing for a place after it
        is not on the request's time, unless the caller set that time: on a small plan a hundred
        jobs take long, and nothing is wrong. Without `repeat` there is one attempt that was not
        refused as one too many, in its turn.
        """
        what = f"{method} {path}"
        limit_s = self.settings.timeout_s if timeout_s is None else checked_seconds(timeout_s)
        # A POST is waited for as long as the caller says; a look can be sent again.
        attempt_s = limit_s if method == "POST" else min(limit_s, self.settings.timeout_s)
        http = self._open()
        deadline = self._clock() + limit_s if repeat else math.inf
        failed: _Failed | None = None
        for attempt in itertools.count(1):
            try:
                queued_s = await self.limiter.acquire(
                    method, patience_s=deadline - self._clock(), urgent=urgent
                )
            except LimitReached:
                answer = failed.answer if failed else None
                raise limit_reached(what, until=self.limiter.paused_until, answer=answer) from None
            deadline += queued_s if timeout_s is None else 0.0
            sent_s = self._clock()
            if sent_s >= deadline:
                if failed is None:
                    raise limit_reached(what, until=None)
                raise self._error(what, failed, method=method, model=model)
            if before_sending is not None:
                await before_sending()
            outcome = await self._attempt(
                http, method, path, body, min(deadline - sent_s, attempt_s)
            )
            answer = outcome.answer if isinstance(outcome, _Failed) else outcome
            self.limiter.record(
                method,
                answer.status if answer else None,
                sent_s=sent_s,
                wait_s=answer.wait_s if answer else None,
            )
            if isinstance(outcome, Response):
                return outcome
            failed = outcome
            if failed.failure == 429:
                continue  # the limiter knows when
            delay_s = self._policy.backoff_s(attempt, luck=self._jitter())
            # Nobody sits in front of a job while the server is busy.
            endless = method == "GET" or (failed.failure == 503 and not urgent)
            if not (
                repeat
                and may_repeat(method, failed.failure)
                and (endless or attempt < self._policy.post_attempts)
                and self._clock() + delay_s < deadline
            ):
                raise self._error(what, failed, method=method, model=model)
            await self._sleep(delay_s)
        raise AssertionError("unreachable: itertools.count has no end")

    async def _attempt(
        self, http: httpx.AsyncClient, method: str, path: str, body: bytes | None, limit_s: float
    ) -> Response | _Failed:
        """Send a request once; in its other form too where the key is refused, which is free."""
        connect_s = min(CONNECT_TIMEOUT_S, limit_s)
        # A free connection is waited for as long as the call may take: others may be slow.
        timeout = httpx.Timeout(limit_s, connect=connect_s)
        try:
            # httpx bounds each read; the scope bounds an answer that drips in for ever.
            with anyio.fail_after(limit_s + 0.25), self._quiet_logs():
                for form in self._forms:
                    request = self._request(http, method, path, body, timeout, form)
                    answer = await read(await http.send(request, stream=True), scrub=self.scrubbed)
                    if answer.status != 401:
                        self._forms = (form, *(f for f in self._forms if f != form))
                        break
        except httpx.PoolTimeout:
            return _Failed(
                Trouble.NEVER_OPENED,
                f"all {MAX_CONNECTIONS} connections were busy for {limit_s:.3g} s",
                "Run it again once fewer calls are under way.",
            )
        except _NEVER_OPENED as error:
            return self._unreached(error, connect_s)
        except (httpx.HTTPError, TimeoutError, UnusableAnswer) as error:
            return _Failed(Trouble.NO_ANSWER, self._reason(error, limit_s))
        if 200 <= answer.status < 300:
            return answer
        return _Failed(answer.status, answer=answer)

    def _request(
        self,
        http: httpx.AsyncClient,
        method: str,
        path: str,
        body: bytes | None,
        timeout: httpx.Timeout,
        form: AuthForm,
    ) -> httpx.Request:
        """Build a request and sign it: the one place where the key is unwrapped."""
        headers = {} if body is None else {"content-type": "application/json"}
        try:
            request = http.build_request(
                method, f"{self._base_url}{path}", content=body, headers=headers, timeout=timeout
            )
        except (httpx.InvalidURL, ValueError):
            # Unquoted: a key may have been pasted in its place.
            raise SettingsError(
                "The base URL is no address. Set SEGMIND_BASE_URL to the service's, or unset it."
            ) from None
        secret = self.settings.api_key or Secret("simulator")
        if form == "bearer":
            request.headers["authorization"] = f"Bearer {secret.reveal()}"
        else:
            request.headers["x-api-key"] = secret.reveal()
        return request

    def _open(self) -> httpx.AsyncClient:
        """Return the open connections; they keep no cookies and follow no redirect."""
        if self._http is not None:
            return self._http
        if self.settings.api_key is None and not self.settings.simulated:
            raise MissingKeyError
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=_MAX_IDLE)
        # Plain http stays on this machine (`settings.origin`): a proxy would see the key, and
        # there is no certificate to check, while loading what checks one takes its time.
        encrypted = self._base_url.startswith("https:")
        try:
            carrier = self._transport
            if self.settings.simulated and carrier is None:
                carrier = pkgutil.resolve_name(_SIMULATOR_TRANSPORT)()
            carrier = carrier or httpx.AsyncHTTPTransport(
                verify=encrypted,
                trust_env=encrypted,
                limits=limits,
                proxy=proxy_for(self._base_url) if encrypted else None,
            )
        except (ImportError, ValueError, OSError, httpx.InvalidURL):
            # Unquoted: the address of a proxy may hold a password.
            raise SettingsError(
                "The network settings of the environment cannot be used. Check HTTPS_PROXY, "
                "ALL_PROXY (a SOCKS proxy needs `pip install 'httpx[socks]'`) and "
                "SSL_CERT_FILE, or unset them."
            ) from None
        self._http = httpx.AsyncClient(
            transport=carrier,
            headers={
                "user-agent": f"segmind-jupyter/{__version__}",
                "accept-encoding": "gzip",  # what `responses.read` decodes, bounded
            },
            follow_redirects=False,  # httpx would carry x-api-key to another origin
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            trust_env=False,
        )
        return self._http

    @contextlib.contextmanager
    def _quiet_logs(self) -> Iterator[None]:
        """Blank the key out of what the HTTP library logs while something is sent."""
        for logger in map(logging.getLogger, _LOGGERS):
            if logger.isEnabledFor(logging.INFO):
                logger.addFilter(self._log_filter)
                self._filtered.add(logger)
        self._sending += 1
        try:
            yield
        finally:
            self._sending -= 1
            while self._filtered and not self._sending:
                self._filtered.pop().removeFilter(self._log_filter)

    @property
    def _base_url(self) -> str:
        return "http://simulator" if self.settings.simulated else self.settings.base_url

    def _error(
        self, what: str, failed: _Failed, *, method: str, model: str | None
    ) -> APIError | APIConnectionError:
        answer = failed.answer
        if may_be_billed(method, failed.failure):
            why = f"was answered {answer.status}" if answer else f"got no answer: {failed.reason}"
            return maybe_billed(what, why, answer)
        if answer is None:
            return APIConnectionError(
                f"{self._base_url} was not reached ({failed.reason}), so nothing was sent. "
                f"{failed.advice}"
            )
        if failed.failure == 429:
            return limit_reached(what, until=self.limiter.paused_until, answer=answer)
        return error_for(answer, what=what, model=model, look=method == "GET")

    def _unreached(self, error: Exception, limit_s: float) -> _Failed:
        """Name what kept a connection from opening, and what mends it."""
        reason, host = self._reason(error, limit_s), urlsplit(self._base_url).hostname
        causes: list[BaseException] = [error]
        while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
            causes.append(cause)
        if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
            return _Failed(
                Trouble.UNTRUSTED,
                reason,
                f"The certificate that {host} shows is not trusted here, as behind a company's "
                "proxy: set SSL_CERT_FILE to the company's certificates (a .pem file; your IT "
                "has it) before the kernel starts.",
            )
        if self._transport is None and proxy_for(self._base_url):
            advice = (
                "The way leads through the proxy that HTTPS_PROXY or ALL_PROXY names: check that, "
                f"or set NO_PROXY={host} to go without."
            )
        elif any(isinstance(cause, socket.gaierror) for cause in causes):
            advice = f"The name {host} is not known: check the network, a VPN and SEGMIND_BASE_URL."
        else:
            advice = "Check the network and SEGMIND_BASE_URL, then run it again."
        return _Failed(Trouble.NEVER_OPENED, reason, advice)

    def _reason(self, error: Exception, limit_s: float) -> str:
        """Say why a request failed; httpx's time-outs come with an empty message."""
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            return f"timed out after {limit_s:.3g} s"
        return shortened(str(error), scrub=self.scrubbed) or type(error).__name__


class _KeyFilter(logging.Filter):
    """Blanks the key out of a log record."""

    def __init__(self, scrub: Callable[[str], str]) -> None:
        super().__init__()
        self._scrub = scrub

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        clean = self._scrub(text)
        if clean != text:
            record.msg, record.args = clean, None
        return True


def proxy_for(base_url: str) -> str | None:
    """Return the address of the proxy that the environment names for https, if it is to be used.

    httpx's own reading of NO_PROXY fails at `[::1]` and takes a network such as `fe80::/10` for a
    name.
    """
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    if not proxy or _goes_direct(urlsplit(base_url).hostname or "", proxies.get("no", "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _goes_direct(host: str, no_proxy: str) -> bool:
    """Return whether NO_PROXY names a host: as a name or its end, an address, or a network."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        for entry in no_proxy.split(","):
            with contextlib.suppress(ValueError):
                network = ipaddress.ip_network(entry.strip().strip("[]"), strict=False)
                if network.version == address.version and address in network:
                    return True
    for entry in no_proxy.lower().split(","):
        name = entry.strip().rpartition("://")[2].lstrip("*.")
        name = name if name.startswith("[") else name.partition(":")[0]
        if entry.strip() == "*" or (name and (host == name or host.endswith(f".{name}"))):
            return True
    return False
