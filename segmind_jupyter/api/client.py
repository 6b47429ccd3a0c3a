"""The async client: Segmind's endpoints as methods. How a request travels is `transport`'s."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio
import httpx

from segmind_jupyter.api import responses
from segmind_jupyter.api.messages import Message, Reply, encoded, parse_reply, request_body
from segmind_jupyter.api.responses import Failed, Response, State, checked_id
from segmind_jupyter.api.retry import RateLimiter
from segmind_jupyter.api.settings import Secret, Settings, checked_slug, resolve
from segmind_jupyter.api.transport import Transport
from segmind_jupyter.errors import APIError, JobTimeout, NotFoundError, ReplyError, SettingsError

#: Time that a free look-up may take in all.
LOOKUP_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Credits:
    """What is left on the account, in Segmind credits."""

    credits: float
    free_credits: float

    @property
    def total(self) -> float:
        """Bought and free credits together."""
        return self.credits + self.free_credits


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What the vendor's history says of one request, in the server's words; cost in dollars."""

    request_id: str
    model: str = ""
    status: str = ""
    at: str = ""
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a submission gives: the id of the job, and the model that works on it."""

    request_id: str
    model: str


class SegmindClient:
    """Talk to the Claude models that Segmind hosts.

    Use it on one event loop; from blocking code call `segmind_jupyter.ask`, which runs one
    client on a loop of its own.

    Parameters
    ----------
    api_key, base_url, auth, timeout_s
        The key (else the environment's `SEGMIND_API_KEY`); the origin of the service, with or
        without ``/v1``, or ``"simulator"``; ``"auto"``, ``"x-api-key"`` or ``"bearer"``; the
        seconds that one request may take in all. `SettingsError` where one cannot work.
    settings
        All of the above, ready made.
    transport, limiter, sleep, clock, jitter
        Stand in for the network, what says when the next request may go, waiting, the clock and
        chance.

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
        limiter: RateLimiter | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        try:
            if not isinstance(api_key, Secret | None):
                api_key = Secret(api_key)
        except SettingsError:
            del api_key  # or a traceback that shows local names shows what was refused
            raise
        self.settings = settings or resolve(
            api_key=api_key, base_url=base_url, auth=auth, timeout_s=timeout_s
        )
        self.limiter = limiter or RateLimiter(clock=clock, sleep=sleep)
        self._clock = clock
        self._transport = Transport(
            self.settings,
            transport=transport,
            limiter=self.limiter,
            sleep=sleep,
            clock=clock,
            jitter=jitter,
        )

    def __repr__(self) -> str:
        settings = getattr(self, "settings", None)  # none yet where `__init__` was refused
        return f"SegmindClient(base_url={settings.base_url if settings else None!r})"

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
        model, instruction
            The slug, such as ``"claude-4-sonnet"``, and the system prompt.
        messages
            ``{"role": "user" | "assistant", "content": [block, ...]}``, oldest first.
        timeout_s
            Seconds to wait in all; the client's own if left out.
        **params
            Model parameters, forwarded as they are: `max_tokens`, `temperature`, ...

        Raises
        ------
        MissingKeyError, ContentError, SettingsError, APIConnectionError
            Before anything was sent.
        MaybeBilledError
            The outcome is unknown; the request was not sent again.
        APIError
            The server refused; the subclass says how.
        """
        started = self._clock()
        what, answer = await self._post(
            f"/v1/{checked_slug(model)}", messages, instruction, params,
            timeout_s=timeout_s, model=model, urgent=True,
        )  # fmt: skip
        took_s = self._clock() - started
        try:
            return parse_reply(
                answer.json(),
                headers=answer.headers,
                model=model,
                elapsed_s=took_s,
                scrub=answer.scrub,
            )
        except ReplyError as error:
            raise responses.maybe_billed(what, f", but with no reply: {error}", answer) from None

    async def submit_chat(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        instruction: str | None = None,
        timeout_s: float | None = None,
        **params: Any,
    ) -> Ticket:
        """Queue a conversation (v2), and give the id under which its reply is kept.

        As `chat`, but `timeout_s` is for the submission alone: while the gateway says that it has
        too many requests, it is tried again until then.
        """
        what, answer = await self._post(
            f"/v2/{checked_slug(model)}", messages, instruction, params,
            timeout_s=timeout_s, model=model,
        )  # fmt: skip
        try:
            return Ticket(responses.read_submit(answer.json()), model)
        except ReplyError as error:
            raise responses.maybe_billed(what, f", but with no reply: {error}", answer) from None

    async def _post(
        self,
        path: str,
        messages: Sequence[Message],
        instruction: str | None,
        params: dict[str, Any],
        **how: Any,
    ) -> tuple[str, Response]:
        """Send what has been checked; returns what was sent where, and the answer."""
        body = request_body(messages, instruction=instruction, **params)
        data = encoded(body, api_key=self.settings.api_key)
        return f"POST {path}", await self._transport.send("POST", path, body=data, **how)

    async def status(
        self, request_id: str, *, timeout_s: float = LOOKUP_TIMEOUT_S, repeat: bool = True
    ) -> State:
        """Ask where a job stands (free of charge).

        With `repeat`, trouble on the way is met by asking again until the time is up.

        `JobExpired` where the server does not know it, `JobError` where its state is not known
        here; the rest as for `chat`, also where the answer makes no sense.
        """
        # Made of the id, on the configured origin: the URLs in an answer are not followed.
        path = f"/v2/requests/{checked_id(request_id)}/status"
        answer = await self._look(path, request_id, timeout_s, repeat=repeat)
        try:
            return responses.read_state(answer.json(), request_id=request_id)
        except ReplyError as error:
            raise responses.senseless(f"GET {path}", answer, str(error)) from None

    async def result(
        self, request_id: str, *, timeout_s: float = LOOKUP_TIMEOUT_S, model: str | None = None
    ) -> Reply:
        """Fetch the reply of a job that has completed (free of charge).

        `model` is the slug that was asked for, where the answer names none. `JobFailed` holds the
        server's words, `JobTimeout` says that it has not ended yet; the rest as for `status`.
        """
        _, read = await self.fetch(request_id, timeout_s=timeout_s, model=model)
        if isinstance(read, Reply):
            return read
        if isinstance(read, Failed):
            raise responses.failed(request_id, read.detail)
        raise JobTimeout(
            f"Job {request_id} is still {read}. Look again later.", request_id=request_id
        )

    def read(
        self, raw: str, *, request_id: str, model: str | None = None, elapsed_s: float | None = None
    ) -> Reply | State:
        """Read a result, as it was fetched or as the journal kept it, with the key blanked out."""
        scrub = self._transport.scrubbed
        body = Response(200, {}, scrub(raw), scrub).json()
        return responses.read_result(
            body, request_id=request_id, model=model, elapsed_s=elapsed_s, scrub=scrub
        )

    async def fetch(
        self,
        request_id: str,
        *,
        timeout_s: float = LOOKUP_TIMEOUT_S,
        model: str | None = None,
        repeat: bool = True,
    ) -> tuple[str, Reply | State]:
        """Fetch the result of a job: as it came, and read; what came in its place is an error."""
        path = f"/v2/requests/{checked_id(request_id)}"
        answer = await self._look(path, request_id, timeout_s, repeat=repeat)
        try:
            return answer.text, self.read(answer.text, request_id=request_id, model=model)
        except ReplyError as error:
            raise responses.senseless(f"GET {path}", answer, str(error)) from None

    async def _look(
        self, path: str, request_id: str, timeout_s: float, *, repeat: bool
    ) -> Response:
        """Read something of a job; the 4xx that a FAILED one comes with is an answer too."""
        try:
            return await self._transport.send("GET", path, timeout_s=timeout_s, repeat=repeat)
        except NotFoundError as error:
            raise responses.expired(request_id, error.detail) from None
        except APIError as error:
            # FAILED comes with a 422. Only the gateway's own word counts: a proxy may say "failed".
            if responses.fields_of(error.body).get("status") not in ("COMPLETED", "FAILED"):
                raise
            return Response(error.status or 0, {}, error.body or "", self._transport.scrubbed)

    async def credits(self, *, timeout_s: float = LOOKUP_TIMEOUT_S) -> Credits:
        """Ask what is left on the account (free of charge)."""
        path = "/v1/get-user-credits"
        answer = await self._transport.send("GET", path, timeout_s=timeout_s, urgent=True)
        try:
            fields = answer.json()
            return Credits(float(fields["credits"]), float(fields.get("free-credits") or 0.0))
        except (ReplyError, ValueError, TypeError, KeyError, AttributeError):
            raise responses.senseless(f"GET {path}", answer, "it names no credits") from None

    async def history(
        self, request_id: str | None = None, *, timeout_s: float = LOOKUP_TIMEOUT_S
    ) -> list[Charge]:
        """Ask what was charged for the newest requests, or for one (free of charge).

        What was sent with them comes back too, and is dropped. The errors are those of `credits`,
        and `NotFoundError` where there is no such request.
        """
        one = "?per_page=100" if request_id is None else f"/{checked_id(request_id)}"
        path = f"/inference-request/request-history{one}"
        answer = await self._transport.send("GET", path, timeout_s=timeout_s, urgent=True)
        try:
            found = answer.json()
            rows = found.get("data", found) if isinstance(found, dict) else found
            rows = rows if isinstance(rows, list) else [rows]
            return [
                Charge(
                    request_id=str(row["request_id"]),
                    model=str(row.get("model_name") or ""),
                    status=str(row.get("model_status") or ""),
                    at=str(row.get("model_created") or row.get("created_at") or ""),
                    cost=None if (cost := row.get("credits_deduction")) is None else float(cost),
                )
                for row in rows
                if row["request_id"]
            ]
        except (ReplyError, ValueError, TypeError, KeyError, AttributeError):
            raise responses.senseless(f"GET {path}", answer, "it lists no requests") from None

    async def aclose(self) -> None:
        """Close the connections; the client may be used again afterwards."""
        await self._transport.aclose()

    async def __aenter__(self) -> SegmindClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()
