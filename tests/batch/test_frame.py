"""The replies of a batch as a frame: columns, dtypes, index, joins, and what a page makes of it."""

from __future__ import annotations

import datetime
import enum
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, TypedDict

import numpy as np
import pandas as pd
import pytest
from PIL import Image as PILImage

from segmind_jupyter.api.messages import Reply, Usage
from segmind_jupyter.batch import Outcome, ask_each
from segmind_jupyter.batch.frame import reply_frame
from segmind_jupyter.batch.items import listed
from segmind_jupyter.content.json_schema import expected
from segmind_jupyter.errors import JobFailed, SegmindError
from segmind_jupyter.session import session

#: What Lab's MathJax would fetch, with no click.
FETCHES = r"$\unicode[x;background:url(//e.test/S)]{65}$"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Complaint:
    """What the tests ask for of each item."""

    about: Literal["price", "quality"]
    angry: bool | None
    stars: int
    score: float
    words: str
    when: datetime.datetime
    tags: list[str]
    colour: Colour = Colour.RED


class Line(TypedDict):
    name: str
    count: int


class Order(TypedDict):
    town: dict[str, str]
    buyer: Line
    lines: list[Line]


COMPLAINT = {
    "about": "price", "angry": None, "stars": 2, "score": 0.5, "words": "No", "tags": ["a"],
    "when": "2026-01-31T09:30:00", "colour": "blue",
}  # fmt: skip


def made(items: Any, answers: list[Any], kind: Any = None, **how: Any) -> Any:
    """The frame of a batch with these answers; an error is its item's."""
    shape = None if kind is None else expected(kind, None)
    asked = SimpleNamespace(expected=shape)
    outcomes: list[Outcome] = []
    for n, answer in enumerate(answers):
        error = answer if isinstance(answer, SegmindError) else None
        text = answer if isinstance(answer, str) else json.dumps(None if error else answer)
        reply = Reply(text=text, usage=Usage(10, 5), cost=0.5, elapsed_s=2.0, request=asked)
        outcomes.append(Outcome(n, n, None if error else reply, error, len))
    each, plan = SimpleNamespace(items=listed(items)), SimpleNamespace(expected=shape)
    batch = SimpleNamespace(outcomes=outcomes, _each=each, _plan=plan)
    return reply_frame(batch, **{"explode": False, "joins": False, **how})


class TestColumns:
    def test_untyped_replies_are_one_column(self):
        """With what each took; a failed row has its error and nothing else."""
        frame = made(["a", "b"], ["Yes.", JobFailed("blocked")])
        assert list(frame.columns) == ["item", "reply", "error", "tokens", "cost", "seconds"]
        assert [str(dtype) for dtype in frame.dtypes[1:]] == [
            "string", "string", "Int64", "float64", "float64",
        ]  # fmt: skip
        assert list(frame.loc[0, ["item", "reply", "tokens", "cost", "seconds"]]) == [
            "a", "Yes.", 15, 0.5, 2.0,
        ]  # fmt: skip
        assert frame.loc[1, ["reply", "tokens", "cost", "seconds"]].isna().all()
        assert (frame.loc[0, "error"] is pd.NA, frame.loc[1, "error"]) == (True, "blocked")
        assert "without a word" in made(["a"], [""]).loc[0, "error"]  # it was billed

    def test_each_field_is_a_column_with_its_dtype(self):
        """Missing in a row that failed, or whose reply does not fit; that one says so."""
        frame = made(list("abc"), [COMPLAINT, JobFailed("blocked"), {"about": "x"}], Complaint)
        dtypes = {name: str(dtype) for name, dtype in frame.dtypes.items()}
        assert list(frame.columns)[:9] == [
            "item", "about", "angry", "stars", "score", "words", "when", "tags", "colour",
        ]  # fmt: skip
        assert dtypes["about"] == dtypes["colour"] == "category"
        assert list(frame["about"].cat.categories) == ["price", "quality"]
        assert list(frame["colour"].cat.categories) == ["red", "blue"]
        assert (dtypes["angry"], dtypes["stars"]) == ("boolean", "Int64")
        assert (dtypes["score"], dtypes["words"]) == ("float64", "string")
        assert dtypes["when"].startswith("datetime64")
        assert dtypes["tags"] == "object"
        row = frame.iloc[0]
        assert [*row[["about", "stars", "colour", "tags"]]] == ["price", 2, "blue", ["a"]]
        assert row["angry"] is pd.NA
        assert row["when"] == pd.Timestamp("2026-01-31T09:30")
        assert frame.iloc[1:][[*COMPLAINT]].isna().all(axis=None)
        assert frame.loc[1, "error"] == "blocked"
        assert "does not fit" in frame.loc[2, "error"]
        assert frame.loc[2, "tokens"] == 15

    def test_other_kinds_of_answers(self):
        """A literal, a list, an object or nothing, any object, a schema as a dict."""
        frame = made([1, 2], ["yes", '"no"'], Literal["yes", "no"])
        assert (str(frame["value"].dtype), list(frame["value"])[1]) == ("category", "no")
        assert list(made([1], [[1, 2]], list[int])["value"]) == [[1, 2]]
        frame = made([1, 2], [{"name": "n", "count": 3}, "null"], Line | None)
        assert list(frame["count"].isna()) == [False, True]
        frame = made([1, 2], [{"a": 1}, {"b": 2}], dict)
        assert list(frame["b"])[1] == 2
        schema = {"type": "object", "properties": {"n": {"type": ["integer", "null"]}}}
        assert list(made([1, 2], [{"n": 2**80}, {"n": None}], schema)["n"]) == [2**80, None]

    def test_exploded_objects_are_columns_and_lists_are_rows(self):
        """Where one column holds lists: each of its elements has a row, with the item's index."""
        order = {"town": {"a": "b"}, "buyer": {"name": "x", "count": 1}}
        lines = [{"name": "y", "count": 2}, {"name": "z", "count": 3}]
        answers = [{**order, "lines": lines}, {**order, "lines": []}, JobFailed("no")]
        whole = made({"p": 1, "q": 2, "r": 3}, answers, Order)
        assert list(whole.columns)[:3] == ["town", "buyer", "lines"]
        assert whole.loc["p", "lines"] == lines
        frame = made({"p": 1, "q": 2, "r": 3}, answers, Order, explode=True)
        assert list(frame.index) == ["p", "p", "q", "r"]
        assert list(frame.columns)[:5] == [
            "town", "buyer.name", "buyer.count", "lines.name", "lines.count",
        ]  # fmt: skip
        assert list(frame["lines.count"].fillna(0)) == [2, 3, 0, 0]
        assert str(frame["lines.count"].dtype) == "Int64"
        assert list(frame["error"].fillna("")) == ["", "", "", "no"]
        assert list(frame["cost"].fillna(0)) == [0.5, 0, 0.5, 0]  # its sum is the bill
        assert list(made(["a"], [lines], list[Line], explode=True)["name"]) == ["y", "z"]

    def test_names_that_meet_are_told_apart(self):
        """A column of the table keeps its name."""
        table = pd.DataFrame({"reply": ["own"], "error": [1]})
        joined = made(table, ["Yes."], joins=True)
        assert list(joined.columns)[:4] == ["reply", "error", "reply_reply", "reply_error"]
        assert list(joined.loc[0])[:3] == ["own", 1, "Yes."]


class TestRows:
    def test_the_index_is_that_of_the_items(self):
        """Counted from 0 where they have none; keys of any kind stay as they are."""
        levels = pd.MultiIndex.from_tuples([("a", 1), ("a", 2)], names=["p", "q"])
        for items, index in (
            (["a", "b"], [0, 1]),
            (pd.Series(["a", "b"], index=[7, 7]), [7, 7]),
            (pd.DataFrame({"x": [1, 2]}, index=levels), list(levels)),
            *((dict.fromkeys(keys, "x"), keys) for keys in ([None, 3], [("a", 1), "b"], [1, "x"])),
        ):
            frame = made(items, ["x", "y"])
            assert list(frame.index) == index
            assert frame.index.nlevels == (2 if isinstance(items, pd.DataFrame) else 1)

    def test_items_of_a_list_are_named(self, tmp_path: Path):
        """A path or a short name in place of a picture; a table needs none."""
        PILImage.new("RGB", (4, 4)).save(tmp_path / "a.png")
        with PILImage.open(tmp_path / "a.png") as opened:
            items = [tmp_path / "a.png", opened, np.zeros((4, 4, 3)), 3, "x"]
            names = list(made(items, ["r"] * 5)["item"])
        assert names[:2] == [str(tmp_path / "a.png")] * 2
        assert names[3:] == [3, "x"]
        assert len(names[2]) < 500
        assert "item" not in made({"k": 1}, ["r"]).columns
        assert "item" not in made(pd.DataFrame({"x": [1]}), ["r"]).columns

    def test_join_gives_the_table_with_the_new_columns(self):
        """Row by row, also where its index has doubles; what is no table has none to join."""
        table = pd.DataFrame({"x": ["a", "b"]}, index=["same", "same"])
        joined = made(table, ["1", "2"], joins=True)
        assert list(joined["x"] + joined["reply"]) == ["a1", "b2"]
        assert list(joined.index) == ["same", "same"]
        assert list(table.columns) == ["x"]
        exploded = made(table, [["p", "q"], []], list[str], joins=True, explode=True)
        assert list(exploded["x"]) == ["a", "a", "b"]
        assert list(made(["a"], ["1"], joins=True)["reply"]) == ["1"]

    def test_polars_in_polars_out(self):
        """With its own dtypes, beside its own columns where it joins."""
        polars = pytest.importorskip("polars")
        table = polars.DataFrame({"x": ["a", "b", "c"]})
        answers = [COMPLAINT, JobFailed("blocked"), COMPLAINT]
        frame = made(table, answers, Complaint)
        assert isinstance(frame, polars.DataFrame)
        assert frame.schema["about"] == polars.Enum(["price", "quality"])
        assert (frame.schema["angry"], frame.schema["stars"]) == (polars.Boolean, polars.Int64)
        assert frame.schema["when"].is_temporal()
        assert frame["tags"].to_list() == [["a"], None, ["a"]]
        assert frame["error"].to_list() == [None, "blocked", None]
        joined = made(table, answers, Complaint, joins=True)
        assert joined.columns[:2] == ["x", "about"]
        assert joined["x"].to_list() == ["a", "b", "c"]
        arrow = pytest.importorskip("pyarrow").table({"x": ["a", "b", "c"]})
        assert list(made(arrow, answers, joins=True)["x"]) == ["a", "b", "c"]


class TestShield:
    def test_no_page_typesets_its_words(self):
        """Nor those of what is made of it: slices, joins from its side, groups, a pickled copy."""
        table = pd.DataFrame({"x": ["a", "b"]})
        frame = made(table, [FETCHES, "Yes."], joins=True)
        made(table, ["Made", "later"])
        for part in (
            frame, frame.head(1), frame[["reply"]], frame["reply"].to_frame(),
            frame.join(table.rename(columns={"x": "y"})),
            frame.query("x == 'a'"), frame.sort_values("x").reset_index(), frame.T, frame.copy(),
            pickle.loads(pickle.dumps(frame)), pd.concat([frame, frame]), frame.merge(table),
        ):  # fmt: skip
            html = part._repr_html_()
            assert r"\unicode" in html
            assert html.startswith('<div class="mathjax_ignore tex2jax_ignore">')
        assert isinstance(frame, pd.DataFrame)
        assert 'class="mathjax_ignore' in frame.style._repr_html_()
        polars = pytest.importorskip("polars")
        frame = made(polars.DataFrame({"x": ["a"]}), [FETCHES], joins=True)
        for part in (frame, frame.head(1), frame[:, ["reply"]], frame.clone()):
            assert part._repr_html_().startswith('<div class="mathjax_ignore')

    def test_as_text_no_reply_moves_a_cursor_or_turns_words_around(self):
        """A frame is printed as it is in a terminal."""
        frame = made(["a"], ["\x1b[2Jred \u202ednuorA \U000e0041"])
        for shown in (repr(frame), str(frame["reply"]), repr(frame[["reply"]])):
            assert "red" in shown
            assert not {"\x1b", "\u202e", "\U000e0041"} & set(shown)


@pytest.fixture
def simulated(restart: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that asks the embedded simulator, with a journal of its own."""
    monkeypatch.setenv("SEGMIND_BASE_URL", "simulator")
    monkeypatch.setattr("segmind_jupyter.api.watch.next_poll", lambda *_: 0.05)


class TestBatches:
    def test_a_typed_batch_asks_for_its_type_and_reads_it(self, simulated: None):
        """By the reply as well as by the frame; a second run takes all from the journal."""
        table = pd.DataFrame({"words": ["too dear", "fine"]}, index=["x", "y"])
        batch = ask_each("What is {words}?", table, json=Line)
        frame = batch.to_frame()
        assert [reply.parsed["name"] for reply in batch.replies] == list(frame["name"])
        assert str(frame["count"].dtype) == "Int64"
        assert list(batch.join().columns)[:3] == ["words", "name", "count"]
        again = ask_each("What is {words}?", table, json=Line).wait()
        assert again.progress.kept == 2
        assert list(again.to_frame()["name"]) == list(frame["name"])
        assert ask_each("What is {words}?", table).wait().progress.kept == 0

    def test_a_misfit_is_asked_again_where_that_is_wanted(self, simulated: None):
        """With what was wrong; its figures are those of both, and a second run pays for nothing."""
        items = ["words", '{"name": "n", "count": 1}']
        kept = ask_each("echo: {item}", items, json=Line).wait()
        assert "`batch.replies`" in kept.to_frame().loc[0, "error"]
        assert kept.replies[0].text == "words"
        batch = ask_each("echo: {item}", items, json=Line, retry_misfits=1).wait()
        frame = batch.to_frame()
        assert frame["error"].isna().all()
        assert list(frame["count"]) == [1, 1]
        assert frame.loc[0, "tokens"] > kept.to_frame().loc[0, "tokens"]
        assert len(session().ledger.calls) == 3
        again = ask_each("echo: {item}", items, json=Line, retry_misfits=1).wait()
        assert (again.progress.kept, len(session().ledger.calls)) == (2, 3)
        failed = ask_each("fail: {item}", items[:1], json=Line, retry_misfits=1).wait()
        assert list(failed.errors) == [0]
