"""Items and a prompt: one prompt an item, in whatever the items are held."""

from __future__ import annotations

import io
import operator
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PILImage

from segmind_jupyter.batch.items import PromptTemplate, listed
from segmind_jupyter.errors import ContentError


def texts(each: PromptTemplate) -> list[str]:
    """The words of each prompt, where it has no images."""
    return ["".join(block["text"] for block in each.prompt(n).blocks()) for n in range(len(each))]


def test_item_and_its_parts_are_read_as_in_a_cell():
    """`{item}`, `{item.attr}`, `{item['key']}` and `{item[0]}`, as often as they are named."""
    assert texts(PromptTemplate("{item} and {item}", ["a", 1])) == ["a and a", "1 and 1"]
    items = [SimpleNamespace(name="x", tags=["t"], by={"who": "me"})]
    each = PromptTemplate("{item.name} {item.tags[0]} {item.by['who']}", items)
    assert texts(each) == ["x t me"]


def test_a_prompt_without_the_item_gets_it_behind(red: PILImage.Image):
    """As `ask` puts one object behind another."""
    each = PromptTemplate("Caption this", [red, "a text"])
    image, text = each.prompt(0).blocks(), each.prompt(1).blocks()
    assert [block["type"] for block in image] == ["text", "image"]
    assert image[0]["text"] == "Caption this"
    assert text == [{"type": "text", "text": "Caption this\na text"}]


def test_a_part_that_an_item_does_not_have_is_an_error_of_that_item():
    """Nobody pays for `{item['title']}` sent as typed; keys of dicts are names too."""
    items = [{"title": "t", "text": "x"}, {"text": "y"}]
    for template, part in (
        ("{item['title']}: {item['text']}", r"\{item\['title'\]\}"),
        ("{title}: {text}", r"\{title\}"),
    ):
        each = PromptTemplate(template, items)
        assert each.prompt(0).blocks() == [{"type": "text", "text": "t: x"}]
        with pytest.raises(ContentError, match=f"no `{part}`: this item \\(dict\\)"):
            each.prompt(1)
    with pytest.raises(ContentError, match=r"mean `\{title\}`"):
        PromptTemplate("{titel}", {"a": {"title": "t"}})


def test_opened_pictures_stay_unloaded(tmp_path: Path, red: PILImage.Image):
    """A list of thousands would hold the pixels of all, once each was sent."""
    for kind in ("PNG", "JPEG", "GIF", "TIFF", "WEBP"):
        red.convert("P" if kind == "GIF" else "RGB").save(file := tmp_path / "red", kind)
        with PILImage.open(file) as picture, PILImage.open(file) as loaded:
            loaded.load()
            blocks = PromptTemplate("Look:", [picture]).prompt(0).blocks()
            assert blocks == PromptTemplate("Look:", [loaded]).prompt(0).blocks()
            assert getattr(picture, "_im", vars(picture).get("im")) is None
            picture.load()  # still can be


class TestTables:
    def test_columns_stand_for_the_cells_of_a_row(self):
        """Any label through the item; a prompt that names none gets the whole row, as a dict."""
        frame = pd.DataFrame({"n": [1, 2], "x": [0.5, 1.5], "unit price": ["a", "b"], 7: 8})
        assert texts(PromptTemplate("{n} {x} {item['unit price']} {item[7]}", frame)) == [
            "1 0.5 a 8", "2 1.5 b 8",
        ]  # fmt: skip
        assert texts(PromptTemplate("Look at:", frame))[0].startswith("Look at:\n{'n': 1, 'x': 0.5")
        assert texts(PromptTemplate("{item}", pd.DataFrame({"item": ["pen"], "n": [1]}))) == ["pen"]

    def test_a_mistyped_column_is_refused(self):
        """At once, with what to write: as typed it would be paid for once a row."""
        frame = pd.DataFrame({"n": [1], "word": ["a"], "unit price": [3], "_x": [4]})
        frame[7] = frame["1990"] = frame["# sold"] = "x"
        for template, message in (
            (
                "{n} {wrod}",
                r"`\{wrod\}` names nothing.*are `\{item\}`, .* mean `\{word\}`\? .*\{\{wr",
            ),
            ("{unit price:.2f}", r"mean `\{item\['unit price'\]\}`"),
            ("{ n }", r"mean `\{n\}`"),
            ("{2 * n} {n * 2}", r"`\{n \* 2\}` names nothing.*mean `\{n\}`"),
            ("{_x}", r"mean `\{item\['_x'\]\}`"),
            ("{item[n]}", r"`\{item\[n\]\}` names nothing"),
            ("{7} {n}", r"`\{7\}` names nothing.*mean `\{item\[7\]\}`.*`\{\{7\}\}`"),
            ("{# sold}", r"mean `\{item\['# sold'\]\}`"),
        ):
            with pytest.raises(ContentError, match=message):
                PromptTemplate(template, frame)

    def test_braces_of_the_users_own_are_doubled_or_no_names(self):
        """The second pair is taken away; what cannot be a name needs none."""
        for template, text in (
            ("{{wrod}} {n}", "{wrod} 1"),
            ("{{word}} {n}", "{word} 1"),
            ("{{{{n}}}} {n}", "{{{n}}} 1"),
            (r"\d{2} \d{{7}} {n}", r"\d{2} \d{7} 1"),
            (r'{"n": 1} \frac{1}{2} {color: red} {n}', r'{"n": 1} \frac{1}{2} {color: red} 1'),
        ):
            each = PromptTemplate(template, pd.DataFrame({"n": [1], "word": ["a"], 7: ["x"]}))
            assert texts(each) == [text]

    def test_columns_of_one_name_are_refused(self):
        """One of them would be lost without a word."""
        with pytest.raises(ContentError, match=r"Two columns are called 'a'.*Rename"):
            PromptTemplate("{item}", pd.DataFrame([[1, 2]], columns=["a", "a"]))

    def test_later_changes_do_not_count(self):
        """The batch goes on in the background while the next cells run."""
        frame, values = pd.DataFrame({"x": ["old"]}), ["old"]
        table, plain = PromptTemplate("{x}", frame), PromptTemplate("{item}", values)
        frame.loc[0, "x"] = values[0] = "new"
        assert texts(table) == texts(plain) == ["old"]

    def test_rows_of_other_libraries_are_the_items(self):
        """As those of pandas: read by columns, nobody would have asked for what is paid."""
        for make in ("polars.DataFrame", "pyarrow.table", "pyarrow.RecordBatch.from_pydict"):
            library, _, make = make.partition(".")
            columns = {"n": [1, 2], "x": [0.5, float("nan")], "word": ["a", None]}
            table = operator.attrgetter(make)(pytest.importorskip(library))(columns)
            assert texts(PromptTemplate("{n} {x} {word}", table)) == [
                "1 0.5 a", "2 (missing) (missing)",
            ]  # fmt: skip
            assert "{'n': 1, 'x': 0.5, 'word': 'a'}" in texts(PromptTemplate("Look at:", table))[0]
            assert list(listed(table).keys) == [0, 1]
        arrow = pytest.importorskip("pyarrow").chunked_array([["a"], ["b"]])
        assert texts(PromptTemplate("{item}", arrow)) == ["a", "b"]


class TestFolders:
    @pytest.fixture
    def folder(self, tmp_path: Path, red_png: bytes) -> Path:
        for name in ("img10.png", "img2.png", "IMG1.PNG", "no suffix", ".hidden.png"):
            (tmp_path / name).write_bytes(red_png)
        (tmp_path / "notes.txt").write_text("no image")
        (tmp_path / "fake.png").write_text("no image either")
        (tmp_path / "below").mkdir()
        return tmp_path

    def test_a_folder_stands_for_its_images_in_the_order_of_their_names(self, folder: Path):
        """They are told by how they begin, or by their names; hidden ones are left alone."""
        for form in (str, Path):
            each = PromptTemplate("Caption this", form(folder))
            names = ["IMG1.PNG", "fake.png", "img10.png", "img2.png", "no suffix"]
            assert list(each.items.keys) == names
            assert each.items.take(3) == folder / "img2.png"
            assert [block["type"] for block in each.prompt(0).blocks()] == ["text", "image"]

    def test_a_broken_image_is_an_error_of_its_own(self, tmp_path: Path, red_png: bytes):
        """In a folder and in a list; neither left out nor sent as the text that it may be."""
        (tmp_path / "a.jpg").write_bytes(b"<html>not found</html>")
        (tmp_path / "b.png").write_bytes(red_png)
        for items in (tmp_path, [tmp_path / "a.jpg", tmp_path / "b.png"]):
            each = PromptTemplate("Look:", items)
            with pytest.raises(ContentError, match=r"a\.jpg holds no image that can be read"):
                each.prompt(0)
            assert [block["type"] for block in each.prompt(1).blocks()] == ["text", "image"]


def test_one_thing_is_refused_with_what_to_do(tmp_path: Path):
    """Rather than asked about letter by letter, or row of pixels by row of pixels."""
    for items, message in (
        ("one text", r"no folder 'one text'.* a text, .*goes in a list: \[text\]"),
        ("nul\0" + "x" * 5000, "There is no folder"),
        (tmp_path, r"holds no image files.*glob"),
        (b"bytes", r"This bytes is one item, not many. Put it in a list: \[item\]"),
        (None, "The items are None"),
        (np.zeros((32, 32, 3), np.uint8), "This ndarray is one item"),
        (PILImage.new("RGB", (9, 9)), "This Image is one item"),
    ):
        with pytest.raises(ContentError, match=message):
            listed(items)
    for template in (["a"], " \n"):
        with pytest.raises(ContentError, match="is no text"):
            PromptTemplate(template, ["a"])
    blocks = PromptTemplate("Look:", np.zeros((2, 16, 16, 3), np.uint8)).prompt(1).blocks()
    assert [block["type"] for block in blocks] == ["text", "image"], "four dimensions are many"


class TestNames:
    def test_a_name_that_nothing_here_has_is_refused_for_a_list_too(self):
        """As typed it would be paid for many times; a variable is put in by Python."""
        with pytest.raises(ContentError, match=r"`\{context\}` names nothing.*ask_each\(f\""):
            PromptTemplate("Given {context}, is {item} ok?", ["a", "b"])
        code = "```js\n${x} {{ user }} {y}\n``` \\frac{x}{y} `{z}` of {item}"
        assert texts(PromptTemplate(code, ["a"])) == [code.replace("{item}", "a")]

    def test_names_of_pictures_and_tables_are_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, red_png: bytes
    ):
        """In a list, a series, a column, a value of a dict."""
        monkeypatch.chdir(tmp_path)
        Path("a.png").write_bytes(red_png)
        Path("b.csv").write_text("x\n1\n")
        for name in ("a.png", "b.csv"):
            for template, items, how in (
                ("Caption {item}", ["words", name], r"map\(Path, names\)"),
                ("Caption", pd.Series([name]), r"map\(Path, names\)"),
                ("{photo}", pd.DataFrame({"photo": [name]}), r"Path\(row\['photo'\]\)"),
                ("{photo}", [{"photo": name}], r"Path\(row\['photo'\]\)"),
            ):
                with pytest.raises(ContentError, match=f"name of a file .'{name}'.*{how}"):
                    PromptTemplate(template, items)
            PromptTemplate("{n}", pd.DataFrame({"photo": [name], "n": [1]}))  # is not sent


def test_what_holds_the_items_may_be_anything():
    """Keys of a mapping, an index, or counted from 0; none is fine too."""
    series = pd.Series([5, 6], index=["same", "same"])
    for items, keys in (
        (OrderedDict(b=5, a=6), ["b", "a"]),
        (series, ["same", "same"]),
        ((n for n in (5, 6)), [0, 1]),
        (np.array([5, 6]), [0, 1]),
        ({5: "", 6: ""}.keys(), [0, 1]),
    ):
        found = listed(items)
        assert list(found.keys) == keys
        assert [found.take(n) for n in range(2)] == [5, 6]
    for nothing in ([], (), pd.DataFrame({"x": []}), {}, iter(())):
        assert len(PromptTemplate("{item}", nothing)) == 0


def test_a_missing_value_reads_as_such_in_a_row_and_is_no_item_by_itself():
    """Of whichever kind; in a series, in a list and in a mapping nothing is asked about it."""
    for column in (
        pd.Series([None, np.float32("nan")], dtype=object),
        pd.Series([pd.NA], dtype="Int64"),
        pd.Series([pd.NaT], dtype="datetime64[ns]"),
    ):
        assert texts(PromptTemplate("{x}!", pd.DataFrame({"x": column}))) == ["(missing)!"] * len(
            column
        )
        for items, words in (
            (column, "{item}!"),
            ([*column], "Look"),
            ({"x": column.iat[0]}, "{item}"),
            ([" "], "{item}!"),
        ):
            with pytest.raises(ContentError, match="This item is missing"):
                PromptTemplate(words, items).prompt(0)


def test_a_frame_of_another_library_is_refused_in_one_sentence():
    """It would be iterated by its columns; a lazy one is never computed behind the user's back."""
    foreign = type("Frame", (list,), {"columns": (), "toPandas": 0})
    for frame in (foreign(), pytest.importorskip("polars").LazyFrame({"x": [1]})):
        with pytest.raises(ContentError, match="make it a DataFrame of pandas or polars first"):
            listed(frame)


@pytest.fixture
def red() -> PILImage.Image:
    """A red picture, 60 x 40 px."""
    return PILImage.new("RGB", (60, 40), (255, 0, 0))


@pytest.fixture
def red_png(red: PILImage.Image) -> bytes:
    """The red picture as a PNG file."""
    file = io.BytesIO()
    red.save(file, "PNG")
    return file.getvalue()
