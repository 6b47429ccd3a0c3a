"""A real IPython shell with the extension loaded, talking to a loopback server."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from segmind_jupyter.asking import _only_service, service

KEY = "sk-live-0123456789abcdef"


@dataclass
class Cell:
    """What one cell gave."""

    result: Any
    error: BaseException | None
    stdout: str
    stderr: str
    displayed: list[Any]

    @property
    def shown(self) -> str:
        """Everything that the cell put on the page, as text."""
        data = "\n".join(text for output in self.displayed for text in output.data.values())
        return self.stdout + self.stderr + data


@pytest.fixture(scope="module")
def bare_shell() -> Iterator[InteractiveShell]:
    """One real shell for a module's tests, as starting one takes its time."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.colors = "nocolor"
    yield shell
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(bare_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    """The shell with the extension loaded and an empty namespace."""
    bare_shell.run_line_magic("reset", "-f")
    bare_shell.run_line_magic("load_ext", "segmind_jupyter")
    yield bare_shell
    bare_shell.run_line_magic("unload_ext", "segmind_jupyter")
    bare_shell.config.pop("ClaudeMagics", None)
    service().close()
    _only_service.cache_clear()


@pytest.fixture
def run(shell: InteractiveShell) -> Callable[[str], Cell]:
    """Run a cell as a person would, and collect all that comes of it."""

    def run_cell(code: str) -> Cell:
        with capture_output() as captured:
            done = shell.run_cell(code, store_history=True)
        error = done.error_before_exec or done.error_in_exec
        return Cell(done.result, error, captured.stdout, captured.stderr, captured.outputs)

    return run_cell


@pytest.fixture
def online(recorder: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A key and a base URL in the environment, and the server behind it."""
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("SEGMIND_BASE_URL", recorder.url)
    return recorder
