"""Conversations with a memory: `Chat` and its turns. Knows nothing of widgets."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import logging
import os
import pkgutil
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast, get_args

from segmind_jupyter.api.jobs import Pending, ended
from segmind_jupyter.api.loop import Waiter, checked_patience, wait_interruptibly
from segmind_jupyter.api.messages import Message, Reply
from segmind_jupyter.api.settings import checked_slug
from segmind_jupyter.api.states import Processing
from segmind_jupyter.api.usage import Totals
from segmind_jupyter.asking import ShortTracebacks
from segmind_jupyter.conversation import Conversation, ImagePolicy, drafted
from segmind_jupyter.errors import (
    ContentError,
    Interrupted,
    JobCancelled,
    JobTimeout,
    MaybeBilledError,
    SegmindError,
    SettingsError,
    shortened,
)
from segmind_jupyter.options import Options, call_of, checked_params
from segmind_jupyter.session import Request, session

if TYPE_CHECKING:
    from segmind_jupyter.api.cache import ReplyCache
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.messages import Block, Call
    from segmind_jupyter.content.prompt import Attachment, Prompt
    from segmind_jupyter.conversation import Draft, Exchange, Step


#: Longest name of a conversation, in characters.
_MAX_NAME_CHARS = 80

_log = logging.getLogger(__name__)


class Talk(Conversation):
    """A conversation that also knows the turns that wait, failed or were stopped.

    Threads may share it. What a cell adds to the conversation (`commit`) becomes a turn too.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._known: list[Turn] = []
        self._listeners: list[Callable[[], object]] = []
        #: Held while turns and exchanges change together, and never while anybody is called.
        self._in_step = threading.RLock()

    @property
    def said(self) -> tuple[Turn, ...]:
        """Everything that was said and not cleared, oldest first, also what failed."""
        with self._in_step:
            return tuple(self._up_to_date())

    def begin(self, turn: Turn) -> list[Step]:
        """Put a turn behind the others, and give what it has to wait for."""
        with self._in_step:
            self._up_to_date().append(turn)
            return session().conversations.begin(self, turn)

    def begin_again(self, make: Callable[[Turn], Turn]) -> tuple[Turn, list[Step]]:
        """Begin what `make` makes of the last turn; that one goes if it had failed."""
        with self._in_step:
            last = self._last()
            turn = make(last)
            if last.exchange is None:  # there is no answer to keep until the new one is there
                self._known.remove(last)
            return turn, self.begin(turn)

    def take_back(self) -> Turn:
        """Take the last turn out, answered or not, and what it was to take the place of."""
        with self._in_step:
            last = self._last()
            self._known.remove(last)
            # Asked again in vain, it stands behind its own answer: they are one message.
            if (exchange := last.exchange or last.replacing) is not None:
                self.drop(exchange)
        self.changed()
        return last

    def answer(self, turn: Turn, draft: Draft, reply: Reply) -> None:
        """Take a turn's draft and its reply into the conversation."""
        with self._in_step:
            turn.exchange = super().commit(draft, reply)

    def commit(self, draft: Draft, reply: Reply) -> Exchange:
        """Take in what a cell asked, and let those who listen know."""
        with self._in_step:
            exchange = super().commit(draft, reply)
            self._up_to_date()  # now, as its place is before what still waits
        self.changed()
        return exchange

    def drop_last(self) -> Exchange | None:
        """Take the last exchange out, and let those who listen know."""
        dropped = super().drop_last()
        self.changed()
        return dropped

    def forget(self) -> tuple[Turn, ...]:
        """Do as `clear`, and give all turns that there were."""
        with self._in_step:
            turns = self.said
            super().clear()
            self._known = []
        self.changed()
        return turns

    def clear(self) -> None:
        """Forget everything that was said; usage stays."""
        self.forget()

    def set(
        self,
        *,
        model: str | None = None,
        system: str | None = None,
        images: ImagePolicy | None = None,
    ) -> None:
        """Use these from the next turn on; `None` changes nothing."""
        if images is not None:
            self.images = images
        if system is not None:
            self.system = system
        if model is not None:
            self.model = model
            self.changed()  # the model is all of it that shows

    def listen(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback()` at every change, on the thread that brings it."""
        with self._in_step:
            self._listeners.append(callback)

        def end() -> None:
            with self._in_step, contextlib.suppress(ValueError):
                self._listeners.remove(callback)

        return end

    def changed(self) -> None:
        """Tell those who listen."""
        with self._in_step:
            listeners = tuple(self._listeners)
        for listener in listeners:
            try:
                listener()
            except Exception:  # noqa: BLE001 - whatever the caller's function raises
                _log.exception("a callback of a chat failed")

    def _up_to_date(self) -> list[Turn]:
        """Give the turns as the conversation is by now: cells add to it, others may drop of it."""
        self._known = _matched(self._known, self.turns)
        return self._known

    def _last(self) -> Turn:
        turns = self._up_to_date()
        if not turns:
            raise ContentError("Nothing was said yet. Say something first: chat.send('Hello').")
        if not turns[-1].done():
            raise ContentError("The last turn has not ended. Wait for it, or stop it first.")
        return turns[-1]


def talk_of(name: str) -> Talk:
    """Return the one talk of that name, in this process; one of its own where the name is empty."""
    if not isinstance(name, str) or len(name) > _MAX_NAME_CHARS or not name.isprintable():
        raise SettingsError(
            f"A conversation cannot have the name {name!r:.100}: give up to {_MAX_NAME_CHARS} "
            "letters or other visible characters."
        )
    name = spelled_alike(name)
    if not name:
        return Talk()
    # Nothing else names conversations.
    return cast("Talk", session().conversations.named(name, lambda: Talk(name=name)))


def spelled_alike(name: str) -> str:
    """Return the one spelling of a name: an accent may be typed as one character or as two."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def _matched(turns: Sequence[Turn], exchanges: Sequence[Exchange]) -> list[Turn]:
    """Leave out the turns whose exchange is gone; put new exchanges before what still waits."""
    there = set(exchanges)
    kept = [turn for turn in turns if turn.exchange is None or turn.exchange in there]
    known = {turn.exchange for turn in kept}
    new = [Turn.of(exchange) for exchange in exchanges if exchange not in known]
    waiting = (n for n, turn in enumerate(kept) if turn.exchange is None and not turn.done())
    place = next(waiting, len(kept))
    return [*kept[:place], *new, *kept[place:]]


async def fetch(
    turn: Turn, call: Call, options: Options, *, queued: bool, unknown: Callable[[], object]
) -> Reply:
    """Get the reply to a turn; nothing is sent where `options` let a kept one do."""
    by = _by_v2 if queued else _by_v1
    if options.cache == "off":
        return await by(turn, call, options.timeout_s, unknown)

    from anyio.to_thread import run_sync  # the disk holds up no other job

    slot = await run_sync(session().slot, call, options)
    # Whoever asks again wants another answer, as long as anything may be sent.
    wants_another = turn.replacing is not None and options.cache != "only"
    kept = None if wants_another else await run_sync(slot.find)
    if kept is not None:
        return kept
    reply = await by(turn, call, options.timeout_s, unknown)
    await _keep(slot, reply)
    return reply


async def _by_v1(
    turn: Turn, call: Call, timeout_s: float | None, unknown: Callable[[], object]
) -> Reply:
    desk = session()
    with _told_if_stopped(unknown):
        reply = await desk.chat(call, timeout_s)
    desk.ledger.add(reply, model=call.model)
    return reply


async def _by_v2(
    turn: Turn, call: Call, timeout_s: float | None, unknown: Callable[[], object]
) -> Reply:
    watch = session().watch()
    with _told_if_stopped(unknown):
        job = await watch.submit(call, request=turn.prompt, timeout_s=timeout_s)
    turn.job = job
    turn.move(Stage.QUEUED)
    job.on_change(lambda job: _follow(job, turn))
    await watch.follow(job)
    return job.wait(0)  # it has ended: gives the reply, or raises why there is none


async def _keep(slot: ReplyCache, reply: Reply) -> None:
    """Keep what was paid for, whoever stops the turn meanwhile."""
    import anyio.to_thread

    with anyio.CancelScope(shield=True):
        await anyio.to_thread.run_sync(slot.keep, reply)


@contextlib.contextmanager
def _told_if_stopped(unknown: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    except asyncio.CancelledError:
        unknown()
        raise


def _follow(job: Job, turn: Turn) -> None:
    if isinstance(job.status, Processing):
        turn.move(Stage.PROCESSING)


#: As `Job.wait`.
WAIT_S: Final = 600.0

#: Longest piece of what was said in a repr, in characters.
_MAX_REPR_CHARS: Final = 60


class Stage(StrEnum):
    """How far a turn has come."""

    #: An earlier turn of the same chat has not ended.
    WAITING = "waiting"
    #: It is on its way, or with the model (v1 does not tell).
    SENT = "sent"
    #: Segmind has it in its queue (v2).
    QUEUED = "queued"
    #: The model is at work (v2).
    PROCESSING = "processing"
    #: The reply is there, and part of the conversation.
    ANSWERED = "answered"
    #: There is no reply; `Turn.error` says why.
    FAILED = "failed"
    #: The user stopped it.
    STOPPED = "stopped"


class Turn(Pending[Reply, Stage]):
    """What was said in a chat, and what comes of it. Made by `Chat.send`.

    Parameters
    ----------
    prompt
        What was said, with the objects that go with it.
    blocks
        The same as content blocks, where they are at hand; images are encoded here otherwise.
    replacing
        The exchange that it takes the place of once it is answered (`Chat.regenerate`).
    wait
        What waits, so that Interrupt works.

    Attributes
    ----------
    prompt, blocks, replacing
        As above.
    job
        The job that it became, where it goes by v2; `None` before that, and for v1.
    notes
        What to know about what was sent: images that are no longer sent, names not found.
    exchange
        What the conversation holds of it; `None` where there is no reply (yet).

    Examples
    --------
    >>> turn = chat.send("What does it show?", fig)  # doctest: +SKIP
    >>> turn.wait().text  # doctest: +SKIP
    >>> reply = await turn  # doctest: +SKIP
    """

    def __init__(
        self,
        prompt: Prompt,
        *,
        blocks: Sequence[Block] | None = None,
        replacing: Exchange | None = None,
        wait: Waiter = wait_interruptibly,
    ) -> None:
        super().__init__(Stage.WAITING, wait=wait)
        self.prompt = prompt
        self.blocks = prompt.blocks() if blocks is None else blocks
        self.replacing = replacing
        self.job: Job | None = None
        self.notes: tuple[str, ...] = prompt.notes
        self.exchange: Exchange | None = None
        self._began = time.time()
        self._claimed = False
        self._answering: concurrent.futures.Future[None] | None = None
        self._process = os.getpid()

    @classmethod
    def of(cls, exchange: Exchange) -> Self:
        """Make the turn of an exchange that came about elsewhere, as in a cell."""
        turn = cls(_prompt_of(exchange), blocks=exchange.blocks)
        turn.notes = getattr(exchange.reply.request, "notes", turn.notes)
        turn.exchange = exchange
        turn.answer(exchange.reply)
        return turn

    def __repr__(self) -> str:
        why = f" ({type(self.error).__name__})" if self.stage is Stage.FAILED else ""
        objects = ", ".join(map(_called, self.prompt.sent))
        said = [repr(_brief(self.text))] if self.text or not objects else []
        return f"<Turn {self.stage}{why}: {' with '.join([*said, *filter(None, [objects])])}>"

    @property
    def text(self) -> str:
        """The words that were said, without the objects."""
        return "".join(piece for piece in self.prompt.pieces if isinstance(piece, str)).strip()

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        return self._state

    @property
    def reply(self) -> Reply | None:
        """The reply, or `None` where there is none (yet); `error` says why."""
        return self._outcome

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was said, until its end; of a cell's turn, what its reply took."""
        if self._answering is None and self._outcome is not None:
            return self._outcome.elapsed_s or 0.0
        return max(0.0, (self._ended_at or time.time()) - self._began)

    def wait(self, timeout: float | None = WAIT_S) -> Reply:
        """Wait for the reply.

        Parameters
        ----------
        timeout
            Seconds to wait; `None` waits for ever. The turn goes on either way.

        Raises
        ------
        JobTimeout
            The time is up.
        SegmindError
            Why there is no reply.
        SettingsError
            `timeout` is no time that can be waited.
        Interrupted
            The user interrupted the wait; the turn goes on.
        """
        timeout = checked_patience(timeout)
        try:
            ended = self._wait_for_end(timeout)
        except KeyboardInterrupt:
            raise Interrupted(
                "Stopped waiting; the turn goes on. `turn.stop()` gives it up."
            ) from None
        if not ended:
            request_id = self.job.request_id if self.job else None
            raise JobTimeout(
                f"The turn was still {self.stage} after {timeout:g} s. It goes on: wait again.",
                request_id=request_id,
            )
        return self._result()

    def stop(self) -> bool:
        """Return it up; `False` if it had ended. What was said is no part of the conversation.

        Segmind cannot stop a model that has begun: it may still be billed.
        """
        if not self.settle():
            return False
        stopped = self._finish(Stage.STOPPED, None, self._why_stopped())
        # In a forked child the loop that it runs on is the parent's.
        if stopped and self._answering is not None and self._process == os.getpid():
            self._answering.cancel()
        return stopped

    def cancel(self) -> bool:
        """Do the same, by the name that jobs and batches have for it."""
        return self.stop()

    def answered_by(self, answering: concurrent.futures.Future[None]) -> None:
        """Know what to cancel. For `Chat` alone."""
        self._answering = answering
        if self.done():  # stopped before this was known
            answering.cancel()

    def move(self, stage: Stage) -> bool:
        """Note a stage before the end; `False` if somebody has stopped it. For `Chat` alone."""
        self._move(stage)
        return not self._claimed

    def settle(self) -> bool:
        """Let nobody else end it with a reply or a stop; `False` if somebody was faster."""
        with self._lock:
            first, self._claimed = not self._claimed, True
            return first

    def answer(self, reply: Reply) -> None:
        """Note the reply, once it is settled that there is one. For `Chat` alone."""
        self._finish(Stage.ANSWERED, reply, None)

    def fail(self, error: SegmindError) -> None:
        """Note why there is no reply; nothing happens if it has ended. For `Chat` alone."""
        # Whoever stops the job, on its card or elsewhere, has stopped the turn.
        stage = Stage.STOPPED if isinstance(error, JobCancelled) else Stage.FAILED
        self._finish(stage, None, error)

    def _why_stopped(self) -> JobCancelled:
        if self._state is Stage.WAITING:
            return JobCancelled("The turn was stopped before it was sent.")
        request_id = self.job.request_id if self.job else None
        again = f"; `%segmind resume {request_id}` fetches its reply" if request_id else ""
        return JobCancelled(
            f"The turn was stopped. If the model had begun, it may still be billed{again}.",
            request_id=request_id,
        )


def _prompt_of(exchange: Exchange) -> Prompt:
    """Return what was asked: of an exchange that was committed by hand, its words."""
    from segmind_jupyter.content.prompt import Prompt

    if isinstance(exchange.request, Prompt):
        return exchange.request
    return Prompt(tuple(block["text"] for block in exchange.blocks if block["type"] == "text"))


def _called(item: Attachment) -> str:
    """Call an object by its label, or by what it reads as: `None` and ``[]`` have no other."""
    text = "" if item.images else "".join(part.wire()["text"] for part in item.parts)
    return item.label or _brief(text) or item.summary


def _brief(words: str) -> str:
    line = shortened(words)
    return line if len(line) <= _MAX_REPR_CHARS else line[: _MAX_REPR_CHARS - 1] + "…"


#: How a turn travels: ``v1`` holds a connection open, ``v2`` is a job, which outlives one. ``auto``
#: is ``v2``, so that a long answer survives.
Mode = Literal["auto", "v1", "v2"]

#: Bound late and by name, so that nothing here imports the room that shows things.
_TRANSCRIPT: Final = "segmind_jupyter.notebook.chat.transcript"


class Chat:
    """A conversation with a Claude model, about the objects of a notebook.

    As the value of a cell it is a widget. From code it works the same with or without one.

    Parameters
    ----------
    model
        Slug of the model; that of `%config ClaudeMagics` if left out.
    system
        System prompt.
    name
        What it is called in `%segmind chat`, and by `%%claude --chat NAME`. Chats of one name are
        one conversation: a new one shows all that was said, what it is given here holds for all,
        and what one of them stops or clears is stopped or cleared.
    mode
        ``"auto"`` (v2 jobs, so that long answers survive), ``"v1"`` or ``"v2"``.
    images
        Which images of earlier turns are sent again: ``"fit"`` (within 20 images and 20 MB, the
        default), ``"all"``, or how many of the newest.
    max_tokens, temperature, timeout, **params
        As for `ask`.

    Raises
    ------
    SettingsError
        An argument cannot work.

    Examples
    --------
    >>> chat = Chat(system="Answer in one sentence.")  # doctest: +SKIP
    >>> chat.send("What does this show?", fig).wait().text  # doctest: +SKIP
    >>> chat  # in a notebook: the widget  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        system: str | None = None,
        name: str = "",
        mode: Mode = "auto",
        images: ImagePolicy | str | int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        **params: Any,
    ) -> None:
        self.mode = mode
        if model is not None:
            checked_slug(model)
        policy = None if images is None else ImagePolicy.of(images)
        self._asked_for: dict[str, Any] = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "timeout_s": timeout,
        }
        with ShortTracebacks():
            Options(system=system, **self._asked_for)  # refuses what cannot work
        self._params = dict(checked_params(params))
        self._talk = talk_of(name)
        self._talk.set(model=model, system=system, images=policy)
        self._ends_watching: list[Callable[[], None]] = []
        self._on_close: list[Callable[[Chat], object]] = []

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        count = len(self.conversation.turns)
        return f"<Chat{name} with {self.model}, {count} turn{'s' * (count != 1)}>"

    @property
    def conversation(self) -> Conversation:
        """What was said and answered: what the next turn continues."""
        return self._talk

    @property
    def name(self) -> str:
        """What it is called; empty if it has no name."""
        return self._talk.name

    @property
    def mode(self) -> Mode:
        """How the next turn travels."""
        return self._mode

    @mode.setter
    def mode(self, mode: Mode) -> None:
        if mode not in get_args(Mode):
            raise SettingsError(f"mode={mode!r}: give {', '.join(get_args(Mode))}.")
        self._mode: Mode = mode

    @property
    def model(self) -> str:
        """Slug of the model of the next turn."""
        return self._talk.model or session().options.model

    @model.setter
    def model(self, model: str) -> None:
        self._talk.set(model=checked_slug(model))

    @property
    def system(self) -> str | None:
        """System prompt of the next turn; an empty one keeps out that of `%config ClaudeMagics`."""
        own = self._talk.system
        return session().options.system if own is None else own

    @system.setter
    def system(self, system: str | None) -> None:
        with ShortTracebacks():
            self._talk.system = Options(system=system).system

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Everything that was said and not cleared, oldest first, also what failed."""
        return self._talk.said

    @property
    def messages(self) -> list[Message]:
        """What the next turn will continue, as it is sent."""
        return self._talk.messages

    @property
    def usage(self) -> Totals:
        """Tokens and cost of all that was answered, also of what was cleared since."""
        return self.conversation.usage

    def send(self, *contents: Any) -> Turn:
        """Say something, and go on at once.

        Parameters
        ----------
        *contents
            Words and objects, as for `ask`. Objects are converted here and now; what becomes of
            them afterwards does not matter. In a callback all other answers wait meanwhile: start
            a `threading.Thread` there for large ones.

        Returns
        -------
        Turn
            `turn.wait()`, ``await turn``, `turn.stop()`. Turns are answered one after the other.

        Raises
        ------
        ContentError
            A value cannot be sent. What goes wrong later is the turn's error.
        """
        from segmind_jupyter.content.prompt import gather

        with ShortTracebacks():
            return self.say(gather(contents, limits=session().options.limits))

    def say(self, prompt: Prompt) -> Turn:
        """Say a prompt that is ready (`content.prompt`); otherwise as `send`."""
        turn = Turn(prompt, wait=session().waiter)
        if not turn.blocks:
            raise ContentError(
                "There is nothing to say. Write what you want to know, or attach something."
            )
        return self._begin(turn, self._talk.begin(turn))

    def regenerate(self) -> Turn:
        """Ask the last turn again; its answer stays until the new one is there.

        Raises
        ------
        ContentError
            There is none, or it has not ended.
        """
        with ShortTracebacks():
            return self._begin(*self._talk.begin_again(_asked_again))

    def take_back(self) -> Turn:
        """Take the last turn out, answered or not, and return it: to say it in other words.

        Where `regenerate` failed or was stopped, the answer that had stayed goes with it.

        Raises
        ------
        ContentError
            There is none, or it has not ended.
        """
        with ShortTracebacks():
            return self._talk.take_back()

    def stop(self) -> bool:
        """Return up every turn that has not ended; `False` if there is none."""
        return _stopped(self.turns)

    def clear(self) -> None:
        """Begin anew: stop what goes on, and forget what was said. Usage stays."""
        # Forgotten first: what is stopped, and still there, is given back to be said again.
        _stopped(self._talk.forget())

    def close(self) -> None:
        """Stop what goes on, and let go of those who watch; what shows the chat is closed."""
        self.stop()
        while self._on_close:
            self._on_close.pop()(self)
        while self._ends_watching:
            self._ends_watching.pop()()

    def on_change(self, callback: Callable[[Chat], object]) -> Callable[[], None]:
        """Call `callback(chat)` whenever a turn begins, moves or ends, or is taken out.

        Also if another chat of this name, or a cell, is where it happens. It is called on
        whichever thread brings the change, and must be quick.

        Returns
        -------
        callable
            Ends the calls.
        """
        end = self._talk.listen(lambda: callback(self))
        self._ends_watching.append(end)
        return end

    def on_close(self, callback: Callable[[Chat], object]) -> None:
        """Call `callback(chat)` once, when this is closed."""
        self._on_close.append(callback)

    def to_markdown(self) -> str:
        """Return the whole transcript as Markdown that runs and fetches nothing."""
        text: str = pkgutil.resolve_name(f"{_TRANSCRIPT}:markdown")(self)
        return text

    def to_html(self) -> str:
        """Return the whole transcript as HTML that runs and fetches nothing."""
        page: str = pkgutil.resolve_name(f"{_TRANSCRIPT}:html")(self)
        return page

    def _begin(self, turn: Turn, before: Sequence[Step]) -> Turn:
        """Set a turn on its way that the talk knows; `before` is to end first."""
        desk = session()
        try:
            desk.track(turn)
            turn.on_change(lambda _: self._talk.changed())
            turn.on_done(lambda _: self._talk.changed())
            self._talk.changed()
            turn.answered_by(desk.start(self._answer, turn, before))
        except BaseException:  # an interrupt too: later turns would wait for this one for ever
            turn.stop()
            raise
        return turn

    async def _answer(self, turn: Turn, before: Sequence[Step]) -> None:
        """Ask, and take the reply into the conversation. Runs on the background loop."""
        try:
            for step in before:
                await ended(step)
            session().conversations.take_in(self._talk)
            await self._ask(turn)
        except SegmindError as error:
            if isinstance(error, MaybeBilledError):
                self._count_unknown()
            turn.fail(error)
        except Exception as error:  # noqa: BLE001 - a turn must end, whatever happens
            _log.exception("a turn of %r cannot be answered", self)
            turn.fail(_unforeseen(error))
        finally:
            turn.stop()  # where the loop ends with it; nothing happens if it has ended

    async def _ask(self, turn: Turn) -> None:
        options = self._options()
        draft = drafted(
            self._talk,
            turn.prompt,
            model=options.model,
            system=options.system,
            blocks=turn.blocks,
            replacing=turn.replacing,
        )
        call = call_of(draft.messages, options, self._params)
        turn.notes = (*turn.prompt.notes, *draft.notes)
        if not turn.move(Stage.SENT):
            return
        queued = self.mode != "v1"
        reply = await fetch(turn, call, options, queued=queued, unknown=self._count_unknown)
        noted = dataclasses.replace(turn.prompt, notes=turn.notes)
        request = Request.of(noted, call, queued=queued)
        self._take_in(turn, draft, dataclasses.replace(reply, request=request))

    def _take_in(self, turn: Turn, draft: Draft, reply: Reply) -> None:
        if turn.settle():
            self._talk.answer(turn, draft, reply)
            turn.answer(reply)
        elif reply.cached_at is None:  # stopped at the last moment: paid for, and never sent again
            self._talk.ledger.add(reply, model=draft.model or "unknown")

    def _options(self) -> Options:
        """Read when the turn is sent: `%config ClaudeMagics` may have changed since."""
        return session().options.replace(
            model=self._talk.model, system=self._talk.system, **self._asked_for
        )

    def _count_unknown(self) -> None:
        self._talk.ledger.add_unknown()
        session().ledger.add_unknown()


def _stopped(turns: Sequence[Turn]) -> bool:
    """Stop turns, and tell whether one of them had not ended."""
    # The newest first: the end of one sets the next one going.
    stopped = [turn.stop() for turn in reversed(turns)]
    return any(stopped)


def _asked_again(last: Turn) -> Turn:
    """Make a turn that says the same; its images are not encoded again."""
    return Turn(
        last.prompt,
        blocks=last.blocks,
        replacing=last.exchange or last.replacing,
        wait=session().waiter,
    )


def _unforeseen(error: Exception) -> SegmindError:
    return SegmindError(
        f"The turn cannot be answered ({type(error).__name__}: {shortened(str(error))}). Say it "
        "again, or set mode='v1'."
    )
