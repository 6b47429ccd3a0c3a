"""`submit` and `resume` in programs: scripts, threads, running loops, forked children, restarts."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import segmind

from segmind_jupyter.api.loop import wait_interruptibly
from segmind_jupyter.content.prompt import gather
from segmind_jupyter.errors import Interrupted, JobError, MaybeBilledError, SettingsError
from segmind_jupyter.options import call_of
from segmind_jupyter.session import Session
from segmind_jupyter.simulator.gateway import Gateway
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

KEY = "sk-live-0123456789abcdef"
SLUG = "claude-4-sonnet"

#: Long enough that no test sees its end.
FOR_EVER_S = 3600.0

HELLO = {"role": "user", "content": [{"type": "text", "text": "echo: done"}]}

QUICK = Behaviour(queue_s=0.05, work_s=0.05)

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def serving() -> Iterator[Callable[[Gateway], str]]:
    """Serve gateways on loopback; gives the base URL of each."""
    with ExitStack() as stack:
        yield lambda gateway: stack.enter_context(serve(gateway))


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(QUICK)


@pytest.fixture
def url(serving: Callable[[Gateway], str], gateway: Gateway) -> str:
    return serving(gateway)


@pytest.fixture
def script(tmp_path: Path, url: str) -> Script:
    """Run a program of its own, with warnings as errors; all of a test share one journal."""

    def run(code: str, *args: str, base_url: str = url) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "SEGMIND_API_KEY": KEY,
            "SEGMIND_BASE_URL": base_url,
            "SEGMIND_JUPYTER_STATE": str(tmp_path),
        }
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *args],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def service(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The service that `submit` and `resume` speak to, with nothing of another test's."""
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("SEGMIND_BASE_URL", url)
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path))
    service = Session()
    yield service
    service.close()


def posts(gateway: Gateway) -> list[str]:
    return [entry.path for entry in gateway.log if entry.method == "POST"]


def frames(traceback: str) -> int:
    return sum(line.startswith("  File ") for line in traceback.splitlines())


def submit(service: Session, words: str = "echo: done"):
    return service.submit(gather([words], limits=service.options.limits))


class TestScripts:
    def test_one_submits_waits_and_ends(self, script, gateway):
        """One POST, one bill, and nothing is complained about at exit."""
        done = script("""
            from segmind_jupyter import submit
            job = submit('echo: done')
            print(job.status, job.wait(timeout=30), job.status)
            assert job.reply.request_id == job.request_id
        """)
        assert (done.stdout, done.stderr) == ("QUEUED done COMPLETED\n", "")
        assert done.returncode == 0
        assert posts(gateway) == [f"/v2/{SLUG}"]
        assert gateway.billed == 1

    @pytest.mark.parametrize(
        "end", ["", "os._exit(0)", "os.kill(os.getpid(), 9)"], ids=["ends", "exits", "is killed"]
    )
    def test_one_that_does_not_wait_loses_nothing(self, script, gateway, end):
        """The id is in the journal before the program goes on; the next one takes the job up."""
        first = script(f"""
            import os
            from segmind_jupyter import submit
            print(submit('echo: done').request_id, flush=True)
            {end}
        """)
        assert first.stderr == ""
        second = script("""
            from segmind_jupyter import resume
            from segmind_jupyter.session import session
            (entry,) = session().recorded()
            print(entry.request_id, entry.model, resume(entry.request_id).wait(timeout=30))
        """)
        assert second.stderr == ""
        assert second.stdout == f"{first.stdout.strip()} {SLUG} done\n"
        assert posts(gateway) == [f"/v2/{SLUG}"]

    def test_a_fetched_reply_outlives_the_server(self, script, gateway, serving):
        """From the journal alone, also where calls go elsewhere by now."""
        first = script("""
            from segmind_jupyter import submit
            job = submit('echo: done'); job.wait(timeout=30); print(job.request_id)
        """)
        elsewhere = Gateway()
        second = script(
            """
            import sys
            from segmind_jupyter import resume
            job = resume(sys.argv[1])
            print(job.done(), job.status, job.reply, job.model)
            """,
            first.stdout.strip(),
            base_url=serving(elsewhere),
        )
        assert (second.stdout, second.stderr) == (f"True COMPLETED done {SLUG}\n", "")
        assert list(elsewhere.log) == []

    def test_a_failed_job_is_a_short_traceback(self, script, gateway):
        """A few frames; the last line has the server's words and what to do next."""
        done = script("""
            from segmind_jupyter import submit
            submit('fail: content was blocked').wait(timeout=30)
        """)
        lines = done.stderr.strip().splitlines()
        assert done.returncode == 1
        assert frames(done.stderr) <= 4
        assert "JobFailed" in lines[-1]
        assert "content was blocked. It is not sent again by itself" in lines[-1]
        assert KEY not in done.stderr
        assert len(posts(gateway)) == 1

    def test_what_is_no_id_is_refused(self, script, gateway):
        """In a short traceback; nothing is sent."""
        done = script("from segmind_jupyter import resume\nresume('../../v1/x')")
        lines = done.stderr.strip().splitlines()
        assert frames(done.stderr) <= 4
        assert "SettingsError: '../../v1/x' is no job id." in lines[-1]
        assert list(gateway.log) == []

    def test_an_interrupt_ends_the_wait_and_not_the_job(self, script, gateway):
        """A real signal, while the main thread waits; the job is taken up again."""
        done = script("""
            import os, signal, threading
            from segmind_jupyter import submit
            from segmind_jupyter.api.loop import wait_interruptibly
            from segmind_jupyter.session import session

            signals = [signal.SIGINT]
            def waiter(future, timeout_s=None):
                if timeout_s is not None and signals:  # a job's wait, and the first one
                    threading.Timer(0, os.kill, [os.getpid(), signals.pop()]).start()
                    wait_interruptibly(future_that_never_ends, timeout_s)
                wait_interruptibly(future, timeout_s)

            from concurrent.futures import Future
            future_that_never_ends = Future()
            job = submit('echo: done')
            session().wait_with(waiter)
            try:
                job.wait(timeout=30)
            except KeyboardInterrupt as error:
                print(type(error).__name__, job.request_id in str(error))
            print(job.wait(timeout=30))
        """)
        assert (done.stdout, done.stderr) == ("Interrupted True\ndone\n", "")
        assert len(posts(gateway)) == 1


@pytest.mark.parametrize(
    "code",
    [
        """
        import asyncio
        from segmind_jupyter import submit
        async def main():
            job = submit('echo: done')
            replies = await asyncio.gather(job, job, asyncio.wait_for(job, 30))
            print(*{reply.text for reply in replies})
        asyncio.run(main())
        """,
        """
        import asyncio
        from segmind_jupyter import submit
        async def wait(job): return await job
        job = submit('echo: done')
        print(*{asyncio.run(wait(job)).text for _ in range(2)})
        """,
        """
        from concurrent.futures import ThreadPoolExecutor
        from segmind_jupyter import resume, submit
        def one(_):
            job = submit('echo: done')
            return resume(job.request_id).wait(timeout=30).text
        with ThreadPoolExecutor(8) as pool:
            print(*set(pool.map(one, range(24))))
        """,
        """
        import multiprocessing, warnings
        from segmind_jupyter import submit
        warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking beside threads
        def child(): assert submit('echo: child').wait(timeout=30).text == 'child'
        job = submit('echo: done')
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start(); process.join()
        assert process.exitcode == 0
        print(job.wait(timeout=30))
        """,
        """
        import multiprocessing, warnings
        from segmind_jupyter import resume, submit
        warnings.simplefilter("ignore", DeprecationWarning)
        def child(): assert resume(job.request_id).wait(timeout=30).text == 'done'
        job = submit('echo: done')
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start(); process.join()
        assert process.exitcode == 0
        print(job.wait(timeout=30))
        """,
    ],
    ids=[
        "on a running loop",
        "on one loop after another",
        "in many threads",
        "in a forked child",
        "in a forked child for its parent's job",
    ],
)
def test_jobs_work(script: Script, code: str):
    """Wherever people submit, wait for, and take up one."""
    done = script(code)
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


class TestCallbacks:
    def test_one_may_read_the_reply_but_not_wait_for_another(self, script):
        """On the thread that fetches the answers, waiting would hang; it says so instead."""
        done = script("""
            import queue
            from segmind_jupyter import ask, resume, submit
            told = queue.Queue()

            def attempt(function, *args):
                try:
                    told.put(function(*args).text)
                except Exception as error:
                    told.put(f"{type(error).__name__} {'threading.Thread' in str(error)}")

            def ended(job):
                attempt(job.wait)
                attempt(other.wait)
                attempt(submit, 'Hi')
                attempt(ask, 'Hi')
                attempt(resume, 'a1')

            other = submit('echo: other')
            submit('echo: done').on_done(ended)
            # Its end may come after the other's, whose wait is none then.
            seen = [told.get(timeout=30) for _ in range(5)]
            print(seen[0], *seen[2:], sep='; ')
            assert seen[1] in {'other', 'SegmindError True'}
        """)
        refused = "; SegmindError True" * 3
        assert (done.stdout, done.stderr) == (f"done{refused}\n", "")


class TestService:
    def test_a_job_that_is_followed_is_taken_up_as_itself(self, service, gateway):
        """There is one handle, and one who polls."""
        gateway.behaviour = Behaviour(queue_s=FOR_EVER_S)
        job = submit(service)
        assert service.resume(job.request_id) is job
        assert service.pending == (job,)
        job.cancel()
        assert service.pending == ()

    def test_an_interrupt_while_it_is_sent_does_not_lose_the_id(self, service, gateway):
        """The POST comes to its end, though nobody waits for it: the message is true."""
        sent, given_up = threading.Event(), threading.Event()

        def held_up(body):
            sent.set()
            given_up.wait(30)
            return body

        def interrupted(future, timeout_s=None):
            sent.wait(30)
            service.wait_with(wait_interruptibly)
            raise KeyboardInterrupt

        gateway.script("POST /v2/", change=held_up)
        service.wait_with(interrupted)
        with pytest.raises(Interrupted, match="`%segmind jobs` lists it"):
            submit(service)
        given_up.set()
        service.close()
        (entry,) = service.recorded()
        assert entry.pending
        assert len(posts(gateway)) == gateway.billed == 1

    def test_an_interrupt_when_it_was_queued_leaves_it_followed(self, service, gateway):
        """As any other job: it is pending here, and can be taken up as itself."""

        def interrupted(future, timeout_s=None):
            wait_interruptibly(future, timeout_s)
            service.wait_with(wait_interruptibly)
            raise KeyboardInterrupt

        gateway.behaviour = Behaviour(queue_s=FOR_EVER_S)
        service.wait_with(interrupted)
        with pytest.raises(Interrupted):
            submit(service)
        (entry,) = service.recorded()
        assert service.pending == (service.resume(entry.request_id),)
        assert gateway.billed == 1

    def test_a_job_that_something_else_follows_is_taken_up_as_itself(self, service, gateway):
        """A batch's, say: it is polled for and counted once."""

        async def queue():
            return await service.watch().submit(call_of([HELLO], service.options, {}))

        job = service.start(queue).result(30)

        async def follow():
            await service.watch().follow(job)

        following = service.start(follow)
        assert service.resume(job.request_id).wait(timeout=30).text == "done"
        following.result(30)
        assert len(service.ledger.calls) == gateway.billed == 1

    def test_threads_that_take_up_one_id_at_once_get_one_job(self, service, gateway):
        """However they come in."""
        gateway.behaviour = Behaviour(queue_s=FOR_EVER_S)
        given_up = submit(service)
        given_up.cancel()
        together = threading.Barrier(8)

        def take_up(_):
            together.wait(30)
            return service.resume(given_up.request_id)

        with ThreadPoolExecutor(8) as pool:
            (job,) = set(pool.map(take_up, range(8)))
        assert service.pending == (job,)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    @pytest.mark.parametrize("wait", ["job.wait(None)", "asyncio.run(awaited(job))"])
    def test_a_forked_child_is_told_what_to_do_with_its_parents_job(self, script, gateway, wait):
        """Nothing there would ever end the wait."""
        gateway.behaviour = Behaviour(queue_s=FOR_EVER_S)
        done = script(f"""
            import asyncio, multiprocessing, warnings
            from segmind_jupyter import submit
            from segmind_jupyter.errors import JobError
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking beside threads
            async def awaited(job): await job
            def child():
                try:
                    {wait}
                except JobError as error:
                    print(f'resume("{{job.request_id}}")' in str(error), job.done(), flush=True)
            job = submit('echo: done')
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start(); process.join(30)
            process.kill()
        """)
        assert (done.stdout, done.stderr) == ("True False\n", "")

    def test_a_reply_is_counted_once(self, service, gateway):
        """Taken up as often as one likes."""
        job = submit(service)
        job.wait(timeout=30)
        for _ in range(3):
            assert service.resume(job.request_id).wait(timeout=30).text == "done"
        assert [call.model for call in service.ledger.calls] == [SLUG]
        assert len(posts(gateway)) == gateway.billed == 1

    def test_the_reply_carries_the_prompt(self, service):
        """For the display; it is not in the journal."""
        prompt = gather(["echo: done"], limits=service.options.limits)
        assert service.submit(prompt).wait(timeout=30).request.prompt is prompt

    @pytest.mark.parametrize(
        "trouble", [{"drop": "after_work"}, {"status": 504, "after_work": True}]
    )
    def test_a_submission_of_unknown_outcome_is_not_sent_again(self, service, gateway, trouble):
        """It is counted as what may have been billed, and here it was."""
        gateway.script("POST /v2/", **trouble)
        with pytest.raises(MaybeBilledError):
            submit(service)
        assert len(posts(gateway)) == gateway.billed == 1
        assert service.ledger.unknown == 1

    def test_a_job_that_was_sent_elsewhere_is_not_asked_for_here(
        self, service, gateway, serving, monkeypatch
    ):
        """The error names both places; going back there finds it."""
        gateway.behaviour = Behaviour(queue_s=FOR_EVER_S)
        job = submit(service)
        job.cancel()
        home, other = os.environ["SEGMIND_BASE_URL"], Gateway()
        elsewhere = serving(other)
        monkeypatch.setenv("SEGMIND_BASE_URL", elsewhere)
        with pytest.raises(JobError) as caught:
            service.resume(job.request_id)
        assert home in str(caught.value)
        assert elsewhere in str(caught.value)
        assert list(other.log) == []
        monkeypatch.setenv("SEGMIND_BASE_URL", home)
        assert not service.resume(job.request_id).done()

    @pytest.mark.parametrize("request_id", [None, "", "..", "a/b", 7])
    def test_what_is_no_id_is_refused_whatever_is_under_way(self, service, gateway, request_id):
        """A batch is under way too, and has no id."""

        class Batch:
            def done(self):
                return False

            def wait(self, timeout=None):
                return None

            def on_done(self, callback):
                pass

        service.track(Batch())
        with pytest.raises(SettingsError, match="no job id"):
            service.resume(request_id)
        assert list(gateway.log) == []


class TestTheVendorsSDK:
    @pytest.fixture
    def sdk(self, url: str) -> Iterator[segmind.SegmindClient]:
        client = segmind.SegmindClient(api_key=KEY, base_url=f"{url}/v1")
        yield client
        client._client.close()

    def test_a_job_of_its_is_taken_up_here(self, service, sdk, gateway):
        """By its id alone: no POST of ours, and the reply that it would give."""
        theirs = sdk.submit_chat(SLUG, messages=[{"role": "user", "content": "echo: hello"}])
        before = len(gateway.log)
        job = service.resume(theirs.request_id)
        assert job.wait(timeout=30).text == theirs.wait(timeout=30, interval=0.02).text == "hello"
        assert {entry.method for entry in list(gateway.log)[before:]} == {"GET"}
        assert gateway.billed == 1
        assert service.resume(theirs.request_id).done()  # from the journal

    def test_a_failed_job_of_its_fails_here(self, service, sdk):
        """With the same words."""
        theirs = sdk.submit_chat(SLUG, messages=[{"role": "user", "content": "fail: blocked"}])
        job = service.resume(theirs.request_id)
        with pytest.raises(JobError) as ours:
            job.wait(timeout=30)
        with pytest.raises(segmind.InferenceFailed) as vendors:
            theirs.wait(timeout=30, interval=0.02)
        assert ours.value.detail == vendors.value.detail == "blocked"

    def test_it_takes_up_a_job_of_ours(self, service, sdk, gateway, url):
        """Its handle, made of our id, gives our reply without a POST."""
        job = submit(service, "echo: hello")
        path = f"{url}/v2/requests/{job.request_id}"
        theirs = segmind.AsyncJob(
            request_id=job.request_id,
            status_url=f"{path}/status",
            response_url=path,
            submit_response={},
            _client=sdk,
        )
        body = theirs.wait(timeout=30, interval=0.02)
        assert body["status"] == "COMPLETED"
        assert "hello" in body["output"]
        assert job.wait(timeout=30).text == "hello"
        assert posts(gateway) == [f"/v2/{SLUG}"]
