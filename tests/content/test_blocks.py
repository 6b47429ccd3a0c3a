"""Any object becomes blocks: plain values, known kinds, display methods, and what fails."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import io
import json
import subprocess
import sys
import types
import weakref
from unittest.mock import MagicMock, Mock

import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import HTML, Markdown
from IPython.display import Image as NotebookImage

from segmind_jupyter.content.convert import to_blocks, to_parts
from segmind_jupyter.content.parts import STANDARD, Image, Limits, Text
from segmind_jupyter.errors import ContentError, RateLimitError


class Colour(enum.Enum):
    RED = 1


class Level(enum.StrEnum):
    HIGH = "high"


@dataclasses.dataclass
class Point:
    x: int = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (np.str_("as it is"), "as it is"),
        (3, "3"),
        (True, "True"),
        (None, "None"),
        (1.5, "1.5"),
        (2 + 1j, "(2+1j)"),
        (decimal.Decimal("1.10"), "1.10"),
        (fractions.Fraction(1, 3), "1/3"),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (datetime.datetime(2024, 5, 1, 12, 30), "2024-05-01 12:30:00"),
        (datetime.timedelta(days=2), "2 days, 0:00:00"),
        (Colour.RED, "Colour.RED"),
        (Level.HIGH, "high"),
        (np.float32(2.5), "2.5"),
        (np.bool_(True), "True"),
        (np.datetime64("2024-05-01"), "2024-05-01"),
        (pd.Timestamp("2024-05-01"), "2024-05-01 00:00:00"),
        (range(3), "range(0, 3)"),
    ],
)
def test_a_plain_value_reads_as_part_of_the_sentence(value, text):
    """A word or a number is inline text with nothing for the footer."""
    assert to_parts(value) == [Text(text, about="", inline=True)]


def test_a_string_is_never_taken_as_a_path(tmp_path):
    """A string that names a file is sent as that string."""
    file = tmp_path / "secret.txt"
    file.write_text("secret")
    assert to_parts(str(file))[0].text == str(file)


def test_a_long_string_is_cut_and_says_so():
    """The cut text and its note fit the limit; the footer tells the whole length."""
    (part,) = to_parts("word " * 10_000, limits=Limits(text_chars=1_000))
    assert len(part.text) <= 1_000
    assert part.text.startswith("word word")
    assert "of 50,000 not shown]" in part.text
    assert part.text.endswith("word word ")
    assert part.left_out == "1,000 of 50,000 characters"


def test_an_integer_with_more_digits_than_python_prints_goes_as_hex():
    """Python refuses to write ten to the five thousandth in decimal; hexadecimal has no bound."""
    assert to_parts(10**5000)[0].text == hex(10**5000)


def test_a_lone_surrogate_becomes_a_replacement_character():
    """Text that UTF-8 cannot hold is repaired, and a split pair is joined."""
    (block,) = to_blocks("a\ud800b \ud83d\ude00")
    assert block["text"] == "a\ufffdb 😀"
    json.dumps(block, ensure_ascii=False).encode()


@pytest.mark.parametrize("blank", ["", "  \n", b"", [""][0], b" "])
def test_blank_text_makes_no_block(blank):
    """Anthropic models refuse a text block without a visible character."""
    assert to_blocks(blank) == []


def test_texts_side_by_side_become_one_block(red):
    """Neighbouring texts are joined, and images keep their place."""
    blocks = to_blocks(["a", red, "b", 3], name="x")
    assert [block["type"] for block in blocks] == ["text", "image", "text"]
    assert blocks[0]["text"] == "x[0]: 'a'\nx[1]:"
    assert blocks[2]["text"] == "x[2]: 'b'\nx[3]: 3"


def test_a_pil_image_is_sent_with_its_pixels(red, picture_in):
    """The block decodes to the picture that was named."""
    (block,) = to_blocks(red)
    assert block["source"]["media_type"] == "image/png"
    assert picture_in(block).size == (60, 40)
    assert picture_in(block).getpixel((30, 20)) == (255, 0, 0)
    assert to_parts(red)[0].about == "PIL RGB 60×40"


def test_a_pil_image_of_a_foreign_subclass_is_recognised(red, picture_in):
    """Subclasses are found by their ancestry."""

    class Scan(type(red)):
        pass

    scan = Scan()
    scan.__setstate__(red.__getstate__())
    assert picture_in(to_parts(scan)[0]).getpixel((1, 1)) == (255, 0, 0)


def test_an_array_that_is_a_picture_becomes_an_image(picture_in):
    """Height x width x 3 of bytes is a picture; its shape stands in the footer."""
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[..., 1] = 255
    (part,) = to_parts(pixels)
    assert picture_in(part).getpixel((5, 5)) == (0, 255, 0)
    assert part.about == "ndarray 20×30×3 uint8"


def test_a_figure_is_drawn(figure, picture_in):
    """A matplotlib figure becomes its picture."""
    (part,) = to_parts(figure)
    assert picture_in(part).size == (400, 200)
    assert picture_in(part).getpixel((200, 100)) == (0, 0, 255)


def test_a_frame_with_a_column_called_figure_is_a_table(figure):
    """Its columns look like attributes, and must not be taken for a figure."""
    (part,) = to_parts(pd.DataFrame({"figure": [figure], "savefig": [1]}))
    assert isinstance(part, Text)
    assert part.about == "DataFrame 1×2"


def test_notebook_images_are_read_from_data_and_from_files(red_png, tmp_path, picture_in):
    """`IPython.display.Image` is unpacked, whichever way it was made."""
    file = tmp_path / "red.png"
    file.write_bytes(red_png)
    for image in (NotebookImage(data=red_png), NotebookImage(filename=str(file))):
        assert picture_in(to_parts(image)[0]).getpixel((1, 1)) == (255, 0, 0)


def test_a_notebook_image_that_is_only_a_link_is_not_fetched():
    """The package fetches nothing; the error says what to do."""
    with pytest.raises(ContentError, match="Download it first"):
        to_parts(NotebookImage(url="http://127.0.0.1:9/x.png"))


@pytest.mark.parametrize("shown", [Markdown("**bold**"), HTML("**bold**")])
def test_displayed_text_is_sent_as_its_source(shown):
    """What was made for display goes as the text it was made of."""
    assert to_parts(shown)[0].text == "**bold**"


def test_a_function_is_sent_as_its_source():
    """Code can be asked about: it goes in a fence."""

    def doubled(x):
        return 2 * x

    (part,) = to_parts(doubled)
    assert part.text.startswith("```python\n")
    assert "return 2 * x" in part.text
    assert part.about == "source of doubled, 2 lines"
    assert not part.inline


def test_a_fence_is_longer_than_the_backticks_inside():
    """Code that holds a fence cannot end its own."""

    def fenced():
        return "````"

    text = to_parts(fenced)[0].text
    assert text.startswith("`````python")
    assert text.endswith("\n`````")


def test_long_source_is_cut_inside_its_fence():
    """The fence is closed even where the code is cut."""
    (part,) = to_parts(to_parts_of_everything, limits=Limits(text_chars=300))
    assert len(part.text) <= 300
    assert " not shown]\n" in part.text
    assert part.text.endswith("    return 42\n```")


def to_parts_of_everything():
    """Stand for a long function: its source has more than three hundred characters.

    Line after line of docstring, none of which says anything at all, but all of which is source
    code that a user may want to have explained by a model that reads it patiently from the top
    to the end, where it finds that nothing is returned but the number that everybody expects.
    """
    return 42


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (len, "<built-in function len>"),
        (int, "<class 'int'>"),
        (type("Made", (), {"method": lambda self: 1, "__module__": "nowhere"}), None),
        (eval(compile("lambda x: x", "<nowhere>", "eval")), "<function <lambda>>"),
    ],
)
def test_code_without_source_goes_as_its_repr(code, text):
    """Built-in functions, and what was made by a call, have no Python source."""
    text = text or repr(code)
    assert to_parts(code)[0].text == text


def test_a_class_typed_into_a_cell_is_sent_as_its_source():
    """`inspect` finds no source for classes of a notebook; the cell's methods lead to it."""
    shell = InteractiveShell()
    try:
        cell = "import functools\n@functools.total_ordering\nclass Net:\n    depth = 3\n"
        cell += "    def __eq__(self, other):\n        return True\n    __lt__ = __eq__\n"
        shell.run_cell(cell).raise_error()
        text = to_parts(shell.user_ns["Net"])[0].text
    finally:
        shell.history_manager.end_session()
        InteractiveShell.clear_instance()
    assert "@functools.total_ordering\nclass Net:\n    depth = 3" in text


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (ValueError("bad value"), "ValueError: bad value"),
        (KeyError(), "KeyError"),
        (Point(), "Point(x=1)"),
        (types.SimpleNamespace(a=1), "namespace(a=1)"),
        (iter([1]), "<list_iterator object>"),
    ],
)
def test_anything_else_goes_as_its_text(obj, text):
    """The repr, without the address that differs from run to run."""
    assert to_parts(obj)[0].text == text


def test_an_address_is_left_out_wherever_a_text_may_have_one():
    """In the words of an exception, of a `__str__`, and of a reference."""

    class Held:
        pass

    class Said:
        def __str__(self):
            return f"Said({held!r})"

    held = Held()
    for obj in (TypeError(f"no {held!r}, please"), Said(), weakref.ref(held), Held.__init__):
        text = to_parts(obj)[0].text
        assert "0x" not in text
        assert "object" in text or "weakref" in text


def test_a_module_goes_as_its_repr():
    """A module has no better text."""
    assert to_parts(json)[0].text.startswith("<module 'json' from")


def test_str_is_taken_where_the_repr_says_only_the_type():
    """An object with a `__str__` of its own and no repr is sent as that."""

    class Spoken:
        def __str__(self):
            return "spoken"

    assert to_parts(Spoken())[0].text == "spoken"


def test_a_repr_that_raises_is_named_and_not_fatal():
    """The text says which type's repr failed, and how."""

    class Broken:
        def __repr__(self):
            raise ZeroDivisionError

    assert to_parts(Broken())[0].text == "<Broken, whose repr raised ZeroDivisionError>"


@pytest.mark.parametrize(
    "mock",
    [Mock(), MagicMock(), Mock(spec=dict), Mock(spec=pd.DataFrame), MagicMock(spec=list)],
    ids=["any", "magic", "dict", "frame", "list"],
)
def test_a_mock_that_answers_every_attribute_goes_as_its_repr(mock):
    """Special methods are looked up on the type, so a stand-in fools nobody."""
    assert to_parts(mock)[0].text == repr(mock)


def test_png_comes_before_jpeg_and_text(red_png, picture_in):
    """The display methods are asked in order of what they show best."""

    class Shown:
        def _repr_jpeg_(self):
            raise AssertionError("never asked")

        def _repr_png_(self):
            return red_png, {"width": 30}

    (part,) = to_parts(Shown())
    assert picture_in(part).getpixel((1, 1)) == (255, 0, 0)
    assert part.about == "Shown"


def test_none_and_not_implemented_mean_that_there_is_no_such_form(red):
    """IPython's convention: a display method may decline."""
    file = io.BytesIO()
    red.save(file, "JPEG")

    class Shown:
        def _repr_png_(self):
            return None

        def _repr_jpeg_(self):
            raise NotImplementedError

        def _repr_mimebundle_(self, include=None, exclude=None):
            return {"image/jpeg": file.getvalue(), "text/plain": "no"}, {}

    assert isinstance(to_parts(Shown())[0], Image)


def test_a_bundle_may_hold_base64_and_text(red_png):
    """Front ends take image data as base64 text too; without an image, Markdown wins."""
    import base64

    class Shown:
        def __init__(self, bundle):
            self.bundle = bundle

        def _repr_mimebundle_(self, include, exclude):
            return self.bundle

    png = {"image/png": base64.encodebytes(red_png).decode(), "text/plain": "no"}
    assert isinstance(to_parts(Shown(png))[0], Image)
    text = {"text/html": "<i>", "text/plain": "plain", "text/markdown": "*marked*"}
    assert to_parts(Shown(text))[0].text == "*marked*"
    assert to_parts(Shown({"text/html": "<i>"}))[0].text.endswith("Shown object>")


def test_markdown_is_taken_from_an_object_that_shows_it():
    """`_repr_markdown_` is text that a model reads well."""

    class Shown:
        def _repr_markdown_(self):
            return "*marked*"

    assert to_parts(Shown())[0].text == "*marked*"


def test_display_methods_of_a_class_itself_are_not_called():
    """A class is not one of its instances."""

    class Shown:
        def _repr_png_(self):
            raise AssertionError("called on the class")

    assert "_repr_png_" in to_parts(Shown)[0].text


def test_a_display_method_that_raises_is_named():
    """The error names the type, the method and the cause, and says whose name it was."""

    class Chart:
        def _repr_png_(self):
            raise FileNotFoundError("dot")

    with pytest.raises(ContentError, match=r"`c`: Chart\._repr_png_\(\) raised FileNotFoundError"):
        to_parts(Chart(), name="c")


def test_an_image_that_is_no_image_is_refused():
    """A display method that gives something else than bytes or base64 is reported."""

    class Chart:
        def _repr_png_(self):
            return 5

    with pytest.raises(ContentError, match="bytes or base64"):
        to_parts(Chart())


def test_an_object_that_breaks_while_it_is_read_gives_a_content_error():
    """Whatever the user's object raises arrives as one short message with the cause kept."""

    class Frame(pd.DataFrame):
        @property
        def shape(self):
            raise RuntimeError("closed")

    with pytest.raises(ContentError, match=r"`f`: This Frame could not be read \(RuntimeError"):
        to_parts(Frame(), name="f")


def test_an_error_of_this_package_passes_as_it_is():
    """An error raised by a call to the service inside a hook keeps its type."""

    class Asks:
        def _repr_claude_(self):
            raise RateLimitError("slow down")

    with pytest.raises(RateLimitError):
        to_parts(Asks())


def test_the_same_object_gives_the_same_blocks(red, figure):
    """A cell that is run again sends the same request."""
    for obj in (red, figure, {"b", "a", "c"}, object(), pd.DataFrame({"a": [1.5]})):
        assert to_blocks(obj) == to_blocks(obj)


def test_no_heavy_library_is_imported_for_plain_values():
    """Foreign kinds are recognised by name: their packages are never imported for it."""
    heavy = ("numpy", "pandas", "matplotlib", "PIL", "IPython")
    code = (
        "import sys; from segmind_jupyter.content.convert import to_blocks;"
        "to_blocks([1, {'a': object()}, b'x', print]);"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "[]"


def test_limits_are_the_standard_ones_unless_told(red):
    """The default is what every Claude model accepts."""
    assert to_parts(red) == to_parts(red, limits=STANDARD)


def test_svg_goes_as_its_source():
    """A model reads the source; the repr of the object would say nothing."""

    class Drawing:
        def _repr_svg_(self):
            return "<svg><circle r='3'/></svg>"

    (block,) = to_blocks(Drawing())
    assert block == {"type": "text", "text": "<svg><circle r='3'/></svg>"}
