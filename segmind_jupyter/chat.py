"""`Chat`: a conversation with a memory, from code or in a notebook. Knows nothing of widgets."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import pkgutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

from segmind_jupyter import errors
from segmind_jupyter.api.messages import Message, Reply, Totals
from segmind_jupyter.api.settings import checked_slug
from segmind_jupyter.asking import ShortTracebacks, expected_of
from segmind_jupyter.conversation import MAX_IMAGES, Conversation, Stage, Turn, to_json
from segmind_jupyter.options import Options, call_of, checked_params
from segmind_jupyter.session import Request, session

if TYPE_CHECKING:
    from segmind_jupyter.content.json_schema import Expected
    from segmind_jupyter.content.prompt import Prompt

#: How a turn travels: ``v1`` holds a connection open, ``v2`` is a job, which outlives one. ``auto``
#: is ``v2``, so that a long answer survives.
Mode = Literal["auto", "v1", "v2"]


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
        and what one of them stops or clears is stopped or cleared. What a cell asks joins it
        with its reply.
    mode
        ``"auto"`` (v2 jobs, so that long answers survive), ``"v1"`` or ``"v2"``.
    images
        How many images a request holds at most, the newest (20 if left out), and within 20 MB;
        those of the new turn always go.
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
        images: int | None = None,
        keep: bool | None = None,
        prompts: Sequence[str] = (),
        max_tokens: int | None = None,
        temperature: float | None = None,
        timeout: float | None = None,
        **params: Any,
    ) -> None:
        #: How the next turn travels.
        self.mode: Mode = _checked_mode(mode)
        self.prompts = (prompts,) if isinstance(prompts, str) else tuple(prompts)
        if images is not None and (type(images) is not int or images < 0):
            raise errors.SettingsError(
                f"images={errors.shortened(repr(images))}: give how many of the newest images go "
                f"again, such as {MAX_IMAGES}."
            )
        slug = None if model is None else checked_slug(model)
        self._asked_for: dict[str, Any] = {
            "max_tokens": max_tokens,
            "temperature": temperature,
            "timeout_s": timeout,
        }
        with ShortTracebacks():
            Options(system=system, **self._asked_for)  # refuses what cannot work
        self._params = dict(checked_params(params))
        #: What was said and answered: what the next turn continues.
        self.conversation: Conversation = session().conversations.named(name)
        self.name = self.conversation.name
        if images is not None:
            self.conversation.max_images = images
        if system is not None:
            self.conversation.system = system
        if slug is not None:
            self.model = slug
        if keep and not self.name:
            raise errors.SettingsError(
                'What has no name cannot be found again. Give one: Chat(name="review", keep=True).'
            )
        if self.name and (session().keeps_chats if keep is None else keep):
            self.conversation.keep(lambda: session().journal)
        self._at_close: list[Callable[[], object]] = []

    def __repr__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        count = len(self.conversation.turns)
        return f"<Chat{name} with {self.model}, {count} turn{'s' * (count != 1)}>"

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
        return self.conversation.ledger.total()

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
        _checked_mode(self.mode)
        turn = Turn(prompt, expected=expected, wait=session().waiter)
        return self._begin(turn, self.conversation.begin(turn))

    def regenerate(self) -> Turn:
        """Ask the last turn again; its answer stays until the new one is there."""
        with ShortTracebacks():
            return self._begin(*self.conversation.begin_again(session().waiter))

    def take_back(self, turn: Turn | None = None) -> Turn:
        """Take a turn out, the last one if none is given, with all that was said after it.

        Return it: to say it in other words. Where `regenerate` failed or was stopped, the answer
        that had stayed goes with it.
        """
        with ShortTracebacks():
            return self.conversation.take_back(turn)

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
        while self._at_close:
            self._at_close.pop()()

    def on_change(self, callback: Callable[[Chat], object]) -> Callable[[], None]:
        """Call `callback(chat)` whenever a turn begins, moves or ends, or is taken out.

        Also if another chat of this name, or a cell, is where it happens. It is called on
        whichever thread brings the change, and must be quick. What it returns ends the calls.
        """
        end = self.conversation.listen(lambda _: callback(self))
        self._at_close.append(end)
        return end

    def on_close(self, callback: Callable[[Chat], object]) -> None:
        """Call `callback(chat)` once, when this is closed."""
        self._at_close.append(lambda: callback(self))

    def to_markdown(self) -> str:
        """Return the whole transcript as Markdown that runs and fetches nothing."""
        # By name: nothing here imports the room that shows things.
        return str(pkgutil.resolve_name("segmind_jupyter.notebook.chat.transcript:markdown")(self))

    def to_json(self) -> str:
        """Return what was said and answered as JSON, images included."""
        held = self.conversation
        turns = [turn.to_dict(turn.reply) for turn in held.turns if turn.reply]
        return to_json({"model": held.model, "system": held.system, "turns": turns})

    @classmethod
    def from_json(cls, text: str, **settings: Any) -> Self:
        """Make a chat that goes on where `to_json` was called; `settings` as for `Chat`."""
        try:
            told = json.loads(text)
            chat = cls(**{"model": told["model"], "system": told["system"], **settings})
            for turn in told["turns"]:
                chat.conversation.restore(turn)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise errors.ContentError(
                f"This is not what `chat.to_json()` gives ({type(error).__name__})."
            ) from None
        chat.conversation.changed()
        return chat

    def _begin(self, turn: Turn, before: Sequence[Turn]) -> Turn:
        """Set a turn on its way that the conversation knows; `before` is to end first."""
        try:
            session().track(turn)
            turn.answered_by(session().start(self._answer, turn, before).cancel)
        except BaseException:  # an interrupt too: later turns would wait for this one for ever
            turn.stop()
            raise
        return turn

    async def _answer(self, turn: Turn, before: Sequence[Turn]) -> None:
        """Ask, and take the reply into the conversation. Runs on the background loop."""
        try:
            for earlier in before:
                await earlier.settled()
            await self._ask(turn)
        except errors.SegmindError as error:
            if isinstance(error, errors.MaybeBilledError):
                session().ledger.add_unknown()
            turn.fail(error)
        except Exception as error:  # noqa: BLE001 - a turn must end, whatever happens
            _log.exception("a turn of %r cannot be answered", self)
            why = f"{type(error).__name__}: {errors.shortened(str(error))}"
            words = f"The turn cannot be answered ({why}). Say it again, or set mode='v1'."
            turn.fail(errors.SegmindError(words))
        finally:
            turn.stop()  # where the loop ends with it; nothing happens if it has ended

    async def _ask(self, turn: Turn) -> None:
        # Read when it is sent: `%config ClaudeMagics` may have changed since.
        options = session().options.replace(
            model=self.conversation.model, system=self.conversation.system, **self._asked_for
        )
        messages, notes = self.conversation.request(turn)
        turn.notes = (*turn.prompt.notes, *notes)
        shape = {} if turn.expected is None else {"response_format": turn.expected.response_format}
        request = Request.of(
            dataclasses.replace(turn.prompt, notes=turn.notes),
            call_of(messages, options, {**self._params, **shape}),
            queued=self.mode != "v1",
            expected=turn.expected,
            cache=options.cache,
            timeout_s=options.timeout_s,
        )
        turn.move(Stage.SENT)
        if not turn.over:  # stopped
            reply = await self._fetch(turn, request)
            reply = dataclasses.replace(reply, request=request)
            self.conversation.take(turn, reply, model=request.model)

    async def _fetch(self, turn: Turn, request: Request) -> Reply:
        """Get the reply to a turn; nothing is sent where a kept one does."""
        from anyio import CancelScope
        from anyio.to_thread import run_sync  # the disk holds up no other job

        desk = session()
        cache = await run_sync(desk.slot, request, request.cache)
        # Whoever asks again wants another answer, as long as anything may be sent.
        is_again = turn.replacing is not None and request.cache != "only"
        if not is_again and (kept := await run_sync(cache.find)):
            return kept
        try:
            if request.queued:
                watch = desk.watch()
                job = await watch.submit(request, request=request, timeout_s=request.timeout_s)
            else:
                reply = await desk.chat(request, request.timeout_s)
                desk.ledger.add(reply, model=request.model)
        except asyncio.CancelledError:
            desk.ledger.add_unknown()
            raise
        if request.queued:
            turn.queued_as(job)
            await watch.follow(job)
            return job.wait(0)  # it has ended: gives the reply, or raises why there is none
        with CancelScope(shield=True):  # paid for, whoever stops the turn meanwhile
            await run_sync(cache.keep, reply)
        return reply


def _checked_mode(mode: Mode) -> Mode:
    if mode not in get_args(Mode):
        raise errors.SettingsError(f"mode={mode!r}: give {', '.join(get_args(Mode))}.")
    return mode
