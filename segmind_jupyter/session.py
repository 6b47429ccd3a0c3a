"""Where a prompt meets the service: what `ask`, `submit`, `ask_each` and the cells share.

One `Session` a process holds what was set, one client on the background loop, the jobs that are
followed, their journal, and the ledger of calls. It knows nothing of notebooks. What takes long to
import is imported with its first use: loading the extension makes a session, and uses none of it.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from segmind_jupyter.api.loop import BackgroundLoop, wait_in_sight, wait_interruptibly
from segmind_jupyter.api.messages import Block, Call, Ledger, Message, encoded
from segmind_jupyter.api.settings import KEY_NAME, Secret, Settings, model_info, of_history, resolve
from segmind_jupyter.errors import (
    Interrupted,
    JobCancelled,
    MaybeBilledError,
    NotCachedError,
    SegmindError,
)
from segmind_jupyter.options import Options, call_of

if TYPE_CHECKING:
    import concurrent.futures

    from segmind_jupyter.api.client import Charge, Credits, SegmindClient
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.journal import Journal, ReplyCache
    from segmind_jupyter.api.loop import Waiter, WaitView
    from segmind_jupyter.api.messages import Reply
    from segmind_jupyter.api.settings import AuthForm, Caching
    from segmind_jupyter.api.watch import JobManager
    from segmind_jupyter.batch.batch import Batch
    from segmind_jupyter.budget import Budget, Estimate, Reservation
    from segmind_jupyter.comparison import Comparison
    from segmind_jupyter.content.json_schema import Expected
    from segmind_jupyter.content.prompt import Attachment, Prompt
    from segmind_jupyter.conversation import CellTurn, Conversation, ConversationRegistry, Turn

    #: What ends, and can be waited for.
    Work: TypeAlias = Job | Batch | Turn

T = TypeVar("T")

#: The id of a job that nobody ever queued, as the reply was kept from a call without an id.
_NEVER_QUEUED = "from-cache"


@dataclass(frozen=True, kw_only=True)
class Request(Call):
    """What one call sends; in a notebook it shows its blocks, sizes and estimated tokens."""

    prompt: Prompt
    expected: Expected | None = None
    queued: bool = False
    dry: bool = False
    kept_at: float | None = None
    is_withheld: bool = False
    estimate: Estimate | None = None
    cache: Caching = "off"
    timeout_s: float | None = None
    #: What its conversation gains with the reply.
    turn: CellTurn | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, prompt: Prompt, call: Call, **how: Any) -> Request:
        """Describe a call whose last message is the prompt."""
        sent = {field.name: getattr(call, field.name) for field in dataclasses.fields(Call)}
        return cls(prompt=prompt, **sent, **how)

    @property
    def earlier(self) -> Sequence[Message]:
        """What was said before in the conversation that it continues."""
        return self.messages[:-1]

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
    def tokens(self) -> int:
        """Estimated tokens of all that the model reads: a rule of thumb, not the bill."""
        from segmind_jupyter.budget import tokens_of

        return tokens_of(self)

    def noting(self, *notes: str) -> Request:
        """Return a copy that points out more."""
        if not notes:
            return self
        prompt = dataclasses.replace(self.prompt, notes=(*self.notes, *notes))
        return dataclasses.replace(self, prompt=prompt)


class Session:
    """What one process says to Segmind with: settings, clients, jobs, journal, and the ledger."""

    def __init__(self) -> None:
        self.options = Options()
        #: Where calls go, and in which form the key does, if not as the environment says.
        self.base_url: str | None = None
        self.auth: AuthForm | None = None
        #: What the calls took.
        self.ledger = Ledger()
        self.batch_shows: list[Callable[[Any], object]] = []
        self.description_shows: list[Callable[[Any], object]] = []
        #: What shows that a call, a job or a batch is waited for.
        self.wait_shows: list[Callable[[Any], WaitView | None]] = []
        self.unattended: Callable[[], bool] = lambda: False
        self.footer = "full"
        self.keeps_chats = False
        #: The last comparison of models, for `%claude --reveal`.
        self.compared: Comparison | None = None
        #: What has not ended, by identity, and what failed unattended. No lock is needed, as each
        #: step is one of a dict's or a list's own.
        self._works: dict[int, Work] = {}
        self._failed: list[Work] = []
        # The loop's thread alone changes these: no lock is needed. By loop, as connections of one
        # that died are of no use to the next; by journal, as what began under it ends there.
        self._clients: dict[tuple[object, ...], SegmindClient] = {}
        self._watches: dict[tuple[SegmindClient, Journal], JobManager] = {}
        self._loop = BackgroundLoop()
        self._api_key: Secret | None = None
        self._keeps_file = True
        # Made at the first use, once, whichever thread comes first.
        self._making = threading.RLock()
        self._journal: Journal | None = None
        self._budget: Budget | None = None
        self._conversations: ConversationRegistry | None = None

    @property
    def journal(self) -> Journal:
        """Where jobs and kept replies are noted now; its file is opened at the first use."""
        from segmind_jupyter.api.journal import Journal, default_path

        with self._making:
            if self._journal is None:
                self._journal = Journal(default_path() if self._keeps_file else None)
            return self._journal

    @property
    def budget(self) -> Budget:
        """What may be spent, and what was."""
        from segmind_jupyter.budget import Budget

        with self._making:
            self._budget = self._budget or Budget(lambda: self.journal)
            return self._budget

    @property
    def conversations(self) -> ConversationRegistry:
        """The conversations that cells and chats have."""
        from segmind_jupyter.conversation import ConversationRegistry

        with self._making:
            self._conversations = self._conversations or ConversationRegistry()
            return self._conversations

    def use_key(self, key: Secret | str | None) -> None:
        """Use this key from now on; it stays in memory. `None`: use what is found elsewhere."""
        self._api_key = Secret(key) if isinstance(key, str) else key

    def use_journal(self, on: bool) -> None:
        """Keep ids and replies of jobs in a file, or in this process' memory alone.

        What is under way goes on where it began.
        """
        with self._making:
            if on != self._keeps_file:
                self._keeps_file, self._journal = on, None

    def wait_with(self, waiter: Waiter | None) -> None:
        """Wait for answers in this way from now on; `None` is the usual one."""
        self._loop.wait = waiter or wait_interruptibly

    def settings(self, *, stored: bool = True) -> Settings:
        """Put together what holds now; the environment is read at each call.

        Without `stored`, a key is not looked for where that may take its time.
        """
        environ = None if stored else os.environ
        return resolve(
            api_key=self._api_key, base_url=self.base_url, auth=self.auth, environ=environ
        )

    def request(
        self,
        prompt: Prompt,
        options: Options | None = None,
        params: Mapping[str, Any] = MappingProxyType({}),
        conversation: Conversation | None = None,
        **how: Any,
    ) -> Request:
        """Put together what is sent, and what becomes a part of the conversation with its reply."""
        options = options or self.options
        prompt, messages, turn = self.conversations.say(
            prompt, conversation, model=options.model, system=options.system
        )
        request = Request.of(
            prompt,
            call_of(messages, options, params),
            turn=turn,
            cache=options.cache,
            timeout_s=options.timeout_s,
            **how,
        )
        return request.noting(*options.left_out())

    def ask(self, request: Request) -> Reply:
        """Send a request, unless a kept reply does, and wait for it; an interrupt cancels it."""
        (answer,) = self.answers([dataclasses.replace(request, turn=None)])
        assert not isinstance(answer, SegmindError)  # noqa: S101 - it would have been raised
        self.conversations.take(request.turn, answer)
        return answer

    def answers(self, requests: Sequence[Request]) -> list[Reply | SegmindError]:
        """Send requests at once, and wait for the reply or the error of each.

        All that their budget refuses is refused before any of them is sent; where none is answered,
        that is raised.
        """
        calls = [(request, self.slot(request, request.cache)) for request in requests]
        kept = [cache.find() for _, cache in calls]
        sent = [call for call, reply in zip(calls, kept, strict=True) if reply is None]
        came: Iterator[Reply | SegmindError] = iter(())
        if sent:
            shown = dataclasses.replace(sent[0][0], model=", ".join(r.model for r, _ in sent))
            wait = functools.partial(self.waiter, of=shown)
            with self._interruptible("`%segmind history` shows whether it was charged."):
                came = iter(self._call(self._chat_all, sent, not any(kept), wait=wait))
        return [
            next(came) if reply is None else dataclasses.replace(reply, request=request)
            for request, reply in zip(requests, kept, strict=True)
        ]

    async def _chat_all(
        self, calls: Sequence[tuple[Request, ReplyCache]], raises: bool
    ) -> list[Reply | SegmindError]:
        """Send requests at once, if what all may take fits the budget; it may raise if all fail."""
        import asyncio

        from anyio.to_thread import run_sync

        async def answer(
            call: tuple[Request, ReplyCache], hold: Reservation
        ) -> Reply | SegmindError:
            request, cache = call
            try:
                reply = await self._send(client, request, request.timeout_s, hold)
                # At once: an interrupt ends the wait for the others, and this one is paid for.
                self.ledger.add(reply, model=request.model)
                reply = dataclasses.replace(reply, request=request)
                if request.cache != "off":  # the disk holds up no other
                    await run_sync(cache.keep, reply)
                return reply
            except SegmindError as error:
                if isinstance(error, MaybeBilledError):
                    self.ledger.add_unknown()
                error.__context__ = None
                return error.with_traceback(None)

        client = self.client()
        holds: list[Reservation] = []
        try:
            for request, _ in calls:
                holds.append(self.budget.reserve(request, client.settings.base_url))
            if len(calls) == 1:
                answers = [await answer(calls[0], holds[0])]
            else:
                answers = await asyncio.gather(*map(answer, calls, holds))
        except SegmindError as error:  # one of them does not fit: nothing was sent
            for hold in holds:
                hold.settle(error)
            raise
        finally:
            for hold in holds:  # of what was cancelled before it began
                hold.settle(None)
        errors = [each for each in answers if isinstance(each, SegmindError)]
        if raises and len(errors) == len(answers):
            worst = next((e for e in errors if isinstance(e, MaybeBilledError)), errors[0])
            if len(errors) > 1:
                told = zip(calls, errors, strict=True)
                worst.args = (" ".join(f"{call[0].model}: {why}" for call, why in told),)
            raise worst
        return answers

    async def chat(self, call: Call, timeout_s: float | None = None) -> Reply:
        """Send a call and wait for its reply (v1); on the background loop alone."""
        client = self.client()
        hold = self.budget.reserve(call, client.settings.base_url)
        return await self._send(client, call, timeout_s, hold)

    async def _send(
        self, client: SegmindClient, call: Call, timeout_s: float | None, hold: Reservation
    ) -> Reply:
        try:
            reply = await client.chat(
                call.model,
                call.messages,
                instruction=call.instruction,
                timeout_s=timeout_s,
                **call.params,
            )
        except BaseException as error:
            hold.settle(error)
            raise
        hold.settle(reply)
        return reply

    def submit(self, request: Request) -> Job:
        """Queue a request as a job, which is followed in the background from then on."""
        turn, request = request.turn, dataclasses.replace(request, queued=True, turn=None)
        kept = self.slot(request, request.cache).find()
        if kept is not None:  # the job of a reply that is there: nothing is queued
            from segmind_jupyter.api.jobs import Job
            from segmind_jupyter.api.responses import Completed

            job = Job(
                kept.request_id or _NEVER_QUEUED,
                model=request.model,
                origin=self.settings().base_url,
                request=request,
                wait=self.waiter,
            )
            job.finish(Completed(), reply=dataclasses.replace(kept, request=request))
        else:

            async def queue() -> Job:
                watch = self.watch()
                try:
                    job = await watch.submit(request, request=request, timeout_s=request.timeout_s)
                except MaybeBilledError:
                    self.ledger.add_unknown()
                    raise
                return self._begun(watch, job)

            with self._interruptible("if it had been queued, `%segmind jobs` lists it."):
                job = self._call(queue)
        self.conversations.take(turn, job)
        return job

    def preview(self, request: Request) -> Request:
        """Say what would become of a request, and send nothing."""
        encoded(request.body, api_key=self.settings().api_key)
        request = self.estimated(dataclasses.replace(request, dry=True))
        try:
            kept = self.slot(request, request.cache).find()
        except NotCachedError:
            return dataclasses.replace(request, is_withheld=True)
        return dataclasses.replace(request, kept_at=kept.cached_at) if kept else request

    def estimated(self, request: Request) -> Request:
        """Return a request with what it is likely to take."""
        origin = self.settings().base_url
        found = self.budget.estimate(request.model, request.tokens, origin=origin)
        return dataclasses.replace(request, estimate=found)

    def slot(self, call: Call, cache: Caching, origin: str | None = None) -> ReplyCache:
        """Find where the reply to a call may be kept; it takes neither a key nor a client."""
        from segmind_jupyter.api.journal import ReplyCache

        if cache == "off":
            return ReplyCache()
        origin = origin or self.settings().base_url
        return ReplyCache.of(call, cache=cache, journal=self.journal, origin=origin)

    def resume(self, request_id: str) -> Job:
        """Take up a job by its id, without sending it again."""
        from segmind_jupyter.api.responses import checked_id

        known = self.followed(checked_id(request_id))
        if known is not None:
            return known

        async def take_up() -> Job:
            watch = self.watch()
            return self._begun(watch, await watch.resume(request_id))

        return self._call(take_up)

    def _begun(self, watch: JobManager, job: Job) -> Job:
        """Track a job, and have it followed; on the loop, where no interrupt comes between."""
        if not job.done():
            self.track(job)
            watch.start(job)
        return job

    def _delivered(self, job: Job, reply: Reply) -> None:
        self.ledger.add(reply, model=job.model or reply.model or "unknown")
        if isinstance(job.request, Request):
            self.slot(job.request, job.request.cache, job.origin).keep(reply)

    @contextlib.contextmanager
    def _interruptible(self, how_to_look: str) -> Iterator[None]:
        """Count a POST that the user interrupted, and say that it may have been billed."""
        try:
            yield
        except KeyboardInterrupt:
            self.ledger.add_unknown()
            raise Interrupted(
                "The request was cancelled here. If the model had begun, it may still be billed; "
                + how_to_look
            ) from None

    def followed(self, request_id: str) -> Job | None:
        """Find the job of that id among those that this process follows, a batch's too."""
        found = (watch.followed(request_id) for watch in list(self._watches.values()))
        return next(filter(None, found), None)

    def track(self, work: Work) -> None:
        """Remember a job or a batch until it ends; what fails unattended, until it was raised."""
        is_unattended = self.unattended()

        def end(work: Work) -> None:
            self._works.pop(id(work), None)
            # What was cancelled is as somebody wanted it.
            if is_unattended and not isinstance(work.unraised, JobCancelled | None):
                self._failed.append(work)

        self._works[id(work)] = work
        work.on_done(end)

    @property
    def pending(self) -> tuple[Work, ...]:
        """The jobs and batches of this process that have not ended, oldest first."""
        return tuple(self._works.copy().values())

    @property
    def failed(self) -> tuple[Work, ...]:
        """What failed where nobody looked on, and raised its error nowhere yet."""
        return tuple(work for work in self._failed if work.unraised is not None)

    def start(
        self, function: Callable[..., Awaitable[T]], *args: Any
    ) -> concurrent.futures.Future[T]:
        """Start `function(*args)` on the background loop; cancelling the future cancels it."""
        self._look_for_key()
        return self._loop.start(function, *args)

    def _call(
        self, function: Callable[..., Awaitable[T]], *args: Any, wait: Waiter | None = None
    ) -> T:
        """Run `function(*args)` on the background loop, and wait for it."""
        self._look_for_key()
        return self._loop.call(function, *args, wait=wait)

    def _look_for_key(self) -> None:
        """Look here, as Colab tells its secrets to the main thread alone; the loop looks again."""
        if self._api_key is None and not os.environ.get(KEY_NAME, "").strip():
            with contextlib.suppress(SegmindError):
                self.settings()

    def waiter(
        self,
        future: concurrent.futures.Future[Any],
        timeout_s: float | None = None,
        *,
        of: object = None,
    ) -> None:
        """Wait for something of the background loop (`api.loop.Waiter`), in sight of the user."""
        if self in _inherited:
            raise SegmindError(
                "This goes on in the process that this one was forked from. `resume(ID)` takes a "
                "job up here; run a batch again."
            )
        self._loop.check_may_wait()
        of = of or next((work for work in self.pending if work.awaits(future)), None)
        in_main = threading.current_thread() is threading.main_thread()
        if of is None or not self.wait_shows or not in_main or self.unattended():
            self._loop.wait(future, timeout_s)
            return
        show = self.wait_shows[-1]
        wait_in_sight(self._loop.wait, future, timeout_s, lambda: show(of))

    def expected_s(self, model: str) -> float | None:
        """Return how many seconds a call of a model takes, as far as that was learned."""
        took = [c.seconds for c in self.ledger.calls[-200:] if c.model == model and c.seconds]
        took = took[-20:] or self.journal.durations(self.settings().base_url, model, limit=20)
        return sorted(took)[len(took) // 2] if took else model_info(model).seconds

    def client(self) -> SegmindClient:
        """Return the client for the settings that hold now; on the background loop alone."""
        import asyncio

        from segmind_jupyter.api.client import SegmindClient
        from segmind_jupyter.api.transport import NETWORK_NAMES

        settings = self.settings()
        key = asyncio.get_running_loop(), settings, *map(os.environ.get, NETWORK_NAMES)
        if key not in self._clients:
            self._clients[key] = SegmindClient(settings=settings)
        return self._clients[key]

    def watch(self) -> JobManager:
        """Return what submits and follows jobs under the present settings; on the loop alone."""
        from segmind_jupyter.api.watch import JobManager

        client, journal = self.client(), self.journal
        if (client, journal) not in self._watches:
            # Where jobs come from: the notebook, where the server tells it.
            notebook = os.path.basename(os.environ.get("JPY_SESSION_NAME", ""))
            self._watches[client, journal] = JobManager(
                client,
                journal=journal,
                place=notebook or f"process {os.getpid()}",
                wait=self.waiter,
                delivered=self._delivered,
                reserve=self.budget.reserve,
            )
        return self._watches[client, journal]

    @property
    def paused_until(self) -> float | None:
        """Unix time until which Segmind takes no more requests, as it said; `None` if it does."""
        moments = [client.limiter.paused_until for client in list(self._clients.values())]
        return max(filter(None, moments), default=None)

    @property
    def pace(self) -> float | None:
        """The requests a minute that Segmind lets through, once that was met."""
        paces = [client.limiter.posts_per_min for client in list(self._clients.values())]
        return min(filter(None, paces), default=None)

    def credits(self) -> Credits:
        """Ask what is left on the account."""

        async def look_up() -> Credits:
            return await self.client().credits()

        return self._call(look_up)

    def history(self, request_id: str | None = None) -> list[Charge]:
        """Ask what was charged; the key goes to where the history is, and nowhere else."""

        async def look_up() -> list[Charge]:
            from segmind_jupyter.api.client import SegmindClient

            async with SegmindClient(settings=of_history(self.settings())) as client:
                return await client.history(request_id)

        return self._call(look_up)

    def close(self) -> None:
        """Close the connections and end the background thread; the next call starts anew.

        Jobs whose submission is on its way get a moment in which their ids come in.
        """
        if pending := self.pending:
            from segmind_jupyter.conversation import Turn

            # The newest first, or a chat's next turn would be sent while this closes.
            for turn in [work for work in reversed(pending) if isinstance(work, Turn)]:
                turn.stop()
        journals = {self._journal, *(watch.journal for watch in self._watches.values())}
        if self._clients:
            self._loop.call(self._close_clients)
        self._loop.stop()
        self._journal = None
        for journal in filter(None, journals):
            journal.close()

    async def _close_clients(self) -> None:
        """Close those of this loop; watches first, which let ids come in."""
        import asyncio

        here = asyncio.get_running_loop()
        live = [client for (loop, *_), client in self._clients.items() if loop is here]
        watches = [watch for (client, _), watch in self._watches.items() if client in live]
        self._clients, self._watches = {}, {}
        await asyncio.gather(*(watch.close() for watch in watches))
        for client in live:
            await client.aclose()

    def alike(self) -> Session:
        """Return a new session under the same settings."""
        other = Session()
        other.options, other.base_url, other.auth = self.options, self.base_url, self.auth
        other.unattended, other.footer = self.unattended, self.footer
        other._api_key, other._keeps_file = self._api_key, self._keeps_file
        if self._budget is not None:
            other.budget.own_limit = self._budget.own_limit
        return other


def session() -> Session:
    """Return the one session of this process, made at the first use and closed at exit."""
    with _making:
        return _only_session()


#: `functools.cache` alone would let two threads that come first make two sessions.
_making = threading.Lock()

#: The parents', in a forked child: what the last one set holds on. Nothing else of them is used,
#: nor dropped, as sockets that are collected complain.
_inherited: list[Session] = []


@functools.cache
def _only_session() -> Session:
    made = _inherited[-1].alike() if _inherited else Session()
    atexit.register(made.close)
    return made


def _drop_the_parents() -> None:
    """Let a forked child begin with a session of its own: threads and connections stay behind."""
    global _making
    _making = threading.Lock()
    if _only_session.cache_info().currsize:
        _inherited.append(_only_session())
        atexit.unregister(_inherited[-1].close)
        _only_session.cache_clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_drop_the_parents)
