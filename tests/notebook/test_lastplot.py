"""The plots that cells displayed, in a real shell: which are kept, and what is sent of them."""

from __future__ import annotations

import io
from typing import Any

import pytest
from IPython.utils.capture import capture_output
from matplotlib.figure import Figure
from PIL import Image

from segmind_jupyter.api.messages import Reply
from segmind_jupyter.content.convert import to_blocks
from segmind_jupyter.content.parts import STANDARD, part_of
from segmind_jupyter.content.prompt import Attachment
from segmind_jupyter.errors import ContentError
from segmind_jupyter.notebook.display.reply import reply_html
from segmind_jupyter.notebook.plots.formats import Pixels, VectorPlot, picture_in
from segmind_jupyter.notebook.plots.last_plot import LastPlots

SETUP = """
import io
from PIL import Image
from IPython.display import HTML, SVG, clear_output, display
import IPython.display

def picture(colour):
    return Image.new("RGB", (30, 20), colour)

def png(colour):
    file = io.BytesIO()
    picture(colour).save(file, "PNG")
    return file.getvalue()
"""


class Notebook:
    """A shell whose outputs are shown, not captured."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.run(SETUP)

    def run(self, *cells: str) -> Any:
        for code in cells:
            done = self.shell.run_cell(code, store_history=True)
            assert done.success, done.error_in_exec
        return done.result

    @property
    def plots(self) -> LastPlots:
        plots = LastPlots.of(self.shell)
        assert plots is not None
        return plots

    def sent(self, count: int = 1) -> list[tuple[int, int, int]]:
        """The colours of what would be sent."""
        return [colour_of(item.images[0].data) for item in self.items(count)]

    def items(self, count: int = 1) -> Any:
        return self.plots.sent(count, limits=STANDARD)


def colour_of(data: bytes) -> Any:
    return Image.open(io.BytesIO(data)).convert("RGB").getpixel((3, 3))


@pytest.fixture
def notebook(shell: Any) -> Notebook:
    return Notebook(shell)


RED, GREEN, BLUE = (255, 0, 0), (0, 128, 0), (0, 0, 255)


# What counts.


def test_what_is_shown_as_an_image_counts(notebook):
    """As a value or by `display`, also from threads; not what is silenced, captured or a link."""
    for code in (
        "picture('red')",
        "display(picture('red'))",
        "IPython.display.Image(png('red'))",
        "display({'text/html': '<b>', 'image/png': png('red')}, raw=True)",
        "IPython.display.publish_display_data({'image/png': png('red')})",
        "b = io.BytesIO(); picture('red').save(b, 'GIF')\n"
        "IPython.display.Image(b.getvalue(), format='gif')",
        "import threading\nt = threading.Thread(target=display, args=(picture('red'),))\n"
        "t.start(); t.join()",
        "from matplotlib.figure import Figure\n"
        "from IPython.core.pylabtools import select_figure_formats\n"
        "select_figure_formats(get_ipython(), {'png'})\n"
        "figure = Figure(facecolor='red'); figure.add_axes((0.4, 0.4, 0.2, 0.2)); figure",
    ):
        notebook.run("display(picture('blue'))", code)
        assert notebook.sent() == [RED], code
    for code in (
        "picture('red');",
        "_ = picture('red')",
        "IPython.display.Markdown('![](https://example.com/a.png)')",
        "display(HTML('<table></table>'))",
        "display({'image/png': '', 'text/plain': 'x'}, raw=True)",
        "%%capture\ndisplay(picture('red'))\npicture('red')",
    ):
        notebook.run("display(picture('blue'))", code)
        assert notebook.sent() == [BLUE], code


def test_plots_come_newest_last_and_bear_the_numbers_of_their_cells(notebook):
    """The page's own numbers; the last eight are kept, also of a cell that fails."""
    notebook.run("display(picture('red')); number = get_ipython().displayhook.prompt_count")
    notebook.run("1 + 1", "display(picture('blue'))", "print('x')")
    red, blue = notebook.items(2)
    number = notebook.shell.user_ns["number"]
    assert (red.name, blue.name) == (f"plot of [{number}]", f"plot of [{number + 2}]")
    assert [colour_of(item.images[0].data) for item in (red, blue)] == [RED, BLUE]
    assert red.label == f"plot of [{number}] · as shown"
    notebook.run("shown = png('red'); IPython.display.Image(shown)")
    assert notebook.items()[0].images[0].data == notebook.shell.user_ns["shown"]
    failing = "for n in range(20): display(picture((n, 0, 0)))\n1 / 0"
    notebook.shell.run_cell(failing, store_history=True)
    assert notebook.sent(8) == [(n, 0, 0) for n in range(12, 20)]


# What the page no longer shows.


def test_an_update_takes_the_place_of_the_old_picture(notebook):
    """By its display id; it counts as of the cell that shows it."""
    notebook.run("h = display(picture('red'), display_id=True)")
    name = notebook.items()[0].name
    notebook.run("h.update(picture('blue'))")
    assert notebook.sent() == [BLUE]
    assert notebook.items()[0].name == name
    with pytest.raises(ContentError, match="only 1"):
        notebook.items(2)
    notebook.run("h.update('over')")
    assert notebook.plots.is_empty
    notebook.run("h = display('soon', display_id=True)", "h.update(picture('red'))")
    assert notebook.sent() == [RED]


def test_what_was_cleared_is_gone(notebook):
    """As the frames of an animation are; the outputs of other cells stay."""
    notebook.run("picture('red')")
    notebook.run(
        "for colour in ['blue'] * 12 + ['green']:\n"
        "    clear_output(wait=True)\n    display(picture(colour))"
    )
    assert notebook.sent(2) == [RED, GREEN]
    with pytest.raises(ContentError, match="only 2"):
        notebook.items(3)
    notebook.run("picture('red')")
    notebook.run("display(picture('blue')); clear_output()")
    assert notebook.sent() == [RED]
    notebook.run("display(picture('blue')); clear_output(wait=True); display('done')")
    assert notebook.sent() == [RED]
    notebook.run("display(picture('green')); clear_output(wait=True)")  # nothing came: it stays
    assert notebook.sent() == [GREEN]


def test_a_cell_that_runs_again_takes_its_old_plots_away(notebook):
    """Where the front end tells which cell it is, as JupyterLab and VS Code do."""
    run = notebook.shell.run_cell
    run("display(picture('red'))", store_history=True, cell_id="a")
    run("display(picture('blue'))", store_history=True, cell_id="b")
    run("display(picture('green'))", store_history=True, cell_id="a")
    assert notebook.sent(2) == [BLUE, GREEN]
    run("1", store_history=True, cell_id="b")
    with pytest.raises(ContentError, match="only 1"):
        notebook.items(2)


# How much is kept.


def test_what_cannot_be_asked_for_says_what_to_do(notebook):
    """Another count; a plot where there is none; one that cannot be decoded, by its cell."""
    with pytest.raises(ContentError, match=r"Run the plotting cell again.*\{fig\}"):
        notebook.items()
    notebook.run("display({'image/png': b'nonsense'}, raw=True)")
    for count in (0, -1, 9):
        with pytest.raises(ContentError, match="give 1 to 8"):
            notebook.items(count)
    with pytest.raises(ContentError, match=r"plot of \[\d+\] cannot be sent"):
        notebook.items()


# Pictures without pixels.

WIDGET = "application/vnd.jupyter.widget-view+json"


#: What a page shows without pixels, and the step after which it has some.
WITHOUT_PIXELS = [
    ({"application/vnd.plotly.v1+json": {}}, 'fig.show("png")'),
    ({"text/html": '<div><div id="1" class="plotly-graph-div"></div></div>'}, "pip install -U"),
    ({"text/html": '<iframe\n src="iframe_figures/figure_3.html">'}, "kaleido"),
    ({WIDGET: {}, "text/plain": "FigureWidget({'data': []})"}, "kaleido"),
    ({"application/vnd.vegalite.v6.json": {}}, 'alt.renderers.enable("png")'),
    ({"text/html": "<script>vegaEmbed(x)</script>"}, "vl-convert"),
    ({"application/vnd.bokehjs_exec.v0+json": ""}, "get_screenshot_as_png"),
    ({"application/pdf": "JVBERi0="}, 'figure_formats = ["png"]'),
    ({"image/svg+xml": '<svg class="main-svg">'}, "kaleido"),
    ({"image/svg+xml": "<svg>"}, "pip install cairosvg"),
    ({"text/html": '<img src="https://example.com/newer.png"/>'}, "save the plot"),
    ({"text/html": "<div>\n<svg width='9'><text>a word</text></svg></div>"}, "save the plot"),
    ({"text/html": '<video controls><source src="data:video/mp4;base64,AA"></video>'}, "frame"),
    ({"text/html": "<canvas id='c'></canvas><script>draw('many words')</script>"}, "PNG"),
    ({"text/html": '<div class="animation"><img id="a"><label>Once</label>'}, "one frame"),
]


def test_a_picture_without_pixels_is_an_error_with_the_step_to_take(notebook):
    """Not an older picture: the user sees this one."""
    for bundle, step in WITHOUT_PIXELS:
        found = picture_in(bundle)
        assert isinstance(found, VectorPlot), bundle
        assert step in found.step, bundle
    Figure().savefig(file := io.StringIO(), format="svg")
    assert "InlineBackend" in picture_in({"image/svg+xml": file.getvalue()}).step
    notebook.run("picture('red')")
    notebook.shell.user_ns["bundle"] = bundle
    notebook.run("display(bundle, raw=True); number = get_ipython().displayhook.prompt_count")
    with pytest.raises(ContentError, match="no pixels") as failure:
        notebook.items()
    assert step in str(failure.value)
    assert f"plot of [{notebook.shell.user_ns['number']}]" in str(failure.value)
    notebook.run("picture('blue')")
    assert notebook.sent() == [BLUE]
    with pytest.raises(ContentError, match="no pixels"):
        notebook.items(2)


def test_other_outputs_are_no_pictures():
    """Tables, progress bars, what a library loads, icons among words, a reply's thumbnails."""
    part = part_of(to_blocks(Image.new("RGB", (30, 20)))[0])
    page = reply_html(Reply(text="No."), sent=[Attachment("photo", (part,))])
    assert "<img" in page
    for bundle in (
        {"text/html": page},
        {"text/plain": "FigureWidget({})"},
        {"text/html": "<table><tr><td>plotly folium vegaEmbed</td></tr></table>"},
        {WIDGET: {}, "text/plain": "IntProgress(value=1)"},
        {"application/vnd.bokehjs_load.v0+json": "", "text/html": "<p>Loading</p>"},
        {"text/html": 7, "image/svg+xml": None, "text/plain": "odd"},
        {"text/html": f"<img src='icon.png'><p>{'Many words. ' * 20}</p>"},
        {"text/html": "<style>" + "a{} " * 99 + f"</style><svg></svg><pre>{'1 2 3 ' * 30}</pre>"},
    ):
        assert picture_in(bundle) is None, bundle


def test_an_image_that_html_holds_itself_counts_as_it_is():
    """Many show a figure of their own in a report."""
    for quote in ("'", '"', ""):
        source = f"{quote}data:image/png;base64,AAAA{quote}"
        page = f"<center><img alt='a' src={source}></center>"
        assert picture_in({"text/html": page}) == Pixels("AAAA")


def test_elements_without_an_end_are_looked_at_once():
    """Every output is looked at, and a quadratic look at these would take hours."""
    for opening in ("<svg", "<!--", "<script>", "<img src='data:image/png;base64,"):
        assert not isinstance(picture_in({"text/html": opening * 100_000}), Pixels)


# How it listens.


def test_loading_twice_does_not_double_it_and_unloading_leaves_no_trace(shell):
    """What was there before is there again."""
    shell.run_line_magic("unload_ext", "segmind_jupyter")
    before = dict(vars(shell.display_pub)), dict(vars(shell.displayhook))
    callbacks = list(shell.events.callbacks["pre_run_cell"])
    for _ in range(2):
        shell.run_line_magic("load_ext", "segmind_jupyter")
        shell.run_line_magic("reload_ext", "segmind_jupyter")
    notebook = Notebook(shell)
    notebook.run("display(picture('red'))")
    with pytest.raises(ContentError, match="only 1"):
        notebook.items(2)
    shell.run_line_magic("unload_ext", "segmind_jupyter")
    assert LastPlots.of(shell) is None
    assert (dict(vars(shell.display_pub)), dict(vars(shell.displayhook))) == before
    assert shell.events.callbacks["pre_run_cell"] == callbacks


def test_it_stands_back_for_others_who_wrap_the_same_method(shell, monkeypatch):
    """Those before it and those after it go on, and what was removed hears no more."""
    shell.run_line_magic("unload_ext", "segmind_jupyter")
    heard: list[str] = []

    def wrapped(name: str, publish: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            heard.append(name)
            return publish(*args, **kwargs)

        return call

    pub, notebook, first = shell.display_pub, Notebook(shell), LastPlots(shell)
    monkeypatch.setattr(pub, "publish", wrapped("before", pub.publish))
    first.install()
    pub.publish = wrapped("after", pub.publish)
    notebook.run("display(picture('red'))")
    assert notebook.sent() == [RED]
    first.remove()
    notebook.run("display(picture('blue'))")
    assert (heard, len(first._shown)) == (["after", "before"] * 2, 1)


def test_a_failure_in_it_costs_no_output(notebook):
    """The page shows whatever it was given."""

    class Odd(dict):
        def get(self, *_: Any) -> Any:
            raise RuntimeError("odd")

    notebook.shell.user_ns["Odd"] = Odd
    notebook.run("display(Odd({'image/png': b'x', 'text/plain': 'fine'}), raw=True)")
    with pytest.raises(TypeError, match="NoneType"):  # and what fails, fails as before
        notebook.shell.display_pub.publish(data=None, metadata={})
    assert notebook.plots.is_empty


def test_loading_in_a_captured_cell_follows_what_is_shown_later(shell):
    """The publisher that captured is not the page's."""
    shell.run_line_magic("unload_ext", "segmind_jupyter")
    with capture_output():
        shell.run_line_magic("load_ext", "segmind_jupyter")
        shell.display_pub.publish(data={"image/png": b"captured"})
    notebook = Notebook(shell)
    assert notebook.plots.is_empty
    notebook.run("display(picture('red'))")
    assert notebook.sent() == [RED]
