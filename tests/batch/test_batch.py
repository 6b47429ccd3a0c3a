"""`ask_each` against a gateway on loopback: order, errors, stopping, resuming, memory."""

from __future__ import annotations

import contextlib
import itertools
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from scripted import Gateway

from segmind_jupyter.api.journal import default_path
from segmind_jupyter.batch import Batch, Progress, ask_each
from segmind_jupyter.errors import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ContentError,
    InsufficientCreditsError,
    Interrupted,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobTimeout,
    MaybeBilledError,
    MissingKeyError,
    NotCachedError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    SettingsError,
)
from segmind_jupyter.session import session
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

KEY = "sk-live-0123456789abcdef"

#: Seconds that a held job takes on the gateway's own clock, which stands still.
LONG_S = 1000.0


class Jobs:
    """Says when the jobs of a gateway end."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self.gateway = Gateway(Behaviour(credits=1e6), clock=lambda: self._now_s)

    def hold(self) -> None:
        """Let no job end that comes from now on."""
        self.gateway.behaviour = Behaviour(credits=1e6, work_s=LONG_S)

    def release(self) -> None:
        """End all that were held, and those to come at once."""
        self.gateway.behaviour = Behaviour(credits=1e6)
        self._now_s += LONG_S


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def gateway(
    restart: Callable[[], None], monkeypatch: pytest.MonkeyPatch, jobs: Jobs
) -> Iterator[Gateway]:
    """A gateway whose jobs end at once."""
    with serve(jobs.gateway) as url:
        monkeypatch.setenv("SEGMIND_BASE_URL", url)
        # Jobs end at once or are held: nothing is learned from waiting half a second for a look.
        monkeypatch.setattr("segmind_jupyter.api.watch.next_poll", lambda *_: 0.05)
        yield jobs.gateway
        restart()


@pytest.fixture
def slow(gateway: Gateway, jobs: Jobs) -> Gateway:
    """The same, but its jobs are held."""
    jobs.hold()
    return gateway


def posts(gateway: Gateway) -> int:
    return sum(entry.method == "POST" for entry in tuple(gateway.log))


def polled_ids(gateway: Gateway) -> set[str]:
    return {entry.path.split("/")[3] for entry in tuple(gateway.log) if entry.method == "GET"}


def until(condition: Callable[[], bool]) -> None:
    """Wait for what only another process or a server's log can tell."""
    pause = threading.Event()
    for _ in range(6000):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail("it never came so far")


class TestReplies:
    def test_they_come_in_the_order_of_the_items(self, gateway: Gateway):
        """Whichever came first; each item is billed once."""
        batch = ask_each("echo: {item}", [f"n{n}" for n in range(20)])
        assert [reply.text for reply in batch.replies] == [f"n{n}" for n in range(20)]
        assert gateway.billed == posts(gateway) == len(batch) == 20
        assert batch.errors == {}

    def test_a_wait_that_takes_too_long_says_how_far_it_is(self, slow: Gateway, jobs: Jobs):
        """The batch goes on; no time is a look, and what is no time is refused."""
        batch = ask_each("echo: {item}", ["a"])
        with pytest.raises(SettingsError, match="A time-out is a positive number of seconds"):
            batch.wait("soon")
        for timeout in (0.01, 0, -1):
            with pytest.raises(JobTimeout, match=r"After .* s: 0 of 1 done"):
                batch.wait(timeout)
        jobs.release()
        assert batch.wait(float("inf")).replies[0].text == "a"

    def test_iteration_gives_each_outcome_once_and_again(self, gateway: Gateway):
        """With its position, key, item and reply; of nothing, nothing."""
        batch = ask_each("echo: {item}", {"x": "a", "y": "b", "z": "c"})
        for _ in range(2):
            outcomes = sorted(batch, key=lambda outcome: outcome.index)
            assert [(each.index, each.key, each.item, each.text) for each in outcomes] == [
                (0, "x", "a", "a"), (1, "y", "b", "b"), (2, "z", "c", "c"),
            ]  # fmt: skip
        nothing = ask_each("{item}", [])
        assert (nothing.done(), nothing.replies, list(nothing)) == (True, [], [])

    def test_what_is_done_is_given_while_others_go_on(self, slow: Gateway, jobs: Jobs):
        """By iteration and by `outcomes`; each item is read anew, in the order of the items."""
        jobs.release()
        ask_each("echo: {item}", ["done"]).wait()
        jobs.hold()
        batch = ask_each("echo: {item}", ["pending", "done"])
        each = iter(batch)
        assert next(each).text == "done"
        assert [outcome.item for outcome in batch.outcomes] == ["done"]
        assert not batch.done()
        jobs.release()
        assert next(each).text == "pending"
        assert [outcome.text for outcome in batch.outcomes] == ["pending", "done"]


class TestErrors:
    def test_they_are_kept_by_item_and_the_others_go_on(self, gateway: Gateway):
        """One that fails at Segmind, one that cannot be converted; none holds what was encoded."""
        batch = ask_each("{item}", ["fine", "fail: blocked", b"\xff\x00", "fine too"]).wait()
        assert {n: type(error) for n, error in batch.errors.items()} == {
            1: JobFailed,
            2: ContentError,
        }
        assert [reply is None for reply in batch.replies] == [False, True, True, False]
        assert (batch.progress.done, batch.progress.failed) == (2, 2)
        for error in batch.errors.values():
            assert error.__traceback__ is error.__cause__ is error.__context__ is None
        with pytest.raises(JobFailed, match="blocked"):
            _ = batch.outcomes[1].text

    def test_a_refusal_of_one_request_is_its_items_own(self, gateway: Gateway):
        """The server says so of this request; the next one may be fine."""
        for status in (400, 422):
            gateway.script("POST", status=status)
            batch = ask_each("{item}", list(range(5)), resume=False).wait()
            assert [type(error) for error in batch.errors.values()] == [BadRequestError]
            assert batch.progress.done == 4

    def test_what_every_item_would_meet_stops_the_sending(self, gateway: Gateway):
        """10,000 refusals help nobody; what was not sent says so, and what the refusal was."""
        for status, kind in {
            401: AuthenticationError,
            403: PermissionDeniedError,
            404: NotFoundError,
            406: InsufficientCreditsError,
            410: APIError,
            429: RateLimitError,  # for an hour, so each further one would wait as long
        }.items():
            gateway.log.clear()
            gateway.clear_script()
            gateway.script("POST", status=status, times=1000, headers={"retry-after": "3600"})
            batch = ask_each("{item}", list(range(300))).wait()
            assert posts(gateway) <= 8  # four at a time, and a 401 is tried in two forms
            unsent = [error for error in batch.errors.values() if type(error) is JobCancelled]
            refused = [error for error in batch.errors.values() if isinstance(error, kind)]
            assert refused
            assert len(unsent) == 300 - len(refused) == batch.progress.unsent >= 296
            assert all(f"another item was refused with {status}" in str(e) for e in unsent)
            assert f"{batch.progress.unsent} not sent" in str(batch)

    def test_a_refusal_of_a_look_is_its_items_own(self, gateway: Gateway):
        """The job goes on; neither advice for a submission nor a word on its bill is given."""
        for sent, status in enumerate((400, 406), 1):
            gateway.script("GET", status=status)
            system = f"Once {status}"
            batch = ask_each("{item}", list(range(8)), system=system).wait()
            (error,) = batch.errors.values()
            assert error.status == status
            for words in ("The job itself goes on", "%segmind resume", "look again"):
                assert words in str(error)
            for words in ("-m", "billed", "Correct", "%segmind credits", "retired"):
                assert words not in str(error)
            assert ask_each("{item}", list(range(8)), system=system).wait().errors == {}
            assert posts(gateway) == 8 * sent

    def test_a_post_without_an_answer_is_not_sent_again(self, gateway: Gateway):
        """Nor by the next run, in this kernel as in another, until it alone is asked for anew."""
        gateway.script("POST", drop="after_work")
        items = list(range(10))
        batch = ask_each("{item}", items).wait()
        assert [type(error) for error in batch.errors.values()] == [MaybeBilledError]
        assert posts(gateway) == gateway.billed == 10
        assert session().ledger.unknown == 1
        again = ask_each("{item}", items).wait()
        assert list(again.errors) == list(batch.errors)
        assert "`resume=False`" in str(*again.errors.values())
        assert posts(gateway) == 10
        assert ask_each("{item}", list(batch.errors), resume=False).wait().errors == {}
        assert ask_each("{item}", items).wait().errors == {}
        assert posts(gateway) == 11

    def test_a_post_that_was_answered_with_an_error_is_sent_by_the_next_run(self, gateway: Gateway):
        """Segmind charges nothing for it, as the error says; nothing else is sent."""
        gateway.script("POST", status=502)
        batch = ask_each("{item}", list(range(10))).wait()
        assert [type(error) for error in batch.errors.values()] == [MaybeBilledError]
        again = ask_each("{item}", list(range(10))).wait()
        assert (again.errors, again.progress.kept) == ({}, 9)
        assert (posts(gateway), gateway.billed) == (11, 10)

    def test_raise_leaves_what_was_paid_for_within_reach(self, gateway: Gateway):
        """Nothing more is sent; the error names its item, and what holds the others."""
        batch = ask_each("{item}", ["a", "b", "fail: x", "d"], on_error="raise", max_in_flight=1)
        for wait in (batch.wait, lambda: batch.replies):
            with pytest.raises(JobFailed, match=r"Item 2: .*2 of 4 done, and kept \(`batch.outc"):
                wait()
        outcomes = batch.outcomes
        assert [type(outcome.error) for outcome in outcomes[2:]] == [JobFailed, JobCancelled]
        assert [outcome.key for outcome in batch][:2] == [0, 1]
        assert posts(gateway) == 3

    def test_arguments_that_cannot_work_are_refused_at_once(self, gateway: Gateway):
        """Nothing is begun."""
        for arguments, kind in (
            ({"max_in_flight": 0}, SettingsError), ({"max_in_flight": True}, SettingsError),
            ({"resume": "no"}, SettingsError), ({"on_error": "ignore"}, SettingsError),
            ({"max_inflight": 3}, SettingsError), ({"prompt": "{context} {item}"}, ContentError),
            ({"items": "one text"}, ContentError), ({"json": "no type"}, ContentError),
            ({"model": "No Such"}, SettingsError), ({"retry_misfits": -1}, SettingsError),
        ):  # fmt: skip
            with pytest.raises(kind):
                ask_each(**{"prompt": "{item}", "items": [1], **arguments})
        assert session().pending == ()
        assert not gateway.log

    def test_a_key_that_is_refused_for_a_state_stops_the_sending(self, gateway: Gateway):
        """Each further submission would be refused as well."""
        gateway.script("GET", status=401, times=1000)
        batch = ask_each("{item}", list(range(300)), max_in_flight=4).wait()
        assert {type(error) for error in batch.errors.values()} == {
            AuthenticationError,
            JobCancelled,
        }
        assert posts(gateway) < 20

    def test_a_missing_key_is_every_items_error(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ):
        """Found before anything is sent."""
        monkeypatch.delenv("SEGMIND_API_KEY")
        batch = ask_each("{item}", list(range(30))).wait()
        assert {type(error) for error in batch.errors.values()} == {MissingKeyError}
        assert len(batch.errors) == 30
        assert not gateway.log

    def test_a_job_that_segmind_has_forgotten_says_what_to_do(self, slow, jobs, restart):
        """Its reply is lost; running the batch again sends the item anew."""
        ask_each("echo: {item}", ["a"])
        until(lambda: len(polled_ids(slow)) == 1)
        restart()
        with contextlib.closing(sqlite3.connect(default_path())) as journal, journal:
            journal.execute("UPDATE jobs SET submitted_at = submitted_at - 7200")
        slow.script("GET", status=404)
        jobs.release()
        (error,) = ask_each("echo: {item}", ["a"]).wait(60).errors.values()
        assert type(error) is JobExpired
        assert "is lost and may have been billed; run it anew" in str(error)
        assert ask_each("echo: {item}", ["a"]).wait(60).progress.kept == 0
        assert slow.billed == 2

    def test_a_submission_takes_no_longer_than_it_may(self, gateway: Gateway):
        """The time-out is that of the request, and no parameter of the model."""
        gateway.script("POST", delay_s=30)
        (error,) = ask_each("{item}", ["a"], timeout=0.5).wait(25).errors.values()
        assert type(error) is MaybeBilledError
        assert "timed out" in str(error)


class TestStopping:
    def test_cancel_sends_no_more_and_keeps_what_is_in_flight(self, slow: Gateway, jobs: Jobs):
        """Those are billed anyway; what was never sent says so."""
        batch = ask_each("echo: {item}", [str(n) for n in range(10)], max_in_flight=2)
        until(lambda: len(polled_ids(slow)) == 2)
        batch.cancel()
        assert not batch.done()
        jobs.release()
        assert [reply and reply.text for reply in batch.replies] == ["0", "1", *[None] * 8]
        assert {type(error) for error in batch.errors.values()} == {JobCancelled}
        assert list(batch.errors) == list(range(2, 10))
        assert slow.billed == 2
        assert str(batch).startswith("2 of 10 done, 8 not sent · ")

    def test_closing_the_service_ends_the_batch(self, slow: Gateway):
        """Nobody waits for ever for a loop that is gone; the journal knows the rest."""
        batch = ask_each("{item}", list(range(10)), max_in_flight=2)
        until(lambda: len(polled_ids(slow)) == 2)
        session().close()
        assert {type(error) for error in batch.wait().errors.values()} == {JobCancelled}
        assert len(batch.errors) == 10


class TestResuming:
    def test_what_was_answered_is_not_sent_again(self, gateway: Gateway):
        """In the same process; the ledger does not count it twice."""
        first = ask_each("echo: {item}", list("abc")).wait()
        again = ask_each("echo: {item}", list("abcd")).wait()
        assert [reply.text for reply in again.replies] == list("abcd")
        assert (again.progress.kept, gateway.billed) == (3, 4)
        assert len(session().ledger.calls) == 4
        assert "(3 from the journal)" in str(again)
        assert again.progress.input_tokens < first.progress.input_tokens

    def test_equal_items_are_as_many_calls(self, gateway: Gateway):
        """Each is found again; asked otherwise, or with `resume=False`, it is asked again."""
        assert ask_each("{item}", ["same"] * 3).wait().progress.kept == 0
        assert ask_each("{item}", ["same"] * 5).wait().progress.kept == 3
        for change in ({"system": "x"}, {"temperature": 0.5}, {"max_tokens": 9}, {"resume": False}):
            assert ask_each("{item}", ["same"], **change).wait().progress.kept == 0
        assert gateway.billed == 9

    def test_where_nothing_may_be_sent_the_journal_alone_answers(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, restart: Any
    ):
        """Under `cache="only"`, without a key: what it does not have is an error of the item's."""
        ask_each("echo: {item}", list("abc")).wait()
        restart()
        gateway.log.clear()
        monkeypatch.delenv("SEGMIND_API_KEY")
        session().options = session().options.replace(cache="only")
        batch = ask_each("echo: {item}", list("abcd")).wait()
        assert [reply and reply.text for reply in batch.replies] == ["a", "b", "c", None]
        assert {nth: type(error) for nth, error in batch.errors.items()} == {3: NotCachedError}
        assert not gateway.log

    def test_what_is_still_worked_on_is_followed(self, slow, jobs, restart):
        """A restart between the submission and the reply costs nothing."""
        ask_each("echo: {item}", list("abc"))
        until(lambda: len(polled_ids(slow)) == 3)
        restart()
        jobs.release()
        batch = ask_each("echo: {item}", list("abcd"))
        assert [reply.text for reply in batch.replies] == list("abcd")
        assert slow.billed == posts(slow) == 4


class TestProgressOfABatch:
    def test_the_numbers_add_up_at_every_change(self, gateway: Gateway):
        """And no more than was allowed is ever in flight."""
        seen: list[Progress] = []
        batch = ask_each("{item}", ["fail: x", *range(14)], max_in_flight=3)
        batch.on_change(lambda batch: seen.append(batch.progress))
        batch.wait()
        for now in [*seen, batch.progress]:
            assert now.total == 15 == now.done + now.failed + now.in_flight + now.unsent
            assert 0 <= now.in_flight <= 3
        done = [now.done for now in seen]
        assert done == sorted(done)
        total = session().ledger.total()
        assert batch.progress.input_tokens == total.input_tokens > 0
        assert batch.progress.cost == pytest.approx(total.cost)
        assert repr(batch) == str(batch) == str(batch.progress)

    def test_a_callback_or_a_view_that_fails_does_no_harm(self, gateway: Gateway, caplog: Any):
        """It is logged; the background loop, and with it every other job, goes on."""
        shown: list[Batch] = []
        session().batch_shows += [lambda batch: 1 / 0, shown.append]
        batches = []
        for listen in (Batch.on_change, Batch.on_done):
            for fail in (sys.exit, lambda: 1 / 0):
                batch = ask_each("{item}", list(range(3)), resume=False)
                listen(batch, lambda batch, fail=fail: fail())
                assert batch.wait(60).errors == {}
                batches.append(batch)
        ask_each("{item}", [7], progress=False).wait(60)
        assert shown == batches
        for trouble in ("SystemExit", "ZeroDivisionError", "a batch cannot be shown"):
            assert trouble in caplog.text

    def test_an_interrupt_while_it_is_shown_stops_the_sending(self, slow: Gateway, jobs: Jobs):
        """Nobody has a handle to stop it with, nor those of earlier models; all are pending."""
        begun: list[Batch] = []

        def interrupted(batch: Batch) -> None:
            begun.append(batch)
            assert session().pending == tuple(begun)
            if len(begun) == 2:
                raise KeyboardInterrupt

        session().batch_shows.append(interrupted)
        models = ["claude-4-sonnet", "claude-3.5-sonnet"]
        with pytest.raises(Interrupted, match="nothing more is sent"):
            ask_each("{item}", list(range(50)), model=models, max_in_flight=2)
        assert [batch.progress.stopped for batch in begun] == [True, True]
        jobs.release()
        until(lambda: session().pending == ())
        assert slow.billed <= 2


class TestPace:
    def test_an_item_is_encoded_just_before_it_is_sent(self, slow: Gateway, jobs: Jobs):
        """However many are in flight, no more than four are encoded and not yet sent."""
        ahead: list[int] = []
        made = itertools.count(1)

        class Watched:
            def _repr_claude_(self) -> str:
                ahead.append(next(made) - posts(slow))
                return f"number {len(ahead)}"

        batch = ask_each("Look", [Watched() for _ in range(20)], max_in_flight=16)
        until(lambda: posts(slow) == 16)
        assert len(ahead) == 16
        jobs.release()
        assert batch.wait().errors == {}
        assert 1 <= max(ahead) <= 4


class TestPrograms:
    def test_an_interrupt_stops_the_sending_and_keeps_what_is_done(
        self, slow: Gateway, jobs: Jobs, program: Any
    ):
        """Running it again goes on, and sends nothing twice."""
        code = """
        from segmind_jupyter.batch import ask_each
        batch = ask_each("echo: {item}", [str(n) for n in range(12)], max_in_flight=4)
        try:
            batch.wait()
        except KeyboardInterrupt as interrupt:
            print(interrupt)
        """
        running = program(code)
        until(lambda: len(polled_ids(slow)) == 4)
        running.send_signal(signal.SIGINT)
        said, complaints = running.communicate(timeout=60)
        assert said.startswith("Stopped: 0 of 12 done")
        assert "run it again to go on where it stopped" in said
        assert (running.returncode, complaints) == (0, "")
        assert slow.billed == 4
        jobs.release()
        batch = ask_each("echo: {item}", [str(n) for n in range(12)])
        assert [reply.text for reply in batch.replies] == [str(n) for n in range(12)]
        assert slow.billed == posts(slow) == 12


def test_the_line_of_a_batch_says_what_is_known():
    """And leaves out what is not."""
    assert str(Progress(total=300)) == "0 of 300 done"
    taken = {"input_tokens": 12_345, "output_tokens": 678, "cost": 0.42}
    now = Progress(total=300, done=12, failed=1, in_flight=8, elapsed_s=17, **taken)
    assert str(now) == (
        "12 of 300 done, 1 failed, 8 in flight · 12,345 tokens in, 678 out · 0.42 credits "
        "· about 4 min 43 s left"
    )
