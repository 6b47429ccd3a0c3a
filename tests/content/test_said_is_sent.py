"""The rule about money and words: what is said of an object is true of the blocks that leave."""

from __future__ import annotations

import base64
import collections
import dataclasses
import io
import re
from pathlib import Path
from typing import Any

import ipywidgets
import matplotlib as mpl
import numpy as np
import pandas as pd
import PIL.Image
import pytest
from matplotlib.figure import Figure

from segmind_jupyter.content.parts import Image, Limits, Text
from segmind_jupyter.content.prompt import Prompt, compose, gather
from segmind_jupyter.notebook.display.reply import sent_html


@dataclasses.dataclass
class Run:
    name: str
    scores: list[float]


def png(picture: PIL.Image.Image, kind: str = "PNG", **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file


def frames(kind: str, count: int) -> io.BytesIO:
    pictures = [PIL.Image.new("RGB", (40, 30), (80 * n, 0, 0)) for n in range(count)]
    return png(pictures[0], kind, save_all=True, append_images=pictures[1:])


def output() -> ipywidgets.Output:
    widget = ipywidgets.Output()
    widget.append_stdout("epoch 1\n")
    data = base64.b64encode(png(PIL.Image.new("RGB", (20, 10), "red")).getvalue()).decode()
    image = {"output_type": "display_data", "data": {"image/png": data}, "metadata": {}}
    widget.outputs = (*widget.outputs, image)
    return widget


#: Objects of all kinds, by what is made of the files of a name.
OBJECTS = {
    "a figure": lambda _: pd.Series([1, 3, 2]).plot(ax=Figure((4, 3)).subplots()).figure,
    "a photo": lambda _: PIL.Image.effect_noise((3000, 2000), 60),
    "a GIF": lambda _: PIL.Image.open(frames("GIF", 3)),
    "a TIFF in memory": lambda _: frames("TIFF", 4),
    "an array of bytes": lambda _: np.zeros((400, 300, 3), "uint8"),
    "an array of numbers": lambda _: np.random.default_rng(0).normal(size=(300, 20)),
    "a long frame": lambda _: pd.DataFrame({"a": range(5_000), "b": np.arange(5_000) / 7}),
    "a series": lambda _: pd.Series(range(900), name="s"),
    "a long text": lambda _: "word " * 12_000,
    "a number": lambda _: 3,
    "names": lambda _: [f"name {n}" for n in range(5_000)],
    "one long entry": lambda _: {"log": "x" * 90_000, "score": 7},
    "a record": lambda _: Run("first", [0.1, 0.2]),
    "pictures": lambda _: [PIL.Image.new("RGB", (20 + n, 10)) for n in range(3)],
    "a picture and long words": lambda _: [PIL.Image.new("RGB", (9, 9)), *["x" * 300] * 200],
    "a function": lambda _: numbers,
    "an error": lambda _: ValueError("wrong"),
    "a text file": lambda file: file.with_suffix(".txt"),
    "a CSV file": lambda file: file.with_suffix(".csv"),
    "a counter": lambda _: collections.Counter("abcab"),
    "an output widget": lambda _: output(),
    "an image widget": lambda _: ipywidgets.Image(value=png(PIL.Image.new("L", (7, 5))).getvalue()),
}


def numbers(pattern: str, text: str) -> list[tuple[int, ...]]:
    found = re.findall(pattern, text)
    return [tuple(int(n.replace(",", "")) for n in np.atleast_1d(each)) for each in found]


def check(prompt: Prompt, *, whole: Any = None) -> None:
    """Read the footer of a prompt and its blocks, and compare them."""
    (item,) = prompt.sent
    said = sent_html(prompt.sent)
    images = [part for part in item.parts if isinstance(part, Image)]
    texts = [part for part in item.parts if isinstance(part, Text)]
    blocks = prompt.blocks()
    pictures = [
        PIL.Image.open(io.BytesIO(base64.b64decode(block["source"]["data"])))
        for block in blocks
        if block["type"] == "image"
    ]
    # Pixels, format and tokens of what leaves.
    assert [picture.size for picture in pictures] == [(i.width, i.height) for i in images]
    if len(item.parts) == 1 and images:
        assert numbers(r"(\d+)×(\d+) (?:PNG|JPEG)", item.summary) == [pictures[0].size]
        assert f"{pictures[0].format}, " in item.summary
    elif images:
        assert f"{len(pictures)} image" in item.summary
    tokens = sum(-(-p.width // 28) * -(-p.height // 28) for p in pictures)
    tokens += sum(-(-len(part.text) // 4) for part in texts)
    assert f"≈{tokens:,} token" in item.summary
    # What leaves is what was made: nothing is lost between the parts and the blocks.
    sent = "".join(block["text"] for block in blocks if block["type"] == "text")
    assert all(part.text in sent for part in texts)
    # What was left out is said, in the footer and in the note; and only what was.
    cut = "not shown" in sent or "items shown" in sent or "characters more)" in sent
    if texts and not images:
        assert bool(item.left_out) == cut, (item.left_out, sent[-200:])
    for words in item.left_out:
        assert words in said
        for shown, total in numbers(r"([\d,]+) of ([\d,]+) characters", words):
            assert shown == len(sent)
            assert total == len(whole)
        for shown, total in numbers(r"([\d,]+) of ([\d,]+) values", words):
            assert f"[{total - shown:,} of {total:,} values not shown]" in sent
            assert total == whole.size
        for shown, total in numbers(r"([\d,]+) of ([\d,]+) items", words):
            assert f"{shown:,} of {total:,} items shown" in sent
            assert total == len(whole)
    for setting in ("characters", "items"):
        if any(words.endswith(setting) for words in item.left_out):
            assert any("ClaudeMagics.text_chars" in note for note in prompt.notes)


@pytest.mark.parametrize("kind", OBJECTS)
def test_what_is_said_of_an_object_is_true_of_the_blocks(kind, tmp_path):
    """In a cell and from code, whole or cut."""
    with mpl.rc_context({"backend": "agg"}):
        (tmp_path / "a.txt").write_text("line\n" * 9_000)
        (tmp_path / "a.csv").write_text("a,b\n1,2\n" * 3)
        obj = OBJECTS[kind](tmp_path / "a")
        whole = obj.read_text() if isinstance(obj, Path) else obj
        for limits in (Limits(), Limits(text_chars=1_000, table_tokens=200)):
            in_cell = compose("{x}", {"x": obj}, limits=limits)
            check(in_cell, whole=whole)
            if not isinstance(obj, str):
                from_code = gather([obj], limits=limits)
                check(from_code, whole=whole)
                assert bool(from_code.sent[0].left_out) == bool(in_cell.sent[0].left_out)
