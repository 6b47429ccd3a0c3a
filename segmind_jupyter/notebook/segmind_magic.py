"""`%segmind`: what is set, what is left, what was used, and which models there are."""

from __future__ import annotations

import datetime
import difflib
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from IPython.core.error import UsageError
from IPython.core.getipython import get_ipython
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

from segmind_jupyter.api.settings import DEFAULT_BASE_URL, KNOWN_MODELS, SIMULATOR, model_info
from segmind_jupyter.errors import Interrupted, SettingsError
from segmind_jupyter.notebook.display.styles import div, framed, one_line_html
from segmind_jupyter.notebook.display.tables import facts_bundle, table_bundle, table_html
from segmind_jupyter.notebook.namespace import Use, calling_frame, use_of_value
from segmind_jupyter.session import session
from segmind_jupyter.words import aligned, did_you_mean, format_duration, format_time, one_line

if TYPE_CHECKING:
    import pandas

    from segmind_jupyter.api.database import JobRecord
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.api.messages import AnsweredCall
    from segmind_jupyter.session import Work


@dataclass(frozen=True, slots=True)
class Shown:
    """What a command shows, beside the value that it gives."""

    bundle: dict[str, str]
    value: Any = None


@magics_class
class SegmindMagics(Magics):
    @no_var_expand
    @line_magic
    def segmind(self, line: str) -> Any:
        """Look after the account, the jobs, the chats and the settings of this kernel.

        ::

            %segmind                  what holds here, what is wrong, and the command that mends it
            %segmind key              type in the API key; it stays in this kernel's memory
            %segmind key --save       keep it in the system's keyring; `--forget` removes it
            %segmind credits          what is left on the account
            %segmind usage            tokens, cost and calls of this kernel, by model and by call;
                                      credits by day, and what is left of a budget
            calls = %segmind usage    the calls as a table; a `;` at the end shows nothing
            %segmind usage --by model    the same of all kernels, and how often each was the best
            %segmind budget 2.00      credits that this kernel may spend; `off` takes it away
            %segmind budget --day 5   credits that all kernels may spend in a day
            %segmind history          what Segmind charged (asks Segmind, with your key)
            %segmind history ID       the same of one request
            %segmind models           models that are known; any other slug works too
            %segmind simulator        answer offline from now on, without a key or a bill
            %segmind simulator off    answer from Segmind again
            %segmind simulator fail 429 3    fail the next calls: 429, 406, 504 or refusal
            %segmind simulator slow 20       take 20 s for a call, and limit 5/min: take 5 of them
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
        shell: Any = self.shell
        command, *rest = line.rstrip("; \t").split() or ["status"]
        if command in ("-h", "--help"):
            return shell.run_line_magic("pinfo", "%segmind")
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
        use = use_of_value(calling_frame())
        if not isinstance(said, str | Shown):  # a job shows by itself
            if use is Use.DROPPED:
                display(said)
            return said
        shown = said if isinstance(said, Shown) else Shown({"text/plain": said})
        if not line.rstrip().endswith(";"):
            display(shown.bundle, raw=True)
        if use is not Use.SHOWN or shown.value is None:
            return shown.value
        # `_` holds it, and it does not show a second time.
        shell.displayhook.update_user_ns(shown.value)
        shell.displayhook.fill_exec_result(shown.value)
        return None


#: Each gives what is to be said, as text or by mimetype, or a job to be shown.
Command: TypeAlias = Callable[[Sequence[str]], "str | Shown | Job"]
_COMMANDS: Final[dict[str, Command]] = {}


def command(function: Command) -> Command:
    """Make a function what its name does behind `%segmind`."""
    _COMMANDS[function.__name__] = function
    return function


def subcommands() -> tuple[str, ...]:
    return tuple(_COMMANDS)


def _no_more(rest: Sequence[str], command: str) -> None:
    if rest:
        raise UsageError(f"`%segmind {command}` takes nothing more, not `{' '.join(rest)}`")


@command
def status(rest: Sequence[str]) -> Shown:
    from segmind_jupyter.notebook import status as findings

    _no_more(rest, "status")
    return Shown(findings.status(get_ipython()))


@command
def key(rest: Sequence[str]) -> str:
    from segmind_jupyter.notebook.key import change_key

    done = change_key(get_ipython(), rest)
    return f"{done} {_still_simulated()}" if session().settings().simulated else done


def _still_simulated() -> str:
    from segmind_jupyter.notebook.status import way_out

    return f"Replies still come from the simulator; {way_out(session().settings())}."


@command
def credits(rest: Sequence[str]) -> str:
    _no_more(rest, "credits")
    left = session().credits()
    return (
        f"{left.total:.4f} credits left ({left.credits:.4f} bought, {left.free_credits:.4f} free)"
    )


@command
def models(rest: Sequence[str]) -> Shown:
    _no_more(rest, "models")
    default = session().options.model
    rows = [("model", "$ a call", "seconds", "image edge", "")]
    for info in map(model_info, dict.fromkeys((*KNOWN_MODELS, default))):
        cost = "" if info.cost is None else f"{info.cost:.4f}"
        seconds = "" if info.seconds is None else f"{info.seconds:g}"
        used = "(used when -m is not given)" if info.slug == default else ""
        about = "; ".join(filter(None, (used, info.note)))
        rows.append((info.slug, cost, seconds, f"{info.image_edge_px} px", about))
    more = "Any other slug of a Claude model works too: -m SLUG"
    return Shown(table_bundle(rows, more, left=(0, 4)))


@command
def simulator(rest: Sequence[str]) -> str:
    on = list(rest) != ["off"]
    told = "no model, no key, no network, no bill"
    if on and list(rest) not in ([], ["on"]):
        from segmind_jupyter.simulator import control

        try:
            told = control(*rest)
        except ValueError as error:
            raise UsageError(f"{error}; `%segmind simulator off` ends it") from None
    session().base_url = SIMULATOR if on else None
    settings = session().settings()
    if on:
        return f"Replies now come from the simulator: {told}."
    return _still_simulated() if settings.simulated else f"Replies come from {settings.base_url}."


#: Most characters of what was asked that a list of jobs shows.
_MAX_WORDS: Final = 60

#: How many rows of the newest are listed, and how many jobs are looked at for them.
_LISTED: Final = 30
_LOOKED_AT: Final = 1_000

#: Jobs that a batch sent so many seconds apart are those of one batch.
_BATCH_GAP_S: Final = 300


@command
def jobs(rest: Sequence[str]) -> str | Shown:
    """List the jobs that the journal knows, newest first, with what this kernel knows of them.

    What was asked is known in this kernel alone, as the journal keeps no prompts. The jobs that a
    batch sent are one row.
    """
    from segmind_jupyter.notebook.live.outputs import DOTS, Mark

    if rest:
        raise UsageError("It is `%segmind jobs`; `%segmind resume ID` takes one up")
    groups: list[list[JobRecord]] = []
    for entry in session().journal.entries(limit=_LOOKED_AT):
        if not groups or not _is_of_one_batch(groups[-1][-1], entry):
            groups.append([])
        groups[-1].append(entry)
    if not groups:
        return "No jobs are known. `%%claude --job` and `submit` begin one."
    names = _names_of_jobs()
    rows = [("asked", "model", "state", "age", "id", "name")]
    for group in groups[:_LISTED]:
        entry, count = group[0], len(group)
        here = [session().followed(each.request_id) for each in group]
        states = Counter(map(_state, group, here))
        is_answered = any(state.startswith("completed") for state in states)
        mark: Mark = "works" if "processing" in states else "ended" if is_answered else "waits"
        known = (names[each.request_id] for each in group if each.request_id in names)
        name, job = next(known, ("", here[0]))
        asked, state, request_id = _asked(job), next(iter(states)), entry.request_id
        if count > 1:
            told = ", ".join(f"{n:,} {each}" for each, n in states.items())
            asked, state, request_id = "ask_each", f"{count:,} items: {told}", ""
        origin = "" if entry.origin == DEFAULT_BASE_URL else entry.origin.removeprefix("https://")
        about = ", ".join(filter(None, (state, "" if any(here) else entry.place, origin)))
        at = entry.submitted_at
        age = "?" if at is None else format_duration(max(time.time() - at, 0.0))
        rows.append((asked, entry.model or "?", f"{DOTS[mark]} {about}", age, request_id, name))
    more = () if len(groups) <= _LISTED else (f"Older ones are not listed ({_LISTED} are).",)
    page = [(*row[:4], row[4][:_SHORTEST_ID], row[5]) for row in rows]
    bundle = table_bundle(page, *more, left=(0, 1, 2, 4, 5))
    return Shown({**bundle, "text/plain": "\n".join([aligned(rows), *more])})


def _names_of_jobs() -> dict[str, tuple[str, Job | None]]:
    """Return what the user calls jobs and batches, by the ids of jobs."""
    from segmind_jupyter.api.jobs import Job
    from segmind_jupyter.batch.batch import Batch

    shell: Any = get_ipython()
    found: dict[str, tuple[str, Job | None]] = {}
    for name, value in [*shell.user_ns.items()]:
        if type(value) is Job and not name.startswith("_"):
            found[value.request_id] = name, value
        elif type(value) is Batch and not name.startswith("_"):
            ids = (each.reply.request_id for each in value.outcomes if each.reply is not None)
            found |= {request_id: (name, None) for request_id in ids if request_id}
    return found


def _is_of_one_batch(entry: JobRecord, older: JobRecord) -> bool:
    """Return whether two neighbours of the list were sent by a batch; others have no work."""
    apart_s = abs((entry.submitted_at or 0.0) - (older.submitted_at or 0.0))
    is_alike = (entry.model, entry.origin, entry.place) == (older.model, older.origin, older.place)
    return bool(entry.work and older.work) and is_alike and apart_s < _BATCH_GAP_S


def _state(entry: JobRecord, here: Job | None) -> str:
    state = str(here.status if here is not None else entry.state).lower()
    if here is None and state == "queued":
        return "not watched"
    return f"{state}, reply kept" if entry.kept else state


def _asked(job: Job | None) -> str:
    pieces = job.request.prompt.pieces if job is not None and job.request else ()
    words = "".join(each if isinstance(each, str) else f"{{{each.name}}}" for each in pieces)
    return one_line(words, max_chars=_MAX_WORDS)


#: The fewest characters of an id that nobody here knows: the gateway's have 36.
_SHORTEST_ID: Final = 8


@command
def resume(rest: Sequence[str]) -> Job:
    """Take up a job by its id, or by how that begins; its card is the value of the cell."""
    if len(rest) != 1:
        raise UsageError("It is `%segmind resume ID`; `%segmind jobs` lists the ids")
    (wanted,) = rest
    known = [entry.request_id for entry in session().journal.entries(limit=_LOOKED_AT)]
    begun = [each for each in known if each.startswith(wanted)]
    if len(begun) == 1:
        (wanted,) = begun
    elif len(wanted) < _SHORTEST_ID and wanted not in begun and not session().followed(wanted):
        raise UsageError(
            f"`{wanted}` is no job id, as in 2c7f0e5a-0d6b-4a3f-9c55-1f0a7f3f2b11; "
            "`%segmind jobs` lists those that are known here"
        )
    return session().resume(wanted)


@command
def wait(rest: Sequence[str]) -> str:
    """Wait for the jobs of these ids, and show them; or for all under way in this kernel."""
    from segmind_jupyter.notebook.live.wait import show_ended, wait_until_done

    named = [session().resume(request_id) for request_id in rest]
    work: Sequence[Work] = named or session().pending
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


_NO_CHATS: Final = (
    'No conversation has a name yet. `%%claude --chat NAME` or `Chat(name="NAME")` begins one.'
)


@command
def chat(rest: Sequence[str]) -> str | Shown:
    from segmind_jupyter.chat import Chat
    from segmind_jupyter.conversation import spelled_alike
    from segmind_jupyter.notebook.chat import transcript

    kept = session().journal.kept_chats()
    names = list(dict.fromkeys((*session().conversations.names, *kept)))
    if rest:
        name = spelled_alike(" ".join(rest).strip("'\""))
        forgets = rest[-1] == "clear" and len(rest) > 1 and name not in names
        name = spelled_alike(" ".join(rest[:-1]).strip("'\"")) if forgets else name
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(names)}"
            unknown = f"No conversation has the name `{one_line(name)}`. {hint}"
            raise UsageError(unknown if names else _NO_CHATS)
        chat = Chat(name=name, keep=name in kept or None)
        if not forgets:
            return Shown({"text/html": transcript.html(chat), "text/plain": transcript.text(chat)})
        chat.clear()
        # The next one of this name begins with what holds for all.
        chat.conversation.model = chat.conversation.system = None
        return f"What was said in `{one_line(name)}` is forgotten; `%segmind usage` still counts it"
    rows = [("name", "model", "turns", "tokens in", "tokens out", "credits", "last reply")]
    for chat in (Chat(name=name, keep=name in kept or None) for name in names):
        usage, turns = chat.usage, chat.conversation.turns
        ago = format_duration(time.time() - turns[-1].replied_at) + " ago" if turns else "none"
        tokens = f"{usage.input_tokens:,}", f"{usage.output_tokens:,}"
        about = one_line(chat.name), one_line(chat.model), str(len(turns))
        rows += [(*about, *tokens, _cost(usage.cost), ago)] if chat.turns else []
    return Shown(table_bundle(rows, right=True)) if len(rows) > 1 else _NO_CHATS


#: What each value of `ClaudeMagics.cache` does.
_MODES = {
    "off": 'off (`--cache` in a cell, `%config ClaudeMagics.cache = "on"`)',
    "on": "on: what is kept is not sent again; `--no-cache` sends it",
    "only": "only: nothing is sent; what is not kept is an error",
}


@command
def cache(rest: Sequence[str]) -> str | Shown:
    from segmind_jupyter.content.prompt import readable_bytes

    journal = session().journal
    if list(rest) == ["clear"]:
        count = journal.clear_replies()
        if count is None:
            raise SettingsError(
                f"Nothing was forgotten: {journal.path} cannot be changed now. Make it "
                "writable, or close what has locked it, and try again."
            )
        return f"{'1 reply is' if count == 1 else f'{count:,} replies are'} forgotten; jobs stay."
    if rest:
        raise UsageError("It is `%segmind cache` or `%segmind cache clear`")
    count, n_bytes, oldest_at = journal.kept_replies()
    kept = "none"
    if oldest_at is not None:
        kept = f"{count:,} ({readable_bytes(n_bytes)}), the oldest of {format_time(oldest_at)}"
    file = str(journal.path or "none: they end with this kernel (ClaudeMagics.journal)")
    mode = _MODES[session().options.cache]
    return Shown(facts_bundle([("replies", kept), ("file", file), ("mode", mode)]))


#: The days whose credits are summed.
_DAYS: Final = 7


@command
def usage(rest: Sequence[str]) -> Shown:
    if list(rest) == ["--by", "model"]:
        return Shown(table_bundle(_models_used()))
    _no_more(rest, "usage")
    ledger = session().ledger
    totals = [*ledger.by_model().items()]
    totals += [("all", ledger.total())] if len(totals) > 1 else []
    rows = [("model", "calls", "tokens in", "tokens out", "credits")]
    for name, sums in totals:
        tokens = f"{sums.input_tokens:,}", f"{sums.output_tokens:,}"
        rows.append((one_line(name), f"{sums.calls:,}", *tokens, _cost(sums.cost)))
    notes = [] if totals else ["No answered calls yet in this kernel."]
    if ledger.unknown:
        calls = "1 call" if ledger.unknown == 1 else f"{ledger.unknown} calls"
        notes.append(f"{calls} with an unknown outcome, which may have been billed too.")
    tables = [rows for rows in (rows, _days(), _budgets()) if len(rows) > 1]
    page = "".join(map(table_html, tables))
    page += "".join(div("about", one_line_html(note)) for note in notes)
    text = "\n\n".join([*(aligned(rows, right=True) for rows in tables), *notes])
    return Shown({"text/html": framed(page), "text/plain": text}, table(ledger.calls))


def _models_used() -> list[tuple[str, ...]]:
    """Sum the remembered calls of all kernels by model, with how often it was found the best."""
    calls = session().journal.calls(session().settings().base_url)
    verdicts = session().journal.verdicts()
    rows: list[tuple[str, ...]] = [("model, all kernels", "calls", "credits", "a call", "best of")]
    compared = [model for _, models in verdicts for model in models]
    for model in sorted({call.model for call in calls} | {*compared}):
        costs = [call.cost for call in calls if call.model == model and call.cost is not None]
        count = sum(call.model == model for call in calls)
        mean = f"{sum(costs) / len(costs):.4f}" if costs else ""
        won = sum(best == model for best, _ in verdicts)
        times = compared.count(model)
        verdict = f"{won} of {times}" if times else ""
        rows.append((one_line(model), f"{count:,}", f"{sum(costs):.4f}", mean, verdict))
    return rows


def _days() -> list[tuple[str, ...]]:
    """Sum the credits of the last days in which anything was called, in all kernels."""
    origin = session().settings().base_url
    days: dict[str, list[float]] = {}
    for call in session().journal.calls(origin, since=time.time() - _DAYS * 86400):
        day = f"{datetime.datetime.fromtimestamp(call.at):%Y-%m-%d}"
        days.setdefault(day, []).append(call.cost or 0.0)
    sums = [(day, f"{len(costs):,}", f"{sum(costs):.4f}") for day, costs in days.items()]
    return [("day, all kernels", "calls", "credits"), *sums]


def _budgets() -> list[tuple[str, ...]]:
    budget, origin = session().budget, session().settings().base_url
    spent, reserved = budget.spent(origin), budget.reserved(origin)
    today = budget.spent_today(origin)
    rows: list[tuple[str, ...]] = [("budget", "credits", "spent", "set aside", "")]
    for name, limit, used, aside in (
        ("this kernel", budget.limit, spent, reserved),
        ("a day", session().journal.daily_budget(), max(today - reserved, 0.0), reserved),
    ):
        if limit is not None:
            part = min((used + aside) / limit, 1.0) if limit else 1.0
            bar = f"{'█' * round(10 * part):░<10} {part:.0%}"
            rows.append((name, f"{limit:,.4f}", f"{used:.4f}", f"{aside:.4f}", bar))
    return rows


@command
def budget(rest: Sequence[str]) -> Shown | str:
    from segmind_jupyter.budget import amount_of

    words = [word for word in rest if word != "--day"]
    if len(words) > 1 or len(rest) - len(words) > 1 or (rest and not words):
        raise UsageError("It is `%segmind budget AMOUNT`, `%segmind budget --day AMOUNT` or `off`")
    if words:
        off = words[0].lower() == "off"
        amount = math.inf if off else amount_of(words[0], name="budget")
        if len(rest) > len(words):
            session().journal.set_daily_budget(None if off else amount)
        else:
            session().budget.own_limit = amount
    rows = _budgets()
    if len(rows) == 1:
        return "No budget is set: `%segmind budget 2.00` sets one, `--day` one for a day."
    return Shown(table_bundle(rows))


@command
def history(rest: Sequence[str]) -> Shown | str:
    if len(rest) > 1:
        raise UsageError("It is `%segmind history` or `%segmind history ID`")
    charges = session().history(*rest)
    if not charges:
        return "Segmind's history is empty."
    journal, origin = session().journal, session().settings().base_url
    calls = {call.request_id for call in journal.calls(origin)}
    rows: list[tuple[str, ...]] = [("when", "request", "model", "state", "charged", "here")]
    unknown = 0
    for charge in charges:
        job = journal.find(charge.request_id)
        known = "known" if job is not None or charge.request_id in calls else "not known"
        unknown += known != "known" and bool(charge.cost)
        about = (charge.at, charge.request_id, charge.model, charge.status.lower())
        rows.append((*map(one_line, about), _cost(charge.cost), known))
    total = sum(charge.cost or 0.0 for charge in charges)
    notes = [
        f"${total:.4f} for {len(charges):,} of the newest. Segmind keeps what was sent with them."
    ]
    if unknown:
        notes.append(
            f"{unknown} charged without a reply that this machine knows: sent elsewhere with this "
            "key, or a call whose outcome was unknown."
        )
    return Shown(table_bundle(rows, *notes, left=(0, 1, 2, 3, 5)))


def table(calls: Sequence[AnsweredCall]) -> pandas.DataFrame | list[dict[str, Any]]:
    """Make a frame of the calls, a row each; a list of dicts where pandas is not there."""
    rows: list[dict[str, Any]] = []
    for call in calls:
        when, count = datetime.datetime.fromtimestamp(round(call.answered_at)), call.usage
        tokens = {"tokens_in": count.input_tokens, "tokens_out": count.output_tokens}
        took = {"cost": call.cost, "seconds": call.seconds, "simulated": call.simulated}
        rows.append({"when": when, "model": call.model, **tokens, **took})
    try:
        import pandas
    except ModuleNotFoundError:
        return rows
    return pandas.DataFrame(rows).convert_dtypes()


def _cost(cost: float | None) -> str:
    return "not told" if cost is None else f"{cost:.4f}"
