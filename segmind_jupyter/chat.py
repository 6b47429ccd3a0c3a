"""`Chat`: a conversation with a memory, from code or in a notebook. Knows nothing of widgets."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import json
import logging
import pkgutil
import threading
import time
import unicodedata
import uuid
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast, get_args

from segmind_jupyter.api.jobs import WAIT_S, Pending, ended, tell
from segmind_jupyter.api.loop import Waiter, checked_patience, wait_interruptibly
from segmind_jupyter.api.messages import Message, Reply, Totals
from segmind_jupyter.api.settings import checked_slug
from segmind_jupyter.asking import ShortTracebacks, expected_of
from segmind_jupyter.conversation import Conversation, ImagePolicy
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
from segmind_jupyter.words import one_line

if TYPE_CHECKING:
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.messages import Block, Call
    from segmind_jupyter.content.json_schema import Expected
    from segmind_jupyter.content.prompt import Prompt
    from segmind_jupyter.conversation import Draft, Exchange, Work

#: How a turn travels: ``v1`` holds a connection open, ``v2`` is a job, which outlives one. ``auto``
#: is ``v2``, so that a long answer survives.
Mode = Literal["auto", "v1", "v2"]

#: Longest name of a conversation, in characters.
_MAX_NAME_CHARS: Final = 80

_log = logging.getLogger(__name__)


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
    prompts
        What its view suggests to begin with, in place of what it finds in the notebook.
    keep
        Whether its turns, with what was said and shown, are kept in the journal, so that the next
        kernel's chat of this name goes on; that of `%config ClaudeMagics.keep_chats` if left out.
    max_tokens, temperature, timeout, **params
        As for `ask`.

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
        keep: bool | None = None,
        prompts: Sequence[str] = (),
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        **params: Any,
    ) -> None:
        self.mode = mode
        self.prompts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
        model = None if model is None else checked_slug(model)
        policy = None if images is None else ImagePolicy.of(images)
        self._asked_for: dict[str, Any] = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "timeout_s": timeout,
        }
        with ShortTracebacks():
            Options(system=system, **self._asked_for)  # refuses what cannot work
        self._params = dict(checked_params(params))
        #: What was said and answered: what the next turn continues.
        self.conversation: Talk = Talk.of(name)
        self.name = self.conversation.name
        if policy is not None:
            self.conversation.images = policy
        if system is not None:
            self.conversation.system = system
        if model is not None:
            self.model = model
        if keep and not self.name:
            raise SettingsError(
                'What has no name cannot be found again. Give one: Chat(name="review", keep=True).'
            )
        if self.name and (session().keeps_chats if keep is None else keep):
            self.conversation.keep()
        self._ends_watching: list[Callable[[], None]] = []
        self._on_close: list[Callable[[Chat], object]] = []

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        count = len(self.conversation.turns)
        return f"<Chat{name} with {self.model}, {count} turn{'s' * (count != 1)}>"

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
        return self.conversation.model or session().options.model

    @model.setter
    def model(self, model: str) -> None:
        self.conversation.model = checked_slug(model)
        self.conversation.changed()  # of what is set, the model alone shows

    @property
    def system(self) -> str | None:
        """System prompt of the next turn; an empty one keeps out that of `%config ClaudeMagics`."""
        own = self.conversation.system
        return session().options.system if own is None else own

    @system.setter
    def system(self, system: str | None) -> None:
        with ShortTracebacks():
            self.conversation.system = Options(system=system).system

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Everything that was said and not cleared, oldest first, also what failed."""
        return self.conversation.said

    @property
    def messages(self) -> list[Message]:
        """What the next turn will continue, as it is sent."""
        return self.conversation.messages

    @property
    def usage(self) -> Totals:
        """Tokens and cost of all that was answered, also of what was cleared since."""
        return self.conversation.usage

    def send(self, *contents: Any, json: Any = None) -> Turn:
        """Say something, and go on at once.

        Parameters
        ----------
        *contents
            Words and objects, as for `ask`. Objects are converted here and now; what becomes of
            them afterwards does not matter. In a callback all other answers wait meanwhile: start
            a `threading.Thread` there for large ones.
        json
            What the reply must be, as for `ask`: `turn.wait().parsed`.

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
            expected = expected_of(json, dict(self._params))
            limits = session().options.replace(model=self.model).limits
            return self.say(gather(contents, limits=limits), expected)

    def say(self, prompt: Prompt, expected: Expected | None = None) -> Turn:
        """Say a prompt that is ready (`content.prompt`); otherwise as `send`."""
        turn = Turn(prompt, expected=expected, wait=session().waiter)
        if not turn.blocks:
            raise ContentError(
                "There is nothing to say. Write what you want to know, or attach something."
            )
        return self._begin(turn, self.conversation.begin(turn))

    def regenerate(self) -> Turn:
        """Ask the last turn again; its answer stays until the new one is there."""
        with ShortTracebacks():
            return self._begin(*self.conversation.begin_again())

    def take_back(self) -> Turn:
        """Take the last turn out, answered or not, and return it: to say it in other words.

        Where `regenerate` failed or was stopped, the answer that had stayed goes with it.
        """
        with ShortTracebacks():
            last = self.conversation.take_back()
        self.conversation.changed()
        return last

    def stop(self) -> bool:
        """Stop every turn that has not ended; `False` if there is none."""
        # The newest first: the end of one sets the next one going.
        stopped = [turn.stop() for turn in reversed(self.turns)]
        return any(stopped)

    def clear(self) -> None:
        """Begin anew: stop what goes on, and forget what was said. Usage stays."""
        # Forgotten first: what is stopped, and still there, is given back to be said again.
        for turn in reversed(self.conversation.clear()):
            turn.stop()

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
        whichever thread brings the change, and must be quick. What it returns ends the calls.
        """
        end = self.conversation.listen(lambda _: callback(self))
        self._ends_watching.append(end)
        return end

    def on_close(self, callback: Callable[[Chat], object]) -> None:
        """Call `callback(chat)` once, when this is closed."""
        self._on_close.append(callback)

    def to_markdown(self) -> str:
        """Return the whole transcript as Markdown that runs and fetches nothing."""
        # By name: nothing here imports the room that shows things.
        return str(pkgutil.resolve_name("segmind_jupyter.notebook.chat.transcript:markdown")(self))

    def to_html(self) -> str:
        """Return the whole transcript as HTML that runs and fetches nothing."""
        return str(pkgutil.resolve_name("segmind_jupyter.notebook.chat.transcript:html")(self))

    def to_json(self) -> str:
        """Return what was said and answered as JSON, images included."""
        turns = [exchange.to_dict() for exchange in self.conversation.turns]
        held = self.conversation
        return json.dumps({"model": held.model, "system": held.system, "turns": turns})

    @classmethod
    def from_json(cls, text: str, **settings: Any) -> Self:
        """Make a chat that goes on where `to_json` was called; `settings` as for `Chat`."""
        try:
            told = json.loads(text)
            chat = cls(**{"model": told["model"], "system": told["system"], **settings})
            for turn in told["turns"]:
                chat.conversation.restore(turn)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ContentError(
                f"This is not what `chat.to_json()` gives ({type(error).__name__})."
            ) from None
        chat.conversation.changed()
        return chat

    def _begin(self, turn: Turn, before: Sequence[Work]) -> Turn:
        """Set a turn on its way that the talk knows; `before` is to end first."""
        desk = session()
        try:
            desk.track(turn)
            turn.on_change(lambda _: self.conversation.changed())
            turn.on_done(lambda _: self.conversation.changed())
            self.conversation.changed()
            turn.answered_by(desk.start(self._answer, turn, before))
        except BaseException:  # an interrupt too: later turns would wait for this one for ever
            turn.stop()
            raise
        return turn

    async def _answer(self, turn: Turn, before: Sequence[Work]) -> None:
        """Ask, and take the reply into the conversation. Runs on the background loop."""
        try:
            for work in before:
                await ended(work)
            session().conversations.under_way(self.conversation)  # takes in what they were answered
            await self._ask(turn)
        except SegmindError as error:
            if isinstance(error, MaybeBilledError):
                self._count_unknown()
            turn.fail(error)
        except Exception as error:  # noqa: BLE001 - a turn must end, whatever happens
            _log.exception("a turn of %r cannot be answered", self)
            why = f"{type(error).__name__}: {shortened(str(error))}"
            words = f"The turn cannot be answered ({why}). Say it again, or set mode='v1'."
            turn.fail(SegmindError(words))
        finally:
            turn.stop()  # where the loop ends with it; nothing happens if it has ended

    async def _ask(self, turn: Turn) -> None:
        # Read when it is sent: `%config ClaudeMagics` may have changed since.
        options = session().options.replace(
            model=self.conversation.model, system=self.conversation.system, **self._asked_for
        )
        draft = self.conversation.draft_prompt(
            turn.prompt,
            blocks=turn.blocks,
            replacing=turn.replacing,
            model=options.model,
            system=options.system,
        )
        shape = {} if turn.expected is None else {"response_format": turn.expected.response_format}
        call = call_of(draft.messages, options, {**self._params, **shape})
        turn.notes = (*turn.prompt.notes, *draft.notes)
        turn.move(Stage.SENT)
        if turn._claimed:  # stopped
            return
        queued = self.mode != "v1"
        reply = await self._fetch(turn, call, options, queued=queued)
        noted = dataclasses.replace(turn.prompt, notes=turn.notes)
        request = Request.of(noted, call, queued=queued, expected=turn.expected)
        reply = dataclasses.replace(reply, request=request)
        if turn.claim():
            self.conversation.commit(draft, reply, turn)
        elif reply.cached_at is None:  # stopped at the last moment: paid for, and never sent again
            self.conversation.ledger.add(reply, model=draft.model or "unknown")

    async def _fetch(self, turn: Turn, call: Call, options: Options, *, queued: bool) -> Reply:
        """Get the reply to a turn; nothing is sent where `options` let a kept one do."""
        from anyio import CancelScope
        from anyio.to_thread import run_sync  # the disk holds up no other job

        desk = session()
        slot = None if options.cache == "off" else await run_sync(desk.slot, call, options)
        # Whoever asks again wants another answer, as long as anything may be sent.
        if slot is not None and (turn.replacing is None or options.cache == "only"):
            kept = await run_sync(slot.find)
            if kept is not None:
                return kept
        try:
            if queued:
                watch = desk.watch()
                job = await watch.submit(call, request=turn.prompt, timeout_s=options.timeout_s)
            else:
                reply = await desk.chat(call, options.timeout_s)
                desk.ledger.add(reply, model=call.model)
        except asyncio.CancelledError:
            self._count_unknown()
            raise
        if queued:
            turn.queued_as(job)
            await watch.follow(job)
            reply = job.wait(0)  # it has ended: gives the reply, or raises why there is none
        if slot is not None:
            with CancelScope(shield=True):  # paid for, whoever stops the turn meanwhile
                await run_sync(slot.keep, reply)
        return reply

    def _count_unknown(self) -> None:
        self.conversation.ledger.add_unknown()
        session().ledger.add_unknown()


class Stage(StrEnum):
    """How far a turn has come."""

    WAITING = "waiting"  # an earlier turn of the same chat has not ended
    SENT = "sent"  # on its way, or with the model (v1 does not tell)
    QUEUED = "queued"  # Segmind has it in its queue (v2)
    PROCESSING = "processing"  # the model is at work (v2)
    ANSWERED = "answered"  # the reply is there, and part of the conversation
    FAILED = "failed"  # there is no reply; `Turn.error` says why
    STOPPED = "stopped"  # by the user


class Turn(Pending[Reply, Stage]):
    """What was said in a chat, and what comes of it. Made by `Chat.send`.

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
        expected: Expected | None = None,
        wait: Waiter = wait_interruptibly,
    ) -> None:
        super().__init__(Stage.WAITING, wait=wait)
        self.prompt = prompt
        self.blocks = prompt.blocks() if blocks is None else blocks
        #: The exchange that it takes the place of once it is answered (`Chat.regenerate`).
        self.replacing = replacing
        self.expected = expected
        #: The job that it became, where it goes by v2.
        self.job: Job | None = None
        self.notes: tuple[str, ...] = prompt.notes
        #: What the conversation holds of it, once there is a reply.
        self.exchange: Exchange | None = None
        self._began = time.time()
        #: Whether it is settled how it ends: with a reply, or by a stop.
        self._claimed = False
        self._answering: concurrent.futures.Future[None] | None = None

    @classmethod
    def of(cls, exchange: Exchange) -> Self:
        """Make the turn of an exchange that came about elsewhere, as in a cell or by hand."""
        from segmind_jupyter.content.prompt import Prompt

        words = (block["text"] for block in exchange.blocks if block["type"] == "text")
        known = isinstance(exchange.request, Prompt)
        turn = cls(exchange.request if known else Prompt(tuple(words)), blocks=exchange.blocks)
        turn.notes = getattr(exchange.reply.request, "notes", turn.notes)
        turn.exchange = exchange
        turn.answer(exchange.reply)
        return turn

    def __repr__(self) -> str:
        brief = partial(one_line, max_chars=60)
        objects = []
        for item in self.prompt.sent:  # `None` and ``[]`` have no label but what they read as
            text = "" if item.images else "".join(part.wire()["text"] for part in item.parts)
            objects.append(item.label or brief(text) or item.summary)
        said = [repr(brief(self.text))] if self.text or not objects else []
        why = f" ({type(self.error).__name__})" if self.stage is Stage.FAILED else ""
        what = " with ".join(filter(None, [*said, ", ".join(objects)]))
        return f"<Turn {self.stage}{why}: {what}>"

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
        """Wait for the reply as `Job.wait` does; the turn goes on either way."""
        timeout = checked_patience(timeout)
        try:
            ended = self._wait_for_end(timeout)
        except KeyboardInterrupt:
            words = "Stopped waiting; the turn goes on. `turn.stop()` gives it up."
            raise Interrupted(words) from None
        if not ended:
            raise JobTimeout(
                f"The turn was still {self.stage} after {timeout:g} s. It goes on: wait again.",
                request_id=self.job.request_id if self.job else None,
            )
        return self._result()

    def stop(self) -> bool:
        """Give it up; `False` if it had ended. A model that has begun may still be billed."""
        if not self.claim():
            return False
        request_id = self.job.request_id if self.job else None
        again = f"; `%segmind resume {request_id}` fetches its reply" if request_id else ""
        why = f"The turn was stopped. If the model had begun, it may still be billed{again}."
        if self._state is Stage.WAITING:
            why = "The turn was stopped before it was sent."
        stopped = self._finish(Stage.STOPPED, None, JobCancelled(why, request_id=request_id))
        if stopped and self._answering is not None:
            self._answering.cancel()
        return stopped

    #: The name that jobs and batches have for it.
    cancel = stop

    # What follows is for `Chat` alone.

    def answered_by(self, answering: concurrent.futures.Future[None]) -> None:
        """Know what to cancel."""
        self._answering = answering
        if self.done():  # stopped before this was known
            answering.cancel()

    def queued_as(self, job: Job) -> None:
        """Note the job that it became, and move on with it."""
        self.job = job
        self.move(Stage.QUEUED)

        def follow(job: Job) -> None:
            if job.status == "PROCESSING":
                self.move(Stage.PROCESSING)

        job.on_change(follow)

    def claim(self) -> bool:
        """Let nobody else end it with a reply or a stop; `False` if somebody was faster."""
        with self._lock:
            first, self._claimed = not self._claimed, True
            return first

    def answer(self, reply: Reply) -> None:
        """Note the reply, which is part of the conversation by now."""
        self._claimed = True
        self._finish(Stage.ANSWERED, reply, None)

    def fail(self, error: SegmindError) -> None:
        """Note why there is no reply; nothing happens if it has ended."""
        # Whoever stops the job, on its card or elsewhere, has stopped the turn.
        stage = Stage.STOPPED if isinstance(error, JobCancelled) else Stage.FAILED
        self._finish(stage, None, error)


class Talk(Conversation):
    """A conversation that also knows the turns that wait, failed or were stopped.

    Threads may share it. What a cell adds to the conversation (`commit`) becomes a turn too.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._known: list[Turn] = []
        self._listeners: list[Callable[[Any], object]] = []
        #: Of the exchanges that the journal has, the keys; `None` where none is to be kept.
        self._kept: dict[Exchange, str] | None = None
        #: Held while turns and exchanges change together, and never while anybody is called.
        self._in_step = threading.RLock()

    @classmethod
    def of(cls, name: str) -> Talk:
        """Return the one talk of that name, in this process; a new one where the name is empty."""
        if not isinstance(name, str) or len(name) > _MAX_NAME_CHARS or not name.isprintable():
            raise SettingsError(
                f"A conversation cannot have the name {name!r:.100}: give up to {_MAX_NAME_CHARS} "
                "letters or other visible characters."
            )
        name = spelled_alike(name)
        if not name:
            return cls()
        # Nothing else names conversations.
        return cast("Talk", session().conversations.named(name, lambda: cls(name=name)))

    @property
    def said(self) -> tuple[Turn, ...]:
        """Everything that was said and not cleared, oldest first, also what failed."""
        with self._in_step:
            return tuple(self._up_to_date())

    def _up_to_date(self) -> list[Turn]:
        """Leave out turns whose exchange is gone; put new exchanges before what still waits."""
        there = dict.fromkeys(self.turns)
        kept = [turn for turn in self._known if turn.exchange is None or turn.exchange in there]
        known = {turn.exchange for turn in kept}
        new = [Turn.of(exchange) for exchange in there if exchange not in known]
        waiting = (n for n, turn in enumerate(kept) if turn.exchange is None and not turn.done())
        place = next(waiting, len(kept))
        self._known = [*kept[:place], *new, *kept[place:]]
        return self._known

    def begin(self, turn: Turn) -> list[Work]:
        """Put a turn behind the others, and give what it has to wait for."""
        with self._in_step:
            self._up_to_date().append(turn)
            return session().conversations.begin(self, turn)

    def begin_again(self) -> tuple[Turn, list[Work]]:
        """Begin what says the same as the last turn; that one goes if it had failed."""
        with self._in_step:
            last = self._last()
            turn = Turn(
                last.prompt,
                blocks=last.blocks,  # so that no image is encoded again
                replacing=last.exchange or last.replacing,
                expected=last.expected,
                wait=session().waiter,
            )
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
                super().drop(exchange)
        return last

    def _last(self) -> Turn:
        turns = self._up_to_date()
        if not turns:
            raise ContentError("Nothing was said yet. Say something first: chat.send('Hello').")
        if not turns[-1].done():
            raise ContentError("The last turn has not ended. Wait for it, or stop it first.")
        return turns[-1]

    def commit(self, draft: Draft, reply: Reply, turn: Turn | None = None, **how: Any) -> Exchange:
        """Take in what a turn or a cell asked, end the turn, and let those who listen know."""
        with self._in_step:
            exchange = super().commit(draft, reply, **how)
            if turn is not None:
                turn.exchange = exchange
            self._up_to_date()  # now, as a cell's place is before what still waits
            self._keep_up()
        if turn is not None:
            turn.answer(reply)  # whose end is heard of
        else:
            self.changed()
        return exchange

    def drop(self, exchange: Exchange) -> bool:
        """Take an exchange out, and let those who listen know."""
        was_there = super().drop(exchange)
        self.changed()
        return was_there

    def clear(self) -> tuple[Turn, ...]:
        """Forget everything that was said, and return it; usage stays."""
        with self._in_step:
            turns = self.said
            super().clear()
            self._known = []
        self.changed()
        return turns

    def listen(self, callback: Callable[[Any], object]) -> Callable[[], None]:
        """Call `callback(talk)` at every change, on the thread that brings it."""
        with self._in_step:
            self._listeners.append(callback)

        def end() -> None:
            with self._in_step, contextlib.suppress(ValueError):
                self._listeners.remove(callback)

        return end

    def keep(self) -> None:
        """Go on where earlier kernels were, and keep what was said and what comes."""
        with self._in_step:
            if self._kept is not None:
                return
            self._kept, here = {}, self.turns
            for key, body in session().journal.kept_turns(self.name):
                with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError):
                    told = json.loads(body)
                    self._kept[self.restore(told)] = key
                    self.model = self.model or told["model"]
                    self.system = told["system"] if self.system is None else self.system
            self.turns = (*self.turns[len(here) :], *here)
            self._keep_up()

    def _keep_up(self) -> None:
        """Bring the journal in line with what was said and answered."""
        if self._kept is None:
            return
        there = dict.fromkeys(self.turns)
        for exchange in [exchange for exchange in self._kept if exchange not in there]:
            session().journal.forget_turn(self.name, self._kept.pop(exchange))
        for exchange in [exchange for exchange in there if exchange not in self._kept]:
            key = self._kept[exchange] = uuid.uuid4().hex
            told = {**exchange.to_dict(), "model": self.model, "system": self.system}
            session().journal.keep_turn(self.name, key, json.dumps(told).encode())

    def changed(self) -> None:
        """Tell those who listen."""
        with self._in_step:
            self._keep_up()
            listeners = tuple(self._listeners)
        for listener in listeners:
            tell(listener, self)


def spelled_alike(name: str) -> str:
    """Return the one spelling of a name: an accent may be typed as one character or as two."""
    return " ".join(unicodedata.normalize("NFC", name).split())
