"""`%segmind`: what is set, what is left, what was used, and which models there are."""

from __future__ import annotations

import datetime
import difflib
import getpass
import html
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from IPython.core.error import StdinNotImplementedError, UsageError
from IPython.core.getipython import get_ipython
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

from segmind_jupyter.api.settings import KNOWN_MODELS
from segmind_jupyter.api.usage import Call, Ledger, Totals
from segmind_jupyter.content.prompt import readable_bytes
from segmind_jupyter.errors import Interrupted, SettingsError
from segmind_jupyter.notebook import status
from segmind_jupyter.notebook.display.reply import is_whole_statement
from segmind_jupyter.notebook.display.styles import ELEMENTS, FRAME
from segmind_jupyter.notebook.display.text import (
    aligned,
    did_you_mean,
    format_duration,
    format_time,
    one_line,
    one_line_html,
)
from segmind_jupyter.notebook.live.headless import show_ended, wait_until_done
from segmind_jupyter.session import session

if TYPE_CHECKING:
    import pandas

    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.journal import JobRecord
    from segmind_jupyter.chat import Chat
    from segmind_jupyter.session import Trackable


#: What each value of `ClaudeMagics.cache` does.
_MODES = {
    "off": 'off (`--cache` in a cell, `%config ClaudeMagics.cache = "on"`)',
    "on": "on: what is kept is not sent again; `--no-cache` sends it",
    "only": "only: nothing is sent; what is not kept is an error",
}


def cache(rest: Sequence[str]) -> str:
    """Say what is kept, or forget it."""
    if list(rest) == ["clear"]:
        return _cleared()
    if rest:
        raise UsageError("It is `%segmind cache` or `%segmind cache clear`")
    return aligned([("replies", _kept()), ("file", _file()), ("mode", _mode())])


def _kept() -> str:
    held = session().journal.kept_replies()
    if held.oldest_at is None:
        return "none"
    oldest = format_time(held.oldest_at)
    return f"{held.count:,} ({readable_bytes(held.n_bytes)}), the oldest of {oldest}"


def _file() -> str:
    return str(session().journal.path or "none: they end with this kernel (ClaudeMagics.journal)")


def _mode() -> str:
    return _MODES[session().options.cache]


def _cleared() -> str:
    journal = session().journal
    count = journal.clear_replies()
    if count is None:
        raise SettingsError(
            f"Nothing was forgotten: {journal.path} cannot be changed now. Make it "
            "writable, or close what has locked it, and try again."
        )
    return f"{'1 reply is' if count == 1 else f'{count:,} replies are'} forgotten; jobs stay."


_HEAD = ("name", "model", "turns", "tokens in", "tokens out", "credits", "last reply")

_NONE = 'No conversation has a name yet. `%%claude --chat NAME` or `Chat(name="NAME")` begins one.'


def chat(rest: Sequence[str]) -> str | dict[str, str]:
    """List the conversations, show one, or forget one."""
    if not rest:
        return _listed()
    name = " ".join(rest)
    if rest[-1] == "clear" and len(rest) > 1 and _unquoted(name) not in _names():
        return _chatlist_cleared(" ".join(rest[:-1]))
    return _shown(_known(name))


def _names() -> tuple[str, ...]:
    return session().conversations.names


def _listed() -> str:
    from segmind_jupyter.chat import Chat

    chats = [Chat(name=name) for name in _names()]
    rows = [_row(chat) for chat in chats if chat.turns]
    return aligned([_HEAD, *rows], right=True) if rows else _NONE


def _row(chat: Chat) -> tuple[str, ...]:
    usage, answered = chat.usage, chat.conversation.turns
    return (
        one_line(chat.name),
        one_line(chat.model),
        f"{len(answered)}",
        f"{usage.input_tokens:,}",
        f"{usage.output_tokens:,}",
        "not told" if usage.cost is None else f"{usage.cost:.4f}",
        f"{format_duration(time.time() - answered[-1].replied_at)} ago" if answered else "none",
    )


def _shown(chat: Chat) -> dict[str, str]:
    from segmind_jupyter.notebook.chat import transcript

    return {"text/html": transcript.html(chat), "text/plain": transcript.text(chat)}


def _chatlist_cleared(name: str) -> str:
    chat = _known(name)
    chat.clear()
    # The next one of this name begins with what holds for all.
    chat.conversation.model = chat.conversation.system = None
    return (
        f"What was said in `{one_line(chat.name)}` is forgotten; `%segmind usage` still counts it."
    )


def _known(name: str) -> Chat:
    """Return the conversation of that name, quoted or not."""
    from segmind_jupyter.chat import Chat, spelled_alike

    name, names = spelled_alike(_unquoted(name)), _names()
    if name in names:
        return Chat(name=name)
    if not names:
        raise UsageError(_NONE)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(names)}"
    raise UsageError(f"No conversation has the name `{one_line(name)}`. {hint}")


def _unquoted(name: str) -> str:
    quoted = len(name) > 1 and name[0] == name[-1] and name[0] in "'\""
    return name[1:-1] if quoted else name


#: How many of the newest jobs are listed.
_LISTED = 30

_JOBLIST_HEAD = ("id", "model", "state", "age", "where")


def jobs(rest: Sequence[str]) -> str:
    """List the jobs that the journal knows, newest first, with what this kernel knows of them."""
    if rest:
        raise UsageError("It is `%segmind jobs`; `%segmind resume ID` takes one up")
    entries = session().recorded(limit=_LISTED + 1)
    if not entries:
        return "No jobs are known. `%%claude --job` and `submit` begin one."
    rows = [
        _joblist_row(entry, session().followed(entry.request_id)) for entry in entries[:_LISTED]
    ]
    more = f"\nOlder ones are not listed ({_LISTED} are)." if len(entries) > _LISTED else ""
    return aligned([_JOBLIST_HEAD, *rows]) + more


def resume(rest: Sequence[str]) -> Job:
    """Take up a job by its id; its card is the value of the cell."""
    if len(rest) != 1:
        raise UsageError("It is `%segmind resume ID`; `%segmind jobs` lists the ids")
    return session().resume(rest[0])


def wait(rest: Sequence[str]) -> str:
    """Wait for the jobs of these ids, and show them; or for all under way in this kernel."""
    named = [session().resume(request_id) for request_id in rest]
    work: Sequence[Trackable] = named or session().pending
    failed = () if named else session().failed
    if not (work or failed):
        return "Nothing is under way in this kernel."
    try:
        for each in work:
            wait_until_done(each)
    except KeyboardInterrupt:
        raise Interrupted("Stopped waiting; what is under way goes on.") from None
    for each in work:
        display(each) if named else show_ended(get_ipython(), each)
    for each in (*failed, *work):
        if named or each.unraised is not None:
            each.wait()
    return "It has ended." if len(work) == 1 else f"All {len(work)} have ended."


def _joblist_row(entry: JobRecord, under_way: Job | None) -> tuple[str, ...]:
    state = str(under_way.status if under_way is not None else entry.state).lower()
    if under_way is None and state == "queued":
        state = "not watched"
    elif entry.kept:
        state += ", reply kept"
    place = "this kernel" if under_way is not None else entry.place
    where = f"{place} → {entry.origin.removeprefix('https://')}" if place else entry.origin
    return (entry.request_id, entry.model or "?", state, _age(entry.submitted_at), where)


def _age(submitted_at: float | None) -> str:
    """Say how long ago a job was submitted, in the largest unit that fits."""
    if submitted_at is None:
        return "?"
    seconds = max(0.0, time.time() - submitted_at)
    for unit, length_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"


#: The newest calls, which are drawn.
_DRAWN: Final = 40

_BAR_PX: Final = 44
_BLOCKS: Final = "▁▂▃▄▅▆▇█"

_USAGECHART_HEAD: Final = ("model", "calls", "tokens in", "tokens out", "credits")
_USAGECHART_NONE: Final = "No answered calls yet in this kernel."
_TABLE: Final = "`calls = %segmind usage` gives the calls as a table."

#: What the table holds of a call; each of these types has a place for what is missing.
_COLUMNS: Final = {
    "when": "datetime64[ns]",
    "model": "string",
    "tokens_in": "Int64",
    "tokens_out": "Int64",
    "cost": "float64",
    "seconds": "float64",
    "simulated": "bool",
}


@dataclass(frozen=True, slots=True)
class _Series:
    """One number of each call, as a row of bars. `None` is what the server did not say."""

    name: str
    style: str
    numbers: Sequence[int | None]

    @property
    def most(self) -> int:
        return max((number for number in self.numbers if number is not None), default=0)


def usage(ledger: Ledger) -> dict[str, str]:
    """Return the sums by model and the chart of the newest calls, as HTML and as text."""
    rows, chart, notes = _rows(ledger), _chart(ledger.calls), _notes(ledger)
    return {"text/html": _html(rows, chart, notes), "text/plain": _text(rows, chart, notes)}


class Rows(list[dict[str, Any]]):
    """A row a call, where pandas is not there. Unlike a list, it can say how it shows."""


def table(calls: Sequence[Call]) -> pandas.DataFrame | Rows:
    """Return the calls as a table, oldest first."""
    rows = Rows(map(_usagechart_row, calls))
    try:
        import pandas
    except ModuleNotFoundError:
        return rows
    return pandas.DataFrame(rows, columns=[*_COLUMNS]).astype(_COLUMNS)


def _usagechart_row(call: Call) -> dict[str, Any]:
    when = datetime.datetime.fromtimestamp(round(call.answered_at))
    values = (
        when, call.model, call.input_tokens, call.output_tokens, call.cost, call.seconds,
        call.simulated,
    )  # fmt: skip
    return dict(zip(_COLUMNS, values, strict=True))


def shown_already(value: Any, shell: Any) -> None:
    """Let a table not be shown by the cell in which the chart was; a later one shows it as ever."""
    value._ipython_display_ = _silent_in_cell(shell, shell.execution_count)


def _silent_in_cell(shell: Any, count: int) -> Callable[[], None]:
    def show() -> None:
        if shell.execution_count != count:
            raise NotImplementedError  # IPython then asks the other formatters

    return show


def _rows(ledger: Ledger) -> list[tuple[str, ...]]:
    models = ledger.by_model()
    rows = [_sums(one_line(name), sums) for name, sums in models.items()]
    return rows if len(models) < 2 else [*rows, _sums("all", ledger.total())]


def _sums(name: str, sums: Totals) -> tuple[str, ...]:
    cost = "not told" if sums.cost is None else f"{sums.cost:.4f}"
    return (name, f"{sums.calls:,}", f"{sums.input_tokens:,}", f"{sums.output_tokens:,}", cost)


def _chart(calls: Sequence[Call]) -> list[_Series]:
    """Draw the newest calls; two are the least that can be compared."""
    drawn = calls[-_DRAWN:] if len(calls) > 1 else ()
    series = (
        _Series("tokens in", "bar in", [call.input_tokens for call in drawn]),
        _Series("tokens out", "bar out", [call.output_tokens for call in drawn]),
    )
    return [each for each in series if each.most]


def _notes(ledger: Ledger) -> list[str]:
    count, unknown = len(ledger.calls), ledger.unknown
    which = f"The last {_DRAWN} calls are drawn" if count > _DRAWN else "A bar is a call"
    notes = [f"{which}, the newest last. {_TABLE}"] if count > 1 else []
    if unknown:
        calls = "1 call" if unknown == 1 else f"{unknown} calls"
        notes.append(f"{calls} with an unknown outcome, which may have been billed too.")
    return notes


def _text(rows: list[tuple[str, ...]], chart: list[_Series], notes: list[str]) -> str:
    sums = aligned([_USAGECHART_HEAD, *rows], right=True) if rows else _USAGECHART_NONE
    bars = [(each.name, _bars(each), f"at most {each.most:,}") for each in chart]
    return "\n".join([sums, *([aligned(bars)] if bars else []), *notes])


def _bars(series: _Series) -> str:
    return "".join(
        "·" if number is None else _BLOCKS[max(_height(number, series.most, len(_BLOCKS)) - 1, 0)]
        for number in series.numbers
    )


def _height(number: int, most: int, highest: int) -> int:
    """Scale a number; what is more than nothing stands out from it."""
    return math.ceil(number / most * highest)


def _html(rows: list[tuple[str, ...]], chart: list[_Series], notes: list[str]) -> str:
    sums = _sums_html(rows) if rows else f"<div>{_USAGECHART_NONE}</div>"
    bars = "".join(_series_html(each) for each in chart)
    below = "".join(f'<div style="{FRAME["about"]}">{one_line_html(note)}</div>' for note in notes)
    inside = sums + (f'<div style="{FRAME["row"]}">{bars}</div>' if bars else "") + below
    return f'<div class="mathjax_ignore" style="{FRAME["reply"]}">{inside}</div>'


def _sums_html(rows: list[tuple[str, ...]]) -> str:
    lines = [_line_html("th", _USAGECHART_HEAD), *(_line_html("td", row) for row in rows)]
    return f'<table style="{ELEMENTS["table"]}">{"".join(lines)}</table>'


def _line_html(tag: str, cells: Sequence[str]) -> str:
    first, *others = (html.escape(cell) for cell in cells)
    right = "".join(f'<{tag} style="{ELEMENTS[f"{tag} right"]}">{cell}</{tag}>' for cell in others)
    return (
        f'<tr style="{ELEMENTS["tr"]}"><{tag} style="{ELEMENTS[tag]}">{first}</{tag}>{right}</tr>'
    )


def _series_html(series: _Series) -> str:
    bars = "".join(_bar_html(series, number) for number in series.numbers)
    title = f"{series.name}, at most {series.most:,}"
    return (
        f'<div><div style="{FRAME["about"]}">{title}</div>'
        f'<div style="{FRAME["bars"]}">{bars}</div></div>'
    )


def _bar_html(series: _Series, number: int | None) -> str:
    if number is None:
        return f'<div style="{FRAME["bar untold"]}" title="not told"></div>'
    height_px = _height(number, series.most, _BAR_PX)
    return f'<div style="{FRAME[series.style]};height:{height_px}px" title="{number:,}"></div>'


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command shows, beside the value that it gives."""

    bundle: dict[str, str]
    value: Any


@magics_class
class SegmindMagics(Magics):
    """The `%segmind` command."""

    @no_var_expand
    @line_magic
    def segmind(self, line: str) -> Any:
        """Look after the account, the jobs, the chats and the settings of this kernel.

        ::

            %segmind                  what holds here, what is wrong, and the command that mends it
            %segmind key              type in the API key; it stays in this kernel's memory
            %segmind credits          what is left on the account
            %segmind usage            tokens, cost and calls of this kernel, by model and by call
            calls = %segmind usage    the calls as a table; a `;` at the end shows nothing
            %segmind models           models that are known; any other slug works too
            %segmind simulator        answer offline from now on, without a key or a bill
            %segmind simulator off    answer from Segmind again
            %segmind jobs             jobs of this and other kernels: id, model, state, age, where
            %segmind resume ID        take up a job: its reply, without sending it again
            %segmind wait             wait for all that is under way in this kernel
            %segmind wait ID ...      wait for some jobs, and show their replies
            %segmind chat             conversations of this kernel that have a name
            %segmind chat NAME        all that was said in one of them
            %segmind chat NAME clear  forget what was said in it
            %segmind cache            replies that `--cache` keeps: how many, since when, where
            %segmind cache clear      forget them
        """
        silent = line.rstrip().endswith(";")
        command, *rest = line.rstrip("; \t").split() or ["status"]
        if command not in _COMMANDS:
            raise UsageError(
                f"%segmind has no `{command}`{did_you_mean(command, _COMMANDS)}; it has "
                f"{', '.join(_COMMANDS)} (%segmind? has more)"
            )
        try:
            said = _COMMANDS[command](rest)
        except Interrupted:
            raise  # a job's, which says more
        except KeyboardInterrupt:
            raise Interrupted("Nothing was changed, and nothing was billed.") from None
        return self._show(said, silent=silent)

    def _show(self, said: str | dict[str, str] | Job | Shown, *, silent: bool) -> Any:
        """Show what a command said, and give the value of its line."""
        if isinstance(said, str):
            said = Shown({"text/plain": said}, None)
        if isinstance(said, dict):
            said = Shown(said, None)
        if not isinstance(said, Shown):
            return said  # it shows by itself
        if said.value is not None and is_whole_statement(self.shell):
            shown_already(said.value, self.shell)
        if not silent:
            display(said.bundle, raw=True)
        return said.value


def subcommands() -> tuple[str, ...]:
    """Return the words that may stand behind `%segmind`."""
    return tuple(_COMMANDS)


def _status(rest: Sequence[str]) -> dict[str, str]:
    _no_more(rest, "status")
    return status.status(get_ipython())


def _key(rest: Sequence[str]) -> str:
    if rest:
        # What stands on the line is saved in the notebook and in IPython's history.
        raise UsageError(
            "Run `%segmind key` alone; it asks for the key, so that the notebook does not hold it. "
            "If that was a real key, delete this cell and renew the key"
        )
    try:
        session().use_key(getpass.getpass("Segmind API key: "))
    except StdinNotImplementedError:
        raise SettingsError(
            "This front end cannot ask for a key. Set SEGMIND_API_KEY before the kernel starts."
        ) from None
    done = "The key is set for this kernel; it is not saved."
    settings = session().settings()
    if settings.simulated:
        return f"{done} Replies still come from the simulator; {status.way_out(settings)}."
    return done


def _credits(rest: Sequence[str]) -> str:
    _no_more(rest, "credits")
    left = session().credits()
    return (
        f"{left.total:.4f} credits left ({left.credits:.4f} bought, {left.free_credits:.4f} free)"
    )


def _usage(rest: Sequence[str]) -> Shown:
    _no_more(rest, "usage")
    ledger = session().ledger
    return Shown(usage(ledger), table(ledger.calls))


def _models(rest: Sequence[str]) -> str:
    _no_more(rest, "models")
    default = session().options.model
    marked = [
        f"{slug}{' (used when -m is not given)' * (slug == default)}" for slug in KNOWN_MODELS
    ]
    return "\n".join([*marked, "Any other slug of a Claude model works too: -m SLUG"])


def _simulator(rest: Sequence[str]) -> str:
    if list(rest) not in ([], ["on"], ["off"]):
        raise UsageError("It is `%segmind simulator` or `%segmind simulator off`")
    on = list(rest) != ["off"]
    session().use_simulator(on)
    if on:
        return "Replies now come from the simulator: no model, no key, no network, no bill."
    settings = session().settings()
    if settings.simulated:
        return f"Replies still come from the simulator; {status.way_out(settings)}."
    return f"Replies now come from {settings.base_url}."


def _no_more(rest: Sequence[str], command: str) -> None:
    if rest:
        raise UsageError(f"`%segmind {command}` takes nothing more, not `{' '.join(rest)}`")


#: Each gives what is to be said, as text or by mimetype, or a job to be shown.
_COMMANDS: dict[str, Callable[[Sequence[str]], str | dict[str, str] | Job | Shown]] = {
    "status": _status,
    "key": _key,
    "credits": _credits,
    "usage": _usage,
    "models": _models,
    "simulator": _simulator,
    "jobs": jobs,
    "resume": resume,
    "wait": wait,
    "chat": chat,
    "cache": cache,
}
