"""The view of a chat in a notebook: an anywidget that shows what the `Chat` is, and asks for turns.

Its page's half is `chat.js`. The two speak by custom messages, one a change; what a page needs to
begin is the trait ``snapshot``, made anew whenever the whole state is asked for (a first view, a
page that was reloaded). Every message to the page that changes its state has a number ``n``, so
that one which the snapshot holds already is passed over.

To the page::

    {"kind": "turn", "n", "turn": {"id", "after", "ref"?, "text", "sent": [{"label", "about",
        "thumb"}], "stage", "ended", "elapsed_s", "until"?, "html"?, "reply"?, "failed"?}}
        a turn began, moved on or ended; `after` is the turn before it, `ref` the page's own name
        for the message that it came from, `html` Python's sanitized HTML of what came of it
    {"kind": "gone", "n", "ids"}                       turns that are no more
    {"kind": "head", "n", "name", "variable", "model", "models", "system", "usage"}
    {"kind": "names", "n", "names": [[name, about]], "plot"}  what can be attached now
    {"kind": "notice", "n", "notice", "alarm"}         a line above the box
    {"kind": "refused", "n", "ref", "notice", "alarm"} a message that never became a turn
    {"kind": "draft", "to", "text", "attached": [{"id", "label", "about"}]}  words to edit
    {"kind": "file", "id", "about" | "error"}          a file arrived, or cannot be sent

From the page::

    {"kind": "send", "ref", "text", "attached": [id], "model"}   ids: "plot", "name:df", a file's
    {"kind": "again" | "edit", "ref"}                  the last turn once more, or back into the box
    {"kind": "stop" | "clear" | "save" | "names"}
    {"kind": "model", "model"}, {"kind": "system", "text"}
    {"kind": "file", "id", "name", "part", "parts"}    with the part's bytes as its one buffer

Messages are heard on the kernel's main thread or on one of its subshells; turns are drawn on the
thread of `LiveOutputs`, so a reply appears while a cell keeps the kernel busy.
"""

from __future__ import annotations

import base64
import functools
import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from segmind_jupyter.errors import ContentError, SegmindError
from segmind_jupyter.notebook.live.cards import LiveDisplay, close_all, view_of
from segmind_jupyter.words import one_line, to_text

if TYPE_CHECKING:
    from segmind_jupyter.chat import Chat, Turn
    from segmind_jupyter.content.parts import Limits
    from segmind_jupyter.content.prompt import Attachment
    from segmind_jupyter.notebook.chat.draft import Draft, DraftAttachment
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
        from segmind_jupyter.notebook.chat import transcript

        return transcript.text(value)

    def _close(self, chat: Chat, panel: ChatPanel) -> None:
        if self._panels.get(chat) is panel:
            del self._panels[chat]
            panel.close()


class ChatPanel:
    """One chat as its pages see it, and what they ask of it."""

    def __init__(self, chat: Chat, *, shell: Any, live: LiveOutputs) -> None:
        from segmind_jupyter.notebook.chat.transcript import Transcript

        self._chat, self._shell, self._live = chat, shell, live
        self._transcript = Transcript(live)
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
            head = self._heading()
            if head != self._head:
                self._head = head
                self._say("head", **head)
        self._transcript.update(turns)
        return any(not turn.done() for turn in turns)

    def snapshot(self) -> dict[str, Any]:
        """Return the whole state, for a page that knows nothing."""
        from segmind_jupyter.notebook.chat.draft import MAX_FILE_BYTES

        with self._lock:
            turns = [
                self._described(turn, before) if self._is_stale(turn) else self._known[turn][1]
                for turn, before in zip(self._chat.turns, [None, *self._chat.turns], strict=False)
            ]
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

    def reloaded(self) -> None:
        """Say that a page which was reloaded shows turns that the saved notebook does not."""
        own = (n for n, v in self._user_names().items() if v is self._chat and n[0] != "_")
        name = next(own, "chat")
        self._notice, self._alarm = (
            (
                "This page was reloaded: new turns do not reach the saved notebook. Run "
                f"`{name}` in a cell again before you save, or choose Save as Markdown."
            ),
            False,
        )

    def close(self) -> None:
        """Take the view off every page. What is kept of the chat shows in its place."""
        self._end_calls()
        self._live.drawn(self)
        close_all(self.widget)

    # What the page is told.

    def _say(self, kind: str, **fields: Any) -> None:
        """Send a numbered message."""
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

    def _is_stale(self, turn: Turn) -> bool:
        return not turn.done() or self._known.get(turn, ("",))[0] != self._standing(turn)

    def _standing(self, turn: Turn) -> tuple[str, str, int]:
        """Return what of a turn changes until its end."""
        return str(turn.stage), _until(turn), len(turn.notes) if turn.done() else 0

    def _described(self, turn: Turn, before: Turn | None) -> dict[str, Any]:
        from segmind_jupyter.notebook.chat import transcript
        from segmind_jupyter.notebook.display.markdown import framed
        from segmind_jupyter.notebook.display.reply import boxed, failure_html, reply_inside

        described: dict[str, Any] = {
            "id": self._id(turn),
            "after": None if before is None else self._id(before),
            "text": to_text(transcript.spoken(turn)),
            "sent": [_sent(item) for item in turn.prompt.sent],
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
        chat = self._chat
        return {
            "name": one_line(chat.name),
            "model": chat.model,
            "models": _models(),
            "system": chat.system or "",
            "usage": _usage(chat),
        }

    def _names(self) -> dict[str, Any]:
        from segmind_jupyter.notebook.chat.draft import attachables
        from segmind_jupyter.notebook.plots.last_plot import LastPlots

        plots = LastPlots.of(self._shell)
        return {
            "names": [list(pair) for pair in attachables(self._user_names())[:_MAX_NAMES]],
            "plot": plots is not None and not plots.is_empty,
        }

    def _prompts(self) -> list[dict[str, Any]]:
        """Suggest how to begin: what the chat was given, or what the notebook holds."""
        from segmind_jupyter.notebook.chat.draft import is_table
        from segmind_jupyter.notebook.plots.last_plot import LastPlots

        given = getattr(self._chat, "prompts", ())
        if given:
            return [{"text": str(prompt)} for prompt in given]
        prompts: list[dict[str, Any]] = []
        plots = LastPlots.of(self._shell)
        if plots is not None and not plots.is_empty:
            prompts.append({"text": "Describe the last plot.", "plot": True})
        tables = [name for name, value in self._user_names().items() if is_table(value)]
        prompts += [{"text": f"What is in {{{name}}}?"} for name in reversed(tables[-2:])]
        prompts += [
            {"text": "Suggest three questions that this notebook could answer."},
            {"text": "Write a docstring for a function that I paste here."},
        ]
        return prompts[:4]

    # What the page asks for.

    def _heard(self, _: Any, content: Any, buffers: Sequence[Any]) -> None:
        """Do what a page asks, and show what goes wrong: a kernel's log is read by nobody."""
        kind = content.get("kind") if isinstance(content, dict) else None
        act = {
            "send": self._send, "again": self._again, "edit": self._edit, "stop": self._stop,
            "clear": self._clear, "save": self._save, "names": self._tell_names,
            "model": self._take_model, "system": self._take_system, "file": self._take_part,
        }.get(str(kind))  # fmt: skip
        if act is None:
            return
        if kind not in ("names", "file"):
            self._tell("", alarm=False)
        try:
            act(content, buffers)
        except SegmindError as error:
            self._refuse(content, str(error))
        except Exception as error:  # noqa: BLE001 - what the user's objects raise is shown too
            _log.exception("a message to %r failed", self._chat)
            self._refuse(content, f"{type(error).__name__}: {error}")

    def _refuse(self, content: dict[str, Any], reason: str) -> None:
        with self._lock:
            self._notice, self._alarm = one_line(reason), True
            kind, more = (
                ("refused", {"ref": str(content["ref"])}) if "ref" in content else ("notice", {})
            )
            self._say(kind, notice=self._notice, alarm=True, **more)

    def _send(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        from segmind_jupyter.notebook.chat.draft import Draft

        ids = [str(each) for each in content.get("attached", ())]
        draft = Draft(str(content.get("text", "")), tuple(map(self._attachment, ids)))
        self._take_model(content, ())
        prompt = draft.prompt(self._user_names(), limits=_limits())
        with self._lock:  # so that no page hears of the turn before its name is known
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
        from segmind_jupyter.notebook.chat.draft import Draft

        last = self._chat.take_back()
        draft = self._drafts.get(last) or Draft.of(last)
        chips = []
        for number, attachment in enumerate(draft.attachments):
            key = f"name:{attachment.name}" if attachment.name else f"{self._id(last)}.{number}"
            self._hold(key, attachment)
            chips.append({"id": key, "label": attachment.label, "about": ""})
        self.widget.send(
            {"kind": "draft", "to": content.get("ref"), "text": draft.text, "attached": chips}
        )

    def _stop(self, *_: Any) -> None:
        self._chat.stop()

    def _clear(self, *_: Any) -> None:
        self._chat.clear()

    def _save(self, *_: Any) -> None:
        from segmind_jupyter.notebook.chat.export import save

        self._tell(f"The transcript was saved as {save(self._chat, Path.cwd())}", alarm=False)

    def _tell_names(self, *_: Any) -> None:
        with self._lock:
            self._say("names", **self._names())

    def _take_model(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        model = str(content.get("model", "")).strip()
        if model and model != self._chat.model:
            self._chat.model = model

    def _take_system(self, content: dict[str, Any], _: Sequence[Any]) -> None:
        self._chat.system = str(content.get("text", ""))
        self._live.draw_soon(self)

    def _take_part(self, content: dict[str, Any], buffers: Sequence[Any]) -> None:
        """Take a part of a file; with the last one it is ready to be sent, or refused."""
        from segmind_jupyter.notebook.chat.draft import MAX_FILE_BYTES, DraftAttachment

        key, name, count = str(content["id"]), str(content["name"]), int(content["parts"])
        parts = self._parts.setdefault(key, {})
        parts[int(content["part"])] = bytes(buffers[0])
        if sum(map(len, parts.values())) > MAX_FILE_BYTES:
            del self._parts[key]
            self.widget.send(
                {"kind": "file", "id": key, "error": f"{one_line(name)} is too large."}
            )
        elif len(parts) == count:
            del self._parts[key]
            data = b"".join(parts[number] for number in sorted(parts))
            try:
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
        from segmind_jupyter.notebook.chat.draft import DraftAttachment
        from segmind_jupyter.notebook.plots.last_plot import LastPlots

        if key == "plot":
            plots = LastPlots.of(self._shell)
            if plots is None or plots.is_empty:
                raise ContentError("No cell has shown a plot yet. Run the plotting cell again.")
            (plot,) = plots.sent(limits=_limits())
            return DraftAttachment(plot.name, item=plot)
        if key.startswith("name:"):
            name = key.removeprefix("name:")
            return DraftAttachment(name, name=name)
        if key not in self._attached:
            raise ContentError("What was attached is not there any more. Attach it again.")
        return self._attached[key]

    def _user_names(self) -> Any:
        from segmind_jupyter.notebook.namespace import sendable_names

        return sendable_names(self._shell)


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
            if key is None:
                if self.comm is not None and _asked_by_page(self._panel._shell):
                    self._panel.reloaded()
                state["snapshot"] = self._panel.snapshot()
            return state

    return ChatWidget


def _asked_by_page(shell: Any) -> bool:
    """Return whether a page asks that was reloaded, and no cell, such as one that embeds widgets.

    Voila asks for all state at once, and saves no notebook.
    """
    parent = getattr(shell, "parent_header", None) or {}
    is_voila = os.environ.get("SERVER_SOFTWARE", "").startswith("voila")
    return bool(parent.get("header", {}).get("msg_type") == "comm_msg") and not is_voila


def _sent(item: Attachment) -> dict[str, str]:
    """Describe what goes with a message: its name, what it is, and a thumbnail."""
    from segmind_jupyter.content.images.encode import thumbnail_png

    thumb = ""
    for image in item.images[:1]:
        try:
            png = thumbnail_png(image, max_px=_THUMBNAIL_PX)
        except Exception:  # noqa: BLE001 - the message is as good without
            break
        thumb = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return {"label": one_line(item.label), "about": one_line(item.summary), "thumb": thumb}


def _until(turn: Turn) -> str:
    """Return when a turn that waits for the plan's limit goes on; empty where none does."""
    if turn.done():
        return ""
    from segmind_jupyter.session import session

    paused = getattr(session(), "paused_until", None)
    return time.strftime("%H:%M:%S", time.localtime(paused)) if paused else ""


def _models() -> list[list[str]]:
    from segmind_jupyter.api import settings

    known = getattr(settings, "KNOWN_MODELS", ())
    return [[str(slug), ""] for slug in known]


def _usage(chat: Chat) -> str:
    """Say what a chat has cost so far: ``3 replies · 1,234 tokens in, 56 out · 0.0123 credits``."""
    usage = chat.usage
    if not usage.calls:
        return ""
    replies = f"{usage.calls:,} {'reply' if usage.calls == 1 else 'replies'}"
    tokens = f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out"
    cost = "" if usage.cost is None else f"{usage.cost:,.4f} credits"
    return " · ".join(filter(None, (replies, tokens, cost)))


def _limits() -> Limits:
    """Return the limits that hold now: `%config ClaudeMagics` may have changed since."""
    from segmind_jupyter.session import session

    return session().options.limits
