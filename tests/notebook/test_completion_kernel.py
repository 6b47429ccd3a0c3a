"""Tab through the kernel's own `complete_request`, as a front end sends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.kernel


@pytest.fixture
def tab(kernel: Any) -> Callable[[str], list[str]]:
    """Press Tab where `|` stands, and give the cells that the offers would make."""

    def press(cell: str) -> list[str]:
        offset = cell.index("|")
        code = cell.replace("|", "", 1)
        content = kernel.reply(kernel.client.complete(code, offset), timeout_s=60)
        assert content["status"] == "ok"
        start, end = content["cursor_start"], content["cursor_end"]
        return [code[:start] + match + code[end:] for match in content["matches"]]

    return press


@pytest.mark.parametrize("use_jedi", [True, False])
def test_a_kernel_completes_options_slugs_names_and_braces(kernel, tab, use_jedi):
    """The whole cell and the cursor in code points go in, what is right there comes back."""
    kernel.run(f"%config IPCompleter.use_jedi = {use_jedi}")
    kernel.run("import pandas as pd\ndf = pd.DataFrame({'co2': [1], 'year': [2]}); fig = 1")
    assert tab("%%claude --mo|\nHi") == ["%%claude --model\nHi"]
    assert tab("%%claude -m claude-3-o|\nHi") == ["%%claude -m claude-3-opus\nHi"]
    assert tab("%%claude -i f|\nHi") == ["%%claude -i fig\nHi"]
    assert tab("%%claude -c\nWhät\nünïcode 🎉\n\ndoes {f|} show?") == [
        "%%claude -c\nWhät\nünïcode 🎉\n\ndoes {fig} show?"
    ]
    assert tab("%%claude\n🎉 {df['|']}") == [
        "%%claude\n🎉 {df['co2']}",
        "%%claude\n🎉 {df['year']}",
    ]
    assert tab("%%claude\nWhat does pri|") == []
    assert tab("answer = %claude What is in {f|") == ["answer = %claude What is in {fig"]
    assert tab("%segmind simu|") == ["%segmind simulator"]
    assert any(cell.startswith("print") for cell in tab("pri|"))


def test_offers_say_what_they_are(kernel):
    """Front ends show the type beside the name."""
    kernel.run("numbers = [1, 2]")
    content = kernel.reply(kernel.client.complete("%%claude\n{num", 13), timeout_s=60)
    (offer,) = content["metadata"]["_jupyter_types_experimental"]
    assert (offer["text"], offer["type"]) == ("numbers", "list")


def test_an_unloaded_extension_completes_no_more(kernel, tab):
    """The kernel answers as it did before."""
    kernel.run("df = 1")
    assert tab("%%claude\n{d|") == ["%%claude\n{df"]
    kernel.run("%unload_ext segmind_jupyter")
    assert "%%claude\n{dict" in tab("%%claude\n{d|")


def test_completing_takes_place_while_a_job_goes_on(kernel, tab):
    """Ids come from the journal, with no request."""
    kernel.run("%segmind simulator")
    kernel.run("%%claude -j -o job\nHi")
    request_id = kernel.run("job.request_id").text.strip("'")
    assert tab("%segmind wait |") == [f"%segmind wait {request_id}"]
