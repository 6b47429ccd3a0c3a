"""Mappings and sequences: one listing of plain values, or labelled entries in order."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import itertools
import os
import re
import subprocess
import sys
import types

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.content.convert import to_blocks, to_parts
from segmind_jupyter.content.files import image_format
from segmind_jupyter.content.parts import Image, Limits, Text
from segmind_jupyter.content.register import register
from segmind_jupyter.errors import ContentError

Pair = collections.namedtuple("Pair", "left right")


def texts(parts):
    return [part.text if isinstance(part, Text) else "IMAGE" for part in parts]


@pytest.fixture
def axes():
    """Four axes of one figure, as `plt.subplots` gives them."""
    figure, axes = plt.subplots(2, 2, figsize=(4, 2), dpi=100, facecolor=(0, 0, 1))
    yield axes
    plt.close(figure)


@pytest.mark.parametrize(
    ("container", "text"),
    [
        ([1, "two", None], "[1, 'two', None]"),
        ((1,), "(1,)"),
        ((), "()"),
        ([], "[]"),
        ({}, "{}"),
        (set(), "set()"),
        ({"b", "a", "c"}, "{'a', 'b', 'c'}"),
        ({1, "a"}, "{'a', 1}"),
        (frozenset({2, 1}), "frozenset({1, 2})"),
        (collections.deque([1, 2]), "deque([1, 2])"),
        (collections.OrderedDict(a=1), "OrderedDict({'a': 1})"),
        (collections.Counter("aab"), "Counter({'a': 2, 'b': 1})"),
        (collections.UserList([1]), "UserList([1])"),
        (types.MappingProxyType({"a": 1}), "mappingproxy({'a': 1})"),
        ({"a": 1}.keys(), "dict_keys(['a'])"),
        ({"a": {"b": [1, (2,)]}}, "{'a': {'b': [1, (2,)]}}"),
        (Pair(1, "x"), "Pair(left=1, right='x')"),
        ([np.float64(1.5), np.int8(2)], "[1.5, 2]"),
        ({"n": np.arange(3)}, "{'n': array([0, 1, 2])}"),
        ([datetime.date(2024, 5, 1)], "[datetime.date(2024, 5, 1)]"),
        ([10**5000], None),
    ],
)
def test_plain_values_become_one_listing(container, text):
    """Short containers read as Python writes them, as part of the sentence."""
    (part,) = to_parts(container, name="x")
    if text is not None:
        assert part == Text(text, about="", inline=True)
    else:
        assert hex(container[0]) in part.text


def test_a_long_listing_is_broken_into_lines():
    """Entries of a mapping stand in lines, values of a list are packed; the footer counts."""
    (part,) = to_parts({"name": "x" * 60, "values": list(range(50)), "empty": []})
    assert part.text.splitlines()[1] == f" 'name': '{'x' * 60}',"
    assert part.text.splitlines()[-2:] == [" 'empty': []", "}"]
    assert max(map(len, part.text.splitlines())) <= 90
    assert part.about.startswith("dict of 3 items, ")
    assert not part.inline
    assert eval(part.text)["values"] == list(range(50))


def test_a_listing_that_is_too_long_says_how_much_is_shown():
    """A million numbers are cut at the limit, and the note says how many of how many."""
    (part,) = to_parts(list(range(1_000_000)), limits=Limits(text_chars=500))
    assert len(part.text) <= 500
    shown = int(part.text.split("… ")[1].split(" of 1,000,000 items shown")[0])
    assert f" {shown - 1}, …" in part.text
    assert f" {shown}," not in part.text


def test_one_long_value_does_not_crowd_out_the_others():
    """A value may take half of the room that is left."""
    (part,) = to_parts({"log": "x" * 10_000, "score": 7}, limits=Limits(text_chars=1_000))
    assert "characters more)" in part.text
    assert "'score': 7" in part.text


def test_a_cycle_is_cut():
    """A list that holds itself is written once."""
    loop = [1]
    loop.append(loop)
    assert to_parts(loop)[0].text == "[1, […]]"


def test_deep_nesting_ends():
    """Nesting that nobody can read is not opened to the end."""
    nested = []
    for _ in range(5_000):
        nested = [nested]
    assert "…" in to_parts(nested)[0].text


def test_a_mapping_with_a_repr_of_its_own_is_not_opened():
    """A file handle that acts as a mapping says more by its repr than by reading everything."""

    class Store(collections.abc.Mapping):
        def __getitem__(self, key):
            raise AssertionError("read")

        __iter__ = __len__ = __getitem__

        def __repr__(self):
            return "<Store of 3 TB>"

    assert to_parts(Store())[0].text == "<Store of 3 TB>"


def test_a_sequence_without_a_repr_is_read_by_its_entries():
    """A user's own sequence is listed under its type's name."""

    class Steps(collections.abc.Sequence):
        def __getitem__(self, index):
            return [1, 2][index]

        def __len__(self):
            return 2

    assert to_parts(Steps())[0].text == "Steps([1, 2])"


def test_rich_entries_come_in_order_under_their_labels(red, figure):
    """A label says how the user would reach each entry."""
    frame = pd.DataFrame({"a": [1]})
    results = {"title": "Q1", "plots": [red, figure], 3: frame, "pair": Pair(red, 1)}
    parts = to_parts(results, name="res")
    assert texts(parts) == [
        "res['title']: 'Q1'",
        "res['plots'][0]:",
        "IMAGE",
        "res['plots'][1]:",
        "IMAGE",
        "res[3]:",
        parts[6].text,
        "res['pair'].left:",
        "IMAGE",
        "res['pair'].right: 1",
    ]
    assert parts[6].text.startswith("DataFrame, 1 row")


def test_entries_of_a_container_without_a_name_are_labelled_too(red):
    """The key alone says which entry it is."""
    assert texts(to_parts([red, "x"])) == ["[0]:", "IMAGE", "[1]: 'x'"]


def test_image_bytes_and_image_files_in_a_list_are_images(red_png, tmp_path):
    """A list of image files is sent as images; other paths are only names there."""
    file = tmp_path / "red.png"
    file.write_bytes(red_png)
    notes = tmp_path / "notes.txt"
    notes.write_text("secret")
    parts = to_parts([red_png, file, notes, tmp_path / "gone.png", b"\x00\xff"], name="x")
    assert texts(parts) == [
        "x[0]:", "IMAGE", "x[1]:", "IMAGE",
        f"x[2]: {notes!r}", f"x[3]: {tmp_path / 'gone.png'!r}", r"x[4]: b'\x00\xff'",
    ]  # fmt: skip


def test_an_object_with_a_form_of_its_own_is_rich():
    """`_repr_claude_` and registered types are asked inside containers as well."""

    class Own:
        def _repr_claude_(self):
            return "own"

    class Named:
        pass

    register(Named)(lambda named: "named")
    assert texts(to_parts([Own(), Named(), 1], name="x")) == [
        "x[0]:", "own", "x[1]:", "named", "x[2]: 1",
    ]  # fmt: skip


def test_an_object_that_displays_itself_is_rich(red_png):
    """Display methods are asked inside containers too; objects without any are only words."""

    class Shown:
        def _repr_png_(self):
            return red_png

    parts = to_parts([Shown(), types.SimpleNamespace(a=1)], name="x")
    assert texts(parts) == ["x[0]:", "IMAGE", "x[1]: namespace(a=1)"]


def test_a_registered_list_is_not_opened(red):
    """A container type with a form of its own is shown in that form, wherever it stands."""

    class Album(list):
        def _repr_claude_(self):
            return f"album of {len(self)}"

    assert texts(to_parts(Album([red]))) == ["album of 1"]
    assert texts(to_parts({"a": Album([red])}, name="x")) == ["x['a']:", "album of 1"]


@pytest.mark.parametrize(
    "arranged",
    [
        lambda axes: axes,
        lambda axes: axes[0, 0],
        lambda axes: list(axes.flat),
        lambda axes: {"left": axes[0, 0], "right": axes[0, 1]},
        lambda axes: (axes[0, 0].figure, axes),
        lambda axes: [[axes[0, 0]], [axes[1, 1]]],
    ],
)
def test_axes_of_one_figure_give_that_figure_once(axes, arranged, picture_in):
    """What `plt.subplots` and `plt.subplot_mosaic` return stands for the figure."""
    (part,) = to_parts(arranged(axes), name="axes")
    assert picture_in(part).size == (400, 200)
    assert picture_in(part).getpixel((1, 1)) == (0, 0, 255)


def test_axes_of_two_figures_are_labelled(axes, figure):
    """Different figures are told apart."""
    other = figure.subplots()
    parts = to_parts([axes[0, 0], other], name="axes")
    assert texts(parts) == ["axes[0]:", "IMAGE", "axes[1]:", "IMAGE"]


def test_the_bars_of_a_plot_are_a_figure_and_not_a_tuple(axes):
    """`ax.bar` returns a tuple of rectangles that stands for the plot."""
    assert texts(to_parts(axes[0, 0].bar(["a", "b"], [1, 2]))) == ["IMAGE"]


def test_an_array_of_plain_objects_stays_an_array():
    """Only what holds something rich is opened."""
    (part,) = to_parts(np.array(["a", None], dtype=object), name="x")
    assert part.text == "x: ndarray, shape (2,), object\n['a', None]"


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


def test_more_images_than_a_request_takes_are_refused(red):
    """A request takes a hundred images; the error says so before the upload does."""
    with pytest.raises(ContentError, match=r"^`x`: It holds more than 100 images"):
        to_parts([red] * 101, name="x")


def test_tables_in_a_container_share_the_room():
    """Ten tables get a tenth each, not ten times the whole."""
    frame = pd.DataFrame(np.arange(4_000.0).reshape(400, 10))
    parts = to_parts([frame] * 10, limits=Limits(text_chars=8_000))
    assert sum(len(part.text) for part in parts) <= 8_000
    assert sum("DataFrame, 400 rows" in part.text for part in parts) == 10


def test_entries_that_do_not_fit_are_counted(red):
    """Text that leaves no room for the rest says how many entries were shown."""
    parts = to_parts([red, *["x" * 300] * 100], name="x", limits=Limits(text_chars=2_000))
    assert parts[-1].text.endswith(" of 101 items shown]")
    assert sum(len(part.text) for part in parts if isinstance(part, Text)) <= 2_500


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary(max_size=20).filter(lambda data: not image_format(data))
    | st.decimals()
    | st.datetimes(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text() | st.integers() | st.none(), inner)
        | st.tuples(inner, inner)
        | st.sets(st.text() | st.integers() | st.floats())
        | st.lists(inner).map(collections.deque)
    ),
    max_leaves=60,
)


@given(container=st.lists(plain) | st.dictionaries(st.text(), plain), limit=st.integers(100, 3_000))
def test_nested_plain_containers_never_fail_and_stay_inside_the_limit(container, limit):
    """Whatever is nested in whatever becomes one text that fits, and no blank block."""
    (part,) = to_parts(container, limits=Limits(text_chars=limit))
    assert len(part.text) <= limit
    assert part.text.encode()
    (block,) = to_blocks(container, limits=Limits(text_chars=limit))
    assert block["text"].strip()


@given(container=st.lists(st.integers() | st.text(max_size=30) | st.none(), max_size=40))
def test_a_listing_that_fits_is_python(container):
    """What is shown whole can be read back."""
    assert eval(to_parts(container)[0].text) == container


@given(value=plain)
def test_no_block_is_ever_blank(value):
    """No text block without a visible character leaves, whatever the object."""
    for block in to_blocks(value) if not isinstance(value, bytes) else []:
        assert block["text"].strip()


@dataclasses.dataclass
class Run:
    """What a user keeps of an experiment."""

    tags: set[str]
    result: object = None
    token: str = dataclasses.field(default="xyzzy", repr=False)


@dataclasses.dataclass
class Named:
    """A dataclass with a repr of its own."""

    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"


def test_dataclasses_read_as_their_repr_but_for_the_order_of_sets():
    """A set has another order in the next kernel, and the same notebook sends the same words."""
    many = {f"tag{n}" for n in range(20)}
    (text,) = texts(to_parts(Run(many)))
    assert re.findall(r"tag\d+", text) == sorted(many)
    assert texts(to_parts([Run({"b", "a"}, 1.5)])) == ["[Run(tags={'a', 'b'}, result=1.5)]"]
    assert "xyzzy" not in text


def test_a_dataclass_with_its_own_repr_keeps_it():
    """It says what its author wants to be read."""
    assert texts(to_parts([Named("x")])) == ["[<x>]"]


def test_what_a_dataclass_holds_is_reached_by_its_field():
    """A table in it is a table, under its name."""
    first, label, table = to_parts(Run({"a"}, pd.DataFrame({"n": [1]})), name="run")
    assert (first.text, label.text) == ("run.tags: {'a'}", "run.result:")
    assert table.about == "DataFrame 1×1"


def test_a_dataclass_in_itself_ends():
    """The second time it is only named."""
    run = Run(set())
    run.result = run
    assert texts(to_parts(run)) == ["Run(tags=set(), result=Run(…))"]


class Endless(list):
    """Gives empty lists for ever."""

    def __iter__(self):
        return itertools.repeat([])


@pytest.mark.heavy
def test_of_containers_without_values_only_the_first_are_met():
    """Nothing in them would ever use up the room."""
    shared = []
    for _ in range(11):
        shared = [shared] * 10
    for container in (shared, Endless()):
        (text,) = texts(to_parts(container))
        assert len(text) <= 20_000


def test_a_vast_array_of_objects_is_not_made_a_list():
    """Its first values tell what it holds."""
    vast = np.broadcast_to(np.array("a", dtype=object), (10**12,))
    (text,) = texts(to_parts(vast))
    assert "The first 100 of 1,000,000,000,000 values" in text


def test_a_long_text_keeps_both_ends():
    """The end of a log says how it ended."""
    (text,) = texts(to_parts("begin " + "x" * 100_000 + " end"))
    assert text.startswith("begin xxx")
    assert text.endswith("xxx end")
    assert len(text) <= 20_000
    head, _, tail = text.partition("\n[cut: characters ")
    first, last = (int(n.replace(",", "")) for n in tail.split(" ")[0].split("-"))
    assert first == len(head) + 1
    assert 100_010 - last == len(tail.partition("]\n")[2])


#: Makes an object whose parts have another order in each process.
HASHED = """
import dataclasses
from segmind_jupyter import to_blocks

@dataclasses.dataclass(frozen=True)
class Run:
    tags: frozenset

def tags(n):
    return frozenset(f"tag{n}{m}" for m in range(5))

print(to_blocks([
    {tags(n) for n in range(5)}, {tags(1): 2}, {Run(tags(n)) for n in range(5)}, {(1, tags(2))},
    {1, "a", None},
]))
"""


def test_another_process_sends_the_same_words():
    """Hashes, and with them the order of sets, differ from one kernel to the next."""
    found = {
        subprocess.run(
            [sys.executable, "-c", HASHED],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in range(3)
    }
    assert len(found) == 1
