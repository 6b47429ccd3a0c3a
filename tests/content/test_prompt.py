"""What a prompt's braces mean, what they never do, and what is said of what was sent."""

from __future__ import annotations

import io
import re
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import PIL.Image
import PIL.ImageSequence
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from IPython.display import Audio

from segmind_jupyter.content.parts import Image, Limits, Text
from segmind_jupyter.content.prompt import Attachment, Prompt, compose, described, gather
from segmind_jupyter.errors import ContentError


def text_of(prompt: Prompt) -> str:
    (block,) = prompt.blocks()
    return block["text"]


BRACES = st.lists(st.sampled_from(["{", "}", "{{", "}}", "known", "other", "0", "'", " ", "a"]))


@given(BRACES.map("".join) | st.text())
@example("{'a': 1} {} $5 {{name}} \\frac{a}{b} {name[0]} {name['k']}\r\n{x}\r\n\n{\u0301}")
@example("{knowna}")
def test_braces_in_any_order_lose_nothing_but_the_name(body):
    """What arrives is what was typed, less the braces that named the one known object.

    A slip of that name in braces, as of two words that were drawn side by side, is asked about.
    """
    marker = "\x00"
    expected = re.sub(
        r"\{\{known\}\}|\{known\}", lambda m: "{known}" if m[0][1] == "{" else marker, body
    )
    try:
        arrived = text_of(compose(body + "x", {"known": marker}))
    except ContentError as error:
        slip = re.match(r"`\{(\w+)\}`: no variable .* Did you mean `\{known\}`\?", str(error))
        assert slip
        assert slip[1] != "known"
        assert f"{{{slip[1]}}}" in body
        return
    assert arrived == expected + "x"


NAMESPACE = {
    "n": 3,
    "word": "sun",
    "thing": SimpleNamespace(size=7, inner=SimpleNamespace(deep=[1, {"k": "v"}]), _hidden="no"),
    "row": [10, 20, 30],
    "table": {"key": "value", "two words": 2, "it's": 5},
    "größe": 9,
}


def test_a_path_stands_for_what_it_leads_to():
    """Names, attributes, whole numbers and quoted keys."""
    for body, text in (
        ("{n}", "3"), ("{word}!", "sun!"), ("{thing.size}", "7"), ("{row[0]} {row[-1]}", "10 30"),
        ("{table['key']} {table[\"two words\"]}", "value 2"), ('{table["it\'s"]}', "5"),
        ("{thing.inner.deep[1]['k']}", "v"), ("{größe}", "9"), ("{n}{n}{word}", "33sun"),
        ("{{n}} {n}", "{n} 3"), ("{{{n}}}", "{{n}}"), ("$ {n}", "$ 3"),
        ("file-{n}.csv", "file-3.csv"),
    ):  # fmt: skip
        assert text_of(compose(body, NAMESPACE)) == text


def test_braces_that_resemble_no_name_go_as_typed_and_are_pointed_out():
    """The note says why; JSON and templates are full of such."""
    for body, why in (
        ("{m}", "no variable has the name `m`"),
        ("{moon}", "no variable has the name `moon`"),
        ("{thing._hidden}", "leading underscore"),
        ("{n.__class__}", "leading underscore"),
        ("{thing.inner.__dict__['deep']}", "leading underscore"),
        ("{_9}", "no cell has given a value of the name `_9`"),
        ("{ n }", "without spaces around"),
        ("{ts}", "no variable has the name `ts`"),  # no slip for `st`
    ):
        prompt = compose(f"See {body}", {**NAMESPACE, "st": 1})
        assert text_of(prompt) == f"See {body}"
        (note,) = prompt.notes
        assert why in note


MISSES = {
    "{wrd}": "no variable has the name `wrd`. Did you mean `{word}`?",
    "{dorw}": "Did you mean `{word}`?",
    "{Word.x}": "Did you mean `{word.x}`?",
    "{thnig.size}": "Did you mean `{thing.size}`?",
    "{tables['key']}": "Did you mean `{table['key']}`?",
    "{thing.sise}": "`thing` (SimpleNamespace) has no attribute `sise`",
    "{row[9]}": "`row` (list) has no item `[9]`",
    "{row['x']}": "has no item",
    "{table['nope']}": "`table` (dict) has no item `['nope']`",
}


def test_a_near_miss_of_a_name_is_refused():
    """Before anything is billed, with the name that was meant and the way to send the braces."""
    for body, why in MISSES.items():
        with pytest.raises(ContentError, match=f"{re.escape(why)}.*`--raw`"):
            compose(body, NAMESPACE)
        assert text_of(compose(body, NAMESPACE, raw=True)) == body
        assert text_of(compose(body, NAMESPACE, is_template=True)) == body


AS_TYPED = [
    "```python\nprint(f'{n}')\n```",
    "~~~\n{n} {n}\n~~~",
    "```\n{n} and an open fence",
    "the span `f'{n}'` and ``{n} `x` {n}``",
    "`over a\nline {n}`",
    "a template ${n} and `${n}`",
    r"\frac{n}{n} \sqrt{n} \sqrt[3]{n} \text{it is {n}}",
    r"$\sum_{n}^{n} x_{n} \mathbb{n}$",
    "x^{n}",
    r"\frac{\sqrt{\frac{a}{\sqrt{n}}}}{n}",
    "- a\n  - b\n      ```python\n      f'{n}'\n\n      f'{n}'\n      ```",
    "```\nf'{n}' f'{n:.2f} {n + 1}'\n```",
]


def test_code_and_tex_go_as_typed():
    """What stands in them leaves the machine for nobody; a note says that a name stood there."""
    for body in AS_TYPED:
        prompt = compose(body, {"n": "SECRET"})
        assert text_of(prompt) == body
        (note,) = prompt.notes
        assert re.match(r"`\{n\}` was sent as typed: it stands .*`-i n`", note)


def test_a_name_in_code_is_read_where_it_stands_in_words_too():
    """Before the code or behind it; the note says which of the two went as typed."""
    for body, text in (
        ("make `f({n})` fit {n}", "make `f({n})` fit 3"),
        (r"is {n} in \sqrt{n}", r"is 3 in \sqrt{n}"),
        ("x_{n}{n}", "x_{n}3"),
    ):
        prompt = compose(body, {"n": 3})
        assert text_of(prompt) == text
        (note,) = prompt.notes
        assert note.startswith("`{n}` was sent as typed where it stands")


def test_a_placeholder_alone_in_a_fence_or_a_span_is_one():
    """It was put there for the model to see where the value begins and ends."""
    for body, text in (
        ("`{n}`", "`3`"), ("```\n{n}\n```", "```\n3\n```"),
        ("```csv\n{n}\n```\nand {n}", "```csv\n3\n```\nand 3"),
        ("`a` {n} `b`", "`a` 3 `b`"), ("one ` tick {n}", "one ` tick 3"),
        ("a\\n{n}", "a\\n{n}"), ("{Out[1]} {In[2]}", "5 x = 1"),
    ):  # fmt: skip
        assert text_of(compose(body, {"n": 3, "Out": {1: 5}, "In": ["", "", "x = 1"]})) == text


def test_none_is_refused():
    """Nobody wants to pay for a description of None: a path was wrong."""
    names = {"img": None, "box": SimpleNamespace(img=None)}
    for body, path in (("{img}", "img"), ("{box.img}", "box.img"), ("Describe", "img")):
        with pytest.raises(ContentError, match=rf"`{path}` is None.*cv2\.imread"):
            compose(body, names, include=["img"] * (body == "Describe"))
    with pytest.raises(ContentError, match="What is to be sent is None"):
        gather(["Describe", None])


def test_what_says_nothing_of_itself_is_refused_or_pointed_out():
    """A generator's repr would be billed, or an empty table; an empty text leaves a gap."""
    tables = np.zeros((0, 3)), pd.DataFrame({"a": []}), pd.Series([])
    for empty in ([], {}, (), set(), *tables, b"", io.BytesIO()):
        with pytest.raises(ContentError, match=r"^`x` \(\w+\) is empty: .* comes from, or say it"):
            compose("Sum up {x}", {"x": empty})
    with pytest.raises(ContentError, match=r"^What is to be sent \(list\) is empty"):
        gather(["Sum up", []])
    assert compose("Sum up {x}", {"x": []}, is_template=True).blocks()
    grouped = pd.DataFrame({"a": [1]}).groupby("a")
    generator = (n for n in "ab")
    audio = Audio(data=b"RIFF", rate=8000)
    for says_nothing in (generator, iter([1]), object(), threading.Lock(), grouped, audio, np):
        with pytest.raises(ContentError, match=r"`x`: all that it says of itself is <.*list\(x\)"):
            compose("Sum up {x}", {"x": says_nothing})
    assert compose("Sum up {x}", {"x": "<b>"}).blocks()
    prompt = compose("Sum up {x}", {"x": ""})
    assert prompt.notes == ("`x`: it is empty, so nothing of it went.",)


def test_names_of_files_are_refused_where_the_files_were_meant(tmp_path, monkeypatch):
    """A caption of the words 'a.png' is worth nothing; the error says how to send the file."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.csv", "notes.txt", "A.PDF"):
        (tmp_path / name).write_bytes(b"x,y\n1,2\n")
    with pytest.raises(ContentError, match=r"name of a file.*`Path\('a\.png'\)`"):
        gather(["Caption this", "a.png"])
    for name in ("a.png", "./b.csv", "A.PDF"):
        with pytest.raises(ContentError, match=r"`path`: .*`Path\(path\)` sends what"):
            compose("Caption {path}", {"path": name})
    with pytest.raises(ContentError, match=r"`names`: .*name of a file.*`list\(map\(Path, names"):
        compose("Caption {names}", {"names": ["a.png", "b.csv"]})
    settings = {"train": "b.csv"}
    for spared in ("notes.txt", "gone.png", ["a.png", "notes.txt"], "a.png\nb.csv", settings):
        assert compose("Caption {x}", {"x": spared}).blocks()
    assert gather(["Is a.png a good name?"]).blocks()


def test_words_from_code_with_braces_are_pointed_out():
    """`ask` reads no braces; whoever has such a variable expected it to."""
    df = NAMESPACE
    (note,) = gather(["What does {df} show, and {no_such_name}?"]).notes
    assert "`{df}` was sent as typed" in note
    assert '`ask("What does it show?", df)`' in note
    assert df is NAMESPACE


def test_an_expression_of_a_known_name_is_pointed_out():
    """Whoever writes f-strings expects it to be worked out, and pays for the literal."""
    for body in (
        "{n.head()}", "{f(1, n)}", "{n:.2f}", "{n!r}", "{n + 1}", "{n[n.a > 1]}", "{n['a]}",
    ):  # fmt: skip
        prompt = compose(body, {"n": 1})
        assert text_of(prompt) == body
        (note,) = prompt.notes
        assert note.startswith(f"`{body}` was sent as typed: only names, attributes and keys are")


def test_an_unknown_include_is_an_error_not_a_note():
    """Whoever includes an object wants it sent."""
    for path in ("nope", "a.nope", "a[0", "a b", "", "__a", "a()", "1"):
        with pytest.raises(ContentError, match="-i"):
            compose("Hi", {"a": 1}, include=[path])


def test_what_is_included_stands_apart_from_the_words():
    """No sentence names it: glued together, a text and the question would be one word."""
    names = {"x": "hello there", "y": 5, "df": pd.DataFrame({"a": [1]})}
    assert text_of(compose("Sum up", names, include=["x", "y"])) == "hello there\n5\n\nSum up"
    assert text_of(compose("Sum up {y}", names, include=["x"])) == "hello there\n\nSum up 5"
    table = text_of(compose("Sum up", names, include=["y", "df"]))
    assert table.startswith("5\ndf: DataFrame, 1 row")
    assert table.endswith("0  1\n\nSum up")


def test_nothing_to_ask_and_more_images_than_a_request_takes_are_refused(red):
    """The model refuses both anyway; the limit is one of the whole request."""
    for contents in ([], [""], ["  \n"]):
        with pytest.raises(ContentError, match="nothing to ask"):
            gather(contents)
    with pytest.raises(ContentError, match="101 images"):
        compose("{a} {b}", {"a": [red] * 60, "b": [red] * 41})


@pytest.mark.heavy
def test_many_images_are_made_smaller_where_the_edge_was_raised():
    """More than 20 images may have 2000 px a side at most."""
    limits = Limits(image_edge_px=2576, image_tokens=4784)
    wide = PIL.Image.new("RGB", (3000, 600))
    few, many = (gather([wide] * n, limits=limits) for n in (20, 21))
    assert {item.images[0].width for item in few.sent} == {2576}
    assert {item.images[0].width <= 2000 for item in many.sent} == {True}


def test_a_long_text_says_how_much_went():
    """In the words of the footer, the same by every way."""
    asked = gather(["Sum up", "w" * 60_189])
    assert len(text_of(asked)) == len("Sum up\n") + 20_000
    prompt = compose("Sum up {article}", {"article": "w" * 60_189})
    for each, name in ((prompt, "`article`: "), (asked, "")):
        assert each.sent[0].summary == "text, 20,000 of 60,189 characters, ≈5,000 tokens"
        assert each.notes == (
            f"{name}20,000 of 60,189 characters went; "
            "`%config ClaudeMagics.text_chars` sets how many.",
        )
    assert not gather(["w" * 60_189]).notes  # words are words


@pytest.mark.parametrize(("kind", "noun"), [("GIF", "frame"), ("TIFF", "page")])
def test_of_many_frames_the_one_that_went_is_said(kind, noun, tmp_path, picture_in):
    """From memory, from a file and as a PIL image at any frame; a list of copies sends all."""
    pictures = [PIL.Image.new("RGB", (40, 30), (80 * n, 0, 0)) for n in range(3)]
    pictures[0].save(path := tmp_path / "frames", kind, save_all=True, append_images=pictures[1:])
    with PIL.Image.open(path) as opened:
        for obj in (path.read_bytes(), path, opened):
            prompt = compose("{x}", {"x": obj})
            assert prompt.sent[0].left_out == (f"{noun} 1 of 3",)
            assert f"{noun} 1 of 3" in prompt.sent[0].summary
            assert "ImageSequence" in prompt.notes[0]
        opened.seek(1)
        (item,) = compose("{x}", {"x": opened}).sent
        assert item.left_out == (f"{noun} 2 of 3",)
        assert (picture_in(item.images[0]).getpixel((5, 5))[0] - 80) ** 2 < 10
        copies = [frame.copy() for frame in PIL.ImageSequence.Iterator(opened)]
    (item,) = compose("{x}", {"x": copies}).sent
    assert (len(item.images), item.left_out) == (3, ())


def test_one_part_is_described_by_what_it_is():
    """Pixels, bytes in a decimal unit and tokens; of a text its tokens; many are summed."""

    def image(n_bytes: int = 23_000) -> Image:
        return Image(b"x" * n_bytes, "image/jpeg", 800, 400, about="PIL RGB 800×400")

    sizes = {800: "800 B", 23_456: "23 kB", 999_499: "999 kB", 999_999: "1.0 MB"}
    for n_bytes, size in sizes.items():
        assert described(image(n_bytes)) == f"800×400 JPEG, {size}, ≈435 tokens"
    assert described(Text("x" * 4_800)) == "text, ≈1,200 tokens"
    assert described(Text("x")) == "text, ≈1 token"
    many = Attachment("figs", (image(), image(), Text("x" * 40)))
    assert (many.label, many.summary) == ("figs", "2 images, 1 text, ≈880 tokens")
    assert Attachment("fig", (image(),)).label == "fig · PIL RGB 800×400"
    assert Attachment("n", (Text("3"),)).label == "n"
