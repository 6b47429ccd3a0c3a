"""Where a prompt meets the service: what `ask` and the cells share.

One `Service` a process holds what was set, one client on the background loop, and the ledger of
calls. It knows nothing of notebooks.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from segmind_jupyter.api.messages import Reply, user_message
from segmind_jupyter.api.models import DEFAULT_MODEL, checked_slug
from segmind_jupyter.api.portal import Portal
from segmind_jupyter.api.secret import Secret
from segmind_jupyter.api.settings import SIMULATOR, Settings, resolve
from segmind_jupyter.api.usage import Ledger
from segmind_jupyter.content.parts import STANDARD, Limits
from segmind_jupyter.errors import Interrupted, MaybeBilledError, SegmindError, SettingsError

if TYPE_CHECKING:
    from segmind_jupyter.api.client import Credits, SegmindClient
    from segmind_jupyter.content.prompt import Prompt


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a call takes that says nothing else.

    Parameters
    ----------
    model
        Slug of the model.
    system
        System prompt.
    max_tokens
        Longest answer, in tokens; the model's own bound if `None`.
    temperature
        From 0 to 1; the model's own if `None`.
    timeout_s
        Seconds to wait for the answer; 300 if `None`.
    limits
        How large the objects of a prompt may become.
    """

    model: str = DEFAULT_MODEL
    system: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    timeout_s: float | None = None
    limits: Limits = STANDARD

    def but(self, **changes: Any) -> Options:
        """Give a copy with other values; `None` changes nothing."""
        chosen = {name: value for name, value in changes.items() if value is not None}
        return dataclasses.replace(self, **chosen)

    def params(self) -> dict[str, Any]:
        """Give the model parameters that are set."""
        params = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        return {name: value for name, value in params.items() if value is not None}


class Service:
    """Settings, client and ledger of one process.

    Parameters
    ----------
    portal
        The background loop.

    Attributes
    ----------
    options
        What calls take that say nothing else; `%config ClaudeMagics` sets it.
    ledger
        The calls that were answered.
    """

    def __init__(self, portal: Portal | None = None) -> None:
        self.options = Options()
        self.ledger = Ledger()
        self._portal = portal or Portal()
        self._api_key: Secret | None = None
        self._base_url: str | None = None
        self._auth: str | None = None
        # Touched on the background loop alone, so that no lock is needed. A client stays open
        # when the settings change: a request may be on its way there.
        # By process: a forked child must neither use nor drop the parent's connections.
        self._clients: dict[tuple[int, Settings], SegmindClient] = {}

    def use_key(self, key: str) -> None:
        """Use this key from now on; it stays in memory.

        Raises
        ------
        SettingsError
            It cannot be a key.
        """
        self._api_key = Secret(key)

    def use_simulator(self, on: bool = True) -> None:
        """Answer from the embedded simulator, or from the service again."""
        self._base_url = SIMULATOR if on else None

    def use_auth(self, form: str | None) -> None:
        """Send the key in this form: ``"auto"``, ``"x-api-key"`` or ``"bearer"``."""
        self._auth = form

    def settings(self) -> Settings:
        """Put together what holds now; the environment is read at each call."""
        return resolve(api_key=self._api_key, base_url=self._base_url, auth=self._auth)

    def ask(
        self,
        prompt: Prompt,
        options: Options | None = None,
        params: Mapping[str, Any] = MappingProxyType({}),
    ) -> Reply:
        """Send a prompt and wait for the reply; an interrupt cancels the request.

        Parameters
        ----------
        prompt
            What to ask.
        options
            Model, system prompt and limits; the service's own if left out.
        params
            More model parameters, forwarded as they are.

        Returns
        -------
        Reply
            With the prompt as its `request`.

        Raises
        ------
        SettingsError
            A parameter has the name of something that is set elsewhere.
        Interrupted
            The user interrupted the wait.
        SegmindError
            As `SegmindClient.chat` does.
        """
        options = options or self.options
        messages = [user_message(prompt.blocks())]
        params = {**options.params(), **checked_params(params)}

        async def chat() -> Reply:
            return await self._client().chat(
                checked_slug(options.model),
                messages,
                instruction=options.system,
                timeout_s=options.timeout_s,
                **params,
            )

        try:
            reply = self._portal.call(chat)
        except MaybeBilledError:
            self.ledger.add_unknown()
            raise
        except KeyboardInterrupt:
            self.ledger.add_unknown()
            raise Interrupted(
                "The request was cancelled here. If the model had begun, it may still be billed; "
                "`%segmind credits` shows whether your credits went down."
            ) from None
        self.ledger.add(reply, model=options.model)
        return dataclasses.replace(reply, request=prompt)

    def credits(self) -> Credits:
        """Ask what is left on the account."""

        async def look_up() -> Credits:
            return await self._client().credits()

        return self._portal.call(look_up)

    def close(self) -> None:
        """Close the connections and end the background thread; the next call starts anew."""
        if any(pid == os.getpid() for pid, _ in self._clients):
            self._portal.call(self._close_clients)
        self._portal.stop()

    def _client(self) -> SegmindClient:
        """Give the client for the settings that hold now."""
        from segmind_jupyter.api.client import SegmindClient

        settings = self.settings()
        key = os.getpid(), settings
        if key not in self._clients:
            self._clients[key] = SegmindClient(settings=settings)
        return self._clients[key]

    async def _close_clients(self) -> None:
        for key in [key for key in self._clients if key[0] == os.getpid()]:
            await self._clients.pop(key).aclose()


#: Names that a model parameter cannot have, and where that is said instead.
_SET_ELSEWHERE = {
    "messages": "the prompt",
    "instruction": "`system` (`-s`)",
    "model": "`model` (`-m`)",
    "timeout_s": "`timeout` (`--timeout`)",
    "self": "the client itself",
}


def checked_params(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return model parameters if none has the name of something that is set elsewhere.

    Raises
    ------
    SettingsError
        One has; the message names the place.
    """
    for name in params:
        if name in _SET_ELSEWHERE:
            raise SettingsError(
                f"`{name}` cannot be a model parameter: it is set by {_SET_ELSEWHERE[name]}."
            )
    return params


#: `functools.cache` alone would let two threads that come first make two services.
_making = threading.Lock()


def service() -> Service:
    """Give the one service of this process, made at the first use and closed at exit."""
    with _making:
        return _only_service()


@functools.cache
def _only_service() -> Service:
    desk = Service()
    atexit.register(desk.close)
    return desk


def ask(
    *contents: Any,
    model: str | None = None,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    timeout: float | None = None,
    **params: Any,
) -> Reply:
    """Ask a Claude model about anything in your notebook, and wait for its answer.

    Parameters
    ----------
    *contents
        Words and objects, in the order in which the model is to see them: strings, figures,
        images, arrays, data frames, ...
    model
        Slug of the model, such as ``"claude-4-sonnet"``.
    system
        System prompt.
    max_tokens
        Longest answer, in tokens.
    temperature
        From 0 to 1.
    timeout
        Seconds to wait; 300 if left out.
    **params
        More model parameters, forwarded as they are.

    Returns
    -------
    Reply
        `reply.text`, `reply.usage`, ...; in a notebook it shows as safe HTML.

    Raises
    ------
    ContentError
        A value cannot be sent.
    APIError, APIConnectionError, MissingKeyError
        As `SegmindClient.chat` does.

    Examples
    --------
    >>> reply = ask("What is this?", fig)  # doctest: +SKIP
    >>> reply.text  # doctest: +SKIP
    """
    from segmind_jupyter.content.prompt import gather

    desk = service()
    options = desk.options.but(
        model=model,
        system=system,
        max_tokens=max_tokens,
        temperature=temperature,
        timeout_s=timeout,
    )
    try:
        return desk.ask(gather(contents, limits=options.limits), options, params)
    except SegmindError as error:
        # One frame of ours is enough in a traceback that says what to do.
        raise error.with_traceback(None) from None
