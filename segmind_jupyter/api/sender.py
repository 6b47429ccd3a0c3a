"""One request on its way: pooled connections, the retry table, the key, errors that say what to do.

Knows HTTP, and nothing of what is asked.
"""

from __future__ import annotations

import itertools
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import anyio
import httpx

from segmind_jupyter import __version__
from segmind_jupyter.api.answers import Answer, OversizedError, read
from segmind_jupyter.api.auth import KeyAuth
from segmind_jupyter.api.budget import Budget, Kind
from segmind_jupyter.api.errors import error_for, maybe_billed
from segmind_jupyter.api.retry import Failure, Policy, Trouble, may_be_billed
from segmind_jupyter.api.secret import Secret
from segmind_jupyter.api.settings import (
    CONNECT_TIMEOUT_S,
    MAX_CONNECTIONS,
    Settings,
    checked_seconds,
)
from segmind_jupyter.api.wire import encoded
from segmind_jupyter.errors import (
    APIConnectionError,
    APIError,
    MissingKeyError,
    SettingsError,
    shortened,
)

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

_CHECK_NETWORK: Final = "Check the network and SEGMIND_BASE_URL, then run it again."
_CALL_LESS: Final = "Run it again once fewer calls are under way."

#: As httpx has it: how many connections stay open for the next request.
_MAX_IDLE: Final = 20


@dataclass(frozen=True, slots=True)
class _Failed:
    """One attempt that gave no usable answer."""

    failure: Failure
    reason: str = ""
    answer: Answer | None = None
    advice: str = _CHECK_NETWORK

    @property
    def status(self) -> int | None:
        return self.answer.status if self.answer else None

    @property
    def retry_after_s(self) -> float | None:
        return self.answer.retry_after_s if self.answer else None


class Sender:
    """Carries requests to one service. Parameters as `SegmindClient`'s."""

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None,
        policy: Policy,
        budget: Budget,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self.settings = settings
        self._transport = transport
        self._policy = policy
        self._budget = budget
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._http: httpx.AsyncClient | None = None

    async def aclose(self) -> None:
        """Close the connections; the sender may be used again afterwards."""
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
        kind: Kind,
        body: bytes | None = None,
        timeout_s: float | None = None,
        model: str | None = None,
        policy: Policy | None = None,
    ) -> Answer:
        """Send a request as often as the retry table allows, until it is answered 2xx.

        Waiting for its turn is not on the request's time, unless the caller set that time: then
        only the first turn is not, and a later one that comes after the deadline is not taken.
        A POST is waited for as long as the caller says; a look, which can be sent again, at most
        as long as the settings do.
        """
        limit_s = self.settings.timeout_s if timeout_s is None else checked_seconds(timeout_s)
        attempt_s = limit_s if method == "POST" else min(limit_s, self.settings.timeout_s)
        policy = policy or self._policy
        await self._budget.turn(kind)
        deadline = self._clock() + limit_s
        for attempt in itertools.count(1):
            remaining_s = min(deadline - self._clock(), attempt_s)
            outcome = await self._attempt(method, path, body, remaining_s)
            self._budget.answered(outcome.status, retry_after_s=outcome.retry_after_s)
            if isinstance(outcome, Answer):
                return outcome
            delay_s = policy.delay_s(
                method,
                outcome.failure,
                attempt=attempt,
                remaining_s=deadline - self._clock(),
                retry_after_s=outcome.retry_after_s,
                jitter=self._jitter,
            )
            if delay_s is not None:
                await self._sleep(delay_s)
                asked = self._clock()
                await self._budget.turn(kind)
                if timeout_s is None:
                    deadline += self._clock() - asked
            if delay_s is None or self._clock() >= deadline:
                raise self._error(f"{method} {path}", outcome, method=method, model=model)
        raise AssertionError("unreachable: itertools.count has no end")

    async def _attempt(
        self, method: str, path: str, body: bytes | None, remaining_s: float
    ) -> Answer | _Failed:
        """Send a request once."""
        connect_s = min(CONNECT_TIMEOUT_S, remaining_s)
        # A free connection is waited for as long as the call may take: others may be slow.
        timeout = httpx.Timeout(remaining_s, connect=connect_s)
        request = self._request(method, path, body, timeout)
        try:
            # httpx bounds each read; the scope bounds an answer that drips in for ever.
            with anyio.fail_after(remaining_s + 0.25):
                response = await self._open().send(request, stream=True)
                answer = await read(response, scrub=self.scrubbed)
        except httpx.PoolTimeout:
            busy = f"all {MAX_CONNECTIONS} connections were busy for {remaining_s:.3g} s"
            return _Failed(Trouble.NEVER_OPENED, busy, advice=_CALL_LESS)
        except _NEVER_OPENED as error:
            return _Failed(Trouble.NEVER_OPENED, self._reason(error, connect_s))
        except (httpx.HTTPError, TimeoutError, OversizedError) as error:
            return _Failed(Trouble.NO_ANSWER, self._reason(error, remaining_s))
        if 200 <= answer.status < 300:
            return answer
        return _Failed(answer.status, answer=answer)

    def _request(
        self, method: str, path: str, body: bytes | None, timeout: httpx.Timeout
    ) -> httpx.Request:
        try:
            return self._open().build_request(
                method,
                f"{self._base_url}{path}",
                content=body,
                headers={"content-type": "application/json"} if body is not None else None,
                timeout=timeout,
            )
        except (httpx.InvalidURL, ValueError):
            # Unquoted: a key may have been pasted in its place.
            raise SettingsError(
                "The base URL is no address. Set SEGMIND_BASE_URL to the service's, or unset it."
            ) from None

    def _open(self) -> httpx.AsyncClient:
        if self._http is None:
            auth = self._auth()
            try:
                self._http = self._connections(auth)
            except (ImportError, ValueError, OSError):
                # Unquoted: the address of a proxy may hold a password.
                raise SettingsError(
                    "The network settings of the environment cannot be used. Check HTTPS_PROXY, "
                    "ALL_PROXY (a SOCKS proxy needs `pip install 'httpx[socks]'`) and "
                    "SSL_CERT_FILE, or unset them."
                ) from None
        return self._http

    def _connections(self, auth: KeyAuth) -> httpx.AsyncClient:
        # Plain http stays on this machine (`settings.origin`): a proxy would see the key, and
        # there is no certificate to check, while loading what checks one takes its time.
        encrypted = self._base_url.startswith("https:")
        return httpx.AsyncClient(
            auth=auth,
            headers={"user-agent": f"segmind-jupyter/{__version__}"},
            follow_redirects=False,  # httpx would carry x-api-key to another origin
            trust_env=encrypted,
            verify=encrypted,
            transport=self._transport or self._simulator_transport(),
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS, max_keepalive_connections=_MAX_IDLE
            ),
        )

    def _auth(self) -> KeyAuth:
        if self.settings.simulated:
            return KeyAuth(Secret("simulator"))
        if self.settings.api_key is None:
            raise MissingKeyError
        return KeyAuth(self.settings.api_key, form=self.settings.auth)

    def _simulator_transport(self) -> httpx.AsyncBaseTransport | None:
        if not self.settings.simulated:
            return None
        transport: httpx.AsyncBaseTransport = pkgutil.resolve_name(_SIMULATOR_TRANSPORT)()
        return transport

    @property
    def _base_url(self) -> str:
        return "http://simulator" if self.settings.simulated else self.settings.base_url

    def _error(
        self, what: str, failed: _Failed, *, method: str, model: str | None
    ) -> APIError | APIConnectionError:
        answer = failed.answer
        if may_be_billed(method, failed.failure):
            how = f"answered {answer.status}" if answer else f"not answered ({failed.reason})"
            return maybe_billed(f"{what} was {how}", answer)
        if answer is not None:
            return error_for(answer, what=what, model=model, look=method == "GET")
        return APIConnectionError(
            f"{self._base_url} was not reached ({failed.reason}), so nothing was sent. "
            f"{failed.advice}"
        )

    def _reason(self, error: Exception, limit_s: float) -> str:
        """Say why a request failed; httpx's time-outs come with an empty message."""
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            return f"timed out after {limit_s:.3g} s"
        return self.scrubbed(shortened(str(error))) or type(error).__name__
