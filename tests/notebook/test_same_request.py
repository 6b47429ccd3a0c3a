"""The same notebook sends the same bytes, in whichever kernel, and with the cache none at all."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.kernel

#: Makes objects of many kinds; the names to ask about are the last line's.
OBJECTS = {
    "figures": """
%matplotlib inline
import matplotlib.pyplot as plt, numpy as np
fig, (left, right) = plt.subplots(1, 2, figsize=(6, 3))
left.plot(np.sin(np.linspace(0, 9, 50)), label="sine"); left.legend()
right.imshow(np.arange(12).reshape(3, 4)); right.set_title("größer $x^2$")
bars = right.bar([1, 2], [3, 4])
plt.show()
names = ["fig", "left", "bars"]
""",
    "plain": """
import datetime, enum, decimal, fractions, collections, dataclasses
words = {"delta", "alpha", "charlie", "bravo", "echo"}
frozen = frozenset(words)
mixed = {("a", 1), "b", 3, None, 2.5}
deep = {"sets": [words, {"inner": frozen}], "counts": collections.Counter("mississippi")}
Kind = enum.Enum("Kind", "A B")
@dataclasses.dataclass
class Point:
    x: float
    tags: list
point = Point(1.5, ["x", "y", "z"])
grouped = collections.defaultdict(set, {"a": {"p", "q", "r"}})
moments = [datetime.date(2026, 1, 2), decimal.Decimal("1.10"), fractions.Fraction(1, 3), Kind.A]
keyed = dict.fromkeys(["alpha", "bravo"]).keys()
names = ["words", "frozen", "mixed", "deep", "point", "grouped", "moments", "keyed"]
""",
    "addresses": """
import functools, re, weakref
class Plain: pass
class Holding:
    def __init__(self): self.inner = Plain()
    def __repr__(self): return f"Holding({self.inner!r})"
    def method(self): return 1
plain, holding = [Plain()], Holding()
inside = [Plain(), {"a": Plain()}, object()]
def function(x, y={"b", "a"}):
    '''Add.'''
    return x + 1
bound, small, part = holding.method, (lambda x: x), functools.partial(function, 1)
pattern = re.compile("a+")
class Said:
    def __str__(self): return f"Said({Plain()})"
said = Said()
generator, reference = [(x for x in "a")], weakref.ref(plain[0])
names = ["plain", "holding", "inside", "function", "bound", "small", "part", "pattern",
         "generator", "Plain", "reference", "said"]
""",
}


#: Cells that ask about what stands above them, and one that is to fail.
ABOVE = [
    "%matplotlib inline\nimport matplotlib.pyplot as plt",
    "plt.plot([1, 3, 2]); plt.show()",
    "%%claude --plot\nWhat does it show?",
    "def price(row): return row['price'] * {'b', 'a'}.__len__()",
    "price({'cost': object()})",
    "%claude --error",
    "class Odd: pass\nraise KeyError(Odd(), {'b', 'a'}.__len__())",
    "%claude --error Why?",
    "%%time\nrow = {}\nrow['price']",
    "%%claude --error\nAnd why this?",
]


@pytest.fixture
def notebook(
    start: Callable[[], Any], recorder: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[tuple[str, bytes]]]:
    """Run cells in a kernel of their own; gives what was sent, path and body."""

    def run(seed: int, *cells: str) -> list[tuple[str, bytes]]:
        monkeypatch.setenv("PYTHONHASHSEED", str(seed))
        kernel, before = start(), len(recorder.requests)
        for cell in ("%load_ext segmind_jupyter", *cells):
            output = kernel.run(cell)
            if "KeyError" in output.text:
                kernel.settle()
            else:
                assert output.status == "ok", output.text
        # In order: what the kernel has open it closes, as when a person shuts it down.
        kernel.client.shutdown()
        kernel.manager.finish_shutdown()
        return [(request.path, request.body) for request in recorder.requests[before:]]

    return run


def all_cells() -> list[str]:
    """One notebook of them all."""
    cells = []
    for code in OBJECTS.values():
        names = ast.literal_eval(code[code.rindex("[") :].strip())
        cells += [code, *(f"%%claude -q\nAbout {{{name}}}" for name in names)]
    return [*cells, *ABOVE]


def test_a_notebook_that_is_run_twice_sends_the_same_bytes(notebook, recorder):
    """Whatever order the hashes of strings give a set, and wherever objects lie in memory.

    With the cache, the second run makes no request at all.
    """
    cells = ['%config ClaudeMagics.cache = "on"', *all_cells()]
    first = notebook(1, *cells)
    assert notebook(2, *cells) == []
    cells[0] = '%config ClaudeMagics.cache = "off"'
    second = notebook(3, *cells)
    assert len(second) == sum(map(asks, cells))
    assert set(first) == set(second)  # what two cells asked alike was sent once


def asks(cell: str) -> bool:
    return "%claude" in cell
