"""The widget of a chat: a view that draws what the `Chat` is, and tells it what the user wants.

One tree of widgets a chat, however often that is shown. All drawing happens in `draw`, which
`LiveOutputs` calls on its own thread, so a reply appears while a cell keeps the kernel busy.
Callbacks of buttons run on the kernel's main thread or on one of its subshells (ipykernel 7.1 and
later): they convert what is attached, hand it to the chat, and wait for nothing. Imported with
the first chat.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ipywidgets import HTML, Layout, VBox

from segmind_jupyter.chat import Chat, Stage
from segmind_jupyter.errors import SegmindError
from segmind_jupyter.notebook.chat import transcript
from segmind_jupyter.notebook.chat.composer import (
    AttachPanel,
    ChatInput,
    DraftAttachment,
    DraftMessage,
)
from segmind_jupyter.notebook.chat.export import save
from segmind_jupyter.notebook.chat.toolbar import (
    Drawer,
    ReloadNotice,
    Tools,
    first_code,
    has_code,
    keep_in_order,
    look_of,
)
from segmind_jupyter.notebook.chat.transcript import Bubbles, Kept
from segmind_jupyter.notebook.display.reply import SuppressedValues, boxed, failure_html
from segmind_jupyter.notebook.live.cards import LiveDisplay, close_all, view_of
from segmind_jupyter.notebook.live.outputs import LiveOutputs
from segmind_jupyter.notebook.namespace import sendable_names
from segmind_jupyter.notebook.plots.last_plot import LastPlots
from segmind_jupyter.session import session

if TYPE_CHECKING:
    from segmind_jupyter.api.messages import Reply
    from segmind_jupyter.chat import Turn
    from segmind_jupyter.content.parts import Limits


#: Most widgets of one conversation. A cell that is run again makes one more and does not say that
#: the former is gone; each of them is sent every turn.
_MAX_ALIKE: Final = 8


class ChatDisplay(LiveDisplay[Chat]):
    """The displays that a shell has for a `Chat`. Parameters as `LiveDisplay`."""

    kind = Chat

    def __init__(
        self, shell: Any, live: LiveOutputs | None = None, hushed: SuppressedValues | None = None
    ) -> None:
        super().__init__(shell, live, hushed)
        self._panels: dict[Chat, ChatPanel] = {}

    def show(self, value: Chat) -> None:
        """Show its widget; a chat has one, however often it is shown."""
        self._panel(value).show()

    def text(self, value: Chat) -> str:
        """Return the transcript."""
        return transcript.text(value)

    def _panel(self, chat: Chat) -> ChatPanel:
        """Return the widget of a chat, made when it is first shown."""
        if chat not in self._panels:
            self._make_room(chat)
            panel = self._panels[chat] = ChatPanel(chat, shell=self._shell, live=self._live)
            chat.on_close(lambda _: self._close(chat, panel))
        return self._panels[chat]

    def _make_room(self, chat: Chat) -> None:
        """Leave the transcript in the place of the oldest widgets of many of one conversation."""
        alike = [each for each in self._panels if each.conversation is chat.conversation]
        for each in alike[: max(0, len(alike) + 1 - _MAX_ALIKE)]:
            self._close(each, self._panels[each])

    def _close(self, chat: Chat, panel: ChatPanel) -> None:
        if self._panels.get(chat) is panel:
            del self._panels[chat]
            panel.close()


#: Words go back into the box by themselves only if a turn fails so soon, in seconds. Later the
#: user may be writing the next message there, of which the kernel learns when it is sent.
_SOON_S: Final = 10

_IN_THE_BOX: Final = (
    "The last message is in the box already. Send it, or empty the box to take back the one "
    "before it."
)

_LAYOUT: Final = {
    "border": "1px solid rgba(128,128,128,.35)",
    "margin": "2px 0",
    "max_width": "64em",
    "overflow": "visible",
    "padding": "8px 10px",
}

_log = logging.getLogger(__name__)


class ChatPanel:
    """The widget of one chat."""

    def __init__(self, chat: Chat, *, shell: Any, live: LiveOutputs) -> None:
        self._chat, self._shell, self._live = chat, shell, live
        self._kept = Kept(live)
        self._typed: weakref.WeakKeyDictionary[Turn, DraftMessage] = weakref.WeakKeyDictionary()
        self._sent: list[Turn] = []
        self._taken_back: DraftMessage | None = None
        self._bubbles = Bubbles()
        self._input = ChatInput(send=self._send, stop=self._stop, guarded=self._guarded)
        self._attach = AttachPanel(
            names=self._names,
            attach=self._input.attach,
            take_files=self._take_files,
            plots=lambda: LastPlots.of(shell),
            limits=_limits,
            guarded=self._guarded,
        )
        self._tools = Tools(self._presses(), choose_model=self._take_model, guarded=self._guarded)
        keep_in_order([self._input.text, self._tools.model], self._input.send)
        self._drawer = Drawer(self._guarded(self._forget))
        self._style = HTML(
            self._kept.hiding + look_of(self._kept.shown_by), layout=Layout(display="none")
        )
        self._reloaded = ReloadNotice(shell)
        self._box = VBox(
            [
                self._style,
                self._bubbles.box,
                self._reloaded,
                self._input.box,
                self._tools.box,
                self._drawer.box,
            ],
            layout=Layout(**_LAYOUT),
        )
        self._box.add_class(self._kept.shown_by)
        self._end_calls = chat.on_change(lambda _: live.draw_soon(self))

    def __repr__(self) -> str:
        return f"<ChatPanel of {self._chat!r}>"

    def show(self) -> None:
        """Show it below the cell that runs, and behind it the transcript that is kept."""
        with self._live.paused:
            self._reloaded.take_back()
            self._live.drawn(self)
            # Where widgets cannot be shown it shows nothing: the transcript is in what follows.
            self._live.put({**view_of(self._box), "text/html": "", "text/plain": ""})
            self._kept.put()

    def draw(self) -> bool:
        """Show how the chat stands; tell whether a turn is under way."""
        turns = self._chat.turns
        self._settle()  # first, so that whoever sees why has the words back
        self._kept.update(self._bubbles.show(turns))
        self._drawer.fold_away(turns)
        pending = any(not turn.done() for turn in turns)
        self._input.let_stop(pending)
        self._tools.update(
            model=self._chat.model, usage=self._chat.usage, usable=set(self._usable(turns))
        )
        return pending

    def close(self) -> None:
        """Take the widget off every page. What is kept of the chat shows in its place."""
        self._end_calls()
        self._live.drawn(self)
        for part in (self._bubbles, self._input, self._attach, self._drawer):
            part.close()
        close_all(self._box)

    def _usable(self, turns: Sequence[Turn]) -> Iterator[str]:
        """Return the names of the buttons that can do something."""
        yield "attach"
        if turns:
            yield from ("save", "clear")
        if turns and turns[-1].done():
            yield from ("again", "edit")
        reply = self._last_reply()
        if reply is not None and reply.text:
            yield "copy"
            if has_code(reply.text):
                yield "code"

    def _presses(self) -> dict[str, Callable[..., None]]:
        return {
            "attach": self._open_attach,
            "again": self._again,
            "edit": self._edit,
            "copy": self._copy,
            "code": self._copy_code,
            "save": self._save,
            "clear": self._ask_to_clear,
        }

    def _guarded(self, act: Callable[..., None]) -> Callable[..., None]:
        """Make a callback that shows what goes wrong: a kernel's log is read by nobody."""

        def act_and_tell(*args: Any) -> None:
            self._bubbles.tell("")
            try:
                act(*args)
            except SegmindError as error:
                self._tell_error(error)
            except Exception as error:  # noqa: BLE001 - what the user's objects raise is shown too
                _log.exception("a button of %r failed", self._chat)
                self._tell_error(error)

        return act_and_tell

    def _tell_error(self, error: Exception) -> None:
        self._bubbles.tell(boxed(error, failure_html(error)))

    def _names(self) -> Any:
        return sendable_names(self._shell)

    def _send(self, _: Any) -> None:
        typed = self._input.typed
        if not typed:
            return  # a second click on Send, mostly
        self._take_model()
        prompt = typed.prompt(self._names(), limits=_limits())
        # On this thread, so that Stop works where Send did (`chatorder`): while a cell runs, too.
        self._input.let_stop(True)
        try:
            turn = self._chat.say(prompt)
            self._input.typed = DraftMessage()
            self._drawer.shut()
            self._said(turn, typed)
        finally:
            self._live.draw_soon(self)

    def _said(self, turn: Turn, typed: DraftMessage) -> None:
        """Remember the words until the reply is there."""
        self._typed[turn] = typed
        self._sent.append(turn)

    def _settle(self) -> None:
        """Return the words back of what failed or was stopped, where the box is empty."""
        for turn in [turn for turn in self._sent if turn.done()]:
            self._sent.remove(turn)
            # As it is now: what is drawn may be older than a turn that failed at once.
            if turn.error is not None and turn in self._chat.turns:
                self._give_back(turn)

    def _give_back(self, turn: Turn) -> None:
        was_soon = turn.stage == Stage.STOPPED or turn.elapsed_s < _SOON_S
        # What was asked again has its old answer still: sent once more, it would be said twice.
        if self._input.typed or not was_soon or turn.replacing is not None:
            hint = "“Again” asks it once more; “Edit” takes your words back into the box."
        else:
            self._input.typed = self._typed[turn]
            hint = "Your words are back in the box: change them, or send them once more."
        self._bubbles.tell(transcript.about_html(hint))

    def _stop(self, _: Any) -> None:
        self._chat.stop()

    def _again(self, _: Any) -> None:
        last = self._chat.turns[-1] if self._chat.turns else None
        if last is not None and not last.done():
            return  # a second click, mostly
        self._take_model()
        again = self._chat.regenerate()
        typed = self._typed.get(last) if last is not None else None
        if typed is None:
            return
        if self._input.typed == typed:  # given back when it failed
            self._input.typed = DraftMessage()
        self._said(again, typed)
        self._live.draw_soon(self)

    def _edit(self, _: Any) -> None:
        if self._input.typed and self._input.typed == self._taken_back:
            # A second click, mostly, which would take a reply out as well.
            self._bubbles.tell(transcript.about_html(_IN_THE_BOX))
            return
        last = self._chat.take_back()
        typed = self._typed.get(last) or DraftMessage.of(last)
        self._taken_back = self._input.typed = typed.above(self._input.typed)

    def _ask_to_clear(self, _: Any) -> None:
        self._drawer.ask_to_clear(len(self._chat.turns))

    def _forget(self, _: Any) -> None:
        self._chat.clear()

    def _take_model(self, _: Any = None) -> None:
        """Ask the model from now on that the box names; refuse what is no model name."""
        if (chosen := self._tools.chosen_model) is not None:
            self._chat.model = chosen

    def _open_attach(self, _: Any) -> None:
        self._attach.refresh()
        self._drawer.toggle(self._attach.box)

    def _take_files(self, files: Sequence[tuple[str, bytes]]) -> None:
        """Attach what can be sent; the first that cannot is told."""
        errors = []
        for name, content in files:
            try:
                self._input.attach(DraftAttachment.of_file(name, content, limits=_limits()))
            except SegmindError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _copy(self, _: Any) -> None:
        if (reply := self._last_reply()) is not None:
            self._drawer.show_to_copy(reply, reply.text)

    def _copy_code(self, _: Any) -> None:
        if (reply := self._last_reply()) is not None:
            self._drawer.show_to_copy(reply, first_code(reply))

    def _save(self, _: Any) -> None:
        path = save(self._chat, Path.cwd())
        self._bubbles.tell(transcript.about_html(f"The transcript was saved as `{path}`"))

    def _last_reply(self) -> Reply | None:
        """Return the newest reply, or `None`."""
        return next(filter(None, (turn.reply for turn in reversed(self._chat.turns))), None)


def _limits() -> Limits:
    """Return the limits that hold now: `%config ClaudeMagics` may have changed since."""
    return session().options.limits
