"""`%segmind status`: what holds in this kernel, what is wrong, and the command that mends it.

Nothing is sent, and nothing that is looked at is changed.
"""

from __future__ import annotations

import html
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from segmind_jupyter._version import __version__
from segmind_jupyter.api.settings import (
    DEFAULT_BASE_URL,
    DEFAULT_MODEL,
    KNOWN_MODELS,
    Settings,
    checked_slug,
    nearest_model,
    resolve,
)
from segmind_jupyter.content.prompt import readable_bytes
from segmind_jupyter.errors import MissingKeyError, SettingsError
from segmind_jupyter.notebook.display.styles import ELEMENTS, FRAME
from segmind_jupyter.notebook.display.text import aligned, one_line, one_line_html
from segmind_jupyter.notebook.live.cards import can_show
from segmind_jupyter.notebook.live.headless import is_headless
from segmind_jupyter.session import session

#: What makes pixels of the charts of a library: the renderer's module, and how it is installed.
_RENDERERS: Final = {
    "plotly": ("kaleido", "kaleido"),
    "altair": ("vl_convert", "vl-convert-python"),
}

#: The parts of Jupyter whose versions must fit together for widgets to show.
_WIDGET_PARTS: Final = ("ipykernel", "ipywidgets", "jupyterlab", "jupyterlab_widgets")


def front_end(shell: Any) -> str:
    """Say who looks on, and how live things show there."""
    if getattr(shell, "kernel", None) is None:
        return "a terminal: jobs and chats show as text"
    if not can_show(shell):
        return "a kernel without ipywidgets: jobs and chats show as text"
    widgets = f"widgets (ipywidgets {_version('ipywidgets')})"
    return f"headless, {widgets}" if is_headless(shell) else widgets


def widget_problems(shell: Any) -> Iterator[str]:
    """Say why cards and chats would not show, as far as a kernel can tell."""
    if getattr(shell, "kernel", None) is None:
        return
    if not can_show(shell):
        yield (
            "ipywidgets is not there, so jobs and chats show as text. `%pip install ipywidgets`, "
            "then restart the kernel and reload the page."
        )
        return
    yield from misfits({part: _version(part) for part in _WIDGET_PARTS})


def misfits(versions: Mapping[str, str | None]) -> Iterator[str]:
    """Find versions that do not show widgets together."""
    lab, manager = versions["jupyterlab"], versions["jupyterlab_widgets"]
    if lab is not None and manager is None:
        yield (
            "JupyterLab has no widget manager here, so that cards and chats do not show. "
            "`%pip install jupyterlab_widgets`, then restart JupyterLab."
        )
    # The manager of ipywidgets 8 and of JupyterLab 4 is jupyterlab_widgets 3.
    modern = _major(lab) >= 4 or _major(versions["ipywidgets"]) >= 8
    if manager is not None and modern and _major(manager) < 3:
        yield (
            f"jupyterlab_widgets {manager} does not fit ipywidgets {versions['ipywidgets']} in "
            f"JupyterLab {lab or 'of another environment'}, so that cards and chats do not show. "
            "`%pip install -U jupyterlab_widgets ipywidgets`, then restart JupyterLab."
        )
    if versions["ipykernel"] == "7.0.0":
        yield (
            "ipykernel 7.0.0 refuses what other threads show, so that cards stand still. "
            "`%pip install -U ipykernel`, then restart the kernel."
        )


def missing_renderers() -> Iterator[str]:
    """Say which charts of the libraries in use could not be sent."""
    for library, (module, package) in _RENDERERS.items():
        if library in sys.modules and not _is_there(module):
            yield (
                f"{library} is loaded, and {package}, which makes pictures of its charts, is not "
                f"there. `%pip install -U {package}`"
            )


def versions() -> str:
    """List the versions that a report of a bug needs."""
    import platform

    parts = [f"segmind_jupyter {__version__}", f"Python {platform.python_version()}"]
    libraries = {"ipython": "IPython", "ipykernel": "ipykernel"}
    found = [(name, _version(package)) for package, name in libraries.items()]
    return ", ".join([*parts, *(f"{name} {version}" for name, version in found if version)])


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # it is loaded, and was made by hand
        return True


def _version(package: str) -> str | None:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _major(version: str | None) -> int:
    first = (version or "").partition(".")[0]
    return int(first) if first.isdigit() else 0


_KEY: Final = "SEGMIND_API_KEY"
_URL: Final = "SEGMIND_BASE_URL"

#: What mends a variable of the environment, beyond what its own error says.
_MENDS: Final = {_KEY: "", _URL: f" `%env {_URL}={DEFAULT_BASE_URL}` sets it for this kernel."}

_ALIVE: Final = "your asyncio tasks run on"
_STILL: Final = (
    "your asyncio tasks stand still (`%config ClaudeMagics.keep_loop_alive = True` lets them run)"
)

#: How long another kernel's lock on the journal may hold up the status.
_BUSY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that holds."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, in a sentence, with the command that mends it in backquotes."""

    what: str


Findings = Iterator[Fact | Problem]


def status(shell: Any) -> dict[str, str]:
    """Return the status as HTML and as text: problems first, so that they stand out."""
    found = [each for check in _CHECKS for each in check(shell)]
    facts = [each for each in found if isinstance(each, Fact)]
    problems = [each for each in found if isinstance(each, Problem)]
    return {"text/html": _html(facts, problems), "text/plain": _text(facts, problems)}


def _text(facts: list[Fact], problems: list[Problem]) -> str:
    lines = [f"problem: {one_line(problem.what)}" for problem in problems]
    gap = [""] * bool(lines)
    rows = [(fact.name, one_line(fact.value)) for fact in facts]
    return "\n".join([*lines, *gap, aligned(rows)])


def _html(facts: list[Fact], problems: list[Problem]) -> str:
    boxes = "".join(
        f'<div style="{FRAME["failed"]}"><b>problem:</b> {one_line_html(problem.what)}</div>'
        for problem in problems
    )
    rows = "".join(
        f'<tr style="{ELEMENTS["tr"]}"><th style="{FRAME["fact"]}">{html.escape(fact.name)}</th>'
        f'<td style="{FRAME["value"]}">{one_line_html(fact.value)}</td></tr>'
        for fact in facts
    )
    table = f'<table style="{ELEMENTS["table"]}">{rows}</table>'
    return f'<div class="mathjax_ignore" style="{FRAME["reply"]}">{boxes}{table}</div>'


def way_out(settings: Settings) -> str:
    """Say what ends the simulator: the command, or the environment that chose it."""
    chosen_by = settings.sources["base_url"]
    if chosen_by == "set here":
        return "`%segmind simulator off` ends it"
    return f"{chosen_by} says so: `%env {chosen_by}={DEFAULT_BASE_URL}` ends it"


def _connection(shell: Any) -> Findings:
    try:
        settings = session().settings()
    except SettingsError as error:
        yield from _unusable(error)
        return
    if settings.simulated:
        yield Fact("service", f"simulator (offline: no key, no bill; {way_out(settings)})")
        return
    yield Fact("service", f"{settings.base_url} ({settings.sources['base_url']})")
    yield from _key(settings)
    yield Fact("auth", settings.auth)


def _unusable(error: SettingsError) -> Findings:
    """Find all that is wrong in the environment: the error names one, and there may be two."""
    found = 0
    for name, mend in _MENDS.items():
        try:
            resolve(environ={name: os.environ.get(name, "")})
        except SettingsError as wrong:
            found += 1
            yield Problem(f"{wrong}{mend}")
    if not found:
        yield Problem(str(error))


def _key(settings: Settings) -> Findings:
    source = settings.sources["api_key"]
    if settings.api_key is None:
        yield Fact("key", "missing")
        if session().options.cache != "only":  # which sends nothing
            yield Problem(str(MissingKeyError()))
        return
    yield Fact("key", "set with `%segmind key`" if source == "set here" else f"set, from {source}")
    # Never in a local name, which `%xmode Verbose` would print.
    if source == _KEY and os.environ.get(_KEY, "").strip()[:1] in {"'", '"'}:
        yield Problem(
            f"{_KEY} begins with a quotation mark, which would be sent as a part of the key. Run "
            "`%segmind key` and paste the key without it."
        )


def _model(shell: Any) -> Findings:
    slug = session().options.model
    try:
        checked_slug(slug)
    except SettingsError as error:
        yield Problem(f"{error} `%config ClaudeMagics.model = {DEFAULT_MODEL!r}` mends it.")
        return
    near = "" if slug in KNOWN_MODELS else nearest_model(slug)
    yield Fact("model", slug + (f" (not a known one; did you mean `{near}`?)" if near else ""))


def _journal(shell: Any) -> Findings:
    path = session().journal.path
    if path is None:
        yield Fact("journal", "in memory alone (`%config ClaudeMagics.journal = True` keeps it)")
        return
    yield Fact("journal", f"{path} ({_size(path)})")
    trouble = _trouble(path)
    if trouble:
        yield Problem(
            f"{trouble} `%config ClaudeMagics.journal = False` does without a file at once."
        )


def _size(path: Path) -> str:
    try:
        return readable_bytes(path.stat().st_size)
    except OSError:
        return "no file yet"


def _trouble(path: Path) -> str | None:
    """Say why the journal cannot be written; one that is not there yet is not made for it."""
    from segmind_jupyter.api.journal import why_unusable

    if path.exists():
        return why_unusable(path, busy_s=_BUSY_S)
    folder = next((each for each in path.parents if each.exists()), path.parent)
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return None
    return (
        f"The journal of jobs {path} cannot be used: nothing can be made in {folder}. Make it a "
        "folder that can be used, or set SEGMIND_JUPYTER_STATE to another one."
    )


def _jobs(shell: Any) -> Findings:
    count = len(session().pending)
    yield Fact("jobs", f"{count} under way (`%segmind jobs`)" if count else "none under way")


def _cache(shell: Any) -> Findings:
    yield Fact("cache", f"{session().options.cache} (`%segmind cache` has more)")


def _loop(shell: Any) -> Findings:
    magics = shell.magics_manager.registry.get("ClaudeMagics")
    alive = getattr(magics, "keep_loop_alive", False)
    yield Fact("while waiting", _ALIVE if alive else _STILL)


def _front_end(shell: Any) -> Findings:
    yield Fact("front end", front_end(shell))
    yield from map(Problem, widget_problems(shell))


def _libraries(shell: Any) -> Findings:
    yield from map(Problem, missing_renderers())
    yield Fact("versions", versions())


#: In the order in which the facts are shown.
_CHECKS: Final[tuple[Callable[[Any], Findings], ...]] = (
    _connection, _model, _journal, _jobs, _cache, _loop, _front_end, _libraries,
)  # fmt: skip
