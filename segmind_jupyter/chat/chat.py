"""`Chat`: a conversation that is asked from code or from its widget, one turn after the other."""

from __future__ import annotations

import dataclasses
import logging
import pkgutil
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from segmind_jupyter.api.ending import ended
from segmind_jupyter.api.image_policy import ImagePolicy
from segmind_jupyter.api.messages import Message, Reply
from segmind_jupyter.api.models import checked_slug
from segmind_jupyter.api.usage import Totals
from segmind_jupyter.asking import Options, call_of, checked_params, service
from segmind_jupyter.calling import ShortTracebacks
from segmind_jupyter.chat.fetching import fetch
from segmind_jupyter.chat.talk import talk_of
from segmind_jupyter.chat.turn import Stage, Turn
from segmind_jupyter.errors import (
    ContentError,
    MaybeBilledError,
    SegmindError,
    SettingsError,
    shortened,
)
from segmind_jupyter.remembering import drafted
from segmind_jupyter.request import Request

if TYPE_CHECKING:
    from segmind_jupyter.api.conversation import Conversation, Draft
    from segmind_jupyter.content.prompt import Prompt
    from segmind_jupyter.remembering import Step

#: How a turn travels: ``v1`` holds a connection open, ``v2`` is a job, which outlives one. ``auto``
#: is ``v2``, so that a long answer survives.
Mode = Literal["auto", "v1", "v2"]

#: Bound late and by name, so that nothing here imports the room that shows things.
_TRANSCRIPT: Final = "segmind_jupyter.notebook.transcript"

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
        return self._talk.model or service().options.model

    @model.setter
    def model(self, model: str) -> None:
        self._talk.set(model=checked_slug(model))

    @property
    def system(self) -> str | None:
        """System prompt of the next turn; an empty one keeps out that of `%config ClaudeMagics`."""
        own = self._talk.system
        return service().options.system if own is None else own

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
            return self.say(gather(contents, limits=service().options.limits))

    def say(self, prompt: Prompt) -> Turn:
        """Say a prompt that is ready (`content.prompt`); otherwise as `send`."""
        turn = Turn(prompt, wait=service().waiter)
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
        """Give up every turn that has not ended; `False` if there is none."""
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
        """Give the whole transcript as Markdown that runs and fetches nothing."""
        text: str = pkgutil.resolve_name(f"{_TRANSCRIPT}:markdown")(self)
        return text

    def to_html(self) -> str:
        """Give the whole transcript as HTML that runs and fetches nothing."""
        page: str = pkgutil.resolve_name(f"{_TRANSCRIPT}:html")(self)
        return page

    def _begin(self, turn: Turn, before: Sequence[Step]) -> Turn:
        """Set a turn on its way that the talk knows; `before` is to end first."""
        desk = service()
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
            service().conversations.take_in(self._talk)
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
        return service().options.but(
            model=self._talk.model, system=self._talk.system, **self._asked_for
        )

    def _count_unknown(self) -> None:
        self._talk.ledger.add_unknown()
        service().ledger.add_unknown()


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
        wait=service().waiter,
    )


def _unforeseen(error: Exception) -> SegmindError:
    return SegmindError(
        f"The turn cannot be answered ({type(error).__name__}: {shortened(str(error))}). Say it "
        "again, or set mode='v1'."
    )
