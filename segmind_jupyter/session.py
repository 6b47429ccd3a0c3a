"""Where a prompt meets the service: what `ask`, `submit`, `ask_each` and the cells share.

One `Session` a process holds what was set, one client on the background loop, the jobs that are
followed, their journal, and the ledger of calls. It knows nothing of notebooks.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from segmind_jupyter.api.cache import ReplyCache, slot_of
from segmind_jupyter.api.jobs import Followed, Job
from segmind_jupyter.api.loop import BackgroundLoop
from segmind_jupyter.api.messages import (
    Block,
    Message,
    Reply,
    encoded,
    n_bytes,
    request_body,
    user_message,
)
from segmind_jupyter.api.settings import SIMULATOR, Secret, Settings, resolve
from segmind_jupyter.api.states import Completed, checked_id
from segmind_jupyter.api.usage import Ledger
from segmind_jupyter.content.parts import Text, part_of
from segmind_jupyter.conversation import ConversationRegistry, PendingMessage
from segmind_jupyter.errors import (
    Interrupted,
    JobCancelled,
    MaybeBilledError,
    NotCachedError,
    SegmindError,
)
from segmind_jupyter.options import Options, call_of

if TYPE_CHECKING:
    from segmind_jupyter.api.client import Credits, SegmindClient
    from segmind_jupyter.api.journal import JobRecord, Journal
    from segmind_jupyter.api.loop import Waiter
    from segmind_jupyter.api.watch import Call, JobManager
    from segmind_jupyter.content.json_schema import Expected
    from segmind_jupyter.content.prompt import Attachment, Prompt
    from segmind_jupyter.conversation import Conversation


class Trackable(Protocol):
    """A job, a batch or a turn: something that ends, and that can be waited for."""

    @property
    def unraised(self) -> SegmindError | None:
        """The error that whoever waits for it gets, once it has ended; `None` if somebody did."""

    def wait(self) -> object:
        """Wait for the end, and raise that error."""

    def done(self) -> bool:
        """Return whether it has ended."""

    def on_done(self, callback: Callable[[Any], object]) -> None:
        """Have something called at its end."""


#: By process and identity, oldest first.
_Works: TypeAlias = dict[tuple[int, int], Trackable]


class PendingWork:
    """The jobs and batches that have not ended, or that failed unseen. Threads may share it."""

    def __init__(self) -> None:
        # By process, as nothing follows a parent's jobs in its forked child, and by identity; in
        # the order in which they began. No lock is needed: each step is one of a dict's own.
        self._pending: _Works = {}
        self._unattended: _Works = {}

    def add(self, work: Trackable, *, unattended: bool = False) -> None:
        """Remember it until it ends; what fails unattended, until its error was raised."""
        self._pending[_key(work)] = work
        if unattended:
            self._unattended[_key(work)] = work
        work.on_done(self._drop)

    @property
    def pending(self) -> tuple[Trackable, ...]:
        """All of them, oldest first."""
        return _here(self._pending)

    @property
    def failed(self) -> tuple[Trackable, ...]:
        """What failed unattended, and raised its error nowhere; oldest first."""
        return tuple(work for work in _here(self._unattended) if work.done() and _is_owed(work))

    def _drop(self, work: Trackable) -> None:
        self._pending.pop(_key(work), None)
        if not _is_owed(work):
            self._unattended.pop(_key(work), None)


def _key(work: Trackable) -> tuple[int, int]:
    return os.getpid(), id(work)


def _here(works: _Works) -> tuple[Trackable, ...]:
    here = os.getpid()
    return tuple(work for (pid, _), work in works.copy().items() if pid == here)


def _is_owed(work: Trackable) -> bool:
    """Return whether it failed and told nobody; what was cancelled is as somebody wanted it."""
    return not isinstance(work.unraised, JobCancelled | None)


class JournalHandle:
    """Where ids and replies of jobs are kept: in the user's file, or in memory alone."""

    def __init__(self) -> None:
        self._on = True
        self._store: Journal | None = None
        #: Those of before: jobs that began there end there.
        self._left: list[Journal] = []
        self._lock = threading.Lock()

    @property
    def store(self) -> Journal:
        """The store that holds now; it opens its file at the first use."""
        from segmind_jupyter.api.journal import Journal, default_path

        with self._lock:
            if self._store is None:
                self._store = Journal(default_path() if self._on else None)
            return self._store

    def use_file(self, on: bool) -> None:
        """Keep them in the file, or not; what is under way goes on where it began."""
        with self._lock:
            if on == self._on:
                return
            if self._store is not None:
                self._left.append(self._store)
            self._on, self._store = on, None

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            stores = [*self._left, *filter(None, [self._store])]
            self._left, self._store = [], None
        for store in stores:
            store.close()


class Connections:
    """The open clients and their watches. The loop's thread alone touches it: no lock is needed."""

    def __init__(self) -> None:
        # By process: a forked child must neither use nor drop the parent's connections. And by
        # loop: those of one that died are of no use to the next.
        self._clients: dict[tuple[int, asyncio.AbstractEventLoop, Settings], SegmindClient] = {}
        # By journal too: what began under another one ends there.
        self._watches: dict[tuple[SegmindClient, Journal], JobManager] = {}

    def client(self, settings: Settings) -> SegmindClient:
        """Return the client for these settings."""
        from segmind_jupyter.api.client import SegmindClient

        key = os.getpid(), asyncio.get_running_loop(), settings
        if key not in self._clients:
            self._clients[key] = SegmindClient(settings=settings)
        return self._clients[key]

    def watch(self, settings: Settings, journal: Journal, **how: Any) -> JobManager:
        """Return what submits and follows jobs under these settings."""
        from segmind_jupyter.api.watch import JobManager

        key = self.client(settings), journal
        if key not in self._watches:
            self._watches[key] = JobManager(key[0], journal=journal, place=_place(), **how)
        return self._watches[key]

    @property
    def are_open(self) -> bool:
        """Whether this process has opened any; it can be asked on any thread."""
        return any(pid == os.getpid() for pid, _, _ in self._clients.copy())

    async def close(self) -> None:
        """Close those of this process; watches first, which let ids come in."""
        loop = asyncio.get_running_loop()
        mine = [key for key in self._clients if key[0] == os.getpid()]
        clients = {self._clients.pop(key): key[1] for key in mine}
        watches = [self._watches.pop(key) for key in list(self._watches) if key[0] in clients]
        live = [client for client, home in clients.items() if home is loop]
        await asyncio.gather(*(watch.close() for watch in watches if watch.client in live))
        for client in live:
            await client.aclose()


def _place() -> str:
    """Name where this process' jobs come from: the notebook, where the server tells it."""
    session = os.environ.get("JPY_SESSION_NAME", "")
    return os.path.basename(session) or f"process {os.getpid()}"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one call sends; in a notebook it shows its blocks, sizes and estimated tokens."""

    prompt: Prompt
    model: str
    system: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    earlier: Sequence[Message] = field(default=(), repr=False)
    expected: Expected | None = None
    queued: bool = False
    dry: bool = False
    kept_at: float | None = None
    is_withheld: bool = False

    @classmethod
    def of(cls, prompt: Prompt, call: Call, **how: Any) -> Request:
        """Describe a call whose last message is the prompt."""
        return cls(
            prompt=prompt,
            model=call.model,
            system=call.instruction,
            params=call.params,
            earlier=tuple(call.messages[:-1]),
            **how,
        )

    @property
    def path(self) -> str:
        """Where it goes, on the service: ``"/v1/claude-4-sonnet"``."""
        return f"/{'v2' if self.queued else 'v1'}/{self.model}"

    @property
    def sent(self) -> tuple[Attachment, ...]:
        """The objects that the prompt names, and what became of each."""
        return self.prompt.sent

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the prompt was read."""
        return self.prompt.notes

    def blocks(self) -> list[Block]:
        """Return the content blocks of the prompt, in order, as they go over the wire."""
        return self.prompt.blocks()

    @property
    def body(self) -> dict[str, Any]:
        """The whole body, made anew at every look: images are large in base64."""
        messages = [*self.earlier, user_message(self.blocks())]
        return request_body(messages, instruction=self.system, **self.params)

    @property
    def n_bytes(self) -> int:
        """Size of the body, in bytes."""
        return n_bytes(self.body)

    @property
    def tokens(self) -> int:
        """Estimated tokens of all that the model reads: a rule of thumb, not the bill."""
        earlier = (part_of(block) for message in self.earlier for block in message["content"])
        parts = [Text(self.system or ""), *earlier, *self.prompt.parts()]
        return sum(part.tokens for part in parts)

    def noting(self, note: str) -> Request:
        """Return a copy that points out one thing more."""
        prompt = dataclasses.replace(self.prompt, notes=(*self.notes, note))
        return dataclasses.replace(self, prompt=prompt)


T = TypeVar("T")

#: The id of a job that nobody ever queued, as the reply was kept from a call without an id.
_NEVER_QUEUED = "from-cache"

_NOWHERE = ReplyCache()


class Session:
    """What one process says to Segmind with: settings, clients, jobs, journal, and the ledger."""

    def __init__(self, portal: BackgroundLoop | None = None) -> None:
        self.options = Options()
        self.ledger = Ledger()
        self.conversations = ConversationRegistry()
        self.batch_shows: list[Callable[[Any], object]] = []
        self.unattended: Callable[[], bool] = lambda: False
        self._journal = JournalHandle()
        self._tracked = PendingWork()
        self._followed = Followed()
        self._portal = portal or BackgroundLoop()
        self._api_key: Secret | None = None
        self._base_url: str | None = None
        self._auth: str | None = None
        self._connections = Connections()
        #: Where the replies of jobs are to be kept.
        self._slots: weakref.WeakKeyDictionary[Job, ReplyCache] = weakref.WeakKeyDictionary()

    def use_key(self, key: str) -> None:
        """Use this key from now on; it stays in memory."""
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
        """Queue a prompt as a job, which is followed in the background from then on."""
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
        """Put together what `ask` (or, `queued`, `submit`) would send, and send nothing."""
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
        """Take up a job by its id, without sending it again."""
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
    def journal(self) -> Journal:
        """Where jobs and kept replies are noted now."""
        return self._journal.store

    def recorded(self, *, limit: int = 50) -> list[JobRecord]:
        """Return the journal's jobs, newest first; reading them sends nothing."""
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
        """Return the client for the settings that hold now; on the background loop alone."""
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

    def watch(self) -> JobManager:
        """Return what submits and follows jobs under the present settings; on the loop alone."""
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
    ) -> tuple[PendingMessage, Call]:
        saying = self.conversations.say(
            prompt, conversation, model=options.model, system=options.system
        )
        return saying, call_of(saying.messages, options, params)

    def slot(self, call: Call, options: Options) -> ReplyCache:
        """Find where the reply to a call may be kept; it takes neither a key nor a client."""
        if options.cache == "off":
            return ReplyCache()
        origin = self.settings().base_url
        return slot_of(call, cache=options.cache, journal=self.journal, origin=origin)

    def _answer(self, call: Call, options: Options) -> Reply:
        """Send a call, wait for its reply, and count it."""
        with self._unknown_outcomes("`%segmind credits` shows whether your credits went down."):
            reply = self._portal.call(self.chat, call, options.timeout_s)
        self.ledger.add(reply, model=options.model)
        return reply

    def _queue(self, call: Call, options: Options, request: Request, slot: ReplyCache) -> Job:
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

    def _begun(self, watch: JobManager, job: Job) -> Job:
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


def session() -> Session:
    """Return the one service of this process, made at the first use and closed at exit."""
    with _making:
        return _only_session()


@functools.cache
def _only_session() -> Session:
    desk = Session()
    atexit.register(desk.close)
    return desk
