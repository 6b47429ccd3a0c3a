"""`Talk`: a conversation with all its turns, which every chat of one name shares.

It knows which turns there are and who wants to hear of them, and sends nothing.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from segmind_jupyter.api.conversation import Conversation
from segmind_jupyter.asking import service
from segmind_jupyter.chat.turn import Turn
from segmind_jupyter.errors import ContentError, SettingsError

if TYPE_CHECKING:
    from segmind_jupyter.api.conversation import Draft, Exchange
    from segmind_jupyter.api.image_policy import ImagePolicy
    from segmind_jupyter.api.messages import Reply
    from segmind_jupyter.remembering import Step

#: Longest name of a conversation, in characters.
_MAX_NAME_CHARS = 80

_log = logging.getLogger(__name__)


class Talk(Conversation):
    """A conversation that also knows the turns that wait, failed or were stopped.

    Threads may share it. What a cell adds to the conversation (`commit`) becomes a turn too.

    Parameters
    ----------
    **settings
        As for `Conversation`.
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
            return service().conversations.begin(self, turn)

    def begin_again(self, make: Callable[[Turn], Turn]) -> tuple[Turn, list[Step]]:
        """Begin what `make` makes of the last turn; that one goes if it had failed.

        Raises
        ------
        ContentError
            There is none, or it has not ended.
        """
        with self._in_step:
            last = self._last()
            turn = make(last)
            if last.exchange is None:  # there is no answer to keep until the new one is there
                self._known.remove(last)
            return turn, self.begin(turn)

    def take_back(self) -> Turn:
        """Take the last turn out, answered or not, and what it was to take the place of.

        Raises
        ------
        ContentError
            There is none, or it has not ended.
        """
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
        """Call `callback()` at every change, on the thread that brings it.

        Returns
        -------
        callable
            Ends the calls.
        """
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
    """Give the one talk of that name, in this process; one of its own where the name is empty.

    Raises
    ------
    SettingsError
        It can be no name.
    """
    if not isinstance(name, str) or len(name) > _MAX_NAME_CHARS or not name.isprintable():
        raise SettingsError(
            f"A conversation cannot have the name {name!r:.100}: give up to {_MAX_NAME_CHARS} "
            "letters or other visible characters."
        )
    name = spelled_alike(name)
    if not name:
        return Talk()
    # Nothing else names conversations.
    return cast("Talk", service().conversations.named(name, lambda: Talk(name=name)))


def spelled_alike(name: str) -> str:
    """Give the one spelling of a name: an accent may be typed as one character or as two."""
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
