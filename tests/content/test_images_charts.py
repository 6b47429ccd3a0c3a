"""Charts of plotting libraries as pictures: drawn by their renderers, or refused with the way."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import signal
import sys
import threading
from types import ModuleType

import numpy as np
import PIL.Image
import pytest

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Image
from segmind_jupyter.errors import ContentError

#: Where kaleido 1 finds a browser by itself.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def sent(obj: object, **options: object) -> Image:
    (part,) = to_parts(obj, **options)
    assert isinstance(part, Image)
    return part


def pixels(image: Image) -> np.ndarray:
    with PIL.Image.open(io.BytesIO(image.data)) as picture:
        assert picture.size == (image.width, image.height)
        return np.asarray(picture.convert("RGB")).astype(int)


def share_near(image: Image, colour: tuple[int, int, int]) -> float:
    """How much of a picture has a colour, anti-aliasing left out."""
    return float((abs(pixels(image) - colour).max(axis=-1) < 8).mean())


def _init(self: object, *traces: dict, **layout: object) -> None:
    vars(self)["to_dict"] = lambda: {"data": list(traces), "layout": layout}


#: What a plotly figure looks like from outside, where plotly is not installed.
BaseFigure = type("BaseFigure", (), {"__module__": "plotly.basedatatypes", "__init__": _init})


def drawing(path: str, module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Let Python find a stand-in at an import path."""
    monkeypatch.setitem(sys.modules, path, module)
    return module


class TestPlotlyWithoutARenderer:
    def test_a_missing_kaleido_is_named_with_the_command(self, monkeypatch):
        """The figure is not sent as text instead."""
        monkeypatch.setitem(sys.modules, "kaleido", None)
        with pytest.raises(ContentError, match=r"`fig`: plotly .* `%pip install -U kaleido`"):
            to_parts(BaseFigure({"type": "bar"}), name="fig")

    def test_a_missing_chrome_is_told_from_a_broken_figure(self, monkeypatch):
        """kaleido 1 draws with Chrome: the error says how to get one, or keeps the renderer's."""
        module = "choreographer.browsers"
        kaleido = drawing("kaleido", ModuleType("kaleido"), monkeypatch)
        for kind, words in [
            ("ChromeNotFoundError", "finds none.*!kaleido_get_chrome.*BROWSER_PATH"),
            ("ValueError", "could not be drawn .*no browser"),
            (None, r"no picture of \S+×\S+ px came out"),
        ]:
            error = kind and type(kind, (RuntimeError,), {"__module__": module})("no browser")

            async def calc_fig(*args, error=error, **options):
                if error:
                    raise error
                return b""

            kaleido.calc_fig = calc_fig
            with pytest.raises(ContentError, match=words):
                to_parts(BaseFigure())

    def test_an_interrupt_does_not_wait_for_the_browser(self, monkeypatch):
        """Stopping a cell answers at once; what draws ends on its own thread."""
        may_end, ended = threading.Event(), threading.Event()

        async def calc_fig(*args, **options):
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            may_end.wait(60)
            ended.set()
            return b""

        kaleido = drawing("kaleido", ModuleType("kaleido"), monkeypatch)
        kaleido.calc_fig = calc_fig
        with pytest.raises(KeyboardInterrupt):
            to_parts(BaseFigure())
        assert not ended.is_set()
        may_end.set()
        assert ended.wait(60)

    def test_an_older_kaleido_is_refused(self, monkeypatch):
        """It loads MathJax, and leaves a process behind."""
        drawing("kaleido", ModuleType("kaleido"), monkeypatch)
        with pytest.raises(ContentError, match=r"too old .*`%pip install -U kaleido`"):
            to_parts(BaseFigure())

    def test_what_would_be_fetched_is_refused(self):
        """Nothing is fetched: the error names what, and how to draw it knowingly."""
        for figure, named in [
            (BaseFigure({"type": "choropleth"}), "map below its choropleth"),
            (BaseFigure({"type": "bar"}, {"type": "scattermapbox"}), "scattermapbox"),
            (BaseFigure(images=[{"source": "https://example.com/x.png"}]), r"example\.com"),
            (BaseFigure({"type": "image", "source": "http://x/y.png"}), "http://x/y.png"),
            (BaseFigure(template={"layout": {"images": [{"source": "//h/x"}]}}), "//h/x"),
            (BaseFigure(template={"data": {"image": [{"source": "h/x.png"}]}}), "h/x.png"),
            (BaseFigure(images={"source": "ftp://h/x"}), "ftp://h/x"),
            (BaseFigure(updatemenus=[{"buttons": [{"args": [{"source": "h"}]}]}]), "h"),
        ]:
            with pytest.raises(ContentError, match=f"{named}.*nothing is fetched.*write_image"):
                to_parts(figure)

    def test_words_and_data_are_no_links(self, monkeypatch):
        """A picture that is all there, links of a Sankey diagram, and words of the author's."""
        monkeypatch.setitem(sys.modules, "kaleido", None)
        traces = (
            {"type": "image", "source": "data:image/png;base64,AA"},
            {"type": "sankey", "link": {"source": [0, 1], "target": [2, 3]}},
            {"type": "bar", "customdata": [{"source": "http://h"}], "text": ["http://h"]},
        )
        template = {"data": {"choropleth": [{"type": "choropleth"}]}}
        with pytest.raises(ContentError, match="install -U kaleido"):
            to_parts(BaseFigure(*traces, template=template, meta={"source": "http://h"}))


@pytest.fixture
def go():
    """plotly's objects, where kaleido 1 and a browser can draw them."""
    pytest.importorskip("kaleido")
    if not os.environ.get("BROWSER_PATH") and not any(map(shutil.which, BROWSERS)):
        pytest.skip("kaleido draws with Chrome, and there is none")
    return pytest.importorskip("plotly.graph_objects")


class TestPlotly:
    def test_a_figure_is_drawn(self, go):
        """A lime bar is lime in the picture, at plotly's size, while a kernel's loop runs."""
        figure = go.Figure(go.Bar(y=[1, 2], marker_color="lime"))

        async def in_a_cell() -> Image:
            return sent(figure)

        image = asyncio.run(in_a_cell())
        assert (image.width, image.height, image.media_type) == (700, 500, "image/png")
        assert image.about == "plotly figure, 1 trace"
        assert 0.1 < share_near(image, (0, 255, 0)) < 0.6


@pytest.fixture
def alt():
    """altair, with its renderer."""
    pytest.importorskip("vl_convert")
    return pytest.importorskip("altair")


@pytest.fixture
def chart(alt):
    """Red points at three places."""
    data = alt.Data(values=[{"a": n, "b": n} for n in range(3)])
    return alt.Chart(data).mark_point(color="red", filled=True, opacity=1).encode(x="a:Q", y="b:Q")


class TestAltair:
    def test_a_chart_is_drawn_at_twice_its_size(self, chart):
        """A red point is red in the picture; 100x80 and the axes are small."""
        image = sent(chart.properties(width=100, height=80))
        assert image.about == "altair Chart"
        assert 200 < image.width < 400
        assert 0 < share_near(image, (255, 0, 0)) < 0.1

    @pytest.mark.parametrize("link", ["https://example.com/x.csv", "data/x.csv"])
    def test_data_behind_a_link_is_refused(self, alt, chart, link):
        """Also deep inside of a chart."""
        linked = alt.Chart(link).mark_line().encode(x="a:Q")
        with pytest.raises(ContentError, match=f"would fetch {link}, and nothing is fetched"):
            to_parts(chart | (chart & linked))

    def test_linked_images_are_refused_and_rows_may_hold_any_words(self, alt):
        """The step from SVG to pixels would fetch them; a link in a text is only a text."""
        row = {"x": 1, "data": {"url": "https://example.com/x.csv"}, "img": "http://h/x.png"}
        drawing = alt.Chart(alt.Data(values=[row]))
        assert sent(drawing.mark_text().encode(x="x:Q", text="img:N")).width
        with pytest.raises(ContentError, match=r"would fetch http://h/x\.png"):
            to_parts(drawing.mark_image().encode(x="x:Q", url="img:N"))

    def test_what_is_missing_is_told_from_a_mistake(self, alt, chart, monkeypatch):
        """A missing mark is altair's to tell; each vl-convert knows the Vega-Lites of its time."""
        with pytest.raises(ContentError, match=r"altair Chart could not be drawn.*mark") as caught:
            to_parts(alt.Chart(alt.Data(values=[])))
        assert "install" not in str(caught.value)
        monkeypatch.setitem(sys.modules, "vl_convert", None)
        with pytest.raises(ContentError, match=r"`%pip install -U vl-convert-python`"):
            to_parts(chart)


class TestBokeh:
    @pytest.fixture
    def plot(self):
        plot = pytest.importorskip("bokeh.plotting").figure(width=300, height=200)
        plot.scatter([1, 2], [1, 2], color="red", size=20)
        return plot

    def test_a_missing_selenium_is_named_with_the_command(self, plot, monkeypatch):
        """Layouts are recognised as plots are."""
        layouts = pytest.importorskip("bokeh.layouts")
        monkeypatch.setitem(sys.modules, "selenium", None)
        for thing, about in ((plot, "bokeh figure"), (layouts.row(plot), "bokeh Row")):
            with pytest.raises(ContentError, match=f"{about}.*`%pip install selenium`"):
                to_parts(thing)

    def test_map_tiles_are_refused(self, plot):
        """Nothing is fetched."""
        tiles = pytest.importorskip("bokeh.models").WMTSTileSource(url="http://h/{x}/{y}/{z}")
        plot.add_tile(tiles)
        with pytest.raises(ContentError, match="would fetch WMTSTileSource"):
            to_parts(plot)
