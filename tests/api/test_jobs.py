"""The handle of a job: whoever waits for it, however often, and whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import threading
import time
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from segmind_jupyter.api.jobs import Job, ended
from segmind_jupyter.api.loop import wait_interruptibly
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.states import Cancelled, Completed, Expired, Failed, Processing, Queued
from segmind_jupyter.errors import (
    Interrupted,
    JobCancelled,
    JobExpired,
    JobFailed,
    JobTimeout,
    SegmindError,
    SettingsError,
)

ID = "2c7f0e5a"
REPLY = Reply(text="A sunset.")
FAILURE = JobFailed("It failed. Correct it.", request_id=ID, detail="no")


@pytest.fixture
def job() -> Job:
    return Job(ID, model="claude-4-sonnet")


def complete(job: Job) -> bool:
    return job.finish(Completed(), reply=REPLY)


def fail(job: Job) -> bool:
    return job.finish(Failed("no"), error=FAILURE)


class Wait:
    """Waits as told, and tells when somebody has begun to."""

    def __init__(self, trouble: BaseException | None = None) -> None:
        self.begun = threading.Event()
        self.trouble = trouble
        self.calls = 0

    def __call__(self, future, timeout_s=None) -> None:
        self.calls += 1
        self.begun.set()
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        wait_interruptibly(future, timeout_s)


class TestBeforeItsEnd:
    def test_it_is_queued_and_has_nothing_to_give(self, job):
        """Looking at it sends nothing and raises nothing."""
        assert (job.request_id, job.status, job.done()) == (ID, "QUEUED", False)
        assert (job.reply, job.error) == (None, None)
        assert repr(job) == f"<Job {ID} claude-4-sonnet QUEUED>"

    def test_it_moves_from_state_to_state(self, job):
        """And still has not ended."""
        job.move(Processing())
        assert job.status == "PROCESSING"
        assert not job.done()

    def test_time_runs_from_the_submission(self):
        """On the wall clock, as it may lie in another kernel; never below zero."""
        assert Job(ID, submitted_at=time.time() - 3600).elapsed_s >= 3600
        assert Job(ID, submitted_at=time.time() + 3600).elapsed_s == 0.0
        assert Job(ID).elapsed_s < 3600

    def test_every_change_but_the_last_is_told(self, job):
        """Once each; the end is `on_done`'s."""
        told = []
        job.on_change(lambda job: told.append(job.status))
        for state in (Queued(), Processing(), Processing(), Queued()):
            job.move(state)
        complete(job)
        job.move(Processing())
        assert told == ["PROCESSING", "QUEUED"]
        assert job.status == "COMPLETED"

    def test_a_watcher_may_add_another(self, job):
        """It is called without a lock held."""
        told = []
        job.on_change(lambda job: job.on_change(told.append))
        job.move(Processing())
        job.move(Queued())
        assert told == [job]


class TestAtItsEnd:
    def test_the_reply_is_there(self, job):
        """For whoever asks, as often as they ask."""
        assert complete(job) is True
        assert (job.status, job.done()) == ("COMPLETED", True)
        assert job.reply is job.wait() is job.wait(timeout=0) is REPLY
        assert job.error is None

    @pytest.mark.parametrize(
        ("state", "error"),
        [
            (Failed("no"), FAILURE),
            (Expired(), JobExpired("It expired. Run it anew.", request_id=ID)),
            (Cancelled(), SegmindError("The key was refused. Give another.")),
        ],
        ids=lambda value: str(value)[:9],
    )
    def test_an_error_is_raised_wherever_the_reply_is_asked_for(self, job, state, error):
        """By `wait`, by `reply` and by `await`; `error` and `status` look without raising."""

        async def awaited():
            await job

        job.finish(state, error=error)
        for ask in (job.wait, lambda: job.reply, lambda: asyncio.run(awaited())):
            with pytest.raises(SegmindError) as caught:
                ask()
            assert caught.value is error
        assert (job.status, job.error) == (state, error)

    def test_a_traceback_does_not_grow_with_every_wait(self, job):
        """One error is raised many times, and holds only the frames of the last."""
        fail(job)
        lengths = set()
        for _ in range(3):
            with pytest.raises(JobFailed) as caught:
                job.wait()
            lengths.add(len(traceback.extract_tb(caught.value.__traceback__)))
        assert len(lengths) == 1

    def test_an_error_that_was_caught_brings_no_second_one_along(self, job):
        """Raised while another is handled, it shows alone."""
        fail(job)
        try:
            raise KeyError("mine")
        except KeyError:
            with pytest.raises(JobFailed) as caught:
                job.wait()
        assert "KeyError" not in "".join(traceback.format_exception(caught.value))

    def test_only_the_first_end_counts(self, job):
        """What is told later changes nothing."""
        assert fail(job) is True
        assert complete(job) is False
        assert job.cancel() is False
        job.move(Processing())
        assert job.status == "FAILED"
        with pytest.raises(JobFailed):
            job.wait()

    def test_time_stands_still(self):
        """`elapsed_s` is the reply's own, or what was seen until its end."""
        failed = Job(ID, submitted_at=time.time() - 60)
        fail(failed)
        assert failed.elapsed_s == failed.elapsed_s >= 60
        resumed = Job(ID, submitted_at=time.time() - 86_400)
        resumed.finish(Completed(), reply=Reply(text="Hi", elapsed_s=13.0))
        assert resumed.elapsed_s == 13.0

    def test_it_lets_go_of_who_only_watched(self, job):
        """There are no more changes to tell."""

        class Card:
            def update(self, job):
                pass

        card = Card()
        seen = weakref.ref(card)
        job.on_change(card.update)
        complete(job)
        del card
        gc.collect()
        assert seen() is None


class TestWait:
    def test_many_threads_get_the_same_reply(self):
        """They all wait, and all are woken."""
        wait = Wait()
        job = Job(ID, wait=wait)
        with ThreadPoolExecutor(16) as pool:
            replies = [pool.submit(job.wait) for _ in range(16)]
            wait.begun.wait()
            complete(job)
            assert {id(reply.result()) for reply in replies} == {id(REPLY)}

    def test_many_threads_get_the_same_error(self):
        """Each raises it."""
        wait = Wait()
        job = Job(ID, wait=wait)
        with ThreadPoolExecutor(16) as pool:
            waits = [pool.submit(job.wait) for _ in range(16)]
            wait.begun.wait()
            fail(job)
            assert {type(waited.exception()) for waited in waits} == {JobFailed}

    @pytest.mark.parametrize("timeout", [0, 0.01, -1])
    def test_a_wait_that_is_over_is_a_time_out_of_either_kind(self, job, timeout):
        """It names the id and the state; the job goes on."""
        job.move(Processing())
        with pytest.raises(TimeoutError) as caught:
            job.wait(timeout=timeout)
        assert type(caught.value) is JobTimeout
        assert caught.value.request_id == ID
        assert f"still PROCESSING after {timeout:g} s" in str(caught.value)
        assert f"`%segmind resume {ID}`" in str(caught.value)
        assert not job.done()
        complete(job)
        assert job.wait() is REPLY

    @pytest.mark.parametrize("timeout", ["soon", math.nan, [1], object(), "-1", "3"])
    def test_what_is_no_time_is_refused(self, job, timeout):
        """At once, also where there is nothing to wait for any more."""
        for _ in range(2):
            with pytest.raises(SettingsError, match="positive number of seconds"):
                job.wait(timeout)
            complete(job)

    @pytest.mark.parametrize(("timeout", "waited"), [(math.inf, None), (2, 2.0)])
    def test_what_says_a_time_is_one(self, timeout, waited):
        """For ever is for ever."""
        given = []
        job = Job(ID, wait=lambda future, timeout_s: given.append(timeout_s) or complete(job))
        assert job.wait(timeout) is REPLY
        assert given == [waited]

    def test_without_a_time_out_it_waits_until_the_end(self):
        """However long that takes."""
        given = []
        job = Job(ID, wait=lambda future, timeout_s: given.append(timeout_s) or complete(job))
        assert job.wait(timeout=None) is REPLY
        assert given == [None]

    def test_ten_minutes_are_waited_if_nothing_is_said(self):
        """As the vendor's SDK does."""
        given = []
        job = Job(ID, wait=lambda future, timeout_s: given.append(timeout_s) or complete(job))
        job.wait()
        assert given == [600.0]

    def test_a_job_that_has_ended_is_not_waited_for(self, job):
        """So that its callback may ask for the reply, on the very thread that must not wait."""
        wait = Wait(AssertionError("nothing to wait for"))
        job = Job(ID, wait=wait)
        complete(job)
        assert job.wait() is REPLY
        assert wait.calls == 0

    def test_an_interrupt_ends_the_wait_and_not_the_job(self):
        """It is a KeyboardInterrupt, so that `except Exception` lets it pass."""
        job = Job(ID, wait=Wait(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt) as caught:
            job.wait()
        assert type(caught.value) is Interrupted
        assert not isinstance(caught.value, Exception)
        assert ID in str(caught.value)
        assert "%segmind wait" in str(caught.value)
        assert (job.status, job.done()) == ("QUEUED", False)
        complete(job)
        assert job.wait() is REPLY

    def test_nobody_who_waits_can_end_it(self, job):
        """The waiter is given a future that it cannot cancel."""
        kept = []
        job = Job(ID, wait=lambda future, timeout_s: kept.append(future))
        with pytest.raises(JobTimeout):
            job.wait(1)
        (future,) = kept
        assert future.cancel() is False
        assert complete(job) is True


class TestAwait:
    def test_it_is_awaited_while_another_thread_ends_it(self, job):
        """On the caller's own loop."""

        async def main():
            begun = asyncio.Event()

            async def waits():
                begun.set()
                return await job

            waiting = asyncio.create_task(waits())
            await begun.wait()
            await asyncio.to_thread(complete, job)
            return await waiting

        assert asyncio.run(main()) is REPLY

    def test_it_goes_with_the_tools_of_asyncio(self, job):
        """`gather`, `wait_for`, `shield`, `ensure_future`: several at a time."""

        async def main():
            threading.Thread(target=complete, args=[job]).start()
            four = asyncio.gather(
                job, asyncio.wait_for(job, 30), asyncio.shield(job), asyncio.ensure_future(job)
            )
            return await four

        assert asyncio.run(main()) == [REPLY] * 4

    def test_loops_of_several_threads_may_await_it(self, job):
        """Each is woken on its own."""
        ready = threading.Barrier(5)

        async def main():
            waiting = asyncio.ensure_future(job)
            await asyncio.sleep(0)
            ready.wait()
            return await waiting

        with ThreadPoolExecutor(4) as pool:
            loops = [pool.submit(asyncio.run, main()) for _ in range(4)]
            ready.wait()
            complete(job)
            assert [loop.result() for loop in loops] == [REPLY] * 4

    def test_cancelling_the_wait_leaves_the_job_alone(self, job):
        """Also by a time-out, and others who wait are not touched."""

        async def main():
            other = asyncio.ensure_future(job)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(job, 0.01)
            cancelled = asyncio.ensure_future(job)
            await asyncio.sleep(0)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert not job.done()
            assert not other.done()
            complete(job)
            return await other

        assert asyncio.run(main()) is REPLY

    def test_a_loop_that_was_closed_meanwhile_does_not_keep_it_from_ending(self, job, caplog):
        """The wait went with it; everybody else is told, and nothing is complained about."""

        async def main():
            asyncio.ensure_future(job)  # noqa: RUF006  cancelled with the loop
            await asyncio.sleep(0)

        asyncio.run(main())
        told = []
        job.on_done(told.append)
        assert complete(job) is True
        assert told == [job]
        assert job.wait() is REPLY
        assert caplog.records == []

    def test_one_that_has_ended_is_there_at_once(self, job):
        """On any loop, again and again."""
        complete(job)

        async def main():
            return await job

        assert asyncio.run(main()) is asyncio.run(main()) is REPLY


class TestOnDone:
    def test_it_is_called_at_the_end_or_at_once_if_that_is_over(self, job):
        """Once each, with the job, which can then be read."""
        told = []
        job.on_done(lambda job: told.append(("before", job.done(), job.reply, job.wait())))
        complete(job)
        job.on_done(lambda job: told.append(("after", job.done(), job.reply, job.wait())))
        assert told == [("before", True, REPLY, REPLY), ("after", True, REPLY, REPLY)]

    def test_it_is_called_at_every_kind_of_end(self):
        """A failure and a cancel are ends too."""
        told = []
        for end in (complete, fail, Job.cancel):
            job = Job(ID)
            job.on_done(lambda job: told.append(str(job.status)))
            end(job)
        assert told == ["COMPLETED", "FAILED", "CANCELLED"]

    @pytest.mark.parametrize(
        "trouble",
        [ValueError("mine"), SystemExit(3), asyncio.CancelledError(), FAILURE],
        ids=lambda trouble: type(trouble).__name__,
    )
    @pytest.mark.parametrize("register", [Job.on_done, Job.on_change])
    def test_what_one_raises_is_logged_and_stops_nothing(self, job, caplog, register, trouble):
        """Not even an exit: it would end the thread that all jobs live on."""
        told = []

        def raises(job):
            raise trouble

        register(job, raises)
        register(job, told.append)
        job.move(Processing())
        assert complete(job) is True
        assert told == [job]
        (record,) = caplog.records
        assert (record.name, record.levelno) == ("segmind_jupyter.api.jobs", logging.ERROR)
        assert record.exc_info[1] is trouble

    def test_an_interrupt_that_comes_meanwhile_is_the_users(self, job):
        """On the main thread, where `cancel` may call back; the job has ended all the same."""

        def interrupted(job):
            raise KeyboardInterrupt

        job.on_done(interrupted)
        with pytest.raises(KeyboardInterrupt):
            job.cancel()
        assert job.done()

    def test_an_interrupt_on_another_thread_is_none(self, job, caplog):
        """Nobody presses a key there."""

        def interrupted(job):
            raise Interrupted("stopped")

        job.on_done(interrupted)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(complete, job).result() is True
        assert len(caplog.records) == 1

    def test_a_callback_may_add_callbacks_and_cancel(self, job):
        """No lock is held while it runs."""
        told = []

        def again(job):
            job.on_done(told.append)
            told.append(job.cancel())
            told.append(job.finish(Completed(), reply=REPLY))

        job.on_done(again)
        complete(job)
        assert told == [job, False, False]

    def test_each_is_called_once_however_the_end_comes_between(self):
        """Added by some threads while others end it."""
        for _ in range(100):
            job, told, start = Job(ID), [], threading.Barrier(4)

            def add(job=job, told=told, start=start):
                start.wait()
                for n in range(20):
                    job.on_done(lambda _, n=n: told.append(n))

            def end(job=job, start=start):
                start.wait()
                complete(job)

            threads = [threading.Thread(target=what) for what in (add, add, add, end)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(told) == sorted([*range(20)] * 3)


class TestCancel:
    def test_it_stops_watching_and_says_what_that_means(self, job):
        """The gateway cannot stop a job: it may be billed, and can be taken up again."""
        assert job.cancel() is True
        assert (job.status, job.done()) == ("CANCELLED", True)
        with pytest.raises(JobCancelled) as caught:
            job.wait()
        assert caught.value.request_id == ID
        assert "may still be billed" in str(caught.value)
        assert f"`%segmind resume {ID}`" in str(caught.value)

    def test_it_is_no_news_twice(self, job):
        """The first call ends it."""
        assert (job.cancel(), job.cancel()) == (True, False)

    def test_it_wakes_those_who_wait(self):
        """They learn that it was cancelled."""
        wait = Wait()
        job = Job(ID, wait=wait)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(job.wait)
            wait.begun.wait()
            job.cancel()
            assert type(waiting.exception()) is JobCancelled

    def test_either_it_or_the_reply_comes_first(self):
        """Exactly one of them counts, and everything that can be seen agrees on which."""
        with ThreadPoolExecutor(3) as pool:
            for _ in range(300):
                job, told, start = Job(ID), [], threading.Barrier(3)
                job.on_done(told.append)

                def first(end, job=job, start=start):
                    start.wait()
                    return end(job)

                ends = [complete, fail, Job.cancel]
                counted = [won.result() for won in [pool.submit(first, end) for end in ends]]
                assert sorted(counted) == [False, False, True]
                winner = ends[counted.index(True)]
                state = {complete: "COMPLETED", fail: "FAILED", Job.cancel: "CANCELLED"}[winner]
                assert job.status == state
                assert (job.error is None) is (winner is complete)
                assert told == [job]


def test_an_error_is_unraised_until_somebody_gets_it(job: Job):
    """Whoever only waits for the end, or looks at the error, leaves it so."""
    assert job.unraised is None
    fail(job)
    asyncio.run(ended(job))
    assert job.unraised is job.error is FAILURE
    with pytest.raises(JobFailed):
        job.wait()
    assert job.unraised is None
    assert job.error is FAILURE
