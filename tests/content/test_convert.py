"""Any object becomes blocks: plain values, known kinds, display methods, and what holds others."""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import json
import re
import tempfile
import textwrap
import types
from unittest.mock import MagicMock, Mock

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import HTML, SVG, Markdown
from IPython.display import Image as NotebookImage

from segmind_jupyter.content.convert import size_of, to_blocks, to_parts
from segmind_jupyter.content.images.figures import svg_part
from segmind_jupyter.content.parts import Image, Limits, Text
from segmind_jupyter.errors import ContentError, RateLimitError


class Colour(enum.Enum):
    RED = 1


class Level(enum.StrEnum):
    HIGH = "high"


@dataclasses.dataclass
class Point:
    x: int = 1


Pair = collections.namedtuple("Pair", "left right")


def texts(parts):
    return [part.text if isinstance(part, Text) else "IMAGE" for part in parts]


def test_a_plain_value_reads_as_part_of_the_sentence():
    """A word or a number is inline text with nothing for the footer."""
    for value, text in [
        ("as it is", "as it is"), (np.str_("as it is"), "as it is"), (3, "3"), (True, "True"),
        (None, "None"), (1.5, "1.5"), (2 + 1j, "(2+1j)"), (decimal.Decimal("1.10"), "1.10"),
        (fractions.Fraction(1, 3), "1/3"), (datetime.date(2024, 5, 1), "2024-05-01"),
        (datetime.datetime(2024, 5, 1, 12, 30), "2024-05-01 12:30:00"),
        (datetime.timedelta(days=2), "2 days, 0:00:00"), (Colour.RED, "Colour.RED"),
        (Level.HIGH, "high"), (np.float32(2.5), "2.5"), (np.bool_(True), "True"),
        (np.datetime64("2024-05-01"), "2024-05-01"), (range(3), "range(0, 3)"),
        (pd.Timestamp("2024-05-01"), "2024-05-01 00:00:00"),
        (10**5000, hex(10**5000)),  # Python refuses to write it in decimal
    ]:  # fmt: skip
        (part,) = to_parts(value)
        assert (part.text, part.inline, len(text) > 200) == (text, True, bool(part.about))


def test_text_is_what_an_encoder_takes_and_a_model_accepts():
    """Lone surrogates are repaired, split pairs joined, and blank texts left out."""
    (block,) = to_blocks("a\ud800b \ud83d\ude00")
    assert block["text"] == "a\ufffdb 😀"
    json.dumps(block, ensure_ascii=False).encode()
    for blank in ("", "  \n", b"", b" "):
        assert to_blocks(blank) == []


def test_what_was_made_for_display_is_read(red_png, tmp_path, picture_in):
    """Images by their data or their file, texts by their source; a link is not fetched."""
    file = tmp_path / "red.png"
    file.write_bytes(red_png)
    for image in (NotebookImage(data=red_png), NotebookImage(filename=str(file))):
        assert picture_in(to_parts(image)[0]).getpixel((1, 1)) == (255, 0, 0)
    with pytest.raises(ContentError, match="Download it first"):
        to_parts(NotebookImage(url="http://127.0.0.1:9/x.png"))
    for shown in (Markdown("**bold**"), HTML("**bold**")):
        assert to_parts(shown)[0].text == "**bold**"


def test_code_is_sent_as_its_source():
    """In a fence that it cannot end, closed also where it is cut; or as its repr."""

    def doubled(x):
        return 2 * x, "````"

    (part,) = to_parts(doubled)
    assert re.fullmatch(r"`````python\n[^`]*return 2 \* x, \"````\"\n`````", part.text)
    assert (part.about, part.inline) == ("source of doubled, 2 lines", False)
    (part,) = to_parts(textwrap.wrap, limits=Limits(text_chars=300))
    assert len(part.text) <= 300
    assert re.search(r" not shown\]\n[^`]*\n```$", part.text)
    made = type("Made", (), {"method": lambda self: 1, "__module__": "nowhere"})
    for code in (len, int, made, json):
        assert to_parts(code)[0].text == repr(code)


def test_a_class_typed_into_a_cell_is_sent_as_its_source():
    """`inspect` finds no source for classes of a notebook; the cell's methods lead to it."""
    shell = InteractiveShell()
    try:
        cell = "import functools\n@functools.partial(\n    lambda kind: kind\n)\n"
        cell += "class Net:\n    depth = 3\n"
        cell += "    def __eq__(self, other):\n        return True\n    __lt__ = __eq__\n"
        shell.run_cell(cell).raise_error()
        text = to_parts(shell.user_ns["Net"])[0].text
    finally:
        shell.history_manager.end_session()
        InteractiveShell.clear_instance()
    assert "@functools.partial(\n    lambda kind: kind\n)\nclass Net:\n    depth = 3" in text


def test_anything_else_goes_as_its_text():
    """Its repr, or its `str` where only that says something; a mock fools nobody."""

    class Spoken:
        def __str__(self):
            return "spoken"

    class Broken:
        def __repr__(self):
            raise ZeroDivisionError

    mocks = [Mock(), MagicMock(), Mock(spec=dict), Mock(spec=pd.DataFrame), MagicMock(spec=list)]
    for obj, text in [
        (ValueError("bad value"), "ValueError('bad value')"),
        (Point(), "Point(x=1)"),
        (types.SimpleNamespace(a=1), "namespace(a=1)"),
        (iter([1]), "<list_iterator object>"),
        (Spoken(), "spoken"),
        (Broken(), "<Broken, whose repr raised ZeroDivisionError>"),
        *((mock, repr(mock)) for mock in mocks),
    ]:
        assert to_parts(obj)[0].text == text


def test_display_methods_are_asked_in_order_of_what_they_show_best(red_png, picture_in):
    """PNG before JPEG; a bundle may hold base64 and text; without an image, Markdown wins."""

    class Shown:
        def _repr_jpeg_(self):
            raise AssertionError("never asked")

        def _repr_png_(self):
            return red_png, {"width": 30}

    (part,) = to_parts(Shown())
    assert picture_in(part).getpixel((1, 1)) == (255, 0, 0)
    assert part.about == "Shown"

    class Bundled:
        def __init__(self, bundle):
            self.bundle = bundle

        def _repr_png_(self):
            raise NotImplementedError  # IPython's way to decline

        def _repr_mimebundle_(self, include, exclude):
            return self.bundle

    png = {"image/png": base64.encodebytes(red_png).decode(), "text/plain": "no"}
    assert isinstance(to_parts(Bundled(png))[0], Image)
    text = {"text/html": "<i>", "text/plain": "plain", "text/markdown": "*marked*"}
    assert to_parts(Bundled(text))[0].text == "*marked*"
    assert to_parts(Bundled({"text/html": "<i>"}))[0].text.endswith("Bundled object>")


def test_an_object_that_breaks_while_it_is_read_is_named():
    """With the cause, whatever it raises; an error of this package passes as it is."""

    class Chart:
        def _repr_png_(self):
            raise FileNotFoundError("dot")

    class Frame(pd.DataFrame):
        @property
        def shape(self):
            raise RuntimeError("closed")

    class Asks:
        def _repr_claude_(self):
            raise RateLimitError("slow down")

    with pytest.raises(ContentError, match=r"`c`: Chart\._repr_png_\(\) failed \(FileNotF"):
        to_parts(Chart(), name="c")
    with pytest.raises(ContentError, match=r"`f`: This Frame could not be read \(RuntimeError"):
        to_parts(Frame(), name="f")
    with pytest.raises(RateLimitError):
        to_parts(Asks())


def test_an_open_file_and_bytes_in_memory_are_their_content(red_png, tmp_path, picture_in):
    """From the beginning, wherever they were read to; and they stay there."""
    path = tmp_path / "a.png"
    path.write_bytes(red_png)
    buffer = io.BytesIO(red_png)
    buffer.name = str(tmp_path / "a.csv")  # as some upload wants it, whatever lies there
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with path.open("rb") as file, tempfile.TemporaryFile() as unnamed:
        unnamed.write(red_png)
        for each in (buffer, file, unnamed):
            each.seek(7)
            (part,) = to_parts(each, name="x")
            assert picture_in(part).getpixel((1, 1)) == (255, 0, 0)
            assert each.tell() == 7
    with (tmp_path / "a.csv").open() as file:
        assert "table, 1 row" in to_parts(file)[0].text
    for words in (io.StringIO("words"), io.BytesIO(b"words")):
        assert to_parts(words)[0].text == "words"
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


def test_boxes_and_uploads_are_what_is_in_them(red_png):
    """Never the repr of their bytes."""
    picture = ipywidgets.Image(value=red_png)
    box = ipywidgets.HBox([ipywidgets.VBox([picture]), ipywidgets.Label("words")])
    labels = ["box[0]:", "[0]:", "IMAGE", "box[1]:", "words"]
    assert texts(to_parts(box, name="box")) == labels
    form = ipywidgets.Box([ipywidgets.Password(value="s3cret")])
    assert texts(to_parts(form))[-1] == "Password()"
    upload = ipywidgets.FileUpload()
    file = {"name": "a.png", "type": "image/png", "size": len(red_png), "content": red_png}
    upload.value = ({**file, "last_modified": datetime.datetime.now(datetime.UTC)},)
    name, shown = to_parts(upload, name="fu")
    assert name.text == "fu['a.png']:"
    assert isinstance(shown, Image)


def test_a_list_of_paths_is_read_as_each_would_be(red_png, tmp_path):
    """Tables, texts and pictures, under their labels; beside other things a path is a name."""
    for name, data in (("a.csv", b"n\n1\n"), ("b.txt", b"words"), ("c.png", red_png)):
        (tmp_path / name).write_bytes(data)
    paths = sorted(tmp_path.iterdir())
    parts = to_parts(paths, name="files")
    labels, table = [f"files[{n}]:" for n in range(3)], parts[1].text
    assert texts(parts) == [labels[0], table, labels[1], "words", labels[2], "IMAGE"]
    assert "a.csv: table, 1 row" in table
    with pytest.raises(ContentError, match=r"There is no file .*nope\.csv"):
        to_parts([*paths, tmp_path / "nope.csv"])
    picture = ipywidgets.Image(value=red_png)
    with pytest.raises(ContentError, match=r"images\[1\] is None\."):
        to_parts([picture, None], name="images")
    (part,) = to_parts({"log": paths[1], "n": 3}, name="config")
    assert "words" not in part.text
    assert "b.txt" in part.text


DRAWING = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="50">'
    '<a href="https://example.com"><rect width="100" height="50" fill="red"/></a></svg>'
)


class TestSvg:
    def test_it_is_drawn_by_what_is_installed(self, tmp_path, picture_in):
        """A file and a display; a link in it is only a link."""
        pytest.importorskip("vl_convert")
        (tmp_path / "a.svg").write_text(DRAWING)
        for obj in (tmp_path / "a.svg", SVG(DRAWING)):
            (part,) = to_parts(obj)
            assert (part.width, part.height) == (200, 100)
            assert picture_in(part).getpixel((20, 20)) == (255, 0, 0)

    def test_what_cannot_be_drawn_goes_as_its_source_and_says_why(self):
        """Nothing is fetched."""
        pytest.importorskip("vl_convert")
        for svg, why in (
            (DRAWING.replace("<rect", '<image href="http://h/x.png"/><rect'), "would be fetched"),
            (DRAWING.replace("<rect", '<use xlink:href="other.svg#a"/><rect'), "would be fetched"),
            (DRAWING.replace("red", "url(http://h/x.svg#a)"), "would be fetched"),
            (DRAWING.replace("<rect", "<style>@import 'x.css'</style><rect"), "would be fetched"),
            (DRAWING.replace('"100"', '"4e6"', 1), "it has 4,000,000 by 50 pixels"),
            ("<!-- <svg> -->" + DRAWING.replace('"50"', '"99999in"', 1), "100 by 9,599,904 pixels"),
            (DRAWING.replace('height="50"', 'viewBox="0 0 1 1e6"', 1), "100 by 100,000,000 pixels"),
            (DRAWING.replace('width="100"', "", 1), "says no size"),
            (DRAWING.replace('"100"', '"4em"', 1), "says no size"),
            ("<svg", "does not draw it"),
        ):
            part = svg_part(svg)
            assert part.text == svg
            assert why in part.notes[0]


def test_the_size_of_a_picture_and_a_table_is_told(figure, red):
    """For lists of variables; a namesake that has no shape does no harm."""
    named = type("DataFrame", (), {"__module__": "pandas.x"})()
    values = pd.DataFrame({"a": [1, 2]}), red, figure, [1, 2, 3], named
    assert [*map(size_of, values)] == ["2×1", "60×40", "4×2 in", "", ""]


@pytest.fixture
def axes():
    """Four axes of one figure, as `plt.subplots` gives them."""
    figure, axes = plt.subplots(2, 2, figsize=(4, 2), dpi=100, facecolor=(0, 0, 1))
    yield axes
    plt.close(figure)


def test_plain_values_become_one_listing():
    """Short containers read as Python writes them, as part of the sentence."""
    for container, text in [
        ([1, "two", None], "[1, 'two', None]"), ((1,), "(1,)"), ((), "()"), ([], "[]"), ({}, "{}"),
        (set(), "set()"), ({"b", "a", "c"}, "{'a', 'b', 'c'}"), ({1, "a"}, "{'a', 1}"),
        (frozenset({2, 1}), "frozenset({1, 2})"), (collections.deque([1, 2]), "deque([1, 2])"),
        (collections.OrderedDict(a=1), "OrderedDict({'a': 1})"),
        ({"a": 1}.keys(), "dict_keys(['a'])"),
        (collections.Counter("aab"), "Counter({'a': 2, 'b': 1})"),
        (collections.UserList([1]), "UserList([1])"), (Pair(1, "x"), "Pair(left=1, right='x')"),
        (types.MappingProxyType({"a": 1}), "mappingproxy({'a': 1})"),
        ({"a": {"b": [1, (2,)]}}, "{'a': {'b': [1, (2,)]}}"),
        ([np.float64(1.5), np.int8(2)], "[1.5, 2]"),
        ({"n": np.arange(3)}, "{'n': array([0, 1, 2])}"),
        ([datetime.date(2024, 5, 1)], "[datetime.date(2024, 5, 1)]"),
    ]:  # fmt: skip
        assert to_parts(container, name="x") == [Text(text, about="", inline=True)]
    assert hex(10**5000) in to_parts([10**5000])[0].text


def test_a_long_listing_stands_apart_and_says_how_much_is_shown():
    """On a line of its own; a million numbers are cut at the limit."""
    (part,) = to_parts(list(range(100)))
    assert (part.text, part.inline) == (str(list(range(100))), False)
    assert part.about.startswith("list of 100 items, ")
    (part,) = to_parts(list(range(1_000_000)), limits=Limits(text_chars=500))
    assert len(part.text) <= 500
    shown = int(part.text.split("… ")[1].split(" of 1,000,000 items shown")[0])
    assert f" {shown - 1}, … {shown} of" in part.text


def test_rich_entries_come_in_order_under_their_labels(red, figure):
    """A label says how the user would reach each entry."""
    frame = pd.DataFrame({"a": [1]})
    results = {"title": "Q1", "plots": [red, figure], 3: frame, "pair": Pair(red, 1)}
    parts = to_parts(results, name="res")
    assert texts(parts) == [
        "res['title']: 'Q1'", "res['plots'][0]:", "IMAGE", "res['plots'][1]:", "IMAGE",
        "res[3]:", parts[6].text, "res['pair'].left:", "IMAGE", "res['pair'].right: 1",
    ]  # fmt: skip
    assert parts[6].text.startswith("DataFrame, 1 row")


def test_axes_of_one_figure_give_that_figure_once(axes, picture_in):
    """What `subplots`, `subplot_mosaic` and `bar` return, a tuple too, stands for the figure."""
    first, second, *_ = axes.flat
    bars = first.bar(["a", "b"], [1, 2])
    mosaic = {"left": first, "right": second}
    for arranged in (axes, first, mosaic, (first.figure, axes), [[first], [second]], bars):
        (part,) = to_parts(arranged, name="axes")
        assert picture_in(part).size == (400, 200)
        assert picture_in(part).getpixel((1, 1)) == (0, 0, 255)
    (part,) = to_parts(pd.DataFrame({"figure": [first.figure], "savefig": [1]}))
    assert part.about == "DataFrame 1×2"


def test_a_cycle_through_rich_entries_is_cut(red):
    """An image inside a list that holds itself is sent once."""
    loop = [red]
    loop.append(loop)
    parts = to_parts(loop, name="x")
    assert texts(parts)[:2] == ["x[0]:", "IMAGE"]
    assert sum(isinstance(part, Image) for part in parts) == 1
    assert parts[2].text.startswith("x[1]: [")
    assert "[…]" in parts[2].text


def test_an_error_says_which_entry_it_was(red):
    """One bad entry of many is named by its whole label."""

    class Bad:
        def _repr_claude_(self):
            raise ValueError("no")

    with pytest.raises(ContentError, match=r"^`scores\['x'\]\[1\]`: Bad\._repr_claude_"):
        to_parts({"a": red, "x": [1, Bad()]}, name="scores")


def test_the_entries_of_a_container_share_the_room(red):
    """Ten tables get a tenth each; what leaves no room for the rest is counted."""
    frame = pd.DataFrame(np.arange(4_000.0).reshape(400, 10))
    parts = to_parts([frame] * 10, limits=Limits(text_chars=8_000))
    assert sum(len(part.text) for part in parts) <= 8_000
    assert sum("DataFrame, 400 rows" in part.text for part in parts) == 10
    parts = to_parts([red, *["x" * 300] * 100], name="x", limits=Limits(text_chars=2_000))
    assert parts[-1].text.endswith(" of 101 items shown]")
    assert sum(len(part.text) for part in parts if isinstance(part, Text)) <= 2_500


@dataclasses.dataclass
class Run:
    """What a user keeps of an experiment."""

    tags: set[str]
    result: object = None
    token: str = dataclasses.field(default="xyzzy", repr=False)


def test_dataclasses_read_as_their_repr_but_for_the_order_of_sets():
    """A set has another order in the next kernel, and the same notebook sends the same words."""
    many = {f"tag{n}" for n in range(20)}
    (text,) = texts(to_parts(Run(many)))
    assert re.findall(r"tag\d+", text) == sorted(many)
    assert texts(to_parts([Run({"b", "a"}, 1.5)])) == ["[Run(tags={'a', 'b'}, result=1.5)]"]
    assert "xyzzy" not in text


def test_an_array_of_plain_objects_stays_an_array():
    """Only what holds something rich is opened; of a vast one the first values tell."""
    (part,) = to_parts(np.array(["a", None], dtype=object), name="x")
    assert part.text == "x: ndarray, shape (2,), object\n['a', None]"
    vast = np.broadcast_to(np.array("a", dtype=object), (10**12,))
    (text,) = texts(to_parts(vast))
    assert "The first 100 of 1,000,000,000,000 values" in text
