"""Which variables a chat offers to attach, and what it says about each."""

from __future__ import annotations

import json
from typing import Any

from PIL import Image

from segmind_jupyter.chat import Chat
from segmind_jupyter.notebook.chat.draft import attachables


class Meddler:
    """Runs the author's code whenever anybody asks anything of it."""

    asked: list[str] = []  # noqa: RUF012

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        raise AttributeError(name)

    def __len__(self) -> int:
        self.asked.append("len")
        return 1

    @property
    def shape(self) -> Any:
        self.asked.append("shape")
        return (1,)

    fig = figure = size = shape


def test_listing_variables_asks_nothing_of_them():
    """Only types, and what is known to cost nothing."""
    assert attachables({"m": Meddler()}) == [("m", "Meddler")]
    assert Meddler.asked == []


def test_pictures_and_tables_come_first_and_tools_are_left_out():
    """The newest first; modules, functions and classes are no data."""
    import pandas as pd
    from matplotlib.figure import Figure

    kind = type("DataFrame", (), {"__module__": "pandas", "shape": property(lambda self: 1 / 0)})
    values = {
        "text": "abc", "fig": Figure((8, 4)), "json": json, "len_": len, "Image": Image,
        "_hidden": 1, "numbers": [1, 2, 3], "nothing": (), "one": {"a": 1},
        "df": pd.DataFrame({"a": range(120), "b": 1}), "only_by_name": kind(), "chat": Chat(),
    }  # fmt: skip
    assert attachables(values) == [
        ("only_by_name", "DataFrame"),
        ("df", "DataFrame 120×2"),
        ("fig", "Figure 8×4 in"),
        ("one", "dict of 1 item"),
        ("nothing", "tuple of no items"),
        ("numbers", "list of 3 items"),
        ("text", "str of 3 characters"),
    ]
