"""`--plot` in real kernels: what is sent is what the page was shown, byte for byte."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

INLINE = "%matplotlib inline\nimport matplotlib.pyplot as plt"


@pytest.fixture
def kernel(shared_kernel: Any) -> Any:
    """One kernel serves all tests of this module."""
    return shared_kernel


def ok(kernel: Any, *cells: str) -> Any:
    """Run cells that are to work, and give the output of the last."""
    for code in cells:
        output = kernel.run(code)
        assert output.status == "ok", output.text
    return output


def shown(bundles: Iterable[dict[str, Any]], mime: str = "image/png") -> list[bytes]:
    """The images that a page was sent."""
    return [base64.b64decode(bundle[mime]) for bundle in bundles if mime in bundle]


def sent(recorder: Any) -> list[bytes]:
    """The images of the last request."""
    blocks = recorder.posts[-1].blocks
    return [base64.b64decode(b["source"]["data"]) for b in blocks if b["type"] == "image"]


def test_the_plot_above_is_sent_as_it_was_shown(kernel, recorder):
    """The inline backend has closed the figure; its bytes were seen."""
    ok(kernel, INLINE)
    above = ok(kernel, "plt.plot([1, 3, 2])\nplt.show()")
    output = ok(kernel, "%%claude --plot\nWhat trend is this?")
    (plot,) = shown(above.data)
    assert sent(recorder) == [plot]
    assert [block["type"] for block in recorder.posts[0].blocks] == ["image", "text"]
    assert "plot of [" in output.html
    assert "] · as shown · " in output.text


def test_a_figure_that_is_not_shown_yet_is_an_error_and_shown_it_is_sent(kernel, recorder):
    """In the cell that draws it; an older plot is not taken for it."""
    ok(kernel, INLINE, "plt.plot([5, 5]); plt.show()")
    early = kernel.run("plt.plot([1, 2])\n%claude --plot What is this?")
    assert early.status == "error"
    assert "plt.show() before you ask" in early.text
    assert recorder.posts == []
    assert len(shown(early.data)) == 1
    kernel.settle()
    output = ok(kernel, "plt.plot([1, 3])\nplt.show()\n%claude --plot What is this?")
    assert sent(recorder) == shown(output.data)


def test_a_plot_inside_an_output_widget_follows_its_slider(kernel, recorder):
    """`interact` draws anew for each value; what is in the widget by then is sent."""
    ok(kernel, INLINE)
    page = kernel.page(
        "from ipywidgets import interact\n"
        "@interact(n=(1, 9))\ndef draw(n=2):\n    plt.plot([n, 1])\n    plt.show()"
    )
    slider = next(
        opened["comm_id"]
        for opened in page.of("comm_open")
        if opened["data"]["state"].get("_model_name") == "IntSliderModel"
    )
    for value in (4, 7):
        data = {"method": "update", "state": {"value": value}, "buffer_paths": []}
        message = kernel.client.session.msg("comm_msg", {"comm_id": slider, "data": data})
        kernel.client.shell_channel.send(message)
    page += kernel.page("pass")
    frames = shown(content["data"] for content in page.of("display_data"))
    assert len(set(frames)) == 3
    output = ok(kernel, "%%claude --plot 2\n?")
    assert sent(recorder) == [frames[0], frames[-1]]
    assert "plot of a widget" in output.text


# Libraries that may not be there: what draws, how, and the step after which there are pixels.

ALTAIR = "chart = alt.Chart(pd.DataFrame({'a': [1, 2]})).mark_bar().encode(x='a:Q')"
INTERACTIVE = (
    (
        "plotly",
        "import plotly.graph_objects as go\nfig = go.Figure(go.Scatter(y=[1, 3, 2]))",
        [f"fig.show({renderer})" for renderer in ("", "'notebook'", "'vscode'", "'iframe'")],
        'fig.show("png")',
    ),
    (
        "altair",
        f"import altair as alt, pandas as pd\n{ALTAIR}",
        [f"alt.renderers.enable('{name}')\nchart" for name in ("html", "mimetype", "svg")],
        'alt.renderers.enable("png")',
    ),
    (
        "bokeh",
        "from bokeh.plotting import figure, output_notebook, show\noutput_notebook()",
        ["p = figure(); p.line([1, 2], [1, 2]); show(p)"],
        "get_screenshot_as_png",
    ),
)


@pytest.mark.parametrize(("library", "begin", "shows", "step"), INTERACTIVE)
def test_an_interactive_plot_is_an_error_with_the_step_to_take(
    kernel, recorder, tmp_path, library, begin, shows, step
):
    """It has no pixels, however it is shown; after that step it is sent. Loading is no plot."""
    pytest.importorskip(library)
    if library == "altair":
        pytest.importorskip("vl_convert")
    ok(kernel, f"%cd -q {tmp_path}", begin)
    assert "No plot is there" in kernel.run("%%claude --plot\n?").text
    kernel.settle()
    for code in shows:
        ok(kernel, code)
        assert step in kernel.run("%%claude --plot\n?").text, code
        kernel.settle()
    assert recorder.posts == []
    if library == "altair":
        above = ok(kernel, f"{step}\nchart")
        ok(kernel, "%%claude --plot\n?")
        assert sent(recorder) == shown(above.data) != []
