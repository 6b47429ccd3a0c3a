"""Frames in parts: a file a part, once, in flat memory; of Dask, pyarrow, polars and lists."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import pytest

from segmind_jupyter import BudgetError, ContentError, SegmindError, SettingsError, ask_each
from segmind_jupyter.batch import Batch
from segmind_jupyter.errors import JobFailed
from segmind_jupyter.session import session

pytest.importorskip("pyarrow")


@dataclass
class Guess:
    """What the tests ask for of each row."""

    label: Literal["a", "b"]
    tags: list[str]


def frames(count: int, rows: int = 2) -> list[pd.DataFrame]:
    return [
        pd.DataFrame({"x": [f"{n}.{row}" for row in range(rows)]}, index=range(7, 7 + rows))
        for n in range(count)
    ]


def test_parts_are_asked_one_by_one_and_written_once(gateway, tmp_path):
    """The next is not looked at before the last one's file is there, and none is held."""
    folder = tmp_path / "out"

    def batches() -> set[int]:
        gc.collect()
        return {id(each) for each in gc.get_objects() if type(each) is Batch}

    before, pause = batches(), threading.Event()

    def parts() -> Iterator[pd.DataFrame]:
        for n in range(4):
            assert len(list(folder.glob("part-*.parquet"))) == n
            # The background loop lets go of a batch a moment after its end was told.
            assert any(batches() <= before or pause.wait(0.05) for _ in range(200))
            yield frames(n + 1)[n]

    done = ask_each("echo: {x}", parts(), to=folder)
    assert (done.parts, done.rows, done.failed, done.kept) == (4, 8, 0, 0)
    read = pd.read_parquet(folder)
    assert list(read["x"]) == list(read["reply"]) == [f"{n}.{m}" for n in range(4) for m in (0, 1)]
    assert read["error"].isna().all()
    again = ask_each("echo: {x}", frames(5), to=str(folder))
    assert (again.parts, again.kept, again.rows) == (5, 4, 10)
    assert str(again) == f"5 parts (4 from before) in {folder} · 10 rows"
    assert gateway.billed == 10
    with pytest.raises(SettingsError, match="answers to something else"):
        ask_each("Say {x}", frames(5), to=folder)
    with pytest.raises(SettingsError, match="the rows of part 0 differ"):
        ask_each("echo: {x}", frames(5)[::-1], to=folder)
    assert gateway.billed == 10


def test_each_kind_of_lazy_frame_gives_its_parts(gateway, tmp_path):
    """What is done already is not computed; their types come back as they are."""
    import pyarrow
    from pyarrow import dataset, parquet

    table = pyarrow.table({"x": ["a", "b", "c", "d"]})
    parquet.write_table(table, tmp_path / "in.parquet", row_group_size=2)
    sources: list[Any] = [dataset.dataset(tmp_path / "in.parquet"), table.to_batches(2)]
    sources += [table, table.to_pandas()]
    dask = pytest.importorskip("dask.dataframe")
    lazy = dask.from_pandas(table.to_pandas(), npartitions=2)
    sources += [lazy, lazy.to_delayed(), lazy.partitions]
    polars = pytest.importorskip("polars")
    sources += [polars.from_arrow(table), polars.from_arrow(table).lazy()]
    for n, source in enumerate(sources):
        done = ask_each("echo: {x}", source, to=tmp_path / str(n))
        assert done.rows == 4, source
        assert pd.read_parquet(tmp_path / str(n))["reply"].tolist() == list("abcd")
    assert gateway.billed == 4  # each row is an equal call, whatever frame it came in

    class Part:
        def compute(self) -> Any:
            raise AssertionError("it was done before")

    assert ask_each("echo: {x}", [Part()], to=tmp_path / "2").kept == 1


def test_types_are_those_that_were_asked_for_in_every_part(gateway, tmp_path):
    """Also where a part has failed rows, which the next run asks again, and it alone."""
    from pyarrow import parquet

    folder = tmp_path / "out"

    gateway.script("POST", status=400)
    done = ask_each("{x}", frames(3), to=folder, json=Guess, max_in_flight=1)
    assert (done.rows, done.failed) == (6, 1)
    assert "1 failed" in str(done)
    assert pd.read_parquet(folder)["error"].notna().sum() == 1
    assert len({str(parquet.read_schema(file).types) for file in folder.iterdir()}) == 1
    again = ask_each("{x}", frames(3), to=folder, json=Guess)
    assert (again.kept, again.failed, gateway.billed) == (2, 0, 6)
    read = pd.read_parquet(folder)
    assert str(read["label"].dtype) == "category"
    assert read["label"].notna().all()
    odd = [pd.DataFrame({"x": ['"a"'], "y": [[object(), 1]]})]
    assert ask_each("echo: [1, {x}]", odd, to=tmp_path / "odd").rows == 1


def test_a_budget_and_an_error_end_it_where_it_stands(gateway, tmp_path):
    """What is written stays, and the next run goes on from there."""
    ask_each("echo: {x}", frames(1), to=tmp_path)
    session().budget.own_limit = 0.0001
    with pytest.raises(BudgetError, match=r"Done: 1 parts .*Run it again to go on"):
        ask_each("echo: {x}", frames(2), to=tmp_path)
    session().budget.own_limit = None
    bad = [*frames(1), pd.DataFrame({"x": ["fail: it"]})]
    with pytest.raises(JobFailed):
        ask_each("{x}", bad, to=tmp_path / "bad", on_error="raise")
    assert [file.name for file in (tmp_path / "bad").iterdir()] == ["part-000000.parquet"]


def test_what_cannot_work_is_refused_before_anything_is_asked(gateway, tmp_path, monkeypatch):
    """No parts, several models, a look; and without pyarrow what to install."""
    for wrong, kind in (
        ({"items": 7}, ContentError),
        ({"dry_run": True}, SettingsError),
        ({"model": ["claude-4-sonnet", "claude-3.5-sonnet"]}, SettingsError),
        ({"prompt": "{y}"}, ContentError),
    ):
        with pytest.raises(kind):
            ask_each(**{"prompt": "{x}", "items": frames(1), "to": tmp_path, **wrong})
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SegmindError, match="%pip install pyarrow"):
        ask_each("{x}", frames(1), to=tmp_path)
    assert not gateway.log
