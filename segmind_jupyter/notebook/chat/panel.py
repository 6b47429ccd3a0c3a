"""The view of a chat in a notebook: an anywidget that shows what the `Chat` is, and asks for turns.

Its page's half is `chat.js`, which has the fields of a turn and of the state. What a page needs to
begin is the trait ``snapshot``; after it come messages, numbered by ``n`` where they change the
state, so that one which the snapshot holds already is passed over. To the page::

    {"kind": "turn", "n", "turn"}         it began, moved on or ended; its `html` is sanitized
    {"kind": "gone", "n", "ids"}          turns that are no more
    {"kind": "head" | "names", "n", ...}  name, models, usage, which transcript the file is to
        have (`kept`), the user's name for the chat; what can be attached now
    {"kind": "notice" | "refused", "n", "notice", "alarm", "ref"?}
    {"kind": "draft", "to", "id", "text", "attached": [{"id", "label"}]}  a message to edit
    {"kind": "file", "id", "about" | "error"}

From the page, where `ref` is its own name for a message::

    {"kind": "send", "ref", "text", "attached": [id], "model", "instead"?}
        an id is "plot", "error", "name:df", or a file's; a turn's id in `instead` has that turn
        and all after it dropped
    {"kind": "again", "ref"}              the last turn once more
    {"kind": "edit", "ref", "id"}         asks for the draft of a turn, which stays
    {"kind": "stop" | "clear" | "save" | "names"}
    {"kind": "model", "model"}, {"kind": "system", "text"}
    {"kind": "file", "id", "name", "part", "parts"}  with the part's bytes as its one buffer

Messages are heard on the kernel's main thread or on a subshell; turns are drawn on the thread of
`LiveOutputs`, so a reply appears while a cell keeps the kernel busy.
"""

from __future__ import annotations

import functools
import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.api.settings import KNOWN_MODELS, model_info
from segmind_jupyter.errors import ContentError, SegmindError
from segmind_jupyter.notebook.chat import transcript
from segmind_jupyter.notebook.chat.draft import (
    MAX_FILE_BYTES,
    Draft,
    DraftAttachment,
    attachables,
    is_table,
)
from segmind_jupyter.notebook.chat.export import save
from segmind_jupyter.notebook.display.reply import (
    boxed,
    failure_html,
    reply_inside,
    thumbnail_uri,
)
from segmind_jupyter.notebook.display.styles import framed
from segmind_jupyter.notebook.last_error import LastError, last_error
from segmind_jupyter.notebook.live.cards import LiveDisplay, close_all, view_of
from segmind_jupyter.notebook.namespace import sendable_names
from segmind_jupyter.notebook.plots.last_plot import LastPlots
from segmind_jupyter.session import session
from segmind_jupyter.words import one_line, to_text

if TYPE_CHECKING:
    from segmind_jupyter.chat import Chat
    from segmind_jupyter.content.parts import Limits
    from segmind_jupyter.conversation import Turn
    from segmind_jupyter.notebook.display.reply import SuppressedValues
    from segmind_jupyter.notebook.live.outputs import LiveOutputs

#: Most views of one conversation. A cell that is run again makes one more and does not say that
#: the former is gone; each of them is sent every turn.
_MAX_ALIKE: Final = 8

#: Bytes of one part of a file: Jupyter Server closes a connection over which more than 10 MiB come
#: in one message (`websocket_max_message_size` of Tornado).
_CHUNK_BYTES: Final = 4_000_000

#: Most variables that the page is told of, and files that wait for their message.
_MAX_NAMES: Final = 200
_MAX_FILES: Final = 32

#: Edge of a thumbnail's file: twice the pixels at which it is shown, for sharp screens.
_THUMBNAIL_PX: Final = 80

_log = logging.getLogger(__name__)


class ChatDisplay(LiveDisplay["Chat"]):
    """The displays that a shell has for a `Chat`. Parameters as `LiveDisplay`."""

    kind = "segmind_jupyter.chat.Chat"

    def __init__(
        self, shell: Any, live: LiveOutputs | None = None, hushed: SuppressedValues | None = None
    ) -> None:
        super().__init__(shell, live, hushed)
        self._panels: dict[Chat, ChatPanel] = {}

    def show(self, value: Chat) -> None:
        """Show its view; a chat has one widget, however often it is shown."""
        if value not in self._panels:
            alike = [each for each in self._panels if each.conversation is value.conversation]
            for each in alike[: max(0, len(alike) + 1 - _MAX_ALIKE)]:
                self._close(each, self._panels[each])
            panel = self._panels[value] = ChatPanel(value, shell=self._shell, live=self._live)
            value.on_close(lambda _: self._close(value, panel))
        self._panels[value].show()

    def text(self, value: Chat) -> str:
        """Return the transcript."""
        return transcript.text(value)

    def _close(self, chat: Chat, panel: ChatPanel) -> None:
        if self._panels.get(chat) is panel:
            del self._panels[chat]
            panel.close()


class ChatPanel:
    """One chat as its pages see it, and what they ask of it."""

    def __init__(self, chat: Chat, *, shell: Any, live: LiveOutputs) -> None:
        self._chat, self._shell, self._live = chat, shell, live
        self._transcript = transcript.Transcript(live)
        # Held while the page's state and what was sent of it change together.
        self._lock = threading.RLock()
        self._n = 0
        self._numbers = itertools.count(1)
        self._ids: weakref.WeakKeyDictionary[Turn, str] = weakref.WeakKeyDictionary()
        self._refs: weakref.WeakKeyDictionary[Turn, str] = weakref.WeakKeyDictionary()
        self._drafts: weakref.WeakKeyDictionary[Turn, Draft] = weakref.WeakKeyDictionary()
        #: What the pages know of each turn: how it stood, and the message that said so.
        self._known: dict[Turn, tuple[object, dict[str, Any]]] = {}
        self._head: dict[str, Any] = {}
        self._notice, self._alarm = "", False
        self._parts: dict[str, dict[int, bytes]] = {}
        self._attached: dict[str, DraftAttachment] = {}
        self.widget = _widget_class()(self)
        self.widget.on_msg(self._heard)
        self._end_calls = chat.on_change(lambda _: live.draw_soon(self))

    def __repr__(self) -> str:
        return f"<ChatPanel of {self._chat!r}>"

    def show(self) -> None:
        """Show it below the cell that runs, and behind it the transcript that is kept."""
        with self._live.paused:
            self._tell("", alarm=False)
            self._live.drawn(self)
            # Where widgets cannot be shown it shows nothing: the transcript is in what follows.
            self._live.put({**view_of(self.widget), "text/html": "", "text/plain": ""})
            self._transcript.put()

    def draw(self) -> bool:
        """Tell the pages what has changed; return whether a turn is under way."""
        turns = self._chat.turns
        with self._lock:
            if gone := [turn for turn in self._known if turn not in turns]:
                self._say("gone", ids=[self._id(turn) for turn in gone])
                for turn in gone:
                    del self._known[turn]
            for turn, before in zip(turns, [None, *turns], strict=False):
                standing = self._standing(turn)
                if turn not in self._known or self._known[turn][0] != standing:
                    message = self._described(turn, before)
                    self._known[turn] = (standing, message)
                    self._say("turn", turn=message)
        self._transcript.update(turns)
        with self._lock:
            head = self._heading()
            if head != self._head:
                self._head = head
                self._say("head", **head)
        return any(not turn.done() for turn in turns)

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state, for a page that knows nothing."""
        said = self._chat.turns
        with self._lock:
            turns = []
            for turn, before in zip(said, [None, *said], strict=False):
                standing, message = self._known.get(turn, (None, {}))
                is_fresh = turn.done() and standing == self._standing(turn)
                turns.append(message if is_fresh else self._described(turn, before))
            return {
                "n": self._n,
                **self._heading(),
                **self._names(),
                "turns": turns,
                "prompts": self._prompts(),
                "notice": self._notice,
                "alarm": self._alarm,
                "max_file_bytes": MAX_FILE_BYTES,
                "chunk_bytes": _CHUNK_BYTES,
            }

    def close(self) -> None:
        """Take the view off every page. What is kept of the chat shows in its place."""
        self._end_calls()
        self._live.drawn(self)
        close_all(self.widget)

    # What the page is told.

    def _say(self, kind: str, **fields: Any) -> None:
        """Send a numbered message."""
        with self._lock:
            self._n += 1
            self.widget.send({"kind": kind, "n": self._n, **fields})

    def _tell(self, notice: str, *, alarm: bool) -> None:
        with self._lock:
            if (notice, alarm) != (self._notice, self._alarm):
                self._notice, self._alarm = notice, alarm
                self._say("notice", notice=notice, alarm=alarm)

    def _id(self, turn: Turn) -> str:
        if turn not in self._ids:
            self._ids[turn] = f"t{next(self._numbers)}"
        return self._ids[turn]

    def _standing(self, turn: Turn) -> tuple[str, str, int]:
        """Return what of a turn changes until its end."""
        return str(turn.stage), _until(turn), len(turn.notes) if turn.done() else 0

    def _described(self, turn: Turn, before: Turn | None) -> dict[str, Any]:
        described: dict[str, Any] = {
            "id": self._id(turn),
            "after": None if before is None else self._id(before),
            "text": to_text(transcript.spoken(turn)),
            "sent": [
                {
                    "label": one_line(item.label),
                    "about": one_line(item.summary),
                    "thumb": "".join(
                        thumbnail_uri(image, max_px=_THUMBNAIL_PX) for image in item.images[:1]
                    ),
                }
                for item in turn.prompt.sent
            ],
            "stage": str(turn.stage),
            "ended": turn.done(),
            "elapsed_s": round(turn.elapsed_s, 1),
        }
        if turn in self._refs:
            described["ref"] = self._refs[turn]
        if until := _until(turn):
            described["until"] = until
        if turn.reply is not None:
            described["html"] = framed(reply_inside(turn.reply, sent=(), notes=turn.notes))
            described["reply"] = to_text(turn.reply.text)
        elif turn.error is not None:
            described["html"] = framed(boxed(turn.error, failure_html(turn.error)))
            # What was asked again has its old answer still: sent once more, it would be said twice.
            described["failed"] = turn.replacing is None
        return described

    def _heading(self) -> dict[str, Any]:
        chat, usage, names = self._chat, self._chat.usage, sendable_names(self._shell)
        took: list[str] = []
        if usage.calls:
            took = [f"{usage.calls:,} {'reply' if usage.calls == 1 else 'replies'}"]
            took.append(f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out")
            took += [f"{usage.cost:,.4f} credits"] if usage.cost is not None else []
        return {
            "name": one_line(chat.name),
            "variable": next(reversed([n for n, v in names.items() if v is chat]), "chat"),
            "kept": self._transcript.mark,
            "model": chat.model,
            "models": [[slug, _about_model(slug)] for slug in KNOWN_MODELS],
            "system": chat.system or "",
            "usage": " · ".join(took),
        }

    def _names(self) -> dict[str, Any]:
        names = attachables(sendable_names(self._shell))[:_MAX_NAMES]
        return {"names": [list(pair) for pair in names], "plot": self._plots() is not None}

    def _plots(self) -> LastPlots | None:
        """Return the plots that cells have shown, if there are any."""
        plots = LastPlots.of(self._shell)
        return None if plots is None or plots.is_empty else plots

    def _prompts(self) -> list[dict[str, Any]]:
        """Suggest how to begin: what the chat was given, or what the notebook holds."""
        if given := self._chat.prompts:
            return [{"text": str(prompt)} for prompt in given]
        prompts: list[dict[str, Any]] = []
        if LastError.of(self._shell) is not None:
            prompts.append({"text": "Explain the last error.", "error": True})
        if self._plots() is not None:
            prompts.append({"text": "Describe the last plot.", "plot": True})
        tables = [name for name, value in sendable_names(self._shell).items() if is_table(value)]
        prompts += [{"text": f"What is in {{{name}}}?"} for name in reversed(tables[-2:])]
        prompts += [
            {"text": "Suggest three questions that this notebook could answer."},
            {"text": "Write a docstring for a function that I paste here."},
        ]
        return prompts[:4]

    # What the page asks for.

    def _heard(self, _: Any, content: Any, buffers: Sequence[Any]) -> None:
        """Do what a page asks, and show what goes wrong: a kernel's log is read by nobody."""
        kind = str(content.get("kind")) if isinstance(content, dict) else ""
        acts: dict[str, Callable[..., object]] = {
            "send": self._send, "again": self._again, "edit": self._edit,
            "stop": lambda *_: self._chat.stop(), "clear": lambda *_: self._chat.clear(),
            "save": self._save, "names": lambda *_: self._say("names", **self._names()),
            "model": self._take_model, "system": self._take_system, "file": self._take_part,
        }  # fmt: skip
        if kind not in acts:
            return
        if kind not in ("names", "file"):
            self._tell("", alarm=False)
        try:
            acts[kind](content, buffers)
        except SegmindError as error:
            self._refuse(content, str(error))
        except Exception as error:  # noqa: BLE001 - what the user's objects raise is shown too
            _log.exception("a message to %r failed", self._chat)
            self._refuse(content, f"{type(error).__name__}: {error}")

    def _refuse(self, content: dict[str, Any], reason: str) -> None:
        with self._lock:
            self._notice, self._alarm = one_line(reason), True
            told = {"notice": self._notice, "alarm": True}
            if "ref" in content:
                self._say("refused", ref=str(content["ref"]), **told)
            else:
                self._say("notice", **told)

    def _send(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        ids = [str(each) for each in content.get("attached", ())]
        draft = Draft(str(content.get("text", "")), tuple(map(self._attachment, ids)))
        self._take_model(content, ())
        prompt = draft.prompt(sendable_names(self._shell), limits=_limits())
        with self._lock:  # so that no page hears of the turn before its name is known
            if content.get("instead") and prompt.parts():
                self._chat.take_back(self._turn(content["instead"]))
            turn = self._chat.say(prompt)
            self._refs[turn], self._drafts[turn] = str(content.get("ref", "")), draft

    def _again(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        last = self._chat.turns[-1] if self._chat.turns else None
        if last is not None and not last.done():
            return  # a second click, mostly
        with self._lock:
            again = self._chat.regenerate()
            if last is not None and last in self._drafts:
                self._drafts[again] = self._drafts[last]

    def _edit(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        turn = self._turn(content.get("id"))
        draft = self._drafts.get(turn) or Draft.of(turn)
        chips = []
        for number, attachment in enumerate(draft.attachments):
            key = f"name:{attachment.name}" if attachment.name else f"{self._id(turn)}.{number}"
            self._hold(key, attachment)
            chips.append({"id": key, "label": attachment.label})
        told = {"to": content.get("ref"), "id": self._id(turn), "text": draft.text}
        self.widget.send({"kind": "draft", **told, "attached": chips})

    def _turn(self, key: object) -> Turn:
        for turn in self._chat.turns:
            if self._ids.get(turn) == key:
                return turn
        raise ContentError("That message is not part of the conversation any more.")

    def _save(self, *_: Any) -> None:
        self._tell(f"The transcript was saved as {save(self._chat, Path.cwd())}", alarm=False)

    def _take_model(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        model = str(content.get("model", "")).strip()
        if model and model != self._chat.model:
            self._chat.model = model

    def _take_system(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        self._chat.system = str(content.get("text", ""))
        self._live.draw_soon(self)

    def _take_part(self, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        """Take a part of a file; with the last one it is ready to be sent, or refused."""
        key, name = str(content["id"]), str(content["name"])
        parts = self._parts.setdefault(key, {})
        parts[int(content["part"])] = bytes(buffers[0])
        is_too_large = sum(map(len, parts.values())) > MAX_FILE_BYTES
        if not is_too_large and len(parts) < int(content["parts"]):
            return
        del self._parts[key]
        try:
            if is_too_large:
                raise ContentError(f"{name} is too large.")
            data = b"".join(parts[number] for number in sorted(parts))
            attachment = DraftAttachment.of_file(name, data, limits=_limits())
        except SegmindError as error:
            self.widget.send({"kind": "file", "id": key, "error": one_line(str(error))})
            return
        self._hold(key, attachment)
        about = attachment.item.summary if attachment.item else ""
        self.widget.send({"kind": "file", "id": key, "about": one_line(about)})

    def _hold(self, key: str, attachment: DraftAttachment) -> None:
        """Keep what a message may name, the newest ones."""
        self._attached[key] = attachment
        while len(self._attached) > _MAX_FILES:
            del self._attached[next(iter(self._attached))]

    def _attachment(self, key: str) -> DraftAttachment:
        if key == "plot":
            plots = self._plots()
            if plots is None:
                raise ContentError("No cell has shown a plot yet. Run the plotting cell again.")
            (plot,) = plots.sent(limits=_limits())
            return DraftAttachment(plot.name, item=plot)
        if key == "error":
            return DraftAttachment.of(last_error(self._shell, limits=_limits()))
        if key.startswith("name:"):
            name = key.removeprefix("name:")
            return DraftAttachment(name, name=name)
        if key not in self._attached:
            raise ContentError("What was attached is not there any more. Attach it again.")
        return self._attached[key]


@functools.cache
def _widget_class() -> Any:
    """Make the widget's class with the first chat: anywidget takes its time to import."""
    import anywidget
    import traitlets

    here = Path(__file__).parent

    class ChatWidget(anywidget.AnyWidget):
        _esm = (here / "chat.js").read_text(encoding="utf-8")
        _css = (here / "chat.css").read_text(encoding="utf-8")
        snapshot = traitlets.Dict().tag(sync=True)

        def __init__(self, panel: ChatPanel) -> None:
            self._panel = panel
            super().__init__(snapshot=panel.snapshot())

        def get_state(self, key: Any = None, drop_defaults: bool = False) -> Any:
            """Return the state; all of it at once goes to a page that knows nothing."""
            state = super().get_state(key=key, drop_defaults=drop_defaults)
            return state if key is not None else {**state, "snapshot": self._panel.snapshot()}

    return ChatWidget


def _until(turn: Turn) -> str:
    """Return when a turn that waits for the plan's limit goes on; empty where none does."""
    if turn.done():
        return ""
    paused = session().paused_until
    return time.strftime("%H:%M:%S", time.localtime(paused)) if paused else ""


def _about_model(slug: str) -> str:
    """Say what is known of a model beside its name: ``about $0.0214 and 11 s a call``."""
    info = model_info(slug)
    cost = "" if info.cost is None else f"${info.cost:.4f}"
    seconds = "" if info.seconds is None else f"{info.seconds:.0f} s"
    took = " and ".join(filter(None, (cost, seconds)))
    return "; ".join(filter(None, (took and f"about {took} a call", info.note)))


def _limits() -> Limits:
    """Return the limits that hold now: `%config ClaudeMagics` may have changed since."""
    return session().options.limits
