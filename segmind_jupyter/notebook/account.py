"""`%segmind`: what is set, what is left, what was used, and which models there are."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython.core.error import StdinNotImplementedError, UsageError
from IPython.core.getipython import get_ipython
from IPython.core.magic import Magics, line_magic, magics_class, no_var_expand
from IPython.display import display

from segmind_jupyter.api.models import KNOWN_MODELS
from segmind_jupyter.asking import service
from segmind_jupyter.errors import Interrupted, SettingsError
from segmind_jupyter.notebook import cachelist, chatlist, joblist, status, usagechart
from segmind_jupyter.notebook.hush import is_whole_statement
from segmind_jupyter.notebook.wording import meant

if TYPE_CHECKING:
    from segmind_jupyter.api.jobs import Job


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
                f"%segmind has no `{command}`{meant(command, _COMMANDS)}; it has "
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
            usagechart.shown_already(said.value, self.shell)
        if not silent:
            display(said.bundle, raw=True)
        return said.value


def subcommands() -> tuple[str, ...]:
    """Give the words that may stand behind `%segmind`."""
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
        service().use_key(getpass.getpass("Segmind API key: "))
    except StdinNotImplementedError:
        raise SettingsError(
            "This front end cannot ask for a key. Set SEGMIND_API_KEY before the kernel starts."
        ) from None
    done = "The key is set for this kernel; it is not saved."
    settings = service().settings()
    if settings.simulated:
        return f"{done} Replies still come from the simulator; {status.way_out(settings)}."
    return done


def _credits(rest: Sequence[str]) -> str:
    _no_more(rest, "credits")
    left = service().credits()
    return (
        f"{left.total:.4f} credits left ({left.credits:.4f} bought, {left.free_credits:.4f} free)"
    )


def _usage(rest: Sequence[str]) -> Shown:
    _no_more(rest, "usage")
    ledger = service().ledger
    return Shown(usagechart.usage(ledger), usagechart.table(ledger.calls))


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
    "jobs": joblist.jobs,
    "resume": joblist.resume,
    "wait": joblist.wait,
    "chat": chatlist.chat,
    "cache": cachelist.cache,
}
