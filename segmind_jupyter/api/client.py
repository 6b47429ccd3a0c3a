"""The async client: one pooled connection, the retry table, and errors that say what to do."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pkgutil
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import anyio
import httpx

from segmind_jupyter import __version__
from segmind_jupyter.api.answers import Answer, OversizedError, read
from segmind_jupyter.api.auth import KeyAuth
from segmind_jupyter.api.errors import error_for, maybe_billed
from segmind_jupyter.api.messages import Message, Reply, parse_reply, request_body
from segmind_jupyter.api.models import checked_slug
from segmind_jupyter.api.retry import Failure, Policy, Trouble, may_be_billed, parse_retry_after
from segmind_jupyter.api.secret import Secret
from segmind_jupyter.api.settings import CONNECT_TIMEOUT_S, Settings, checked_seconds, resolve
from segmind_jupyter.errors import (
    APIConnectionError,
    APIError,
    ContentError,
    MissingKeyError,
    ReplyError,
    SettingsError,
    shortened,
)

#: Anthropic's bound for one request (its page on limits).
MAX_REQUEST_BYTES: Final = 32_000_000

#: Time that a free look-up may take in all.
LOOKUP_TIMEOUT_S: Final = 30.0

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


@dataclass(frozen=True, slots=True)
class Credits:
    """What is left on the account, in Segmind credits."""

    credits: float
    free_credits: float

    @property
    def total(self) -> float:
        """Bought and free credits together."""
        return self.credits + self.free_credits


@dataclass(frozen=True, slots=True)
class _Failed:
    """One attempt that gave no usable answer."""

    failure: Failure
    reason: str = ""
    answer: Answer | None = None

    @property
    def retry_after_s(self) -> float | None:
        return parse_retry_after(self.answer.headers.get("retry-after")) if self.answer else None


class SegmindClient:
    """Talk to the Claude models that Segmind hosts.

    Use it on one event loop; from blocking code call `segmind_jupyter.ask`, which runs one
    client on a loop of its own.

    Parameters
    ----------
    api_key
        The key; the environment's `SEGMIND_API_KEY` if left out.
    base_url
        Origin of the service, with or without ``/v1``; ``"simulator"`` for the embedded one.
    auth
        ``"auto"``, ``"x-api-key"`` or ``"bearer"``.
    timeout_s
        Seconds that one request may take in all.
    settings
        All of the above, ready made.
    transport
        Stands in for the network.
    policy
        How patiently requests are repeated.
    sleep, clock, jitter
        Stand in for waiting, the clock and chance.

    Raises
    ------
    SettingsError
        One of the settings cannot work.

    Examples
    --------
    >>> async with SegmindClient() as client:  # doctest: +SKIP
    ...     hello = {"role": "user", "content": [{"type": "text", "text": "Hello"}]}
    ...     reply = await client.chat("claude-4-sonnet", [hello], max_tokens=100)
    """

    def __init__(
        self,
        api_key: str | Secret | None = None,
        *,
        base_url: str | None = None,
        auth: str | None = None,
        timeout_s: float | None = None,
        settings: Settings | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        policy: Policy | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settings = settings or resolve(
            api_key=api_key, base_url=base_url, auth=auth, timeout_s=timeout_s
        )
        self._transport = transport
        self._policy = policy or Policy()
        self._sleep, self._clock, self._jitter = sleep, clock, jitter
        self._http: httpx.AsyncClient | None = None

    def __repr__(self) -> str:
        return f"SegmindClient(base_url={self.settings.base_url!r})"

    async def chat(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        instruction: str | None = None,
        timeout_s: float | None = None,
        **params: Any,
    ) -> Reply:
        """Send a conversation to a model and wait for its answer (v1).

        Parameters
        ----------
        model
            The slug, such as ``"claude-4-sonnet"``.
        messages
            ``{"role": "user" | "assistant", "content": [block, ...]}``, oldest first.
        instruction
            The system prompt.
        timeout_s
            Seconds to wait in all; the client's own if left out.
        **params
            Model parameters, forwarded as they are: `max_tokens`, `temperature`, ...

        Returns
        -------
        Reply
            Text, usage, and the seconds that it took.

        Raises
        ------
        MissingKeyError, ContentError, SettingsError
            Before anything was sent.
        APIConnectionError
            The server was never reached.
        MaybeBilledError
            The outcome is unknown; the request was not sent again.
        APIError
            The server refused; the subclass says how.
        """
        path = f"/v1/{checked_slug(model)}"
        body = self._encoded(request_body(messages, instruction=instruction, **params))
        started = self._clock()
        answer = await self._send("POST", path, body=body, timeout_s=timeout_s, model=model)
        elapsed_s = self._clock() - started
        try:
            reply = parse_reply(
                answer.json(), headers=answer.headers, model=model, elapsed_s=elapsed_s
            )
        except (ReplyError, ValueError) as error:
            raise _unreadable(f"POST {path}", answer, error) from None
        # Once more, as the parts of a text may hold the key together.
        return dataclasses.replace(reply, text=self._scrubbed(reply.text))

    async def credits(self, *, timeout_s: float = LOOKUP_TIMEOUT_S) -> Credits:
        """Ask what is left on the account (free of charge).

        Parameters
        ----------
        timeout_s
            Seconds to wait in all.

        Returns
        -------
        Credits
            What was bought and what was given.

        Raises
        ------
        APIError, APIConnectionError
            As for `chat`; nothing is ever billed.
        """
        path = "/v1/get-user-credits"
        answer = await self._send("GET", path, timeout_s=timeout_s)
        try:
            fields = answer.json()
            return Credits(float(fields["credits"]), float(fields.get("free-credits") or 0.0))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise error_for(answer, what=f"GET {path}") from None

    async def aclose(self) -> None:
        """Close the connections; the client may be used again afterwards."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def __aenter__(self) -> SegmindClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def _encoded(self, body: dict[str, Any]) -> bytes:
        """Encode a request body, and refuse what must not or cannot be sent."""
        text = json.dumps(body, ensure_ascii=True, separators=(",", ":"))
        if len(text) > MAX_REQUEST_BYTES:
            raise ContentError(
                f"The request has {len(text) / 1e6:.0f} MB; the model takes "
                f"{MAX_REQUEST_BYTES / 1e6:.0f} MB. Send fewer or smaller images."
            )
        if self.settings.api_key is not None and self.settings.api_key.is_in(text):
            raise ContentError(
                "The prompt holds your API key, so it was not sent. Take the key out of what you "
                "name in the prompt."
            )
        return text.encode("ascii")

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        timeout_s: float | None = None,
        model: str | None = None,
    ) -> Answer:
        """Send a request as often as the retry table allows, until it is answered 2xx."""
        limit_s = self.settings.timeout_s if timeout_s is None else checked_seconds(timeout_s)
        deadline = self._clock() + limit_s
        for attempt in itertools.count(1):
            outcome = await self._attempt(method, path, body, deadline - self._clock())
            if isinstance(outcome, Answer):
                return outcome
            delay_s = self._policy.delay_s(
                method,
                outcome.failure,
                attempt=attempt,
                remaining_s=deadline - self._clock(),
                retry_after_s=outcome.retry_after_s,
                jitter=self._jitter,
            )
            if delay_s is None:
                raise self._error(f"{method} {path}", outcome, method=method, model=model)
            await self._sleep(delay_s)
        raise AssertionError("unreachable: itertools.count has no end")

    async def _attempt(
        self, method: str, path: str, body: bytes | None, remaining_s: float
    ) -> Answer | _Failed:
        """Send a request once."""
        connect_s = min(CONNECT_TIMEOUT_S, remaining_s)
        timeout = httpx.Timeout(remaining_s, connect=connect_s, pool=connect_s)
        request = self._request(method, path, body, timeout)
        try:
            # httpx bounds each read; the scope bounds an answer that drips in for ever.
            with anyio.fail_after(remaining_s + 0.25):
                response = await self._open().send(request, stream=True)
                answer = await read(response, scrub=self._scrubbed)
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
        return httpx.AsyncClient(
            auth=auth,
            headers={"user-agent": f"segmind-jupyter/{__version__}"},
            follow_redirects=False,  # httpx would carry x-api-key to another origin
            # Plain http stays on this machine (`settings.origin`); a proxy would see the key.
            trust_env=self._base_url.startswith("https:"),
            transport=self._transport or self._simulator_transport(),
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
            return error_for(answer, what=what, model=model)
        return APIConnectionError(
            f"{self._base_url} was not reached ({failed.reason}), so nothing was sent. Check the "
            "network and SEGMIND_BASE_URL, then run it again."
        )

    def _reason(self, error: Exception, limit_s: float) -> str:
        """Say why a request failed; httpx's time-outs come with an empty message."""
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            return f"timed out after {limit_s:.3g} s"
        return self._scrubbed(shortened(str(error))) or type(error).__name__

    def _scrubbed(self, text: str) -> str:
        return self.settings.api_key.scrub(text) if self.settings.api_key else text


def _unreadable(what: str, answer: Answer, error: Exception) -> APIError:
    why = str(error).rstrip(".") if isinstance(error, ReplyError) else "it is no JSON"
    return maybe_billed(f"{what} was answered {answer.status}, but with no reply ({why})", answer)
