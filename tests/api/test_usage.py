"""Sums over the calls of a kernel, and the calls themselves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st

from segmind_jupyter.api.messages import Reply, Usage, parse_reply
from segmind_jupyter.api.usage import MAX_CALLS, Ledger, Totals, total

COUNTS = st.none() | st.integers(0, 10**6)
#: Sixteenths, whose sums are exact.
COSTS = st.none() | st.integers(0, 1000).map(lambda n: n / 16)
REPLIES = st.builds(
    lambda come, go, cost: Reply(text="", usage=Usage(come, go), cost=cost), COUNTS, COUNTS, COSTS
)


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
    assert Ledger().total() == Totals()


@given(st.lists(st.tuples(st.sampled_from("abc"), REPLIES)))
def test_sums_are_those_of_the_calls(calls):
    """By model and in all, however they come."""
    ledger = Ledger()
    for model, reply in calls:
        ledger.add(reply, model=model)
    assert ledger.total() == total(ledger.calls)
    for model, sums in ledger.by_model().items():
        assert sums == total(call for call in ledger.calls if call.model == model)


def test_a_call_tells_when_it_was_answered_and_how_long_it_took():
    """And whether the simulator answered."""
    ledger = Ledger(clock=lambda: 1234.5)
    ledger.add(Reply(text="", elapsed_s=2.5, raw={"simulated": True}), model="a")
    (call,) = ledger.calls
    assert (call.answered_at, call.seconds, call.simulated) == (1234.5, 2.5, True)


def test_a_long_session_keeps_its_sums_and_its_newest_calls():
    """The memory of a ledger is bounded, what was spent is not."""
    ledger = Ledger()
    for n in range(MAX_CALLS + 5):
        ledger.add(Reply(text="", usage=Usage(n, 1)), model="a")
    assert len(ledger.calls) == MAX_CALLS
    assert ledger.calls[0].input_tokens == 5
    assert ledger.total().calls == MAX_CALLS + 5
    assert ledger.by_model()["a"].output_tokens == MAX_CALLS + 5


def test_threads_share_a_ledger():
    """No call is lost between them."""
    ledger = Ledger()
    reply = Reply(text="", usage=Usage(1, 1))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ledger.add(reply, model="a"), range(2000)))
    assert ledger.total() == Totals(2000, 2000, 2000)


def test_cache_tokens_are_counted():
    """Beside the others, as they cost differently."""
    ledger = Ledger()
    usage = Usage(5, 7, cache_read_input_tokens=100, cache_creation_input_tokens=20)
    for _ in range(2):
        ledger.add(Reply(text="", usage=usage), model="a")
    assert usage.total_tokens == 132
    assert ledger.calls[0].cache_read_input_tokens == 100
    totals = ledger.total()
    assert (totals.cache_read_input_tokens, totals.cache_creation_input_tokens) == (200, 40)


def test_figures_that_no_call_has_are_unknown():
    """A table of 64-bit numbers would break on them, and sums for the rest of the session."""
    ledger = Ledger()
    for n in (2**63, 10**50, -1, -(2**63), float("inf"), float("nan"), "x", None, True, 1e300):
        usage = dict.fromkeys(("input_tokens", "output_tokens", "cache_read_input_tokens"), n)
        reply = parse_reply({"content": "Hi", "usage": usage}, headers={"x-cost": str(n)})
        assert reply.usage == Usage()
        ledger.add(reply, model="a")
    assert ledger.total().input_tokens == 0
    assert abs(ledger.total().cost or 0) < 1e9
