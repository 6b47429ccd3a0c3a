"""What a call will take, and what stops it: estimates, budgets, and the ways in which calls end."""

from __future__ import annotations

import random
from typing import Any

import pytest

from segmind_jupyter import BudgetError, Chat, ask, ask_each, submit
from segmind_jupyter.api.database import CallRecord
from segmind_jupyter.api.journal import Journal
from segmind_jupyter.api.messages import Call, Reply, Usage, user_message
from segmind_jupyter.api.settings import DEFAULT_MODEL
from segmind_jupyter.budget import Budget, Reservation, amount_of, estimate, quantile, tokens_of
from segmind_jupyter.errors import APIConnectionError, MaybeBilledError, SegmindError, SettingsError
from segmind_jupyter.session import session

NOON = 1_767_268_800.0
ORIGIN = "https://api.segmind.com"
CALL = Call(model=DEFAULT_MODEL, messages=[user_message([{"type": "text", "text": "word " * 200}])])

#: The directory's mean of the default model, and what is set aside where no more is known.
MEAN, MOST = 0.0214, 3 * 0.0214


def paid(cost: float | None, *, tokens: int = 250) -> CallRecord:
    return CallRecord(
        at=NOON, origin=ORIGIN, model=DEFAULT_MODEL, input_tokens=tokens, cost=cost,
        seconds=2.0,
    )  # fmt: skip


def replied(cost: float | None) -> Reply:
    return Reply(text="", usage=Usage(tokens_of(CALL), 9), cost=cost)


def budget_of(journal: Journal | None = None, **how: Any) -> Budget:
    journal = journal or Journal(None, clock=lambda: NOON)
    how = {"clock": lambda: NOON, "environ": {}, "warn": lambda words: None} | how
    return Budget(lambda: journal, **how)


def reserve(budget: Budget) -> Reservation:
    return budget.reserve(CALL, ORIGIN)


def test_an_estimate_is_of_calls_of_the_same_size_or_of_the_directory():
    """Median and 90 % of five calls or more; else the vendor's mean, which grows with a prompt."""
    past = [paid(cost / 100) for cost in range(1, 11)] + [paid(9.0, tokens=90_000), paid(None)]
    found = estimate(DEFAULT_MODEL, 250, past)
    assert (found.cost, found.high, found.most, found.seconds) == (0.05, 0.09, 0.2, 2.0)
    assert "your last 10 calls" in str(found)
    assert "0.09 credits in 9 of 10" in str(found)
    mean = estimate(DEFAULT_MODEL, 250, past[:4])
    assert (mean.cost, mean.high, mean.most, mean.seconds) == (MEAN, None, MOST, 11)
    assert "directory" in str(mean)
    long = estimate(DEFAULT_MODEL, 70_000, past[:4]).cost
    assert long == pytest.approx(10 * MEAN)
    unknown = estimate("claude-99-haiku", 250, past[:4])
    assert unknown.cost is None
    assert unknown.most > MOST
    assert "not known" in str(unknown)
    assert quantile([], 0.5) is None


def test_a_call_that_would_pass_the_budget_is_refused():
    """And one that fits is not, also where others give back what they did not take."""
    budget = budget_of()
    budget.own_limit = MOST + MEAN
    first = reserve(budget)
    second = reserve(budget)
    with pytest.raises(BudgetError, match=r"%segmind budget AMOUNT.*%segmind usage") as caught:
        reserve(budget)
    assert (caught.value.limit, caught.value.reserved) == (MOST + MEAN, 2 * MOST)
    first.settle(replied(0.001))
    second.settle(APIConnectionError("never reached"))
    assert budget.spent(ORIGIN) == 0.001
    assert budget.reserved(ORIGIN) == 0
    reserve(budget).settle(replied(None))
    assert budget.spent(ORIGIN) == pytest.approx(0.001 + MEAN)  # nobody told: as estimated


def test_what_nobody_knows_counts_as_spent_until_it_is_known():
    """A call without an answer at the most it may take; a job that is taken up again as it was."""
    budget = budget_of()
    reserve(budget).settle(MaybeBilledError("no answer"))
    job = reserve(budget)
    job.settle(None)
    job.settle(None)
    assert budget.spent(ORIGIN) == pytest.approx(2 * MOST)
    assert budget.spent_today(ORIGIN) == pytest.approx(2 * MOST)
    job.settle(replied(0.01))
    job.settle(replied(0.01))
    assert budget.spent(ORIGIN) == pytest.approx(MOST + 0.01)
    assert budget.reserved(ORIGIN) == 0


def test_most_of_a_budget_is_pointed_out_once():
    """At 80 %, for each limit."""
    said: list[str] = []
    budget = budget_of(warn=said.append)
    budget.own_limit = 0.1
    reserve(budget).settle(replied(0.05))
    assert said == []
    for _ in range(2):
        reserve(budget).settle(replied(0.008))
    assert len(said) == 1 or said == []
    reserve(budget).settle(replied(0.0))
    assert len(said) == 1
    assert "of the budget of 0.1 credits for this kernel" in said[0]


def test_the_environment_sets_a_budget_and_the_kernel_another():
    """What is no amount is refused before anything is sent."""
    budget = budget_of(environ={"SEGMIND_BUDGET": "0.001"})
    with pytest.raises(BudgetError):
        reserve(budget)
    budget.own_limit = 1.0
    reserve(budget)
    budget.own_limit = float("inf")
    assert budget.limit is None
    with pytest.raises(SettingsError, match="SEGMIND_BUDGET"):
        reserve(budget_of(environ={"SEGMIND_BUDGET": "two"}))
    assert amount_of("$2.50", name="budget") == 2.5
    for wrong in ("-1", "nan", "inf", "", "1e999"):
        with pytest.raises(SettingsError):
            amount_of(wrong, name="budget")


def test_the_budget_of_a_day_is_that_of_all_kernels(tmp_path):
    """Kept in the journal; what one of them has under way counts for the others, until midnight."""
    now = [NOON]
    journals = [Journal(tmp_path / "jobs.sqlite3", clock=lambda: now[0]) for _ in range(2)]
    one, other = (budget_of(journal, clock=lambda: now[0]) for journal in journals)
    journals[0].set_daily_budget(MOST + MEAN)
    first = reserve(one)
    second = reserve(other)
    with pytest.raises(BudgetError, match="for a day") as caught:
        reserve(other)
    assert caught.value.reserved == pytest.approx(MOST)  # its own, which it may wait for
    first.settle(replied(0.05))
    second.settle(replied(0.02))
    assert other.spent_today(ORIGIN) == pytest.approx(0.07)
    now[0] += 24 * 3600
    assert other.spent_today(ORIGIN) == 0
    reserve(other)
    journals[1].set_daily_budget(None)
    assert journals[0].daily_budget() is None


def overspend(seed: int) -> tuple[float, float]:
    """Play a session; give what it passed its budget by, and the worst error of an estimate."""
    chance = random.Random(seed)
    scale, spread = 10 ** chance.uniform(-3, 0), chance.uniform(0.1, 0.8)

    def cost() -> float:
        return scale * chance.lognormvariate(0, spread)

    journal = Journal(None, clock=lambda: NOON)
    for _ in range(chance.randint(5, 60)):
        journal.record_call(paid(cost()))
    before = budget_of(journal).spent_today(ORIGIN)
    kernels = [budget_of(journal) for _ in range(2)]
    limit = scale * chance.uniform(2, 40)
    if chance.random() < 0.5:
        kernels = kernels[:1]
        kernels[0].own_limit = limit
    else:
        journal.set_daily_budget(before + limit)
    billed = worst = 0.0
    flying: list[tuple[Reservation, float]] = []
    for _ in range(120):
        if flying and (len(flying) == 8 or chance.random() < 0.45):
            hold, took = flying.pop(chance.randrange(len(flying)))
            outcome = chance.random()
            if outcome < 0.05:
                hold.settle(SegmindError("refused"))
                continue
            billed, worst = billed + took, max(worst, took - hold.cost)
            hold.settle(None if outcome < 0.1 else replied(took))
        else:
            try:
                flying.append((reserve(chance.choice(kernels)), cost()))
            except BudgetError:
                if not flying:
                    break
    for hold, took in flying:
        billed, worst = billed + took, max(worst, took - hold.cost)
    return billed - limit, worst


def test_sessions_pass_their_budget_by_no_more_than_one_call_s_error():
    """Up to eight calls at once, in one kernel or two, some refused and some without an answer."""
    for seed in range(100):
        over, worst = overspend(seed)
        assert over <= worst + 1e-9, (seed, over, worst)


def test_every_door_stops_before_anything_is_sent(gateway):
    """`ask`, `submit`, a chat's turn and a batch."""
    session().budget.own_limit = 0.001
    for door in (ask, submit):
        with pytest.raises(BudgetError):
            door("Hello")
    with pytest.raises(BudgetError):
        Chat().send("Hello").wait(30)
    with pytest.raises(BudgetError):
        Chat(mode="v1").send("Hello").wait(30)
    batch = ask_each("Hello", [1, 2, 3], progress=False).wait(30)
    assert [type(error) for error in batch.errors.values()] == [BudgetError] * 3
    assert gateway.billed == 0
    assert not session().budget.reserved(session().settings().base_url)


def test_a_batch_stops_at_the_budget_and_goes_on_when_it_is_raised(gateway):
    """What it has is kept, and nothing is paid for twice."""
    texts = [f"echo: {n}" for n in range(30)]
    session().budget.own_limit = MEAN + 0.0005
    batch = ask_each("{item}", texts, progress=False).wait(60)
    done = len(batch.outcomes) - len(batch.errors)
    assert 0 < done < 30
    assert {type(error) for error in batch.errors.values()} == {BudgetError}
    assert gateway.billed == done
    session().budget.own_limit = 10.0
    again = ask_each("{item}", texts, progress=False).wait(60)
    assert [reply.text for reply in again.replies] == [str(n) for n in range(30)]
    assert gateway.billed == 30
    origin = session().settings().base_url
    took = sum(call.cost or 0 for call in session().journal.calls(session().settings().base_url))
    assert session().budget.spent(origin) == pytest.approx(took)
    assert session().budget.spent_today(origin) == pytest.approx(took)


def test_calls_of_every_kind_are_remembered_and_counted_once(gateway):
    """With the ids by which the vendor's history knows them."""
    ask("Hello")
    submit("Hello").wait(30)
    Chat(mode="v1").send("Hello").wait(30)
    Chat().send("Hello").wait(30)
    calls = session().journal.calls(session().settings().base_url)
    assert len(calls) == 4
    charged = {charge.request_id: charge.cost for charge in session().history()}
    assert {call.request_id: call.cost for call in calls} == pytest.approx(charged)
    origin = session().settings().base_url
    assert session().budget.spent(origin) == pytest.approx(sum(charged.values()))


def test_a_refusal_costs_nothing_and_no_answer_counts(gateway):
    """As the vendor bills: a 4xx is free, and of a lost connection nobody knows."""
    origin = session().settings().base_url
    gateway.script("POST", status=400)
    with pytest.raises(SegmindError):
        ask("Hello")
    assert session().budget.spent(origin) == 0
    gateway.script("POST", drop="after_work", times=2)
    for door in (ask, submit):
        with pytest.raises(MaybeBilledError, match="%segmind history"):
            door("Hello")
    assert session().budget.spent(origin) == pytest.approx(2 * MOST)
