"""The handle of a job: whoever waits for it, however often, and whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from segmind_jupyter.api.jobs import Job
from segmind_jupyter.api.loop import wait_interruptibly
from segmind_jupyter.api.messages import Reply
from segmind_jupyter.api.responses import Cancelled, Completed, Expired, Failed, Processing
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
    """Waits as told, and tells how long it was to, and when somebody has begun."""

    def __init__(self, trouble: BaseException | None = None) -> None:
        self.begun = threading.Event()
        self.trouble = trouble
        self.given: list[float | None] = []

    def __call__(self, future, timeout_s=None) -> None:
        self.given.append(timeout_s)
        self.begun.set()
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        wait_interruptibly(future, timeout_s)


class TestBeforeItsEnd:
    def test_time_runs_from_the_submission_and_stands_still_at_the_end(self):
        """On the wall clock, as it may lie in another kernel; never below zero."""
        assert Job(ID, submitted_at=time.time() - 3600).elapsed_s >= 3600
        assert Job(ID, submitted_at=time.time() + 3600).elapsed_s == 0.0
        assert Job(ID).elapsed_s < 3600
        failed = Job(ID, submitted_at=time.time() - 60)
        fail(failed)
        assert failed.elapsed_s == failed.elapsed_s >= 60
        resumed = Job(ID, submitted_at=time.time() - 86_400)
        resumed.finish(Completed(), reply=Reply(text="Hi", elapsed_s=13.0))
        assert resumed.elapsed_s == 13.0


class TestAtItsEnd:
    def test_an_error_is_raised_wherever_the_reply_is_asked_for(self):
        """By `wait`, `reply` and `await`; whoever looks alone leaves it unraised."""
        for state, error in [
            (Failed("no"), FAILURE),
            (Expired(), JobExpired("It expired. Run it anew.", request_id=ID)),
            (Cancelled(), SegmindError("The key was refused. Give another.")),
        ]:
            job = Job(ID)

            async def awaited(job=job):
                await job

            assert job.unraised is None
            job.finish(state, error=error)
            asyncio.run(job.settled())
            assert job.unraised is job.error is error
            for ask in (job.wait, lambda job=job: job.reply, lambda: asyncio.run(awaited())):
                with pytest.raises(SegmindError) as caught:
                    ask()
                assert caught.value is error
            assert (job.status, job.error, job.unraised) == (state, error, None)


class TestWait:
    def test_a_wait_that_is_over_is_a_time_out_of_either_kind(self, job):
        """It names the id and the state; the job goes on."""
        job.move(Processing())
        for timeout in (0, 0.01, -1):
            with pytest.raises(
                TimeoutError, match=f"still PROCESSING after {timeout:g} s"
            ) as caught:
                job.wait(timeout=timeout)
            assert type(caught.value) is JobTimeout
            assert caught.value.request_id == ID
            assert f"`%segmind resume {ID}`" in str(caught.value)
        complete(job)
        assert job.wait() is REPLY

    def test_what_is_no_time_is_refused(self, job):
        """At once, also where there is nothing to wait for any more."""
        for _ in range(2):
            for timeout in ("soon", math.nan, [1], object(), "-1", "3"):
                with pytest.raises(SettingsError, match="positive number of seconds"):
                    job.wait(timeout)
            complete(job)

    def test_an_interrupt_ends_the_wait_and_not_the_job(self):
        """It is a KeyboardInterrupt, so that `except Exception` lets it pass."""
        job = Job(ID, wait=Wait(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt) as caught:
            job.wait()
        assert type(caught.value) is Interrupted
        assert ID in str(caught.value)
        assert "%segmind wait" in str(caught.value)
        complete(job)
        assert job.wait() is REPLY


class TestAwait:
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
            assert [job.done(), other.done()] == [False, False]
            complete(job)
            return await other

        assert asyncio.run(main()) is REPLY


class TestOnDone:
    def test_what_one_raises_is_logged_and_stops_nothing(self, caplog):
        """Not even an exit: it would end the thread that all jobs live on."""
        for register in (Job.on_done, Job.on_change):
            for trouble in (ValueError("mine"), SystemExit(3), FAILURE):
                job, told = Job(ID), []

                def raises(job, trouble=trouble):
                    raise trouble

                register(job, raises)
                register(job, told.append)
                job.move(Processing())
                assert complete(job) is True
                assert told == [job]
                record = caplog.records[-1]
                assert (record.name, record.levelname) == ("segmind_jupyter.api.jobs", "ERROR")
                assert record.exc_info[1] is trouble
        assert len(caplog.records) == 6

    def test_an_interrupt_is_the_cells(self):
        """In a callback that the cell runs itself, as of a job that has ended."""
        job = Job(ID)
        complete(job)

        def interrupted(job):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            job.on_done(interrupted)


def test_cancelling_stops_the_watching_and_says_what_that_means():
    """The gateway cannot stop a job: it may be billed, and can be taken up again."""
    wait = Wait()
    job = Job(ID, wait=wait)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(job.wait)
        wait.begun.wait()
        assert (job.cancel(), job.cancel()) == (True, False)
        error = waiting.exception()
    assert (type(error), error.request_id) == (JobCancelled, ID)
    assert (job.status, job.done()) == ("CANCELLED", True)
    assert "may still be billed" in str(error)
    assert f"`%segmind resume {ID}`" in str(error)
