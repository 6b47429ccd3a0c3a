"""Several models at once, from Python: the mapping, what fails, what is hidden, what is kept."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
from scripted import Gateway

from segmind_jupyter import BudgetError, Chat, SettingsError, ask, ask_each, submit
from segmind_jupyter.api.journal import Journal, default_path
from segmind_jupyter.errors import InsufficientCreditsError, Interrupted, MaybeBilledError
from segmind_jupyter.session import session
from segmind_jupyter.simulator.protocol import Behaviour

ONE, OTHER = BOTH = ["claude-4-sonnet", "claude-3.5-sonnet"]


def posts(gateway: Gateway) -> list[str]:
    return [entry.path for entry in gateway.log if entry.method == "POST"]


def test_both_are_asked_at_once_and_answer_by_name(gateway):
    """Each request waits for the other's; both are counted, and the budget knows both."""
    meet = threading.Barrier(2)

    def met(body: Any) -> Any:
        meet.wait(60)
        return body

    gateway.script("POST", change=met, times=2)
    both = ask("echo: hello", model=BOTH)
    assert isinstance(both, Mapping)
    assert {model: reply.text for model, reply in both.items()} == dict.fromkeys(BOTH, "hello")
    assert [reply.request.model for reply in both.values()] == BOTH
    assert sorted(posts(gateway)) == sorted(f"/v1/{model}" for model in BOTH)
    assert sorted(session().ledger.by_model()) == sorted(BOTH)
    assert session().budget.spent(session().settings().base_url) == pytest.approx(
        sum(reply.cost for reply in both.values())
    )
    assert f"{OTHER}\n\nhello" in str(both)
    assert list(pickle.loads(pickle.dumps(both))) == BOTH


def test_an_error_is_its_models_alone_unless_all_have_one(gateway):
    """The others' replies are paid for; of none there is nothing to give."""
    gateway.script(f"POST /v1/{OTHER}", status=406)
    both = ask("echo: hello", model=BOTH)
    assert (list(both), OTHER in both, list(both.errors)) == ([ONE], False, [OTHER])
    with pytest.raises(InsufficientCreditsError):
        _ = both[OTHER]
    gateway.script(f"POST /v1/{ONE}", status=406)
    gateway.script(f"POST /v1/{OTHER}", drop="after_work")
    with pytest.raises(MaybeBilledError, match=f"{ONE}: .*{OTHER}: "):
        ask("echo: hello", model=BOTH)
    assert session().ledger.unknown == 1


def test_what_cannot_work_is_refused_before_any_is_asked(gateway):
    """A parameter that one of them does not take, a budget that bears one of them, no models."""
    for model, why in (
        ([ONE, ONE], "each model once"),
        ([], "at least one"),
        ([ONE, "No Such"], "no model name"),
        ([ONE, 5], "no model name"),
    ):
        with pytest.raises(SettingsError, match=why):
            ask("Hi", model=model)
    with pytest.raises(SettingsError, match="takes no `temperature`"):
        ask("Hi", model=[ONE, "claude-opus-4.7"], temperature=0.5)
    for door in (lambda: submit("Hi", model=BOTH), lambda: Chat(model=BOTH)):
        with pytest.raises(SettingsError):
            door()
    session().budget.own_limit = 0.03
    with pytest.raises(BudgetError):
        ask("Hi", model=BOTH)
    assert session().budget.reserved(session().settings().base_url) == 0
    assert posts(gateway) == []


def test_an_interrupt_loses_no_reply_that_has_come(gateway):
    """It is counted, and kept where replies are kept."""

    given_up = threading.Event()

    def held(body: Any) -> Any:
        given_up.wait(60)
        return body

    def interrupted(future: Any, timeout_s: float | None = None) -> None:
        while not session().journal.kept_replies()[0]:
            time.sleep(0.01)
        session().wait_with(None)
        raise KeyboardInterrupt

    gateway.script(f"POST /v1/{OTHER}", change=held)
    session().wait_with(interrupted)
    with pytest.raises(Interrupted, match="may still be billed"):
        ask("echo: hello", model=BOTH, cache="on")
    given_up.set()
    assert [call.model for call in session().ledger.calls] == [ONE]
    assert ask("echo: hello", model=ONE, cache="only").text == "hello"


def test_an_interrupt_gives_both_up(gateway):
    """They may be billed, as whoever is told learns."""
    asked = threading.Barrier(3)

    def held(body: Any) -> Any:
        asked.wait(60)
        return body

    def interrupted(future: Any, timeout_s: float | None = None) -> None:
        asked.wait(60)
        session().wait_with(None)
        raise KeyboardInterrupt

    gateway.script("POST", change=held, times=2)
    session().wait_with(interrupted)
    with pytest.raises(Interrupted, match="may still be billed"):
        ask("Hi", model=BOTH)
    assert len(posts(gateway)) <= 2


def test_kept_replies_are_used_one_by_one(gateway):
    """A model that was asked before is not asked again."""
    ask("echo: hello", model=ONE, cache="on")
    both = ask("echo: hello", model=BOTH, cache="on")
    assert [reply.cached_at is None for reply in both.values()] == [False, True]
    assert posts(gateway) == [f"/v1/{ONE}", f"/v1/{OTHER}"]


def test_a_verdict_is_kept_for_the_next_kernel(gateway):
    """By letter or by name, once a comparison; a name that is none of them is refused."""
    both = ask("echo: hello", model=BOTH)
    both.reveal(best=ONE)
    both.reveal(best=OTHER)
    ask("echo: more", model=BOTH).reveal()
    with pytest.raises(SettingsError, match=r"did you mean `claude-3.5-sonnet`"):
        both.reveal(best="claude-3.5-sonet")
    assert both.best == OTHER
    assert Journal(default_path()).verdicts() == [(OTHER, BOTH)]


def test_a_batch_of_several_models_has_a_column_level_a_model(gateway):
    """Of lists, tables and polars; what is kept is not sent again; the dry run counts all."""
    table = pd.DataFrame({"word": ["one", "two"]}, index=["a", "a"])
    looked = ask_each("echo: {word}", table, model=BOTH, dry_run=True)
    assert (looked.rows, looked.requests) == (2, 4)
    batches = ask_each("echo: {word}", table, model=BOTH, max_in_flight=3, progress=False)
    joined = batches.join()
    assert list(joined["word"]) == list(joined[ONE]["reply"]) == list(joined[OTHER, "reply"])
    assert list(joined.index) == ["a", "a"]
    assert "word" not in batches.to_frame().columns.get_level_values(0)
    assert joined._repr_html_().startswith('<div class="mathjax_ignore')
    assert (list(batches), batches.errors) == (BOTH, {})
    assert all(batch.done() for batch in batches.values())
    assert str(batches[OTHER]).startswith("2 of 2 done")
    again = ask_each("echo: {word}", table, model=BOTH, progress=False).wait(60)
    assert [batch.progress.kept for batch in again.values()] == [2, 2]
    assert len(posts(gateway)) == 4
    listed = ask_each("echo: {item}", ["x", "y"], model=BOTH, progress=False)
    assert list(listed.to_frame()["item"]) == ["x", "y"]
    polars = pytest.importorskip("polars")
    frame = ask_each("echo: {w}", polars.DataFrame({"w": ["x"]}), model=BOTH).join()
    assert frame.columns[:2] == ["w", f"{ONE}.reply"]
    assert frame[f"{OTHER}.reply"].to_list() == ["x"]


def test_an_interrupt_stops_every_models_batch(gateway):
    """Whichever of them was waited for."""
    gateway.behaviour = Behaviour(credits=1e6, work_s=1e6)
    batches = ask_each("{item}", range(50), model=BOTH, max_in_flight=2, progress=False)

    def interrupted(future: Any, timeout_s: float | None = None) -> None:
        raise KeyboardInterrupt

    batches[ONE]._wait = interrupted
    with pytest.raises(Interrupted):
        batches.wait()
    assert all(batch.progress.stopped for batch in batches.values())
