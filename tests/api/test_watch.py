"""Following jobs to their end on a clock that leaps: what is sent, kept, learned, handed over."""

from __future__ import annotations

import contextlib
import time

import anyio
import anyio.from_thread
import pytest
from scripted import Gateway

from segmind_jupyter.api.database import JobRecord
from segmind_jupyter.api.journal import Journal
from segmind_jupyter.api.loop import BackgroundLoop
from segmind_jupyter.errors import (
    APIError,
    AuthenticationError,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobTimeout,
    MaybeBilledError,
    PermissionDeniedError,
    SegmindError,
    SettingsError,
)

MODEL = "claude-4-sonnet"
KEY = "sk-live-0123456789abcdef"

#: What a hotel's network shows until one has logged in.
PAGE = "<!doctype html><title>Welcome to the hotel</title>"


def test_the_id_is_in_the_journal_before_the_first_poll(world):
    """Whenever the gateway hears of a job again, a reader of the file finds its id there."""
    known = []

    def look(request):
        if request.method == "GET":
            with_another = Journal(world.path)
            known.append(with_another.find(request.url.path.split("/")[3]) is not None)
            with_another.close()

    world.on_request = look
    job, states = world.submit(), []
    job.on_change(lambda job: states.append(job.status))
    world.follow(job)
    assert known
    assert all(known)
    assert states[-1] == "PROCESSING"  # until the reply is there


class TestResuming:
    """Another kernel takes a job up, with nothing but the journal."""

    def test_a_pending_job_is_followed_and_a_kept_end_comes_with_no_request_at_all(self, world):
        """No POST either way, also after the server has forgotten it; a failure as a reply."""
        names = [world.submit(prompt).request_id for prompt in ("echo: hello", "fail: blocked")]
        world.start_kernel()
        for name in names:
            world.follow(world.resume(name))
        assert world.delivered == [(names[0], "hello")]
        world.loop.run(anyio.sleep(7200))
        sent = len(world.requests)
        world.start_kernel()
        replied, failed = map(world.resume, names)
        assert (replied.status, replied.reply.text) == ("COMPLETED", "hello")
        with pytest.raises(JobFailed, match="blocked"):
            failed.wait()
        assert len(world.requests) == sent
        assert len(world.sent("POST")) == 2
        assert len(world.delivered) == 1

    def test_an_id_that_nobody_knows_ends_as_expired_at_the_first_look(self, world):
        """It is not of this journal, or was sent a minute ago: nothing is about to come."""
        old = JobRecord(
            request_id="old",
            origin=world.ORIGIN,
            model=MODEL,
            submitted_at=time.time() - 60,
            state="QUEUED",
        )
        world.journal.submitted(old)
        for n, request_id in enumerate(["nobody-knows-it", "old"]):
            job = world.follow(world.resume(request_id), at_most_s=0.5)
            with pytest.raises(JobExpired, match=request_id):
                job.wait()
            assert job.status == "EXPIRED"
            assert len(world.requests) == n + 1

    def test_a_job_of_another_origin_is_refused(self, world):
        """Its id means nothing here; the message names where it belongs."""
        request_id = world.submit().request_id
        sent = len(world.requests)
        world.start_kernel(origin="https://other.example")
        with pytest.raises(JobError, match=r"https://api\.example"):
            world.resume(request_id)
        assert len(world.requests) == sent


class TestHandles:
    """Several who ask for one job: a batch, and somebody who takes it up by its id."""

    def test_they_get_one_handle_that_is_polled_for_once(self, world):
        """Giving up a wait gives up nothing else."""
        job = world.submit(request="ours", nth=0)

        async def story():
            world.watch.start(job)
            with anyio.move_on_after(1.0):
                await world.watch.follow(job)
            assert world.watch.followed(job.request_id) is job
            assert await world.watch.resume(job.request_id) is job
            assert await world.watch.found(world.call(), 0) is job
            async with anyio.create_task_group() as group:
                group.start_soon(world.watch.follow, job)
                group.start_soon(world.watch.follow, job)

        world.run(story())
        assert (job.reply.text, job.reply.request) == ("hello", "ours")
        assert world.watch.followed(job.request_id) is None
        assert len(world.delivered) == 1
        assert world.sent("GET").count(f"/v2/requests/{job.request_id}") == 1


class TestNotFound:
    """404 says that a job expired, that it is not there yet, or that one server lags."""

    def test_a_passing_404_is_no_end(self, world):
        """An id can be known before its record is, a state before its result; a server may lag."""
        world.set(work_s=60.0)
        world.gateway.script("GET", status=404, times=4)
        for at_s in (20.0, 40.0):
            world.loop.call_later(at_s, lambda: world.gateway.script("GET", status=404, times=2))
        job = world.submit()
        for_results(world.gateway, times=2, status=404)
        assert world.follow(job).reply.text == "hello"
        assert world.sent("GET").count(f"/v2/requests/{job.request_id}") == 3

    def test_a_job_older_than_the_servers_memory_has_expired_at_once_though_it_was_seen(
        self, world
    ):
        """One look is enough where 404 is no surprise; the journal notes it."""
        world.set(work_s=3500.0, result_life_s=0.0)
        job = world.submit()
        world.follow(job)
        assert isinstance(job.error, JobExpired)
        assert world.journal.find(job.request_id).state == "EXPIRED"


def for_results(gateway: Gateway, *, times: int, **fault) -> None:
    """Script a fault for the next fetches of results; polls are left alone."""
    handle = gateway.handle

    def handled(request):
        nonlocal times
        if times and request.method == "GET" and not request.path.endswith("/status"):
            times -= 1
            gateway.script("GET", **fault)
        return handle(request)

    gateway.handle = handled


class TestFailure:
    """A job that ends without a reply."""

    def test_an_unknown_state_ends_the_watch_but_not_the_job(self, world):
        """Waiting on would be waiting for ever; the job can be taken up when more is known."""
        job = world.submit()
        world.gateway.script("GET", change=lambda body: {**body, "status": "PAUSED"})
        world.follow(job)
        assert isinstance(job.error, JobError)
        assert "'PAUSED'" in str(job.error)
        assert world.journal.find(job.request_id).pending
        assert world.follow(world.resume(job.request_id)).reply.text == "hello"

    def test_a_result_without_text_is_fetched_again_and_is_never_kept(self, world):
        """A reply or FAILED alone is the job's end."""
        job = world.submit()

        def without_text(body):
            return {**body, "output": {"tool": "none"}} if "output" in body else body

        world.gateway.script("GET", times=100, change=without_text)
        world.follow(job)
        assert "no reply text (keys: tool)" in str(job.error)
        assert 3 < world.sent("GET").count(f"/v2/requests/{job.request_id}") < 20
        assert world.journal.find(job.request_id).pending
        assert not world.delivered
        world.gateway.clear_script()
        world.start_kernel()
        assert world.follow(world.resume(job.request_id)).reply.text == "hello"


def escaped(text: str) -> str:
    """Write it as JSON may: no byte of it stands there as it is."""
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


@pytest.mark.parametrize("spelled", [str, escaped])
@pytest.mark.parametrize(
    ("where", "status", "body"),
    [
        ("GET", 422, '{"status": "FAILED", "error": {"KEY": ["KEY"]}}'),
        ("GET", 404, '{"error": "no job of KEY"}'),
        ("GET", 401, '{"error": "KEY is refused"}'),
        ("GET", 200, '{"status": "COMPLETED", "output": "for KEY"}'),
        ("GET", 200, '{"status": "COMPLETED", "output": {"KEY": "KEY"}}'),
        ("POST", 502, '{"error": "KEY"}'),
        ("POST", 200, '{"request_id": "KEY"}'),
    ],
)
def test_the_key_is_not_in_the_journal_however_a_job_ends(world, where, status, body, spelled):
    """Neither where it fails, expires or may be billed, nor where the server quotes the key."""
    earlier, body = world.submit(), body.replace("KEY", spelled(KEY))
    world.gateway.script(where, times=100, status=status, body=body, after_work=where == "POST")
    with contextlib.suppress(SegmindError):
        world.follow(world.submit(nth=0), at_most_s=600.0)
    world.follow(earlier, at_most_s=600.0)
    files = {file.name: file.read_bytes() for file in world.path.parent.iterdir()}
    assert set(files) >= {"jobs.sqlite3", "jobs.sqlite3-wal", "jobs.sqlite3-shm"}
    world.journal.close()
    files["closed"] = world.path.read_bytes()
    assert earlier.request_id.encode() in files["closed"]
    for data in files.values():
        assert KEY.encode() not in data
        assert escaped(KEY).encode() not in data


class TestTrouble:
    """A way that fails, lies, or stays silent for minutes."""

    @pytest.mark.parametrize(
        ("status", "body"),
        [(200, PAGE), (302, PAGE), (401, PAGE), (403, ""), (403, "{}"), (407, PAGE), (422, PAGE)],
    )
    def test_what_somebody_in_between_says_is_no_answer(self, world, status, body):
        """A minute of it, for states and results alike, neither ends the job nor is kept."""
        job = world.submit()
        world.lasting(60.0, body=body, status=status)
        world.follow(job)
        assert job.reply.text == "hello"

    def test_a_look_that_hangs_is_given_up_and_made_again(self, world):
        """Within seconds, be it for the state or for the result."""
        world.set(work_s=1.0)
        world.gateway.script("GET", delay_s=1000.0)
        world.follow(world.submit(), at_most_s=15.0)
        for_results(world.gateway, times=1, delay_s=1000.0)
        assert world.follow(world.submit(), at_most_s=30.0).reply.text == "hello"

    @pytest.mark.parametrize("fault", [None, {"status": 502}])
    def test_a_job_without_an_end_is_given_up_after_the_hour_of_its_result(self, world, fault):
        """It can be taken up again; the time can be set."""
        world.set(work_s=1e6)
        job = world.submit()
        if fault:
            world.lasting(1e6, **fault)
        world.follow(job, at_most_s=3600.0 + 70.0)
        with pytest.raises(JobTimeout, match=f"watched for 60 min.*resume {job.request_id}"):
            job.wait()
        assert job.error.request_id == job.request_id
        assert world.journal.find(job.request_id).pending
        world.watch.give_up_s = 60.0
        again = world.follow(world.resume(job.request_id), at_most_s=130.0)
        assert isinstance(again.error, JobTimeout)

    @pytest.mark.parametrize(
        ("status", "kind"), [(401, AuthenticationError), (403, PermissionDeniedError)]
    )
    def test_a_refusal_of_the_gateways_own_ends_the_watch_but_not_the_job(
        self, world, status, kind
    ):
        """It is believed; nothing is said that holds for a submission alone."""
        job = world.submit()
        world.gateway.script("GET", times=2, body={"detail": [1]}, status=status)
        world.follow(job)
        with pytest.raises(kind, match="The job itself goes on") as caught:
            job.wait()
        assert "-m" not in str(caught.value)
        assert world.journal.find(job.request_id).pending
        world.gateway.clear_script()
        assert world.follow(world.resume(job.request_id)).reply.text == "hello"

    @pytest.mark.parametrize(
        ("status", "body"), [(200, PAGE), (403, "{"), (200, ""), (403, {"ok": True}), (200, None)]
    )
    def test_answers_that_never_make_sense_end_the_watch_but_not_the_job(self, world, status, body):
        """After a dozen in a row somebody has to look; the job can be taken up again."""
        job = world.submit()
        world.gateway.script("GET", times=1000, status=status, body=body)
        world.follow(job)
        assert isinstance(job.error, APIError)
        assert job.status == "CANCELLED"
        assert world.journal.find(job.request_id).pending
        assert len(world.sent("GET")) < 20
        world.gateway.clear_script()
        assert world.follow(world.resume(job.request_id)).reply.text == "hello"


class TestStopping:
    """The user, or the end of the loop, stops the watch."""

    def test_a_cancelled_job_is_not_asked_for_again(self, world):
        """Nothing more is sent, and the job can be taken up again."""
        job = world.submit()
        sent = []
        world.loop.call_later(5.0, lambda: (job.cancel(), sent.append(len(world.requests))))
        world.follow(job)
        world.loop.run(anyio.sleep(600))
        assert sent == [len(world.requests)]
        with pytest.raises(JobCancelled, match=f"%segmind resume {job.request_id}"):
            job.wait()
        assert world.follow(world.resume(job.request_id)).reply.text == "hello"

    def test_a_reply_that_comes_after_cancelling_is_kept_for_whoever_resumes(self, world):
        """It is not counted for a job that nobody watches; the next handle finds it kept."""
        job = world.submit()
        world.on_request = lambda request: request.url.path.endswith("/status") or job.cancel()
        world.follow(job)
        assert job.status == "CANCELLED"
        assert not world.delivered
        sent = len(world.requests)
        assert world.resume(job.request_id).reply.text == "hello"
        assert len(world.requests) == sent

    def test_an_interrupt_between_answer_and_journal_does_not_lose_the_id(self, world):
        """From the moment at which the answer is there, the id will be in the journal."""
        for nth in (None, 0):
            with pytest.raises(AssertionError, match="interrupted"):
                world.run(interrupted_at_the_answer(world, nth=nth))
            world.loop.run(anyio.sleep(1.0))
        entries = world.journal.entries()
        assert len(entries) == world.gateway.billed == 2
        for entry in entries:
            assert world.follow(world.resume(entry.request_id)).reply.text == "hello"

    def test_an_interrupt_before_the_answer_does_not_lose_the_id(self, world):
        """Whoever waited waits no longer; the POST comes to its end, as it may be billed."""
        world.gateway.script("POST", delay_s=5.0)

        async def story():
            with anyio.move_on_after(1.0):
                await world.watch.submit(world.call())
            waited_s = world.loop.time() - 1000.0
            await anyio.sleep(10.0)
            return waited_s

        assert world.run(story()) == pytest.approx(1.0)
        (entry,) = world.journal.entries()
        assert (entry.state, entry.kept) == ("COMPLETED", True)  # it was paid for
        assert world.gateway.billed == 1

    def test_what_nobody_waits_for_is_not_sent_much_later(self, world):
        """The gateway has had too many requests for minutes when somebody gives up."""
        world.gateway.script("POST", status=429, times=100_000, headers={"retry-after": "50"})

        async def story():
            with anyio.move_on_after(60.0):
                await world.watch.submit(world.call())
            await anyio.sleep(70.0)
            world.gateway.clear_script()
            await anyio.sleep(300.0)

        world.run(story())
        assert world.gateway.billed == 0

    def test_closing_waits_for_the_ids_on_their_way_and_sends_nothing_new(self, world):
        """What is asked for from then on would not be answered in time."""
        world.gateway.script("POST", delay_s=1.5)

        async def story():
            async with anyio.create_task_group() as group:
                group.start_soon(world.watch.submit, world.call())
                await anyio.sleep(0.5)
                await world.watch.close()
                kept = world.journal.entries()
                with anyio.move_on_after(60.0):
                    await world.watch.submit(world.call("echo: too late"))
                return kept

        assert len(world.run(story())) == len(world.sent("POST")) == 1

    def test_an_interrupt_while_the_reply_is_kept_does_not_lose_it(self, world):
        """What is fetched is kept, whatever is cancelled meanwhile."""
        scopes = []

        class Interrupting(Journal):
            def ended(self, *args, **fields):
                anyio.from_thread.run_sync(scopes[0].cancel)
                super().ended(*args, **fields)

        world.start_kernel(journal=Interrupting(world.path))
        job = world.submit()

        async def story():
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await world.watch.follow(job)

        world.run(story())
        assert scopes[0].cancel_called
        assert world.journal.find(job.request_id).answered
        world.journal.close()
        world.start_kernel()
        assert world.resume(job.request_id).reply.text == "hello"


async def interrupted_at_the_answer(world, *, nth):
    """Submit, and be interrupted at the very moment at which the answer has come."""
    with anyio.CancelScope() as scope:
        world.on_response = lambda request: scope.cancel()
        await world.watch.submit(world.call(), nth=nth)
        world.on_response = lambda request: None
        await anyio.sleep(0)
    world.on_response = lambda request: None
    raise AssertionError("interrupted")


def test_what_cannot_be_claimed_is_not_sent(world):
    """Another kernel could send it too; a job that nobody else would send goes its way."""
    path = world.path.with_name("folder")
    path.mkdir()
    world.start_kernel(journal=Journal(path, warn=lambda message: None))
    for anew in (False, True):
        with pytest.raises(SettingsError, match="cannot be written, so this was not sent"):
            world.submit(nth=0, anew=anew)
    assert world.requests == []
    assert world.follow(world.submit()).reply.text == "hello"


def test_the_end_of_the_background_loop_leaves_nobody_waiting(world):
    """As at the end of a process, on the real loop, also where following has not begun."""
    world.set(work_s=3600.0)
    for is_followed in (True, False):
        portal = BackgroundLoop()

        async def begin():
            job = await world.watch.submit(world.call())
            world.watch.start(job)
            return job

        if is_followed:
            job = portal.call(world.watch.submit, world.call())
            portal.start(world.watch.follow, job)
        else:
            job = portal.call(begin)
        portal.stop()
        with pytest.raises(JobCancelled):
            job.wait(timeout=0)


def test_a_journal_or_a_count_that_breaks_costs_no_reply(world, monkeypatch):
    """The reply is in hand: it is handed over though it can be neither kept nor counted."""

    def broken(*args, **fields):
        raise RuntimeError("broken")

    world.watch.delivered = broken
    monkeypatch.setattr(world.journal, "ended", broken)
    assert world.follow(world.submit()).reply.text == "hello"


class TestClaiming:
    """Kernels that are about to send the same: one does, whatever comes of it."""

    def submitted_by(self, world, *watches, **settings):
        """Have each submit the same call a moment after the one before; what came of each."""
        outcomes = []

        async def submit(watch):
            try:
                outcomes.append(await watch.submit(world.call(), nth=0, **settings))
            except SegmindError as error:
                outcomes.append(error)

        async def story():
            async with anyio.create_task_group() as group:
                for watch in watches:
                    group.start_soon(submit, watch)
                    await anyio.sleep(1.0)

        world.run(story())
        return outcomes

    def test_what_may_be_queued_is_sent_by_no_later_run(self, world):
        """No answer, or one without an id, tells nothing; an error is not billed."""
        for nth, (outcome, is_known) in enumerate(
            [
                ({"drop": "after_work"}, False),
                ({"status": 200, "body": "<p>Welcome</p>", "after_work": True}, False),
                ({"status": 502}, True),
            ]
        ):
            world.gateway.script("POST", **outcome)
            with pytest.raises(MaybeBilledError):
                world.submit(nth=nth)
            sent = len(world.sent("POST"))
            world.start_kernel()
            if is_known:
                assert world.follow(world.submit(nth=nth)).reply.text == "hello"
            else:
                with pytest.raises(MaybeBilledError, match="no answer with an id came"):
                    world.submit(nth=nth)
            assert len(world.sent("POST")) == sent + is_known

    def two_kernels(self, world):
        first = world.watch
        world.start_kernel()
        return first, world.watch

    def test_two_kernels_that_follow_one_job_fetch_and_count_it_once(self, world):
        """The other reads what the first has put into the journal."""
        first, second = self.two_kernels(world)
        one, other = self.submitted_by(world, first, second)

        async def story():
            async with anyio.create_task_group() as group:
                group.start_soon(first.follow, one)
                group.start_soon(second.follow, other)

        world.run(story())
        assert one is not other
        assert (one.reply.text, other.reply.text) == ("hello", "hello")
        assert world.sent("GET").count(f"/v2/requests/{one.request_id}") == 1
        assert len(world.delivered) == 1

    @pytest.mark.parametrize("fault", [{"status": 400}, {"status": 502, "after_work": True}])
    def test_the_second_sends_what_the_first_was_told_of(self, world, fault):
        """It was refused, or may be billed: who asked knows, and may ask again."""
        world.gateway.script("POST", delay_s=5.0, **fault)
        error, job = self.submitted_by(world, *self.two_kernels(world))
        assert isinstance(error, SegmindError)
        assert world.follow(job).reply.text == "hello"
        assert len(world.sent("POST")) == 2
