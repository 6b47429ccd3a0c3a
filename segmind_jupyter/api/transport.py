"""One request on its way: pooled connections, the retry table, the key, errors that say what to do.

Knows HTTP, and nothing of what is asked.
"""

from __future__ import annotations

import enum
import itertools
import math
import pkgutil
import time
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

import anyio
import httpx

from segmind_jupyter._version import __version__
from segmind_jupyter.api.messages import encoded
from segmind_jupyter.api.responses import OversizedError, Response, error_for, maybe_billed, read
from segmind_jupyter.api.retry import Failure, Policy, Trouble, may_be_billed
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

_BOTH = ("x-api-key", "bearer")


class KeyAuth(httpx.Auth):
    """Send the key as `x-api-key`, or as a bearer token where the service refuses that.

    The vendor's SDK sends `x-api-key`, its model pages show the bearer form. In `auto` a 401,
    which is not billed, is answered once with the other form, and the form that worked goes
    first from then on.
    """

    def __init__(self, key: Secret, *, form: AuthForm = "auto") -> None:
        self._key = key
        self._forms: tuple[str, ...] = _BOTH if form == "auto" else (form,)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign the request, and sign it again the other way if the first is refused."""
        for form in self._forms:
            self._sign(request, form)
            response = yield request
            if response.status_code != 401:
                self._forms = tuple(sorted(self._forms, key=lambda other: other != form))
                return

    def _sign(self, request: httpx.Request, form: str) -> None:
        request.headers.pop("x-api-key", None)
        request.headers.pop("authorization", None)
        if form == "bearer":
            request.headers["authorization"] = f"Bearer {self._key.reveal()}"
        else:
            request.headers["x-api-key"] = self._key.reveal()


#: Requests a second to begin with. The largest plan is said to take 1000 a minute; a minute's
#: worth may come in bursts, such as the polls of two dozen short jobs.
START_PER_S: Final = 60.0

#: Never more than this, whatever a server would take: a minute at this rate is a few times the
#: largest plan. Each round of refusals halves the rate, so where a window of a minute is full it
#: falls towards the floor, and it takes a minute or more of answers to rise again.
CEILING_PER_S: Final = 60.0

#: Never less than this, so that the end of a refusal is found out. The smallest plan is said to
#: take five requests a minute.
FLOOR_PER_S: Final = 1 / 15

#: Longest `Retry-After` that is honoured (as for a single request, see `retry`).
MAX_PAUSE_S: Final = 60.0

#: A poll that waited this long goes before submits, though not before two in a row.
PATIENCE_S: Final = 5.0

#: A 429 leaves this part of the rate ...
_CUT: Final = 0.5

#: ... once in this time, in which the requests that were under way are answered: the 429s of one
#: burst are one signal.
_ROUND_S: Final = 0.5

#: A good answer adds this part of the rate, and this much: the first doubles a high rate within
#: seconds, the second lifts a low one off the floor.
_GROWTH: Final = 0.02
_GROWTH_PER_S: Final = 0.01

#: What an idle bucket saves up, in seconds of its rate: a few requests may go at once.
_BURST_S: Final = 0.35

#: Clocks and sleeps round: a sleep to the very moment might end before it, again and again.
_MARGIN_S: Final = 0.001


class Kind(enum.IntEnum):
    """What a request is for, in order of precedence."""

    CHAT = 0
    RESULT = 1
    SUBMIT = 2
    POLL = 3


class RateLimiter:
    """Say when the next request may go, to all who send requests with one key.

    The rate follows the server: it grows with answers, and is cut by a 429. Other errors and
    broken connections leave it as it is: they do not say that there were too many requests, and
    each sender backs off by itself.

    For one event loop, without a task of its own: one of those who wait sleeps until the next
    token is due, and hands it to whoever is first then; the others wait to be called.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        rate_per_s: float = START_PER_S,
        ceiling_per_s: float = CEILING_PER_S,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._bucket = _Bucket(min(rate_per_s, ceiling_per_s), now_s=clock())
        self._ceiling_per_s = ceiling_per_s
        self._lines = _Lines()
        self._timer: _Waiter | None = None
        self._nap: anyio.CancelScope | None = None
        self._paused_until_s = self._uncut_until_s = -math.inf

    @property
    def rate_per_s(self) -> float:
        """Requests a second that may go at present."""
        return self._bucket.rate_per_s

    async def turn(self, kind: Kind) -> None:
        """Return when one request of this kind may be sent.

        A chat never waits, as somebody sits in front of it; it is counted, so that others wait
        for it. The rest goes by kind, then by age; a poll that waited long goes before submits.
        """
        if kind is Kind.CHAT or not (self._lines or self._wait_s() > 0):
            self._bucket.take(self._clock())
        else:
            await self._wait(kind)

    def answered(self, status: int | None, *, retry_after_s: float | None = None) -> None:
        """Note what came of a request."""
        now_s = self._clock()
        if retry_after_s is not None and retry_after_s > 0:
            until_s = now_s + min(retry_after_s, MAX_PAUSE_S)
            self._paused_until_s = max(self._paused_until_s, until_s)
        if status == 429:
            self._cut(now_s)
        elif status is not None and status < 500:
            self._grow(now_s)

    def _cut(self, now_s: float) -> None:
        if now_s >= self._uncut_until_s:
            self._uncut_until_s = now_s + _ROUND_S
            self._bucket.set_rate(max(FLOOR_PER_S, self.rate_per_s * _CUT), now_s)
            self._bucket.drain()

    def _grow(self, now_s: float) -> None:
        """Raise the rate if it is what holds requests back: an idle one would prove nothing."""
        if self._lines or self._bucket.due_in_s(now_s) > 0:
            rate_per_s = self.rate_per_s * (1 + _GROWTH) + _GROWTH_PER_S
            self._bucket.set_rate(min(self._ceiling_per_s, rate_per_s), now_s)

    def _wait_s(self) -> float:
        now_s = self._clock()
        return max(self._bucket.due_in_s(now_s), self._paused_until_s - now_s)

    async def _wait(self, kind: Kind) -> None:
        waiter = _Waiter(kind, since_s=self._clock())
        self._lines.join(waiter)
        try:
            if self._timer is None:
                self._timer = waiter
            else:
                await waiter.called.wait()
            while not waiter.served:
                await self._doze(self._wait_s())
                self._serve()
        except BaseException:
            self._leave(waiter)
            raise
        finally:
            if self._timer is waiter:
                self._hand_over()

    async def _doze(self, delay_s: float) -> None:
        """Sleep until a token is due, or was given back."""
        with anyio.CancelScope() as self._nap:
            await self._sleep(max(0.0, delay_s) + _MARGIN_S)

    def _serve(self) -> None:
        """Return what tokens there are to those who are first."""
        while self._lines and self._wait_s() <= 0:
            now_s = self._clock()
            self._bucket.take(now_s)
            self._lines.pop(now_s).serve()

    def _leave(self, waiter: _Waiter) -> None:
        """Step out of the line; a token that was given and not used goes to the next."""
        if not waiter.served:
            self._lines.leave(waiter)
            return
        self._bucket.give_back()
        if self._nap is not None:
            self._nap.cancel()

    def _hand_over(self) -> None:
        """Have another of those who wait look at the clock."""
        self._timer = self._lines.last()
        if self._timer is not None:
            self._timer.called.set()


class _Bucket:
    """Tokens, each worth one request, that come in at a rate and are saved up to a small burst."""

    def __init__(self, rate_per_s: float, *, now_s: float) -> None:
        self.rate_per_s = rate_per_s
        self._tokens = self._burst
        self._at_s = now_s

    @property
    def _burst(self) -> float:
        return max(1.0, self.rate_per_s * _BURST_S)

    def due_in_s(self, now_s: float) -> float:
        """Seconds until there is a whole token; 0 if there is one."""
        self._fill(now_s)
        return max(0.0, (1.0 - self._tokens) / self.rate_per_s)

    def take(self, now_s: float) -> None:
        """Take a token, if need be on credit: at most one burst, lest chats starve the jobs."""
        self._fill(now_s)
        self._tokens = max(-self._burst, self._tokens - 1.0)

    def give_back(self) -> None:
        self._tokens += 1.0

    def drain(self) -> None:
        """Forget what was saved up."""
        self._tokens = min(self._tokens, 0.0)

    def set_rate(self, rate_per_s: float, now_s: float) -> None:
        self._fill(now_s)
        self.rate_per_s = rate_per_s

    def _fill(self, now_s: float) -> None:
        gained = (now_s - self._at_s) * self.rate_per_s
        self._tokens = min(self._burst, self._tokens + gained)
        self._at_s = now_s


class _Waiter:
    """Somebody who waits for a turn."""

    def __init__(self, kind: Kind, *, since_s: float) -> None:
        self.kind, self.since_s = kind, since_s
        self.served = False
        #: Set when it is served, or when it is its part to look at the clock.
        self.called = anyio.Event()

    def serve(self) -> None:
        self.served = True
        self.called.set()


class _Lines:
    """Those who wait, a line for each kind."""

    def __init__(self) -> None:
        self._lines: dict[Kind, deque[_Waiter]] = {kind: deque() for kind in Kind}
        self._poll_was_first = False

    def __bool__(self) -> bool:
        return any(self._lines.values())

    def join(self, waiter: _Waiter) -> None:
        self._lines[waiter.kind].append(waiter)

    def leave(self, waiter: _Waiter) -> None:
        self._lines[waiter.kind].remove(waiter)

    def last(self) -> _Waiter | None:
        """Return the one who will be here longest."""
        return next((line[-1] for line in reversed(self._lines.values()) if line), None)

    def pop(self, now_s: float) -> _Waiter:
        """Take out the first: by kind, then by age, but for polls that waited long."""
        submits, polls = self._lines[Kind.SUBMIT], self._lines[Kind.POLL]
        if not self._lines[Kind.RESULT] and submits and polls:
            overdue = now_s - polls[0].since_s > PATIENCE_S
            # Turn about: where every poll is overdue, submits must not starve in their stead.
            self._poll_was_first = overdue and not self._poll_was_first
            return (polls if self._poll_was_first else submits).popleft()
        return next(line for line in self._lines.values() if line).popleft()


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
    answer: Response | None = None
    advice: str = _CHECK_NETWORK

    @property
    def status(self) -> int | None:
        return self.answer.status if self.answer else None

    @property
    def retry_after_s(self) -> float | None:
        return self.answer.retry_after_s if self.answer else None


class Transport:
    """Carries requests to one service. Parameters as `SegmindClient`'s."""

    def __init__(
        self,
        settings: Settings,
        *,
        transport: httpx.AsyncBaseTransport | None,
        policy: Policy,
        budget: RateLimiter,
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
    ) -> Response:
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
            if isinstance(outcome, Response):
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
    ) -> Response | _Failed:
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
