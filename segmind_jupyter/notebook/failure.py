"""An error as it is shown in the place of a reply: its name and its message, both as data."""

from __future__ import annotations

from segmind_jupyter.errors import JobCancelled
from segmind_jupyter.notebook.markdown import framed
from segmind_jupyter.notebook.palette import FRAME
from segmind_jupyter.notebook.wording import one_line, one_line_html


def failure_bundle(error: BaseException) -> dict[str, str]:
    """Give both sides of an error, as IPython's `display(..., raw=True)` takes them."""
    return {
        "text/html": framed(boxed(error, failure_html(error))),
        "text/plain": failure_text(error),
    }


def failure_html(error: BaseException) -> str:
    """Show an error as HTML that runs and fetches nothing, without a box."""
    return f"<strong>{one_line_html(type(error).__name__)}</strong>: {one_line_html(str(error))}"


def failure_text(error: BaseException) -> str:
    """Show an error on one line, as IPython shows those of this package."""
    return f"{type(error).__name__}: {one_line(str(error))}"


def boxed(error: BaseException, page: str) -> str:
    """Put finished HTML into the box of an error; what the user stopped is no alarm."""
    kind = "stopped" if isinstance(error, JobCancelled) else "failed"
    return f'<div style="{FRAME[kind]}">{page}</div>'
