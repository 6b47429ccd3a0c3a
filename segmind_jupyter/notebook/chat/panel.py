"""The view of a chat in a notebook: an anywidget that shows what the `Chat` is, and asks for turns.

Its page's half is `chat.js`, which has the fields of a turn and of the state. What a page begins
with is the trait ``snapshot``. What was said while it still loaded the script is lost on it, so it
asks for the state once it can hear; after that come messages, in their order. To the page::

    {"kind": "state", ...}           all of it, as the snapshot has it
    {"kind": "turn", "turn"}         it began, moved on or ended; its `html` is sanitized
    {"kind": "gone", "ids"}          turns that are no more
    {"kind": "head" | "names", ...}  name, models, usage, which transcript the file is to have
        (`kept`), the user's name for the chat; what can be attached now
    {"kind": "notice" | "refused", "notice", "alarm", "ref"?}
    {"kind": "draft", "to", "id", "text", "attached": [{"id", "label"}]}  a message to edit
    {"kind": "file", "id", "about" | "error"}

From the page, where `ref` is its own name for a message::

    {"kind": "send", "ref", "text", "attached": [id], "model", "instead"?}
        an id is "plot", "error", or a file's; a turn's id in `instead` has that turn and all
        after it dropped
    {"kind": "again", "ref"}              the last turn once more
    {"kind": "edit", "ref", "id"}         asks for the draft of a turn, which stays
    {"kind": "stop" | "clear" | "save" | "names" | "state"}
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
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.api.settings import KNOWN_MODELS, model_info
from segmind_jupyter.content.convert import size_of, to_parts
from segmind_jupyter.content.parts import Limits, Text, is_kind, type_name
from segmind_jupyter.content.prompt import Attachment, compose
from segmind_jupyter.errors import ContentError, SegmindError
from segmind_jupyter.notebook.chat import transcript
from segmind_jupyter.notebook.chat.export import save
from segmind_jupyter.notebook.display.reply import thumbnail_uri
from segmind_jupyter.notebook.display.styles import framed
from segmind_jupyter.notebook.last_error import LastError, last_error
from segmind_jupyter.notebook.live.cards import LiveDisplay, close_all, view_of
from segmind_jupyter.notebook.namespace import is_tool, sendable_names
from segmind_jupyter.notebook.plots.last_plot import LastPlots
from segmind_jupyter.session import session
from segmind_jupyter.words import one_line, to_text

if TYPE_CHECKING:
    from segmind_jupyter.chat import Chat
    from segmind_jupyter.conversation import Conversation, Turn
    from segmind_jupyter.notebook.live.outputs import LiveOutputs, OutputHandle

#: Largest file that a chat takes: a request holds 32 MB (Anthropic), of base64.
_MAX_FILE_BYTES: Final = 24_000_000

#: Longest name of a file and of a type that is shown, in characters.
_MAX_NAME_CHARS: Final = 60
_MAX_TYPE_CHARS: Final = 30

#: Bytes of one part of a file: Jupyter Server closes a connection over which more than 10 MiB come
#: in one message (`websocket_max_message_size` of Tornado).
_CHUNK_BYTES: Final = 4_000_000

#: Cells whose transcript is kept up to date. One that was run again does not say that it is gone.
_MAX_CELLS: Final = 8

#: Most variables that the page is told of.
_MAX_NAMES: Final = 200

#: Edge of a thumbnail's file: twice the pixels at which it is shown, for sharp screens.
_THUMBNAIL_PX: Final = 80

_log = logging.getLogger(__name__)


class ChatDisplay(LiveDisplay):
    """How a `Chat` shows. Parameters as `LiveDisplay`."""

    def __init__(self, *shared: Any) -> None:
        super().__init__(*shared)
        self._panels: dict[Conversation, ChatPanel] = {}

    def show(self, value: Chat) -> None:
        """Show its view; a conversation has one widget, however often it is shown."""
        panel = self._panels.get(value.conversation)
        panel = panel or ChatPanel(value, shell=self._shell, live=self._live)
        panel.chat, self._panels[value.conversation] = value, panel
        value.on_close(self._close)
        panel.show()

    def text(self, value: Chat) -> str:
        """Return the transcript."""
        return transcript.text(value)

    def _close(self, chat: Chat) -> None:
        panel = self._panels.get(chat.conversation)
        if panel is not None and panel.chat is chat:  # else another one of its name is shown
            del self._panels[chat.conversation]
            panel.close()


@dataclass
class _Told:
    """What the pages know of a turn."""

    id: str
    ref: str = ""  # the page's own name for it, if it was said there
    standing: object = None
    message: dict[str, Any] = field(default_factory=dict)
    page: tuple[str, str] = ("", "")  # in the transcript


class ChatPanel:
    """One chat as its pages see it, and what they ask of it."""

    def __init__(self, chat: Chat, *, shell: Any, live: LiveOutputs) -> None:
        self.chat, self._shell, self._live = chat, shell, live
        #: The transcript that the file is to have, and in which outputs.
        self._kept = transcript.bundle([])
        self._cells: deque[OutputHandle] = deque(maxlen=_MAX_CELLS)
        # Held while the page's state and what was sent of it change together.
        self._lock = threading.RLock()
        self._numbers = itertools.count(1)
        self._known: dict[Turn, _Told] = {}
        self._head: dict[str, Any] = {}
        self._parts: dict[str, bytearray] = {}
        self._attached: dict[str, Attachment] = {}
        self.widget = _widget_class()(snapshot=self.snapshot())
        self.widget.on_msg(self._heard)
        self._end_calls = chat.conversation.listen(lambda _: live.draw_soon(self.draw))

    def show(self) -> None:
        """Show it below the cell that runs, and behind it the transcript that is kept."""
        with self._live.paused:
            self._live.drawn(self.draw)
            with self._lock:
                self.widget.snapshot = self.snapshot()
            # Where widgets cannot be shown it shows nothing: the transcript is in what follows.
            self._live.put({**view_of(self.widget), "text/html": "", "text/plain": ""})
            self._cells.append(self._live.put(self._kept))

    def draw(self) -> bool:
        """Tell the pages what has changed; return whether a turn is under way."""
        with self._lock:
            turns, paused = self.chat.turns, session().paused_until
            until = time.strftime("%H:%M:%S", time.localtime(paused)) if paused else ""
            if gone := [turn for turn in self._known if turn not in turns]:
                self._say("gone", ids=[self._known.pop(turn).id for turn in gone])
            for at, turn in enumerate(turns):
                told = self._told(turn)
                # What of a turn changes until its end.
                standing = turn.over, turn.stage, turn.notes, "" if turn.over else until
                if told.standing != standing:
                    told.standing, told.page = standing, transcript.page_of(turn)
                    place = {"id": told.id, "ref": told.ref, "at": at, "until": until}
                    told.message = {**place, **_described(turn)}
                    self._say("turn", turn=told.message)
            kept = transcript.bundle([self._told(turn).page for turn in turns])
            if kept != self._kept:
                self._kept = kept
                for cell in self._cells:
                    self._live.replace(cell, kept)
            head = self._heading()
            if head != self._head:
                self._head = head
                self._say("head", **head)
        return any(not turn.over for turn in turns)

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state, for a page that knows nothing."""
        with self._lock:
            turns = [
                {**told.message, "elapsed_s": round(turn.elapsed_s, 1)}
                for turn in self.chat.turns
                if (told := self._known.get(turn)) and told.message
            ]
            return {
                **self._heading(),
                **self._names(),
                "turns": turns,
                "prompts": self._prompts(),
                "max_file_bytes": _MAX_FILE_BYTES,
                "chunk_bytes": _CHUNK_BYTES,
            }

    def close(self) -> None:
        """Take the view off every page. What is kept of the chat shows in its place."""
        self._end_calls()
        self._live.drawn(self.draw)
        close_all(self.widget)

    # What the page is told.

    def _say(self, kind: str, **fields: Any) -> None:
        self.widget.send({**fields, "kind": kind})

    def _tell_state(self, *_: Any) -> None:
        with self._lock:  # so that nothing is said between the look and the message
            self._say("state", **self.snapshot())

    def _told(self, turn: Turn) -> _Told:
        return self._known.setdefault(turn, _Told(f"t{next(self._numbers)}"))

    def _heading(self) -> dict[str, Any]:
        chat, usage, names = self.chat, self.chat.usage, sendable_names(self._shell)
        n_replies = f"{usage.calls:,} {'reply' if usage.calls == 1 else 'replies'}"
        tokens = f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
        cost = "" if usage.cost is None else f"{usage.cost:,.4f} credits"
        took = filter(None, (n_replies, tokens, cost)) if usage.calls else ()
        return {
            "name": one_line(chat.name),
            "variable": next(reversed([n for n, v in names.items() if v is chat]), "chat"),
            "kept": transcript.mark_of(self._kept),
            "model": chat.model,
            "models": [[slug, _about_model(slug)] for slug in KNOWN_MODELS],
            "system": chat.system or "",
            "usage": " · ".join(took),
        }

    def _names(self) -> dict[str, Any]:
        names = attachables(sendable_names(self._shell))[:_MAX_NAMES]
        return {"names": [list(pair) for pair in names], "plot": self._has_plot}

    @property
    def _has_plot(self) -> bool:
        plots = LastPlots.of(self._shell)
        return plots is not None and not plots.is_empty

    def _prompts(self) -> list[dict[str, Any]]:
        """Suggest how to begin: what the chat was given, or what the notebook holds."""
        if given := self.chat.prompts:
            return [{"text": str(prompt)} for prompt in given]
        prompts: list[dict[str, Any]] = []
        if LastError.of(self._shell) is not None:
            prompts.append({"text": "Explain the last error.", "error": True})
        if self._has_plot:
            prompts.append({"text": "Describe the last plot.", "plot": True})
        for name, value in reversed(list(sendable_names(self._shell).items())):
            if any(is_kind(value, library, "DataFrame") for library in ("pandas", "polars")):
                prompts.append({"text": f"What is in {{{name}}}?"})
        general = [
            {"text": "Suggest three questions that this notebook could answer."},
            {"text": "Write a docstring for a function that I paste here."},
        ]
        return [*prompts[:3], *general][:4]

    # What the page asks for.

    def _heard(self, _: Any, content: Any, buffers: Sequence[Any]) -> None:
        """Do what a page asks, and show what goes wrong: a kernel's log is read by nobody."""
        kind = str(content.get("kind")) if isinstance(content, dict) else ""
        acts: dict[str, Callable[..., object]] = {
            "send": self._send, "again": lambda *_: self.chat.regenerate(), "edit": self._edit,
            "stop": lambda *_: self.chat.stop(), "clear": lambda *_: self.chat.clear(),
            "save": self._save, "names": lambda *_: self._say("names", **self._names()),
            "state": self._tell_state,
            "model": self._take_model, "system": self._take_system, "file": self._take_part,
        }  # fmt: skip
        if kind not in acts:
            return
        try:
            acts[kind](content, buffers)
        except Exception as error:  # noqa: BLE001 - what the user's objects raise is shown too
            reason = str(error)
            if not isinstance(error, SegmindError):
                _log.exception("a message to %r failed", self.chat)
                reason = f"{type(error).__name__}: {error}"
            said = {"notice": one_line(reason), "alarm": True}
            if "ref" in content:
                self._say("refused", **said, ref=str(content["ref"]))
            else:
                self._say("notice", **said)

    def _send(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        text = content.get("text", "").strip()  # what is no text is not sent
        attached = [self._attachment(str(key)) for key in content.get("attached", ())]
        self._take_model(content)
        names = sendable_names(self._shell)
        prompt = compose(text, names, attached=attached, limits=session().options.limits)
        with self._lock:  # so that no page hears of the turn before its name is known
            if content.get("instead"):
                self.chat.take_back(self._turn(content["instead"]))
            self._told(self.chat.say(prompt)).ref = str(content.get("ref", ""))

    def _edit(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        turn = self._turn(content.get("id"))
        attached = []
        for number, item in enumerate(turn.prompt.sent):
            if f"{{{item.name}}}" not in turn.text:
                self._attached[key := f"{self._told(turn).id}.{number}"] = item
                attached.append({"id": key, "label": one_line(item.label or item.summary)})
        draft = {"id": self._told(turn).id, "text": turn.text, "attached": attached}
        self._say("draft", to=content.get("ref"), **draft)

    def _turn(self, key: object) -> Turn:
        with self._lock:
            for turn in self.chat.turns:
                if self._told(turn).id == key:
                    return turn
        raise ContentError("That message is not part of the conversation any more.")

    def _save(self, *_: Any) -> None:
        path = save(self.chat, Path.cwd())
        self._say("notice", notice=f"The transcript was saved as {path}", alarm=False)

    def _take_model(self, content: dict[str, Any], _: Sequence[Any] = ()) -> None:
        if (model := str(content.get("model", "")).strip()) not in ("", self.chat.model):
            self.chat.model = model

    def _take_system(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        self.chat.system = str(content.get("text", ""))
        self._live.draw_soon(self.draw)

    def _take_part(self, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        """Take a part of a file; with the last one it is ready to be sent, or refused."""
        key, name = str(content["id"]), str(content["name"])
        data = self._parts.setdefault(key, bytearray())
        data.extend(buffers[0])
        if content["part"] + 1 < content["parts"]:
            return
        del self._parts[key]
        try:
            item = _of_file(name, bytes(data), limits=session().options.limits)
        except SegmindError as error:
            self._say("file", id=key, error=one_line(str(error)))
            return
        self._attached[key] = item
        self._say("file", id=key, about=one_line(item.summary))

    def _attachment(self, key: str) -> Attachment:
        if key == "plot" and (plots := LastPlots.of(self._shell)):
            return plots.sent(limits=session().options.limits)[0]
        if key == "error":
            return last_error(self._shell, limits=session().options.limits)
        if key not in self._attached:
            raise ContentError("What was attached is not there any more. Attach it again.")
        return self._attached[key]


def _described(turn: Turn) -> dict[str, Any]:
    """Tell a page of a turn as it stands."""
    sent = [
        {
            "label": one_line(item.label),
            "about": one_line(item.summary),
            "thumb": "".join(thumbnail_uri(im, max_px=_THUMBNAIL_PX) for im in item.images[:1]),
        }
        for item in turn.prompt.sent
    ]
    described: dict[str, Any] = {
        "text": to_text(turn.text),
        "sent": sent,
        "stage": str(turn.stage),
        "ended": turn.over,
        "elapsed_s": round(turn.elapsed_s, 1),
    }
    if turn.reply is not None or turn.error is not None:
        described["html"] = framed(transcript.outcome_of(turn)[0])
        described["reply"] = to_text(turn.reply.text) if turn.reply else ""
        # What was asked again has its old answer still: sent once more, it would be said twice.
        described["failed"] = turn.reply is None and turn.replacing is None
    return described


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

    return ChatWidget


def _of_file(name: str, content: bytes, *, limits: Limits) -> Attachment:
    """Make what is sent of a file."""
    label = one_line(name)[:_MAX_NAME_CHARS] or "file"
    try:
        parts = [*to_parts(content, limits=limits)]
    except ContentError as error:
        raise ContentError(f"{label}: {error}") from error
    if not any(part.tokens for part in parts):
        raise ContentError(f"{label} is empty. There is nothing in it to send.")
    for number, part in enumerate(parts):
        if isinstance(part, Text) and part.text.strip():  # a picture stands for itself
            parts[number] = Text(f"{label}:\n{part.text}", about=part.about, inline=False)
    return Attachment(label, tuple(parts))


def attachables(names: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the variables that can be attached, and what each is: pictures and tables first.

    Within each group the newest come first.
    """
    offered = []
    for name, value in reversed(list(names.items())):
        is_ours = str(type(value).__module__).startswith("segmind_jupyter.")
        if name.isidentifier() and name[0] != "_" and not (is_tool(value) or is_ours):
            # Anybody may define a class with a long name.
            size = size_of(value)
            about = f"{one_line(type_name(value))[:_MAX_TYPE_CHARS]} {size}".rstrip()
            offered.append((not size, name, about))
    return [(name, about) for _, name, about in sorted(offered, key=lambda offer: offer[0])]


def _about_model(slug: str) -> str:
    """Say what is known of a model beside its name: ``about $0.0214 and 11 s a call``."""
    info = model_info(slug)
    cost = "" if info.cost is None else f"${info.cost:.4f}"
    seconds = "" if info.seconds is None else f"{info.seconds:.0f} s"
    took = " and ".join(filter(None, (cost, seconds)))
    return "; ".join(filter(None, (took and f"about {took} a call", info.note)))
