"""`ask`, `submit` and `resume` in programs: scripts, threads, running loops, forked children."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import segmind
from scripted import Gateway

from segmind_jupyter.api.loop import wait_interruptibly
from segmind_jupyter.content.prompt import gather
from segmind_jupyter.errors import Interrupted
from segmind_jupyter.session import Session
from segmind_jupyter.simulator.protocol import Behaviour
from segmind_jupyter.simulator.server import serve

KEY = "sk-live-0123456789abcdef"
SLUG = "claude-4-sonnet"

QUICK = Behaviour(queue_s=0.05, work_s=0.05)

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def gateway() -> Gateway:
    return Gateway(QUICK)


@pytest.fixture
def url(gateway: Gateway) -> Iterator[str]:
    with serve(gateway) as url:
        yield url


@pytest.fixture
def script(tmp_path: Path, url: str) -> Script:
    """Run a program of its own, with warnings as errors; all of a test share one journal."""

    def run(code: str, *args: str, base_url: str = url) -> subprocess.CompletedProcess[str]:
        environment = {
            "SEGMIND_API_KEY": KEY,
            "SEGMIND_BASE_URL": base_url,
            "SEGMIND_JUPYTER_STATE": str(tmp_path),
        }
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", textwrap.dedent(code), *args],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def service(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The session that `submit` and `resume` speak to, with nothing of another test's."""
    monkeypatch.setenv("SEGMIND_API_KEY", KEY)
    monkeypatch.setenv("SEGMIND_BASE_URL", url)
    monkeypatch.setenv("SEGMIND_JUPYTER_STATE", str(tmp_path))
    service = Session()
    yield service
    service.close()


def posts(gateway: Gateway) -> list[str]:
    return [entry.path for entry in gateway.log if entry.method == "POST"]


def submit(service: Session, words: str = "echo: done"):
    return service.submit(service.request(gather([words])))


#: Programs that end with the word "done".
PROGRAMS = {
    "on one running loop after another": """
        import asyncio
        from segmind_jupyter import ask, submit
        async def main():
            assert ask('echo: done').text == 'done'
            replies = await asyncio.gather(job, job, asyncio.wait_for(job, 30))
            return {reply.text for reply in replies}
        job = submit('echo: done')
        print(*asyncio.run(main()) & asyncio.run(main()))
    """,
    "in many threads": """
        from concurrent.futures import ThreadPoolExecutor
        from segmind_jupyter import ask, resume, submit
        from segmind_jupyter.session import session
        def one(_):
            assert ask('echo: done').text == 'done'
            return resume(submit('echo: done').request_id).wait(timeout=30).text
        with ThreadPoolExecutor(8) as pool:
            print(*set(pool.map(one, range(24))))
        assert len(session()._clients) == 1
    """,
}


@pytest.mark.parametrize("code", PROGRAMS.values(), ids=PROGRAMS)
def test_asking_and_jobs_work(script: Script, code: str):
    """Wherever people ask, submit, wait for, and take up a job."""
    done = script(code)
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


def test_an_error_in_a_script_is_a_short_traceback_without_the_key(recorder, script):
    """At most twelve lines, the last of which says what to do."""
    recorder.will_answer(502, f"<html><title>Bad gateway for {KEY}</title></html>".encode())
    done = script("from segmind_jupyter import ask\nask('Hi')", base_url=recorder.url)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert len(lines) <= 12
    assert "MaybeBilledError" in lines[-1]
    assert "not sent again" in lines[-1]
    assert KEY not in done.stdout + done.stderr
    assert len(recorder.posts) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_begins_with_a_session_of_its_own(recorder, script):
    """What was set holds there too; threads, connections, jobs and what was counted stay behind."""
    code = """
    import multiprocessing, os, warnings
    from concurrent.futures import Future
    from segmind_jupyter import SegmindError, ask
    from segmind_jupyter.session import session
    warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: forking beside threads
    parent = session()
    parent.use_key(os.environ.pop("SEGMIND_API_KEY"))
    parent.use_journal(False)
    parent.options = parent.options.replace(model="claude-3-haiku")
    ask('Hi')
    def child():
        assert session() is session() is not parent
        assert session().journal.path is None
        assert (session().pending, list(session().ledger.calls)) == ((), [])
        assert ask('Hi').request.model == "claude-3-haiku"
        try:
            parent.waiter(Future())
        except SegmindError as error:
            assert "was forked from" in str(error)
        else:
            raise AssertionError("it waits for what goes on elsewhere")
        grandchild = multiprocessing.get_context("fork").Process(target=ask, args=('Hi',))
        grandchild.start(); grandchild.join()
        assert grandchild.exitcode == 0
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start(); process.join()
    print(process.exitcode, session() is parent, len(parent.ledger.calls), ask('Hi'))
    """
    done = script(code, base_url=recorder.url)
    assert (done.stdout, done.stderr) == ("0 True 1 A sunset.\n", "")
    assert len(recorder.posts) == 4


class TestService:
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
        (entry,) = service.journal.entries()
        assert entry.pending
        assert len(posts(gateway)) == gateway.billed == 1

    def test_a_network_that_is_set_up_anew_is_used(self, service, monkeypatch):
        """As an error advises; a client keeps what held when its connections opened."""

        async def client():
            return service.client()

        before = service._call(client)
        assert service._call(client) is before
        monkeypatch.setenv("SSL_CERT_FILE", "/company.pem")
        assert service._call(client) is not before


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
