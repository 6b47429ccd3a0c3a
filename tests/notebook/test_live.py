"""When a live output is drawn, and what becomes of one that cannot be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.utils.capture import capture_output

from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.responses import Completed
from segmind_jupyter.notebook.live.cards import JobCard
from segmind_jupyter.notebook.live.outputs import LiveOutputs

#: As the oldest ipywidgets make their widgets outside of a kernel.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The `ipykernel.comm.Comm` class:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Deprecated in traitlets 4.1:DeprecationWarning"),
]

LONG_S = 60


class Sheet(JobCard):
    """A job's card, which fails where it is told to."""

    def __init__(self, name: str, *, fails: str = "") -> None:
        super().__init__(Job(name))
        self.name, self.fails = name, fails
        self.drawn = threading.Event()

    def now(self) -> tuple[str, str, str, str]:
        if self._place is not None:
            self.drawn.set()
            if self.fails == "redraw":
                raise LookupError("this thread has no cell")
        return super().now()

    def pending(self) -> dict[str, str]:
        return {"text/plain": f"{self.name} begins"}

    def ended(self) -> tuple[dict[str, str], dict[str, str]]:
        if self.fails == "end":
            raise ValueError("a view with a hole")
        return {"text/html": "", "text/plain": f"{self.name} ends"}, {"of": self.name}

    def finish(self) -> None:
        self.work.finish(Completed(), reply=Reply(text="x"))


@pytest.fixture
def live(bare_shell: Any) -> LiveOutputs:
    """Live outputs of a shell, without the extension."""
    return LiveOutputs(bare_shell)


@pytest.fixture
def followed(live: LiveOutputs, bare_shell: Any) -> Iterator[LiveOutputs]:
    """The same, following the shell's cells."""
    live.install()
    yield live
    live.remove()


def shown(outputs: list[Any]) -> list[str]:
    return [output.data["text/plain"] for output in outputs]


def join() -> None:
    """Wait until nothing is live."""
    for thread in threading.enumerate():
        if thread.name == "segmind-jupyter-live":
            thread.join(LONG_S)
            assert not thread.is_alive()


def test_one_thread_serves_all_and_ends_with_them(live):
    """It is there while anything is live, and no longer."""
    sheets = [Sheet(str(n)) for n in range(30)]
    with capture_output() as captured:
        for sheet in sheets:
            sheet.show(live)
        assert [t.name for t in threading.enumerate()].count("segmind-jupyter-live") == 1
        for sheet in sheets:
            sheet.finish()
        join()
        sheets[0].show(live)  # has ended already: no thread, no place that is replaced later
        join()
        (last := Sheet("last")).show(live)
        last.finish()
        join()
    *ends, again, begins, ended = shown(captured.outputs)[30:]
    assert sorted(ends) == sorted(f"{n} ends" for n in range(30))
    assert (again, begins, ended) == ("0 ends", "last begins", "last ends")


def test_a_view_that_cannot_be_drawn_still_ends_and_keeps_no_other(live, caplog):
    """As where a kernel takes nothing from a thread; the log says which way it failed."""
    deaf, broken, whole = (
        Sheet("deaf", fails="redraw"),
        Sheet("broken", fails="end"),
        Sheet("whole"),
    )
    with capture_output() as captured:
        for sheet in (deaf, broken, whole):
            sheet.show(live)
        assert deaf.drawn.wait(LONG_S)
        for sheet in (deaf, broken, whole):
            sheet.finish()
        join()
    assert {"deaf ends", "whole ends"} < set(shown(captured.outputs))
    assert "a view with a hole" in caplog.text


def test_a_cell_ends_with_what_ended_in_it(followed, bare_shell):
    """Whoever saves the page at the end of the cell has it: nothing is left to the thread."""
    sheet = Sheet("late")
    bare_shell.push({"live": followed, "sheet": sheet})
    with capture_output() as captured:
        bare_shell.run_cell("sheet.show(live); sheet.finish()")
        seen = shown(captured.outputs)
    assert seen == ["late begins", "late ends"]
    join()


def test_what_ended_between_cells_is_sent_again_by_the_next_one_alone(followed, bare_shell):
    """A program that runs a notebook listens only while a cell runs."""
    sheet = Sheet("unheard")
    with capture_output() as captured:
        sheet.show(followed)
        sheet.finish()
        join()
        bare_shell.run_cell("1;")
        bare_shell.run_cell("2;")
    assert shown(captured.outputs) == ["unheard begins", "unheard ends", "unheard ends"]
