"""What this package runs in: the front end, and the libraries that are there, missing, or too old.

Told from the kernel alone, and without importing anything: the page is not asked.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from segmind_jupyter import __version__
from segmind_jupyter.notebook.card import can_show
from segmind_jupyter.notebook.headless import is_headless

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
    """Find versions that do not show widgets together.

    Parameters
    ----------
    versions
        By package: ipykernel, ipywidgets, jupyterlab, jupyterlab_widgets; `None` where it is not
        in the kernel's environment, as when Jupyter runs in another one.
    """
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
