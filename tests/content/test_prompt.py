"""What a prompt's braces mean, and what they never do."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from segmind_jupyter.content.parts import Image, Limits
from segmind_jupyter.content.prompt import Prompt, compose, gather
from segmind_jupyter.errors import ContentError


def text_of(prompt: Prompt) -> str:
    (block,) = prompt.blocks()
    return block["text"]


def picture(colour: str = "red", size: tuple[int, int] = (40, 20)):
    from PIL import Image as Pillow

    return Pillow.new("RGB", size, colour)


@given(st.text(min_size=1))
@example('{"a": 1}')
@example("{")
@example("{}")
@example("}{")
@example("costs $5")
@example("{{name}}")
@example("{name")
@example("{name.}")
@example("{name[}")
@example("\\frac{a}{b} {name[0]} {name['k']} {name.attr}")
@example("\r\n{x}\r\n\n")
@example("{\u0301}")
def test_text_without_a_known_name_is_byte_identical(body):
    """Whatever is typed arrives, if nothing in it names a variable."""
    if not body.strip():
        with pytest.raises(ContentError):
            compose(body, {})
    else:
        assert text_of(compose(body, {})) == body


BRACES = st.lists(
    st.sampled_from(
        ["{", "}", "{{", "}}", "known", "other", ".", "[", "]", "0", "'", " ", "_", "a"]
    )
).map("".join)


@given(BRACES)
def test_braces_in_any_order_lose_nothing_but_the_name(body):
    """With one known name, what is left is what was typed, less the braces that named it."""
    marker = "\x00"
    composed = compose(body + "x", {"known": marker})
    expected = re.sub(
        r"\{\{known\}\}|\{known\}", lambda m: "{known}" if m[0][1] == "{" else marker, body
    )
    assert text_of(composed) == expected + "x"


@given(BRACES)
def test_raw_is_byte_identical_whatever_is_known(body):
    """`--raw` reads no names at all."""
    assert text_of(compose(body + "x", {"known": 1, "other": 2, "a": 3}, raw=True)) == body + "x"


NAMESPACE = {
    "n": 3,
    "word": "sun",
    "thing": SimpleNamespace(size=7, inner=SimpleNamespace(deep=[1, {"k": "v"}]), _hidden="no"),
    "row": [10, 20, 30],
    "table": {"key": "value", "two words": 2, "it's": 5},
    "größe": 9,
}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{n}", "3"),
        ("{word}!", "sun!"),
        ("{thing.size}", "7"),
        ("{row[0]} {row[-1]}", "10 30"),
        ("{table['key']} {table[\"two words\"]}", "value 2"),
        ('{table["it\'s"]}', "5"),
        ("{thing.inner.deep[1]['k']}", "v"),
        ("{größe}", "9"),
        ("{n}{n}{word}", "33sun"),
        ("{{n}} {n}", "{n} 3"),
        ("{{{n}}}", "{{n}}"),
        ("${n}", "$3"),
        ("file_{n}.csv", "file_3.csv"),
    ],
)
def test_a_path_stands_for_what_it_leads_to(body, text):
    """Names, attributes, whole numbers and quoted keys."""
    assert text_of(compose(body, NAMESPACE)) == text


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{m}", "no variable has the name `m`"),
        ("{wrd}", "Did you mean `word`?"),
        ("{thing.sise}", "`thing` (SimpleNamespace) has no attribute `sise`"),
        ("{row[9]}", "`row` (list) has no item `[9]`"),
        ("{row['x']}", "has no item"),
        ("{table['nope']}", "`table` (dict) has no item `['nope']`"),
        ("{thing._hidden}", "leading underscore"),
        ("{n.__class__}", "leading underscore"),
        ("{thing.inner.__dict__['deep']}", "leading underscore"),
    ],
)
def test_a_path_that_leads_nowhere_is_sent_as_typed_and_pointed_out(body, why):
    """The note says where the path ends."""
    prompt = compose(f"See {body}", NAMESPACE)
    assert text_of(prompt) == f"See {body}"
    (note,) = prompt.notes
    assert why in note


def test_code_in_braces_is_not_pointed_out():
    """Only what looks like a name is; JSON and calls are meant as typed."""
    assert compose("{'a': 1} {f(x)} {} { m } {{n + 1}} {m!r} {m:>3}", {"n": 1}).notes == ()


@pytest.mark.parametrize(
    "body",
    [
        "{n.head()}",
        "{len(n)}",
        "{f(1, n)}",
        "{n:.2f}",
        "{n!r}",
        "{n + 1}",
        "{n[['a']]}",
        "{n[n.a > 1]}",
        "{n['a]}",
    ],
)
def test_an_expression_of_a_known_name_is_pointed_out(body):
    """Whoever writes f-strings expects it to be worked out, and pays for the literal."""
    prompt = compose(f"See {body}", {"n": 1})
    assert text_of(prompt) == f"See {body}"
    assert prompt.notes == (
        f"`{body}` was sent as typed: only names, attributes and keys are read. "
        "Assign it to a variable first.",
    )


def test_many_unknown_names_are_summed_up():
    """A prompt full of somebody else's template does not drown the reply in notes."""
    prompt = compose(" ".join(f"{{v{i}}}" for i in range(20)), {})
    assert len(prompt.notes) == 6
    assert prompt.notes[-1] == "15 more such names were sent as typed."


class Trap:
    """Raises at every touch that a prompt can cause."""

    def __getattr__(self, name):
        raise RuntimeError("trap")

    def __getitem__(self, key):
        raise RuntimeError("trap")


@pytest.mark.parametrize("body", ["{trap.x}", "{trap[0]}", "{trap['k']}"])
def test_an_object_that_raises_is_a_note_not_a_crash(body):
    """The error of a property is the user's to see, in words."""
    prompt = compose(body, {"trap": Trap()})
    assert text_of(prompt) == body
    assert "RuntimeError" in prompt.notes[0]


def test_images_stand_where_they_are_named():
    """Text, image, text, image; blank text between two images is not sent."""
    names = {"a": picture("red"), "b": picture("blue")}
    kinds = [block["type"] for block in compose("One {a} two {b}", names).blocks()]
    assert kinds == ["text", "image", "text", "image"]
    kinds = [block["type"] for block in compose("{a} \n {b}\n", names).blocks()]
    assert kinds == ["image", "image"]


def test_an_object_named_twice_is_sent_twice_and_converted_once():
    """It stands where it is named; the encoding is not repeated."""
    prompt = compose("{a} or {a}", {"a": picture()})
    first, second = (item.parts[0] for item in prompt.sent)
    assert first is second
    assert isinstance(first, Image)
    assert [block["type"] for block in prompt.blocks()] == ["image", "text", "image"]


def test_included_objects_go_first_in_order():
    """And a path works there too."""
    names = {"a": picture("red"), "box": SimpleNamespace(b=picture("blue"))}
    prompt = compose("Which?", names, include=["box.b", "a"])
    assert [item.name for item in prompt.sent] == ["box.b", "a"]
    assert [block["type"] for block in prompt.blocks()] == ["image", "image", "text"]


@pytest.mark.parametrize("path", ["nope", "a.nope", "a[0", "a b", "", "__a", "a()", "1"])
def test_an_unknown_include_is_an_error_not_a_note(path):
    """Whoever includes an object wants it sent."""
    with pytest.raises(ContentError, match="-i"):
        compose("Hi", {"a": 1}, include=[path])


def test_an_object_that_cannot_be_sent_is_named():
    """The error says which of the prompt's names it was."""
    with pytest.raises(ContentError, match="blob"):
        compose("See {blob}", {"blob": b"\x00\xff\xfe broken"})


def test_values_are_gathered_in_the_order_given():
    """`ask` takes words and objects alike."""
    blocks = gather(["What is", picture(), "or", 5]).blocks()
    assert [block["type"] for block in blocks] == ["text", "image", "text"]
    assert blocks[-1]["text"] == "or\n5"


@pytest.mark.parametrize("contents", [[], [""], ["  \n"]])
def test_nothing_to_ask_is_an_error(contents):
    """An empty message is refused by the model anyway."""
    with pytest.raises(ContentError, match="ask"):
        gather(contents)


def test_a_prompt_is_as_long_as_what_was_typed_in_time():
    """Twenty thousand open braces are read in one pass."""
    body = "{" * 20_000 + "a" + "[0]" * 5_000
    assert text_of(compose(body, {"a": 1})) == body


@pytest.mark.parametrize("body", ["{n }", "{ n}", "{ n }"])
def test_a_space_beside_a_known_name_is_pointed_out(body):
    """The way out is in the note."""
    prompt = compose(f"See {body}", {"n": 1})
    assert text_of(prompt) == f"See {body}"
    assert prompt.notes[0].endswith("hold no space. Write `{n}`.")


def test_more_images_than_a_request_takes_are_refused():
    """Wherever they come from: the limit is one of the whole request."""
    names = {"a": [picture()] * 60, "b": [picture()] * 41}
    with pytest.raises(ContentError, match="101 images"):
        compose("{a} {b}", names)
    with pytest.raises(ContentError, match="101 images"):
        gather([picture()] * 101)


@pytest.mark.heavy
def test_many_images_are_made_smaller_where_the_edge_was_raised():
    """More than 20 images may have 2000 px a side at most."""
    limits = Limits(image_edge_px=2576, image_tokens=4784)
    wide = picture(size=(3000, 600))
    few, many = (gather([wide] * n, limits=limits) for n in (20, 21))
    assert {item.images[0].width for item in few.sent} == {2576}
    assert {item.images[0].width <= 2000 for item in many.sent} == {True}


def test_hints_are_looked_up_for_the_few_that_are_shown():
    """A template of thousands of names beside thousands of variables is read at once."""
    names = {f"variable_{n}": n for n in range(3000)}
    prompt = compose(" ".join(f"{{variabel_{n}}}" for n in range(3000)), names)
    assert "Did you mean `variable_0`?" in prompt.notes[0]
    assert len(prompt.notes) == 6
