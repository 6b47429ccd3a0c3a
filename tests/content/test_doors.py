"""What holds a picture, a table or words in some other form is read as what it holds."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import ipywidgets
import pandas as pd
import PIL.Image
import pytest
from IPython.display import SVG, Audio

from segmind_jupyter.content.convert import describe, has_size, size_of, to_parts
from segmind_jupyter.content.images.charts import svg_part
from segmind_jupyter.content.parts import Image, Text
from segmind_jupyter.errors import ContentError


def test_an_open_file_and_bytes_in_memory_are_their_content(red_png, tmp_path, picture_in):
    """From the beginning, wherever they were read to; and they stay there."""
    path = tmp_path / "a.png"
    path.write_bytes(red_png)
    buffer = io.BytesIO(red_png)
    with path.open("rb") as file, tempfile.TemporaryFile() as unnamed:
        unnamed.write(red_png)
        for each in (buffer, file, unnamed):
            each.seek(7)
            (part,) = to_parts(each, name="x")
            assert picture_in(part).getpixel((1, 1)) == (255, 0, 0)
            assert each.tell() == 7
    with tempfile.NamedTemporaryFile() as named:
        named.write(red_png)
        named.flush()
        assert isinstance(to_parts(named)[0], Image)
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with (tmp_path / "a.csv").open() as file:
        assert "table, 1 row" in to_parts(file)[0].text
    assert to_parts(io.StringIO("words"))[0].text == "words"
    assert to_parts(io.BytesIO(b"words"))[0].text == "words"
    with pytest.raises(ContentError, match="neither an image nor"):
        to_parts(io.BytesIO(b"\xff\x00\xfe"))


def test_widgets_are_what_they_show(red_png, picture_in):
    """An image is its picture, an output its words and pictures; an empty one is refused."""
    assert picture_in(to_parts(ipywidgets.Image(value=red_png))[0]).getpixel((1, 1)) == (255, 0, 0)
    output = ipywidgets.Output()
    with pytest.raises(ContentError, match="The Output shows nothing"):
        to_parts(output)
    output.append_stdout("epoch 1\n")
    error = {"output_type": "error", "ename": "KeyError", "evalue": "'a'", "traceback": []}
    shown = {"output_type": "display_data", "data": {"image/png": red_png, "text/plain": "no"}}
    output.outputs = (*output.outputs, shown, error)
    words, picture, failure = to_parts(output)
    assert (words.text, failure.text) == ("epoch 1\n", "KeyError: 'a'")
    assert picture_in(picture).getpixel((1, 1)) == (255, 0, 0)


@pytest.mark.parametrize("sound", [Audio(data=b"RIFF", rate=8000), ipywidgets.Video(value=b"x")])
def test_sound_and_film_are_refused(sound):
    """Their repr would be billed, and says nothing."""
    with pytest.raises(ContentError, match=r"Claude reads no (audio|video)"):
        to_parts(sound)


def test_a_list_of_paths_is_read_as_each_would_be(red_png, tmp_path):
    """Tables, texts and pictures, under their labels; beside other things a path is a name."""
    for name, data in (("a.csv", b"n\n1\n"), ("b.txt", b"words"), ("c.png", red_png)):
        (tmp_path / name).write_bytes(data)
    paths = sorted(tmp_path.iterdir())
    parts = to_parts(paths, name="files")
    assert [part.text for part in parts if part in parts[::2]] == [
        "files[0]:", "files[1]:", "files[2]:",
    ]  # fmt: skip
    assert "a.csv: table, 1 row" in parts[1].text
    assert (parts[3].text, type(parts[5])) == ("words", Image)
    (part,) = to_parts({"log": paths[1], "n": 3}, name="config")
    assert "words" not in part.text
    assert "b.txt" in part.text


DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="50">'
    '<a href="https://example.com"><rect width="100" height="50" fill="red"/></a></svg>'
)


class TestSvg:
    def test_it_is_drawn_by_what_is_installed(self, tmp_path, picture_in):
        """A file, a display and an object's own form; a link in it is only a link."""
        pytest.importorskip("vl_convert")
        (tmp_path / "a.svg").write_text(DRAWING)
        for obj in (tmp_path / "a.svg", SVG(DRAWING)):
            (part,) = to_parts(obj)
            assert (part.width, part.height) == (200, 100)
            assert picture_in(part).getpixel((20, 20)) == (255, 0, 0)

    @pytest.mark.parametrize("name", ["resvg_py", "cairosvg"])
    def test_other_renderers_will_do(self, name, monkeypatch, red_png):
        """Each is called as it wants to be."""
        for other in ("resvg_py", "vl_convert", "cairosvg"):
            monkeypatch.setitem(sys.modules, other, None)
        module = ModuleType(name)
        module.svg_to_bytes = lambda *, svg_string, zoom: list(red_png)
        module.svg2png = lambda *, bytestring, scale: red_png
        monkeypatch.setitem(sys.modules, name, module)
        assert isinstance(svg_part(DRAWING), Image)

    @pytest.mark.parametrize(
        ("svg", "why"),
        [
            (DRAWING.replace("<rect", '<image href="http://h/x.png"/><rect'), "would be fetched"),
            (DRAWING.replace("<rect", '<use xlink:href="other.svg#a"/><rect'), "would be fetched"),
            (DRAWING.replace("red", "url(http://h/x.svg#a)"), "would be fetched"),
            (DRAWING.replace("<rect", "<style>@import 'x.css'</style><rect"), "would be fetched"),
            ("<svg", "does not draw it"),
        ],
    )
    def test_what_cannot_be_drawn_goes_as_its_source_and_says_why(self, svg, why):
        """Nothing is fetched."""
        pytest.importorskip("vl_convert")
        part = svg_part(svg)
        assert part.text == svg
        assert why in part.notes[0]

    def test_without_a_renderer_its_source_goes_and_the_note_names_one(self, monkeypatch):
        """A model reads the source too."""
        for name in ("resvg_py", "vl_convert", "cairosvg"):
            monkeypatch.setitem(sys.modules, name, None)
        (part,) = to_parts(SVG(DRAWING))
        assert isinstance(part, Text)
        assert "%pip install resvg-py" in part.notes[0]


@pytest.mark.parametrize(
    ("value", "words", "sized"),
    [
        (pd.DataFrame({"a": [1, 2]}), "DataFrame 2×1", True),
        (pd.Series([1, 2]), "Series 2", True),
        (PIL.Image.new("L", (60, 40)), "Image 60×40", True),
        ([1, 2, 3], "list of 3 items", False),
        ((), "tuple of no items", False),
        ("a", "str of 1 character", False),
        (3, "int", False),
        (type("DataFrame", (), {"__module__": "pandas.x"})(), "DataFrame", True),
    ],
)
def test_a_value_is_described_in_a_few_words(value, words, sized):
    """For lists of variables; a namesake that has no shape does no harm."""
    assert (describe(value), has_size(value)) == (words, sized)
    assert describe(value).endswith(size_of(value))


def test_a_figure_is_described_by_its_size(figure):
    """And no attribute of anything else is asked for it."""
    assert describe(figure) == "Figure 4×2 in"

    class Trap:
        def __getattr__(self, name):
            raise AssertionError(name)

    assert describe(Trap()) == "Trap"
    assert describe(Path("a.png")).endswith("Path")
