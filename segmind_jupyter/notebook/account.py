"""`%segmind`: what is set, what is left, what was used, and which models there are."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from IPython.core.error import StdinNotImplementedError, UsageError
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

from segmind_jupyter import __version__
from segmind_jupyter.api.models import KNOWN_MODELS
from segmind_jupyter.api.settings import DEFAULT_BASE_URL, Settings
from segmind_jupyter.api.usage import Totals, total
from segmind_jupyter.asking import service
from segmind_jupyter.errors import Interrupted, SegmindError, SettingsError
from segmind_jupyter.notebook import chatlist, joblist
from segmind_jupyter.notebook.columns import aligned

if TYPE_CHECKING:
    from segmind_jupyter.api.jobs import Job


@magics_class
class SegmindMagics(Magics):
    """The `%segmind` command."""

    @no_var_expand
    @line_magic
    def segmind(self, line: str) -> Job | None:
        """Look after the account, the jobs, the chats and the settings of this kernel.

        ::

            %segmind                  what is set, and from where (the same as %segmind status)
            %segmind key              type in the API key; it stays in this kernel's memory
            %segmind credits          what is left on the account
            %segmind usage            tokens, cost and calls of this kernel, by model
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
        """
        command, *rest = line.split() or ["status"]
        if command not in _COMMANDS:
            raise UsageError(
                f"%segmind has no `{command}`, only {', '.join(_COMMANDS)} (%segmind? has more)"
            )
        try:
            said = _COMMANDS[command](rest)
        except Interrupted:
            raise  # a job's, which says more
        except KeyboardInterrupt:
            raise Interrupted("Nothing was changed, and nothing was billed.") from None
        if isinstance(said, str):
            said = {"text/plain": said}
        if not isinstance(said, dict):
            return said
        display(said, raw=True)
        return None


def _status(rest: Sequence[str]) -> str:
    _no_more(rest, "status")
    desk = service()
    try:
        rows = _settings_rows(desk.settings())
    except SegmindError as error:
        rows = [("problem", str(error))]
    rows += [("model", desk.options.model), ("version", f"segmind_jupyter {__version__}")]
    return aligned(rows)


def _settings_rows(settings: Settings) -> list[tuple[str, str]]:
    if settings.simulated:
        return [("service", f"simulator (offline: no key, no bill; {_way_out(settings)})")]
    source = settings.sources["api_key"]
    key = "missing: run %segmind key, or set SEGMIND_API_KEY"
    if settings.api_key is not None:
        key = "set with %segmind key" if source == "set here" else f"set, from {source}"
    return [
        ("service", f"{settings.base_url} ({settings.sources['base_url']})"),
        ("key", key),
        ("auth", settings.auth),
    ]


def _way_out(settings: Settings) -> str:
    """Say what ends the simulator: the command, or the environment that chose it."""
    chosen_by = settings.sources["base_url"]
    if chosen_by == "set here":
        return "%segmind simulator off ends it"
    return f"{chosen_by} says so: `%env {chosen_by}={DEFAULT_BASE_URL}` ends it"


def _key(rest: Sequence[str]) -> str:
    if rest:
        # What stands on the line is saved in the notebook and in IPython's history.
        raise UsageError(
            "Run `%segmind key` alone; it asks for the key, so that the notebook does not hold it. "
            "If that was a real key, delete this cell and renew the key"
        )
    try:
        service().use_key(getpass.getpass("Segmind API key: "))
    except StdinNotImplementedError:
        raise SettingsError(
            "This front end cannot ask for a key. Set SEGMIND_API_KEY before the kernel starts."
        ) from None
    done = "The key is set for this kernel; it is not saved."
    settings = service().settings()
    if settings.simulated:
        return f"{done} Replies still come from the simulator; {_way_out(settings)}."
    return done


def _credits(rest: Sequence[str]) -> str:
    _no_more(rest, "credits")
    left = service().credits()
    return (
        f"{left.total:.4f} credits left ({left.credits:.4f} bought, {left.free_credits:.4f} free)"
    )


def _usage(rest: Sequence[str]) -> str:
    _no_more(rest, "usage")
    ledger = service().ledger
    models = ledger.by_model()
    if not models:
        return _with_unknown("No answered calls yet in this kernel.", ledger.unknown)
    rows = [_USAGE_HEAD, *(_usage_row(name, sums) for name, sums in models.items())]
    if len(models) > 1:
        rows.append(_usage_row("all", total(ledger.calls)))
    return _with_unknown(aligned(rows, right=True), ledger.unknown)


def _with_unknown(text: str, unknown: int) -> str:
    if not unknown:
        return text
    calls = "1 call" if unknown == 1 else f"{unknown} calls"
    return f"{text}\n{calls} with an unknown outcome, which may have been billed too."


_USAGE_HEAD = ("model", "calls", "tokens in", "tokens out", "credits")


def _usage_row(name: str, sums: Totals) -> tuple[str, ...]:
    cost = "not told" if sums.cost is None else f"{sums.cost:.4f}"
    return (name, f"{sums.calls:,}", f"{sums.input_tokens:,}", f"{sums.output_tokens:,}", cost)


def _models(rest: Sequence[str]) -> str:
    _no_more(rest, "models")
    default = service().options.model
    marked = [
        f"{slug}{' (used when -m is not given)' * (slug == default)}" for slug in KNOWN_MODELS
    ]
    return "\n".join([*marked, "Any other slug of a Claude model works too: -m SLUG"])


def _simulator(rest: Sequence[str]) -> str:
    if list(rest) not in ([], ["on"], ["off"]):
        raise UsageError("It is `%segmind simulator` or `%segmind simulator off`")
    on = list(rest) != ["off"]
    service().use_simulator(on)
    if on:
        return "Replies now come from the simulator: no model, no key, no network, no bill."
    settings = service().settings()
    if settings.simulated:
        return f"Replies still come from the simulator; {_way_out(settings)}."
    return f"Replies now come from {settings.base_url}."


def _no_more(rest: Sequence[str], command: str) -> None:
    if rest:
        raise UsageError(f"`%segmind {command}` takes nothing more, not `{' '.join(rest)}`")


#: Each gives what is to be said, as text or by mimetype, or a job to be shown.
_COMMANDS: dict[str, Callable[[Sequence[str]], str | dict[str, str] | Job]] = {
    "status": _status,
    "key": _key,
    "credits": _credits,
    "usage": _usage,
    "models": _models,
    "simulator": _simulator,
    "jobs": joblist.jobs,
    "resume": joblist.resume,
    "wait": joblist.wait,
    "chat": chatlist.chat,
}
