"""`%segmind status`: what holds in this kernel, what is wrong, and the command that mends it.

Nothing is sent, and nothing that is looked at is changed.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from segmind_jupyter._version import __version__
from segmind_jupyter.api.settings import (
    DEFAULT_BASE_URL,
    DEFAULT_MODEL,
    KNOWN_MODELS,
    Settings,
    checked_slug,
)
from segmind_jupyter.content.prompt import readable_bytes
from segmind_jupyter.errors import MissingKeyError, SettingsError
from segmind_jupyter.notebook.display.styles import div, framed, one_line_html
from segmind_jupyter.notebook.display.tables import facts_html
from segmind_jupyter.notebook.live.wait import is_headless
from segmind_jupyter.session import session
from segmind_jupyter.words import aligned, did_you_mean, one_line

#: How long another kernel's lock on the journal may hold up the status.
_BUSY_S: Final = 0.2

#: What holds, by its name; or what is wrong, with the command that mends it in backquotes.
Findings: TypeAlias = Iterator[tuple[str, str]]
_WRONG: Final = "problem"


def status(shell: Any) -> dict[str, str]:
    """Return the status as HTML and as text: problems first, so that they stand out."""
    found = [each for check in _CHECKS for each in check(shell)]
    problems = [one_line(what) for name, what in found if name == _WRONG]
    facts = [(name, one_line(what)) for name, what in found if name != _WRONG]
    boxes = (div("failed", f"<b>problem:</b> {one_line_html(what)}") for what in problems)
    text = [f"problem: {what}" for what in problems] + ([""] if problems else [])
    return {
        "text/html": framed("".join(boxes) + facts_html(facts)),
        "text/plain": "\n".join([*text, aligned(facts)]),
    }


def connection(shell: Any) -> Findings:
    try:
        settings = session().settings()
    except SettingsError as error:
        yield _WRONG, str(error)
        yield "service", f"not known; `%env SEGMIND_BASE_URL={DEFAULT_BASE_URL}` sets Segmind's own"
        return
    if settings.simulated:
        yield "service", f"simulator (offline: no key, no bill; {way_out(settings)})"
        return
    yield "service", f"{settings.base_url} ({settings.sources['base_url']})"
    source = settings.sources["api_key"]
    if settings.api_key is None:
        yield "key", "missing"
        if session().options.cache != "only":  # which sends nothing
            yield _WRONG, str(MissingKeyError(settings.trouble))
    else:
        told = "set with `%segmind key`" if source == "set here" else f"set, from {source}"
        yield "key", told
    yield "auth", settings.auth


def way_out(settings: Settings) -> str:
    """Say what ends the simulator: the command, or the environment that chose it."""
    chosen_by = settings.sources["base_url"]
    if chosen_by == "set here":
        return "`%segmind simulator off` ends it"
    return f"{chosen_by} says so: `%env {chosen_by}={DEFAULT_BASE_URL}` ends it"


def model(shell: Any) -> Findings:
    slug = session().options.model
    try:
        checked_slug(slug)
    except SettingsError as error:
        yield _WRONG, f"{error} `%config ClaudeMagics.model = {DEFAULT_MODEL!r}` mends it."
        return
    yield "model", slug if slug in KNOWN_MODELS else f"{slug}{did_you_mean(slug, KNOWN_MODELS)}"


def journal(shell: Any) -> Findings:
    from segmind_jupyter.api.journal import why_unusable

    path = session().journal.path
    if path is None:
        yield "journal", "in memory alone (`%config ClaudeMagics.journal = True` keeps it)"
        return
    size = readable_bytes(path.stat().st_size) if path.is_file() else "no file yet"
    yield "journal", f"{path} ({size})"
    trouble = why_unusable(path, busy_s=_BUSY_S) if path.exists() else None
    if trouble:
        without = "`%config ClaudeMagics.journal = False` does without a file at once."
        yield _WRONG, f"{trouble} {without}"


def work(shell: Any) -> Findings:
    count = len(session().pending)
    yield "jobs", f"{count} under way (`%segmind jobs`)" if count else "none under way"
    yield "cache", f"{session().options.cache} (`%segmind cache` has more)"


def front_end(shell: Any) -> Findings:
    if getattr(shell, "kernel", None) is None:
        yield "front end", "a terminal: jobs and chats show as text"
    else:
        yield "front end", "headless, widgets" if is_headless(shell) else "widgets"


def versions(shell: Any) -> Findings:
    found = [f"segmind_jupyter {__version__}", f"Python {platform.python_version()}"]
    found += [
        f"{name} {sys.modules[name].__version__}"
        for name in ("IPython", "ipykernel")
        if name in sys.modules
    ]
    yield "versions", ", ".join(found)


#: In the order in which the facts are shown.
_CHECKS: Final[tuple[Callable[[Any], Findings], ...]] = (
    connection, model, journal, work, front_end, versions,
)  # fmt: skip
