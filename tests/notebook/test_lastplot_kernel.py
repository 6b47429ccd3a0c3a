"""`--plot` in real kernels: what is sent is what the page was shown, byte for byte."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

INLINE = "%matplotlib inline\nimport matplotlib.pyplot as plt"


@pytest.fixture
def kernel(shared: Any) -> Any:
    """One kernel serves all tests of this module."""
    return shared


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


def test_two_plots_are_sent_newest_last(kernel, recorder):
    """Of one cell or of two; and the same request each time."""
    ok(kernel, INLINE)
    first = ok(kernel, "for n in (1, 2):\n    plt.plot([1, n])\n    plt.show()")
    second = ok(kernel, "plt.bar(['a', 'b'], [1, 2])\nplt.title('bars');")
    ok(kernel, "%%claude -p 2\nCompare.")
    assert sent(recorder) == [shown(first.data)[1], *shown(second.data)]
    ok(kernel, "%%claude --plot 3\nCompare.", "%%claude --plot 3\nCompare.")
    assert sent(recorder) == [*shown(first.data), *shown(second.data)]
    assert recorder.posts[1].body == recorder.posts[2].body


def test_a_dense_screen_gets_what_the_model_gets_as_far_as_it_fits(kernel, recorder):
    """A retina figure has twice the pixels; a small one goes as it was shown."""
    ok(kernel, INLINE, "%config InlineBackend.figure_formats = ['retina']")
    small = ok(kernel, "plt.figure(figsize=(3, 2)); plt.plot([1, 2])")
    ok(kernel, "%%claude --plot\n?")
    assert sent(recorder) == shown(small.data)


def test_a_plot_of_a_cell_that_fails_counts(kernel, recorder):
    """It shows above the error."""
    ok(kernel, INLINE)
    message_id = kernel.send("plt.plot([1, 2])\n1 / 0")
    failed = kernel.collect(message_id)
    assert failed.status == "error"
    kernel.settle()
    ok(kernel, "%%claude --plot\n?")
    assert sent(recorder) == shown(failed.data)


def run_as(kernel: Any, cell_id: str, code: str) -> Any:
    """Run a cell under the name that it has in its notebook, as front ends do."""
    session = kernel.client.session
    content = {
        "code": code, "silent": False, "store_history": True, "user_expressions": {},
        "allow_stdin": False, "stop_on_error": True,
    }  # fmt: skip
    message = session.msg("execute_request", content, metadata={"cellId": cell_id})
    kernel.client.shell_channel.send(message)
    output = kernel.collect(message["header"]["msg_id"])
    assert output.status == "ok", output.text
    return output


def knows_cells() -> bool:
    """Since IPython 8.3 a shell is told which cell it runs."""
    import inspect

    from IPython.core.interactiveshell import ExecutionInfo

    return "cell_id" in inspect.signature(ExecutionInfo.__init__).parameters


def test_a_plotting_cell_that_runs_again_has_one_plot(kernel, recorder):
    """Its old plot left the page. Where cells have no names, each run counts."""
    ok(kernel, INLINE)
    other = run_as(kernel, "other", "plt.plot([3, 1]); plt.show()")
    old = run_as(kernel, "cell", "plt.plot([1, 2]); plt.show()")
    new = run_as(kernel, "cell", "plt.plot([1, 9]); plt.show()")
    ok(kernel, "%%claude --plot 2\n?")
    before = other if knows_cells() else old
    assert sent(recorder) == [*shown(before.data), *shown(new.data)]


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


def test_an_animation_counts_as_its_last_frame(kernel, recorder):
    """`clear_output` takes the others off the page."""
    ok(kernel, INLINE, "from IPython.display import clear_output")
    still = ok(kernel, "plt.plot([1, 2]); plt.show()")
    loop = ok(
        kernel,
        "for n in range(10):\n    clear_output(wait=True)\n    plt.plot([n, 1])\n    plt.show()",
    )
    ok(kernel, "%%claude --plot 2\n?")
    assert sent(recorder) == [*shown(still.data), shown(loop.data)[-1]]


def test_a_display_that_is_updated_is_sent_as_it_stands(kernel, recorder):
    """Once, and in its newest state."""
    ok(kernel, INLINE, "fig, ax = plt.subplots(); h = display(fig, display_id=True); plt.close()")
    page = kernel.page("ax.plot([1, 2]); h.update(fig)")
    update = page.of("update_display_data")[-1]
    ok(kernel, "%%claude --plot\n?")
    assert sent(recorder) == shown([update["data"]])
    assert kernel.run("%%claude --plot 2\n?").status == "error"


def test_a_thread_that_shows_something_later_counts(kernel, recorder):
    """It lands in the cell that runs then, as on the page."""
    ok(kernel, "from PIL import Image\nimport threading")
    ok(kernel, "t = threading.Thread(target=display, args=(Image.new('RGB', (9, 9), 'red'),))")
    above = ok(kernel, "t.start(); t.join()")
    output = ok(kernel, "%%claude --plot\n?")
    assert sent(recorder) == shown(above.data)
    assert "plot of [" in output.text


def test_pictures_of_pil_and_of_ipython_count(kernel, recorder):
    """As the value of a cell; silenced and captured ones were not shown."""
    ok(kernel, "from PIL import Image\nimport IPython.display, io")
    above = ok(kernel, "Image.new('RGB', (40, 30), 'red')")
    ok(kernel, "Image.new('RGB', (40, 30), 'green');", "%%capture\ndisplay(Image.new('L', (9, 9)))")
    ok(kernel, "%%claude --plot\n?")
    assert sent(recorder) == shown(above.data)
    ok(kernel, "f = io.BytesIO(); Image.new('RGB', (40, 30), 'blue').save(f, 'JPEG')")
    above = ok(kernel, "IPython.display.Image(f.getvalue())")
    ok(kernel, "%%claude --plot\n?")
    assert sent(recorder) == shown(above.data, "image/jpeg")


def test_a_plot_inside_an_output_widget_counts_and_follows_its_slider(kernel, recorder):
    """`interact` draws anew for each value; what is in the widget by then is sent."""
    pytest.importorskip("ipywidgets")
    ok(kernel, INLINE)
    still = ok(kernel, "plt.plot([1, 2]); plt.show()")
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
    assert sent(recorder) == [*shown(still.data), frames[-1]]
    assert "plot of a widget" in output.text


def test_without_a_plot_the_cell_fails_in_one_line(kernel, recorder):
    """With what to do; nothing is sent."""
    output = kernel.run("%%claude --plot\n?")
    assert output.status == "error"
    assert "Run the plotting cell again" in output.text
    assert "Traceback" not in output.text
    assert recorder.posts == []


def test_an_svg_figure_is_an_error_that_names_the_setting(kernel, recorder):
    """After which the same plot is sent."""
    ok(kernel, INLINE, "%config InlineBackend.figure_formats = ['svg']")
    ok(kernel, "plt.plot([1, 2]); plt.show()")
    output = kernel.run("%%claude --plot\n?")
    assert '%config InlineBackend.figure_formats = ["png"]' in output.text
    kernel.settle()
    ok(kernel, '%config InlineBackend.figure_formats = ["png"]')
    above = ok(kernel, "plt.plot([1, 2]); plt.show()")
    ok(kernel, "%%claude --plot\n?")
    assert sent(recorder) == shown(above.data)


def test_reloading_and_unloading_leave_the_outputs_alone(kernel):
    """Each plot shows once, whatever is loaded."""
    ok(kernel, INLINE)
    for line in (
        "%reload_ext segmind_jupyter",
        "%load_ext segmind_jupyter",
        "%unload_ext segmind_jupyter",
    ):
        ok(kernel, line)
        assert len(shown(ok(kernel, "plt.plot([1, 2]); plt.show()").data)) == 1


# Libraries that may not be there.


def test_a_seaborn_figure_is_sent(kernel, recorder):
    """It is one of matplotlib's."""
    pytest.importorskip("seaborn")
    ok(kernel, INLINE, "import seaborn as sns")
    above = ok(kernel, "sns.heatmap([[1, 2], [3, 4]]);")
    ok(kernel, "%%claude --plot\n?")
    assert sent(recorder) == shown(above.data)


PLOTLY = "import plotly.graph_objects as go\nfig = go.Figure(go.Scatter(y=[1, 3, 2]))"
ALTAIR = (
    "import altair as alt, pandas as pd\n"
    "chart = alt.Chart(pd.DataFrame({'a': [1, 2]})).mark_bar().encode(x='a:Q')"
)


@pytest.mark.parametrize(
    "show", ["fig", "fig.show()", *(f"fig.show('{r}')" for r in ("notebook", "vscode", "iframe"))]
)
def test_an_interactive_plotly_figure_is_an_error_with_the_step_to_take(
    kernel, recorder, tmp_path, show
):
    """It has no pixels, however it is shown."""
    pytest.importorskip("plotly")
    ok(kernel, f"%cd -q {tmp_path}", PLOTLY, show)
    output = kernel.run("%%claude --plot\n?")
    assert "pip install -U kaleido" in output.text
    assert 'fig.show("png")' in output.text
    assert recorder.posts == []


def test_a_static_plotly_figure_is_sent(kernel, recorder):
    """After the step that the error names."""
    pytest.importorskip("plotly")
    pytest.importorskip("kaleido")
    ok(kernel, PLOTLY)
    above = kernel.run('fig.show("png")')
    if above.status == "error" and "Chrome" in above.text:
        pytest.skip("kaleido finds no browser here")
    assert above.status == "ok", above.text
    ok(kernel, "%%claude --plot\n?")
    assert sent(recorder) == shown(above.data) != []


@pytest.mark.parametrize("renderer", ["html", "mimetype", "svg"])
def test_an_interactive_altair_chart_is_an_error_with_the_step_to_take(kernel, recorder, renderer):
    """In each of its forms without pixels."""
    pytest.importorskip("altair")
    if renderer == "svg":
        pytest.importorskip("vl_convert")
    ok(kernel, ALTAIR, f"alt.renderers.enable('{renderer}');", "chart")
    output = kernel.run("%%claude --plot\n?")
    assert "pip install vl-convert-python" in output.text
    assert 'alt.renderers.enable("png")' in output.text


def test_a_static_altair_chart_is_sent(kernel, recorder):
    """After the step that the error names."""
    pytest.importorskip("altair")
    pytest.importorskip("vl_convert")
    ok(kernel, ALTAIR, 'alt.renderers.enable("png");')
    above = ok(kernel, "chart")
    ok(kernel, "%%claude --plot\n?")
    assert sent(recorder) == shown(above.data) != []


def test_a_bokeh_plot_is_an_error_with_the_step_to_take(kernel):
    """Loading bokeh is no plot yet."""
    pytest.importorskip("bokeh")
    ok(kernel, "from bokeh.plotting import figure, output_notebook, show", "output_notebook()")
    assert "No plot is there" in kernel.run("%%claude --plot\n?").text
    kernel.settle()
    ok(kernel, "p = figure(); p.line([1, 2], [1, 2]); show(p)")
    assert "get_screenshot_as_png" in kernel.run("%%claude --plot\n?").text
