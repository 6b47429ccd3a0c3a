"""Users say how their types are shown: `register` and `_repr_claude_`."""

from __future__ import annotations

import base64

import pandas as pd
import pytest

from segmind_jupyter.content.convert import to_parts
from segmind_jupyter.content.parts import Image, Text
from segmind_jupyter.content.register import register
from segmind_jupyter.errors import ContentError


def claude(form):
    """An object whose `_repr_claude_` gives `form`."""

    class Own:
        def _repr_claude_(self):
            return form

    return Own()


def test_every_kind_of_form_is_accepted(red, red_png, figure, picture_in):
    """Text, an image, a figure, a table, wire blocks, or a list of them, in order."""
    frame = pd.DataFrame({"a": [1]})
    data = base64.b64encode(red_png).decode()
    source = {"type": "base64", "media_type": "image/png", "data": data}
    blocks = {"type": "text", "text": "block"}, {"type": "image", "source": source}
    parts = to_parts(claude(["text", red, (figure, frame), *blocks]))
    assert [type(part) for part in parts] == [Text, Image, Image, Text, Text, Image]
    assert [parts[0].text, parts[4].text] == ["text", "block"]
    assert picture_in(parts[1]).getpixel((1, 1)) == (255, 0, 0)
    assert picture_in(parts[2]).getpixel((1, 1)) == (0, 0, 255)
    assert picture_in(parts[5]).getpixel((1, 1)) == (255, 0, 0)


def test_a_registered_function_wins_over_everything(red):
    """Registration comes before the object's own method and before the known kinds."""

    class Table(pd.DataFrame):
        def _repr_claude_(self):
            raise AssertionError("never asked")

    @register(Table)
    def _(table):
        return f"a table of {len(table)}"

    assert to_parts(Table({"a": [1, 2]}))[0].text == "a table of 2"


def test_only_a_class_can_be_registered():
    """`object` would replace everything."""
    for kind in (object, "Molecule", 3, None, list[int], int | str):
        with pytest.raises(TypeError, match="takes a class"):
            register(kind)


def test_the_method_may_decline():
    """None and NotImplementedError leave the object to the known kinds; a class is not asked."""

    class Words(str):
        declines = None

        def _repr_claude_(self):
            if self.declines is not None:
                raise self.declines

    assert to_parts(Words("words"))[0].text == "words"
    Words.declines = NotImplementedError
    assert to_parts(Words("words"))[0].text == "words"
    assert "_repr_claude_" in to_parts(type(claude("never")))[0].text


def test_what_is_no_form_is_refused():
    """A dict must be a content block, None is a forgotten `return`, and nothing is awaited."""

    async def awaited():
        return "text"

    pieces = (text for text in "ab")
    for form in ({"type": "video"}, {"text": "x"}, {}, [None], pieces, awaited()):
        with pytest.raises(ContentError, match=r"Own\._repr_claude_\(\) returned a \w+, which is"):
            to_parts(claude(form))
    opened = type("Shelf", (dict,), {"close": lambda shelf: pytest.fail("closed")})()
    with pytest.raises(ContentError, match="returned a Shelf"):
        to_parts(claude(opened))
    kind = type("Point", (), {})
    register(kind)(lambda point: None)
    with pytest.raises(ContentError, match="returned a NoneType"):
        to_parts(kind())


def test_forms_that_lead_to_each_other_are_refused():
    """Two objects may not pass the question back and forth, nor make new ones for ever."""

    class Ping:
        def _repr_claude_(self):
            return Ping()

    with pytest.raises(ContentError, match="leads back"):
        to_parts(Ping())
