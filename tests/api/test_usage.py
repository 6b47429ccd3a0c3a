"""Sums over the calls of a kernel."""

from __future__ import annotations

from segmind_jupyter.api.messages import Reply, Usage
from segmind_jupyter.api.usage import Ledger, Totals


def test_calls_are_summed_by_model_in_order_of_first_use():
    """What the server did not say counts as nothing, and an untold cost stays untold."""
    ledger = Ledger()
    ledger.add(Reply(text="", usage=Usage(10, 2), cost=0.25), model="b")
    ledger.add(Reply(text="", usage=Usage(None, None)), model="a")
    ledger.add(Reply(text="", usage=Usage(1, 1), cost=0.5), model="b")
    assert list(ledger.by_model().items()) == [
        ("b", Totals(calls=2, input_tokens=11, output_tokens=3, cost=0.75)),
        ("a", Totals(calls=1)),
    ]


def test_an_empty_ledger_has_no_models():
    """Nothing was called yet."""
    assert Ledger().by_model() == {}
