"""Jobs in real kernels, over a gateway that takes its time: what a person does with them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from scripted import Gateway

from segmind_jupyter.session import session
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

KEY = "sk-live-0123456789abcdef"


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Gateway]:
    """A served gateway whose jobs take two seconds; kernels are led to it by the environment."""
    gateway = Gateway(Behaviour(queue_s=0.5, work_s=1.5))
    with serve(gateway) as url:
        monkeypatch.setenv("SEGMIND_API_KEY", KEY)
        monkeypatch.setenv("SEGMIND_BASE_URL", url)
        monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path / "journal"))
        yield gateway


@pytest.fixture
def loaded(start: Callable[[], Any], gateway: Gateway) -> Any:
    """Start kernels with the extension, on the gateway's address, which is set last."""

    def load() -> Any:
        kernel = start()
        assert kernel.run("%load_ext segmind_jupyter").status == "ok"
        return kernel

    return load


def posts(gateway: Gateway) -> int:
    return sum(entry.method == "POST" for entry in tuple(gateway.log))


def executed(*cells: str) -> Any:
    """Run a notebook as `nbconvert --execute` does."""
    code = [nbformat.v4.new_code_cell(cell) for cell in ("%load_ext segmind_jupyter", *cells)]
    notebook = nbformat.v4.new_notebook(cells=code)
    NotebookClient(notebook, timeout=120).execute()
    return notebook


def shown(cell: Any) -> str:
    """All that a cell of a saved notebook shows."""
    return json.dumps([output.get("data", output) for output in cell.outputs])


@pytest.mark.kernel
class TestInANotebook:
    """Somebody looks on."""

    def test_a_killed_kernel_costs_no_reply(self, loaded, gateway):
        """The next one resumes the job by its id and sends nothing; the one after asks nothing."""
        kernel = loaded()
        kernel.run("%%claude -j -q -o job\necho: Paid for.")
        request_id = kernel.run("print(job.request_id)").text.strip()
        kernel.manager.shutdown_kernel(now=True)
        following = loaded()
        assert request_id in following.run("%segmind jobs").text
        code = f"from segmind_jupyter import resume\nprint(resume('{request_id}').wait().text)"
        assert following.run(code).text == "Paid for.\n"
        assert posts(gateway) == gateway.billed == 1
        following.manager.shutdown_kernel(now=True)
        asked = len(gateway.log)
        last = loaded()
        page = last.page(f"%segmind resume {request_id}")
        assert "Paid for." in json.dumps(page.of("display_data"))
        assert len(gateway.log) == asked
        assert "completed, reply kept" in last.run("%segmind jobs").text

    def test_the_key_is_in_no_message_and_in_no_file(self, loaded, tmp_path):
        """Neither on the page nor in the journal; the prompt is not in the journal either."""
        kernel = loaded()
        page = kernel.page("%%claude -j -o job\nWhat of the zebrafinch?")
        page += kernel.page("job.wait()")
        page += kernel.page("%segmind jobs")
        assert KEY not in json.dumps(page, default=str)
        files = b"".join(p.read_bytes() for p in (tmp_path / "journal").iterdir())
        assert KEY.encode() not in files
        assert b"zebrafinch" not in files


@pytest.mark.kernel
class TestWhereNobodyLooksOn:
    """nbconvert, papermill: the file is all there will be."""

    def test_a_job_cell_ends_with_its_reply(self, gateway):
        """Also the last one, after which the kernel is stopped."""
        notebook = executed("%%claude -j\nfail: no image", "%%claude -j\necho: In the **file**.")
        assert "no image" in shown(notebook.cells[-2])
        assert "<strong>file</strong>" in shown(notebook.cells[-1])
        assert "queued" not in shown(notebook.cells[-1])

    def test_jobs_run_side_by_side_if_the_last_cell_waits(self, gateway):
        """With `wait_for_jobs = "never"`, no cell but `%segmind wait` does."""
        notebook = executed(
            "%config ClaudeMagics.wait_for_jobs = 'never'",
            "%%claude -j -o one\necho: First.",
            "%%claude -j -o two\necho: Second.",
            "one.done(), two.done()",
            "%segmind wait",
        )
        assert "(False, False)" in shown(notebook.cells[4])
        assert "First." in shown(notebook.cells[2])
        assert "Second." in shown(notebook.cells[3])


#: Asks two things of which the first fails, with what `ask_each` takes in the end.
BATCH = (
    "from segmind_jupyter import ask_each\n"
    "batch = ask_each('{item}', ['fail: no such image', 'echo: fine'], on_error='%s')"
)


@pytest.mark.kernel
class TestFailuresWhereNobodyLooksOn:
    """A run is to end red where something failed, as no person sees what a cell shows."""

    def test_a_wait_raises_what_an_earlier_cell_has_shown(self, gateway):
        """That cell has waited already, so that nothing is under way any more."""
        with pytest.raises(CellExecutionError, match=r"segmind wait[\s\S]*no such image"):
            executed(BATCH % "raise", "%segmind wait", "raise SystemExit('it went on')")


def test_a_terminal_prints_a_line_and_the_reply_when_waited_for(run, gateway):
    """Nothing there can change what was printed."""
    cell = run("%%claude --job\necho: In a terminal.")
    assert "`%segmind wait` shows its reply" in cell.shown
    waited = run("%segmind wait")
    assert waited.error is None
    assert "In a terminal." in waited.shown
    assert "Nothing is under way" in run("%segmind wait").shown


def test_jobs_are_listed_with_what_is_known_of_them(run, gateway):
    """Those of this kernel by their live state; elsewhere an id means nothing, and is not asked."""
    assert "No jobs are known" in run("%segmind jobs").shown
    run("%%claude -j -q -o job\necho: <b>One.")
    shown = run("%segmind jobs").displayed[0].data
    head, row = shown["text/plain"].splitlines()
    assert head.split() == ["asked", "model", "state", "age", "id", "name"]
    request_id = run("job.request_id").result
    for words in ("echo: <b>One.", "claude-4-sonnet", "127.0.0.1", f"  {request_id}  job"):
        assert words in row
    for words in ("echo: &lt;b&gt;One.", ">job<", f">{request_id[:8]}<", "127.0.0.1", "○"):
        assert words in shown["text/html"], words
    assert re.search(r';white-space:nowrap">\d+ s<', shown["text/html"])  # on a narrow page too
    run("job.wait()")
    assert "completed, reply kept" in run("%segmind jobs").shown
    run("%%claude -j -q -o job\necho: Two.")
    request_id = run("job.cancel(); job.request_id").result
    run("%segmind simulator")
    cell = run(f"%segmind resume {request_id}")
    assert "was sent to http://127.0.0.1" in str(cell.error)


def test_the_jobs_of_a_batch_are_one_row(run, gateway):
    """Each can be taken up by its id, and is counted once."""
    run("from segmind_jupyter import ask_each\nbatch = ask_each('echo: {item}', ['one', 'two'])")
    run("batch.wait()")
    request_id = run("batch.replies[0].request_id").result
    assert run(f"%segmind resume {request_id}").result.wait(timeout=30).text == "one"
    assert len(session().ledger.calls) == gateway.billed == 2
    run("%%claude -j -q -o job\necho: Another.")
    _, job, row = run("%segmind jobs").displayed[0].data["text/plain"].splitlines()
    assert "2 items: 2 completed, reply kept" in row
    assert (job.split()[-1], row.split()[-1]) == ("job", "batch")
