"""Where a prompt meets the service: what `ask`, `submit`, `ask_each` and the cells share.

One `Service` a process holds what was set, one client on the background loop, the jobs that are
followed, their journal, and the ledger of calls. It knows nothing of notebooks.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import dataclasses
import functools
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from segmind_jupyter.api.jobs import Followed, Job
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.portal import Portal
from segmind_jupyter.api.reply_cache import Slot, slot_of
from segmind_jupyter.api.secret import Secret
from segmind_jupyter.api.settings import SIMULATOR, Settings, resolve
from segmind_jupyter.api.states import Completed, checked_id
from segmind_jupyter.api.usage import Ledger
from segmind_jupyter.api.wire import encoded
from segmind_jupyter.connections import Connections
from segmind_jupyter.errors import Interrupted, MaybeBilledError, NotCachedError
from segmind_jupyter.options import Options, call_of, checked_params
from segmind_jupyter.remembering import Conversations, Saying
from segmind_jupyter.request import Request
from segmind_jupyter.tracked import Journalling, Trackable, Tracked

if TYPE_CHECKING:
    from segmind_jupyter.api.client import Credits, SegmindClient
    from segmind_jupyter.api.conversation import Conversation
    from segmind_jupyter.api.store import Entry, Store
    from segmind_jupyter.api.waiting import Waiter
    from segmind_jupyter.api.watch import Call, Watch
    from segmind_jupyter.content.expected import Expected
    from segmind_jupyter.content.prompt import Prompt

__all__ = ["Options", "Service", "call_of", "checked_params", "service"]

T = TypeVar("T")

#: The id of a job that nobody ever queued, as the reply was kept from a call without an id.
_NEVER_QUEUED = "from-cache"

_NOWHERE = Slot()


class Service:
    """What one process says to Segmind with: settings, clients, jobs, journal, and the ledger.

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
    conversations
        What cells and chats continue.
    batch_shows
        What shows a batch that was begun; a notebook puts its progress view here.
    unattended
        Tells whether nobody looks on at what begins now; a notebook says so here.
    """

    def __init__(self, portal: Portal | None = None) -> None:
        self.options = Options()
        self.ledger = Ledger()
        self.conversations = Conversations()
        self.batch_shows: list[Callable[[Any], object]] = []
        self.unattended: Callable[[], bool] = lambda: False
        self._journal = Journalling()
        self._tracked = Tracked()
        self._followed = Followed()
        self._portal = portal or Portal()
        self._api_key: Secret | None = None
        self._base_url: str | None = None
        self._auth: str | None = None
        self._connections = Connections()
        #: Where the replies of jobs are to be kept.
        self._slots: weakref.WeakKeyDictionary[Job, Slot] = weakref.WeakKeyDictionary()

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

    def use_journal(self, on: bool) -> None:
        """Keep ids and replies of jobs in a file, or in this process' memory alone."""
        self._journal.use_file(on)

    def wait_with(self, waiter: Waiter) -> None:
        """Wait for answers in this way from now on."""
        self._portal.wait = waiter

    def settings(self) -> Settings:
        """Put together what holds now; the environment is read at each call."""
        return resolve(api_key=self._api_key, base_url=self._base_url, auth=self._auth)

    def ask(
        self,
        prompt: Prompt,
        options: Options | None = None,
        params: Mapping[str, Any] = MappingProxyType({}),
        conversation: Conversation | None = None,
        *,
        expected: Expected | None = None,
    ) -> Reply:
        """Send a prompt and wait for the reply; an interrupt cancels the request.

        Nothing is sent where `options` let a kept reply do.

        Parameters
        ----------
        prompt
            What to ask.
        options
            Model, system prompt and limits; the service's own if left out.
        params
            More model parameters, forwarded as they are.
        conversation
            What the prompt continues. It is changed once the reply is there, and not before;
            from then on it holds the model and the system prompt of `options`.
        expected
            What the reply is to be read as (`reply.parsed`); its `response_format` belongs into
            `params`.

        Returns
        -------
        Reply
            With what was sent as its `request`.

        Raises
        ------
        SettingsError
            A parameter has the name of something that is set elsewhere.
        ContentError
            The conversation's last message has no reply yet.
        NotCachedError
            Kept replies alone are to be used, and there is none.
        Interrupted
            The user interrupted the wait.
        SegmindError
            As `SegmindClient.chat` does.
        """
        options = options or self.options
        saying, call = self._put_together(prompt, options, params, conversation)
        request = Request.of(saying.prompt, call, expected=expected)
        with self.conversations.asking(saying):
            slot = self.slot(call, options)
            reply = slot.find() or self._answer(call, options)
            reply = dataclasses.replace(reply, request=request)
            slot.keep(reply)
            self.conversations.answered(saying, reply)
        return reply

    def submit(
        self,
        prompt: Prompt,
        options: Options | None = None,
        params: Mapping[str, Any] = MappingProxyType({}),
        conversation: Conversation | None = None,
        *,
        expected: Expected | None = None,
    ) -> Job:
        """Queue a prompt as a job, which is followed in the background from then on.

        Parameters
        ----------
        prompt, options, params, conversation, expected
            As for `ask`; the time-out is that of the submission. Until the job has ended,
            nothing else can continue the conversation.

        Returns
        -------
        Job
            Its reply will have what was sent as its `request`. A kept one is there at once.

        Raises
        ------
        SettingsError, ContentError, NotCachedError, Interrupted, SegmindError
            As for `ask`.
        """
        options = options or self.options
        saying, call = self._put_together(prompt, options, params, conversation)
        request = Request.of(saying.prompt, call, expected=expected, queued=True)
        slot = self.slot(call, options)
        kept = slot.find()
        if kept is None:
            job = self._queue(call, options, request, slot)
        else:
            job = self._ended(call, dataclasses.replace(kept, request=request))
        self.conversations.queued(saying, job)
        return job

    def preview(
        self,
        prompt: Prompt,
        options: Options | None = None,
        params: Mapping[str, Any] = MappingProxyType({}),
        conversation: Conversation | None = None,
        *,
        expected: Expected | None = None,
        queued: bool = False,
    ) -> Request:
        """Put together what `ask` (or, `queued`, `submit`) would send, and send nothing.

        Raises
        ------
        SettingsError, ContentError
            As for `ask`, also where the request holds the key or is too large.
        """
        options = options or self.options
        saying, call = self._put_together(prompt, options, params, conversation)
        request = Request.of(saying.prompt, call, expected=expected, queued=queued, dry=True)
        encoded(request.body, api_key=self.settings().api_key)
        try:
            kept = self.slot(call, options).find()
        except NotCachedError:
            return dataclasses.replace(request, is_withheld=True)
        return dataclasses.replace(request, kept_at=kept.cached_at) if kept else request

    def resume(self, request_id: str) -> Job:
        """Take up a job by its id, without sending it again.

        Raises
        ------
        SettingsError, JobError
            As `Watch.resume` does.
        """
        known = self.followed(checked_id(request_id))
        if known is not None:
            return known

        async def take_up() -> Job:
            watch = self.watch()
            return self._begun(watch, await watch.resume(request_id))

        return self._portal.call(take_up)

    def followed(self, request_id: str) -> Job | None:
        """Find the job of that id among those that this process follows, a batch's too."""
        return self._followed.job(request_id)

    def track(self, work: Trackable) -> None:
        """Remember a job or a batch until it ends, for `pending`."""
        self._tracked.add(work, unattended=self.unattended())

    @property
    def pending(self) -> tuple[Trackable, ...]:
        """The jobs and batches of this process that have not ended, oldest first."""
        return self._tracked.pending

    @property
    def failed(self) -> tuple[Trackable, ...]:
        """What failed where nobody looked on, and raised its error nowhere yet, oldest first."""
        return self._tracked.failed

    @property
    def journal(self) -> Store:
        """Where jobs and kept replies are noted now."""
        return self._journal.store

    def recorded(self, *, limit: int = 50) -> list[Entry]:
        """Give the journal's jobs, newest first; reading them sends nothing."""
        return self.journal.entries(limit=limit)

    def start(
        self, function: Callable[..., Awaitable[T]], *args: Any
    ) -> concurrent.futures.Future[T]:
        """Start `function(*args)` on the background loop; cancelling the future cancels it."""
        return self._portal.start(function, *args)

    def waiter(
        self, future: concurrent.futures.Future[Any], timeout_s: float | None = None
    ) -> None:
        """Wait for something of the background loop (`api.waiting.Waiter`)."""
        self._portal.check_may_wait()
        self._portal.wait(future, timeout_s)

    def client(self) -> SegmindClient:
        """Give the client for the settings that hold now; on the background loop alone."""
        return self._connections.client(self.settings())

    async def chat(self, call: Call, timeout_s: float | None = None) -> Reply:
        """Send a call and wait for its reply (v1); on the background loop alone."""
        return await self.client().chat(
            call.model,
            call.messages,
            instruction=call.instruction,
            timeout_s=timeout_s,
            **call.params,
        )

    def watch(self) -> Watch:
        """Give what submits and follows jobs under the settings that hold now; on the loop alone.

        Raises
        ------
        SettingsError
            The settings cannot work.
        """
        return self._connections.watch(
            self.settings(),
            self.journal,
            wait=self.waiter,
            delivered=self._delivered,
            followed=self._followed,
        )

    def credits(self) -> Credits:
        """Ask what is left on the account."""

        async def look_up() -> Credits:
            return await self.client().credits()

        return self._portal.call(look_up)

    def close(self) -> None:
        """Close the connections and end the background thread; the next call starts anew.

        Jobs whose submission is on its way get a moment in which their ids come in.
        """
        self.conversations.give_up()  # or their next turns would be sent while this closes
        if self._connections.are_open:
            self._portal.call(self._connections.close)
        self._portal.stop()
        self._journal.close()

    def _put_together(
        self,
        prompt: Prompt,
        options: Options,
        params: Mapping[str, Any],
        conversation: Conversation | None,
    ) -> tuple[Saying, Call]:
        saying = self.conversations.say(
            prompt, conversation, model=options.model, system=options.system
        )
        return saying, call_of(saying.messages, options, params)

    def slot(self, call: Call, options: Options) -> Slot:
        """Find where the reply to a call may be kept; it takes neither a key nor a client."""
        if options.cache == "off":
            return Slot()
        origin = self.settings().base_url
        return slot_of(call, cache=options.cache, journal=self.journal, origin=origin)

    def _answer(self, call: Call, options: Options) -> Reply:
        """Send a call, wait for its reply, and count it."""
        with self._unknown_outcomes("`%segmind credits` shows whether your credits went down."):
            reply = self._portal.call(self.chat, call, options.timeout_s)
        self.ledger.add(reply, model=options.model)
        return reply

    def _queue(self, call: Call, options: Options, request: Request, slot: Slot) -> Job:
        """Submit a call, and have its job followed."""

        async def queue() -> Job:
            watch = self.watch()
            job = await watch.submit(call, request=request, timeout_s=options.timeout_s)
            self._slots[job] = slot
            return self._begun(watch, job)

        with self._unknown_outcomes("if it had been queued, `%segmind jobs` lists it."):
            return self._portal.call(queue)

    def _ended(self, call: Call, reply: Reply) -> Job:
        """Make the job of a reply that is there: nothing was queued."""
        job = Job(
            reply.request_id or _NEVER_QUEUED,
            model=call.model,
            origin=self.settings().base_url,
            request=reply.request,
            wait=self.waiter,
        )
        job.finish(Completed(), reply=reply)
        return job

    def _begun(self, watch: Watch, job: Job) -> Job:
        """Track a job, and have it followed; on the loop, where no interrupt comes between."""
        if not job.done():
            self.track(job)
            watch.start(job)
        return job

    def _delivered(self, job: Job, reply: Reply) -> None:
        self.ledger.add(reply, model=job.model or reply.model or "unknown")
        self._slots.pop(job, _NOWHERE).keep(reply)

    @contextlib.contextmanager
    def _unknown_outcomes(self, how_to_look: str) -> Iterator[None]:
        """Count a POST that may have been billed, and say so where the user interrupted it."""
        try:
            yield
        except MaybeBilledError:
            self.ledger.add_unknown()
            raise
        except KeyboardInterrupt:
            self.ledger.add_unknown()
            raise Interrupted(
                "The request was cancelled here. If the model had begun, it may still be billed; "
                + how_to_look
            ) from None


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
