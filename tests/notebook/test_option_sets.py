"""Several options of `%%claude` at once: whatever they are, a cell asks once, or says why not."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.error import UsageError

from segmind_jupyter.errors import SegmindError
from segmind_jupyter.session import session

OPTIONS = [
    "--plot", "--plot 2", "--error", "-i df", "-i fig", "--json", "--json Point", "--code",
    "--cache", "--no-cache", "-o x", "-q", "-j", "-c", "--chat review", "--dry-run", "--raw",
    "-s 'Be brief.'", "--max-tokens 5", "-t 0.5", "--param top_p=0.5", "-m claude-3-haiku",
    "--timeout 20",
]  # fmt: skip

REPLIES = ['{"x": 1}', "prose", "```python\nx = 1\n```\n{}", "```python\n!echo\n%pwd\n```", ""]

SETUP = """
import matplotlib
matplotlib.use("agg")
import io
from dataclasses import dataclass
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Image, display
@dataclass
class Point:
    x: int
df = pd.DataFrame({"a": [1, 2]})
fig = plt.figure()
png = io.BytesIO()
fig.savefig(png)
plt.close(fig)
"""


@pytest.fixture
def notebook(shell, run, online):
    """A notebook with variables, two plots on its page, and an error."""
    run(SETUP)
    shell.run_cell("for _ in range(2): display(Image(png.getvalue()))")  # `run` keeps it to itself
    run("%config ClaudeMagics.wait_for_jobs = 'never'")
    run("1/0")
    return online


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    options=st.lists(st.sampled_from(OPTIONS), max_size=7, unique_by=lambda text: text.split()[0]),
    reply=st.sampled_from(REPLIES),
    words=st.sampled_from(["What is {df}, and {nothing}?", "What?;", ""]),
    form=st.sampled_from(["%claude {0} -- {1}", "%%claude {0}\n{1}"]),
)
def test_any_set_of_options_asks_once_or_says_why_not(run, notebook, options, reply, words, form):
    """No other error than those that show as one sentence, and nothing is sent twice."""
    queued = "-j" in options
    before = len(notebook.posts)
    notebook.answers.clear()
    if queued:
        notebook.will_answer(200, {"request_id": f"job-{before}", "status": "QUEUED"})
    else:
        notebook.will_say(reply)
    error = run(form.format(" ".join(options), words)).error
    for job in session().pending:
        job.cancel()
    assert error is None or isinstance(error, SegmindError) or type(error) is UsageError
    asked = len(notebook.posts) - before
    assert asked <= (0 if "--dry-run" in options or type(error) is UsageError else 1)
